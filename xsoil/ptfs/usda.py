"""USDA texture classes (Soil Survey Manual; rules of PHYSICS.md, section 1.2)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["USDA_CLASSES", "usda_class"]

Floats = NDArray[np.floating[Any]]

USDA_CLASSES = (
    "sand", "loamy_sand", "sandy_loam", "loam", "silt_loam", "silt", "sandy_clay_loam", "clay_loam",
    "silty_clay_loam", "sandy_clay", "silty_clay", "clay",
)  # fmt: skip
"""Names of the classes 1 to 12; 0 is missing."""

# Fractions are compared as whole multiples of 1e-4 percent that sum to 100 exactly. So every texture has one
# class, and a limit that a unit conversion missed by a rounding (0.52 * 100 > 52) is still a limit.
_UNIT = 10_000
_BLOCK = 16_384  # cells whose temporaries stay in the L2 cache


def usda_class(sand: ArrayLike, silt: ArrayLike, clay: ArrayLike) -> NDArray[np.int8]:
    """Class of each texture in the USDA triangle.

    The twelve rules are a partition: every texture with non-negative fractions gets exactly one class.

    Parameters
    ----------
    sand, silt, clay : array_like
        Mass fractions of the fine earth [percent], of shapes that broadcast. Sums of 99 to 101 are scaled to 100.

    Returns
    -------
    ndarray of int8
        1 sand, 2 loamy sand, 3 sandy loam, 4 loam, 5 silt loam, 6 silt, 7 sandy clay loam, 8 clay loam,
        9 silty clay loam, 10 sandy clay, 11 silty clay, 12 clay; 0 where a fraction is missing or negative, or the
        sum is outside 99 to 101.
    """
    arrays = [np.asarray(a) for a in (sand, silt, clay)]
    dtype = np.result_type(np.float32, *arrays)
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    flat = [np.broadcast_to(a, shape).reshape(-1) for a in arrays]
    out = np.zeros(flat[0].size, np.int8)
    for start in range(0, out.size, _BLOCK):
        part = slice(start, start + _BLOCK)
        out[part] = _block(*(f[part].astype(dtype, copy=False) for f in flat))
    return out.reshape(shape)


def _block(sand: Floats, silt: Floats, clay: Floats) -> NDArray[np.int8]:
    total = sand + silt + clay
    with np.errstate(all="ignore"):
        scale = 100 * _UNIT / total
        legal = (total >= 99 - 1e-4) & (total <= 101 + 1e-4) & np.isfinite(scale)
        scale[~legal] = np.nan
        s, c = (np.rint(np.where(legal, a * scale, 0)).astype(np.int32) for a in (sand, clay))
    si = 100 * _UNIT - s - c
    legal &= (s >= 0) & (c >= 0) & (si >= 0)

    # By clay content; within each band the later rule overrides the earlier one.
    out = np.where(si >= 50 * _UNIT, np.int8(5), np.int8(4))  # loams, 7 (12) <= clay < 27
    below_12, below_20, below_27 = c < 12 * _UNIT, c < 20 * _UNIT, c < 27 * _UNIT
    np.copyto(out, 6, where=below_12 & (si >= 80 * _UNIT))
    np.copyto(out, 3, where=below_20 & (s > 52 * _UNIT) | (c < 7 * _UNIT) & (si < 50 * _UNIT))
    np.copyto(out, 2, where=si + 2 * c < 30 * _UNIT)
    np.copyto(out, 1, where=2 * si + 3 * c < 30 * _UNIT)
    above_45 = s > 45 * _UNIT
    np.copyto(out, 7, where=~below_20 & (si < 28 * _UNIT) & above_45)
    np.copyto(out, 8, where=~below_27 & ~above_45)
    np.copyto(out, 9, where=~below_27 & (s <= 20 * _UNIT))
    fine = c >= 40 * _UNIT
    np.copyto(out, 12, where=fine)
    np.copyto(out, 11, where=fine & (si >= 40 * _UNIT))
    np.copyto(out, 10, where=(c >= 35 * _UNIT) & above_45)
    np.copyto(out, 0, where=~legal)
    return out
