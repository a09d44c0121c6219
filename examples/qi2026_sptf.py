"""Site-specific pedotransfer functions through Richards' equation (Qi et al. 2026).

    python examples/qi2026_sptf.py [--data FOLDER] [--out qi2026-output] [--sites 300] [--epochs 60]

Four ways to the soil's parameters, for both curves of the paper (van Genuchten-Mualem and Fredlund-Xing-Wang):

- inverse: SCE-UA on the history of soil moisture of each test site by itself;
- SPTF: an LSTM reads the history and the texture of a site; learned end to end through the columns, at other sites;
- conventional PTF: Rosetta 3 from texture and bulk density (for Fredlund-Xing-Wang a fit to its curve);
- mean: no model, the mean of the history.

All are scored on soil moisture at 5 cm in the target period, at sites that no training saw (folds leave sites out).

(a) Synthetic sites: texture and weather of `xsoil.data`; the truth is Rosetta's soil times a random part that texture
does not tell. Year 1 is the history, year 2 the target; observations have an error of 0.02.
(b) With --data (or XSOIL_TEST_DATA), stations of the US Climate Reference Network (`uscrn_2020.nc`): history January
to June, target July to December 2020, days with frost at 5 cm left out. They come without texture and leaf area:
texture is that of the nearest pixel of `conus_smap_nldas.nc`, LAI is the constant --lai.
(c) With --surrogate RUNS, an LSTM surrogate of the columns, as in the paper, beside the direct gradient.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import xsoil

CURVES = {"VGM": "van_genuchten", "FXW": "fredlund_xing_wang"}
# Table 1 of the paper; there the upper bound of theta_s is the wettest observation of a site, but at least 0.41.
TARGETS = {
    "VGM": {
        "theta_r": (0.0, 0.15), "theta_s": (0.32, 0.6), "alpha": (0.0015, 0.23), "n": (1.05, 8.0),
        "k_sat": (0.3, 8000.0), "h50": (-2000.0, -50.0),
    },
    "FXW": {
        "theta_s": (0.32, 0.6), "alpha": (0.0015, 0.2), "n": (1.05, 13.5), "m": (0.2, 1.6), "k_sat": (0.5, 8000.0),
        "h50": (-2000.0, -50.0),
    },
}  # fmt: skip
STATIC = ("sand", "silt", "clay", "bulk_density")
WEATHER = ("precipitation", "pet", "lai", "air_temperature")
DEPTH = 0.05
NOISE = 0.02
SPINUP = 30  # columns start at -100 cm; the days before the target, and the first of the history, are not compared
H50 = -800.0  # of the conventional PTF, which has none
# Standard deviations of what texture does not tell: of logarithms, of theta_s itself.
UNTOLD = {"alpha": 1.0, "k_sat": 1.5, "n": 0.5, "m": 0.4, "theta_s": 0.06}
WINDOWS = (10, 20, 40, 80, 180, 270)
COLOURS = {"VGM": "C0", "FXW": "C1"}
WAYS = ("inverse", "SPTF", "conventional PTF", "mean")
MOISTURE, RAIN = (0.0, 0.1, 0.2, 0.3, 1.0), (0.0, 200.0, 400.0, 800.0, 5000.0)


@dataclass(frozen=True)
class Sites:
    """Sites with `soil` (site), `weather` and `observed` (time, site), and the two periods."""

    name: str
    soil: xr.Dataset
    weather: xr.Dataset
    observed: xr.DataArray
    past: slice
    future: slice

    def at(self, chosen: np.ndarray) -> Sites:
        cut = [part.isel(site=chosen) for part in (self.soil, self.weather, self.observed)]
        return Sites(self.name, *cut, self.past, self.future)

    @property
    def history(self) -> xr.Dataset:
        """The series of the past: weather, and soil moisture with its gaps filled."""
        seen = self.observed.sel(time=self.past).transpose("time", "site")
        filled = seen.to_pandas().interpolate(limit_direction="both")
        moisture = xr.DataArray(filled.to_numpy(np.float32), seen.coords, seen.dims, attrs=seen.attrs)
        return self.weather.sel(time=self.past).assign(soil_moisture=moisture)

    @property
    def target(self) -> xr.DataArray:
        return self.observed.sel(time=self.future)

    @property
    def forcing(self) -> xr.Dataset:
        """Of the target, and of the days before it."""
        start = np.datetime64(self.future.start) - np.timedelta64(SPINUP, "D")
        return self.weather[["precipitation", "pet", "lai"]].sel(time=slice(start, self.future.stop))


def rosetta(soil: xr.Dataset, curve: str) -> xr.Dataset:
    """Parameters of the conventional PTF."""
    found = soil.soil.ptf("rosetta3")
    if curve == "FXW":
        found = found.soil.fit_fredlund_xing_wang()
    fixed = xr.full_like(found.k_sat, H50).assign_attrs(units="cm")
    return found[[name for name in TARGETS[curve] if name != "h50"]].assign(h50=fixed)


def synthetic_sites(number: int, truth: str, seed: int) -> Sites:
    """Random places of the conterminous United States in a synthetic world, and their soil moisture."""
    grid = xsoil.ease_grid("EASE2_M36km", "conus")
    rng = np.random.default_rng(seed)
    cells = rng.choice(grid.shape[0] * grid.shape[1], number, replace=False)
    rows, columns = (xr.DataArray(index, dims="site") for index in np.divmod(cells, grid.shape[1]))
    soil = xsoil.data.synthetic_soil(grid, seed)[list(STATIC)].isel(y=rows, x=columns)
    weather = xsoil.data.synthetic_forcing(grid, ("2013-12-02", "2015-12-31"), seed, variables=WEATHER)
    soil, weather = (part.reset_coords(drop=True).compute() for part in (soil, weather.isel(y=rows, x=columns)))
    soil, weather = (part.assign_coords(site=np.arange(number)) for part in (soil, weather))
    told = rosetta(soil, truth)
    parameters = told.copy()
    for name, (low, high) in TARGETS[truth].items():
        drawn = rng.standard_normal(number) * UNTOLD.get(name, 0.0)
        own = told[name] + drawn if name == "theta_s" else told[name] * np.exp(drawn)
        if name == "n":
            own = 1 + (told.n - 1) * np.exp(drawn)
        if name == "h50":
            own = -np.exp(told.h50 * 0 + rng.uniform(np.log(100), np.log(1500), number))
        parameters[name] = own.clip(low, high).assign_attrs(told[name].attrs)
    theta = moisture(parameters, weather[["precipitation", "pet", "lai"]], truth)
    noisy = (theta + NOISE * rng.standard_normal(theta.shape)).clip(0.0).astype(np.float32)
    observed = noisy.assign_attrs(units="m3 m-3").rename("soil_moisture")
    return Sites("synthetic", soil, weather, observed, slice("2014-01-01", "2014-12-31"), slice("2015-01-01", None))


def stations(folder: Path, lai: float) -> Sites:
    """Stations whose 5 cm series are nearly whole in both halves of the year."""
    ds = xr.open_dataset(folder / "uscrn_2020.nc")
    near = ds.sel(depth=DEPTH)
    thawed = near.soil_moisture.where(near.soil_temperature >= 0).transpose("time", "station")
    past, future = slice("2020-01-01", "2020-06-30"), slice("2020-07-01", "2020-12-31")
    weather = ds[["precipitation", "pet_fao56", "air_temperature"]].rename(pet_fao56="pet").transpose("time", "station")
    whole = (weather.to_array().notnull().sum("time") >= 350).all("variable")
    whole &= (thawed.sel(time=past).count("time") >= 90) & (thawed.sel(time=future).count("time") >= 90)
    pixels = xr.open_dataset(folder / "conus_smap_nldas.nc")
    pixels = pixels.isel(pixel=((pixels.pixel_issues.values & 18) == 0))  # forcing corrupt, texture missing
    nearest, distance = nearest_of(ds, pixels)
    chosen = whole.values & (distance < 150.0)
    print(f"{int(chosen.sum())} of {chosen.size} stations; texture from {distance[chosen].mean():.0f} km away (mean)")
    soil = pixels.isel(pixel=nearest[chosen])[[f"{n}_normalised" for n in STATIC if f"{n}_normalised" in pixels]]
    soil = soil.rename({str(n): str(n).removesuffix("_normalised") for n in soil.data_vars})
    for name in STATIC:
        soil[name] = soil[name] if name in soil else pixels[name].isel(pixel=nearest[chosen])
    soil = soil.reset_coords(drop=True).drop_vars("pixel", errors="ignore").rename(pixel="site")
    weather = weather.isel(station=chosen).reset_coords(drop=True).rename(station="site").drop_vars("site")
    weather["precipitation"] = weather.precipitation.fillna(0.0)  # the few missing days
    for name in ("pet", "air_temperature"):
        filled = weather[name].to_pandas().interpolate(limit_direction="both").to_numpy(np.float32)
        weather[name] = (weather[name].dims, filled, weather[name].attrs)
    weather["lai"] = xr.full_like(weather.pet, lai).assign_attrs(units="1")
    observed = thawed.isel(station=chosen).reset_coords(drop=True).rename(station="site").drop_vars("site")
    observed = observed.assign_attrs(units="m3 m-3").rename("soil_moisture").load()
    number = np.arange(int(chosen.sum()))
    parts = [part.compute().assign_coords(site=number) for part in (soil[list(STATIC)], weather)]
    return Sites("USCRN 2020", *parts, observed.assign_coords(site=number), past, future)


def nearest_of(ds: xr.Dataset, pixels: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Index of the nearest pixel of every station, and how far it is [km]."""
    a, b, c, d = (np.deg2rad(v.values) for v in (ds.lat, ds.lon, pixels.lat, pixels.lon))
    cosine = np.sin(a)[:, None] * np.sin(c) + np.cos(a)[:, None] * np.cos(c) * np.cos(b[:, None] - d)
    return cosine.argmax(axis=1), 6371.0 * np.arccos(np.clip(cosine.max(axis=1), -1.0, 1.0))


