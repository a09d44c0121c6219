"""Small dense networks over many cells: the twin of torch, and no cell's company shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from xsoil.kernels.perceptron import BLOCK, CONTINUOUS, GAPS, OF_CLASS, padded, perceptron

KINDS = np.array([CONTINUOUS, CONTINUOUS, GAPS, OF_CLASS, OF_CLASS], np.int8)
SOURCES = np.array([0, 1, 1, 2, 2])
CODES = np.array([0, 0, 0, 4, 7], np.float32)
MEANS = np.array([0.5, 10, 0, 0, 0], np.float32)
SCALES = np.array([2, 0.1, 1, 1, 1], np.float32)
SHARES = np.array([0, 0, 0, 0.25, 0.75], np.float32)
ENCODING = (KINDS, SOURCES, CODES, MEANS, SCALES, SHARES)
SCALING = np.array([0.2, 0.1], np.float32)


@pytest.fixture
def cells():
    rng = np.random.default_rng(3)
    x = np.stack([rng.normal(size=700), rng.normal(10, 10, 700), rng.choice([4, 7, 9], 700)]).astype(np.float32)
    x[1, ::5] = np.nan
    x[0, 1::7] = np.inf
    x[2, np.isfinite(x[:2]).any(axis=0)] = rng.choice([4, 7, 9, np.nan], int(np.isfinite(x[:2]).any(axis=0).sum()))
    x[2, ~np.isfinite(x[:2]).any(axis=0)] = 4  # each cell knows something
    return x


def network(skip, seed=0, outputs=2):
    torch.manual_seed(seed)
    layers = [torch.nn.Linear(5, 6), torch.nn.Linear(6, 3), torch.nn.Linear(3, outputs)]
    wide = torch.nn.Linear(5, outputs, bias=False) if skip else None
    packed = []
    for layer in [*layers, *([wide] if skip else [])]:
        table = np.zeros((layer.out_features, padded(layer.in_features) + 1), np.float32)
        table[:, : layer.in_features] = layer.weight.detach().numpy()
        table[:, -1] = 0 if layer.bias is None else layer.bias.detach().numpy()
        packed.append(table.ravel())
    return layers, wide, np.concatenate(packed), np.array([5, 6, 3, outputs])


def encoded(x):
    known = [np.isfinite(x[0]), np.isfinite(x[1]), np.isin(x[2], [4, 7])]
    columns = [
        np.where(known[0], (x[0] - 0.5) * 2, 0), np.where(known[1], (x[1] - 10) * 0.1, 0), ~known[1],
        np.where(known[2], x[2] == 4, 0.25), np.where(known[2], x[2] == 7, 0.75),
    ]  # fmt: skip
    return np.stack(columns, axis=1).astype(np.float32)


def run(x, weights, widths, skip, needs_all=False, outputs=2):
    out = np.empty((outputs, x.shape[1]), np.float32)
    perceptron(np.ascontiguousarray(x), ENCODING, needs_all, weights, widths, skip, SCALING, out)
    return out


@pytest.mark.parametrize("skip", [False, True])
def test_as_torch(cells, skip):
    layers, wide, packed, widths = network(skip)
    with torch.no_grad():
        columns = torch.from_numpy(encoded(cells))
        h = columns
        for layer in layers[:-1]:
            h = torch.relu(layer(h))
        h = layers[-1](h) + (wide(columns) if skip else 0)
    mean, std = run(cells, packed[None], widths, skip)
    np.testing.assert_allclose(mean, h[:, 0].numpy() * 0.1 + 0.2, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(std, np.exp(h[:, 1].clamp(-7, 3).numpy()) * 0.1, rtol=1e-4)


def test_draws_are_averaged(cells):
    drawn = [network(False, seed) for seed in range(5)]
    widths = drawn[0][3]
    singles = np.stack([run(cells, one[2][None], widths, False) for one in drawn]).astype(np.float64)
    mean, std = run(cells, np.stack([one[2] for one in drawn]), widths, False)
    np.testing.assert_allclose(mean, singles[:, 0].mean(axis=0), rtol=1e-4)
    both = np.sqrt((singles[:, 1] ** 2).mean(axis=0) + singles[:, 0].var(axis=0))
    np.testing.assert_allclose(std, both, rtol=1e-3)


def test_company_does_not_show(cells):
    _, _, packed, widths = network(True)
    whole = run(cells, packed[None], widths, True)
    for start, stop in ((0, 1), (3, 300), (BLOCK - 1, BLOCK + 1), (100, 700)):
        np.testing.assert_array_equal(run(cells[:, start:stop], packed[None], widths, True), whole[:, start:stop])
    order = np.random.default_rng(0).permutation(700)
    np.testing.assert_array_equal(run(cells[:, order], packed[None], widths, True), whole[:, order])


def test_cells_without_predictors(cells):
    _, _, packed, widths = network(False)
    cells[:, 10] = np.nan
    cells[:, 11] = np.nan, np.nan, 9  # a class that is not known says nothing
    found = run(cells, packed[None], widths, False)
    assert np.isnan(found[:, [10, 11]]).all()
    assert np.isfinite(np.delete(found, [10, 11], axis=1)).all()
    strict = run(cells, packed[None], widths, False, needs_all=True)
    complete = np.isfinite(cells[:2]).all(axis=0) & np.isin(cells[2], [4, 7])
    np.testing.assert_array_equal(np.isfinite(strict).all(axis=0), complete)


def test_extreme_deviations_stay_finite(cells):
    _, _, packed, widths = network(False)
    std = run(cells, packed[None] * 1e4, widths, False)[1]
    assert np.isfinite(std).all()
    assert std.max() <= 0.1 * np.exp(3.0) * 1.0001
    assert std.min() >= 0.1 * np.exp(-7.0) * 0.9999
