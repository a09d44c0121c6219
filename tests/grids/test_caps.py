"""Spherical caps: they hold all of their patch, and tell what is far away."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from sheared_oracle import HOMOLOSINE, SINU, degrees, grid

from xsoil.grids.caps import source_caps, tile_cap
from xsoil.grids.index_map import IndexMap
from xsoil.grids.windows import Windows

WORLDS = {
    "degrees": degrees(1.0),
    "lobes": grid(HOMOLOSINE, -20037508, 20037508, -8683259, 8683259, (90, 180)),
    "sinusoid": grid(SINU, -20015109, 20015109, -10007554, 10007554, (90, 180)),
    "disc": grid("+proj=ortho +R=6371000 +type=crs", -6371000, 6371000, -6371000, 6371000, (80, 80)),
    "grads": grid("EPSG:27572", -4e5, 1.2e6, 1.6e6, 2.8e6, (60, 80)),
    "pole": grid("EPSG:3031", -4e6, 4e6, -4e6, 4e6, (80, 80)),
}


def block(r: float, c: float, height: float, width: float, places: int = 5):
    t = np.linspace(0, 1, places)
    return (a[None] for a in np.meshgrid(c + width * t, r + height * t))


@pytest.mark.parametrize("name", WORLDS)
@given(data=st.data())
def test_no_place_of_a_patch_lies_apart_from_it(name, data):
    box = WORLDS[name]
    imap = IndexMap(box, degrees(2.0))
    height, width = (data.draw(st.floats(0.1, 20.0)) for _ in range(2))
    r, c = (data.draw(st.floats(0, size - extent)) for size, extent in zip(box.shape, (height, width), strict=True))
    cap = source_caps(imap, *block(r, c, height, width))
    at = [data.draw(st.floats(0.0, 1.0)) for _ in range(2)]
    place = source_caps(imap, *block(r + at[0] * height, c + at[1] * width, 1e-3, 1e-3))
    assert not place.apart(cap).any()
    # Nor from the tile of a target of which this is a part.
    imap = IndexMap(degrees(2.0), box)
    tile = tile_cap(imap, int(r), int(r + height) + 1, int(c), int(c + width) + 1)
    place = source_caps(imap, *imap.inverse(*block(r + at[0] * height, c + at[1] * width, 1e-3, 1e-3)))
    assert not place.apart(tile).any()


def test_what_is_far_away_lies_apart():
    imap = IndexMap(degrees(1.0), GeoBox((5, 5), Affine(1e3, 0, -2500, 0, -1e3, 2500), "EPSG:6931"))
    tile = tile_cap(imap, 0, 5, 0, 5)
    assert np.degrees(tile.radius[0]) < 0.1
    for r, apart in ((0, False), (1, True), (10, True), (179, True)):
        for c in (0, 90, 359):
            assert source_caps(imap, *block(r, c, 1, 1)).apart(tile).item() is apart, (r, c)


NARROW = [
    # Padded off the world: only the last line of places of these tiles lies on it, or only their first.
    (degrees(0.5), GeoBox((16, 16), Affine(1e5, 0, 0, 0, -1e5, 8052230.1), "EPSG:6933"), (0, 8, 0, 8)),
    (
        GeoBox((400, 400), Affine(500, 0, -1e5, 0, -500, 1e5), "EPSG:6931"),
        GeoBox((18, 40), Affine(0.5, 0, 0, 0, -0.5, 94), "EPSG:4326"),
        (0, 9, 0, 1),
    ),
    (
        GeoBox((16, 4), Affine(4886.034, 0, 12903742.564, 0, -4886.034, -8954822.69), "+proj=imoll +datum=WGS84"),
        GeoBox((4, 1), Affine(324041.6346695358, 0, 7324969.7886, 0, -324041.6346695358, -8482505.4884), "ESRI:54030"),
        (0, 4, 0, 1),
    ),
    (
        grid("+proj=eqc +lon_0=180", -20037508, 20037508, -10018754, 10018754, (600, 1200)),
        GeoBox((400, 400), Affine(30294.774, 0, 3702767.51, 0, -30294.774, -7073694.0486), "EPSG:3035"),
        (0, 400, 184, 185),
    ),
]


@pytest.mark.parametrize(("source", "target", "tile"), NARROW)
def test_windows_hold_all_that_lies_in_a_tile_at_the_end_of_a_world(source, target, tile):
    imap = IndexMap(source, target)
    rng, (ny, nx) = np.random.default_rng(0), source.shape
    column, row = rng.uniform(0, nx, 100_000), rng.uniform(0, ny, 100_000)
    u, v = imap.forward(column, row)
    r0, r1, c0, c1 = tile
    edges = imap.row_edges()
    inside = (u >= c0) & (u <= c1) & (v >= edges[r0]) & (v <= edges[r1])
    assert inside.any()
    rows, cols = Windows(imap).window(slice(r0, r1), slice(c0, c1))
    assert rows.start <= row[inside].min()
    assert row[inside].max() <= rows.stop
    assert cols.start <= column[inside].min()
    assert column[inside].max() <= cols.stop


def test_one_line_of_places_tells_nothing_across_it():
    # Rows of 5 degrees, the first of which begins beyond the pole: of its places only the last line is one.
    source = GeoBox((10, 360), Affine(1, 0, -180, 0, -5, 94.1), "EPSG:4326")
    imap = IndexMap(source, GeoBox((8, 8), Affine(2e3, 0, -8e3, 0, -2e3, 8e3), "EPSG:6931"))
    assert not source_caps(imap, *block(0, 7, 1, 1)).apart(tile_cap(imap, 0, 8, 0, 8)).any()


def test_nothing_known_is_nothing_apart():
    imap = IndexMap(WORLDS["lobes"], degrees(1.0))
    gap = source_caps(imap, *block(0, 0, 3, 3))  # in the gap between the lobes
    assert not np.isfinite(gap.radius).any()
    assert not gap.apart(tile_cap(imap, 0, 1, 0, 1)).any()
