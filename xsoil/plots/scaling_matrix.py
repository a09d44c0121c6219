"""`scaling_matrix`: how far the ways of scale conversion are apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError, MissingVariableError, UnknownNameError
from xsoil.plots._figures import new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["scaling_matrix"]

TITLES = {"rmse": "RMSE", "r": "R", "nrmse": "RMSE / (max - min)", "n": "cells"}
FRAMEWORKS = {"mpr": "MPR", "tr": "TR", "three_step": "three-step"}
READABLE = 40
"""Combinations up to which numbers fit into the cells."""


def scaling_matrix(
    result: xr.Dataset,
    metric: Literal["rmse", "r", "nrmse", "n"] = "rmse",
    ax: Axes | None = None,
    *,
    annotate: bool | None = None,
    cmap: str | None = None,
) -> Axes:
    """Draw a matrix of `xsoil.compare_scaling` as figure 3 of Li et al. (2024).

    Symmetric matrices without their diagonal and upper half, as in the paper; NRMSE, whose reference is the column,
    in full. Black lines part the frameworks, grey ones the pedotransfer functions.

    Parameters
    ----------
    result : xr.Dataset
        From `xsoil.compare_scaling`; matrices on (combination, combination_2) only.
    metric : {"rmse", "r", "nrmse", "n"}
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure of a fitting size.
    annotate : bool, optional
        Write the numbers into the cells; by default up to 40 combinations.
    cmap : str, optional
        Name of a colour map.

    Returns
    -------
    matplotlib.axes.Axes
        Save it with ``ax.figure.savefig(path)``.

    Raises
    ------
    UnknownNameError
        No such metric.
    MissingVariableError
        `result` has no such matrix.
    ArgumentError
        The matrix has further dimensions.

    References
    ----------
    .. [1] Li, P. et al. (2024), Water Resour. Res. 60, e2023WR035543, doi:10.1029/2023WR035543.
    """
    if metric not in TITLES:
        raise UnknownNameError.of("metric", metric, TITLES)
    if metric not in result:
        raise MissingVariableError(
            f"no {metric!r} among {sorted(map(str, result))}; expected a result of compare_scaling"
        )
    matrix = result[metric]
    if set(matrix.dims) != {"combination", "combination_2"}:
        raise ArgumentError(
            f"{metric!r} is on {matrix.dims}; expected (combination, combination_2): choose one with .isel(...)"
        )
    values = matrix.transpose("combination", "combination_2").to_numpy().astype(float)
    n = len(values)
    full = metric == "nrmse"
    rows, columns = np.indices(values.shape)
    shown = np.ma.masked_where((rows == columns) if full else (columns >= rows), np.ma.masked_invalid(values))
    annotate = n <= READABLE if annotate is None else annotate

    if ax is None:
        side = max(4.0, 1.8 + (0.36 if annotate else 0.2) * n)
        ax = new_axes(side + 1.0, side)
    image = ax.imshow(shown, cmap=cmap or ("viridis" if metric in ("r", "n") else "YlOrRd"), interpolation="none")
    units = matrix.attrs.get("units", "1")
    title = TITLES[metric] + ("" if units == "1" else f" [{units}]")
    ax.figure.colorbar(image, ax=ax, shrink=0.6, pad=0.02, label=title)
    names = [str(name) for name in result["combination"].values]
    size = float(np.clip(220 / max(n, 1), 4.5, 9))
    ax.set_xticks(range(n), names, rotation=90, fontsize=size)
    ax.set_yticks(range(n), names, fontsize=size)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    if annotate:
        _numbers(ax, shown, image, size)
    _groups(ax, result, full)
    return ax


def _numbers(ax: Axes, shown: Any, image: Any, size: float) -> None:
    """The values in their cells, three digits, dark on light and light on dark."""
    least = 5e-4 * float(np.ma.abs(shown).max()) if shown.count() else 0.0
    for row, column in np.argwhere(~np.ma.getmaskarray(shown)):
        value = shown[row, column]
        red, green, blue, _ = image.cmap(image.norm(value))
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
        text = "0" if abs(value) < least else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
        text = text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text
        ax.text(column, row, text, ha="center", va="center", fontsize=0.72 * size, color="white" if dark else "black")


def _groups(ax: Axes, result: xr.Dataset, full: bool) -> None:
    """Lines between frameworks and PTFs, and the names of the frameworks above their columns."""
    n = result.sizes["combination"]
    frameworks, ptfs = (
        [str(v) for v in result[name].values] if name in result.coords else [""] * n for name in ("framework", "ptf")
    )
    starts = [0]
    for k in range(1, n):
        if frameworks[k] == frameworks[k - 1] and ptfs[k] == ptfs[k - 1]:
            continue
        color, width = "0.6", 0.8
        if frameworks[k] != frameworks[k - 1]:
            color, width = "black", 1.5
            starts.append(k)
        # Below the diagonal only what lies left of the corner, and what lies under it.
        ax.plot([-0.5, n - 0.5 if full else k - 0.5], [k - 0.5] * 2, color=color, lw=width)
        ax.plot([k - 0.5] * 2, [-0.5 if full else k - 0.5, n - 0.5], color=color, lw=width)
    for first, last in zip(starts, [*starts[1:], n], strict=True):
        name = FRAMEWORKS.get(frameworks[first], frameworks[first])
        # In a half matrix the name stands on the empty side of the diagonal.
        at = ((first + last - 1) / 2, -0.8) if full else (first + 0.58 * (last - first), first + 0.3 * (last - first))
        ax.text(*at, name, ha="center", va="bottom" if full else "center", fontsize=11, fontweight="bold")
