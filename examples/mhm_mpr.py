"""mHM's own parameters from mHM's own maps: multiscale parameter regionalisation, checked value by value.

    python examples/mhm_mpr.py --data FOLDER [--out mhm-output]

`--data` is the folder of the real data: `rasters/mhm_mosel_l0_500m.nc` (soil, slope and land cover of the Mosel basin
at 500 m, as the hydrological model mHM reads them) and `rasters/mhm_mosel_l1_parameters_24km.nc` (the parameters that
mHM made of them for its cells of 24 km, each 48 x 48 cells of the maps).

Texture and bulk density -> van Genuchten curve and K_sat (`ptf`) -> field capacity (`water_limits`, "flux") -> mm of
water in the two soil horizons of mHM (`depth_mean`) -> 24 km (`upscale`, "harmonic"): MPR, transfer functions first.
What is mHM's own, and so stands here:

- The coefficients of theta_s and K_sat are calibrated (attribute `mpr_parameters`), those of alpha and n as published:
  an entry of `xsoil.PTFS` with another function.
- Organic matter, by land cover, lightens the tilled 0-0.2 m (Rawls 1983), and K_sat grows there as density falls.
- The wilting point is at 15,000 hPa, taken for 15,000 cm; `water_limits` takes -1500 kPa, which are 15,296 cm.
- Horizon 2 (0.2-1 m) is 0.1 m of soil horizon 1 (0-0.3 m) and 0.7 m of soil horizon 2 (0.3-1 m).
- Interflow, percolation and sealing need seven more coefficients, which the file does not hold: `DEFAULTS`.

mHM's limits (n >= 1.01, K_sat >= 1.1 cm d-1, recession >= 1 or 2 d ...) and xsoil's (sand and clay >= 0.1 %, 0.001
between the limits) act nowhere in this basin. Not compared: `L1_kBaseFlow` (one number per geological unit, here 100 d
for all) and `L1_soilMoist_1991_06_30` (the state after a simulation).

Then what mHM's choices do: other operators, texture first (TR), and the published coefficients.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

import xsoil
from xsoil.physics.retention import van_genuchten_theta

LAYERS = ((0.0, 0.2), (0.2, 0.3), (0.3, 1.0))  # m: the tilled layer, the rest of soil horizon 1, soil horizon 2
SOIL_HORIZON = (0, 0, 1)
HORIZONS = ((0.0, 0.2), (0.2, 1.0))  # m, of mHM
WILTING_POINT = -15_000  # cm
ORGANIC_DENSITY = 0.224  # g cm-3, Rawls (1983)
DEFAULTS = {  # mHM's defaults, as are all values in `mpr_parameters`
    "interflowStorageCapacityFactor": 85.0,
    "interflowRecession_slope": 7.0,
    "fastInterflowRecession_forest": 1.5,
    "slowInterflowRecession_Ks": 15.0,
    "exponentSlowInterflow": 0.125,
    "rechargeCoefficient": 35.0,
    "fracSealed_cityArea": 0.6,
}
AMOUNTS = {"theta_s": "L1_soilMoistSat", "theta_fc": "L1_soilMoistFC", "theta_wp": "L1_wiltingPoint"}

Gamma = dict[str, float]
Limits = Callable[[xr.Dataset], xr.Dataset]


def read_gamma(reference: xr.Dataset) -> Gamma:
    """mHM's global parameters: those in the file, and the defaults of the others."""
    pairs = (pair.split("=") for pair in reference.attrs["mpr_parameters"].split("; "))
    return DEFAULTS | {name: float(value) for name, value in pairs}


def of_cover(cover: xr.DataArray, forest: float, impervious: float, pervious: float) -> xr.DataArray:
    """A map of a value per land cover class (1, 2, 3; 0 is outside)."""
    return xr.DataArray([np.nan, forest, impervious, pervious], dims="class").isel({"class": cover})


