"""LSTM for soil moisture on real SMAP pixels, trained on one year (Liu et al. 2023), beside hydroDL's own predictions.

    python examples/liu2023_multitask.py --data FOLDER [--out liu2023-output] [--seeds 0 1 2 3 4] [--stages ...]

Reads `conus_smap_nldas.nc` and `hydrodl_lstm_predictions.nc`; the stage `worlds` reads no data, and runs without
--data. Everything real is learned from 2015-04 .. 2016-03. Stages:

- select: candidates, trained on 85 percent of the pixels without the last 8 weeks of that year, and compared on these
  weeks and on the other pixels; the test year is not looked at;
- temporal: the chosen one, five seeds and their mean, on 2016-04 .. 2017-03, on the pixels and days of hydroDL's two
  stored models, with a paired bootstrap over pixels;
- spatial: five folds of pixels that the training does not see, and without statistics of their SMAP;
- region: the same with six regions, each left out in turn;
- stations: satellite and in-situ soil moisture as two tasks, at stations that the training does not see, and at
  towers of other networks (`liu2023_stations.py`, with `uscrn_2020.nc`, `walnut_gulch_flux.nc`, `bondville_1998.nc`);
- worlds: the two tasks in synthetic worlds whose truth is known (`liu2023_worlds.py`);
- intervals: how many observations of the test year lie within 50 and 90 percent intervals, whose widths come from
  the last 8 weeks of the training year;
- factors: a random forest of the pixels' attributes explains where R is low.

Results are written piece by piece to --out; what is there is not done again. Needs xsoil[learn].
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import liu2023_worlds as worlds
import numpy as np
import pandas as pd
import xarray as xr
from liu2023_pixels import CORRUPT, FLOOR, TARGET, TEST, TRAIN, derived, read, seen
from liu2023_stations import compare, differences, networks

import xsoil
from xsoil.evaluation import paired_bootstrap

STAGES = ("select", "temporal", "spatial", "region", "stations", "worlds", "intervals", "factors")
EARLY, LATE = (TRAIN[0], "2016-02-04"), ("2016-02-05", TRAIN[1])
ANCHOR = ("smap_mean", "smap_sd")
CHOSEN: dict[str, Any] = {
    "hidden": 64, "dropout": 0.1, "recurrent_dropout": 0.1, "loss": "cell_rmse", "days": 486, "spin_up": 0,
    "batch_cells": 32, "learning_rate": 0.004, "epochs": 60,
}  # fmt: skip
HYDRODL = {"hydroDL, RMSE loss": "lstm_rmse_ep100", "hydroDL, two targets": "lstm_multi_ep100"}


class Pixels:
    """The data with the names of its predictors."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ds, self.series, self.static = derived(read(folder))
        self.everywhere = self.ds.pixel != CORRUPT
        hydrodl = xr.open_dataset(folder / "hydrodl_lstm_predictions.nc").load()
        self.hydrodl = hydrodl.sel(pixel=self.ds.pixel)

    def model(
        self, ds: xr.Dataset, names: list[str], split: xsoil.Split, seed: int, *, validation: Any = 0, **options: Any
    ) -> xsoil.MoistureModel:
        """Trained on the split's cells and days."""
        return xsoil.fit_moisture_model(
            ds, kind="lstm", target=TARGET, predictors=names, categorical=["landcover_igbp", "special_surface_flag"],
            split=split, validation=validation, seed=seed, options=CHOSEN | options, progress=False,
        )  # fmt: skip

    def fit(self, ds: xr.Dataset, names: list[str], split: xsoil.Split, seed: int, **options: Any) -> xr.DataArray:
        """What such a model predicts, everywhere and on all days."""
        found = self.model(ds, names, split, seed, **options).predict(ds)
        return found[TARGET].clip(min=FLOOR).transpose("pixel", "time")


def kept(file: Path, make: Any) -> xr.DataArray:
    """A prediction from its file, or made and written."""
    if not file.exists():
        start = time.process_time()
        found = make().astype(np.float32)
        found.attrs = {"units": "m3 m-3", "seconds": time.process_time() - start}
        found.to_dataset(name=TARGET).to_netcdf(file.with_suffix(".part"))
        file.with_suffix(".part").replace(file)
        print(f"{file.stem}: {found.attrs['seconds']:.0f} s of processor time", flush=True)
    with xr.open_dataset(file) as ds:
        return ds[TARGET].load()


