"""Costs of simulated series beside the metrics of `evaluation`, and the best line within bounds beside scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import lsq_linear

from xsoil.evaluation.metrics import METRICS, series_metrics
from xsoil.kernels.costs import OBJECTIVES, costs
from xsoil.threads import read_only

CELLS, RUNS, TIMES = 5, 150, 40


@pytest.fixture(scope="module")
def series():
    rng = np.random.default_rng(0)
    observed = rng.normal(0.3, 0.1, (TIMES, CELLS))
    observed[rng.random(observed.shape) < 0.3] = np.nan
    cells = rng.integers(0, CELLS, RUNS)
    simulated = np.nan_to_num(observed[:, cells], nan=0.4) * rng.uniform(0.5, 1.5, RUNS) + rng.normal(0, 0.05, RUNS)
    return simulated + rng.normal(0, 0.05, simulated.shape), cells, observed


def run(objective, simulated, cells, observed, box=None, bands=1):
    out, line = np.empty(cells.size), np.zeros((2, cells.size))
    bounds = np.zeros((4, observed.shape[1])) if box is None else box
    edges = np.linspace(0, cells.size, bands + 1).astype(int)
    for first, last in zip(edges[:-1], edges[1:], strict=True):
        costs(
            first,
            last,
            OBJECTIVES.index(objective),
            read_only(simulated),
            cells,
            read_only(observed),
            box is not None,
            bounds,
            out,
            line,
        )
    return out, line


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_costs_are_those_of_the_metrics(series, objective):
    simulated, cells, observed = series
    found = dict(zip((*METRICS, "n"), series_metrics(simulated.T.copy(), observed[:, cells].T.copy()), strict=False))
    expected = {
        "mse": found["rmse"] ** 2, "nse": 1 - found["nse"], "kge": 1 - found["kge"], "ubrmse": found["ubrmse"],
    }  # fmt: skip
    cost, _ = run(objective, *series)
    assert_allclose(cost, expected[objective], rtol=1e-9)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_cost_does_not_depend_on_its_neighbours(series, objective):
    simulated, cells, observed = series
    whole, _ = run(objective, *series)
    assert np.array_equal(run(objective, *series, bands=7)[0], whole)
    order = np.random.default_rng(1).permutation(RUNS)
    assert np.array_equal(run(objective, simulated[:, order].copy(), cells[order], observed)[0], whole[order])


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_runs_that_failed_cost_infinitely_much(series, objective):
    simulated, cells, observed = series
    simulated = simulated.copy()
    seen = np.flatnonzero(np.isfinite(observed[:, cells[3]]))
    simulated[seen[5], 3], simulated[seen[2], 8] = np.nan, np.inf
    missing = np.flatnonzero(np.isnan(observed[:, cells[4]]))
    simulated[missing, 4] = np.nan  # not asked for
    cost, _ = run(objective, simulated, cells, observed)
    whole, _ = run(objective, *series)
    assert np.isinf(cost[3])
    assert cost[4] == whole[4]
    others = np.delete(np.arange(RUNS), [3, 8])
    assert np.array_equal(cost[others], whole[others])


def test_a_constant_simulation_has_no_correlation(series):
    simulated, cells, observed = series
    cost, _ = run("kge", np.full_like(simulated, 0.3), cells, observed)
    mean = np.nanmean(observed, axis=0)[cells]
    assert_allclose(cost, np.sqrt(2 + (0.3 / mean - 1) ** 2), rtol=1e-7)


@pytest.mark.parametrize("box", [(0.0, 3.0, -1.0, 1.0), (0.95, 1.05, -0.02, 0.02), (1.2, 1.3, 0.0, 0.01)])
def test_best_line_within_its_bounds(series, box):
    simulated, cells, observed = series
    cost, line = run("mse", *series, box=np.repeat(np.array(box)[:, None], CELLS, axis=1))
    for i in range(RUNS):
        good = np.isfinite(observed[:, cells[i]])
        design = np.stack([simulated[good, i], np.ones(good.sum())], axis=1)
        best = lsq_linear(design, observed[good, cells[i]], bounds=([box[0], box[2]], [box[1], box[3]]), tol=1e-13)
        assert_allclose(cost[i], 2 * best.cost / good.sum(), rtol=1e-6)
        assert_allclose(line[:, i], best.x, atol=1e-4)
