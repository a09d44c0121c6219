"""Folds by class, by blocks with a buffer, and regions left out."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from xsoil.errors import ArgumentError
from xsoil.evaluation import Split
from xsoil.grids.ease import ease_grid


def sites(n=300, seed=0):
    rng = np.random.default_rng(seed)
    classes = rng.choice(["loam", "sand", "clay"], n, p=[0.8, 0.15, 0.05]).astype(object)
    classes[:4] = np.nan
    return xr.Dataset(
        {"theta": ("site", np.zeros(n)), "texture": ("site", classes)},
        {
            "site": np.arange(n),
            "lat": ("site", rng.uniform(25, 49, n)),
            "lon": ("site", rng.uniform(-125, -67, n)),
        },
    )


def distance(ds, a, b):
    """Kilometres from each cell of `a` to the nearest of `b`."""
    phi, lam = np.radians(ds.lat.values), np.radians(ds.lon.values)
    points = np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], -1)
    return 6371.0072 * np.arccos(np.clip(points[a.values] @ points[b.values].T, -1, 1)).min(axis=1)


def test_every_fold_has_its_share_of_each_class():
    ds = sites()
    folds = Split.folds(ds, 5, seed=1, stratify=ds.texture)
    tests = np.stack([fold.test.values for fold in folds])
    known = ds.texture.notnull().values
    np.testing.assert_array_equal(tests.sum(axis=0), known)
    for fold in folds:
        np.testing.assert_array_equal(fold.train.values ^ fold.test.values, known)
    for name in ("loam", "sand", "clay"):
        counts = tests[:, (ds.texture == name).values].sum(axis=1)
        assert np.ptp(counts) <= 1
    assert np.ptp(tests.sum(axis=1)) <= 1
    again, other = (Split.folds(ds, 5, seed=s, stratify=ds.texture)[0].test for s in (1, 2))
    assert again.equals(folds[0].test)
    assert not other.equals(folds[0].test)


def test_plain_folds_have_no_such_shares():
    """So that the test above can fail."""
    ds = sites()
    counts = [int((fold.test & (ds.texture == "clay")).sum()) for fold in Split.folds(ds, 5, seed=1)]
    assert np.ptp(counts) > 1


def test_random_cells_of_each_class():
    ds = sites()
    split = Split.random_cells(ds, 0.2, seed=1, stratify=ds.texture)
    for name in ("loam", "sand", "clay"):
        cells = ds.texture == name
        assert int((split.test & cells).sum()) == round(0.2 * int(cells.sum()))
    assert not (split.train | split.test)[:4].any()
    rare = xr.where(ds.site == 10, "peat", ds.texture)
    assert not Split.random_cells(ds, 0.9, stratify=rare).test[10]


def test_classes_do_not_depend_on_the_direction_of_axes():
    like = xr.Dataset({"a": (("y", "x"), np.zeros((8, 9)))}, {"y": np.arange(8.0)[::-1], "x": np.arange(9.0)})
    classes = xr.DataArray(np.random.default_rng(0).integers(0, 3, (8, 9)), like.coords, ("y", "x"))
    back = {"y": slice(None, None, -1)}
    one = Split.folds(like.a, 4, stratify=classes)[2].test
    two = Split.folds(like.a.isel(back), 4, stratify=classes.isel(back))[2].test
    assert two.isel(back).equals(one)


@pytest.mark.parametrize("buffer", [0.0, 120.0])
def test_block_folds(buffer):
    ds = sites()
    folds = Split.block_folds(ds, 400, 4, buffer_km=buffer, seed=3)
    tests = np.stack([fold.test.values for fold in folds])
    np.testing.assert_array_equal(tests.sum(axis=0), 1)
    for fold in folds:
        assert not (fold.train & fold.test).any()
        gap = distance(ds, fold.train, fold.test).min()
        assert gap > buffer
        if buffer:
            left_out = ~(fold.train | fold.test)
            assert left_out.any()
            assert distance(ds, left_out, fold.test).max() <= buffer
    # Cells of one block are together: a split of blocks is one of these blocks.
    one = Split.spatial_blocks(ds, 400, seed=0).test.values
    assert one.any()


def test_blocks_are_those_of_spatial_blocks():
    from xsoil.evaluation._places import block_numbers

    ds = sites()
    blocks = block_numbers(ds.lat.values, ds.lon.values, 400.0)
    fold = np.full(300, -1)
    for number, split in enumerate(Split.block_folds(ds, 400, 4)):
        fold[split.test.values] = number
    for block in np.unique(blocks):
        assert len(set(fold[blocks == block])) == 1


def test_regions_of_boxes():
    ds = sites()
    regions = {"west": (-125, 20, -100, 50), "south": (-130, 20, -60, 33)}
    out = Split.regions_out(ds, regions, buffer_km=150)
    assert list(out) == ["west", "south"]
    np.testing.assert_array_equal(out["west"].test, ds.lon <= -100)
    np.testing.assert_array_equal(out["south"].test, ds.lat <= 33)
    for split in out.values():
        assert distance(ds, split.train, split.test).min() > 150
    where = ds.lat > 30
    some = Split.regions_out(ds, regions, where=where)["west"]
    np.testing.assert_array_equal(some.test | some.train, where)


def test_regions_of_labels_and_across_the_dateline(no_compute):
    ds = sites()
    out = Split.regions_out(ds, ds.texture)
    assert sorted(out) == ["clay", "loam", "sand"]
    np.testing.assert_array_equal(out["sand"].test, ds.texture == "sand")
    assert out["sand"].train[:4].all()  # in no region
    grid = xr.DataArray(np.zeros((406, 964), "f4"), dims=("y", "x"), name="a")
    from odc.geo.xr import xr_coords

    grid = grid.assign_coords(xr_coords(ease_grid("EASE2_M36km")))
    pacific = Split.regions_out(grid, {"pacific": (170, -20, -160, 20)})["pacific"].test
    lon = np.linspace(-180, 180, 964, endpoint=False) + 180 / 964
    np.testing.assert_array_equal(pacific.any("y"), (lon >= 170) | (lon <= -160))


def test_faults():
    ds = sites()
    with pytest.raises(ArgumentError, match="give one of them"):
        Split.folds(ds, by=ds.texture, stratify=ds.texture)
    with pytest.raises(ArgumentError, match="no cell that takes part"):
        Split.regions_out(ds, {"sea": (0, 0, 10, 10)})
    with pytest.raises(ArgumentError, match="south first"):
        Split.regions_out(ds, {"west": (-125, 50, -100, 20)})
    with pytest.raises(ArgumentError, match="expected \\(west, south, east, north\\)"):
        Split.regions_out(ds, {"west": -100})
    with pytest.raises(ArgumentError, match="leaves no training cell"):
        Split.folds(ds, 2, buffer_km=9000)
    with pytest.raises(ArgumentError, match="buffer_km=-1"):
        Split.block_folds(ds, 100, buffer_km=-1)
    with pytest.raises(ArgumentError, match="no label"):
        Split.random_cells(ds, stratify=ds.texture.where(ds.lat > 90))


def test_cells_with_the_declared_value_for_no_class_have_none():
    """As `xsoil.texture_class` marks them: integers with a `nodata` of 0."""
    ds = sites(60)
    known = (np.arange(60) % 4).astype("i1")
    by = xr.DataArray(known, dims="site", coords={"site": ds.site}, attrs={"nodata": np.int8(0)})
    for split in (*Split.folds(ds, None, by=by), *Split.folds(ds, 3, stratify=by), Split.random_cells(ds, stratify=by)):
        np.testing.assert_array_equal(split.train | split.test, known > 0)
    assert len(Split.folds(ds, None, by=by)) == 3
    assert list(Split.regions_out(ds, by)) == ["1", "2", "3"]
