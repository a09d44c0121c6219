"""Rawls and Brakensiek (1985, 1989): Brooks-Corey parameters; K_sat of Brakensiek et al. (1984)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from xsoil.ptfs._formulas import QUARTZ_DENSITY, Array, between
from xsoil.ptfs.ptf import PTF, FrozenMapping, variables

__all__ = ["RAWLS_BRAKENSIEK_1985", "rawls_brakensiek1985"]

CM_PER_HOUR = 24.0  # in cm d-1
SAND_RANGE = (5.0, 70.0)
CLAY_RANGE = (5.0, 60.0)


def rawls_brakensiek1985(sand: Array, clay: Array, bulk_density: Array, texture: str = "clip") -> tuple[Any, ...]:
    """Brooks-Corey parameters and K_sat.

    Texture [percent], bulk density [g cm-3] -> theta_s, theta_r [-], psi_s [cm, negative], lambda [-], k_sat [cm d-1].
    The regressions hold for 5 to 70 percent of sand and 5 to 60 of clay: `texture` "clip" brings others to the nearest
    limit, "nan" gives no result there.
    """
    s, c = between(sand, *SAND_RANGE), between(clay, *CLAY_RANGE)
    if texture == "nan":
        s, c = np.where(s == sand, s, s * np.nan), np.where(c == clay, c, c * np.nan)
    p = 1 - bulk_density / QUARTZ_DENSITY
    s2, c2, p2 = s * s, c * c, p * p
    sp, cp, sc = s * p, c * p, s * c
    sp2, c2p, c2p2, s2p2, c2s = sp * sp, c2 * p, c2 * p2, s2 * p2, c2 * s
    psi_b = np.exp(
        5.3396738 + 0.1845038 * c - 2.48394546 * p - 0.00213853 * c2 - 0.04356349 * sp - 0.61745089 * cp
        + 0.00143598 * s2p2 - 0.00855375 * c2p2 - 1.282e-5 * s * sc + 0.00895359 * c2p - 7.2472e-4 * s * sp
        + 5.4e-6 * c2s + 0.50028060 * cp * p
    )  # fmt: skip
    lam = np.exp(
        -0.7842831 + 0.0177544 * s - 1.062498 * p - 5.304e-5 * s2 - 0.00273493 * c2 + 1.11134946 * p2
        - 0.03088295 * sp + 2.6587e-4 * sp2 - 0.00610522 * c2p2 - 2.35e-6 * s * sc + 0.00798746 * c2p
        - 0.00674491 * cp * p
    )  # fmt: skip
    theta_r = (
        -0.0182482 + 8.7269e-4 * s + 0.00513488 * c + 0.02939286 * p - 1.5395e-4 * c2 - 0.0010827 * sp
        - 1.8233e-4 * c2p2 + 3.0703e-4 * c2p - 0.0023584 * cp * p
    )  # fmt: skip
    theta_s = (
        0.01162 - 0.001473 * s - 0.002236 * c + 0.98402 * p + 9.87e-5 * c2 + 0.003616 * sp - 0.010859 * cp
        - 9.6e-5 * c2p - 0.002437 * sp * p + 0.0115395 * cp * p
    )  # fmt: skip
    k_sat = CM_PER_HOUR * np.exp(
        19.52348 * p - 8.96847 - 0.028212 * c + 1.8107e-4 * s2 - 0.0094125 * c2 - 8.395215 * p2 + 0.077718 * sp
        - 0.00298 * s2p2 - 0.019492 * c2p2 + 1.73e-5 * s * sc + 0.02733 * c2p + 0.001434 * s * sp - 3.5e-6 * c2s
    )  # fmt: skip
    return theta_s, theta_r, -psi_b, lam, k_sat


def _resolve(entry: PTF, available: frozenset[str]) -> PTF:
    texture = entry.options["texture"]
    guards = entry.guards if texture == "clip" else FrozenMapping()
    return replace(entry, function=partial(rawls_brakensiek1985, texture=texture), guards=guards, resolver=None)


RAWLS_BRAKENSIEK_1985 = PTF(
    "rawls_brakensiek1985",
    rawls_brakensiek1985,
    inputs=variables("sand", "clay", "bulk_density"),
    outputs=variables("theta_s", "theta_r", "psi_s", "lambda", "k_sat"),
    title="Brooks-Corey parameters from texture and porosity; USA. K_sat of Brakensiek et al. (1984)",
    reference=(
        "Rawls, W. J., Brakensiek, D. L. (1985): Prediction of soil water properties for hydrologic modeling. In: "
        "Jones, E. B., Ward, T. J. (eds.): Watershed Management in the Eighties, proceedings of a symposium in Denver, "
        "30 April to 1 May 1985. American Society of Civil Engineers, New York, 293-299 (proceedings without a DOI; "
        "https://cedb.asce.org/CEDBsearch/record.jsp?dockey=0044472); Brakensiek, D. L., Rawls, W. J., "
        "Stephenson, G. R. (1984): Modifying SCS hydrologic soil groups and curve numbers for rangeland soils. ASAE "
        "Paper PNR-84-203"
    ),
    doi="",
    curve="brooks_corey",
    validity={"sand": SAND_RANGE, "clay": CLAY_RANGE},
    guards={"sand": SAND_RANGE, "clay": CLAY_RANGE},
    options={"texture": "clip"},
    choices={"texture": ("clip", "nan")},
    resolver=_resolve,
)
