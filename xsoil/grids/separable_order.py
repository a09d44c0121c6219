"""Compiled order statistics and deviations of separable overlaps.

For an order statistic a cell's block of values and its weights are gathered and selected from; no list of all pixels
is made. The deviation goes through row buffers as the mean does.
"""

# numba infers the types of what it compiles:
# mypy: allow-untyped-defs, allow-incomplete-defs

from __future__ import annotations

import numpy as np

from xsoil.grids import order_kernels as order
from xsoil.grids.separable_kernels import STRIP
from xsoil.jit import kernel

CHUNK = 16
"""Pixels of a row are gathered so many at a time, whatever stands behind the last one; `xl` has room for it."""


@kernel
def _gather(bits, rows, heights, columns, widths, nx, straight, scale, missing, infinite, keys, weights):
    """Keys and weights of a cell's block, row by row; returns how many, and whether one is missing."""
    n, gaps = 0, 0
    for p in range(rows.size):
        row, wy = bits[rows[p]], heights[p] * scale
        if straight:
            for c in range(0, nx, CHUNK):
                source, wx = row[columns[0] + c : columns[0] + c + CHUNK], widths[c : c + CHUNK]
                k, w = keys[n + c : n + c + CHUNK], weights[n + c : n + c + CHUNK]
                for j in range(CHUNK):
                    key = order.key_of(source[j], missing, infinite)
                    k[j] = key
                    w[j] = np.int64(wy * wx[j]) if key != missing else 0
        else:
            for q in range(nx):
                key = order.key_of(row[columns[q]], missing, infinite)
                keys[n + q] = key
                weights[n + q] = np.int64(wy * widths[q]) if key != missing else 0
        n += nx
    for i in range(n):
        gaps += keys[i] == missing
    return n, gaps > 0


@kernel
def _count(values, rows, heights, columns, widths, nx, scale, counts, most_class):
    """Areas of whole numbers from 0 to FEW - 1, by index, straight from the block.

    Returns the largest of them, -1 where there is any other value, and whether a value is missing. Columns take turns
    at two sets of counts, because adding to the number that was just stored waits for it. Up to `most_class` counts
    are cleared first.
    """
    counts[: most_class + 1] = 0
    counts[order.FEW : order.FEW + most_class + 1] = 0
    found, gaps = 0, False
    for p in range(rows.size):
        row, wy = values[rows[p]], heights[p] * scale
        for s in range(nx):
            v = row[columns[s]]
            if not ((v >= 0) & (v < order.FEW)):
                if v == v:
                    return -1, max(found, most_class), gaps
                gaps = True
                continue
            c = np.int64(v)
            if c != v:
                return -1, max(found, most_class), gaps
            counts[c + order.FEW * (s & 1)] += np.int64(wy * widths[s])
            found = max(found, c)
    for c in range(found + 1):
        counts[c] += counts[order.FEW + c]
    return found, max(found, most_class), gaps


@kernel
def _valid_area(values, rows, heights, columns, widths, nx):
    """Valid area of a block, added column by column as the other operators do."""
    area = 0.0
    for q in range(nx):
        valid = 0.0
        for p in range(heights.size):
            v = values[rows[p], columns[q]]
            valid += heights[p] if v == v else 0.0
        area += widths[q] * valid
    return area


