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
    return source, target, values, oracle(source, target, work, 200 if request.param.startswith("coarse") else 48)


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


def test_extremes_agree_where_the_decision_is_clear(case):
    source, target, values, (weights, pixels, cells) = case
    overlap = ShearedOverlap(source, target)
    v = values.ravel()
    for how, pick, worst in (("min", np.min, np.inf), ("max", np.max, -np.inf)):
        found, _ = overlap.reduce(values[None], (0, 0), ALL, ALL, how)
        for cell in range(cells.size):
            smaller = np.minimum(pixels, cells[cell])
            sure = (weights[cell] > 1e-6 * smaller) & ~np.isnan(v)
            perhaps = (weights[cell] > 0) & ~np.isnan(v)
            want = pick(v[sure]) if sure.any() else worst
            # Slivers below 1e-6 of a cell may count or not.
            if perhaps.any() and pick(v[perhaps]) == want:
                assert found[0].ravel()[cell] == want


def test_weights_are_the_same_overlaps(case):
    source, target, values, (weights, _, cells) = case
    overlap = ShearedOverlap(source, target)
    indptr, indices, areas = overlap.weights((0, 0), source.shape, ALL, ALL)
    assert all(np.all(np.diff(indices[a:b]) > 0) for a, b in zip(indptr[:-1], indptr[1:]))
    dense = np.zeros_like(weights)
    dense[np.repeat(np.arange(cells.size), np.diff(indptr)), indices] = areas
    unit = np.broadcast_to(overlap.target_area(ALL, ALL), target.shape).ravel()
    np.testing.assert_allclose(dense / unit[:, None], weights / cells[:, None], atol=5e-7)
    ok = ~np.isnan(values.ravel())
    found, _ = overlap.reduce(values[None], (0, 0), ALL, ALL, "mean")
    with np.errstate(invalid="ignore"):
        mean = dense @ np.where(ok, values.ravel(), 0.0) / (dense @ ok)
    np.testing.assert_allclose(found[0].ravel(), mean, rtol=1e-11)


def test_sum_is_conserved(case):
    source, target, values, _ = case
    grown = target.pad(2)
    found, _ = ShearedOverlap(source, grown).reduce(values[None], (0, 0), ALL, ALL, "sum")
    np.testing.assert_allclose(np.nansum(found), np.nansum(values), rtol=1e-9)


def test_a_constant_stays_constant(case):
    source, target, values, _ = case
    constant = np.where(np.isnan(values), np.nan, 0.1)
    for dtype, rtol in ((np.float64, 1e-12), (np.float32, 1e-6)):
        found, _ = ShearedOverlap(source, target).reduce(constant[None].astype(dtype), (0, 0), ALL, ALL, "mean")
        seen = found[np.isfinite(found)]
        assert seen.size
        np.testing.assert_allclose(seen, 0.1, rtol=rtol)


def test_full_coverage_is_exactly_one():
    source = box("EPSG:5070", -100, 40, 1000, 60, 60)
    target = cover(source, "EPSG:6933", 9008.055210146)
    _, fraction = ShearedOverlap(source, target).reduce(np.ones((1, 60, 60)), (0, 0), ALL, ALL, "mean")
    assert (fraction == 1.0).sum() > 10
    assert fraction.max() == 1.0


TILED = ["albers", "homolosine kink", "sinusoidal", "lat-lon to polar", "utm target", "lat-lon target", "coarse 36 km"]
TILED += ["albers 1:1", "coarse onto fine"]


@pytest.mark.parametrize("name", TILED)
@settings(max_examples=12)
@given(data=st.data())
def test_tiles_windows_and_threads_change_no_bit(name, data):
    source, crs, cell, _ = CASES[name]
    target = cover(source, crs, cell)
    overlap = pickle.loads(pickle.dumps(ShearedOverlap(source, target)))
    values = np.random.default_rng(3).normal(25.0, 10.0, (2, *source.shape)).astype(np.float32)
    values[np.random.default_rng(8).random(values.shape) < 0.05] = np.nan
    how = data.draw(st.sampled_from(sheared.HOWS))
    whole, whole_fraction = overlap.reduce(values, (0, 0), ALL, ALL, how)
    rows, cols = (
        sorted({0, size, *data.draw(st.lists(st.integers(1, max(size - 1, 1)), max_size=2))}) for size in target.shape
    )
    tiles = overlap.windows(rows, cols)
    for i, (r0, r1) in enumerate(zip(rows[:-1], rows[1:])):
        for j, (c0, c1) in enumerate(zip(cols[:-1], cols[1:])):
            window = overlap.window(slice(r0, r1), slice(c0, c1))
            assert tiles.get((i, j)) == window
            if window is None:
                assert np.isnan(whole[:, r0:r1, c0:c1]).all()
                continue
            more = data.draw(st.tuples(*[st.integers(0, 9)] * 4))
            y0, y1 = max(window[0].start - more[0], 0), min(window[0].stop + more[1], source.shape[0])
            x0, x1 = max(window[1].start - more[2], 0), min(window[1].stop + more[3], source.shape[1])
            threads = data.draw(st.sampled_from([1, 2]))
            part = values[:, y0:y1, x0:x1]
            got, fraction = overlap.reduce(part, (y0, x0), slice(r0, r1), slice(c0, c1), how, threads)
            np.testing.assert_array_equal(got, whole[:, r0:r1, c0:c1])
            np.testing.assert_array_equal(fraction, whole_fraction[:, r0:r1, c0:c1])
