"""Order statistics of sheared overlaps: who fills which bins, and when they are emptied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsoil.errors import ArgumentError
from xsoil.grids.index_map import Array
from xsoil.grids.sheared_bins import Bins, append_entries, empty_bins, fill_bins, join_bins, new_bins
from xsoil.grids.sheared_edges import edge_entries
from xsoil.grids.sheared_groups import Group, RowGroups, batches, parts_of
from xsoil.grids.sheared_lines import RING
from xsoil.grids.sheared_types import Tile, new_scratch
from xsoil.threads import in_order, read_only

CHUNK_PIXELS = 16
"""Pixels of a group per chunk that bins begin with: more are added where they do not suffice."""


def order_band(
    groups: RowGroups,
    values: NDArray[Any],
    origin: tuple[int, int],
    window: tuple[slice, slice],
    tile: Tile,
    drawing: tuple[Any, int, Any],
    statistic: tuple[int, float, NDArray[Any]],
    cells: Array,
    threads: int,
    result: Array,
    valid: Array,
) -> None:
    """Order statistics of a tile.

    Each batch of rows has bins of its own, and empties those of the rows of the tile that no other group of rows
    reaches; bins that several batches have filled are joined, in the order of the batches.

    Parameters
    ----------
    groups : RowGroups
    values : array (k, ny, nx) of float32 or float64
        The source window in C order, whose first pixel is `origin`.
    window : tuple of slice
        Source rows and columns that may overlap the tile.
    drawing : tuple
        Rule, largest span of a pixel, and IndexMap.
    statistic : tuple
        Code of `order_kernels`, quantile, classes.
    cells : array
        Areas of the tile's cells, broadcastable to it.
    result, valid : array (k, classes or 1, rows, columns) and (k, rows, columns)
        Written.
    """
    rule, torn, imap = drawing
    how, q, classes = statistic
    height, width = tile.r1 - tile.r0, tile.c1 - tile.c0
    cells = read_only(np.ascontiguousarray(np.broadcast_to(cells, (height, width))))
    bits = read_only(values.view(np.int32 if values.dtype.itemsize == 4 else np.int64))
    flat, flat_bits = (a.reshape(len(values), -1) for a in (read_only(values), bits))
    # The keys of a single layer are kept instead of the places where they stand.
    direct = len(values) == 1 and values.dtype.itemsize == 4
    if bits[0].size >= 2**32:
        raise ArgumentError(
            f"expected a window of less than 2**32 source cells, found {bits[0].size}; use smaller tiles"
        )
    classes = np.asarray(classes, values.dtype)
    fill: Any = fill_bins
    empty: Any = empty_bins
    join: Any = join_bins
    add: Any = append_entries

    def emptied(bins: Bins, first: int, last: int, keep: bool) -> None:
        empty(flat, flat_bits, direct, bins, first, last, how, q, classes, cells, keep, result, valid)

    def prepared(batch: Any) -> list[list[Group]]:
        return [list(groups.of(batch, window[1], tile))]

    work = list(in_order(prepared, batches(*window, threads), threads))
    touched = np.zeros((len(work), height), dtype=bool)
    for batch, some in enumerate(work):
        for *_, part in some:
            touched[batch, part.r0 - tile.r0 : part.r1 - tile.r0] = True
    shared = touched.sum(axis=0) > 1

    def filled(some: list[Group]) -> list[Bins]:
        if not some:
            return []
        last = np.full(height, -1)
        for number_of_it, (*_, part) in enumerate(some):
            last[part.r0 - tile.r0 : part.r1 - tile.r0] = number_of_it
        last[shared] = -1
        most = max(strips.row.size * (span[1] - span[0]) for span, strips, *_ in some)
        bins = new_bins(height, width, most // CHUNK_PIXELS + width * 32)
        scratch = new_scratch(groups.step, rule.segments, tile)
        for number_of_it, (span, strips, lattice, shifts, part) in enumerate(some):
            offset = (part.r0 - tile.r0) * (width + 2 * RING)
            bins, lost = fill(
                bits[0], direct, origin, span, strips, lattice, shifts, part, rule, torn, scratch, offset, Bins(*bins)
            )
            if lost.size:
                more = edge_entries(imap, rule, part, shifts, lost)
                at = more.row - origin[0], more.column - origin[1]
                bins = add(bits[0], direct, *at, more.cell.astype(np.int32), more.area, offset, Bins(*bins))
            for first, end in _spans(last == number_of_it):
                emptied(Bins(*bins), first, end, False)
        return [Bins(*bins)]

    found = list(in_order(filled, work, threads))
    if not found:
        valid[:], result[:] = 0.0, np.nan
        return
    bins = found[0]
    for others in found[1:]:
        for first, last in _spans(shared):
            bounds = ((row + RING) * (width + 2 * RING) for row in (first, last))
            bins = Bins(*join(bins, others, *bounds))

    def rest(rows: slice) -> list[None]:
        for first, last in _spans(shared[rows]):
            emptied(bins, rows.start + first, rows.start + last, True)
        return []

    for _ in in_order(rest, parts_of(slice(0, height), 2 * max(threads, 1)), threads):
        pass


def _spans(wanted: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """First and last + 1 of each run of wanted rows."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], wanted, [False]]).astype(np.int8)))
    return ((int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True))
