"""Pixels that one or two grid lines cut, in closed form; compiled.

A pixel is a quad whose edges bulge a little. The part of it on one side of a line is the integral of
min(p, 0) dq round it (Green), where p is the distance from the line. Corners are relative to the lines,
taken off as whole numbers, so that single precision is right to 1e-7 of the pixel.
"""

# numba infers the types of what it compiles:
# mypy: allow-untyped-defs, allow-incomplete-defs

from __future__ import annotations

import numpy as np

from xsoil.grids.sheared_lines import COLUMN, FLOOR_V, LINE, LOW_U, LOW_V, ROW, position, wrap
from xsoil.grids.sheared_types import MARGIN, PITCH
from xsoil.jit import inlined, kernel

# Overlaps below this share of the smaller cell are dropped.
SLIVER = 1e-9

# Rows of the list of outlines (whole numbers): corners clockwise from top left (p, q).
P0, P1, P2, P3, Q0, Q1, Q2, Q3 = (np.uint64(i * PITCH) for i in range(8))

# Rows of the list of shapes: bends of the edges along the rows and along the columns (p, q), areas of parts.
ALONG_P, DOWN_P, ALONG_Q, DOWN_Q = (np.uint64(i * PITCH) for i in range(4))
NEAR, NEXT, UNDER, ACROSS = (np.uint64(i * PITCH) for i in range(4, 8))

ZERO, HALF, ONE, FOUR, THIRD_ = (np.float32(x) for x in (0.0, 0.5, 1.0, 4.0, 1.0 / 3.0))

# Lists are worked on in full vectors of this length.
VECTOR = 32


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
def line_bends(corners, place, cell, low, bits):
    """What the edge after a corner of a grid line bends, times 16."""
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    a, b = (
        position(corners, place + cell, place + low, bits),
        position(corners, place + one + cell, place + one + low, bits),
    )
    c, d = (
        position(corners, place + two + cell, place + two + low, bits),
        position(corners, place + three + cell, place + three + low, bits),
    )
    return (b - a) + (c - d)


@kernel
def middle_bends(corners, lines, x, cell, low, bits):
    """Bends of a pixel along its row and down its columns, from the corners around it."""
    above, below = lines[1] * LINE + MARGIN + x, lines[2] * LINE + MARGIN + x
    along = line_bends(corners, np.uint64(above), cell, low, bits) + line_bends(
        corners, np.uint64(below), cell, low, bits
    )
    down = 0.0
    for k in (1, 2):
        for inner, outer in ((1, 0), (2, 3)):
            here, there = (
                np.uint64(lines[inner] * LINE + MARGIN + x + k),
                np.uint64(lines[outer] * LINE + MARGIN + x + k),
            )
            down += position(corners, here + cell, here + low, bits) - position(
                corners, there + cell, there + low, bits
            )
    return 0.03125 * along, 0.03125 * down


@kernel
def before(a, b, c, d, bits):
    """The line before the farthest of four positions (modulo what 32 bits hold)."""
    more = max(max(np.int32(b - a), np.int32(c - a)), max(np.int32(d - a), np.int32(0)))
    return np.int32(np.int32(a + more) & np.int32(-1 << bits))


@kernel
def row_line(corners, above, below, edges, bits):
    """The row line that a pixel (by its corners on the lines above and below) crosses, where rows are uneven."""
    one = np.uint64(1)
    a, b = corners[above + ROW], corners[above + one + ROW]
    c, d = corners[below + ROW], corners[below + one + ROW]
    row = min(max(max(max(a, b), max(c, d)), 0), edges.size - 1)
    return np.int32(np.int64(np.floor(edges[row] * 2.0**bits)))


@kernel
def own_bends(corners, lines, x, bits, limit):
    """Bends of a pixel whose block has none: (u, v) along the row, (u, v) down the columns; and whether they are
    small enough."""
    along_u, down_u = middle_bends(corners, lines, x, COLUMN, LOW_U, bits)
    along_v, down_v = middle_bends(corners, lines, x, FLOOR_V, LOW_V, bits)
    small = 2.0 * (abs(along_u) + abs(along_v) + abs(down_u) + abs(down_v)) <= limit
    return np.float32(along_u), np.float32(along_v), np.float32(down_u), np.float32(down_v), small


