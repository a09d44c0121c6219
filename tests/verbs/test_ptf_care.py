"""Stones and peat in `ptf`: published corrections, flags, faults."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import xsoil
from xsoil.errors import ArgumentError, MissingVariableError, UnknownNameError
from xsoil.ptfs import PTFS
from xsoil.ptfs.coarse_fragments import COARSE_FRAGMENTS
from xsoil.ptfs.evaluate import FLAGS

PERCENT = {"units": "percent"}
ORGANIC = FLAGS["organic_soil"]


def sites(**columns):
    """One soil per site; a loam where nothing is said."""
    size = max(np.size(values) for values in columns.values())
    loam = {"sand": 40.0, "silt": 40.0, "clay": 20.0, "organic_carbon": 1.5, "ph": 6.5, "cec": 15.0, "topsoil": 1.0}
    units = {"bulk_density": "g cm-3", "ph": "1", "cec": "cmol kg-1", "topsoil": "1", "peat_class": "1"}
    values = loam | {"bulk_density": 1.4} | columns
    return xr.Dataset(
        {
            name: ("site", np.resize(np.asarray(value, float), size), {"units": units.get(name, "percent")})
            for name, value in values.items()
        }
    )


# ---- stones


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("ravina_magier1984", 0.7),
        ("peck_watson1979", 2 * 0.7 / 2.3),
        # porosity 1 - 1.4 / 2.65 of the fine earth: 1.4 * 0.7 g of it and 2.65 * 0.3 g of stones in a cm3
        ("brakensiek1986", 0.98 / (0.98 + 0.795)),
    ],
)
def test_published_reductions(name, share):
    stony, fine = sites(coarse_fragments=30), sites(coarse_fragments=0)
    found, without = (ds.soil.ptf("wosten1999", coarse_fragments=name) for ds in (stony, fine))
    xr.testing.assert_equal(without, fine.soil.ptf("wosten1999"))
    assert_allclose(found.k_sat / without.k_sat, share, rtol=1e-12)
    for water in ("theta_s", "theta_r"):
        assert_allclose(found[water] / without[water], 0.7, rtol=1e-12)
    for other in ("alpha", "n", "l"):
        assert_array_equal(found[other], without[other])
    assert found.k_sat.attrs["ptf_coarse_fragments"] == name
    assert COARSE_FRAGMENTS[name].reference in found.k_sat.attrs["references"]


def test_void_ratios_are_masses_where_stones_and_grains_weigh_the_same():
    ds = sites(coarse_fragments=[10, 30, 60])
    theta_s = ds.soil.ptf("cosby1984").theta_s
    void = ds.soil.ptf("cosby1984", coarse_fragments="bouwer_rice1984").k_sat
    ds["bulk_density"] = (2.65 * (1 - theta_s)).assign_attrs(units="g cm-3")
    mass = ds.soil.ptf("cosby1984", coarse_fragments="brakensiek1986").k_sat
    assert_allclose(void, mass, rtol=1e-12)


@pytest.mark.parametrize("name", COARSE_FRAGMENTS)
def test_more_stones_less_water(name):
    ds = sites(coarse_fragments=np.linspace(0, 99, 34))
    found = ds.soil.ptf("toth2015", coarse_fragments=name, quality=True)
    for output in ("theta_s", "theta_fc", "theta_wp", "k_sat"):
        assert (found[output].diff("site") < 0).all()
        assert (found[output] > 0).all()
    assert (found.quality == 0).all()


def test_standard_deviations_of_rosetta_shrink_too():
    entry = PTFS["rosetta3"].with_options(std=True)
    found, without = (
        sites(coarse_fragments=stones).soil.ptf(entry, coarse_fragments="ravina_magier1984") for stones in (50, 0)
    )
    for output in ("theta_s", "theta_s_std", "k_sat", "k_sat_std"):
        assert_allclose(found[output] / without[output], 0.5, rtol=1e-12)
    assert_array_equal(found.n_std, without.n_std)


def test_faulty_stones():
    ds = sites(coarse_fragments=[20, np.nan, -5, 100, 120])
    found = ds.soil.ptf(coarse_fragments="peck_watson1979", quality=True)
    flags = ["input_missing", "input_impossible", "result_impossible", "input_impossible"]
    assert_array_equal(found.quality, [0, *(FLAGS[flag] for flag in flags)])
    assert_array_equal(np.isnan(found.k_sat), [False, True, True, True, True])
    assert (ds.soil.ptf(quality=True).quality == 0).all()  # nothing asked, nothing done


def test_stones_that_cannot_be():
    ds = sites(coarse_fragments=20)
    with pytest.raises(UnknownNameError, match="did you mean 'ravina_magier1984'"):
        ds.soil.ptf(coarse_fragments="ravina_magier")
    with pytest.raises(ArgumentError, match=r"needs 'theta_s', which li2024_cb1 does not give.*peck_watson1979"):
        ds.soil.ptf("li2024_cb1", coarse_fragments="bouwer_rice1984")
    own = PTFS["saxton_rawls2006"].with_options(coarse_fragments="correct")
    with pytest.raises(ArgumentError, match="corrects for them by itself"):
        ds.soil.ptf(own, coarse_fragments="ravina_magier1984")
    with pytest.raises(MissingVariableError, match="no 'coarse_fragments'"):
        sites(sand=40).soil.ptf(coarse_fragments="ravina_magier1984")


# ---- peat


def test_limits_of_organic_soils():
    clay = np.array([0, 0, 30, 30, 60, 60, 80, 80, 30.0])
    carbon = np.array([11.9, 12, 14.9, 15, 17.9, 18, 17.9, 18, np.nan])
    ds = sites(clay=clay, sand=100 - clay, silt=0 * clay, organic_carbon=carbon)
    flagged = ds.soil.ptf(quality=True)
    assert_array_equal(flagged.quality & ORGANIC, ORGANIC * np.array([0, 1, 0, 1, 0, 1, 0, 1, 0]))
    xr.testing.assert_identical(flagged.drop_vars("quality"), ds.soil.ptf())  # flags alone
    assert (flagged.quality[-1] & FLAGS["input_missing"]) == 0  # cosby needs no carbon
    alone = ds[["sand", "organic_carbon"]].soil.ptf("li2024_cb1", quality=True)  # clay unknown: the higher limit
    assert_array_equal(alone.quality & ORGANIC, ORGANIC * (carbon >= 18))


def test_flags_widen_nothing():
    ds = sites(sand=40.0).astype(np.float32)
    ds["organic_carbon"] = ds.organic_carbon.astype(float)
    assert ds.soil.ptf(quality=True).k_sat.dtype == np.float32
    ds["organic_carbon"] = ds.organic_carbon.expand_dims(depth=3)
    assert ds.soil.ptf(quality=True).k_sat.dims == ("site",)


def test_parameters_of_letts():
    """As the Canadian Land Surface Scheme has them."""
    ds = sites(organic_carbon=[40, 40, 40, 1.5], peat_class=[1, 2, 3, 1])
    found = ds.soil.ptf("cosby1984", organic="letts2000", quality=True)
    assert_allclose(found.theta_s[:3], [0.93, 0.88, 0.83])
    assert_allclose(found.b[:3], [2.7, 6.1, 12.0])
    assert_allclose(found.psi_s[:3], [-1.03, -1.02, -1.01])
    assert_allclose(found.k_sat[:3] / 8.64e6, [2.8e-4, 2.0e-6, 1.0e-7])
    mineral = ds.soil.ptf("cosby1984")
    for output in mineral:
        assert_array_equal(found[output][3], mineral[output][3])
    assert_array_equal(found.quality, [ORGANIC] * 3 + [0])
    assert "Letts" in found.k_sat.attrs["references"]
    assert found.k_sat.attrs["ptf_organic"] == "letts2000"


@pytest.mark.parametrize("name", [name for name in PTFS if PTFS[name].curve and "rosetta" not in name])
def test_curves_of_peat_are_one(name):
    """Campbell's curve of Letts et al., or what `convert_curve` makes of it."""
    ds = sites(organic_carbon=[30, 30, 30], peat_class=[1, 2, 3])
    campbell = ds.soil.ptf("cosby1984", organic="letts2000")
    found = ds.soil.ptf(name, organic="letts2000", quality=True)
    assert_array_equal(found.quality, ORGANIC)
    if PTFS[name].curve == "van_genuchten" and "k_sat" in found and "m" not in found:
        expected = campbell.soil.convert_curve("brooks_corey").soil.convert_curve(
            "van_genuchten", method="morel_seytoux"
        )
        for output in ("theta_s", "theta_r", "alpha", "n", "k_sat"):
            assert_allclose(found[output], expected[output], rtol=1e-6, atol=1e-12)
    if PTFS[name].curve == "brooks_corey":
        expected = campbell.soil.convert_curve("brooks_corey")
        for output in expected:
            if output in found:
                assert_allclose(found[output], expected[output], rtol=1e-6, atol=1e-12)


