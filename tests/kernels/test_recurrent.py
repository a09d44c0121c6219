"""The LSTM of the kernels is that of torch, in blocks of any days."""

from __future__ import annotations

import numpy as np
import pytest

from xsoil.kernels.recurrent import LANES, run_lstm

torch = pytest.importorskip("torch")

HIDDEN, CHANNELS, DAYS = 12, 8, 40


@pytest.fixture(scope="module")
def layers():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return (
            torch.nn.Linear(CHANNELS, HIDDEN),
            torch.nn.LSTM(HIDDEN, HIDDEN, batch_first=True),
            torch.nn.Linear(HIDDEN, 2),
        )


@pytest.fixture(scope="module")
def weights(layers):
    first, memory, last = layers
    own = {name: value.detach().numpy() for name, value in memory.named_parameters()}
    gates = np.concatenate([own["weight_ih_l0"], own["weight_hh_l0"]], axis=1)
    linear = [[layer.weight.detach().numpy(), layer.bias.detach().numpy()] for layer in (first, last)]
    return (*linear[0], gates, own["bias_ih_l0"] + own["bias_hh_l0"], *linear[1])


def run(x, weights, state=None):
    """(lanes, days, channels) through the kernel."""
    state = np.zeros((2, HIDDEN, LANES), np.float32) if state is None else state
    out = np.full((x.shape[1], 2, LANES), np.nan, np.float32)
    run_lstm(np.ascontiguousarray(x.transpose(1, 2, 0)), *weights, state, out)
    return out.transpose(2, 0, 1), state


def test_is_that_of_torch(layers, weights):
    # Also where gates are shut: inputs of some hundreds.
    x = np.random.default_rng(0).normal(size=(LANES, DAYS, CHANNELS)).astype(np.float32)
    x[::4] *= 300
    first, memory, last = layers
    with torch.no_grad():
        states, (h, c) = memory(torch.relu(first(torch.from_numpy(x))))
        expected = last(states).numpy()
    found, state = run(x, weights)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    np.testing.assert_allclose(state[0], h[0].T, atol=2e-6)
    np.testing.assert_allclose(state[1], c[0].T, atol=1e-5, rtol=1e-5)


def test_neither_days_nor_neighbours_show(weights):
    x = np.random.default_rng(1).normal(size=(LANES, DAYS, CHANNELS)).astype(np.float32)
    whole, end = run(x, weights)
    parts, state = [], None
    for days in (slice(0, 1), slice(1, 18), slice(18, DAYS)):
        found, state = run(x[:, days], weights, state)
        parts.append(found)
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    np.testing.assert_array_equal(state, end)
    order = np.random.default_rng(2).permutation(LANES)
    np.testing.assert_array_equal(run(x[order], weights)[0], whole[order])
