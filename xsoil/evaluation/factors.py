"""Where is a model good, and why? Random forests of its scores on attributes of sites; their principal components."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xsoil.data.objects import decode
from xsoil.errors import ArgumentError, GridMismatchError, MissingVariableError
from xsoil.evaluation._labels import labels_of

__all__ = ["principal_components", "skill_factors"]

FEWEST = 20
"""Sites of which a forest can tell anything."""
FOLDS = 5


def skill_factors(
    skill: xr.DataArray,
    factors: xr.Dataset,
    *,
    variables: Sequence[str] | None = None,
    trees: int = 500,
    least: int = 3,
    repeats: int = 10,
    seed: int = 0,
) -> xr.Dataset:
    """Which attributes of sites go with the skill of a model: a random forest of its scores.

    The analysis of [1]_.

    Parameters
    ----------
    skill : xr.DataArray
        A score of each site, such as r; sites without one are left out.
    factors : xr.Dataset
        Attributes of the sites, on the dims of `skill`; text and variables with `flag_values` are classes. Missing
        values are allowed.
    variables : sequence of str, optional
        Which of them; all on the dims of the sites by default.
    trees, least : int
        Of the forest: trees, and least number of sites in a leaf.
    repeats : int
        Shuffles of each factor.
    seed : int

    Returns
    -------
    xr.Dataset
        On `factor`: `importance`, its share of the reduction of the variance (sums to 1; Liu et al., Fig. 5), and
        `permutation` with `permutation_std`, how much R2 falls on sites that the forest was not fitted to as the factor
        is shuffled (mean and deviation over 5 folds), which does not favour factors of many values; `oob_r2`, `oob_r`:
        R2 and correlation of the out-of-bag predictions: near or below 0, the importances mean nothing; `predicted`,
        the out-of-bag skill of each site; `sites`.

    Raises
    ------
    MissingVariableError, GridMismatchError, ArgumentError
        No such factor; on other sites; fewer than 20 sites, or the same score at all; scikit-learn is not installed.

    References
    ----------
    .. [1] Liu et al. (2023), Geosci. Model Dev. 16, 1553-1567, doi:10.5194/gmd-16-1553-2023.
    """
    _require_sklearn()
    from sklearn.ensemble import RandomForestRegressor  # type: ignore[import-untyped]
    from sklearn.model_selection import KFold  # type: ignore[import-untyped]

    table, columns, names = _columns(factors, list(skill.dims), variables, skill)
    score = skill.to_numpy().ravel().astype(float)
    there = np.isfinite(score)
    if there.sum() < FEWEST:
        raise ArgumentError(f"{int(there.sum())} sites have a score; a forest needs {FEWEST} or more")
    x, y = table[there], score[there]
    if not np.ptp(y) > 0:
        raise ArgumentError(f"all {y.size} sites have the same score, {y[0]:g}; expected scores that differ")

    def forest() -> Any:
        return RandomForestRegressor(trees, min_samples_leaf=least, oob_score=True, random_state=seed)

    whole = forest().fit(x, y)
    share = np.array([whole.feature_importances_[columns == k].sum() for k in range(len(names))])
    falls: list[np.ndarray] = []
    for fitted, held in KFold(FOLDS, shuffle=True, random_state=seed).split(x):
        model = forest().fit(x[fitted], y[fitted])
        falls.append(_grouped_falls(model, x[held], y[held], columns, len(names), repeats, seed))
    out_of_bag = whole.oob_prediction_
    predicted = np.full(score.size, np.nan)
    predicted[there] = out_of_bag
    units = {k: v for k, v in skill.attrs.items() if k == "units"}
    out = xr.Dataset(
        {
            "importance": ("factor", share, {"long_name": "share of the reduction of variance", "units": "1"}),
            "permutation": ("factor", np.mean(falls, axis=0), {"long_name": "fall of R2 as shuffled", "units": "1"}),
            "permutation_std": (
                "factor",
                np.std(falls, axis=0),
                {"long_name": "its deviation over folds", "units": "1"},
            ),
            "oob_r2": ((), float(whole.oob_score_), {"long_name": "R2 out of bag", "units": "1"}),
            "oob_r": (
                (),
                float(np.corrcoef(out_of_bag, y)[0, 1]),
                {"long_name": "correlation out of bag", "units": "1"},
            ),
            "predicted": (skill.dims, predicted.reshape(skill.shape), {"long_name": "skill out of bag"} | units),
            "sites": ((), int(there.sum()), _attrs("sites with a score")),
        },
        {"factor": names},
    )
    return out.assign_coords({n: c for n, c in skill.coords.items() if set(c.dims) <= set(skill.dims)})


def _grouped_falls(
    model: Any, x: np.ndarray, y: np.ndarray, columns: np.ndarray, factors: int, repeats: int, seed: int
) -> np.ndarray:
    """Fall of R2 as all columns of a factor are shuffled together."""
    total = ((y - y.mean()) ** 2).sum()

    def squared(features: np.ndarray) -> float:
        return float(1 - ((y - model.predict(features)) ** 2).sum() / total)

    plain = squared(x)
    falls = np.zeros(factors)
    for k in range(factors):
        draw = np.random.default_rng([seed, k])
        for _ in range(repeats):
            changed = x.copy()
            changed[:, columns == k] = x[draw.permutation(len(x))][:, columns == k]
            falls[k] += (plain - squared(changed)) / repeats
    return falls


def principal_components(
    ds: xr.Dataset,
    *,
    variables: Sequence[str] | None = None,
    components: int = 2,
    failed: xr.DataArray | None = None,
) -> xr.Dataset:
    """Principal components of static variables, with the sites at which a model failed marked (Poehls et al. 2025).

    Variables are standardised; classes (text, or with `flag_values`) become one column per class, which together weigh
    as much as one variable.

    Parameters
    ----------
    ds : xr.Dataset
        Attributes of the sites, such as sand, clay, ph, elevation, land cover; sites with a missing one are NaN.
    variables : sequence of str, optional
        Which of them; all by default, which must then be on the same dims.
    components : int
    failed : xr.DataArray of bool, optional
        True where the model failed, e.g. ``ubrmse_model > ubrmse_smap``.

    Returns
    -------
    xr.Dataset
        `scores` (component, sites), `loadings` (component, feature), `explained` (component), the share of the
        variance; with `failed` also the mask itself, `failed_deviation` (feature): mean of the failures in standard
        deviations from the mean of all sites (their Table 4), and `failed_separation` (component): distance of the
        means of failures and others in standard deviations of the component.

    Raises
    ------
    MissingVariableError, GridMismatchError, ArgumentError
        No such variable; on other sites; too few sites; scikit-learn is not installed.

    References
    ----------
    .. [1] Poehls et al. (2025), J. Hydrol. 651, 132624, doi:10.1016/j.jhydrol.2024.132624, Fig. 14.
    """
    _require_sklearn()
    from sklearn.decomposition import PCA  # type: ignore[import-untyped]

    chosen = list(variables) if variables is not None else [str(n) for n in ds.data_vars]
    if not chosen or chosen[0] not in ds:
        raise MissingVariableError(f"no {chosen[:1]} among {sorted(map(str, ds.data_vars))}; choose variables=...")
    like = ds[chosen[0]]
    dims = list(like.dims)
    table, columns, names = _columns(ds, dims, chosen, like)
    there = np.isfinite(table).all(axis=1)
    features = _labels_of(ds, names)
    if isinstance(components, bool) or not 1 <= components <= min(int(there.sum()) - 1, table.shape[1]):
        raise ArgumentError(
            f"components={components!r} of {int(there.sum())} whole sites and {table.shape[1]} features; expected fewer"
        )
    mean, scale = table[there].mean(axis=0), table[there].std(axis=0)
    standard = (table - mean) / np.where(scale > 0, scale, 1.0)
    weighted = standard / np.sqrt(np.bincount(columns)[columns])
    model = PCA(components, svd_solver="full").fit(weighted[there])
    scores = np.full((components, len(table)), np.nan)
    scores[:, there] = model.transform(weighted[there]).T
    out = xr.Dataset(
        {
            "scores": (
                ("component", *dims),
                scores.reshape(components, *like.shape),
                {"long_name": "principal component"},
            ),
            "loadings": (("component", "feature"), model.components_, {"long_name": "weight of the feature"}),
            "explained": (
                "component",
                model.explained_variance_ratio_,
                {"long_name": "share of the variance", "units": "1"},
            ),
        },
        {"component": np.arange(1, components + 1), "feature": features},
    )
    out = out.assign_coords({n: c for n, c in like.coords.items() if set(c.dims) <= set(dims)})
    if failed is not None:
        if set(failed.dims) != set(dims) or failed.dtype != bool:
            raise GridMismatchError(f"failed is {failed.dtype} on {list(failed.dims)}; expected bool on {dims}")
        try:
            xr.align(like, failed, join="exact", copy=False)
        except ValueError as error:
            raise GridMismatchError(f"failed is not on the sites of the variables: {error}") from error
        marked = failed.transpose(*dims).to_numpy().ravel() & there
        if not marked.any() or (marked == there).all():
            raise ArgumentError(f"{int(marked.sum())} of {int(there.sum())} whole sites failed; expected some, not all")
        others = there & ~marked
        separation = scores[:, marked].mean(axis=1) - scores[:, others].mean(axis=1)
        out["failed"] = (tuple(dims), failed.transpose(*dims).to_numpy(), {"long_name": "the model failed"})
        deviation = standard[marked].mean(axis=0)
        separation /= scores[:, there].std(axis=1)
        out["failed_deviation"] = ("feature", deviation, _attrs("mean of the failures, in deviations"))
        out["failed_separation"] = ("component", separation, _attrs("from others to failures, in deviations"))
    return out


def _require_sklearn() -> None:
    if find_spec("sklearn") is None:
        raise ArgumentError("this needs scikit-learn, which is not installed: pip install scikit-learn")


def _attrs(long_name: str) -> dict[str, str]:
    return {"long_name": long_name, "units": "1"}


def _classes(array: xr.DataArray) -> bool:
    return array.dtype.kind in "OUSb" or "flag_values" in array.attrs


def _columns(
    ds: xr.Dataset, dims: list[Hashable], variables: Sequence[str] | None, like: xr.DataArray
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Numbers (sites, columns), the variable of each column, and their names; classes become a column each."""
    chosen = (
        list(variables)
        if variables is not None
        else [str(n) for n, a in ds.data_vars.items() if set(a.dims) == set(dims)]
    )
    if not chosen:
        raise MissingVariableError(f"no variable on {[str(d) for d in dims]} among {sorted(map(str, ds.data_vars))}")
    parts, owner = [], []
    for k, name in enumerate(chosen):
        if name not in ds:
            raise MissingVariableError(f"no {name!r} among {sorted(map(str, ds.data_vars))}")
        array = ds[name]
        if set(array.dims) != set(dims):
            raise GridMismatchError(f"{name!r} is on {[str(d) for d in array.dims]}; expected {[str(d) for d in dims]}")
        try:
            xr.align(like, array, join="exact", copy=False)
        except ValueError as error:
            raise GridMismatchError(f"{name!r} is not on the same sites: {error}") from error
        turned = array.transpose(*dims)
        if _classes(array):
            values, there = (part.ravel() for part in labels_of(turned))
            found = [np.where(there, values == label, np.nan) for label in _found(array)]
        else:
            found = [decode(turned).to_numpy().ravel().astype(float)]
        parts += [np.asarray(column, float) for column in found]
        owner += [k] * len(found)
    table = np.stack(parts, axis=1)
    table[~np.isfinite(table)] = np.nan
    return table, np.array(owner), chosen


def _found(array: xr.DataArray) -> list[Any]:
    values, there = labels_of(array)
    return sorted(pd.unique(values[there]))


def _labels_of(ds: xr.Dataset, names: list[str]) -> list[str]:
    """A name for each of the columns."""
    labels = []
    for name in names:
        found = _found(ds[name]) if _classes(ds[name]) else [None]
        labels += [name if label is None else f"{name}: {label}" for label in found]
    return labels
