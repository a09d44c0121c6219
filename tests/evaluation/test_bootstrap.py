"""Paired bootstrap: scipy's as oracle, coverage, pairing, faults."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import xarray as xr

from xsoil.errors import ArgumentError, GridMismatchError, UnitsError, UnknownNameError
from xsoil.evaluation import paired_bootstrap


def scores(seed=0, sites=120, gain=0.002):
    rng = np.random.default_rng(seed)
    hard = rng.gamma(4, 0.01, sites)
    return hard - gain + rng.normal(0, 0.004, sites), hard + rng.normal(0, 0.004, sites)


@pytest.mark.parametrize("statistic", ["median", "mean"])
def test_interval_is_that_of_scipy(statistic):
    a, b = scores()
    take = getattr(np, statistic)
    found = paired_bootstrap(a, b, statistic=statistic, n=20_000)
    assert float(found.difference) == take(a) - take(b)
    expected = scipy.stats.bootstrap(
        (a, b), lambda x, y, axis: take(x, axis) - take(y, axis), paired=True, vectorized=True, n_resamples=20_000,
        method="percentile", rng=np.random.default_rng(7),
    )  # fmt: skip
    width = expected.confidence_interval.high - expected.confidence_interval.low
    assert abs(float(found.low) - expected.confidence_interval.low) < 0.03 * width
    assert abs(float(found.high) - expected.confidence_interval.high) < 0.03 * width


def test_mean_difference_has_the_error_of_the_t_test():
    a, b = scores(3, sites=400)
    found = paired_bootstrap(a, b, statistic="mean", n=20_000)
    expected = scipy.stats.ttest_rel(a, b).confidence_interval(0.95)
    np.testing.assert_allclose([found.low, found.high], expected, atol=0.05 * (expected.high - expected.low))


def test_interval_covers_the_truth_as_often_as_it_says():
    inside = [
        bool(r.low <= -0.002 <= r.high)
        for r in (paired_bootstrap(*scores(s), statistic="mean", n=500, level=0.8) for s in range(300))
    ]
    assert 0.73 < np.mean(inside) < 0.87


def test_pairs_stay_together():
    """A gain of 0.001 everywhere is certain, whatever the spread between sites."""
    hard = np.random.default_rng(1).uniform(0, 1, 50)
    found = paired_bootstrap(hard - 0.001, hard, n=2000)
    np.testing.assert_allclose([found.low, found.difference, found.high], -0.001, rtol=1e-9)
    assert float(found.p_value) == pytest.approx(2 / 2001)
    assert float(found.share_lower) == 1


def test_swapping_mirrors_and_no_difference_is_no_evidence():
    a, b = scores()
    one, two = paired_bootstrap(a, b, n=500), paired_bootstrap(b, a, n=500)
    np.testing.assert_allclose([one.low, one.high, one.p_value], [-two.high, -two.low, two.p_value], rtol=1e-12)
    assert float(paired_bootstrap(a, a, n=500).p_value) == 1


def test_difference_of_medians_is_not_median_of_differences():
    a, b = np.array([0.0, 1.0, 5.0]), np.array([1.0, 0.0, 0.0])
    assert float(paired_bootstrap(a, b, n=200).difference) == 1.0
    assert float(paired_bootstrap(a, b, of="differences", n=200).difference) == 1.0
    c = np.array([3.0, 0.5, 4.0])
    assert float(paired_bootstrap(a, c, n=200).difference) == -2.0
    assert float(paired_bootstrap(a, c, of="differences", n=200).difference) == 0.5


def test_missing_sites_and_order_of_dims_do_not_matter():
    a, b = (xr.DataArray(s.reshape(10, 12), dims=("y", "x"), attrs={"units": "m3 m-3"}) for s in scores())
    holes = a.where(a > a.quantile(0.1))
    found = paired_bootstrap(holes, b.transpose("x", "y"), n=300)
    keep = holes.notnull().values.ravel()
    plain = paired_bootstrap(a.values.ravel()[keep], b.values.ravel()[keep], n=300)
    assert int(found.sites) == keep.sum()
    assert float(found.difference) == float(plain.difference)
    assert float(found.low) == float(plain.low)
    assert found.low.attrs["units"] == "m3 m-3"
    assert found.identical(paired_bootstrap(holes, b.transpose("x", "y"), n=300))
    assert float(paired_bootstrap(holes, b, n=300, seed=1).low) != float(found.low)


def test_own_statistic():
    a, b = scores()
    found = paired_bootstrap(a, b, statistic=lambda s: np.quantile(s, 0.9, axis=-1), n=300)
    assert float(found.difference) == np.quantile(a, 0.9) - np.quantile(b, 0.9)


def test_faults():
    a, b = scores()
    with pytest.raises(UnknownNameError, match="'median'"):
        paired_bootstrap(a, b, statistic="medain")
    with pytest.raises(ArgumentError, match="reduce the last axis"):
        paired_bootstrap(a, b, statistic=lambda s: s)
    with pytest.raises(GridMismatchError, match=r"\(119,\)"):
        paired_bootstrap(a[1:], b)
    with pytest.raises(GridMismatchError, match="not of the same sites"):
        paired_bootstrap(*(xr.DataArray(s, {"site": np.arange(120) + k}, "site") for k, s in enumerate((a, b))))
    with pytest.raises(ArgumentError, match="1 sites have both"):
        paired_bootstrap(np.r_[1.0, np.nan], np.r_[1.0, 2.0])
    for name, value in {"n": 10, "level": 95, "seed": -1, "of": "x"}.items():
        with pytest.raises(ArgumentError, match=f"{name}={value!r}"):
            paired_bootstrap(a, b, **{name: value})
    with pytest.raises(ArgumentError, match="a is bool"):
        paired_bootstrap(a > 0, b)


def test_scores_in_other_units_are_not_compared():
    a, b = (xr.DataArray(values, dims="site", attrs={"units": "m3 m-3"}) for values in scores())
    with pytest.raises(UnitsError, match="a is in 'm3 m-3', b in '%'"):
        paired_bootstrap(a, (100 * b).assign_attrs(units="%"))
    assert paired_bootstrap(a, b.assign_attrs(units="m3/m3")).sites == 120
