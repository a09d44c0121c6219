"""`apply_weights` and `save_weights`: stored ESMF weights and results, and round trips to `upscale`."""

from __future__ import annotations

import pickle
from functools import lru_cache

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from xsoil.errors import ArgumentError, GridMismatchError
from xsoil.grids.ease import EASE_GRIDS, ease_grid
from xsoil.grids.geobox import grid_of
from xsoil.verbs.apply_weights import apply_weights
from xsoil.verbs.save_weights import save_weights
from xsoil.verbs.upscale import upscale

LATLON = GeoBox((60, 70), Affine(1 / 30, 0, -106.5, 0, -1 / 30, 38.9), "EPSG:4326")
ALBERS = GeoBox((60, 60), Affine(1000.0, 0, -700_000, 0, -1000, 1_700_000), "EPSG:5070")
GLOBE = GeoBox((45, 90), Affine(4, 0, 0, 0, -4, 90), "EPSG:4326")
COARSE = GeoBox((30, 60), Affine(6, 0, -180, 0, 6, -90), "EPSG:4326")
EASE = {
    "36": EASE_GRIDS["EASE2_M36km"].window(67, 183, 22, 31),
    "9": EASE_GRIDS["EASE2_M09km"].window(268, 729, 89, 127),
}
BOX = GeoBox((80, 120), Affine(0.1, 0, -112, 0, 0.1, 34), "EPSG:4326")
STORED = [
    *[("a", "36", m) for m in ("conservative", "conservative_normed", "bilinear", "patch", "nearest_s2d")],
    *[("a", "9", m) for m in ("conservative", "bilinear")],
    *[("c", "latlon", m) for m in ("conservative", "bilinear", "nearest_s2d")],
]


def on(box, seed=0, missing=0.1, dtype="f8", lead=()):
    rng = np.random.default_rng(seed)
    values = rng.normal(25, 10, (*lead, *box.shape)).astype(dtype)
    values[rng.random(values.shape) < missing] = np.nan
    dims = (*("time", "depth")[: len(lead)], *box.dimensions)
    return xr.Dataset({"clay": (dims, values, {"units": "percent"})}, xr_coords(box))


@lru_cache
def case(folder, letter, grid, method):
    """Source, weight file, target and results of one stored case."""
    where = {"36": "ease36", "9": "ease9", "latlon": "latlon"}[grid]
    names = {"a": ("a_source_latlon_0p1", f"a_target_{where}"), "c": ("c_source_ease36", "c_target_latlon_0p1")}[letter]
    kind = "conservative" if method.startswith("conservative") else "point"
    source = xr.load_dataset(folder / f"{names[0]}.nc")[["field", "field_missing"]]
    if letter == "c":
        source = source.rio.write_crs("EPSG:6933")
    results = xr.merge(
        [
            xr.load_dataset(folder / f"{names[1]}_{part}.nc").drop_vars(["lat", "lon"], errors="ignore")
            for part in ("nomask", f"masked_{kind}")
        ],
        compat="override",
        combine_attrs="drop",
    )
    target = BOX if letter == "c" else EASE[grid]
    return source, folder / f"{letter}_weights_{where}_{method}.nc", target, results


# -- the stored weights and results of ESMF ----------------------------------------------------------


@pytest.mark.parametrize(("letter", "grid", "method"), STORED)
def test_stored_weights_give_the_stored_results(reference, letter, grid, method):
    """Bit for bit: without missing values, with, and for every threshold of xESMF."""
    source, path, target, results = case(reference / "esmf", letter, grid, method)
    plain = apply_weights(source, path, target)
    np.testing.assert_array_equal(plain.field, results[method])
    np.testing.assert_array_equal(plain.field_missing, results[f"{method}__nan"])
    thresholds = [name for name in results if name.startswith(f"{method}__skipna_t")]
    assert thresholds
    for name in thresholds:
        least = 1 - int(name[-3:]) / 100
        skipped = apply_weights(source[["field_missing"]], path, target, min_valid=least)
        np.testing.assert_array_equal(skipped.field_missing, results[name], err_msg=name)


@pytest.mark.parametrize("method", ["conservative", "conservative_normed"])
def test_weights_made_with_a_source_mask(reference, method):
    source, path, target, results = case(reference / "esmf", "a", "36", method)
    masked = path.with_name(f"{path.stem}__srcmask.nc")
    got = apply_weights(source[["field_missing"]], masked, target)
    np.testing.assert_array_equal(got.field_missing, results[f"{method}__srcmask"])


def test_weights_for_a_smaller_target(reference):
    """Their file has no coordinates, and fewer cells than the footprint of the source."""
    source, path, target, _ = case(reference / "esmf", "a", "36", "conservative")
    with pytest.raises(GridMismatchError, match="do not belong to these two grids"):
        apply_weights(source, path, "EASE2_M36km")
    assert grid_of(apply_weights(source, path, target)) == target


