"""Comparing models with observations and with each other: metrics on arrays, splits, resampling."""

from xsoil.evaluation.bootstrap import paired_bootstrap
from xsoil.evaluation.intervals import crps_ensemble, crps_gaussian, interval_coverage
from xsoil.evaluation.splits import Split

__all__ = ["Split", "crps_ensemble", "crps_gaussian", "interval_coverage", "paired_bootstrap"]
