"""Parameters learned from soil moisture in a world whose truth is known (Li et al. 2024, sections 3.2 and 4.2).

    python examples/li2024_synthetic.py [--out li2024-synthetic-output] [--seeds 0 1 2] [--size 24 432] [--epochs 60]

Truth: K_sat of every 1 km cell from sand and clay (PTF CB2), scale and bias of the observation operator by the paper's
equations 10 and 11, all brought to EASE-Grid 9 km by the maximum (MPR). The cells are a strip of 216 x 3892 km, so
that wet and dry climates are in it. Soil moisture of the truth, every third day of 2015-2016 in 80 percent of the
cells, is what the cases of the paper's table 2 learn from; 2017 and the other cells test them. The coarser scales (36
and 108 km, in a wider strip) observe the mean of the 9 km moisture, for which no operator is right.

Every case writes its scores and parameters as soon as it is done; a run that was stopped goes on where it stopped.
Writes cases.csv (moisture, fluxes and parameters of each case and world), scales.csv, parameters.png and moisture.png.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
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
MIDDLE = (-88.1, 32.5)
SETS = ("train", "temporal", "spatial", "spatio_temporal")
DRAINS = 20
"""Training days with drainage below which K_sat of a cell hardly shows in its moisture."""

CASES = {
    "Inverse": {},
    "CNN (two-step)": {"strategy": "two_step", "network": "cnn"},
    "CNN (end-to-end)": {"network": "cnn"},
    "TR": {"network": "mlp"},
    "MPR (with error)": {"network": "mpr", "network_options": {"how": "min"}},
    "MPR (without error)": {"network": "mpr", "network_options": {"how": "max"}},
}
"""The paper's table 2; the reference is the truth. The inversion is the first of the two steps."""

FACTORS = {"36 km": 4, "108 km": 12}
BATCH = {"9 km": 256, "36 km": 64, "108 km": 16}
OPERATORS = {"MPR (with error)": "min", "MPR (without error)": "max"}
"""Of the cases whose PTF, learned at 9 km, is brought to the coarser scales as it is."""
WIDER = 2
"""Rows of the coarser scales' strip for one of the seven cases' strip."""


