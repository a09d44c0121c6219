"""Zacharias and Wessolek (2007): van Genuchten parameters without organic carbon."""

from __future__ import annotations

from typing import Any

import numpy as np

from xsoil.ptfs._formulas import Array, at_least, power
from xsoil.ptfs.ptf import PTF, variables

__all__ = ["ZACHARIAS_WESSOLEK_2007", "zacharias_wessolek2007"]

SANDY = 66.5  # percent of sand from which the second set of equations holds
LOWEST = 0.1  # percent of sand and clay: powers with negative exponents


def zacharias_wessolek2007(sand: Array, clay: Array, bulk_density: Array) -> tuple[Any, ...]:
    """Texture [percent], bulk density [g cm-3] -> theta_s, theta_r [-], alpha [cm-1], n [-]."""
    s, c, d = at_least(sand, LOWEST), at_least(clay, LOWEST), bulk_density
    sandy = s >= SANDY
    theta_s = np.where(sandy, 0.890 - 0.001 * c - 0.322 * d, 0.788 + 0.001 * c - 0.263 * d)
    # alpha is in cm-1, as mHM reads it; in kPa-1 the air entry of a loamy sand would be at 1.7 m
    alpha = np.exp(
        np.where(sandy, -4.197 + 0.013 * s + 0.076 * c - 0.276 * d, -0.648 + 0.023 * s + 0.044 * c - 3.168 * d)
    )
    n = np.where(
        sandy,
        -2.562 + 7e-9 * power(s, 4.004) + 3.750 * power(c, -0.016),
        1.392 - 0.418 * power(s, -0.024) + 1.212 * power(c, -0.704),
    )
    return theta_s, 0 * theta_s, alpha, n


ZACHARIAS_WESSOLEK_2007 = PTF(
    "zacharias_wessolek2007",
    zacharias_wessolek2007,
    inputs=variables("sand", "clay", "bulk_density"),
    outputs=variables("theta_s", "theta_r", "alpha", "n"),
    title="Van Genuchten parameters from texture and bulk density, theta_r = 0, no organic carbon",
    reference=(
        "Zacharias, S., Wessolek, G. (2007): Excluding organic matter content from pedotransfer predictors of soil "
        "water retention. Soil Science Society of America Journal 71(1), 43-50"
    ),
    doi="10.2136/sssaj2006.0098",
    curve="van_genuchten",
    guards={"sand": (LOWEST, np.inf), "clay": (LOWEST, np.inf)},
)
