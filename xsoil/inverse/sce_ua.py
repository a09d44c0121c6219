"""Shuffled complex evolution (SCE-UA) of thousands of cells at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xsoil.errors import ArgumentError
from xsoil.inverse.inverted import STATUS, Inverted
from xsoil.inverse.objectives import Objective, Part, defined, evaluate, require_objective
from xsoil.inverse.problem import Model, Turns, call, cell_keys, intervals, observations, slots_of, whole_seed
from xsoil.kernels import complexes as evolution
from xsoil.physics.bounded import Bounded
from xsoil.threads import available_cores, in_bands

__all__ = ["least_evaluations", "sce_ua"]

_ENDS = {
    evolution.CONVERGED: "converged",
    evolution.BUDGET: "budget_spent",
    evolution.FAILED: "model_failed",
}

Wide = NDArray[np.float64]


def least_evaluations(parameters: int, complexes: int | None = None) -> int:
    """Runs per cell that the first points of all complexes take, without which there is no search."""
    return (max(parameters, 2) if complexes is None else complexes) * (2 * parameters + 1)


def sce_ua(
    model: Model,
    observed: ArrayLike,
    bounds: Sequence[Bounded],
    *,
    objective: str | Objective | Sequence[Part] = "mse",
    linear: tuple[Bounded, Bounded] | None = None,
    evaluations: int = 3000,
    complexes: int | None = None,
    steps: int | None = None,
    shuffles: int = 10,
    change: float = 1e-3,
    extent: float = 1e-3,
    seed: int = 0,
    keys: ArrayLike | None = None,
    batch: int | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Inverted:
    """The parameters of least cost in every cell, by shuffled complex evolution [1]_.

    Points are searched as shares of their intervals, on a logarithmic scale where the interval says so. Each complex
    has 2 n + 1 points and evolves by simplexes of n + 1 of them: the worst is reflected through the centre of the
    others, else drawn half way to it, else replaced by a random point of the complex's box. Cells run side by side,
    one candidate of every complex of every cell in one call of the model.

    Parameters
    ----------
    model : callable
        ``model(parameters (n_parameters, k), cells (k,)) -> (n_observations, k)``, one column a run; NaN where a run
        failed, which then costs infinitely much.
    observed : array (n_observations, cells)
        NaN is missing.
    bounds : sequence of Bounded
        Interval of each parameter, with arrays (cells,) where cells differ.
    objective : {"mse", "nse", "kge", "ubrmse"}, callable or sequence of Part
        The cost (1 - NSE, 1 - KGE), or ``objective(simulated (n_observations, k), observed (n_observations, k)) ->
        (k,)``, whose columns must not depend on each other; or one for each part of the observations, with weights.
    linear : (Bounded, Bounded), optional
        Compare scale x simulation + bias with the observations, with the scale and the bias between these bounds that
        make the mean square least. They need no search and become the last two rows of the parameters.
    evaluations : int
        Runs per cell at most, at least those of `least_evaluations`.
    complexes : int, optional
        n_parameters by default, at least 2. More are slower and surer.
    steps : int, optional
        Steps of a complex between two shuffles, 2 n_parameters + 1 by default.
    shuffles, change : int, float
        A cell has converged when its best cost fell by less than the share `change` of its mean over this many
        shuffles,
    extent : float
        or when its points lie within this share of the intervals (geometric mean).
    seed, keys, batch, workers, progress
        See `ensemble_smoother`.

    Returns
    -------
    Inverted
        Without spread and draws.

    Raises
    ------
    ArgumentError, UnknownNameError
        Shapes or numbers that do not fit; an unknown objective.

    References
    ----------
    .. [1] Duan, Sorooshian & Gupta (1992), Effective and efficient global optimization for conceptual rainfall-runoff
       models, Water Resour. Res. 28, 1015, doi:10.1029/91WR02985.
    """
    seen = observations(observed)
    count, cells = seen.shape
    low, high, logarithmic = intervals(bounds, cells)
    n = len(bounds)
    p = max(n, 2) if complexes is None else complexes
    m, q = 2 * n + 1, n + 1
    taken_steps = m if steps is None else steps
    limits = {"complexes": (p, 1), "steps": (taken_steps, 1), "shuffles": (shuffles, 1)}
    for name, (given, least) in limits.items():
        if given < least:
            raise ArgumentError(f"{name}={given}; expected at least {least}")
    if evaluations < least_evaluations(n, p):
        raise ArgumentError(
            f"evaluations={evaluations}; the first points of {p} complexes of {n} parameters take {p} x (2 x {n} + 1) "
            f"runs: expected at least {least_evaluations(n, p)}"
        )
    require_objective(objective)
    if linear is not None and not (isinstance(objective, str) and objective in ("mse", "nse")):
        raise ArgumentError(
            f"linear with objective={objective!r}; expected 'mse' or 'nse', which least squares minimise"
        )
    box = np.zeros((4, cells))
    if linear is not None:
        least_box, most_box, scales = intervals(linear, cells)
        if scales.any() or len(linear) != 2:
            raise ArgumentError("linear takes the bounds of scale and bias, both with log=False")
        box[0], box[1], box[2], box[3] = least_box[0], most_box[0], least_box[1], most_box[1]
    threads = available_cores() if workers is None else workers
    keyed, seed = cell_keys(keys, cells), whole_seed(seed)

    status = np.full(cells, STATUS["no_observations"], np.uint8)
    known = np.isfinite(seen).any(axis=0)
    searched = known & defined(seen, objective)
    status[known & ~searched] = STATUS["objective_undefined"]
    waiting = np.flatnonzero(searched)
    slots = slots_of(waiting.size, p, count, batch)
    turns = Turns(waiting, slots)
    owner = turns.owner
    candidate, points, values = np.zeros((slots, p, n)), np.zeros((slots, p, m, n)), np.zeros((slots, p, m))
    kind, step, drawn = np.zeros((slots, p), np.int8), np.zeros((slots, p), np.int64), np.zeros((slots, p), np.int64)
    chosen, history = np.zeros((slots, p, q), np.int64), np.zeros((slots, shuffles + 1))
    best, best_value, best_line = np.zeros((slots, n)), np.zeros(slots), np.zeros((slots, 2))
    numbers = np.zeros((slots, evolution.FAILURES + 1), np.int64)

    found = np.full((n + 2 * (linear is not None), cells), np.nan)
    cost = np.full(cells, np.nan)
    final = np.zeros((cells, evolution.FAILURES + 1), np.int64)

    def in_parts(work: Callable[..., None], which: NDArray[np.int64], *arguments: Any) -> None:
        in_bands(lambda a, b: work(a, b, which, owner, *arguments), which.size, threads, smallest=64)

    done = cells - waiting.size
    while True:
        fresh = turns.fill()
        if fresh.size:
            in_parts(evolution.begin, fresh, seed, keyed, candidate, kind, step, drawn, best_value, numbers)
        active = turns.active
        if active.size == 0:
            break
        runs = kind[active] != evolution.IDLE
        runs &= np.cumsum(runs, axis=1) <= evaluations - numbers[active, evolution.RUNS, None]
        column = np.where(runs, np.cumsum(runs).reshape(runs.shape) - 1, -1)
        total = int(runs.sum())
        parameters, of_cell = np.empty((n, total)), np.empty(total, np.int64)
        in_parts(evolution.place, active, column, candidate, low, high, logarithmic, parameters, of_cell)
        simulated = call(model, parameters, of_cell, count)
        value, line = np.empty(total), np.zeros((2, total))
        evaluate(objective, simulated, of_cell, seen, linear is not None, box, value, line, threads)
        in_parts(
            evolution.advance, active, column, value, line, seed, keyed, evaluations, taken_steps, change, extent,
            points, values, candidate, kind, step, chosen, drawn, history, best, best_value, best_line, numbers,
        )  # fmt: skip
        ended = turns.leave(numbers[active, evolution.STATE] == evolution.RUNNING)
        if ended.size:
            final[owner[ended]] = numbers[ended]
            for code, name in _ENDS.items():
                status[owner[ended[numbers[ended, evolution.STATE] == code]]] = STATUS[name]
            good = ended[numbers[ended, evolution.STATE] != evolution.FAILED]
            to = owner[good]
            in_parts(evolution.condense, good, best, low, high, logarithmic, found)
            if linear is not None:
                found[n:, to] = best_line[good].T
            cost[to] = best_value[good]
            done += ended.size
            if progress is not None:
                progress(done, cells)
    return Inverted(
        parameters=found,
        spread=None,
        draws=None,
        cost=cost,
        iterations=final[:, evolution.SHUFFLES],
        evaluations=final[:, evolution.RUNS],
        failed=final[:, evolution.FAILURES],
        status=status,
    )
