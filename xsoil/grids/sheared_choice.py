"""What is chosen once for a pair of sheared grids: how finely pixels are drawn, and which of them are sane.

Chosen from some 256 positions where both grids overlap, so from both grids alone.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np

from xsoil.grids import corners
from xsoil.grids.crs import shorter_way
from xsoil.grids.index_map import QUANTUM, Array, IndexMap

EDGE_TOLERANCE = 1e-7
"""Distance [target cells] between true pixel edges and the chords that stand for them; larger by
1/sqrt(L) for source pixels L < 1 target cells wide, as errors then average out."""

CLOSED_FORM_SAG = 2.5e-4
"""Bulge of edges, relative to the pixel (or a target cell, if that is smaller), up to which pixels may be
cut in closed form, and whole ones need not know of it."""

CLOSED_FORM_TAPER = 2.5e-7
"""Difference of the bulges of opposite edges, likewise: closed forms take them for equal, so that valid fractions are
wrong by two thirds of it, and by three times it where edges bulge most."""

NODE_TOLERANCE = 2.5e-7
"""Distance [target cells] between interpolated and exact corners, at the centre of each lattice block;
larger by 1/sqrt(L) likewise."""

MOST_SEGMENTS = 128
"""Chords per edge at most."""

LARGEST_OF_LOBES = 3.0
"""Area of a pixel, relative to the median, above which it spans a gap between lobes of the target."""


STRIDES = (1.0, 0.25, 1 / 16, 1 / 64)
"""Distance [pixels] of the positions that tell the shape of a pixel: the first that is no farther than `FARTHEST` and
at which some have places. Of pixels as large as a lobe none has neighbours all round."""

FARTHEST = 3e5
"""Distance [m] over which projections are taken for smooth."""


class Shapes(NamedTuple):
    """Of some pixels, in target cells: bulge and bend of their edges, difference of the bulges of opposite ones, area,
    longest edge."""

    sag: Array
    bend: Array
    taper: Array
    area: Array
    reach: Array


ONES = Shapes(*np.zeros((3, 1)), *np.ones((2, 1)))
"""Taken where no position has a place in the target."""


class Choice(NamedTuple):
    """Chords per edge; the most that edges bulge, and the tolerance of that; sign of pixels' areas, and the largest
    sane one; whether cut pixels may be cut in closed form; how far pixels reach, and over how many cells those that
    are not torn; spacing of the lattice of corners, and its tolerance. Lengths in target cells."""

    segments: int
    sag: float
    tolerance: float
    sign: float
    largest: float
    closed: bool
    reach: float
    torn: int
    step: int
    node_tolerance: float


def choice_of(imap: IndexMap) -> Choice:
    """Judge the map between two grids."""
    columns, rows = _samples(imap)
    judged = _judged(imap, columns, rows)
    bulge, bending, tapering, _, longest = (_most(a) for a in judged)
    size, reach = float(np.sqrt(np.median(judged.area))), 2.0 * longest + 2.0
    # Within a few cells at a pole pixels of degrees seem to be slivers, but reach far out, and others lie around them.
    areas = _judged(imap, *_samples(imap, reach)).area
    relax = 1.0 / np.sqrt(min(max(size, 1e-4), 1.0))
    tolerance, node_tolerance = EDGE_TOLERANCE * relax, NODE_TOLERANCE * relax
    # (Positions are whole quanta: so much of the taper may be rounding.)
    bounds = CLOSED_FORM_SAG * min(size, 1.0), CLOSED_FORM_TAPER * min(size, 1.0) + QUANTUM
    return Choice(
        segments=int(np.clip(np.ceil(np.sqrt(bulge / tolerance)), 1, MOST_SEGMENTS)),
        sag=2.0 * bending + 1e-8,
        tolerance=tolerance,
        sign=imap.sign,
        largest=LARGEST_OF_LOBES * float(np.median(areas)) if imap.interrupted else 8.0 * _most(areas),
        closed=bulge <= bounds[0] and tapering <= bounds[1],
        reach=reach,
        torn=int(min(np.ceil(reach), 2**20)),
        step=next((n for n in corners.STEPS if _smooth(imap, columns, rows, n, node_tolerance)), corners.STEPS[-1]),
        node_tolerance=node_tolerance,
    )


def _most(values: Array) -> float:
    """The largest, but for poles and kinks: they must not slow all the rest, nor pixels across a tear seem whole."""
    return min(float(values.max()), 8.0 * float(np.median(values)))


def _judged(imap: IndexMap, columns: Array, rows: Array) -> Shapes:
    """Of the pixels at these positions, from the farthest other positions that tell their shapes; of those further
    inside of the source where none do (a hundredth of a pixel from a pole)."""
    strides = [h for h in STRIDES if h * imap.source_metres <= FARTHEST or h == STRIDES[-1]]
    (ny, nx), far = imap.source_shape, 0.5 + strides[0]
    inner_columns, inner_rows = (
        np.clip(at, min(far, n / 2), max(n - far, n / 2)) for at, n in ((columns, nx), (rows, ny))
    )
    tries = (_shapes(imap, c, r, h) for c, r in ((columns, rows), (inner_columns, inner_rows)) for h in strides)
    return next(filter(lambda shapes: shapes.area.size, tries), ONES)


def _shapes(imap: IndexMap, columns: Array, rows: Array, stride: float) -> Shapes:
    """Of the pixels at these positions, from positions so many pixels away; of those where all of them have a place."""
    near = {(i, j): imap.forward(columns + i * stride, rows + j * stride) for i, j in product((0, -1, 1), repeat=2)}
    bend, sag, taper = np.zeros((3, *columns.shape))
    sides = []
    for dc, dr in ((1, 0), (0, 1)):
        du, dv, bu, bv = _along(near, (0, 0), (dc, dr), imap.period)
        (_, _, su, sv), (_, _, tu, tv) = (_along(near, (k * dr, k * dc), (dc, dr), imap.period) for k in (-1, 1))
        bend = np.fmax(bend, (np.abs(bu) + np.abs(bv)) / 8.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            sag = np.fmax(sag, np.abs(bu * dv - bv * du) / np.hypot(du, dv) / 8.0)
            # These edges are two pixels apart.
            taper += np.fmax(0.0, np.abs((tu - su) * dv - (tv - sv) * du) / np.hypot(du, dv) / 16.0)
        sides.append((du, dv))
    (cu, cv), (ru, rv) = sides
    area, reach = np.abs(cu * rv - ru * cv), np.maximum(np.hypot(cu, cv), np.hypot(ru, rv))
    seen = np.isfinite(area) & (area != 0)
    # The first, second and third differences of a smooth map.
    powers = zip((sag, bend, taper, area, reach), (2, 2, 3, 2, 1), strict=True)
    return Shapes(*(values[seen] / stride**power for values, power in powers))


def _along(
    near: dict[tuple[int, int], tuple[Array, Array]], at: tuple[int, int], step: tuple[int, int], period: float
) -> tuple[Array, Array, Array, Array]:
    """Of positions one step before and after those at `at`: half their difference (u, v), second differences."""
    (ua, va), (u, v), (ub, vb) = (near[at[0] + k * step[0], at[1] + k * step[1]] for k in (-1, 0, 1))
    da, db = shorter_way(ua - u, period), shorter_way(ub - u, period)
    return (db - da) / 2, (vb - va) / 2, da + db, va - 2 * v + vb


def _smooth(imap: IndexMap, columns: Array, rows: Array, step: int, tolerance: float) -> bool:
    """True where a lattice of that spacing is good enough at most of the positions."""
    offsets = np.arange(-1.0, 3.0) * step
    jj, ii = np.meshgrid(offsets, offsets)
    u, v = imap.forward(columns[:, None, None] + jj, rows[:, None, None] + ii)
    centre = imap.forward(columns + step / 2, rows + step / 2)
    error = corners.centre_error(u, v, *centre, imap.period)
    error = error[np.isfinite(error)]
    return error.size > 0 and bool(np.mean(error <= tolerance) >= 0.75)


def _samples(imap: IndexMap, around: float = 0.0) -> tuple[Array, Array]:
    """Source positions to judge the map by: where both grids overlap (the target with so many cells around it), else
    all over the source."""
    nr, nc = imap.target_shape
    ny, nx = imap.source_shape
    t = (np.arange(16) + 0.5) / 16
    u, v = np.meshgrid(t * (nc + 2.0 * around) - around, t * (nr + 2.0 * around) - around)
    column, row = imap.inverse(u, v)
    if imap.source_period:
        column = column - imap.source_period * np.floor(column / imap.source_period)
    # Beyond its world a target may name a place all the same: PROJ takes what lies beyond a pole for the pole.
    back = imap.forward(column, row)
    with np.errstate(invalid="ignore"):
        there = np.maximum(np.abs(shorter_way(back[0] - u, imap.period)), np.abs(back[1] - v)) < 0.5
    inside = there & (column > 0) & (column < nx) & (row > 0) & (row < ny)
    if inside.sum() >= 8:
        return column[inside], row[inside]
    column, row = np.meshgrid(t * nx, t * ny)
    return column.ravel(), row.ravel()
