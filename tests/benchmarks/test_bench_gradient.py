"""The gradient of the water balance beside its forward run, and beside torch's autograd of the same sub-steps."""

from __future__ import annotations

import time

import numpy as np
import pytest

from xsoil.kernels import water_balance as forward
from xsoil.kernels.water_balance_adjoint import gradient


def world(days, cells, dtype="f4"):
    rng = np.random.default_rng(0)
    rain = (rng.random((days, cells)) < 0.3) * rng.exponential(12, (days, cells))
    low, high = (0.4, 0.2, 0.05, 1.0, 0.1, 0.1, 0.5), (0.5, 0.35, 0.15, 300.0, 1.0, 0.6, 1.2)
    parameters = [rng.uniform(a, b, cells) for a, b in zip(low, high, strict=True)]
    return rain.astype(dtype), rng.uniform(0, 7, (days, cells)).astype(dtype), parameters


def test_gradient_against_forward(ratio):
    rain, pet, parameters = world(1096, 40_000)
    ones = {"theta": np.ones_like(rain)}
    for workers in (1, 2):
        series, _ = forward.run(rain, pet, parameters, workers=workers)
        run, back = ratio.times(
            lambda workers=workers: forward.run(rain, pet, parameters, workers=workers),
            lambda workers=workers, theta=series["theta"]: gradient(
                rain, pet, parameters, ones, theta=theta, workers=workers
            ),
            rounds=5,
        )
        measured = f"{(run + back) / run:.1f} x its forward ({1e9 * (run + back) / rain.size:.1f} ns per cell-day)"
        ratio.report(f"gradient of the water balance, 40,000 cells x 1,096 days, {workers} threads", measured, "4 x")


def test_gradient_against_torch(ratio):
    torch = pytest.importorskip("torch")
    from xsoil.physics.water_balance import water_balance_substep

    rain, pet, parameters = world(120, 4_000)
    ones = {"theta": np.ones_like(rain)}

    def ours():
        series, _ = forward.run(rain, pet, parameters, workers=2)
        gradient(rain, pet, parameters, ones, theta=series["theta"], workers=2)

    def theirs():
        theta_s, theta_fc, theta_wp, k_sat, depth_m, depletion, crop = (
            torch.tensor(a, dtype=torch.float32, requires_grad=True) for a in parameters
        )
        p, e, depth = torch.from_numpy(rain), torch.from_numpy(pet), 1000 * depth_m
        limits = [theta * depth for theta in (theta_s, theta_fc, theta_wp)]
        per_depletion = 1 / ((1 - depletion) * (limits[1] - limits[2]))
        released = -torch.expm1(-10 * k_sat / (limits[0] - limits[1]) / 24)
        step = water_balance_substep(torch.minimum, torch.maximum)
        water, total = limits[1], torch.zeros(())
        for day in range(120):
            for _ in range(24):
                water, *_ = step(water, p[day] / 24, crop * e[day] / 24, *limits, per_depletion, released)
            total = total + (water / depth).sum()
        total.backward()

    (mine,) = ratio.times(ours, rounds=5)
    start = time.perf_counter()
    theirs()
    other = time.perf_counter() - start
    measured = f"{other / mine:.0f} x faster than torch autograd of the same 24 steps ({other:.1f} s, one run)"
    ratio.report("gradient of the water balance, 4,000 cells x 120 days", measured, "100 x")
