"""Soil maps to soil moisture on 309 real SMAP pixels of the CONUS, compared with SMAP.

Input: `conus_smap_nldas.nc` (SMAP 36 km soil moisture, NLDAS-2 forcing, soil texture; dims pixel, time). A file of
your own works if it holds sand, silt, clay [percent], bulk_density [g cm-3], precipitation and pet [mm d-1] and
soil_moisture [m3 m-3] on (pixel, time).

    python examples/smap_conus.py --data FOLDER_OR_FILE [--out smap-output]

Parameters come from texture alone (no calibration): Rosetta 3 gives the van Genuchten curve, field capacity and
wilting point are its water contents at -33 and -1500 kPa. SMAP sees the top 5 cm; the bucket that stands for it is
0.1 m deep.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import xsoil  # noqa: F401  (registers ds.soil)

STATED = ("sand", "silt", "clay", "bulk_density")


def read(path: Path) -> xr.Dataset:
    """Soil, forcing and observations under xsoil's names; pixels with known faults are left out."""
    ds = xr.open_dataset(path)
    if "pet_fao56" in ds:  # the packed SMAP/NLDAS file: take the texture that sums to 100, drop marked pixels
        ds = ds.drop_vars(STATED).rename({f"{name}_normalised": name for name in STATED} | {"pet_fao56": "pet"})
        before = ds.sizes["pixel"]
        ds = ds.isel(pixel=(ds.pixel_issues.values == 0))
        ds["soil_moisture"] = ds.soil_moisture.where(ds.soil_moisture_clipped == 0)
        print(f"{ds.sizes['pixel']} of {before} pixels have no known issue; censored retrievals are masked")
    return ds


def run(ds: xr.Dataset, root_depth: float) -> tuple[xr.Dataset, xr.Dataset]:
    """Parameters and three years of daily soil moisture, the first year run twice as a warm-up."""
    soil = ds[[*STATED]]
    parameters = soil.soil.ptf("rosetta3").soil.water_limits("retention")
    options = {"root_depth": root_depth, "depletion_fraction": 0.1, "crop_coefficient": 0.7}
    forcing = ds[["precipitation", "pet"]]
    first_year = parameters.soil.simulate(forcing.isel(time=slice(0, 365)), **options)
    simulated = parameters.soil.simulate(
        forcing,
        initial=first_year.soil.final_state(),
        outputs=("theta", "runoff", "drainage", "actual_et"),
        **options,
    )
    return parameters, simulated


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("XSOIL_TEST_DATA"), help="folder or file")
    parser.add_argument("--out", type=Path, default=Path("smap-output"))
    parser.add_argument("--root-depth", type=float, default=0.1, help="depth of the bucket [m]")
    options = parser.parse_args()
    if options.data is None:
        parser.error("no data: give --data FOLDER_OR_FILE, or set XSOIL_TEST_DATA")
    path = options.data / "conus_smap_nldas.nc" if options.data.is_dir() else options.data
    if not path.exists():
        parser.error(f"no file {path}; --data takes a NetCDF file, or the folder that holds conus_smap_nldas.nc")
    options.out.mkdir(parents=True, exist_ok=True)

    start = time.perf_counter()
    ds = read(path)
    parameters, simulated = run(ds, options.root_depth)
    skill = simulated.soil.evaluate(ds[["soil_moisture"]])
    used = time.perf_counter() - start

    frame = skill.to_dataframe()[["r", "rmse", "ubrmse", "bias", "nse", "kge", "n"]]
    frame = frame[frame.n >= 60]
    frame.to_csv(options.out / "skill_per_pixel.csv", float_format="%.4f")
    print(f"\n{ds.sizes['pixel']} pixels x {ds.sizes['time']} days in {used:.1f} s (first use compiles)")
    print(f"medians over {len(frame)} pixels with at least 60 observations:")
    print(frame.median().to_frame("median").T.to_string(float_format="%.3f"))

    classes = ds[["sand", "silt", "clay"]].soil.texture_class()
    names = classes.attrs["flag_meanings"].split()
    labels = np.array(["missing", *names[-12:]])[classes.values]
    table = frame.groupby(pd.Series(labels, index=ds.pixel.values, name="texture").loc[frame.index])
    print("\nmedians by USDA texture class:")
    print(table[["r", "ubrmse", "bias"]].median().assign(pixels=table.size()).to_string(float_format="%.3f"))
    pooled = simulated.soil.evaluate(ds[["soil_moisture"]], by=classes.rename("texture_class"))
    print("\npooled over all samples of a class:")
    print(pooled.to_dataframe()[["r", "ubrmse", "bias", "n"]].to_string(float_format="%.3f"))

    parameters.soil.to_zarr(options.out / "parameters.zarr", overwrite=True, progress=False)
    simulated.soil.to_zarr(options.out / "soil_moisture.zarr", overwrite=True, progress=False)
    draw(ds, simulated, frame, options.out / "smap_conus.png")
    print(f"\nwrote {options.out}/: skill_per_pixel.csv, parameters.zarr, soil_moisture.zarr, smap_conus.png")


def draw(ds: xr.Dataset, simulated: xr.Dataset, frame: pd.DataFrame, path: Path) -> None:
    """Maps of R and ubRMSE, and the pixel of median R."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig = plt.figure(figsize=(11, 6.5), layout="constrained")
    top = fig.add_gridspec(2, 2, height_ratios=(1.4, 1))
    at = ds.sel(pixel=frame.index)
    for column, (name, cmap, limits) in enumerate((("r", "viridis", (0, 1)), ("ubrmse", "magma_r", (0.02, 0.08)))):
        ax = fig.add_subplot(top[0, column])
        points = ax.scatter(at.lon, at.lat, c=frame[name], s=26, marker="s", cmap=cmap, vmin=limits[0], vmax=limits[1])
        fig.colorbar(points, ax=ax, label={"r": "R", "ubrmse": "ubRMSE [m3 m-3]"}[name], shrink=0.8)
        ax.set(xlabel="longitude", ylabel="latitude", aspect=1.25)
    middle = (frame.r - frame.r.median()).abs().idxmin()
    ax = fig.add_subplot(top[1, :])
    simulated.theta.sel(pixel=middle).plot(ax=ax, color="C0", lw=1, label="xsoil, from texture alone")
    ds.soil_moisture.sel(pixel=middle).plot(ax=ax, color="k", ls="", marker=".", ms=3, label="SMAP")
    ax.set(title=f"pixel {middle}: R {frame.r[middle]:.2f} (the median)", ylabel="soil moisture [m3 m-3]", xlabel="")
    ax.legend(frameon=False, ncols=2)
    fig.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
