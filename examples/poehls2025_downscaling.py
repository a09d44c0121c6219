"""Downscaling soil moisture with small ensembles, in worlds whose truth is known (Poehls et al. 2025).

    python examples/poehls2025_downscaling.py [--out poehls2025-output] [--seeds 0 1 2] [--cells 6 32] [--sites 300]

Truth: soil moisture of the top 10 cm of every 1 km cell of 2015, simulated from synthetic soil maps (Saxton-Rawls) and
weather. The satellite sees its exact mean over EASE-Grid cells of 36 km, with noise of 0.04 m3 m-3, every third day;
stations stand in some cells and have noise of 0.02 m3 m-3. Four kinds of models learn at 80 percent of the stations
(of each texture class) what the satellite and eight covariates say of them, and are tested at the others. Each has a
member for each static variable whose classes are made to count alike, and one without; the forests one for each
texture class.

A model that is done stays done: a run that was stopped goes on. Writes scores.csv (each unseen station and product),
table.csv, intervals.csv, head_to_head.csv, folds.csv, importance.csv, map.csv, failed.csv, sites.png and map.png.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from odc.geo.geobox import GeoBox

import xsoil

MIDDLE = (-104.0, 38.0)
YEAR, WARMUP = ("2014-10-01", "2015-12-31"), 92
SATELLITE_NOISE, SITE_NOISE, EVERY = 0.04, 0.02, 3
COLUMN = {"root_depth": 0.1, "depletion_fraction": 0.5, "crop_coefficient": 0.9}
WEATHER = ("precipitation", "pet", "air_temperature", "lai")
PREDICTORS = ["smap", "lai", "lst", "precipitation", "pet", "sand", "clay", "ph", "organic_carbon"]
STATIC = ["texture_class", "climate_class", "sand", "clay", "ph"]
COARSE_COLUMNS = 8
"""Columns of the satellite's grid that are simulated at a time."""

KINDS: dict[str, dict[str, Any]] = {
    "dense": {"weights": [None, *STATIC]},
    "prob": {"weights": [None, *STATIC]},
    "wide_deep": {"weights": [None, *STATIC], "predictors": [*PREDICTORS, "texture_class", "climate_class"]},
    "random_forest": {"weights": "texture_class", "ensemble": "per_class"},
}
OPTIONS: dict[str, dict[str, Any]] = {
    "dense": {"epochs": 20, "batch_rows": 2048, "schedule": "one_cycle", "learning_rate": 0.03},
    "prob": {"epochs": 20, "batch_rows": 2048, "schedule": "one_cycle", "learning_rate": 0.03},
    "wide_deep": {"epochs": 10, "batch_rows": 2048, "schedule": "one_cycle", "learning_rate": 0.006},
    "random_forest": {"trees": 100, "min_samples_leaf": 5, "max_samples": 0.25},
}
METRICS = ("ubrmse", "r", "bias")


