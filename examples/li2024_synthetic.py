"""Parameters learned from soil moisture in a world whose truth is known (Li et al. 2024, sections 3.2 and 4.2).

    python examples/li2024_synthetic.py [--out li2024-synthetic-output] [--seeds 0 1 2] [--size 120 108] [--epochs 150]

Truth: K_sat of every 1 km cell from sand and clay (PTF CB2), scale and bias of the observation operator by the paper's
equations 10 and 11, all brought to EASE-Grid 9 km by the maximum (MPR). Soil moisture of the truth, every third day of
2015-2016 in 80 percent of the cells, is what the cases of the paper's table 2 learn from; 2017 and the other cells test
them. The coarser scales (36 and 108 km, around the same place) observe the mean of the 9 km moisture, for which no
operator is right.

Writes a table of errors and rank correlations over the worlds, and the figure 5 of the paper for the first.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pandas as pd
import torch
import xarray as xr
from odc.geo.geobox import GeoBox

import xsoil

LI2024 = {
    "theta_s": 0.5, "theta_fc": 0.2, "theta_wp": 0.078, "root_depth": 1.0, "depletion_fraction": 0.1,
    "crop_coefficient": 0.5,
}  # fmt: skip
TARGETS = {"k_sat": (1.0, 500.0), "obs_scale": (0.5, 1.5), "obs_bias": (-0.3, 0.5)}
YEARS, TRAIN, TEST = ("2014-01-01", "2017-12-31"), ("2015-01-01", "2016-12-31"), ("2017-01-01", "2017-12-31")
WARMUP = 365
FACTORS = {"36 km": 4, "108 km": 12}
CASES = ("Inverse", "CNN (two-step)", "CNN (end-to-end)", "TR", "MPR (with error)", "MPR (without error)")
SETS = ("train", "temporal", "spatial", "spatio_temporal")


class Transfer(torch.nn.Module):
    """A transfer function of every 1 km cell, then an operator over the coarse cell: MPR, its operator told."""

    def __init__(self, how: str, predictors: int = 2, width: int = 32) -> None:
        super().__init__()
        self.how = how
        self.function = torch.nn.Sequential(
            torch.nn.Conv2d(predictors, width, 1), torch.nn.SiLU(),
            torch.nn.Conv2d(width, width, 1), torch.nn.SiLU(),
            torch.nn.Conv2d(width, len(TARGETS), 1),
        )  # fmt: skip

    def forward(self, static: torch.Tensor, history: torch.Tensor | None = None) -> torch.Tensor:
        fine = self.function(static)  # parameters grow with these, so that their maximum is the parameters' maximum
        return fine.amax((2, 3)) if self.how == "max" else fine.amin((2, 3))


def grids(size: tuple[int, int]) -> tuple[GeoBox, GeoBox]:
    """The 9 km cells of the seven cases, and those of the wider area of the coarser scales, which hold them."""
    middle = xsoil.ease_grid("EASE2_M36km", (-98.0, 40.0, -97.9, 40.1))
    row, column = xsoil.ease_rowcol(middle)
    full = xsoil.ease_grid("EASE2_M09km")
    rows, columns = size

    def around(rows: int, columns: int) -> GeoBox:
        top, left = (12 * ((4 * at - n // 2) // 12) for at, n in ((row, rows), (column, columns)))
        return full[top : top + rows, left : left + columns]

    return around(rows, columns), around(12 * -(-9 * rows // 48), 12 * -(-9 * columns // 48))


def coarser(box: GeoBox, factor: int) -> GeoBox:
    rows, columns = box.shape
    return GeoBox((rows // factor, columns // factor), box.affine * box.affine.scale(factor), box.crs)


def fine_grid(box: GeoBox) -> GeoBox:
    """The 1 km cells nested in 9 km cells."""
    row, column = xsoil.ease_rowcol(box)
    rows, columns = box.shape
    return xsoil.ease_grid("EASE2_M01km")[9 * row : 9 * (row + rows), 9 * column : 9 * (column + columns)]


def truth_of(soil: xr.Dataset, to: GeoBox) -> xr.Dataset:
    """K_sat by CB2, A and B by equations 10 and 11, at 1 km; then the maximum."""
    sand, clay = soil.sand / 100, soil.clay / 100
    mixture = sand + clay + 5 * sand * clay
    fine = soil.soil.ptf("li2024_cb2").assign(
        obs_scale=((mixture - 0.5) / 4 + 0.9).assign_attrs(units="1"),
        obs_bias=((mixture - 0.9) / 3.5).assign_attrs(units="m3 m-3"),
    )
    return fine[list(TARGETS)].soil.upscale(to, "max")


def learn(
    soil: xr.Dataset,
    observed: xr.DataArray,
    forcing: xr.Dataset,
    split: xsoil.Split,
    epochs: int,
    seed: int,
    **how: object,
) -> xsoil.LearnedParams:
    return soil.soil.learn_params(
        observed, forcing, targets=TARGETS, split=split, warmup=WARMUP, epochs=epochs, seed=seed, progress=False, **how,
        **LI2024,
    )  # fmt: skip


def cases(
    soil: xr.Dataset, observed: xr.DataArray, forcing: xr.Dataset, split: xsoil.Split, epochs: int, seed: int
) -> dict[str, xsoil.LearnedParams]:
    """The paper's table 2."""
    averaged = soil.soil.upscale(observed.to_dataset(), "max")
    ways = {
        "Inverse": (None, {"strategy": "inverse", "error_std": 0.005}),
        "CNN (two-step)": (soil, {"strategy": "two_step", "network": "cnn", "error_std": 0.005}),
        "CNN (end-to-end)": (soil, {"network": "cnn"}),
        "TR": (averaged, {"network": "mlp"}),
        "MPR (with error)": (soil, {"network": Transfer("min")}),
        "MPR (without error)": (soil, {"network": Transfer("max")}),
    }
    found = {}
    for name, (predictors, how) in ways.items():
        start = time.perf_counter()
        torch.manual_seed(seed)
        found[name] = learn(soil if predictors is None else predictors, observed, forcing, split, epochs, seed, **how)
        print(f"  {name}: {time.perf_counter() - start:.0f} s", flush=True)
    return found


