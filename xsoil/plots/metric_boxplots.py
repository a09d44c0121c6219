"""`metric_boxplots`: how a metric spreads over pixels or sites, by class and by model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsoil.errors import ArgumentError, MissingVariableError
from xsoil.plots._figures import new_axes
from xsoil.plots._labels import PALETTE, class_names, label_of, pretty_units
from xsoil.plots._values import numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["metric_boxplots"]

MOST = 40
"""Classes that a picture can name."""

NAMES = {"r": "r", "rmse": "RMSE", "ubrmse": "ubRMSE", "bias": "bias", "nse": "NSE", "kge": "KGE"}

Doubles = NDArray[np.float64]


def metric_boxplots(
    scores: xr.Dataset | xr.DataArray | Mapping[str, xr.Dataset | xr.DataArray],
    metric: str = "ubrmse",
    by: str | xr.DataArray | tuple[str | xr.DataArray, Sequence[float]] | None = None,
    ax: Axes | None = None,
    *,
    whiskers: tuple[float, float] = (5, 95),
) -> Axes:
    """Draw boxes of a metric over pixels or sites: a box for each class, and within it for each model.

    Parameters
    ----------
    scores : xr.Dataset, xr.DataArray or mapping of these
        Metrics of pixels or sites, as from ``simulated.soil.evaluate(observed)`` (without `by`, which pools them).
        Several as ``{"name of the model": scores, ...}``.
    metric : str
        Which variable of a dataset.
    by : str, xr.DataArray or (either, edges), optional
        Classes: a variable of the scores, or an array on (some of) their dims, such as `texture_class` or land cover;
        numbers with the edges of bins, which hold [low, high), the last one [low, high].
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.
    whiskers : (low, high)
        Percentiles at their ends.

    Returns
    -------
    matplotlib.axes.Axes
        The line in a box is the median, its ends are the quartiles; below each class stands how many values it has
        (of several models, the most). Values beyond the whiskers are not drawn.

    Raises
    ------
    MissingVariableError
        No such metric or class.
    ArgumentError
        Classes on dims or coordinates that the scores lack; no values; more than 40 classes.
    """
    models = dict(scores) if isinstance(scores, Mapping) and not isinstance(scores, xr.Dataset) else {"": scores}
    if not models:
        raise ArgumentError("no scores; expected a dataset of evaluate, or {'name': dataset, ...}")
    arrays = {str(name): _metric(found, metric) for name, found in models.items()}
    groups = {
        name: _groups(array, found, by) for (name, array), found in zip(arrays.items(), models.values(), strict=True)
    }
    labels = list(dict.fromkeys(label for found in groups.values() for label in found))
    order = {label: min(found[label][0] for found in groups.values() if label in found) for label in labels}
    labels.sort(key=order.__getitem__)
    if not labels or len(labels) > MOST:
        raise ArgumentError(
            f"metric_boxplots: {len(labels)} classes with values of {metric!r}; expected 1 to {MOST}: of numbers "
            "make bins, by=(array, edges)"
        )
    counts = {label: max(found[label][1].size for found in groups.values() if label in found) for label in labels}

    from matplotlib.patches import Patch

    if ax is None:
        boxes = len(labels) * len(arrays)
        ax = new_axes(float(np.clip(1.6 + 0.34 * boxes, 3.6, 12)), 3.6)
    width = 0.72 / len(arrays)
    for k, (name, found) in enumerate(groups.items()):
        present = [j for j, label in enumerate(labels) if label in found]
        if not present:
            continue
        drawn = ax.boxplot(
            [found[labels[j]][1] for j in present],
            positions=[j + (k - (len(arrays) - 1) / 2) * width for j in present],
            widths=0.85 * width, whis=whiskers, showfliers=False, patch_artist=True, manage_ticks=False,
            medianprops={"color": "black", "lw": 1.4},
        )  # fmt: skip
        for box in drawn["boxes"]:
            box.set(facecolor=PALETTE[k % len(PALETTE)], alpha=0.75, edgecolor="black", linewidth=0.8, label=name)
    if len(arrays) > 1:
        handles = [
            Patch(facecolor=PALETTE[k % len(PALETTE)], alpha=0.75, edgecolor="black") for k in range(len(groups))
        ]
        ax.legend(
            handles, list(groups), loc="lower left", bbox_to_anchor=(0, 1), ncols=min(len(groups), 4), frameon=False,
            fontsize=9,
        )  # fmt: skip
    ticks = [f"{label}\n{counts[label]:,}" for label in labels]
    if max(map(len, labels)) * len(labels) > 9 * ax.get_window_extent().width / ax.figure.figure.dpi:
        ticks = [f"{label} ({counts[label]:,})" for label in labels]
        ax.set_xticks(range(len(labels)), ticks, rotation=40, ha="right", rotation_mode="anchor", fontsize=9)
    else:
        ax.set_xticks(range(len(labels)), ticks, fontsize=9)
    ax.set_xlim(-0.6, len(labels) - 0.4)
    first = next(iter(arrays.values()))
    units = pretty_units(str(first.attrs.get("units", "")))
    ax.set_ylabel(NAMES.get(metric, label_of(first, metric)) + (f" [{units}]" if metric in NAMES and units else ""))
    ax.grid(axis="y", color="0.88", lw=0.8)
    ax.set_axisbelow(True)
    if metric == "bias":
        ax.axhline(0, color="0.4", lw=0.9, zorder=0.5)
    return ax


def _metric(found: xr.Dataset | xr.DataArray, metric: str) -> xr.DataArray:
    if isinstance(found, xr.DataArray):
        return found
    if metric not in found.data_vars:
        raise MissingVariableError(f"no {metric!r} among {sorted(map(str, found.data_vars))}; expected a metric")
    return found[metric]


def _groups(array: xr.DataArray, scores: xr.Dataset | xr.DataArray, by: Any) -> dict[str, tuple[float, Doubles]]:
    """Finite values by the name of their class, each with what the classes are ordered by."""
    if by is None:
        found = numbers(array).ravel()
        there = found[np.isfinite(found)]
        return {"all": (0.0, there)} if there.size else {}
    edges = None
    if isinstance(by, tuple):
        if len(by) != 2:
            raise ArgumentError(f"by={by!r}; expected a variable, or (variable, edges of bins)")
        by, given = by
        try:
            edges = np.asarray(given, float)
        except (TypeError, ValueError):
            edges = np.empty(0)
        if edges.ndim != 1 or edges.size < 2 or not (np.diff(edges) > 0).all():
            raise ArgumentError(f"edges of bins {given!r}; expected two or more ascending numbers")
    classes = by if isinstance(by, xr.DataArray) else _named(scores, by)
    if foreign := [str(d) for d in classes.dims if d not in array.dims]:
        raise ArgumentError(f"by={classes.name!r} has the dims {foreign}, which the scores on {array.dims} lack")
    try:
        array, classes = xr.align(array, classes, join="exact", copy=False)
    except ValueError as error:
        raise ArgumentError(f"by={classes.name!r} and the scores have other coordinates: {error}") from error
    array, classes = xr.broadcast(array, classes)
    values, members = numbers(array).ravel(), classes.transpose(*array.dims)
    if members.dtype.kind not in "fiub":
        names = members.to_numpy().astype(str).ravel()
        unique = np.unique(names)
        return _split(values, [(str(name), float(k), names == name) for k, name in enumerate(unique)])
    kinds = numbers(members).ravel()
    if edges is not None:
        place = np.digitize(kinds, edges) - 1
        place[kinds == edges[-1]] = edges.size - 2
        return _split(
            values, [(f"{a:g}–{b:g}", float(k), place == k) for k, (a, b) in enumerate(zip(edges, edges[1:]))]
        )
    known = class_names(classes.attrs)
    unique = np.unique(kinds[np.isfinite(kinds)])
    if unique.size > 10 * MOST:
        raise ArgumentError(f"by={classes.name!r} has {unique.size} values; of numbers make bins: by=(array, edges)")
    return _split(values, [(known.get(int(v), f"{v:g}"), float(v), kinds == v) for v in unique.tolist()])


def _named(scores: xr.Dataset | xr.DataArray, by: str) -> xr.DataArray:
    where = scores if isinstance(scores, xr.Dataset) else scores.to_dataset(name="scores")
    if by not in where.variables:
        known = sorted(map(str, where.variables))
        raise MissingVariableError(f"no {by!r} among {known}; name one of these, or give a DataArray")
    return where[by]


def _split(values: Doubles, parts: list[tuple[str, float, Any]]) -> dict[str, tuple[float, Doubles]]:
    """Classes that have values."""
    there = np.isfinite(values)
    return {name: (rank, values[own & there]) for name, rank, own in parts if (own & there).any()}
