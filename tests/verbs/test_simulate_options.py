"""`simulate` with more than rain and demand: supplies, parameters on time, snow; each closes its balance."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from seasons import DAYS, DEEPER, FLUXES, TIME, soil, weather

from xsoil.errors import ArgumentError, GridMismatchError, MissingVariableError, TimeError, UnitsError, UnknownNameError
from xsoil.verbs.simulate import final_state, simulate

SUPPLIES = ("irrigation", "capillary_rise")
CASES = {
    "supplies": (SUPPLIES, None, ()),
    "crop": (("crop_coefficient",), None, ()),
    "depth": (("root_depth",), None, ("root_zone_exchange",)),
    "snow": (("air_temperature",), "snow", ("snow", "frozen")),
    "all": (
        (*SUPPLIES, "crop_coefficient", "root_depth", "air_temperature", "soil_temperature"),
        "snow",
        ("root_zone_exchange", "snow", "frozen"),
    ),
}
EVERY = pytest.mark.parametrize("case", CASES)


def run(case, dtype="f8", chunks=None, seed=1, part=slice(None), **options):
    names, frost, outputs = CASES[case]
    ds, forcing = soil(dtype), weather(dtype, names, seed).isel(time=part)
    if chunks is not None:
        ds, forcing = ds.chunk(y=chunks.get("y", -1)), forcing.chunk(chunks)
    return simulate(ds, forcing, outputs=("theta", "storage", *FLUXES, *outputs), frost=frost, **options)


def gain(found, forcing, case):
    """Water that came in less what went out, each day from the second on; and what storage and snow gained."""
    names = CASES[case][0]
    inward = forcing.precipitation + sum(forcing[name] for name in SUPPLIES if name in names)
    if "root_depth" in names:
        inward = inward + found.root_zone_exchange
    net = inward - sum(found[name] for name in FLUXES)
    stored = found.storage + (found.snow if "snow" in found else 0)
    return net.values[1:], stored.diff("time").values


# Every option closes the balance.


@EVERY
@given(seed=st.integers(0, 1000))
@settings(max_examples=10)
def test_the_balance_closes(case, seed):
    found = run(case, seed=seed)
    net, stored = gain(found, weather("f8", CASES[case][0], seed), case)
    assert found.status.max() == 0
    np.testing.assert_allclose(stored, net, rtol=0, atol=1e-9)
    theta = found.theta
    assert (theta <= soil().theta_s + 1e-12).all()
    assert (theta >= soil().theta_wp - 1e-12).all()
    if "snow" in found:
        assert (found.snow >= 0).all()
        assert float(found.snow.max()) > 1


@EVERY
def test_the_balance_closes_in_single_precision(case):
    found = run(case, "f4")
    assert found.theta.dtype == np.float32
    assert found.final_theta.dtype == np.float64
    net, stored = gain(found.astype("f8"), weather("f4", CASES[case][0]).astype("f8"), case)
    np.testing.assert_allclose(stored, net, rtol=0, atol=1e-3)
    np.testing.assert_allclose(found.theta, run(case).theta, rtol=0, atol=1e-5)


# Chunks, restarts, warm-up.


@EVERY
@pytest.mark.parametrize("chunks", [{"time": 1}, {"time": 7, "y": 2, "x": 3}, {"time": (3, 1, 36)}])
def test_no_chunking_changes_a_bit(no_compute, case, chunks):
    lazy = run(case, "f4", chunks, warmup=5)
    xr.testing.assert_identical(lazy.compute(scheduler="threads"), run(case, "f4", warmup=5))


@EVERY
def test_warmup_is_run_and_not_returned(case):
    whole, short = run(case), run(case, warmup=12)
    for name in whole.data_vars:
        expected = whole[name][12:] if "time" in whole[name].dims else whole[name]
        np.testing.assert_array_equal(short[name], expected, err_msg=name)


@EVERY
@pytest.mark.parametrize("cut", [1, 12, 17])  # on day 12 the roots grow
def test_continues_bit_for_bit_also_through_zarr(tmp_path, case, cut):
    whole = run(case, "f4")
    first = run(case, "f4", part=slice(cut))
    first.to_zarr(tmp_path / "first.zarr", consolidated=False)
    with xr.open_zarr(tmp_path / "first.zarr", consolidated=False) as stored:
        for state in (first, final_state(stored)):
            rest = run(case, "f4", part=slice(cut, None), initial=state)
            for name in whole.data_vars:
                expected = whole[name][cut:] if "time" in whole[name].dims else whole[name]
                np.testing.assert_array_equal(rest[name], expected, err_msg=name)


# Supplies.


def test_supplies_are_rain():
    forcing = weather(names=SUPPLIES)
    wetter = forcing.assign(precipitation=forcing.precipitation + forcing.irrigation + forcing.capillary_rise)
    wetter.precipitation.attrs["units"] = "mm d-1"
    plain = simulate(soil(), wetter.drop_vars(SUPPLIES), outputs=FLUXES)
    found = simulate(soil(), forcing, outputs=FLUXES)
    for name in FLUXES:
        np.testing.assert_array_equal(found[name], plain[name], err_msg=name)
    assert found.attrs["optional_series"] == "irrigation capillary_rise"
    assert "optional_series" not in plain.attrs


def test_supplies_of_one_site_are_spread():
    forcing = weather(names=("irrigation",))
    one = forcing.assign(irrigation=forcing.irrigation.isel(x=0, y=0, drop=True))
    many = forcing.assign(irrigation=one.irrigation + 0 * forcing.precipitation)
    many.irrigation.attrs["units"] = "mm d-1"
    np.testing.assert_array_equal(simulate(soil(), one).theta, simulate(soil(), many).theta)


@pytest.mark.parametrize("name", [*SUPPLIES, "crop_coefficient", "root_depth", "air_temperature", "soil_temperature"])
@pytest.mark.parametrize("chunks", [None, {"time": 9, "x": 2}])
def test_faults_of_optional_series_are_flagged(name, chunks):
    """Missing: NaN from that day on; negative where that is impossible; neighbours as if nothing had been."""
    names = dict.fromkeys(("air_temperature", name))
    forcing = weather(names=names)
    forcing.precipitation[21, 0, 1], forcing.pet[21, 0, 1] = 50.0, 0.0  # in which a small negative part would vanish
    clean = simulate(soil(), forcing, frost="snow")
    forcing[name][20, 0, 0] = np.nan
    forcing[name][21, 0, 1] = -1e-3
    if chunks:
        forcing = forcing.chunk(chunks)
    found = simulate(soil(), forcing, frost="snow").compute()
    flags = dict(zip(found.status.attrs["flag_meanings"].split(), found.status.attrs["flag_masks"], strict=True))
    assert found.status[0, 0] == flags["missing_forcing"]
    assert found.theta[:, 0, 0].isnull().sum() == DAYS - 20
    if "temperature" not in name:  # kelvin below zero are cold enough
        assert found.status[0, 1] == flags["negative_forcing"]
        assert found.theta[:, 0, 1].isnull().sum() == DAYS - 21
    np.testing.assert_array_equal(found.theta[:, 1:], clean.theta[:, 1:])
    assert not found.status[1:].any()


# Parameters on time.


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", DEEPER)
def test_a_constant_series_equals_the_map(dtype, name):
    ds, forcing = soil(dtype), weather(dtype)
    series = ds[name].expand_dims(time=TIME).assign_attrs(units=DEEPER[name])
    expected = simulate(ds, forcing, outputs=("theta", "storage", *FLUXES))
    rest = ds.drop_vars(name)
    for found in (
        simulate(rest, forcing.assign({name: series}), outputs=("theta", "storage", *FLUXES)),
        simulate(ds, forcing.assign({name: series}), outputs=("theta", "storage", *FLUXES)),
        simulate(ds, forcing, outputs=("theta", "storage", *FLUXES), **{name: series}),
    ):
        for output in ("theta", "storage", *FLUXES, "final_theta", "status"):
            np.testing.assert_array_equal(found[output], expected[output], err_msg=output)
        assert found.attrs["optional_series"] == name


def test_crop_coefficient_multiplies_demand():
    forcing = weather(names=("crop_coefficient",))
    demand = (forcing.pet * forcing.crop_coefficient).assign_attrs(units="mm d-1")
    plain = simulate(soil(), forcing.drop_vars("crop_coefficient").assign(pet=demand), crop_coefficient=1.0)
    np.testing.assert_array_equal(simulate(soil(), forcing).theta, plain.theta)


def test_a_keyword_wins_over_the_forcing():
    forcing = weather(names=("crop_coefficient",))
    found = simulate(soil(), forcing, crop_coefficient=0.9)
    np.testing.assert_array_equal(found.theta, simulate(soil(), weather()).theta)


def test_deeper_roots_bring_water_at_the_same_theta():
    """No rain, no demand: theta stays, and the storage grows by what the exchange says."""
    ds = soil().drop_vars("root_depth")
    depth = xr.DataArray([0.5, 0.5, 0.8, 0.4], {"time": TIME[:4]}, "time", attrs={"units": "m"})
    nothing = (weather() * 0).isel(time=slice(4)).map(lambda v: v.assign_attrs(units="mm d-1"))
    start = soil().theta_wp + 0.05
    start.attrs["units"] = "m3 m-3"
    found = simulate(
        ds, nothing, root_depth=depth, initial=start, outputs=("theta", "storage", "root_zone_exchange", *FLUXES)
    )
    np.testing.assert_allclose(found.theta - start, 0, atol=1e-15)
    exchange = np.array([0, 0, 300, -400])[:, None, None] * start.values
    np.testing.assert_allclose(found.root_zone_exchange, exchange, rtol=1e-12)
    np.testing.assert_allclose(found.storage.diff("time"), found.root_zone_exchange[1:], rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(found.final_root_depth, 0.4)


def test_exchange_is_missing_where_the_cell_is():
    forcing = weather(names=("root_depth",))
    forcing.precipitation[10, 0, 0] = np.nan
    ds = soil()
    ds.theta_s[0, 1] = np.nan
    found = simulate(ds, forcing, outputs="root_zone_exchange").root_zone_exchange
    assert found[:, 0, 0].isnull().sum() == DAYS - 10
    assert found[:, 0, 1].isnull().all()
    assert not found[:, 1:].isnull().any()


def test_metadata_of_the_results():
    found = run("all")
    units = {"snow": "mm", "root_zone_exchange": "mm d-1", "final_snow": "mm", "final_root_depth": "m"}
    for name, unit in units.items():
        assert found[name].attrs["units"] == unit
        assert found[name].attrs["long_name"]
    assert set(final_state(found).data_vars) == {"final_theta", "final_snow", "final_root_depth", "status"}
    names = "irrigation capillary_rise soil_temperature air_temperature crop_coefficient root_depth"
    assert found.attrs["optional_series"] == names
    assert set(final_state(simulate(soil(), weather())).data_vars) == {"final_theta", "status"}


# Metadata faults.


def keyword(**change):
    series = soil().root_depth.expand_dims(time=TIME).assign_attrs(units="m")
    return simulate(soil(), weather(), root_depth=series.isel(**change) if change else series)


FAULTS = {
    "unknown frost": (lambda: simulate(soil(), weather(), frost="ice"), UnknownNameError, "snow"),
    "no temperature": (lambda: simulate(soil(), weather(), frost="snow"), MissingVariableError, "air_temperature"),
    "snow without frost": (lambda: simulate(soil(), weather(), outputs="snow"), ArgumentError, "frost='snow'"),
    "frozen without frost": (lambda: simulate(soil(), weather(), outputs="frozen"), ArgumentError, "frost='snow'"),
    "exchange without depth on time": (
        lambda: simulate(soil(), weather(), outputs="root_zone_exchange"), ArgumentError, "root_depth on time",
    ),
    "state with snow, run without": (
        lambda: simulate(soil(), weather(), initial=run("snow")), ArgumentError, "drop_vars",
    ),
    "series in ds": (
        lambda: simulate(soil().assign(root_depth=weather(names=("root_depth",)).root_depth), weather()),
        ArgumentError,
        "in the forcing or as a keyword",
    ),
    "other days": (lambda: keyword(time=slice(5, None)), TimeError, r"\.sel\(time=forcing.time\)"),
    "gap": (lambda: keyword(time=[0, 1, 3]), TimeError, "gap"),
    "other grid": (lambda: keyword(x=slice(2)), GridMismatchError, "upscale"),
    "no units": (
        lambda: simulate(soil(), weather().assign(irrigation=weather().pet.drop_attrs())), UnitsError, "irrigation",
    ),
    "snow elsewhere": (
        lambda: run("snow", initial=run("snow").assign(final_snow=run("snow").final_snow.isel(x=slice(2)).drop_vars("x")
                                                       .rename(x="z"))),
        GridMismatchError,
        "initial is on",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_metadata_faults_raise(fault):
    call, error, message = FAULTS[fault]
    with pytest.raises(error, match=message):
        call()
