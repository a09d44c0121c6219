"""Training: bit for bit the same, resumed or not; streamed; what it leaves out and reports."""

from __future__ import annotations

import os
import signal
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'learn' is not installed")
pytest.importorskip("lightning", reason="the extra 'learn' is not installed")

from learning_world import TARGETS, world  # noqa: E402

from xsoil.errors import ArgumentError, UnknownNameError  # noqa: E402
from xsoil.networks import training  # noqa: E402
from xsoil.networks.batches import fingerprint  # noqa: E402
from xsoil.networks.learner import ParameterLearner  # noqa: E402
from xsoil.networks.samples import InMemorySource, Sample  # noqa: E402
from xsoil.networks.scaling import InputScaling  # noqa: E402
from xsoil.networks.training import fit  # noqa: E402

TRAIN, VALIDATION = np.arange(48), np.arange(48, 60)


@pytest.fixture(scope="module")
def sample():
    return world()[0]


@pytest.fixture(scope="module")
def source(sample):
    return InMemorySource(sample)


class Streamed:
    """The same cells, never in memory as a whole; may fail after some reads."""

    def __init__(self, sample, fails_after=None):
        self._inside = InMemorySource(sample)
        self.blocks = [np.arange(i, i + 12) for i in range(0, 60, 12)]
        self.reads, self.fails_after = 0, fails_after

    def __len__(self):
        return 60

    def read(self, cells):
        self.reads += 1
        if self.fails_after is not None and self.reads > self.fails_after:
            raise OSError("the power went out")
        return self._inside.read(cells)


def learner_for(source, network="cnn", **options):
    if network == "cnn":
        options = {"patch": (5, 5), "network_options": {"width": 4, "hidden": 8}} | options
    return ParameterLearner(network, InputScaling.fit(source, TRAIN), TARGETS, **options)


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


@contextmanager
def tensor_threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2])
def test_one_seed_one_result(source, threads, monkeypatch):
    monkeypatch.setattr(training, "_WORTH_THREADS", 0)
    with tensor_threads(threads):
        one, first = trained(source, epochs=3)
        other, second = trained(source, epochs=3)
    assert_same(weights(one), weights(other))
    assert first.train == second.train
    assert first.validation == second.validation
    assert first.validation[-1] < first.validation[0]
    assert trained(source, epochs=3, seed=1)[1].validation != first.validation


@pytest.mark.parametrize(("network", "schedule"), [("cnn", "constant"), ("lstm", "plateau")])
def test_resumed_is_uninterrupted(sample, tmp_path, network, schedule):
    """The LSTM has dropout, and a learning rate that falls on the way."""
    options = {"learning_rate": 0.05, "patience": 4, "schedule": schedule}
    if network == "lstm":
        history = np.random.default_rng(0).random((60, 6, 2)).astype("f4")
        source = InMemorySource(Sample(**{**vars(sample), "history": history}))

        def new():
            return learner_for(source, "lstm", patch=(5, 5), network_options={"hidden": 5, "dropout": 0.5})
    else:
        source = InMemorySource(sample)

        def new():
            return learner_for(source)

    whole, history = trained(source, new(), epochs=6, **options)
    trained(source, new(), epochs=1, directory=tmp_path, **options)
    trained(source, new(), epochs=4, directory=tmp_path, resume=True, **options)
    resumed, continued = trained(source, new(), epochs=6, directory=tmp_path, resume=True, **options)
    assert_same(weights(whole), weights(resumed))
    for row in ("train", "validation", "learning_rate"):
        assert getattr(history, row) == getattr(continued, row)
    assert history.best_epoch == continued.best_epoch
    if network == "lstm":
        assert history.learning_rate[-1] < history.learning_rate[0]


@pytest.mark.parametrize("schedule", ["plateau", "one_cycle"])
def test_a_crash_within_an_epoch(sample, tmp_path, schedule):
    # A block of 12 cells of some 1 kB at a time.
    options = {"memory_budget": 4 * 13 * 1000, "schedule": schedule}
    streamed = Streamed(sample)
    whole, history = trained(streamed, learner_for(streamed), **options)
    assert streamed.reads > 3 * 4  # several groups an epoch
    broken = Streamed(sample, fails_after=streamed.reads - 2)  # within the last epoch
    learner = learner_for(broken)
    with pytest.raises(OSError, match="the power went out"):
        trained(broken, learner, **options, directory=tmp_path)
    assert (tmp_path / "last.ckpt").exists()
    streamed = Streamed(sample)
    resumed, continued = trained(streamed, learner_for(streamed), **options, directory=tmp_path, resume=True)
    assert_same(weights(whole), weights(resumed))
    assert history.validation == continued.validation
    if schedule == "one_cycle":
        assert history.learning_rate == continued.learning_rate
        assert history.learning_rate[-1] < 1e-3 * max(history.learning_rate)
        with pytest.raises(ArgumentError, match=r"differs in \['epochs'\]"):
            trained(
                streamed, learner_for(streamed), **options, directory=tmp_path, resume=True,
                epochs=5,
            )  # fmt: skip


