"""USCRN: daily soil moisture, temperature and weather of the US Climate Reference Network, text files of a year."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from dask.array import Array, stack
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from xsoil.data._paths import Paths, Product, is_remote, matched, name_of, opened, paths_of
from xsoil.data._variables import attrs_of
from xsoil.errors import ArgumentError, FileError, UnknownNameError
from xsoil.vocabulary import VARIABLES

__all__ = ["open_uscrn"]

PRODUCT = Product(
    "U.S. Climate Reference Network, daily (USCRN daily01)",
    "format 03 of daily01 (readme of 2017-07-06)",
    "Diamond, H. J., T. R. Karl, M. A. Palecki and others (2013), U.S. Climate Reference Network after one decade of "
    "operations: status and assessment. Bull. Am. Meteorol. Soc. 94, 485-498; soil: Bell, J. E. et al. (2013), "
    "J. Hydrometeorol. 14, 977-988",
    "10.1175/BAMS-D-12-00170.1",
)
PATTERN = re.compile(r"CRN([DHS])(\d\d)(\d\d)-(\d{4})-(.+)\.txt$")
DEPTHS = (5, 10, 20, 50, 100)
COLUMNS = 28
FIRST_MOISTURE, FIRST_TEMPERATURE = 18, 23
SINGLE = {
    "air_temperature_max": (5, 273.15),
    "air_temperature_min": (6, 273.15),
    "air_temperature": (8, 273.15),
    "precipitation": (9, 0.0),
    "shortwave_down": (10, 0.0),
    "relative_humidity_max": (15, 0.0),
    "relative_humidity_min": (16, 0.0),
    "relative_humidity": (17, 0.0),
}
"""Our name: column (counted from 0), what to add."""
RADIATION = 1e6 / 86400  # MJ m-2 of a day to W m-2
LAYERED = ("soil_moisture", "soil_temperature")
KNOWN = (*LAYERED, *SINGLE)


def open_uscrn(
    paths: Paths, variables: Sequence[str] | str = ("soil_moisture", "soil_temperature", "precipitation")
) -> xr.Dataset:
    """Daily values of the stations of USCRN, lazy: sites by days.

    Parameters
    ----------
    paths : str, path or list of them
        Files ``CRND0103-yyyy-<station>.txt``, one a station and year, a folder of them, a pattern, or URLs.
    variables : str or sequence of str
        ``soil_moisture`` [m3 m-3] and ``soil_temperature`` [K] at 0.05, 0.10, 0.20, 0.50 and 1.00 m;
        ``precipitation`` [mm d-1], ``air_temperature air_temperature_min air_temperature_max`` [K],
        ``shortwave_down`` [W m-2], ``relative_humidity relative_humidity_min relative_humidity_max`` [percent].

    Returns
    -------
    xr.Dataset
        float32 on (site, time[, depth]); `depth` are points (no bounds). Coordinates ``station latitude longitude
        wban`` of the sites. ``time`` covers the years of the files; a day without a line is NaN. Days are those of
        LOCAL STANDARD time, which for western stations end 5 to 8 hours after those of UTC: make days of an
        hourly forcing with ``prepare_forcing(utc_offset=...)``, or compare with a day's tolerance.

    Raises
    ------
    FileError
        Another product (hourly, sub-hourly), another format, lines that are cut short.
    UnknownNameError, ArgumentError
        No such variable; a station's year twice.

    Notes
    -----
    Follows format 03 of daily01 [1]_: 28 columns, missing -9999 (soil moisture -99). The soil values are means of three
    sensors at a depth that passed the network's checks. Only the first line of each file is read when it is opened.

    References
    ----------
    .. [1] Diamond et al. (2013), doi:10.1175/BAMS-D-12-00170.1; Bell et al. (2013), doi:10.1175/JHM-D-12-0146.1.

    Examples
    --------
    >>> import xsoil
    >>> sites = xsoil.data.open_uscrn("uscrn/2020/*.txt")  # doctest: +SKIP
    """
    asked = [variables] if isinstance(variables, str) else list(dict.fromkeys(variables))
    for name in asked:
        if name not in KNOWN:
            raise UnknownNameError.of("variable of USCRN", name, KNOWN)
    files = paths_of(paths, (".txt",), "files of USCRN daily01")
    stations: dict[str, dict[int, str]] = {}
    for path, match in zip(files, matched(files, PATTERN, "CRND0103-yyyy-<station>.txt")):
        kind, _, version, year, station = match.groups()
        if kind != "D":
            what = {"H": "hourly", "S": "sub-hourly"}[kind]
            raise FileError(f"{match.string!r} is of the {what} product; expected daily01: CRND0103-...")
        if version != "03":
            raise FileError(f"{match.string!r} is of format {version}; this reader follows format 03")
        if int(year) in stations.setdefault(station, {}):
            raise ArgumentError(f"two files of {station} in {year}; give each once")
        stations[station][int(year)] = path
    years = [year for by_year in stations.values() for year in by_year]
    time = pd.date_range(f"{min(years)}-01-01", f"{max(years)}-12-31", name="time")
    heads = {station: _head(next(iter(by_year.values()))) for station, by_year in stations.items()}

    key = f"uscrn-{tokenize(files)}"
    blocks: dict[Any, Any] = {
        (key, i, 0, 0): (_station, tuple(sorted(by_year.items())), str(time[0]), len(time))
        for i, by_year in enumerate(stations.values())
    }
    table = Array(
        HighLevelGraph.from_collections(key, blocks), key, ((1,) * len(stations), (len(time),), (COLUMNS,)), dtype="f8"
    )
    made: dict[str, Any] = {}
    for name in asked:
        if name in LAYERED:
            start = FIRST_MOISTURE if name == "soil_moisture" else FIRST_TEMPERATURE
            parts = [table[:, :, start + i] for i in range(5)]
            data = stack(parts, axis=2) + (0.0 if name == "soil_moisture" else 273.15)
            made[name] = (("site", "time", "depth"), data.astype(np.float32), attrs_of(name))
        else:
            column, offset = SINGLE[name]
            data = table[:, :, column] * RADIATION if name == "shortwave_down" else table[:, :, column] + offset
            made[name] = (("site", "time"), data.astype(np.float32), attrs_of(name))
    coords: dict[str, Any] = {
        "time": ("time", time, {"standard_name": "time", "long_name": "day of local standard time"}),
        "station": ("site", [station.replace("_", " ") for station in stations]),
        "wban": ("site", [head[0] for head in heads.values()]),
        "longitude": ("site", [head[1] for head in heads.values()], {"units": "degrees_east"}),
        "latitude": ("site", [head[2] for head in heads.values()], {"units": "degrees_north"}),
    }
    if any(name in LAYERED for name in asked):
        attrs = VARIABLES["depth"].attrs | {"positive": "down", "axis": "Z"}
        coords["depth"] = ("depth", np.array(DEPTHS) / 100, attrs)
    return xr.Dataset(made, coords, PRODUCT.attrs | {"comment": "days of local standard time"})


def _head(path: str) -> tuple[str, float, float]:
    """WBAN number, longitude and latitude in the first line."""
    with opened(path) as file:
        if is_remote(path):
            line = file.readline().decode(errors="replace")
        else:
            with open(file, encoding="ascii", errors="replace") as text:
                line = text.readline()
    parts = line.split()
    if len(parts) != COLUMNS or len(parts[1]) != 8:
        raise FileError(
            f"{name_of(path)!r} has {len(parts)} columns in its first line; expected the {COLUMNS} of USCRN daily01: "
            f"is it "
            "another product, or a web page?"
        )
    return parts[0], float(parts[3]), float(parts[4])


def _station(files: tuple[tuple[int, str], ...], first: str, count: int) -> np.ndarray[Any, Any]:
    """All columns of a station on (1, days, columns), missing values as NaN."""
    frames = []
    for year, path in files:
        with opened(path) as file:
            # The type of the surface temperature (R, C or U) is the one column that is no number.
            frame = pd.read_csv(file, sep=r"\s+", header=None, dtype={1: str, 11: str})
        if frame.shape[1] != COLUMNS or frame[COLUMNS - 1].dtype.kind not in "fi" or frame.isna().to_numpy().any():
            raise FileError(f"{name_of(path)!r} has lines that are not of {COLUMNS} columns; load it again")
        frame = frame.set_index(pd.to_datetime(frame[1], format="%Y%m%d"))
        if (frame.index.year != year).any() or frame.index.has_duplicates:
            raise FileError(f"{name_of(path)!r} has days twice or of other years; load it again")
        frames.append(frame.drop(columns=[1, 11]))
    whole = pd.concat(frames).apply(pd.to_numeric, errors="coerce").reindex(columns=range(COLUMNS))
    values: np.ndarray[Any, Any] = whole.reindex(pd.date_range(first, periods=count)).to_numpy(float)
    moisture = values[:, FIRST_MOISTURE : FIRST_MOISTURE + 5]
    moisture[moisture <= -99] = np.nan
    values[values <= -9999] = np.nan
    return values[None]
