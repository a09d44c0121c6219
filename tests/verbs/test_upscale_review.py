"""What a hostile review found, each once: rounded axes, targets' coordinates, nodata, flags, types, warnings."""

from __future__ import annotations

import warnings

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import xsoil
from xsoil.errors import ArgumentError, NodataError


def half_degrees(step=0.5, rows=8, columns=12):
    return GeoBox((rows, columns), Affine(step, 0, 0, 0, -step, 50), "EPSG:4326")


def tenths(dtype="f4", lead=(), **attrs):
    values = (np.random.default_rng(0).random((*lead, 40, 60)) * 100 + 1).astype(dtype)
    dims = (*[f"t{i}" for i in range(len(lead))], "lat", "lon")
    coords = {"lat": 50 - 0.1 * (np.arange(40) + 0.5), "lon": 0.1 * (np.arange(60) + 0.5)}
    return xr.Dataset({"v": (dims, values, {"units": "1", **attrs})}, coords)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_coordinates_in_single_precision_are_those_that_were_meant(dtype):
    numbers = np.arange(96.0).reshape(8, 12)
    ds = tenths()
    ds = xr.Dataset(
        {"v": (("lat", "lon"), np.kron(numbers, np.ones((5, 5))))}, {c: ds[c].astype(dtype) for c in ds.coords}
    )
    for how in ("min", "max", "mode"):
        np.testing.assert_array_equal(ds.soil.upscale(half_degrees(), how).v, numbers)
    assert not ds.soil.upscale(half_degrees(), min_valid=1).v.isnull().any()


def test_coordinates_of_six_digits():
    lat, lon = np.round(50 - (np.arange(400) + 0.5) / 120, 6), np.round(10 + (np.arange(600) + 0.5) / 120, 6)
    found = xsoil.grid_of(xr.Dataset({"v": (("lat", "lon"), np.ones((400, 600)))}, {"lat": lat, "lon": lon})).affine
    np.testing.assert_allclose([found.a, found.c, found.e, found.f], [1 / 120, 10, -1 / 120, 50], rtol=1e-13)


def test_odd_coordinates_stay_as_they_are():
    lat = 47.123456789 - 0.0173856291 * np.arange(50)
    ds = xr.Dataset({"v": (("lat", "lon"), np.ones((50, 50)))}, {"lat": lat.astype("f4"), "lon": lat[::-1]})
    assert abs(xsoil.grid_of(ds).affine.e + 0.0173856291) < 1e-6


def test_a_result_goes_together_with_its_target():
    ds = tenths()
    assert (ds.soil.upscale(ds).v - ds.v).shape == (40, 60)
    box = xsoil.ease_grid("EASE2_M36km", (0, 45, 7, 50))
    coords = {name: c.astype("f4") if c.ndim else c for name, c in xr_coords(box).items()}
    coarse = xr.Dataset({"v": (("y", "x"), np.ones(box.shape, "f4"))}, coords)
    coarse.x.attrs["long_name"] = "easting"
    got = ds.soil.upscale(coarse)
    assert (got.v + coarse.v).shape == tuple(box.shape)
    assert got.x.attrs["long_name"] == "easting"


def test_nodata_as_text_and_out_of_range():
    ds = tenths("i2", nodata="-9999")
    ds.v.values[:2] = -9999
    assert ds.soil.upscale(half_degrees()).v.min() > 0
    assert tenths("u1", nodata=-9999).soil.upscale(half_degrees(), "mode").v.dtype == np.uint8
    assert tenths("i2", nodata=1e20).soil.upscale(half_degrees(), "min").v.attrs["nodata"] == -32768
    with pytest.raises(NodataError, match="no number"):
        tenths("i2", nodata="none").soil.upscale(half_degrees())


def test_the_largest_integer_stays_large():
    ds = tenths("u8")
    ds.v.values[:] = 2**64 - 1
    assert float(ds.soil.upscale(half_degrees(), "max").v[0, 0]) > 1.8e19


def test_flags_of_any_type():
    def flags(value, dtype, masks, **attrs):
        quality = (
            ("lat", "lon"),
            np.full((40, 60), value, dtype),
            {"flag_masks": masks, "flag_meanings": "a b", **attrs},
        )
        return tenths().assign(quality=quality).soil.upscale(half_degrees()).quality

    assert not flags(255, "u1", np.array([1, 2], "u1"), _FillValue=255).any()
    assert (flags(-128, "i1", np.array([1, -128], "i1")) == -128).all()
    assert (flags(2**63, "u8", np.array([1, 2**63], "u8")) == 2**63).all()
    assert (flags(1, "u1", "1b, 2b") == 1).all()
    classes = tenths("u1", flag_values="1b, 2b")
    assert classes.soil.upscale(half_degrees(), "fraction").v.sizes["v_class"] == 2


def test_no_layers_make_no_layers():
    assert tenths(lead=(0,)).chunk().soil.upscale(half_degrees()).compute().v.shape == (0, 8, 12)


def test_names_that_are_taken():
    with pytest.raises(ArgumentError, match="'latitude' has the name of a coordinate"):
        tenths().assign(latitude=tenths().v).soil.upscale(half_degrees())


def test_cell_methods_are_appended():
    got = tenths(cell_methods="t0: mean").soil.upscale(half_degrees())
    assert got.v.attrs["cell_methods"] == "t0: mean area: mean"


def test_powers_beyond_the_numbers_are_flagged():
    for ds, p in ((tenths("f8"), 200), (tenths("f8") * 1e-120, -3)):
        got = ds.soil.upscale(half_degrees(), "power", p=p)
        assert got.v.isnull().all()
        assert (got.v_quality == 2).all()
    assert not tenths("f8").soil.upscale(half_degrees(), "power", p=2).v_quality.any()


@pytest.mark.parametrize("call", [xsoil.upscale, lambda ds, to: ds.soil.upscale(to)], ids=["function", "accessor"])
def test_warnings_name_the_line_of_the_caller(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(tenths(), half_degrees(0.05, 80, 120))
    assert [w.filename for w in caught if issubclass(w.category, UserWarning)] == [__file__]


def test_floats_keep_their_type_or_are_refused():
    assert tenths("f2").soil.upscale(half_degrees()).v.dtype == np.float16
    if np.dtype(np.longdouble).itemsize > 8:
        with pytest.raises(ArgumentError, match="float64 or less"):
            tenths().astype(np.longdouble).soil.upscale(half_degrees())


def test_chunks_of_many_classes_are_small():
    data = da.zeros((4000, 4000), chunks=1000, dtype="u1")
    axis = 0.001 * (np.arange(4000) + 0.5)
    ds = xr.Dataset({"c": (("lat", "lon"), data, {"flag_values": list(range(40))})}, {"lat": 50 - axis, "lon": axis})
    shares = ds.soil.upscale(half_degrees(0.003, 1300, 1300), "fraction").c.data
    assert 8 * np.prod(shares.chunksize) < 64 * 2**20


def test_coordinates_on_the_grid_are_left_out_with_a_warning():
    ds = tenths().assign_coords(mask=(("lat", "lon"), np.ones((40, 60))))
    with pytest.warns(UserWarning, match=r"\['mask'\] are left out"):
        assert "mask" not in ds.soil.upscale(half_degrees()).coords
