"""Series brought from maps of days to series of cells: read once, chunk by chunk, into memory or a scratch file."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

__all__ = ["PIECE_BYTES", "Cells", "Staged", "Window", "blocks_of", "pieces_of", "walk"]

PIECE_BYTES = 64 * 2**20
"""What is read from the source at once, for all variables together; one chunk where chunks are larger."""

Cells = NDArray[np.intp]
Window = Mapping[Hashable, slice]
Name = tuple[str, str]


def pieces_of(ds: xr.Dataset, dims: Sequence[Hashable]) -> list[Window]:
    """Windows that cover `dims`, aligned to the chunks, of about `PIECE_BYTES` each."""
    width = 4 * max(len(ds.data_vars), 1) * math.prod(ds.sizes[d] for d in ds.dims if d not in dims)
    edges: dict[Hashable, list[int]] = {d: _edges(ds, d) for d in dims}
    most = PIECE_BYTES / max(width, 1)
    for dim in reversed(dims):  # the last dim lies together in memory
        others = math.prod(max(np.diff(edges[d]), default=1) for d in dims if d != dim)
        edges[dim] = _merged(edges[dim], max(int(most / max(others, 1)), 1))
    spans = [[slice(a, b) for a, b in itertools.pairwise(edges[d])] for d in dims]
    return [dict(zip(dims, span, strict=True)) for span in itertools.product(*spans)]


def _edges(ds: xr.Dataset, dim: Hashable) -> list[int]:
    """Edges of the chunks of the variable with the fewest; even parts where nothing is chunked."""
    chunks = [a.chunksizes[dim] for a in ds.data_vars.values() if dim in a.dims and a.chunks is not None]
    if not chunks:
        return [*range(0, ds.sizes[dim], 64), ds.sizes[dim]]
    return [0, *itertools.accumulate(min(chunks, key=lambda sizes: len(tuple(sizes))))]


def _merged(edges: list[int], most: int) -> list[int]:
    """Edges of neighbouring chunks joined, as long as they hold no more than `most`."""
    kept = edges[:1]
    for edge, following in itertools.pairwise(edges[1:]):
        if following - kept[-1] > most:
            kept.append(edge)
    return [*kept, edges[-1]]


def blocks_of(wanted: np.ndarray, pieces: Sequence[Window], dims: Sequence[Hashable], most: int) -> list[list[Cells]]:
    """Of each piece, the wanted cells (flat numbers) in blocks of neighbours, at most about `most` of them."""
    side = max(int(most ** (1 / len(dims))), 1)
    numbers = np.arange(wanted.size, dtype=np.intp).reshape(wanted.shape)
    found = []
    for piece in pieces:
        inside = tuple(piece[d] for d in dims)
        spans = [[slice(a, min(a + side, s.stop)) for a in range(s.start, s.stop, side)] for s in inside]
        blocks = (numbers[at][wanted[at]] for at in itertools.product(*spans))
        found.append([block for block in blocks if block.size])
    return found


class Staged:
    """Series (time, cells) of the cells of some blocks, float32.

    Parameters
    ----------
    length : mapping of (kind, name) to int
        Times of each variable.
    blocks : sequence of arrays
        Cells of each block.
    path : Path, optional
        A scratch file to keep them in; memory without.
    """

    def __init__(self, length: Mapping[Name, int], blocks: Sequence[Cells], path: Path | None = None) -> None:
        self.length, self.blocks, self.path = dict(length), list(blocks), path
        sizes = [block.size for block in self.blocks]
        self.starts = np.cumsum([0, *sizes])
        cells = int(self.starts[-1])
        self.arrays: dict[Name, np.ndarray] = {}
        self._offsets: dict[Name, int] = {}
        if path is None:
            self.arrays = {name: np.full((days, cells), np.nan, np.float32) for name, days in length.items()}
            return
        at = 0
        for name, days in self.length.items():
            self._offsets[name], at = at, at + 4 * days * cells
        with path.open("wb") as file:
            file.truncate(at)

    def write(self, name: Name, block: int, first: int, values: np.ndarray) -> None:
        """Keep some days of all cells of a block."""
        if self.path is None:
            self.arrays[name][first : first + len(values), self.starts[block] : self.starts[block + 1]] = values
            return
        with self.path.open("r+b") as file:
            file.seek(self._place(name, block, first))
            file.write(np.ascontiguousarray(values, np.float32).tobytes())

    def read(self, name: Name, block: int) -> np.ndarray:
        """(time, cells of the block)."""
        if self.path is None:
            return self.arrays[name][:, self.starts[block] : self.starts[block + 1]]
        shape = (self.length[name], self.blocks[block].size)
        with self.path.open("rb") as file:
            file.seek(self._place(name, block, 0))
            return np.fromfile(file, np.float32, math.prod(shape)).reshape(shape)

    def _place(self, name: Name, block: int, first: int) -> int:
        return self._offsets[name] + 4 * (self.length[name] * int(self.starts[block]) + first * self.blocks[block].size)


def walk(
    ds: xr.Dataset, dims: Sequence[Hashable], pieces: Sequence[Window]
) -> Iterator[tuple[int, int, dict[str, np.ndarray]]]:
    """Read the dataset piece by piece: number of the piece, first time, and each variable as (time, cells of it)."""
    for number, piece in enumerate(pieces):
        part = ds.isel({d: s for d, s in piece.items() if d in ds.dims})
        cells = math.prod(s.stop - s.start for s in piece.values())
        width = 4 * max(len(ds.data_vars), 1) * cells
        for first, last in itertools.pairwise(_merged(_edges(ds, "time"), max(int(PIECE_BYTES / width), 1))):
            days = part.isel(time=slice(first, last)).compute()
            yield (
                number,
                first,
                {
                    str(name): array.transpose("time", ...).to_numpy().reshape(last - first, -1)
                    for name, array in days.data_vars.items()
                },
            )
