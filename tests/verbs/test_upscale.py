"""`upscale`: polygons, ESMF and stored values as oracles; chunking, orientation and metadata."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import rioxarray  # noqa: F401  (registers .rio)
import shapely
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from pyproj import Transformer

from xsoil.errors import (
    ArgumentError,
    AxisError,
    CRSError,
    MissingVariableError,
    NodataError,
    NoOverlapError,
    UnknownNameError,
)
from xsoil.grids.ease import ease_grid
from xsoil.grids.geobox import grid_of
from xsoil.verbs.upscale import upscale

HOWS = ("mean", "sum", "min", "max", "nearest")

REGION = (-106.2, 37.1, -104.4, 38.6)


def field(shape, seed=0, missing=0.0, dtype="f8"):
    rng = np.random.default_rng(seed)
    values = rng.normal(25, 10, shape).astype(dtype)
    values[rng.random(shape) < missing] = np.nan
    return values


def latlon(n=60, m=70, step=1 / 30, north=38.9, west=-106.5, missing=0.1, dtype="f8", name="clay"):
    lat, lon = north - step * (np.arange(n) + 0.5), west + step * (np.arange(m) + 0.5)
    values = field((n, m), missing=missing, dtype=dtype)
    return xr.Dataset({name: (("lat", "lon"), values, {"units": "percent"})}, {"lat": lat, "lon": lon})


def on(box, values, name="clay"):
    return xr.Dataset({name: (box.dimensions, values, {"units": "percent"})}, xr_coords(box))


def polygons(box, crs, points=8):
    """Cells of a geobox in another CRS, with edges densified in their own."""
    rows, columns = box.shape
    t = np.linspace(0, 1, points + 1)[:-1]
    ring_c = np.concatenate([t, np.ones(points), 1 - t, np.zeros(points)])
    ring_r = np.concatenate([np.zeros(points), t, np.ones(points), 1 - t])
    row, column = np.mgrid[0:rows, 0:columns]
    c, r = column.ravel()[:, None] + ring_c, row.ravel()[:, None] + ring_r
    a = box.affine
    x, y = Transformer.from_crs(box.crs, crs, always_xy=True).transform(a.a * c + a.c, a.e * r + a.f)
    return shapely.polygons(np.stack([x, y], axis=-1))


def oracle(source, values, target, working="EPSG:6933"):
    """mean, sum, min, max and valid fraction by polygon intersection, and how close min and max are to call."""
    ours, theirs = polygons(source, working), polygons(target, working)
    tree = shapely.STRtree(ours)
    flat = values.ravel()
    out = {k: np.full(len(theirs), np.nan) for k in ("mean", "sum", "min", "max", "fraction", "margin")}
    for i, cell in enumerate(theirs):
        hits = tree.query(cell)
        area = shapely.area(shapely.intersection(ours[hits], cell))
        whole = shapely.area(ours[hits])
        keep = area > 1e-9 * np.minimum(whole, cell.area)
        hits, area, whole = hits[keep], area[keep], whole[keep]
        valid = ~np.isnan(flat[hits])
        out["fraction"][i] = area[valid].sum() / cell.area
        if valid.any():
            v, w = flat[hits][valid], area[valid]
            out["mean"][i] = (v * w).sum() / w.sum()
            out["sum"][i] = (v * w / whole[valid]).sum()
            out["min"][i], out["max"][i] = v.min(), v.max()
            out["margin"][i] = min(w[v.argmin()], w[v.argmax()]) / cell.area
    return {k: v.reshape(target.shape) for k, v in out.items()}


def check(source_ds, target, working="EPSG:6933", rtol=1e-9):
    source = grid_of(source_ds)
    expected = oracle(source, source_ds.clay.values, target, working)
    for how in ("mean", "sum", "min", "max"):
        got = upscale(source_ds, target, how, min_valid=0.0, valid_fraction=True)
        decided = expected["margin"] > 1e-6 if how in ("min", "max") else expected["fraction"] > 1e-6
        scale = np.abs(expected[how][decided]).max()  # a sum is as exact as the areas, also where it is small
        np.testing.assert_allclose(
            got.clay.values[decided], expected[how][decided], rtol=rtol, atol=rtol * scale, err_msg=how
        )
        np.testing.assert_allclose(got.clay_valid_fraction, expected["fraction"], atol=max(rtol, 1e-9))


# -- oracles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["EASE2_M09km", "EASE2_M25km"])
def test_latlon_to_ease_is_exact(name):
    check(latlon(), ease_grid(name, REGION))


def test_latlon_to_latlon_is_exact():
    target = GeoBox((7, 9), Affine(0.21, 0, -106.31, 0, -0.19, 38.7), "EPSG:4326")
    check(latlon(), target)


def test_ease_to_latlon_is_exact():
    box = ease_grid("EASE2_M09km", REGION)
    target = GeoBox((5, 6), Affine(0.31, 0, -106.3, 0, -0.29, 38.7), "EPSG:4326")
    check(on(box, field(box.shape, missing=0.1)), target)


def test_same_equal_area_crs_is_exact():
    box = GeoBox((40, 50), Affine(1000, 0, 4_000_500, 0, -1000, 3_000_700), "EPSG:3035")
    target = GeoBox((9, 11), Affine(4300, 0, 4_001_100, 0, -4100, 2_999_000), "EPSG:3035")
    check(on(box, field(box.shape, missing=0.1)), target, "EPSG:3035")


@pytest.mark.parametrize(
    ("crs", "left", "top", "cell"),
    [
        ("EPSG:5070", -700_000, 1_700_000, 1000.0),
        ("EPSG:32613", 420_000, 4_230_000, 1000.0),
        ("+proj=sinu +R=6371007.181 +units=m +type=crs", -9_360_000, 4_250_000, 926.625433),
        ("ESRI:54052", -10_080_000, 4_240_000, 1000.0),
    ],
)
def test_sheared_to_ease(crs, left, top, cell):
    box = GeoBox((60, 60), Affine(cell, 0, left, 0, -cell, top), crs)
    ds = on(box, field(box.shape, missing=0.1))
    x, y = xr_centre(box)
    target = ease_grid("EASE2_M09km", (x - 0.15, y - 0.15, x + 0.15, y + 0.15))
    check(ds, target, rtol=1e-6)


def xr_centre(box):
    a = box.affine
    middle = a.c + a.a * box.shape[1] / 2, a.f + a.e * box.shape[0] / 2
    return Transformer.from_crs(box.crs, 4326, always_xy=True).transform(*middle)


def test_stored_regrid_table(reference):
    """Values computed by an independent program on a small ellipsoidal case."""
    values = np.loadtxt(reference / "physics" / "regrid_source_values.csv", delimiter=",")
    lat = 60 - 20 / 46 * (np.arange(46) + 0.5)
    lon = -10 + 20 / 60 * (np.arange(60) + 0.5)
    ds = xr.Dataset({"v": (("lat", "lon"), values)}, {"lat": lat, "lon": lon})
    target = GeoBox((5, 7), Affine(20 / 7, 0, -10, 0, -4, 60), "EPSG:4326")
    table = np.genfromtxt(
        reference / "physics" / "regrid_result.csv", delimiter=",", names=True, dtype=None, encoding="utf-8"
    )
    seen = 0
    for how in ("mean", "sum", "min", "max", "nearest"):
        for least in np.unique(table["min_valid"]):
            rows = table[(table["op"] == how) & (table["min_valid"] == least)]
            if rows.size == 0:
                continue
            got = upscale(ds, target, how, min_valid=float(least), valid_fraction=True)
            at = (rows["row"], rows["col"])
            np.testing.assert_allclose(got.v.values[at], rows["value"], rtol=1e-9)
            if how != "nearest":
                np.testing.assert_allclose(got.v_valid_fraction.values[at], rows["valid_fraction"], atol=1e-9)
            seen += rows.size
    assert seen >= 140


@pytest.mark.parametrize(("name", "tolerance"), [("ease36", 5e-5), ("ease9", 2e-6)])
def test_esmf(reference, name, tolerance):
    """ESMF's conservative_normed; its edges are great circles, so that it differs as its README says."""
    source = xr.open_dataset(reference / "esmf" / "a_source_latlon_0p1.nc")
    stored = xr.open_dataset(reference / "esmf" / f"a_target_{name}_nomask.nc")
    row, column, grid = {"ease36": (67, 183, "EASE2_M36km"), "ease9": (268, 729, "EASE2_M09km")}[name]
    box = ease_grid(grid)
    target = GeoBox(stored["conservative"].shape, box.affine @ Affine.translation(column, row), box.crs)
    ds = xr.Dataset(
        {"field": (("lat", "lon"), source["field"].values)},
        {"lat": 34.05 + 0.1 * np.arange(80), "lon": -111.95 + 0.1 * np.arange(120)},
    )
    got = upscale(ds, target, min_valid=0.0, valid_fraction=True)
    covered = got.field_valid_fraction.values > 1 - 1e-9
    assert covered.sum() > 300
    np.testing.assert_allclose(got.field.values[covered], stored["conservative"].values[covered], atol=tolerance)


