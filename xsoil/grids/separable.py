"""Overlap of two grids whose axes stay aligned in the working CRS: a product of two 1-D overlaps.

Longitude-latitude to EASE-Grid 2.0 Global is such a pair: meridians and parallels map to straight lines
along the axes, so that the overlap area is exactly (length along x) * (length along y).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from xsoil.errors import ArgumentError, AxisError, UnknownNameError
from xsoil.grids.crs import EASE_GLOBAL, WORLD, axis_edges, crs_text, is_geographic, working_crs
from xsoil.threads import in_bands

SLIVER = 1e-9
"""Overlaps below this fraction of the smaller cell are rounding, and dropped."""


@dataclass(frozen=True)
class AxisOverlap:
    """For each target cell of an axis the source cells that it overlaps, in increasing coordinate.

    `source[pointer[i]:pointer[i + 1]]` are their indices (beyond 0..n-1 where a periodic axis is
    continued), `length` the overlaps and `fraction` the overlaps as a fraction of the source cell.
    """

    pointer: np.ndarray
    source: np.ndarray
    length: np.ndarray
    fraction: np.ndarray
    target_length: np.ndarray

    def window(self, cells: slice) -> tuple[int, int] | None:
        """First and last + 1 source index that these target cells need."""
        cells = self._within(cells)
        found = self.source[self.pointer[cells.start] : self.pointer[cells.stop]]
        return (int(found.min()), int(found.max()) + 1) if found.size else None

    def spans(self) -> tuple[np.ndarray, np.ndarray]:
        """First and last + 1 source index of every target cell; both 0 where it overlaps none."""
        first, last = np.zeros((2, self.pointer.size - 1), np.int64)
        some = np.diff(self.pointer) > 0
        starts = self.pointer[:-1][some]
        if starts.size:
            first[some] = np.minimum.reduceat(self.source, starts)
            last[some] = np.maximum.reduceat(self.source, starts) + 1
        return first, last

    def part(self, cells: slice, origin: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Pointer, source index relative to `origin`, length and fraction of some target cells."""
        cells = self._within(cells)
        first, last = self.pointer[cells.start], self.pointer[cells.stop]
        pointer = self.pointer[cells.start : cells.stop + 1] - first
        return pointer, self.source[first:last] - origin, self.length[first:last], self.fraction[first:last]

    def _within(self, cells: slice) -> slice:
        """The slice with both its ends."""
        return slice(*cells.indices(self.pointer.size - 1)[:2])


def overlap_axis(source: np.ndarray, target: np.ndarray, period: float | None = None) -> AxisOverlap:
    """Overlap of two axes given by their edges (each ascending or descending).

    Parameters
    ----------
    source, target : ndarray
        Edges [working CRS]; n + 1 for n cells.
    period : float, optional
        Period of the axis. A source that spans it whole is continued beyond its ends; one that
        does not is found wherever it lies modulo the period.
    """
    n = source.size - 1
    flip = source[-1] < source[0]
    edges = source[::-1] if flip else source
    cells = target.size - 1
    turned = target[-1] < target[0]
    goal = target[::-1] if turned else target
    width = np.diff(edges)
    span = edges[-1] - edges[0]
    shifts, cyclic = np.array([0.0]), False
    if period is not None:
        smallest = float(width[width > 0].min()) if (width > 0).any() else period
        if span > period + 1e-6 * smallest:
            raise AxisError(
                f"the longitude axis spans {span / period * 360:.6g} degrees, more than a full turn; "
                "drop the repeated columns, e.g. ds.isel(lon=slice(0, -1))"
            )
        cyclic = span > period - 1e-6 * smallest
        low = int(np.floor((goal[0] - edges[-1]) / period))
        high = int(np.ceil((goal[-1] - edges[0]) / period))
        shifts = np.arange(low, high + 1) * period
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for shift in shifts:
        moved = edges + shift
        # All breaks of both axes cut the line into pieces; each lies in one source and one target cell.
        lo, hi = max(moved[0], goal[0]), min(moved[-1], goal[-1])
        if hi <= lo:
            continue
        inside_s = moved[(moved > lo) & (moved < hi)]
        inside_t = goal[(goal > lo) & (goal < hi)]
        breaks = np.concatenate([[lo], np.sort(np.concatenate([inside_s, inside_t]), kind="stable"), [hi]])
        length = np.diff(breaks)
        centre = breaks[:-1] + 0.5 * length
        s = np.clip(np.searchsorted(moved, centre, side="right") - 1, 0, n - 1)
        t = np.clip(np.searchsorted(goal, centre, side="right") - 1, 0, cells - 1)
        keep = length > SLIVER * np.minimum(width[s], np.diff(goal)[t])
        # A source cell that loses a sliver gives it to its other pieces, so that totals are kept.
        whole = np.bincount(s, length, minlength=n)
        kept = np.bincount(s[keep], length[keep], minlength=n)
        length = length * np.where(kept > 0, whole / np.where(kept > 0, kept, 1.0), 1.0)[s]
        index = (n - 1 - s) if flip else s
        if cyclic:
            turns = round(float(shift / period)) if period else 0
            index = index + (-turns if flip else turns) * n
        parts.append((t[keep], index[keep], length[keep]))
    if parts:
        t, s, length = (np.concatenate(column) for column in zip(*parts, strict=True))
    else:
        t, s, length = np.zeros(0, int), np.zeros(0, int), np.zeros(0)
    if turned:
        t = cells - 1 - t
    order = np.argsort(t, kind="stable")
    t, s, length = t[order], s[order], length[order]
    pointer = np.zeros(cells + 1, np.int64)
    np.cumsum(np.bincount(t, minlength=cells), out=pointer[1:])
    source_width = np.abs(np.diff(source))[np.mod(s, n)]
    return AxisOverlap(pointer, s.astype(np.int64), length, length / source_width, np.abs(np.diff(target)))


