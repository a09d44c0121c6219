"""Shuffled complex evolution: optima of standard functions, faults, independence of cells."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from numpy.testing import assert_allclose

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.inverse.inverted import STATUS
from xsoil.inverse.objectives import Part
from xsoil.inverse.sce_ua import sce_ua
from xsoil.physics.bounded import Bounded

STEEPNESS = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
PLACES = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381],
    ]
)  # fmt: skip
DEPTHS = np.array([1.0, 1.2, 3.0, 3.2])


def rosenbrock(x):
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


def griewank(x):
    return 1 + (x**2).sum(axis=0) / 200 - np.cos(x[0]) * np.cos(x[1] / np.sqrt(2))


def hartman(x):
    off = (STEEPNESS[:, :, None] * (x[None] - PLACES[:, :, None]) ** 2).sum(axis=1)
    return -(DEPTHS[:, None] * np.exp(-off)).sum(axis=0)


# name: function, bounds, least value, complexes, expected share of successes
FUNCTIONS = {
    "rosenbrock": (rosenbrock, [Bounded(-5, 5), Bounded(-2, 8)], 0.0, 2, 0.97),
    "griewank": (griewank, [Bounded(-600, 550)] * 2, 0.0, 4, 0.8),
    "hartman": (hartman, [Bounded(0, 1)] * 6, -3.32237, 4, 0.9),
}


def reached(cost, least):
    return np.mean(cost - least < 1e-3 * max(1, abs(least)))


def first_row(simulated, observed):
    return simulated[0]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_standard_functions(name):
    """Rates of success of 60 cells, that is of 60 seeds, after a few thousand evaluations."""
    function, bounds, least, complexes, expected = FUNCTIONS[name]
    found = sce_ua(
        lambda x, cells: function(x)[None], np.zeros((1, 60)), bounds, objective=first_row, complexes=complexes,
        evaluations=8000, change=1e-9, extent=1e-5,
    )  # fmt: skip
    assert reached(found.cost, least) >= expected
    assert (found.status == STATUS["converged"]).all()
    assert np.median(found.evaluations) < 3000
    assert_allclose(function(found.parameters), found.cost, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_standard_functions_beside_spotpy(name):
    spotpy = pytest.importorskip("spotpy")
    function, bounds, least, complexes, _ = FUNCTIONS[name]
    options = {"change": 1e-9, "extent": 1e-5, "complexes": complexes}

    class Setup:
        def __init__(self):
            self.listed = [spotpy.parameter.Uniform(f"x{i}", b.low, b.high) for i, b in enumerate(bounds)]

        def parameters(self):
            return spotpy.parameter.generate(self.listed)

        def simulation(self, vector):
            return [function(np.array(list(vector))[:, None])[0]]

        def evaluation(self):
            return [0.0]

        def objectivefunction(self, simulation, evaluation):
            return simulation[0]

    costs, runs = [], []
    for seed in range(6):
        sampler = spotpy.algorithms.sceua(Setup(), dbname="", dbformat="ram", random_state=seed + 1, save_sim=False)
        with contextlib.redirect_stdout(io.StringIO()):
            sampler.sample(8000, ngs=complexes, kstop=10, pcento=1e-7, peps=1e-5)
        costs.append(sampler.status.objectivefunction_min)
        runs.append(sampler.status.rep)
    found = sce_ua(
        lambda x, cells: function(x)[None], np.zeros((1, 60)), bounds, objective=first_row, evaluations=8000, **options
    )
    assert reached(found.cost, least) >= reached(np.array(costs), least) - 0.1
    assert np.median(found.evaluations) <= 1.2 * np.median(runs)


BOUNDS = (Bounded(0.2, 2.0), Bounded(0.01, 10.0, log=True))


def curve(x, cells):
    """Sums and products only, so that a column is the same whatever stands beside it."""
    t = np.linspace(0, 1, 12)[:, None]
    return x[0] * t + 0.5 * x[1] * (1 - t) * (0.2 + x[0] * t)


@pytest.fixture(scope="module")
def observed():
    rng = np.random.default_rng(0)
    truth = np.stack([rng.uniform(0.4, 1.8, 25), 10 ** rng.uniform(-1, 0.8, 25)])
    return curve(truth, None) + rng.normal(0, 0.003, (12, 25)), truth


def same(one, two, of_one=slice(None), of_two=slice(None)):
    """Bit for bit, everything that a cell is given."""
    for name in ("parameters", "cost", "iterations", "evaluations", "failed", "status"):
        a, b = getattr(one, name)[..., of_one], getattr(two, name)[..., of_two]
        if not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
            return False
    return True


@pytest.mark.parametrize("objective", ["mse", "nse", "kge"])
def test_twin(observed, objective):
    seen, truth = observed
    found = sce_ua(curve, seen, BOUNDS, objective=objective)
    assert_allclose(found.parameters[0], truth[0], atol=0.05)
    assert np.abs(np.log(found.parameters[1] / truth[1])).max() < 0.15
    assert (found.status == STATUS["converged"]).all()
    assert found.spread is None
    assert found.draws is None


def test_cells_do_not_depend_on_their_company(observed):
    seen, _ = observed
    whole = sce_ua(curve, seen, BOUNDS)
    assert same(whole, sce_ua(curve, seen, BOUNDS, batch=1, workers=1))
    assert same(whole, sce_ua(curve, seen, BOUNDS, batch=6, workers=2))
    chosen = np.array([20, 3, 11])
    assert same(sce_ua(curve, seen[:, chosen], BOUNDS, keys=chosen), whole, of_two=chosen)


def test_seeds(observed):
    seen, _ = observed
    one, again, other = (sce_ua(curve, seen, BOUNDS, seed=seed) for seed in (5, 5, 6))
    assert same(one, again)
    assert not np.isin(other.parameters, one.parameters).any()


def test_budget_and_bounds(observed):
    seen, _ = observed
    asked, calls = [], []

    def model(x, cells):
        asked.append((x, cells))
        return curve(x, cells)

    found = sce_ua(
        model, seen, BOUNDS, evaluations=101, change=-1.0, extent=0.0, batch=20,
        progress=lambda done, cells: calls.append((done, cells)),
    )  # fmt: skip
    assert (found.evaluations == 101).all()
    assert (found.status == STATUS["budget_spent"]).all()
    x, cells = (np.concatenate(parts, axis=-1) for parts in zip(*asked, strict=True))
    assert (np.bincount(cells) == 101).all()
    for row, bound in zip(x, BOUNDS, strict=True):
        assert bound.low <= row.min() < row.max() <= bound.high
    assert calls[-1] == (25, 25)
    # The best of all that was run is what is returned.
    cost = ((curve(x, cells) - seen[:, cells]) ** 2).mean(axis=0)
    assert_allclose(found.cost, [cost[cells == cell].min() for cell in range(25)], rtol=1e-10)


def test_optimum_at_a_bound():
    found = sce_ua(lambda x, cells: x, np.array([[3.0] * 4, [1e-3] * 4]), BOUNDS, change=1e-12, extent=1e-5)
    assert_allclose(found.parameters, np.repeat([[2.0], [0.01]], 4, axis=1), rtol=0.02)
    assert (found.parameters[0] <= 2.0).all()
    assert (found.parameters[1] >= 0.01).all()


def test_bounds_of_each_cell(observed):
    seen, truth = observed
    bounds = (Bounded(truth[0] + 0.1, truth[0] + 0.5), BOUNDS[1])
    found = sce_ua(curve, seen, bounds)
    assert (found.parameters[0] >= bounds[0].low).all()
    assert_allclose(found.parameters[0], bounds[0].low, atol=0.01)


def test_missing_observations(observed):
    seen = observed[0].copy()
    seen[3, 4], seen[1, 5], seen[:, 9] = np.nan, np.inf, np.nan

    def gaps(x, cells):
        simulated = curve(x, cells)
        simulated[3, cells == 4] = np.nan
        return simulated

    whole, found = sce_ua(curve, observed[0], BOUNDS), sce_ua(gaps, seen, BOUNDS)
    assert found.status[9] == STATUS["no_observations"]
    assert np.isnan(found.parameters[:, 9]).all()
    assert found.evaluations[9] == 0
    others = np.setdiff1d(np.arange(25), [4, 5, 9])
    assert same(found, whole, others, others)
    assert np.isfinite(found.parameters[:, [4, 5]]).all()
    assert (found.failed == 0).all()


def test_runs_that_fail(observed):
    seen, truth = observed

    def broken(x, cells):
        simulated = curve(x, cells)
        simulated[:, cells == 7] = np.nan
        return np.where(x[0] > 1.9, np.nan, simulated)

    found = sce_ua(broken, seen, BOUNDS)
    assert found.status[7] == STATUS["model_failed"]
    assert np.isnan(found.parameters[:, 7]).all()
    assert found.failed[7] == found.evaluations[7] > 0
    others = np.setdiff1d(np.arange(25), [7])
    assert (found.status[others] == STATUS["converged"]).all()
    assert (found.failed[others] > 0).any()
    assert_allclose(found.parameters[0, others], truth[0, others], atol=0.05)


def test_constant_observations(observed):
    seen = observed[0].copy()
    seen[:, 2] = 0.3
    seen[1:, 3] = np.nan
    nse = sce_ua(curve, seen, BOUNDS, objective="nse")
    assert np.flatnonzero(nse.status == STATUS["objective_undefined"]).tolist() == [2, 3]
    assert np.isnan(nse.parameters[:, 2:4]).all()
    assert np.isfinite(sce_ua(curve, seen, BOUNDS).parameters).all()


def test_linear_parameters_need_no_search(observed):
    _, truth = observed
    scale, bias = np.linspace(0.8, 1.2, 25), np.linspace(-0.1, 0.1, 25)
    lines = (Bounded(0.5, 1.5), Bounded(-0.2, 0.2))
    shape = [Bounded(0.01, 10.0, log=True)]

    def bend(x, cells):
        return curve(np.stack([np.ones(cells.size), x[0]]), cells)

    clear = scale * bend(truth[1:], np.arange(25)) + bias
    found = sce_ua(bend, clear, shape, linear=lines, extent=1e-6, change=1e-9)
    assert found.parameters.shape == (3, 25)
    assert_allclose(found.parameters, np.stack([truth[1], scale, bias]), rtol=1e-3, atol=1e-4)
    searched = sce_ua(
        lambda x, cells: x[1] * bend(x[:1], cells) + x[2], clear, [*shape, *lines], extent=1e-6, change=1e-9
    )
    assert_allclose(searched.parameters, found.parameters, rtol=0.01, atol=0.01)
    assert np.median(searched.evaluations) > 3 * np.median(found.evaluations)
    narrow = sce_ua(bend, clear, shape, linear=(Bounded(0.9, 1.1), lines[1]))
    assert 0.9 <= narrow.parameters[1].min() <= narrow.parameters[1].max() <= 1.1


def test_callable_objective(observed):
    seen, _ = observed
    named = sce_ua(curve, seen, BOUNDS)
    own = sce_ua(curve, seen, BOUNDS, objective=lambda s, o: ((s - o) ** 2).mean(axis=0))
    assert_allclose(own.parameters, named.parameters, rtol=0.02)
    with pytest.raises(ArgumentError, match="the objective returned shape"):
        sce_ua(curve, seen, BOUNDS, objective=lambda s, o: (s - o) ** 2)


def test_parts_of_the_observations(observed):
    """Two series with objectives and weights of their own, of which some are missing or do not define them."""
    first = observed[0]
    n = len(first)
    seen = np.concatenate([first, 100 * first])
    seen[n:, 3] = np.nan
    seen[:n, 4] = 0.2  # constant: no NSE
    seen[n:, 5] = 100 * first[:, 6]  # pulls another way
    seen[:n, 7], seen[n:, 7] = 0.2, np.nan

    def both(x, cells):
        return np.concatenate([curve(x, cells), 100 * curve(x, cells)])

    parts = [Part(slice(n), "nse", 3.0), Part(slice(n, None), "mse", 1e-4)]
    found = sce_ua(both, seen, BOUNDS, objective=parts)
    assert found.status[7] == STATUS["objective_undefined"]
    simulated = both(found.parameters, np.arange(25))
    nse = ((simulated[:n] - seen[:n]) ** 2).mean(axis=0) / seen[:n].var(axis=0)
    mse = ((simulated[n:] - seen[n:]) ** 2).mean(axis=0)
    expected = (3 * nse + 1e-4 * mse) / 3.0001
    expected[3], expected[4] = nse[3], mse[4]
    usual = np.setdiff1d(np.arange(25), [7])
    assert_allclose(found.cost[usual], expected[usual], rtol=1e-9, atol=1e-15)
    alone = sce_ua(curve, first, BOUNDS, objective="nse")
    assert np.array_equal(found.parameters[:, 3], alone.parameters[:, 3])
    one = sce_ua(both, seen, BOUNDS, objective=parts[:1])
    assert np.array_equal(one.parameters[:, 3], alone.parameters[:, 3])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"objective": "nsee"}, UnknownNameError, "did you mean 'nse'"),
        ({"evaluations": 9}, ArgumentError, r"evaluations=9; .* of 2 parameters .*: expected at least 10"),
        ({"objective": [Part(slice(3), "nsee")]}, UnknownNameError, "did you mean 'nse'"),
        ({"objective": [Part(slice(3), weight=-1.0)]}, ArgumentError, "weight -1.0 of an objective"),
        ({"complexes": 0}, ArgumentError, "complexes=0"),
        ({"linear": (Bounded(0.5, 1.5), Bounded(-1, 1)), "objective": "kge"}, ArgumentError, "least squares"),
        ({"linear": (Bounded(0.5, 1.5, log=True), Bounded(-1, 1))}, ArgumentError, "log=False"),
    ],
)
def test_errors(observed, change, error, message):
    with pytest.raises(error, match=message):
        sce_ua(curve, observed[0], BOUNDS, **change)
