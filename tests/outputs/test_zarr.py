"""`to_zarr`: what is written is read back, by xarray, rioxarray and GDAL, and nothing is lost on the way."""

from __future__ import annotations

import copy
import json
import warnings
from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import rasterio
import rioxarray  # noqa: F401
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from xsoil.errors import ArgumentError, CRSError, NodataError, SoilError
from xsoil.grids.ease import ease_grid
from xsoil.grids.geobox import grid_of
from xsoil.outputs._layout import CHUNK_BYTES
from xsoil.outputs._layout import layout_of as _layout
from xsoil.outputs.cog import to_cog
from xsoil.outputs.netcdf import to_netcdf
from xsoil.outputs.zarr import to_zarr

GRID = ease_grid("EASE2_M09km", "conus")


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("lazy", [False, True])
def test_round_trip(soil, tmp_path, lazy):
    source = soil.chunk(time=1, y=100, x=200) if lazy else soil
    path = to_zarr(source, tmp_path / "soil.zarr", progress=False)
    assert path == tmp_path / "soil.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back = xr.open_zarr(path, mask_and_scale=False)
    assert set(back.coords) == set(soil.coords)
    for name in soil.variables:
        expected = soil[name].drop_vars(soil.coords, errors="ignore")
        xr.testing.assert_equal(back[name].drop_vars(back.coords, errors="ignore").load(), expected)
        assert back[name].dtype == soil[name].dtype or name in ("time", "t")
    assert back["theta"].attrs["units"] == "m3 m-3"
    assert back["theta"].attrs["long_name"] == "soil moisture"
    assert back.attrs["title"] == "made for a test"
    assert back.attrs["numbers"] == [0, 1, 2]
    assert json.loads((path / "zarr.json").read_text())["zarr_format"] == 3


def test_nodata_of_integers_is_masked_by_the_reader(soil, tmp_path):
    back = xr.open_zarr(to_zarr(soil, tmp_path / "a.zarr", progress=False))
    assert back["texture_class"].dtype == np.int8
    assert (back["texture_class"].values == soil["texture_class"].values).all()
    assert back["texture_class"].rio.nodata == back["texture_class"].attrs["nodata"] == 0
    assert zarr.open_array(tmp_path / "a.zarr" / "texture_class").dtype == np.int8


@pytest.mark.parametrize("write", [to_zarr, to_netcdf])
@pytest.mark.parametrize(("kind", "declared"), [("u1", np.int64(-9999)), ("i2", np.nan), ("u1", 1.5), ("i2", [])])
def test_nodata_that_the_type_cannot_hold_occurs_nowhere(tmp_path, write, kind, declared):
    """-9999 became 241 of the unsigned bytes, NaN the zeros of the integers."""
    ds = xr.Dataset({"a": ("i", np.array([0, 1, 2, 241], kind), {"_FillValue": declared})})
    back = xr.open_dataset(write(ds, tmp_path / ("a.zarr" if write is to_zarr else "a.nc"), progress=False))
    np.testing.assert_array_equal(back["a"], [0, 1, 2, 241])


@pytest.mark.parametrize("write", [to_zarr, to_netcdf])
def test_nodata_that_is_no_number_or_two(tmp_path, write):
    both = {"_FillValue": 1, "missing_value": 2}
    for declared, message in (({"_FillValue": "none"}, "no number"), (both, "contradicting")):
        ds = xr.Dataset({"a": ("i", np.arange(3), declared)})
        with pytest.raises(NodataError, match=message):
            write(ds, tmp_path / "a.nc", progress=False)


@pytest.mark.parametrize("decode_coords", [True, "all"])
def test_rioxarray_and_grid_of_read_the_grid(soil, tmp_path, decode_coords):
    back = xr.open_zarr(to_zarr(soil, tmp_path / "a.zarr", progress=False), decode_coords=decode_coords)
    assert back.rio.crs.to_epsg() == 6933
    assert back["k_sat"].rio.crs.to_epsg() == 6933
    assert back["k_sat"].rio.transform() == GRID.transform
    assert back.odc.geobox == GRID
    assert grid_of(back) == GRID