def moisture(parameters: xr.Dataset, forcing: xr.Dataset, curve: str) -> xr.DataArray:
    """Soil moisture at the depth of the observations."""
    run = parameters.soil.simulate(forcing, "richards", curve=CURVES[curve], depths=DEPTH)
    return run.theta.isel(depth=0, drop=True)


def inverse(sites: Sites, curve: str, evaluations: int, seed: int) -> xr.Dataset:
    """SCE-UA on the past of each site."""
    learned = xsoil.learn_params(
        None, sites.observed.sel(time=sites.past),
        sites.weather[["precipitation", "pet", "lai"]].sel(time=sites.past), strategy="inverse", optimizer="sce_ua",
        model="richards", curve=CURVES[curve], depth=DEPTH, targets=TARGETS[curve], evaluations=evaluations,
        warmup=SPINUP, seed=seed, progress=False,
    )  # fmt: skip
    return learned.params[list(TARGETS[curve])]


def sptf(sites: Sites, split: xsoil.Split, curve: str, options: argparse.Namespace) -> xsoil.LearnedParams:
    """The LSTM, through the columns."""
    return sites.soil.soil.learn_params(
        sites.target, sites.forcing, model="richards", curve=CURVES[curve], depth=DEPTH, network="lstm",
        history=sites.history, targets=TARGETS[curve], split=split, seed=options.seed, epochs=options.epochs,
        batch_cells=options.batch, learning_rate=options.learning_rate, patience=options.patience,
        network_options={"hidden": options.hidden}, progress=False,
    )  # fmt: skip


