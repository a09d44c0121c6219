"""Sheared area operators where the world ends: datelines, poles, tears of a projection."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from sheared_oracle import box, reduced

from xsoil.grids.ease import EASE_GRIDS, ease_grid
from xsoil.grids.index_map import IndexMap
from xsoil.grids.sheared import ShearedOverlap
from xsoil.grids.sheared_split import sheared_overlap

ALL = slice(None)


def test_the_dateline_may_be_crossed_by_both_grids():
    source = box("EPSG:3571", 180, 65, 5000, 80, 100)
    values = np.random.default_rng(0).normal(25.0, 10.0, source.shape)
    grid = EASE_GRIDS["EASE2_M36km"]
    beyond = grid.window(10, 940, 60, 60)
    assert beyond.affine.c + 60 * grid.cell > 17.4e6
    across, across_fraction = reduced(source, beyond, values)
    whole, _ = reduced(source, grid.geobox, values)
    joined = np.concatenate([whole[..., 940:], whole[..., :36]], axis=2)[:, 10:70]
    # Areas of pixels are kept in single precision: counted from another column, one in 10,000 is rounded the other way.
    np.testing.assert_allclose(across, joined, rtol=1e-9)
    assert (across_fraction[..., :24] == 1.0).any()
    assert (across_fraction[..., 24:] == 1.0).any()
    total, _ = reduced(source, grid.geobox, values, "sum")
    np.testing.assert_allclose(np.nansum(total), values.sum(), rtol=1e-9)
    for west in (-180, 0):
        degrees = GeoBox((180, 360), Affine(1, 0, west, 0, -1, 90), "EPSG:4326")
        total, _ = reduced(source, degrees, values, "sum")
        np.testing.assert_allclose(np.nansum(total), values.sum(), rtol=1e-9)


def test_a_pole_inside():
    source = GeoBox((80, 80), Affine(25000, 0, -1e6, 0, -25000, 1e6), "EPSG:3413")
    values = np.random.default_rng(0).normal(25.0, 10.0, source.shape)
    degrees = GeoBox((45, 360), Affine(1, 0, -180, 0, -1, 90), "EPSG:4326")
    total, fraction = reduced(source, degrees, values, "sum")
    np.testing.assert_allclose(np.nansum(total), values.sum(), rtol=1e-9)
    np.testing.assert_allclose(fraction[0, 1:8], 1.0, atol=1e-5)
    np.testing.assert_allclose(fraction[0, 0], 1.0, atol=5e-3)
    grid = ease_grid("EASE2_N36km", (-180, 70, 180, 90))
    globe = GeoBox((180, 360), Affine(1, 0, -180, 0, -1, 90), "EPSG:4326")
    mean, fraction = reduced(globe, grid, np.full(globe.shape, 3.5))
    np.testing.assert_allclose(fraction, 1.0, atol=1e-6)
    np.testing.assert_allclose(mean, 3.5, rtol=1e-12)


def test_a_target_beyond_the_pole():
    # PROJ takes what lies beyond the pole of a cylindrical projection for the pole, where pixels have no area.
    source = GeoBox((12, 20), Affine(5000, 0, -50000, 0, -5000, 17500), "EPSG:6931")
    cell = 2 * 17367530.445161 / 174
    target = GeoBox((14, 174), Affine(cell, 0, -87 * cell, 0, -cell, 8742230), "EPSG:6933")
    total, fraction = reduced(source, target, np.ones(source.shape), "sum")
    np.testing.assert_allclose(np.nansum(total), 240, rtol=1e-9)
    # The pole lies in a pixel.
    np.testing.assert_allclose(fraction.sum() * cell**2, 240 * 5000**2, rtol=2e-3)


def test_utm_cells_across_the_dateline():
    source = GeoBox((60, 90), Affine(0.05, 0, 178, 0, -0.05, -16.5), "EPSG:4326")
    target = GeoBox((40, 60), Affine(10000, 0, 5.5e5, 0, -10000, 8.2e6), "EPSG:32760")
    total, fraction = reduced(source, target, np.ones(source.shape), "sum")
    np.testing.assert_allclose(np.nansum(total), source.shape[0] * source.shape[1], rtol=1e-7)
    inner = fraction[6:30, 10:45]
    np.testing.assert_allclose(inner, 1.0, rtol=1e-7)
    longitude = Transformer.from_crs(32760, 4326, always_xy=True).transform([6.5e5, 1e6], [8.0e6, 8.0e6])[0]
    assert longitude[0] > 178
    assert longitude[1] < -178


def test_the_ends_of_a_world_that_keeps_no_areas():
    # Robinson: half of these cells or their neighbours lie off the world, where PROJ knows no area.
    source = GeoBox((60, 120), Affine(3, 0, -180, 0, -3, 90), "EPSG:4326")
    target = GeoBox((45, 90), Affine(400000, 0, -18e6, 0, -400000, 9e6), "ESRI:54030")
    total, fraction = sheared_overlap(source, target).reduce(np.ones((1, *source.shape)), (0, 0), ALL, ALL, "sum")
    np.testing.assert_allclose(np.nansum(total), 7200, rtol=1e-4)
    assert (fraction[0, 22] > 0).sum() == 86  # 17.0e6 m each way
    np.testing.assert_allclose(fraction[0, 22, 3:87], 1.0, rtol=1e-6)
    part = GeoBox((40, 6), Affine(10000, 0, 16639530, 0, -10000, 2266900), "ESRI:54030")
    fine = GeoBox((160, 24), Affine(2500, 0, 16639530, 0, -2500, 2266900), "ESRI:54030")
    total, _ = reduced(fine, part, np.ones(fine.shape), "sum")
    np.testing.assert_allclose(np.nansum(total), fine.shape[0] * fine.shape[1], rtol=1e-9)  # all: nothing is projected


@pytest.mark.parametrize(("cell", "west"), [(100e3, -1e6), (300e3, -1e6), (600e3, -1e6), (1200e3, -7.2e6)])
def test_coarse_cells_that_keep_no_areas_are_covered_once(cell, west):
    # Areas from the middles of such cells would be wrong by 2e-5, 6e-4, 6e-3 and 4e-2.
    size = int(2.4e6 / cell)
    target = GeoBox((size, size), Affine(cell, 0, west, 0, -cell, 1.2e6), "EPSG:32633")
    source = GeoBox((120, 300), Affine(0.3, 0, -65, 0, -0.3, 18), "EPSG:4326")
    overlap = ShearedOverlap(source, target)
    pointer, _, areas = overlap.weights((0, 0), source.shape, ALL, ALL)
    covered = np.add.reduceat(areas, pointer[:-1]) / overlap.target_area(ALL, ALL).ravel()
    np.testing.assert_allclose(covered, 1.0, atol=5e-6 if cell < 1e6 else 2e-5)


@pytest.mark.parametrize("cell", [1e6, 2e6, 4e6])
def test_areas_of_coarse_cells_are_those_of_their_parts(cell):
    source, parts = GeoBox((180, 360), Affine(1, 0, -180, 0, -1, 90), "EPSG:4326"), int(cell / 1e5)
    size = int(4e7 / cell)
    coarse, fine = (
        ShearedOverlap(source, GeoBox((n, n), Affine(4e7 / n, 0, -2e7, 0, -4e7 / n, 2e7), "EPSG:3857"))
        for n in (size, size * parts)
    )
    areas = fine.target_area(ALL, ALL).reshape(size, parts, size, parts).sum(axis=(1, 3))
    np.testing.assert_allclose(coarse.target_area(ALL, ALL), areas, rtol=5e-4)


def test_a_disc_of_the_earth_is_covered_to_its_limb():
    # There areas per cell are boundless: what lies beyond must not make those within the disc negative.
    cell, radius = 200e3, 6371e3
    target = GeoBox((64, 64), Affine(cell, 0, -32 * cell, 0, -cell, 32 * cell), f"+proj=ortho +R={radius} +type=crs")
    source = GeoBox((180, 180), Affine(1, 0, -90, 0, -1, 90), "EPSG:4326")
    _, fraction = reduced(source, target, np.ones(source.shape))
    x, y = np.meshgrid(*2 * [(np.arange(64) - 31.5) * cell])
    inside = np.hypot(x, y) < radius - 2 * cell
    np.testing.assert_allclose(fraction[0][inside], 1.0, atol=1e-3)


def test_pixels_across_the_cut_of_a_cone_are_no_strips_over_the_gap():
    # 84 E, the far side of Albers' cone for CONUS: thin parts of two pixels reached from one side to the other.
    source = GeoBox((2, 102), Affine(19607.843137, 0, 7801441, 0, -19607.843137, 19607.843137), "EPSG:6933")
    cell = 784313.7254902
    target = GeoBox((3, 3), Affine(cell, 0, -13090621.01, 0, -cell, 14113464.5), "EPSG:5070")
    overlap = ShearedOverlap(source, target)
    _, fraction = overlap.reduce(np.ones((1, *source.shape)), (0, 0), ALL, ALL, "mean")
    x, y = source.affine @ np.meshgrid((np.arange(102 * 40) + 0.5) / 40, (np.arange(80) + 0.5) / 40)
    x, y = ~target.affine @ np.array(Transformer.from_crs(6933, 5070, always_xy=True).transform(x, y))
    points = np.histogram2d(y.ravel(), x.ravel(), bins=(range(4), range(4)))[0]
    expected = points * (source.resolution.x / 40 / cell) ** 2
    np.testing.assert_allclose(fraction[0], expected, rtol=1e-3, atol=1e-6)
    for row in range(3):
        for column in range(3):
            one = overlap.reduce(
                np.ones((1, *source.shape)), (0, 0), slice(row, row + 1), slice(column, column + 1), "mean"
            )
            assert one[1][0, 0, 0] == fraction[0, row, column]


def test_pixels_across_a_tear_of_the_projection_are_not_whole():
    # 163 degrees from its central meridian, UTM tears along the equator: the image jumps by 20,000 cells.
    source = GeoBox((8, 8), Affine(250, 0, -14297132, 0, -425, 1800), "EPSG:6933")
    target = GeoBox((14, 25), Affine(2000, 0, -1425767, 0, -2000, 20009929), "EPSG:32633")
    overlap = ShearedOverlap(source, target)
    density = overlap._tile(ALL, ALL).density
    assert density.size < 1000  # it was 10,009 x 10,012: all memory of the machine for its projection
    total, fraction = overlap.reduce(np.ones((1, 8, 8)), (0, 0), ALL, ALL, "sum")
    # Four rows north of the equator, and of the fifth as much as lies north of it.
    np.testing.assert_allclose(np.nansum(total), 8 * 1800 / 425, rtol=2e-3)
    assert fraction.max() <= 1.0


def test_memory_is_bounded_where_all_pixels_span_a_tear():
    source = GeoBox((1, 43), Affine(1000, 0, -11055087, 0, -500, 250), "ESRI:54052")
    target = GeoBox((23, 17), Affine(1000, 0, -9392332, 0, -1000, 20007123), "EPSG:32633")
    assert ShearedOverlap(source, target)._tile(ALL, ALL).density.size < 1100**2  # 20,007 x 20,006 else


@pytest.mark.parametrize("cells", [1, 3])
@pytest.mark.parametrize("east", [-0.3, 0.5, 1.4])
def test_a_window_that_begins_at_the_dateline(cells, east):
    """The corners of its pixels lie on either side of the end of the period, none of them beyond it."""
    source = GeoBox((2, 8), Affine(1000.0, 0, -4000.0, 0, -1000.0, 1072157.0), "EPSG:6931")
    size = 1 / 370
    left = 180.0 - size * (cells - 1) - size * east / 2
    target = GeoBox((1, cells), Affine(size, 0, left, 0, -size, 80.39911168342809), "EPSG:4326")
    overlap, values = ShearedOverlap(source, target), np.arange(16.0).reshape(1, 2, 8)
    tile = slice(0, 1), slice(0, cells)
    whole, share = overlap.reduce(values, (0, 0), *tile, "mean")
    assert (share > 0.999).all()
    _, cols = overlap.window(*tile)
    for first in range(cols.start + 1):
        found, valid = overlap.reduce(values[:, :, first : cols.stop], (0, first), *tile, "mean")
        np.testing.assert_array_equal(found, whole)
        np.testing.assert_array_equal(valid, share)


LAMBERT = GeoBox((35, 35), Affine(1e5, 0, 2.5e6, 0, -1e5, 5e6), "EPSG:3035")
WITHIN_A_LOBE = GeoBox((20, 40), Affine(1e5, 0, 0, 0, -1e5, 7e6), "ESRI:54052")


@pytest.mark.parametrize(
    ("crs", "shape", "reach", "target"),
    [
        ("EPSG:4326", (2, 4), (180.0, 90.0), WITHIN_A_LOBE),
        ("EPSG:6933", (2, 4), (17367530.445, 7314540.83), LAMBERT),
        ("EPSG:6933", (4, 8), (17367530.445, 7314540.83), LAMBERT),
        ("ESRI:54052", (3, 5), (20037508.34, 8683259.0), LAMBERT),
    ],
)
def test_pixels_without_neighbours(crs, shape, reach, target):
    """Maps of the world in a few pixels: none has a place on all its sides, and all were too large to be sane."""
    (rows, columns), (x, y) = shape, reach
    source = GeoBox(shape, Affine(2 * x / columns, 0, -x, 0, -2 * y / rows, y), crs)
    numbers = np.arange(float(rows * columns)).reshape(shape)
    (found,), (covered,) = reduced(source, target, numbers)
    np.testing.assert_allclose(covered, 1.0, atol=1e-6)
    at = target.affine @ tuple(i + 0.5 for i in np.mgrid[0 : target.shape[0], 0 : target.shape[1]][::-1])
    column, row = ~source.affine @ Transformer.from_crs(target.crs, crs, always_xy=True).transform(*at)
    # Cells on the edges of pixels hold a mean of two.
    assert np.mean(np.abs(found - numbers[row.astype(int), column.astype(int)]) < 1e-9) > 0.88


def test_pixels_without_neighbours_are_not_divided_for_minutes(monkeypatch):
    """Homolosine pixels of 500 km near the pole, on a strip of 12 km cells (fuzzing of `downscale`): 22 M places."""
    places, forward = [], IndexMap.forward
    monkeypatch.setattr(IndexMap, "forward", lambda *a: places.append(np.size(a[1])) or forward(*a))
    strip = GeoBox((68, 6), Affine(12_345.678, 0, -512_386, 0, -20_987.65, 713_580), "EPSG:6931")
    source = GeoBox((23, 17), Affine(493_827.12, 0, -15_109_576, 0, -493_827.12, 14_171_399), "ESRI:54052")
    _, covered = reduced(source, strip, np.ones(source.shape))
    assert np.mean(covered == 1.0) > 0.8
    assert sum(places) < 1e6