def read_soil(maps: xr.Dataset, cover: xr.DataArray, gamma: Gamma) -> xr.Dataset:
    """Texture and bulk density of the three layers of mHM's soil, the first with organic matter."""
    # Single precision is good to 6e-8, the tables behind it hold two decimals.
    soil = maps[["sand", "clay", "bulk_density"]].isel(horizon=list(SOIL_HORIZON)).astype(float).round(4)
    soil = soil.drop_vars(["horizon", "depth_top", "depth_bottom"]).rename(horizon="depth")
    soil = soil.assign_coords(
        depth=("depth", np.mean(LAYERS, axis=1), {"units": "m", "bounds": "depth_bounds", "positive": "down"}),
        depth_bounds=(("depth", "bounds"), np.array(LAYERS)),
    )
    organic = of_cover(  # percent; that of forests is an addition
        cover,
        gamma["orgMatterContent_pervious"] + gamma["orgMatterContent_forest"],
        gamma["orgMatterContent_impervious"],
        gamma["orgMatterContent_pervious"],
    )
    mineral = soil.bulk_density
    mixed = 100 / (organic / ORGANIC_DENSITY + (100 - organic) / mineral)
    return soil.assign(bulk_density=mineral.where(soil.depth > LAYERS[0][1], mixed), mineral_density=mineral)


def transfer(
    published: Callable[..., tuple[Any, ...]], gamma: Gamma, sand: Any, clay: Any, bulk_density: Any
) -> tuple[Any, ...]:
    """theta_s, theta_r, alpha, n of Zacharias & Wessolek and K_sat [cm d-1] of Cosby, as mHM has calibrated them."""
    _, theta_r, alpha, n = published(sand, clay, bulk_density)

    def porosity(side: str) -> Any:
        constant, of_clay, of_density = (gamma[f"PTF_{side}66_5_{name}"] for name in ("constant", "clay", "Db"))
        return constant + of_clay * clay + of_density * bulk_density

    theta_s = np.where(sand < 66.5, porosity("lower"), porosity("higher"))
    exponent = gamma["PTF_Ks_constant"] + gamma["PTF_Ks_sand"] * sand - gamma["PTF_Ks_clay"] * clay
    return theta_s, theta_r, alpha, n, gamma["PTF_Ks_curveSlope"] * 10**exponent


def mhm_limits(soil: xr.Dataset, gamma: Gamma) -> xr.Dataset:
    """Hydraulic parameters, field capacity and wilting point by mHM's transfer functions."""
    entry = xsoil.PTFS["zacharias_wessolek2007"]
    entry = replace(
        entry,
        name="mhm",
        function=partial(transfer, entry.function, gamma),
        outputs=(*entry.outputs, xsoil.VARIABLES["k_sat"]),
    )
    found = soil.soil.ptf(entry)
    found["k_sat"] = lighter(found.k_sat, soil)
    found = found.soil.water_limits("flux")
    if (found.water_limits_quality & 7).any():  # lowered or raised; 8 is outside the basin
        raise RuntimeError("water_limits has moved a limit, which mHM does not")
    found["theta_wp"] = van_genuchten_theta(
        WILTING_POINT, found.theta_r, found.theta_s, found.alpha, found.n, 1 - 1 / found.n
    )
    return found


def published_limits(soil: xr.Dataset) -> xr.Dataset:
    """The same by xsoil alone: published coefficients, wilting point at -1500 kPa."""
    found = soil.soil.ptf("zacharias_wessolek2007")
    found["k_sat"] = lighter(soil.soil.ptf("cosby1984", outputs="k_sat").k_sat, soil)
    return found.soil.water_limits("flux")


def lighter(k_sat: xr.DataArray, soil: xr.Dataset) -> xr.DataArray:
    """K_sat of soil with organic matter, by the ratio of the densities."""
    return (k_sat * (soil.mineral_density / soil.bulk_density)).assign_attrs(k_sat.attrs)


def horizons(layers: xr.Dataset, *names: str) -> xr.Dataset:
    """Means over the two horizons of mHM."""
    layers = layers[[*names, "depth_bounds"]]
    return xr.concat([layers.soil.depth_mean(*interval).drop_vars("depth_bounds") for interval in HORIZONS], "horizon")


def amounts(limits: xr.Dataset) -> xr.Dataset:
    """mm of water in the horizons at saturation, field capacity and wilting point."""
    thickness = xr.DataArray([1000 * (bottom - top) for top, bottom in HORIZONS], dims="horizon")
    return (horizons(limits, *AMOUNTS) * thickness).rename(AMOUNTS)


def effective(maps: xr.Dataset, to: xr.Dataset, how: Literal["harmonic", "geometric", "mean"]) -> xr.Dataset:
    """Effective values of the coarse cells, over the valid fine ones however few they are."""
    found = maps.soil.upscale(to, how, min_valid=0)
    return found.drop_vars(set(found.data_vars) - set(maps.data_vars))  # flags of negative values: there are none


