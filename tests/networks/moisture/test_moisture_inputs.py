"""What a model reads: scaling from training rows, classes, gaps; the same after JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.networks.moisture.inputs import Inputs, Predictor, Targets

ROWS = [Predictor("sand", "percent"), Predictor("k_sat", "cm d-1", log=True), Predictor("cover", classes=())]


@pytest.fixture
def x():
    rng = np.random.default_rng(0)
    values = np.stack([rng.normal(40, 10, 60), np.exp(rng.normal(3, 1, 60)), rng.choice([2, 5], 60)], axis=1)
    return values.astype(np.float32)


def test_columns_have_mean_0_and_deviation_1(x):
    inputs = Inputs.fit(ROWS, x)
    assert inputs.columns == ("sand", "k_sat", "cover=2", "cover=5")
    found = inputs.encode(x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, :2].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(found[:, :2].std(axis=0), 1, rtol=1e-5)
    np.testing.assert_allclose(
        found[:, 1], (np.log(x[:, 1]) - np.log(x[:, 1]).mean()) / np.log(x[:, 1]).std(), atol=1e-5
    )
    np.testing.assert_array_equal(found[:, 2:], np.stack([x[:, 2] == 2, x[:, 2] == 5], axis=1))


def test_only_training_rows_are_looked_at(x):
    rows = np.arange(60) < 40
    wild = x.copy()
    wild[~rows] *= 1000
    assert Inputs.fit(ROWS, x, rows=rows) == Inputs.fit(ROWS, wild, rows=rows)


def test_missing_values(x):
    whole = Inputs.fit(ROWS, x)
    gaps = x.copy()
    gaps[0] = np.nan
    gaps[1, 1] = -1.0  # has no logarithm
    gaps[2, 2] = 9  # a class that training does not know
    found = whole.encode(gaps)
    np.testing.assert_array_equal(found[0, :2], 0)
    assert found[1, 1] == 0
    shares = [np.mean(x[:, 2] == 2), np.mean(x[:, 2] == 5)]
    np.testing.assert_allclose(found[[0, 2], 2:], [shares, shares], rtol=1e-6)
    np.testing.assert_array_equal(whole.complete(gaps)[:4], [False, True, True, True])
    np.testing.assert_array_equal(Inputs(whole.predictors, "nan").complete(gaps)[:4], [False, False, False, True])
    learned = Inputs.fit(ROWS, gaps)  # with the gaps in training
    assert learned.columns == ("sand", "sand=missing", "k_sat", "k_sat=missing", "cover=2", "cover=5", "cover=missing")
    found = learned.encode(gaps)
    np.testing.assert_array_equal(found[:4, [1, 3, 6]], [[1, 1, 1], [0, 1, 0], [0, 0, 1], [0, 0, 0]])
    np.testing.assert_array_equal(found[[0, 2], 4:6], 0)


def test_rare_classes_are_unknown(x):
    x[:3, 2] = 8
    inputs = Inputs.fit(ROWS, x)
    assert inputs.predictors[2].classes == (2, 5)
    assert inputs.encode(x)[0, -3:].tolist() == [0, 0, 1]


def test_codes_that_single_precision_does_not_tell_apart(x):
    codes = x.astype(np.float64)
    codes[:, 2] = 2**24 - 1 - np.arange(60) % 3
    assert Inputs.fit(ROWS, codes).predictors[2].classes == (2**24 - 3, 2**24 - 2, 2**24 - 1)
    codes[:, 2] += 2
    with pytest.raises(ArgumentError, match="'cover' has classes with codes up to 16777217"):
        Inputs.fit(ROWS, codes)


def test_constants_say_nothing(x):
    x[:, 0] = 7
    found = Inputs.fit(ROWS, x).encode(x)
    np.testing.assert_array_equal(found[:, 0], 0)
    x[:, 0] = np.linspace(-50, 90, len(x))  # of a prediction: nothing was learned about them
    inputs = Inputs.fit(ROWS, np.where(np.arange(x.shape[1]) == 0, 7, x))
    np.testing.assert_allclose(inputs.encode(x)[:, 0], 0, atol=1e-20)


def test_json(x):
    x[::9] = np.nan
    inputs = Inputs.fit(ROWS, x, missing="nan")
    again = Inputs.from_description(json.loads(json.dumps(inputs.describe())))
    assert again == inputs
    np.testing.assert_array_equal(again.encode(x), inputs.encode(x))
    targets = Targets.fit(["soil_moisture"], ["m3 m-3"], x[:, :1])
    assert Targets.from_description(json.loads(json.dumps(targets.describe()))) == targets


def test_faults(x):
    with pytest.raises(UnknownNameError, match="indicator"):
        Inputs.fit(ROWS, x, missing="drop")
    with pytest.raises(ArgumentError, match="expected one column each"):
        Inputs.fit(ROWS, x[:, :2])
    x[:, 0] = np.nan
    with pytest.raises(ArgumentError, match=r"'sand' has no value .* leave it out"):
        Inputs.fit(ROWS, x)
    with pytest.raises(ArgumentError, match="no value of the target"):
        Targets.fit(["soil_moisture"], ["m3 m-3"], x[:, :1])
    with pytest.raises(ArgumentError, match="damaged"):
        Inputs.from_description({"predictors": [{"nome": "sand"}], "missing": "nan"})
