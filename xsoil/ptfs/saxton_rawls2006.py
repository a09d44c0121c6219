"""Saxton and Rawls (2006): water contents, lambda and K_sat from texture and organic matter.

Equations 1 to 22 of the paper. They hold for less than 60 percent of clay and 8 of organic matter.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from xsoil.ptfs._formulas import KPA_IN_CM, OM_PER_OC, QUARTZ_DENSITY, Array, at_least, between, power
from xsoil.ptfs.ptf import PTF, variables

__all__ = ["SAXTON_RAWLS_2006", "saxton_rawls2006"]

MM_PER_HOUR = 2.4  # in cm d-1
DENSITY_FACTORS = (0.9, 1.3)


class _Normal(NamedTuple):
    """The fine earth at normal density."""

    theta_1500: Array
    theta_33: Array
    theta_s: Array
    psi_e: Array  # kPa; negative where the regression fails (sands)

    @property
    def density(self) -> Array:
        return QUARTZ_DENSITY * (1 - self.theta_s)


def _normal(sand: Array, clay: Array, organic_carbon: Array) -> _Normal:
    s, c = sand / 100, clay / 100  # fractions, but organic matter in percent
    om = OM_PER_OC * organic_carbon
    t = -0.024 * s + 0.487 * c + 0.006 * om + 0.005 * s * om - 0.013 * c * om + 0.068 * s * c + 0.031
    theta_1500 = t + (0.14 * t - 0.02)
    t = -0.251 * s + 0.195 * c + 0.011 * om + 0.006 * s * om - 0.027 * c * om + 0.452 * s * c + 0.299
    theta_33 = t + (1.283 * t * t - 0.374 * t - 0.015)
    t = 0.278 * s + 0.034 * c + 0.022 * om - 0.018 * s * om - 0.027 * c * om - 0.584 * s * c + 0.078
    theta_s_33 = t + (0.636 * t - 0.107)
    # with the adjusted theta_s_33, as Noah-MP and MLCan (some codes use the unadjusted)
    psi = -21.67 * s - 27.93 * c - 81.97 * theta_s_33 + 71.12 * s * theta_s_33 + 8.29 * c * theta_s_33
    psi = psi + 14.05 * s * c + 27.16
    psi_e = psi + (0.02 * psi * psi - 0.113 * psi - 0.70)
    return _Normal(theta_1500, theta_33, theta_33 + theta_s_33 - 0.097 * s + 0.043, psi_e)


def saxton_rawls2006(
    sand: Array,
    clay: Array,
    organic_carbon: Array,
    bulk_density: Array | None = None,
    coarse_fragments: Array | None = None,
    *,
    density_factor: float = 1.0,
) -> tuple[Any, ...]:
    """Points of the retention curve, lambda and K_sat.

    Texture, organic carbon [percent] -> theta_s, theta_fc (-33 kPa), theta_wp (-1500 kPa) [-], psi_s [cm, negative],
    lambda [-], k_sat [cm d-1]. A measured `bulk_density` [g cm-3] sets the density factor, within 0.9 to 1.3. With
    `coarse_fragments` [percent of the volume], water contents and k_sat are those of the bulk soil, stones included
    (equations 19, 20 and 22).
    """
    normal = _normal(sand, clay, organic_carbon)
    factor: Array = density_factor
    if bulk_density is not None:
        factor = between(bulk_density / normal.density, *DENSITY_FACTORS)
    density = normal.density * factor
    theta_s = 1 - density / QUARTZ_DENSITY
    theta_33 = normal.theta_33 - 0.2 * (normal.theta_s - theta_s)
    lam = np.log(theta_33 / normal.theta_1500) / float(np.log(1500 / 33))
    k_sat = MM_PER_HOUR * 1930 * power(theta_s - theta_33, 3 - lam)
    theta_1500 = normal.theta_1500
    if coarse_fragments is not None:
        volume = coarse_fragments / 100
        ratio = density / QUARTZ_DENSITY
        mass = volume / (ratio + volume * (1 - ratio))
        theta_s, theta_33, theta_1500 = (theta * (1 - volume) for theta in (theta_s, theta_33, theta_1500))
        k_sat = k_sat * (1 - mass) / (1 - mass * (1 - 1.5 * ratio))
    psi_s = 0.0 - KPA_IN_CM * at_least(normal.psi_e, 0.0)
    return theta_s, theta_33, theta_1500, psi_s, lam, k_sat


def _guarded(names: tuple[str, ...], *arrays: Array) -> Any:
    """Where the air entry of sands is brought to 0, or the density factor into its range."""
    cells = dict(zip(names, arrays, strict=True))
    normal = _normal(cells["sand"], cells["clay"], cells["organic_carbon"])
    clipped = normal.psi_e < 0
    if "bulk_density" in cells:
        factor = cells["bulk_density"] / normal.density
        clipped = clipped | (factor < DENSITY_FACTORS[0]) | (factor > DENSITY_FACTORS[1])
    return clipped


def _run(names: tuple[str, ...], *arrays: Array) -> tuple[Any, ...]:
    return saxton_rawls2006(**dict(zip(names, arrays, strict=True)))


def _resolve(entry: PTF, available: frozenset[str]) -> PTF:
    names = ["sand", "clay", "organic_carbon"]
    if entry.options["density"] == "measured":
        names.append("bulk_density")
    if entry.options["coarse_fragments"] == "correct":
        names.append("coarse_fragments")
    return replace(
        entry,
        function=partial(_run, tuple(names)),
        guarded=partial(_guarded, tuple(names)),
        inputs=variables(*names),
        optional=(),
        resolver=None,
    )


SAXTON_RAWLS_2006 = PTF(
    "saxton_rawls2006",
    saxton_rawls2006,
    inputs=variables("sand", "clay", "organic_carbon"),
    outputs=variables("theta_s", "theta_fc", "theta_wp", "psi_s", "lambda", "k_sat"),
    title="Water contents, lambda and K_sat from texture and organic matter; USA",
    reference=(
        "Saxton, K. E., Rawls, W. J. (2006): Soil water characteristic estimates by texture and organic matter for "
        "hydrologic solutions. Soil Science Society of America Journal 70(5), 1569-1578"
    ),
    doi="10.2136/sssaj2005.0117",
    optional=variables("bulk_density", "coarse_fragments"),
    validity={"clay": (0.0, 60.0), "organic_carbon": (0.0, 8 / OM_PER_OC), "bulk_density": (1.0, 1.8)},
    options={"density": "normal", "coarse_fragments": "ignore"},
    choices={"density": ("normal", "measured"), "coarse_fragments": ("ignore", "correct")},
    resolver=_resolve,
)
