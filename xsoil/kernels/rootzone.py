"""The exponential filter over many series with gaps: cells side by side, day after day.

Cells are independent and nothing is reordered, so that a result does not depend on the neighbours of a cell, on the
blocks of cells or time, or on the number of threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsoil.jit import kernel
from xsoil.threads import in_bands, read_only

__all__ = ["run"]

# Cells that go through the days together: their rows stay in the first-level cache.
BLOCK = 512

Array = NDArray[Any]
Wide = NDArray[np.float64]


@kernel
def _filter(moisture: Array, steps: Wide, scale: Wide, value: Wide, weight: Wide, column: int, out: Array) -> None:
    """All times of one strip of cells, which begins at `column` of the series; brings `value` and `weight` to the end.

    `weight` is the sum of exp(-age / T) over the observations so far, so that its inverse after an observation is the
    gain of the recursive form, K / (K + exp(-dt / T)), and between observations it only decays.
    """
    # Rows of one buffer, so that the compiler sees that they do not overlap.
    rows = np.empty((4, BLOCK + 8))
    mean, total, kept, inside = rows[0], rows[1], rows[2], rows[3]
    for start in range(0, scale.size, BLOCK):
        cells = min(BLOCK, scale.size - start)
        first = column + start
        for i in range(cells):
            mean[i], total[i], inside[i] = value[start + i], weight[start + i], scale[start + i]
        known = np.nan
        for t in range(steps.size):
            if steps[t] != known:  # exponentials anew only where the step is another
                known = steps[t]
                for i in range(cells):
                    kept[i] = math.exp(-known / inside[i])
            for i in range(cells):
                x = np.float64(moisture[t, first + i])
                there = abs(x) < np.inf
                decayed = total[i] * kept[i]
                before = mean[i] if mean[i] == mean[i] else x  # the first observation is taken as it is
                updated = before + (x - before) / (decayed + 1.0)
                mean[i] = updated if there else mean[i]
                total[i] = decayed + 1.0 if there else decayed
            for i in range(cells):
                out[t, first + i] = mean[i]
        for i in range(cells):
            value[start + i], weight[start + i] = mean[i], total[i]


def run(
    moisture: Array,
    steps: Wide,
    scale: Array,
    *,
    state: tuple[Wide, Wide] | None = None,
    skip: int = 0,
    workers: int = 1,
) -> tuple[Array, tuple[Wide, Wide]]:
    """Run the exponential filter of Wagner et al. (1999) for independent cells.

    Parameters
    ----------
    moisture : array (time, cells) or (time, 1)
        Observations; NaN where there is none.
    steps : array (time,)
        Days since the time before; the first one since the end of `state`, without effect where there is none.
    scale : array (cells,)
        Time scale T [d]; a cell where it is not positive and finite is NaN.
    state : tuple of arrays (cells,), optional
        Filtered value (NaN before the first observation) and sum of weights at the end of the times before; not
        written to.
    skip : int
        Times at the start that are run but not returned.
    workers : int
        Threads.

    Returns
    -------
    values : array (time - skip, cells)
        Filtered series in the type of `moisture`: from the first observation on without a gap.
    state : tuple of arrays (cells,)
        As `state`, after the last time.
    """
    times, cells = moisture.shape[0], int(scale.shape[0])
    value, weight = (np.array(start, np.float64) for start in state or (np.full(cells, np.nan), np.zeros(cells)))
    scale = np.where((scale > 0) & (scale < np.inf), scale, np.nan).astype(np.float64)
    series = read_only(np.ascontiguousarray(np.broadcast_to(moisture, (times, cells))))
    out = np.empty((times, cells), moisture.dtype)

    def strip(first: int, last: int) -> None:
        at = slice(first * BLOCK, min(last * BLOCK, cells))
        _filter(series, steps, scale[at], value[at], weight[at], at.start, out)

    in_bands(strip, -(-cells // BLOCK), workers)
    return out[skip:], (value, weight)