@kernel
def select(values, bits, yp, ys, yl, xp, xs, xl, height, width, how, q, classes, first, last, result, fraction):
    """Quantile, mode or class fractions of the target rows `first`..`last`; `fraction` takes the valid part.

    `result` is (k, classes or 1, rows, columns), `classes` are in the dtype of `values`.
    """
    number = np.empty(1, values.dtype)
    spot = number.view(bits.dtype)
    missing, infinite = order.largest(spot)
    class_keys = order.class_keys_of(classes, spot, number, missing, infinite)
    tall, wide = 0, 0
    for i in range(first, last):
        tall = max(tall, yp[i + 1] - yp[i])
    for j in range(xp.size - 1):
        wide = max(wide, xp[j + 1] - xp[j])
    keys, weights, tally = order.scratch(bits, max(tall * wide, 1))
    counts, dirty = tally[0], order.FEW - 1
    for layer in range(values.shape[0]):
        for i in range(first, last):
            rows, heights = ys[yp[i] : yp[i + 1]], yl[yp[i] : yp[i + 1]]
            whole = 0.0
            for p in range(heights.size):
                whole += heights[p]
            for j in range(xp.size - 1):
                nx, columns, widths = xp[j + 1] - xp[j], xs[xp[j] : xp[j + 1]], xl[xp[j] : xp[j + 1] + CHUNK]
                area, cell = 0.0, height[i] * width[j]
                for s in range(nx):
                    area += widths[s] * whole
                if not area > 0.0:
                    result[layer, :, i, j], fraction[layer, i, j] = np.nan, 0.0
                    continue
                straight = (columns[nx - 1] - columns[0] == nx - 1) & (columns[0] + nx + CHUNK <= bits.shape[2])
                valid, scale, most_class = area, order.WHOLE / area, -1
                for again in range(2):
                    gaps = False
                    if how != order.QUANTILE:
                        most_class, dirty, gaps = _count(
                            values[layer], rows, heights, columns, widths, nx, scale, counts, dirty
                        )
                    if most_class < 0:
                        n, gaps = _gather(
                            bits[layer], rows, heights, columns, widths, nx, straight, scale, missing, infinite, keys,
                            weights,
                        )  # fmt: skip
                    if again == 1 or not gaps:
                        break
                    valid = _valid_area(values[layer], rows, heights, columns, widths, nx)
                    if not 0.0 < valid < 1e-6 * area:
                        break
                    scale = order.WHOLE / valid  # else there are too few units of area
                fraction[layer, i, j] = valid / cell if cell > 0.0 else 0.0
                out = result[layer, :, i, j]
                if not valid > 0.0:
                    out[:] = np.nan
                elif how == order.QUANTILE:
                    out[0] = order.quantile_of(keys, weights, n, q, missing, spot, number)
                elif how == order.MODE and most_class >= 0:
                    out[0] = order.mode_of_counts(counts, most_class)
                elif how == order.MODE:
                    out[0] = order.mode_of(keys, weights, n, tally, missing, spot, number)
                elif most_class >= 0:
                    order.fractions_of_counts(counts, most_class, classes, out)
                else:
                    order.fractions_of(keys, weights, n, class_keys, tally, out)


@kernel
def _sums(row, weight, total, valid):
    for j in range(row.size):
        v = np.float64(row[j])
        known = v == v
        total[j] += weight * v if known else 0.0
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
    for layer in range(layers):
        for i in range(first, last):
            for start in range(0, source_width, STRIP):
                stop = min(start + STRIP, source_width)
                m, k, s = mean[start:stop], valid[start:stop], squares[start:stop]
                m[:] = 0.0
                k[:] = 0.0
                s[:] = 0.0
                for p in range(yp[i], yp[i + 1]):
                    _sums(values[layer, ys[p], start:stop], yl[p], m, k)
                for j in range(m.size):
                    m[j] = m[j] / k[j] if k[j] > 0.0 else 0.0
                for p in range(yp[i], yp[i + 1]):
                    _squares(values[layer, ys[p], start:stop], yl[p], m, s)
            for j in range(xp.size - 1):
                area, total, spread = 0.0, 0.0, 0.0
                for c in range(xp[j], xp[j + 1]):
                    weight = xl[c] * valid[xs[c]]
                    area += weight
                    total += weight * mean[xs[c]]
                for c in range(xp[j], xp[j + 1]):
                    d = mean[xs[c]] - total / area
                    spread += xl[c] * squares[xs[c]]
                    spread += xl[c] * valid[xs[c]] * d * d
                cell = height[i] * width[j]
                fraction[layer, i, j] = area / cell if cell > 0.0 else 0.0
                result[layer, i, j] = np.sqrt(spread / area) if area > 0.0 else np.nan
