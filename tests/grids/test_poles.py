"""Small targets at a pole, where pixels of degrees are slivers within reach and large a little farther out."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from sheared_oracle import HOMOLOSINE, degrees, grid

from xsoil.grids.overlap import overlap_of
from xsoil.grids.sheared_split import sheared_overlap

ALL = slice(None)


def at_pole(crs: str, cells: int, size: float) -> GeoBox:
    """A target around the origin of its projection."""
    half = cells * size / 2
    return GeoBox((cells, cells), Affine(size, 0, -half, 0, -size, half), crs)


def latitudes(source: GeoBox) -> np.ndarray:
    """Of each pixel: all of a row have the same value."""
    rows, columns = source.shape
    return np.repeat(90.0 - 180.0 * (np.arange(rows) + 0.5) / rows, columns).reshape(1, rows, columns)


@pytest.mark.parametrize("crs", ["EPSG:6931", "EPSG:3413", "EPSG:6932", "EPSG:3031"])
@pytest.mark.parametrize("cell", [0.1, 0.5, 180 / 83, 10.0])
@pytest.mark.parametrize(("cells", "size"), [(5, 10.0), (25, 250.0), (5, 1000.0), (5, 2000.0)])
def test_cells_within_the_first_row_have_its_value(crs, cell, cells, size):
    # Pixels were judged by their size within the target: all others were divided to nothing, for many minutes.
    source, north = degrees(cell), crs in ("EPSG:6931", "EPSG:3413")
    overlap, values = sheared_overlap(source, at_pole(crs, cells, size)), latitudes(source)
    rows, _ = overlap.window(ALL, ALL)
    assert rows.stop - rows.start <= 10  # those at the other pole lie at infinity, or all around
    assert (rows.start == 0) if north else (rows.stop == source.shape[0])
    expected = values[0, 0 if north else -1, 0]
    mean, share = overlap.reduce(values, (0, 0), ALL, ALL, "mean")
    np.testing.assert_allclose(mean, expected, rtol=1e-12)
    np.testing.assert_array_equal(share, 1.0)


@pytest.mark.parametrize("cell", [0.5, 180 / 83])
@pytest.mark.parametrize(("crs", "size"), [("EPSG:6931", 10.0), ("EPSG:3031", 1000.0)])
def test_every_operator_knows_such_cells(cell, crs, size):
    source, target = degrees(cell), at_pole(crs, 5, size)
    overlap, row = sheared_overlap(source, target), 0 if crs == "EPSG:6931" else -1
    values = np.random.default_rng(0).random((2, *source.shape))
    # Sectors of a square around the pole are longer towards its corners.
    angle = 2 * np.pi * (np.arange(64 * source.shape[1]) + 0.5) / (64 * source.shape[1])
    weight = (np.maximum(np.abs(np.sin(angle)), np.abs(np.cos(angle))) ** -2.0).reshape(-1, 64).sum(axis=1)
    expected = (values[:, row] * weight).sum(axis=1) / weight.sum()
    total, share = overlap.reduce(values, (0, 0), ALL, ALL, "sum")
    # Triangles with a corner at the pole; 3031 draws what lies there smaller.
    disc = np.pi * (cell * 111.7e3 * (0.9728 if crs == "EPSG:3031" else 1.0)) ** 2
    np.testing.assert_allclose(total.sum(axis=(1, 2)), expected * source.shape[1] * (5 * size) ** 2 / disc, rtol=2e-3)
    np.testing.assert_array_equal(share, 1.0)
    low, _ = overlap.reduce(values, (0, 0), ALL, ALL, "min")
    high, _ = overlap.reduce(values, (0, 0), ALL, ALL, "max")
    median, _ = overlap.select(values, (0, 0), ALL, ALL, "quantile", 0.5)
    mean, _ = overlap.reduce(values, (0, 0), ALL, ALL, "mean")
    np.testing.assert_allclose(low[:, 2, 2], values[:, row].min(axis=1), rtol=0)
    np.testing.assert_allclose(high[:, 2, 2], values[:, row].max(axis=1), rtol=0)
    np.testing.assert_allclose(mean[:, 2, 2], expected, rtol=1e-5)
    for layer in (0, 1):
        order = np.argsort(values[layer, row])
        reached = np.searchsorted(np.cumsum(weight[order]) / weight.sum(), 0.5)
        assert median[layer, 2, 2] == values[layer, row, order[reached]]
    pointer, pixels, areas = overlap.weights((0, 0), source.shape, ALL, ALL)
    covered = np.add.reduceat(areas, pointer[:-1]).reshape(target.shape)
    np.testing.assert_allclose(covered / overlap.target_area(ALL, ALL), 1.0, 1e-6)
    assert set(pixels // source.shape[1]) == {row % source.shape[0]}
    # By tiles and windows, the same.
    for r in range(5):
        rows, cols = overlap.window(slice(r, r + 1), slice(1, 3))
        part, _ = overlap.reduce(values[:, rows, cols], (rows.start, cols.start), slice(r, r + 1), slice(1, 3), "mean")
        np.testing.assert_array_equal(part[:, 0], mean[:, r, 1:3])


@pytest.mark.parametrize("source", [degrees(0.5), grid(HOMOLOSINE, -20037508, 20037508, -8683259, 8683259, (348, 801))])
def test_a_target_whose_middle_lies_beyond_the_pole(source):
    # The Lambert projection around its middle, in which areas are measured, was one at 90.45 N.
    target = GeoBox((3, 3), Affine(0.5, 0, 30, 0, -0.5, 91.2), "EPSG:4326")
    overlap = overlap_of(source, target)
    mean, share = overlap.reduce(np.ones((1, *source.shape)), (0, 0), ALL, ALL, "mean")
    np.testing.assert_array_equal(share[0, :2], 0.0)  # not NaN: cells without area have no share of it
    np.testing.assert_allclose(share[0, 2], 1.0, atol=1e-4)
    np.testing.assert_array_equal(np.isfinite(mean), share > 0.0)


def test_a_target_wholly_beyond_the_pole():
    source = grid(HOMOLOSINE, -20037508, 20037508, -8683259, 8683259, (348, 801))
    overlap = overlap_of(source, GeoBox((2, 2), Affine(1e-4, 0, 0, 0, -1e-4, 90.0002), "EPSG:4326"))
    mean, share = overlap.reduce(np.ones((1, *source.shape)), (0, 0), ALL, ALL, "mean")
    assert np.isnan(mean).all()
    np.testing.assert_array_equal(share, 0.0)


def test_a_tile_that_lies_beyond_the_pole_but_for_its_end():
    # Places of a window were lost, so that this tile had three quarters of its cell that the whole target has.
    source = GeoBox((400, 400), Affine(500, 0, -1e5, 0, -500, 1e5), "EPSG:6931")
    overlap = overlap_of(source, GeoBox((18, 40), Affine(0.5, 0, 0, 0, -0.5, 94), "EPSG:4326"))
    values = np.random.default_rng(0).random((1, *source.shape))
    for how in ("mean", "sum", "max"):
        whole, share = overlap.reduce(values, (0, 0), ALL, ALL, how)
        part, part_share = overlap.reduce(values, (0, 0), slice(0, 9), slice(0, 1), how)
        np.testing.assert_array_equal(part, whole[:, :9, :1])
        np.testing.assert_array_equal(part_share, share[:, :9, :1])