def test_the_best_epoch_is_kept(source):
    learner, history = trained(source, epochs=12, learning_rate=0.3, patience=3)
    assert history.best == min(history.validation)
    sample = source.read(VALIDATION).tensors()
    with torch.no_grad():
        ((cost, counts),) = learner.costs(sample).values()
    assert float(cost.sum() / counts.sum()) == pytest.approx(history.best, rel=1e-5)


def test_patience(source, tmp_path):
    learner, history = trained(source, epochs=30, learning_rate=0.5, patience=2, directory=tmp_path)
    assert history.stopped == "patience"
    assert len(history) == history.best_epoch + 3 < 30
    # There is nothing left to do: the same again, at once.
    again, same = trained(source, epochs=30, learning_rate=0.5, patience=2, directory=tmp_path, resume=True)
    assert_same(weights(learner), weights(again))
    assert same.seconds == history.seconds
    assert same.stopped == "patience"


def test_cells_without_observations(sample):
    """They are left out, reported, and change nothing."""
    observed = sample.observed["theta_obs"].copy()
    observed[:, [0, 7, 50]] = np.nan
    observed[1:, 3] = np.nan  # one observation only
    holey = InMemorySource(Sample(**{**vars(sample), "observed": {"theta_obs": observed}}))
    learner, history = trained(holey, learner_for(holey, least_pairs=2), epochs=2)
    assert history.excluded.tolist() == [0, 3, 7, 50]
    rest = np.setdiff1d(np.arange(60), history.excluded)
    few = InMemorySource(holey.read(rest))
    other = learner_for(holey, least_pairs=2)
    fit(
        other, few, np.intersect1d(rest, TRAIN), np.intersect1d(rest, VALIDATION), epochs=2, batch_cells=16,
        learning_rate=0.01, progress=False,
    )  # fmt: skip
    assert_same(weights(learner), weights(other))
    observed[:, VALIDATION] = np.nan
    with pytest.raises(ArgumentError, match="none of the 12 validation cells has enough observations"):
        trained(InMemorySource(Sample(**{**vars(sample), "observed": {"theta_obs": observed}})))


def test_without_validation_cells(source):
    history = fit(learner_for(source), source, TRAIN, epochs=2, progress=False)
    assert history.validation == history.train


def test_two_step(sample):
    truth = world()[1]
    truth["k_sat"][5] = np.nan
    source = InMemorySource(Sample(**{**vars(sample), "parameters": truth, "observed": {}}))
    learner, history = trained(source, learner_for(source, strategy="two_step"), epochs=40, learning_rate=0.02)
    assert history.best < 0.2 * history.validation[0]
    found = learner.predict(sample.static[VALIDATION])
    assert np.corrcoef(found["obs_bias"], truth["obs_bias"][VALIDATION])[0, 1] > 0.9
    none = {name: np.full(60, np.nan) for name in truth}
    with pytest.raises(ArgumentError, match="none of the 48 training cells has enough parameters"):
        trained(
            InMemorySource(Sample(**{**vars(sample), "parameters": none})), learner_for(source, strategy="two_step")
        )


