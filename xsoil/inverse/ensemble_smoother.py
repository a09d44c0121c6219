"""Iterative ensemble smoother in the form of Levenberg and Marquardt, for thousands of cells at once.

Every cell has an ensemble of its own. It is a small problem (few parameters, many observations), which is solved in the
space of the parameters: one system of n_parameters equations per cell and step, whatever the number of observations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xsoil.errors import ArgumentError
from xsoil.inverse.inverted import STATUS, Inverted
from xsoil.inverse.problem import Model, Turns, call, cell_keys, intervals, observations, slots_of, whole_seed
from xsoil.kernels import smoother
from xsoil.physics.bounded import Bounded
from xsoil.threads import available_cores, in_bands, read_only

__all__ = ["PRIOR_DEVIATION", "ensemble_smoother"]

PRIOR_DEVIATION = 1.5
"""Standard deviation of the logits of the default prior: about even over the interval, thinner at its ends."""

_ENDS = {
    smoother.CONVERGED: "converged",
    smoother.BUDGET: "budget_spent",
    smoother.STALLED: "stalled",
    smoother.FAILED: "model_failed",
}

Wide = NDArray[np.float64]


def ensemble_smoother(
    model: Model,
    observed: ArrayLike,
    error_std: ArrayLike,
    bounds: Sequence[Bounded],
    *,
    members: int = 64,
    iterations: int = 20,
    tolerance: float = 1e-3,
    prior: tuple[ArrayLike, ArrayLike] | None = None,
    seed: int = 0,
    keys: ArrayLike | None = None,
    draws: bool = True,
    batch: int | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Inverted:
    """Posterior ensembles of the parameters of every cell, given its observations and their errors [1]_.

    Each member minimises its own sum of squares, to perturbed observations and to its draw of the prior, by steps

    x_j <- x_j - [(1 + lambda) C^-1 + G' C_D^-1 G]^-1 [C_prior^-1 (x_j - x_prior,j) + G' C_D^-1 (g(x_j) - d_j)]

    with C the covariance of the ensemble and G its sensitivities. x is the logit of where a parameter lies between its
    bounds, so that they are never left. lambda falls tenfold with every ensemble whose mean sum of squares is lower and
    rises tenfold when it is not, which is then tried again. A cell ends when the sum falls by less than
    `tolerance`, or cannot be lowered.

    Parameters
    ----------
    model : callable
        ``model(parameters (n_parameters, k), cells (k,)) -> (n_observations, k)``, one column a run; NaN where a run
        failed. It is called with the runs of many cells at once.
    observed : array (n_observations, cells)
        NaN is missing; times of no cell may be left out.
    error_std : number or array that broadcasts to `observed`
        Standard deviation of the errors of the observations, independent of each other. Where it is not finite and
        above 0 the observation counts as missing.
    bounds : sequence of Bounded
        Interval of each parameter, with arrays (cells,) where cells differ.
    members : int
        Size of an ensemble, at least n_parameters + 2.
    iterations : int
        Steps that are tried at most, each with `members` runs of the model, besides those of the prior.
    tolerance : float
        Relative decrease of the mean sum of squares at which a cell has converged.
    prior : (centre, deviation), optional
        Centre in the units of the parameters and standard deviation of the logit, numbers or arrays (n_parameters,) or
        (n_parameters, cells). By default the middle of the intervals and `PRIOR_DEVIATION`. A cell whose centre is
        NaN has no prior of its own and gets the default.
    seed : int
        Of the random numbers.
    keys : array (cells,) of int, optional
        What the random numbers of a cell hang on besides `seed`: give each cell a number of its own that stays with it,
        and its result is the same bit for bit in whatever company it is computed. The position by default.
    draws : bool
        Return the ensembles.
    batch : int, optional
        Cells that are worked on at a time; by default so many that their simulations take 32 MB.
    workers : int, optional
        Threads of the work between runs; all cores by default.
    progress : callable, optional
        ``progress(cells that are done, cells)``.

    Returns
    -------
    Inverted
        Cells without observations, or where less than half of the runs came to an end, are NaN; see its `status`.

    Raises
    ------
    ArgumentError
        Shapes or numbers that do not fit.

    References
    ----------
    .. [1] Chen & Oliver (2013), Levenberg-Marquardt forms of the iterative ensemble smoother for efficient history
       matching and uncertainty quantification, Comput. Geosci. 17, 689, doi:10.1007/s10596-013-9351-5.
    """
    seen = observations(observed)
    count, cells = seen.shape
    error = _error(error_std, seen.shape)
    low, high, logarithmic = intervals(bounds, cells)
    n = len(bounds)
    if members < n + 2:
        raise ArgumentError(f"members={members} for {n} parameters; expected at least {n + 2}")
    if iterations < 1:
        raise ArgumentError(f"iterations={iterations}; expected at least 1")
    threads = available_cores() if workers is None else workers
    mean, deviation = _prior(prior, bounds, n, cells)
    keyed, seed = cell_keys(keys, cells), whole_seed(seed)

    usable = np.isfinite(seen) & np.isfinite(error) & (error > 0)
    waiting = np.flatnonzero(usable.any(axis=0))
    slots = slots_of(waiting.size, members, count, batch)
    width = -(-members // smoother.LANES) * smoother.LANES
    turns = Turns(waiting, slots)
    owner = turns.owner
    z, trial, start, pull = (np.zeros((slots, n, width)) for _ in range(4))
    noise = np.zeros((slots, count, width), np.float32)
    target, weight = np.zeros((slots, count)), np.zeros((slots, count))
    live = np.zeros((slots, width), np.bool_)
    numbers = np.zeros((slots, smoother.FIRST + 1), np.int64)
    damping, cost = np.zeros(slots), np.zeros((slots, width))
    inverse, gram = np.zeros((slots, n, n)), np.zeros((slots, n, n))

    centre, spread = np.full((cells, n), np.nan), np.full((cells, n), np.nan)
    drawn = np.full((cells, n, members), np.nan) if draws else np.empty((0, n, members))
    final = np.zeros((cells, smoother.FIRST + 1), np.int64)
    status = np.full(cells, STATUS["no_observations"], np.uint8)

    def in_parts(work: Callable[..., None], which: NDArray[np.int64], *arguments: Any) -> None:
        in_bands(lambda a, b: work(a, b, which, owner, *arguments), which.size, threads)

    done = cells - waiting.size
    while True:
        fresh = turns.fill()
        if fresh.size:
            in_parts(
                smoother.begin, fresh, seed, keyed, members, mean, deviation, seen, error, z, trial, start, noise,
                target, weight, live, numbers,
            )  # fmt: skip
        active = turns.active
        if active.size == 0:
            break
        parameters = np.empty((n, active.size * members))
        in_parts(smoother.natural, active, members, trial, low, high, logarithmic, parameters)
        simulated = call(model, parameters, np.repeat(owner[active], members), count)
        in_parts(
            smoother.assess, active, seed, keyed, members, mean, deviation, simulated, tolerance, iterations, z, trial,
            start, noise, target, weight, live, numbers, damping, cost, inverse, gram, pull,
        )  # fmt: skip
        ended = turns.leave(numbers[active, smoother.STATE] == smoother.RUNNING)
        if ended.size:
            final[owner[ended]] = numbers[ended]
            for code, name in _ENDS.items():
                status[owner[ended[numbers[ended, smoother.STATE] == code]]] = STATUS[name]
            found = ended[numbers[ended, smoother.STATE] != smoother.FAILED]
            in_parts(smoother.condense, found, members, z, live, low, high, logarithmic, centre, spread, drawn)
            done += ended.size
            if progress is not None:
                progress(done, cells)

    best = np.ascontiguousarray(centre.T)
    total = np.full(cells, np.nan)
    known = np.flatnonzero(np.isfinite(best).all(axis=0))
    for first in range(0, known.size, slots * members):
        part = known[first : first + slots * members]
        simulated = call(model, np.ascontiguousarray(best[:, part]), part, count)
        in_bands(_squares(simulated, part, seen, error, total), part.size, threads)
    return Inverted(
        parameters=best,
        spread=np.ascontiguousarray(spread.T),
        draws=drawn.transpose(1, 2, 0) if draws else None,
        cost=total,
        iterations=final[:, smoother.ITERATION],
        evaluations=final[:, smoother.RUNS],
        failed=final[:, smoother.FAILURES],
        status=status,
    )


def _squares(
    simulated: Wide, cells: NDArray[np.int64], seen: Wide, error: Wide, out: Wide
) -> Callable[[int, int], None]:
    work: Callable[..., None] = smoother.misfit
    return lambda first, last: work(first, last, simulated, cells, seen, error, out)


def _error(error_std: ArrayLike, shape: tuple[int, int]) -> Wide:
    """(1 or n_observations, 1 or cells): a number does not take the room of the observations."""
    array = np.asarray(error_std, np.float64)
    _broadcast("error_std", array, shape)
    return read_only(np.ascontiguousarray(np.atleast_2d(array)))


def _prior(
    prior: tuple[ArrayLike, ArrayLike] | None, bounds: Sequence[Bounded], n: int, cells: int
) -> tuple[Wide, Wide]:
    """Mean and standard deviation of the logits (n_parameters, cells)."""
    mean, deviation = np.zeros((n, cells)), np.full((n, cells), PRIOR_DEVIATION)
    if prior is None:
        return read_only(mean), read_only(deviation)
    centre, width = (_rows(name, value, n, cells) for name, value in zip(("centre", "deviation"), prior, strict=True))
    if not (width > 0).all() or not np.isfinite(width).all():
        raise ArgumentError("the deviation of the prior is not above 0; expected that of the logit, about 0.1 to 1.5")
    for p, interval in enumerate(bounds):
        mean[p] = interval.to_unbounded(centre[p])
    mean[np.isnan(mean)] = 0.0
    return read_only(mean), read_only(width)


def _rows(name: str, value: ArrayLike, n: int, cells: int) -> Wide:
    array = np.asarray(value, np.float64)
    return np.ascontiguousarray(
        _broadcast(f"the prior's {name}", array[:, None] if array.ndim == 1 else array, (n, cells))
    )


def _broadcast(name: str, value: ArrayLike, shape: tuple[int, int]) -> Wide:
    array = np.asarray(value, np.float64)
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise ArgumentError(f"{name} is of shape {array.shape}; expected one that broadcasts to {shape}") from None
