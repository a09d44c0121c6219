"""The gradient of Richards columns: against central differences of replayed steps, and itself."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tests.kernels.test_richards_kernel import random_world
from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.kernels.richards import FLAGS, STRIP, run
from xsoil.kernels.richards_adjoint import DIFFERENTIABLE, Columns
from xsoil.physics.richards import grid

TIGHT = {"tolerance": 1e-12}
FORCING = ("precipitation", "pet", "lai", "top_value", "bottom_value")
SOILS = {
    "van_genuchten": (0.078, 0.43, 0.036, 1.56, 24.96, 0.5),
    "fredlund_xing_wang": (0.40, 0.006, 1.1, 0.66, 100.0),
    "brooks_corey": (0.05, 0.41, -14.0, 0.4, 40.0),
    "campbell": (0.45, -18.0, 5.3, 20.0),
    "gardner": (0.06, 0.40, 0.03, 24.0),
    "haverkamp": (0.075, 0.35, 1.611e3, 1.8, 80.0, 1.175e3, 2.4),
}


def problem(curve, columns, days, seed=3, **fixed):
    """Arguments of a run by name, and what never varies."""
    soil, rain, pet, lai, h50, initial = random_world(columns, days, "van_genuchten" if "van" in curve else "fxw", seed)
    rng = np.random.default_rng(seed)
    if curve not in ("van_genuchten", "fredlund_xing_wang"):
        soil = [p * rng.uniform(0.9, 1.1, columns) for p in SOILS[curve]]
        initial = np.full(columns, -60.0)
    given = {
        "parameters": soil, "precipitation": rain + 0.01, "pet": pet + 0.01, "lai": lai + 0.01, "stress": [h50],
        "root_depth": rng.uniform(25, 60, columns), "initial": np.tile(initial, (29, 1)),
    }  # fmt: skip
    return given, {"curve": curve, "widths": grid(50.0), "depths": (2.0, 10.0, 40.0)} | fixed


def simulate(given, fixed, **options):
    rest = {name: value for name, value in given.items() if name not in ("precipitation", "pet", "lai", "parameters")}
    return run(given["precipitation"], given["pet"], given["lai"], given["parameters"], **rest, **fixed, **options)


def columns_of(given, fixed, **options):
    rest = {name: value for name, value in given.items() if name not in ("precipitation", "pet", "lai", "parameters")}
    return Columns(given["precipitation"], given["pet"], given["lai"], given["parameters"], **rest, **fixed, **options)


def varied(given, name, place, factor):
    """One input, or one of a list, times a factor."""
    value = given[name]
    if place is None:
        return given | {name: value * factor}
    return given | {name: [part * factor if k == place else part for k, part in enumerate(value)]}


def chosen(given, columns):
    """Some columns of a problem."""
    return {
        name: [part[columns] for part in value] if isinstance(value, list) else value[..., columns]
        for name, value in given.items()
    }


def compare(given, fixed, sizes):
    """By input and column: the error of the derivative by the logarithm of the input, relative to it.

    Derivatives below a thousandth of the largest one of the column count as that much. The best of several `sizes` of
    the difference counts: across a kink it is that of no piece, and small ones drown in round-off.
    """
    first, _, _ = simulate(given, fixed, outputs=("steps",))
    room = int(np.nansum(first["steps"], axis=0).max()) + 2000
    _, _, steps = simulate(given, fixed, record=room)
    series, state, steps = simulate(given, fixed, record=room, replay=steps, control=TIGHT, outputs=DIFFERENTIABLE)
    rng = np.random.default_rng(7)
    columns = series["runoff"].shape[1]
    weights = {name: rng.normal(size=(*series[name].shape[:-1], 1)).repeat(columns, -1) for name in DIFFERENTIABLE}
    # The last digits of theta do not tell heads near the residual water content.
    weights = {name: w if name == "theta" else 0.01 * w for name, w in weights.items()}
    weights["h"] *= 0.01 * (series["h"] > -100.0)
    final, water = rng.normal(size=(2, *state[0].shape))
    final *= 1e-4 * (state[0] > -100.0)

    def scalar(changed):
        values, end, _ = simulate(changed, fixed, replay=steps, control=TIGHT, outputs=DIFFERENTIABLE)
        total = sum((values[k] * w).sum(axis=tuple(range(w.ndim - 1))) for k, w in weights.items())
        return total + (end[0] * final).sum(axis=0) + (end[1] * water).sum(axis=0)

    found = columns_of(given, fixed).gradient(weights, steps=steps, final=final, water=water, forcing=True)
    inputs = [(name, None) for name in ("initial", "root_depth", *FORCING) if name in given]
    inputs += [(name, k) for name in ("parameters", "stress") for k in range(len(given[name]))]
    ours, errors = [], []
    for name, place in inputs:
        base, by = (a if place is None else a[place] for a in (given[name], getattr(found, name)))
        ours.append((by * base).reshape(-1, columns).sum(axis=0))
        differences = [
            (scalar(varied(given, name, place, 1 + size)) - scalar(varied(given, name, place, 1 - size))) / (2 * size)
            for size in sizes
        ]
        errors.append(np.nanmin(np.abs(np.array(differences) - ours[-1]), axis=0))
    return np.array(errors) / np.maximum(np.abs(ours), 1e-3 * np.abs(ours).max(axis=0))


@pytest.mark.parametrize("curve", ["van_genuchten", "fredlund_xing_wang"])
def test_central_differences(curve):
    """Clay to gravel, storm to drought: all of 100 columns."""
    given, fixed = problem(curve, 100, 12)
    errors = compare(given, fixed, (1e-5,))
    assert np.median(errors) < 1e-7
    rough = ~(errors < 1e-4).all(axis=0)
    assert rough.sum() <= 10
    if rough.any():
        assert (compare(chosen(given, rough), fixed, (1e-4, 1e-6, 1e-7, 1e-8)) < 1e-4).all()


BOUNDARIES = {
    "brooks_corey": ({}, {}),
    "campbell": ({"uptake": "feddes"}, {"stress": [-5.0, -20.0, -300.0, -600.0, -8000.0]}),
    "gardner": ({"top": "flux", "bottom": "head", "uptake": "none"}, {"top_value": 0.4, "bottom_value": -35.0}),
    "haverkamp": ({"top": "head", "bottom": "zero_flux"}, {"top_value": -25.0}),
    "van_genuchten": ({"bottom": "water_table"}, {"bottom_value": 75.0}),
}


@pytest.mark.parametrize("curve", BOUNDARIES)
def test_other_curves_and_boundaries(curve):
    columns, days = 6, 8
    change, values = BOUNDARIES[curve]
    given, fixed = problem(curve, columns, days, seed=2, **change)
    factor = np.random.default_rng(0).uniform(0.9, 1.1, columns)
    given["parameters"] = [p * factor for p in SOILS[curve]]
    given["initial"] = np.tile(-60.0 * factor, (29, 1))
    for name, value in values.items():
        given[name] = [v * factor for v in value] if name == "stress" else np.tile(value * factor, (days, 1))
    assert (compare(given, fixed, (1e-3, 1e-4, 1e-5, 1e-6)) < 1e-4).all()


def test_oven_dry_cells():
    """Cells whose head can fall no further keep their water: all of it is what it was before."""
    given, fixed = problem("van_genuchten", 100, 15, seed=3)
    given["initial"][:] = -6.2e6
    given["initial"][15:] = -5e4
    given["precipitation"] = np.full((15, 100), 0.01)
    given["precipitation"][7:9] = 5.0
    given = chosen(given, [0, 11, 18, 70])
    _, state, steps = simulate(given, fixed, record=4000)
    assert ((steps.h == -6.3e6).sum(axis=(1, 2)) > 50).all()
    assert (compare(given, fixed, (1e-4, 1e-5)) < 1e-4).all()
    kept = steps.h[0, steps.per_day[0, :7].sum() - 1] == -6.3e6
    assert kept.sum() > 3
    first = given | {name: given[name][:6] for name in ("precipitation", "pet", "lai")}
    _, state, _ = simulate(first, fixed)
    after = given | {name: given[name][6:7] for name in ("precipitation", "pet", "lai")}
    weights = np.random.default_rng(0).normal(size=state[0].shape)
    found = columns_of(after, fixed, state=state).gradient({}, water=weights)
    assert_allclose(found.initial[kept, 0], weights[kept, 0], rtol=1e-3)


def test_saturated_columns():
    """Rain on soil that cannot drain: heads above 0, where theta tells nothing of them."""
    given, fixed = problem("fredlund_xing_wang", 12, 10, seed=21, bottom="zero_flux")
    given["precipitation"] *= 3
    _, _, steps = simulate(given, fixed, record=4000)
    assert (steps.h.max(axis=(1, 2)) > 0).sum() > 3
    assert (compare(given, fixed, (1e-3, 1e-4, 1e-5, 1e-6)) < 1e-4).all()


@pytest.mark.parametrize("cells", [1, 2, 83])
def test_other_grids(cells):
    """One cell, and more than the curves take in one pass."""
    given, fixed = problem("van_genuchten", 3, 6, seed=2)
    given["initial"] = np.full((cells, 3), -60.0)
    given["parameters"] = [np.full(3, p) for p in SOILS["van_genuchten"]]
    fixed |= {"widths": np.full(cells, 50.0 / cells), "depths": (1.0, 27.0)}
    assert (compare(given, fixed, (1e-4, 1e-5, 1e-6)) < 1e-4).all()


def test_layers():
    """Derivatives of a soil per cell sum to those of one soil, and each is that of its cell."""
    given, fixed = problem("van_genuchten", 4, 8)
    series, _, steps = simulate(given, fixed, record=2000)
    series, _, steps = simulate(given, fixed, record=2000, replay=steps, control=TIGHT)
    weights = {"theta": np.ones_like(series["theta"])}
    one = columns_of(given, fixed).gradient(weights, steps=steps)
    layered = given | {"parameters": [np.tile(p, (29, 1)) for p in given["parameters"]]}
    many = columns_of(layered, fixed).gradient(weights, steps=steps)
    assert many.parameters.shape == (6, 29, 4)
    assert_allclose(many.parameters.sum(axis=1), one.parameters[:, 0], rtol=1e-9, atol=1e-12)
    for parameter, cell in ((1, 12), (3, 11), (4, 20)):
        sides = []
        for factor in (1 + 1e-5, 1 - 1e-5):
            soils = [p.copy() for p in layered["parameters"]]
            soils[parameter][cell] *= factor
            values, _, _ = simulate(layered | {"parameters": soils}, fixed, replay=steps, control=TIGHT)
            sides.append(values["theta"].sum(axis=(0, 1)))
        base = layered["parameters"][parameter][cell]
        assert_allclose(many.parameters[parameter, cell], (sides[0] - sides[1]) / (2e-5 * base), rtol=2e-4, atol=1e-7)


def test_days_of_the_forcing():
    given, fixed = problem("van_genuchten", 4, 8)
    names = ("theta", "runoff", "actual_et")
    _, _, steps = simulate(given, fixed, record=2000)
    series, _, steps = simulate(given, fixed, record=2000, replay=steps, control=TIGHT, outputs=names)
    found = columns_of(given, fixed).gradient({k: np.ones_like(series[k]) for k in names}, steps=steps, forcing=True)
    for name in ("precipitation", "pet", "lai"):
        for day in (1, 5):
            sides = []
            for change in (1e-6, -1e-6):
                array = given[name].copy()
                array[day] += change
                values, _, _ = simulate(given | {name: array}, fixed, replay=steps, control=TIGHT, outputs=names)
                sides.append(sum(values[k].sum(axis=tuple(range(values[k].ndim - 1))) for k in names))
            assert_allclose(getattr(found, name)[day], (sides[0] - sides[1]) / 2e-6, rtol=1e-4, atol=1e-7)


def test_a_run_from_a_state():
    """Derivatives by the water contents of the state; two runs chained give those of one."""
    given, fixed = problem("van_genuchten", 5, 12)
    rng = np.random.default_rng(1)
    weights = {"theta": rng.normal(size=(12, 3, 5)), "drainage": rng.normal(size=(12, 5))}
    whole = columns_of(given, fixed).gradient(weights, forcing=True)
    first, last = (
        given | {name: given[name][part] for name in ("precipitation", "pet", "lai")}
        for part in (slice(7), slice(7, None))
    )
    early = columns_of(first, fixed)
    _, state, tape = early.run()
    late = columns_of(last, fixed, state=state).gradient({k: w[7:] for k, w in weights.items()}, forcing=True)
    early_part = early.gradient({k: w[:7] for k, w in weights.items()}, tape=tape, water=late.initial, forcing=True)
    assert_allclose(early_part.parameters + late.parameters, whole.parameters, rtol=1e-9)
    assert_allclose(early_part.initial, whole.initial, rtol=1e-9)
    assert_allclose(np.concatenate([early_part.pet, late.pet]), whole.pet, rtol=1e-9, atol=1e-15)


def fields(gradient):
    return {name: value for name, value in vars(gradient).items() if value is not None}


def test_kept_states_threads_and_neighbours_do_not_matter():
    count = STRIP + 5
    given, fixed = problem("van_genuchten", count, 15, seed=5)
    series, _, steps = simulate(given, fixed, record=3000, outputs=("theta", "actual_et"))
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=array.shape) for name, array in series.items()}
    columns = columns_of(given, fixed)
    expected = fields(columns.gradient(weights, steps=steps, forcing=True))
    assert_allclose(expected["lai"].sum(), fields(columns.gradient(weights, forcing=True))["lai"].sum(), rtol=1e-9)
    enough = int(steps.per_day.sum(axis=1).max())
    for every, room in ((1, 0), (None, enough), (4, enough - 1), (100, 0)):
        values, _, tape = columns.run(("theta", "actual_et"), every=every, room=room)
        assert (tape.record is None) == (room < enough)
        found = fields(columns.gradient(weights, tape=tape, forcing=True))
        for name in series:
            assert_array_equal(values[name], series[name])
        for name, array in expected.items():
            assert_allclose(found[name], array, rtol=1e-9, atol=1e-12 * np.abs(array).max())
    threads = fields(columns.gradient(weights, tape=tape, forcing=True, workers=3))
    order = rng.permutation(count)
    other = columns_of(chosen(given, order), fixed)
    _, _, tape = other.run((), every=100, workers=2)
    shuffled = fields(other.gradient({k: w[..., order] for k, w in weights.items()}, tape=tape, forcing=True))
    for name, array in found.items():
        assert_array_equal(threads[name], array, err_msg=name)
        assert_array_equal(shuffled[name], array[..., order], err_msg=name)


def test_kept_states_spare_memory():
    given, fixed = problem("van_genuchten", 8, 300, seed=6)
    given["precipitation"] = given["precipitation"].clip(0, 5)  # storms take many steps in a day
    first, _, _ = simulate(given, fixed, outputs=("steps",))
    room, weights = int(first["steps"].sum(axis=0).max()), {"theta": np.ones((300, 3, 8))}
    columns = columns_of(given, fixed)

    def peak(work):
        work()
        tracemalloc.start()
        work()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    whole = peak(lambda: columns.gradient(weights, steps=simulate(given, fixed, record=room)[2]))
    assert peak(lambda: columns.gradient(weights, tape=columns.run()[2])) < whole / 4


def test_hidden_days():
    """Days that are run but not returned."""
    given, fixed = problem("van_genuchten", 3, 12)
    weights = {"theta": np.ones((12, 3, 3)), "storage": np.ones((12, 3))}
    for w in weights.values():
        w[:5] = 0.0
    whole = columns_of(given, fixed).gradient(weights)
    columns = columns_of(given, fixed, skip=5)
    values, _, tape = columns.run(("theta", "storage"), every=4)
    assert values["theta"].shape == (7, 3, 3)
    again, _, record = columns.run(("theta", "storage"), room=2000)
    assert_array_equal(again["theta"], values["theta"])
    hidden = columns.gradient({k: w[5:] for k, w in weights.items()}, tape=record)
    assert_allclose(hidden.parameters, whole.parameters, rtol=1e-9)
    hidden = columns.gradient({k: w[5:] for k, w in weights.items()}, tape=tape)
    assert_allclose(hidden.parameters, whole.parameters, rtol=1e-9)
    assert_allclose(hidden.initial, whole.initial, rtol=1e-9)


def test_missing_columns():
    """Only columns on whose missing values the scalar depends have no gradient; masked, days before count."""
    given, fixed = problem("van_genuchten", 6, 10, seed=11)
    sound = columns_of(given, fixed).gradient({"theta": np.ones((10, 3, 6))}, forcing=True)
    first, _, _ = simulate(given, fixed, outputs=("iterations",))
    needed = first["iterations"].max(axis=0)
    worst = int(needed.argmax())
    day = int(first["iterations"][:, worst].argmax())
    others = [c for c in range(6) if c not in (worst, (worst + 1) % 6, (worst + 2) % 6)]
    impossible, lacking = (worst + 1) % 6, (worst + 2) % 6
    given["parameters"][0][impossible] = 0.9
    given["precipitation"][4, lacking] = np.nan
    limited = fixed | {"control": {"most_iterations": np.sort(needed)[-2]}}
    for kept in ({"every": 3}, {}, {"room": 5000}):
        columns = columns_of(given, limited)
        series, state, tape = columns.run(**kept)
        assert_array_equal(np.flatnonzero(state[-1] == FLAGS["not_converged"]), [worst])
        found = fields(columns.gradient({"theta": np.ones((10, 3, 6))}, tape=tape, forcing=True))
        masked = fields(columns.gradient({"theta": ~np.isnan(series["theta"])}, tape=tape, forcing=True))
        until = np.zeros((10, 3, 6))
        until[:day, :, worst], until[:4, :, lacking] = 1.0, 1.0
        before = fields(columns_of(*problem("van_genuchten", 6, 10, seed=11)).gradient({"theta": until}, forcing=True))
        for name, array in fields(sound).items():
            assert np.isnan(found[name][..., [worst, impossible, lacking]]).all()
            assert_allclose(found[name][..., others], array[..., others], rtol=1e-9)
            assert_allclose(masked[name][..., others], array[..., others], rtol=1e-9)
            for c in (worst, lacking):
                assert_allclose(masked[name][..., c], before[name][..., c], rtol=1e-9, atol=1e-300)
            assert (masked[name][..., impossible] == 0).all()


def test_faults():
    given, fixed = problem("van_genuchten", 2, 3)
    columns = columns_of(given, fixed)
    with pytest.raises(UnknownNameError, match="free_drainage"):
        columns_of(given, fixed | {"bottom": "free_drain"})
    with pytest.raises(UnknownNameError, match="theta"):
        columns.gradient({"thet": np.ones((3, 3, 2))})
    with pytest.raises(ArgumentError, match=r"expected \(3, 3, 2\)"):
        columns.gradient({"theta": np.ones((3, 2))})
