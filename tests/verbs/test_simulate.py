"""`simulate`: stored reference runs, chunking, restarts, metadata, faults."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xsoil.errors import (
    ArgumentError,
    GridMismatchError,
    MissingVariableError,
    TimeError,
    UnitsError,
    UnknownNameError,
)
from xsoil.verbs._water_balance import PARAMETERS
from xsoil.verbs.simulate import OUTPUTS, final_state, simulate

LI = {
    "theta_s": 0.5, "theta_fc": 0.2, "theta_wp": 0.078, "root_depth": 1.0, "depletion_fraction": 0.1,
    "crop_coefficient": 0.5,
}  # fmt: skip
SERIES = tuple(name for name in OUTPUTS["water_balance"] if name not in ("theta_obs", "root_zone_exchange"))
DAYS, NY, NX = 30, 5, 7


def soil(dtype="f8", seed=0):
    rng = np.random.default_rng(seed)
    theta_fc = rng.uniform(0.15, 0.35, (NY, NX))

    def on(values, units, dims=("y", "x")):
        return (dims, values.astype(dtype), {"units": units})

    ds = xr.Dataset(
        {
            "theta_s": on(theta_fc + 0.15, "m3 m-3"), "theta_fc": on(theta_fc, "m3 m-3"),
            "theta_wp": on(theta_fc - 0.1, "m3 m-3"), "k_sat": on(10 ** rng.uniform(0, 2, (NY, NX)), "cm d-1"),
            "root_depth": on(rng.uniform(0.1, 1.5, (NY, NX)), "m"),
            "depletion_fraction": on(np.full(NX, 0.3), "1", ("x",)),
            "crop_coefficient": ((), 0.9, {"units": "1"}),
        },
        {"y": 1000.0 - 500 * np.arange(NY), "x": 500.0 * np.arange(NX)},
        {"title": "a soil"},
    )  # fmt: skip
    return ds.rio.write_crs("EPSG:3035")


def weather(dtype="f8", days=DAYS, seed=1, dims=("time", "y", "x")):
    rng = np.random.default_rng(seed)
    sizes = {"time": days, "y": NY, "x": NX}
    shape = [sizes[d] for d in dims]
    ds = xr.Dataset(
        {
            "precipitation": (dims, rng.gamma(0.3, 20, shape).astype(dtype), {"units": "mm d-1"}),
            "pet": (dims, rng.uniform(0, 8, shape).astype(dtype), {"units": "mm d-1"}),
        },
        {"time": pd.date_range("2001-01-01", periods=days)},
    )
    grid = soil()
    return ds.assign_coords({d: grid[d] for d in dims if d != "time"})


def site(**change):
    """One cell and Li's values."""
    return xr.Dataset({"k_sat": ((), 36.4, {"units": "cm d-1"})}), LI | change


# Stored reference runs.


@pytest.mark.parametrize("case", ["A_li_default_cb2_loam", "C_sand_half_metre", "E_shallow_runoff"])
def test_equals_the_reference_runs(reference, case):
    folder = reference / "physics"
    row = pd.read_csv(folder / "swb_parameters.csv").set_index("case").loc[case]
    rain = pd.read_csv(folder / "swb_forcing.csv")
    stored = pd.read_csv(folder / f"swb_{case}.csv")
    ds = xr.Dataset({"k_sat": ((), row.k_sat_m_d, {"units": "m d-1"})})
    fixed = {
        "theta_s": row.theta_s, "theta_fc": row.theta_fc, "theta_wp": row.theta_wp, "root_depth": row.z_r_m,
        "depletion_fraction": row.p, "crop_coefficient": row.kc,
    }  # fmt: skip
    forcing = xr.Dataset(
        {
            "precipitation": ("time", rain.precip_mm_d.to_numpy(), {"units": "mm"}),
            "pet": ("time", rain.pet_mm_d.to_numpy(), {"units": "kg m-2"}),
        },
        {"time": pd.date_range("2001-01-01", periods=len(rain))},
    )
    run = simulate(ds, forcing, initial=row.theta_init, outputs=SERIES, **fixed)
    names = {"theta": "theta_end", "runoff": "runoff_mm", "actual_et": "et_mm", "drainage": "drainage_mm"}
    for ours, theirs in names.items():
        np.testing.assert_allclose(run[ours], stored[theirs], rtol=0, atol=1e-9, err_msg=ours)
    daily = simulate(ds, forcing, initial=row.theta_init, substeps=1, **fixed)
    np.testing.assert_allclose(daily.theta, stored.theta_end_nsub1, rtol=0, atol=1e-9)
    np.testing.assert_allclose(run.runoff.sum(), row.total_runoff_mm, rtol=1e-9)
    single = simulate(ds, forcing.astype("f4", keep_attrs=True), initial=row.theta_init, outputs=SERIES, **fixed)
    assert single.theta.dtype == np.float32
    assert np.abs(single.theta - stored.theta_end.to_numpy()).max() <= 3e-6


