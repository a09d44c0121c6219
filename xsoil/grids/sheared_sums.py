"""Sums and extremes of the overlaps of a group of rows; compiled.

Every number that a cell receives depends on absolute indices alone, and is added in absolute order:
stretches of CHUNK columns, in them the rows; in a row first the parts in the first cells of the pixels,
then the others.
"""

from __future__ import annotations

import numpy as np

from xsoil.grids.sheared_bends import pixel_blocks
from xsoil.grids.sheared_lines import products, shares
from xsoil.grids.sheared_rows import next_line, note_lost, strip
from xsoil.grids.sheared_types import CHUNK
from xsoil.jit import kernel


@kernel
def sum_runs(key, n, sums, areas, total, area_sum):
    """Add a stretch to the first cells of its pixels, runs of one cell at a time."""
    cell, a, b = key[0] >> 3, 0.0, 0.0
    for x in range(n):
        k = key[x] >> 3
        if k != cell:
            total[cell] += a
            area_sum[cell] += b
            cell, a, b = k, 0.0, 0.0
        a += sums[x]
        b += areas[x]
    total[cell] += a
    area_sum[cell] += b


@kernel
def sum_far(row, x_far, cell_far, area_far, count, by_area, share, whole, total, area_sum):
    """Add the listed overlaps."""
    for e in range(count):
        x, cell, area = np.uint64(x_far[e]), np.uint64(cell_far[e]), area_far[e]
        value = row[x]
        if value == value:
            total[cell] += value * (area if by_area else share * area / np.float64(whole[x]))
            area_sum[cell] += area


@kernel
def sum_group(values, origin, span, strips, lattice, shifts, tile, rule, torn, scratch, by_area, total, area_sum):
    """Add a group of rows to `total` (value x overlap, or x share of the pixel) and `area_sum` (layers,
    cells of the tile and its ring); `scratch` is from `new_scratch`. Returns the pixels that the edge of the
    projection cuts (`note_lost`): they are left out."""
    lost, lost_count = np.empty((64, 4)), 0
    s, far = scratch
    sums, areas = np.empty(CHUNK), np.empty(CHUNK)
    for shift in shifts:
        x0 = span[0]
        while x0 < span[1]:
            n, filled = min((x0 // CHUNK + 1) * CHUNK, span[1]) - x0, -1
            pixel_blocks(x0, n, lattice.step, s.block)
            for p in range(strips.row.size):
                while filled < strips.top[p] + 2:
                    filled += 1
                    next_line(s, filled, strips, lattice, x0, n, shift, tile)
                y, share = strips.row[p] - origin[0], strips.share[p]
                count, far = strip(s, p, strips, x0, n, lattice, tile, rule, torn, far)
                lost, lost_count = note_lost(s, strips, p, x0, lost, lost_count)
                for k in range(values.shape[0]):
                    row = values[k, y, x0 - origin[1] : x0 - origin[1] + n]
                    if by_area:
                        products(row, s.weight, n, sums, areas)
                    else:
                        shares(row, s.weight, s.whole, n, share, sums, areas)
                    sum_runs(s.key, n, sums, areas, total[k], area_sum[k])
                    sum_far(row, far.x, far.cell, far.area, count, by_area, share, s.whole, total[k], area_sum[k])
            x0 += n
    return lost[:lost_count].copy()


@kernel
def extreme_runs(row, weight, key, n, largest, total, area_sum):
    """Like `sum_runs`, for the extremes of the cells."""
    cell, a, b = key[0] >> 3, row[0], 0.0
    for x in range(n):
        k, value = key[x] >> 3, row[x]
        if k != cell:
            if b > 0.0:
                total[cell] = max(total[cell], a) if largest else min(total[cell], a)
                area_sum[cell] += b
            cell, b = k, 0.0
        ok = (weight[x] > 0.0) & (value == value)
        better = (value > a if largest else value < a) | (b == 0.0)
        a = value if ok & better else a
        b += weight[x] if ok else 0.0
    if b > 0.0:
        total[cell] = max(total[cell], a) if largest else min(total[cell], a)
        area_sum[cell] += b


@kernel
def extreme_of(total, area_sum, cell, value, area, largest):
    """Let a cell know of the value of a pixel that overlaps it."""
    if area > 0.0:
        area_sum[cell] += area
        if (value > total[cell]) if largest else (value < total[cell]):
            total[cell] = value


@kernel
def extreme_group(values, origin, span, strips, lattice, shifts, tile, rule, torn, scratch, largest, total, area_sum):
    """Like `sum_group`, for the largest or smallest value of all pixels that overlap a cell."""
    lost, lost_count = np.empty((64, 4)), 0
    s, far = scratch
    for shift in shifts:
        x0 = span[0]
        while x0 < span[1]:
            n, filled = min((x0 // CHUNK + 1) * CHUNK, span[1]) - x0, -1
            pixel_blocks(x0, n, lattice.step, s.block)
            for p in range(strips.row.size):
                while filled < strips.top[p] + 2:
                    filled += 1
                    next_line(s, filled, strips, lattice, x0, n, shift, tile)
                y = strips.row[p] - origin[0]
                count, far = strip(s, p, strips, x0, n, lattice, tile, rule, torn, far)
                lost, lost_count = note_lost(s, strips, p, x0, lost, lost_count)
                for k in range(values.shape[0]):
                    row = values[k, y, x0 - origin[1] : x0 - origin[1] + n]
                    extreme_runs(row, s.weight, s.key, n, largest, total[k], area_sum[k])
                    for e in range(count):
                        value = row[far.x[e]]
                        if value == value:
                            extreme_of(total[k], area_sum[k], far.cell[e], value, far.area[e], largest)
            x0 += n
    return lost[:lost_count].copy()
