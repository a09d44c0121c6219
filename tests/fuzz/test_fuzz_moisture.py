"""Soil-moisture models on what hypothesis draws: fitted or refused with a reason; no chunk or order of dims shows."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import strategies as st
from strategies import HOLES, Sizes, blocks, fuzz, holes, loaded, unharmed

import xsoil
from xsoil.errors import SoilError

pytest.importorskip("lightning", reason="the extra 'learn' is not installed")

KINDS = {
    "random_forest": {"trees": 4},
    "dense": {"epochs": 1},
    "lstm": {"epochs": 1, "hidden": 4, "spin_up": 0, "days": 20, "batch_cells": 8},
    "convlstm": {"epochs": 1, "filters": (2,), "attention": (), "window": 1, "patch": 6, "context": 2, "look_back": 1},
}
few = Sizes(quick=2, long=100).mark()
ENOUGH = 60
"""Samples with everything; fewer may be refused."""


@st.composite
def cases(draw, kind):
    days = draw(st.integers(1, 30))
    places = {"site": draw(st.integers(1, 40))}
    if kind == "convlstm":
        places = {"y": draw(st.integers(1, 14)), "x": draw(st.integers(1, 14))}
    sizes = places | {"time": days}
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape, dtype = tuple(sizes.values()), draw(st.sampled_from(["f4", "f8", ">f4"]))
    sand = rng.uniform(5, 90, shape[:-1]).astype(dtype)
    smap = rng.uniform(0.05, 0.45, shape).astype(dtype)
    truth = (0.7 * smap + 0.001 * sand[..., None] + 0.02).astype(dtype)
    truth[holes(draw(HOLES), rng, shape)] = np.nan
    smap[holes(draw(HOLES), rng, shape)] = draw(st.sampled_from([np.nan, np.nan, np.inf]))
    water = {"units": "m3 m-3"}
    ds = xr.Dataset(
        {
            "soil_moisture": (tuple(sizes), truth, water), "smap": (tuple(sizes), smap, water),
            "sand": (tuple(places), sand, {"units": "percent"}),
        },
        {"time": pd.date_range("2015-01-01", periods=days)} | {dim: np.arange(places[dim]) for dim in places},
    )  # fmt: skip
    return ds, kind, draw(blocks(sizes, 6)), draw(st.permutations(tuple(sizes)))


def check(case) -> None:
    ds, kind, chunks, dims = case
    options = {"kind": kind, "predictors": ["smap", "sand"], "options": KINDS[kind], "progress": False}
    complete = int((np.isfinite(ds.soil_moisture) & np.isfinite(ds.smap)).sum())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = unharmed(lambda: xsoil.fit_moisture_model(ds, **options), ds)
        except SoilError:
            if complete >= ENOUGH and min(ds.soil_moisture.sizes.values()) >= 5:
                raise
            return
        given = ds.drop_vars("soil_moisture")
        found = unharmed(lambda: model.predict(given), given)
        lazy = loaded(model.predict(given.transpose(*dims).chunk(chunks)))
    for name in found.data_vars:
        values, other = found[name].values, lazy[name].transpose(*found[name].dims).values
        if kind == "convlstm":
            np.testing.assert_allclose(other, values, rtol=0, atol=2e-6, err_msg=str(name))
        else:
            np.testing.assert_array_equal(other, values, str(name))
    values = found.soil_moisture.values
    assert not np.isinf(values).any()
    known = values[np.isfinite(values)]
    assert ((known >= 0) & (known <= 1)).all()


@few
@pytest.mark.parametrize("kinds", [("random_forest", "dense"), ("lstm",), ("convlstm",)], ids=" ".join)
def test_moisture_models(number, kinds):
    fuzz(check, st.sampled_from(kinds).flatmap(cases), number)