def test_gdal_reads_crs_transform_values_and_nodata(soil, tmp_path):
    path = to_zarr(soil.drop_vars(["site", "t"]).chunk(y=100, x=100), tmp_path / "a.zarr", progress=False)
    if tuple(int(v) for v in rasterio.__gdal_version__.split(".")[:2]) < (3, 11):
        # GDAL before 3.11 knows the draft of Zarr v3, where the codec "bytes" was called "endian".
        for file in path.rglob("zarr.json"):
            file.write_text(file.read_text().replace('"bytes"', '"endian"'))
    for name, nodata in (("theta", np.nan), ("texture_class", 0), ("bulk", -32768)):
        with rasterio.open(f'ZARR:"{path}":/{name}') as raster:
            assert raster.crs.to_epsg() == 6933
            assert raster.transform == GRID.transform
            np.testing.assert_equal(raster.nodata, nodata)
            expected = soil[name].values if soil[name].ndim == 3 else soil[name].values[None]
            np.testing.assert_array_equal(raster.read(), expected)


def test_geozarr_attributes(soil, tmp_path):
    to_zarr(soil, tmp_path / "a.zarr", progress=False)
    attrs = dict(zarr.open_group(tmp_path / "a.zarr").attrs)
    assert attrs["proj:code"] == "EPSG:6933"
    assert attrs["spatial:dimensions"] == ["y", "x"]
    assert attrs["spatial:transform"] == list(GRID.transform[:6])
    assert attrs["spatial:shape"] == list(GRID.shape)
    assert attrs["spatial:bbox"] == list(GRID.boundingbox.bbox)
    mapping = dict(zarr.open_array(tmp_path / "a.zarr" / "spatial_ref").attrs)
    assert mapping["grid_mapping_name"] == "lambert_cylindrical_equal_area"
    assert [float(v) for v in mapping["GeoTransform"].split()] == list(GRID.transform.to_gdal())


def test_geographic_grid_without_a_mapping(tmp_path):
    latitude = {"units": "degrees_north"}
    array = xr.DataArray(
        np.arange(6.0).reshape(2, 3),
        dims=("lat", "lon"),
        coords={"lat": ("lat", [10.5, 11.5], latitude), "lon": [0.5, 1.5, 2.5]},
        name="sand",
    )
    back = xr.open_zarr(to_zarr(array, tmp_path / "a.zarr", progress=False))
    assert back.rio.crs.to_epsg() == 4326
    assert back["lon"].attrs["standard_name"] == "longitude"
    assert grid_of(back).transform == grid_of(array).transform


def test_object_with_crs_but_without_coordinates_gets_them(tmp_path):
    array = xr.DataArray(np.zeros((4, 5)), dims=("y", "x"), name="sand").rio.write_crs(6933)
    array = array.rio.write_transform(GRID.transform)
    back = xr.open_zarr(to_zarr(array, tmp_path / "a.zarr", progress=False))
    assert back["sand"].rio.transform() == GRID.transform
    assert back["x"][0] == GRID.transform.c + GRID.transform.a / 2


def test_stale_encoding_does_not_break_the_write(soil, tmp_path):
    stale = soil.chunk(time=2, y=90, x=200)
    stale["theta"].encoding = {
        "chunks": (1, 7, 11), "preferred_chunks": {"y": 7}, "_FillValue": -9999.0, "dtype": "int16",
        "scale_factor": 0.01,
        "zlib": True, "complevel": 4, "grid_mapping": "crs_of_old_file", "coordinates": "gone", "source": "old.nc",
        "shards": (1, 14, 22), "original_shape": (9, 9, 9), "chunksizes": (1, 7, 11),
    }  # fmt: skip
    stale["time"].encoding = {"units": "months since 1900-01-01", "dtype": "int8"}
    stale["theta"].attrs |= {"_FillValue": np.float32(-9999.0), "coordinates": "gone too"}
    back = xr.open_zarr(to_zarr(stale, tmp_path / "a.zarr", progress=False))
    np.testing.assert_array_equal(back["theta"], soil["theta"])
    np.testing.assert_array_equal(back["time"], soil["time"])
    assert back["theta"].dtype == np.float32
    assert back["theta"].encoding["chunks"] == (2, 90, 200)


