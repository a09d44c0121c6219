"""One statistic of one target cell, from the keys and weights of the pixels that overlap it; compiled."""

# numba infers the types of what it compiles:
# mypy: allow-untyped-defs, allow-incomplete-defs

from __future__ import annotations

import numpy as np

from xsoil.grids import order_kernels as order
from xsoil.jit import kernel


@kernel
def deviation(keys, weights, n, missing, spot, number):
    """Population standard deviation: first the mean (about a value of it), then the squares about it."""
    anchor, total, whole = np.nan, 0.0, 0.0
    for i in range(n):
        if weights[i] > 0:
            v, w = order.value_of(keys[i], missing, spot, number), np.float64(weights[i])
            anchor = v if anchor != anchor else anchor
            total += w * (v - anchor)
            whole += w
    mean, squares = anchor + total / whole, 0.0
    for i in range(n):
        if weights[i] > 0:
            squares += weights[i] * (order.value_of(keys[i], missing, spot, number) - mean) ** 2
    return np.sqrt(squares / whole)


@kernel
def statistic(
    keys, floats, weights, n, how, q, missing, spot, number, classed, counts, places, class_keys, tally, slots, slot,
    met, unseen, out,
):  # fmt: skip
    """The statistic of the first n keys (n is from `pad`), not all of them missing, into `out`; returns `unseen` for
    the next cell: in how many cells repeated values need not be looked for."""
    if how == order.QUANTILE:
        out[0] = order.quantile_of(keys, weights, n, q, missing, spot, number)
    elif how == order.STD:
        out[0] = deviation(keys, weights, n, missing, spot, number)
    else:
        most_class = order.classes_of(keys, floats, n, classed, missing)
        if most_class >= 0:
            order.count_classes(classed, weights, n, most_class, counts)
            if how == order.MODE:
                out[0] = order.mode_of_counts(counts, most_class)
            else:
                order.fractions_of_counts(counts, most_class, places, out)
        elif how == order.MODE:
            # Where no value is there twice nothing is to be merged; where one is, the next cells are alike.
            twins = n > order.SHORT or unseen > 0
            unseen -= 1
            if not twins:
                twins = order.have_twins(keys, n, missing, slots, slot, met)
                unseen = order.UNSEEN if twins else 0
            if twins:
                order.merge(keys, weights, n, tally)
            best = order.widest(keys, weights, n, missing)
            out[0] = order.value_of(best, missing, spot, number)
        else:
            order.fractions_of(keys, weights, n, class_keys, tally, out)
    return unseen
