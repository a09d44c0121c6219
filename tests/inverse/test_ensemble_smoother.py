"""The ensemble smoother: closed forms, faults of observations and models, independence of cells."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from xsoil.errors import ArgumentError
from xsoil.inverse.ensemble_smoother import PRIOR_DEVIATION, ensemble_smoother
from xsoil.inverse.inverted import STATUS
from xsoil.kernels.smoother import linearise, propose
from xsoil.physics.bounded import Bounded

BOUNDS = (Bounded(0.0, 1.0), Bounded(1.0, 1000.0, log=True), Bounded(-2000.0, -50.0, log=True))
ERROR = 2.0


def logits(parameters):
    return np.stack([bound.to_unbounded(row) for bound, row in zip(BOUNDS, parameters, strict=True)])


@pytest.fixture(scope="module")
def linear():
    """A model that is linear in the logits, observations of 60 cells, and how to run it."""
    rng = np.random.default_rng(0)
    slopes, truth = rng.normal(size=(40, 3)), rng.normal(size=(3, 60))
    return lambda x, cells: slopes @ logits(x), slopes @ truth + rng.normal(0, ERROR, (40, 60)), slopes


def quadratic(x, cells):
    """Sums and products only, so that a column is the same whatever stands beside it."""
    scaled = x[1] / 1000.0
    return np.stack([x[0], x[0] * scaled, x[2] / 2000 * scaled, scaled * scaled, x[0] - x[2] / 1000])


@pytest.fixture(scope="module")
def curved():
    rng = np.random.default_rng(1)
    truth = np.stack([bound.to_bounded(rng.normal(size=30)) for bound in BOUNDS])
    return quadratic(truth, None) + rng.normal(0, 0.01, (5, 30))


def same(one, two, of_one=slice(None), of_two=slice(None)):
    """Bit for bit, everything that a cell is given."""
    for name in ("parameters", "spread", "draws", "cost", "iterations", "evaluations", "failed", "status"):
        a, b = getattr(one, name)[..., of_one], getattr(two, name)[..., of_two]
        if not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
            return False
    return True


def test_linear_posterior(linear):
    model, observed, slopes = linear
    found = ensemble_smoother(model, observed, ERROR, BOUNDS, members=100)
    covariance = np.linalg.inv(np.eye(3) / PRIOR_DEVIATION**2 + slopes.T @ slopes / ERROR**2)
    mean = covariance @ slopes.T @ observed / ERROR**2
    deviation = np.sqrt(np.diag(covariance))[:, None]
    off = (logits(found.parameters) - mean) / deviation
    assert np.sqrt((off**2).mean()) < 0.06  # of the posterior's own deviation
    draws = logits(found.draws.reshape(3, -1)).reshape(found.draws.shape)
    sample = np.mean([np.cov(draws[:, :, cell]) for cell in range(60)], axis=0)
    assert_allclose(sample / (deviation * deviation.T), covariance / (deviation * deviation.T), atol=0.05)
    assert (found.status == STATUS["converged"]).all()
    assert_allclose(found.spread, found.draws.std(axis=1, ddof=1), rtol=1e-10)
    assert_allclose(found.evaluations, 100 * (found.iterations + 1))
    assert_allclose(found.cost, (((model(found.parameters, None) - observed) / ERROR) ** 2).mean(axis=0), rtol=1e-8)


@pytest.mark.parametrize("damping", [0.0, 0.1, 100.0])
def test_step_is_that_of_the_ensemble_form(damping):
    """PHYSICS of the smoother: after projection both forms are one matrix identity."""
    rng = np.random.default_rng(2)
    n, members, times = 3, 24, 17
    z, start = rng.normal(size=(n, members)), rng.normal(size=(n, members))
    scaled = rng.normal(size=(times, members)) + np.exp(0.3 * rng.normal(size=(times, n)) @ z)  # not linear in z
    noise = rng.normal(size=(times, members)).astype(np.float32)
    deviation = np.array([0.5, 1.0, 2.0])
    inverse, gram, pull, trial = np.empty((n, n)), np.empty((n, n)), np.empty((n, members)), np.empty((n, members))
    linearise(scaled, times, noise, np.arange(times), np.ones(members, np.bool_), z, inverse, gram, pull)
    propose(z, start, deviation, inverse, gram, pull, damping, trial)

    of_z = (z - z.mean(axis=1, keepdims=True)) / np.sqrt(members - 1)
    of_d = (scaled - scaled.mean(axis=1, keepdims=True)) / np.sqrt(members - 1)
    of_d = of_d @ (np.linalg.pinv(of_z) @ of_z)
    u, w, vt = np.linalg.svd(of_d, full_matrices=False)
    data = of_z @ vt.T @ np.diag(w / (1 + damping + w**2)) @ u.T @ (scaled - noise)
    metric = np.linalg.inv((1 + damping) * np.eye(members) + of_d.T @ of_d)
    prior = of_z @ metric @ of_z.T @ ((z - start) / deviation[:, None] ** 2)
    assert_allclose(trial, z - data - prior, rtol=1e-8, atol=1e-8)


def test_cells_do_not_depend_on_their_company(curved):
    whole = ensemble_smoother(quadratic, curved, 0.01, BOUNDS, members=20)
    assert same(whole, ensemble_smoother(quadratic, curved, 0.01, BOUNDS, members=20, batch=1, workers=1))
    assert same(whole, ensemble_smoother(quadratic, curved, 0.01, BOUNDS, members=20, batch=7, workers=2))
    chosen = np.array([20, 3, 11])
    part = ensemble_smoother(quadratic, curved[:, chosen], 0.01, BOUNDS, members=20, keys=chosen)
    assert same(part, whole, of_two=chosen)


def test_seeds(curved):
    one, again, other = (
        ensemble_smoother(quadratic, curved, 0.01, BOUNDS, members=20, seed=seed) for seed in (5, 5, 6)
    )
    assert same(one, again)
    assert not np.isin(other.parameters, one.parameters).any()


def test_missing_observations(curved):
    """Times without an observation count for nothing, not even where the model fails there."""
    observed = curved.copy()
    observed[3, 4], observed[1, 5], observed[:, 9] = np.nan, np.inf, np.nan

    def gaps(x, cells):
        simulated = quadratic(x, cells)
        simulated[3, cells == 4] = np.nan
        return simulated

    whole = ensemble_smoother(quadratic, curved, 0.01, BOUNDS, members=20)
    found = ensemble_smoother(gaps, observed, 0.01, BOUNDS, members=20)
    assert found.status[9] == STATUS["no_observations"]
    assert np.isnan(found.parameters[:, 9]).all()
    assert np.isnan(found.draws[..., 9]).all()
    assert found.evaluations[9] == 0
    others = np.setdiff1d(np.arange(30), [4, 5, 9])
    assert same(found, whole, others, others)
    assert np.isfinite(found.parameters[:, [4, 5]]).all()
    assert not np.array_equal(found.parameters[:, 4], whole.parameters[:, 4])
    assert (found.failed == 0).all()
    assert found.report()["no_observations"] == 1


def test_error_of_each_observation(curved):
    """An observation with a large error counts as much as none; without a valid error it is none."""
    one, row, full = (
        ensemble_smoother(quadratic, curved, error, BOUNDS, members=20)
        for error in (0.01, np.full((5, 1), 0.01), np.full((5, 30), 0.01))
    )
    assert same(one, row)
    assert same(one, full)
    error = np.full(curved.shape, 0.01)
    error[0] = 1e9
    large = ensemble_smoother(quadratic, curved, error, BOUNDS, members=20)
    error[0] = np.nan
    without = ensemble_smoother(quadratic, curved, error, BOUNDS, members=20)
    off = np.abs(large.parameters / without.parameters - 1)  # the first damping differs, hence the last steps
    assert np.median(off) < 1e-6
    assert np.quantile(off, 0.9) < 0.05
    error[:, 3] = 0.0
    assert ensemble_smoother(quadratic, curved, error, BOUNDS, members=20).status[3] == STATUS["no_observations"]


def test_cell_whose_model_always_fails(curved):
    def broken(x, cells):
        return np.where(cells == 7, np.nan, quadratic(x, cells))

    whole = ensemble_smoother(quadratic, curved, 0.01, BOUNDS, members=20)
    found = ensemble_smoother(broken, curved, 0.01, BOUNDS, members=20)
    others = np.setdiff1d(np.arange(30), [7])
    assert same(found, whole, others, others)
    assert found.status[7] == STATUS["model_failed"]
    assert np.isnan(found.parameters[:, 7]).all()
    assert found.failed[7] == found.evaluations[7] > 0


def test_runs_that_fail_are_drawn_again_or_left_out(curved):
    def partly(x, cells):
        return np.where(x[0] > 0.8, np.nan, quadratic(x, cells))

    found = ensemble_smoother(partly, curved, 0.01, BOUNDS, members=40)
    good = np.isin(found.status, [STATUS["converged"], STATUS["budget_spent"]])
    assert good.mean() > 0.8  # the truth of some cells lies where the model fails
    assert (found.failed > 0).all()
    kept = found.draws[0][:, good]
    assert np.nanmax(kept) <= 0.8
    assert np.isfinite(kept).mean() > 0.7
    assert np.isfinite(found.parameters[:, good]).all()


def test_bounds_are_never_left():
    asked = []

    def model(x, cells):
        asked.append(x)
        return x

    far = np.repeat([[5.0], [1e4], [-1e-3]], 4, axis=1)
    found = ensemble_smoother(model, far, [[0.01], [1.0], [1.0]], BOUNDS, members=20)
    for bound, row, tried in zip(BOUNDS, found.draws, np.concatenate(asked, axis=1), strict=True):
        assert bound.low <= np.nanmin(row) <= np.nanmax(row) <= bound.high
        assert bound.low <= tried.min() <= tried.max() <= bound.high
    assert_allclose(found.parameters[0], 1.0, atol=1e-2)
    assert_allclose(found.parameters[1], 1000.0, rtol=1e-2)


def test_bounds_of_each_cell():
    high = np.array([0.4, 0.6, 0.8])
    found = ensemble_smoother(lambda x, cells: x, np.full((1, 3), 0.9), 0.01, [Bounded(0.2, high)], members=20)
    assert (np.nanmax(found.draws[0], axis=0) <= high).all()
    assert_allclose(found.parameters[0], high, atol=0.02)


def test_constant_observations_and_a_model_that_cannot_move():
    """Nothing to learn: the posterior is the prior."""
    found = ensemble_smoother(
        lambda x, cells: np.full((6, cells.size), 0.3), np.full((6, 2), 0.3), 0.02, BOUNDS, members=30
    )
    assert np.isin(found.status, [STATUS["converged"], STATUS["stalled"]]).all()
    assert_allclose(logits(found.parameters), 0.0, atol=1e-6)
    assert_allclose(found.cost, 0.0, atol=1e-20)


def test_prior():
    centre = np.array([0.7, 30.0, -300.0])
    observed = np.full((5, 4), 0.1)
    for prior in ((centre, 0.2), (np.repeat(centre[:, None], 4, axis=1), np.full((3, 4), 0.2))):
        found = ensemble_smoother(quadratic, observed, 1e6, BOUNDS, members=50, prior=prior)
        assert_allclose(found.parameters.T, np.tile(centre, (4, 1)), rtol=1e-6)
        spread = logits(found.draws.reshape(3, -1)).reshape(found.draws.shape).std(axis=1, ddof=1)
        assert_allclose(spread, 0.2, rtol=1e-5)


def test_cells_without_a_prior_of_their_own_get_the_default(curved):
    centre = np.full((3, 30), np.nan)
    centre[:, 4] = 0.9, 900.0, -60.0
    default = ensemble_smoother(quadratic, curved, 0.01, BOUNDS, members=20)
    found = ensemble_smoother(quadratic, curved, 0.01, BOUNDS, members=20, prior=(centre, PRIOR_DEVIATION))
    others = np.setdiff1d(np.arange(30), [4])
    assert same(found, default, others, others)
    assert not np.array_equal(found.parameters[:, 4], default.parameters[:, 4])


def test_budget_and_progress(curved):
    calls = []
    found = ensemble_smoother(
        quadratic, curved, 0.01, BOUNDS, members=20, iterations=2, tolerance=-1.0, batch=10, draws=False,
        progress=lambda done, cells: calls.append((done, cells)),
    )  # fmt: skip
    assert (found.status == STATUS["budget_spent"]).all()
    assert (found.iterations == 2).all()
    assert (found.evaluations == 60).all()
    assert found.draws is None
    assert calls[-1] == (30, 30)
    assert len(calls) == 3


def test_no_cell_has_observations():
    found = ensemble_smoother(quadratic, np.full((5, 2), np.nan), 1.0, BOUNDS)
    assert (found.status == STATUS["no_observations"]).all()
    assert np.isnan(found.cost).all()
    assert np.isnan(found.report()["iterations"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"members": 4}, "at least 5"),
        ({"iterations": 0}, "at least 1"),
        ({"batch": 0}, "from 1 on"),
        ({"seed": -1}, "seed=-1; expected a whole number from 0"),
        ({"seed": 0.5}, "expected a whole number"),
        ({"bounds": ()}, "bounds is empty"),
        ({"bounds": (Bounded(0.0, np.array([1.0, 2.0])),)}, "one for each of 30 cells"),
        ({"observed": np.zeros(5)}, "expected \\(observations, cells\\)"),
        ({"error_std": np.zeros(7)}, "broadcasts to \\(5, 30\\)"),
        ({"keys": np.arange(4)}, "one whole number for each of 30"),
        ({"keys": np.zeros(30)}, "one whole number"),
        ({"prior": (np.zeros(3), 0.0)}, "deviation of the prior is not above 0"),
        ({"prior": (np.zeros(4), 1.0)}, "broadcasts to \\(3, 30\\)"),
        ({"model": lambda x, cells: x}, "the model returned shape"),
    ],
)
def test_errors(curved, change, message):
    arguments = {"model": quadratic, "observed": curved, "error_std": 0.01, "bounds": BOUNDS} | change
    given = [arguments.pop(name) for name in ("model", "observed", "error_std", "bounds")]
    with pytest.raises(ArgumentError, match=message):
        ensemble_smoother(*given, **arguments)
