"""Sampling at target cell centres: the nearest cell, bilinear, cubic.

A target centre is brought into the source's CRS and becomes a position in source cells. Where both grids' axes
stay aligned there is one position per row and one per column; else it comes from a lattice of projected centres
(`point_lattice`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsoil.errors import UnknownNameError
from xsoil.grids import point_lattice
from xsoil.grids.crs import axis_edges, crs_text, geodetic_of, is_geographic, same_crs, to_world, transformer
from xsoil.grids.index_map import IndexMap
from xsoil.grids.separable import from_the_dateline, in_c_order
from xsoil.grids.windows import Windows
from xsoil.threads import in_bands, read_only

Array = NDArray[np.float64]

# Centres beyond the one below a position that an operator may need, on either side.
_HALO = {"nearest": 0, "bilinear": 1, "cubic": 2}

HOWS = tuple(_HALO)
"""Operators that sample at a point."""

ON_EDGE = 1e-9
"""A position this close [source cells] to an edge or a centre lies on it: rounding of the projection."""

# Target cells whose positions a thread holds at once.
_BATCH = 2**15


@dataclass(frozen=True)
class PointSampler:
    """Values of `source` at the centres of the cells of `target`; small, picklable.

    Parameters
    ----------
    source, target : GeoBox
        Any CRSs and invertible affines. A source that goes all round the globe has no seam.
    how : {"nearest", "bilinear", "cubic"}
        nearest: the cell that holds the centre, half-open [low, high) in increasing coordinate. bilinear: the 4 source
        centres around it. cubic: the 16 around it, Keys' convolution with a = -0.5.

    Notes
    -----
    A source cell that would get the weight 0 is not needed: a target centre on a source centre takes that
    cell's value, whatever its neighbours are.
    """

    source: GeoBox
    target: GeoBox
    how: str

    def __post_init__(self) -> None:
        if self.how not in HOWS:
            raise UnknownNameError.of("point operator", self.how, HOWS)

    def window(self, rows: slice, cols: slice) -> tuple[slice, slice] | None:
        """Source rows and columns that a target tile needs; columns may run beyond a periodic axis."""
        aligned, halo = _aligned(self.source, self.target), _HALO[self.how]
        y, x = source_axes(self.source)
        if aligned is not None:
            along_y, along_x = y.window(aligned[0][rows], halo), x.window(aligned[1][cols], halo)
            return None if along_y is None or along_x is None else (along_y, along_x)
        found = _windows(self.source, self.target).window(rows, cols)
        if found is None:
            return None
        (ny, nx), (r, c) = self.source.shape, found
        first, last = c.start - halo, c.stop + halo
        if not x.cyclic:
            first, last = max(first, 0), min(last, nx)
        return slice(max(r.start - halo, 0), min(r.stop + halo, ny)), slice(first, last)

    def sample(
        self,
        values: NDArray[Any],
        origin: tuple[int, int],
        rows: slice,
        cols: slice,
        min_valid: float = 0.5,
        threads: int = 1,
    ) -> tuple[NDArray[Any], Array]:
        """Sample a source window at the centres of a target tile.

        Parameters
        ----------
        values : ndarray (k, ny, nx)
            Floating-point source window (at least that of `window`), NaN where missing.
        origin : tuple of int
            Source row and column of ``values[:, 0, 0]``.
        rows, cols : slice
            The tile, in target cells.
        min_valid : float
            For bilinear: where some of the 4 centres are missing or beyond the source's edge, the others are taken
            if they have at least this much of the weight (slack 1e-9).
        threads : int
            Threads to use; the result does not depend on it.

        Returns
        -------
        result : ndarray (k, rows, cols)
            In the input's dtype for nearest, else float64; NaN where there is no value, and beyond the
            source's outer edges.
        fraction : ndarray of float64 (k, rows, cols)
            Weight of the source centres that are there; 0 or 1 for nearest and cubic.
        """
        from xsoil.grids import point_kernels as kernels

        values, upside_down = in_c_order(np.asarray(values))
        values = read_only(values)
        y, x = (
            axis.ints(start, size)
            for axis, start, size in zip(source_axes(self.source), origin, values.shape[1:], strict=True)
        )
        if upside_down:
            y = (y[0], not y[1], y[2], y[0] - y[4] - y[3], y[4])
        shape = (len(values), rows.stop - rows.start, cols.stop - cols.start)
        result = np.empty(shape, values.dtype if self.how == "nearest" else np.float64)
        fraction = np.empty(shape)
        step = max(1, _BATCH // max(shape[2], 1))

        def band(first: int, last: int) -> None:
            places = self._places(slice(rows.start + first, rows.start + last), cols)
            for at in range(first, last, step):
                down, along = places(slice(rows.start + at, rows.start + min(at + step, last)), cols)
                given = (values, down, along, y, x)
                if self.how == "bilinear":
                    kernels.bilinear(*given, float(min_valid), at, result, fraction)
                else:
                    getattr(kernels, self.how)(*given, at, result, fraction)

        in_bands(band, shape[1], threads)
        return result, fraction

    def positions(self, rows: slice, cols: slice) -> tuple[Array, Array]:
        """Row and column of target centres in source cells, counted in increasing coordinate, edges at whole numbers.

        Shapes (rows, cols), or (rows, 1) and (1, cols) on aligned grids; NaN off the domain of a projection.
        """
        return self._places(rows, cols)(rows, cols)

    def _places(self, rows: slice, cols: slice) -> Callable[[slice, slice], tuple[Array, Array]]:
        """The positions of any part of a tile."""
        aligned = _aligned(self.source, self.target)
        if aligned is not None:
            return lambda r, c: (aligned[0][r, None], aligned[1][None, c])
        exact, step = partial(_project, self.source, self.target), _step(self.source, self.target)
        if step == 0:
            return lambda r, c: exact(np.arange(r.start, r.stop)[:, None], np.arange(c.start, c.stop))
        return point_lattice.build(exact, rows, cols, step, source_axes(self.source)[1].turn).positions


class _Axis(NamedTuple):
    """An axis of the source in increasing coordinate."""

    low: float
    size: float
    cells: int
    turned: bool
    """Stored in decreasing coordinate."""
    turn: float
    """Cells of a full turn; 0 where the axis never comes round again."""
    cyclic: bool
    """The cells fill the full turn."""
    offset: int
    """For a cyclic axis: which stored cell (counted in increasing coordinate) is the first here."""

    def position(self, coordinate: Array) -> Array:
        p = (coordinate - self.low) / self.size
        if self.turn:
            p = p - self.turn * np.floor((p + ON_EDGE) / self.turn)
        return p

    def ints(self, origin: int, size: int) -> tuple[int, bool, bool, int, int]:
        """What the kernels need to know to find a cell in a window."""
        start = origin + self.offset if self.turned else origin - self.offset
        return self.cells, self.turned, self.cyclic, start, size

    def window(self, positions: Array, halo: int) -> slice | None:
        """Stored cells that positions along this axis need, with `halo` centres on either side."""
        p = positions[np.isfinite(positions)]
        if not self.cyclic:
            p = p[(p >= -ON_EDGE) & (p <= self.cells + ON_EDGE)]
        if p.size == 0:
            return None
        if self.cyclic:
            p = np.unwrap(p, period=self.cells)
        # For halo 1 and 2 this is one cell more than the centres around, on one side.
        first, last = int(np.floor(p.min() + ON_EDGE)) - halo, int(np.floor(p.max() + ON_EDGE)) + 1 + halo
        if self.cyclic:
            first, last = first + self.offset, last + self.offset
        else:
            first, last = max(first, 0), min(last, self.cells)
        if last <= first:
            return None
        return slice(self.cells - last, self.cells - first) if self.turned else slice(first, last)


@lru_cache(maxsize=64)
def source_axes(source: GeoBox) -> tuple[_Axis, _Axis]:
    a, (rows, columns) = source.affine, source.shape
    if a.b or a.d:  # positions of a rotated source come from its affine
        return _Axis(0.0, 1.0, rows, False, 0.0, False, 0), _Axis(0.0, 1.0, columns, False, 0.0, False, 0)
    upright = source
    if a.a < 0:
        upright = GeoBox((rows, columns), Affine(-a.a, 0.0, a.c + a.a * columns, 0.0, a.e, a.f), source.crs)
    turn = 360.0 / abs(a.a) if is_geographic(crs_text(source)) else IndexMap(source, source).period
    cyclic = abs(turn - columns) <= 1e-6
    from_dateline, offset = from_the_dateline(upright)
    x = from_dateline.affine
    low, size = (a.f, a.e) if a.e > 0 else (a.f + a.e * rows, -a.e)
    return (
        _Axis(low, size, rows, a.e < 0, 0.0, False, 0),
        _Axis(x.c, x.a, columns, a.a < 0, columns if cyclic else turn, cyclic, offset),
    )


def is_cyclic(grid: GeoBox) -> bool:
    """True where the columns of a grid go all round the globe."""
    return source_axes(grid)[1].cyclic


@lru_cache(maxsize=32)
def _step(source: GeoBox, target: GeoBox) -> int:
    return point_lattice.choose_step(partial(_project, source, target), target.shape, source_axes(source)[1].turn)


@lru_cache(maxsize=32)
def _windows(source: GeoBox, target: GeoBox) -> Windows:
    return Windows(IndexMap(source, target))


@lru_cache(maxsize=32)
def _aligned(source: GeoBox, target: GeoBox) -> tuple[Array, Array] | None:
    """Position of each target row and of each target column, where the axes stay aligned."""
    a, b, text, other = source.affine, target.affine, crs_text(source), crs_text(target)
    if a.b or a.d or b.b or b.d:
        return None
    rows, cols = np.arange(target.shape[0]), np.arange(target.shape[1])
    if same_crs(text, other):
        y, x = source_axes(source)
        return y.position(b.f + b.e * (rows + 0.5)), x.position(b.c + b.a * (cols + 0.5))
    # Both may also be aligned through EASE-Grid 2.0 Global (longitude and latitude, or cylindrical).
    if axis_edges(source, other) is None and axis_edges(target, text) is None:
        return None
    row, _ = _project(source, target, rows, np.array(target.shape[1] // 2))
    _, column = _project(source, target, np.array(target.shape[0] // 2), cols)
    return row, column


def _project(source: GeoBox, target: GeoBox, rows: NDArray[Any], cols: NDArray[Any]) -> tuple[Array, Array]:
    """Positions along y and x of target centres (rows and columns, broadcast), each projected by itself."""
    row, column = np.broadcast_arrays(rows + 0.5, cols + 0.5)
    x, y = to_world(target.affine, column, row)
    text, other = _texts(source, target)
    if not same_crs(text, other):
        px, py = (np.asarray(v, dtype=float) for v in transformer(other, text).transform(x, y))
        off = ~(np.isfinite(px) & np.isfinite(py))
        if _leaves_the_world(target):
            off |= ~_close(transformer(text, other).transform(px, py), x, y, target)
        x, y = np.where(off, np.nan, px), np.where(off, np.nan, py)
    along_y, along_x = source_axes(source)
    a = source.affine
    if a.b or a.d:
        x, y = to_world(~a, x, y)
    return along_y.position(y), along_x.position(x)


@lru_cache(maxsize=64)
def _texts(source: GeoBox, target: GeoBox) -> tuple[str, str]:
    """Both CRSs; writing them out takes longer than to project a few hundred places."""
    return crs_text(source), crs_text(target)


@lru_cache(maxsize=64)
def _leaves_the_world(target: GeoBox) -> bool:
    """True where some of the target's edge is no place on Earth, though its projection may name one for it."""
    if is_geographic(crs_text(target)) or IndexMap(target, target).period:  # beyond the ends a turn begins again
        return False
    t = np.linspace(0.0, 1.0, 65)
    zero = np.zeros_like(t)
    column = np.concatenate([t, t, zero, zero + 1.0]) * target.shape[1]
    row = np.concatenate([zero, zero + 1.0, t, t]) * target.shape[0]
    x, y = to_world(target.affine, column, row)
    text = crs_text(target)
    lonlat = geodetic_of(text)
    back = transformer(lonlat, text).transform(*transformer(text, lonlat).transform(x, y))
    return not bool(_close(back, x, y, target).all())


def _close(there: tuple[Array, Array], x: Array, y: Array, grid: GeoBox) -> NDArray[np.bool_]:
    """Two places are one: within a thousandth of a cell."""
    with np.errstate(invalid="ignore"):
        off = np.hypot(np.asarray(there[0]) - x, np.asarray(there[1]) - y)
        return np.asarray(off < 1e-3 * np.sqrt(abs(grid.affine.determinant)))
