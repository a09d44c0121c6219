"""Pixels that one or two grid lines cut, in closed form; compiled.

A pixel is a quad whose edges bulge a little. The part of it on one side of a line is the integral of
min(p, 0) dq round it (Green), where p is the distance from the line. Corners are relative to the lines,
taken off as whole numbers, so that single precision is right to 1e-7 of the pixel.
"""

# numba infers the types of what it compiles:
# mypy: allow-untyped-defs, allow-incomplete-defs

from __future__ import annotations

import numpy as np

from xsoil.grids.sheared_bends import own_bends
from xsoil.grids.sheared_lines import LINE, LOW_U, LOW_V, ROW
from xsoil.grids.sheared_types import MARGIN, PITCH
from xsoil.jit import inlined, kernel

# Overlaps below this share of the smaller cell are dropped.
SLIVER = 1e-9

# Parts of the list of outlines (whole numbers): pairs of corners (left, right) above and below, their p and their q.
P_ABOVE, P_BELOW, Q_ABOVE, Q_BELOW = (np.uint64(2 * i * PITCH) for i in range(4))

# Rows of the list of parts: areas in the four quadrants.
NEAR, NEXT, UNDER, ACROSS = (np.uint64(i * PITCH) for i in range(4))

# What comes in four numbers: bends of the edges along the row and down the columns (p), the same of q.
FOURS = np.uint64(4)

ZERO, HALF, ONE, FOUR, THIRD_ = (np.float32(x) for x in (0.0, 0.5, 1.0, 4.0, 1.0 / 3.0))

# Lists are worked on in full vectors of this length.
VECTOR = 32


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
def look_closer(corners, lines, bits, key, block, fours, limit, listed, cuts, own):
    """Bends of those of the listed pixels whose blocks have none into `own`; those that bend too much are left to
    the general way."""
    for i in range(cuts):
        x = np.uint64(listed[i])
        kind = key[x] & 7
        if kind > 3 or not np.isnan(fours[8 * block[x]] + fours[8 * block[x] + 2]):
            continue
        along_u, along_v, down_u, down_v, small = own_bends(corners, lines, np.int64(x), bits, limit)
        if not small:
            key[x] += 4 - kind
        a, b = (2, 0) if kind == 2 else (0, 2)
        own[4 * x + a], own[4 * x + a + 1], own[4 * x + b], own[4 * x + b + 1] = along_u, down_u, along_v, down_v


@kernel
def gather_lines(corners, lines, key, block, fours, listed, cuts, outline, curves):
    """Outlines and bends of the pixels of list 0 (`cuts` of them) that lie across one line: p is the distance from
    it, q that along it. They stay in list 0; those across one line each way go to list 1, those that cannot be cut
    so to list 2. Returns the lengths of all three."""
    one, two = np.uint64(1), np.uint64(2)
    above, below = np.uint64(lines[1] * LINE + MARGIN + 1), np.uint64(lines[2] * LINE + MARGIN + 1)
    at, twice, rest = np.uint64(0), np.uint64(PITCH), np.uint64(2 * PITCH)
    for i in range(cuts):
        x = np.uint64(listed[i])
        kind = key[x] & 7
        # Written always, counted where it holds; across a row line, u and v change places.
        swap = np.uint64(1) if kind == 2 else np.uint64(0)
        p, q = LOW_U + swap * (LOW_V - LOW_U), LOW_V - swap * (LOW_V - LOW_U)
        k, f, b = two * at, FOURS * at, np.uint64(block[x])
        f_of = FOURS * (two * b + swap)
        outline[k + P_ABOVE], outline[k + P_ABOVE + one] = corners[above + p + x], corners[above + p + x + one]
        outline[k + P_BELOW], outline[k + P_BELOW + one] = corners[below + p + x], corners[below + p + x + one]
        outline[k + Q_ABOVE], outline[k + Q_ABOVE + one] = corners[above + q + x], corners[above + q + x + one]
        outline[k + Q_BELOW], outline[k + Q_BELOW + one] = corners[below + q + x], corners[below + q + x + one]
        for j in range(4):
            curves[f + np.uint64(j)] = fours[f_of + np.uint64(j)]
        listed[at], listed[twice], listed[rest] = x, x, x
        at += np.uint64(kind <= 2)
        twice += np.uint64(kind == 3)
        rest += np.uint64(kind == 4)
    return np.int64(at), np.int64(twice) - PITCH, np.int64(rest) - 2 * PITCH


