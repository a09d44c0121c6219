"""Source blocks that are reduced at once: the same bits, no block handed on, few bytes left."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask.callbacks import Callback
from maps import field, suit

from xsoil.grids.ease import ease_grid
from xsoil.verbs._lazy.islands import NOTHING, SEAM, Axis
from xsoil.verbs.upscale import upscale

HOWS = ("mean", "max", "geometric")  # the first two from blocks and rims as they are, the last some rows at a time


def world(rows: int = 720, first: float = -180.0, layers: int = 2, dtype: str = "f4") -> xr.Dataset:
    """All round the Earth, with gaps."""
    step = 180 / rows
    values = np.stack([field((rows, 2 * rows), missing=0.1, dtype=dtype) + k for k in range(layers)])
    coords = {"lat": 90 - (np.arange(rows) + 0.5) * step, "lon": first + (np.arange(2 * rows) + 0.5) * step}
    return xr.Dataset({"clay": (("layer", "lat", "lon"), values, {"units": "percent"})}, coords)


def coarse():
    """144 km: blocks of 180 cells of 0.25 degree are some thirty cells wide."""
    return ease_grid("EASE2_M36km").zoom_out(4)


def tasks(array: da.Array, kind: str) -> list:
    return [key for key in dict(array.__dask_graph__()) if str(key[0]).startswith("xsoil.upscale") and kind in key[0]]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("first", [-180.0, -77.0])
@pytest.mark.parametrize("chunks", [{"lat": 200, "lon": 300, "layer": 1}, {"lat": 720, "lon": 311}, {"lat": 180}])
def test_the_same_bits(how, first, chunks):
    ds = suit(world(first=first), how)
    expected = upscale(ds, coarse(), how, valid_fraction=True)
    lazy = upscale(ds.chunk(chunks), coarse(), how, valid_fraction=True, chunks=(7, 11))
    assert tasks(lazy.clay.data, "island")
    xr.testing.assert_identical(lazy.compute(), expected)


def test_a_target_beyond_the_source():
    """Rows, columns and whole tiles that overlap nothing."""
    ds = world().isel(lat=slice(100, 400), lon=slice(200, 900))
    expected = upscale(ds, coarse())
    lazy = upscale(ds.chunk(lat=100, lon=150), coarse(), chunks=(5, 9))
    assert tasks(lazy.clay.data, "island")
    assert np.isnan(expected.clay.isel(y=0)).all()
    xr.testing.assert_identical(lazy.compute(), expected)


@pytest.mark.parametrize(("columns", "lon"), [((600, 1000), 400), ((40, 1400), 700), ((40, 1400), 1360)])
def test_a_block_at_both_ends_of_the_target(columns, lon):
    """Sources that do not go all round, with a block across the dateline: its cells are the target's first and last."""
    ds = world(first=0.0).isel(lon=slice(*columns))
    lazy = upscale(ds.chunk(lat=180, lon=lon), coarse(), "max")
    xr.testing.assert_identical(lazy.compute(), upscale(ds, coarse(), "max"))


def test_variables_that_share_their_steps():
    """The step of a variable without layers is not taken for that of one in the same chunks."""
    ds = world().assign(sand=world().clay.isel(layer=slice(0)).rename(layer="day"))
    xr.testing.assert_identical(upscale(ds.chunk(lat=180, lon=180), coarse()).compute(), upscale(ds, coarse()))


def test_large_blocks_are_taken_in_bands(monkeypatch):
    ds = world(layers=3)
    expected = upscale(ds, coarse(), "max")
    monkeypatch.setattr("xsoil.verbs._lazy.tiles.WINDOW_BYTES", 2**19)
    xr.testing.assert_identical(upscale(ds.chunk(lon=720), coarse(), "max").compute(), expected)


@pytest.mark.parametrize("names", [["clay"], ["clay", "sand", "silt"]])
def test_no_block_waits_for_its_neighbours(names):
    """Of 32 blocks no more are there at the same time than one task of every variable needs."""
    there = []

    class Blocks(Callback):
        def _posttask(self, key, result, dsk, state, worker_id):
            there.append(sum(getattr(value, "shape", None) == (180, 180) for value in state["cache"].values()))

    coords = world(layers=1).drop_vars("clay").coords
    made = da.ones((720, 1440), chunks=180, dtype="f4").map_blocks(np.negative)
    ds = xr.Dataset({name: (("lat", "lon"), made + k, {"units": "percent"}) for k, name in enumerate(names)}, coords)
    lazy = upscale(ds, coarse(), chunks=(7, 11))
    assert len(tasks(lazy[names[0]].data, "island")) == 32
    with Blocks():
        lazy.compute(scheduler="sync")
    assert 1 <= max(there) <= 1 + len(names)


def test_islands_are_small():
    """At most half of the source; else tiles gather whole blocks."""
    ds = world(layers=1)
    assert tasks(upscale(ds.chunk(lat=180, lon=180), coarse()).clay.data, "island")
    assert not tasks(upscale(ds.chunk(lat=20, lon=20), coarse()).clay.data, "island")  # rims are all of them
    assert not tasks(upscale(ds.chunk(), coarse()).clay.data, "island")  # one block has no neighbour
    albers = ease_grid("EASE2_N36km")  # axes that turn
    assert not tasks(upscale(ds.chunk(lat=180, lon=180), albers).clay.data, "island")


def test_axis_by_hand():
    """Blocks of 5 and 4 cells; target cells on 0-2, 3-5 (across), 6-8, none, and 8-9 (beyond the end of the axis)."""
    axis = Axis.of((5, 4), (np.array([0, 3, 6, 0, 8]), np.array([3, 6, 9, 0, 10])))
    np.testing.assert_array_equal(axis.home, [0, SEAM, 1, NOTHING, SEAM])
    assert axis.insides == {0: slice(0, 1), 1: slice(2, 3)}
    assert axis.rims == {0: (0, 2), 1: (1, 1), 2: (1, 0)}
    assert axis.needed(slice(1, 3)) == range(2)
    assert axis.bounds(2) == (9, 14)
    assert list(axis.pieces(slice(3, 10))) == [(0, 3, 5), (1, 0, 4), (2, 0, 1)]
    assert axis.is_whole
    assert not Axis.of((9,), (np.array([6, 0, 0]), np.array([9, 0, 3]))).is_whole  # what it needs goes on from its end
    turned = Axis.of((5, 4), (np.array([-2, 1]), np.array([1, 4])))  # from before the start of the axis
    assert turned.begin == -9
    np.testing.assert_array_equal(turned.home, [SEAM, 2])
