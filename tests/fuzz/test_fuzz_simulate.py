"""`simulate` on what hypothesis draws: the balance closes, theta stays within, chunks and a stop change no bit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from hypothesis import strategies as st
from strategies import HOLES, blocks, examples, fuzz, holes, loaded, unharmed

import xsoil

SERIES = ("theta", "storage", "actual_et", "runoff", "drainage")
UNITS = {
    "theta_s": "m3 m-3", "theta_fc": "m3 m-3", "theta_wp": "m3 m-3", "k_sat": "cm d-1", "root_depth": "m",
    "depletion_fraction": "1", "crop_coefficient": "1",
}  # fmt: skip


@st.composite
def cases(draw):
    days = draw(st.integers(1, 40))
    sizes = {"y": draw(st.integers(1, 25)), "x": draw(st.integers(1, 25))}
    if draw(st.booleans()):
        sizes = {"draw": draw(st.integers(1, 3))} | sizes
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = tuple(sizes.values())
    dtype = draw(st.sampled_from(["f4", "f8", ">f4"]))
    wp, fc, s = np.sort(rng.uniform(0.01, 0.8, (3, *shape)), axis=0)
    made = {
        "theta_wp": wp, "theta_fc": fc + 0.01, "theta_s": s + 0.02, "k_sat": 10 ** rng.uniform(-6, 6, shape),
        "root_depth": rng.uniform(0.05, 3, shape), "depletion_fraction": rng.uniform(0, 0.95, shape),
        "crop_coefficient": rng.uniform(0, 1.5, shape),
    }  # fmt: skip
    ds = xr.Dataset({name: (tuple(sizes), v.astype(dtype), {"units": UNITS[name]}) for name, v in made.items()})
    spoiled = draw(st.sampled_from([None, None, *UNITS]))
    if spoiled:
        bad = draw(st.sampled_from([np.nan, -1.0, np.inf, 1e30]))
        ds[spoiled].values[holes(draw(HOLES), rng, shape)] = bad
    dims = draw(st.permutations(["time", "y", "x"]))
    shape = tuple({"time": days, **sizes}[d] for d in dims)
    rain = rng.gamma(0.3, draw(st.sampled_from([0.0, 10.0, 300.0])), shape).astype(dtype)
    pet = rng.uniform(0, draw(st.sampled_from([0.5, 9.0])), shape).astype(dtype)
    hole = draw(st.sampled_from([None, None, np.nan, -3.0, np.inf]))
    if hole is not None:
        rain.flat[rng.integers(rain.size)] = hole
    forcing = xr.Dataset(
        {"precipitation": (dims, rain, {"units": "mm d-1"}), "pet": (dims, pet, {"units": "mm d-1"})},
        {"time": pd.date_range("2015-01-01", periods=days)},
    )
    steps = draw(st.sampled_from([1, 3, 24]))
    chunks = [draw(blocks(sizes, 4)), draw(blocks({"time": days, **sizes}, 6))]
    turn = draw(st.permutations(tuple(sizes)))
    return ds, forcing, steps, chunks, turn, draw(st.integers(1, max(days - 1, 1)))


def check(case) -> None:
    ds, forcing, steps, chunks, turn, stop = case
    options = {"substeps": steps, "outputs": SERIES}
    found = unharmed(lambda: xsoil.simulate(ds, forcing, **options), ds, forcing)
    lazy = xsoil.simulate(ds.transpose(*turn).chunk(chunks[0]), forcing.chunk(only(chunks[1], forcing)), **options)
    same(loaded(lazy), found)
    days = forcing.sizes["time"]
    if stop < days:
        first = xsoil.simulate(ds, forcing.isel(time=slice(stop)), **options)
        second = xsoil.simulate(ds, forcing.isel(time=slice(stop, None)), initial=first.soil.final_state(), **options)
        for name in SERIES:
            both = np.concatenate([first[name].values, second[name].values])
            np.testing.assert_array_equal(both, found[name].values, name)
        np.testing.assert_array_equal(second.final_theta.values, found.final_theta.values)
    physical(ds, forcing, found)


def only(chunks, ds):
    return {dim: sizes for dim, sizes in chunks.items() if dim in ds.dims}


def same(lazy, found) -> None:
    for name in found.data_vars:
        assert lazy[name].dtype == found[name].dtype
        np.testing.assert_array_equal(lazy[name].transpose(*found[name].dims).values, found[name].values, str(name))


def physical(ds, forcing, found) -> None:
    dims = found.theta.dims
    theta, status = found.theta.values.astype("f8"), found.status.values
    assert not np.isinf(theta).any()
    nan = np.isnan(theta)
    np.testing.assert_array_equal(nan.any(axis=0), status != 0)
    assert (nan[1:] >= nan[:-1]).all()  # NaN for good
    good = ~nan
    s = np.broadcast_to(ds.theta_s.transpose(*dims[1:]).values.astype("f8"), theta.shape)
    assert (theta[good] <= s[good] + 3e-6).all()
    assert (theta[good] >= -3e-6).all()
    fluxes = {n: found[n].values.astype("f8") for n in ("actual_et", "runoff", "drainage")}
    for name, flux in fluxes.items():
        np.testing.assert_array_equal(np.isnan(flux), nan, name)
        assert (flux[good] >= -1e-4).all(), name
    like = found.theta.astype("f8")
    rain = xr.broadcast(forcing.precipitation.astype("f8"), like)[0].transpose(*dims).values
    pet = xr.broadcast(forcing.pet.astype("f8"), like)[0].transpose(*dims).values
    kc = ds.crop_coefficient.transpose(*dims[1:]).values.astype("f8")
    assert (fluxes["actual_et"][good] <= (kc * pet)[good] * (1 + 1e-5) + 1e-5).all()
    # storage of a day = storage before + rain - all that left
    storage = found.storage.values.astype("f8")
    fc = ds.theta_fc.transpose(*dims[1:]).values.astype("f8")
    depth = ds.root_depth.transpose(*dims[1:]).values.astype("f8")
    before = np.concatenate([(fc * depth * 1000)[None], storage[:-1]])
    residual = storage - before - rain + sum(fluxes.values())
    if ds.theta_s.dtype.itemsize == 4:  # rounding of the results: storage of metres, rain of hundreds of mm
        slack = 3e-3 * depth + 1e-6 * np.abs(rain) + 1e-3
    else:
        slack = 1e-8 * (1 + 1000 * depth + rain)
    assert (np.abs(residual[good]) <= slack[good]).all(), np.abs(residual[good] / slack[good]).max()


@examples
def test_simulate(number):
    fuzz(check, cases(), number)
