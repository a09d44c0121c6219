"""Roots: where they are, how they suffer."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose

from xsoil.physics.root_uptake import feddes, feddes_onset, partition, root_fraction, s_shaped


def test_root_fraction_is_the_integral_of_the_distribution():
    depth, root_depth = np.linspace(0, 60, 60_001), 40.0
    relative = depth / root_depth
    density = np.where(relative < 0.2, 1.66667, np.where(relative < 1, 2.0833 * (1 - relative), 0)) / root_depth
    total = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(depth))])
    assert_allclose(root_fraction(np.where)(depth, root_depth), total, atol=3e-5)
    assert root_fraction(np.where)(40.0, 40.0) == 1
    assert root_fraction(np.where)(55.0, 40.0) == 1


def test_s_shape():
    factor, slope = s_shaped(np.where)(np.array([5.0, 0.0, -800.0, -8000.0]), -800.0)
    assert_allclose(factor, [1, 1, 0.5, 1 / 1001])
    assert slope[0] == slope[1] == 0
    h = np.array([-100.0, -800.0, -5000.0])
    step = 1e-3
    numeric = (s_shaped(np.where)(h + step, -800.0)[0] - s_shaped(np.where)(h - step, -800.0)[0]) / (2 * step)
    assert_allclose(s_shaped(np.where)(h, -800.0)[1], numeric, rtol=1e-7)


def test_feddes_trapezium():
    heads = (-10.0, -25.0, -400.0, -8000.0)
    h = np.array([0.0, -10.0, -17.5, -25.0, -200.0, -400.0, -4200.0, -8000.0, -1e5])
    factor, slope = feddes(np.where)(h, *heads)
    assert_allclose(factor, [0, 0, 0.5, 1, 1, 1, 0.5, 0, 0], atol=1e-15)
    assert_allclose(slope, [0, 0, -1 / 15, 0, 0, 0, 1 / 7600, 0, 0], atol=1e-15)
    onset = feddes_onset(np.where)(np.array([0.05, 0.1, 0.3, 0.5, 0.9]), -200.0, -800.0)
    assert_allclose(onset, [-800, -800, -500, -200, -200])


def test_partition_by_leaves():
    transpiration, evaporation = partition(np.exp)(5.0, np.array([0.0, 2.0, 50.0]))
    assert_allclose(transpiration + evaporation, 5)
    assert_allclose(transpiration, 5 * (1 - np.exp(-0.39 * np.array([0.0, 2.0, 50.0]))))
