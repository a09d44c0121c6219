"""`water_limits`: reference values, order of the limits, faults."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xsoil.errors import ArgumentError, MissingVariableError, UnitsError, UnknownNameError
from xsoil.physics.curves import CURVES
from xsoil.physics.retention import brooks_corey_theta, van_genuchten_theta
from xsoil.verbs._soil_curves import EXAMPLES
from xsoil.verbs.ptf import ptf
from xsoil.verbs.retention import retention
from xsoil.verbs.water_limits import FLAGS, MARGIN, water_limits
from xsoil.vocabulary import VARIABLES

METHODS = {
    "retention": ("theta_r", "theta_s", "alpha", "n"),
    "noah": ("theta_s", "psi_s", "b", "k_sat"),
    "clm": ("theta_s", "psi_s", "b", "k_sat"),
    "flux": ("theta_r", "theta_s", "alpha", "n", "k_sat"),
}
RANGES = {
    "theta_r": (0.0, 0.2),
    "theta_s": (0.25, 0.6),
    "alpha": (0.002, 0.2),
    "n": (1.05, 4.0),
    "psi_s": (-150.0, -1.0),
    "b": (2.0, 14.0),
    "k_sat": (0.01, 900.0),
    "lambda": (0.05, 0.9),
    "m": (0.05, 0.9),
}


def parameters(*names, shape=(6, 5), dtype=np.float64, seed=0):
    """Random maps with a grid mapping."""
    rng = np.random.default_rng(seed)
    attrs = {"grid_mapping": "crs"}
    ds = xr.Dataset(
        {n: (("y", "x"), rng.uniform(*RANGES[n], shape).astype(dtype), VARIABLES[n].attrs | attrs) for n in names},
        coords={"y": np.arange(shape[0])[::-1] * 1.0, "x": np.arange(shape[1]) * 1.0},
        attrs={"title": "parameters"},
    )
    ds["crs"] = xr.DataArray(0, attrs={"grid_mapping_name": "lambert_azimuthal_equal_area"})
    return ds


def soils(reference):
    with open(reference / "physics" / "ptf_inputs.csv") as file:
        rows = list(csv.DictReader(file))
    percent = {"units": "percent"}
    columns = {name: ("site", [float(r[name]) for r in rows], percent) for name in ("sand", "silt", "clay")}
    return xr.Dataset(columns), [r["id"] for r in rows]


@pytest.mark.parametrize(
    ("method", "ptf_name", "wanted"),
    [("noah", "cosby1984", "noah_fc_wp(cosby multivariate)"), ("clm", "cosby1984_univariate", "clm(cosby univariate)")],
)
def test_reference_values(reference, method, ptf_name, wanted):
    ds, ids = soils(reference)
    found = water_limits(ptf(ds, ptf_name), method)
    with open(reference / "physics" / "ptf_outputs.csv") as file:
        rows = {(r[0], r[2]): float(r[3]) for r in csv.reader(file) if r[1] == wanted}
    names = ("theta_fc", "theta_wp") if method == "noah" else ("theta_fc",)
    assert len(rows) >= 40
    for name in names:
        np.testing.assert_allclose(found[name], [rows[i, name] for i in ids], rtol=1e-9)


def test_noah_table():
    """REFSMC and WLTSMC of Noah's table for loam (b, psi_s, theta_s, K_s as there)."""
    loam = {"theta_s": 0.439, "psi_s": -0.355, "b": 5.25, "k_sat": 3.38e-6}
    units = {"theta_s": "m3 m-3", "psi_s": "m", "b": "1", "k_sat": "m s-1"}
    found = water_limits(xr.Dataset({n: ((), v, {"units": units[n]}) for n, v in loam.items()}), "noah")
    assert found.theta_fc.item() == pytest.approx(0.329, abs=1.5e-3)
    assert found.theta_wp.item() == pytest.approx(0.066, abs=1.5e-3)


