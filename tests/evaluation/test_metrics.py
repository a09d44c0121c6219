"""Metrics on arrays: hand numbers, properties, and two ways to the same numbers with `scores` as their oracle."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose

from xsoil.evaluation.metrics import (
    METRICS,
    SAMPLES,
    class_moments,
    merge_moments,
    metrics_of_moments,
    moments,
    series_metrics,
)

NAMES = (*METRICS, "n")


def by_series(sim, obs):
    return dict(zip(NAMES, series_metrics(np.asarray(sim, float), np.asarray(obs, float)), strict=True))


def by_moments(sim, obs):
    sim, obs = np.asarray(sim, float), np.asarray(obs, float)
    return dict(zip(NAMES, metrics_of_moments(moments(sim, obs)), strict=True))


BOTH = pytest.mark.parametrize("metrics", [by_series, by_moments])
values = arrays(float, 12, elements=st.floats(-100, 100).map(lambda v: round(v, 3)))
gaps = arrays(bool, 12)


@BOTH
def test_hand_numbers(metrics):
    """s = 1 2 3 4, o = 2 2 4 6: d = -1 0 -1 -2; mean s 2.5, o 3.5; sum of squares s 5, o 11, product 7."""
    found = metrics([1, 2, 3, 4], [2, 2, 4, 6])
    assert found["n"] == 4
    assert_allclose(found["bias"], -1)
    assert_allclose(found["rmse"], np.sqrt(6 / 4))
    assert_allclose(found["ubrmse"], np.sqrt(2 / 4))
    assert_allclose(found["r"], 7 / np.sqrt(55))
    assert_allclose(found["nse"], 1 - 6 / 11)
    assert_allclose(
        found["kge"], 1 - np.sqrt((7 / np.sqrt(55) - 1) ** 2 + (np.sqrt(5 / 11) - 1) ** 2 + (2.5 / 3.5 - 1) ** 2)
    )


@BOTH
def test_pairs_are_dropped_jointly(metrics):
    sim = [1, np.nan, 2, 3, 4, 9, np.inf]
    obs = [2, 50, 2, 4, 6, np.nan, 1]
    whole = metrics([1, 2, 3, 4], [2, 2, 4, 6])
    for name, found in metrics(sim, obs).items():
        assert_allclose(found, whole[name], rtol=1e-14, err_msg=name)


@BOTH
def test_nse_is_relative_to_the_observations(metrics):
    """Study 001, eq. 19, prints the simulation in the denominator: exchanging the two must matter."""
    sim, obs = [1.0, 2, 3, 4], [2.0, 2, 4, 6]
    assert_allclose(metrics(obs, sim)["nse"], 1 - 6 / 5)
    assert metrics(sim, obs)["nse"] > 0.4


@BOTH
@pytest.mark.parametrize(
    ("sim", "obs", "undefined"),
    [
        ([0.1] * 5, [1, 2, 3, 4, 5], {"r", "kge"}),
        ([1, 2, 3, 4, 5], [0.1] * 5, {"r", "nse", "kge"}),
        ([0.1] * 5, [0.1] * 5, {"r", "nse", "kge"}),
        ([1.0], [2.0], {"r", "nse", "kge"}),
        ([1, 2, 3], [-1, 0, 1], {"kge"}),
        ([np.nan] * 4, [1, 2, 3, 4], set(METRICS)),
        ([], [], set(METRICS)),
    ],
)
def test_undefined_is_nan_and_silent(metrics, sim, obs, undefined):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = metrics(sim, obs)
    assert {name for name in METRICS if np.isnan(found[name])} == undefined
    assert found["n"] == np.isfinite(sim).sum()
    assert found["n"].dtype == np.int64


@BOTH
@settings(max_examples=30)
@given(obs=values)
def test_perfect_forecast(metrics, obs):
    assume(np.ptp(obs) > 0.01 and abs(obs.mean()) > 0.01)
    found = metrics(obs, obs)
    assert found["rmse"] == found["ubrmse"] == found["bias"] == 0
    assert_allclose([found["r"], found["nse"], found["kge"]], 1, atol=1e-9)


@BOTH
@settings(max_examples=30)
@given(sim=values, obs=values, missing=gaps, shift=st.floats(-10, 10), factor=st.floats(0.1, 10))
def test_properties(metrics, sim, obs, missing, shift, factor):
    sim = np.where(missing, np.nan, sim)
    found = metrics(sim, obs)
    n = int((~missing).sum())
    assert found["n"] == n
    assume(n > 1)
    assume(np.nanstd(sim) > 0.01 and obs[~missing].std() > 0.01)
    assert_allclose(found["rmse"] ** 2, found["ubrmse"] ** 2 + found["bias"] ** 2, rtol=1e-9, atol=1e-12)
    assert -1 <= found["r"] <= 1
    assert found["nse"] <= 1
    assert np.isnan(found["kge"]) or found["kge"] <= 1
    # a shift of both changes nothing but KGE; a linear simulation correlates as before
    shifted = metrics(sim + shift, obs + shift)
    for name in ("r", "rmse", "ubrmse", "bias", "nse"):
        assert_allclose(shifted[name], found[name], rtol=1e-6, atol=1e-6)
    assert_allclose(metrics(sim * factor + shift, obs)["r"], found["r"], atol=1e-6)


@settings(max_examples=30)
@given(
    sim=arrays(float, (3, 40), elements=st.floats(0, 1)),
    obs=arrays(float, (3, 40), elements=st.floats(0, 1)),
    gap=arrays(bool, (3, 40)),
)
def test_both_ways_agree(sim, obs, gap):
    trend = np.linspace(0, 1, 40)  # keeps both from being constant
    gap[:, ::13] = False
    sim, obs = sim + trend, np.where(gap, np.nan, obs + trend)
    one, two = by_series(sim, obs), by_moments(sim, obs)
    for name in NAMES:
        assert_allclose(one[name], two[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_scores_is_the_oracle_of_moments():
    from scores.continuous import kge, nse, rmse
    from scores.continuous.correlation import pearsonr

    rng = np.random.default_rng(3)
    sim, obs = rng.random((2, 20, 300))
    sim[rng.random(sim.shape) < 0.2] = np.nan
    obs[rng.random(obs.shape) < 0.2] = np.nan
    found = by_moments(sim, obs)
    gone = np.isnan(sim) | np.isnan(obs)
    pair = [xr.DataArray(np.where(gone, np.nan, a), dims=("cell", "time")) for a in (sim, obs)]
    for name, score in (("rmse", rmse), ("nse", nse), ("kge", kge), ("r", pearsonr)):
        assert_allclose(found[name], score(*pair, reduce_dims="time"), rtol=1e-12, err_msg=name)


@BOTH
def test_no_cancellation(metrics):
    """A spread of 1e-6 about 1e6: one-pass sums of squares would lose it altogether."""
    rng = np.random.default_rng(0)
    obs = rng.standard_normal(1000)
    sim = obs + rng.standard_normal(1000)
    exact = metrics(sim, obs)
    found = metrics(1e6 + 1e-3 * sim, 1e6 + 1e-3 * obs)
    assert_allclose(found["r"], exact["r"], rtol=1e-6)
    assert_allclose(found["nse"], exact["nse"], rtol=1e-5)
    assert_allclose(found["ubrmse"], 1e-3 * exact["ubrmse"], rtol=1e-5)


def test_rows_do_not_depend_on_their_neighbours():
    """Bit for bit, also across the internal blocks of rows."""
    rng = np.random.default_rng(1)
    samples = SAMPLES // 4
    sim, obs = rng.random((2, 9, samples), dtype=np.float32)
    sim[3, ::7] = np.nan
    whole = series_metrics(sim, obs)
    for row in (0, 3, 8):
        for all_rows, one in zip(whole, series_metrics(sim[row], obs[row]), strict=True):
            assert all_rows[row] == one


@settings(max_examples=30)
@given(arrays(float, (2, 30), elements=st.floats(0, 1)), st.lists(st.integers(0, 30), max_size=4), gaps)
def test_merged_pieces_are_the_whole(pair, cuts, gap):
    sim, obs = pair
    sim[:12][gap] = np.nan
    edges = [0, *sorted(cuts), 30]
    pieces = [moments(sim[a:b], obs[a:b]) for a, b in pairwise(edges)]
    assert_allclose(merge_moments(np.stack(pieces)), moments(sim, obs), rtol=1e-9, atol=1e-12)


def test_classes_partition_the_samples():
    rng = np.random.default_rng(2)
    sim, obs = rng.random((2, 4, 200))
    classes = rng.integers(-1, 3, 200)
    found = class_moments(sim, obs, classes, 3)
    assert found.shape == (4, 3, 12)
    for k in range(3):
        assert_allclose(found[:, k], moments(sim[:, classes == k], obs[:, classes == k]), rtol=1e-12)
    assert found[..., 0].sum() == 4 * (classes >= 0).sum()
