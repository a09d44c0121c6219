"""Checkpoints in a user's folder: one that was moved goes on, one that was tampered with is refused by its name."""

from __future__ import annotations

import os
import re
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'learn' is not installed")
pytest.importorskip("lightning", reason="the extra 'learn' is not installed")

from learning_world import TARGETS, world  # noqa: E402

from xsoil.errors import ArgumentError  # noqa: E402
from xsoil.networks.learner import ParameterLearner  # noqa: E402
from xsoil.networks.samples import InMemorySource  # noqa: E402
from xsoil.networks.scaling import InputScaling  # noqa: E402
from xsoil.networks.training import fit  # noqa: E402

TRAIN, VALIDATION = np.arange(48), np.arange(48, 60)


@pytest.fixture(scope="module")
def source():
    return InMemorySource(world()[0])


def trained(source, folder, epochs, **options):
    learner = ParameterLearner("mlp", InputScaling.fit(source, TRAIN), TARGETS, network_options={"hidden": 4})
    options = {"batch_cells": 16, "progress": False, "patience": 30} | options
    record = fit(learner, source, TRAIN, VALIDATION, epochs=epochs, directory=folder, **options)
    return {name: tensor.clone() for name, tensor in learner.state_dict().items()}, record


@pytest.fixture(scope="module")
def begun(source, tmp_path_factory):
    """Two epochs of a training."""
    folder = tmp_path_factory.mktemp("begun")
    trained(source, folder, 2)
    return folder


def tampered(begun, tmp_path, change, name="last.ckpt"):
    """A copy of the folder in which a checkpoint was changed."""
    folder = tmp_path / "run"
    shutil.copytree(begun, folder)
    found = torch.load(folder / name, weights_only=True)
    change(found)
    torch.save(found, folder / name)
    return folder


def refused(source, folder, epochs=3, name="last.ckpt", says="bring a sound one back"):
    with pytest.raises(ArgumentError, match=re.escape(str(folder / name)) + f".*{says}"):
        trained(source, folder, epochs, resume=True)


def test_a_folder_that_was_moved(source, tmp_path):
    """Rates so high that the best epoch comes early: the later ones must not take its place."""
    fast = {"learning_rate": 0.4, "schedule": "constant"}
    whole, record = trained(source, tmp_path / "whole", 8, **fast)
    trained(source, tmp_path / "old", 6, **fast)
    assert record.best_epoch < 5
    assert record.validation[6] > record.best
    (tmp_path / "old").rename(tmp_path / "new")
    moved, continued = trained(source, tmp_path / "new", 8, resume=True, **fast)
    assert continued.validation == record.validation
    for name in whole:
        assert torch.equal(whole[name], moved[name]), name


def callback(found, kind, **entries):
    (key,) = [key for key in found["callbacks"] if key.startswith(kind)]
    found["callbacks"][key].update(entries)


BEST = "ModelCheckpoint{'monitor': 'validation'"


@pytest.mark.parametrize("how", ["beside", "through the folder", "elsewhere"])
def test_no_file_is_deleted_for_a_checkpoint(source, begun, tmp_path, how):
    """Lightning deletes the checkpoint that was the best so far, wherever the file says that it is."""
    dear = tmp_path / "dear.txt"
    dear.write_text("a thesis")
    run = tmp_path / "run"
    path = {"beside": run / "dear.txt", "through the folder": f"{run}/../dear.txt", "elsewhere": dear}[how]
    if how == "beside":
        dear = path

    def change(found):
        score = torch.tensor(1e9)
        names = {"kth_best_model_path": str(path), "best_model_path": str(path), "best_k_models": {str(path): score}}
        callback(found, BEST, dirpath=str(run), kth_value=score, **names)

    folder = tampered(begun, tmp_path, change)
    dear.write_text("a thesis")
    refused(source, folder, says="it names the file")
    assert dear.read_text() == "a thesis"


def entry(*path, value):
    def change(found):
        for key in path[:-1]:
            found = found[key]
        found[path[-1]] = value

    return change


