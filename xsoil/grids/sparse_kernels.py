"""The compiled product of a weight matrix with a window of the source."""

from __future__ import annotations

import numpy as np

from xsoil.jit import kernel


@kernel
def weighted_sums(
    values: np.ndarray,
    pointer: np.ndarray,
    column: np.ndarray,
    weight: np.ndarray,
    cells: np.ndarray,
    width: int,
    lies: tuple[int, int, int, int],
    skip_missing: bool,
    first: int,
    last: int,
    total: np.ndarray,
    share: np.ndarray,
) -> None:
    """Sums of weight x value and of the weights of valid values, for `cells[first:last]`, in the order of the matrix.

    `lies` is (row, row step, column, column step): the place of the file's first cell in the window.
    """
    layers = values.shape[0]
    row, row_step, col, col_step = lies
    for n in range(first, last):
        start, stop = pointer[cells[n]], pointer[cells[n] + 1]
        for k in range(layers):
            total[k, n] = 0.0 if stop > start else np.nan
            share[k, n] = 0.0
        for e in range(start, stop):
            i = column[e] // width
            r = row + row_step * i
            c = (col + col_step * (column[e] - i * width)) % width
            w = weight[e]
            for k in range(layers):
                v = np.float64(values[k, r, c])
                if np.isnan(v):
                    if not skip_missing:
                        total[k, n] = np.nan
                else:
                    total[k, n] += w * v
                    share[k, n] += w
