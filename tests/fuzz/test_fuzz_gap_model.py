"""Gaps filled by a network on what hypothesis draws: trained or refused with a reason; observations stay."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import strategies as st
from strategies import HOLES, Sizes, blocks, fuzz, holes, loaded, unharmed

import xsoil
from xsoil.errors import ArgumentError

pytest.importorskip("lightning", reason="the extra 'learn' is not installed")

few = Sizes(quick=3, long=100).mark()
SMALL = {"latent": 2, "basis": 2, "hidden": 4, "window": 20, "batch": 4, "epochs": 1, "steps": 2}


@st.composite
def cases(draw):
    days = draw(st.one_of(st.integers(25, 60), st.integers(25, 60), st.integers(1, 60)))
    sizes = {"time": days, "y": draw(st.integers(1, 8)), "x": draw(st.integers(1, 8))}
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape, dtype = tuple(sizes.values()), draw(st.sampled_from(["f4", "f8", ">f4"]))
    values = rng.uniform(0.02, 0.5, shape).astype(dtype)
    values[holes(draw(st.one_of(st.sampled_from(["none", "some", "half"]), HOLES)), rng, shape)] = np.nan
    values[rng.random(days) < draw(st.sampled_from([0.0, 0.4]))] = np.nan
    if draw(st.integers(0, 5)) == 0:
        values.flat[rng.integers(values.size)] = np.inf
    if draw(st.integers(0, 5)) == 0:
        values[...] = np.where(np.isnan(values), values, values.dtype.type(0.25))
    rain = rng.gamma(0.3, 10, shape).astype(dtype)
    rain[holes(draw(HOLES), rng, shape)] = draw(st.sampled_from([np.nan, np.nan, np.inf]))
    steps = np.arange(days) if draw(st.booleans()) else np.cumsum(rng.integers(1, 5, days))
    dims = tuple(sizes)
    ds = xr.Dataset(
        {
            "soil_moisture": (dims, values, {"units": "m3 m-3"}),
            "precipitation": (dims, rain, {"units": "mm d-1"}),
        },
        {"time": pd.Timestamp("2015-01-01") + pd.to_timedelta(steps, unit="D")},
    )
    predictors = draw(st.sampled_from([(), "precipitation"]))
    options = {"max_gap": draw(st.sampled_from([None, 3, 10])), "extrapolate": draw(st.booleans())}
    options |= {"std": draw(st.booleans()), "valid_range": draw(st.sampled_from([None, "physical"]))}
    return ds, predictors, options, draw(blocks(sizes, 6)), draw(st.permutations(dims))


def check(case) -> None:
    ds, predictors, options, chunks, turn = case
    given = ds.soil_moisture.values
    observed = np.isfinite(given)
    try:
        model = unharmed(lambda: xsoil.fit_gap_model(ds, predictors=predictors, **SMALL), ds)
    except ArgumentError:
        able = observed.sum(axis=0) >= 10
        constant = np.array([np.ptp(series[seen]) == 0 for series, seen in zip(given[:, able].T, observed[:, able].T)])
        unknown = bool(predictors) & ~np.isfinite(ds.precipitation.values[:, able]).any(axis=0)
        assert ds.sizes["time"] < 5 or able.sum() < 2 or (constant | unknown).any()
        return
    options = {"model": model, **options}
    found = unharmed(lambda: xsoil.fill_gaps(ds, "cru", **options), ds)
    lazy = xsoil.fill_gaps(ds.transpose(*turn).chunk(chunks), "cru", **options)
    lazy = loaded(lazy)
    mask = found.soil_moisture_filled.values
    np.testing.assert_array_equal(lazy.soil_moisture_filled.transpose(*ds.soil_moisture.dims).values, mask)
    for name in found.data_vars:
        other = lazy[name].transpose(*found[name].dims).values
        np.testing.assert_allclose(other, found[name].values, rtol=1e-5, atol=1e-7, err_msg=str(name))
    got = found.soil_moisture.values
    np.testing.assert_array_equal(got[observed], given[observed])
    np.testing.assert_array_equal(mask == 1, ~observed & np.isfinite(got))
    # of gaps, those that lines would fill, no more and no less
    lines = xsoil.fill_gaps(ds, max_gap=options["max_gap"], extrapolate=options["extrapolate"])
    np.testing.assert_array_equal(mask, lines.soil_moisture_filled.values)
    if options["valid_range"] == "physical" and mask.any():
        assert got[mask == 1].min() >= 0
        assert got[mask == 1].max() <= 1
    if options["std"]:
        deviation = found.soil_moisture_std.values
        np.testing.assert_array_equal(np.isfinite(deviation), mask == 1)
        assert (deviation[mask == 1] > 0).all()


@few
def test_gap_model(number):
    fuzz(check, cases(), number)
