"""Loops over a stretch of a row of pixels, made so that the compiler vectorises them.

Corners are whole numbers: the target column and row that hold one, and its position in units of 2**-bits cells
modulo 2**(32 - bits) cells (`COLUMN`, `LOW_U`, `FLOOR_V`, `LOW_V`; `ROW` is the row where rows are uneven). So
differences within a pixel are exact in 32 bits, as is the side of a line that a corner lies on.

Loops write few arrays and read few (beyond some eight pairs the compiler gives up proving that they do not
overlap); rows of a matrix lie in one flat array at constant distances; indices are unsigned where that spares the
check for negative ones.
"""

from __future__ import annotations

import numpy as np

from xsoil.grids.sheared_types import MARGIN, PITCH
from xsoil.jit import bits_of, kernel

# Adding and subtracting it rounds to multiples of 2**-30 (index_map.QUANTUM).
ROUND = 1.5 * 2.0**22

# Its bits: those of a sum with it are larger by the other number in units of 2**-30.
ROUND_BITS = int(np.float64(ROUND).view(np.int64))

THIRD, SIXTH = 1.0 / 3.0, 1.0 / 6.0

# Cells around a tile that are told apart: a pixel that reaches into the tile and crosses two lines or
# more is seen to do so, whatever the tile.
RING = 2

# Column of a corner that is nowhere.
NOWHERE = -(2**30)

# Rows of a grid line's corners, and the numbers that a line takes.
COLUMN, LOW_U, FLOOR_V, LOW_V, ROW = (np.uint64(i * PITCH) for i in range(5))
LINE = 5 * PITCH


@kernel
def wrap(d, period):
    """A difference of columns on the shorter way round (period 0 or infinite: as it is)."""
    half = 0.5 * period
    return d - (period if d > half else -period if d < -half else 0.0)


@kernel
def whole(x):
    """The nearest whole number, without a call."""
    return (x + 1.5 * 2.0**52) - 1.5 * 2.0**52


@kernel
def low_bits(uniform):
    """Bits of the fractions of positions: pixels that are cut in closed form span less than 2 cells, but rows of
    less than the mean height (of a geographic target) may be 3 units of v."""
    return 30 if uniform else 29


@kernel
def put_corner(out, to, u, v, drop):
    """One corner in whole numbers, `drop` bits less than 30 of them."""
    if u != u:
        out[to + COLUMN], out[to + LOW_U], out[to + FLOOR_V], out[to + LOW_V] = NOWHERE, 0, NOWHERE, 0
        return
    a, b = np.int64(np.round(u * 2.0**30)), np.int64(np.round(v * 2.0**30))
    out[to + COLUMN], out[to + LOW_U] = np.int32(a >> 30), np.int32(a >> drop)
    out[to + FLOOR_V], out[to + LOW_V] = np.int32(b >> 30), np.int32(b >> drop)


@kernel
def fill_line(row, seam, lattice, x0, n, shift, edges, uniform, cubics, out, place):
    """Corners of one line (a source row, or that of this number next to a seam), columns x0 ... x0 + n - 1, moved by
    `shift` columns, into line `place` of `out`; `cubics` is scratch. Whole blocks are written, also beyond the ends.
    """
    # Taken out of the tuple once: each reach into it counts references.
    step, period, u, v, patch, patches = (
        lattice.step,
        lattice.period,
        lattice.u,
        lattice.v,
        lattice.patch,
        lattice.patches,
    )
    first_column, drop = lattice.first_column, 30 - low_bits(uniform)
    here = place * LINE + MARGIN
    if seam >= 0:
        seam_u, seam_v, skipped = lattice.seam_u[seam], lattice.seam_v[seam], x0 - lattice.seam_column
        for x in range(n):
            put_corner(out, np.uint64(here + x), seam_u[skipped + x] + shift, seam_v[skipped + x], drop)
        if not uniform:
            number_rows(out, here, n, edges)
        return
    i = row // step - lattice.first_row
    r = row - (lattice.first_row + i) * step
    first, last = x0 // step - first_column, (x0 + n - 1) // step - first_column
    count = last + 1 - first
    interpolate(u, i, first, count, r / step, period, shift, cubics, 0)
    interpolate(v, i, first, count, r / step, 0.0, 0.0, cubics, 1)
    start = here + (first + first_column) * step - x0
    if step == 24 and uniform:
        smooth_blocks(out, start, count, cubics)
    else:
        any_blocks(out, start, count, step, drop, cubics)
    for j in range(count):
        to, p = np.uint64(start + j * step), patch[i, first + j]
        if p >= 0:
            for k in range(step):
                put_corner(out, to + np.uint64(k), patches[p, 0, r, k] + shift, patches[p, 1, r, k], drop)
        elif not abs(cubics[2, j] + cubics[7, j]) < np.inf:
            for k in range(step):
                put_corner(out, to + np.uint64(k), np.nan, np.nan, drop)
    if not uniform:
        number_rows(out, here, n, edges)


