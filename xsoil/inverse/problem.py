"""What both methods are given: a model that runs many columns, observations, bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xsoil.errors import ArgumentError
from xsoil.physics.bounded import Bounded
from xsoil.threads import read_only

__all__ = ["Model", "Turns", "call", "cell_keys", "intervals", "observations", "slots_of", "whole_seed"]

Wide = NDArray[np.float64]
Whole = NDArray[np.int64]

Model = Callable[[Wide, Whole], ArrayLike]
"""``model(parameters (n_parameters, k), cells (k,)) -> (n_observations, k)``.

One column a run: `cells` says whose forcing it takes. Parameters come in their own units; NaN is a run that failed.
What a column gives must not depend on the others.
"""

# Simulations of one call of the model [bytes].
MEMORY = 32 * 2**20


def observations(observed: ArrayLike) -> Wide:
    """(n_observations, cells) in double precision; not finite is missing.

    Raises
    ------
    ArgumentError
        Another shape.
    """
    array = np.ascontiguousarray(observed, np.float64)
    if array.ndim != 2:
        raise ArgumentError(f"observed is of shape {array.shape}; expected (observations, cells)")
    return read_only(array)


def intervals(bounds: Sequence[Bounded], cells: int) -> tuple[Wide, Wide, NDArray[np.bool_]]:
    """Lower and upper bounds (n_parameters, cells) and whether each parameter is searched on a logarithmic scale.

    Raises
    ------
    ArgumentError
        No bounds, or not one of each per cell.
    """
    if len(bounds) == 0:
        raise ArgumentError("bounds is empty; expected one Bounded(low, high, log) per parameter")
    ends = []
    for which in ("low", "high"):
        rows = [np.asarray(getattr(interval, which), np.float64) for interval in bounds]
        for row in rows:
            if row.shape not in ((), (1,), (cells,)):
                raise ArgumentError(
                    f"a bound is of shape {row.shape}; expected a number or one for each of {cells} cells"
                )
        ends.append(np.ascontiguousarray([np.broadcast_to(row, (cells,)) for row in rows]))
    return ends[0], ends[1], np.array([bool(interval.log) for interval in bounds])


def cell_keys(keys: ArrayLike | None, cells: int) -> Whole:
    """One whole number per cell that its random numbers hang on, its position if not given.

    Raises
    ------
    ArgumentError
        Not one whole number per cell.
    """
    if keys is None:
        return np.arange(cells)
    array = np.asarray(keys)
    if array.shape != (cells,) or array.dtype.kind not in "iu":
        raise ArgumentError(
            f"keys of shape {array.shape} and type {array.dtype}; expected one whole number for each of {cells} cells"
        )
    return array.astype(np.int64)


def whole_seed(seed: int) -> int:
    """The seed, if it is a whole number from 0 on.

    Raises
    ------
    ArgumentError
        It is not.
    """
    if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**63:
        raise ArgumentError(f"seed={seed!r}; expected a whole number from 0 to 2**63 - 1")
    return int(seed)


def slots_of(cells: int, runs: int, observations: int, batch: int | None) -> int:
    """Cells that are worked on at a time."""
    if batch is not None and batch < 1:
        raise ArgumentError(f"batch={batch}; expected a number of cells from 1 on")
    fitting = MEMORY // (8 * max(runs * observations, 1))
    return max(min(batch or fitting, cells), 1)


class Turns:
    """Cells that take turns in a fixed number of slots, so that batches of runs stay full and memory bounded.

    Parameters
    ----------
    waiting : (n,) array of int
        Cells, in the order of their turns.
    slots : int
        How many are worked on at a time.

    Attributes
    ----------
    owner : (slots,) array of int
        The cell in each slot.
    active : array of int
        Slots that are at work, ascending.
    """

    def __init__(self, waiting: Whole, slots: int) -> None:
        self.owner, self.active = np.zeros(slots, np.int64), np.empty(0, np.int64)
        self._waiting = waiting

    def fill(self) -> Whole:
        """Give free slots to waiting cells; the slots that were given."""
        if not self._waiting.size or self.active.size == self.owner.size:
            return np.empty(0, np.int64)
        free = np.setdiff1d(np.arange(self.owner.size), self.active)
        fresh = free[: self._waiting.size]
        self.owner[fresh] = self._waiting[: fresh.size]
        self._waiting = self._waiting[fresh.size :]
        self.active = np.sort(np.concatenate([self.active, fresh]))
        return fresh

    def leave(self, running: NDArray[np.bool_]) -> Whole:
        """Free the active slots that no longer run; the slots that were freed."""
        ended = self.active[~running]
        self.active = self.active[running]
        return ended


def call(model: Model, parameters: Wide, cells: Whole, observations: int) -> Wide:
    """Run the model.

    Raises
    ------
    ArgumentError
        It returns another shape than (observations, runs).
    """
    simulated = np.ascontiguousarray(model(parameters, cells), np.float64)
    expected = (observations, cells.size)
    if simulated.shape != expected:
        raise ArgumentError(
            f"the model returned shape {simulated.shape} for {cells.size} runs; "
            f"expected (observations, runs) = {expected}"
        )
    return read_only(simulated)
