"""Order statistics, deviations and class shares of sheared overlaps against polygons, and their invariances."""

from __future__ import annotations

import numpy as np
import pytest
from sheared_oracle import SINU, box, cover, oracle

from xsoil.errors import SoilError
from xsoil.grids import sheared
from xsoil.grids.sheared import ShearedOverlap

ALL = slice(None)
CASES = {
    "albers": (box("EPSG:5070", -100, 40, 1000, 40, 50), "EPSG:6933", 9008.055210146, "target"),
    "homolosine kink": (box("ESRI:54052", -90, 40.7366, 1000, 50, 50), "EPSG:6933", 9008.055210146, "target"),
    "lat-lon target": (box("EPSG:5070", -110, 40, 1000, 40, 50), "EPSG:4326", 0.1, "EPSG:6933"),
    "utm target": (box("EPSG:3035", 12, 50, 1000, 30, 40), "EPSG:32632", 7000.0, "EPSG:6933"),
    "sinusoidal west": (box(SINU, -110, 45, 926.625433, 40, 50), "EPSG:6933", 9008.055210146, "target"),
    "sinusoidal to lat-lon": (box(SINU, -110, 45, 926.625433, 40, 50), "EPSG:4326", 0.1, "EPSG:6933"),
}
CLASSES = np.arange(6.0)


@pytest.fixture(scope="module", params=CASES, ids=list(CASES))
def case(request):
    source, crs, cell, work = CASES[request.param]
    target = cover(source, crs, cell)
    rng = np.random.default_rng(7)
    values, classes = rng.normal(25.0, 10.0, source.shape), rng.integers(0, 6, source.shape).astype(float)
    for field in (values, classes):
        field[rng.random(values.shape) < 0.05] = np.nan
    weights, _, cells = oracle(source, target, work)
    return ShearedOverlap(source, target), values, classes, weights / cells[:, None]


def selected(overlap, field, how, parameter=None):
    result, _ = overlap.select(field[None], (0, 0), ALL, ALL, how, parameter)
    return result[0].reshape(-1, overlap.target.shape[0] * overlap.target.shape[1])


@pytest.mark.parametrize("q", [0.1, 0.5])
def test_quantiles_agree_where_the_decision_is_clear(case, q):
    overlap, values, _, weights = case
    found, seen = selected(overlap, values, "quantile", q)[0], 0
    order = np.argsort(values.ravel())[: (~np.isnan(values)).sum()]
    for cell in range(len(weights)):
        reached = np.cumsum(weights[cell, order])
        if reached[-1] < 0.01:
            continue
        margin = reached / reached[-1] - q
        at = int(np.argmax(margin >= 0))
        if margin[at] > 1e-5 and (at == 0 or margin[at - 1] < -1e-5):
            assert found[cell] == values.ravel()[order[at]]
            seen += 1
    assert seen > 20


def test_modes_and_shares_agree(case):
    overlap, _, classes, weights = case
    valid = np.where(np.isnan(classes), 0.0, 1.0).ravel()
    whole = weights @ valid
    areas = np.stack([weights @ (classes.ravel() == c) for c in CLASSES])
    solid = whole > 0.01
    share = areas[:, solid] / whole[solid]
    np.testing.assert_allclose(selected(overlap, classes, "fraction", CLASSES)[:, solid], share, atol=1e-5)
    ranked = np.sort(share, axis=0)
    clear = ranked[-1] - ranked[-2] > 1e-5
    assert clear.sum() > 20
    mode = selected(overlap, classes, "mode")[0][solid]
    np.testing.assert_array_equal(mode[clear], CLASSES[share.argmax(axis=0)][clear])


def test_deviations_agree(case):
    overlap, values, _, weights = case
    known, v = np.where(np.isnan(values), 0.0, 1.0).ravel(), np.nan_to_num(values.ravel())
    whole = weights @ known
    solid = whole > 0.01
    mean = (weights @ v)[solid] / whole[solid]
    want = np.sqrt((weights[solid] * known * (v - mean[:, None]) ** 2).sum(axis=1) / whole[solid])
    np.testing.assert_allclose(selected(overlap, values, "std")[0][solid], want, atol=1e-4)


def test_valid_fractions_are_those_of_the_mean(case):
    overlap, values, _, _ = case
    _, fraction = overlap.select(values[None], (0, 0), ALL, ALL, "quantile", 0.5)
    mean, want = overlap.reduce(values[None], (0, 0), ALL, ALL, "mean")
    # Single precision of each overlap, whose roundings differ.
    np.testing.assert_allclose(fraction, want, rtol=3e-8, atol=1e-10)
    found, _ = overlap.select(values[None], (0, 0), ALL, ALL, "quantile", 0.5)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(mean))


@pytest.mark.parametrize(("how", "parameter"), [("quantile", 0.5), ("std", None), ("fraction", CLASSES)])
def test_tiles_bands_and_threads_change_no_bit(case, monkeypatch, how, parameter):
    overlap, values, classes, _ = case
    fields = np.stack([classes, np.round(values / 10)])
    whole, whole_fraction = overlap.select(fields, (0, 0), ALL, ALL, how, parameter)
    height, width = overlap.target.shape
    monkeypatch.setattr(sheared, "LIST_PIXELS", 300)
    for rows, cols, threads in ((ALL, ALL, 2), (slice(1, height - 1), slice(2, width), 1), (slice(2, 3), ALL, 2)):
        y, x = overlap.window(rows, cols)
        y, x = slice(max(y.start - 3, 0), y.stop), slice(x.start, min(x.stop + 2, fields.shape[2]))
        part, fraction = overlap.select(fields[:, y, x], (y.start, x.start), rows, cols, how, parameter, threads)
        np.testing.assert_array_equal(part, whole[..., rows, cols])
        np.testing.assert_array_equal(fraction, whole_fraction[..., rows, cols])


def test_it_refuses_what_it_does_not_know():
    source, crs, cell, _ = CASES["albers"]
    overlap = ShearedOverlap(source, cover(source, crs, cell))
    field = np.ones((1, *source.shape))
    with pytest.raises(SoilError, match="unknown order operator 'medium'"):
        overlap.select(field, (0, 0), ALL, ALL, "medium")
    with pytest.raises(SoilError, match="expected a quantile q between 0 and 1, found 2"):
        overlap.select(field, (0, 0), ALL, ALL, "quantile", 2)
    with pytest.raises(SoilError, match="expected values of float32 or float64, found int64"):
        overlap.select(field.astype(int), (0, 0), ALL, ALL, "mode")
