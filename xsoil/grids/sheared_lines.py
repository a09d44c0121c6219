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
def fill_line(row, kink, lattice, x0, n, fractions, nodes, out_u, out_v, place):
    """Corners of one grid line (a source row, or the kink of that number), columns x0 ... x0 + n - 1, into
    row `place` of out_u, out_v.

    `fractions` are 0/step ... (step - 1)/step; `nodes` is scratch.
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
    turn = period if period > 0.0 else np.inf
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
            s = fractions[skip + np.uint64(k)]
            out_u[place, to + np.uint64(k)] = base + ((s * (p1 + s * (p2 + s * p3)) + ROUND) - ROUND)
        base = nodes[1, j - first + 1]
        a, b, c = nodes[1, j - first] - base, nodes[1, j - first + 2] - base, nodes[1, j - first + 3] - base
        p1, p2, p3 = b - a * THIRD - c * SIXTH, 0.5 * (a + b), (c - a) * SIXTH - 0.5 * b
        for k in range(hi - lo):
            s = fractions[skip + np.uint64(k)]
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
def corner_cells(u, v, line, n, shift, add, r0, r1, c0, c1, out):
    """Numbers of the cells that hold corners moved by `add` (+- the bulge of edges), in the tile with its
    ring, into a row of `out`; beyond the ring, and for NaN, the ring's."""
    low_u, high_u, low_v, high_v = c0 - float(RING), c1 + (RING - 1.0), r0 - float(RING), r1 + (RING - 1.0)
    width = high_u - low_u + 1.0
    for x in range(n):
        a, b = np.floor(u[line, x] + shift + add), np.floor(v[line, x] + add)
        a, b = (a if a > low_u else low_u), (b if b > low_v else low_v)
        a, b = (a if a < high_u else high_u), (b if b < high_v else high_v)
        out[line, x] = np.int32((b - low_v) * width + (a - low_u))


@kernel
def corner_cells_uneven(u, v, line, n, shift, add, edges, r0, r1, c0, c1, out):
    """`corner_cells` for rows between uneven edges."""
    low_u, high_u = c0 - float(RING), c1 + (RING - 1.0)
    width, row = c1 - c0 + 2 * RING, r0
    for x in range(n):
        a = np.floor(u[line, x] + shift + add)
        a = a if a > low_u else low_u
        a = a if a < high_u else high_u
        row = row_near(v[line, x] + add, edges, row)
        b = min(max(row, r0 - RING), r1 + RING - 1) - (r0 - RING)
        out[line, x] = np.int32(b * width + int(a - low_u))


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
def classify(cells, top, bottom, n, width, area, largest, out):
    """Cell of the pixels with all corners in one; -1 for those across one column line, -2 across one row
    line, -3 for all others (and those without a sane area)."""
    one, two = np.uint64(1), np.uint64(2)
    for i in range(n):
        x = np.uint64(i)
        a, b = cells[top, x + one], cells[top, x + two]
        c, d = cells[bottom, x + one], cells[bottom, x + two]
        low, high = (a if a < b else b), (a if a > b else b)
        low, high = (low if low < c else c), (high if high > c else c)
        low, high = (low if low < d else d), (high if high > d else d)
        pair = ((a == low) | (a == high)) & ((b == low) | (b == high))
        pair &= ((c == low) | (c == high)) & ((d == low) | (d == high))
        across = high - low
        code = np.int32(-1) if across == 1 else np.int32(-3)
        code = np.int32(-2) if (across == width) & pair else code
        code = low if across == 0 else code
        out[x] = code if (area[x] > 0.0) & (area[x] <= largest) else np.int32(-3)


@kernel
def split(key, n, index):
    """Columns of the pixels of kinds -1, -2 and -3 into rows 0, 1 and 3 of `index`; returns the counts."""
    columns, rows, others = np.uint64(0), np.uint64(0), np.uint64(0)
    for x in range(n):
        # Written always, counted where it holds: the kind cannot be predicted.
        kind = key[x]
        index[0, columns] = x
        index[1, rows] = x
        index[3, others] = x
        columns += np.uint64(kind == -1)
        rows += np.uint64(kind == -2)
        others += np.uint64(kind == -3)
    return np.int64(columns), np.int64(rows), np.int64(others)


