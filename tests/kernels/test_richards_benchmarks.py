"""Richards columns against Celia (1990), Haverkamp (1977), Srivastava & Yeh (1991); convergence in space."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from numpy.testing import assert_allclose

from xsoil.kernels.richards import run
from xsoil.physics.richards import grid

FINE = {"change": 1e-3, "reject": 2e-3, "tolerance": 1e-9}
NEW_MEXICO = (0.102, 0.368, 0.0335, 2.0, 796.608, 0.5)


def infiltrate(curve, soil, widths, initial, top, bottom, periods, **options):
    """Heads held at both ends, nothing else; a period is the unit of time of the conductivity."""
    nothing = np.zeros(periods)
    return run(
        nothing, nothing, nothing, soil, curve=curve, widths=widths, uptake="none", initial=initial,
        top="head", top_value=top, bottom="head", bottom_value=bottom, **options,
    )  # fmt: skip


def read(folder, name):
    with open(folder / "physics" / f"richards_bench_{name}.csv") as file:
        rows = list(csv.DictReader(file))
    return {key: np.array([float(row[key]) for row in rows]) for key in rows[0]}


def test_celia_1990(reference):
    """A quarter of a day is the unit of time."""
    told = read(reference, "celia1990")
    soil = (*NEW_MEXICO[:4], NEW_MEXICO[4] / 4, 0.5)
    depths = told["depth_cm"]
    values, _, _ = infiltrate(
        "van_genuchten", soil, np.full(800, 0.125), -1000.0, -75.0, -1000.0, 4, depths=depths,
        outputs=("h", "inflow"), control=FINE,
    )  # fmt: skip
    cumulative = values["inflow"][:, 0].cumsum() / 10
    assert_allclose(cumulative[[0, 1, 3]], [1.7403, 2.6332, 4.1129], atol=5e-4)
    for period, column in ((0, "h_0.25d_oracle"), (1, "h_0.5d_oracle"), (3, "h_1d_oracle")):
        expected = told[column]
        found = values["h"][period, :, 0]
        smooth = (expected < -999) | (expected > -200)  # a front a hair off is hundreds of cm off
        assert_allclose(found[smooth], expected[smooth], rtol=0.02)
    at = [np.flatnonzero(depths == d)[0] for d in (20, 40, 50) if d in depths]
    assert_allclose(values["h"][3, at, 0], [-80.28, -100.46, -142.92][: len(at)], rtol=0.01)


def test_haverkamp_1977(reference):
    """120 s is the unit of time."""
    told = read(reference, "haverkamp1977")
    soil = (0.075, 0.287, 1.611e6, 3.96, 34.0 / 30, 1.175e6, 4.74)
    values, _, _ = infiltrate(
        "haverkamp", soil, np.full(320, 0.125), -61.5, -20.73, -61.5, 3, depths=told["depth_cm"],
        outputs=("theta", "inflow"), control=FINE,
    )  # fmt: skip
    assert_allclose(values["inflow"][:, 0].cumsum() / 10, [1.1895, 1.8220, 2.3747], atol=5e-4)
    for period, column in enumerate(("theta_120s", "theta_240s", "theta_360s")):
        error = values["theta"][period, :, 0] - told[column]
        assert np.abs(error).max() < 5e-4


@pytest.mark.parametrize("alpha", [0.1, 0.01])
def test_srivastava_and_yeh_1991(alpha):
    """Rain on 1 m above a water table rises from 0.1 to 0.9 cm/h; one hour is the unit of time."""
    soil, widths = (0.06, 0.40, alpha, 1.0), np.full(400, 0.25)
    nothing = np.zeros(100)
    arguments = {
        "curve": "gardner", "widths": widths, "uptake": "none", "top": "flux", "bottom": "head", "bottom_value": 0.0,
        "outputs": ("h",),
    }  # fmt: skip
    centres = 100.0 - (np.cumsum(widths) - widths / 2)
    start = np.log(0.1 - (0.1 - 1.0) * np.exp(-alpha * centres)) / alpha
    hours = (1, 5, 10, 20, 40, 100)
    values, _, _ = run(
        nothing, nothing, nothing, soil, top_value=0.9, initial=start[:, None], depths=100.0 - centres, control=FINE,
        **arguments,
    )  # fmt: skip
    z, length = alpha * centres, alpha * 100.0
    roots = np.array([_root(k, length) for k in range(1, 200)])
    for hour in hours:
        time = alpha * hour / 0.34
        terms = np.sin(np.outer(z, roots)) * np.sin(roots * length) * np.exp(-(roots**2) * time)
        series = (terms / (1 + length / 2 + 2 * roots**2 * length)).sum(axis=1)
        k = 0.9 - (0.9 - 1.0) * np.exp(-z) - 4 * (0.9 - 0.1) * np.exp((length - z) / 2 - time / 4) * series
        found = values["h"][hour - 1, :, 0]
        assert_allclose(np.exp(alpha * found), k, atol=4e-3, err_msg=str(hour))


def _root(k, length):
    """k-th root of tan(l L) + 2 l = 0, between (k - 1/2) pi / L and k pi / L."""
    low, high = (k - 0.5) * np.pi / length + 1e-12, k * np.pi / length
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if np.tan(middle * length) + 2 * middle < 0 else (low, middle)
    return (low + high) / 2


def test_second_order_in_space():
    """Grids halved twice, steps so small that time adds nothing that differs: errors fall fourfold."""
    soil, nothing = (0.06, 0.40, 0.05, 24.0), np.zeros(1)
    found = []
    for cells in (25, 50, 100, 200):
        widths = np.full(cells, 50.0 / cells)
        centres = np.cumsum(widths) - widths / 2
        values, _, _ = run(
            nothing, nothing, nothing, soil, curve="gardner", widths=widths, uptake="none", top="head",
            top_value=-5.0, bottom="head", bottom_value=-40.0, initial=-5.0 - 0.7 * centres[:, None],
            outputs=("storage",), control={"change": 1e-3, "reject": 2e-3, "largest_step": 1 / 256, "tolerance": 1e-12},
        )  # fmt: skip
        found.append(values["storage"][0, 0])
    differences = np.abs(np.diff(found))
    orders = np.log2(differences[:-1] / differences[1:])
    assert (orders > 1.8).all(), (found, orders)


def test_the_default_grid_reaches_the_bottom():
    assert grid(50.0).sum() == pytest.approx(50.0)
    assert len(grid(50.0)) == 29
    assert (np.diff(grid(200.0)) >= 0).all()
