"""`fill_gaps`: what it fills and what it leaves, chunks, irregular times, metadata, faults."""

from __future__ import annotations

from datetime import timedelta

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr

from xsoil.errors import ArgumentError, AxisError, MissingVariableError, TimeError, UnitsError, UnknownNameError
from xsoil.kernels.cosine_smoothing import smooth_field
from xsoil.kernels.gaps import smooth
from xsoil.verbs.fill_gaps import fill_gaps

NT, NY, NX = 60, 4, 6


def world(dtype="f4", share=0.5, irregular=False, seed=0):
    """Series with gaps on a grid; the last cell is never observed."""
    rng = np.random.default_rng(seed)
    t, y, x = np.indices((NT, NY, NX))
    values = (0.25 + 0.1 * np.sin(t / 6 + y) + 0.02 * x + rng.normal(0, 0.01, t.shape)).astype(dtype)
    values[rng.random(values.shape) < share] = np.nan
    values[:, -1, -1] = np.nan
    days = np.cumsum(rng.integers(1, 4, NT)) if irregular else np.arange(NT)
    ds = xr.Dataset(
        {
            "soil_moisture": (("time", "y", "x"), values, {"units": "m3 m-3", "long_name": "surface soil moisture"}),
            "sand": (("y", "x"), np.full((NY, NX), 40.0), {"units": "%"}),
        },
        {
            "time": pd.Timestamp("2015-04-01") + pd.to_timedelta(days, unit="D"),
            "y": 9000.0 - 3000 * np.arange(NY), "x": 3000.0 * np.arange(NX),
        },
        {"title": "a satellite"},
    )  # fmt: skip
    return ds.rio.write_crs("EPSG:6933")


OPTIONS = {
    "linear": {"method": "linear", "max_gap": 4},
    "dct": {"method": "dct", "max_gap": 6, "std": True, "valid_range": "physical"},
    "dct, order 1": {"method": "dct", "order": 1, "extrapolate": True},
    "dct, field": {"method": "dct", "dims": ("time", "y", "x"), "max_gap": 5},
}
every = pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))


# What it fills.


@every
@pytest.mark.parametrize("irregular", [False, True])
def test_observations_stay_and_the_mask_tells_the_rest(options, irregular):
    ds = world(irregular=irregular)
    run = fill_gaps(ds, **options)
    given, found, mask = ds.soil_moisture, run.soil_moisture, run.soil_moisture_filled
    np.testing.assert_array_equal(found.where(given.notnull()), given)
    np.testing.assert_array_equal(mask == 1, given.isnull() & found.notnull())
    assert mask.dtype == np.uint8
    assert mask.sum() > 40
    assert found[:, -1, -1].isnull().all()
    if "soil_moisture_std" in run:
        np.testing.assert_array_equal(run.soil_moisture_std.notnull(), mask == 1)
        assert (run.soil_moisture_std.where(mask == 1, 1) > 0).all()


@pytest.mark.parametrize("irregular", [False, True])
def test_linear_is_that_of_xarray(irregular):
    ds = world("f8", irregular=irregular)
    for days in (2, 3.5, 10):
        expected = ds.soil_moisture.interpolate_na("time", max_gap=pd.Timedelta(days, "D"))
        for gap in (days, pd.Timedelta(days, "D"), timedelta(days=days), np.timedelta64(round(days * 24), "h")):
            np.testing.assert_allclose(fill_gaps(ds, max_gap=gap).soil_moisture, expected, rtol=1e-12)


@every
def test_extrapolation_only_when_asked(options):
    ds = world()
    ds.soil_moisture[:5, 0, 0] = np.nan
    ds.soil_moisture[-3:, 0, 0] = np.nan
    ds.soil_moisture[[5, -4], 0, 0] = 0.3
    inside = fill_gaps(ds, **options | {"extrapolate": False, "max_gap": None}).soil_moisture[:, 0, 0]
    beyond = fill_gaps(ds, **options | {"extrapolate": True, "max_gap": None}).soil_moisture[:, 0, 0]
    assert beyond.notnull().all()
    if "dims" not in options:
        assert inside.isnull().values.nonzero()[0].tolist() == [0, 1, 2, 3, 4, NT - 3, NT - 2, NT - 1]
    if options["method"] == "linear":
        assert (beyond[:5] == beyond[5]).all()


