"""GDAL and ESMF as engines: GDAL against exact overlaps where GDAL is right, what xESMF would be given."""

from __future__ import annotations

import sys
import types

import dask
import dask.array as da
import numpy as np
import pytest
import rasterio.warp
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from xsoil.errors import ArgumentError, CRSError
from xsoil.grids.ease import EASE_GRIDS, ease_grid
from xsoil.verbs import _engines
from xsoil.verbs.upscale import upscale

SOURCE = GeoBox((60, 70), Affine(1 / 30, 0, -106.5, 0, -1 / 30, 38.9), "EPSG:4326")
TARGET = ease_grid("EASE2_M36km", (-105.9, 37.3, -104.6, 38.5))
ALBERS = GeoBox((4, 5), Affine(9000, 0, 0, 0, -9000, 2e6), "EPSG:5070")


def field(dtype="f8", lead=(), missing=0.1, smooth=False):
    rng = np.random.default_rng(0)
    values = rng.normal(25, 10, (*lead, *SOURCE.shape))
    if smooth:
        row, column = np.mgrid[: SOURCE.shape[0], : SOURCE.shape[1]]
        values = np.broadcast_to(25 + np.sin(row / 20) + np.cos(column / 15), values.shape).copy()
    values[rng.random(values.shape) < missing] = np.nan
    dims = (*("time", "depth")[: len(lead)], *SOURCE.dimensions)
    return xr.DataArray(values.astype(dtype), dims=dims, name="clay", attrs={"units": "percent"})


# -- GDAL --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "tolerance"),
    [("mean", 5e-4), ("sum", 1e-8), ("min", 0), ("max", 0), ("bilinear", 1e-7), ("cubic", 1e-7), ("nearest", 0)],
)
def test_gdal_is_near_the_exact_operators(how, tolerance):
    """On a smooth field (standard deviation 0.7) in degrees, where its rectangles are nearly the cells."""
    var = field(smooth=True, missing=0)
    ds = var.to_dataset().assign_coords({d: c.values for d, c in SOURCE.coordinates.items()})
    got = _engines.gdal(var, SOURCE, TARGET, how)
    np.testing.assert_allclose(got, upscale(ds, TARGET, how).clay, atol=tolerance)


def test_gdal_is_gdal():
    """The same numbers as rasterio's own call (odc-geo fixes the scales of GDAL's kernels)."""
    var = field("f4")
    expected = np.full(TARGET.shape, np.nan, "f4")
    rasterio.warp.reproject(
        var.values, expected, src_transform=SOURCE.affine, src_crs="EPSG:4326", dst_transform=TARGET.affine,
        dst_crs="EPSG:6933", src_nodata=np.nan, dst_nodata=np.nan, resampling=rasterio.warp.Resampling.average,
        XSCALE=1, YSCALE=1,
    )  # fmt: skip
    np.testing.assert_array_equal(_engines.gdal(var, SOURCE, TARGET, "mean"), expected)


@pytest.mark.parametrize("how", [*_engines.GDAL, "quantile"])
def test_gdal_lazy_as_eager(how, no_compute):
    var, q = field("f4", lead=(2, 3)), 0.75 if how == "quantile" else None
    eager = _engines.gdal(var, SOURCE, TARGET, how, q=q)
    assert isinstance(eager, np.ndarray)
    assert eager.shape == (2, 3, *TARGET.shape)
    chunked = var.chunk(time=1, latitude=25, longitude=30)
    lazy = _engines.gdal(chunked, SOURCE, TARGET, how, q=q, chunks=(2, 3))
    assert isinstance(lazy, da.Array)
    assert (lazy.dtype, lazy.shape) == (eager.dtype, eager.shape)
    assert lazy.chunksize[-2:] == (2, 3)
    assert lazy.name == _engines.gdal(chunked, SOURCE, TARGET, how, q=q, chunks=(2, 3)).name
    with dask.config.set(scheduler="threads"):
        np.testing.assert_array_equal(lazy.compute(), eager)


