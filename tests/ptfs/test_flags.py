"""Blocks of cells: texture, value faults and their flags."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from xsoil.ptfs import PTFS
from xsoil.ptfs.evaluate import FLAGS, Evaluation, balance_texture, impossible_results
from xsoil.vocabulary import VARIABLES

NAN = np.nan


def evaluate(name, dtype="f8", **cells):
    entry = PTFS[name].resolve(frozenset(cells))
    outputs = tuple(v.name for v in entry.outputs)
    blocks = [np.atleast_1d(np.asarray(v, dtype)) for v in cells.values()]
    results = Evaluation(entry, tuple(cells), outputs, dtype, True)(*blocks)
    return dict(zip((*outputs, "quality"), results, strict=True))


def flags(value):
    return {name for name, bit in FLAGS.items() if value & bit}


def test_flags_are_bits():
    assert list(FLAGS.values()) == [1 << i for i in range(len(FLAGS))]


@pytest.mark.parametrize(
    ("sand", "silt", "clay", "flag"),
    [
        (40, 40, 20, None),
        (40, 39.5, 20, "texture_renormalised"),
        (40, 39, 20, "texture_renormalised"),
        (40, 41, 20, "texture_renormalised"),
        (40, 38.9, 20, "texture_rejected"),
        (40, 41.1, 20, "texture_rejected"),
        (60, 40, 30, "texture_rejected"),
        (90, 15, -5, "texture_rejected"),
        (110, 0, -10, "texture_rejected"),
        (-9999, -9999, -9999, "texture_rejected"),
        (np.inf, 40, 20, "texture_rejected"),
        (NAN, 40, 20, "input_missing"),
        (NAN, NAN, NAN, "input_missing"),
    ],
)
def test_texture(sand, silt, clay, flag):
    found = evaluate("cosby1984", sand=sand, silt=silt, clay=clay)
    assert flags(found["quality"][0]) == ({flag} if flag else set())
    if flag in (None, "texture_renormalised"):
        scale = 100 / (sand + silt + clay)
        expected = PTFS["cosby1984"].function(sand * scale, silt * scale, clay * scale)
        np.testing.assert_allclose([found[v][0] for v in ("theta_s", "psi_s", "b", "k_sat")], expected, rtol=1e-14)
    else:
        assert all(np.isnan(found[v][0]) for v in ("theta_s", "psi_s", "b", "k_sat"))


@pytest.mark.parametrize("absent", ["sand", "silt", "clay"])
def test_third_class_follows(absent):
    whole = {"sand": [30.0, 55.5], "silt": [45.0, 30.0], "clay": [25.0, 14.5]}
    parts = {name: values for name, values in whole.items() if name != absent}
    for name, values in evaluate("cosby1984", **whole).items():
        np.testing.assert_allclose(evaluate("cosby1984", **parts)[name], values, rtol=1e-13)


@pytest.mark.parametrize(
    ("sand", "clay", "flag"),
    [(70, 30, None), (70, 30.5, "texture_renormalised"), (70, 31.5, "texture_rejected"), (70, -1, "texture_rejected")],
)
def test_two_classes(sand, clay, flag):
    found = evaluate("cosby1984", sand=sand, clay=clay)
    assert flags(found["quality"][0]) == ({flag} if flag else set())
    assert np.isnan(found["k_sat"][0]) == (flag == "texture_rejected")


def test_one_class():
    found = evaluate("li2024_cb1", sand=[0.0, 100.0, 101.0, -1.0, NAN])
    assert [flags(q) for q in found["quality"]] == [
        set(),
        set(),
        {"texture_rejected"},
        {"texture_rejected"},
        {"input_missing"},
    ]
    np.testing.assert_array_equal(np.isnan(found["k_sat"]), [False, False, True, True, True])


def test_sum_is_checked_where_silt_is_not_needed():
    found = evaluate("li2024_cb1", sand=60, silt=40, clay=30)
    assert flags(found["quality"][0]) == {"texture_rejected"}
    # but a silt that is missing there is not missed
    assert evaluate("li2024_cb1", sand=60, silt=NAN, clay=30)["quality"][0] == 0


def test_rounding_of_single_precision_is_no_fault():
    sand, silt = np.float32([33.3, 1e-5]), np.float32([33.3, 0])
    clay = 100 - sand - silt
    found = evaluate("cosby1984", "f4", sand=sand, silt=silt, clay=clay)
    np.testing.assert_array_equal(found["quality"], 0)
    tiny = evaluate("cosby1984", "f4", sand=np.float32([100.00001]), silt=np.float32([-7e-6]), clay=np.float32([0]))
    assert tiny["quality"][0] == 0
    assert np.isfinite(tiny["k_sat"][0])


def test_other_inputs():
    found = evaluate(
        "vereecken1989",
        sand=[40.0] * 6, clay=[20.0] * 6, bulk_density=[1.4, -1.0, NAN, 1.9, 1.4, 1.4],
        organic_carbon=[1.0, 1.0, 1.0, 1.0, -9999.0, 0.0],
    )  # fmt: skip
    assert [flags(q) for q in found["quality"]] == [
        set(), {"input_impossible"}, {"input_missing"}, {"outside_calibration_range"}, {"input_impossible"},
        {"outside_calibration_range", "input_clipped"},
    ]  # fmt: skip
    np.testing.assert_array_equal(np.isnan(found["k_sat"]), [False, True, True, False, True, False])


def test_impossible_results_are_blank():
    """Zacharias & Wessolek at a bulk density of 3: theta_s below 0; Toth's CEC of 0: no number, of 1e30: K_sat of 0."""
    found = evaluate("zacharias_wessolek2007", sand=[80.0, 80.0], clay=[10.0, 10.0], bulk_density=[1.4, 3.0])
    assert [flags(q) for q in found["quality"]] == [set(), {"result_impossible"}]
    assert all(np.isnan(found[name][1]) and not np.isnan(found[name][0]) for name in ("theta_s", "alpha", "n"))
    soil = {"sand": 40, "silt": 40, "clay": 20, "organic_carbon": 1, "ph": 6, "topsoil": 1}
    for cec in (0, 1e30):
        assert flags(evaluate("toth2015", **soil, cec=cec)["quality"][0]) == {"result_impossible"}


