"""Rings round a tile: which fine and coarse cells each step of conservative splitting depends on."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xsoil.grids.crs import cell_ratio
from xsoil.grids.overlap import Overlap
from xsoil.grids.sheared import ShearedOverlap

Array = NDArray[Any]

CLOSELY, COARSELY = 24, 8
"""Groups of coarse cells along a tile's side, by which rings are drawn on sheared grids: to work in, to read."""


PAGE = 16
"""Groups a side whose windows are found in one go."""


class Window(NamedTuple):
    """Part of a grid; columns may run beyond a periodic axis."""

    rows: slice
    cols: slice

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.stop - self.rows.start, self.cols.stop - self.cols.start

    @property
    def origin(self) -> tuple[int, int]:
        return self.rows.start, self.cols.start


class Ring(NamedTuple):
    """Fine cells, and all coarse cells that they overlap."""

    fine: Window
    coarse: Window


def sheared_rings(to_fine: Overlap, to_coarse: ShearedOverlap, first: Ring, depth: int, parts: int) -> list[Ring]:
    """`first`, and `depth` rings round it, from groups of coarse cells, each with the fine cells that it needs.

    Windows of windows would grow by the corners that a turned rectangle lacks, ring after ring.
    """
    coarse, tile = to_coarse.target, _box(first.fine)
    per_cell = cell_ratio(to_coarse.source, coarse)
    side = max(1, round(math.sqrt(math.prod(first.fine.shape) / per_cell) / parts))
    area, groups, boxes = _box(first.coarse), np.zeros((0, 4), int), np.zeros((0, 4), int)
    touched, fine = tile[None], first.fine
    rings = []
    for ring in range(depth + 1):
        found = to_fine.window(fine.rows, fine.cols)
        wide = _box(first.coarse if found is None else Window(*found))
        if ring == 0 or (wide[::2] < area[::2]).any() or (wide[1::2] > area[1::2]).any():
            area, groups, boxes = _groups(to_coarse, wide, area, side, (depth - ring) * side)
        meet = np.ones((len(boxes), len(touched)), bool)
        for low, high in ((0, 1), (2, 3)):
            meet &= (boxes[:, None, low] < touched[:, high]) & (boxes[:, None, high] > touched[:, low])
        needed = meet.any(axis=1)
        rings.append(Ring(fine, _around(groups[needed]) if needed.any() else first.coarse))
        touched = np.concatenate([tile[None], boxes[needed]])
        fine = _around(touched)
    return rings


def _groups(to_coarse: ShearedOverlap, wide: Array, before: Array, side: int, reach: int) -> tuple[Array, Array, Array]:
    """Groups of side x side coarse cells that cover a box and its surroundings, and the fine cells that each needs.

    Boxes: first row, last + 1, first column, last + 1. What was covered `before` stays so: each ring holds the last.
    """
    edges, near, pages = [], [], []
    for axis, cells in enumerate(to_coarse.target.shape):
        here = slice(2 * axis, 2 * axis + 2)
        (low, high), (least, most) = wide[here].tolist(), before[here].tolist()
        low, high = min(low - reach, least), max(high + reach, most)
        low, high = max(low, 0) // side, min(-(-high // side), -(-cells // side))
        edges.append(np.minimum(np.arange(low, high + 1) * side, cells))
        pages.append(range(low // PAGE, -(-high // PAGE)))
        near.append(slice(low - pages[axis].start * PAGE, high - pages[axis].start * PAGE))
    found = np.block([[_page(to_coarse, side, row, col) for col in pages[1]] for row in pages[0]])[:, *near]
    i, j = np.nonzero(found[1])
    groups = np.stack([edges[0][i], edges[0][i + 1], edges[1][j], edges[1][j + 1]], axis=1)
    area = np.array([at for along in edges for at in (along[0], along[-1])])
    return area, groups, found[:, i, j].T


@lru_cache(maxsize=2**12)
def _page(to_coarse: ShearedOverlap, side: int, row: int, col: int) -> Array:
    """Windows of PAGE x PAGE groups (4, rows, columns); kept, as neighbouring tiles need most of them too."""
    first = (np.indices((PAGE, PAGE)).reshape(2, -1) + np.array([[row], [col]]) * PAGE) * side
    ends = np.array(to_coarse.target.shape)[:, None]
    (r0, c0), (r1, c1) = np.minimum(first, ends), np.minimum(first + side, ends)
    return to_coarse.windows(r0, r1, c0, c1).T.reshape(4, PAGE, PAGE)


def _box(window: Window) -> Array:
    return np.array([window.rows.start, window.rows.stop, window.cols.start, window.cols.stop])


def _around(boxes: Array) -> Window:
    """The smallest window round all boxes."""
    low, high = boxes.min(axis=0).tolist(), boxes.max(axis=0).tolist()
    return Window(slice(low[0], high[1]), slice(low[2], high[3]))
