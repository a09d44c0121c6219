"""Pixels that the edge of the world or of a lobe cuts, and those at a pole: their parts inside, as polygons.

Such a pixel is divided; parts with all corners go in whole, parts with some are clipped where the projection
ends, found by bisection along their sides; parts across a jump of the projection are divided again.
"""

# numba infers the types of what it compiles:
# mypy: allow-untyped-defs, allow-incomplete-defs

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xsoil.grids.caps import source_caps, tile_cap
from xsoil.grids.crs import shorter_way
from xsoil.grids.index_map import Array, IndexMap
from xsoil.grids.sheared_lines import RING
from xsoil.grids.sheared_outlines import areas_of, exact_outlines
from xsoil.grids.sheared_polygons import centroid, density_at, pixel_cells, signed_area
from xsoil.jit import kernel

if TYPE_CHECKING:
    from xsoil.grids.sheared_types import Rule, Tile

Integers = NDArray[np.int64]

PARTS = 4, 16
"""A pixel is divided so many times each way at least, and at most (so that the sides of the parts are straight
to `EDGE_TOLERANCE`)."""

AGAIN = 4
"""Parts that are divided again are divided so many times each way."""

FOLDED = 4.0
"""Box around a part that is turned over, relative to the largest that a part of its share of a pixel may be, up to
which it is taken to lie beyond a fold of the projection, and not across a jump."""

OUTLINES = 2048
"""Pixels that are drawn by exact places at a time: some 30 MB."""

SEEN = np.linspace(0.0, 1.0, 5)
"""Places each way in a pixel that tell where on the Earth it lies."""

TOGETHER = 8192
"""Parts that are divided at a time: some 50 MB."""

HALVINGS = 30
"""Steps of the bisection for the end of the projection."""


class Pieces(NamedTuple):
    """Polygons in target indices (n, 8), their numbers of points, and the pixel that each belongs to."""

    u: Array
    v: Array
    points: Integers
    pixel: Integers


class _Parts(NamedTuple):
    """Rectangles of the source to divide: their pixel, first row and column, height and width."""

    pixel: Integers
    top: Array
    left: Array
    height: Array
    width: Array

    def of(self, some: Any) -> _Parts:
        return _Parts(self.pixel[some], self.top[some], self.left[some], self.height[some], self.width[some])


class Entries(NamedTuple):
    """Single overlaps: source row, column, cell (with the ring), area, share of the pixel."""

    row: Integers
    column: Integers
    cell: Integers
    area: Array
    share: Array


def edge_entries(imap: IndexMap, rule: Rule, tile: Tile, shifts: Array, lost: Array) -> Entries:
    """Overlaps of pixels that the edge of the projection cuts with a tile.

    `lost` (n, 4) holds their columns, rows, tops and heights (less than 1 where a kink cuts them too).
    Shares are of the part of the pixel that lies inside.
    """
    column, row, top, height = _near(imap, tile, np.unique(lost, axis=0)).T
    if not row.size:
        none, nothing = np.empty(0, np.int64), np.empty(0)
        return Entries(none, none, none, nothing, nothing)
    list_cells: Any = piece_cells
    total, found, divided = np.zeros(row.size), [], []
    for k in range(0, row.size, OUTLINES):
        some = np.arange(k, min(k + OUTLINES, row.size))
        whole, u, v = exact_outlines(imap, rule, top[some], height[some], column[some])
        one, cell, area, true = list_cells(u, v, np.full(len(u), u.shape[1]), shifts, tile, rule.sign)
        total[some[whole]] = true
        found.append((some[whole][one], cell, area))
        divided.append(some[~whole])
    rest = np.concatenate(divided)
    pieces = _pieces(imap, rule, top[rest], height[rest], column[rest])
    one, cell, area, true = list_cells(*pieces[:3], shifts, tile, rule.sign)
    total += np.bincount(rest[pieces.pixel], true, minlength=row.size)
    found.append((rest[pieces.pixel[one]], cell, area))
    pixel, cell, area = (np.concatenate([part[i] for part in found]) for i in range(3))
    share = height[pixel] * area / total[pixel]
    return Entries(row[pixel].astype(np.int64), column[pixel].astype(np.int64), cell, area, share)


def _near(imap: IndexMap, tile: Tile, lost: Array) -> Array:
    """Those that do not lie apart from the tile on the Earth: near a pole, or a place at infinity, they are few."""
    c, t = np.meshgrid(SEEN, SEEN)
    cap = tile_cap(imap, tile.r0, tile.r1, tile.c0, tile.c1)
    kept = [lost[:0]]
    for k in range(0, len(lost), OUTLINES):
        column, _, top, height = (a[:, None, None] for a in lost[k : k + OUTLINES].T)
        kept.append(lost[k : k + OUTLINES][~source_caps(imap, column + c, top + height * t).apart(cap)])
    return np.concatenate(kept)


