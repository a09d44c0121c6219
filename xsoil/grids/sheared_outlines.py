"""Pixels whose neighbours do not tell how their sides turn (at ends of lobes, around poles), by exact places."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from xsoil.grids.crs import shorter_way
from xsoil.grids.index_map import Array, IndexMap

if TYPE_CHECKING:
    from xsoil.grids.sheared_types import Rule

PLACES = 64
"""Places on each side."""

JUMP = 0.25
"""Longest chord, relative to the longest side, that is no jump of the projection."""

# Corners, clockwise from top left.
LEFT, TOP = np.array([0.0, 1.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0, 1.0])


def exact_outlines(
    imap: IndexMap, rule: Rule, top: Array, height: Array, left: Array
) -> tuple[NDArray[np.bool_], Array, Array]:
    """Which of these pixels have an outline, as far as exact places tell, and the places on it (pixels, 4 x PLACES)."""
    whole = np.zeros(top.size, dtype=bool)
    (some,) = np.nonzero(_quads(imap, rule, top, height, left))
    t = np.arange(PLACES) / PLACES
    column, row = (
        np.concatenate([a + (b - a) * t for a, b in zip(at, np.roll(at, -1), strict=True)]) for at in (LEFT, TOP)
    )
    u, v = imap.forward(left[some, None] + column, top[some, None] + height[some, None] * row)
    u = u[:, :1] + shorter_way(u - u[:, :1], imap.period)
    step = np.hypot(np.roll(u, -1, axis=1) - u, np.roll(v, -1, axis=1) - v).reshape(-1, 4, PLACES)
    with np.errstate(invalid="ignore"):
        sane = step.max(axis=(1, 2), initial=0.0) <= JUMP * step.sum(axis=2).max(axis=1, initial=0.0)
        sane &= _is_sane(imap, rule, u, v)
    whole[some[sane]] = True
    return whole, u[sane], v[sane]


def _quads(imap: IndexMap, rule: Rule, top: Array, height: Array, left: Array) -> NDArray[np.bool_]:
    """Pixels whose corners alone would make an outline."""
    u, v = imap.forward(left[:, None] + LEFT, top[:, None] + height[:, None] * TOP)
    return _is_sane(imap, rule, u[:, :1] + shorter_way(u - u[:, :1], imap.period), v)


def _is_sane(imap: IndexMap, rule: Rule, u: Array, v: Array) -> NDArray[np.bool_]:
    area = rule.sign * areas_of(u, v)
    with np.errstate(invalid="ignore"):
        return np.asarray((area > 0.0) & (area <= rule.largest) & (np.ptp(u, axis=1) < (imap.period or np.inf) / 2))


def areas_of(u: Array, v: Array) -> Array:
    """Signed areas of polygons (last points may be repeated)."""
    du, dv = u - u[:, :1], v - v[:, :1]
    return np.asarray(0.5 * (du[:, :-1] * dv[:, 1:] - du[:, 1:] * dv[:, :-1]).sum(axis=1))
