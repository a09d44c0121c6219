"""Corners of the source's pixels in the target's indices, to a stated accuracy, from few exact points.

Corners come from a lattice of exact nodes, one per `step` pixels at multiples of `step` in the absolute
source index, by piecewise cubic interpolation. Each block of step x step pixels is checked at its
centre; where it (or a neighbour) fails, its corners come from 4 x 4 nodes inside it, and where that
fails too, all are transformed. Every decision depends on the absolute block alone, never on the window.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from xsoil.grids.crs import shorter_way
from xsoil.grids.index_map import Array, IndexMap
from xsoil.grids.seams import NUDGE, seam_lines

Integers = NDArray[np.int64]

STEPS = (24, 12, 6, 3)
"""Spacings of the lattice to choose from [pixels]."""


class Lattice(NamedTuple):
    """Nodes over a window of blocks, and the blocks whose corners are given one by one.

    `u`, `v` hold the nodes (first_row - 1 ... , first_column - 1 ...) in units of `step`; `patch` the
    number of each block's patch or -1; `patches` (n, 2, step, step) corners owned by the block; `breaks`
    are the rows of kinks, `seam_u`, `seam_v` (lines, columns from `seam_column` on) the lines next to them (`seams`).
    """

    step: int
    first_row: int
    first_column: int
    u: Array
    v: Array
    patch: Integers
    patches: Array
    breaks: Array
    seam_u: Array
    seam_v: Array
    seam_column: int
    period: float


KEPT, KEPT_BYTES = 4, 8 * 2**20
"""Lattices that are kept for the next variable on the same grids, and how large one may be."""

_CENTRE = (-1 / 16, 9 / 16, 9 / 16, -1 / 16)
"""Lagrange weights at 1/2 of nodes at -1, 0, 1, 2."""


def centre_error(u: Array, v: Array, centre_u: Array, centre_v: Array, period: float) -> Array:
    """Distance [target cells] of interpolated block centres from the exact ones; NaN where not finite.

    `u`, `v`: nodes (..., 4, 4) at -1, 0, 1, 2 of each block.
    """
    du, dv = np.zeros_like(centre_u), np.zeros_like(centre_v)
    base_u, base_v = u[..., 1, 1], v[..., 1, 1]
    for i in range(4):
        for j in range(4):
            w = _CENTRE[i] * _CENTRE[j]
            du += w * shorter_way(u[..., i, j] - base_u, period)
            dv += w * (v[..., i, j] - base_v)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.hypot(shorter_way(base_u + du - centre_u, period), base_v + dv - centre_v))


@lru_cache(maxsize=KEPT)
def _kept(*key: Hashable) -> list[Lattice]:
    """A place for a lattice that is small enough to be kept."""
    return []


def lattice_of(imap: IndexMap, step: int, tolerance: float, rows: tuple[int, int], columns: tuple[int, int]) -> Lattice:
    """`build`, or what it gave the last time."""
    place = _kept(imap, step, tolerance, rows, columns)
    if place:
        return place[0]
    lattice = build(imap, step, tolerance, rows, columns)
    if sum(part.nbytes for part in lattice if isinstance(part, np.ndarray)) <= KEPT_BYTES:
        place.append(lattice)
    return lattice


def build(imap: IndexMap, step: int, tolerance: float, rows: tuple[int, int], columns: tuple[int, int]) -> Lattice:
    """Lattice that gives the corners rows[0]..rows[1] x columns[0]..columns[1], both inclusive.

    `tolerance` [target cells] bounds the error of each checked block's centre.
    """
    i0, i1 = rows[0] // step, rows[1] // step + 1
    j0, j1 = columns[0] // step, columns[1] // step + 1
    # One more ring of blocks is checked, as a failing block spoils its neighbours' stencils too.
    node_row, node_column = np.arange(i0 - 2, i1 + 3), np.arange(j0 - 2, j1 + 3)
    jj, ii = np.meshgrid(node_column * float(step), node_row * float(step))
    u, v = imap.forward(jj, ii)
    half = step / 2
    cu, cv = imap.forward(jj[1:-2, 1:-2] + half, ii[1:-2, 1:-2] + half)
    windows_u, windows_v = (sliding_window_view(nodes, (4, 4)) for nodes in (u, v))
    fails = ~(centre_error(windows_u, windows_v, cu, cv, imap.period) <= tolerance)
    for r in imap.breaks:
        first = int(r // step) - (i0 - 1)
        fails[max(first, 0) : max(first + 1, 0)] = True
    nothing = np.isnan(cu) & sliding_window_view(np.isnan(u), (4, 4)).all(axis=(2, 3))
    spoiled = np.zeros(fails.shape, dtype=bool)
    for di in (-1, 0, 1):
        for dj in (-1, 0, 1):
            spoiled[1:-1, 1:-1] |= fails[1 + di : fails.shape[0] - 1 + di, 1 + dj : fails.shape[1] - 1 + dj]
    bad = (spoiled & ~nothing)[1:-1, 1:-1]
    patch = np.full(bad.shape, -1, dtype=np.int64)
    where = np.argwhere(bad)
    patch[bad] = np.arange(len(where))
    patches = _patches(imap, step, tolerance, (where + np.array([i0, j0])) * step)
    inner = (slice(1, -1), slice(1, -1))
    return Lattice(
        step, i0, j0, u[inner].copy(), v[inner].copy(), patch, patches, np.asarray(imap.breaks, dtype=float),
        *seam_lines(imap, rows, columns), columns[0], imap.period,
    )  # fmt: skip


def _patches(imap: IndexMap, step: int, tolerance: float, starts: Integers) -> Array:
    """Corners (n, 2, step, step) of blocks that start at `starts` (n, 2), by the finer means."""
    from xsoil.grids.sheared_lines import fill_patches

    patches = np.empty((len(starts), 2, step, step))
    if len(starts) == 0:
        return patches
    row, column = starts[:, 0].astype(float), starts[:, 1].astype(float)
    exact = np.full(len(starts), step <= STEPS[-1])
    if step > STEPS[-1]:
        top, bottom, block = _pieces(row, step, imap.breaks)
        thirds = np.arange(4) / 3.0
        rows = top[:, None, None] + (bottom - top)[:, None, None] * thirds[:, None] + np.zeros(4)
        # On the kink itself rounding decides which side is meant.
        rows[:, 0] += NUDGE * np.isin(top, imap.breaks)[:, None]
        rows[:, 3] -= NUDGE * np.isin(bottom, imap.breaks)[:, None]
        columns = column[block, None, None] + step * thirds + np.zeros((4, 1))
        u, v = imap.forward(columns, rows)
        middle = imap.forward(column[block] + step / 2, (top + bottom) / 2)
        exact[block[~(centre_error(u, v, *middle, imap.period) <= tolerance)]] = True
        fill_patches(u, v, top, bottom, row[block], block, step, imap.period, patches)
    (which,) = np.nonzero(exact)
    if which.size:
        span = np.arange(step, dtype=float)
        rows = row[which, None, None] + span[:, None] + np.zeros(step)
        columns = column[which, None, None] + span + np.zeros((step, 1))
        patches[which, 0], patches[which, 1] = imap.forward(columns, rows)
    return patches


def _pieces(row: Array, step: int, breaks: tuple[float, ...]) -> tuple[Array, Array, Integers]:
    """Top and bottom of the smooth pieces of blocks, and the block that each belongs to: a kink cuts a
    block in two, and each piece owns the corner rows on its side."""
    top, bottom, block = row, row + step, np.arange(len(row))
    for r in breaks:
        (cut,) = np.nonzero((top < r) & (r < bottom))
        ends = bottom[cut]
        bottom = np.concatenate([np.where((top < r) & (r < bottom), r, bottom), ends])
        top = np.concatenate([top, np.full(cut.size, r)])
        block = np.concatenate([block, block[cut]])
    return top, bottom, block
