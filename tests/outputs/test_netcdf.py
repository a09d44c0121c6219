"""netCDF out: what xarray and rioxarray read back, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from odc.geo.xr import xr_zeros

import xsoil
from xsoil.errors import ArgumentError
from xsoil.outputs.netcdf import to_netcdf

pytest.importorskip("netCDF4", reason="writing netCDF needs netCDF4 or h5netcdf")
GRID = xsoil.ease_grid("EASE2_M36km", (5, 45, 8, 47))


def maps() -> xr.Dataset:
    zeros = xr_zeros(GRID, "float32")
    sand = zeros.copy(data=np.arange(zeros.size, dtype="f4").reshape(zeros.shape)).assign_attrs(units="percent")
    sand[0, 0] = np.nan
    flags = xr_zeros(GRID, "uint8").assign_attrs(flag_masks=np.array([1, 2], "u1"), flag_meanings="one two")
    return xr.Dataset({"sand": sand, "quality": flags, "wet": zeros > 0})


@pytest.mark.parametrize("lazy", [False, True])
def test_comes_back(tmp_path, lazy, capsys):
    ds = maps()
    path = to_netcdf(ds.chunk(y=2) if lazy else ds, tmp_path / "maps.nc", progress=False)
    assert capsys.readouterr().out == ""
    with xr.open_dataset(path, decode_coords="all", mask_and_scale=False) as got:
        for name in ("sand", "quality", "wet"):
            np.testing.assert_array_equal(got[name], ds[name])
        assert got.quality.attrs["flag_masks"].dtype == np.uint8  # CF: the type of the variable
        assert got.rio.crs.to_epsg() == 6933
        assert xsoil.grid_of(got) == GRID
    assert "flag_masks" in ds.quality.attrs
    assert not ds.sand.encoding.get("zlib")


def test_what_is_refused(tmp_path):
    path = to_netcdf(maps(), tmp_path / "maps.nc", progress=False)
    with pytest.raises(ArgumentError, match="exists already"):
        to_netcdf(maps(), path)
    to_netcdf(maps()[["sand"]], path, overwrite=True, progress=False)
    with xr.open_dataset(path) as got:
        assert "quality" not in got
    for wrong in ("maps.zarr", "s3://bucket/maps.nc"):
        with pytest.raises(ArgumentError, match=r"local files that end in \.nc"):
            to_netcdf(maps(), wrong)


def test_booleans_come_back_as_they_were(tmp_path):
    ds = xr.Dataset({"wet": ("site", np.array([True, False]))})
    with xr.open_dataset(to_netcdf(ds, tmp_path / "wet.nc", progress=False)) as back:
        assert back.wet.dtype == bool
        assert back.wet.values.tolist() == [True, False]
