"""Overlaps of strips of pixels with the cells of a tile; compiled.

Pixels within one cell keep their area in place. Pixels across one line, or one line each way, are
listed and cut in closed form; all others go the general way. Cells are numbered within the tile and a
ring of cells around it, which takes what belongs elsewhere.
"""

from __future__ import annotations

import numpy as np

from xsoil.grids.sheared_bends import row_bends
from xsoil.grids.sheared_cuts import (
    corner_parts,
    gather_corners,
    gather_lines,
    line_parts,
    list_corners,
    look_closer,
    row_lines,
    share_lines,
    take_own,
)
from xsoil.grids.sheared_lines import (
    FLOOR_V,
    RING,
    ROW,
    classify,
    cut_pixels,
    fill_line,
    low_bits,
    positions,
)
from xsoil.grids.sheared_polygons import density_at, outline, pixel_cells, signed_area
from xsoil.grids.sheared_types import PITCH, grown
from xsoil.jit import kernel

# Bulge of the edges of a whole pixel, relative to its area, up to which parabolas are good enough.
MUCH = 0.01


@kernel
def weigh(s, n, top, bottom, tile):
    """Multiply the areas of pixels within one cell with the density at their middles."""
    u, v = s.u, s.v
    for x in range(n):
        if s.key[x] & 7 == 0:
            a = 0.25 * (u[top, x + 1] + u[top, x + 2] + u[bottom, x + 1] + u[bottom, x + 2])
            b = 0.25 * (v[top, x + 1] + v[top, x + 2] + v[bottom, x + 1] + v[bottom, x + 2])
            density = density_at(a, b, tile)
            s.whole[x] = s.whole[x] * density if density > 0.0 else 0.0
            s.weight[x] = s.whole[x]


@kernel
def bulge_out(s, n, top, sign):
    """Add the bulge of their edges to the areas of whole pixels; leave those that bulge much, or lack a neighbour, to
    the general way."""
    u, v, whole, weight, key = s.u, s.v, s.whole, s.weight, s.key
    i0, i1, i2, i3 = (top + 3) % 4, top % 4, (top + 1) % 4, (top + 2) % 4
    for x in range(n):
        if key[x] & 7 != 0:
            continue
        bu, cu, du, eu = u[i1, x + 1], u[i1, x + 2], u[i2, x + 2], u[i2, x + 1]
        bv, cv, dv, ev = v[i1, x + 1], v[i1, x + 2], v[i2, x + 2], v[i2, x + 1]
        tu, tv = bu + cu - u[i1, x] - u[i1, x + 3], bv + cv - v[i1, x] - v[i1, x + 3]
        wu, wv = eu + du - u[i2, x] - u[i2, x + 3], ev + dv - v[i2, x] - v[i2, x + 3]
        ru, rv = cu + du - u[i0, x + 2] - u[i3, x + 2], cv + dv - v[i0, x + 2] - v[i3, x + 2]
        lu, lv = bu + eu - u[i0, x + 1] - u[i3, x + 1], bv + ev - v[i0, x + 1] - v[i3, x + 1]
        # Between chord and parabola lie 2/3 of chord x bend; the sums are 16 bends.
        more = tu * (cv - bv) - tv * (cu - bu) + ru * (dv - cv) - rv * (du - cu)
        more += wu * (ev - dv) - wv * (eu - du) + lu * (bv - ev) - lv * (bu - eu)
        more *= sign / 24.0
        if abs(more) < MUCH * whole[x]:
            whole[x] += more
            weight[x] = whole[x]
        else:
            key[x] += 4
            weight[x] = 0.0


@kernel
def next_line(s, number, strips, lattice, x0, n, shift, tile):
    """Corners of the line of that number among those of the strips into its place in the ring."""
    line, seam, place = strips.line[number], strips.seam[number], number % 4
    fill_line(line, seam, lattice, x0 - 1, n + 3, shift, tile.edges, tile.uniform, s.cubics, s.corners, place)
    s.known[place] = False


@kernel
def know(s, place, n, bits):
    """Positions of the corners of a grid line, if they are not there yet."""
    if not s.known[place]:
        positions(s.corners, place, n + 3, bits, s.u, s.v)
        s.known[place] = True


@kernel
def apart(low, high, sag, first, last):
    """True where a stretch low..high keeps further than `sag` from both lines."""
    return low - sag >= first and high + sag < last


@kernel
def only_within(s, top, bottom, n, inner, closed, sag, tile):
    """Leave all pixels but those within one cell (whose edges do not bulge over a line) to the general way; next to a
    seam (`inner`) all whose edges bulge."""
    u, v, edges, width = s.u, s.v, tile.edges, tile.c1 - tile.c0 + 2 * RING
    for x in range(n):
        kind, same = s.key[x] & 7, closed or not inner
        if kind == 0 and same and not closed:
            column, row = np.floor(u[top, x + 1]), (s.key[x] >> 3) // width + tile.r0 - RING
            a, b, c, d = u[top, x + 1], u[top, x + 2], u[bottom, x + 1], u[bottom, x + 2]
            same = apart(min(min(a, b), min(c, d)), max(max(a, b), max(c, d)), sag, column, column + 1.0)
            a, b, c, d = v[top, x + 1], v[top, x + 2], v[bottom, x + 1], v[bottom, x + 2]
            upper = edges[row] if 0 <= row < edges.size else -np.inf
            lower = edges[row + 1] if 0 <= row + 1 < edges.size else np.inf
            same &= apart(min(min(a, b), min(c, d)), max(max(a, b), max(c, d)), sag, upper, lower)
        if kind != 5 and (kind != 0 or not same):
            s.key[x] += 4 - kind
            s.weight[x] = 0.0


