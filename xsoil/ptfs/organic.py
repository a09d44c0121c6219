"""Organic soils: where functions of mineral soils do not hold, and parameters of peat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xsoil.physics.conversion import brooks_corey_of_campbell, van_genuchten_of_brooks_corey_morel_seytoux
from xsoil.ptfs._formulas import KPA_IN_CM, Array

__all__ = ["LETTS_2000_REFERENCE", "PEAT_DEPTHS", "PEAT_OUTPUTS", "is_organic", "letts2000"]

LETTS_2000_REFERENCE = (
    "Letts, M. G., Roulet, N. T., Comer, N. T., Skarupa, M. R., Verseghy, D. L. (2000): Parametrization of peatland "
    "hydraulic properties for the Canadian Land Surface Scheme. Atmosphere-Ocean 38(1), 141-160 "
    "https://doi.org/10.1080/07055900.2000.9649643"
)
PEAT_DEPTHS = (0.10, 0.35)
"""Lower ends [m] of fibric and of hemic peat: the soil layers of the Canadian Land Surface Scheme."""

# Fibric, hemic and sapric peat, as the Canadian Land Surface Scheme uses them.
POROSITY = (0.93, 0.88, 0.83)
B = (2.7, 6.1, 12.0)
AIR_ENTRY = (0.0103, 0.0102, 0.0101)  # m
CONDUCTIVITY = (2.8e-4, 2.0e-6, 1.0e-7)  # m s-1
CM_PER_METRE = 100.0
CM_PER_DAY = 8.64e6  # of 1 m s-1


def _table() -> dict[str, tuple[float, ...]]:
    """What every function of the table may be asked for, of the three kinds of peat.

    Letts et al. give Campbell's curve; water contents follow from it, and other curves by the conversions of
    `xsoil.convert_curve` (Brooks-Corey exactly, van Genuchten by Morel-Seytoux et al. 1996 with Mualem's l = 1/2).
    """
    rows: dict[str, list[float]] = {}
    for theta_s, b, psi, k in zip(POROSITY, B, AIR_ENTRY, CONDUCTIVITY, strict=True):
        psi_s = -CM_PER_METRE * psi
        lambda_ = brooks_corey_of_campbell(b)
        alpha, n = van_genuchten_of_brooks_corey_morel_seytoux(psi_s, lambda_)
        field_capacity, wilting_point = (theta_s * (psi_s / (-kpa * KPA_IN_CM)) ** (1 / b) for kpa in (33, 1500))
        found = {
            "theta_s": theta_s, "theta_r": 0.0, "theta_fc": field_capacity, "theta_wp": wilting_point, "psi_s": psi_s,
            "b": b, "lambda": lambda_, "alpha": alpha, "n": n, "m": 1 - 1 / n, "l": 0.5, "k_sat": CM_PER_DAY * k,
            "k_0": CM_PER_DAY * k,
        }  # fmt: skip
        for name, value in found.items():
            rows.setdefault(name, []).append(value)
    return {name: tuple(values) for name, values in rows.items()}


TABLE = _table()
PEAT_OUTPUTS = tuple(TABLE)
"""Parameters that can be had of peat."""


def is_organic(organic_carbon: Array, clay: Array | None) -> Array:
    """Where soil material is organic by the limits of Soil Taxonomy for soils that are wet for part of the year.

    12 % of organic carbon without clay, 18 % from 60 % of clay on, a straight line between. Where the clay is not known
    the higher limit holds. A missing value is not organic.
    """
    limit: Array = 18.0
    if clay is not None:
        limit = np.where((clay >= 0) & (clay <= 100), 12 + 0.1 * np.minimum(clay, 60), 18.0)
    return (organic_carbon >= limit) & (organic_carbon <= 100)


def letts2000(names: Sequence[str], peat_class: Array) -> dict[str, Array]:
    """Parameters of peat by its decomposition: 1 fibric, 2 hemic, 3 sapric; NaN elsewhere.

    Units are those of the vocabulary, the type is that of `peat_class`.
    """
    known = np.isin(peat_class, (1, 2, 3))
    row = np.where(known, peat_class, 1).astype(np.intp) - 1
    found = {}
    for name in names:
        values = np.asarray(TABLE[name], np.result_type(peat_class))
        found[name] = np.where(known, values[row], values.dtype.type(np.nan))
    return found
