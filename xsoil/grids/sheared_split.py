"""Pixels so large that their neighbours' corners do not tell how their sides bend: they are worked on in parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsoil.grids.index_map import Array, metres_of
from xsoil.grids.sheared import ShearedOverlap
from xsoil.grids.sheared_values import checked_values
from xsoil.grids.windows import Integers

LARGEST_METRES, PART_METRES = 60e3, 30e3
"""Longer side of a pixel from which on it is divided, and that of its parts at most. (Parts of a world at 2 degrees are
as many as the pixels of one at 0.25.)"""

MOST_PARTS = 1400
"""Parts of a pixel each way at most: of one as wide as the world."""

PART_VALUES = 2**22
"""Values of parts at a time: 32 MB."""

SAMPLES = 8
"""Places each way in a part that the end of the world cuts, which tell how much of it lies inside."""


def sheared_overlap(source: GeoBox, target: GeoBox) -> ShearedOverlap:
    """The overlap of two sheared grids, of the source's pixels or of their parts."""
    return (SplitOverlap if metres_of(source) > LARGEST_METRES else ShearedOverlap)(source, target)


class SplitOverlap(ShearedOverlap):
    """A `ShearedOverlap` of the parts of the source's pixels: n x n of each, all with its value.

    Parameters
    ----------
    source, target : odc.geo.geobox.GeoBox
        As there.
    """

    depth = 3  # parts are a third of a pixel's size at most: 1/192 of a pixel is left out, or less

    def __init__(self, source: GeoBox, target: GeoBox) -> None:
        n = self.parts = min(max(1, math.ceil(metres_of(source) / PART_METRES)), MOST_PARTS)
        a, b, c, d, e, f = tuple(source.affine)[:6]
        shape = source.shape[0] * n, source.shape[1] * n
        self.divided = GeoBox(shape, Affine(a / n, b / n, c, d / n, e / n, f), source.crs)
        super().__init__(self.divided, target)
        self.source = source

    def window(self, rows: slice, cols: slice) -> tuple[slice, slice] | None:
        found = super().window(rows, cols)
        return None if found is None else (self._whole(found[0]), self._whole(found[1]))

    def windows(self, r0: Integers, r1: Integers, c0: Integers, c1: Integers) -> Integers:
        found = super().windows(r0, r1, c0, c1)
        found[:, ::2], found[:, 1::2] = found[:, ::2] // self.parts, -(-found[:, 1::2] // self.parts)
        return found

    def reduce(
        self, values: NDArray[Any], origin: tuple[int, int], rows: slice, cols: slice, how: str, threads: int = 1
    ) -> tuple[NDArray[Any], Array]:
        whole = super().reduce
        return self._of_parts(
            lambda part, corner: whole(part, corner, rows, cols, how, threads), values, origin, rows, cols, how == "sum"
        )

    def weights(
        self, origin: tuple[int, int], shape: tuple[int, int], rows: slice, cols: slice
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
        from xsoil.grids.sheared_lists import tidy

        n, (height, width) = self.parts, shape
        pointer, pixels, areas = super().weights((origin[0] * n, origin[1] * n), (height * n, width * n), rows, cols)
        row, column = np.divmod(pixels, width * n)
        pixels = row // n * width + column // n
        used: Any = tidy(pointer, pixels, areas)
        return pointer, pixels[:used], areas[:used]

    def select(
        self, values: NDArray[Any], origin: tuple[int, int], rows: slice, cols: slice, how: str, parameter: Any = None,
        threads: int = 1,
    ) -> tuple[Array, Array]:  # fmt: skip
        whole = super().select
        return self._of_parts(
            lambda part, corner: whole(part, corner, rows, cols, how, parameter, threads), values, origin, rows, cols
        )

    def _whole(self, parts: slice) -> slice:
        """The pixels that rows or columns of parts belong to."""
        return slice(parts.start // self.parts, -(-parts.stop // self.parts))

    def _of_parts(
        self, statistic: Callable[[NDArray[Any], tuple[int, int]], tuple[NDArray[Any], Array]], values: NDArray[Any],
        origin: tuple[int, int], rows: slice, cols: slice, shared: bool = False,
    ) -> tuple[NDArray[Any], Array]:  # fmt: skip
        """A statistic of the parts of what a tile needs of a window (at least one pixel), some layers at a time.

        It is given the parts, each with the value of its pixel (or, `shared`, its share of it), and where they begin.
        """
        n, values = self.parts, checked_values(values)
        corner, size = (origin[0] * n, origin[1] * n), (values.shape[1] * n, values.shape[2] * n)
        # Searched for also where that costs a second: parts at the ends of lobes, far from the tile, cost more.
        none = slice(corner[0], corner[0] + 1), slice(corner[1], corner[1] + 1)
        needed = self._windows.part(rows, cols, corner, size) or none
        y, x = (self._whole(along) for along in needed)
        values = values[:, y.start - origin[0] : y.stop - origin[0], x.start - origin[1] : x.stop - origin[1]]
        # The parts around them are left out: at a pole they may be a hundred times as large.
        inner = tuple(slice(a.start - b.start * n, a.stop - b.start * n) for a, b in zip(needed, (y, x), strict=True))
        shares = self._shares(y, x)[inner] if shared else None
        layers = max(1, PART_VALUES // (math.prod(values.shape[1:]) * n * n))
        found = []
        for k in range(0, max(len(values), 1), layers):
            parts = np.repeat(np.repeat(values[k : k + layers], n, axis=1), n, axis=2)[:, *inner]
            found.append(statistic(parts if shares is None else parts * shares, (needed[0].start, needed[1].start)))
        result, fraction = (np.concatenate(some) for some in zip(*found, strict=True))
        return result, fraction

    @cached_property
    def _own(self) -> ShearedOverlap:
        """Of the parts with themselves: knows their areas."""
        return ShearedOverlap(self.divided, self.divided)

    def _shares(self, y: slice, x: slice) -> Array:
        """Of each part: its share of the area of its pixel, as far as that lies in both worlds."""
        n = self.parts
        rows, cols = slice(y.start * n, y.stop * n), slice(x.start * n, x.stop * n)
        shape = rows.stop - rows.start, cols.stop - cols.start
        areas = np.broadcast_to(self._own.target_area(rows, cols), shape)
        area = np.abs(areas) * self._inside(rows, cols)
        pixel = area.reshape(shape[0] // n, n, shape[1] // n, n).sum(axis=(1, 3))
        pixel = np.repeat(np.repeat(pixel, n, axis=0), n, axis=1)
        return np.divide(area, pixel, out=np.zeros(shape), where=pixel > 0.0)

    def _inside(self, rows: slice, cols: slice) -> Array:
        """How much of each part has a place in the target."""
        column, row = np.meshgrid(np.arange(cols.start, cols.stop + 1.0), np.arange(rows.start, rows.stop + 1.0))
        known = np.isfinite(self._map.forward(column, row)[0])
        across = known[:, :-1].astype(int) + known[:, 1:]
        corners = across[:-1] + across[1:]
        found = (corners == 4).astype(float)
        r, c = np.nonzero((corners > 0) & (corners < 4))
        t = (np.arange(SAMPLES) + 0.5) / SAMPLES
        at_row, at_column = np.broadcast_arrays(
            (r + rows.start)[:, None, None] + t[:, None], (c + cols.start)[:, None, None] + t
        )
        found[r, c] = np.isfinite(self._map.forward(at_column, at_row)[0]).mean(axis=(1, 2))
        return found
