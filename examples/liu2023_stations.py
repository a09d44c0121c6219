"""Two tasks of `liu2023_multitask.py`: SMAP at pixels, and soil moisture at 5 cm of stations, by one network.

Satellite series are those of 2015-04 .. 2016-03, station series those of 2020 (`uscrn_2020.nc`). Both lie on one axis
of days, as if 2020 had been 2015 (no predictor is a date), and a station's year is repeated to fill it. Both tasks read
what both have: rain, temperature, radiation, potential evapotranspiration, their antecedents, simulated water, and soil
and vegetation of the pixel (of a station, of the nearest one: stations come without a soil map).

All ways of training get the same number of updates: with the same number of epochs, two tasks would be better only
because they are trained longer.

The same networks, trained on all these stations, then predict Walnut Gulch (`walnut_gulch_flux.nc`) and Bondville
(`bondville_1998.nc`), which lie in other years and belong to no network that was learned from.
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
    "hidden": 32, "dropout": 0.3, "recurrent_dropout": 0.3, "days": 486, "spin_up": 0, "batch_cells": 32,
    "learning_rate": 0.006,
}  # fmt: skip
UPDATES = 180
METRICS = ["rmse", "ubrmse", "bias", "r", "n"]
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


def trained(
    ds: xr.Dataset, names: list[str], way: str, learned: xr.DataArray, seed: int, updates: int
) -> xsoil.MoistureModel:
    """A network that learned from the places `learned` what its way of training takes."""
    targets, options = WAYS[way]
    number = int((learned & ds[list(targets)].to_array().notnull().any(["variable", "time"])).sum())
    epochs = max(1, round(updates / -(-number // NETWORK["batch_cells"])))
    return xsoil.fit_moisture_model(
        ds, kind="lstm", target=targets, predictors=names, split=xsoil.Split.cells(learned, ~learned), validation=0,
        seed=seed, options=NETWORK | options | {"epochs": epochs}, progress=False,
    )  # fmt: skip


def compare(
    folder: Path, out: Path, *, folds: int = 5, seeds: tuple[int, ...] = (0, 1, 2), updates: int = UPDATES
) -> pd.DataFrame:
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
                observed = ds[[IN_SITU]].where(fold.test)
                rows = []
                for way, (targets, _) in WAYS.items():
                    model = trained(ds, names, way, ~fold.test, seed, updates)
                    predicted = model.predict(ds.isel(place=np.flatnonzero(fold.test)))[[targets[-1]]]
                    found = xsoil.evaluate(
                        predicted, observed.sel(place=predicted.place), variable=(targets[-1], IN_SITU)
                    )
                    rows.append(found[METRICS].to_dataframe()[METRICS].assign(way=way, seed=seed))
                pd.concat(rows).to_csv(file, float_format="%.5f")
            parts.append(pd.read_csv(file, index_col="place"))
    return pd.concat(parts)


def elsewhere(folder: Path) -> dict[str, xr.Dataset]:
    """Flux towers with soil moisture at 5 cm, by name: Walnut Gulch from 2008 on, and Bondville in 1998."""
    pixels = read(folder)
    pixels = pixels.isel(pixel=np.flatnonzero(pixels.pixel != CORRUPT))
    towers = xr.open_dataset(folder / "walnut_gulch_flux.nc").load().sel(time=slice("2008-01-01", None))
    found = {f"Walnut Gulch, {s}": towers.sel(site=s).drop_vars("site") for s in towers.site.values}
    found["Bondville"] = xr.open_dataset(folder / "bondville_1998.nc").load()
    for name, raw in found.items():
        ds = raw[list(SHARED)].reset_coords(drop=True)
        ds["precipitation"] = ds.precipitation.fillna(0)
        ds["air_temperature"] = ds.air_temperature + 273.15
        for series in SHARED[1:]:
            ds[series] = ds[series].interpolate_na("time", fill_value="extrapolate")
        nearest, _ = _nearest(raw.reset_coords(["lat", "lon"])[["lat", "lon"]].expand_dims("place"), pixels)
        for own in (*STATIC, "silt"):
            ds[own] = pixels[own].isel(pixel=int(nearest[0]), drop=True).reset_coords(drop=True)
        ds[IN_SITU] = raw.soil_moisture_5cm.reset_coords(drop=True)
        if "soil_temperature_4cm" in raw:  # frozen days are left out, as at the stations
            ds[IN_SITU] = ds[IN_SITU].where(raw.soil_temperature_4cm.reset_coords(drop=True) >= 0)
        for own in ds.data_vars:
            ds[own].attrs = {"units": pixels[own].attrs["units"] if own in pixels else "m3 m-3"}
        found[name] = ds.expand_dims(place=[name]).transpose("place", "time")
    return found


def networks(folder: Path, out: Path, *, seeds: tuple[int, ...] = (0, 1, 2), updates: int = UPDATES) -> pd.DataFrame:
    """Scores at the towers, of networks that learned from all stations of the USCRN, and of a bucket with Rosetta."""
    file = out / "networks.csv"
    if not file.exists():
        ds, names = with_predictors(places(folder))
        towers = {name: with_predictors(tower)[0] for name, tower in elsewhere(folder).items()}
        rows = []
        for seed in seeds:
            for way, (targets, _) in WAYS.items():
                model = trained(ds, names, way, xr.ones_like(ds.lat, bool), seed, updates)
                for tower in towers.values():
                    own = model.predict(tower)[targets[-1]]
                    rows.append(_scores(own, tower[IN_SITU]).assign(way=way, seed=seed))
        for tower in towers.values():
            bucket = _scores(tower[f"bucket_{DEPTHS[0]:g}m"], tower[IN_SITU])
            rows.append(bucket.assign(way="simulate, Rosetta", seed=0))
        pd.concat(rows).to_csv(file, float_format="%.5f")
    return pd.read_csv(file, index_col="place")


def _scores(predicted: xr.DataArray, observed: xr.DataArray) -> pd.DataFrame:
    own = predicted.assign_attrs(units="m3 m-3").to_dataset(name=IN_SITU)
    return xsoil.evaluate(own, observed.to_dataset(), variable=(IN_SITU, IN_SITU))[METRICS].to_dataframe()[METRICS]


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
