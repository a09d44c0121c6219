"""Corners of the source's pixels in the target's indices, to a stated accuracy, from few exact points.

Corners come from a lattice of exact nodes, one per `step` pixels at multiples of `step` in the absolute
source index, by piecewise cubic interpolation. Each block of step x step pixels is checked at its
centre; where it (or a neighbour) fails, its corners come from 4 x 4 nodes inside it, and where that
fails too, all are transformed. Every decision depends on the absolute block alone, never on the window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xsoil.grids.index_map import Array, IndexMap, _quantise

Integers = NDArray[np.int64]

STEPS = (24, 12, 6, 3)
"""Spacings of the lattice to choose from [pixels]."""


@dataclass
class Lattice:
    """Nodes over a window of blocks, and the blocks whose corners are given one by one.

    `u`, `v` hold the nodes (first_row - 1 ... , first_column - 1 ...) in units of `step`; `patch` the
    number of each block's patch or -1; `patches` (n, 2, step, step) corners owned by the block.
    """

    step: int
    first_row: int
    first_column: int
    u: Array
    v: Array
    patch: Integers
    patches: Array
    breaks_u: Array
    breaks_v: Array


def cubic_weights(t: Array) -> Array:
    """Lagrange weights (len(t), 4) of nodes at -1, 0, 1, 2."""
    return np.stack(
        [
            -t * (t - 1) * (t - 2) / 6,
            (t + 1) * (t - 1) * (t - 2) / 2,
            -(t + 1) * t * (t - 2) / 2,
            (t + 1) * t * (t - 1) / 6,
        ],
        axis=-1,
    )


_CENTRE = cubic_weights(np.array([0.5]))[0]


def _wrap(d: Array, period: float) -> Array:
    return d - period * np.round(d / period) if period else d


def _from_nodes(nodes: Array, weights_row: Array, weights_column: Array, period: float) -> Array:
    """Tensor interpolation of (n, 4, 4) nodes at all rows x columns, relative to node (1, 1)."""
    base = nodes[:, 1:2, 1:2]
    d = _wrap(nodes - base, period)
    return np.asarray(base + _quantise(np.einsum("ra,nab,cb->nrc", weights_row, d, weights_column)))


def centre_error(u: Array, v: Array, cu: Array, cv: Array, period: float) -> Array:
    """Distance [target cells] of the interpolated centre of every block from the exact one (cu, cv).

    `u`, `v`: nodes (rows + 3, columns + 3); NaN where a node is not finite.
    """
    rows, columns = cu.shape
    du, dv = np.zeros_like(cu), np.zeros_like(cv)
    base_u, base_v = u[1 : rows + 1, 1 : columns + 1], v[1 : rows + 1, 1 : columns + 1]
    for i in range(4):
        for j in range(4):
            w = _CENTRE[i] * _CENTRE[j]
            du += w * _wrap(u[i : i + rows, j : j + columns] - base_u, period)
            dv += w * (v[i : i + rows, j : j + columns] - base_v)
    return np.hypot(_wrap(base_u + du - cu, period), base_v + dv - cv)


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
    with np.errstate(invalid="ignore"):
        fails = ~(centre_error(u, v, cu, cv, imap.period) <= tolerance)
    for r in imap.breaks:
        first = int(r // step) - (i0 - 1)
        fails[max(first, 0) : max(first + 1, 0)] = True
    nothing = np.isnan(cu)
    for i in range(4):
        for j in range(4):
            nothing &= np.isnan(u[i : i + cu.shape[0], j : j + cu.shape[1]])
    spoiled = np.zeros(fails.shape, dtype=bool)
    for di in (-1, 0, 1):
        for dj in (-1, 0, 1):
            spoiled[1:-1, 1:-1] |= fails[1 + di : fails.shape[0] - 1 + di, 1 + dj : fails.shape[1] - 1 + dj]
    bad = (spoiled & ~nothing)[1:-1, 1:-1]
    patch = np.full(bad.shape, -1, dtype=np.int64)
    where = np.argwhere(bad)
    patch[bad] = np.arange(len(where))
    patches = _patches(imap, step, tolerance, (where + (i0, j0)) * step)
    breaks_u, breaks_v = _break_rows(imap, columns)
    return Lattice(step, i0, j0, u[1:-1, 1:-1].copy(), v[1:-1, 1:-1].copy(), patch, patches, breaks_u, breaks_v)


def _break_rows(imap: IndexMap, columns: tuple[int, int]) -> tuple[Array, Array]:
    x = np.arange(columns[0], columns[1] + 1, dtype=float)
    r = np.asarray(imap.breaks, dtype=float)[:, None]
    if r.size == 0:
        return np.empty((0, x.size)), np.empty((0, x.size))
    return imap.forward(np.broadcast_to(x, (r.size, x.size)), np.broadcast_to(r, (r.size, x.size)))


def _patches(imap: IndexMap, step: int, tolerance: float, corners: Integers) -> Array:
    """Corners (n, 2, step, step) of blocks that start at `corners` (n, 2), by the finer means."""
    patches = np.empty((len(corners), 2, step, step))
    if len(corners) == 0:
        return patches
    row, column = corners[:, 0].astype(float), corners[:, 1].astype(float)
    # A block with a break is two pieces; each owns the corner rows on its side.
    pieces = [(row, row + step, np.ones(len(row), dtype=bool), 0)]
    for r in imap.breaks:
        cut = (row < r) & (r < row + step)
        pieces = [(top, np.where(cut, np.minimum(bottom, r), bottom), use, n) for top, bottom, use, n in pieces]
        pieces.append((np.full(len(row), r), row + step, cut, 1))
    exact = np.zeros(len(corners), dtype=bool)
    if step > 3:
        thirds = np.arange(4) / 3.0
        for top, bottom, use, _ in pieces:
            (which,) = np.nonzero(use)
            t, b, c = top[which], bottom[which], column[which]
            rr = t[:, None, None] + (b - t)[:, None, None] * thirds[None, :, None] + np.zeros((1, 1, 4))
            cc = c[:, None, None] + step * thirds[None, None, :] + np.zeros((1, 4, 1))
            u, v = imap.forward(cc, rr)
            mu, mv = imap.forward(c + step / 2, (t + b) / 2)
            iu = _from_nodes(u, _CENTRE[None], _CENTRE[None], imap.period)[:, 0, 0]
            iv = _from_nodes(v, _CENTRE[None], _CENTRE[None], 0.0)[:, 0, 0]
            with np.errstate(invalid="ignore"):
                exact[which] |= ~(np.hypot(_wrap(iu - mu, imap.period), iv - mv) <= tolerance)
            across = cubic_weights(np.arange(step) * 3.0 / step - 1.0)
            for n, k in enumerate(which):
                owned = np.arange(step) + row[k]
                inside = (owned >= t[n]) & (owned < b[n])
                if inside.any():
                    down = cubic_weights((owned[inside] - t[n]) * 3.0 / (b[n] - t[n]) - 1.0)
                    patches[k, 0, inside] = _from_nodes(u[n : n + 1], down, across, imap.period)[0]
                    patches[k, 1, inside] = _from_nodes(v[n : n + 1], down, across, 0.0)[0]
    else:
        exact[:] = True
    (which,) = np.nonzero(exact)
    if which.size:
        span = np.arange(step, dtype=float)
        rr = row[which, None, None] + span[None, :, None] + np.zeros((1, 1, step))
        cc = column[which, None, None] + span[None, None, :] + np.zeros((1, step, 1))
        patches[which, 0], patches[which, 1] = imap.forward(cc, rr)
    return patches
