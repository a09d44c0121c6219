"""Moments of many pairs of series, for their metrics.

Cells lie side by side and go through `LANES` at a time, day after day, so that a cell adds its samples in their order
whatever stands beside it, and the loop over cells vectorises.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsoil.jit import fused_kernel, kernel

__all__ = ["LANES", "pair_moments"]

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]

LANES = 256


@kernel
def pair_moments(simulated: Floats, observed: Floats) -> Doubles:
    """Moments of the pairs where both values are finite, in two passes.

    Parameters
    ----------
    simulated, observed : ndarray (sample, cell)
        C-contiguous, of one shape and type; at least `LANES` cells.

    Returns
    -------
    ndarray (12, cell) float64
        Count; means of simulation, observation and difference; sums of squares and products about them: of the
        simulation, of the observation, of both, of the difference; lowest and highest simulation and observation.
        Zeros and extremes of +inf and -inf where there is no pair.
    """
    samples, cells = simulated.shape
    out = np.empty((12, cells), np.float64)
    sums = np.empty((12, LANES), np.float64)
    for block in range(0, cells, LANES):
        start = min(block, cells - LANES)  # the last block may repeat cells of the one before
        sums[:8] = 0.0
        sums[8], sums[9], sums[10], sums[11] = np.inf, -np.inf, np.inf, -np.inf
        for t in range(samples):
            _add(simulated[t, start : start + LANES], observed[t, start : start + LANES], sums)
        for row in range(1, 4):
            for lane in range(LANES):
                sums[row, lane] /= max(sums[0, lane], 1.0)
        for t in range(samples):
            _add_about(simulated[t, start : start + LANES], observed[t, start : start + LANES], sums)
        for row in range(12):
            for lane in range(LANES):
                out[row, start + lane] = sums[row, lane]
    return out


@fused_kernel
def _add(simulated: Floats, observed: Floats, sums: Doubles) -> None:
    for lane in range(LANES):
        s, o = np.float64(simulated[lane]), np.float64(observed[lane])
        valid = (abs(s) < np.inf) & (abs(o) < np.inf)
        sums[0, lane] += 1.0 if valid else 0.0
        sums[1, lane] += s if valid else 0.0
        sums[2, lane] += o if valid else 0.0
        sums[3, lane] += s - o if valid else 0.0
        sums[8, lane] = min(sums[8, lane], s if valid else np.inf)
        sums[9, lane] = max(sums[9, lane], s if valid else -np.inf)
        sums[10, lane] = min(sums[10, lane], o if valid else np.inf)
        sums[11, lane] = max(sums[11, lane], o if valid else -np.inf)


@fused_kernel
def _add_about(simulated: Floats, observed: Floats, sums: Doubles) -> None:
    for lane in range(LANES):
        s, o = np.float64(simulated[lane]), np.float64(observed[lane])
        valid = (abs(s) < np.inf) & (abs(o) < np.inf)
        a = s - sums[1, lane] if valid else 0.0
        b = o - sums[2, lane] if valid else 0.0
        d = (s - o) - sums[3, lane] if valid else 0.0
        sums[4, lane] += a * a
        sums[5, lane] += b * b
        sums[6, lane] += a * b
        sums[7, lane] += d * d
