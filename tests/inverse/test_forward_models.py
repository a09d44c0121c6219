"""The physics as a model of the inverse methods: the kernels' own numbers, twin experiments, errors."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from xsoil.errors import ArgumentError, MissingVariableError, UnknownNameError
from xsoil.inverse.ensemble_smoother import ensemble_smoother
from xsoil.inverse.forward_models import WATER_BALANCE, Richards, WaterBalance
from xsoil.inverse.inverted import STATUS
from xsoil.inverse.sce_ua import sce_ua
from xsoil.kernels import richards, water_balance
from xsoil.physics.bounded import Bounded

DAYS, CELLS = 240, 24
FIXED = {
    "theta_s": 0.5, "theta_fc": 0.2, "theta_wp": 0.078, "root_depth": 0.3, "depletion_fraction": 0.1,
    "crop_coefficient": 0.5,
}  # fmt: skip
BOUNDS = (Bounded(0.5, 300.0, log=True), Bounded(0.5, 1.5), Bounded(-0.1, 0.1))
LEARNED = ("k_sat", "obs_scale", "obs_bias")
WIDTHS = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 9.0])


@pytest.fixture(scope="module")
def weather():
    rng = np.random.default_rng(0)
    rain = (rng.random((DAYS, CELLS)) < 0.3) * rng.exponential(12, (DAYS, CELLS))
    return rain, rng.uniform(0, 7, (DAYS, CELLS))


@pytest.fixture(scope="module")
def twin(weather):
    """Observations of every third day, with errors, of known parameters."""
    rng = np.random.default_rng(1)
    model = WaterBalance(*weather, LEARNED, FIXED, rows=np.arange(0, DAYS, 3))
    truth = np.stack([10 ** rng.uniform(0.3, 2, CELLS), rng.uniform(0.8, 1.2, CELLS), rng.uniform(-0.05, 0.05, CELLS)])
    observed = model(truth, np.arange(CELLS))
    observed = observed + rng.normal(0, 0.01, observed.shape)
    observed[rng.random(observed.shape) < 0.1] = np.nan
    observed[:, 5] = np.nan
    return model, observed, truth, np.setdiff1d(np.arange(CELLS), [5])


def test_water_balance_is_the_kernel(weather):
    rng = np.random.default_rng(2)
    rows, cells = np.array([0, 7, 100]), rng.integers(0, CELLS, 300)
    k_sat, depth = 10 ** rng.uniform(0, 2, 300), rng.uniform(0.2, 1.0, CELLS)
    initial = rng.uniform(0.1, 0.4, CELLS)
    fixed = {name: value for name, value in FIXED.items() if name != "root_depth"} | {
        "root_depth": depth, "obs_scale": 0.9, "obs_bias": np.linspace(-0.1, 0.1, CELLS),
    }  # fmt: skip
    model = WaterBalance(*weather, ["k_sat"], fixed, rows=rows, initial=initial, skip=30)
    found = model(k_sat[None], cells)
    values = dict(fixed, k_sat=k_sat, root_depth=depth[cells])
    series, _ = water_balance.run(
        *(array[:, cells].astype(np.float32) for array in weather),
        [np.broadcast_to(values[name], (300,)) for name in WATER_BALANCE],
        initial=initial[cells], skip=30,
    )  # fmt: skip
    assert_allclose(found, 0.9 * np.float64(series["theta"][rows]) + fixed["obs_bias"][cells], rtol=1e-13)


def test_a_run_does_not_depend_on_its_company(weather):
    rng = np.random.default_rng(3)
    truth, cells = np.stack([bound.to_bounded(rng.normal(size=3000)) for bound in BOUNDS]), rng.integers(0, CELLS, 3000)
    models = [WaterBalance(*weather, LEARNED, FIXED, workers=workers) for workers in (1, 2)]
    whole = models[0](truth, cells)
    assert np.array_equal(models[1](truth, cells), whole)
    for at in (slice(7, 8), slice(100, 1301)):
        assert np.array_equal(models[0](truth[:, at].copy(), cells[at]), whole[:, at])


def test_impossible_parameters_give_nan(weather):
    fixed = {name: value for name, value in FIXED.items() if name != "theta_fc"} | {"k_sat": 30.0}
    model = WaterBalance(*weather, ["theta_fc"], fixed)
    found = model(np.array([[0.2, 0.6, np.nan]]), np.array([0, 1, 2]))
    assert np.isfinite(found[:, 0]).all()
    assert np.isnan(found[:, 1:]).all()


def test_smoother_recovers_the_water_balance(twin):
    model, observed, truth, seen = twin
    found = ensemble_smoother(model, observed, 0.01, BOUNDS, members=48)
    assert found.status[5] == STATUS["no_observations"]
    assert np.isin(found.status[seen], [STATUS["converged"], STATUS["budget_spent"]]).all()
    log_k = np.log(np.stack([truth[0], found.parameters[0]]))[:, seen]
    assert np.corrcoef(log_k)[0, 1] > 0.97
    assert np.abs(found.parameters[1] - truth[1])[seen].mean() < 0.05
    assert np.abs(found.parameters[2] - truth[2])[seen].mean() < 0.01
    off = (logits(found.parameters) - logits(truth))[:, seen] / logits(found.draws).std(axis=1, ddof=1)[:, seen]
    assert (np.abs(np.sqrt((off**2).mean(axis=1)) - 1) < 0.4).all()  # the spread is that of the errors
    assert_allclose(found.cost[seen].mean(), 1.0, atol=0.1)


def logits(parameters):
    return np.stack([bound.to_unbounded(row) for bound, row in zip(BOUNDS, parameters, strict=True)])


def test_complexes_recover_the_water_balance(twin, weather):
    model, observed, truth, seen = twin
    found = sce_ua(model, observed, BOUNDS, evaluations=1500)
    log_k = np.log(np.stack([truth[0], found.parameters[0]]))[:, seen]
    assert np.corrcoef(log_k)[0, 1] > 0.95
    at_truth = np.nanmean((model(truth, np.arange(CELLS)) - observed)[:, seen] ** 2, axis=0)
    assert (found.cost[seen] < at_truth).all()
    unscaled = WaterBalance(*weather, ["k_sat"], FIXED, rows=np.arange(0, DAYS, 3))
    linear = sce_ua(unscaled, observed, BOUNDS[:1], linear=BOUNDS[1:], evaluations=1500)
    assert_allclose(linear.cost[seen], found.cost[seen], rtol=0.01)
    assert np.median(linear.evaluations[seen]) < 0.5 * np.median(found.evaluations[seen])


def test_cells_do_not_depend_on_their_company(twin, weather):
    """Bit for bit, with the compiled physics, whatever is run together and on however many threads."""
    model, observed, _, _ = twin
    single = WaterBalance(*weather, LEARNED, FIXED, rows=np.arange(0, DAYS, 3), workers=1)
    chosen = np.array([17, 2])
    for method in (
        lambda *given, **options: ensemble_smoother(*given[:2], 0.01, BOUNDS, members=24, iterations=4, **options),
        lambda *given, **options: sce_ua(*given[:2], BOUNDS, evaluations=150, **options),
    ):
        whole, apart = method(model, observed), method(single, observed, batch=5, workers=1)
        part = method(lambda x, cells: model(x, chosen[cells]), observed[:, chosen], keys=chosen)
        for name in ("parameters", "cost", "evaluations", "status"):
            assert np.array_equal(getattr(whole, name), getattr(apart, name), equal_nan=name in ("parameters", "cost"))
            assert np.array_equal(getattr(whole, name)[..., chosen], getattr(part, name))


@pytest.fixture(scope="module")
def columns(weather):
    fixed = {"theta_r": 0.06, "theta_s": 0.43, "alpha": 0.03, "h50": -800.0}
    lai = np.full((80, 4), 1.5)
    return Richards(
        weather[0][:80, :4], weather[1][:80, :4], lai, ["n", "k_sat"], fixed, widths=WIDTHS, depths=(2.0, 20.0),
        rows=np.arange(9, 80, 3),
    )  # fmt: skip


def test_richards_is_the_kernel(columns, weather):
    n, k_sat, cells = np.array([1.3, 2.0]), np.array([5.0, 90.0]), np.array([3, 1])
    series, _, _ = richards.run(
        weather[0][:80, cells], weather[1][:80, cells], np.full((80, 1), 1.5), [0.06, 0.43, 0.03, n, k_sat, 0.5],
        curve="van_genuchten", widths=WIDTHS, depths=(2.0, 20.0),
    )  # fmt: skip
    found = columns(np.stack([n, k_sat]), cells)
    assert np.array_equal(found, series["theta"][9::3].reshape(-1, 2))


def test_fluxes_and_storage_are_the_kernel(weather):
    """All days of an output together; only theta_obs goes through the observation operator."""
    cells, rows = np.array([3, 1]), np.arange(9, 80, 3)
    outputs = ("drainage", "theta", "theta_obs", "actual_et", "storage", "runoff")
    k_sat = np.array([5.0, 90.0])
    fixed = FIXED | {"obs_scale": 1.5, "obs_bias": 0.1}
    rain, pet = (array[:80, :4] for array in weather)
    found = WaterBalance(rain, pet, ["k_sat"], fixed, rows=rows, outputs=outputs, dtype=np.float64)(k_sat[None], cells)
    series, _ = water_balance.run(
        rain[:, cells], pet[:, cells],
        [k_sat if name == "k_sat" else np.full(2, FIXED[name]) for name in WATER_BALANCE], outputs=water_balance.SERIES,
    )  # fmt: skip
    series["theta_obs"] = 1.5 * series["theta"] + 0.1
    assert np.array_equal(found, np.concatenate([series[name][rows] for name in outputs]))
    soil = {"theta_r": 0.06, "theta_s": 0.43, "alpha": 0.03, "n": 1.6} | {"obs_scale": 1.5, "obs_bias": 0.1}
    columns = Richards(
        rain, pet, np.full((80, 4), 1.5), ["k_sat"], soil, widths=WIDTHS, depths=(2.0, 20.0), rows=rows, outputs=outputs
    )
    found = columns(k_sat[None], cells)
    series, _, _ = richards.run(
        rain[:, cells], pet[:, cells], np.full((80, 1), 1.5), [0.06, 0.43, 0.03, 1.6, k_sat, 0.5],
        curve="van_genuchten", widths=WIDTHS, depths=(2.0, 20.0), outputs=[n for n in outputs if "obs" not in n],
    )  # fmt: skip
    series["theta_obs"] = 1.5 * series["theta"] + 0.1
    assert np.array_equal(found, np.concatenate([series[name][rows].reshape(-1, 2) for name in outputs]))


def test_smoother_recovers_richards(columns):
    rng = np.random.default_rng(4)
    truth = np.array([[1.3, 1.5, 1.8, 2.1], [5.0, 90.0, 20.0, 40.0]])
    observed = columns(truth, np.arange(4))
    observed = observed + rng.normal(0, 0.005, observed.shape)
    bounds = (Bounded(1.1, 3.0), Bounded(1.0, 500.0, log=True))
    found = ensemble_smoother(columns, observed, 0.005, bounds, members=12, iterations=5)
    assert_allclose(found.parameters[0], truth[0], atol=0.1)
    assert np.abs(np.log(found.parameters[1] / truth[1])).max() < 0.4


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"learned": ("k_sta",)}, UnknownNameError, "did you mean 'k_sat'"),
        ({"learned": ("theta_s", "k_sat")}, ArgumentError, "every parameter once"),
        ({"learned": ()}, MissingVariableError, "no 'k_sat', neither learned"),
        ({"fixed": {**FIXED, "theta_s": np.ones(3)}}, ArgumentError, "one for each of 24"),
        ({"rows": [0, 240]}, ArgumentError, "from 0 to 239"),
        ({"rows": [0.5]}, ArgumentError, "numbers of days"),
        ({"outputs": ("uptake",)}, UnknownNameError, "unknown output 'uptake'"),
        ({"outputs": ()}, ArgumentError, "expected one at least"),
        ({"pet": np.ones((3, 2))}, ArgumentError, "expected the same shape"),
        ({"pet": np.ones(3)}, ArgumentError, "expected \\(time, cells\\)"),
    ],
)
def test_errors(weather, change, error, message):
    arguments = {"precipitation": weather[0], "pet": weather[1], "learned": ("k_sat",), "fixed": FIXED} | change
    with pytest.raises(error, match=message):
        WaterBalance(**arguments)


def test_errors_of_richards(weather):
    with pytest.raises(UnknownNameError, match="did you mean 'van_genuchten'"):
        Richards(*weather, weather[0], ["n"], {}, curve="van_genuchte", widths=WIDTHS)
    with pytest.raises(MissingVariableError, match="no 'theta_r'"):
        Richards(*weather, weather[0], ["n"], {}, widths=WIDTHS)
    with pytest.raises(ArgumentError, match="expected the same"):
        Richards(*weather, np.ones((3, 3)), ["n"], {}, widths=WIDTHS)