def weight(value):
    def change(found):
        name = next(name for name in found["state_dict"] if "weight" in name)
        found["state_dict"][name] = value(found["state_dict"][name])

    return change


def moments(**entries):
    return lambda found: found["optimizer_states"][0]["state"][0].update(entries)


def group(**entries):
    return lambda found: found["optimizer_states"][0]["param_groups"][0].update(entries)


CHANGES = {
    "weights of another shape": weight(lambda w: w[:1]),
    "weights of another type": weight(lambda w: w.double()),
    "weights of text": weight(lambda w: "many"),
    "foreign weights": lambda found: found["state_dict"].update(more=torch.ones(1)),
    "no optimiser": entry("optimizer_states", value=[]),
    "an optimiser of text": entry("optimizer_states", value=["adam"]),
    "moments of another shape": moments(exp_avg=torch.ones(1, 1, 1)),
    "moments are missing": lambda found: found["optimizer_states"][0]["state"][0].pop("exp_avg"),
    "an unknown parameter": lambda found: found["optimizer_states"][0]["state"].update({99: {}}),
    "a rate that is no number": group(lr=float("nan")),
    "a rate of text": group(lr="fast"),
    "another optimiser": group(amsgrad=True),
    "loops of text": entry("loops", "fit_loop", "epoch_progress", value="many"),
    "more epochs counted": entry("loops", "fit_loop", "epoch_progress", "current", "processed", value=10**9),
    "batches of text": entry("loops", "fit_loop", "epoch_loop.batch_progress", "total", "ready", value="many"),
    "loops are missing": entry("loops", value={}),
    "callbacks are missing": entry("callbacks", value={}),
    "patience of text": lambda found: callback(found, "EarlyStopping", patience="endless"),
    "a best score of text": lambda found: callback(found, BEST, best_k_models={"best.ckpt": "good"}),
    "a rate's plan is missing": entry("xsoil", "schedule", value=None),
    "a rate's plan of text": entry("xsoil", "schedule", "best", value="low"),
    "a foreign plan": entry("xsoil", "schedule", "optimizer", value="os.system"),
    "a version of text": entry("pytorch-lightning_version", value="evil"),
    "settings are no table": entry("xsoil", "settings", value="[1, 2]"),
    "settings are deep": entry("xsoil", "settings", value="[" * 10**5),
}


@pytest.mark.parametrize("what", list(CHANGES))
def test_what_was_tampered_with(source, begun, tmp_path, what):
    refused(source, tampered(begun, tmp_path, CHANGES[what]))


NUMBERS = {
    "weights of another shape": weight(lambda w: w[:1]),
    "weights that are no numbers": weight(lambda w: w * torch.nan),
    "foreign weights": lambda found: found["state_dict"].update(more=torch.ones(1)),
}


@pytest.mark.parametrize("what", list(NUMBERS))
def test_a_best_epoch_that_was_tampered_with(source, begun, tmp_path, what):
    refused(source, tampered(begun, tmp_path, NUMBERS[what], "best.ckpt"), epochs=2, name="best.ckpt")


def test_a_best_epoch_of_another_run(source, begun, tmp_path):
    """Of the same shapes, so that its weights would fit."""
    folder = tmp_path / "run"
    shutil.copytree(begun, folder)
    trained(source, tmp_path / "other", 2, seed=1)
    shutil.copy(tmp_path / "other" / "best.ckpt", folder)
    refused(source, folder, epochs=2, name="best.ckpt", says="differs in \\['seed'\\]")
    trained(source, tmp_path / "other", 1)
    shutil.copy(tmp_path / "other" / "last.ckpt", folder / "best.ckpt")
    refused(source, folder, epochs=2, name="best.ckpt", says="the best of this training is epoch 2")


def test_pipes_and_folders_in_its_place(source, begun, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(begun, folder)
    (folder / "last.ckpt").unlink()
    (folder / "last.ckpt").mkdir()
    refused(source, folder)
    with pytest.raises(ArgumentError, match=r"last\.ckpt is a folder"):
        trained(source, folder, 1)
    (folder / "last.ckpt").rmdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "last.ckpt")
        refused(source, folder)
