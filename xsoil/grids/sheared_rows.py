"""Overlaps of strips of pixels with the cells of a tile; compiled.

Pixels within one cell keep their area in place. Pixels across one line, or one line each way, are
listed and cut in closed form (Green's theorem along their edges); all others go the general way. Cells
are numbered within the tile and a ring of cells around it, which takes what belongs elsewhere.
"""

from __future__ import annotations

from xsoil.grids.sheared_lines import (
    RING,
    add_bulge,
    chord_integrals,
    classify,
    corner_cells,
    corner_cells_uneven,
    corner_integrals,
    count_rough,
    edge_integrals,
    fill_line,
    gather,
    note,
    pick,
    quad_areas,
    split,
)
from xsoil.grids.sheared_polygons import (
    SLIVER,
    density_at,
    outline,
    pixel_cells,
    signed_area,
)
from xsoil.grids.sheared_types import (
    BAND,
    grown,
)
from xsoil.jit import kernel


@kernel
def find_quarters(s, top, bottom, width, m):
    """Move the pixels across one line each way from the list of `m` others to list 2, their first cells
    into s.first; returns the lengths of both."""
    both, others = 0, 0
    for i in range(m):
        x = s.listed[3, i]
        if s.weight[x] != s.weight[x]:
            continue
        b, c, d, e = s.cells[top, x + 1], s.cells[top, x + 2], s.cells[bottom, x + 2], s.cells[bottom, x + 1]
        low, high = min(min(b, c), min(d, e)), max(max(b, c), max(d, e))
        four = first_of_four(b, c, d, e, low, high, width) if high > low else -1
        if four >= 0:
            s.listed[2, both], s.first[both] = x, four
            both += 1
        else:
            s.listed[3, others] = x
            others += 1
    return both, others


@kernel
def first_of_four(b, c, d, e, low, high, width):
    """Upper left of the 2 x 2 cells that hold four corners, or -1."""
    across = high - low
    if across == width - 1:
        first = low - 1
    elif across == width + 1:
        first = low
    elif across == width:
        left = b == high - 1 or c == high - 1 or d == high - 1 or e == high - 1
        first = low - 1 if left else low
    else:
        return -1
    next_row = first + width
    if (
        (b == first or b == first + 1 or b == next_row or b == next_row + 1)
        and (c == first or c == first + 1 or c == next_row or c == next_row + 1)
        and (d == first or d == first + 1 or d == next_row or d == next_row + 1)
        and (e == first or e == first + 1 or e == next_row or e == next_row + 1)
    ):
        return first
    return -1


