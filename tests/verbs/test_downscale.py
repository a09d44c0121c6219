"""`downscale`: conservation, stored ESMF results, chunking, orientation, metadata, faults."""

from __future__ import annotations

import warnings

import dask.array as da
import numpy as np
import pytest
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from affine import Affine
from hypothesis import example, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from xsoil.errors import ArgumentError, CRSError, MissingVariableError, NoOverlapError, UnknownNameError
from xsoil.grids.conservative import LEAST_SHARE
from xsoil.grids.ease import ease_grid
from xsoil.grids.geobox import grid_of
from xsoil.grids.weights import mean_weights
from xsoil.verbs.downscale import METHODS, downscale
from xsoil.verbs.upscale import upscale

REGION = (-108, 35, -100, 42)
COARSE = ease_grid("EASE2_M36km", REGION)
ALBERS = GeoBox((60, 60), Affine(9000.0, 0, -800_000, 0, -9000, 1_900_000), "EPSG:5070")


def latlon(step, rows, columns, north=41.2, west=-107.3):
    return GeoBox((rows, columns), Affine(step, 0, west, 0, -step, north), "EPSG:4326")


def field(shape, seed=0, missing=0.0, dtype="f8"):
    rng = np.random.default_rng(seed)
    values = rng.normal(25, 10, shape).astype(dtype)
    values[rng.random(shape) < missing] = np.nan
    return values


def on(box, values, name="soil_moisture", lead=()):
    dims = (*lead, *box.dimensions)
    return xr.Dataset({name: (dims, values, {"units": "m3 m-3"})}, xr_coords(box))


def coarse(missing=0.1, dtype="f8", seed=0):
    return on(COARSE, field(COARSE.shape, seed, missing, dtype))


# -- conservation ----------------------------------------------------------------------------------

FINE = {
    "nested": ease_grid("EASE2_M09km", REGION),
    "latlon": latlon(0.1, 60, 70),
    "wide latlon": latlon(0.17, 40, 46),
    "albers": ALBERS,
    "coarse albers": GeoBox((45, 45), Affine(12_300.0, 0, -800_000, 0, -12_300, 1_900_000), "EPSG:5070"),
    "north": ease_grid("EASE2_N09km", (-106, 37, -103, 40)),
}


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("target", FINE.values(), ids=FINE)
def test_the_mean_of_the_fine_cells_is_the_coarse_value(target, missing):
    """Exact over every coarse cell that has fine cells, those that the border of the target cuts too."""
    ds = coarse(missing)
    fine = downscale(ds, target, "conservative")
    back = upscale(fine, COARSE, min_valid=0.0).soil_moisture
    both = (back.notnull() & ds.soil_moisture.notnull()).values
    assert both.sum() > 40
    np.testing.assert_allclose(back.values[both], ds.soil_moisture.values[both], rtol=1e-12)


def satisfiable(fine, target, both):
    """Which of the coarse cells `both` have a mean that fine values can meet, whatever the others' are.

    Not so two coarse cells at a border or a gap whose only valid fine cell is the same: their means are one. Such
    cells stand out in the vectors that the matrix of the means maps to zero.
    """
    row, column, weight = mean_weights(target, COARSE)
    matrix = np.zeros((both.size, fine.size))
    matrix[row, column] = weight
    matrix = matrix[np.ix_(both.ravel(), fine.notnull().values.ravel())]
    values, vectors = np.linalg.eigh(matrix @ matrix.T)
    return (np.abs(vectors[:, values < 1e-12 * values.max()]) < 1e-6).all(axis=1)


