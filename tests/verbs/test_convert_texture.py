"""Sand and silt on other limits: what the curve says, what is kept, faults; verbs that refuse the wrong limit."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import xsoil
from xsoil.errors import ArgumentError, MissingVariableError, TextureError, UnknownNameError

TEXTURE = ("sand", "silt", "clay")


def soil(shape=(5, 6), limit=63, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    fractions = rng.dirichlet([1, 1, 1], shape).transpose(2, 0, 1) * 100
    attrs = {"units": "percent", "grid_mapping": "spatial_ref"}
    ds = xr.Dataset(
        {name: (("y", "x"), values.astype(dtype), dict(attrs)) for name, values in zip(TEXTURE, fractions)},
        coords={"y": np.arange(shape[0], 0, -1.0), "x": np.arange(1.0 * shape[1]), "spatial_ref": 0},
        attrs={"title": "a map"},
    )
    ds["ph"] = ("x", np.full(shape[1], 6.5), {"units": "1"})
    for name in ("sand", "silt"):
        if limit is not None:
            ds[name].attrs["silt_limit"] = limit
    return ds


def test_straight_over_the_logarithm():
    ds = soil(dtype=np.float64)
    fine = xsoil.convert_texture(ds)
    for coarse, found in ((ds, fine), (fine, xsoil.convert_texture(fine, 200))):
        limit, new = coarse.silt.silt_limit, found.silt.silt_limit
        for cell in ((0, 0), (3, 4)):
            clay, silt = float(coarse.clay[cell]), float(coarse.silt[cell])
            curve = np.interp(np.log(new), np.log([2, limit, 2000]), [clay, clay + silt, 100])
            assert_allclose(found.silt[cell], curve - clay, rtol=1e-12)
    assert_allclose(fine.silt / ds.silt, np.log(25) / np.log(31.5), rtol=1e-12)


def test_a_limit_and_back_within_the_silt():
    ds = soil(limit=50, dtype=np.float64)
    there = xsoil.convert_texture(ds, 63)
    # sand gives to silt on the way there, so that the way back is another line
    assert (there.silt >= ds.silt).all()
    assert (xsoil.convert_texture(there).silt <= there.silt).all()
    same = xsoil.convert_texture(ds, 50)
    for name in TEXTURE:
        assert_allclose(same[name], ds[name], rtol=1e-12)


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.floats(2.1, 1999), st.floats(2.1, 1999))
def test_fractions_stay_a_texture(seed, start, end):
    found = xsoil.convert_texture(soil((3, 4), None, seed), end, from_limit=start)
    assert_allclose(sum(found[name] for name in TEXTURE), 100, atol=2e-4)
    assert all((found[name] >= 0).all() for name in TEXTURE)
    assert_allclose(found.clay, soil((3, 4), None, seed).clay, rtol=1e-6)


def test_regression_of_the_international_system():
    percent = {"units": "percent", "silt_limit": 20}
    silt, sand = np.array([10.0, 5.0, 0.5, 80.0]), np.array([60.0, 90.0, 2.0, 5.0])
    ds = xr.Dataset({"sand": ("site", sand, percent), "silt": ("site", silt, percent)})
    found = xsoil.convert_texture(ds, method="minasny_mcbratney2001")
    # the parabola by hand; below 0 the linear form, which is less than the finer silt; above the parabola's reach
    assert_allclose(found.silt, [23.8756, 12.5831, 0.5, 80.0], atol=1e-9)
    assert_allclose(found.sand + found.silt, sand + silt, rtol=1e-12)
    assert "10.1071/SR00065" in found.silt.references
    with pytest.raises(ArgumentError, match="from 20 to 50 um only"):
        xsoil.convert_texture(ds, 63, method="minasny_mcbratney2001")


def test_what_is_kept(no_compute):
    ds = soil()
    before = ds.copy(deep=True)
    assert xsoil.convert_texture(ds.chunk(x=2)).sand.chunks is not None
    found = ds.soil.convert_texture()
    xr.testing.assert_identical(ds, before)
    assert found.attrs == {"title": "a map"}
    assert list(found.data_vars) == ["sand", "silt", "clay", "ph"]
    xr.testing.assert_identical(found.ph, ds.ph)
    for name in ("sand", "silt"):
        assert found[name].attrs["silt_limit"] == 50.0
        assert "50" in found[name].attrs["long_name"]
        assert found[name].attrs["units"] == "percent"
    assert "silt_limit" not in found.clay.attrs
    assert all(found[name].attrs["grid_mapping"] == "spatial_ref" for name in TEXTURE)
    assert found.sand.dtype == np.float32


@settings(max_examples=8)
@given(st.integers(1, 5), st.integers(1, 6))
def test_chunks_do_not_show(y, x):
    ds = soil()
    xr.testing.assert_identical(xsoil.convert_texture(ds), xsoil.convert_texture(ds.chunk(y=y, x=x)).compute())


def test_faulty_values_are_missing():
    ds = soil()
    ds.clay[0, 0], ds.silt[1, 1] = -5, np.nan
    ds.sand[2, 2] += 0.5
    found = xsoil.convert_texture(ds)
    for name in TEXTURE:
        assert_array_equal(np.argwhere(np.isnan(found[name].values)), [[0, 0], [1, 1]])
    assert_allclose(sum(found[name] for name in TEXTURE)[2, 2], 100, atol=1e-4)


def test_two_fractions_and_other_units():
    ds = soil()
    two = ds.drop_vars("silt")
    two["sand"] = (10 * two.sand).assign_attrs(units="g/kg", silt_limit="63 µm")
    found = xsoil.convert_texture(two)
    assert_allclose(found.silt, xsoil.convert_texture(ds).silt, atol=1e-4)


@pytest.mark.parametrize("verb", ["ptf", "texture_class", "compare_scaling"])
def test_other_limits_are_refused(verb):
    calls = {
        "ptf": lambda ds: ds.soil.ptf(),
        "texture_class": lambda ds: ds.soil.texture_class(),
        "compare_scaling": lambda ds: ds.soil.compare_scaling("EASE2_M36km"),
    }
    ds = xsoil.data.synthetic_soil(xsoil.ease_grid("EASE2_M09km", (5, 45, 8, 47)))[["sand", "silt", "clay"]]
    calls[verb](ds)  # nothing said, nothing done
    for name in ("sand", "silt"):
        ds[name].attrs["silt_limit"] = "0.05 mm"
    calls[verb](ds)
    for name in ("sand", "silt"):
        ds[name].attrs["silt_limit"] = 63
    with pytest.raises(TextureError, match=r"63 um here.*50 um in.*convert_texture\(\)"):
        calls[verb](ds)
    calls[verb](ds.soil.convert_texture())


def test_the_limit_comes_along():
    ds = xsoil.data.synthetic_soil(xsoil.ease_grid("EASE2_M09km", (5, 45, 8, 47)))[["sand", "clay"]]
    ds.sand.attrs["silt_limit"] = 63
    assert ds.soil.upscale("EASE2_M36km").sand.silt_limit == 63
    depth = ("depth", [0.05, 0.15, 0.3], {"units": "m"})
    profile = ds.expand_dims(depth=3).assign_coords(depth=depth)
    assert profile.soil.depth_mean(0.05, 0.3).sand.silt_limit == 63


def test_faults():
    ds = soil(limit=None)
    with pytest.raises(TextureError, match=r"neither sand nor silt.*from_limit=63"):
        xsoil.convert_texture(ds)
    with pytest.raises(TextureError, match=r"from_limit=60, but sand and silt state 63 um"):
        xsoil.convert_texture(soil(), from_limit=60)
    mixed = soil()
    mixed.silt.attrs["silt_limit"] = 50
    with pytest.raises(TextureError, match=r"sand is 63 um, that of silt 50 um"):
        xsoil.convert_texture(mixed)
    for limit in ("sixty", 5000, "63 furlongs"):
        mixed.silt.attrs["silt_limit"] = limit
        with pytest.raises(TextureError, match="expected micrometres between 2 and 2000"):
            xsoil.convert_texture(mixed)
    with pytest.raises(ArgumentError, match="to_limit=2; expected micrometres"):
        xsoil.convert_texture(soil(), 2)
    with pytest.raises(UnknownNameError, match="unknown method 'log'"):
        xsoil.convert_texture(soil(), method="log")
    with pytest.raises(MissingVariableError, match="needs two of"):
        xsoil.convert_texture(soil()[["sand"]])


def test_attributes_of_the_user_that_stay_true():
    own = {"units": "g kg-1", "source": "a survey", "references": "doi:10.1", "taken_by": "me"}
    numbers = {"valid_max": 1000.0, "actual_range": [0.0, 900.0]}
    ds = xr.Dataset({n: ("x", [v], own | numbers) for n, v in (("sand", 400.0), ("silt", 400.0), ("clay", 200.0))})
    found = xsoil.convert_texture(ds, 50.0, from_limit=63.0)
    for name in TEXTURE:
        attrs = found[name].attrs
        assert (attrs["source"], attrs["taken_by"], attrs["units"]) == ("a survey", "me", "percent")
        assert attrs["references"].startswith("doi:10.1")
        assert not set(numbers) & set(attrs)
    assert "; " in found.sand.attrs["references"]
    assert found.clay.attrs["references"] == "doi:10.1"
    assert ds.sand.attrs == own | numbers
