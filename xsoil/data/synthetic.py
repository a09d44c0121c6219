"""A synthetic world: soil maps and weather on any grid, for examples, tests and experiments.

Every value is a pure function of the seed, the place (longitude and latitude of the cell's centre) and, for
weather, the day. So results are lazy, do not depend on chunks, and two grids show the same world at two
resolutions.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pandas as pd
import xarray as xr
from dask.array import Array
from dask.array.core import normalize_chunks
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from xsoil.data._maps import layer_coords
from xsoil.errors import ArgumentError, TimeError, UnknownNameError
from xsoil.grids.geobox import Located, locate
from xsoil.vocabulary import VARIABLES

__all__ = ["synthetic_forcing", "synthetic_soil"]

Chunks = int | Sequence[int] | Mapping[Hashable, int]

SOIL = ("sand", "silt", "clay", "bulk_density", "organic_carbon", "coarse_fragments", "ph", "cec")
FORCING = ("precipitation", "pet", "air_temperature", "lai")
SOIL_CHUNK = 1024
FORCING_CHUNK = {"time": 64, "space": 512}


@dataclass(frozen=True)
class World:
    """A seed on a grid, and what is asked of it: with its window, all that a task needs."""

    geobox: GeoBox
    seed: int
    variables: tuple[str, ...]
    depth: tuple[tuple[float, float], ...] | None = None
    water: bool = False


def synthetic_soil(
    grid: str | GeoBox | xr.Dataset | xr.DataArray,
    seed: int = 0,
    *,
    depth: Sequence[float] | None = None,
    water: bool = False,
    chunks: Chunks | None = None,
) -> xr.Dataset:
    """Soil maps of a synthetic world.

    Texture is correlated over thousands of kilometres down to three; organic carbon rises with the wetness of
    the climate (which `synthetic_forcing` shares) and falls with depth and sand; bulk density falls with organic
    carbon [1]_; cation exchange capacity follows clay and organic carbon.

    Parameters
    ----------
    grid : str, GeoBox, xr.Dataset or xr.DataArray
        Name of an EASE-Grid 2.0 grid, a GeoBox, or an object with a grid; any size up to global 1 km.
    seed : int
        Another seed is another world. A world is the same on every grid: cells with the same centre hold the
        same values (to the rounding of their coordinates).
    depth : sequence of float, optional
        Edges of layers below the surface [m], from the top down, such as (0, 0.05, 0.15, 0.3, 0.6, 1): adds a
        dimension ``depth`` with bounds. By default one topsoil layer without that dimension.
    water : bool
        Oceans and lakes as NaN; by default all is land.
    chunks : int, sequence or mapping of int, optional
        Chunk size of both spatial dimensions, of (y, x), or by name of the dimension; 1024 by default, with
        which a task holds about 100 MB.

    Returns
    -------
    xr.Dataset
        Lazy float32 maps on (depth,) y, x: ``sand``, ``silt``, ``clay`` [percent, sum 100], ``bulk_density``
        [g cm-3], ``organic_carbon`` [percent], ``coarse_fragments`` [percent, volume], ``ph`` [1], ``cec``
        [cmol kg-1]; without `depth` also the scalar coordinate ``topsoil`` = 1.

    Raises
    ------
    UnknownNameError, AxisError, CRSError
        No such grid, or none that can be read.
    ArgumentError
        Depths that do not increase from 0 or below.

    References
    ----------
    .. [1] Adams, W. A. (1973), The effect of organic matter on the bulk and true densities of some uncultivated
       podzolic soils. J. Soil Sci. 24, 10-17, doi:10.1111/j.1365-2389.1973.tb00737.x.

    Examples
    --------
    >>> from xsoil.data import synthetic_soil
    >>> soil = synthetic_soil("EASE2_M36km", seed=1)
    >>> dict(soil.sizes)
    {'y': 406, 'x': 964}
    >>> float((soil.sand + soil.silt + soil.clay).isel(y=100, x=200).round(3))
    100.0
    """
    located = locate(grid)
    layers = None if depth is None else _layers(depth)
    world = World(located.geobox, int(seed), SOIL, layers, bool(water))
    shape = cast("tuple[int, int]", tuple(located.geobox.shape))
    lead = () if layers is None else ("depth",)
    spatial = _normalized(chunks, located.dims, shape, (SOIL_CHUNK, SOIL_CHUNK))
    leading = () if layers is None else ((len(layers),),)
    arrays = _graph("synthetic-soil", _soil_block, world, (*leading, *spatial))
    coords = _coords(grid, located)
    if layers is None:
        coords["topsoil"] = xr.Variable((), np.int8(1), VARIABLES["topsoil"].attrs)
    else:
        coords |= layer_coords(layers)
    comment = f"synthetic (xsoil.data.synthetic_soil, seed {seed}): not an observation"
    return _dataset(arrays, (*lead, *located.dims), coords, comment)


def synthetic_forcing(
    grid: str | GeoBox | xr.Dataset | xr.DataArray,
    time: Any,
    seed: int = 0,
    *,
    variables: Sequence[str] = ("precipitation", "pet"),
    chunks: Chunks | None = None,
) -> xr.Dataset:
    """Daily weather of a synthetic world.

    Storms some hundred kilometres wide drift with the zonal wind and dissolve within days; slow regimes make wet
    and dry spells; showers make the amounts heavy tailed. Annual precipitation lies between about 200 and
    2000 mm. Potential evapotranspiration follows Hargreaves [1]_ with the extraterrestrial radiation of the
    latitude and the day [2]_, opposite in the two hemispheres, and is lower under clouds.

    Parameters
    ----------
    grid : str, GeoBox, xr.Dataset or xr.DataArray
        Name of an EASE-Grid 2.0 grid, a GeoBox, or an object with a grid; any size up to global 1 km.
    time : str, pair, DatetimeIndex or xarray object
        Days: a period ("2015", "2015-06"), first and last day ("2015-01-01", "2015-12-31"), anything
        `pandas.DatetimeIndex` reads, or an object with a coordinate ``time``.
    seed : int
        With the seed of `synthetic_soil`, the climate fits the soil. A day and place have the same weather in
        every grid and every time range.
    variables : sequence of str
        Of ``precipitation``, ``pet`` [mm d-1], ``air_temperature`` [K] and ``lai`` [1].
    chunks : int, sequence or mapping of int, optional
        Chunk size of both spatial dimensions, of (time, y, x), or by name of the dimension; 64 days of
        512 x 512 cells by default (67 MB a variable).

    Returns
    -------
    xr.Dataset
        Lazy float32 on time, y, x.

    Raises
    ------
    UnknownNameError, AxisError, CRSError
        No such variable or grid, or none that can be read.
    TimeError
        Times that are not one value a day.

    References
    ----------
    .. [1] Hargreaves, G. H. and Samani, Z. A. (1985), Reference crop evapotranspiration from temperature. Appl. Eng.
       Agric. 1, 96-99, doi:10.13031/2013.26773.
    .. [2] Allen, R. G. et al. (1998), Crop evapotranspiration. FAO Irrigation and Drainage Paper 56, eq. 21.

    Examples
    --------
    >>> from xsoil.data import synthetic_forcing
    >>> dict(synthetic_forcing("EASE2_M36km", "2015", seed=1).sizes)
    {'time': 365, 'y': 406, 'x': 964}
    """
    located = locate(grid)
    if isinstance(variables, str):
        variables = (variables,)
    for name in variables:
        if name not in FORCING:
            raise UnknownNameError.of("variable", name, FORCING)
    index = _daily(time)
    world = World(located.geobox, int(seed), tuple(variables))
    shape = (len(index), *located.geobox.shape)
    dims = ("time", *located.dims)
    default = (FORCING_CHUNK["time"], FORCING_CHUNK["space"], FORCING_CHUNK["space"])
    days = (index.to_numpy().astype("datetime64[D]") - np.datetime64("1970-01-01", "D")).astype(np.int64)
    arrays = _graph("synthetic-forcing", _forcing_block, world, _normalized(chunks, dims, shape, default), days)
    coords = _coords(grid, located) | {"time": xr.Variable("time", index, {"standard_name": "time"})}
    comment = f"synthetic (xsoil.data.synthetic_forcing, seed {seed}): not an observation"
    return _dataset(arrays, dims, coords, comment)


# Graph and coordinates


def _graph(
    label: str, function: Any, world: World, chunks: tuple[tuple[int, ...], ...], days: np.ndarray | None = None
) -> dict[str, Array]:
    """One task per block that makes all variables, and one per variable that picks it."""
    name = f"{label}-{tokenize(world, chunks, days)}"
    *lead, rows, columns = chunks
    starts = [np.concatenate([[0], np.cumsum(sizes)]).tolist() for sizes in (rows, columns)]
    leads = np.concatenate([[0], np.cumsum(lead[0])]).tolist() if lead else None
    blocks: dict[tuple[Any, ...], Any] = {}
    picks: dict[str, dict[tuple[Any, ...], Any]] = {variable: {} for variable in world.variables}
    for k in range(len(lead[0]) if lead else 1):
        part = None if days is None or leads is None else days[leads[k] : leads[k + 1]]
        for i in range(len(rows)):
            for j in range(len(columns)):
                window = (starts[0][i], starts[0][i + 1], starts[1][j], starts[1][j + 1])
                at = (k, i, j) if lead else (i, j)
                blocks[(name, *at)] = (function, world, window, part)
                for variable, graph in picks.items():
                    graph[(f"{name}-{variable}", *at)] = (_pick, (name, *at), variable)
    layers: dict[str, Any] = {name: blocks} | {f"{name}-{variable}": graph for variable, graph in picks.items()}
    needs: dict[str, set[str]] = {name: set()} | {f"{name}-{variable}": {name} for variable in picks}
    graph = HighLevelGraph(layers, needs)
    return {variable: Array(graph, f"{name}-{variable}", chunks, dtype=np.float32) for variable in picks}


def _soil_block(world: World, window: tuple[int, int, int, int], _: None) -> dict[str, np.ndarray]:
    from xsoil.data.world import soil_block  # numba loads on first use

    return soil_block(world, window)


def _forcing_block(world: World, window: tuple[int, int, int, int], days: np.ndarray) -> dict[str, np.ndarray]:
    from xsoil.data.world import forcing_block

    return forcing_block(world, window, days)


def _pick(block: dict[str, np.ndarray], variable: str) -> np.ndarray:
    return block[variable]


def _normalized(
    chunks: Chunks | None, dims: Sequence[Hashable], shape: Sequence[int], default: Sequence[int]
) -> tuple[tuple[int, ...], ...]:
    if chunks is None:
        wanted: list[Any] = list(default)
    elif isinstance(chunks, Mapping):
        if unknown := [name for name in chunks if name not in dims]:
            raise ArgumentError(f"chunks for {unknown}; expected names among {[str(d) for d in dims]}")
        wanted = [chunks.get(dim, size) for dim, size in zip(dims, default)]
    elif isinstance(chunks, int):
        wanted = [*default[:-2], chunks, chunks]
    else:
        wanted = list(chunks)
        if len(wanted) != len(dims):
            raise ArgumentError(f"{len(wanted)} chunk sizes; expected one for each of {[str(d) for d in dims]}")
    return cast(
        "tuple[tuple[int, ...], ...]", normalize_chunks(tuple(wanted), shape=tuple(shape), dtype=np.dtype("f4"))
    )


def _coords(grid: object, located: Located) -> dict[Hashable, Any]:
    """Spatial coordinates and the grid mapping, named as the grid names them."""
    made = xr_coords(located.geobox, crs_coord_name="spatial_ref")
    coords: dict[Hashable, Any] = {"spatial_ref": made["spatial_ref"].variable}
    given: Any = grid.coords if isinstance(grid, (xr.Dataset, xr.DataArray)) else {}
    for own, theirs in zip(located.geobox.dimensions, located.dims):
        coords[theirs] = given[theirs].variable if theirs in given else made[own].variable
    return coords


def _dataset(
    arrays: dict[str, Array], dims: Sequence[Hashable], coords: dict[Hashable, Any], comment: str
) -> xr.Dataset:
    ds = xr.Dataset({name: (dims, array, VARIABLES[name].attrs) for name, array in arrays.items()}, coords)
    for name in arrays:
        ds[name].encoding["grid_mapping"] = "spatial_ref"
    return ds.assign_attrs(comment=comment)


def _layers(depth: Sequence[float]) -> tuple[tuple[float, float], ...]:
    edges = [float(edge) for edge in depth]
    if len(edges) < 2 or edges[0] < 0 or any(low >= high for low, high in pairwise(edges)):
        raise ArgumentError(f"depth {edges}; expected at least two edges in metres, increasing from 0: (0, 0.05, 0.3)")
    return tuple(pairwise(edges))


def _timestamp(date: Any) -> pd.Timestamp:
    """A date of cftime as one of pandas, where the calendar is that of the real world."""
    if date.calendar not in ("standard", "gregorian", "proleptic_gregorian"):
        raise TimeError(
            f"{date} is of the calendar {date.calendar!r}; expected dates of the real one: "
            "ds.convert_calendar('standard', use_cftime=False)"
        )
    return pd.Timestamp(date.isoformat())


def _daily(time: Any) -> pd.DatetimeIndex:
    if isinstance(time, (xr.Dataset, xr.DataArray)):
        if "time" not in time.coords:
            raise TimeError("the object given as time has no coordinate 'time'; give its dates instead")
        time = time.indexes["time"] if "time" in time.indexes else np.atleast_1d(time["time"].values)
    if not isinstance(time, (str, pd.DatetimeIndex)) and np.ndim(time) == 1 and hasattr(time[0], "calendar"):
        dates = [_timestamp(date) for date in time]
        time = dates if isinstance(time, (tuple, list)) else pd.DatetimeIndex(dates)
    try:
        if isinstance(time, str):
            period = pd.Period(time)
            index = pd.date_range(period.start_time.normalize(), period.end_time.normalize(), freq="D")
        elif isinstance(time, (tuple, list)) and len(time) == 2:
            index = pd.date_range(pd.Timestamp(time[0]), pd.Timestamp(time[1]), freq="D")
        else:
            index = pd.DatetimeIndex(time)
    except (TypeError, ValueError) as error:
        raise TimeError(
            f"{time!r} gives no days ({error}); expected '2015', ('2015-01-01', '2015-12-31') or a DatetimeIndex"
        ) from None
    if len(index) == 0 or index.hasnans:
        raise TimeError(f"{time!r} gives {len(index)} days; expected one or more, without missing dates")
    steps = np.diff(index.to_numpy().astype("datetime64[D]")).astype(int)
    if (steps != 1).any():
        at = int(np.flatnonzero(steps != 1)[0])
        raise TimeError(f"{steps[at]} days between {index[at]} and {index[at + 1]}; expected one value a day, in order")
    return index.rename("time")
