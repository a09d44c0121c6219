"""Walks over groups of source rows: classify pixels, find overlaps, accumulate or list them; compiled."""

from __future__ import annotations

import numpy as np

from xsoil.grids.sheared_kernels import (
    MAX,
    MEAN,
    MIN,
    SUM,
    density_at,
    fill_row,
    outline,
    pixel_cells,
    row_of,
    signed_area,
)
from xsoil.jit import kernel


@kernel
def classify_row(
    u1, v1, u2, v2, shift, sag, sign, largest, period, r0, r1, c0, c1, edges, uniform, weight, key, border
):
    """Interior pixels of one row: area and cell within the tile (key -1: none). Returns how many others
    there are that may touch the tile; `border` holds their columns."""
    n, count, nr = weight.size, 0, edges.size - 1
    for x in range(n):
        bu, cu, eu, du = u1[x + 1], u1[x + 2], u2[x + 1], u2[x + 2]
        bv, cv, ev, dv = v1[x + 1], v1[x + 2], v2[x + 1], v2[x + 2]
        key[x] = -1
        weight[x] = 0.0
        low, high = min(min(bu, cu), min(du, eu)), max(max(bu, cu), max(du, eu))
        if not (abs(bu + cu + du + eu) < 1e300):
            continue
        if period > 0.0 and high - low > 0.5 * period:
            border[count] = x
            count += 1
            continue
        low, high = low + shift - sag, high + shift + sag
        if high < c0 or low >= c1:
            continue
        low_v, high_v = min(min(bv, cv), min(dv, ev)) - sag, max(max(bv, cv), max(dv, ev)) + sag
        if high_v < edges[r0] or low_v >= edges[r1]:
            continue
        area = sign * 0.5 * ((du - bu) * (ev - cv) - (eu - cu) * (dv - bv))
        column = np.floor(low)
        row = row_of(low_v, edges, uniform)
        if column == np.floor(high) and row >= 0 and row < nr and high_v < edges[row + 1] and 0.0 < area <= largest:
            if row >= r0 and row < r1 and column >= c0 and column < c1:
                key[x] = (row - r0) * (c1 - c0) + int(column) - c0
                weight[x] = area
        else:
            border[count] = x
            count += 1
    return count


@kernel
def reduce_group(
    values, origin_row, origin_column, x0, x1, level_row, level_break, pixel_row, pixel_top, pixel_bend, pixel_share,
    step, first_row, first_column, nodes_u, nodes_v, patch, patches, breaks_u, breaks_v,
    segments, sag, sign, largest, period, shifts, r0, r1, c0, c1, edges, uniform,
    density, spacing, dens_row, dens_column, how, total, area_sum,
):  # fmt: skip
    """Add the rows of one group to `total` and `area_sum` (layers, cells of the tile); returns the
    first and one past the last target row touched."""
    n, layers, tw = x1 - x0, values.shape[0], c1 - c0
    lines_u, lines_v = np.empty((4, n + 3)), np.empty((4, n + 3))
    node_u, node_v = np.empty(nodes_u.shape[1]), np.empty(nodes_u.shape[1])
    weight, key, border = np.empty(n), np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    pu, pv = np.empty(4 * segments), np.empty(4 * segments)
    work = np.empty((6, 8 * segments + 16))
    here, right = np.empty(64), np.empty(64)
    cells, areas = np.empty((r1 - r0) * tw, dtype=np.int64), np.empty((r1 - r0) * tw)
    filled = -1
    first, last = r1 - r0, 0
    for p in range(pixel_row.size):
        top = pixel_top[p]
        while filled < top + 2:
            filled += 1
            fill_row(level_row[filled], level_break[filled], step, first_row, first_column, nodes_u, nodes_v, patch, patches,
                     breaks_u, breaks_v, period, x0 - 1, node_u, node_v, lines_u[filled % 4], lines_v[filled % 4])  # fmt: skip
        i0, i1, i2, i3 = (top - 1) % 4, top % 4, (top + 1) % 4, (top + 2) % 4
        u0, u1, u2, u3 = lines_u[i0], lines_u[i1], lines_u[i2], lines_u[i3]
        v0, v1, v2, v3 = lines_v[i0], lines_v[i1], lines_v[i2], lines_v[i3]
        y = pixel_row[p] - origin_row
        top_ok, bottom_ok = (pixel_bend[p] & 1) != 0, (pixel_bend[p] & 2) != 0
        for shift in shifts:
            count = classify_row(
                u1, v1, u2, v2, shift, sag, sign, largest, period, r0, r1, c0, c1, edges, uniform, weight, key, border
            )
            for x in range(n):
                if key[x] < 0:
                    continue
                a, cell = weight[x], key[x]
                row = cell // tw
                first, last = min(first, row), max(last, row + 1)
                if density.size > 0:
                    mu = 0.25 * (u1[x + 1] + u1[x + 2] + u2[x + 1] + u2[x + 2]) + shift
                    mv = 0.25 * (v1[x + 1] + v1[x + 2] + v2[x + 1] + v2[x + 2])
                    a = a * density_at(mu, mv, density, spacing, dens_row, dens_column)
                for k in range(layers):
                    value = values[k, y, x + x0 - origin_column]
                    if value == value:
                        area_sum[k, cell] += a
                        if how == MEAN:
                            total[k, cell] += a * value
                        elif how == SUM:
                            total[k, cell] += pixel_share[p] * value
                        elif how == MIN:
                            total[k, cell] = min(total[k, cell], value)
                        elif how == MAX:
                            total[k, cell] = max(total[k, cell], value)
            for b in range(count):
                x = border[b]
                m = outline(u0, v0, u1, v1, u2, v2, u3, v3, x, segments, top_ok, bottom_ok, period, shift, pu, pv)
                if m == 0:
                    continue
                area = sign * signed_area(pu, pv, m)
                if not 0.0 < area <= largest:
                    continue
                columns = int(np.max(pu[:m]) - np.min(pu[:m])) + 4
                if here.size < columns:
                    here, right = np.empty(2 * columns), np.empty(2 * columns)
                found, true = pixel_cells(pu, pv, m, area, r0, r1, c0, c1, edges, uniform, density, spacing, dens_row, dens_column,
                                          here, right, work, cells, areas)  # fmt: skip
                for f in range(found):
                    cell, a = cells[f], areas[f]
                    row = cell // tw
                    first, last = min(first, row), max(last, row + 1)
                    for k in range(layers):
                        value = values[k, y, x + x0 - origin_column]
                        if value == value:
                            area_sum[k, cell] += a
                            if how == MEAN:
                                total[k, cell] += a * value
                            elif how == SUM:
                                total[k, cell] += a / true * pixel_share[p] * value
                            elif how == MIN:
                                total[k, cell] = min(total[k, cell], value)
                            elif how == MAX:
                                total[k, cell] = max(total[k, cell], value)
    return first, last


