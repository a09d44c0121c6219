"""Lists of the overlaps of sheared grids, cell by cell: made row by row, then sorted by counting; compiled.

The parts of pixels in their first cells are listed as runs along a row, of which there are few.
"""

# numba infers the types of what it compiles:
# mypy: allow-untyped-defs, allow-incomplete-defs

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xsoil.grids.index_map import IndexMap
from xsoil.grids.sheared_bends import pixel_blocks
from xsoil.grids.sheared_edges import edge_entries, longer
from xsoil.grids.sheared_lines import RING
from xsoil.grids.sheared_rows import next_line, note_lost, strip
from xsoil.grids.sheared_types import CHUNK, Tile, new_scratch
from xsoil.jit import kernel

if TYPE_CHECKING:
    from xsoil.grids.sheared_groups import Group


class Overlaps(NamedTuple):
    """Overlaps of a group of source rows with a tile.

    Runs of pixels within one cell (first pixel, cell, place of the first area, and one more place for the end),
    their areas, and single overlaps (pixel, cell, area). Cells count with the tile's ring, from the tile's first.
    """

    run_pixel: NDArray[Any]
    run_cell: NDArray[np.int32]
    run_start: NDArray[np.int64]
    run_area: NDArray[np.float32]
    pixel: NDArray[Any]
    cell: NDArray[np.int32]
    area: NDArray[np.float64]


@kernel
def list_group(origin, span, strips, lattice, shifts, tile, rule, torn, scratch, window, number, first):
    """Overlaps of a group of rows (as to `sum_group`), as in `Overlaps`, and the pixels that the edge of the
    projection cuts.

    `window` is the row and column of the window's first pixel and its width; `number` is of the integers that
    pixels are numbered with; cells count from `first` on.
    """
    s, far = scratch
    row_first, column_first, width = window
    pixels = strips.row.size * (span[1] - span[0])
    size, runs_size, wholes = pixels // 2 + 8 * CHUNK, pixels // 4 + 2 * CHUNK, pixels + 2 * CHUNK
    pixel, cell, area, used = np.empty(size, number.dtype), np.empty(size, np.int32), np.empty(size), 0
    run_pixel, run_cell = np.empty(runs_size, number.dtype), np.empty(runs_size, np.int32)
    run_start, run_area = np.empty(runs_size, np.int64), np.empty(wholes, np.float32)
    runs, inside = 0, 0
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
                if used + 2 * n + count > size:
                    size = 2 * (used + 2 * n + count)
                    pixel, cell, area = longer(pixel, used, size), longer(cell, used, size), longer(area, used, size)
                if runs + n + 1 > runs_size:
                    runs_size = 2 * (runs + n + 1)
                    run_pixel, run_cell = longer(run_pixel, runs, runs_size), longer(run_cell, runs, runs_size)
                    run_start = longer(run_start, runs, runs_size)
                if inside + n > wholes:
                    wholes = 2 * (inside + n)
                    run_area = longer(run_area, inside, wholes)
                start = (strips.row[p] - row_first) * width + x0 - column_first
                runs, inside = note_runs(
                    s.key, s.weight, n, start, first, run_pixel, run_cell, run_start, run_area, runs, inside
                )
                x_far, cell_far, area_far = far.x, far.cell, far.area
                for e in range(count):
                    pixel[used + e], cell[used + e] = start + x_far[e], cell_far[e] + first
                    area[used + e] = area_far[e]
                used += count
                lost, lost_count = note_lost(s, strips, p, x0, lost, lost_count)
            x0 += n
    run_start[runs] = inside
    return (
        run_pixel[:runs], run_cell[:runs], run_start[: runs + 1], run_area[:inside], pixel[:used], cell[:used],
        area[:used], lost[:lost_count].copy(),
    )  # fmt: skip


@kernel
def note_runs(key, weight, n, start, first, run_pixel, run_cell, run_start, run_area, runs, inside):
    """Append the runs of pixels of a stretch that lie within one cell; returns how many there are, and their pixels."""
    before, zero = np.int32(-1), np.float32(0.0)
    m, k = np.uint64(runs), np.uint64(inside)
    for x in range(n):
        # Written always, counted where it holds: it cannot be predicted.
        cell = np.int32(key[x] >> 3) if weight[x] > zero else np.int32(-1)
        run_pixel[m], run_cell[m], run_start[m], run_area[k] = start + x, cell + first, k, weight[x]
        m += np.uint64((cell != before) & (cell >= 0))
        k += np.uint64(cell >= 0)
        before = cell
    return np.int64(m), np.int64(k)