def test_nearest_is_half_open():
    """A centre on the edge between two cells belongs to the one with the higher coordinate."""
    ds = xr.Dataset(
        {"clay": (("lat", "lon"), np.arange(16.0).reshape(4, 4))}, {"lat": [4, 3, 2, 1], "lon": [1, 2, 3, 4]}
    )
    target = GeoBox((2, 2), Affine(2, 0, 0.5, 0, -2, 4.5), "EPSG:4326")  # centres at 1.5, 3.5: edges of the source
    np.testing.assert_array_equal(upscale(ds, target, "nearest").clay, [[1 + 0, 3 + 0], [9, 11]])


# -- properties ------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    how=st.sampled_from(HOWS),
    rows=st.integers(1, 60),
    columns=st.integers(1, 70),
    tile=st.integers(1, 30),
    dtype=st.sampled_from(["f4", "f8"]),
)
def test_chunks_never_show(how, rows, columns, tile, dtype):
    ds = latlon(dtype=dtype)
    eager = upscale(ds, "EASE2_M09km", how, valid_fraction=True)
    lazy = upscale(ds.chunk(lat=rows, lon=columns), "EASE2_M09km", how, valid_fraction=True, chunks=tile)
    assert isinstance(lazy.clay.data, da.Array)
    xr.testing.assert_identical(lazy.compute(), eager)


