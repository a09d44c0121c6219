"""Area operators between grids that are sheared to each other (Albers, homolosine, sinusoidal to EASE ...).

Weights are true overlap areas of the source's curved pixels with the target's cells. Everything that
decides a number depends on (source, target) or on absolute source indices, so that results are the
same bit for bit for any tile, source window and number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.grids import corners
from xsoil.grids.index_map import Array, IndexMap
from xsoil.grids.windows import Windows

VALUE_BOUND = 1e-6
"""Largest error of a mean, relative to the values, for white noise with a standard deviation of 0.4 of
the mean (float64); overlap areas are exact to about this share of a target cell."""

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

_MAX_SEGMENTS = 32
_HOWS = {"mean": 0, "sum": 1, "min": 2, "max": 3}


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
        """Source rows and columns that hold every pixel which overlaps a tile of the target; None if there is none."""
        return self._windows.window(rows, cols)

    def windows(self, row_edges: Sequence[int], col_edges: Sequence[int]) -> dict[tuple[int, int], tuple[slice, slice]]:
        """`window` of every tile between consecutive edges, by (tile row, tile column); tiles without source are left out."""
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

        if how not in _HOWS:
            raise UnknownNameError.of("area operator", how, _HOWS)
        values = _checked(values)
        r0, r1, c0, c1 = self._tile(rows, cols)
        extreme = how in ("min", "max")
        work, back = _working(values, extreme)
        k, cells = values.shape[0], (r1 - r0) * (c1 - c0)
        start = _start(work.dtype, how) if extreme else 0.0
        dtype = work.dtype if extreme else np.dtype(np.float64)
        total, area = np.full((k, cells), start, dtype=dtype), np.zeros((k, cells))
        tw = c1 - c0
        for k0 in range(0, k, LAYERS):
            layers = work[k0 : k0 + LAYERS]

            def one(
                group: tuple[int, int], layers: NDArray[Any] = layers
            ) -> tuple[int, int, NDArray[Any], Array] | None:
                args = self._group(group, origin, layers.shape[1:], (r0, r1, c0, c1))
                if args is None:
                    return None
                part, part_area = np.full((len(layers), cells), start, dtype=dtype), np.zeros((len(layers), cells))
                first, last = sheared_rows.reduce_group(layers, *origin, *args, _HOWS[how], part, part_area)
                if first >= last:
                    return None
                span = slice(first * tw, last * tw)
                return first, last, part[:, span].copy(), part_area[:, span].copy()

            groups = _groups(origin[0], layers.shape[1])
            if threads > 1 and len(groups) > 1:
                with ThreadPoolExecutor(threads) as pool:
                    parts = list(pool.map(one, groups))
            else:
                parts = [one(group) for group in groups]
            for found in parts:
                if found is None:
                    continue
                first, last, part, part_area = found
                span = slice(first * tw, last * tw)
                area[k0 : k0 + LAYERS, span] += part_area
                block = total[k0 : k0 + LAYERS, span]
                if how == "min":
                    np.minimum(block, part, out=block)
                elif how == "max":
                    np.maximum(block, part, out=block)
                else:
                    block += part
        shape = (k, r1 - r0, c1 - c0)
        result = _finish(total, area, how).reshape(shape)
        fraction = area.reshape(shape) / self.target_area(rows, cols)
        fraction[np.abs(fraction - 1.0) <= FULL] = 1.0
        return (result.astype(back) if extreme else result), fraction

    def weights(
        self, origin: tuple[int, int], shape: tuple[int, int], rows: slice, cols: slice
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
        """Overlap areas of a tile as CSR (indptr, indices, areas).

        Row: target cell of the tile, row-major. Indices: pixels of the window (row-major), ascending.
        Areas: in target cells ("equal-area"), columns x authalic rows ("geographic") or m2 ("general").
        """
        from xsoil.grids import sheared_rows

        r0, r1, c0, c1 = self._tile(rows, cols)
        found = []
        for group in _groups(origin[0], shape[0]):
            args = self._group(group, origin, shape, (r0, r1, c0, c1))
            if args is not None:
                found.append(sheared_rows.list_group(shape[1], *origin, *args))
        cells = (r1 - r0) * (c1 - c0)
        if not found:
            return np.zeros(cells + 1, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0)
        cell, pixel, area = (np.concatenate(part) for part in zip(*found))
        order = np.lexsort((pixel, cell))
        cell, pixel, area = cell[order], pixel[order], area[order]
        # A pixel cut by a kink of the projection comes in two pieces.
        new = np.ones(cell.size, dtype=bool)
        new[1:] = (np.diff(cell) != 0) | (np.diff(pixel) != 0)
        (at,) = np.nonzero(new)
        area = np.add.reduceat(area, at) if at.size else area
        indptr = np.zeros(cells + 1, dtype=np.int64)
        np.cumsum(np.bincount(cell[at], minlength=cells), out=indptr[1:])
        return indptr, pixel[at], area

    def target_area(self, rows: slice, cols: slice) -> Array:
        """Areas of the cells of a tile, broadcastable to it, in the units of `weights`."""
        r0, r1, c0, c1 = self._tile(rows, cols)
        if self._map.kind == "general":
            c, r = np.meshgrid(np.arange(c0, c1) + 0.5, np.arange(r0, r1) + 0.5)
            return self._map.density(c, r)
        return np.diff(self._map.row_edges()[r0 : r1 + 1])[:, None]

    def _tile(self, rows: slice, cols: slice) -> tuple[int, int, int, int]:
        nr, nc = self._map.target_shape
        r0, r1, _ = rows.indices(nr)
        c0, c1, _ = cols.indices(nc)
        if r1 <= r0 or c1 <= c0:
            raise ArgumentError(f"empty tile rows {rows}, columns {cols} of a target of {nr} x {nc} cells")
        return r0, r1, c0, c1

    def _decide(self) -> None:
        """Choose once, from both grids alone: lattice spacing, chords per edge, size of the largest pixel."""
        columns, rows = self._samples()
        period = self._map.period

        def at(dc: float, dr: float) -> tuple[Array, Array]:
            return self._map.forward(columns + dc, rows + dr)

        u, v = at(0.0, 0.0)
        du, dv = [], []
        bend = np.zeros(columns.shape)
        for dc, dr in ((1.0, 0.0), (0.0, 1.0)):
            (ua, va), (ub, vb) = at(-dc, -dr), at(dc, dr)
            ua, ub = u + corners._wrap(ua - u, period), u + corners._wrap(ub - u, period)
            with np.errstate(invalid="ignore"):
                bend = np.fmax(bend, np.hypot(ua - 2 * u + ub, va - 2 * v + vb) / 8.0)
            du.append((ub - ua) / 2)
            dv.append((vb - va) / 2)
        area_parts = du[0] * dv[1] - du[1] * dv[0]
        known = area_parts[np.isfinite(area_parts)]
        self.sign = -1.0 if known.size and np.median(known) < 0 else 1.0
        self.largest = 8.0 * float(np.max(np.abs(known))) if known.size else np.inf
        typical = float(np.sqrt(np.median(np.abs(known)))) if known.size else 1.0
        relax = 1.0 / np.sqrt(min(max(typical, 1e-4), 1.0))
        sag = float(np.nanmax(bend)) if np.isfinite(bend).any() else 0.0
        # A kink or the neighbourhood of a pole among the samples must not slow all the rest.
        sag = min(sag, 8.0 * float(np.nanmedian(bend))) if sag > 0 else 0.0
        self.segments = int(np.clip(np.ceil(np.sqrt(sag / (EDGE_TOLERANCE * relax))), 1, _MAX_SEGMENTS))
        self.sag = 2.0 * sag if self.segments > 1 else 0.0
        self.node_tolerance = NODE_TOLERANCE * relax
        self.step = corners.STEPS[-1]
        for step in corners.STEPS:
            offsets = np.arange(-1.0, 3.0) * step
            jj, ii = np.meshgrid(offsets, offsets)
            with np.errstate(invalid="ignore"):
                nodes = self._map.forward(columns[:, None, None] + jj, rows[:, None, None] + ii)
                centre = at(step / 2, step / 2)
                iu = corners._from_nodes(nodes[0], corners._CENTRE[None], corners._CENTRE[None], period)[:, 0, 0]
                iv = corners._from_nodes(nodes[1], corners._CENTRE[None], corners._CENTRE[None], 0.0)[:, 0, 0]
                off = np.hypot(corners._wrap(iu - centre[0], period), iv - centre[1])
            seen = np.isfinite(off)
            if seen.any() and np.mean(off[seen] <= self.node_tolerance) >= 0.75:
                self.step = step
                break

    def _samples(self) -> tuple[Array, Array]:
        """Source positions to judge the map by: where both grids overlap, else all over the source."""
        nr, nc = self._map.target_shape
        t = (np.arange(16) + 0.5) / 16
        c, r = np.meshgrid(t * nc, t * nr)
        column, row = self._map.inverse(c.ravel(), r.ravel())
        if self._map.source_period:
            column = column - self._map.source_period * np.floor(column / self._map.source_period)
        ny, nx = self._map.source_shape
        with np.errstate(invalid="ignore"):
            inside = (column > 0) & (column < nx) & (row > 0) & (row < ny)
        if inside.sum() >= 8:
            return np.asarray(column[inside]), np.asarray(row[inside])
        c, r = np.meshgrid(t * nx, t * ny)
        return np.asarray(c.ravel()), np.asarray(r.ravel())

    def _group(
        self, group: tuple[int, int], origin: tuple[int, int], shape: Sequence[int], tile: tuple[int, int, int, int]
    ) -> tuple[Any, ...] | None:
        """Arguments of the kernels for the rows group[0] <= row < group[1] of a window."""
        r0, r1, c0, c1 = tile
        ya, yb = group
        xa, xb = origin[1], origin[1] + shape[1]
        lattice = corners.build(self._map, self.step, self.node_tolerance, (ya - 1, yb + 1), (xa - 1, xb + 1))
        shifts = self._shifts(lattice, c0, c1)
        if shifts.size == 0:
            return None
        density, spacing, dens_row, dens_column = self._density(tile)
        return (
            xa, xb, *_levels(ya, yb, self._map.breaks),
            self.step, lattice.first_row, lattice.first_column, lattice.u, lattice.v, lattice.patch, lattice.patches,
            lattice.breaks_u, lattice.breaks_v, self.segments, self.sag, self.sign, self.largest, self._map.period, shifts,
            r0, r1, c0, c1, self._map.row_edges(), self._map.kind != "geographic", density, spacing, dens_row, dens_column,
        )  # fmt: skip

    def _shifts(self, lattice: corners.Lattice, c0: int, c1: int) -> Array:
        """Multiples of the target's period that bring pixels of the lattice into columns c0..c1."""
        period = self._map.period
        if not period:
            return np.zeros(1)
        found = [u[np.isfinite(u)] for u in (lattice.u, lattice.patches[:, 0] if len(lattice.patches) else lattice.u)]
        u = np.concatenate([f.ravel() for f in found])
        if u.size == 0:
            return np.zeros(0)
        # Between nodes pixels may reach further, and round the back of the cylinder.
        low, high = np.ceil((c0 - u.max() - period / 2) / period), np.floor((c1 - u.min() + period / 2) / period)
        return np.arange(low, high + 1) * period

    def _density(self, tile: tuple[int, int, int, int]) -> tuple[Array, float, int, int]:
        if self._map.kind != "general":
            return np.empty((0, 0)), 1.0, 0, 0
        spacing = 4
        r0, r1, c0, c1 = tile
        row, column = np.arange(r0 // spacing - 2, r1 // spacing + 4), np.arange(c0 // spacing - 2, c1 // spacing + 4)
        c, r = np.meshgrid(column * float(spacing), row * float(spacing))
        return self._map.density(c, r), float(spacing), int(row[0]), int(column[0])


def _groups(first: int, rows: int) -> list[tuple[int, int]]:
    """The row groups (absolute multiples of GROUP_ROWS) of a window."""
    stop = first + rows
    edges = [first, *range((first // GROUP_ROWS + 1) * GROUP_ROWS, stop, GROUP_ROWS), stop]
    return list(zip(edges[:-1], edges[1:]))


def _levels(ya: int, yb: int, breaks: tuple[float, ...]) -> tuple[NDArray[Any], ...]:
    """Grid lines of rows ya <= row < yb, with one more on each side and the kinks between, and the
    strips of pixels between them: row, first line, which neighbouring lines may bend its sides, share
    of the pixel."""
    lines = [(float(y), -1) for y in range(ya - 1, yb + 2)]
    lines += [(r, n) for n, r in enumerate(breaks) if ya - 1 < r < yb + 1 and r != int(r)]
    lines.sort()
    level_row = np.array([int(np.floor(r)) for r, _ in lines], dtype=np.int64)
    level_break = np.array([n for _, n in lines], dtype=np.int64)
    kinks = set(breaks)
    strips = []
    for i in range(1, len(lines) - 2):
        r = lines[i][0]
        if not ya <= r < yb:
            continue
        around = [lines[j][1] < 0 and lines[j][0] not in kinks for j in (i - 1, i, i + 1, i + 2)]
        bend = int(around[0] and around[1] and around[2]) + 2 * int(around[1] and around[2] and around[3])
        strips.append((int(np.floor(r)), i, bend, lines[i + 1][0] - r))
    row, top, bends, share = (np.array(column) for column in zip(*strips))
    return (
        level_row,
        level_break,
        row.astype(np.int64),
        top.astype(np.int64),
        bends.astype(np.int64),
        share.astype(float),
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
        total[~empty] /= area[~empty]
    total[empty] = np.nan if total.dtype.kind == "f" else 0
    return total
