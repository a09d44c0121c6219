"""The USDA triangle is partitioned."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsoil.ptfs.usda import USDA_CLASSES, usda_class


def printed_rules(s, si, c):
    """The twelve rules as they stand in PHYSICS 1.2, each on its own."""
    return np.stack([
        si + 1.5 * c < 15,
        (si + 1.5 * c >= 15) & (si + 2 * c < 30),
        (c >= 7) & (c < 20) & (s > 52) & (si + 2 * c >= 30) | (c < 7) & (si < 50) & (si + 2 * c >= 30),
        (c >= 7) & (c < 27) & (si >= 28) & (si < 50) & (s <= 52),
        (si >= 50) & (c >= 12) & (c < 27) | (si >= 50) & (si < 80) & (c < 12),
        (si >= 80) & (c < 12),
        (c >= 20) & (c < 35) & (si < 28) & (s > 45),
        (c >= 27) & (c < 40) & (s > 20) & (s <= 45),
        (c >= 27) & (c < 40) & (s <= 20),
        (c >= 35) & (s > 45),
        (c >= 40) & (si >= 40),
        (c >= 40) & (s <= 45) & (si < 40),
    ])  # fmt: skip


def lattice(step=0.5):
    axis = np.arange(0, 100 + step / 2, step)
    sand, clay = (a.ravel() for a in np.meshgrid(axis, axis))
    inside = sand + clay <= 100
    return sand[inside], (100 - sand - clay)[inside], clay[inside]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_point_of_the_lattice_has_the_one_class_whose_rule_holds(dtype):
    texture = lattice()
    rules = printed_rules(*texture)
    assert (rules.sum(axis=0) == 1).all()
    found = usda_class(*(a.astype(dtype) for a in texture))
    assert found.dtype == np.int8
    np.testing.assert_array_equal(found, rules.argmax(axis=0) + 1)
    assert set(found) == set(range(1, 13))


@pytest.mark.parametrize(
    ("sand", "clay", "name"),
    [(92, 5, "sand"), (82, 6, "loamy_sand"), (65, 10, "sandy_loam"), (40, 18, "loam"), (20, 15, "silt_loam"),
     (5, 5, "silt"), (60, 28, "sandy_clay_loam"), (32, 34, "clay_loam"),
     (10, 34, "silty_clay_loam"), (52, 42, "sandy_clay"),
     (6, 47, "silty_clay"), (20, 60, "clay")],
)  # fmt: skip
def test_typical_textures(sand, clay, name):
    assert USDA_CLASSES[usda_class(sand, 100 - sand - clay, clay) - 1] == name


def test_limits_survive_the_rounding_of_a_unit_conversion():
    fractions = [np.array(a) / 100 for a in lattice()]
    percent = [a * 100 for a in fractions]
    assert any((p != a).any() for p, a in zip(percent, lattice(), strict=True))
    np.testing.assert_array_equal(usda_class(*percent), usda_class(*lattice()))


@given(st.floats(99.0, 101.0), st.floats(0, 1), st.floats(0, 1))
def test_sums_near_100_are_scaled(total, u, v):
    sand = round(100 * u)
    clay = round((100 - sand) * v)
    texture = np.array([sand, 100 - sand - clay, clay], float)
    assert usda_class(*(texture * total / 100)) == usda_class(*texture) > 0


@pytest.mark.parametrize(
    "texture",
    [
        (np.nan, 40, 40),
        (40, np.nan, 20),
        (60, 40, 30),
        (40, 20, 20),
        (-5, 65, 40),
        (50, -10, 60),
        (80, 30, -10),
        (np.inf, 0, 0),
    ],
)
def test_no_class_without_a_texture(texture):
    assert usda_class(*texture) == 0


def test_shapes_broadcast_and_blocks_do_not_show():
    sand, clay = np.linspace(0, 60, 300)[:, None], np.linspace(0, 40, 200)[None, :]
    whole = usda_class(sand, 100 - sand - clay, clay)
    assert whole.shape == (300, 200)
    one = [
        usda_class(sand[i, 0], 100 - sand[i, 0] - clay[0, j], clay[0, j]) for i, j in [(0, 0), (150, 99), (299, 199)]
    ]
    assert one == [whole[0, 0], whole[150, 99], whole[299, 199]]
