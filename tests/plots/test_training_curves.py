"""Losses by epoch, of one network and of an ensemble."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from xsoil.errors import ArgumentError
from xsoil.plots import training_curves


def history(members=None, validated=True) -> xr.Dataset:
    """As `LearnedParams.history`, or with members as `MoistureModel.history`."""
    epochs = np.arange(12)
    train = np.exp(-epochs / 3) + 0.05
    made = xr.Dataset({"train": ("epoch", train), "validation": ("epoch", train * (1.2 if validated else np.nan))})
    made = made.assign_coords(epoch=epochs)
    if members is None:
        return made.assign_attrs(best_epoch=9)
    made = made.expand_dims(member=list(members)) * xr.DataArray(np.arange(1, len(members) + 1), dims="member")
    made["train"][1, 8:] = np.nan
    return made.assign(best_epoch=("member", [5, 7, 9]))


def test_two_lines_and_the_epoch_that_was_kept(pixels):
    ax = training_curves(SimpleNamespace(history=history()))
    train, validation, kept = ax.lines
    np.testing.assert_array_equal(train.get_ydata(), history().train)
    np.testing.assert_array_equal(validation.get_ydata(), history().validation)
    assert list(kept.get_xdata()) == [9, 9]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["train", "validation", "kept: epoch 9"]
    assert ax.get_yscale() == "log"
    assert training_curves(history(), log=False).get_yscale() == "linear"
    assert training_curves(history() - 1).get_yscale() == "linear"  # negative likelihoods
    assert len(np.unique(pixels(ax).reshape(-1, 3), axis=0)) > 10


def test_members_and_their_median():
    made = history("abc")
    ax = training_curves(made)
    thin = [line for line in ax.lines if line.get_linewidth() < 1 and line.get_marker() == "None"]
    thick = [line for line in ax.lines if line.get_linewidth() == 2]
    assert len(thin) == 6
    np.testing.assert_allclose(thick[0].get_ydata()[:8], made.train[1, :8])
    np.testing.assert_allclose(thick[0].get_ydata()[8:], made.train[[0, 2], 8:].mean("member"))
    (marks,) = [line for line in ax.lines if line.get_marker() == "o"]
    assert list(marks.get_xdata()) == [5, 7, 9]
    np.testing.assert_allclose(marks.get_ydata(), [float(made.validation[k, e]) for k, e in enumerate((5, 7, 9))])


def test_without_validation_there_is_one_line():
    assert [line.get_label() for line in training_curves(history(validated=False)).lines][:1] == ["train"]


def test_faults():
    with pytest.raises(ArgumentError, match="inversions and random forests"):
        training_curves(xr.Dataset({"cells": ("search_status", [3])}))
    with pytest.raises(ArgumentError, match="no epoch"):
        training_curves(history().isel(epoch=slice(0)))


def test_members_of_a_record_without_validation():
    made = history("abc").drop_vars("validation")
    (marks,) = [line for line in training_curves(made).lines if line.get_marker() == "o"]
    np.testing.assert_allclose(marks.get_ydata(), [float(made.train[k, e]) for k, e in ((0, 5), (1, 7), (2, 9))])