@kernel
def interpolate(nodes, i, first, count, t, period, shift, cubics, which):
    """Cubics of a grid line at the share t of block row i, for `count` blocks from `first` on: into five rows of
    `cubics` from 5 x `which` on come the line's nodes, the constants in units of 2**-30, the other coefficients."""
    wa, wc = -t * (t - 1.0) * (t - 2.0) * SIXTH, -(t + 1.0) * t * (t - 2.0) * 0.5
    wd, at = (t + 1.0) * t * (t - 1.0) * SIXTH, 5 * which
    line, units, linear, square, cube = cubics[at], cubics[at + 1], cubics[at + 2], cubics[at + 3], cubics[at + 4]
    before, here, below, beyond = nodes[i], nodes[i + 1], nodes[i + 2], nodes[i + 3]
    turns = 1.0 / period if period > 0.0 else 0.0
    for j in range(count + 3):
        base = here[first + j]
        a, c, d = before[first + j] - base, below[first + j] - base, beyond[first + j] - base
        # On the shorter way round.
        a, c, d = a - period * whole(a * turns), c - period * whole(c * turns), d - period * whole(d * turns)
        line[j] = base + ((wa * a + wc * c + wd * d + ROUND) - ROUND)
    for j in range(count):
        base = line[j + 1]
        a, b, c = line[j] - base, line[j + 2] - base, line[j + 3] - base
        a, b, c = a - period * whole(a * turns), b - period * whole(b * turns), c - period * whole(c * turns)
        # Through -1, 0, 1, 2.
        units[j] = (base + shift) * 2.0**30
        linear[j], square[j], cube[j] = b - a * THIRD - c * SIXTH, 0.5 * (a + b), (c - a) * SIXTH - 0.5 * b


@kernel
def any_blocks(out, start, count, step, drop, cubics):
    """Corners of a line of blocks from their cubics, with `drop` bits less than 30."""
    fraction = 1.0 / step
    for j in range(count):
        to, base_u, base_v = start + j * step, np.int64(cubics[1, j]), np.int64(cubics[6, j])
        u1, u2, u3, v1, v2, v3 = cubics[2, j], cubics[3, j], cubics[4, j], cubics[7, j], cubics[8, j], cubics[9, j]
        for k in range(step):
            s, x = k * fraction, np.uint64(to + k)
            a = bits_of(s * (u1 + s * (u2 + s * u3)) + ROUND) + (base_u - ROUND_BITS)
            b = bits_of(s * (v1 + s * (v2 + s * v3)) + ROUND) + (base_v - ROUND_BITS)
            out[x + COLUMN], out[x + LOW_U] = np.int32(a >> 30), np.int32(a >> drop)
            out[x + FLOOR_V], out[x + LOW_V] = np.int32(b >> 30), np.int32(b >> drop)


