"""Sums, extremes and lists of the overlaps of a group of rows; compiled.

Every number that a cell receives depends on absolute indices alone, and is added in absolute order:
stretches of CHUNK columns, in them bands of BAND rows, in these the rows; the cut pixels of a band last.
"""

from __future__ import annotations

import numpy as np

from xsoil.grids.sheared_lines import RING, products
from xsoil.grids.sheared_polygons import SLIVER
from xsoil.grids.sheared_rows import (
    add_entry,
    close_band,
    ends_band,
    next_line,
    strip,
)
from xsoil.grids.sheared_types import (
    BAND,
    CHUNK,
    grown,
    new_cuts,
    new_entries,
    new_scratch,
)
from xsoil.jit import kernel


@kernel
def sum_runs(row, weight, key, n, share, by_area, sums, areas, total, area_sum):
    """Add a stretch of interior pixels, runs of one cell at a time; `sums` and `areas` are scratch."""
    products(row, weight, key, n, share, by_area, sums, areas)
    cell, a, b = np.int32(-1), 0.0, 0.0
    for x in range(n):
        k = key[x]
        if (k >= 0) & (k != cell):
            if cell >= 0:
                total[cell] += a
                area_sum[cell] += b
            cell, a, b = k, 0.0, 0.0
        a += sums[x]
        b += areas[x]
    if cell >= 0:
        total[cell] += a
        area_sum[cell] += b


@kernel
def sum_halves(values, origin, kind, m, step, pixel, part, area, shares, by_area, total, area_sum):
    """Add listed pixels across one line to the cells on both sides, `step` apart."""
    at = 3 * kind
    for i in range(m):
        near, whole, a = pixel[at + 2, i], area[kind, i], part[at + kind, i]
        y, x = np.uint64(pixel[at, i] - origin[0]), np.uint64(pixel[at + 1, i] - origin[1])
        least = SLIVER * min(whole, 1.0)
        far, scale = near + step, 1.0 if by_area else shares[kind, i] / whole
        b = whole - a
        for k in range(values.shape[0]):
            value = values[k, y, x]
            if value == value:
                if a > least:
                    total[k, near] += value * (a * scale)
                    area_sum[k, near] += a
                if b > least:
                    total[k, far] += value * (b * scale)
                    area_sum[k, far] += b


@kernel
def sum_entries(values, origin, entries, count, by_area, total, area_sum):
    """Add single overlaps."""
    rows, columns, cells, areas, shares = entries.row, entries.column, entries.cell, entries.area, entries.share
    for e in range(count):
        y, x, cell, area = rows[e] - origin[0], columns[e] - origin[1], cells[e], areas[e]
        for k in range(values.shape[0]):
            value = values[k, y, x]
            if value == value:
                total[k, cell] += value * (area if by_area else shares[e])
                area_sum[k, cell] += area


