"""Random numbers of a stream: their distribution, their independence, their values."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from xsoil.jit import kernel
from xsoil.kernels.draws import normals, stream, uniform


@kernel
def of_keys(seed, part, uniforms, normal):
    """First numbers of the streams of keys 0, 1, 2, ..."""
    for key in range(uniforms.shape[0]):
        own = stream(seed, key, part)
        for i in range(uniforms.shape[1]):
            uniforms[key, i] = uniform(own, i)
        normals(own, 0, normal[key])


@pytest.fixture(scope="module")
def drawn():
    uniforms, normal = np.empty((4000, 5)), np.empty((4000, 50))
    of_keys(3, 1, uniforms, normal)
    return uniforms, normal


def test_distributions(drawn):
    uniforms, normal = drawn
    assert stats.kstest(uniforms.ravel(), "uniform").pvalue > 1e-3
    assert stats.kstest(normal.ravel(), "norm").pvalue > 1e-3
    assert 0 < uniforms.min() < uniforms.max() < 1
    assert_allclose((normal**4).mean(), 3.0, atol=0.1)


def test_streams_are_independent(drawn):
    uniforms, normal = drawn
    assert abs(np.corrcoef(uniforms[1:, 0], uniforms[:-1, 0])[0, 1]) < 0.06  # neighbouring keys
    assert np.abs(np.corrcoef(normal[:, :8].T) - np.eye(8)).max() < 0.08  # neighbours in a stream
    for seed, part in ((4, 1), (3, 2)):
        other = np.empty_like(uniforms), np.empty_like(normal)
        of_keys(seed, part, *other)
        assert abs(np.corrcoef(other[1].ravel(), normal.ravel())[0, 1]) < 0.01
        assert not np.intersect1d(other[0], uniforms).size


def test_normals_are_quantiles_and_can_be_entered_anywhere():
    own = np.uint64(7)
    whole, part, single = np.empty(2000), np.empty(100), np.empty(2000, np.float32)
    normals(own, 0, whole)
    normals(own, 40, part)
    assert np.array_equal(part, whole[40:140])
    normals(own, 0, single)
    assert np.array_equal(single, whole.astype(np.float32))
    ordered = np.sort(whole)
    assert_allclose(ordered[[499, 999, 1499]], stats.norm.ppf([0.25, 0.5, 0.75]), atol=0.1)


def test_numbers_stay_what_they_are():
    """Results of seeds that users have noted must not change from version to version."""
    uniforms, normal = np.empty((1, 2)), np.empty((1, 2))
    of_keys(0, 0, uniforms, normal)
    assert_allclose(uniforms[0], [0.02352291821355179, 0.04592672059363834], rtol=1e-14)
    assert_allclose(normal[0], [-1.9858868808407977, -1.6857006987834915], rtol=1e-12)