def pooled(scores: xr.Dataset) -> dict[str, float]:
    """RMSE over all cells and days of each set."""
    weight = scores.n / scores.n.sum([d for d in scores.n.dims if d != "set"])
    mean = (scores.rmse**2 * weight).sum([d for d in scores.n.dims if d != "set"]) ** 0.5
    return {name: float(mean.sel(set=name)) for name in scores["set"].values}


def rank(found: xr.DataArray, truth: xr.DataArray, cells: xr.DataArray) -> float:
    """Rank correlation with the truth over some cells."""
    pair = pd.DataFrame({"found": found.where(cells).values.ravel(), "truth": truth.where(cells).values.ravel()})
    return float(pair.dropna().corr("spearman").iloc[0, 1])


def figure(truth: xr.Dataset, found: dict[str, xsoil.LearnedParams], path: Path) -> None:
    """K_sat, A and B of the truth and of the cases."""
    import matplotlib.pyplot as plt

    rows = {"Reference": truth} | {name: learned.params for name, learned in found.items()}
    fig, axes = plt.subplots(len(rows), 3, figsize=(10, 2.6 * len(rows)), layout="constrained", squeeze=False)
    labels = {"k_sat": "K$_{sat}$ [cm d$^{-1}$]", "obs_scale": "A", "obs_bias": "B [m$^3$ m$^{-3}$]"}
    for j, (name, label) in enumerate(labels.items()):
        low, high = truth[name].quantile([0.02, 0.98]).values
        for i, (case, params) in enumerate(rows.items()):
            ax = axes[i, j]
            image = ax.imshow(params[name].values, vmin=low, vmax=high, cmap="viridis")
            ax.set(xticks=[], yticks=[])
            if i == 0:
                ax.set_title(label)
            if j == 0:
                ax.set_ylabel(case)
        fig.colorbar(image, ax=axes[:, j], shrink=0.3)
    fig.savefig(path, dpi=110)
    plt.close(fig)


