"""What a run is made from: what two runs of one origin read must be the same."""

from __future__ import annotations

import os

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from rasterio.shutil import copy

from xsoil.errors import ArgumentError
from xsoil.outputs._origin import files_of
from xsoil.outputs.zarr import to_zarr


def test_the_rasters_of_a_virtual_one(tmp_path):
    """The VRT stays as it is when one of its rasters changes: the store of the old raster was said to be this one."""
    raster, target = tmp_path / "a.tif", tmp_path / "out.zarr"

    def write(value: float) -> None:
        profile = {"driver": "GTiff", "count": 2, "height": 8, "width": 8, "dtype": "float32", "crs": "EPSG:6933"}
        place = rasterio.Affine(9000, 0, 0, 0, -9000, 0)
        with rasterio.open(tmp_path / "new.tif", "w", transform=place, **profile) as file:
            file.write(np.full((2, 8, 8), value, np.float32))
        os.replace(tmp_path / "new.tif", raster)

    def opened() -> xr.Dataset:
        return rioxarray.open_rasterio(tmp_path / "c.VRT", chunks={"band": 1}, cache=False).to_dataset(name="sand")

    write(1.0)
    copy(raster, tmp_path / "b.vrt", driver="VRT")
    (tmp_path / "c.VRT").write_text((tmp_path / "b.vrt").read_text().replace("a.tif", "b.vrt"))
    assert files_of([opened()["sand"].data]) == [str(tmp_path / name) for name in ("a.tif", "b.vrt", "c.VRT")]
    to_zarr(opened(), target, progress=False)
    to_zarr(opened(), target, progress=False)
    write(2.0)
    with pytest.raises(ArgumentError, match="was made from other data"):
        to_zarr(opened(), target, progress=False)


def test_what_is_only_named_so(tmp_path):
    """A file that GDAL cannot read is one file all the same."""
    (tmp_path / "a.vrt").write_text("no raster")
    named = xr.DataArray([0.0]).chunk().data.map_blocks(lambda block, path: block, str(tmp_path / "a.vrt"))
    assert files_of([named]) == [str(tmp_path / "a.vrt")]
