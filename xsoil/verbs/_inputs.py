"""What every verb does with its input: find a variable, mask nodata, convert units, check axes."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
import xarray as xr

from xsoil.data.objects import STORAGE_ATTRS, as_dataset, decode, flags_of, nodata_of
from xsoil.errors import ArgumentError, GridMismatchError, MissingVariableError, SoilError, TimeError
from xsoil.evaluation._places import farthest
from xsoil.grids.geobox import has_grid, locate
from xsoil.vocabulary import VARIABLES, Variable

__all__ = [
    "STORAGE_ATTRS",
    "as_dataset",
    "carry",
    "classes_of",
    "decode",
    "flags_of",
    "nodata_of",
    "numbers",
    "pick",
    "possible",
    "read",
    "renaming",
    "require_daily",
    "require_same_grid",
]

SAME_KM = 200.0
"""From a site to the middle of the cell of a coarse reanalysis that its series may be taken from."""


def read(ds: xr.Dataset, variable: Variable) -> xr.DataArray:
    """Return `variable` in its canonical units: still lazy, nodata as NaN, the input untouched.

    Single and double precision stay; half precision (86400 s are beyond its range) and integers of up to 16 bits become
    float32, longer ones float64.
    """
    if variable.name not in ds.variables:
        raise MissingVariableError(
            f"no {variable.name!r} ({variable.long_name}) among {sorted(map(str, ds.data_vars))}; "
            f"use {renaming(ds, variable.name)}"
        )
    array = ds[variable.name]
    conversion = variable.require(array.attrs.get("units"), repr(variable.name), f"ds[{variable.name!r}]")
    if array.dtype.kind not in "fiub":  # text would be parsed, complex numbers lose a part
        raise ArgumentError(
            f"{variable.name!r} is of type {array.dtype}; expected numbers: "
            f"ds[{variable.name!r}] = ds[{variable.name!r}].astype(float)"
        )
    array = decode(array.astype(np.float32) if array.dtype == np.float16 else array)
    if array.dtype.kind != "f":
        array = array.astype(np.float32 if array.dtype.itemsize <= 2 else np.float64)
    if conversion.factor != 1.0:
        array = array * array.dtype.type(conversion.factor)
    if conversion.offset != 0.0:
        array = array + array.dtype.type(conversion.offset)
    kept = {k: v for k, v in ds[variable.name].attrs.items() if k == "grid_mapping"}
    return array.assign_attrs(kept | variable.attrs)


def possible(array: xr.DataArray, variable: Variable) -> xr.DataArray:
    """Values in canonical units; those outside of the physical range (an undeclared nodata value, say) are missing."""
    return array.where((array >= variable.low) & (array <= variable.high))


def renaming(ds: xr.Dataset, name: str) -> str:
    """The line that gives a variable its name: with the one that looks like it, where there is one."""
    there = {str(other).lower(): str(other) for other in ds.data_vars}
    near = [low for low in there if len(low) > 1 and name.startswith(low)] or get_close_matches(name, there, 1)
    return f"ds.rename({{{there[near[0]]!r}: {name!r}}})" if near else "ds.rename(...)"


def classes_of(array: xr.DataArray, decoded: xr.DataArray) -> np.ndarray | None:
    """The classes of a variable: those declared, else those found; None where it would have to be read (lazy)."""
    if "flag_values" in array.attrs:
        return flags_of(array.attrs["flag_values"])
    if array.chunks is not None:
        return None
    found = decoded.to_numpy()
    values = np.unique(found[np.isfinite(found)] if found.dtype.kind == "f" else found)
    if values.dtype.kind == "f" and array.dtype.kind in "iu":
        values = values.astype(array.dtype)  # integers that became floats when their nodata was masked
    return values


def require_same_grid(a: xr.Dataset | xr.DataArray, b: xr.Dataset | xr.DataArray, what: str) -> None:
    """Raise unless the dimensions that `a` and `b` share have the same sizes and coordinates.

    Coordinates may differ by 1e-3 of the smallest step (rounding in files), whole numbers not at all; a shifted grid,
    and other sites, are errors, never aligned. Sites without labels must lie about where those of their number do.
    """
    for dim in [d for d in a.dims if d in b.dims and d != "time"]:
        if a.sizes[dim] != b.sizes[dim]:
            raise GridMismatchError(
                f"{what}: {dim!r} has {b.sizes[dim]} cells, expected {a.sizes[dim]}; "
                "bring both to one grid with ds.soil.upscale(...)"
            )
        if dim in a.indexes and dim in b.indexes:
            left, right = a.indexes[dim], b.indexes[dim]
            if left.equals(right):
                continue
            close = False
            kinds = {left.dtype.kind, right.dtype.kind}
            if "f" in kinds and kinds <= set("fiu"):
                x, z = left.to_numpy().astype(float), right.to_numpy().astype(float)
                steps = np.abs(np.diff(np.sort(x)))  # of sites: in any order, with jumps
                step = float(steps[steps > 0].min(initial=np.inf))
                step = step if step < np.inf else max(float(np.abs(x).max(initial=0.0)), 1.0) * 1e-6
                close = bool((np.abs(x - z) <= 1e-3 * step).all())
            if not close:
                raise GridMismatchError(
                    f"{what}: the coordinates of {dim!r} differ (first {right[0]!r}, expected {left[0]!r}); "
                    "bring both to one grid with ds.soil.upscale(...)"
                )
        elif (apart := farthest(a, b, dim)) > SAME_KM:
            raise GridMismatchError(
                f"{what}: sites along {dim!r} lie up to {apart:.0f} km from those of that number; expected the same "
                f"ones in the same order: give {dim!r} their names as a coordinate, and align both with xr.align(a, b)"
            )
    if has_grid(a) and has_grid(b):
        one, two = _crs_or_none(a), _crs_or_none(b)
        if one is not None and two is not None and one != two:
            raise GridMismatchError(
                f"{what}: the CRS is {two}, expected {one}; bring both to one grid with ds.soil.upscale(...)"
            )


def _crs_or_none(obj: xr.Dataset | xr.DataArray) -> Any:
    try:
        return locate(obj).geobox.crs
    except SoilError:
        return None


def require_daily(ds: xr.Dataset | xr.DataArray, what: str) -> None:
    """Raise unless `time` is there, sorted, without duplicates, one value a day without a gap."""
    if "time" not in ds.dims:
        raise TimeError(
            f"{what} has no dimension 'time' among {[str(d) for d in ds.dims]}; rename it, or ds.expand_dims('time')"
        )
    if "time" not in ds.indexes:
        raise TimeError(f"{what} has no time coordinate; add the dates: ds.assign_coords(time=...)")
    index = ds.indexes["time"]
    if not index.size:
        raise TimeError(f"{what} has no day; expected at least one: look at what was selected")
    if index.dtype.kind in "iufUSb" or (index.dtype.kind == "O" and isinstance(index[0], str)):
        raise TimeError(
            f"{what}: time holds {index[0]!r}, expected dates; ds['time'] = pd.to_datetime(...), or xr.decode_cf(ds)"
        )
    if ds.sizes["time"] < 2:
        return
    steps = np.diff(index.to_numpy())
    try:
        days = steps.astype("timedelta64[s]").astype(float) / 86400.0
    except (TypeError, ValueError):
        days = np.array([step.total_seconds() / 86400.0 for step in steps])
    if (days <= 0).any():
        at = int(np.flatnonzero(days <= 0)[0])
        raise TimeError(
            f"{what}: time is unsorted or has duplicates at {index[at + 1]}; "
            "use ds.sortby('time') and ds.drop_duplicates('time')"
        )
    if (days > 1.5).any():
        at = int(np.flatnonzero(days > 1.5)[0])
        raise TimeError(
            f"{what}: time gap between {index[at]} and {index[at + 1]}; "
            "expected one value a day: fill it, or split the run there"
        )
    if (np.abs(days - 1.0) > 1e-3).any():
        raise TimeError(
            f"{what}: steps of {days.min():g} to {days.max():g} days; expected one value a day: "
            "ds.resample(time='1D').mean(), or xsoil.data.prepare_forcing(...)"
        )


def pick(names: Iterable[str], ds: xr.Dataset) -> list[str]:
    """Those of `names` that the dataset holds."""
    return [name for name in names if name in ds.variables]


def numbers(fixed: Mapping[str, object]) -> xr.Dataset:
    """Keyword parameters as a dataset in canonical units (numbers are taken to be in them)."""
    out: dict[Hashable, xr.DataArray] = {}
    for name, value in fixed.items():
        if isinstance(value, xr.DataArray):
            out[name] = value
        else:
            units = VARIABLES[name].units
            out[name] = xr.DataArray(np.asarray(value, dtype=float), attrs={"units": units})
    return xr.Dataset(out)


def carry(ds: xr.Dataset, out: xr.Dataset, first: str) -> xr.Dataset:
    """Give results the attributes of the dataset, the grid mapping of `first` and the bounds of their coordinates."""
    out = out.assign_attrs(ds.attrs)
    source = ds[first]
    mapping = source.attrs.get("grid_mapping", source.encoding.get("grid_mapping"))
    if mapping is not None:
        place = "attrs" if "grid_mapping" in source.attrs else "encoding"
        for name in out.data_vars:
            getattr(out[name], place)["grid_mapping"] = mapping
    extra = {mapping} | {c.attrs.get("bounds", c.encoding.get("bounds")) for c in out.coords.values()}
    return out.assign_coords({n: ds[n].variable for n in extra if n in ds.variables and n not in out.coords})