def test_quiet_and_tidy(source, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    state, handler = torch.get_rng_state(), signal.getsignal(signal.SIGINT)
    learner = learner_for(source)
    with warnings.catch_warnings(), tensor_threads(3):  # a small network is trained on one
        warnings.simplefilter("error")
        trained(source, learner, epochs=2, accelerator="auto" if not torch.cuda.is_available() else "cpu")
        assert torch.get_num_threads() == 3
    out, err = capfd.readouterr()
    assert out + err == ""
    assert os.listdir(tmp_path) == []
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.are_deterministic_algorithms_enabled()
    assert signal.getsignal(signal.SIGINT) is handler
    trained(source, learner, epochs=2, progress=True, directory=tmp_path / "run")
    out, err = capfd.readouterr()
    assert "2/2" in err
    assert sorted(os.listdir(tmp_path / "run")) == ["best.ckpt", "last.ckpt"]


def test_every_epoch_is_shuffled_anew(source):
    learner, seen = learner_for(source), []
    costs = learner.costs

    def noted(batch):
        seen.append(batch.cells.tolist())
        return costs(batch)

    learner.costs = noted
    fit(learner, source, TRAIN, epochs=3, batch_cells=48, progress=False)
    assert [sorted(order) for order in seen] == [TRAIN.tolist()] * 3
    assert seen[0] != seen[1] != seen[2] != seen[0]


def test_batches_without_any_pair(sample):
    """Cells with observations whose physics fails: a step without a loss is left out, silently."""
    forcing = {name: array.copy() for name, array in sample.forcing.items()}
    forcing["pet"][0, [0, 5]] = np.nan
    source = InMemorySource(Sample(**{**vars(sample), "forcing": forcing}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for schedule in ("plateau", "one_cycle"):
            history = fit(
                learner_for(source), source, [0, 5, 9], VALIDATION, epochs=3, batch_cells=1, progress=False,
                schedule=schedule,
            )  # fmt: skip
            assert np.isfinite(history.train).all()


def test_in_another_thread(source):
    with ThreadPoolExecutor(1) as pool:
        _, history = pool.submit(trained, source, epochs=2).result()
    assert history.validation == trained(source, epochs=2)[1].validation


def test_interrupted_by_the_user(sample, tmp_path):
    source = InMemorySource(sample)
    learner = learner_for(source)
    costs, calls = learner.costs, []

    def interrupted(batch):
        calls.append(1)
        if len(calls) > 6:
            raise KeyboardInterrupt
        return costs(batch)

    learner.costs = interrupted
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trained(source, learner, directory=tmp_path)
    assert signal.getsignal(signal.SIGINT) is handler
    assert (tmp_path / "last.ckpt").exists()


def test_a_loss_that_is_no_number(source, sample):
    learner = learner_for(source)
    with torch.no_grad():
        learner.network.closing[0].weight[:] = torch.nan
    with pytest.raises(ArgumentError, match="loss was nan in the first epoch"):
        trained(source, learner)
    forcing = {name: np.full_like(array, np.nan) for name, array in sample.forcing.items()}
    empty = InMemorySource(Sample(**{**vars(sample), "forcing": forcing}))
    with pytest.raises(ArgumentError, match="the model gave no number"):
        trained(empty, learner_for(source))


def test_a_training_does_not_go_on_with_other_data(sample, source, tmp_path):
    trained(source, epochs=1, directory=tmp_path)
    for field in ("static", "forcing", "observed", "known"):
        whole = getattr(sample, field)
        name = None if field == "static" else next(iter(whole))
        changed = (whole if name is None else whole[name]).copy()
        at = tuple(np.argwhere(np.isfinite(changed))[0])
        changed[at] = np.nextafter(changed[at], changed.dtype.type(np.inf))
        other = InMemorySource(replace(sample, **{field: changed if name is None else {**whole, name: changed}}))
        for epochs in (1, 2):
            with pytest.raises(ArgumentError, match=r"differs in \['data'\]"):
                trained(other, learner_for(source), epochs=epochs, directory=tmp_path, resume=True)
    assert fingerprint(source, TRAIN) == fingerprint(Streamed(sample), TRAIN[::-1])


def test_what_is_refused(source, tmp_path):
    with pytest.raises(ArgumentError, match="epochs=0"):
        trained(source, epochs=0)
    with pytest.raises(UnknownNameError, match="did you mean 'one_cycle'"):
        trained(source, schedule="onecycle")
    with pytest.raises(ArgumentError, match="learning_rate=0"):
        trained(source, learning_rate=0)
    with pytest.raises(ArgumentError, match="without a directory"):
        trained(source, resume=True)
    with pytest.raises(ArgumentError, match="batch_cells=0"):
        trained(source, batch_cells=0)
    with pytest.raises(ArgumentError, match="2 cells are for training and for validation, the first is 3"):
        fit(learner_for(source), source, TRAIN, [3, 4], progress=False)
    with pytest.raises(ArgumentError, match="none of the 0 training cells"):
        fit(learner_for(source), source, [], VALIDATION, progress=False)
    trained(source, epochs=1, directory=tmp_path)
    with pytest.raises(ArgumentError, match=r"differs in \['learning_rate', 'seed'\]"):
        trained(source, seed=3, learning_rate=1.0, directory=tmp_path, resume=True)
    with pytest.raises(ArgumentError, match="seed=-1"):
        trained(source, seed=-1)
    (tmp_path / "best.ckpt").rename(tmp_path / "moved")
    with pytest.raises(ArgumentError, match=r"no best\.ckpt beside"):
        trained(source, epochs=2, directory=tmp_path, resume=True)
    (tmp_path / "last.ckpt").write_bytes(b"nonsense")
    with pytest.raises(ArgumentError, match="cannot read the checkpoint"):
        trained(source, directory=tmp_path, resume=True)
    trained(source, epochs=1, directory=tmp_path)  # begins anew
