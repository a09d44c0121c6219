"""How far K_sat maps lie apart that come from one soil map by different ways of changing its scale (Li et al. 2024).

    python examples/li2024_scaling_uncertainty.py [--data FOLDER] [--out li2024-output] [--region W S E N] [--seed 0]

Two pedotransfer functions, eight operators and two frameworks (PTF first: MPR; operator first: TR) give the 32 maps of
the paper's section 3.1; harmonic and geometric means and a third framework (operator, PTF, operator) are added. Source:
a synthetic CONUS of 1/120 degree (about 1 km), to EASE-Grid 2.0 of 9 km, 36 km and 3 x 3 cells of 36 km (the paper: 10,
50 and 100 km), all from one pass over the source; with --data also the SoilGrids clips of Angola, 1 km to 9 km.

Writes a figure 3 and the matrices per case, and says which findings of section 4.1 hold there.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

import xsoil

CONUS = (-125.0, 24.5, -66.5, 49.5)
PER_DEGREE = 120
CLIPS = ("soilgrids_angola_1km_2014", "soilgrids_angola_1km_2017")
PAPER = ("nearest", "bilinear", "cubic", "mean", "min", "max", "median", "mode")


def synthetic(region: tuple[float, float, float, float], seed: int) -> dict[str, xr.Dataset]:
    """Every comparison on the synthetic world, lazy."""
    west, south, east, north = region
    shape = round((north - south) * PER_DEGREE), round((east - west) * PER_DEGREE)
    box = GeoBox(shape, Affine(1 / PER_DEGREE, 0, west, 0, -1 / PER_DEGREE, north), "EPSG:4326")
    soil = xsoil.data.synthetic_soil(box, seed, water=True)[["sand", "clay"]]
    coarse = xsoil.ease_grid("EASE2_M36km", region)
    rows, columns = (-(-n // 3) for n in coarse.shape)
    grids = {
        "9 km": (xsoil.ease_grid("EASE2_M09km", region), "EASE2_M03km"),
        "36 km": (coarse, "EASE2_M09km"),
        "108 km": (GeoBox((rows, columns), coarse.affine * Affine.scale(3), coarse.crs), "EASE2_M36km"),
    }
    return {f"synthetic {n}": soil.soil.compare_scaling(to, hows="all", via=via) for n, (to, via) in grids.items()}


def clips(folder: Path) -> dict[str, xr.Dataset]:
    """The two SoilGrids products over the same part of Angola."""
    found = {}
    for name in CLIPS:
        soil = xr.open_dataset(folder / "rasters" / f"{name}.nc", chunks={})[["sand", "clay"]]
        found[f"SoilGrids {name[-4:]} 9 km"] = soil.soil.compare_scaling("EASE2_M09km", hows="all", via="EASE2_M03km")
    return found


def paper_only(result: xr.Dataset) -> xr.Dataset:
    """The 32 combinations of the paper."""
    own = np.isin(result.operator, PAPER) & (result.framework != "three_step").values
    return result.isel(combination=own, combination_2=own)


def pairs(result: xr.Dataset) -> pd.DataFrame:
    """One row a pair: its RMSE, and in what the two differ."""
    first, second = np.tril_indices(result.sizes["combination"], -1)
    frame = pd.DataFrame({name: result[name].values[first, second] for name in ("rmse", "r", "nrmse")})
    frame["nrmse"] = (frame.nrmse + result.nrmse.values[second, first]) / 2  # of either as the reference
    for name in ("framework", "operator", "ptf"):
        frame[name], frame[f"{name}_2"] = result[name].values[first], result[name].values[second]
        frame[f"same_{name}"] = frame[name] == frame[f"{name}_2"]
    frame["differing"] = 3 - frame[["same_framework", "same_operator", "same_ptf"]].sum(axis=1)
    return frame


def findings(result: xr.Dataset) -> pd.DataFrame:
    """The findings of section 4.1: the numbers behind each (RMSE, cm d-1), and whether it holds."""
    frame = pairs(result)
    alone = frame[frame.differing == 1]
    by = {name: alone[~alone[f"same_{name}"]] for name in ("framework", "operator", "ptf")}
    mean = {name: part.rmse.mean() for name, part in by.items()}

    frameworks = by["framework"][by["framework"].ptf == "li2024_cb2"].set_index("operator").rmse
    frameworks = frameworks.sort_values(ascending=False)
    touched = pd.concat([by["operator"][["operator", "rmse"]], by["operator"][["operator_2", "rmse"]].set_axis(
        ["operator", "rmse"], axis=1)])  # fmt: skip
    spread = touched.groupby("operator").rmse.mean().sort_values(ascending=False)
    inside = by["operator"].groupby(["framework", "ptf"]).rmse.mean()
    mpr, tr = (inside[name] for name in ("mpr", "tr"))
    several = frame[frame.differing > 1].rmse.mean()
    ranks = frame[["rmse", "r", "nrmse"]].rank().corr().rmse

    def ranked(values: pd.Series) -> str:
        return ", ".join(f"{name} {value:.1f}" for name, value in values.items())

    cb1, cb2 = "li2024_cb1", "li2024_cb2"
    rows = [
        ("operators matter more than frameworks and PTFs", mean["operator"] > max(mean["framework"], mean["ptf"]),
         f"operator {mean['operator']:.1f}, framework {mean['framework']:.1f}, PTF {mean['ptf']:.1f}"),
        ("frameworks differ most under max, min and mode (CB2)", set(frameworks.index[:3]) == {"max", "min", "mode"},
         ranked(frameworks)),
        ("... under max most of all", frameworks.index[0] == "max", ""),
        ("min and max lie farthest from the other operators", set(spread.index[:2]) == {"max", "min"}, ranked(spread)),
        ("... then mode and median", set(spread.index[2:4]) == {"mode", "median"}, ""),
        ("operators spread more under MPR than under TR", mpr.mean() > tr.mean(),
         f"MPR {mpr.mean():.1f}, TR {tr.mean():.1f}"),
        ("within MPR, CB2 spreads more than CB1", mpr[cb2] > mpr[cb1], f"CB2 {mpr[cb2]:.1f}, CB1 {mpr[cb1]:.1f}"),
        ("within TR, CB1 spreads more than CB2", tr[cb1] > tr[cb2], f"CB1 {tr[cb1]:.1f}, CB2 {tr[cb2]:.1f}"),
        ("several choices at once differ more than one", several > alone.rmse.mean(),
         f"several {several:.1f}, one {alone.rmse.mean():.1f}"),
        ("RMSE, R and NRMSE rank the pairs alike (0.7)", ranks.nrmse > 0.7 and ranks.r < -0.7,
         f"rank correlation of RMSE with NRMSE {ranks.nrmse:.2f}, with R {ranks.r:.2f}"),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["finding", "holds", "RMSE [cm d-1]"])


def further(result: xr.Dataset) -> pd.DataFrame:
    """Beyond the paper: distance [cm d-1] of the geometric mean and of three_step from MPR and TR, mean over PTFs."""
    rmse = result.rmse.to_pandas()
    rows = {}
    for operator, code in zip((*PAPER, "harmonic", "geometric"), ("NN", "BL", "BC", "ME", "MI", "MA", "MD", "MO", "HA",
                                                                  "GE"), strict=True):  # fmt: skip
        names = [(f"{p}-{code}", f"{code}-{p}", f"{code}-{p}-{code}", f"ME-{p}") for p in ("CB1", "CB2")]
        rows[operator] = {
            "MPR to TR": np.mean([rmse.loc[mpr, tr] for mpr, tr, _, _ in names]),
            "three-step to MPR": np.mean([rmse.loc[three, mpr] for mpr, _, three, _ in names]),
            "three-step to TR": np.mean([rmse.loc[three, tr] for _, tr, three, _ in names]),
            "MPR to TR of the mean": np.mean([rmse.loc[mpr, mean] for mpr, _, _, mean in names]),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("XSOIL_TEST_DATA"), help="folder of the real data")
    parser.add_argument("--out", type=Path, default=Path("li2024-output"))
    parser.add_argument("--region", type=float, nargs=4, metavar=("W", "S", "E", "N"), default=CONUS, help="degrees")
    parser.add_argument("--seed", type=int, default=0, help="of the synthetic world")
    options = parser.parse_args()
    west, south, east, north = options.region
    if not (-180 <= west < east <= 180 and -80 <= south < north <= 80):
        parser.error(f"--region {options.region}: expected west < east and south < north in degrees, within 80 degrees")
    for name in CLIPS if options.data is not None else ():
        if not (path := Path(options.data) / "rasters" / f"{name}.nc").exists():
            parser.error(f"no file {path}")
    import matplotlib

    matplotlib.use("Agg")
    options.out.mkdir(parents=True, exist_ok=True)

    start = time.perf_counter()
    cases = synthetic(tuple(options.region), options.seed)
    if options.data is not None:
        cases |= clips(Path(options.data))
    results = dict(zip(cases, dask.compute(*cases.values()), strict=True))  # one pass over the source for all grids
    print(f"{sum(r.sizes['combination'] for r in results.values())} maps in {time.perf_counter() - start:.1f} s")

    tables = []
    for name, result in results.items():
        own = paper_only(result)
        print(f"\n{name}: {int(own.n.max())} cells, {own.sizes['combination']} combinations")
        table = findings(own)
        for finding, holds, numbers in table.itertuples(index=False):
            print(f"  {'holds' if holds else 'fails':5} {finding}{': ' if numbers else ''}{numbers}")
        print(further(result).to_string(float_format="%.2f"))
        stem = name.replace(" ", "_")
        ax = xsoil.plots.scaling_matrix(own)
        ax.set_title(f"K_sat, {name}", loc="left")
        ax.figure.savefig(options.out / f"rmse_{stem}.png", dpi=110)
        for metric in ("rmse", "r", "nrmse"):
            result[metric].to_pandas().to_csv(options.out / f"{metric}_{stem}.csv", float_format="%.6g")
        tables.append(table.assign(case=name))
    pd.concat(tables).to_csv(options.out / "findings.csv", index=False)
    print(f"\nwrote {options.out}/: findings.csv, rmse_*.png, rmse_*.csv, r_*.csv, nrmse_*.csv")


if __name__ == "__main__":
    main()
