"""Pixels that one or two grid lines cut, in closed form; compiled.

A pixel is a quad whose edges bulge a little. The part of it on one side of a line is the integral of
min(p, 0) dq round it (Green), where p is the distance from the line. Corners are relative to the lines,
taken off in double precision, so that single precision is right to 1e-7 of the pixel.
"""

# numba infers the types of what it compiles:
# mypy: allow-untyped-defs, allow-incomplete-defs

from __future__ import annotations

import numpy as np

from xsoil.grids.sheared_lines import RING, wrap
from xsoil.grids.sheared_types import PITCH
from xsoil.jit import kernel

# Overlaps below this share of the smaller cell are dropped.
SLIVER = 1e-9

# Rows of the list of shapes: corners clockwise from top left (p, q), bends of the edges along the rows and
# along the columns (p, q), areas of parts.
P0, P1, P2, P3, Q0, Q1, Q2, Q3 = (np.uint64(i * PITCH) for i in range(8))
ALONG_P, DOWN_P, ALONG_Q, DOWN_Q = (np.uint64(i * PITCH) for i in range(8, 12))
NEAR, NEXT, UNDER, ACROSS = (np.uint64(i * PITCH) for i in range(12, 16))

ZERO, HALF, ONE, FOUR, THIRD_ = (np.float32(x) for x in (0.0, 0.5, 1.0, 4.0, 1.0 / 3.0))


@kernel
def pixel_blocks(x0, n, step, out):
    """Block of the lattice, counted from that of the first pixel, of each pixel of a stretch."""
    for x in range(n):
        out[x] = (x0 + x) // step - x0 // step


@kernel
def row_bends(row, height, lattice, x0, n, tolerance, limit, out):
    """How far the edges of pixels deviate from their chords at the middle in `height` rows from `row` on,
    for each block of the lattice: (u, v) of edges along the rows, (u, v) of edges down the columns. NaN
    where the block has corners of its own, or the bends vary by more than `tolerance` or exceed `limit`."""
    step, patch = lattice.step, lattice.patch
    i = row // step - lattice.first_row
    t = (row + 0.5 * height - (lattice.first_row + i) * step) / step
    # Second derivatives of the cubic through -1, 0, 1, 2.
    wa, wc, wd = 1.0 - t, 1.0 - 3.0 * t, t
    turn = lattice.period if lattice.period > 0.0 else np.inf
    scale, part = -0.125 / (step * step), 0.5 * height / step
    first, last = x0 // step - lattice.first_column, (x0 + n - 1) // step - lattice.first_column
    out[:, : last - first + 1] = 0.0
    for k in range(last - first + 1):
        if patch[i, first + k] >= 0:
            out[:, k] = np.nan
    for which in range(2):
        nodes, way = (lattice.u, turn) if which == 0 else (lattice.v, np.inf)
        along, down = 0.0, 0.0
        for k in range(last - first + 2):
            j, before = first + k + 1, (along, down)
            b, c = nodes[i + 1, j], nodes[i + 2, j]
            upper = wrap(nodes[i + 1, j - 1] - b, way) + wrap(nodes[i + 1, j + 1] - b, way)
            lower = wrap(nodes[i + 2, j - 1] - c, way) + wrap(nodes[i + 2, j + 1] - c, way)
            along = scale * ((1.0 - t) * upper + t * lower)
            down = scale * (
                wa * wrap(nodes[i, j] - b, way) + wc * wrap(c - b, way) + wd * wrap(nodes[i + 3, j] - b, way)
            )
            if k > 0:
                a, d = 0.5 * (before[0] + along), 0.5 * (before[1] + down)
                change = max(abs(a - along), abs(d - down)) + part * abs(scale * (upper - lower))
                sane = change <= tolerance and 4.0 * (abs(a) + abs(d)) <= limit
                out[which, k - 1] += a if sane else np.nan
                out[2 + which, k - 1] += d if sane else np.nan


@kernel
def middle_bends(lines, i0, i1, i2, i3, x):
    """Bends of a pixel along its row and down its columns, from the corners around it."""
    b, c = lines[i1, x + 1], lines[i1, x + 2]
    e, d = lines[i2, x + 1], lines[i2, x + 2]
    along = (b - lines[i1, x]) + (c - lines[i1, x + 3]) + (e - lines[i2, x]) + (d - lines[i2, x + 3])
    down = (b - lines[i0, x + 1]) + (e - lines[i3, x + 1]) + (c - lines[i0, x + 2]) + (d - lines[i3, x + 2])
    return 0.03125 * along, 0.03125 * down


@kernel
def some_corner(u, i1, i2, x):
    """True where some corner of a pixel is known."""
    b, c, d, e = u[i1, x + np.uint64(1)], u[i1, x + np.uint64(2)], u[i2, x + np.uint64(2)], u[i2, x + np.uint64(1)]
    return b == b or c == c or d == d or e == e