@kernel
def gather_corners(corners, lines, block, fours, listed, twice, at, outline, curves):
    """Outlines and bends of the `twice` pixels of list 1, from place `at` on: p and q are the distances from the two
    lines. They go to list 0, behind the others; returns its length."""
    one, two = np.uint64(1), np.uint64(2)
    above, below = np.uint64(lines[1] * LINE + MARGIN + 1), np.uint64(lines[2] * LINE + MARGIN + 1)
    for i in range(twice):
        x, n = np.uint64(listed[PITCH + i]), np.uint64(at + i)
        k, f, f_of = two * n, FOURS * n, np.uint64(8) * np.uint64(block[x])
        p, q = x + LOW_U, x + LOW_V
        outline[k + P_ABOVE], outline[k + P_ABOVE + one] = corners[above + p], corners[above + p + one]
        outline[k + P_BELOW], outline[k + P_BELOW + one] = corners[below + p], corners[below + p + one]
        outline[k + Q_ABOVE], outline[k + Q_ABOVE + one] = corners[above + q], corners[above + q + one]
        outline[k + Q_BELOW], outline[k + Q_BELOW + one] = corners[below + q], corners[below + q + one]
        for j in range(4):
            curves[f + np.uint64(j)] = fours[f_of + np.uint64(j)]
        listed[n] = x
    return at + twice


@kernel
def take_own(listed, cuts, block, fours, own, curves):
    """The bends that `look_closer` found."""
    for i in range(cuts):
        x = listed[i]
        if np.isnan(fours[8 * block[x]] + fours[8 * block[x] + 2]):
            curves[4 * i : 4 * i + 4] = own[4 * x : 4 * x + 4]


