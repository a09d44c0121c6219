"""`rootzone`: the weighted mean it stands for, gaps, irregular times, chunks, restarts, metadata, faults."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from uneven_chunks import cuts

from xsoil.errors import ArgumentError, GridMismatchError, MissingVariableError, TimeError, UnitsError
from xsoil.verbs.rootzone import FLAGS, rootzone
from xsoil.verbs.simulate import final_state

NT, NY, NX = 40, 4, 6


def surface(dtype="f4", share=0.4, irregular=True, seed=0):
    """Series with gaps on a grid; the last cell is never observed."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.05, 0.45, (NT, NY, NX)).astype(dtype)
    values[rng.random(values.shape) < share] = np.nan
    values[:, -1, -1] = np.nan
    hours = np.cumsum(rng.integers(1, 90, NT)) if irregular else 24 * np.arange(NT)
    ds = xr.Dataset(
        {"soil_moisture": (("time", "y", "x"), values, {"units": "m3 m-3", "long_name": "surface soil moisture"})},
        {
            "time": pd.Timestamp("2015-04-01") + pd.to_timedelta(hours, unit="h"),
            "y": 9000.0 - 3000 * np.arange(NY), "x": 3000.0 * np.arange(NX),
        },
        {"title": "a satellite"},
    )  # fmt: skip
    return ds.rio.write_crs("EPSG:6933")


def scales(dtype="f8"):
    days = np.random.default_rng(3).uniform(1, 40, (NY, NX)).astype(dtype)
    ds = surface()
    return xr.DataArray(days, {"y": ds.y, "x": ds.x}, ("y", "x"), attrs={"units": "d"})


def weighted_mean(ds, T):
    """The definition of Wagner et al. (1999): all observations so far, weighted by exp(-age / T)."""
    values = ds.soil_moisture.values.astype(float)
    days = (ds.time.values - ds.time.values[0]) / np.timedelta64(1, "D")
    out = np.full(values.shape, np.nan)
    for t in range(len(days)):
        weights = np.exp(-(days[t] - days[: t + 1])[:, None, None] / T) * np.isfinite(values[: t + 1])
        total = weights.sum(axis=0)
        with np.errstate(invalid="ignore"):
            out[t] = (weights * np.nan_to_num(values[: t + 1])).sum(axis=0) / total
    return out


def recursive(values, days, T):
    """The gain of Albergel et al. (2008), over the observations of one series only."""
    swi, gain, last, out = np.nan, 1.0, 0.0, []
    for value, day in zip(values, days, strict=True):
        if np.isfinite(value):
            gain = 1.0 if np.isnan(swi) else gain / (gain + np.exp(-(day - last) / T))
            swi = value if np.isnan(swi) else swi + gain * (value - swi)
            last = day
        out.append(swi)
    return out


# What it is.


def test_is_the_weighted_mean_of_all_observations_so_far():
    ds, days = surface("f8"), scales()
    np.testing.assert_allclose(rootzone(ds, T=days).soil_moisture, weighted_mean(ds, days.values), rtol=1e-13)
    np.testing.assert_allclose(rootzone(ds, T=12).soil_moisture, weighted_mean(ds, 12.0), rtol=1e-13)


def test_is_the_recursion_of_albergel():
    ds = surface("f8", irregular=True).isel(y=1, x=2)
    days = (ds.time.values - ds.time.values[0]) / np.timedelta64(1, "D")
    found = rootzone(ds, T=5.5)
    np.testing.assert_allclose(found.soil_moisture, recursive(ds.soil_moisture.values, days, 5.5), rtol=1e-13)


def test_closed_form_of_a_step():
    """Dry until day 0, then wet: after n wet days of N the weights are a geometric series."""
    T, before, after = 10.0, 30, 25
    values = np.r_[np.full(before, 0.1), np.full(after, 0.3)]
    ds = xr.Dataset(
        {"theta": ("time", values, {"units": "m3 m-3"})}, {"time": pd.date_range("2020", periods=before + after)}
    )
    r, n = np.exp(-1 / T), np.arange(1, after + 1)
    wet = (1 - r**n) / (1 - r ** (before + n))
    np.testing.assert_allclose(rootzone(ds, T=T).theta[before:], 0.1 + 0.2 * wet, rtol=1e-13)
    np.testing.assert_array_equal(rootzone(ds, T=T).theta[:before], 0.1)


def test_a_gap_keeps_the_value_and_forgets_the_past():
    days = pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03", "2022-01-03"])
    ds = xr.Dataset({"theta": ("time", [0.1, 0.2, np.nan, 0.4], {"units": "m3 m-3"})}, {"time": days})
    run = rootzone(ds, T=2.0)
    assert run.theta[2] == run.theta[1]
    assert run.theta[3] == pytest.approx(0.4, abs=1e-15)
    assert run.final_weight == pytest.approx(1.0, abs=1e-15)


