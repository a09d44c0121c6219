"""Richards columns: reference series, steady states, conservation, independence, restart."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.kernels.richards import FLAGS, SERIES, STRIP, run
from xsoil.physics.elementary import NUMPY
from xsoil.physics.richards import grid
from xsoil.physics.van_genuchten import van_genuchten

LOAM = (0.078, 0.43, 0.036, 1.56, 24.96, 0.5)
CASES = {
    "R1_vgm_loam": ("van_genuchten", LOAM, -800),
    "R3_vgm_siltloam": ("van_genuchten", (0.067, 0.45, 0.02, 1.41, 10.8, 0.5), -1000),
    "R4_fxw_fig2": ("fredlund_xing_wang", (0.40, 0.006, 1.1, 0.66, 100.0), -800),
    "R6_vgm_tight": ("van_genuchten", (0.095, 0.41, 0.019, 1.31, 1.5, 0.5), -1500),
    "R7_vgm_loam_drydown": ("van_genuchten", LOAM, -800),
}
FLUXES = tuple(name for name in SERIES if name not in ("theta", "h"))


def random_world(columns, days, curve, seed=0):
    """Clay to gravel, storm to drought: parameters, rain, demand, leaves, h50, initial heads."""
    rng = np.random.default_rng(seed)

    def between(low, high):
        return rng.uniform(low, high, columns)

    def spread(low, high):
        return np.exp(rng.uniform(np.log(low), np.log(high), columns))

    if curve == "van_genuchten":
        l = np.where(rng.random(columns) < 0.5, 0.5, between(-2, 2))  # noqa: E741
        soil = [between(0, 0.15), between(0.32, 0.55), spread(0.0015, 0.23), 1 + spread(0.05, 7), spread(0.3, 8000), l]
    else:
        soil = [between(0.32, 0.55), spread(0.0015, 0.2), 1 + spread(0.05, 12.5), spread(0.2, 1.6), spread(0.5, 8000)]
    wet = rng.random((days, columns)) < between(0.02, 0.6)
    rain = np.where(wet, rng.gamma(0.6, 1, (days, columns)) * spread(1, 60), 0.0)
    rain[rng.integers(0, days, columns), np.arange(columns)] += spread(10, 400)
    pet = between(0, 12) * rng.random((days, columns))
    lai = np.repeat(between(0, 6)[None], days, axis=0)
    return soil, rain, pet, lai, -spread(50, 2000), -spread(1, 2e4)


def simulate(world, curve, outputs=("theta", *FLUXES), **options):
    soil, rain, pet, lai, h50, initial = world
    given = {"initial": initial, "stress": (h50,), "widths": grid(50.0), "depths": (2, 5, 10, 20, 40)} | options
    return run(rain, pet, lai, soil, curve=curve, outputs=outputs, **given)


@pytest.mark.parametrize("case", CASES)
def test_reference_series(reference, case):
    curve, soil, h50 = CASES[case]
    with open(reference / "physics" / f"richards_{case}_series.csv") as file:
        rows = list(csv.DictReader(file))
    told = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    rain, pet, lai = (told[name] for name in ("precip_cm_d", "pet_cm_d", "lai"))
    values, (_, _, _, _, status), _ = run(
        10 * rain, 10 * pet, lai, soil, curve=curve, widths=grid(50.0), depths=(5,), stress=(h50,), outputs=SERIES
    )
    error = values["theta"][:, 0, 0] - told["theta_5cm"]
    assert np.sqrt((error**2).mean()) <= 3e-3
    assert np.abs(error).max() <= (3e-2 if "R6" in case else 1.5e-2)
    drying = "R7" in case
    scale = abs(told["storage_cm"][-1] - told["storage_cm"][0]) if drying else rain.sum()
    for name, cumulative in (
        ("inflow", "cum_top_in_cm"), ("drainage", "cum_bottom_out_cm"), ("uptake", "cum_uptake_cm"),
        ("runoff", "cum_runoff_cm"),
    ):  # fmt: skip
        assert np.abs(values[name][:, 0].cumsum() / 10 - told[cumulative]).max() <= 0.01 * scale, name
    et = 10 * rain - values["runoff"][:, 0] - values["inflow"][:, 0] + values["uptake"][:, 0]
    assert_allclose(values["actual_et"][:, 0], et, atol=1e-12)
    assert np.abs(values["balance"]).max() < 1e-10
    assert not status.any()


@pytest.mark.parametrize("curve", ["van_genuchten", "fredlund_xing_wang"])
@pytest.mark.parametrize("columns", [150, pytest.param(10_000, marks=pytest.mark.long)])
def test_water_is_conserved_from_clay_to_gravel_and_storm_to_drought(curve, columns):
    values, (_, _, _, _, status), _ = simulate(random_world(columns, 60, curve, seed=columns), curve)
    missing = np.isnan(values["theta"]).any(axis=(0, 1))
    assert_array_equal(missing, status == FLAGS["not_converged"])
    assert missing.mean() < 1e-3
    moved = np.abs(values["inflow"]).sum(axis=0) + np.abs(values["drainage"]).sum(axis=0) + values["uptake"].sum(axis=0)
    assert (np.abs(values["balance"][-1]) <= 1e-6 * moved)[~missing].all()
    assert (values["runoff"][:, ~missing] >= 0).all()
    assert (values["uptake"][:, ~missing] >= 0).all()


def test_steady_infiltration_has_unit_gradient():
    """Rain of 0.3 k_sat for long: K(h) is the rain everywhere."""
    days, rain = 60, 0.3 * 24.96
    values, (h, _, _, _, _), _ = run(
        np.full(days, 10 * rain), np.zeros(days), np.zeros(days), LOAM, curve="van_genuchten", widths=grid(50.0),
        uptake="none", outputs=("drainage", "steps"),
    )  # fmt: skip
    k = van_genuchten(NUMPY)(h[:, 0], *LOAM[:4], 1 - 1 / 1.56, *LOAM[4:])[2]
    assert_allclose(k, rain, rtol=1e-5)
    assert_allclose(values["drainage"][-1], 10 * rain, rtol=1e-5)
    assert values["steps"][-1] == 1


@pytest.mark.parametrize("bottom", [("water_table", 80.0), ("head", -30.0)])
def test_rest_above_a_water_table(bottom):
    """Without forcing, heads end hydrostatic and nothing moves."""
    widths = grid(50.0)
    values, (h, _, _, _, _), _ = run(
        np.zeros(3000), np.zeros(3000), np.zeros(3000), LOAM, curve="van_genuchten", widths=widths, uptake="none",
        bottom=bottom[0], bottom_value=bottom[1], outputs=("drainage",), initial=-60.0,
    )  # fmt: skip
    centres = np.cumsum(widths) - widths / 2
    assert_allclose(h[:, 0], centres - 80.0, atol=1e-3)
    assert abs(values["drainage"][-1, 0]) < 1e-6


def test_closed_column_fills_up_and_runs_off():
    values, (_, mass, _, _, _), _ = run(
        np.full(30, 20.0), np.zeros(30), np.zeros(30), LOAM, curve="van_genuchten", widths=grid(50.0),
        bottom="zero_flux", uptake="none", outputs=("runoff", "storage", "drainage"),
    )  # fmt: skip
    assert_allclose(mass, 0.43, atol=2e-6)
    assert values["storage"][-1, 0] == pytest.approx(500 * 0.43, rel=1e-5)
    assert values["runoff"][-1, 0] == pytest.approx(20.0, rel=1e-6)
    assert (values["drainage"] == 0).all()


def test_given_flux_and_head_at_the_top():
    days = 5
    flux, _, _ = run(
        np.zeros(days), np.zeros(days), np.zeros(days), LOAM, curve="van_genuchten", widths=grid(50.0), top="flux",
        top_value=0.5, uptake="none", outputs=("inflow", "balance"),
    )  # fmt: skip
    assert_allclose(flux["inflow"], 5.0, rtol=1e-12)
    head, (h, _, _, _, _), _ = run(
        np.zeros(400), np.zeros(400), np.zeros(400), LOAM, curve="van_genuchten", widths=grid(50.0), top="head",
        top_value=-20.0, uptake="none", outputs=("inflow", "drainage"),
    )  # fmt: skip
    assert_allclose(h, -20.0, atol=1e-2)
    assert head["inflow"][-1, 0] == pytest.approx(head["drainage"][-1, 0], rel=1e-5)


def test_layers_and_depths():
    """A soil per cell; equal layers give the bits of one soil; h is linear between centres."""
    world = random_world(3, 20, "van_genuchten", seed=3)
    whole, _, _ = simulate(world, "van_genuchten", ("theta", "h"))
    layered, _, _ = simulate(([np.tile(p, (29, 1)) for p in world[0]], *world[1:]), "van_genuchten", ("theta", "h"))
    assert_array_equal(layered["theta"], whole["theta"])
    other = [np.tile(p, (29, 1)) for p in world[0]]
    other[4][15:] /= 10
    changed, _, _ = simulate((other, *world[1:]), "van_genuchten", ("theta", "h"))
    assert np.abs(changed["theta"] - whole["theta"]).max() > 1e-3
    centres = np.cumsum(grid(50.0)) - grid(50.0) / 2
    middle = (centres[10] + centres[11]) / 2
    values, (h, _, _, _, _), _ = simulate(world, "van_genuchten", ("h",), depths=(0.0, middle, 50.0))
    assert_allclose(values["h"][-1], [h[0], (h[10] + h[11]) / 2, h[-1]], rtol=1e-12)


def test_feddes_uptake_stops_beyond_its_heads():
    days = 120
    arguments = {"curve": "van_genuchten", "widths": grid(50.0), "outputs": ("uptake",)}
    values, (h, _, _, _, _), _ = run(
        np.zeros(days), np.full(days, 6.0), np.full(days, 3.0), LOAM, uptake="feddes",
        stress=(-10.0, -25.0, -300.0, -600.0, -8000.0), **arguments,
    )  # fmt: skip
    assert values["uptake"][0, 0] == pytest.approx(6.0 * (1 - np.exp(-0.39 * 3)), rel=1e-6)
    assert values["uptake"][-1, 0] < 0.1 * values["uptake"][0, 0]
    assert h[10:15].min() < -600


def test_neighbours_strips_and_threads_do_not_matter():
    columns = STRIP + 9
    world = random_world(columns, 25, "van_genuchten", seed=5)
    whole, state, _ = simulate(world, "van_genuchten")
    threads, _, _ = simulate(world, "van_genuchten", workers=3)
    order = np.random.default_rng(0).permutation(columns)
    soil, *rest = world
    shuffled = ([p[order] for p in soil], *(a[..., order] for a in rest))
    other, _, _ = simulate(shuffled, "van_genuchten")
    for name in whole:
        assert_array_equal(threads[name], whole[name])
        assert_array_equal(other[name], whole[name][..., order])
    single, _, _ = simulate(world, "van_genuchten", dtype=np.float32)
    assert single["theta"].dtype == np.float32
    assert_array_equal(single["theta"], whole["theta"].astype("f4"))
    assert not np.isnan(state[0]).any()


def test_state_continues_bit_for_bit():
    world = random_world(12, 40, "van_genuchten", seed=6)
    soil, rain, pet, lai, h50, initial = world
    whole, end, _ = simulate(world, "van_genuchten")
    _, state, _ = simulate((soil, rain[:17], pet[:17], lai[:17], h50, initial), "van_genuchten", ())
    kept = [part.copy() for part in state]
    later = (soil, rain[17:], pet[17:], lai[17:], h50, initial)
    after, again, _ = simulate(later, "van_genuchten", state=state)
    skipped, _, _ = simulate(world, "van_genuchten", skip=17)
    for name in whole:
        assert_array_equal(after[name], whole[name][17:], err_msg=name)
        assert_array_equal(skipped[name], whole[name][17:], err_msg=name)
    for one, two in zip(again, end, strict=True):
        assert_array_equal(one, two)
    for one, two in zip(state, kept, strict=True):
        assert_array_equal(one, two)


def test_recorded_steps_replay():
    """The record holds every step; replayed they give the same bits, and a tighter solution is near."""
    world = random_world(10, 15, "van_genuchten", seed=8)
    values, state, steps = simulate(world, "van_genuchten", record=800)
    assert_array_equal(steps.per_day.sum(axis=1), values["steps"].sum(axis=0))
    for c in range(10):
        count = steps.per_day[c].sum()
        assert steps.dt[c, :count].sum() == pytest.approx(15, rel=1e-12)
        assert_array_equal(steps.h[c, count - 1], state[0][:, c])
    again, _, _ = simulate(world, "van_genuchten", replay=steps)
    for name in set(values) - {"iterations"}:  # a replay makes no vain attempts
        assert_array_equal(again[name], values[name], err_msg=name)
    tight, _, _ = simulate(world, "van_genuchten", replay=steps, control={"tolerance": 1e-12})
    assert_allclose(tight["theta"], values["theta"], atol=1e-4)
    with pytest.raises(ArgumentError, match="record=3, but a column took"):
        simulate(world, "van_genuchten", record=3)


@pytest.mark.parametrize("curve", ["van_genuchten", "fredlund_xing_wang"])
def test_replays_of_recorded_steps_are_smooth(curve):
    """Newton reaches round-off: differences of 1e-7 give the slope that those of 1e-5 give."""
    soil, *rest = random_world(100, 15, curve, seed=13)
    exact = {"tolerance": 1e-12}
    _, (_, _, _, _, status), steps = simulate((soil, *rest), curve, record=3000, control=exact)
    assert not status.any()

    def slope(share):
        ends = []
        for factor in (1 + share, 1 - share):
            values, _, _ = simulate(
                ([*soil[:-2], soil[-2] * factor, soil[-1]], *rest), curve, replay=steps, control=exact
            )
            ends.append(values["theta"].sum(axis=(0, 1)))
        return (ends[0] - ends[1]) / share

    fine, coarse = slope(1e-7), slope(1e-5)
    near = np.abs(fine - coarse) <= 1e-4 * np.abs(fine) + 1e-5
    assert near.mean() >= 0.97  # the rest has a kink within 1e-5


@pytest.mark.parametrize(
    ("place", "value", "flag"),
    [
        (0, np.nan, "missing_parameter"), (0, 0.6, "impossible_parameters"), (3, 0.9, "impossible_parameters"),
        (2, 0.0, "impossible_parameters"), (4, -1.0, "impossible_parameters"), (4, np.inf, "impossible_parameters"),
    ],
)  # fmt: skip
def test_faulty_parameters_leave_only_their_column_missing(place, value, flag):
    world = random_world(4, 6, "van_genuchten", seed=9)
    whole, _, _ = simulate(world, "van_genuchten")
    world[0][place][2] = value
    values, (h, _, _, _, status), _ = simulate(world, "van_genuchten")
    others = [0, 1, 3]
    assert_array_equal(status, [0, 0, FLAGS[flag], 0])
    assert np.isnan(h[:, 2]).all()
    for name in values:
        assert np.isnan(values[name][..., 2]).all()
        assert_array_equal(values[name][..., others], whole[name][..., others])


@pytest.mark.parametrize("which", [1, 2, 3])
@pytest.mark.parametrize(
    ("value", "flag"), [(np.nan, "missing_forcing"), (np.inf, "missing_forcing"), (-0.1, "negative_forcing")]
)
def test_faulty_forcing_leaves_its_column_missing_from_that_day_on(which, value, flag):
    world = random_world(3, 8, "van_genuchten", seed=10)
    whole, _, _ = simulate(world, "van_genuchten")
    world[which][5, 1] = value
    values, (h, _, _, _, status), _ = simulate(world, "van_genuchten")
    assert_array_equal(status, [0, FLAGS[flag], 0])
    for name in values:
        expected = whole[name].copy()
        expected[5:, ..., 1] = np.nan
        assert_array_equal(values[name], expected)
    assert np.isnan(h[:, 1]).all()


def test_a_column_that_is_given_up_is_reported_and_alone():
    world = random_world(6, 10, "van_genuchten", seed=11)
    whole, _, _ = simulate(world, "van_genuchten")
    needed = whole["iterations"].max(axis=0)
    limit = np.sort(needed)[-2]
    values, (h, _, _, _, status), _ = simulate(world, "van_genuchten", control={"most_iterations": limit})
    worst = needed == needed.max()
    assert_array_equal(status, np.where(worst, FLAGS["not_converged"], 0))
    assert_array_equal(np.isnan(h).all(axis=0), worst)
    assert_array_equal(values["theta"][..., ~worst], whole["theta"][..., ~worst])


def test_missing_initial_state():
    world = random_world(3, 4, "van_genuchten", seed=12)
    world[5][1] = np.nan
    _, (_, _, _, _, status), _ = simulate(world, "van_genuchten")
    assert_array_equal(status, [0, FLAGS["missing_initial_state"], 0])


def test_arguments_are_checked():
    rain = np.zeros(3)

    def call(**change):
        return run(rain, rain, rain, LOAM, **({"curve": "van_genuchten", "widths": grid(50.0)} | change))

    with pytest.raises(UnknownNameError, match="van_genuchten"):
        call(curve="van_genuchte")
    with pytest.raises(UnknownNameError, match="output"):
        call(outputs=("moisture",))
    with pytest.raises(ArgumentError, match="within the column of 50 cm"):
        call(depths=(60.0,))
    with pytest.raises(ArgumentError, match="6 parameters of gardner"):
        call(curve="gardner")
    with pytest.raises(ArgumentError, match="expected names of"):
        call(control={"tol": 1e-3})
    with pytest.raises(ArgumentError, match="all above 0"):
        call(widths=[1.0, 0.0])
    with pytest.raises(ArgumentError, match="expected 0 < depth"):
        grid(-1.0)
