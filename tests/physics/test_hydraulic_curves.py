"""Hydraulic curves: reference values, derivatives, inverses, the same lines under numpy, numba and torch."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from xsoil.kernels import elementary
from xsoil.kernels.richards_curves import CURVES, FIXED, STRAIGHT, UNIQUE, evaluate, prepare
from xsoil.physics.elementary import NUMPY, Elementary
from xsoil.physics.fredlund_xing_wang import (
    fredlund_xing_wang,
    fredlund_xing_wang_anchors,
    fredlund_xing_wang_head,
    fredlund_xing_wang_retention,
    fredlund_xing_wang_sensitivity,
)
from xsoil.physics.power_laws import brooks_corey, brooks_corey_head, gardner, gardner_head, haverkamp, haverkamp_head
from xsoil.physics.retention import brooks_corey_theta, campbell_theta, van_genuchten_theta
from xsoil.physics.van_genuchten import van_genuchten, van_genuchten_head

LOAM = (0.078, 0.43, 0.036, 1.56, 1 - 1 / 1.56)
FIG_2 = (0.40, 0.006, 1.1, 0.66, 100.0)


def fxw(functions=NUMPY):
    """Curves with their anchors made on the way."""
    anchors, curves = fredlund_xing_wang_anchors(functions), fredlund_xing_wang(functions)
    return lambda h, *parameters: curves(h, *parameters, *anchors(*parameters))


# name: (curves, their parameters, theta -> h, how many of the parameters retention takes)
ALL = {
    "van_genuchten": (van_genuchten, (*LOAM, 24.96, 0.5), van_genuchten_head, 5),
    "fredlund_xing_wang": (fxw, FIG_2, fredlund_xing_wang_head, 4),
    "brooks_corey": (brooks_corey, (0.05, 0.4, -20.0, 0.4, 30.0), brooks_corey_head, 4),
    "gardner": (gardner, (0.06, 0.4, 0.01, 24.0), gardner_head, 3),
    "haverkamp": (haverkamp, (0.075, 0.287, 1.611e6, 3.96, 816.0, 1.175e6, 4.74), haverkamp_head, 4),
}


def reference_rows(folder):
    with open(folder / "physics" / "hydraulic_curves.csv") as file:
        for row in csv.DictReader(file):
            p = {name: float(value) for name, value in re.findall(r"(\w+)=(\S+)", row["params"])}
            yield row, p


def test_reference_values(reference):
    count = 0
    for row, p in reference_rows(reference):
        h, expected = float(row["h_cm"]), [float(row[name]) for name in ("theta", "C_per_cm", "K_cm_d")]
        if row["model"] == "VGM":
            found = van_genuchten(NUMPY)(h, p["thr"], p["ths"], p["a"], p["n"], 1 - 1 / p["n"], p["Ks"], p["l"])
        else:
            found = fxw()(h, p["ths"], p["a"], p["n"], p["m"], p["Ks"])
        assert_allclose(found[:3], expected, rtol=6e-10, atol=0, err_msg=f"{row['params']} {h}")
        count += 1
    assert count == 114


@pytest.mark.parametrize("name", ALL)
def test_derivatives_are_those_of_the_curves(name):
    builder, parameters, _, _ = ALL[name]
    curves = builder(NUMPY)
    h = -np.logspace(-1, 4, 300)
    h = h[(np.abs(h + 16) > 0.01) & (np.abs(h + 20) > 0.01)]  # the joints of two curves
    step = -1e-5 * h
    up, down = curves(h + step, *parameters), curves(h - step, *parameters)
    _, capacity, _, slope = curves(h, *parameters)
    # Times h, so that the noise of the differences is the same everywhere.
    assert_allclose((up[0] - down[0]) / (2 * step) * h, capacity * h, rtol=1e-6, atol=1e-10)
    assert_allclose((up[2] - down[2]) / (2 * step) * h / up[2], slope * h / up[2], rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("name", ALL)
def test_saturated_from_zero_on(name):
    builder, parameters, _, _ = ALL[name]
    theta_s, k_sat = {
        "van_genuchten": (0.43, 24.96), "fredlund_xing_wang": (0.40, 100.0), "brooks_corey": (0.4, 30.0),
        "gardner": (0.4, 24.0), "haverkamp": (0.287, 816.0),
    }[name]  # fmt: skip
    for h in (0.0, 3.0):
        assert_allclose(builder(NUMPY)(h, *parameters), (theta_s, 0.0, k_sat, 0.0), rtol=1e-15)


@pytest.mark.parametrize("name", ALL)
def test_head_is_the_inverse(name):
    builder, parameters, inverse, count = ALL[name]
    h = -np.logspace(0 if name != "brooks_corey" else 1.31, 3, 40)
    theta = builder(NUMPY)(h, *parameters)[0]
    keep = theta < parameters[1 if name != "fredlund_xing_wang" else 0] - 1e-7
    head = inverse(NUMPY)
    assert_allclose(head(theta, *parameters[:count])[keep], h[keep], rtol=1e-6)
    wet = head(np.array([0.6]), *parameters[:count])
    assert wet == (parameters[2] if name == "brooks_corey" else 0.0)
    assert np.isnan(head(np.array([-0.01]), *parameters[:count]))


@given(st.floats(-1e6, 10), st.floats(0.001, 0.2), st.floats(1.05, 8), st.floats(-2, 2))
def test_retention_agrees_with_the_plain_formulas(h, alpha, n, l):  # noqa: E741
    theta, capacity, k, _ = van_genuchten(NUMPY)(h, 0.05, 0.45, alpha, n, 1 - 1 / n, 10.0, l)
    assert theta == pytest.approx(van_genuchten_theta(h, 0.05, 0.45, alpha, n, 1 - 1 / n), rel=1e-12)
    assert capacity >= 0
    assert k >= 0
    theta = brooks_corey(NUMPY)(h, 0.05, 0.45, -1 / alpha, n - 1, 10.0)[0]
    assert theta == pytest.approx(brooks_corey_theta(h, 0.05, 0.45, -1 / alpha, n - 1), rel=1e-12)


def test_campbell_is_brooks_corey_without_residual():
    h, b = -np.logspace(0, 4, 20), 5.3
    theta, _, k, _ = brooks_corey(NUMPY)(h, 0.0, 0.45, -30.0, 1 / b, 12.0)
    assert_allclose(theta, campbell_theta(h, 0.45, -30.0, b), rtol=1e-13)
    assert_allclose(k, 12.0 * (theta / 0.45) ** (2 * b + 3), rtol=1e-12)


@pytest.mark.parametrize("name", ["van_genuchten", "fredlund_xing_wang", "brooks_corey", "gardner", "haverkamp"])
def test_kernel_agrees_with_numpy(name):
    builder, parameters, _, _ = ALL[name]
    values = [p for i, p in enumerate(parameters) if not (name == "van_genuchten" and i == 4)]
    h = np.concatenate([[5.0, 0.0], -np.logspace(0.5, 5.5, 62)])
    nodes, fixed = np.zeros((5, 64)), np.zeros((FIXED, 64))
    code = list(CURVES).index(name)
    assert prepare(code, np.array(values)[:, None], nodes, fixed, 64) == 0
    nodes[0] = h
    evaluate(code, nodes, fixed, 64)
    expected = np.array(builder(NUMPY)(h, *parameters))
    large = expected[2] > 1e-25
    assert_allclose(nodes[1], expected[0], rtol=1e-12, atol=1e-300)
    # Above an air entry the solver gives the capacity 0 a least value, so that its matrix has one solution.
    assert_allclose(nodes[2], expected[1], rtol=1e-12, atol=UNIQUE if name == "brooks_corey" else 1e-300)
    assert_allclose(nodes[3, large], expected[2, large], rtol=1e-12)
    assert_allclose(nodes[4, large], expected[3, large], rtol=1e-11)
    assert (nodes[3] >= 1e-25).all()


def test_conductivity_is_a_chord_just_below_saturation():
    nodes, fixed = np.zeros((5, 8)), np.zeros((FIXED, 8))
    prepare(0, np.array([0.078, 0.43, 0.036, 1.56, 24.96, 0.5])[:, None], nodes, fixed, 8)
    assert fixed[STRAIGHT, 0] == 0.1
    nodes[0] = -np.array([0.0, 0.025, 0.05, 0.075, 0.1, 0.2, 1.0, 2.0])
    evaluate(0, nodes, fixed, 8)
    edge = van_genuchten(NUMPY)(-0.1, *LOAM, 24.96, 0.5)[2]
    assert_allclose(nodes[3, :5], 24.96 - (24.96 - edge) * np.arange(5) / 4, rtol=1e-12)
    # The steeper the drop at saturation, the longer the chord.
    for n, length in ((1.3, 0.1), (1.2, 0.1 * 20**0.5), (1.05, 2.0)):
        prepare(0, np.array([0.078, 0.43, 0.036, n, 24.96, 0.5])[:, None], nodes, fixed, 8)
        assert fixed[STRAIGHT, 0] == pytest.approx(length)


def test_elementary_functions():
    x = np.random.default_rng(0).uniform(-300, 300, 4000)
    wide = x.astype(np.longdouble)
    for function, arguments, expected in (
        (elementary.exp, x, np.exp(wide)),
        (elementary.expm1, 1e-4 * x, np.expm1((1e-4 * x).astype(np.longdouble))),
        (elementary.log, abs(x), np.log(abs(wide))),
        (elementary.log1p, 1e-6 * abs(x), np.log1p((1e-6 * abs(x)).astype(np.longdouble))),
    ):
        assert_allclose([function(v) for v in arguments], expected.astype(float), rtol=5e-16)
    assert elementary.exp(-1e5) < 1e-300


@pytest.mark.parametrize("name", ALL)
def test_gradient_under_torch(name):
    torch = pytest.importorskip("torch")
    functions = Elementary(torch.exp, torch.expm1, torch.log, torch.log1p, torch.where)
    builder, parameters, inverse, count = ALL[name]
    h = torch.tensor([-3000.0, -40.0, -17.0, 0.0, 2.0], dtype=torch.float64, requires_grad=True)
    values = [torch.tensor(p, dtype=torch.float64, requires_grad=True) for p in parameters]
    theta, capacity, k, slope = builder(functions)(h, *values)
    assert_allclose(theta.detach(), builder(NUMPY)(h.detach().numpy(), *parameters)[0], rtol=1e-14)
    for value, rate in ((theta, capacity), (k, slope)):
        (found,) = torch.autograd.grad(value.sum(), h, retain_graph=True)
        assert_allclose(found, rate.detach(), rtol=1e-12, atol=1e-300)
    (theta.sum() + torch.log(k).sum()).backward()
    assert all(bool(torch.isfinite(value.grad)) for value in values if value.grad is not None)
    water = torch.tensor([0.2], dtype=torch.float64, requires_grad=True)
    head = inverse(functions)(water, *values[:count])
    (by_theta,) = torch.autograd.grad(head.sum(), water)
    back = builder(NUMPY)(head.detach().numpy(), *parameters)
    assert_allclose(back[0], 0.2, rtol=1e-12)
    assert_allclose(by_theta, 1 / back[1], rtol=1e-9)


def test_retention_alone_and_its_shape_under_torch():
    torch = pytest.importorskip("torch")
    functions = Elementary(torch.exp, torch.expm1, torch.log, torch.log1p, torch.where)
    h = torch.tensor(-np.logspace(-2, 6, 40))
    logs = [torch.tensor(np.log(p), requires_grad=True) for p in FIG_2[1:4]]
    shape = [torch.exp(p) for p in logs]
    theta, *by = fredlund_xing_wang_sensitivity(functions)(-h, FIG_2[0], *shape)
    assert_allclose(theta.detach(), fxw()(h.numpy(), *FIG_2)[0], rtol=1e-14)
    alone = fredlund_xing_wang_retention(functions)(h, torch.tensor(FIG_2[0], dtype=torch.float64), *shape)
    assert_allclose(alone[0].detach(), theta.detach(), rtol=1e-15)
    assert_allclose(alone[1].detach(), fxw()(h.numpy(), *FIG_2)[1], rtol=1e-13)
    for parameter, rates in zip(logs, by, strict=True):
        found = [torch.autograd.grad(value, parameter, retain_graph=True)[0].item() for value in theta]
        assert_allclose(found, rates.detach(), rtol=1e-10, atol=1e-13)
