"""A matrix of weights between two grids: cut by target tile, matched with the order of an array, applied."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsoil.errors import GridMismatchError
from xsoil.grids.crs import EASE_GLOBAL, WORLD, crs_text, is_geographic, same_crs, to_world, transformer
from xsoil.threads import in_bands, read_only

Array = NDArray[Any]

OFF_CENTRE = 0.05
"""Distance [cells] up to which a centre of a file is the centre of a cell of the data (files may be float32)."""

LATTICE = 33
"""Centres per axis that are compared."""

SAMPLES = 400
"""Target cells whose weights are held against the grids, where a file has no coordinates."""

BAND = 2**24
"""Weights that are looked at together."""


@dataclass(frozen=True)
class Order:
    """Where the cells of a file lie in an array: its (i, j) is the array's (row + row_step i, column + column_step j).

    Columns count modulo the array's width, so that a file may start at another longitude than the data.
    """

    row: int = 0
    row_step: int = 1
    column: int = 0
    column_step: int = 1

    @classmethod
    def flipped(cls, shape: tuple[int, int], rows: bool, columns: bool) -> Order:
        """The order of an array whose rows, columns or both run the other way."""
        return cls(shape[0] - 1 if rows else 0, -1 if rows else 1, shape[1] - 1 if columns else 0, -1 if columns else 1)

    def to_file(self, rows: Array, columns: Array, width: int) -> tuple[Array, Array]:
        """Row and column in the file of rows and columns of the array."""
        return (rows - self.row) * self.row_step, np.mod((columns - self.column) * self.column_step, width)

    def to_array(self, rows: Array, columns: Array, width: int) -> tuple[Array, Array]:
        """Row and column in the array of rows and columns of the file."""
        return self.row + self.row_step * rows, np.mod(self.column + self.column_step * columns, width)


@dataclass(frozen=True, eq=False)
class WeightMatrix:
    """Weights by target cell (compressed rows): `column[pointer[t]:pointer[t + 1]]` are the source cells of cell t.

    Cells count row by row, from 0, in the order of the file they came from.
    """

    source_shape: tuple[int, int]
    target_shape: tuple[int, int]
    pointer: Array
    column: Array
    weight: Array

    @classmethod
    def of(
        cls, row: Array, column: Array, weight: Array, source_shape: tuple[int, int], target_shape: tuple[int, int]
    ) -> WeightMatrix:
        """From triplets (0-based) in any order; those of a target cell are added in the order of the source."""
        cells = target_shape[0] * target_shape[1]
        small = source_shape[0] * source_shape[1] < 2**31
        step = np.diff(row)
        if (step < 0).any() or ((np.diff(column) < 0) & (step == 0)).any():
            order = np.lexsort((column, row))
            row, column, weight = row[order], column[order], weight[order]
        pointer = np.zeros(cells + 1, np.int64)
        np.cumsum(np.bincount(row, minlength=cells), out=pointer[1:])
        column = column.astype(np.int32 if small else np.int64, copy=False)
        return cls(source_shape, target_shape, pointer, column, weight.astype(np.float64, copy=False))

    @cached_property
    def selects(self) -> bool:
        """True where each target cell is one source cell: such weights have a meaning for classes too."""
        return bool((np.diff(self.pointer) <= 1).all() and (self.weight == 1.0).all())

    @cached_property
    def _reach(self) -> tuple[Array, Array, Array, Array]:
        """First and last source row, first and last source column of each target cell; last < first where none."""
        cells, width = self.pointer.size - 1, self.source_shape[1]
        low_r, low_c = np.full(cells, self.source_shape[0], np.int32), np.full(cells, width, np.int32)
        high_r, high_c = np.full(cells, -1, np.int32), np.full(cells, -1, np.int32)
        for first, last in self._bands():
            held = np.flatnonzero(np.diff(self.pointer[first : last + 1])) + first
            if held.size == 0:
                continue
            start = self.pointer[first]
            r, c = np.divmod(self.column[start : self.pointer[last]], width)
            at = self.pointer[held] - start
            for values, low, high in ((r, low_r, high_r), (c, low_c, high_c)):
                low[held], high[held] = np.minimum.reduceat(values, at), np.maximum.reduceat(values, at)
        return low_r, high_r, low_c, high_c

    def _bands(self) -> Iterator[tuple[int, int]]:
        first, cells = 0, self.pointer.size - 1
        while first < cells:
            last = int(np.searchsorted(self.pointer, self.pointer[first] + BAND, side="right")) - 1
            last = min(max(last, first + 1), cells)
            yield first, last
            first = last

    def window(self, rows: slice, cols: slice, source: Order, target: Order) -> tuple[slice, slice] | None:
        """Source rows and columns (of the data) that a target tile needs; columns may run beyond the data's width."""
        cells = self._cells(rows, cols, target)
        low_r, high_r, low_c, high_c = (reach[cells] for reach in self._reach)
        if (high_r < 0).all():
            return None
        width = self.source_shape[1]
        rows_of = sorted(source.row + source.row_step * np.array([low_r.min(), high_r.max()], np.int64))
        columns_of = sorted(source.column + source.column_step * np.array([low_c.min(), high_c.max()], np.int64))
        start = int(columns_of[0]) % width
        span = int(columns_of[1] - columns_of[0]) + 1
        if start + span > width and span == width:
            start = 0
        return slice(int(rows_of[0]), int(rows_of[1]) + 1), slice(start, start + span)

    def multiply(
        self,
        values: Array,
        origin: tuple[int, int],
        rows: slice,
        cols: slice,
        source: Order,
        target: Order,
        skip_missing: bool,
        threads: int = 1,
    ) -> tuple[Array, Array]:
        """Weighted sums of a target tile.

        Parameters
        ----------
        values : ndarray (k, ny, nx)
            float32 or float64 source window whose first cell is `origin`; NaN is missing.
        origin : tuple of int
        rows, cols : slice
            The tile, in cells of the target array.
        source, target : Order
            How the file's cells lie in the two arrays.
        skip_missing : bool
            Leave missing values out; else one that has a weight makes the cell missing.
        threads : int

        Returns
        -------
        total, share : ndarray of float64 (k, rows, cols)
            Sum of weight x value, and sum of the weights of valid values; NaN and 0 for a cell without weights.
        """
        from xsoil.grids.sparse_kernels import weighted_sums

        cells = self._cells(rows, cols, target).ravel()
        total, share = np.empty((len(values), cells.size)), np.empty((len(values), cells.size))
        values = read_only(np.ascontiguousarray(values))
        lies = (source.row - origin[0], source.row_step, source.column - origin[1], source.column_step)
        pointer, column, weight = (read_only(a) for a in (self.pointer, self.column, self.weight))
        where = read_only(cells)

        def band(first: int, last: int) -> None:
            weighted_sums(
                values, pointer, column, weight, where, self.source_shape[1], lies, skip_missing, first, last,
                total, share,
            )  # fmt: skip

        in_bands(band, cells.size, threads, smallest=1024)
        shape = (len(values), rows.stop - rows.start, cols.stop - cols.start)
        return total.reshape(shape), share.reshape(shape)

    def _cells(self, rows: slice, cols: slice, target: Order) -> Array:
        width = self.target_shape[1]
        r, c = target.to_file(np.arange(rows.start, rows.stop), np.arange(cols.start, cols.stop), width)
        return np.asarray(r[:, None] * width + c[None, :])