@settings(max_examples=30)
@example(ratio=2.0, x=0.9375, y=0.96875, missing=0.5, seed=70, least=0.5)
@given(
    ratio=st.floats(2.0, 9.0), x=st.floats(0, 1), y=st.floats(0, 1), missing=st.sampled_from([0.0, 0.1, 0.5]),
    seed=st.integers(0, 99), least=st.sampled_from([0.0, 0.5, 1.0]),
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:upscale. the target is finer")
def test_conservation_wherever_cells_are_half_as_long(ratio, x, y, missing, seed, least):
    ds, a = coarse(missing, seed=seed), COARSE.affine
    cell = a.a / ratio
    target = GeoBox((61, 47), Affine(cell, 0, a.c + x * 4 * a.a, 0, -cell, a.f + (1 - 4 * y) * a.a), COARSE.crs)
    fine = downscale(ds, target, "conservative", min_valid=least)
    back = upscale(fine, COARSE, min_valid=0.0, valid_fraction=True)
    both = (back.soil_moisture.notnull() & ds.soil_moisture.notnull()).values
    # Of a coarse cell that the fine grid hardly reaches the mean is not promised: see the notes of `downscale`.
    reached = back.soil_moisture_valid_fraction.values[both] >= LEAST_SHARE
    can = satisfiable(fine.soil_moisture, target, both) & reached
    assert can.mean() > 0.5
    got, expected = back.soil_moisture.values[both], ds.soil_moisture.values[both]
    np.testing.assert_allclose(got[can], expected[can], rtol=1e-11)
    # Nothing is left out: a cell is valid where enough of it has a coarse value.
    known = upscale(ds, target, min_valid=max(least, 1e-9)).soil_moisture
    np.testing.assert_array_equal(fine.soil_moisture.isnull(), known.isnull())


def test_nested_grids_keep_every_value():
    fine = downscale(coarse(), "EASE2_M09km", "conservative").soil_moisture
    expected = np.kron(coarse().soil_moisture.values, np.ones((4, 4)))
    np.testing.assert_allclose(fine, expected, rtol=1e-14)


def test_a_constant_stays_constant():
    ds = coarse(0.3)
    ds["soil_moisture"] = ds.soil_moisture.where(ds.soil_moisture.isnull(), 0.25)
    for target in (FINE["latlon"], ALBERS):
        for method in METHODS:
            got = downscale(ds, target, method).soil_moisture.values
            np.testing.assert_allclose(got[~np.isnan(got)], 0.25, rtol=1e-13)


def test_near_one_to_one_stays_near():
    """Where coarse cells have no fine cells of their own it cannot be exact; it stays a mean of the neighbourhood."""
    ds = coarse(0.0)
    got = downscale(ds, latlon(0.3, 20, 25), "conservative").soil_moisture
    assert bool(got.notnull().all())
    assert float(np.abs(got - 25).max()) < 200


def test_the_fine_cells_of_a_globe():
    """Over the seam of a global axis, in either convention."""
    lon, lat = np.arange(-178.5, 180, 3.0), np.arange(58.5, -60, -3.0)
    ds = xr.Dataset({"v": (("lat", "lon"), field((lat.size, lon.size), missing=0.1))}, {"lat": lat, "lon": lon})
    target = ease_grid("EASE2_M36km", (150, -40, -160, 50))
    expected = downscale(ds, target, "conservative")
    back = upscale(expected, ds, min_valid=0.0).v
    both = (back.notnull() & ds.v.notnull()).values
    assert both.sum() > 400
    np.testing.assert_allclose(back.values[both], ds.v.values[both], rtol=1e-12)
    whole = downscale(ds, ease_grid("EASE2_M36km"), "conservative").v.values
    for rolled in (ds.assign_coords(lon=ds.lon % 360).sortby("lon"), ds.roll(lon=31, roll_coords=True)):
        for given_ds in (rolled, rolled.chunk(lon=50, lat=11)):
            got = downscale(given_ds, target, "conservative", chunks=23)
            np.testing.assert_array_equal(got.v, expected.v)
        got = downscale(rolled.chunk(lon=50), ease_grid("EASE2_M36km"), "conservative", chunks=(100, 321))
        np.testing.assert_array_equal(got.v, whole)


# -- outside oracles -------------------------------------------------------------------------------


def test_esmf(reference):
    """ESMF's bilinear follows great circles, so that it differs as its README says."""
    stored = xr.open_dataset(reference / "esmf" / "c_source_ease36.nc")
    expected = xr.open_dataset(reference / "esmf" / "c_target_latlon_0p1_nomask.nc")
    full = ease_grid("EASE2_M36km")
    box = GeoBox((22, 31), full.affine @ Affine.translation(183, 67), full.crs)
    ds = on(box, stored["field"].values)
    target = GeoBox((80, 120), Affine(0.1, 0, -112, 0, 0.1, 34), "EPSG:4326")
    got = downscale(ds, target).soil_moisture.values
    inside = np.zeros(target.shape, bool)
    inside[5:-5, 5:-5] = True
    known = inside & (expected["bilinear"].values != 0) & np.isfinite(expected["bilinear"].values)
    assert known.sum() > 5000
    np.testing.assert_allclose(got[known], expected["bilinear"].values[known], atol=1.5e-4)


def test_rasterio_agrees():
    """GDAL's bilinear and nearest in the interior of one CRS, where it does the same."""
    ds = on(COARSE, field(COARSE.shape)).rio.write_crs(6933)
    target = ease_grid("EASE2_M09km", (-106, 37, -103, 40))
    a = target.affine
    from rasterio.enums import Resampling

    for method, theirs in (("bilinear", Resampling.bilinear), ("nearest", Resampling.nearest)):
        peer = ds.soil_moisture.rio.reproject(6933, shape=target.shape, transform=a, resampling=theirs)
        np.testing.assert_allclose(downscale(ds, target, method).soil_moisture, peer, rtol=1e-6)


# -- properties ------------------------------------------------------------------------------------

SHOWN = {"latlon": FINE["latlon"], "albers": ALBERS, "nested": FINE["nested"]}


@settings(max_examples=40)
@given(
    method=st.sampled_from(list(METHODS)), target=st.sampled_from(list(SHOWN)), rows=st.integers(1, 30),
    columns=st.integers(1, 30), tile=st.integers(12, 60), dtype=st.sampled_from(["f4", "f8"]),
)  # fmt: skip
@example(method="conservative", target="albers", rows=1, columns=1, tile=5, dtype="f4")  # 5 s: not drawn forty times
@example(method="cubic", target="latlon", rows=1, columns=1, tile=5, dtype="f8")
def test_chunks_never_show(method, target, rows, columns, tile, dtype):
    ds = coarse(dtype=dtype)
    eager = downscale(ds, SHOWN[target], method)
    lazy = downscale(ds.chunk(y=rows, x=columns), SHOWN[target], method, chunks=tile)
    assert isinstance(lazy.soil_moisture.data, da.Array)
    xr.testing.assert_identical(lazy.compute(), eager)


@pytest.mark.parametrize("method", METHODS)
def test_orientation_never_shows(method):
    box = latlon(0.3, 20, 24)
    ds = on(box, field(box.shape, missing=0.1, dtype="f4"))
    for target in (ease_grid("EASE2_M09km", (-107, 36, -101, 41)), ALBERS):
        expected = downscale(ds, target, method)
        for flips in ({"latitude": -1}, {"longitude": -1}, {"latitude": -1, "longitude": -1}):
            flipped = ds.isel({dim: slice(None, None, step) for dim, step in flips.items()})
            xr.testing.assert_identical(downscale(flipped, target, method), expected)
            xr.testing.assert_identical(downscale(flipped.chunk(latitude=7), target, method).compute(), expected)


@pytest.mark.parametrize("method", METHODS)
def test_other_dimensions(method, no_compute):
    values = field((3, 2, *COARSE.shape), missing=0.1)
    ds = on(COARSE, values, lead=("time", "depth")).assign_coords(depth=[0.05, 0.2])
    lazy = downscale(ds.chunk(time=2, y=5), FINE["latlon"], method, chunks=(31, 40))
    eager = downscale(ds.transpose("y", "time", "x", "depth"), FINE["latlon"], method)
    assert lazy.soil_moisture.dims == ("time", "depth", "latitude", "longitude")
    assert lazy.soil_moisture.chunks[2:] == ((31, 29), (40, 30))
    single = downscale(ds.isel(time=2, depth=1), FINE["latlon"], method)
    assert set(single.coords) == {"latitude", "longitude", "spatial_ref", "depth"}
    for k in range(3):
        one = downscale(ds.isel(time=k), FINE["latlon"], method)
        np.testing.assert_array_equal(
            eager.soil_moisture.isel(time=k).transpose(*one.soil_moisture.dims), one.soil_moisture
        )
    np.testing.assert_array_equal(eager.soil_moisture.isel(time=2, depth=1), single.soil_moisture)


@pytest.mark.parametrize("method", METHODS)
def test_lazy_layers_are_the_eager_ones(method):
    values = field((3, 2, *COARSE.shape), missing=0.1)
    ds = on(COARSE, values, lead=("time", "depth"))
    lazy = downscale(ds.chunk(time=2, y=5), FINE["latlon"], method, chunks=31)
    xr.testing.assert_identical(lazy.compute(), downscale(ds, FINE["latlon"], method))


@pytest.mark.parametrize("method", METHODS)
def test_the_smallest_grids(method):
    one = COARSE[3:4, 5:6]
    ds = on(one, np.array([[7.0]]))
    got = downscale(ds, "EASE2_M09km", method).soil_moisture
    assert got.shape == (4, 4)
    expected = np.full((4, 4), np.nan if method == "cubic" else 7.0)
    if method == "bilinear":  # the corners have (5/8)^2 of the weight
        assert bool(
            downscale(ds, "EASE2_M09km", method, min_valid=0.4).soil_moisture.isel(x=[0, 3], y=[0, 3]).isnull().all()
        )
        got, expected = got.isel(x=[1, 2], y=[1, 2]), expected[1:3, 1:3]
    np.testing.assert_allclose(got, expected, rtol=1e-15)
    tiny = GeoBox((1, 1), Affine(500.0, 0, one.affine.c + 18_000, 0, -500, one.affine.f - 17_000), one.crs)
    got = downscale(ds, tiny, method).soil_moisture
    np.testing.assert_array_equal(got, np.nan if method == "cubic" else 7.0)
    empty = downscale(ds * np.nan, "EASE2_M09km", method).soil_moisture
    assert bool(empty.isnull().all())


def test_the_same_grid_changes_nothing():
    ds = coarse(0.2, "f4")
    for method in METHODS:
        np.testing.assert_array_equal(downscale(ds, ds, method).soil_moisture, ds.soil_moisture)


# -- metadata --------------------------------------------------------------------------------------


def test_attributes_grid_and_the_rest():
    ds = coarse()
    ds["station"] = ("site", [1, 2])
    ds["row_number"] = ("y", np.arange(COARSE.shape[0]))
    ds.attrs["title"] = "a map"
    before = ds.copy(deep=True)
    with pytest.warns(UserWarning, match="row_number"):
        got = downscale(ds, FINE["latlon"], "conservative")
    xr.testing.assert_identical(ds, before)
    assert set(got.data_vars) == {"soil_moisture", "station"}
    assert got.attrs == {"title": "a map"}
    assert got.soil_moisture.attrs == {"units": "m3 m-3", "cell_methods": "area: mean (comment: conservative)"}
    assert got.soil_moisture.encoding["grid_mapping"] == "spatial_ref"
    assert grid_of(got) == FINE["latlon"]
    assert downscale(ds.soil_moisture, FINE["latlon"]).soil_moisture.attrs["cell_methods"].startswith("area: point")


def test_a_grid_name_covers_the_source():
    ds = coarse()
    got = downscale(ds, "EASE2_M09km")
    assert got.sizes == {"y": 4 * COARSE.shape[0], "x": 4 * COARSE.shape[1]}
    part = downscale(ds, "EASE2_M09km", region=(-105, 37, -104, 38))
    same = got.sel(x=part.x, y=part.y, method="nearest")
    np.testing.assert_allclose(part.soil_moisture, same.soil_moisture, rtol=1e-9)


def test_whole_numbers_and_classes():
    ds = coarse()
    ds["texture_class"] = (("y", "x"), np.ones(COARSE.shape, "i1"), {"flag_values": np.arange(13, dtype="i1")})
    ds["count"] = (("y", "x"), np.full(COARSE.shape, 300, "i2"), {"_FillValue": np.int16(-1)})
    got = downscale(ds, FINE["nested"], {"texture_class": "nearest", "count": "nearest", "soil_moisture": "cubic"})
    assert got.texture_class.dtype == np.int8
    assert got["count"].dtype == np.int16
    assert got["count"].attrs["_FillValue"] == -1
    assert int(got["count"].max()) == 300
    assert got.soil_moisture.attrs["cell_methods"] == "area: point (comment: cubic)"
    got = downscale(ds[["count"]].astype("i2"), FINE["nested"], "conservative")
    assert got["count"].dtype == np.float64
    for method in ("bilinear", "cubic", "conservative"):
        with pytest.raises(ArgumentError, match=r"'texture_class' holds classes.*nearest"):
            downscale(ds, FINE["nested"], method)
    ds["quality"] = (("y", "x"), np.zeros(COARSE.shape, "u1"), {"flag_masks": np.array([1, 2], "u1")})
    with pytest.raises(ArgumentError, match="'quality' holds classes or flags"):
        downscale(ds[["quality"]], FINE["nested"], {"quality": "cubic"})
    flags = downscale(ds[["quality"]], FINE["nested"]).quality
    assert flags.dtype == np.uint8
    assert "_FillValue" not in flags.attrs


@pytest.mark.parametrize("method", METHODS)
def test_single_precision_stays(method):
    ds = coarse(dtype="f4")
    got = downscale(ds, FINE["latlon"], method).soil_moisture
    assert got.dtype == np.float32
    expected = downscale(ds.astype("f8"), FINE["latlon"], method).soil_moisture.astype("f4")
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("method", METHODS)
def test_a_coarser_target_works_with_a_warning(method):
    box = ease_grid("EASE2_M03km", (-106, 37, -105, 38))
    ds = on(box, field(box.shape))
    with pytest.warns(UserWarning, match="coarser.*`upscale`"):
        got = downscale(ds, "EASE2_M36km", method)
    if method == "conservative":
        np.testing.assert_allclose(got.soil_moisture, upscale(ds, "EASE2_M36km").soil_moisture, rtol=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        downscale(ds, "EASE2_M01km", method)


# -- faults ----------------------------------------------------------------------------------------


def test_faults_are_explained():
    ds = coarse()
    with pytest.raises(UnknownNameError, match=r"'linear'.*bilinear"):
        downscale(ds, "EASE2_M09km", "linear")
    with pytest.raises(MissingVariableError, match="'sand'"):
        downscale(ds, "EASE2_M09km", {"sand": "cubic"})
    with pytest.raises(ArgumentError, match="min_valid=2"):
        downscale(ds, "EASE2_M09km", min_valid=2)
    with pytest.raises(ArgumentError, match="region"):
        downscale(ds, FINE["latlon"], region="conus")
    with pytest.raises(ArgumentError, match="expected one of"):
        downscale(ds, FINE["latlon"], 3)
    with pytest.raises(NoOverlapError, match="overlap"):
        downscale(ds, ease_grid("EASE2_M09km", (100, 0, 105, 5)))
    with pytest.raises(CRSError, match="write_crs"):
        downscale(xr.Dataset({"v": (("y", "x"), np.ones((3, 3)))}, {"y": [3, 2, 1], "x": [1, 2, 3]}), "EASE2_M09km")
    with pytest.raises(UnknownNameError, match="EASE2_M09km"):
        downscale(ds, "EASE2_M9km")