def test_a_store_is_written_again_after_reading(soil, tmp_path):
    first = to_zarr(soil.chunk(y=100), tmp_path / "a.zarr", progress=False)
    again = xr.open_zarr(first).chunk(y=70, x=133)
    second = to_zarr(again, tmp_path / "b.zarr", progress=False)
    xr.testing.assert_identical(xr.open_zarr(second).load(), xr.open_zarr(first).load())


def test_netcdf_and_back(soil, tmp_path):
    chunked = {"theta": {"zlib": True, "chunksizes": (1, 97, 211)}}
    soil.drop_vars("quality").to_netcdf(tmp_path / "soil.nc", encoding=chunked)
    with xr.open_dataset(tmp_path / "soil.nc", chunks={"y": 50}) as opened:
        back = xr.open_zarr(to_zarr(opened, tmp_path / "a.zarr", progress=False))
    np.testing.assert_array_equal(back["theta"], soil["theta"])
    assert back.rio.crs.to_epsg() == 6933


def test_input_is_unchanged(soil, tmp_path):
    before = soil.copy(deep=True)
    attrs, encoding = copy.deepcopy(soil["theta"].attrs), copy.deepcopy(soil["theta"].encoding)
    to_zarr(soil, tmp_path / "a.zarr", progress=False)
    xr.testing.assert_identical(soil, before)
    assert soil["theta"].attrs == attrs
    assert soil["theta"].encoding == encoding
    assert "Conventions" not in soil.attrs


def test_chunks_do_not_change_what_is_stored(soil, tmp_path):
    one = to_zarr(
        soil.chunk(time=1, y=50, x=64), tmp_path / "a.zarr", chunks={"time": 1, "y": 128, "x": 256}, progress=False
    )
    two = to_zarr(soil, tmp_path / "b.zarr", chunks={"time": 1, "y": 128, "x": 256}, progress=False)
    assert tree(one) == tree(two)


def test_shards(soil, tmp_path):
    path = to_zarr(
        soil.chunk(y=90, x=70),
        tmp_path / "a.zarr",
        chunks={"y": 32, "x": 96},
        shards={"y": 128, "x": 192},
        progress=False,
    )
    array = zarr.open_array(path / "theta")
    assert array.shards == (3, 128, 192)
    assert array.chunks == (3, 32, 96)
    np.testing.assert_array_equal(array[:], soil["theta"].values)


@settings(max_examples=60)
@given(
    blocks=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    chunk=st.none() | st.integers(1, 12),
    shard=st.none() | st.integers(1, 4),
)
def test_every_block_holds_whole_chunks(blocks, chunk, shard):
    size = sum(blocks)
    variable = xr.Variable("x", da.zeros(size, chunks=(tuple(blocks),)))
    chunks = {"x": chunk} if chunk else {}
    shards = {"x": shard * chunk} if shard and chunk else {}
    (written,), (stored,), whole = _layout(variable, chunks, shards)
    unit = whole[0] if whole else stored
    assert sum(written) == size
    assert unit % stored == 0
    assert all(block % unit == 0 for block in written[:-1])
    assert chunk is None or stored == min(chunk, size)


def test_large_blocks_are_divided_evenly():
    variable = xr.Variable(("y", "x"), da.zeros((36000, 20000), chunks=(12000, 10000), dtype="f8"))
    blocks, stored, _ = _layout(variable, {}, {})
    assert np.prod(stored) * 8 <= CHUNK_BYTES
    assert all(b % s == 0 for dim, s in zip(blocks, stored, strict=True) for b in dim)


def test_existing_store_needs_overwrite(soil, tmp_path):
    path = to_zarr(soil, tmp_path / "a.zarr", progress=False)
    with pytest.raises(ArgumentError, match="overwrite=True"):
        to_zarr(soil, path, progress=False)
    to_zarr(soil[["site"]], path, overwrite=True, progress=False)
    assert list(xr.open_zarr(path).data_vars) == ["site"]


