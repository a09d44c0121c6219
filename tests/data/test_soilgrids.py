"""SoilGrids 2.0: integers with their factors, layers, quantiles, the homolosine, missing columns."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.testing import assert_allclose, assert_array_equal
from served import served

import xsoil
from xsoil.data import FileError, open_soilgrids
from xsoil.errors import ArgumentError, CRSError, GridMismatchError, UnknownNameError

HOMOLOSINE = "+proj=igh +lon_0=0 +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs"
CORNER = (-1_000_000.0, 6_000_000.0)
LAYERS = ("0-5", "5-15", "15-30", "30-60", "60-100", "100-200")


def tif(path, values, *, corner=CORNER, cell=250.0, crs=HOMOLOSINE, nodata=-32768, dtype="int16"):
    values = np.asarray(values)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # GDAL opens what it is to replace
    transform = Affine(cell, 0, corner[0], 0, -cell, corner[1])
    with rasterio.open(
        path, "w", driver="GTiff", height=values.shape[0], width=values.shape[1], count=1, dtype=dtype, crs=crs,
        transform=transform, nodata=nodata, tiled=True, blockxsize=16, blockysize=16,
    ) as file:  # fmt: skip
        file.write(values.astype(dtype), 1)
    return path


def stored(layer: int) -> np.ndarray:
    values = np.arange(40 * 30).reshape(40, 30) % 900 + layer
    values[0, 0] = -32768
    return values


@pytest.fixture
def folder(tmp_path):
    for i, layer in enumerate(LAYERS):
        for code in ("sand", "clay", "bdod", "soc", "cfvo", "phh2o", "cec"):
            tif(tmp_path / code / f"{code}_{layer}cm_mean.tif", stored(i))
    return tmp_path


def test_layers_factors_and_grid(folder, no_compute):
    ds = open_soilgrids(folder)
    assert ds.sand.dims == ("depth", "y", "x")
    assert ds.sand.dtype == np.float32
    assert_allclose(ds.depth, [0.025, 0.1, 0.225, 0.45, 0.8, 1.5])
    assert_allclose(ds.depth_bounds[2], [0.15, 0.30])
    grid = xsoil.grid_of(ds)
    assert grid.affine[:6] == pytest.approx((250, 0, CORNER[0], 0, -250, CORNER[1]))
    assert "Homolosine" in str(grid.crs.wkt) or "igh" in grid.crs.proj.to_proj4()
    assert ds.attrs["references"] == "doi:10.5194/soil-7-217-2021"
    units = {"sand": "percent", "bulk_density": "g cm-3", "organic_carbon": "percent", "ph": "1", "cec": "cmol kg-1"}
    assert {name: ds[name].attrs["units"] for name in units} == units


def test_values(folder):
    # What ISRIC's table says of a stored 137: g/kg, cg/cm3, dg/kg, cm3/dm3, pH x 10, mmol(c)/kg.
    meant = {
        "sand": 13.7, "clay": 13.7, "bulk_density": 1.37, "organic_carbon": 1.37, "coarse_fragments": 13.7, "ph": 13.7,
        "cec": 13.7,
    }  # fmt: skip
    ds = open_soilgrids(folder).isel(depth=0).compute()
    assert set(ds.data_vars) == set(meant)
    for name, value in meant.items():
        assert np.isnan(ds[name][0, 0])
        assert_allclose(ds[name].values[stored(0) == 137], value, rtol=1e-6, err_msg=name)
        assert int(ds[name].isnull().sum()) == 1


def test_chain_to_a_parameter_map(folder):
    soil = xsoil.depth_mean(open_soilgrids(folder, ["sand", "clay"]), 0, 0.3)
    coarse = xsoil.upscale(soil.soil.ptf("cosby1984_univariate"), "EASE2_M03km", min_valid=0)
    assert float(coarse.theta_s.count()) > 0
    middle = (stored(0) * 5 + stored(1) * 10 + stored(2) * 15)[5, 5] / 30 / 10
    assert_allclose(soil.sand[5, 5].compute(), middle, rtol=1e-6)


def test_quantiles_and_uncertainty(tmp_path):
    for kind, value in (("Q0.05", 100), ("Q0.5", 200), ("Q95", 400), ("uncertainty", 15)):
        tif(tmp_path / f"clay_0-5cm_{kind}.tif", np.full((20, 30), value))
    ds = open_soilgrids(tmp_path, statistic=("Q0.05", "Q0.5", "Q0.95"))
    assert ds.clay.dims == ("quantile", "depth", "y", "x")
    assert_allclose(ds.clay[:, 0, 3, 4].compute(), [10, 20, 40])
    assert_allclose(ds["quantile"], [0.05, 0.5, 0.95])
    ratio = open_soilgrids(tmp_path, statistic="uncertainty").clay_uncertainty
    assert_allclose(ratio[0, 0, 0].compute(), 1.5)
    with pytest.raises(ArgumentError, match=r"no map of mean; there are \['Q0.05', 'Q0.5', 'Q0.95', 'uncertainty'\]"):
        open_soilgrids(tmp_path)
    with pytest.raises(UnknownNameError, match=r"unknown statistic 'q0.05'; did you mean 'Q0.05'"):
        open_soilgrids(tmp_path, statistic="q0.05")


def test_three_missing_columns_are_cells_without_data(tmp_path):
    whole = stored(0)
    tif(tmp_path / "sand_0-5cm_mean.tif", whole)
    tif(tmp_path / "bdod_0-5cm_mean.tif", whole[1:, 3:], corner=(CORNER[0] + 750, CORNER[1] - 250))
    ds = open_soilgrids(tmp_path).compute()
    assert ds.sizes["x"] == 30
    assert ds.bulk_density[0, :, :3].isnull().all()
    assert ds.bulk_density[0, 0].isnull().all()
    assert_allclose(ds.bulk_density[0, 1:, 3:], whole[1:, 3:] / 100, rtol=1e-6)
    tif(tmp_path / "clay_0-5cm_mean.tif", whole, corner=(CORNER[0] + 100, CORNER[1]))
    with pytest.raises(GridMismatchError, match=r"clay_0-5cm_mean.tif.*different lattices"):
        open_soilgrids(tmp_path)


def test_a_vrt_finds_its_tiles(tmp_path):
    """The layout of ISRIC's server: one VRT a map, tiles in a folder beside it."""
    whole = stored(0)
    tiles = tmp_path / "clay" / "clay_0-5cm_mean" / "tileSG-000-000"
    tif(tiles / "tileSG-000-000_1-1.tif", whole[:, :15])
    tif(tiles / "tileSG-000-000_1-2.tif", whole[:, 15:], corner=(CORNER[0] + 15 * 250, CORNER[1]))
    wkt = rasterio.crs.CRS.from_user_input(HOMOLOSINE).to_wkt().replace('"', "&quot;")
    parts = "".join(
        f'<SimpleSource><SourceFilename relativeToVRT="1">clay_0-5cm_mean/tileSG-000-000/tileSG-000-000_1-{i + 1}.tif'
        f'</SourceFilename><SourceBand>1</SourceBand><SrcRect xOff="0" yOff="0" xSize="15" ySize="40"/>'
        f'<DstRect xOff="{15 * i}" yOff="0" xSize="15" ySize="40"/></SimpleSource>'
        for i in range(2)
    )
    (tmp_path / "clay" / "clay_0-5cm_mean.vrt").write_text(
        f'<VRTDataset rasterXSize="30" rasterYSize="40"><SRS>{wkt}</SRS><GeoTransform>{CORNER[0]}, 250, 0, '
        f'{CORNER[1]}, 0, -250</GeoTransform><VRTRasterBand dataType="Int16" band="1"><NoDataValue>-32768</NoDataValue>'
        f"{parts}"
        "</VRTRasterBand></VRTDataset>"
    )
    found = open_soilgrids(tmp_path).clay[0].compute()
    assert_allclose(found.values[1:], whole[1:] / 10, rtol=1e-6)
    with served(tmp_path) as url:
        remote = open_soilgrids(url, "clay", depths=[(0, 0.05)]).clay[0].compute()
    assert_array_equal(remote, found)
    with pytest.raises(ArgumentError, match="name the variables to open"):
        open_soilgrids("https://files.isric.org/soilgrids/latest/data")


