"""`to_cog`: reopened with rasterio and rioxarray, compared with what was written."""

from __future__ import annotations

import distributed
import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from rasterio.enums import Resampling

from xsoil.errors import ArgumentError, AxisError, CRSError, MissingVariableError, NodataError, UnknownNameError
from xsoil.grids.ease import ease_grid
from xsoil.outputs.cog import to_cog

GRID = ease_grid("EASE2_M09km", "conus")


def test_round_trip(soil, tmp_path):
    file = to_cog(soil, tmp_path / "k_sat.tif", variable="k_sat", progress=False)
    assert file == tmp_path / "k_sat.tif"
    back = rioxarray.open_rasterio(file)
    np.testing.assert_array_equal(back.values[0], soil["k_sat"].values)
    assert back.dtype == np.float32
    assert back.rio.crs.to_epsg() == 6933
    assert back.rio.transform() == GRID.transform
    assert np.isnan(back.rio.nodata)
    np.testing.assert_allclose(back.x, soil.x, rtol=0, atol=1e-6)
    np.testing.assert_allclose(back.y, soil.y, rtol=0, atol=1e-6)
    with rasterio.open(file) as raster:
        assert raster.units == ("cm d-1",)
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert raster.overviews(1) == [2]
        assert raster.tags(1)["variable"] == "k_sat"


def test_bands_are_steps(soil, tmp_path):
    file = to_cog(soil[["theta"]], tmp_path / "theta.tif", progress=False)
    with rasterio.open(file) as raster:
        np.testing.assert_array_equal(raster.read(), soil["theta"].values)
        assert raster.descriptions == ("2015-06-01", "2015-06-02", "2015-06-04")
        assert raster.units == ("m3 m-3",) * 3
    depth = soil["theta"].rename(time="depth").assign_coords(depth=("depth", [0.0, 0.05, 1.0], {"units": "m"}))
    with rasterio.open(to_cog(depth, tmp_path / "depth.tif", progress=False)) as raster:
        assert raster.descriptions == ("depth=0 m", "depth=0.05 m", "depth=1 m")


@pytest.mark.parametrize("chunks", [{"time": 1, "y": 100, "x": 77}, {"time": -1, "y": 512, "x": 512}, {"x": 1}])
def test_files_do_not_depend_on_chunks(soil, tmp_path, chunks):
    soil = soil.isel(y=slice(0, 140), x=slice(0, 40)) if chunks == {"x": 1} else soil
    eager = to_cog(soil[["theta", "texture_class"]], tmp_path / "eager", progress=False)
    lazy = to_cog(soil[["theta", "texture_class"]].chunk(chunks), tmp_path / "lazy", progress=False)
    for name in ("theta", "texture_class"):
        assert (eager / f"{name}.tif").read_bytes() == (lazy / f"{name}.tif").read_bytes()


def test_statistics_are_those_of_all_valid_cells(soil, tmp_path):
    with rasterio.open(to_cog(soil["k_sat"].chunk(y=100), tmp_path / "k.tif", progress=False)) as raster:
        tags = raster.tags(1)
    valid = soil["k_sat"].values.astype(float)
    for key, expected in (
        ("MINIMUM", np.nanmin(valid)),
        ("MAXIMUM", np.nanmax(valid)),
        ("MEAN", np.nanmean(valid)),
        ("STDDEV", np.nanstd(valid)),
    ):
        assert float(tags[f"STATISTICS_{key}"]) == pytest.approx(expected, rel=1e-9)
    assert float(tags["STATISTICS_VALID_PERCENT"]) == pytest.approx(100 * np.isfinite(valid).mean(), abs=0.01)


def test_overviews_follow_the_kind(tmp_path):
    """2 x 2 cells of one overview cell: reals are averaged over valid cells, classes take the mode."""
    grid = GeoBox((256, 256), GRID.transform, "EPSG:6933")
    rng = np.random.default_rng(1)
    real = rng.random(grid.shape)
    real[rng.random(grid.shape) < 0.3] = np.nan
    classes = rng.integers(1, 4, grid.shape).astype(np.uint8)
    ds = xr.Dataset({"sand": (("y", "x"), real), "texture_class": (("y", "x"), classes)}, coords=xr_coords(grid))
    folder = to_cog(ds, tmp_path / "out", progress=False)

    def overview(name):
        with rasterio.open(folder / f"{name}.tif") as raster:
            assert raster.overviews(1) == [2]
            return raster.read(1, out_shape=(128, 128), resampling=Resampling.nearest)

    cells = real.reshape(128, 2, 128, 2).transpose(0, 2, 1, 3).reshape(128, 128, 4)
    some = np.isfinite(cells).any(axis=-1)
    found = overview("sand")
    assert (np.isfinite(found) == some).all()
    np.testing.assert_allclose(found[some], np.nanmean(cells[some], axis=-1), rtol=1e-6)
    cells = classes.reshape(128, 2, 128, 2).transpose(0, 2, 1, 3).reshape(128, 128, 4)
    counts = np.stack([(cells == k).sum(axis=-1) for k in (1, 2, 3)], axis=-1)
    majority = counts.max(axis=-1) > 2  # no tie
    assert (overview("texture_class")[majority] == counts.argmax(axis=-1)[majority] + 1).all()
    with rasterio.open(to_cog(ds["sand"], tmp_path / "n.tif", overview="nearest", progress=False)) as raster:
        nearest = raster.read(1, out_shape=(128, 128))
    assert np.isin(nearest[np.isfinite(nearest)], real).all()


