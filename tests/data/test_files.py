"""`open_file`: what a name says decides who opens a file."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from granules import smap_l3
from numpy.testing import assert_array_equal
from test_soilgrids import tif

import xsoil
from xsoil.data import files
from xsoil.data._paths import paths_of
from xsoil.data.files import READERS, open_file
from xsoil.data.objects import decode
from xsoil.errors import ArgumentError, FileError


@pytest.mark.parametrize(
    ("pattern", "reader", "variable"),
    [
        ("SPL3SMP_E/2015/*.h5", "open_smap_l3", "soil_moisture"),
        ("SPL4SMGP/*.h5", "open_smap_l4", "soil_moisture_rootzone"),
        ("soilgrids/clay_0-5*", "open_soilgrids", "clay"),
        ("solus/claytotal_0_*", "open_solus100", "clay"),
        ("chirps-*.nc", "open_chirps", "precipitation"),
        ("modis/*_Lai_500m*", "open_modis", "lai"),
        ("uscrn/2020/*.txt", "open_uscrn", "soil_moisture"),
    ],
)
def test_a_product_under_its_own_name(folder, pattern, reader, variable, no_compute):
    path, *_ = sorted(folder.glob(pattern))
    opened = open_file(path)
    assert opened.reader == reader
    assert opened.note is None
    meant = getattr(xsoil.data, reader)(path)
    assert opened.ds[variable].chunks is not None
    assert opened.ds.attrs == meant.attrs
    assert opened.ds[variable].attrs.keys() == meant[variable].attrs.keys()
    assert opened.ds.sizes == meant.sizes


def test_one_hour_of_nldas_is_opened_plainly_and_names_its_reader(folder):
    opened = open_file(sorted((folder / "NLDAS" / "2015").glob("*.nc"))[0])
    assert opened.reader == "open_nldas2"
    assert "open_nldas2" in opened.note
    assert "Rainf" in opened.ds


def test_every_reader_of_the_table_exists():
    assert all(hasattr(xsoil.data, reader) for _, reader, _ in READERS)


def test_a_pattern_is_a_series_and_needs_a_reader(tmp_path):
    for day in ("20150402", "20150401"):
        smap_l3(tmp_path, day, cells={(90, 200): (0.2, 0)})
    assert open_file(tmp_path / "SMAP*.h5").ds.sizes["time"] == 2
    for name in ("a.nc", "b.nc"):
        xr.Dataset({"sand": ("x", [1.0])}).to_netcdf(tmp_path / name)
    with pytest.raises(ArgumentError, match=r"2 files match .* of no product"):
        open_file(tmp_path / "*.nc")


def test_statistics_of_soilgrids_and_solus(tmp_path):
    tif(tmp_path / "clay_0-5cm_Q0.95.tif", np.full((4, 5), 300))
    assert open_file(tmp_path / "clay_0-5cm_Q0.95.tif").ds.attrs["comment"] == "statistic: Q0.95"
    tif(tmp_path / "claytotal_0_cm_h.tif", np.full((4, 5), 30), crs="EPSG:5070")
    assert open_file(tmp_path / "claytotal_0_cm_h.tif").ds.attrs["comment"].startswith("high")
    # The width of the interval of SOLUS100 has no reader: it is a raster like any other.
    tif(tmp_path / "claytotal_0_cm_rpi.tif", np.full((4, 5), 30), crs="EPSG:5070")
    assert list(open_file(tmp_path / "claytotal_0_cm_rpi.tif").ds) == ["claytotal_0_cm_rpi"]


def bands(path, labels):
    profile = {"driver": "GTiff", "height": 3, "width": 4, "count": len(labels), "dtype": "float32", "crs": "EPSG:4326"}
    with rasterio.open(path, "w", transform=rasterio.Affine(0.5, 0, 5, 0, -0.5, 46), **profile) as file:
        file.write(np.arange(12 * len(labels), dtype="f4").reshape(-1, 3, 4))
        file.descriptions = labels
    return path


def test_bands_of_a_raster(tmp_path):
    named = open_file(bands(tmp_path / "soil.tif", ["sand", "clay"])).ds
    assert list(named) == ["sand", "clay"]
    assert_array_equal(named.clay, np.arange(12, 24).reshape(3, 4))
    unnamed = open_file(bands(tmp_path / "soil-2020.tif", [None, None])).ds
    assert unnamed.soil_2020.dims == ("band", "y", "x")
    assert unnamed.soil_2020.chunks is not None
    steps = open_file(bands(tmp_path / "days.tif", ["2020-01-01", "2020-01-02"])).ds
    assert steps.days.sizes["band"] == 2


def test_what_to_cog_wrote_comes_back_under_its_name(tmp_path):
    ds = open_file(bands(tmp_path / "soil.tif", ["sand", "clay"])).ds
    sand = ds.sand.assign_attrs(units="percent", long_name="share of sand")
    sand.to_dataset().soil.to_cog(tmp_path / "any.tif", progress=False)
    again = open_file(tmp_path / "any.tif").ds
    assert again.sand.attrs["units"] == "percent"
    assert_array_equal(again.sand, ds.sand)


def test_netcdf_and_zarr_are_lazy_in_whole_chunks(tmp_path, no_compute, monkeypatch):
    ds = xr.Dataset({"sand": ("x", np.ones(4)), "name": ("x", np.array(list("abcd")))})
    ds.to_netcdf(tmp_path / "soil.nc")
    ds[["sand"]].chunk(x=2).to_zarr(tmp_path / "soil.zarr", compute=False)
    assert open_file(tmp_path / "soil.nc").ds.sand.chunks is not None
    assert open_file(tmp_path / "soil.nc").ds.name.chunks is None  # text is small, and has no chunks of a known size
    assert open_file(tmp_path / "soil.zarr").ds.sand.chunks == ((4,),)
    monkeypatch.setattr(files, "BLOCK", 24)  # three numbers: no more than one chunk of two
    assert open_file(tmp_path / "soil.zarr").ds.sand.chunks == ((2, 2),)


def test_faults(tmp_path):
    with pytest.raises(ArgumentError, match="no file"):
        open_file(tmp_path / "nothing.nc")
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(ArgumentError, match="an ending that says nothing"):
        open_file(tmp_path / "notes.txt")
    (tmp_path / "map.tif").write_text("<html>")
    with pytest.raises(FileError, match="cannot be read as a raster"):
        open_file(tmp_path / "map.tif")
    xr.Dataset().to_netcdf(tmp_path / "empty.nc")
    with pytest.raises(FileError, match="has no variables"):
        open_file(tmp_path / "empty.nc")


def test_bands_have_scales_of_their_own(tmp_path):
    def write(path, names):
        about = {"driver": "GTiff", "width": 4, "height": 3, "count": 2, "dtype": "int16", "nodata": -1}
        with rasterio.open(path, "w", crs="EPSG:4326", transform=Affine(0.1, 0, -100, 0, -0.1, 40), **about) as file:
            file.write(np.full((2, 3, 4), 50, "int16"))
            file.scales, file.offsets, file.units, file.descriptions = (0.1, 0.01), (0, 1), ("percent", ""), names

    write(tmp_path / "named.tif", ("clay", "ph"))
    ds = open_file(tmp_path / "named.tif").ds
    assert float(decode(ds.clay).mean()) == pytest.approx(5)
    assert float(decode(ds.ph).mean()) == pytest.approx(1.5)
    assert (ds.clay.units, ds.clay.long_name, ds.ph.long_name) == ("percent", "clay", "ph")
    assert "units" not in ds.ph.attrs
    write(tmp_path / "plain.tif", ("", ""))
    with pytest.raises(FileError, match="different scales"):
        open_file(tmp_path / "plain.tif")


def test_no_endings_no_brackets(tmp_path):
    with pytest.raises(ArgumentError, match=r"expected a file$"):
        paths_of(str(tmp_path / "*.nothing"), (), "a file")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.TIF", "GeoTIFF"),
        ("a.b.tiff", "GeoTIFF"),
        ("a.vrt", "VRT"),
        ("a.zarr", "Zarr store"),
        ("a.h5", "netCDF or HDF5"),
    ],
)
def test_kinds_of_files(name, kind):
    assert files._kind(name) == kind
