"""Loops over a stretch of a row of pixels, made so that the compiler vectorises them.

Each writes few arrays and reads few (beyond some eight pairs the compiler gives up proving that they do
not overlap); rows of a matrix are named by their number, as views would cost more than short loops do;
indices are unsigned where that spares the check for negative ones.
"""

from __future__ import annotations

import numpy as np

from xsoil.jit import kernel

# Adding and subtracting it rounds to multiples of 2**-30 (index_map.QUANTUM).
ROUND = 1.5 * 2.0**22

THIRD, SIXTH = 1.0 / 3.0, 1.0 / 6.0

# Cells around a tile that are told apart: a pixel that reaches into the tile and crosses two lines or
# more is seen to do so, whatever the tile.
RING = 2


@kernel
def wrap(d, period):
    """A difference of columns on the shorter way round (period 0: as it is)."""
    if d > 0.5 * period:
        return d - period
    if d < -0.5 * period:
        return d + period
    return d


@kernel
def fill_line(row, kink, lattice, x0, n, nodes, out_u, out_v, place):
    """Corners of one grid line (a source row, or the kink of that number), columns x0 ... x0 + n - 1, into
    row `place` of out_u, out_v; `nodes` is scratch.
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
    first_column = lattice.first_column
    if kink >= 0:
        breaks_u, breaks_v, skipped = lattice.breaks_u, lattice.breaks_v, x0 - lattice.break_column
        for x in range(n):
            out_u[place, x] = breaks_u[kink, skipped + x]
            out_v[place, x] = breaks_v[kink, skipped + x]
        return
    i = row // step - lattice.first_row
    r = row - (lattice.first_row + i) * step
    t = r / step
    wa, wc = -t * (t - 1.0) * (t - 2.0) * SIXTH, -(t + 1.0) * t * (t - 2.0) * 0.5
    wd = (t + 1.0) * t * (t - 1.0) * SIXTH
    first, last = x0 // step - first_column, (x0 + n - 1) // step - first_column
    turn, fraction = period if period > 0.0 else np.inf, 1.0 / step
    for j in range(first, last + 4):
        base = u[i + 1, j]
        a, c, d = wrap(u[i, j] - base, turn), wrap(u[i + 2, j] - base, turn), wrap(u[i + 3, j] - base, turn)
        nodes[0, j - first] = base + ((wa * a + wc * c + wd * d + ROUND) - ROUND)
        base = v[i + 1, j]
        a, c, d = v[i, j] - base, v[i + 2, j] - base, v[i + 3, j] - base
        nodes[1, j - first] = base + ((wa * a + wc * c + wd * d + ROUND) - ROUND)
    for j in range(first, last + 1):
        start = (j + first_column) * step
        lo, hi = max(start, x0), min(start + step, x0 + n)
        skip, to = np.uint64(lo - start), np.uint64(lo - x0)
        p = patch[i, j]
        if p >= 0:
            for k in range(hi - lo):
                out_u[place, to + np.uint64(k)] = patches[p, 0, r, skip + np.uint64(k)]
                out_v[place, to + np.uint64(k)] = patches[p, 1, r, skip + np.uint64(k)]
            continue
        base = nodes[0, j - first + 1]
        a, b, c = nodes[0, j - first] - base, nodes[0, j - first + 2] - base, nodes[0, j - first + 3] - base
        a, b, c = wrap(a, turn), wrap(b, turn), wrap(c, turn)
        # Cubic through -1, 0, 1, 2.
        p1, p2, p3 = b - a * THIRD - c * SIXTH, 0.5 * (a + b), (c - a) * SIXTH - 0.5 * b
        for k in range(hi - lo):
            s = (lo - start + k) * fraction
            out_u[place, to + np.uint64(k)] = base + ((s * (p1 + s * (p2 + s * p3)) + ROUND) - ROUND)
        base = nodes[1, j - first + 1]
        a, b, c = nodes[1, j - first] - base, nodes[1, j - first + 2] - base, nodes[1, j - first + 3] - base
        p1, p2, p3 = b - a * THIRD - c * SIXTH, 0.5 * (a + b), (c - a) * SIXTH - 0.5 * b
        for k in range(hi - lo):
            s = (lo - start + k) * fraction
            out_v[place, to + np.uint64(k)] = base + ((s * (p1 + s * (p2 + s * p3)) + ROUND) - ROUND)


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
def corner_cells(u, v, line, n, shift, add, r0, r1, c0, c1, columns, rows):
    """Cells that hold corners moved by `add` (+- the bulge of edges), counted from the ring's first column
    and row; beyond the ring, and for NaN, the ring's."""
    low_u, high_u, low_v, high_v = c0 - float(RING), c1 + (RING - 1.0), r0 - float(RING), r1 + (RING - 1.0)
    for x in range(n):
        a, b = np.floor(u[line, x] + shift + add), np.floor(v[line, x] + add)
        a, b = (a if a > low_u else low_u), (b if b > low_v else low_v)
        a, b = (a if a < high_u else high_u), (b if b < high_v else high_v)
        columns[line, x], rows[line, x] = np.int32(a - low_u), np.int32(b - low_v)


