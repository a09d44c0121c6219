"""Weynants et al. (2009), with the coefficients of the erratum of 2017."""

from __future__ import annotations

from typing import Any

import numpy as np

from xsoil.ptfs._formulas import Array
from xsoil.ptfs.ptf import PTF, variables
from xsoil.ptfs.vereecken1989 import BELGIAN_SOILS

__all__ = ["WEYNANTS_2009", "weynants2009"]


def weynants2009(sand: Array, clay: Array, bulk_density: Array, organic_carbon: Array) -> tuple[Any, ...]:
    """Mualem-van Genuchten parameters.

    Texture, organic carbon [percent], bulk density [g cm-3] -> theta_s, theta_r [-], alpha [cm-1], n, l [-],
    k_0 [cm d-1]. k_0 is the matching point of the soil matrix (valid below -6 cm), not K_sat.
    """
    theta_s = 0.6355365504 + 0.0012807613 * clay - 0.1630910071 * bulk_density
    alpha = np.exp(-4.3003420026 - 0.0096851210 * clay + 0.0137763939 * sand - 0.0992391618 * organic_carbon)
    # 0.0001369944: rounded to 0.0001, as the paper prints it, n - 1 of sands is 20 to 30 percent too small
    n = 1 + np.exp(-1.0846069190 - 0.0235654376 * clay - 0.0085043044 * sand + 0.0001369944 * sand * sand)
    tortuosity = -1.8641969563 - 0.1317363417 * clay + 0.0067082506 * sand
    k_0 = np.exp(1.9581584626 + 0.0308449531 * sand - 0.6141610130 * bulk_density - 0.1565557100 * organic_carbon)
    return theta_s, 0 * theta_s, alpha, n, tortuosity, k_0


WEYNANTS_2009 = PTF(
    "weynants2009",
    weynants2009,
    inputs=variables("sand", "clay", "bulk_density", "organic_carbon"),
    outputs=variables("theta_s", "theta_r", "alpha", "n", "l", "k_0"),
    title="Mualem-van Genuchten parameters with theta_r = 0 and a matching point k_0; Belgium",
    reference=(
        "Weynants, M., Vereecken, H., Javaux, M. (2009): Revisiting Vereecken pedotransfer functions: introducing a "
        "closed-form hydraulic model. Vadose Zone Journal 8(1), 86-95 (erratum 2017)"
    ),
    doi="10.2136/vzj2008.0062",
    curve="van_genuchten",
    validity=BELGIAN_SOILS,
)
