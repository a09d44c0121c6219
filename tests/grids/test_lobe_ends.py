"""Pixels at the poleward ends of the homolosine's lobes, whose sides turn within a pixel."""

from __future__ import annotations

import numpy as np
import pytest
from sheared_oracle import grid, homolosine, sampled

from xsoil.grids.sheared import ShearedOverlap

ALL = slice(None)

# Pixels, cells [m]: before, cells were covered to 0.979, 0.951 and 0.955 at the pole.
SIZES = [(30e3, 200e3), (5e3, 36e3), (1e3, 9e3)]


def ends(pixel: float, cell: float, crs: str = "EPSG:6931", half: int = 2) -> ShearedOverlap:
    """Pixels of the world in homolosine to cells around a pole."""
    source = homolosine((round(2 * 8683259 / pixel), round(2 * 20037508 / pixel)))
    return ShearedOverlap(source, grid(crs, *2 * (-half * cell, half * cell), (2 * half, 2 * half)))


def covered(overlap: ShearedOverlap) -> np.ndarray:
    rows, columns = overlap.window(ALL, ALL)
    shape = rows.stop - rows.start, columns.stop - columns.start
    pointer, _, areas = overlap.weights((rows.start, columns.start), shape, ALL, ALL)
    return np.add.reduceat(areas, pointer[:-1]).reshape(overlap.target.shape) / overlap.target_area(ALL, ALL)


@pytest.mark.parametrize(("pixel", "cell"), SIZES)
def test_cells_at_a_pole_are_covered_once(pixel, cell):
    found = covered(ends(pixel, cell))
    assert found.min() > 1.0 - 1e-4
    # Pixels that the cut of a lobe divides have sides of 16 chords.
    assert found.max() < 1.0 + 2e-3


def test_cells_at_the_south_pole_are_covered_once():
    # Four lobes end there.
    np.testing.assert_allclose(covered(ends(30e3, 200e3, "EPSG:6932")), 1.0, atol=3e-4)


@pytest.mark.parametrize(("pixel", "cell"), SIZES[:1])
def test_means_at_a_pole_are_those_of_places(pixel, cell):
    overlap = ends(pixel, cell)
    values = np.random.default_rng(5).normal(25.0, 10.0, (60, overlap.source.shape[1]))
    whole = np.zeros(overlap.source.shape)
    whole[: len(values)] = values
    (mean,), _ = overlap.reduce(whole[None], (0, 0), ALL, ALL, "mean")
    expected, share = sampled(overlap.source, overlap.target, whole, 200)
    assert share.min() > 0.9999
    np.testing.assert_allclose(mean, expected, atol=0.02)


def test_tiles_give_the_same_at_a_pole():
    overlap = ends(30e3, 200e3)
    rows, columns = overlap.window(ALL, ALL)
    values = np.random.default_rng(5).normal(25.0, 10.0, (1, rows.stop - rows.start, columns.stop - columns.start))
    for how in ("mean", "sum"):
        whole, fraction = overlap.reduce(values, (rows.start, columns.start), ALL, ALL, how)
        for r, c in ((0, 1), (1, 2), (2, 2)):
            tile = slice(r, r + 1), slice(c, c + 1)
            part, part_fraction = overlap.reduce(values, (rows.start, columns.start), *tile, how)
            np.testing.assert_array_equal(part, whole[:, *tile])
            np.testing.assert_array_equal(part_fraction, fraction[:, *tile])


def test_pixels_are_not_drawn_by_exact_places_where_sides_hardly_turn():
    """That takes a quarter of a millisecond each."""
    from xsoil.grids import sheared_edges

    found = []
    exact = sheared_edges.exact_outlines
    source = homolosine((round(2 * 8683259 / 5e3), round(2 * 20037508 / 5e3)))
    target = grid("EPSG:3035", 4e6, 4.4e6, 2.6e6, 3e6, (40, 40))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sheared_edges, "exact_outlines", lambda *a: found.append(len(a[2])) or exact(*a))
        np.testing.assert_allclose(covered(ShearedOverlap(source, target)), 1.0, rtol=1e-6)
    assert sum(found) == 0
