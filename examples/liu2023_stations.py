"""Two tasks of `liu2023_multitask.py`: SMAP at pixels, and soil moisture at 5 cm of stations, by one network.

Satellite series are those of 2015-04 .. 2016-03, station series those of 2020 (`uscrn_2020.nc`). Both lie on one axis
of days, as if 2020 had been 2015 (no predictor is a date), and a station's year is repeated to fill it. Both tasks read
what both have: rain, temperature, radiation, potential evapotranspiration, their antecedents, simulated water, and soil
and vegetation of the pixel (of a station, of the nearest one: stations come without a soil map).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from liu2023_pixels import CORRUPT, DEPTHS, HEAT_SCALES, PET_SCALES, RAIN_SCALES, SOIL, TARGET, TRAIN, read

import xsoil
from xsoil.evaluation import paired_bootstrap

SHARED = ("precipitation", "air_temperature", "shortwave_down", "pet_fao56")
STATIC = ("sand", "clay", "bulk_density", "ndvi", "roughness_h", "elevation")
IN_SITU, LEAST_DAYS, FARTHEST = "in_situ", 200, 150.0
"""Station days that count, and the distance to a pixel [km]."""

NETWORK: dict[str, Any] = {
    "hidden": 32, "dropout": 0.3, "recurrent_dropout": 0.3, "days": 486, "spin_up": 0, "batch_cells": 32, "epochs": 15,
    "learning_rate": 0.006,
}  # fmt: skip
WAYS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "in situ alone": ((IN_SITU,), {}),
    "satellite alone": ((TARGET,), {}),
    "both, RMSE + RMSE": ((TARGET, IN_SITU), {}),
    "both, learned weights, own outputs": ((TARGET, IN_SITU), {"task_weights": "learned", "heads": "own"}),
}


def places(folder: Path) -> xr.Dataset:
    """Pixels and stations on one dim `place`, with both targets, of which each place has one."""
    ds = read(folder)
    ds = ds.isel(pixel=np.flatnonzero(ds.pixel != CORRUPT)).sel(time=slice(None, TRAIN[1]))
    raw = xr.open_dataset(folder / "uscrn_2020.nc").load()
    near = raw.sel(depth=0.05)
    water = near.soil_moisture.where(near.soil_temperature >= 0).transpose("station", "time")
    nearest, distance = _nearest(raw, ds)
    whole = raw[["precipitation", "pet_fao56", "air_temperature"]].to_array().notnull().sum("time") >= 350
    chosen = np.flatnonzero(whole.all("variable") & (water.count("time") >= LEAST_DAYS) & (distance < FARTHEST))
    days = np.asarray((ds.time.values - np.datetime64("2015-01-01")) / np.timedelta64(1, "D"), int) % 366
    stations = raw.isel(station=chosen, time=days)
    found = xr.Dataset(
        {
            "precipitation": stations.precipitation.fillna(0),
            "air_temperature": stations.air_temperature + 273.15,
            "shortwave_down": stations.solar_radiation / 0.0864,
            "pet_fao56": stations.pet_fao56,
        }
    ).assign_coords(time=ds.time)
    for name in SHARED[1:]:
        found[name] = found[name].interpolate_na("time", fill_value="extrapolate")
    own = water.isel(station=chosen, time=days).assign_coords(time=ds.time)
    # A year once, so that no day counts twice.
    found[IN_SITU] = own.where((ds.time >= np.datetime64("2015-01-01")) & (ds.time < np.datetime64("2016-01-02")))
    found = found.drop_vars("depth", errors="ignore").reset_coords(drop=True)
    for name in (*STATIC, "silt"):
        found[name] = ("station", ds[name].values[nearest[chosen]])
    found["lat"], found["lon"] = ("station", raw.lat.values[chosen]), ("station", raw.lon.values[chosen])
    found = found.transpose("station", "time").rename(station="place")
    pixels = ds[[*SHARED, *STATIC, "silt", "lat", "lon", TARGET]].rename(pixel="place")
    pixels = pixels.assign_coords(place=[f"pixel {p}" for p in pixels.place.values])
    found = found.assign_coords(place=[f"station {s}" for s in raw.station.values[chosen]])
    both = xr.concat([pixels, found], "place", join="outer", combine_attrs="override")
    for name in both.data_vars:
        both[name].attrs = {
            "units": {IN_SITU: "m3 m-3"}.get(str(name), ds[name].attrs.get("units") if name in ds else "")
        }
    return both


def _nearest(stations: xr.Dataset, pixels: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The nearest pixel of each station, and how far it is [km]."""
    a, b = (np.radians(np.stack([ds.lat, ds.lon])) for ds in (stations, pixels))
    x, y = ([np.cos(p[0]) * np.cos(p[1]), np.cos(p[0]) * np.sin(p[1]), np.sin(p[0])] for p in (a, b))
    cosine = np.clip(np.stack(x, axis=1) @ np.stack(y), -1, 1)
    nearest = cosine.argmax(axis=1)
    return nearest, 6371.0 * np.arccos(cosine[np.arange(len(nearest)), nearest])