@settings(max_examples=10)
@given(rows=st.integers(5, 60), tile=st.integers(3, 30), how=st.sampled_from(HOWS))
def test_chunks_never_show_on_sheared_grids(rows, tile, how):
    box = GeoBox((60, 60), Affine(1000.0, 0, -700_000, 0, -1000, 1_700_000), "EPSG:5070")
    ds = on(box, field(box.shape, missing=0.1, dtype="f4"))
    eager = upscale(ds, "EASE2_M09km", how, valid_fraction=True)
    lazy = upscale(ds.chunk(y=rows, x=17), "EASE2_M09km", how, valid_fraction=True, chunks=tile)
    xr.testing.assert_identical(lazy.compute(), eager)


@pytest.mark.parametrize("how", HOWS)
def test_orientation_never_shows(how):
    ds = latlon(dtype="f4")
    expected = upscale(ds, "EASE2_M09km", how)
    for flipped in (
        ds.isel(lat=slice(None, None, -1)),
        ds.isel(lon=slice(None, None, -1)),
        ds.isel(lat=slice(None, None, -1), lon=slice(None, None, -1)),
    ):
        xr.testing.assert_identical(upscale(flipped, "EASE2_M09km", how), expected)
        xr.testing.assert_identical(upscale(flipped.chunk(lat=13, lon=20), "EASE2_M09km", how).compute(), expected)


def test_a_transform_without_coordinates_turns_with_the_data():
    ds = latlon(dtype="f4").rename(lat="y", lon="x").rio.write_crs("EPSG:4326")
    expected = upscale(ds, "EASE2_M09km")
    bare = ds.isel(y=slice(None, None, -1))
    bare = bare.rio.write_transform(bare.rio.transform(recalc=True)).drop_vars(["x", "y"])
    before = bare.copy(deep=True)
    np.testing.assert_allclose(upscale(bare, "EASE2_M09km").clay, expected.clay, rtol=1e-6)
    xr.testing.assert_identical(bare, before)


