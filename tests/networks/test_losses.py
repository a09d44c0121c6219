"""Losses: those of evaluation/metrics, with gradients that gaps and constants do not spoil."""

from __future__ import annotations

import numpy as np
import pytest

from xsoil.evaluation.metrics import METRICS, series_metrics

torch = pytest.importorskip("torch", reason="the extra 'learn' is not installed")

from xsoil.errors import ArgumentError, UnknownNameError  # noqa: E402
from xsoil.networks import losses  # noqa: E402  (needs torch)
from xsoil.networks.losses import LOSSES, loss_of  # noqa: E402

OF_METRIC = {
    "mse": lambda m: m["rmse"] ** 2,
    "nse": lambda m: 1 - m["nse"],
    "kge": lambda m: 1 - m["kge"],
    "ubrmse": lambda m: m["ubrmse"],
}


def series(days=50, cells=7, seed=0):
    rng = np.random.default_rng(seed)
    observed = rng.uniform(0.1, 0.4, (days, cells))
    simulated = observed + rng.normal(0.02, 0.05, (days, cells))
    observed[rng.random((days, cells)) < 0.3] = np.nan
    simulated[5, 2] = np.nan
    return simulated, observed


@pytest.mark.parametrize("name", LOSSES)
def test_agree_with_the_metrics(name):
    simulated, observed = series()
    cost, counts = LOSSES[name](torch.tensor(simulated), torch.tensor(observed))
    metrics = dict(zip(METRICS, series_metrics(simulated.T, observed.T), strict=False))
    np.testing.assert_allclose(cost, OF_METRIC[name](metrics), rtol=1e-10)
    assert counts.all()


@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name):
    simulated, observed = series(days=8, cells=3)
    simulated[5, 2] = 0.2
    inputs = [torch.tensor(simulated), torch.tensor([0.9, 1.0, 1.2]), torch.tensor([0.1, 0.0, -0.1])]
    inputs = [x.double().requires_grad_() for x in inputs]

    def cost(s, scale, bias):
        return LOSSES[name](s, torch.tensor(observed), scale=scale, bias=bias)[0]

    assert torch.autograd.gradcheck(cost, inputs)


@pytest.mark.parametrize("name", LOSSES)
def test_tensor_operations_are_the_kernel(name, monkeypatch):
    """What other devices run."""
    found = []
    for native in (False, True):
        simulated, observed = (torch.tensor(x) for x in series())
        simulated.requires_grad_()
        scale = torch.full((7,), 1.1, dtype=torch.float64, requires_grad=True)
        if native:
            monkeypatch.setattr(losses._Sums, "apply", losses._native)
        cost, _ = LOSSES[name](simulated, observed, scale=scale)
        cost.sum().backward()
        found.append((cost.detach(), simulated.grad, scale.grad))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", LOSSES)
def test_cells_that_do_not_count(name):
    simulated, observed = series(cells=6)
    observed[:, 0] = np.nan  # no observation
    observed[:, 1], observed[0, 1] = np.nan, 0.2  # one only
    observed[:, 2] = 0.3  # constant
    simulated[:, 3] = np.nan  # the model failed
    simulated[:, 4] = 0.25  # constant simulation
    leaf = torch.tensor(simulated, requires_grad=True)
    cost, counts = LOSSES[name](leaf, torch.tensor(observed))
    cost.sum().backward()
    loss = LOSSES[name]
    assert counts.tolist() == [False, loss.pairs == 1, not loss.varies, False, True, True]
    assert torch.isfinite(cost).all()
    assert torch.isfinite(leaf.grad).all()
    assert (leaf.grad[:, ~counts] == 0).all()
    assert not LOSSES[name](leaf, torch.tensor(observed), least=51)[1].any()


@pytest.mark.parametrize("name", LOSSES)
def test_perfect_simulation_has_finite_gradients(name):
    observed = torch.tensor(series()[0][:, :2])
    leaf = observed.clone().requires_grad_()
    cost, _ = LOSSES[name](leaf, observed)
    cost.sum().backward()
    np.testing.assert_allclose(cost.detach(), 0, atol=2e-8)
    assert torch.isfinite(leaf.grad).all()


def test_a_function_of_the_users():
    def absolute(simulated, observed, valid):
        return ((simulated - observed).abs() * valid).sum(dim=0) / valid.sum(dim=0).clamp(min=1)

    simulated, observed = series()
    leaf = torch.tensor(simulated, requires_grad=True)
    scale = torch.ones(7, requires_grad=True)
    cost, counts = loss_of(absolute)(leaf, torch.tensor(observed), scale=scale)
    cost.sum().backward()
    np.testing.assert_allclose(cost.detach(), np.nanmean(np.abs(simulated - observed), axis=0))
    assert counts.all()
    assert torch.isfinite(leaf.grad).all()
    assert torch.isfinite(scale.grad).all()
    with pytest.raises(ArgumentError, match="a cost for each cell"):
        loss_of(lambda s, o, valid: s.sum())(leaf, torch.tensor(observed))


def test_unknown_name():
    with pytest.raises(UnknownNameError, match="did you mean 'nse'"):
        loss_of("nsee")
