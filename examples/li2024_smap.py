"""Parameters learned from SMAP on real pixels, in four ways (Li et al. 2024, section 3.3).

Input: `conus_smap_nldas.nc` (SMAP 36 km soil moisture, NLDAS-2 forcing, soil texture; dims pixel, time). There are no
1 km maps of these pixels, so the network reads what is known of the 36 km cell ("mlp"): texture, bulk density, NDVI,
elevation, mean rain and demand, and mean and standard deviation of SMAP itself over the training days.

    python examples/li2024_smap.py --data FOLDER_OR_FILE [--out li2024-smap-output] [--seeds 0 1 2 3 4]

K_sat and the observation operator A theta + B are learned (the rest as in examples/smap_conus.py, from Rosetta 3 and
stated) in 80 percent of the pixels from 2015-04 to 2016-03, and tested in 2016-04 to 2017-03 and in the other pixels:
cell by cell ("inverse"), by a network of these results ("two-step"), by a network through the water balance
("end-to-end"). Beside them stand the conventional way, parameters by PTF alone, and the mean of the training days.

Writes the scores of every pixel, medians, and bootstrapped differences between the ways.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr

import xsoil

STATED = ("sand", "silt", "clay", "bulk_density")
TRAIN, TEST = ("2015-04-01", "2016-03-31"), ("2016-04-01", "2017-03-31")
TARGETS = {"k_sat": (0.1, 1000.0), "obs_scale": (0.1, 3.0), "obs_bias": (-0.5, 0.5)}
BUCKET = {"root_depth": 0.1, "depletion_fraction": 0.1, "crop_coefficient": 0.7}
SETS = ("train", "temporal", "spatial", "spatio_temporal")


def read(path: Path) -> xr.Dataset:
    """Soil, forcing and observations under xsoil's names; pixels with known faults are left out."""
    ds = xr.open_dataset(path)
    if "pet_fao56" in ds:  # the packed SMAP/NLDAS file: take the texture that sums to 100, drop marked pixels
        ds = ds.drop_vars(STATED).rename({f"{name}_normalised": name for name in STATED} | {"pet_fao56": "pet"})
        ds = ds.isel(pixel=(ds.pixel_issues.values == 0))
        ds["soil_moisture"] = ds.soil_moisture.where(ds.soil_moisture_clipped == 0)
    return ds.sel(time=slice(TRAIN[0], TEST[1]))


def with_warmup(ds: xr.Dataset) -> tuple[xr.Dataset, int]:
    """The forcing with its first year before it once more, and how many days that is."""
    forcing = ds[["precipitation", "pet"]]
    year = forcing.isel(time=slice(0, 365))
    before = year.assign_coords(time=year.time - np.timedelta64(365, "D"))
    return xr.concat([before, forcing], "time", data_vars="all"), 365


def predictors(ds: xr.Dataset) -> xr.Dataset:
    """What is known of a pixel; statistics over the training days only."""
    seen = ds.sel(time=slice(*TRAIN))
    found = ds[[*STATED, "ndvi", "elevation"]]
    for name in ("precipitation", "pet"):
        found[f"{name}_mean"] = seen[name].mean("time").assign_attrs(units="mm d-1")
    found["smap_mean"] = seen.soil_moisture.mean("time").assign_attrs(units="m3 m-3")
    found["smap_std"] = seen.soil_moisture.std("time").assign_attrs(units="m3 m-3")
    return found


def ways(ds: xr.Dataset, split: xsoil.Split, seed: int, epochs: int) -> dict[str, xr.Dataset]:
    """Scores of every pixel and set, for each way."""
    forcing, warmup = with_warmup(ds)
    observed = ds[["soil_moisture"]]
    known = ds[[*STATED]].soil.ptf("rosetta3").soil.water_limits("retention")
    fixed = {name: known[name] for name in ("theta_s", "theta_fc", "theta_wp")} | BUCKET
    common = {
        "targets": TARGETS, "split": split, "warmup": warmup, "seed": seed, "progress": False, "error_std": 0.04,
    }  # fmt: skip
    network = {"network": "mlp", "epochs": epochs, "batch_cells": 32, "patience": 40, "validation": 0.15}
    torch.manual_seed(seed)
    soil = predictors(ds)
    found = {
        "inverse": soil.soil.learn_params(observed, forcing, strategy="inverse", **common, **fixed),
        "two-step": soil.soil.learn_params(observed, forcing, strategy="two_step", **common, **network, **fixed),
        "end-to-end": soil.soil.learn_params(observed, forcing, **common, **network, **fixed),
    }
    scores = {name: learned.evaluate() for name, learned in found.items()}
    plain = known.soil.simulate(forcing, warmup=warmup, **BUCKET)
    scores["PTF alone"] = in_sets(plain[["theta"]], observed, split)
    seen = observed.soil_moisture.sel(time=slice(*TRAIN))
    constant = xr.zeros_like(plain.theta) + seen.mean("time")
    constant = constant.assign_attrs(plain.theta.attrs).to_dataset(name="theta")
    scores["mean of the training days"] = in_sets(constant, observed, split)
    return scores


