"""The general way: outlines of curved pixels, and their overlaps with target cells of any size; compiled.

Pixels are quads between corners in target indices; their edges are cubics through the four nearest
corners of their grid line (next to a seam through four of their own), followed by chords.
"""

from __future__ import annotations

import numpy as np

from xsoil.grids.sheared_lines import row_near, wrap
from xsoil.jit import kernel

# Overlaps below this share of the smaller cell are dropped.
SLIVER = 1e-9

# Distance of Gauss's outer points from the middle of a cell.
GAUSS = 0.5 * 0.6**0.5

# Side of a pixel: distance from the curve, relative to its length, above which its neighbours do not tell it.
UNSURE = 1e-4

# Greatest error of a cubic through four points between the middle ones, relative to the fourth difference; of a
# parabola through three, relative to the third.
OF_FOURTH, OF_THIRD = 3.0 / 128.0, 1.0 / 16.0


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
def inner_bend(a, b, c, d, a_ok, d_ok):
    """`bend` of the cubic through b, a, d, c, where a and d lie between them at thirds."""
    # Deviations from the chord are t (t - 1) (first + more t).
    near, far = 4.5 * ((2.0 * b + c) / 3.0 - a), 4.5 * ((b + 2.0 * c) / 3.0 - d)
    if not (a_ok and d_ok):
        middle = near if a_ok else far if d_ok else 0.0
        return 2.0 * middle, 2.0 * middle
    more = 3.0 * (far - near)
    first = near - more / 3.0
    return 2.0 * (first - more), 2.0 * (first + 2.0 * more)


@kernel
def neighbours(ua, ub, uc, ud, va, vb, vc, vd):
    """Whether a and d are neighbours of the edge b-c: points that are not finite, or lie across a jump (in another
    lobe), are not."""
    long2 = 16.0 * ((uc - ub) ** 2 + (vc - vb) ** 2)
    return (ua - ub) ** 2 + (va - vb) ** 2 <= long2, (ud - uc) ** 2 + (vd - vc) ** 2 <= long2


@kernel
def unsure(ua, ub, uc, ud, va, vb, vc, vd):
    """True where the corners before and after the edge b-c may not tell how it bends.

    The next difference is estimated from how they shrink from order to order (where that is from the first to the third
    faster than from the second: it has a turning point)."""
    length2 = (uc - ub) ** 2 + (vc - vb) ** 2
    if length2 == 0.0:
        return False
    a_ok, d_ok = neighbours(ua, ub, uc, ud, va, vb, vc, vd)
    left, right = (ua - 2.0 * ub + uc, va - 2.0 * vb + vc), (ub - 2.0 * uc + ud, vb - 2.0 * vc + vd)
    if a_ok and d_ok:
        third2 = (right[0] - left[0]) ** 2 + (right[1] - left[1]) ** 2
        second2 = 0.25 * ((left[0] + right[0]) ** 2 + (left[1] + right[1]) ** 2)
        shrink2 = np.sqrt(third2 / length2)
        if third2 < shrink2 * second2:
            shrink2 = third2 / second2
        error2 = OF_FOURTH**2 * third2 * shrink2
    elif a_ok or d_ok:
        one = left if a_ok else right
        second2 = one[0] ** 2 + one[1] ** 2
        error2 = OF_THIRD**2 * second2 * second2 / length2
    else:
        return True
    return error2 > UNSURE**2 * length2