@pytest.mark.parametrize("method", ["linear", "dct"])
@pytest.mark.parametrize("hours", [2, 5, 7])
def test_a_gap_of_just_max_gap_is_filled_at_any_hour(method, hours):
    times = pd.date_range("2019-07-03", periods=400, freq="h")
    values = np.where(np.arange(400) % 20 < hours - 1, np.nan, 0.2)
    values[0] = 0.2
    ds = xr.Dataset({"soil_moisture": ("time", values, {"units": "m3 m-3"})}, {"time": times}).isel(
        time=slice(10, None)
    )
    for gap in (timedelta(hours=hours), hours / 24):
        assert fill_gaps(ds, method, max_gap=gap).soil_moisture.notnull().all()
    shorter = fill_gaps(ds, method, max_gap=timedelta(hours=hours, seconds=-1))
    assert not shorter.soil_moisture_filled.any()


def test_dct_is_the_kernel_on_the_missing_places():
    ds = world("f8", irregular=True)
    at = ((ds.time - ds.time[0]) / np.timedelta64(1, "D")).values.astype(int)
    run = fill_gaps(ds, "dct", smoothness=3.0, extrapolate=True, std=True)
    values, spread, _ = smooth(ds.soil_moisture.values.reshape(NT, -1), at, penalty=3.0)
    mask = run.soil_moisture_filled.values == 1
    np.testing.assert_array_equal(run.soil_moisture.values[mask], values.reshape(mask.shape)[mask])
    np.testing.assert_array_equal(run.soil_moisture_std.values[mask], spread.reshape(mask.shape)[mask])


def test_field_of_each_depth_by_itself():
    ds = world("f8").expand_dims(depth=[0.05, 0.1]).transpose("y", "depth", "time", "x")
    run = fill_gaps(ds, "dct", dims=("time", "y", "x"), smoothness=0.5)
    assert run.soil_moisture.dims == ("y", "depth", "time", "x")
    field = smooth_field(ds.soil_moisture.isel(depth=1).transpose("time", "y", "x").values, penalty=0.5)[0]
    found = run.soil_moisture.isel(depth=1).transpose("time", "y", "x").values
    mask = run.soil_moisture_filled.isel(depth=1).transpose("time", "y", "x").values == 1
    np.testing.assert_allclose(found[mask], field[mask], rtol=1e-12)


def test_neighbours_help_where_a_cell_has_none():
    """Three dims fill a long gap by what is around; time alone cannot know it."""
    t, y, x = np.indices((NT, NY, NX))
    truth = 0.25 + 0.1 * np.sin(t / 4) + 0.01 * (x + y)
    ds = world("f8")
    values = np.where(ds.soil_moisture.notnull(), truth, np.nan)
    values[20:40, 1, 2] = np.nan
    ds = ds.assign(soil_moisture=ds.soil_moisture.copy(data=values))
    errors = {
        dims: float(np.abs(fill_gaps(ds, "dct", dims=dims).soil_moisture[20:40, 1, 2] - truth[20:40, 1, 2]).max())
        for dims in ("time", ("time", "y", "x"))
    }
    assert errors["time", "y", "x"] < 0.02
    assert errors["time"] > 0.05


def test_valid_range():
    ds = world()
    low, high = 0.2, 0.3
    run = fill_gaps(ds, "dct", valid_range=(low, high))
    filled = run.soil_moisture.values[run.soil_moisture_filled.values == 1]
    assert low <= filled.min()
    assert filled.max() <= np.float32(high)
    assert float(run.soil_moisture.max()) > high  # what was observed stays
    percent = ds.assign(soil_moisture=(100 * ds.soil_moisture).assign_attrs(units="%"))
    wild = percent.copy()
    wild.soil_moisture[::2] = 150.0
    assert fill_gaps(wild, "dct", valid_range="physical").soil_moisture.where(percent.soil_moisture.isnull()).isel(
        time=slice(1, None, 2)
    ).max() <= 100  # fmt: skip


def test_one_method_after_another_continues_the_mask():
    ds = world()
    first = fill_gaps(ds, max_gap=2)
    both = fill_gaps(first, "dct")
    np.testing.assert_array_equal(
        both.soil_moisture_filled == 1, ds.soil_moisture.isnull() & both.soil_moisture.notnull()
    )
    assert both.soil_moisture_filled.sum() > first.soil_moisture_filled.sum()


def test_attributes_tell_all_methods_and_keep_the_references_of_the_data():
    ds = world()
    ds.soil_moisture.attrs["references"] = "of the data"
    attrs = fill_gaps(fill_gaps(fill_gaps(ds, max_gap=2), "dct"), "dct").soil_moisture.attrs
    assert attrs["gap_filling"].startswith("linear interpolation in time; DCT ")
    assert attrs["references"].startswith("of the data; Garcia (2010)")
    assert attrs["references"].count("Garcia") == 1