def _pieces(imap: IndexMap, rule: Rule, top: Array, height: Array, left: Array) -> Pieces:
    """Parts of divided pixels: by level of division, whole ones before clipped ones, then by pixel, so that it does not
    show what else is divided beside one."""
    first = _Parts(np.arange(top.size), top, left, height, np.ones(top.size))
    found: list[list[Pieces]] = [[] for _ in range(2 * rule.depth)]
    waiting = [(0, part) for part in reversed(_slices(first))]
    while waiting:
        level, parts = waiting.pop()
        pieces, again = _divided(imap, rule, parts, level)
        for kind in (0, 1):
            found[2 * level + kind].append(pieces[kind])
        if level + 1 < rule.depth:
            waiting += [(level + 1, part) for part in reversed(_slices(again))]
    none = Pieces(np.empty((0, 8)), np.empty((0, 8)), np.empty(0, np.int64), np.empty(0, np.int64))
    return Pieces(*(np.concatenate(every) for every in zip(none, *(p for row in found for p in row), strict=True)))


def _slices(parts: _Parts) -> list[_Parts]:
    """Some at a time, so that memory is bounded."""
    starts = range(0, parts.pixel.size, TOGETHER)
    return [parts.of(slice(start, start + TOGETHER)) for start in starts]


def _divided(imap: IndexMap, rule: Rule, whole: _Parts, level: int) -> tuple[list[Pieces], _Parts]:
    """Pieces of these parts, whole and clipped ones, and what is to be divided again."""
    parts = AGAIN if level else min(max(rule.segments, PARTS[0]), PARTS[1])
    offsets = np.arange(parts + 1.0) / parts
    r = whole.top[:, None, None] + whole.height[:, None, None] * offsets[:, None] + np.zeros(parts + 1)
    c = np.broadcast_to(whole.left[:, None, None] + whole.width[:, None, None] * offsets, r.shape)
    quads = [_quads(a) for a in (r, c, *imap.forward(c, r))]
    every = _Parts(
        np.repeat(whole.pixel, parts * parts), quads[0][:, 0], quads[1][:, 0],
        np.repeat(whole.height / parts, parts * parts), np.repeat(whole.width / parts, parts * parts),
    )  # fmt: skip
    inside = np.isfinite(quads[2]) & np.isfinite(quads[3])
    again: Any = inside.any(axis=1)
    found = []
    for some, clip in ((inside.all(axis=1), False), (again & ~inside.all(axis=1), True)):
        (which,) = np.nonzero(some)
        r, c, u, v = (a[which] for a in quads)
        points = np.full(which.size, 4)
        if clip:
            u, v, points = _clipped(imap, r, c, u, v, inside[which])
        u = u[:, :1] + shorter_way(u - u[:, :1], imap.period)
        area, wide = rule.sign * areas_of(u, v), np.ptp(u, axis=1)
        share = (every.height * every.width)[which]
        # A part across a gap between lobes, or across the cut of a cone, is not turned over, and may be smaller than a
        # pixel: a thin strip from one side to the other.
        by_share = imap.interrupted or imap.kind != "general"
        sane = (area > 0) & (area <= rule.largest * (share if by_share else 1.0)) & (wide < (imap.period or np.inf) / 2)
        full = np.full((2, int(sane.sum()), 8), np.nan)
        full[:, :, : u.shape[1]] = u[sane], v[sane]
        found.append(Pieces(full[0], full[1], points[sane], every.pixel[which[sane]]))
        again[which[sane]] = False
        if level:  # what is turned over, and no larger than it should be, lies beyond a fold: so do its parts
            small = wide * np.ptp(v, axis=1) <= FOLDED * rule.largest * share
            again[which[(area <= 0) & small]] = False
    return found, every.of(again)


def _quads(a: Array) -> Array:
    """Corners (clockwise from top left) of the parts of divided pixels."""
    corners = np.stack([a[:, :-1, :-1], a[:, :-1, 1:], a[:, 1:, 1:], a[:, 1:, :-1]], axis=-1)
    return corners.reshape(-1, 4)


