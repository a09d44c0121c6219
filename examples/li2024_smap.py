"""Parameters learned from SMAP on real pixels, in three ways (Li et al. 2024, section 3.3).

Input: `conus_smap_nldas.nc` (SMAP 36 km soil moisture, NLDAS-2 forcing, soil texture; dims pixel, time). There are no
1 km maps of these pixels, so the network reads what is known of the 36 km cell ("mlp"): texture, bulk density, NDVI,
elevation, roughness and albedo of the retrieval, and statistics of weather and of SMAP over the training days.

    python examples/li2024_smap.py --data FOLDER_OR_FILE [--out li2024-smap-output] [--seeds 0 1 2 3 4]

Field capacity, wilting point, K_sat, depth and crop coefficient of the bucket and the observation operator A theta + B
are learned (porosity is Rosetta's) in 80 percent of the pixels from 2015-04 to 2016-03, and tested in 2016-04 to
2017-03 and in the other pixels: cell by cell ("inverse"), by a network of these results ("two-step"), by a network
through the water balance ("end-to-end"). Beside them: the inversion of K_sat, A and B alone as in the paper, the
conventional way (parameters by PTF alone, as in examples/smap_conus.py), and the mean of the training days.

Writes the scores of every pixel, medians, bootstrapped differences between the ways, and a figure; a split whose
scores are there is not done again.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import xsoil

STATED = ("sand", "silt", "clay", "bulk_density")
TRAIN, TEST = ("2015-04-01", "2016-03-31"), ("2016-04-01", "2017-03-31")
OF_PAPER = {"k_sat": (0.1, 1000.0), "obs_scale": (0.1, 3.0), "obs_bias": (-0.5, 0.5)}
TARGETS = OF_PAPER | {
    "theta_fc": (0.1, 0.4), "theta_wp": (0.01, 0.25), "root_depth": (0.03, 0.6), "crop_coefficient": (0.3, 1.5),
}  # fmt: skip
BUCKET = {"root_depth": 0.1, "depletion_fraction": 0.1, "crop_coefficient": 0.7}
NETWORK = {
    "network": "mlp", "network_options": {"hidden": 16}, "batch_cells": 32, "validation": 0.0,
    "learning_rate": 0.01, "schedule": "one_cycle",
}  # fmt: skip
SETS = ("train", "temporal", "spatial", "spatio_temporal")


def read(path: Path) -> xr.Dataset:
    """Soil, forcing and observations under xsoil's names; pixels with known faults are left out."""
    ds = xr.open_dataset(path)
    if "pet_fao56" in ds:  # the packed SMAP/NLDAS file: take the texture that sums to 100, drop marked pixels
        ds = ds.drop_vars(STATED).rename({f"{name}_normalised": name for name in STATED} | {"pet_fao56": "pet"})
        ds = ds.isel(pixel=(ds.pixel_issues.values == 0))
        ds["soil_moisture"] = ds.soil_moisture.where(ds.soil_moisture_clipped == 0)
    return to_overpass(ds.sel(time=slice(TRAIN[0], TEST[1])).load())


def to_overpass(ds: xr.Dataset) -> xr.Dataset:
    """Rain of the days that end at SMAP's overpass, which is near noon UTC: half a day's and half the day's before."""
    before = ds.precipitation.shift(time=1).fillna(ds.precipitation.isel(time=0))
    rain = ((ds.precipitation + before) / 2).transpose(*ds.precipitation.dims)
    return ds.assign(precipitation=rain.assign_attrs(ds.precipitation.attrs))


def with_warmup(ds: xr.Dataset) -> tuple[xr.Dataset, int]:
    """The forcing with its first year before it once more, and how many days that is."""
    forcing = ds[["precipitation", "pet"]]
    year = forcing.isel(time=slice(0, 365))
    before = year.assign_coords(time=year.time - np.timedelta64(365, "D"))
    return xr.concat([before, forcing], "time", data_vars="all"), 365


def predictors(ds: xr.Dataset) -> xr.Dataset:
    """What is known of a pixel; statistics over the training days only."""
    seen = ds.sel(time=slice(*TRAIN))
    rain, demand, smap = seen.precipitation, seen.pet, seen.soil_moisture
    found = ds[[*STATED, "ndvi", "elevation"]]
    found = found.assign({n: ds[n].assign_attrs(units="1") for n in ("roughness_h", "albedo_omega") if n in ds})
    low, high = (smap.quantile(q, "time").drop_vars("quantile") for q in (0.05, 0.95))
    made = {
        "precipitation_mean": (rain.mean("time"), "mm d-1"),
        "wet_days": ((rain > 1).mean("time"), "1"),
        "pet_mean": (demand.mean("time"), "mm d-1"),
        "pet_std": (demand.std("time"), "mm d-1"),
        "smap_mean": (smap.mean("time"), "m3 m-3"),
        "smap_std": (smap.std("time"), "m3 m-3"),
        "smap_low": (low, "m3 m-3"),
        "smap_high": (high, "m3 m-3"),
        "smap_with_rain": (xr.corr(smap, rain, "time"), "1"),
    }
    if "air_temperature" in ds:
        made["temperature_mean"] = (seen.air_temperature.mean("time"), "K")
    return found.assign({name: array.assign_attrs(units=units) for name, (array, units) in made.items()})


