"""`grid_of`: conventions of the files that people have, and every metadata fault."""

from __future__ import annotations

import numpy as np
import pytest
import rioxarray
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_zeros

from xsoil.errors import AxisError, CRSError, SoilError
from xsoil.grids.ease import ease_grid
from xsoil.grids.geobox import grid_of, locate


def latlon(n=4, m=6, **kwargs):
    lat, lon = 50 - 0.5 * np.arange(n), 10 + 0.5 * np.arange(m)
    return xr.Dataset({"a": (("lat", "lon"), np.zeros((n, m)))}, {"lat": lat, "lon": lon}, **kwargs)


def test_plain_latitude_longitude():
    box = grid_of(latlon())
    assert box.crs.epsg == 4326
    assert box.affine == Affine(0.5, 0, 9.75, 0, -0.5, 50.25)
    assert locate(latlon()).dims == ("lat", "lon")


def test_names_geoboxes_and_odc_objects():
    box = ease_grid("EASE2_M36km", (0, 40, 10, 50))
    assert grid_of("EASE2_M36km") == ease_grid("EASE2_M36km")
    assert grid_of(box) is box
    assert grid_of(xr_zeros(box)) == box
    assert grid_of(xr_zeros(box).to_dataset(name="a")) == box


@pytest.mark.parametrize("descending", [True, False])
def test_orientation_is_kept(descending):
    ds = latlon() if descending else latlon().isel(lat=slice(None, None, -1))
    assert (grid_of(ds).affine.e < 0) == descending


def test_rioxarray_and_cf_grid_mapping():
    y, x = 2_000_000 - 500.0 * np.arange(5), 4_000_000 + 500.0 * np.arange(7)
    ds = xr.Dataset({"a": (("y", "x"), np.zeros((5, 7)))}, {"y": y, "x": x}).rio.write_crs("EPSG:3035")
    assert grid_of(ds).crs.epsg == 3035
    cf = ds.drop_vars("spatial_ref").assign(laea=xr.Variable((), 0, ds.spatial_ref.attrs))
    cf.a.attrs["grid_mapping"] = "laea"
    assert grid_of(cf) == grid_of(ds)


def test_coordinates_win_over_a_stale_transform():
    ds = latlon().rio.write_crs("EPSG:4326")
    ds = ds.rio.write_transform(Affine(0.5, 0, -999, 0, -0.5, 999))
    assert grid_of(ds).affine.c == 9.75


def test_transform_serves_where_there_are_no_coordinates():
    rotated = Affine(0.47, 0.17, 10.0, 0.17, -0.47, 50.0)
    ds = latlon().drop_vars(["lat", "lon"]).rename(lat="y", lon="x").rio.write_crs("EPSG:4326")
    ds.spatial_ref.attrs["GeoTransform"] = " ".join(map(repr, rotated.to_gdal()))
    assert grid_of(ds).affine.almost_equals(rotated)


def test_float32_coordinates_are_even():
    lat = (50 - (np.arange(600) + 0.5) / 120).astype("f4")
    lon = (-125 + (np.arange(900) + 0.5) / 120).astype("f4")
    box = grid_of(xr.Dataset(coords={"lat": lat, "lon": lon}))
    assert box.affine.a == pytest.approx(1 / 120, rel=1e-5)


def test_rolled_longitudes():
    lon = np.roll(np.arange(0.5, 360), 100)
    ds = xr.Dataset(coords={"lat": np.arange(-5.0, 5), "lon": lon})
    assert locate(ds).cyclic_shift == 100


def test_one_pixel_needs_its_size():
    one = latlon(1, 1)
    with pytest.raises(AxisError, match="one cell"):
        grid_of(one)
    assert grid_of(one.rio.write_crs(4326).rio.write_transform(Affine(2, 0, 9, 0, -3, 51.5))).affine == Affine(
        2, 0, 9, 0, -3, 51.5
    )
    assert grid_of(xr_zeros(GeoBox((1, 1), Affine(500, 0, 1e6, 0, -500, 2e6), "EPSG:3035"))).affine.a == 500


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda ds: ds.isel(lat=[2, 0, 1, 3]), r"'lat' is shuffled.*sortby\('lat'\)"),
        (lambda ds: ds.isel(lat=[0, 1, 3]), "'lat' is not evenly spaced"),
        (lambda ds: ds.assign_coords(lon=ds.lon.where(ds.lon != 11)), "NaN or infinite"),
        (lambda ds: ds.rename(lat="row", lon="column"), "no y and x dimension"),
        (lambda ds: ds.isel(lon=0), "no x dimension"),
        (lambda ds: ds.isel(lat=slice(0, 0)), "empty"),
        (lambda ds: ds.drop_vars(["lat", "lon"]), "no coordinates"),
    ],
)
def test_axis_faults(broken, message):
    with pytest.raises(AxisError, match=message):
        grid_of(broken(latlon()))


def test_crs_faults():
    plain = latlon().rename(lat="y", lon="x")
    with pytest.raises(CRSError, match=r"no CRS.*rio\.write_crs"):
        grid_of(plain)
    two = plain.rio.write_crs("EPSG:4326").assign_coords(other=xr.DataArray(0, attrs={"crs_wkt": "EPSG:3035"}))
    with pytest.raises(CRSError, match="two coordinate reference systems"):
        grid_of(two)
    with pytest.raises(SoilError, match="has no grid"):
        grid_of(42)


def test_free_text_is_not_searched_for_a_crs():
    plain = latlon().rename(lat="y", lon="x")
    for text in ("lat-lon", "plate carree grid", "WGS84"):
        with pytest.raises(CRSError, match="no CRS"):
            grid_of(plain.assign_attrs(crs=text))
    assert grid_of(plain.assign_attrs(crs="EPSG:3035")).crs.epsg == 3035
    with pytest.raises(CRSError, match="which is no CRS"):
        grid_of(plain.assign_attrs(crs="EPSG:999999"))


def test_real_files(data):
    mosel = xr.open_dataset(data / "rasters" / "mhm_mosel_l0_500m.nc")
    assert (grid_of(mosel).crs.epsg, grid_of(mosel).shape, grid_of(mosel).affine.a) == (3035, (432, 288), 500.0)
    tif = rioxarray.open_rasterio(data / "rasters" / "soilgrids_angola_1km_2014_sand.tif")
    assert grid_of(tif).crs.epsg == 4326
