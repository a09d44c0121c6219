"""`evaluate` per cell against the package `scores` on the same arrays: 2,000 cells x 1,096 days, float32, one core."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xsoil.evaluation.metrics import series_metrics

CELLS, DAYS = 2_000, 1_096


def test_metrics_of_cells(ratio):
    from scores.continuous import kge, nse, rmse
    from scores.continuous.correlation import pearsonr

    rng = np.random.default_rng(0)
    sim, obs = rng.random((2, DAYS, CELLS), dtype=np.float32)
    obs[rng.random(obs.shape) < 0.3] = np.nan
    sim[np.isnan(obs)] = np.nan
    pair = [xr.DataArray(a, dims=("time", "cell")) for a in (sim, obs)]
    ours, theirs = ratio.times(
        lambda: series_metrics(sim.T, obs.T),
        lambda: [score(*pair, reduce_dims="time") for score in (rmse, nse, kge, pearsonr)],
        rounds=3,
    )
    ratio.report(
        "evaluate per cell: six metrics and n / four of them by scores",
        f"{theirs / ours:.0f} x as fast ({ours / CELLS / DAYS * 1e9:.1f} ns per pair)",
        ">= 5 x",
    )
