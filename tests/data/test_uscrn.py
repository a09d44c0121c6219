"""USCRN: fixed-width lines of local days; written from the readme's table, and from the real values of 2020."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.testing import assert_allclose

from xsoil.data import FileError, open_uscrn
from xsoil.errors import ArgumentError, UnknownNameError


def line(day, *, wban="53131", lon=-111.17, lat=32.24, tmax=20.5, tmin=4.5, rain=1.2, sun=18.0, soil=0.1, warm=12.0):
    """One line by the columns of the readme: WBANNO, LST_DATE, CRX_VN, LONGITUDE ... SOIL_TEMP_100_DAILY."""
    mean = (tmax + tmin) / 2
    sm = "".join(f" {value:7.3f}" for value in ([soil + 0.01 * i for i in range(4)] + [-99.0]))
    st = "".join(f" {value:7.1f}" for value in ([warm + i for i in range(4)] + [-9999.0]))
    return (
        f"{wban:5} {day} {'2.422':6} {lon:7.2f} {lat:7.2f} {tmax:7.1f} {tmin:7.1f} {mean:7.1f} {mean + 0.3:7.1f} "
        f"{rain:7.1f} "
        f"{sun:8.2f} R {30.0:7.1f} {2.0:7.1f} {14.0:7.1f} {80.0:7.1f} {20.0:7.1f} {50.0:7.1f}{sm}{st}"
    )


@pytest.fixture
def folder(tmp_path):
    tucson = [line("20200101"), line("20200102", rain=-9999.0, soil=0.2), line("20201231", soil=0.3)]
    (tmp_path / "CRND0103-2020-AZ_Tucson_11_W.txt").write_text("\n".join(tucson) + "\n")
    (tmp_path / "CRND0103-2021-AZ_Tucson_11_W.txt").write_text(line("20210101", soil=0.15) + "\n")
    boulder = [line("20200101", wban="94075", lon=-105.54, lat=40.04, soil=-99.0)]
    (tmp_path / "CRND0103-2020-CO_Boulder_14_W.txt").write_text("\n".join(boulder) + "\n")
    return tmp_path


def test_sites_and_years(folder, no_compute):
    ds = open_uscrn(folder)
    assert ds.sizes == {"site": 2, "time": 731, "depth": 5}
    assert list(ds.station.values) == ["AZ Tucson 11 W", "CO Boulder 14 W"]
    assert_allclose(ds.latitude, [32.24, 40.04])
    assert_allclose(ds.depth, [0.05, 0.1, 0.2, 0.5, 1.0])
    assert "bounds" not in ds.depth.attrs
    units = {"soil_moisture": "m3 m-3", "soil_temperature": "K", "precipitation": "mm d-1"}
    assert {name: ds[name].attrs["units"] for name in ds.data_vars} == units
    assert "local standard time" in ds.attrs["comment"]


def test_values_and_missing(folder):
    names = ["soil_moisture", "soil_temperature", "precipitation", "air_temperature", "air_temperature_max",
             "air_temperature_min", "shortwave_down", "relative_humidity"]  # fmt: skip
    ds = open_uscrn(folder, names).compute()
    day = ds.isel(site=0).sel(time="2020-01-01")
    assert_allclose(day.soil_moisture, [0.1, 0.11, 0.12, 0.13, np.nan], rtol=1e-6)
    assert_allclose(day.soil_temperature, [285.15, 286.15, 287.15, 288.15, np.nan], rtol=1e-6)
    meant = {"precipitation": 1.2, "air_temperature": 12.8 + 273.15, "air_temperature_max": 20.5 + 273.15,
             "air_temperature_min": 4.5 + 273.15, "shortwave_down": 18e6 / 86400, "relative_humidity": 50}  # fmt: skip
    assert_allclose([float(day[name]) for name in meant], list(meant.values()), rtol=1e-6)
    assert np.isnan(ds.precipitation.isel(site=0).sel(time="2020-01-02"))
    assert np.isnan(ds.precipitation.isel(site=0).sel(time="2020-06-01"))  # no line
    assert_allclose(ds.soil_moisture.isel(site=0, depth=0).sel(time="2021-01-01"), 0.15, rtol=1e-6)
    assert ds.soil_moisture.isel(site=1, depth=0).isnull().all()
    assert ds.soil_temperature.isel(site=1, depth=0).notnull().sum() == 1


def test_the_real_year_comes_back(data, tmp_path):
    """Real values of ten stations, in lines of the true format."""
    with xr.open_dataset(data / "uscrn_2020.nc") as real:
        real = real.isel(station=slice(0, 10)).load()
    days = pd.DatetimeIndex(real.time.values).strftime("%Y%m%d")
    rain = real.precipitation.transpose("station", "time").values
    theirs = real.soil_moisture.transpose("station", "time", "depth").values
    for i in range(10):
        text = []
        for j, day in enumerate(days):
            row = line(day).split()
            row[9] = f"{rain[i, j]:.1f}" if np.isfinite(rain[i, j]) else "-9999.0"
            row[18:23] = [f"{value:.3f}" if np.isfinite(value) else "-99.000" for value in theirs[i, j]]
            text.append(" ".join(row))
        (tmp_path / f"CRND0103-2020-XX_Station_{i}_N.txt").write_text("\n".join(text) + "\n")
    found = open_uscrn(tmp_path, ["soil_moisture", "precipitation"]).compute()
    assert int(found.soil_moisture.count()) == int(np.isfinite(theirs).sum()) > 5000
    assert_allclose(found.soil_moisture, theirs, atol=6e-4)
    assert_allclose(found.precipitation, rain, atol=0.051)


def test_remote(folder):
    import fsspec

    for path in folder.glob("*.txt"):
        fsspec.filesystem("memory").pipe(f"/uscrn/{path.name}", path.read_bytes())
    xr.testing.assert_identical(open_uscrn("memory://uscrn/*.txt").compute(), open_uscrn(folder).compute())


def test_only_the_first_line_is_read_at_opening(folder, monkeypatch):
    monkeypatch.setattr(pd, "read_csv", lambda *_, **__: pytest.fail("read too early"))
    open_uscrn(folder)


def test_faults(folder, tmp_path):
    with pytest.raises(UnknownNameError, match="unknown variable of USCRN 'rain'"):
        open_uscrn(folder, "rain")
    hourly = tmp_path / "CRNH0203-2020-AZ_Tucson_11_W.txt"
    hourly.write_text("53131 20200101 0100\n")
    with pytest.raises(FileError, match="is of the hourly product"):
        open_uscrn(hourly)
    hourly.unlink()
    page = tmp_path / "CRND0103-2020-AZ_Yuma_27_ENE.txt"
    page.write_text("<html>404</html>")
    with pytest.raises(FileError, match="1 columns in its first line; expected the 28"):
        open_uscrn(folder)
    page.write_text(line("20200101") + "\n" + line("20200102")[:60] + "\n")
    with pytest.raises(FileError, match="28 columns; load it again"):
        open_uscrn(page).compute()
    page.write_text(line("20190101") + "\n")
    with pytest.raises(FileError, match="days twice or of other years"):
        open_uscrn(page).compute()
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "CRND0103-2021-AZ_Tucson_11_W.txt").write_text(line("20210101"))
    with pytest.raises(ArgumentError, match=r"two files of AZ_Tucson_11_W in 2021"):
        open_uscrn(folder)
