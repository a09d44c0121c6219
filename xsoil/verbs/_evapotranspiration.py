"""Potential evapotranspiration through xclim, from what a forcing holds."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import numpy as np
import xarray as xr
from affine import Affine
from numpy.typing import NDArray

from xsoil.errors import AxisError, MissingVariableError, TimeError
from xsoil.grids.crs import crs_text, to_world, transformer
from xsoil.grids.geobox import has_grid, locate

METHODS = {
    "hargreaves85": ("air_temperature_min", "air_temperature_max"),
    "baierrobertson65": ("air_temperature_min", "air_temperature_max"),
    "mcguinnessbordne05": ("air_temperature",),
    "allen98": ("air_temperature_min", "air_temperature_max", "air_temperature", "shortwave_down", "longwave_down"),
}
"""Names of xclim, and what each needs; allen98 (FAO-56 Penman-Monteith) also wind and humidity."""

ALBEDO = 0.23
"""Of the reference grass, FAO-56, eq. 38."""
STEFAN_BOLTZMANN = 5.670374e-8
LEAST_DAYS = 3


def potential_evapotranspiration(ds: xr.Dataset, method: str) -> xr.DataArray:
    """Daily PET [mm d-1], at least 0, lazy where the forcing is; all variables in SI units.

    Where the net radiations are not there, the upward ones follow FAO-56: an albedo of 0.23, and a black body at the
    mean temperature of the air.
    """
    try:
        import xclim.indices as xclim  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError as error:
        raise ImportError('PET needs the package xclim: pip install "xsoil[data]"') from error
    given = {name: ds[name] if name in ds else _missing(ds, name, method, METHODS[method]) for name in METHODS[method]}
    if ds.sizes["time"] < LEAST_DAYS:
        raise TimeError(
            f"PET by {method!r} from {ds.sizes['time']} days; xclim tells the step of the time axis from "
            f"{LEAST_DAYS} at least: take more days, or give pet"
        )
    arguments: dict[str, Any] = {}
    for name, theirs in (
        ("air_temperature_min", "tasmin"),
        ("air_temperature_max", "tasmax"),
        ("air_temperature", "tas"),
        ("shortwave_down", "rsds"),
        ("longwave_down", "rlds"),
    ):
        if name in given:
            arguments[theirs] = given[name].assign_attrs(units="K" if name.startswith("air") else "W m-2")
    if method == "allen98":
        mean, sun, sky = given["air_temperature"], given["shortwave_down"], given["longwave_down"]
        up = sun - ds["shortwave_net"] if "shortwave_net" in ds else ALBEDO * sun
        glow = sky - ds["longwave_net"] if "longwave_net" in ds else STEFAN_BOLTZMANN * mean**4
        arguments |= {"rsus": up.assign_attrs(units="W m-2"), "rlus": glow.assign_attrs(units="W m-2")}
        arguments |= {"hurs": _humidity(ds, method), "sfcWind": _wind(ds, method)}
    else:
        arguments["lat"] = latitude_of(ds)
    rate = xclim.potential_evapotranspiration(method=method, **arguments)
    if rate.attrs.get("units") != "kg m-2 s-1":
        raise RuntimeError(f"xclim gave PET in {rate.attrs.get('units')!r}, expected kg m-2 s-1")
    out: xr.DataArray = (rate * 86400.0).clip(min=0.0).astype(np.float32)
    dims = next(iter(given.values())).dims
    return out.transpose(*dims).drop_vars([c for c in out.coords if c not in ds.coords])


def latitude_of(ds: xr.Dataset) -> xr.DataArray:
    """Latitude of every cell or site [degrees]."""
    for name in ("latitude", "lat"):
        if name in ds.coords and "time" not in ds[name].dims:
            return ds[name].assign_attrs(units="degrees_north", standard_name="latitude")
    if not has_grid(ds):
        raise AxisError("no latitude: PET needs it as a coordinate of the sites: ds.assign_coords(latitude=...)")
    located = locate(ds)
    lazy = any(dim in ds.chunksizes for dim in located.dims)
    centres = []
    for dim, size in zip(located.dims, located.geobox.shape, strict=True):
        centre = xr.DataArray(np.arange(size) + 0.5, dims=(dim,))
        centres.append(centre.chunk({dim: ds.chunksizes.get(dim, size)}) if lazy else centre)
    of_cells = partial(_latitude, tuple(located.geobox.affine)[:6], crs_text(located.geobox))
    latitude: xr.DataArray = xr.apply_ufunc(of_cells, *centres, dask="parallelized", output_dtypes=[np.float64])
    coords = {dim: ds[dim] for dim in located.dims if dim in ds.coords}
    attrs = {"units": "degrees_north", "standard_name": "latitude"}
    return latitude.transpose(*located.dims).assign_coords(coords).assign_attrs(attrs)


def _latitude(affine: tuple[float, ...], crs: str, row: NDArray[Any], column: NDArray[Any]) -> NDArray[np.float64]:
    """Of the cells in these rows and columns, which broadcast."""
    across, down = np.broadcast_arrays(column, row)
    x, y = to_world(Affine(*affine), across, down)
    return np.asarray(transformer(crs, "EPSG:4326").transform(x, y)[1])


def _humidity(ds: xr.Dataset, method: str) -> xr.DataArray:
    """Relative humidity [%], from what there is; saturation after FAO-56, eq. 11."""
    if "relative_humidity" in ds:
        return ds["relative_humidity"].assign_attrs(units="%")
    saturation = _saturation(ds["air_temperature"])
    if "dewpoint_temperature" in ds:
        vapour = _saturation(ds["dewpoint_temperature"])
    elif "specific_humidity" in ds and "surface_pressure" in ds:
        q = ds["specific_humidity"]
        vapour = q * ds["surface_pressure"] / (0.622 + 0.378 * q)
    else:
        what = "relative_humidity, dewpoint_temperature, or specific_humidity with surface_pressure"
        raise MissingVariableError(f"PET by {method!r} needs {what}; found {sorted(map(str, ds.data_vars))}")
    return (100.0 * vapour / saturation).clip(0.0, 100.0).assign_attrs(units="%")


def _saturation(temperature: xr.DataArray) -> xr.DataArray:
    """Vapour pressure at saturation [Pa] of a temperature [K]."""
    celsius = temperature - 273.15
    return 610.8 * cast("xr.DataArray", np.exp(17.27 * celsius / (celsius + 237.3)))


def _wind(ds: xr.Dataset, method: str) -> xr.DataArray:
    """Wind speed at 10 m [m s-1]."""
    if "wind_speed" in ds:
        return ds["wind_speed"].assign_attrs(units="m s-1")
    if "wind_u" in ds and "wind_v" in ds:  # daily means of components: the reader of hours makes wind_speed first
        return cast("xr.DataArray", np.hypot(ds["wind_u"], ds["wind_v"])).assign_attrs(units="m s-1")
    raise MissingVariableError(
        f"PET by {method!r} needs wind_speed, or wind_u and wind_v; found {sorted(map(str, ds.data_vars))}"
    )


def _missing(ds: xr.Dataset, name: str, method: str, needed: tuple[str, ...]) -> xr.DataArray:
    raise MissingVariableError(
        f"PET by {method!r} needs {', '.join(needed)}; no {name!r} among {sorted(map(str, ds.data_vars))} (hourly "
        "air_temperature gives its daily least and greatest)"
    )