def test_large_raster_has_all_overviews_and_an_odd_size(tmp_path):
    grid = GeoBox((1501, 2207), GRID.transform, "EPSG:6933")
    data = np.arange(1501 * 2207, dtype=np.float32).reshape(grid.shape)
    array = xr.DataArray(data, dims=("y", "x"), coords=xr_coords(grid), name="sand").chunk(y=700, x=1000)
    with rasterio.open(to_cog(array, tmp_path / "a.tif", progress=False)) as raster:
        assert raster.shape == (1501, 2207)
        assert raster.overviews(1) == [2, 4, 8]
        assert raster.block_shapes == [(512, 512)]
        np.testing.assert_array_equal(raster.read(1), data)


@pytest.mark.parametrize("compress", ["deflate", "zstd", "lzw", "none"])
def test_compression(soil, tmp_path, compress):
    with rasterio.open(to_cog(soil["bulk"], tmp_path / "a.tif", compress=compress, progress=False)) as raster:
        assert (raster.compression.name if raster.compression else "none") == compress
        np.testing.assert_array_equal(raster.read(1), soil["bulk"])


def test_integers_keep_type_and_declared_nodata(soil, tmp_path):
    folder = to_cog(soil, tmp_path / "out", progress=False)
    with rasterio.open(folder / "texture_class.tif") as raster:
        assert raster.dtypes == ("int8",)
        assert raster.nodata == 0
    with rasterio.open(folder / "bulk.tif") as raster:
        assert raster.dtypes == ("int16",)
        assert raster.nodata is None
    assert sorted(p.name for p in folder.iterdir()) == ["bulk.tif", "k_sat.tif", "texture_class.tif", "theta.tif"]


def test_nodata_replaces_missing_values(soil, tmp_path):
    with rasterio.open(to_cog(soil["k_sat"].chunk(x=100), tmp_path / "a.tif", nodata=-9999, progress=False)) as raster:
        assert raster.nodata == -9999
        values = raster.read(1)
    expected = soil["k_sat"].values
    np.testing.assert_array_equal(values, np.where(np.isnan(expected), np.float32(-9999), expected))
    declared = soil["k_sat"].fillna(-1.0).assign_attrs(_FillValue=-1.0)
    with rasterio.open(to_cog(declared, tmp_path / "b.tif", progress=False)) as raster:
        assert raster.nodata == -1
        np.testing.assert_array_equal(raster.read(1), declared)
    with rasterio.open(to_cog(soil["texture_class"], tmp_path / "c.tif", nodata=-1, progress=False)) as raster:
        assert raster.nodata == -1
        np.testing.assert_array_equal(raster.read(1), soil["texture_class"].where(soil["texture_class"] != 0, -1))


def test_undecoded_scale_is_declared(soil, tmp_path):
    packed = soil["bulk"].assign_attrs(scale_factor=0.01, add_offset=2.0)
    back = rioxarray.open_rasterio(to_cog(packed, tmp_path / "a.tif", progress=False), mask_and_scale=True)
    np.testing.assert_allclose(back[0], soil["bulk"] * 0.01 + 2.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "stored"), [("bool", "uint8"), ("float16", "float32"), ("int64", "int64"), ("uint16", "uint16")]
)
def test_types(tmp_path, given, stored):
    array = xr.DataArray(np.eye(20).astype(given), dims=("y", "x"), coords=xr_coords(GRID[:20, :20]), name="a")
    with rasterio.open(to_cog(array, tmp_path / "a.tif", progress=False)) as raster:
        assert raster.dtypes == (stored,)
        np.testing.assert_array_equal(raster.read(1), np.eye(20))


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:5070", "ESRI:54052", "EPSG:6931"])
@pytest.mark.parametrize("flip", [False, True])
def test_any_crs_and_orientation(tmp_path, crs, flip):
    step = 0.1 if crs == "EPSG:4326" else 1000.0
    grid = GeoBox((30, 20), rasterio.Affine(step, 0, 3 * step, 0, -step, 40 * step), crs)
    array = xr.DataArray(
        np.random.default_rng(0).random(grid.shape), dims=grid.dimensions, coords=xr_coords(grid), name="a"
    )
    array = array.isel({grid.dimensions[0]: slice(None, None, -1)}) if flip else array
    back = rioxarray.open_rasterio(to_cog(array, tmp_path / "a.tif", progress=False))
    np.testing.assert_array_equal(back[0], array)
    np.testing.assert_allclose(back.y, array[grid.dimensions[0]], rtol=1e-12)
    assert back.rio.crs == rasterio.crs.CRS.from_user_input(crs)


