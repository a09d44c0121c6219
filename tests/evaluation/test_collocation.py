"""Triple collocation: pytesmo's numbers, known errors, chunks, intervals, faults."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from xsoil.errors import ArgumentError, AxisError, GridMismatchError
from xsoil.evaluation import triple_collocation

SLOPES, ERRORS = (1.0, 2.0, -0.5), (0.3, 0.5, 0.4)


def triplet(samples=500, seed=0, slopes=SLOPES, errors=ERRORS, units=("m3 m-3", "percent", "m3 m-3")):
    draw = np.random.default_rng(seed)
    truth = draw.normal(size=samples)
    return [
        xr.DataArray(i + slope * truth + draw.normal(0, error, samples), dims="time", attrs={"units": unit})
        for i, (slope, error, unit) in enumerate(zip(slopes, errors, units, strict=True))
    ]


@pytest.mark.parametrize("reference", [0, 1, 2])
def test_numbers_of_pytesmo(reference):
    metrics = pytest.importorskip("pytesmo.metrics")
    three = triplet()
    snr, error, beta = metrics.tcol_metrics(*(a.values for a in three), reference)
    found = triple_collocation(*three, reference=reference)
    assert_allclose(found.snr, snr, rtol=1e-11)
    assert_allclose(found.error_std_scaled, np.abs(error), rtol=1e-11)  # pytesmo keeps the sign of beta
    assert_allclose(found.scale, beta, rtol=1e-11)


@settings(max_examples=10)
@given(st.integers(0, 2**31), st.tuples(*[st.floats(0.3, 1.0)] * 3), st.tuples(*[st.floats(0.3, 3.0)] * 3))
def test_known_errors_are_found(seed, noise, slopes):
    noise, slopes = np.array(noise), np.array(slopes)  # noise relative to the signal: what limits the estimate
    found = triple_collocation(*triplet(40_000, seed, slopes, noise * slopes))
    assert_allclose(found.error_std / slopes, noise, atol=0.06)
    assert_allclose(found.signal_std, slopes, rtol=0.06)
    assert_allclose(found.scale, slopes[0] / slopes, rtol=0.06)
    assert_allclose(found.r, 1 / np.sqrt(1 + noise**2), atol=0.03)
    assert_allclose(found.snr, 10 * np.log10(found.signal_std**2 / found.error_std**2), rtol=1e-9)


def test_signs_and_units():
    found = triple_collocation(*triplet(), names=("a", "b", "c"), reference="b")
    assert list(found.product.values) == ["a", "b", "c"]
    assert found.attrs == {"reference": "b"}
    assert (np.sign(found.r) == [1, 1, -1]).all()
    assert found.error_std_scaled.units == "percent"
    assert "units" not in found.error_std.attrs
    assert found.snr.units == "dB"
    assert int(found.n) == 500
    same = triple_collocation(*triplet(units=["m3 m-3"] * 3))
    assert same.error_std.units == "m3 m-3"
    assert same.scale.units == "1"


def test_impossible_estimates_are_missing():
    x, y, z = triplet(2000)
    # y shares the noise of x: what it leaves for x's own error is less than nothing
    shared = triple_collocation(x, y + 3 * (x - z), z)
    assert np.isnan(shared.error_std).any()
    assert (np.isnan(shared.r) == np.isnan(shared.error_std)).all()
    assert (np.isnan(shared.snr) == np.isnan(shared.error_std)).all()
    # two agree and the third contradicts one of them: no signal
    contrary = triple_collocation(*(xr.DataArray(a, dims="time") for a in np.tile(np.eye(3), 100)))
    assert all(contrary[name].isnull().all() for name in contrary if name != "n")
    few = triple_collocation(x[:80], y[:80], z[:80])
    assert few.error_std.isnull().all()
    assert int(few.n) == 80
    assert triple_collocation(x[:80], y[:80], z[:80], min_obs=80).error_std.notnull().all()


def maps(seed=0, days=200):
    draw = np.random.default_rng(seed)
    coords = {"time": pd.date_range("2020-01-01", periods=days), "y": np.arange(4.0), "x": np.arange(3.0)}
    truth = draw.normal(0.25, 0.06, (days, 4, 3))
    out = []
    for error in (0.02, 0.04, 0.03):
        values = (truth + draw.normal(0, error, truth.shape)).astype(np.float32)
        values[draw.uniform(size=values.shape) < 0.1] = np.nan
        values[:, 0, 0] = np.nan
        attrs = {"units": "m3 m-3", "grid_mapping": "spatial_ref"}
        out.append(xr.DataArray(values, coords | {"spatial_ref": 0}, ("time", "y", "x"), attrs=attrs))
    return out


@settings(max_examples=5)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 200), st.sampled_from([0, 5]))
def test_chunks_do_not_show(y, x, time, bootstrap):
    three = maps()
    whole = triple_collocation(*three, bootstrap=bootstrap)
    lazy = triple_collocation(three[0].chunk(y=y, x=x), three[1].chunk(time=time), three[2], bootstrap=bootstrap)
    xr.testing.assert_identical(whole, lazy.compute())


def test_maps(no_compute):
    three = maps()
    assert triple_collocation(*(a.chunk(y=1) for a in three)).r.chunks is not None
    found = triple_collocation(*three)
    assert found.error_std.dims == ("product", "y", "x")
    assert found.n.dims == ("y", "x")
    assert all(found[name].attrs["grid_mapping"] == "spatial_ref" for name in found.data_vars)
    assert "spatial_ref" in found.coords
    assert found.error_std[:, 0, 0].isnull().all()
    own = triple_collocation(*(a[:, 2, 1] for a in three))
    assert_allclose(found.error_std[:, 2, 1], own.error_std, rtol=1e-12)


def test_intervals_hold_the_truth():
    inside, trials = np.zeros(3), 25
    for seed in range(trials):
        found = triple_collocation(*triplet(300, seed), bootstrap=100, level=0.9, seed=seed)
        inside += (found.error_std_low <= ERRORS) & (found.error_std_high >= ERRORS)
    assert (inside / trials >= 0.7).all()
    assert (inside / trials < 1.0).any()


def test_blocks_widen_the_interval_of_dependent_days():
    draw = np.random.default_rng(5)
    truth = np.repeat(draw.normal(size=60), 10)
    three = [xr.DataArray(truth + np.repeat(draw.normal(0, e, 60), 10), dims="time") for e in ERRORS]
    width = {}
    for block in (1, 20):
        found = triple_collocation(*three, bootstrap=200, block=block)
        width[block] = (found.error_std_high - found.error_std_low).values
    assert (width[20] > 1.5 * width[1]).all()


def test_same_seed_same_bits():
    three = triplet()
    once, again = (triple_collocation(*three, bootstrap=20, seed=3) for _ in range(2))
    xr.testing.assert_identical(once, again)
    assert not once.equals(triple_collocation(*three, bootstrap=20, seed=4))


def test_faults():
    x, y, z = triplet()
    with pytest.raises(AxisError, match="z has no dim 'time'"):
        triple_collocation(x, y, z.rename(time="day"))
    with pytest.raises(GridMismatchError, match="same times"):
        triple_collocation(x, y, z[:100])
    with pytest.raises(ArgumentError, match="three different names"):
        triple_collocation(x, y, z, names=("a", "a", "b"))
    with pytest.raises(ArgumentError, match="reference='smap'; expected 0, 1, 2 or one of"):
        triple_collocation(x, y, z, reference="smap")
    with pytest.raises(ArgumentError, match="level=95"):
        triple_collocation(x, y, z, bootstrap=10, level=95)


def test_declared_nodata_is_missing():
    three = [(100 * a).round() for a in triplet()]
    three[0][::9] = np.nan
    plain = triple_collocation(*three)
    stored = [
        a.fillna(-9999).astype(kind).assign_attrs(_FillValue=-9999) for a, kind in zip(three, ("i2", ">i4", "f8"))
    ]
    found = triple_collocation(*stored)
    assert int(found.n) == int(three[0].notnull().sum())
    assert_allclose(found.error_std, plain.error_std, rtol=1e-9)


def test_no_times_at_all():
    empty = xr.DataArray(np.empty((3, 0)), dims=("site", "time"))
    found = triple_collocation(empty, empty, empty, bootstrap=2)
    assert (found.n == 0).all()
    assert np.isnan(found.error_std).all()