@kernel
def corner_cells_uneven(u, v, line, n, shift, add, edges, r0, r1, c0, c1, columns, rows):
    """`corner_cells` for rows between uneven edges."""
    low_u, high_u = c0 - float(RING), c1 + (RING - 1.0)
    row = r0
    for x in range(n):
        a = np.floor(u[line, x] + shift + add)
        a = a if a > low_u else low_u
        a = a if a < high_u else high_u
        row = row_near(v[line, x] + add, edges, row)
        columns[line, x] = np.int32(a - low_u)
        rows[line, x] = np.int32(min(max(row, r0 - RING), r1 + RING - 1) - (r0 - RING))


@kernel
def quad_areas(u, v, top, bottom, n, half_sign, out):
    """Areas of the quads between two lines of corners, from their diagonals; pixel x is bounded by the
    corners x + 1 and x + 2."""
    one, two = np.uint64(1), np.uint64(2)
    for i in range(n):
        x = np.uint64(i)
        out[x] = half_sign * (
            (u[bottom, x + two] - u[top, x + one]) * (v[bottom, x + one] - v[top, x + two])
            - (u[bottom, x + one] - u[top, x + two]) * (v[bottom, x + two] - v[top, x + one])
        )


@kernel
def classify(columns, rows, top, bottom, n, width, area, largest, out):
    """8 x first cell + kind of each pixel: 0 within it, 1 across one column line, 2 across one row line,
    3 across one each way, 4 any other way, 5 no pixel (no corners)."""
    one, two = np.uint64(1), np.uint64(2)
    for i in range(n):
        x = np.uint64(i)
        a, b = columns[top, x + one], columns[top, x + two]
        c, d = columns[bottom, x + one], columns[bottom, x + two]
        first, last = min(min(a, b), min(c, d)), max(max(a, b), max(c, d))
        a, b = rows[top, x + one], rows[top, x + two]
        c, d = rows[bottom, x + one], rows[bottom, x + two]
        upper, lower = min(min(a, b), min(c, d)), max(max(a, b), max(c, d))
        across, down = last - first, lower - upper
        sane = (area[x] > 0.0) & (area[x] <= largest) & (across < 2) & (down < 2)
        kind = across + 2 * down if sane else 4
        kind = kind if area[x] == area[x] else 5
        out[x] = np.int32(8 * (upper * width + first) + kind)


@kernel
def split(key, whole, n, weight, listed):
    """Areas of the pixels within one cell into `weight` (others: 0), and all but these into list 0; returns
    how many."""
    for x in range(n):
        weight[x] = whole[x] if key[x] & 7 == 0 else 0.0
    count = np.uint64(0)
    for x in range(n):
        # Written always, counted where it holds: the kind cannot be predicted.
        listed[count] = x
        count += np.uint64(key[x] & 7 != 0)
    return np.int64(count)


@kernel
def products(row, weight, n, sums, areas):
    """Contributions of the pixels to their first cells: value x area, and area; 0 where missing."""
    for x in range(n):
        ok = (weight[x] > 0.0) & (row[x] == row[x])
        sums[x] = row[x] * weight[x] if ok else 0.0
        areas[x] = weight[x] if ok else 0.0


@kernel
def shares(row, weight, whole, n, share, sums, areas):
    """`products` with the share of the pixel in place of its area."""
    for x in range(n):
        ok = (weight[x] > 0.0) & (row[x] == row[x])
        sums[x] = row[x] * (share * weight[x] / whole[x]) if ok else 0.0
        areas[x] = weight[x] if ok else 0.0
