"""Forests over many cells: what scikit-learn predicts, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

from xsoil.kernels.forest import BLOCK, forest_mean
from xsoil.networks.moisture.random_forest import flattened


@pytest.mark.parametrize("options", [{"max_depth": 1}, {"min_samples_leaf": 3}, {"max_leaf_nodes": 12}])
def test_as_scikit_learn(options):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(BLOCK + 300, 4)).astype(np.float32)
    x[:, 3] = np.round(x[:, 3])  # ties at thresholds
    y = np.sin(3 * x[:, 0]) + x[:, 1] * x[:, 3]
    forest = RandomForestRegressor(15, random_state=0, n_jobs=1, **options).fit(x[:300], y[:300])
    out = np.empty(len(x))
    forest_mean(x, *flattened(forest).values(), out)
    np.testing.assert_array_equal(out, forest.predict(x))
    # at the thresholds themselves, and next to them
    edges = np.repeat(x[:64], 3, axis=0)
    thresholds = np.concatenate([tree.tree_.threshold for tree in forest.estimators_]).astype(np.float32)[:64]
    edges[: 3 * thresholds.size, 0] = np.stack(
        [thresholds, np.nextafter(thresholds, np.float32(9)), np.nextafter(thresholds, np.float32(-9))], axis=1
    ).ravel()
    out = np.empty(len(edges))
    forest_mean(edges, *flattened(forest).values(), out)
    np.testing.assert_array_equal(out, forest.predict(edges))
