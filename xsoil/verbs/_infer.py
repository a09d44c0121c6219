"""A trained network on maps: lazy, tile by tile, in batches of one size."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from xsoil.errors import ArgumentError, GridMismatchError, NoOverlapError
from xsoil.evaluation._places import cell_dims
from xsoil.grids.crs import crs_text, same_crs, to_world
from xsoil.grids.ease import find_ease
from xsoil.grids.geobox import has_grid, locate
from xsoil.networks.description import digest
from xsoil.verbs._inputs import numbers, read, require_same_grid
from xsoil.verbs._lazy import map_windows
from xsoil.verbs._predictors import Predictors, Series, predictors_of, series_of_history
from xsoil.verbs._results import carry_grid_mapping, coordinates
from xsoil.vocabulary import VARIABLES

if TYPE_CHECKING:
    from xsoil.networks.learner import ParameterLearner

__all__ = ["Inference", "cells_like", "geometry_of"]

EAGER_BYTES = 64 * 2**20
"""Patches that an eager prediction holds at a time."""


@dataclass(frozen=True)
class Inference:
    """What a network reads, and where.

    Attributes
    ----------
    predictors, series : mapping of str to str or None
        Names and units of static predictors and of series, in the order of the network's channels.
    factor, ring : int
        Fine cells along a side of a cell, and beyond each of its edges; factor 0 for cells without a grid.
    affine, crs : six numbers and text, or None
        The grid of the training.
    order : sequence of str
        Given parameters that the learned ones must be in order with.
    ends : sequence of str
        Bounds of parameters that differ from cell to cell.
    """

    predictors: Mapping[str, str | None]
    series: Mapping[str, str | None]
    factor: int
    ring: int
    affine: tuple[float, ...] | None
    crs: str | None
    order: tuple[str, ...]
    ends: tuple[str, ...] = ()

    def run(
        self,
        learner: ParameterLearner,
        ds: xr.Dataset,
        *,
        to: object,
        history: xr.Dataset | None,
        known: Mapping[str, float | xr.DataArray],
    ) -> xr.Dataset:
        """The learned parameters where `ds` has predictors."""
        source = ds if self.predictors or history is None else history
        like, dims = self._target(source, to)
        static = predictors_of(ds, like, dims, ring=self.ring, expected=self.predictors) if self.predictors else None
        if static is not None and static.nesting is not None and static.nesting.rows.factor != max(self.factor, 1):
            raise GridMismatchError(
                f"{static.nesting.rows.factor} predictor cells along the side of a cell, in training {self.factor}; "
                "bring the predictors, or to=..., to such a grid"
            )
        series = series_of_history(history, like, dims, self.series or None)
        limits = {n: read(numbers({n: known[n]}), VARIABLES[n]) for n in self.order if n in known}
        limits |= {name: known[name] for name in self.ends}  # type: ignore[misc]
        for name, array in limits.items():
            hint = "; or give the bounds of these cells: targets=..." if name in self.ends else ""
            if foreign := [str(d) for d in array.dims if d not in dims]:
                raise GridMismatchError(f"{name!r} is on {foreign}, the cells on {[str(d) for d in dims]}{hint}")
            try:
                require_same_grid(like, array, f"{'bound' if hint else 'parameter'} {name!r}")
            except GridMismatchError as error:
                raise GridMismatchError(f"{error}{hint}") from error
        learner.eval()
        arrays = _apply(learner, static, series, limits, like, dims)
        data = {name: (dims, array, VARIABLES[name].attrs) for name, array in zip(learner.targets, arrays, strict=True)}
        out = coordinates((like, dims)).assign(data)
        return carry_grid_mapping(out, like, source)

    def _target(self, ds: xr.Dataset, to: object) -> tuple[xr.Dataset, tuple[Hashable, ...]]:
        """The cells: those of `to`, of the training's grid over `ds`, or of `ds` itself."""
        if to is not None:
            if isinstance(to, (xr.Dataset, xr.DataArray)):
                return cells_like(to, cell_dims(to)), cell_dims(to)
            return _cells_of(locate(to).geobox)
        nested = self.factor > 1 or self.ring > 0
        if not nested or self.affine is None or self.crs is None or not has_grid(ds):
            return cells_like(ds, cell_dims(ds)), cell_dims(ds)
        fine = locate(ds).geobox
        if not same_crs(crs_text(fine), self.crs):
            raise GridMismatchError(
                f"the predictors are in {fine.crs}, the grid of the training in {self.crs}; give the grid of the "
                "parameters: to=..."
            )
        return _cells_of(_continued(fine, Affine(*self.affine), self.crs))