@pytest.mark.parametrize("how", _engines.GDAL)
def test_chunks_do_not_show_where_cells_share_borders(how):
    """There GDAL's sum depends on the source window it is called with: by up to 4 % of a cell."""
    rng = np.random.default_rng(0)
    source = GeoBox((400, 600), Affine(0.1, 0, 0, 0, -0.1, 50), "EPSG:4326")
    target = GeoBox((80, 120), Affine(0.5, 0, 0, 0, -0.5, 50), "EPSG:4326")
    var = xr.DataArray(rng.random(source.shape) * 100 + 1, dims=source.dimensions, name="clay")
    eager = _engines.gdal(var, source, target, how)
    assert np.isfinite(eager).all()
    for chunks in (29, (80, 7), (66, 120)):
        np.testing.assert_array_equal(_engines.gdal(var.chunk(), source, target, how, chunks=chunks), eager)


def test_blocks_of_gdal_stay_small():
    """Where a target cell covers many source cells, and never smaller than 8 x 8."""
    target = GeoBox((2, 2), Affine(1, 0, 0, 0, -1, 50), "EPSG:4326")
    fine = [GeoBox((600, 600), Affine(1 / n, 0, 0, 0, -1 / n, 50), "EPSG:4326") for n in (2, 32, 600)]
    sides = [_engines.block_side(source, target) for source in fine]
    assert sides == [64, 32, 8]


@pytest.mark.parametrize("how", ["mean", "nearest", "cubic"])
@pytest.mark.parametrize("chunks", [9, (50, 70)])
def test_chunks_do_not_show_where_gdal_interpolates(how, chunks):
    """To a target whose axes turn against the source's; with odc-geo's own graph 60 of 100 cells changed."""
    rng = np.random.default_rng(0)
    source = GeoBox((60, 120), Affine(0.25, 0, -120, 0, -0.25, 48), "EPSG:4326")
    target = GeoBox((50, 90), Affine(36000, 0, -2.4e6, 0, -36000, 3.2e6), "EPSG:5070")
    var = xr.DataArray(rng.normal(size=(60, 120)), dims=("latitude", "longitude"), name="clay")
    eager = _engines.gdal(var, source, target, how)
    lazy = _engines.gdal(var.chunk(longitude=50), source, target, how, chunks=chunks)
    assert 0.2 < np.isnan(eager).mean() < 0.5
    np.testing.assert_array_equal(lazy.compute(), eager)


@pytest.mark.parametrize("west", [0, -180, -90])
@pytest.mark.parametrize("how", ["mean", "max", "nearest"])
@pytest.mark.parametrize(
    "target",
    [
        EASE_GRIDS["EASE2_M36km"].geobox,
        ease_grid("EASE2_M36km", (170, -10, -170, 10)),
        ease_grid("EASE2_M36km", (-20, -10, 20, 10)),
    ],
    ids=["globe", "dateline", "Greenwich"],
)
def test_gdal_all_round_the_earth(west, how, target):
    """Wherever the axis starts; with odc-geo's own graph most of this came out empty or wrong."""
    source = GeoBox((60, 120), Affine(3, 0, west, 0, -3, 90), "EPSG:4326")
    lon = west + 3 * (np.arange(120) + 0.5)
    var = xr.DataArray(np.tile(np.cos(np.radians(lon)), (60, 1)), dims=("latitude", "longitude"), name="clay")
    eager = _engines.gdal(var, source, target, how)
    a = target.affine
    there = (a.c + a.a * (np.arange(target.shape[1]) + 0.5)) / (2 * 17367530.445161372) * 360
    np.testing.assert_allclose(eager, np.tile(np.cos(np.radians(there)), (target.shape[0], 1)), atol=0.08)
    lazy = _engines.gdal(var.chunk(latitude=25, longitude=50), source, target, how, chunks=100)
    np.testing.assert_array_equal(lazy.compute(), eager)