def scores(predicted: xr.DataArray, observed: xr.DataArray) -> pd.DataFrame:
    """rmse, ubrmse, bias, r of every pixel."""
    days = observed.time
    pair = predicted.sel(time=days).assign_attrs(units="m3 m-3").to_dataset(name=TARGET)
    found = xsoil.evaluate(pair, observed.rename("observed").to_dataset(), variable=(TARGET, "observed"))
    return found[["rmse", "ubrmse", "bias", "r", "n"]].to_dataframe()[["rmse", "ubrmse", "bias", "r", "n"]]


def select(data: Pixels, out: Path) -> pd.DataFrame:
    """Candidates on the last 8 weeks of the training year, and on 15 percent of the pixels."""
    cells = xsoil.Split.random_cells(data.ds[TARGET].isel(time=0), 0.15, seed=0, where=data.everywhere)
    split = cells & xsoil.Split.times(train=EARLY, test=LATE)
    ds, own = seen(data.ds, *EARLY)
    simple = [name for name in data.series if "_" not in name or not any(c.isdigit() for c in name)]
    simple += ["pet_fao56"]
    levels = [name for name in own if not name.startswith("smap_with")]
    candidates: dict[str, tuple[list[str], dict[str, Any]]] = {
        "weather and maps": ([*simple, *data.static], {}),
        "+ antecedent weather, simulated water": ([*data.series, *data.static], {}),
        "+ levels of SMAP, as anchor": ([*data.series, *data.static, *levels], {"anchor": ANCHOR}),
        "+ responses of SMAP": ([*data.series, *data.static, *own], {"anchor": ANCHOR}),
        "... with the paper's loss": ([*data.series, *data.static, *own], {"anchor": ANCHOR, "loss": "rmse"}),
        "... with dropout 0.3": (
            [*data.series, *data.static, *own], {"anchor": ANCHOR, "dropout": 0.3, "recurrent_dropout": 0.3},
        ),
    }  # fmt: skip
    rows = []
    for number, (name, (names, options)) in enumerate(candidates.items()):
        predicted = kept(out / f"select_{number}.nc", lambda n=names, o=options: data.fit(ds, n, split, 0, **o))
        for where, cells_of, days in (("last 8 weeks", split.train, LATE), ("other pixels", split.test, EARLY)):
            observed = ds[TARGET].where(cells_of).sel(time=slice(*days))
            found = scores(predicted, observed)
            medians = found[found.n >= 5].median()
            rows.append({"candidate": name, "on": where, **medians[["rmse", "ubrmse", "bias"]]})
    table = pd.DataFrame(rows).pivot(index="candidate", columns="on", values=["rmse", "ubrmse", "bias"])
    return table.loc[list(candidates)]


