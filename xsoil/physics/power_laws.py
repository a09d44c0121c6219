"""Brooks-Corey (and Campbell, its case theta_r = 0, lambda = 1/b), Gardner and Haverkamp, with all derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from xsoil.physics.elementary import LEAST, Elementary

__all__ = ["brooks_corey", "brooks_corey_head", "gardner", "gardner_head", "haverkamp", "haverkamp_head"]


def brooks_corey(functions: Elementary) -> Callable[..., Any]:
    """Build the curves of Brooks & Corey on the elementary functions of a runtime.

    Campbell (1974) and Clapp & Hornberger (1978) are the case theta_r = 0, lambda = 1/b: K = k_sat S^(2b + 3).

    Parameters
    ----------
    functions : Elementary
        Of the runtime.

    Returns
    -------
    callable
        ``curves(h, theta_r, theta_s, psi_s, lambda_, k_sat)`` -> theta [m3 m-3], dtheta/dh [cm-1],
        K = k_sat S_e^(3 + 2/lambda) [cm d-1], dK/dh [d-1]; from air entry `psi_s` [cm, negative] on theta_s, 0,
        k_sat, 0.

    References
    ----------
    Brooks & Corey (1964), Hydrology Paper 3, Colorado State University.
    """
    exp, log, where = functions.exp, functions.log, functions.where

    def curves(h: Any, theta_r: Any, theta_s: Any, psi_s: Any, lambda_: Any, k_sat: Any) -> Any:
        wet = h >= psi_s
        beyond = log(where(wet, 1.0, h / psi_s))
        saturation = exp(-lambda_ * beyond)
        conductivity = k_sat * exp(-(3 * lambda_ + 2) * beyond)
        rate = where(wet, 0.0, -1 / where(wet, -1.0, h))
        return (
            theta_r + (theta_s - theta_r) * saturation,
            (theta_s - theta_r) * lambda_ * saturation * rate,
            conductivity,
            (3 * lambda_ + 2) * conductivity * rate,
        )

    return curves


def brooks_corey_head(functions: Elementary) -> Callable[..., Any]:
    """Build h(theta): ``head(theta, theta_r, theta_s, psi_s, lambda_)``; psi_s from theta_s on, NaN up to theta_r."""
    exp, log, where = functions.exp, functions.log, functions.where

    def head(theta: Any, theta_r: Any, theta_s: Any, psi_s: Any, lambda_: Any) -> Any:
        saturation = (theta - theta_r) / (theta_s - theta_r)
        inside = (saturation > 0) & (saturation < 1)
        found = psi_s * exp(-log(where(inside, saturation, 0.5)) / lambda_)
        return where(inside, found, where(saturation >= 1, psi_s, math.nan))

    return head


def gardner(functions: Elementary) -> Callable[..., Any]:
    """Build the exponential curves of Gardner on the elementary functions of a runtime.

    Parameters
    ----------
    functions : Elementary
        Of the runtime.

    Returns
    -------
    callable
        ``curves(h, theta_r, theta_s, alpha, k_sat)`` -> theta, dtheta/dh, K, dK/dh with S_e = exp(alpha h),
        K = k_sat exp(alpha h) below h = 0; theta_s, 0, k_sat, 0 above.

    References
    ----------
    Gardner (1958), Soil Sci. 85, 228; the retention of Srivastava & Yeh (1991), Water Resour. Res. 27, 753.
    """
    exp, where = functions.exp, functions.where

    def curves(h: Any, theta_r: Any, theta_s: Any, alpha: Any, k_sat: Any) -> Any:
        wet = h > -LEAST
        saturation = exp(alpha * where(wet, 0.0, h))
        rate = where(wet, 0.0, alpha * saturation)
        return (
            theta_r + (theta_s - theta_r) * saturation,
            (theta_s - theta_r) * rate,
            k_sat * saturation,
            k_sat * rate,
        )

    return curves


def gardner_head(functions: Elementary) -> Callable[..., Any]:
    """Build h(theta): ``head(theta, theta_r, theta_s, alpha)``; 0 from theta_s on, NaN at and below theta_r."""
    log, where = functions.log, functions.where

    def head(theta: Any, theta_r: Any, theta_s: Any, alpha: Any) -> Any:
        saturation = (theta - theta_r) / (theta_s - theta_r)
        inside = (saturation > 0) & (saturation < 1)
        return where(inside, log(where(inside, saturation, 0.5)) / alpha, where(saturation >= 1, 0.0, math.nan))

    return head


def haverkamp(functions: Elementary) -> Callable[..., Any]:
    """Build the curves of Haverkamp et al. on the elementary functions of a runtime.

    Parameters
    ----------
    functions : Elementary
        Of the runtime.

    Returns
    -------
    callable
        ``curves(h, theta_r, theta_s, a, beta, k_sat, k_a, gamma)`` -> theta, dtheta/dh, K, dK/dh with
        S_e = a / (a + |h|^beta), K = k_sat k_a / (k_a + |h|^gamma) below h = 0 [cm]; theta_s, 0, k_sat, 0 above.

    References
    ----------
    Haverkamp et al. (1977), Soil Sci. Soc. Am. J. 41, 285.
    """
    exp, log, where = functions.exp, functions.log, functions.where

    def curves(h: Any, theta_r: Any, theta_s: Any, a: Any, beta: Any, k_sat: Any, k_a: Any, gamma: Any) -> Any:
        wet = h > -LEAST
        suction = where(wet, 1.0, -h)
        of_suction = log(suction)
        retained, conducted = exp(beta * of_suction), exp(gamma * of_suction)
        saturation = where(wet, 1.0, a / (a + retained))
        conductivity = where(wet, k_sat, k_sat * k_a / (k_a + conducted))
        rate = where(wet, 0.0, 1 / suction)
        return (
            theta_r + (theta_s - theta_r) * saturation,
            (theta_s - theta_r) * saturation * beta * retained / (a + retained) * rate,
            conductivity,
            conductivity * gamma * conducted / (k_a + conducted) * rate,
        )

    return curves


def haverkamp_head(functions: Elementary) -> Callable[..., Any]:
    """Build h(theta): ``head(theta, theta_r, theta_s, a, beta)``; 0 from theta_s on, NaN at and below theta_r."""
    exp, log, where = functions.exp, functions.log, functions.where

    def head(theta: Any, theta_r: Any, theta_s: Any, a: Any, beta: Any) -> Any:
        saturation = (theta - theta_r) / (theta_s - theta_r)
        inside = (saturation > 0) & (saturation < 1)
        found = -exp(log(a * (1 / where(inside, saturation, 0.5) - 1)) / beta)
        return where(inside, found, where(saturation >= 1, 0.0, math.nan))

    return head
