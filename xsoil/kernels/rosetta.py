"""The bootstrap ensembles of Rosetta over many soils: all members of a block of cells in one pass.

A member is a network of six hidden units whose activations are hyperbolic tangents and of outputs that are
logistic (`xsoil.ptfs.rosetta` folds the scalings and the base of the exponential into the weights). The members'
results are summed, never stored.

Cells go through in blocks of `LANES`, the last one padded, so that a cell meets the same instructions wherever it
stands: its result does not depend on the cells that share the call. A block with its sums is 120 to 200 kB; the
weights stream past it. That is the memory of a call.

Three precisions: all single, all double, or mixed: the sums over the inputs in double, where steep members cancel large
numbers, and all that follows in single.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsoil.jit import by_precision, fused_kernel, kernel
from xsoil.kernels.exponential import exp2

__all__ = ["LANES", "ensemble"]

Floats = NDArray[np.floating[Any]]
Six = tuple[Any, Any, Any, Any, Any, Any]

LANES = 512
_HIDDEN = 6
_LINE = 64  # bytes
_MEMBERS_PER_SUM = 20  # sums in single precision stay short: they round to less than 1e-7 of a mean

# tanh(x) = x P(x^2) / Q(x^2), our own fit (least squares with Lawson's weights, within 3e-8 up to 1 - tanh(9)), then
# moved by a few units in the last place to where single precision is least biased: within 2.5e-7, 6e-8 in the mean.
_EDGE = np.float32(9.0)
_P0, _P1, _P2, _P3, _P4 = (
    np.float32(c) for c in (0.99999988, 0.133731976, 3.48657975e-3, 2.04718199e-5, 1.31842048e-8)
)
_ONE, _Q1, _Q2, _Q3, _Q4 = (np.float32(c) for c in (1.0, 0.467064947, 2.58419737e-2, 3.27138259e-4, 7.70266354e-7))
_LOG2_10 = 3.321928094887362
_SINGLE_LIMIT, _DOUBLE_LIMIT = np.float32(60.0), 60.0


def _tanh_single(x: Any) -> Any:
    x = min(max(x, -_EDGE), _EDGE)
    t = x * x
    u = t * t
    p = (_P4 * t + _P3) * u + (_P2 * t + _P1)
    q = (_Q4 * t + _Q3) * u + (_Q2 * t + _Q1)
    return x * (p * t + _P0) / (q * t + _ONE)


def _tanh_double(x: Any) -> Any:
    return 1.0 - 2.0 / (1.0 + exp2(min(max(2.8853900817779268 * x, -_DOUBLE_LIMIT), _DOUBLE_LIMIT)))


def _logistic_single(x: Any) -> Any:
    return _ONE / (_ONE + exp2(min(max(x, -_SINGLE_LIMIT), _SINGLE_LIMIT)))


def _logistic_double(x: Any) -> Any:
    return 1.0 / (1.0 + exp2(min(max(x, -_DOUBLE_LIMIT), _DOUBLE_LIMIT)))


_logistic = by_precision(_logistic_single, _logistic_double)
_tanh = by_precision(_tanh_single, _tanh_double)


@kernel
def _rows(number: int, like: Floats) -> Floats:
    """Zeros (number, LANES) that begin with a cache line: vectors that lie in two of them load half as fast."""
    space = np.zeros(number * LANES + _LINE, like.dtype)
    skip = -space.ctypes.data % _LINE // space.itemsize
    return space[skip : skip + number * LANES].reshape(number, LANES)


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
        Weights and biases of the hidden layer, of the type of `inputs`: the precision of its sums over the inputs. The
        weights of 5 inputs are filled up to 6 with zeros.
    w2, b2 : ndarray (member, output, 6), (member, output)
        Those of the output layer; their type is the precision of all but those sums.
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
    x = _rows(w1.shape[2], w1)
    h = _rows(_HIDDEN, w2)
    units = h.reshape(-1)
    member = _rows(1, w2)[0]
    # Sums of what the mean is that of; for deviations those of values and of their squares too, as differences from the
    # first member's: nothing cancels.
    n_sum = 3 if deviate else 1
    part = _rows(n_sum * n_output, w2).reshape(n_sum, n_output, LANES)
    total = np.empty((n_sum, n_output, LANES), np.float64)
    first = _rows(n_output, w2)
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
                    _linear(x, w1[k, j], b1[k, j], h[j])
                _activate(units)
                for o in range(n_output):
                    if not deviate and not (power[o] and arithmetic):
                        _add_results(h, w2[k, o], b2[k, o], part[0, o])
                        continue
                    _results(h, w2[k, o], b2[k, o], member)
                    if not deviate:
                        _add_values(member, rate[o], part[0, o])
                        continue
                    if k == 0:
                        _values(member, rate[o], power[o], first[o])
                    _add_moments(member, rate[o], power[o], first[o], part[1, o], part[2, o])
                    if power[o] and not arithmetic:
                        _add(member, part[0, o])
            for m in range(n_sum):
                for o in range(n_output):
                    for lane in range(LANES):
                        total[m, o, lane] += part[m, o, lane]
        for o in range(n_output):
            factor = 10.0 ** top[o] if power[o] else span[o]
            for lane in range(here):
                average = total[0, o, lane] / n_member
                if deviate:
                    shift = total[1, o, lane] / n_member
                    if arithmetic or not power[o]:
                        average = first[o, lane] + shift
                    variance = (total[2, o, lane] - total[1, o, lane] * shift) / (n_member - 1)
                    deviation[o, start + lane] = np.sqrt(max(variance, 0.0)) * factor
                mean[o, start + lane] = average * factor if arithmetic and power[o] else top[o] - span[o] * average
    return mean, deviation


@fused_kernel
def _linear(x: Floats, w: Floats, b: float, z: Floats) -> None:
    w0, w1, w2 = w[0], w[1], w[2]
    if w.size == 3:
        for lane in range(LANES):
            z[lane] = (b + w0 * x[0, lane]) + (w1 * x[1, lane] + w2 * x[2, lane])
        return
    w3 = w[3]
    if w.size == 4:
        for lane in range(LANES):
            z[lane] = (b + w0 * x[0, lane] + w1 * x[1, lane]) + (w2 * x[2, lane] + w3 * x[3, lane])
        return
    w4, w5 = w[4], w[5]
    for lane in range(LANES):
        left = b + w0 * x[0, lane] + w1 * x[1, lane] + w2 * x[2, lane]
        z[lane] = left + (w3 * x[3, lane] + w4 * x[4, lane] + w5 * x[5, lane])


# What comes next is split where a chain of dependent operations gets long: processors look only so far ahead.
@fused_kernel
def _activate(units: Floats) -> None:
    for i in range(_HIDDEN * LANES):
        units[i] = _tanh(units[i])


@fused_kernel
def _six(w: Floats) -> Six:
    """As scalars, which stay in registers."""
    return w[0], w[1], w[2], w[3], w[4], w[5]


@fused_kernel
def _output(h: Floats, lane: int, w: Six, b: float) -> Any:
    z = (b + w[0] * h[0, lane] + w[1] * h[1, lane]) + (w[2] * h[2, lane] + w[3] * h[3, lane])
    return _logistic(z + (w[4] * h[4, lane] + w[5] * h[5, lane]))


@fused_kernel
def _results(h: Floats, weights: Floats, b: float, results: Floats) -> None:
    w = _six(weights)
    for lane in range(LANES):
        results[lane] = _output(h, lane, w, b)


@fused_kernel
def _add_results(h: Floats, weights: Floats, b: float, total: Floats) -> None:
    w = _six(weights)
    for lane in range(LANES):
        total[lane] += _output(h, lane, w, b)


@fused_kernel
def _add(results: Floats, total: Floats) -> None:
    for lane in range(LANES):
        total[lane] += results[lane]


@fused_kernel
def _add_values(results: Floats, rate: float, total: Floats) -> None:
    for lane in range(LANES):
        total[lane] += exp2(rate * results[lane])


@fused_kernel
def _values(results: Floats, rate: float, power: bool, values: Floats) -> None:
    """Of one member, in units of their largest."""
    for lane in range(LANES):
        values[lane] = exp2(rate * results[lane]) if power else results[lane]


@fused_kernel
def _add_moments(results: Floats, rate: float, power: bool, first: Floats, deltas: Floats, squares: Floats) -> None:
    if power:
        for lane in range(LANES):
            d = exp2(rate * results[lane]) - first[lane]
            deltas[lane] += d
            squares[lane] += d * d
        return
    for lane in range(LANES):
        d = results[lane] - first[lane]
        deltas[lane] += d
        squares[lane] += d * d