def _clipped(
    imap: IndexMap, r: Array, c: Array, u: Array, v: Array, inside: NDArray[np.bool_]
) -> tuple[Array, Array, Integers]:
    """Parts of quads where the map exists: points (n, 8), the last repeated, and their numbers."""
    after = np.roll(np.arange(4), -1)
    crossed = inside != inside[:, after]
    n, side = np.nonzero(crossed)
    first = inside[n, side]
    here, there = np.where(first, side, after[side]), np.where(first, after[side], side)
    in_r, in_c, in_u, in_v = (a[n, here] for a in (r, c, u, v))
    out_r, out_c = r[n, there], c[n, there]
    for _ in range(HALVINGS):
        mid_r, mid_c = (in_r + out_r) / 2, (in_c + out_c) / 2
        mid_u, mid_v = imap.forward(mid_c, mid_r)
        ok = np.isfinite(mid_u) & np.isfinite(mid_v)
        in_r, in_c = np.where(ok, mid_r, in_r), np.where(ok, mid_c, in_c)
        in_u, in_v = np.where(ok, mid_u, in_u), np.where(ok, mid_v, in_v)
        out_r, out_c = np.where(ok, out_r, mid_r), np.where(ok, out_c, mid_c)
    out_u, out_v = np.empty((len(r), 8)), np.empty((len(r), 8))
    known = np.zeros((len(r), 8), dtype=bool)
    out_u[:, ::2], out_v[:, ::2], known[:, ::2] = u, v, inside
    out_u[n, 2 * side + 1], out_v[n, 2 * side + 1], known[n, 2 * side + 1] = in_u, in_v, True
    points = known.sum(axis=1)
    order = np.argsort(~known, axis=1, kind="stable")
    order = np.take_along_axis(order, np.minimum(np.arange(8), points[:, None] - 1), axis=1)
    return np.take_along_axis(out_u, order, axis=1), np.take_along_axis(out_v, order, axis=1), points


@kernel
def piece_cells(u, v, points, shifts, tile, sign):
    """Overlaps of pieces as piece, cell (with the ring), area; and the true areas of the pieces."""
    tw, used, size = tile.c1 - tile.c0, 0, 4 * points.size + 64
    width = tw + 2 * RING
    cells = (tile.r1 - tile.r0) * tw
    found, areas = np.empty(cells, dtype=np.int64), np.empty(cells)
    most = u.shape[1]
    sweep, work, moved = np.empty((2, 64)), np.empty((6, 2 * most + 48)), np.empty(most)
    piece, cell, area = np.empty(size, dtype=np.int64), np.empty(size, dtype=np.int64), np.empty(size)
    whole = np.empty(points.size)
    for n in range(points.size):
        m = points[n]
        a = sign * signed_area(u[n], v[n], m)
        whole[n] = a
        if tile.density.size > 0:
            _, cu, cv = centroid(u[n], v[n], m)
            whole[n] = a * density_at(cu, cv, tile)
        for shift in shifts:
            moved[:m] = u[n, :m] + shift
            count, _ = pixel_cells(moved, v[n], m, a, tile, sweep, work, found, areas)
            if used + count > size:
                size = 2 * (used + count)
                piece, cell, area = longer(piece, used, size), longer(cell, used, size), longer(area, used, size)
            for f in range(count):
                r = found[f] // tw
                piece[used], area[used] = n, areas[f]
                cell[used] = (r + RING) * width + found[f] - r * tw + RING
                used += 1
    return piece[:used], cell[:used], area[:used], whole


@kernel
def longer(array, n, size):
    """A longer array that holds the first n numbers."""
    out = np.empty(size, array.dtype)
    out[:n] = array[:n]
    return out


@kernel
def sum_entries(values, origin, entries, by_area, total, area_sum):
    """Add single overlaps to sums, as `sum_group` does."""
    for e in range(entries.cell.size):
        y, x, cell = entries.row[e] - origin[0], entries.column[e] - origin[1], entries.cell[e]
        for k in range(values.shape[0]):
            value = values[k, y, x]
            if value == value:
                total[k, cell] += value * (entries.area[e] if by_area else entries.share[e])
                area_sum[k, cell] += entries.area[e]


@kernel
def extreme_entries(values, origin, entries, largest, total, area_sum):
    """Let cells know of the values of single overlaps, as `extreme_group` does."""
    for e in range(entries.cell.size):
        y, x, cell = entries.row[e] - origin[0], entries.column[e] - origin[1], entries.cell[e]
        for k in range(values.shape[0]):
            value = values[k, y, x]
            if value == value:
                area_sum[k, cell] += entries.area[e]
                if (value > total[k, cell]) if largest else (value < total[k, cell]):
                    total[k, cell] = value
