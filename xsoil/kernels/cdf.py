"""Matching of distributions, series by series: percentiles of both, joined by straight lines."""

from __future__ import annotations

import numpy as np

from xsoil.jit import kernel

__all__ = ["match"]

Array = np.ndarray


@kernel
def _percentiles(data, count, wanted, out):
    """Percentiles of the first `count` of sorted `data`, ranks at the middle of the steps; repeated ones spread out.

    Where several percentiles are one value, all but the first are put on the line to the next value (at the upper
    end: all but the last on the line from the one below), so that the values increase strictly. Returns whether they
    do: not where all are one value.
    """
    last = wanted.size - 1
    for i in range(wanted.size):
        rank = min(max(wanted[i] * count / 100.0 - 0.5, 0.0), count - 1.0)
        j = min(np.int64(rank), max(count - 2, 0))
        high = data[min(j + 1, count - 1)]
        out[i] = data[j] + (rank - j) * (high - data[j])
    if out[last] <= out[0]:
        return False
    first = 0
    while first < last:
        # the next other value, at its first place; the uppermost value stands at the last percentile
        nxt = first + 1
        while nxt < last and out[nxt] <= out[first]:
            nxt += 1
        end = last if out[nxt] >= out[last] else nxt
        if end > first + 1:
            low, high = out[first], out[end]
            for i in range(first + 1, end):
                out[i] = low + (wanted[i] - wanted[first]) / (wanted[end] - wanted[first]) * (high - low)
        first = end
    return True


@kernel
def _steps(wanted, samples, least, out):
    """The percentiles to use, as many as leave `least` samples in each bin; their number."""
    smallest = 100.0
    for i in range(1, wanted.size):
        smallest = min(smallest, wanted[i] - wanted[i - 1])
    bins = wanted.size - 1
    if samples * smallest / 100.0 >= least:
        out[: bins + 1] = wanted
        return bins + 1
    bins = min(max(np.int64(samples / least), 1), bins)
    for i in range(bins + 1):
        out[i] = i / bins * 100.0
    return bins + 1


@kernel
def match(
    source: Array, sources: Array, reference: Array, references: Array, values: Array, wanted: Array, least: int,
    fewest: int, extrapolate: bool, out: Array,
) -> None:  # fmt: skip
    """Write `values`, moved from the distribution of the source to that of the reference, to `out`.

    Parameters
    ----------
    source, reference : (rows, samples) float64
        Sorted, missing ones at the end.
    sources, references : (rows,) int64
        How many are not missing.
    values, out : (rows, times) float64
    wanted : (percentiles,) float64
        From 0 to 100.
    least : int
        Samples in a bin; 0 for any number.
    fewest : int
        Samples of either below which a row has no result.
    extrapolate : bool
        Go on along the outermost lines, else stay at the outermost values.
    """
    x, y, steps = np.empty(wanted.size), np.empty(wanted.size), np.empty(wanted.size)
    for row in range(values.shape[0]):
        out[row] = np.nan
        samples = min(sources[row], references[row])
        if samples < max(fewest, 1):
            continue
        count = _steps(wanted, samples, least, steps)
        if not _percentiles(source[row], sources[row], steps[:count], x[:count]):
            continue
        _percentiles(reference[row], references[row], steps[:count], y[:count])
        for t in range(values.shape[1]):
            value = values[row, t]
            if not np.isfinite(value):
                continue
            if not extrapolate:
                value = min(max(value, x[0]), x[count - 1])
            low, high = 0, count - 1
            while high - low > 1:
                middle = (low + high) // 2
                if x[middle] <= value:
                    low = middle
                else:
                    high = middle
            out[row, t] = y[low] + (value - x[low]) / (x[high] - x[low]) * (y[high] - y[low])
