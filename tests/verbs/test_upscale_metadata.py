"""`upscale`: laziness, metadata, dtypes and extents of the result."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from affine import Affine
from maps import REGION, latlon, on
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from xsoil.errors import ArgumentError
from xsoil.grids.ease import ease_grid
from xsoil.grids.geobox import grid_of
from xsoil.verbs.upscale import upscale

HOWS = ("mean", "sum", "min", "max", "nearest")


def test_a_tile_reads_only_the_blocks_it_overlaps():
    read = []

    def block(x, block_info=None):
        read.append(tuple(block_info[0]["chunk-location"]))
        return x

    ds = latlon(missing=0.0).chunk(lat=10, lon=10)
    ds["clay"] = ds.clay.copy(data=da.map_blocks(block, ds.clay.data, dtype="f8", meta=np.empty((0, 0))))
    out = upscale(ds, "EASE2_M09km", chunks=4)
    out.clay.isel(y=slice(0, 4), x=slice(0, 4)).compute(scheduler="sync")
    assert set(read) == {(0, 0), (0, 1)}  # four rows of 9 km stand on 8 rows of 1/30 degree


def test_metadata():
    ds = latlon(dtype="f4").assign(name=((), 3.0), series=("band", [1.0, 2.0]))
    ds = ds.assign_coords(band=[4, 5], label="x").assign_attrs(title="t")
    before = ds.copy(deep=True)
    out = upscale(ds, "EASE2_M09km")
    xr.testing.assert_identical(ds, before)
    assert out.clay.dtype == np.float32
    assert out.clay.attrs == {"units": "percent", "cell_methods": "area: mean"}
    assert out.attrs == {"title": "t"}
    assert out["name"] == 3.0
    assert out.series.dims == ("band",)
    assert str(out.label.values) == "x"
    assert out.rio.crs.to_epsg() == 6933
    assert grid_of(out) == ease_grid("EASE2_M09km", ds)
    assert out.clay.encoding["grid_mapping"] == "spatial_ref"


def test_target_names_its_dimensions():
    target = xr.Dataset(coords={"latitude": [38.5, 38.0, 37.5], "longitude": [-106.0, -105.5]})
    out = upscale(latlon(), target)
    assert out.clay.dims == ("latitude", "longitude")
    np.testing.assert_array_equal(out.latitude, target.latitude)


def test_integers():
    box = ease_grid("EASE2_M09km", ease_grid("EASE2_M36km", REGION))
    values = np.random.default_rng(0).integers(1, 100, box.shape).astype("i2")
    ds = on(box, values)
    for how in ("min", "max", "nearest"):
        got = upscale(ds, "EASE2_M36km", how)
        assert got.clay.dtype == np.int16
    assert upscale(ds, "EASE2_M36km").clay.dtype == np.float64
    np.testing.assert_array_equal(upscale(ds, "EASE2_M36km", "max").clay, ds.clay.coarsen(y=4, x=4).max())
    values[:4, :4] = -999
    ds.clay.attrs["_FillValue"] = np.int16(-999)
    got = upscale(ds, "EASE2_M36km", "min")
    assert got.clay.dtype == np.int16
    assert got.clay.attrs["_FillValue"] == -999
    assert int((got.clay == -999).sum()) == 1
    assert int(upscale(ds, "EASE2_M36km").clay.isnull().sum()) == 1


@pytest.mark.parametrize("how", HOWS)
def test_packed_integers_are_decoded(how):
    box = ease_grid("EASE2_M09km", ease_grid("EASE2_M36km", REGION))
    values = np.random.default_rng(0).integers(1200, 1600, box.shape).astype("i2")
    packed = on(box, values, "bulk_density")
    packed.bulk_density.attrs["scale_factor"] = 0.001
    got = upscale(packed, "EASE2_M36km", how).bulk_density
    expected = upscale(on(box, values * 0.001), "EASE2_M36km", how).clay
    assert got.dtype.kind == "f"
    assert "scale_factor" not in got.attrs
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i2"])
@pytest.mark.parametrize("how", HOWS)
def test_foreign_byte_order(dtype, how):
    box = ease_grid("EASE2_M09km", ease_grid("EASE2_M36km", REGION))
    values = np.random.default_rng(0).integers(1, 90, box.shape)
    got = upscale(on(box, values.astype(dtype)), "EASE2_M36km", how).clay
    assert got.dtype.isnative
    np.testing.assert_array_equal(got, upscale(on(box, values.astype(dtype[1:])), "EASE2_M36km", how).clay)


@pytest.mark.parametrize("start", [-300, -180, 0, 77, 217, 220, 239, 300, 359])
def test_a_global_axis_may_start_anywhere(start):
    ds = xr.Dataset(
        {"v": (("lat", "lon"), np.ones((90, 180)))},
        {"lat": np.arange(89.0, -90, -2), "lon": start + 1 + np.arange(0.0, 360, 2)},
    )
    assert upscale(ds, "EASE2_M36km").sizes == {"y": 406, "x": 964}
    assert ease_grid("EASE2_M36km", ds) == ease_grid("EASE2_M36km")


@pytest.mark.parametrize(
    ("box", "columns"),
    [
        (ease_grid("EASE2_M36km"), 964),
        (ease_grid("EASE2_M25km"), 964),
        (ease_grid("EASE2_M09km", (-150, -10, 150, 10)), 804),
        (ease_grid("EASE2_M09km", (-91, -10, 91, 10)), 488),
        (ease_grid("EASE2_M09km", (175, -10, -165, 10)), 55),
        (GeoBox.from_bbox((-20037508, -9e6, 20037508, 9e6), "EPSG:3857", shape=(180, 400)), 964),
    ],
    ids=["global", "global 25 km", "300 degrees", "182 degrees", "across the dateline", "Web Mercator"],
)
def test_wide_footprints(box, columns):
    source = xr.Dataset({"v": (box.dimensions, da.ones(tuple(box.shape), chunks=500))}, xr_coords(box))
    assert upscale(source, "EASE2_M36km").sizes["x"] == columns


def test_attributes_of_another_grid_are_dropped():
    ds = latlon().assign_attrs({"proj:code": "EPSG:4326", "spatial:shape": [60, 70], "title": "t"})
    assert upscale(ds, "EASE2_M09km").attrs == {"title": "t"}


def test_what_is_left_out():
    ds = latlon().assign(
        lat_bnds=(("lat", "bnds"), np.zeros((60, 2))), crs=((), 0, {"crs_wkt": "EPSG:4326"}), row=("lat", np.arange(60))
    )
    with pytest.warns(UserWarning, match="'row' is left out"):
        out = upscale(ds, "EASE2_M09km")
    assert list(out.data_vars) == ["clay"]
    assert out.rio.crs.to_epsg() == 6933


def test_flags_are_united():
    box = ease_grid("EASE2_M09km", ease_grid("EASE2_M36km", REGION))
    bits = np.zeros(box.shape, "u1")
    bits[0, 0], bits[1, 2], bits[-1, -1] = 1, 4, 2
    ds = on(box, bits, "quality")
    ds.quality.attrs = {"flag_masks": np.array([1, 2, 4], "u1"), "flag_meanings": "a b c"}
    for source in (ds, ds.chunk(y=3, x=5)):
        got = upscale(source, "EASE2_M36km").compute()
        assert got.quality.dtype == np.uint8
        assert (got.quality[0, 0], got.quality[-1, -1], int(got.quality.sum())) == (5, 2, 7)
        assert got.quality.attrs["flag_meanings"] == "a b c"
    with pytest.raises(ArgumentError, match="no mean"):
        upscale(ds, "EASE2_M36km", {"quality": "mean"})


def test_one_pixel_grids():
    box = GeoBox((1, 1), Affine(5000, 0, 4e6, 0, -5000, 3e6), "EPSG:3035")
    one = on(box, np.array([[3.0]]))
    out = upscale(one, "EASE2_M09km", "sum")
    assert float(out.clay.sum()) == pytest.approx(3.0, rel=1e-9)
    target = GeoBox((1, 1), Affine(4000, 0, 4_000_500, 0, -4000, 2_999_500), "EPSG:3035")
    assert upscale(one, target).clay.item() == 3.0


def test_dict_of_operators_and_data_arrays():
    ds = latlon().assign(sand=latlon().clay * 2)
    got = upscale(ds, "EASE2_M09km", {"clay": "max"})
    xr.testing.assert_equal(got.clay, upscale(ds, "EASE2_M09km", "max").clay)
    xr.testing.assert_equal(got.sand, upscale(ds, "EASE2_M09km", "mean").sand)
    assert list(upscale(ds.sand, "EASE2_M09km").data_vars) == ["sand"]
