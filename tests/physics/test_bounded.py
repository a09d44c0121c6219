"""Transforms of bounded parameters: inverses, bounds that are never left, one result under numpy, numba and torch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from xsoil.errors import ArgumentError
from xsoil.jit import kernel
from xsoil.kernels import elementary
from xsoil.physics.bounded import EDGE, Bounded, bounded, to_bounded, to_unbounded
from xsoil.physics.elementary import NUMPY, Elementary

INTERVALS = [(0.2, 0.6, False), (-0.1, 0.1, False), (0.5, 8000.0, True), (-2000.0, -50.0, True), (-3.0, -1.0, False)]


@pytest.mark.parametrize(("low", "high", "log"), INTERVALS)
def test_inverses(low, high, log):
    z = np.linspace(-12, 12, 101)
    x = to_bounded(z, low, high, log)
    assert (np.diff(x) > 0).all()
    assert_allclose(to_unbounded(x, low, high, log), z, atol=1e-8)
    share, value, *_ = bounded(NUMPY)
    part = np.linspace(0, 1, 11)
    assert_allclose(share(value(part, low, high, log), low, high, log), part, atol=1e-13)


@pytest.mark.parametrize(("low", "high", "log"), INTERVALS)
def test_middle(low, high, log):
    expected = np.sign(low) * np.sqrt(low * high) if log else (low + high) / 2
    assert_allclose(to_bounded(np.zeros(1), low, high, log), expected, atol=1e-15)


@given(
    st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.floats(-1e300, 1e300), st.booleans(), st.booleans(), st.booleans()
)
def test_bounds_are_never_left(low, width, z, log, negative, single):
    if log:
        low = abs(low) + 1e-6
    high = low + width
    if not low < high:
        return
    if negative:
        low, high = -high, -low
    dtype = np.float32 if single else np.float64
    low, high = dtype(low), dtype(high)
    x = to_bounded(np.array([dtype(np.clip(z, -1e30, 1e30))]), low, high, log)
    assert x.dtype == dtype
    assert low <= x[0] <= high


@pytest.mark.parametrize(("low", "high", "log"), INTERVALS)
def test_bounds_and_beyond_are_finite(low, high, log):
    ends = to_unbounded(np.array([low, high, low - 1e4, high + 1e4]), low, high, log)
    most = np.log((1 - EDGE) / EDGE)
    assert_allclose(ends, [-most, most, -most, most], rtol=1e-10)
    assert_allclose(to_bounded(np.array([-np.inf, np.inf]), low, high, log), [low, high], rtol=1e-15)
    assert np.isnan(to_unbounded(np.array([np.nan]), low, high, log)).all()
    assert np.isnan(to_bounded(np.array([np.nan]), low, high, log)).all()


def test_bounds_of_each_cell():
    interval = Bounded(0.32, np.array([0.41, 0.5]))
    assert_allclose(interval.to_bounded(np.zeros(2)), [0.365, 0.41])
    assert_allclose(interval.to_unbounded(np.array([0.365, 0.41])), 0, atol=1e-14)


@pytest.mark.parametrize(("low", "high", "log"), INTERVALS)
def test_same_lines_under_numba(low, high, log):
    functions = Elementary(
        elementary.exp, elementary.expm1, elementary.log, elementary.log1p, elementary.where, kernel
    )  # fmt: skip
    back, forth = bounded(functions)[2:]
    for z in (-20.0, -1.0, 0.0, 0.3, 30.0):
        x = to_bounded(np.array([z]), low, high, log)[0]
        assert_allclose(forth(z, low, high, log), x, rtol=1e-14, atol=1e-16)
        assert_allclose(back(x, low, high, log), to_unbounded(np.array([x]), low, high, log)[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("low", "high", "log"), INTERVALS)
def test_same_lines_under_torch_with_gradients(low, high, log):
    torch = pytest.importorskip("torch")

    def where(condition, yes, no):
        return torch.where(condition, yes, no)

    functions = Elementary(torch.exp, torch.expm1, torch.log, torch.log1p, where)
    values = np.array([-200.0, -2.0, -1e-3, 0.0, 1.0, 200.0])
    z = torch.tensor(values, requires_grad=True)
    x = to_bounded(z, low, high, log, functions)
    assert_allclose(x.detach(), to_bounded(values, low, high, log), rtol=1e-14)
    (slope,) = torch.autograd.grad(x.sum(), z)
    step = 1e-6
    expected = (to_bounded(values + step, low, high, log) - to_bounded(values - step, low, high, log)) / (2 * step)
    assert_allclose(slope, expected, rtol=1e-6, atol=1e-5 * abs(high - low))
    assert slope[3] > 0
    assert_allclose(
        to_unbounded(x, low, high, log, functions).detach(), to_unbounded(x.detach().numpy(), low, high, log)
    )


@pytest.mark.parametrize(
    ("low", "high", "log"), [(1.0, 1.0, False), (2.0, 1.0, False), (np.nan, 1.0, False), (0.0, np.inf, False)]
)
def test_refuses_no_interval(low, high, log):
    with pytest.raises(ArgumentError, match="lower one first"):
        Bounded(low, high, log)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 1.0), (-1.0, 0.0)])
def test_refuses_logarithm_of_zero(low, high):
    with pytest.raises(ArgumentError, match="log=False"):
        Bounded(low, high, True)