def regionalise(
    maps: xr.Dataset, cover: xr.DataArray, soil: xr.Dataset, limits: xr.Dataset, to: xr.Dataset, gamma: Gamma
) -> xr.Dataset:
    """Every parameter of the file that is regionalised, under mHM's names."""
    # Soil moisture: harmonic means.
    shape = gamma["infiltrationShapeFactor"]
    infiltration = shape * horizons(soil, "bulk_density").bulk_density
    forest = gamma["rootFractionCoefficient_forest"]
    decay = of_cover(
        cover,
        forest,
        gamma["rootFractionCoefficient_impervious"],
        forest - gamma["rootFractionCoefficient_pervious"],
    )
    # share of roots above a depth in cm: 1 - decay**depth (Jackson et al. 1996)
    roots = xr.concat([decay ** (100 * top) - decay ** (100 * bottom) for top, bottom in HORIZONS], "horizon")
    harmonic = amounts(limits).assign(L1_soilMoistExp=infiltration, L1_fRoots=roots)
    moisture = effective(harmonic, to, "harmonic")
    moisture["L1_fRoots"] = moisture.L1_fRoots / moisture.L1_fRoots.sum("horizon")

    # Interflow, percolation, sealing: arithmetic means. Layers count the same, however thick they are.
    theta_s, k_sat = limits.theta_s, limits.k_sat
    total = theta_s.sum("depth", skipna=False)
    deficit = 1 - limits.theta_fc.sum("depth", skipna=False) / total
    along = (theta_s * k_sat).sum("depth", skipna=False) / total / gamma["PTF_Ks_curveSlope"]
    across = total / (theta_s / k_sat).sum("depth", skipna=False) / gamma["PTF_Ks_curveSlope"]
    flatness = gamma["interflowRecession_slope"] * (2 - quantile(maps.slope))
    slow = flatness + gamma["slowInterflowRecession_Ks"] * (1 + along)
    alpha = gamma["exponentSlowInterflow"] / along / (1 + deficit)
    arithmetic = xr.Dataset(
        {
            "L1_kfastFlow": flatness.where(cover != 1, gamma["fastInterflowRecession_forest"] * flatness),
            "L1_kSlowFlow": slow,
            "L1_alpha": alpha,
            "L1_kPerco": gamma["rechargeCoefficient"] * (1 + deficit) / (1 + across),
            # one map for all periods: that of the last
            "L1_unsatThresh": gamma["interflowStorageCapacityFactor"] * deficit.isel(land_cover_period=-1, drop=True),
            "L1_fSealed": of_cover(cover, 0, gamma["fracSealed_cityArea"], 0),
        }
    )
    return moisture.merge(effective(arithmetic, to, "mean"), compat="override")


def quantile(slope: xr.DataArray) -> xr.DataArray:
    """Share of the basin's cells that are as flat or flatter."""
    ordered = np.sort(slope.values[slope.notnull().values])
    rank = xr.zeros_like(slope, dtype=float) + np.searchsorted(ordered, slope.values, side="right")
    return rank.where(slope.notnull()) / (ordered.size + 1)


def deviation(ours: xr.DataArray, theirs: xr.DataArray) -> xr.DataArray:
    """ours / theirs - 1; equal zeros do not deviate, and what one of both lacks does."""
    ours = ours.transpose(*theirs.dims)
    relative = (ours / theirs - 1).where(ours != theirs, 0.0).where(theirs.notnull())
    return relative.where(ours.notnull() == theirs.notnull(), np.inf)


def report(ours: xr.Dataset, theirs: xr.Dataset) -> pd.DataFrame:
    """One row per parameter: the largest relative deviation from mHM, over n values."""
    rows = {}
    for name in ours.data_vars:
        relative = deviation(ours[name], theirs[name])
        rows[name] = {"max_relative_deviation": float(abs(relative).max()), "n": int(theirs[name].notnull().sum())}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("parameter")


