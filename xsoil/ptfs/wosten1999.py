"""Wösten et al. (1999): the continuous HYPRES functions, European mineral soils."""

from __future__ import annotations

from typing import Any

import numpy as np

from xsoil.ptfs._formulas import OM_PER_OC, Array, at_least, indicator
from xsoil.ptfs.ptf import PTF, variables

__all__ = ["WOSTEN_1999", "wosten1999"]

# Reciprocals and logarithms need positive numbers: inputs are brought up to these.
LOWEST = {"silt": 0.5, "clay": 0.5, "organic_carbon": 0.17 / OM_PER_OC, "bulk_density": 0.5}


def wosten1999(
    sand: Array, silt: Array, clay: Array, bulk_density: Array, organic_carbon: Array, topsoil: Array
) -> tuple[Any, ...]:
    """Mualem-van Genuchten parameters.

    Texture, organic carbon [percent], bulk density [g cm-3], topsoil (1 or 0) -> theta_s, theta_r [-], alpha [cm-1],
    n, l [-], k_sat [cm d-1].
    """
    theta_r = 0 * sand + 0.01 + 0.015 * indicator((clay < 18) & (sand > 65), sand)
    c, si = at_least(clay, LOWEST["clay"]), at_least(silt, LOWEST["silt"])
    om, d = (
        OM_PER_OC * at_least(organic_carbon, LOWEST["organic_carbon"]),
        at_least(bulk_density, LOWEST["bulk_density"]),
    )
    t = topsoil
    c2, si2, om2, d2 = c * c, si * si, om * om, d * d
    ln_si, ln_om, over_si, over_om = np.log(si), np.log(om), 1 / si, 1 / om
    dom, dc, dsi, tc, tsi = d * om, d * c, d * si, t * c, t * si
    theta_s = (
        0.7919 + 0.001691 * c - 0.29619 * d - 1.491e-6 * si2 + 8.21e-5 * om2 + 0.02427 / c + 0.01113 * over_si
        + 0.01472 * ln_si - 7.33e-5 * om * c - 6.19e-4 * dc - 0.001183 * dom - 1.664e-4 * tsi
    )  # fmt: skip
    alpha = np.exp(
        -14.96 + 0.03135 * c + 0.0351 * si + 0.646 * om + 15.29 * d - 0.192 * t - 4.671 * d2 - 7.81e-4 * c2
        - 0.00687 * om2 + 0.0449 * over_om + 0.0663 * ln_si + 0.1482 * ln_om - 0.04546 * dsi - 0.4852 * dom
        + 0.00673 * tc
    )  # fmt: skip
    n = 1 + np.exp(
        -25.23 - 0.02195 * c + 0.0074 * si - 0.1940 * om + 45.5 * d - 7.24 * d2 + 3.658e-4 * c2 + 0.002885 * om2
        - 12.81 / d - 0.1524 * over_si - 0.01958 * over_om - 0.2876 * ln_si - 0.0709 * ln_om - 44.6 * np.log(d)
        - 0.02264 * dc + 0.0896 * dom + 0.00718 * tc
    )  # fmt: skip
    z = (
        0.0202 + 6.193e-4 * c2 - 0.001136 * om2 - 0.2316 * ln_om - 0.03544 * dc + 0.00283 * dsi
        + 0.0488 * dom
    )  # fmt: skip
    k_sat = np.exp(
        7.755 + 0.0352 * si + 0.93 * t - 0.967 * d2 - 4.84e-4 * c2 - 3.22e-4 * si2 + 0.001 * over_si - 0.0748 * over_om
        - 0.643 * ln_si - 0.01398 * dc - 0.1673 * dom + 0.02986 * tc - 0.03305 * tsi
    )  # fmt: skip
    return theta_s, theta_r, alpha, n, 10 * np.tanh(z / 2), k_sat


WOSTEN_1999 = PTF(
    "wosten1999",
    wosten1999,
    inputs=variables("sand", "silt", "clay", "bulk_density", "organic_carbon", "topsoil"),
    outputs=variables("theta_s", "theta_r", "alpha", "n", "l", "k_sat"),
    title="HYPRES, continuous: Mualem-van Genuchten parameters of European mineral soils",
    reference=(
        "Wösten, J. H. M., Lilly, A., Nemes, A., Le Bas, C. (1999): Development and use of a database of hydraulic "
        "properties of European soils. Geoderma 90(3-4), 169-185"
    ),
    doi="10.1016/S0016-7061(98)00132-3",
    curve="van_genuchten",
    guards={name: (low, np.inf) for name, low in LOWEST.items()},
)
