"""The operators of `upscale` by polygons: slow, plain, and independent of the package.

Cells are drawn with many points along their edges, each in its own CRS, and intersected in an equal-area
working CRS; every operator then is its definition over a list of (cell, pixel, area). Point operators are
formulas of the position of a cell's centre in the source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import shapely
from odc.geo.geobox import GeoBox
from pyproj import Transformer

EASE_GLOBAL = "EPSG:6933"
WORLD = 2 * 17367530.445161372
SLIVER, TIE, SLACK = 1e-9, 1e-9, 1e-9
MARGIN = 1e-6
"""A decision (which pixel, which class) closer than this share of the area may go either way."""


class Answer(NamedTuple):
    """One operator on all target cells (fractions: with the classes first)."""

    value: np.ndarray
    fraction: np.ndarray
    """Valid share of the cell."""
    decided: np.ndarray
    """False where the answer hangs on less than `MARGIN`."""


def to_world(affine, column, row):
    return affine.a * column + affine.b * row + affine.c, affine.d * column + affine.e * row + affine.f


def outlines(box: GeoBox, crs: str, points: int, rows=None, columns=None, x0=None) -> np.ndarray:
    """Polygons of the cells of a geobox in another CRS, row by row."""
    rows = np.arange(box.shape[0]) if rows is None else rows
    columns = np.arange(box.shape[1]) if columns is None else columns
    t = np.arange(points) / points
    one, zero = np.ones(points), np.zeros(points)
    at_column, at_row = np.concatenate([t, one, 1 - t, zero]), np.concatenate([zero, t, one, 1 - t])
    row, column = np.meshgrid(rows, columns, indexing="ij")
    c, r = column.reshape(-1, 1) + at_column, row.reshape(-1, 1) + at_row
    x, y = to_world(box.affine, c, r)
    if box.crs.geographic:
        y, x = np.clip(y, -90, 90), np.remainder(x + 180, 360) - 180
    x, y = (np.asarray(v) for v in Transformer.from_crs(box.crs.proj, crs, always_xy=True).transform(x, y))
    if crs == EASE_GLOBAL:  # each cell in one piece, as near to x0 as it gets
        x = x[:, :1] + np.remainder(x - x[:, :1] + WORLD / 2, WORLD) - WORLD / 2
        if x0 is not None:
            middle = x.mean(axis=1, keepdims=True)
            x = x + WORLD * np.round((x0 - middle) / WORLD)
    finite = np.isfinite(x).all(axis=1) & np.isfinite(y).all(axis=1)
    shapes = np.full(len(x), None, dtype=object)
    shapes[finite] = shapely.polygons(np.stack([x, y], axis=-1)[finite])
    broken = finite & ~shapely.is_valid(shapes)
    shapes[broken] = shapely.make_valid(shapes[broken])
    return shapes


@dataclass(frozen=True)
class Overlaps:
    """Every overlap of a pair of grids: target cell, source pixel, areas."""

    shape: tuple[int, int]
    cell: np.ndarray
    pixel: np.ndarray
    area: np.ndarray
    whole: np.ndarray
    """Area of the pixel of each overlap."""
    cells: np.ndarray
    """Area of each target cell."""

    @classmethod
    def of(cls, source: GeoBox, target: GeoBox, working: str = EASE_GLOBAL, points=(24, 24)) -> Overlaps:
        """By intersection; `points` along each edge of pixels and of cells."""
        theirs = outlines(target, working, points[1])
        if working == EASE_GLOBAL:
            x0 = float(np.median([s.centroid.x for s in theirs if s is not None]))
            theirs = outlines(target, working, points[1], x0=x0)
        else:
            x0 = None
        ours = outlines(source, working, points[0], x0=x0)
        cell, pixel = shapely.STRtree(ours).query(theirs, predicate="intersects")
        area = shapely.area(shapely.intersection(theirs[cell], ours[pixel]))
        return cls._kept(target.shape, cell, pixel, area, shapely.area(ours), shapely.area(theirs))

    @classmethod
    def across_a_lobe_edge(cls, source: GeoBox, target: GeoBox, longitude: float) -> Overlaps:
        """From an interrupted homolosine to EASE-Grid 2.0 Global, where some of the pixels lie partly off the Earth.

        Target cells are cut at the meridian of the interruption and drawn in the source's CRS, where pixels are
        squares; what both share is brought back to be measured.
        """
        there = Transformer.from_crs(EASE_GLOBAL, source.crs.proj, always_xy=True)
        back = Transformer.from_crs(source.crs.proj, EASE_GLOBAL, always_xy=True)
        edge, nudge = longitude / 360 * WORLD, 1e-5
        left, bottom, right, top = target.boundingbox
        sides = [shapely.box(left - 2e5, bottom - 2e5, edge - nudge, top + 2e5)]
        sides += [shapely.box(edge + nudge, bottom - 2e5, right + 2e5, top + 2e5)]
        squares, cells = outlines(source, source.crs.proj, 1), outlines(target, EASE_GLOBAL, 1)

        def moved(shapes, by, spacing):
            return shapely.transform(shapely.segmentize(shapes, spacing), by.transform, interleaved=False)

        def shares(shapes):
            """(shape, pixel, area) of the parts of shapes on one side of the edge."""
            drawn = moved(shapes, there, 200.0)
            shape, pixel = shapely.STRtree(squares).query(drawn, predicate="intersects")
            parts = shapely.intersection(drawn[shape], squares[pixel])
            return shape, pixel, shapely.area(moved(parts, back, 100.0))

        whole, pieces = np.zeros(squares.size), []
        for side in sides:
            _, pixel, area = shares(np.array([side]))
            whole += np.bincount(pixel, area, minlength=squares.size)
            halves = shapely.intersection(cells, side)
            (seen,) = np.nonzero(shapely.area(halves) > 0)
            cell, pixel, area = shares(halves[seen])
            pieces.append((seen[cell], pixel, area))
        cell, pixel, area = (np.concatenate(part) for part in zip(*pieces))
        both, index = np.unique(cell * squares.size + pixel, return_inverse=True)
        cell, pixel = np.divmod(both, squares.size)
        return cls._kept(target.shape, cell, pixel, np.bincount(index, area), whole, shapely.area(cells))

    @classmethod
    def _kept(cls, shape, cell, pixel, area, ours, theirs) -> Overlaps:
        keep = area > SLIVER * np.minimum(ours[pixel], theirs[cell])
        cell, pixel, area = cell[keep], pixel[keep], area[keep]
        order = np.lexsort((pixel, cell))
        cell, pixel, area = cell[order], pixel[order], area[order]
        return cls(tuple(shape), cell, pixel, area, ours[pixel], theirs)

    def answer(self, how: str, values: np.ndarray, parameter=None, exact: bool = False) -> Answer:
        """Any area operator; the median is the quantile 0.5. `exact`: areas are good to rounding, ties are ties."""
        flat, number = values.ravel().astype(float), len(self.cells)
        known = ~np.isnan(flat[self.pixel])
        ends = np.searchsorted(self.cell, np.arange(number + 1))
        depth = (len(parameter),) if how == "fraction" else ()
        value, decided = np.full((*depth, number), np.nan), np.ones(number, bool)
        fraction = np.zeros(number)
        rule = OPERATORS[how]
        for i in range(number):
            part = slice(ends[i], ends[i + 1])
            here = known[part]
            v, w, whole = flat[self.pixel[part]][here], self.area[part][here], self.whole[part][here]
            fraction[i] = w.sum() / self.cells[i]
            if v.size:
                least = MARGIN * np.minimum(whole, self.cells[i])
                value[..., i], decided[i] = rule(v, w, whole, least, parameter, exact)
        shape = self.shape
        return Answer(value.reshape(*depth, *shape), fraction.reshape(shape), decided.reshape(shape))


def _mean(v, w, whole, least, parameter, exact):
    return (v * w).sum() / w.sum(), True


def _sum(v, w, whole, least, parameter, exact):
    return (v * w / whole).sum(), True


def _extreme(pick):
    def rule(v, w, whole, least, parameter, exact):
        sure = v if exact else v[w > least]
        return pick(v), sure.size > 0 and pick(sure) == pick(v)

    return rule


def _quantile(v, w, whole, least, q, exact):
    order = np.argsort(v, kind="stable")
    v, share = v[order], np.cumsum(w[order]) / w.sum()
    last = np.append(np.diff(v) > 0, True)  # areas of equal values belong together
    v, share = v[last], share[last]
    at = int(np.argmax(share >= q - TIE))
    near = np.abs(share[:-1] - q)
    decided = bool((near > MARGIN).all() or (exact and ((near > MARGIN) | (near < TIE / 10)).all()))
    if at + 1 < v.size and abs(share[at] - q) <= TIE and 0 < q < 1:
        return (v[at] + v[at + 1]) / 2, decided
    return (v[0] if q <= 0 else v[-1] if q >= 1 else v[at]), decided


def _mode(v, w, whole, least, parameter, exact):
    kinds, index = np.unique(v, return_inverse=True)
    area = np.bincount(index, w)
    gap = (area.max() - area) / area.max()
    rivals = gap[gap > TIE]
    decided = (exact and (rivals > MARGIN).all()) or (gap[np.arange(gap.size) != gap.argmin()] > MARGIN).all()
    return kinds[gap <= TIE].min(), bool(decided)


def _std(v, w, whole, least, parameter, exact):
    mean = (v * w).sum() / w.sum()
    return np.sqrt((w * (v - mean) ** 2).sum() / w.sum()), True


def _power(p):
    """Power means: 0 is the geometric; the limit where a value is 0, nothing where one is negative."""

    def rule(v, w, whole, least, parameter, exact):
        exponent = parameter if p is None else p
        negative, zero = v < 0, v == 0
        decided = exact or not ((negative | zero) & (w <= least)).any()
        if negative.any():
            return np.nan, decided
        if zero.any() and exponent <= 0:
            return 0.0, decided
        if exponent == 0:
            return np.exp((w * np.log(v)).sum() / w.sum()), decided
        return ((w * v**exponent).sum() / w.sum()) ** (1 / exponent), decided

    return rule


def _fraction(v, w, whole, least, classes, exact):
    return [w[v == c].sum() / w.sum() for c in classes], True


OPERATORS = {
    "mean": _mean, "sum": _sum, "min": _extreme(np.min), "max": _extreme(np.max), "quantile": _quantile,
    "mode": _mode, "std": _std, "harmonic": _power(-1), "geometric": _power(0), "power": _power(None),
    "fraction": _fraction,
}  # fmt: skip


def positions(source: GeoBox, target: GeoBox) -> tuple[np.ndarray, np.ndarray]:
    """Column and row (edges at whole numbers) of the target's centres in the source."""
    row, column = np.mgrid[: target.shape[0], : target.shape[1]] + 0.5
    x, y = to_world(target.affine, column, row)
    if target.crs.geographic:
        x = np.remainder(x + 180, 360) - 180
    x, y = (
        np.asarray(v) for v in Transformer.from_crs(target.crs.proj, source.crs.proj, always_xy=True).transform(x, y)
    )
    c, r = to_world(~source.affine, x, y)
    if source.crs.geographic:
        c = np.remainder(c + 1e-9, 360 / abs(source.affine.a)) - 1e-9
    return c, r


