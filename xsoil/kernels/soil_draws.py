"""Random soils between the quantiles of a map, cell by cell.

A property is a normal number on a scale without bounds, bent at its median so that it meets three quantiles. The
fractions of a texture share two normal numbers: their deviations are three vectors that add up to nothing, as those of
parts of a whole must.
"""

from __future__ import annotations

import math

import numpy as np

from xsoil.jit import kernel
from xsoil.kernels.draws import normals, stream
from xsoil.kernels.elementary import exp, log

__all__ = ["LINEAR", "LOG", "LOGIT", "draw", "draw_texture"]

Array = np.ndarray

LINEAR, LOG, LOGIT = 0, 1, 2
"""Scales: as it is; logarithm above a lower bound; logit between two bounds."""


@kernel
def _unbounded(value, scale, low, high, least):
    if scale == LINEAR:
        return value
    if scale == LOG:
        return log(max(value - low, least))
    part = min(max(value - low, least), high - low - least)
    return log(part / (high - low - part))


@kernel
def _bounded(value, scale, low, high):
    if scale == LINEAR:
        return value
    if scale == LOG:
        return low + exp(value)
    return low + (high - low) / (1.0 + exp(-value))


@kernel
def _lawful(quantiles, c, low, high):
    """Three rising numbers within the bounds; NaN is not."""
    return low <= quantiles[0, c] <= quantiles[1, c] <= quantiles[2, c] <= high


@kernel
def _line(quantiles, c, scores, scale, low, high, least):
    """Median and the slopes below and above it, on the scale without bounds, by the normal score."""
    a = _unbounded(quantiles[0, c], scale, low, high, least)
    b = _unbounded(quantiles[1, c], scale, low, high, least)
    d = _unbounded(quantiles[2, c], scale, low, high, least)
    return b, (b - a) / -scores[0], (d - b) / scores[1]


@kernel
def draw(
    quantiles: Array, scores: Array, scale: int, low: float, high: float, least: float, seed: int, part: int,
    keys: Array, first: int, out: Array,
) -> None:  # fmt: skip
    """Write draws `first`, `first` + 1, ... of one property to `out`.

    Parameters
    ----------
    quantiles : (3, cells) float64
        Lower quantile, median, upper quantile.
    scores : (2,) float64
        Normal scores of the outer two.
    scale : int
        `LINEAR`, `LOG` or `LOGIT`, between `low` and `high`; nothing comes nearer to them than `least`.
    seed, part : int
        Of the random numbers: a seed, and a number of the property.
    keys : (cells,) uint64
        Cells with one key draw the same.
    out : (draws, cells) float64
    """
    z = np.empty(out.shape[0])
    for c in range(out.shape[1]):
        if not _lawful(quantiles, c, low, high):
            out[:, c] = np.nan
            continue
        middle, below, above = _line(quantiles, c, scores, scale, low, high, least)
        normals(stream(seed, keys[c], part), first, z)
        for d in range(z.size):
            out[d, c] = _bounded(middle + z[d] * (below if z[d] < 0.0 else above), scale, low, high)


@kernel
def draw_texture(
    sand: Array, silt: Array, clay: Array, scores: Array, least: float, seed: int, part: int, keys: Array, first: int,
    out: Array,
) -> None:  # fmt: skip
    """As `draw`, of three fractions [percent] whose sum is 100; `out` is (3, draws, cells)."""
    z = np.empty(2 * out.shape[1])
    for c in range(out.shape[2]):
        if not (_lawful(sand, c, 0.0, 100.0) and _lawful(silt, c, 0.0, 100.0) and _lawful(clay, c, 0.0, 100.0)):
            out[:, :, c] = np.nan
            continue
        # Sides of a triangle, in percent: directions of the deviations of sand, silt and clay. Where one side is longer
        # than both others together the three lie on a line.
        a, b, g = sand[2, c] - sand[0, c], silt[2, c] - silt[0, c], clay[2, c] - clay[0, c]
        cosine = min(max((g * g - a * a - b * b) / (2.0 * a * b), -1.0), 1.0) if a > 0.0 and b > 0.0 else 0.0
        sine = math.sqrt(1.0 - cosine * cosine)
        x, y = -(a + b * cosine), -b * sine
        length = math.sqrt(x * x + y * y)
        if length > 0.0:
            x, y = x / length, y / length
        else:
            x, y = 1.0, 0.0
        m0, l0, h0 = _line(sand, c, scores, LOGIT, 0.0, 100.0, least)
        m1, l1, h1 = _line(silt, c, scores, LOGIT, 0.0, 100.0, least)
        m2, l2, h2 = _line(clay, c, scores, LOGIT, 0.0, 100.0, least)
        normals(stream(seed, keys[c], part), 2 * first, z)
        for d in range(out.shape[1]):
            z0 = z[2 * d]
            z1 = cosine * z0 + sine * z[2 * d + 1]
            z2 = x * z0 + y * z[2 * d + 1]
            p0 = 1.0 / (1.0 + exp(-(m0 + z0 * (l0 if z0 < 0.0 else h0))))
            p1 = 1.0 / (1.0 + exp(-(m1 + z1 * (l1 if z1 < 0.0 else h1))))
            p2 = 1.0 / (1.0 + exp(-(m2 + z2 * (l2 if z2 < 0.0 else h2))))
            scale = 100.0 / (p0 + p1 + p2)
            out[0, d, c], out[1, d, c], out[2, d, c] = p0 * scale, p1 * scale, p2 * scale
