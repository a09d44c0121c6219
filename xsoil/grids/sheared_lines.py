"""Loops over one row of pixels that the compiler vectorises: corners, classification, areas.

Each loop writes few arrays and reads few (beyond some eight pairs the compiler gives up proving that
they do not overlap), and takes shifted views instead of shifted indices.
"""

from __future__ import annotations

import numpy as np

from xsoil.jit import kernel

# Adding and subtracting it rounds to multiples of 2**-30 (index_map.QUANTUM).
ROUND = 1.5 * 2.0**22


@kernel
def wrap(d, period):
    """A difference of columns on the shorter way round."""
    if period > 0.0:
        if d > 0.5 * period:
            return d - period
        if d < -0.5 * period:
            return d + period
    return d


@kernel
def cubic(base, a, b, c, t, out):
    """Cubic through base + a, base, base + b, base + c (at -1, 0, 1, 2) at the fractions t."""
    p1, p2, p3 = -a / 3.0 + b - c / 6.0, 0.5 * (a + b), -a / 6.0 - b / 2.0 + c / 6.0
    for i in range(out.size):
        out[i] = base + ((t[i] * (p1 + t[i] * (p2 + t[i] * p3)) + ROUND) - ROUND)


@kernel
def fill_patches(u, v, top, bottom, row, block, step, period, patches):
    """Corners of blocks from 4 x 4 nodes evenly over each of their pieces (top..bottom) in height and
    over the whole block in width; a piece fills the corner rows that it holds."""
    fractions = np.arange(step) / step * 3.0 - 1.0
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
                nodes = u[n] if k == 0 else v[n]
                round_trip = period if k == 0 else 0.0
                base = nodes[1, 1]
                for j in range(4):
                    line[j] = (
                        wa * wrap(nodes[0, j] - base, round_trip) + wb * wrap(nodes[1, j] - base, round_trip)
                        + wc * wrap(nodes[2, j] - base, round_trip) + wd * wrap(nodes[3, j] - base, round_trip)
                    )  # fmt: skip
                cubic(base, line[0] - line[1], line[2] - line[1], line[3] - line[1], fractions, patches[block[n], k, r])
                # `cubic` starts at node 1; the base of the line lies line[1] further.
                patches[block[n], k, r] += (line[1] + ROUND) - ROUND


@kernel
def fill_line(line, kink, lattice, x0, fractions, node_u, node_v, out_u, out_v):
    """Corners of one grid line (row `line`, or the kink of that number) from column x0 on.

    `fractions` are 0/step ... (step - 1)/step; node_u, node_v are scratch, one per node column.
    """
    n, step, period = out_u.size, lattice.step, lattice.period
    if kink >= 0:
        out_u[:] = lattice.breaks_u[kink, x0 - lattice.break_column : x0 - lattice.break_column + n]
        out_v[:] = lattice.breaks_v[kink, x0 - lattice.break_column : x0 - lattice.break_column + n]
        return
    i = line // step - lattice.first_row
    r = line - (lattice.first_row + i) * step
    t = r / step
    wa = -t * (t - 1.0) * (t - 2.0) / 6.0
    wc = -(t + 1.0) * t * (t - 2.0) / 2.0
    wd = (t + 1.0) * t * (t - 1.0) / 6.0
    u, v = lattice.u, lattice.v
    first, last = x0 // step - lattice.first_column, (x0 + n - 1) // step - lattice.first_column
    for j in range(first, last + 4):
        base = u[i + 1, j]
        a, c, d = wrap(u[i, j] - base, period), wrap(u[i + 2, j] - base, period), wrap(u[i + 3, j] - base, period)
        node_u[j] = base + ((wa * a + wc * c + wd * d + ROUND) - ROUND)
        base = v[i + 1, j]
        a, c, d = v[i, j] - base, v[i + 2, j] - base, v[i + 3, j] - base
        node_v[j] = base + ((wa * a + wc * c + wd * d + ROUND) - ROUND)
    for j in range(first, last + 1):
        start = (j + lattice.first_column) * step
        lo, hi = max(start, x0), min(start + step, x0 + n)
        to_u, to_v, t_here = out_u[lo - x0 : hi - x0], out_v[lo - x0 : hi - x0], fractions[lo - start : hi - start]
        p = lattice.patch[i, j]
        if p >= 0:
            to_u[:] = lattice.patches[p, 0, r, lo - start : hi - start]
            to_v[:] = lattice.patches[p, 1, r, lo - start : hi - start]
            continue
        base = node_u[j + 1]
        a, b, c = wrap(node_u[j] - base, period), wrap(node_u[j + 2] - base, period), wrap(node_u[j + 3] - base, period)
        cubic(base, a, b, c, t_here, to_u)
        base = node_v[j + 1]
        cubic(base, node_v[j] - base, node_v[j + 2] - base, node_v[j + 3] - base, t_here, to_v)


