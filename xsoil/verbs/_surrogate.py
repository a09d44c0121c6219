"""A surrogate of Richards' equation in place of the solver: a given one, or one that is made of the inputs at hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError
from xsoil.physics.bounded import Bounded
from xsoil.verbs._cell_source import XarraySource
from xsoil.verbs._learnable import Learnable, learnable
from xsoil.verbs._simulate_inputs import OBSERVATION
from xsoil.verbs._training import require_torch

__all__ = ["behind_surrogate", "made_surrogate"]

RUNS, DAYS, SITES = 5000, 365, 512
"""Runs that a surrogate learns from, their length, and the cells whose forcing they take pieces of, by default."""


def behind_surrogate(
    surrogate: Any, strategy: str, fixed: Mapping[str, float | xr.DataArray], **options: Any
) -> tuple[Learnable, dict[str, float | xr.DataArray]]:
    """The model that a surrogate stands for, and the given parameters with those of its runs.

    `options` are those of the column, where the surrogate is yet to be made; one that is given has its own.
    """
    require_torch()
    from xsoil.networks.surrogate import Surrogate

    if not isinstance(surrogate, (Surrogate, Mapping)):
        raise ArgumentError(
            f"surrogate is {type(surrogate).__name__}; expected the one that "
            "xsoil.networks.surrogate.fit_surrogate(...) returns, or how to make it: {'runs': 5000, 'hidden': 256}"
        )
    if strategy != "end_to_end":
        raise ArgumentError(
            f"strategy={strategy!r} with a surrogate; expected 'end_to_end': it spares gradients, which only that needs"
        )
    if isinstance(surrogate, Mapping):
        return learnable("richards", **options), dict(fixed)
    own = dict(surrogate.column.options)
    uptake = own.pop("uptake", "s_shaped")
    if uptake != "s_shaped":
        raise ArgumentError(f"a surrogate of columns with uptake={uptake!r}; expected 's_shaped'")
    return learnable("richards", **own), {**surrogate.fixed, **fixed}


def made_surrogate(
    how: Mapping[str, Any], source: XarraySource, model: Learnable, targets: Mapping[str, Bounded], *, seed: int,
    progress: bool,
) -> Any:  # fmt: skip
    """A surrogate of these targets, from runs of the solver under the forcing of some cells.

    `how` holds `runs` and `days`, and keywords of `xsoil.networks.surrogate.fit_surrogate`.
    """
    from xsoil.networks.surrogate import draw_runs, fit_surrogate

    options = dict(how)
    varied = {name: bounds for name, bounds in targets.items() if name not in OBSERVATION}
    if not varied:
        raise ArgumentError(f"a surrogate with the targets {list(targets)}; expected a parameter of the column")
    cells = source.cells[np.unique(np.linspace(0, len(source) - 1, SITES).astype(np.intp))]
    forcing, _, known = source.series(cells)
    fixed = {}
    for name in model.parameters:
        if name in varied or name in model.optional:
            continue
        if np.unique(known[name]).size > 1:
            raise ArgumentError(
                f"{name!r} differs from cell to cell; a surrogate takes one number for all of them, or learn it too"
            )
        fixed[name] = float(known[name][0])
    if "lai" not in forcing:
        forcing["lai"] = np.broadcast_to(known["lai"], forcing["pet"].shape)
    days = len(forcing["pet"])
    number, length = options.pop("runs", RUNS), options.pop("days", min(DAYS, days))
    for name, value in (("runs", number), ("days", length)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ArgumentError(f"surrogate[{name!r}] is {value!r}; expected a whole number of at least 1")
    column = dict(model.options)
    runs = draw_runs(forcing, varied, int(number), days=int(length), fixed=fixed, options=column, seed=seed)
    try:
        found, _ = fit_surrogate(
            runs, varied, fixed=fixed, options=column, **{"seed": seed, "progress": progress, **options}
        )
    except TypeError as error:
        raise ArgumentError(f"surrogate={dict(how)!r}: {error}") from error
    return found