@pytest.mark.parametrize("how", ["min", "max", "mode", "nearest"])
@pytest.mark.parametrize("lazy", [False, True])
def test_gdal_keeps_integers(how, lazy):
    rng = np.random.default_rng(0)
    values = rng.integers(1, 200, SOURCE.shape, "u1")
    values[:30, :40] = 7
    var = xr.DataArray(values, dims=SOURCE.dimensions, name="cover", attrs={"_FillValue": np.uint8(7)})
    got = _engines.gdal(var.chunk(latitude=20) if lazy else var, SOURCE, TARGET, how)
    got = got.compute() if lazy else got
    assert got.dtype == "u1"
    assert (got == 7).any()  # nothing but nodata there
    assert ((got > 0) & (got < 200)).all()
    floats = _engines.gdal(var, SOURCE, TARGET, "mean")
    assert floats.dtype == "f8"
    assert np.isnan(floats).any()


def test_packed_integers_are_decoded():
    var = xr.DataArray(
        np.full(SOURCE.shape, 250, "i2"), dims=SOURCE.dimensions, name="clay", attrs={"scale_factor": 0.1}
    )
    np.testing.assert_allclose(_engines.gdal(var, SOURCE, TARGET, "max"), 25.0, rtol=1e-6)


def test_what_gdal_lacks():
    with pytest.raises(ArgumentError, match="no operator 'std'; it has mean, sum"):
        _engines.gdal_name("std")
    with pytest.raises(ArgumentError, match=r"no quantile 0\.3"):
        _engines.gdal_name("quantile", q=0.3)
    with pytest.raises(ArgumentError, match="min_valid=0 with engine='gdal'"):
        _engines.gdal_name("mean", min_valid=0)
    assert [_engines.gdal_name("quantile", q=q) for q in (0.25, 0.5, 0.75)] == ["q1", "med", "q3"]


# -- ESMF --------------------------------------------------------------------------------------------


def test_a_straight_grid_has_axes():
    grid = _engines.xesmf_grid(TARGET, bounds=True)
    rows, columns = TARGET.shape
    assert (grid.lon.dims, grid.lat.dims) == (("x",), ("y",))
    assert (grid.lon_b.shape, grid.lat_b.shape) == ((columns + 1,), (rows + 1,))
    a, back = TARGET.affine, Transformer.from_crs("EPSG:6933", "EPSG:4326", always_xy=True)
    corner = back.transform(a.c + 3 * a.a, a.f + 2 * a.e)
    middle = back.transform(a.c + 3.5 * a.a, a.f + 2.5 * a.e)
    np.testing.assert_allclose((grid.lon_b[3], grid.lat_b[2]), corner, rtol=1e-12)
    np.testing.assert_allclose((grid.lon[3], grid.lat[2]), middle, rtol=1e-12)
    assert "lon_b" not in _engines.xesmf_grid(TARGET, bounds=False).coords


def test_a_projected_grid_has_corners():
    grid = _engines.xesmf_grid(ALBERS, bounds=True)
    assert (grid.lon.dims, grid.lon.shape) == (("y", "x"), (4, 5))
    assert (grid.lat_b.dims, grid.lat_b.shape) == (("y_b", "x_b"), (5, 6))
    back = Transformer.from_crs("EPSG:5070", "EPSG:4326", always_xy=True)
    np.testing.assert_allclose((grid.lon[2, 3], grid.lat[2, 3]), back.transform(31500, 2e6 - 22500), rtol=1e-12)
    np.testing.assert_allclose((grid.lon_b[4, 5], grid.lat_b[4, 5]), back.transform(45000, 2e6 - 36000), rtol=1e-12)