def test_a_cell_without_observations_is_nan_until_its_first():
    ds = surface()
    first = np.isfinite(ds.soil_moisture).argmax("time")
    run = rootzone(ds, T=10)
    missing = run.soil_moisture.isnull().sum("time")
    assert missing[-1, -1] == NT
    assert run.status[-1, -1] == FLAGS["no_observation"]
    np.testing.assert_array_equal(missing.values.ravel()[:-1], first.values.ravel()[:-1])
    assert (run.status.values.ravel()[:-1] == 0).all()


@given(st.floats(0.01, 1e4), st.integers(0, 99))
@settings(max_examples=25)
def test_stays_between_the_extremes(T, seed):
    ds = surface("f8", seed=seed)
    run = rootzone(ds, T=T).soil_moisture
    highest = np.fmax.accumulate(ds.soil_moisture.values)
    lowest = np.fmin.accumulate(ds.soil_moisture.values)
    assert np.array_equal(np.isnan(run), np.isnan(highest))
    assert not (run > highest + 1e-15).any()
    assert not (run < lowest - 1e-15).any()


def test_infinite_values_and_undeclared_nodata_are_no_observations():
    ds = surface("f8")
    there = ds.soil_moisture.copy()
    there[7], there[9] = np.inf, -9999.0
    gone = ds.soil_moisture.copy()
    gone[[7, 9]] = np.nan
    np.testing.assert_array_equal(rootzone(there, T=5).soil_moisture, rootzone(gone, T=5).soil_moisture)


# Lazy in, lazy out, and chunks that change nothing.


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(
    ("chunks", "scale_chunks"),
    [({"time": 1}, None), ({"time": 7, "x": 2}, {"y": 3}), ({"y": 1}, {}), (None, {"x": 4})],
)
def test_lazy_equals_eager(no_compute, dtype, chunks, scale_chunks):
    ds, T = surface(dtype), scales()
    eager = rootzone(ds, T=T)
    lazy = rootzone(ds if chunks is None else ds.chunk(chunks), T=T if scale_chunks is None else T.chunk(scale_chunks))
    for name in ("soil_moisture", "final_soil_moisture", "final_weight", "status"):
        assert isinstance(lazy[name].data, da.Array), name
        assert lazy[name].dtype == eager[name].dtype, name
    assert eager.soil_moisture.dtype == dtype
    xr.testing.assert_identical(lazy.compute(scheduler="threads"), eager)


@given(st.data())
@settings(max_examples=15)
def test_no_chunking_changes_a_bit(data):
    def chunks(total):
        return data.draw(cuts(total))

    ds = surface()
    lazy = rootzone(ds.chunk(time=chunks(NT), y=chunks(NY), x=chunks(NX)), T=scales().chunk(x=chunks(NX)))
    xr.testing.assert_identical(lazy.compute(scheduler="synchronous"), rootzone(ds, T=scales()))


def test_many_cells_on_threads_equal_each_alone():
    """More cells than the kernel takes at a time."""
    rng = np.random.default_rng(0)
    values = np.where(rng.random((20, 2100)) < 0.5, np.nan, rng.random((20, 2100)))
    ds = xr.Dataset({"theta": (("time", "cell"), values, {"units": "1"})}, {"time": pd.date_range("2020", periods=20)})
    whole = rootzone(ds, T=4).theta
    for cell in (0, 511, 512, 1700, 2099):
        np.testing.assert_array_equal(whole[:, cell], rootzone(ds.isel(cell=[cell]), T=4).theta[:, 0])


# Restarts.


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("cut", [1, 17])
def test_continues_bit_for_bit_also_through_zarr(tmp_path, dtype, cut):
    ds, T = surface(dtype), scales()
    whole = rootzone(ds, T=T)
    first = rootzone(ds.isel(time=slice(cut)), T=T)
    first.to_zarr(tmp_path / "first.zarr")
    with xr.open_zarr(tmp_path / "first.zarr") as stored:
        for state in (first, final_state(first), final_state(stored)):
            rest = rootzone(ds.isel(time=slice(cut, None)), T=T, initial=state)
            np.testing.assert_array_equal(rest.soil_moisture, whole.soil_moisture[cut:])
            for name in ("final_soil_moisture", "final_weight", "final_time", "status"):
                np.testing.assert_array_equal(rest[name], whole[name], err_msg=name)
    lazy = rootzone(ds.isel(time=slice(cut, None)).chunk(time=5, y=1), T=T, initial=first)
    np.testing.assert_array_equal(lazy.soil_moisture, whole.soil_moisture[cut:])


# Dims, time scales, metadata.


