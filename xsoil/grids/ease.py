"""EASE-Grid 2.0: the named grids of NSIDC as odc GeoBoxes.

References
----------
Brodzik, M. J. et al. (2012), EASE-Grid 2.0: Incremental but significant improvements for
Earth-gridded data sets. ISPRS Int. J. Geo-Inf. 1, 32-45, doi:10.3390/ijgi1010032, and its
correction, ISPRS Int. J. Geo-Inf. 3, 1154-1156 (2014), doi:10.3390/ijgi3031154.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from xsoil.choices import require_choice
from xsoil.errors import ArgumentError, GridMismatchError, NoOverlapError, UnknownNameError
from xsoil.grids.crs import WORLD, crs_text, is_geographic, same_crs, to_world, transformer

REGIONS = {"conus": (-125.0, 24.5, -66.5, 49.5)}
"""Named regions: (west, south, east, north) in degrees."""

# A cell edge this close (in cells) to the region's edge coincides with it.
EDGE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class EaseGrid:
    """One NSIDC grid: EPSG code, rows, columns, cell size and upper-left corner [m]."""

    name: str
    epsg: int
    rows: int
    columns: int
    cell: float
    left: float
    top: float

    def window(self, row: int, column: int, rows: int, columns: int) -> GeoBox:
        """GeoBox of `rows` x `columns` cells whose first one is (`row`, `column`).

        The corner is computed from the integers, so that any two windows of a grid agree exactly.
        """
        corner = Affine(self.cell, 0.0, self.left + column * self.cell, 0.0, -self.cell, self.top - row * self.cell)
        return GeoBox((rows, columns), corner, f"EPSG:{self.epsg}")

    @property
    def geobox(self) -> GeoBox:
        """The whole grid."""
        return self.window(0, 0, self.rows, self.columns)

    def locate(self, geobox: GeoBox, tolerance: float = 1e-4) -> tuple[int, int] | None:
        """Row and column of the geobox's first cell; None if it is not a window of this grid.

        `tolerance` is in cells, at each corner of the window.
        """
        a = geobox.affine
        if a.b or a.d or a.a <= 0 or a.e >= 0 or not _same_crs(geobox, self.epsg):
            return None
        row, column = round((self.top - a.f) / self.cell), round((a.c - self.left) / self.cell)
        exact = self.window(row, column, *geobox.shape).affine
        rows, columns = geobox.shape
        off = max(
            abs(exact.c - a.c), abs(exact.f - a.f),
            abs(exact.c - a.c + (exact.a - a.a) * columns), abs(exact.f - a.f + (exact.e - a.e) * rows),
        )  # fmt: skip
        return (row, column) if off <= tolerance * self.cell else None


def _grids() -> dict[str, EaseGrid]:
    grids = {}
    left, top = -17367530.445161499, 7314540.830638599
    # The 36/9/3/1 km family shares one corner; 25 and 12.5 km share another (their top is lower).
    top25 = 7307375.92
    for suffix, cell, rows, columns, y in (
        ("M36km", 36032.220840584, 406, 964, top),
        ("M25km", 25025.26, 584, 1388, top25),
        ("M12.5km", 12512.63, 1168, 2776, top25),
        ("M09km", 9008.055210146, 1624, 3856, top),
        ("M03km", 3002.6850700487, 4872, 11568, top),
        ("M01km", 1000.89502334956, 14616, 34704, top),
    ):
        name = f"EASE2_{suffix}"
        grids[name] = EaseGrid(name, 6933, rows, columns, cell, left if y == top else -17367530.44, y)
    for pole, epsg in (("N", 6931), ("S", 6932)):
        for resolution, size in (
            ("36km", 500),
            ("25km", 720),
            ("12.5km", 1440),
            ("09km", 2000),
            ("03km", 6000),
            ("01km", 18000),
        ):
            name = f"EASE2_{pole}{resolution}"
            grids[name] = EaseGrid(name, epsg, size, size, 18_000_000.0 / size, -9_000_000.0, 9_000_000.0)
    return grids


EASE_GRIDS: dict[str, EaseGrid] = _grids()
"""All NSIDC EASE-Grid 2.0 grids by name."""


def _same_crs(geobox: GeoBox, epsg: int) -> bool:
    if geobox.crs is None:
        return False
    return same_crs(crs_text(geobox), f"EPSG:{epsg}")


def named_grid(name: str) -> EaseGrid:
    """The grid of that NSIDC name, or an error with the nearest match."""
    require_choice("grid", name, EASE_GRIDS)
    return EASE_GRIDS[name]


def ease_grid(name: str, region: object = None) -> GeoBox:
    """GeoBox of an EASE-Grid 2.0 grid, or of a region of it.

    Parameters
    ----------
    name : str
        NSIDC name: ``EASE2_M36km``, ``M25km``, ``M12.5km``, ``M09km``, ``M03km``, ``M01km`` (global,
        EPSG:6933), the same resolutions as ``EASE2_N...`` (EPSG:6931) and ``EASE2_S...`` (EPSG:6932).
    region : None, str, tuple of float, or anything with a grid
        ``"conus"``, (west, south, east, north) in degrees (west > east crosses the dateline), or a
        dataset or GeoBox whose footprint is to be covered. Clipped outward to whole cells.

    Returns
    -------
    odc.geo.geobox.GeoBox
        y descends. A region across the dateline continues beyond the eastern edge of the grid.

    Raises
    ------
    UnknownNameError
        Unknown grid or region.
    NoOverlapError
        The region lies outside the grid.

    References
    ----------
    .. [1] Brodzik et al. (2012, 2014), doi:10.3390/ijgi1010032, doi:10.3390/ijgi3031154.

    Examples
    --------
    >>> import xsoil
    >>> xsoil.ease_grid("EASE2_M36km").shape
    Shape2d(x=964, y=406)
    >>> xsoil.ease_grid("EASE2_M09km", "conus").shape
    Shape2d(x=627, y=283)
    """
    grid = named_grid(name)
    if region is None:
        return grid.geobox
    if isinstance(region, str):
        if region not in REGIONS:
            raise UnknownNameError.of("region", region, (*REGIONS, "(west, south, east, north) in degrees"))
        region = REGIONS[region]
    if isinstance(region, (tuple, list, np.ndarray)):
        x, y = _box_points(grid, region)
    else:
        from xsoil.grids.geobox import grid_of

        x, y = footprint_points(grid_of(region), grid.epsg)
    return cover(grid, x, y)


def cover(grid: EaseGrid, x: np.ndarray, y: np.ndarray) -> GeoBox:
    """The smallest window of `grid` over points in its CRS [m]; non-finite points are left out."""
    finite = np.isfinite(x) & np.isfinite(y)
    if not finite.any():
        raise NoOverlapError(f"the region lies outside {grid.name}; give a region inside its projection")
    column, row = (x[finite] - grid.left) / grid.cell, (grid.top - y[finite]) / grid.cell
    r0, r1 = math.floor(row.min() + EDGE_TOLERANCE), math.ceil(row.max() - EDGE_TOLERANCE)
    c0, c1 = math.floor(column.min() + EDGE_TOLERANCE), math.ceil(column.max() - EDGE_TOLERANCE)
    r0, r1 = max(r0, 0), min(max(r1, r0 + 1), grid.rows)
    if grid.epsg == 6933:  # periodic in x: a window may cross the dateline
        c1 = max(c1, c0 + 1)
        if c1 - c0 >= grid.columns:
            c0, c1 = 0, grid.columns
        else:
            shift = (c0 // grid.columns) * grid.columns
            c0, c1 = c0 - shift, c1 - shift
    else:
        c0, c1 = max(c0, 0), min(max(c1, c0 + 1), grid.columns)
    if r1 <= r0 or c1 <= c0:
        raise NoOverlapError(
            f"the region lies outside {grid.name} (rows {r0}..{r1}, columns {c0}..{c1} of {grid.rows} x {grid.columns})"
        )
    return grid.window(r0, c0, r1 - r0, c1 - c0)


def box_in_degrees(box: object) -> tuple[float, float, float, float]:
    """(west, south, east, north), checked; east is beyond 180 where the box crosses the dateline."""
    try:
        west, south, east, north = (float(v) for v in box)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise ArgumentError(f"region {box!r} is not (west, south, east, north) in degrees") from None
    if not (-90 <= south < north <= 90 and -360 <= west <= 360 and -360 <= east <= 360 and west != east):
        raise ArgumentError(
            f"region {(west, south, east, north)} is not (west, south, east, north) in degrees: south < north "
            "within -90..90, longitudes within -360..360 (west > east crosses the dateline)"
        )
    if west > east:
        east += 360.0
    return west, south, min(east, west + 360.0), north


def _box_points(grid: EaseGrid, box: object) -> tuple[np.ndarray, np.ndarray]:
    """Points of a box in degrees, dense enough for its extent in the grid's CRS."""
    west, south, east, north = box_in_degrees(box)
    # Multiples of 45 degrees hold the extremes of a polar projection.
    meridians = np.arange(math.ceil(west / 45), math.floor(east / 45) + 1) * 45.0
    lon = np.unique(np.concatenate([np.linspace(west, east, 65), meridians]))
    lat = np.linspace(south, north, 65)
    x, y = np.meshgrid(lon, lat)
    return project(x.ravel(), y.ravel(), "EPSG:4326", grid.epsg)