def test_the_curve_that_is_there():
    h33, h1500 = -33 * 10.19716, -1500 * 10.19716
    ds = parameters("theta_r", "theta_s", "alpha", "n")
    found = water_limits(ds)
    for name, h in (("theta_fc", h33), ("theta_wp", h1500)):
        expected = van_genuchten_theta(h, ds.theta_r, ds.theta_s, ds.alpha, ds.n, 1 - 1 / ds.n)
        clear = found.water_limits_quality == 0
        assert clear.sum() > 10
        np.testing.assert_allclose(found[name].where(clear), expected.where(clear), rtol=1e-12)
    free_m = parameters("theta_r", "theta_s", "alpha", "n", "m")
    expected = van_genuchten_theta(h33, free_m.theta_r, free_m.theta_s, free_m.alpha, free_m.n, free_m.m)
    found = water_limits(free_m)
    clear = found.water_limits_quality == 0
    np.testing.assert_allclose(found.theta_fc.where(clear), expected.where(clear), rtol=1e-12)
    brooks_corey = parameters("theta_r", "theta_s", "psi_s", "lambda")
    expected = brooks_corey_theta(h33, *(brooks_corey[n] for n in ("theta_r", "theta_s", "psi_s", "lambda")))
    np.testing.assert_allclose(water_limits(brooks_corey).theta_fc, expected, rtol=1e-12)


def test_points_are_kept_and_asked_methods_win(reference):
    ds, _ = soils(reference)
    ds["organic_carbon"] = ("site", np.full(ds.sizes["site"], 1.0), {"units": "percent"})
    rawls = ptf(ds, "saxton_rawls2006")
    kept = water_limits(rawls)
    xr.testing.assert_allclose(kept[["theta_fc", "theta_wp"]], rawls[["theta_fc", "theta_wp"]], rtol=1e-12)
    both = parameters(*METHODS["retention"]).assign(theta_fc=3.0)
    assert (water_limits(both).theta_fc < 1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", METHODS)
def test_lazy_is_eager(method, dtype, no_compute):
    ds = parameters(*METHODS[method], dtype=dtype, shape=(40, 33))
    ds["n"] = ds.get("n", ds.theta_s).where(ds.x != 3)
    ds["n"].attrs["units"] = "1"
    before = ds.copy(deep=True)
    eager = water_limits(ds, method)
    xr.testing.assert_identical(ds, before)
    assert eager.theta_fc.dtype == dtype
    assert eager.attrs == ds.attrs
    assert eager.theta_wp.attrs["grid_mapping"] == "crs"
    assert eager.theta_wp.attrs["units"] == "m3 m-3"
    xr.testing.assert_identical(eager[list(ds)], ds)
    for chunks in ({"y": 7, "x": 5}, {"y": 40, "x": 1}):
        lazy = water_limits(ds.chunk(chunks), method)
        assert lazy.theta_fc.chunks is not None
        xr.testing.assert_identical(lazy.compute(scheduler="synchronous"), eager)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", METHODS)
def test_limits_are_in_order(method, dtype):
    ds = parameters(*METHODS[method], shape=(100, 100), dtype=dtype, seed=1)
    first, second = ds.x != 0, ds.x != 1
    if "n" in ds:
        ds["n"] = ds.n.where(first, 9.0).assign_attrs(units="1")  # so steep that the limits meet
        wet = (ds.x == 1) | (ds.x == 2)  # not drained at -33 kPa
        ds["alpha"] = ds.alpha.where(~wet, 1e-4).assign_attrs(units="cm-1")
    else:
        ds["psi_s"] = ds.psi_s.where(first, -2e4).assign_attrs(units="cm")
    if "k_sat" in ds:
        ds["k_sat"] = ds.k_sat.where(second, 1e-5).assign_attrs(units="cm d-1")
    found = water_limits(ds, method)
    fc, wp, s = (found[name].astype(float) for name in ("theta_fc", "theta_wp", "theta_s"))
    assert (wp + MARGIN < fc).all()
    assert (fc < s - MARGIN).all()
    quality = found.water_limits_quality
    assert ((quality & FLAGS["field_capacity_lowered"]) > 0).any()
    assert (quality == 0).any()
    assert method == "noah" or ((quality & FLAGS["wilting_point_lowered"]) > 0).any()
    if method == "retention":
        raised = ((quality & FLAGS["field_capacity_raised"]) > 0).sel(x=0)
        assert raised.any()
        np.testing.assert_allclose(wp.sel(x=0)[raised], ds.theta_r.sel(x=0)[raised], atol=1e-6)
    if "theta_r" in ds:
        assert (wp >= ds.theta_r - 1e-7).all()
    touched = (quality & FLAGS["field_capacity_lowered"]) > 0
    np.testing.assert_allclose(fc.where(touched), (s - MARGIN).where(touched), atol=2e-6)


@given(st.floats(0.01, 1000), st.floats(1.02, 6), st.floats(1e-3, 0.3))
def test_flux_method_drains_to_a_fixed_flux(k_sat, n, alpha):
    """More conductive soils drain further."""
    units = {name: VARIABLES[name].attrs for name in METHODS["flux"]}
    values = {"theta_r": 0.05, "theta_s": 0.45, "alpha": alpha, "n": n}
    ds = xr.Dataset({name: ("site", [v, v], units[name]) for name, v in values.items()})
    ds["k_sat"] = ("site", [k_sat, 1.2 * k_sat], units["k_sat"])
    fc = water_limits(ds, "flux").theta_fc.values
    assert fc[1] <= fc[0]
    if k_sat > 0.05:
        assert fc[0] == pytest.approx(min(0.05 + 0.4 * n ** (-0.6 * (2 + np.log10(k_sat))), 0.45 - 1.001e-3), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "value", "flag"),
    [
        ("theta_s", np.nan, "input_missing"),
        ("alpha", -0.1, "input_impossible"),
        ("n", 1.0, "input_impossible"),
        ("theta_r", 0.7, "input_impossible"),
        ("theta_s", 1.4, "input_impossible"),
        ("k_sat", 0.0, "input_impossible"),
        ("k_sat", np.inf, "input_impossible"),
    ],
)
def test_value_faults_become_nan_and_a_flag(name, value, flag):
    ds = parameters(*METHODS["flux"])
    ds[name][2, 3] = value
    found = water_limits(ds, "flux")
    for limit in ("theta_fc", "theta_wp"):
        assert np.isnan(found[limit][2, 3])
        assert np.isnan(found[limit]).sum() == 1
    assert found.water_limits_quality[2, 3] == FLAGS[flag]
    meanings = found.water_limits_quality.flag_meanings.split()
    assert dict(zip(meanings, found.water_limits_quality.flag_masks))[flag] == FLAGS[flag]


