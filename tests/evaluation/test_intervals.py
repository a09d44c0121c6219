"""CRPS and coverage: quadrature of the definition, scores, closed forms, laziness, faults."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import xarray as xr

from xsoil.errors import ArgumentError, AxisError, GridMismatchError, UnitsError
from xsoil.evaluation import crps_ensemble, crps_gaussian, interval_coverage

WATER = {"units": "m3 m-3"}


def pairs(sites=6, times=200, seed=0):
    rng = np.random.default_rng(seed)
    mean = xr.DataArray(rng.uniform(0.1, 0.4, (sites, times)), dims=("site", "time"), attrs=WATER)
    std = xr.DataArray(rng.uniform(0.01, 0.08, (sites, times)), dims=("site", "time"), attrs=WATER)
    return (mean + std * rng.normal(size=mean.shape)).assign_attrs(WATER), mean, std


def test_gaussian_is_the_integral_that_defines_it():
    observed, mean, std = (a.isel(site=0, time=slice(5)) for a in pairs())
    found = crps_gaussian(observed, mean, std)
    for o, m, s, score in zip(observed.values, mean.values, std.values, found.values, strict=True):
        cdf = scipy.stats.norm(m, s).cdf
        below = scipy.integrate.quad(lambda x, f=cdf: f(x) ** 2, m - 12 * s, o, epsabs=1e-12)[0]
        above = scipy.integrate.quad(lambda x, f=cdf: (1 - f(x)) ** 2, o, m + 12 * s, epsabs=1e-12)[0]
        assert score == pytest.approx(below + above, rel=1e-7)
    assert found.attrs["units"] == "m3 m-3"


def test_gaussian_is_the_limit_of_large_ensembles():
    observed, mean, std = (a.isel(site=0, time=slice(20)) for a in pairs())
    quantiles = scipy.stats.norm.ppf((np.arange(4000) + 0.5) / 4000)
    members = mean + std * xr.DataArray(quantiles, dims="member")
    np.testing.assert_allclose(crps_ensemble(observed, members), crps_gaussian(observed, mean, std), rtol=1e-3)


def test_ensemble_is_that_of_its_definition():
    observed, mean, std = (a.isel(site=0, time=slice(4)) for a in pairs())
    members = mean + std * xr.DataArray(np.random.default_rng(1).normal(size=7), dims="member")
    x = members.transpose("time", "member").values
    spread = np.abs(x[:, :, None] - x[:, None, :])
    error = np.abs(x - observed.values[:, None]).mean(1)
    np.testing.assert_allclose(crps_ensemble(observed, members), error - spread.mean((1, 2)) / 2)
    np.testing.assert_allclose(
        crps_ensemble(observed, members, fair=True), error - spread.sum((1, 2)) / (2 * 7 * 6), rtol=1e-12
    )


def test_sure_values_and_impossible_deviations():
    observed, mean, std = (a.isel(site=0, time=slice(3)) for a in pairs())
    std = std.copy(data=[0.0, -0.1, np.nan])
    found = crps_gaussian(observed, mean, std)
    assert found[0] == abs(observed[0] - mean[0])
    assert found[1:].isnull().all()


def test_coverage_of_the_truth_is_its_level():
    observed, mean, std = pairs(20, 3000)
    found = interval_coverage(observed, mean, std)
    np.testing.assert_allclose(found.coverage, found.level, atol=0.008)
    np.testing.assert_allclose(
        found.width, 2 * float(std.mean()) * scipy.stats.norm.ppf((1 + found.level.values) / 2), rtol=1e-12
    )
    assert (interval_coverage(observed, mean, std / 2).coverage < found.coverage - 0.1).all()
    assert int(found.n[0]) == 60_000
    assert found.width.attrs["units"] == "m3 m-3"


def test_coverage_by_site_and_with_gaps():
    observed, mean, std = pairs()
    holes = observed.where(observed > 0.2)
    found = interval_coverage(holes, mean, std, levels=0.9, dims="time")
    assert found.coverage.dims == ("level", "site")
    inside = (np.abs(holes - mean) <= scipy.stats.norm.ppf(0.95) * std).where(holes.notnull())
    np.testing.assert_allclose(found.coverage[0], inside.mean("time"))
    np.testing.assert_array_equal(found.n[0], holes.notnull().sum("time"))


def test_coverage_of_an_ensemble():
    observed, mean, std = pairs(4, 500)
    members = mean + std * xr.DataArray(
        np.random.default_rng(1).normal(size=(400, 4, 500)), dims=("member", "site", "time")
    )
    found = interval_coverage(observed, members=members, levels=(0.5, 0.9))
    np.testing.assert_allclose(found.coverage, found.level, atol=0.03)
    np.testing.assert_allclose(found.width, interval_coverage(observed, mean, std, levels=(0.5, 0.9)).width, rtol=0.05)


def test_lazy_equals_eager(no_compute):
    observed, mean, std = pairs()
    lazy = [a.chunk(site=2, time=30) for a in (observed, mean, std)]
    score, cover = crps_gaussian(*lazy), interval_coverage(*lazy, dims="time")
    assert isinstance(score.data, da.Array)
    assert isinstance(cover.coverage.data, da.Array)
    np.testing.assert_array_equal(score.compute(scheduler="synchronous"), crps_gaussian(observed, mean, std))
    np.testing.assert_allclose(
        cover.coverage.compute(scheduler="synchronous"), interval_coverage(observed, mean, std, dims="time").coverage
    )


def test_faults():
    observed, mean, std = pairs()
    with pytest.raises(UnitsError, match="units differ"):
        crps_gaussian(observed, mean.assign_attrs(units="%"), std)
    with pytest.raises(GridMismatchError, match="not on the same coordinates"):
        crps_gaussian(observed, mean.isel(site=slice(3)), std)
    with pytest.raises(ArgumentError, match="mean and std, or members"):
        interval_coverage(observed, mean)
    with pytest.raises(ArgumentError, match="levels=95"):
        interval_coverage(observed, mean, std, levels=95)
    with pytest.raises(AxisError, match="'member'"):
        crps_ensemble(observed, mean)
    with pytest.raises(AxisError, match="'day'"):
        crps_gaussian(observed, mean, std, dims="day")
    with pytest.raises(ArgumentError, match="mean is float"):
        crps_gaussian(observed, 0.3, std)


def test_declared_nodata_is_missing_and_packed_numbers_are_read():
    percent = {"units": "%"}
    stored = np.array([200, -9999, 300], "i2")
    packed = xr.DataArray(stored, dims="time", attrs=percent | {"_FillValue": -9999, "scale_factor": 0.1})
    observed = xr.DataArray([20.0, np.nan, 30.0], dims="time", attrs=percent)
    mean, std = (xr.DataArray(np.array(v), dims="time", attrs=percent) for v in ([21.0, 25.0, 31.0], [2.0, 2.0, 2.0]))
    members = xr.concat([mean - 1, mean, mean + 2], "member").assign_attrs(percent)
    for score in (lambda o: crps_gaussian(o, mean, std), lambda o: crps_ensemble(o, members)):
        np.testing.assert_allclose(score(packed), score(observed), rtol=1e-6)
    assert interval_coverage(packed, mean, std, levels=0.9).n.values.tolist() == [2]