@kernel
def gather(u, v, lines, shift, edges, uniform, rows, r0, key, block, bends, limit, listed, which, m, at, shape, rest):
    """Shapes of the `m` pixels of list `which` from place `at` of list 0 on; from list 0, those across two
    lines go to list 1 instead; those that cannot be cut so to list 2 (which has `rest`). Returns the lengths
    of all three."""
    i0, i1, i2, i3 = lines
    one, two = np.uint64(1), np.uint64(2)
    corners, start = 0, which * PITCH
    for i in range(m):
        x = np.uint64(listed[start + i])
        kind = key[x] & 7
        if kind > 2 and which == 0:
            listed[PITCH + corners] = x
            listed[2 * PITCH + rest] = x
            corners += kind == 3
            rest += kind == 4 or (kind == 5 and some_corner(u, i1, i2, x))
            continue
        b, c, d, e = u[i1, x + one], u[i1, x + two], u[i2, x + two], u[i2, x + one]
        f, g, h, j = v[i1, x + one], v[i1, x + two], v[i2, x + two], v[i2, x + one]
        # Relative to the lines; where none is crossed, to a corner, as differences matter only.
        high, low = (b if b > c else c), (d if d > e else e)
        line_u = np.floor((high if high > low else low) + shift) - shift
        high, low = (f if f > g else g), (h if h > j else j)
        line_v = np.floor(high if high > low else low)
        if not uniform:
            row = max(max(rows[i1, x + one], rows[i1, x + two]), max(rows[i2, x + two], rows[i2, x + one]))
            line_v = edges[min(max(row + r0 - RING, 0), edges.size - 1)]
        line_u = b if kind == 2 else line_u
        line_v = f if kind == 1 else line_v
        n = np.uint64(block[x])
        along_u, along_v, down_u, down_v = bends[0, n], bends[1, n], bends[2, n], bends[3, n]
        if np.isnan(along_u + along_v):
            a, z = middle_bends(u, i0, i1, i2, i3, x)
            along_u, down_u = np.float32(a), np.float32(z)
            a, z = middle_bends(v, i0, i1, i2, i3, x)
            along_v, down_v = np.float32(a), np.float32(z)
            if not 2.0 * (abs(along_u) + abs(along_v) + abs(down_u) + abs(down_v)) <= limit:
                listed[2 * PITCH + rest] = x
                key[x] += 4 - kind
                rest += 1
                continue
        k = np.uint64(at)
        # Across a row line, u and v change places.
        p, q = (Q0, P0) if kind == 2 else (P0, Q0)
        bend_p, bend_q = (ALONG_Q, ALONG_P) if kind == 2 else (ALONG_P, ALONG_Q)
        p, q, bend_p, bend_q = p + k, q + k, bend_p + k, bend_q + k
        shape[p], shape[p + P1], shape[p + P2], shape[p + P3] = b - line_u, c - line_u, d - line_u, e - line_u
        shape[q], shape[q + P1], shape[q + P2], shape[q + P3] = f - line_v, g - line_v, h - line_v, j - line_v
        shape[bend_p], shape[bend_p + P1], shape[bend_q], shape[bend_q + P1] = along_u, down_u, along_v, down_v
        listed[at] = x
        at += 1
    return at, corners, rest


@kernel
def crossing(a, b):
    """Where on 0..1 the straight line from a to b is zero; anywhere if it is not."""
    d = a - b
    t = a / (d if d != ZERO else ONE)
    t = t if t > ZERO else ZERO
    return t if t < ONE else ONE


@kernel
def below(a, b, t):
    """The piece (from, to) of 0..1 on which the line from a to b is negative; empty if from = to."""
    return (ZERO if a < ZERO else t), (ONE if b < ZERO else t)


@kernel
def above(a, b, t):
    """The piece on which it is not negative."""
    return (t if a < ZERO else ZERO), (t if b < ZERO else ONE)


@kernel
def edge_integral(a, p, q, bend_p, bend_q, low, high):
    """Integral of p dq over the piece low..high of an edge along which p goes from a to b = a + p, and q
    rises by `q`: of the chord, and of its parabolic bulge to first order."""
    middle = HALF * (low + high)
    bulge = high * high * (HALF - THIRD_ * high) - low * low * (HALF - THIRD_ * low)
    return q * (high - low) * (a + p * middle) + FOUR * (bend_p * q - bend_q * p) * bulge


