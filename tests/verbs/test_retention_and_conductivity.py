"""`retention` and `conductivity`: reference values, bounds, order, units, chunks, faults."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from xsoil.errors import ArgumentError, MissingVariableError, UnitsError, UnknownNameError
from xsoil.physics.curves import CURVES
from xsoil.physics.elementary import NUMPY
from xsoil.physics.fredlund_xing_wang import fredlund_xing_wang_head
from xsoil.physics.power_laws import brooks_corey_head, gardner_head, haverkamp_head
from xsoil.physics.van_genuchten import van_genuchten_head
from xsoil.ptfs import PTFS
from xsoil.verbs._curves import FLAGS
from xsoil.verbs.conductivity import conductivity
from xsoil.verbs.ptf import ptf
from xsoil.verbs.retention import retention
from xsoil.vocabulary import KPA_IN_CM, VARIABLES

RANGES = {
    "theta_r": (0.0, 0.2), "theta_s": (0.25, 0.6), "alpha": (0.002, 0.2), "n": (1.05, 4.0), "m": (0.2, 1.6),
    "psi_s": (-150.0, -1.0), "b": (2.0, 14.0), "lambda": (0.05, 0.9), "a": (10.0, 1e6), "beta": (0.5, 4.0),
    "k_sat": (0.01, 900.0), "k_0": (0.01, 90.0), "l": (-1.0, 1.0), "k_a": (10.0, 1e6), "gamma": (1.0, 5.0),
}  # fmt: skip
HEADS = [5.0, 0.0, -0.5, -10.0, -16.0, -336.5, -15000.0, -1e6]


def parameters(curve, shape=(6, 5), dtype=np.float64, seed=0):
    """Random maps with a grid mapping."""
    rng = np.random.default_rng(seed)
    names = dict.fromkeys([*CURVES[curve].retention, *CURVES[curve].conductivity])
    ds = xr.Dataset(
        {
            n: (("y", "x"), rng.uniform(*RANGES[n], shape).astype(dtype), VARIABLES[n].attrs | {"grid_mapping": "crs"})
            for n in names
        },
        coords={"y": np.arange(shape[0])[::-1] * 1.0, "x": np.arange(shape[1]) * 1.0},
        attrs={"title": "parameters"},
    )
    ds["crs"] = xr.DataArray(0, attrs={"grid_mapping_name": "lambert_azimuthal_equal_area"})
    return ds


def test_reference_values(reference):
    with open(reference / "physics" / "hydraulic_curves.csv") as file:
        rows = list(csv.DictReader(file))
    names = {"thr": "theta_r", "ths": "theta_s", "a": "alpha", "Ks": "k_sat"}
    for text in sorted({row["params"] for row in rows}):
        own = [row for row in rows if row["params"] == text]
        values = {names.get(k, k): float(v) for k, v in re.findall(r"(\w+)=(\S+)", text)}
        if own[0]["model"] == "VGM":
            values.pop("m", None)
        else:
            values.pop("theta_r", None)
        ds = xr.Dataset({name: ((), value, VARIABLES[name].attrs) for name, value in values.items()})
        h = [float(row["h_cm"]) for row in own]
        assert_allclose(retention(ds, h).theta, [float(row["theta"]) for row in own], rtol=6e-10)
        assert_allclose(conductivity(ds, h).k, [float(row["K_cm_d"]) for row in own], rtol=6e-10)


@pytest.mark.parametrize("curve", CURVES)
def test_bounds_and_order(curve):
    ds = parameters(curve, shape=(30, 20), seed=1)
    h = np.concatenate([[1e3, 0.0], -np.logspace(-3, 7, 80)])
    theta = retention(ds, h).theta
    assert theta.dims == ("h", "y", "x")
    assert theta.notnull().all()
    assert (theta.diff("h") <= 1e-15).all()
    assert (theta <= ds.theta_s).all()
    assert (theta >= (ds.theta_r if "theta_r" in ds else 0)).all()
    assert_allclose(theta.isel(h=1), ds.theta_s, rtol=1e-15)
    assert (theta.isel(h=0) == theta.isel(h=1)).all()
    k = conductivity(ds, h).k
    assert (k.diff("h") <= 1e-12 * ds.k_sat).all()
    assert ((k >= 0) & (k <= ds.k_sat * (1 + 1e-12))).all()
    assert_allclose(k.isel(h=1), ds.k_sat, rtol=1e-14)


@given(st.sampled_from(list(CURVES)), st.integers(0, 2**31), st.floats(-1e4, -0.1))
def test_the_head_comes_back(curve, seed, h):
    inverse = {
        "van_genuchten": van_genuchten_head, "fredlund_xing_wang": fredlund_xing_wang_head,
        "brooks_corey": brooks_corey_head, "campbell": brooks_corey_head, "gardner": gardner_head,
        "haverkamp": haverkamp_head,
    }[curve](NUMPY)  # fmt: skip
    ds = parameters(curve, shape=(1, 4), seed=seed)
    theta = retention(ds, h).theta.values
    values = [ds[name].values for name in CURVES[curve].retention]
    if curve == "van_genuchten":
        values.append(1 - 1 / values[3])
    if curve == "campbell":
        values = [0.0, values[0], values[1], 1 / values[2]]
    dry = retention(ds, [0.999 * h, 1.001 * h]).theta.values
    resolved = (dry[0] - dry[1]) / theta > 1e-9  # elsewhere the water content does not tell the head
    assert_allclose(inverse(theta, *values)[resolved], h, rtol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("curve", CURVES)
def test_lazy_is_eager_and_chunks_do_not_matter(curve, dtype, no_compute):
    ds = parameters(curve, dtype=dtype, shape=(40, 33))
    ds["theta_s"] = ds.theta_s.where(ds.x != 3)
    before = ds.copy(deep=True)
    for verb, name in ((retention, "theta"), (conductivity, "k")):
        eager = verb(ds, HEADS, quality=True)
        xr.testing.assert_identical(ds, before)
        assert eager[name].dtype == dtype
        assert eager[name].shape == (8, 40, 33)
        assert eager[name].notnull().sum() == 8 * 40 * 32
        assert (eager.quality == FLAGS["input_missing"]).sum() == 8 * 40
        assert eager.attrs == ds.attrs
        assert eager[name].attrs["grid_mapping"] == "crs"
        assert eager[name].attrs["curve"] == curve
        assert eager[name].attrs["references"] == CURVES[curve].reference
        assert eager.h.attrs["units"] == "cm"
        assert "crs" in eager.coords
        for chunks in ({"y": 7, "x": 5}, {"y": 40, "x": 1}):
            lazy = verb(ds.chunk(chunks), HEADS, quality=True)
            assert lazy[name].chunks[0] == (8,)
            xr.testing.assert_identical(lazy.compute(scheduler="synchronous"), eager)
        part = verb(ds.isel(y=slice(3, 9), x=slice(5, 6)), HEADS[3])[name]
        assert (part == eager[name].isel(y=slice(3, 9), x=slice(5, 6), h=3)).all()


def test_units_and_kinds_of_heads():
    ds = parameters("van_genuchten")
    plain = retention(ds, [-33 * KPA_IN_CM, -1500 * KPA_IN_CM])
    assert plain.theta.attrs["units"] == "m3 m-3"
    for factor, units in ((-1.0, "kPa"), (-10.0, "hPa"), (-0.001, "MPa"), (-KPA_IN_CM / 100, "m")):
        h = xr.DataArray(factor * np.array([33.0, 1500.0]), dims="pressure", attrs={"units": units})
        xr.testing.assert_allclose(retention(ds, h), plain, rtol=1e-13)
    one = retention(ds, -33 * KPA_IN_CM)
    assert one.theta.dims == ("y", "x")
    assert one.h.item() == -33 * KPA_IN_CM
    xr.testing.assert_identical(one, plain.isel(h=0))
    other = ds.assign(
        alpha=(ds.alpha * 100).assign_attrs(units="m-1"), theta_s=(ds.theta_s * 100).assign_attrs(units="%"),
        k_sat=(ds.k_sat / 8.64e6).assign_attrs(units="m/s"),
    )  # fmt: skip
    xr.testing.assert_allclose(retention(other, HEADS), retention(ds, HEADS), rtol=1e-12)
    xr.testing.assert_allclose(conductivity(other, HEADS), conductivity(ds, HEADS), rtol=1e-9)


def test_dims_of_any_kind():
    ds = parameters("campbell").expand_dims(depth=[0.05, 0.3]).assign(b=parameters("campbell").b)
    assert retention(ds, HEADS).theta.dims == ("h", "depth", "y", "x")
    site = parameters("campbell").isel(y=0, x=[1, 2], drop=True).rename(x="site")
    assert retention(site, HEADS).theta.dims == ("h", "site")
    assert retention(site.isel(site=0), HEADS).theta.dims == ("h",)


@pytest.mark.parametrize("entry", [e for e in PTFS.values() if e.curve], ids=lambda entry: entry.name)
def test_what_pedotransfer_functions_give(entry):
    values = {
        "sand": 40.0, "silt": 40.0, "clay": 20.0, "bulk_density": 1.4, "organic_carbon": 1.2, "ph": 6.5, "cec": 15.0,
        "topsoil": 1.0,
    }  # fmt: skip
    ds = xr.Dataset({n: ("site", [v, v], {"units": VARIABLES[n].units}) for n, v in values.items()})
    soil = ptf(ds, entry)
    theta = retention(soil, [-100.0, -15000.0]).theta
    assert theta.attrs["curve"] == entry.curve
    assert ((theta > 0.03) & (theta < soil.theta_s)).all()
    if "m" in soil:
        with pytest.raises(ArgumentError, match=r"m of its own .* ds.drop_vars\('m'\)"):
            conductivity(soil, -100.0)
    elif "k_sat" not in soil and "k_0" not in soil:
        with pytest.raises(MissingVariableError, match=r"no 'k_sat' among .*rosetta3"):
            conductivity(soil, -100.0)
    else:
        k = conductivity(soil, [-100.0, -1000.0]).k
        assert ((k > 1e-8) & (k < 10)).all()
        assert (k[0] > k[1]).all()


def test_a_matching_point_is_not_saturation():
    ds = parameters("van_genuchten").rename(k_sat="k_0")
    ds["k_0"].attrs = VARIABLES["k_0"].attrs
    found = conductivity(ds, [0.0, -5.9, -6.0, -100.0], quality=True)
    assert found.k.isel(h=[0, 1]).isnull().all()
    assert (found.quality.isel(h=[0, 1]) == FLAGS["above_matching_point"]).all()
    scaled = ds.drop_vars("k_0").assign(k_sat=ds.k_0.assign_attrs(VARIABLES["k_sat"].attrs))
    xr.testing.assert_allclose(found.k.isel(h=[2, 3]), conductivity(scaled, [-6.0, -100.0]).k)
    both = scaled.assign(k_0=ds.k_0)
    with pytest.raises(ArgumentError, match="choose matching='k_0'"):
        conductivity(both, -100.0)
    xr.testing.assert_identical(conductivity(both, -100.0, matching="k_0"), conductivity(ds, -100.0))
    own = conductivity(both, -100.0, matching="k_sat")
    xr.testing.assert_identical(own, conductivity(scaled.drop_vars("l"), -100.0))
    with pytest.raises(ArgumentError, match=r"matching point, from which .* below -6 cm"):
        conductivity(ds, [-1.0, 0.0])
    with pytest.raises(UnknownNameError, match="did you mean 'k_sat'"):
        conductivity(both, -100.0, matching="ksat")
    with pytest.raises(ArgumentError, match="belongs to curve='van_genuchten'"):
        conductivity(parameters("campbell"), -100.0, matching="k_0")
    with pytest.raises(MissingVariableError, match="no 'k_sat'"):
        conductivity(ds, -100.0, matching="k_sat")


def test_which_curve():
    vg, campbell = parameters("van_genuchten"), parameters("campbell")
    fxw = parameters("fredlund_xing_wang")
    both = vg.assign(psi_s=campbell.psi_s, b=campbell.b)
    with pytest.raises(
        ArgumentError, match=r"2 curves; .*='van_genuchten' or curve='campbell', or leave out 'b', 'psi_s'"
    ):
        retention(both, -10.0)
    assert retention(both, -10.0, curve="campbell").theta.attrs["curve"] == "campbell"
    same = retention(both, -10.0, curve="clapp_hornberger")
    xr.testing.assert_identical(same.theta, retention(both, -10.0, curve="campbell").theta)
    # an m beside theta_r is van Genuchten's own; without theta_r it is the curve of Fredlund, Xing & Wang
    free = vg.assign(m=fxw.m)
    m1 = free.assign(m=xr.ones_like(fxw.m))
    assert retention(free, -10.0).theta.attrs["curve"] == "van_genuchten"
    expected = vg.theta_r + (vg.theta_s - vg.theta_r) / (1 + (vg.alpha * 10) ** vg.n)
    assert_allclose(retention(m1, -10.0).theta, expected, rtol=1e-12)
    assert retention(free.drop_vars("theta_r"), -10.0).theta.attrs["curve"] == "fredlund_xing_wang"
    assert retention(free, -10.0, curve="fredlund_xing_wang").theta.attrs["curve"] == "fredlund_xing_wang"
    # those of Gardner are part of van Genuchten's
    assert retention(vg.drop_vars("n"), -10.0).theta.attrs["curve"] == "gardner"
    with pytest.raises(
        MissingVariableError, match=r"retention needs .* no 'b' among .*cosby1984, .*clapp_hornberger1978"
    ):
        retention(campbell.drop_vars("b"), -10.0)
    with pytest.raises(MissingVariableError, match=r"no 'a', 'beta' among .* measured ones"):
        retention(vg, -10.0, curve="haverkamp")
    with pytest.raises(MissingVariableError, match=r"no 'k_a', 'gamma' among"):
        conductivity(parameters("haverkamp").drop_vars(["k_a", "gamma"]), -10.0)
    for name in ("van_genuchtn", ["van_genuchten"]):
        with pytest.raises(UnknownNameError, match="did you mean 'van_genuchten'"):
            retention(vg, -10.0, curve=name)


@pytest.mark.parametrize(
    ("name", "value", "flag"),
    [
        ("theta_s", np.nan, "input_missing"), ("alpha", -0.1, "input_impossible"), ("n", 1.0, "input_impossible"),
        ("theta_r", 0.7, "input_impossible"), ("theta_s", 1.4, "input_impossible"), ("k_sat", 0.0, "input_impossible"),
        ("l", -60.0, "input_impossible"),
    ],
)  # fmt: skip
def test_value_faults_become_nan_and_a_flag(name, value, flag):
    ds = parameters("van_genuchten")
    ds[name][2, 3] = value
    found = conductivity(ds, HEADS, quality=True)
    assert found.k[:, 2, 3].isnull().all()
    assert found.k.isnull().sum() == len(HEADS)
    assert (found.quality[:, 2, 3] == FLAGS[flag]).all()
    assert (found.quality == 0).sum() == found.k.notnull().sum()
    assert dict(zip(found.quality.flag_meanings.split(), found.quality.flag_masks))[flag] == FLAGS[flag]
    if name not in ("k_sat", "l"):
        assert retention(ds, HEADS).theta.isnull().sum() == len(HEADS)


@pytest.mark.parametrize("h", ["wet", "-100", [], [np.nan], [[1.0, 2.0]], -np.inf, None, True])
def test_heads_that_are_none(h):
    with pytest.raises(ArgumentError, match="expected a pressure head, or a sequence"):
        retention(parameters("gardner"), h)


def test_dims_called_like_parameters():
    """A dim n or m, with a coordinate, is no parameter of the soil; one called like a result has to be renamed."""
    ds = parameters("van_genuchten")
    for name in ("m", "b"):
        renamed = ds.rename(x=name)
        xr.testing.assert_identical(retention(renamed, HEADS).rename({name: "x"}), retention(ds, HEADS))
        xr.testing.assert_identical(conductivity(renamed, HEADS).rename({name: "x"}), conductivity(ds, HEADS))
    with pytest.raises(MissingVariableError, match="no 'n' among"):
        retention(ds.drop_vars("n").rename(x="n"), -10.0, curve="van_genuchten")
    for faulty, verb, name in (
        (ds.rename(x="theta"), retention, "theta"), (ds.assign_coords(k=3.0), conductivity, "k"),
        (ds.rename(x="quality"), retention, "quality"),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=rf"coordinate '{name}' already: ds.rename\({name}=...\)"):
            verb(faulty, -10.0, quality=True)


def test_declared_nodata_and_scale_of_heads():
    ds = parameters("van_genuchten")
    packed = xr.DataArray(np.array([-336, -15000], np.int16), dims="h", attrs={"units": "cm", "scale_factor": 0.1})
    xr.testing.assert_allclose(retention(ds, packed), retention(ds, [-33.6, -1500.0]))
    with pytest.raises(ArgumentError, match="expected a pressure head"):
        retention(ds, packed.assign_attrs(_FillValue=-15000))


def test_faults_of_metadata():
    ds = parameters("gardner")
    with pytest.raises(UnitsError, match=r"h has no units.*h.attrs\['units'\] = 'cm'"):
        retention(ds, xr.DataArray([-10.0], dims="h"))
    with pytest.raises(UnitsError, match="h has units 'degC'"):
        retention(ds, xr.DataArray([-10.0], dims="h", attrs={"units": "degC"}))
    with pytest.raises(ArgumentError, match="h lies along"):
        retention(ds, xr.DataArray(np.zeros(5), dims="x", attrs={"units": "cm"}))
    with pytest.raises(ArgumentError, match="h is lazy"):
        retention(ds, xr.DataArray([-10.0], dims="h", attrs={"units": "cm"}).chunk())
    with pytest.raises(ArgumentError, match="coordinate 'h' already"):
        retention(ds.expand_dims(h=2), -10.0)
    del ds.alpha.attrs["units"]
    with pytest.raises(UnitsError, match="'alpha' has no units"):
        retention(ds, -10.0)
