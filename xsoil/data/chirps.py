"""CHIRPS: daily precipitation from infrared and gauges at 0.05 degree, versions 2 and 3."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr

from xsoil.data._degrees import degrees_named, select, with_crs
from xsoil.data._maps import decoded, grid_coords, maps
from xsoil.data._netcdf import chunked, first_name, joined, open_one
from xsoil.data._paths import Paths, Product, in_order, matched, name_of, paths_of
from xsoil.data._rasters import Raster, dims_of, fills_of, stacked
from xsoil.data._variables import attrs_of
from xsoil.errors import FileError, TimeError
from xsoil.vocabulary import canonical_units

__all__ = ["open_chirps"]

PRODUCTS = {
    2: Product(
        "CHIRPS: Rainfall Estimates from Rain Gauge and Satellite Observations",
        "version 2.0",
        "Funk, C., P. Peterson, M. Landsfeld and others (2015), The climate hazards infrared precipitation with "
        "stations: "
        "a new environmental record for monitoring extremes. Sci. Data 2, 150066",
        "10.1038/sdata.2015.66",
    ),
    3: Product(
        "CHIRPS3: Climate Hazards Center Infrared Precipitation with Stations, version 3",
        "version 3.0",
        "Climate Hazards Center (2025), Climate Hazards Center Infrared Precipitation with Stations version 3 "
        "(CHIRPS3) "
        "data repository",
        "10.15780/G2JQ0P",
    ),
}
PATTERN = re.compile(
    r"chirps-v(\d)\.(\d)\.(?:(rnl|sat|prelim)\.)?(\d{4})(?:\.(\d{2})\.(\d{2}))?(?:\.days_p(\d{2}))?[^/]*\.(nc|tiff?|cog)$",
    re.IGNORECASE,
)
SPLIT = {"sat": "IMERG", "rnl": "ERA5", None: "cold cloud duration and reanalysis"}
FILL = -9999.0


def open_chirps(paths: Paths, *, region: object = None, chunks: Mapping[str, int] | None = None) -> xr.Dataset:
    """Daily precipitation of CHIRPS as one lazy series.

    Parameters
    ----------
    paths : str, path or list of them
        Daily netCDF of a year (``chirps-v2.0.2015.days_p05.nc``, ``chirps-v3.0.rnl.2015.days_p05.nc``) or GeoTIFF of a
        day (``chirps-v2.0.2015.04.01.tif``, ``chirps-v3.0.sat.2015.04.01.tif``), a folder, a pattern, or URLs. All of
        one version, and in version 3 of one way to split pentads into days.
    region : str, tuple or object with a grid, optional
        Only this part is read: (west, south, east, north) in degrees, ``"conus"``, an object (netCDF only).
    chunks : mapping, optional
        Chunk sizes by name of dimension; by default all of the map and days of about 64 MB (GeoTIFF: one day).

    Returns
    -------
    xr.Dataset
        ``precipitation`` [mm d-1], float32, on (time, latitude, longitude), NaN over the sea; the orientation of
        latitude is that of the files (netCDF: ascending).

    Raises
    ------
    FileError
        A file of another product or name, monthly or pentad totals, two versions in one record, damaged.
    TimeError
        A day that two files hold.

    Notes
    -----
    Follows CHIRPS 2.0 [1]_ (50 S to 50 N) and 3.0 [2]_ (60 S to 60 N). Both are made as totals of five days; how
    these are split into days is modelled (in version 3 ``sat`` follows IMERG, ``rnl`` ERA5): the attribute `comment`
    says so.

    References
    ----------
    .. [1] Funk et al. (2015), Sci. Data 2, 150066, doi:10.1038/sdata.2015.66.
    .. [2] Climate Hazards Center (2025), CHIRPS3, doi:10.15780/G2JQ0P.

    Examples
    --------
    >>> import xsoil
    >>> rain = xsoil.data.open_chirps("chirps-v2.0.20*.days_p05.nc", region=(10, -20, 40, 5))  # doctest: +SKIP
    """
    files = paths_of(paths, (".nc", ".tif", ".tiff", ".cog"), "files of CHIRPS")
    matches = matched(files, PATTERN, "chirps-v2.0.2015.days_p05.nc, or chirps-v2.0.2015.04.01.tif")
    kinds = {(match.group(1), match.group(3) and match.group(3).lower()) for match in matches}
    if len(kinds) > 1:
        shown = ", ".join(sorted(f"v{version} {split or ''}".strip() for version, split in kinds))
        raise FileError(f"the files are of {shown}; a record of two versions is not of one kind: open them one by one")
    version, split = int(matches[0].group(1)), kinds.pop()[1]
    if version not in PRODUCTS:
        raise FileError(f"{name_of(files[0])!r} is of version {version}; expected 2 or 3")
    suffixes = {match.group(8).lower() == "nc" for match in matches}
    if len(suffixes) > 1:
        raise FileError("netCDF and GeoTIFF are mixed; give one of them")
    comment = (
        f"totals of five days, split into days by {SPLIT.get(split, 'an unknown way')}: the daily timing is modelled"
    )
    attrs = PRODUCTS[version].attrs | {"comment": comment}
    if suffixes.pop():
        return _from_netcdf(files, region, chunks).assign_attrs(attrs)
    return _from_rasters(files, matches, region).assign_attrs(attrs)


def _from_netcdf(files: list[str], region: object, chunks: Mapping[str, int] | None) -> xr.Dataset:
    parts = []
    for path in files:
        ds = open_one(path)
        name = first_name(ds, ("precip", "precipitation"), "precipitation")
        units = canonical_units(str(ds[name].attrs.get("units", "")))
        if units not in ("d-1 mm", "mm"):
            raise FileError(f"{name!r} of {name_of(path)!r} is in {ds[name].attrs.get('units')!r}; expected mm/day")
        if "time" not in ds.dims:
            raise FileError(f"{name_of(path)!r} has no time; expected a year of days")
        _require_days(ds.indexes["time"], path)
        ds = degrees_named(ds[[name]].rename({} if name == "precipitation" else {name: "precipitation"}))
        ds = chunked(select(ds, region), "time", 1, chunks)
        parts.append(ds.drop_vars([c for c in ds.coords if c not in ("time", "latitude", "longitude")]))
    ds = joined(parts, "time")
    rain = ds["precipitation"].astype(np.float32)
    # The fill value is declared in some files and not in others.
    ds = ds.assign(precipitation=rain.where(rain != FILL).assign_attrs(attrs_of("precipitation")))
    ds.attrs = {}
    ds["time"].attrs = {"standard_name": "time"}
    return with_crs(ds)


def _from_rasters(files: list[str], matches: list[re.Match[str]], region: object) -> xr.Dataset:
    if region is not None:
        raise FileError(
            "region is for netCDF; cut rasters afterwards: ds.sel(latitude=slice(...), longitude=slice(...))"
        )
    days = []
    for path, match in zip(files, matches):
        if match.group(5) is None:
            raise FileError(f"{name_of(path)!r} is not of one day; expected chirps-v2.0.2015.04.01.tif")
        days.append(pd.Timestamp(int(match.group(4)), int(match.group(5)), int(match.group(6))))
    files, time = in_order(files, days)
    rasters: dict[Any, Raster] = {day: Raster.open(path) for day, path in zip(time, files)}
    geobox, arrays = stacked(rasters)
    rain = [decoded(arrays[day], (FILL, *fills_of(rasters[day], FILL))) for day in time]
    fields = {"precipitation": (dims_of(geobox, "time"), da.stack(rain), attrs_of("precipitation"))}
    return maps(fields, {"time": ("time", time, {"standard_name": "time"})} | grid_coords(geobox), {})


def _require_days(index: pd.Index, path: str) -> None:
    steps = np.diff(index.to_numpy()).astype("timedelta64[h]").astype(int)
    if steps.size and (steps != 24).any():
        raise TimeError(f"{name_of(path)!r} has steps of {steps.max() / 24:g} days; expected daily CHIRPS")
