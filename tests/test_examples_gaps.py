"""The example of gap filling: days it removes, and scores it gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from example_runs import load


@pytest.fixture(scope="module")
def example():
    return load("gap_filling")


def world(pixels=6, days=731):
    rng = np.random.default_rng(0)
    values = (
        0.25 + 0.1 * np.sin(np.arange(days) / 20 + rng.uniform(0, 6, (pixels, 1))) + rng.normal(0, 0.01, (pixels, days))
    )
    values[rng.random(values.shape) < 0.6] = np.nan
    return xr.Dataset(
        {"soil_moisture": (("pixel", "time"), values, {"units": "m3 m-3"})},
        {"pixel": np.arange(pixels), "time": pd.date_range("2015-04-01", periods=days)},
    )


def test_gaps_have_their_lengths_and_do_not_touch(example):
    ds = world()
    dense = ds.assign(soil_moisture=ds.soil_moisture.fillna(0.2))
    length = example.removed(dense, 0)
    for row in length.values:
        edges = np.flatnonzero(np.diff(row, prepend=0, append=0))
        runs = [(row[a], b - a) for a, b in zip(edges[:-1], edges[1:], strict=True) if row[a]]
        assert all(label == found for label, found in runs)
        assert {label: [r[0] for r in runs].count(label) for label in example.LENGTHS} == example.GAPS
    assert not example.removed(ds, 0).where(ds.soil_moisture.isnull(), 0).any()
    assert not length.equals(example.removed(dense, 1))


def test_scores_are_of_removed_observations_only(example):
    ds = world()
    length = example.removed(ds, 0)
    gappy = ds.assign(soil_moisture=ds.soil_moisture.where(length == 0))
    filled = {"linear": gappy.soil.fill_gaps(), "dct": gappy.soil.fill_gaps("dct", std=True)}
    table, pixels = example.scores(filled, ds.soil_moisture, length)
    error = (filled["linear"].soil_moisture - ds.soil_moisture).where(length > 0)
    assert table.loc["linear", "all"] == pytest.approx(float(np.sqrt((error**2).mean())))
    assert table.loc["observations", "all"] == int(error.notnull().sum())
    assert table.loc["dct", "all"] < table.loc["linear", "all"]  # of a smooth course with noise it knows more
    assert 0.8 < table.loc["dct", "coverage of 90 %"] < 0.98
    assert pixels.linear.dims == ("pixel",)
