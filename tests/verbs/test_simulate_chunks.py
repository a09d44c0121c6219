"""`simulate`, the water balance: chunks that change nothing, restarts."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import NX, NY, SERIES, site, soil, weather
from uneven_chunks import cuts

from xsoil.verbs.simulate import final_state, simulate

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
        return data.draw(cuts(total))

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
    assert set(final_state(first).data_vars) == {"final_theta", "status"}
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


def test_flags_go_on_with_the_state():
    ds, forcing = soil(), weather()
    ds.k_sat[0, 0] = np.nan
    forcing.pet[5, 0, 1] = np.nan
    forcing.pet[6, 0, 2] = -1.0
    forcing.pet[20, 0, 3] = np.nan
    start = (ds.theta_fc + 0.01).assign_attrs(units="m3 m-3")
    start[1, 0], start[1, 1] = 0.9, np.nan
    whole = simulate(ds, forcing, initial=start)
    first = simulate(ds, forcing.isel(time=slice(11)), initial=start)
    rest = forcing.isel(time=slice(11, None))
    for there in (first, first.chunk(y=2), final_state(first)):
        found = simulate(ds, rest.chunk(time=4), initial=there).compute()
        np.testing.assert_array_equal(found.status, whole.status)
        np.testing.assert_array_equal(found.final_theta, whole.final_theta)
    assert set(np.unique(whole.status)) == {0, 1, 4, 8, 16, 32}
    other = first.assign(status=first.status.assign_attrs(flag_meanings="of another verb"))
    assert simulate(ds, rest, initial=other).status.values[0, 1] == 32
    filled = final_state(first).fillna(0.2)
    assert simulate(soil(), rest.fillna(1.0), initial=filled).status.values[0, 1] == 0  # a reason that is gone


@pytest.mark.parametrize("chunks", [None, {"time": 10}])
def test_a_selection_of_no_cells(chunks):
    ds, forcing = soil("f4").isel(y=slice(0)), weather("f4").isel(y=slice(0))
    run = simulate(ds, forcing if chunks is None else forcing.chunk(chunks), outputs=SERIES, warmup=4).compute()
    assert run.theta.shape == (forcing.sizes["time"] - 4, 0, NX)
    assert run.final_theta.shape == run.status.shape == (0, NX)
