"""Retention by Fredlund & Xing (1994) with conductivity by Wang et al. (FXW-M3), down to oven dryness."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from xsoil.physics.elementary import LEAST, Elementary

__all__ = [
    "fredlund_xing_wang",
    "fredlund_xing_wang_anchors",
    "fredlund_xing_wang_head",
    "fredlund_xing_wang_retention",
    "fredlund_xing_wang_sensitivity",
]

# Suctions [cm]: macropores end, residual, film flow is scaled, oven dry.
AIR_ENTRY, RESIDUAL, FILM, OVEN_DRY = 16.0, 1.5e4, 1e5, 6.3e6
# log(1 + h_0 / h_r)
DRYING = 6.042632833682381
# Film conductivity [cm d-1] at `FILM` per unit of theta_s Gamma, and the exponent l of the tortuosity.
FILM_CONDUCTIVITY, TORTUOSITY = 2.693e-6, 3.5
# Heads searched for a given theta: log |h| from here to that of oven dryness.
_LOWEST, _HIGHEST = -23.0, 15.65606019136176


def _shape(functions: Elementary) -> Callable[..., Any]:
    """log(1 + y), log(y / (1 + y)) and y with y = log(1 + (alpha |h|)^n / e), and dy / dlog|h|."""
    exp, log, log1p, where = functions.exp, functions.log, functions.log1p, functions.where

    def shape(suction: Any, alpha: Any, n: Any) -> Any:
        power = n * log(alpha * suction) - 1
        dry = power > 0
        smaller = exp(-abs(power))
        y = log1p(smaller) + where(dry, power, 0.0)
        rise = n * where(dry, 1.0, smaller) / (1 + smaller)
        of_one_and_y = log1p(y)
        return of_one_and_y, log(y) - of_one_and_y, y, rise

    return shape


def _retained(functions: Elementary) -> Callable[..., Any]:
    """theta, -dtheta/d|h| and Gamma at a suction, from the shape there."""
    exp, log1p = functions.exp, functions.log1p

    def retained(suction: Any, theta_s: Any, m: Any, of_one_and_y: Any, slower: Any) -> Any:
        gamma = exp(-m * of_one_and_y)
        drying = 1 - log1p(suction / RESIDUAL) / DRYING
        rate = theta_s * gamma * (1 / (DRYING * (RESIDUAL + suction)) + drying * m * slower / suction)
        return theta_s * drying * gamma, rate, gamma

    return retained


def fredlund_xing_wang_anchors(functions: Elementary) -> Callable[..., Any]:
    """Build what the conductivity needs besides the parameters, once per soil.

    Parameters
    ----------
    functions : Elementary
        Of the runtime.

    Returns
    -------
    callable
        ``anchors(theta_s, alpha, n, m, k_sat)`` -> ``k_a, wet, scale, gamma_0, mu_a``: K at h_a = -16 cm [cm d-1, at
        most k_sat], the slope of log K in log(1 + y) between h_a and saturation, 1 / (Gamma(h_a) - Gamma(h_0)),
        Gamma(h_0), mu(h_a).
    """
    exp, expm1, log, where = functions.exp, functions.expm1, functions.log, functions.where
    shape = functions.compiled(_shape(functions))

    def anchors(theta_s: Any, alpha: Any, n: Any, m: Any, k_sat: Any) -> Any:
        entry, entry_ratio, _, _ = shape(AIR_ENTRY + 0 * alpha, alpha, n)
        film, film_ratio, _, _ = shape(FILM + 0 * alpha, alpha, n)
        end, _, _, _ = shape(OVEN_DRY + 0 * alpha, alpha, n)
        gamma_0 = exp(-m * end)
        gamma_m = exp(-m * film)
        scale = 1 / (exp(-m * entry) - gamma_0)
        mu_a = -expm1((1 - 1 / n) * entry_ratio)
        mu_m = -expm1((1 - 1 / n) * film_ratio)
        # In logarithms: the quotients leave the range of numbers for steep curves.
        log_film = log(theta_s * FILM_CONDUCTIVITY) - m * film
        log_entry = log_film - TORTUOSITY * log(scale * (gamma_m - gamma_0)) + 2 * (log(mu_a) - log(mu_m))
        capped = log_entry > log(k_sat)
        log_entry = where(capped, log(k_sat), log_entry)
        return exp(log_entry), (log_entry - log(k_sat)) / entry, scale, gamma_0, mu_a

    return anchors


def fredlund_xing_wang(functions: Elementary) -> Callable[..., Any]:
    """Build the curves on the elementary functions of a runtime.

    Parameters
    ----------
    functions : Elementary
        Of the runtime.

    Returns
    -------
    callable
        ``curves(h, theta_s, alpha, n, m, k_sat, k_a, wet, scale, gamma_0, mu_a)`` -> ``theta`` [m3 m-3],
        ``dtheta/dh`` [cm-1], ``K`` [cm d-1], ``dK/dh`` [d-1] at the pressure head `h` [cm]; from h = 0 on theta_s, 0,
        k_sat, 0. m is free; the last five are those of `fredlund_xing_wang_anchors`.

    Notes
    -----
    theta = theta_s [1 - log(1 + h/h_r) / log(1 + h_0/h_r)] Gamma, Gamma = log(e + |alpha h|^n)^-m. Below h_a = -16 cm,
    K = K(h_a) [(Gamma - Gamma_0) / (Gamma_a - Gamma_0)]^3.5 (mu / mu_a)^2; above, log K goes from log K(h_a) to
    log k_sat in proportion to log(1 + y) with y = log(1 + |alpha h|^n / e).

    References
    ----------
    Fredlund & Xing (1994), Can. Geotech. J. 31, 521; Wang et al. (2018), Water Resour. Res. 54, 6860.
    """
    exp, expm1, log, where = functions.exp, functions.expm1, functions.log, functions.where
    shape, retained = functions.compiled(_shape(functions)), functions.compiled(_retained(functions))

    def curves(
        h: Any, theta_s: Any, alpha: Any, n: Any, m: Any, k_sat: Any,
        k_a: Any, wet: Any, scale: Any, gamma_0: Any, mu_a: Any,
    ) -> Any:  # fmt: skip
        saturated = h > -LEAST
        suction = where(saturated, 1.0, -h)
        of_one_and_y, log_ratio, y, rise = shape(suction, alpha, n)
        slower = rise / (1 + y)  # dlog(1 + y) / dlog|h|
        theta, capacity, gamma = retained(suction, theta_s, m, of_one_and_y, slower)

        macro = k_sat * exp(wet * of_one_and_y)
        macro_slope = -wet * slower

        some = where(gamma > gamma_0, gamma - gamma_0, 1e-90)
        relative = some * scale
        mu = -expm1((1 - 1 / n) * log_ratio)
        micro = k_a * exp(TORTUOSITY * log(relative)) * (mu / mu_a) * (mu / mu_a)
        micro_slope = TORTUOSITY * m * gamma * slower / some + 2 * (1 - mu) * (1 - 1 / n) * (rise / y - slower) / mu

        dry = suction > AIR_ENTRY
        conductivity = where(dry, micro, macro)
        slope = conductivity * where(dry, micro_slope, macro_slope) / suction
        return (
            where(saturated, theta_s, theta),
            where(saturated, 0.0, capacity),
            where(saturated, k_sat, conductivity),
            where(saturated, 0.0, slope),
        )

    return curves


def fredlund_xing_wang_retention(functions: Elementary) -> Callable[..., Any]:
    """Build the retention curve alone on the elementary functions of a runtime.

    Parameters
    ----------
    functions : Elementary
        Of the runtime.

    Returns
    -------
    callable
        ``retention(h, theta_s, alpha, n, m)`` -> theta [m3 m-3], dtheta/dh [cm-1] as in `fredlund_xing_wang`.
    """
    where = functions.where
    shape, retained = functions.compiled(_shape(functions)), functions.compiled(_retained(functions))

    def retention(h: Any, theta_s: Any, alpha: Any, n: Any, m: Any) -> Any:
        saturated = h > -LEAST
        suction = where(saturated, 1.0, -h)
        of_one_and_y, _, y, rise = shape(suction, alpha, n)
        theta, capacity, _ = retained(suction, theta_s, m, of_one_and_y, rise / (1 + y))
        return where(saturated, theta_s, theta), where(saturated, 0.0, capacity)

    return retention


def fredlund_xing_wang_sensitivity(functions: Elementary) -> Callable[..., Any]:
    """Build the retention curve with its derivatives with respect to its shape.

    Parameters
    ----------
    functions : Elementary
        Of the runtime.

    Returns
    -------
    callable
        ``sensitivity(suction, theta_s, alpha, n, m)`` -> theta, dtheta/dlog(alpha), dtheta/dlog(n), dtheta/dlog(m) at
        a suction above 0 [cm].
    """
    log = functions.log
    shape, retained = functions.compiled(_shape(functions)), functions.compiled(_retained(functions))

    def sensitivity(suction: Any, theta_s: Any, alpha: Any, n: Any, m: Any) -> Any:
        of_one_and_y, _, y, rise = shape(suction, alpha, n)
        slower = rise / (1 + y)
        theta, _, _ = retained(suction, theta_s, m, of_one_and_y, slower)
        by_alpha = -m * theta * slower
        return theta, by_alpha, by_alpha * log(alpha * suction), -m * theta * of_one_and_y

    return sensitivity


def fredlund_xing_wang_head(functions: Elementary) -> Callable[..., Any]:
    """Build the inverse of the retention curve on the elementary functions of a runtime.

    Parameters
    ----------
    functions : Elementary
        Of the runtime.

    Returns
    -------
    callable
        ``head(theta, theta_s, alpha, n, m)`` -> h [cm]; 0 from theta_s on, NaN below 0. The curve has no inverse in
        closed form: log|h| is bisected, and a last step of Newton carries the gradient.
    """
    exp, where = functions.exp, functions.where
    retention = functions.compiled(fredlund_xing_wang_retention(functions))

    def head(theta: Any, theta_s: Any, alpha: Any, n: Any, m: Any) -> Any:
        inside = (theta >= 0) & (theta < theta_s)
        target = where(inside, theta, 0.5 * theta_s)
        low, high = 0 * target * alpha * n * m + _LOWEST, 0 * target * alpha * n * m + _HIGHEST
        for _ in range(60):
            middle = (low + high) / 2
            wetter = retention(-exp(middle), theta_s, alpha, n, m)[0] > target
            low, high = where(wetter, middle, low), where(wetter, high, middle)
        nearly = -exp((low + high) / 2)
        value, capacity = retention(nearly, theta_s, alpha, n, m)
        found = nearly + (target - value) / capacity
        return where(inside, found, where(theta >= theta_s, 0.0, math.nan))

    return head
