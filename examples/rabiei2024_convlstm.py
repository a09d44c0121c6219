"""Surface and subsurface soil moisture from satellite maps by a convolutional LSTM (Rabiei et al. 2024).

    python examples/rabiei2024_convlstm.py [--out rabiei2024-output] [--cells 32] [--epochs 10] [--worlds 0 1 2]

Synthetic worlds on the 9 km EASE-Grid, of which the truth is known: Richards columns with Rosetta's soil give the soil
moisture at 5 and 25 cm. What the network may see of it:

- brightness temperatures (two polarisations, noisy, every third day; gaps filled linearly in time) and vegetation;
- in scenario 2 also soil maps (sand, silt, clay, bulk density);
- as targets "NLDAS", buckets with another PTF and wrong rain, and "SMAP", a biased and noisy look at the true 5 cm on
  every third day: the loss is RMSE with the first plus 1 - R^2 with the second.

The subsurface learns from NLDAS alone (RMSE), with and without the estimated surface moisture among its predictors.
Days 1-360 train, 361-420 stop the training, 421-540 are the test, in which all are compared with the truth. Scores are
medians over the cells of a world, then means over the worlds with their spread. A run that was stopped goes on with
the worlds and seeds that are not done. Needs xsoil[learn].
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
PAIRS = (
    ("ConvLSTM with soil maps", "ConvLSTM without soil maps"),
    ("... depth-wise convolutions", "ConvLSTM with soil maps"),
    ("ConvLSTM with the estimated surface", "ConvLSTM without the surface"),
)


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
    ds: xr.Dataset, target: tuple[str, ...], predictors: list[str], epochs: int, seed: int, **options: Any
) -> xsoil.MoistureModel:
    """Train on the first days, stop by the last 60 of them."""
    days = ds.time.values
    split = xsoil.Split.times(
        train=(str(days[0])[:10], str(days[TRAINED - 1])[:10]), test=(str(days[TRAINED])[:10], str(days[-1])[:10])
    )
    start = time.process_time()
    model = xsoil.fit_moisture_model(
        ds, kind="convlstm", target=target, predictors=predictors, split=split, validation="60D", seed=seed,
        progress=False, options=OPTIONS | {"epochs": epochs} | options,
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


def textures(ds: xr.Dataset) -> xr.DataArray:
    """Fine, medium or coarse."""
    classes = ds[["sand", "silt", "clay"]].soil.texture_class()
    names = np.array(["missing", *classes.attrs["flag_meanings"].split()[-12:]])[classes.values]
    fine, coarse = (
        ("clay" in n and "loam" not in n for n in names.ravel()),
        ("sand" in n and "clay" not in n for n in names.ravel()),
    )
    group = [("fine" if f else "coarse" if c else "medium") for f, c in zip(fine, coarse, strict=True)]
    return classes.copy(data=np.array(group, object).reshape(classes.shape))


def of_world(ds: xr.Dataset, seed: int, epochs: int) -> tuple[pd.DataFrame, xr.Dataset, float]:
    """Scores of all networks; maps of the surface in the test days; how far tiles differ from the untiled map."""
    surface, texture = ("nldas_surface", "smap"), textures(ds)
    models = {
        "ConvLSTM without soil maps": fit(ds, surface, SATELLITE, epochs, seed),
        "ConvLSTM with soil maps": fit(ds, surface, [*SATELLITE, *SOIL], epochs, seed),
        "... depth-wise convolutions": fit(ds, surface, [*SATELLITE, *SOIL], epochs, seed, depthwise=True),
    }
    found = {name: model.predict(ds)["nldas_surface"] for name, model in models.items()}
    filled = xsoil.fill_gaps(ds[["smap"]], "linear", extrapolate=True).smap
    given = {"NLDAS (model)": ds.nldas_surface, "SMAP, filled": filled}
    tables = [compare(given | found, ds.surface, texture)]

    deep, own = ds.assign(estimated=found["ConvLSTM with soil maps"]), ("nldas_subsurface",)
    both = {
        "ConvLSTM without the surface": fit(deep, own, [*SATELLITE, *SOIL], epochs, seed, beta=0.0),
        "ConvLSTM with the estimated surface": fit(deep, own, [*SATELLITE, *SOIL, "estimated"], epochs, seed, beta=0.0),
    }
    below = {name: model.predict(deep)["nldas_subsurface"] for name, model in both.items()}
    tables.append(compare({"NLDAS (model)": ds.nldas_subsurface} | below, ds.subsurface, texture))

    last = ds.isel(time=slice(-5, None))
    model = models["ConvLSTM with soil maps"]
    whole = model.predict(last)["nldas_surface"]
    tiles = model.predict(last.chunk({"time": 2, "y": 7, "x": 11}))["nldas_surface"].compute()
    maps = xr.Dataset({"truth": ds.surface, **{f"estimate_{i}": f for i, f in enumerate(found.values())}})
    return pd.concat(tables), maps.isel(time=slice(TRAINED, None)), float(abs(tiles - whole).max())


def spread(table: pd.DataFrame) -> pd.DataFrame:
    """Mean over the seeds, then mean and deviation over the worlds."""
    keys, metrics = ["depth", "estimate", "texture"], ["r", "rmse", "ubrmse", "bias"]
    each = table.groupby([*keys, "world"], sort=False)[["cells", *metrics]].mean()
    middle, sd = (each.groupby(keys, sort=False).agg(how) for how in ("mean", "std"))
    return middle.join(sd[metrics].fillna(0.0).add_suffix(" sd"))


def differences(table: pd.DataFrame) -> pd.DataFrame:
    """What soil maps, depth-wise convolutions and the estimated surface change: over the worlds, and single runs."""
    whole = table[table.texture == "all"].set_index(["estimate", "world", "seed"]).sort_index()
    rows = []
    for changed, base in PAIRS:
        for metric in ("r", "ubrmse"):
            runs = whole.loc[changed, metric] - whole.loc[base, metric]
            worlds = runs.groupby("world").mean()
            better = float((runs > 0).mean() if metric == "r" else (runs < 0).mean())
            rows.append(
                {"changed": changed, "from": base, "metric": metric, "difference": worlds.mean(), "sd": worlds.std()}
                | {"lowest run": runs.min(), "highest run": runs.max(), "better in": better}
            )
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("rabiei2024-output"))
    parser.add_argument("--cells", type=int, default=32, help="along a side of the map")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--worlds", type=int, nargs="+", default=[0, 1, 2], help="seeds of the worlds")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the networks")
    parser.add_argument("--filters", type=int, nargs="+", default=[8, 16], help="of each layer")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    OPTIONS["filters"] = tuple(options.filters)
    OPTIONS["attention"] = tuple(layer for layer in (2, 5) if layer <= len(options.filters))
    tables = []
    for number in options.worlds:
        files = {seed: options.out / f"scores_{number}_{seed}.csv" for seed in options.seeds}
        todo = [seed for seed, file in files.items() if not file.exists()]
        ds = world(options.cells, number) if todo else xr.Dataset()
        for seed in todo:
            table, maps, off = of_world(ds, seed, options.epochs)
            print(f"maps by tiles of 7 x 11 cells differ from the untiled map by {off:.1e} m3 m-3", flush=True)
            if seed == options.seeds[0]:
                maps.to_netcdf(options.out / f"surface_{number}.nc")
            table.assign(world=number, seed=seed).to_csv(files[seed], index=False, float_format="%.5f")
        tables += [pd.read_csv(file) for file in files.values()]
    every = pd.concat(tables)
    every.to_csv(options.out / "scores.csv", index=False)
    table, changes = spread(every), differences(every)
    table.to_csv(options.out / "table.csv", float_format="%.5f")
    changes.to_csv(options.out / "differences.csv", index=False, float_format="%.5f")
    print(f"\ntest days, medians over cells, means over worlds:\n{table.to_string(float_format='%.4f')}")
    print(f"\nwhat changes them:\n{changes.to_string(index=False, float_format='%.4f')}")


if __name__ == "__main__":
    main()
