"""Surface and subsurface soil moisture from satellite maps by a convolutional LSTM (Rabiei et al. 2024).

    python examples/rabiei2024_convlstm.py [--out rabiei2024-output] [--cells 32] [--epochs 10] [--world 0]

A synthetic world on the 9 km EASE-Grid, of which the truth is known: Richards columns with Rosetta's soil give the soil
moisture at 5 and 25 cm. What the network may see of it:

- brightness temperatures (two polarisations, noisy, every third day; gaps filled linearly in time) and vegetation;
- in scenario 2 also soil maps (sand, silt, clay, bulk density);
- as targets "NLDAS", buckets with another PTF and wrong rain, and "SMAP", a biased and noisy look at the true 5 cm on
  every third day: the loss is RMSE with the first plus 1 - R^2 with the second.

The subsurface learns from NLDAS alone (RMSE), with and without the estimated surface moisture among its predictors.
Days 1-360 train, 361-420 stop the training, 421-540 are the test, in which all are compared with the truth.
Needs xsoil[learn].
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import xsoil

DEPTHS, NAMES = (0.05, 0.25), ("surface", "subsurface")
SOIL = ["sand", "silt", "clay", "bulk_density"]
SATELLITE = ["brightness_h", "brightness_v", "vegetation_water"]
FIRST, DAYS, TRAINED = "2015-01-01", 540, 420
OPTIONS: dict[str, Any] = {"filters": (8, 16), "attention": (2,), "window": 9, "patch": 16, "context": 4}
WATER = {"units": "m3 m-3"}


def world(cells: int, seed: int) -> xr.Dataset:
    """Truth and what is seen of it, on (time, y, x)."""
    grid = xsoil.ease_grid("EASE2_M09km", (-102, 33, -90, 44))
    soil = xsoil.data.synthetic_soil(grid, seed).isel(y=slice(0, cells), x=slice(0, cells)).compute()
    times = pd.date_range(FIRST, periods=DAYS)
    forcing = xsoil.data.synthetic_forcing(soil, times, seed, variables=("precipitation", "pet", "lai")).compute()
    season = 0.5 - 0.5 * np.cos(2 * np.pi * (times.day_of_year.to_numpy() - 20) / 365)
    parameters = soil[SOIL].soil.ptf("rosetta3")
    start = time.process_time()
    run = parameters.soil.simulate(forcing, "richards", depths=DEPTHS)
    print(f"truth: {cells**2} columns, {DAYS} days, {time.process_time() - start:.0f} s of processor time", flush=True)
    rng = np.random.default_rng([seed, 2024])
    shape = (DAYS, *(soil.sizes[d] for d in ("y", "x")))
    ds = soil[SOIL].copy()
    for number, name in enumerate(NAMES):
        ds[name] = run.theta.isel(depth=number, drop=True).assign_attrs(WATER)

    wrong = forcing[["pet"]].assign(
        precipitation=(forcing.precipitation * np.exp(rng.normal(0, 0.4, shape))).assign_attrs(units="mm d-1")
    )
    other = soil[SOIL].soil.ptf("cosby1984").soil.water_limits("clm")
    for name, depth in zip(NAMES, (0.1, 0.4), strict=True):
        model = other.soil.simulate(wrong, root_depth=depth, depletion_fraction=0.1, crop_coefficient=0.7)
        ds[f"nldas_{name}"] = model.theta.drop_vars("time_bounds", errors="ignore")
    overpass = xr.DataArray(np.arange(DAYS) % 3 == 0, dims="time", coords={"time": times})
    smap = 1.2 * ds.surface - 0.05 + rng.normal(0, 0.04, shape)
    ds["smap"] = smap.where(overpass).transpose("time", "y", "x").assign_attrs(WATER)

    ds["vegetation_water"] = (0.6 * forcing.lai).assign_attrs(units="kg m-2")
    ground = 288 + 9 * (season - 0.5)
    through = np.exp(-0.25 * ds.vegetation_water)
    for name, dry, wet in (("brightness_h", 0.10, 1.1), ("brightness_v", 0.04, 0.7)):
        reflected = (dry + wet * ds.surface) * through
        warm = xr.DataArray(ground, dims="time", coords={"time": times}) * (1 - reflected) + rng.normal(0, 3, shape)
        seen = warm.where(overpass).transpose("time", "y", "x").assign_attrs(units="K")
        filled = xsoil.fill_gaps(seen.to_dataset(name=name), "linear", extrapolate=True)
        ds[name] = filled[name].assign_attrs(units="K")
    return ds.transpose("time", "y", "x").astype("f4")


def fit(
    ds: xr.Dataset, target: tuple[str, ...], predictors: list[str], epochs: int, **options: Any
) -> xsoil.MoistureModel:
    """Train on the first days, stop by the last 60 of them."""
    days = ds.time.values
    split = xsoil.Split.times(
        train=(str(days[0])[:10], str(days[TRAINED - 1])[:10]), test=(str(days[TRAINED])[:10], str(days[-1])[:10])
    )
    start = time.process_time()
    model = xsoil.fit_moisture_model(
        ds, kind="convlstm", target=target, predictors=predictors, split=split, validation="60D", progress=False,
        options=OPTIONS | {"epochs": epochs} | options,
    )  # fmt: skip
    numbers = sum(array.size for array in model.ensemble.arrays().values())
    print(f"{target}, {len(predictors)} predictors: {numbers} numbers, {time.process_time() - start:.0f} s", flush=True)
    return model


def compare(estimates: dict[str, xr.DataArray], truth: xr.DataArray, by: xr.DataArray) -> pd.DataFrame:
    """Medians over cells of the scores in the test days, for all cells and by class."""
    test, name, rows = truth.isel(time=slice(TRAINED, None)), str(truth.name), []
    for what, estimate in estimates.items():
        own = estimate.sel(time=test.time).assign_attrs(WATER).to_dataset(name=name)
        found = xsoil.evaluate(own, test.to_dataset(), variable=(name, name))
        for group, where in (("all", by == by), *((k, by == k) for k in np.unique(by))):
            part = found[["r", "rmse", "ubrmse", "bias"]].where(where)
            values = {metric: float(part[metric].median()) for metric in ("r", "rmse", "ubrmse", "bias")}
            rows.append({"depth": name, "estimate": what, "texture": group, "cells": int(where.sum())} | values)
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("rabiei2024-output"))
    parser.add_argument("--cells", type=int, default=32, help="along a side of the map")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--world", type=int, default=0, help="seed of the world")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    ds = world(options.cells, options.world)
    classes = ds[["sand", "silt", "clay"]].soil.texture_class()
    names = np.array(["missing", *classes.attrs["flag_meanings"].split()[-12:]])[classes.values]
    fine, coarse = (
        ("clay" in n and "loam" not in n for n in names.ravel()),
        ("sand" in n and "clay" not in n for n in names.ravel()),
    )
    group = [("fine" if f else "coarse" if c else "medium") for f, c in zip(fine, coarse, strict=True)]
    texture = classes.copy(data=np.array(group, object).reshape(classes.shape))

    surface = ("nldas_surface", "smap")
    models = {
        "ConvLSTM without soil maps": fit(ds, surface, SATELLITE, options.epochs),
        "ConvLSTM with soil maps": fit(ds, surface, [*SATELLITE, *SOIL], options.epochs),
        "... depth-wise convolutions": fit(ds, surface, [*SATELLITE, *SOIL], options.epochs, depthwise=True),
    }
    found = {name: model.predict(ds)["nldas_surface"] for name, model in models.items()}
    filled = xsoil.fill_gaps(ds[["smap"]], "linear", extrapolate=True).smap
    given = {"NLDAS (model)": ds.nldas_surface, "SMAP, filled": filled}
    tables = [compare(given | found, ds.surface, texture)]

    deep = ds.assign(estimated=found["ConvLSTM with soil maps"])
    both = {
        "ConvLSTM without the surface": fit(deep, ("nldas_subsurface",), [*SATELLITE, *SOIL], options.epochs, beta=0.0),
        "ConvLSTM with the estimated surface": fit(
            deep, ("nldas_subsurface",), [*SATELLITE, *SOIL, "estimated"], options.epochs, beta=0.0
        ),
    }
    below = {name: model.predict(deep)["nldas_subsurface"] for name, model in both.items()}
    tables.append(compare({"NLDAS (model)": ds.nldas_subsurface} | below, ds.subsurface, texture))
    table = pd.concat(tables)
    table.to_csv(options.out / "scores.csv", index=False, float_format="%.5f")
    print(f"\ntest days, medians over cells:\n{table.to_string(index=False, float_format='%.4f')}")

    last = ds.isel(time=slice(-5, None))
    model = models["ConvLSTM with soil maps"]
    whole = model.predict(last)["nldas_surface"]
    tiles = model.predict(last.chunk({"time": 2, "y": 7, "x": 11}))["nldas_surface"].compute()
    print(
        f"\nmaps by tiles of 7 x 11 cells differ from the untiled map by {float(abs(tiles - whole).max()):.1e} m3 m-3"
    )
    xr.Dataset({"truth": ds.surface, **{f"estimate_{i}": f for i, f in enumerate(found.values())}}).isel(
        time=slice(TRAINED, None)
    ).to_netcdf(options.out / "surface.nc")


if __name__ == "__main__":
    main()