def in_sets(simulated: xr.Dataset, observed: xr.Dataset, split: xsoil.Split) -> xr.Dataset:
    """Scores in the four sets."""
    index = observed.indexes["time"]
    parts = []
    for which in SETS:
        days = split.days_of(which, index)
        part = observed.isel(time=days).where(split.cells_of(which))
        parts.append(simulated.sel(time=index[days]).soil.evaluate(part))
    return xr.concat(parts, xr.Variable("set", list(SETS)), coords="minimal", compat="override")


def difference(a: np.ndarray, b: np.ndarray, rng: np.random.Generator, draws: int = 2000) -> tuple[float, float, float]:
    """Difference of medians over pixels, and its 95 percent interval by a bootstrap of pairs."""
    both = np.isfinite(a) & np.isfinite(b)
    a, b = a[both], b[both]
    picks = rng.integers(0, a.size, (draws, a.size))
    spread = np.median(a[picks], axis=1) - np.median(b[picks], axis=1)
    return float(np.median(a) - np.median(b)), *(float(q) for q in np.quantile(spread, (0.025, 0.975)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("XSOIL_TEST_DATA"), help="folder or file")
    parser.add_argument("--out", type=Path, default=Path("li2024-smap-output"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="of splits and networks")
    parser.add_argument("--epochs", type=int, default=400)
    options = parser.parse_args()
    if options.data is None:
        parser.error("no data: give --data FOLDER_OR_FILE, or set XSOIL_TEST_DATA")
    path = options.data / "conus_smap_nldas.nc" if options.data.is_dir() else options.data
    if not path.exists():
        parser.error(f"no file {path}; --data takes a NetCDF file, or the folder that holds conus_smap_nldas.nc")
    options.out.mkdir(parents=True, exist_ok=True)

    start = time.perf_counter()
    ds = read(path)
    frames = []
    for seed in options.seeds:
        cells = xsoil.Split.random_cells(ds.soil_moisture.isel(time=0), 0.2, seed=seed)
        split = cells & xsoil.Split.times(train=TRAIN, test=TEST)
        for way, scores in ways(ds, split, seed, options.epochs).items():
            frame = scores[["r", "ubrmse", "rmse", "bias", "n"]].to_dataframe().reset_index()
            frames.append(frame[frame.n >= 30].assign(way=way, seed=seed))
        print(f"seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)
    table = pd.concat(frames)[["seed", "way", "set", "pixel", "r", "ubrmse", "rmse", "bias", "n"]]
    table.to_csv(options.out / "scores.csv", index=False, float_format="%.5f")
    medians = table.groupby(["set", "way"], sort=False)[["ubrmse", "rmse", "r"]].median()
    print(f"\n{ds.sizes['pixel']} pixels, medians over pixels and {len(options.seeds)} splits:")
    print(medians.to_string(float_format="%.4f"))

    rng, rows = np.random.default_rng(0), []
    for which, others in (
        ("temporal", ("inverse",)),
        ("spatial", ("two-step", "PTF alone")),
        ("spatio_temporal", ("two-step", "PTF alone")),
    ):
        chosen = table[table.set == which].set_index(["seed", "pixel"])
        for other in others:
            for metric in ("ubrmse", "r"):
                pair = pd.concat(
                    [chosen[chosen.way == way][metric] for way in ("end-to-end", other)], axis=1
                ).to_numpy()
                value, low, high = difference(*pair.T, rng)
                rows.append((which, f"end-to-end less {other}", metric, value, low, high))
    differences = pd.DataFrame(rows, columns=["set", "pair", "metric", "difference", "low", "high"])
    differences.to_csv(options.out / "differences.csv", index=False, float_format="%.5f")
    print("\ndifference of medians, 95 percent by a paired bootstrap over pixels:")
    print(differences.to_string(index=False, float_format="%.4f"))
    print(f"\n{time.perf_counter() - start:.0f} s; wrote {options.out}/: scores.csv, differences.csv")


if __name__ == "__main__":
    main()
