"""`learn_params` on what hypothesis draws: within the bounds, NaN where nobody looked, or refused with a reason."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import strategies as st
from odc.geo.xr import xr_coords
from strategies import HOLES, Sizes, blocks, fuzz, holes, unharmed

import xsoil
from xsoil.errors import SoilError

pytest.importorskip("lightning", reason="the extra 'learn' is not installed")

few = Sizes(quick=3, long=100).mark()
LI = {
    "theta_s": 0.5, "theta_fc": 0.2, "theta_wp": 0.078, "root_depth": 1.0, "depletion_fraction": 0.1,
    "crop_coefficient": 0.5,
}  # fmt: skip
BOUNDS = {"k_sat": (1.0, 1000.0), "obs_scale": (0.6, 1.9)}
WAYS = {
    "inverse": {"strategy": "inverse", "members": 10, "iterations": 2},
    "mlp": {"strategy": "end_to_end", "network": "mlp", "epochs": 1},
    "two steps": {"strategy": "two_step", "network": "mlp", "epochs": 2, "members": 10, "iterations": 1},
    "patches": {"strategy": "end_to_end", "network": "cnn", "epochs": 1},
    "history": {"strategy": "end_to_end", "network": "lstm", "epochs": 1, "network_options": {"hidden": 3}},
}
FACTOR = 9
"""Cells of a patch along an edge."""


@st.composite
def cases(draw):
    days = draw(st.integers(5, 40))
    box = xsoil.ease_grid("EASE2_M09km", (-100.0, 36.0, -98.0, 38.0))[
        : draw(st.integers(1, 6)), : draw(st.integers(1, 6))
    ]
    sizes = {"time": days, "y": box.shape[0], "x": box.shape[1]}
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape, place = tuple(sizes.values()), xr_coords(box, crs_coord_name="spatial_ref")
    time = pd.date_range("2015-01-01", periods=days)
    rate = {"units": "mm d-1"}
    rain = rng.gamma(0.3, 20, shape).astype("f4")
    forcing = xr.Dataset(
        {"precipitation": (tuple(sizes), rain, rate), "pet": (tuple(sizes), np.full(shape, 3, "f4"), rate)},
        {"time": time, **place},
    )
    values = rng.uniform(0.1, 0.45, shape).astype("f4")
    values[holes(draw(HOLES), rng, shape)] = np.nan
    observed = xr.DataArray(values, {"time": time, **place}, tuple(sizes), "soil_moisture", {"units": "m3 m-3"})
    way = draw(st.sampled_from(list(WAYS)))
    if way == "patches":
        box = box.zoom_out(1 / FACTOR)
    sand = rng.uniform(10, 80, box.shape).astype("f4")
    clay = (100 - sand) * np.float32(0.5)
    percent = {"units": "percent"}
    soil = xr.Dataset(
        {"sand": (box.dimensions, sand, percent), "clay": (box.dimensions, clay, percent)},
        xr_coords(box, crs_coord_name="spatial_ref"),
    )
    return soil, observed, forcing, way, draw(blocks(sizes, 6))


def check(case) -> None:
    soil, observed, forcing, way, chunks = case
    options = {"targets": BOUNDS, "substeps": 2, "progress": False, **WAYS[way], **LI}
    given, parts = None if way == "inverse" else soil, {"y": chunks["y"], "x": chunks["x"]}
    if way == "patches":
        parts = dict.fromkeys(parts, 7)
    if way == "history":
        options["history"] = forcing
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            learned = unharmed(
                lambda: xsoil.learn_params(given, observed, forcing, **options), soil, observed.to_dataset(), forcing
            )
        except SoilError:
            if observed.notnull().all():
                raise
            return
        again = xsoil.learn_params(
            given if given is None else given.chunk(parts),
            observed.chunk(chunks), forcing.chunk(chunks), **options,
        )  # fmt: skip
    seen = observed.notnull().any("time").values
    for name, (low, high) in BOUNDS.items():
        values = learned.params[name].values
        np.testing.assert_array_equal(again.params[name].values, values)
        known = np.isfinite(values)
        assert not np.isinf(values).any()
        assert (values[known] >= low * (1 - 1e-6)).all()
        assert (values[known] <= high * (1 + 1e-6)).all()
        if way == "inverse":
            assert not known[~seen].any(), "parameters of a cell that nobody observed"
        else:
            assert known.all()


@few
def test_learning(number):
    fuzz(check, cases(), number)
