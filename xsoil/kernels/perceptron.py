"""Small dense networks over many cells: scaling, layers and the output's distribution in one pass.

Cells are worked on in blocks of one size, the last one filled up, so that a cell meets the same instructions wherever
it stands: a prediction does not depend on its company.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xsoil.jit import fused_kernel, kernel
from xsoil.kernels.exponential import exp2

__all__ = ["BLOCK", "CONTINUOUS", "GAPS", "LEAST_LOG", "MOST_LOG", "OF_CLASS", "padded", "perceptron"]

BLOCK = 256
"""Cells worked on at once."""

CONTINUOUS, OF_CLASS, GAPS = 0, 1, 2
"""What a column holds: scaled values, whether the class is a certain one, whether the predictor is unknown."""

_LOG2_E = np.float32(1.4426950408889634)
# The logarithm of the deviation of a scaled target, at the least and at the most (as in training).
LEAST_LOG, MOST_LOG = np.float32(-7.0), np.float32(3.0)


@kernel
def padded(columns: Any) -> int:
    """Columns that a layer is written for: the next multiple of four."""
    return (columns + 3) // 4 * 4


@fused_kernel
def _dense(source: Any, weights: Any, first: Any, rows: Any, out: Any, add: Any) -> Any:
    """``out = b + W source`` or, with `add`, ``out += W source``: (rows, BLOCK) from (padded columns, BLOCK).

    From `first` on, `weights` hold for each row its columns, then its bias. Gives the place behind them.
    """
    columns = len(source)
    for o in range(rows):
        at = first + o * (columns + 1)
        row = out[o]
        if not add:
            bias = weights[at + columns]
            for c in range(BLOCK):
                row[c] = bias
        for i in range(0, columns, 4):
            w0, w1, w2, w3 = weights[at + i], weights[at + i + 1], weights[at + i + 2], weights[at + i + 3]
            x0, x1, x2, x3 = source[i], source[i + 1], source[i + 2], source[i + 3]
            for c in range(BLOCK):
                row[c] = row[c] + w0 * x0[c] + w1 * x1[c] + w2 * x2[c] + w3 * x3[c]
    return first + rows * (columns + 1)


@fused_kernel
def _run(columns: Any, weights: Any, first: Any, widths: Any, skip: Any, hidden: Any) -> Any:
    """Run a block (padded columns, BLOCK) through all layers; the result stands in the first rows of `hidden[2]`."""
    layers = widths.size - 1
    source = columns
    for layer in range(layers):
        rows = widths[layer + 1]
        last = layer == layers - 1
        out = hidden[2] if last else hidden[layer % 2]
        first = _dense(source, weights, first, rows, out, False)
        if not last:
            for o in range(rows):
                row = out[o]
                for c in range(BLOCK):
                    row[c] = max(row[c], np.float32(0.0))
            for o in range(rows, padded(rows)):
                out[o, :] = np.float32(0.0)
            source = out[: padded(rows)]
    return _dense(columns, weights, first, widths[layers], hidden[2], True) if skip else first


@fused_kernel
def _encode(
    x: Any,
    start: Any,
    kinds: Any,
    sources: Any,
    codes: Any,
    means: Any,
    scales: Any,
    unknown: Any,
    columns: Any,
    known: Any,
) -> Any:
    """Fill `columns` (padded, BLOCK) from raw predictors, and `known` (predictors, BLOCK)."""
    stop = min(start + BLOCK, x.shape[1])
    size = stop - start
    for p in range(x.shape[0]):
        known[p, :] = 0
    for k in range(kinds.size):
        p = sources[k]
        row, there = columns[k], known[p]
        row[size:] = np.float32(0.0)
        values = x[p, start:stop]
        if kinds[k] == CONTINUOUS:
            mean, scale = means[k], scales[k]
            for c in range(size):
                value = values[c]
                finite = value - value == np.float32(0.0)
                there[c] = finite
                row[c] = (value - mean) * scale if finite else np.float32(0.0)
        elif kinds[k] == OF_CLASS:
            code = codes[k]
            for c in range(size):
                same = values[c] == code
                there[c] |= same
                row[c] = np.float32(1.0) if same else np.float32(0.0)
        else:
            for c in range(size):
                row[c] = np.float32(1 - there[c])
    for k in range(kinds.size):
        if kinds[k] == OF_CLASS and unknown[k] > np.float32(0.0):
            row, there, share = columns[k], known[sources[k]], unknown[k]
            for c in range(size):
                row[c] = row[c] if there[c] else share
    for k in range(kinds.size, len(columns)):
        columns[k, :] = np.float32(0.0)
    return size


@fused_kernel
def perceptron(
    x: Any, encoding: Any, needs_all: Any, weights: Any, widths: Any, skip: Any, scaling: Any, out: Any
) -> None:
    """Mean and standard deviation of one target.

    Parameters
    ----------
    x : (p, n) array of float32
        Raw predictors (logarithms where they are scaled on one); NaN = missing.
    encoding : tuple of (channels,) arrays
        Of each column: what it holds (int8), predictor (int64), code, mean, 1 / deviation, and the share that stands
        for an unknown class (float32). Columns of one predictor follow each other, `GAPS` behind the others.
    needs_all : bool
        NaN where one predictor is unknown; else where all are.
    weights : (draws, w) array of float32
        Layer by layer and row by row: weights of the columns (padded to a multiple of four), then the bias; at the end
        those of the skip from the columns to the output. Several draws of the weights are averaged.
    widths : array of int64
        Columns, units of each hidden layer (rectified), outputs: 1 (mean) or 2 (and logarithm of the deviation).
    skip : bool
        The output adds a linear function of the columns.
    scaling : (2,) array of float32
        Mean and deviation of the target.
    out : (1 or 2, n) array of float32
        Mean and, where asked for, standard deviation (its own and that of the mean over draws, together).
    """
    kinds, sources, codes, means, scales, unknown = encoding
    n, draws = x.shape[1], weights.shape[0]
    columns = np.empty((padded(widths[0]), BLOCK), np.float32)
    known = np.empty((x.shape[0], BLOCK), np.uint8)
    hidden = np.zeros((3, padded(max(widths.max(), 2)), BLOCK), np.float32)
    middle, spread, own = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    valid = np.empty(BLOCK, np.uint8)
    with_std = out.shape[0] > 1
    has_std = widths[-1] > 1
    for start in range(0, n, BLOCK):
        size = _encode(x, start, kinds, sources, codes, means, scales, unknown, columns, known)
        for draw in range(draws):
            _run(columns, weights[draw], 0, widths, skip, hidden)
            mean = hidden[2, 0]
            share = np.float32(1.0) / np.float32(draw + 1)
            if draw == 0:
                spread[:] = np.float32(0.0)
                own[:] = np.float32(0.0)
                middle[:] = mean
            else:
                for c in range(BLOCK):
                    before = mean[c] - middle[c]
                    middle[c] += before * share
                    spread[c] += before * (mean[c] - middle[c])
            if with_std and has_std:
                log_std = hidden[2, 1]
                for c in range(BLOCK):
                    power = min(max(log_std[c], LEAST_LOG), MOST_LOG) * _LOG2_E
                    own[c] += exp2(power + power)
        count = np.float32(1.0) / np.float32(draws)
        for c in range(BLOCK):
            middle[c] = middle[c] * scaling[1] + scaling[0]
            own[c] = np.sqrt((own[c] + spread[c]) * count) * scaling[1]
        valid[:] = needs_all
        for p in range(x.shape[0]):
            there = known[p]
            if needs_all:
                for c in range(BLOCK):
                    valid[c] &= there[c]
            else:
                for c in range(BLOCK):
                    valid[c] |= there[c]
        mean, std = out[0, start : start + size], out[-1, start : start + size]
        if with_std:
            for c in range(size):
                std[c] = own[c] if valid[c] else np.float32(np.nan)
        for c in range(size):
            mean[c] = middle[c] if valid[c] else np.float32(np.nan)
