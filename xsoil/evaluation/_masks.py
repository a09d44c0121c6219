"""Masks of cells that are split: on which cells, which take part, in which order."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError, GridMismatchError
from xsoil.evaluation._places import cell_dims

__all__ = ["ascending", "bare", "checked_seed", "kind_of", "number_of_tests", "on", "taking_part", "template_of"]


def kind_of(mask: object) -> str:
    return f"{mask.dtype} on {[str(d) for d in mask.dims]}" if isinstance(mask, xr.DataArray) else type(mask).__name__


def bare(mask: xr.DataArray, dims: Sequence[Hashable]) -> xr.DataArray:
    """Only the mask and the coordinates of its dims: another object's extra coordinates would get in the way."""
    coords = {dim: mask.coords[dim].variable for dim in dims if dim in mask.coords}
    return xr.DataArray(mask.to_numpy(), dims=tuple(dims), coords=coords)


def template_of(like: xr.Dataset | xr.DataArray) -> xr.DataArray:
    dims = cell_dims(like)
    coords = {dim: like.coords[dim].variable for dim in dims if dim in like.coords}
    return xr.DataArray(np.ones([like.sizes[d] for d in dims], bool), dims=dims, coords=coords)


def on(template: xr.DataArray, mask: xr.DataArray, what: str) -> xr.DataArray:
    if not isinstance(mask, xr.DataArray) or set(mask.dims) != set(template.dims):
        found = [str(d) for d in mask.dims] if isinstance(mask, xr.DataArray) else type(mask).__name__
        raise ArgumentError(f"{what} is on {found}; expected a DataArray on {[str(d) for d in template.dims]}")
    try:
        return xr.align(template, mask.transpose(*template.dims), join="exact", copy=False)[1]
    except ValueError as error:
        raise GridMismatchError(f"{what} is not on the cells that are split: {error}") from error


def taking_part(template: xr.DataArray, where: xr.DataArray | None) -> np.ndarray:
    """Mask of the cells to be split."""
    if where is None:
        return template.to_numpy()
    part = on(template, where, "where")
    if part.dtype != bool:
        raise ArgumentError(f"where is {part.dtype}; expected bool, e.g. observed.soil_moisture.notnull().any('time')")
    return part.to_numpy()


def ascending(template: xr.DataArray) -> tuple[slice, ...]:
    """The view with ascending axes, so that a flipped grid is split alike."""
    flips = []
    for dim in template.dims:
        index = template.indexes.get(dim)
        down = index is not None and index.dtype.kind in "fiu" and len(index) > 1 and index[0] > index[-1]
        flips.append(slice(None, None, -1 if down else 1))
    return tuple(flips)


def checked_seed(seed: int) -> int:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ArgumentError(f"seed={seed!r}; expected a whole number of at least 0")
    return int(seed)


def number_of_tests(fraction: float, cells: int) -> int:
    if not isinstance(fraction, (int, float)) or not 0 < fraction < 1:
        raise ArgumentError(f"fraction={fraction!r}; expected the share of test cells, above 0 and below 1")
    if cells < 2:
        raise ArgumentError(f"{cells} cells cannot be split; expected two or more")
    return min(max(round(fraction * cells), 1), cells - 1)