def test_bounds_stop_at_the_poles_and_cells_must_be_on_earth():
    world = GeoBox((19, 36), Affine(10, 0, -180, 0, -10, 95), "EPSG:4326")
    assert _engines.xesmf_grid(world, bounds=True).lat_b.values[[0, -1]].tolist() == [90, -90]
    with pytest.raises(CRSError, match="no place on Earth"):
        _engines.xesmf_grid(GeoBox((4, 4), Affine(1e7, 0, -2e7, 0, -1e7, 2e7), "ESRI:54009"), bounds=True)


def test_only_point_methods_are_periodic():
    world = GeoBox((18, 36), Affine(10, 0, -180, 0, -10, 90), "EPSG:4326")
    assert _engines.xesmf_arguments(world, TARGET, "bilinear")[2] == {"periodic": True, "unmapped_to_nan": True}
    assert not _engines.xesmf_arguments(world, TARGET, "conservative")[2]["periodic"]
    assert not _engines.xesmf_arguments(SOURCE, TARGET, "bilinear")[2]["periodic"]
    assert "lon_b" not in _engines.xesmf_arguments(SOURCE, TARGET, "patch")[0].coords


def test_without_xesmf(monkeypatch):
    monkeypatch.setitem(sys.modules, "xesmf", None)
    with pytest.raises(ArgumentError, match="conda install -c conda-forge xesmf"):
        _engines.xesmf(field(), SOURCE, TARGET, "mean")
    with pytest.raises(ArgumentError, match="ESMF has no operator 'median'; it has mean, conservative, nearest"):
        _engines.xesmf(field(), SOURCE, TARGET, "median")


@pytest.mark.parametrize(
    ("how", "method"), [("mean", "conservative_normed"), ("nearest", "nearest_s2d"), ("patch", "patch")]
)
@pytest.mark.parametrize("lazy", [False, True])
def test_what_xesmf_is_given(monkeypatch, tmp_path, how, method, lazy):
    """A stand-in that only takes notes: xESMF itself computes nothing here."""
    made, called = [], []

    class Regridder:
        def __init__(self, *args, **kwargs):
            made.append((args, kwargs))

        def __call__(self, data, **kwargs):
            called.append((data, kwargs))
            return data[..., : TARGET.shape[0], : TARGET.shape[1]]

    monkeypatch.setitem(sys.modules, "xesmf", types.SimpleNamespace(Regridder=Regridder))
    var = field("f4", lead=(2,))
    var = var.chunk(time=1, latitude=20) if lazy else var
    _engines.xesmf(var, SOURCE, TARGET, how, min_valid=0.75, weights=tmp_path / "w.nc", chunks=4)
    (given, taken, asked), options = made[0]
    assert asked == method
    assert options["weights"] == tmp_path / "w.nc"
    xr.testing.assert_identical(given, _engines.xesmf_grid(SOURCE, bounds=how == "mean"))
    xr.testing.assert_identical(taken, _engines.xesmf_grid(TARGET, bounds=how == "mean"))
    data, how_called = called[0]
    assert isinstance(data, da.Array if lazy else np.ndarray)
    assert (data.shape, data.dtype) == (var.shape, "f4")
    assert how_called == {"skipna": True, "na_thres": 0.25} | ({"output_chunks": (4, 4)} if lazy else {})


@pytest.mark.parametrize(
    ("how", "exact", "tolerance"), [("mean", "mean", 1e-2), ("nearest", "nearest", 0), ("bilinear", "bilinear", 1e-3)]
)
def test_xesmf_is_near_the_exact_operators(how, exact, tolerance):
    pytest.importorskip("xesmf", reason="xESMF is not installed: ESMF is not on PyPI")
    var = field(smooth=True, missing=0)
    ds = var.to_dataset().assign_coords({d: c.values for d, c in SOURCE.coordinates.items()})
    got = _engines.xesmf(var, SOURCE, TARGET, how)
    np.testing.assert_allclose(got, upscale(ds, TARGET, exact).clay, atol=tolerance)
    lazy = _engines.xesmf(var.chunk(latitude=20), SOURCE, TARGET, how)
    np.testing.assert_allclose(lazy.compute(), got, rtol=1e-12)
