"""The USDA triangle: its lines are those of the classes, points are where they belong."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import xarray as xr
from matplotlib.path import Path

from xsoil.errors import ArgumentError, MissingVariableError, UnitsError
from xsoil.plots import texture_triangle
from xsoil.plots.texture_triangle import POLYGONS, place
from xsoil.ptfs.usda import USDA_CLASSES, usda_class


def soils(n=400) -> xr.Dataset:
    sand, silt, clay = np.random.default_rng(2).dirichlet((1, 1, 1), n).T * 100
    percent = {"units": "percent"}
    return xr.Dataset(
        {"sand": ("site", sand, percent), "silt": ("site", silt / 100, {"units": "1"}), "clay": ("site", clay, percent)}
    )


def test_the_lines_part_the_classes():
    ds = soils(20_000)
    sand, clay = ds.sand.values, ds.clay.values
    found = usda_class(sand, 100 - sand - clay, clay)
    ax = texture_triangle()
    outlines = [patch for patch in ax.patches if patch.get_gid() == "texture"]
    assert list(POLYGONS) == list(USDA_CLASSES)
    assert len(outlines) == 12
    inside = np.array([Path(p.get_xy()).contains_points(np.column_stack(place(sand, clay))) for p in outlines])
    assert (inside.sum(axis=0) == 1).all()
    np.testing.assert_array_equal(inside.argmax(axis=0) + 1, found)


def test_names_stand_in_their_classes():
    words = {text.get_text().replace("\n", " "): text.get_position() for text in texture_triangle().texts}
    for name in USDA_CLASSES:
        x, y = words[name.replace("_", " ")]
        clay = y / (np.sqrt(3) / 2)
        assert usda_class(100 - x - clay / 2, x - clay / 2, clay) == USDA_CLASSES.index(name) + 1


def test_points_lie_where_their_texture_is(pixels):
    ds = soils()
    for names in (("sand", "silt", "clay"), ("sand", "clay"), ("silt", "clay"), ("sand", "silt")):
        ax = texture_triangle(ds[list(names)])
        found = ax.collections[-1].get_offsets()
        np.testing.assert_allclose(found, np.column_stack(place(ds.sand, ds.clay)), atol=1e-9)
    corners = place([100, 0, 0], [0, 0, 100])
    np.testing.assert_allclose(corners, [[0, 100, 50], [0, 0, 50 * np.sqrt(3)]])
    assert len(np.unique(pixels(ax).reshape(-1, 3), axis=0)) > 20


def test_impossible_soils_are_left_out():
    ds = soils(5)
    ds.sand[0], ds.clay[1], ds.sand[2] = np.nan, -3, 170
    assert len(texture_triangle(ds[["sand", "clay"]]).collections[-1].get_offsets()) == 2


def test_colours_of_a_variable():
    ds = soils().assign(ph=("site", np.linspace(4, 8, 400), {"units": "1", "long_name": "soil pH"}))
    ax = texture_triangle(ds, color="ph")
    np.testing.assert_allclose(ax.collections[-1].get_array(), ds.ph)
    assert ax.figure.axes[-1].get_ylabel() == "soil pH"
    again = texture_triangle(ds.isel(site=[0]), ax, color="red", label="one")
    assert again is ax
    assert sum(patch.get_gid() == "texture" for patch in ax.patches) == 12


def test_a_map_is_thinned():
    ds = soils(50_000).sortby("clay")
    ax = texture_triangle(ds)
    assert len(ax.collections[-1].get_offsets()) == len(range(0, 50_000, 3))


def test_faults():
    ds = soils()
    with pytest.raises(MissingVariableError, match="two of 'sand', 'silt', 'clay'"):
        texture_triangle(ds[["sand"]])
    with pytest.raises(UnitsError, match="no units"):
        texture_triangle(ds.assign(sand=("site", ds.sand.values)))
    with pytest.raises(MissingVariableError, match="neither a colour nor a variable"):
        texture_triangle(ds, color="phh")
    with pytest.raises(ArgumentError, match=r"dims \['x'\]"):
        texture_triangle(ds, color=xr.DataArray([1.0], dims="x", name="a"))


def test_of_a_large_map_only_the_drawn_soils_are_read(monkeypatch):
    module, ds = sys.modules[texture_triangle.__module__], soils(300 * 200)
    maps = xr.Dataset({n: (("y", "x"), a.values.reshape(300, 200), a.attrs) for n, a in ds.items()})
    read = []
    kept = module.in_own_units
    monkeypatch.setattr(module, "in_own_units", lambda array, name: (read.append(array.size), kept(array, name))[1])
    for chosen in (maps, maps.chunk(y=64, x=50)):
        found = texture_triangle(chosen, color="clay").collections[-1]
        np.testing.assert_allclose(found.get_offsets(), np.column_stack(place(ds.sand, ds.clay))[::3], atol=1e-9)
        np.testing.assert_array_equal(found.get_array(), ds.clay[::3])
    assert set(read) == {20_000}


def test_a_single_soil():
    ax = texture_triangle(soils(1).isel(site=0), color="clay")
    assert len(ax.collections[-1].get_offsets()) == 1
