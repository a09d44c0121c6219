"""EASE-Grid 2.0: NSIDC's numbers, nesting, regions."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from xsoil.errors import ArgumentError, GridMismatchError, NoOverlapError, UnknownNameError
from xsoil.grids.ease import EASE_GRIDS, ease_grid, ease_rowcol
from xsoil.grids.geobox import grid_of

# NSIDC's EASE-Grid 2.0 table: cell size [m], rows, columns.
PUBLISHED = {
    "EASE2_M36km": (36032.220840584, 406, 964),
    "EASE2_M25km": (25025.26, 584, 1388),
    "EASE2_M12.5km": (12512.63, 1168, 2776),
    "EASE2_M09km": (9008.055210146, 1624, 3856),
    "EASE2_M03km": (3002.6850700487, 4872, 11568),
    "EASE2_M01km": (1000.89502334956, 14616, 34704),
    "EASE2_N36km": (36000.0, 500, 500),
    "EASE2_N25km": (25000.0, 720, 720),
    "EASE2_N12.5km": (12500.0, 1440, 1440),
    "EASE2_N09km": (9000.0, 2000, 2000),
    "EASE2_N03km": (3000.0, 6000, 6000),
    "EASE2_N01km": (1000.0, 18000, 18000),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_cells_and_shapes(name):
    cell, rows, columns = PUBLISHED[name]
    grid = ease_grid(name)
    assert grid.shape == (rows, columns)
    assert grid.affine.a == cell
    assert grid.affine.e == -cell


def test_every_grid_has_its_crs_and_corner():
    for name in EASE_GRIDS:
        grid = ease_grid(name)
        assert grid.crs.epsg == {"M": 6933, "N": 6931, "S": 6932}[name[6]]
        left, top = grid.affine.c, grid.affine.f
        if name[6] != "M":
            assert (left, top) == (-9e6, 9e6)
        elif name in ("EASE2_M25km", "EASE2_M12.5km"):
            assert top == 7307375.92
        else:
            assert (left, top) == (-17367530.445161499, 7314540.830638599)


def test_global_grids_span_the_world():
    edge, _ = Transformer.from_crs(4326, 6933, always_xy=True).transform(180, 0)
    for name, grid in EASE_GRIDS.items():
        if name.startswith("EASE2_M"):
            assert grid.left + grid.columns * grid.cell == pytest.approx(edge, abs=0.01)


def test_nsidc_cell_centres(data):
    """The 36 km land mask carries NSIDC's own latitudes and longitudes of the cell centres."""
    mask = xr.open_dataset(data / "rasters" / "ease2_36km_landmask.nc")
    assert grid_of(mask) == ease_grid("EASE2_M36km")
    assert ease_rowcol(mask) == (0, 0)


def test_smap_pixels_lie_on_the_grid(data):
    pixels = xr.open_dataset(data / "conus_smap_nldas.nc")
    grid = ease_grid("EASE2_M36km")
    x, y = Transformer.from_crs(4326, 6933, always_xy=True).transform(pixels.lon.values, pixels.lat.values)
    column, row = (x - grid.affine.c) / grid.affine.a, (y - grid.affine.f) / grid.affine.e
    np.testing.assert_array_equal(np.floor(row), pixels.ease_row)
    np.testing.assert_array_equal(np.floor(column), pixels.ease_col)


@pytest.mark.parametrize(("fine", "ratio"), [("EASE2_M09km", 4), ("EASE2_M03km", 12), ("EASE2_M01km", 36)])
def test_nesting(fine, ratio):
    coarse, inner = ease_grid("EASE2_M36km"), ease_grid(fine)
    assert (inner.shape[0], inner.shape[1]) == (coarse.shape[0] * ratio, coarse.shape[1] * ratio)
    assert inner.affine.a * ratio == pytest.approx(coarse.affine.a, rel=1e-10)


def test_conus_covers_the_box_and_not_more():
    grid = ease_grid("EASE2_M09km", "conus")
    forward = Transformer.from_crs(4326, 6933, always_xy=True)
    left, bottom = forward.transform(-125, 24.5)
    right, top = forward.transform(-66.5, 49.5)
    box, cell = grid.boundingbox, grid.affine.a
    assert box.left <= left < box.left + cell
    assert box.right - cell < right <= box.right
    assert box.bottom <= bottom < box.bottom + cell
    assert box.top - cell < top <= box.top


@given(
    row=st.integers(0, 1600), column=st.integers(0, 3800), rows=st.integers(1, 20), columns=st.integers(1, 50),
)  # fmt: skip
def test_windows_round_trip(row, column, rows, columns):
    """A window's coordinates, written to a dataset, give back its exact GeoBox, row and column."""
    grid = EASE_GRIDS["EASE2_M09km"]
    rows = min(rows, grid.rows - row)
    box = grid.window(row, column, rows, columns)
    assert ease_rowcol(box) == (row, column)
    y, x = (c.values for c in box.coordinates.values())
    ds = xr.Dataset(coords={"y": y.astype("f8"), "x": x.astype("f8")})
    if rows > 1 and columns > 1:
        ds = ds.rio.write_crs("EPSG:6933")
        assert grid_of(ds) == box


def test_region_of_an_object_and_across_the_dateline():
    box = ease_grid("EASE2_M36km", (-10, 40, 10, 50))
    assert ease_grid("EASE2_M36km", box) == box
    fiji = ease_grid("EASE2_M36km", (175, -20, -175, -10))
    assert fiji.shape[1] == 28
    assert ease_rowcol(fiji)[1] + fiji.shape[1] > 964  # continues beyond the eastern edge
    assert ease_grid("EASE2_N36km", (-180, 60, 180, 90)).shape[0] > 180  # the pole is inside


def test_faults():
    with pytest.raises(UnknownNameError, match="did you mean 'EASE2_M09km'"):
        ease_grid("EASE2_M9km")
    with pytest.raises(UnknownNameError, match="did you mean 'conus'"):
        ease_grid("EASE2_M09km", "conuss")
    with pytest.raises(ArgumentError, match="south < north"):
        ease_grid("EASE2_M09km", (0, 10, 5, 2))
    with pytest.raises(NoOverlapError, match="outside EASE2_M36km"):
        ease_grid("EASE2_M36km", (0, 86, 10, 89))
    nine = GeoBox.from_bbox((-9000, -9000, 9000, 9000), "EPSG:6933", resolution=9000)
    with pytest.raises(GridMismatchError, match=r"9008\.055210146"):
        ease_rowcol(nine)


def test_an_unknown_region_is_told_what_else_there_is():
    with pytest.raises(UnknownNameError, match=r"\(west, south, east, north\) in degrees, conus"):
        ease_grid("EASE2_M36km", "europe")
