"""What xsoil takes: a dataset or a named array, and the nodata value that it declares."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError, NodataError

NODATA_ATTRS = ("_FillValue", "missing_value", "nodata", "nodatavals")


def as_dataset(obj: xr.Dataset | xr.DataArray) -> xr.Dataset:
    """The dataset itself, or a named DataArray as a dataset of one variable."""
    if isinstance(obj, xr.Dataset):
        return obj
    if isinstance(obj, xr.DataArray):
        if obj.name is None:
            raise ArgumentError("the DataArray has no name; expected a variable's name: da.rename('sand')")
        return obj.to_dataset()
    raise ArgumentError(f"expected an xarray Dataset or a named DataArray, found {type(obj).__name__}")


def nodata_of(array: xr.DataArray) -> float | int | None:
    """The value that stands for "no data" in the numbers of `array`; two different ones are an error.

    That of the attributes; for integers also that of the encoding. (Where a reader masked the data, they are floats
    with NaN, and the value in the encoding no longer occurs.)
    """
    places: list[Any] = [array.attrs.get(key) for key in NODATA_ATTRS]
    if array.dtype.kind in "iu":
        places += [array.encoding.get(key) for key in NODATA_ATTRS]
    found = {value for place in places if place is not None for value in np.ravel(np.asarray(place)).tolist()}
    found = {value for value in found if value is not None and value == value}
    if len(found) > 1:
        raise NodataError(
            f"{array.name!r} declares contradicting nodata values {sorted(found)}; delete the wrong one from .attrs"
        )
    return found.pop() if found else None