# Lazy in, lazy out, and chunks that change nothing.


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(
    ("soil_chunks", "weather_chunks"),
    [
        ({}, {"time": 1}), ({"y": 2}, {}), ({"x": 3, "y": 1}, {"time": 7, "x": 2}), ({"y": -1}, {"time": 13, "y": 3}),
        (None, {"time": 10, "x": 4}), ({"y": 2}, None),
    ],
)  # fmt: skip
def test_lazy_equals_eager(no_compute, dtype, soil_chunks, weather_chunks):
    ds, forcing = soil(dtype), weather(dtype)
    eager = simulate(ds, forcing, outputs=SERIES, warmup=4)
    lazy = simulate(
        ds if soil_chunks is None else ds.chunk(soil_chunks),
        forcing if weather_chunks is None else forcing.chunk(weather_chunks),
        outputs=SERIES,
        warmup=4,
    )
    assert all(isinstance(lazy[name].data, da.Array) for name in (*SERIES, "final_theta", "status"))
    assert all(lazy[name].dtype == eager[name].dtype for name in lazy.data_vars)
    assert eager.theta.dtype == dtype
    xr.testing.assert_identical(lazy.compute(scheduler="threads"), eager)


@given(st.data())
@settings(max_examples=15)
def test_no_chunking_changes_a_bit(data):
    days = data.draw(st.integers(2, 12))

    def chunks(total):
        cuts = data.draw(st.sets(st.integers(1, total - 1), max_size=4))
        return tuple(np.diff([0, *sorted(cuts), total]))

    ds, forcing = soil("f4"), weather("f4", days)
    eager = simulate(ds, forcing, outputs=("theta", "drainage"), warmup=1)
    forcing["precipitation"] = forcing.precipitation.chunk(time=chunks(days), y=chunks(NY))
    forcing["pet"] = forcing.pet.chunk(time=chunks(days), x=chunks(NX))
    lazy = simulate(ds.chunk(y=chunks(NY)), forcing, outputs=("theta", "drainage"), warmup=1)
    xr.testing.assert_identical(lazy.compute(scheduler="synchronous"), eager)


def test_ten_years_of_one_day_chunks():
    """3650 time blocks: the state passes through all, and only what is looked at is computed."""
    ds, fixed = site()
    forcing = weather(days=3650, dims=("time",))
    eager, lazy = simulate(ds, forcing, **fixed), simulate(ds, forcing.chunk(time=1), **fixed)
    assert lazy.theta.chunks == ((1,) * 3650,)
    tasks = dict(lazy.theta.__dask_graph__())
    assert len(tasks) < 8 * 3650
    xr.testing.assert_identical(lazy.final_theta.compute(), eager.final_theta)
    xr.testing.assert_identical(lazy.theta[:50].compute(), eager.theta[:50])


def test_graph_has_one_name_for_one_run():
    one, two = (simulate(soil().chunk(y=2), weather().chunk(time=10)) for _ in range(2))
    assert one.theta.data.name == two.theta.data.name
    other = simulate(soil().chunk(y=2), weather().chunk(time=10), substeps=12)
    assert one.theta.data.name != other.theta.data.name


def test_time_blocks_stay_as_they_are():
    lazy = simulate(soil().chunk(y=2), weather().chunk(time=(9, 1, 20)), warmup=9)
    assert lazy.theta.chunks == ((1, 20), (2, 2, 1), (7,))


