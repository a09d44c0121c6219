"""Totals arrive: maps anywhere, brought to grids in other CRSs that hold them, across datelines, at ends of worlds."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import xarray as xr
from affine import Affine
from hypothesis import assume
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from pyproj import Transformer
from strategies import CELLS, SINUSOIDAL, examples, fuzz

import xsoil

PLACES = {
    "EPSG:4326": (-180, 180, -80, 80), "EPSG:4258": (-10, 30, 35, 65), "EPSG:4267": (-120, -70, 25, 50),
    "EPSG:6933": (-180, 180, -75, 75), "EPSG:6931": (-180, 180, 40, 89), "EPSG:6932": (-180, 180, -89, -40),
    "EPSG:3035": (-10, 30, 35, 65), "EPSG:5070": (-125, -70, 25, 50), "EPSG:3338": (172, 220, 52, 70),
    "EPSG:3577": (112, 154, -44, -10), "EPSG:2193": (166, 179, -47, -34), "EPSG:32601": (178, 186, 0, 70),
    "EPSG:32760": (174, 182, -70, 0), "EPSG:32633": (11, 19, 0, 70), "EPSG:27700": (-7, 2, 50, 60),
    "EPSG:2154": (-5, 9, 42, 51), "EPSG:3857": (-180, 180, -70, 70), "EPSG:3832": (100, 240, -60, 60),
    "EPSG:3413": (-180, 180, 60, 89), "EPSG:3031": (-180, 180, -89, -60), "EPSG:8857": (-180, 180, -75, 75),
    "ESRI:54009": (-180, 180, -75, 75), "ESRI:54030": (-180, 180, -75, 75), SINUSOIDAL: (-180, 180, -75, 75),
}  # fmt: skip
"""CRSs, and the longitudes (on from the first, beyond 180 too) and latitudes where maps in them are made."""
WORLDS = {"EPSG:4326": 360.0, "EPSG:6933": 2 * 17367530.445161372}
"""CRSs that may take a map on both sides of the dateline, as a grid round the world."""


@lru_cache
def transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


def degrees(crs: str) -> bool:
    return crs in ("EPSG:4326", "EPSG:4258", "EPSG:4267")


def at(longitude: float, latitude: float) -> list[str]:
    """CRSs that know a place."""
    return [
        name for name, (west, east, south, north) in PLACES.items()
        if west + (longitude - west) % 360 <= east and south <= latitude <= north
    ]  # fmt: skip


@st.composite
def cases(draw):
    longitude = draw(st.one_of(st.floats(-180, 180, width=32), st.floats(172, 188, width=32)))
    latitude = draw(st.floats(-88, 88, width=32))
    known = at(longitude, latitude)
    assume(known)
    crs, other = draw(st.sampled_from(known)), draw(st.sampled_from(known))
    rows, columns = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    metres = min(draw(st.sampled_from(CELLS)), 8e5 / max(rows, columns))
    cell, tall = (metres / 111_000 if degrees(crs) else metres), draw(st.sampled_from([1.0, 0.5, 1.7]))
    x, y = transformer("EPSG:4326", crs).transform((longitude + 180) % 360 - 180, latitude)
    left, top = x - cell * columns / 2, y + cell * tall * rows / 2
    source = GeoBox((rows, columns), Affine(cell, 0, left, 0, -cell * tall, top), crs)
    factor = draw(st.sampled_from([0.3, 1.0, 2.0, 3.7, 8.0, 40.0]))
    return source, around(source, other, metres * factor, draw(st.floats(0, 1))), draw(st.integers(1, 60))


def around(source: GeoBox, crs: str, metres: float, shift: float) -> GeoBox:
    """A grid that holds a map, none of which lies off the world of either CRS."""
    name, (rows, columns) = str(source.crs), source.shape
    name = next(known for known in PLACES if source.crs == known)
    x, y = source.affine @ np.meshgrid(np.linspace(0, columns, 33), np.linspace(0, rows, 33))
    assume(not degrees(name) or np.abs(y).max() < 89)
    places = transformer(name, "EPSG:4326").transform(x, y)
    back = transformer("EPSG:4326", name).transform(*places)
    u, v = transformer(name, crs).transform(x, y)
    assume(np.isfinite([*places, u, v]).all())
    assume(degrees(name) or np.hypot(back[0] - x, back[1] - y).max() < 1e-3)
    cell = metres / 111_000 if degrees(crs) else metres
    left, right = u.min() - cell * (2 + shift), u.max() + cell
    if max(np.abs(np.diff(u, axis=0)).max(), np.abs(np.diff(u, axis=1)).max()) > (20 if degrees(crs) else 3e6):
        assume(crs in WORLDS)
        cell = WORLDS[crs] / np.clip(WORLDS[crs] // cell, 10, 2000)
        left, right = -WORLDS[crs] / 2, WORLDS[crs] / 2
    top = v.max() + cell * (2 + shift)
    shape = int((top - v.min()) / cell) + 3, int(np.ceil((right - left) / cell - 1e-6))
    assume(not degrees(crs) or (top <= 90 and top - shape[0] * cell >= -90))
    assume(shape[0] * shape[1] < 2e6)
    return GeoBox(shape, Affine(cell, 0, left, 0, -cell, top), crs)


def check(case) -> None:
    source, target, rows = case
    values = np.random.default_rng(0).uniform(1, 2, source.shape)
    coords = xr_coords(source, crs_coord_name="spatial_ref")
    ds = xr.Dataset({"v": (source.dimensions, values, {"units": "kg m-2"})}, coords)
    options = {"min_valid": 0.0, "valid_fraction": True}
    eager = xsoil.upscale(ds, target, "sum", **options)
    np.testing.assert_allclose(np.nansum(eager.v.values), values.sum(), rtol=1e-4)
    lazy = xsoil.upscale(ds.chunk({source.dimensions[0]: rows}), target, "sum", chunks=200, **options)
    xr.testing.assert_equal(lazy, eager)


@examples
def test_totals(number):
    fuzz(check, cases(), number if number < 100 else number // 5)
