"""Reading a variable: units, nodata, precision; comparing grids; daily time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xsoil.errors import GridMismatchError, MissingVariableError, NodataError, SoilError, TimeError, UnitsError
from xsoil.verbs import _inputs
from xsoil.vocabulary import VARIABLES

SAND, TEMPERATURE = VARIABLES["sand"], VARIABLES["air_temperature"]


def sand(values, dtype="f4", **attrs):
    return xr.Dataset({"sand": ("x", np.asarray(values, dtype), attrs)})


def test_conversion_keeps_precision_and_input():
    ds = sand([100, 400], units="g/kg", grid_mapping="spatial_ref")
    before = ds.copy(deep=True)
    got = _inputs.read(ds, SAND)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, [10, 40], rtol=1e-6)
    assert got.attrs == {"grid_mapping": "spatial_ref", **SAND.attrs}
    xr.testing.assert_identical(ds, before)


def test_half_precision_is_not_computed_in():
    rain = xr.DataArray(np.array([1e-4, 65504.0], np.float16), dims="time", attrs={"units": "kg m-2 s-1"})
    half = rain.assign_attrs(_FillValue=np.float16(65504)).to_dataset(name="precipitation")
    found = _inputs.read(half, VARIABLES["precipitation"])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [86400 * float(rain[0]), np.nan], rtol=1e-6)


def test_offset():
    ds = xr.Dataset({"air_temperature": ("x", [0.0, 20.0], {"units": "degC"})})
    np.testing.assert_allclose(_inputs.read(ds, TEMPERATURE), [273.15, 293.15])


def test_nothing_is_computed(no_compute):
    ds = sand([100, 400, 5], units="g/kg", _FillValue=5).chunk(x=1)
    assert _inputs.read(ds, SAND).chunks is not None


@pytest.mark.parametrize("key", ["_FillValue", "missing_value", "nodata", "nodatavals"])
def test_declared_nodata_becomes_nan(key):
    for dtype, real in (("i2", "f4"), ("i4", "f8"), ("f4", "f4")):
        value = (-32768,) if key == "nodatavals" else -32768
        got = _inputs.read(sand([-32768, 400], dtype, units="g/kg", **{key: value}), SAND)
        assert got.dtype == np.dtype(real)
        np.testing.assert_allclose(got, [np.nan, 40], rtol=1e-6)
        assert key not in got.attrs


def test_encoded_nodata_counts_for_integers_only():
    ds = sand([255, 40], "u1", units="percent")
    ds.sand.encoding["_FillValue"] = 255
    np.testing.assert_array_equal(_inputs.read(ds, SAND), [np.nan, 40])
    ds = sand([255, 40], "f4", units="percent")
    ds.sand.encoding["_FillValue"] = 255  # already decoded: 255 is a value now
    np.testing.assert_array_equal(_inputs.read(ds, SAND), [255, 40])


def test_undecoded_scale_is_applied_after_nodata():
    got = _inputs.read(sand([-1, 400], "i2", units="percent", _FillValue=-1, scale_factor=0.1, add_offset=1.0), SAND)
    np.testing.assert_allclose(got, [np.nan, 41], rtol=1e-6)


def test_contradicting_nodata():
    with pytest.raises(NodataError, match="contradicting nodata"):
        _inputs.read(sand([1], "i2", units="percent", _FillValue=-1, missing_value=-2), SAND)
    with pytest.raises(NodataError, match="contradicting nodata"):
        _inputs.read(sand([1], "i2", units="percent", nodatavals=(-1, -2)), SAND)


def test_units_faults_show_the_line_that_mends():
    with pytest.raises(UnitsError, match=r"no units.*ds\['sand'\]\.attrs\['units'\] = 'percent'"):
        _inputs.read(sand([1]), SAND)
    with pytest.raises(UnitsError, match=r"units 'furlong'; expected 'percent' or one of .*g kg-1"):
        _inputs.read(sand([1], units="furlong"), SAND)
    with pytest.raises(MissingVariableError, match=r"no 'clay' .*among \['sand'\].*rename"):
        _inputs.read(sand([1], units="%"), VARIABLES["clay"])


def test_objects():
    with pytest.raises(SoilError, match="has no name"):
        _inputs.as_dataset(xr.DataArray([1.0]))
    with pytest.raises(SoilError, match="found list"):
        _inputs.as_dataset([1])
    assert list(_inputs.as_dataset(xr.DataArray([1.0], name="sand"))) == ["sand"]


def test_same_grid():
    a = xr.Dataset({"v": ("y", np.zeros(3))}, {"y": [0.0, 1.0, 2.0]})
    _inputs.require_same_grid(a, a.assign_coords(y=a.y + 1e-6), "forcing")
    with pytest.raises(GridMismatchError, match="forcing: the coordinates of 'y' differ"):
        _inputs.require_same_grid(a, a.assign_coords(y=a.y + 0.5), "forcing")
    with pytest.raises(GridMismatchError, match="'y' has 2 cells, expected 3"):
        _inputs.require_same_grid(a, a.isel(y=[0, 1]), "forcing")


@pytest.mark.parametrize("names", [("lat", "lon"), ("latitude", "longitude")])
def test_sites_without_labels_are_told_by_their_places(names):
    places = {"lat": ("site", [40.0, 41.0, 42.0]), "lon": ("site", [-100.0, -99.0, -98.0])}
    a = xr.Dataset({"v": ("site", np.zeros(3))}, places)
    b = a.rename(dict(zip(("lat", "lon"), names, strict=True)))
    nearest = {names[0]: b[names[0]] + 0.5, names[1]: b[names[1]] + 359.5}  # of the cells of a reanalysis
    for other in (b, b.astype("f4"), b.drop_vars(names), b.drop_vars(names[0]), b.assign_coords(nearest)):
        _inputs.require_same_grid(a, other, "forcing")
    for other in (b.isel(site=[2, 1, 0]), b.assign_coords({names[1]: b[names[1]] + 3})):
        with pytest.raises(GridMismatchError, match=r"sites along 'site' lie up to 2[5-9]\d km"):
            _inputs.require_same_grid(a, other, "forcing")


def test_numbers_of_sites_are_the_same_or_not():
    """They jump, so that a step tells nothing: 1 and 2 were within a thousandth of the mean."""
    a = xr.Dataset({"v": ("site", np.zeros(3))}, {"site": [1, 700, 1_000_000]})
    for other in ([2, 700, 1_000_000], [1, 702, 1_000_000], [1.0, 701.0, 1e6]):
        with pytest.raises(GridMismatchError, match="the coordinates of 'site' differ"):
            _inputs.require_same_grid(a, a.assign_coords(site=other), "forcing")
    _inputs.require_same_grid(a, a.assign_coords(site=[1.0, 700.0, 1e6]), "forcing")
    _inputs.require_same_grid(a.isel(site=[0]), a.isel(site=[0]).assign_coords(site=[1.0]), "forcing")


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (["2020-01-01", "2020-01-02", "2020-01-04"], "time gap between 2020-01-02"),
        (["2020-01-02", "2020-01-01"], "unsorted or has duplicates"),
        (["2020-01-01", "2020-01-01"], "unsorted or has duplicates"),
        (["2020-01-01T00", "2020-01-01T06"], "resample"),
        ([0, 1, 2], r"time holds .*0.*, expected dates"),
        (["1 Jan", "2 Jan"], "expected dates"),
    ],
)
def test_daily(times, message):
    if "Jan" not in str(times) and not isinstance(times[0], int):
        times = pd.to_datetime(times)
    with pytest.raises(TimeError, match=message):
        _inputs.require_daily(xr.Dataset(coords={"time": times}), "forcing")


def test_daily_needs_dates():
    with pytest.raises(TimeError, match="no dimension 'time'"):
        _inputs.require_daily(xr.Dataset(), "forcing")
    with pytest.raises(TimeError, match="no time coordinate"):
        _inputs.require_daily(xr.Dataset({"p": ("time", [1.0])}), "forcing")
    _inputs.require_daily(
        xr.Dataset(coords={"time": xr.date_range("2000-02-27", periods=5, calendar="noleap", use_cftime=True)}), "x"
    )


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("SAND", "ds.rename({'SAND': 'sand'})"),
        ("sands", "ds.rename({'sands': 'sand'})"),
        ("clay", "ds.rename(...)"),
    ],
)
def test_a_missing_variable_is_named_with_the_one_that_looks_like_it(given, line):
    with pytest.raises(MissingVariableError) as caught:
        _inputs.read(sand([1]).rename(sand=given), SAND)
    assert str(caught.value).endswith(line)


def test_hours_are_told_how_to_become_days():
    hours = xr.Dataset({"pet": ("time", np.ones(3))}, {"time": pd.date_range("2015", periods=3, freq="h")})
    with pytest.raises(TimeError, match=r"resample\(time='1D'\).mean\(\), or xsoil.data.prepare_forcing"):
        _inputs.require_daily(hours, "forcing")
