"""Tóth et al. (2015): EU-HYDI regressions, with the printed (four-digit) coefficients.

Retention is PTF20 where pH and CEC can be had, else PTF22 where pH can, else PTF21; `retention=` chooses. K_sat is
PTF17, which needs both; theta_fc (-33 kPa) is PTF9 and theta_wp (-1500 kPa) PTF12.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from xsoil.ptfs._formulas import Array, log10, power_of_ten
from xsoil.ptfs.ptf import PTF, variables

__all__ = ["TOTH_2015", "toth2015"]

Cells = Mapping[str, Array]


def _ptf20(x: Cells) -> tuple[Array, Array, Array]:
    c, si, q, log_cec = x["clay"], x["silt"], 1 / (x["organic_carbon"] + 1), log10(x["cec"])
    ph2 = x["ph"] * x["ph"]
    theta_s = 0.50562 - 0.14373 * q + 0.0004152 * si
    alpha = power_of_ten(
        -1.30482 - 6.123e-4 * si - 0.00981 * c + 0.07611 * q - 4.508e-4 * si * c + 0.03472 * c * q - 0.01226 * si * q
    )
    n = 1 + power_of_ten(
        0.01516 - 0.005775 * q - 0.24885 * log_cec - 0.01918 * c - 5.052e-4 * si - 0.007544 * ph2 - 0.02159 * c * q
        + 0.01556 * c * log_cec + 0.01477 * q * ph2 + 1.121e-4 * si * c - 0.33198 * q * log_cec
    )  # fmt: skip
    return theta_s, alpha, n


def _ptf21(x: Cells) -> tuple[Array, Array, Array]:
    c, si, d, oc, t = x["clay"], x["silt"], x["bulk_density"], x["organic_carbon"], x["topsoil"]
    theta_s = 0.83080 - 0.28217 * d + 0.0002728 * c + 0.000187 * si
    alpha = power_of_ten(-0.43348 - 0.41729 * d - 0.04762 * oc + 0.21810 * t - 0.01581 * c - 0.01207 * si)
    n = 1 + power_of_ten(0.22236 - 0.30189 * d - 0.05558 * t - 0.005306 * c - 0.003084 * si - 0.01072 * oc)
    return theta_s, alpha, n


def _ptf22(x: Cells) -> tuple[Array, Array, Array]:
    c, si, q, t = x["clay"], x["silt"], 1 / (x["organic_carbon"] + 1), x["topsoil"]
    d2, ph2 = x["bulk_density"] * x["bulk_density"], x["ph"] * x["ph"]
    theta_s = 0.63052 - 0.10262 * d2 + 0.0002904 * ph2 + 0.0003335 * c
    alpha = power_of_ten(
        -1.16518 + 0.40515 * q - 0.16063 * d2 - 0.008372 * c - 0.013 * si + 0.002166 * ph2 + 0.08233 * t
    )
    n = 1 + power_of_ten(-0.25929 + 0.2568 * q - 0.1059 * d2 - 0.009004 * c - 0.001223 * si)
    return theta_s, alpha, n


_RETENTION = {
    20: (_ptf20, ("sand", "silt", "clay", "organic_carbon", "ph", "cec")),
    21: (_ptf21, ("sand", "silt", "clay", "bulk_density", "organic_carbon", "topsoil")),
    22: (_ptf22, ("sand", "silt", "clay", "bulk_density", "organic_carbon", "ph", "topsoil")),
}


def toth2015(retention: int, names: tuple[str, ...], *arrays: Array) -> tuple[Any, ...]:
    """Van Genuchten parameters, two points of the curve and K_sat.

    Inputs of these `names` -> theta_s, theta_r [-], alpha [cm-1], n [-], theta_fc, theta_wp [-] and, with pH, CEC and
    topsoil, k_sat [cm d-1].
    """
    x = dict(zip(names, arrays, strict=True))
    sand, c, si, q = x["sand"], x["clay"], x["silt"], 1 / (x["organic_carbon"] + 1)
    theta_s, alpha, n = _RETENTION[retention][0](x)
    theta_r = np.where(sand >= 2, 0 * sand + 0.041, 0 * sand + 0.179)
    theta_fc = (
        0.2449 - 0.1887 * q + 0.004527 * c + 0.001535 * si + 0.001442 * si * q - 5.11e-5 * si * c + 8.676e-4 * c * q
    )
    theta_wp = (
        0.09878 + 0.002127 * c - 8.366e-4 * si - 0.0767 * q + 3.853e-5 * si * c + 0.00233 * c * q + 9.498e-4 * si * q
    )
    results = (theta_s, theta_r, alpha, n, theta_fc, theta_wp)
    if _has_k_sat(names):
        k_sat = power_of_ten(
            0.40220 + 0.26122 * x["ph"] + 0.44565 * x["topsoil"] - 0.02329 * c - 0.01265 * si - 0.01038 * x["cec"]
        )
        return (*results, k_sat)
    return results


def _has_k_sat(names: tuple[str, ...]) -> bool:
    return {"ph", "cec", "topsoil"} <= set(names)


def _organic(names: tuple[str, ...], *arrays: Array) -> Any:
    """Organic horizons, which the source excludes."""
    x = dict(zip(names, arrays, strict=True))
    return (x["organic_carbon"] >= 12 + 0.1 * x["clay"]) | ((x["organic_carbon"] >= 18) & (x["clay"] >= 60))


_POINTS = ("theta_s", "theta_r", "alpha", "n", "theta_fc", "theta_wp")


def _resolve(entry: PTF, available: frozenset[str]) -> PTF:
    chosen = entry.options["retention"]
    if chosen == "auto":
        retention = 20 if {"ph", "cec"} <= available else 22 if "ph" in available else 21
    else:
        retention = int(str(chosen)[-2:])
    names = _RETENTION[retention][1]
    if {"ph", "cec"} <= available | set(names):  # K_sat can be had too
        names = (*names, *(name for name in ("ph", "cec", "topsoil") if name not in names))
    outputs = (*_POINTS, "k_sat") if _has_k_sat(names) else _POINTS
    return replace(
        entry,
        function=partial(toth2015, retention, names),
        outside=partial(_organic, names),
        inputs=variables(*names),
        outputs=variables(*outputs),
        optional=(),
        resolver=None,
    )


_BASE = _RETENTION[21][1]
TOTH_2015 = PTF(
    "toth2015",
    partial(toth2015, 21, _BASE),
    inputs=variables(*_BASE),
    outputs=variables(*_POINTS),
    title="Van Genuchten parameters, field capacity, wilting point and (with pH and CEC) K_sat; European mineral soils",
    reference=(
        "Tóth, B., Weynants, M., Nemes, A., Makó, A., Bilas, G., Tóth, G. (2015): New generation of hydraulic "
        "pedotransfer functions for Europe. European Journal of Soil Science 66(1), 226-238"
    ),
    doi="10.1111/ejss.12192",
    optional=variables("ph", "cec"),
    curve="van_genuchten",
    outside=partial(_organic, _BASE),
    options={"retention": "auto"},
    choices={"retention": ("auto", "PTF20", "PTF21", "PTF22", 20, 21, 22)},
    resolver=_resolve,
)