@kernel
def smooth_blocks(out, start, count, cubics):
    """`any_blocks` for blocks of 24 and 30 bits: twice as fast with these as constants."""
    for j in range(count):
        to, base_u, base_v = start + j * 24, np.int64(cubics[1, j]), np.int64(cubics[6, j])
        u1, u2, u3, v1, v2, v3 = cubics[2, j], cubics[3, j], cubics[4, j], cubics[7, j], cubics[8, j], cubics[9, j]
        for k in range(24):
            s, x = k * (1.0 / 24.0), np.uint64(to) + np.uint64(k)
            a = bits_of(s * (u1 + s * (u2 + s * u3)) + ROUND) + (base_u - ROUND_BITS)
            b = bits_of(s * (v1 + s * (v2 + s * v3)) + ROUND) + (base_v - ROUND_BITS)
            out[x + COLUMN], out[x + LOW_U] = np.int32(a >> 30), np.int32(a)
            out[x + FLOOR_V], out[x + LOW_V] = np.int32(b >> 30), np.int32(b)


@kernel
def number_rows(out, here, n, edges):
    """Rows of the corners of a line, where rows are uneven."""
    row = 0
    for k in range(n):
        x = np.uint64(here + k)
        v = position(out, x + FLOOR_V, x + LOW_V, 29)
        row = row_near(v, edges, row)
        out[x + ROW] = row


@kernel
def position(corners, cell, low, bits):
    """Position of a corner in cells; NaN if it is nowhere."""
    whole = corners[cell]
    if whole == NOWHERE:
        return np.nan
    return whole + (corners[low] & ((1 << bits) - 1)) * 2.0**-bits


@kernel
def positions(corners, place, n, bits, u, v):
    """Positions of the n corners of a line into that line of u, v."""
    for k in range(n):
        x = np.uint64(place * LINE + MARGIN + k)
        u[place, k] = position(corners, x + COLUMN, x + LOW_U, bits)
        v[place, k] = position(corners, x + FLOOR_V, x + LOW_V, bits)


@kernel
def fill_patches(u, v, top, bottom, row, block, step, period, patches):
    """Corners of blocks from 4 x 4 nodes evenly over each of their pieces (top..bottom) in height and
    over the whole block in width; a piece fills the corner rows that it holds."""
    turn = period if period > 0.0 else np.inf
    line = np.empty(4)
    for n in range(block.size):
        for r in range(step):
            y = row[n] + r
            if y < top[n] or y >= bottom[n]:
                continue
            t = (y - top[n]) / (bottom[n] - top[n]) * 3.0 - 1.0
            wa, wb = -t * (t - 1.0) * (t - 2.0) / 6.0, (t + 1.0) * (t - 1.0) * (t - 2.0) / 2.0
            wc, wd = -(t + 1.0) * t * (t - 2.0) / 2.0, (t + 1.0) * t * (t - 1.0) / 6.0
            for k in range(2):
                nodes, way = (u[n], turn) if k == 0 else (v[n], np.inf)
                base = nodes[1, 1]
                for j in range(4):
                    line[j] = wa * wrap(nodes[0, j] - base, way) + wb * wrap(nodes[1, j] - base, way)
                    line[j] += wc * wrap(nodes[2, j] - base, way) + wd * wrap(nodes[3, j] - base, way)
                a, b, c = line[0] - line[1], line[2] - line[1], line[3] - line[1]
                p1, p2, p3 = b - a * THIRD - c * SIXTH, 0.5 * (a + b), (c - a) * SIXTH - 0.5 * b
                for x in range(step):
                    s = x / step * 3.0 - 1.0
                    patches[block[n], k, r, x] = base + ((line[1] + s * (p1 + s * (p2 + s * p3)) + ROUND) - ROUND)


@kernel
def row_near(v, edges, guess):
    """Target row whose edges hold v, found by walking from a guess; -1 above the first, the number of
    rows below the last (or NaN)."""
    n = edges.size - 1
    if v < edges[0]:
        return -1
    if not v < edges[n]:
        return n
    row = min(max(guess, 0), n - 1)
    while v < edges[row]:
        row -= 1
    while v >= edges[row + 1]:
        row += 1
    return row


