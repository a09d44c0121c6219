"""Texture on other particle-size limits between silt and sand."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["CLAY_LIMIT", "SAND_LIMIT", "loglinear", "minasny_mcbratney2001"]

Array = Any

CLAY_LIMIT, SAND_LIMIT = 2.0, 2000.0
"""Particle sizes [um] at which silt begins and sand ends."""


def loglinear(silt: Array, sand: Array, clay: Array, from_limit: float, to_limit: float) -> Array:
    """Silt up to another limit: the cumulative particle-size curve is straight over the logarithm of the size.

    The curve goes through clay at 2 um, clay and silt at the old limit, and 100 % at 2000 um (Nemes et al. 1999).

    Parameters
    ----------
    silt, sand, clay : array
        [percent]; their sum is 100.
    from_limit, to_limit : float
        Upper limit of the silt, given and wanted [um].

    Returns
    -------
    array
        Silt [percent].
    """
    if to_limit <= from_limit:
        return silt * (np.log(to_limit / CLAY_LIMIT) / np.log(from_limit / CLAY_LIMIT))
    return silt + sand * (np.log(to_limit / from_limit) / np.log(SAND_LIMIT / from_limit))


def minasny_mcbratney2001(silt: Array, sand: Array, clay: Array) -> Array:
    """Silt of 2 to 50 um from silt of 2 to 20 um and sand of 20 to 2000 um [percent], by regression.

    Where the parabola falls below 0 the linear form of the source holds; what leaves the possible range (less than the
    finer silt, more than all that is coarser than clay) is brought to its edge.
    """
    parabola = -18.3914 + 2.0971 * silt + 0.6726 * sand - 0.0142 * silt * silt - 0.0049 * sand * sand
    linear = 0.8289 * silt + 0.0198 * sand
    return np.clip(np.where(parabola < 0, linear, parabola), silt, silt + sand)