def test_one_row_turned_over():
    """A single row that declares an ascending resolution is the same row."""
    ds = latlon(1, 40)
    ds.lat.attrs["resolution"] = -1 / 30
    turned = ds.copy(deep=True)
    turned.lat.attrs["resolution"] = 1 / 30
    xr.testing.assert_identical(upscale(turned, "EASE2_M09km"), upscale(ds, "EASE2_M09km"))
    assert turned.lat.attrs["resolution"] == 1 / 30


@pytest.mark.parametrize("how", HOWS)
def test_global_longitudes_in_any_convention(how):
    lon, lat = np.arange(-178.5, 180, 3.0), np.arange(88.5, -90, -3.0)
    ds = xr.Dataset({"v": (("lat", "lon"), field((60, 120), missing=0.1))}, {"lat": lat, "lon": lon})
    expected = upscale(ds, "EASE2_M36km", how)
    assert expected.sizes == {"y": 406, "x": 964}
    east = ds.assign_coords(lon=ds.lon % 360).sortby("lon")
    rolled = ds.roll(lon=31, roll_coords=True)
    for other in (east, rolled, east.chunk(lon=50, lat=11), rolled.chunk(lon=50)):
        np.testing.assert_array_equal(upscale(other, "EASE2_M36km", how).v, expected.v)


def test_across_the_dateline():
    """A source in 0-360 longitudes meets the same cells as its halves in +-180."""
    lon, lat = np.arange(170.25, 190, 0.5), np.arange(9.75, -10, -0.5)
    ds = xr.Dataset({"v": (("lat", "lon"), field((lat.size, lon.size)))}, {"lat": lat, "lon": lon})
    got = upscale(ds, "EASE2_M36km", "sum")
    assert got.x.max() > 17367530
    whole = upscale(ds, ease_grid("EASE2_M36km"), "sum")
    assert float(whole.v.sum()) == pytest.approx(float(ds.v.sum()), rel=1e-12)
    assert float(got.v.sum()) == pytest.approx(float(ds.v.sum()), rel=1e-12)


@given(seed=st.integers(0, 50), missing=st.sampled_from([0.0, 0.3, 1.0]))
@settings(max_examples=15)
def test_conservation_and_bounds(seed, missing):
    box = ease_grid("EASE2_M03km", REGION)
    ds = on(box, field(box.shape, seed, missing))
    total = upscale(ds, "EASE2_M36km", "sum")
    assert float(total.clay.sum()) == pytest.approx(float(ds.clay.sum()), rel=1e-12, abs=1e-9)
    mean = upscale(ds, "EASE2_M36km", min_valid=0.0, valid_fraction=True)
    weight = mean.clay_valid_fraction * 144
    assert float((mean.clay * weight).sum()) == pytest.approx(float(ds.clay.sum()), rel=1e-9, abs=1e-9)
    low, high = (upscale(ds, "EASE2_M36km", how, min_valid=0.0).clay for how in ("min", "max"))
    inside = (low <= mean.clay + 1e-12) & (mean.clay <= high + 1e-12)
    assert bool((inside | mean.clay.isnull()).all())


def test_nested_grids_give_the_plain_mean():
    box = ease_grid("EASE2_M09km", ease_grid("EASE2_M36km", REGION))
    ds = on(box, field(box.shape))
    got = upscale(ds, "EASE2_M36km")
    np.testing.assert_allclose(got.clay, ds.clay.coarsen(y=4, x=4).mean(), rtol=1e-12)


def test_a_constant_stays_constant():
    ds = latlon(missing=0.2)
    ds["clay"] = ds.clay.where(ds.clay.isnull(), 7.25)
    got = upscale(ds, "EASE2_M09km", min_valid=0.0).clay.values
    np.testing.assert_allclose(got[~np.isnan(got)], 7.25, rtol=1e-14)


def test_min_valid_is_inclusive():
    box = ease_grid("EASE2_M09km", ease_grid("EASE2_M36km", REGION))
    values = np.ones(box.shape)
    values[::2] = np.nan
    ds = on(box, values)
    assert upscale(ds, "EASE2_M36km", min_valid=0.5).clay.notnull().all()
    assert upscale(ds, "EASE2_M36km", min_valid=0.51).clay.isnull().all()
    assert upscale(ds, "EASE2_M36km").clay.notnull().all()
    assert upscale(ds * np.nan, "EASE2_M36km", min_valid=0.0).clay.isnull().all()


