"""`upscale` against one numpy pass over the source and against odc-geo (GDAL) on the same grids."""

from __future__ import annotations

import math
import subprocess
import sys

import dask.array as da
import numpy as np
import odc.geo.xr  # noqa: F401  (registers .odc)
import pytest
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import xsoil


@pytest.fixture(scope="module")
def conus():
    """1/120 degree CONUS, 2940 x 6960 float32, nothing missing."""
    values = np.random.default_rng(0).normal(25, 10, (2940, 6960)).astype("f4")
    lat, lon = 49.0 - (np.arange(2940) + 0.5) / 120, -125 + (np.arange(6960) + 0.5) / 120
    ds = xr.Dataset({"sand": (("latitude", "longitude"), values)}, {"latitude": lat, "longitude": lon})
    return ds.rio.write_crs("EPSG:4326")


@pytest.mark.parametrize(("how", "gdal"), [("mean", "average"), ("max", "max")])
def test_conus_to_9_km(ratio, conus, how, gdal):
    target = xsoil.upscale(conus, "EASE2_M09km").odc.geobox
    values = conus.sand.values
    ours, one_pass, theirs = ratio.times(
        lambda: xsoil.upscale(conus, "EASE2_M09km", how),
        lambda: values.sum(dtype="f8"),
        lambda: conus.sand.odc.reproject(target, resampling=gdal),
    )
    ratio.report(
        f"upscale {how}, 2940 x 6960 f4 lat-lon -> EASE2_M09km",
        f"{ours * 1e3:.1f} ms = {ours / one_pass:.2f} x one pass, {theirs / ours:.1f} x faster than odc-geo",
        "<= 1.5 x, >= 8 x",
    )


GLOBAL = {
    "global 1 km (14616 x 34704, EASE-Grid 2.0)": xsoil.ease_grid("EASE2_M01km"),
    "global 250 m (58034 x 159246, homolosine)": GeoBox(
        (58034, 159246), Affine(250, 0, -19949750, 0, -250, 8361000), "+proj=igh +datum=WGS84 +units=m +no_defs"
    ),
}


@pytest.mark.parametrize("name", GLOBAL)
def test_graph_of_a_global_raster(ratio, name):
    """Not a ratio: the seconds that a graph takes to build, how many tasks it has, and how much one of them gathers."""
    box = GLOBAL[name]
    data = da.zeros(tuple(box.shape), chunks=4096, dtype="i2")
    ds = xr.Dataset({"sand": (box.dimensions, data)}, xr_coords(box))
    lazy = {}

    def build():
        lazy["out"] = xsoil.upscale(ds, xsoil.ease_grid("EASE2_M09km"))

    (seconds,) = ratio.times(build, rounds=3)
    graph = dict(lazy["out"].sand.__dask_graph__())
    tasks = [task for task in graph.values() if isinstance(task, tuple)]
    windows = [
        math.prod(sum(b - a for a, b in spans) for spans in task[3])
        for task in tasks
        if getattr(task[0], "__name__", "") == "_run_tile"
    ]
    if any(getattr(task[0], "__name__", "") == "_run_island" for task in tasks):
        windows.append(math.prod(data.chunksize))  # a block by itself
    ratio.report(
        f"graph of {name} to EASE2_M09km",
        f"{seconds:.2f} s, {len(graph)} tasks, windows of {4 * max(windows) / 2**20:.0f} MB (float32) at most",
        "20 s, 256 MB",
    )


def test_import(ratio):
    """Seconds that `import xsoil` adds to importing its neighbours, in fresh processes."""
    code = (
        "import time, xarray, odc.geo.xr, rioxarray; t = time.perf_counter(); "
        "import xsoil; print(time.perf_counter() - t)"
    )
    ratio.times(lambda: None)
    seconds = min(float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(3))
    ratio.report("import xsoil, beyond xarray, odc-geo and rioxarray", f"{seconds:.2f} s", "< 1 s")
