"""Sheared area operators against polygons with densified edges, and their invariances."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from sheared_oracle import SINU, box, cover, oracle, reduced

from xsoil.errors import SoilError
from xsoil.grids import corners, sheared
from xsoil.grids.ease import EASE_GRIDS
from xsoil.grids.sheared import ShearedOverlap

ALL = slice(None)


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
    edges = np.array([(*r, *c) for r in itertools.pairwise(rows) for c in itertools.pairwise(cols)])
    tiles = iter(overlap.windows(*edges.T).tolist())
    for r0, r1 in itertools.pairwise(rows):
        for c0, c1 in itertools.pairwise(cols):
            window = overlap.window(slice(r0, r1), slice(c0, c1))
            ends = [at for along in window or () for at in (along.start, along.stop)]
            assert next(tiles) == (ends or [0, 0, 0, 0])
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


def test_coarse_pixels_bulge():
    source = box("EPSG:5070", -100, 42, 30000, 24, 30)
    target = cover(source, "EPSG:6933", 180161.10420292)
    values = np.random.default_rng(1).normal(25.0, 10.0, source.shape)
    found, fraction = ShearedOverlap(source, target).reduce(values[None], (0, 0), ALL, ALL, "mean")
    want, want_fraction = expected(*oracle(source, target, per_edge=100), values, "mean")
    solid = want_fraction > 0.1
    assert (np.abs(found[0].ravel() - want)[solid] / 25.0).max() < sheared.VALUE_BOUND
    np.testing.assert_allclose(fraction[0].ravel(), want_fraction, atol=sheared.VALUE_BOUND)


@pytest.mark.parametrize(
    ("crs", "lon", "lat", "pixel", "target", "cell"),
    [
        (SINU, 0, 0, 30000, "EPSG:4326", 0.27),
        ("EPSG:3035", 10, 52, 12000, "EPSG:6933", 30_000.0),
        ("ESRI:54052", 20, 60, 9000, "EPSG:6933", 22_500.0),
        ("EPSG:6933", 6.24, 0, 12345.678, "EPSG:3035", 12345.678),
    ],
)
def test_covered_cells_are_covered_once_where_opposite_edges_bend_unlike(crs, lon, lat, pixel, target, cell):
    source = box(crs, lon, lat, pixel, 44, 44)
    x, y = Transformer.from_crs("EPSG:4326", target, always_xy=True).transform(lon, lat)
    grid = GeoBox((3, 3), Affine(cell, 0, x - 1.5 * cell, 0, -cell, y + 1.5 * cell), target)
    overlap = ShearedOverlap(source, grid)
    pointer, _, areas = overlap.weights((0, 0), source.shape, ALL, ALL)  # as they are: fractions are rounded to 1
    covered = np.add.reduceat(areas, pointer[:-1]).reshape(grid.shape) / overlap.target_area(ALL, ALL)
    np.testing.assert_allclose(covered, 1.0, rtol=sheared.VALUE_BOUND)


def test_infinities_stay_where_they_are():
    source = box("EPSG:5070", -100, 40, 1000, 40, 50)
    target = cover(source, "EPSG:6933", 9008.055210146)
    values = np.full(source.shape, 2.0)
    values[20, 25] = np.inf
    mean, _ = reduced(source, target, values)
    assert np.isposinf(mean).sum() in (1, 2, 4)
    seen = np.isfinite(mean)
    np.testing.assert_allclose(mean[seen], 2.0, rtol=1e-12)
    assert not np.isnan(mean[reduced(source, target, np.ones(source.shape))[1] > 0]).any()
    low, _ = reduced(source, target, values, "min")
    assert np.isinf(low).sum() == 0


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.int64])
def test_extremes_of_integers(dtype):
    source = box("EPSG:5070", -100, 40, 1000, 30, 30)
    target = cover(source, "EPSG:6933", 9008.055210146)
    values = np.random.default_rng(0).integers(0, 200, source.shape).astype(dtype)
    if dtype == np.int64:
        values += 2**60
    high, fraction = reduced(source, target, values, "max")
    assert high.dtype == dtype
    whole, _ = reduced(source, target, (values - values.min()).astype(float), "max")
    np.testing.assert_array_equal(high[fraction > 0] - values.min(), whole[fraction > 0])


def test_single_pixels():
    source = box("EPSG:5070", -100, 40, 5000, 1, 1)
    target = cover(source, "EPSG:6933", 3002.6850700487)
    mean, fraction = reduced(source, target, np.full((1, 1), 7.0))
    np.testing.assert_allclose(mean[fraction > 0], 7.0, rtol=1e-12)
    areas = (fraction * 3002.6850700487**2).sum()
    np.testing.assert_allclose(areas, 25e6, rtol=1e-6)
    cell = GeoBox((1, 1), Affine(1e6, 0, -1e7, 0, -1e6, 5e6), "EPSG:6933")
    source = box("EPSG:5070", -96, 40, 100000, 30, 60)
    mean, fraction = reduced(source, cell, np.full(source.shape, 7.0))
    np.testing.assert_allclose(mean, 7.0, rtol=1e-12)
    assert fraction == 1.0


def test_any_orientation_of_the_source():
    source = box("EPSG:5070", -100, 40, 1000, 40, 50)
    target = cover(source, "EPSG:6933", 9008.055210146)
    values = np.random.default_rng(0).normal(25.0, 10.0, source.shape)
    want, _ = reduced(source, target, values)
    a = source.affine
    upward = GeoBox(source.shape, Affine(a.a, 0, a.c, 0, -a.e, a.f + 40 * a.e), source.crs)
    turned = GeoBox(source.shape[::-1], Affine(0, a.a, a.c, a.e, 0, a.f), source.crs)
    for grid, same in ((upward, values[::-1]), (turned, values.T)):
        found, _ = reduced(grid, target, same)
        np.testing.assert_allclose(found, want, rtol=1e-7)


def test_no_overlap_has_no_window():
    source = box("EPSG:5070", -100, 40, 1000, 10, 10)
    far = EASE_GRIDS["EASE2_M09km"].window(100, 3000, 20, 20)
    overlap = ShearedOverlap(source, far)
    assert overlap.window(ALL, ALL) is None
    assert not overlap.windows(*np.array([(0, 10, 0, 20), (10, 20, 0, 20)]).T).any()
    mean, fraction = overlap.reduce(np.ones((1, 10, 10)), (0, 0), ALL, ALL, "mean")
    assert np.isnan(mean).all()
    assert not fraction.any()


def test_lattices_are_kept_for_the_next_variable_and_change_nothing(monkeypatch):
    source, crs, cell, _ = CASES["albers"]
    values = np.random.default_rng(0).normal(25.0, 10.0, (1, *source.shape))
    overlap, built = ShearedOverlap(source, cover(source, crs, cell)), []
    build = corners.build
    monkeypatch.setattr(corners, "build", lambda *args: built.append(args[1]) or build(*args))
    first = overlap.reduce(values, (0, 0), ALL, ALL, "mean")
    again = overlap.reduce(values, (0, 0), ALL, ALL, "mean")
    assert len(built) == 1
    monkeypatch.setattr(corners, "KEPT_BYTES", 0)
    other = ShearedOverlap(source, cover(source, crs, cell))
    for _ in range(2):
        fresh = other.reduce(values, (0, 0), ALL, ALL, "mean")
    assert len(built) == 3
    for part in (again, fresh):
        np.testing.assert_array_equal(part[0], first[0])


def test_a_window_is_small_and_sufficient():
    source = box("EPSG:5070", -100, 40, 1000, 900, 900)
    target = cover(source, "EPSG:6933", 9008.055210146)
    overlap = ShearedOverlap(source, target)
    values = np.random.default_rng(0).normal(25.0, 10.0, (1, 900, 900))
    whole, _ = overlap.reduce(values, (0, 0), ALL, ALL, "mean")
    rows, cols = slice(40, 60), slice(50, 70)
    y, x = overlap.window(rows, cols)
    assert (y.stop - y.start) * (x.stop - x.start) < 2.5 * (20 * 9.0) ** 2
    part, _ = overlap.reduce(values[:, y, x], (y.start, x.start), rows, cols, "mean")
    np.testing.assert_array_equal(part, whole[:, rows, cols])


def test_it_refuses_what_it_does_not_know():
    source = box("EPSG:5070", -100, 40, 1000, 10, 10)
    overlap = ShearedOverlap(source, cover(source, "EPSG:6933", 9008.055210146))
    with pytest.raises(SoilError, match="unknown area operator 'meen'; did you mean 'mean'"):
        overlap.reduce(np.ones((1, 10, 10)), (0, 0), ALL, ALL, "meen")
    with pytest.raises(SoilError, match=r"expected numbers of shape \(layers, rows, columns\)"):
        overlap.reduce(np.ones((10, 10)), (0, 0), ALL, ALL, "mean")
    with pytest.raises(SoilError, match="empty tile"):
        overlap.reduce(np.ones((1, 10, 10)), (0, 0), slice(5, 5), ALL, "mean")
