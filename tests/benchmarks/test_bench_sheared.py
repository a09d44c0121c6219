"""Operators from sheared CRSs (Albers, homolosine, sinusoidal to EASE) against odc-geo (GDAL) on the same grids.

Each line also says how far GDAL's map is from the exact one (rms, of values with a standard deviation of 10). GDAL
takes the source pixels of a target cell from the rectangle of two opposite corners: in the western sinusoidal that
rectangle collapses to a few pixels, so that it leaves most of the data out, and is fast. (Modes of continuous
values are ties of whole pixels but for rounding: their rms says little.)
"""

from __future__ import annotations

import numpy as np
import odc.geo.xr  # noqa: F401  (registers .odc)
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import xsoil

SINUSOIDAL = "+proj=sinu +R=6371007.181 +units=m +type=crs"
SOURCES = {
    "Albers": ("EPSG:5070", (-1_500_000.0, 2_900_000.0)),
    "homolosine": ("ESRI:54052", (-11_500_000.0, 5_000_000.0)),
    "sinusoidal, west": (SINUSOIDAL, (-9_700_000.0, 5_000_000.0)),
    "sinusoidal, centre": (SINUSOIDAL, (-1_500_000.0, 5_000_000.0)),
    "sinusoidal, east": (SINUSOIDAL, (6_700_000.0, 5_000_000.0)),
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize(
    ("how", "gdal", "budget"), [("mean", "average", 1.6), ("median", "med", 2.5), ("mode", "mode", 2.5)]
)
def test_sheared_to_9_km(ratio, name, how, gdal, budget):
    crs, corner = SOURCES[name]
    box = GeoBox((2000, 3000), Affine(1000, 0, corner[0], 0, -1000, corner[1]), crs)
    rng = np.random.default_rng(0)
    values = rng.normal(25, 10, box.shape).astype("f4")
    values[rng.random(box.shape) < 0.05] = np.nan
    ds = xr.Dataset({"sand": (box.dimensions, values)}, xr_coords(box))
    target = xsoil.upscale(ds, "EASE2_M09km").odc.geobox

    def exact() -> xr.DataArray:
        return xsoil.upscale(ds, target, how).sand

    def rough() -> xr.DataArray:
        return ds.sand.odc.reproject(target, resampling=gdal)

    ours, theirs = ratio.times(exact, rough)
    error = rough().values.astype("f8") - exact().values
    ratio.report(
        f"upscale {how}, 2000 x 3000 f4 with 5 % NaN, {name} -> EASE2_M09km",
        f"{ours * 1e3:.1f} ms, {theirs / ours:.2f} x faster than odc-geo's {gdal}, "
        f"which is off by {np.sqrt(np.nanmean(error**2)):.2g} (rms)",
        f">= {budget} x",
    )
