"""The reductions of `evaluate`: whole series per task, or samples pooled over tiles."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from xsoil.evaluation.metrics import METRICS, MOMENTS, class_moments, merge_moments, metrics_of_moments, series_metrics
from xsoil.threads import available_cores
from xsoil.verbs._groups import Groups

BLOCK_SAMPLES = 8 * 2**20
"""Samples of one task of a lazy evaluation: 32 MB of float32 for each of the two series, twice while time is brought
to the end."""
TILE_SAMPLES = 2**20
"""Samples of one tile of a pooled evaluation. Tiles depend on the shape only, so results do not depend on chunks."""


def _plain(array: xr.DataArray) -> xr.DataArray:
    """The numbers alone: dims without coordinates, which have been compared and may differ by rounding."""
    return xr.DataArray(array.variable.data, dims=array.dims)


def by_series(sim: xr.DataArray, obs: xr.DataArray, dim: Hashable) -> tuple[xr.DataArray, ...]:
    """Whole series in each task: `dim` in one chunk, the others in chunks of a bounded size."""
    sim, obs = _plain(sim), _plain(obs)
    lazy = sim.chunks is not None or obs.chunks is not None
    if lazy:
        chunks = _bounded(sim, obs, dim)
        sim, obs = (a.chunk({d: c for d, c in chunks.items() if d in a.dims}) for a in (sim, obs))
    return xr.apply_ufunc(  # type: ignore[no-any-return]
        series_metrics,
        sim,
        obs,
        input_core_dims=[[dim], [dim]],
        output_core_dims=[[]] * (len(METRICS) + 1),
        kwargs={"threads": 1 if lazy else available_cores()},
        dask="parallelized",
        output_dtypes=[np.float64] * len(METRICS) + [np.int64],
    )


def _bounded(sim: xr.DataArray, obs: xr.DataArray, dim: Hashable) -> dict[Hashable, int]:
    """Chunk sizes with `dim` whole: those there are, the longest halved until a block has few enough samples."""
    sizes = {d: s for a in (sim, obs) for d, s in a.sizes.items()}
    chunks = dict(sizes)
    for array in (obs, sim):
        if array.chunks is not None:
            chunks |= {d: max(array.chunksizes[d]) for d in array.dims}
    others = [d for d in chunks if d != dim]
    while others and sizes[dim] * math.prod(chunks[d] for d in others) > BLOCK_SAMPLES:
        longest = max(others, key=lambda d: chunks[d])
        if chunks[longest] == 1:
            break
        chunks[longest] = math.ceil(chunks[longest] / 2)
    return chunks | {dim: sizes[dim]}


def pooled(
    sim: xr.DataArray, obs: xr.DataArray, over: list[Hashable], groups: Groups | None
) -> tuple[xr.DataArray, ...]:
    """Moments of tiles of the reduced dims, then their union in a fixed order."""
    sim, obs = _plain(sim), _plain(obs)
    number = 1 if groups is None else groups.number
    reduced = list(dict.fromkeys([*over, *(() if groups is None else groups.index.dims)]))
    index = [] if groups is None else [groups.index]
    sizes = {d: s for a in (sim, obs) for d, s in a.sizes.items()}
    kept = [d for d in sizes if d not in reduced]
    order = (*kept, *reduced)
    tile = dict(zip(reduced, tile_of(tuple(sizes[d] for d in reduced), TILE_SAMPLES), strict=True))
    class_dim: Hashable = "_class" if groups is None else groups.dim
    lazy = any(a.chunks is not None for a in (sim, obs, *index))
    if lazy:
        # Chunked before they are broadcast: a numpy array would be copied to its full size.
        chunks = _kept_chunks(sizes, kept, math.prod(tile.values())) | tile
        sim, obs, *index = (a.chunk({d: chunks[d] for d in a.dims}) for a in (sim, obs, *index))
    sim, obs = (a.transpose(*order) for a in xr.broadcast(sim, obs))
    arrays = [sim, obs]
    for array in index:  # one class for all cells that stay: on the reduced dims alone
        missing = {d: sizes[d] for d in reduced if d not in array.dims}
        arrays.append(array.expand_dims(missing).transpose(*reduced))
    data: Any
    if lazy:
        first, *others = [a.chunk({d: chunks[d] for d in a.dims}).data for a in arrays]
        data = first.map_blocks(
            _tile_moments,
            *others,
            kept=len(kept),
            number=number,
            dtype=np.float64,
            meta=np.empty((0,) * (len(order) + 2)),
            chunks=(
                *first.chunks[: len(kept)],
                *((1,) * len(blocks) for blocks in first.chunks[len(kept) :]),
                (number,),
                (len(MOMENTS),),
            ),
            new_axis=[len(order), len(order) + 1],
        )
    else:
        counts = [math.ceil(sizes[d] / t) for d, t in tile.items()]
        data = np.empty((*(sizes[d] for d in kept), *counts, number, len(MOMENTS)))
        for where in itertools.product(*(range(count) for count in counts)):
            part = (..., *(slice(w * t, (w + 1) * t) for w, t in zip(where, tile.values(), strict=True)))
            cell = (*(slice(None),) * len(kept), *(slice(w, w + 1) for w in where))
            data[cell] = _tile_moments(*(a.data[part] for a in arrays), kept=len(kept), number=number)
    pieces = xr.DataArray(data, dims=(*order, class_dim, "_moment"))
    if pieces.chunks is not None:
        pieces = pieces.chunk(dict.fromkeys((*reduced, "_moment"), -1))
    found = xr.apply_ufunc(
        _union,
        pieces,
        input_core_dims=[[*reduced, "_moment"]],
        output_core_dims=[[]] * (len(METRICS) + 1),
        kwargs={"reduced": len(reduced)},
        dask="parallelized",
        output_dtypes=[np.float64] * len(METRICS) + [np.int64],
    )
    if groups is None:
        return tuple(array.isel({class_dim: 0}) for array in found)
    return tuple(array.assign_coords(groups.coords) for array in found)


def tile_of(shape: tuple[int, ...], most: int) -> tuple[int, ...]:
    """A tile of at most so many samples, by the shape alone: the longest side is halved until it is small enough."""
    tile = list(shape)
    while math.prod(tile) > most:
        axis = max(range(len(tile)), key=lambda a: tile[a])
        tile[axis] = math.ceil(tile[axis] / 2)
    return tuple(max(t, 1) for t in tile)


def _kept_chunks(sizes: Mapping[Hashable, int], kept: list[Hashable], tile: int) -> dict[Hashable, int]:
    """Chunks of the dims that stay: few enough cells that a tile of each fits into a task."""
    chunks = {d: sizes[d] for d in kept}
    while tile * math.prod(chunks.values()) > BLOCK_SAMPLES and max(chunks.values(), default=1) > 1:
        longest = max(chunks, key=lambda d: chunks[d])
        chunks[longest] = math.ceil(chunks[longest] / 2)
    return chunks


def _tile_moments(*arrays: Any, kept: int, number: int) -> Any:
    """(kept..., reduced...) to (kept..., 1..., classes, moments); samples in the order of the dims."""
    lead, inner = arrays[0].shape[:kept], arrays[0].ndim - kept
    samples = math.prod(arrays[0].shape[kept:])
    sim, obs = (np.asarray(a).reshape(*lead, samples) for a in arrays[:2])
    classes = np.asarray(arrays[2]).reshape(samples) if len(arrays) > 2 else None
    return class_moments(sim, obs, classes, number).reshape(*lead, *(1,) * inner, number, len(MOMENTS))


def _union(pieces: Any, *, reduced: int) -> tuple[Any, ...]:
    """(kept..., class, tiles..., moments) to metrics (kept..., class)."""
    lead = pieces.shape[: pieces.ndim - reduced - 1]
    tiles = math.prod(pieces.shape[len(lead) : -1])
    return metrics_of_moments(merge_moments(pieces.reshape(*lead, tiles, pieces.shape[-1])))
