"""`simulate`, the water balance: stored reference runs, dims, metadata."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from simulated import DAYS, LI, NX, SERIES, site, soil, weather

from xsoil.verbs._water_balance import PARAMETERS
from xsoil.verbs.simulate import simulate

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