def squares(simulated: xr.DataArray, sites: Sites) -> float:
    """Mean squared error over all sites and days of the target."""
    return float(((simulated - sites.target) ** 2).mean())


def nse(simulated: xr.DataArray, sites: Sites) -> float:
    """NSE over all sites and days together, as the paper has it."""
    return 1.0 - squares(simulated, sites) / float(sites.target.var())


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
    """Skill where the network reads only some days of the history (it was trained with all of them)."""
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
                    mixed[name] = mixed[name].copy(data=mixed[name].isel(site=order).values)
                versions.append(mixed)
        rows += [{"input": name, "ratio": e / right} for e in errors(learned, soils, histories, sites, curve)]
    return pd.DataFrame(rows)


def ways_of(
    sites: Sites, split: xsoil.Split, fold: int, curve: str, options: argparse.Namespace
) -> tuple[dict[str, xr.DataArray], dict[str, pd.DataFrame], dict[str, float]]:
    """Soil moisture of the test sites by each way; the two studies of the network; seconds."""
    tested = np.flatnonzero(split.test.values)
    test, seconds, found, studies = sites.at(tested), {}, {}, {}

    def timed(way: str, make: Callable[[], xr.Dataset]) -> None:
        start = time.perf_counter()
        parameters = make()
        seconds[way] = time.perf_counter() - start
        found[way] = moisture(parameters, test.forcing, curve).sel(time=sites.future)
        print(f"  fold {fold}, {curve}, {way}: {seconds[way]:.0f} s", flush=True)

    learned: list[xsoil.LearnedParams] = []

    def network() -> xr.Dataset:
        learned.append(sptf(sites, split, curve, options))
        record = learned[0].history
        print(f"  {record.epoch.size} epochs, best {record.best_epoch}, {record.stopped}", end=";")
        return learned[0].predict(test.soil, history=test.history)

    timed("SPTF", network)
    if options.evaluations:
        timed("inverse", partial(inverse, test, curve, options.evaluations, options.seed))
    timed("conventional PTF", partial(rosetta, test.soil, curve))
    found["mean"] = sites.observed.sel(time=sites.past).mean("time").isel(site=tested) + 0 * test.target.fillna(0)
    start = time.perf_counter()
    studies["windows"] = windows(learned[0], test, curve, options)
    if options.repeats:
        studies["importance"] = importance(learned[0], test, curve, options)
    print(f"  input length and importance: {time.perf_counter() - start:.0f} s", flush=True)
    return found, studies, seconds


