"""Overlaps of source rows that stay rows of the target (see `sheared_level`), one target row at a time; compiled.

The part of a source row in a target row is a band: its pixels are quads between two level lines, whose sides bulge a
little. Pixels are narrower than cells, so that a column line cuts each at most once. All that a number depends on is
absolute (line, column, cell): no window, tile or thread shows in it.
"""

# numba infers the types of what it compiles:
# mypy: allow-untyped-defs, allow-incomplete-defs

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from xsoil.grids import order_kernels as order
from xsoil.grids.sheared_statistic import statistic
from xsoil.jit import kernel

LANES = 16
"""Pixels of a run that are worked on together: a constant, so that the compiler makes vectors of them."""

# Overlaps below this share of the smaller cell are dropped.
SLIVER = 1e-9

# Mean of what a parabola bulges, relative to its middle.
TWO_THIRDS = 2.0 / 3.0

ZERO, HALF, ONE, FOUR, THIRD = (np.float32(x) for x in (0.0, 0.5, 1.0, 4.0, 1.0 / 3.0))

# Numbers of a band: height, position of its upper and lower line at column 0 and their steps, bulge of a side at
# column 0 and its step, area of a pixel's part in the band and of the whole pixel.
HEIGHT, TOP, TOP_STEP, BOTTOM, BOTTOM_STEP, BULGE, BULGE_STEP, PART, PIXEL = range(9)


class Lines(NamedTuple):
    """Grid lines `first`, `first` + 1 ... of the source: column `c` of one lies at u = start + step x c, and at v."""

    first: int
    start: np.ndarray
    step: np.ndarray
    v: np.ndarray


@kernel
def find_bands(lines, begin, end, low, high, shifts, span, numbers, rows):
    """Bands of the source rows begin..end - 1 in low <= v < high (the first two in target rows) into `numbers`, and
    their rows; returns how many there are, and the first and last column that pixels of `span` reach."""
    start, step, v = lines.start, lines.step, lines.v
    count, first, last = 0, np.inf, -np.inf
    for shift in shifts:
        for y in range(begin, end):
            i = y - lines.first
            rise = v[i + 1] - v[i]
            t, s = (low - v[i]) / rise, (high - v[i]) / rise
            t, s = min(max(min(t, s), 0.0), 1.0), min(max(max(t, s), 0.0), 1.0)
            if s <= t:
                continue
            a, b = start[i + 1] - start[i], step[i + 1] - step[i]
            # What the middle of a side lies off its chord, along the row of the target.
            off = (v[i - 1] - v[i] - v[i + 1] + v[i + 2]) / (16.0 * rise)
            bulge = a * off - (start[i - 1] - start[i] - start[i + 1] + start[i + 2]) / 16.0
            slope = b * off - (step[i - 1] - step[i] - step[i + 1] + step[i + 2]) / 16.0
            f, g = 4.0 * t * (1.0 - t), 4.0 * s * (1.0 - s)
            out = numbers[count]
            out[HEIGHT] = abs(rise) * (s - t)
            out[PIXEL] = abs(rise) * (0.5 * (step[i] + step[i + 1]) + slope * TWO_THIRDS)
            out[TOP], out[TOP_STEP] = start[i] + shift + t * a + f * bulge, step[i] + t * b + f * slope
            out[BOTTOM], out[BOTTOM_STEP] = start[i] + shift + s * a + g * bulge, step[i] + s * b + g * slope
            out[BULGE], out[BULGE_STEP] = (s - t) ** 2 * bulge, (s - t) ** 2 * slope
            out[PART] = out[HEIGHT] * (0.5 * (out[TOP_STEP] + out[BOTTOM_STEP]) + out[BULGE_STEP] * TWO_THIRDS)
            rows[count] = y
            count += 1
            first = min(first, min(out[TOP] + out[TOP_STEP] * span[0], out[BOTTOM] + out[BOTTOM_STEP] * span[0]))
            last = max(last, max(out[TOP] + out[TOP_STEP] * span[1], out[BOTTOM] + out[BOTTOM_STEP] * span[1]))
    return count, first, last