def around(middle: tuple[float, float], rows: int, columns: int) -> GeoBox:
    """EASE-Grid cells of 9 km, in which cells of 108 km fit."""
    cell = xsoil.ease_grid("EASE2_M36km", (*middle, middle[0] + 0.1, middle[1] + 0.1))
    top, left = (12 * ((4 * at - n // 2) // 12) for at, n in zip(xsoil.ease_rowcol(cell), (rows, columns), strict=True))
    return xsoil.ease_grid("EASE2_M09km")[top : top + rows, left : left + columns]


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
    return fine[list(TARGETS)].soil.upscale(to, "max").compute()


@dataclass(frozen=True)
class World:
    """Maps, weather and observations of some cells, and what of them is for training.

    `truth` is empty at the coarser scales, where only moisture and fluxes are known.
    """

    soil: xr.Dataset
    forcing: xr.Dataset
    series: xr.Dataset
    truth: xr.Dataset
    seed: int
    scale: str = "9 km"

    @cached_property
    def observed(self) -> xr.DataArray:
        return self.series.theta_obs.rename("soil_moisture")[::3]

    @cached_property
    def split(self) -> xsoil.Split:
        cells = xsoil.Split.random_cells(self.observed.isel(time=0), 0.2, seed=self.seed)
        return cells & xsoil.Split.times(train=TRAIN, test=TEST)

    def learn(self, case: str, epochs: int) -> xsoil.LearnedParams:
        how: dict[str, object] = {
            "epochs": epochs, "batch_cells": BATCH[self.scale], "learning_rate": 0.01, "schedule": "one_cycle",
            "error_std": 0.005, **CASES[case],
        }  # fmt: skip
        # TR: the maxima of sand and clay are all that the network sees.
        predictors = self.soil.soil.upscale(self.observed.to_dataset(), "max") if case == "TR" else self.soil
        return predictors.soil.learn_params(
            self.observed, self.forcing, targets=TARGETS, split=self.split, warmup=WARMUP, seed=self.seed,
            progress=False, **how, **LI2024,
        )  # fmt: skip

    def scores(self, params: xr.Dataset) -> dict[str, float]:
        """Errors of moisture in the four sets, of the fluxes in the last year, and of the parameters."""
        known = params[list(TARGETS)]
        run = known.soil.simulate(self.forcing, outputs=("theta_obs", "runoff", "drainage"), **LI2024)
        found = {}
        index = self.observed.indexes["time"]
        for name in SETS:
            days, cells = index[self.split.days_of(name, index)], self.split.cells_of(name)
            pair = [ds.theta_obs.sel(time=days).where(cells).values.astype("f8") for ds in (run, self.series)]
            found |= {f"rmse {name}": rmse(*pair), f"r {name}": correlation(*pair)}
        last = slice(*TEST)
        for name in ("runoff", "drainage"):
            found[f"rmse {name}"] = rmse(*(ds[name].sel(time=last).values for ds in (run, self.series)))
        return found | (self.of_parameters(known) if self.truth else {})

    def of_parameters(self, params: xr.Dataset) -> dict[str, float]:
        """Rank correlations with the truth, and errors of log10 K_sat where cells drain and where they hardly do."""
        drains = ((self.series.drainage.sel(time=slice(*TRAIN)) > 0).sum("time") >= DRAINS).values
        k_sat, true = (np.log10(ds.k_sat.values) for ds in (params, self.truth))
        found = {f"rank {name}": rank(params[name].values, self.truth[name].values) for name in TARGETS}
        found["rank k_sat"] = rank(k_sat[drains], true[drains])
        found["log10 k_sat"] = rmse(k_sat, true)
        parts = (("drains", drains), ("dry", ~drains))
        found |= {f"log10 k_sat, {name}": rmse(k_sat[part], true[part]) for name, part in parts}
        return found | {"share of dry cells": float(1 - drains.mean())}


def pair_of(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    both = np.isfinite(a) & np.isfinite(b)
    return a[both], b[both]


def rmse(a: np.ndarray, b: np.ndarray) -> float:
    a, b = pair_of(a, b)
    return float(np.sqrt(np.mean((a - b) ** 2))) if a.size else np.nan


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = pair_of(a, b)
    return float(np.corrcoef(a, b)[0, 1]) if a.size > 1 else np.nan


def rank(a: np.ndarray, b: np.ndarray) -> float:
    return correlation(*(pd.Series(x).rank().to_numpy() for x in pair_of(a, b)))


def worlds(seed: int, size: tuple[int, int]) -> tuple[World, World]:
    """The cells of the seven cases, and the wider strip of the coarser scales, both at 9 km."""
    rows, columns = size
    inner, outer = around(MIDDLE, rows, columns), around(MIDDLE, WIDER * rows, columns)
    soil = xsoil.data.synthetic_soil(fine_grid(outer), seed)[["sand", "clay"]].compute()
    forcing = xsoil.data.synthetic_forcing(outer, YEARS, seed)[["precipitation", "pet"]].compute()
    truth = truth_of(soil, outer)
    series = truth.soil.simulate(forcing, outputs=("theta_obs", "runoff", "drainage"), **LI2024)
    first, at = xsoil.ease_rowcol(outer), xsoil.ease_rowcol(inner)
    here = {d: slice(a - b, a - b + n) for d, a, b, n in zip(("y", "x"), at, first, size, strict=True)}
    under = soil.isel({d: slice(9 * s.start, 9 * s.stop) for d, s in here.items()})
    own = World(under, *(ds.isel(here) for ds in (forcing, series, truth)), seed)
    return own, World(soil, forcing, series, truth, seed)


def at_scale(wide: World, scale: str) -> World:
    """The mean weather and moisture of coarser cells."""
    box = coarser(xsoil.grid_of(wide.truth), FACTORS[scale])
    means = (ds.soil.upscale(box).compute() for ds in (wide.forcing, wide.series))
    return World(wide.soil, *means, xr.Dataset(), wide.seed, scale)


class Results:
    """Rows and maps in a folder, one file for each, so that nothing is done twice."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, *name: object) -> Path:
        words = "-".join(map(str, name)).lower()
        return self.folder / "".join(c for c in words.replace(" ", "-") if c.isalnum() or c in "-.")

    def of(self, make: Callable[[], dict[str, object]], *name: object) -> dict[str, object]:
        """The row of this name: from its file, or made now."""
        path = self.place(*name, "scores.json")
        if not path.exists():
            start, spent = time.perf_counter(), time.process_time()
            row = make()
            row |= {"seconds": time.perf_counter() - start, "processor seconds": time.process_time() - spent}
            path.write_text(json.dumps(row, indent=1))
            print(f"{' '.join(map(str, name))}: {row['processor seconds']:.0f} s of processor time", flush=True)
        return json.loads(path.read_text())


def cases(world: World, epochs: int, results: Results) -> list[dict[str, object]]:
    """The paper's table 2."""

    def searched() -> dict[str, object]:
        """The inversion and the network that learns from it: both rows in one file."""
        learned = world.learn("CNN (two-step)", epochs)
        rows = {}
        for case, params in (("Inverse", learned.inverse), ("CNN (two-step)", learned.params)):
            params[list(TARGETS)].to_netcdf(results.place(world.seed, case, "params.nc"))
            rows[case] = world.scores(params)
        return {"rows": rows}

    def trained(case: str) -> dict[str, object]:
        learned = world.learn(case, epochs)
        learned.params[list(TARGETS)].to_netcdf(results.place(world.seed, case, "params.nc"))
        if case in OPERATORS:
            learned.save(results.place(world.seed, case, "model"))
        return world.scores(learned.params) | {"seconds of an epoch": float(learned.history.seconds.median())}

    both = results.of(searched, world.seed, "inversion and two-step")
    both_rows = [{"case": case} | row for case, row in both["rows"].items()]
    both_rows[1] |= {name: both[name] for name in ("seconds", "processor seconds")}
    ends = [c for c in CASES if c not in both["rows"]]
    rows = both_rows + [{"case": c} | results.of(lambda c=c: trained(c), world.seed, c) for c in ends]
    return [{"world": world.seed, "cells": world.truth.k_sat.size} | row for row in rows]


def scales(wide: World, epochs: int, results: Results) -> list[dict[str, object]]:
    """The CNN calibrated anew at each scale, beside MPR with the PTF of the 9 km case."""
    rows = []
    for scale in FACTORS:
        world = at_scale(wide, scale)

        def brought(case: str, world: World = world) -> dict[str, object]:
            model = xsoil.load_model(results.place(world.seed, case, "model"))
            fine = model.predict(world.soil, to=xsoil.grid_of(wide.truth))[list(TARGETS)]
            return world.scores(fine.soil.upscale(xsoil.grid_of(world.series), OPERATORS[case]).compute())

        def anew(case: str, world: World = world) -> dict[str, object]:
            learned = world.learn(case, epochs)
            return world.scores(learned.params) | {"seconds of an epoch": float(learned.history.seconds.median())}

        ways = [("CNN (end-to-end)", "calibrated", anew), *((case, "PTF of 9 km", brought) for case in OPERATORS)]
        for case, how, make in ways:
            row = results.of(lambda make=make, case=case: make(case), world.seed, scale, case, how)
            cells = world.observed[0].size
            rows.append({"world": world.seed, "scale": scale, "cells": cells, "case": case, "how": how} | row)
    return rows


def maps_figure(truth: xr.Dataset, found: dict[str, xr.Dataset], path: Path) -> None:
    """K_sat, A and B of the truth and of the cases (the paper's figure 5); cells of the test have no inversion."""
    import matplotlib.pyplot as plt
    from PIL import Image

    rows = {"Reference": truth} | found
    fig, axes = plt.subplots(len(rows), 3, figsize=(13, 0.5 * len(rows) + 0.8), layout="constrained", squeeze=False)
    labels = {"k_sat": "log$_{10}$ K$_{sat}$ [cm d$^{-1}$]", "obs_scale": "A", "obs_bias": "B [m$^3$ m$^{-3}$]"}
    for j, (name, label) in enumerate(labels.items()):
        shown = {case: np.log10(ds[name]) if name == "k_sat" else ds[name] for case, ds in rows.items()}
        low, high = np.quantile(shown["Reference"].values, [0.01, 0.99])
        for i, (case, values) in enumerate(shown.items()):
            ax = axes[i, j]
            image = ax.imshow(values.values, vmin=low, vmax=high, cmap="viridis", aspect="auto")
            ax.set(xticks=[], yticks=[])
            if j == 0:
                ax.set_ylabel(case, rotation=0, ha="right", va="center", fontsize=8)
        fig.colorbar(image, ax=axes[:, j], location="bottom", label=label, aspect=40, pad=0.02)
    fig.set_dpi(70)
    fig.canvas.draw()
    # Maps of single cells compress badly in full colour.
    Image.fromarray(np.asarray(fig.canvas.buffer_rgba())).convert("RGB").quantize(48).save(path, optimize=True)
    plt.close(fig)


def moisture_figure(table: pd.DataFrame, path: Path) -> None:
    """Errors of moisture in the four sets, means and range over the worlds (the paper's figure 4 b)."""
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots(figsize=(8.5, 3), layout="constrained")
    grouped = table.groupby("case", sort=False)
    for k, (case, part) in enumerate(grouped):
        values = part[[f"rmse {name}" for name in SETS]]
        mean = values.mean()
        spread = np.abs([mean - values.min(), values.max() - mean])
        ax.bar(np.arange(4) + 0.14 * (k - 2.5), mean, 0.13, label=case, yerr=spread, error_kw={"lw": 0.8})
    ax.set(yscale="log", xticks=range(4), ylabel="RMSE of soil moisture [m$^3$ m$^{-3}$]")
    ax.set_xticklabels([name.replace("_", "-") for name in SETS])
    fig.legend(fontsize=8, loc="outside right center")
    fig.savefig(path, dpi=110)
    plt.close(fig)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("li2024-synthetic-output"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the synthetic worlds")
    parser.add_argument("--size", type=int, nargs=2, metavar=("ROWS", "COLUMNS"), default=[24, 432], help="9 km cells")
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()
    if min(options.size) < 12 or any(n % 12 for n in options.size):
        parser.error(f"--size {options.size}: expected multiples of 12, so that cells of 108 km fit")
    import matplotlib

    matplotlib.use("Agg")
    results = Results(options.out)
    options.out.mkdir(parents=True, exist_ok=True)
    settings = json.dumps({"size": options.size, "epochs": options.epochs})
    before = options.out / "settings.json"
    if before.exists() and before.read_text() != settings:
        parser.error(f"{options.out} holds results of {before.read_text()}, asked for {settings}; take another --out")
    before.write_text(settings)
    made: dict[int, tuple[World, World]] = {}
    table: list[dict[str, object]] = []
    for seed in options.seeds:
        made[seed] = worlds(seed, tuple(options.size))
        table += cases(made[seed][0], options.epochs, results)
        pd.DataFrame(table).to_csv(options.out / "cases.csv", index=False, float_format="%.6g")
    coarse: list[dict[str, object]] = []
    for seed in options.seeds:
        coarse += scales(made[seed][1], options.epochs, results)
        pd.DataFrame(coarse).to_csv(options.out / "scales.csv", index=False, float_format="%.6g")
    driest = max(table, key=lambda row: row["share of dry cells"])["world"]
    found = {c: xr.load_dataset(results.place(driest, c, "params.nc")) for c in CASES}
    maps_figure(made[driest][0].truth, found, options.out / "parameters.png")
    errors, by_scale = pd.DataFrame(table), pd.DataFrame(coarse)
    moisture_figure(errors, options.out / "moisture.png")
    print(errors.drop(columns="world").groupby("case", sort=False).mean().T.to_string(float_format="%.4g"))
    columns = [f"rmse {name}" for name in SETS]
    print(by_scale.groupby(["scale", "case", "how"], sort=False)[columns].mean().to_string(float_format="%.4g"))
    spent = sum(row.get("processor seconds", 0.0) for row in table + coarse)
    print(f"{spent / 60:.1f} minutes of processor time; wrote {options.out}/: cases.csv, scales.csv, figures")


if __name__ == "__main__":
    main()
