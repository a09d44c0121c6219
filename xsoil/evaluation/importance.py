"""What a model gains from each of its predictors: they are shuffled, or left out. Any model will do."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr

from xsoil.data.objects import decode
from xsoil.errors import ArgumentError, AxisError, MissingVariableError, UnknownNameError
from xsoil.evaluation.metrics import METRICS, metrics_of_moments, moments

__all__ = ["Together", "drop_one_importance", "permutation_importance"]

Predict = Callable[[xr.Dataset], Any]
ERRORS = ("rmse", "ubrmse")
Together = Literal["values", "series", "maps"]
"""What stays together as a predictor's values change places."""


def permutation_importance(
    predict: Predict,
    ds: xr.Dataset,
    target: str,
    predictors: Sequence[str] | None = None,
    *,
    along: Hashable | Sequence[Hashable] | None = None,
    together: Together = "values",
    metric: str = "rmse",
    repeats: int = 10,
    seed: int = 0,
) -> xr.Dataset:
    """How much worse a model becomes as one predictor after the other is shuffled.

    After [1]_.

    Parameters
    ----------
    predict : callable
        Takes a dataset like `ds`, gives the predictions: a DataArray, or a Dataset with `target` (such as the
        `predict` of a `MoistureModel`).
    ds : xr.Dataset
        Predictors and the observed `target`, on data that the model was not trained on.
    target : str
    predictors : sequence of str, optional
        Those to be shuffled; all variables but the target by default.
    along : str or sequence of str, optional
        Dims along which values change places; all of a predictor's by default.
    together : {"values", "series", "maps"}
        What the model reads as a whole, and stays so. ``"values"``: each value by itself. ``"series"``, for models with
        a memory: each place gets the series of another one; a predictor of one place, or of none, is rolled along
        ``time`` by a random number of steps. ``"maps"``, for models that look at neighbours: all of a predictor is
        rolled, along each of its dims. Rolling is by a quarter of the dim's length at least. Not with `along`.
    metric : str
        Of `xsoil.evaluate`, over all samples together: "rmse", "ubrmse", "r", "nse", "kge", "bias" (its size).
    repeats : int
        Shuffles of each predictor.
    seed : int

    Returns
    -------
    xr.Dataset
        `score` of the model as it is; on `predictor`: `importance`, the mean loss of skill (rise of an error, fall of
        r, NSE or KGE), its standard deviation over the repeats `importance_std`, `ratio` (shuffled over plain score),
        `rank` from 1; `shuffled` (predictor, repeat), the scores.

    Raises
    ------
    MissingVariableError, AxisError, UnknownNameError, ArgumentError
        No such variable, dim or metric; predictions without the target or on other cells.

    References
    ----------
    .. [1] Breiman (2001), Machine Learning 45, 5-32; Fisher et al. (2019), J. Mach. Learn. Res. 20 (177).
    """
    names = _names(ds, target, predictors)
    if isinstance(repeats, bool) or not isinstance(repeats, (int, np.integer)) or repeats < 1:
        raise ArgumentError(f"repeats={repeats!r}; expected a whole number of at least 1")
    over = (
        None if along is None else ([along] if isinstance(along, str) or not isinstance(along, Sequence) else [*along])
    )
    if together not in get_args(Together):
        raise UnknownNameError.of("together", together, get_args(Together))
    if over is not None and together != "values":
        raise ArgumentError(f"along={along!r} and together={together!r}; give one of them")
    changed_places = {"values": _shuffled, "series": _exchanged, "maps": _rolled}[together]
    score = _score(predict(ds), ds, target, metric)
    shuffled = np.empty((len(names), repeats))
    for row, name in enumerate(names):
        draw = np.random.default_rng([seed, row])
        for repeat in range(repeats):
            changed = ds.assign({name: changed_places(ds[name], over, draw)})
            shuffled[row, repeat] = _score(predict(changed), ds, target, metric)
    out = _table(names, score, shuffled.mean(axis=1), metric)
    out["shuffled"] = (("predictor", "repeat"), shuffled, {"long_name": f"{metric} with the predictor shuffled"})
    out["importance_std"] = ("predictor", shuffled.std(axis=1), out.importance.attrs)
    return out