def cells_like(obj: xr.Dataset | xr.DataArray, dims: tuple[Hashable, ...]) -> xr.Dataset:
    """The cells of an object: its coordinates and grid mapping, and no data."""
    ds = obj if isinstance(obj, xr.Dataset) else obj.to_dataset(name="cells")
    bare = coordinates((ds, dims))
    shape = tuple(obj.sizes[d] for d in dims)
    out = bare.assign(cells=(dims, np.broadcast_to(np.int8(0), shape)))
    return carry_grid_mapping(out, ds)


def _cells_of(geobox: GeoBox) -> tuple[xr.Dataset, tuple[Hashable, ...]]:
    coords = xr_coords(geobox, crs_coord_name="spatial_ref")
    dims = tuple(geobox.dimensions)
    out = xr.Dataset({"cells": (dims, np.broadcast_to(np.int8(0), tuple(geobox.shape)))}, coords)
    out["cells"].encoding["grid_mapping"] = "spatial_ref"
    return out, dims


def _continued(fine: GeoBox, affine: Affine, crs: str) -> GeoBox:
    """All cells of a grid that lie in the fine one as a whole."""
    rows, columns = fine.shape
    x, y = to_world(fine.affine, np.array([0, columns]), np.array([0, rows]))
    spans = []
    for places, origin, step in ((x, affine.c, affine.a), (y, affine.f, affine.e)):
        low, high = sorted(((places - origin) / step).tolist())
        spans.append((math.ceil(low - 1e-6), math.floor(high + 1e-6)))
    (c0, c1), (r0, r1) = spans
    if c1 <= c0 or r1 <= r0:
        raise NoOverlapError(
            f"the predictors ({rows} x {columns} cells) do not fill a cell of the training's grid; expected larger maps"
        )
    corner = Affine(affine.a, 0.0, affine.c + c0 * affine.a, 0.0, affine.e, affine.f + r0 * affine.e)
    geobox = GeoBox((r1 - r0, c1 - c0), corner, crs)
    found = find_ease(geobox)
    if found is not None:
        grid, row, column = found
        geobox = grid.window(row, column, r1 - r0, c1 - c0)
    return geobox


@dataclass(frozen=True)
class _Network:
    """A learner as a function of blocks; told from others by the bits of its weights."""

    learner: ParameterLearner
    names: tuple[str, ...]
    static: bool
    history: bool

    def __dask_tokenize__(self) -> Any:
        weights = {name: tensor.cpu().numpy() for name, tensor in self.learner.state_dict().items()}
        return (digest(self.learner.describe(), weights), self.names, self.static, self.history)

    def __call__(self, *blocks: np.ndarray) -> np.ndarray:
        """(*cells, parameters) from blocks with the cells' dims in front."""
        given = list(blocks)
        inputs = [given.pop(0) if there else None for there in (self.static, self.history)]
        lead = np.broadcast_shapes(
            *(array.shape[: array.ndim - core] for array, core in zip(inputs, self._core(inputs)) if array is not None),
            *(array.shape for array in given),
        )
        flat = [
            None
            if array is None
            else np.broadcast_to(array, (*lead, *array.shape[array.ndim - core :])).reshape(
                -1, *array.shape[array.ndim - core :]
            )
            for array, core in zip(inputs, self._core(inputs))
        ]
        known = {n: np.broadcast_to(a, lead).reshape(-1) for n, a in zip(self.names, given, strict=True)}
        found = self.learner.predict(flat[0], flat[1], known)
        return np.stack([values.reshape(lead) for values in found.values()], axis=-1).astype(np.float32)

    def _core(self, inputs: list[Any]) -> tuple[int, int]:
        """Dims of static predictors and of series beside those of the cells."""
        return (3 if self.learner.patch else 1), 2