def footprint_points(geobox: GeoBox, epsg: int) -> tuple[np.ndarray, np.ndarray]:
    """A lattice of the geobox's footprint, edges included, in another CRS."""
    rows, columns = geobox.shape
    column, row = np.meshgrid(np.linspace(0, columns, 129), np.linspace(0, rows, 129))
    return project(*to_world(geobox.affine, column.ravel(), row.ravel()), crs_text(geobox), epsg)


def project(x: np.ndarray, y: np.ndarray, source: str, epsg: int) -> tuple[np.ndarray, np.ndarray]:
    """Transform points; between longitudes and EPSG:6933 the x axis is not wrapped at 180 degrees."""
    geographic = is_geographic(source)
    if same_crs(source, f"EPSG:{epsg}"):
        return x, y
    wrapped = x
    if geographic:  # PROJ refuses longitudes beyond 10 radians
        y, wrapped = np.clip(y, -90.0, 90.0), np.remainder(x + 180.0, 360.0) - 180.0
    px, py = (np.asarray(v) for v in transformer(source, f"EPSG:{epsg}").transform(wrapped, y))
    if epsg == 6933 and geographic:
        px = x * (WORLD / 360.0)
    elif epsg == 6933 and np.isfinite(px).any():
        px = _unwrap(px)
    return px, py


