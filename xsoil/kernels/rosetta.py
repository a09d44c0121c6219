"""The bootstrap ensembles of Rosetta over many soils: all members of a block of cells in one pass.

A member is a network of six hidden units whose activations are hyperbolic tangents (`xsoil.ptfs.rosetta`
folds sigmoids into the weights). The members' results are summed, never stored.

Cells go through in blocks of `LANES`, the last one padded, so that a cell meets the same instructions wherever it
stands: its result does not depend on the cells that share the call. A block and its sums lie in the L1 cache
(28 kB); the weights stream past it from L2. That, and 60 kB of double-precision sums, is the memory of a call.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsoil.jit import by_precision, fused_kernel, kernel

__all__ = ["LANES", "ensemble"]

Floats = NDArray[np.floating[Any]]

LANES = 512
_HIDDEN = 6
_MEMBERS_PER_SUM = 20  # sums in single precision stay short: they round to less than 1e-7 of a mean

# tanh(x) = x P(x^2) / Q(x^2) on |x| <= 8, our own least-squares fit (Lawson's weights): within 6e-9, and 3e-7 with the
# rounding of single precision. 1 - tanh(8) = 2e-7.
_EDGE = np.float32(8.0)
_P0, _P1, _P2, _P3, _P4 = (np.float32(c) for c in (0.99999997, 0.13438188, 3.5641524e-3, 2.1773183e-5, 1.5061723e-8))
_ONE, _Q1, _Q2, _Q3, _Q4 = (np.float32(c) for c in (1.0, 0.46771509, 2.6136014e-2, 3.3991732e-4, 8.4536264e-7))


@fused_kernel
def _exp(x: float) -> float:
    """e^x for |x| < 40 to 1e-13: Taylor's series at x/256, squared eight times. A call of libm would not vectorise."""
    y = x * 0.00390625
    e = y * 2.755731922398589e-07 + 2.7557319223985893e-06
    e = e * y + 2.48015873015873e-05
    e = e * y + 0.0001984126984126984
    e = e * y + 0.001388888888888889
    e = e * y + 0.008333333333333333
    e = e * y + 0.041666666666666664
    e = e * y + 0.16666666666666666
    e = e * y + 0.5
    e = e * y + 1.0
    e = e * y + 1.0
    e = e * e
    e = e * e
    e = e * e
    e = e * e
    e = e * e
    e = e * e
    e = e * e
    return e * e


def _tanh_single(x: Any) -> Any:
    x = min(max(x, -_EDGE), _EDGE)
    t = x * x
    return (
        x * ((((_P4 * t + _P3) * t + _P2) * t + _P1) * t + _P0) / ((((_Q4 * t + _Q3) * t + _Q2) * t + _Q1) * t + _ONE)
    )


def _tanh_double(x: Any) -> Any:
    return 1.0 - 2.0 / (1.0 + _exp(2.0 * min(max(x, -18.0), 18.0)))


_tanh = by_precision(_tanh_single, _tanh_double)


