"""Grids to test sheared overlaps on; their overlaps as polygons with densified edges, or from sampled places."""

from __future__ import annotations

import numpy as np
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from xsoil.grids.sheared import ShearedOverlap

SINU = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +type=crs"
HOMOLOSINE = "ESRI:54052"


def reduced(source, target, values, how="mean"):
    """(result, valid fraction) of one layer on the whole target."""
    return ShearedOverlap(source, target).reduce(values[None], (0, 0), slice(None), slice(None), how)


def box(crs, lon, lat, cell, ny, nx):
    """A source grid whose middle lies at (lon, lat)."""
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
    x, y = (np.round(v / cell) * cell for v in (x, y))
    return GeoBox((ny, nx), Affine(cell, 0, x - cell * (nx // 2), 0, -cell, y + cell * (ny // 2)), crs)


def grid(crs: str, west: float, east: float, south: float, north: float, shape: tuple[int, int]) -> GeoBox:
    """A grid of `shape` between these edges."""
    rows, columns = shape
    return GeoBox(shape, Affine((east - west) / columns, 0, west, 0, (south - north) / rows, north), crs)


def degrees(cell: float) -> GeoBox:
    """The world in longitude and latitude."""
    return grid("EPSG:4326", -180, 180, -90, 90, (round(180 / cell), round(360 / cell)))


def cylinder(shape: tuple[int, int]) -> GeoBox:
    """The world in EASE-Grid Global."""
    return grid("EPSG:6933", -17367530.445, 17367530.445, -7314540.83, 7314540.83, shape)


def cover(source, crs, cell, margin=0):
    """A target grid in `crs` over the whole source."""
    x, y = outline(source, crs, 9)
    west, east = np.floor(x.min() / cell) - margin, np.ceil(x.max() / cell) + margin
    south, north = np.floor(y.min() / cell) - margin, np.ceil(y.max() / cell) + margin
    return GeoBox((int(north - south), int(east - west)), Affine(cell, 0, west * cell, 0, -cell, north * cell), crs)


def outline(source, crs, per_edge):
    """Points (ny, nx, 4 * per_edge) of the densified pixel outlines in `crs`."""
    ny, nx = source.shape
    t = np.arange(per_edge) / per_edge
    dc, dr = np.concatenate([t, 1 + 0 * t, 1 - t, 0 * t]), np.concatenate([0 * t, t, 1 + 0 * t, 1 - t])
    r, c = np.mgrid[:ny, :nx]
    x, y = source.affine @ (c[..., None] + dc, r[..., None] + dr)
    x, y = Transformer.from_crs(source.crs.proj, crs, always_xy=True).transform(x, y)
    return np.asarray(x), np.asarray(y)


def oracle(source, target, work="target", per_edge=48):
    """Dense overlaps (target cells, pixels) in CRS units, areas of the pixels and of the cells."""
    crs = target.crs.proj if work == "target" else work
    pixels = shapely.polygons(np.stack(outline(source, crs, per_edge), axis=-1).reshape(-1, 4 * per_edge, 2))
    cells = shapely.polygons(
        np.stack(outline(target, crs, 1 if work == "target" else per_edge), axis=-1).reshape(
            -1, (1 if work == "target" else per_edge) * 4, 2
        )
    )
    weights = np.zeros((cells.size, pixels.size))
    c, p = shapely.STRtree(pixels).query(cells, predicate="intersects")
    weights[c, p] = shapely.area(shapely.intersection(cells[c], pixels[p]))
    return weights, shapely.area(pixels), shapely.area(cells)


def homolosine(shape: tuple[int, int]) -> GeoBox:
    return grid(HOMOLOSINE, -20037508, 20037508, -8683259, 8683259, shape)


def sampled(source: GeoBox, target: GeoBox, values: np.ndarray, n: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Means of the nearest pixels of n x n places in each cell, and the shares of those that have one."""
    t = (np.arange(n) + 0.5) / n
    rows, columns = target.shape
    column, row = np.meshgrid((np.arange(columns)[:, None] + t).ravel(), (np.arange(rows)[:, None] + t).ravel())
    a = target.affine
    x, y = a.a * column + a.c, a.e * row + a.f
    to = Transformer.from_crs(target.crs, source.crs, always_xy=True)
    px, py = (np.asarray(p) for p in to.transform(x, y))
    b = ~source.affine
    c, r = b.a * px + b.c, b.e * py + b.f
    known = np.isfinite(c + r) & (c >= 0) & (c < source.shape[1]) & (r >= 0) & (r < source.shape[0])
    near = np.zeros(known.shape)
    near[known] = values[r[known].astype(int), c[known].astype(int)]
    blocks = (rows, n, columns, n)
    share = known.reshape(blocks).mean(axis=(1, 3))
    with np.errstate(invalid="ignore"):
        return near.reshape(blocks).sum(axis=(1, 3)) / known.reshape(blocks).sum(axis=(1, 3)), share
