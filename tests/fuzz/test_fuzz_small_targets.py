"""A world of coarse pixels to a few cells where maps end or tear: in time, the same by tiles, and nothing made up."""

from __future__ import annotations

import numpy as np
from affine import Affine
from hypothesis import assume
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from strategies import LONG, PLACES, SINUSOIDAL, Sizes, fuzz

from xsoil.grids.overlap import overlap_of

ALL = slice(None)
AWKWARD = (
    (0.0, 90.0), (30.0, 89.999), (-100.0, 89.99), (-40.0, 89.5), (15.0, 89.95), (0.0, -90.0), (20.0, -89.9),
    (-40.0, 60.0), (-100.0, -60.0), (80.0, -45.0), (180.0, 0.0), (180.0, 70.0), (10.0, 50.0), (0.0, 40.7366),
)  # fmt: skip
"""Poles and beside them, cuts of the homolosine, the dateline, its seam."""

MOLLWEIDE = "+proj=moll"
SOURCES = {
    "EPSG:4326": (-180, 180, -90, 90),
    "EPSG:6933": (-17367530.445, 17367530.445, -7314540.83, 7314540.83),
    "ESRI:54052": (-20037508, 20037508, -8683259, 8683259),
    SINUSOIDAL: (-20015109, 20015109, -10007554, 10007554),
    MOLLWEIDE: (-18040096, 18040096, -9020048, 9020048),
    "EPSG:6931": (-9e6, 9e6, -9e6, 9e6),
    "EPSG:3031": (-9e6, 9e6, -9e6, 9e6),
    "EPSG:32633": (-1.5e6, 2.5e6, 0, 9.3e6),
}
TARGETS = (*PLACES, "EPSG:3031", "EPSG:3413", "EPSG:3857", "ESRI:54030", MOLLWEIDE)
FARTHEST = 3e7
"""Metres from the origin at which nobody looks any more: stereographic maps draw the far hemisphere up to infinity."""


@st.composite
def cases(draw):
    crs = draw(st.sampled_from(sorted(SOURCES)))
    west, east, south, north = SOURCES[crs]
    pixel = draw(st.sampled_from([20e3, 40e3, 59e3, 61e3, 100e3, 240e3, 500e3])) / (111e3 if crs == "EPSG:4326" else 1)
    shape = max(1, int((north - south) / pixel)), max(1, int((east - west) / pixel))
    source = GeoBox(shape, Affine((east - west) / shape[1], 0, west, 0, (south - north) / shape[0], north), crs)
    crs = draw(st.sampled_from(TARGETS))
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(*draw(st.sampled_from(AWKWARD)))
    assume(np.hypot(x, y) < FARTHEST)
    cells, size = draw(st.integers(1, 6)), draw(st.sampled_from([10.0, 250.0, 1000.0, 4000.0, 20e3, 100e3]))
    size /= 111e3 if crs == "EPSG:4326" else 1.0
    left, top = (at + sign * cells * size * draw(st.floats(0.0, 1.0, width=16)) for at, sign in ((x, -1), (y, 1)))
    target = GeoBox((cells, cells), Affine(size, 0, left, 0, -size, top), crs)
    return source, target, draw(st.integers(0, cells - 1)), draw(st.integers(0, cells - 1))


def check(case) -> None:
    source, target, row, column = case
    overlap, values = overlap_of(source, target), np.ones((1, *source.shape))
    mean, share = overlap.reduce(values, (0, 0), ALL, ALL, "mean")
    assert ((share >= 0.0) & (share <= 1.0)).all()
    np.testing.assert_array_equal(np.isfinite(mean), share > 0.0)
    np.testing.assert_allclose(mean[share > 0.0], 1.0, rtol=1e-6)
    tile = slice(row, row + 1), slice(column, column + 1)
    window = overlap.window(*tile)
    if window is None:
        assert share[0, row, column] == 0.0
        return
    rows, cols = window
    seen = values[:, rows].take(range(cols.start, cols.stop), axis=2, mode="wrap")  # longitudes come round
    one, part = overlap.reduce(seen, (rows.start, cols.start), *tile, "mean")
    np.testing.assert_array_equal(one[0, 0, 0], mean[0, row, column])
    np.testing.assert_array_equal(part[0, 0, 0], share[0, row, column])
    high, _ = overlap.reduce(values, (0, 0), ALL, ALL, "max")
    np.testing.assert_array_equal(np.isfinite(high), np.isfinite(mean))


@Sizes(quick=12, long=LONG // 25).mark()
def test_small_targets(number):
    fuzz(check, cases(), number)
