"""Two tasks of `liu2023_multitask.py` in worlds whose truth is known: a satellite's cells and stations, by one network.

A world is soil moisture of the top 10 cm of every 1 km cell from 2015 to 2016, simulated from synthetic soil maps
(Saxton-Rawls) and weather. The satellite sees its exact mean over cells of 36 km, with noise of 0.04 m3 m-3, every
third day; stations stand in 300 cells of 1 km, with noise of 0.02 m3 m-3. The network reads weather and soil: of the
satellite's cells their means, of a station its own cell's.

Networks learn from both, or from either alone, in 2015: with four fifths of the stations, with a few of them, and
with those of the western half. All get the same number of updates, whatever they learn from: with the same number of
epochs, two tasks would be better only because they are trained longer. All are scored against the truth at the
stations that are left out (in the third case: the eastern ones), in 2015 and in 2016.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import xsoil

REGION = (-113.0, 35.0, -95.0, 41.0)
DAYS, WARMUP = ("2014-10-01", "2016-12-31"), 92
YEARS = {"2015": "same year", "2016": "next year"}
SATELLITE, IN_SITU, TRUTH = "satellite", "in_situ", "truth"
SATELLITE_NOISE, SITE_NOISE, EVERY = 0.04, 0.02, 3
COLUMN = {"root_depth": 0.1, "depletion_fraction": 0.5, "crop_coefficient": 0.9}
WEATHER = ("precipitation", "pet", "air_temperature", "lai")
SOIL = ("sand", "clay", "bulk_density", "organic_carbon")
PREDICTORS = ["root_precipitation", *WEATHER[1:], *SOIL]
COLUMNS = 4
"""Columns of the satellite's grid that are simulated at a time."""

FEW = 8
CASES = ("four fifths of the stations", f"{FEW} stations", "stations of the west")
NETWORK: dict[str, Any] = {
    "hidden": 32, "dropout": 0.1, "recurrent_dropout": 0.1, "days": 457, "spin_up": 0, "batch_cells": 32,
    "learning_rate": 0.006,
}  # fmt: skip
UPDATES = 900
WAYS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "satellite alone": ((SATELLITE,), {}),
    "in situ alone": ((IN_SITU,), {}),
    "both, RMSE + RMSE": ((SATELLITE, IN_SITU), {}),
    "both, learned weights, own outputs": ((SATELLITE, IN_SITU), {"task_weights": "learned", "heads": "own"}),
}
ITSELF = "(the satellite's cell)"
KEYS = ["case", "year", "way"]
METRICS = ["rmse", "ubrmse", "bias", "r"]


