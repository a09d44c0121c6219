"""What xsoil takes: a dataset or a named array, and the nodata value that it declares."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError, NodataError

NODATA_ATTRS = ("_FillValue", "missing_value", "nodata", "nodatavals")
# Attributes that describe the stored numbers: once these are decoded or converted they are wrong.
STORAGE_ATTRS = (*NODATA_ATTRS, "scale_factor", "add_offset", "valid_range", "valid_min", "valid_max")


def as_dataset(obj: xr.Dataset | xr.DataArray) -> xr.Dataset:
    """The dataset itself, or a named DataArray as a dataset of one variable."""
    if isinstance(obj, xr.Dataset):
        return obj
    if isinstance(obj, xr.DataArray):
        if obj.name is None:
            raise ArgumentError("the DataArray has no name; expected a variable's name: da.rename('sand')")
        try:
            return obj.to_dataset()
        except ValueError as error:
            raise ArgumentError(
                f"the DataArray {obj.name!r} cannot be a dataset ({error}); expected another name: da.rename('sand')"
            ) from error
    raise ArgumentError(f"expected an xarray Dataset or a named DataArray, found {type(obj).__name__}")


def nodata_of(array: xr.DataArray) -> float | int | None:
    """The value that stands for "no data" in the numbers of `array`; two different ones are an error.

    That of the attributes; for integers also that of the encoding. (Where a reader masked the data, they are floats
    with NaN, and the value in the encoding no longer occurs.)
    """
    places: list[Any] = [array.attrs.get(key) for key in NODATA_ATTRS]
    if array.dtype.kind in "iu":
        places += [array.encoding.get(key) for key in NODATA_ATTRS]
    return one_nodata(array, places)


def one_nodata(array: xr.DataArray, places: Iterable[Any]) -> float | int | None:
    """The number that `places` (values of attributes, or None) declare for `array`, as `nodata_of` does."""
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


def decode(array: xr.DataArray) -> xr.DataArray:
    """Numbers as meant: declared nodata as NaN, an undecoded scale_factor/add_offset applied.

    Attributes that described the storage are dropped.

    Integers without either stay integers.
    """
    nodata = nodata_of(array)
    scale, offset = _packing(array, "scale_factor", 1.0), _packing(array, "add_offset", 0.0)
    attrs = {k: v for k, v in array.attrs.items() if k not in STORAGE_ATTRS}
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    dtype = array.dtype
    if nodata is not None:
        real = dtype if dtype.kind == "f" else np.dtype(np.float32 if dtype.itemsize <= 2 else np.float64)
        with np.errstate(over="ignore"):
            sentinel = np.asarray(nodata).astype(dtype) if dtype.kind == "f" else nodata
        array = array.astype(real).where(array != sentinel)
    if scale != 1.0 or offset != 0.0:
        real = array.dtype if array.dtype.kind == "f" else np.dtype(np.float32 if dtype.itemsize <= 2 else np.float64)
        array = array.astype(real) * real.type(scale) + real.type(offset)
    out = array.copy(deep=False)
    out.attrs = attrs
    return out


def flags_of(declared: object) -> np.ndarray:
    """The numbers of ``flag_values`` or ``flag_masks``, which some files write as text ("1b, 2b")."""
    if isinstance(declared, str):
        return np.array([int(number) for number in re.findall(r"-?\d+", declared)])
    return np.asarray(declared).ravel()


def _packing(array: xr.DataArray, key: str, default: float) -> float:
    """An attribute of packed numbers; GDAL's metadata are text."""
    declared = array.attrs.get(key, default)
    try:
        return float(declared)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"{array.name!r} declares {key} {declared!r}, which is no number; mend or delete it in .attrs"
        ) from error


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
