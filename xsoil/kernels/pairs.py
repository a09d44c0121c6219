"""Every map against every other in one pass over their cells."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsoil.jit import kernel

Array = NDArray[Any]


def pair_moments(maps: Array) -> Array:
    """Moments of all pairs of maps over the cells where both are finite.

    Parameters
    ----------
    maps : (maps, cells) array

    Returns
    -------
    (maps, maps, 12) float64 array
        In the order of `xsoil.evaluation.metrics.MOMENTS`, the first index being the simulation and the second the
        observation. Sums run over the cells in their order, so they depend on the values and their order only.
    """
    finite = np.isfinite(maps)
    # About a value near their means squares do not cancel, and sums of tiles stay small.
    shift = np.where(finite, maps, 0.0).sum(axis=1) / np.maximum(finite.sum(axis=1), 1)
    whole, some, cross, gap = _pair_sums(np.ascontiguousarray(maps.T), shift)
    count = some[0] + whole[0, 0]
    total, square = some[1] + whole[1, :, None], some[2] + whole[2, :, None]
    low, high = np.minimum(some[3], whole[3, :, None]), np.maximum(some[4], whole[4, :, None])
    cross, gap = (np.tril(sums) + np.tril(sums, -1).T for sums in (cross, gap))
    n = np.maximum(count, 1.0)
    mean = np.where(count > 0, shift[:, None] + total / n, 0.0)
    spread = np.maximum(square - total**2 / n, 0.0)
    difference = mean - mean.T
    found = [
        count, mean, mean.T, difference, spread, spread.T, cross - total * total.T / n,
        np.maximum(gap - n * difference**2, 0.0), low, high, low.T, high.T,
    ]  # fmt: skip
    return np.stack(found, axis=-1)


@kernel
def _pair_sums(values, shift):
    """Sums over cells (cells, maps): of the cells where every map has a value, and of the others.

    Where every map has one, all but products and differences are sums of a map and not of a pair.
    """
    cells, n = values.shape
    whole = np.zeros((5, n))  # [0, 0] their number; sums, squares, lowest and highest of each map
    some = np.zeros((5, n, n))  # the same of each pair
    whole[3], some[3] = np.inf, np.inf
    whole[4], some[4] = -np.inf, -np.inf
    cross, gap = np.zeros((n, n)), np.zeros((n, n))  # below the diagonal, of all cells
    value, centred, known = np.empty(n), np.empty(n), np.empty(n, np.int64)
    for cell in range(cells):
        found = 0
        for i in range(n):
            value[i] = values[cell, i]
            centred[i] = value[i] - shift[i]
            known[found] = i
            found += np.isfinite(value[i])
        if found == n:
            whole[0, 0] += 1.0
            for i in range(n):
                whole[1, i] += centred[i]
                whole[2, i] += centred[i] * centred[i]
                whole[3, i] = min(whole[3, i], value[i])
                whole[4, i] = max(whole[4, i], value[i])
            for i in range(n):
                for j in range(i + 1):
                    difference = value[i] - value[j]
                    cross[i, j] += centred[i] * centred[j]
                    gap[i, j] += difference * difference
            continue
        for i in known[:found]:
            for j in known[:found]:
                some[0, i, j] += 1.0
                some[1, i, j] += centred[i]
                some[2, i, j] += centred[i] * centred[i]
                some[3, i, j] = min(some[3, i, j], value[i])
                some[4, i, j] = max(some[4, i, j], value[i])
                if j <= i:
                    difference = value[i] - value[j]
                    cross[i, j] += centred[i] * centred[j]
                    gap[i, j] += difference * difference
    return whole, some, cross, gap
