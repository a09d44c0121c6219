"""Blocks of no cells, which a selection may leave: they do not show."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from xsoil.grids.ease import ease_grid
from xsoil.verbs._lazy.blocks import without_empty_blocks
from xsoil.verbs._lazy.halos import map_halos
from xsoil.verbs.rootzone import rootzone
from xsoil.verbs.upscale import upscale

RNG = np.random.default_rng(0)


def test_by_hand():
    array = da.ones((5, 0, 4), chunks=((0, 2, 0, 3), (0, 0), (4,)))
    assert without_empty_blocks(array).chunks == ((2, 3), (0,), (4,))
    whole = da.ones((5, 0), chunks=((2, 3), (0,)))
    assert without_empty_blocks(whole) is whole


@pytest.mark.parametrize("chunks", [((0, 2), (90, 90), (360,)), ((2,), (0, 90, 0, 90), (180, 0, 180))])
def test_tiles(chunks):
    axes = {"lat": 89.5 - np.arange(180), "lon": np.arange(360) - 179.5}
    ds = xr.Dataset({"clay": (("layer", "lat", "lon"), RNG.random((2, 180, 360)), {"units": "percent"})}, axes)
    lazy = ds.copy(data={"clay": da.from_array(ds.clay.values, chunks=chunks)})
    target = ease_grid("EASE2_M36km").zoom_out(16)
    xr.testing.assert_identical(upscale(lazy, target).compute(), upscale(ds, target))


def test_scans():
    days = np.datetime64("2020-01-01", "ns") + np.arange(6) * np.timedelta64(1, "D")
    ds = xr.Dataset({"theta": (("time", "x"), RNG.random((6, 4)), {"units": "m3 m-3"})}, {"time": days})
    lazy = ds.copy(data={"theta": da.from_array(ds.theta.values, chunks=((0, 2, 0, 4), (3, 0, 1)))})
    xr.testing.assert_identical(rootzone(lazy, T=5).compute(), rootzone(ds, T=5))


def test_halos():
    values = RNG.random((4, 5)).astype("f4")
    lazy = da.from_array(values, chunks=((0, 4), (2, 0, 3)))
    found = map_halos(_middle, None, "none", [(lazy, ("y", "x"))], ("y", "x"), {"x": (1, 1)}, 1)
    np.testing.assert_array_equal(found.compute(scheduler="synchronous")[0], values)
    none = map_halos(_middle, None, "none", [(lazy[:0], ("y", "x"))], ("y", "x"), {"y": (1, 1), "x": (1, 1)}, 1)
    assert none.compute().shape == (1, 0, 5)


def _middle(model, windows, spans):
    return windows[0][None, :, 1:-1]
