"""Areas of the cells of any grid, in an equal-area projection."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsoil.grids.crs import (
    EASE_GLOBAL,
    WORLD,
    axis_edges,
    crs_of,
    crs_text,
    same_crs,
    shorter_way,
    to_world,
    transformer,
)

Array = NDArray[Any]

AUTHALIC_RADIUS = 6371007.1809
"""Radius [m] of the sphere with the surface of WGS84."""


def cell_areas(box: GeoBox, working: str, rows: slice | None = None) -> Array:
    """Areas [m2] of the cells of some rows, broadcastable to (rows, columns).

    Parameters
    ----------
    box : GeoBox
    working : str
        Equal-area CRS in which they are measured: see `grids.crs.working_crs`.
    rows : slice, optional
        Default all.

    Notes
    -----
    Exact where the axes stay aligned in `working`. Elsewhere the outline of a cell is integrated along parabolas
    through the corners and the middles of its edges: right to 1e-9 for cells of 10 km. A cell that the working
    projection tears apart (a pole in EPSG:6933, the edge of a lobe) has no area there: NaN, or wrong.
    """
    height, width = box.shape
    r0, r1, _ = (rows or slice(None)).indices(height)
    a = box.affine
    if same_crs(crs_text(box), working):
        unit = crs_of(working).axis_info[0].unit_conversion_factor
        return np.full((1, 1), abs(a.determinant) * unit * unit)
    edges = axis_edges(box, working)
    if edges is not None:
        return np.abs(np.diff(edges[1])[r0:r1, None] * np.diff(edges[0])[None, :])
    forward = transformer(crs_text(box), working)

    def at(column: Array, row: Array) -> tuple[Array, Array]:
        x, y = forward.transform(*to_world(a, *np.meshgrid(column, row)))
        return np.asarray(x), np.asarray(y)

    c, r = np.arange(width + 1.0), np.arange(r0, r1 + 1.0)
    corner, along_x, along_y = at(c, r), at(c[:-1] + 0.5, r), at(c, r[:-1] + 0.5)
    top = _swept(
        _part(corner, rows=-1, columns=-1), _part(along_x, rows=-1), _part(corner, rows=-1, columns=1), working
    )
    low = _swept(_part(corner, rows=1, columns=-1), _part(along_x, rows=1), _part(corner, rows=1, columns=1), working)
    left = _swept(
        _part(corner, rows=-1, columns=-1), _part(along_y, columns=-1), _part(corner, rows=1, columns=-1), working
    )
    right = _swept(
        _part(corner, rows=-1, columns=1), _part(along_y, columns=1), _part(corner, rows=1, columns=1), working
    )
    # Each edge sweeps its area against its own start, so that large coordinates do not cost digits.
    start, corner_right = _part(corner, rows=-1, columns=-1), _part(corner, rows=-1, columns=1)
    below, opposite = _part(corner, rows=1, columns=-1), _part(corner, rows=1, columns=1)
    diagonal = _cross(_minus(opposite, start, working), _minus(below, corner_right, working)) / 2.0
    return np.asarray(np.abs(diagonal + top + right - low - left))


def _part(points: tuple[Array, Array], rows: int = 0, columns: int = 0) -> tuple[Array, Array]:
    """All points but the last (-1) or the first (1) row or column."""
    cut = {-1: slice(None, -1), 0: slice(None), 1: slice(1, None)}
    return points[0][cut[rows], cut[columns]], points[1][cut[rows], cut[columns]]


def _minus(a: tuple[Array, Array], b: tuple[Array, Array], working: str) -> tuple[Array, Array]:
    return shorter_way(a[0] - b[0], WORLD if working == EASE_GLOBAL else 0.0), a[1] - b[1]


def _cross(a: tuple[Array, Array], b: tuple[Array, Array]) -> Array:
    return np.asarray(a[0] * b[1] - a[1] * b[0])


def _swept(a: tuple[Array, Array], middle: tuple[Array, Array], b: tuple[Array, Array], working: str) -> Array:
    """Signed area between the parabola a, middle, b and its chord."""
    return _cross(_minus(b, a, working), _minus(middle, a, working)) * (-2.0 / 3.0)
