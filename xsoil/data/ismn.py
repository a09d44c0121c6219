"""ISMN: soil moisture of stations, through the package `ismn`, as series of sensors."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from dask.array import Array
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from xsoil.data._hdf5 import require_choice
from xsoil.data._paths import Product
from xsoil.data._variables import attrs_of
from xsoil.errors import ArgumentError, FileError, MissingVariableError, UnknownNameError

__all__ = ["open_ismn"]

PRODUCT = Product(
    "International Soil Moisture Network (ISMN)",
    "archives of header+values or CEOP files as the data portal packs them, read by ismn 1.5",
    "Dorigo, W., I. Himmelbauer, D. Aberer and others (2021), The International Soil Moisture Network: serving Earth "
    "system science for over a decade. Hydrol. Earth Syst. Sci. 25, 5749-5804",
    "10.5194/hess-25-5749-2021",
)
OFFSETS = {"soil_moisture": 0.0, "soil_temperature": 273.15}
"""What to add to the archive's m3 m-3 and degrees Celsius."""
STEPS = {"daily": "D", "hourly": "h"}


def open_ismn(
    path: str | os.PathLike[str],
    variable: Literal["soil_moisture", "soil_temperature"] = "soil_moisture",
    *,
    depth: tuple[float, float] = (0.0, 0.1),
    networks: str | Sequence[str] | None = None,
    frequency: Literal["daily", "hourly"] = "daily",
    flags: Sequence[str] = ("G",),
    min_values: int = 1,
    meta_path: str | os.PathLike[str] | None = None,
) -> xr.Dataset:
    """Series of every sensor of an ISMN archive in a depth range, lazy.

    Each sensor is a site of its own: stations may have several at one depth, and replaced ones after each other;
    ``ds.groupby("station").mean()`` joins them where that is wanted.

    Parameters
    ----------
    path : str or path
        The zip archive from the data portal, or its extracted folder.
    variable : {"soil_moisture", "soil_temperature"}
        Soil moisture [m3 m-3] or soil temperature [K].
    depth : pair of float
        Sensors that lie within these depths [m], both ends included. Networks differ in what a depth is: a point, or
        the range that a vertical sensor spans.
    networks : str or sequence of str, optional
        Only these networks.
    frequency : {"daily", "hourly"}
        Means of UTC days or hours.
    flags : sequence of str
        Quality flags to keep: "G" is good; "C01" to "C03" are out of bounds, "D01" to "D10" dubious [1]_. Several
        flags of one value must all be in the list. ("U" in archives that were never checked.)
    min_values : int
        Good values that a day needs.
    meta_path : str or path, optional
        Where `ismn` keeps its list of sensors, which takes minutes to make and is made once; by default in
        ``python_metadata`` beside the data, or in a temporary folder where that cannot be written.

    Returns
    -------
    xr.Dataset
        The variable, float32, on (site, time), one block a sensor, with ``latitude longitude elevation network station
        instrument depth_top depth_bottom`` of the sites. ``time`` covers all sensors.

    Raises
    ------
    FileError
        No archive of ISMN.
    MissingVariableError, UnknownNameError, ArgumentError
        No such sensor; no such network; an impossible depth.

    Notes
    -----
    The licence of ISMN forbids to pass the data on. Only the list of sensors is read when the archive is opened.

    References
    ----------
    .. [1] Dorigo et al. (2013), Global automated quality control of in situ soil moisture data from the International
       Soil Moisture Network. Vadose Zone J. 12, doi:10.2136/vzj2012.0097.
    .. [2] Dorigo et al. (2021), Hydrol. Earth Syst. Sci. 25, 5749-5804, doi:10.5194/hess-25-5749-2021.

    Examples
    --------
    >>> import xsoil
    >>> sites = xsoil.data.open_ismn("Data_separate_files.zip", depth=(0, 0.05))  # doctest: +SKIP
    """
    require_choice(variable, tuple(OFFSETS), "variable")
    require_choice(frequency, tuple(STEPS), "frequency")
    top, bottom = (float(value) for value in depth)
    if not 0 <= top <= bottom:
        raise ArgumentError(f"depth is {depth!r}; expected (upper, lower) in metres, such as (0, 0.05)")
    archive = _interface(path, meta_path)
    if networks is not None:
        known = list(archive.collection.networks)
        networks = [networks] if isinstance(networks, str) else list(networks)
        for name in networks:
            if name not in known:
                raise UnknownNameError.of("network", name, known)
    sensors = _sensors(archive, variable, top, bottom, networks)
    if not sensors:
        raise MissingVariableError(
            f"no sensor of {variable} within {top:g} to {bottom:g} m in {os.fspath(path)!r}; choose another depth= "
            f"(there are {_depths(archive, variable)})"
        )
    step = STEPS[frequency]
    first = min(sensor["start"] for sensor in sensors).floor(step)
    last = max(sensor["end"] for sensor in sensors).floor(step)
    time = pd.date_range(first, last, freq=step, name="time")

    token = tokenize([sensor["file"] for sensor in sensors], os.fspath(path), frequency, tuple(flags), min_values)
    name = f"ismn-{variable}-{token}"
    blocks: dict[Any, Any] = {
        (name, i, 0): (
            _series,
            os.fspath(path),
            sensor["file"],
            variable,
            first,
            len(time),
            step,
            frozenset(flags),
            min_values,
        )
        for i, sensor in enumerate(sensors)
    }
    graph = HighLevelGraph.from_collections(name, blocks)
    data = Array(graph, name, ((1,) * len(sensors), (len(time),)), dtype=np.float32)
    about = attrs_of(variable, cell_methods=f"time: mean (interval: 1 {'day' if step == 'D' else 'hour'})")
    coords: dict[str, Any] = {
        "time": ("time", time, {"standard_name": "time", "long_name": f"beginning of the {step} (UTC)"})
    }
    units = {"latitude": "degrees_north", "longitude": "degrees_east", "elevation": "m", "depth_top": "m"}
    units["depth_bottom"] = "m"
    for key in ("network", "station", "instrument", "latitude", "longitude", "elevation", "depth_top", "depth_bottom"):
        coords[key] = ("site", [sensor[key] for sensor in sensors], {"units": units[key]} if key in units else {})
    comment = f"flags kept: {', '.join(flags)}; not to be passed on (licence of ISMN)"
    return xr.Dataset({variable: (("site", "time"), data, about)}, coords, PRODUCT.attrs | {"comment": comment})