def test_nothing_is_read_at_opening(folder, monkeypatch):
    monkeypatch.setattr(rasterio.io.DatasetReader, "read", lambda *_, **__: pytest.fail("read too early"))
    open_soilgrids(folder)


def test_files_that_are_something_else(folder, tmp_path, data):
    with pytest.raises(FileError, match=r"is not named like a map of SoilGrids 2.0"):
        open_soilgrids(data / "rasters" / "soilgrids_angola_1km_2014_clay.tif")
    broken = folder / "sand" / "sand_0-5cm_mean.tif"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:100])
    with pytest.raises(FileError, match=r"sand_0-5cm_mean.tif' cannot be read as a raster.*load it again"):
        open_soilgrids(folder, "sand")
    tif(broken, stored(0) / 10, dtype="float32")
    with pytest.raises(FileError, match=r"holds float32; maps of SoilGrids 2.0 hold integers"):
        open_soilgrids(folder, "sand")
    tif(broken, stored(0), crs=None)
    with pytest.raises(CRSError, match=r"crs='ESRI:54052'"):
        open_soilgrids(folder, "sand")
    assert xsoil.grid_of(open_soilgrids(folder, "sand", crs="ESRI:54052")).crs == "ESRI:54052"
    tif(tmp_path / "clay_0-5cm_mean_1000.tif", stored(0))
    with pytest.raises(ArgumentError, match="give one resolution"):
        open_soilgrids(folder, "sand")


def test_what_is_not_there(folder):
    with pytest.raises(ArgumentError, match=r"no files of 'silt'; there are"):
        open_soilgrids(folder, ["sand", "silt"])
    with pytest.raises(ArgumentError, match=r"no layer \(0, 10\) cm"):
        open_soilgrids(folder, depths=[(0, 0.1)])
    (folder / "clay" / "clay_5-15cm_mean.tif").unlink()
    with pytest.raises(ArgumentError, match="the first that of clay 5-15 cm mean"):
        open_soilgrids(folder, ["sand", "clay"])
    assert open_soilgrids(folder, ["sand", "clay"], depths=[(0, 0.05)]).sizes["depth"] == 1


def test_a_signed_url_of_a_folder_stays_signed():
    from xsoil.data.soilgrids import _on_server

    found = _on_server("https://host/data/?signature=a%2Fb", "clay", ["mean"], [(0, 0.05)])
    assert list(found.values()) == ["https://host/data/clay/clay_0-5cm_mean.vrt?signature=a%2Fb"]
