"""Bins of the overlaps of each target cell, filled row by row and emptied as soon as a cell is whole; compiled.

A bin is a chain of chunks. An overlap is one number: what is known of its pixel (a key or a number of 32 bits)
above the bits of its area. Chunks are filled in full vectors, so that they have room behind their ends.
"""

# numba infers the types of what it compiles:
# mypy: allow-untyped-defs, allow-incomplete-defs

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xsoil.grids import order_kernels as order
from xsoil.grids.sheared_bends import pixel_blocks
from xsoil.grids.sheared_lines import RING
from xsoil.grids.sheared_rows import next_line, note_lost, strip
from xsoil.grids.sheared_statistic import deviation
from xsoil.grids.sheared_types import CHUNK
from xsoil.jit import bits_of, inlined, kernel, number_of

SIZE, STRIDE, COPY = 56, 64, 8
"""Overlaps that a chunk holds, numbers from one chunk to the next, numbers that are copied together."""

ONE, TWO, THREE, FOUR = (np.uint64(i) for i in (1, 2, 3, 4))

NONE, OUTSIDE = -1, -2
"""First chunk of a cell that has none; of one that takes what nobody wants."""


class Bins(NamedTuple):
    """Per cell of a tile with its ring the next free place and the end of its last chunk (`place`), and its
    `first` chunk; the chunk after each (`link`); the numbers of free chunks (`free`, `left` of them); overlaps."""

    place: NDArray[np.int32]
    first: NDArray[np.int32]
    link: NDArray[np.int32]
    free: NDArray[np.int32]
    left: NDArray[np.int64]
    pool: NDArray[np.int64]


def new_bins(height: int, width: int, chunks: int) -> Bins:
    """Empty bins for a tile of that size; chunk 0 is for the ring. (Large arrays made here, not by compiled code,
    come in large pages.)"""
    first = np.full((height + 2 * RING, width + 2 * RING), OUTSIDE, dtype=np.int32)
    first[RING:-RING, RING:-RING] = NONE
    chunks += 2
    free = np.zeros(chunks, dtype=np.int32)
    free[: chunks - 1] = np.arange(chunks - 1, 0, -1)
    return Bins(
        np.zeros((first.size, 2), dtype=np.int32), first.ravel(), np.empty(chunks, dtype=np.int32), free,
        np.array([chunks - 1]), np.empty((chunks + 1) * STRIDE, dtype=np.int64),
    )  # fmt: skip


@kernel
def with_room(bins, chunks):
    """The bins, with so many free chunks at least."""
    left, size = bins.left[0], bins.link.size
    if left >= chunks:
        return bins
    more = max(size, chunks)
    link, free = np.empty(size + more, np.int32), np.empty(size + more, np.int32)
    pool = np.empty((size + more + 1) * STRIDE, np.int64)
    link[:size], pool[: bins.pool.size] = bins.link, bins.pool
    for i in range(more):
        free[i] = size + more - 1 - i
    free[more : more + left] = bins.free[:left]
    bins.left[0] = left + more
    return Bins(bins.place, bins.first, link, free, bins.left, pool)