def choices(soil: xr.Dataset, limits: xr.Dataset, to: xr.Dataset, gamma: Gamma) -> pd.DataFrame:
    """Relative deviations from mHM [percent], mean and largest, where one of its choices is another."""
    coarse = effective(soil, to, "mean")
    variants = {
        "MPR, harmonic (mHM)": effective(amounts(limits), to, "harmonic"),
        "MPR, geometric": effective(amounts(limits), to, "geometric"),
        "MPR, mean": effective(amounts(limits), to, "mean"),
        "TR, mean of texture": amounts(mhm_limits(coarse, gamma)),
        "MPR, wilting point at -1500 kPa": effective(amounts(limits.soil.water_limits("flux")), to, "harmonic"),
        "MPR, published PTF": effective(amounts(published_limits(soil)), to, "harmonic"),
    }
    rows: dict[str, dict[str, float]] = {label: {} for label in variants}
    for label, ours in variants.items():
        for name, column in zip(AMOUNTS.values(), ("Sat", "FC", "WP"), strict=True):
            relative = 100 * deviation(ours[name], to[name])
            rows[label] |= {f"{column} mean": float(relative.mean()), f"{column} max": float(abs(relative).max())}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("variant")


def draw(ours: xr.Dataset, theirs: xr.Dataset, path: Path) -> None:
    """Maps of three parameters: ours, mHM's, and the difference."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = {
        "L1_soilMoistFC": ("field capacity 0.2-1 m [mm]", {"horizon": 1, "land_cover_period": 1}),
        "L1_wiltingPoint": ("wilting point 0.2-1 m [mm]", {"horizon": 1, "land_cover_period": 1}),
        "L1_kSlowFlow": ("slow interflow [d]", {"land_cover_period": 1}),
    }
    fig, axes = plt.subplots(3, 3, figsize=(9, 11), layout="constrained")
    for row, (name, (label, place)) in zip(axes, rows.items(), strict=True):
        mine, reference = ours[name].isel(place), theirs[name].isel(place)
        scale = {"vmin": float(reference.min()), "vmax": float(reference.max()), "cmap": "YlGnBu"}
        bar = {"shrink": 0.7, "pad": 0.02, "extend": "neither"}
        mine.plot(ax=row[0], cbar_kwargs=bar | {"label": label}, **scale)
        reference.plot(ax=row[1], cbar_kwargs=bar | {"label": label}, **scale)
        deviation(mine, reference).plot(ax=row[2], cmap="RdBu", cbar_kwargs=bar | {"label": "xsoil / mHM - 1"})
        for ax, title in zip(row, ("xsoil", "mHM", "relative difference"), strict=True):
            ax.set(title=title, aspect="equal", xlabel="", ylabel="", xticks=[], yticks=[])
    fig.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("XSOIL_TEST_DATA"), help="folder of the real data")
    parser.add_argument("--out", type=Path, default=Path("mhm-output"))
    options = parser.parse_args()
    if options.data is None:
        parser.error("no data: give --data FOLDER, or set XSOIL_TEST_DATA")
    files = [Path(options.data) / "rasters" / f"mhm_mosel_{part}.nc" for part in ("l0_500m", "l1_parameters_24km")]
    for path in files:
        if not path.exists():
            parser.error(f"no file {path}")
    options.out.mkdir(parents=True, exist_ok=True)

    start = time.perf_counter()
    maps, reference = (xr.open_dataset(path, decode_coords="all").load() for path in files)
    gamma = read_gamma(reference)
    cover = xr.concat([maps.land_cover_1981, maps.land_cover_1991], reference.land_cover_period)
    soil = read_soil(maps, cover, gamma)
    limits = mhm_limits(soil, gamma)
    ours = regionalise(maps, cover, soil, limits, reference, gamma)
    table = report(ours, reference)
    other = choices(soil, limits, reference, gamma)
    print(f"{maps.slope.shape} cells of 500 m -> {reference.domain_mask.shape} cells of 24 km "
          f"in {time.perf_counter() - start:.1f} s (first use compiles)\n")  # fmt: skip
    print(table.to_string(formatters={"max_relative_deviation": "{:.1e}".format}))
    print("\nwhere one choice is another: deviation from mHM's saturation, field capacity, wilting point [percent]")
    print(other.to_string(float_format="%.2f"))
    table.to_csv(options.out / "table.csv")
    other.to_csv(options.out / "choices.csv")
    if importlib.util.find_spec("matplotlib"):
        draw(ours, reference, options.out / "mhm_mpr.png")
    else:
        print("no picture: matplotlib is not installed")
    print(
        f"wrote {options.out}/: {', '.join(sorted(p.name for p in options.out.iterdir()))} (xsoil {xsoil.__version__})"
    )


if __name__ == "__main__":
    main()
