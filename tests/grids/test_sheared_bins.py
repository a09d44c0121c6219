"""Bins of sheared overlaps: neither how many layers come together, nor threads, nor too few chunks can show."""

from __future__ import annotations

import numpy as np
import pytest
from sheared_oracle import box, cover

from xsoil.grids import sheared_groups, sheared_order
from xsoil.grids.sheared import ShearedOverlap
from xsoil.grids.sheared_bins import new_bins

ALL = slice(None)


@pytest.fixture(scope="module")
def field():
    """Two layers of pixels of the homolosine, so that its kink (a group with corners of its own) is there."""
    source = box("ESRI:54052", -90, 40.7366, 1000, 150, 90)
    rng = np.random.default_rng(3)
    values = rng.normal(25.0, 10.0, (2, *source.shape)).astype("f4")
    values[rng.random(values.shape) < 0.05] = np.nan
    values[1] = np.round(values[1] / 8.0)  # few values, some of them negative
    return ShearedOverlap(source, cover(source, "EPSG:6933", 9008.055210146)), values


@pytest.mark.parametrize(("how", "parameter"), [("quantile", 0.5), ("quantile", 0.0), ("mode", None), ("std", None)])
def test_layers_may_come_one_by_one_and_on_any_number_of_threads(field, monkeypatch, how, parameter):
    monkeypatch.setattr(sheared_groups, "GROUP_ROWS", 24)
    overlap, values = field
    both, valid = overlap.select(values, (0, 0), ALL, ALL, how, parameter)
    assert np.isfinite(both).any(axis=(1, 2)).all()
    for threads in (1, 2, 3):
        for layer in (0, 1):
            one, area = overlap.select(values[layer : layer + 1], (0, 0), ALL, ALL, how, parameter, threads=threads)
            np.testing.assert_array_equal(one[0], both[layer])
            np.testing.assert_array_equal(area[0], valid[layer])


def test_more_chunks_are_made_where_they_run_out(field, monkeypatch):
    overlap, values = field
    enough = overlap.select(values, (0, 0), ALL, ALL, "quantile", 0.3)
    monkeypatch.setattr(sheared_order, "new_bins", lambda height, width, _: new_bins(height, width, 1))
    for found, expected in zip(overlap.select(values, (0, 0), ALL, ALL, "quantile", 0.3), enough):
        np.testing.assert_array_equal(found, expected)
