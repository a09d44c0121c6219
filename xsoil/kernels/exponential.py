"""Powers of two that vectorise: calls of the C library would run one cell at a time.

The number is split into a whole and a fraction in -1/2..1/2, whose power is a polynomial of our own (least squares of
the relative error with Lawson's weights); the whole is added to the exponent's bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xsoil.jit import bits_of, by_precision, number_of

__all__ = ["exp2"]

# Adding 1.5 times the largest number with a fraction rounds to a whole, which then stands in the lowest bits.
_SINGLE_ROUND, _DOUBLE_ROUND = np.float32(12582912.0), 6755399441055744.0
_SINGLE_SHIFT, _DOUBLE_SHIFT = np.int32(23), np.int64(52)
_S0, _S1, _S2, _S3, _S4, _S5 = (
    np.float32(c) for c in (1.0, 0.693147004, 0.240222439, 0.0555071048, 9.67126992e-3, 1.32647261e-3)
)
_D0, _D1, _D2, _D3, _D4, _D5 = (
    1.0,
    0.69314718055995,
    0.24022650695910097,
    0.05550410866444772,
    0.009618129107606888,
    0.0013333558230164974,
)
_D6, _D7, _D8, _D9, _D10 = (
    0.0001540353044173605,
    1.5252657260200837e-05,
    1.321544258792169e-06,
    1.0208690299958306e-07,
    7.072585949269224e-09,
)


def _exp2_single(x: Any) -> Any:
    rounded = x + _SINGLE_ROUND
    f = x - (rounded - _SINGLE_ROUND)
    power = ((((_S5 * f + _S4) * f + _S3) * f + _S2) * f + _S1) * f + _S0
    return number_of(np.int32(bits_of(power) + np.int32(bits_of(rounded) << _SINGLE_SHIFT)))


def _exp2_double(x: Any) -> Any:
    rounded = x + _DOUBLE_ROUND
    f = x - (rounded - _DOUBLE_ROUND)
    high = ((((_D10 * f + _D9) * f + _D8) * f + _D7) * f + _D6) * f + _D5
    power = ((((high * f + _D4) * f + _D3) * f + _D2) * f + _D1) * f + _D0
    return number_of(bits_of(power) + (bits_of(rounded) << _DOUBLE_SHIFT))


exp2 = by_precision(_exp2_single, _exp2_double)
"""2 ** x inside kernels, for float32 |x| < 125 within 2e-7, for float64 |x| < 1000 within 1e-15 (relative).

Beyond, and for NaN, the result is meaningless: limit x before.
"""
