"""Overlaps of strips of pixels with the cells of a tile; compiled.

Pixels within one cell keep their area in place. Pixels across one line, or one line each way, are
listed and cut in closed form; all others go the general way. Cells are numbered within the tile and a
ring of cells around it, which takes what belongs elsewhere.
"""

from __future__ import annotations

import numpy as np

from xsoil.grids.sheared_cuts import corner_parts, gather, line_parts, row_bends, share_out
from xsoil.grids.sheared_lines import (
    RING,
    classify,
    corner_cells,
    corner_cells_uneven,
    fill_line,
    quad_areas,
    split,
)
from xsoil.grids.sheared_polygons import density_at, outline, pixel_cells, signed_area
from xsoil.grids.sheared_types import PITCH, grown
from xsoil.jit import kernel


@kernel
def weigh(s, n, top, bottom, shift, tile):
    """Multiply the areas of pixels within one cell with the density at their middles."""
    u, v = s.u, s.v
    for x in range(n):
        if s.key[x] & 7 == 0:
            a = 0.25 * (u[top, x + 1] + u[top, x + 2] + u[bottom, x + 1] + u[bottom, x + 2]) + shift
            b = 0.25 * (v[top, x + 1] + v[top, x + 2] + v[bottom, x + 1] + v[bottom, x + 2])
            density = density_at(a, b, tile)
            s.whole[x] = s.whole[x] * density if density > 0.0 else 0.0


@kernel
def bulge_out(s, n, top, bend, sign):
    """Add the bulge of their edges to the areas of whole pixels, where all neighbours are known."""
    u, v, whole, key = s.u, s.v, s.whole, s.key
    i0, i1, i2, i3 = (top + 3) % 4, top % 4, (top + 1) % 4, (top + 2) % 4
    for x in range(n):
        if key[x] & 7 != 0 or bend != 3:
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
        if abs(more) < 0.1 * whole[x]:
            whole[x] += more


@kernel
def next_line(s, number, strips, lattice, x0, n):
    """Corners of the grid line of that number into its place in the ring."""
    fill_line(strips.line[number], strips.kink[number], lattice, x0 - 1, n + 3, s.nodes, s.u, s.v, number % 4)


@kernel
def locate(s, number, n, shift, tile, rule):
    """Cells of the corners of a grid line: one, or the lowest and highest if edges may bulge."""
    line, low = number % 4, 0.0 if rule.closed else -rule.sag
    r0, r1, c0, c1, n = tile.r0, tile.r1, tile.c0, tile.c1, n + 3
    if tile.uniform:
        corner_cells(s.u, s.v, line, n, shift, low, r0, r1, c0, c1, s.columns, s.rows)
        if not rule.closed:
            corner_cells(s.u, s.v, line, n, shift, rule.sag, r0, r1, c0, c1, s.outer_columns, s.outer_rows)
    else:
        edges = tile.edges
        corner_cells_uneven(s.u, s.v, line, n, shift, low, edges, r0, r1, c0, c1, s.columns, s.rows)
        if not rule.closed:
            corner_cells_uneven(
                s.u, s.v, line, n, shift, rule.sag, edges, r0, r1, c0, c1, s.outer_columns, s.outer_rows
            )


@kernel
def only_within(s, top, bottom, n, closed):
    """Leave all pixels but those within one cell to the general way; edges that may bulge over a line are
    seen by the cells of their corners moved out (s.outer_columns, s.outer_rows)."""
    for x in range(n):
        kind, same = s.key[x] & 7, True
        if kind == 0 and not closed:
            for lower, upper in ((s.columns, s.outer_columns), (s.rows, s.outer_rows)):
                a = lower[top, x + 1]
                same &= a == upper[top, x + 1] and a == upper[top, x + 2]
                same &= a == upper[bottom, x + 1] and a == upper[bottom, x + 2]
        if kind != 5 and (kind != 0 or not same):
            s.key[x] += 4 - kind