def scores_of(simulated: xr.DataArray, sites: Sites, way: str, curve: str) -> pd.DataFrame:
    """Metrics of every test site, with its mean moisture and its rain in a year."""
    part = sites.at(np.flatnonzero(np.isin(sites.soil.site, simulated.site)))
    pair = simulated.to_dataset(name="theta").transpose("time", "site").soil.evaluate(part.target.to_dataset())
    frame = pair[["nse", "rmse", "ubrmse", "bias", "r", "n"]].to_dataframe()
    frame["moisture"] = part.target.mean("time").values
    frame["rain"] = part.weather.precipitation.mean("time").values * 365
    return frame.reset_index().assign(world=sites.name, curve=curve, way=way)


def study(sites: Sites, options: argparse.Namespace) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, pd.DataFrame]]:
    """All folds and curves: metrics per site, the table, and the studies of the network."""
    splits = xsoil.Split.folds(sites.soil, options.folds, options.seed)[: options.run_folds or None]
    scores, table, more = [], [], {"windows": [], "importance": []}
    print(f"{sites.name}: {sites.soil.sizes['site']} sites, {len(splits)} of {options.folds} folds")
    for curve in options.curves:
        runs: dict[str, list[xr.DataArray]] = {}
        spent: dict[str, float] = {}
        for fold, split in enumerate(splits):
            found, studies, seconds = ways_of(sites, split, fold, curve, options)
            for way, run in found.items():
                runs.setdefault(way, []).append(run)
                spent[way] = spent.get(way, 0.0) + seconds.get(way, 0.0)
            for name, frame in studies.items():
                more[name].append(frame.assign(world=sites.name, curve=curve, fold=fold))
        first = len(table)
        for way in (w for w in WAYS if w in runs):
            run = xr.concat(runs[way], "site").sortby("site")
            part = sites.at(np.flatnonzero(np.isin(sites.soil.site, run.site)))
            frame = scores_of(run, sites, way, curve)
            scores.append(frame)
            table.append(
                {
                    "world": sites.name, "curve": curve, "way": way, "sites": run.sizes["site"],
                    "failed": int(frame.nse.isna().sum()), "median NSE": frame.nse.median(),
                    "median RMSE": frame.rmse.median(), "NSE of all": nse(run, part),
                    "RMSE of all": squares(run, part) ** 0.5, "seconds": spent[way],
                }
            )  # fmt: skip
        print(pd.DataFrame(table[first:]).to_string(index=False, float_format="%.3f"), flush=True)
    return pd.concat(scores), pd.DataFrame(table), {name: pd.concat(f) for name, f in more.items() if f}


