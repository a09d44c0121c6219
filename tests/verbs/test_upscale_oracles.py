"""Every operator of `upscale` against polygons, on pairs of grids of every kind."""

from __future__ import annotations

import warnings
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from affine import Affine
from maps import AREA_HOWS, REGION, field, on, options, suited
from odc.geo.geobox import GeoBox
from polygons import EASE_GLOBAL, Overlaps, sampled
from pyproj import Transformer

from xsoil.grids.ease import EASE_GRIDS, ease_grid
from xsoil.verbs.upscale import upscale

SINU = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +type=crs"
ROTATED_POLE = (
    "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18 +to_meter=0.0174532925199433 "
    "+ellps=WGS84 +type=crs"
)
GRID9, GRID36 = EASE_GRIDS["EASE2_M09km"], EASE_GRIDS["EASE2_M36km"]


class Pair(NamedTuple):
    source: GeoBox
    target: GeoBox
    working: str = EASE_GLOBAL
    tolerance: float = 1e-6
    points: tuple[int, int] = (24, 24)
    """Along each edge of a pixel and of a cell."""
    cover: float = 1e-6
    """Tolerance of valid fractions."""


def box(crs, lon, lat, cell, ny, nx, turned=0.0):
    """A grid whose middle lies at (lon, lat)."""
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
    x, y = (np.round(v / cell) * cell for v in (x, y))
    middle = Affine.translation(x, y) @ Affine.rotation(turned) @ Affine.scale(cell, -cell)
    return GeoBox((ny, nx), middle @ Affine.translation(-(nx // 2), -(ny // 2)), crs)


def ease(grid, lon, lat, ny=5, nx=6):
    """A window of an EASE grid about (lon, lat)."""
    x, y = Transformer.from_crs("EPSG:4326", grid.geobox.crs.proj, always_xy=True).transform(lon, lat)
    column, row = ~grid.geobox.affine @ (x, y)
    return grid.window(int(row) - ny // 2, int(column) - nx // 2, ny, nx)


def degrees(west, north, step, ny, nx, down=True, right=True):
    top, left = (north, west) if down else (north - ny * step, west)
    return GeoBox(
        (ny, nx),
        Affine(step if right else -step, 0, left if right else west + nx * step, 0, -step if down else step, top),
        "EPSG:4326",
    )


POLE = GeoBox((3, 3), Affine(120_000, 0, -180_000, 0, -120_000, 180_000), "EPSG:6931")

PAIRS = {
    "lat-lon to EASE": Pair(degrees(-106.5, 38.9, 1 / 30, 40, 40), ease(GRID9, -105.7, 38.2, 6, 6), tolerance=1e-9),
    "EASE to lat-lon": Pair(ease_grid("EASE2_M09km", REGION), degrees(-106.3, 38.7, 0.31, 5, 6), tolerance=1e-9),
    "lat-lon to lat-lon": Pair(
        degrees(-106.5, 38.9, 1 / 30, 40, 40), degrees(-106.6, 38.8, 0.23, 5, 5), tolerance=1e-9
    ),
    "upside down": Pair(
        degrees(-106.5, 38.9, 1 / 30, 40, 40, down=False, right=False), ease(GRID9, -105.7, 38.2, 6, 6), tolerance=1e-9
    ),
    "to an ascending target": Pair(
        degrees(-106.5, 38.9, 1 / 30, 40, 40), degrees(-106.6, 38.8, 0.23, 5, 5, down=False), tolerance=1e-9
    ),
    "across the dateline": Pair(degrees(176, 6, 0.1, 80, 80), GRID36.window(190, 952, 6, 20), tolerance=1e-9),
    "0-360 to the west": Pair(degrees(0, 90, 2.0, 90, 180), degrees(-130, 60, 9.0, 5, 6), tolerance=1e-9),
    "0-360 across Greenwich": Pair(degrees(0, 90, 2.0, 90, 180), degrees(-23, 71, 7.0, 5, 6), tolerance=1e-9),
    "Web Mercator to EASE": Pair(box("EPSG:3857", 11, 50, 1200, 50, 50), ease(GRID9, 11, 50), tolerance=1e-9),
    "LAEA nested": Pair(
        GeoBox((24, 30), Affine(1000, 0, 4_000_000, 0, -1000, 3_000_000), "EPSG:3035"),
        GeoBox((6, 7), Affine(4000, 0, 4_000_000, 0, -4000, 3_000_000), "EPSG:3035"),
        "EPSG:3035",
        1e-9,
    ),
    "Albers to EASE": Pair(box("EPSG:5070", -122, 47, 1000, 60, 60), ease(GRID9, -122, 47)),
    "rotated Albers to EASE": Pair(box("EPSG:5070", -80, 33, 1000, 60, 60, turned=27), ease(GRID9, -80, 33)),
    "homolosine to EASE": Pair(box("ESRI:54052", -70, -10, 1000, 60, 60), ease(GRID9, -70, -10)),
    "homolosine by its kink": Pair(box("ESRI:54052", -90, 40.7366, 1000, 60, 60), ease(GRID9, -90, 40.7366)),
    "sinusoidal to EASE": Pair(box(SINU, -105, 40, 926.625433, 60, 60), ease(GRID9, -105, 40)),
    "lat-lon to EASE north": Pair(
        degrees(20, 76, 0.05, 40, 120), ease(EASE_GRIDS["EASE2_N36km"], 23, 75, 5, 5), "EPSG:6931", points=(48, 2)
    ),
    # The pixels that touch the pole are wedges, drawn with a chord: together 4e-6 of the cell that holds it.
    "pole in a cell": Pair(degrees(-180, 90, 0.5, 8, 720), POLE, "EPSG:6931", points=(48, 2), cover=1e-5),
    "south polar to EASE south": Pair(
        box("EPSG:3031", 30, -75, 5000, 40, 40), ease(EASE_GRIDS["EASE2_S36km"], 30, -75), "EPSG:6932"
    ),
    "EASE north to lat-lon": Pair(
        ease(EASE_GRIDS["EASE2_N09km"], 15, 62, 60, 60), degrees(12, 63.5, 0.7, 5, 8), points=(48, 48)
    ),
    "EASE north to polar lat-lon": Pair(
        ease(EASE_GRIDS["EASE2_N09km"], 15, 85, 60, 60),
        degrees(5, 86.8, 0.7, 5, 5),
        "+proj=laea +lat_0=85.05 +lon_0=6.75 +datum=WGS84 +units=m +type=crs",
        points=(48, 96),
    ),
    "UTM to EASE": Pair(box("EPSG:32633", 17, 48, 1000, 60, 60), ease(GRID9, 17, 48)),
    "EASE to UTM": Pair(
        ease(EASE_GRIDS["EASE2_M01km"], 17, 48, 60, 60), box("EPSG:32633", 17, 48, 9000, 5, 6), points=(24, 48)
    ),
    "Lambert to EASE": Pair(box("EPSG:2154", 0, 44, 1000, 60, 60), ease(GRID9, 0, 44)),
    "North Pole LAEA across the dateline": Pair(box("EPSG:3571", 180, 65, 5000, 40, 40), GRID36.window(17, 961, 5, 6)),
    "OSGB with its own datum": Pair(box("EPSG:27700", -2, 53, 1000, 40, 40), ease(GRID9, -2, 53)),
    "rotated pole": Pair(
        GeoBox((40, 40), Affine(0.05, 0, -1, 0, -0.05, 1), ROTATED_POLE), ease(GRID9, 18, 50.75), points=(48, 2)
    ),
    "to a rotated grid": Pair(box("EPSG:6933", 10, 40, 1000, 60, 60), box("EPSG:6933", 10, 40, 9000, 4, 4, turned=30)),
    "Albers to a finer grid": Pair(
        box("EPSG:5070", -80, 35, 5000, 6, 6), ease(EASE_GRIDS["EASE2_M03km"], -80, 35, 8, 8), points=(100, 2)
    ),
    "Albers one to one": Pair(
        box("EPSG:5070", -100, 45, 1000, 14, 14), ease(EASE_GRIDS["EASE2_M01km"], -100, 45, 9, 9)
    ),
}


@cache
def overlaps(name: str) -> Overlaps:
    pair = PAIRS[name]
    return Overlaps.of(pair.source, pair.target, pair.working, pair.points)


@cache
def values_of(name: str) -> np.ndarray:
    """White noise with single gaps, and one corner of the map missing."""
    values = field(PAIRS[name].source.shape, seed=len(name), missing=0.1)
    ny, nx = values.shape
    values[: int(ny / 2.2), : int(nx / 2.2)] = np.nan
    return values


LOBES = {
    "north, west of it": (-40, 60, -1),
    "north, east of it": (-40, 60, 1),
    "south, far from the equator": (-20, -45, 1),
    "by the equator": (80, -5, -1),
}


@cache
def across(name: str) -> tuple[Pair, Overlaps, np.ndarray]:
    """A homolosine map of which a part lies beyond the edge of a lobe, where no place on Earth is."""
    longitude, lat, side = LOBES[name]
    pair = Pair(box("ESRI:54052", longitude + side * 0.1, lat, 1000, 26, 30), ease(GRID9, longitude, lat, 3, 4))
    values = field(pair.source.shape, seed=2, missing=0.05)
    return pair, Overlaps.across_a_lobe_edge(pair.source, pair.target, longitude), values


@pytest.mark.parametrize("how", ["mean", "sum", "min", "max", "median", "mode", "std", "geometric", "fraction"])
@pytest.mark.parametrize("name", LOBES)
def test_pixels_cut_by_the_edge_of_a_lobe(name, how):
    pair, overlap, values = across(name)
    compare(pair, overlap, suited(how, values), how)


def upscaled(pair: Pair, values: np.ndarray, how: str, **more):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="upscale: the target is finer")
        return upscale(on(pair.source, values), pair.target, how, valid_fraction=True, **options(how), **more)


@pytest.mark.parametrize("how", AREA_HOWS)
@pytest.mark.parametrize("name", PAIRS)
def test_area_operators(name, how):
    pair, values = PAIRS[name], suited(how, values_of(name))
    compare(pair, overlaps(name), values, how)


def compare(pair: Pair, overlap: Overlaps, values: np.ndarray, how: str) -> None:
    kinds = np.unique(values[~np.isnan(values)])
    parameter = {"median": 0.5, "quantile": 0.3, "power": -0.7, "fraction": kinds}.get(how)
    rule = "quantile" if how == "median" else how
    want = overlap.answer(rule, values, parameter, exact=pair.tolerance < 1e-6)
    got = upscaled(pair, values, how, min_valid=0.0)
    found = got.clay.transpose("clay_class", ...).values if how == "fraction" else got.clay.values
    np.testing.assert_allclose(
        got.clay_valid_fraction, want.fraction, atol=max(pair.tolerance, 1e-9) if pair.tolerance < 1e-6 else pair.cover
    )
    # Areas are known to a share of the cell, so that what a cell barely touches is known less well.
    seen = want.decided & (want.fraction > 1e-3)
    assert seen.sum() > 0.7 * (want.fraction > 1e-3).sum() > 3
    scale = {"fraction": 1.0}.get(how, np.nanmax(np.abs(want.value[..., seen])))
    exact = how in ("min", "max", "median", "quantile", "mode")
    room = 1e-12 * scale if exact else pair.tolerance * scale / np.clip(10 * want.fraction, 1e-12, 1.0)
    error = np.abs(found - want.value) / room
    assert np.isfinite(found[..., seen]).all()
    assert error[..., seen].max() <= 1.0, f"{how}: {error[..., seen].max():.3g} x the tolerance"
    nothing = want.fraction == 0
    assert np.isnan(found[..., nothing]).all()
    # The same with half of the cell needed.
    half = upscaled(pair, values, how, min_valid=0.5).clay
    half = half.transpose("clay_class", ...).values if how == "fraction" else half.values
    clear = np.abs(want.fraction - 0.5) > 1e-5
    expected = np.where(want.fraction >= 0.5, found, np.nan)
    np.testing.assert_array_equal(half[..., clear], expected[..., clear])


@pytest.mark.parametrize("how", ["nearest", "bilinear", "cubic"])
@pytest.mark.parametrize("name", PAIRS)
def test_point_operators(name, how):
    pair, values = PAIRS[name], values_of(name)
    for least in (0.5, 0.9) if how == "bilinear" else (0.5,):
        want = sampled(how, pair.source, values, pair.target, least)
        got = upscaled(pair, values, how, min_valid=least)
        assert want.decided.sum() > 0.6 * want.decided.size
        np.testing.assert_allclose(got.clay.values[want.decided], want.value[want.decided], rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(got.clay_valid_fraction.values[want.decided], want.fraction[want.decided], atol=1e-6)
