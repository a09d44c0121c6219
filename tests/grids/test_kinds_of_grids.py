"""`upscale` from the grids that data come on against polygons: datums, feet, zones, turned maps, spheres."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from pyproj import Transformer
from sheared_oracle import cover, oracle

import xsoil

LAMBERT = "+proj=lcc +lat_0={} +lon_0={} +lat_1={} +lat_2={} +units={} +type=crs"
DAYMET, DAYMET_KM = (LAMBERT.format(42.5, -100, 25, 60, unit) + " +ellps=WGS84" for unit in ("m", "km"))
WRF = LAMBERT.format(39, -97, 30, 60, "m") + " +R=6370000"
GOES = "+proj=geos +h=35786023 +lon_0=-75 +sweep=x +ellps=GRS80 +units=m +type=crs"
EASE, NINE = "EPSG:6933", 9008.055210146

# CRS of the source, middle, cell, rows, columns, turned by; CRS and cell of the target.
CASES = {
    "UTM of 1927": ("EPSG:26710", (-121, 38), 5000, 14, 11, 0, EASE, NINE),
    "survey feet": ("EPSG:2225", (-122, 40.5), 15000, 14, 11, 0, EASE, NINE),
    "to survey feet": (EASE, (-122, 40.5), 3000, 14, 11, 0, "EPSG:2225", 30000),
    "Lambert on a datum in grads": ("EPSG:27572", (2.5, 46.8), 5000, 14, 11, 0, EASE, NINE),
    "degrees of 1927": ("EPSG:4267", (-100, 40), 0.05, 14, 11, 0, EASE, NINE),
    "to degrees of 1927": (EASE, (-100, 40), 3000, 14, 11, 0, "EPSG:4267", 0.1),
    "from datum to datum": ("EPSG:4267", (-100, 40), 0.05, 14, 11, 0, "EPSG:4326", 0.125),
    "turned UTM": ("EPSG:32614", (-99, 40), 3000, 14, 11, 23, EASE, NINE),
    "turned EASE": (EASE, (-99, 40), 3000, 14, 11, 45, EASE, NINE),
    "turned degrees": ("EPSG:4326", (-99, 40), 0.05, 14, 11, 30, EASE, NINE),
    "one pixel": ("EPSG:4326", (-99, 40), 0.25, 1, 1, 0, EASE, NINE),
    "one UTM pixel": ("EPSG:32614", (-99, 40), 25000, 1, 1, 0, EASE, NINE),
    "Daymet": (DAYMET, (-85, 35), 1000, 30, 28, 0, EASE, NINE),
    "Daymet in km": (DAYMET_KM, (-85, 35), 1, 30, 28, 0, EASE, NINE),
    "WRF": (WRF, (-95, 38), 4000, 20, 20, 0, EASE, NINE),
    "NLDAS": ("EPSG:4326", (-98.0625, 38.0625), 0.125, 8, 8, 0, EASE, NINE),
    "GOES": (GOES, (-95, 38), 4000, 20, 20, 0, EASE, NINE),
    "Great Britain": ("EPSG:27700", (-3, 54), 3000, 14, 11, 0, EASE, NINE),
    "Krovak": ("EPSG:5514", (15, 49.8), 3000, 14, 11, 0, EASE, NINE),
    "axes to the south and west": ("EPSG:2048", (19, -33), 3000, 14, 11, 0, EASE, NINE),
    "New Zealand": ("EPSG:2193", (172, -41), 3000, 14, 11, 0, EASE, NINE),
    "Mercator": ("EPSG:3857", (8, 60), 3000, 14, 11, 0, EASE, NINE),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_agrees_with_polygons(case):
    crs, (lon, lat), cell, rows, columns, angle, to, size = case
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
    turned = Affine.translation(x, y) @ Affine.rotation(angle) @ Affine.scale(cell, -cell)
    source = GeoBox((rows, columns), turned @ Affine.translation(-columns / 2, -rows / 2), crs)
    target = cover(source, to, size, margin=1)
    work = f"+proj=laea +lat_0={lat} +lon_0={lon} +datum=WGS84 +units=m +type=crs"
    weights, pixels, cells = oracle(source, target, work, per_edge=24)
    values = np.random.default_rng(0).normal(20, 5, (rows, columns))
    ds = xr.Dataset({"v": (source.dimensions, values, {"units": "percent"})}, xr_coords(source))
    mean = xsoil.upscale(ds, target, "mean", min_valid=0.0).v.values.ravel()
    total = xsoil.upscale(ds, target, "sum").v.values.ravel()
    met = weights.sum(axis=1)
    some = met > 1e-4 * cells
    np.testing.assert_allclose(mean[some], (weights @ values.ravel())[some] / met[some], rtol=2e-6)
    np.testing.assert_allclose(np.nan_to_num(total), weights @ (values.ravel() / pixels), atol=1e-6 * np.nanmax(total))
    np.testing.assert_allclose(np.nansum(total), values.sum(), rtol=1e-8)