def test_what_is_no_store_is_never_deleted(soil, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("ten years")
    with pytest.raises(ArgumentError, match="not a Zarr store"):
        to_zarr(soil, tmp_path / "precious", overwrite=True, progress=False)
    assert (tmp_path / "precious" / "thesis.tex").read_text() == "ten years"


def test_a_failing_write_leaves_the_old_store(soil, tmp_path):
    path = to_zarr(soil, tmp_path / "a.zarr", progress=False)
    before = tree(path)

    def fail(block):
        raise RuntimeError("the disk is full, say")

    broken = soil.chunk(y=100)
    broken["theta"] = broken["theta"].copy(
        data=broken["theta"].data.map_blocks(fail, dtype="f4", meta=np.empty((0, 0, 0)))
    )
    with pytest.raises(RuntimeError, match="disk is full"):
        to_zarr(broken, path, overwrite=True, progress=False)
    with pytest.raises(RuntimeError, match="disk is full"):
        to_zarr(broken, tmp_path / "b.zarr", progress=False)
    assert tree(path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


def test_a_store_can_be_overwritten_with_what_was_read_from_it(soil, tmp_path):
    path = to_zarr(soil, tmp_path / "a.zarr", progress=False)
    opened = xr.open_zarr(path)
    opened["theta"] = opened["theta"] * 2
    to_zarr(opened, path, overwrite=True, progress=False)
    np.testing.assert_array_equal(xr.open_zarr(path)["theta"], soil["theta"] * 2)


def test_progress(soil, tmp_path, capsys):
    to_zarr(soil.chunk(y=100), tmp_path / "a.zarr")
    shown = capsys.readouterr()
    assert "Completed" in shown.err
    assert shown.out == ""  # for pipes
    to_zarr(soil.chunk(y=100), tmp_path / "b.zarr", progress=False)
    assert capsys.readouterr() == ("", "")


def test_no_grid_no_mapping(tmp_path):
    pixels = xr.Dataset({"theta": (("pixel", "time"), np.ones((2, 3)), {"units": "1", "grid_mapping": "gone"})})
    back = xr.open_zarr(to_zarr(pixels, tmp_path / "a.zarr", progress=False))
    assert "grid_mapping" not in back["theta"].attrs
    assert list(back.variables) == ["theta"]


def test_odd_attributes_become_json(tmp_path):
    ds = xr.Dataset(
        {"a": ("i", [1.0])}, attrs={"when": np.datetime64("2001-01-01"), "who": Path("me"), "list": [np.float32(1)]}
    )
    back = xr.open_zarr(to_zarr(ds, tmp_path / "a.zarr", progress=False))
    assert back.attrs["who"] == "me"
    assert back.attrs["list"] == [1.0]


def test_faults(soil, tmp_path):
    with pytest.raises(SoilError, match=r"rename\('sand'\)"):
        to_zarr(xr.DataArray([1.0]), tmp_path / "a.zarr")
    with pytest.raises(SoilError, match="expected an xarray Dataset"):
        to_zarr(np.ones(3), tmp_path / "a.zarr")
    with pytest.raises(ArgumentError, match="not among the dims"):
        to_zarr(soil, tmp_path / "a.zarr", chunks={"z": 3})
    with pytest.raises(ArgumentError, match="whole number"):
        to_zarr(soil, tmp_path / "a.zarr", chunks={"y": 0})
    with pytest.raises(ArgumentError, match="multiple"):
        to_zarr(soil, tmp_path / "a.zarr", chunks={"y": 10}, shards={"y": 25})
    with pytest.raises(CRSError, match="write_crs"):
        to_zarr(soil.drop_vars("spatial_ref").drop_attrs(), tmp_path / "a.zarr")
    assert list(tmp_path.iterdir()) == []


def test_one_cell_of_unknown_size(tmp_path):
    """There is no GeoTransform to write, but everything else is kept."""
    one = xr.Dataset({"sand": (("lat", "lon"), [[40.0]], {"units": "percent"})}, {"lat": [45.0], "lon": [5.0]})
    xr.testing.assert_equal(xr.open_zarr(to_zarr(one, tmp_path / "one.zarr", progress=False)), one)


@pytest.mark.parametrize("lazy", [False, True])
def test_nothing_along_a_dim(tmp_path, lazy):
    ds = xr.Dataset({"a": (("i", "k"), np.zeros((3, 0))), "b": ("i", np.arange(3.0)), "c": ((), 2.5)})
    back = xr.open_zarr(to_zarr(ds.chunk(i=1) if lazy else ds, tmp_path / "a.zarr", progress=False))
    xr.testing.assert_equal(back, ds)


@pytest.mark.parametrize(("write", "ending"), [(to_zarr, ".zarr"), (to_netcdf, ".nc"), (to_cog, ".tif")])
def test_blocks_that_are_not_as_announced(soil, tmp_path, write, ending):
    """0.7 announced as an integer became 0, and one cell announced as a block filled that."""
    real = soil["k_sat"].chunk(x=300)
    kind = real.copy(data=real.data.map_blocks(lambda block: block, dtype="i2", meta=np.empty((0, 0), "i2")))
    size = real.copy(data=real.data.map_blocks(lambda block: block[:1, :1], meta=np.empty((0, 0), "f4")))
    for array in (kind, size):
        with pytest.raises(ArgumentError, match="but dask was told"):
            write(array, tmp_path / f"a{ending}", progress=False)
    assert list(tmp_path.iterdir()) == []


def _odd(lazy: bool) -> dict[str, xr.Dataset]:
    """Datasets that a file cannot hold, and what the message must name."""
    ds = xr.Dataset({"a": ("i", [1.0, 2.0])}, {"t": ("i", np.array(["2001-01-01", "2002-01-01"], "M8[ns]"))})
    ds = ds.chunk(i=1) if lazy else ds
    mixed, around = np.array([1, "b"], object), []
    around.append(around)
    return {
        "{'b': 'object'}": ds.assign(b=("i", mixed)),
        "reset_index": ds.expand_dims(k=2).stack(j=("i", "k"), create_index=True),
        "float128|96": ds.astype(np.longdouble),
        "{'b': 'category'}": ds.assign_coords(b=("i", pd.Categorical(["a", "b"]))),
        "Key 'units'": ds.assign_coords(t=ds["t"].assign_attrs(units="days since 2000-01-01")),
        "or itself": ds.assign_attrs(a=around),
        "another name": ds["a"].rename("t"),
    }


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("write", [to_zarr, to_netcdf])
def test_what_a_file_cannot_hold(tmp_path, write, lazy):
    """Told in one of xsoil's errors, with a way out, and nothing is left."""
    for message, ds in _odd(lazy).items():
        with pytest.raises(ArgumentError, match=message):
            write(ds, tmp_path / "a.nc", progress=False)
    with pytest.raises(ArgumentError, match="rename"):
        write(xr.Dataset({"a\0b": ("i", [1.0])}), tmp_path / "a.nc", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_lazy_objects(tmp_path):
    """Lazy dates of other calendars came back as the first of January 1970."""
    dates = xr.date_range("2000-02-28", periods=3, calendar="360_day", use_cftime=True)
    text = np.array(["a", "bcd", "ü"], object)
    ds = xr.Dataset({"when": ("i", np.array(dates)), "text": ("i", text), "a": ("i", [1.0, 2.0, 3.0])}).chunk(i=1)
    back = xr.open_zarr(to_zarr(ds, tmp_path / "a.zarr", progress=False)).load()
    assert list(back["when"].values) == list(dates)
    assert list(back["text"].values) == list(text)


@pytest.mark.parametrize("write", [to_zarr, to_cog, to_netcdf])
@pytest.mark.parametrize("path", [5, ["out.zarr"], None])
def test_what_is_no_path(soil, write, path):
    with pytest.raises(ArgumentError, match="expected a path"):
        write(soil, path, progress=False)
