"""Limits of a prediction: the physical range of its target, or what the caller knows."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError, GridMismatchError, TimeError, UnitsError
from xsoil.verbs._inputs import decode, require_same_grid
from xsoil.vocabulary import VARIABLES, Conversion, canonical_units

__all__ = ["limited", "require_times"]

RANGE = "range"
"""The range that the vocabulary knows of a target."""

Limit = float | xr.DataArray


def limited(result: xr.Dataset, name: str, bounds: Any, *, quality: bool) -> xr.Dataset:
    """The predictions of a target, and of its members, no lower and no higher than its limits.

    Parameters
    ----------
    result : xr.Dataset
        With `name`, and perhaps ``<name>_members``.
    bounds : "range", None or (low, high)
        See `MoistureModel.predict`.
    quality : bool
        Add ``<name>_quality``, which tells where the prediction was beyond them.

    Raises
    ------
    ArgumentError, GridMismatchError, TimeError, UnitsError
        Limits that are none, on other cells or days, or in units that cannot be converted.
    """
    low, high, text = _limits(result, name, bounds)
    raw = result[name]
    beyond = (raw < low) | (raw > high)
    out = result
    if text:
        changed = {
            each: result[each].clip(low, high, keep_attrs=True) for each in (name, f"{name}_members") if each in result
        }
        out = result.assign({each: array.transpose(*result[each].dims) for each, array in changed.items()})
        out[name].attrs["comment"] = f"{raw.attrs['comment']}, limited to {text}"
    if quality:
        attrs = {
            "long_name": f"quality of {raw.attrs['long_name']}", "flag_masks": np.array([1], np.uint8),
            "flag_meanings": "limited",
        }  # fmt: skip
        out = out.assign({f"{name}_quality": beyond.transpose(*raw.dims).astype(np.uint8).assign_attrs(attrs)})
    return out


def _limits(result: xr.Dataset, name: str, bounds: Any) -> tuple[Limit, Limit, str]:
    """Low, high, and how to say it; an empty text where there are none."""
    if bounds is None:
        return -np.inf, np.inf, ""
    if isinstance(bounds, str) and bounds == RANGE:
        row = VARIABLES.get(name)
        low, high = (-np.inf, np.inf) if row is None else (row.low, row.high)
        return low, high, "" if np.isinf([low, high]).all() else f"{low:g}..{high:g}"
    found: list[Limit] = []
    for limit in bounds if isinstance(bounds, (tuple, list)) and len(bounds) == 2 else ():
        if isinstance(limit, xr.DataArray):
            require_same_grid(result, limit, "bounds")
            if foreign := [str(dim) for dim in limit.dims if dim not in result[name].dims]:
                raise GridMismatchError(f"a bound is on {foreign}, {name!r} on {[str(d) for d in result[name].dims]}")
            require_times(result, limit, "a bound")
            found.append(_in_units(limit, name, str(result[name].attrs["units"])))
        elif isinstance(limit, (int, float, np.number)) and not isinstance(limit, bool) and not np.isnan(limit):
            found.append(float(limit))
    numbers = [limit for limit in found if isinstance(limit, float)]
    if len(found) < 2 or (len(numbers) == 2 and not numbers[0] < numbers[1]):
        raise ArgumentError(
            f"bounds={bounds!r}; expected 'range', None, or the lowest and highest value as numbers or DataArrays: "
            "(0, 0.6), (0, soil.theta_s)"
        )
    words = [f"{limit:g}" if isinstance(limit, float) else str(limit.name or "a map") for limit in found]
    return found[0], found[1], "..".join(words)


def _in_units(limit: xr.DataArray, name: str, units: str) -> xr.DataArray:
    """A map of limits in the units of what it limits; one without units is in them."""
    theirs, row = limit.attrs.get("units"), VARIABLES.get(name)
    same = theirs is None or canonical_units(str(theirs)) == canonical_units(units)
    conversion = Conversion(1.0) if same else None if row is None else row.conversion(str(theirs))
    if conversion is None:
        raise UnitsError(f"a bound is in {theirs!r}, {name!r} in {units!r}; convert it, and set its attrs['units']")
    values = decode(limit).astype(np.float32)
    if not same:
        values = values * np.float32(conversion.factor) + np.float32(conversion.offset)
    return values.drop_vars(list(values.coords))


def require_times(result: xr.Dataset, obj: xr.DataArray, what: str) -> None:
    """Raise unless what varies in time has the times of the result."""
    if "time" not in obj.dims:
        return
    own, theirs = result.indexes.get("time"), obj.indexes.get("time")
    same = own is None or theirs is None or own.equals(theirs)
    if "time" not in result.dims or result.sizes["time"] != obj.sizes["time"] or not same:
        found = f"{obj.sizes['time']} times" + (f" from {theirs[0]}" if theirs is not None and theirs.size else "")
        expected = "no time" if "time" not in result.dims else f"{result.sizes['time']} times"
        first = "" if own is None or not own.size or "time" not in result.dims else f" from {own[0]}"
        raise TimeError(f"{what} has {found}, the prediction {expected}{first}; expected those: .reindex(time=...)")
