"""Training: bit for bit the same, resumed or not; streamed; what it leaves out and reports."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'learn' is not installed")
pytest.importorskip("lightning", reason="the extra 'learn' is not installed")

from learning_world import TARGETS, world  # noqa: E402

from xsoil.networks.learner import ParameterLearner  # noqa: E402  (needs torch)
from xsoil.networks.samples import InMemorySource  # noqa: E402
from xsoil.networks.scaling import InputScaling  # noqa: E402
from xsoil.networks.training import fit  # noqa: E402

TRAIN, VALIDATION = np.arange(48), np.arange(48, 60)


@pytest.fixture(scope="module")
def sample():
    return world()[0]


def learner_for(source, **options):
    options = {"patch": (5, 5), "network_options": {"width": 4, "hidden": 8}} | options
    return ParameterLearner("cnn", InputScaling.fit(source, TRAIN), TARGETS, **options)


def trained(source, learner=None, **options):
    learner = learner_for(source) if learner is None else learner
    options = {"epochs": 4, "batch_cells": 16, "progress": False, "learning_rate": 0.01} | options
    return learner, fit(learner, source, TRAIN, VALIDATION, **options)


def weights(learner):
    return {name: tensor.numpy().copy() for name, tensor in learner.state_dict().items()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_one_seed_one_result(sample):
    source = InMemorySource(sample)
    one, first = trained(source)
    other, second = trained(source)
    assert_same(weights(one), weights(other))
    assert first.validation == second.validation
    assert first.validation[-1] < first.validation[0]


def test_resumed_is_uninterrupted(sample, tmp_path):
    source = InMemorySource(sample)
    whole, history = trained(source, epochs=5)
    trained(source, epochs=2, directory=tmp_path)
    resumed, continued = trained(source, epochs=5, directory=tmp_path, resume=True)
    assert_same(weights(whole), weights(resumed))
    assert history.validation == continued.validation
    assert history.learning_rate == continued.learning_rate
