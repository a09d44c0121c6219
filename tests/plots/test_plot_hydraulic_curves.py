"""Retention and conductivity curves as drawn."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xsoil  # noqa: F401
from xsoil.errors import ArgumentError, MissingVariableError, UnknownNameError
from xsoil.plots import hydraulic_curves

HEADS = -np.logspace(0, 5, 41)


@pytest.fixture
def soils() -> xr.Dataset:
    """Four soils of van Genuchten's."""
    values = {
        "theta_r": (0.05, "m3 m-3"),
        "theta_s": (0.43, "m3 m-3"),
        "alpha": (0.02, "cm-1"),
        "k_sat": (25, "cm d-1"),
    }
    ds = xr.Dataset({name: ("site", np.full(4, value), {"units": units}) for name, (value, units) in values.items()})
    ds["n"] = ("site", [1.2, 1.5, 2.0, 2.5], {"units": "1"})
    ds["l"] = ("site", np.full(4, 0.5), {"units": "1"})
    return ds.assign_coords(site=["A", "B", "C", "D"])


def test_a_line_for_each_soil_over_suction(soils, pixels):
    curves = soils.soil.retention(HEADS[::-1])
    ax = hydraulic_curves(curves)
    lines = [line for line in ax.lines if line.get_gid() == "curve"]
    assert [line.get_label() for line in lines] == ["A", "B", "C", "D"]
    np.testing.assert_allclose(lines[2].get_xdata(), -HEADS)
    np.testing.assert_allclose(lines[2].get_ydata(), curves.theta.sel(site="C")[::-1])
    assert ax.get_xscale() == "log"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("suction −h [cm]", "volumetric soil moisture [m³ m⁻³]")
    at = [line.get_xdata()[0] for line in ax.lines if line.get_gid() == "limit"]
    np.testing.assert_allclose(at, [336.5, 15295.7], rtol=1e-4)
    assert len({line.get_color() for line in lines}) == 4
    assert len(np.unique(pixels(ax).reshape(-1, 3), axis=0)) > 20


def test_conductivity_on_logarithms(soils):
    ax = hydraulic_curves(soils.soil.conductivity(HEADS))
    assert ax.get_yscale() == "log"
    assert ax.get_ylim()[0] >= 1e-8 * 10


def test_of_many_the_median_and_bands(soils):
    many = xr.concat([soils.assign(theta_s=soils.theta_s * f) for f in np.linspace(0.8, 1.2, 9)], "draw").assign_attrs()
    many["theta_s"].attrs["units"] = "m3 m-3"
    curves = many.soil.retention(HEADS)
    ax = hydraulic_curves(curves, label="all")
    (median,) = [line for line in ax.lines if line.get_gid() == "curve"]
    np.testing.assert_allclose(median.get_ydata(), curves.theta.median(("draw", "site")))
    wide, narrow = ax.collections
    low, high = (np.sort(np.unique(band.get_paths()[0].vertices[:, 1]))[[0, -1]] for band in (wide, narrow))
    assert low[0] < high[0]
    assert low[1] > high[1]
    assert median.get_label() == "all, median"


def test_more_curves_on_the_same_axes(soils):
    ax = hydraulic_curves(soils.isel(site=0).soil.retention(HEADS), label="one")
    assert hydraulic_curves(soils.isel(site=1).soil.retention(HEADS), ax=ax, label="two") is ax
    lines = [line for line in ax.lines if line.get_gid() == "curve"]
    assert len({line.get_color() for line in lines}) == 2
    assert sum(line.get_gid() == "limit" for line in ax.lines) == 2
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["one", "two"]


def test_heads_in_other_units_and_above_zero(soils):
    curves = soils.isel(site=0).soil.retention([-100.0, 0.0, 5.0, -1.0])
    metres = curves.assign_coords(h=("h", curves.h.values / 100, {"units": "m"}))
    np.testing.assert_allclose(hydraulic_curves(metres).lines[0].get_xdata(), [1, 100])
    with pytest.raises(ArgumentError, match="no head below zero"):
        hydraulic_curves(curves.isel(h=[1, 2]))


def test_faults(soils):
    with pytest.raises(MissingVariableError, match=r"ds\.soil\.retention\("):
        hydraulic_curves(soils)
    both = soils.soil.retention(HEADS).assign(k=soils.soil.conductivity(HEADS).k)
    with pytest.raises(ArgumentError, match="of='theta'"):
        hydraulic_curves(both)
    assert hydraulic_curves(both, "k").get_yscale() == "log"
    with pytest.raises(UnknownNameError, match="theta"):
        hydraulic_curves(both, "thta")
