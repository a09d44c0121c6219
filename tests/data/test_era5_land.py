"""ERA5-Land: sums since 00 UTC become the flux of the hour and of the day, in every form in which the files come."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.testing import assert_allclose

import xsoil
from xsoil.data import FileError, open_era5_land
from xsoil.errors import ArgumentError, TimeError, UnknownNameError

HOURS = pd.date_range("2015-04-01", "2015-04-03 23:00", freq="h")
RAIN = np.random.default_rng(1).gamma(0.2, 2.0, 73)  # mm of each hour from 2015-03-31 23:00 on, by its end
LAT, LON = 50.0 - 0.1 * np.arange(4), 10.0 + 0.1 * np.arange(5)


def sums(amount: np.ndarray, times: pd.DatetimeIndex) -> np.ndarray:
    """Sums since 00 UTC; the value at 00 UTC is the total of the day before (here: of its hours that are known)."""
    out, total = [], 0.0
    for time, value in zip(times, amount):
        total = value if time.hour == 1 else total + value
        out.append(total)
    return np.array(out)


def era5(times=HOURS, *, offset=0, scale=1.0):
    amount = RAIN[offset : offset + len(times)] * 1e-3 * scale
    shape = (len(times), 4, 5)
    total = np.broadcast_to(sums(amount, times)[:, None, None], shape).copy()
    total[:, 0, 0] = np.nan
    fields = {
        "tp": (total, "m"),
        "pev": (-2 * total, "m"),
        "ssrd": (total * 1e9, "J m**-2"),
        "t2m": (np.broadcast_to(270.0 + times.hour.values[:, None, None], shape), "K"),
    }
    for i in range(1, 5):
        fields[f"swvl{i}"] = (np.full(shape, 0.1 * i), "m**3 m**-3")
    return xr.Dataset(
        {
            name: (("valid_time", "latitude", "longitude"), np.float32(v), {"units": u})
            for name, (v, u) in fields.items()
        },
        {
            "valid_time": times,
            "latitude": LAT,
            "longitude": LON,
            "number": 0,
            "expver": ("valid_time", ["0001"] * len(times)),
        },
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("era5") / "data_stream-oper.nc"
    era5().to_netcdf(path)
    return path


def test_grid_units_and_laziness(file, no_compute):
    ds = open_era5_land(file)
    grid = xsoil.grid_of(ds)
    assert grid.crs.epsg == 4326
    assert grid.affine.e == pytest.approx(-0.1)
    assert ds.precipitation.chunks is not None
    units = {"precipitation": "mm d-1", "pet": "mm d-1", "shortwave_down": "W m-2", "air_temperature": "K"}
    assert {name: ds[name].attrs["units"] for name in units} == units
    assert_allclose(ds.depth_bounds, [[0, 0.07], [0.07, 0.28], [0.28, 1], [1, 2.89]])
    assert ds.soil_moisture.dims == ("time", "depth", "latitude", "longitude")
    assert ds.attrs["references"] == "doi:10.5194/essd-13-4349-2021"


def test_nothing_is_read_at_opening(file, monkeypatch):
    from xarray.backends.netCDF4_ import NetCDF4ArrayWrapper

    plain = NetCDF4ArrayWrapper._getitem

    def read(self, key):
        if self.variable_name in ("tp", "pev", "ssrd", "t2m", "swvl1"):
            pytest.fail("read too early")
        return plain(self, key)

    monkeypatch.setattr(NetCDF4ArrayWrapper, "_getitem", read)
    open_era5_land(file, region=(10, 49.6, 10.3, 49.9))
    open_era5_land(file, frequency="daily")


def test_the_flux_at_an_hour_is_that_of_the_hour_that_begins(file):
    ds = open_era5_land(file).isel(latitude=2, longitude=2).compute()
    assert_allclose(ds.precipitation[:-1], 24 * RAIN[1:72], atol=2e-3)
    assert np.isnan(ds.precipitation[-1])
    assert_allclose(ds.pet[:-1], 48 * RAIN[1:72], atol=4e-3)
    assert_allclose(ds.shortwave_down[:-1], RAIN[1:72] * 1e6 / 3600, atol=0.1)
    assert_allclose(ds.air_temperature, 270.0 + HOURS.hour)
    assert (ds.precipitation[:-1] >= 0).all()


def test_sea_is_missing(file):
    ds = open_era5_land(file, "precipitation").compute()
    assert ds.precipitation[:, 0, 0].isnull().all()
    assert ds.precipitation[:-1, 0, 1].notnull().all()


def test_the_total_of_a_day_is_the_value_at_0_of_the_next(file):
    ds = open_era5_land(file, ["precipitation", "air_temperature"], frequency="daily").isel(latitude=2, longitude=2)
    days = pd.date_range("2015-03-31", "2015-04-03")
    assert list(ds.indexes["time"]) == list(days)
    assert_allclose(ds.precipitation[1:3], [RAIN[1:25].sum(), RAIN[25:49].sum()], rtol=1e-6)
    assert_allclose(ds.precipitation[0], RAIN[0], rtol=1e-6)  # what the file says of the day before
    assert np.isnan(ds.precipitation[3])  # needs 00 UTC of the 4th
    assert_allclose(ds.air_temperature[1:], 270 + 11.5)
    assert np.isnan(ds.air_temperature[0])


def test_values_at_0_alone_give_days_of_fluxes(tmp_path):
    times = pd.date_range("2015-04-01", periods=5)
    era5().isel(valid_time=[0, 24, 48]).to_netcdf(tmp_path / "a.nc")
    ds = open_era5_land(tmp_path / "a.nc", "precipitation", frequency="daily")
    assert list(ds.indexes["time"]) == list(times[:3] - pd.Timedelta(days=1))
    with pytest.raises(TimeError, match=r"steps are 1 days.*need hours"):
        open_era5_land(tmp_path / "a.nc", "precipitation")
    with pytest.raises(TimeError, match="need hours"):
        open_era5_land(tmp_path / "a.nc", "air_temperature", frequency="daily")


def test_one_file_a_month_or_a_variable_is_the_same(tmp_path, file):
    whole = open_era5_land(file).compute()
    era5(HOURS[:30]).to_netcdf(tmp_path / "b.nc")
    rest = era5().isel(valid_time=slice(30, None))
    rest[["tp", "pev"]].to_netcdf(tmp_path / "a1.nc")
    rest.drop_vars(["tp", "pev"]).to_netcdf(tmp_path / "a2.nc")
    xr.testing.assert_equal(open_era5_land([tmp_path / "b.nc", tmp_path / "a1.nc"], "precipitation").compute(),
                            whole[["precipitation"]])  # fmt: skip
    xr.testing.assert_equal(open_era5_land([tmp_path / "b.nc", tmp_path / "a2.nc"], "air_temperature").compute(),
                            whole[["air_temperature"]])  # fmt: skip
    with pytest.raises(TimeError, match="the same hours of"):
        open_era5_land([file, tmp_path / "b.nc"])


def test_grib_by_cfgrib(file):
    """Forecasts of 24 hours from 00 UTC: `time` and `step`."""
    flat = era5(HOURS[1:49], offset=1)
    days = pd.date_range("2015-04-01", periods=2)
    steps = pd.to_timedelta(np.arange(1, 25), unit="h")
    fields = {n: (("time", "step", "latitude", "longitude"), v.values.reshape(2, 24, 4, 5), v.attrs)
              for n, v in flat.data_vars.items()}  # fmt: skip
    valid = (("time", "step"), days.values[:, None] + steps.values[None])
    grib = xr.Dataset(fields, {"time": days, "step": steps, "valid_time": valid, "latitude": LAT, "longitude": LON})
    found = open_era5_land(grib, "precipitation").precipitation
    assert_allclose(found.isel(latitude=2, longitude=2)[:-1], 24 * RAIN[2:49], atol=2e-3)
    assert list(found.indexes["time"]) == list(HOURS[1:49])


def test_final_and_preliminary_of_the_old_store(file):
    """expver as a dimension: NaN in one where the other has data."""
    ds = era5().drop_vars("expver").rename(valid_time="time")
    late = xr.DataArray(np.arange(72) >= 40, dims="time")
    both = xr.concat([ds.where(~late), ds.where(late)], pd.Index([1, 5], name="expver"))
    xr.testing.assert_equal(open_era5_land(both).compute(), open_era5_land(file).compute())


def test_an_already_split_copy(file):
    ds = era5()
    ds["tp"] = ds.tp.copy(data=np.broadcast_to(RAIN[:72, None, None] * 1e-3, (72, 4, 5)).astype("f4"))
    found = open_era5_land(ds, "precipitation", accumulated=False).precipitation.isel(latitude=2, longitude=2)
    assert_allclose(found[:-1], 24 * RAIN[1:72], rtol=1e-5)
    day = open_era5_land(ds, "precipitation", accumulated=False, frequency="daily").precipitation
    assert_allclose(day.isel(latitude=2, longitude=2)[:2], [RAIN[1:25].sum(), RAIN[25:49].sum()], rtol=1e-5)


def test_chunks_do_not_change_a_number(file):
    whole, days = open_era5_land(file).compute(), open_era5_land(file, frequency="daily").compute()
    for chunks in ({"time": 5}, {"time": 24, "latitude": 3, "longitude": 2}):
        xr.testing.assert_identical(open_era5_land(file, chunks=chunks).compute(), whole)
        xr.testing.assert_identical(open_era5_land(file, chunks=chunks, frequency="daily").compute(), days)


def test_region_and_longitudes_from_0_to_360(tmp_path):
    ds = era5()
    ds = ds.assign_coords(longitude=np.array([359.8, 359.9, 0.0, 0.1, 0.2]))  # rolled
    part = open_era5_land(ds.roll(longitude=3, roll_coords=True), "precipitation", region=(-0.15, 49.65, 0.15, 49.95))
    assert_allclose(part.longitude, [-0.1, 0, 0.1], atol=1e-9)
    assert_allclose(part.latitude, [49.9, 49.8, 49.7])
    assert xsoil.grid_of(part).affine.a == pytest.approx(0.1)


def test_remote(file):
    import fsspec

    fsspec.filesystem("memory").pipe("/era5/a.nc", file.read_bytes())
    xr.testing.assert_identical(open_era5_land("memory://era5/a.nc").compute(), open_era5_land(file).compute())


def test_faults(file, tmp_path):
    with pytest.raises(UnknownNameError, match="unknown variable of ERA5-Land 'tp'"):
        open_era5_land(file, "tp")
    with pytest.raises(ArgumentError, match="no 'runoff' in the files"):
        open_era5_land(file, "runoff")
    with pytest.raises(ArgumentError, match="swapped in ERA5-Land"):
        open_era5_land(file, "evabs")
    converted = era5()
    converted.tp.attrs["units"] = "mm"
    with pytest.raises(FileError, match="'tp' is in 'mm'; ERA5-Land has 'm'"):
        open_era5_land(converted, "precipitation")
    bad = tmp_path / "bad.nc"
    bad.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(FileError, match=r"'bad.nc' cannot be read as netCDF.*load it again"):
        open_era5_land(bad)
    xr.Dataset({"a": ("x", [1])}).to_netcdf(bad)
    with pytest.raises(FileError, match=r"no latitude .* among \['a'\]; is it another product"):
        open_era5_land(bad)


def test_region_across_the_dateline():
    longitude = np.arange(-180, 180, 2.0)
    hours = pd.date_range("2020-01-01", periods=25, freq="h")
    values = np.broadcast_to(longitude.astype("f4"), (25, 3, 180))
    ds = xr.Dataset(
        {"t2m": (("time", "latitude", "longitude"), values, {"units": "K"})},
        {"time": hours, "latitude": [2.0, 0.0, -2.0], "longitude": longitude},
    )
    part = open_era5_land(ds, region=(175, -1, -177, 1))
    assert_allclose(part.longitude, [176, 178, 180, 182])
    assert_allclose(part.air_temperature[0, 0], [176, 178, -180, -178])
    with pytest.raises(ArgumentError, match=r"south < north"):
        open_era5_land(ds, region=(175, 1, -177, -1))