def test_points_of_peat_lie_on_its_curve():
    ds = sites(organic_carbon=[30, 30, 30], peat_class=[1, 2, 3])
    points = ds.soil.ptf("saxton_rawls2006", organic="letts2000")
    curve = ds.soil.ptf("cosby1984", organic="letts2000").soil.retention([-33 * 10.19716, -1500 * 10.19716])
    assert_allclose(points.theta_fc, curve.theta.isel(h=0), rtol=1e-6)
    assert_allclose(points.theta_wp, curve.theta.isel(h=1), rtol=1e-6)
    assert (points.theta_s > points.theta_fc).all()
    assert (points.theta_fc > points.theta_wp).all()


def test_class_by_depth():
    depth = ("depth", [0.025, 0.10, 0.225, 0.45], {"units": "m", "bounds": "depth_bounds"})
    ds = sites(organic_carbon=30).drop_vars("topsoil").expand_dims(depth=4).assign_coords(depth=depth)
    ds["depth_bounds"] = (("depth", "nv"), [[0, 0.05], [0.05, 0.15], [0.15, 0.30], [0.30, 0.60]])
    # 5 to 15 cm: the middle lies on the limit
    assert_allclose(ds.soil.ptf(organic="letts2000").theta_s[:, 0], [0.93, 0.88, 0.88, 0.83])
    ds.depth.attrs.pop("bounds")
    points = ds.drop_vars("depth_bounds").assign_coords(depth=("depth", [0.0, 0.05, 0.15, 1.0], {"units": "m"}))
    assert_allclose(points.soil.ptf(organic="letts2000").theta_s[:, 0], [0.93, 0.93, 0.88, 0.83])