def world(seed: int, options: argparse.Namespace) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All cases of one world: errors in the four sets and rank correlations; and the coarser scales."""
    inner, outer = grids(tuple(options.size))
    soil = xsoil.data.synthetic_soil(fine_grid(outer), seed)[["sand", "clay"]].compute()
    forcing = xsoil.data.synthetic_forcing(outer, YEARS, seed)[["precipitation", "pet"]].compute()
    truth = truth_of(soil, outer)
    run = truth.soil.simulate(forcing, outputs=("theta_obs", "drainage"), **LI2024)
    observed = run.theta_obs.rename("soil_moisture")
    times = xsoil.Split.times(train=TRAIN, test=TEST)
    sampled = slice(None, None, 3)

    at = xsoil.ease_rowcol(inner)
    first = xsoil.ease_rowcol(outer)
    here = {d: slice(a - b, a - b + n) for d, a, b, n in zip(("y", "x"), at, first, inner.shape, strict=True)}
    split = xsoil.Split.random_cells(observed.isel(time=0, **here), 0.2, seed=seed) & times
    under = soil.isel({d: slice(9 * s.start, 9 * s.stop) for d, s in here.items()})
    print(f"world {seed}: {inner.shape[0]} x {inner.shape[1]} cells of 9 km, {int(split.train.sum())} of training")
    found = cases(under, observed.isel(here)[sampled], forcing.isel(here), split, options.epochs, seed)

    drains = (run.drainage.isel(here).sel(time=slice(*TRAIN)) > 0).sum("time") >= 20
    rows = []
    for name, learned in found.items():
        row = {"world": seed, "case": name} | pooled(learned.evaluate())
        part = truth.isel(here)
        row |= {
            f"rank {p}": rank(learned.params[p], part[p], drains if p == "k_sat" else drains | True) for p in TARGETS
        }
        rows.append(row)
    if seed == options.seeds[0]:
        figure(truth.isel(here), found, options.out / "parameters.png")

    scales = []
    transferred = found["MPR (without error)"].predict(soil, to=outer)
    for name, factor in FACTORS.items():
        box = coarser(outer, factor)
        weather = forcing.soil.upscale(box)
        seen = observed.to_dataset().soil.upscale(box).soil_moisture[sampled]
        part = xsoil.Split.random_cells(seen.isel(time=0), 0.2, seed=seed) & times
        ways = {
            "CNN (end-to-end)": {"network": "cnn"},
            "MPR (with error)": {"network": Transfer("min")},
            "MPR (without error)": {"network": Transfer("max")},
        }
        print(f"  {name}: {int(part.train.sum())} cells of training", flush=True)
        for case, how in ways.items():
            learned = learn(soil, seen, weather, part, options.epochs, seed, **how)
            scales.append({"world": seed, "scale": name, "case": case} | pooled(learned.evaluate()))
        coarse = transferred[list(TARGETS)].soil.upscale(box, "max")
        moisture = coarse.soil.simulate(weather, outputs="theta_obs", **LI2024)
        scores = []
        for which in SETS:
            days = part.days_of(which, seen.indexes["time"])
            cells = part.cells_of(which)
            pair = moisture.sel(time=seen.time[days]).soil.evaluate(
                seen[days].where(cells), variable=("theta_obs", "soil_moisture")
            )
            scores.append(pair)
        joined = xr.concat(scores, xr.Variable("set", list(SETS)), coords="minimal", compat="override")
        scales.append({"world": seed, "scale": name, "case": "PTF of 9 km, not recalibrated"} | pooled(joined))
    return pd.DataFrame(rows), pd.DataFrame(scales)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("li2024-synthetic-output"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the synthetic worlds")
    parser.add_argument("--size", type=int, nargs=2, metavar=("ROWS", "COLUMNS"), default=[108, 120], help="9 km cells")
    parser.add_argument("--epochs", type=int, default=150)
    options = parser.parse_args()
    if min(options.size) < 12 or any(n % 12 for n in options.size):
        parser.error(f"--size {options.size}: expected multiples of 12, so that cells of 108 km fit")
    import matplotlib

    matplotlib.use("Agg")
    options.out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    tables, scales = zip(*(world(seed, options) for seed in options.seeds), strict=True)
    errors, coarse = pd.concat(tables), pd.concat(scales)
    errors.to_csv(options.out / "cases.csv", index=False, float_format="%.6g")
    coarse.to_csv(options.out / "scales.csv", index=False, float_format="%.6g")
    mean = errors.groupby("case", sort=False).mean().drop(columns="world")
    print(mean.to_string(float_format="%.4f"))
    print(coarse.groupby(["scale", "case"], sort=False).mean().drop(columns="world").to_string(float_format="%.4f"))
    print(f"{time.perf_counter() - start:.0f} s; wrote {options.out}/: cases.csv, scales.csv, parameters.png")


if __name__ == "__main__":
    main()
