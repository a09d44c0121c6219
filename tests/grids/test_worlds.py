"""Maps of the whole world on grids of a zone or a country, whose projections draw the far side over or scatter it."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from pyproj import Transformer
from sheared_oracle import cylinder, degrees, grid

import xsoil
from xsoil.grids.index_map import IndexMap
from xsoil.grids.sheared import ShearedOverlap

ALL = slice(None)


# fmt: off
ZONES = {
    "transverse Mercator": grid("EPSG:32633", 2e5, 8e5, 1e6, 7e6, (60, 6)),
    "British": grid("EPSG:27700", 0, 7e5, 0, 1.3e6, (26, 14)),
    "Swiss": grid("EPSG:2056", 2.48e6, 2.84e6, 1.07e6, 1.3e6, (23, 36)),
    "Cassini": grid("+proj=cass +lon_0=15 +ellps=GRS80 +type=crs", -5e5, 5e5, 1e6, 5e6, (40, 10)),
    "Krovak": grid("EPSG:5514", -9e5, -4e5, -1.3e6, -9e5, (20, 25)),
    "polyconic": grid("EPSG:5880", 3e6, 7e6, 6e6, 1.1e7, (50, 40)),
    "New Zealand": grid("EPSG:27200", 2e6, 3e6, 5.3e6, 6.8e6, (30, 20)),
    "oblique Mercator": grid("EPSG:29702", 1e5, 9e5, 0, 1.5e6, (30, 16)),
}
# fmt: on
WORLDS = {
    "degrees": degrees(1.0),
    "degrees from 0": grid("EPSG:4326", 0, 360, -90, 90, (180, 360)),
    "cylinder": cylinder((122, 290)),
}


def places(box: GeoBox, crs: str = "EPSG:4326") -> tuple[np.ndarray, np.ndarray]:
    """Longitudes and latitudes of the middles of cells."""
    column, row = np.meshgrid(np.arange(box.shape[1]) + 0.5, np.arange(box.shape[0]) + 0.5)
    a = box.affine
    x, y = a.a * column + a.c, a.e * row + a.f
    lon, lat = Transformer.from_crs(box.crs, crs, always_xy=True).transform(x, y)
    return np.asarray(lon), np.asarray(lat)


def in_space(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Directions of places, which know of no dateline."""
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("zone", ZONES)
def test_a_world_is_what_lies_around_the_zone(zone, world):
    source, target = WORLDS[world], ZONES[zone]
    lon, lat = places(source)
    values, truth = in_space(*np.radians((lon, lat))), in_space(*np.radians(places(target)))
    overlap = ShearedOverlap(source, target)
    mean, fraction = overlap.reduce(values, (0, 0), ALL, ALL, "mean")
    np.testing.assert_allclose(fraction, 1.0, atol=1e-5)
    assert np.abs(mean - truth).max() < np.radians(1.0)
    # What is far away adds nothing, by no way of asking.
    window = overlap.window(ALL, ALL)
    assert window is not None
    (r0, r1), (c0, c1) = ((part.start, part.stop) for part in window)
    near, _ = overlap.reduce(values[:, r0:r1, c0:c1], (r0, c0), ALL, ALL, "mean")
    np.testing.assert_array_equal(near, mean)
    median, _ = overlap.select(values, (0, 0), ALL, ALL, "quantile", 0.5)
    assert np.abs(median - truth).max() < np.radians(1.5)
    pointer, pixel, area = overlap.weights((0, 0), source.shape, ALL, ALL)
    assert (np.diff(pointer) > 0).all()
    summed = np.add.reduceat(area * values[2].ravel()[pixel], pointer[:-1]) / np.add.reduceat(area, pointer[:-1])
    np.testing.assert_allclose(summed.reshape(target.shape), mean[2], atol=1e-6)


