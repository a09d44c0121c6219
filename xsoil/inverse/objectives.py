"""What SCE-UA makes least: the cost of every run against the observations of its cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.kernels import costs
from xsoil.threads import in_bands

__all__ = ["Objective", "Part", "defined", "evaluate", "require_objective"]

Wide = NDArray[np.float64]
Whole = NDArray[np.int64]

Objective = Callable[[Wide, Wide], ArrayLike]
"""``objective(simulated (n_observations, k), observed (n_observations, k)) -> cost (k,)``, lower is better; observed is
NaN where missing."""

VARYING = ("nse", "kge")
"""Objectives that constant observations do not define."""


@dataclass(frozen=True)
class Part:
    """Some of the observations, with an objective and a weight of their own.

    Parameters
    ----------
    rows : slice
        Of the observations.
    objective : str or callable
        Of `xsoil.kernels.costs.OBJECTIVES`, or an `Objective`.
    weight : float
        The cost of a cell is the weighted mean of those of its parts, of which those count that it has observations
        of (that define the objective).
    """

    rows: slice
    objective: str | Objective = "mse"
    weight: float = 1.0


def require_objective(objective: str | Objective | Sequence[Part]) -> None:
    """Raise where a name or a weight of an objective is not understood."""
    for part in _parts(objective):
        if isinstance(part.objective, str) and part.objective not in costs.OBJECTIVES:
            raise UnknownNameError.of("objective", part.objective, costs.OBJECTIVES)
        if not 0 < part.weight < np.inf:
            raise ArgumentError(f"weight {part.weight!r} of an objective; expected a number above 0")


def defined(seen: Wide, objective: str | Objective | Sequence[Part]) -> NDArray[np.bool_]:
    """Whether the objective has a value for the observations (n_observations, cells) of each cell."""
    return np.asarray(np.any([_has_value(seen[part.rows], part.objective) for part in _parts(objective)], axis=0))


def evaluate(
    objective: str | Objective | Sequence[Part], simulated: Wide, cells: Whole, seen: Wide, linear: bool, box: Wide,
    value: Wide, line: Wide, threads: int,
) -> None:  # fmt: skip
    """Fill `value` with the cost of every run, and `line` with the best scale and bias where `linear`."""
    parts = _parts(objective)
    if len(parts) == 1:
        _evaluate(parts[0].objective, simulated, cells, seen, linear, box, value, line, threads)
        return
    total, whole, own = np.zeros_like(value), np.zeros_like(value), np.empty_like(value)
    for part in parts:
        observed = seen[part.rows]
        counts = _has_value(observed, part.objective)[cells]
        _evaluate(part.objective, simulated[part.rows], cells, observed, False, box, own, line, threads)
        total += np.where(counts, part.weight * own, 0.0)
        whole += np.where(counts, part.weight, 0.0)
    with np.errstate(invalid="ignore"):
        value[:] = total / whole


def _parts(objective: str | Objective | Sequence[Part]) -> Sequence[Part]:
    if isinstance(objective, str) or callable(objective):
        return (Part(slice(None), objective),)
    return tuple(objective)


def _has_value(seen: Wide, objective: str | Objective) -> NDArray[np.bool_]:
    good = np.isfinite(seen)
    there = good.any(axis=0)
    if objective not in VARYING:
        return np.asarray(there)
    varied = np.where(good, seen, -np.inf).max(axis=0) > np.where(good, seen, np.inf).min(axis=0)
    if objective == "kge":
        varied &= np.where(good, seen, 0.0).sum(axis=0) != 0
    return np.asarray(there & varied)


def _evaluate(
    objective: str | Objective, simulated: Wide, cells: Whole, seen: Wide, linear: bool, box: Wide, value: Wide,
    line: Wide, threads: int,
) -> None:  # fmt: skip
    if isinstance(objective, str):
        code = costs.OBJECTIVES.index(objective)
        work: Callable[..., None] = costs.costs
        in_bands(
            lambda a, b: work(a, b, code, simulated, cells, seen, linear, box, value, line),
            cells.size, threads, smallest=512,
        )  # fmt: skip
        return
    found = np.asarray(objective(simulated, seen[:, cells]), np.float64)
    if found.shape != value.shape:
        raise ArgumentError(f"the objective returned shape {found.shape}; expected one cost per run, {value.shape}")
    value[:] = np.where(found < np.inf, found, np.inf)
