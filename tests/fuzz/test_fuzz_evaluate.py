"""`evaluate` on what hypothesis draws: against numpy, in any chunks and order of dims, against itself."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from hypothesis import strategies as st
from strategies import HOLES, blocks, examples, fuzz, holes, loaded, unharmed

import xsoil
from xsoil.errors import TimeError

NAMES = ("bias", "rmse", "ubrmse", "r", "nse", "n")


def series(draw, sizes, times, name, dtype, offset):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = tuple(sizes.values())
    values = (rng.uniform(0, 0.5, shape) + offset).astype(dtype)
    values[holes(draw(HOLES), rng, shape)] = np.nan
    if draw(st.integers(0, 5)) == 0:
        values.flat[rng.integers(values.size)] = np.inf
    if draw(st.integers(0, 5)) == 0:
        values[...] = values.flat[0]  # a constant has no correlation
    return xr.Dataset({name: (tuple(sizes), values, {"units": "m3 m-3"})}, {"time": times})


@st.composite
def cases(draw):
    days = draw(st.integers(1, 60))
    sizes = {"time": days, "y": draw(st.integers(1, 30)), "x": draw(st.integers(1, 30))}
    start = pd.Timestamp("2015-01-01")
    times = pd.date_range(start, periods=days)
    late = pd.date_range(start + pd.Timedelta(draw(st.integers(0, days)), "D"), periods=days)
    offset = draw(st.sampled_from([0.0, 0.0, 1000.0, -0.25]))
    types = [draw(st.sampled_from(["f4", "f8", ">f4"])) for _ in range(2)]
    sim = series(draw, sizes, times, "theta", types[0], offset)
    obs = series(draw, sizes, late, "soil_moisture", types[1], offset)
    chunks = [draw(blocks(sizes, 6)) for _ in range(2)]
    dims = draw(st.permutations(tuple(sizes)))
    over = draw(st.sampled_from(["time", ("y", "x"), ("time", "y", "x")]))
    return sim, obs, chunks, dims, over


def check(case) -> None:
    sim, obs, chunks, dims, over = case
    if not set(sim.time.values) & set(obs.time.values):
        with np.testing.assert_raises(TimeError):
            xsoil.evaluate(sim, obs, dims=over)
        return
    found = unharmed(lambda: xsoil.evaluate(sim, obs, dims=over), sim, obs)
    lazy = loaded(xsoil.evaluate(sim.transpose(*dims).chunk(chunks[0]), obs.chunk(chunks[1]), dims=over))
    for name in found.data_vars:
        np.testing.assert_array_equal(lazy[name].transpose(*found[name].dims).values, found[name].values, str(name))
    against_numpy(sim, obs, over, found)


def against_numpy(sim, obs, over, found) -> None:
    """The definitions, in double precision; where a series hardly varies the quotients are left out."""
    _, i, j = np.intersect1d(sim.time.values, obs.time.values, return_indices=True)
    s, o = sim.theta.values[i].astype("f8"), obs.soil_moisture.values[j].astype("f8")
    over = {over} if isinstance(over, str) else set(over)
    axes = tuple(axis for axis, dim in enumerate(sim.theta.dims) if dim in over)
    assert found.n.dims == tuple(dim for dim in sim.theta.dims if dim not in over)
    good = np.isfinite(s) & np.isfinite(o)
    n = good.sum(axes)
    np.testing.assert_array_equal(found.n, n)

    def mean(values):
        with np.errstate(all="ignore"):
            return np.where(good, values, 0).sum(axes, keepdims=True) / np.expand_dims(n, axes)

    s, o = np.where(good, s, 0), np.where(good, o, 0)
    bias, rmse = mean(s - o).reshape(n.shape), np.sqrt(mean((s - o) ** 2)).reshape(n.shape)
    scale = 1e-6 * (1 + np.abs(s).max())
    np.testing.assert_allclose(found.bias, bias, atol=scale)
    np.testing.assert_allclose(found.rmse, rmse, atol=scale)
    known = n > 0
    assert (np.isfinite(found.rmse.values) == known).all()
    r, nse = found.r.values, found.nse.values
    assert (np.abs(r[np.isfinite(r)]) <= 1 + 1e-6).all()
    assert (nse[np.isfinite(nse)] <= 1 + 1e-9).all()
    assert (found.ubrmse.values[known] <= found.rmse.values[known] * (1 + 1e-6) + 1e-12).all()
    low, high = (which(np.where(good, s, fill), axes) for which, fill in ((np.min, np.inf), (np.max, -np.inf)))
    assert np.isnan(r[known & (low == high)]).all()
    ds, do = s - mean(s), o - mean(o)
    of_s, of_o = (np.sqrt(mean(d**2)).reshape(n.shape) for d in (ds, do))
    with np.errstate(invalid="ignore"):
        free = (n > 2) & (of_s > 1e-2) & (of_o > 1e-2)
    expected = mean(ds * do).reshape(n.shape)[free] / (of_s[free] * of_o[free])
    np.testing.assert_allclose(r[free], expected, atol=1e-4)


def check_itself(case) -> None:
    sim, _, chunks, _, _ = case
    found = xsoil.evaluate(sim, sim.theta.chunk(chunks[0]), variable="theta").compute()
    known = found.n.values > 0
    assert (found.rmse.values[known] == 0).all()
    assert (found.bias.values[known] == 0).all()
    r = found.r.values[np.isfinite(found.r.values)]
    np.testing.assert_allclose(r, 1, atol=1e-6)


@examples
def test_evaluate(number):
    fuzz(check, cases(), number)


@examples
def test_against_itself(number):
    fuzz(check_itself, cases(), max(number // 10, 5))