def test_mapping_as_data_variable(soil, tmp_path):
    """Readers leave the grid mapping among the variables unless told otherwise."""
    file = to_cog(soil[["k_sat"]].reset_coords("spatial_ref"), tmp_path / "a.tif", progress=False)
    assert rioxarray.open_rasterio(file).rio.crs.to_epsg() == 6933


def test_all_missing_and_tiny(tmp_path):
    array = xr.DataArray(np.full((3, 2), np.nan), dims=("y", "x"), coords=xr_coords(GRID[:3, :2]), name="a")
    with rasterio.open(to_cog(array, tmp_path / "a.tif", progress=False)) as raster:
        assert np.isnan(raster.read()).all()
        assert raster.overviews(1) == []


def test_input_is_unchanged(soil, tmp_path):
    before = soil.copy(deep=True)
    to_cog(soil, tmp_path / "out", nodata=-1, progress=False)
    xr.testing.assert_identical(soil, before)


def test_existing_files(soil, tmp_path):
    file = to_cog(soil["bulk"], tmp_path / "a.tif", progress=False)
    before = file.read_bytes()
    with pytest.raises(ArgumentError, match="overwrite=True"):
        to_cog(soil["k_sat"], file, progress=False)
    broken = soil["k_sat"].chunk(y=100)
    broken = broken.copy(data=broken.data.map_blocks(lambda block: 1 / 0, dtype="f4", meta=np.empty((0, 0))))
    with pytest.raises(ZeroDivisionError):
        to_cog(broken, file, overwrite=True, progress=False)
    assert file.read_bytes() == before
    to_cog(soil["k_sat"], file, overwrite=True, progress=False)
    assert file.read_bytes() != before
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


def test_progress(soil, tmp_path, capsys):
    to_cog(soil["bulk"].chunk(y=100), tmp_path / "a.tif")
    shown = capsys.readouterr()
    assert "Completed" in shown.err
    assert shown.out == ""  # for pipes
    to_cog(soil["bulk"].chunk(y=100), tmp_path / "b.tif", progress=False)
    assert capsys.readouterr() == ("", "")


def test_distributed_workers_write(soil, tmp_path):
    eager = to_cog(soil["k_sat"], tmp_path / "a.tif", progress=False)
    with distributed.Client(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None):
        lazy = to_cog(soil["k_sat"].chunk(y=100, x=100), tmp_path / "b.tif", progress=False)
    assert lazy.read_bytes() == eager.read_bytes()


def test_faults(soil, tmp_path):
    with pytest.raises(ArgumentError, match="variable='theta'"):
        to_cog(soil, tmp_path / "a.tif")
    with pytest.raises(MissingVariableError, match="no 'sand'"):
        to_cog(soil, tmp_path / "a.tif", variable="sand")
    with pytest.raises(AxisError, match="both spatial dims"):
        to_cog(soil, tmp_path / "a.tif", variable="site")
    with pytest.raises(AxisError, match="no variable has both"):
        to_cog(soil[["site"]], tmp_path / "out")
    with pytest.raises(AxisError, match="stack"):
        to_cog(soil["theta"].expand_dims(depth=2), tmp_path / "a.tif")
    with pytest.raises(CRSError, match="write_crs"):
        to_cog(soil["bulk"].drop_vars("spatial_ref").drop_attrs(), tmp_path / "a.tif")
    with pytest.raises(UnknownNameError, match="did you mean 'deflate'"):
        to_cog(soil["bulk"], tmp_path / "a.tif", compress="Deflate")
    with pytest.raises(UnknownNameError, match="did you mean 'average'"):
        to_cog(soil["bulk"], tmp_path / "a.tif", overview="averge")
    with pytest.raises(ArgumentError, match="does not fit into int8"):
        to_cog(soil["texture_class"], tmp_path / "a.tif", nodata=-9999)
    with pytest.raises(ArgumentError, match="complex"):
        to_cog(soil["bulk"].astype(complex), tmp_path / "a.tif")
    with pytest.raises(NodataError, match="contradicting"):
        to_cog(soil["bulk"].assign_attrs(_FillValue=1, nodata=2), tmp_path / "a.tif")
    with pytest.raises(ArgumentError, match="local files"):
        to_cog(soil["bulk"], "s3://bucket/a.tif")
    (tmp_path / "plain").write_text("")
    with pytest.raises(ArgumentError, match=r"without \.tif"):
        to_cog(soil["bulk"], tmp_path / "plain")
    assert [p.name for p in tmp_path.iterdir()] == ["plain"]


def test_nothing_is_computed_before_the_arguments_are_right(soil, tmp_path, no_compute):
    with pytest.raises(ArgumentError, match="does not fit"):
        to_cog(soil["texture_class"].chunk(y=100), tmp_path / "a.tif", nodata=1000)
