"""Conservative splitting: tiles, windows and orientation where grids are sheared, across seams and poles."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from xsoil.grids.conservative import LEAST_SHARE, ConservativeSplit
from xsoil.grids.ease import ease_grid
from xsoil.grids.overlap import overlap_of


def globe(first=-180.0, step=3.0):
    return GeoBox((int(180 / step), int(360 / step)), Affine(step, 0, first, 0, -step, 90), "EPSG:4326")


PAIRS = {
    "pole": (globe(), ease_grid("EASE2_N25km", (0, 80, 360, 90))),
    "dateline": (globe(0.0), GeoBox((60, 80), Affine(40_000, 0, -2.2e6, 0, -40_000, 2.4e6), "EPSG:3338")),
    "lobes": (
        GeoBox((20, 30), Affine(120_000, 0, -12e6, 0, -120_000, 4.5e6), "ESRI:54052"),
        ease_grid("EASE2_M36km", (-118, 20, -100, 38)),
    ),
    "aligned": (globe(0.0), ease_grid("EASE2_M36km", (150, -40, -160, 50))),
}


def split(source, target, values, threads=1):
    step = ConservativeSplit(source, target, 0.5, np.dtype("f8"), np.dtype("f8"))
    whole = (slice(0, target.shape[0]), slice(0, target.shape[1]))
    return step.run(values, (0, 0), *whole, threads)["value"]


def field(box, layers=1, missing=0.1):
    rng = np.random.default_rng(0)
    values = rng.normal(25, 10, (layers, *box.shape))
    values[rng.random(values.shape) < missing] = np.nan
    return values


@pytest.fixture(scope="module")
def wholes():
    return {name: split(source, target, field(source, 2), threads=2) for name, (source, target) in PAIRS.items()}


@pytest.mark.parametrize("name", PAIRS)
def test_every_coarse_cell_gets_its_mean(name, wholes):
    source, target = PAIRS[name]
    whole = (slice(0, source.shape[0]), slice(0, source.shape[1]))
    mean, fraction = overlap_of(target, source).reduce(wholes[name], (0, 0), *whole, "mean")
    values = field(source, 2)
    inner = np.isfinite(mean) & np.isfinite(values) & (fraction > 0.5)
    if name == "pole":  # meridians meet: poleward of 85 degrees coarse cells are narrower than fine ones
        inner[:, :2] = False
    assert inner.sum() > 100
    np.testing.assert_allclose(mean[inner], values[inner], rtol=1e-12)


@settings(max_examples=25)
@given(name=st.sampled_from(list(PAIRS)), data=st.data())
def test_tiles_never_show(name, wholes, data):
    source, target = PAIRS[name]
    r0, c0 = (data.draw(st.integers(0, size - 1)) for size in target.shape)
    rows = slice(r0, data.draw(st.integers(r0 + 1, target.shape[0])))
    cols = slice(c0, data.draw(st.integers(c0 + 1, target.shape[1])))
    step = pickle.loads(pickle.dumps(ConservativeSplit(source, target, 0.5, np.dtype("f8"), np.dtype("f8"))))
    window = step.window(rows, cols)
    if window is None:
        assert np.isnan(wholes[name][:, rows, cols]).all()
        return
    columns = np.arange(window[1].start, window[1].stop) % source.shape[1]
    part = field(source, 2)[:, window[0]][:, :, columns]
    got = step.run(part, (window[0].start, window[1].start), rows, cols)["value"]
    np.testing.assert_array_equal(got, wholes[name][:, rows, cols])


def test_tiles_never_show_where_fine_cells_hold_coarse_ones():
    degrees = 1 / 444
    source = GeoBox((61, 1), Affine(degrees, 0, -degrees / 2, 0, -degrees, 30.5 * degrees), "EPSG:4326")
    target = GeoBox((7, 3), Affine(925, 0, -1387.5, 0, -925, -9006727.261231286), "EPSG:6931")
    step = ConservativeSplit(source, target, 0.0, np.dtype("f8"), np.dtype("f8"))
    values, across = np.arange(61.0)[None, :, None], slice(0, 3)
    whole = step.run(values, (0, 0), slice(0, 7), across)["value"]
    assert np.isfinite(whole[0, :, 1]).all()
    for rows in (slice(0, 5), slice(5, 7), slice(3, 4)):
        window, _ = step.window(rows, across)
        got = step.run(values[:, window], (window.start, 0), rows, across)["value"]
        np.testing.assert_array_equal(got, whole[:, rows])


def test_blocks_never_show(wholes, monkeypatch):
    """Large tiles are worked on in blocks."""
    monkeypatch.setattr("xsoil.grids.conservative.BLOCK_SIDE", 47)
    for name in ("dateline", "aligned"):
        source, target = PAIRS[name]
        np.testing.assert_array_equal(split(source, target, field(source, 2)), wholes[name])


@pytest.mark.parametrize("name", ["pole", "dateline", "aligned"])
def test_where_the_axis_begins_never_shows(name, wholes):
    source, target = PAIRS[name]
    for first in (-180.0, -87.0):
        shift = round((first - source.affine.c) / 3)
        values = np.roll(field(source, 2), -shift, axis=2)
        np.testing.assert_array_equal(split(globe(first), target, values), wholes[name])


def test_layers_with_other_missing_cells():
    """Layers that miss the same cells share their owners; those that do not give the same."""
    source, target = ease_grid("EASE2_M36km", (5, 45, 9, 48)), ease_grid("EASE2_M09km", (5, 45, 9, 48))
    a, b = field(source, 1, 0.0), field(source, 1, 0.3)
    both = split(source, target, np.concatenate([a, b, b]))
    for layer, values in enumerate((a, b, b)):
        np.testing.assert_array_equal(both[layer], split(source, target, values)[0])


def test_a_coarse_cell_without_fine_cells_takes_those_it_shares():
    """One row: coarse cells of 2, fine cells that straddle all their borders but the last."""
    source = GeoBox((1, 4), Affine(2.0, 0, 0, 0, -1.0, 1.0), "EPSG:6933")
    target = GeoBox((1, 5), Affine(1.5, 0, 0.0, 0, -1.0, 1.0), "EPSG:6933")
    values = np.array([[[1.0, 5.0, 2.0, 8.0]]])
    fine = split(source, target, values)[0, 0]
    edges = 1.5 * np.arange(6)
    for n, value in enumerate(values[0, 0]):
        part = np.clip(np.minimum(edges[1:], 2 * n + 2) - np.maximum(edges[:-1], 2 * n), 0, None)
        assert (part * fine).sum() / part.sum() == pytest.approx(value, rel=1e-13)
    assert 0 < LEAST_SHARE < 0.1
