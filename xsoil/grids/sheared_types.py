"""What the sheared kernels pass on: tiles, rules, strips of pixels, scratch space, lists of cut pixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from xsoil.jit import kernel

CHUNK = 3072
"""Pixels of a row that are worked on together: from one multiple of it to the next."""

PITCH = CHUNK + 104
"""Distance of the rows of flat scratch arrays: a constant, so that the compiler knows that they do not
overlap, and no multiple of the cache's period; the lists in them may be filled up by 64."""

MARGIN = 31
"""Place of the first corner in its row: whole blocks of the lattice are written, which may begin before it."""


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
    """How pixels are drawn: chords per edge, bulge of edges at most, its tolerance, orientation, largest sane
    area, and whether cut pixels may be cut in closed form; if not, whole ones have to bulge; how often pixels that the
    edge of the world cuts are divided."""

    segments: int
    sag: float
    tolerance: float
    sign: float
    largest: float
    closed: bool
    depth: int


class Strips(NamedTuple):
    """Strips of pixels, and the lines they are drawn with.

    Of each line the row in the grid, and its number among the lines next to seams (`seams`), or -1 for a grid line.
    Of each strip its source row; the number of its upper line, which the lower one follows; whether the lines before
    and after these two, which tell how its sides bend, lie in the strip at thirds of its height (else they are the
    next grid lines); its upper edge [rows]; its share of the pixel."""

    line: np.ndarray
    seam: np.ndarray
    row: np.ndarray
    top: np.ndarray
    inner: np.ndarray
    start: np.ndarray
    share: np.ndarray


class Scratch(NamedTuple):
    """Four grid lines of a stretch in a ring, as whole numbers (`corners`, see `sheared_lines`) and, where
    they were asked for (`known`), as positions (u, v); its pixels: area, area in the first cell (0 if there are
    more than two), 8 x first cell + kind; four lists of pixels (the last after its length); of cut pixels the
    outlines in whole numbers, bends, lines (where rows are uneven) and parts; block of the lattice of each pixel,
    bends of each block in fours (`known` says last whether some have none), bends of single pixels;
    buffers of the general way."""

    corners: np.ndarray
    u: np.ndarray
    v: np.ndarray
    known: np.ndarray
    cubics: np.ndarray
    whole: np.ndarray
    weight: np.ndarray
    key: np.ndarray
    listed: np.ndarray
    outline: np.ndarray
    curves: np.ndarray
    across: np.ndarray
    shape: np.ndarray
    block: np.ndarray
    fours: np.ndarray
    own: np.ndarray
    points: np.ndarray
    work: np.ndarray
    sweep: np.ndarray
    found: np.ndarray
    areas: np.ndarray


class Far(NamedTuple):
    """Overlaps of a stretch in a list: pixel, cell, area."""

    x: np.ndarray
    cell: np.ndarray
    area: np.ndarray


def new_scratch(step: int, segments: int, tile: Tile) -> tuple[Scratch, Far]:
    """Scratch for groups of rows of a tile that are worked on one after the other."""
    lines, cells, blocks = (4, CHUNK + 3), (tile.r1 - tile.r0) * (tile.c1 - tile.c0), CHUNK // step + 8
    return Scratch(
        np.zeros(4 * 5 * PITCH, dtype=np.int32), np.empty(lines), np.empty(lines), np.zeros(5, dtype=np.bool_),
        np.empty((10, blocks)), np.empty(CHUNK, dtype=np.float32), np.empty(PITCH, dtype=np.float32),
        np.empty(CHUNK, dtype=np.int32), np.empty(4 * PITCH, dtype=np.int32), np.zeros(8 * PITCH, dtype=np.int32),
        np.zeros(4 * PITCH, dtype=np.float32), np.zeros(PITCH, dtype=np.int32), np.zeros(4 * PITCH, dtype=np.float32),
        np.empty(CHUNK, dtype=np.int32), np.empty(8 * blocks, dtype=np.float32), np.empty(4 * CHUNK, dtype=np.float32),
        np.empty((2, 4 * segments)), np.empty((6, 8 * segments + 16)), np.empty((2, 64)),
        np.empty(cells, dtype=np.int64), np.empty(cells),
    ), Far(np.empty(4 * CHUNK, dtype=np.int32), np.empty(4 * CHUNK, dtype=np.int32), np.empty(4 * CHUNK))  # fmt: skip


@kernel
def grown(far, n, size):
    """A larger buffer that holds the first n entries."""
    larger = Far(np.empty(size, dtype=np.int32), np.empty(size, dtype=np.int32), np.empty(size))
    larger.x[:n], larger.cell[:n], larger.area[:n] = far.x[:n], far.cell[:n], far.area[:n]
    return larger
