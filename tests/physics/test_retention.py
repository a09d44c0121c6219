"""Retention curves: published values, limits, one formula under several runtimes."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsoil.jit import kernel
from xsoil.physics.retention import brooks_corey_theta, campbell_theta, van_genuchten_theta

heads = st.floats(-1e6, 100)


def test_reference_curves(reference):
    with open(reference / "physics" / "hydraulic_curves.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == "VGM"]
    assert len(rows) == 38
    for row in rows:
        p = dict(re.findall(r"(\w+)=(\S+)", row["params"]))
        theta_r, theta_s, alpha, n = (float(p[name]) for name in ("thr", "ths", "a", "n"))
        theta = van_genuchten_theta(float(row["h_cm"]), theta_r, theta_s, alpha, n, 1 - 1 / n)
        assert theta == pytest.approx(float(row["theta"]), rel=1e-9)


@given(heads, st.floats(0.001, 0.2), st.floats(1.05, 8))
def test_van_genuchten_stays_between_residual_and_saturation(h, alpha, n):
    theta = van_genuchten_theta(h, 0.05, 0.45, alpha, n, 1 - 1 / n)
    assert 0.05 <= theta <= 0.45
    assert van_genuchten_theta(h - 1, 0.05, 0.45, alpha, n, 1 - 1 / n) <= theta
    if h >= 0:
        assert theta == 0.45


@given(heads, st.floats(-500, -1), st.floats(1, 15))
def test_power_laws(h, psi_s, b):
    theta = campbell_theta(h, 0.45, psi_s, b)
    expected = 0.45 if h >= psi_s else 0.45 * (h / psi_s) ** (-1 / b)
    assert theta == pytest.approx(expected, rel=1e-12)
    # Campbell is Brooks-Corey without a residual, with lambda = 1/b
    assert brooks_corey_theta(h, 0.0, 0.45, psi_s, 1 / b) == pytest.approx(theta, rel=1e-12)
    assert brooks_corey_theta(h, 0.1, 0.45, psi_s, 1 / b) == pytest.approx(0.1 + 0.35 * theta / 0.45, rel=1e-12)


def test_compiled_and_numpy_agree():
    h, parameters = -np.logspace(-2, 6, 50), (0.078, 0.43, 0.036, 1.56, 1 - 1 / 1.56)
    compiled = kernel(van_genuchten_theta)
    expected = van_genuchten_theta(h, *parameters)
    np.testing.assert_allclose([compiled(x, *parameters) for x in h], expected, rtol=1e-14)


def test_gradient_under_torch():
    torch = pytest.importorskip("torch")
    h = torch.tensor([-1000.0, -10.0], dtype=torch.float64, requires_grad=True)
    van_genuchten_theta(h, 0.078, 0.43, 0.036, 1.56, 1 - 1 / 1.56).sum().backward()
    step = 1e-4
    ends = [van_genuchten_theta(h.detach() + s, 0.078, 0.43, 0.036, 1.56, 1 - 1 / 1.56) for s in (step, -step)]
    np.testing.assert_allclose(h.grad, (ends[0] - ends[1]) / (2 * step), rtol=1e-6)
