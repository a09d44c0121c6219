"""`fill_gaps` on what hypothesis draws: observations stay, a mask tells the rest, no chunk shows, lines lie between."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from hypothesis import strategies as st
from strategies import HOLES, blocks, examples, fuzz, holes, loaded, unharmed

import xsoil


@st.composite
def cases(draw):
    days = draw(st.integers(1, 60))
    sizes = {"time": days, "y": draw(st.integers(1, 20)), "x": draw(st.integers(1, 20))}
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = tuple(sizes.values())
    values = rng.uniform(0.02, 0.5, shape).astype(draw(st.sampled_from(["f4", "f8", ">f4"])))
    values[holes(draw(HOLES), rng, shape)] = np.nan
    values[rng.random(days) < draw(st.sampled_from([0.0, 0.4, 0.8]))] = np.nan
    if draw(st.integers(0, 5)) == 0:
        values.flat[rng.integers(values.size)] = np.inf
    regular = draw(st.booleans())
    steps = np.arange(days) if regular else np.cumsum(rng.integers(1, 5, days))
    time = pd.Timestamp("2015-01-01") + pd.to_timedelta(steps, unit="D")
    ds = xr.Dataset({"soil_moisture": (tuple(sizes), values, {"units": "m3 m-3"})}, {"time": time})
    options = {"max_gap": draw(st.sampled_from([None, 1, 3, 10])), "extrapolate": draw(st.booleans())}
    if draw(st.booleans()):
        options |= {"method": "dct", "order": draw(st.sampled_from([1, 2])), "robust": draw(st.booleans())}
        options["valid_range"] = draw(st.sampled_from([None, "physical"]))
    return ds, options, draw(blocks(sizes)), draw(st.permutations(tuple(sizes)))


def check(case) -> None:
    ds, options, chunks, dims = case
    found = unharmed(lambda: xsoil.fill_gaps(ds, **options), ds)
    lazy = loaded(xsoil.fill_gaps(ds.transpose(*dims).chunk(chunks), **options))
    for name in found.data_vars:
        np.testing.assert_array_equal(lazy[name].transpose(*found[name].dims).values, found[name].values, str(name))
    given, got, mask = ds.soil_moisture.values, found.soil_moisture.values, found.soil_moisture_filled.values
    observed = np.isfinite(given)
    np.testing.assert_array_equal(got[observed], given[observed])
    np.testing.assert_array_equal(mask == 1, ~observed & np.isfinite(got))
    assert not np.isinf(got[~observed]).any() or np.isinf(given).any()
    never = ~observed.any(axis=0)
    assert not np.isfinite(got[:, never]).any()
    filled = np.isfinite(got)
    if options.get("valid_range") == "physical" and (mask == 1).any():
        assert got[mask == 1].min() >= 0
        assert got[mask == 1].max() <= 1
    if not options["extrapolate"]:
        before = np.maximum.accumulate(observed, axis=0)
        after = np.maximum.accumulate(observed[::-1], axis=0)[::-1]
        assert not (filled & ~(before & after)).any()
        if options["max_gap"] is None and options.get("method") != "dct":
            np.testing.assert_array_equal(filled, before & after)
    if options.get("method") == "dct" or not filled.any():
        return
    with np.errstate(all="ignore"):
        low = np.where(observed, given, np.inf).min(axis=0)
        high = np.where(observed, given, -np.inf).max(axis=0)
    inside = (got >= low * (1 - 1e-6)) & (got <= high * (1 + 1e-6))
    assert inside[filled].all()


@examples
def test_fill_gaps(number):
    fuzz(check, cases(), number)
