"""Outlines of the continents, in the CRS of a map.

``land.npz`` holds the land of Natural Earth 4.1.0 at 1:50 million (public domain, https://www.naturalearthdata.com),
from ``land-50m.json`` of the npm package world-atlas 2.0.2: its rings simplified to 0.04 degrees (Douglas and
Peucker), those below 0.02 square degrees (250 km2 at the equator) left out, rounded to 0.01 degrees.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xsoil.grids.crs import EASE_GLOBAL, WORLD, is_geographic, same_crs, transformer

__all__ = ["land", "outline"]

Doubles = NDArray[np.float64]

LONGEST = 1.0
"""Degrees; longer segments get points between, so that they bend as the projection does."""

TORN = 1.5e6
"""Metres in the map between points of at most `LONGEST` degrees: the line crosses an edge of the projection."""


@cache
def land() -> tuple[Doubles, ...]:
    """Closed rings (points, 2) of longitude and latitude [degrees]."""
    with np.load(Path(__file__).with_name("land.npz")) as stored:
        # Steps may wrap around 16 bits; their sum of 16 bits wraps back.
        points = np.cumsum(stored["steps"], axis=0, dtype=np.int16) / 100.0
        return tuple(np.split(points, np.cumsum(stored["lengths"], dtype=np.int64)[:-1]))


@cache
def _lines() -> tuple[Doubles, Doubles]:
    """All rings as one line, with NaN between; longitudes go on beyond 180 where a ring crosses the dateline."""
    pieces = []
    for ring in land():
        steps = np.diff(ring, axis=0)
        steps[:, 0] -= 360 * np.rint(steps[:, 0] / 360)
        ring = ring[0] + np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
        parts = np.maximum(np.ceil(np.abs(steps).max(axis=1) / LONGEST), 1).astype(int)
        starts = np.repeat(np.arange(len(steps)), parts)
        place = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
        points = ring[starts] + steps[starts] * (place / parts[starts])[:, None]
        pieces += [points, ring[-1:], np.full((1, 2), np.nan)]
    lon, lat = np.concatenate(pieces).T
    return lon, lat


def outline(crs: str, extent: tuple[float, float, float, float]) -> list[Doubles]:
    """Lines of the coasts that touch a map.

    Parameters
    ----------
    crs : str
        Of the map.
    extent : (left, right, bottom, top)
        Of the map in that CRS. Longitudes may be 0 to 360, or go beyond 180; so may the x axis of EPSG:6933.

    Returns
    -------
    list of (points, 2) array
        In the CRS; none across an edge of the projection.
    """
    lon, lat = _lines()
    left, right, bottom, top = extent
    period = 0.0
    if is_geographic(crs):
        x, y, period = lon, lat, 360.0
    else:
        with np.errstate(invalid="ignore"):
            x, y = (np.asarray(v, float) for v in transformer("EPSG:4326", crs).transform(lon, lat))
        if same_crs(crs, EASE_GLOBAL):
            x, period = lon * (WORLD / 360), WORLD
        x, y = (np.where(np.isfinite(x) & np.isfinite(y), v, np.nan) for v in (x, y))
        # In metres a step of a degree is some 100 km; CRSs in feet only make this milder.
        with np.errstate(invalid="ignore"):
            torn = np.flatnonzero(np.hypot(np.diff(x), np.diff(y)) > TORN) + 1
        x, y = np.insert(x, torn, np.nan), np.insert(y, torn, np.nan)
    shifts = [0.0]
    if period:
        shifts = [k * period for k in range(math.floor(left / period - 0.5) - 1, math.ceil(right / period + 0.5) + 2)]
    found = []
    for shift in shifts:
        for line in _runs(x + shift, y, np.isfinite(x) & np.isfinite(y)):
            # Only what is seen: points beyond the map by no more than the longest step.
            margin = np.hypot(*np.diff(line, axis=0).T).max(initial=0.0)
            near = (line[:, 0] >= left - margin) & (line[:, 0] <= right + margin)
            near &= (line[:, 1] >= bottom - margin) & (line[:, 1] <= top + margin)
            found += [run for run in _runs(line[:, 0], line[:, 1], near) if len(run) > 1]
    return found


def _runs(x: Doubles, y: Doubles, there: NDArray[np.bool_]) -> list[Doubles]:
    """Lines (points, 2) of neighbouring points that are there."""
    points = np.column_stack([x, y])
    edges = np.flatnonzero(np.diff(np.concatenate([[False], there, [False]]).astype(np.int8)))
    return [points[a:b] for a, b in edges.reshape(-1, 2)]
