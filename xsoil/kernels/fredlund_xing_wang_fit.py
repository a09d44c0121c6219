"""Retention curves of Fredlund, Xing & Wang fitted to water contents, cell by cell: Levenberg-Marquardt with bounds.

alpha, n and m are searched as logarithms; theta_s is given. What pushes a parameter through its bound leaves it there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsoil.jit import inlined, kernel
from xsoil.kernels.elementary import exp, expm1, log, log1p, where
from xsoil.physics.elementary import Elementary
from xsoil.physics.fredlund_xing_wang import fredlund_xing_wang_sensitivity

__all__ = ["fit"]

Doubles = NDArray[np.float64]

_sensitivity = inlined(fredlund_xing_wang_sensitivity(Elementary(exp, expm1, log, log1p, where, inlined)))

_ITERATIONS = 200
_GAIN = 1e-9  # relative decrease of the sum of squares that still counts
_FLAT = 1e-16  # sum of squares below which nothing is left to fit, per head
_SOFTEST, _STIFFEST = 1e-12, 1e12  # damping


@kernel
def _curve(suction, theta_s, p, theta, jacobian):
    """theta and its derivatives at all suctions."""
    alpha, n, m = math.exp(p[0]), math.exp(p[1]), math.exp(p[2])
    by_alpha, by_n, by_m = jacobian[0], jacobian[1], jacobian[2]
    for i in range(suction.size):
        theta[i], by_alpha[i], by_n[i], by_m[i] = _sensitivity(suction[i], theta_s, alpha, n, m)


@kernel
def _squares(theta, wanted):
    total = 0.0
    for i in range(wanted.size):
        total += (theta[i] - wanted[i]) * (theta[i] - wanted[i])
    return total


@kernel
def _step(normal, slope, free, damping, step):
    """Solve (normal + damping * its diagonal) step = -slope for the free parameters, by Cholesky."""
    factor = np.zeros((3, 3))
    for i in range(3):
        for j in range(i + 1):
            if free[i] and free[j]:
                value = normal[i, j] * (1.0 + damping) + 1e-30 if i == j else normal[i, j]
            else:
                value = 1.0 if i == j else 0.0
            for k in range(j):
                value -= factor[i, k] * factor[j, k]
            factor[i, j] = math.sqrt(max(value, 1e-300)) if i == j else value / factor[j, j]
    for i in range(3):
        value = -slope[i] if free[i] else 0.0
        for k in range(i):
            value -= factor[i, k] * step[k]
        step[i] = value / factor[i, i]
    for i in range(2, -1, -1):
        value = step[i]
        for k in range(i + 1, 3):
            value -= factor[k, i] * step[k]
        step[i] = value / factor[i, i]


@kernel
def _descend(suction, wanted, theta_s, low, high, p, theta, jacobian, tried, its_jacobian):
    """Improve `p` in place; returns the sum of squares and whether it came to rest."""
    count = wanted.size
    normal, slope, step, q = np.empty((3, 3)), np.empty(3), np.empty(3), np.empty(3)
    free = np.empty(3, np.bool_)
    _curve(suction, theta_s, p, theta, jacobian)
    best = _squares(theta, wanted)
    damping = 1e-2
    fresh = True
    for _ in range(_ITERATIONS):
        if best <= _FLAT * count:
            return best, True
        if fresh:
            for i in range(3):
                slope[i] = 0.0
                for h in range(count):
                    slope[i] += jacobian[i, h] * (theta[h] - wanted[h])
                for j in range(i + 1):
                    normal[i, j] = 0.0
                    for h in range(count):
                        normal[i, j] += jacobian[i, h] * jacobian[j, h]
                    normal[j, i] = normal[i, j]
                free[i] = not ((p[i] <= low[i] and slope[i] > 0.0) or (p[i] >= high[i] and slope[i] < 0.0))
            if not (free[0] or free[1] or free[2]):
                return best, True
        _step(normal, slope, free, damping, step)
        for i in range(3):
            q[i] = min(max(p[i] + step[i], low[i]), high[i])
        _curve(suction, theta_s, q, tried, its_jacobian)
        squares = _squares(tried, wanted)
        fresh = squares < best
        if fresh:
            gain = (best - squares) / best
            best = squares
            p[:] = q
            theta[:] = tried
            jacobian[:] = its_jacobian
            damping = max(0.2 * damping, _SOFTEST)
            if gain < _GAIN:
                return best, True
        else:
            damping *= 4.0
            if damping > _STIFFEST:
                return best, True
    return best, False


@kernel
def fit(suction: Doubles, wanted: Doubles, theta_s: Doubles, start: Doubles, low: Doubles, high: Doubles) -> Any:
    """The shape that fits the water contents of each cell best.

    Parameters
    ----------
    suction : ndarray (head,)
        [cm], above 0.
    wanted : ndarray (cell, head)
        Water contents at them [m3 m-3]; cells with NaN give NaN.
    theta_s : ndarray (cell,)
        [m3 m-3].
    start : ndarray (3,)
        alpha [cm-1], n, m to begin with.
    low, high : ndarray (3,)
        Bounds of alpha, n and m.

    Returns
    -------
    shape : ndarray (3, cell)
        alpha, n, m.
    rmse : ndarray (cell,)
        [m3 m-3].
    rested : ndarray of bool (cell,)
        Whether the search came to rest within 200 iterations.
    """
    cells, count = wanted.shape
    shape, rmse, rested = np.full((3, cells), np.nan), np.full(cells, np.nan), np.zeros(cells, np.bool_)
    theta, tried = np.empty(count), np.empty(count)
    jacobian, its_jacobian = np.empty((3, count)), np.empty((3, count))
    bottom, top, p = np.log(low), np.log(high), np.empty(3)
    for cell in range(cells):
        whole = not math.isnan(theta_s[cell])
        for h in range(count):
            whole = whole and not math.isnan(wanted[cell, h])
        if not whole:
            continue
        for i in range(3):
            p[i] = min(max(math.log(start[i]), bottom[i]), top[i])
        squares, rested[cell] = _descend(
            suction, wanted[cell], theta_s[cell], bottom, top, p, theta, jacobian, tried, its_jacobian
        )
        for i in range(3):
            # the logarithm of a bound leads back to its neighbour
            shape[i, cell] = low[i] if p[i] <= bottom[i] else high[i] if p[i] >= top[i] else math.exp(p[i])
        rmse[cell] = math.sqrt(squares / count)
    return shape, rmse, rested