def test_flipped_axes_give_the_flipped_field():
    ds, forcing = soil(), weather()
    there = simulate(ds.isel(y=slice(None, None, -1)), forcing.isel(y=slice(None, None, -1)))
    xr.testing.assert_identical(there.isel(y=slice(None, None, -1)), simulate(ds, forcing))


def test_user_objects_are_not_written_to():
    ds, forcing = soil("f4"), weather("f4")
    before = ds.copy(deep=True), forcing.copy(deep=True)
    simulate(ds, forcing, initial=ds.theta_fc, outputs=SERIES)
    xr.testing.assert_identical(ds, before[0])
    xr.testing.assert_identical(forcing, before[1])


# Restarts.


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_continues_bit_for_bit_also_through_zarr(tmp_path, dtype):
    ds, forcing = soil(dtype), weather(dtype)
    whole = simulate(ds, forcing, outputs=SERIES)
    first = simulate(ds, forcing.isel(time=slice(0, 11)))
    first.to_zarr(tmp_path / "first.zarr")
    stored = xr.open_zarr(tmp_path / "first.zarr")
    for state in (final_state(first), final_state(stored), first, first.final_theta):
        rest = simulate(ds, forcing.isel(time=slice(11, None)), outputs=SERIES, initial=state)
        for name in (*SERIES, "final_theta"):
            np.testing.assert_array_equal(rest[name], whole[name][11:] if name in SERIES else whole[name], err_msg=name)
    assert list(final_state(first).data_vars) == ["final_theta"]
    assert first.final_theta.attrs["end_time"].startswith("2001-01-11")


def test_warmup_is_run_and_not_returned():
    ds, forcing = soil(), weather()
    whole, short = simulate(ds, forcing, outputs=SERIES), simulate(ds, forcing, outputs=SERIES, warmup=12)
    for name in (*SERIES, "time"):
        xr.testing.assert_identical(short[name], whole[name][12:])
    xr.testing.assert_identical(short.final_theta, whole.final_theta)
    assert short.attrs["warmup"] == 12


def test_initial_as_number_map_and_percent():
    ds, forcing = soil(), weather()
    percent = (ds.theta_fc * 100).assign_attrs(units="percent")
    same = simulate(ds, forcing, initial=percent)
    np.testing.assert_allclose(same.theta, simulate(ds, forcing).theta, rtol=1e-13)
    full = simulate(ds, forcing, initial=1.0)
    xr.testing.assert_equal(full.theta, simulate(ds, forcing, initial=ds.theta_s).theta)
    flag = dict(zip(full.status.attrs["flag_meanings"].split(), full.status.attrs["flag_masks"], strict=True))
    assert (full.status == flag["initial_state_clipped"]).all()


# Dims, metadata.


def test_results_are_on_the_dims_of_the_parameters_whatever_those_of_the_forcing():
    ds, forcing = soil(), weather()
    run = simulate(ds, forcing.transpose("x", "time", "y"), outputs=SERIES)
    assert run.theta.dims == ("time", "y", "x")
    assert run.final_theta.dims == run.status.dims == ("y", "x")
    xr.testing.assert_identical(run, simulate(ds, forcing, outputs=SERIES))


def test_forcing_of_one_site_is_spread():
    forcing = weather(dims=("time",))
    run = simulate(soil(), forcing)
    many = forcing.expand_dims(y=soil().y, x=soil().x).transpose("time", "y", "x")
    xr.testing.assert_identical(run.theta, simulate(soil(), many).theta)


def test_layers_and_members_come_before_the_map():
    ds, forcing = soil(), weather()
    ds["theta_s"] = ds.theta_s + xr.DataArray([0.0, 0.05], dims="depth", coords={"depth": [0.1, 0.3]})
    ds["theta_s"].attrs["units"] = "m3 m-3"
    members = xr.concat([forcing, forcing * 0.5], "member").transpose("time", "member", "y", "x")
    for name in members:
        members[name].attrs["units"] = "mm d-1"
    run = simulate(ds.transpose("depth", "y", "x"), members.isel(member=0))
    assert run.theta.dims == ("time", "depth", "y", "x")
    xr.testing.assert_equal(run.theta.isel(depth=0, drop=True), simulate(soil(), forcing).theta)
    assert simulate(soil(), members).theta.dims == ("time", "member", "y", "x")


