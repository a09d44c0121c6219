"""Li et al. (2024): the K_sat functions CB1 and CB2, which are Cosby's written for fractions.

The paper gives 0.6096 * 10 ** (1.53 f_sand - 0.884) m d-1 (CB1) and 0.6096 * 10 ** (1.26 f_sand - 0.64 f_clay
- 0.6) m d-1 (CB2) of fractions 0 to 1; here percent and cm d-1, as everywhere in xsoil.
"""

from __future__ import annotations

from typing import Any

from xsoil.ptfs._formulas import INCH_PER_HOUR, Array, power_of_ten
from xsoil.ptfs.ptf import PTF, variables

__all__ = ["LI_2024_CB1", "LI_2024_CB2", "li2024_cb1", "li2024_cb2"]

REFERENCE = (
    "Li, P., Zha, Y., Zhang, Y., Tso, C.-H. M., Attinger, S., Samaniego, L., Peng, J. (2024): Deep learning "
    "integrating scale conversion and pedo-transfer function to avoid potential errors in cross-scale transfer. Water "
    "Resources Research 60(3), e2023WR035543"
)
DOI = "10.1029/2023WR035543"


def li2024_cb1(sand: Array) -> tuple[Any, ...]:
    """CB1: sand [percent] -> k_sat [cm d-1]."""
    return (INCH_PER_HOUR * power_of_ten(0.0153 * sand - 0.884),)


def li2024_cb2(sand: Array, clay: Array) -> tuple[Any, ...]:
    """CB2: sand, clay [percent] -> k_sat [cm d-1]."""
    return (INCH_PER_HOUR * power_of_ten(0.0126 * sand - 0.0064 * clay - 0.6),)


LI_2024_CB1 = PTF(
    "li2024_cb1",
    li2024_cb1,
    inputs=variables("sand"),
    outputs=variables("k_sat"),
    title="K_sat from sand (Cosby et al. 1984, one predictor)",
    reference=REFERENCE,
    doi=DOI,
)
LI_2024_CB2 = PTF(
    "li2024_cb2",
    li2024_cb2,
    inputs=variables("sand", "clay"),
    outputs=variables("k_sat"),
    title="K_sat from sand and clay (Cosby et al. 1984, two predictors)",
    reference=REFERENCE,
    doi=DOI,
)
