"""Parameters between bounds: the share of their interval, and the logit of that share, which has no bounds.

A logarithmic interval is halved at its geometric mean; it may lie below zero (h50 from -2000 to -50 cm).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from xsoil.errors import ArgumentError
from xsoil.physics.elementary import NUMPY, Elementary

__all__ = ["EDGE", "Bounded", "bounded", "ends_of", "to_bounded", "to_unbounded"]

EDGE = 1e-6
"""Values nearer to a bound than this share of the interval get the logit of this share, which is finite."""


def bounded(functions: Elementary) -> tuple[Callable[..., Any], ...]:
    """Build the transforms on the elementary functions of a runtime.

    Nothing but `x`, the share and z needs to be of the runtime: bounds may be plain numbers under torch too.

    Parameters
    ----------
    functions : Elementary
        Of the runtime.

    Returns
    -------
    share : callable
        ``share(x, low, high, log)``: 0 at `low`, 1 at `high`; values beyond count as the bound.
    value : callable
        ``value(share, low, high, log)``: its inverse; never leaves the interval for shares from 0 to 1.
    unbounded : callable
        ``unbounded(x, low, high, log)``: logit of the share, within +-13.8.
    value_of_unbounded : callable
        ``value_of_unbounded(z, low, high, log)``: its inverse, for any z.
    """
    exp, log_of, where = functions.exp, functions.log, functions.where

    @functions.compiled
    def share(x: Any, low: Any, high: Any, log: bool) -> Any:
        inside = where(x < low, low, where(x > high, high, x))
        if log:
            above, below = log_of(inside / low), log_of(high / inside)  # both negative below zero
        else:
            above, below = inside - low, high - inside
        return above / (above + below)

    @functions.compiled
    def value(share: Any, low: Any, high: Any, log: bool) -> Any:
        upper = share > 0.5  # reckoned from the nearer bound, so that rounding leads inward
        rest = where(upper, 1 - share, share)
        if log:
            factor = (high / low) ** rest
            return where(upper, high / factor, low * factor)
        part = (high - low) * rest
        return where(upper, high - part, low + part)

    @functions.compiled
    def unbounded(x: Any, low: Any, high: Any, log: bool) -> Any:
        found = share(x, low, high, log)
        found = where(found < EDGE, EDGE, where(found > 1 - EDGE, 1 - EDGE, found))
        return log_of(found / (1 - found))

    @functions.compiled
    def value_of_unbounded(z: Any, low: Any, high: Any, log: bool) -> Any:
        upper = z > 0
        small = exp(where(upper, -z, z))  # not of -abs(z), whose gradient is lost at 0
        found = 1 / (1 + small)
        return value(where(upper, found, small * found), low, high, log)

    return share, value, unbounded, value_of_unbounded


@lru_cache(maxsize=8)
def _built(functions: Elementary) -> tuple[Callable[..., Any], ...]:
    return bounded(functions)


def to_unbounded(x: Any, low: Any, high: Any, log: bool, functions: Elementary = NUMPY) -> Any:
    """Logit of where `x` lies between `low` and `high` (on a logarithmic scale if `log`); within +-13.8."""
    return _built(functions)[2](x, low, high, log)


def to_bounded(z: Any, low: Any, high: Any, log: bool, functions: Elementary = NUMPY) -> Any:
    """Inverse of `to_unbounded`; never leaves the bounds, for any z."""
    return _built(functions)[3](z, low, high, log)


def ends_of(name: str) -> tuple[str, str]:
    """Names of the bounds of a parameter where cells have their own, among what is known of the cells."""
    return f"{name}_low", f"{name}_high"


@dataclass(frozen=True)
class Bounded:
    """The interval of one parameter.

    Parameters
    ----------
    low, high : number or array (cells,)
        Bounds in the units of the parameter.
    log : bool
        Searched and learned on a logarithmic scale; both bounds then lie on one side of zero.

    Raises
    ------
    ArgumentError
        Bounds that are not finite, not in order, or enclose zero on a logarithmic scale.
    """

    low: ArrayLike
    high: ArrayLike
    log: bool = False

    def __post_init__(self) -> None:
        low, high = np.asarray(self.low, np.float64), np.asarray(self.high, np.float64)
        if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
            raise ArgumentError(f"bounds ({self.low!r}, {self.high!r}); expected finite numbers, the lower one first")
        if self.log and not ((low > 0) | (high < 0)).all():
            raise ArgumentError(
                f"bounds ({self.low!r}, {self.high!r}) on a logarithmic scale; "
                "expected both above or both below zero, or log=False"
            )

    def to_unbounded(self, x: Any, functions: Elementary = NUMPY) -> Any:
        """See `to_unbounded`."""
        return to_unbounded(x, self.low, self.high, self.log, functions)

    def to_bounded(self, z: Any, functions: Elementary = NUMPY) -> Any:
        """See `to_bounded`."""
        return to_bounded(z, self.low, self.high, self.log, functions)
