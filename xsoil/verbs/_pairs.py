"""RMSE, R and NRMSE of every map against every other, in one pass over the cells."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr

from xsoil.evaluation.metrics import METRICS, MOMENTS, merge_moments, metrics_of_moments
from xsoil.threads import available_cores, in_bands
from xsoil.verbs._reduce import tile_of

TILE_CELLS = 2**17
"""Cells of one tile, all maps of which a task holds. Tiles depend on the shape only, so results do not depend on
chunks."""

ATTRS = {
    "rmse": {"long_name": "root mean square difference"},
    "r": {"long_name": "Pearson correlation", "units": "1"},
    "nrmse": {"long_name": "root mean square difference / (max - min of combination_2)", "units": "1"},
    "n": {"long_name": "cells where both maps have a value", "units": "1"},
}


def pair_metrics(maps: xr.DataArray, dim: str, dims: tuple[Hashable, Hashable]) -> dict[str, xr.Variable]:
    """Metrics of all pairs along `dim` over the cells of `dims` where both maps have a value.

    Parameters
    ----------
    maps : xr.DataArray
        On `dim`, the spatial `dims` and any others, which the results keep.
    dim : str
        The maps to be compared.
    dims : pair of str
        The dimensions of a map.

    Returns
    -------
    dict
        "rmse", "r", "nrmse", "n" on (..., `dim`, ``<dim>_2``), lazy where the maps are.
    """
    others = [d for d in maps.dims if d != dim and d not in dims]
    data = maps.transpose(*others, dim, *dims).variable
    tile = tile_of(data.shape[-2:], TILE_CELLS)
    lead = len(others)
    n = data.sizes[dim]
    pieces: Any
    if data.chunks is None:
        pieces = _eager(data.to_numpy(), tile)
    else:
        chunked = data.chunk(dict.fromkeys(others, 1) | {dim: n} | dict(zip(dims, tile, strict=True))).data
        counts = [(1,) * len(sizes) for sizes in (*chunked.chunks[:lead], *chunked.chunks[-2:])]
        pieces = chunked.map_blocks(
            _tile_moments,
            dtype=np.float64,
            meta=np.empty((0,) * (lead + 5)),
            chunks=(*counts, (n,), (n,), (len(MOMENTS),)),
            drop_axis=lead,
            new_axis=[lead + 2, lead + 3, lead + 4],
        )
    array = xr.DataArray(pieces, dims=(*others, *dims, dim, f"{dim}_2", "_moment"))
    if array.chunks is not None:
        array = array.chunk(dict.fromkeys(dims, -1))
    found = xr.apply_ufunc(
        _union,
        array,
        input_core_dims=[[*dims, dim, f"{dim}_2", "_moment"]],
        output_core_dims=[[dim, f"{dim}_2"]] * len(ATTRS),
        dask="parallelized",
        output_dtypes=[np.float64, np.float64, np.float64, np.int64],
    )
    units = {"units": maps.attrs["units"]} if "units" in maps.attrs else {}
    return {
        name: result.variable.copy(deep=False)._replace(attrs=attrs | (units if name == "rmse" else {}))
        for (name, attrs), result in zip(ATTRS.items(), found, strict=True)
    }


def _eager(data: Any, tile: tuple[int, ...]) -> Any:
    """(..., maps, y, x) to (..., tiles, tiles, maps, maps, moments), tiles on all cores."""
    lead, n = data.shape[:-3], data.shape[-3]
    counts = [math.ceil(size / t) for size, t in zip(data.shape[-2:], tile, strict=True)]
    out = np.empty((*lead, *counts, n, n, len(MOMENTS)))
    places = list(itertools.product(*map(range, (*lead, *counts))))

    def run(first: int, last: int) -> None:
        for *where, row, column in places[first:last]:
            rows, columns = (slice(k * t, (k + 1) * t) for k, t in zip((row, column), tile, strict=True))
            part = data[(*where, slice(None), rows, columns)]
            out[(*where, row, column)] = _tile_moments(part)[0, 0]

    in_bands(run, len(places), available_cores())
    return out


def _tile_moments(block: Any) -> Any:
    """(1..., maps, y, x) to (1..., 1, 1, maps, maps, moments); cells in the order of the dims."""
    from xsoil.kernels.pairs import pair_moments

    lead, n = block.shape[:-3], block.shape[-3]
    found = pair_moments(np.ascontiguousarray(block).reshape(n, -1))
    return found.reshape(*lead, 1, 1, n, n, len(MOMENTS))


def _union(pieces: Any) -> tuple[Any, ...]:
    """(..., tiles, tiles, maps, maps, moments) to metrics (..., maps, maps), tiles in their order."""
    n = pieces.shape[-2]
    tiles = pieces.reshape(*pieces.shape[:-5], -1, n, n, len(MOMENTS))
    total = merge_moments(np.moveaxis(tiles, -4, -2))
    metrics = dict(zip((*METRICS, "n"), metrics_of_moments(total), strict=True))
    spread = total[..., MOMENTS.index("obs_high")] - total[..., MOMENTS.index("obs_low")]
    nrmse = np.divide(metrics["rmse"], spread, out=np.full_like(spread, np.nan), where=spread > 0)
    return metrics["rmse"], metrics["r"], nrmse, metrics["n"]
