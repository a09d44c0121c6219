"""Richards columns on what hypothesis draws: the balance closes, theta is within, chunks and a stop change no bit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from hypothesis import strategies as st
from strategies import HOLES, LONG, Sizes, blocks, fuzz, holes, loaded, unharmed

import xsoil

some = Sizes(quick=4, long=max(LONG // 10, 1)).mark()
SERIES = ("theta", "h", "storage", "actual_et", "runoff", "drainage", "inflow", "uptake", "balance")
FINAL = ("final_h", "final_theta", "final_next_step", "final_balance", "status")
CURVES = {
    "van_genuchten": {"theta_r": (0, 0.15), "theta_s": (0.3, 0.7), "alpha": (1e-3, 0.2), "n": (1.02, 3.5)},
    "fredlund_xing_wang": {"theta_s": (0.3, 0.7), "alpha": (1e-3, 0.1), "n": (1.02, 3), "m": (0.3, 1.2)},
    "brooks_corey": {"theta_r": (0, 0.15), "theta_s": (0.3, 0.7), "psi_s": (-60, -2), "lambda": (0.1, 1.5)},
    "clapp_hornberger": {"theta_s": (0.3, 0.7), "psi_s": (-60, -2), "b": (2, 12)},
}
UNITS = {"theta_r": "m3 m-3", "theta_s": "m3 m-3", "alpha": "cm-1", "psi_s": "cm", "k_sat": "cm d-1"}
BOTTOMS = {
    "free_drainage": {}, "zero_flux": {}, "head": {"bottom_head": -80.0}, "water_table": {"water_table_depth": 0.6},
}  # fmt: skip


@st.composite
def cases(draw, curves):
    days = draw(st.integers(1, 8))
    sizes = {"y": draw(st.integers(1, 3)), "x": draw(st.integers(1, 3))}
    layers = draw(st.sampled_from([0, 0, 2, 3]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from(["f4", "f8", ">f4"]))
    curve = draw(st.sampled_from(curves))
    own = ({"depth": layers} if layers else {}) | sizes
    shape = tuple(own.values())
    made = {name: rng.uniform(*span, shape) for name, span in CURVES[curve].items()}
    made["k_sat"] = 10 ** rng.uniform(-2, 3, shape)
    ds = xr.Dataset({name: (tuple(own), v.astype(dtype), {"units": UNITS.get(name, "1")}) for name, v in made.items()})
    if layers:
        edges = np.linspace(0, 0.4, layers + 1)
        bounds = np.stack([edges[:-1], edges[1:]], axis=1)
        ds = ds.assign_coords(
            depth=("depth", bounds.mean(axis=1), {"units": "m", "bounds": "depth_bnds"}),
            depth_bnds=(("depth", "bnds"), bounds),
        )
    spoiled = draw(st.sampled_from([None, None, None, *made]))
    if spoiled:
        ds[spoiled].values[holes(draw(HOLES), rng, shape)] = draw(st.sampled_from([np.nan, -1e9, np.inf]))
    dims = draw(st.permutations(["time", *sizes]))
    shape = tuple({"time": days, **sizes}[d] for d in dims)
    series = {
        "precipitation": (rng.gamma(0.3, draw(st.sampled_from([0.0, 10.0, 200.0])), shape), "mm d-1"),
        "pet": (rng.uniform(0, 9, shape), "mm d-1"), "lai": (rng.uniform(0, 5, shape), "1"),
    }  # fmt: skip
    hole = draw(st.sampled_from([None, None, np.nan, -3.0, np.inf]))
    if hole is not None:
        series["precipitation"][0].flat[rng.integers(np.prod(shape))] = hole
    forcing = xr.Dataset(
        {name: (dims, values.astype(dtype), {"units": units}) for name, (values, units) in series.items()},
        {"time": pd.date_range("2015-01-01", periods=days)},
    )
    bottom = draw(st.sampled_from(list(BOTTOMS)))
    options = {"curve": curve, "column_depth": 0.4, "bottom": bottom, **BOTTOMS[bottom], "outputs": SERIES}
    options["uptake"] = draw(st.sampled_from(["s_shaped", "feddes", "none"]))
    options["initial"] = {"h": draw(st.sampled_from([-100.0, -100.0, -1.0, -15000.0]))}
    chunks = [draw(blocks(own)), draw(blocks({"time": days, **sizes}))]
    return ds, forcing, options, chunks, draw(st.permutations(tuple(own))), draw(st.integers(1, max(days - 1, 1)))


def check(case) -> None:
    ds, forcing, options, chunks, turn, stop = case
    found = unharmed(lambda: xsoil.simulate(ds, forcing, "richards", **options), ds, forcing)
    apart = ds.transpose(*turn, ...).chunk(chunks[0])
    lazy = loaded(xsoil.simulate(apart, forcing.chunk(chunks[1]), "richards", **options))
    for name in found.data_vars:
        assert lazy[name].dtype == found[name].dtype
        np.testing.assert_array_equal(lazy[name].transpose(*found[name].dims).values, found[name].values, str(name))
    if stop < forcing.sizes["time"]:
        before, after = forcing.isel(time=slice(stop)), forcing.isel(time=slice(stop, None))
        first = xsoil.simulate(ds, before, "richards", **options)
        second = xsoil.simulate(ds, after, "richards", **options | {"initial": first.soil.final_state()})
        for name in SERIES:
            both = np.concatenate([first[name].values, second[name].values])
            np.testing.assert_array_equal(both, found[name].values, name)
        for name in FINAL:
            np.testing.assert_array_equal(second[name].values, found[name].values, name)
    physical(ds, forcing, found)


def physical(ds, forcing, found) -> None:
    status, single = found.status.values, found.theta.dtype == "f4"
    nan = {name: np.isnan(found[name].values) for name in SERIES}
    for name in SERIES:
        gone = nan[name].any(axis=1) if found[name].ndim == 4 else nan[name]
        whole = nan[name].all(axis=1) if found[name].ndim == 4 else nan[name]
        np.testing.assert_array_equal(gone, nan["storage"], name)
        np.testing.assert_array_equal(whole, nan["storage"], name)
        assert not np.isinf(found[name].values).any(), name
    np.testing.assert_array_equal(nan["storage"].any(axis=0), status != 0)
    assert (nan["storage"][1:] >= nan["storage"][:-1]).all()  # NaN for good
    most = ds.theta_s.max("depth") if "depth" in ds.theta_s.dims else ds.theta_s
    good = ~nan["theta"]
    theta = found.theta.values.astype("f8")
    bound = np.broadcast_to(most.transpose("y", "x").values.astype("f8")[None, None], theta.shape)
    assert (theta[good] <= bound[good] + 1e-6).all()
    assert (theta[good] >= -1e-6).all()
    flux = {name: found[name].values.astype("f8") for name in SERIES[2:]}
    rain = forcing.precipitation.transpose("time", "y", "x").values.astype("f8")
    good = ~nan["storage"]
    assert (flux["runoff"][good] >= -1e-6).all()
    assert (flux["uptake"][good] >= 0).all()
    assert (flux["uptake"][good] <= forcing.pet.transpose("time", "y", "x").values[good] * (1 + 1e-5) + 1e-6).all()
    # what moved until the day, and what is missing of it
    came = np.where(good, np.abs(rain) + np.abs(flux["drainage"]) + flux["uptake"], 0).cumsum(axis=0)
    assert (np.abs(flux["balance"][good]) <= 1e-6 * came[good] + 1e-6).all()
    net = rain - flux["runoff"] - flux["actual_et"] - flux["drainage"]
    step = np.diff(flux["storage"], axis=0) - net[1:]
    slack = (2e-5 if single else 2e-6) * (came + 1) + (4e-7 * flux["storage"] if single else 0)
    assert (np.abs(step[good[1:]]) <= slack[1:][good[1:]]).all()


@some
def test_richards(number):
    """A quick run keeps to the curve that other tests have compiled."""
    fuzz(check, cases(list(CURVES) if number > 10 else ["van_genuchten"]), number)
