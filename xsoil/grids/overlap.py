"""The overlap of two grids: separable where the axes stay aligned, sheared otherwise.

Both kinds answer `window(rows, cols)` (which source cells a target tile needs) and
`reduce(values, origin, rows, cols, how, threads)`; an operator never asks which of them it has.
"""

from __future__ import annotations

import numpy as np
from odc.geo.geobox import GeoBox

from xsoil.grids.crs import crs_text, to_world
from xsoil.grids.ease import EaseGrid, cover, project
from xsoil.grids.points import NearestSampler
from xsoil.grids.separable import SeparableOverlap
from xsoil.grids.sheared import ShearedOverlap
from xsoil.threads import read_only

Overlap = SeparableOverlap | ShearedOverlap


def overlap_of(source: GeoBox, target: GeoBox) -> Overlap:
    """The overlap of two grids in the fastest exact form."""
    return SeparableOverlap.of(source, target) or ShearedOverlap(source, target)


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


def reduce_tile(
    overlap: Overlap,
    values: np.ndarray,
    origin: tuple[int, int],
    rows: slice,
    cols: slice,
    how: str,
    min_valid: float,
    dtype: np.dtype,
    threads: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """A target tile from its source window: NaN where less than `min_valid` of the cell is valid.

    Parameters
    ----------
    values : ndarray (k, ny, nx)
        Floating-point source window; NaN is missing.
    origin : tuple of int
        Source row and column of ``values[:, 0, 0]``.
    how : {"mean", "sum", "min", "max", "nearest"}
    min_valid : float
        Smallest valid fraction (inclusive, slack 1e-9) of an area operator.
    dtype : numpy.dtype
        Floating-point type of the result.

    Returns
    -------
    result, fraction : ndarray (k, rows, cols)
        In `dtype`, and the valid fraction of each target cell (for nearest: 1 or 0).
    """
    values = read_only(values)
    if how == "nearest":
        picked, inside = NearestSampler(overlap.source, overlap.target).sample(values, origin, rows, cols)
        result = np.where(inside, picked, np.nan).astype(dtype, copy=False)
        return result, (~np.isnan(result)).astype(float)
    result, fraction = overlap.reduce(values, origin, rows, cols, how, threads)
    enough = (fraction >= min_valid - 1e-9) & (fraction > 0)
    result = np.where(enough, result, np.nan)
    return result.astype(dtype, copy=False), fraction