def test_several_time_scales_at_once():
    T = xr.DataArray([5.0, 20.0], {"T": [5, 20]}, "T", attrs={"units": "d"})
    run = rootzone(surface(), T=T)
    assert run.soil_moisture.dims == ("time", "T", "y", "x")
    for days in (5, 20):
        np.testing.assert_array_equal(run.soil_moisture.sel(T=days), rootzone(surface(), T=days).soil_moisture)


def test_time_scale_in_other_units():
    T = scales()
    hours = (T * 24).assign_attrs(units="h")
    differences = (T * 86400e9).astype("timedelta64[ns]")
    expected = rootzone(surface("f8"), T=T).soil_moisture
    np.testing.assert_allclose(rootzone(surface("f8"), T=hours).soil_moisture, expected, rtol=1e-12)
    np.testing.assert_allclose(rootzone(surface("f8"), T=differences).soil_moisture, expected, rtol=1e-9)


def test_order_of_dims_and_of_axes_does_not_matter():
    ds, T = surface(), scales()
    run = rootzone(ds, T=T)
    turned = rootzone(ds.transpose("x", "time", "y"), T=T)
    assert turned.soil_moisture.dims == ("time", "x", "y")
    np.testing.assert_array_equal(turned.soil_moisture.transpose("time", "y", "x"), run.soil_moisture)
    back = {"y": slice(None, None, -1)}
    np.testing.assert_array_equal(rootzone(ds.isel(back), T=T.isel(back)).soil_moisture.isel(back), run.soil_moisture)


def test_metadata_and_untouched_input():
    ds = surface()
    ds["quality"] = ("time", np.arange(NT))
    before = ds.copy(deep=True)
    run = rootzone(ds, T=10)
    xr.testing.assert_identical(ds, before)
    assert run.rio.crs == ds.rio.crs
    for name in ("soil_moisture", "final_soil_moisture", "final_weight", "status"):
        assert run[name].encoding["grid_mapping"] == "spatial_ref", name
    attrs = run.soil_moisture.attrs
    assert attrs["units"] == "m3 m-3"
    assert attrs["long_name"] == "surface soil moisture, exponential filter"
    assert "exp(-age / T)" in attrs["cell_methods"]
    assert "10.1016/S0034-4257(99)00036-X" in attrs["references"]
    assert "10.5194/hess-12-1323-2008" in attrs["references"]
    assert run.attrs["time_scale"] == 10.0
    assert run.attrs["title"] == "a satellite"
    assert rootzone(ds, T=scales()).attrs["time_scale"] == "given as a map"
    assert len(run.status.attrs["flag_masks"]) == len(run.status.attrs["flag_meanings"].split())


def test_integers_with_nodata_and_scale():
    values = np.array([100, -999, 300], np.int16)
    attrs = {"units": "%", "_FillValue": np.int16(-999), "scale_factor": 0.1}
    ds = xr.Dataset({"ssm": ("time", values, attrs)}, {"time": pd.date_range("2020", periods=3)})
    run = rootzone(ds, T=10)
    assert run.ssm.dtype == np.float32
    np.testing.assert_allclose(run.ssm[:2], 10.0, rtol=1e-6)
    assert run.ssm.attrs["units"] == "%"


def test_other_calendars():
    ds = surface("f8", irregular=False).isel(y=0, x=0)
    other = ds.assign_coords(time=xr.date_range("2015-02-20", periods=NT, calendar="360_day", use_cftime=True))
    np.testing.assert_array_equal(rootzone(other, T=6).soil_moisture, rootzone(ds, T=6).soil_moisture)
    first = rootzone(other.isel(time=slice(9)), T=6)
    rest = rootzone(other.isel(time=slice(9, None)), T=6, initial=first)
    np.testing.assert_array_equal(rest.soil_moisture, rootzone(other, T=6).soil_moisture[9:])


def test_variable_is_chosen():
    ds = surface().rename(soil_moisture="theta").assign(other=surface().soil_moisture)
    assert "theta" in rootzone(ds, T=3)
    assert "other" in rootzone(ds, T=3, variable="other")
    assert rootzone(ds.other, T=3).attrs["filtered"] == "other"


# Value faults never raise, metadata faults do.


def test_impossible_time_scales_are_nan_cells():
    T = scales()
    T[0, 0], T[0, 1], T[0, 2] = np.nan, 0.0, np.inf
    run = rootzone(surface(), T=T)
    bad = FLAGS["impossible_time_scale"]
    assert run.status.values[0, :4].tolist() == [FLAGS["missing_time_scale"], bad, bad, 0]
    assert run.soil_moisture[:, 0, :3].isnull().all()
    np.testing.assert_array_equal(run.soil_moisture[:, 1:], rootzone(surface(), T=scales()).soil_moisture[:, 1:])


