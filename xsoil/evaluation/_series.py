"""Several products at the same places: series along one dim, ready for a function of whole series."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import xarray as xr

from xsoil.data.objects import decode
from xsoil.errors import ArgumentError, AxisError, GridMismatchError

__all__ = ["positive", "series_of"]


def series_of(
    arrays: Mapping[str, xr.DataArray], dim: Hashable, names: Sequence[Hashable] | None = None
) -> list[xr.DataArray]:
    """The arrays, decoded, after a check that they hold numbers on `dim` and that the coordinates of their other dims
    are the same; `dim` in one chunk, under another name for each where `names` are given (its coordinate is left
    behind, and may differ)."""
    found = []
    for i, (what, array) in enumerate(arrays.items()):
        if not isinstance(array, xr.DataArray):
            raise ArgumentError(f"{what} is {type(array).__name__}; expected a DataArray: ds['soil_moisture']")
        if array.dtype.kind not in "fiu":
            raise ArgumentError(f"{what} is {array.dtype}; expected numbers")
        if dim not in array.dims:
            raise AxisError(f"{what} has no dim {dim!r} among {[str(d) for d in array.dims]}; dim=... names another")
        array = decode(array)
        if names is not None:
            array = array.drop_vars([c for c, coord in array.coords.items() if dim in coord.dims])
            array = array.rename({dim: names[i]})
        along = dim if names is None else names[i]
        found.append(array.chunk({along: -1}) if array.chunks is not None else array)
    try:
        xr.align(*found, join="exact", copy=False)
    except ValueError as error:
        raise GridMismatchError(
            f"{' and '.join(arrays)} are not on the same coordinates: {error}; bring them to one grid with "
            "ds.soil.upscale(...), to the same times with .sel(...)"
        ) from error
    return found


def positive(value: int, what: str, least: int) -> int:
    """A whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ArgumentError(f"{what}={value!r}; expected a whole number of at least {least}")
    return int(value)
