"""`downscale` against odc-geo (GDAL) on the same grids."""

from __future__ import annotations

import time

import dask.array as da
import numpy as np
import odc.geo.xr  # noqa: F401  (registers .odc)
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import xsoil

TARGETS = {
    "EASE2_M01km": xsoil.ease_grid("EASE2_M01km", "conus"),
    "Albers 2 km": GeoBox((1450, 2300), Affine(2000, 0, -2_300_000, 0, -2000, 3_200_000), "EPSG:5070"),
}


@pytest.mark.parametrize("name", TARGETS)
def test_conus(ratio, name):
    box, target = xsoil.ease_grid("EASE2_M09km", "conus"), TARGETS[name]
    values = np.random.default_rng(0).normal(25, 10, box.shape).astype("f4")
    ds = xr.Dataset({"sand": (box.dimensions, values)}, xr_coords(box))
    cells = target.shape[0] * target.shape[1] / 1e6
    methods = ("nearest", "bilinear", "cubic")
    for method in (*methods, "conservative"):
        works = [lambda method=method: xsoil.downscale(ds, target, method)]
        if method in methods:
            works.append(lambda method=method: ds.sand.odc.reproject(target, resampling=method))
        ours, *theirs = ratio.times(*works, rounds=3)
        peer = f", {theirs[0] / ours:.2f} x faster than odc-geo" if theirs else ""
        ratio.report(
            f"downscale {method}, EASE2_M09km CONUS f4 -> {name}",
            f"{ours * 1e3:.0f} ms = {cells / ours:.1f} million cells/s{peer}",
            "none",
        )


GLOBAL = {
    "homolosine": GeoBox((17300, 40000), Affine(1000, 0, -2e7, 0, -1000, 8.65e6), "ESRI:54052"),
    "sinusoidal": GeoBox((20000, 40000), Affine(1000, 0, -2e7, 0, -1000, 1e7), "+proj=sinu +R=6371007.181 +units=m"),
}


@pytest.mark.parametrize("name", GLOBAL)
def test_graph_of_a_global_map(ratio, name):
    box = xsoil.ease_grid("EASE2_M36km")
    data = da.zeros(tuple(box.shape), chunks=200, dtype="f4")
    ds = xr.Dataset({"sand": (box.dimensions, data)}, xr_coords(box))
    start = time.perf_counter()
    lazy = xsoil.downscale(ds, GLOBAL[name], "conservative")
    seconds = time.perf_counter() - start
    ratio.report(
        f"graph of downscale conservative, EASE2_M36km -> global 1 km, {name}",
        f"{seconds:.1f} s, {lazy.sand.data.npartitions} tiles",
        "seconds",
    )
