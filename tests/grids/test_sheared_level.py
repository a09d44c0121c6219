"""Sources whose rows stay rows of the target: which they are, and that they are drawn as all others are."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from sheared_oracle import SINU, box, cover

from xsoil.grids import sheared
from xsoil.grids.index_map import IndexMap
from xsoil.grids.sheared import ShearedOverlap
from xsoil.grids.sheared_level import is_level

ALL = slice(None)
KM9 = 9008.055210146
WEST = box(SINU, -110, 40, 926.625433, 50, 60)
LATLON = GeoBox((60, 70), Affine(0.1, 0, -114, 0, -0.1, 43), "EPSG:4326")


@pytest.mark.parametrize(
    ("source", "target", "level"),
    [
        (WEST, cover(WEST, "EPSG:6933", KM9), True),
        (WEST, LATLON, True),
        (box("ESRI:54009", -60, -20, 1000, 40, 50), "cover", True),  # Mollweide
        (box("ESRI:54052", -90, 20, 1000, 40, 50), "cover", True),  # homolosine, within a lobe
        (box("ESRI:54052", -90, 40.7366, 1000, 50, 50), "cover", False),  # its kink
        (box("ESRI:54052", -41, 30, 1000, 40, 400), "cover", False),  # the gap between two lobes
        (box(SINU, 179, 50, 1000, 40, 300), "cover", False),  # the end of the world
        (box("EPSG:5070", -100, 40, 1000, 40, 50), "cover", False),  # rows are arcs
        (box("ESRI:54042", -60, 40, 1000, 40, 50), "cover", False),  # Winkel tripel
        (WEST, cover(WEST, "EPSG:6933", 1000.89502334956), False),  # pixels as wide as cells
        (WEST, cover(WEST, "EPSG:6931", 9000.0), False),  # rows of a polar grid cross parallels
        (WEST, cover(WEST, "EPSG:32612", 9000.0), False),  # areas that vary
        (GeoBox((50, 60), WEST.affine @ Affine(-1, 0, 60, 0, 1, 0), SINU), "cover", False),  # from east to west
    ],
    ids=lambda value: "" if isinstance(value, GeoBox) else str(value),
)
def test_which_sources_are_level(source, target, level):
    target = cover(WEST, "EPSG:6933", KM9) if target == "cover" and source.crs == WEST.crs else target
    target = cover(box("EPSG:4326", 0, 0, 1.0, 2, 2), "EPSG:6933", KM9) if target == "cover" else target
    assert is_level(IndexMap(source, target)) is level


@pytest.fixture(scope="module")
def field():
    rng = np.random.default_rng(4)
    values = rng.normal(25.0, 10.0, (2, *WEST.shape))
    values[rng.random(values.shape) < 0.05] = np.nan
    return values


@pytest.mark.parametrize("target", [cover(WEST, "EPSG:6933", KM9), LATLON], ids=["EASE", "lat-lon"])
def test_overlaps_are_those_of_the_general_way(target):
    level, general = ShearedOverlap(WEST, target), ShearedOverlap(WEST, target)
    assert level._level
    general._level = False
    cells, pixels = target.shape[0] * target.shape[1], WEST.shape[0] * WEST.shape[1]
    dense = np.zeros((2, cells, pixels))
    for overlap, out in zip((level, general), dense):
        pointer, indices, areas = overlap.weights((0, 0), WEST.shape, ALL, ALL)
        assert all((np.diff(indices[a:b]) > 0).all() for a, b in zip(pointer[:-1], pointer[1:]))
        out[np.repeat(np.arange(cells), np.diff(pointer)), indices] = areas
    dense /= np.broadcast_to(level.target_area(ALL, ALL), target.shape).reshape(-1, 1)
    assert (dense[0] > 0).sum() > 1.3 * pixels
    np.testing.assert_allclose(dense[0], dense[1], atol=2e-8)


def test_rows_may_run_upward(field):
    target = cover(WEST, "EPSG:6933", KM9)
    upward = GeoBox(WEST.shape, WEST.affine @ Affine(1, 0, 0, 0, -1, WEST.shape[0]), SINU)
    down, up = ShearedOverlap(WEST, target), ShearedOverlap(upward, target)
    assert up._level
    for how in sheared.HOWS:
        want, share = down.reduce(field, (0, 0), ALL, ALL, how)
        found, other = up.reduce(field[:, ::-1], (0, 0), ALL, ALL, how)
        np.testing.assert_allclose(found, want, rtol=1e-9)
        np.testing.assert_allclose(other, share, atol=1e-8)


def test_columns_come_round_again(field):
    """The same cells, counted from 180 degrees west and from the meridian of Greenwich eastward."""
    shifted = GeoBox(LATLON.shape, Affine.translation(360, 0) @ LATLON.affine, LATLON.crs)
    want, share = ShearedOverlap(WEST, LATLON).select(field, (0, 0), ALL, ALL, "quantile", 0.5)
    found, other = ShearedOverlap(WEST, shifted).select(field, (0, 0), ALL, ALL, "quantile", 0.5)
    assert np.isfinite(want).sum() > 50
    np.testing.assert_allclose(found, want, rtol=1e-12)
    np.testing.assert_allclose(other, share, atol=1e-7)


def test_whole_numbers_and_single_precision_keep_their_extremes(field):
    overlap = ShearedOverlap(WEST, cover(WEST, "EPSG:6933", KM9))
    numbers = np.nan_to_num(field, nan=3.0).round().astype(np.int64)
    whole, _ = overlap.reduce(numbers, (0, 0), ALL, ALL, "max")
    floats, _ = overlap.reduce(numbers.astype(np.float32), (0, 0), ALL, ALL, "max")
    assert whole.dtype == np.int64
    np.testing.assert_array_equal(whole, np.nan_to_num(floats))
