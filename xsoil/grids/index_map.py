"""From the cells of one grid to the cells of another, in coordinates where areas are exact.

Positions in the source are fractional (row, column) indices. Positions in the target are (u, v): u is
the fractional column, v the fractional row -- except for latitude/longitude targets, where v is an
authalic latitude scaled to the number of rows, so that area is still du x dv and the rows have the
edges `IndexMap.row_edges`. For targets that are neither equal-area nor geographic, the area of a patch
is the integral of `IndexMap.density` over it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS

from xsoil.grids.crs import (
    EASE_GLOBAL,
    WORLD,
    crs_of,
    crs_text,
    geodetic_of,
    is_equal_area,
    method_of,
    projection_of,
    shorter_way,
    transformer,
    working_crs,
)

Array = NDArray[np.float64]

QUANTUM = 2.0**-30
"""Target positions are multiples of this: shifting them by a period is then exact."""

HALVINGS = 30
"""Steps of the bisection for the end of the world."""

DENSITY_STEP = 5e3
"""Areas per cell are taken from places at most half a cell, and so far [metres], on either side: right to 1e-7."""

FOLD_DEGREES = 0.1
"""Distance of a place from itself, there and back through the target's projection, from which on it has no place of its
own there (or a thousandth of a pixel, if that is more). PROJ may shift a datum on the way back by another operation
than on the way there, some hundred metres apart."""

FOLD_SAMPLES = 32
"""Places of the source each way that are tried for that: in a world they lie 11 degrees apart, and what PROJ scatters
of transverse Mercator is a disc 17 degrees across."""

DEGREE = 111e3
"""Metres, about."""

BEYOND = 25
"""Rows outside of the source that its pixels may be drawn with: a block of the lattice of corners, and one more."""

# Where PROJ's homolosines change from sinusoidal to Mollweide: the meridians have a kink there.
_HOMOLOSINE_KINK = math.radians(40 + 44 / 60 + 11.8 / 3600)
_GOODE_KINK = math.radians(40 + 44 / 60)  # the one without lobes
_LOBES = ("interrupted", "proj igh", "proj imoll")
_CYLINDERS = ("cylindrical", "mercator (", "pseudo mercator", "equirectangular", "plate carr")
_LYING = ("oblique", "transverse")  # cylinders that the equator does not go round


class IndexMap:
    """The map from source indices to target indices of two grids; small and picklable.

    Parameters
    ----------
    source, target : GeoBox
        Any invertible affine; a geographic target must be unrotated to keep its exact rows.
    """

    def __init__(self, source: GeoBox, target: GeoBox) -> None:
        self.source_crs, self.target_crs = crs_text(source), crs_text(target)
        self.source_shape = (int(source.shape[0]), int(source.shape[1]))
        self.target_shape = (int(target.shape[0]), int(target.shape[1]))
        self._source, self._target = tuple(source.affine)[:6], tuple(target.affine)[:6]
        crs = crs_of(self.target_crs)
        upright = self._target[1] == 0.0 and self._target[3] == 0.0
        self.kind, self._working = "general", working_crs(target)
        if crs.is_geographic and upright:
            self.kind = "geographic"
        elif is_equal_area(self.target_crs):
            self.kind = "equal-area"
        flattening = crs.ellipsoid.inverse_flattening if crs.ellipsoid is not None else 0.0
        f = 1.0 / flattening if flattening else 0.0
        self._e = math.sqrt(f * (2.0 - f))
        self._v_scale, self._v_offset = 1.0, 0.0
        if self.kind == "geographic":
            top, step = self._target[5], self._target[4]
            q0, q1 = self._authalic(np.clip([top, top + step * self.target_shape[0]], -90.0, 90.0))
            if q1 != q0:  # as they are where all of it lies beyond a pole
                self._v_scale = self.target_shape[0] / (q1 - q0)
            self._v_offset = q0
        self.turn = self._full_turn(crs) if upright else (0.0, 0.0)
        self.period = self.turn[1] - self.turn[0]
        self._geodetic = geodetic_of(self.source_crs)
        self._checked = self._needs_check()
        self._folds = self._folds_over()
        self.breaks = self._kinks()

    def forward(self, column: Array, row: Array) -> tuple[Array, Array]:
        """(u, v) of positions in the source; NaN outside the domain of either projection."""
        column, row = np.asarray(column, dtype=float), np.asarray(row, dtype=float)
        x, y = _apply(self._source, column, row)
        px, py = transformer(self.source_crs, self.target_crs).transform(x, y)
        px, py = np.array(px, dtype=float), np.array(py, dtype=float)
        bad = ~(np.isfinite(px) & np.isfinite(py))
        if self._folds:
            bad |= ~self._comes_back(*self._degrees(self.source_crs, x, y), px, py)
        if self._checked:
            back_x, back_y = transformer(self.target_crs, self.source_crs).transform(px, py)
            with np.errstate(invalid="ignore"):
                off = np.hypot(np.asarray(back_x) - x, np.asarray(back_y) - y)
                bad |= ~(off < 1e-3 * math.sqrt(abs(Affine(*self._source).determinant)))
        if crs_of(self.source_crs).is_geographic:
            bad |= np.abs(y) > 90.0 + 1e-9
        if self.kind == "geographic":
            # A pole has no longitude.
            bad |= np.abs(py) > 90.0 - 1e-9
        px[bad], py[bad] = np.nan, np.nan
        return self._to_index(px, py)

    def inverse(self, column: Array, row: Array) -> tuple[Array, Array]:
        """(column, row) in the source of fractional target (column, row); NaN outside the domain."""
        x, y = _apply(self._target, np.asarray(column, dtype=float), np.asarray(row, dtype=float))
        px, py = transformer(self.target_crs, self.source_crs).transform(x, y)
        px, py = np.array(px, dtype=float), np.array(py, dtype=float)
        bad = ~(np.isfinite(px) & np.isfinite(py))
        px[bad], py[bad] = np.nan, np.nan
        c, r = _apply(_inverse(self._source), px, py)
        return np.asarray(c), np.asarray(r)

    def places(self, column: Array, row: Array) -> tuple[Array, Array]:
        """Longitudes and latitudes [radians] of positions in the source."""
        x, y = _apply(self._source, np.asarray(column, dtype=float), np.asarray(row, dtype=float))
        lon, lat = self._degrees(self.source_crs, x, y)
        radians = crs_of(self._geodetic).axis_info[0].unit_conversion_factor  # some countries' maps are based on grads
        return lon * radians, lat * radians

    @property
    def source_period(self) -> float:
        """Columns of the source after which it repeats (geographic sources), or 0."""
        if crs_of(self.source_crs).is_geographic and self._source[1] == 0.0 and self._source[3] == 0.0:
            return abs(360.0 / self._source[0])
        return 0.0

    @property
    def interrupted(self) -> bool:
        """True where the target is cut into lobes, with gaps between them that are no place on Earth."""
        return any(word in method_of(self.target_crs) for word in _LOBES)

    @property
    def metres(self) -> float:
        """Longer side of the target's cells [m], about: where its CRS keeps lengths."""
        return _metres(self._target, self.target_crs)

    @property
    def source_metres(self) -> float:
        """That of the source's pixels."""
        return _metres(self._source, self.source_crs)

    @property
    def sign(self) -> float:
        """Of the areas of pixels in target indices: projections keep the orientation, what turns it are the axes."""
        flips = Affine(*self._source).determinant * Affine(*self._target).determinant
        return -1.0 if flips < 0 else 1.0

    def row_edges(self) -> Array:
        """v of the edges of the target's rows (rows + 1)."""
        rows = np.arange(self.target_shape[0] + 1, dtype=float)
        if self.kind != "geographic":
            return rows
        lat = np.clip(self._target[5] + self._target[4] * rows, -90.0, 90.0)
        edges = quantise((self._authalic(lat) - self._v_offset) * self._v_scale)
        return edges

    def density(self, column: Array, row: Array) -> Array:
        """True area [m2] per target cell at fractional target (column, row); for the kind "general".

        Off the world it is that of the end of the world: of the same row, or else of the row where the world ends.
        """
        column, row = np.broadcast_arrays(np.asarray(column, dtype=float), np.asarray(row, dtype=float))
        h = min(0.5, DENSITY_STEP / self.metres)
        found = self._density(column, row, h)
        off = ~(np.isfinite(found) if h == 0.5 else self._on_world(column, row))
        if off.any():
            found[off] = self._density(*self._onto_world(column[off], row[off]), h)
        return found

    def _on_world(self, column: Array, row: Array) -> NDArray[np.bool_]:
        """True half a cell from the end of the world, and farther in: closer to it cells may be boundless
        (orthographic)."""
        return np.isfinite(self._density(column, row, 0.5))

    def _density(self, column: Array, row: Array, h: float) -> Array:
        to = transformer(self.target_crs, self._working)
        points = [_apply(self._target, column + dc, row + dr) for dc, dr in ((h, 0), (-h, 0), (0, h), (0, -h))]
        (ex, ey), (wx, wy), (sx, sy), (nx, ny) = (
            (np.asarray(px, dtype=float), np.asarray(py, dtype=float))
            for px, py in (to.transform(x, y) for x, y in points)
        )
        # Cells across the dateline have ends on both sides of the world.
        period = WORLD if self._working == EASE_GLOBAL else 0.0
        with np.errstate(invalid="ignore"):
            area = np.abs(shorter_way(ex - wx, period) * (sy - ny) - shorter_way(sx - nx, period) * (ey - wy))
        return np.asarray(area / (2.0 * h) ** 2)

    def _onto_world(self, column: Array, row: Array) -> tuple[Array, Array]:
        """Places off the world, moved to where their row ends; rows off the world to the last one on it.

        Rows are followed from the column of the projection's origin, which depends on no tile.
        """
        middle, equator = self._origin()
        rows, which = np.unique(row, return_inverse=True)
        rows = self._last_known(np.full(rows.shape, equator), rows, lambda r: (np.full(r.shape, middle), r))
        at, width = rows[which.reshape(row.shape)], self.target_shape[1]
        ends = np.stack(
            [
                self._last_known(np.full(rows.shape, middle), np.full(rows.shape, far), lambda c: (c, rows))
                for far in (min(0.0, middle) - width, max(width, middle) + width)
            ]
        )
        low, high = ends[:, which.reshape(row.shape)]
        return np.clip(column, low, high), at

    def _last_known(self, near: Array, far: Array, place: Callable[[Array], tuple[Array, Array]]) -> Array:
        """Between places on the world and places that may be off it: the last at which it still has a density."""
        known = self._on_world(*place(far))
        near, beyond = np.where(known, far, near), far
        for _ in range(HALVINGS):
            half = 0.5 * (near + beyond)
            known = self._on_world(*place(half))
            near, beyond = np.where(known, half, near), np.where(known, beyond, half)
        return near

    def _origin(self) -> tuple[float, float]:
        """Target (column, row) of the projection's natural origin."""
        projection, offset = projection_of(self.target_crs), {"easting": 0.0, "northing": 0.0}
        for parameter in projection.params if projection is not None else ():
            for name in offset:
                if name in parameter.name.lower():
                    offset[name] = parameter.value
        column, row = _apply(_inverse(self._target), offset["easting"], offset["northing"])
        return float(column), float(row)

    def _to_index(self, x: Array, y: Array) -> tuple[Array, Array]:
        u, v = _apply(_inverse(self._target), x, y)
        if self.kind == "geographic":
            v = (self._authalic(y) - self._v_offset) * self._v_scale
        return quantise(np.asarray(u)), quantise(np.asarray(v))

    def _authalic(self, lat: Array) -> Array:
        """q of Snyder (1987), eq. 3-12: area between the equator and a latitude is proportional to it."""
        s, e = np.sin(np.radians(lat)), self._e
        if e == 0.0:
            return 2.0 * s
        return (1 - e * e) * (s / (1 - e * e * s * s) + np.arctanh(e * s) / e)

    def _full_turn(self, crs: CRS) -> tuple[float, float]:
        """u of the two ends of the full turn of a cylinder (geographic or cylindrical target), in
        ascending order; both 0 where u does not come round again."""
        projection, method = projection_of(self.target_crs), method_of(self.target_crs)
        upright = any(word in method for word in _CYLINDERS) and not any(word in method for word in _LYING)
        if crs.is_geographic:
            ends = [-180.0, 180.0]
        elif projection is not None and upright:
            named = (p.value for p in projection.params if p.name.lower().startswith("longitude of "))
            lon0 = next(named, 0.0)
            to = transformer(geodetic_of(self.target_crs), self.target_crs)
            x, _ = to.transform([lon0 - 90, lon0 + 90], [0, 0])
            ends = [1.5 * x[0] - 0.5 * x[1], 1.5 * x[1] - 0.5 * x[0]]
        else:
            return 0.0, 0.0
        u = sorted(float(value) for value in quantise(_apply(_inverse(self._target), np.array(ends), 0.0)[0]))
        return (u[0], u[1]) if math.isfinite(u[1] - u[0]) else (0.0, 0.0)

    def _needs_check(self) -> bool:
        """True where inverse projection of some of the source's edge does not come back to it."""
        crs = crs_of(self.source_crs)
        if crs.is_geographic:
            return False
        rows, columns = self.source_shape
        t = np.linspace(0.0, 1.0, 33)
        c = np.concatenate([t * columns, t * columns, 0 * t, 0 * t + columns])
        r = np.concatenate([0 * t, 0 * t + rows, t * rows, t * rows])
        x, y = _apply(self._source, c, r)
        lon, lat = self._degrees(self.source_crs, x, y)
        x2, y2 = transformer(self._geodetic, self.source_crs).transform(lon, lat)
        with np.errstate(invalid="ignore"):
            off = np.hypot(np.asarray(x2) - x, np.asarray(y2) - y)
        return not bool((off < 1e-3 * math.sqrt(abs(Affine(*self._source).determinant))).all())

    def _folds_over(self) -> bool:
        """True where places of the source have none in the target, or share it with others.

        Projections for a zone or a country (transverse Mercator, Cassini, polyconic, Krovak, the Swiss one) draw the
        far side of the world over it, folded or scattered.
        """
        ny, nx = self.source_shape
        t = (np.arange(FOLD_SAMPLES) + 0.5) / FOLD_SAMPLES
        x, y = _apply(self._source, *np.meshgrid(t * nx, t * ny))
        lon, lat = self._degrees(self.source_crs, x, y)
        px, py = transformer(self.source_crs, self.target_crs).transform(x, y)
        known = np.isfinite(lon) & (np.abs(lat) <= 90.0)
        return not bool(self._comes_back(lon[known], lat[known], np.asarray(px)[known], np.asarray(py)[known]).all())

    def _comes_back(self, lon: Array, lat: Array, px: Array, py: Array) -> NDArray[np.bool_]:
        """Which places in the target are those of the longitudes and latitudes that they have been made from."""
        back_lon, back_lat = self._degrees(self.target_crs, px, py)
        with np.errstate(invalid="ignore"):
            east = shorter_way(back_lon - lon, 360.0) * np.cos(np.radians(lat))
            off = np.hypot(east, back_lat - lat)
        return np.asarray(off <= max(FOLD_DEGREES, 1e-3 * self.source_metres / DEGREE))

    def _degrees(self, crs: str, x: Array, y: Array) -> tuple[Array, Array]:
        """Longitude and latitude, those of the source's datum, of places in either CRS."""
        if crs == self._geodetic:
            return x, y
        lon, lat = transformer(crs, self._geodetic).transform(x, y)
        return np.asarray(lon), np.asarray(lat)

    def _kinks(self) -> tuple[float, ...]:
        """Source rows (fractional) where the source's projection has a kink along a parallel."""
        crs, a, method = crs_of(self.source_crs), Affine(*self._source), method_of(self.source_crs)
        if not any(word in method for word in ("homolosine", "proj igh", "proj goode")) or a.b or a.d:
            return ()
        kink = _HOMOLOSINE_KINK if any(word in method for word in _LOBES) else _GOODE_KINK
        y = crs.ellipsoid.semi_major_metre * kink
        rows = sorted((sign * y - a.f) / a.e for sign in (1, -1))
        return tuple(r for r in rows if -BEYOND < r < self.source_shape[0] + BEYOND)


def metres_of(box: GeoBox) -> float:
    """Longer side of a grid's cells [m], about: where its CRS keeps lengths."""
    return _metres(tuple(box.affine), crs_text(box))


def _metres(affine: Sequence[float], crs_name: str) -> float:
    crs = crs_of(crs_name)
    unit = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0
    radius = crs.ellipsoid.semi_major_metre if crs.is_geographic and crs.ellipsoid is not None else 1.0
    a, b, _, d, e, _ = affine[:6]
    return max(math.hypot(a, d), math.hypot(b, e)) * unit * radius


def _apply(affine: Sequence[float], column: Any, row: Any) -> tuple[Any, Any]:
    a, b, c, d, e, f = affine
    return column * a + row * b + c, column * d + row * e + f


def _inverse(affine: Sequence[float]) -> Sequence[float]:
    return tuple(~Affine(*affine))[:6]


def quantise(values: Array) -> Array:
    return np.asarray(np.round(values / QUANTUM) * QUANTUM)