@kernel
def line_parts(shape, m):
    """Areas of the first m listed pixels where p < 0."""
    for i in range(m):
        k = np.uint64(i)
        a, b, c, d = shape[k], shape[k + P1], shape[k + P2], shape[k + P3]
        e, f, g, h = shape[k + Q0], shape[k + Q1], shape[k + Q2], shape[k + Q3]
        along_p, along_q, down_p, down_q = shape[k + ALONG_P], shape[k + ALONG_Q], shape[k + DOWN_P], shape[k + DOWN_Q]
        low, high = below(a, b, crossing(a, b))
        total = edge_integral(a, b - a, f - e, along_p, along_q, low, high)
        low, high = below(b, c, crossing(b, c))
        total += edge_integral(b, c - b, g - f, down_p, down_q, low, high)
        low, high = below(c, d, crossing(c, d))
        total += edge_integral(c, d - c, h - g, along_p, along_q, low, high)
        low, high = below(d, a, crossing(d, a))
        total += edge_integral(d, a - d, e - h, down_p, down_q, low, high)
        shape[k + NEAR] = abs(total)


@kernel
def corner_edge(a, b, c, d, bend_p, bend_q):
    """`edge_integral` of an edge (p from a to b, q from c to d) in the quadrants where p and q are < 0;
    p > 0; q > 0; both > 0. Exactly 0 in a quadrant that the edge does not touch."""
    p, q = b - a, d - c
    t, s = crossing(a, b), crossing(c, d)
    low_p, high_p = below(a, b, t)
    low_q, high_q = below(c, d, s)
    beyond_p, end_p = above(a, b, t)
    beyond_q, end_q = above(c, d, s)
    low, high = common(low_p, high_p, low_q, high_q)
    near = edge_integral(a, p, q, bend_p, bend_q, low, high)
    low, high = common(beyond_p, end_p, low_q, high_q)
    right = edge_integral(a, p, q, bend_p, bend_q, low, high)
    low, high = common(low_p, high_p, beyond_q, end_q)
    under = edge_integral(a, p, q, bend_p, bend_q, low, high)
    low, high = common(beyond_p, end_p, beyond_q, end_q)
    return near, right, under, edge_integral(a, p, q, bend_p, bend_q, low, high)


@kernel
def common(a, b, c, d):
    """What the pieces a..b and c..d have in common; empty if from = to."""
    low, high = (a if a > c else c), (b if b < d else d)
    return low, (high if high > low else low)


@kernel
def corner_parts(shape, first, last):
    """Areas of listed pixels in the four quadrants of p and q."""
    for i in range(first, last):
        k = np.uint64(i)
        a, b, c, d = shape[k], shape[k + P1], shape[k + P2], shape[k + P3]
        e, f, g, h = shape[k + Q0], shape[k + Q1], shape[k + Q2], shape[k + Q3]
        along_p, along_q, down_p, down_q = shape[k + ALONG_P], shape[k + ALONG_Q], shape[k + DOWN_P], shape[k + DOWN_Q]
        near0, right0, under0, across0 = corner_edge(a, b, e, f, along_p, along_q)
        near1, right1, under1, across1 = corner_edge(b, c, f, g, down_p, down_q)
        near2, right2, under2, across2 = corner_edge(c, d, g, h, along_p, along_q)
        near3, right3, under3, across3 = corner_edge(d, a, h, e, down_p, down_q)
        shape[k + NEAR] = abs(near0 + near1 + near2 + near3)
        shape[k + NEXT] = abs(right0 + right1 + right2 + right3)
        shape[k + UNDER] = abs(under0 + under1 + under2 + under3)
        shape[k + ACROSS] = abs(across0 + across1 + across2 + across3)


@kernel
def share_out(listed, lines, cuts, width, key, shape, whole, weight, x_far, cell_far, area_far):
    """Leave the listed pixels (the first `lines` of them across one line) the part in their first cell,
    and note the others; returns how many."""
    count = 0
    for i in range(lines):
        x, k = np.uint64(listed[i]), np.uint64(i)
        total = whole[x]
        least = SLIVER * min(total, 1.0)
        near = min(np.float64(shape[k + NEAR]), total)
        far = total - near
        weight[x] = near if near > least else 0.0
        x_far[count], area_far[count] = x, far
        cell_far[count] = (key[x] >> 3) + (width if key[x] & 7 == 2 else 1)
        count += far > least
    for i in range(lines, cuts):
        x, k = np.uint64(listed[i]), np.uint64(i)
        total, cell = whole[x], key[x] >> 3
        least = SLIVER * min(total, 1.0)
        near, right = np.float64(shape[k + NEAR]), np.float64(shape[k + NEXT])
        under, across = np.float64(shape[k + UNDER]), np.float64(shape[k + ACROSS])
        scale = total / (near + right + under + across)
        weight[x] = near * scale if near * scale > least else 0.0
        for part, step in ((right, 1), (under, width), (across, width + 1)):
            if part * scale > least:
                x_far[count], cell_far[count], area_far[count] = x, cell + step, part * scale
                count += 1
    return count