def drop_one_importance(
    fit: Callable[[tuple[str, ...]], Predict],
    ds: xr.Dataset,
    target: str,
    predictors: Sequence[str],
    *,
    metric: str = "rmse",
) -> xr.Dataset:
    """How much worse a model is when it is trained without one predictor (Poehls et al. 2025).

    Unlike shuffling, this tells what the other predictors cannot stand in for; it takes one training for each.

    Parameters
    ----------
    fit : callable
        Takes the names of the predictors to use, trains a model with them (on training data of its own), and gives its
        `predict`, as `permutation_importance` takes it. Differences smaller than those between seeds mean nothing.
    ds : xr.Dataset
        Predictors and the observed `target`, on data that no model is trained on.
    target : str
    predictors : sequence of str
        Two or more.
    metric : str
        As in `permutation_importance`.

    Returns
    -------
    xr.Dataset
        `score` with all predictors; on `predictor`: `importance`, the loss of skill without it, `ratio`, `rank`.

    Raises
    ------
    MissingVariableError, UnknownNameError, ArgumentError
        As `permutation_importance`.
    """
    names = _names(ds, target, predictors)
    if len(names) < 2:
        raise ArgumentError(f"predictors={names}; expected two or more, of which one may be left out")
    score = _score(fit(tuple(names))(ds), ds, target, metric)
    without = [_score(fit(tuple(n for n in names if n != name))(ds), ds, target, metric) for name in names]
    return _table(names, score, np.array(without), metric)


def _names(ds: xr.Dataset, target: str, predictors: Sequence[str] | None) -> list[str]:
    names = [str(n) for n in ds.data_vars if n != target] if predictors is None else list(predictors)
    for name in (target, *names):
        if name not in ds.data_vars:
            raise MissingVariableError(f"no {name!r} among {sorted(map(str, ds.data_vars))}")
    return names


def _score(predicted: Any, ds: xr.Dataset, target: str, metric: str) -> float:
    """One number for all samples, the size of the bias."""
    if metric not in METRICS:
        raise UnknownNameError.of("metric", metric, METRICS)
    if isinstance(predicted, xr.Dataset):
        if target not in predicted:
            raise MissingVariableError(f"the predictions have no {target!r} among {sorted(map(str, predicted))}")
        predicted = predicted[target]
    observed = decode(ds[target])
    if not isinstance(predicted, xr.DataArray) or set(predicted.dims) != set(observed.dims):
        found = [str(d) for d in getattr(predicted, "dims", [])] or type(predicted).__name__
        raise ArgumentError(f"the predictions are on {found}; expected {[str(d) for d in observed.dims]}")
    try:
        predicted, observed = xr.align(predicted.transpose(*observed.dims), observed, join="exact", copy=False)
    except ValueError as error:
        raise ArgumentError(f"the predictions are not on the cells of {target!r}: {error}") from error
    values = metrics_of_moments(moments(predicted.to_numpy().ravel(), observed.to_numpy().ravel()))
    value = float(values[METRICS.index(metric)])
    return abs(value) if metric == "bias" else value


def _shuffled(array: xr.DataArray, along: list[Hashable] | None, draw: np.random.Generator) -> xr.DataArray:
    dims = [dim for dim in array.dims if along is None or dim in along]
    if not dims:
        raise AxisError(f"{array.name!r} has none of the dims {along}, along which it could be shuffled")
    order = [*dims, *(dim for dim in array.dims if dim not in dims)]
    turned = array.transpose(*order)
    values = turned.to_numpy()
    lead = values.reshape(-1, *values.shape[len(dims) :])
    return turned.copy(data=lead[draw.permutation(len(lead))].reshape(values.shape)).transpose(*array.dims)


def _exchanged(array: xr.DataArray, along: list[Hashable] | None, draw: np.random.Generator) -> xr.DataArray:
    """Each place gets the series of another one."""
    places: list[Hashable] = [dim for dim in array.dims if dim != "time"]
    several = int(np.prod([array.sizes[dim] for dim in places])) > 1
    return _shuffled(array, places, draw) if several else _rolled(array, along, draw)


def _rolled(array: xr.DataArray, along: list[Hashable] | None, draw: np.random.Generator) -> xr.DataArray:
    """Every dim that has several values rolled, far enough that neighbours have nothing to do with each other."""
    steps = {}
    for dim, size in array.sizes.items():
        if size > 1:
            least = max(size // 4, 1)
            steps[dim] = int(draw.integers(least, size - least, endpoint=True))
    return array.roll(steps)


def _table(names: list[str], score: float, changed: np.ndarray, metric: str) -> xr.Dataset:
    worse = changed - score if metric in (*ERRORS, "bias") else score - changed
    rank = np.empty(len(names), int)
    rank[np.argsort(-worse, kind="stable")] = np.arange(1, len(names) + 1)
    out = xr.Dataset(
        {
            "score": ((), score, {"long_name": f"{metric} of the model as it is"}),
            "importance": ("predictor", worse, {"long_name": f"loss of skill without the predictor ({metric})"}),
            "ratio": ("predictor", changed / score, {"long_name": f"{metric} without the predictor over {metric}"}),
            "rank": ("predictor", rank, {"long_name": "1 is the most important predictor"}),
        },
        {"predictor": names},
        {"metric": metric},
    )
    return out
