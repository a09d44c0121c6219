"""The vertical grid of Richards columns and the conductivity between two cells."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsoil.errors import ArgumentError

__all__ = ["face_conductivity", "grid"]


def grid(depth: float, *, first: float = 0.25, ratio: float = 1.15, largest: float = 3.0) -> NDArray[np.float64]:
    """Thicknesses of cells that grow from the surface down [cm].

    Parameters
    ----------
    depth : float
        Of the column [cm].
    first, ratio, largest : float
        First thickness [cm], growth from cell to cell, greatest thickness [cm]; all cells are then scaled by one
        factor of at most 1 so that they end at `depth`.

    Returns
    -------
    array
        Thicknesses from the surface down.

    Raises
    ------
    ArgumentError
        Numbers that are not positive, a ratio below 1.

    Examples
    --------
    >>> from xsoil.physics.richards import grid
    >>> widths = grid(50.0)
    >>> len(widths), float(widths.sum().round(9)), widths[[0, -1]].round(3).tolist()
    (29, 50.0, [0.241, 2.887])
    """
    if not (0 < depth < math.inf and 0 < first < math.inf and ratio >= 1 and largest >= first):
        raise ArgumentError(
            f"depth={depth}, first={first}, ratio={ratio}, largest={largest}; expected 0 < depth, "
            "0 < first <= largest [cm] and ratio >= 1"
        )
    widths = [first]
    while sum(widths) < depth * (1 - 1e-9):
        widths.append(min(widths[-1] * ratio, largest))
    thickness = np.array(widths)
    return thickness * (depth / thickness.sum())


def face_conductivity(above: Any, below: Any, root_above: Any, root_below: Any) -> Any:
    """Half the arithmetic and half the geometric mean of two conductivities, given with their square roots.

    The arithmetic mean alone lets fronts run ahead on coarse cells, the geometric one locks them in dry sand.
    """
    return 0.25 * (above + below) + 0.5 * (root_above * root_below)
