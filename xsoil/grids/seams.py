"""Seams: parallels at which a source's projection has a kink (Goode's homolosine at 40 degrees 44 minutes).

A seam cuts the pixels of its row in two, and nothing that is drawn with neighbouring grid lines may reach across it:
the meridians turn there, and PROJ's longitudes jump by a metre. So the strips of pixels next to it have lines of their
own: their edges as seen from their side of the seam, and two in between, which tell how their sides bend.
"""

from __future__ import annotations

from itertools import count, pairwise
from typing import NamedTuple

import numpy as np

from xsoil.grids.index_map import Array, IndexMap

NUDGE = 1e-8
"""Distance from a seam at which its sides are told apart [pixels]."""

THINNEST = 1e-7
"""A strip is no thinner than this [pixels]: a grid line so close to a seam is the seam."""

REACH = 2
"""Rows on either side of a seam's row in which such strips are looked for."""


class SeamStrip(NamedTuple):
    """Part of the pixels of a source row: its upper and lower edge [rows], and the numbers of its lines: a third of its
    height below its upper edge, its edges (-1: a grid line), a third of its height above its lower edge."""

    row: int
    top: float
    bottom: float
    lines: tuple[int, int, int, int]


def seam_strips(breaks: tuple[float, ...]) -> list[SeamStrip]:
    """The strips that seams at these source rows cut, and those with a neighbouring grid line beyond a seam."""
    near = {float(np.floor(r) + k) for r in breaks for k in range(-REACH, REACH + 2)}
    grid = {row for row in near if all(abs(row - r) >= THINNEST for r in breaks)}
    ends = sorted(grid | set(breaks))
    found, number = [], count()
    for top, bottom in pairwise(ends):
        if bottom - top < 1.5 and any(top - 1.0 - THINNEST <= r <= bottom + 1.0 + THINNEST for r in breaks):
            own = True, top in breaks, bottom in breaks, True
            a, b, c, d = (next(number) if line else -1 for line in own)
            found.append(SeamStrip(int(np.floor((top + bottom) / 2)), top, bottom, (a, b, c, d)))
    return found


def seam_lines(imap: IndexMap, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[Array, Array]:
    """Corners (u, v) on the lines of these strips, columns[0]..columns[1]; NaN for those not in rows[0]..rows[1]."""
    strips = seam_strips(imap.breaks)
    x = np.arange(columns[0], columns[1] + 1, dtype=float)
    here = [strip for strip in strips if rows[0] <= strip.row <= rows[1]]
    u, v = np.full((2, strips[-1].lines[-1] + 1 if here else 0, x.size), np.nan)
    for _, top, bottom, lines in here:
        third = (bottom - top) / 3
        # On the seam itself rounding would decide which side is meant.
        y = top + third, top + NUDGE, bottom - NUDGE, bottom - third
        own = np.array(lines) >= 0
        these = np.array(lines)[own]
        u[these], v[these] = imap.forward(*np.meshgrid(x, np.array(y)[own]))
    return u, v
