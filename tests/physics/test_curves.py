"""The table of hydraulic curves: what it holds, and that it is the curves of the kernels."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from xsoil.kernels.richards_curves import CURVES as OF_COLUMNS
from xsoil.physics.curves import CURVES, possible
from xsoil.physics.elementary import NUMPY
from xsoil.physics.fredlund_xing_wang import fredlund_xing_wang, fredlund_xing_wang_anchors
from xsoil.physics.power_laws import brooks_corey, gardner, haverkamp
from xsoil.physics.van_genuchten import van_genuchten
from xsoil.verbs._soil_curves import EXAMPLES
from xsoil.vocabulary import VARIABLES


def all_at_once(name, h, p):
    """theta and K of the builders that give everything."""
    if name == "van_genuchten":
        shape = (p["alpha"], p["n"], 1 - 1 / p["n"], p["k_sat"], p["l"])
        return van_genuchten(NUMPY)(h, p["theta_r"], p["theta_s"], *shape)[::2]
    if name == "fredlund_xing_wang":
        values = [p[key] for key in ("theta_s", "alpha", "n", "m", "k_sat")]
        return fredlund_xing_wang(NUMPY)(h, *values, *fredlund_xing_wang_anchors(NUMPY)(*values))[::2]
    if name == "campbell":
        return brooks_corey(NUMPY)(h, 0.0, p["theta_s"], p["psi_s"], 1 / p["b"], p["k_sat"])[::2]
    builder = {"brooks_corey": brooks_corey, "gardner": gardner, "haverkamp": haverkamp}[name]
    return builder(NUMPY)(h, *(p[key] for key in OF_COLUMNS[name]))[::2]


@pytest.mark.parametrize("name", CURVES)
def test_the_curves_of_the_columns(name):
    row = CURVES[name]
    assert {*row.retention, *row.conductivity} == {*OF_COLUMNS[name]}
    assert {*row.retention, *row.conductivity} <= {*VARIABLES}
    p = dict(EXAMPLES[name][1]) | {"l": 0.5}
    h = np.concatenate([[3.0, 0.0], -np.logspace(-1, 5, 60)])
    theta, k = all_at_once(name, h, p)
    assert_allclose(row.theta(h, *(p[key] for key in row.retention)), theta, rtol=1e-12)
    assert_allclose(row.k(h, *(p[key] for key in row.conductivity)), k, rtol=1e-12)


def test_van_genuchten_with_an_m_of_its_own():
    row = CURVES["van_genuchten"]
    assert row.theta(-100.0, 0.05, 0.45, 0.02, 1.5) == row.theta(-100.0, 0.05, 0.45, 0.02, 1.5, 1 - 1 / 1.5)
    assert row.theta(-100.0, 0.05, 0.45, 0.02, 0.9, 1.0) == pytest.approx(0.05 + 0.4 / (1 + 2**0.9), rel=1e-12)


@pytest.mark.parametrize(
    ("curve", "name", "value"),
    [
        ("van_genuchten", "theta_r", -0.01), ("van_genuchten", "theta_r", 0.43), ("van_genuchten", "theta_s", 1.01),
        ("van_genuchten", "n", 1.0), ("van_genuchten", "alpha", 0.0), ("van_genuchten", "k_sat", np.inf),
        ("fredlund_xing_wang", "n", 1.0), ("fredlund_xing_wang", "m", 0.0), ("brooks_corey", "psi_s", 0.0),
        ("brooks_corey", "lambda", -1.0), ("campbell", "b", 0.0), ("gardner", "k_sat", 0.0), ("haverkamp", "a", 0.0),
        ("haverkamp", "gamma", -1.0),
    ],
)  # fmt: skip
def test_impossible_parameters(curve, name, value):
    p = {key: np.array([v, v]) for key, v in EXAMPLES[curve][1].items()}
    assert possible(p, curve).all()
    p[name] = np.array([p[name][0], value])
    assert possible(p, curve).tolist() == [True, False]


def test_an_m_of_its_own_lets_n_fall_below_one():
    p = {"theta_s": np.array([0.4]), "alpha": np.array([0.02]), "n": np.array([0.8]), "m": np.array([1.0])}
    assert not possible(p, "fredlund_xing_wang")
    assert possible(p | {"theta_r": np.array([0.05])}, "van_genuchten")
