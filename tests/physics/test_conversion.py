"""Parameters of Brooks-Corey and van Genuchten from one another."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from xsoil.physics.conversion import (
    brooks_corey_of_campbell,
    brooks_corey_of_van_genuchten,
    brooks_corey_of_van_genuchten_lenhard,
    brooks_corey_of_van_genuchten_morel_seytoux,
    gardner_of_brooks_corey,
    van_genuchten_of_brooks_corey,
    van_genuchten_of_brooks_corey_morel_seytoux,
)
from xsoil.physics.elementary import NUMPY
from xsoil.physics.power_laws import brooks_corey
from xsoil.physics.retention import brooks_corey_theta, campbell_theta, van_genuchten_theta
from xsoil.physics.van_genuchten import van_genuchten


def test_same_dry_end():
    alpha, n = 0.036, 1.56
    psi_s, lambda_ = brooks_corey_of_van_genuchten(alpha, n)
    expected = van_genuchten_theta(-1e6, 0.05, 0.45, alpha, n, 1 - 1 / n)
    assert brooks_corey_theta(-1e6, 0.05, 0.45, psi_s, lambda_) == pytest.approx(expected, rel=1e-5)
    assert_allclose(van_genuchten_of_brooks_corey(psi_s, lambda_), (alpha, n), rtol=1e-14)


def test_lenhard_meets_the_curve_where_it_is_matched():
    for alpha, n in ((0.036, 1.56), (0.1, 3.0)):
        m = 1 - 1 / n
        psi_s, lambda_ = brooks_corey_of_van_genuchten_lenhard(alpha, n, np.exp)
        saturation = 0.72 - 0.35 * np.exp(-(n**4))
        h = psi_s * saturation ** (-1 / lambda_)
        assert van_genuchten_theta(h, 0.0, 1.0, alpha, n, m) == pytest.approx(saturation, rel=1e-12)
        assert psi_s < 0


def test_morel_seytoux_keeps_the_capillary_drive():
    """The integral of K / k_sat over all suctions, within 1 %."""
    h = -np.concatenate([np.linspace(0, 1, 4001)[1:], np.logspace(0, 5, 40_001)[1:]])
    for psi_s, lambda_ in ((-20.0, 0.4), (-10.0, 1.2), (-35.0, 0.2)):
        alpha, n = van_genuchten_of_brooks_corey_morel_seytoux(psi_s, lambda_)
        drives = [
            -np.trapezoid(k, h)
            for k in (
                brooks_corey(NUMPY)(h, 0.0, 0.4, psi_s, lambda_, 1.0)[2],
                van_genuchten(NUMPY)(h, 0.0, 0.4, alpha, n, 1 - 1 / n, 1.0, 0.5)[2],
            )
        ]
        assert drives[1] == pytest.approx(drives[0], rel=0.03)


def test_morel_seytoux_and_back():
    alpha, n = np.array([0.003, 0.036, 0.15]), np.array([1.08, 1.56, 3.0])
    there = brooks_corey_of_van_genuchten_morel_seytoux(alpha, n)
    assert_allclose(van_genuchten_of_brooks_corey_morel_seytoux(*there), (alpha, n), rtol=1e-13)


def test_gardner_keeps_the_capillary_drive():
    """Whose integral is that of exp(alpha h): 1 / alpha."""
    h = -np.logspace(-3, 8, 200_001)
    for psi_s, lambda_ in ((-20.0, 0.4), (-10.0, 1.2), (-35.0, 0.1)):
        k = brooks_corey(NUMPY)(h, 0.0, 0.4, psi_s, lambda_, 1.0)[2]
        assert -np.trapezoid(k, h) * gardner_of_brooks_corey(psi_s, lambda_) == pytest.approx(1, rel=1e-3)


def test_campbell():
    h = -np.logspace(1, 4, 10)
    assert_allclose(
        campbell_theta(h, 0.45, -20.0, 5.0), brooks_corey_theta(h, 0.0, 0.45, -20.0, brooks_corey_of_campbell(5.0))
    )
