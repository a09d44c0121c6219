"""NLDAS-2 primary forcing (FORA0125_H): hourly weather of North America at 1/8 degree, one netCDF file an hour."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from xsoil.data._degrees import degree_window
from xsoil.data._hdf5 import check_all, series
from xsoil.data._maps import grid_coords, maps
from xsoil.data._paths import Paths, Product, in_order, matched, name_of, paths_of
from xsoil.data._variables import attrs_of, variable_of
from xsoil.errors import FileError, TimeError, UnknownNameError
from xsoil.vocabulary import canonical_units

__all__ = ["open_nldas2"]

PRODUCT = Product(
    "NLDAS Primary Forcing Data L4 Hourly 0.125 x 0.125 degree (NLDAS_FORA0125_H)",
    "version 2.0 (netCDF)",
    "Xia, Y., K. Mitchell, M. Ek, J. Sheffield, B. Cosgrove, E. Wood, L. Luo and others (2012), Continental-scale "
    "water "
    "and energy flux analysis and validation for the North American Land Data Assimilation System project phase 2 "
    "(NLDAS-2): 1. Intercomparison and application of model products. J. Geophys. Res. 117, D03109",
    "10.1029/2011JD016048",
)
PATTERN = re.compile(r"NLDAS_FOR(A|B)0125_(H|M|MC)\.A(\d{6,8})(?:\.(\d{4}))?\.(\d{3})\.(nc4?|grb)", re.IGNORECASE)
SHAPE = (224, 464)
GEOBOX = GeoBox(SHAPE, Affine(0.125, 0, -125.0, 0, 0.125, 25.0), "EPSG:4326")
"""The first row is the southernmost."""
HOUR = pd.Timedelta(hours=1)
FLUXES = {"precipitation": "Rainf", "pet": "PotEvap"}
"""Totals of the hour that ends at the time of the file."""
STATES = {
    "air_temperature": "Tair",
    "specific_humidity": "Qair",
    "surface_pressure": "PSurf",
    "wind_u": "Wind_E",
    "wind_v": "Wind_N",
    "shortwave_down": "SWdown",
    "longwave_down": "LWdown",
}
VARIABLES_OF_FILE = (*FLUXES, *STATES)
RATES = {"kg m-2": 24.0, "mm": 24.0, "h-1 kg m-2": 24.0, "h-1 mm": 24.0, "kg m-2 s-1": 86400.0, "mm s-1": 86400.0}
"""From the units of a flux in the file to mm d-1; an amount is that of the hour."""


def open_nldas2(
    paths: Paths, variables: Sequence[str] | str = ("precipitation", "pet", "air_temperature"), *, region: object = None
) -> xr.Dataset:
    """Hourly weather of NLDAS-2, any number of files as one lazy series.

    Precipitation and potential evaporation are totals of the hour before the time of their file. Here ``time`` is the
    beginning of the hour: the total of 13 to 14 UTC, from the file of 14 UTC, is at 13:00, as a rate [mm d-1]; so a
    day's mean over its 24 hours is its total. States stay at their own times. The last hour needs the file after it:
    add the file of 0:00 of the next day (otherwise its fluxes are NaN, as are those before a gap).

    Parameters
    ----------
    paths : str, path or list of them
        Files ``NLDAS_FORA0125_H.Ayyyymmdd.hhmm.020.nc``, a folder, a pattern, or URLs that fsspec opens.
    variables : str or sequence of str
        Of ``precipitation pet`` [mm d-1], ``air_temperature`` [K], ``specific_humidity`` [kg kg-1],
        ``surface_pressure`` [Pa], ``wind_u wind_v`` [m s-1], ``shortwave_down longwave_down`` [W m-2].
    region : str, tuple or object with a grid, optional
        Only this part is read: (west, south, east, north) in degrees, ``"conus"``, or an object whose footprint is to
        be covered.

    Returns
    -------
    xr.Dataset
        float32 on (time, latitude, longitude), one block a file; latitude ascends as in the files.

    Raises
    ------
    FileError
        A file of another product (monthly means, file B, GRIB), damaged, or in other units than documented.
    UnknownNameError
        A variable that is not in the table above.
    TimeError
        Two files of one hour.

    Notes
    -----
    Follows version 2.0 of NLDAS_FORA0125_H, netCDF [1]_; version 002, GRIB, is not read. That totals belong to the hour
    before is what the beginning of the record says: its first file is of 1979-01-01 13 UTC, its totals begin at 12 UTC.
    The potential evaporation is that of NARR (modified Penman), and can be slightly negative at night. Times are UTC;
    for days of local time see `xsoil.data.prepare_forcing`.

    References
    ----------
    .. [1] Xia et al. (2012), J. Geophys. Res. 117, D03109, doi:10.1029/2011JD016048; data: doi:10.5067/6J5LHHOHZHN4.

    Examples
    --------
    >>> import xsoil
    >>> weather = xsoil.data.open_nldas2("NLDAS/2015/*.nc", region=(-105, 30, -95, 40))  # doctest: +SKIP
    """
    asked = [variables] if isinstance(variables, str) else list(dict.fromkeys(variables))
    for name in asked:
        if name not in VARIABLES_OF_FILE:
            raise UnknownNameError.of("variable of NLDAS-2", name, VARIABLES_OF_FILE)
    files = paths_of(paths, (".nc", ".nc4"), "files of NLDAS_FORA0125_H")
    matches = matched(files, PATTERN, "NLDAS_FORA0125_H.Ayyyymmdd.hhmm.020.nc")
    for match in matches:
        kind, step, _, hour, _, ending = match.groups()
        if kind.upper() != "A" or step.upper() != "H" or hour is None:
            raise FileError(f"{match.string!r} is not of the hourly file A; expected NLDAS_FORA0125_H.A...")
        if ending.lower() == "grb":
            raise FileError(f"{match.string!r} is GRIB; load version 2.0, which is netCDF")
    files, valid = in_order(files, [_time(match) for match in matches])
    geobox, window = degree_window(GEOBOX, region)
    fields = {name: FLUXES[name] if name in FLUXES else STATES[name] for name in asked}
    stored = check_all(files, {"/": list(fields.values())}, SHAPE, PRODUCT.name)["/"]
    steps = valid[1:] - valid[:-1]
    following = [files[i + 1] if i < len(steps) and steps[i] == HOUR else None for i in range(len(files))]

    made: dict[str, Any] = {}
    for name, field in fields.items():
        dtype, about = stored[field]
        fill = about.get("_FillValue", about.get("missing_value", -9999.0))
        decode: dict[str, Any] = {"fills": (fill,)}
        source: list[str | None] = list(files)
        if name in FLUXES:
            source = list(following)
            units = canonical_units(str(about.get("units", "")))
            if units not in RATES:
                raise FileError(
                    f"{field!r} of {name_of(files[0])!r} is in {about.get('units')!r}; expected kg m-2 of the hour"
                )
            decode["factor"] = RATES[units]
            attrs = attrs_of(name, cell_methods="time: mean (interval: 1 hour)")
        else:
            expected = variable_of(name).units
            if canonical_units(str(about.get("units", ""))) != canonical_units(expected):
                raise FileError(f"{field!r} of {name_of(files[0])!r} is in {about.get('units')!r}; expected {expected}")
            attrs = attrs_of(name, cell_methods="time: point")
        data = series(source, field, "/", window, np.dtype(dtype).newbyteorder("="), decode, PRODUCT.name)
        made[name] = (("time", *geobox.dimensions), data, attrs)
    about_time = {"standard_name": "time", "long_name": "beginning of the hour (UTC)"}
    coords = {"time": ("time", valid, about_time)} | grid_coords(geobox)
    return maps(made, coords, PRODUCT.attrs)


def _time(match: re.Match[str]) -> pd.Timestamp:
    try:
        return pd.Timestamp(f"{match.group(3)}T{match.group(4)}")
    except ValueError:
        raise TimeError(f"{match.string!r} has no date and hour in its name") from None
