"""`ds.soil.<verb>` is the function of that name: same arguments, same defaults."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import xarray as xr

import xsoil
from xsoil.errors import ArgumentError

VERBS = sorted(name for name in vars(xsoil.SoilAccessor) if not name.startswith("_"))


@pytest.mark.parametrize("name", VERBS)
def test_signatures_agree(name):
    method = list(inspect.signature(getattr(xsoil.SoilAccessor, name)).parameters.values())[1:]
    function = list(inspect.signature(getattr(xsoil, name)).parameters.values())[1:]
    assert [(p.name, p.kind, p.default) for p in method] == [(p.name, p.kind, p.default) for p in function]


@pytest.mark.parametrize("name", [*VERBS, "list_ptfs", "ease_grid", "ease_rowcol", "grid_of"])
def test_every_verb_is_documented(name):
    doc = inspect.getdoc(getattr(xsoil, name))
    assert "Returns\n-------" in doc or "Raises\n------" in doc
    if name in VERBS:
        assert f"xsoil.{name}" in inspect.getdoc(getattr(xsoil.SoilAccessor, name))


def test_the_accessor_keeps_nothing_but_the_dataset():
    ds = xr.Dataset({"sand": ("x", np.ones(2))})
    assert list(vars(ds.soil)) == ["_ds"]
    assert ds.soil._ds is ds


def test_arrays_with_a_name_have_the_accessor_too():
    grid = xsoil.ease_grid("EASE2_M09km", region=(-100, 35, -97, 38))
    soil = xsoil.data.synthetic_soil(grid, seed=0).compute()
    fine = soil.sand.soil.upscale("EASE2_M36km", how="mean")
    xr.testing.assert_identical(fine.sand, soil.soil.upscale("EASE2_M36km", how="mean").sand)
    with pytest.raises(ArgumentError, match="name"):
        soil.sand.rename(None).soil.upscale("EASE2_M36km")
