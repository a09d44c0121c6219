"""Pixels next to the seam of Goode's homolosine, where meridians have a kink."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from xsoil.grids.index_map import IndexMap
from xsoil.grids.seams import NUDGE, THINNEST, seam_lines, seam_strips
from xsoil.grids.sheared import ShearedOverlap

ALL = slice(None)
HOMOLOSINE = "ESRI:54052"
SEAM = 4534778.80547  # metres from the equator
GRIDS = {
    "degrees": GeoBox((6, 8), Affine(0.54, 0, -10.7, 0, -0.54, 42.2), "EPSG:4326"),
    "EASE": GeoBox((6, 8), Affine(50_000, 0, -1_020_000, 0, -50_000, 4_870_000), "EPSG:6933"),
    "Lambert": GeoBox((6, 8), Affine(50_000, 0, 2_500_000, 0, -50_000, 2_200_000), "EPSG:3035"),
    "UTM": GeoBox((6, 8), Affine(50_000, 0, 70_000, 0, -50_000, 4_660_000), "EPSG:32630"),
}


def source(target: GeoBox, part: float, pixel: float = 30_000.0, seam: float = SEAM) -> GeoBox:
    """Pixels of the homolosine all over a target, whose seam lies in this part of a row (1.0 is the next line)."""
    u, v = np.meshgrid(np.linspace(0, target.shape[1], 33), np.linspace(0, target.shape[0], 33))
    x, y = Transformer.from_crs(target.crs, HOMOLOSINE, always_xy=True).transform(*(target.affine @ (u, v)))
    left = np.floor(x.min() / pixel) * pixel - 2 * pixel
    above, below = np.ceil((y.max() - seam) / pixel) + 2, np.ceil((seam - y.min()) / pixel) + 2
    shape = int(above + below), int(np.ceil((x.max() - left) / pixel)) + 2
    return GeoBox(shape, Affine(pixel, 0, left, 0, -pixel, seam + (above + part) * pixel), HOMOLOSINE)


def weights(overlap: ShearedOverlap) -> np.ndarray:
    """Shares of cells that pixels have: (cells, rows, columns)."""
    pointer, pixels, areas = overlap.weights((0, 0), overlap.source.shape, ALL, ALL)
    found = np.zeros((pointer.size - 1, *overlap.source.shape))
    found.reshape(pointer.size - 1, -1)[np.repeat(np.arange(pointer.size - 1), np.diff(pointer)), pixels] = areas
    cells = np.broadcast_to(overlap.target_area(ALL, ALL), overlap.target.shape)
    return found / cells.reshape(-1, 1, 1)


def polygons(overlap: ShearedOverlap, row: int, column: int, per_edge: int = 300) -> np.ndarray:
    """Shares of cells that a pixel has, from its parts on either side of the seam, with densified edges."""
    imap, edges = overlap._map, overlap._map.row_edges()
    ends = sorted({float(row), row + 1.0, *(r for r in imap.breaks if row < r < row + 1)})
    t, share = np.linspace(0.0, 1.0, per_edge), np.zeros(overlap.target.shape)
    for top, bottom in zip(ends, ends[1:]):
        x = column + np.concatenate([t, 0 * t + 1, 1 - t, 0 * t])
        inside = np.concatenate([0 * t, t, 0 * t + 1, 1 - t])
        outline = np.column_stack(imap.forward(x, top + NUDGE + (bottom - top - 2 * NUDGE) * inside))
        for (r, c), _ in np.ndenumerate(share):
            cell = shapely.box(c, edges[r], c + 1, edges[r + 1])
            share[r, c] += shapely.intersection(shapely.Polygon(outline), cell).area / cell.area
    return share


@pytest.mark.parametrize("part", [0.0, 1e-9, 1 - 1e-9, 6e-6, 0.3, 0.999])
@pytest.mark.parametrize("name", list(GRIDS))
def test_cells_are_covered_once(name, part):
    target = GRIDS[name]
    covered = weights(ShearedOverlap(source(target, part), target)).sum(axis=(1, 2))
    # Areas of pixels in UTM come from their middles.
    np.testing.assert_allclose(covered, 1.0, atol=5e-6 if name == "UTM" else 2e-7)


@pytest.mark.parametrize("part", [6e-6, 0.4])
def test_pixels_agree_with_polygons(part):
    target = GRIDS["degrees"]
    overlap = ShearedOverlap(source(target, part), target)
    found = weights(overlap).reshape(*target.shape, *overlap.source.shape)
    seam = int(overlap._map.breaks[0])
    for row in (seam - 1, seam, seam + 1):
        for column in (4, 5, 9):
            # Straight sides would be wrong by 1e-4, those bent like the neighbour's beyond the seam by 1e-6 at least.
            np.testing.assert_allclose(found[..., row, column], polygons(overlap, row, column), atol=2e-7)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_seam_just_outside_counts_too(sign):
    target = GRIDS["degrees"] if sign > 0 else GeoBox((6, 8), Affine(0.54, 0, -10.7, 0, -0.54, -39.1), "EPSG:4326")
    whole = source(target, 0.4, seam=sign * SEAM)
    overlap = ShearedOverlap(whole, target)
    seam, shares = int(overlap._map.breaks[0]), weights(overlap)
    for rows in (slice(0, seam), slice(seam + 1, None)):
        part = ShearedOverlap(whole[rows], target)
        assert part._map.breaks
        np.testing.assert_allclose(weights(part), shares[:, rows], atol=1e-7)


@pytest.mark.parametrize("pixel", [100.0, 250.0])
def test_small_pixels_in_closed_form(pixel):
    target = GeoBox((2, 2), Affine(9000, 0, -850_000, 0, -9000, 4_787_000), "EPSG:6933")
    overlap = ShearedOverlap(source(target, 0.3, pixel), target)
    assert overlap._choice.closed
    assert overlap._map.breaks
    np.testing.assert_allclose(weights(overlap).sum(axis=(1, 2)), 1.0, atol=3e-7)


@pytest.mark.parametrize(
    "breaks",
    [(9.5,), (9.0,), (9.0 + 1e-9,), (9.0 - 1e-9,), (0.2,), (-0.3,), (1.3, 1.8), (3.4, 3.6), (2.5, 9.5), (1.0, 2.0)],
)
def test_strips_divide_the_rows(breaks):
    strips = seam_strips(breaks)
    for before, after in zip(strips, strips[1:]):
        assert before.bottom <= after.top
        assert after.bottom - after.top >= THINNEST
    for row in {strip.row for strip in strips}:
        own = [strip for strip in strips if strip.row == row]
        assert own[0].top == pytest.approx(row, abs=THINNEST)
        assert own[-1].bottom == pytest.approx(row + 1, abs=THINNEST)
        assert all(a.bottom == b.top for a, b in zip(own, own[1:]))
    numbers = [n for strip in strips for n in strip.lines if n >= 0]
    assert numbers == list(range(len(numbers)))
    # No usual strip has a seam among the rows that it is drawn with.
    usual = set(range(-10, 20)) - {strip.row for strip in strips}
    assert not [row for row in usual for r in breaks if row - 1 < r < row + 2]


def test_where_the_meridians_turn():
    # On the equator's scale: y of the sinusoidal part is the latitude times the radius.
    for crs in (HOMOLOSINE, "+proj=igh_o +ellps=WGS84 +type=crs", "+proj=goode +ellps=WGS84 +type=crs"):
        grid = GeoBox((2000, 4), Affine(1.0, 0, 6e5, 0, -1.0, 6378137 * np.radians(40.735) + 1000), crs)
        turn = IndexMap(grid, GRIDS["degrees"]).breaks
        line = np.arange(2000.0)
        u, _ = IndexMap(grid, GRIDS["degrees"]).forward(np.zeros(2000), line)
        assert turn == pytest.approx([line[np.abs(np.diff(u, 2)).argmax() + 1]], abs=1.0)


def test_lines_keep_to_their_side():
    imap = IndexMap(source(GRIDS["degrees"], 0.4), GRIDS["degrees"])
    strips, seam = seam_strips(imap.breaks), int(imap.breaks[0])
    u, v = seam_lines(imap, (0, seam + 5), (0, 9))
    assert len(u) == strips[-1].lines[-1] + 1
    upper, lower = (strip for strip in strips if strip.row == seam)
    above, below = u[upper.lines[2]], u[lower.lines[1]]
    # PROJ's longitudes jump by a metre, its latitudes do not.
    assert (abs(above - below) > 1e-6).all()
    np.testing.assert_allclose(v[upper.lines[2]], v[lower.lines[1]], atol=1e-8)
    none, _ = seam_lines(imap, (seam + 4, seam + 9), (0, 9))
    assert none.shape == (0, 10)


def test_datum_shift_hides_no_projection():
    """A CRS with TOWGS84 is bound: its operation is the shift, and its projection is one level down."""
    lobes = "+proj=igh +lon_0=0 +ellps=WGS84 +units=m +no_defs +type=crs"
    grids = [source(GRIDS["EASE"], 0.4)]
    grids += [GeoBox(grids[0].shape, grids[0].affine, crs) for crs in (lobes, lobes + " +towgs84=0,0,0")]
    named, plain, bound = (IndexMap(grid, GRIDS["EASE"]) for grid in grids)
    assert named.breaks == plain.breaks == bound.breaks
    assert len(bound.breaks) == 1
    assert all(IndexMap(GRIDS["EASE"], grid).interrupted for grid in grids)
    values = np.random.default_rng(1).random((1, *grids[0].shape))
    want, got = (ShearedOverlap(grid, GRIDS["EASE"]).reduce(values, (0, 0), ALL, ALL, "mean")[0] for grid in grids[1:])
    np.testing.assert_allclose(got, want, rtol=1e-7)


def test_datum_shift_hides_no_cylinder():
    """Mercator repeats itself after a turn with a shift of the datum too, and has its origin."""
    affine, mercator = Affine(9000, 0, -500_000, 0, -9000, 5_500_000), "+proj=merc +lon_0=10 +x_0=9000 +ellps=WGS84"
    plain, bound = (
        IndexMap(GRIDS["EASE"], GeoBox((100, 100), affine, f"{mercator} +no_defs +type=crs{shift}"))
        for shift in ("", " +towgs84=0,0,0")
    )
    assert bound.turn == pytest.approx(plain.turn)
    assert bound.period > 4000
    assert bound._origin() == pytest.approx(plain._origin())
