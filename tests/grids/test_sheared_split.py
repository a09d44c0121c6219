"""Pixels of hundreds of kilometres, worked on in parts: as right as small ones, and the same by every way."""

from __future__ import annotations

import numpy as np
import pytest
from sheared_oracle import HOMOLOSINE, cylinder, degrees, grid, homolosine, sampled

from xsoil.grids.overlap import overlap_of
from xsoil.grids.sheared import ShearedOverlap
from xsoil.grids.sheared_split import LARGEST_METRES, SplitOverlap, sheared_overlap

ALL = slice(None)

# fmt: off
POLAR = grid("EPSG:6931", -3e6, 3e6, -3e6, 3e6, (30, 30))
EUROPE = grid("EPSG:3035", 2.5e6, 6e6, 1.5e6, 5e6, (35, 35))
AFRICA = grid("+proj=laea +lat_0=5 +lon_0=20 +datum=WGS84 +type=crs", -3e6, 3e6, -3e6, 3e6, (30, 30))
LOBE = grid(HOMOLOSINE, 0, 4e6, 4.6e6, 7e6, (24, 40))
CASES = {
    "2 degrees to a pole": (degrees(2.0), POLAR), "20 degrees to Europe": (degrees(20.0), EUROPE),
    "10 degrees to a lobe": (degrees(10.0), LOBE), "a cylinder of 500 km to a lobe": (cylinder((29, 69)), LOBE),
    "a cylinder of 1000 km to Europe": (cylinder((15, 35)), EUROPE),
    "a cylinder of 4000 km to Europe": (cylinder((4, 9)), EUROPE),
    "homolosine of 1000 km to Europe": (homolosine((17, 40)), EUROPE),
    "homolosine of 2000 km to Africa": (homolosine((9, 20)), AFRICA),
}
# fmt: on


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_places_in_the_cells(case):
    source, target = CASES[case]
    overlap = overlap_of(source, target)
    assert isinstance(overlap, SplitOverlap)
    values = (np.random.default_rng(0).random(source.shape) < 0.5).astype(float)
    mean, fraction = overlap.reduce(values[None], (0, 0), ALL, ALL, "mean")
    truth, share = sampled(source, target, values)
    full = share == 1.0
    assert fraction[0][full].min() > 1 - 1e-5
    assert np.abs(mean[0] - truth)[full].max() < 0.04  # 24 places on a side see no less
    assert np.sqrt(np.mean((mean[0] - truth)[full] ** 2)) < 0.006


def test_every_way_gives_the_same():
    source, target = degrees(5.0), EUROPE
    overlap = sheared_overlap(source, target)
    values = np.round(np.random.default_rng(1).normal(20.0, 5.0, (3, *source.shape)))
    values[0, 10, 38] = np.nan
    mean, fraction = overlap.reduce(values, (0, 0), ALL, ALL, "mean")
    rows, cols = overlap.window(ALL, ALL)
    part, origin = values[:, rows, cols], (rows.start, cols.start)
    for how in ("mean", "sum", "min", "max"):
        whole = overlap.reduce(values, (0, 0), ALL, ALL, how)
        for threads in (1, 2):
            for found, expected in zip(overlap.reduce(part, origin, ALL, ALL, how, threads), whole, strict=True):
                np.testing.assert_array_equal(found, expected)
        tile = overlap.reduce(values, (0, 0), slice(7, 20), slice(30, 35), how)
        np.testing.assert_array_equal(tile[0], whole[0][:, 7:20, 30:35])
    for how, parameter in (("quantile", 0.5), ("mode", None), ("std", None), ("fraction", np.array([18.0, 20.0]))):
        whole, share = overlap.select(values, (0, 0), ALL, ALL, how, parameter)
        found, _ = overlap.select(part, origin, ALL, ALL, how, parameter)
        np.testing.assert_array_equal(found, whole)
        np.testing.assert_allclose(share, fraction, atol=1e-6)
    # Lists tell the same mean.
    pointer, pixel, area = overlap.weights((0, 0), source.shape, ALL, ALL)
    assert all((np.diff(pixel[a:b]) > 0).all() for a, b in zip(pointer[:-1], pointer[1:]))
    flat = values[0].ravel()[pixel]
    known = np.isfinite(flat)
    cell = np.repeat(np.arange(pointer.size - 1), np.diff(pointer))
    total, whole = (np.bincount(cell[known], w[known], pointer.size - 1) for w in (area * flat, area))
    summed = np.divide(total, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    np.testing.assert_allclose(summed.reshape(target.shape), mean[0], rtol=1e-6)
    # Windows of many tiles are those of each.
    edges = np.array([[0, 10, 0, 5], [10, 35, 20, 35]]).T
    for n, (r0, r1, c0, c1) in enumerate(edges.T.tolist()):
        one = overlap.window(slice(r0, r1), slice(c0, c1))
        assert overlap.windows(*edges)[n].tolist() == [one[0].start, one[0].stop, one[1].start, one[1].stop]


@pytest.mark.parametrize(
    "source", [degrees(4.0), cylinder((29, 69)), homolosine((17, 40))], ids=["degrees", "cylinder", "lobes"]
)
def test_sums_are_kept(source):
    # Of a band of rows that lies within the target, and of all pixels that have a place on Earth.
    target = grid("+proj=moll", -18040096, 18040096, -9020048, 9020048, (80, 160))
    values = np.zeros((1, *source.shape))
    values[:, source.shape[0] // 4 : source.shape[0] // 2] = np.random.default_rng(2).random(
        (source.shape[0] // 2 - source.shape[0] // 4, source.shape[1])
    )
    total, _ = SplitOverlap(source, target).reduce(values, (0, 0), ALL, ALL, "sum")
    if source.crs != homolosine((1, 1)).crs:
        np.testing.assert_allclose(np.nansum(total), values.sum(), rtol=1e-5)
    before, _ = ShearedOverlap(source, target).reduce(values, (0, 0), ALL, ALL, "sum")
    np.testing.assert_allclose(np.nansum(total), np.nansum(before), rtol=0.02)


def test_whole_numbers_keep_their_type():
    source, target = degrees(5.0), EUROPE
    values = np.arange(source.shape[0] * source.shape[1], dtype=np.int64).reshape(1, *source.shape)
    least, _ = sheared_overlap(source, target).reduce(values, (0, 0), ALL, ALL, "min")
    assert least.dtype == np.int64
    assert set(np.unique(least)) <= set(values.ravel())


def test_a_pixel_larger_than_the_world():
    source = grid("EPSG:6933", -5e9, 5e9, -5e9, 5e9, (1, 1))
    overlap = sheared_overlap(source, EUROPE)
    assert overlap.parts <= 1400
    assert overlap.window(ALL, ALL) is not None


def test_small_pixels_are_whole():
    assert type(sheared_overlap(degrees(0.5), EUROPE)) is ShearedOverlap
    assert type(sheared_overlap(degrees(1.0), EUROPE)) is SplitOverlap
    assert LARGEST_METRES < 111e3
