"""The overlap of two grids: separable where the axes stay aligned, sheared otherwise.

Both kinds answer `window(rows, cols)` (which source cells a target tile needs),
`reduce(values, origin, rows, cols, how, threads)` (mean, sum, min, max in one pass) and
`select(values, origin, rows, cols, how, parameter, threads)` (quantile, mode, std, fraction: all overlaps of
a cell at hand); an operator never asks which of them it has.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from odc.geo.geobox import GeoBox

from xsoil.grids.crs import crs_text, to_world
from xsoil.grids.ease import EaseGrid, cover, project
from xsoil.grids.separable import SeparableOverlap
from xsoil.grids.sheared import ShearedOverlap
from xsoil.grids.sheared_split import sheared_overlap

Overlap = SeparableOverlap | ShearedOverlap


@lru_cache(maxsize=64)
def overlap_of(source: GeoBox, target: GeoBox) -> Overlap:
    """The overlap of two grids in the fastest exact form; kept, as its axes cost a projection."""
    return SeparableOverlap.of(source, target) or sheared_overlap(source, target)


@lru_cache(maxsize=2**14)
def overlap_window(
    source: GeoBox, target: GeoBox, first_row: int, last_row: int, first_col: int, last_col: int
) -> tuple[slice, slice] | None:
    """The window of a tile; kept, as every variable of a dataset asks for those of the same tiles."""
    return overlap_of(source, target).window(slice(first_row, last_row), slice(first_col, last_col))


def footprint_on(grid: EaseGrid, source: GeoBox) -> GeoBox:
    """The window of an EASE grid that covers the source's footprint."""
    rows, columns = source.shape
    if SeparableOverlap.of(source, grid.geobox) is not None:
        # Aligned axes: two edges do, but with points between, so that a wide one is not taken for its complement.
        at_column, at_row = np.tile(np.linspace(0, columns, 65), 2), np.repeat([0, rows], 65)
    else:
        # All round the edge at nearly every cell (straight lines bulge), and a lattice for poles inside.
        r = np.linspace(0, rows, min(rows, 4096) + 1)
        c = np.linspace(0, columns, min(columns, 4096) + 1)
        inner_c, inner_r = np.meshgrid(np.linspace(0, columns, 33), np.linspace(0, rows, 33))
        at_row = np.concatenate([np.zeros_like(c), np.full_like(c, rows), r, r, inner_r.ravel()])
        at_column = np.concatenate([c, c, np.zeros_like(r), np.full_like(r, columns), inner_c.ravel()])
    x, y = to_world(source.affine, at_column.astype(float), at_row.astype(float))
    return cover(grid, *project(x, y, crs_text(source), grid.epsg))
