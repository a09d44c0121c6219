"""Columns gathered for runs, and rows picked from what they gave."""

from __future__ import annotations

import numpy as np

from xsoil.jit import kernel

__all__ = ["gather", "pick"]


@kernel
def gather(series, cells, first, out):
    """Fill `out` (time, columns) with the columns `cells`[first:] of `series` (time, all cells)."""
    width = out.shape[1]
    chosen = np.empty(width, np.uint64)  # which cannot count from the end: a look-up without a branch
    for i in range(width):
        chosen[i] = cells[first + i]
    for t in range(out.shape[0]):
        to, row = out[t], series[t]
        for i in range(width):
            to[i] = row[chosen[i]]


@kernel
def pick(series, rows, scale, bias, first, out):
    """Columns `first` on of `out` (rows, all columns) <- scale x the `rows` of `series` (time, columns) + bias."""
    width = series.shape[1]
    by, more = scale[first : first + width], bias[first : first + width]
    for r in range(rows.size):
        row, to = series[rows[r]], out[r, first : first + width]
        for i in range(width):
            to[i] = by[i] * row[i] + more[i]
