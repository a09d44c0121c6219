"""What the evaluations ask of several arrays: one unit, the same cells, dims that exist."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import xarray as xr

from xsoil.data.objects import decode
from xsoil.errors import ArgumentError, AxisError, GridMismatchError, UnitsError
from xsoil.vocabulary import canonical_units

__all__ = ["aligned", "over_dims"]


def aligned(arrays: Mapping[str, xr.DataArray | None]) -> list[xr.DataArray]:
    """The arrays, decoded; their coordinates must be the same, and their units, where stated, agree."""
    units: dict[str, str] = {}
    found: list[xr.DataArray] = []
    for what, array in arrays.items():
        if not isinstance(array, xr.DataArray):
            raise ArgumentError(f"{what} is {type(array).__name__}; expected a DataArray")
        if array.dtype.kind not in "fiu":
            raise ArgumentError(f"{what} is {array.dtype}; expected numbers")
        if "units" in array.attrs:
            units[what] = str(array.attrs["units"])
        found.append(decode(array))
    if len({canonical_units(text) for text in units.values()}) > 1:
        raise UnitsError(f"units differ: {units}; convert them to one")
    try:
        return list(xr.align(*found, join="exact", copy=False))
    except ValueError as error:
        raise GridMismatchError(f"{' and '.join(arrays)} are not on the same coordinates: {error}") from error


def over_dims(dims: Any, known: Sequence[Hashable]) -> list[Hashable]:
    """The dims to reduce: those given, or all."""
    if dims is None:
        return list(known)
    wanted: list[Hashable] = [dims] if isinstance(dims, str) else list(dims)
    for dim in wanted:
        if dim not in known:
            raise AxisError(f"no dim {dim!r} among {[str(d) for d in known]}; choose others")
    return wanted
