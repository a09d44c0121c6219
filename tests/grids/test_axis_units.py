"""Axes in other units than their CRS counts in are refused, with a line that mends them."""

from __future__ import annotations

import re

import numpy as np
import pytest
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import xsoil
from xsoil.errors import AxisError

POLAR = GeoBox.from_bbox((-2e6, -2e6, 2e6, 2e6), "EPSG:3413", resolution=25000)
DEGREES = GeoBox.from_bbox((-100, 38, -98, 40), "EPSG:4326", resolution=0.25)
FEET = GeoBox.from_bbox((6e6, 2e6, 7e6, 3e6), "EPSG:2225", resolution=50000)


def drawn(box, units, factor=1.0):
    """A map whose axes are written in these units."""
    ds = xr.Dataset({"clay": (box.dimensions, np.ones(box.shape), {"units": "percent"})}, xr_coords(box))
    return ds.assign_coords({dim: (dim, ds[dim].values * factor, {"units": units}) for dim in box.dimensions})


@pytest.mark.parametrize(
    ("box", "units"),
    [
        (POLAR, "m"), (POLAR, "metre"), (POLAR, "Meters"), (POLAR, "1"), (POLAR, "0.3048 metre"),
        (POLAR, "degrees_north"),  # kept from before it was projected: no angle is that large
        (DEGREES, "degrees_east"), (DEGREES, "degree_N"), (DEGREES, "deg"), (DEGREES, "degrees"), (DEGREES, "°"),
        (FEET, "US survey foot"), (FEET, "ft"), (FEET, "0.30480060960121924 metre"),
    ],
)  # fmt: skip
def test_the_units_of_the_crs_and_unknown_ones_are_let_pass(box, units):
    assert xsoil.grid_of(drawn(box, units)) == xsoil.grid_of(box)


@pytest.mark.parametrize(
    ("box", "units", "factor"),
    [(POLAR, "km", 1e-3), (POLAR, "kilometers", 1e-3), (FEET, "m", 0.3048006096), (DEGREES, "radians", np.pi / 180)],
)
def test_the_line_that_mends_mends(box, units, factor):
    """Kilometres around the pole were taken for metres: the whole map lay in one cell, without a word."""
    ds = drawn(box, units, factor)
    with pytest.raises(AxisError, match=re.escape(f"are in ['{units}', '{units}'], their CRS")) as told:
        xsoil.upscale(ds, "EASE2_N36km")
    line = str(told.value).partition("convert them: ")[2]
    mended = xsoil.grid_of(eval(line, {"ds": ds}))
    np.testing.assert_allclose(mended.affine[:6], box.affine[:6], rtol=1e-5)


@pytest.mark.parametrize(("box", "units"), [(POLAR, "rad"), (POLAR, "degrees_north"), (DEGREES, "m"), (DEGREES, "km")])
def test_lengths_are_no_angles(box, units):
    ds = drawn(box, units, 1e-5)
    with pytest.raises(AxisError, match="either is wrong: write the CRS of these coordinates"):
        xsoil.upscale(ds, "EASE2_N36km")