def test_heads_of_ones_own():
    """mHM has its wilting point at 15,000 cm; sand is at field capacity at -10 kPa."""
    ds = parameters("theta_r", "theta_s", "alpha", "n")
    found = water_limits(ds, field_capacity=-100.0, wilting_point=-15000.0)
    for name, h in (("theta_fc", -100.0), ("theta_wp", -15000.0)):
        expected = van_genuchten_theta(h, ds.theta_r, ds.theta_s, ds.alpha, ds.n, 1 - 1 / ds.n)
        clear = found.water_limits_quality == 0
        assert clear.sum() > 10
        np.testing.assert_allclose(found[name].where(clear), expected.where(clear), rtol=1e-12)
        assert found[name].attrs["pressure_head_cm"] == h
    assert water_limits(ds).theta_fc.attrs["pressure_head_cm"] == pytest.approx(-336.50628)
    kpa = xr.DataArray(-10.0, attrs={"units": "kPa"})
    np.testing.assert_allclose(
        water_limits(ds, field_capacity=kpa).theta_fc, water_limits(ds, field_capacity=-101.9716).theta_fc, rtol=1e-12
    )
    sandy = ds.x < 2
    by_soil = xr.where(sandy, -10.0, -33.0).assign_attrs(units="kPa")
    mixed = water_limits(ds, field_capacity=by_soil)
    wet, dry = water_limits(ds, field_capacity=kpa), water_limits(ds)
    xr.testing.assert_equal(mixed.theta_fc, xr.where(sandy, wet.theta_fc, dry.theta_fc).transpose("y", "x"))
    lazy = water_limits(ds.chunk(x=2), field_capacity=by_soil.chunk(x=3))
    xr.testing.assert_identical(lazy.compute(), mixed)
    by_soil[2], by_soil[4] = np.nan, 0.0
    holes = water_limits(ds, field_capacity=by_soil).water_limits_quality
    assert (holes[:, 2] == FLAGS["input_missing"]).all()
    assert (holes[:, 4] == FLAGS["input_impossible"]).all()


@pytest.mark.parametrize("curve", CURVES)
def test_any_curve(curve):
    _, values = EXAMPLES[curve]
    ds = xr.Dataset({name: ("site", [value], VARIABLES[name].attrs) for name, value in values.items()})
    if curve == "gardner":
        ds["alpha"] = ds.alpha.copy(data=[0.01])  # that of the example is dry at -60 cm
    found = water_limits(ds, field_capacity=-60.0, wilting_point=-3000.0)
    assert found.water_limits_quality.item() == 0
    at = retention(ds, [-60.0, -3000.0]).theta
    np.testing.assert_allclose([found.theta_fc.item(), found.theta_wp.item()], at[:, 0], rtol=1e-12)
    if curve == "campbell":
        assert water_limits(ds, curve="clapp_hornberger").identical(water_limits(ds))


