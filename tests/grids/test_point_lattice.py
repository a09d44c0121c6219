"""The lattice of projected centres: as good as projecting each of them, whatever the tile."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from xsoil.grids import point_lattice
from xsoil.grids.ease import ease_grid
from xsoil.grids.points import PointSampler, _project, _step, source_axes

HOMOLOSINE = GeoBox((800, 1200), Affine(5000, 0, -11_500_000, 0, -5000, 6_000_000), "ESRI:54052")
GLOBE = GeoBox((360, 720), Affine(0.5, 0, -180, 0, -0.5, 90), "EPSG:4326")
PAIRS = {
    # A kink at 40.7 N and lobes on both sides of the interruption at 40 W.
    "homolosine to lonlat": (HOMOLOSINE, GeoBox((500, 600), Affine(0.02, 0, -46, 0, -0.02, 46), "EPSG:4326")),
    "EASE to Albers": (
        ease_grid("EASE2_M09km", "conus"),
        GeoBox((400, 400), Affine(3000, 0, -2_300_000, 0, -3000, 3_200_000), "EPSG:5070"),
    ),
    "polar, across the dateline": (
        GLOBE,
        GeoBox((500, 500), Affine(2500, 0, -600_000, 0, -2500, 3_000_000), "EPSG:6931"),
    ),
    "beyond the world": (
        ease_grid("EASE2_M36km"),
        GeoBox((600, 600), Affine(4000, 0, -18e6, 0, -4000, 1.5e6), "+proj=moll +type=crs"),
    ),
    "rotated": (
        GeoBox((300, 400), Affine.translation(-107, 40) @ Affine.rotation(20) @ Affine.scale(0.02, -0.02), 4326),
        GeoBox((150, 200), Affine(4000, 0, -900_000, 0, -4000, 1_500_000), "EPSG:5070"),
    ),
}


def exact(source, target):
    rows, cols = target.shape
    return _project(source, target, np.arange(rows)[:, None], np.arange(cols))


@pytest.mark.parametrize("name", PAIRS)
def test_as_good_as_each_centre_by_itself(name):
    source, target = PAIRS[name]
    turn = source_axes(source)[1].turn
    step = _step(source, target)
    assert step in point_lattice.STEPS
    places = PointSampler(source, target, "nearest").positions(*(slice(0, n) for n in target.shape))
    for axis, (found, expected) in enumerate(zip(places, exact(source, target), strict=True)):
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        off = np.abs(found - expected)
        if axis == 1 and turn:
            off = np.minimum(off, turn - off)
        assert np.nanmax(off) <= 2 * point_lattice.TOLERANCE
        # Most come from the lattice: were all of them projected, none would differ.
        assert np.mean(off > 0) > 0.3


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("how", ["nearest", "cubic"])
def test_tiles_cannot_show(name, how):
    source, target = PAIRS[name]
    sampler = PointSampler(source, target, how)
    values = np.random.default_rng(1).normal(size=(1, *source.shape))
    (rows, cols), whole = target.shape, tuple(slice(0, n) for n in target.shape)
    expected, _ = sampler.sample(values, (0, 0), *whole)
    assert np.isfinite(expected).any()
    threaded, _ = sampler.sample(values, (0, 0), *whole, threads=2)
    np.testing.assert_array_equal(threaded, expected)
    for tile in ((slice(7, 8), slice(0, cols)), (slice(rows // 3, rows - 5), slice(13, cols // 2)), (slice(0, 3),) * 2):
        found, _ = sampler.sample(values, (0, 0), *tile)
        np.testing.assert_array_equal(found[0], expected[0][tile])


def test_small_targets_are_projected_one_by_one():
    source, target = PAIRS["EASE to Albers"][0], GeoBox((20, 30), Affine(9000, 0, 0, 0, -9000, 2e6), "EPSG:5070")
    assert _step(source, target) == 0
    found = PointSampler(source, target, "nearest").positions(slice(0, 20), slice(0, 30))
    for place, expected in zip(found, exact(source, target), strict=True):
        np.testing.assert_array_equal(place, expected)


def test_no_lattice_where_few_blocks_hold():
    """White noise for a projection: every block fails, and the lattice is left alone."""
    rng = np.random.default_rng(0)

    def noise(rows, cols):
        shape = np.broadcast(rows, cols).shape
        return rng.normal(size=shape), rng.normal(size=shape)

    assert point_lattice.choose_step(noise, (1000, 1000), 0.0) == 0
