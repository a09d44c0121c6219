"""Compiled order statistics and deviations of separable overlaps.

For an order statistic a cell's block of values and its weights are gathered and selected from; no list of all pixels
is made. The deviation goes through row buffers as the mean does.
"""

# numba infers the types of what it compiles:
# mypy: allow-untyped-defs, allow-incomplete-defs

from __future__ import annotations

import numpy as np

from xsoil.grids import order_kernels as order
from xsoil.grids.separable_kernels import STRIP, join_areas
from xsoil.jit import kernel

CHUNK = 16
"""Numbers are copied so many at a time, whatever stands behind the last one."""

SPAN = 512
"""Source columns that are prepared together (more where a cell is wider), so that they stay in the cache."""

HALF = 2.0**30
"""A whole cell's height, and its width, in units whose product makes the integer areas."""


@kernel
def _keys(row, out, missing, infinite):
    for s in range(row.size):
        out[s] = order.key_of(row[s], missing, infinite)


@kernel
def _picked_keys(row, columns, out, missing, infinite):
    for s in range(columns.size):
        out[s] = order.key_of(row[columns[s]], missing, infinite)


@kernel
def _weights(wy, wx, out):
    for s in range(wx.size):
        out[s] = np.int64(wy * wx[s])


@kernel
def _known(keys, length, valid, missing):
    for s in range(valid.size):
        valid[s] += length if keys[s] != missing else 0.0


@kernel
def _copy(source, at, nx, target, n):
    for c in range(0, nx, CHUNK):
        a, b = source[at + c : at + c + CHUNK], target[n + c : n + c + CHUNK]
        for s in range(CHUNK):
            b[s] = a[s]


@kernel
def _gather(keys, areas, tall, at, first, nx, cell_keys, cell_weights):
    """Copy a cell's keys and weights, row by row."""
    for p in range(tall):
        _copy(keys[p], at, nx, cell_keys, p * nx)
        _copy(areas[p], first, nx, cell_weights, p * nx)


@kernel
def _clear(counts, most_class):
    other = order.FEW + 1
    counts[: most_class + 1] = 0
    counts[other : other + most_class + 1] = 0


@kernel
def _count(classed, areas, counts):
    """Add a row's areas by class.

    Columns take turns at two sets of counts, because adding to the number that was just stored waits for it. Unsigned
    indices need no test for negative ones, which makes it nearly twice as fast.
    """
    other = np.uint64(order.FEW + 1)
    for s in range(np.uint64(classed.size)):
        counts[np.uint64(classed[s]) + (s & np.uint64(1)) * other] += areas[s]


@kernel
def _reaches(yp, xp, first, last):
    """Most source rows and columns of a cell."""
    tall, wide = 1, 1
    for i in range(first, last):
        tall = max(tall, yp[i + 1] - yp[i])
    for j in range(xp.size - 1):
        wide = max(wide, xp[j + 1] - xp[j])
    return tall, wide


@kernel
def _strip(xp, xs, start):
    """The cells start..stop - 1 whose columns are prepared together, and whether these follow one another."""
    stop, straight = start + 1, True
    while stop < xp.size - 1 and xp[stop + 1] - xp[start] <= SPAN:
        stop += 1
    for j in range(start, stop):
        for s in range(max(xp[j], xp[start] + 1), xp[j + 1]):
            shared = (s == xp[j]) & (xs[s] == xs[s - 1])  # with the cell before
            straight &= shared | (xs[s] == xs[s - 1] + 1)
    return stop, straight


