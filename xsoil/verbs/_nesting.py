"""Fine cells nested in coarse ones: which window of a fine map a coarse cell sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsoil.errors import GridMismatchError, NoOverlapError
from xsoil.grids.crs import EASE_GLOBAL, WORLD, crs_text, is_geographic, same_crs

__all__ = ["Axis", "Nesting", "nest"]

TOLERANCE = 1e-3
"""Edges that coincide to this share of a fine cell are the same."""

Index = NDArray[np.intp]
Cut = tuple[list[slice], int, int]
"""Slices of an axis one after the other, and how many cells are missing before and after them."""


@dataclass(frozen=True)
class Axis:
    """One axis: coarse cell `i` holds the fine cells ``start + i * step`` and the `factor` - 1 after it.

    `reverse` where the fine axis runs south to north, or east to west: patches are north-up all the same. `period` is
    the number of fine cells around the Earth, where the fine axis goes all around.
    """

    start: int
    step: int
    size: int
    coarse: int
    reverse: bool
    period: int | None = None

    @property
    def factor(self) -> int:
        return abs(self.step)

    def first(self, cells: Index) -> Index:
        """First fine cell of coarse cells."""
        return np.asarray(self.start + cells * self.step, np.intp)

    def inside(self) -> slice:
        """Coarse cells that overlap the fine axis."""
        cells = np.arange(self.coarse)
        first = self.first(cells)
        seen = np.flatnonzero((first + self.factor > 0) & (first < self.size)) if self.period is None else cells
        return slice(int(seen[0]), int(seen[-1]) + 1) if len(seen) else slice(0, 0)

    def window(self, cells: Index, ring: int) -> tuple[int, int]:
        """First and last + 1 fine cell that these coarse cells see; may run beyond the axis."""
        first = self.first(cells)
        return int(first.min()) - ring, int(first.max()) + self.factor + ring

    def pieces(self, low: int, high: int) -> Cut:
        """The window from `low` to `high`, which may lie beyond the axis."""
        if self.period is not None:
            found = []
            at = low
            while at < high:
                inside = at % self.period
                stop = min(self.period, inside + high - at)
                found.append(slice(inside, stop))
                at += stop - inside
            return found, 0, 0
        a, b = min(max(low, 0), self.size), max(min(high, self.size), 0)
        if b <= a:
            return [], high - low, 0
        return [slice(a, b)], a - low, high - b


@dataclass(frozen=True)
class Nesting:
    """Both axes, and the `ring` of further fine cells that a patch has on each side."""

    rows: Axis
    columns: Axis
    ring: int

    @property
    def patch(self) -> int:
        """Rows and columns of a patch."""
        return self.rows.factor + 2 * self.ring

    def cut(self, window: np.ndarray, low: tuple[int, int], rows: Index, columns: Index) -> np.ndarray:
        """Patches (n, channels, patch, patch) of coarse cells from a fine window (channels, ny, nx).

        `low` is the fine cell of the window's corner, negative or beyond the axis where the window was filled up.
        """
        views = np.lib.stride_tricks.sliding_window_view(window, (self.patch, self.patch), axis=(1, 2))
        r = self.rows.first(rows) - self.ring - low[0]
        c = self.columns.first(columns) - self.ring - low[1]
        found = np.moveaxis(views[:, r, c], 1, 0)
        flips = tuple(slice(None, None, -1 if axis.reverse else 1) for axis in (self.rows, self.columns))
        return np.ascontiguousarray(found[:, :, flips[0], flips[1]])

    def spans(self, rows: slice, columns: slice) -> tuple[Cut, Cut]:
        """The window of a tile of coarse cells, along both axes."""
        cuts = [
            axis.pieces(*axis.window(np.arange(part.start, part.stop), self.ring))
            for axis, part in ((self.rows, rows), (self.columns, columns))
        ]
        return cuts[0], cuts[1]

    def cut_tile(self, window: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """Patches (rows, columns, channels, patch, patch) of a tile from its window."""
        r, c = np.meshgrid(np.arange(rows.start, rows.stop), np.arange(columns.start, columns.stop), indexing="ij")
        low = (self.rows.window(r, self.ring)[0], self.columns.window(c, self.ring)[0])
        return self.cut(window, low, r.ravel(), c.ravel()).reshape(*r.shape, -1, self.patch, self.patch)


def nest(fine: GeoBox, coarse: GeoBox, ring: int) -> Nesting:
    """How a fine grid nests in a coarse one.

    Raises
    ------
    GridMismatchError
        Another CRS, a ratio that is no whole number, edges that do not coincide.
    NoOverlapError
        No fine cell in any coarse cell.
    """
    hint = (
        "bring the predictors to a grid that nests, e.g. ds.soil.upscale('EASE2_M01km') for EASE-Grid 9 or 36 km, or "
        "ds.soil.upscale(observations) for one value per cell"
    )
    if not same_crs(crs_text(fine), crs_text(coarse)):
        raise GridMismatchError(f"the predictors are in {fine.crs}, the observations in {coarse.crs}; {hint}")
    a, b = fine.affine, coarse.affine
    if a.b or a.d or b.b or b.d:
        raise GridMismatchError(f"a rotated grid; expected rows and columns along the axes of the CRS: {hint}")
    whole = 360.0 if is_geographic(crs_text(fine)) else WORLD if same_crs(crs_text(fine), EASE_GLOBAL) else None
    around = whole is not None and abs(abs(a.a) * fine.shape.x - whole) < TOLERANCE * abs(a.a)
    rows = _axis("rows", (a.f, a.e, fine.shape.y), (b.f, b.e, coarse.shape.y), a.e > 0, None, hint)
    period = fine.shape.x if around else None
    columns = _axis("columns", (a.c, a.a, fine.shape.x), (b.c, b.a, coarse.shape.x), a.a < 0, period, hint)
    if rows.factor != columns.factor:
        raise GridMismatchError(
            f"{rows.factor} x {columns.factor} predictor cells in a cell; expected as many rows as columns: {hint}"
        )
    for axis in (rows, columns):
        if axis.inside() == slice(0, 0):
            raise NoOverlapError("the predictors and the observations have no cell in common; compare their extents")
    return Nesting(rows, columns, ring)


def _axis(
    what: str,
    fine: tuple[float, float, int],
    coarse: tuple[float, float, int],
    reverse: bool,
    period: int | None,
    hint: str,
) -> Axis:
    origin, cell, size = fine
    edge, step, count = coarse
    ratio = step / cell
    factor = round(abs(ratio))
    ends: Sequence[float] = [(edge + at * step - origin) / cell for at in (0, count)]
    if (
        factor < 1
        or abs(abs(ratio) - factor) * count > TOLERANCE
        or any(abs(end - round(end)) > TOLERANCE for end in ends)
    ):
        raise GridMismatchError(
            f"the {what} of the predictors (cells of {abs(cell):g}) do not nest in those of the observations (cells of "
            f"{abs(step):g}, {abs(ratio):.6g} predictor cells, first edge at {ends[0]:.6g}); {hint}"
        )
    sign = 1 if ratio > 0 else -1
    start = round(ends[0]) if sign > 0 else round(ends[0]) - factor
    return Axis(start, sign * factor, size, count, reverse, period)
