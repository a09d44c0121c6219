"""Groups of source rows, the unit of work of a thread, and what the sheared kernels need to know of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from xsoil.grids import corners
from xsoil.grids.crs import shorter_way
from xsoil.grids.index_map import Array, IndexMap
from xsoil.grids.seams import seam_strips

if TYPE_CHECKING:
    from xsoil.grids.sheared_types import Strips, Tile

GROUP_ROWS = 72
"""Source rows that are summed by themselves before they are added to the rest, in order: the unit of
work of a thread (so few that threads have equal shares; each group costs some 80 microseconds of its own)."""

BATCH_PIXELS = 2**24
"""Pixels whose corners are prepared together: bounds the memory of a large window."""

Group = tuple[tuple[int, int], "Strips", corners.Lattice, Array, "Tile"]
"""Columns, strips, lattice, shifts by the period, part of the tile that may be touched."""


@dataclass(frozen=True)
class RowGroups:
    """Makes groups.

    Attributes
    ----------
    map : IndexMap
    step : int
        Spacing of the lattice of corners.
    tolerance : float
        Of the lattice [target cells].
    reach : float
        How far pixels reach [target cells].
    """

    map: IndexMap
    step: int
    tolerance: float
    reach: float

    def all(self, window: tuple[slice, slice], tile: Tile) -> Iterator[Group]:
        """All groups of a window of the source."""
        for batch in batches(window[0], window[1], 1):
            yield from self.of(batch, window[1], tile)

    def of(self, batch: list[tuple[int, int]], columns: slice, tile: Tile) -> Iterator[Group]:
        """What the kernels need to know of each group of rows, and the rows of the tile that it may touch."""
        span = (columns.start, columns.stop)
        around = (batch[0][0] - 1, batch[-1][1] + 1), (span[0] - 1, span[1] + 1)
        lattice = corners.lattice_of(self.map, self.step, self.tolerance, *around)
        shifts = self._shifts(lattice, tile)
        if not shifts.size:
            return
        low, high = _reach(lattice)
        for top, bottom in batch:
            first, last = top // self.step - lattice.first_row, bottom // self.step - lattice.first_row
            r0, r1 = tile.r0, tile.r1
            patch = lattice.patch[first : last + 1]
            own = lattice.patches[patch[patch >= 0], 1]
            # Pixels at the edge of the projection may reach anywhere.
            if np.isfinite(own).all():
                lines = slice(first, last + 4)
                # NaN (all outside of the projection) sorts last.
                ends = [
                    np.fmin.reduce([np.fmin.reduce(low[lines]), *own.min(axis=(1, 2))]),
                    np.fmax.reduce([np.fmax.reduce(high[lines]), *own.max(axis=(1, 2))]),
                ]
                at = np.searchsorted(tile.edges, ends, side="right")
                r0, r1 = max(int(at[0]) - 2, r0), min(int(at[1]) + 1, r1)
            if r1 > r0:
                yield span, _strips(top, bottom, self.map.breaks), lattice, shifts, tile._replace(r0=r0, r1=r1)

    def _shifts(self, lattice: corners.Lattice, tile: Tile) -> Array:
        """Multiples of the target's period that bring pixels of the lattice into the tile."""
        period = self.map.period
        if not period:
            return np.zeros(1)
        both = (lattice.u, lattice.patches[:, 0])
        ends = [f.reduce(u, axis=None, initial=np.nan) for u in both for f in (np.fmin, np.fmax)]
        # Between nodes pixels reach little further, unless a pole is near.
        reach = period / 2 if len(lattice.patches) else self.reach + _across(lattice.u, period)
        low, high = np.fmin.reduce(ends) - reach, np.fmax.reduce(ends) + reach
        if np.isnan(low):
            return np.zeros(0)
        return np.arange(np.ceil((tile.c0 - high) / period), np.floor((tile.c1 - low) / period) + 1) * period


def _across(u: Array, period: float) -> float:
    """How far pixels may lie beyond all nodes of a lattice: between two that are on either side of the period's end."""
    ahead = [np.diff(u, axis=axis) for axis in (0, 1)]
    if not any((np.abs(step) > period / 2).any() for step in ahead):
        return 0.0
    return sum(float(np.fmax.reduce(np.abs(shorter_way(step, period)), axis=None, initial=0.0)) for step in ahead)


def _reach(lattice: corners.Lattice) -> tuple[Array, Array]:
    """Lowest and highest v of each row of nodes and between them, where lines bulge by an eighth of the
    second difference of the nodes."""
    v = lattice.v
    bulge = max(float(np.fmax.reduce(np.abs(np.diff(v, 2, axis=axis)), axis=None, initial=0.0)) for axis in (0, 1))
    return np.fmin.reduce(v, axis=1) - bulge, np.fmax.reduce(v, axis=1) + bulge


def batches(rows: slice, columns: slice, threads: int) -> list[list[tuple[int, int]]]:
    """Row groups of a window, between absolute multiples of GROUP_ROWS, in batches that share corners."""
    first, stop = rows.start, rows.stop
    edges = [first, *range((first // GROUP_ROWS + 1) * GROUP_ROWS, stop, GROUP_ROWS), stop]
    groups = list(zip(edges[:-1], edges[1:]))
    size = max(1, min(-(-len(groups) // threads), BATCH_PIXELS // (GROUP_ROWS * max(columns.stop - columns.start, 1))))
    return [groups[i : i + size] for i in range(0, len(groups), size)]


def parts_of(rows: slice, number: int) -> list[slice]:
    """Rows in so many parts of like size (or one for each row)."""
    height = rows.stop - rows.start
    number = max(1, min(number, height))
    edges = [rows.start + height * i // number for i in range(number + 1)]
    return [slice(a, b) for a, b in pairwise(edges)]


def _strips(ya: int, yb: int, breaks: tuple[float, ...]) -> Strips:
    """The strips of pixels of rows ya <= row < yb: one a row, two where a seam cuts it."""
    from xsoil.grids.sheared_types import Strips

    special = [strip for strip in seam_strips(breaks) if ya <= strip.row < yb]
    parts: list[tuple[Any, ...]] = []
    start, lines = ya, 0
    for strip in [*special, None]:
        # Strips of a run of usual rows share their lines; each next to a seam has its own.
        stop = yb if strip is None else strip.row
        if stop > start:
            rows, n = np.arange(start - 1, stop + 2), stop - start
            top = lines + np.arange(1, n + 1)
            parts.append((rows, np.full(n + 3, -1), rows[1:-2], top, np.zeros(n, bool), rows[1:-2], np.ones(n)))
            lines += n + 3
        if strip is not None:
            row, upper, lower, seams = strip
            line = row, round(upper), round(lower), row
            parts.append((line, seams, [row], [lines + 1], [True], [upper], [lower - upper]))
            start, lines = row + 1, lines + 4
    joined = Strips(*(np.concatenate(part) for part in zip(*parts)))
    return joined._replace(start=joined.start.astype(float))