@kernel
def classify(corners, top, bottom, rows, n, tile, half_sign, bits, largest, torn, key, whole, weight):
    """Areas of the pixels between two lines, from their diagonals (0.5 with the sign of the orientation: `half_sign`);
    the areas of those within one cell, others 0; and 8 x first cell + kind: 0 within one cell, 1 across one column
    line, 2 across one row line, 3 across one each way, 4 any other way, 5 no pixel (no corners).

    Cells count from the first column and row of the ring; what lies beyond the ring is the ring's. Pixels that span
    more than `torn` cells are torn, wherever they lie. `rows` is FLOOR_V or ROW.
    """
    zero, one, two = np.float32(0.0), np.uint64(1), np.uint64(2)
    left, right = np.int32(tile.c0 - RING), np.int32(tile.c1 + RING - 1)
    upmost, downmost = np.int32(tile.r0 - RING), np.int32(tile.r1 + RING - 1)
    width, scale = np.int32(right - left + 1), np.float32(half_sign * 0.25**bits)
    largest, torn = np.float32(largest), np.int32(torn)
    above, below = np.uint64(top * LINE + MARGIN), np.uint64(bottom * LINE + MARGIN)
    for i in range(n):
        x = np.uint64(i)
        p, q, r, s = above + x + one, above + x + two, below + x + one, below + x + two
        a, b, c, d = corners[p + COLUMN], corners[q + COLUMN], corners[r + COLUMN], corners[s + COLUMN]
        first, last = min(min(a, b), min(c, d)), max(max(a, b), max(c, d))
        a, b, c, d = corners[p + rows], corners[q + rows], corners[r + rows], corners[s + rows]
        upper, lower = min(min(a, b), min(c, d)), max(max(a, b), max(c, d))
        sane = (np.int32(last - first) <= torn) & (np.int32(lower - upper) <= torn)
        kind = np.int32(5 if last == NOWHERE else 4)
        first, last = min(max(first, left), right), min(max(last, left), right)
        upper, lower = min(max(upper, upmost), downmost), min(max(lower, upmost), downmost)
        across, down = np.int32(last - first), np.int32(lower - upper)
        a, b, c, d = corners[p + LOW_U], corners[q + LOW_U], corners[r + LOW_U], corners[s + LOW_U]
        u, w = np.float32(np.int32(d - a)), np.float32(np.int32(c - b))
        a, b, c, d = corners[p + LOW_V], corners[q + LOW_V], corners[r + LOW_V], corners[s + LOW_V]
        area = scale * (u * np.float32(np.int32(c - b)) - w * np.float32(np.int32(d - a)))
        sane = sane & (area > zero) & (area <= largest) & (across < 2) & (down < 2) & (kind == 4)
        kind = np.int32(across + 2 * down) if sane else kind
        key[x] = np.int32(8 * np.int32(np.int32(np.int32(upper - upmost) * width) + np.int32(first - left)) + kind)
        whole[x] = area
        weight[x] = area if kind == 0 else zero


@kernel
def cut_pixels(key, n, listed):
    """All pixels but those within one cell into list 0; returns how many."""
    count = np.uint64(0)
    for x in range(n):
        # Written always, counted where it holds: the kind cannot be predicted.
        listed[count] = x
        count += np.uint64(key[x] & 7 != 0)
    return np.int64(count)


@kernel
def products(row, weight, n, sums, areas):
    """Contributions of pixels to their first cells: value x area, and area; 0 where missing."""
    for x in range(n):
        w = np.float64(weight[x])
        ok = (w > 0.0) & (row[x] == row[x])
        sums[x] = row[x] * w if ok else 0.0
        areas[x] = w if ok else 0.0


@kernel
def shares(row, weight, whole, n, share, sums, areas):
    """`products` with the share of the pixel in place of its area."""
    for x in range(n):
        w = np.float64(weight[x])
        ok = (w > 0.0) & (row[x] == row[x])
        sums[x] = row[x] * (share * (w / np.float64(whole[x]))) if ok else 0.0
        areas[x] = w if ok else 0.0
