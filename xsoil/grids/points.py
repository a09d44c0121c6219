"""Sampling at target cell centres: which source cell holds each centre."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from odc.geo.geobox import GeoBox

from xsoil.grids.crs import axis_edges, crs_text, is_geographic, same_crs, to_world, transformer

# A centre this close (in source cells) below an edge lies on it: rounding of the projection.
ON_EDGE = 1e-9


@dataclass(frozen=True)
class NearestSampler:
    """The source cell that contains each target centre, half-open [low, high) in increasing coordinate."""

    source: GeoBox
    target: GeoBox

    def index(self, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
        """Source row and column of each target cell, broadcastable to the tile; -1 outside the source."""
        aligned = _aligned(self.source, self.target)
        if aligned is not None:
            return aligned[0][rows, None], aligned[1][None, cols]
        row, column = _positions(
            self.source, self.target, np.arange(rows.start, rows.stop), np.arange(cols.start, cols.stop)
        )
        return row, column

    def sample(
        self, values: np.ndarray, origin: tuple[int, int], rows: slice, cols: slice
    ) -> tuple[np.ndarray, np.ndarray]:
        """Values (k, rows, cols) and whether each centre lies inside the source window's grid."""
        row, column = np.broadcast_arrays(*self.index(rows, cols))
        height, width = values.shape[1:]
        r, c = row - origin[0], column - origin[1]
        # A window of a periodic axis may run beyond its ends: then its columns count modulo the axis.
        total = self.source.shape[1]
        c = np.where((c < 0) & (c + total < width), c + total, np.where((c >= width) & (c - total >= 0), c - total, c))
        inside = (row >= 0) & (column >= 0) & (r >= 0) & (r < height) & (c >= 0) & (c < width)
        picked = values[:, np.where(inside, r, 0), np.where(inside, c, 0)]
        return picked, inside


@lru_cache(maxsize=32)
def _aligned(source: GeoBox, target: GeoBox) -> tuple[np.ndarray, np.ndarray] | None:
    """Row index of each target row and column index of each target column, where axes stay aligned."""
    text = crs_text(source)
    geographic = is_geographic(text)
    a, b = source.affine, target.affine
    if a.b or a.d or b.b or b.d:
        return None
    other = crs_text(target)
    if not same_crs(text, other):
        if axis_edges(source, other) is None and axis_edges(target, text) is None:
            # Both may still be aligned through EASE-Grid 2.0 Global (longitude, latitude or cylindrical).
            return None
        row, _ = _positions(source, target, np.arange(target.shape[0]), np.array([target.shape[1] // 2]))
        _, column = _positions(source, target, np.array([target.shape[0] // 2]), np.arange(target.shape[1]))
        return row[:, 0], column[0]
    rows, cols = np.arange(target.shape[0]), np.arange(target.shape[1])
    x, y = b.c + b.a * (cols + 0.5), b.f + b.e * (rows + 0.5)
    return _cell(y, a.f, a.e, source.shape[0]), _cell(x, a.c, a.a, source.shape[1], 360.0 if geographic else None)


def _positions(source: GeoBox, target: GeoBox, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    column, row = np.meshgrid(cols + 0.5, rows + 0.5)
    x, y = to_world(target.affine, column, row)
    text = crs_text(source)
    x, y = (np.asarray(v) for v in transformer(crs_text(target), text).transform(x, y))
    a = source.affine
    if a.b or a.d:
        x, y = to_world(~a, x, y)
        return _cell(y, 0.0, 1.0, source.shape[0]), _cell(x, 0.0, 1.0, source.shape[1])
    period = 360.0 if is_geographic(text) else None
    return _cell(y, a.f, a.e, source.shape[0]), _cell(x, a.c, a.a, source.shape[1], period)


def _cell(position: np.ndarray, edge: float, step: float, count: int, period: float | None = None) -> np.ndarray:
    """Index of the cell [low, high) that holds each position; -1 outside or not finite."""
    low, size = (edge, step) if step > 0 else (edge + step * count, -step)
    if period is not None:
        position = low + np.mod(position - low + ON_EDGE * size, period) - ON_EDGE * size
    with np.errstate(invalid="ignore"):
        at = np.floor((position - low) / size + ON_EDGE)
        inside = (at >= 0) & (at < count)
    index = np.where(inside, at, 0).astype(np.int64)
    return np.where(inside, index if step > 0 else count - 1 - index, -1)