@kernel
def next_chunk(c, place, first, link, free, left):
    """Begin a chunk of a cell."""
    chunk = np.int64(0)
    if first[c] != OUTSIDE:
        left[0] -= 1
        chunk = np.int64(free[left[0]])
        link[chunk] = NONE
        if first[c] == NONE:
            first[c] = chunk
        else:
            link[(place[c, 1] - SIZE) // STRIDE] = chunk
    place[c, 0], place[c, 1] = chunk * STRIDE, chunk * STRIDE + SIZE


@kernel
def append_runs(key, n, overlaps, offset, place, first, link, free, left, pool):
    """Append a stretch to the first cells of its pixels, runs of one cell at a time (also what has no area)."""
    x = np.uint64(0)
    while x < n:
        cell, of = key[x] >> 3, x
        x += ONE
        while x < n and key[x] >> 3 == cell:
            x += ONE
        # `next_chunk` is written out, here and below: to call it counts the references of all arrays, one by one.
        c, rest = np.uint64(cell + offset), np.int64(x - of)
        while rest > 0:
            if place[c, 0] == place[c, 1]:
                chunk, old = np.int64(0), first[c]
                if old != OUTSIDE:
                    left[0] -= 1
                    chunk = np.int64(free[left[0]])
                    link[chunk] = NONE
                    if old == NONE:
                        first[c] = chunk
                    else:
                        link[(place[c, 1] - SIZE) // STRIDE] = chunk
                place[c, 0], place[c, 1] = chunk * STRIDE, chunk * STRIDE + SIZE
            begin = np.int64(place[c, 0])
            m = min(rest, np.int64(place[c, 1]) - begin)
            for j in range(0, m, COPY):
                y, z = of + np.uint64(j), np.uint64(begin + j)
                # All are read before one is written: one vector.
                v0, v1, v2, v3 = overlaps[y], overlaps[y + ONE], overlaps[y + TWO], overlaps[y + THREE]
                y += FOUR
                v4, v5, v6, v7 = overlaps[y], overlaps[y + ONE], overlaps[y + TWO], overlaps[y + THREE]
                pool[z], pool[z + ONE], pool[z + TWO], pool[z + THREE] = v0, v1, v2, v3
                z += FOUR
                pool[z], pool[z + ONE], pool[z + TWO], pool[z + THREE] = v4, v5, v6, v7
            place[c, 0] = begin + m
            of += np.uint64(m)
            rest -= m


@kernel
def append_far(x_far, cell_far, area_far, count, notes, offset, place, first, link, free, left, pool):
    """Append the listed overlaps of a stretch."""
    for e in range(count):
        c = np.uint64(cell_far[e] + offset)
        if place[c, 0] == place[c, 1]:
            chunk, old = np.int64(0), first[c]
            if old != OUTSIDE:
                left[0] -= 1
                chunk = np.int64(free[left[0]])
                link[chunk] = NONE
                if old == NONE:
                    first[c] = chunk
                else:
                    link[(place[c, 1] - SIZE) // STRIDE] = chunk
            place[c, 0], place[c, 1] = chunk * STRIDE, chunk * STRIDE + SIZE
        pool[np.uint64(place[c, 0])] = packed(notes[np.uint64(x_far[e])], np.float32(area_far[e]))
        place[c, 0] += 1


@inlined
def packed(note, area):
    """An overlap as one number."""
    return (np.int64(note) << 32) | np.int64(np.uint32(bits_of(area)))


@kernel
def note_row(row, direct, start, weight, missing, infinite, notes, overlaps):
    """What bins know of the pixels of a stretch: keys of their values, or their numbers."""
    for x in range(row.size):
        notes[x] = np.int32(order.key_of(row[x], missing, infinite)) if direct else np.int32(start + x)
    for x in range(row.size):
        overlaps[x] = packed(notes[x], weight[x])


@kernel
def fill_bins(bits, direct, origin, span, strips, lattice, shifts, tile, rule, torn, scratch, offset, bins):
    """Append the overlaps of a group of rows (as to `sum_group`) to bins whose cells count from `offset` on.

    `bits` (rows, columns) are those of the window's values; notes are their keys if `direct`, else the pixels'
    numbers in the window. Returns the bins, and the pixels that the edge of the projection cuts (`note_lost`).
    """
    s, far = scratch
    missing, infinite = order.largest(bits[0])
    notes, overlaps = np.zeros(CHUNK, np.int32), np.zeros(CHUNK + COPY, np.int64)
    lost, lost_count = np.empty((64, 4)), 0
    for shift in shifts:
        x0 = span[0]
        while x0 < span[1]:
            n, filled = min((x0 // CHUNK + 1) * CHUNK, span[1]) - x0, -1
            pixel_blocks(x0, n, lattice.step, s.block)
            for p in range(strips.row.size):
                while filled < strips.top[p] + 2:
                    filled += 1
                    next_line(s, filled, strips, lattice, x0, n, shift, tile)
                count, far = strip(s, p, strips, x0, n, lattice, tile, rule, torn, far)
                y, x = strips.row[p] - origin[0], x0 - origin[1]
                start = y * bits.shape[1] + x
                note_row(bits[y, x : x + n], direct, start, s.weight, missing, infinite, notes, overlaps)
                bins = with_room(bins, n + count)
                place, first, link, free, left, pool = bins
                append_runs(s.key, n, overlaps, offset, place, first, link, free, left, pool)
                append_far(far.x, far.cell, far.area, count, notes, offset, place, first, link, free, left, pool)
                lost, lost_count = note_lost(s, strips, p, x0, lost, lost_count)
            x0 += n
    return bins, lost[:lost_count].copy()


@kernel
def append_entries(bits, direct, row, column, cell, area, offset, bins):
    """Append single overlaps (window's row and column, cell, area)."""
    bins = with_room(bins, row.size)
    place, first, link, free, left, pool = bins
    missing, infinite = order.largest(bits[0])
    notes, numbers = np.empty(row.size, np.int32), np.arange(row.size)
    for e in range(row.size):
        y, x = row[e], column[e]
        notes[e] = np.int32(order.key_of(bits[y, x], missing, infinite) if direct else y * bits.shape[1] + x)
    append_far(numbers, cell, area, row.size, notes, offset, place, first, link, free, left, pool)
    return bins


@kernel
def join_bins(bins, others, start, stop):
    """Append what other bins hold of the cells start..stop - 1."""
    for c in range(start, stop):
        chunk = np.int64(others.first[c])
        while chunk >= 0:
            after, at = np.int64(others.link[chunk]), chunk * STRIDE
            m = SIZE if after >= 0 else np.int64(others.place[c, 0]) - at
            bins = with_room(bins, 2)
            place, first, link, free, left, pool = bins
            for i in range(at, at + m):
                if place[c, 0] == place[c, 1]:
                    next_chunk(c, place, first, link, free, left)
                pool[place[c, 0]] = others.pool[i]
                place[c, 0] += 1
            chunk = after
    return bins


@kernel
def take_keys(pool, at, m, scale, missing, n, keys, weights):
    """Keys and weights of a chunk of m overlaps, notes being keys; returns the weight of those that are known."""
    total = np.int64(0)
    for s in range(SIZE):
        overlap = pool[np.uint64(at) + np.uint64(s)]
        note, area = np.int32(overlap >> 32), number_of(np.int32(overlap))
        known = (s < m) & (note != missing) & (area > 0.0)
        keys[np.uint64(n) + np.uint64(s)] = note if known else missing
        weight = np.int64(area * scale) if known else np.int64(0)
        weights[np.uint64(n) + np.uint64(s)] = weight
        total += weight
    return total


@kernel
def look_up(bits, pool, at, m, scale, missing, infinite, n, keys, weights):
    """`take_keys`, notes being places of `bits`."""
    total = np.int64(0)
    for s in range(SIZE):
        keys[n + s], weights[n + s] = missing, 0
        area = number_of(np.int32(pool[at + s]))
        if s < m and area > 0.0:
            key = order.key_of(bits[np.int64(np.uint32(pool[at + s] >> 32))], missing, infinite)
            weight = np.int64(area * scale) if key != missing else np.int64(0)
            keys[n + s], weights[n + s] = key, weight
            total += weight
    return total


@kernel
def empty_bins(values, bits, direct, bins, first_row, last_row, how, q, classes, cells, keep, result, valid):
    """Order statistics of the rows first_row..last_row - 1 of a tile; the chunks are free then, unless they are to
    `keep` (as they are if several threads work on them).

    `values` and `bits` are (layers, pixels), `cells` the areas of the cells, `result` (layers, classes or 1, rows,
    columns) and `valid` (layers, rows, columns) take the rows.
    """
    number = np.empty(1, values.dtype)
    spot = number.view(bits.dtype)
    missing, infinite = order.largest(spot)
    class_keys, places = order.class_keys_of(classes, spot, number, missing, infinite), order.class_counts_of(classes)
    place, first, link, free, left, pool = bins
    width, size = cells.shape[1], 1
    for r in range(first_row, last_row):
        for col in range(width):
            chunk, most = np.int64(first[(r + RING) * (width + 2 * RING) + RING + col]), 0
            while chunk >= 0:
                chunk, most = np.int64(link[chunk]), most + SIZE
            size = max(size, most)
    keys, weights, tally = order.scratch(bits, size + SIZE, how != order.QUANTILE and how != order.STD)
    floats, classed, counts = keys.view(values.dtype), np.empty(size + SIZE, np.int32), tally[0]
    slots, slot, met = order.twin_scratch()
    unseen = 0
    for layer in range(values.shape[0]):
        for r in range(first_row, last_row):
            for col in range(width):
                c = (r + RING) * (width + 2 * RING) + RING + col
                chunk, end, scale = np.int64(first[c]), np.int64(place[c, 0]), order.WHOLE / cells[r, col]
                n, total = np.int64(0), np.int64(0)
                while chunk >= 0:
                    after, at = np.int64(link[chunk]), chunk * STRIDE
                    m = SIZE if after >= 0 else end - at
                    if direct:
                        total += take_keys(pool, at, m, scale, missing, n, keys, weights)
                    else:
                        total += look_up(bits[layer], pool, at, m, scale, missing, infinite, n, keys, weights)
                    n += m
                    if not keep and layer == values.shape[0] - 1:
                        free[left[0]] = chunk
                        left[0] += 1
                        first[c], place[c, 0], place[c, 1] = NONE, 0, 0
                    chunk = after
                valid[layer, r, col] = total / scale
                out = result[layer, :, r, col]
                if total == 0:
                    out[:] = np.nan
                elif how == order.QUANTILE:
                    out[0] = order.quantile_of(keys, weights, n, q, missing, spot, number)
                elif how == order.STD:
                    out[0] = deviation(keys, weights, n, missing, spot, number)
                else:
                    # (`statistic`, written out: the call counts the references of all arrays, a tenth of the whole.)
                    most_class = order.classes_of(keys, floats, n, classed, missing)
                    if most_class >= 0:
                        order.count_classes(classed, weights, n, most_class, counts)
                        if how == order.MODE:
                            out[0] = order.mode_of_counts(counts, most_class)
                        else:
                            order.fractions_of_counts(counts, most_class, places, out)
                    elif how == order.MODE:
                        # Where no value is there twice nothing is to be merged; where one is, the next cells are alike.
                        twins = n > order.SHORT or unseen > 0
                        unseen -= 1
                        if not twins:
                            twins = order.have_twins(keys, n, missing, slots, slot, met)
                            unseen = order.UNSEEN if twins else 0
                        if twins:
                            order.merge(keys, weights, n, tally)
                        best = order.widest(keys, weights, n, missing)
                        out[0] = order.value_of(best, missing, spot, number)
                    else:
                        order.fractions_of(keys, weights, n, class_keys, tally, out)
