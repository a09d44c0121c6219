"""Matching of distributions: pytesmo's numbers, chunks, what is kept, faults."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from xsoil.errors import ArgumentError, AxisError, GridMismatchError, UnitsError
from xsoil.evaluation import cdf_match

PERCENTILES = (0, 5, 10, 30, 50, 70, 90, 95, 100)


def series(values):
    return xr.DataArray(values, dims="time")


def records(seed=0, ties=False):
    draw = np.random.default_rng(seed)
    source, reference = draw.gamma(2, 0.05, 400), draw.normal(0.3, 0.1, 350)
    if ties:
        source, reference = np.round(source, 1), np.round(reference, 1)
        source[:150], reference[-40:] = 0.0, 0.9
        source[5:30], reference[3:9] = np.nan, np.nan
    return source, reference, draw.gamma(2, 0.07, 100)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("least", [0, 15])
@pytest.mark.parametrize("bins", [100, 1, PERCENTILES], ids=["100", "1", "percentiles"])
def test_numbers_of_pytesmo(bins, least, ties):
    CDFMatching = pytest.importorskip("pytesmo.cdf_matching").CDFMatching
    source, reference, values = records(ties=ties)
    peer = CDFMatching(minobs=least or None, **({"nbins": bins} if isinstance(bins, int) else {"percentiles": bins}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # bins have been resized
        peer.fit(source, reference)
    found = cdf_match(series(source), series(reference), values=series(values), bins=bins, min_per_bin=least)
    assert_allclose(found, peer.predict(values), rtol=0, atol=1e-13)


def test_numbers_of_pytesmo_at_common_times():
    CDFMatching = pytest.importorskip("pytesmo.cdf_matching").CDFMatching
    source, reference, _ = records()
    source = source[:350]
    source[20:60], reference[50:90] = np.nan, np.nan
    peer = CDFMatching(combine_invalid=True)
    peer.fit(source, reference)
    found = cdf_match(series(source), series(reference), common=True)
    assert_allclose(found, peer.predict(source), rtol=0, atol=1e-13)
    assert float(abs(found - cdf_match(series(source), series(reference))).max()) > 1e-3


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.floats(0.1, 10), st.floats(-5, 5))
def test_a_linear_change_is_undone(seed, slope, offset):
    truth = np.random.default_rng(seed).gamma(2.0, 0.05, 200)
    found = cdf_match(series(slope * truth + offset), series(truth))
    assert_allclose(found, truth, rtol=1e-6, atol=1e-9)


def test_distributions_agree_and_order_is_kept():
    source, reference, _ = records(3)
    found = cdf_match(series(source), series(reference))
    assert_array_equal(np.argsort(found.values), np.argsort(source))
    levels = np.linspace(0.02, 0.98, 25)
    assert_allclose(np.quantile(found, levels), np.quantile(reference, levels), atol=8e-3)


def test_beyond_the_extremes():
    source, reference = series(np.linspace(0, 1, 100)), series(np.linspace(2, 4, 100))
    values = series(np.array([-1.0, 0.5, 2.0]))
    assert_allclose(cdf_match(source, reference, values=values), [0, 3, 6], atol=1e-9)
    assert_allclose(cdf_match(source, reference, values=values, extrapolate=False), [2, 3, 4], atol=1e-9)


def maps(seed=0, days=120):
    draw = np.random.default_rng(seed)
    time = pd.date_range("2020-01-01", periods=days)
    coords = {"y": np.arange(5.0), "x": np.arange(4.0), "time": time, "spatial_ref": 0, "month": ("time", time.month)}
    out = []
    for units, scale in (("percent", 100.0), ("m3 m-3", 1.0)):
        values = scale * draw.gamma(2, 0.05, (days, 5, 4)).astype(np.float32)
        values[draw.uniform(size=values.shape) < 0.2] = np.nan
        values[:, 0, 0] = np.nan
        values[10:, 1, 1] = np.nan
        out.append(xr.DataArray(values, coords, ("time", "y", "x"), "soil_moisture", {"units": units}))
    out[0][:, 2, 2] = 7.0
    out[0].attrs |= {"grid_mapping": "spatial_ref", "instrument": "ASCAT"}
    return out


@settings(max_examples=5)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 120), st.booleans())
def test_chunks_do_not_show(y, x, time, common):
    source, reference = maps()
    whole = cdf_match(source, reference, common=common)
    lazy = cdf_match(source.chunk(y=y, x=x, time=time), reference.chunk(y=x, time=time), common=common)
    xr.testing.assert_identical(whole, lazy.compute())


def test_what_is_kept(no_compute):
    source, reference = maps()
    before = source.copy(deep=True)
    assert cdf_match(source.chunk(y=2), reference).chunks is not None
    found = cdf_match(source, reference)
    xr.testing.assert_identical(source, before)
    assert found.dims == source.dims
    assert found.dtype == np.float32
    assert found.name == "soil_moisture"
    assert found.attrs.items() >= {"units": "m3 m-3", "grid_mapping": "spatial_ref", "instrument": "ASCAT"}.items()
    xr.testing.assert_identical(found.coords.to_dataset(), source.coords.to_dataset())
    assert found[:, 0, 0].isnull().all()  # nothing there
    assert found[:, 1, 1].isnull().all()  # too few
    assert found[:, 2, 2].isnull().all()  # constant
    assert_array_equal(found[:, 3, 3].isnull(), source[:, 3, 3].isnull())


def test_faults():
    source, reference = maps()
    with pytest.raises(AxisError, match=r"reference has no dim 'time'.*dim="):
        cdf_match(source, reference.rename(time="day"))
    with pytest.raises(GridMismatchError, match="bring them to one grid"):
        cdf_match(source, reference.assign_coords(x=reference.x + 0.5))
    with pytest.raises(GridMismatchError, match=r"common=True.*reindex"):
        cdf_match(source, reference[:50], common=True)
    with pytest.raises(ArgumentError, match="rising percentiles from 0 to 100"):
        cdf_match(source, reference, bins=(0, 50, 20, 100))
    with pytest.raises(ArgumentError, match="bins=0; expected at least one"):
        cdf_match(source, reference, bins=0)
    with pytest.raises(ArgumentError, match=r"min_obs=1\.5; expected a whole number"):
        cdf_match(source, reference, min_obs=1.5)
    with pytest.raises(ArgumentError, match=r"source is Dataset; expected a DataArray"):
        cdf_match(source.to_dataset(), reference)


def test_packed_numbers_and_declared_nodata():
    source, reference, _ = records()
    steps = np.round(source, 3)
    steps[::9] = np.nan
    plain = cdf_match(series(steps), series(reference))
    stored = np.where(np.isnan(steps), -9999, np.nan_to_num(steps) * 1000).round().astype(">i4")
    attrs = {"_FillValue": -9999, "scale_factor": 0.001, "units": "m3 m-3"}
    packed = series(stored).assign_attrs(attrs)
    found = cdf_match(packed, series(reference))
    assert_allclose(found, plain, rtol=1e-9)
    assert not {"_FillValue", "scale_factor"} & set(found.attrs)
    assert packed.attrs == attrs


def test_no_times_at_all():
    empty = xr.DataArray(np.empty((3, 0)), dims=("site", "time"))
    assert cdf_match(empty, empty).shape == (3, 0)
    assert np.isnan(cdf_match(empty, empty, values=xr.DataArray(np.ones((3, 2)), dims=("site", "time")))).all()


def test_values_are_in_the_units_of_the_source():
    source = series(np.linspace(0, 1, 100)).assign_attrs(units="percent")
    with pytest.raises(UnitsError, match="values are in 'm3 m-3', the source in 'percent'"):
        cdf_match(source, source, values=(source / 100).assign_attrs(units="m3 m-3"))
