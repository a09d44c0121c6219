"""Tables and the figure of `qi2026_sptf.py`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from qi2026_sites import TARGETS, Sites, moisture

WAYS = ("inverse", "SPTF", "SPTF, surrogate", "conventional PTF", "mean")
COLOURS = {"VGM": "C0", "FXW": "C1"}
MOISTURE, RAIN = (0.0, 0.1, 0.2, 0.3, 1.0), (0.0, 200.0, 400.0, 800.0, 5000.0)
DRAWS = 2000  # of the bootstrap over sites
PAIRS = (("inverse", "SPTF"), ("SPTF", "SPTF, surrogate"), ("SPTF", "conventional PTF"), ("SPTF", "mean"))


def squares(run: xr.DataArray, sites: Sites) -> pd.DataFrame:
    """Of each site the squared errors and days that are compared, its mean target and the squares about it."""
    target = sites.target.transpose("time", "site").values.astype(float)
    error = run.transpose("time", "site").values - target
    there = np.isfinite(error)
    count = there.sum(axis=0)
    seen = np.where(there, target, 0.0)
    mean = seen.sum(axis=0) / np.maximum(count, 1)
    about = (np.where(there, target - mean, 0.0) ** 2).sum(axis=0)
    error = np.where(there, error, 0.0)
    return pd.DataFrame(
        {
            "site": sites.soil.site.values, "n": count, "error": (error**2).sum(axis=0), "moisture": mean,
            "about": about, "sum": seen.sum(axis=0), "square": (seen**2).sum(axis=0),
            "rain": sites.weather.precipitation.transpose("time", "site").values.mean(axis=0) * 365,
        }
    )  # fmt: skip


def sites_of(world: Mapping[str, Any]) -> pd.DataFrame:
    """A row for each curve, way and test site."""
    rows = []
    for curve, ways in world["parameters"].items():
        for way, parts in ways.items():
            for part, test in zip(parts, world["tests"], strict=True):
                run = moisture(part, test.forcing, curve).sel(time=test.future)
                rows.append(squares(run, test).assign(curve=curve, way=way))
        for test in world["tests"]:
            before = test.observed.sel(time=test.past).mean("time") + 0 * test.target.fillna(0)
            rows.append(squares(before, test).assign(curve=curve, way="mean"))
    found = pd.concat(rows, ignore_index=True)
    compared = found.n > 0
    found["rmse"] = (found.error / found.n).where(compared) ** 0.5
    found["nse"] = (1 - found.error / found.about).where(compared)
    return found.assign(world=world["sites"].name)


def of_all(frame: pd.DataFrame) -> tuple[float, float]:
    """NSE and RMSE over all sites and days together, as the paper has them."""
    n, error = frame.n.sum(), frame.error.sum()
    return 1 - error / (frame.square.sum() - frame["sum"].sum() ** 2 / n), (error / n) ** 0.5


def table_of(scores: pd.DataFrame, world: Mapping[str, Any]) -> pd.DataFrame:
    rows = []
    for curve, ways in world["parameters"].items():
        for way in WAYS:
            own = scores[(scores.curve == curve) & (scores.way == way)]
            if own.empty:
                continue
            parts = ways.get(way, [])
            nse, rmse = of_all(own)
            rows.append(
                {
                    "world": world["sites"].name, "curve": curve, "way": way, "sites": len(own),
                    "failed": int(own.nse.isna().sum()), "median NSE": own.nse.median(),
                    "median RMSE": own.rmse.median(), "NSE of all": nse, "RMSE of all": rmse,
                    "seconds of CPU": sum(part.attrs.get("seconds", 0.0) for part in parts),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def differences(scores: pd.DataFrame) -> pd.DataFrame:
    """By how much the RMSE of all is less with the first way of a pair than with the second; bootstrap over sites."""
    rng, rows = np.random.default_rng(0), []
    for (world, curve), own in scores.groupby(["world", "curve"], sort=False):
        for first, second in PAIRS:
            one, two = (own[own.way == way].set_index("site") for way in (first, second))
            if one.empty or two.empty:
                continue
            two = two.loc[one.index]
            draws = rng.integers(0, len(one), (DRAWS, len(one)))
            means = [(p.error.values[draws].sum(axis=1) / p.n.values[draws].sum(axis=1)) ** 0.5 for p in (one, two)]
            low, high = np.percentile(means[1] - means[0], [2.5, 97.5])
            rows.append(
                {
                    "world": world, "curve": curve, "first": first, "second": second,
                    "less by": of_all(two)[1] - of_all(one)[1], "low": low, "high": high,
                    "better at": (one.rmse.values < two.rmse.values).mean(),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def recovery(world: Mapping[str, Any], truth: str) -> pd.DataFrame:
    """Rank correlation of the parameters with the true ones over test sites, for the curve of the truth."""
    if world["sites"].truth is None or truth not in world["parameters"]:
        return pd.DataFrame()
    rows = []
    for way, parts in world["parameters"][truth].items():
        row: dict[str, Any] = {"way": way}
        for name in TARGETS[truth]:
            pairs = [(part[name].values, test.truth[name].values) for part, test in zip(parts, world["tests"])]
            one, two = (pd.Series(np.concatenate(values)) for values in zip(*pairs))
            row[name] = one.corr(two, method="spearman") if one.nunique() > 1 else np.nan
        rows.append(row)
    return pd.DataFrame(rows)


def seeds_of(world: Mapping[str, Any]) -> pd.DataFrame:
    """NSE and RMSE of all with networks of other seeds: their first weights, batches and validation sites."""
    runs = list(world["seeds"])
    if not runs:
        return pd.DataFrame()
    (test,) = world["tests"]
    for curve, ways in world["parameters"].items():
        runs += [(curve, way, 0, ways[way][0]) for way in WAYS if way.startswith("SPTF") and way in ways]
    rows = []
    for curve, way, seed, parameters in runs:
        run = moisture(parameters, test.forcing, curve).sel(time=test.future)
        nse, rmse = of_all(squares(run, test))
        rows.append({"curve": curve, "way": way, "seed": seed, "NSE of all": nse, "RMSE of all": rmse})
    return pd.DataFrame(rows).sort_values(["curve", "way", "seed"])


def ranges(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean RMSE by range of moisture and of rain."""
    found = []
    for name, edges in (("moisture", MOISTURE), ("rain", RAIN)):
        bins = pd.cut(scores[name], list(edges), right=False).astype(str).rename("range")
        mean = scores.groupby(["world", "curve", bins, "way"], sort=False).rmse.agg(["mean", "size"]).reset_index()
        found.append(mean.assign(by=name))
    return pd.concat(found)


