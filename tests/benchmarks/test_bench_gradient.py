"""Gradients of the water balance and of Richards columns beside their forward runs, and beside torch's autograd."""

from __future__ import annotations

import time

import numpy as np
import pytest

from xsoil.kernels import richards
from xsoil.kernels import water_balance as forward
from xsoil.kernels.richards_adjoint import Columns
from xsoil.kernels.water_balance_adjoint import gradient
from xsoil.physics.richards import face_conductivity, grid
from xsoil.physics.root_uptake import partition, root_fraction, s_shaped
from xsoil.physics.van_genuchten import van_genuchten


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


SOILS = {
    "van_genuchten": (0.078, 0.43, 0.036, 1.56, 24.96, 0.5),
    "fredlund_xing_wang": (0.40, 0.006, 1.1, 0.66, 100.0),
}


def columns_of(curve, days, count):
    """A season of rain on every fifth day."""
    rng = np.random.default_rng(0)
    season = 1 - np.cos(2 * np.pi * np.arange(days) / 365)
    rain = np.where(rng.random(days) < 0.2, rng.gamma(0.8, 12, days), 0.0)
    weather = rain, 1 + 2 * season, 0.5 + 1.5 * season
    soil = [np.full(count, p) for p in SOILS[curve]]
    return weather, soil, {"curve": curve, "widths": grid(50.0), "depths": (5.0,)}


@pytest.mark.parametrize("curve", SOILS)
def test_richards_gradient_against_forward(ratio, curve):
    """From kept states (each day is run twice), and from recorded steps."""
    days, count = 365, 40
    weather, soil, fixed = columns_of(curve, days, count)
    columns = Columns(*weather, soil, **fixed)
    ones = {"theta": np.ones((days, 1, count))}
    _, _, tape = columns.run()
    _, _, steps = richards.run(*weather, soil, record=20 * days, **fixed)
    plain, kept, back, from_steps = ratio.times(
        lambda: richards.run(*weather, soil, **fixed),
        columns.run,
        lambda: columns.gradient(ones, tape=tape, forcing=True),
        lambda: columns.gradient(ones, steps=steps, forcing=True),
    )
    measured = (
        f"{(kept + back) / plain:.1f} x its forward in O(sqrt(time)) memory, "
        f"{(plain + from_steps) / plain:.1f} x from recorded steps"
    )
    ratio.report(f"gradient of Richards, {curve}, {count} columns x {days} days", measured, "5 x")


def test_richards_gradient_against_torch(ratio):
    """Beside autograd of one Newton iteration from the solution of each recorded step: the least that a loop in torch
    has to do (an unrolled solver differentiates all of its iterations, and has to choose its steps first)."""
    torch = pytest.importorskip("torch")
    from xsoil.networks.elementary import TORCH

    days, count = 10, 256
    weather, soil, fixed = columns_of("van_genuchten", days, count)
    columns = Columns(*weather, soil, **fixed)
    _, _, steps = richards.run(*weather, soil, record=20 * days, **fixed)
    per_day, dt, heads = steps.per_day[0], steps.dt[0], torch.from_numpy(steps.h.transpose(1, 0, 2).copy())
    width = torch.from_numpy(fixed["widths"])
    distance, half = (width[1:] + width[:-1]) / 2, width[0] / 2
    below = torch.cat([torch.zeros(1), torch.cumsum(width, 0)])
    roots = torch.diff(root_fraction(torch.where)(below, 40.0))
    demands, evaporations = (np.asarray(a) for a in partition(np.exp)(0.1 * weather[1], weather[2]))
    curves, stress = van_genuchten(TORCH), s_shaped(torch.where)

    def ours():
        _, _, tape = columns.run()
        return columns.gradient({"theta": np.ones((days, 1, count))}, tape=tape)

    def net(h, k, day, wet):
        root = torch.sqrt(k)
        face = face_conductivity(k[:, :-1], k[:, 1:], root[:, :-1], root[:, 1:])
        flux = -face * ((h[:, :-1] - h[:, 1:]) / distance + 1)
        most = -0.5 * (wet + k[:, 0]) * (1 - h[:, 0] / half)
        top = torch.maximum(torch.full_like(most, evaporations[day] - 0.1 * weather[0][day]), most)
        flux = torch.cat([top[:, None], flux, -k[:, -1:]], dim=1)
        return torch.diff(flux, dim=1) - roots * demands[day] * stress(h, torch.tensor(-800.0))[0]

    def theirs():
        theta_r, theta_s, alpha, n, k_sat, l = leaves = [torch.tensor(a, requires_grad=True) for a in soil]  # noqa: E741

        def at(h):
            found = curves(h, *(p[:, None] for p in (theta_r, theta_s, alpha, n, 1 - 1 / n, k_sat, l)))
            return found[0], found[2]

        mass, total, s = at(torch.full((count, width.numel()), -100.0, dtype=torch.float64))[0], 0.0, 0
        for day in range(days):
            for _ in range(per_day[day]):
                h = heads[s].clone().requires_grad_(True)
                theta, k = at(h)
                residual = dt[s] * net(h, k, day, k_sat) - width * (theta - mass)
                with torch.no_grad():
                    jacobian = matrix(torch, residual, h)
                moved = h.detach() - torch.linalg.solve(jacobian, residual[..., None])[..., 0]
                mass, s = at(moved)[0], s + 1
            centres = torch.cumsum(width, 0) - width / 2
            i = int((centres <= 5.0).sum()) - 1
            share = (5.0 - centres[i]) / (centres[i + 1] - centres[i])
            total = total + at(moved[:, i : i + 1] * (1 - share) + moved[:, i + 1 : i + 2] * share)[0].sum()
        total.backward()
        return leaves

    found, told = ours(), theirs()
    for k in range(6):
        np.testing.assert_allclose(found.parameters[k, 0], told[k].grad.numpy(), rtol=0.02)
    (mine,) = ratio.times(ours, rounds=5)
    start = time.perf_counter()
    theirs()
    other = time.perf_counter() - start
    ratio.report(
        f"gradient of Richards, {count} columns x {days} days",
        f"{other / mine:.0f} x faster than torch autograd of one Newton iteration a step ({other:.1f} s, one run)",
        "none",
    )


def matrix(torch, residual, h):
    """The tri-diagonal Jacobian of all columns by three derivatives: rows three apart share no head."""
    n = h.shape[1]
    found = torch.zeros(h.shape[0], n, n, dtype=h.dtype)
    for first in range(3):
        weights = torch.zeros_like(residual)
        weights[:, first::3] = 1.0
        with torch.enable_grad():
            (row,) = torch.autograd.grad(residual, h, weights, retain_graph=True)
        for i in range(first, n, 3):
            low, high = max(i - 1, 0), min(i + 2, n)
            found[:, i, low:high] = row[:, low:high]
    return found
