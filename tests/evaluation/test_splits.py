"""Splits: shares, blocks and buffers, periods, the four sets, files, faults."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xsoil.errors import ArgumentError, AxisError, GridMismatchError, TimeError, UnknownNameError
from xsoil.evaluation.splits import SETS, Split, days_since
from xsoil.grids.ease import ease_grid


def grid(name="EASE2_M36km", region=(-105, 30, -85, 45)):
    from xsoil.data import synthetic_soil

    return synthetic_soil(ease_grid(name, region))


def sites(n=60, seed=0):
    rng = np.random.default_rng(seed)
    place = {"lat": ("site", rng.uniform(30, 45, n)), "lon": ("site", rng.uniform(-105, -85, n))}
    return xr.Dataset({"theta": ("site", np.zeros(n))}, {"site": [f"s{i}" for i in range(n)], **place})


def kilometres(lat, lon):
    phi, lam = np.radians(lat), np.radians(lon)
    points = np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], -1)
    return 6371.0072 * np.arccos(np.clip(points @ points.T, -1, 1))


@settings(max_examples=25)
@given(fraction=st.floats(0.01, 0.99), seed=st.integers(0, 2**40))
def test_random_cells_are_a_partition_of_the_asked_share(fraction, seed):
    split = Split.random_cells(sites(), fraction, seed)
    assert (split.train ^ split.test).all()
    assert int(split.test.sum()) == min(max(round(60 * fraction), 1), 59)


def test_random_cells_depend_on_the_seed_but_not_on_the_direction_of_axes():
    soil = grid()
    one = Split.random_cells(soil, seed=3)
    assert one.test.equals(Split.random_cells(soil, seed=3).test)
    assert not one.test.equals(Split.random_cells(soil, seed=4).test)
    flipped = soil.isel(y=slice(None, None, -1))
    assert Split.random_cells(flipped, seed=3).test.sortby("y").equals(one.test.sortby("y"))


def test_only_cells_that_take_part_are_split(no_compute):
    soil = grid()
    rng = np.random.default_rng(0)
    where = xr.DataArray(rng.random((soil.sizes["y"], soil.sizes["x"])) < 0.3, dims=("y", "x"))
    split = Split.random_cells(soil, 0.25, where=where.assign_coords(y=soil.y, x=soil.x))
    np.testing.assert_array_equal((split.train | split.test).values, where.values)
    assert int(split.test.sum()) == round(0.25 * int(where.sum()))


def test_blocks_stay_whole_and_keep_their_distance():
    places = sites(800)
    split = Split.spatial_blocks(places, 300, buffer_km=80, fraction=0.3, seed=1)
    apart = kilometres(places.lat.values, places.lon.values)[split.test.values][:, split.train.values]
    assert apart.min() > 80
    neither = ~(split.train | split.test).values
    left_out = kilometres(places.lat.values, places.lon.values)[neither][:, split.test.values].min(axis=1)
    assert neither.any()
    assert (left_out <= 80).all()
    assert 0.2 < int(split.test.sum()) / 800 < 0.4
    bare = Split.spatial_blocks(places, 300, fraction=0.3, seed=1)
    assert bare.test.equals(split.test)
    assert (bare.train ^ bare.test).all()


def test_blocks_of_a_grid_are_squares_on_the_ground():
    soil = grid("EASE2_M09km", (-105, 35, -95, 45))
    split = Split.spatial_blocks(soil, 200, fraction=0.5, seed=0)
    # within a block all cells are alike: changes along a row are rare
    changes = (np.diff(split.test.values.astype(int), axis=1) != 0).sum(axis=1)
    assert changes.max() <= 5
    assert 0.35 < float(split.test.mean()) < 0.65


def test_folds_test_every_cell_once():
    places = sites()
    splits = Split.folds(places, 7, seed=2)
    assert (sum(split.test.astype(int) for split in splits) == 1).all()
    assert all((split.train ^ split.test).all() for split in splits)
    assert {int(split.test.sum()) for split in splits} == {8, 9}


def test_folds_keep_groups_together():
    places = sites()
    region = xr.DataArray(np.where(np.arange(60) < 5, np.nan, np.arange(60) % 4), dims="site")
    splits = Split.folds(places, None, by=region.assign_coords(site=places.site))
    assert len(splits) == 4
    for index, split in enumerate(splits):
        np.testing.assert_array_equal(split.test.values, region.values == index)
        np.testing.assert_array_equal(split.train.values, (region.values != index) & np.isfinite(region.values))


def test_four_sets():
    places = sites()
    split = Split.times(train="2015", test=[("2016-02", "2016-03-15"), "2017"]) & Split.random_cells(places)
    assert split.sets == SETS
    days = pd.date_range("2015-01-01", "2017-12-31")
    for name in SETS:
        expected = split.test if name.startswith("spat") else split.train
        assert split.cells_of(name) is expected
    assert split.days_of("train", days).sum() == 365
    assert split.days_of("temporal", days).sum() == 29 + 15 + 365
    assert split.days_of("spatial", days).sum() == 365
    assert split.days_of("spatio_temporal", days).sum() == 29 + 15 + 365
    assert Split().sets == ("train",)
    assert Split.random_cells(places).sets == ("train", "spatial")
    assert Split().days_of("train", days).all()
    with pytest.raises(UnknownNameError, match="did you mean 'spatial'"):
        split.cells_of("spatal")


def test_days_of_other_calendars():
    index = xr.date_range("2015-12-30", periods=4, calendar="noleap", use_cftime=True)
    assert index[0].calendar == "noleap"
    assert Split.times(train="2015", test="2016").days_of("temporal", index).tolist() == [False, False, True, True]
    with pytest.raises(TimeError, match="expected dates"):
        days_since(pd.Index([1, 2]))


@pytest.mark.parametrize("kind", ["grid", "sites", "times"])
def test_files_bring_the_same_split(tmp_path, kind):
    split = Split.times(train=("2015", "2016"), test="2017")
    if kind != "times":
        split = Split.random_cells(grid() if kind == "grid" else sites(), 0.3, 5) & split
    split.save(tmp_path / "split.json")
    again = Split.load(tmp_path / "split.json")
    assert again.train_times == split.train_times
    assert again.test_times == split.test_times
    for one, other in ((again.train, split.train), (again.test, split.test)):
        assert one is other is None or one.equals(other)
    assert repr(again) == repr(split)


def test_damaged_and_foreign_files(tmp_path):
    path = tmp_path / "split.json"
    Split.random_cells(sites()).save(path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"version": 99}))
    with pytest.raises(ArgumentError, match="version 99, this xsoil reads 1"):
        Split.load(path)
    path.write_text(json.dumps(content | {"shape": [61]}))
    with pytest.raises(ArgumentError, match="damaged"):
        Split.load(path)
    path.write_text("{}")
    with pytest.raises(ArgumentError, match="is no split"):
        Split.load(path)
    path.write_bytes(b"\x89HDF\xff")
    with pytest.raises(ArgumentError, match="cannot be read"):
        Split.load(path)
    with pytest.raises(ArgumentError, match="cannot be read"):
        Split.load(tmp_path / "nothing")


def test_faults():
    places = sites()
    with pytest.raises(ArgumentError, match=r"fraction=1\.5; expected the share"):
        Split.random_cells(places, 1.5)
    with pytest.raises(ArgumentError, match="seed=-1"):
        Split.random_cells(places, seed=-1)
    with pytest.raises(ArgumentError, match="1 cells cannot be split"):
        Split.random_cells(places.isel(site=[0]))
    with pytest.raises(AxisError, match="no dimension of cells"):
        Split.random_cells(xr.Dataset({"a": ("time", [1.0])}))
    with pytest.raises(ArgumentError, match="where is float64"):
        Split.random_cells(places, where=places.theta)
    with pytest.raises(GridMismatchError, match="where is not on the cells"):
        Split.random_cells(places, where=places.theta.isel(site=slice(5)).notnull())
    with pytest.raises(AxisError, match="have no 'lat'"):
        Split.spatial_blocks(places.drop_vars("lat"), 300)
    with pytest.raises(ArgumentError, match="one block of 9000 km"):
        Split.spatial_blocks(places, 9000)
    with pytest.raises(ArgumentError, match="leaves no training cell"):
        Split.spatial_blocks(places, 300, buffer_km=5000)
    with pytest.raises(ArgumentError, match="expected lengths in km"):
        Split.spatial_blocks(places, -3)
    with pytest.raises(ArgumentError, match="folds from 2 to 60"):
        Split.folds(places, 61)
    mask = xr.DataArray(np.arange(4) < 2, dims="site")
    with pytest.raises(ArgumentError, match="1 cells are in train and in test"):
        Split.cells(mask, xr.DataArray(np.arange(4) == 1, dims="site"))
    with pytest.raises(ArgumentError, match="no training cell"):
        Split.cells(mask & False, mask)
    with pytest.raises(ArgumentError, match="train is int64 on"):
        Split.cells(mask.astype(int), mask)
    with pytest.raises(TimeError, match="share days from 2016-06-01"):
        Split.times(train=("2015", "2016"), test=("2016-06", "2017"))
    with pytest.raises(TimeError, match="gives no period"):
        Split.times(train="last year", test="2017")
    with pytest.raises(TimeError, match="ends before it begins"):
        Split.times(train=("2016", "2015"), test="2017")
    with pytest.raises(ArgumentError, match="both splits are of times"):
        Split.times(train="2015", test="2016") & Split.times(train="2015", test="2016")
