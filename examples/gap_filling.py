"""Which way fills gaps best? Days are removed from real SMAP series, and every way has to guess them.

Input: `conus_smap_nldas.nc` (SMAP 36 km soil moisture, NLDAS-2 forcing; dims pixel, time). A file of your own works if
it holds soil_moisture [m3 m-3], precipitation [mm d-1] and pet [mm d-1] on (pixel, time).

    python examples/gap_filling.py --data FOLDER_OR_FILE [--out gap-filling]

Gaps of 1, 3, 7, 14 and 30 days are cut into each series; the satellite observes every two to three days, so that a gap
of 7 days holds some three observations. The networks are trained on what is left, with days that they remove
themselves: none of them sees a removed observation, of any pixel. No way goes beyond the first and last observation.
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

LENGTHS = (1, 3, 7, 14, 30)
GAPS = {1: 20, 3: 8, 7: 4, 14: 2, 30: 1}
"""Gaps of each length [d] in a series of two years."""
WEATHER = ("precipitation", "pet")
QUANTILE = 1.6448536269514722


def read(path: Path) -> xr.Dataset:
    """Two years of SMAP with its weather; the pixel of corrupt forcing is left out."""
    ds = xr.open_dataset(path)
    if "pet_fao56" in ds:
        ds = ds.rename(pet_fao56="pet").isel(pixel=(ds.pixel_issues.values & 2) == 0)
        ds = ds.sel(time=slice("2015-04-01", "2017-03-31"))
    return ds[["soil_moisture", *WEATHER]].transpose("pixel", "time").load()


def removed(ds: xr.Dataset, seed: int) -> xr.DataArray:
    """Length [d] of the gap that each observation is removed with, 0 where it stays.

    Gaps of a series do not touch each other, so that each keeps its length.
    """
    rng = np.random.default_rng(seed)
    pixels, days = ds.soil_moisture.shape
    length = np.zeros((pixels, days), int)
    for row in length:
        free = np.ones(days, bool)
        for size in sorted(LENGTHS, reverse=True):
            for _ in range(GAPS[size]):
                fits = np.convolve(free, np.ones(size + 6, int), "valid") == size + 6
                if fits.any():
                    first = rng.choice(np.flatnonzero(fits)) + 3
                    row[first : first + size] = size
                    free[first - 3 : first + size + 3] = False
    found = ds.soil_moisture.copy(data=length)
    return found.where(ds.soil_moisture.notnull(), 0).astype(int)


def ways(ds: xr.Dataset, seed: int, epochs: int) -> dict[str, xr.Dataset]:
    """The series filled in every way, with the CPU time of each."""
    models = {
        "cru, filter": {"smoothing": False},
        "cru": {},
        "cru with weather": {"predictors": WEATHER},
    }
    out = {}
    for name, options in {
        "linear": {"method": "linear"},
        "dct": {"method": "dct", "std": True},
        "dct, order 1": {"method": "dct", "order": 1, "std": True},
        **models,
    }.items():
        start = time.process_time()
        if name in models:
            model = xsoil.fit_gap_model(ds, seed=seed, epochs=epochs, **options)
            trained = time.process_time() - start
            print(f"{name}: trained in {trained:.0f} s CPU", flush=True)
            options = {"method": "cru", "model": model, "std": True}
            start = time.process_time()
        out[name] = ds.soil.fill_gaps(valid_range=(0.0, 0.6), **options)
        print(f"{name}: filled in {time.process_time() - start:.1f} s CPU", flush=True)
    return out


def scores(filled: dict[str, xr.Dataset], truth: xr.DataArray, length: xr.DataArray) -> tuple[pd.DataFrame, xr.Dataset]:
    """RMSE of each way and gap length over all removed observations, and of each pixel."""
    everywhere = xr.concat([run.soil_moisture.notnull() for run in filled.values()], "way").all("way")
    rows, pixels = {}, {}
    for name, run in filled.items():
        error = (run.soil_moisture - truth).where((length > 0) & everywhere)
        row = {f"{size} d": float(np.sqrt((error.where(length == size) ** 2).mean())) for size in LENGTHS}
        row["all"] = float(np.sqrt((error**2).mean()))
        row["bias"] = float(error.mean())
        if "soil_moisture_std" in run:
            z = (error / run.soil_moisture_std).values
            z = z[np.isfinite(z)]
            row["coverage of 90 %"] = float((np.abs(z) < QUANTILE).mean())
            row["CRPS"] = float(xsoil.evaluation.crps_gaussian(truth, run.soil_moisture, run.soil_moisture_std).where(
                np.isfinite(error)).mean())  # fmt: skip
        rows[name] = row
        pixels[name] = np.sqrt((error**2).mean("time"))
    counts = {f"{size} d": int(((length == size) & everywhere).sum()) for size in LENGTHS}
    table = pd.DataFrame(rows).T
    table.loc["observations"] = counts | {"all": sum(counts.values())}
    return table, xr.Dataset(pixels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("XSOIL_TEST_DATA"), help="folder or file")
    parser.add_argument("--out", type=Path, default=Path("gap-filling"))
    parser.add_argument("--seed", type=int, default=0, help="of the removed days and of the networks")
    parser.add_argument("--epochs", type=int, default=10, help="of each network")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    options = parser.parse_args()
    if options.data is None:
        parser.error("no data: give --data FOLDER_OR_FILE, or set XSOIL_TEST_DATA")
    path = options.data / "conus_smap_nldas.nc" if options.data.is_dir() else options.data
    if not path.exists():
        parser.error(f"no file {path}; --data takes a NetCDF file, or the folder that holds conus_smap_nldas.nc")
    import torch

    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    ds = read(path)
    length = removed(ds, options.seed)
    gappy = ds.assign(soil_moisture=ds.soil_moisture.where(length == 0))
    print(f"{int((length > 0).sum())} of {int(ds.soil_moisture.count())} observations removed")
    filled = ways(gappy, options.seed, options.epochs)
    table, pixels = scores(filled, ds.soil_moisture, length)
    table.to_csv(options.out / f"rmse_{options.seed}.csv", float_format="%.5f")
    print(table.to_string(float_format="%.4f"))

    print("\nRMSE of a pixel: mean and standard deviation over the pixels, median, and its difference from linear")
    for name, found in pixels.items():
        line = f"{name:18s} {float(found.mean()):.4f} +- {float(found.std()):.4f}  median {float(found.median()):.4f}"
        if name != "linear":
            test = xsoil.evaluation.paired_bootstrap(found, pixels["linear"])
            line += f"  {float(test.difference):+.4f} [{float(test.low):+.4f}, {float(test.high):+.4f}]"
        print(line)
    draw(filled, table, pixels, ds, length, options.out / "gap_filling.png")
    print(f"\nwrote {options.out}/: rmse_{options.seed}.csv, gap_filling.png")


def draw(
    filled: dict[str, xr.Dataset],
    table: pd.DataFrame,
    pixels: xr.Dataset,
    ds: xr.Dataset,
    length: xr.DataArray,
    path: Path,
) -> None:
    """RMSE against the length of the gap, and half a year of one pixel."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, (left, right) = plt.subplots(1, 2, figsize=(12, 4), width_ratios=(1, 2.2), layout="constrained")
    for number, name in enumerate(filled):
        left.plot(
            LENGTHS,
            table.loc[name, [f"{size} d" for size in LENGTHS]],
            marker="o",
            ms=4,
            color=f"C{number}",
            label=name,
        )
    left.set(xscale="log", xlabel="length of the gap [d]", ylabel="RMSE [m3 m-3]", ylim=(0.02, 0.1))
    left.set_xticks(LENGTHS, map(str, LENGTHS))
    left.legend(frameon=False, fontsize=8)
    pixel = int(np.nanargmin(np.abs(pixels["linear"] - pixels["linear"].median()).values))
    part = {"pixel": pixel, "time": slice(180, 400)}
    for number, name in enumerate(filled):
        if name in ("linear", "dct, order 1", "cru with weather"):
            right.plot(
                ds.time[part["time"]], filled[name].soil_moisture.isel(part), lw=1, color=f"C{number}", label=name
            )
    truth, gone = ds.soil_moisture.isel(part), length.isel(part) > 0
    right.plot(truth.time, truth.where(~gone), "k.", ms=4, label="SMAP")
    right.plot(truth.time, truth.where(gone), "o", mfc="none", mec="k", ms=5, label="SMAP, removed")
    right.set(ylabel="soil moisture [m3 m-3]", title=f"pixel {int(ds.pixel[pixel])}")
    right.legend(frameon=False, fontsize=8, ncols=2)
    fig.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