@pytest.mark.parametrize(
    ("letter", "grid", "largest"), [("a", "36", 1.1e-4), ("a", "9", 2e-5), ("c", "latlon", 1.5e-3)]
)
def test_exact_weights_against_those_of_esmf(reference, tmp_path, letter, grid, largest):
    """ESMF's cells have great circles for edges; the stored README explains the differences."""
    source, path, target, _ = case(reference / "esmf", letter, grid, "conservative")
    ours = xr.load_dataset(save_weights(tmp_path / "w.nc", source, target, corners=False))
    theirs = xr.load_dataset(path)
    cells, pairs = (
        target.shape[0] * target.shape[1],
        [(w.row.values - 1) * source.field.size + w.col.values for w in (ours, theirs)],
    )
    found, place = np.unique(np.concatenate(pairs), return_inverse=True)
    difference = np.abs(np.bincount(place, np.concatenate([ours.S, -theirs.S])))
    sums = [np.bincount(w.row - 1, w.S, minlength=cells) for w in (ours, theirs)]
    whole = (np.abs(sums[0] - 1) < 1e-9) & (np.abs(sums[1] - 1) < 1e-9)
    assert whole.sum() > 0.5 * cells
    assert difference[whole[(found - 1) // source.field.size]].max() < largest


# -- round trips -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["mean", "nearest", "bilinear"])
@pytest.mark.parametrize(
    ("source", "to"),
    [
        (LATLON, "EASE2_M36km"),
        (LATLON, "EASE2_M09km"),
        (GLOBE, COARSE),
        (ALBERS, "EASE2_M09km"),
        (GeoBox((30, 40), Affine(2000, 0, 1e6, 0, 2000, 2e6), "EPSG:5070"), "EASE2_M36km"),
        (ease_grid("EASE2_M09km", (178, -5, -178, 5)), ease_grid("EASE2_M36km", (179, -4, -179, 4))),
    ],
    ids=["latlon-36km", "latlon-9km", "globe", "albers-9km", "ascending-albers-36km", "dateline"],
)
def test_saved_weights_give_what_upscale_gives(tmp_path, source, to, how):
    ds = on(source)
    path = save_weights(tmp_path / "w.nc", ds, to, how)
    got = apply_weights(ds, path, to, min_valid=0.5, valid_fraction=True)
    expected = upscale(ds, to, how, valid_fraction=True)
    assert np.isfinite(expected.clay).any()
    np.testing.assert_allclose(got.clay, expected.clay, rtol=1e-12)
    np.testing.assert_allclose(
        got.clay_valid_fraction, expected.clay_valid_fraction, atol=1e-12 if how != "mean" else 1e-6
    )
    assert got.clay.dims == expected.clay.dims
    xr.testing.assert_identical(got.coords.to_dataset(), expected.coords.to_dataset())


def test_normed_weights_sum_to_one(tmp_path):
    ds = on(LATLON, missing=0)
    plain = xr.load_dataset(save_weights(tmp_path / "a.nc", ds, "EASE2_M36km"))
    normed = xr.load_dataset(save_weights(tmp_path / "b.nc", ds, "EASE2_M36km", normed=True))
    sums = [np.bincount(w.row - 1, w.S, minlength=w.sizes["n_b"]) for w in (plain, normed)]
    np.testing.assert_allclose(sums[0], plain.frac_b, rtol=1e-12)
    assert (sums[0] < 0.9).any()
    np.testing.assert_allclose(sums[1][sums[0] > 0], 1.0, rtol=1e-12)
    np.testing.assert_array_equal(normed.frac_b, plain.frac_b)
    assert (plain.normalization, normed.normalization) == ("destarea", "fracarea")
    np.testing.assert_allclose(
        apply_weights(ds, tmp_path / "b.nc", "EASE2_M36km").clay, upscale(ds, "EASE2_M36km", min_valid=0).clay
    )


@pytest.mark.parametrize("box", [LATLON, ALBERS], ids=["latlon", "albers"])
def test_saved_files_hold_what_esmf_files_hold(tmp_path, box):
    to = ease_grid("EASE2_M36km", box)
    path = save_weights(tmp_path / "w.nc", box, to)
    file = xr.load_dataset(path, decode_cf=False)
    assert {"row", "col", "S", "src_grid_dims", "dst_grid_dims", "frac_a", "frac_b", "mask_a", "mask_b"} <= set(file)
    assert {f"{v}_{side}" for v in ("xc", "yc", "xv", "yv", "area") for side in "ab"} <= set(file)
    assert file.row.dims == ("n_s",)
    assert (file.row.dtype, file.col.dtype, file.S.dtype) == ("i4", "i4", "f8")
    assert file.xv_a.dims == ("n_a", "nv_a")
    np.testing.assert_array_equal(file.src_grid_dims, box.shape[::-1])
    # Each cell of the source lies in the target whole: what leaves it arrives.
    # (Areas of sheared pixels and of their pieces are drawn in single precision.)
    np.testing.assert_allclose(file.frac_a, 1.0, rtol=1e-7 if box is LATLON else 5e-7)
    np.testing.assert_allclose((file.area_a * file.frac_a).sum(), (file.area_b * file.frac_b).sum(), rtol=1e-8)
    assert not list(tmp_path.glob(".*"))
    assert "xv_a" not in xr.load_dataset(save_weights(path, box, to, corners=False, overwrite=True))


# -- what xarray users expect ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights from LATLON to 36 km, with coordinates."""
    return save_weights(tmp_path_factory.mktemp("weights") / "w.nc", LATLON, "EASE2_M36km", corners=False)


def test_axes_may_run_the_other_way(weights):
    ds = on(LATLON, dtype="f4")
    expected = apply_weights(ds, weights, "EASE2_M36km")
    assert np.isfinite(expected.clay).any()
    for flips in ({"latitude": -1}, {"longitude": -1}, {"latitude": -1, "longitude": -1}):
        turned = ds.isel({dim: slice(None, None, step) for dim, step in flips.items()})
        xr.testing.assert_identical(apply_weights(turned, weights, "EASE2_M36km"), expected)


def test_a_target_may_run_the_other_way(weights):
    ds = on(LATLON)
    expected = apply_weights(ds, weights, "EASE2_M36km")
    upside_down = expected.isel(y=slice(None, None, -1))
    got = apply_weights(ds, weights, upside_down)
    np.testing.assert_array_equal(got.clay, upside_down.clay)
    np.testing.assert_allclose(got.y, upside_down.y, rtol=1e-14)


def test_an_object_as_target_keeps_its_coordinates(weights):
    ds = on(LATLON)
    like = upscale(ds, "EASE2_M36km")
    like = like.assign_coords(x=like.x + 1e-3)
    assert (apply_weights(ds, weights, like).x == like.x).all()


def test_longitudes_may_start_elsewhere(tmp_path):
    ds = on(GLOBE)
    path = save_weights(tmp_path / "w.nc", ds, COARSE)
    expected = apply_weights(ds, path, COARSE, min_valid=0)
    rolled = ds.roll(longitude=33, roll_coords=True)
    moved = ds.assign_coords(longitude=(ds.longitude + 180) % 360 - 180).sortby("longitude")
    for other in (rolled, moved):
        xr.testing.assert_identical(apply_weights(other, path, COARSE, min_valid=0), expected)
        lazy = apply_weights(other.chunk(longitude=11), path, COARSE, min_valid=0, chunks=7)
        xr.testing.assert_identical(lazy.compute(), expected)


@pytest.mark.parametrize("chunks", [{"latitude": 13, "longitude": 22, "time": 1}, {"latitude": -1}, {"longitude": 1}])
def test_chunks_never_show(weights, chunks, no_compute):
    ds = on(LATLON, dtype="f4", lead=(3, 2))
    expected = apply_weights(ds, weights, "EASE2_M36km", min_valid=0.2, valid_fraction=True)
    lazy = apply_weights(ds.chunk(chunks), weights, "EASE2_M36km", min_valid=0.2, valid_fraction=True, chunks=3)
    assert isinstance(lazy.clay.data, da.Array)
    with dask.config.set(scheduler="threads"):
        xr.testing.assert_identical(lazy.compute(), expected)
    assert expected.clay.dims == ("time", "depth", "y", "x")
    assert expected.clay.dtype == "f4"
    assert expected.clay.attrs["units"] == "percent"
    assert expected.clay.encoding["grid_mapping"] == "spatial_ref"


def test_graphs_hold_no_weights(tmp_path):
    path = save_weights(tmp_path / "w.nc", LATLON, "EASE2_M09km", corners=False)
    ds = on(LATLON)
    ds["clay"] = ds.clay.copy(data=da.zeros(tuple(LATLON.shape), chunks=20))
    lazy = apply_weights(ds, path, "EASE2_M09km", chunks=5)
    assert lazy.clay.data.npartitions > 20
    assert len(pickle.dumps(lazy.clay.data.dask)) < 0.1 * path.stat().st_size
    same = apply_weights(ds, path, "EASE2_M09km", chunks=5)
    assert same.clay.data.name == lazy.clay.data.name


def test_a_task_reads_only_the_blocks_it_needs(tmp_path):
    path = save_weights(tmp_path / "w.nc", LATLON, "EASE2_M09km", corners=False)
    seen = []

    def block(values, block_info=None):
        seen.append(block_info[None]["chunk-location"])
        return values

    ds = on(LATLON)
    ds["clay"] = ds.clay.copy(
        data=da.zeros(tuple(LATLON.shape), chunks=10).map_blocks(block, dtype="f8", meta=np.zeros((0, 0)))
    )
    seen.clear()
    lazy = apply_weights(ds, path, "EASE2_M09km", chunks=4)
    assert not seen
    lazy.clay[:4, :4].compute()
    assert 1 <= len(seen) <= 4


def test_classes_need_weights_that_pick_cells(tmp_path, weights):
    ds = on(LATLON)
    codes = np.arange(60 * 70, dtype="u1").reshape(60, 70) % 12 + 1
    ds["texture"] = (LATLON.dimensions, codes, {"flag_values": np.arange(13, dtype="u1"), "_FillValue": np.uint8(0)})
    with pytest.raises(ArgumentError, match=r"'texture' holds classes.*how='mode'"):
        apply_weights(ds, weights, "EASE2_M36km")
    path = save_weights(tmp_path / "n.nc", LATLON, "EASE2_M36km", "nearest", corners=False)
    picked = apply_weights(ds[["texture"]], path, "EASE2_M36km").texture
    expected = upscale(ds[["texture"]], "EASE2_M36km", "nearest").texture
    assert picked.dtype == "u1"
    assert (picked == 0).any()
    np.testing.assert_array_equal(picked, expected)
    assert picked.attrs["_FillValue"] == 0


def test_integers_become_floats_and_nodata_is_missing(weights):
    values = np.full(LATLON.shape, 40, "i2")
    values[:20] = -9999
    ds = xr.Dataset({"clay": (LATLON.dimensions, values, {"_FillValue": np.int16(-9999)})}, xr_coords(LATLON))
    got = apply_weights(ds, weights, "EASE2_M36km", min_valid=0.5).clay
    assert got.dtype == "f8"
    assert np.isnan(got).any()
    np.testing.assert_allclose(got.values[np.isfinite(got)], 40)


def test_user_objects_are_left_alone(weights):
    ds = on(LATLON)
    before = ds.copy(deep=True)
    apply_weights(ds, weights, "EASE2_M36km")
    xr.testing.assert_identical(ds, before)


@pytest.mark.parametrize("format", ["NETCDF3_64BIT", "NETCDF4"])
def test_files_of_scrip(tmp_path, weights, format):
    """Other names, radians, weights in a table, and big-endian numbers of classic netCDF."""
    with xr.open_dataset(weights, decode_cf=False) as file:
        file = file.load()
    scrip = xr.Dataset(
        {
            "dst_address": ("num_links", file.row.values),
            "src_address": ("num_links", file.col.values),
            "remap_matrix": (("num_links", "num_wgts"), file.S.values[:, None]),
            "src_grid_dims": ("src_grid_rank", file.src_grid_dims.values),
            "dst_grid_dims": ("dst_grid_rank", file.dst_grid_dims.values),
        },
        attrs={"map_method": "Conservative remapping", "normalization": "destarea"},
    )
    for ours, theirs in (("a", "src"), ("b", "dst")):
        for axis, name in (("yc", "lat"), ("xc", "lon")):
            values = np.radians(file[f"{axis}_{ours}"].values)
            scrip[f"{theirs}_grid_center_{name}"] = (f"{theirs}_grid_size", values, {"units": "radians"})
    scrip.to_netcdf(tmp_path / "scrip.nc", format=format)
    ds = on(LATLON).isel(latitude=slice(None, None, -1))
    got = apply_weights(ds, tmp_path / "scrip.nc", "EASE2_M36km")
    assert got.clay.attrs["regrid_method"] == "Conservative remapping"
    np.testing.assert_array_equal(got.clay, apply_weights(ds, weights, "EASE2_M36km").clay)


def test_a_name_is_the_whole_grid_where_the_file_says_so(tmp_path):
    ds = on(LATLON)
    path = save_weights(tmp_path / "w.nc", ds, EASE_GRIDS["EASE2_M36km"].geobox, corners=False)
    whole = apply_weights(ds, path, "EASE2_M36km")
    assert whole.clay.shape == (406, 964)
    expected = upscale(ds, EASE_GRIDS["EASE2_M36km"].geobox, min_valid=0).clay
    valid = np.isfinite(whole.clay)
    assert valid.any()
    np.testing.assert_allclose(whole.clay.values[valid], (expected.values * _covered(ds, whole))[valid], rtol=1e-12)


def _covered(ds, like):
    """Covered part of each cell: unnormalised weights dilute the mean by it."""
    ones = ds.clay.fillna(1.0).to_dataset()
    return upscale(ones, grid_of(like), min_valid=0, valid_fraction=True).clay_valid_fraction.values
