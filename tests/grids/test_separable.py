"""Separable overlaps: operators against dense overlaps, and what must not change a bit of them."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pixel_lists import reduce_lists
from pyproj import Transformer

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.grids.ease import EASE_GRIDS
from xsoil.grids.order_kernels import FRACTION, MODE, QUANTILE, STD
from xsoil.grids.overlap import footprint_on, overlap_of
from xsoil.grids.separable import SeparableOverlap

ALL = slice(None)
CLASSES = np.array([-2.0, 0.0, 1.0, 3.0, np.inf])
HOWS = [("quantile", 0.5), ("quantile", 0.2), ("mode", None), ("std", None), ("fraction", CLASSES)]


def box(x, y, cell, ny, nx, crs="EPSG:6933"):
    """A grid from its upper left corner."""
    return GeoBox((ny, nx), Affine(cell, 0, x, 0, -cell, y), crs)


def field(rng, shape, kind, dtype=np.float32):
    """Values with gaps: alone and in a block."""
    make = {"many": lambda: rng.normal(0, 10, shape), "few": lambda: rng.integers(0, 6, shape)}
    values = (make[kind]() if kind in make else rng.integers(-3, 4, shape)).astype(dtype)
    values[rng.random(shape) < 0.1] = np.nan
    values[..., : shape[-2] // 3, : shape[-1] // 4] = np.nan
    return values


def dense(source, target):
    """Lengths along rows and columns that cells of the target share with those of the source."""
    edges = []
    for a in (source.affine, target.affine):
        ny, nx = (source if a is source.affine else target).shape
        edges.append((a.f + a.e * np.arange(ny + 1), a.c + a.a * np.arange(nx + 1)))
    shared = []
    for ours, theirs in zip(*edges):
        lo = np.maximum(np.minimum(ours[:-1], ours[1:]), np.minimum(theirs[:-1], theirs[1:])[:, None])
        hi = np.minimum(np.maximum(ours[:-1], ours[1:]), np.maximum(theirs[:-1], theirs[1:])[:, None])
        shared.append(np.maximum(hi - lo, 0.0))
    return shared


def by_lists(source, target, values, how, parameter):
    """What `select` should say, from the lists of all pixels; None and shares of the valid area."""
    rows, columns = dense(source, target)
    area = np.einsum("ry,cx->rcyx", rows, columns).reshape(rows.shape[0] * columns.shape[0], -1)
    area[area < 1e-6 * area.max()] = 0.0
    indptr = np.arange(area.shape[0] + 1) * area.shape[1]
    pixel = np.tile(np.arange(area.shape[1]), area.shape[0])
    code = {"quantile": QUANTILE, "mode": MODE, "std": STD, "fraction": FRACTION}[how]
    classes = CLASSES if how == "fraction" else CLASSES[:1]
    result = np.empty((len(values), classes.size, area.shape[0]))
    valid = np.empty((len(values), area.shape[0]))
    q = parameter if how == "quantile" else 0.5
    reduce_lists(values, indptr, pixel, area.ravel(), code, q, classes, 0, area.shape[0], result, valid)
    shape = rows.shape[0], columns.shape[0]
    result = result.reshape(len(values), -1, *shape)
    return result if how == "fraction" else result[:, 0], valid.reshape(-1, *shape) / abs(target.affine.determinant)


@given(
    cell=st.sampled_from([0.31, 1.0, 2.0, 2.7, 7.3, 40.0]),
    corner=st.tuples(st.floats(-3, 1), st.floats(-1, 3)),
    kind=st.sampled_from(["many", "few", "signed"]),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_order_operators_are_those_of_the_lists(cell, corner, kind, seed):
    source, rng = box(0, 0, 1.0, 17, 23), np.random.default_rng(seed)
    corner = (round(corner[0], 1), round(corner[1], 1))
    target = box(*corner, cell, int(min(18 // cell + 2, 20)), int(min(24 // cell + 2, 20)))
    values = field(rng, (2, 17, 23), kind)
    overlap = SeparableOverlap(source, target)
    for how, parameter in HOWS:
        result, fraction = overlap.select(values, (0, 0), ALL, ALL, how, parameter)
        expected, valid = by_lists(source, target, values, how, parameter)
        np.testing.assert_allclose(fraction, valid, atol=1e-9)
        tolerance = {"rtol": 1e-9, "atol": 1e-9} if how in ("std", "fraction") else {"rtol": 0}
        np.testing.assert_allclose(result, expected, **tolerance)
        np.testing.assert_array_equal(fraction, overlap.reduce(values, (0, 0), ALL, ALL, "mean")[1])


@pytest.fixture(scope="module")
def world():
    """A whole 3-degree world, where columns run beyond the ends of the axis, and its overlap."""
    source = GeoBox((60, 120), Affine(3, 0, -180, 0, -3, 90), "EPSG:4326")
    whole = EASE_GRIDS["EASE2_M36km"]
    target = GeoBox((40, 97), Affine(372_000, 0, -18_042_000, 0, -360_000, 7_200_000), footprint_on(whole, source).crs)
    return source, target, field(np.random.default_rng(1), (2, 60, 120), "few")


@pytest.mark.parametrize(("how", "parameter"), HOWS)
def test_tiles_windows_and_threads_change_no_bit(world, how, parameter):
    source, target, values = world
    overlap = SeparableOverlap.of(source, target)
    result, fraction = overlap.select(values, (0, 0), ALL, ALL, how, parameter)
    threaded = overlap.select(values, (0, 0), ALL, ALL, how, parameter, threads=3)
    np.testing.assert_array_equal(threaded[0], result)
    for rows, columns in [(slice(0, 7), slice(3, 50)), (slice(11, 12), slice(90, 97)), (slice(5, 40), slice(40, 41))]:
        part = overlap.window(rows, columns)
        taken = np.take(values[:, part[0]], np.arange(part[1].start, part[1].stop), axis=2, mode="wrap")
        tile = overlap.select(taken, (part[0].start, part[1].start), rows, columns, how, parameter)
        np.testing.assert_array_equal(tile[0], result[..., rows, columns])
        np.testing.assert_array_equal(tile[1], fraction[..., rows, columns])


@pytest.mark.parametrize(("how", "parameter"), HOWS)
@pytest.mark.parametrize("kind", ["many", "few"])
def test_flips_and_rolls_of_the_source_change_nothing(world, how, parameter, kind):
    source, target, _ = world
    values = field(np.random.default_rng(2), (2, 60, 120), kind)
    result, fraction = SeparableOverlap.of(source, target).select(values, (0, 0), ALL, ALL, how, parameter)
    tolerance = 0.0 if how in ("quantile", "mode") else 1e-12
    turned = [
        (GeoBox((60, 120), Affine(3, 0, -180, 0, 3, -90), "EPSG:4326"), values[:, ::-1]),
        (GeoBox((60, 120), Affine(-3, 0, 180, 0, -3, 90), "EPSG:4326"), values[:, :, ::-1]),
        (GeoBox((60, 120), Affine(3, 0, 0, 0, -3, 90), "EPSG:4326"), np.roll(values, 60, axis=2)),
    ]
    for grid, field_there in turned:
        other = SeparableOverlap.of(grid, target).select(field_there, (0, 0), ALL, ALL, how, parameter)
        np.testing.assert_allclose(other[0], result, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(other[1], fraction, rtol=1e-12)


def test_one_cell_that_holds_the_whole_source():
    values = field(np.random.default_rng(3), (1, 500, 700), "many").round(2)
    known = np.sort(values[~np.isnan(values)])
    overlap = SeparableOverlap(box(0, 0, 1.0, 500, 700), box(-50, 50, 1000.0, 1, 1))
    each, count = np.unique(known, return_counts=True)
    for how, q, expected in [
        ("quantile", 0.0, known[0]),
        ("quantile", 1.0, known[-1]),
        ("quantile", 0.31, known[int(np.ceil(0.31 * known.size)) - 1]),
        ("mode", None, each[count.argmax()]),
    ]:
        result, fraction = overlap.select(values, (0, 0), ALL, ALL, how, q)
        assert result[0, 0, 0] == expected
        assert fraction[0, 0, 0] == pytest.approx(known.size / 1e6)
    deviation, _ = overlap.select(values, (0, 0), ALL, ALL, "std")
    assert deviation[0, 0, 0] == pytest.approx(known.astype(float).std(), rel=1e-12)


def test_little_valid_area_is_weighed_as_exactly():
    values = np.full((1, 3000, 3000), np.nan, np.float32)
    values[0, 5, 3:6] = [1.5, 2.5, 9.5]
    overlap = SeparableOverlap(box(0, 0, 1.0, 3000, 3000), box(0, 0, 3000.0, 1, 1))
    assert overlap.select(values, (0, 0), ALL, ALL, "quantile", 1 / 3)[0] == 2.0
    assert overlap.select(values, (0, 0), ALL, ALL, "mode")[0] == 1.5
    shares = overlap.select(values, (0, 0), ALL, ALL, "fraction", np.array([9.5, 1.0]))[0]
    np.testing.assert_allclose(shares[0, :, 0, 0], [1 / 3, 0], rtol=1e-9)


@pytest.mark.parametrize("how", ["mean", "sum", "min", "max"])
@pytest.mark.parametrize("parts", [1, 4])
def test_targets_as_fine_as_the_source_or_finer(how, parts):
    values = field(np.random.default_rng(4), (1, 9, 11), "many", np.float64)
    overlap = SeparableOverlap(box(0, 0, 1.0, 9, 11), box(0, 0, 1.0 / parts, 9 * parts, 11 * parts))
    result, fraction = overlap.reduce(values, (0, 0), ALL, ALL, how)
    fine = values.repeat(parts, axis=1).repeat(parts, axis=2)
    np.testing.assert_allclose(result, fine / parts**2 if how == "sum" else fine, rtol=1e-13)
    np.testing.assert_allclose(fraction, ~np.isnan(fine), rtol=1e-13)


def test_a_constant_has_no_deviation():
    values = np.full((1, 30, 40), 0.1, np.float64)
    values[0, :3, :5] = np.nan
    overlap = SeparableOverlap(box(0, 0, 1.0, 30, 40), box(0, 0, 3.7, 8, 10))
    assert set(overlap.select(values, (0, 0), ALL, ALL, "std")[0].ravel()) == {0.0}


@pytest.mark.parametrize(
    ("how", "parameter", "error", "says"),
    [
        ("median", None, UnknownNameError, "median"),
        ("quantile", 1.5, ArgumentError, "between 0 and 1, found 1.5"),
        ("quantile", None, ArgumentError, "between 0 and 1, found None"),
        ("quantile", float("nan"), ArgumentError, "between 0 and 1"),
        ("fraction", np.ones((2, 2)), ArgumentError, "1-D array of classes"),
    ],
)
def test_faults(how, parameter, error, says):
    overlap = SeparableOverlap(box(0, 0, 1.0, 3, 3), box(0, 0, 3.0, 1, 1))
    with pytest.raises(error, match=says):
        overlap.select(np.zeros((1, 3, 3), np.float32), (0, 0), ALL, ALL, how, parameter)


def test_integers_are_refused():
    overlap = SeparableOverlap(box(0, 0, 1.0, 3, 3), box(0, 0, 3.0, 1, 1))
    with pytest.raises(ArgumentError, match="float32 or float64, found int16"):
        overlap.select(np.zeros((1, 3, 3), np.int16), (0, 0), ALL, ALL, "mode")


@pytest.mark.parametrize("columns", [500, 700])
@pytest.mark.parametrize("kind", ["many", "few"])
def test_wide_cells_are_like_others(columns, kind):
    """Cells of more than 512 columns are prepared in place: twice as wide pixels must say the same."""
    values = field(np.random.default_rng(5), (1, 6, columns), kind)
    overlap = SeparableOverlap(box(0, 0, 1.0, 6, columns), box(0, 0, columns, 1, 1))
    doubled = SeparableOverlap(box(0, 0, 0.5, 12, 2 * columns), box(0, 0, columns, 1, 1))
    fine = values.repeat(2, axis=1).repeat(2, axis=2)
    for how, parameter in HOWS:
        one, _ = overlap.select(values, (0, 0), ALL, ALL, how, parameter)
        other, _ = doubled.select(fine, (0, 0), ALL, ALL, how, parameter)
        np.testing.assert_allclose(other, one, rtol=1e-12)


@pytest.mark.parametrize("how", ["mean", "median"])
def test_valid_fractions_do_not_round_to_more_than_one(how):
    source, target = box(-364197.501, 615432.0893, 12345.678, 11, 59), box(-7407.4068, 501851.8517, 3703.7034, 4, 4)
    overlap, values = SeparableOverlap.of(source, target), np.ones((1, *source.shape))
    if how == "mean":
        _, fraction = overlap.reduce(values, (0, 0), ALL, ALL, "mean")
    else:
        _, fraction = overlap.select(values, (0, 0), ALL, ALL, "quantile", 0.5)
    assert fraction.max() <= 1.0
    np.testing.assert_allclose(fraction, 1.0, rtol=1e-12)


@pytest.mark.parametrize(
    ("crs", "left", "width"),
    [
        ("EPSG:3832", 2.0e6, 60),  # Mercator of the Pacific: the dateline is at 3.34 million m
        ("EPSG:3857", -20050000.0, 40),  # begins 12 km before the world does
    ],
)
def test_mercator_across_the_dateline(crs, left, width):
    target = GeoBox((12, width), Affine(50000, 0, left, 0, -50000, 300000), crs)
    globe = GeoBox((180, 3600), Affine(0.1, 0, -180, 0, -0.1, 9), "EPSG:4326")
    overlap = overlap_of(globe, target)
    assert isinstance(overlap, SeparableOverlap)
    total, fraction = overlap.reduce(np.ones((1, *globe.shape)), (0, 0), slice(None), slice(None), "sum")
    turns = 3600 * width * 50000 / (2 * np.pi * 6378137)
    np.testing.assert_allclose(total[0, 3].sum(), total[0, 3, 0] * width, rtol=1e-9)
    latitude = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform([0, 0], [-300000, 300000])[1]
    np.testing.assert_allclose(total.sum(), turns * (latitude[1] - latitude[0]) / 0.1, rtol=1e-6)
    np.testing.assert_allclose(fraction, 1.0, rtol=1e-9)