def centres(box: GeoBox, rows: Array, columns: Array) -> tuple[Array, Array]:
    """Longitude and latitude [degrees, WGS84] of cell centres; `rows` and `columns` may be fractional."""
    x, y = to_world(box.affine, columns + 0.5, rows + 0.5)
    if is_geographic(crs_text(box)):
        return np.asarray(x), np.asarray(y)
    lon, lat = transformer(crs_text(box), "EPSG:4326").transform(x, y)
    return np.asarray(lon), np.asarray(lat)


def positions(box: GeoBox, lon: Array, lat: Array) -> tuple[Array, Array]:
    """Fractional row and column (cell centres are whole numbers) of places; columns within a turn of the first."""
    text = crs_text(box)
    x, y = (lon, lat) if is_geographic(text) else transformer("EPSG:4326", text).transform(lon, lat)
    column, row = to_world(~box.affine, np.asarray(x), np.asarray(y))
    period = turn(box)
    if period is not None:
        column = np.mod(column + 1e-6 * period, period) - 1e-6 * period
    return row - 0.5, column - 0.5


def turn(box: GeoBox) -> float | None:
    """Columns of a full turn of longitude; None where the columns do not run along it."""
    a, text = box.affine, crs_text(box)
    if a.b or a.d:
        return None
    if is_geographic(text):
        return float(abs(360.0 / a.a))
    return float(abs(WORLD / a.a)) if same_crs(text, EASE_GLOBAL) else None


