"""MODIS: factors and special values, tiles put together, quality bits, COG and HDF4."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from served import served
from test_soilgrids import tif

import xsoil
from xsoil.data import FileError, open_modis
from xsoil.data.modis import LEFT, SINUSOIDAL, TILE, TOP
from xsoil.errors import ArgumentError, GridMismatchError, MissingVariableError, TimeError

N = 24  # cells of a tile here; 2400 at 500 m


def tile(
    folder, layer, values, *, product="MOD15A2H", day="2021001", h=18, v=4, dtype="uint8", nodata=255, done="2021020"
):
    name = f"{product}.A{day}.h{h:02d}v{v:02d}.061.{done}123456_{layer}.tif"
    corner = (LEFT + h * TILE, TOP - v * TILE)
    return tif(
        folder / name, values, corner=corner, cell=TILE / len(values), crs=SINUSOIDAL, nodata=nodata, dtype=dtype
    )


def leaves(seed=0):
    values = np.random.default_rng(seed).integers(0, 101, (N, N))
    values[0, :7] = np.arange(249, 256)
    return values


def test_lai_of_neighbouring_tiles(tmp_path, no_compute):
    for h, v in ((18, 4), (19, 4), (18, 5)):
        tile(tmp_path, "Lai_500m", leaves(), h=h, v=v)
    ds = open_modis(tmp_path)
    assert ds.lai.shape == (1, 2 * N, 2 * N)
    assert ds.lai.attrs["units"] == "1"
    grid = xsoil.grid_of(ds)
    assert tuple(grid.boundingbox) == pytest.approx((0, TOP - 6 * TILE, 2 * TILE, TOP - 4 * TILE), abs=1e-3)
    assert "10.5067/MODIS/MOD15A2H.061" in ds.attrs["references"]


def test_values_special_values_and_missing_tiles(tmp_path):
    parts = {(18, 4): leaves(1), (19, 4): leaves(2), (18, 5): leaves(3)}
    for (h, v), values in parts.items():
        tile(tmp_path, "Lai_500m", values, h=h, v=v)
    tile(tmp_path, "Lai_500m", leaves(4), h=19, v=5, day="2021009")
    found = open_modis(tmp_path).lai.compute()
    assert list(found.indexes["time"].dayofyear) == [1, 9]
    first = found.values[0]
    assert np.isnan(first[0, :7]).all()
    assert_allclose(first[1:N, :N], parts[18, 4][1:] / 10, rtol=1e-6)
    assert_allclose(first[1:N, N:], parts[19, 4][1:] / 10, rtol=1e-6)
    assert_allclose(first[N + 1 :, :N], parts[18, 5][1:] / 10, rtol=1e-6)
    assert np.isnan(first[N:, N:]).all()
    assert np.isnan(found.values[1, :N]).all()


def test_ndvi_and_temperature(tmp_path):
    ndvi = np.full((N, N), 6543)
    ndvi[0, 0], ndvi[0, 1] = -3000, -2000
    tile(tmp_path, "250m_16_days_NDVI", ndvi, product="MOD13Q1", dtype="int16", nodata=-3000)
    found = open_modis(tmp_path, "ndvi").ndvi[0].compute()
    assert np.isnan(found[0, 0])
    assert_allclose([found[0, 1], found[5, 5]], [-0.2, 0.6543], rtol=1e-6)
    warm = np.full((N, N), 15000)
    warm[0, 0] = 0
    other = tmp_path / "lst"
    tile(other, "LST_Day_1km", warm, product="MOD11A1", dtype="uint16", nodata=0)
    lst = open_modis(other, "lst_day").lst_day[0].compute()
    assert np.isnan(lst[0, 0])
    assert_allclose(lst[5, 5], 300)
    assert lst.attrs["units"] == "K"


def test_quality(tmp_path):
    values, flag = leaves(), np.zeros((N, N), int)
    flag[5, 5], flag[6, 6] = 1, 0b10100000
    tile(tmp_path, "Lai_500m", values)
    with pytest.raises(MissingVariableError, match="needs the layer 'FparLai_QC' beside each file"):
        open_modis(tmp_path, quality="good")
    tile(tmp_path, "FparLai_QC", flag)
    every, good = open_modis(tmp_path).lai[0].compute(), open_modis(tmp_path, quality="good").lai[0].compute()
    assert np.isnan(good[5, 5])
    assert np.isfinite(every[5, 5])
    assert int(every.count()) - int(good.count()) == 1


def test_appeears_and_http(tmp_path):
    tif(tmp_path / "MCD15A3H.061_Lai_500m_doy2021005_aid0001.tif", leaves(), crs="EPSG:4326", cell=0.005,
        corner=(10, 50), dtype="uint8", nodata=255)  # fmt: skip
    ds = open_modis(tmp_path)
    assert str(ds.time.values[0])[:10] == "2021-01-05"
    assert xsoil.grid_of(ds).crs.epsg == 4326
    with served(tmp_path) as url:
        remote = open_modis(f"{url}/MCD15A3H.061_Lai_500m_doy2021005_aid0001.tif").lai.compute()
    assert_array_equal(remote, ds.lai)


def test_hdf4(tmp_path):
    sd = pytest.importorskip("pyhdf.SD", reason="HDF4 needs the package pyhdf")
    values = {4: leaves(1), 5: leaves(2)}
    for v, numbers in values.items():
        file = sd.SD(str(tmp_path / f"MOD15A2H.A2021001.h18v0{v}.061.2021020123456.hdf"), sd.SDC.WRITE | sd.SDC.CREATE)
        for name, numbers_of in (("Fpar_500m", numbers), ("Lai_500m", numbers), ("FparLai_QC", numbers % 2)):
            layer = file.create(name, sd.SDC.UINT8, (N, N))
            layer[:] = numbers_of.astype(np.uint8)
            layer.attr("scale_factor").set(sd.SDC.FLOAT64, 0.1)
            layer.endaccess()
        file.end()
    ds = open_modis(tmp_path, quality="good")
    assert tuple(xsoil.grid_of(ds).boundingbox) == pytest.approx((0, TOP - 6 * TILE, TILE, TOP - 4 * TILE), abs=1e-3)
    meant = np.where(values[4] % 2 == 0, values[4] / 10, np.nan)
    assert_allclose(ds.lai[0, 1:N].compute(), meant[1:], rtol=1e-6)
    (tmp_path / "MOD15A2H.A2021009.h18v04.061.2021020123456.hdf").write_bytes(b"nothing")
    with pytest.raises(FileError, match="cannot be read as HDF4"):
        open_modis(tmp_path)


def test_hdf4_without_its_package(tmp_path, monkeypatch):
    (tmp_path / "MOD15A2H.A2021009.h18v04.061.2021020123456.hdf").write_bytes(b"nothing")
    for name in ("pyhdf", "pyhdf.SD"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match="pip install pyhdf, or take COGs"):
        open_modis(tmp_path)


def test_faults(tmp_path):
    good = tile(tmp_path, "Lai_500m", leaves())
    with pytest.raises(FileError, match="is of MOD15A2H; 'ndvi' is in"):
        open_modis(good, "ndvi")
    again = tile(tmp_path, "Lai_500m", leaves(), done="2021333")
    with pytest.raises(TimeError, match="are of one tile and day; keep one"):
        open_modis(tmp_path)
    again.unlink()
    terra = tile(tmp_path, "Lai_500m", leaves(), product="MYD15A2H", h=19)
    with pytest.raises(ArgumentError, match="files of MOD15A2H, MYD15A2H are mixed"):
        open_modis(tmp_path)
    terra.unlink()
    coarse = tile(tmp_path, "Lai_500m", leaves()[:12, :12], h=19)
    with pytest.raises(GridMismatchError, match="the tile h19v04 does not fit"):
        open_modis(tmp_path)
    old = coarse.rename(tmp_path / good.name.replace(".061.", ".006."))
    with pytest.raises(FileError, match="of collection 006; this reader follows 061"):
        open_modis(old)
    with pytest.raises(FileError, match="not named like a file of MODIS"):
        open_modis(__file__)