@kernel
def sum_group(values, origin, span, strips, lattice, shifts, tile, rule, by_area, total, area_sum):
    """Add a group of rows to `total` (value x overlap, or x share of the pixel) and `area_sum` (layers,
    cells of the tile and its ring)."""
    width = tile.c1 - tile.c0 + 2 * RING
    s = new_scratch(lattice, rule.segments, tile)
    size = (BAND + 2) * CHUNK * shifts.size
    cuts = new_cuts(size)
    entries, counts = new_entries(8 * CHUNK), np.zeros(3, dtype=np.int64)
    sums, areas = np.empty(CHUNK), np.empty(CHUNK)
    x0 = span[0]
    while x0 < span[1]:
        n, filled = min((x0 // CHUNK + 1) * CHUNK, span[1]) - x0, -1
        for p in range(strips.row.size):
            while filled < strips.top[p] + 2:
                filled += 1
                next_line(s, filled, strips, lattice, x0, n)
            y = strips.row[p] - origin[0]
            for shift in shifts:
                count, entries = strip(
                    s, p, strips, x0, n, shift, shifts.size > 1, lattice, tile, rule, cuts, counts, entries
                )
                for k in range(values.shape[0]):
                    row = values[k, y, x0 - origin[1] : x0 - origin[1] + n]
                    sum_runs(row, s.weight, s.key, n, strips.share[p], by_area, sums, areas, total[k], area_sum[k])
                sum_entries(values, origin, entries, count, by_area, total, area_sum)
            if ends_band(strips, p):
                count, entries = close_band(cuts, counts, width, rule, entries)
                for kind in range(2):
                    step = width if kind == 1 else 1
                    sum_halves(values, origin, kind, counts[kind], step, cuts.pixel, cuts.part, cuts.area, cuts.share,
                               by_area, total, area_sum)  # fmt: skip
                sum_entries(values, origin, entries, count, by_area, total, area_sum)
                counts[:] = 0
        x0 += n


@kernel
def extreme_runs(row, weight, key, n, largest, total, area_sum):
    """Like `sum_runs`, for the extremes of the cells."""
    cell, a, b = -1, row[0], 0.0
    for x in range(n):
        k, value = key[x], row[x]
        if (k >= 0) & (k != cell):
            if cell >= 0 and b > 0.0:
                total[cell] = max(total[cell], a) if largest else min(total[cell], a)
                area_sum[cell] += b
            cell, b = k, 0.0
        ok = (k >= 0) & (value == value)
        better = (value > a if largest else value < a) | (b == 0.0)
        a = value if ok & better else a
        b += weight[x] if ok else 0.0
    if cell >= 0 and b > 0.0:
        total[cell] = max(total[cell], a) if largest else min(total[cell], a)
        area_sum[cell] += b


@kernel
def extreme_entries(values, origin, entries, count, largest, total, area_sum):
    """Let cells know of the values of single overlaps."""
    rows, columns, cells, areas = entries.row, entries.column, entries.cell, entries.area
    for e in range(count):
        y, x, cell = rows[e] - origin[0], columns[e] - origin[1], cells[e]
        for k in range(values.shape[0]):
            value = values[k, y, x]
            if value == value:
                area_sum[k, cell] += areas[e]
                if (value > total[k, cell]) if largest else (value < total[k, cell]):
                    total[k, cell] = value


@kernel
def extreme_group(values, origin, span, strips, lattice, shifts, tile, rule, largest, total, area_sum):
    """Like `sum_group`, for the largest or smallest value of all pixels that overlap a cell."""
    width = tile.c1 - tile.c0 + 2 * RING
    s = new_scratch(lattice, rule.segments, tile)
    size = (BAND + 2) * CHUNK * shifts.size
    cuts = new_cuts(size)
    entries, counts = new_entries(8 * CHUNK), np.zeros(3, dtype=np.int64)
    x0 = span[0]
    while x0 < span[1]:
        n, filled = min((x0 // CHUNK + 1) * CHUNK, span[1]) - x0, -1
        for p in range(strips.row.size):
            while filled < strips.top[p] + 2:
                filled += 1
                next_line(s, filled, strips, lattice, x0, n)
            y = strips.row[p] - origin[0]
            for shift in shifts:
                count, entries = strip(
                    s, p, strips, x0, n, shift, shifts.size > 1, lattice, tile, rule, cuts, counts, entries
                )
                for k in range(values.shape[0]):
                    row = values[k, y, x0 - origin[1] : x0 - origin[1] + n]
                    extreme_runs(row, s.weight, s.key, n, largest, total[k], area_sum[k])
                extreme_entries(values, origin, entries, count, largest, total, area_sum)
            if ends_band(strips, p):
                count, entries = close_band(cuts, counts, width, rule, entries)
                count, entries = halves(cuts, counts, width, count, entries)
                extreme_entries(values, origin, entries, count, largest, total, area_sum)
                counts[:] = 0
        x0 += n


@kernel
def halves(cuts, counts, width, count, entries):
    """Append the listed pixels across one line to the entries."""
    pixel, part = cuts.pixel, cuts.part
    for kind in range(2):
        m, step, at = counts[kind], width if kind == 1 else 1, 3 * kind
        if entries.cell.size < count + 2 * m:
            entries = grown(entries, count, 2 * (count + 2 * m))
        for i in range(m):
            y, x, cell, a = pixel[at, i], pixel[at + 1, i], pixel[at + 2, i], part[at + kind, i]
            share, whole = cuts.share[kind, i], cuts.area[kind, i]
            count = add_entry(entries, count, y, x, cell, a, share, whole)
            count = add_entry(entries, count, y, x, cell + step, whole - a, share, whole)
    return count, entries


@kernel
def appended(lists, used, y, x, cell, area):
    """Append an overlap to lists that grow; returns them."""
    if used == lists.cell.size:
        lists = grown(lists, used, 2 * used)
    lists.row[used], lists.column[used], lists.cell[used], lists.area[used] = y, x, cell, area
    return lists


@kernel
def list_group(origin, span, strips, lattice, shifts, tile, rule):
    """Overlaps of a group of rows as source row, column, cell (with the ring), area."""
    width = tile.c1 - tile.c0 + 2 * RING
    s = new_scratch(lattice, rule.segments, tile)
    size = (BAND + 2) * CHUNK * shifts.size
    cuts = new_cuts(size)
    entries, counts, used = new_entries(8 * CHUNK), np.zeros(3, dtype=np.int64), 0
    lists = new_entries(strips.row.size * (span[1] - span[0]) + 1024)
    x0 = span[0]
    while x0 < span[1]:
        n, filled = min((x0 // CHUNK + 1) * CHUNK, span[1]) - x0, -1
        for p in range(strips.row.size):
            while filled < strips.top[p] + 2:
                filled += 1
                next_line(s, filled, strips, lattice, x0, n)
            y = strips.row[p]
            for shift in shifts:
                count, entries = strip(
                    s, p, strips, x0, n, shift, shifts.size > 1, lattice, tile, rule, cuts, counts, entries
                )
                for x in range(n):
                    if s.key[x] >= 0 and s.weight[x] > 0.0:
                        lists = appended(lists, used, y, x0 + x, s.key[x], s.weight[x])
                        used += 1
                for e in range(count):
                    lists = appended(lists, used, y, entries.column[e], entries.cell[e], entries.area[e])
                    used += 1
            if ends_band(strips, p):
                count, entries = close_band(cuts, counts, width, rule, entries)
                count, entries = halves(cuts, counts, width, count, entries)
                for e in range(count):
                    lists = appended(lists, used, entries.row[e], entries.column[e], entries.cell[e], entries.area[e])
                    used += 1
                counts[:] = 0
        x0 += n
    return lists.row[:used], lists.column[:used], lists.cell[:used], lists.area[:used]