def state(**change):
    return rootzone(surface().isel(time=slice(5)), T=5).assign(change)


def restarted(initial, ds=None):
    return rootzone((surface() if ds is None else ds).isel(time=slice(5, None)), T=5, initial=initial)


FAULTS = {
    "T zero": (lambda: rootzone(surface(), T=0), ArgumentError, "positive number of days"),
    "T missing": (lambda: rootzone(surface(), T=float("nan")), ArgumentError, "positive"),
    "T list": (lambda: rootzone(surface(), T=[1, 2]), ArgumentError, "DataArray with units"),
    "T text": (lambda: rootzone(surface(), T="10 d"), ArgumentError, "DataArray with units"),
    "T without units": (lambda: rootzone(surface(), T=scales().drop_attrs()), UnitsError, "no units"),
    "T in metres": (lambda: rootzone(surface(), T=scales().assign_attrs(units="m")), UnitsError, "'m'"),
    "T with time": (lambda: rootzone(surface(), T=surface().soil_moisture), ArgumentError, "isel"),
    "T elsewhere": (
        lambda: rootzone(surface(), T=scales().assign_coords(x=scales().x + 500)), GridMismatchError, "upscale",
    ),
    "T of another size": (lambda: rootzone(surface(), T=scales().isel(x=slice(2))), GridMismatchError, "cells"),
    "no units": (lambda: rootzone(surface().soil_moisture.drop_attrs(), T=5), UnitsError, "m3 m-3"),
    "no series": (lambda: rootzone(surface()[["spatial_ref"]], T=5), MissingVariableError, "variable="),
    "unknown variable": (lambda: rootzone(surface(), T=5, variable="sm"), MissingVariableError, "'sm'"),
    "several": (
        lambda: rootzone(surface().rename(soil_moisture="a").assign(b=surface().soil_moisture), T=5),
        MissingVariableError,
        "variable=",
    ),
    "classes": (
        lambda: rootzone(surface().soil_moisture.assign_attrs(flag_values=[1, 2]), T=5), ArgumentError, "classes",
    ),
    "no time": (lambda: rootzone(surface().isel(time=0), T=5), TimeError, "no dimension 'time'"),
    "no dates": (lambda: rootzone(surface().drop_vars("time"), T=5), TimeError, "no time coordinate"),
    "numbers as dates": (lambda: rootzone(surface().assign_coords(time=range(NT)), T=5), TimeError, "expected dates"),
    "empty": (lambda: rootzone(surface().isel(time=slice(0)), T=5), TimeError, "at least one"),
    "unsorted": (lambda: rootzone(surface().isel(time=[1, 0, 2]), T=5), TimeError, "sortby"),
    "repeated": (lambda: rootzone(surface().isel(time=[0, 1, 1]), T=5), TimeError, "drop_duplicates"),
    "initial of another verb": (lambda: restarted(surface()), MissingVariableError, "final_soil_moisture"),
    "initial number": (lambda: restarted(0.2), MissingVariableError, "float"),
    "initial too late": (lambda: restarted(rootzone(surface(), T=5)), TimeError, "before the first"),
    "initial in other units": (
        lambda: restarted(state(final_soil_moisture=state().final_soil_moisture.assign_attrs(units="%"))),
        UnitsError,
        "'%'",
    ),
    "initial elsewhere": (lambda: restarted(state().isel(x=slice(2))), GridMismatchError, "initial"),
    "initial on other dims": (lambda: restarted(state(), surface().isel(x=0, drop=True)), ArgumentError, "'x'"),
    "initial unlike T, the one with places": (
        lambda: rootzone(
            surface().isel(y=0, x=0, drop=True).isel(time=slice(5, None)), T=scales(),
            initial=rootzone(surface().isel(y=0, x=0, drop=True).isel(time=slice(5)), T=scales()[::-1]),
        ),
        GridMismatchError, "initial: the coordinates of 'y' differ",
    ),
    "initial without a date": (lambda: restarted(state(final_time=3.0)), TimeError, "decode_cf"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("lazy", [False, True])
def test_metadata_faults_raise(no_compute, fault, lazy, monkeypatch):
    call, error, message = FAULTS[fault]
    if lazy:
        plain = surface
        monkeypatch.setitem(globals(), "surface", lambda *args, **kwargs: plain(*args, **kwargs).chunk(x=2))
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("chunks", [None, {"time": 10}])
def test_a_selection_of_no_cells(chunks):
    ds = surface().isel(x=slice(0))
    out = rootzone(ds if chunks is None else ds.chunk(chunks), T=5).compute()
    assert out.soil_moisture.shape == (NT, NY, 0)
    assert out.final_weight.shape == (NY, 0)
