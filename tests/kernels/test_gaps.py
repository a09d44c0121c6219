"""Gaps in time: numpy and pandas as oracles of lines, dense algebra with scipy's DCT of the smoothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.fft

from xsoil.kernels.cosine_smoothing import smooth_field
from xsoil.kernels.gaps import BLOCK, interpolate, smooth


def gappy(times=80, cells=7, share=0.5, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(times)[:, None]
    values = 0.25 + 0.1 * np.sin(t / (5 + np.arange(cells))) + rng.normal(0, 0.01, (times, cells))
    values[rng.random(values.shape) < share] = np.nan
    return values


def penalty_matrix(n, order=2):
    """Its eigenvectors are those of the DCT-II; eigenvalues as Garcia (2010), eq. 5."""
    basis = scipy.fft.dct(np.eye(n), norm="ortho", axis=0)
    eigenvalues = 2 - 2 * np.cos(np.pi * np.arange(n) / n)
    return basis.T @ np.diag(eigenvalues**order) @ basis


def dense(y, weight, s, order=2):
    """Minimum, and diagonal of the inverse."""
    inverse = np.linalg.inv(np.diag(weight) + s * penalty_matrix(len(y), order))
    return inverse @ (weight * np.where(weight > 0, y, 0)), np.diag(inverse)


def test_lines_are_those_of_numpy():
    values, days = gappy(cells=BLOCK + 3), np.cumsum(np.random.default_rng(1).integers(1, 5, 80)).astype(float)
    out, filled = interpolate(values, days)
    for cell in (0, 5, BLOCK, BLOCK + 2):
        seen = np.isfinite(values[:, cell])
        first, last = np.flatnonzero(seen)[[0, -1]]
        inside = (np.arange(80) >= first) & (np.arange(80) <= last)
        expected = np.where(inside, np.interp(days, days[seen], values[seen, cell]), np.nan)
        np.testing.assert_allclose(out[:, cell], expected, rtol=1e-13)
        np.testing.assert_array_equal(filled[:, cell], inside & ~seen)
        held, _ = interpolate(values[:, [cell]], days, ends=True)
        np.testing.assert_allclose(held[:, 0], np.interp(days, days[seen], values[seen, cell]), rtol=1e-13)


@pytest.mark.parametrize("widest", [1.0, 2.0, 4.5, 7.0])
def test_widest_gap_is_that_of_xarray(widest):
    import xarray as xr

    values, days = gappy(share=0.7), np.cumsum(np.random.default_rng(1).integers(1, 4, 80)).astype(float)
    array = xr.DataArray(values, {"day": days}, ("day", "cell"))
    expected = array.interpolate_na("day", max_gap=widest)
    np.testing.assert_allclose(interpolate(values, days, widest=widest)[0], expected, rtol=1e-12)


def test_ends_reach_as_far_as_the_widest_gap():
    values = np.r_[np.full(5, np.nan), 1.0, 2.0, np.full(5, np.nan)][:, None]
    out, filled = interpolate(values, np.arange(12.0), widest=3.0, ends=True)
    assert filled[:, 0].tolist() == [0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 0, 0]
    assert pd.Series(out[:, 0]).dropna().tolist() == [1, 1, 1, 1, 2, 2, 2, 2]


def test_nothing_observed_stays_nothing():
    out, filled = interpolate(np.full((9, 2), np.nan, "f4"), np.arange(9.0), ends=True)
    assert np.isnan(out).all()
    assert not filled.any()
    assert out.dtype == np.float32


@pytest.mark.parametrize("s", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("times", [3, 4, 5, 80])
@pytest.mark.parametrize("order", [1, 2])
def test_smoothing_is_the_penalised_minimum(times, s, order):
    values = gappy(times, share=0.5 if times > 9 else 0.0)
    out, spread, used = smooth(values, np.arange(times), penalty=s, order=order)
    for cell in range(values.shape[1]):
        seen = np.isfinite(values[:, cell])
        mean = values[seen, cell].mean()
        z, inverse = dense(values[:, cell] - mean, seen.astype(float), s, order)
        np.testing.assert_allclose(out[:, cell], z + mean, rtol=1e-9)
        residual = (values[:, cell] - out[:, cell])[seen]
        variance = (residual**2).sum() / (seen.sum() - inverse[seen].sum())
        np.testing.assert_allclose(spread[:, cell], np.sqrt(variance * (1 + inverse)), rtol=1e-6)
    assert (used == s).all()


def test_irregular_times_are_places_on_a_regular_axis():
    at = np.cumsum(np.random.default_rng(2).integers(1, 4, 80)) - 1
    values = gappy()
    regular = np.full((at[-1] + 1, 7), np.nan)
    regular[at] = values
    np.testing.assert_allclose(smooth(values, at)[0], smooth(regular, np.arange(at[-1] + 1))[0][at], rtol=1e-12)


def test_penalty_minimises_cross_validation():
    values = gappy(60, 4)
    used = smooth(values, np.arange(60))[2]

    def score(power, y, weight):
        z, inverse = dense(y, weight, 10.0**power)
        count = weight.sum()
        return count * (weight * (np.nan_to_num(y) - z) ** 2).sum() / (count - (weight * inverse).sum()) ** 2

    for cell in range(4):
        y = values[:, cell] - np.nanmean(values[:, cell])
        weight = np.isfinite(y).astype(float)
        powers = np.linspace(-4, 8, 241)
        scores = np.array([score(p, y, weight) for p in powers])
        assert score(np.log10(used[cell]), y, weight) <= scores.min() * (1 + 1e-4)


def test_order_1_bridges_gaps_by_lines():
    values = gappy(90, 2)
    values[30:50] = np.nan
    found = smooth(values, np.arange(90), order=1)[0][30:50]
    assert np.abs(np.diff(found, 2, axis=0)).max() < 1e-12
    assert np.abs(np.diff(smooth(values, np.arange(90))[0][30:50], 2, axis=0)).max() > 1e-4


def test_robust_smoothing_does_not_follow_outliers():
    clean = gappy(120, 3, share=0.3)
    dirty = clean.copy()
    dirty[15::20] = 0.9
    plain, robust = (smooth(dirty, np.arange(120), robust=r)[0] for r in (False, True))
    truth = smooth(clean, np.arange(120))[0]
    assert np.abs(robust - truth).max() < 0.03
    assert np.abs(plain - truth).max() > 0.1


def test_a_constant_and_few_observations():
    values = np.full((10, 3), np.nan)
    values[::2, 0] = 0.3
    values[:2, 1] = 0.1
    out, spread, _ = smooth(values, np.arange(10))
    np.testing.assert_allclose(out[:, 0], 0.3, rtol=1e-12)
    assert (spread[:, 0] < 1e-9).all()
    assert np.isnan(out[:, 1:]).all()


def test_threads_and_neighbours_change_no_bit():
    values = gappy(50, 40)
    whole = smooth(values, np.arange(50), workers=4)
    for cell in (0, 17, 39):
        for a, b in zip(whole, smooth(values[:, [cell]], np.arange(50)), strict=True):
            np.testing.assert_array_equal(a[..., [cell]], b)


def field(shape=(8, 6, 5), seed=0):
    rng = np.random.default_rng(seed)
    values = 0.25 + 0.1 * np.cos(np.indices(shape).sum(axis=0) / 4) + rng.normal(0, 0.01, shape)
    values[rng.random(shape) < 0.4] = np.nan
    return values


@pytest.mark.parametrize(("s", "order"), [(1e-2, 2), (1.0, 1), (100.0, 2)])
def test_field_is_the_penalised_minimum(s, order):
    values = field()
    seen = np.isfinite(values)
    mean = values[seen].mean()
    laplacian = 0.0
    for axis, n in enumerate(values.shape):
        basis = scipy.fft.dct(np.eye(n), norm="ortho", axis=0)
        one = basis.T @ np.diag(2 - 2 * np.cos(np.pi * np.arange(n) / n)) @ basis
        parts = [one if k == axis else np.eye(m) for k, m in enumerate(values.shape)]
        laplacian = laplacian + np.kron(np.kron(parts[0], parts[1]), parts[2])
    matrix = np.diag(seen.ravel().astype(float)) + s * np.linalg.matrix_power(laplacian, order)
    expected = np.linalg.solve(matrix, np.where(seen, values - mean, 0).ravel()).reshape(values.shape) + mean
    np.testing.assert_allclose(smooth_field(values, penalty=s, order=order)[0], expected, rtol=1e-6)


def test_field_of_one_column_is_the_series():
    values = gappy(60, 1)
    series = smooth(values, np.arange(60), penalty=3.0)[0]
    np.testing.assert_allclose(smooth_field(values[:, :, None], penalty=3.0)[0][..., 0], series, rtol=1e-6)


def test_field_finds_a_penalty_that_serves():
    """The cross-validated field is nearly as close to the truth as that of the best penalty."""
    shape = (24, 12, 10)
    truth = 0.25 + 0.1 * np.cos(np.indices(shape).sum(axis=0) / 4)
    values = field(shape)

    def error(**options):
        return np.sqrt(np.mean((smooth_field(values, **options)[0] - truth) ** 2))

    best = min(error(penalty=10.0**p) for p in np.linspace(-3, 4, 15))
    assert error() < 1.1 * best
    assert best < 0.005


def test_robust_field():
    values = field((20, 8, 8))
    dirty = values.copy()
    dirty[3::7, 2, 2] = 0.9
    truth = smooth_field(values)[0]
    assert np.abs(smooth_field(dirty, robust=True)[0] - truth).max() < 0.03
    assert np.abs(smooth_field(dirty)[0] - truth).max() > 0.06


def test_field_without_observations():
    assert np.isnan(smooth_field(np.full((3, 4), np.nan))[0]).all()