def with_predictors(ds: xr.Dataset) -> tuple[xr.Dataset, list[str]]:
    """With antecedent weather and simulated water; names of all predictors."""
    out, names = ds.copy(), [*SHARED[1:], *STATIC]
    for name, scales in (("precipitation", RAIN_SCALES), ("air_temperature", HEAT_SCALES), ("pet_fao56", PET_SCALES)):
        times = xr.DataArray(list(scales), dims="scale", attrs={"units": "d"})
        filtered = ds[[name]].soil.rootzone(T=times, variable=name)[name]
        for number, scale in enumerate(scales):
            own, values = f"{name}_{scale:g}d", filtered.isel(scale=number)
            if name == "precipitation":
                values = np.sqrt(values).assign_attrs(units="mm0.5 d-0.5")
            out[own] = values
            names.append(own)
    out["root_precipitation"] = np.sqrt(ds.precipitation).assign_attrs(units="mm0.5 d-0.5")
    names.append("root_precipitation")
    parameters = ds[[*SOIL]].soil.ptf("rosetta3").soil.water_limits("retention")
    forcing = ds[["precipitation", "pet_fao56"]].rename(pet_fao56="pet")
    for depth in DEPTHS:
        run = parameters.soil.simulate(forcing, root_depth=depth, depletion_fraction=0.1, crop_coefficient=0.7)
        out[f"bucket_{depth:g}m"] = run.theta.drop_vars("time_bounds", errors="ignore")
        names.append(f"bucket_{depth:g}m")
    return out, names


def compare(folder: Path, out: Path, *, folds: int = 5, seeds: tuple[int, ...] = (0,), **options: Any) -> pd.DataFrame:
    """Scores at stations that the training did not see, by way of training."""
    ds, names = with_predictors(places(folder))
    station = ds[IN_SITU].notnull().any("time")
    parts = []
    for seed in seeds:
        for number, fold in enumerate(
            xsoil.Split.folds(ds[IN_SITU].isel(time=0, drop=True), folds, seed, where=station)
        ):
            file = out / f"stations_{seed}_{number}.csv"
            if not file.exists():
                split = xsoil.Split.cells(~fold.test, fold.test)
                observed = ds[[IN_SITU]].where(fold.test)
                rows = []
                for way, (targets, own) in WAYS.items():
                    model = xsoil.fit_moisture_model(
                        ds, kind="lstm", target=targets, predictors=names, split=split, validation=0, seed=seed,
                        options=NETWORK | own | options, progress=False,
                    )  # fmt: skip
                    predicted = model.predict(ds.isel(place=np.flatnonzero(fold.test)))[[targets[-1]]]
                    found = xsoil.evaluate(
                        predicted, observed.sel(place=predicted.place), variable=(targets[-1], IN_SITU)
                    )
                    table = found[["rmse", "ubrmse", "bias", "r", "n"]].to_dataframe()
                    rows.append(table[["rmse", "ubrmse", "bias", "r", "n"]].assign(way=way, seed=seed))
                pd.concat(rows).to_csv(file, float_format="%.5f")
            parts.append(pd.read_csv(file, index_col="place"))
    return pd.concat(parts)


def differences(table: pd.DataFrame) -> pd.DataFrame:
    """Of both tasks less either alone, with 95 percent intervals by a paired bootstrap over stations."""
    rows = []
    wide = table[table.n >= 30].reset_index().pivot_table(index="place", columns="way", values=["r", "rmse", "ubrmse"])
    for ours in list(WAYS)[2:]:
        for theirs in list(WAYS)[:2]:
            for metric in ("r", "rmse", "ubrmse"):
                found = paired_bootstrap(*(wide[metric][way].to_numpy() for way in (ours, theirs)))
                values = {name: float(found[name]) for name in ("a", "b", "difference", "low", "high")}
                rows.append({"ours": ours, "theirs": theirs, "metric": metric} | values)
    return pd.DataFrame(rows)