@lru_cache(maxsize=32)
def _axes(source: GeoBox, target: GeoBox) -> tuple[AxisOverlap, AxisOverlap] | None:
    working = working_crs(target)
    turned, offset = from_the_dateline(source)
    ours, theirs = axis_edges(turned, working), axis_edges(target, working)
    if ours is None or theirs is None:
        return None
    period = WORLD if working == EASE_GLOBAL else None
    columns = overlap_axis(ours[0], theirs[0], period)
    return overlap_axis(ours[1], theirs[1]), replace(columns, source=columns.source + offset)


def from_the_dateline(source: GeoBox) -> tuple[GeoBox, int]:
    """A global longitude axis that starts at the dateline, and which column that is.

    So 0-360, +-180 and rolled axes give the same edges, and with them the same bits.
    """
    a, (rows, columns) = source.affine, source.shape
    if a.b or a.d or a.a <= 0 or not is_geographic(crs_text(source)) or abs(columns * a.a - 360.0) > 1e-6 * a.a:
        return source, 0
    step = 360.0 / columns
    first = int(np.ceil((180.0 - a.c) / step - 1e-6))
    left = a.c + first * step - 360.0
    if abs(left + 180.0) < 1e-6 * step:
        left = -180.0
    return GeoBox((rows, columns), Affine(step, 0.0, left, 0.0, a.e, a.f), source.crs), first % columns


