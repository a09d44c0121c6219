"""Sums, extremes and lists over the cells of target rows that source rows stay within (see `sheared_level`); compiled.

A cell has LANES sums, of the first pixels of its runs, of the second ones and so on: no number depends on the window.
"""

# numba infers the types of what it compiles:
# mypy: allow-untyped-defs, allow-incomplete-defs

from __future__ import annotations

import numpy as np

from xsoil.grids.sheared_edges import longer
from xsoil.grids.sheared_level_kernels import LANES, PART, PIXEL, area_of, draw_row, new_drawing
from xsoil.jit import kernel


@kernel
def note_values(values, begin, end, to, noted):
    """Values of the pixels begin..end - 1 of a row into `noted`."""
    for i in range(end - begin):
        noted[np.uint64(to + i)] = values[np.uint64(begin + i)]


@kernel
def sum_cell(noted, drawing, count, at, first_column, by_area, sums, areas):
    """Sum of value x area (or share of the pixel) of a cell, and of the areas."""
    numbers, _, reached, within, near, lines_across, pitch = drawing
    for j in range(LANES):
        sums[j] = 0.0
    for j in range(LANES):
        areas[j] = 0.0
    for m in range(count):
        k, place = np.uint64(m * lines_across + at), m * pitch - first_column
        first, inner, last = np.int64(reached[k]), np.int64(within[k]), np.int64(within[k + np.uint64(1)])
        whole, share = numbers[m, PART], 1.0 if by_area else 1.0 / numbers[m, PIXEL]
        for x in range(first, last, LANES):
            begin = np.uint64(place + x)
            for j in range(LANES):
                value = noted[begin + np.uint64(j)]
                area = area_of(near[begin + np.uint64(j)], whole, x + j < inner)
                known = (x + j < last) & (area > 0.0) & (value == value)
                w = area if known else 0.0
                sums[j] += np.float64(value if known else noted.dtype.type(0)) * (w * share)
                areas[j] += w
    total, area = 0.0, 0.0
    for j in range(LANES):
        total += sums[j]
        area += areas[j]
    return total, area


@kernel
def extreme_cell(noted, drawing, count, at, first_column, largest, start, best, areas):
    """Largest or smallest value of a cell (`start` if there is none), and the sum of the areas."""
    numbers, _, reached, within, near, lines_across, pitch = drawing
    for j in range(LANES):
        best[j] = start
    for j in range(LANES):
        areas[j] = 0.0
    for m in range(count):
        k, place = np.uint64(m * lines_across + at), m * pitch - first_column
        first, inner, last = np.int64(reached[k]), np.int64(within[k]), np.int64(within[k + np.uint64(1)])
        whole = numbers[m, PART]
        for x in range(first, last, LANES):
            begin = np.uint64(place + x)
            for j in range(LANES):
                value = noted[begin + np.uint64(j)]
                area = area_of(near[begin + np.uint64(j)], whole, x + j < inner)
                known = (x + j < last) & (area > 0.0) & (value == value)
                better = known & (value > best[j] if largest else value < best[j])
                best[j] = value if better else best[j]
                areas[j] += area if known else 0.0
    most, area = best[0], 0.0
    for j in range(LANES):
        most = max(most, best[j]) if largest else min(most, best[j])
        area += areas[j]
    return most, area


@kernel
def sum_rows(
    values, origin, lines, begins, ends, edges, tile, first_row, last_row, shifts, bands, by_area, total, area
):
    """Sums (value x area, or x share of the pixel) and areas of the rows first_row..last_row - 1 of a tile; what is
    given is as for `order_rows`."""
    layers, _, width = values.shape
    span = origin[1], origin[1] + width
    drawing = new_drawing(bands, tile[2], width)
    noted, sums, areas = np.empty(bands * drawing.pitch, values.dtype), np.empty(LANES), np.empty(LANES)
    for r in range(first_row, last_row):
        low, high = edges[tile[0] + r], edges[tile[0] + r + 1]
        count, c0, c1 = draw_row(lines, begins[r], ends[r], low, high, shifts, span, tile, drawing)
        for layer in range(layers):
            for m in range(count if c1 > c0 else 0):
                place = m * drawing.lines
                x, end = drawing.reached[place] - span[0], drawing.within[place + c1 - c0] - span[0]
                note_values(values[layer, drawing.rows[m] - origin[0]], x, end, m * drawing.pitch + x, noted)
            for col in range(c0 - tile[1], c1 - tile[1]):
                total[layer, r, col], area[layer, r, col] = sum_cell(
                    noted, drawing, count, col + tile[1] - c0, span[0], by_area, sums, areas
                )


@kernel
def extreme_rows(
    values, origin, lines, begins, ends, edges, tile, first_row, last_row, shifts, bands, largest, total, area
):
    """Like `sum_rows`, for the extremes; `total` holds what cells without a value are to have."""
    layers, _, width = values.shape
    span = origin[1], origin[1] + width
    drawing = new_drawing(bands, tile[2], width)
    noted, best, areas = np.empty(bands * drawing.pitch, values.dtype), np.empty(LANES, values.dtype), np.empty(LANES)
    for r in range(first_row, last_row):
        low, high = edges[tile[0] + r], edges[tile[0] + r + 1]
        count, c0, c1 = draw_row(lines, begins[r], ends[r], low, high, shifts, span, tile, drawing)
        for layer in range(layers):
            for m in range(count if c1 > c0 else 0):
                place = m * drawing.lines
                x, end = drawing.reached[place] - span[0], drawing.within[place + c1 - c0] - span[0]
                note_values(values[layer, drawing.rows[m] - origin[0]], x, end, m * drawing.pitch + x, noted)
            for col in range(c0 - tile[1], c1 - tile[1]):
                total[layer, r, col], area[layer, r, col] = extreme_cell(
                    noted, drawing, count, col + tile[1] - c0, span[0], largest, total[layer, r, col], best, areas
                )


@kernel
def list_rows(origin, shape, lines, begins, ends, edges, tile, rows, shifts, bands):
    """Overlaps of the first `rows` rows of a tile as CSR (pointer, pixels of the window, areas)."""
    span = origin[1], origin[1] + shape[1]
    drawing = new_drawing(bands, tile[2], shape[1])
    numbers, source, reached, within, near, lines_across, pitch = drawing
    pointer = np.zeros(rows * tile[2] + 1, np.int64)
    pixels, areas, used = np.empty(1024, np.int64), np.empty(1024), 0
    for r in range(rows):
        low, high = edges[tile[0] + r], edges[tile[0] + r + 1]
        count, c0, c1 = draw_row(lines, begins[r], ends[r], low, high, shifts, span, tile, drawing)
        for col in range(tile[2]):
            at = col + tile[1] - c0
            for m in range(count if 0 <= at < c1 - c0 else 0):
                k, place = m * lines_across + at, m * pitch - span[0]
                first, inner, last = reached[k], within[k], within[k + 1]
                if used + last - first > pixels.size:
                    size = 2 * (used + last - first)
                    pixels, areas = longer(pixels, used, size), longer(areas, used, size)
                for x in range(first, last):
                    area = area_of(near[place + x], numbers[m, PART], x < inner)
                    pixels[used], areas[used] = (source[m] - origin[0]) * shape[1] + x - origin[1], area
                    used += int(area > 0.0)
            pointer[r * tile[2] + col + 1] = used
    return pointer, pixels[:used], areas[:used]
