"""A small soil map on EASE-Grid 2.0, and a store to read from."""

from __future__ import annotations

import killed
import numpy as np
import pytest
import xarray as xr
from odc.geo.xr import xr_coords

from xsoil.grids.ease import ease_grid


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Path of a store whose contents runs write that may be killed."""
    return killed.source(tmp_path_factory.mktemp("source") / "source.zarr")


@pytest.fixture
def soil() -> xr.Dataset:
    """Variables of one to three dims, real and class, with gaps, attributes and extra coordinates; 283 x 627 cells."""
    grid = ease_grid("EASE2_M09km", "conus")
    rng = np.random.default_rng(7)
    theta = rng.random((3, *grid.shape), dtype=np.float32)
    theta[:, :40, 100:300] = np.nan
    classes = rng.integers(0, 13, grid.shape).astype(np.int8)
    mapping = {"grid_mapping": "spatial_ref"}
    return xr.Dataset(
        {
            "theta": (("time", "y", "x"), theta, {"units": "m3 m-3", "long_name": "soil moisture"} | mapping),
            "k_sat": (("y", "x"), np.exp(theta[0] * 5), {"units": "cm d-1"} | mapping),
            "texture_class": (
                ("y", "x"),
                classes,
                {"_FillValue": np.int8(0), "flag_values": np.arange(1, 13, dtype=np.int8)} | mapping,
            ),
            "bulk": (("y", "x"), (classes * 100).astype(np.int16), {"units": "g kg-1"} | mapping),
            "site": ("station", np.array([1.5, 2.5])),
        },
        coords=dict(xr_coords(grid))
        | {
            "time": np.array(["2015-06-01", "2015-06-02", "2015-06-04"], "M8[ns]"),
            "t": ("station", np.array(["one", "two"])),
            "quality": (("y", "x"), classes),
        },
        attrs={"title": "made for a test", "numbers": np.arange(3)},
    )
