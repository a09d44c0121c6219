"""What holds for every operator of `upscale`: chunks, orientation, splitting, order of means, conservation."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from maps import HOWS, REGION, classes, field, latlon, on, options, suit
from odc.geo.geobox import GeoBox

from xsoil.grids.ease import ease_grid
from xsoil.verbs.upscale import upscale

ALBERS = GeoBox((60, 60), Affine(1000.0, 0, -700_000, 0, -1000, 1_700_000), "EPSG:5070")
KINDS = ("separable", "sheared")


def a_map(kind: str, how: str, dtype="f4") -> xr.Dataset:
    """A map in either relation to EASE-Grid 2.0 Global, with values that suit the operator."""
    ds = latlon(dtype=dtype) if kind == "separable" else on(ALBERS, field(ALBERS.shape, missing=0.1, dtype=dtype))
    return suit(ds, how)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=6)
@given(
    rows=st.integers(1, 60), columns=st.integers(5, 70), tile=st.integers(1, 30), dtype=st.sampled_from(["f4", "f8"])
)
def test_chunks_never_show(kind, how, rows, columns, tile, dtype):
    ds = a_map(kind, how, dtype)
    y, x = ds.clay.dims
    eager = upscale(ds, "EASE2_M09km", how, valid_fraction=True, **options(how))
    lazy = upscale(
        ds.chunk({y: rows, x: columns}), "EASE2_M09km", how, valid_fraction=True, chunks=tile, **options(how)
    )
    assert isinstance(lazy.clay.data, da.Array)
    xr.testing.assert_identical(lazy.compute(), eager)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_computed_while_building(kind, how, no_compute):
    ds = a_map(kind, how).chunk()
    out = upscale(ds, "EASE2_M09km", how, valid_fraction=True, **options(how))
    assert out.clay.chunks is not None
    assert out.clay.dtype == ("f8" if how == "fraction" else "f4")
    assert out.clay_valid_fraction.dtype == "f8"


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("kind", KINDS)
def test_orientation_never_shows(kind, how):
    ds = a_map(kind, how)
    y, x = ds.clay.dims
    expected = upscale(ds, "EASE2_M09km", how, **options(how))
    for flips in ({y: slice(None, None, -1)}, {x: slice(None, None, -1)}, dict.fromkeys((y, x), slice(None, None, -1))):
        flipped = ds.isel(flips)
        xr.testing.assert_identical(upscale(flipped, "EASE2_M09km", how, **options(how)), expected)
        lazy = upscale(flipped.chunk({y: 13, x: 20}), "EASE2_M09km", how, **options(how))
        xr.testing.assert_identical(lazy.compute(), expected)


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
@pytest.mark.parametrize("target", ["EASE2_M36km", "EASE2_N36km"])
@pytest.mark.filterwarnings("ignore:upscale. the target is finer")
def test_global_longitudes_in_any_convention(target, how):
    lon, lat = np.arange(-178.5, 180, 3.0), np.arange(88.5, -90, -3.0)
    if target == "EASE2_N36km":
        lat, target = lat[:20], ease_grid(target, (-180, 60, 180, 90))[:100, :150]
    values = field((lat.size, 120), missing=0.1)
    ds = suit(xr.Dataset({"clay": (("lat", "lon"), values)}, {"lat": lat, "lon": lon}), how)
    expected = upscale(ds, target, how, **options(how))
    east = ds.assign_coords(lon=ds.lon % 360).sortby("lon")
    rolled = ds.roll(lon=31, roll_coords=True)
    for other in (east, rolled, east.chunk(lon=50, lat=11), rolled.chunk(lon=50)):
        found = upscale(other, target, how, **options(how))
        if isinstance(target, str):
            np.testing.assert_array_equal(found.clay, expected.clay)
        else:  # groups of a sheared overlap follow the stored order
            np.testing.assert_allclose(found.clay, expected.clay, rtol=1e-13)
    if isinstance(target, str):
        assert (expected.sizes["y"], expected.sizes["x"]) == (406, 964)


def test_across_the_dateline():
    """A source in 0-360 longitudes meets the same cells as its halves in +-180."""
    lon, lat = np.arange(170.25, 190, 0.5), np.arange(9.75, -10, -0.5)
    ds = xr.Dataset({"v": (("lat", "lon"), field((lat.size, lon.size)))}, {"lat": lat, "lon": lon})
    got = upscale(ds, "EASE2_M36km", "sum")
    assert got.x.max() > 17367530
    whole = upscale(ds, ease_grid("EASE2_M36km"), "sum")
    assert float(whole.v.sum()) == pytest.approx(float(ds.v.sum()), rel=1e-12)
    assert float(got.v.sum()) == pytest.approx(float(ds.v.sum()), rel=1e-12)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("kind", KINDS)
def test_layers_come_first_and_each_is_as_if_alone(kind, how):
    base = a_map(kind, how)
    y, x = base.clay.dims
    times = xr.IndexVariable("time", np.arange(17))
    stack = xr.concat(
        [base.clay.copy(data=np.roll(base.clay.values, k, axis=1)) for k in range(17)], times
    ).to_dataset()
    more = options(how)
    for ds in (stack.transpose(y, "time", x), stack.transpose(x, y, "time").chunk({"time": 5, y: 17})):
        got = upscale(ds, "EASE2_M09km", how, valid_fraction=True, **more).compute()
        assert got.clay.dims == ("time", *(("clay_class",) if how == "fraction" else ()), "y", "x")
        for k in (0, 7, 16):
            alone = upscale(stack.isel(time=k), "EASE2_M09km", how, valid_fraction=True, **more)
            xr.testing.assert_identical(got.isel(time=k), alone)


@given(seed=st.integers(0, 50), missing=st.sampled_from([0.0, 0.3, 1.0]))
@settings(max_examples=15)
def test_conservation_and_bounds(seed, missing):
    box = ease_grid("EASE2_M03km", REGION)
    ds = on(box, field(box.shape, seed, missing))
    total = upscale(ds, "EASE2_M36km", "sum")
    assert float(total.clay.sum()) == pytest.approx(float(ds.clay.sum()), rel=1e-12, abs=1e-9)
    mean = upscale(ds, "EASE2_M36km", min_valid=0.0, valid_fraction=True)
    weight = mean.clay_valid_fraction * 144
    assert float((mean.clay * weight).sum()) == pytest.approx(float(ds.clay.sum()), rel=1e-12, abs=1e-9)
    low, high = (upscale(ds, "EASE2_M36km", how, min_valid=0.0).clay for how in ("min", "max"))
    inside = (low <= mean.clay + 1e-12) & (mean.clay <= high + 1e-12)
    assert bool((inside | mean.clay.isnull()).all())


def test_the_area_integral_is_conserved_between_any_aligned_grids():
    """Latitude-longitude cells have their own areas; mean x valid fraction x cell area adds up to the same."""
    ds = latlon(missing=0.2)
    edges = np.radians(38.9 - np.arange(61) / 30)
    e2 = 0.0066943799901413165
    s, e = np.sin(edges), np.sqrt(e2)
    q = (1 - e2) * (s / (1 - e2 * s * s) + np.arctanh(e * s) / e)
    area = 6378137.0**2 / 2 * np.radians(1 / 30) * -np.diff(q)
    mean = upscale(ds, "EASE2_M09km", min_valid=0.0, valid_fraction=True)
    total = float((mean.clay * mean.clay_valid_fraction).sum()) * 9008.055210146**2
    assert total == pytest.approx(float((ds.clay * area[:, None]).sum()), rel=1e-11)
    assert float(upscale(ds, "EASE2_M09km", "sum").clay.sum()) == pytest.approx(float(ds.clay.sum()), rel=1e-12)


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_coarse_of_coarse_is_coarse(missing):
    """1 to 3 to 9 to 36 km, and straight from 1 to 36 km; the published cell sizes nest to 1e-13."""
    box = ease_grid("EASE2_M01km", ease_grid("EASE2_M36km", (-106, 37.5, -105, 38)))
    ds = on(box, field(box.shape, missing=missing))
    whole = {"min_valid": 0.0, "valid_fraction": True}
    total, amount, share = ds.clay, ds.clay.fillna(0.0), ds.clay.notnull().astype(float)
    for name in ("EASE2_M03km", "EASE2_M09km", "EASE2_M36km"):
        total, amount, share = (
            upscale(v.to_dataset(name="clay"), name, how, min_valid=0.0).clay
            for v, how in ((total, "sum"), (amount, "mean"), (share, "mean"))
        )
    straight = upscale(ds, "EASE2_M36km", "mean", **whole)
    np.testing.assert_allclose(total, upscale(ds, "EASE2_M36km", "sum").clay, rtol=1e-11)
    np.testing.assert_allclose(share, straight.clay_valid_fraction, rtol=1e-11)
    np.testing.assert_allclose(amount / share, straight.clay, rtol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_order_of_quantiles_and_means(kind):
    ds = suit(a_map(kind, "geometric", "f8"), "geometric")

    def up(how, **more):
        return upscale(ds, "EASE2_M09km", how, min_valid=0.0, **more).clay.values

    rising = [up("min"), *(up("quantile", q=q) for q in (0.0, 0.1, 0.5, 0.9, 1.0)), up("max")]
    means = [up("min"), up("harmonic"), up("geometric"), up("mean"), up("power", p=2), up("max")]
    known = ~np.isnan(rising[0])
    assert known.sum() > 40
    for series in (rising, means):
        for low, high in zip(series, series[1:]):
            np.testing.assert_array_equal(np.isnan(low), ~known)
            assert (low[known] <= high[known] * (1 + 1e-12)).all()
    np.testing.assert_array_equal(up("median"), up("quantile", q=0.5))
    np.testing.assert_allclose(up("power", p=1), up("mean"), rtol=1e-12)
    np.testing.assert_allclose(up("power", p=-1), up("harmonic"), rtol=1e-12)
    np.testing.assert_allclose(up("std") ** 2 + up("mean") ** 2, up("power", p=2) ** 2, rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=4)
@given(seed=st.integers(0, 9), number=st.sampled_from([1, 2, 6, 200]))
def test_mode_is_one_of_the_values_and_shares_add_up(kind, seed, number):
    base = a_map(kind, "mean")
    ds = base.copy()
    ds["clay"] = base.clay.copy(data=classes(base.clay.shape, seed, 0.1, number, "f4"))
    mode = upscale(ds, "EASE2_M09km", "mode", min_valid=0.0).clay
    share = upscale(ds, "EASE2_M09km", "fraction", min_valid=0.0).clay
    known = mode.notnull()
    assert bool((known == share.notnull().all("clay_class")).all())
    np.testing.assert_allclose(share.sum("clay_class").values[known], 1.0, rtol=1e-12)
    of_mode = share.sel(clay_class=mode.where(known, ds.clay.min()).astype("f4"))
    best = share.max("clay_class")
    np.testing.assert_allclose(of_mode.values[known], best.values[known], rtol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["mean", "median", "quantile", "mode", "harmonic", "geometric", "power", "min", "max"])
def test_a_constant_stays_constant(kind, how):
    ds = a_map(kind, "mean", "f8")
    ds["clay"] = ds.clay.where(ds.clay.isnull(), 7.25)
    got = upscale(ds, "EASE2_M09km", how, min_valid=0.0, **options(how)).clay.values
    assert (~np.isnan(got)).sum() > 40
    np.testing.assert_allclose(got[~np.isnan(got)], 7.25, rtol=1e-12)


@pytest.mark.parametrize("how", HOWS[:12])
def test_min_valid_is_inclusive(how):
    box = ease_grid("EASE2_M09km", ease_grid("EASE2_M36km", REGION))
    values = np.ones(box.shape)
    values[::2] = np.nan
    ds, more = on(box, values), options(how)
    assert upscale(ds, "EASE2_M36km", how, min_valid=0.5, **more).clay.notnull().all()
    assert upscale(ds, "EASE2_M36km", how, min_valid=0.51, **more).clay.isnull().all()
    assert upscale(ds, "EASE2_M36km", how, **more).clay.notnull().all()
    with_one = ds * np.nan
    with_one.clay.values[0, 0] = 1.0
    only = upscale(with_one, "EASE2_M36km", how, min_valid=0.0, **more).clay
    assert int(only.notnull().sum()) == 1
    left = upscale(with_one, "EASE2_M36km", how, **more).clay.notnull().sum()
    assert int(left) == (1 if how == "sum" else 0)


def test_infinities_stay_where_they_are():
    ds = latlon(missing=0.0)
    ds["clay"] = ds.clay.copy(data=ds.clay.values)
    ds.clay.values[30, 30] = np.inf
    got = upscale(ds, "EASE2_M09km").clay
    assert 1 <= int(np.isinf(got).sum()) <= 4
    assert int(got.isnull().sum()) == int(upscale(latlon(missing=0.0), "EASE2_M09km").clay.isnull().sum())
