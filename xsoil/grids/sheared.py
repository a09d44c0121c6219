"""Area operators between grids that are sheared to each other (Albers, homolosine, sinusoidal to EASE ...).

Weights are true overlap areas of the source's curved pixels with the target's cells. Everything that
decides a number depends on (source, target) or on absolute source indices, so that results are the
same bit for bit for any tile, source window and number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.grids import corners
from xsoil.grids.index_map import Array, IndexMap
from xsoil.grids.windows import Windows

if TYPE_CHECKING:
    from xsoil.grids.sheared_rows import Rule, Strips, Tile

VALUE_BOUND = 1e-6
"""Largest error of a mean, relative to the values, for white noise with a standard deviation of 0.4 of
the mean (float64), and of valid fractions."""

EDGE_TOLERANCE = 3e-7
"""Distance [target cells] between true pixel edges and the chords that stand for them; larger by
1/sqrt(L) for source pixels L < 1 target cells wide, as errors then average out."""

NODE_TOLERANCE = 2.5e-7
"""Distance [target cells] between interpolated and exact corners, at the centre of each lattice block;
larger by 1/sqrt(L) likewise."""

FULL = 1e-7
"""Valid fractions this close to 1 are 1: the chords leave gaps of this order."""

GROUP_ROWS = 120
"""Source rows that are summed by themselves before they are added to the rest, in order: the unit of
work of a thread."""

LAYERS = 16
"""Layers (times, depths) that share one pass over the geometry."""

BATCH_PIXELS = 2**26
"""Pixels whose corners are prepared together: bounds the memory of a large window."""

DENSITY_SPACING = 4
"""Target cells between the nodes of the area per cell, where that varies."""

HOWS = ("mean", "sum", "min", "max")
"""Operators of `ShearedOverlap.reduce`."""

_MAX_SEGMENTS = 32

Group = tuple[tuple[int, int], "Strips", corners.Lattice]


class ShearedOverlap:
    """Overlaps of the pixels of `source` with the cells of `target`.

    Parameters
    ----------
    source, target : odc.geo.geobox.GeoBox
        Any CRSs and invertible affines.

    Notes
    -----
    Cheap to make and to pickle: it holds no arrays. Areas are exact in the target's CRS if it is
    equal-area, else true areas on the ellipsoid (EPSG:6933, or LAEA poleward of 80 degrees).
    """

    def __init__(self, source: GeoBox, target: GeoBox) -> None:
        self.source, self.target = source, target
        self._map = IndexMap(source, target)
        self._windows = Windows(self._map)
        self._decide()

    def window(self, rows: slice, cols: slice) -> tuple[slice, slice] | None:
        """Source rows and columns with every pixel that overlaps a tile of the target; None if there is none."""
        return self._windows.window(rows, cols)

    def windows(self, row_edges: Sequence[int], col_edges: Sequence[int]) -> dict[tuple[int, int], tuple[slice, slice]]:
        """`window` of every tile between consecutive edges, by (tile row, tile column); empty ones are left out."""
        return self._windows.windows(row_edges, col_edges)

    def reduce(
        self, values: NDArray[Any], origin: tuple[int, int], rows: slice, cols: slice, how: str, threads: int = 1
    ) -> tuple[NDArray[Any], Array]:
        """Aggregate a window of the source over a tile of the target.

        Parameters
        ----------
        values : array (k, ny, nx)
            Source window (at least that of `window`), NaN where missing.
        origin : tuple of int
            Source (row, column) of ``values[:, 0, 0]``.
        rows, cols : slice
            The tile, in target cells.
        how : {"mean", "sum", "min", "max"}
            Area-weighted mean; sum of value x share of the pixel; extremes of all that overlap.
        threads : int
            Threads to use; the result does not depend on it.

        Returns
        -------
        result : array (k, rows, cols)
            float64 for mean and sum, else the input's dtype; NaN (integers: 0) where nothing is valid.
        valid_fraction : array of float64 (k, rows, cols)
            Valid overlap area / area of the target cell.
        """
        from xsoil.grids import sheared_rows

        if how not in HOWS:
            raise UnknownNameError.of("area operator", how, HOWS)
        values, extreme = _checked(values), how in ("min", "max")
        tile = self._tile(rows, cols)
        work, dtype = _working(values, extreme)
        start = _start(work.dtype, how) if extreme else 0.0
        width = tile.c1 - tile.c0
        layers, cells = len(values), (tile.r1 - tile.r0) * width
        total = np.full((layers, cells), start, dtype=work.dtype if extreme else np.float64)
        area = np.zeros((layers, cells))
        kernel, flag = (
            (sheared_rows.extreme_group, how == "max") if extreme else (sheared_rows.sum_group, how == "mean")
        )
        for groups in self._groups(origin, values.shape[1:], tile, threads):
            for k in range(0, layers, LAYERS):
                layer, these = work[k : k + LAYERS], slice(k, min(k + LAYERS, layers))

                def run(
                    group: Group, part: NDArray[Any], part_area: Array, layer: NDArray[Any] = layer
                ) -> tuple[int, int]:
                    span, strips, lattice = group
                    return kernel(layer, origin, span, strips, lattice, tile, self._rule, flag, part, part_area)

                for span, part, part_area in _in_order(run, groups, (len(layer), cells), total.dtype, start, threads):
                    area[these, span] += part_area
                    block = total[these, span]
                    if extreme:
                        (np.minimum if how == "min" else np.maximum)(block, part, out=block)
                    else:
                        block += part
        result = _finish(total, area, how).reshape(layers, -1, width)
        fraction = area.reshape(layers, -1, width) / self.target_area(rows, cols)
        fraction[np.abs(fraction - 1.0) <= FULL] = 1.0
        return (result.astype(dtype, copy=False) if extreme else result), fraction

    def weights(
        self, origin: tuple[int, int], shape: tuple[int, int], rows: slice, cols: slice
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
        """Overlap areas of a tile as CSR (indptr, indices, areas).

        Rows are the target cells of the tile, row-major; indices are pixels of the window at `origin` of
        that `shape`, row-major and ascending. Areas are in target cells for an equal-area target, in
        columns x authalic rows for a geographic one, else in m2: see `target_area`.
        """
        from xsoil.grids import sheared_rows

        tile = self._tile(rows, cols)
        cells = (tile.r1 - tile.r0) * (tile.c1 - tile.c0)
        found = [
            sheared_rows.list_group(origin, shape[1], span, strips, lattice, tile, self._rule)
            for groups in self._groups(origin, shape, tile, 1)
            for span, strips, lattice in groups
        ]
        indptr = np.zeros(cells + 1, dtype=np.int64)
        if not found:
            return indptr, np.empty(0, dtype=np.int64), np.empty(0)
        cell, pixel, area = (np.concatenate(part) for part in zip(*found))
        order = np.lexsort((pixel, cell))
        cell, pixel, area = cell[order], pixel[order], area[order]
        # A pixel cut by a kink of the projection comes in two pieces.
        new = np.ones(cell.size, dtype=bool)
        new[1:] = (np.diff(cell) != 0) | (np.diff(pixel) != 0)
        (at,) = np.nonzero(new)
        area = np.add.reduceat(area, at) if at.size else area
        np.cumsum(np.bincount(cell[at], minlength=cells), out=indptr[1:])
        return indptr, pixel[at], area

    def target_area(self, rows: slice, cols: slice) -> Array:
        """Areas of the cells of a tile, broadcastable to it, in the units of `weights`."""
        tile = self._tile(rows, cols)
        if self._map.kind == "general":
            column, row = np.meshgrid(np.arange(tile.c0, tile.c1) + 0.5, np.arange(tile.r0, tile.r1) + 0.5)
            return self._map.density(column, row)
        return np.diff(tile.edges[tile.r0 : tile.r1 + 1])[:, None]

    def _tile(self, rows: slice, cols: slice) -> Tile:
        from xsoil.grids.sheared_rows import Tile

        nr, nc = self._map.target_shape
        r0, r1, _ = rows.indices(nr)
        c0, c1, _ = cols.indices(nc)
        if r1 <= r0 or c1 <= c0:
            raise ArgumentError(f"empty tile rows {rows}, columns {cols} of a target of {nr} x {nc} cells")
        density, first_row, first_column = np.empty((0, 0)), 0, 0
        if self._map.kind == "general":
            # Wide enough for the middles of pixels that only reach into the tile.
            margin = 2 + int(np.ceil(self._reach / DENSITY_SPACING))
            row = np.arange(r0 // DENSITY_SPACING - margin, r1 // DENSITY_SPACING + margin + 2)
            column = np.arange(c0 // DENSITY_SPACING - margin, c1 // DENSITY_SPACING + margin + 2)
            at = np.meshgrid(column * float(DENSITY_SPACING), row * float(DENSITY_SPACING))
            density, first_row, first_column = self._map.density(*at), int(row[0]), int(column[0])
        shifts = np.zeros(1)
        if period := self._map.period:
            # Corners lie within one turn of the CRS; pixels may reach over its ends by half of one.
            low, high = self._map.turn
            first, last = np.ceil((c0 - high) / period - 0.5), np.floor((c1 - low) / period + 0.5)
            shifts = np.arange(first, last + 1) * period
        return Tile(
            r0, r1, c0, c1, self._map.row_edges(), self._map.kind != "geographic", density, float(DENSITY_SPACING),
            first_row, first_column, shifts,
        )  # fmt: skip

    def _decide(self) -> None:
        """Choose once, from both grids alone: lattice spacing, chords per edge, size of the largest pixel."""
        columns, rows = self._samples()
        period = self._map.period
        u, v = self._map.forward(columns, rows)
        bend, sides = np.zeros(columns.shape), []
        for dc, dr in ((1.0, 0.0), (0.0, 1.0)):
            ua, va = self._map.forward(columns - dc, rows - dr)
            ub, vb = self._map.forward(columns + dc, rows + dr)
            da, db = corners.turn(ua - u, period), corners.turn(ub - u, period)
            bend = np.fmax(bend, np.hypot(da + db, va - 2 * v + vb) / 8.0)
            sides.append(((db - da) / 2, (vb - va) / 2))
        (cu, cv), (ru, rv) = sides
        area, reach = cu * rv - ru * cv, np.maximum(np.hypot(cu, cv), np.hypot(ru, rv))
        seen = np.isfinite(area)
        if not seen.any():
            area, reach, bend, seen = np.ones(1), np.ones(1), np.zeros(1), np.ones(1, dtype=bool)
        area, reach, bend = area[seen], reach[seen], bend[seen]
        relax = 1.0 / np.sqrt(min(max(float(np.sqrt(np.median(np.abs(area)))), 1e-4), 1.0))
        # A pole or a kink among the samples must not slow all the rest.
        sag = min(float(bend.max()), 8.0 * float(np.median(bend)))
        self._segments = int(np.clip(np.ceil(np.sqrt(sag / (EDGE_TOLERANCE * relax))), 1, _MAX_SEGMENTS))
        self._sag = 2.0 * sag if self._segments > 1 else 0.0
        self._sign = -1.0 if np.median(area) < 0 else 1.0
        self._largest = 8.0 * float(np.abs(area).max())
        self._reach = 2.0 * float(reach.max()) + 2.0
        self._node_tolerance = NODE_TOLERANCE * relax
        self._step = next((n for n in corners.STEPS if self._smooth(columns, rows, n)), corners.STEPS[-1])

    @property
    def _rule(self) -> Rule:
        from xsoil.grids.sheared_rows import Rule

        return Rule(self._segments, self._sag, self._sign, self._largest)

    def _smooth(self, columns: Array, rows: Array, step: int) -> bool:
        """True where a lattice of that spacing is good enough at most of the positions."""
        offsets = np.arange(-1.0, 3.0) * step
        jj, ii = np.meshgrid(offsets, offsets)
        u, v = self._map.forward(columns[:, None, None] + jj, rows[:, None, None] + ii)
        centre = self._map.forward(columns + step / 2, rows + step / 2)
        error = corners.centre_error(u, v, *centre, self._map.period)
        error = error[np.isfinite(error)]
        return error.size > 0 and bool(np.mean(error <= self._node_tolerance) >= 0.75)

    def _samples(self) -> tuple[Array, Array]:
        """Source positions to judge the map by: where both grids overlap, else all over the source."""
        nr, nc = self._map.target_shape
        ny, nx = self._map.source_shape
        t = (np.arange(16) + 0.5) / 16
        column, row = self._map.inverse(*np.meshgrid(t * nc, t * nr))
        if self._map.source_period:
            column = column - self._map.source_period * np.floor(column / self._map.source_period)
        inside = (column > 0) & (column < nx) & (row > 0) & (row < ny)
        if inside.sum() >= 8:
            return column[inside], row[inside]
        column, row = np.meshgrid(t * nx, t * ny)
        return column.ravel(), row.ravel()

    def _groups(
        self, origin: tuple[int, int], shape: Sequence[int], tile: Tile, threads: int
    ) -> Iterator[list[Group]]:
        """Batches of row groups (between absolute multiples of GROUP_ROWS) with their corners."""
        ya, yb, xa, xb = origin[0], origin[0] + shape[0], origin[1], origin[1] + shape[1]
        edges = [ya, *range((ya // GROUP_ROWS + 1) * GROUP_ROWS, yb, GROUP_ROWS), yb]
        groups = list(zip(edges[:-1], edges[1:]))
        size = max(threads, BATCH_PIXELS // (GROUP_ROWS * max(xb - xa, 1)))
        for i in range(0, len(groups), size):
            batch = groups[i : i + size]
            rows, columns = (batch[0][0] - 1, batch[-1][1] + 1), (xa - 1, xb + 1)
            lattice = corners.build(self._map, self._step, self._node_tolerance, rows, columns)
            yield [((xa, xb), _strips(top, bottom, self._map.breaks), lattice) for top, bottom in batch]


def _in_order(
    run: Callable[..., tuple[int, int]],
    groups: list[Group],
    shape: tuple[int, int],
    dtype: np.dtype[Any],
    start: Any,
    threads: int,
) -> Iterator[tuple[slice, NDArray[Any], Array]]:
    """Partial results of all groups, one by one in their order: span of cells, totals, areas.

    Each thread sums into buffers of its own and hands over only the cells that a group has touched.
    """
    spare: list[tuple[NDArray[Any], Array]] = []

    def work(group: Group) -> tuple[slice, NDArray[Any], Array]:
        part, area = spare.pop() if spare else (np.full(shape, start, dtype=dtype), np.zeros(shape))
        first, last = run(group, part, area)
        span = slice(first, last + 1)
        found = span, part[:, span].copy(), area[:, span].copy()
        part[:, span], area[:, span] = start, 0.0
        spare.append((part, area))
        return found

    if threads <= 1 or len(groups) == 1:
        yield from map(work, groups)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(work, groups)


def _strips(ya: int, yb: int, breaks: tuple[float, ...]) -> Strips:
    """The strips of pixels of rows ya <= row < yb: one a row, two where a kink cuts it."""
    from xsoil.grids.sheared_rows import Strips

    lines = [(float(y), -1) for y in range(ya - 1, yb + 2)]
    lines += [(r, n) for n, r in enumerate(breaks) if ya - 1 < r < yb + 1 and r != int(r)]
    lines.sort()
    # Lines along a kink have no second difference across it.
    plain = [n < 0 and r not in breaks for r, n in lines]
    at = [i for i in range(1, len(lines) - 2) if ya <= lines[i][0] < yb]
    return Strips(
        line=np.array([int(np.floor(r)) for r, _ in lines], dtype=np.int64),
        kink=np.array([n for _, n in lines], dtype=np.int64),
        row=np.array([int(np.floor(lines[i][0])) for i in at], dtype=np.int64),
        top=np.array(at, dtype=np.int64),
        bend=np.array([all(plain[i - 1 : i + 2]) + 2 * all(plain[i : i + 3]) for i in at], dtype=np.int64),
        share=np.array([lines[i + 1][0] - lines[i][0] for i in at]),
    )


def _checked(values: NDArray[Any]) -> NDArray[Any]:
    values = np.asarray(values)
    if values.ndim != 3 or values.dtype.kind not in "fiub":
        raise ArgumentError(
            f"expected numbers of shape (layers, rows, columns), found {values.dtype} of shape {values.shape}"
        )
    return values


def _working(values: NDArray[Any], extreme: bool) -> tuple[NDArray[Any], np.dtype[Any]]:
    """Values in one of the dtypes that the kernels are compiled for, and the dtype to return."""
    if values.dtype in (np.float32, np.float64):
        return values, values.dtype
    if extreme and values.dtype.kind in "iu" and values.dtype.itemsize == 8:
        return values, values.dtype
    return values.astype(np.float64), values.dtype


def _start(dtype: np.dtype[Any], how: str) -> Any:
    if dtype.kind == "f":
        return np.inf if how == "min" else -np.inf
    return np.iinfo(dtype).max if how == "min" else np.iinfo(dtype).min


def _finish(total: NDArray[Any], area: Array, how: str) -> NDArray[Any]:
    empty = ~(area > 0.0)
    if how == "mean":
        np.divide(total, area, out=total, where=~empty)
    total[empty] = np.nan if total.dtype.kind == "f" else 0
    return total
