"""The multitask LSTM learns, from either target, and predicts the same however cells and days come."""

from __future__ import annotations

import numpy as np
import pytest
from small_worlds import leaking_bucket

from xsoil.errors import ArgumentError, MissingVariableError, UnitsError, UnknownNameError

pytest.importorskip("lightning", reason="the extra 'learn' is not installed")

from xsoil.networks.moisture.inputs import Inputs, Predictor, Targets
from xsoil.networks.moisture.kind import Samples
from xsoil.networks.moisture.multitask_lstm import LstmOptions, MultitaskLstm
from xsoil.networks.moisture.series_learner import SeriesLearner

CELLS, DAYS = 50, 60
NAMES = ("satellite", "in_situ")
PREDICTORS = (
    Predictor("precipitation", "mm d-1"),
    Predictor("pet", "mm d-1"),
    Predictor("sand", "percent"),
    Predictor("mean", "m3 m-3"),
    Predictor("sd", "m3 m-3"),
)
QUICK = {"hidden": 16, "dropout": 0.0, "recurrent_dropout": 0.0, "batch_cells": 25, "spin_up": 0, "epochs": 60,
         "learning_rate": 0.02}  # fmt: skip


def samples(seed=0, days=DAYS, gaps=0.4):
    """A bucket that leaks by its sand, and two noisy looks at it."""
    rng = np.random.default_rng(seed)
    rain, pet, sand, water = leaking_bucket(rng, CELLS, days)
    y = np.stack([water, water], axis=-1) + rng.normal(0, 0.002, (CELLS, days, 2))
    y[rng.random(y.shape) < gaps] = np.nan
    static = [np.broadcast_to(v[:, None], rain.shape) for v in (sand, water.mean(axis=1), water.std(axis=1))]
    x = np.stack([rain, pet, *static], axis=-1)
    return Samples(x.astype(np.float32), y.astype(np.float32))


def prepared(given, names=NAMES):
    inputs = Inputs.fit(PREDICTORS, given.x, rows=np.isfinite(given.y).any(axis=-1))
    return {"inputs": inputs, "targets": Targets.fit(names, ("m3 m-3",) * len(names), given.y)}


def fitted(given, validation=None, names=NAMES, **options):
    return MultitaskLstm(LstmOptions(**(QUICK | options))).fit(given, validation=validation, **prepared(given, names))


def rmse(found, given):
    return np.sqrt(np.nanmean((found - given.y) ** 2, axis=(0, 1)))


@pytest.fixture(scope="module")
def given():
    return samples()


@pytest.fixture(scope="module")
def model(given):
    return fitted(given)


def test_overfits_fifty_cells(given, model):
    sd = np.nanstd(given.y)
    assert (rmse(model.predict(given.x)["mean"], given) < 0.1 * sd).all()
    assert model.record.train[-1] < 0.2 * model.record.train[0]
    # Deviations are those of the errors.
    np.testing.assert_allclose(
        model.predict(given.x)["std"][0, 0], rmse(model.predict(given.x)["mean"], given), rtol=1e-4
    )


@pytest.mark.parametrize("options", [{"loss": "cell_rmse"}, {"loss": "gaussian"}, {"anchor": ("mean", "sd")},
                                     {"heads": "own", "task_weights": "learned"}], ids=str)  # fmt: skip
def test_every_way_learns(given, options):
    model = fitted(given, **options)
    assert (rmse(model.predict(given.x)["mean"], given) < 0.3 * np.nanstd(given.y)).all()


