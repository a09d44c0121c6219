"""The example of Poehls et al. runs as a user runs it: small, and still better than the satellite."""

from __future__ import annotations

import pandas as pd
import pytest
from example_runs import run


def test_poehls2025_downscaling(tmp_path):
    pytest.importorskip("lightning", reason="the extra 'learn' is not installed")
    arguments = ["--out", tmp_path, "--seeds", 0, "--cells", 2, 9, "--sites", 80, "--epochs", 25, "--folds", 0]
    run("poehls2025_downscaling", *arguments, "--weighted", "sand")
    table = pd.read_csv(tmp_path / "table.csv", index_col=0)
    kinds = ["dense", "prob", "wide_deep", "random_forest"]
    assert (table.loc[kinds, "ubrmse"] < 0.9 * table.loc["satellite", "ubrmse"]).all()
    assert {"dense: unweighted", "dense: sand"} <= set(table.index)
    maps = pd.read_csv(tmp_path / "map.csv", index_col=0)
    assert maps.loc["conserved", "off the satellite"] < 1e-6
    assert maps.loc["model", "off the satellite"] > 0.01
    assert maps.loc["model", "r"] > maps.loc["satellite", "r"]
    intervals = pd.read_csv(tmp_path / "intervals.csv", index_col=0)
    assert intervals.loc[["dense", "prob"], "in 90 %"].between(0.75, 1.0).all()
    assert (tmp_path / "head_to_head.csv").exists()
    assert (tmp_path / "map.png").stat().st_size > 20_000
