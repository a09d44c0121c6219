"""What pictures take: one variable of a dataset, decoded, in units that its label names."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsoil.data.objects import as_dataset, nodata_of
from xsoil.errors import ArgumentError, MissingVariableError, UnitsError
from xsoil.vocabulary import VARIABLES

__all__ = ["WATER", "choose", "in_own_units", "numbers", "one_line"]

WATER = ("theta", "soil_moisture", "theta_obs")
"""Names of soil moisture, the first that is there is drawn."""


def choose(
    obj: xr.Dataset | xr.DataArray, variable: str | None, what: str, preferred: Collection[str] = ()
) -> xr.DataArray:
    """The variable to be drawn: the named one, the first of `preferred` that is there, or the only one.

    Raises
    ------
    MissingVariableError
        No such variable.
    ArgumentError
        Several, and none was chosen; or neither a dataset nor an array.
    """
    if isinstance(obj, xr.DataArray) and variable is None:
        return obj
    ds = as_dataset(obj)
    known = sorted(map(str, ds.data_vars))
    if variable is not None:
        if variable not in ds.variables:
            raise MissingVariableError(f"no {variable!r} among {known}; choose one of these: variable=...")
        return ds[variable]
    for name in preferred:
        if name in ds.data_vars:
            return ds[name]
    if len(known) != 1:
        hint = f"variable={known[0]!r}" if known else "a dataset with variables"
        raise ArgumentError(f"{what} draws one variable, found {known}; choose one: {hint}")
    return ds[known[0]]


def numbers(array: xr.DataArray) -> NDArray[np.float64]:
    """The values as float64, NaN where there is none; scales that are still undecoded are applied."""
    values = array.to_numpy()
    if values.dtype.kind not in "fiub":
        raise ArgumentError(f"{array.name!r} holds {values.dtype}; expected numbers")
    out: NDArray[np.float64] = values.astype(np.float64)
    nodata = nodata_of(array)
    if nodata is not None:
        out[values == np.asarray(nodata).astype(values.dtype)] = np.nan
    out[~np.isfinite(out)] = np.nan
    return out * float(array.attrs.get("scale_factor", 1.0)) + float(array.attrs.get("add_offset", 0.0))


def in_own_units(array: xr.DataArray, name: str) -> NDArray[np.float64]:
    """The values in the vocabulary's units of `name`.

    Raises
    ------
    UnitsError
        No units, or unknown ones.
    """
    variable = VARIABLES[name]
    units = array.attrs.get("units")
    conversion = variable.conversion(None if units is None else str(units))
    if conversion is None:
        found = "no units" if not units else f"units {units!r}"
        raise UnitsError(
            f"{name!r} has {found}; expected {variable.units!r} or one of {sorted(variable.accepts)}: "
            f".attrs['units'] = {variable.units!r}"
        )
    return numbers(array) * conversion.factor + conversion.offset


def one_line(array: xr.DataArray, along: str, what: str, others: int = 0) -> xr.DataArray:
    """The array on `along` alone, or with at most `others` further dimensions, after it.

    Raises
    ------
    ArgumentError
        It lacks the dimension, or has too many.
    """
    dims: list[Any] = [d for d in array.dims if d != along and array.sizes[d] > 1]
    if along not in array.dims or len(dims) > others:
        more = f" and at most {others} more" if others else " alone"
        raise ArgumentError(
            f"{what}: {array.name!r} is on {tuple(map(str, array.dims))}; expected {along!r}{more}: "
            "choose a place with .isel(...) or .sel(..., method='nearest')"
        )
    return array.squeeze([d for d in array.dims if d != along and d not in dims]).transpose(along, *dims)
