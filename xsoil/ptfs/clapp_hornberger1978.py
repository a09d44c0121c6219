"""Clapp and Hornberger (1978): Campbell parameters of the USDA texture classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from xsoil.ptfs._formulas import Array
from xsoil.ptfs.ptf import PTF, variables
from xsoil.ptfs.usda import usda_class

__all__ = ["CLAPP_HORNBERGER_1978", "clapp_hornberger1978"]

CM_PER_MINUTE = 1440.0  # in cm d-1

# b, psi_s [cm, sign dropped], theta_s, K_s [cm min-1], in the order of the class numbers 0 (missing) to 12.
# psi_s are the arithmetic means used by land models; the paper has no silt, which takes the row of silt loam.
TABLE = np.array(
    [
        (np.nan, np.nan, np.nan, np.nan),
        (4.05, 12.1, 0.395, 1.056),  # sand
        (4.38, 9.0, 0.410, 0.938),  # loamy sand
        (4.90, 21.8, 0.435, 0.208),  # sandy loam
        (5.39, 47.8, 0.451, 0.0417),  # loam
        (5.30, 78.6, 0.485, 0.0432),  # silt loam
        (5.30, 78.6, 0.485, 0.0432),  # silt
        (7.12, 29.9, 0.420, 0.0378),  # sandy clay loam
        (8.52, 63.0, 0.476, 0.0147),  # clay loam
        (7.75, 35.6, 0.477, 0.0102),  # silty clay loam
        (10.4, 15.3, 0.426, 0.0130),  # sandy clay
        (10.4, 49.0, 0.492, 0.0062),  # silty clay
        (11.4, 40.5, 0.482, 0.0077),  # clay
    ]
)
COLUMNS = np.ascontiguousarray((TABLE * (1, -1, 1, CM_PER_MINUTE)).T)


def clapp_hornberger1978(sand: Array, silt: Array, clay: Array) -> tuple[Any, ...]:
    """Texture [percent] -> theta_s [-], psi_s [cm, negative], b [-], k_sat [cm d-1] of its class (Table 2)."""
    rows = usda_class(sand, silt, clay).astype(np.intp)
    dtype = np.result_type(sand, np.float32) if isinstance(sand, np.ndarray) else np.float64
    b, psi_s, theta_s, k_sat = (column.take(rows) for column in COLUMNS.astype(dtype))
    return theta_s, psi_s, b, k_sat


CLAPP_HORNBERGER_1978 = PTF(
    "clapp_hornberger1978",
    clapp_hornberger1978,
    inputs=variables("sand", "silt", "clay"),
    outputs=variables("theta_s", "psi_s", "b", "k_sat"),
    title="Campbell parameters of the USDA texture class; USA, 1446 samples",
    reference=(
        "Clapp, R. B., Hornberger, G. M. (1978): Empirical equations for some soil hydraulic properties. Water "
        "Resources Research 14(4), 601-604"
    ),
    doi="10.1029/WR014i004p00601",
    curve="campbell",
)
