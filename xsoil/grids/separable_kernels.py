"""Compiled reductions for separable overlaps: source rows are added into a row buffer, then columns are joined.

The order of additions of a target cell is that of its source cells, whatever the window or the thread.
Columns are worked on in strips whose buffers stay in the first-level cache. A strip is first reduced as if
nothing were missing; only where a NaN turns up is it reduced again with a test for each value. Columns are joined with
unsigned indices, which need no test for negative ones.
"""

from __future__ import annotations

import numpy as np

from xsoil.jit import kernel

STRIP = 1024


@kernel
def _add(row, weight, total):
    for j in range(row.size):
        total[j] += weight * np.float64(row[j])


@kernel
def _add4(r0, r1, r2, r3, w0, w1, w2, w3, total):
    for j in range(total.size):
        t = total[j]
        t += w0 * np.float64(r0[j])
        t += w1 * np.float64(r1[j])
        t += w2 * np.float64(r2[j])
        t += w3 * np.float64(r3[j])
        total[j] = t


@kernel
def _add_known(row, weight, length, total, valid):
    for j in range(row.size):
        v = np.float64(row[j])
        known = v == v
        total[j] += weight * v if known else 0.0
        valid[j] += length if known else 0.0


@kernel
def _any_nan(row):
    found = 0
    for j in range(row.size):
        found += row[j] != row[j]
    return found > 0


@kernel
def join_areas(valid, xp, xs, xl, height, width, area, fraction):
    """Valid areas of a row of cells from the valid lengths of its columns, and their fractions of the cells."""
    for j in range(area.size):
        total = 0.0
        for q in range(np.uint64(xp[j]), np.uint64(xp[j + 1])):
            total += xl[q] * valid[np.uint64(xs[q])]
        cell = height * width[j]
        area[j] = total
        fraction[j] = total / cell if cell > 0.0 else 0.0


@kernel
def _length(yp, yl, i):
    """Length that target row i shares with the source."""
    whole = 0.0
    for p in range(yp[i], yp[i + 1]):
        whole += yl[p]
    return whole


@kernel
def weighted_sums(values, yp, ys, yl, wy, xp, xs, xl, wx, height, width, normalise, first, last, result, fraction):
    """Weighted sums, or means, of the target rows `first`..`last`; `fraction` takes the valid part of each cell."""
    layers, _, source_width = values.shape
    total, valid, area = np.empty(source_width), np.empty(source_width), np.empty(width.size)
    for layer in range(layers):
        for i in range(first, last):
            whole, end = _length(yp, yl, i), yp[i + 1]
            for start in range(0, source_width, STRIP):
                stop = min(start + STRIP, source_width)
                t, k = total[start:stop], valid[start:stop]
                t[:] = 0.0
                k[:] = whole
                p = yp[i]
                while p + 4 <= end:
                    _add4(
                        values[layer, ys[p], start:stop],
                        values[layer, ys[p + 1], start:stop],
                        values[layer, ys[p + 2], start:stop],
                        values[layer, ys[p + 3], start:stop],
                        wy[p],
                        wy[p + 1],
                        wy[p + 2],
                        wy[p + 3],
                        t,
                    )
                    p += 4
                while p < end:
                    _add(values[layer, ys[p], start:stop], wy[p], t)
                    p += 1
                if _any_nan(t):
                    t[:] = 0.0
                    k[:] = 0.0
                    for p in range(yp[i], end):
                        _add_known(values[layer, ys[p], start:stop], wy[p], yl[p], t, k)
            join_areas(valid, xp, xs, xl, height[i], width, area, fraction[layer, i])
            for j in range(area.size):
                amount = 0.0
                for q in range(np.uint64(xp[j]), np.uint64(xp[j + 1])):
                    amount += wx[q] * total[np.uint64(xs[q])]
                divisor = area[j] if normalise else 1.0
                result[layer, i, j] = amount / divisor if area[j] > 0.0 else np.nan


@kernel
def _join4(r0, r1, r2, r3, sign, best, probe):
    """Running maximum of sign * value over four rows; a NaN sticks in `probe`."""
    for j in range(best.size):
        a, b, c, d, top = r0[j] * sign, r1[j] * sign, r2[j] * sign, r3[j] * sign, best[j]
        top = a if a > top else top
        top = b if b > top else top
        top = c if c > top else top
        best[j] = d if d > top else top
        probe[j] += ((a + b) + c) + d


@kernel
def _count_known(row, length, valid):
    for j in range(row.size):
        valid[j] += length if row[j] == row[j] else 0.0


@kernel
def extremes(values, yp, ys, yl, xp, xs, xl, height, width, sign, first, last, result, fraction):
    """Minimum (`sign` -1) or maximum (1) of every source cell that a target cell overlaps, in the values' dtype."""
    layers, _, source_width = values.shape
    best, valid, area = np.empty(source_width, values.dtype), np.empty(source_width), np.empty(width.size)
    probe = np.empty(STRIP, values.dtype)
    lowest = best.dtype.type(-np.inf)
    for layer in range(layers):
        for i in range(first, last):
            whole, end = _length(yp, yl, i), yp[i + 1]
            for start in range(0, source_width, STRIP):
                stop = min(start + STRIP, source_width)
                b, k, seen = best[start:stop], valid[start:stop], probe[: stop - start]
                b[:] = lowest
                k[:] = whole
                seen[:] = 0
                for p in range(yp[i], end, 4):  # a row taken twice changes no maximum
                    _join4(
                        values[layer, ys[p], start:stop],
                        values[layer, ys[min(p + 1, end - 1)], start:stop],
                        values[layer, ys[min(p + 2, end - 1)], start:stop],
                        values[layer, ys[min(p + 3, end - 1)], start:stop],
                        sign,
                        b,
                        seen,
                    )
                if _any_nan(seen):  # or opposite infinities, which only costs time
                    k[:] = 0.0
                    for p in range(yp[i], end):
                        _count_known(values[layer, ys[p], start:stop], yl[p], k)
            join_areas(valid, xp, xs, xl, height[i], width, area, fraction[layer, i])
            for j in range(area.size):
                top = lowest
                for q in range(np.uint64(xp[j]), np.uint64(xp[j + 1])):
                    top = max(best[np.uint64(xs[q])], top)
                result[layer, i, j] = sign * top if area[j] > 0.0 else np.nan