@kernel
def find_runs(band, first, count, span, place, reached, within):
    """For each column line from `first` on the first pixel that reaches beyond it, and the first that lies beyond it
    as a whole, from `place` on; both within `span`."""
    top, down, bottom, under = band[TOP], band[TOP_STEP], band[BOTTOM], band[BOTTOM_STEP]
    per_top, per_bottom = 1.0 / down, 1.0 / under
    lowest, highest = np.float64(span[0]), np.float64(span[1])
    for i in range(count):
        c, at = np.float64(first + i), np.uint64(place + i)
        a, b = (c - top) * per_top, (c - bottom) * per_bottom
        # Near enough: what decides is on which side of the line the corners of `cut_band` lie.
        k, s = np.floor(a if a < b else b), np.ceil(a if a > b else b)
        k -= 1.0 if (top + down * k > c) | (bottom + under * k > c) else 0.0
        k += 0.0 if (top + down * (k + 1.0) > c) | (bottom + under * (k + 1.0) > c) else 1.0
        s -= 1.0 if (top + down * (s - 1.0) >= c) & (bottom + under * (s - 1.0) >= c) else 0.0
        s += 0.0 if (top + down * s >= c) & (bottom + under * s >= c) else 1.0
        k, s = k if k > lowest else lowest, s if s > lowest else lowest
        reached[at], within[at] = np.int32(k if k < highest else highest), np.int32(s if s < highest else highest)


@kernel
def left_of(a, b, bulge):
    """Mean width of what lies left of a column line beside a side whose ends are a and b before it."""
    high, low = (a if a > b else b), (b if a > b else a)
    d = high - low
    t = high / (d if d > ZERO else ONE)
    t = ONE if (low >= ZERO) | (t > ONE) else t
    t = t if t > ZERO else ZERO
    high, low = (high if high > ZERO else ZERO), (low if low > ZERO else ZERO)
    return HALF * (high * t + low) - FOUR * bulge * t * t * (HALF - THIRD * t)


@kernel
def cut_band(band, begin, end, place, near):
    """Areas of the pixels begin..end - 1 of a band in their first cells, at `place` + pixel: the band's PART (in single
    precision) where that is all, 0 where it is a sliver."""
    top, down, bottom, under = band[TOP], band[TOP_STEP], band[BOTTOM], band[BOTTOM_STEP]
    bulge, slope, height, whole = band[BULGE], band[BULGE_STEP], np.float32(band[HEIGHT]), np.float32(band[PART])
    least = np.float32(SLIVER * min(band[PIXEL], 1.0))
    for i in range(begin, end):
        x, at = np.float64(i), np.uint64(place + i)
        a, b, c, d = top + down * x, bottom + under * x, top + down * (x + 1.0), bottom + under * (x + 1.0)
        line = np.floor(a if a < b else b) + 1.0
        part = left_of(np.float32(line - a), np.float32(line - b), np.float32(bulge + slope * x))
        part -= left_of(np.float32(line - c), np.float32(line - d), np.float32(bulge + slope * (x + 1.0)))
        part = height * part if (c > line) | (d > line) else whole
        part = part if part > least else ZERO
        near[at] = part if whole - part > least else whole


@kernel
def area_of(near, whole, next_cell):
    """Area of a pixel in its first cell or in the next one; both make up `whole`."""
    area = whole if near >= np.float32(whole) else np.float64(near)
    return whole - area if next_cell else area


class Drawing(NamedTuple):
    """Room for the bands of a target row: their numbers and rows, runs of pixels of each column line, areas of pixels
    in their first cells. `lines` and `pitch` are the distances from one band to the next."""

    numbers: np.ndarray
    rows: np.ndarray
    reached: np.ndarray
    within: np.ndarray
    near: np.ndarray
    lines: int
    pitch: int


@kernel
def new_drawing(bands, columns, width):
    """Room for so many bands of a tile and a window of so many columns."""
    lines, pitch = columns + 1, width + LANES
    return Drawing(
        np.empty((bands, 9)), np.empty(bands, np.int64), np.empty(bands * lines, np.int32),
        np.empty(bands * lines, np.int32), np.empty(bands * pitch, np.float32), lines, pitch,
    )  # fmt: skip


@kernel
def draw_row(lines, begin, end, low, high, shifts, span, tile, drawing):
    """Bands, runs and areas of a target row; returns how many bands there are, and the columns that they reach."""
    numbers, rows, reached, within, near, lines_across, pitch = drawing
    count, first, last = find_bands(lines, begin, end, low, high, shifts, span, numbers, rows)
    c0, c1 = np.int64(0), np.int64(0)
    if count > 0 and first < tile[1] + tile[2] and last > tile[1]:
        c0, c1 = max(np.int64(np.floor(first)), tile[1]), min(np.int64(np.floor(last)) + 1, tile[1] + tile[2])
        for m in range(count):
            place = m * lines_across
            find_runs(numbers[m], c0, c1 - c0 + 1, span, place, reached, within)
            cut_band(numbers[m], reached[place], within[place + c1 - c0], m * pitch - span[0], near)
    return count, c0, c1


