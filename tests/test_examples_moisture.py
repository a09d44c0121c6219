"""The example of Poehls et al. runs as a user runs it: small, and still better than the satellite."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_poehls2025_downscaling(tmp_path):
    arguments = ["--out", tmp_path, "--seeds", 0, "--cells", 2, 9, "--sites", 80, "--epochs", 25, "--folds", 0]
    done = subprocess.run(
        [sys.executable, EXAMPLES / "poehls2025_downscaling.py", *map(str, arguments), "--weighted", "sand"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
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
