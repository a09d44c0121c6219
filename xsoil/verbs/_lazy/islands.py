"""Source blocks that are used up at once: what lies inside a block is reduced with it, and only its rims wait.

A target cell on the edge of a block needs the next block too. Were whole blocks kept for such cells, a map would hold
a front of blocks as long as its side, and in dask's order of tasks nine times that. So each block gives one small
thing, an `Island`: the target cells that need no other block, and the rims that the others need. A block then has one
user, dask makes one task of both, and no task hands on a block.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from xsoil.errors import AxisError
from xsoil.grids.reduce import Output

SEAM, NOTHING = -1, -2
"""Instead of a block: a target cell that needs several; one that needs none."""

MOST = 0.5
"""Islands are made where they hold at most this part of the source's bytes."""

Spans = tuple[np.ndarray, np.ndarray]
"""First and last + 1 source cell of each target cell of an axis; both 0 where it needs none."""


@runtime_checkable
class AlignedStep(Hashable, Protocol):
    """A `TileStep` that may need for its rows and columns what they need by themselves."""

    @property
    def outputs(self) -> Mapping[str, Output]: ...

    def spans(self) -> tuple[Spans, Spans] | None:
        """What rows and columns need; beyond the ends of a periodic axis they run on. None where they are not so."""

    def run(
        self, values: np.ndarray, origin: tuple[int, int], rows: slice, cols: slice, threads: int = 1
    ) -> dict[str, np.ndarray]: ...


class Island(NamedTuple):
    """What is left of a block: its rims (k, rows, columns), and the target cells that need nothing else."""

    rims: tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
    """First and last rows, first and last columns."""
    values: dict[str, np.ndarray] | None