@kernel
def strip(s, p, strips, x0, n, shift, several, lattice, tile, rule, far):
    """Overlaps of one stretch of a strip: pixels' areas into s.whole, those of the parts in their first
    cells (s.key >> 3) into s.weight, and the overlaps with other cells, which are returned with their
    number."""
    top, bend = strips.top[p], strips.bend[p]
    i0, i1, i2, i3 = (top + 3) % 4, top % 4, (top + 1) % 4, (top + 2) % 4
    u, v, columns, rows, key, listed, whole, weight = s.u, s.v, s.columns, s.rows, s.key, s.listed, s.whole, s.weight
    width, heavy = tile.c1 - tile.c0 + 2 * RING, tile.density.size > 0
    if several or p == 0 or strips.top[p - 1] + 1 != top:
        locate(s, top, n, shift, tile, rule)
    locate(s, top + 1, n, shift, tile, rule)
    quad_areas(u, v, i1, i2, n, 0.5 * rule.sign, whole)
    classify(columns, rows, i1, i2, n, width, whole, rule.largest, key)
    if not rule.closed:
        bulge_out(s, n, top, bend, rule.sign)
    closed = rule.closed and bend == 3 and not heavy
    if not closed:
        only_within(s, i1, i2, n, rule.closed)
    if heavy:
        weigh(s, n, i1, i2, shift, tile)
    height = max(lattice.step // 3, 1)
    if p == 0 or strips.row[p - 1] // height != strips.row[p] // height:
        first = strips.row[p] // height * height
        row_bends(first, height, lattice, x0, n, rule.tolerance, 8.0 * rule.sag, s.bends)
    cuts, count = split(key, whole, n, weight, listed), 0
    listed[3 * PITCH] = 0
    if cuts > 0:
        shape, block, bends, edges, limit = s.shape, s.block, s.bends, tile.edges, 8.0 * rule.sag
        numbers = (i0, i1, i2, i3)
        lines, corners, others = gather(
            u, v, numbers, shift, edges, tile.uniform, rows, tile.r0, key, block, bends, limit, listed, 0, cuts, 0,
            shape, 0,
        )  # fmt: skip
        cuts, _, others = gather(
            u, v, numbers, shift, edges, tile.uniform, rows, tile.r0, key, block, bends, limit, listed, 1, corners,
            lines, shape, others,
        )  # fmt: skip
        line_parts(shape, lines)
        corner_parts(shape, lines, cuts)
        count = share_out(listed, lines, cuts, width, key, shape, whole, weight, far.x, far.cell, far.area)
        if others > 0:
            return general_cells(s, others, top, bend, shift, lattice.period, tile, rule, far, count)
    return count, far


@kernel
def general_cells(s, others, top, bend, shift, period, tile, rule, far, count):
    """Append the overlaps of the pixels of list 2; returns how many there are then, and the buffer."""
    tw, listed = tile.c1 - tile.c0, s.listed[2 * PITCH :]
    width, lines = tw + 2 * RING, ((top + 3) % 4, top % 4, (top + 1) % 4, (top + 2) % 4)
    for i in range(others):
        x = listed[i]
        found, s.whole[x], known = general(s, lines, bend, shift, period, x, tile, rule)
        if not known:
            s.listed[3 * PITCH] += 1
            s.listed[3 * PITCH + s.listed[3 * PITCH]] = x
        if count + found > far.cell.size:
            far = grown(far, count, 2 * (count + found))
        for f in range(found):
            r = s.found[f] // tw
            far.x[count], far.area[count] = x, s.areas[f]
            far.cell[count] = (r + RING) * width + s.found[f] - r * tw + RING
            count += 1
    return count, far


@kernel
def general(s, lines, bend, shift, period, x, tile, rule):
    """Overlaps of one pixel the general way into s.found (numbers within the tile), s.areas; returns how
    many they are, the pixel's area, and whether it is a whole pixel."""
    i0, i1, i2, i3 = lines
    u, v = s.u, s.v
    m = outline(u[i0], v[i0], u[i1], v[i1], u[i2], v[i2], u[i3], v[i3], x, rule.segments, (bend & 1) != 0,
                (bend & 2) != 0, period, shift, s.points[0], s.points[1])  # fmt: skip
    area = rule.sign * signed_area(s.points[0], s.points[1], m) if m > 0 else 0.0
    if not 0.0 < area <= rule.largest:
        return 0, area, False
    found, true = pixel_cells(s.points[0], s.points[1], m, area, tile, s.sweep, s.work, s.found, s.areas)
    return found, true, True


@kernel
def note_lost(s, strips, p, x0, lost, count):
    """Append the pixels of the last strip that have no outline (list 3) to a list of column, row, top and
    height; returns it and its length."""
    found, row, height = s.listed[3 * PITCH], strips.row[p], strips.share[p]
    top = row if strips.kink[strips.top[p]] < 0 else row + 1.0 - height
    if count + found > len(lost):
        longer = np.empty((2 * (count + found), 4))
        longer[:count] = lost[:count]
        lost = longer
    for i in range(found):
        lost[count, 0], lost[count, 1] = x0 + s.listed[3 * PITCH + 1 + i], row
        lost[count, 2], lost[count, 3] = top, height
        count += 1
    return lost, count