@kernel
def list_cuts(u, v, cells, weight, index, first, kind, m, top, y, x0, shift, share, edges, uniform, r0, width, limit,
              largest, shape, pixel, shares, area, zero, size, line, at, others):  # fmt: skip
    """Append the `m` pixels of list `kind` to the cuts from number `at` on; those that are not smooth go
    to the other list instead. Returns the lengths of both.

    Takes arrays one by one: reaching into a tuple counts references, which costs more than short loops.
    """
    i0, i1, i2, i3, row = (top + 3) % 4, top % 4, (top + 1) % 4, (top + 2) % 4, 3 * kind
    note(cells, i1, i2, kind, index, m, y, x0, pixel, row, at)
    if kind == 2:
        for i in range(m):
            pixel[row + 2, at + i] = first[i]
    pick(weight, kind, index, m, share, area, shares, size, at)
    # Along the line only differences matter.
    corner, crossed = 16 * kind, kind != 0
    gather(u, i0, i1, i2, i3, kind, index, m, shift, kind != 1, zero, shape, corner, corner + 8, at, size)
    if crossed and not uniform:
        for i in range(at, at + m):
            line[i] = edges[min(max(pixel[row + 2, i] // width + r0 - RING + 1, 0), edges.size - 1)]
        gather(v, i0, i1, i2, i3, kind, index, m, 0.0, False, line, shape, corner + 4, corner + 12, at, size)
    else:
        gather(v, i0, i1, i2, i3, kind, index, m, 0.0, crossed, zero, shape, corner + 4, corner + 12, at, size)
    if count_rough(size, area, kind, at, m, limit, largest) == 0:
        return at + m, others
    return drop_rough(index, kind, m, limit, largest, shape, pixel, area, size, at, others)


@kernel
def drop_rough(index, kind, m, limit, largest, shape, pixel, area, size, at, others):
    """Move the pixels that are not smooth from the end of the cuts to the other list."""
    kept = at
    for i in range(m):
        k = at + i
        if not (size[k] <= limit and 0.0 < area[kind, k] <= largest):
            index[3, others] = index[kind, i]
            others += 1
            continue
        for row in range(16):
            shape[16 * kind + row, kept] = shape[16 * kind + row, k]
        for row in range(3):
            pixel[3 * kind + row, kept] = pixel[3 * kind + row, k]
        area[kind, kept] = area[kind, k]
        kept += 1
    return kept, others


@kernel
def cut(shape, area, part, kind, m, rule):
    """Areas of listed pixels into `area`, and of their parts into `part`: left of a column line (kind 0),
    above a row line (1), or left, above and both (2)."""
    # Across one line edges are parabolas; across two, chords, as their corner is cut from chords.
    segments, row = rule.segments, 16 * kind
    bulge = 2.0 / 3.0 if kind < 2 else 2.0 / 3.0 * (1.0 - 1.0 / (segments * segments))
    for e in range(4):
        add_bulge(shape, row, e, (e + 1) % 4, rule.sign * bulge, m, area, kind)
    for k in range(3):
        if k != kind and kind != 2:
            continue
        p, q, to = (row + 4, row, 3 * kind + k) if k == 1 else (row, row + 4, 3 * kind + k)
        part[to, :m] = 0.0
        for e in range(4):
            f = (e + 1) % 4
            if kind < 2:
                edge_integrals(shape, p + e, p + f, q + e, q + f, p + 8 + e, q + 8 + e, m, part, to)
                continue
            for i in range(segments):
                t0, t1 = i / segments, (i + 1) / segments
                if k < 2:
                    chord_integrals(shape, p + e, p + f, q + e, q + f, p + 8 + e, q + 8 + e, m, t0, t1, part, to)
                else:
                    corner_integrals(shape, p + e, p + f, q + e, q + f, p + 8 + e, q + 8 + e, m, t0, t1, part, to)
        for i in range(m):
            part[to, i] = abs(part[to, i])


@kernel
def add_entry(entries, n, row, column, cell, area, share, total):
    """Append an overlap unless it is a sliver; returns the new count."""
    if area > SLIVER * min(total, 1.0):
        entries.row[n], entries.column[n], entries.cell[n] = row, column, cell
        entries.area[n], entries.share[n] = area, share * area / total
        return n + 1
    return n


@kernel
def quarters(cuts, m, width, entries, count):
    """Append the entries of pixels across two lines."""
    pixel, part, shares, areas = cuts.pixel, cuts.part, cuts.share, cuts.area
    for i in range(m):
        y, x, cell, share, total = pixel[6, i], pixel[7, i], pixel[8, i], shares[2, i], areas[2, i]
        left, top, both = part[6, i], part[7, i], part[8, i]
        count = add_entry(entries, count, y, x, cell, both, share, total)
        count = add_entry(entries, count, y, x, cell + 1, top - both, share, total)
        count = add_entry(entries, count, y, x, cell + width, left - both, share, total)
        count = add_entry(entries, count, y, x, cell + width + 1, total - left - top + both, share, total)
    return count


@kernel
def weigh(s, n, top, bottom, shift, tile):
    """Multiply the areas of interior pixels with the density at their middles."""
    u, v = s.u, s.v
    for x in range(n):
        if s.key[x] >= 0:
            a = 0.25 * (u[top, x + 1] + u[top, x + 2] + u[bottom, x + 1] + u[bottom, x + 2]) + shift
            b = 0.25 * (v[top, x + 1] + v[top, x + 2] + v[bottom, x + 1] + v[bottom, x + 2])
            density = density_at(a, b, tile)
            s.weight[x] = s.weight[x] * density if density > 0.0 else 0.0


@kernel
def bulge_out(s, n, top, bend, sign):
    """Add the bulge of their edges to the areas of whole pixels, where all neighbours are known."""
    u, v, weight, key = s.u, s.v, s.weight, s.key
    i0, i1, i2, i3 = (top + 3) % 4, top % 4, (top + 1) % 4, (top + 2) % 4
    for x in range(n):
        if key[x] < 0 or bend != 3:
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
        if abs(more) < 0.1 * weight[x]:
            weight[x] += more


@kernel
def general(s, lines, bend, shift, period, x, tile, rule):
    """Overlaps of one pixel the general way into s.found (numbers within the tile), s.areas; returns how
    many they are, and the pixel's area."""
    i0, i1, i2, i3 = lines
    u, v = s.u, s.v
    m = outline(u[i0], v[i0], u[i1], v[i1], u[i2], v[i2], u[i3], v[i3], x, rule.segments, (bend & 1) != 0,
                (bend & 2) != 0, period, shift, s.points[0], s.points[1])  # fmt: skip
    area = rule.sign * signed_area(s.points[0], s.points[1], m) if m > 0 else 0.0
    if not 0.0 < area <= rule.largest:
        return 0, area
    return pixel_cells(s.points[0], s.points[1], m, area, tile, s.sweep, s.work, s.found, s.areas)


@kernel
def next_line(s, number, strips, lattice, x0, n):
    """Corners of the grid line of that number into its place in the ring."""
    fill_line(
        strips.line[number], strips.kink[number], lattice, x0 - 1, n + 3, s.fractions, s.nodes, s.u, s.v, number % 4
    )


@kernel
def locate(s, number, n, shift, tile, rule):
    """Cells of the corners of a grid line: one, or the lowest and highest if edges may bulge."""
    line, low = number % 4, 0.0 if rule.closed else -rule.sag
    if tile.uniform:
        corner_cells(s.u, s.v, line, n + 3, shift, low, tile.r0, tile.r1, tile.c0, tile.c1, s.cells)
        if not rule.closed:
            corner_cells(s.u, s.v, line, n + 3, shift, rule.sag, tile.r0, tile.r1, tile.c0, tile.c1, s.outer)
    else:
        corner_cells_uneven(s.u, s.v, line, n + 3, shift, low, tile.edges, tile.r0, tile.r1, tile.c0, tile.c1, s.cells)
        if not rule.closed:
            corner_cells_uneven(
                s.u, s.v, line, n + 3, shift, rule.sag, tile.edges, tile.r0, tile.r1, tile.c0, tile.c1, s.outer
            )


@kernel
def only_interior(s, top, bottom, n, closed):
    """Leave all pixels but the interior ones to the general way; edges that may bulge over a line are
    seen by the cells of their corners moved out (s.outer)."""
    for x in range(n):
        a = s.key[x]
        if a < 0:
            s.key[x] = -3
        elif not closed:
            o = s.outer
            if a != o[top, x + 1] or a != o[top, x + 2] or a != o[bottom, x + 1] or a != o[bottom, x + 2]:
                s.key[x] = -3


@kernel
def strip(s, p, strips, x0, n, shift, several, lattice, tile, rule, cuts, counts, entries):
    """Overlaps of one stretch of a strip: interior pixels into s.key and s.weight, cut ones appended to
    the lists `cuts` (lengths: counts), all others as entries. Returns how many entries, and the entries."""
    top, bend, y, share = strips.top[p], strips.bend[p], strips.row[p], strips.share[p]
    i1, i2 = top % 4, (top + 1) % 4
    u, v, cells, weight, index, first = s.u, s.v, s.cells, s.weight, s.listed, s.first
    width, heavy = tile.c1 - tile.c0 + 2 * RING, tile.density.size > 0
    if several or p == 0 or strips.top[p - 1] + 1 != top:
        locate(s, top, n, shift, tile, rule)
    locate(s, top + 1, n, shift, tile, rule)
    quad_areas(u, v, i1, i2, n, 0.5 * rule.sign, weight)
    classify(cells, i1, i2, n, width, weight, rule.largest, s.key)
    if rule.bulging:
        bulge_out(s, n, top, bend, rule.sign)
    closed = rule.closed and bend == 3 and not heavy
    if not closed:
        only_interior(s, i1, i2, n, rule.closed)
    columns, rows, others = split(s.key, n, index)
    both, others = find_quarters(s, i1, i2, width if closed else -9, others)
    if columns + rows + both > 0:
        shape, pixel, shares, area, zero = cuts.shape, cuts.pixel, cuts.share, cuts.area, cuts.zero
        size, line, edges, limit = cuts.size, cuts.part[0], tile.edges, 8.0 * rule.sag
        for kind in range(3):
            m = columns if kind == 0 else rows if kind == 1 else both
            counts[kind], others = list_cuts(
                u, v, cells, weight, index, first, kind, m, top, y, x0, shift, share, edges, tile.uniform, tile.r0,
                width, limit, rule.largest, shape, pixel, shares, area, zero, size, line, counts[kind], others,
            )  # fmt: skip
    if heavy:
        weigh(s, n, i1, i2, shift, tile)
    if others == 0:
        return 0, entries
    return general_entries(s, others, top, bend, y, x0, share, shift, lattice.period, tile, rule, entries)


@kernel
def general_entries(s, others, top, bend, y, x0, share, shift, period, tile, rule, entries):
    """Entries of the pixels of the other list; returns how many, and the entries."""
    count, tw = 0, tile.c1 - tile.c0
    width, lines = tw + 2 * RING, ((top + 3) % 4, top % 4, (top + 1) % 4, (top + 2) % 4)
    for i in range(others):
        x = s.listed[3, i]
        found, total = general(s, lines, bend, shift, period, x, tile, rule)
        if count + found > entries.cell.size:
            entries = grown(entries, count, 2 * (count + found))
        for f in range(found):
            r, area = s.found[f] // tw, s.areas[f]
            entries.row[count], entries.column[count] = y, x0 + x
            entries.cell[count] = (r + RING) * width + s.found[f] - r * tw + RING
            entries.area[count], entries.share[count] = area, share * area / total
            count += 1
    return count, entries


@kernel
def close_band(cuts, counts, width, rule, entries):
    """Cut the listed pixels of a band; those across two lines become entries. Returns how many entries,
    and the entries; the lists of the others stay."""
    for kind in range(3):
        cut(cuts.shape, cuts.area, cuts.part, kind, counts[kind], rule)
    if entries.cell.size < 4 * counts[2]:
        entries = grown(entries, 0, 8 * counts[2])
    return quarters(cuts, counts[2], width, entries, 0), entries


@kernel
def ends_band(strips, p):
    """True for the last strip of a band of rows, or of all."""
    return p + 1 == strips.row.size or strips.row[p] // BAND != strips.row[p + 1] // BAND
