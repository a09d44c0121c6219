"""Compiled sampling at target centres: the nearest cell, bilinear on 4 centres, cubic (Keys) on 16.

Positions are in source cells along increasing coordinates: cell i spans [i, i + 1), its centre is i + 0.5. Nodes are
met in increasing coordinate, so that neither the window nor the source's orientation shows in the sums. An axis is
the tuple (cells, turned over, cyclic, start, cells of the window), see `place`.
"""
# mypy: allow-untyped-defs, allow-incomplete-defs

from __future__ import annotations

import numpy as np

from xsoil.grids.points import ON_EDGE
from xsoil.jit import kernel


@kernel
def place(node, axis):
    """Index in the window of cell `node` (counted in increasing coordinate); -1 where there is none."""
    cells, turned, cyclic, start, size = axis
    if cyclic:
        node %= cells
    elif node < 0 or node >= cells:
        return -1
    at = (cells - 1 - node if turned else node) - start
    if cyclic:
        at %= cells
    return at if 0 <= at < size else -1


@kernel
def _inside(position, axis):
    return (axis[2] and position == position) or -ON_EDGE <= position <= axis[0] + ON_EDGE


@kernel
def _between(position):
    """The centre at or below a position, and how far (0 to 1) the position lies above it."""
    below = np.floor(position - 0.5 + ON_EDGE)
    part = position - 0.5 - below
    return np.int64(below), part if part > ON_EDGE else 0.0


@kernel
def nearest(values, rows, columns, y_axis, x_axis, first, result, fraction):
    """The value of the cell that holds each position; a position on an edge belongs to the higher cell."""
    down, along = np.int64(rows.shape[1] > 1), np.int64(columns.shape[0] > 1)
    for layer in range(values.shape[0]):
        for i in range(rows.shape[0]):
            for j in range(columns.shape[1]):
                y, x = rows[i, j * down], columns[i * along, j]
                r = c = -1
                if y == y and x == x:
                    r = place(np.int64(np.floor(y + ON_EDGE)), y_axis)
                    c = place(np.int64(np.floor(x + ON_EDGE)), x_axis)
                known = r >= 0 and c >= 0 and values[layer, r, c] == values[layer, r, c]
                result[layer, first + i, j] = values[layer, r, c] if known else np.nan
                fraction[layer, first + i, j] = 1.0 if known else 0.0


@kernel
def bilinear(values, rows, columns, y_axis, x_axis, min_valid, first, result, fraction):
    """Bilinear on the 4 centres around; where some are missing the mean of the others by weight, if that is enough."""
    down, along = np.int64(rows.shape[1] > 1), np.int64(columns.shape[0] > 1)
    for layer in range(values.shape[0]):
        for i in range(rows.shape[0]):
            for j in range(columns.shape[1]):
                y, x = rows[i, j * down], columns[i * along, j]
                total, weight, whole = 0.0, 0.0, False
                if _inside(y, y_axis) and _inside(x, x_axis):
                    row, ty = _between(y)
                    column, tx = _between(x)
                    c0, c1 = place(column, x_axis), place(column + 1, x_axis)
                    whole = True
                    for a in range(2):
                        wy = ty if a else 1.0 - ty
                        if wy == 0.0:
                            continue
                        r = place(row + a, y_axis)
                        for b in range(2):
                            w = wy * (tx if b else 1.0 - tx)
                            if w == 0.0:
                                continue
                            c = c1 if b else c0
                            v = np.float64(values[layer, r, c]) if r >= 0 and c >= 0 else np.nan
                            if v == v:
                                total += w * v
                                weight += w
                            else:
                                whole = False
                share = 1.0 if whole else weight
                enough = share > 0.0 and share >= min_valid - 1e-9
                result[layer, first + i, j] = total / weight if enough else np.nan
                fraction[layer, first + i, j] = share


@kernel
def _keys(t, weights):
    """Weights of the centres at -1, 0, 1, 2 for a position 0 <= t < 1: Keys (1981), a = -0.5."""
    s = 1.0 - t
    weights[0] = -0.5 * t * s * s
    weights[1] = (1.5 * t - 2.5) * t * t + 1.0
    weights[2] = (1.5 * s - 2.5) * s * s + 1.0
    weights[3] = -0.5 * s * t * t


