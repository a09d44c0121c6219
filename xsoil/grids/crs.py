"""Coordinate reference systems: cached transformers, equal-area tests, the working CRS of areas."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer
from pyproj.crs import CoordinateOperation
from pyproj.exceptions import ProjError

from xsoil.errors import CRSError

_EQUAL_AREA = frozenset({
    "sinusoidal", "mollweide", "bonne", "bonne (south orientated)", "hammer", "equal earth",
    "goode homolosine", "interrupted goode homolosine", "interrupted goode homolosine ocean",
    "eckert ii", "eckert iv", "eckert vi", "proj igh", "proj igh_o", "proj goode", "proj hammer",
    "proj eqearth", "proj leac", "proj qua_aut", "proj fouc_s", "proj mbt_fps", "proj wag1", "proj wag4",
    "proj wag7", "proj healpix", "proj tcea", "proj eck2",
})  # fmt: skip
"""Projection methods that keep areas, beside those with "equal area" in their name."""

EASE_GLOBAL = "EPSG:6933"
WORLD = 2 * 17367530.445161372
"""Length of the equator in EPSG:6933 [m]: its x axis has this period."""


@lru_cache(maxsize=256)
def crs_of(text: str) -> CRS:
    """The CRS of a string (WKT, PROJ or authority code), parsed once."""
    return CRS.from_user_input(text)


def crs_text(geobox: GeoBox) -> str:
    """A hashable description of a geobox's CRS."""
    text = str(geobox.crs)  # not geobox.crs.epsg: a search of 0.1 s for each new object where there is no code
    return text if text.startswith("EPSG:") else short_name(text)


@lru_cache(maxsize=256)
def short_name(text: str) -> str:
    """``EPSG:n`` where that is known, else WKT; PROJ's search for the code takes 0.1 s for some CRSs, so it is kept."""
    crs = crs_of(text)
    epsg = crs.to_epsg()
    return f"EPSG:{epsg}" if epsg else str(crs.to_wkt())


@lru_cache(maxsize=256)
def transformer(source: str, target: str) -> Transformer:
    """Transformer with x before y; making one costs 4 to 14 ms, so it is kept."""
    try:
        return Transformer.from_crs(crs_of(source), crs_of(target), always_xy=True)
    except ProjError as error:
        names = " to ".join(crs_of(text).name or text for text in (source, target))
        raise CRSError(
            f"PROJ has no transformation from {names}: {error}. A projection without an inverse cannot be regridded; "
            "give the data in another CRS"
        ) from error


@lru_cache(maxsize=256)
def is_geographic(text: str) -> bool:
    return bool(crs_of(text).is_geographic)


@lru_cache(maxsize=256)
def geodetic_of(text: str) -> str:
    """The longitudes and latitudes that a CRS is projected from; the CRS itself if it is of those."""
    return text if is_geographic(text) else str(crs_of(text).geodetic_crs.to_wkt())


@lru_cache(maxsize=256)
def is_equal_area(text: str) -> bool:
    """True where areas in the plane are areas on the ground (or proportional to them)."""
    method = method_of(text)
    return "equal area" in method or method in _EQUAL_AREA


def projection_of(text: str) -> CoordinateOperation | None:
    """The projection of a CRS; None where it has none (latitude/longitude)."""
    crs = crs_of(text)
    if crs.is_bound and crs.source_crs is not None:  # with TOWGS84, whose operation is the shift of the datum
        crs = crs.source_crs
    return crs.coordinate_operation


@lru_cache(maxsize=256)
def method_of(text: str) -> str:
    """Name of the projection method in small letters; "" for latitude/longitude."""
    projection = projection_of(text)
    return projection.method_name.lower() if projection is not None else ""


@lru_cache(maxsize=256)
def same_crs(a: str, b: str) -> bool:
    return a == b or bool(crs_of(a).equals(crs_of(b), ignore_axis_order=True))


def working_crs(target: GeoBox) -> str:
    """CRS in which overlap areas are measured.

    The target's own if it keeps areas, else EASE-Grid 2.0 Global; poleward of 80 degrees a Lambert
    azimuthal equal-area projection at the target's centre.
    """
    text = crs_text(target)
    if is_equal_area(text):
        return text
    rows, columns = target.shape
    x, y = to_world(target.affine, np.array(columns / 2), np.array(rows / 2))
    lon, lat = transformer(text, "EPSG:4326").transform(float(x), float(y))
    if np.isfinite(lat) and abs(lat) > 80:
        lat = min(max(lat, -90.0), 90.0)  # the middle of a target may lie beyond the pole
        return f"+proj=laea +lat_0={lat:.6f} +lon_0={lon:.6f} +datum=WGS84 +units=m +type=crs"
    return EASE_GLOBAL


def draws_pole_as_arc(source: GeoBox, target: GeoBox) -> bool:
    """True where a pole lies in both grids and is an arc in the target, as in Albers' conic projection.

    Cylinders draw poles as straight lines, most others as points.
    """
    longitude = np.arange(-180.0, 180.0, 15.0)
    for latitude in (90.0, -90.0):
        u, v, inside = _indices(target, longitude, latitude)
        if _indices(source, longitude, latitude)[2].any() and inside.any() and min(np.ptp(u), np.ptp(v)) > 1.0:
            return True
    return False