@kernel
def edge(u, v, m, n, ua, ub, uc, ud, va, vb, vc, vd, inner, forward):
    """Append the points of the edge b-c (c-b if not forward), without its last one, at u[m:], v[m:]; a and d come
    before and after it, or lie in between at thirds (`inner`)."""
    if n == 1:
        u[m], v[m] = (ub, vb) if forward else (uc, vc)
        return m + 1
    a_ok, d_ok = neighbours(ua, ub, uc, ud, va, vb, vc, vd)
    if inner:
        (lu, ru), (lv, rv) = inner_bend(ua, ub, uc, ud, a_ok, d_ok), inner_bend(va, vb, vc, vd, a_ok, d_ok)
    else:
        (lu, ru), (lv, rv) = bend(ua, ub, uc, ud, a_ok, d_ok), bend(va, vb, vc, vd, a_ok, d_ok)
    for i in range(n):
        t = i / n if forward else (n - i) / n
        f, w = t * (1.0 - t) / 6.0, 1.0 - t
        u[m] = ub * w + uc * t - f * ((2.0 - t) * lu + (1.0 + t) * ru)
        v[m] = vb * w + vc * t - f * ((2.0 - t) * lv + (1.0 + t) * rv)
        m += 1
    return m


@kernel
def outline(u0, v0, u1, v1, u2, v2, u3, v3, x, n, inner, period, shift, out_u, out_v):
    """Outline of the pixel between lines 1 and 2, columns x and x + 1 (of rows of corners); lines 0 and
    3 are their neighbours, or lie between them at thirds (`inner`). Returns the number of points, 0 where a corner is
    not finite, the pixel goes round a pole, or its neighbours do not tell how its sides bend."""
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
    # Before and after the ends of each side.
    top_a, top_d = bu + wrap(u1[x] + shift - bu, period), cu + wrap(u1[x + 3] + shift - cu, period)
    right_a, right_d = cu + wrap(u0[x + 2] + shift - cu, period), du + wrap(u3[x + 2] + shift - du, period)
    low_a, low_d = eu + wrap(u2[x] + shift - eu, period), du + wrap(u2[x + 3] + shift - du, period)
    left_a, left_d = bu + wrap(u0[x + 1] + shift - bu, period), eu + wrap(u3[x + 1] + shift - eu, period)
    if not inner and (
        unsure(top_a, bu, cu, top_d, v1[x], bv, cv, v1[x + 3])
        or unsure(right_a, cu, du, right_d, v0[x + 2], cv, dv, v3[x + 2])
        or unsure(low_a, eu, du, low_d, v2[x], ev, dv, v2[x + 3])
        or unsure(left_a, bu, eu, left_d, v0[x + 1], bv, ev, v3[x + 1])
    ):
        return 0
    m = edge(out_u, out_v, 0, n, top_a, bu, cu, top_d, v1[x], bv, cv, v1[x + 3], False, True)
    m = edge(out_u, out_v, m, n, right_a, cu, du, right_d, v0[x + 2], cv, dv, v3[x + 2], inner, True)
    m = edge(out_u, out_v, m, n, low_a, eu, du, low_d, v2[x], ev, dv, v2[x + 3], False, False)
    m = edge(out_u, out_v, m, n, left_a, bu, eu, left_d, v0[x + 1], bv, ev, v3[x + 1], inner, False)
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
def cubic_weight(t, node):
    """Lagrange weight of the node at `node` - 1 among -1, 0, 1, 2."""
    if node == 0:
        return -t * (t - 1.0) * (t - 2.0) / 6.0
    if node == 1:
        return (t + 1.0) * (t - 1.0) * (t - 2.0) / 2.0
    if node == 2:
        return -(t + 1.0) * t * (t - 2.0) / 2.0
    return (t + 1.0) * t * (t - 1.0) / 6.0


@kernel
def density_at(u, v, tile):
    """Area per target cell at (u, v), bicubic between its values at every `spacing` cells."""
    spacing, density = tile.spacing, tile.density
    i, j = int(np.floor(v / spacing)), int(np.floor(u / spacing))
    i = min(max(i - tile.density_row, 1), density.shape[0] - 3)
    j = min(max(j - tile.density_column, 1), density.shape[1] - 3)
    t, s = v / spacing - (i + tile.density_row), u / spacing - (j + tile.density_column)
    total = 0.0
    for a in range(4):
        line = 0.0
        for b in range(4):
            line += cubic_weight(s, b) * density[i - 1 + a, j - 1 + b]
        total += cubic_weight(t, a) * line
    return total