def test_infinite_values_and_declared_nodata_are_gaps():
    ds = world("f8")
    there = ds.copy(deep=True)
    there.soil_moisture[7] = np.inf
    gone = ds.copy(deep=True)
    gone.soil_moisture[7] = np.nan
    np.testing.assert_array_equal(fill_gaps(there).soil_moisture, fill_gaps(gone).soil_moisture)
    attrs = {"units": "%", "_FillValue": np.int16(-999), "scale_factor": 0.1}
    packed = xr.Dataset(
        {"ssm": ("time", np.array([100, -999, 300], np.int16), attrs)}, {"time": pd.date_range("2020", periods=3)}
    )
    run = fill_gaps(packed)
    np.testing.assert_allclose(run.ssm, [10, 20, 30], rtol=1e-6)
    assert run.ssm_filled.values.tolist() == [0, 1, 0]


@pytest.mark.parametrize("lazy", [False, True])
def test_undeclared_nodata_is_a_gap_and_anomalies_are_none(lazy):
    ds = world("f8")
    there, gone = ds.copy(deep=True), ds.copy(deep=True)
    there.soil_moisture[7], gone.soil_moisture[7] = -9999.0, np.nan
    found = fill_gaps(there.chunk() if lazy else there).compute()
    xr.testing.assert_identical(found, fill_gaps(gone))
    assert (there.soil_moisture[7] == -9999).all()  # the user's
    anomalies = ds.soil_moisture - 0.9
    anomalies.attrs["units"] = "m3 m-3"
    filled = fill_gaps(anomalies).soil_moisture
    np.testing.assert_array_equal(filled.where(anomalies.notnull()), anomalies)
    percent = fill_gaps(ds.assign(soil_moisture=(ds.soil_moisture * 100).assign_attrs(units="%")))
    np.testing.assert_allclose(percent.soil_moisture, fill_gaps(ds).soil_moisture * 100, rtol=1e-12)


@pytest.mark.parametrize("method", ["linear", "dct"])
def test_half_precision_is_computed_in_single(method):
    half = world("f2")
    single = half.assign(soil_moisture=half.soil_moisture.astype("f4"))
    found = fill_gaps(half, method).soil_moisture
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, fill_gaps(single, method).soil_moisture)


# Lazy in, lazy out, and chunks that change nothing.


@every
@pytest.mark.parametrize("chunks", [{"time": 1}, {"time": 7, "x": 2}, {"y": 1}])
def test_lazy_equals_eager(no_compute, options, chunks):
    ds = world()
    eager = fill_gaps(ds, **options)
    lazy = fill_gaps(ds.chunk(chunks), **options)
    for name in [n for n in eager.data_vars if str(n).startswith("soil_moisture")]:
        assert isinstance(lazy[name].data, da.Array), name
        assert lazy[name].dtype == eager[name].dtype, name
    xr.testing.assert_identical(lazy.compute(scheduler="synchronous"), eager)


def test_large_blocks_are_cut_in_space():
    days = pd.date_range("2015", periods=3000)
    ds = xr.Dataset(
        {"theta": (("time", "y", "x"), da.zeros((3000, 400, 500), chunks=(1, 400, 500), dtype="f4"), {"units": "1"})},
        {"time": days},
    )
    run = fill_gaps(ds)
    assert run.theta.data.chunksize[0] == 3000
    assert run.theta.data.chunksize[1] * run.theta.data.chunksize[2] * 3000 * 4 <= 128 * 2**20


def test_same_call_twice_gives_the_same_keys():
    ds = world().chunk(x=3)
    assert fill_gaps(ds, "dct").soil_moisture.data.name == fill_gaps(ds, "dct").soil_moisture.data.name
    assert fill_gaps(ds, "dct").soil_moisture.data.name != fill_gaps(ds, "dct", order=1).soil_moisture.data.name


# Metadata.


def test_metadata_and_untouched_input():
    ds = world()
    before = ds.copy(deep=True)
    run = fill_gaps(ds, "dct", std=True)
    xr.testing.assert_identical(ds, before)
    assert run.rio.crs == ds.rio.crs
    for name in ("soil_moisture", "soil_moisture_filled", "soil_moisture_std"):
        assert run[name].encoding["grid_mapping"] == "spatial_ref", name
        assert run[name].dims == ("time", "y", "x")
    assert run.attrs == ds.attrs
    xr.testing.assert_identical(run.sand, ds.sand)
    attrs = run.soil_moisture.attrs
    assert attrs["units"] == "m3 m-3"
    assert attrs["long_name"] == "surface soil moisture"
    assert attrs["ancillary_variables"] == "soil_moisture_filled"
    assert attrs["gap_filling"] == "DCT penalised least squares in time, order 2, generalised cross-validation"
    assert "10.1016/j.csda.2009.09.020" in attrs["references"]
    flags = run.soil_moisture_filled.attrs
    assert flags["flag_values"].tolist() == [0, 1]
    assert flags["flag_meanings"] == "as_given filled"
    assert run.soil_moisture_std.attrs["units"] == "m3 m-3"


