"""`hydraulic_curves`: water content or conductivity against suction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError, MissingVariableError, UnknownNameError
from xsoil.plots._figures import new_axes
from xsoil.plots._labels import PALETTE, label_of, pretty_units
from xsoil.plots._values import in_own_units, numbers
from xsoil.vocabulary import KPA_IN_CM, VARIABLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["hydraulic_curves"]

LINES = 10
"""Curves that are drawn one by one; of more the quantiles."""

CONSTANTS = (("field capacity", -33.0), ("wilting point", -1500.0))
"""Usual potentials [kPa]."""


def hydraulic_curves(
    curves: xr.Dataset | xr.DataArray,
    of: Literal["theta", "k"] | None = None,
    ax: Axes | None = None,
    *,
    label: str | None = None,
    limits: bool = True,
) -> Axes:
    """Draw retention theta(h) or conductivity K(h) curves against suction, on a logarithmic axis.

    Parameters
    ----------
    curves : xr.Dataset or xr.DataArray
        From ``parameters.soil.retention(h)`` or ``parameters.soil.conductivity(h)``, with h such as
        ``-np.logspace(0, 5, 61)`` [cm].
    of : {"theta", "k"}, optional
        Which, where the dataset has both.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure. A second call adds curves to it.
    label : str, optional
        Name of the curve (or of the band) in the legend.
    limits : bool
        Mark -33 and -1500 kPa.

    Returns
    -------
    matplotlib.axes.Axes
        A line for each curve, named by its coordinate; of more than 10 the median with bands that hold the middle 50 %
        and 90 %. Heads of zero and above are not on the axis.

    Raises
    ------
    MissingVariableError, UnknownNameError
        No curve: parameters are not drawn themselves.
    ArgumentError
        Both `theta` and `k`, and none chosen; no negative heads.
    """

    array = _chosen(curves, of)
    suction = -in_own_units(array["h"], "h")
    shown = suction > 0
    if not shown.any():
        raise ArgumentError("no head below zero; expected some, e.g. h=-np.logspace(0, 5, 61)")
    order = np.argsort(suction[shown])
    x = suction[shown][order]
    rest = [d for d in array.dims if d != "h"]
    values = numbers(array.transpose("h", *rest)).reshape(suction.size, -1)[shown][order]
    log = array.name == "k"

    fresh = ax is None
    if ax is None:
        ax = new_axes(5.2, 3.8)
    taken = sum(line.get_gid() == "curve" for line in ax.lines)
    if values.shape[1] <= LINES:
        for k, name in enumerate(_names(array, rest, label)):
            colour = PALETTE[(taken + k) % len(PALETTE)]
            style = ("-", "--", ":")[(taken + k) // len(PALETTE) % 3]
            ax.plot(x, values[:, k], color=colour, ls=style, lw=1.7, label=name, gid="curve")
    else:
        _bands(ax, x, values, PALETTE[taken % len(PALETTE)], label)
    ax.set(xscale="log", xlabel="suction −h [cm]", ylabel=label_of(array))
    if fresh:
        ax.set_xlim(x[0], x[-1])
    if log:
        ax.set_yscale("log")
        positive = values[np.isfinite(values) & (values > 0)]
        if positive.size and positive.min() < 1e-8 * positive.max():
            ax.set_ylim(bottom=1e-8 * positive.max())
    elif fresh:
        ax.set_ylim(bottom=0.0)
    ax.grid(color="0.9", lw=0.8)
    if limits:
        _mark_limits(ax)
    if any(not str(text).startswith("_") for text in (line.get_label() for line in ax.lines)):
        ax.legend(frameon=False, fontsize=9)
    return ax


def _chosen(curves: xr.Dataset | xr.DataArray, of: str | None) -> xr.DataArray:
    if of not in (None, "theta", "k"):
        raise UnknownNameError.of("curve", of, ("theta", "k"))
    ds = curves.to_dataset(name=str(curves.name or "theta")) if isinstance(curves, xr.DataArray) else curves
    there = [name for name in ("theta", "k") if name in ds.data_vars and "h" in ds[name].dims]
    if of is None and len(there) == 2:
        raise ArgumentError("the dataset has theta(h) and k(h), which have different axes; choose: of='theta'")
    if not there or (of is not None and of not in there):
        verb = "conductivity" if of == "k" else "retention"
        raise MissingVariableError(
            f"no {of or 'theta or k'} along 'h' among {sorted(map(str, ds.data_vars))}; of parameters make curves "
            f"first: ds.soil.{verb}(-np.logspace(0, 5, 61))"
        )
    return ds[of or there[0]]


def _names(array: xr.DataArray, rest: list[Any], label: str | None) -> list[str | None]:
    """One name for each curve."""
    if not rest:
        return [label]
    stacked = array.isel(h=0).transpose(*rest)
    names: list[str | None] = []
    for place in np.ndindex(*stacked.shape):
        parts = [label] if label else []
        for dim, k in zip(rest, place, strict=True):
            if dim not in array.coords:
                parts.append(f"{dim} {k}")
                continue
            value = array[dim].to_numpy()[k]
            units = pretty_units(str(array[dim].attrs.get("units", "")))
            text = f"{value:g}" if isinstance(value, (int, float, np.number)) else str(value)
            parts.append(text if isinstance(value, str) else f"{dim} {text} {units}".strip())
        names.append(", ".join(parts))
    return names


def _bands(ax: Axes, x: Any, values: Any, colour: str, label: str | None) -> None:
    there = np.isfinite(values).any(axis=1)
    q = np.full((5, len(x)), np.nan)
    q[:, there] = np.nanpercentile(values[there], (5, 25, 50, 75, 95), axis=1)
    for low, high, strength in ((0, 4, 0.18), (1, 3, 0.28)):
        ax.fill_between(x, q[low], q[high], color=colour, alpha=strength, lw=0)
    name = f"{label}, median" if label else f"median of {int(np.isfinite(values).any(axis=0).sum()):,}"
    ax.plot(x, q[2], color=colour, lw=2.0, label=name, gid="curve")


def _mark_limits(ax: Axes) -> None:
    """Field capacity and wilting point as thin lines, named at their upper ends; once on an axis."""
    if any(line.get_gid() == "limit" for line in ax.lines):
        return
    units = VARIABLES["h"].units
    low, high = ax.get_xlim()
    for name, potential in CONSTANTS:
        at = -potential * KPA_IN_CM
        if low < at < high and units == "cm":
            ax.axvline(at, color="0.45", lw=0.9, ls=(0, (4, 3)), gid="limit", label="_limit")
            ax.text(
                at, 1.01, f"{name}\n{potential:g} kPa".replace("-", "−"), transform=ax.get_xaxis_transform(),
                ha="center", va="bottom", fontsize=8, color="0.3",
            )  # fmt: skip