@kernel
def note(cells, top, bottom, kind, index, m, y, x0, pixel, row, at):
    """Source row, column and first cell of listed pixels into three rows of `pixel` from column `at` on."""
    one, two = np.uint64(1), np.uint64(2)
    for i in range(m):
        x, k = np.uint64(index[kind, i]), np.uint64(at + i)
        a, b = cells[top, x + one], cells[top, x + two]
        c, d = cells[bottom, x + one], cells[bottom, x + two]
        a, c = (a if a < b else b), (c if c < d else d)
        pixel[row, k], pixel[row + 1, k], pixel[row + 2, k] = y, x0 + index[kind, i], a if a < c else c


@kernel
def pick(weight, kind, index, m, share, area, shares, size, at):
    """Start lists: areas of the pixels, their strip's share, sizes of their bends."""
    for i in range(m):
        k = np.uint64(at + i)
        area[kind, k], shares[kind, k], size[k] = weight[np.uint64(index[kind, i])], share, 0.0


@kernel
def count_rough(size, area, kind, at, m, limit, largest):
    """How many listed pixels are bent too much or have no sane area."""
    count = 0
    for i in range(m):
        k = np.uint64(at + i)
        count += not ((size[k] <= limit) & (area[kind, k] > 0.0) & (area[kind, k] <= largest))
    return count


@kernel
def gather(lines, i0, i1, i2, i3, kind, index, m, shift, crossed, minus, shape, corner, bend, at, size):
    """Corners (clockwise from top left) of listed pixels, and how far their edges deviate from the chords
    at the middle, into rows `corner` and `bend` of `shape` from column `at` on; adds up the sizes of
    the bends.

    Edges are the cubics through the four nearest corners of their grid line. Corners become relative to
    the line that the pixel crosses: the last whole number (less the shift) that they reach if `crossed`,
    else `minus`.
    """
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    for i in range(m):
        x, k = np.uint64(index[kind, i]), np.uint64(at + i)
        b, c = lines[i1, x + one], lines[i1, x + two]
        e, d = lines[i2, x + one], lines[i2, x + two]
        line = minus[k]
        if crossed:
            low, high = b if b > c else c, d if d > e else e
            line = np.floor((low if low > high else high) + shift) - shift
        # Sums of differences from the line are exact, so that shifts by a period change nothing.
        b, c, d, e = b - line, c - line, d - line, e - line
        top = (lines[i1, x] - line) + (lines[i1, x + three] - line)
        bottom = (lines[i2, x] - line) + (lines[i2, x + three] - line)
        left = (lines[i0, x + one] - line) + (lines[i3, x + one] - line)
        right = (lines[i0, x + two] - line) + (lines[i3, x + two] - line)
        top, right = 0.0625 * (b + c - top), 0.0625 * (c + d - right)
        bottom, left = 0.0625 * (d + e - bottom), 0.0625 * (e + b - left)
        shape[corner, k], shape[corner + 1, k], shape[corner + 2, k], shape[corner + 3, k] = b, c, d, e
        shape[bend, k], shape[bend + 1, k], shape[bend + 2, k], shape[bend + 3, k] = top, right, bottom, left
        size[k] += abs(top) + abs(right) + abs(bottom) + abs(left)


@kernel
def edge_integrals(shape, p0, p1, q0, q1, bend_p, bend_q, m, out, to):
    """Add the integrals of min(p, 0) dq along the edges 0-1 of m pixels, chords with a parabolic bulge to
    first order; p0 ... bend_q are rows of `shape`.

    The part of a chord with p < 0 is the share `t` of it next to the end that lies lower; on the line,
    where it ends, the bulge adds nothing to first order.
    """
    for i in range(m):
        a, b, dq = shape[p0, i], shape[p1, i], shape[q1, i] - shape[q0, i]
        bp, bq = shape[bend_p, i], shape[bend_q, i]
        below = (a if a < 0.0 else 0.0) + (b if b < 0.0 else 0.0)
        t = -below / (abs(a) + abs(b) + 1e-300)
        half, third = 0.5 * t, t * t * (1.0 / 3.0)
        across = bq * below * (half - third) if a < b else -bq * below * (half - third)
        both = (a < 0.0) & (b < 0.0)
        across = bq * (a - b) * (1.0 / 6.0) if both else across
        out[to, i] += dq * (0.5 * below * t + 4.0 * bp * t * (half - third)) + 4.0 * across


