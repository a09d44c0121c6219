"""Comparing models with observations and with each other: metrics on arrays, splits, resampling."""

from xsoil.evaluation.bootstrap import paired_bootstrap
from xsoil.evaluation.splits import Split

__all__ = ["Split", "paired_bootstrap"]
