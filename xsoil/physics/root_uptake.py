"""Water uptake by roots: where the roots are, how they suffer, what reaches them (plain operators)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["feddes", "feddes_onset", "partition", "root_fraction", "s_shaped"]

EXTINCTION = 0.39
"""Of radiation per unit of leaf area index."""


def partition(exp: Callable[[Any], Any]) -> Callable[..., Any]:
    """Build the split of potential evapotranspiration on an elementwise exponential.

    Returns
    -------
    callable
        ``split(pet, lai)`` -> ``transpiration, evaporation``: pet (1 - e^(-0.39 lai)) and the rest, in units of pet.
    """

    def split(pet: Any, lai: Any) -> Any:
        evaporation = pet * exp(-EXTINCTION * lai)
        return pet - evaporation, evaporation

    return split


def root_fraction(where: Callable[[Any, Any, Any], Any]) -> Callable[..., Any]:
    """Build the share of the roots above a depth on an elementwise selection.

    Returns
    -------
    callable
        ``above(depth, root_depth)``: the integral of b(x), which is 5/3 / L down to 0.2 L, then falls linearly to 0 at
        the root depth L; 1 below. Both in the same unit.

    References
    ----------
    Hoffman & van Genuchten (1983), in: Limitations to Efficient Water Use in Crop Production, 77.
    """

    def above(depth: Any, root_depth: Any) -> Any:
        relative = depth / root_depth
        rest = where(relative < 1, 1 - relative, 0.0)
        return where(relative < 0.2, relative * (5 / 3), 1 - (25 / 24) * rest * rest)

    return above


def s_shaped(where: Callable[[Any, Any, Any], Any]) -> Callable[..., Any]:
    """Build the S-shaped stress function on an elementwise selection.

    Returns
    -------
    callable
        ``stress(h, h50)`` -> 1 / (1 + (h/h50)^3) and its derivative by h [cm-1]; 1 and 0 from h = 0 on. h50 < 0.

    References
    ----------
    van Genuchten (1987), A numerical model for water and solute movement in and below the root zone, eq. 5.
    """

    def stress(h: Any, h50: Any) -> Any:
        ratio = where(h < 0, h, 0.0) / h50
        square = ratio * ratio
        factor = 1 / (1 + square * ratio)
        return factor, -3 * square / h50 * factor * factor

    return stress


def feddes(where: Callable[[Any, Any, Any], Any]) -> Callable[..., Any]:
    """Build the trapezoidal stress function on an elementwise selection.

    Returns
    -------
    callable
        ``stress(h, h1, h2, h3, h4)`` -> the factor, 0 above h1, rising to 1 from h1 to h2, 1 down to h3, falling to 0
        at h4, and its derivative by h [cm-1]; heads in cm with 0 >= h1 > h2 >= h3 > h4.

    References
    ----------
    Feddes, Kowalik & Zaradny (1978), Simulation of field water use and crop yield.
    """

    def stress(h: Any, h1: Any, h2: Any, h3: Any, h4: Any) -> Any:
        wet, dry = (h1 - h) / (h1 - h2), (h - h4) / (h3 - h4)
        low = where(wet < dry, wet, dry)
        slope = where(wet < dry, -1 / (h1 - h2), 1 / (h3 - h4))
        inside = (low > 0) & (low < 1)
        return where(low > 1, 1.0, where(low > 0, low, 0.0)), where(inside, slope, 0.0)

    return stress


def feddes_onset(where: Callable[[Any, Any, Any], Any]) -> Callable[..., Any]:
    """Build the head at which dry stress begins, which depends on the potential transpiration.

    Returns
    -------
    callable
        ``onset(transpiration, h3_high, h3_low)`` -> h3 [cm]: `h3_high` from 0.5 cm d-1 on, `h3_low` up to 0.1 cm d-1,
        linear between.
    """

    def onset(transpiration: Any, h3_high: Any, h3_low: Any) -> Any:
        share = (transpiration - 0.1) / 0.4
        share = where(share < 0, 0.0, where(share > 1, 1.0, share))
        return h3_low + (h3_high - h3_low) * share

    return onset
