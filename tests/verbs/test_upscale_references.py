"""`upscale` against stored values of other programs: a table, ESMF, and GDAL where GDAL is right."""

from __future__ import annotations

import numpy as np
import odc.geo.xr  # noqa: F401  (registers .odc)
import pytest
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from affine import Affine
from maps import HOWS, REGION, classes, field, on, options
from odc.geo.geobox import GeoBox
from polygons import Overlaps, sampled

from xsoil.grids.ease import ease_grid
from xsoil.verbs.upscale import upscale

TABLE = ("mean", "sum", "min", "max", "median", "mode", "harmonic", "geometric", "nearest", "bilinear", "cubic")


def table_grids():
    lat = 60 - 20 / 46 * (np.arange(46) + 0.5)
    lon = -10 + 20 / 60 * (np.arange(60) + 0.5)
    return lat, lon, GeoBox((5, 7), Affine(20 / 7, 0, -10, 0, -4, 60), "EPSG:4326")


@pytest.mark.parametrize("how", TABLE)
def test_stored_regrid_table(reference, how):
    """Values computed by an independent program on a small ellipsoidal case."""
    lat, lon, target = table_grids()
    kind = "classes" if how == "mode" else "values"
    values = np.loadtxt(reference / "physics" / f"regrid_source_{kind}.csv", delimiter=",")
    ds = xr.Dataset({"v": (("lat", "lon"), values)}, {"lat": lat, "lon": lon})
    table = np.genfromtxt(
        reference / "physics" / "regrid_result.csv", delimiter=",", names=True, dtype=None, encoding="utf-8"
    )
    table = table[table["op"] == {"cubic": "bicubic"}.get(how, how)]
    seen = 0
    for least in np.unique(table["min_valid"]):
        rows = table[table["min_valid"] == least]
        got = upscale(ds, target, how, min_valid=float(least), valid_fraction=True)
        at = (rows["row"], rows["col"])
        np.testing.assert_allclose(got.v.values[at], rows["value"], rtol=1e-9)
        if how in HOWS[:12]:
            np.testing.assert_allclose(got.v_valid_fraction.values[at], rows["valid_fraction"], atol=1e-9)
        seen += rows.size
    assert seen == (35 if how in ("nearest", "bilinear", "cubic") else 105)


@pytest.mark.parametrize("how", [*TABLE, "quantile", "std", "power", "fraction"])
def test_the_oracle_itself_gives_the_table(reference, how):
    """The polygons that judge all else are judged by the table, and on the operators that it lacks agree with it."""
    lat, lon, target = table_grids()
    source = GeoBox((46, 60), Affine(20 / 60, 0, -10, 0, -20 / 46, 60), "EPSG:4326")
    kind = "classes" if how in ("mode", "fraction") else "values"
    values = np.loadtxt(reference / "physics" / f"regrid_source_{kind}.csv", delimiter=",")
    table = np.genfromtxt(
        reference / "physics" / "regrid_result.csv", delimiter=",", names=True, dtype=None, encoding="utf-8"
    )
    rows = table[(table["op"] == {"cubic": "bicubic"}.get(how, how)) & (table["min_valid"] == 0.5)]
    if how in ("nearest", "bilinear", "cubic"):
        want = sampled(how, source, values, target)
    else:
        parameter = {"median": 0.5, "quantile": 0.3, "power": 2.0, "fraction": np.arange(1.0, 5)}.get(how)
        rule = "quantile" if how == "median" else how
        want = Overlaps.of(source, target).answer(rule, values, parameter, exact=True)
    if not rows.size:
        ds = xr.Dataset({"v": (("lat", "lon"), values)}, {"lat": lat, "lon": lon})
        got = upscale(ds, target, how, min_valid=0.0, **(options(how) if how != "power" else {"p": 2.0})).v.values
        np.testing.assert_allclose(got[..., want.decided], want.value[..., want.decided], rtol=1e-9, atol=1e-12)
        return
    value = np.where(want.fraction >= 0.5, want.value, np.nan) if how != "bilinear" else want.value
    np.testing.assert_allclose(value[rows["row"], rows["col"]], rows["value"], rtol=1e-9)


