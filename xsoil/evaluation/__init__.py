"""Comparing models with observations and with each other: metrics, splits, rankings, importance, intervals."""

from xsoil.evaluation.bootstrap import paired_bootstrap
from xsoil.evaluation.cdf_matching import cdf_match
from xsoil.evaluation.collocation import triple_collocation
from xsoil.evaluation.factors import principal_components, skill_factors
from xsoil.evaluation.importance import drop_one_importance, permutation_importance
from xsoil.evaluation.intervals import crps_ensemble, crps_gaussian, interval_coverage
from xsoil.evaluation.ranking import head_to_head, summary
from xsoil.evaluation.splits import Split

__all__ = [
    "Split",
    "cdf_match",
    "crps_ensemble",
    "crps_gaussian",
    "drop_one_importance",
    "head_to_head",
    "interval_coverage",
    "paired_bootstrap",
    "permutation_importance",
    "principal_components",
    "skill_factors",
    "summary",
    "triple_collocation",
]