def grids(cells: tuple[int, int]) -> tuple[GeoBox, GeoBox]:
    """The satellite's grid of 36 km, and the cells of 1 km nested in it."""
    near = xsoil.ease_grid("EASE2_M36km", (*MIDDLE, MIDDLE[0] + 0.1, MIDDLE[1] + 0.1))
    rows, columns = cells
    top, left = (at - n // 2 for at, n in zip(xsoil.ease_rowcol(near), cells, strict=True))
    coarse = xsoil.ease_grid("EASE2_M36km")[top : top + rows, left : left + columns]
    fine = xsoil.ease_grid("EASE2_M01km")[36 * top : 36 * (top + rows), 36 * left : 36 * (left + columns)]
    return coarse, fine


def climate_class(rain: xr.DataArray, demand: xr.DataArray, temperature: xr.DataArray) -> xr.DataArray:
    """Dry, moderate or humid (P / PET), cold or warm: classes 1 to 6."""
    humid = rain / demand
    code = 1 + (humid > 0.65).astype(np.int8) + (humid > 1.2).astype(np.int8) + 3 * (temperature > 285).astype(np.int8)
    return code.astype(np.int8).assign_attrs(flag_values=np.arange(1, 7, dtype=np.int8))


def world(seed: int, cells: tuple[int, int], sites: int) -> tuple[xr.Dataset, xr.Dataset, xr.DataArray]:
    """Samples (site, time); for a map of one day all fields of the first columns, and what the satellite sees there."""
    coarse, fine = grids(cells)
    rng = np.random.default_rng([seed, 2025])
    chosen = np.sort(rng.choice(fine.shape[0] * fine.shape[1], sites, replace=False))
    row, column = np.unravel_index(chosen, fine.shape)
    parts, satellite, window = [], [], xr.Dataset()
    for first in range(0, cells[1], COARSE_COLUMNS):
        last = min(first + COARSE_COLUMNS, cells[1])
        box, wide = fine[:, 36 * first : 36 * last], coarse[:, first:last]
        soil = xsoil.data.synthetic_soil(box, seed).compute().drop_vars("topsoil")
        forcing = xsoil.data.synthetic_forcing(box, YEAR, seed, variables=WEATHER).compute()
        run = soil.soil.ptf("saxton_rawls2006").soil.simulate(
            forcing[["precipitation", "pet"]], warmup=WARMUP, **COLUMN
        )
        satellite.append(run[["theta"]].soil.upscale(wide, "mean").theta)
        forcing = forcing.isel(time=slice(WARMUP, None))
        fields = soil[["sand", "clay", "ph", "organic_carbon"]].assign(texture_class=soil.soil.texture_class())
        means = forcing.mean("time")
        fields["climate_class"] = climate_class(means.precipitation, means.pet, means.air_temperature)
        fields = fields.assign(forcing.data_vars).assign(theta=run.theta.variable)
        at = (column >= 36 * first) & (column < 36 * last)
        place = {"y": xr.DataArray(row[at], dims="site"), "x": xr.DataArray(column[at] - 36 * first, dims="site")}
        parts.append(fields.isel(place).drop_vars(["x", "y", "spatial_ref"]).assign_coords(site=np.flatnonzero(at)))
        if first == 0:
            window = fields.isel(time=len(forcing.time) // 2 // EVERY * EVERY).drop_vars("time")
    seen = xr.concat(satellite, "x")
    noisy = seen + rng.normal(0, SATELLITE_NOISE, seen.shape).astype(np.float32)
    noisy = noisy.where(xr.DataArray(np.arange(seen.sizes["time"]) % EVERY == 0, dims="time"))
    samples = xr.concat(parts, "site", data_vars="minimal", coords="minimal", compat="override").transpose(
        "site", "time"
    )
    over = {"y": xr.DataArray(row // 36, dims="site"), "x": xr.DataArray(column // 36, dims="site")}
    samples["smap"] = (("site", "time"), noisy.isel(over).transpose("site", "time").to_numpy(), {"units": "m3 m-3"})
    samples["lst"] = composites(samples.air_temperature, rng)
    noise = rng.normal(0, SITE_NOISE, samples.theta.shape).astype(np.float32)
    samples["soil_moisture"] = (samples.theta + noise).where(samples.smap.notnull()).assign_attrs(units="m3 m-3")
    window = window.assign(lst=window.air_temperature)
    field = noisy.isel(x=slice(0, COARSE_COLUMNS), time=seen.sizes["time"] // 2 // EVERY * EVERY).drop_vars("time")
    return samples.drop_vars("air_temperature"), window, field.assign_attrs(units="m3 m-3").rename("smap")


def composites(temperature: xr.DataArray, rng: np.random.Generator) -> xr.DataArray:
    """Means of eight days with gaps by clouds, carried forward for seven days (Poehls et al., section 3.2)."""
    eight = temperature.rolling(time=8, min_periods=1).mean()
    given = xr.DataArray(np.arange(temperature.sizes["time"]) % 8 == 7, dims="time")
    clear = xr.DataArray(rng.random(temperature.shape) > 0.2, dims=temperature.dims)
    return eight.where(given & clear).ffill("time", limit=7).assign_attrs(units="K")


def site_scores(predicted: xr.DataArray, samples: xr.Dataset) -> xr.Dataset:
    """ubRMSE, R and bias of every site, on the days of the satellite."""
    simulated = predicted.transpose("site", "time").to_dataset(name="theta")
    return xsoil.evaluate(simulated, samples[["soil_moisture"]])[list(METRICS)]


def fit(kind: str, samples: xr.Dataset, split: xsoil.Split, **changes: Any) -> xsoil.MoistureModel:
    """A model of the kind with the example's options."""
    arguments = {"predictors": PREDICTORS, "options": OPTIONS[kind]} | KINDS[kind] | changes
    return xsoil.fit_moisture_model(samples, kind=kind, split=split, progress=False, **arguments)


def joined(tables: dict[str, xr.Dataset], dim: str) -> xr.Dataset:
    """Tables on a new dim with their names."""
    names = pd.Index(list(tables), name=dim)
    return xr.concat(list(tables.values()), names, coords="minimal", compat="override", join="outer")


def scores_of(seed: int, samples: xr.Dataset, split: xsoil.Split, out: Path) -> tuple[xr.Dataset, dict[str, Any]]:
    """Scores of all sites of a world on `product`: the satellite, the ensembles and their members; and the models."""
    tables = {"satellite": site_scores(samples.smap, samples)}
    models = {}
    for kind in KINDS:
        file, folder = out / f"{kind}-{seed}.nc", out / f"{kind}-{seed}"
        if not file.exists():
            start = time.process_time()
            model = fit(kind, samples, split)
            spent = time.process_time() - start
            model.save(folder)
            found = model.predict(samples, members=True)
            own = {kind: site_scores(found.soil_moisture, samples)}
            for name in map(str, found.member.values):
                own[f"{kind}: {name}"] = site_scores(found.soil_moisture_members.sel(member=name, drop=True), samples)
            table = joined(own, "product")
            tested = (samples.soil_moisture, found.soil_moisture.transpose("site", "time"))
            if "soil_moisture_std" in found:
                std = found.soil_moisture_std.transpose("site", "time")
                inside = xsoil.evaluation.interval_coverage(
                    *(array.where(split.test) for array in (*tested, std)), levels=(0.5, 0.9)
                )
                crps = xsoil.evaluation.crps_gaussian(*(array.where(split.test) for array in (*tested, std)))
                table.attrs = {"crps": float(crps.mean()), "coverage": np.ravel(inside.coverage).tolist()}
            table.attrs["seconds"] = spent
            table.to_netcdf(file)
            print(f"world {seed}: {model} in {spent:.0f} s of processor time", flush=True)
        with xr.open_dataset(file) as stored:
            table = stored.load()
        tables |= {name: table.sel(product=name, drop=True) for name in map(str, table["product"].values)}
        models[kind] = (xsoil.load_model(folder), table.attrs)
    return joined(tables, "product"), models


def folds(samples: xr.Dataset, seed: int, number: int) -> xr.Dataset:
    """Every site scored by models that did not see it: folds that divide each texture class."""
    tables: dict[str, xr.Dataset] = {"satellite": site_scores(samples.smap, samples)}
    parts: dict[str, list[xr.Dataset]] = {kind: [] for kind in KINDS}
    for split in xsoil.Split.folds(samples.sand, number, seed, stratify=samples.texture_class):
        for kind in KINDS:
            model = fit(kind, samples, split, **({} if kind == "random_forest" else {"weights": None}))
            parts[kind].append(site_scores(model.predict(samples).soil_moisture, samples).where(split.test, drop=True))
    tables |= {kind: xr.concat(own, "site").sortby("site") for kind, own in parts.items()}
    return joined(tables, "product")


def importance(model: xsoil.MoistureModel, samples: xr.Dataset, split: xsoil.Split) -> pd.DataFrame:
    """Loss of skill at the unseen sites with a predictor shuffled, and with a model trained without it."""
    seen = samples.isel(site=np.flatnonzero(split.test))
    shuffled = xsoil.evaluation.permutation_importance(model.predict, seen, "soil_moisture", PREDICTORS, repeats=5)
    without = xsoil.evaluation.drop_one_importance(
        lambda names: fit("dense", samples, split, predictors=list(names), weights=None).predict,
        seen, "soil_moisture", PREDICTORS,
    )  # fmt: skip
    table = {"shuffled": shuffled.importance, "std": shuffled.importance_std, "left out": without.importance}
    return xr.Dataset(table).to_dataframe().sort_values("shuffled", ascending=False)


def fine_map(model: xsoil.MoistureModel, window: xr.Dataset, seen: xr.DataArray) -> tuple[pd.DataFrame, xr.Dataset]:
    """The field of one day at 1 km, as it is and with the satellite's cells conserved, beside the truth."""
    covariates = window.drop_vars(["theta", "air_temperature"], errors="ignore")
    coarse = seen.to_dataset()
    fine = {
        "satellite": coarse.soil.downscale(window, "nearest").smap,
        "model": coarse.soil.downscale(window, model, covariates=covariates).soil_moisture,
        "conserved": coarse.soil.downscale(window, model, covariates=covariates, conserve=True).soil_moisture,
    }
    rows = {}
    for name, field in fine.items():
        error = field.to_numpy() - window.theta.to_numpy()
        back = field.rename("theta").to_dataset().soil.upscale(coarse, "mean").theta
        both = np.corrcoef(field.to_numpy().ravel(), window.theta.to_numpy().ravel())
        rmse, off = float(np.sqrt((error**2).mean())), float(abs(back - seen).max())
        rows[name] = {"rmse": rmse, "r": float(both[0, 1]), "off the satellite": off}
    return pd.DataFrame(rows).T, xr.Dataset(fine).assign(truth=window.theta.variable)


def spread(scores: list[xr.Dataset]) -> pd.DataFrame:
    """Mean over the sites, then mean and deviation over the worlds."""
    means = [one.assign(bias_size=abs(one.bias)).mean("site").to_dataframe() for one in scores]
    stacked = pd.concat(means, keys=range(len(means)))
    middle, sd = (stacked.groupby("product", sort=False).agg(how) for how in ("mean", "std"))
    return middle.join(sd.fillna(0.0).add_suffix(" sd"))


def figures(out: Path, scores: xr.Dataset, parts: xr.Dataset, maps: xr.Dataset) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 2, figsize=(10, 4))
    names = ["satellite", *KINDS]
    axes[0].boxplot([scores.ubrmse.sel(product=n).dropna("site") for n in names], showfliers=False)
    axes[0].set_xticks(range(1, len(names) + 1), [n.replace("_", "\n") for n in names])
    axes[0].set_ylabel("ubRMSE at unseen sites [m3 m-3]")
    failed = parts.failed.astype(bool)
    first, second = parts.scores.isel(component=0), parts.scores.isel(component=1)
    for mask, colour, label in ((~failed, "0.6", "other sites"), (failed, "tab:red", "least gain over the satellite")):
        axes[1].scatter(first.where(mask), second.where(mask), s=12, color=colour, label=label)
    axes[1].set(xlabel="first component of static variables", ylabel="second component")
    axes[1].legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    fig.tight_layout()
    fig.savefig(out / "sites.png", dpi=90)
    plt.close(fig)
    rows, columns = maps.truth.shape[-2:]
    size = (12, 0.5 + 2.6 * rows / columns)
    fig, axes = plt.subplots(1, 4, figsize=size, sharex=True, sharey=True, layout="constrained")
    low, high = (float(maps.truth.quantile(q)) for q in (0.02, 0.98))
    for ax, name in zip(axes, ("satellite", "model", "conserved", "truth"), strict=True):
        image = ax.imshow(maps[name].to_numpy().squeeze(), vmin=low, vmax=high, cmap="YlGnBu", interpolation="nearest")
        ax.set(title=name, xticks=[], yticks=[])
    fig.colorbar(image, ax=axes, label="soil moisture [m3 m-3]")
    fig.savefig(out / "map.png", dpi=58)
    plt.close(fig)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("poehls2025-output"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cells", type=int, nargs=2, default=[6, 32], help="rows and columns of 36 km")
    parser.add_argument("--sites", type=int, default=300)
    parser.add_argument(
        "--folds", type=int, default=10, help="of the cross-validation in the first world; 0: neither it nor importance"
    )
    parser.add_argument("--epochs", type=int, help="of all networks, for a quick look")
    parser.add_argument("--weighted", nargs="*", default=STATIC, help="static variables that have a member each")
    given = parser.parse_args(arguments)
    out = given.out
    out.mkdir(parents=True, exist_ok=True)
    for kind in ("dense", "prob", "wide_deep"):
        KINDS[kind]["weights"] = [None, *given.weighted]
        OPTIONS[kind] |= {} if given.epochs is None else {"epochs": given.epochs}
    unseen, statics, intervals = [], [], []
    for seed in given.seeds:
        samples, window, seen = world(seed, tuple(given.cells), given.sites)
        split = xsoil.Split.random_cells(samples.sand, 0.2, seed, stratify=samples.texture_class)
        scores, models = scores_of(seed, samples, split, out)
        tested = scores.where(split.test, drop=True)
        static = samples[STATIC].isel(site=np.flatnonzero(split.test))
        unseen.append(tested.assign_coords(site=tested.site + 10_000 * seed))
        statics.append(static.assign_coords(site=static.site + 10_000 * seed))
        for kind, (_, attrs) in models.items():
            inside = np.ravel(attrs.get("coverage", [np.nan, np.nan]))
            row = {"crps": attrs.get("crps", np.nan), "in 50 %": inside[0], "in 90 %": inside[1]}
            intervals.append({"kind": kind, "seconds": attrs["seconds"]} | row)
        if seed == given.seeds[0]:
            dense = models["dense"][0]
            table, maps = fine_map(dense, window, seen)
            table.to_csv(out / "map.csv")
            if given.folds:
                if not (out / "importance.csv").exists():
                    importance(dense, samples, split).to_csv(out / "importance.csv")
                if not (out / "folds.csv").exists():
                    spread([folds(samples, seed, given.folds)]).to_csv(out / "folds.csv")
            print(f"world {seed}: the map{', importance and folds' if given.folds else ''} done", flush=True)
    table = spread(unseen)
    table.to_csv(out / "table.csv")
    pd.DataFrame(intervals).groupby("kind", sort=False).mean().to_csv(out / "intervals.csv")
    shared = [n for n in map(str, unseen[0]["product"].values) if all(n in one["product"].values for one in unseen)]
    every = xr.concat([one.sel(product=shared) for one in unseen], "site")
    static = xr.concat(statics, "site", data_vars="minimal", coords="minimal", compat="override")
    classes = static[["texture_class", "climate_class"]]
    ranked = xsoil.evaluation.head_to_head(every.sel(product=["satellite", *KINDS]), by=classes, model_dim="product")
    ranked.points.to_series().unstack("metric").to_csv(out / "head_to_head.csv")
    gain = every.ubrmse.sel(product="satellite", drop=True) - every.ubrmse.sel(product="dense", drop=True)
    least = (gain <= gain.quantile(0.1)).drop_vars("quantile")
    parts = xsoil.evaluation.principal_components(static, failed=least)
    means = static[["sand", "clay", "ph"]].to_dataframe()[["sand", "clay", "ph"]]
    means = ((means - means.mean()) / means.std()).groupby(least.to_series().rename("least gain")).mean()
    means.assign(worse_than_satellite=int((gain < 0).sum()), sites=gain.size).to_csv(out / "failed.csv")
    every.to_dataframe().to_csv(out / "scores.csv")
    figures(out, every, parts, maps)
    settings = {"cells": given.cells, "sites": given.sites, "seeds": given.seeds, "epochs": given.epochs}
    (out / "settings.json").write_text(json.dumps(settings) + "\n")
    pd.set_option("display.width", 160, "display.max_columns", 20)
    for name in ("table", "intervals", "folds", "head_to_head", "importance", "map", "failed"):
        if (out / f"{name}.csv").exists():
            print(f"\n{name}\n{pd.read_csv(out / f'{name}.csv', index_col=0).round(4)}")


if __name__ == "__main__":
    main()
