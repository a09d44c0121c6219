"""Columns gathered for runs, and rows picked from what they gave."""

from __future__ import annotations

from xsoil.jit import kernel

__all__ = ["gather", "pick"]


@kernel
def gather(series, cells, first, out):
    """Fill `out` (time, columns) with the columns `cells`[first:] of `series` (time, all cells)."""
    for t in range(out.shape[0]):
        to, row = out[t], series[t]
        for i in range(to.size):
            to[i] = row[cells[first + i]]


@kernel
def pick(series, rows, scale, bias, first, out):
    """Columns `first` on of `out` (rows, all columns) <- scale x the `rows` of `series` (time, columns) + bias."""
    for r in range(rows.size):
        row, to = series[rows[r]], out[r]
        for i in range(row.size):
            to[first + i] = scale[first + i] * row[i] + bias[first + i]
