"""Spherical caps around patches of a grid: what lies apart on the Earth cannot overlap in any projection.

Boxes in a projection tell little at poles, lobes and places at infinity, where patches far away reach all around.
Latitudes are taken for those of a sphere: what is apart stays apart.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xsoil.grids.index_map import FOLD_DEGREES, Array, IndexMap

PLACES = 9
"""Places each way by which a tile is known."""

BEYOND_SEEN = 4.0
"""Distance, in steps between places, up to which a patch may reach beyond those that are on the world: where a map ends
as the root of the distance (a pole, a limb) the last step is 2.4 times the one before."""

FARTHEST_STEP = 1.0
"""Between places [radians]: farther apart they do not tell where the patch lies (a full turn seems to be none)."""

MARGIN = np.radians(2.0 * FOLD_DEGREES)
"""Distance [radians] by which maps there and back may disagree: twice what counts as the same place."""

HIGHEST = np.pi / 2 + 1e-9
"""Latitude [radians] above which a position is no place on Earth."""


class Caps(NamedTuple):
    """Directions of their middles (3, n) and their radii [radians]; not finite where nothing is known."""

    middle: Array
    radius: Array

    def apart(self, other: Caps) -> NDArray[np.bool_]:
        """Which of these lie apart from those of the other (one, or as many)."""
        distance = _angle(self.middle - other.middle)
        with np.errstate(invalid="ignore"):
            return np.asarray(distance > self.radius + other.radius + MARGIN)


def source_caps(imap: IndexMap, column: Array, row: Array) -> Caps:
    """Around patches of the source, each given by a lattice of its places (n, rows, columns)."""
    lon, lat = imap.places(column, row)
    known = np.isfinite(lon) & np.isfinite(lat) & (np.abs(lat) <= HIGHEST)
    with np.errstate(invalid="ignore", divide="ignore"):
        at = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
        middle = np.where(known, at, 0.0).sum(axis=(2, 3))
        middle /= np.sqrt((middle**2).sum(axis=0))
        at[:, ~known] = np.nan
    radius = _longest(at - middle[:, :, None, None])
    step = np.maximum(*(_longest(np.diff(at, axis=axis)) for axis in (2, 3)))
    # A single line of places does not tell how far the patch reaches across it.
    step = np.where(_lined_up(known) & (step < FARTHEST_STEP), step, np.nan)
    return Caps(middle, radius + step * np.where(known.all(axis=(1, 2)), 1.0, BEYOND_SEEN))


def tile_cap(imap: IndexMap, r0: int, r1: int, c0: int, c1: int) -> Caps:
    """Around a tile of the target."""
    t = np.linspace(0.0, 1.0, PLACES)
    u, v = np.meshgrid(c0 + (c1 - c0) * t, r0 + (r1 - r0) * t)
    return source_caps(imap, *(at[None] for at in imap.inverse(u, v)))


def _lined_up(known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of which patches (n, rows, columns) every known place has a known neighbour along both axes."""
    alone = np.zeros(known.shape, dtype=bool)
    for axis in (1, 2):
        padded = np.pad(known, [(0, 0), *((1, 1) if at == axis else (0, 0) for at in (1, 2))])
        size = known.shape[axis]
        before, after = (np.take(padded, np.arange(size) + by, axis=axis) for by in (0, 2))
        alone |= known & ~(before | after)
    return np.asarray(~alone.any(axis=(1, 2)))


def _angle(difference: Array) -> Array:
    """Angles between directions of that difference (3, ...)."""
    return np.asarray(2.0 * np.arcsin(np.minimum(0.5 * np.sqrt((difference**2).sum(axis=0)), 1.0)))


def _longest(difference: Array) -> Array:
    """Of each patch (3, n, ...), as an angle; NaN where there is none."""
    return np.asarray(np.fmax.reduce(_angle(difference), axis=(1, 2), initial=np.nan))