@kernel
def pair_extremes(a, b, low, high):
    """Lower and higher of two arrays; NaN where either is NaN is not kept."""
    for i in range(low.size):
        low[i] = a[i] if a[i] < b[i] else b[i]
        high[i] = a[i] if a[i] > b[i] else b[i]


@kernel
def floor_low(a, b, add, out):
    for i in range(out.size):
        out[i] = np.floor((a[i] if a[i] < b[i] else b[i]) + add)


@kernel
def floor_high(a, b, add, out):
    for i in range(out.size):
        out[i] = np.floor((a[i] if a[i] > b[i] else b[i]) + add)


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
def rows_low(a, b, add, edges, out):
    """Like `floor_low` between uneven rows."""
    row = 0
    for i in range(out.size):
        row = row_near(min(a[i], b[i]) + add, edges, row)
        out[i] = row


@kernel
def rows_high(a, b, add, edges, out):
    """Like `floor_high` between uneven rows."""
    row = 0
    for i in range(out.size):
        row = row_near(max(a[i], b[i]) + add, edges, row)
        out[i] = row


@kernel
def quad_areas(bu, cu, du, eu, bv, cv, dv, ev, half_sign, out):
    """Signed area of quads b-c-d-e from their diagonals."""
    for i in range(out.size):
        out[i] = half_sign * ((du[i] - bu[i]) * (ev[i] - cv[i]) - (eu[i] - cu[i]) * (dv[i] - bv[i]))


@kernel
def cell_numbers(left, right, above, below, area, largest, r0, r1, c0, c1, out):
    """Cell within the tile of pixels that lie in one cell; -1: in several (or odd); the number of cells
    of the tile: outside of it."""
    r0, r1, c0, c1 = float(r0), float(r1), float(c0), float(c1)
    cells = (r1 - r0) * (c1 - c0)
    for i in range(out.size):
        one = (left[i] == right[i]) & (above[i] == below[i]) & (area[i] > 0.0) & (area[i] <= largest)
        here = (above[i] >= r0) & (above[i] < r1) & (left[i] >= c0) & (left[i] < c1)
        number = (above[i] - r0) * (c1 - c0) + (left[i] - c0) if here else cells
        out[i] = np.int32(number if one else -1.0)


@kernel
def chord_integrals(p0, p1, q0, q1, bend_p, bend_q, t0, t1, out):
    """Add the integrals of min(p, 0) dq over the chord from t0 to t1 of the curved edges 0-1.

    With a = min(p, 0) at both ends, the mean of min(p, 0) is -(a0 + a1)**2 / (2 (|p0| + |p1|)) on both
    sides of the line and across it: no branches, and an edge on the line adds nothing.
    """
    f0, f1 = 4.0 * t0 * (1.0 - t0), 4.0 * t1 * (1.0 - t1)
    s0, s1 = 1.0 - t0, 1.0 - t1
    for i in range(out.size):
        a = p0[i] * s0 + p1[i] * t0 + f0 * bend_p[i]
        b = p0[i] * s1 + p1[i] * t1 + f1 * bend_p[i]
        dq = (q1[i] - q0[i]) * (t1 - t0) + (f1 - f0) * bend_q[i]
        below = (a if a < 0.0 else 0.0) + (b if b < 0.0 else 0.0)
        out[i] += dq * (below * below) / (abs(a) + abs(b) + 1e-300)


@kernel
def corner_integrals(p0, p1, q0, q1, bend_p, bend_q, t0, t1, out):
    """Like `chord_integrals`, of the part with q < 0: the area beyond both of two crossing lines."""
    f0, f1 = 4.0 * t0 * (1.0 - t0), 4.0 * t1 * (1.0 - t1)
    s0, s1 = 1.0 - t0, 1.0 - t1
    for i in range(out.size):
        a = p0[i] * s0 + p1[i] * t0 + f0 * bend_p[i]
        b = p0[i] * s1 + p1[i] * t1 + f1 * bend_p[i]
        c = q0[i] * s0 + q1[i] * t0 + f0 * bend_q[i]
        d = q0[i] * s1 + q1[i] * t1 + f1 * bend_q[i]
        low_c, low_d = (c if c < 0.0 else 0.0), (d if d < 0.0 else 0.0)
        # Where the chord crosses q = 0, its end is moved there.
        slope = (b - a) / (d - c if c != d else 1.0)
        a2, b2 = a + (low_c - c) * slope, b + (low_d - d) * slope
        below = (a2 if a2 < 0.0 else 0.0) + (b2 if b2 < 0.0 else 0.0)
        out[i] += (low_d - low_c) * (below * below) / (abs(a2) + abs(b2) + 1e-300)


@kernel
def products(values, weight, key, share, by_area, sums, areas):
    """Contribution of every interior pixel of one row: value x weight (or x share), and its area."""
    for i in range(sums.size):
        ok = (key[i] >= 0) & (values[i] == values[i])
        sums[i] = (values[i] * (weight[i] if by_area else share)) if ok else 0.0
        areas[i] = weight[i] if ok else 0.0