ESMF = {
    ("a", "ease36"): (67, 183, "EASE2_M36km", 5e-5),
    ("a", "ease9"): (268, 729, "EASE2_M09km", 2e-6),
}
POINT_TOLERANCE = {"ease36": 6e-6, "ease9": 8e-6, "latlon_0p1": 6e-5}
"""ESMF's bilinear draws great circles between centres: differences of its README."""


def esmf_case(reference, name):
    """Source map, target grid and stored results of a case; its missing disc as NaN on request."""
    if name == "latlon_0p1":
        source = xr.open_dataset(reference / "esmf" / "c_source_ease36.nc")
        target = GeoBox((80, 120), Affine(0.1, 0, -112, 0, 0.1, 34), "EPSG:4326")
        box = ease_grid("EASE2_M36km")
        stored = "c_target_latlon_0p1"
        return source, box, target, stored, 2.5e-4
    row, column, grid, tolerance = ESMF["a", name]
    source = xr.open_dataset(reference / "esmf" / "a_source_latlon_0p1.nc")
    shape = xr.open_dataset(reference / "esmf" / f"a_target_{name}_nomask.nc")["conservative"].shape
    box = ease_grid(grid)
    target = GeoBox(shape, box.affine @ Affine.translation(column, row), box.crs)
    return source, None, target, f"a_target_{name}", tolerance


def esmf_map(source, box, values):
    if box is None:
        lat, lon = 34.05 + 0.1 * np.arange(80), -111.95 + 0.1 * np.arange(120)
        return xr.Dataset({"field": (("lat", "lon"), values)}, {"lat": lat, "lon": lon})
    return on(box[67 : 67 + values.shape[0], 183 : 183 + values.shape[1]], values, "field")


@pytest.mark.parametrize("name", ["ease36", "ease9", "latlon_0p1"])
@pytest.mark.filterwarnings("ignore:upscale. the target is finer")
def test_esmf_conservative(reference, name):
    """ESMF's conservative_normed; its edges are great circles, so that it differs as its README says."""
    source, box, target, stored, tolerance = esmf_case(reference, name)
    plain = xr.open_dataset(reference / "esmf" / f"{stored}_nomask.nc")
    got = upscale(esmf_map(source, box, source["field"].values), target, min_valid=0.0, valid_fraction=True)
    covered = got.field_valid_fraction.values > 1 - 1e-9
    assert covered.sum() > 300
    np.testing.assert_allclose(got.field.values[covered], plain["conservative"].values[covered], atol=tolerance)
    # Missing cells: skipna with na_thres 1 is our mean of what is there, 0.5 is our min_valid=0.5.
    masked = xr.open_dataset(reference / "esmf" / f"{stored}_masked_conservative.nc")
    ds = esmf_map(source, box, source["field_missing"].values)
    for least, variant in ((0.0, "skipna_t100"), (0.5, "skipna_t050"), (0.75, "skipna_t025")):
        found = upscale(ds, target, min_valid=least, valid_fraction=True)
        f, theirs = found.field_valid_fraction.values, masked[f"conservative__{variant}"].values
        clear = covered & (np.abs(f - least) > 0.01) & ((f == 0) | (f > 0.01))
        # What is left of a cell is small beside the difference of the edges.
        np.testing.assert_array_equal(np.isnan(found.field.values)[clear], np.isnan(theirs)[clear])
        both = clear & ~np.isnan(theirs)
        error = np.abs(found.field.values - theirs)[both] * f[both]
        assert error.max() < 3 * tolerance
    assert (covered & (f > 0.01) & (f < 0.99)).sum() > 10


