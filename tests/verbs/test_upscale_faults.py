"""What `upscale` refuses, and what becomes missing with a flag."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from maps import REGION, field, latlon, on, options
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from xsoil.errors import (
    ArgumentError,
    AxisError,
    CRSError,
    MissingVariableError,
    NodataError,
    NoOverlapError,
    UnknownNameError,
)
from xsoil.grids.crs import draws_pole_as_arc
from xsoil.grids.ease import ease_grid
from xsoil.verbs.downscale import downscale
from xsoil.verbs.upscale import upscale


def relabelled(**attrs) -> xr.Dataset:
    return latlon().clay.assign_attrs(attrs).to_dataset()


def drawn(values) -> xr.Dataset:
    return xr.Dataset({"clay": (("lat", "lon"), values)}, latlon().coords)


NINE = "EASE2_M09km"

FAULTS = {
    "grid": (UnknownNameError, "unknown grid 'EASE2_M9km'; did you mean 'EASE2_M09km'", latlon, "EASE2_M9km", {}),
    "how": (UnknownNameError, "unknown operator 'men'; did you mean 'mean'", latlon, NINE, {"how": "men"}),
    "no how": (ArgumentError, "found None; expected one of", latlon, NINE, {"how": None}),
    "engine": (UnknownNameError, "unknown engine 'gdl'", latlon, NINE, {"engine": "gdl"}),
    "a class by its name": (
        ArgumentError, "'topsoil' holds classes or flags", lambda: latlon().rename(clay="topsoil"), NINE, {}
    ),
    **{
        f"{how} of a class": (
            ArgumentError, f"classes or flags, which have no {how}", lambda: relabelled(flag_values=[1, 2]), NINE,
            {"how": how, **options(how)},
        )
        for how in (
            "mean", "sum", "median", "quantile", "std", "harmonic", "geometric", "power", "bilinear", "cubic"
        )
    },
    "absent variable": (MissingVariableError, "'silt'", latlon, NINE, {"how": {"silt": "max"}}),
    "min_valid": (ArgumentError, "min_valid=2", latlon, NINE, {"min_valid": 2}),
    "min_valid of NaN": (ArgumentError, "min_valid=nan", latlon, NINE, {"min_valid": np.nan}),
    "region beside a grid": (
        ArgumentError, "region goes with the name", latlon, ease_grid(NINE, REGION), {"region": "conus"}
    ),
    "no overlap": (NoOverlapError, "do not overlap", latlon, ease_grid("EASE2_M36km", (10, 40, 20, 50)), {}),
    "no CRS": (CRSError, "no CRS", lambda: latlon().rename(lat="y", lon="x"), NINE, {}),
    "shuffled": (AxisError, "shuffled", lambda: latlon().isel(lat=[3, 1, 2]), NINE, {}),
    "uneven": (AxisError, "not evenly spaced", lambda: latlon().isel(lat=[1, 2, 4, 5]), NINE, {}),
    "more than a turn": (
        AxisError, "more than a full turn",
        lambda: xr.Dataset({"v": (("lat", "lon"), np.zeros((3, 361)))}, {"lat": [2, 1, 0], "lon": np.arange(361)}),
        "EASE2_M36km", {},
    ),
    "two nodata": (
        NodataError, "contradicting nodata", lambda: relabelled(_FillValue=-9999.0, missing_value=-1.0), NINE, {}
    ),
    "no q": (ArgumentError, "how='quantile' needs q=", latlon, NINE, {"how": "quantile"}),
    "q above 1": (ArgumentError, "q=1.2; expected a number, 0 to 1", latlon, NINE, {"how": "quantile", "q": 1.2}),
    "q for a mean": (ArgumentError, "q=0.5 goes with how='quantile'", latlon, NINE, {"q": 0.5}),
    "no p": (ArgumentError, "how='power' needs p=", latlon, NINE, {"how": "power"}),
    "p of 0": (ArgumentError, "p=0; expected a number, not 0", latlon, NINE, {"how": "power", "p": 0}),
    "p of NaN": (ArgumentError, "p=nan", latlon, NINE, {"how": "power", "p": np.nan}),
    "p as text": (ArgumentError, "p='2'", latlon, NINE, {"how": "power", "p": "2"}),
    "dates": (
        ArgumentError, "expected numbers", lambda: drawn(np.zeros((60, 70), "M8[ns]")), NINE, {"how": "max"}
    ),
    "too many classes": (ArgumentError, "classes; how='fraction' expects 1 to 256", latlon, NINE, {"how": "fraction"}),
    "classes unknown": (
        ArgumentError, "flag_values", lambda: latlon().chunk(lat=10), NINE, {"how": "fraction"}
    ),
    "no grid": (ArgumentError, "has no grid", latlon, None, {}),
    "transform of no area": (
        AxisError, "cannot be inverted",
        lambda: on(GeoBox((3, 3), Affine(1000, 1000, 0, 1000, 1000, 0), "EPSG:3035"), np.ones((3, 3))), NINE, {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_faults(name):
    error, message, source, target, arguments = FAULTS[name]
    with pytest.raises(error, match=message):
        upscale(source(), target, **arguments)


@pytest.mark.parametrize("wrong", [-3, (4,), 2.5])
@pytest.mark.parametrize("lazy", [False, True])
def test_chunks_that_are_none(wrong, lazy):
    with pytest.raises(ArgumentError, match="chunks="):
        upscale(latlon().chunk() if lazy else latlon(), NINE, chunks=wrong)


def test_a_finer_target_works_with_a_warning_that_names_downscale():
    with pytest.warns(UserWarning, match=r"target is finer than the source.*`downscale`"):
        out = upscale(latlon(missing=0.0), "EASE2_M01km")
    assert float(out.clay.max()) == pytest.approx(float(latlon(missing=0.0).clay.max()))


NESTED = ease_grid(NINE, ease_grid("EASE2_M36km", REGION))


@pytest.mark.parametrize(
    ("how", "parameter", "of_zero"),
    [("harmonic", None, 0.0), ("geometric", None, 0.0), ("power", -2.0, 0.0), ("power", 2.0, None)],
)
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4"])
def test_negatives_and_zeros_in_power_means(how, parameter, of_zero, lazy, dtype):
    """A negative makes its cell missing, with a flag, and no other; a zero is the limit of the mean."""
    values = np.random.default_rng(0).integers(1, 50, NESTED.shape).astype(dtype)
    values[1, 1], values[2, 9] = -3, 0
    if dtype != "i4":
        values[3, 13] = np.nan
    ds = on(NESTED, values)
    more = {} if parameter is None else {"p": parameter}
    got = upscale(ds.chunk(y=3, x=5) if lazy else ds, "EASE2_M36km", how, **more).compute()
    assert np.isnan(got.clay[0, 0])
    assert int(got.clay.isnull().sum()) == 1
    np.testing.assert_array_equal(got.clay_quality, got.clay.isnull())
    assert got.clay_quality.dtype == np.uint8
    assert got.clay_quality.attrs["flag_meanings"] == "negative_value overflow"
    block = values[:4, 8:12].astype(float)
    if of_zero is None:
        of_zero = np.mean(block**2) ** 0.5
    assert float(got.clay[0, 2]) == pytest.approx(of_zero)


@pytest.mark.parametrize("lazy", [False, True])
def test_flags_of_an_earlier_step_stay(lazy):
    values = np.abs(field(NESTED.shape)) + 1
    values[0, 0], values[-1, -1] = -1.0, np.nan
    first = upscale(on(NESTED, values), "EASE2_M09km", "geometric")
    again = on(NESTED, np.where(values < 0, 2.0, values)).assign(clay_quality=first.clay_quality)
    again.clay.values[-1, -1] = -4.0
    for order in (["clay", "clay_quality"], ["clay_quality", "clay"]):
        ds = again[order].chunk() if lazy else again[order]
        got = upscale(ds, "EASE2_M36km", {"clay": "geometric"}).compute()
        assert int(got.clay_quality.sum()) == int(got.clay_quality[0, 0] + got.clay_quality[-1, -1]) == 2
        assert got.clay_quality.attrs["flag_meanings"] == "negative_value overflow"
        assert got.clay_quality.dtype == np.uint8


def test_names_that_are_taken():
    ds = latlon().assign(clay_valid_fraction=latlon().clay)
    with pytest.raises(ArgumentError, match="has 'clay_valid_fraction' already"):
        upscale(ds, NINE, valid_fraction=True)


def test_a_negative_counts_however_little_of_it_overlaps():
    ds = latlon(missing=0.0)
    values = np.abs(ds.clay.values) + 1
    values[30, 30] = -1.0
    ds["clay"] = ds.clay.copy(data=values)
    got = upscale(ds, NINE, "geometric")
    touched = upscale(ds, NINE, "min").clay < 0
    assert 1 <= int(touched.sum()) <= 4
    np.testing.assert_array_equal(got.clay_quality == 1, touched)


def test_values_at_the_ends_of_the_range():
    for value in (1e-300, 1e300, 5e-324):
        ds = drawn(np.full((60, 70), value))
        for how in ("mean", "min", "median", "mode", "geometric"):
            found = upscale(ds, NINE, how, min_valid=1.0).clay
            known = found.values[found.notnull()]
            assert known.size > 300
            np.testing.assert_allclose(known, value, rtol=1e-11)


@pytest.mark.parametrize("how", ["mean", "max", "median", "quantile", "mode", "std", "geometric", "harmonic"])
def test_infinities(how):
    """An infinite value shows in the cells that it overlaps, and in no other; rank and share are those of any value."""
    values = np.abs(field(NESTED.shape)) + 1
    values[1, 1] = np.inf
    ds = on(NESTED, values)
    finite = upscale(on(NESTED, np.where(np.isinf(values), 1e9, values)), "EASE2_M36km", how, **options(how)).clay
    got = upscale(ds, "EASE2_M36km", how, **options(how)).clay
    others = np.ones(got.shape, bool)
    others[0, 0] = False
    np.testing.assert_array_equal(got.values[others], finite.values[others])
    if how in ("mean", "max", "geometric"):
        assert np.isposinf(got[0, 0])
    elif how == "std":
        assert not np.isfinite(got[0, 0])
    else:
        assert float(got[0, 0]) == pytest.approx(float(finite[0, 0]), rel=1e-6)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"])
def test_missing_cells_of_integers_hold_what_is_declared(dtype):
    values = np.arange(4200).reshape(60, 70) % 7
    for declared in (None, np.iinfo(dtype).max - 1):
        ds = drawn(values.astype(dtype))
        if declared is not None:
            ds.clay.attrs["_FillValue"] = np.dtype(dtype).type(declared)
        for how in ("max", "nearest", "mode"):
            for source in (ds, ds.chunk(lat=7, lon=9)):
                got = upscale(source, NINE, how).compute().clay
                fill = got.attrs["_FillValue"]
                gone = upscale(drawn(values.astype("f8")), NINE, how).clay.isnull().values
                assert 0 < gone.sum() < gone.size
                assert fill.dtype == got.dtype == np.dtype(dtype)
                assert (got.values[gone] == fill).all()
                assert (got.values[~gone] < 7).all()


def test_a_rotated_grid_keeps_its_transform():
    """odc-geo gives rotated grids coordinates that count pixels; the GeoTransform says where those are."""
    turned = Affine.translation(-200_000, 1_700_000) @ Affine.rotation(30) @ Affine.scale(1000, -1000)
    box = GeoBox((40, 50), turned, "EPSG:5070")
    values = field(box.shape)
    ds = xr.Dataset({"clay": (box.dimensions, values)}, xr_coords(box))
    xr.testing.assert_equal(upscale(ds, NINE), upscale(on(box, values), NINE))


def test_a_pole_drawn_as_an_arc():
    """Albers of the states makes 24,000 km of the pole: told, wherever source and target both hold it."""
    polar = GeoBox((8, 8), Affine(30000, 0, -120000, 0, -30000, 120000), "EPSG:6931")
    globe = GeoBox((18, 36), Affine(10, 0, -180, 0, -10, 90), "EPSG:4326")
    arctic = GeoBox((19, 18), Affine(111000, 0, 2425307, 0, -111000, 8833596), "EPSG:5070")
    for source, target, told in (
        (polar, arctic, True), (globe, arctic, True),
        (globe, GeoBox((9, 9), Affine(5e5, 0, -2e6, 0, -5e5, 3e6), "EPSG:5070"), False),  # far from the pole
        (polar, ease_grid("EASE2_M36km"), False), (polar, ease_grid("EASE2_N36km"), False), (globe, globe, False),
        (GeoBox((8, 8), Affine(1, 0, -100, 0, -1, 50), "EPSG:4326"), arctic, False),
    ):  # fmt: skip
        assert draws_pole_as_arc(source, target) is told
    ds = xr.Dataset({"clay": (("y", "x"), np.ones((8, 8)))}, xr_coords(polar, crs_coord_name="spatial_ref"))
    ds.clay.attrs["units"] = "percent"
    with pytest.warns(UserWarning, match="draws the pole as an arc"):
        upscale(ds, arctic)


def test_pixels_beyond_the_pole_are_cut_there():
    """ERA5's first row is centred on the pole."""
    lat, lon = np.arange(90.0, 59.0, -1.0), np.arange(0.0, 360.0)
    ds = xr.Dataset({"v": (("lat", "lon"), np.ones((lat.size, lon.size)))}, {"lat": lat, "lon": lon})
    out = upscale(ds, ease_grid("EASE2_N36km", (-180, 85, 180, 90)), valid_fraction=True)
    np.testing.assert_allclose(out.v, 1.0, rtol=1e-12)
    np.testing.assert_allclose(out.v_valid_fraction, 1.0, atol=1e-4)


