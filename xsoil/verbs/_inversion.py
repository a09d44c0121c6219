"""Parameters of every cell by itself: the inverse methods on blocks of cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from xsoil.physics.bounded import Bounded
from xsoil.verbs._cell_source import XarraySource
from xsoil.verbs._learnable import Learnable
from xsoil.verbs._simulate_inputs import OBSERVATION

if TYPE_CHECKING:
    from xsoil.inverse.inverted import Inverted
    from xsoil.inverse.problem import Model

__all__ = ["NOT_SEARCHED", "Search", "invert"]

NOT_SEARCHED = 255
"""Of the search's end: a cell that took no part."""

LEAST_SQUARES = ("mse", "nse")
"""Losses that the scale and bias of least squares minimise, so that SCE-UA need not search these two."""


@dataclass(frozen=True)
class Search:
    """One of the two methods with its settings; see `learn_params`."""

    optimizer: str
    seed: int
    error_std: float
    members: int
    iterations: int
    evaluations: int
    loss: Any

    def run(
        self,
        make: Callable[[list[str]], Model],
        observed: np.ndarray,
        targets: Mapping[str, Bounded],
        keys: np.ndarray,
    ) -> Inverted:
        """Search one block of cells; ``make(names)`` is the model of these parameters."""
        if self.optimizer == "ies":
            from xsoil.inverse.ensemble_smoother import ensemble_smoother

            return ensemble_smoother(
                make(list(targets)),
                observed,
                self.error_std,
                list(targets.values()),
                members=self.members,
                iterations=self.iterations,
                seed=self.seed,
                keys=keys,
                draws=False,
            )
        from xsoil.inverse.sce_ua import sce_ua

        searched = [name for name in targets if name not in OBSERVATION]
        both = [targets[name] for name in OBSERVATION if name in targets]
        linear = None
        if len(both) == 2 and searched and self.loss in LEAST_SQUARES and not any(one.log for one in both):
            linear = (both[0], both[1])
        else:
            searched = list(targets)
        found = sce_ua(
            make(searched),
            observed,
            [targets[name] for name in searched],
            objective=self.loss,
            linear=linear,
            evaluations=self.evaluations,
            seed=self.seed,
            keys=keys,
        )
        names = searched if linear is None else [*searched, *OBSERVATION]
        return replace(found, parameters=found.parameters[[names.index(name) for name in targets]])


def invert(
    source: XarraySource,
    model: Learnable,
    targets: Mapping[str, Bounded],
    search: Search,
    *,
    progress: bool,
) -> dict[str, np.ndarray]:
    """Search the parameters of all cells of the source, block by block.

    A cell's random numbers hang on its place in the grid, so that blocks, memory and company do not show.

    Returns
    -------
    dict of (cells of the grid,) arrays
        Each target, ``<target>_spread`` where there is one, `cost`, `iterations`, `evaluations`, `search_status`.
    """
    size = source.status.size
    found: dict[str, np.ndarray] = {name: np.full(size, np.nan) for name in targets}
    found |= {"cost": np.full(size, np.nan), "iterations": np.zeros(size, np.int32)}
    found |= {"evaluations": np.zeros(size, np.int32), "search_status": np.full(size, NOT_SEARCHED, np.uint8)}
    with _bar(len(source), progress) as bar:
        for block in source.blocks:
            forcing, observed, known = source.series(block)
            (values,) = observed.values()
            rows = source.inputs.observed.days
            make = partial(model.forward, forcing, fixed=known, rows=rows)
            inverted = search.run(make, values, targets, block)
            for row, name in enumerate(targets):
                found[name][block] = inverted.parameters[row]
                if inverted.spread is not None:
                    spread = found.setdefault(f"{name}_spread", np.full(size, np.nan))
                    spread[block] = inverted.spread[row]
            found["cost"][block], found["search_status"][block] = inverted.cost, inverted.status
            found["iterations"][block], found["evaluations"][block] = inverted.iterations, inverted.evaluations
            bar(block.size)
    return found


@contextmanager
def _bar(total: int, shown: bool) -> Iterator[Callable[[int], object]]:
    """tqdm's bar where it is installed (it comes with lightning), else nothing."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        yield lambda cells: None
        return
    with tqdm(total=total, desc="inverting", unit="cell", disable=not shown, dynamic_ncols=True) as bar:
        yield bar.update
