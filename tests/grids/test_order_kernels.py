"""Order statistics of lists of pixels against their definitions, with sorting and sums by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pixel_lists import reduce_lists

from xsoil.grids.order_kernels import FRACTION, MODE, PAD, QUANTILE, SHORT, STD, have_twins, scratch, twin_scratch

CLASSES = np.array([-2.0, 0.0, 1.0, 3.0, 200.0, np.inf])


def expected(values, area, how, q=0.5):
    """The operators by their definitions."""
    known = ~np.isnan(values) & (area > 0)
    values, area = values[known].astype(float), area[known]
    if not values.size:
        return np.nan
    each = sorted(set(values.tolist()))
    areas = [math.fsum(area[values == v]) for v in each]
    whole = math.fsum(area)
    if how == FRACTION:
        return [math.fsum(area[values == c]) / whole for c in CLASSES]
    if how == MODE:
        return next(v for v, a in zip(each, areas) if a >= max(areas) * (1 - 1e-9))
    if how == STD:
        mean = math.fsum(area * values) / whole
        return math.sqrt(math.fsum(area * (values - mean) ** 2) / whole)
    if q in (0, 1):
        return each[-q]
    for n in range(len(each)):
        share = math.fsum(areas[: n + 1]) / whole
        if abs(share - q) <= 1e-9 and n + 1 < len(each):
            return 0.5 * each[n] + 0.5 * each[n + 1]
        if share >= q - 1e-9:
            return each[n]
    raise AssertionError("the last share is 1")


def reduce(values, lists, areas, how, q=0.5, classes=CLASSES):
    """`reduce_lists` of one layer: (cells,), or (classes, cells) for fractions, and valid areas."""
    indptr = np.concatenate([[0], np.cumsum([len(pixels) for pixels in lists])])
    result = np.full((1, classes.size if how == FRACTION else 1, len(lists)), -9.0)
    valid = np.full((1, len(lists)), -9.0)
    pixel = np.concatenate(lists).astype(np.int32 if values.dtype == np.float32 else np.int64)
    area = np.concatenate(areas).astype(float)
    reduce_lists(values[None], indptr, pixel, area, how, q, classes, 0, len(lists), result, valid)
    return (result[0] if how == FRACTION else result[0, 0]), valid[0]


def floats(dtype):
    """Numbers that tie often, every sign and size, infinities and NaN."""
    few = st.sampled_from([np.nan, -np.inf, np.inf, -2.0, -0.0, 0.0, 0.5, 1.0, 3.0, 200.0, 255.0, 256.0, 300.0])
    whole = st.sampled_from([np.nan, 0.0, 1.0, 3.0, 7.0, 200.0])
    any_float = st.floats(-(2.0**99), 2.0**99, width=32 if dtype == np.float32 else 64)
    return st.one_of(st.lists(v, min_size=1, max_size=80) for v in (few, whole, any_float, st.one_of(few, any_float)))


@st.composite
def blocks(draw):
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    values = np.array(draw(floats(dtype)), dtype)
    kind = draw(st.sampled_from([[1.0], [1.0, 0.5], [1.0, 3.3, 0.7], [1.0, 1e-7, 1e-13], [0.0, 2.0]]))
    area = np.array([draw(st.sampled_from(kind)) for _ in values])
    return values, area * draw(st.sampled_from([1.0, 8.1e7, 1e-12]))


@given(blocks(), st.sampled_from([0, 1, 0.5, 0.25, 0.1, 0.9, 1 / 3]))
@settings(max_examples=300)
def test_operators_by_their_definitions(block, q):
    values, area = block
    pixels = [np.arange(values.size)]
    middle, valid = reduce(values[None], pixels, [area], QUANTILE, q)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(middle[0], expected(values, area, QUANTILE, q))
    np.testing.assert_allclose(valid[0], math.fsum(area[~np.isnan(values)]), rtol=1e-14)
    np.testing.assert_array_equal(reduce(values[None], pixels, [area], MODE)[0][0], expected(values, area, MODE))
    shares = reduce(values[None], pixels, [area], FRACTION)[0][:, 0]
    np.testing.assert_allclose(shares, expected(values, area, FRACTION), rtol=1e-12, atol=1e-15)
    if np.isfinite(values[~np.isnan(values)]).all():
        deviation = reduce(values[None], pixels, [area], STD)[0][0]
        scale = np.nanmax(np.abs(values), initial=0.0)
        np.testing.assert_allclose(deviation, expected(values, area, STD), rtol=1e-12, atol=1e-15 * float(scale))


@given(blocks(), st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_quantiles_rise_between_the_extremes(block, qs):
    values, area = block
    pixels = [np.arange(values.size)]
    quantiles = [reduce(values[None], pixels, [area], QUANTILE, q)[0][0] for q in [0, *sorted(qs), 1]]
    finite = [v for v in quantiles if not np.isnan(v)]  # the mean of both infinities is not a number
    assert finite == sorted(finite)


@given(blocks(), st.randoms(use_true_random=False))
def test_the_order_of_a_list_changes_nothing(block, random):
    values, area = block
    turned = list(range(values.size))
    random.shuffle(turned)
    for how in (QUANTILE, MODE):
        one, _ = reduce(values[None], [np.arange(values.size)], [area], how, 0.3)
        other, _ = reduce(values[None], [np.array(turned)], [area[turned]], how, 0.3)
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("values", "area", "q", "answer"),
    [
        ([1, 2, 3, 4], [1, 1, 1, 1], 0.5, 2.5),
        ([1, 2, 3, 4], [1, 1, 1, 1], 0.25, 1.5),
        ([1, 2, 3, 4], [1, 1, 1, 1 + 4e-9], 0.5, 2.5),  # short of the half by 0.5e-9 of the area
        ([1, 2, 3, 4], [1, 1, 1, 1 + 4e-8], 0.5, 3.0),
        ([1, 2, 2, 4], [1, 0.5, 0.5, 2], 0.5, 3.0),
        ([7, 5], [1e-12, 1], 1, 7.0),
        ([-np.inf, 3, np.inf], [1, 1, 1], 0.5, 3.0),
        ([3, np.inf], [1, 1], 0.5, np.inf),
        ([np.nan, np.nan, 4], [5, 5, 1], 0.5, 4.0),
    ],
)
def test_quantiles_by_hand(values, area, q, answer):
    found, _ = reduce(np.array([values], float), [np.arange(len(values))], [np.array(area, float)], QUANTILE, q)
    assert found[0] == answer


@pytest.mark.parametrize(
    ("values", "area", "answer"),
    [
        ([3.5, 1.5], [1, 1 - 0.9e-9], 1.5),
        ([3.5, 1.5], [1, 1 - 1.1e-9], 3.5),
        ([2, 1], [1, 1 - 0.9e-9], 1),
        ([2, 1], [1, 1 - 1.1e-9], 2),
        ([-0.0, 5, 0.0], [1, 1.5, 1], 0),
        ([np.inf, 5, np.inf], [1, 1.5, 1], np.inf),
    ],
)
def test_modes_by_hand(values, area, answer):
    assert reduce(np.array([values], float), [np.arange(len(values))], [np.array(area)], MODE)[0][0] == answer


def test_a_cell_as_large_as_a_continent():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (400, 400)).round(3).astype("f4")
    area = rng.uniform(0.5, 1.5, values.size)
    pixels = [np.arange(0), np.arange(values.size), np.array([5])]
    areas = [np.empty(0), area, np.array([1.0])]
    for how in (QUANTILE, MODE):
        found, valid = reduce(values, pixels, areas, how)
        np.testing.assert_array_equal(found, [np.nan, expected(values.ravel(), area, how), values[0, 5]])
        np.testing.assert_allclose(valid, [0, area.sum(), 1])


def test_only_the_cells_that_are_asked_for():
    values = np.arange(12.0).reshape(1, 3, 4)
    indptr, pixel, area = np.arange(13), np.arange(12), np.ones(12)
    whole, parts = np.zeros((1, 1, 12)), np.full((1, 1, 12), -9.0)
    valid = np.zeros((1, 12))
    reduce_lists(values, indptr, pixel, area, MODE, 0.5, CLASSES, 0, 12, whole, valid)
    reduce_lists(values, indptr, pixel, area, MODE, 0.5, CLASSES, 3, 7, parts, valid)
    np.testing.assert_array_equal(whole[0, 0], np.arange(12))
    np.testing.assert_array_equal(parts[0, 0], np.where((np.arange(12) >= 3) & (np.arange(12) < 7), whole[0, 0], -9))


def test_repeated_values_are_found_among_many_that_share_slots():
    rng, twins, missing = np.random.default_rng(0), twin_scratch(), np.int32(2**31 - 1)
    for n in (1, 2, 80, SHORT, *rng.integers(2, SHORT, 200)):
        keys = rng.choice(2**20, n, replace=False).astype(np.int32) * 2048 - 2**30
        keys[rng.random(n) < 0.1] = missing
        assert not have_twins(keys, n, missing, *twins)
        (known,) = np.nonzero(keys != missing)
        if known.size > 1:
            one, other = rng.choice(known, 2, replace=False)
            keys[one] = keys[other]
            assert have_twins(keys, n, missing, *twins)


@pytest.mark.parametrize("size", [1, 24, 31, 32, 33, 64])
def test_scratch_has_room_for_a_list_that_is_filled_up_twice(size):
    """Rows of few pixels a cell fill up their lists, and quantiles fill them up again: 8 numbers lay beyond the end."""
    keys, weights, _ = scratch(np.zeros(1, np.int32), size, True)
    longest = -(-size // PAD) * PAD
    assert min(keys.size, weights.size) >= longest + PAD
