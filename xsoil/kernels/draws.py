"""Random numbers without a state: the n-th number of a stream is a hash of the stream and n.

A stream belongs to a seed and a key (of a cell, say), so that what a cell draws depends neither on its neighbours nor
on the order of the work. The hash is the output function of SplitMix64 [1]_, whose sequence every stream enters
at a place of its own.

References
----------
.. [1] Steele, Lea & Flood (2014), Fast splittable pseudorandom number generators, OOPSLA, doi:10.1145/2660193.2660195.
.. [2] Giles (2012), Approximating the erfinv function, GPU Computing Gems, table 5.
"""

from __future__ import annotations

import math

import numpy as np

from xsoil.jit import kernel
from xsoil.kernels.elementary import log

__all__ = ["normals", "stream", "uniform"]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_HALF = 0.5
# Central and outer polynomial of erfinv(x) / x, constant term last.
_CENTRE = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503, -0.00417768164,
    0.246640727, 1.50140941,
)  # fmt: skip
_TAIL = (
    -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047,
    1.00167406, 2.83297682,
)  # fmt: skip
_C0, _C1, _C2, _C3, _C4, _C5, _C6, _C7, _C8 = _CENTRE
_T0, _T1, _T2, _T3, _T4, _T5, _T6, _T7, _T8 = _TAIL
_ROOT_TWO = math.sqrt(2.0)


@kernel
def _mixed(x):
    x = (x ^ (x >> np.uint64(30))) * _FIRST
    x = (x ^ (x >> np.uint64(27))) * _SECOND
    return x ^ (x >> np.uint64(31))


@kernel
def stream(seed, key, part):
    """The stream of a seed, a key and a part of the work (integers)."""
    place = _mixed(np.uint64(seed) + _STEP)
    place = _mixed(place ^ (np.uint64(key) * _STEP + _FIRST))
    return _mixed(place ^ (np.uint64(part) * _STEP + _SECOND))


@kernel
def _number(place, index):
    return _mixed(place + (np.uint64(index) + np.uint64(1)) * _STEP)


@kernel
def uniform(place, index):
    """Number `index` of a stream, between 0 and 1 and neither of them."""
    return (np.int64(_number(place, index) >> np.uint64(12)) + _HALF) * 2.0**-52


@kernel
def normals(place, first, out):
    """Fill `out` (1-D) with numbers `first`, `first` + 1, ... of a stream, normal with mean 0 and variance 1.

    The inverse of the error function is good to single precision [2]_ and limits them to +-5.4.
    """
    for i in range(out.size):
        u = (np.int64(_number(place, np.uint64(first) + np.uint64(i)) >> np.uint64(40)) + _HALF) * 2.0**-24
        w = -log(4.0 * u * (1.0 - u))
        c = w - 2.5
        t = math.sqrt(w) - 3.0
        centre = ((((((((_C0 * c + _C1) * c + _C2) * c + _C3) * c + _C4) * c + _C5) * c + _C6) * c) + _C7) * c + _C8
        tail = ((((((((_T0 * t + _T1) * t + _T2) * t + _T3) * t + _T4) * t + _T5) * t + _T6) * t) + _T7) * t + _T8
        out[i] = _ROOT_TWO * (2.0 * u - 1.0) * (centre if w < 5.0 else tail)