@dataclass(frozen=True)
class SeparableOverlap:
    """Overlap of two grids as the product of `rows` and `columns`; small, picklable, made per worker."""

    source: GeoBox
    target: GeoBox

    @classmethod
    def of(cls, source: GeoBox, target: GeoBox) -> SeparableOverlap | None:
        """The overlap, or None where the axes do not stay aligned."""
        return None if _axes(source, target) is None else cls(source, target)

    @cached_property
    def _both(self) -> tuple[AxisOverlap, AxisOverlap]:
        axes = _axes(self.source, self.target)
        if axes is None:
            raise AxisError("the grids are not aligned in one CRS")
        return axes

    def __getstate__(self) -> dict[str, Any]:
        return {"source": self.source, "target": self.target}

    @property
    def rows(self) -> AxisOverlap:
        return self._both[0]

    @property
    def columns(self) -> AxisOverlap:
        return self._both[1]

    def window(self, rows: slice, cols: slice) -> tuple[slice, slice] | None:
        """Source rows and columns that a target tile overlaps; columns may run beyond a periodic axis."""
        along_y, along_x = self.rows.window(rows), self.columns.window(cols)
        if along_y is None or along_x is None:
            return None
        return slice(*along_y), slice(*along_x)

    def reduce(
        self, values: np.ndarray, origin: tuple[int, int], rows: slice, cols: slice, how: str, threads: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Reduce a source window onto a target tile.

        Parameters
        ----------
        values : ndarray (k, ny, nx)
            Source window whose first cell is `origin`; NaN is missing.
        origin : tuple of int
            Row and column of ``values[:, 0, 0]`` in the source.
        rows, cols : slice
            The target tile.
        how : {"mean", "sum", "min", "max"}
        threads : int
            Bands of target rows are reduced side by side; the numbers do not depend on it.

        Returns
        -------
        result : ndarray (k, rows, cols)
            float64 for mean and sum, the input's dtype for min and max; NaN (0 for integers) where nothing is valid.
        fraction : ndarray (k, rows, cols)
            Valid overlap as a fraction of the target cell's area.
        """
        from xsoil.grids import separable_kernels as kernels

        values, (yp, ys, yl, yf), (xp, xs, xl, xf), height, width = self._pieces(values, origin, rows, cols)
        shape = (values.shape[0], yp.size - 1, xp.size - 1)
        fraction = np.empty(shape)
        if how in ("mean", "sum"):
            result = np.empty(shape)
            wy, wx = (yl, xl) if how == "mean" else (yf, xf)

            def band(first: int, last: int) -> None:
                kernels.weighted_sums(
                    values, yp, ys, yl, wy, xp, xs, xl, wx, height, width, how == "mean", first, last, result, fraction
                )
        else:
            result = np.empty(shape, values.dtype)
            sign = values.dtype.type(1 if how == "max" else -1)

            def band(first: int, last: int) -> None:
                kernels.extremes(values, yp, ys, yl, xp, xs, xl, height, width, sign, first, last, result, fraction)

        in_bands(band, shape[1], threads)
        return result, np.minimum(fraction, 1.0, out=fraction)  # products of lengths may round to 1 + 2e-16

    def select(
        self,
        values: np.ndarray,
        origin: tuple[int, int],
        rows: slice,
        cols: slice,
        how: str,
        parameter: Any = None,
        threads: int = 1,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Order statistics, class fractions or the standard deviation of a source window on a target tile.

        Parameters
        ----------
        values : ndarray (k, ny, nx) of float32 or float64
            As for `reduce`; infinities are values like any other.
        origin, rows, cols, threads
            As for `reduce`.
        how : {"quantile", "mode", "std", "fraction"}
            Area-weighted; see `parameter`. "mode" takes the smallest of values whose areas tie within 1e-9;
            "std" is that of the population.
        parameter : float or ndarray, optional
            For "quantile" q between 0 and 1: the smallest value whose cumulative share of the valid area reaches q,
            or the mean of that and the next where it does so within 1e-9. For "fraction" the classes (1-D): what
            share of the valid area each has.

        Returns
        -------
        result : ndarray of float64 (k, rows, cols), for "fraction" (k, classes, rows, cols)
            NaN where nothing is valid.
        fraction : ndarray (k, rows, cols)
            As from `reduce`.

        Raises
        ------
        UnknownNameError
            For another `how`.
        ArgumentError
            For values that are not float32 or float64, q outside 0..1 or classes that are not 1-D.
        """
        from xsoil.grids import order_kernels, separable_order

        codes = {"quantile": order_kernels.QUANTILE, "mode": order_kernels.MODE, "fraction": order_kernels.FRACTION}
        if how not in (*codes, "std"):
            raise UnknownNameError.of("order operator", how, (*codes, "std"))
        if values.dtype not in (np.float32, np.float64):
            raise ArgumentError(f"expected values of float32 or float64, found {values.dtype}; convert with .astype")
        q, classes = checked_parameter(how, parameter)
        values, (yp, ys, yl, _), (xp, xs, xl, _), height, width = self._pieces(values, origin, rows, cols)
        classes = classes.astype(values.dtype)
        fraction = np.empty((values.shape[0], yp.size - 1, xp.size - 1))
        result = np.empty((fraction.shape[0], classes.size if how == "fraction" else 1, *fraction.shape[1:]))
        bits = values.view(np.int32 if values.dtype == np.float32 else np.int64)

        def band(first: int, last: int) -> None:
            if how == "std":
                separable_order.deviations(
                    values, yp, ys, yl, xp, xs, xl, height, width, first, last, result[:, 0], fraction
                )
            else:
                separable_order.select(
                    values, bits, yp, ys, yl, xp, xs, xl, height, width, codes[how], q, classes, first, last,
                    result, fraction,
                )  # fmt: skip

        in_bands(band, fraction.shape[1], threads)
        return (result if how == "fraction" else result[:, 0]), np.minimum(fraction, 1.0, out=fraction)

    def _pieces(self, values: np.ndarray, origin: tuple[int, int], rows: slice, cols: slice) -> tuple[Any, ...]:
        """The window in C order, both axes' parts relative to it, heights and widths of the tile's cells."""
        yp, ys, yl, yf = self.rows.part(rows, origin[0])
        xp, xs, xl, xf = self.columns.part(cols, origin[1])
        if values.shape[2] == self.source.shape[1]:
            xs = np.mod(xs, values.shape[2])  # a whole periodic axis: columns beyond its ends are those inside
        values, flipped = in_c_order(values)
        if flipped:
            ys = values.shape[1] - 1 - ys
        return (
            values, (yp, ys, yl, yf), (xp, xs, xl, xf), self.rows.target_length[rows], self.columns.target_length[cols]
        )  # fmt: skip


def checked_parameter(how: str, parameter: Any) -> tuple[float, np.ndarray]:
    """q and classes of an order operator; each is empty where it has none."""
    if how == "quantile":
        if not isinstance(parameter, (int, float, np.number)) or not 0.0 <= parameter <= 1.0:
            raise ArgumentError(f"expected a quantile q between 0 and 1, found {parameter!r}")
        return float(parameter), np.empty(0)
    if how == "fraction":
        classes = np.asarray(parameter)
        if classes.ndim != 1 or classes.dtype.kind not in "fiub":
            raise ArgumentError(f"expected a 1-D array of classes, found {parameter!r}")
        return 0.5, classes
    return 0.5, np.empty(0)


def in_c_order(values: np.ndarray) -> tuple[np.ndarray, bool]:
    """The window in C order, without a copy where only its rows are reversed."""
    if values.flags.c_contiguous:
        return values, False
    upside_down = values[:, ::-1]
    if upside_down.flags.c_contiguous:
        return upside_down, True
    return np.ascontiguousarray(values), False