@kernel
def strip(s, p, strips, x0, n, lattice, tile, rule, torn, far):
    """Overlaps of one stretch of a strip.

    Pixels' areas come into s.whole, what of them lies in their first cells (s.key >> 3) into s.weight, if they lie
    within one cell or across one line; all other overlaps are listed. Returns their number and their list.
    """
    top, inner, bits = strips.top[p], strips.inner[p], low_bits(tile.uniform)
    i0, i1, i2, i3 = (top + 3) % 4, top % 4, (top + 1) % 4, (top + 2) % 4
    corners, key, listed, whole, weight = s.corners, s.key, s.listed, s.whole, s.weight
    width, heavy = tile.c1 - tile.c0 + 2 * RING, tile.density.size > 0
    rows = FLOOR_V if tile.uniform else ROW
    classify(corners, i1, i2, rows, n, tile, 0.5 * rule.sign, bits, rule.largest, torn, key, whole, weight)
    closed = rule.closed and not inner and not heavy
    if heavy or not rule.closed:
        for place in (i0, i1, i2, i3):
            know(s, place, n, bits)
    if not rule.closed and not inner:
        bulge_out(s, n, top, rule.sign)
    if not closed:
        only_within(s, i1, i2, n, inner, rule.closed, rule.sag, tile)
    if heavy:
        weigh(s, n, i1, i2, tile)
    height = max(lattice.step // 3, 1)
    if p == 0 or strips.row[p - 1] // height != strips.row[p] // height:
        first = strips.row[p] // height * height
        s.known[4] = row_bends(first, height, lattice, x0, n, rule.tolerance, 8.0 * rule.sag, s.fours)
    count, cuts = 0, cut_pixels(key, n, listed)
    listed[3 * PITCH] = 0
    if cuts > 0:
        shape, outlines, curves, block, fours = s.shape, s.outline, s.curves, s.block, s.fours
        numbers, even, rough, across = (i0, i1, i2, i3), tile.uniform, s.known[4], s.across
        if rough:
            look_closer(corners, numbers, bits, key, block, fours, 8.0 * rule.sag, listed, cuts, s.own)
        lines, twice, others = gather_lines(corners, numbers, key, block, fours, listed, cuts, outlines, curves)
        cuts = gather_corners(corners, numbers, block, fours, listed, twice, lines, outlines, curves)
        if rough:
            take_own(listed, cuts, block, fours, s.own, curves)
        if not even:
            row_lines(corners, numbers, tile.edges, bits, key, listed, cuts, outlines, across)
        line_parts(outlines, curves, across, even, lines, bits, shape)
        corner_parts(outlines, curves, across, even, lines, cuts, bits, shape)
        count = share_lines(listed, lines, width, key, shape, whole, weight, far.x, far.cell, far.area)
        count = list_corners(listed, lines, cuts, width, key, shape, whole, far.x, far.cell, far.area, count)
        if others > 0:
            for place in numbers:
                know(s, place, n, bits)
            count, far = general_cells(s, others, top, inner, lattice.period, tile, rule, far, count)
    return count, far


@kernel
def general_cells(s, others, top, inner, period, tile, rule, far, count):
    """Append the overlaps of the pixels of list 2; returns how many there are then, and the buffer."""
    tw, listed = tile.c1 - tile.c0, s.listed[2 * PITCH :]
    width, lines = tw + 2 * RING, ((top + 3) % 4, top % 4, (top + 1) % 4, (top + 2) % 4)
    for i in range(others):
        x = listed[i]
        found, area, known = general(s, lines, inner, period, x, tile, rule)
        s.whole[x] = area
        # Shares of a pixel add up to 1 with the area that is kept of it, too.
        rounded = np.float64(s.whole[x]) / area if known else 1.0
        if not known:
            s.listed[3 * PITCH] += 1
            s.listed[3 * PITCH + s.listed[3 * PITCH]] = x
        if count + found > far.cell.size:
            far = grown(far, count, 2 * (count + found))
        for f in range(found):
            r = s.found[f] // tw
            far.x[count], far.area[count] = x, s.areas[f] * rounded
            far.cell[count] = (r + RING) * width + s.found[f] - r * tw + RING
            count += 1
    return count, far


@kernel
def general(s, lines, inner, period, x, tile, rule):
    """Overlaps of one pixel the general way into s.found (numbers within the tile), s.areas; returns how
    many they are, the pixel's area, and whether it is a whole pixel."""
    i0, i1, i2, i3 = lines
    u, v = s.u, s.v
    m = outline(u[i0], v[i0], u[i1], v[i1], u[i2], v[i2], u[i3], v[i3], x, rule.segments, inner,
                period, 0.0, s.points[0], s.points[1])  # fmt: skip
    area = rule.sign * signed_area(s.points[0], s.points[1], m) if m > 0 else 0.0
    if not 0.0 < area <= rule.largest:
        return 0, area, False
    found, true = pixel_cells(s.points[0], s.points[1], m, area, tile, s.sweep, s.work, s.found, s.areas)
    return found, true, True


@kernel
def note_lost(s, strips, p, x0, lost, count):
    """Append the pixels of the last strip that have no outline (list 3) to a list of column, row, top and
    height; returns it and its length."""
    found, row, top, height = s.listed[3 * PITCH], strips.row[p], strips.start[p], strips.share[p]
    if count + found > len(lost):
        longer = np.empty((2 * (count + found), 4))
        longer[:count] = lost[:count]
        lost = longer
    for i in range(found):
        lost[count, 0], lost[count, 1] = x0 + s.listed[3 * PITCH + 1 + i], row
        lost[count, 2], lost[count, 3] = top, height
        count += 1
    return lost, count
