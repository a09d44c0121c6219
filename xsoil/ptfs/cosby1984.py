"""Cosby et al. (1984): Campbell parameters from texture, with one or two predictors each."""

from __future__ import annotations

from typing import Any

from xsoil.ptfs._formulas import INCH_PER_HOUR, Array, power_of_ten
from xsoil.ptfs.ptf import PTF, variables

__all__ = ["COSBY_1984", "COSBY_1984_UNIVARIATE", "cosby1984", "cosby1984_univariate"]

REFERENCE = (
    "Cosby, B. J., Hornberger, G. M., Clapp, R. B., Ginn, T. R. (1984): A statistical exploration of the "
    "relationships of soil moisture characteristics to the physical properties of soils. Water Resources "
    "Research 20(6), 682-690"
)
DOI = "10.1029/WR020i006p00682"
OUTPUTS = variables("theta_s", "psi_s", "b", "k_sat")


def cosby1984(sand: Array, silt: Array, clay: Array) -> tuple[Any, ...]:
    """Two predictors (Table 4): texture [percent] -> theta_s [-], psi_s [cm, negative], b [-], k_sat [cm d-1]."""
    theta_s = (50.5 - 0.142 * sand - 0.037 * clay) / 100
    psi_s = -power_of_ten(1.54 - 0.0095 * sand + 0.0063 * silt)
    b = 3.10 + 0.157 * clay - 0.003 * sand
    k_sat = INCH_PER_HOUR * power_of_ten(-0.60 + 0.0126 * sand - 0.0064 * clay)  # published in inch h-1
    return theta_s, psi_s, b, k_sat


def cosby1984_univariate(sand: Array, clay: Array) -> tuple[Any, ...]:
    """One predictor (Table 5): texture [percent] -> theta_s [-], psi_s [cm, negative], b [-], k_sat [cm d-1]."""
    theta_s = (48.9 - 0.126 * sand) / 100 + 0 * clay  # no result where an input is missing
    psi_s = -power_of_ten(1.88 - 0.0131 * sand)
    b = 2.91 + 0.159 * clay
    k_sat = INCH_PER_HOUR * power_of_ten(-0.884 + 0.0153 * sand)
    return theta_s, psi_s, b, k_sat


COSBY_1984 = PTF(
    "cosby1984",
    cosby1984,
    inputs=variables("sand", "silt", "clay"),
    outputs=OUTPUTS,
    title="Campbell parameters, two predictors each; USA, 1448 samples",
    reference=REFERENCE,
    doi=DOI,
    curve="campbell",
)
COSBY_1984_UNIVARIATE = PTF(
    "cosby1984_univariate",
    cosby1984_univariate,
    inputs=variables("sand", "clay"),
    outputs=OUTPUTS,
    title="Campbell parameters, one predictor each; USA, 1448 samples",
    reference=REFERENCE,
    doi=DOI,
    curve="campbell",
)
