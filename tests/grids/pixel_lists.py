"""Order statistics of target cells from explicit lists of pixels: how the tests call the kernels of `order_kernels`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsoil.grids import order_kernels as order
from xsoil.jit import kernel


@kernel
def _deviation(values, pixel, area, start, stop):
    """Population standard deviation of a list: first its mean (about a value of it), then the squares about it."""
    anchor, total, valid = np.nan, 0.0, 0.0
    for i in range(start, stop):
        v = np.float64(values[pixel[i]])
        known = (v == v) & (area[i] > 0.0)
        anchor = v if known & (anchor != anchor) else anchor
        total += area[i] * (v - anchor) if known else 0.0
        valid += area[i] if known else 0.0
    mean, squares = anchor + total / valid, 0.0
    for i in range(start, stop):
        v = np.float64(values[pixel[i]])
        squares += area[i] * (v - mean) ** 2 if (v == v) & (area[i] > 0.0) else 0.0
    return np.sqrt(squares / valid)


@kernel
def _reduce_lists(values, bits, indptr, pixel, area, how, q, classes, first, last, result, valid):
    number = np.empty(1, values.dtype)
    spot = number.view(bits.dtype)
    missing, infinite = order.largest(spot)
    class_keys, places = order.class_keys_of(classes, spot, number, missing, infinite), order.class_counts_of(classes)
    size = 1
    for cell in range(first, last):
        size = max(size, indptr[cell + 1] - indptr[cell])
    keys, weights, tally = order.scratch(bits, size, how != order.QUANTILE)
    floats, counts = keys.view(values.dtype), tally[0]
    part, classed = np.empty(size), np.empty(size, np.int32)
    for layer in range(values.shape[0]):
        for cell in range(first, last):
            n, total = 0, 0.0
            for i in range(indptr[cell], indptr[cell + 1]):
                key = order.key_of(bits[layer, pixel[i]], missing, infinite)
                known = (key != missing) & (area[i] > 0.0)
                keys[n], part[n] = key, area[i]
                total += area[i] if known else 0.0
                n += known
            valid[layer, cell] = total
            if n == 0:
                result[layer, :, cell] = np.nan
            elif how == order.STD:
                result[layer, 0, cell] = _deviation(values[layer], pixel, area, indptr[cell], indptr[cell + 1])
            else:
                for i in range(n):
                    weights[i] = np.int64(part[i] * (order.WHOLE / total))
                out = result[layer, :, cell]
                if how == order.QUANTILE:
                    out[0] = order.quantile_of(keys, weights, n, q, missing, spot, number)
                else:
                    most_class = order.classes_of(keys, floats, n, classed, missing)
                    if most_class >= 0:
                        order.count_classes(classed, weights, n, most_class, counts)
                        if how == order.MODE:
                            out[0] = order.mode_of_counts(counts, most_class)
                        else:
                            order.fractions_of_counts(counts, most_class, places, out)
                    elif how == order.MODE:
                        out[0] = order.mode_of(keys, weights, n, tally, missing, spot, number)
                    else:
                        order.fractions_of(keys, weights, n, class_keys, tally, out)


def reduce_lists(
    values: NDArray[Any],
    indptr: NDArray[np.int64],
    pixel: NDArray[Any],
    area: NDArray[np.float64],
    how: int,
    q: float,
    classes: NDArray[Any],
    first: int,
    last: int,
    result: NDArray[np.float64],
    valid: NDArray[np.float64],
) -> None:
    """Order statistics of target cells from the lists of the pixels that they overlap; the work is without the GIL.

    Parameters
    ----------
    values : ndarray (k, ny, nx), float32 or float64
        Source window in C order; NaN is missing, infinities are values.
    indptr : ndarray of int64 (cells + 1)
        ``indptr[c]:indptr[c + 1]`` is the list of cell c.
    pixel : ndarray of int64 or int32
        Row-major index in the window.
    area : ndarray of float64
        Overlap areas; entries of no area do not count.
    how : int
        QUANTILE, MODE, STD or FRACTION.
    q : float
        QUANTILE: the smallest value whose cumulative share of the valid area reaches q; where it does so within
        1e-9, the mean of that value and the next. 0 is the minimum, 1 the maximum.
    classes : ndarray
        FRACTION: the share of the valid area of each of these values (cast to the dtype of `values`).
    first, last : int
        Cells first..last - 1 are done.
    result : ndarray of float64 (k, classes or 1, cells)
        Written; NaN where nothing is valid. MODE: of areas within 1e-9 relative the smallest value.
    valid : ndarray of float64 (k, cells)
        Written: the valid area.
    """
    bits = values.view(np.int32 if values.dtype.itemsize == 4 else np.int64)
    flat, flat_bits = values.reshape(len(values), -1), bits.reshape(len(values), -1)
    classes = np.asarray(classes, values.dtype)
    _reduce_lists(flat, flat_bits, indptr, pixel, area, how, float(q), classes, first, last, result, valid)