@kernel
def row_lines(corners, lines, edges, bits, key, listed, cuts, outline, across):
    """The lines that listed pixels lie across (of those across one each way the row line), where rows are uneven."""
    above, below = np.uint64(lines[1] * LINE + MARGIN + 1), np.uint64(lines[2] * LINE + MARGIN + 1)
    one = np.uint64(1)
    for i in range(cuts):
        x, k = np.uint64(listed[i]), np.uint64(2 * i)
        if key[x] & 7 == 1:
            a, b = outline[k + P_ABOVE], outline[k + P_ABOVE + one]
            d, c = outline[k + P_BELOW], outline[k + P_BELOW + one]
            across[i] = before(a, b, c, d, bits)
        else:
            across[i] = row_line(corners, above + x, below + x, edges, bits)


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
def line_parts(outline, curves, across, even, m, bits, shape):
    """Areas of the first m listed pixels (and a few more) where p < 0. Lines are found here where rows are `even`,
    else given."""
    scale, one, two = np.float32(0.5**bits), np.uint64(1), np.uint64(2)
    for i in range(vectors(m)):
        n = np.uint64(i)
        k, f = two * n, FOURS * n
        a, b = outline[k + P_ABOVE], outline[k + P_ABOVE + one]
        d, c = outline[k + P_BELOW], outline[k + P_BELOW + one]
        line = before(a, b, c, d, bits) if even else across[n]
        a, b = scale * np.float32(np.int32(a - line)), scale * np.float32(np.int32(b - line))
        c, d = scale * np.float32(np.int32(c - line)), scale * np.float32(np.int32(d - line))
        # Of q, differences matter only.
        e, g, h = outline[k + Q_ABOVE], outline[k + Q_BELOW + one], outline[k + Q_BELOW]
        q = scale * np.float32(np.int32(outline[k + Q_ABOVE + one] - e))
        g, h = scale * np.float32(np.int32(g - e)), scale * np.float32(np.int32(h - e))
        along_p, down_p = curves[f], curves[f + one]
        along_q, down_q = curves[f + two], curves[f + np.uint64(3)]
        low, high = below(a, b, crossing(a, b))
        total = edge_integral(a, b - a, q, along_p, along_q, low, high)
        low, high = below(b, c, crossing(b, c))
        total += edge_integral(b, c - b, g - q, down_p, down_q, low, high)
        low, high = below(c, d, crossing(c, d))
        total += edge_integral(c, d - c, h - g, along_p, along_q, low, high)
        low, high = below(d, a, crossing(d, a))
        total += edge_integral(d, a - d, ZERO - h, down_p, down_q, low, high)
        shape[n + NEAR] = abs(total)


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
def corner_parts(outline, curves, across, even, first, last, bits, shape):
    """Areas of listed pixels (and a few more) in the four quadrants of p and q."""
    scale, start, one, two = np.float32(0.5**bits), np.uint64(first), np.uint64(1), np.uint64(2)
    for i in range(vectors(last - first)):
        n = start + np.uint64(i)
        k, m = two * n, FOURS * n
        a, b = outline[k + P_ABOVE], outline[k + P_ABOVE + one]
        d, c = outline[k + P_BELOW], outline[k + P_BELOW + one]
        line = before(a, b, c, d, bits)
        a, b = scale * np.float32(np.int32(a - line)), scale * np.float32(np.int32(b - line))
        c, d = scale * np.float32(np.int32(c - line)), scale * np.float32(np.int32(d - line))
        e, f = outline[k + Q_ABOVE], outline[k + Q_ABOVE + one]
        h, g = outline[k + Q_BELOW], outline[k + Q_BELOW + one]
        line = before(e, f, g, h, bits) if even else across[n]
        e, f = scale * np.float32(np.int32(e - line)), scale * np.float32(np.int32(f - line))
        g, h = scale * np.float32(np.int32(g - line)), scale * np.float32(np.int32(h - line))
        along_p, down_p = curves[m], curves[m + one]
        along_q, down_q = curves[m + two], curves[m + np.uint64(3)]
        near0, right0, under0, across0 = corner_edge(a, b, e, f, along_p, along_q)
        near1, right1, under1, across1 = corner_edge(b, c, f, g, down_p, down_q)
        near2, right2, under2, across2 = corner_edge(c, d, g, h, along_p, along_q)
        near3, right3, under3, across3 = corner_edge(d, a, h, e, down_p, down_q)
        shape[n + NEAR] = abs(near0 + near1 + near2 + near3)
        shape[n + NEXT] = abs(right0 + right1 + right2 + right3)
        shape[n + UNDER] = abs(under0 + under1 + under2 + under3)
        shape[n + ACROSS] = abs(across0 + across1 + across2 + across3)


@kernel
def share_lines(listed, lines, width, key, shape, whole, weight, x_far, cell_far, area_far):
    """Leave the areas of pixels across one line that lie in their first cells in `weight`, and list the others;
    slivers are nothing. Returns how many are listed."""
    count = np.uint64(0)
    for i in range(lines):
        x = np.uint64(listed[i])
        total, near, first = np.float64(whole[x]), np.float64(shape[np.uint64(i) + NEAR]), key[x]
        least, near = SLIVER * min(total, 1.0), min(near, total)
        far = total - near
        weight[x] = near if near > least else 0.0
        x_far[count], cell_far[count], area_far[count] = x, (first >> 3) + (width if first & 7 == 2 else 1), far
        count += np.uint64(far > least)
    return np.int64(count)


@kernel
def list_corners(listed, first, last, width, key, shape, whole, x_far, cell_far, area_far, count):
    """List the parts of pixels across one line each way; returns how many are listed then."""
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
