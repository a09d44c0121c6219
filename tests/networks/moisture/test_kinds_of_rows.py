"""Every kind that reads rows: learns, ignores rows without targets, keeps its bits in a file, alone or in company."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.networks.moisture.ensemble import Ensemble, balanced_weights
from xsoil.networks.moisture.files import read_ensemble, write_ensemble
from xsoil.networks.moisture.inputs import Inputs, Predictor, Targets
from xsoil.networks.moisture.kind import Samples
from xsoil.networks.moisture.kinds import KINDS
from xsoil.networks.moisture.row_training import BayesianLinear

ROWS = [Predictor("smap", "m3 m-3"), Predictor("k_sat", "cm d-1", log=True), Predictor("cover", classes=())]
# Options under which 50 samples are learned by heart, and quick ones.
BY_HEART = {
    "dense": {"hidden": (32, 32), "epochs": 300, "learning_rate": 0.02},
    "prob": {"hidden": (32, 32), "epochs": 400, "learning_rate": 0.02, "kl_weight": 0.001},
    "wide_deep": {"epochs": 250, "dropout": 0.0, "learning_rate": 0.005},
    "random_forest": {"min_samples_leaf": 1, "trees": 50},
}
QUICK = {"dense": {"epochs": 3}, "prob": {"epochs": 3}, "wide_deep": {"epochs": 3}, "random_forest": {"trees": 5}}


def world(n, seed=0):
    rng = np.random.default_rng(seed)
    x = np.stack([rng.uniform(0.1, 0.4, n), np.exp(rng.normal(3, 1, n)), rng.choice([1, 4, 6], n)], axis=1)
    y = 0.7 * x[:, 0] + 0.02 * np.log(x[:, 1]) - 0.04 * (x[:, 2] == 4) + rng.normal(0, 0.005, n)
    return x.astype(np.float32), y[:, None].astype(np.float32)


def fitted(kind, x, y, options, weights=None, **arguments):
    inputs = Inputs.fit(ROWS, x, rows=np.isfinite(y[:, 0]), missing=arguments.pop("missing", "indicator"))
    targets = Targets.fit(["soil_moisture"], ["m3 m-3"], y)
    model = KINDS[kind](KINDS[kind].options_type.of(options))
    return model.fit(Samples(x, y, weights), inputs=inputs, targets=targets, **arguments)


@pytest.fixture(scope="module", params=list(QUICK))
def quick(request):
    x, y = world(300)
    return fitted(request.param, x, y, QUICK[request.param], seed=3), x, y


@pytest.mark.parametrize("kind", list(BY_HEART))
def test_overfits_50_samples(kind):
    x, y = world(50)
    found = fitted(kind, x, y, BY_HEART[kind]).predict(x)
    assert np.sqrt(np.mean((found["mean"] - y) ** 2)) < 0.25 * y.std()


def test_rows_without_targets_and_of_no_weight_are_ignored(quick):
    model, x, y = quick
    more_x, more_y = world(100, seed=9)
    more_y[:50] = np.nan
    weights = np.concatenate([np.ones(len(y)), np.ones(50), np.zeros(50)]).astype(np.float32)
    again = type(model)(model.options).fit(
        Samples(np.concatenate([x, more_x]), np.concatenate([y, more_y]), weights),
        inputs=model.inputs, targets=model.targets, seed=3,
    )  # fmt: skip
    for name, array in model.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)


def test_the_seed_decides(quick):
    model, x, y = quick
    same, other = (
        type(model)(model.options).fit(Samples(x, y), inputs=model.inputs, targets=model.targets, seed=seed)
        for seed in (3, 4)
    )
    np.testing.assert_array_equal(same.predict(x)["mean"], model.predict(x)["mean"])
    assert (other.predict(x)["mean"] != model.predict(x)["mean"]).any()


def test_weights_matter(quick):
    model, x, y = quick
    weights = np.where(x[:, 2] == 4, 20, 0.01).astype(np.float32)
    other = type(model)(model.options).fit(Samples(x, y, weights), inputs=model.inputs, targets=model.targets, seed=3)
    assert (other.predict(x)["mean"] != model.predict(x)["mean"]).any()


def test_file_keeps_every_bit(quick, tmp_path):
    model, x, _ = quick
    whole = Ensemble({"one": model})
    write_ensemble(tmp_path / "model", whole, {"note": 1})
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["description.json", "weights.safetensors"]
    again, more = read_ensemble(tmp_path / "model")
    assert more == {"note": 1}
    assert json.dumps(again.describe()) == json.dumps(whole.describe())
    for name, values in whole.predict(x).items():
        np.testing.assert_array_equal(again.predict(x)[name], values)


def test_company_does_not_show(quick):
    model, x, _ = quick
    whole = model.predict(x)
    for name, values in model.predict(x[17:40]).items():
        np.testing.assert_array_equal(values, whole[name][17:40])
    columns = np.asfortranarray(x)  # as the verb hands them over: one predictor after the other
    np.testing.assert_array_equal(model.predict(columns)["mean"], whole["mean"])
    assert np.isfinite(columns).all()


def test_missing_predictors(quick):
    model, x, _ = quick
    gaps = x[:5].copy()
    gaps[0] = np.nan
    gaps[1, 0] = np.nan
    gaps[2, 2] = 99
    gaps[3, 1] = -1
    before = gaps.copy()
    found = model.predict(gaps)
    for values in found.values():
        np.testing.assert_array_equal(np.isnan(values[:, 0]), [True, False, False, False, False])
    np.testing.assert_array_equal(gaps, before)  # the user's array
    x_all, y_all = world(300)
    strict = fitted(model.name, x_all, y_all, QUICK[model.name], missing="nan").predict(gaps)
    np.testing.assert_array_equal(np.isnan(strict["mean"][:, 0]), [True, True, True, True, False])


def test_gaps_in_training_are_learned_from():
    x, y = world(400)
    x[::2, 0] = np.nan  # the best predictor
    y[::2] = 0.9
    model = fitted("random_forest", x, y, {"trees": 10})
    np.testing.assert_allclose(model.predict(x[::2])["mean"], 0.9, atol=1e-3)


def test_damaged_arrays_are_refused(quick):
    model, _, _ = quick
    arrays = model.arrays()
    name = "values" if model.name == "random_forest" else "weights"
    with pytest.raises(ArgumentError, match="damaged"):
        type(model).from_arrays(
            arrays | {name: arrays[name].astype(np.float16)}, model.description(), model.inputs, model.targets
        )
    if model.name == "random_forest":
        with pytest.raises(ArgumentError, match="circles"):
            type(model).from_arrays(
                arrays | {"left": np.zeros_like(arrays["left"])}, model.description(), model.inputs, model.targets
            )


def test_deviation_is_that_of_the_noise():
    rng = np.random.default_rng(0)
    x, y = world(4000)
    y += (rng.normal(size=4000) * np.where(x[:, 2] == 4, 0.06, 0.01))[:, None].astype(np.float32)
    for kind in ("dense", "prob"):
        found = fitted(kind, x, y, {"epochs": 40})
        std = found.predict(x)["std"][:, 0]
        assert 0.045 < np.median(std[x[:, 2] == 4]) < 0.075
        assert 0.008 < np.median(std[x[:, 2] != 4]) < 0.02


def test_the_bayesian_layer():
    torch.manual_seed(0)
    layer = BayesianLinear(3, 2, prior_sd=0.7)
    x = torch.randn(4, 3)
    outputs = torch.stack([layer(x) for _ in range(4000)])
    generator = torch.Generator().manual_seed(0)
    drawn = [layer.drawn(generator) for _ in range(4000)]
    by_weights = torch.stack([torch.nn.functional.linear(x, w, b) for w, b in drawn])
    torch.testing.assert_close(outputs.mean(0), by_weights.mean(0), atol=0.01, rtol=0)
    torch.testing.assert_close(outputs.std(0), by_weights.std(0), atol=0.01, rtol=0.05)
    with torch.no_grad():
        sds = [torch.nn.functional.softplus(rho) for rho in (layer.weight_rho, layer.bias_rho)]
    expected = sum(
        torch.distributions.kl_divergence(torch.distributions.Normal(m, s), torch.distributions.Normal(0.0, 0.7)).sum()
        for m, s in zip((layer.weight, layer.bias), sds, strict=True)
    )
    torch.testing.assert_close(layer.divergence(), expected)
    layer.eval()
    torch.testing.assert_close(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias))


def test_164_parameters():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(100, 9)).astype(np.float32), rng.normal(size=(100, 1)).astype(np.float32)
    inputs = Inputs.fit([Predictor(str(i), "1") for i in range(9)], x)
    targets = Targets.fit(["soil_moisture"], ["m3 m-3"], y)
    kind = KINDS["dense"]
    model = kind(kind.options_type.of({"epochs": 1})).fit(Samples(x, y), inputs=inputs, targets=targets)
    assert model.parameters == 164


def test_an_ensemble_is_the_mean_of_its_members():
    x, y = world(300)
    members = {str(seed): fitted("dense", x, y, {"epochs": 2}, seed=seed) for seed in range(3)}
    found = Ensemble(members).predict(x, members=True)
    singles = np.stack([member.predict(x)["mean"] for member in members.values()]).astype(np.float64)
    stds = np.stack([member.predict(x)["std"] for member in members.values()]).astype(np.float64)
    np.testing.assert_array_equal(found["members"], singles.astype(np.float32))
    np.testing.assert_allclose(found["mean"], singles.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found["std"], np.sqrt((stds**2).mean(axis=0) + singles.var(axis=0)), rtol=1e-5)


def test_balanced_weights():
    classes = np.array([1, 1, 1, 1, 2, 2, np.nan, np.nan])
    weights = balanced_weights(classes, continuous=False)
    np.testing.assert_allclose(weights, [8 / 12] * 4 + [8 / 6] * 4)
    assert weights.mean() == pytest.approx(1.0)
    sand = np.array([0.0, 1, 2, 3, 99, 100])  # two of ten bins have rows
    np.testing.assert_allclose(balanced_weights(sand, continuous=True), [6 / 8] * 4 + [6 / 4] * 2)
    np.testing.assert_allclose(balanced_weights(np.full(3, 5.0), continuous=True), 1.0)


def test_options_are_checked():
    with pytest.raises(UnknownNameError, match="hidden"):
        KINDS["dense"].options_type.of({"hiden": (3,)})
    with pytest.raises(ArgumentError, match="hidden"):
        KINDS["dense"].options_type.of({"hidden": ()})
    with pytest.raises(ArgumentError, match="draws"):
        KINDS["prob"].options_type.of({"draws": 0})
    with pytest.raises(ArgumentError, match="dropout"):
        KINDS["wide_deep"].options_type.of({"dropout": 1.0})
    with pytest.raises(ArgumentError, match="expected values such as trees=100"):
        KINDS["random_forest"].options_type.of({"trees": "many"})
    with pytest.raises(ArgumentError, match="trees"):
        KINDS["random_forest"].options_type.of({"trees": 0})
