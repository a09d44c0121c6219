"""NLDAS-2: hourly files as netCDF, fluxes put at the beginning of their hour."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.testing import assert_allclose

import xsoil
from xsoil.data import FileError, open_nldas2, prepare_forcing
from xsoil.errors import NoOverlapError, TimeError, UnknownNameError

LATITUDE = 25.0625 + 0.125 * np.arange(224)
LONGITUDE = -124.9375 + 0.125 * np.arange(464)


def fora(folder, time, rain, *, units="kg m-2", name=None):
    """A file of the true layout: (time, lat, lon) with a length of 1, latitude ascending, -9999 over the sea."""
    time = pd.Timestamp(time)
    fields = {}
    for field, unit, value in (("Rainf", units, rain), ("PotEvap", units, 0.5), ("Tair", "K", 270.0 + time.hour)):
        values = np.full((1, 224, 464), value, "f4")
        values[0, 0, 0] = np.nan
        values[0, 100, 200] += 1
        fields[field] = (("time", "lat", "lon"), values, {"units": unit, "long_name": field})
    ds = xr.Dataset(fields, {"time": [time], "lat": LATITUDE, "lon": LONGITUDE})
    path = folder / (name or f"NLDAS_FORA0125_H.A{time:%Y%m%d}.{time:%H}00.020.nc")
    encoding = {field: {"_FillValue": np.float32(-9999), "zlib": True, "chunksizes": (1, 224, 464)} for field in fields}
    ds.to_netcdf(path, encoding=encoding)
    return path


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    """25 files: 00 UTC of the first day to 00 UTC of the second; the total of an hour is the hour of its file."""
    folder = tmp_path_factory.mktemp("nldas")
    for i, time in enumerate(pd.date_range("2015-04-01", periods=25, freq="h")):
        fora(folder, time, float(i))
    return folder


def test_series(day, no_compute):
    ds = open_nldas2(day)
    assert dict(ds.sizes) == {"time": 25, "latitude": 224, "longitude": 464}
    grid = xsoil.grid_of(ds)
    assert tuple(grid.boundingbox) == (-125, 25, -67, 53)
    assert grid.affine.e > 0
    assert_allclose(ds.latitude, LATITUDE)
    assert ds.attrs["references"] == "doi:10.1029/2011JD016048"
    assert ds.precipitation.attrs["units"] == "mm d-1"


def test_the_total_of_an_hour_is_at_its_beginning(day):
    ds = open_nldas2(day).isel(latitude=50, longitude=50).compute()
    assert_allclose(ds.precipitation[:-1], 24.0 * np.arange(1, 25))
    assert np.isnan(ds.precipitation[-1])
    assert_allclose(ds.air_temperature, 270.0 + ds.time.dt.hour)
    whole = ds.precipitation.sel(time="2015-04-01")
    assert_allclose(whole.mean(), np.arange(1, 25).sum())  # 1 to 24: the totals of the day, none of the day before


def test_days_of_prepare_forcing(day):
    """25 files of hours give one whole day; its total is that of the files 1 to 24."""
    ready = prepare_forcing(open_nldas2(day)).isel(latitude=50, longitude=50).compute()
    assert list(ready.indexes["time"]) == [pd.Timestamp("2015-04-01")]
    assert_allclose(ready.precipitation, [300], rtol=1e-6)
    assert_allclose(ready.pet, [12], rtol=1e-6)
    assert_allclose(ready.air_temperature, [270 + 11.5], rtol=1e-6)


def test_cells_and_sea(day):
    ds = open_nldas2(day, "precipitation").isel(time=0).compute()
    assert np.isnan(ds.precipitation[0, 0])
    assert_allclose(ds.precipitation.sel(latitude=25.0625 + 12.5, longitude=-124.9375 + 25), 48)


def test_region(day):
    whole, part = open_nldas2(day), open_nldas2(day, region=(-105.1, 30, -95, 40))
    assert tuple(xsoil.grid_of(part).boundingbox) == (-105.125, 30, -95, 40)
    same = whole.sel(latitude=part.latitude, longitude=part.longitude)
    xr.testing.assert_equal(part.isel(time=[0, 3]).compute(), same.isel(time=[0, 3]).compute())
    with pytest.raises(NoOverlapError, match="lies outside -125 to -67 E, 25 to 53 N"):
        open_nldas2(day, region=(0, 30, 10, 40))


def test_region_across_the_dateline_or_from_0_to_360(day):
    whole = open_nldas2(day)
    west = open_nldas2(day, region=(170, 30, -120, 40))  # the grid begins at 125 W
    assert float(west.longitude[0]) == float(whole.longitude[0])
    assert float(west.longitude[-1]) == pytest.approx(-120.0625)
    same = open_nldas2(day, region=(-105, 30, -95, 40))
    assert_allclose(open_nldas2(day, region=(255, 30, 265, 40)).longitude, same.longitude, rtol=0)


def test_a_gap_in_the_files(day):
    paths = sorted(day.glob("*.nc"))
    ds = open_nldas2(paths[:3] + paths[4:6], "precipitation").isel(latitude=50, longitude=50).compute()
    assert_allclose(ds.precipitation, [24, 48, np.nan, 5 * 24, np.nan])


def test_units_are_those_of_the_file(tmp_path):
    fora(tmp_path, "2015-04-01T00", 0.0, units="kg m-2 s-1")
    fora(tmp_path, "2015-04-01T01", 1e-4, units="kg m-2 s-1")
    assert_allclose(open_nldas2(tmp_path).precipitation[0, 5, 5].compute(), 8.64, rtol=1e-6)


def test_remote(day):
    import fsspec

    paths = sorted(day.glob("*.nc"))[:2]
    for path in paths:
        fsspec.filesystem("memory").pipe(f"/nldas/{path.name}", path.read_bytes())
    xr.testing.assert_identical(open_nldas2("memory://nldas/*.nc").compute(), open_nldas2(paths).compute())


def test_faults(tmp_path, day):
    with pytest.raises(UnknownNameError, match="unknown variable of NLDAS-2 'rain'"):
        open_nldas2(day, "rain")
    for name in ("NLDAS_FORB0125_H.A20150401.0000.020.nc", "NLDAS_FORA0125_M.A201504.020.nc"):
        path = fora(tmp_path, "2015-04-01", 1.0, name=name)
        with pytest.raises(FileError, match="is not of the hourly file A"):
            open_nldas2(path)
        path.unlink()
    path = fora(tmp_path, "2015-04-01", 1.0, units="inch")
    with pytest.raises(FileError, match="is in 'inch'; expected kg m-2 of the hour"):
        open_nldas2(path)
    with pytest.raises(TimeError, match="2 files of 2015-04-01"):
        open_nldas2([path, *day.glob("*0000.020.nc")])
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(FileError, match="cut short"):
        open_nldas2(path)
    with pytest.raises(FileError, match="not named like NLDAS_FORA0125_H"):
        open_nldas2(__file__)