def test_all_parameters_as_keywords():
    run = simulate(xr.Dataset(), weather(), k_sat=36.4, **LI)
    assert run.theta.dims == ("time", "y", "x")
    site_run = simulate(*[site()[0], weather().isel(y=0, x=0)], **LI)
    np.testing.assert_array_equal(run.theta.isel(y=0, x=0), site_run.theta)


def test_keywords_win_and_are_recorded():
    run = simulate(soil(), weather(), crop_coefficient=0.5, root_depth=2.0)
    own = soil().assign(crop_coefficient=((), 0.5, {"units": "1"}), root_depth=((), 2.0, {"units": "m"}))
    xr.testing.assert_equal(run.theta, simulate(own, weather()).theta)
    assert run.attrs["crop_coefficient"] == 0.5
    assert run.attrs["root_depth"] == 2.0
    assert run.attrs["substeps"] == 24
    assert run.attrs["initial"] == "field capacity"
    assert run.attrs["title"] == "a soil"
    assert run.attrs["model"] == "water_balance"
    assert "10.1029/2023WR035543" in run.attrs["references"]


def test_a_map_as_keyword_equals_the_variable():
    ds = soil()
    given_map = simulate(ds.drop_vars("k_sat"), weather(), k_sat=ds.k_sat)
    xr.testing.assert_equal(given_map.theta, simulate(ds, weather()).theta)
    assert given_map.attrs["parameters_given_as_maps"] == "k_sat"


def test_units_of_the_vocabulary():
    ds, forcing = soil(), weather()
    other = ds.assign(
        theta_s=(ds.theta_s * 100).assign_attrs(units="%"),
        k_sat=(ds.k_sat / 8.64e6).assign_attrs(units="m/s"),
        root_depth=(ds.root_depth * 100).assign_attrs(units="cm"),
    )
    rain = forcing.assign(precipitation=(forcing.precipitation / 86400).assign_attrs(units="kg m-2 s-1"))
    np.testing.assert_allclose(simulate(other, rain).theta, simulate(ds, forcing).theta, rtol=1e-12)


def test_metadata_of_the_results():
    ds = soil()
    run = simulate(ds, weather(), outputs=SERIES)
    assert run.rio.crs == ds.rio.crs
    assert {"y", "x", "time", "spatial_ref"} == set(run.coords)
    assert run.theta.attrs["units"] == "m3 m-3"
    assert run.theta.attrs["standard_name"] == "volume_fraction_of_condensed_water_in_soil"
    assert run.drainage.attrs["units"] == "mm d-1"
    for name in run.data_vars:
        assert run[name].encoding["grid_mapping"] == "spatial_ref", name
    for name in PARAMETERS:
        ds[name].encoding.pop("grid_mapping", None)
        ds[name].attrs["grid_mapping"] = "spatial_ref"
    assert simulate(ds, weather()).theta.attrs["grid_mapping"] == "spatial_ref"
    masks = run.status.attrs["flag_masks"]
    assert masks.dtype == run.status.dtype
    assert len(masks) == len(run.status.attrs["flag_meanings"].split())
    assert simulate(ds, weather(), outputs="runoff").drop_vars(["final_theta", "status"]).data_vars.keys() == {"runoff"}


def test_coordinates_of_sites_are_kept():
    ds, fixed = site()
    sites = ds.expand_dims(site=["a", "b"]).assign_coords(lat=("site", [50.0, 51.0]))
    forcing = weather(dims=("time",)).assign_coords(doy=("time", np.arange(1, DAYS + 1)))
    run = simulate(sites, forcing, warmup=3, **fixed)
    assert run.theta.dims == ("time", "site")
    np.testing.assert_array_equal(run.lat, [50.0, 51.0])
    np.testing.assert_array_equal(run.doy, np.arange(4, DAYS + 1))


