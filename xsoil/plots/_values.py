"""What pictures take: one variable of a dataset, decoded, in units that its label names."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsoil.data.objects import as_dataset, decode
from xsoil.errors import ArgumentError, MissingVariableError, TimeError, UnitsError
from xsoil.vocabulary import VARIABLES, canonical_units

__all__ = [
    "WATER",
    "WETTEST",
    "choose",
    "in_own_units",
    "numbers",
    "one_line",
    "require_dates",
    "require_same_units",
    "wettest",
]

WATER = ("theta", "soil_moisture", "theta_obs")
"""Names of soil moisture, the first that is there is drawn."""

WETTEST = 0.5
"""Upper end of the colours of soil moisture [m3 m-3]: one scale for all days, so that they compare."""


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
    if array.dtype.kind not in "fiub":
        raise ArgumentError(f"{array.name!r} holds {array.dtype}; expected numbers")
    out: NDArray[np.float64] = decode(array).to_numpy().astype(np.float64)
    out[~np.isfinite(out)] = np.nan
    return out


def in_own_units(array: xr.DataArray, name: str) -> NDArray[np.float64]:
    """The values in the vocabulary's units of `name`.

    Raises
    ------
    UnitsError
        No units, or unknown ones.
    """
    conversion = VARIABLES[name].require(array.attrs.get("units"), repr(name), f"ds[{str(array.name)!r}]")
    return numbers(array) * conversion.factor + conversion.offset


def wettest(array: xr.DataArray) -> float | None:
    """`WETTEST` in the units of the array; None where these are not those of a water content."""
    units = array.attrs.get("units")
    if units is None:
        return WETTEST
    conversion = VARIABLES["soil_moisture"].conversion(str(units))
    return None if conversion is None else (WETTEST - conversion.offset) / conversion.factor


def require_same_units(a: xr.DataArray, b: xr.DataArray) -> None:
    """Raise unless both are in the units of one axis."""
    units = [array.attrs.get("units") for array in (a, b)]
    if None in units or canonical_units(str(units[0])) != canonical_units(str(units[1])):
        raise UnitsError(
            f"{a.name!r} is in {units[0]!r}, {b.name!r} in {units[1]!r}; expected one unit for one axis: "
            "convert one, or set its .attrs['units']"
        )


def require_dates(array: xr.DataArray) -> None:
    """Raise unless `time` holds dates that numpy and matplotlib know."""
    times = array["time"].to_numpy()
    if times.dtype.kind == "M":
        return
    first = times.flat[0] if times.size else times.dtype
    if hasattr(first, "calendar"):
        raise TimeError(
            f"the time of {array.name!r} is on the calendar {first.calendar!r}; expected numpy's dates: "
            "ds.convert_calendar('standard', use_cftime=False)"
        )
    raise TimeError(
        f"the time of {array.name!r} holds {first!r}, expected dates: ds.assign_coords(time=...); "
        "or choose a step with .isel(time=0)"
    )


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
