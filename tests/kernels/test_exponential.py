"""Powers of two inside kernels."""

from __future__ import annotations

import numpy as np
import pytest

from xsoil.jit import fused_kernel
from xsoil.kernels.exponential import exp2


@fused_kernel
def powers(x, out):
    for i in range(x.size):
        out[i] = exp2(x[i])


@pytest.mark.parametrize(("dtype", "limit", "error"), [(np.float32, 125, 2e-7), (np.float64, 1000, 1e-15)])
def test_relative_error(dtype, limit, error):
    wholes = np.arange(-limit, limit + 1)
    x = np.concatenate([np.random.default_rng(0).uniform(-limit, limit, 100_000), wholes, wholes[:-1] + 0.5])
    x = x.astype(dtype)
    found = np.empty_like(x)
    powers(x, found)
    np.testing.assert_allclose(found.astype(np.longdouble), np.exp2(x.astype(np.longdouble)), rtol=error)