@dataclass(frozen=True)
class Axis:
    """Source blocks of an axis, numbered on beyond the ends of a periodic one, and the target cells on them."""

    edges: np.ndarray
    """Of the blocks, from 0."""
    begin: int
    """The source cell, a multiple of the axis's length, from which `first` and `last` count."""
    first: np.ndarray
    last: np.ndarray

    @classmethod
    def of(cls, sizes: tuple[int, ...], spans: Spans) -> Axis:
        edges = np.cumsum([0, *sizes])
        first, last = spans
        some = last > first
        begin = int(first[some].min() // edges[-1] * edges[-1]) if some.any() else 0
        return cls(edges, begin, np.where(some, first - begin, 0), np.where(some, last - begin, 0))

    @cached_property
    def blocks(self) -> tuple[np.ndarray, np.ndarray]:
        """First and last block that each target cell needs."""
        turns, inside = np.divmod(np.stack([self.first, np.maximum(self.last - 1, 0)]), self.edges[-1])
        at = np.searchsorted(self.edges, inside, side="right") - 1 + turns * (self.edges.size - 1)
        return at[0], at[1]

    @cached_property
    def home(self) -> np.ndarray:
        """The block of each target cell, `SEAM` or `NOTHING`."""
        low, high = self.blocks
        return np.where(self.last > self.first, np.where(low == high, low, SEAM), NOTHING)

    @cached_property
    def insides(self) -> dict[int, slice]:
        """The target cells that need this block alone."""
        return {home: cells for cells, home in self.runs(slice(0, self.home.size)) if home >= 0}

    @cached_property
    def is_whole(self) -> bool:
        """False where the cells of a block lie at both ends of the target: a source across its edge, in one block."""
        return sum(home >= 0 for _, home in self.runs(slice(0, self.home.size))) == len(self.insides)

    @cached_property
    def rims(self) -> dict[int, tuple[int, int]]:
        """How many cells at the start and at the end of a block others need."""
        widths: dict[int, tuple[int, int]] = {}
        low, high = self.blocks
        for cell in np.flatnonzero(self.home == SEAM).tolist():
            for block in range(low[cell], high[cell] + 1):
                start, stop = self.bounds(block)
                before, after = widths.get(block, (0, 0))
                if self.first[cell] <= start:
                    before = max(before, min(int(self.last[cell]), stop) - start)
                else:
                    after = max(after, stop - int(self.first[cell]))
                widths[block] = (before, after)
        return widths

    def bounds(self, block: int) -> tuple[int, int]:
        """First and last + 1 cell of a block, counted from `begin`."""
        turn, at = divmod(block, self.edges.size - 1)
        moved = turn * int(self.edges[-1])
        return int(self.edges[at]) + moved, int(self.edges[at + 1]) + moved

    def window(self, cells: slice) -> slice:
        """What target cells need of which some need something, counted from `begin`."""
        some = self.last[cells] > self.first[cells]
        return slice(int(self.first[cells][some].min()), int(self.last[cells].max()))

    def needed(self, cells: slice) -> range:
        """Blocks that some target cells need."""
        some = self.home[cells] != NOTHING
        if not some.any():
            return range(0)
        return range(int(self.blocks[0][cells][some].min()), int(self.blocks[1][cells][some].max()) + 1)

    def pieces(self, window: slice) -> Iterator[tuple[int, int, int]]:
        """Blocks that a window touches, each with the first and last + 1 cell inside it."""
        at = window.start
        turn, inside = divmod(at, int(self.edges[-1]))
        block = int(np.searchsorted(self.edges, inside, side="right")) - 1 + turn * (self.edges.size - 1)
        while at < window.stop:
            start, stop = self.bounds(block)
            if stop > start:
                yield block, at - start, min(stop, window.stop) - start
            at, block = max(at, stop), block + 1

    def runs(self, cells: slice) -> list[tuple[slice, int]]:
        """Neighbouring target cells that need the same blocks, and their home."""
        low, high = (ends[cells] for ends in self.blocks)
        home = self.home[cells]
        new = (np.diff(low) != 0) | (np.diff(high) != 0) | (np.diff(home) != 0)
        edges = [0, *(np.flatnonzero(new) + 1).tolist(), home.size]
        return [(slice(cells.start + a, cells.start + b), int(home[a])) for a, b in itertools.pairwise(edges) if b > a]


@lru_cache(maxsize=64)
def _axes(step: AlignedStep, chunks: tuple[tuple[int, ...], tuple[int, ...]]) -> tuple[Axis, Axis] | None:
    """Rows and columns; kept, as a cluster's workers are given the step anew with every task."""
    spans = step.spans()
    if spans is None:
        return None
    rows, columns = (Axis.of(sizes, own) for sizes, own in zip(chunks, spans, strict=True))
    return rows, columns


@dataclass(frozen=True)
class Islands:
    """How blocks become islands, and islands the tiles of the target. Small, picklable."""

    step: Any
    """An `AlignedStep`."""
    chunks: tuple[tuple[int, ...], tuple[int, ...]]
    window_bytes: int

    @classmethod
    def of(cls, step: Any, data: Any, window_bytes: int) -> Islands | None:
        """None where islands would not be small, or the step's rows and columns do not go their own ways."""
        chunks = data.chunks[-2:]
        if max(map(len, chunks)) < 2 or 0 in data.shape or not isinstance(step, AlignedStep):
            return None
        axes = _axes(step, chunks)
        if axes is None or not all(axis.is_whole for axis in axes):
            return None
        rims = [sum(before + after for before, after in axis.rims.values()) for axis in axes]
        height, width = data.shape[-2:]
        kept = (rims[0] * width + rims[1] * height) * data.dtype.itemsize
        cells = axes[0].home.size * axes[1].home.size
        made = cells * sum(out.dtype.itemsize * math.prod(out.extra) for out in step.outputs.values())
        return cls(step, chunks, window_bytes) if kept + made <= MOST * height * width * data.dtype.itemsize else None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "axes"}

    @cached_property
    def axes(self) -> tuple[Axis, Axis]:
        axes = _axes(self.step, self.chunks)
        if axes is None:
            raise AxisError("the grids are not aligned in one CRS")
        return axes

    def needed(self, rows: slice, cols: slice) -> tuple[range, range]:
        """Blocks of a tile, numbered as the axes do."""
        return self.axes[0].needed(rows), self.axes[1].needed(cols)

    def stored(self, at: tuple[int, int]) -> tuple[int, int]:
        """Where a block is stored."""
        return at[0] % len(self.chunks[0]), at[1] % len(self.chunks[1])

    def island(self, block: np.ndarray, at: tuple[int, int]) -> Island:
        """One task: what is left of a block."""
        flat = np.asarray(block).reshape(-1, *block.shape[-2:])
        (top, bottom), (left, right) = (axis.rims.get(k, (0, 0)) for axis, k in zip(self.axes, at, strict=True))
        height, width = flat.shape[1:]
        rims = (
            (flat[:, :top].copy(), flat[:, height - bottom :].copy()),
            (flat[:, :, :left].copy(), flat[:, :, width - right :].copy()),
        )
        rows, cols = (axis.insides.get(k) for axis, k in zip(self.axes, at, strict=True))
        if rows is None or cols is None:
            return Island(rims, None)
        # Some layers, or some rows, at a time: a step may hold several copies of its window.
        layers = max(1, self.window_bytes // max(flat[0].nbytes, 1))
        bands = min(math.ceil(flat[0].nbytes / self.window_bytes), rows.stop - rows.start)
        edges = np.linspace(rows.start, rows.stop, bands + 1).astype(int).tolist()
        parts = [
            self._joined([self._run_inside(flat[k : k + layers], at, slice(a, b), cols) for a, b in
                          itertools.pairwise(edges)], -2)
            for k in range(0, len(flat), layers)
        ]  # fmt: skip
        return Island(rims, self._joined(parts, 0))

    def tile(self, islands: list[list[Island]], lead: tuple[int, ...], rows: slice, cols: slice) -> dict[str, Any]:
        """One task: a tile of the target from the islands that it needs."""
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        found = {
            name: np.full((math.prod(lead), *out.extra, *shape), out.missing, out.dtype)
            for name, out in self.step.outputs.items()
        }
        at = {
            place: island
            for places, line in zip(self._places(rows, cols), islands, strict=True)
            for place, island in zip(places, line, strict=True)
        }
        for here, home in self._rectangles(rows, cols):
            made = self._seam(at, *here) if home is None else self._inside(at[home], home, *here)
            inside = _within(here, (rows, cols))
            for name, array in made.items():
                found[name][(..., *inside)] = array
        return {name: array.reshape(*lead, *array.shape[1:]) for name, array in found.items()}

    def _places(self, rows: slice, cols: slice) -> list[list[tuple[int, int]]]:
        along = self.needed(rows, cols)
        return [[(i, j) for j in along[1]] for i in along[0]]

    def _rectangles(self, rows: slice, cols: slice) -> Iterator[tuple[tuple[slice, slice], tuple[int, int] | None]]:
        """A tile in parts: those inside a block, with the block, and the seams between."""
        down, along = self.axes
        if not len(along.needed(cols)):
            return
        for r, home in down.runs(rows):
            if home == SEAM:
                yield (r, cols), None
            elif home != NOTHING:
                for c, other in along.runs(cols):
                    if other != NOTHING:
                        yield (r, c), None if other == SEAM else (home, other)

    def _run_inside(self, flat: np.ndarray, at: tuple[int, int], rows: slice, cols: slice) -> dict[str, np.ndarray]:
        down, along = self.axes
        window, start = down.window(rows), down.bounds(at[0])[0]
        part = flat[:, window.start - start : window.stop - start]
        origin = down.begin + window.start, along.begin + along.bounds(at[1])[0]
        found: dict[str, np.ndarray] = self.step.run(part, origin, rows, cols)
        return found

    def _inside(self, island: Island, home: tuple[int, int], rows: slice, cols: slice) -> dict[str, np.ndarray]:
        """A part of what the island made."""
        part = _within((rows, cols), (self.axes[0].insides[home[0]], self.axes[1].insides[home[1]]))
        return {name: array[(..., *part)] for name, array in (island.values or {}).items()}

    def _seam(self, at: dict[tuple[int, int], Island], rows: slice, cols: slice) -> dict[str, np.ndarray]:
        """Target cells between blocks, from rims."""
        windows = [axis.window(cells) for axis, cells in zip(self.axes, (rows, cols), strict=True)]
        pieces = [list(axis.pieces(window)) for axis, window in zip(self.axes, windows, strict=True)]
        parts = [
            [self._rim(at[i, j], (i, j), (r0, r1), (c0, c1)) for j, c0, c1 in pieces[1]] for i, r0, r1 in pieces[0]
        ]
        origin = tuple(axis.begin + window.start for axis, window in zip(self.axes, windows, strict=True))
        found: dict[str, np.ndarray] = self.step.run(np.block(parts), origin, rows, cols)
        return found

    def _rim(self, island: Island, at: tuple[int, int], rows: tuple[int, int], cols: tuple[int, int]) -> np.ndarray:
        """Rows and columns of a block, out of the rim that holds them."""
        (top, bottom), (left, right) = island.rims
        height, width = (stop - start for start, stop in (a.bounds(k) for a, k in zip(self.axes, at, strict=True)))
        if rows[1] <= top.shape[1]:
            return top[:, slice(*rows), slice(*cols)]
        if (first := height - bottom.shape[1]) <= rows[0]:
            return bottom[:, rows[0] - first : rows[1] - first, slice(*cols)]
        if cols[1] <= left.shape[2]:
            return left[:, slice(*rows), slice(*cols)]
        first = width - right.shape[2]
        return right[:, slice(*rows), cols[0] - first : cols[1] - first]

    @staticmethod
    def _joined(parts: list[dict[str, np.ndarray]], axis: int) -> dict[str, np.ndarray]:
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts], axis) for name in parts[0]}


def _within(here: tuple[slice, slice], around: tuple[slice, slice]) -> tuple[slice, slice]:
    """Rows and columns counted from those of a tile."""
    rows, cols = (slice(h.start - a.start, h.stop - a.start) for h, a in zip(here, around, strict=True))
    return rows, cols
