"""The bootstrap ensembles of Rosetta over many soils: all members of a block of cells in one pass.

A member is a network of six hidden units whose activations are hyperbolic tangents and of outputs that are
logistic (`xsoil.ptfs.rosetta` folds the scalings and the base of the exponential into the weights). The members'
results are summed, never stored.

Cells go through in blocks of `LANES`, the last one padded, so that a cell meets the same instructions wherever it
stands: its result does not depend on the cells that share the call. A block with its sums is 40 to 80 kB, as are
its double-precision sums; the weights stream past it. That is the memory of a call.

Two precisions meet: that of the inputs and of the hidden layer, where steep members cancel large numbers, and that of
the outputs. Single for both, double for both, or double and then single, at little more than the cost of single.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsoil.jit import by_precision, by_precisions, fused_kernel, kernel
from xsoil.kernels.exponential import exp2

__all__ = ["LANES", "ensemble"]

Floats = NDArray[np.floating[Any]]
Six = tuple[Any, Any, Any, Any, Any, Any]

LANES = 512
_HIDDEN = 6
_MEMBERS_PER_SUM = 20  # sums in single precision stay short: they round to less than 1e-7 of a mean

# tanh(x) = x P(x^2) / Q(x^2), our own fits (least squares with Lawson's weights): for single precision within 2.2e-7
# (that is 1 - tanh(8)), for double precision that becomes single within 3e-8 (1 - tanh(9)), before rounding.
_EDGE = np.float32(8.0)
_P0, _P1, _P2, _P3 = (np.float32(c) for c in (0.999999362, 0.129136402, 2.93882665e-3, 1.13102135e-5))
_ONE, _Q1, _Q2, _Q3, _Q4 = (np.float32(c) for c in (1.0, 0.46246739, 2.37638226e-2, 2.37028328e-4, 2.42383821e-7))
_R0, _R1, _R2, _R3, _R4 = 0.999999906354858, 0.133731973317831, 3.48658147e-3, 2.04718237e-5, 1.31842149e-8
_S1, _S2, _S3, _S4 = 0.467064941950806, 2.58419776e-2, 3.27138370e-4, 7.70265973e-7
_LOG2_10 = 3.321928094887362
_SINGLE_LIMIT, _DOUBLE_LIMIT = np.float32(60.0), 60.0


def _tanh_single(x: Any, like: Any) -> Any:
    x = min(max(x, -_EDGE), _EDGE)
    t = x * x
    return x * (((_P3 * t + _P2) * t + _P1) * t + _P0) / ((((_Q4 * t + _Q3) * t + _Q2) * t + _Q1) * t + _ONE)


def _tanh_mixed(x: Any, like: Any) -> Any:
    x = min(max(x, -9.0), 9.0)
    t = x * x
    p = (((_R4 * t + _R3) * t + _R2) * t + _R1) * t + _R0
    return x * p / ((((_S4 * t + _S3) * t + _S2) * t + _S1) * t + 1.0)


def _tanh_double(x: Any, like: Any) -> Any:
    return 1.0 - 2.0 / (1.0 + exp2(min(max(2.8853900817779268 * x, -_DOUBLE_LIMIT), _DOUBLE_LIMIT)))


def _logistic_single(x: Any) -> Any:
    return _ONE / (_ONE + exp2(min(max(x, -_SINGLE_LIMIT), _SINGLE_LIMIT)))


def _logistic_double(x: Any) -> Any:
    return 1.0 / (1.0 + exp2(min(max(x, -_DOUBLE_LIMIT), _DOUBLE_LIMIT)))


_logistic = by_precision(_logistic_single, _logistic_double)
_tanh = by_precisions(_tanh_single, _tanh_mixed, _tanh_double)


@kernel
def ensemble(
    inputs: Floats,
    w1: Floats,
    b1: Floats,
    w2: Floats,
    b2: Floats,
    span: NDArray[np.float64],
    top: NDArray[np.float64],
    power: NDArray[np.bool_],
    arithmetic: bool,
    deviate: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means and standard deviations over the members.

    Parameters
    ----------
    inputs : ndarray (input, cell)
        Inputs of the network, float32 or float64.
    w1, b1 : ndarray (member, 6, 3, 4 or 6), (member, 6)
        Weights and biases of the hidden layer, of the type of `inputs`: the precision of that layer. The weights of 5
        inputs are filled up to 6 with zeros.
    w2, b2 : ndarray (member, output, 6), (member, output)
        Those of the output layer; their type is its precision.
    span, top : ndarray (output,)
        Result = top - span / (1 + 2 ** output).
    power : ndarray (output,)
        Which results are decimal logarithms.
    arithmetic : bool
        Whether means are those of the values, 10 ** result, where `power`; else of the results.
    deviate : bool
        Whether the second array is calculated.

    Returns
    -------
    mean : ndarray (output, cell)
    deviation : ndarray (output, cell), or (output, 0) without `deviate`
        Standard deviation (n - 1) of the values.
    """
    n_input, n_cell = inputs.shape
    n_member, n_output = b2.shape
    mean = np.empty((n_output, n_cell), np.float64)
    deviation = np.empty((n_output, n_cell if deviate else 0), np.float64)
    x = np.zeros((w1.shape[2], LANES), inputs.dtype)
    h = np.empty((_HIDDEN, LANES), w2.dtype)
    # Sums of results, of values and of their squares; values as differences from the first member's: nothing cancels.
    part = np.empty((3, n_output, LANES), w2.dtype)
    total = np.empty((3, n_output, LANES), np.float64)
    first = np.zeros((n_output, LANES), w2.dtype)
    rate = np.empty(n_output, w2.dtype)
    for o in range(n_output):
        rate[o] = -_LOG2_10 * span[o]
    for start in range(0, n_cell, LANES):
        here = min(LANES, n_cell - start)
        for i in range(n_input):
            for lane in range(LANES):
                x[i, lane] = inputs[i, start + min(lane, here - 1)]
        total[:] = 0.0
        for group in range(0, n_member, _MEMBERS_PER_SUM):
            part[:] = 0.0
            for k in range(group, min(group + _MEMBERS_PER_SUM, n_member)):
                for j in range(_HIDDEN):
                    _hidden(x, w1[k, j], b1[k, j], h[j])
                for o in range(n_output):
                    r, d, q = part[0, o], part[1, o], part[2, o]
                    if deviate and k == 0:
                        _values(h, w2[k, o], b2[k, o], rate[o], power[o], first[o])
                    if deviate and power[o] and not arithmetic:
                        _add_results_and_moments(h, w2[k, o], b2[k, o], rate[o], first[o], r, d, q)
                    elif deviate:
                        _add_moments(h, w2[k, o], b2[k, o], rate[o], power[o], first[o], d, q)
                    elif arithmetic and power[o]:
                        _add_values(h, w2[k, o], b2[k, o], rate[o], d)
                    else:
                        _add_results(h, w2[k, o], b2[k, o], r)
            for m in range(3):
                for o in range(n_output):
                    for lane in range(LANES):
                        total[m, o, lane] += part[m, o, lane]
        for o in range(n_output):
            factor = 10.0 ** top[o] if power[o] else span[o]
            for lane in range(here):
                result, shift = total[0, o, lane] / n_member, total[1, o, lane] / n_member
                if arithmetic and power[o]:
                    mean[o, start + lane] = (first[o, lane] + shift) * factor
                elif deviate and not power[o]:
                    mean[o, start + lane] = top[o] - span[o] * (first[o, lane] + shift)
                else:
                    mean[o, start + lane] = top[o] - span[o] * result
                if deviate:
                    variance = (total[2, o, lane] - total[1, o, lane] * shift) / (n_member - 1)
                    deviation[o, start + lane] = np.sqrt(max(variance, 0.0)) * factor
    return mean, deviation


