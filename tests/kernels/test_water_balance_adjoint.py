"""The gradient of the water balance: against central differences, torch's autograd, and itself."""

from __future__ import annotations

import numpy as np
import pytest

from xsoil.kernels import water_balance as forward
from xsoil.kernels.water_balance_adjoint import gradient
from xsoil.physics.water_balance import water_balance_substep

NAMES = ("theta_s", "theta_fc", "theta_wp", "k_sat", "root_depth", "depletion_fraction", "crop_coefficient")
DAYS, CELLS = 80, 60


def world(days=DAYS, cells=CELLS, seed=1):
    rng = np.random.default_rng(seed)
    rain = (rng.random((days, cells)) < 0.3) * rng.exponential(12, (days, cells)) + 0.01
    low, high = (0.4, 0.2, 0.05, 0.0, 0.1, 0.1, 0.5), (0.5, 0.35, 0.15, 2.5, 1.0, 0.6, 1.2)
    parameters = [rng.uniform(a, b, cells) for a, b in zip(low, high, strict=True)]
    parameters[3] = 10 ** parameters[3]
    return rain, rng.uniform(0.1, 7, (days, cells)), parameters


def weights(days=DAYS, cells=CELLS, names=forward.SERIES):
    rng = np.random.default_rng(2)
    return {name: rng.normal(size=(days, cells)) for name in names}


def scalar(rain, pet, parameters, initial, factors):
    """One number per cell."""
    series, (end, _) = forward.run(rain, pet, parameters, initial=initial, outputs=tuple(factors))
    return sum((series[name] * factor).sum(0) for name, factor in factors.items()) + 3.0 * end


def close_but_at_kinks(found, expected, rtol):
    """Differences across a kink are those of no piece: few cells, none far off."""
    error = np.abs(found - expected) / np.maximum(np.abs(expected), 1e-6 * np.abs(expected).max())
    assert np.mean(error < rtol) >= 0.95
    assert np.median(error) < rtol / 10


@pytest.mark.parametrize("names", [forward.SERIES, ("theta",)], ids=["all series", "theta alone"])
def test_central_differences(names):
    rain, pet, parameters = world()
    initial = np.random.default_rng(3).uniform(0.2, 0.3, CELLS)
    factors = weights(names=names)
    found = gradient(rain, pet, parameters, factors, initial=initial, final=np.full(CELLS, 3.0), forcing=True)

    def difference(change, step):
        sides = []
        for sign in (1, -1):
            p, e, q, w = rain.copy(), pet.copy(), [a.copy() for a in parameters], initial.copy()
            change(p, e, q, w, sign * step)
            sides.append(scalar(p, e, q, w, factors))
        return (sides[0] - sides[1]) / (2 * step)

    for k, name in enumerate(NAMES):
        step = 1e-6 * parameters[k]
        got = difference(lambda p, e, q, w, s, k=k: q[k].__iadd__(s), step)
        close_but_at_kinks(found.parameters[k], got, 1e-6 if name != "k_sat" else 2e-6)
    close_but_at_kinks(found.initial, difference(lambda p, e, q, w, s: w.__iadd__(s), np.full(CELLS, 1e-7)), 2e-6)
    for series, place in ((found.precipitation, 0), (found.pet, 1)):
        got = difference(lambda p, e, q, w, s, place=place: (p, e)[place][30].__iadd__(s), np.full(CELLS, 1e-5))
        close_but_at_kinks(series[30], got, 2e-5)


def test_torch_autograd_of_the_explicit_steps():
    torch = pytest.importorskip("torch")
    rain, pet, parameters = world(40, 30)
    factors = weights(40, 30)
    leaves = [torch.tensor(a, requires_grad=True) for a in (*parameters, rain, pet)]
    theta_s, theta_fc, theta_wp, k_sat, depth_m, depletion, crop, p, e = leaves
    depth, step = 1000 * depth_m, water_balance_substep(torch.minimum, torch.maximum)
    limits = [theta * depth for theta in (theta_s, theta_fc, theta_wp)]
    per_depletion = 1 / ((1 - depletion) * (limits[1] - limits[2]))
    released = -torch.expm1(-10 * k_sat / (limits[0] - limits[1]) / 24)
    water, total = limits[1], 0.0
    for day in range(40):
        sums = dict.fromkeys(("runoff", "actual_et", "drainage"), 0.0)
        for _ in range(24):
            water, *fluxes = step(water, p[day] / 24, crop * e[day] / 24, *limits, per_depletion, released)
            sums = {name: sums[name] + flux for name, flux in zip(sums, fluxes, strict=True)}
        series = sums | {"storage": water, "theta": water / depth}
        total = total + sum((torch.tensor(factors[name][day]) * series[name]).sum() for name in series)
    total.backward()
    found = gradient(rain, pet, parameters, factors, forcing=True)
    expected = [leaf.grad.numpy() for leaf in leaves]
    for got, want in zip((*found.parameters, found.precipitation, found.pet), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-8 * np.abs(want).max())


def test_checkpoints_and_threads_change_nothing():
    rain, pet, parameters = world()
    factors = weights()
    series, _ = forward.run(rain, pet, parameters)
    whole = gradient(rain, pet, parameters, factors, theta=series["theta"], forcing=True)
    for options in ({"every": 7}, {"every": 1}, {}, {"workers": 2}):
        other = gradient(rain, pet, parameters, factors, forcing=True, **options)
        np.testing.assert_allclose(other.parameters, whole.parameters, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(other.precipitation, whole.precipitation, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(other.pet, whole.pet, rtol=1e-9, atol=1e-9)


def test_single_precision_follows_double():
    rain, pet, parameters = world()
    factors = weights(names=("theta",))
    double = gradient(rain, pet, parameters, factors)
    single = gradient(rain.astype("f4"), pet.astype("f4"), parameters, factors)
    scale = np.abs(double.parameters).max(axis=1, keepdims=True)
    assert np.median(np.abs(single.parameters - double.parameters) / scale) < 1e-5


def test_where_the_run_starts_from_a_parameter():
    rain, pet, parameters = world()
    factors = weights(names=("theta",))
    default = gradient(rain, pet, parameters, factors)
    given = gradient(rain, pet, parameters, factors, initial=parameters[1])
    np.testing.assert_allclose(default.parameters[1], given.parameters[1] + given.initial, rtol=1e-12)
    clipped = gradient(rain, pet, parameters, factors, initial=np.full(CELLS, 0.9))
    at_limit = gradient(rain, pet, parameters, factors, initial=parameters[0])
    np.testing.assert_allclose(clipped.parameters[0], at_limit.parameters[0] + at_limit.initial, rtol=1e-12)
    assert not clipped.initial.any()


def test_missing_values_count_for_nothing():
    rain, pet, parameters = world()
    factors = weights()
    rain[50:, 3] = np.nan
    rain[20, 4] = np.nan
    parameters[0][5] = np.nan
    parameters[2][6] = 0.9
    found = gradient(rain, pet, parameters, factors, forcing=True)
    assert np.isfinite(found.parameters).all()
    assert np.isfinite(found.precipitation).all()
    assert not found.parameters[:, 5:7].any()
    short = {name: factor[:50] for name, factor in factors.items()}
    until = gradient(rain[:50], pet[:50], parameters, short, forcing=True)
    np.testing.assert_allclose(found.parameters[:, 3], until.parameters[:, 3], rtol=1e-12)
    assert not found.precipitation[20:, 4].any()
