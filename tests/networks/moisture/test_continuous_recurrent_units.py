"""Continuous Recurrent Units: the filter against dense Gaussian conditioning, the integral against quadrature."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import torch

from xsoil.networks.moisture.continuous_recurrent_units import LEAST, LEAST_RATE, ContinuousRecurrentUnit


@pytest.fixture
def unit():
    """One whose transition does not depend on the state, so that all of it is one Gaussian."""
    torch.manual_seed(3)
    made = ContinuousRecurrentUnit(2, 3, 8, controls=1).double()
    with torch.no_grad():
        made.weights.weight.zero_()
        made.skew.mul_(10)
    return made.eval()


def series(times=9, seed=1):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(size=(3, times)))
    seen = torch.from_numpy((rng.random((3, times)) < 0.5).astype(float))
    seen[2] = 0
    steps = torch.from_numpy(rng.uniform(0.3, 4, (1, times))).expand(3, -1).clone()
    return x, seen, steps, torch.from_numpy(rng.normal(size=(3, times, 1)))


def system(unit):
    """A, G G', initial covariance in the coordinates of the state."""
    with torch.no_grad():
        vectors = torch.linalg.matrix_exp(unit.skew - unit.skew.T)
        weights = torch.softmax(unit.weights.bias, 0)
        rates = weights @ (-torch.nn.functional.softplus(unit.rates) - LEAST_RATE)
        a = vectors @ torch.diag(rates) @ vectors.T
        return a.numpy(), np.diag(unit.noise.exp().numpy()), np.diag(unit.spread.exp().numpy())


def moments(a, q, step):
    """Transition and noise covariance over a step, by quadrature of the definition (Schirmer et al. 2022, eq. 6)."""

    def integrand(s):
        kept = scipy.linalg.expm(a * (step - s))
        return (kept @ q @ kept.T).ravel()

    noise = scipy.integrate.quad_vec(integrand, 0, step, epsabs=1e-12)[0]
    return scipy.linalg.expm(a * step), noise.reshape(a.shape)


def conditioned(unit, x, seen, steps, controls, row, upto=None):
    """State at all times given the observations (up to one of them), by one large Gaussian."""
    a, q, initial = system(unit)
    times = x.shape[1]
    with torch.no_grad():
        features = unit.encoder(x[row, :, None])
        y = unit.observation(torch.cat([features, x[row, :, None]], -1)).numpy()
        noise = (torch.nn.functional.softplus(unit.uncertainty(features)) + LEAST).numpy()
        pushes = unit.control(controls[row]).numpy()
    # The states are a linear map of (initial state, noises of all steps) plus the pushes.
    mean, covariance = np.zeros((times, 4)), np.zeros((times, 4, times, 4))
    now, spread = np.zeros(4), initial
    for t in range(times):
        f, w = moments(a, q, float(steps[row, t]))
        now, spread = f @ now + pushes[t], f @ spread @ f.T + w
        mean[t] = now
        for s in range(t):
            covariance[t, :, s] = f @ covariance[t - 1, :, s]
            covariance[s, :, t] = covariance[t, :, s].T
        covariance[t, :, t] = spread
    used = [t for t in range(times) if seen[row, t] and (upto is None or t <= upto)]
    if not used:
        return mean, covariance
    k = np.array([t * 4 + i for t in used for i in range(2)])
    flat, wide = mean.ravel(), covariance.reshape(times * 4, -1)
    gain = wide[:, k] @ np.linalg.inv(wide[np.ix_(k, k)] + np.diag(noise[used].ravel()))
    flat = flat + gain @ (y[used].ravel() - flat[k])
    return flat.reshape(times, 4), (wide - gain @ wide[k]).reshape(times, 4, times, 4)


def states(unit, smoothed):
    """Means and covariances of the unit, in the coordinates of the state."""
    unit.smoothing = True
    x, seen, steps, controls = series()
    with torch.no_grad():
        vectors = torch.linalg.matrix_exp(unit.skew - unit.skew.T)
        seeing = vectors[: unit.latent]
        means, covariances, passed = unit._filter(x, seen, steps, controls, vectors, seeing)
        if smoothed:
            means, covariances = unit._smooth(means, covariances, passed, seeing)
        return (means @ vectors.T).numpy(), (vectors @ covariances @ vectors.T).numpy()


@pytest.mark.parametrize("row", [0, 1, 2])
def test_smoothed_states_are_those_given_all_observations(unit, row):
    means, covariances = states(unit, True)
    mean, covariance = conditioned(unit, *series(), row)
    np.testing.assert_allclose(means[row], mean, atol=1e-9)
    for t in range(9):
        np.testing.assert_allclose(covariances[row, t], covariance[t, :, t], atol=1e-9)


def test_filtered_states_are_those_given_the_observations_so_far(unit):
    means, covariances = states(unit, False)
    for t in range(9):
        mean, covariance = conditioned(unit, *series(), 0, upto=t)
        np.testing.assert_allclose(means[0, t], mean[t], atol=1e-9)
        np.testing.assert_allclose(covariances[0, t], covariance[t, :, t], atol=1e-9)


def test_the_filter_is_causal_and_the_smoother_is_not():
    torch.manual_seed(0)
    for smoothing in (False, True):
        unit = ContinuousRecurrentUnit(2, 3, 8, smoothing=smoothing).double().eval()
        x, seen, steps, _ = series()
        seen[0, -1] = 1
        other = x.clone()
        other[0, -1] += 1
        with torch.no_grad():
            one, two = unit(x, seen, steps)[0][0], unit(other, seen, steps)[0][0]
        assert bool((one[:-1] != two[:-1]).any()) is smoothing


def test_unseen_values_do_not_matter_and_time_does():
    torch.manual_seed(0)
    unit = ContinuousRecurrentUnit(2, 3, 8).double().eval()
    x, seen, steps, _ = series()
    with torch.no_grad():
        one = unit(x, seen, steps)
        other = unit(torch.where(seen > 0, x, 7.0), seen, steps)
        later = unit(x, seen, 2 * steps)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not torch.allclose(one[0][0], later[0][0])
    assert (one[1] > 0).all()


def test_gradients_reach_every_weight(unit):
    with torch.no_grad():
        unit.weights.weight.normal_()
    mean, variance = unit(*series())
    (mean.sum() + variance.log().sum()).backward()
    for name, weight in unit.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
        assert weight.grad.abs().sum() > 0, name
