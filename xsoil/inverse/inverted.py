"""What an inversion finds, with how it ended for every cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["STATUS", "Inverted"]

STATUS: Mapping[str, int] = {
    "converged": 0,
    "budget_spent": 1,
    "stalled": 2,
    "no_observations": 3,
    "model_failed": 4,
    "objective_undefined": 5,
}
"""How the search in a cell ended.

budget_spent: at the last iteration or evaluation, with the best so far; stalled: no step lowered the misfit of the
first ensemble; model_failed: too few runs came to an end; objective_undefined: say NSE of constant observations. The
last three and no_observations have no parameters (NaN), stalled has those of the first ensemble.
"""

Wide = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Inverted:
    """Parameters of every cell, and a report on each.

    Parameters
    ----------
    parameters : array (n_parameters, cells)
        The best point (SCE-UA), or the mean of the posterior ensemble, taken where the parameters have no bounds and
        brought back. NaN where `status` says why.
    spread : array (n_parameters, cells) or None
        Standard deviation of the posterior draws, in the units of the parameters; None from SCE-UA.
    draws : array (n_parameters, members, cells) or None
        Posterior ensemble; members whose runs failed are NaN.
    cost : array (cells,)
        Of `parameters`: the objective (SCE-UA), or the mean square of simulated less observed per error.
    iterations : array (cells,)
        Ensemble steps that were tried, or shuffles of the complexes.
    evaluations : array (cells,)
        Runs of the model.
    failed : array (cells,)
        Runs that gave no number at some observed time.
    status : array (cells,) of uint8
        Of `STATUS`.
    """

    parameters: Wide
    spread: Wide | None
    draws: Wide | None
    cost: Wide
    iterations: Counts
    evaluations: Counts
    failed: Counts
    status: NDArray[np.uint8]

    def report(self) -> dict[str, Any]:
        """Cells by the way they ended, and the medians of what it took."""
        ends = {name: int((self.status == code).sum()) for name, code in STATUS.items()}
        known = self.evaluations > 0
        medians = {
            name: float(np.median(values[known])) if known.any() else float("nan")
            for name, values in (("iterations", self.iterations), ("evaluations", self.evaluations))
        }
        return {"cells": int(self.status.size), **ends, **medians, "failed_runs": int(self.failed.sum())}