def _apply(
    learner: ParameterLearner,
    static: Predictors | None,
    series: Series | None,
    limits: Mapping[str, xr.DataArray],
    like: xr.Dataset,
    dims: tuple[Hashable, ...],
) -> list[Any]:
    """Arrays (cells) of each parameter: numpy, or dask where an input is."""
    read_from = [*([static.maps] if static is not None else []), *([series.data] if series is not None else [])]
    lazy = any(array.chunks is not None for ds in read_from for array in ds.data_vars.values())
    network = _Network(learner, tuple(limits), static is not None, series is not None)
    inputs: list[xr.DataArray] = []
    core: list[list[str]] = []
    shape = tuple(like.sizes[d] for d in dims)
    if series is not None:
        values = series.data.to_dataarray("_series").transpose(*dims, "time", "_series")
        series_input = values.chunk({"time": -1, "_series": -1}) if values.chunks is not None else values
    if static is not None:
        if lazy:
            inputs.append(_lazy_static(static, dims, shape))
            core.append(["_channel", "_py", "_px"] if static.patch else ["_channel"])
        else:
            return _eager(network, static, series_input if series is not None else None, limits, shape, dims)
    if series is not None:
        inputs.append(series_input)
        core.append(["time", "_series"])
    if not inputs:
        raise ArgumentError("neither predictors nor a history; give those that the network was trained with")
    bare = [xr.DataArray(a.variable) for a in (*inputs, *limits.values())]
    result = xr.apply_ufunc(
        network,
        *bare,
        input_core_dims=[*core, *([] for _ in limits)],
        output_core_dims=[["_parameter"]],
        dask="parallelized",
        output_dtypes=[np.float32],
        dask_gufunc_kwargs={"output_sizes": {"_parameter": len(learner.targets)}, "allow_rechunk": True},
    ).transpose("_parameter", *dims)
    return [result.isel(_parameter=k).data for k in range(len(learner.targets))]


def _lazy_static(static: Predictors, dims: tuple[Hashable, ...], shape: tuple[int, ...]) -> xr.DataArray:
    """Values or patches of the cells, as one dask array with the channels behind the cells."""
    stacked = static.maps.to_dataarray("_channel").transpose("_channel", *static.dims)
    stacked = stacked if stacked.chunks is not None else stacked.chunk()
    if static.nesting is None:
        return stacked.chunk({"_channel": -1}).transpose(*dims, "_channel")
    patches = map_windows(stacked.data, static.nesting, (shape[0], shape[1]))
    array = xr.DataArray(patches, dims=(*dims, "_channel", "_py", "_px"))
    return array if static.patch else array.isel(_py=0, _px=0)


def _eager(
    network: _Network,
    static: Predictors,
    series: xr.DataArray | None,
    limits: Mapping[str, xr.DataArray],
    shape: tuple[int, ...],
    dims: tuple[Hashable, ...],
) -> list[np.ndarray]:
    """Blocks of cells one after the other, so that their patches are never all in memory."""
    cells = math.prod(shape)
    out = np.empty((cells, len(network.learner.targets)), np.float32)
    step = max(EAGER_BYTES // static.bytes_per_cell, 1)
    flat_series = None if series is None else series.to_numpy().reshape(cells, *series.shape[len(dims) :])
    template = xr.DataArray(np.broadcast_to(np.int8(0), shape), dims=dims)
    spread = [xr.DataArray(a.variable).broadcast_like(template).transpose(*dims) for a in limits.values()]
    known = [array.to_numpy().ravel() for array in spread]
    for first in range(0, cells, step):
        part = np.arange(first, min(first + step, cells), dtype=np.intp)
        inputs = [static.read(np.unravel_index(part, shape))]
        if flat_series is not None:
            inputs.append(flat_series[part])
        out[part] = network(*inputs, *(values[part] for values in known))
    return [column.reshape(shape) for column in out.T]


def geometry_of(static: Predictors | None, like: xr.Dataset) -> tuple[int, tuple[float, ...] | None, str | None]:
    """Factor, affine and CRS of the training's grid for `Inference`."""
    if static is None or static.nesting is None:
        return 0, None, None
    geobox = locate(like).geobox
    return static.nesting.rows.factor, tuple(geobox.affine)[:6], crs_text(geobox)
