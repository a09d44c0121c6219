"""What the sheared kernels pass on: tiles, rules, strips of pixels, scratch space, lists of cut pixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from xsoil.jit import kernel

CHUNK = 1920
BAND = 8

# Unsigned numbers spare the check for negative indices in loops over listed pixels.
ONE, TWO = np.uint64(1), np.uint64(2)


class Tile(NamedTuple):
    """A tile of the target: cells r0 <= row < r1, c0 <= column < c1; all row edges of the target; area
    per cell at nodes (empty where it is 1)."""

    r0: int
    r1: int
    c0: int
    c1: int
    edges: np.ndarray
    uniform: bool
    density: np.ndarray
    spacing: float
    density_row: int
    density_column: int


class Rule(NamedTuple):
    """How pixels are drawn: chords per edge, bulge of edges at most, orientation, largest sane area,
    whether cut pixels may be cut in closed form, and whether whole ones have to bulge."""

    segments: int
    sag: float
    sign: float
    largest: float
    closed: bool
    bulging: bool


class Strips(NamedTuple):
    """Grid lines (row, number of the kink or -1), and strips of pixels between them: source row, first
    line, bits for the neighbouring lines that may bend its sides, share of the pixel."""

    line: np.ndarray
    kink: np.ndarray
    row: np.ndarray
    top: np.ndarray
    bend: np.ndarray
    share: np.ndarray


class Scratch(NamedTuple):
    """Four grid lines of a stretch in a ring; its pixels; lists of cut pixels; buffers of the general way."""

    u: np.ndarray
    v: np.ndarray
    cells: np.ndarray
    outer: np.ndarray
    fractions: np.ndarray
    nodes: np.ndarray
    weight: np.ndarray
    key: np.ndarray
    listed: np.ndarray
    first: np.ndarray
    points: np.ndarray
    work: np.ndarray
    sweep: np.ndarray
    found: np.ndarray
    areas: np.ndarray


class Cuts(NamedTuple):
    """Three lists of pixels (across a column line, a row line, one of each). Rows per list: 16 of shape
    (corners u (4), v (4) relative to the lines that they cross, bends of u (4), of v (4)), 3 of pixel
    (source row, column, first cell), 3 of part (areas of parts), 1 of share (of the pixel) and of area."""

    shape: np.ndarray
    pixel: np.ndarray
    share: np.ndarray
    area: np.ndarray
    part: np.ndarray
    zero: np.ndarray
    size: np.ndarray


class Entries(NamedTuple):
    """Single overlaps: source row, column, cell, area, share of the pixel."""

    row: np.ndarray
    column: np.ndarray
    cell: np.ndarray
    area: np.ndarray
    share: np.ndarray


@kernel
def new_scratch(lattice, segments, tile):
    n = CHUNK
    lines, cells = (4, n + 3), (tile.r1 - tile.r0) * (tile.c1 - tile.c0)
    return Scratch(
        np.empty(lines), np.empty(lines), np.empty(lines, dtype=np.int32), np.empty(lines, dtype=np.int32),
        np.arange(lattice.step) / lattice.step, np.empty((2, n // lattice.step + 8)), np.empty(n),
        np.empty(n, dtype=np.int32), np.empty((4, n + 1), dtype=np.int32),
        np.empty(n + 1, dtype=np.int32), np.empty((2, 4 * segments)),
        np.empty((6, 8 * segments + 16)), np.empty((2, 64)), np.empty(cells, dtype=np.int64), np.empty(cells),
    )  # fmt: skip


@kernel
def new_cuts(n):
    # Many lists are written side by side: their distance must not be a multiple of the cache's period.
    padded = (n // 512 + 1) * 512 + 40
    return Cuts(
        np.empty((48, padded)), np.empty((9, padded), dtype=np.int32), np.empty((3, padded)), np.empty((3, padded)),
        np.empty((9, padded)), np.zeros(padded), np.empty(padded),
    )  # fmt: skip


@kernel
def new_entries(n):
    return Entries(
        np.empty(n, dtype=np.int32), np.empty(n, dtype=np.int32), np.empty(n, dtype=np.int32), np.empty(n), np.empty(n)
    )


@kernel
def grown(entries, n, size):
    """A larger buffer that holds the first n entries."""
    larger = new_entries(size)
    larger.row[:n], larger.column[:n], larger.cell[:n] = entries.row[:n], entries.column[:n], entries.cell[:n]
    larger.area[:n], larger.share[:n] = entries.area[:n], entries.share[:n]
    return larger
