"""Retention curves theta(h) with plain operators: numbers, numpy, numba, torch (with gradient).

Pressure heads `h` and air-entry heads `psi_s` are in cm and negative where the soil is unsaturated; from air entry
(van Genuchten: from 0) on, theta is theta_s.
"""

from __future__ import annotations

from typing import Any

__all__ = ["brooks_corey_theta", "campbell_theta", "van_genuchten_theta"]


def van_genuchten_theta(h: Any, theta_r: Any, theta_s: Any, alpha: Any, n: Any, m: Any) -> Any:
    """Water content by van Genuchten (1980), Soil Sci. Soc. Am. J. 44, 892, eq. 3.

    Parameters
    ----------
    h : number or array
        Pressure head [cm].
    theta_r, theta_s : number or array
        Residual and saturated water content [m3 m-3].
    alpha : number or array
        [cm-1].
    n, m : number or array
        Exponents [1]; m = 1 - 1/n for Mualem's conductivity.

    Returns
    -------
    number or array
        theta [m3 m-3].
    """
    suction = (abs(h) - h) / 2
    return theta_r + (theta_s - theta_r) * (1 + (alpha * suction) ** n) ** -m


def campbell_theta(h: Any, theta_s: Any, psi_s: Any, b: Any) -> Any:
    """Water content by Campbell (1974) and Clapp & Hornberger (1978): theta_s (h / psi_s)^(-1/b).

    Parameters
    ----------
    h, psi_s : number or array
        Pressure head and air-entry head [cm, negative].
    theta_s : number or array
        Saturated water content [m3 m-3].
    b : number or array
        Exponent [1].

    Returns
    -------
    number or array
        theta [m3 m-3].
    """
    return theta_s * _beyond_air_entry(h, psi_s) ** (-1 / b)


def brooks_corey_theta(h: Any, theta_r: Any, theta_s: Any, psi_s: Any, lambda_: Any) -> Any:
    """Water content by Brooks & Corey (1964): theta_r + (theta_s - theta_r) (h / psi_s)^(-lambda).

    Parameters
    ----------
    h, psi_s : number or array
        Pressure head and air-entry head [cm, negative].
    theta_r, theta_s : number or array
        Residual and saturated water content [m3 m-3].
    lambda_ : number or array
        Pore-size index [1].

    Returns
    -------
    number or array
        theta [m3 m-3].
    """
    return theta_r + (theta_s - theta_r) * _beyond_air_entry(h, psi_s) ** -lambda_


def _beyond_air_entry(h: Any, psi_s: Any) -> Any:
    """h / psi_s, and 1 where that is less: the larger of two numbers in operators that have a gradient."""
    beyond = h / psi_s - 1
    return 1 + (beyond + abs(beyond)) / 2
