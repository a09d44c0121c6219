"""`scatter_density`: simulated against observed values, as many as there are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsoil.errors import ArgumentError
from xsoil.evaluation.metrics import METRICS, MOMENTS, merge_moments, metrics_of_moments, moments
from xsoil.plots._figures import new_axes, settle
from xsoil.plots._labels import PALETTE, label_of, pretty_units
from xsoil.plots._values import WATER, choose, numbers, require_same_units

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["scatter_density"]

SAMPLES = 4_000_000
"""Pairs that are in memory at a time."""

NO_PAIR = "no pair of values; expected simulated and observed values at the same times and places"

Doubles = NDArray[np.floating[Any]]
Slabs = Iterator[tuple[Doubles, Doubles]]


def scatter_density(
    simulated: xr.Dataset | xr.DataArray,
    observed: xr.Dataset | xr.DataArray,
    ax: Axes | None = None,
    *,
    limits: tuple[float, float] | None = None,
    bins: int = 80,
    fit: bool = True,
    cmap: str = "viridis_r",
) -> Axes:
    """Draw the density of pairs, observed along x, with the 1:1 line, a fitted line and the metrics.

    Parameters
    ----------
    simulated, observed : xr.Dataset or xr.DataArray
        Soil moisture (or any variable, as DataArrays) with the same dims and coordinates and in the same units; a
        dimension that one of them lacks holds along it. Times are those that both have. Read in pieces of some
        4 million pairs (of lazy arrays whole chunks), twice where `limits` are not given.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.
    limits : (low, high), optional
        Of both axes; by default the extremes. Pairs beyond count in the metrics all the same.
    bins : int
        Cells along each axis.
    fit : bool
        Draw the line of least squares, simulated on observed.
    cmap : str
        Name of a colour map; the counts are on a logarithmic scale.

    Returns
    -------
    matplotlib.axes.Axes
        With r, RMSE, ubRMSE, bias and the number of pairs in a corner (definitions as in `xsoil.evaluate`).

    Raises
    ------
    ArgumentError
        No pair of values; other coordinates, or repeated times; limits or bins that are none.
    UnitsError
        Different units.
    """
    from matplotlib.colors import LogNorm

    whole = isinstance(bins, (int, np.integer)) and not isinstance(bins, bool)
    if not whole or bins < 2 or (limits is not None and not limits[0] < limits[1]):
        raise ArgumentError(f"bins={bins!r}, limits={limits!r}; expected 2 bins or more, and (low, high)")
    sim, obs = _aligned(
        choose(simulated, None, "scatter_density", WATER), choose(observed, None, "scatter_density", WATER[1:])
    )
    if "units" in sim.attrs or "units" in obs.attrs:
        require_same_units(sim, obs)
    pieces: list[Doubles] = []
    if limits is None:
        pieces = [moments(s, o) for s, o in _slabs(sim, obs)]
        limits = _around(merge_moments(np.stack(pieces)))
        counts, edges = _counts(_slabs(sim, obs), limits, bins)
    else:
        counts, edges = _counts(_noted(_slabs(sim, obs), pieces), limits, bins)
    total = merge_moments(np.stack(pieces))
    found = dict(zip((*METRICS, "n"), metrics_of_moments(total), strict=True))
    if not found["n"]:
        raise ArgumentError(NO_PAIR)
    low, high = limits

    if ax is None:
        ax = new_axes(5.0, 4.4)
    shown = np.ma.masked_equal(counts.T, 0)
    mesh = ax.pcolormesh(edges, edges, shown, cmap=cmap, norm=LogNorm(1, max(counts.max(), 2)), rasterized=True)
    place = ax.inset_axes((1.03, 0.0, 0.045, 1.0))
    ax.figure.colorbar(mesh, cax=place).set_label("pairs per cell", fontsize=9)
    place.tick_params(labelsize=9)
    ax.plot([low, high], [low, high], color="black", lw=1.0, label="1:1")
    if fit:
        m = dict(zip(MOMENTS, total, strict=True))
        if m["obs2"] > 0:
            slope = m["cross"] / m["obs2"]
            ends = np.array([low, high])
            ax.plot(
                ends, m["sim"] + slope * (ends - m["obs"]), color=PALETTE[1], lw=1.4, ls="--",
                label=_formula(slope, m["sim"] - slope * m["obs"]),
            )  # fmt: skip
    ax.set(xlim=(low, high), ylim=(low, high), xlabel=label_of(obs, "observed"), ylabel=label_of(sim, "simulated"))
    ax.set_aspect("equal")
    ax.legend(loc="lower right", frameon=False, fontsize=9)
    ax.text(
        0.03, 0.97, _report(found, pretty_units(str(sim.attrs.get("units", "")))), transform=ax.transAxes, va="top",
        fontsize=9, linespacing=1.35,
    )  # fmt: skip
    settle(ax)
    return ax


def _formula(slope: float, intercept: float) -> str:
    return f"fit: {slope:.2f} x {'−' if intercept < 0 else '+'} {abs(intercept):.3g}"


def _report(found: dict[str, Any], units: str) -> str:
    lines = [f"r = {found['r']:.3f}"]
    rmse = float(found["rmse"])
    decimals = int(np.clip(2 - np.floor(np.log10(rmse)), 0, 6)) if rmse > 0 else 3
    for name, text in (("rmse", "RMSE"), ("ubrmse", "ubRMSE"), ("bias", "bias")):
        lines.append(f"{text} = {round(float(found[name]), decimals) + 0.0:.{decimals}f}{' ' + units if units else ''}")
    return "\n".join([*lines, f"n = {int(found['n']):,}"])


def _aligned(sim: xr.DataArray, obs: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Both on the dims of both: times in common, all else equal."""
    try:
        if "time" in sim.dims and "time" in obs.dims:
            for array in (sim, obs):
                if "time" in array.indexes and not array.indexes["time"].is_unique:
                    raise ArgumentError(
                        f"scatter_density: times of {array.name!r} are repeated; use ds.drop_duplicates('time')"
                    )
            times = np.intersect1d(sim["time"].to_numpy(), obs["time"].to_numpy())
            sim, obs = sim.sel(time=times), obs.sel(time=times)
        sim, obs = xr.align(sim, obs, join="exact", copy=False)
    except ValueError as error:
        raise ArgumentError(
            f"scatter_density: the coordinates of {sim.name!r} and {obs.name!r} differ ({error}); bring both to one "
            "grid with ds.soil.upscale(...)"
        ) from error
    return xr.broadcast(sim, obs)