def test_infinities_stay_where_they_are():
    ds = latlon(missing=0.0)
    ds["clay"] = ds.clay.copy(data=ds.clay.values)
    ds.clay.values[30, 30] = np.inf
    got = upscale(ds, "EASE2_M09km").clay
    assert 1 <= int(np.isinf(got).sum()) <= 4
    assert int(got.isnull().sum()) == int(upscale(latlon(missing=0.0), "EASE2_M09km").clay.isnull().sum())


# -- laziness and metadata -------------------------------------------------------------------------


def test_nothing_is_computed_while_building(no_compute):
    ds = latlon().chunk(lat=10, lon=10)
    out = upscale(ds, "EASE2_M09km", valid_fraction=True)
    assert out.clay.dtype == np.dtype("f8")


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


def test_extra_dimensions_come_first_and_match_each_layer():
    base = latlon(dtype="f4")
    stack = xr.concat([base, base + 1, base * 2], xr.IndexVariable("time", [0, 1, 2])).transpose("lat", "time", "lon")
    expected = upscale(base, "EASE2_M09km")
    for ds in (stack, stack.chunk(time=2, lat=17)):
        got = upscale(ds, "EASE2_M09km").compute()
        assert got.clay.dims == ("time", "y", "x")
        np.testing.assert_array_equal(got.clay.isel(time=0), expected.clay)
        np.testing.assert_allclose(got.clay.isel(time=1), expected.clay + 1, rtol=1e-5)


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


# -- faults ----------------------------------------------------------------------------------------


def test_faults():
    ds = latlon()
    with pytest.raises(UnknownNameError, match="unknown grid 'EASE2_M9km'; did you mean 'EASE2_M09km'"):
        upscale(ds, "EASE2_M9km")
    with pytest.raises(UnknownNameError, match="unknown operator 'men'; did you mean 'mean'"):
        upscale(ds, "EASE2_M09km", "men")
    with pytest.raises(UnknownNameError, match="unknown engine 'gdl'"):
        upscale(ds, "EASE2_M09km", engine="gdl")
    with pytest.raises(ArgumentError, match="'topsoil' holds classes or flags"):
        upscale(ds.rename(clay="topsoil"), "EASE2_M09km")
    with pytest.raises(MissingVariableError, match="'silt'"):
        upscale(ds, "EASE2_M09km", {"silt": "max"})
    with pytest.raises(ArgumentError, match="min_valid=2"):
        upscale(ds, "EASE2_M09km", min_valid=2)
    with pytest.raises(ArgumentError, match="region goes with the name"):
        upscale(ds, ease_grid("EASE2_M09km", REGION), region="conus")
    for wrong in (-3, (4,), 2.5):
        for source in (ds, ds.chunk()):
            with pytest.raises(ArgumentError, match="chunks="):
                upscale(source, "EASE2_M09km", chunks=wrong)
    with pytest.raises(ArgumentError, match="classes or flags, which have no mean"):
        upscale(ds.clay.assign_attrs(flag_values=[1, 2]).to_dataset(), "EASE2_M09km")
    with pytest.raises(NoOverlapError, match="do not overlap"):
        upscale(ds, ease_grid("EASE2_M36km", (10, 40, 20, 50)))
    with pytest.raises(CRSError, match="no CRS"):
        upscale(ds.rename(lat="y", lon="x"), "EASE2_M09km")
    with pytest.raises(AxisError, match="shuffled"):
        upscale(ds.isel(lat=[3, 1, 2]), "EASE2_M09km")
    with pytest.raises(AxisError, match="more than a full turn"):
        upscale(
            xr.Dataset({"v": (("lat", "lon"), np.zeros((3, 361)))}, {"lat": [2, 1, 0], "lon": np.arange(361)}),
            "EASE2_M36km",
        )
    with pytest.raises(NodataError, match="contradicting nodata"):
        upscale(ds.clay.assign_attrs(_FillValue=-9999.0, missing_value=-1.0).to_dataset(), "EASE2_M09km")
