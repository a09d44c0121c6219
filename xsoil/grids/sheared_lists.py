"""Lists of the overlaps of sheared grids, cell by cell: made row by row, then sorted by counting; compiled."""

# numba infers the types of what it compiles:
# mypy: allow-untyped-defs, allow-incomplete-defs

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsoil.grids.index_map import IndexMap
from xsoil.grids.sheared_cuts import NEAR, pieces, pixel_blocks
from xsoil.grids.sheared_edges import edge_entries, longer
from xsoil.grids.sheared_lines import RING
from xsoil.grids.sheared_rows import next_line, note_lost, strip
from xsoil.grids.sheared_types import CHUNK, Tile, new_far, new_scratch
from xsoil.jit import kernel


@kernel
def list_group(origin, span, strips, lattice, shifts, tile, rule, torn, window, number, first, counts):
    """Overlaps of a group of rows (as to `sum_group`): pixel of the window, cell (counted with the ring, from
    `first` on), area; `counts` takes how many each cell has.

    `window` is the row and column of the window's first pixel and its width; `number` is of the integers that
    pixels are numbered with.
    """
    s, far = new_scratch(lattice, rule.segments, tile), new_far(4 * CHUNK)
    row_first, column_first, width = window
    ringed = tile.c1 - tile.c0 + 2 * RING
    size = int(1.4 * strips.row.size * (span[1] - span[0])) + 8 * CHUNK
    pixel, cell, area, used = np.empty(size, number.dtype), np.empty(size, np.int32), np.empty(size), 0
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
                lines, count, far = strip(s, p, strips, x0, n, lattice, tile, rule, torn, far)
                if used + 2 * n + count > cell.size:
                    size = 2 * (used + 2 * n + count)
                    pixel, cell, area = longer(pixel, used, size), longer(cell, used, size), longer(area, used, size)
                start = (strips.row[p] - row_first) * width + x0 - column_first
                used = note_whole(s.key, s.weight, n, start, first, pixel, cell, area, used)
                used = note_lines(
                    s.listed, lines, s.key, ringed, s.shape, s.whole, start, first, pixel, cell, area, used
                )
                x_far, cell_far, area_far = far.x, far.cell, far.area
                for e in range(count):
                    pixel[used + e], cell[used + e] = start + x_far[e], cell_far[e] + first
                    area[used + e] = area_far[e]
                used += count
                lost, lost_count = note_lost(s, strips, p, x0, lost, lost_count)
            x0 += n
    for i in range(used):
        counts[cell[i]] += 1
    return pixel[:used], cell[:used], area[:used], lost[:lost_count].copy()


@kernel
def note_whole(key, weight, n, start, first, pixel, cell, area, used):
    """Append the pixels of a stretch that lie within one cell."""
    for x in range(n):
        pixel[used], cell[used], area[used] = start + x, (key[x] >> 3) + first, weight[x]
        used += weight[x] > 0.0
    return used


@kernel
def note_lines(listed, lines, key, ringed, shape, whole, start, first, pixel, cell, area, used):
    """Append the parts of the pixels of a stretch across one line."""
    for i in range(lines):
        x = np.uint64(listed[i])
        here = (key[x] >> 3) + first
        near, far = pieces(shape[np.uint64(i) + NEAR], whole[x])
        pixel[used], cell[used], area[used] = start + listed[i], here, near
        used += near > 0.0
        pixel[used], cell[used], area[used] = start + listed[i], here + (ringed if key[x] & 7 == 2 else 1), far
        used += far > 0.0
    return used


@kernel
def sort_in(pixel, cell, area, at, pixels, areas):
    """Put overlaps where the lists of their cells stand (`at`: the next place of each; -1 for the ring's)."""
    for i in range(cell.size):
        c = np.uint64(cell[i])
        place = at[c]
        if place >= 0:
            pixels[np.uint64(place)], areas[np.uint64(place)] = pixel[i], area[i]
            at[c] = place + 1


@kernel
def tidy(pointer, pixels, areas):
    """Sort each list by pixel and join the pieces of a pixel (a kink of the projection cuts some in two), in
    place; `pointer` follows. Returns the number of overlaps that are left."""
    used, start = 0, 0
    for c in range(pointer.size - 1):
        stop, first = pointer[c + 1], used
        for i in range(start, stop):
            p, a, k = pixels[i], areas[i], used
            while k > first and pixels[k - 1] > p:
                k -= 1
            if k > first and pixels[k - 1] == p:
                areas[k - 1] += a
                continue
            for m in range(used, k, -1):
                pixels[m], areas[m] = pixels[m - 1], areas[m - 1]
            pixels[k], areas[k] = p, a
            used += 1
        start = stop
        pointer[c + 1] = used
    return used


def cell_lists(
    groups: Iterable[Any],
    origin: tuple[int, int],
    shape: tuple[int, int],
    tile: Tile,
    rule: Any,
    torn: int,
    imap: IndexMap,
) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[np.float64]]:
    """Overlaps of a tile as CSR (pointer, pixels, areas).

    Parameters
    ----------
    groups : iterable of tuple
        What the kernels need to know of each group of rows, the last the part of the tile that it may touch.
    origin, shape : tuple of int
        First pixel and size of the window whose pixels are numbered, row-major.

    Notes
    -----
    The order in a cell depends on absolute source indices alone: that in which pixels are met.
    """
    height, width = tile.r1 - tile.r0, tile.c1 - tile.c0
    ringed = width + 2 * RING
    number: Any = np.empty(0, dtype=np.int32 if shape[0] * shape[1] < 2**31 else np.int64)
    counts = np.zeros((height + 2 * RING) * ringed, dtype=np.int64)
    make: Any = list_group
    put: Any = sort_in
    found = []
    for *geometry, part in groups:
        first = (part.r0 - tile.r0) * ringed
        *overlaps, lost = make(origin, *geometry, part, rule, torn, (*origin, shape[1]), number, first, counts)
        found.append(overlaps)
        if lost.size:
            more = edge_entries(imap, rule, part, geometry[-1], lost)
            pixel = (more.row - origin[0]) * shape[1] + more.column - origin[1]
            found.append([pixel.astype(number.dtype), (more.cell + first).astype(np.int32), more.area])
            counts += np.bincount(more.cell + first, minlength=counts.size)
    inner = np.zeros((height + 2 * RING, ringed), dtype=bool)
    inner[RING:-RING, RING:-RING] = True
    pointer = np.zeros(height * width + 1, dtype=np.int64)
    np.cumsum(counts[inner.ravel()], out=pointer[1:])
    at = np.full(counts.size, -1, dtype=np.int64)
    at[inner.ravel()] = pointer[:-1]
    pixels, areas = np.empty(pointer[-1], dtype=number.dtype), np.empty(pointer[-1])
    while found:
        put(*found.pop(0), at, pixels, areas)
    return pointer, pixels, areas