def test_heads_as_arrays():
    """A single one is as good as a number; nodata and packing are read; heads in impossible order are flagged."""
    ds = parameters(*METHODS["retention"])
    number = water_limits(ds, field_capacity=-100.0)
    single = xr.DataArray(-1.0, attrs={"units": "m"})
    xr.testing.assert_identical(water_limits(ds, field_capacity=single), number)
    with pytest.raises(ArgumentError, match=r"field_capacity=1\.0; expected a pressure head"):
        water_limits(ds, field_capacity=xr.DataArray(1.0, attrs={"units": "cm"}))
    heads = xr.full_like(ds.theta_s, -1000, np.int16).assign_attrs(units="cm", scale_factor=0.1, _FillValue=-9999)
    found = water_limits(ds, field_capacity=heads)
    xr.testing.assert_allclose(found.theta_fc, number.theta_fc)
    first = dict.fromkeys(heads.dims, 0)
    assert (water_limits(ds, field_capacity=heads.where(heads != -1000, -9999)).water_limits_quality == 8).all()
    dry = xr.full_like(ds.theta_s, -20000.0).assign_attrs(units="cm")
    faulty = water_limits(ds, field_capacity=dry)
    assert (faulty.water_limits_quality == FLAGS["input_impossible"]).all()
    assert np.isnan(faulty.theta_wp[first])


def test_a_dim_called_m_is_no_parameter():
    ds = parameters(*METHODS["retention"])
    dim = ds.theta_s.dims[0]
    named = ds.assign_coords({dim: np.arange(ds.sizes[dim])})
    renamed = water_limits(named.rename({dim: "m"}))
    xr.testing.assert_identical(renamed.rename(m=dim), water_limits(named))


def test_faults_of_heads():
    ds = parameters(*METHODS["flux"])
    for head in (336.0, 0.0, np.nan, -np.inf, "dry"):
        with pytest.raises(ArgumentError, match=r"wilting_point=.*expected a pressure head \[cm, negative\]"):
            water_limits(ds, wilting_point=head)
    with pytest.raises(ArgumentError, match="not wetter than"):
        water_limits(ds, field_capacity=-20000.0)
    with pytest.raises(UnitsError, match="field_capacity has no units"):
        water_limits(ds, field_capacity=xr.DataArray(-10.0))
    with pytest.raises(ArgumentError, match="method='flux' has a definition of its own"):
        water_limits(ds, "flux", field_capacity=-100.0)
    assert water_limits(ds, "flux", wilting_point=-15000.0).theta_wp.attrs["pressure_head_cm"] == -15000.0
    with pytest.raises(ArgumentError, match="points of a curve"):
        water_limits(parameters("theta_s").assign(theta_fc=ds.theta_s, theta_wp=ds.theta_r), field_capacity=-100.0)
    with pytest.raises(ArgumentError, match="not defined for curve='campbell'; expected van_genuchten"):
        water_limits(ds, "flux", curve="campbell")


def test_metadata_faults_raise():
    ds = parameters(*METHODS["noah"])
    with pytest.raises(MissingVariableError, match=r"no 'psi_s', 'b' among .*cosby1984, .*clapp_hornberger1978"):
        water_limits(ds.drop_vars(["psi_s", "b"]), "noah")
    with pytest.raises(MissingVariableError, match=r"no 'k_sat' among .* with .*rosetta3"):
        water_limits(parameters(*METHODS["retention"]), "flux")
    with pytest.raises(UnknownNameError, match="did you mean 'retention'"):
        water_limits(ds, "retentoin")
    with pytest.raises(ArgumentError, match=r"curve='van_genuchten' or curve='campbell', or leave out 'b', 'psi_s'"):
        water_limits(parameters("theta_r", "theta_s", "alpha", "n", "psi_s", "b"))
    del ds.b.attrs["units"]
    with pytest.raises(UnitsError, match="'b' has no units"):
        water_limits(ds, "clm")


def test_units_are_read():
    ds = parameters(*METHODS["flux"])
    other = ds.assign(
        k_sat=(ds.k_sat / 8.64e6).assign_attrs(units="m/s"),
        alpha=(ds.alpha * 100).assign_attrs(units="1/m"),
        theta_s=(ds.theta_s * 100).assign_attrs(units="%"),
    )
    for name in ("theta_fc", "theta_wp"):
        np.testing.assert_allclose(water_limits(other, "flux")[name], water_limits(ds, "flux")[name], rtol=1e-12)