@fused_kernel
def _hidden(x: Floats, w: Floats, b: float, h: Floats) -> None:
    like = h[0]
    w0, w1, w2 = w[0], w[1], w[2]
    if w.size == 3:
        for lane in range(LANES):
            h[lane] = _tanh(b + w0 * x[0, lane] + w1 * x[1, lane] + w2 * x[2, lane], like)
        return
    w3 = w[3]
    if w.size == 4:
        for lane in range(LANES):
            h[lane] = _tanh(b + w0 * x[0, lane] + w1 * x[1, lane] + w2 * x[2, lane] + w3 * x[3, lane], like)
        return
    w4, w5 = w[4], w[5]
    for lane in range(LANES):
        z = b + w0 * x[0, lane] + w1 * x[1, lane] + w2 * x[2, lane]
        h[lane] = _tanh(z + w3 * x[3, lane] + w4 * x[4, lane] + w5 * x[5, lane], like)


@fused_kernel
def _six(w: Floats) -> Six:
    """As scalars, which stay in registers."""
    return w[0], w[1], w[2], w[3], w[4], w[5]


@fused_kernel
def _output(h: Floats, lane: int, w: Six, b: float) -> Any:
    z = b + w[0] * h[0, lane] + w[1] * h[1, lane] + w[2] * h[2, lane]
    return _logistic(z + w[3] * h[3, lane] + w[4] * h[4, lane] + w[5] * h[5, lane])


@fused_kernel
def _add_results(h: Floats, weights: Floats, b: float, total: Floats) -> None:
    w = _six(weights)
    for lane in range(LANES):
        total[lane] += _output(h, lane, w, b)


@fused_kernel
def _add_values(h: Floats, weights: Floats, b: float, rate: float, total: Floats) -> None:
    w = _six(weights)
    for lane in range(LANES):
        total[lane] += exp2(rate * _output(h, lane, w, b))


@fused_kernel
def _values(h: Floats, weights: Floats, b: float, rate: float, power: bool, values: Floats) -> None:
    """Of one member, in units of their largest."""
    w = _six(weights)
    for lane in range(LANES):
        result = _output(h, lane, w, b)
        values[lane] = exp2(rate * result) if power else result


@fused_kernel
def _add_moments(
    h: Floats, weights: Floats, b: float, rate: float, power: bool, first: Floats, deltas: Floats, squares: Floats
) -> None:
    w = _six(weights)
    if power:
        for lane in range(LANES):
            d = exp2(rate * _output(h, lane, w, b)) - first[lane]
            deltas[lane] += d
            squares[lane] += d * d
        return
    for lane in range(LANES):
        d = _output(h, lane, w, b) - first[lane]
        deltas[lane] += d
        squares[lane] += d * d


@fused_kernel
def _add_results_and_moments(
    h: Floats, weights: Floats, b: float, rate: float, first: Floats, results: Floats, deltas: Floats, squares: Floats
) -> None:
    w = _six(weights)
    for lane in range(LANES):
        result = _output(h, lane, w, b)
        d = exp2(rate * result) - first[lane]
        results[lane] += result
        deltas[lane] += d
        squares[lane] += d * d
