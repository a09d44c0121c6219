"""`prepare_forcing`: weather as readers give it, made ready for `simulate`."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
import xarray as xr
from odc.geo.geobox import GeoBox

from xsoil.choices import as_table, require_choice
from xsoil.data._days import mean_of_days
from xsoil.data._variables import variable_of
from xsoil.errors import ArgumentError, GridMismatchError, MissingVariableError, TimeError, UnknownNameError
from xsoil.grids.crs import cell_ratio
from xsoil.grids.ease import ease_grid
from xsoil.grids.geobox import grid_of, has_grid, spatial_dims
from xsoil.verbs._evapotranspiration import METHODS, potential_evapotranspiration
from xsoil.verbs._inputs import as_dataset, read
from xsoil.verbs._leaves import to_days
from xsoil.verbs.upscale import upscale
from xsoil.vocabulary import VARIABLES, canonical_units

__all__ = ["prepare_forcing"]

FLUXES = ("precipitation", "pet", "irrigation", "capillary_rise")
"""Totals must be kept where these go to another grid."""
KEPT = ("precipitation", "pet", "lai", "irrigation", "capillary_rise", "air_temperature", "soil_temperature")
"""What `simulate` may take."""
AMOUNTS = {canonical_units(units) for units in ("mm", "cm", "m", "inch", "kg m-2")}
"""Units without a time: the amount of the time step."""
WEATHER = (
    "shortwave_down", "longwave_down", "shortwave_net", "longwave_net", "wind_u", "wind_v", "wind_speed",
    "surface_pressure", "specific_humidity", "relative_humidity", "dewpoint_temperature", "air_temperature_min",
    "air_temperature_max",
)  # fmt: skip
"""What else PET may take."""
DAY = np.timedelta64(1, "D")


def prepare_forcing(
    ds: xr.Dataset,
    to: str | GeoBox | xr.Dataset | xr.DataArray | None = None,
    *,
    pet: Literal["hargreaves85", "baierrobertson65", "mcguinnessbordne05", "allen98"] | None = None,
    lai: xr.DataArray | xr.Dataset | None = None,
    utc_offset: float = 0.0,
    region: object = None,
    how: Mapping[str, str] | None = None,
    min_valid: float = 0.0,
) -> xr.Dataset:
    """Make weather ready for `simulate`: daily, without a gap, with PET and LAI, on the model's grid; lazy.

    In this order: to days, PET, grid, LAI. So PET is computed from the weather on its own grid, and averages are of
    PET.

    Parameters
    ----------
    ds : xr.Dataset
        Weather in steps of a day or of an even part of it, as xsoil's readers give it: ``precipitation``, and what else
        there is, in any units that xsoil knows; undecoded scale, offset and nodata are decoded. Where units hold a time
        (mm d-1, kg m-2 s-1) values are rates and a day is their mean; without one (mm, kg m-2) they are the amount of
        the step. ``time`` is the beginning of the step.
    to : str, GeoBox, xr.Dataset or xr.DataArray, optional
        Grid of the model: a name, a GeoBox or an object on it (the parameters). By default the forcing stays on its own
        grid, or on its sites.
    pet : str, optional
        Compute PET by this method of xclim [1]_: "hargreaves85" or "baierrobertson65" from the day's least and greatest
        temperature (made of hours where there are any), "mcguinnessbordne05" from the mean, "allen98" (FAO-56
        Penman-Monteith) also from radiation (``shortwave_down longwave_down``, net where given), wind
        (``wind_speed``, or ``wind_u wind_v``) and humidity (``relative_humidity``, ``dewpoint_temperature``, or
        ``specific_humidity`` with ``surface_pressure``). By default that of the dataset is kept.
    lai : xr.DataArray or xr.Dataset, optional
        Leaf area index in composites of any days, on any grid: brought to the grid, then to every day on the line
        between the valid composites around it. Its ``time`` is taken as the day that a value stands for (the middle of
        a composite: ``lai.assign_coords(time=lai.time + np.timedelta64(4, "D"))`` for 8 days).
    utc_offset : float
        Hours by which the days wanted are ahead of UTC: -6 makes days from 06 to 06 UTC, those of Central Standard
        Time. For steps shorter than a day only.
    region : str or tuple, optional
        With the name of a grid, as in `xsoil.upscale`.
    how : mapping, optional
        Operator by variable, in place of: to a coarser grid the area mean of all; to a finer one the area mean (which
        keeps totals) of fluxes and bilinear interpolation of temperatures and LAI.
    min_valid : float
        Least valid share of a cell; 0 keeps coastal cells that have any.

    Returns
    -------
    xr.Dataset
        On (time, ...), one value a day: ``precipitation``, ``pet`` [mm d-1], and where there, ``lai irrigation
        capillary_rise air_temperature soil_temperature``. Incomplete days at the ends are left out.

    Raises
    ------
    TimeError
        A gap, or steps of unequal length; no whole day.
    MissingVariableError
        No precipitation, no PET, or what a method of PET needs.
    UnitsError, ArgumentError, UnknownNameError
        Units that are not accepted; an offset that is no whole number of steps; an unknown method, or variable in
        `how`.
    GridMismatchError
        LAI of other sites.

    Notes
    -----
    Missing values inside the series cannot be seen without reading them; `simulate` marks such cells in `status`, and
    ``forcing.precipitation.isnull().sum("time")`` counts them. PET below zero (dew) is set to 0.

    References
    ----------
    .. [1] Bourgault et al. (2023), xclim: xarray-based climate data analytics. J. Open Source Softw. 8, 5415,
       doi:10.21105/joss.05415.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> import xarray as xr
    >>> from xsoil.data import prepare_forcing
    >>> hours = pd.date_range("2015-04-01", periods=48, freq="h")
    >>> rain = xr.DataArray(np.ones((48, 2)), {"time": hours}, ("time", "site"), attrs={"units": "mm h-1"})
    >>> weather = xr.Dataset({"precipitation": rain, "pet": rain.assign_attrs(units="mm d-1")})
    >>> prepare_forcing(weather).precipitation.values[:, 0]
    array([24., 24.])
    """
    if pet is not None:
        require_choice("method of PET", pet, METHODS)
    if lai is not None and not isinstance(lai, (xr.DataArray, xr.Dataset)):
        raise ArgumentError(f"lai is a {type(lai).__name__}; expected a DataArray of composites with dates")
    if (
        isinstance(utc_offset, bool)
        or not isinstance(utc_offset, (int, float, np.number))
        or not -14 <= utc_offset <= 14
    ):
        raise ArgumentError(f"utc_offset is {utc_offset!r}; expected hours from -14 to 14")
    ds = as_dataset(ds)
    step = _step(ds)
    known = {name: _canonical(ds, name, step) for name in (*KEPT, *WEATHER) if name in ds.data_vars}
    if "precipitation" not in known:
        raise MissingVariableError(f"no 'precipitation' among {sorted(map(str, ds.data_vars))}; use ds.rename(...)")
    if pet is None and "pet" not in known:
        raise MissingVariableError(
            f"no 'pet' among {sorted(map(str, ds.data_vars))}; have it computed: pet='hargreaves85' (or "
            f"{', '.join(sorted(set(METHODS) - {'hargreaves85'}))})"
        )
    weather = xr.Dataset(known).assign_coords({n: c for n, c in ds.coords.items() if n not in known})
    daily = _to_days(weather, step, utc_offset)
    if pet is not None:
        daily["pet"] = potential_evapotranspiration(daily, pet)
        daily["pet"].attrs = {**VARIABLES["pet"].attrs, "comment": f"xclim, {pet}"}
    else:
        daily["pet"] = daily["pet"].clip(min=0.0, keep_attrs=True)
    out = daily[[name for name in KEPT if name in daily]]
    for name in out.data_vars:
        out[name].encoding = {k: v for k, v in ds[name].encoding.items() if k == "grid_mapping"} if name in ds else {}
    for name in as_table("how", how, "{'precipitation': 'mean'}"):
        if name not in out and (lai is None or name != "lai"):
            raise UnknownNameError.of("variable in how", name, map(str, out.data_vars))
    target = None if to is None else _target(to, region, ds)
    if target is not None:
        out = _on_grid(out, target, how, min_valid)
    if lai is not None:
        leaves = _canonical(lai if isinstance(lai, xr.Dataset) else lai.to_dataset(name="lai"), "lai", DAY)
        if target is not None:
            leaves = _on_grid(leaves.to_dataset(), target, how, min_valid)["lai"]
        elif has_grid(leaves) and has_grid(out) and grid_of(leaves) != grid_of(out):
            leaves = _on_grid(leaves.to_dataset(), out, how, min_valid)["lai"]
        _require_places(leaves, out)
        out["lai"] = to_days(leaves, out.indexes["time"]).assign_attrs(VARIABLES["lai"].attrs)
        if out["precipitation"].chunks is not None:
            out["lai"] = out["lai"].chunk({"time": out["precipitation"].chunksizes["time"]})
    out["time"].attrs = {"standard_name": "time", "long_name": _day_name(utc_offset)}
    return out.assign_attrs(ds.attrs)


def _step(ds: xr.Dataset) -> np.timedelta64:
    """The length of a step; gaps and uneven steps are errors."""
    if "time" not in ds.dims or "time" not in ds.indexes:
        raise TimeError(f"no dates on a dimension 'time' among {[str(d) for d in ds.dims]}; ds.assign_coords(time=...)")
    index = ds.indexes["time"]
    if not isinstance(index, pd.DatetimeIndex):
        raise TimeError(f"time holds {index.dtype}; expected dates: ds.convert_calendar('standard', use_cftime=False)")
    if index.size < 2:
        raise TimeError(f"{index.size} steps; expected two or more")
    steps = np.diff(index.to_numpy()).astype("timedelta64[s]")
    if (steps <= np.timedelta64(0)).any():
        at = int(np.flatnonzero(steps <= np.timedelta64(0))[0])
        raise TimeError(
            f"time is unsorted or has duplicates at {index[at + 1]}; ds.sortby('time').drop_duplicates('time')"
        )
    step = np.median(steps).astype("timedelta64[s]") if steps.size % 2 else np.sort(steps)[steps.size // 2]
    if (gaps := np.flatnonzero(steps > step)).size:
        first = ", ".join(f"{index[i]} to {index[i + 1]}" for i in gaps[:3])
        raise TimeError(
            f"{gaps.size} gaps in steps of {pd.Timedelta(step)}: {first}{' ...' if gaps.size > 3 else ''}; simulate "
            f"needs every "
            "day: load what is missing, fill it, or split the record there"
        )
    if (steps != step).any() or (step != DAY and (step > DAY or DAY % step != np.timedelta64(0, "s"))):
        raise TimeError(
            f"steps of {pd.Timedelta(steps.min())} to {pd.Timedelta(steps.max())}; expected a day or an even part of it"
        )
    return np.timedelta64(step)


def _canonical(ds: xr.Dataset, name: str, step: np.timedelta64) -> xr.DataArray:
    """In canonical units, amounts of a step as rates."""
    variable = variable_of(name)
    array = read(ds, variable)
    if variable.units == "mm d-1" and step != DAY and canonical_units(str(ds[name].attrs["units"])) in AMOUNTS:
        array = array * array.dtype.type(DAY / step)
    kept = {k: v for k, v in ds[name].attrs.items() if k == "grid_mapping"}
    array.attrs = kept | variable.attrs  # what else there was, such as cell_methods, is not that of a day
    return array


def _to_days(ds: xr.Dataset, step: np.timedelta64, utc_offset: float) -> xr.Dataset:
    """Means of whole days; also the day's least and greatest temperature and its mean wind speed."""
    index = ds.indexes["time"]
    if step == DAY:
        if utc_offset:
            raise ArgumentError("utc_offset is for steps shorter than a day; daily values cannot be cut anew")
        return ds.assign_coords(time=index.normalize())
    length = int(DAY // step)
    shift = np.timedelta64(round(utc_offset * 3600), "s")
    if shift % step != np.timedelta64(0, "s"):
        raise ArgumentError(f"utc_offset is {utc_offset} h; expected a whole number of steps of {pd.Timedelta(step)}")
    local = index.to_numpy().astype("datetime64[s]") + shift
    of_day = (local - local.astype("datetime64[D]")) // step
    within = (local - local.astype("datetime64[D]")) % step
    # The beginning of a step, or its middle (01:30, 04:30 ... of SMAP Level 4).
    if not ((within == np.timedelta64(0, "s")).all() or (within == step // 2).all()):
        raise TimeError(
            f"steps of {pd.Timedelta(step)} do not begin at midnight; shift time to the beginning of a step"
        )
    starts = np.flatnonzero(of_day == 0)
    if not starts.size or (count := (index.size - int(starts[0])) // length) < 1:
        raise TimeError(f"{index.size} steps of {pd.Timedelta(step)} hold no whole day")
    first = int(starts[0])
    days = pd.DatetimeIndex(
        local[first : first + count * length : length].astype("datetime64[D]").astype("datetime64[ns]")
    )
    if {"wind_u", "wind_v"} <= set(ds.data_vars) and "wind_speed" not in ds:
        speed = cast("xr.DataArray", np.hypot(ds["wind_u"], ds["wind_v"]))
        ds = ds.assign(wind_speed=speed.assign_attrs(units="m s-1"))
    made = {}
    for name, array in ds.data_vars.items():
        if "time" not in array.dims:
            made[name] = array
            continue
        made[name] = mean_of_days(array, first, count, length)
        if name == "air_temperature":
            steps = array.isel(time=slice(first, first + count * length)).drop_vars("time")
            apart = steps.coarsen(time=length).construct(time=("time", "_step"))
            for end, least in (("min", apart.min), ("max", apart.max)):
                if f"{name}_{end}" not in ds:
                    made[f"{name}_{end}"] = least("_step", skipna=False).transpose(*array.dims)
    coords = {name: coord for name, coord in ds.coords.items() if "time" not in coord.dims}
    return xr.Dataset(made).assign_coords(coords).assign_coords(time=days)


def _require_places(leaves: xr.DataArray, out: xr.Dataset) -> None:
    """Raise where a place of the forcing is none of the LAI: xarray would take it for missing."""
    gridded = {*spatial_dims(out)} if has_grid(leaves) and has_grid(out) else set()  # brought together before
    for dim in leaves.dims:
        if dim == "time" or (dim in gridded and not (dim in leaves.indexes and dim in out.indexes)):
            continue
        if dim not in leaves.indexes or dim not in out.indexes:
            _require_order(leaves, out, dim)
            continue
        there = out.indexes[dim].isin(leaves.indexes[dim])
        if not there.all():
            raise GridMismatchError(
                f"lai has no {str(dim)!r} {out.indexes[dim][~there][0]!r}, nor {int((~there).sum()) - 1} others of the "
                f"forcing; expected the same places: lai.sel({dim}=..., method='nearest').assign_coords({dim}=...)"
            )


def _require_order(leaves: xr.DataArray, out: xr.Dataset, dim: Hashable) -> None:
    """Raise where the places of an axis without labels may be others, or in another order."""
    if dim not in out.dims:
        return
    mend = f"lai.assign_coords({dim}=forcing[{str(dim)!r}]) if they are the same, in the same order"
    labels = [name for name, ds in (("lai", leaves), ("the forcing", out)) if dim in ds.indexes]
    if labels:
        raise GridMismatchError(f"only {labels[0]} has labels along {str(dim)!r}; expected them in both: {mend}")
    if leaves.sizes[dim] != out.sizes[dim]:
        raise GridMismatchError(f"lai has {leaves.sizes[dim]} places along {str(dim)!r}, the forcing {out.sizes[dim]}")
    for name, coord in leaves.coords.items():
        if (
            name in out.coords
            and coord.dims == (dim,) == out[name].dims
            and not coord.variable.equals(out[name].variable)
        ):
            raise GridMismatchError(
                f"{str(name)!r} of lai and of the forcing differ along {str(dim)!r}: other places, or another order; "
                f"label both: .set_index({dim}={str(name)!r})"
            )


def _target(to: Any, region: object, ds: xr.Dataset) -> Any:
    """A grid; a name means the part of it that covers the forcing, unless a region says otherwise."""
    if isinstance(to, str):
        return ease_grid(to, ds if region is None else region)
    if region is not None:
        raise ArgumentError("region goes with the name of a grid; the object given says where it lies")
    return to


def _on_grid(ds: xr.Dataset, to: Any, how: Mapping[str, str] | None, min_valid: float) -> xr.Dataset:
    """Fluxes by area, states by area or (to a finer grid) bilinear."""
    finer = cell_ratio(grid_of(ds), grid_of(to)) < 1.0
    chosen = {str(name): "bilinear" if finer and name not in FLUXES else "mean" for name in ds.data_vars} | {
        name: operator for name, operator in (how or {}).items() if name in ds
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(finer|coarser).*")
        return upscale(ds, to, cast("Any", chosen), min_valid=min_valid)


def _day_name(utc_offset: float) -> str:
    return "day (UTC)" if not utc_offset else f"day (UTC{utc_offset:+g} h)"
