"""Retention by van Genuchten (1980) with conductivity by Mualem (1976), with all derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from xsoil.physics.elementary import LEAST, Elementary

__all__ = ["van_genuchten", "van_genuchten_head"]


def van_genuchten(functions: Elementary) -> Callable[..., Any]:
    """Build the curves on the elementary functions of a runtime.

    With x = (alpha |h|)^n: S_e = (1 + x)^-m, K = k_sat S_e^l (1 - (1 + 1/x)^-m)^2, m = 1 - 1/n. Only the smaller of x
    and 1/x is ever computed, so that nothing overflows and dry soils lose no digits.

    Parameters
    ----------
    functions : Elementary
        Of the runtime.

    Returns
    -------
    callable
        ``curves(h, theta_r, theta_s, alpha, n, m, k_sat, l)`` -> ``theta`` [m3 m-3], ``dtheta/dh`` [cm-1], ``K``
        [cm d-1], ``dK/dh`` [d-1] at the pressure head `h` [cm]; from h = 0 on theta_s, 0, k_sat, 0. Where n < 2,
        dK/dh is unbounded as h rises to 0.

    References
    ----------
    van Genuchten (1980), Soil Sci. Soc. Am. J. 44, 892, eqs. 3 and 8; Mualem (1976), Water Resour. Res. 12, 513.
    """
    exp, expm1, log, log1p, where = (
        functions.exp, functions.expm1, functions.log, functions.log1p, functions.where,
    )  # fmt: skip

    def curves(h: Any, theta_r: Any, theta_s: Any, alpha: Any, n: Any, m: Any, k_sat: Any, l: Any) -> Any:  # noqa: E741
        wet = h > -LEAST
        suction = where(wet, 1.0, -h)
        power = n * log(alpha * suction)  # log x
        dry = power > 0
        above = where(dry, power, 0.0)
        smaller = exp(-abs(power))
        from_smaller = log1p(smaller)
        full = m * (from_smaller + above)  # -log S_e
        share = 1 / (1 + smaller)
        part = where(dry, share, smaller * share)  # x / (1 + x)
        rest = where(dry, smaller * share, share)
        saturation = exp(-full)
        bracket = -expm1(-m * (from_smaller + (above - power)))
        conductivity = k_sat * exp(-l * full) * (bracket * bracket)
        rate = m * n / suction
        capacity = (theta_s - theta_r) * rate * part * saturation
        slope = conductivity * rate * (l * part + 2 * (1 - bracket) * rest / bracket)
        return (
            where(wet, theta_s, theta_r + (theta_s - theta_r) * saturation),
            where(wet, 0.0, capacity),
            where(wet, k_sat, conductivity),
            where(wet, 0.0, slope),
        )

    return curves


def van_genuchten_head(functions: Elementary) -> Callable[..., Any]:
    """Build the inverse of the retention curve on the elementary functions of a runtime.

    Parameters
    ----------
    functions : Elementary
        Of the runtime.

    Returns
    -------
    callable
        ``head(theta, theta_r, theta_s, alpha, n, m)`` -> h [cm]; 0 from theta_s on, NaN at and below theta_r.
    """
    exp, expm1, log, where = functions.exp, functions.expm1, functions.log, functions.where

    def head(theta: Any, theta_r: Any, theta_s: Any, alpha: Any, n: Any, m: Any) -> Any:
        saturation = (theta - theta_r) / (theta_s - theta_r)
        inside = (saturation > 0) & (saturation < 1)
        power = expm1(-log(where(inside, saturation, 0.5)) / m)
        found = -exp(log(power) / n) / alpha
        return where(inside, found, where(saturation >= 1, 0.0, math.nan))

    return head
