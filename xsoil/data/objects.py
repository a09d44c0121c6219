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
    read = [_number(array, value) for place in places if place is not None for value in np.ravel(np.asarray(place))]
    found = {value for value in read if value is not None and value == value}
    if len(found) > 1:
        raise NodataError(
            f"{array.name!r} declares contradicting nodata values {sorted(found)}; delete the wrong one from .attrs"
        )
    if not found:
        return None
    value = found.pop()
    if array.dtype.kind in "iu" and not _occurs(value, array.dtype):
        return None  # -9999 of unsigned bytes: no cell can hold it
    return value


def _number(array: xr.DataArray, value: object) -> float | int | None:
    """A declared value as a number; GDAL's metadata are text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (str, bytes)):
        text = value.decode() if isinstance(value, bytes) else value
        try:
            number = float(text)
        except ValueError as error:
            raise NodataError(
                f"{array.name!r} declares nodata {text!r}, which is no number; mend or delete it in .attrs"
            ) from error
        return int(number) if number.is_integer() else number
    return value if value is None or isinstance(value, (int, float)) else None


def _occurs(value: float | int, dtype: np.dtype[Any]) -> bool:
    info = np.iinfo(dtype)
    return float(value).is_integer() and int(info.min) <= int(value) <= int(info.max)