def _unwrap(x: np.ndarray) -> np.ndarray:
    """Bring points on both sides of the dateline together, where that is the shorter way round."""
    finite = np.sort(x[np.isfinite(x)])
    gaps = np.diff(finite)
    if gaps.size == 0:
        return x
    widest = int(gaps.argmax())
    # The footprint is what is left of the circle without its widest gap.
    if gaps[widest] <= WORLD - (finite[-1] - finite[0]) or gaps[widest] < 0.05 * WORLD:
        return x
    return np.where(x <= finite[widest], x + WORLD, x)


def ease_rowcol(geobox: GeoBox) -> tuple[int, int]:
    """0-based row and column, in the full grid, of the first (upper-left) cell of a window.

    Parameters
    ----------
    geobox : odc.geo.geobox.GeoBox or anything with a grid
        A window of an EASE-Grid 2.0 grid.

    Raises
    ------
    GridMismatchError
        The grid is not a window of any EASE-Grid 2.0 grid (a cell size of 9000 m is a common mistake).
    """
    from xsoil.grids.geobox import grid_of

    box = grid_of(geobox)
    found = find_ease(box)
    if found is None:
        raise GridMismatchError(
            f"{box.shape} cells of {box.resolution} in {box.crs} are not a window of an EASE-Grid 2.0 grid; "
            "expected exact cells such as 9008.055210146 m for EASE2_M09km: make the grid with xsoil.ease_grid(...)"
        )
    _, row, column = found
    return row, column


def find_ease(geobox: GeoBox, tolerance: float = 1e-4) -> tuple[EaseGrid, int, int] | None:
    """The EASE grid of which `geobox` is a window, with row and column of its first cell."""
    for grid in EASE_GRIDS.values():
        if abs(geobox.affine.a / grid.cell - 1) < 1e-3 and (rowcol := grid.locate(geobox, tolerance)):
            return grid, *rowcol
    return None