def test_accessor_arrays_and_names(tmp_path):
    ds = world().rename(soil_moisture="theta").assign(other=world(seed=1).soil_moisture)
    run = ds.soil.fill_gaps(max_gap=3, variable=["theta", "other"])
    assert {"theta_filled", "other_filled"} <= set(run)
    np.testing.assert_array_equal(run.other, fill_gaps(ds.other, max_gap=3).other)
    assert "other_filled" not in fill_gaps(ds)
    run.to_netcdf(tmp_path / "run.nc")
    with xr.open_dataset(tmp_path / "run.nc") as stored:
        np.testing.assert_array_equal(stored.theta_filled, run.theta_filled)


def test_single_series_and_other_calendars():
    ds = world("f8").isel(y=0, x=0)
    whole = fill_gaps(world("f8"), "dct").soil_moisture[:, 0, 0]
    np.testing.assert_array_equal(fill_gaps(ds, "dct").soil_moisture, whole)
    other = ds.assign_coords(time=xr.date_range("2015-02-20", periods=NT, calendar="360_day", use_cftime=True))
    np.testing.assert_allclose(fill_gaps(other).soil_moisture, fill_gaps(ds).soil_moisture, rtol=1e-12)


# Faults.


def unsorted():
    return world().isel(time=slice(None, None, -1))


def odd_times():
    ds = world()
    return ds.assign_coords(time=ds.time + pd.to_timedelta(np.arange(NT) ** 2, unit="s"))


FAULTS = {
    "method": (lambda: fill_gaps(world(), "lineal"), UnknownNameError, "did you mean 'linear'"),
    "gap": (lambda: fill_gaps(world(), max_gap=0), ArgumentError, "max_gap=0"),
    "gap text": (lambda: fill_gaps(world(), max_gap="3"), ArgumentError, "timedelta"),
    "time": (lambda: fill_gaps(world().rename(time="t"), variable="soil_moisture"), TimeError, "no dimension 'time'"),
    "unsorted": (lambda: fill_gaps(unsorted()), TimeError, "sortby"),
    "odd times": (lambda: fill_gaps(odd_times(), "dct"), TimeError, "resample"),
    "units": (lambda: fill_gaps(world().soil_moisture.drop_attrs()), UnitsError, r"attrs\['units'\]"),
    "name": (lambda: fill_gaps(world(), variable="sm"), MissingVariableError, "'sm'"),
    "smoothness": (lambda: fill_gaps(world(), "dct", smoothness=-1), ArgumentError, "smoothness=-1"),
    "smoothness text": (lambda: fill_gaps(world(), "dct", smoothness="a"), ArgumentError, "smoothness='a'"),
    "order of lines": (lambda: fill_gaps(world(), order=1), ArgumentError, "order=... belongs to method='dct'"),
    "order": (lambda: fill_gaps(world(), "dct", order=3), ArgumentError, "order=3"),
    "of another method": (lambda: fill_gaps(world(), robust=True), ArgumentError, "belongs to method='dct'"),
    "std of lines": (lambda: fill_gaps(world(), std=True), ArgumentError, "std=True needs"),
    "dims": (lambda: fill_gaps(world(), "dct", dims=("time", "lat")), AxisError, "'lat'"),
    "dims without time": (lambda: fill_gaps(world(), "dct", dims=("y", "x")), ArgumentError, "expected 'time'"),
    "range": (lambda: fill_gaps(world(), valid_range=(0.5, 0.1)), ArgumentError, "valid_range"),
    "range of what": (
        lambda: fill_gaps(world().rename(soil_moisture="ndvi"), valid_range="physical"), UnitsError, "no physical range"
    ),
    "model": (lambda: fill_gaps(world(), "cru", model="cru"), ArgumentError, "fit_gap_model"),
    "model of lines": (lambda: fill_gaps(world(), model="cru"), ArgumentError, "model is str"),
    "lazy": (lambda: fill_gaps(world().chunk(), "cru"), ArgumentError, "train it first"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
def test_faults(fault):
    call, error, message = fault
    with pytest.raises(error, match=message):
        call()