def _slabs(sim: xr.DataArray, obs: xr.DataArray) -> Slabs:
    """Pairs in pieces of some `SAMPLES`; of lazy arrays in whole chunks, so that each is computed once."""
    if sim.ndim == 0 or sim.size == 0:
        raise ArgumentError(NO_PAIR)
    obs = obs.transpose(*sim.dims)
    steps = {d: max(*sim.chunksizes.get(d, (1,)), *obs.chunksizes.get(d, (1,)), 1) for d in sim.dims}
    left = max(1, SAMPLES // math.prod(steps.values()))
    for dim in reversed(sim.dims):
        more = min(-(-sim.sizes[dim] // steps[dim]), left)
        steps[dim], left = steps[dim] * more, left // more
    for starts in product(*(range(0, sim.sizes[d], steps[d]) for d in sim.dims)):
        part = {d: slice(start, start + steps[d]) for d, start in zip(sim.dims, starts, strict=True)}
        s, o = numbers(sim.isel(part)).ravel(), numbers(obs.isel(part)).ravel()
        both = np.isfinite(s) & np.isfinite(o)
        yield s[both], o[both]


def _noted(slabs: Slabs, pieces: list[Doubles]) -> Slabs:
    """The slabs, with the moments of each put into a list as it passes."""
    for s, o in slabs:
        pieces.append(moments(s, o))
        yield s, o


def _counts(slabs: Slabs, limits: tuple[float, float], bins: int) -> tuple[Doubles, Doubles]:
    """Pairs per cell (observed, simulated), and the edges of the cells."""
    edges = np.linspace(*limits, bins + 1)
    counts = np.zeros((bins, bins))
    for s, o in slabs:
        counts += np.histogram2d(o, s, bins=(edges, edges))[0]
    return counts, edges


def _around(total: Doubles) -> tuple[float, float]:
    """Limits a little beyond the extremes of both."""
    m = dict(zip(MOMENTS, total.tolist(), strict=True))
    if not m["n"]:
        raise ArgumentError(NO_PAIR)
    low, high = min(m["sim_low"], m["obs_low"]), max(m["sim_high"], m["obs_high"])
    wide = (high - low) or max(abs(low), 1.0) * 0.1
    return low - 0.03 * wide, high + 0.03 * wide
