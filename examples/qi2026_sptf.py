"""Site-specific pedotransfer functions through Richards' equation (Qi et al. 2026).

    python examples/qi2026_sptf.py [--data FOLDER] [--out qi2026-output]

Ways to the soil's parameters, for both curves of the paper (van Genuchten-Mualem and Fredlund-Xing-Wang):

- inverse: SCE-UA on the history of soil moisture of each test site by itself;
- SPTF: an LSTM reads the history and the texture of a site; learned end to end at other sites, by gradients of the
  columns themselves;
- SPTF, surrogate: the same, learned through an LSTM surrogate of the columns, as in the paper (synthetic sites);
- conventional PTF: Rosetta 3 from texture and bulk density (for Fredlund-Xing-Wang a fit to its curve);
- mean: no model, the mean of the history.

All are scored, with the solver, on soil moisture at 5 cm in the target period, at sites that no training saw.

(a) Synthetic sites: texture and weather of `xsoil.data`; the truth is Rosetta's soil times a random part that texture
does not tell. Year 1 is the history, year 2 the target; observations have an error of 0.02.
(b) With --data (or XSOIL_TEST_DATA), stations of the US Climate Reference Network (`uscrn_2020.nc`): history January
to June, target July to December 2020, days with frost at 5 cm left out, folds that leave stations out. They come
without texture and leaf area: texture is that of the nearest pixel of `conus_smap_nldas.nc`, LAI is the constant --lai.

Results are written piece by piece to --out; what is there is not done again. Needs xsoil[learn].
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from qi2026_networks import Reader, surrogate_of
from qi2026_results import report
from qi2026_sites import (
    CURVES,
    DEPTH,
    FORCING,
    SPINUP,
    STATIC,
    TARGETS,
    Sites,
    moisture,
    rosetta,
    stations,
    synthetic_sites,
)

import xsoil

WINDOWS = (10, 20, 40, 90, 180)
STAGES = ("sptf", "inverse", "surrogate", "windows", "importance", "seeds")
NOT_SETTINGS = ("out", "data", "parts", "curves", "stages")


class Pieces:
    """Results in a folder: each is made once, and read from then on."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        own = {name: value for name, value in vars(options).items() if name not in NOT_SETTINGS}
        file = folder / "settings.json"
        if not file.exists():
            file.write_text(json.dumps(own, indent=1))
        elif (other := json.loads(file.read_text())) != own:
            differing = sorted(name for name in {*own, *other} if own.get(name) != other.get(name))
            raise SystemExit(
                f"{folder} holds results of a run that differs in {differing}; expected the same, or another --out"
            )

    def parameters(self, name: str, make: Callable[[], xr.Dataset]) -> xr.Dataset:
        """Parameters (site), and the seconds of CPU that they took."""
        file = self.folder / f"{name}.nc"
        if not file.exists():
            start = time.process_time()
            made = make().drop_attrs()
            made.attrs["seconds"] = time.process_time() - start
            made.to_netcdf(file.with_suffix(".part"))
            file.with_suffix(".part").rename(file)
            print(f"  {name}: {made.seconds:.0f} s of CPU", flush=True)
        found = xr.load_dataset(file)
        units = {"alpha": "cm-1", "k_sat": "cm d-1", "h50": "cm", "theta_s": "m3 m-3", "theta_r": "m3 m-3"}
        for parameter in found.data_vars:
            found[parameter].attrs = {"units": units.get(str(parameter), "1")}
        return found

    def table(self, name: str, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        file = self.folder / f"{name}.csv"
        if not file.exists():
            start = time.process_time()
            make().to_csv(file, index=False, float_format="%.6g")
            print(f"  {name}: {time.process_time() - start:.0f} s of CPU", flush=True)
        return pd.read_csv(file)


def inverse(sites: Sites, curve: str, options: argparse.Namespace) -> xr.Dataset:
    """SCE-UA on the past of each site."""
    learned = xsoil.learn_params(
        None, sites.observed.sel(time=sites.past), sites.weather[FORCING].sel(time=sites.past), strategy="inverse",
        optimizer="sce_ua", model="richards", curve=CURVES[curve], depth=DEPTH, targets=TARGETS[curve],
        evaluations=options.evaluations, warmup=SPINUP, seed=options.seed, progress=False,
    )  # fmt: skip
    print(f"  {learned.history.to_pandas().to_dict()}")
    return learned.params[list(TARGETS[curve])]


def sptf(
    sites: Sites, split: xsoil.Split, curve: str, options: argparse.Namespace, folder: Path, surrogate: object = None
) -> xsoil.LearnedParams:
    """The reader, through the columns or their surrogate; from `folder` where it is, else trained and kept there."""
    reader = Reader(len(TARGETS[curve]), hidden=options.hidden, seed=options.seed)
    if folder.is_dir():
        return xsoil.load_model(folder, network=reader)
    if surrogate is None:
        model = {"model": "richards", "curve": CURVES[curve], "depth": DEPTH}
    else:
        model = {"model": "richards_surrogate", "surrogate": surrogate}
    learned = sites.soil.soil.learn_params(
        sites.target, sites.forcing, network=reader, history=sites.history, targets=TARGETS[curve], split=split,
        validation=options.validation, seed=options.seed, epochs=options.epochs, batch_cells=options.batch,
        learning_rate=options.learning_rate, schedule="one_cycle", progress=False,
        directory=folder.with_name(f"{folder.name}-training"), resume=True, **model,
    )  # fmt: skip
    learned.save(folder)
    record = learned.history
    print(f"  {folder.name}: best of {record.epoch.size} epochs {record.best_epoch}, loss of training and validation "
          f"{float(record.train[-1]):.5f} {float(record.validation.min()):.5f}")  # fmt: skip
    return learned


def errors(
    learned: xsoil.LearnedParams, soils: list[xr.Dataset], histories: list[xr.Dataset], sites: Sites, curve: str
) -> np.ndarray:
    """Mean squared error over all sites for each of some versions of their inputs, all in one run."""
    number = len(soils) * sites.soil.sizes["site"]
    here = np.tile(np.arange(sites.soil.sizes["site"]), len(soils))
    soil, history = (xr.concat(v, "site").assign_coords(site=np.arange(number)) for v in (soils, histories))
    forcing = sites.forcing.isel(site=here).assign_coords(site=np.arange(number))
    run = moisture(learned.predict(soil, history=history), forcing, curve).sel(time=sites.future)
    target = sites.target.isel(site=here).transpose("time", "site").values
    square = (run.transpose("time", "site").values - target) ** 2
    return np.nanmean(square.reshape(len(square), len(soils), -1), axis=(0, 2))


def windows(learned: xsoil.LearnedParams, sites: Sites, curve: str, options: argparse.Namespace) -> pd.DataFrame:
    """Skill where the network reads only some days of the history."""
    rng, history, rows = np.random.default_rng(options.seed), sites.history, []
    whole, spread = history.sizes["time"], float(sites.target.var())
    for days in [*(d for d in WINDOWS if d < whole), whole]:
        starts = rng.integers(0, whole - days + 1, options.windows) if days < whole else [0]
        parts = [history.isel(time=slice(a, a + days)).drop_vars("time") for a in starts]
        found = errors(learned, [sites.soil] * len(parts), parts, sites, curve)
        rows += [{"days": days, "nse": 1 - error / spread, "rmse": error**0.5} for error in found]
    return pd.DataFrame(rows)


def importance(learned: xsoil.LearnedParams, sites: Sites, curve: str, options: argparse.Namespace) -> pd.DataFrame:
    """Error with one input taken from other sites, over that with the right one."""
    rng, history, rows = np.random.default_rng(options.seed), sites.history, []
    (right,) = errors(learned, [sites.soil], [history], sites, curve)
    for name in (*history.data_vars, *STATIC):
        soils, histories = [], []
        for _ in range(options.repeats):
            order = rng.permutation(sites.soil.sizes["site"])
            for holder, versions in ((sites.soil, soils), (history, histories)):
                mixed = holder.copy()
                if name in mixed:
                    mixed[name] = holder[name].copy(data=holder[name].isel(site=order).values)
                versions.append(mixed)
        found = errors(learned, soils, histories, sites, curve) / right
        rows += [{"input": name, "ratio": ratio} for ratio in found]
    return pd.DataFrame(rows)


def splits_of(sites: Sites, options: argparse.Namespace) -> list[xsoil.Split]:
    """One hold-out of the synthetic sites, folds of the stations."""
    if sites.name == "synthetic":
        return [xsoil.Split.random_cells(sites.soil, options.test, options.seed)]
    return xsoil.Split.folds(sites.soil, options.folds, options.seed)


def study(sites: Sites, options: argparse.Namespace, pieces: Pieces) -> dict[str, object]:
    """Parameters by curve and way, and the tables of the studies, stage by stage."""
    splits = splits_of(sites, options)
    tests = [sites.at(np.flatnonzero(split.test.values)) for split in splits]
    found: dict[str, dict[str, list[xr.Dataset]]] = {curve: {} for curve in options.curves}
    tables: dict[str, list[pd.DataFrame]] = {"windows": [], "importance": []}
    surrogates: list[dict[str, object]] = []
    seeds: list[tuple[str, str, int, xr.Dataset]] = []
    world = sites.name.split()[0].lower()
    print(f"{sites.name}: {sites.soil.sizes['site']} sites, {[t.soil.sizes['site'] for t in tests]} of them for tests")

    def keep(curve: str, way: str, name: str, make: Callable[[], xr.Dataset]) -> None:
        found[curve].setdefault(way, []).append(pieces.parameters(name, make))

    def predicted(curve: str, fold: int, suffix: str = "", surrogate: object = None, seed: int = 0) -> xr.Dataset:
        folder = pieces.folder / f"{world}-{curve}-{fold}-model{suffix}"
        own = argparse.Namespace(**{**vars(options), "seed": options.seed + seed})
        learned = sptf(sites, splits[fold], curve, own, folder, surrogate)
        return learned.predict(tests[fold].soil, history=tests[fold].history)

    def more_seeds(curve: str, name: str) -> None:
        behind = pieces.folder / f"{curve}-surrogate"
        model = surrogate_of(sites, curve, options, behind) if behind.is_dir() else None
        kinds = [("SPTF", "", None)]
        if model is not None and model.accepted:
            kinds.append(("SPTF, surrogate", "-surrogate", model))
        for seed in range(1, options.seeds):
            for way, suffix, physics in kinds:
                own = f"{suffix}-seed{seed}"
                found_one = pieces.parameters(name + own, partial(predicted, curve, 0, own, physics, seed))
                seeds.append((curve, way, seed, found_one))

    for stage in (stage for stage in STAGES if stage in options.stages):
        for curve in options.curves:
            for fold, test in enumerate(tests):
                name = f"{world}-{curve}-{fold}-{stage}"
                if stage == "sptf":
                    keep(curve, "SPTF", name, partial(predicted, curve, fold))
                elif stage == "inverse" and options.evaluations:
                    keep(curve, "inverse", name, partial(inverse, test, curve, options))
                elif stage == "surrogate" and world == "synthetic" and options.surrogate:
                    model = surrogate_of(sites, curve, options, pieces.folder / f"{curve}-surrogate")
                    tested = {"held-out runs": int(model.held_out), "MSE": float(model.mse), "accepted": model.accepted}
                    surrogates.append({"curve": curve, "runs": options.surrogate, **tested})
                    if model.accepted:
                        keep(curve, "SPTF, surrogate", name, partial(predicted, curve, fold, "-surrogate", model))
                elif stage == "seeds" and world == "synthetic":
                    more_seeds(curve, name)
                elif stage in tables:
                    learned = sptf(sites, splits[fold], curve, options, pieces.folder / f"{world}-{curve}-{fold}-model")
                    make = windows if stage == "windows" else importance
                    table = pieces.table(name, partial(make, learned, test, curve, options))
                    tables[stage].append(table.assign(world=sites.name, curve=curve, fold=fold))
    for curve, test in ((c, t) for c in options.curves for t in tests):
        found[curve].setdefault("conventional PTF", []).append(rosetta(test.soil, curve))
    return {"sites": sites, "tests": tests, "parameters": found, "surrogates": surrogates, "seeds": seeds, **tables}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("XSOIL_TEST_DATA"), help="folder of uscrn_2020.nc")
    parser.add_argument("--out", type=Path, default=Path("qi2026-output"))
    parser.add_argument("--parts", nargs="+", choices=("synthetic", "real"), default=["synthetic", "real"])
    parser.add_argument("--curves", nargs="+", choices=tuple(CURVES), default=list(CURVES))
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES), help="what is done, or read")
    parser.add_argument("--truth", choices=tuple(CURVES), default="FXW", help="curve of the synthetic truth")
    parser.add_argument("--sites", type=int, default=400, help="synthetic sites")
    parser.add_argument("--test", type=float, default=0.15, help="share of the synthetic sites for the test")
    parser.add_argument("--validation", type=float, default=0.176, help="share of the other sites for validation")
    parser.add_argument("--lai", type=float, default=1.5, help="leaf area index of the stations")
    parser.add_argument("--folds", type=int, default=5, help="of the stations")
    parser.add_argument("--evaluations", type=int, default=300, help="runs of SCE-UA per test site; 0: no inversion")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--batch", type=int, default=8, help="sites of a mini-batch")
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--hidden", type=int, default=128, help="of the LSTM")
    parser.add_argument("--windows", type=int, default=10, help="random windows of each input length")
    parser.add_argument("--repeats", type=int, default=100, help="permutations of each input")
    parser.add_argument("--surrogate", type=int, default=5000, metavar="RUNS", help="that it learns from; 0: none")
    parser.add_argument("--surrogate-days", type=int, default=100, help="of each of these runs")
    parser.add_argument("--surrogate-epochs", type=int, default=24)
    parser.add_argument("--surrogate-hidden", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, help="networks of each kind at the synthetic sites")
    return parser


def main(given: list[str] | None = None) -> None:
    parser = arguments()
    options = parser.parse_args(given)
    least = max(n * (2 * n + 1) for n in (len(TARGETS[curve]) for curve in options.curves))
    if 0 < options.evaluations < least:
        parser.error(f"--evaluations {options.evaluations}: expected 0, or {least} at least (SCE-UA's first points)")
    if "real" in options.parts and options.data is None:
        if "synthetic" not in options.parts:
            parser.error("no data for the stations: give --data FOLDER, or set XSOIL_TEST_DATA")
        print("without --data: no stations")
    pieces = Pieces(options.out, options)
    groups = []
    if "synthetic" in options.parts:
        groups.append(synthetic_sites(options.sites, options.truth, options.seed))
    if "real" in options.parts and options.data is not None:
        groups.append(stations(Path(options.data), options.lai))
    report([study(sites, options, pieces) for sites in groups], options.out, options.truth)


if __name__ == "__main__":
    main()