def test_peat_needs_no_texture():
    ds = sites(
        organic_carbon=[40, 40, 40, np.nan, 40, 140],
        sand=[np.nan, 90, 40, 40, 40, 40],
        clay=[20, 90, 20, 20, 20, 20],
        peat_class=[1, 2, np.nan, 1, 7, 1],
    )
    found = ds.soil.ptf(organic="letts2000", quality=True)
    assert_allclose(found.theta_s[:2], [0.93, 0.88])
    assert found.theta_s[2:].isnull().all()
    missing, wrong = FLAGS["input_missing"], FLAGS["input_impossible"]
    assert_array_equal(found.quality, [ORGANIC, ORGANIC, missing | ORGANIC, missing, wrong | ORGANIC, wrong])


def test_peat_that_cannot_be():
    ds = sites(organic_carbon=30)
    with pytest.raises(MissingVariableError, match=r"needs 'peat_class'.*ds.assign\(peat_class=1\)"):
        ds.soil.ptf(organic="letts2000")
    assert_allclose(ds.assign(peat_class=1).soil.ptf(organic="letts2000").theta_s, 0.93)  # as the message says
    with pytest.raises(MissingVariableError, match="no 'organic_carbon'"):
        ds.drop_vars("organic_carbon").soil.ptf(organic="letts2000")
    with pytest.raises(UnknownNameError, match="did you mean 'letts2000'"):
        ds.soil.ptf(organic="letts")
    with pytest.raises(ArgumentError, match=r"has no theta_r_std.*leave it out"):
        ds.assign(peat_class=1).soil.ptf(PTFS["rosetta3"].with_options(std=True), organic="letts2000")


@settings(max_examples=6)
@given(st.integers(1, 40), st.sampled_from(["wosten1999", "cosby1984"]))
def test_chunks_do_not_show(chunk, name):
    rng = np.random.default_rng(0)
    ds = sites(
        organic_carbon=rng.uniform(0, 40, 40), coarse_fragments=rng.uniform(0, 100, 40),
        peat_class=rng.integers(1, 4, 40), sand=rng.uniform(0, 60, 40),
    ).drop_vars("silt")  # fmt: skip
    options = {"quality": True, "coarse_fragments": "brakensiek1986", "organic": "letts2000"}
    whole = xsoil.ptf(ds, name, **options)
    lazy = xsoil.ptf(ds.chunk(site=chunk), name, **options)
    assert lazy.k_sat.chunks is not None
    xr.testing.assert_identical(whole, lazy.compute())


def test_results_say_where_their_maps_come_from():
    attrs = {"units": "percent"}
    sand = xr.DataArray([40.0], dims="x", attrs=attrs | {"source": "survey A", "valid_max": 100.0})
    clay = xr.DataArray([20.0], dims="x", attrs=attrs | {"source": "survey B"})
    found = xsoil.ptf(xr.Dataset({"sand": sand, "clay": clay}), "cosby1984_univariate")
    for array in found.data_vars.values():
        assert array.attrs["source"] == "survey A; survey B"
        assert "valid_max" not in array.attrs
    both = xr.Dataset({"sand": sand.assign_attrs(source="survey B"), "clay": clay})
    assert xsoil.ptf(both, "cosby1984_univariate").k_sat.attrs["source"] == "survey B"