@kernel
def count_in(run_cell, run_start, cell, counts):
    """Add to the numbers of overlaps that cells have."""
    for m in range(run_cell.size):
        counts[np.uint64(run_cell[m])] += run_start[m + 1] - run_start[m]
    for i in range(cell.size):
        counts[np.uint64(cell[i])] += 1


@kernel
def sort_in(run_pixel, run_cell, run_start, run_area, pixel, cell, area, at, pixels, areas):
    """Put overlaps where the lists of their cells stand (`at`: the next place of each; -1 for cells that are not
    wanted)."""
    for m in range(run_cell.size):
        c = np.uint64(run_cell[m])
        place, start, length = at[c], run_start[m], run_start[m + 1] - run_start[m]
        if place >= 0:
            to, of = np.uint64(place), np.uint64(start)
            for i in range(np.uint64(length)):
                pixels[to + i], areas[to + i] = run_pixel[m] + i, run_area[of + i]
            at[c] = place + length
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


def overlaps_of(
    groups: Iterable[Group],
    origin: tuple[int, int],
    shape: tuple[int, int],
    tile: Tile,
    rule: Any,
    torn: int,
    imap: IndexMap,
) -> list[Overlaps]:
    """Overlaps of groups of rows with a tile, in the order of the groups.

    Parameters
    ----------
    groups : iterable of tuple
        What the kernels need to know of each group of rows, the last the part of the tile that it may touch.
    origin, shape : tuple of int
        First pixel and size of the window whose pixels are numbered, row-major.
    """
    ringed = tile.c1 - tile.c0 + 2 * RING
    number: Any = np.empty(0, dtype=np.int32 if shape[0] * shape[1] < 2**31 else np.int64)
    make: Any = list_group
    found, scratch = [], None
    for span, strips, lattice, shifts, part in groups:
        first = (part.r0 - tile.r0) * ringed
        scratch = scratch or new_scratch(lattice.step, rule.segments, tile)
        *overlaps, lost = make(
            origin, span, strips, lattice, shifts, part, rule, torn, scratch, (*origin, shape[1]), number, first
        )
        found.append(Overlaps(*overlaps))
        if lost.size:
            more = edge_entries(imap, rule, part, shifts, lost)
            pixel = ((more.row - origin[0]) * shape[1] + more.column - origin[1]).astype(number.dtype)
            none = number, np.empty(0, np.int32), np.zeros(1, np.int64), np.empty(0, np.float32)
            cell = (more.cell + first).astype(np.int32)
            found.append(Overlaps(*none, pixel, cell, more.area))
    return found


def cell_lists(
    found: list[Overlaps], shape: tuple[int, int], tile: Tile
) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[np.float64]]:
    """Overlaps of a tile as CSR (pointer, pixels, areas).

    The order in a cell depends on absolute source indices alone: that of the groups; in them runs, then others.
    """
    wanted = np.zeros((tile.r1 - tile.r0 + 2 * RING, tile.c1 - tile.c0 + 2 * RING), dtype=bool)
    wanted[RING:-RING, RING:-RING] = True
    inner = np.flatnonzero(wanted)
    counts = np.zeros(wanted.size, dtype=np.int64)
    count: Any = count_in
    put: Any = sort_in
    for part in found:
        count(part.run_cell, part.run_start, part.cell, counts)
    pointer = np.zeros(inner.size + 1, dtype=np.int64)
    np.cumsum(counts[inner], out=pointer[1:])
    at = np.full(counts.size, -1, dtype=np.int64)
    at[inner] = pointer[:-1]
    whole: Any = np.int32 if shape[0] * shape[1] < 2**31 else np.int64
    pixels, areas = np.empty(pointer[-1], dtype=whole), np.empty(pointer[-1])
    for part in found:
        put(*part, at, pixels, areas)
    return pointer, pixels, areas