def surrogate(sites: Sites, curve: str, options: argparse.Namespace) -> None:
    """Learn a surrogate of the columns; where it is accepted, learn the SPTF of the first fold through it."""
    from xsoil.networks.learner import ParameterLearner
    from xsoil.networks.samples import InMemorySource, Sample
    from xsoil.networks.scaling import InputScaling
    from xsoil.networks.surrogate import draw_runs, fit_surrogate
    from xsoil.networks.training import fit
    from xsoil.physics.bounded import Bounded

    bounds = {n: Bounded(*pair, log=n in ("alpha", "k_sat", "n", "h50")) for n, pair in TARGETS[curve].items()}
    series = {n: sites.forcing[n].transpose("time", "site").values for n in ("precipitation", "pet", "lai")}
    fixed, column = {"root_depth": 0.4}, {"curve": CURVES[curve], "depth": DEPTH}
    start = time.perf_counter()
    days = sites.forcing.sizes["time"]
    runs = draw_runs(series, bounds, options.surrogate, days=days, fixed=fixed, options=column, seed=options.seed)
    made = time.perf_counter() - start
    model, record = fit_surrogate(
        runs, bounds, fixed=fixed, options=column, hidden=options.surrogate_hidden, seed=options.seed,
        epochs=options.surrogate_epochs, batch_cells=64, learning_rate=1e-3, progress=False,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    print(
        f"surrogate, {curve}: {len(runs)} runs of {days} days in {made:.0f} s, {len(record)} epochs in "
        f"{seconds - made:.0f} s: MSE {float(model.mse):.2g} on {int(model.held_out)} held-out runs, "
        f"{'accepted' if model.accepted else 'not accepted (1e-4): no SPTF is learned through it'}",
        flush=True,
    )
    if not model.accepted:
        return
    split = xsoil.Split.folds(sites.soil, options.folds, options.seed)[0]
    history = sites.history.to_array().transpose("site", "time", "variable").values.astype(np.float32)
    static = sites.soil[list(STATIC)].to_array().transpose("site", "variable").values
    forcing = {name: values.astype(np.float32) for name, values in series.items()}
    seen = {"theta": sites.target.reindex(time=sites.forcing.time).transpose("time", "site").values}
    known = {"root_depth": np.full(len(static), 0.4)}
    source = InMemorySource(Sample(np.arange(len(static)), static, history, forcing, seen, {}, known))
    trained, tested = np.flatnonzero(split.train.values), np.flatnonzero(split.test.values)
    learner = ParameterLearner(
        "lstm", InputScaling.fit(source, trained), bounds, model=model.model(bounds), seed=options.seed,
        network_options={"hidden": options.hidden},
    )  # fmt: skip
    kept = trained[: len(trained) // 10 + 1]
    fit(
        learner, source, np.setdiff1d(trained, kept), kept, epochs=options.epochs, batch_cells=options.batch,
        learning_rate=options.learning_rate, patience=options.patience, seed=options.seed, progress=False,
    )  # fmt: skip
    part = sites.at(tested)
    found = learner.predict(static[tested], history[tested], {"root_depth": np.full(len(tested), 0.4)})
    units = rosetta(part.soil, curve)
    parameters = xr.Dataset({name: units[name].copy(data=values) for name, values in found.items()})
    run = moisture(parameters, part.forcing, curve).sel(time=sites.future)
    print(f"  SPTF through it, fold 0, run by the columns: NSE {nse(run, part):.3f}, {squares(run, part) ** 0.5:.4f}")


def ranges(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean RMSE by range of moisture and of rain."""
    found = []
    for name, edges in (("moisture", MOISTURE), ("rain", RAIN)):
        bins = pd.cut(scores[name], list(edges), right=False).astype(str).rename("range")
        mean = scores.groupby(["world", "curve", bins, "way"]).rmse.agg(["mean", "size"]).reset_index()
        found.append(mean.assign(by=name))
    return pd.concat(found)


def figure(scores: pd.DataFrame, more: Mapping[str, pd.DataFrame], path: Path) -> None:
    """A row for each set of sites: RMSE by way and curve, NSE by length of the input, importance of the inputs."""
    import matplotlib.pyplot as plt

    worlds = list(dict.fromkeys(scores.world))
    fig, axes = plt.subplots(len(worlds), 3, figsize=(13, 3.6 * len(worlds)), layout="constrained", squeeze=False)
    for row, world in zip(axes, worlds, strict=True):
        own = scores[scores.world == world]
        groups = own.groupby(["way", "curve"], sort=False).rmse
        row[0].boxplot([v.dropna() for _, v in groups], tick_labels=["\n".join(k) for k, _ in groups], showfliers=False)
        row[0].set(title=world, ylabel="RMSE per site [m$^3$ m$^{-3}$]")
        row[0].tick_params(axis="x", labelsize=7, rotation=90)
        for curve, frame in more["windows"][more["windows"].world == world].groupby("curve"):
            mean = frame.groupby("days").nse.mean()
            row[1].plot(mean.index, mean, marker="o", color=COLOURS[curve], label=f"SPTF {curve}")
        row[1].set(xlabel="days of history", ylabel="NSE over all test sites")
        row[1].legend(frameon=False)
        if "importance" in more:
            table = more["importance"][more["importance"].world == world]
            mean = table.groupby(["input", "curve"], sort=False).ratio.mean().unstack()
            mean.plot.barh(ax=row[2], legend=False, color=COLOURS)
            row[2].axvline(1, color="k", lw=0.8)
        row[2].set(xlabel="error with the input permuted / without", ylabel="")
    fig.savefig(path, dpi=110)
    plt.close(fig)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("XSOIL_TEST_DATA"), help="folder of uscrn_2020.nc")
    parser.add_argument("--out", type=Path, default=Path("qi2026-output"))
    parser.add_argument("--parts", nargs="+", choices=("synthetic", "real"), default=["synthetic", "real"])
    parser.add_argument("--curves", nargs="+", choices=tuple(CURVES), default=list(CURVES))
    parser.add_argument("--truth", choices=tuple(CURVES), default="FXW", help="curve of the synthetic truth")
    parser.add_argument("--sites", type=int, default=300, help="synthetic sites")
    parser.add_argument("--lai", type=float, default=1.5, help="leaf area index of the stations")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--run-folds", type=int, default=0, help="only the first so many folds; 0: all")
    parser.add_argument("--evaluations", type=int, default=3000, help="runs of SCE-UA per test site; 0: no inversion")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--patience", type=int, default=12)
    parser.add_argument("--batch", type=int, default=32, help="sites of a mini-batch")
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--hidden", type=int, default=128, help="of the LSTM")
    parser.add_argument("--windows", type=int, default=10, help="random windows of each input length")
    parser.add_argument("--repeats", type=int, default=100, help="permutations of each input; 0: none")
    parser.add_argument("--surrogate", type=int, default=0, metavar="RUNS", help="learn a surrogate from so many runs")
    parser.add_argument("--surrogate-epochs", type=int, default=200)
    parser.add_argument("--surrogate-hidden", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    least = max(n * (2 * n + 1) for n in (len(TARGETS[curve]) for curve in options.curves))
    if 0 < options.evaluations < least:
        parser.error(f"--evaluations {options.evaluations}: expected 0, or {least} at least (SCE-UA's first points)")
    import matplotlib

    matplotlib.use("Agg")
    options.out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    groups = []
    if "synthetic" in options.parts:
        groups.append(synthetic_sites(options.sites, options.truth, options.seed))
    if "real" in options.parts and options.data is not None:
        groups.append(stations(options.data, options.lai))
    if not groups:
        parser.error("no data for the stations: give --data FOLDER, or set XSOIL_TEST_DATA")
    parts = [study(sites, options) for sites in groups]
    scores, table = (pd.concat([part[k] for part in parts]) for k in (0, 1))
    more = {name: pd.concat([part[2][name] for part in parts]) for name in parts[0][2]}
    by_range = ranges(scores)
    for name, frame in {"scores": scores, "table": table, "ranges": by_range, **more}.items():
        frame.to_csv(options.out / f"{name}.csv", index=False, float_format="%.5g")
    figure(scores, more, options.out / "qi2026.png")
    print(table.to_string(index=False, float_format="%.3f"))
    print("\nNSE over all test sites by days of history:")
    print(more["windows"].groupby(["world", "curve", "days"]).nse.mean().unstack().to_string(float_format="%.2f"))
    if "importance" in more:
        print("\nerror with one input permuted over the error without:")
        mean = more["importance"].groupby(["world", "curve", "input"], sort=False).ratio.mean().unstack()
        print(mean.to_string(float_format="%.2f"))
    print("\nmean RMSE by range of mean moisture [m3 m-3] and of rain [mm a-1]:")
    wide = by_range.pivot_table(index=["world", "by", "range"], columns=["curve", "way"], values="mean", sort=False)
    print(wide.to_string(float_format="%.3f"))
    if options.surrogate:
        for curve in options.curves:
            surrogate(groups[0], curve, options)
    names = ", ".join(sorted(path.name for path in options.out.iterdir()))
    print(f"\n{time.perf_counter() - start:.0f} s; wrote {options.out}/: {names}")


if __name__ == "__main__":
    main()
