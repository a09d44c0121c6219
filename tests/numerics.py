"""Verbs on the same numbers in single and in double precision: how far the results lie apart.

``python tests/numerics.py`` prints the table of docs/numerics.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import xarray as xr
from odc.geo.geobox import GeoBox

sys.path.insert(0, str(Path(__file__).parent / "verbs"))

from columns import weather as columns_weather
from numerics_models import cases as models

import xsoil

NY, NX = 60, 80
DIMS = ("latitude", "longitude")
PLACE = {"latitude": 40.0 - 0.05 * np.arange(NY), "longitude": -100.0 + 0.05 * np.arange(NX)}
OPERATORS = (
    ("mean", {}), ("sum", {}), ("min", {}), ("max", {}), ("median", {}), ("quantile", {"q": 0.1}), ("nearest", {}),
    ("bilinear", {}), ("cubic", {}), ("harmonic", {}), ("geometric", {}), ("power", {"p": 0.3}), ("std", {}),
)  # fmt: skip


def soils(seed: int = 0) -> xr.Dataset:
    """Soils over the whole texture triangle, numbers that single precision holds exactly."""
    rng = np.random.default_rng(seed)
    parts = rng.dirichlet([1.2, 1.2, 1.2], (NY, NX)) * 100
    sand, clay = np.round(parts[..., 0] * 64) / 64, np.round(parts[..., 1] * 64) / 64
    made = {
        "sand": (sand, "percent"), "silt": (100 - sand - clay, "percent"), "clay": (clay, "percent"),
        "bulk_density": (rng.uniform(1.0, 1.7, (NY, NX)), "g cm-3"),
        "organic_carbon": (rng.uniform(0.2, 5, (NY, NX)), "percent"), "ph": (rng.uniform(4.5, 8.5, (NY, NX)), "1"),
        "cec": (rng.uniform(3, 40, (NY, NX)), "cmol kg-1"),
    }  # fmt: skip
    ds = xr.Dataset({n: (DIMS, v.astype("f4").astype("f8"), {"units": u}) for n, (v, u) in made.items()}, PLACE).assign(
        topsoil=((), 1.0, {"units": "1"})
    )
    for name in ("sand", "silt", "clay"):
        ds[name].attrs["silt_limit"] = "50 um"
    return ds.rio.write_crs("EPSG:4326")


def single(ds: xr.Dataset) -> xr.Dataset:
    return ds.astype("f4", keep_attrs=True)


def apart(call: Callable[[bool], xr.Dataset]) -> Iterator[tuple[str, float, float]]:
    """Variable, largest difference, and that relative to the larger of the value and a thousandth of the range."""
    wide, narrow = call(False), call(True)
    for name in wide.data_vars:
        one, other = wide[name].to_numpy(), narrow[name].to_numpy()
        if one.dtype.kind in "iu":  # classes and flags
            one, other = one.astype(float), other.astype(float)
        if one.dtype.kind != "f" or not one.size:
            continue
        np.testing.assert_array_equal(np.isnan(one), np.isnan(other), err_msg=str(name))
        error = np.abs(one - other)
        if np.isfinite(error).any():
            scale = np.maximum(np.abs(one), 1e-3 * np.nanmax(np.abs(one)))
            with np.errstate(invalid="ignore"):
                relative = np.nanmax(np.where(error > 0, error / scale, 0.0))
            yield str(name), float(np.nanmax(error)), float(relative)


def moisture(days: int = 120) -> xr.Dataset:
    rng = np.random.default_rng(3)
    values = (0.25 + 0.1 * np.sin(np.arange(days) / 9)[:, None] + rng.normal(0, 0.02, (days, 40))).astype("f4")
    values[rng.random(values.shape) < 0.2] = np.nan
    time = {"time": pd.date_range("2001-01-01", periods=days)}
    return xr.Dataset({"soil_moisture": (("time", "site"), values.astype("f8"), {"units": "m3 m-3"})}, time)


def forcing(days: int, seed: int = 1, sizes: tuple[int, ...] = ()) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    dims = ("time", "site")[: 1 + len(sizes)]
    rain = rng.gamma(0.3, 12, (days, *sizes)).astype("f4").astype("f8")
    pet = rng.uniform(0, 7, (days, *sizes)).astype("f4").astype("f8")
    time = {"time": pd.date_range("1901-01-01", periods=days)}
    return xr.Dataset(
        {"precipitation": (dims, rain, {"units": "mm d-1"}), "pet": (dims, pet, {"units": "mm d-1"})}, time
    )


def by_file(ds: xr.Dataset, grid: GeoBox) -> xr.Dataset:
    with TemporaryDirectory() as folder:
        path = xsoil.save_weights(Path(folder) / "weights.nc", ds, grid)
        return ds.soil.apply_weights(path, grid).compute()


def weather(hours: int) -> xr.Dataset:
    """Hours of weather over the soils' grid."""
    rng = np.random.default_rng(4)
    ranges = {
        "precipitation": (0, 4, "mm h-1"), "air_temperature": (275, 305, "K"), "shortwave_down": (0, 900, "W m-2"),
        "longwave_down": (250, 400, "W m-2"), "wind_speed": (0, 12, "m s-1"), "relative_humidity": (15, 95, "percent"),
    }  # fmt: skip
    shape = (hours, NY // 4, NX // 4)
    made = {
        name: (("time", *DIMS), rng.uniform(low, high, shape).astype("f4").astype("f8"), {"units": units})
        for name, (low, high, units) in ranges.items()
    }
    place = {name: values[::4] for name, values in PLACE.items()}
    times = pd.date_range("2015-06-01", periods=hours, freq="h")
    return xr.Dataset(made, {"time": times, **place}).rio.write_crs("EPSG:4326")


def cases() -> Iterator[tuple[str, Callable[[bool], xr.Dataset]]]:
    """Calls by name; each takes whether its input is single."""
    ds = soils()
    both = {False: ds, True: single(ds)}
    for method in xsoil.PTFS:
        yield f"ptf {method}", lambda s, m=method: both[s].soil.ptf(m)
    grid = xsoil.ease_grid("EASE2_M25km", ds)
    for how, options in OPERATORS:
        yield f"upscale {how}", lambda s, h=how, o=options: both[s][["bulk_density"]].soil.upscale(grid, h, **o)
    classes = (ds[["bulk_density"]] * 10).round().rename(bulk_density="land_cover").astype("f4")
    for how in ("mode", "fraction"):
        yield (
            f"upscale {how}",
            lambda s, h=how: classes.astype("f4" if s else "f8").soil.upscale(grid, h),
        )
    coarse = ds[["bulk_density"]].soil.upscale("EASE2_M36km").astype("f4", keep_attrs=True)
    for method in ("nearest", "bilinear", "cubic", "conservative"):
        yield (
            f"downscale {method}",
            lambda s, m=method: coarse.astype("f4" if s else "f8", keep_attrs=True).soil.downscale("EASE2_M09km", m),
        )
    yield "apply_weights", lambda s: by_file(both[s][["bulk_density"]], grid)
    yield (
        "conservation_report",
        lambda s: xsoil.conservation_report(both[s][["bulk_density"]], both[s][["bulk_density"]].soil.upscale(grid)),
    )
    params = single(ds.soil.ptf("wosten1999"))
    sizes = {False: params.astype("f8", keep_attrs=True), True: params}
    for h in (-10.0, -330.0, -15000.0):
        yield f"retention {h:g} cm", lambda s, h=h: sizes[s].soil.retention(h)
        yield f"conductivity {h:g} cm", lambda s, h=h: sizes[s].soil.conductivity(h)
    yield "water_limits retention", lambda s: sizes[s].soil.water_limits()[["theta_fc", "theta_wp"]]
    yield "water_limits flux", lambda s: sizes[s].soil.water_limits("flux")[["theta_fc", "theta_wp"]]
    campbell = single(ds.soil.ptf("cosby1984"))
    powers = {False: campbell.astype("f8", keep_attrs=True), True: campbell}
    for method in ("noah", "clm"):
        yield (
            f"water_limits {method}",
            lambda s, m=method: powers[s].soil.water_limits(m)[["theta_fc", "theta_wp"]],
        )
    yield "convert_curve brooks_corey", lambda s: sizes[s].soil.convert_curve("brooks_corey")
    some = {s: p.isel(latitude=slice(0, 4), longitude=slice(0, 4)) for s, p in sizes.items()}
    yield "fit_fredlund_xing_wang", lambda s: some[s].soil.fit_fredlund_xing_wang()
    yield "texture_class", lambda s: both[s].soil.texture_class().to_dataset(name="texture_class")
    yield "convert_texture", lambda s: both[s].soil.convert_texture(63.0)
    quantiles = xr.concat([ds[["sand", "silt", "clay", "bulk_density"]] * f for f in (0.8, 1.0, 1.1)], "quantile")
    quantiles = quantiles.assign_coords(quantile=[0.05, 0.5, 0.95])
    for name in quantiles:
        quantiles[name].attrs = dict(ds[name].attrs)
    yield "draw_soil", lambda s: (single(quantiles) if s else quantiles).soil.draw_soil(5)
    yield (
        "compare_scaling",
        lambda s: both[s].soil.compare_scaling(
            grid, ptfs="li2024_cb1", hows=("mean", "nearest"), frameworks=("mpr", "tr")
        ),
    )
    layers = xr.concat([ds[["clay"]], ds[["clay"]] * 0.9], "depth").assign_coords(depth=[0.1, 0.4])
    layers["clay"].attrs["units"] = "percent"
    layers = layers.assign_coords(depth=("depth", [0.1, 0.4], {"units": "m"}))
    yield "depth_mean", lambda s: layers.astype("f4" if s else "f8", keep_attrs=True).soil.depth_mean(0.1, 0.3)
    seen = moisture()
    kinds = {False: seen, True: single(seen)}
    for method in ("linear", "dct"):
        yield f"fill_gaps {method}", lambda s, m=method: kinds[s].soil.fill_gaps(m)
    yield "rootzone", lambda s: kinds[s].soil.rootzone(T=10)
    truth = seen * 0.9 + 0.01
    truth["soil_moisture"].attrs["units"] = "m3 m-3"
    yield "rootzone, T of 60 days", lambda s: kinds[s].soil.rootzone(T=60)
    yield "evaluate", lambda s: kinds[s].soil.evaluate(single(truth) if s else truth)
    bucket = {
        "theta_s": 0.5, "theta_fc": 0.25, "theta_wp": 0.125, "root_depth": 0.5, "depletion_fraction": 0.25,
        "crop_coefficient": 0.75,
    }  # fmt: skip
    k_sat = xr.Dataset({"k_sat": ("site", np.logspace(-1, 4, 40).astype("f4").astype("f8"), {"units": "cm d-1"})})
    rain = forcing(365, sizes=(40,))
    outputs = ("theta", "runoff", "drainage", "actual_et")
    yield (
        "simulate water_balance, a year",
        lambda s: (single(k_sat) if s else k_sat).soil.simulate(single(rain) if s else rain, outputs=outputs, **bucket),
    )
    loams = {"theta_r": 0.0625, "theta_s": 0.4375, "alpha": 0.03125, "n": 1.5, "k_sat": 25.0}
    hours = weather(240)
    for method in ("hargreaves85", "allen98"):
        yield (
            f"prepare_forcing {method}",
            lambda s, m=method: xsoil.data.prepare_forcing(single(hours) if s else hours, pet=m),
        )
    series = columns_weather("f4", 90, ("time",))
    wide = series.astype("f8", keep_attrs=True)
    yield from models()
    yield (
        "simulate richards, 90 days",
        lambda s: xr.Dataset().soil.simulate(
            series if s else wide, "richards", outputs=("theta", "runoff", "drainage", "actual_et"), **loams
        ),
    )


def main(*wanted: str) -> None:
    """Print all rows, or those whose names begin as told."""
    print("| verb | variable | largest difference | relative |\n|---|---|---|---|")
    for name, call in cases():
        if wanted and not name.startswith(wanted):
            continue
        try:
            rows = sorted(apart(call), key=lambda row: -row[2])
        except AssertionError as error:
            print(f"| {name} | NaN in other cells: {str(error).splitlines()[-1][:80]} | | |")
            continue
        for variable, absolute, relative in rows[:1]:
            print(f"| {name} | `{variable}` | {absolute:.1e} | {relative:.1e} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
