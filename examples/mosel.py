"""The whole chain on real rasters: soil of the Mosel basin at 500 m to soil moisture on EASE-Grid 2.0.

    python examples/mosel.py --data FOLDER [--out mosel-output]

`--data` is the folder of the real data (with `rasters/mhm_mosel_l0_500m.nc` and `rasters/mhm_mosel_meteo_24km.nc`).
Files of your own: `--soil FILE` (sand, clay, bulk_density on (depth or horizon, y, x), with units and a CRS) and
`--meteo FILE` (daily precipitation and pet on (time, y, x); optionally monthly esa_cci_soil_moisture on (month, y, x)).

sand, clay and bulk density at 500 m (EPSG:3035) -> mean of the upper 30 cm -> Rosetta 3 and its field capacity and
wilting point -> EASE2_M09km and EASE2_M25km (PTF first, then scale: MPR) -> five years of water balance with the
real precipitation and PET, brought to the same grid, the first year as warm-up -> comparison with the monthly ESA CCI
soil moisture -> Zarr, COG, a table and a picture. Nothing is calibrated.
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

GRIDS = ("EASE2_M09km", "EASE2_M25km")
FIXED = {"root_depth": 0.3, "depletion_fraction": 0.1, "crop_coefficient": 1.0}
WARMUP = 365
METRICS = ("r", "rmse", "ubrmse", "bias", "n")


def read_soil(path: Path) -> xr.Dataset:
    """sand, clay and bulk density on `depth`, with the bounds of the layers."""
    ds = xr.open_dataset(path, chunks={})[["sand", "clay", "bulk_density"]]
    if "horizon" in ds.dims:  # mHM numbers its horizons; their limits are extra coordinates
        top, bottom = ds.depth_top.values, ds.depth_bottom.values
        ds = ds.drop_vars(["horizon", "depth_top", "depth_bottom"]).rename(horizon="depth")
        ds = ds.assign_coords(
            depth=("depth", (top + bottom) / 2, {"units": "m", "bounds": "depth_bounds", "positive": "down"}),
            depth_bounds=(("depth", "bounds"), np.stack([top, bottom], axis=1)),
        )
    return ds


def read_meteo(path: Path) -> tuple[xr.Dataset, xr.Dataset | None]:
    """Daily forcing, and the monthly satellite soil moisture where there is one."""
    ds = xr.open_dataset(path, chunks={})
    observed = None
    if "esa_cci_soil_moisture" in ds:
        observed = ds[["esa_cci_soil_moisture"]].rename(esa_cci_soil_moisture="soil_moisture", month="time")
        # Values below 0.01 are artefacts at the edge of the basin (the file says so).
        observed["soil_moisture"] = observed.soil_moisture.where(observed.soil_moisture >= 0.01)
    return ds[["precipitation", "pet"]], observed


def run(soil: xr.Dataset, forcing: xr.Dataset, observed: xr.Dataset | None, grid: str) -> dict[str, xr.Dataset]:
    """The chain on one grid; everything lazy until the results are asked for."""
    parameters = soil.soil.depth_mean(0, 0.3).soil.ptf("rosetta3").soil.water_limits("retention")
    coarse = parameters.soil.upscale(grid)
    # Every other input is brought to exactly these cells.
    weather = forcing.soil.upscale(coarse)
    simulated = coarse.soil.simulate(
        weather, warmup=WARMUP, outputs=("theta", "actual_et", "runoff", "drainage"), **FIXED
    ).compute()  # fmt: skip
    result = {"parameters": coarse.compute(), "simulated": simulated}
    if observed is not None:
        monthly = simulated[["theta"]].resample(time="MS").mean(keep_attrs=True)
        reference = observed.soil.upscale(coarse).compute()
        result |= {"monthly": monthly, "reference": reference}
        # In winter the satellite sees frozen or snow-covered soil (basin means drop to 0.05 within a month).
        summer = reference.sel(time=reference.time.dt.month.isin(range(4, 11)))
        result |= {"skill": monthly.soil.evaluate(reference), "skill Apr-Oct": monthly.soil.evaluate(summer)}
    return result


def report(results: dict[str, dict[str, xr.Dataset]]) -> pd.DataFrame:
    """One row a grid: cells, water balance and skill against ESA CCI, all months and Apr-Oct (medians over cells)."""
    rows = {}
    for grid, result in results.items():
        sim = result["simulated"]
        valid = sim.theta.isel(time=0).notnull()
        row = {"cells": int(valid.sum()), "theta [m3 m-3]": float(sim.theta.mean())}
        for name in ("actual_et", "runoff", "drainage"):
            row[f"{name} [mm/yr]"] = float(sim[name].mean()) * 365.25
        for label in ("skill", "skill Apr-Oct"):
            if label in result:
                skill = result[label].where(result[label].n >= 20)
                row |= {f"{name} {label[6:]}".strip(): float(skill[name].median()) for name in METRICS}
        rows[grid] = row
    return pd.DataFrame(rows).T


def draw(results: dict[str, dict[str, xr.Dataset]], path: Path) -> None:
    """k_sat and mean soil moisture on both grids, and the monthly series of the basin."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.colors import LogNorm

    fig, axes = plt.subplot_mosaic(
        [["k0", "t0", "k1", "t1"], ["s"] * 4], figsize=(13, 6.2), layout="constrained", height_ratios=(1, 1)
    )
    for i, (grid, result) in enumerate(results.items()):
        k_sat, theta = result["parameters"].k_sat, result["simulated"].theta.mean("time")
        bar = {"shrink": 0.8, "pad": 0.02}
        k_sat.plot(ax=axes[f"k{i}"], norm=LogNorm(10, 100), cbar_kwargs=bar | {"label": "K_sat [cm d-1]"})
        theta.plot(
            ax=axes[f"t{i}"], cmap="YlGnBu", vmin=0.1, vmax=0.35, cbar_kwargs=bar | {"label": "mean theta [m3 m-3]"}
        )
        for key in (f"k{i}", f"t{i}"):
            axes[key].set(title=grid, aspect="equal", xlabel="", ylabel="", xticks=[], yticks=[])
        if "monthly" in result:
            series = result["monthly"].theta.mean(["y", "x"])
            series.plot(ax=axes["s"], label=f"xsoil, {grid}", color=f"C{i}", ls="-" if i == 0 else "--")
    if "reference" in result:
        both = result["reference"].soil_moisture.where(result["parameters"].k_sat.notnull())
        both.mean(["y", "x"]).plot(ax=axes["s"], color="k", marker=".", lw=0.8, label="ESA CCI")
    axes["s"].set(title="basin mean, monthly", xlabel="", ylabel="soil moisture [m3 m-3]")
    axes["s"].legend(frameon=False, ncols=3)
    fig.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("XSOIL_TEST_DATA"), help="folder of the real data")
    parser.add_argument("--soil", type=Path, help="soil map of your own, in place of --data")
    parser.add_argument("--meteo", type=Path, help="daily forcing of your own, in place of --data")
    parser.add_argument("--out", type=Path, default=Path("mosel-output"))
    options = parser.parse_args()
    if options.data is None and not (options.soil and options.meteo):
        parser.error("no data: give --data FOLDER, or --soil FILE and --meteo FILE, or set XSOIL_TEST_DATA")
    folder = Path(options.data or ".") / "rasters"
    soil_file = options.soil or folder / "mhm_mosel_l0_500m.nc"
    meteo_file = options.meteo or folder / "mhm_mosel_meteo_24km.nc"
    for path in (soil_file, meteo_file):
        if not path.exists():
            parser.error(f"no file {path}")
    options.out.mkdir(parents=True, exist_ok=True)

    start = time.perf_counter()
    soil, (forcing, observed) = read_soil(soil_file), read_meteo(meteo_file)
    results = {grid: run(soil, forcing, observed, grid) for grid in GRIDS}
    print(f"{soil.sizes['y']} x {soil.sizes['x']} cells, {forcing.sizes['time']} days, {len(GRIDS)} grids "
          f"in {time.perf_counter() - start:.1f} s (first use compiles)")  # fmt: skip

    table = report(results)
    table.to_csv(options.out / "table.csv", float_format="%.4f")
    print(table.T.to_string(float_format="%.3f"))
    for grid, result in results.items():
        result["parameters"].soil.to_zarr(options.out / f"parameters_{grid}.zarr", overwrite=True, progress=False)
        result["simulated"].soil.to_zarr(options.out / f"soil_moisture_{grid}.zarr", overwrite=True, progress=False)
        result["parameters"][["k_sat"]].soil.to_cog(options.out / f"k_sat_{grid}.tif", overwrite=True, progress=False)
    draw(results, options.out / "mosel.png")
    print(
        f"wrote {options.out}/: {', '.join(sorted(p.name for p in options.out.iterdir()))} (xsoil {xsoil.__version__})"
    )


if __name__ == "__main__":
    main()