@kernel
def select(values, bits, yp, ys, yl, xp, xs, xl, height, width, how, q, classes, first, last, result, fraction):
    """Quantile, mode or class fractions of the target rows `first`..`last`; `fraction` takes the valid part.

    `result` is (k, classes or 1, rows, columns), `classes` are in the dtype of `values`. Keys, areas and valid
    lengths are made for the source columns of several cells at a time, in long loops, then cells copy theirs; a cell
    wider than SPAN has them made in place.
    """
    number = np.empty(1, values.dtype)
    spot = number.view(bits.dtype)
    missing, infinite = order.largest(spot)
    class_keys, places = order.class_keys_of(classes, spot, number, missing, infinite), order.class_counts_of(classes)
    tall, wide = _reaches(yp, xp, first, last)
    cell_keys, cell_weights, tally = order.scratch(bits, tall * wide, how != order.QUANTILE)
    keys, areas = np.empty((tall, SPAN + CHUNK), bits.dtype), np.empty((tall, SPAN + CHUNK), np.int64)
    classed, line = np.empty((tall, SPAN), np.int32), np.empty(wide, np.int32)
    valid, counts, wx = np.empty(max(wide, SPAN)), tally[0], np.empty(xl.size)
    for j in range(xp.size - 1):
        for s in range(xp[j], xp[j + 1]):
            wx[s] = xl[s] * (HALF / width[j])
    for layer in range(values.shape[0]):
        for i in range(first, last):
            tall, start = yp[i + 1] - yp[i], 0
            while start < xp.size - 1:
                stop, straight = _strip(xp, xs, start)
                a, b = xp[start], xp[stop]
                low = xs[a] if straight and b > a else 0
                length = xs[b - 1] + 1 - low if straight and b > a else b - a
                direct = length > SPAN
                valid[:length] = 0.0
                most_class = -1 if how == order.QUANTILE else 0
                if direct:
                    _clear(counts, order.FEW)
                for p in range(tall):
                    row, k = bits[layer, ys[yp[i] + p]], keys[p, :length]
                    w, c = areas[p, : b - a], classed[p, :length]
                    if direct:
                        k, w = cell_keys[p * length : (p + 1) * length], cell_weights[p * length : (p + 1) * length]
                        c = line[:length]
                    if straight:
                        _keys(row[low : low + length], k, missing, infinite)
                    else:
                        _picked_keys(row, xs[a:b], k, missing, infinite)
                    _known(k, yl[yp[i] + p], valid[:length], missing)
                    _weights(yl[yp[i] + p] * (HALF / height[i]), wx[a:b], w)
                    if most_class >= 0:
                        most = order.classes_of(k, k.view(values.dtype), k.size, c, missing)
                        most_class = max(most, most_class) if most >= 0 else -1
                        if direct and most >= 0:
                            _count(c, w, counts)
                for j in range(start, stop):
                    nx, area, cell = xp[j + 1] - xp[j], 0.0, height[i] * width[j]
                    at = xs[xp[j]] - low if straight and nx > 0 else xp[j] - a
                    for s in range(np.uint64(nx)):
                        area += xl[np.uint64(xp[j]) + s] * valid[np.uint64(at) + s]
                    fraction[layer, i, j] = area / cell if cell > 0.0 else 0.0
                    out, begin, n = result[layer, :, i, j], xp[j] - a, tall * nx
                    if not area > 0.0:
                        out[:] = np.nan
                        continue
                    if n == 1 and how != order.FRACTION:
                        out[0] = order.value_of(keys[0, at], missing, spot, number)
                        continue
                    thin = area < 1e-6 * cell  # so little of it is valid that units of area are too few
                    if most_class >= 0 and not thin:
                        if not direct:
                            _clear(counts, most_class)
                            for p in range(tall):
                                _count(classed[p, at : at + nx], areas[p, begin : begin + nx], counts)
                        for s in range(most_class + 1):
                            counts[s] += counts[order.FEW + 1 + s]
                        if how == order.MODE:
                            out[0] = order.mode_of_counts(counts, most_class)
                        else:
                            order.fractions_of_counts(counts, most_class, places, out)
                        continue
                    if not direct:
                        _gather(keys, areas, tall, at, begin, nx, cell_keys, cell_weights)
                    if thin:
                        for p in range(tall):
                            for s in range(nx):
                                share = yl[yp[i] + p] * xl[xp[j] + s] * (order.WHOLE / area)
                                cell_weights[p * nx + s] = np.int64(share)
                    if how == order.QUANTILE:
                        out[0] = order.quantile_of(cell_keys, cell_weights, n, q, missing, spot, number)
                        continue
                    for s in range(n):
                        cell_weights[s] = 0 if cell_keys[s] == missing else cell_weights[s]
                    if how == order.MODE:
                        out[0] = order.mode_of(cell_keys, cell_weights, n, tally, missing, spot, number)
                    else:
                        order.fractions_of(cell_keys, cell_weights, n, class_keys, tally, out)
                start = stop


@kernel
def _sums(row, weight, anchor, total, valid):
    """Add up differences from the first known value of each column: a constant then has no deviation at all."""
    for j in range(row.size):
        v = np.float64(row[j])
        known = v == v
        first = anchor[j] if anchor[j] == anchor[j] else v
        anchor[j] = first
        total[j] += weight * (v - first) if known else 0.0
        valid[j] += weight if known else 0.0


@kernel
def _squares(row, weight, mean, squares):
    for j in range(row.size):
        d = np.float64(row[j]) - mean[j]
        squares[j] += weight * d * d if row[j] == row[j] else 0.0


@kernel
def deviations(values, yp, ys, yl, xp, xs, xl, height, width, first, last, result, fraction):
    """Population standard deviations of the target rows `first`..`last`.

    Mean and squares about it are taken for each source column, then joined: all terms are positive.
    """
    layers, _, source_width = values.shape
    mean, valid, squares = np.empty(source_width), np.empty(source_width), np.empty(source_width)
    buffer, area = np.empty(STRIP), np.empty(width.size)
    for layer in range(layers):
        for i in range(first, last):
            for start in range(0, source_width, STRIP):
                stop = min(start + STRIP, source_width)
                m, k, s = mean[start:stop], valid[start:stop], squares[start:stop]
                anchor = buffer[: stop - start]
                anchor[:] = np.nan
                m[:] = 0.0
                k[:] = 0.0
                s[:] = 0.0
                for p in range(yp[i], yp[i + 1]):
                    _sums(values[layer, ys[p], start:stop], yl[p], anchor, m, k)
                for j in range(m.size):
                    m[j] = anchor[j] + m[j] / k[j] if k[j] > 0.0 else 0.0
                for p in range(yp[i], yp[i + 1]):
                    _squares(values[layer, ys[p], start:stop], yl[p], m, s)
            join_areas(valid, xp, xs, xl, height[i], width, area, fraction[layer, i])
            for j in range(area.size):
                total, spread, middle = 0.0, 0.0, np.nan
                for q in range(np.uint64(xp[j]), np.uint64(xp[j + 1])):
                    c = np.uint64(xs[q])
                    if valid[c] > 0.0:
                        middle = middle if middle == middle else mean[c]
                        total += xl[q] * valid[c] * (mean[c] - middle)
                middle += total / area[j]
                for q in range(np.uint64(xp[j]), np.uint64(xp[j + 1])):
                    c = np.uint64(xs[q])
                    d = mean[c] - middle
                    spread += xl[q] * (squares[c] + valid[c] * d * d)
                result[layer, i, j] = np.sqrt(spread / area[j]) if area[j] > 0.0 else np.nan
