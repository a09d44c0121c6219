"""The elementary functions a runtime brings along: formulas are built on them once, for numpy, numba and torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["LEAST", "NUMPY", "Elementary"]

LEAST = 1e-200
"""Suctions below count as none, so that logarithms stay those of normal numbers."""

Function = Callable[[Any], Any]


def _as_it_is(function: Any) -> Any:
    return function


@dataclass(frozen=True)
class Elementary:
    """Elementwise functions of one runtime.

    Parameters
    ----------
    exp, expm1, log, log1p : callable
        As in numpy. The formulas call `log` above 0 and `log1p` from 0 on only.
    where : callable
        ``where(condition, yes, no)``; the formulas keep both sides finite, so that gradients pass through it.
    compiled : callable
        What a formula does to functions of its own before it calls them; nothing except under numba.
    """

    exp: Function
    expm1: Function
    log: Function
    log1p: Function
    where: Callable[[Any, Any, Any], Any]
    compiled: Callable[[Any], Any] = _as_it_is


NUMPY = Elementary(np.exp, np.expm1, np.log, np.log1p, np.where)
