"""Parameters of every cell by itself: the inverse methods on blocks of cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from xsoil.errors import ArgumentError
from xsoil.physics.bounded import Bounded, ends_of
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
    """One of the two methods with its settings; see `learn_params`.

    Attributes
    ----------
    errors, losses, weights : mappings
        Of each observed output of the model: standard deviation of its errors, what is made least, and its weight.
    """

    optimizer: str
    seed: int
    errors: Mapping[str, float]
    losses: Mapping[str, Any]
    weights: Mapping[str, float]
    members: int
    iterations: int
    evaluations: int
    draws: bool = False

    def searched(self, targets: Mapping[str, Bounded]) -> list[str]:
        """The parameters that are searched: not obs_scale and obs_bias where SCE-UA solves least squares for them."""
        others = [name for name in targets if name not in OBSERVATION]
        linear = (
            self.optimizer == "sce_ua"
            and list(self.losses) == ["theta_obs"]
            and self.losses["theta_obs"] in LEAST_SQUARES
            and others
            and all(name in targets and not targets[name].log for name in OBSERVATION)
        )
        return others if linear else list(targets)

    def require(self, targets: Mapping[str, Bounded]) -> None:
        """Raise where there are too few runs for the number of targets, before anything is read."""
        names = self.searched(targets)
        if self.optimizer == "ies":
            limits = {
                "members": (self.members, len(names) + 2, "two more than those"),
                "iterations": (self.iterations, 1, ""),
            }
        else:
            from xsoil.inverse.sce_ua import least_evaluations

            least = least_evaluations(len(names))
            limits = {"evaluations": (self.evaluations, least, "the first points of its complexes")}
        for name, (given, least, why) in limits.items():
            if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or given < least:
                raise ArgumentError(
                    f"{name}={given!r} to search {len(names)} parameters {names}; expected a whole number of at least "
                    f"{least}{f', {why}' if why else ''}"
                )

    def run(
        self,
        make: Callable[[list[str]], Model],
        observed: Mapping[str, np.ndarray],
        targets: Mapping[str, Bounded],
        keys: np.ndarray,
        tell: Callable[[int, int], object],
    ) -> Inverted:
        """Search one block of cells by ``make(names)``, the model of these parameters; `tell` is told how far it is."""
        whole = np.concatenate(list(observed.values()))
        if self.optimizer == "ies":
            from xsoil.inverse.ensemble_smoother import ensemble_smoother

            errors = [np.full(len(o), self.errors[n] / np.sqrt(self.weights[n])) for n, o in observed.items()]
            return ensemble_smoother(
                make(list(targets)),
                whole,
                np.concatenate(errors)[:, None],
                list(targets.values()),
                members=self.members,
                iterations=self.iterations,
                seed=self.seed,
                keys=keys,
                draws=self.draws,
                progress=tell,
            )
        from xsoil.inverse.objectives import Part
        from xsoil.inverse.sce_ua import sce_ua

        searched = self.searched(targets)
        linear = None if len(searched) == len(targets) else tuple(targets[name] for name in OBSERVATION)
        ends = np.cumsum([0, *(len(o) for o in observed.values())]).tolist()
        parts = [
            Part(slice(a, b), self.losses[name], self.weights[name])
            for name, a, b in zip(observed, ends, ends[1:], strict=False)
        ]
        found = sce_ua(
            make(searched),
            whole,
            [targets[name] for name in searched],
            objective=parts if len(parts) > 1 else parts[0].objective,
            linear=linear,  # type: ignore[arg-type]
            evaluations=self.evaluations,
            seed=self.seed,
            keys=keys,
            progress=tell,
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
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Search the parameters of all cells of the source, block by block.

    A cell's random numbers hang on its place in the grid, so that blocks, memory and company do not show.

    Returns
    -------
    maps : dict of (cells of the grid,) arrays
        Each target, ``<target>_spread`` where there is one, `cost`, `iterations`, `evaluations`, `failed_runs`,
        `search_status`.
    draws : dict of (members, cells of the grid) arrays
        Of each target, where they are asked for.
    """
    size = source.status.size
    found: dict[str, np.ndarray] = {name: np.full(size, np.nan) for name in targets}
    found |= {"cost": np.full(size, np.nan)}
    found |= {name: np.zeros(size, np.int32) for name in ("iterations", "evaluations", "failed_runs")}
    found |= {"search_status": np.full(size, NOT_SEARCHED, np.uint8)}
    draws: dict[str, np.ndarray] = {}
    if search.draws:
        draws = {name: np.full((search.members, size), np.nan, np.float32) for name in targets}
    with _bar(len(source), progress) as bar:
        for block in source.blocks:
            forcing, observed, known = source.series(block)
            own = {name: _of_cells(name, bounds, known) for name, bounds in targets.items()}
            make = partial(
                model.forward, forcing, fixed=known, rows=source.inputs.observed.days, outputs=list(observed)
            )  # fmt: skip
            inverted = search.run(make, observed, own, block, bar)
            for row, name in enumerate(targets):
                found[name][block] = inverted.parameters[row]
                if inverted.spread is not None:
                    spread = found.setdefault(f"{name}_spread", np.full(size, np.nan))
                    spread[block] = inverted.spread[row]
                if search.draws and inverted.draws is not None:
                    draws[name][:, block] = inverted.draws[row]
            found["cost"][block], found["search_status"][block] = inverted.cost, inverted.status
            found["iterations"][block], found["evaluations"][block] = inverted.iterations, inverted.evaluations
            found["failed_runs"][block] = inverted.failed
            bar(0, block.size)
    return found, draws


def _of_cells(name: str, bounds: Bounded, known: dict[str, np.ndarray]) -> Bounded:
    """The bounds of a block of cells, taken out of what is known of them where they differ."""
    low, high = (known.pop(end, None) for end in ends_of(name))
    return bounds if low is None or high is None else Bounded(low, high, log=bounds.log)


@contextmanager
def _bar(total: int, shown: bool) -> Iterator[Callable[[int, int], object]]:
    """tqdm's bar where it is installed (it comes with lightning), else nothing.

    It is told how many of the cells of a block are done, and, when the block is, 0 of them.
    """
    try:
        from tqdm.auto import tqdm
    except ImportError:
        yield lambda done, cells: None
        return
    before = 0
    with tqdm(total=total, desc="inverting", unit="cell", disable=not shown, dynamic_ncols=True) as bar:

        def tell(done: int, cells: int) -> None:
            nonlocal before
            before += 0 if done else cells
            bar.update(before + done - bar.n)

        yield tell
