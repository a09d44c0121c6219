"""Cells per second of the inverse methods beside spotpy and iterative_ensemble_smoother in loops over cells.

The peers run the same compiled water balance, a cell at a time, with one thread for their linear algebra: its matrices
are too small for more. The smoother's peer also runs it a member at a time, as models outside xsoil are run.
"""

from __future__ import annotations

import contextlib
import io
import time

import numpy as np
import pytest

from xsoil.inverse.ensemble_smoother import PRIOR_DEVIATION, ensemble_smoother
from xsoil.inverse.forward_models import WaterBalance
from xsoil.inverse.sce_ua import sce_ua
from xsoil.physics.bounded import Bounded

DAYS, CELLS, ERROR = 366, 1024, 0.02
LEARNED = ("k_sat", "obs_scale", "obs_bias")
BOUNDS = (Bounded(0.5, 300.0, log=True), Bounded(0.5, 1.5), Bounded(-0.1, 0.1))
FIXED = {
    "theta_s": 0.5, "theta_fc": 0.2, "theta_wp": 0.078, "root_depth": 0.3, "depletion_fraction": 0.1,
    "crop_coefficient": 0.5,
}  # fmt: skip


def world():
    """One year of daily rain on a shallow soil, observed every third day with the error of a satellite."""
    rng = np.random.default_rng(0)
    rain = (rng.random((DAYS, CELLS)) < 0.3) * rng.exponential(12, (DAYS, CELLS))
    model = WaterBalance(rain, rng.uniform(0, 7, (DAYS, CELLS)), LEARNED, FIXED, rows=np.arange(0, DAYS, 3))
    truth = [10 ** rng.uniform(0, 2, CELLS), rng.uniform(0.8, 1.2, CELLS), rng.uniform(-0.05, 0.05, CELLS)]
    simulated = model(np.stack(truth), np.arange(CELLS))
    return model, simulated + rng.normal(0, ERROR, simulated.shape)


def seconds_per_cell(work, cells):
    """Of a loop over cells, the quickest of them after one that does not count; and what all returned."""
    threadpoolctl = pytest.importorskip("threadpoolctl")
    best, found = float("inf"), []
    with threadpoolctl.threadpool_limits(1):
        work(0)
        for cell in range(cells):
            start = time.perf_counter()
            found.append(work(cell))
            best = min(best, time.perf_counter() - start)
    return best, found


def test_sce_ua(ratio):
    spotpy = pytest.importorskip("spotpy")
    model, observed = world()
    budget, complexes = 600, 3
    options = {"evaluations": budget, "complexes": complexes, "change": -1.0, "extent": 0.0}

    class Setup:
        def __init__(self, cell):
            self.cell, self.seen = np.array([cell]), observed[:, cell]
            ends = [(np.log(b.low), np.log(b.high)) if b.log else (b.low, b.high) for b in BOUNDS]
            self.listed = [spotpy.parameter.Uniform(name, *pair) for name, pair in zip(LEARNED, ends, strict=True)]

        def parameters(self):
            return spotpy.parameter.generate(self.listed)

        def simulation(self, vector):
            x = np.array(list(vector))
            x[0] = np.exp(x[0])
            return model(x[:, None], self.cell)[:, 0]

        def evaluation(self):
            return self.seen

        def objectivefunction(self, simulation, evaluation):
            return np.mean((simulation - evaluation) ** 2)

    def theirs(cell):
        sampler = spotpy.algorithms.sceua(Setup(cell), dbname="", dbformat="ram", random_state=1, save_sim=False)
        with contextlib.redirect_stdout(io.StringIO()):
            sampler.sample(budget, ngs=complexes, kstop=10**6, pcento=-1.0, peps=0.0)
        return sampler.status.objectivefunction_min, sampler.status.rep

    other, found = seconds_per_cell(theirs, 8)
    (mine,) = ratio.times(lambda: sce_ua(model, observed, BOUNDS, **options), rounds=3)
    result = sce_ua(model, observed, BOUNDS, **options)
    cost, runs = np.mean(found, axis=0)
    measured = (
        f"{other / mine * CELLS:.0f} x spotpy in a loop ({CELLS / mine:.0f} against {1 / other:.1f} cells/s; mse of 8 "
        f"cells {result.cost[:8].mean():.3e} against {cost:.3e} after {budget} and {runs:.0f} runs)"
    )
    ratio.report(f"SCE-UA, {CELLS} cells x {DAYS} days, 3 parameters", measured, "50 x")
    assert result.cost[:8].mean() < 1.02 * cost


def test_ensemble_smoother(ratio):
    smoother = pytest.importorskip("iterative_ensemble_smoother")
    model, observed = world()
    members, runs = 64, 6
    options = {"members": members, "iterations": runs - 1, "tolerance": -1.0}
    variance = np.full(observed.shape[0], ERROR**2)

    def natural(z):
        return np.stack([bound.to_bounded(row) for bound, row in zip(BOUNDS, z, strict=True)])

    def at_once(z, cell):
        return model(natural(z), np.full(z.shape[1], cell))

    def one_by_one(z, cell):
        x = natural(z)
        return np.concatenate([model(x[:, j : j + 1], np.array([cell])) for j in range(z.shape[1])], axis=1)

    def theirs(run):
        def work(cell):
            z = np.random.default_rng(cell).normal(0, PRIOR_DEVIATION, (len(BOUNDS), members))
            esmda = smoother.ESMDA(covariance=variance, observations=observed[:, cell], alpha=runs, seed=cell)
            for _ in range(runs):
                esmda.prepare_assimilation(Y=run(z, cell))
                z = esmda.assimilate_batch(X=z)
            simulated = at_once(z.mean(axis=1, keepdims=True), cell)[:, 0]
            return np.mean(((simulated - observed[:, cell]) / ERROR) ** 2)

        return work

    together, found = seconds_per_cell(theirs(at_once), 16)
    singly, _ = seconds_per_cell(theirs(one_by_one), 16)
    (mine,) = ratio.times(lambda: ensemble_smoother(model, observed, ERROR, BOUNDS, **options), rounds=3)
    result = ensemble_smoother(model, observed, ERROR, BOUNDS, **options)
    measured = (
        f"{singly / mine * CELLS:.0f} x ES-MDA in a loop that runs a member at a time, {together / mine * CELLS:.0f} x "
        f"one that gives our kernel a cell's members at once ({CELLS / mine:.0f}, {1 / singly:.1f} and "
        f"{1 / together:.1f} cells/s; misfit of 16 cells {result.cost[:16].mean():.3f} against {np.mean(found):.3f} "
        f"after {runs} runs of {members} members)"
    )
    ratio.report(f"ensemble smoother, {CELLS} cells x {DAYS} days, 3 parameters", measured, "50 x")
    assert result.cost[:16].mean() < 1.02 * np.mean(found)
