"""Windows and rings that many tiles share: what is kept for one tile never shows in the next."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from xsoil.grids import rings
from xsoil.grids.ease import ease_grid
from xsoil.grids.index_map import IndexMap
from xsoil.grids.overlap import overlap_of
from xsoil.grids.rings import CLOSELY, COARSELY, Ring, Window, sheared_rings
from xsoil.grids.windows import Windows

COARSE = ease_grid("EASE2_M36km")
LOBES = GeoBox((17300, 40000), Affine(1000.0, 0, -2e7, 0, -1000.0, 8.65e6), "ESRI:54052")
FINE = {
    "homolosine": LOBES,
    "sinusoidal": GeoBox(
        (2000, 4000), Affine(10000.0, 0, -2e7, 0, -10000.0, 1e7), "+proj=sinu +R=6371007.181 +units=m"
    ),
    "albers": GeoBox((290, 460), Affine(10000.0, 0, -2.35e6, 0, -10000.0, 3.17e6), "EPSG:5070"),
}


def test_folded_blocks_are_kept():
    """Tiles at the cuts between lobes, of a source large enough for its blocks to be looked at in parts."""
    tiles = np.array([(r, r + 7, c, c + 7) for r in range(0, 399, 7) for c in range(0, 957, 7)])
    shared = Windows(IndexMap(LOBES, COARSE))
    found = shared.windows(*tiles.T)
    assert len(shared._seen) > 20
    one_by_one = Windows(IndexMap(LOBES, COARSE))
    for tile, window in list(zip(tiles, found))[::-1][::97]:
        np.testing.assert_array_equal(one_by_one.windows(*tile[None].T)[0], window)
        alone = Windows(IndexMap(LOBES, COARSE)).window(slice(*tile[:2]), slice(*tile[2:]))
        ends = [at for along in alone or () for at in (along.start, along.stop)]
        assert (ends or [0, 0, 0, 0]) == window.tolist()


@pytest.fixture
def paged(monkeypatch):
    """Sets how many groups a page has; pages of another size are forgotten, also where a test fails."""

    def size(groups):
        monkeypatch.setattr(rings, "PAGE", groups)
        rings._page.cache_clear()

    yield size
    rings._page.cache_clear()


@pytest.mark.parametrize("name", FINE)
@pytest.mark.parametrize("parts", [CLOSELY, COARSELY])
def test_rings(name, parts, paged):
    """Pages of any size give the same; the first has the coarse cells under the tile, each holds the one before."""
    fine, rng = FINE[name], np.random.default_rng(4)
    to_fine, to_coarse = overlap_of(COARSE, fine), overlap_of(fine, COARSE)
    onto = IndexMap(fine, COARSE)
    height, width = fine.shape[0] // 20, fine.shape[1] // 20
    tried = 0
    for row, col in rng.integers(0, 19, (12, 2)) * (height, width):
        tile = Window(slice(int(row), int(row) + height), slice(int(col), int(col) + width))
        coarse = to_fine.window(*tile)
        if coarse is None:
            continue
        first = Ring(tile, Window(*coarse))
        paged(16)
        found = sheared_rings(to_fine, to_coarse, first, 4, parts)
        paged(5)
        assert sheared_rings(to_fine, to_coarse, first, 4, parts) == found
        (y, x), (r, c) = (
            found[0].fine,
            found[0].coarse,
        )  # the next rings have the coarse cells that matter, not all in their rectangles
        at = onto.forward(rng.uniform(x.start, x.stop, 500), rng.uniform(y.start, y.stop, 500))
        u, v = (values[np.isfinite(at[0])] for values in at)
        assert ((u >= c.start) & (u <= c.stop) & (v >= r.start) & (v <= r.stop)).all()
        for inside, ring in itertools.pairwise(found):
            for outer, inner in zip((*ring.fine, *ring.coarse), (*inside.fine, *inside.coarse)):
                assert outer.start <= inner.start
                assert outer.stop >= inner.stop
        tried += 1
    assert tried > 4