@pytest.mark.parametrize("name", ["ease36", "ease9", "latlon_0p1"])
@pytest.mark.filterwarnings("ignore:upscale. the target is finer")
def test_esmf_points(reference, name):
    """bilinear in the source's coordinates; nearest where no other centre is about as near."""
    source, box, target, stored, _ = esmf_case(reference, name)
    plain = xr.open_dataset(reference / "esmf" / f"{stored}_nomask.nc")
    ds = esmf_map(source, box, source["field"].values)
    if "bilinear" in plain:
        found, theirs = upscale(ds, target, "bilinear", min_valid=1.0).field.values, plain["bilinear"].values
        both = ~np.isnan(found) & ~np.isnan(theirs) & (theirs != 0)
        assert both.sum() > 300
        tolerance = POINT_TOLERANCE[name] if box is None else 2e-4  # that of EPSG:6933, as the source is in it
        np.testing.assert_allclose(found[both], theirs[both], atol=tolerance)
    if "nearest_s2d" in plain:
        found, theirs = upscale(ds, target, "nearest").field.values, plain["nearest_s2d"].values
        both = ~np.isnan(found) & ~np.isnan(theirs)
        assert (found == theirs)[both].mean() > 0.97


def test_nearest_is_half_open():
    """A centre on the edge between two cells belongs to the one with the higher coordinate."""
    ds = xr.Dataset(
        {"clay": (("lat", "lon"), np.arange(16.0).reshape(4, 4))}, {"lat": [4, 3, 2, 1], "lon": [1, 2, 3, 4]}
    )
    target = GeoBox((2, 2), Affine(2, 0, 0.5, 0, -2, 4.5), "EPSG:4326")  # centres at 1.5, 3.5: edges of the source
    np.testing.assert_array_equal(upscale(ds, target, "nearest").clay, [[1 + 0, 3 + 0], [9, 11]])


def test_nested_grids_give_the_plain_mean():
    box = ease_grid("EASE2_M09km", ease_grid("EASE2_M36km", REGION))
    ds = on(box, field(box.shape))
    got = upscale(ds, "EASE2_M36km")
    np.testing.assert_allclose(got.clay, ds.clay.coarsen(y=4, x=4).mean(), rtol=1e-12)


@pytest.mark.parametrize(
    ("how", "gdal"),
    [("mean", "average"), ("min", "min"), ("max", "max"), ("median", "med"), ("mode", "mode"), ("sum", "sum"),
     ("power", "rms"), ("quantile", "q1")],
)  # fmt: skip
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_gdal_on_nested_grids(how, gdal, missing):
    """Where cells nest GDAL is right. Its med and quartiles take one of the two in the middle, so cells are 3 x 3."""
    box = GeoBox((30, 36), Affine(1000, 0, 4_000_000, 0, -1000, 3_000_000), "EPSG:3035")
    target = GeoBox((10, 12), Affine(3000, 0, 4_000_000, 0, -3000, 3_000_000), "EPSG:3035")
    values = classes(box.shape, 1, missing, 3) if how == "mode" else np.abs(field(box.shape, 1, missing))
    ds = on(box, values.astype("f4"))
    ds.clay.attrs["nodata"] = np.nan
    more = {"power": {"p": 2.0}, "quantile": {"q": 0.25}}.get(how, {})
    found = upscale(ds, target, how, min_valid=0.0, **more).clay.values
    theirs = ds.clay.odc.reproject(target, resampling=gdal).values
    clear = np.ones(target.shape, bool)
    known = np.isfinite(values).reshape(10, 3, 12, 3).sum(axis=(1, 3))
    if how == "median":
        clear = known % 2 == 1
    if how == "quantile":  # GDAL interpolates between the ranks
        clear = known == 9
    if how == "mode":  # of several GDAL takes the first that it meets
        counts = np.stack([(values == k).reshape(10, 3, 12, 3).sum(axis=(1, 3)) for k in (1, 2, 3)])
        top = np.sort(counts, axis=0)
        clear = top[-1] > top[-2]
    assert clear.sum() > 10
    np.testing.assert_allclose(found[clear], theirs[clear], rtol=1e-6)
