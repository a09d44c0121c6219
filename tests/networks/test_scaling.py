"""Scaling of predictors: gaps, constants, any blocks."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'learn' is not installed")

from xsoil.errors import ArgumentError  # noqa: E402
from xsoil.networks.samples import InMemorySource, Sample  # noqa: E402
from xsoil.networks.scaling import InputScaling  # noqa: E402


def source(static, history=None, block=4096):
    return InMemorySource(Sample(np.arange(len(static)), static, history), block=block)


def predictors(cells=50):
    rng = np.random.default_rng(0)
    static = rng.normal([[10.0, 1e5, 0.1]], [[2.0, 5.0, 0.01]], (cells, 3)).astype("f4")
    return static, rng.gamma(2.0, size=(cells, 30, 2)).astype("f4")


def test_mean_0_and_deviation_1():
    static, history = predictors()
    scaling = InputScaling.fit(source(static, history), np.arange(50))
    found = scaling(torch.tensor(static), torch.tensor(history))
    for array, axes in zip(found, ((0,), (0, 1)), strict=True):
        np.testing.assert_allclose(array.numpy().mean(axis=axes), 0, atol=2e-3)
        np.testing.assert_allclose(array.numpy().std(axis=axes), 1, rtol=2e-3)
    assert scaling.channels == (3, 2)


def test_only_the_training_cells_count():
    static, _ = predictors()
    changed = static.copy()
    changed[40:] = 1e6
    one, other = (InputScaling.fit(source(s), np.arange(40)) for s in (static, changed))
    assert torch.equal(one.static_mean, other.static_mean)
    np.testing.assert_allclose(one.static_mean, static[:40].astype("f8").mean(axis=0), rtol=1e-6)


def test_patches_and_any_blocks():
    rng = np.random.default_rng(0)
    static = rng.normal(3, 2, (37, 2, 4, 4))
    static[rng.random(static.shape) < 0.1] = np.nan
    cells = np.arange(0, 37, 2)
    found = [InputScaling.fit(source(static, block=block), cells).state_dict() for block in (1, 5, 100)]
    np.testing.assert_allclose(found[0]["static_std"], np.nanstd(static[cells], axis=(0, 2, 3)), rtol=1e-6)
    for other in found[1:]:
        assert all(torch.equal(found[0][name], other[name]) for name in other)


def test_missing_values_are_the_mean_and_say_so():
    static = np.array([[1.0, 5.0], [3.0, np.nan], [5.0, 7.0], [np.inf, 6.0]])
    scaling = InputScaling.fit(source(static), np.arange(3))
    scaled, _ = scaling(torch.tensor(static), None)
    assert scaling.channels == (3, 0)  # gaps of the second predictor were seen, of the first not
    np.testing.assert_allclose(scaled[:, 2], [0, 1, 0, 0])
    assert scaled[1, 1] == 0
    assert scaled[3, 0] == 0
    assert scaling.complete(torch.tensor(static), None).tolist() == [True, True, True, False]


def test_cells_without_predictors_are_not_complete():
    static = np.full((3, 2, 2, 2), np.nan)
    static[0] = 1.0
    static[1, 1, 0, 0] = 2.0  # nothing of the first predictor
    scaling = InputScaling.fit(source(static), np.array([0, 1]))
    assert scaling.complete(torch.tensor(static), None).tolist() == [True, True, False]


def test_constant_predictors_are_0():
    static = np.tile([2.5, 0.1], (6, 1)).astype("f4")
    static[:, 0] = np.arange(6)
    scaling = InputScaling.fit(source(static), np.arange(5))
    assert scaling.static_constant.tolist() == [False, True]
    static[5, 1] = 99.0
    scaled, _ = scaling(torch.tensor(static), None)
    assert (scaled[:, 1] == 0).all()
    assert torch.isfinite(scaled).all()


def test_logarithmic():
    static = np.exp(np.random.default_rng(0).normal(3, 2, (40, 1)))
    static[7] = -1.0
    scaling = InputScaling.fit(source(static), np.arange(40), log_static=[0])
    scaled, _ = scaling(torch.tensor(static), None)
    np.testing.assert_allclose(np.delete(scaled[:, 0].numpy(), 7).std(), 1, rtol=1e-5)
    assert scaled[7].tolist() == [0.0, 1.0]  # missing


def test_what_has_no_logarithm_is_missing():
    static = np.exp(predictors()[0] / 1e4)
    history = np.ones((50, 4, 1), "f4")
    scaling = InputScaling.fit(source(static, history), np.arange(50), log_static=[1], log_history=[0])
    static[0, 1], static[1, 1], static[2, 0], history[3] = 0.0, -1.0, 0.0, 0.0
    whole = scaling.complete(torch.tensor(static), torch.tensor(history))
    assert whole[:5].tolist() == [False, False, True, False, True]


def test_errors():
    static, _ = predictors()
    static[:, 1] = np.nan
    with pytest.raises(ArgumentError, match=r"\[1\].*have no value in any training cell"):
        InputScaling.fit(source(static), np.arange(50))
    with pytest.raises(ArgumentError, match="2 of 52 training cells are in no block"):
        InputScaling.fit(source(static[:, :1]), np.arange(52))
    with pytest.raises(ArgumentError, match="no predictors"):
        InputScaling.fit(InMemorySource(Sample(np.arange(3))), np.arange(3))
    scaling = InputScaling.fit(source(static[:, :1]), np.arange(50))
    with pytest.raises(ArgumentError, match="expected 1 channels"):
        scaling(torch.tensor(static), None)
