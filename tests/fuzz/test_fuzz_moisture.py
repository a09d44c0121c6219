"""Soil-moisture models on what hypothesis draws: fitted or refused with a reason; no chunk or order of dims shows."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import strategies as st
from strategies import HOLES, Sizes, cuts, fuzz, holes, unharmed

import xsoil
from xsoil.errors import SoilError

pytest.importorskip("lightning", reason="the extra 'learn' is not installed")

KINDS = {"random_forest": {"trees": 4}, "dense": {"epochs": 1}}
few = Sizes(quick=4, long=100).mark()
ENOUGH = 60
"""Samples with everything; fewer may be refused."""


@st.composite
def cases(draw):
    sizes = {"site": draw(st.integers(1, 40)), "time": draw(st.integers(1, 30))}
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape, dtype = tuple(sizes.values()), draw(st.sampled_from(["f4", "f8", ">f4"]))
    sand = rng.uniform(5, 90, shape[0]).astype(dtype)
    smap = rng.uniform(0.05, 0.45, shape).astype(dtype)
    truth = (0.7 * smap + 0.001 * sand[:, None] + 0.02).astype(dtype)
    truth[holes(draw(HOLES), rng, shape)] = np.nan
    smap[holes(draw(HOLES), rng, shape)] = draw(st.sampled_from([np.nan, np.nan, np.inf]))
    water = {"units": "m3 m-3"}
    time = pd.date_range("2015-01-01", periods=shape[1])
    ds = xr.Dataset(
        {
            "soil_moisture": (("site", "time"), truth, water), "smap": (("site", "time"), smap, water),
            "sand": ("site", sand, {"units": "percent"}),
        },
        {"site": np.arange(shape[0]), "time": time},
    )  # fmt: skip
    chunks = {dim: draw(cuts(size)) for dim, size in sizes.items()}
    return ds, draw(st.sampled_from(list(KINDS))), chunks, draw(st.permutations(tuple(sizes)))


def check(case) -> None:
    ds, kind, chunks, dims = case
    options = {"kind": kind, "predictors": ["smap", "sand"], "options": KINDS[kind], "progress": False}
    complete = int((np.isfinite(ds.soil_moisture) & np.isfinite(ds.smap)).sum())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = unharmed(lambda: xsoil.fit_moisture_model(ds, **options), ds)
        except SoilError:
            if complete >= ENOUGH and ds.sizes["site"] >= 5:
                raise
            return
        given = ds.drop_vars("soil_moisture")
        found = unharmed(lambda: model.predict(given), given)
        lazy = model.predict(given.transpose(*dims).chunk(chunks))
    values = found.soil_moisture
    assert lazy.soil_moisture.chunks is not None
    np.testing.assert_array_equal(lazy.soil_moisture.transpose(*values.dims).values, values.values)
    assert not np.isinf(values.values).any()
    known = values.values[np.isfinite(values.values)]
    assert ((known >= 0) & (known <= 1)).all()


@few
def test_moisture_models(number):
    fuzz(check, cases(), number)
