"""exp, expm1, log, log1p and selection in double precision that vectorise: calls of the C library would run one by one.

Arguments are reduced in the usual two ways, to |r| <= ln(2)/2 for powers and to sqrt(1/2)..sqrt(2) for logarithms; what
remains is a polynomial of our own (interpolation at Chebyshev points in 50 digits). Errors are below 4e-16 relative.
"""

from __future__ import annotations

from xsoil.jit import bits_of, kernel, number_of

__all__ = ["exp", "expm1", "log", "log1p", "where"]

# Adding 1.5 times the largest number with a fraction rounds to a whole, which then stands in the lowest bits.
_ROUND = 6755399441055744.0
_ROUND_BITS = 0x4338000000000000
_PER_LN2, _LN2_HIGH, _LN2_LOW = 1.4426950408889634, 0.6931471803691238, 1.9082149292705877e-10
# (exp(r) - 1 - r) / r^2
_E0, _E1, _E2, _E3, _E4 = 0.5, 0.1666666666666667, 0.04166666666662416, 0.008333333333330063, 0.0013888888917199863
_E5, _E6, _E7, _E8, _E9 = (
    0.00019841269863042963,
    2.4801521317484083e-05,
    2.7557268476553695e-06,
    2.7620078203806394e-07,
    2.5100377619606372e-08,
)
# (log((1 + s) / (1 - s)) / s - 2) / s^2 as a function of s^2
_L0, _L1, _L2, _L3, _L4, _L5, _L6 = (
    0.666666666666667,
    0.3999999999989924,
    0.2857142862609589,
    0.2222221111514416,
    0.18182890556695602,
    0.1533167403016786,
    0.1461703754879165,
)
_ROOT_HALF_BITS = 0x3FE6A09E667F3BCD


@kernel
def where(condition, yes, no):
    """`yes` if `condition` holds, else `no`: a selection, both are known."""
    return yes if condition else no


@kernel
def _parts(x):
    """2^k and exp(r) - 1 with x = k ln 2 + r; x is limited to where the result is a normal number."""
    limited = min(max(x, -708.0), 708.0)
    rounded = limited * _PER_LN2 + _ROUND
    k = rounded - _ROUND
    r = (limited - k * _LN2_HIGH) - k * _LN2_LOW
    high = (((_E9 * r + _E8) * r + _E7) * r + _E6) * r + _E5
    q = ((((high * r + _E4) * r + _E3) * r + _E2) * r + _E1) * r + _E0
    return number_of((bits_of(rounded) << 52) + 0x3FF0000000000000), r + r * r * q


@kernel
def exp(x):
    """e^x; beyond +-708 as there."""
    power, less = _parts(x)
    return power + power * less


@kernel
def expm1(x):
    """e^x - 1, exact to the last digits for small x."""
    power, less = _parts(x)
    return power * less + (power - 1.0)


@kernel
def _log(x, small):
    """log(x) for a normal x > 0; `small` = x - 1 is used instead of it where x rounds to about 1."""
    bits = bits_of(x)
    k = (bits - _ROOT_HALF_BITS) >> 52
    f = number_of(bits - (k << 52)) - 1.0
    f = small if k == 0 else f
    s = f / (2.0 + f)
    z = s * s
    p = (((((_L6 * z + _L5) * z + _L4) * z + _L3) * z + _L2) * z + _L1) * z + _L0
    return (number_of(k + _ROUND_BITS) - _ROUND) * 0.6931471805599453 + (2.0 * s + s * (z * p))


@kernel
def log(x):
    """Natural logarithm of a normal number above 0."""
    return _log(x, x - 1.0)


@kernel
def log1p(x):
    """log(1 + x) for x >= 0, exact to the last digits for small x."""
    return _log(1.0 + x, x)