def _indices(grid: GeoBox, longitude: np.ndarray, latitude: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fractional (column, row) of places that the projection knows, and which of them are inside of the grid."""
    x, y = transformer("EPSG:4326", crs_text(grid)).transform(longitude, np.full(longitude.shape, latitude))
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        return np.zeros(1), np.zeros(1), np.zeros(1, dtype=bool)
    u, v = to_world(~grid.affine, np.asarray(x)[known], np.asarray(y)[known])
    rows, columns = grid.shape
    near = 1e-6  # the last row of a map of the world ends at the pole but for rounding
    return u, v, (u >= -near) & (u <= columns + near) & (v >= -near) & (v <= rows + near)


def to_world(affine: Affine, column: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of fractional columns and rows (affine 2 has no `@`, affine 3 deprecates `*` for this)."""
    with np.errstate(invalid="ignore"):  # a place off the world is at infinity in a grid that is not turned: 0 * inf
        return affine.a * column + affine.b * row + affine.c, affine.d * column + affine.e * row + affine.f


def edge_values(origin: float, step: float, count: int) -> np.ndarray:
    """The `count` + 1 edges of an axis."""
    return origin + step * np.arange(count + 1)


def axis_edges(geobox: GeoBox, working: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Edges of a geobox's columns and rows in the working CRS, if its axes stay aligned there.

    Longitudes are mapped without wrapping, so that an axis across the dateline stays monotonic. None
    where columns or rows bend or turn (then the overlap is sheared).
    """
    a = geobox.affine
    if a.b or a.d:
        return None
    rows, columns = geobox.shape
    x, y = edge_values(a.c, a.a, columns), edge_values(a.f, a.e, rows)
    text = crs_text(geobox)
    if same_crs(text, working):
        return x, y
    geographic = is_geographic(text)
    if geographic:
        y = np.clip(y, -90.0, 90.0)
        if working != EASE_GLOBAL:
            return None
    forward = transformer(text, working)
    # A lattice shows whether x depends on the column alone and y on the row alone.
    at_x, at_y = np.linspace(x[0], x[-1], 9), np.linspace(y[0], y[-1], 9)
    wrapped = np.remainder(at_x + 180.0, 360.0) - 180.0 if geographic else at_x  # PROJ refuses more than 10 radians
    lattice_x, lattice_y = (np.asarray(v) for v in forward.transform(*np.meshgrid(wrapped, at_y)))
    if not (np.isfinite(lattice_x).all() and np.isfinite(lattice_y).all()):
        return None
    if geographic:
        expected = at_x * (WORLD / 360.0)
        lattice_x = expected + np.remainder(lattice_x - expected + WORLD / 2, WORLD) - WORLD / 2
        if np.abs(lattice_x - expected).max() > 1e-6:
            return None  # a change of datum: not a plain scaling of longitude
    elif working == EASE_GLOBAL:
        steps = shorter_way(np.diff(lattice_x[4]), WORLD)
        expected = lattice_x[4, 0] + np.concatenate([[0.0], np.cumsum(steps)])
        lattice_x = _unwrapped(lattice_x, expected)
    cell_x = abs(lattice_x[0, -1] - lattice_x[0, 0]) / columns
    cell_y = abs(lattice_y[-1, 0] - lattice_y[0, 0]) / rows
    if np.ptp(lattice_x, axis=0).max() > 1e-9 * cell_x + 1e-7 or np.ptp(lattice_y, axis=1).max() > 1e-9 * cell_y + 1e-7:
        return None
    middle = np.full(max(rows, columns) + 1, 0.0)
    working_y = np.asarray(forward.transform(middle[: rows + 1] + wrapped[4], y)[1])
    if geographic:
        return x * (WORLD / 360.0), working_y
    working_x = np.asarray(forward.transform(x, middle[: columns + 1] + at_y[4])[0])
    if working == EASE_GLOBAL:
        slope = (lattice_x[4, -1] - lattice_x[4, 0]) / (x[-1] - x[0])
        working_x = _unwrapped(working_x, lattice_x[4, 0] + slope * (x - x[0]))
    return working_x, working_y


def shorter_way(d: np.ndarray, period: float) -> np.ndarray:
    """Differences of positions on the shorter way round; as they are where the period is 0."""
    return d - period * np.round(d / period) if period else d


def _unwrapped(x: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Positions on the working cylinder, with as many turns as lie nearest to what is expected."""
    with np.errstate(invalid="ignore"):
        return np.asarray(x - WORLD * np.round((x - expected) / WORLD))


def cell_ratio(source: GeoBox, target: GeoBox) -> float:
    """How many source cells a target cell covers: the median over the target; 1 where that cannot be told."""
    rows, columns = target.shape
    row, column = np.meshgrid((np.arange(5) + 0.5) / 5 * rows, (np.arange(5) + 0.5) / 5 * columns, indexing="ij")
    forward = transformer(crs_text(target), crs_text(source))
    inverse = ~source.affine

    def at(c: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = (np.asarray(v) for v in forward.transform(*to_world(target.affine, c, r)))
        return to_world(inverse, x, y)

    h = 0.25
    (x0, y0), (x1, y1) = at(column - h, row), at(column + h, row)
    (x2, y2), (x3, y3) = at(column, row - h), at(column, row + h)
    with np.errstate(invalid="ignore"):
        area = np.abs((x1 - x0) * (y3 - y2) - (y1 - y0) * (x3 - x2)) / (2 * h) ** 2
        area = area[np.isfinite(area)]
    return float(np.median(area)) if area.size else 1.0