@pytest.mark.parametrize(
    ("results", "van_genuchten", "bad"),
    [
        ({"theta_r": 0.1, "theta_s": 0.4}, True, False),
        ({"theta_r": 0.4, "theta_s": 0.4}, True, True),
        ({"theta_s": 1.1}, False, True),
        ({"theta_wp": 0.2, "theta_fc": 0.1, "theta_s": 0.4}, False, True),
        ({"theta_wp": 0.1, "theta_fc": 0.45, "theta_s": 0.4}, False, True),
        ({"theta_wp": 0.1, "theta_fc": 0.2, "theta_s": 0.4}, False, False),
        ({"n": 1.0}, True, True),
        ({"n": 0.9, "m": 1.0}, True, False),
        ({"n": 0.9}, False, False),
        ({"k_sat": np.inf}, False, True),
        ({"k_sat": NAN}, False, True),
        ({"k_sat": -1.0}, False, True),
        ({"psi_s": 1.0}, False, True),
        ({"l": -np.inf}, False, True),
    ],
)
def test_impossible_results(results, van_genuchten, bad):
    cells = {name: np.array([value]) for name, value in results.items()}
    rows = tuple(VARIABLES[name] for name in results)
    assert np.all(impossible_results(cells, rows, van_genuchten) == bad)


percent = st.one_of(
    st.floats(0, 100, width=32), st.sampled_from([NAN, -9999.0, -1.0, 0.0, 100.0, 101.0, -5e-5, 100.00005, 40.001])
)
texture = st.tuples(percent, percent, st.sampled_from([0.0, 0.5, -0.5, 1e-3, -1e-3, 3.0, NAN])).map(
    lambda x: (x[0], 100 - x[0] - x[1] + x[2], x[1])
)


@given(st.lists(texture, min_size=1, max_size=12), st.sampled_from(["f4", "f8"]), st.sampled_from([2, 3]))
def test_cells_do_not_see_each_other(textures, dtype, classes):
    """The look at the extremes of a block changes nothing: each cell alone gives the same bits."""
    sand, silt, clay = np.array(textures, dtype).T
    cells = {"sand": sand, "silt": silt, "clay": clay} if classes == 3 else {"sand": sand, "clay": clay}
    together = evaluate("cosby1984", dtype, **cells)
    for i in range(sand.size):
        alone = evaluate("cosby1984", dtype, **{name: values[i] for name, values in cells.items()})
        for name, values in together.items():
            np.testing.assert_array_equal(values[i], alone[name][0], err_msg=f"{name} of cell {i}")


@given(arrays("f8", (3, 5), elements=st.floats(0, 60)))
def test_balanced_texture(fractions):
    cells = dict(zip(("sand", "silt", "clay"), fractions.copy(), strict=True))
    before = {name: values.copy() for name, values in cells.items()}
    kept = dict(cells)
    with np.errstate(all="ignore"):
        _, rejected = balance_texture(cells)
    total = sum(cells.values())
    good = ~np.broadcast_to(rejected, 5)
    np.testing.assert_allclose(total[good], 100, rtol=2e-5)
    for name in before:  # the user's arrays are not written to
        np.testing.assert_array_equal(kept[name], before[name])
