"""Derivatives of traced formulas: against differences of the same formulas in 60 digits."""

from __future__ import annotations

import numpy as np
import pytest

from xsoil.kernels.derivatives import SYMBOLIC, derivatives_of
from xsoil.physics.elementary import Elementary
from xsoil.physics.fredlund_xing_wang import fredlund_xing_wang, fredlund_xing_wang_anchors
from xsoil.physics.power_laws import brooks_corey, gardner, haverkamp
from xsoil.physics.root_uptake import feddes, feddes_onset, partition, root_fraction, s_shaped
from xsoil.physics.van_genuchten import van_genuchten

mpmath = pytest.importorskip("mpmath", reason="the oracle; torch brings it along")
mpmath.mp.dps = 60


def chosen(condition, yes, no):
    return yes if condition else no


EXACT = Elementary(mpmath.exp, mpmath.expm1, mpmath.log, mpmath.log1p, chosen)


def anchored(functions):
    """The curves with their anchors made on the way."""
    anchors, curves = fredlund_xing_wang_anchors(functions), fredlund_xing_wang(functions)
    return lambda h, *parameters: curves(h, *parameters, *anchors(*parameters))


def mualem(functions):
    """van Genuchten's curves with m = 1 - 1/n."""
    curves = van_genuchten(functions)
    return lambda h, theta_r, theta_s, alpha, n, k_sat, l: curves(h, theta_r, theta_s, alpha, n, 1 - 1 / n, k_sat, l)  # noqa: E741


HEADS = (-0.3, -5.0, -15.9, -16.1, -300.0, -2e4, -1e5, -3e6)
CURVES = {
    "van_genuchten": (mualem, [(0.078, 0.43, 0.036, 1.56, 25.0, 0.5), (0.02, 0.4, 0.15, 6.1, 900.0, -1.9)]),
    "fredlund_xing_wang": (anchored, [(0.4, 0.006, 1.1, 0.66, 100.0), (0.5, 0.15, 9.0, 1.5, 3.0)]),
    "brooks_corey": (brooks_corey, [(0.05, 0.4, -4.0, 0.4, 30.0)]),
    "gardner": (gardner, [(0.06, 0.4, 1e-4, 24.0)]),
    "haverkamp": (haverkamp, [(0.075, 0.287, 1.6e6, 3.96, 816.0, 1.2e6, 4.74)]),
}


def difference(formula, inputs, k, place):
    step = mpmath.mpf(10) ** -25
    sides = []
    for sign in (1, -1):
        values = [mpmath.mpf(x) for x in inputs]
        values[k] *= 1 + sign * step
        found = formula(*values)
        sides.append(found[place] if isinstance(found, tuple) else found)
    return float((sides[0] - sides[1]) / (2 * step * mpmath.mpf(inputs[k])))


@pytest.mark.parametrize("name", CURVES)
def test_curves_by_their_parameters(name):
    builder, soils = CURVES[name]
    exact = builder(EXACT)
    count = len(soils[0])
    pull = derivatives_of(builder(SYMBOLIC), count + 1, range(1, count + 1), (0, 2)).py_func
    for soil in soils:
        for h in HEADS:
            for weights, place in (((1.0, 0.0), 0), ((0.0, 1.0), 2)):
                found = np.array(pull(h, *soil, *weights))
                expected = np.array([difference(exact, (h, *soil), k, place) for k in range(1, count + 1)])
                # By the logarithms of the parameters: all of one unit.
                largest = np.abs(expected * soil).max()
                np.testing.assert_allclose(found * soil, expected * soil, rtol=1e-9, atol=1e-10 * largest)


@pytest.mark.parametrize(
    ("builder", "inputs", "outputs"),
    [
        (lambda f: s_shaped(f.where), [(-50.0, -800.0), (-9e3, -800.0), (-0.0, -800.0)], 1),
        (lambda f: feddes(f.where), [(h, -5.0, -20.0, -300.0, -8e3) for h in (-3.0, -9.0, -99.0, -999.0, -9e3)], 1),
        (lambda f: feddes_onset(f.where), [(t, -300.0, -600.0) for t in (0.05, 0.3, 0.7)], 1),
        (lambda f: partition(f.exp), [(0.4, 2.5), (0.4, 0.1)], 2),
        (lambda f: root_fraction(f.where), [(2.0, 40.0), (20.0, 40.0), (60.0, 40.0)], 1),
    ],
    ids=["s_shaped", "feddes", "feddes_onset", "partition", "root_fraction"],
)
def test_uptake_by_all_it_takes(builder, inputs, outputs):
    exact, count = builder(EXACT), len(inputs[0])
    for place in range(outputs):
        pull = derivatives_of(builder(SYMBOLIC), count, range(count), (place,), (place,)).py_func
        for given in inputs:
            value, *found = pull(*given, 2.0)
            told = exact(*map(mpmath.mpf, given))
            assert value == pytest.approx(float(told[place] if isinstance(told, tuple) else told), rel=1e-14)
            expected = [2 * difference(exact, given, k, place) if given[k] else 0.0 for k in range(count)]
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-15)


def test_zero_where_nothing_depends():
    pull = derivatives_of(lambda a, b, c: (a * 0.0 + b, 7.0), 3, (0, 1, 2), (0, 1)).py_func
    assert pull(3.0, 4.0, 5.0, 2.0, 1.0) == (0.0, 2.0, 0.0)
