"""Several models at the same sites: who wins where, head to head and by class; scores in summary."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xsoil.errors import ArgumentError, AxisError, GridMismatchError, MissingVariableError, UnknownNameError
from xsoil.evaluation._labels import labels_of

__all__ = ["BETTER", "head_to_head", "summary"]

BETTER = {
    "r": "higher", "nse": "higher", "kge": "higher", "r2": "higher",
    "rmse": "lower", "ubrmse": "lower", "mae": "lower", "crps": "lower", "bias": "nearest_zero",
}  # fmt: skip
"""Which score of a metric is better."""

LOWER: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "higher": np.negative, "lower": np.positive, "nearest_zero": np.abs,
}  # fmt: skip
"""The better the lower, after these."""

STATISTICS = ("mean", "std", "q25", "median", "q75", "n")


def head_to_head(
    scores: xr.Dataset | xr.DataArray,
    *,
    by: xr.Dataset | xr.DataArray | Sequence[xr.DataArray] | None = None,
    model_dim: Hashable = "model",
    better: str | Mapping[str, str] | None = None,
) -> xr.Dataset:
    """Rank models by the sites at which one is better than the others, also with every class counting the same.

    The head-to-head comparison of Poehls et al. (2025) [1]_: of each pair, the share of sites at which one is better
    (Fig. 13a there); the share of sites at which a model is the best of all (13b, above); and for each class of one or
    more static variables, the number of sites at which a model is the best of all, over that of the best model of the
    class, so that it receives 1, summed over the classes (13b, below, and Fig. 17).

    Parameters
    ----------
    scores : xr.Dataset or named xr.DataArray
        One variable per metric, on `model_dim` and the dims of sites, as `xsoil.evaluate` gives them, concatenated. A
        site that is NaN for a model is left out for all. Counts (`n`) are not ranked.
    by : xr.DataArray, Dataset or list of DataArray, optional
        Classes of the sites; cells without one (NaN) are left out of their variable.
    model_dim : str
    better : {"higher", "lower", "nearest_zero"} or mapping of str to these, optional
        Which scores are better, of metrics that are not in `BETTER`.

    Returns
    -------
    xr.Dataset
        `wins` (metric, model, opponent): share of sites at which the model is better than the opponent (ties count for
        neither); `best` (metric, model): share of sites at which it is better than every other; `sites`. With `by` also
        `class_points` (metric, model, class), 1 for the best model of a class, and their sum `points` (metric, model);
        `class` is named "variable: class".

    Raises
    ------
    AxisError, ArgumentError, UnknownNameError, GridMismatchError
        Fewer than two models; no metric whose better end is known; classes on other sites.

    References
    ----------
    .. [1] Poehls et al. (2025), J. Hydrol. 651, 132624, doi:10.1016/j.jhydrol.2024.132624.

    Examples
    --------
    >>> import xarray as xr
    >>> rmse = xr.DataArray([[0.03, 0.05, 0.04], [0.04, 0.04, 0.06]], dims=("model", "site"), name="rmse")
    >>> found = head_to_head(rmse.assign_coords(model=["dense", "smap"]))
    >>> found.best.sel(metric="rmse", model="dense").round(3).item()
    0.667
    """
    metrics = _metrics(scores, model_dim)
    ends = {str(name): _end(str(name), better) for name in metrics}
    first = next(iter(metrics.values()))
    models = first[model_dim].values if model_dim in first.coords else np.arange(first.sizes[model_dim])
    sites = [dim for dim in first.dims if dim != model_dim]
    labels = _classes(by, first, sites)
    wins, best, counts, points = [], [], [], []
    names = [(what, label) for what, (array, there) in labels.items() for label in pd.unique(array[there])]
    for name, array in metrics.items():
        values = array.transpose(model_dim, *sites).to_numpy().reshape(len(models), -1).astype(float)
        values = LOWER[ends[name]](values)
        there = np.isfinite(values).all(axis=0)
        if not there.any():
            raise ArgumentError(f"no site has a score {name!r} of all models")
        ahead = values[:, None] < values[None]
        wins.append(ahead[..., there].mean(axis=-1))
        top = (ahead | np.eye(len(models), dtype=bool)[..., None]).all(axis=1) & there
        best.append(top[:, there].mean(axis=-1))
        counts.append(int(there.sum()))
        won = [top[:, labels[what][0] == label].sum(axis=1) for what, label in names]
        points.append(np.array([w / w.max() if w.max() else 0.0 * w for w in won]).reshape(len(names), len(models)).T)
    out = xr.Dataset(
        {
            "wins": (("metric", model_dim, "opponent"), np.array(wins)),
            "best": (("metric", model_dim), np.array(best)),
            "sites": (("metric",), counts),
        },
        {"metric": list(metrics), model_dim: models, "opponent": models},
    )
    attrs = {
        "wins": "share of sites at which the model is better than the opponent",
        "best": "share of sites at which the model is better than every other",
        "sites": "sites with scores of all models",
        "class_points": "sites of the class at which the model is the best, over those of the best model",
        "points": "sum of the points of all classes",
    }
    if names:
        out["class_points"] = (("metric", model_dim, "class"), np.array(points))
        out["points"] = out.class_points.sum("class")
        out = out.assign_coords({"class": [f"{what}: {label}" for what, label in names]})
    for key, array in out.data_vars.items():
        array.attrs = {"long_name": attrs[str(key)], "units": "1"}
    return out


def summary(
    scores: xr.Dataset | xr.DataArray,
    by: xr.DataArray | None = None,
    *,
    dims: Hashable | Sequence[Hashable] | None = None,
) -> xr.Dataset:
    """Mean, spread and quartiles of the scores of sites, over all or by class.

    `xsoil.evaluate` without `by` scores every site; with `by` it pools the samples of a class. This gives the median
    site of a class instead.

    Parameters
    ----------
    scores : xr.Dataset or named xr.DataArray
        One variable per metric, on the dims of sites and any others.
    by : xr.DataArray, optional
        Class of each site; sites without one are left out.
    dims : str or sequence of str, optional
        Dims of sites: those of `by`, else all.

    Returns
    -------
    xr.Dataset
        The metrics on `statistic` ("mean", "std", "q25", "median", "q75", "n"), `class` with `by`, and the dims left.

    Raises
    ------
    AxisError, GridMismatchError
        No such dim; classes on other sites.
    """
    metrics: dict[Any, xr.DataArray] = dict(
        {scores.name or "score": scores} if isinstance(scores, xr.DataArray) else scores.data_vars
    )
    out: dict[Any, xr.DataArray] = {}
    for name, array in metrics.items():
        if dims is not None:
            over: list[Hashable] = [dims] if isinstance(dims, str) or not isinstance(dims, Sequence) else list(dims)
        else:
            over = list(by.dims) if by is not None else list(array.dims)
        for dim in over:
            if dim not in array.dims:
                raise AxisError(f"{name!r} has no dim {dim!r} among {[str(d) for d in array.dims]}; give dims=...")
        groups: dict[Any, xr.DataArray | None] = {"all": None}
        if by is not None:
            try:
                xr.align(array, by, join="exact", copy=False)
            except ValueError as error:
                raise GridMismatchError(f"the classes are not those of the sites of {name!r}: {error}") from error
            labels, there = labels_of(by)
            groups = {label: by == label for label in np.unique(labels[there])}
        parts = [_statistics(array if mask is None else array.where(mask), over) for mask in groups.values()]
        if by is None:
            out[name] = parts[0]
        else:
            named = xr.Dataset(dict(zip(groups, parts, strict=True)))
            out[name] = named.to_array(str(by.name or "class"))
        out[name].attrs = {k: v for k, v in array.attrs.items() if k in ("units", "long_name")}
    return xr.Dataset(out)


def _statistics(array: xr.DataArray, over: list[Hashable]) -> xr.DataArray:
    array = array.where(np.isfinite(array)).astype(float)
    quartiles = array.quantile([0.25, 0.5, 0.75], over)
    low, middle, high = (quartiles.isel(quantile=k, drop=True) for k in range(3))
    parts = array.mean(over), array.std(over), low, middle, high, array.notnull().sum(over).astype(float)
    return xr.Dataset(dict(zip(STATISTICS, parts, strict=True))).to_array("statistic")


def _metrics(scores: Any, model_dim: Hashable) -> dict[str, xr.DataArray]:
    if isinstance(scores, xr.DataArray):
        if scores.name is None:
            raise ArgumentError("the scores have no name; name their metric: scores.rename('rmse')")
        found = {str(scores.name): scores}
    elif isinstance(scores, xr.Dataset):
        found = {str(n): a for n, a in scores.data_vars.items() if n != "n" and model_dim in a.dims}
    else:
        raise ArgumentError(f"scores is {type(scores).__name__}; expected a Dataset of metrics, or a DataArray")
    if not found or any(model_dim not in array.dims for array in found.values()):
        raise AxisError(
            f"no scores on {model_dim!r}; join those of the models: xr.concat([a, b], pd.Index(['a', 'b'], "
            "name='model'))"
        )
    for name, array in found.items():
        if array.sizes[model_dim] < 2:
            raise ArgumentError(f"{name!r} has {array.sizes[model_dim]} model; expected two or more")
    return found


def _end(name: str, better: str | Mapping[str, str] | None) -> str:
    known = ("higher", "lower", "nearest_zero")
    end = better if isinstance(better, str) else (better or {}).get(name, BETTER.get(name))
    if end is None:
        raise MissingVariableError(f"which end of {name!r} is better? better={{{name!r}: 'higher' or 'lower'}}")
    if end not in known:
        raise UnknownNameError.of("end", end, known)
    return end


def _classes(by: Any, like: xr.DataArray, sites: list[Hashable]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Flat labels of each variable of classes, and where there is one."""
    if by is None:
        return {}
    given = [by] if isinstance(by, xr.DataArray) else list(by.data_vars.values() if isinstance(by, xr.Dataset) else by)
    found = {}
    for number, array in enumerate(given):
        if not isinstance(array, xr.DataArray) or set(array.dims) != set(sites):
            raise GridMismatchError(
                f"classes are expected on {[str(d) for d in sites]}, found {getattr(array, 'dims', by)}"
            )
        try:
            xr.align(like, array, join="exact", copy=False)
        except ValueError as error:
            raise GridMismatchError(f"the classes are not those of the scored sites: {error}") from error
        values, there = labels_of(array.transpose(*sites))
        found[str(array.name or f"class_{number}")] = values.ravel(), there.ravel()
    return found