def _interface(path: str | os.PathLike[str], meta_path: str | os.PathLike[str] | None) -> Any:
    place = Path(path)
    if not place.exists():
        raise ArgumentError(f"no file or folder {str(place)!r}; expected an archive of ISMN (zip or extracted)")
    try:
        from ismn.interface import ISMN_Interface  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError as error:
        raise ImportError('reading ISMN needs the package ismn: pip install "xsoil[data]"') from error
    if meta_path is None and not os.access(place if place.is_dir() else place.parent, os.W_OK):
        meta_path = tempfile.mkdtemp(prefix="xsoil-ismn-")
    try:
        with redirect_stdout(StringIO()):  # ismn prints what it does
            archive = ISMN_Interface(place, meta_path=None if meta_path is None else Path(meta_path))
        archive.metadata["variable"]
    except Exception as error:
        raise FileError(
            f"{place.name!r} cannot be read as an archive of ISMN ({type(error).__name__}: {error}); expected the "
            f"zip of the "
            "data portal, or its folder with <network>/<station>/*.stm"
        ) from error
    return archive


def _sensors(archive: Any, variable: str, top: float, bottom: float, networks: Any) -> list[dict[str, Any]]:
    out = []
    slack = 1e-6
    for network, station, sensor in archive.collection.iter_sensors():
        low, high = sorted((float(sensor.depth.start), float(sensor.depth.end)))
        if sensor.variable != variable or not (top - slack <= low and high <= bottom + slack):
            continue
        if networks is not None and network.name not in networks:
            continue
        about = sensor.filehandler.metadata
        out.append(
            {
                "file": str(sensor.filehandler.file_path), "network": network.name, "station": station.name,
                "instrument": str(sensor.instrument), "latitude": float(station.lat), "longitude": float(station.lon),
                "elevation": float(station.elev), "depth_top": low, "depth_bottom": high, "start":
                pd.Timestamp(about["timerange_from"].val), "end": pd.Timestamp(about["timerange_to"].val),
            }
        )  # fmt: skip
    return out


def _depths(archive: Any, variable: str) -> str:
    found = {
        (float(sensor.depth.start), float(sensor.depth.end))
        for _, _, sensor in archive.collection.iter_sensors()
        if sensor.variable == variable
    }
    return ", ".join(f"{low:g}-{high:g} m" for low, high in sorted(found)) or f"none of {variable}"


def _series(
    path: str,
    file: str,
    variable: str,
    first: pd.Timestamp,
    count: int,
    step: str,
    flags: frozenset[str],
    min_values: int,
) -> np.ndarray[Any, Any]:
    """Means of the good values of one sensor, on (1, time).

    The archive is opened anew: an open one cannot be sent to another process, nor be read by two threads.
    """
    from ismn.base import IsmnRoot  # type: ignore[import-untyped, import-not-found, unused-ignore]
    from ismn.filehandlers import DataFile  # type: ignore[import-untyped, import-not-found, unused-ignore]

    with IsmnRoot(path) as root:
        frame = DataFile(root, file).read_data()
    flag = frame[f"{variable}_flag"].astype(str)
    allowed = {text: set(text.replace(" ", "").split(",")) <= flags for text in flag.unique()}
    values = frame[variable].astype(float).where(flag.map(allowed).astype(bool)).dropna()
    index = pd.DatetimeIndex(values.index)
    if index.tz is not None:
        index = index.tz_convert("UTC").tz_localize(None)
    means = values.set_axis(index).groupby(index.floor(step)).agg(["mean", "size"])
    means = means["mean"].where(means["size"] >= min_values)
    grid = pd.date_range(first, periods=count, freq=step)
    out: np.ndarray[Any, Any] = (means.reindex(grid).to_numpy() + OFFSETS[variable]).astype(np.float32)
    return out[None]