@kernel
def gather_lines(corners, lines, bits, edges, uniform, key, block, bends, limit, listed, cuts, outline, shape):
    """Outlines and bends of the pixels of list 0 (`cuts` of them) that lie across one line: p is the distance from
    it, q that along it. They stay in list 0; those across one line each way go to list 1, those that cannot be cut
    so to list 2. Returns the lengths of all three."""
    one, two = np.uint64(1), np.uint64(2)
    above, below = np.uint64(lines[1] * LINE + MARGIN), np.uint64(lines[2] * LINE + MARGIN)
    at, twice, rest = 0, 0, 0
    for i in range(cuts):
        x = np.uint64(listed[i])
        kind, n = key[x] & 7, np.uint64(block[x])
        if kind > 2:
            listed[PITCH + twice] = x
            listed[2 * PITCH + rest] = x
            twice += kind == 3
            rest += kind == 4
            continue
        along_u, along_v, down_u, down_v = bends[0, n], bends[1, n], bends[2, n], bends[3, n]
        if np.isnan(along_u + along_v):
            along_u, along_v, down_u, down_v, small = own_bends(corners, lines, np.int64(x), bits, limit)
            if not small:
                listed[2 * PITCH + rest] = x
                key[x] += 4 - kind
                rest += 1
                continue
        k = np.uint64(at)
        # Across a row line, u and v change places.
        p, q = (LOW_V, LOW_U) if kind == 2 else (LOW_U, LOW_V)
        p_above, p_below, q_above, q_below = above + p + x, below + p + x, above + q + x, below + q + x
        a, b, c, d = corners[p_above + one], corners[p_above + two], corners[p_below + two], corners[p_below + one]
        e, f, g, h = corners[q_above + one], corners[q_above + two], corners[q_below + two], corners[q_below + one]
        line = before(a, b, c, d, bits)
        if kind == 2 and not uniform:
            line = row_line(corners, above + x + one, below + x + one, edges, bits)
        outline[k], outline[k + P1], outline[k + P2], outline[k + P3] = a - line, b - line, c - line, d - line
        # Of q, differences matter only.
        outline[k + Q0], outline[k + Q1], outline[k + Q2], outline[k + Q3] = 0, f - e, g - e, h - e
        p, q = (k + ALONG_Q, k + ALONG_P) if kind == 2 else (k + ALONG_P, k + ALONG_Q)
        shape[p], shape[p + DOWN_P], shape[q], shape[q + DOWN_P] = along_u, down_u, along_v, down_v
        listed[at] = x
        at += 1
    return at, twice, rest


@kernel
def gather_corners(
    corners, lines, bits, edges, uniform, key, block, bends, limit, listed, twice, at, rest, outline, shape
):
    """Outlines and bends of the `twice` pixels of list 1, from place `at` on: p and q are the distances from the two
    lines. They go to list 0, behind the others; those that cannot be cut so to list 2 (which has `rest`). Returns
    the lengths of both."""
    one, two = np.uint64(1), np.uint64(2)
    above, below = np.uint64(lines[1] * LINE + MARGIN), np.uint64(lines[2] * LINE + MARGIN)
    for i in range(twice):
        x = np.uint64(listed[PITCH + i])
        n, k = np.uint64(block[x]), np.uint64(at)
        along_u, along_v, down_u, down_v = bends[0, n], bends[1, n], bends[2, n], bends[3, n]
        if np.isnan(along_u + along_v):
            along_u, along_v, down_u, down_v, small = own_bends(corners, lines, np.int64(x), bits, limit)
            if not small:
                listed[2 * PITCH + rest] = x
                key[x] += 1
                rest += 1
                continue
        k0, k1, k2, k3 = above + x + one, above + x + two, below + x + two, below + x + one
        a, b, c, d = corners[k0 + LOW_U], corners[k1 + LOW_U], corners[k2 + LOW_U], corners[k3 + LOW_U]
        line = before(a, b, c, d, bits)
        outline[k], outline[k + P1], outline[k + P2], outline[k + P3] = a - line, b - line, c - line, d - line
        a, b, c, d = corners[k0 + LOW_V], corners[k1 + LOW_V], corners[k2 + LOW_V], corners[k3 + LOW_V]
        line = before(a, b, c, d, bits) if uniform else row_line(corners, k0, k3, edges, bits)
        outline[k + Q0], outline[k + Q1], outline[k + Q2], outline[k + Q3] = a - line, b - line, c - line, d - line
        shape[k + ALONG_P], shape[k + DOWN_P], shape[k + ALONG_Q], shape[k + DOWN_Q] = along_u, down_u, along_v, down_v
        listed[at] = x
        at += 1
    return at, rest