@kernel
def ensemble(
    inputs: Floats,
    w1: Floats,
    b1: Floats,
    w2: Floats,
    b2: Floats,
    scale: NDArray[np.float64],
    offset: NDArray[np.float64],
    power: NDArray[np.bool_],
    moments: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Means over the members, and on request the means and standard deviations of 10 to their power.

    Parameters
    ----------
    inputs : ndarray (input, cell)
        Inputs of the network, float32 or float64: the precision of the calculation.
    w1, b1, w2, b2 : ndarray (member, 6, 3 or 6), (member, 6), (member, output, 6), (member, output)
        Weights and biases of the hidden and of the output layer, of the type of `inputs`. The weights of
        4 or 5 inputs are filled up to 6 with zeros.
    scale, offset : ndarray (output,)
        Result = scale * tanh(...) + offset.
    power : ndarray (output,)
        Which results are decimal logarithms.
    moments : bool
        Whether the second and third array are calculated.

    Returns
    -------
    mean : ndarray (output, cell)
        Mean of the results (of the logarithms where `power`).
    arithmetic, deviation : ndarray (output, cell), or (output, 0) without `moments`
        Mean and standard deviation (n - 1) of the values themselves.
    """
    n_input, n_cell = inputs.shape
    n_member, n_output = b2.shape
    mean = np.empty((n_output, n_cell), np.float64)
    kept = n_cell if moments else 0
    arithmetic = np.empty((n_output, kept), np.float64)
    deviation = np.empty((n_output, kept), np.float64)
    x = np.zeros((w1.shape[2], LANES), inputs.dtype)
    h = np.empty((_HIDDEN, LANES), inputs.dtype)
    y = np.empty(LANES, inputs.dtype)
    part = np.empty((n_output, LANES), inputs.dtype)
    total = np.empty((n_output, LANES), np.float64)
    first = np.empty((n_output, LANES), np.float64)
    deltas = np.empty((n_output, LANES), np.float64)
    squares = np.empty((n_output, LANES), np.float64)
    for start in range(0, n_cell, LANES):
        here = min(LANES, n_cell - start)
        for i in range(n_input):
            for lane in range(LANES):
                x[i, lane] = inputs[i, start + min(lane, here - 1)]
        total[:] = 0.0
        deltas[:] = 0.0
        squares[:] = 0.0
        for group in range(0, n_member, _MEMBERS_PER_SUM):
            part[:] = 0.0
            for k in range(group, min(group + _MEMBERS_PER_SUM, n_member)):
                for j in range(_HIDDEN):
                    _hidden(x, w1[k, j], b1[k, j], h[j])
                for o in range(n_output):
                    if not moments:
                        _add_output(h, w2[k, o], b2[k, o], part[o])
                    else:
                        _output(h, w2[k, o], b2[k, o], y)
                        for lane in range(LANES):
                            part[o, lane] += y[lane]
                        _moments(y, scale[o], offset[o], power[o], k == 0, first[o], deltas[o], squares[o])
            for o in range(n_output):
                for lane in range(LANES):
                    total[o, lane] += part[o, lane]
        for o in range(n_output):
            for lane in range(here):
                mean[o, start + lane] = total[o, lane] / n_member * scale[o] + offset[o]
                if moments:
                    shift = deltas[o, lane] / n_member
                    arithmetic[o, start + lane] = first[o, lane] + shift
                    variance = (squares[o, lane] - deltas[o, lane] * shift) / (n_member - 1)
                    deviation[o, start + lane] = np.sqrt(max(variance, 0.0))
    return mean, arithmetic, deviation


@fused_kernel
def _hidden(x: Floats, w: Floats, b: float, h: Floats) -> None:
    w0, w1, w2 = w[0], w[1], w[2]
    if w.size == 3:
        for lane in range(LANES):
            h[lane] = _tanh(b + w0 * x[0, lane] + w1 * x[1, lane] + w2 * x[2, lane])
        return
    w3, w4, w5 = w[3], w[4], w[5]
    for lane in range(LANES):
        z = b + w0 * x[0, lane] + w1 * x[1, lane] + w2 * x[2, lane]
        h[lane] = _tanh(z + w3 * x[3, lane] + w4 * x[4, lane] + w5 * x[5, lane])


@fused_kernel
def _output(h: Floats, w: Floats, b: float, y: Floats) -> None:
    w0, w1, w2, w3, w4, w5 = w[0], w[1], w[2], w[3], w[4], w[5]
    for lane in range(LANES):
        z = b + w0 * h[0, lane] + w1 * h[1, lane] + w2 * h[2, lane]
        y[lane] = _tanh(z + w3 * h[3, lane] + w4 * h[4, lane] + w5 * h[5, lane])


@fused_kernel
def _add_output(h: Floats, w: Floats, b: float, total: Floats) -> None:
    w0, w1, w2, w3, w4, w5 = w[0], w[1], w[2], w[3], w[4], w[5]
    for lane in range(LANES):
        z = b + w0 * h[0, lane] + w1 * h[1, lane] + w2 * h[2, lane]
        total[lane] += _tanh(z + w3 * h[3, lane] + w4 * h[4, lane] + w5 * h[5, lane])


@fused_kernel
def _moments(
    y: Floats,
    scale: float,
    offset: float,
    power: bool,
    is_first: bool,
    first: NDArray[np.float64],
    deltas: NDArray[np.float64],
    squares: NDArray[np.float64],
) -> None:
    """Add one member: sums of the differences from the first member, so that nothing cancels."""
    for lane in range(LANES):
        value = scale * y[lane] + offset
        if power:
            value = _exp(2.302585092994046 * value)
        if is_first:
            first[lane] = value
        d = value - first[lane]
        deltas[lane] += d
        squares[lane] += d * d