def test_theta_obs_is_the_observation_of_theta():
    ds, forcing = soil("f4"), weather("f4")
    bias = xr.DataArray(np.full(NX, 0.05, "f4"), dims="x", attrs={"units": "m3 m-3"})
    run = simulate(ds, forcing, outputs=("theta_obs", "theta"), obs_scale=1.2, obs_bias=bias)
    np.testing.assert_allclose(run.theta_obs, 1.2 * run.theta + 0.05, rtol=1e-6)
    assert run.theta_obs.dtype == np.float32
    alone = simulate(ds, forcing, outputs="theta_obs", obs_scale=1.2, obs_bias=bias)
    xr.testing.assert_identical(alone.theta_obs, run.theta_obs)


# Value faults never raise.


@pytest.mark.parametrize("lazy", [False, True])
def test_value_faults_become_nan_with_a_flag(lazy):
    ds, forcing = soil(), weather()
    ds.theta_s[0, 0] = np.nan
    ds.theta_s[0, 1] = ds.theta_fc[0, 1]
    forcing.precipitation[10, 0, 2] = np.nan
    forcing.pet[20, 0, 3] = -1.0
    if lazy:
        ds, forcing = ds.chunk(y=2), forcing.chunk(time=7)
    run = simulate(ds, forcing).compute()
    flags = dict(zip(run.status.attrs["flag_meanings"].split(), run.status.attrs["flag_masks"], strict=True))
    named = ["missing_parameter", "impossible_parameters", "missing_forcing", "negative_forcing"]
    assert run.status.values[0, :5].tolist() == [*(flags[name] for name in named), 0]
    assert run.theta.isnull().sum("time").values[0, :5].tolist() == [DAYS, DAYS, DAYS - 10, DAYS - 20, 0]
    assert not run.status[1:].any()
    assert not run.theta[:, 1:].isnull().any()


def test_all_missing_input_is_legal():
    run = simulate(soil().map(lambda v: v * np.nan, keep_attrs=True), weather())
    assert run.theta.isnull().all()


# Metadata faults raise.


def run_with(ds=None, forcing=None, **options):
    return simulate(soil() if ds is None else ds, weather() if forcing is None else forcing, **options)


def without(name):
    ds = soil()
    del ds[name].attrs["units"]
    return ds