@kernel
def vectors(n):
    """The next multiple of a vector's length."""
    return -(-n // VECTOR) * VECTOR


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


@inlined
def edge_integral(a, p, q, bend_p, bend_q, low, high):
    """Integral of p dq over the piece low..high of an edge along which p goes from a to b = a + p, and q
    rises by `q`: of the chord, and of its parabolic bulge to first order."""
    middle = HALF * (low + high)
    bulge = high * high * (HALF - THIRD_ * high) - low * low * (HALF - THIRD_ * low)
    return q * (high - low) * (a + p * middle) + FOUR * (bend_p * q - bend_q * p) * bulge


@kernel
def line_parts(outline, shape, m, bits):
    """Areas of the first m listed pixels (and a few more) where p < 0."""
    scale = np.float32(0.5**bits)
    for i in range(vectors(m)):
        k = np.uint64(i)
        a, b, c, d = outline[k], outline[k + P1], outline[k + P2], outline[k + P3]
        e, f, g, h = outline[k + Q0], outline[k + Q1], outline[k + Q2], outline[k + Q3]
        a, b, c, d = scale * np.float32(a), scale * np.float32(b), scale * np.float32(c), scale * np.float32(d)
        e, f, g, h = scale * np.float32(e), scale * np.float32(f), scale * np.float32(g), scale * np.float32(h)
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


@inlined
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
def corner_parts(outline, shape, first, last, bits):
    """Areas of listed pixels (and a few more) in the four quadrants of p and q."""
    scale, start = np.float32(0.5**bits), np.uint64(first)
    for i in range(vectors(last - first)):
        k = start + np.uint64(i)
        a, b, c, d = outline[k], outline[k + P1], outline[k + P2], outline[k + P3]
        e, f, g, h = outline[k + Q0], outline[k + Q1], outline[k + Q2], outline[k + Q3]
        a, b, c, d = scale * np.float32(a), scale * np.float32(b), scale * np.float32(c), scale * np.float32(d)
        e, f, g, h = scale * np.float32(e), scale * np.float32(f), scale * np.float32(g), scale * np.float32(h)
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
def pieces(near, whole):
    """The two parts of a pixel across one line, of which slivers are nothing."""
    total = np.float64(whole)
    least, near = SLIVER * min(total, 1.0), min(np.float64(near), total)
    far = total - near
    return near if near > least else 0.0, far if far > least else 0.0


@kernel
def list_corners(listed, first, last, width, key, shape, whole, x_far, cell_far, area_far):
    """List the parts of pixels across one line each way; returns how many."""
    count = 0
    for i in range(first, last):
        x, k = np.uint64(listed[i]), np.uint64(i)
        total, cell = np.float64(whole[x]), key[x] >> 3
        least = SLIVER * min(total, 1.0)
        near, right = np.float64(shape[k + NEAR]), np.float64(shape[k + NEXT])
        under, across = np.float64(shape[k + UNDER]), np.float64(shape[k + ACROSS])
        scale = total / (near + right + under + across)
        for part, step in ((near, 0), (right, 1), (under, width), (across, width + 1)):
            x_far[count], cell_far[count], area_far[count] = x, cell + step, part * scale
            count += int(part * scale > least)
    return count
