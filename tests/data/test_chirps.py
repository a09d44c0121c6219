"""CHIRPS: years of netCDF, days of GeoTIFF, one version at a time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.testing import assert_allclose
from test_soilgrids import tif

import xsoil
from xsoil.data import FileError, open_chirps
from xsoil.errors import NoOverlapError, TimeError

LAT, LON = -0.975 + 0.05 * np.arange(40), 10.025 + 0.05 * np.arange(60)  # ascending

DEGREES = {"corner": (-20, 50), "cell": 0.05, "crs": "EPSG:4326", "nodata": None, "dtype": "float32"}


def year(folder, year, *, name="chirps-v2.0.{year}.days_p05.nc", units="mm/day", freq="D"):
    times = pd.date_range(f"{year}-01-01", periods=6, freq=freq)
    rain = np.arange(6 * 40 * 60, dtype="f4").reshape(6, 40, 60) / 100 + (year - 2000)
    rain[:, 0, 0] = -9999
    ds = xr.Dataset(
        {"precip": (("time", "latitude", "longitude"), rain, {"units": units})},
        {"time": times, "latitude": ("latitude", LAT.astype("f4")), "longitude": ("longitude", LON.astype("f4"))},
    )
    ds.latitude.attrs["units"], ds.longitude.attrs["units"] = "degrees_north", "degrees_east"
    path = folder / name.format(year=year)
    ds.to_netcdf(path, encoding={"precip": {"_FillValue": np.float32(-9999)}})
    return path, rain


def test_years(tmp_path, no_compute):
    for which in (2016, 2015):
        year(tmp_path, which)
    ds = open_chirps(tmp_path)
    assert ds.sizes == {"time": 12, "latitude": 40, "longitude": 60}
    assert ds.precipitation.attrs["units"] == "mm d-1"
    grid = xsoil.grid_of(ds)
    assert tuple(grid.boundingbox) == pytest.approx((10, -1, 13, 1))
    assert ds.attrs["references"] == "doi:10.1038/sdata.2015.66"
    assert "daily timing is modelled" in ds.attrs["comment"]
    assert ds.indexes["time"].is_monotonic_increasing


def test_values_fill_and_region(tmp_path):
    path, rain = year(tmp_path, 2015)
    ds = open_chirps(path)
    found = ds.precipitation.compute()
    assert found.dtype == np.float32
    assert np.isnan(found[:, 0, 0]).all()
    assert_allclose(found[2, 3, 4], rain[2, 3, 4])
    part = open_chirps(path, region=(10.5, -0.5, 11, 0.5)).precipitation
    assert tuple(xsoil.grid_of(part).boundingbox) == pytest.approx((10.5, -0.5, 11, 0.5))
    assert_allclose(part, rain[:, 10:30, 10:20])
    with pytest.raises(NoOverlapError, match="lies outside"):
        open_chirps(path, region=(50, 0, 51, 1))


def test_version_3_says_how_days_were_made(tmp_path):
    path, _ = year(tmp_path, 2015, name="chirps-v3.0.sat.{year}.days_p05.nc")
    ds = open_chirps(path)
    assert "IMERG" in ds.attrs["comment"]
    assert "10.15780/G2JQ0P" in ds.attrs["references"]
    year(tmp_path, 2016, name="chirps-v3.0.rnl.{year}.days_p05.nc")
    with pytest.raises(FileError, match="are of v3 rnl, v3 sat; a record of two"):
        open_chirps(tmp_path)


def test_days_of_geotiff(tmp_path, no_compute):
    values = np.arange(1200.0).reshape(40, 30)
    values[0, 0] = -9999
    for day in ("03", "01", "02"):
        tif(tmp_path / f"chirps-v2.0.2015.04.{day}.tif", values + int(day) * (values != -9999), **DEGREES)
    ds = open_chirps(tmp_path)
    assert list(ds.indexes["time"].day) == [1, 2, 3]
    assert xsoil.grid_of(ds).affine.e < 0


def test_values_of_geotiff(tmp_path):
    values = np.arange(1200.0).reshape(40, 30)
    values[0, 0] = -9999
    path = tif(tmp_path / "chirps-v2.0.2015.04.01.tif", values, **DEGREES)
    found = open_chirps(path).precipitation.compute()
    assert np.isnan(found[0, 0, 0])
    assert found[0, 5, 6] == values[5, 6]


def test_remote(tmp_path):
    import fsspec

    path, _ = year(tmp_path, 2015)
    fsspec.filesystem("memory").pipe(f"/chirps/{path.name}", path.read_bytes())
    xr.testing.assert_identical(open_chirps("memory://chirps/*.nc").compute(), open_chirps(path).compute())


def test_faults(tmp_path):
    year(tmp_path, 2015)
    year(tmp_path, 2016, name="chirps-v3.0.rnl.{year}.days_p05.nc")
    with pytest.raises(FileError, match="of v2, v3 rnl; a record of two versions"):
        open_chirps(tmp_path)
    path, _ = year(tmp_path, 2017, units="mm/month")
    with pytest.raises(FileError, match="is in 'mm/month'; expected mm/day"):
        open_chirps(path)
    path, _ = year(tmp_path, 2018, freq="5D")
    with pytest.raises(TimeError, match="steps of 5 days; expected daily CHIRPS"):
        open_chirps(path)
    path.write_text("<html>")
    with pytest.raises(FileError, match="cannot be read as netCDF"):
        open_chirps(path)
    with pytest.raises(FileError, match=r"not named like chirps-v2.0.2015.days_p05.nc"):
        open_chirps(__file__)
