"""Twin experiment: parameters that made the observations are found again, on cells that training never saw."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'learn' is not installed")
pytest.importorskip("lightning", reason="the extra 'learn' is not installed")

from learning_world import TARGETS, world  # noqa: E402
from scipy.stats import spearmanr  # noqa: E402

from xsoil.networks.learner import ParameterLearner  # noqa: E402
from xsoil.networks.samples import InMemorySource, Sample  # noqa: E402
from xsoil.networks.scaling import InputScaling  # noqa: E402
from xsoil.networks.soil_models import soil_model  # noqa: E402
from xsoil.networks.training import fit  # noqa: E402
from xsoil.physics.bounded import Bounded  # noqa: E402

TRAIN, VALIDATION, TEST = np.arange(500), np.arange(500, 600), np.arange(600, 700)


@pytest.mark.parametrize("strategy", ["end_to_end", "two_step"])
def test_parameters_are_found_again(strategy):
    """k_sat (the largest of the fine cells), A and B from every third day of theta_obs."""
    sample, truth = world(cells=700, days=200)
    if strategy == "two_step":  # what an inversion of each cell found, with errors and failures
        rng = np.random.default_rng(0)
        noisy = {name: value * np.exp(rng.normal(0, 0.05, 700)) for name, value in truth.items()}
        noisy["k_sat"][::10] = np.nan
        sample = Sample(**{**vars(sample), "parameters": noisy})
    source = InMemorySource(sample)
    learner = ParameterLearner(
        "cnn", InputScaling.fit(source, TRAIN), TARGETS, patch=(5, 5), strategy=strategy, network_options={"width": 8}
    )
    fit(learner, source, TRAIN, VALIDATION, epochs=50, batch_cells=50, learning_rate=0.01, progress=False)
    found = learner.predict(sample.static[TEST], known={n: v[TEST] for n, v in sample.known.items()})
    for name, least in (("k_sat", 0.8), ("obs_scale", 0.97), ("obs_bias", 0.97)):
        assert spearmanr(found[name], truth[name][TEST]).statistic > least, name
    tensors = source.read(TEST).tensors()
    parameters = {name: torch.tensor(value) for name, value in found.items()}
    simulated = learner.simulate(tensors, parameters, ("theta_obs",))["theta_obs"]
    error = (simulated - tensors.observed["theta_obs"]).numpy()
    assert np.sqrt(np.nanmean(error**2)) < {"end_to_end": 0.006, "two_step": 0.015}[strategy]


def test_richards_columns_are_found_again():
    """History of theta and static predictors -> LSTM -> van Genuchten's parameters -> Richards' equation -> theta."""
    rng = np.random.default_rng(0)
    cells, days = 30, 30
    sand = rng.random(cells)
    truth = {"k_sat": 5.0 * 30**sand, "alpha": 0.01 + 0.04 * sand, "h50": np.full(cells, -800.0)}
    known = {"theta_r": np.full(cells, 0.05), "theta_s": np.full(cells, 0.43), "n": np.full(cells, 1.5)}
    rain = ((rng.random((days, cells)) < 0.3) * rng.exponential(12, (days, cells))).astype("f4")
    forcing = {
        "precipitation": rain,
        "pet": np.full((days, cells), 3.0, "f4"),
        "lai": np.full((days, cells), 2.0, "f4"),
    }
    model = soil_model("richards", {"depth": 0.05})
    tensors = [{n: torch.tensor(v) for n, v in group.items()} for group in (forcing, known | truth)]
    theta = model.run(*tensors, ("theta",))["theta"].numpy()
    history = np.stack([theta[:20].T, rain[:20].T], axis=2)
    sample = Sample(
        np.arange(cells),
        sand[:, None].astype("f4"),
        history,
        forcing,
        {"theta": theta},
        {},
        known | {"h50": truth["h50"]},
    )
    source = InMemorySource(sample)
    targets = {"k_sat": Bounded(1.0, 500.0, log=True), "alpha": Bounded(0.005, 0.1, log=True)}
    train, test = np.arange(20), np.arange(20, 30)
    learner = ParameterLearner(
        "lstm", InputScaling.fit(source, train), targets, network_options={"hidden": 8}, model=model, loss="nse"
    )
    history = fit(learner, source, train, test, epochs=12, batch_cells=10, learning_rate=0.03, progress=False)
    assert history.best < 0.3 * history.validation[0]
    found = learner.predict(sample.static[test], sample.history[test])
    assert spearmanr(found["k_sat"], truth["k_sat"][test]).statistic > 0.8
