"""LSTM over blocks of cells, day by day: the inference of a trained network, with the state in the caller's hands.

Cells stand side by side in the innermost loops, always `LANES` of them, and every sum runs in one order: a cell's
numbers depend neither on its neighbours, nor on its place, nor on the days that are run together. (A library's product
of matrices rounds by the shape of the matrices.)
"""

from __future__ import annotations

import numpy as np

from xsoil.jit import fused_kernel, inlined
from xsoil.kernels.exponential import exp2

__all__ = ["LANES", "UNROLLED", "run_lstm"]

LANES = 64
"""Cells of a block."""

UNROLLED = 4
"""The widths of all matrices are multiples of it, filled up with zeros, and so are the rows of all but the last."""

_PER_LN2 = np.float32(1.4426950408889634)
_ONE, _TWO, _MOST = np.float32(1.0), np.float32(2.0), np.float32(40.0)


@inlined
def _sigmoid(x):
    limited = min(max(x, -_MOST), _MOST)
    return _ONE / (_ONE + exp2(-limited * _PER_LN2))


@fused_kernel
def _product(weights, bias, values, out):
    """out = weights values + bias; two rows at a time, four products a step."""
    rows, width = weights.shape
    for j in range(0, rows, 2):
        for lane in range(LANES):
            out[j, lane] = bias[j]
            out[j + 1, lane] = bias[j + 1]
        for k in range(0, width, UNROLLED):
            a0, a1, a2, a3 = weights[j, k], weights[j, k + 1], weights[j, k + 2], weights[j, k + 3]
            b0, b1, b2, b3 = weights[j + 1, k], weights[j + 1, k + 1], weights[j + 1, k + 2], weights[j + 1, k + 3]
            for lane in range(LANES):
                v0, v1, v2, v3 = values[k, lane], values[k + 1, lane], values[k + 2, lane], values[k + 3, lane]
                out[j, lane] += (a0 * v0 + a1 * v1) + (a2 * v2 + a3 * v3)
                out[j + 1, lane] += (b0 * v0 + b1 * v1) + (b2 * v2 + b3 * v3)


@fused_kernel
def run_lstm(x, first, first_bias, gates, gates_bias, last, last_bias, state, out):
    """Run a block of cells through its days: a layer of rectifiers, an LSTM, a linear layer.

    Parameters
    ----------
    x : (days, p, LANES) array of float32
        Encoded predictors.
    first, first_bias : (h, p), (h,) arrays
    gates, gates_bias : (4 h, 2 h), (4 h,) arrays
        Weights of the inputs and of the hidden state side by side; input, forget, cell and output gate one below the
        other, as torch has them.
    last, last_bias : (t, h), (t,) arrays
    state : (2, h, LANES) array
        Hidden state and cell, before the first day; after the last one on return.
    out : (days, t, LANES) array
        Filled.

    All are float32 and contiguous; p and h are multiples of `UNROLLED`, t of 2.
    """
    days, h = len(x), len(first)
    both = np.empty((2 * h, LANES), np.float32)
    z = np.empty((4 * h, LANES), np.float32)
    both[h:] = state[0]
    for day in range(days):
        _product(first, first_bias, x[day], both[:h])
        for i in range(h):
            for lane in range(LANES):
                both[i, lane] = max(both[i, lane], np.float32(0.0))
        _product(gates, gates_bias, both, z)
        for i in range(h):
            for lane in range(LANES):
                candidate = _TWO * _sigmoid(_TWO * z[2 * h + i, lane]) - _ONE
                cell = _sigmoid(z[h + i, lane]) * state[1, i, lane] + _sigmoid(z[i, lane]) * candidate
                state[1, i, lane] = cell
                both[h + i, lane] = _sigmoid(z[3 * h + i, lane]) * (_TWO * _sigmoid(_TWO * cell) - _ONE)
        _product(last, last_bias, both[h:], out[day])
    state[0] = both[h:]