def test_either_target_may_be_missing(given):
    # The second target is known in other cells than the first, and is higher there: a shared output lies between.
    y = given.y.copy()
    y[: CELLS // 2, :, 1] = np.nan
    y[CELLS // 2 :, :, 0] = np.nan
    model = fitted(Samples(given.x, y))
    assert (rmse(model.predict(given.x)["mean"], given) < 0.15 * np.nanstd(given.y)).all()


def test_weights_of_tasks(given):
    y = given.y.copy()
    y[..., 1] += 0.1
    apart = Samples(given.x, y)
    low = fitted(apart, epochs=15, task_weights=(1.0, 0.0)).predict(given.x)["mean"]
    high = fitted(apart, epochs=15, task_weights=(0.0, 1.0)).predict(given.x)["mean"]
    assert np.nanmean(high - low) == pytest.approx(0.1, abs=0.01)
    own = fitted(apart, epochs=15, heads="own").predict(given.x)["mean"]
    assert np.mean(own[..., 1] - own[..., 0]) == pytest.approx(0.1, abs=0.01)


def test_what_has_no_target_or_no_weight_does_not_matter(given):
    few = {"epochs": 2}
    without = fitted(Samples(given.x[:40], given.y[:40]), **few)
    x, y = given.x.copy(), given.y.copy()
    x[40:] = 1e6
    y[40:] = np.nan
    weights = (np.arange(CELLS) < 40).astype(np.float32)
    others = [fitted(Samples(x, y), **few)]
    others.append(MultitaskLstm(LstmOptions(**(QUICK | few))).fit(
        Samples(x, given.y, weights), inputs=without.inputs, targets=without.targets
    ))  # fmt: skip
    for other in others:
        for name, array in without.arrays().items():
            np.testing.assert_array_equal(other.arrays()[name], array, err_msg=name)


def test_the_best_epoch_of_the_validation_is_kept(given):
    model = fitted(given, validation=samples(5), epochs=8, learning_rate=0.3, schedule="constant")
    assert len(model.record.validation) == 8
    assert model.record.best_epoch == int(np.argmin(model.record.validation))


def test_longer_series_are_learned_in_parts():
    long = samples(days=200)
    model = fitted(long, validation=samples(7, days=90), days=40, spin_up=10, epochs=40)
    assert (rmse(model.predict(long.x)["mean"], long) < 0.25 * np.nanstd(long.y)).all()


def test_years_of_365_days_and_a_state_that_goes_on():
    long = samples(days=420).take(np.arange(6))
    options = LstmOptions(hidden=8, epochs=1, batch_cells=6)
    assert options.days == 365
    model = MultitaskLstm(options).fit(long, **prepared(long))
    learner = SeriesLearner(len(model.inputs.columns), NAMES, model.targets.sd, options).train()
    sample = model._sample(long, 0)
    parts = [learner._window(sample) for _ in range(40)]
    assert {part.shape[1] for part, _ in parts} == {365}
    assert min(first for _, first in parts) == 0
    assert max(first for _, first in parts) == 420 - 365
    whole = model.predict(long.x)
    year = model.predict(long.x[:, :365])
    rest = model.predict(long.x[:, 365:], state=year["state"])
    np.testing.assert_array_equal(np.concatenate([year["mean"], rest["mean"]], axis=1), whole["mean"])
    assert (model.predict(long.x[:, 365:])["mean"] != rest["mean"]).any()  # without the state it begins anew


def test_neither_blocks_of_days_nor_of_cells_show(given):
    model = fitted(given, epochs=1, mc_members=2, dropout=0.2, loss="gaussian")
    many = np.tile(given.x, (3, 3, 1))
    whole = model.predict(many)
    state, means, stds = None, [], []
    for days in (slice(0, 1), slice(1, 100), slice(100, 180)):
        found = model.predict(many[:, days], state=state, workers=2)
        state = found["state"]
        means.append(found["mean"])
        stds.append(found["std"])
    np.testing.assert_array_equal(np.concatenate(means, axis=1), whole["mean"])
    np.testing.assert_array_equal(np.concatenate(stds, axis=1), whole["std"])
    np.testing.assert_array_equal(state, whole["state"])
    for cells in (slice(0, 1), slice(63, 130)):
        np.testing.assert_array_equal(model.predict(many[cells])["mean"], whole["mean"][cells])


def test_dropped_networks_widen_the_deviation(given):
    options = {"epochs": 20, "dropout": 0.3, "recurrent_dropout": 0.3}
    model = fitted(given, mc_members=20, **options)
    found = model.predict(given.x)
    error2 = np.nanmean((given.y - found["mean"]) ** 2)
    assert np.nanmean(found["std"] ** 2) == pytest.approx(error2, rel=0.1)
    assert found["std"].std() > 0.03 * found["std"].mean()
    np.testing.assert_array_equal(found["mean"], fitted(given, **options).predict(given.x)["mean"])


def test_missing_predictors(given, model):
    x = given.x.copy()
    x[3, 10:12] = np.nan
    found = model.predict(x)
    assert np.isnan(found["mean"][3, 10:12]).all()
    assert np.isnan(found["std"][3, 10:12]).all()
    assert np.isfinite(found["mean"]).sum() == found["mean"].size - 4
    np.testing.assert_array_equal(found["mean"][:3], model.predict(given.x)["mean"][:3])


def test_kept_bit_for_bit(given):
    model = fitted(given, epochs=2, mc_members=2, dropout=0.1, heads="own", anchor=("mean", "sd"))
    again = MultitaskLstm.from_arrays(model.arrays(), model.description(), model.inputs, model.targets)
    for name, array in model.predict(given.x).items():
        np.testing.assert_array_equal(again.predict(given.x)[name], array, err_msg=name)
    model.record.validation[0] = np.nan  # for which JSON has no number
    again = MultitaskLstm.from_arrays(model.arrays(), model.description(), model.inputs, model.targets)
    assert np.isnan(again.record.validation[0])
    assert again.description() == model.description()
    broken = {name: array[..., :-1] for name, array in model.arrays().items()}
    with pytest.raises(ArgumentError, match=r"not those of this model of kind .lstm."):
        MultitaskLstm.from_arrays(broken, model.description(), model.inputs, model.targets)
    with pytest.raises(ArgumentError, match="damaged"):
        MultitaskLstm.from_arrays(model.arrays(), {}, model.inputs, model.targets)


def test_the_seed_decides(given):
    first, same = (fitted(given, epochs=1, dropout=0.2).arrays()["recurrent"] for _ in range(2))
    np.testing.assert_array_equal(first, same)
    other = MultitaskLstm(LstmOptions(**(QUICK | {"epochs": 1}))).fit(given, seed=1, **prepared(given))
    assert (other.arrays()["recurrent"] != first).any()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"loss": "rms"}, UnknownNameError, "rmse"),
        ({"hidden": 6}, ArgumentError, "multiple of 4"),
        ({"dropout": 1.0}, ArgumentError, "below 1"),
        ({"spin_up": 365}, ArgumentError, "expected less"),
        ({"mc_members": 3, "dropout": 0.0, "recurrent_dropout": 0.0}, ArgumentError, "all would be alike"),
        ({"task_weights": "learn"}, ArgumentError, "'learned'"),
        ({"heads": "two"}, UnknownNameError, "shared"),
        ({"schedule": "fast"}, UnknownNameError, "one_cycle"),
        ({"epochs": 0}, ArgumentError, "1 or more"),
        ({"batch_cells": 2.5}, ArgumentError, "whole number of 1 or more"),
    ],
)
def test_wrong_options(options, error, message):
    with pytest.raises(error, match=message):
        LstmOptions(**options)


def test_options_that_do_not_fit_the_data(given):
    with pytest.raises(ArgumentError, match="a number for each"):
        fitted(given, task_weights=(1.0,))
    with pytest.raises(MissingVariableError, match="none of the predictors"):
        fitted(given, anchor=("mean", "deviation"))
    with pytest.raises(UnitsError, match="'percent'"):
        fitted(given, anchor=("sand", "sd"))
    both = prepared(given)
    both["targets"] = Targets(NAMES, ("m3 m-3", "mm"), (0.0, 0.0), (1.0, 1.0))
    with pytest.raises(UnitsError, match="share one output"):
        MultitaskLstm(LstmOptions(**QUICK)).fit(given, **both)
    with pytest.raises(ArgumentError, match="state of shape"):
        fitted(given, epochs=1).predict(given.x, state=np.zeros((3, 2, 1), np.float32))
