"""Sheared area operators against polygons with densified edges, and their invariances."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from xsoil.grids import sheared
from xsoil.grids.ease import EASE_GRIDS, ease_grid
from xsoil.grids.sheared import ShearedOverlap

ALL = slice(None)
SINU = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +type=crs"


def box(crs, lon, lat, cell, ny, nx):
    """A source grid whose middle lies at (lon, lat)."""
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
    x, y = (np.round(v / cell) * cell for v in (x, y))
    return GeoBox((ny, nx), Affine(cell, 0, x - cell * (nx // 2), 0, -cell, y + cell * (ny // 2)), crs)


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


def oracle(source, target, work="target", per_edge=24):
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


def expected(weights, pixels, cells, values, how):
    """The operators by their definitions; (result, valid fraction)."""
    v = values.ravel().astype(float)
    ok = ~np.isnan(v)
    w, v0 = weights * ok, np.where(ok, v, 0.0)
    area = w.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = w @ v0 / area
    total = np.where(area > 0, (w / pixels) @ v0, np.nan)
    result = {"mean": mean, "sum": total}
    return result[how], area / cells


CASES = {
    "albers": (box("EPSG:5070", -100, 40, 1000, 40, 50), "EPSG:6933", 9008.055210146, "target"),
    "albers corner": (box("EPSG:5070", -122, 47, 1000, 40, 50), "EPSG:6933", 9008.055210146, "target"),
    "albers 1:1": (box("EPSG:5070", -100, 45, 1000, 24, 30), "EPSG:6933", 1000.89502334956, "target"),
    "albers finer target": (box("EPSG:5070", -80, 35, 1000, 6, 7), "EPSG:6933", 310.0, "target"),
    "homolosine": (box("ESRI:54052", -90, 20, 1000, 40, 50), "EPSG:6933", 9008.055210146, "target"),
    "homolosine kink": (box("ESRI:54052", -90, 40.7366, 1000, 50, 50), "EPSG:6933", 9008.055210146, "target"),
    "sinusoidal": (box(SINU, 100, 50, 926.625433, 40, 50), "EPSG:6933", 9008.055210146, "target"),
    "utm": (box("EPSG:32633", 17, 48, 1000, 40, 50), "EPSG:6933", 9008.055210146, "target"),
    "polar target": (box("EPSG:5070", -100, 40, 1000, 40, 50), "EPSG:6931", 9000.0, "target"),
    "albers target": (box("EPSG:3035", 10, 48, 500, 40, 50), "EPSG:9473", 4000.0, "target"),
    "lat-lon to polar": (box("EPSG:4326", 20, 75, 0.05, 30, 60), "EPSG:6931", 9000.0, "target"),
    "utm target": (box("EPSG:3035", 12, 50, 1000, 30, 40), "EPSG:32632", 7000.0, "EPSG:6933"),
    "lat-lon target": (box("EPSG:5070", -110, 40, 1000, 40, 50), "EPSG:4326", 0.1, "EPSG:6933"),
    "coarse 36 km": (box("EPSG:5070", -100, 40, 36000, 12, 14), "EPSG:6933", 36032.220840584, "target"),
    "coarse onto fine": (box("EPSG:3035", 20, 55, 36000, 4, 5), "EPSG:6933", 9008.055210146, "target"),
}


@pytest.fixture(scope="module", params=CASES, ids=list(CASES))
def case(request):
    source, crs, cell, work = CASES[request.param]
    target = cover(source, crs, cell)
    values = np.random.default_rng(7).normal(25.0, 10.0, source.shape)
    values[np.random.default_rng(8).random(values.shape) < 0.05] = np.nan
    return source, target, values, oracle(source, target, work)


@pytest.mark.parametrize("how", ["mean", "sum"])
def test_agrees_with_polygons(case, how):
    source, target, values, (weights, pixels, cells) = case
    found, fraction = ShearedOverlap(source, target).reduce(values[None], (0, 0), ALL, ALL, how)
    want, want_fraction = expected(weights, pixels, cells, values, how)
    # Cells that the source barely touches are differences of large numbers in the oracle as well.
    solid = want_fraction > 1e-2
    scale = 25.0 if how == "mean" else 25.0 * np.median(cells) / np.median(pixels)
    error = np.abs(found[0].ravel() - want)[solid] / scale
    print(f"{how}: max {error.max():.1e}, fraction {np.abs(fraction[0].ravel() - want_fraction).max():.1e}")
    assert error.max() < sheared.VALUE_BOUND
    np.testing.assert_allclose(fraction[0].ravel(), want_fraction, atol=sheared.VALUE_BOUND)