@kernel
def list_group(
    width, origin_row, origin_column, x0, x1, level_row, level_break, pixel_row, pixel_top, pixel_bend,
    step, first_row, first_column, nodes_u, nodes_v, patch, patches, breaks_u, breaks_v,
    segments, sag, sign, largest, period, shifts, r0, r1, c0, c1, edges, uniform,
    density, spacing, dens_row, dens_column,
):  # fmt: skip
    """Overlaps of one group of rows: cell within the tile, pixel within the window, area; in source order."""
    n, tw = x1 - x0, c1 - c0
    lines_u, lines_v = np.empty((4, n + 3)), np.empty((4, n + 3))
    node_u, node_v = np.empty(nodes_u.shape[1]), np.empty(nodes_u.shape[1])
    weight, key, border = np.empty(n), np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    pu, pv = np.empty(4 * segments), np.empty(4 * segments)
    work = np.empty((6, 8 * segments + 16))
    here, right = np.empty(64), np.empty(64)
    cells, areas = np.empty((r1 - r0) * tw, dtype=np.int64), np.empty((r1 - r0) * tw)
    out_cell, out_pixel, out_area = np.empty(4096, dtype=np.int64), np.empty(4096, dtype=np.int64), np.empty(4096)
    filled, used = -1, 0
    for p in range(pixel_row.size):
        top = pixel_top[p]
        while filled < top + 2:
            filled += 1
            fill_row(level_row[filled], level_break[filled], step, first_row, first_column, nodes_u, nodes_v, patch, patches,
                     breaks_u, breaks_v, period, x0 - 1, node_u, node_v, lines_u[filled % 4], lines_v[filled % 4])  # fmt: skip
        i0, i1, i2, i3 = (top - 1) % 4, top % 4, (top + 1) % 4, (top + 2) % 4
        u0, u1, u2, u3 = lines_u[i0], lines_u[i1], lines_u[i2], lines_u[i3]
        v0, v1, v2, v3 = lines_v[i0], lines_v[i1], lines_v[i2], lines_v[i3]
        y = pixel_row[p] - origin_row
        top_ok, bottom_ok = (pixel_bend[p] & 1) != 0, (pixel_bend[p] & 2) != 0
        for shift in shifts:
            count = classify_row(
                u1, v1, u2, v2, shift, sag, sign, largest, period, r0, r1, c0, c1, edges, uniform, weight, key, border
            )
            b = 0
            for x in range(n):
                found = 0
                if key[x] >= 0:
                    found, cells[0], areas[0] = 1, key[x], weight[x]
                    if density.size > 0:
                        mu = 0.25 * (u1[x + 1] + u1[x + 2] + u2[x + 1] + u2[x + 2]) + shift
                        mv = 0.25 * (v1[x + 1] + v1[x + 2] + v2[x + 1] + v2[x + 2])
                        areas[0] = weight[x] * density_at(mu, mv, density, spacing, dens_row, dens_column)
                elif b < count and border[b] == x:
                    b += 1
                    m = outline(u0, v0, u1, v1, u2, v2, u3, v3, x, segments, top_ok, bottom_ok, period, shift, pu, pv)
                    area = sign * signed_area(pu, pv, m) if m > 0 else 0.0
                    if 0.0 < area <= largest:
                        columns = int(np.max(pu[:m]) - np.min(pu[:m])) + 4
                        if here.size < columns:
                            here, right = np.empty(2 * columns), np.empty(2 * columns)
                        found, _ = pixel_cells(pu, pv, m, area, r0, r1, c0, c1, edges, uniform, density, spacing, dens_row, dens_column,
                                               here, right, work, cells, areas)  # fmt: skip
                if used + found > out_cell.size:
                    grown = 2 * (used + found)
                    grown_cell, grown_pixel, grown_area = (
                        np.empty(grown, dtype=np.int64),
                        np.empty(grown, dtype=np.int64),
                        np.empty(grown),
                    )
                    grown_cell[:used], grown_pixel[:used], grown_area[:used] = (
                        out_cell[:used],
                        out_pixel[:used],
                        out_area[:used],
                    )
                    out_cell, out_pixel, out_area = grown_cell, grown_pixel, grown_area
                for f in range(found):
                    out_cell[used], out_pixel[used], out_area[used] = (
                        cells[f],
                        y * width + x + x0 - origin_column,
                        areas[f],
                    )
                    used += 1
    return out_cell[:used], out_pixel[:used], out_area[:used]
