"""Pixels that the edge of the world or of a lobe cuts, or that hold a pole, count with the part inside."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from sheared_oracle import SINU, box, reduced

from xsoil.grids import sheared_edges
from xsoil.grids.ease import ease_grid
from xsoil.grids.sheared import ShearedOverlap

ALL = slice(None)
HOMOLOSINE = "ESRI:54052"


def across_the_lobes(cell=5000):
    """A source from one lobe of the homolosine over the gap to the next, both sides of 40 W at 30 N."""
    to = Transformer.from_crs("EPSG:4326", HOMOLOSINE, always_xy=True)
    (west, east), (south, north) = to.transform([-44, -36], [30, 30])[0], to.transform([-44, -44], [28, 32])[1]
    shape = int((north - south) // cell), int((east - west) // cell)
    return GeoBox(shape, Affine(cell, 0, west, 0, -cell, north), HOMOLOSINE)


EDGES = {
    "world, sinusoidal": (box(SINU, 178, 50, 5000, 70, 300), (179.3, 49.3, 180, 50.7)),
    "lobes, homolosine": (across_the_lobes(), (-40.8, 29, -39.2, 31)),
}


@pytest.mark.parametrize("name", EDGES)
def test_cells_at_an_edge_are_wholly_covered(name):
    source, region = EDGES[name]
    target = ease_grid("EASE2_M09km", region)
    values = np.where(np.arange(source.shape[1]) % 2, 3.0, 5.0) + np.zeros(source.shape)
    mean, fraction = reduced(source, target, values)
    np.testing.assert_allclose(fraction, 1.0, atol=2e-6)
    assert mean.min() > 3.0
    assert mean.max() < 5.0
    # What is cut is cut: without those pixels there is a seam.
    x, y = source.affine @ np.array(np.meshgrid(np.arange(source.shape[1] + 1.0), np.arange(source.shape[0] + 1.0)))
    lon, lat = Transformer.from_crs(source.crs.proj, "EPSG:4326", always_xy=True).transform(x, y)
    back, _ = Transformer.from_crs("EPSG:4326", source.crs.proj, always_xy=True).transform(lon, lat)
    known = np.abs(back - x) < 1.0
    whole = known[:-1, :-1] & known[:-1, 1:] & known[1:, :-1] & known[1:, 1:]
    _, less = reduced(source, target, np.where(whole, values, np.nan))
    assert less.min() < 0.95


def test_totals_and_lists_know_of_cut_pixels():
    source, _ = EDGES["world, sinusoidal"]
    target = ease_grid("EASE2_M09km", (160, 44, 180, 56))
    values = np.full(source.shape, 2.0)
    total, fraction = reduced(source, target, values, "sum")
    overlap = ShearedOverlap(source, target)
    pointer, pixels, areas = overlap.weights((0, 0), source.shape, ALL, ALL)
    np.testing.assert_allclose(
        np.add.reduceat(np.append(areas, 0.0), pointer[:-1]) * (np.diff(pointer) > 0), fraction[0].ravel(), atol=1e-6
    )
    inside = np.unique(pixels).size
    np.testing.assert_allclose(np.nansum(total), 2.0 * inside, rtol=1e-9)
    assert inside < values.size
    middle, same = overlap.select(values[None], (0, 0), ALL, ALL, "quantile", 0.5)
    # Single precision of each overlap; large pixels have few.
    np.testing.assert_allclose(same, fraction, rtol=1e-7, atol=1e-10)
    assert np.nanmax(middle) == 2.0


@pytest.mark.parametrize("name", EDGES)
@pytest.mark.parametrize("how", ["mean", "min"])
def test_tiles_and_windows_change_no_bit_at_an_edge(name, how):
    source, region = EDGES[name]
    target = ease_grid("EASE2_M09km", region)
    overlap = ShearedOverlap(source, target)
    values = np.random.default_rng(0).normal(25.0, 10.0, (1, *source.shape))
    whole, whole_fraction = overlap.reduce(values, (0, 0), ALL, ALL, how)
    height, width = target.shape
    for rows, cols in ((slice(0, height // 2), ALL), (ALL, slice(width // 2, width)), (slice(3, 4), slice(1, 5))):
        y, x = overlap.window(rows, cols)
        part = overlap.reduce(values[:, y, x], (y.start, x.start), rows, cols, how, 2)
        np.testing.assert_array_equal(part[0], whole[..., rows, cols])
        np.testing.assert_array_equal(part[1], whole_fraction[..., rows, cols])


@pytest.mark.parametrize("crs", [SINU, HOMOLOSINE, "ESRI:54009"])
def test_the_whole_world_is_covered_once(crs):
    source = GeoBox((125, 251), Affine(160000, 0, -20080000, 0, -160000, 10000000), crs)
    _, fraction = reduced(source, ease_grid("EASE2_M36km"), np.ones(source.shape))
    assert abs(fraction.mean() - 1.0) < 2e-4
    assert fraction.min() > 0.99
    # Pixels of 160 km at the ends of the world are drawn coarsely; elsewhere the map is smooth.
    np.testing.assert_allclose(fraction[:, 80:-80, 30:-30], 1.0, atol=5e-3)


def test_a_pole_within_a_pixel():
    source = GeoBox((81, 81), Affine(25000, 0, -1012500, 0, -25000, 1012500), "EPSG:3413")
    for west in (-180, 0):
        degrees = GeoBox((45, 360), Affine(1, 0, west, 0, -1, 90), "EPSG:4326")
        total, fraction = reduced(source, degrees, np.ones(source.shape), "sum")
        np.testing.assert_allclose(np.nansum(total), source.shape[0] * source.shape[1], rtol=1e-9)
        np.testing.assert_allclose(fraction[0, :8], 1.0, atol=5e-3)


def test_slices_of_what_is_divided_never_show(monkeypatch):
    """Memory is bounded by dividing some parts at a time; the numbers are those of all at once."""
    source, region = EDGES["lobes, homolosine"]
    target = ease_grid("EASE2_M09km", region)
    values = np.random.default_rng(0).random(source.shape)
    whole = reduced(source, target, values)
    monkeypatch.setattr(sheared_edges, "TOGETHER", 37)
    for one, other in zip(reduced(source, target, values), whole, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_lies_beyond_a_fold_is_not_divided_to_the_end(monkeypatch):
    """UTM turns over along the equator on the other side of the world: a row of pixels there has no sane part."""
    cell, divided = 12345.678, []
    source = GeoBox((40, 40), Affine(cell, 0, 5e5 - 20 * cell, 0, -cell, 19995929.886 + 20 * cell), "EPSG:32633")
    x = Transformer.from_crs("EPSG:4326", "EPSG:6933", always_xy=True).transform(-165, 0)[0]
    target = GeoBox((20, 20), Affine(30000, 0, x - 300000, 0, -30000, 300000), "EPSG:6933")
    real = sheared_edges._divided

    def counted(imap, rule, whole, level):
        divided.append((level, whole.pixel.size))
        return real(imap, rule, whole, level)

    monkeypatch.setattr(sheared_edges, "_divided", counted)
    mean, _ = reduced(source, target, np.ones(source.shape))
    assert np.nanmax(abs(mean - 1.0)) < 1e-9
    assert sum(size for level, size in divided if level == 0) >= 40
    assert sum(size for level, size in divided if level >= 2) == 0


@pytest.mark.parametrize("first", [-44.0, -44.1])
def test_gaps_between_lobes_stay_empty(first):
    # Pixels across the cut at 40 degrees west: with an edge on it, and cut in two. They were drawn over the whole gap.
    source = GeoBox((100, 16), Affine(0.5, 0, first, 0, -0.5, 60), "EPSG:4326")
    target = GeoBox((62, 50), Affine(1e5, 0, -7.2e6, 0, -1e5, 6.6e6), "+proj=igh +datum=WGS84 +type=crs")
    mean, fraction = reduced(source, target, np.ones(source.shape))
    lon, lat = places_within(target)
    with np.errstate(invalid="ignore"):
        inside = np.isfinite(lon) & (lon > first) & (lon < first + 8) & (lat > 10) & (lat < 60)
    want = inside.reshape(62, 10, 50, 10).mean(axis=(1, 3))
    assert want.sum() > 300
    assert np.abs(fraction[0] - want).max() < 0.07  # ten places each way
    np.testing.assert_allclose(mean[fraction > 0], 1, atol=1e-12)


def test_two_columns_at_the_end_of_the_world():
    """The one column lies at the other end of the target: what neighbours tell of the orientation is wrong."""
    source = GeoBox((13, 2), Affine(1000, 0, -999.99994, 0, -1000, 2472511), "EPSG:6931")
    target = GeoBox((11, 5), Affine(40000, 0, 11374864.0289, 0, -40000, 7468425.52436), "ESRI:54052")
    _, fraction = reduced(source, target, np.ones(source.shape))
    np.testing.assert_allclose(fraction.sum() * 40000**2, 13 * 1000**2, rtol=0.01)


def places_within(grid, parts=10):
    """Longitude and latitude of places within cells; NaN off the world."""
    rows, columns = (np.arange(size * parts) + 0.5 for size in grid.shape)
    x, y = np.meshgrid(grid.affine.c + columns * 1e5 / parts, grid.affine.f - rows * 1e5 / parts)
    there = Transformer.from_crs(str(grid.crs), "EPSG:4326", always_xy=True)
    lon, lat = there.transform(x, y)
    back = there.transform(lon, lat, direction="INVERSE")
    off = ~(np.hypot(back[0] - x, back[1] - y) < 1.0)
    return np.where(off, np.nan, lon), np.where(off, np.nan, lat)