@kernel
def chord_integrals(shape, p0, p1, q0, q1, bend_p, bend_q, m, t0, t1, out, to):
    """Add the integrals of min(p, 0) dq over the chord from t0 to t1 of the curved edges 0-1.

    With a = min(p, 0) at both ends, the mean of min(p, 0) is -(a0 + a1)**2 / (2 (|p0| + |p1|)) on both
    sides of the line and across it: no branches, and an edge on the line adds nothing.
    """
    f0, f1 = 4.0 * t0 * (1.0 - t0), 4.0 * t1 * (1.0 - t1)
    s0, s1 = 1.0 - t0, 1.0 - t1
    for i in range(m):
        a = shape[p0, i] * s0 + shape[p1, i] * t0 + f0 * shape[bend_p, i]
        b = shape[p0, i] * s1 + shape[p1, i] * t1 + f1 * shape[bend_p, i]
        dq = (shape[q1, i] - shape[q0, i]) * (t1 - t0) + (f1 - f0) * shape[bend_q, i]
        below = (a if a < 0.0 else 0.0) + (b if b < 0.0 else 0.0)
        out[to, i] -= 0.5 * dq * (below * below) / (abs(a) + abs(b) + 1e-300)


@kernel
def corner_integrals(shape, p0, p1, q0, q1, bend_p, bend_q, m, t0, t1, out, to):
    """Add the integrals of min(p, 0) dq over the part with q < 0 of the chord from t0 to t1 of the curved
    edges 0-1: the area beyond both of two crossing lines."""
    f0, f1 = 4.0 * t0 * (1.0 - t0), 4.0 * t1 * (1.0 - t1)
    s0, s1 = 1.0 - t0, 1.0 - t1
    for i in range(m):
        a = shape[p0, i] * s0 + shape[p1, i] * t0 + f0 * shape[bend_p, i]
        b = shape[p0, i] * s1 + shape[p1, i] * t1 + f1 * shape[bend_p, i]
        c = shape[q0, i] * s0 + shape[q1, i] * t0 + f0 * shape[bend_q, i]
        d = shape[q0, i] * s1 + shape[q1, i] * t1 + f1 * shape[bend_q, i]
        low_c, low_d = (c if c < 0.0 else 0.0), (d if d < 0.0 else 0.0)
        # Where the chord crosses q = 0, its end is moved there.
        slope = (b - a) / (d - c if c != d else 1.0)
        a2, b2 = a + (low_c - c) * slope, b + (low_d - d) * slope
        below = (a2 if a2 < 0.0 else 0.0) + (b2 if b2 < 0.0 else 0.0)
        out[to, i] -= 0.5 * (low_d - low_c) * (below * below) / (abs(a2) + abs(b2) + 1e-300)


@kernel
def add_bulge(shape, row, e, f, factor, m, area, kind):
    """Add the area between the chord from corner e to f and the edge, for a list in rows `row` ... of
    `shape`."""
    ue, uf, ve, vf, bend_u, bend_v = row + e, row + f, row + 4 + e, row + 4 + f, row + 8 + e, row + 12 + e
    for i in range(m):
        across = shape[bend_u, i] * (shape[vf, i] - shape[ve, i])
        area[kind, i] += factor * (across - shape[bend_v, i] * (shape[uf, i] - shape[ue, i]))


@kernel
def products(row, weight, key, n, share, by_area, sums, areas):
    """Contributions of interior pixels: value x area (or x share of the pixel), and area; 0 where missing."""
    for x in range(n):
        ok = (key[x] >= 0) & (row[x] == row[x])
        sums[x] = row[x] * (weight[x] if by_area else share) if ok else 0.0
        areas[x] = weight[x] if ok else 0.0