@kernel
def note_keys(bits, row, begin, end, place, noted, missing, infinite):
    """Keys of the pixels begin..end - 1 of a row, at `place` + pixel."""
    for i in range(begin, end):
        noted[np.uint64(place + i)] = order.key_of(bits[np.uint64(row + i)], missing, infinite)


@kernel
def take_cell(noted, drawing, count, at, first_column, scale, missing, keys, weights):
    """Keys and weights of the pixels of a cell, from the runs of its bands (`at`: its line); returns how many."""
    numbers, _, reached, within, near, lines_across, pitch = drawing
    n = np.int64(0)
    for m in range(count):
        k, place = np.uint64(m * lines_across + at), m * pitch - first_column
        first, inner, last = np.int64(reached[k]), np.int64(within[k]), np.int64(within[k + np.uint64(1)])
        whole = numbers[m, PART]
        for x in range(first, last, LANES):
            begin, stop = np.uint64(place + x), np.uint64(n + x - first)
            for j in range(LANES):
                key, to = noted[begin + np.uint64(j)], stop + np.uint64(j)
                # What is written behind `last` is nothing.
                area = area_of(near[begin + np.uint64(j)], whole, x + j < inner)
                known = (x + j < last) & (area > 0.0) & (key != missing)
                keys[to] = key if known else missing
                weights[to] = np.int64((area if known else 0.0) * scale)
        n += last - first
    return n


@kernel
def whole_weight(weights, n):
    """The sum of weights."""
    total = np.int64(0)
    for i in range(n):
        total += weights[i]
    return total


@kernel
def order_rows(
    values, bits, origin, lines, begins, ends, edges, tile, first_row, last_row, shifts, most, how, q, classes, cells,
    result, valid,
):  # fmt: skip
    """Order statistics of the rows first_row..last_row - 1 of a tile.

    `values` and `bits` are (layers, rows, columns) of the window at `origin`; source rows begins..ends - 1 (by row of
    the tile) reach into a row; `tile` is the target's first row, first column and number of columns; `most` are the
    bands of a row and the pixels of a cell at most. `cells`, `result`, `valid` as for `empty_bins`.
    """
    number = np.empty(1, values.dtype)
    spot = number.view(bits.dtype)
    missing, infinite = order.largest(spot)
    class_keys, places = order.class_keys_of(classes, spot, number, missing, infinite), order.class_counts_of(classes)
    layers, height, width = bits.shape
    span = origin[1], origin[1] + width
    drawing = new_drawing(most[0], tile[2], width)
    noted = np.empty(most[0] * drawing.pitch, bits.dtype)
    keys, weights, tally = order.scratch(spot, most[1], how != order.QUANTILE and how != order.STD)
    floats, classed, counts = keys.view(values.dtype), np.empty(keys.size, np.int32), tally[0]
    (slots, slot, met), out = order.twin_scratch(), np.empty(result.shape[1])
    flat = bits.reshape(layers, height * width)
    unseen = 0
    for r in range(first_row, last_row):
        low, high = edges[tile[0] + r], edges[tile[0] + r + 1]
        count, c0, c1 = draw_row(lines, begins[r], ends[r], low, high, shifts, span, tile, drawing)
        for layer in range(layers):
            for m in range(count if c1 > c0 else 0):
                place = m * drawing.lines
                x, end = drawing.reached[place], drawing.within[place + c1 - c0]
                row, to = (drawing.rows[m] - origin[0]) * width - span[0], m * drawing.pitch - span[0]
                note_keys(flat[layer], row, x, end, to, noted, missing, infinite)
            for col in range(c0 - tile[1], c1 - tile[1]):
                scale = order.WHOLE / cells[r, col]
                n = take_cell(noted, drawing, count, col + tile[1] - c0, span[0], scale, missing, keys, weights)
                n = order.pad(keys, weights, n, missing)
                total = whole_weight(weights, n)
                valid[layer, r, col] = total / scale
                if total > 0:
                    unseen = statistic(
                        keys, floats, weights, n, how, q, missing, spot, number, classed, counts, places, class_keys,
                        tally, slots, slot, met, unseen, out,
                    )  # fmt: skip
                    for i in range(out.size):
                        result[layer, i, r, col] = out[i]
