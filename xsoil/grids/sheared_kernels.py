"""Exact overlaps of the curved pixels of one grid with the straight cells of another, compiled.

Pixels are quads between corners in target indices; their edges are cubics through the four nearest
corners of their grid line, followed by `segments` chords. Every number that a target cell receives
depends on absolute indices alone and is added in absolute order: rows, then columns.
"""

from __future__ import annotations

import numpy as np

from xsoil.jit import kernel

# Adding and subtracting it rounds to multiples of 2**-30 (index_map.QUANTUM).
ROUND = 1.5 * 2.0**22

# Overlaps below this share of the smaller cell are dropped.
SLIVER = 1e-9

MEAN, SUM, MIN, MAX = 0, 1, 2, 3


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
def fill_row(
    level_row,
    level_break,
    step,
    first_row,
    first_column,
    nodes_u,
    nodes_v,
    patch,
    patches,
    breaks_u,
    breaks_v,
    period,
    x0,
    node_u,
    node_v,
    out_u,
    out_v,
):
    """Corners of one grid line from column x0 on into out_u, out_v; node_* are scratch (node columns)."""
    n = out_u.size
    if level_break >= 0:
        for x in range(n):
            out_u[x] = breaks_u[level_break, x]
            out_v[x] = breaks_v[level_break, x]
        return
    i = level_row // step - first_row
    t = (level_row - (first_row + i) * step) / step
    wa = -t * (t - 1.0) * (t - 2.0) / 6.0
    wc = -(t + 1.0) * t * (t - 2.0) / 2.0
    wd = (t + 1.0) * t * (t - 1.0) / 6.0
    for j in range(node_u.size):
        base = nodes_u[i + 1, j]
        a, c, d = nodes_u[i, j] - base, nodes_u[i + 2, j] - base, nodes_u[i + 3, j] - base
        a, c, d = wrap(a, period), wrap(c, period), wrap(d, period)
        node_u[j] = base + ((wa * a + wc * c + wd * d + ROUND) - ROUND)
        base = nodes_v[i + 1, j]
        a, c, d = nodes_v[i, j] - base, nodes_v[i + 2, j] - base, nodes_v[i + 3, j] - base
        node_v[j] = base + ((wa * a + wc * c + wd * d + ROUND) - ROUND)
    scale = 1.0 / step
    x1 = x0 + n
    for jb in range(x0 // step, (x1 - 1) // step + 1):
        j = jb - first_column
        lo, hi = max(jb * step, x0), min((jb + 1) * step, x1)
        p = patch[i, j]
        if p >= 0:
            r = level_row - (first_row + i) * step
            for x in range(lo, hi):
                out_u[x - x0] = patches[p, 0, r, x - jb * step]
                out_v[x - x0] = patches[p, 1, r, x - jb * step]
            continue
        base_u, base_v = node_u[j + 1], node_v[j + 1]
        a, b, c = (
            wrap(node_u[j] - base_u, period),
            wrap(node_u[j + 2] - base_u, period),
            wrap(node_u[j + 3] - base_u, period),
        )
        p1, p2, p3 = -a / 3.0 + b - c / 6.0, 0.5 * (a + b), -a / 6.0 - b / 2.0 + c / 6.0
        a, b, c = node_v[j] - base_v, node_v[j + 2] - base_v, node_v[j + 3] - base_v
        q1, q2, q3 = -a / 3.0 + b - c / 6.0, 0.5 * (a + b), -a / 6.0 - b / 2.0 + c / 6.0
        off = jb * step
        for x in range(lo, hi):
            s = (x - off) * scale
            out_u[x - x0] = base_u + ((s * (p1 + s * (p2 + s * p3)) + ROUND) - ROUND)
            out_v[x - x0] = base_v + ((s * (q1 + s * (q2 + s * q3)) + ROUND) - ROUND)


@kernel
def row_of(v, edges, uniform):
    """Target row whose edges hold v: -1 above the first, the number of rows below the last."""
    n = edges.size - 1
    if uniform:
        if not v >= 0.0:
            return -1
        return n if v >= n else int(v)
    if not v >= edges[0]:
        return -1
    if v >= edges[n]:
        return n
    lo, hi = 0, n
    while hi - lo > 1:
        mid = (lo + hi) // 2
        if v >= edges[mid]:
            lo = mid
        else:
            hi = mid
    return lo


@kernel
def bend(a, b, c, d, a_ok, d_ok):
    """Second differences at both ends of the edge b-c from its neighbours a and d; one-sided where a
    neighbour is missing, zero where both are."""
    left, right = a - 2.0 * b + c, b - 2.0 * c + d
    if a_ok and d_ok:
        return left, right
    if a_ok:
        return left, left
    if d_ok:
        return right, right
    return 0.0, 0.0


@kernel
def edge(u, v, m, n, ua, ub, uc, ud, va, vb, vc, vd, a_ok, d_ok, forward):
    """Append the points of the edge b-c (c-b if not forward), without its last one, at u[m:], v[m:]."""
    if n == 1:
        u[m], v[m] = (ub, vb) if forward else (uc, vc)
        return m + 1
    # Points that are not finite, or jumps (the neighbour lies in another lobe), are not neighbours.
    long2 = 16.0 * ((uc - ub) ** 2 + (vc - vb) ** 2)
    a_ok = a_ok and (ua - ub) ** 2 + (va - vb) ** 2 <= long2
    d_ok = d_ok and (ud - uc) ** 2 + (vd - vc) ** 2 <= long2
    lu, ru = bend(ua, ub, uc, ud, a_ok, d_ok)
    lv, rv = bend(va, vb, vc, vd, a_ok, d_ok)
    for i in range(n):
        t = i / n if forward else (n - i) / n
        f, w = t * (1.0 - t) / 6.0, 1.0 - t
        u[m] = ub * w + uc * t - f * ((2.0 - t) * lu + (1.0 + t) * ru)
        v[m] = vb * w + vc * t - f * ((2.0 - t) * lv + (1.0 + t) * rv)
        m += 1
    return m


@kernel
def outline(u0, v0, u1, v1, u2, v2, u3, v3, x, n, top_ok, bottom_ok, period, shift, out_u, out_v):
    """Outline of the pixel between lines 1 and 2, columns x and x + 1 (of rows of corners); lines 0 and
    3 are their neighbours. Returns the number of points, 0 where a corner is not finite or the pixel
    goes round a pole."""
    bu, bv = u1[x + 1], v1[x + 1]
    cu, cv = bu + wrap(u1[x + 2] - bu, period), v1[x + 2]
    du, dv = cu + wrap(u2[x + 2] - cu, period), v2[x + 2]
    eu, ev = du + wrap(u2[x + 1] - du, period), v2[x + 1]
    if not (abs(bu + cu + du + eu) < 1e300 and abs(bv + cv + dv + ev) < 1e300):
        return 0
    if abs(eu - bu) > 0.5 * period and period > 0.0:
        return 0
    bu, cu, du, eu = bu + shift, cu + shift, du + shift, eu + shift
    if n == 1:
        out_u[0], out_u[1], out_u[2], out_u[3] = bu, cu, du, eu
        out_v[0], out_v[1], out_v[2], out_v[3] = bv, cv, dv, ev
        return 4
    m = 0
    # top, right, bottom, left
    a, d = bu + wrap(u1[x] + shift - bu, period), cu + wrap(u1[x + 3] + shift - cu, period)
    m = edge(out_u, out_v, m, n, a, bu, cu, d, v1[x], bv, cv, v1[x + 3], True, True, True)
    a, d = cu + wrap(u0[x + 2] + shift - cu, period), du + wrap(u3[x + 2] + shift - du, period)
    m = edge(out_u, out_v, m, n, a, cu, du, d, v0[x + 2], cv, dv, v3[x + 2], top_ok, bottom_ok, True)
    a, d = eu + wrap(u2[x] + shift - eu, period), du + wrap(u2[x + 3] + shift - du, period)
    m = edge(out_u, out_v, m, n, a, eu, du, d, v2[x], ev, dv, v2[x + 3], True, True, False)
    a, d = bu + wrap(u0[x + 1] + shift - bu, period), eu + wrap(u3[x + 1] + shift - eu, period)
    m = edge(out_u, out_v, m, n, a, bu, eu, d, v0[x + 1], bv, ev, v3[x + 1], top_ok, bottom_ok, False)
    return m


@kernel
def signed_area(u, v, m):
    """Area of the polygon of m points, relative to its first point."""
    total = 0.0
    for i in range(1, m - 1):
        total += (u[i] - u[0]) * (v[i + 1] - v[0]) - (u[i + 1] - u[0]) * (v[i] - v[0])
    return 0.5 * total


@kernel
def sweep_row(u, v, m, low, high, left, columns, here, right):
    """Signed areas of a polygon in the cells of one row of the target, low <= v < high.

    here[c] receives the area between the edges that pass cell left + c and its right border, right[c]
    the height that the edges of cells before c have covered (as font rasterisers do).
    """
    for c in range(columns + 1):
        here[c] = 0.0
        right[c] = 0.0
    for i in range(m):
        j = i + 1 if i + 1 < m else 0
        ua, va, ub, vb = u[i], v[i], u[j], v[j]
        if (va <= low and vb <= low) or (va >= high and vb >= high) or va == vb:
            continue
        slope = (ub - ua) / (vb - va)
        if va < low:
            ua, va = ua + (low - va) * slope, low
        elif va > high:
            ua, va = ua + (high - va) * slope, high
        if vb < low:
            ub, vb = ub + (low - vb) * slope, low
        elif vb > high:
            ub, vb = ub + (high - vb) * slope, high
        ca, cb = int(np.floor(ua)) - left, int(np.floor(ub)) - left
        ca, cb = min(max(ca, 0), columns - 1), min(max(cb, 0), columns - 1)
        if ca == cb:
            here[ca] += (vb - va) * (left + ca + 1 - 0.5 * (ua + ub))
            right[ca + 1] += vb - va
            continue
        # The edge passes several cells: piece by piece, in the direction of its travel.
        back = ca > cb
        pu, pv, c = ua, va, ca
        rise = (vb - va) / (ub - ua)
        while True:
            if c == cb:
                qu, qv = ub, vb
            else:
                qu = float(left + c) if back else float(left + c + 1)
                qv = va + (qu - ua) * rise
            here[c] += (qv - pv) * (left + c + 1 - 0.5 * (pu + qu))
            right[c + 1] += qv - pv
            if c == cb:
                break
            pu, pv = qu, qv
            c += -1 if back else 1


@kernel
def clip(u, v, m, axis, line, keep_above, out_u, out_v):
    """Part of a polygon (m points) on one side of a grid line; returns its number of points."""
    k = 0
    for i in range(m):
        j = i + 1 if i + 1 < m else 0
        pa = (u[i] if axis == 0 else v[i]) - line
        pb = (u[j] if axis == 0 else v[j]) - line
        if not keep_above:
            pa, pb = -pa, -pb
        if pa >= 0.0:
            out_u[k], out_v[k] = u[i], v[i]
            k += 1
        if (pa > 0.0 and pb < 0.0) or (pa < 0.0 and pb > 0.0):
            t = pa / (pa - pb)
            out_u[k], out_v[k] = u[i] + t * (u[j] - u[i]), v[i] + t * (v[j] - v[i])
            k += 1
    return k


@kernel
def centroid(u, v, m):
    """Area and centroid of a polygon, relative to its first point."""
    area, cu, cv = 0.0, 0.0, 0.0
    for i in range(1, m - 1):
        au, av, bu, bv = u[i] - u[0], v[i] - v[0], u[i + 1] - u[0], v[i + 1] - v[0]
        w = 0.5 * (au * bv - bu * av)
        area += w
        cu += w * (au + bu) / 3.0
        cv += w * (av + bv) / 3.0
    if area == 0.0:
        return 0.0, u[0], v[0]
    return area, u[0] + cu / area, v[0] + cv / area


@kernel
def density_at(u, v, density, spacing, first_row, first_column):
    """Area per target cell at (u, v) from its values at nodes each `spacing` cells (bicubic)."""
    i, j = int(np.floor(v / spacing)), int(np.floor(u / spacing))
    i = min(max(i - first_row, 1), density.shape[0] - 3)
    j = min(max(j - first_column, 1), density.shape[1] - 3)
    t, s = v / spacing - (i + first_row), u / spacing - (j + first_column)
    total = 0.0
    for a in range(4):
        wa = (
            -t * (t - 1) * (t - 2) / 6
            if a == 0
            else (t + 1) * (t - 1) * (t - 2) / 2
            if a == 1
            else -(t + 1) * t * (t - 2) / 2
            if a == 2
            else (t + 1) * t * (t - 1) / 6
        )
        for b in range(4):
            wb = (
                -s * (s - 1) * (s - 2) / 6
                if b == 0
                else (s + 1) * (s - 1) * (s - 2) / 2
                if b == 1
                else -(s + 1) * s * (s - 2) / 2
                if b == 2
                else (s + 1) * s * (s - 1) / 6
            )
            total += wa * wb * density[i - 1 + a, j - 1 + b]
    return total


@kernel
def pixel_cells(
    pu,
    pv,
    m,
    area,
    r0,
    r1,
    c0,
    c1,
    edges,
    uniform,
    density,
    spacing,
    dens_row,
    dens_column,
    here,
    right,
    work,
    cells,
    areas,
):
    """Overlaps of one pixel with the cells of a tile: numbers within the tile and areas.

    `area` > 0 is the pixel's own in target indices; returns (how many, the pixel's true area).
    The scratch rows `here`, `right` must hold its columns + 2.
    """
    low_u, high_u, low_v, high_v = pu[0], pu[0], pv[0], pv[0]
    for i in range(1, m):
        low_u, high_u = min(low_u, pu[i]), max(high_u, pu[i])
        low_v, high_v = min(low_v, pv[i]), max(high_v, pv[i])
    if high_u <= c0 or low_u >= c1:
        return 0, area
    ra, rb = row_of(low_v, edges, uniform), row_of(high_v, edges, uniform)
    ra, rb = max(ra, r0), min(rb + 1, r1)
    left = int(np.floor(low_u))
    columns = int(np.floor(high_u)) - left + 1
    general = density.size > 0
    sign = 1.0 if signed_area(pu, pv, m) > 0.0 else -1.0
    true = area
    if general:
        _, cu, cv = centroid(pu, pv, m)
        true = area * density_at(cu, cv, density, spacing, dens_row, dens_column)
    n = 0
    for r in range(ra, rb):
        least = SLIVER * min(area, edges[r + 1] - edges[r])
        if not general:
            sweep_row(pu, pv, m, edges[r], edges[r + 1], left, columns, here, right)
            covered = 0.0
            for c in range(min(columns, c1 - left)):
                covered += right[c]
                a = -sign * (here[c] + covered)
                if c >= c0 - left and a > least:
                    cells[n] = (r - r0) * (c1 - c0) + left + c - c0
                    areas[n] = a
                    n += 1
            continue
        k = clip(pu, pv, m, 1, edges[r], True, work[0], work[1])
        k = clip(work[0], work[1], k, 1, edges[r + 1], False, work[2], work[3])
        for c in range(max(left, c0), min(left + columns, c1)):
            i = clip(work[2], work[3], k, 0, float(c), True, work[0], work[1])
            i = clip(work[0], work[1], i, 0, float(c + 1), False, work[4], work[5])
            if i < 3:
                continue
            a, cu, cv = centroid(work[4], work[5], i)
            if sign * a > least:
                cells[n] = (r - r0) * (c1 - c0) + c - c0
                areas[n] = sign * a * density_at(cu, cv, density, spacing, dens_row, dens_column)
                n += 1
    return n, true