def world(seed: int, cells: tuple[int, int], sites: int) -> xr.Dataset:
    """Cells of the satellite, then stations, on the dim `place`; `seen` is what the satellite says at a station."""
    coarse = xsoil.ease_grid("EASE2_M36km", REGION)
    top, left = xsoil.ease_rowcol(coarse)
    rows, columns = (min(n, given) for n, given in zip(coarse.shape, cells, strict=True))
    coarse = coarse[:rows, :columns]
    fine = xsoil.ease_grid("EASE2_M01km")[36 * top : 36 * (top + rows), 36 * left : 36 * (left + columns)]
    rng = np.random.default_rng([seed, 2023])
    row, column = np.unravel_index(np.sort(rng.choice(fine.shape[0] * fine.shape[1], sites, replace=False)), fine.shape)
    names, pixels, stations = [*WEATHER, *SOIL, TRUTH], [], []
    for first in range(0, columns, COLUMNS):
        last = min(first + COLUMNS, columns)
        box = fine[:, 36 * first : 36 * last]
        soil = xsoil.data.synthetic_soil(box, seed).compute().drop_vars("topsoil")
        ds = xsoil.data.synthetic_forcing(box, DAYS, seed, variables=WEATHER).compute()
        run = soil.soil.ptf("saxton_rawls2006").soil.simulate(ds[["precipitation", "pet"]], warmup=WARMUP, **COLUMN)
        ds = ds.assign({name: soil[name] for name in SOIL}).assign({TRUTH: run.theta.reindex(time=ds.time)})
        mean = ds[names].soil.upscale(coarse[:, first:last], "mean")
        pixels.append(mean.stack(place=("y", "x"), create_index=False).drop_vars(["x", "y", "spatial_ref"]))
        at = (column >= 36 * first) & (column < 36 * last)
        where = {"y": xr.DataArray(row[at], dims="place"), "x": xr.DataArray(column[at] - 36 * first, dims="place")}
        over = (row[at] // 36) * (last - first) + column[at] // 36 - first
        own = ds[names].isel(where).drop_vars(["x", "y", "spatial_ref"])
        stations.append(
            own.assign(over=("place", len(pixels[:-1]) * rows * COLUMNS + over), east=("place", column[at]))
        )
    satellite = xr.concat(pixels, "place", data_vars="minimal").transpose("place", "time")
    noisy = satellite[TRUTH] + rng.normal(0, SATELLITE_NOISE, satellite[TRUTH].shape).astype(np.float32)
    satellite[SATELLITE] = noisy.where(xr.DataArray(np.arange(ds.sizes["time"]) % EVERY == 0, dims="time"))
    in_situ = xr.concat(stations, "place", data_vars="minimal").transpose("place", "time")
    in_situ["seen"] = satellite[SATELLITE].isel(place=in_situ.over)
    in_situ[IN_SITU] = in_situ[TRUTH] + rng.normal(0, SITE_NOISE, in_situ[TRUTH].shape).astype(np.float32)
    both = xr.concat([satellite, in_situ.drop_vars("over")], "place", join="outer", combine_attrs="override")
    both["root_precipitation"] = np.sqrt(both.precipitation).assign_attrs(units="mm0.5 d-0.5")
    for name in (SATELLITE, IN_SITU, TRUTH, "seen"):
        both[name].attrs = {"units": "m3 m-3"}
    return both.assign_coords(place=np.arange(both.sizes["place"]))


def parts(ds: xr.Dataset, case: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the stations that train, and of those that are left out."""
    site = ds.east.notnull().to_numpy()
    if case == CASES[2]:
        east = (ds.east > ds.east.median()).to_numpy()
        return site & ~east, site & east
    drawn = np.random.default_rng([seed, 5]).permutation(np.flatnonzero(site))
    held = len(drawn) // 5
    train, test = np.zeros_like(site), np.zeros_like(site)
    test[drawn[:held]] = True
    train[drawn[held : held + (FEW if case == CASES[1] else len(drawn))]] = True
    return train, test


def scores(predicted: xr.DataArray, truth: xr.DataArray) -> list[pd.DataFrame]:
    """Of every station in each year, on the days that have both."""
    rows = []
    for year, name in YEARS.items():
        pair = (
            array.sel(time=year).assign_attrs(units="m3 m-3").to_dataset(name=TRUTH) for array in (predicted, truth)
        )
        found = xsoil.evaluate(*pair, variable=(TRUTH, TRUTH))[METRICS]
        rows.append(found.to_dataframe()[METRICS].assign(year=name))
    return rows


def of_world(seed: int, network: int, cells: tuple[int, int], sites: int, updates: int) -> pd.DataFrame:
    """Scores of all ways in all cases, of networks that start from the seed `network`."""
    ds = world(seed, cells, sites)
    pixels = ds.east.isnull().to_numpy()
    rows, models = [], {}
    for case in CASES:
        train, test = parts(ds, case, seed)
        left = ds.isel(place=np.flatnonzero(test))
        found = {ITSELF: scores(left.seen, left[TRUTH])}
        for way, (targets, options) in WAYS.items():
            learned = (pixels if SATELLITE in targets else False) | (train if IN_SITU in targets else False)
            key = (way, learned.tobytes())  # the satellite alone is the same in all cases
            if key not in models:
                start, mask = time.process_time(), ds.east.copy(data=learned)
                batches = -(-int(learned.sum()) // NETWORK["batch_cells"])
                models[key] = xsoil.fit_moisture_model(
                    ds[[*PREDICTORS, *targets]], kind="lstm", target=targets, predictors=PREDICTORS,
                    split=xsoil.Split.cells(mask, ~mask) & xsoil.Split.times(train="2015", test="2016"), validation=0,
                    seed=network, options=NETWORK | options | {"epochs": max(1, round(updates / batches))},
                    progress=False,
                )  # fmt: skip
                print(f"world {seed}, {case}, {way}: {time.process_time() - start:.0f} s", flush=True)
            found[way] = scores(models[key].predict(left)[targets[-1]], left[TRUTH])
        rows += [part.assign(case=case, way=way) for way, tables in found.items() for part in tables]
    return pd.concat(rows).assign(world=seed, seed=network)


def compare(
    out: Path, worlds: list[int], seeds: list[int], *, cells: tuple[int, int], sites: int, updates: int
) -> pd.DataFrame:
    """Scores of every station; what is in `out` is not done again."""
    found = []
    for one in worlds:
        for seed in seeds:
            file = out / f"worlds_{one}_{seed}.csv"
            if not file.exists():
                of_world(one, seed, cells, sites, updates).to_csv(file, float_format="%.5f")
            found.append(pd.read_csv(file, index_col="place"))
    return pd.concat(found)


def spread(table: pd.DataFrame) -> pd.DataFrame:
    """Median over the stations, mean over the seeds, then mean and deviation over the worlds."""
    each = _of_worlds(table)
    middle, sd = (each.groupby(KEYS, sort=False).agg(how) for how in ("mean", "std"))
    return middle.join(sd.fillna(0.0).add_suffix(" sd"))


def differences(table: pd.DataFrame) -> pd.DataFrame:
    """Of both tasks less either alone: mean and deviation over the worlds, and in how many of them it is better."""
    each, rows = _of_worlds(table)[["rmse", "ubrmse", "r"]].unstack("way"), []
    for (case, year), part in each.groupby(["case", "year"], sort=False):
        for ours in list(WAYS)[2:]:
            for theirs in list(WAYS)[:2]:
                for metric, sign in (("rmse", -1), ("ubrmse", -1), ("r", 1)):
                    gap = part[metric][ours] - part[metric][theirs]
                    row = {"case": case, "year": year, "ours": ours, "theirs": theirs, "metric": metric}
                    rows.append(
                        row | {"difference": gap.mean(), "sd": gap.std(), "better in": int((sign * gap > 0).sum())}
                    )
    return pd.DataFrame(rows)


def _of_worlds(table: pd.DataFrame) -> pd.DataFrame:
    each = table.groupby([*KEYS, "world", "seed"], sort=False)[METRICS].median()
    return each.groupby([*KEYS, "world"], sort=False).mean()
