"""Sums over the pairs of simulated and observed series, and the gradients of a function of these sums.

Series are (time, cells), vectorised across cells; each cell is summed in the order of time in double precision,
so that a result does not depend on its neighbours or the number of threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsoil.jit import kernel
from xsoil.threads import in_bands, read_only

__all__ = ["SUMS", "by_series", "sums"]

SUMS = ("pairs", "simulated", "observed", "simulated2", "observed2", "difference2")
"""Rows of the result: number of pairs, sums of the values, of their squares, of the squares of their differences."""

# Cells worth a thread.
_SMALLEST = 128

Array = NDArray[Any]
Wide = NDArray[np.float64]


@kernel
def _sums(simulated: Array, observed: Array, scale: Wide, bias: Wide, first: int, last: int, total: Wide) -> None:
    n, s1, o1, s2, o2, d2 = total[0], total[1], total[2], total[3], total[4], total[5]
    for day in range(simulated.shape[0]):
        for c in range(first, last):
            seen, value = scale[c] * np.float64(simulated[day, c]) + bias[c], np.float64(observed[day, c])
            there = math.fabs(seen - value) < np.inf
            s, o = seen if there else 0.0, value if there else 0.0
            n[c] += 1.0 if there else 0.0
            s1[c] += s
            o1[c] += o
            s2[c] += s * s
            o2[c] += o * o
            d2[c] += (s - o) * (s - o)


@kernel
def _by_series(
    simulated: Array, observed: Array, scale: Wide, bias: Wide, first: int, last: int, by: Wide, found: Array,
    by_operator: Wide,
) -> None:  # fmt: skip
    by_s1, by_s2, by_d2 = by[0], by[1], by[2]
    by_scale, by_bias = by_operator[0], by_operator[1]
    for day in range(simulated.shape[0]):
        for c in range(first, last):
            theta, o = np.float64(simulated[day, c]), np.float64(observed[day, c])
            s = scale[c] * theta + bias[c]
            there = math.fabs(s - o) < np.inf
            part = by_s1[c] + 2.0 * (by_s2[c] * s + by_d2[c] * (s - o))
            by_seen, x = part if there else 0.0, theta if there else 0.0
            found[day, c] = scale[c] * by_seen
            by_scale[c] += by_seen * x
            by_bias[c] += by_seen


def _in_pairs(simulated: Array, observed: Array) -> tuple[Array, Array]:
    """Both contiguous, in the type of the simulation."""
    return tuple(read_only(np.ascontiguousarray(x, simulated.dtype)) for x in (simulated, observed))  # type: ignore[return-value]


def sums(simulated: Array, observed: Array, scale: Wide, bias: Wide, *, workers: int = 1) -> Wide:
    """Sums over the days on which scale * simulated + bias and the observation are finite.

    Parameters
    ----------
    simulated, observed : (time, cells) array
        NaN where missing.
    scale, bias : (cells,) float64 array
    workers : int
        Threads.

    Returns
    -------
    (6, cells) float64 array
        In the order of `SUMS`.
    """
    simulated, observed = _in_pairs(simulated, observed)
    scale, bias = (read_only(np.ascontiguousarray(x)) for x in (scale, bias))
    total = np.zeros((len(SUMS), scale.size))

    def band(first: int, last: int) -> None:
        _sums(simulated, observed, scale, bias, first, last, total)

    in_bands(band, scale.size, workers, smallest=_SMALLEST)
    return total


def by_series(
    simulated: Array, observed: Array, scale: Wide, bias: Wide, by: Wide, *, workers: int = 1
) -> tuple[Array, Wide]:
    """Derivatives by the series, the scale and the bias, from those by the sums.

    Parameters
    ----------
    simulated, observed, scale, bias
        As in `sums`.
    by : (3, cells) float64 array
        Derivatives by the sums of the simulation, of its squares and of the squares of the differences.
    workers : int
        Threads.

    Returns
    -------
    found : (time, cells) array
        In the type of `simulated`; 0 where there is no pair.
    by_operator : (2, cells) float64 array
        By scale and by bias.
    """
    simulated, observed = _in_pairs(simulated, observed)
    scale, bias, by = (read_only(np.ascontiguousarray(x)) for x in (scale, bias, by))
    found, by_operator = np.empty(simulated.shape, simulated.dtype), np.zeros((2, scale.size))

    def band(first: int, last: int) -> None:
        _by_series(simulated, observed, scale, bias, first, last, by, found, by_operator)

    in_bands(band, scale.size, workers, smallest=_SMALLEST)
    return found, by_operator
