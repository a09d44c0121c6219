"""The compiled water balance against a numpy loop over the same formula, and against itself in other pieces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from xsoil.kernels.water_balance import BLOCK, FLAGS, SERIES, STRIP, run
from xsoil.physics.water_balance import water_balance_substep


def world(cells, days, seed=0, dtype="f8"):
    """Random soils from a thin layer to 2 m, storms up to 200 mm, demand up to 12 mm."""
    rng = np.random.default_rng(seed)
    theta_wp = rng.uniform(0.0, 0.2, cells)
    theta_fc = theta_wp + rng.uniform(0.02, 0.2, cells)
    theta_s = theta_fc + rng.uniform(0.02, 0.3, cells)
    k_sat = 10 ** rng.uniform(-1, 3, cells)
    root_depth, depletion, crop = rng.uniform(0.05, 2, cells), rng.uniform(0, 0.9, cells), rng.uniform(0, 1.3, cells)
    rain = np.minimum(rng.gamma(0.3, 10, (days, cells)), 200) * (rng.random((days, cells)) < 0.6)
    demand = rng.uniform(0, 12, (days, cells))
    parameters = [v.astype(dtype) for v in (theta_s, theta_fc, theta_wp, k_sat, root_depth, depletion, crop)]
    return rain.astype(dtype), demand.astype(dtype), parameters


def numpy_loop(rain, pet, parameters, substeps=24):
    """PHYSICS 2 with absolute storages, cell arrays and no blocks."""
    step = water_balance_substep(np.minimum, np.maximum)
    theta_s, theta_fc, theta_wp, k_sat, root_depth, depletion, crop = (p.astype("f8") for p in parameters)
    depth = 1000 * root_depth
    k = 1000 * (k_sat / 100) / (depth * (theta_s - theta_fc)) / substeps
    per_depletion = 1 / ((1 - depletion) * depth * (theta_fc - theta_wp))
    water = depth * theta_fc
    series = {name: [] for name in SERIES}
    for p, e in zip(rain.astype("f8"), pet.astype("f8"), strict=True):
        sums = np.zeros((3, water.size))
        for _ in range(substeps):
            water, *fluxes = step(
                water, p / substeps, crop * e / substeps,
                depth * theta_s, depth * theta_fc, depth * theta_wp, per_depletion, -np.expm1(-k),
            )  # fmt: skip
            sums += fluxes
        for name, values in zip(SERIES, (water / depth, water, sums[1], sums[0], sums[2]), strict=True):
            series[name].append(values)
    return {name: np.array(values) for name, values in series.items()}


@pytest.mark.parametrize("substeps", [1, 5, 24])
def test_equals_the_numpy_loop(substeps):
    rain, pet, parameters = world(BLOCK + 37, 60)
    values, (theta, status) = run(rain, pet, parameters, substeps=substeps, outputs=SERIES)
    twin = numpy_loop(rain, pet, parameters, substeps)
    assert (twin["runoff"] > 0).any()
    for name in SERIES:
        assert_allclose(values[name], twin[name], rtol=0, atol=1e-12 if name == "theta" else 1e-9, err_msg=name)
    assert_array_equal(theta, values["theta"][-1])
    assert not status.any()


@given(st.integers(0, 10_000), st.sampled_from(["f4", "f8"]))
@settings(max_examples=25)
def test_balance_and_bounds(seed, dtype):
    rain, pet, parameters = world(40, 50, seed, dtype)
    values, _ = run(rain, pet, parameters, outputs=SERIES)
    values = {name: array.astype("f8") for name, array in values.items()}
    theta_s, theta_fc, theta_wp = (p.astype("f8") for p in parameters[:3])
    start = 1000 * parameters[4].astype("f8") * theta_fc
    change = np.diff(np.vstack([start, values["storage"]]), axis=0)
    net = rain.astype("f8") - values["runoff"] - values["actual_et"] - values["drainage"]
    assert_allclose(change, net, rtol=0, atol=1e-10 if dtype == "f8" else 1e-3)
    assert (values["theta"] <= theta_s).all()
    assert (values["theta"] >= theta_wp).all()
    dry = np.vstack([theta_fc, values["theta"][:-1]]) <= theta_fc
    assert (values["drainage"][dry & (rain == 0)] == 0).all()
    assert all((values[name] >= 0).all() for name in ("runoff", "actual_et", "drainage"))


def test_single_precision_stays_near_double_over_three_years():
    rain, pet, parameters = world(300, 1096, 3, "f4")
    single, _ = run(rain, pet, parameters, outputs=SERIES)
    double, _ = run(rain, pet, parameters, outputs=SERIES, dtype=np.dtype("f8"))
    assert single["theta"].dtype == np.float32
    assert np.abs(single["theta"] - double["theta"]).max() <= 3e-6
    for name in ("actual_et", "runoff", "drainage"):
        assert np.abs(single[name] - double[name]).max() <= 1e-3, name


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_neighbours_order_and_threads_do_not_matter(dtype):
    """Vector body, last vector, single cells and other strips give the same bits."""
    cells = STRIP + BLOCK + 13
    rain, pet, parameters = world(cells, 20, 5, dtype)
    whole, _ = run(rain, pet, parameters, outputs=SERIES)
    threads, _ = run(rain, pet, parameters, outputs=SERIES, workers=3)
    order = np.random.default_rng(0).permutation(cells)
    shuffled, _ = run(rain[:, order], pet[:, order], [p[order] for p in parameters], outputs=SERIES)
    for name in SERIES:
        assert_array_equal(threads[name], whole[name])
        assert_array_equal(shuffled[name], whole[name][:, order])
    for first, last in [(0, 1), (3, 11), (BLOCK - 3, BLOCK + 4), (cells - 7, cells)]:
        part, _ = run(rain[:, first:last], pet[:, first:last], [p[first:last] for p in parameters], outputs=SERIES)
        for name in SERIES:
            assert_array_equal(part[name], whole[name][:, first:last])


def test_memory_layout_does_not_matter():
    rain, pet, parameters = world(70, 30)
    whole, _ = run(rain, pet, parameters)
    transposed, _ = run(np.asfortranarray(rain), pet[:, ::-1].copy()[:, ::-1], parameters)
    assert_array_equal(transposed["theta"], whole["theta"])
    column, _ = run(rain[:, :1], pet[:, :1], parameters)
    spread, _ = run(np.repeat(rain[:, :1], 70, axis=1), np.repeat(pet[:, :1], 70, axis=1), parameters)
    assert_array_equal(column["theta"], spread["theta"])


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_state_continues_bit_for_bit(dtype):
    rain, pet, parameters = world(60, 40, 2, dtype)
    whole, (theta, status) = run(rain, pet, parameters, outputs=SERIES)
    _, state = run(rain[:17], pet[:17], parameters)
    after, (again, status_again) = run(rain[17:], pet[17:], parameters, state=state, outputs=SERIES)
    initial, _ = run(rain[17:], pet[17:], parameters, initial=state[0], outputs=SERIES)
    skipped, _ = run(rain, pet, parameters, skip=17, outputs=SERIES)
    for name in SERIES:
        for part in (after, initial, skipped):
            assert_array_equal(part[name], whole[name][17:])
    assert_array_equal(again, theta)
    assert_array_equal(status_again, status)


def test_only_what_is_asked_for_is_returned():
    rain, pet, parameters = world(5, 3)
    values, _ = run(rain, pet, parameters, outputs=("runoff",))
    assert list(values) == ["runoff"]
    assert run(rain, pet, parameters, outputs=())[0] == {}


@pytest.mark.parametrize(
    ("place", "value", "flag"),
    [
        (0, np.nan, "missing_parameter"), (6, np.nan, "missing_parameter"), (0, 0.1, "impossible_parameters"),
        (0, 1.2, "impossible_parameters"), (2, -0.01, "impossible_parameters"), (2, 0.9, "impossible_parameters"),
        (3, 0.0, "impossible_parameters"), (3, np.inf, "impossible_parameters"), (4, 0.0, "impossible_parameters"),
        (5, 1.0, "impossible_parameters"), (5, -0.1, "impossible_parameters"), (6, -1.0, "impossible_parameters"),
    ],
)  # fmt: skip
def test_faulty_parameters_leave_only_their_cell_missing(place, value, flag):
    rain, pet, parameters = world(20, 5)
    for i, good in enumerate((0.5, 0.2, 0.078, 36.0, 1.0, 0.1, 0.5)):
        parameters[i][:] = good
    whole, _ = run(rain, pet, parameters, outputs=SERIES)
    parameters[place][7] = value
    values, (theta, status) = run(rain, pet, parameters, outputs=SERIES)
    others = np.arange(20) != 7
    for name in SERIES:
        assert np.isnan(values[name][:, 7]).all(), name
        assert_array_equal(values[name][:, others], whole[name][:, others])
    assert np.isnan(theta[7])
    assert_array_equal(status, np.where(others, 0, FLAGS[flag]))


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    ("value", "flag"), [(np.nan, "missing_forcing"), (np.inf, "missing_forcing"), (-0.1, "negative_forcing")]
)
def test_faulty_forcing_leaves_its_cell_missing_from_that_day_on(which, value, flag):
    rain, pet, parameters = world(20, 9)
    whole, _ = run(rain, pet, parameters, outputs=SERIES)
    (rain, pet)[which][4, 3] = value
    values, (theta, status) = run(rain, pet, parameters, outputs=SERIES)
    bad = np.zeros((9, 20), bool)
    bad[4:, 3] = True
    for name in SERIES:
        assert_array_equal(values[name], np.where(bad, np.nan, whole[name]))
    assert_array_equal(status, np.where(np.arange(20) == 3, FLAGS[flag], 0))
    assert_array_equal(np.isnan(theta), bad[-1])


def test_initial_state_is_clipped_and_flagged():
    rain, pet, parameters = world(4, 2)
    theta_s, theta_wp = parameters[0], parameters[2]
    initial = np.array([0.9, -1.0, np.nan, (theta_s[3] + theta_wp[3]) / 2])
    values, (_, status) = run(rain, pet, parameters, initial=initial)
    edge = np.array([theta_s[0], theta_wp[1], np.nan, initial[3]])
    assert_array_equal(values["theta"], run(rain, pet, parameters, initial=edge)[0]["theta"])
    clipped = FLAGS["initial_state_clipped"]
    assert_array_equal(status, [clipped, clipped, FLAGS["missing_initial_state"], 0])