@kernel
def cubic(values, rows, columns, y_axis, x_axis, first, result, fraction):
    """Cubic convolution on the 16 centres around; NaN where one of those that weigh anything is missing."""
    down, along = np.int64(rows.shape[1] > 1), np.int64(columns.shape[0] > 1)
    wy, wx, c = np.empty(4), np.empty(4), np.empty(4, np.int64)
    for layer in range(values.shape[0]):
        for i in range(rows.shape[0]):
            for j in range(columns.shape[1]):
                y, x = rows[i, j * down], columns[i * along, j]
                total = np.nan
                if _inside(y, y_axis) and _inside(x, x_axis):
                    row, ty = _between(y)
                    column, tx = _between(x)
                    _keys(ty, wy)
                    _keys(tx, wx)
                    for b in range(4):
                        c[b] = place(column - 1 + b, x_axis)
                    total = 0.0
                    for a in range(4):
                        if wy[a] == 0.0:
                            continue
                        r = place(row - 1 + a, y_axis)
                        line = 0.0
                        for b in range(4):
                            if wx[b] != 0.0:
                                line += wx[b] * np.float64(values[layer, r, c[b]]) if r >= 0 and c[b] >= 0 else np.nan
                        total += wy[a] * line
                result[layer, first + i, j] = total
                fraction[layer, first + i, j] = 1.0 if total == total else 0.0


@kernel
def _cubic(a, b, c, d, turn):
    """Coefficients of t, t^2, t^3 of the cubic through a, b, c, d at -1, 0, 1, 2, less b; on the shorter way round."""
    a, c, d = a - b, c - b, d - b
    if turn > 0.0:
        a, c, d = a - turn * np.rint(a / turn), c - turn * np.rint(c / turn), d - turn * np.rint(d / turn)
    return c - a / 3.0 - d / 6.0, 0.5 * (a + c), (d - a) / 6.0 - 0.5 * c


@kernel
def between_nodes(y, x, good, first_row, first_col, block_row, block_col, step, turn, down, along):
    """Positions of a tile's centres in the good blocks, from nodes (one before the first block, two after the last).

    `first_row`, `first_col`: the tile's first cell; `block_row`, `block_col`: its first block. `turn`: cells of a
    full turn along x, or 0.
    """
    rows, columns = down.shape
    nodes, share = y.shape[1], 1.0 / step  # a power of two: exact
    vy, vx = np.empty(nodes), np.empty(nodes)
    for i in range(rows):
        bi, t = (first_row + i) // step - block_row, (first_row + i) % step * share
        for j in range(nodes):
            p1, p2, p3 = _cubic(y[bi, j], y[bi + 1, j], y[bi + 2, j], y[bi + 3, j], 0.0)
            vy[j] = y[bi + 1, j] + t * (p1 + t * (p2 + t * p3))
            p1, p2, p3 = _cubic(x[bi, j], x[bi + 1, j], x[bi + 2, j], x[bi + 3, j], turn)
            vx[j] = x[bi + 1, j] + t * (p1 + t * (p2 + t * p3))
        for b in range(good.shape[1]):
            if not good[bi, b]:
                continue
            y0, (y1, y2, y3) = vy[b + 1], _cubic(vy[b], vy[b + 1], vy[b + 2], vy[b + 3], 0.0)
            x0, (x1, x2, x3) = vx[b + 1], _cubic(vx[b], vx[b + 1], vx[b + 2], vx[b + 3], turn)
            start = (block_col + b) * step - first_col
            low, high = max(start, 0), min(start + step, columns)
            ys, xs, before = down[i, low:high], along[i, low:high], low - start
            for k in range(high - low):
                s = (before + k) * share
                ys[k] = y0 + s * (y1 + s * (y2 + s * y3))
                xs[k] = x0 + s * (x1 + s * (x2 + s * x3))
            if turn > 0.0:
                for k in range(high - low):
                    xs[k] -= turn * np.floor((xs[k] + ON_EDGE) / turn)