@pytest.mark.parametrize("zone", ["transverse Mercator", "Swiss", "Krovak", "polyconic", "New Zealand"])
def test_the_far_side_has_no_place(zone):
    target = ZONES[zone]
    source = WORLDS["degrees"]
    imap = IndexMap(source, target)
    lon, lat = (float(a[target.shape[0] // 2, target.shape[1] // 2]) for a in places(target))
    u, v = imap.forward(np.array([lon + 180.0]), np.array([90.0 - lat]))
    assert np.isfinite(u + v).all()
    assert 0 < u[0] < target.shape[1]
    assert 0 < v[0] < target.shape[0]
    column, row = np.meshgrid(np.arange(360.0), np.arange(1.0, 180.0))
    u, v = imap.forward(column, row)
    inside = (u >= 0) & (u < target.shape[1]) & (v >= 0) & (v < target.shape[0])
    far = np.hypot(np.remainder(column - 180.0 - lon + 180.0, 360.0) - 180.0, 90.0 - row - lat) > 60.0
    assert not (inside & far).any()


def test_only_maps_that_reach_so_far_are_checked():
    near = grid("EPSG:4326", -5, 35, 35, 55, (80, 160))  # (Krovak folds at the pole of its cone, 59.8 N)
    for target in ZONES.values():
        if target.crs.epsg not in (27200, 29702, 5880):
            assert not IndexMap(near, target)._folds, target
    world = WORLDS["degrees"]
    for crs in ("EPSG:6931", "EPSG:3035", "EPSG:5070", "ESRI:54052", "EPSG:3413", "EPSG:6933", "+proj=robin"):
        assert not IndexMap(world, GeoBox((10, 10), Affine(1e5, 0, 0, 0, -1e5, 0), crs))._folds, crs


def test_an_oblique_cylinder_does_not_come_round_with_longitude():
    for crs in ("EPSG:29702", "EPSG:2056", "+proj=tcea +lon_0=15", "+proj=ocea +lat_1=10 +lat_2=30 +lon_1=0 +lon_2=40"):
        assert IndexMap(WORLDS["degrees"], GeoBox((10, 10), Affine(1e5, 0, 0, 0, -1e5, 0), crs)).period == 0, crs
    for crs in ("EPSG:3857", "EPSG:6933", "EPSG:32662", "+proj=merc", "+proj=cea"):
        assert IndexMap(WORLDS["degrees"], GeoBox((10, 10), Affine(1e5, 0, 0, 0, -1e5, 0), crs)).period > 0, crs


@pytest.mark.parametrize("how", ["mean", "sum", "median", "mode", "std"])
@pytest.mark.parametrize("world", ["degrees", "cylinder"])
def test_upscale_of_a_world_lazy_is_eager(world, how):
    source, target = WORLDS[world], ZONES["transverse Mercator"]
    lon, lat = places(source)
    ds = xr.Dataset(
        {"lat": (("y", "x"), np.round(lat)), "lon": (("y", "x"), np.round(lon))},
        coords=xr_coords(source, dims=("y", "x")),
    )
    target = GeoBox((30, 3), Affine(2e5, 0, 2e5, 0, -2e5, 7e6), target.crs)
    eager = xsoil.upscale(ds, target, how=how)
    lazy = xsoil.upscale(ds.chunk(y=50, x=70), target, how=how, chunks=(11, 2)).compute()
    xr.testing.assert_identical(eager, lazy)
    if how in ("mean", "median", "mode"):
        assert np.abs(eager["lat"].values - places(target)[1]).max() < 2.0
        assert np.abs(eager["lon"].values - places(target)[0]).max() < 2.0


def test_a_world_is_split_conservatively():
    source = WORLDS["degrees"]
    lat = places(source)[1]
    ds = xr.Dataset({"lat": (("y", "x"), lat)}, coords=xr_coords(source, dims=("y", "x")))
    target = grid("EPSG:32633", 2e5, 8e5, 4e6, 6e6, (100, 30))
    fine = xsoil.downscale(ds, target, method="conservative")
    off = np.abs(fine["lat"].values - places(target)[1])
    assert off.max() < 1.5  # coarse cells at the edge have few fine ones
    assert off[6:-6, 6:-6].max() < 0.75
    xr.testing.assert_identical(xsoil.downscale(ds.chunk(y=60, x=90), target, method="conservative").compute(), fine)