@kernel
def cell_areas(tile):
    """Areas of the cells of a tile, by Gauss's rule with 3 x 3 points in each."""
    height, width = tile.r1 - tile.r0, tile.c1 - tile.c0
    found = np.zeros((height, width))
    for r in range(height):
        for c in range(width):
            for i in range(9):
                y, x = i // 3 - 1, i % 3 - 1
                weight = (8.0 - 3.0 * abs(y)) * (8.0 - 3.0 * abs(x)) / 324.0
                row, column = tile.r0 + r + 0.5 + y * GAUSS, tile.c0 + c + 0.5 + x * GAUSS
                found[r, c] += weight * density_at(column, row, tile)
    return found


@kernel
def clipped_cells(pu, pv, m, sign, least_of, r, left, right, tile, work, cells, areas, n):
    """Append the overlaps of a polygon with cells left..right of row r, weighted with the density."""
    width = tile.c1 - tile.c0
    k = clip(pu, pv, m, 1, tile.edges[r], True, work[0], work[1])
    k = clip(work[0], work[1], k, 1, tile.edges[r + 1], False, work[2], work[3])
    for c in range(max(left, tile.c0), min(right, tile.c1)):
        i = clip(work[2], work[3], k, 0, float(c), True, work[0], work[1])
        i = clip(work[0], work[1], i, 0, float(c + 1), False, work[4], work[5])
        if i < 3:
            continue
        a, cu, cv = centroid(work[4], work[5], i)
        true = sign * a * density_at(cu, cv, tile)
        if sign * a > least_of and true > 0.0:
            cells[n] = (r - tile.r0) * width + c - tile.c0
            areas[n] = true
            n += 1
    return n


@kernel
def pixel_cells(pu, pv, m, area, tile, sweep, work, cells, areas):
    """Overlaps of one pixel with the cells of a tile: numbers within the tile and areas.

    `area` > 0 is the pixel's own in target indices; returns (how many, the pixel's true area).
    """
    low_u, high_u, low_v, high_v = pu[0], pu[0], pv[0], pv[0]
    for i in range(1, m):
        low_u, high_u = min(low_u, pu[i]), max(high_u, pu[i])
        low_v, high_v = min(low_v, pv[i]), max(high_v, pv[i])
    if high_u <= tile.c0 or low_u >= tile.c1:
        return 0, area
    edges = tile.edges
    ra = row_near(low_v, edges, 0 if not tile.uniform else int(low_v))
    rb = row_near(high_v, edges, ra)
    ra, rb = max(ra, tile.r0), min(rb + 1, tile.r1)
    left = int(np.floor(low_u))
    columns = int(np.floor(high_u)) - left + 1
    if columns + 2 > sweep.shape[1]:
        sweep = np.empty((2, columns + 2))
    here, right = sweep[0], sweep[1]
    sign = 1.0 if signed_area(pu, pv, m) > 0.0 else -1.0
    true = area
    general = tile.density.size > 0
    if general:
        _, cu, cv = centroid(pu, pv, m)
        true = area * density_at(cu, cv, tile)
    n = 0
    for r in range(ra, rb):
        least = SLIVER * min(area, edges[r + 1] - edges[r])
        if general:
            n = clipped_cells(pu, pv, m, sign, least, r, left, left + columns, tile, work, cells, areas, n)
            continue
        sweep_row(pu, pv, m, edges[r], edges[r + 1], left, columns, here, right)
        covered = 0.0
        for c in range(min(columns, tile.c1 - left)):
            covered += right[c]
            a = -sign * (here[c] + covered)
            if c >= tile.c0 - left and a > least:
                cells[n] = (r - tile.r0) * (tile.c1 - tile.c0) + left + c - tile.c0
                areas[n] = a
                n += 1
    return n, true
