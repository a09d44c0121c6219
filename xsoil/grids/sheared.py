"""Area operators between grids that are sheared to each other (Albers, homolosine, sinusoidal to EASE ...).

Weights are true overlap areas of the source's curved pixels with the target's cells. Everything that
decides a number depends on (source, target) or on absolute source indices, so that results are the
same bit for bit for any tile, source window and number of threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.grids.index_map import Array, IndexMap
from xsoil.grids.separable import checked_parameter
from xsoil.grids.sheared_choice import choice_of
from xsoil.grids.sheared_groups import Group, RowGroups, batches, parts_of
from xsoil.grids.sheared_level import is_level, list_level, order_level, reduce_level
from xsoil.grids.sheared_values import checked_values, finished, start_of, working_of
from xsoil.grids.windows import Integers, Windows
from xsoil.threads import in_order, read_only

if TYPE_CHECKING:
    from xsoil.grids.sheared_types import Rule, Tile

VALUE_BOUND = 1e-6
"""Largest error of a mean, relative to the values, for white noise with a standard deviation of 0.4 of
the mean (float64), and of valid fractions."""

FULL = 1e-6
"""Valid fractions this close to 1 are 1: areas are known to about this share of a cell. None is more, also where
coarse pixels at the ends of the world are known to cover too much."""

LAYERS = 16
"""Layers (times, depths) that share one pass over the geometry."""

LIST_PIXELS = 6 * 2**20
"""Source pixels that the rows of a tile that are worked on at the same time may need: bounds the memory of bins."""

DENSITY_SPACING, DENSITY_METRES = 4.0, 800e3
"""Target cells, and metres, at most between the nodes of the area per cell, where that varies."""

DENSITY_REACH = 2048
"""Target cells around a tile over which that area is known at most: bounds memory where every pixel spans a tear."""

DEPTH = 4
"""How often a pixel that a jump of the projection cuts is divided: the rest is left out (1/256 of it wide, or less)."""

HOWS = ("mean", "sum", "min", "max")
"""Operators of `ShearedOverlap.reduce`."""


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

    depth = DEPTH

    def __init__(self, source: GeoBox, target: GeoBox) -> None:
        self.source, self.target = source, target
        self._map = IndexMap(source, target)
        self._windows = Windows(self._map)
        self._choice = choice_of(self._map)
        self._torn = self._choice.torn
        self._level = is_level(self._map)
        self._groups = RowGroups(self._map, self._choice.step, self._choice.node_tolerance, self._choice.reach)

    def window(self, rows: slice, cols: slice) -> tuple[slice, slice] | None:
        """Source rows and columns with every pixel that overlaps a tile of the target; None if there is none."""
        return self._windows.window(rows, cols)

    def windows(self, r0: Integers, r1: Integers, c0: Integers, c1: Integers) -> Integers:
        """`window` of many tiles, given by their first rows, last + 1, first columns, last + 1: such ends (tiles, 4).

        Zeros where no pixel overlaps a tile.
        """
        return self._windows.windows(r0, r1, c0, c1)

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
        from xsoil.grids import sheared_sums
        from xsoil.grids.sheared_edges import edge_entries, extreme_entries, sum_entries
        from xsoil.grids.sheared_lines import RING
        from xsoil.grids.sheared_types import new_scratch

        if how not in HOWS:
            raise UnknownNameError.of("area operator", how, HOWS)
        values, extreme = checked_values(values), how in ("min", "max")
        tile = self._tile(rows, cols)
        work, dtype = working_of(values, extreme)
        start = start_of(work.dtype, how) if extreme else 0.0
        shape = len(values), tile.r1 - tile.r0, tile.c1 - tile.c0
        total, area = np.full(shape, start, dtype=work.dtype if extreme else np.float64), np.zeros(shape)
        kernel: Any = sheared_sums.extreme_group if extreme else sheared_sums.sum_group
        add: Any = extreme_entries if extreme else sum_entries
        flag = how == "max" if extreme else how == "mean"
        combine = np.add if not extreme else np.minimum if how == "min" else np.maximum

        # What lies far from the tile, perhaps where the projection is torn, need not be drawn.
        window = None if self._level else self._windows.part(rows, cols, origin, work.shape[1:])
        corner = (window[0].start, window[1].start) if window is not None else origin

        def run(group: Group, layer: NDArray[Any], scratch: Any) -> tuple[slice, NDArray[Any], Array]:
            *geometry, shifts, part_tile = group
            size = len(layer), part_tile.r1 - part_tile.r0 + 2 * RING, shape[2] + 2 * RING
            part, part_area = np.full(size, start, dtype=total.dtype), np.zeros(size)
            flat = (len(layer), -1)
            sums = part.reshape(flat), part_area.reshape(flat)
            lost = kernel(layer, corner, *geometry, shifts, part_tile, self._rule, self._torn, scratch, flag, *sums)
            if lost.size:
                entries = edge_entries(self._map, self._rule, part_tile, shifts, lost)
                add(layer, corner, entries, flag, *sums)
            inner = (slice(None), slice(RING, -RING), slice(RING, -RING))
            return slice(part_tile.r0 - tile.r0, part_tile.r1 - tile.r0), part[inner], part_area[inner]

        if self._level:
            reduce_level(self._map, work, origin, tile, extreme, flag, threads, total, area)
        elif window is not None:
            y, x = (slice(part.start - first, part.stop - first) for part, first in zip(window, origin))
            for k in range(0, shape[0], LAYERS):
                # In one layout, or each (part of a block, writable block ...) is compiled for: five seconds.
                layer = read_only(np.ascontiguousarray(work[k : k + LAYERS, y, x]))
                these = slice(k, k + len(layer))

                def batch_of(batch: Any, layer: NDArray[Any] = layer) -> list[tuple[slice, NDArray[Any], Array]]:
                    scratch = new_scratch(self._choice.step, self._choice.segments, tile)
                    return [run(group, layer, scratch) for group in self._groups.of(batch, window[1], tile)]

                for span, sums, areas in in_order(batch_of, batches(*window, threads), threads):
                    combine(total[these, span], sums, out=total[these, span])
                    area[these, span] += areas
        result, fraction = finished(total, area, how, dtype), self._fraction(area, tile)
        return (result.astype(dtype, copy=False) if extreme else result), fraction

    def weights(
        self, origin: tuple[int, int], shape: tuple[int, int], rows: slice, cols: slice
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
        """Overlap areas of a tile as CSR (indptr, indices, areas).

        Rows are the target cells of the tile, row-major; indices are pixels of the window at `origin` of
        that `shape`, row-major and ascending. Areas are in target cells for an equal-area target, in
        columns x authalic rows for a geographic one, else in m2: see `target_area`.
        """
        from xsoil.grids.sheared_lists import cell_lists, overlaps_of, tidy

        tile = self._tile(rows, cols)
        if self._level:
            pointer, pixels, areas = list_level(self._map, origin, shape, tile)
        else:
            part = self._windows.part(rows, cols, origin, shape)
            groups = self._groups.all(part, tile) if part is not None else iter(())
            found = overlaps_of(groups, origin, shape, tile, self._rule, self._torn, self._map)
            pointer, pixels, areas = cell_lists(found, shape, tile)
        used: Any = tidy(pointer, pixels, areas)
        return pointer, pixels[:used].astype(np.int64), areas[:used]

    def select(
        self, values: NDArray[Any], origin: tuple[int, int], rows: slice, cols: slice, how: str, parameter: Any = None,
        threads: int = 1,
    ) -> tuple[Array, Array]:  # fmt: skip
        """Order statistics, class fractions or the standard deviation of a source window on a tile.

        Parameters
        ----------
        values : array (k, ny, nx) of float32 or float64
            As for `reduce`; infinities are values like any other.
        origin, rows, cols, threads
            As for `reduce`.
        how : {"quantile", "mode", "std", "fraction"}
            Area-weighted. "mode" takes the smallest of values whose areas tie within 1e-9; "std" is that of
            the population.
        parameter : float or array, optional
            For "quantile" q between 0 and 1: the smallest value whose cumulative share of the valid area
            reaches q, or the mean of that and the next where it does so within 1e-9. For "fraction" the
            classes (1-D): what share of the valid area each has.

        Returns
        -------
        result : array of float64 (k, rows, cols), for "fraction" (k, classes, rows, cols)
            NaN where nothing is valid.
        valid_fraction : array of float64 (k, rows, cols)
            As from `reduce`.
        """
        from xsoil.grids import order_kernels
        from xsoil.grids.sheared_order import order_band

        codes = {
            "quantile": order_kernels.QUANTILE, "mode": order_kernels.MODE, "std": order_kernels.STD,
            "fraction": order_kernels.FRACTION,
        }  # fmt: skip
        if how not in codes:
            raise UnknownNameError.of("order operator", how, tuple(codes))
        values = np.ascontiguousarray(checked_values(values))
        if values.dtype not in (np.float32, np.float64):
            raise ArgumentError(f"expected values of float32 or float64, found {values.dtype}; convert with .astype")
        q, classes = checked_parameter(how, parameter)
        tile, shape = self._tile(rows, cols), values.shape[1:]
        height, width = tile.r1 - tile.r0, tile.c1 - tile.c0
        result = np.full((len(values), classes.size if how == "fraction" else 1, height, width), np.nan)
        area = np.zeros((len(values), height, width))

        def band(rows_of_it: slice) -> None:
            columns = slice(tile.c0, tile.c1)
            window = self._windows.part(rows_of_it, columns, origin, shape)
            if window is None:
                return
            part = self._tile(rows_of_it, columns)
            cells = slice(rows_of_it.start - tile.r0, rows_of_it.stop - tile.r0)
            order_band(
                self._groups, values, origin, window, part, (self._rule, self._torn, self._map),
                (codes[how], q, classes), self._areas(part), threads, result[..., cells, :],
                area[:, cells],
            )  # fmt: skip

        if self._level:
            order_level(
                self._map, values, origin, tile, (codes[how], q, classes), self._areas(tile), threads, result, area,
            )  # fmt: skip
        else:
            for rows_of_it in parts_of(slice(tile.r0, tile.r1), -(-(shape[0] * shape[1]) // LIST_PIXELS)):
                band(rows_of_it)
        fraction = self._fraction(area, tile)
        return (result if how == "fraction" else result[:, 0]), fraction

    def target_area(self, rows: slice, cols: slice) -> Array:
        """Areas of the cells of a tile, broadcastable to it, in the units of `weights`."""
        return self._areas(self._tile(rows, cols))

    def _areas(self, tile: Tile) -> Array:
        if self._map.kind == "general":
            from xsoil.grids.sheared_polygons import cell_areas

            found: Array = cell_areas(tile)
            return found
        return np.diff(tile.edges[tile.r0 : tile.r1 + 1])[:, None]

    def _fraction(self, area: Array, tile: Tile) -> Array:
        """Valid fractions of the cells of a tile."""
        areas = self._areas(tile)  # 0 beyond a pole
        fraction = np.divide(area, areas, out=np.zeros(area.shape), where=np.broadcast_to(areas > 0.0, area.shape))
        fraction[fraction >= 1.0 - FULL] = 1.0
        return fraction

    def _tile(self, rows: slice, cols: slice) -> Tile:
        from xsoil.grids.sheared_types import Tile

        nr, nc = self._map.target_shape
        r0, r1, _ = rows.indices(nr)
        c0, c1, _ = cols.indices(nc)
        if r1 <= r0 or c1 <= c0:
            raise ArgumentError(f"empty tile rows {rows}, columns {cols} of a target of {nr} x {nc} cells")
        density, first_row, first_column, spacing = np.empty((0, 0)), 0, 0, DENSITY_SPACING
        if self._map.kind == "general":
            # Wide enough for the middles of pixels that only reach into the tile.
            spacing = min(spacing, DENSITY_METRES / self._map.metres)
            margin = 2 + int(np.ceil(min(self._choice.reach / spacing, DENSITY_REACH / DENSITY_SPACING)))
            row = np.arange(r0 // spacing - margin, r1 // spacing + margin + 2)
            column = np.arange(c0 // spacing - margin, c1 // spacing + margin + 2)
            density = self._map.density(*np.meshgrid(column * spacing, row * spacing))
            first_row, first_column = int(row[0]), int(column[0])
        return Tile(
            r0, r1, c0, c1, self._map.row_edges(), self._map.kind != "geographic", density, spacing,
            first_row, first_column,
        )  # fmt: skip

    @property
    def _rule(self) -> Rule:
        from xsoil.grids.sheared_types import Rule

        chosen = self._choice
        return Rule(
            chosen.segments, chosen.sag, chosen.tolerance, chosen.sign, chosen.largest, chosen.closed, self.depth
        )  # fmt: skip