def figure(scores: pd.DataFrame, more: Mapping[str, pd.DataFrame], path: Path) -> None:
    """A row for each set of sites: RMSE by way and curve, NSE by length of the input, importance of the inputs."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    worlds = list(dict.fromkeys(scores.world))
    fig, axes = plt.subplots(len(worlds), 3, figsize=(13, 3.8 * len(worlds)), layout="constrained", squeeze=False)
    for row, world in zip(axes, worlds, strict=True):
        own = scores[scores.world == world]
        boxes = [(way, curve, own[(own.way == way) & (own.curve == curve)]) for way in WAYS for curve in COLOURS]
        boxes = [(way, curve, frame) for way, curve, frame in boxes if len(frame)]
        row[0].boxplot([frame.rmse.dropna() for *_, frame in boxes], showfliers=False)
        row[0].set_xticks(
            range(1, len(boxes) + 1), [f"{way} {curve}" for way, curve, _ in boxes], rotation=90, fontsize=8
        )
        row[0].set(title=world, ylabel="RMSE per site [m$^3$ m$^{-3}$]")
        for name, axis in zip(("windows", "importance"), row[1:], strict=True):
            if name not in more or not (more[name].world == world).any():
                axis.set_axis_off()
                continue
            table = more[name][more[name].world == world]
            if name == "importance":
                mean = table.groupby(["input", "curve"], sort=False).ratio.mean().unstack()
                mean.plot.barh(ax=axis, legend=False, color=COLOURS)
                axis.axvline(1, color="k", lw=0.8)
                axis.set(xlabel="error with the input permuted / without", ylabel="")
                continue
            for curve, frame in table.groupby("curve"):
                by_days = frame.groupby("days").nse.agg(["mean", "min", "max"])
                axis.plot(by_days.index, by_days["mean"], marker="o", color=COLOURS[curve], label=f"SPTF {curve}")
                axis.fill_between(by_days.index, by_days["min"], by_days["max"], color=COLOURS[curve], alpha=0.2, lw=0)
            axis.set(xlabel="days of history", ylabel="NSE over all test sites")
            axis.legend(frameon=False)
    fig.savefig(path, dpi=100)
    plt.close(fig)


def report(worlds: list[Mapping[str, Any]], folder: Path, truth: str) -> dict[str, pd.DataFrame]:
    """Write all tables to `folder` as CSV, with the figure, and print them."""
    scored = [sites_of(world) for world in worlds]
    scores = pd.concat(scored, ignore_index=True)
    tables = {"table": pd.concat([table_of(own, world) for own, world in zip(scored, worlds, strict=True)])}
    tables["differences"] = differences(scores)
    tables["ranges"] = ranges(scores)
    tables["recovery"] = pd.concat([recovery(world, truth) for world in worlds])
    tables["surrogates"] = pd.DataFrame([row for world in worlds for row in world["surrogates"]])
    tables["seeds"] = pd.concat([seeds_of(world) for world in worlds])
    for name in ("windows", "importance"):
        parts = [part for world in worlds for part in world[name]]
        if parts:
            tables[name] = pd.concat(parts)
    for name, frame in {"scores": scores, **tables}.items():
        if len(frame):
            frame.to_csv(folder / f"{name}.csv", index=False, float_format="%.5g")
    figure(scores, tables, folder / "qi2026.png")
    for name in ("table", "differences", "recovery", "surrogates", "seeds"):
        if len(tables[name]):
            print(f"\n{name}:\n{tables[name].to_string(index=False, float_format='%.3g')}")
    keys = {"windows": ("days", "nse"), "importance": ("input", "ratio")}
    for name, (by, what) in keys.items():
        if name in tables:
            mean = tables[name].groupby(["world", "curve", by], sort=False)[what].mean().unstack()
            print(f"\n{name}, mean {what}:\n{mean.to_string(float_format='%.2f')}")
    wide = tables["ranges"].pivot_table(
        index=["world", "by", "range"], columns=["curve", "way"], values="mean", sort=False
    )
    print("\nmean RMSE by range of mean moisture [m3 m-3] and of rain [mm a-1]:")
    print(wide.to_string(float_format="%.3f"))
    return tables
