"""Weights between two grids as triplets: what xsoil otherwise makes tile by tile and forgets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsoil.grids.overlap import overlap_of
from xsoil.grids.points import ON_EDGE, PointSampler, source_axes
from xsoil.grids.separable import SLIVER, SeparableOverlap
from xsoil.grids.sheared import ShearedOverlap

Array = NDArray[Any]
Triplets = tuple[Array, Array, Array]

BAND_ROWS = 64
"""Target rows that are worked on together."""


def mean_weights(source: GeoBox, target: GeoBox) -> Triplets:
    """Overlap / area of the target cell: the weights of an area mean.

    Returns
    -------
    row, column, weight : ndarray
        Target cell and source cell (from 0, row by row in the direction of each grid) and weight, sorted by target
        cell and then by source cell. They sum to the covered part of the target cell.
    """
    overlap = overlap_of(_upright(source), target)
    if isinstance(overlap, SeparableOverlap):
        return _joined(source, target, lambda rows: _separable(overlap, rows), 1)
    return _joined(source, target, lambda rows: _sheared(overlap, rows), BAND_ROWS)


def nearest_weights(source: GeoBox, target: GeoBox) -> Triplets:
    """1 for the source cell that holds the centre of the target cell; sorted as by `mean_weights`."""
    sampler = PointSampler(_upright(source), target, "nearest")
    return _joined(source, target, lambda rows: _corners(sampler, rows, 0.0), BAND_ROWS)


def bilinear_weights(source: GeoBox, target: GeoBox) -> Triplets:
    """Weights of the four source centres around the centre of the target cell, those beyond the source left out."""
    sampler = PointSampler(_upright(source), target, "bilinear")
    return _joined(source, target, lambda rows: _corners(sampler, rows, 0.5), BAND_ROWS)


def _upright(box: GeoBox) -> GeoBox:
    """The grid with x ascending and y descending: `upscale` turns its sources so, and the digits are to be the same."""
    a, (rows, columns) = box.affine, box.shape
    if a.b or a.d:
        return box
    left, top = (a.c if a.a > 0 else a.c + a.a * columns), (a.f if a.e < 0 else a.f + a.e * rows)
    return GeoBox((rows, columns), Affine(abs(a.a), 0.0, left, 0.0, -abs(a.e), top), box.crs)


def _joined(source: GeoBox, target: GeoBox, band: Callable[[slice], Triplets], by: int) -> Triplets:
    """Bands of target rows, sorted; source cells counted as `source` runs."""
    (ny, nx), a = source.shape, source.affine
    turned = (False, False) if a.b or a.d else (a.e > 0, a.a < 0)
    none = np.zeros(0, np.int64)
    parts: list[Triplets] = [(none, none, np.zeros(0))]
    for first in range(0, target.shape[0], by):
        row, column, weight = band(slice(first, min(first + by, target.shape[0])))
        r, c = np.divmod(column, nx)
        column = (ny - 1 - r if turned[0] else r) * nx + (nx - 1 - c if turned[1] else c)
        order = np.lexsort((column, row))
        parts.append((row[order], column[order], weight[order]))
    row, column, weight = (np.concatenate(part) for part in zip(*parts, strict=True))
    return row, column, weight


def _separable(overlap: SeparableOverlap, rows: slice) -> Triplets:
    """One target row: the products of its rows with all columns."""
    (ny, nx), width = overlap.source.shape, overlap.target.shape[1]
    across = overlap.columns
    cell = np.repeat(np.arange(width), np.diff(across.pointer))
    share_x = across.length / across.target_length[cell]
    _, ys, lengths, _ = overlap.rows.part(rows, 0)
    share_y = lengths / overlap.rows.target_length[rows.start]
    column = (np.mod(ys, ny)[:, None] * nx + np.mod(across.source, nx)[None, :]).ravel()
    row = np.tile(cell, ys.size) + rows.start * width
    return row, column, (share_y[:, None] * share_x[None, :]).ravel()


def _sheared(overlap: ShearedOverlap, rows: slice) -> Triplets:
    cols, nx = slice(0, overlap.target.shape[1]), overlap.source.shape[1]
    window = overlap.window(rows, cols)
    if window is None:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    down, along = window
    shape = (down.stop - down.start, along.stop - along.start)
    pointer, index, area = overlap.weights((down.start, along.start), shape, rows, cols)
    cell = np.repeat(np.arange(pointer.size - 1), np.diff(pointer))
    whole = np.broadcast_to(overlap.target_area(rows, cols), (rows.stop - rows.start, cols.stop)).ravel()
    weight = area / whole[cell]
    r, c = np.divmod(index, shape[1])
    column = (r + down.start) * nx + np.mod(c + along.start, nx)
    kept = weight > SLIVER
    return (cell + rows.start * cols.stop)[kept], column[kept], weight[kept]


def _corners(sampler: PointSampler, rows: slice, back: float) -> Triplets:
    """Source centres around each target centre: one for `back` 0, four for 0.5."""
    cols, (ny, nx) = slice(0, sampler.target.shape[1]), sampler.source.shape
    height = rows.stop - rows.start
    down, along = np.broadcast_arrays(*sampler.positions(rows, cols))
    axes = source_axes(sampler.source)
    cell = np.arange(height * cols.stop) + rows.start * cols.stop
    inside = np.isfinite(down) & np.isfinite(along)
    steps = []
    for axis, position in zip(axes, (down, along), strict=True):
        with np.errstate(invalid="ignore"):
            if not axis.cyclic:
                inside &= (position >= -ON_EDGE) & (position < axis.cells + (ON_EDGE if back else -ON_EDGE))
        place = np.where(np.isfinite(position), position, 0.0) - back
        first = np.floor(place + ON_EDGE)
        part = np.clip(place - first, 0.0, 1.0)
        steps.append(
            [(_stored(axis, first, ny if axis is axes[0] else nx), np.ones_like(part))]
            if back == 0.0
            else [
                (_stored(axis, first, ny if axis is axes[0] else nx), 1.0 - part),
                (_stored(axis, first + 1.0, ny if axis is axes[0] else nx), part),
            ]
        )
    out: list[Triplets] = []
    for r, weight_r in steps[0]:
        for c, weight_c in steps[1]:
            weight = weight_r * weight_c
            held = (inside & (r >= 0) & (c >= 0) & (weight > ON_EDGE)).ravel()
            out.append((cell[held], (r * nx + c).ravel()[held], weight.ravel()[held]))
    row, column, weight = (np.concatenate(part) for part in zip(*out, strict=True))
    return row, column, weight


def _stored(axis: Any, place: Array, cells: int) -> Array:
    """The stored cell of a number in increasing coordinate; -1 beyond the ends."""
    index = place.astype(np.int64)
    if axis.cyclic:
        index = np.mod(index + axis.offset, cells)
    inside = (index >= 0) & (index < cells)
    return np.where(inside, cells - 1 - index if axis.turned else index, -1)
