"""Files that are damaged, empty, or not what their names claim."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr

import xsoil
from xsoil import errors
from xsoil.data.files import open_file


def tiff(folder, cut=None, name="map.tif"):
    path = folder / name
    rng = np.random.default_rng(0)
    big = xr.DataArray(
        rng.uniform(0, 1, (300, 300)), dims=("y", "x"), coords={"y": -np.arange(300.0), "x": np.arange(300.0)}
    )
    big.rio.write_crs("EPSG:32633").rio.to_raster(path)
    if cut is not None:
        path.write_bytes(path.read_bytes()[:cut])
    return path


def hdf5(folder, name, cut=None, groups=("other",)):
    h5py = pytest.importorskip("h5py", reason="the extra 'data' is not installed")
    path = folder / name
    with h5py.File(path, "w") as file:
        for group in groups:
            file.create_group(group).create_dataset("v", data=np.arange(10.0))
    if cut is not None:
        path.write_bytes(path.read_bytes()[:cut])
    return path


def noise(folder, name, data=b"\x00\xffnoise" * 50):
    path = folder / name
    path.write_bytes(data)
    return path


SMAP3, SMAP4 = "SMAP_L3_SM_P_E_20150401_R18290_001.h5", "SMAP_L4_SM_gph_20150401T013000_Vv7032_001.h5"
FILES = {
    "GeoTIFF cut in its header": lambda f: open_file(tiff(f, 100)),
    "GeoTIFF of no bytes": lambda f: open_file(tiff(f, 0)),
    "GeoTIFF of noise": lambda f: open_file(noise(f, "map.tif")),
    "GeoTIFF that is HTML": lambda f: open_file(noise(f, "map.tif", b"<html>login</html>")),
    "HDF5 without the product's groups": lambda f: xsoil.data.open_smap_l3(hdf5(f, SMAP3)),
    "HDF5 of SMAP L4 without its groups": lambda f: xsoil.data.open_smap_l4(hdf5(f, SMAP4)),
    "HDF5 cut short": lambda f: xsoil.data.open_smap_l3(hdf5(f, SMAP3, 600)),
    "HDF5 of no bytes": lambda f: xsoil.data.open_smap_l3(hdf5(f, SMAP3, 0)),
    "HDF5 that is HTML": lambda f: xsoil.data.open_smap_l4(noise(f, SMAP4, b"<html>login</html>")),
    "netCDF of noise": lambda f: open_file(noise(f, "a.nc")),
    "netCDF of no bytes": lambda f: open_file(noise(f, "a.nc", b"")),
    "netCDF whose variables lie in groups": lambda f: open_file(hdf5(f, "a.nc", groups=("a", "b"))),
    "a netCDF under the name of SoilGrids": lambda f: xsoil.data.open_soilgrids(noise(f, "clay_0-5cm_mean.tif")),
    "noise as MODIS": lambda f: xsoil.data.open_modis(
        noise(f, "MOD15A2H.A2021001.h18v04.061.2021020123456_Lai_500m.tif"), "lai"
    ),
    "no such file": lambda f: open_file(f / "none.tif"),
    "a file without a kind": lambda f: open_file(noise(f, "readme.xyz")),
    "a Zarr store that is an empty folder": lambda f: ((f / "a.zarr").mkdir(), open_file(f / "a.zarr")),
    "a model that is an empty folder": lambda f: xsoil.load_model(f),
    "a model of noise": lambda f: (noise(f, "model.json"), xsoil.load_model(f)),
}


@pytest.mark.parametrize("act", FILES.values(), ids=FILES)
def test_files_that_are_not_what_they_claim(act, tmp_path):
    with pytest.raises(errors.SoilError) as caught:
        act(tmp_path)
    assert len(str(caught.value)) > 20


def test_a_raster_cut_in_its_data_never_gives_numbers(tmp_path):
    """Its header is whole, so it opens; reading what is missing raises."""
    path = tiff(tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with contextlib.suppress(errors.FileError):
        opened = open_file(path)
        with pytest.raises(Exception, match=r"(?i)read|tiff"):
            opened.ds.compute()
