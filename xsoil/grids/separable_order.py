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
def _valid_area(keys, heights, widths, nx, missing):
    """Valid area of a block, added column by column as the other operators do."""
    area = 0.0
    for q in range(nx):
        valid = 0.0
        for p in range(heights.size):
            valid += heights[p] if keys[p * nx + q] != missing else 0.0
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
    floats = keys.view(values.dtype)
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
                scale = order.WHOLE / area
                n, gaps = _gather(
                    bits[layer], rows, heights, columns, widths, nx, straight, scale, missing, infinite, keys, weights
                )
                if gaps:
                    valid = _valid_area(keys, heights, widths, nx, missing)
                    if valid < 1e-6 * area and valid > 0.0:  # too little of it for the units of area
                        scale = order.WHOLE / valid
                        _gather(
                            bits[layer], rows, heights, columns, widths, nx, straight, scale, missing, infinite, keys,
                            weights,
                        )  # fmt: skip
                    area = valid
                fraction[layer, i, j] = area / cell if cell > 0.0 else 0.0
                if not area > 0.0:
                    result[layer, :, i, j] = np.nan
                elif how == order.QUANTILE:
                    result[layer, 0, i, j] = order.quantile_of(keys, weights, n, q, missing, spot, number)
                elif how == order.MODE:
                    result[layer, 0, i, j] = order.mode_of(keys, floats, weights, n, tally, missing, spot, number)
                else:
                    out = result[layer, :, i, j]
                    order.fractions_of(keys, floats, weights, n, class_keys, tally, missing, spot, number, out)


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
