"""Conservative splitting: fine cells whose area-weighted mean over every coarse cell is that cell's value.

The first guess of a fine cell is the area-weighted mean of the coarse cells that it overlaps. What its coarse
cells then miss is put on the fine cells of their own, those that overlap no other coarse cell: so one coarse cell
never disturbs another, one pass is exact, and a fine cell depends on a few rings of coarse cells only. Coarse cells
without fine cells of their own are corrected first, on fine cells that they share with none of their kind.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsoil.grids.overlap import Overlap, overlap_of
from xsoil.grids.points import is_cyclic
from xsoil.grids.reduce import SLACK, Output
from xsoil.grids.rings import CLOSELY, COARSELY, Ring, Window, sheared_rings
from xsoil.grids.separable import SeparableOverlap, from_the_dateline
from xsoil.grids.windows import within
from xsoil.threads import read_only

Array = NDArray[Any]

LEAST_SHARE = 0.05
"""Part of a coarse cell's area that fine cells of its own must have: below it their corrections would be wild."""

LEVELS = 3
"""How often coarse cells without fine cells of their own look for some that they share only with those that have."""

BLOCK_SIDE = 1024
"""Rows and columns of fine cells (over all layers: the square of it) that are worked on at once, besides the rings."""


@dataclass(frozen=True)
class ConservativeSplit:
    """What one task of a conservative `downscale` does: a coarse window to a fine tile. Holds no arrays.

    Parameters
    ----------
    source, target : GeoBox
        The coarse grid and the fine one.
    min_valid : float
        A fine cell is NaN where less than this part of its area has a coarse value (inclusive).
    exact, out : numpy.dtype
        Floating-point type that holds the source's values exactly; type of the result.

    Notes
    -----
    The mean is that of `upscale` from the fine grid back to the coarse one, over the fine cells that have a value.
    """

    source: GeoBox
    target: GeoBox
    min_valid: float
    exact: np.dtype[Any]
    out: np.dtype[Any]

    @property
    def outputs(self) -> dict[str, Output]:
        """What `run` returns, by name."""
        return {"value": Output(self.out, np.nan)}

    def window(self, rows: slice, cols: slice) -> tuple[slice, slice] | None:
        """Source rows and columns that a target tile needs; None where there are none."""
        return _window_of(self, rows.start, rows.stop, cols.start, cols.stop)

    def run(
        self, values: Array, origin: tuple[int, int], rows: slice, cols: slice, threads: int = 1
    ) -> dict[str, Array]:
        """The tile from a window (k, ny, nx) whose first cell is `origin`."""
        left, layers = origin[1] - self._turned[1], len(values)
        given = Window(slice(origin[0], origin[0] + values.shape[1]), slice(left, left + values.shape[2]))
        result = np.full((layers, rows.stop - rows.start, cols.stop - cols.start), np.nan, self.out)
        for part_rows, part_cols in itertools.product(_parts(rows), _parts(cols)):
            rings = self._rings(part_rows, part_cols, CLOSELY)
            if rings is None:
                continue
            # What a window leaves out no cell of the tile depends on, though the rings, drawn generously, may reach it.
            rings = [Ring(ring.fine, _clipped(ring.coarse, given, is_cyclic(self.coarse))) for ring in rings]
            place = Window(part_rows, part_cols)
            some = max(1, BLOCK_SIDE**2 // math.prod(place.shape))
            for k in range(0, layers, some):
                for levels in (1, LEVELS):
                    near = rings[: self.depth(levels) + 1]
                    known = _cut(values[k : k + some], given, near[-1].coarse, self.coarse)
                    known = known.astype(self.exact, copy=False).astype(np.float64, copy=False)
                    found = _split(self, known, near, levels, threads)
                    if found is not None:
                        _cut(result[k : k + some], Window(rows, cols), place, self.target)[:] = found
                        break
        return {"value": result}

    @property
    def coarse(self) -> GeoBox:
        """The source; one that goes all round the globe from the dateline, so that where it began does not show."""
        return self._turned[0]

    @property
    def _turned(self) -> tuple[GeoBox, int]:
        return from_the_dateline(self.source)

    @property
    def to_fine(self) -> Overlap:
        return overlap_of(self.coarse, self.target)

    @property
    def to_coarse(self) -> Overlap:
        return overlap_of(self.target, self.coarse)

    @property
    def passes(self) -> int:
        """How often the cells of a coarse cell's own are corrected.

        Once is exact, but sheared overlaps are known to 1e-7 of a cell only, so that what seems a cell of one's own
        may reach into a neighbour by that much.
        """
        return 1 if isinstance(self.to_coarse, SeparableOverlap) else 2

    def depth(self, levels: int) -> int:
        """Rings that so many levels depend on; and one more to see that no deeper level matters."""
        return 2 * levels + self.passes - (2 if levels == LEVELS else 1)

    def _rings(self, rows: slice, cols: slice, parts: int) -> list[Ring] | None:
        """The tile, and round it ring after ring what each step of the work depends on.

        `parts`: into how many groups a side the coarse cells are divided to draw the rings on sheared grids.
        """
        found = self.to_fine.window(rows, cols)
        if found is None:
            return None
        rings = [Ring(Window(rows, cols), Window(*found))]
        if not isinstance(self.to_coarse, SeparableOverlap):
            return sheared_rings(self.to_fine, self.to_coarse, rings[0], self.depth(LEVELS), parts)
        for _ in range(self.depth(LEVELS)):
            last = rings[-1]
            fine = _grown(self.to_coarse, last.coarse, last.fine)
            rings.append(Ring(fine, _grown(self.to_fine, fine, last.coarse)))
        return rings

    def __dask_tokenize__(self) -> Any:
        return (
            type(self).__name__, repr(self.source), repr(self.target), self.min_valid, str(self.exact), str(self.out),
        )  # fmt: skip


@lru_cache(maxsize=2**14)
def _window_of(
    step: ConservativeSplit, first_row: int, last_row: int, first_col: int, last_col: int
) -> tuple[slice, slice] | None:
    """The window of a tile; kept, as every variable of a dataset asks for those of the same tiles."""
    rings = step._rings(slice(first_row, last_row), slice(first_col, last_col), COARSELY)
    if rings is None:
        return None
    (along_y, along_x), offset = rings[-1].coarse, step._turned[1]
    return along_y, slice(along_x.start + offset, along_x.stop + offset)


def _parts(cells: slice) -> list[slice]:
    """Even parts of at most `BLOCK_SIDE` cells."""
    count = -(-(cells.stop - cells.start) // BLOCK_SIDE)
    edges = [cells.start + (cells.stop - cells.start) * n // count for n in range(count + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def _split(step: ConservativeSplit, known: Array, rings: list[Ring], levels: int, threads: int) -> Array | None:
    """The innermost ring's fine cells (k, rows, cols) from the outermost's coarse cells.

    None where a coarse cell that matters has no fine cells after so many levels, but could have with more.
    """
    coarse, fine, at = step.coarse, step.target, len(rings) - 1
    first, share = _reduce(step.to_fine, known, rings[at].coarse, rings[at].fine, "mean", threads)
    guess = np.where((share >= step.min_valid - SLACK) & (share > 0), first, np.nan)
    # One look at the owners is enough where all layers miss the same cells.
    missing = np.isnan(known)
    open_cells = ~missing[:1] if (missing == missing[:1]).all() else ~missing

    # Ring by ring inward: who owns which fine cells, and who is left without.
    found: list[tuple[Array, Array]] = []
    for ring in range(at, at - levels, -1):
        seen = _cut(guess, rings[at].fine, rings[ring].fine, fine)
        owner = _owners(step, open_cells, rings[ring], seen, threads)
        owned = _owned(step, owner, seen, rings[ring], rings[ring - 1], threads)
        found.append((owner, owned))
        open_cells = _cut(open_cells, rings[ring].coarse, rings[ring - 1].coarse, coarse) & (owned < LEAST_SHARE)
    if levels < LEVELS and open_cells.any():
        return None
    # Those left longest first: a correction disturbs only coarse cells whose own turn is still to come.
    order = (*range(levels - 1, 0, -1), *(0,) * step.passes)
    ring = len(order)
    guess = _cut(guess, rings[at].fine, rings[ring].fine, fine)
    for level in order:
        outer, here, ring = rings[ring], rings[ring - 1], ring - 1
        owner = _cut(found[level][0], rings[at - level].fine, here.fine, fine)
        owned = _cut(found[level][1], rings[at - level - 1].coarse, here.coarse, coarse)
        mean, _ = _reduce(step.to_coarse, guess, outer.fine, here.coarse, "mean", threads)
        with np.errstate(invalid="ignore", divide="ignore"):
            lack = (_cut(known, rings[at].coarse, here.coarse, coarse) - mean) / owned
        lack = np.where((owned >= LEAST_SHARE) & np.isfinite(lack), lack, 0.0)
        guess = _cut(guess, outer.fine, here.fine, fine) + _spread(lack, here.coarse, owner, coarse)
    return guess


def _owners(step: ConservativeSplit, open_cells: Array, ring: Ring, guess: Array, threads: int) -> Array:
    """For each fine cell the number of the one open coarse cell that it overlaps; -1 where it overlaps none or more."""
    width = step.coarse.shape[1]
    rows = np.arange(ring.coarse.rows.start, ring.coarse.rows.stop)
    cols = np.arange(ring.coarse.cols.start, ring.coarse.cols.stop) % width
    number = np.where(open_cells, (rows[:, None] * width + cols).astype(float), np.nan)
    both = np.concatenate([number, -number])
    owner = np.full((len(number), *ring.fine.shape), -1)
    near = _fine_near(step, open_cells, ring)
    if near is None:
        return owner
    top, _ = _reduce(step.to_fine, both, ring.coarse, near, "max", threads)
    high, low = top[: len(number)], -top[len(number) :]
    seen = ~np.isnan(_cut(guess[: len(number)], ring.fine, near, step.target))
    _cut(owner, ring.fine, near, step.target)[:] = np.where((high == low) & seen, high, -1.0)
    return owner


def _fine_near(step: ConservativeSplit, open_cells: Array, ring: Ring) -> Window | None:
    """The part of a ring's fine cells where open cells lie; None where there are none."""
    open_rows, open_cols = (np.flatnonzero(open_cells.any(axis=axis)) for axis in ((0, 2), (0, 1)))
    if open_rows.size == 0:
        return None
    if isinstance(step.to_coarse, SeparableOverlap):  # fast, and its windows may run beyond a periodic axis
        return ring.fine
    spans = (
        slice(start + int(some[0]), start + int(some[-1]) + 1)
        for start, some in zip(ring.coarse.origin, (open_rows, open_cols), strict=True)
    )
    found = step.to_coarse.window(*spans)
    near = None if found is None else _clipped(Window(*found), ring.fine, False)
    return near if near is not None and min(near.shape) > 0 else None


def _owned(step: ConservativeSplit, owner: Array, guess: Array, outer: Ring, inner: Ring, threads: int) -> Array:
    """Part of the area of each coarse cell (of what has a value there) that fine cells of its own have."""
    mine = np.where(np.isnan(guess), np.nan, (owner >= 0).astype(float))
    if len(mine) > 1 and len(owner) == 1 and (np.isnan(mine) == np.isnan(mine[:1])).all():
        mine = mine[:1]
    return _reduce(step.to_coarse, mine, outer.fine, inner.coarse, "mean", threads)[0]


def _spread(lack: Array, window: Window, owner: Array, coarse: GeoBox) -> Array:
    """The number of each fine cell's owner, 0 where it has none."""
    width = coarse.shape[1]
    row = owner // width - window.rows.start
    col = (owner % width - window.cols.start) % width
    has = (owner >= 0) & (row >= 0) & (row < lack.shape[1]) & (col < lack.shape[2])
    flat, layers = np.where(has, row * lack.shape[2] + col, 0), lack.reshape(len(lack), -1)
    if len(flat) == 1:
        return np.where(has, layers[:, flat[0]], 0.0)
    return np.where(has, np.take_along_axis(layers, flat.reshape(len(flat), -1), axis=1).reshape(flat.shape), 0.0)


def _reduce(
    overlap: Overlap, values: Array, given: Window, wanted: Window, how: str, threads: int
) -> tuple[Array, Array]:
    """`Overlap.reduce` of a window to a window, both of which may run beyond a periodic axis."""
    parts = []
    for piece in within(wanted.cols, overlap.target.shape[1]):
        runs_on = isinstance(overlap, SeparableOverlap) and is_cyclic(overlap.source)
        need = overlap.window(wanted.rows, piece) if runs_on else None
        if need is None or (given.cols.start <= need[1].start and need[1].stop <= given.cols.stop):
            part, origin = values, given.origin
        else:
            moved = Window(given.rows, need[1])
            part, origin = _cut(values, given, moved, overlap.source), moved.origin
        parts.append(overlap.reduce(read_only(part), origin, wanted.rows, piece, how, threads))
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([p[0] for p in parts], axis=2), np.concatenate([p[1] for p in parts], axis=2)


def _grown(overlap: Overlap, window: Window, least: Window) -> Window:
    """What a window of the overlap's target needs of its source, and `least` besides."""
    rows, cols, grid = least.rows, least.cols, overlap.source
    width, cyclic = grid.shape[1], is_cyclic(grid)
    for piece in within(window.cols, overlap.target.shape[1]):
        found = overlap.window(window.rows, piece)
        if found is None:
            continue
        rows = slice(min(rows.start, found[0].start), max(rows.stop, found[0].stop))
        more = found[1]
        if cyclic:  # the turn in which both lie closest together
            turns = round(((cols.start + cols.stop) - (more.start + more.stop)) / 2 / width)
            more = slice(more.start + turns * width, more.stop + turns * width)
        cols = slice(min(cols.start, more.start), max(cols.stop, more.stop))
    if cyclic and cols.stop - cols.start >= width:
        cols = slice(0, width)
    return Window(rows, cols)


def _clipped(window: Window, given: Window, cyclic: bool) -> Window:
    rows = slice(max(window.rows.start, given.rows.start), min(window.rows.stop, given.rows.stop))
    if cyclic:
        return Window(rows, window.cols)
    return Window(rows, slice(max(window.cols.start, given.cols.start), min(window.cols.stop, given.cols.stop)))


def _cut(values: Array, given: Window, wanted: Window, grid: GeoBox) -> Array:
    """Part of an array that holds the window `given` of a grid; NaN in columns that it does not hold."""
    top, left = wanted.rows.start - given.rows.start, wanted.cols.start - given.cols.start
    height, width = wanted.shape
    values = values[:, top : top + height]
    if left >= 0 and left + width <= values.shape[2]:
        return values[:, :, left : left + width]
    at = (left + np.arange(width)) % grid.shape[1]
    part = np.take(values, at, axis=2, mode="clip")
    if (at >= values.shape[2]).any():
        part[:, :, at >= values.shape[2]] = np.nan
    return part
