"""Vereecken et al. (1989, 1990): van Genuchten with m = 1, Belgian soils."""

from __future__ import annotations

from typing import Any

import numpy as np

from xsoil.ptfs._formulas import Array, at_least
from xsoil.ptfs.ptf import PTF, variables

__all__ = ["BELGIAN_SOILS", "VEREECKEN_1989", "vereecken1989"]

BELGIAN_SOILS = {"sand": (5.6, 97.8), "clay": (0.0, 54.5), "organic_carbon": (0.01, 6.6), "bulk_density": (1.04, 1.73)}
"""Range of the samples, which Weynants et al. (2009) used again."""

# K_sat is a power of these: without any clay, sand or carbon it would be infinite.
LOWEST = {"sand": 0.1, "clay": 0.1, "organic_carbon": 0.01}


def vereecken1989(sand: Array, clay: Array, bulk_density: Array, organic_carbon: Array) -> tuple[Any, ...]:
    """Van Genuchten parameters with m = 1, and K_sat.

    Texture, organic carbon [percent], bulk density [g cm-3] -> theta_s, theta_r [-], alpha [cm-1], n, m [-],
    k_sat [cm d-1]. n may be below 1: these are not parameters of the Mualem model with m = 1 - 1/n. K_sat is that of
    Vereecken et al. (1990).
    """
    theta_r = 0.015 + 0.005 * clay + 0.014 * organic_carbon
    theta_s = 0.81 - 0.283 * bulk_density + 0.001 * clay
    alpha = np.exp(-2.486 + 0.025 * sand - 0.351 * organic_carbon - 2.617 * bulk_density - 0.023 * clay)
    n = np.exp(0.053 - 0.009 * sand - 0.013 * clay + 0.00015 * sand * sand)
    s, c, oc = (
        at_least(x, LOWEST[name]) for x, name in ((sand, "sand"), (clay, "clay"), (organic_carbon, "organic_carbon"))
    )
    k_sat = np.exp(20.62 - 0.96 * np.log(c) - 0.66 * np.log(s) - 0.46 * np.log(oc) - 8.43 * bulk_density)
    return theta_s, theta_r, alpha, n, 0 * n + 1, k_sat


VEREECKEN_1989 = PTF(
    "vereecken1989",
    vereecken1989,
    inputs=variables("sand", "clay", "bulk_density", "organic_carbon"),
    outputs=variables("theta_s", "theta_r", "alpha", "n", "m", "k_sat"),
    title="Van Genuchten parameters with m = 1 and K_sat; Belgium",
    reference=(
        "Vereecken, H., Maes, J., Feyen, J., Darius, P. (1989): Estimating the soil moisture retention characteristic "
        "from texture, bulk density, and carbon content. Soil Science 148(6), 389-403; Vereecken, H., Maes, J., Feyen, "
        "J. (1990): Estimating unsaturated hydraulic conductivity from easily measured soil properties. Soil "
        "Science 149(1), 1-12"
    ),
    doi="10.1097/00010694-198912000-00001",
    curve="van_genuchten",
    validity=BELGIAN_SOILS,
    guards={name: (low, np.inf) for name, low in LOWEST.items()},
)