@pytest.mark.parametrize("start", [0.05, -179.95])
def test_a_global_axis_in_single_precision(start):
    """0.05 ... 359.95 as float32 spans a full turn but for rounding."""
    lat, lon = (89.95 - 0.1 * np.arange(1800)).astype("f4"), (start + 0.1 * np.arange(3600)).astype("f4")
    ds = xr.Dataset({"v": (("lat", "lon"), np.ones((1800, 3600), "f4"))}, {"lat": lat, "lon": lon})
    out = upscale(ds, "EASE2_M36km", valid_fraction=True)
    assert out.v.shape == (406, 964)
    np.testing.assert_allclose(out.v_valid_fraction, 1.0, atol=1e-6)


@pytest.mark.parametrize("verb", [upscale, downscale])
def test_longitudes_in_grads_are_refused(verb):
    """They were taken for degrees: cells of 0.1 grad were wrong by 1e-5, maps beyond 90 grad empty."""
    grads = GeoBox((8, 10), Affine(0.1, 0, -0.2, 0, -0.1, 52.3), "EPSG:4807")
    plane = GeoBox((8, 10), Affine(9000, 0, 210000, 0, -9000, 5340000), "EPSG:6933")
    for source, target in ((grads, plane), (plane, grads)):
        ds = xr.Dataset({"clay": (source.dimensions, np.ones((8, 10)))}, xr_coords(source)).chunk()
        with pytest.raises(CRSError, match=r"NTF \(Paris\)' counts in grad; expected degrees"):
            verb(ds, target)
    lambert = GeoBox((8, 10), Affine(9000, 0, 560000, 0, -9000, 2240000), "EPSG:27572")  # metres, on that datum
    ds = xr.Dataset({"clay": (lambert.dimensions, np.ones((8, 10)))}, xr_coords(lambert))
    assert (verb(ds, plane).clay == 1).any()
