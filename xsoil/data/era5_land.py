"""ERA5-Land: hourly weather and land surface of the world at 0.1 degree, since 1950."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from xsoil.data._days import mean_of_days
from xsoil.data._degrees import degrees_named, select, with_crs
from xsoil.data._hdf5 import require_choice
from xsoil.data._maps import layer_coords
from xsoil.data._netcdf import chunked, first_name, joined, open_one
from xsoil.data._paths import Paths, Product, paths_of
from xsoil.data._variables import attrs_of
from xsoil.errors import ArgumentError, FileError, GridMismatchError, TimeError, UnknownNameError
from xsoil.vocabulary import canonical_units

__all__ = ["open_era5_land"]

PRODUCT = Product(
    "ERA5-Land hourly data from 1950 to present",
    "the data documentation of ECMWF (accumulations from 00 UTC)",
    "Munoz-Sabater, J., E. Dutra, A. Agusti-Panareda and others (2021), ERA5-Land: a state-of-the-art global "
    "reanalysis "
    "dataset for land applications. Earth Syst. Sci. Data 13, 4349-4383; data: doi:10.24381/cds.e2161bac",
    "10.5194/essd-13-4349-2021",
)
FLUXES: dict[str, tuple[str, float, str, dict[str, str]]] = {
    "precipitation": ("tp", 1000.0, "m", {}),
    "pet": ("pev", -1000.0, "m", {}),
    "actual_et": ("e", -1000.0, "m", {}),
    "runoff": ("ro", 1000.0, "m", {"long_name": "runoff, surface and below"}),
    "shortwave_down": ("ssrd", 1 / 86400, "J m-2", {}),
    "longwave_down": ("strd", 1 / 86400, "J m-2", {}),
    "shortwave_net": ("ssr", 1 / 86400, "J m-2", {}),
    "longwave_net": ("str", 1 / 86400, "J m-2", {}),
}
"""Accumulated from 00 UTC. Our name: that of ECMWF, factor from an amount in a day to our units, units of the file."""
STATES: dict[str, tuple[str, str, dict[str, str]]] = {
    "air_temperature": ("t2m", "K", {}),
    "dewpoint_temperature": ("d2m", "K", {}),
    "surface_pressure": ("sp", "Pa", {}),
    "wind_u": ("u10", "m s-1", {}),
    "wind_v": ("v10", "m s-1", {}),
    "lai_high": ("lai_hv", "m2 m-2", {}),
    "lai_low": ("lai_lv", "m2 m-2", {}),
    "soil_moisture": ("swvl", "m3 m-3", {"long_name": "soil moisture of four layers (model)"}),
    "soil_temperature": ("stl", "K", {"long_name": "soil temperature of four layers (model)"}),
}
LAYERED = ("soil_moisture", "soil_temperature")
LAYERS = ((0.0, 0.07), (0.07, 0.28), (0.28, 1.0), (1.0, 2.89))
KNOWN = (*FLUXES, *STATES)
SWAPPED = {"evabs", "evaow", "evavt"}
HOUR = np.timedelta64(1, "h")


def open_era5_land(
    paths: Paths | xr.Dataset,
    variables: Sequence[str] | str | None = None,
    *,
    frequency: Literal["hourly", "daily"] = "hourly",
    accumulated: bool = True,
    region: object = None,
    chunks: Mapping[str, int] | None = None,
) -> xr.Dataset:
    """Weather and soil of ERA5-Land, lazy, fluxes as rates of their own hour or totals of their own day.

    In the files fluxes are sums since 00 UTC: the value at 14:00 is that of 14 hours, the value at 00:00 that of the
    whole day BEFORE. Here the flux at 13:00 is that of 13 to 14 UTC, and the flux of a day is the value at 00:00 of
    the next day. Evaporation, which ECMWF counts as negative, is positive.

    Parameters
    ----------
    paths : str, path, list of them, or xr.Dataset
        NetCDF files of the Climate Data Store (old or new, a file for each month or variable), files converted from
        GRIB by cfgrib (with ``time`` and ``step``), a Zarr store, URLs that fsspec opens; or a dataset opened
        elsewhere with ECMWF's short names.
    variables : str or sequence of str, optional
        Fluxes: ``precipitation pet actual_et runoff`` [mm d-1], ``shortwave_down longwave_down shortwave_net
        longwave_net`` [W m-2]; states: ``air_temperature dewpoint_temperature`` [K], ``surface_pressure`` [Pa],
        ``wind_u wind_v`` [m s-1], ``lai_high lai_low`` [1], ``soil_moisture`` [m3 m-3] and ``soil_temperature`` [K]
        of layers. By default all that are there.
    frequency : {"hourly", "daily"}
        "daily": totals and means of UTC days. Fluxes take one value a day (00 UTC of the next day), so that files of
        00 UTC alone will do for them; states take the mean of 0 to 23 UTC, and need all 24.
    accumulated : bool
        False for copies whose fluxes are already those of the hour before (the ARCO store of ECMWF). Monthly means
        are not read.
    region : str, tuple or object with a grid, optional
        Only this part is read, as in `open_nldas2`; longitudes may be 0 to 360 in the files.
    chunks : mapping, optional
        Chunk sizes by the names of the files' dimensions; by default all of the map and whole days of about 64 MB.

    Returns
    -------
    xr.Dataset
        On (time, [depth,] latitude, longitude), NaN over the sea. Fluxes whose next hour is not there (the last one,
        and those before a gap) are NaN; a day is NaN unless it is complete.

    Raises
    ------
    FileError
        Another product, or units that are not those of ERA5-Land.
    TimeError
        Steps other than hours (or, daily, than hours or days at 00 UTC).
    ArgumentError, UnknownNameError
        A variable that is not there, or that xsoil does not know.
    GridMismatchError
        Files on different grids.

    Notes
    -----
    Packing to 16 bits leaves differences of about a thousandth of a millimetre of either sign in dry hours; negative
    precipitation is set to 0. Daily totals are not made of differences. The potential evaporation of ERA5-Land is
    that of open water and high (see ECMWF's documentation): `xsoil.data.prepare_forcing` computes another.
    Evaporation from bare soil, open water and transpiration are swapped in the data and not offered.

    References
    ----------
    .. [1] Munoz-Sabater et al. (2021), Earth Syst. Sci. Data 13, 4349-4383, doi:10.5194/essd-13-4349-2021.

    Examples
    --------
    >>> import xsoil
    >>> rain = xsoil.data.open_era5_land("era5_land/*.nc", "precipitation", frequency="daily")  # doctest: +SKIP
    """
    require_choice(frequency, ("hourly", "daily"), "frequency")
    given = [paths] if isinstance(paths, xr.Dataset) else [open_one(path) for path in _files(paths)]
    parts = [_regular(select(degrees_named(ds), region), chunks) for ds in given]
    for part in parts[1:]:
        for dim in ("latitude", "longitude"):
            if not np.array_equal(part[dim], parts[0][dim]):
                raise GridMismatchError(f"two files differ in {dim}; give files of one area")
    dataset = joined(parts, "time")
    names = _names(dataset, variables)
    time = dataset.indexes["time"].to_numpy()

    made: dict[str, xr.DataArray] = {}
    for name in names:
        if name in LAYERED:
            layers = [dataset[code] for code in _codes(name, dataset)]
            array = xr.concat([_checked(layer, STATES[name][1]) for layer in layers], "depth", coords="minimal")
            array = array.transpose("time", "depth", ...)
            made[name] = _state(array, frequency, time).assign_attrs(attrs_of(name, **STATES[name][2]))
        elif name in STATES:
            code, units, more = STATES[name]
            made[name] = _state(_checked(dataset[code], units), frequency, time).assign_attrs(attrs_of(name, **more))
        else:
            made[name] = _flux(dataset, name, frequency, accumulated, time)
    if frequency == "daily":
        days = pd.DatetimeIndex(sorted(set().union(*(array.indexes["time"] for array in made.values()))), name="time")
        made = {name: array.reindex(time=days) for name, array in made.items()}
    out = xr.Dataset({name: array.astype(np.float32) for name, array in made.items()}, attrs=PRODUCT.attrs)
    out = out.drop_vars([c for c in out.coords if c not in out.dims])
    out["time"].attrs = {"standard_name": "time", "long_name": "beginning of the hour or day (UTC)"}
    if "depth" in out.dims:
        out = _with_depth(out, dataset, names)
    return with_crs(out)


def _files(paths: Any) -> list[str]:
    if isinstance(paths, str) and paths.rstrip("/").endswith(".zarr"):
        return [paths]
    return paths_of(paths, (".nc", ".nc4"), "files of ERA5-Land")


def _regular(ds: xr.Dataset, chunks: Mapping[str, int] | None) -> xr.Dataset:
    """Lazy, with one dimension `time` of valid times and without expver and number."""
    grib = "step" in ds.dims and "time" in ds.dims  # forecasts that start at 00 UTC
    time = "time" if grib else first_name(ds, ("valid_time", "time"), "time")
    if time not in ds.dims:
        ds = ds.expand_dims(time)
    ds = chunked(ds, time, 1 if grib else 24, chunks)
    if grib:
        valid = (ds["time"] + ds["step"]).transpose("time", "step").values.ravel()
        flat = ds.drop_vars(["valid_time", "time", "step"], errors="ignore")
        flat = flat.stack(_t=("time", "step"), create_index=False).transpose("_t", ...)
        order = np.argsort(valid, kind="stable")
        order = order[np.append(True, np.diff(valid[order]) > np.timedelta64(0))]
        ds = flat.assign_coords(_t=valid).rename(_t="time").isel(time=order)
    elif time != "time":
        ds = ds.drop_vars("time", errors="ignore").rename({time: "time"})
    if "expver" in ds.dims:  # 1 where final, 5 where preliminary
        first, *others = (ds.isel(expver=i, drop=True) for i in np.argsort(ds["expver"].values))
        for other in others:
            first = first.fillna(other)
        ds = first
    if "number" in ds.dims:
        ds = ds.isel(number=0, drop=True)
    return ds.drop_vars([c for c in ds.coords if c not in ("time", "latitude", "longitude")])


def _codes(name: str, ds: xr.Dataset) -> list[str]:
    """Variables of the files that make up one of ours."""
    if name not in LAYERED:
        return [FLUXES[name][0] if name in FLUXES else STATES[name][0]]
    return [f"{STATES[name][0]}{i}" for i in range(1, 5) if f"{STATES[name][0]}{i}" in ds]


def _names(ds: xr.Dataset, variables: Any) -> list[str]:
    there = [name for name in KNOWN if (codes := _codes(name, ds)) and all(code in ds for code in codes)]
    if variables is None:
        if not there:
            raise FileError(f"no variable of ERA5-Land that xsoil knows among {sorted(map(str, ds.data_vars))}")
        return there
    asked = [variables] if isinstance(variables, str) else list(dict.fromkeys(variables))
    for name in asked:
        if name in SWAPPED:
            raise ArgumentError(
                f"{name!r}: evabs, evaow and evavt are swapped in ERA5-Land; take 'actual_et', their sum"
            )
        if name not in KNOWN:
            raise UnknownNameError.of("variable of ERA5-Land", name, KNOWN)
        if name not in there:
            raise ArgumentError(f"no {name!r} in the files, which have {', '.join(sorted(map(str, ds.data_vars)))}")
    return asked


def _checked(array: xr.DataArray, units: str) -> xr.DataArray:
    found = str(array.attrs.get("units", ""))
    if canonical_units(found) not in (canonical_units(units), canonical_units(units + " of water equivalent")):
        raise FileError(f"{array.name!r} is in {found!r}; ERA5-Land has {units!r}: has it been converted?")
    return array


def _state(array: xr.DataArray, frequency: str, time: np.ndarray[Any, Any]) -> xr.DataArray:
    """Values at the hour, or means of complete days."""
    if frequency == "hourly":
        _require_hourly(time)
        return array
    _require_hourly(time, f"the daily mean of {array.name or 'layers'}")
    days, counts = np.unique(time.astype("datetime64[D]"), return_counts=True)
    whole = days[counts == 24]
    if not whole.size:
        raise TimeError("no day has all of its 24 hours; a daily mean of a state needs 0 to 23 UTC")
    inside = array.isel(time=np.flatnonzero(np.isin(time.astype("datetime64[D]"), whole)))
    return mean_of_days(inside, 0, whole.size, 24).assign_coords(time=whole.astype("datetime64[ns]"))


def _flux(ds: xr.Dataset, name: str, frequency: str, accumulated: bool, time: np.ndarray[Any, Any]) -> xr.DataArray:
    """Rates of the hour that begins at `time`, or of the day."""
    code, factor, units, more = FLUXES[name]
    array = _checked(ds[code], units)
    hour = (time - time.astype("datetime64[D]")) // HOUR
    if frequency == "daily" and accumulated:
        ends = np.flatnonzero(hour == 0)
        if not ends.size:
            raise TimeError("no value at 00 UTC, which holds the total of the day before; load that hour too")
        day = array.isel(time=ends)
        out = day.assign_coords(time=(time[ends].astype("datetime64[D]") - 1).astype("datetime64[ns]"))
    else:
        _require_hourly(time)
        following = array.shift(time=-1)
        has_next = np.append(np.diff(time) == HOUR, False)
        if accumulated:  # at 00 UTC the sum begins anew: the hour from 0 to 1 is the value at 1:00 itself
            rate = following - array.where(xr.DataArray(hour != 0, dims="time"), 0.0)
        else:
            rate = following
        out = rate.where(xr.DataArray(has_next, dims="time")) * 24.0
        if frequency == "daily":
            out = _state(out, "daily", time)
    out = out * factor
    if name == "precipitation":
        out = out.clip(min=0.0)
    cell = "time: mean (interval: 1 hour)" if frequency == "hourly" else "time: mean (interval: 1 day)"
    return out.assign_attrs(attrs_of(name, cell_methods=cell, **more))


def _require_hourly(time: np.ndarray[Any, Any], what: str = "hourly fluxes and states") -> None:
    steps = np.diff(time)
    if steps.size and np.median(steps.astype("timedelta64[m]").astype(int)) != 60:
        raise TimeError(
            f"the steps are {pd.Timedelta(np.median(steps))}; {what} need hours (for totals of days from values at "
            f"00 UTC "
            "alone: frequency='daily' and fluxes only)"
        )


def _with_depth(out: xr.Dataset, ds: xr.Dataset, names: Sequence[str]) -> xr.Dataset:
    present = {tuple(int(code[-1]) - 1 for code in _codes(name, ds)) for name in names if name in LAYERED}
    if len(present) > 1:
        raise ArgumentError("soil moisture and soil temperature have different layers; open them one by one")
    return out.assign_coords(layer_coords([LAYERS[i] for i in next(iter(present))]))
