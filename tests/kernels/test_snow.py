"""The snow kernel: mass, faults, and many cells as each alone."""

from __future__ import annotations

import numpy as np
import pytest

from xsoil.kernels import snow

DAYS, CELLS = 50, 5000


@pytest.fixture(scope="module", params=["f4", "f8"])
def season(request):
    rng = np.random.default_rng(0)
    rain = rng.gamma(0.3, 20, (DAYS, CELLS)).astype(request.param)
    air = (273.15 + 8 * np.sin(np.arange(DAYS) / 7)[:, None] + rng.normal(0, 3, (DAYS, CELLS))).astype(request.param)
    return rain, air, rng.uniform(0.5, 8, CELLS)


def test_no_water_is_lost(season):
    rain, air, factor = season
    start = np.linspace(0, 100, CELLS)
    liquid, lying, end = snow.run(rain, air, factor, state=start, lying=True)
    total = start + rain.sum(axis=0, dtype=float) - liquid.sum(axis=0, dtype=float)
    np.testing.assert_allclose(end, total, rtol=0, atol=1e-3 if rain.dtype == np.float32 else 1e-10)
    assert (liquid >= 0).all()
    assert (lying >= 0).all()
    np.testing.assert_array_equal(lying[-1], end.astype(rain.dtype))
    cold = air <= rain.dtype.type(273.15)
    assert (liquid[cold] == 0).all()


def test_strips_and_threads_do_not_matter(season):
    rain, air, factor = season
    liquid, lying, end = snow.run(rain, air, factor, lying=True)
    for found, expected in zip(snow.run(rain, air, factor, lying=True, workers=3), (liquid, lying, end), strict=True):
        np.testing.assert_array_equal(found, expected)
    for cell in (0, 2047, 2048, 4999):
        at = slice(cell, cell + 1)
        alone = snow.run(rain[:, at], air[:, at], factor[at], lying=True)
        for found, whole in zip(alone, (liquid, lying, end), strict=True):
            np.testing.assert_array_equal(found[..., 0], whole[..., cell])


def test_one_column_serves_all_cells(season):
    rain, air, factor = season
    one = snow.run(rain[:, :1], air, factor)[0]
    np.testing.assert_array_equal(one, snow.run(np.repeat(rain[:, :1], CELLS, axis=1), air, factor)[0])


def test_faults_are_told_from_each_other():
    """Of six cells: none, missing rain, negative rain, missing temperature, impossible factor, unknown snow."""
    rain, air = np.full((4, 6), 5.0), np.full((4, 6), 273.15 + 2.0)
    rain[1, 1], rain[1, 2], air[1, 3] = np.nan, -1.0, np.nan
    factor = np.array([3.0, 3.0, 3.0, 3.0, -1.0, 3.0])
    start = np.array([100.0, 100, 100, 100, 100, np.nan])
    liquid, lying, end = snow.run(rain, air, factor, state=start, lying=True)
    np.testing.assert_array_equal(liquid[0], [11, 11, 11, 11, 5, 5])
    np.testing.assert_array_equal(liquid[1], [11, np.nan, -1, np.nan, 5, 5])
    np.testing.assert_array_equal(liquid[2], [11, 5, 5, 5, 5, 5])
    np.testing.assert_array_equal(lying[:, 0], [94, 88, 82, 76])
    np.testing.assert_array_equal(np.isnan(end), [False, True, True, True, True, True])