def order_of(box: GeoBox, lon: Array, lat: Array, what: str) -> Order:
    """How the cells of a file lie in an array on `box`.

    Parameters
    ----------
    lon, lat : ndarray (rows, columns)
        Centres of the file's cells [degrees].
    what : str
        "source" or "target", for the error.

    Raises
    ------
    GridMismatchError
        The file's centres are not those of the cells of `box`.
    """
    shape = box.shape[0], box.shape[1]
    i, j = (np.unique(np.linspace(0, n - 1, min(n, LATTICE)).astype(int)) for n in shape)
    ii, jj = (a.ravel() for a in np.meshgrid(i, j, indexing="ij"))
    row, column = positions(box, lon[ii, jj], lat[ii, jj])
    period = turn(box)

    def close(a: Array | float, b: Array | float, cycle: float | None) -> Any:
        off = np.abs(np.asarray(a) - b)
        return np.minimum(off, np.abs(cycle - off)) <= OFF_CENTRE if cycle is not None else off <= OFF_CENTRE

    cyclic = period is not None and abs(period - shape[1]) < OFF_CENTRE
    for rows_flip in (False, True):
        for columns_flip in (False, True):
            order = Order.flipped(shape, rows_flip, columns_flip)
            if cyclic and np.isfinite(column[0]):
                first = round(float(column[0])) % shape[1]  # a file that starts at another longitude
                order = Order(order.row, order.row_step, first, order.column_step)
            r, c = order.row + order.row_step * ii, order.column + order.column_step * jj
            c = np.mod(c, shape[1]) if cyclic else c
            with np.errstate(invalid="ignore"):
                if bool((close(row, r, None) & close(column, c, period)).all()):
                    return order
    ours = centres(box, np.array([0, shape[0] - 1]), np.array([0, shape[1] - 1]))
    raise GridMismatchError(
        f"the weights are for another {what}: the file's first cell lies at {lon[0, 0]:.6g} E, {lat[0, 0]:.6g} N and "
        f"its last at {lon[-1, -1]:.6g} E, {lat[-1, -1]:.6g} N; expected the cells of the {what} grid, from "
        f"{ours[0][0]:.6g} E, {ours[1][0]:.6g} N to {ours[0][1]:.6g} E, {ours[1][1]:.6g} N (in any direction). "
        "Give the grids that the weights were made for, or make weights for these: xsoil.save_weights(...)"
    )


def require_fit(matrix: WeightMatrix, source: GeoBox, target: GeoBox, ours: Order, theirs: Order) -> None:
    """Raise where weights without coordinates lead from places far away: grids of the same shape that run otherwise.

    The source cells of a target cell must lie around that cell; half of a sample may fail, as weights to the nearest
    valid cell may lead far. `ours` and `theirs` are the orders of the source and of the target.
    """
    held = np.flatnonzero(np.diff(matrix.pointer))
    if held.size == 0:
        return
    cells = held[np.linspace(0, held.size - 1, min(held.size, SAMPLES)).astype(int)]
    if _fits(matrix, cells, source, target, ours, theirs):
        return
    turns = [(rows, columns) for rows in (False, True) for columns in (False, True)]
    hint = ""
    for at_target, at_source in itertools.product(turns, turns):  # the source first
        both = Order.flipped(matrix.source_shape, *at_source), Order.flipped(matrix.target_shape, *at_target)
        if _fits(matrix, cells, source, target, *both):
            flips = [
                f"{axis} of the {grid}"
                for grid, turned in (("source", at_source), ("target", at_target))
                for axis, flip in zip(("rows", "columns"), turned, strict=True)
                if flip
            ]
            hint = f"They would fit with the {' and the '.join(flips)} reversed: ds.isel(...=slice(None, None, -1)). "
            break
    raise GridMismatchError(
        "the weights do not belong to these two grids: the source cells of a target cell do not lie around it, and "
        f"the file has no coordinates to match them by. {hint}"
        "Give the grids that the weights were made for, in their order, or make weights for these: "
        "xsoil.save_weights(...)"
    )


def _fits(
    matrix: WeightMatrix, cells: Array, source: GeoBox, target: GeoBox, source_order: Order, target_order: Order
) -> bool:
    row, column = target_order.to_array(*np.divmod(cells, matrix.target_shape[1]), matrix.target_shape[1])
    goal_r, goal_c = positions(source, *centres(target, row, column))
    period, near = turn(source), 0
    for n, cell in enumerate(cells):
        part = slice(int(matrix.pointer[cell]), int(matrix.pointer[cell + 1]))
        r, c = source_order.to_array(*np.divmod(matrix.column[part], matrix.source_shape[1]), matrix.source_shape[1])
        c = c - goal_c[n]
        if period is not None:
            c = c - period * np.round(c / period)
        # As wide as the cell itself, and a cell more for weights between centres.
        off_r, off_c = abs(r.mean() - goal_r[n]), abs(c.mean())
        near += bool(off_r <= np.ptp(r) / 2 + 1.5 and off_c <= np.ptp(c) / 2 + 1.5)
    return near >= 0.5 * len(cells)
