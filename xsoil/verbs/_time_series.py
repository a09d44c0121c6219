"""Series in time of a dataset: which variable, its numbers, its times."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import xarray as xr

from xsoil.choices import require_name
from xsoil.errors import ArgumentError, MissingVariableError, TimeError, UnitsError
from xsoil.verbs._inputs import decode
from xsoil.vocabulary import VARIABLES

__all__ = ["PER_DAY", "chosen", "microseconds", "physical_range", "series_of", "since_1970"]

DEFAULTS = ("soil_moisture", "theta")
DAY, MICROSECOND = timedelta(days=1), timedelta(microseconds=1)
PER_DAY = DAY / MICROSECOND


def chosen(ds: xr.Dataset, variable: str | None) -> str:
    """The variable of that name, else `soil_moisture`, `theta`, or the only one with time."""
    found = [str(name) for name, array in ds.data_vars.items() if "time" in array.dims]
    if variable is not None:
        require_name("variable", variable)
        if variable not in ds.data_vars:
            raise MissingVariableError(f"no {variable!r} among {sorted(map(str, ds.data_vars))}")
        return variable
    default = next((name for name in DEFAULTS if name in ds.data_vars), None)
    if default is not None:
        return default
    if len(found) != 1:
        raise MissingVariableError(
            f"no 'soil_moisture' or 'theta' among {sorted(map(str, ds.data_vars))}, of which {found or 'none'} have a "
            "dimension 'time'; choose one with variable=..."
        )
    return found[0]


def series_of(ds: xr.Dataset, name: str) -> tuple[xr.DataArray, str]:
    """A variable as numbers with gaps (NaN), still lazy, and its units.

    Values further outside of the variable's physical range than that is wide are missing: they are an undeclared
    nodata value (-9999), or in other units than stated. Anomalies, and what is a little beyond, stay.
    """
    array = ds[name]
    if array.dtype.kind not in "fiu" or {"flag_values", "flag_masks", "flag_meanings"} & set(array.attrs):
        what = f"type {array.dtype}" if array.dtype.kind not in "fiu" else "classes or flags"
        raise ArgumentError(f"{name!r} has {what}, of which there is no mean; expected a series of soil moisture")
    if "time" not in array.dims:
        raise TimeError(f"{name!r} has no dimension 'time' among {[str(d) for d in array.dims]}; rename it")
    units = str(array.attrs.get("units", "")).strip()
    if not units:
        raise UnitsError(f"{name!r} has no units; for example: ds[{name!r}].attrs['units'] = 'm3 m-3'")
    array = decode(array)
    if array.dtype.kind != "f" or array.dtype.itemsize not in (
        4,
        8,
    ):  # no kernel computes in half or extended precision
        array = array.astype(np.float32 if array.dtype.itemsize <= 2 else np.float64)
    limits = physical_range(name, units)
    if limits is not None and np.isfinite(width := limits[1] - limits[0]):
        array = array.where((array >= limits[0] - width) & (array <= limits[1] + width))
    return array, units


def physical_range(name: str, units: str) -> tuple[float, float] | None:
    """The range that the vocabulary has for a variable, in these units; None where it knows neither."""
    row = VARIABLES.get(name)
    conversion = None if row is None else row.conversion(units)
    if row is None or conversion is None:
        return None
    low, high = sorted((end - conversion.offset) / conversion.factor for end in (row.low, row.high))
    return low, high


def microseconds(index: Any, name: str) -> np.ndarray:
    """Times since 1970 as whole numbers; they must be dates in strict order."""
    if index is None:
        raise TimeError(f"{name!r} has no time coordinate; add the dates: ds.assign_coords(time=...)")
    if index.size == 0:
        raise TimeError(f"{name!r} has no times; expected at least one")
    if index.dtype.kind != "M" and not hasattr(index[0], "calendar"):
        raise TimeError(
            f"{name!r}: time holds {index[0]!r}, expected dates; ds['time'] = pd.to_datetime(...), or xr.decode_cf(ds)"
        )
    times = since_1970(index.to_numpy())
    wrong = np.flatnonzero(np.diff(times) <= 0)
    if wrong.size or index.hasnans:
        at = int(wrong[0]) + 1 if wrong.size else 0
        raise TimeError(
            f"{name!r}: time is missing, unsorted or repeated at {index[at]}; "
            "use ds.sortby('time') and ds.drop_duplicates('time')"
        )
    return times


def since_1970(times: np.ndarray) -> np.ndarray:
    """Whole microseconds since 1970, the same for one time whatever its resolution."""
    if times.dtype.kind == "M":
        return times.astype("datetime64[us]").astype(np.int64)
    return np.array([round((t - type(t)(1970, 1, 1)) / MICROSECOND) for t in times.ravel()]).reshape(times.shape)
