"""Overlaps of one row of pixels with the cells of a tile, and their sums over groups of rows; compiled.

Pixels within one cell keep their area in place. Pixels across one line, or one line each way, are
collected and cut in closed form (Green's theorem along their edges); all others go the general way.
Every number that a cell receives depends on absolute indices alone and is added in absolute order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from xsoil.grids.sheared_lines import (
    cell_numbers, chord_integrals, corner_integrals, fill_line, floor_high, floor_low, pair_extremes, products,
    quad_areas, row_near, rows_high, rows_low,
)  # fmt: skip
from xsoil.grids.sheared_polygons import SLIVER, density_at, outline, pixel_cells, signed_area
from xsoil.jit import kernel

MEAN, SUM, MIN, MAX = 0, 1, 2, 3

# With more chords per edge than this, pixels are so large that most go the general way.
CLOSED_FORM_SEGMENTS = 4


class Tile(NamedTuple):
    """A tile of the target: cells r0 <= row < r1, c0 <= column < c1; all row edges of the target; area
    per cell at nodes (empty where it is 1); shifts of u by periods that bring pixels into the tile."""

    r0: int
    r1: int
    c0: int
    c1: int
    edges: np.ndarray
    uniform: bool
    density: np.ndarray
    spacing: float
    density_row: int
    density_column: int
    shifts: np.ndarray


class Rule(NamedTuple):
    """How pixels are drawn: chords per edge, margin for their bulge, orientation, largest sane area."""

    segments: int
    sag: float
    sign: float
    largest: float


class Strips(NamedTuple):
    """Grid lines (row, number of the kink or -1), and strips of pixels between them: source row, first
    line, bits for the neighbouring lines that may bend its sides, share of the pixel."""

    line: np.ndarray
    kink: np.ndarray
    row: np.ndarray
    top: np.ndarray
    bend: np.ndarray
    share: np.ndarray


class Lines(NamedTuple):
    """Four consecutive grid lines of corners in a ring, and the extremes of neighbouring corners."""

    u: np.ndarray
    v: np.ndarray
    low_u: np.ndarray
    high_u: np.ndarray
    low_v: np.ndarray
    high_v: np.ndarray
    node_u: np.ndarray
    node_v: np.ndarray
    fractions: np.ndarray


class Scratch(NamedTuple):
    """Buffers of one row: interior pixels (weight, key), lists of cut pixels, scratch of the general way."""

    weight: np.ndarray
    key: np.ndarray
    left: np.ndarray
    right: np.ndarray
    above: np.ndarray
    below: np.ndarray
    shape: np.ndarray
    total: np.ndarray
    part: np.ndarray
    pixel: np.ndarray
    place: np.ndarray
    points: np.ndarray
    work: np.ndarray
    sweep: np.ndarray
    cells: np.ndarray
    areas: np.ndarray


class Entries(NamedTuple):
    """Overlaps of the cut pixels of one row: pixel, cell, area, share of the pixel."""

    pixel: np.ndarray
    cell: np.ndarray
    area: np.ndarray
    share: np.ndarray


@kernel
def new_lines(n, nodes, step):
    corners, pairs = (4, n + 3), (4, n)
    return Lines(
        np.empty(corners), np.empty(corners), np.empty(pairs), np.empty(pairs), np.empty(pairs), np.empty(pairs),
        np.empty(nodes), np.empty(nodes), np.arange(step) / step,
    )  # fmt: skip


@kernel
def new_scratch(n, cells, segments):
    return Scratch(
        np.empty(n), np.empty(n, dtype=np.int32), np.empty(n), np.empty(n), np.empty(n), np.empty(n),
        np.empty((2, 16, n)), np.empty((2, n)), np.empty((4, n)), np.empty((2, n), dtype=np.int32),
        np.empty((3, n), dtype=np.int32), np.empty((2, 4 * segments)), np.empty((6, 8 * segments + 16)), np.empty((2, 64)),
        np.empty(cells, dtype=np.int64), np.empty(cells),
    )  # fmt: skip


@kernel
def new_entries(n):
    return Entries(np.empty(n, dtype=np.int32), np.empty(n, dtype=np.int32), np.empty(n), np.empty(n))


@kernel
def grown(entries, n, size):
    """A larger buffer that holds the first n entries."""
    larger = new_entries(size)
    larger.pixel[:n], larger.cell[:n] = entries.pixel[:n], entries.cell[:n]
    larger.area[:n], larger.share[:n] = entries.area[:n], entries.share[:n]
    return larger


@kernel
def next_line(lines, number, line, kink, lattice, x0):
    """Fill the grid line of that number into its place in the ring."""
    i = number % 4
    u, v = lines.u[i], lines.v[i]
    n = u.size - 3
    fill_line(line, kink, lattice, x0 - 1, lines.fractions, lines.node_u, lines.node_v, u, v)
    pair_extremes(u[1 : n + 1], u[2 : n + 2], lines.low_u[i], lines.high_u[i])
    pair_extremes(v[1 : n + 1], v[2 : n + 2], lines.low_v[i], lines.high_v[i])


@kernel
def classify(lines, i1, i2, shift, tile, rule, s):
    """Area and cell of every pixel between two lines; the cell is -1 for those to cut."""
    n = s.weight.size
    u1, v1, u2, v2 = lines.u[i1], lines.v[i1], lines.u[i2], lines.v[i2]
    quad_areas(u1[1 : n + 1], u1[2 : n + 2], u2[2 : n + 2], u2[1 : n + 1], v1[1 : n + 1], v1[2 : n + 2], v2[2 : n + 2],
               v2[1 : n + 1], 0.5 * rule.sign, s.weight)  # fmt: skip
    floor_low(lines.low_u[i1], lines.low_u[i2], shift - rule.sag, s.left)
    floor_high(lines.high_u[i1], lines.high_u[i2], shift + rule.sag, s.right)
    if tile.uniform:
        floor_low(lines.low_v[i1], lines.low_v[i2], -rule.sag, s.above)
        floor_high(lines.high_v[i1], lines.high_v[i2], rule.sag, s.below)
    else:
        rows_low(lines.low_v[i1], lines.low_v[i2], -rule.sag, tile.edges, s.above)
        rows_high(lines.high_v[i1], lines.high_v[i2], rule.sag, tile.edges, s.below)
    cell_numbers(s.left, s.right, s.above, s.below, s.weight, rule.largest, tile.r0, tile.r1, tile.c0, tile.c1, s.key)


@kernel
def collect(u0, v0, u1, v1, u2, v2, u3, v3, x, shift, rule, kind, line_u, line_v, shape, at):
    """Corners and bends of one pixel relative to its lines into column `at` of a list; returns its area,
    -1 where it is not smooth enough. Kind 1: p is v, q is u; else p is u, q is v."""
    bu, cu, eu, du = u1[x + 1], u1[x + 2], u2[x + 1], u2[x + 2]
    bv, cv, ev, dv = v1[x + 1], v1[x + 2], v2[x + 1], v2[x + 2]
    k = 0.0625 if rule.segments > 1 else 0.0
    tu, tv = (bu + cu - u1[x] - u1[x + 3]) * k, (bv + cv - v1[x] - v1[x + 3]) * k
    ru, rv = (cu + du - u0[x + 2] - u3[x + 2]) * k, (cv + dv - v0[x + 2] - v3[x + 2]) * k
    lu, lv = (bu + eu - u0[x + 1] - u3[x + 1]) * k, (bv + ev - v0[x + 1] - v3[x + 1]) * k
    wu, wv = (eu + du - u2[x] - u2[x + 3]) * k, (ev + dv - v2[x] - v2[x + 3]) * k
    bends = max(max(abs(tu) + abs(tv), abs(ru) + abs(rv)), max(abs(lu) + abs(lv), abs(wu) + abs(wv)))
    # A sum of all is NaN where any is; the comparison then fails.
    if not bends + abs(tu + tv + ru + rv + lu + lv + wu + wv) <= 9.0 * rule.sag:
        return -1.0
    area = 0.5 * ((du - bu) * (ev - cv) - (eu - cu) * (dv - bv))
    f = 2.0 / 3.0 * (1.0 - 1.0 / (rule.segments * rule.segments))
    area += f * (
        tu * (cv - bv) - tv * (cu - bu) + ru * (dv - cv) - rv * (du - cu)
        + wu * (ev - dv) - wv * (eu - du) + lu * (bv - ev) - lv * (bu - eu)
    )  # fmt: skip
    area *= rule.sign
    if not 0.0 < area <= rule.largest:
        return -1.0
    p, q = (4, 0) if kind == 1 else (0, 4)
    line_u -= shift
    shape[p, at], shape[p + 1, at], shape[p + 2, at], shape[p + 3, at] = bu - line_u, cu - line_u, du - line_u, eu - line_u
    shape[q, at], shape[q + 1, at], shape[q + 2, at], shape[q + 3, at] = bv - line_v, cv - line_v, dv - line_v, ev - line_v
    p, q = p + 8, q + 8
    shape[p, at], shape[p + 1, at], shape[p + 2, at], shape[p + 3, at] = tu, ru, wu, lu
    shape[q, at], shape[q + 1, at], shape[q + 2, at], shape[q + 3, at] = tv, rv, wv, lv
    return area


@kernel
def integrals(shape, m, segments, swap, corner, out):
    """Area of `m` collected pixels where p < 0 (q < 0 if `swap`; both if `corner`), unsigned."""
    out[:m] = 0.0
    p, q = (4, 0) if swap else (0, 4)
    for e in range(4):
        f = (e + 1) % 4
        for i in range(segments):
            t0, t1 = i / segments, (i + 1) / segments
            if corner:
                corner_integrals(shape[p + e, :m], shape[p + f, :m], shape[q + e, :m], shape[q + f, :m], shape[p + 8 + e, :m],
                                 shape[q + 8 + e, :m], t0, t1, out[:m])  # fmt: skip
            else:
                chord_integrals(shape[p + e, :m], shape[p + f, :m], shape[q + e, :m], shape[q + f, :m], shape[p + 8 + e, :m],
                                shape[q + 8 + e, :m], t0, t1, out[:m])  # fmt: skip
    for i in range(m):
        out[i] = 0.5 * abs(out[i])


@kernel
def cell_at(row, column, tile):
    """Number within the tile, or -1."""
    if row < tile.r0 or row >= tile.r1 or column < tile.c0 or column >= tile.c1:
        return -1
    return (row - tile.r0) * (tile.c1 - tile.c0) + column - tile.c0


@kernel
def add_entry(entries, n, pixel, cell, area, total, row_height):
    """Append an overlap unless it is outside of the tile (cell -1) or a sliver; returns the new count."""
    if cell < 0 or not area > SLIVER * min(total, row_height):
        return n
    entries.pixel[n], entries.cell[n], entries.area[n], entries.share[n] = pixel, cell, area, area / total
    return n + 1


@kernel
def overlaps(lines, number, shift, bend, lattice, tile, rule, s, entries):
    """Overlaps of the strip of pixels below the grid line of that number.

    Fills s.weight and s.key for pixels within one cell; returns the entries of the others (perhaps in a
    larger buffer) and how many they are.
    """
    n = s.weight.size
    i0, i1, i2, i3 = (number + 3) % 4, number % 4, (number + 1) % 4, (number + 2) % 4
    u0, u1, u2, u3 = lines.u[i0], lines.u[i1], lines.u[i2], lines.u[i3]
    v0, v1, v2, v3 = lines.v[i0], lines.v[i1], lines.v[i2], lines.v[i3]
    classify(lines, i1, i2, shift, tile, rule, s)
    edges, general = tile.edges, tile.density.size > 0
    closed = bend == 3 and not general and rule.segments <= CLOSED_FORM_SEGMENTS
    ones, corners, others = 0, 0, 0
    for x in range(n):
        if s.key[x] >= 0 or s.weight[x] != s.weight[x]:
            continue
        wide, high = s.right[x] - s.left[x], s.below[x] - s.above[x]
        jump = lattice.period > 0.0 and not wide < 0.5 * lattice.period
        if not jump and not (
            s.right[x] >= tile.c0 and s.left[x] < tile.c1 and s.below[x] >= tile.r0 and s.above[x] < tile.r1
        ):
            continue
        area = -1.0
        if closed and wide <= 1.0 and high <= 1.0 and wide + high >= 1.0 and s.above[x] >= 0.0 and s.below[x] < edges.size - 1:
            row, column = int(s.above[x]), int(s.left[x])
            if wide + high == 1.0:
                line_u, line_v = float(column + int(wide)), edges[row + int(high)]
                area = collect(u0, v0, u1, v1, u2, v2, u3, v3, x, shift, rule, int(high), line_u, line_v, s.shape[0], ones)
                if area > 0.0:
                    s.total[0, ones], s.pixel[0, ones], s.place[0, ones] = area, x, int(high)
                    ones += 1
            else:
                area = collect(u0, v0, u1, v1, u2, v2, u3, v3, x, shift, rule, 0, float(column + 1), edges[row + 1], s.shape[1], corners)
                if area > 0.0:
                    s.total[1, corners], s.pixel[1, corners] = area, x
                    corners += 1
        if area < 0.0:
            s.place[2, others] = x
            others += 1
    count = 0
    integrals(s.shape[0], ones, rule.segments, False, False, s.part[0])
    for i in range(ones):
        x, total, area = s.pixel[0, i], s.total[0, i], s.part[0, i]
        row, column, down = int(s.above[x]), int(s.left[x]), s.place[0, i]
        height = edges[row + 1] - edges[row]
        count = add_entry(entries, count, x, cell_at(row, column, tile), area, total, height)
        count = add_entry(entries, count, x, cell_at(row + down, column + 1 - down, tile), total - area, total, height)
    integrals(s.shape[1], corners, rule.segments, False, False, s.part[0])
    integrals(s.shape[1], corners, rule.segments, True, False, s.part[1])
    integrals(s.shape[1], corners, rule.segments, False, True, s.part[2])
    for i in range(corners):
        x, total, left, top, both = s.pixel[1, i], s.total[1, i], s.part[0, i], s.part[1, i], s.part[2, i]
        row, column = int(s.above[x]), int(s.left[x])
        height = edges[row + 1] - edges[row]
        count = add_entry(entries, count, x, cell_at(row, column, tile), both, total, height)
        count = add_entry(entries, count, x, cell_at(row, column + 1, tile), top - both, total, height)
        count = add_entry(entries, count, x, cell_at(row + 1, column, tile), left - both, total, height)
        count = add_entry(entries, count, x, cell_at(row + 1, column + 1, tile), total - left - top + both, total, height)
    for i in range(others):
        x = s.place[2, i]
        m = outline(u0, v0, u1, v1, u2, v2, u3, v3, x, rule.segments, (bend & 1) != 0, (bend & 2) != 0, lattice.period, shift,
                    s.points[0], s.points[1])  # fmt: skip
        if m == 0:
            continue
        area = rule.sign * signed_area(s.points[0], s.points[1], m)
        if not 0.0 < area <= rule.largest:
            continue
        found, total = pixel_cells(s.points[0], s.points[1], m, area, tile, s.sweep, s.work, s.cells, s.areas)
        if count + found > entries.cell.size:
            entries = grown(entries, count, 2 * (count + found))
        for f in range(found):
            entries.pixel[count], entries.cell[count] = x, s.cells[f]
            entries.area[count], entries.share[count] = s.areas[f], s.areas[f] / total
            count += 1
    if general:
        for x in range(n):
            if s.key[x] >= 0 and s.key[x] < (tile.r1 - tile.r0) * (tile.c1 - tile.c0):
                mu, mv = 0.25 * (u1[x + 1] + u1[x + 2] + u2[x + 1] + u2[x + 2]), 0.25 * (v1[x + 1] + v1[x + 2] + v2[x + 1] + v2[x + 2])
                density = density_at(mu + shift, mv, tile)
                s.weight[x] = s.weight[x] * density if density > 0.0 else 0.0
    return count, entries


@kernel
def add_runs(sums, areas, key, total, area_sum, touched):
    """Add the contributions of interior pixels, runs of pixels of one cell at a time."""
    cell, a, b = -1, 0.0, 0.0
    outside = total.size
    for x in range(sums.size):
        k = key[x]
        if k != cell and k >= 0:
            if cell >= 0 and cell < outside:
                total[cell] += a
                area_sum[cell] += b
                touched[0], touched[1] = min(touched[0], cell), max(touched[1], cell)
            cell, a, b = k, 0.0, 0.0
        a += sums[x]
        b += areas[x]
    if cell >= 0 and cell < outside:
        total[cell] += a
        area_sum[cell] += b
        touched[0], touched[1] = min(touched[0], cell), max(touched[1], cell)


@kernel
def add_extremes(values, weight, key, largest, total, area_sum, touched):
    """Lower (or raise) the extremes of the cells of interior pixels."""
    outside = total.size
    for x in range(key.size):
        k, value = key[x], values[x]
        if k >= 0 and k < outside and value == value and weight[x] > 0.0:
            area_sum[k] += weight[x]
            if (value > total[k]) if largest else (value < total[k]):
                total[k] = value
            touched[0], touched[1] = min(touched[0], k), max(touched[1], k)


@kernel
def sum_group(values, origin, span, strips, lattice, tile, rule, by_area, total, area_sum):
    """Add a group of rows to `total` (value x overlap, or x share of the pixel) and `area_sum` (layers,
    cells of the tile); returns the first and the last cell touched."""
    x0, n, cells = span[0], span[1] - span[0], total.shape[1]
    lines, s = new_lines(n, lattice.u.shape[1], lattice.step), new_scratch(n, cells, rule.segments)
    entries = new_entries(4 * n)
    sums, areas, touched = np.empty(n), np.empty(n), np.array([cells, -1])
    filled, offset = -1, x0 - origin[1]
    for p in range(strips.row.size):
        while filled < strips.top[p] + 2:
            filled += 1
            next_line(lines, filled, strips.line[filled], strips.kink[filled], lattice, x0)
        share = strips.share[p]
        for shift in tile.shifts:
            count, entries = overlaps(lines, strips.top[p], shift, strips.bend[p], lattice, tile, rule, s, entries)
            for k in range(values.shape[0]):
                row = values[k, strips.row[p] - origin[0], offset : offset + n]
                products(row, s.weight, s.key, share, by_area, sums, areas)
                add_runs(sums, areas, s.key, total[k], area_sum[k], touched)
                for e in range(count):
                    value = row[entries.pixel[e]]
                    if value == value:
                        cell = entries.cell[e]
                        total[k, cell] += value * (entries.area[e] if by_area else entries.share[e] * share)
                        area_sum[k, cell] += entries.area[e]
            for e in range(count):
                touched[0], touched[1] = min(touched[0], entries.cell[e]), max(touched[1], entries.cell[e])
    return touched[0], touched[1]


@kernel
def extreme_group(values, origin, span, strips, lattice, tile, rule, largest, total, area_sum):
    """Like `sum_group`, for the largest or smallest value of all pixels that overlap a cell."""
    x0, n, cells = span[0], span[1] - span[0], total.shape[1]
    lines, s = new_lines(n, lattice.u.shape[1], lattice.step), new_scratch(n, cells, rule.segments)
    entries, touched = new_entries(4 * n), np.array([cells, -1])
    filled, offset = -1, x0 - origin[1]
    for p in range(strips.row.size):
        while filled < strips.top[p] + 2:
            filled += 1
            next_line(lines, filled, strips.line[filled], strips.kink[filled], lattice, x0)
        for shift in tile.shifts:
            count, entries = overlaps(lines, strips.top[p], shift, strips.bend[p], lattice, tile, rule, s, entries)
            for k in range(values.shape[0]):
                row = values[k, strips.row[p] - origin[0], offset : offset + n]
                add_extremes(row, s.weight, s.key, largest, total[k], area_sum[k], touched)
                for e in range(count):
                    value, cell = row[entries.pixel[e]], entries.cell[e]
                    if value == value:
                        area_sum[k, cell] += entries.area[e]
                        if (value > total[k, cell]) if largest else (value < total[k, cell]):
                            total[k, cell] = value
            for e in range(count):
                touched[0], touched[1] = min(touched[0], entries.cell[e]), max(touched[1], entries.cell[e])
    return touched[0], touched[1]


@kernel
def list_group(origin, width, span, strips, lattice, tile, rule):
    """Overlaps of a group of rows: cell of the tile, pixel of the window, area; row by row."""
    x0, n, cells = span[0], span[1] - span[0], (tile.r1 - tile.r0) * (tile.c1 - tile.c0)
    lines, s = new_lines(n, lattice.u.shape[1], lattice.step), new_scratch(n, cells, rule.segments)
    entries = new_entries(4 * n)
    cell, pixel, area = np.empty(16 * n, dtype=np.int64), np.empty(16 * n, dtype=np.int64), np.empty(16 * n)
    filled, used = -1, 0
    for p in range(strips.row.size):
        while filled < strips.top[p] + 2:
            filled += 1
            next_line(lines, filled, strips.line[filled], strips.kink[filled], lattice, x0)
        first = (strips.row[p] - origin[0]) * width + x0 - origin[1]
        for shift in tile.shifts:
            count, entries = overlaps(lines, strips.top[p], shift, strips.bend[p], lattice, tile, rule, s, entries)
            if used + n + count > cell.size:
                size = 2 * (used + n + count)
                cell_2, pixel_2, area_2 = np.empty(size, dtype=np.int64), np.empty(size, dtype=np.int64), np.empty(size)
                cell_2[:used], pixel_2[:used], area_2[:used] = cell[:used], pixel[:used], area[:used]
                cell, pixel, area = cell_2, pixel_2, area_2
            for x in range(n):
                if s.key[x] >= 0 and s.key[x] < cells and s.weight[x] > 0.0:
                    cell[used], pixel[used], area[used] = s.key[x], first + x, s.weight[x]
                    used += 1
            for e in range(count):
                cell[used], pixel[used], area[used] = entries.cell[e], first + entries.pixel[e], entries.area[e]
                used += 1
    return cell[:used], pixel[:used], area[:used]
