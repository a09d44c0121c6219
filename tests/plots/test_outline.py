"""Coasts: what ships with the package, and where they run in other CRSs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pyproj import Geod, Transformer
from shapely.geometry import Point, Polygon

import xsoil.plots
from xsoil.plots._outline import TORN, land, outline


def test_the_land_is_the_land():
    geod = Geod(ellps="WGS84")
    areas = [abs(geod.polygon_area_perimeter(*ring.T)[0]) / 1e6 for ring in land()]
    assert sum(areas) == pytest.approx(148.9e6, rel=0.02)  # km2; lakes are part of it, small islands are not
    for mainland in (7.6e6, 0.587e6):  # of Australia, of Madagascar
        assert min(abs(area / mainland - 1) for area in areas) < 0.02
    rings = [Polygon(np.column_stack([np.unwrap(lon, period=360), lat])) for lon, lat in (r.T for r in land())]
    for lon, lat, expected in ((-95, 40, 1), (20, 5, 1), (134, -25, 1), (-175, 67, 1), (-40, 30, 0), (80, -10, 0)):
        around = [Point(lon + turn, lat) for turn in (-360, 0, 360)]
        assert any(ring.contains(point) for ring in rings for point in around) == bool(expected)


def test_it_is_small():
    assert (Path(xsoil.plots.__file__).parent / "land.npz").stat().st_size < 60_000


@pytest.mark.parametrize(
    ("crs", "extent"),
    [
        ("EPSG:6933", (-17367530.4, 17367530.4, -7314540.8, 7314540.8)),
        ("EPSG:6931", (-9e6, 9e6, -9e6, 9e6)),
        ("EPSG:5070", (-2.4e6, 2.3e6, 2e5, 3.2e6)),
        ("ESRI:54052", (-2.0e7, 2.0e7, -8.7e6, 8.7e6)),
        ("+proj=sinu +lon_0=150 +type=crs", (-2.0e7, 2.0e7, -1e7, 1e7)),
    ],
)
def test_no_line_crosses_an_edge_of_the_projection(crs, extent):
    lines = outline(crs, extent)
    assert lines
    for line in lines:
        assert np.isfinite(line).all()
        assert np.hypot(*np.diff(line, axis=0).T).max() < TORN
    # A point of the coast, the Cape of Good Hope or Cabo San Lucas, is where PROJ has it.
    lon, lat = (18.47, -34.36) if crs not in ("EPSG:5070", "EPSG:6931") else (-109.9, 22.9)
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
    if extent[0] < x < extent[1] and extent[2] < y < extent[3]:
        assert min(np.hypot(*(line - (x, y)).T).min() for line in lines) < 30_000


def test_longitudes_go_on_beyond_the_dateline():
    lines = outline("EPSG:4326", (100.0, 260.0, -50.0, 70.0))
    assert max(np.abs(np.diff(line[:, 0])).max() for line in lines) <= 1.0 + 1e-9
    points = np.concatenate(lines)
    for lon, lat in ((174.2, -35.2), (360 - 122.5, 37.8), (180 + 9, 66.0)):  # Auckland, San Francisco, Chukotka
        assert np.hypot(*(points - (lon, lat)).T).min() < 1.0
    ease = outline("EPSG:6933", (16e6, 19e6, -6e6, 7e6))
    assert max(np.abs(np.diff(line[:, 0])).max() for line in ease) < 2e5
    assert np.concatenate(ease)[:, 0].max() > 17.5e6


def test_only_what_touches_the_map():
    assert not outline("EPSG:4326", (-40.0, -30.0, 20.0, 30.0))
