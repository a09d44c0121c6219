"""The examples with series and maps run as a user runs them, on short trainings."""

from __future__ import annotations

import pandas as pd
import pytest
from example_runs import refusal, run


def test_liu2023_multitask(data, tmp_path):
    pytest.importorskip("lightning", reason="the extra 'learn' is not installed")
    run("liu2023_multitask", "--data", data, "--out", tmp_path, "--seeds", 3, "--epochs", 1, "--stages", "temporal")
    table = pd.read_csv(tmp_path / "temporal.csv", index_col=["model", "pixel"])
    assert table.groupby("model").size().eq(309).all()
    medians = table.groupby("model")[["rmse", "ubrmse", "r"]].median()
    # hydroDL's numbers are those of the data's README, whatever was trained here.
    assert medians.loc["hydroDL, two targets", "rmse"] == pytest.approx(0.0311, abs=5e-5)
    assert medians.loc["hydroDL, RMSE loss", "ubrmse"] == pytest.approx(0.0299, abs=5e-5)
    assert medians.loc["xsoil, seed 3", "rmse"] < medians.loc["mean of the training year", "rmse"]
    assert medians.loc["xsoil, seed 3", "r"] > 0.6
    differences = pd.read_csv(tmp_path / "differences.csv")
    assert set(differences.metric) == {"rmse", "ubrmse", "r"}
    assert (differences.low <= differences.high).all()


def test_liu2023_worlds(tmp_path):
    pytest.importorskip("lightning", reason="the extra 'learn' is not installed")
    quick = ("--worlds", 0, "--cells", 2, 3, "--sites", 40, "--updates", 40)
    run("liu2023_multitask", "--out", tmp_path, "--stages", "worlds", *quick)
    table = pd.read_csv(tmp_path / "worlds_table.csv", index_col=["case", "year", "way"])
    assert len(table) == 3 * 2 * 5
    # What the satellite and the stations see does not depend on the training.
    itself = table.xs("(the satellite's cell)", level="way")
    assert itself.ubrmse.between(0.035, 0.05).all()
    learned = table.drop("(the satellite's cell)", level="way")
    assert learned.ubrmse.lt(0.05).all()
    assert learned.r.gt(0.3).all()
    gaps = pd.read_csv(tmp_path / "worlds_differences.csv")
    assert gaps["better in"].isin([0, 1]).all()
    assert len(gaps) == 3 * 2 * 2 * 2 * 3


def test_rabiei2024_convlstm(tmp_path):
    pytest.importorskip("lightning", reason="the extra 'learn' is not installed")
    printed = run("rabiei2024_convlstm", "--out", tmp_path, "--cells", 8, "--epochs", 1, "--worlds", 0, "--seeds", 0)
    table = pd.read_csv(tmp_path / "scores.csv", index_col=["depth", "estimate"])
    everywhere = table[table.texture == "all"]
    assert everywhere.cells.eq(64).all()
    assert len(everywhere) == 8
    # What was made of the truth does not depend on the training.
    assert 0.6 < everywhere.loc[("surface", "NLDAS (model)"), "r"] < 0.95
    assert everywhere.loc[("surface", "SMAP, filled"), "ubrmse"] > 0.025
    assert everywhere.ubrmse.lt(0.1).all()
    assert len(pd.read_csv(tmp_path / "differences.csv")) == 6
    assert float(printed.split("differ from the untiled map by ")[1].split()[0]) < 1e-5


def test_a_wrong_path_is_named(tmp_path):
    pytest.importorskip("lightning", reason="the extra 'learn' is not installed")
    assert "no file" in refusal("liu2023_multitask", "--data", tmp_path / "nowhere")