def temporal(data: Pixels, out: Path, seeds: list[int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of every pixel in the test year by model; differences to hydroDL's with their intervals."""
    ds, own = seen(data.ds, *TRAIN)
    names = [*data.series, *data.static, *own]
    split = xsoil.Split.cells(data.everywhere, ~data.everywhere) & xsoil.Split.times(train=TRAIN, test=TEST)
    observed = data.hydrodl.soil_moisture.transpose("pixel", "time")
    runs = {
        f"xsoil, seed {seed}": kept(
            out / f"temporal_seed{seed}.nc", lambda s=seed: data.fit(ds, names, split, s, anchor=ANCHOR)
        )
        for seed in seeds
    }
    runs[f"xsoil, mean of {len(seeds)} seeds"] = xr.concat(list(runs.values()), "seed").mean("seed")
    runs |= {name: data.hydrodl[variable].transpose("pixel", "time") for name, variable in HYDRODL.items()}
    runs["mean of the training year"] = xr.zeros_like(observed) + ds.smap_mean
    table = pd.concat({name: scores(run, observed) for name, run in runs.items()}, names=["model"])
    rows = []
    median_seed = table.loc[[f"xsoil, seed {s}" for s in seeds]].groupby("model").rmse.median().sort_values()
    typical = median_seed.index[(len(seeds) - 1) // 2]
    for ours in (f"xsoil, mean of {len(seeds)} seeds", typical):
        for theirs in HYDRODL:
            for metric in ("rmse", "ubrmse", "r"):
                pair = (table.loc[name][metric].to_numpy() for name in (ours, theirs))
                found = paired_bootstrap(*pair)
                rows.append(
                    {"ours": ours, "theirs": theirs, "metric": metric}
                    | {n: float(found[n]) for n in ("a", "b", "difference", "low", "high", "p_value")}
                )
    return table, pd.DataFrame(rows)


def regions(ds: xr.Dataset) -> xr.DataArray:
    """Six: three bands of longitude, of which each has a northern and a southern half."""
    band = np.searchsorted(np.quantile(ds.lon, [1 / 3, 2 / 3]), ds.lon)
    half = np.array([ds.lat.values[i] > np.median(ds.lat.values[band == band[i]]) for i in range(ds.sizes["pixel"])])
    return ds.lat.copy(data=2 * band + half).rename("region")


def spatial(data: Pixels, out: Path, what: str) -> pd.DataFrame:
    """Scores of every pixel that was left out, in the training year and in the year after it."""
    where = data.everywhere
    like = data.ds[TARGET].isel(time=0, drop=True)
    if what == "spatial":
        folds = xsoil.Split.folds(like, 5, seed=0, where=where)
    else:
        folds = xsoil.Split.folds(like, None, by=regions(data.ds), where=where)
    names = [*data.series, *data.static]
    parts = []
    for number, fold in enumerate(folds):
        split = fold & xsoil.Split.times(train=TRAIN, test=TEST)
        predicted = kept(
            out / f"{what}_{number}.nc",
            lambda s=split: data.fit(data.ds, names, s, 0, epochs=20, dropout=0.3, recurrent_dropout=0.3),
        )
        parts.append(predicted.where(fold.test))
    joined = parts[0]
    for part in parts[1:]:
        joined = joined.fillna(part)
    found = {}
    for name, days in (("training year", TRAIN), ("test year", TEST)):
        found[name] = scores(joined, data.ds[TARGET].where(where).sel(time=slice(*days)))
    return pd.concat(found, names=["year"])


def intervals(data: Pixels, out: Path) -> pd.DataFrame:
    """Shares of the observations of the test year within the intervals of one seed, and their mean width."""
    ds, own = seen(data.ds, *EARLY)
    names = [*data.series, *data.static, *own]
    split = xsoil.Split.cells(data.everywhere, ~data.everywhere) & xsoil.Split.times(train=TRAIN, test=TEST)
    observed = data.hydrodl.soil_moisture.transpose("pixel", "time")
    rows = []
    for way, options in (
        ("dropped weights (20 networks)", {"mc_members": 20}), ("Gaussian loss", {"loss": "gaussian"}),
    ):  # fmt: skip
        file = out / f"intervals_{options.get('loss', 'mc')}.nc"
        if not file.exists():
            data.model(ds, names, split, 0, validation="56D", anchor=ANCHOR, **options).predict(
                ds.sel(time=slice(None, TEST[1]))
            ).to_netcdf(file)
        found = xr.open_dataset(file).transpose("pixel", "time").sel(time=observed.time)
        z = np.abs((observed - found[TARGET]) / found[f"{TARGET}_std"])
        there = z.notnull()
        row = {"intervals": way, "rmse": float(np.sqrt(((observed - found[TARGET]) ** 2).mean("time")).median())}
        for share, width in ((50, 0.6745), (90, 1.6449)):
            row[f"within {share} %"] = float((z < width).sum() / there.sum())
        rows.append(row | {"mean deviation": float(found[f"{TARGET}_std"].where(there).mean())})
    return pd.DataFrame(rows).set_index("intervals")


def factors(data: Pixels, r: pd.Series) -> tuple[pd.DataFrame, float]:
    """Importance of attributes for R at pixels that were left out, and R^2 out of the bag."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    ds, _ = seen(data.ds, *TRAIN)
    table = ds[[*data.static, "smap_mean", "smap_sd"]].to_dataframe()[[*data.static, "smap_mean", "smap_sd"]]
    there = r.dropna().index
    x, y = table.loc[there], r.loc[there]
    forest = RandomForestRegressor(500, min_samples_leaf=3, max_features=0.4, oob_score=True, random_state=0)
    forest.fit(x, y)
    permuted = permutation_importance(forest, x, y, n_repeats=20, random_state=0)
    found = pd.DataFrame(
        {
            "impurity": forest.feature_importances_, "permutation": permuted.importances_mean,
            "rank correlation": x.corrwith(y, method="spearman"),
        },
        index=x.columns,
    )  # fmt: skip
    return found.sort_values("permutation", ascending=False), float(forest.oob_score_)


def medians(table: pd.DataFrame, by: str) -> pd.DataFrame:
    """Medians over pixels."""
    return table[table.n >= 30].groupby(by, sort=False)[["rmse", "ubrmse", "bias", "r"]].median()


def draw(data: Pixels, table: pd.DataFrame, path: Path) -> None:
    """RMSE of every pixel beside hydroDL's, on a map and against each other; and the pixel of median RMSE."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    ours = next(name for name in table.index.unique("model") if name.startswith("xsoil, mean of"))
    theirs = "hydroDL, two targets"
    a, b = table.loc[ours].rmse, table.loc[theirs].rmse
    fig = plt.figure(figsize=(11, 6.8), layout="constrained")
    grid = fig.add_gridspec(2, 2, height_ratios=(1.25, 1), width_ratios=(1.5, 1))
    ax = fig.add_subplot(grid[0, 0])
    at = data.ds.sel(pixel=a.index)
    points = ax.scatter(at.lon, at.lat, c=a - b, s=34, marker="s", cmap="RdBu_r", vmin=-0.015, vmax=0.015)
    fig.colorbar(points, ax=ax, label="difference of RMSE [m3 m-3]", shrink=0.9)
    ax.set(xlabel="longitude", ylabel="latitude", aspect=1.25)
    ax = fig.add_subplot(grid[0, 1])
    ax.plot(b, a, ".", ms=4, color="0.35")
    ax.plot([0, 0.1], [0, 0.1], color="C3", lw=1)
    ax.set(
        xlabel="RMSE of hydroDL, two targets", ylabel="RMSE of xsoil, mean of the seeds", xlim=(0, 0.1), ylim=(0, 0.1)
    )
    pixel = (a - a.median()).abs().idxmin()
    ax = fig.add_subplot(grid[1, :])
    runs = [xr.open_dataset(file)[TARGET] for file in sorted(path.parent.glob("temporal_seed*.nc"))]
    mean = xr.concat(runs, "seed").mean("seed").sel(pixel=pixel, time=slice(*TEST))
    ax.plot(mean.time, mean, lw=1, label="xsoil")
    ax.plot(data.hydrodl.time, data.hydrodl[HYDRODL[theirs]].sel(pixel=pixel), lw=1, label=theirs)
    ax.plot(data.hydrodl.time, data.hydrodl.soil_moisture.sel(pixel=pixel), "k.", ms=3, label="SMAP")
    ax.set(title=f"pixel {pixel} (our median RMSE)", ylabel="soil moisture [m3 m-3]")
    ax.legend(frameon=False, ncols=3)
    fig.savefig(path, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("XSOIL_TEST_DATA"), help="folder")
    parser.add_argument("--out", type=Path, default=Path("liu2023-output"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--epochs", type=int, help="instead of the chosen number, for a quick look")
    parser.add_argument("--worlds", type=int, nargs="+", default=[0, 1, 2], help="seeds of the synthetic worlds")
    parser.add_argument("--cells", type=int, nargs=2, default=[10, 36], help="rows and columns of 36 km in a world")
    parser.add_argument("--sites", type=int, default=300, help="stations in a world")
    parser.add_argument("--updates", type=int, help="of the networks of two tasks, for a quick look")
    options = parser.parse_args()
    if options.stages != ["worlds"]:
        if options.data is None:
            parser.error("no data: give --data FOLDER, or set XSOIL_TEST_DATA")
        for name in ("conus_smap_nldas.nc", "hydrodl_lstm_predictions.nc"):
            if not (options.data / name).exists():
                parser.error(f"no file {options.data / name}; --data takes the folder that holds it")
    options.out.mkdir(parents=True, exist_ok=True)
    if "worlds" in options.stages:
        table = worlds.compare(
            options.out, options.worlds, [0], cells=options.cells, sites=options.sites,
            updates=options.updates or worlds.UPDATES,
        )  # fmt: skip
        table.to_csv(options.out / "worlds.csv", float_format="%.5f")
        worlds.spread(table).to_csv(options.out / "worlds_table.csv", float_format="%.5f")
        worlds.differences(table).to_csv(options.out / "worlds_differences.csv", index=False, float_format="%.5f")
        print(f"\nworlds whose truth is known:\n{worlds.spread(table).to_string(float_format='%.4f')}", flush=True)
    if options.stages != ["worlds"]:
        real(options)


def real(options: argparse.Namespace) -> None:
    """The stages that read data."""
    if options.epochs:
        CHOSEN["epochs"] = options.epochs
    data = Pixels(options.data)
    print(f"{data.ds.sizes['pixel']} pixels, {len(data.series)} series and {len(data.static)} attributes", flush=True)
    if "select" in options.stages:
        table = select(data, options.out)
        table.to_csv(options.out / "select.csv", float_format="%.5f")
        print(f"\ninside the training year, medians over pixels:\n{table.to_string(float_format='%.4f')}", flush=True)
    if "temporal" in options.stages:
        table, against = temporal(data, options.out, options.seeds)
        table.to_csv(options.out / "temporal.csv", float_format="%.5f")
        against.to_csv(options.out / "differences.csv", index=False, float_format="%.5f")
        draw(data, table, options.out / "temporal.png")
        print(f"\n{TEST[0]} .. {TEST[1]}, medians over {data.ds.sizes['pixel']} pixels:")
        print(medians(table, "model").to_string(float_format="%.4f"))
        print(f"\nours less theirs, 95 percent by a paired bootstrap over pixels:\n{against.to_string(index=False)}")
    for what in ("spatial", "region"):
        if what in options.stages:
            table = spatial(data, options.out, what)
            table.to_csv(options.out / f"{what}.csv", float_format="%.5f")
            print(f"\n{what}: pixels that the training did not see, medians:", flush=True)
            print(medians(table, "year").to_string(float_format="%.4f"))
    if "stations" in options.stages:
        quick = {"updates": options.updates} if options.updates else {}
        table = compare(options.data, options.out, **quick)
        table.to_csv(options.out / "stations.csv", float_format="%.5f")
        print(f"\nstations that the training did not see ({table.index.nunique()}), medians:")
        print(medians(table, "way").to_string(float_format="%.4f"))
        against = differences(table)
        against.to_csv(options.out / "stations_differences.csv", index=False, float_format="%.5f")
        print(against.to_string(index=False, float_format="%.4f"), flush=True)
        towers = networks(options.data, options.out, **quick).groupby(["place", "way"], sort=False)
        table = towers.mean().drop(columns="seed")
        print(f"\ntowers of other networks, means over seeds:\n{table.to_string(float_format='%.4f')}", flush=True)
    if "intervals" in options.stages:
        table = intervals(data, options.out)
        table.to_csv(options.out / "intervals.csv", float_format="%.5f")
        print(f"\nintervals, test year:\n{table.to_string(float_format='%.3f')}", flush=True)
    if "factors" in options.stages and (options.out / "spatial.csv").exists():
        r = pd.read_csv(options.out / "spatial.csv", index_col=["year", "pixel"]).loc["training year"].r
        table, share = factors(data, r)
        table.to_csv(options.out / "factors.csv", float_format="%.5f")
        print(f"\nwhat explains R at such pixels (forest, R^2 out of the bag {share:.2f}):")
        print(table.head(8).to_string(float_format="%.3f"))


if __name__ == "__main__":
    main()