def sampled(how: str, source: GeoBox, values: np.ndarray, target: GeoBox, least: float = 0.5) -> Answer:
    """nearest, bilinear and cubic at the centres of the target."""
    c, r = positions(source, target)
    turn = source.crs.geographic and abs(source.shape[1] * abs(source.affine.a) - 360) < 1e-6
    padded = np.pad(np.pad(values, ((2, 2), (0, 0)), constant_values=np.nan), ((0, 0), (2, 2)), mode="wrap")
    if not turn:
        padded[:, :2] = padded[:, -2:] = np.nan
    inside = (c >= -1e-9) & (c <= source.shape[1] + 1e-9) & (r >= -1e-9) & (r <= source.shape[0] + 1e-9)
    c, r = np.where(inside, c, 0.5), np.where(inside, r, 0.5)
    if how == "nearest":
        (j, sure_j), (i, sure_i) = _half_open(c, source.affine.a < 0), _half_open(r, source.affine.e < 0)
        inside &= (i >= 0) & (i < source.shape[0])
        out = np.where(inside, padded[i + 2, j + 2], np.nan)
        return Answer(out, ~np.isnan(out) * 1.0, sure_i & sure_j)
    reach = {"bilinear": (0, 1), "cubic": (-1, 0, 1, 2)}[how]
    i, j = np.floor(r - 0.5).astype(int), np.floor(c - 0.5).astype(int)
    fy, fx = r - 0.5 - i, c - 0.5 - j
    kernel = _hat if how == "bilinear" else _keys
    total, weight, lost = np.zeros(c.shape), np.zeros(c.shape), np.zeros(c.shape)
    for a in reach:
        for b in reach:
            v, w = padded[i + a + 2, j + b + 2], kernel(fy - a) * kernel(fx - b)
            missing = np.isnan(v)
            total += np.where(missing, 0, w * v)
            weight, lost = weight + w * ~missing, np.maximum(lost, np.abs(w) * missing)
    if how == "cubic":  # what has no weight need not be there
        fraction = (inside & (lost < 1e-9)) * 1.0
        return Answer(np.where(fraction > 0, total, np.nan), fraction, (lost < 1e-12) | (lost > MARGIN))
    fraction = np.where(inside, weight, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where((fraction >= least - SLACK) & (fraction > 0), total / weight, np.nan)
    return Answer(value, fraction, np.abs(fraction - least) > MARGIN)


def _half_open(at, falls):
    """The cell [low, high) of increasing coordinate that holds a position, and where that is beyond doubt."""
    edge = np.round(at)
    off = np.abs(at - edge)
    index = np.where(off < 1e-9, edge - falls, np.floor(at)).astype(int)
    return index, (off < 1e-9) | (off > MARGIN)


def _hat(t):
    return np.maximum(1 - np.abs(t), 0)


def _keys(t):
    t, a = np.abs(t), -0.5
    near = (a + 2) * t**3 - (a + 3) * t**2 + 1
    far = a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))