def ways(ds: xr.Dataset, split: xsoil.Split, seed: int, epochs: int) -> dict[str, xr.Dataset]:
    """Scores of every pixel and set, for each way."""
    forcing, warmup = with_warmup(ds)
    observed = ds[["soil_moisture"]]
    known = ds[[*STATED]].soil.ptf("rosetta3").soil.water_limits("retention")
    soil = predictors(ds)

    def learned(strategy: str, targets: dict[str, tuple[float, float]] = TARGETS) -> xr.Dataset:
        stated = {name: known[name] for name in ("theta_s", "theta_fc", "theta_wp")} | BUCKET
        fixed = {name: value for name, value in stated.items() if name not in targets}
        network = {} if strategy == "inverse" else {**NETWORK, "epochs": epochs}
        return soil.soil.learn_params(
            observed, forcing, strategy=strategy, targets=targets, split=split, warmup=warmup, seed=seed,
            progress=False, error_std=0.04, **network, **fixed,
        ).evaluate()  # fmt: skip

    scores = {
        "inverse": learned("inverse"),
        "two-step": learned("two_step"),
        "end-to-end": learned("end_to_end"),
        "inverse of K_sat, A, B": learned("inverse", OF_PAPER),
    }
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


def differences(table: pd.DataFrame) -> pd.DataFrame:
    """End-to-end less another way: medians over pixels of each pixel's mean over the splits it is tested in."""
    rng, rows = np.random.default_rng(0), []
    means = table.groupby(["set", "way", "pixel"])[["ubrmse", "rmse", "r"]].mean()
    for which, others in (
        ("temporal", ("inverse", "inverse of K_sat, A, B", "PTF alone")),
        ("spatial", ("two-step", "PTF alone")),
        ("spatio_temporal", ("two-step", "PTF alone")),
    ):
        for other in others:
            for metric in ("ubrmse", "rmse", "r"):
                pair = pd.concat([means.loc[(which, way), metric] for way in ("end-to-end", other)], axis=1).to_numpy()
                value, low, high = difference(*pair.T, rng)
                rows.append((which, f"end-to-end less {other}", metric, value, low, high, len(pair)))
    return pd.DataFrame(rows, columns=["set", "pair", "metric", "difference", "low", "high", "pixels"])


def figure(table: pd.DataFrame, path: Path) -> None:
    """ubRMSE of the pixels by set and way."""
    import matplotlib.pyplot as plt

    names = [way for way in table.way.unique() if way != "mean of the training days"]
    fig, axes = plt.subplots(1, 4, figsize=(11, 3.6), sharey=True, layout="constrained")
    for ax, which in zip(axes, SETS, strict=True):
        part = table[table.set == which].groupby(["way", "pixel"]).ubrmse.mean()
        shown = [way for way in names if way in part.index.unique("way")]
        ax.boxplot([part[way].dropna() for way in shown], showfliers=False, widths=0.6)
        ax.set_xticklabels(shown, rotation=60, ha="right", fontsize=8)
        ax.set_title(which.replace("_", "-"), fontsize=9)
    axes[0].set_ylabel("ubRMSE [m$^3$ m$^{-3}$]")
    fig.savefig(path, dpi=110)
    plt.close(fig)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("XSOIL_TEST_DATA"), help="folder or file")
    parser.add_argument("--out", type=Path, default=Path("li2024-smap-output"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="of splits and networks")
    parser.add_argument("--epochs", type=int, default=300)
    options = parser.parse_args()
    if options.data is None:
        parser.error("no data: give --data FOLDER_OR_FILE, or set XSOIL_TEST_DATA")
    path = options.data / "conus_smap_nldas.nc" if options.data.is_dir() else options.data
    if not path.exists():
        parser.error(f"no file {path}; --data takes a NetCDF file, or the folder that holds conus_smap_nldas.nc")
    import matplotlib

    matplotlib.use("Agg")
    options.out.mkdir(parents=True, exist_ok=True)

    start = time.perf_counter()
    ds = read(path)
    frames = []
    for seed in options.seeds:
        done = options.out / f"scores-seed{seed}-epochs{options.epochs}.csv"
        if not done.exists():
            cells = xsoil.Split.random_cells(ds.soil_moisture.isel(time=0), 0.2, seed=seed)
            split = cells & xsoil.Split.times(train=TRAIN, test=TEST)
            parts = []
            for way, scores in ways(ds, split, seed, options.epochs).items():
                frame = scores[["r", "ubrmse", "rmse", "bias", "n"]].to_dataframe().reset_index()
                parts.append(frame[frame.n >= 30].assign(way=way, seed=seed))
            pd.concat(parts).to_csv(done, index=False, float_format="%.5f")
        frames.append(pd.read_csv(done))
        print(f"seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)
    table = pd.concat(frames)[["seed", "way", "set", "pixel", "r", "ubrmse", "rmse", "bias", "n"]]
    table.to_csv(options.out / "scores.csv", index=False, float_format="%.5f")
    medians = table.groupby(["set", "way"], sort=False)[["ubrmse", "rmse", "r"]].median()
    print(f"\n{ds.sizes['pixel']} pixels, medians over pixels and {len(options.seeds)} splits:")
    print(medians.to_string(float_format="%.4f"))

    found = differences(table)
    found.to_csv(options.out / "differences.csv", index=False, float_format="%.5f")
    print("\ndifference of medians, 95 percent by a paired bootstrap over pixels:")
    print(found.to_string(index=False, float_format="%.4f"))
    figure(table, options.out / "ubrmse.png")
    print(f"\n{time.perf_counter() - start:.0f} s; wrote {options.out}/: scores.csv, differences.csv, ubrmse.png")


if __name__ == "__main__":
    main()
