"""`training_curves`: losses by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError
from xsoil.plots._figures import new_axes
from xsoil.plots._labels import PALETTE
from xsoil.plots._values import numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["training_curves"]

COLOURS = {"train": PALETTE[0], "validation": PALETTE[1]}


def training_curves(history: Any, ax: Axes | None = None, *, log: bool | None = None) -> Axes:
    """Draw the loss of training and validation by epoch.

    Parameters
    ----------
    history : xr.Dataset, or a model that has one as `.history`
        Of `xsoil.learn_params`, `fit_moisture_model` or `fit_gap_model`; of an ensemble a thin line for each member and
        a thick one for their median.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.
    log : bool, optional
        Losses on a logarithmic axis; by default where they are positive and fall below a fifth of the highest.

    Returns
    -------
    matplotlib.axes.Axes
        With a dashed line at the epoch whose weights were kept (of an ensemble a mark on each member's line).

    Raises
    ------
    ArgumentError
        No losses by epoch: inversions and random forests have none.
    """
    from matplotlib.ticker import MaxNLocator

    history = getattr(history, "history", history)
    if not isinstance(history, xr.Dataset) or "epoch" not in history.dims or "train" not in history:
        raise ArgumentError(
            "no losses by epoch; expected a trained network, or its .history: inversions and random forests have none"
        )
    if not history.sizes["epoch"]:
        raise ArgumentError("the history has no epoch: random forests are not trained in epochs")
    if ax is None:
        ax = new_axes(5.6, 3.4)
    epochs = history["epoch"].to_numpy()
    best = history["best_epoch"].to_numpy() if "best_epoch" in history else history.attrs.get("best_epoch")
    least, most = np.inf, -np.inf
    for name, colour in COLOURS.items():
        if name not in history or not history[name].notnull().any():
            continue
        lines = np.atleast_2d(numbers(history[name].transpose(..., "epoch")))
        least, most = min(least, np.nanmin(lines)), max(most, np.nanmax(lines))
        if len(lines) == 1:
            ax.plot(epochs, lines[0], color=colour, lw=1.6, label=name)
            continue
        for line in lines:
            ax.plot(epochs, line, color=colour, lw=0.6, alpha=0.45)
        there = np.isfinite(lines).sum(axis=0) * 2 > len(lines)
        middle = np.array([np.nanmedian(lines[:, k]) if there[k] else np.nan for k in range(lines.shape[1])])
        ax.plot(epochs, middle, color=colour, lw=2.0, label=f"{name}, median of {len(lines)}")
    _mark_best(ax, history, epochs, best)
    if log or (log is None and least > 0 and least < 0.2 * most):
        ax.set_yscale("log")
    units = history["train"].attrs.get("long_name", "loss")
    ax.set(xlabel="epoch", ylabel="negative log-likelihood" if "likelihood" in str(units) else "loss")
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    ax.grid(color="0.9", lw=0.8)
    ax.legend(frameon=False, fontsize=9)
    return ax


def _mark_best(ax: Axes, history: xr.Dataset, epochs: Any, best: Any) -> None:
    """The epoch whose weights were kept."""
    if best is None:
        return
    if np.ndim(best) == 0 or np.size(best) == 1:
        epoch = int(np.ravel(best)[0])
        ax.axvline(epoch, color="0.35", lw=1.0, ls="--", label=f"kept: epoch {epoch}")
        return
    name = "validation" if "validation" in history and history["validation"].notnull().any() else "train"
    lines = numbers(history[name].transpose("member", "epoch"))
    at = np.searchsorted(epochs, np.ravel(best))
    ax.plot(epochs[at], lines[np.arange(len(at)), at], "o", color="black", ms=3.5, mew=0, ls="none", label="kept")
