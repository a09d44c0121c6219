"""Single against double precision, a hundred years, denormal numbers and extreme soils."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from numerics import apart, cases, forcing, single

import xsoil

BUCKET = {
    "theta_s": 0.5, "theta_fc": 0.25, "theta_wp": 0.125, "root_depth": 0.5, "depletion_fraction": 0.25,
    "crop_coefficient": 0.75,
}  # fmt: skip
LOAM = {"theta_r": 0.0625, "theta_s": 0.4375, "alpha": 0.03125, "n": 1.5, "k_sat": 25.0}
FLUXES = ("theta", "storage", "actual_et", "runoff", "drainage")
K_SAT = xr.Dataset({"k_sat": ("site", np.logspace(-6, 6, 13), {"units": "cm d-1"})})
BOUNDS = {
    "upscale mean": 1e-7, "upscale geometric": 2e-7, "upscale median": 0.0, "downscale bilinear": 1e-7,
    "retention -330 cm": 2e-7, "conductivity -15000 cm": 2e-7, "depth_mean": 2e-7, "rootzone": 2e-6,
    "ptf cosby1984": 2e-6, "evaluate": 1e-4, "upscale mode": 0.0, "upscale quantile": 0.0, "upscale power": 2e-7,
    "downscale conservative": 2e-7, "water_limits clm": 2e-7, "texture_class": 0.0,
    "apply_weights": 1e-7, "prepare_forcing hargreaves85": 1e-6, "conservation_report": 1e-6,
    "compare_scaling": 2e-5, "draw_soil": 1e-4,
}  # fmt: skip


@pytest.mark.parametrize("name", list(BOUNDS))
def test_single_precision_is_near_double(name):
    call = dict(cases())[name]
    rows = list(apart(call))
    assert rows
    assert max(relative for _, _, relative in rows) <= BOUNDS[name], rows


def imbalance(run, rain):
    """Water that came, less what left and what stayed [mm], by cell; fluxes summed in double precision."""
    gone = sum(run[name].astype("f8").sum("time") for name in ("actual_et", "runoff", "drainage"))
    before = 0.25 * 0.5 * 1000  # field capacity
    after = run.final_theta.astype("f8") * 500
    return np.abs(rain.precipitation.astype("f8").sum("time") - gone - (after - before))


def test_a_hundred_years_of_the_water_balance():
    """36,525 days in blocks of 1,000, for k_sat of 1e-6 to 1e6 cm/d: closed to round-off, the same in one block."""
    rain = forcing(36525)
    run = K_SAT.soil.simulate(rain, outputs=FLUXES, **BUCKET)
    total = float(rain.precipitation.sum())
    assert float(imbalance(run, rain).max()) <= 1e-12 * total
    blocks = K_SAT.soil.simulate(rain.chunk(time=1000), outputs=FLUXES, **BUCKET)
    xr.testing.assert_identical(blocks.compute(), run)
    assert run.theta.min() >= 0.125 - 1e-12
    assert run.theta.max() <= 0.5 + 1e-12
    assert not run.status.any()
    narrow = single(K_SAT).soil.simulate(single(rain), outputs=FLUXES, **BUCKET)
    assert narrow.theta.dtype == np.float32
    assert float(imbalance(narrow, rain).max()) <= 1e-6 * total
    apart = float(np.abs(narrow.theta - run.theta).max())
    print(
        f"{total:.0f} mm of rain; missing: {float(imbalance(run, rain).max()):.1e} mm, in single precision "
        f"{float(imbalance(narrow, rain).max()):.1e} mm; theta differs by {apart:.1e}"
    )
    assert apart <= 1e-5


def test_denormal_rain():
    """Rain and demand of 1e-310 mm are none: no slower path into other numbers, no flag."""
    rain = forcing(400)
    tiny = rain.where(rain > 6, 1e-310)
    none = rain.where(rain > 6, 0.0)
    runs = [
        K_SAT.soil.simulate(f.assign({n: f[n].assign_attrs(units="mm d-1") for n in f}), **BUCKET) for f in (tiny, none)
    ]
    np.testing.assert_allclose(runs[0].theta, runs[1].theta, rtol=1e-14)
    assert not runs[0].status.any()


INPUTS = {
    "sand": (40.0, "percent"), "silt": (40.0, "percent"), "clay": (20.0, "percent"), "bulk_density": (1.4, "g cm-3"),
    "organic_carbon": (1.5, "percent"), "ph": (6.5, "1"), "cec": (15.0, "cmol kg-1"),
}  # fmt: skip
TINY = (0.0, 5e-324, 1e-310, 1e-45, 1e-38, 1e-6)


def extremes(dtype):
    """One input after the other denormal, tiny or huge; textures also pure."""
    rows = []
    for name in INPUTS:
        texture = name in ("sand", "silt", "clay")
        for value in (*TINY, *((50.0, 100.0 - 1e-12, 100.0) if texture else (1e6, 1e38, 1e300))):
            row = {other: number for other, (number, _) in INPUTS.items()} | {name: value}
            if texture:
                row |= {other: (100 - value) / 2 for other in ("sand", "silt", "clay") if other != name}
            rows.append(row)
    with np.errstate(over="ignore", under="ignore"):
        ds = xr.Dataset(
            {
                n: ("site", np.array([row[n] for row in rows]).astype(dtype), {"units": u})
                for n, (_, u) in INPUTS.items()
            }
        )
    for name in ("sand", "silt", "clay"):
        ds[name].attrs["silt_limit"] = "50 um"
    return ds.assign(topsoil=((), 1.0, {"units": "1"}))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("method", list(xsoil.PTFS))
def test_pedotransfer_functions_of_extreme_numbers(method, dtype):
    """Denormal, tiny and huge inputs give parameters of a soil, or none and a flag that says so."""
    out = extremes(dtype).soil.ptf(method, quality=True)
    void = (out.quality & (4 | 16 | 32 | 64)) > 0
    assert not void.all()
    limits = {
        "theta_s": (0, 1),
        "theta_r": (0, 1),
        "k_sat": (0, 1e9),
        "k_0": (0, 1e9),
        "alpha": (0, 1e3),
        "n": (0, 100),
    }
    for name in set(out) - {"quality"}:
        assert (np.isfinite(out[name]) | void).all(), name
        low, high = limits.get(name, (-1e6, 1e6))
        assert (((out[name] >= low) & (out[name] <= high)) | void).all(), name


@pytest.mark.parametrize(
    "change", [{"n": 1.0001}, {"theta_s": 0.0625 + 1e-9}, {"alpha": 1e-6}, {"alpha": 1e3}, {"n": 50.0}]
)
def test_curves_of_extreme_soils(change):
    """Within their bounds, and monotonic; or no number."""
    heads = -np.logspace(-2, 6, 60)
    soil = xr.Dataset(
        {
            n: ((), v, {"units": {"alpha": "cm-1", "k_sat": "cm d-1", "n": "1"}.get(n, "m3 m-3")})
            for n, v in (LOAM | change).items()
        }
    )
    soil["l"] = ((), 0.5, {"units": "1"})
    theta = np.array([float(soil.soil.retention(h).theta) for h in heads])
    k = np.array([float(soil.soil.conductivity(h).k) for h in heads])
    s = float(soil.theta_s)
    assert np.isfinite(theta).all()
    assert ((theta >= 0.0625 - 1e-15) & (theta <= s + 1e-15)).all()
    assert (np.diff(theta) <= 1e-12).all()
    assert np.isfinite(k).all()
    assert ((k >= 0) & (k <= 25 * (1 + 1e-9))).all()


def richards(days, soils):
    rain = forcing(days).assign(lai=("time", np.full(days, 2.0), {"units": "1"}))
    fixed = {name: value for name, value in LOAM.items() if name not in soils}
    return soils.soil.simulate(rain, "richards", outputs=(*FLUXES, "balance"), **fixed), rain


def error_and_moved(run, rain):
    """What came, less what left and what stayed since the first day [mm], and all that moved, by cell."""
    net = rain.precipitation - run.runoff - run.actual_et - run.drainage
    error = run.storage[-1] - run.storage[0] - net[1:].sum("time")
    return np.abs(error), rain.precipitation.sum() + np.abs(run.drainage).sum("time") + run.actual_et.sum("time")


def test_richards_of_denormal_rain():
    """Rain and demand of 1e-310 mm, and conductivities of it, are none."""
    soil = xr.Dataset({"k_sat": ("site", [25.0, 1e-310], {"units": "cm d-1"})})
    rain = forcing(20).assign(lai=("time", np.full(20, 2.0), {"units": "1"}))
    fixed = {name: value for name, value in LOAM.items() if name != "k_sat"}
    runs = []
    for least in (1e-310, 0.0):
        given = rain.map(lambda v, least=least: v.where(v > 6, least).assign_attrs(v.attrs))
        run = soil.soil.simulate(given.assign(lai=rain.lai), "richards", outputs=FLUXES, **fixed)
        good = run.status == 0
        assert good[:, 0].all() if "time" in good.dims else good[0]
        runs.append(run)
        assert (np.isfinite(run.theta) | ~good).all()
    np.testing.assert_allclose(runs[0].theta.isel(site=0), runs[1].theta.isel(site=0), rtol=1e-12)
    np.testing.assert_array_equal(runs[0].status, runs[1].status)


@pytest.mark.parametrize("name", ["k_sat", "n", "alpha", "theta_s"])
def test_richards_of_extreme_soils_is_right_or_flagged(name):
    """Moisture stays within its bounds, and no number is given without a flag."""
    units = {"k_sat": "cm d-1", "n": "1", "alpha": "cm-1", "theta_s": "m3 m-3"}[name]
    values = {
        "k_sat": np.logspace(-6, 6, 7),
        "n": [1.0001, 1.01, 1.1, 4.0, 10.0],
        "alpha": [1e-5, 1e-3, 0.1, 1.0, 10.0],
        "theta_s": [0.0625 + 1e-6, 0.0725, 0.2, 0.9, 0.999],
    }[name]
    run, rain = richards(10, xr.Dataset({name: ("site", np.asarray(values, float), {"units": units})}))
    good = run.status == 0
    theta = run.theta.where(good)
    top = xr.DataArray(values, dims="site") if name == "theta_s" else 0.4375
    assert theta.where(good, 0.2).notnull().all()
    assert ((theta >= 0.0625 - 1e-9) | ~good).all()
    assert ((theta <= top + 1e-9) | ~good).all()
    assert good.sum() >= 4
    error, moved = error_and_moved(run, rain)
    assert ((error <= 1e-6 * moved) | ~good).all()


def test_a_hundred_years_of_richards():
    """36,525 days of four columns close their balance."""
    soils = xr.Dataset({"k_sat": ("site", [0.5, 5.0, 50.0, 500.0], {"units": "cm d-1"})})
    run, rain = richards(36525, soils)
    assert not run.status.any()
    error, moved = error_and_moved(run, rain)
    print(f"{float(rain.precipitation.sum()):.0f} mm of rain; missing: {float(error.max()):.1e} mm")
    assert (error <= 1e-6 * moved).all(), (error.values, moved.values)
    assert run.theta.min() >= 0.0625
    assert run.theta.max() <= 0.4375 + 1e-9
