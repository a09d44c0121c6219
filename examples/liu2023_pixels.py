"""The real pixels of `liu2023_multitask.py`: SMAP, NLDAS-2 forcing, soil and what is derived of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

import xsoil  # noqa: F401  (registers ds.soil)

TRAIN, TEST = ("2015-04-01", "2016-03-31"), ("2016-04-01", "2017-03-31")
SPIN_UP = 120
"""Days before the first one, with the weather of the same season a year later."""

TARGET, FLOOR = "smap", 0.02
"""SMAP retrievals are clipped at the floor [m3 m-3]."""

CORRUPT = 57
"""Pixel whose forcing is corrupt (pixel_issues & 2); it is predicted, but not learned from."""

SERIES = (
    "precipitation", "air_temperature", "specific_humidity", "shortwave_down", "longwave_down", "wind_speed",
    "pet_fao56", "pet_priestley_taylor",
)  # fmt: skip
SOIL = ("sand", "silt", "clay", "bulk_density")
MAPS = (
    "sand", "clay", "bulk_density", "available_water_capacity", "ndvi", "albedo_omega", "roughness_h",
    "water_body_fraction", "elevation", "lat", "lon",
)  # fmt: skip
CLASSES = ("landcover_igbp", "dense_vegetation_flag", "special_surface_flag")
RAIN_SCALES, HEAT_SCALES, PET_SCALES = (2.0, 5.0, 15.0, 45.0, 120.0), (5.0, 30.0), (15.0, 60.0)
DEPTHS = (0.05, 0.1, 0.3, 1.0)
"""Depths of the buckets whose simulated water is a predictor [m]."""


def read(folder: Path) -> xr.Dataset:
    """Pixels with daily series from 2014-12-02 to 2017-03-31; `smap` only from 2015-04-01 on."""
    raw = xr.open_dataset(folder / "conus_smap_nldas.nc").sel(time=slice(TRAIN[0], TEST[1])).load()
    raw = raw.drop_vars(SOIL).rename({f"{name}_normalised": name for name in SOIL})
    for name in (*SOIL, "available_water_capacity"):  # one pixel has none
        raw[name] = raw[name].fillna(raw[name].median())
    raw["wind_speed"] = np.hypot(raw.wind_u_10m, raw.wind_v_10m).assign_attrs(units="m s-1")
    year = int((raw.time <= np.datetime64(TRAIN[1])).sum())
    before = raw.isel(time=slice(year - SPIN_UP, year))
    before = before.assign_coords(time=before.time - np.timedelta64(year, "D"))
    before["soil_moisture"] = before.soil_moisture * np.nan
    ds = xr.concat([before, raw], "time", data_vars="minimal")
    ds = ds.rename(soil_moisture=TARGET).reset_coords(["lat", "lon"]).drop_vars(["x", "y", "ease_row", "ease_col"])
    ds[TARGET].attrs = {"units": "m3 m-3", "long_name": "SMAP soil moisture"}
    ds["lat"].attrs["units"], ds["lon"].attrs["units"] = "degrees_north", "degrees_east"
    return ds.drop_vars("crs", errors="ignore")


def derived(ds: xr.Dataset) -> tuple[xr.Dataset, list[str], list[str]]:
    """With the predictors of every place: names of series and of static ones.

    Antecedent weather is that of the exponential filter of `xsoil.rootzone`; the water of buckets of several depths is
    that of `xsoil.simulate`, with Rosetta's parameters.
    """
    out, names = ds.copy(), list(SERIES)
    filters = (("precipitation", RAIN_SCALES), ("air_temperature", HEAT_SCALES), ("pet_fao56", PET_SCALES))
    for name, scales in filters:
        times = xr.DataArray(list(scales), dims="scale", attrs={"units": "d"})
        filtered = ds[[name]].soil.rootzone(T=times, variable=name)[name]
        for number, scale in enumerate(scales):
            own = f"{name}_{scale:g}d"
            out[own] = filtered.isel(scale=number)
            names.append(own)
    for name in [n for n in names if n.startswith("precipitation")]:  # less skewed
        out[f"root_{name}"] = np.sqrt(out[name]).assign_attrs(units="mm0.5 d-0.5")
        names[names.index(name)] = f"root_{name}"
    names.append("precipitation")
    parameters = ds[[*SOIL]].soil.ptf("rosetta3").soil.water_limits("retention")
    forcing = ds[["precipitation", "pet_fao56"]].rename(pet_fao56="pet")
    for depth in DEPTHS:
        run = parameters.soil.simulate(forcing, root_depth=depth, depletion_fraction=0.1, crop_coefficient=0.7)
        own = f"bucket_{depth:g}m"
        out[own] = run.theta.transpose("pixel", "time").drop_vars("time_bounds", errors="ignore")
        names.append(own)
    static = [*MAPS, *CLASSES]
    past = ds.sel(time=slice(*TRAIN))
    climate = {
        "mean_precipitation": past.precipitation.mean("time").assign_attrs(units="mm d-1"),
        "mean_temperature": past.air_temperature.mean("time").assign_attrs(units="K"),
        "wet_days": (past.precipitation > 1).mean("time").assign_attrs(units="1"),
        "frost_days": (past.air_temperature < 273).mean("time").assign_attrs(units="1"),
        "log_wetness": np.log(past.precipitation.mean("time") / past.pet_fao56.mean("time")).assign_attrs(units="1"),
    }
    return out.assign(climate), names, [*static, *climate]


RESPONSES = (
    "root_precipitation_2d", "root_precipitation_15d", "root_precipitation_45d", "air_temperature_5d", "pet_fao56_15d",
    "bucket_0.05m", "bucket_0.1m", "bucket_0.3m", "shortwave_down",
)  # fmt: skip


def seen(ds: xr.Dataset, first: str, last: str) -> tuple[xr.Dataset, list[str]]:
    """With statistics of each pixel's SMAP between two days, and its correlation with some of the series."""
    days = ds.sel(time=slice(first, last))
    smap = days[TARGET]
    water = {"units": "m3 m-3"}
    found = {
        "smap_mean": smap.mean("time").assign_attrs(water),
        "smap_sd": smap.std("time").clip(min=0.015).assign_attrs(water),
        "smap_step": np.abs(smap.diff("time")).mean("time").assign_attrs(water),
        "smap_clipped": (days.soil_moisture_clipped.fillna(0) != 0).mean("time").assign_attrs(units="1"),
    }
    for share in (0.05, 0.5, 0.95):
        found[f"smap_q{100 * share:02.0f}"] = smap.quantile(share, "time").drop_vars("quantile").assign_attrs(water)
    for name in RESPONSES:
        found[f"smap_with_{name}"] = xr.corr(smap, days[name], "time").fillna(0).assign_attrs(units="1")
    return ds.assign(found), list(found)
