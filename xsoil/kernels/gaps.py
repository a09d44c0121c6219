"""Gaps in time of many series: straight lines across them, and penalised least squares.

Cells are independent and nothing is reordered, so that a result does not depend on the neighbours of a cell, on the
blocks of cells, or on the number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsoil.jit import kernel
from xsoil.threads import in_bands, read_only

__all__ = ["FEWEST", "interpolate", "smooth"]

# Cells that go through the times together: their rows stay in the first-level cache.
BLOCK = 512
FEWEST = 3
"""Observations below which cross-validation cannot tell signal from noise."""

# Powers of ten of the smoothing parameter that are searched: from hardly any smoothing to a nearly constant series.
LOWEST, HIGHEST = -4.0, 8.0
GOLDEN = 0.6180339887498949
# Bisquare weights vanish at so many standard deviations (Garcia 2010, eq. 12, after Heiberger and Becker 1992).
BISQUARE, ROUNDS = 4.685, 3

Array = NDArray[Any]
Wide = NDArray[np.float64]


@kernel
def _interpolate(series: Array, days: Wide, widest: float, ends: bool, column: int, out: Array, filled: Array) -> None:
    """All times of one strip of cells, which begins at `column`."""
    last = np.empty(BLOCK, np.int64)
    for start in range(column, out.shape[1], BLOCK):
        cells = min(BLOCK, out.shape[1] - start)
        last[:cells] = -1
        for t in range(days.size):
            for i in range(cells):
                x = series[t, start + i]
                filled[t, start + i] = 0
                if not abs(x) < np.inf:
                    out[t, start + i] = np.nan
                    continue
                out[t, start + i] = x
                before = last[i]
                if before < 0:
                    for s in range(t):
                        if ends and days[t] - days[s] <= widest:
                            out[s, start + i] = x
                            filled[s, start + i] = 1
                elif before < t - 1 and days[t] - days[before] <= widest:
                    low, high = np.float64(out[before, start + i]), np.float64(x)
                    slope = (high - low) / (days[t] - days[before])
                    for s in range(before + 1, t):
                        out[s, start + i] = low + slope * (days[s] - days[before])
                        filled[s, start + i] = 1
                last[i] = t
        for i in range(cells):
            if ends and last[i] >= 0:
                for s in range(last[i] + 1, days.size):
                    if days[s] - days[last[i]] <= widest:
                        out[s, start + i] = out[last[i], start + i]
                        filled[s, start + i] = 1


def interpolate(
    series: Array, days: Wide, *, widest: float = np.inf, ends: bool = False, workers: int = 1
) -> tuple[Array, NDArray[np.uint8]]:
    """Bridge gaps by straight lines.

    Parameters
    ----------
    series : array (time, cells)
        What is not finite is missing.
    days : array (time,)
        Ascending, in days.
    widest : float
        Gaps between observations further apart [d] stay; beyond the first and last one, times further away.
    ends : bool
        Continue the first and the last observation to the ends of the series.
    workers : int
        Threads.

    Returns
    -------
    values : array (time, cells)
        In the type of `series`.
    filled : uint8 array (time, cells)
        1 where a gap was bridged.
    """
    times, cells = series.shape
    source = read_only(np.ascontiguousarray(series))
    out, filled = np.empty((times, cells), series.dtype), np.empty((times, cells), np.uint8)

    def strip(first: int, last: int) -> None:
        at, to = first * BLOCK, min(last * BLOCK, cells)
        _interpolate(source, days, float(widest), bool(ends), at, out[:, :to], filled[:, :to])

    in_bands(strip, -(-cells // BLOCK), workers)
    return out, filled


@kernel
def _solve(weight: Wide, target: Wide, penalty: float, order: int, rows: Wide) -> None:
    """The series z that minimises sum w (y - z)^2 + s z'Pz, and the diagonal of the inverse of its matrix.

    P is the second difference with mirrored ends (`order` 1) or its square (`order` 2), whose eigenvectors are those of
    the discrete cosine transform (DCT-II), and eigenvalues 2 - 2 cos(pi k / n) or their squares: for order 2 the
    minimum is that of Garcia (2010), eq. 6. The matrix W + s P has five diagonals at most; it is factored as L D L',
    and the diagonal of its inverse follows from the end backwards (Hutchinson and de Hoog 1985).
    """
    n = weight.size
    z, inverse, d, one, two = rows[0], rows[1], rows[2], rows[3], rows[4]
    for i in range(n):
        edge = i == 0 or i == n - 1
        if order == 1:
            d[i] = weight[i] + penalty * (1.0 if edge else 2.0)
        else:
            d[i] = weight[i] + penalty * (2.0 if edge else 6.0)
        z[i] = weight[i] * target[i]
        if i >= 1:
            d[i] -= one[i - 1] * one[i - 1] * d[i - 1]
            z[i] -= one[i - 1] * z[i - 1]
        if i >= 2:
            d[i] -= two[i - 2] * two[i - 2] * d[i - 2]
            z[i] -= two[i - 2] * z[i - 2]
        beside = -1.0 if order == 1 else (-3.0 if i == 0 or i == n - 2 else -4.0)
        one[i] = penalty * beside if i < n - 1 else 0.0
        if i >= 1:
            one[i] -= one[i - 1] * d[i - 1] * two[i - 1]
        one[i] /= d[i]
        two[i] = penalty / d[i] if order == 2 and i < n - 2 else 0.0
    beyond = beyond_one = 0.0  # of the inverse: (i + 1, i + 1), (i + 1, i + 2)
    further = 0.0  # (i + 2, i + 2)
    for i in range(n - 1, -1, -1):
        z[i] /= d[i]
        if i < n - 1:
            z[i] -= one[i] * z[i + 1]
        if i < n - 2:
            z[i] -= two[i] * z[i + 2]
        near = -one[i] * beyond - two[i] * beyond_one
        far = -one[i] * beyond_one - two[i] * further
        inverse[i] = 1.0 / d[i] - one[i] * near - two[i] * far
        further, beyond, beyond_one = beyond, inverse[i], near


@kernel
def _score(weight: Wide, target: Wide, penalty: float, order: int, rows: Wide) -> float:
    """Generalised cross-validation (Craven and Wahba 1978) of the observations."""
    _solve(weight, target, penalty, order, rows)
    z, inverse = rows[0], rows[1]
    squares, freedom, count = 0.0, 0.0, 0.0
    for i in range(weight.size):
        if weight[i] > 0.0:
            squares += weight[i] * (target[i] - z[i]) ** 2
            freedom += weight[i] * inverse[i]
            count += 1.0
    left = count - freedom
    return count * squares / (left * left) if left > 1e-6 * count else np.inf


@kernel
def _best(weight: Wide, target: Wide, order: int, rows: Wide) -> float:
    """Power of ten of the penalty with the best score: on a grid, then by golden section."""
    best, power = np.inf, HIGHEST
    for k in range(int(HIGHEST - LOWEST) + 1):
        found = _score(weight, target, 10.0 ** (LOWEST + k), order, rows)
        if found < best:
            best, power = found, LOWEST + k
    a, b = max(power - 1.0, LOWEST), min(power + 1.0, HIGHEST)
    x, y = b - GOLDEN * (b - a), a + GOLDEN * (b - a)
    fx, fy = _score(weight, target, 10.0**x, order, rows), _score(weight, target, 10.0**y, order, rows)
    for _ in range(10):
        if fx <= fy:
            b, y, fy = y, x, fx
            x = b - GOLDEN * (b - a)
            fx = _score(weight, target, 10.0**x, order, rows)
        else:
            a, x, fx = x, y, fy
            y = a + GOLDEN * (b - a)
            fy = _score(weight, target, 10.0**y, order, rows)
    return (a + b) / 2.0


@kernel
def _reweigh(weight: Wide, target: Wide, seen: Wide, rows: Wide) -> None:
    """Bisquare weights of the residuals, each over its standard deviation from the median one and its leverage."""
    z, inverse = rows[0], rows[1]
    residuals = np.empty(int(seen.sum()))
    k = 0
    for i in range(weight.size):
        if seen[i] > 0.0:
            residuals[k] = abs(target[i] - z[i])
            k += 1
    deviation = 1.4826 * np.median(residuals)
    for i in range(weight.size):
        if seen[i] > 0.0:
            leverage = min(weight[i] * inverse[i], 1.0 - 1e-12)
            scale = BISQUARE * deviation * np.sqrt(1.0 - leverage)
            ratio = abs(target[i] - z[i]) / scale if scale > 0.0 else 0.0
            weight[i] = (1.0 - ratio * ratio) ** 2 if ratio < 1.0 else 0.0


@kernel
def _smooth(
    series: Array, at: NDArray[np.int64], length: int, penalty: float, order: int, robust: bool, first: int, last: int,
    out: Wide, spread: Wide, chosen: Wide,
) -> None:  # fmt: skip
    """Cells from `first` to `last`, one after the other."""
    weight, target, seen, rows = np.empty(length), np.empty(length), np.empty(length), np.empty((5, length))
    for cell in range(first, last):
        weight[:], target[:] = 0.0, 0.0
        count, mean = 0, 0.0
        for t in range(at.size):
            x = np.float64(series[t, cell])
            if abs(x) < np.inf:
                weight[at[t]], target[at[t]] = 1.0, x
                count += 1
                mean += (x - mean) / count
        out[:, cell], spread[:, cell], chosen[cell] = np.nan, np.nan, np.nan
        if count < FEWEST:
            continue
        # A constant is not penalised: without the mean, rounding is that of the changes.
        for i in range(length):
            target[i] = target[i] - mean if weight[i] > 0.0 else 0.0
            seen[i] = weight[i]
        used = penalty
        for round in range(ROUNDS + 1 if robust else 1):
            if np.isnan(penalty):
                used = 10.0 ** _best(weight, target, order, rows)
            _solve(weight, target, used, order, rows)
            if robust and round < ROUNDS:
                _reweigh(weight, target, seen, rows)
        squares, freedom, there = 0.0, 0.0, 0.0
        for i in range(length):
            if weight[i] > 0.0:
                squares += weight[i] * (target[i] - rows[0, i]) ** 2
                freedom += weight[i] * rows[1, i]
                there += 1.0
        variance = squares / max(there - freedom, 1e-6 * there)
        for t in range(at.size):
            out[t, cell] = rows[0, at[t]] + mean
            spread[t, cell] = np.sqrt(variance * (1.0 + rows[1, at[t]]))
        chosen[cell] = used


def smooth(
    series: Array,
    at: NDArray[np.int64],
    *,
    penalty: float | None = None,
    order: int = 2,
    robust: bool = False,
    workers: int = 1,
) -> tuple[Wide, Wide, Wide]:
    """Smooth series by DCT penalised least squares in time (Garcia 2010), solved directly.

    Parameters
    ----------
    series : array (time, cells)
        What is not finite is missing.
    at : int array (time,)
        Place of each time on a regular axis from 0 on, ascending.
    penalty : float, optional
        Smoothing parameter s; by default the best one of each cell by generalised cross-validation.
    order : int
        2: bends cost (Garcia 2010); 1: slopes cost, so that a gap is bridged by a straight line.
    robust : bool
        Bisquare weights in three rounds, so that outliers do not count.
    workers : int
        Threads.

    Returns
    -------
    values : array (time, cells)
        NaN where a cell has fewer than `FEWEST` observations.
    spread : array (time, cells)
        Standard deviation of an observation there about the value.
    penalty : array (cells,)
        That was used.
    """
    times, cells = series.shape
    source, places = read_only(np.ascontiguousarray(series)), read_only(np.ascontiguousarray(at, np.int64))
    out, spread, chosen = np.empty((times, cells)), np.empty((times, cells)), np.empty(cells)
    given = np.nan if penalty is None else float(penalty)
    length = int(at[-1]) + 1

    def part(first: int, last: int) -> None:
        _smooth(source, places, length, given, int(order), bool(robust), first, last, out, spread, chosen)

    in_bands(part, cells, workers)
    return out, spread, chosen