FAULTS = {
    "time gap": (lambda: run_with(forcing=weather().isel(time=[0, 1, 3])), TimeError, "gap"),
    "unsorted": (lambda: run_with(forcing=weather().isel(time=[1, 0, 2])), TimeError, "sortby"),
    "no time": (lambda: run_with(forcing=weather().isel(time=0)), TimeError, "time"),
    "hourly": (
        lambda: run_with(forcing=weather().assign_coords(time=pd.date_range("2001", periods=DAYS, freq="h"))),
        TimeError,
        "resample",
    ),
    "shifted grid": (
        lambda: run_with(forcing=weather().assign_coords(x=weather().x + 250)), GridMismatchError, "upscale",
    ),
    "other size": (lambda: run_with(forcing=weather().isel(x=slice(3))), GridMismatchError, "upscale"),
    "site far away": (
        lambda: simulate(soil().isel(x=0, y=0).assign_coords(x=9e6), weather()), GridMismatchError, "'x' is 9e",
    ),
    "far from one pixel": (
        lambda: simulate(soil(), weather().isel(x=0, y=0).assign_coords(y=-9e6)), GridMismatchError, "'y' is -9e",
    ),
    "flipped": (lambda: run_with(forcing=weather().isel(y=slice(None, None, -1))), GridMismatchError, "upscale"),
    "other names": (lambda: run_with(forcing=weather().rename(y="lat", x="lon")), GridMismatchError, "rename"),
    "other crs": (
        lambda: run_with(forcing=weather().rio.write_crs("EPSG:32632")), GridMismatchError, "CRS",
    ),
    "no units": (lambda: run_with(without("k_sat")), UnitsError, r"attrs\['units'\] = 'cm d-1'"),
    "wrong units": (
        lambda: run_with(forcing=weather().assign(pet=weather().pet.assign_attrs(units="K"))), UnitsError, "'K'",
    ),
    "no pet": (lambda: run_with(forcing=weather()[["precipitation"]]), MissingVariableError, "pet"),
    "parameter with time": (
        lambda: run_with(soil().assign(k_sat=soil().k_sat.expand_dims(time=weather().time))), ArgumentError, "time",
    ),
    "unknown model": (lambda: run_with(model="richard"), UnknownNameError, "did you mean 'richards'"),
    "unknown output": (lambda: run_with(outputs=("theta", "drainag")), UnknownNameError, "did you mean 'drainage'"),
    "unknown keyword": (lambda: run_with(thetas=0.5), UnknownNameError, "did you mean 'theta_s'"),
    "option of the other model": (lambda: run_with(column_depth=0.6), ArgumentError, "column_depth with model='water_b"),
    "state of the other model": (
        lambda: run_with(initial=xr.Dataset({"final_h": 1.0})), ArgumentError, "model='richards' \\(it holds final_h",
    ),
    "warmup too long": (lambda: run_with(warmup=DAYS), ArgumentError, "30 days"),
    "negative warmup": (lambda: run_with(warmup=-1), ArgumentError, "warmup"),
    "no substeps": (lambda: run_with(substeps=0), ArgumentError, "substeps"),
    "half a substep": (lambda: run_with(substeps=2.5), ArgumentError, "substeps"),
    "text as parameter": (lambda: run_with(theta_s="high"), ArgumentError, "number"),
    "list as initial": (lambda: run_with(initial=[0.1, 0.2]), ArgumentError, "final_state"),
    "initial with time": (lambda: run_with(initial=run_with().theta), TimeError, "isel"),
    "initial elsewhere": (lambda: run_with(initial=soil().theta_fc.isel(x=slice(2))), GridMismatchError, "initial"),
    "initial on other dims": (
        lambda: run_with(initial=xr.DataArray([0.1], dims="site", attrs={"units": "1"})), GridMismatchError, "site",
    ),
    "initial without units": (lambda: run_with(initial=soil().theta_fc.drop_attrs()), UnitsError, "units"),
    "initial of nothing": (lambda: run_with(initial=weather()), MissingVariableError, "final_theta"),
    "keyword map elsewhere": (
        lambda: run_with(k_sat=soil().k_sat.isel(x=slice(2))), GridMismatchError, "'k_sat'",
    ),
    "state of no run": (lambda: final_state(soil()), MissingVariableError, "final_theta"),
    "no scale": (lambda: run_with(outputs="theta_obs"), MissingVariableError, "obs_scale"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_metadata_faults_raise(fault):
    call, error, message = FAULTS[fault]
    with pytest.raises(error, match=message):
        call()


def test_missing_parameters_show_the_keywords():
    with pytest.raises(MissingVariableError) as caught:
        simulate(soil()[["theta_s"]], weather())
    message = str(caught.value)
    for name in PARAMETERS[1:]:
        assert name in message
    for text in ("theta_fc=0.2", "theta_wp=0.078", "root_depth=1.0", "depletion_fraction=0.1", "crop_coefficient=0.5"):
        assert text in message
    assert "theta_s=" not in message
    assert "ptf" in message


def test_one_site_of_a_map_with_weather_maps():
    """The scalar x and y of a single site do not collide with those of the weather maps."""
    days = pd.date_range("2020-01-01", periods=3)
    units, dims = {"units": "mm d-1"}, ("time", "y", "x")
    place = {"y": [2.0, 1.0], "x": [5.0, 6.0]}
    weather = xr.Dataset(
        {"precipitation": (dims, np.ones((3, 2, 2)), units), "pet": (dims, np.ones((3, 2, 2)), units)},
        {"time": days, **place},
    )
    k_sat = xr.Dataset({"k_sat": (("y", "x"), np.full((2, 2), 30.0), {"units": "cm d-1"})}, place)
    li = {"theta_s": 0.5, "theta_fc": 0.2, "theta_wp": 0.078}
    li |= {"root_depth": 1.0, "depletion_fraction": 0.1, "crop_coefficient": 0.5}
    run = simulate(k_sat.isel(y=0, x=0), weather, **li)
    np.testing.assert_array_equal(run.theta, simulate(k_sat, weather, **li).theta)
    np.testing.assert_array_equal(run.x, weather.x)
