"""`simulate` with model="richards": stored reference runs, balance, options, results."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from columns import DAYS, LOAM, NX, NY, SERIES, layered, maps, run, weather

from xsoil.kernels import richards
from xsoil.physics.elementary import NUMPY
from xsoil.physics.richards import grid
from xsoil.physics.van_genuchten import van_genuchten

CASES = {
    "R1_vgm_loam": (LOAM, -800),
    "R4_fxw_fig2": ({"theta_s": 0.40, "alpha": 0.006, "n": 1.1, "m": 0.66, "k_sat": 100.0}, -800),
    "R7_vgm_loam_drydown": (LOAM, -800),
}


@pytest.mark.parametrize("case", CASES)
def test_reference_runs(reference, case):
    soil, h50 = CASES[case]
    with open(reference / "physics" / f"richards_{case}_series.csv") as file:
        rows = list(csv.DictReader(file))
    told = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    forcing = xr.Dataset(
        {
            "precipitation": ("time", told["precip_cm_d"], {"units": "cm d-1"}),
            "pet": ("time", told["pet_cm_d"], {"units": "cm/day"}),
            "lai": ("time", told["lai"], {"units": "m2 m-2"}),
        },
        {"time": pd.date_range("2001-01-01", periods=len(rows))},
    )
    found = run(xr.Dataset(), forcing, outputs=("theta", "inflow", "drainage", "uptake", "runoff"), h50=h50, **soil)
    error = found.theta.sel(depth=0.05) - told["theta_5cm"]
    assert np.sqrt((error**2).mean()) <= 3e-3
    assert np.abs(error).max() <= 1.5e-2
    moved = abs(told["storage_cm"][-1] - told["storage_cm"][0]) if "drydown" in case else told["precip_cm_d"].sum()
    for name, cumulative in (
        ("inflow", "cum_top_in_cm"), ("drainage", "cum_bottom_out_cm"), ("uptake", "cum_uptake_cm"),
        ("runoff", "cum_runoff_cm"),
    ):  # fmt: skip
        assert np.abs(found[name].cumsum() / 10 - told[cumulative]).max() <= 0.01 * moved, name


def test_is_the_kernel_with_its_units():
    ds, forcing = maps(), weather()
    found = run(ds, forcing, outputs=SERIES)
    rain, pet, lai = (forcing[name].values.reshape(DAYS, -1) for name in ("precipitation", "pet", "lai"))
    soil = [ds[name].values.ravel() for name in ("theta_r", "theta_s", "alpha", "n", "k_sat")]
    values, state, _ = richards.run(
        rain, pet, lai, [*soil, 0.5], curve="van_genuchten", widths=grid(50.0), depths=(2, 5, 10, 20, 40),
        root_depth=100 * ds.root_depth.values.ravel(), stress=(ds.h50.values.ravel(),), outputs=SERIES,
    )  # fmt: skip
    for name in SERIES:
        np.testing.assert_array_equal(found[name], values[name].reshape(found[name].shape), err_msg=name)
    for name, part in zip(("final_h", "final_theta", "final_next_step", "final_balance", "status"), state, strict=True):
        np.testing.assert_array_equal(found[name], part.reshape(found[name].shape), err_msg=name)


OPTIONS = {
    "plain": {},
    "supplies": {"frost": "snow"},
    "rising water": {"bottom": "water_table", "water_table_depth": 0.7, "uptake": "feddes"},
    "no roots": {"uptake": "none", "bottom": "zero_flux"},
    "ponded": {"top": "head", "top_head": -2.0, "bottom": "head", "bottom_head": -80.0},
    "sprinkled": {"top": "flux", "top_flux": 3.0},
}


@pytest.mark.parametrize("case", OPTIONS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_every_cell_closes_its_balance(case, dtype):
    names = ("irrigation", "air_temperature") if case == "supplies" else ()
    forcing = weather(dtype, names=names, days=40)
    outputs = ("storage", "actual_et", "runoff", "drainage", "inflow", "uptake", "balance", *["snow"] * bool(names))
    found = run(maps(dtype), forcing, outputs=outputs, **OPTIONS[case])
    assert found.status.max() == 0
    assert found.storage.dtype == dtype
    found, forcing = found.astype("f8"), forcing.astype("f8")
    stored, came = found.storage, forcing.precipitation
    if names:
        stored, came = stored + found.snow, came + forcing.irrigation
    if case in ("ponded", "sprinkled"):
        came = found.inflow
        np.testing.assert_array_equal(found.actual_et, found.uptake)
    net = came - found.runoff - found.actual_et - found.drainage
    error = (stored.diff("time") - net[1:]).cumsum("time")
    moved = (np.abs(came) + np.abs(found.drainage) + found.uptake).sum("time")
    assert (np.abs(error) <= (1e-6 if dtype == "f8" else 1e-5) * moved).all()
    assert (np.abs(found.balance) <= 1e-6 * moved).all()


def test_sprinkled_takes_what_it_is_given():
    found = run(maps(), weather(), top="flux", top_flux=3.0, outputs=("inflow", "runoff"))
    np.testing.assert_allclose(found.inflow, 3.0, rtol=1e-9)
    assert not found.runoff.any()


def test_forcing_that_is_not_looked_at_may_be_missing():
    time = weather()[["time"]]
    found = run(maps(), time, top="flux", top_flux=0.0, uptake="none", bottom="zero_flux", outputs=("theta", "storage"))
    np.testing.assert_allclose(found.storage.diff("time"), 0, atol=1e-10)
    assert found.sizes["time"] == DAYS
    roots = run(maps(), weather()[["pet", "lai"]], top="flux", top_flux=0.0, outputs="uptake")
    assert (roots.uptake > 0).all()


@pytest.mark.parametrize("where", ["forcing", "keyword", "map"])
def test_boundaries_are_found_anywhere(where):
    ds, forcing = maps(), weather()
    series = xr.full_like(forcing.pet, 0.9).assign_attrs(units="m")
    options = {"bottom": "water_table", "outputs": ("theta", "drainage")}
    expected = run(ds, forcing, water_table_depth=0.9, **options)
    if where == "forcing":
        found = run(ds, forcing.assign(water_table_depth=series), **options)
        assert found.attrs["optional_series"] == "water_table_depth"
    elif where == "keyword":
        found = run(ds, forcing, water_table_depth=(100 * series).assign_attrs(units="cm"), **options)
    else:
        found = run(ds.assign(water_table_depth=series[0].drop_vars("time")), forcing, **options)
    for name in ("theta", "drainage", "final_h"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, err_msg=name)
    other = run(ds, forcing, water_table_depth=2.0, **options)
    assert (other.theta[-1, -1] < expected.theta[-1, -1]).all()


@pytest.mark.parametrize("kind", ["keyword", "map", "forcing without time"])
def test_leaves_that_do_not_change(kind):
    ds, forcing = maps(), weather()
    constant = forcing.assign(lai=xr.full_like(forcing.lai, 2.0).assign_attrs(units="1"))
    expected = run(ds, constant).theta
    rest = forcing.drop_vars("lai")
    if kind == "keyword":
        found = run(ds, rest, lai=2.0)
        assert found.attrs["lai"] == 2.0
    elif kind == "map":
        found = run(ds.assign(lai=xr.full_like(ds.n, 2.0)), rest)
    else:
        found = run(ds, rest.assign(lai=((), 2.0, {"units": "1"})))
    np.testing.assert_array_equal(found.theta, expected)


def test_snow_lies_and_melts_into_the_soil():
    forcing = weather(names=("air_temperature",))
    found = run(maps(), forcing, frost="snow", outputs=("theta", "snow", "frozen", "inflow"))
    balance = run(maps(), forcing.drop_vars("air_temperature"), outputs=("theta",))
    assert float(found.snow.max()) > 1
    assert np.abs(found.theta - balance.theta).max() > 0.01
    np.testing.assert_array_equal(found.frozen, (forcing.air_temperature <= 0) * 1 + (found.snow > 0) * 2)
    warm = forcing.assign(air_temperature=xr.full_like(forcing.air_temperature, 9.0))
    np.testing.assert_array_equal(run(maps(), warm, frost="snow").theta, balance.theta)


def test_irrigation_is_rain():
    forcing = weather(names=("irrigation",))
    wetter = forcing.assign(precipitation=forcing.precipitation + forcing.irrigation).drop_vars("irrigation")
    wetter.precipitation.attrs["units"] = "mm d-1"
    np.testing.assert_array_equal(run(maps(), forcing).theta, run(maps(), wetter).theta)


def test_h_and_theta_at_depths_belong_together():
    ds = maps()
    found = run(ds, weather(), depths=(0.3, 0.07), outputs=("theta", "h"))
    np.testing.assert_array_equal(found.depth, [0.3, 0.07])
    theta_r, theta_s, alpha, n, k_sat = (ds[name].values for name in LOAM)
    theta = van_genuchten(NUMPY)(found.h.values, theta_r, theta_s, alpha, n, 1 - 1 / n, k_sat, 0.5)[0]
    np.testing.assert_allclose(found.theta, theta, rtol=1e-10)
    last = found.final_h
    for depth in (0.3, 0.07):
        there = [np.interp(depth, last.node, last[:, y, x]) for y in range(NY) for x in range(NX)]
        np.testing.assert_allclose(found.h.sel(depth=depth)[-1].values.ravel(), there, rtol=1e-10)


def test_theta_obs_is_the_observation_of_theta():
    found = run(maps("f4"), weather("f4"), outputs=("theta_obs", "theta"), obs_scale=1.2, obs_bias=0.05)
    np.testing.assert_allclose(found.theta_obs, 1.2 * found.theta + 0.05, rtol=1e-6)
    assert found.theta_obs.dims == ("time", "depth", "y", "x")
    assert found.theta_obs.dtype == np.float32


def test_single_precision_only_rounds_the_results():
    ds, forcing = maps("f4"), weather("f4")
    found = run(ds, forcing, outputs=SERIES)
    wide = run(ds.astype("f8"), forcing.astype("f8"), outputs=SERIES)
    for name in SERIES:
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], wide[name].astype("f4"), err_msg=name)
    for name in ("final_h", "final_theta", "final_next_step", "final_balance"):
        np.testing.assert_array_equal(found[name], wide[name])
        assert found[name].dtype == np.float64


def test_metadata_of_the_results():
    ds = maps()
    found = run(ds, weather(), outputs=SERIES)
    assert found.rio.crs == ds.rio.crs
    assert set(found.coords) == {"y", "x", "time", "depth", "node", "spatial_ref"}
    assert found.theta.dims == found.h.dims == ("time", "depth", "y", "x")
    assert found.final_h.dims == found.final_theta.dims == ("node", "y", "x")
    assert found.final_next_step.dims == found.status.dims == ("y", "x")
    np.testing.assert_allclose(found.depth, [0.02, 0.05, 0.10, 0.20, 0.40])
    for name in ("depth", "node"):
        assert found[name].attrs["units"] == "m"
        assert found[name].attrs["positive"] == "down"
    units = {"theta": "m3 m-3", "h": "cm", "drainage": "mm d-1", "balance": "mm", "final_balance": "cm", "steps": "1"}
    for name, unit in units.items():
        assert found[name].attrs["units"] == unit
        assert found[name].attrs["long_name"]
    assert found.steps.attrs["cell_methods"] == "time: sum"
    for name in found.data_vars:
        assert found[name].encoding["grid_mapping"] == "spatial_ref", name
    assert found.attrs["title"] == "a soil"
    masks = found.status.attrs["flag_masks"]
    assert len(masks) == len(found.status.attrs["flag_meanings"].split())


def test_defaults_and_options_are_recorded():
    found = run(xr.Dataset(), weather(dims=("time",)), uptake="feddes", column_depth=0.3, **LOAM)
    told = {
        "model": "richards", "curve": "van_genuchten", "top": "atmospheric", "bottom": "free_drainage",
        "uptake": "feddes", "column_depth": 0.3, "root_depth": 0.4, "l": 0.5, "h1": -10.0, "h2": -25.0,
        "h3_high": -200.0, "h3_low": -800.0, "h4": -8000.0, "initial": "h = -100 cm", "warmup": 0, "k_sat": 24.96,
    }  # fmt: skip
    assert {name: found.attrs[name] for name in told} == told
    np.testing.assert_array_equal(found.depth, [0.02, 0.05, 0.10, 0.20])
    given = run(xr.Dataset(), weather(dims=("time",)), l=-1.0, h50=-500.0, root_depth=0.2, **LOAM)
    assert (given.attrs["l"], given.attrs["h50"], given.attrs["root_depth"]) == (-1.0, -500.0, 0.2)
    assert "h50" not in run(maps(), weather()).attrs


def test_warmup_is_run_and_not_returned():
    whole, short = (run(maps(), weather(), outputs=SERIES, warmup=days) for days in (0, 5))
    for name in whole.data_vars:
        expected = whole[name][5:] if "time" in whole[name].dims else whole[name]
        np.testing.assert_array_equal(short[name], expected, err_msg=name)
    assert short.attrs["warmup"] == 5


def test_members_of_the_forcing_come_before_the_map():
    both = xr.concat([weather(), weather(seed=2)], "member").transpose("time", "member", "y", "x")
    found = run(maps(), both)
    assert found.theta.dims == ("time", "depth", "member", "y", "x")
    np.testing.assert_array_equal(found.theta.isel(member=1), run(maps(), weather(seed=2)).theta)
    assert run(layered(maps()), both).final_h.dims == ("node", "member", "y", "x")
