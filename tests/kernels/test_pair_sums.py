"""Sums over pairs: against numpy, whatever the neighbours and the threads."""

from __future__ import annotations

import numpy as np

from xsoil.kernels.pair_sums import SUMS, by_series, sums


def series(days=40, cells=300, seed=0):
    rng = np.random.default_rng(seed)
    simulated, observed = rng.random((2, days, cells)).astype("f4")
    observed[rng.random((days, cells)) < 0.4] = np.nan
    simulated[3, 5], observed[4, 5], observed[:, 7] = np.nan, np.inf, np.nan
    return simulated, observed, rng.uniform(0.5, 1.5, cells), rng.uniform(-0.2, 0.2, cells)


def test_sums_are_those_of_numpy():
    simulated, observed, scale, bias = series()
    s, o = scale * simulated.astype("f8") + bias, observed.astype("f8")
    there = np.isfinite(s) & np.isfinite(o)
    s, o = np.where(there, s, 0), np.where(there, o, 0)
    expected = [there, s, o, s**2, o**2, (s - o) ** 2]
    found = sums(simulated, observed, scale, bias)
    for row, name, terms in zip(found, SUMS, expected, strict=True):
        np.testing.assert_allclose(row, terms.sum(axis=0), rtol=1e-12, err_msg=name)


def test_a_cell_does_not_see_its_neighbours_nor_the_threads():
    arrays = series()
    by = np.random.default_rng(1).random((3, 300))
    whole, back = sums(*arrays), by_series(*arrays, by)
    np.testing.assert_array_equal(whole, sums(*arrays, workers=2))
    for a, b in zip(back, by_series(*arrays, by, workers=2), strict=True):
        np.testing.assert_array_equal(a, b)
    alone = [array[..., 100:103] for array in arrays]
    np.testing.assert_array_equal(whole[:, 100:103], sums(*alone))
    for a, b in zip(back, by_series(*alone, by[:, 100:103]), strict=True):
        np.testing.assert_array_equal(a[..., 100:103], b)
