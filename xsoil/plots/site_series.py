"""`site_series`: soil moisture of a place, simulated and observed, under its rain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xsoil.plots._figures import new_axes
from xsoil.plots._labels import PALETTE, label_of, pretty_units
from xsoil.plots._values import WATER, choose, in_own_units, numbers, one_line, require_dates, require_same_units
from xsoil.vocabulary import VARIABLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["site_series"]

RAIN = "#4477AA"
SEVERAL = 8
"""Values of a further dimension that a legend can list."""


def site_series(
    simulated: xr.Dataset | xr.DataArray,
    observed: xr.Dataset | xr.DataArray | None = None,
    precipitation: xr.Dataset | xr.DataArray | None = None,
    ax: Axes | None = None,
    *,
    variable: str | None = None,
) -> Axes:
    """Draw series of soil moisture with the rain as bars from above.

    Parameters
    ----------
    simulated : xr.Dataset or xr.DataArray
        `theta` (or `soil_moisture`, `theta_obs`, `variable`) on `time`, and perhaps one dimension more, of at most 8
        values (depths, members): a line each.
    observed : xr.Dataset or xr.DataArray, optional
        `soil_moisture` (or `theta`, `variable`) of the same place and in the same units, drawn as dots.
    precipitation : xr.Dataset or xr.DataArray, optional
        On `time`, in any units of `precipitation`; a dataset of forcing will do.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.
    variable : str, optional
        What to draw of datasets, where it is not soil moisture.

    Returns
    -------
    matplotlib.axes.Axes
        That of the soil moisture; the bars are on its twin, ``ax.figure.axes[-1]``.

    Raises
    ------
    ArgumentError
        More dimensions than time: choose a place with ``.isel(...)``; other units.
    UnitsError
        Precipitation without units, or with unknown ones.
    TimeError
        Times that are no dates.
    """
    import matplotlib.dates as mdates

    first = one_line(choose(simulated, variable, "site_series", WATER), "time", "site_series", 1)
    require_dates(first)
    if ax is None:
        ax = new_axes(8.0, 3.2)
    lines = _lines(ax, first)
    if observed is not None:
        dots = one_line(choose(observed, variable, "site_series", WATER[1:] + WATER[:1]), "time", "site_series", 1)
        require_same_units(first, dots)
        require_dates(dots)
        lines += _dots(ax, dots)
    ax.set_ylabel(_named(first), fontsize=10)
    locator = mdates.AutoDateLocator(minticks=4, maxticks=9)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))
    ax.margins(x=0.01)
    if precipitation is not None:
        lines.append(_rain(ax, precipitation, (first["time"].to_numpy().min(), first["time"].to_numpy().max())))
    ax.legend(
        handles=lines, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=min(len(lines), 5), frameon=False, fontsize=9,
        borderaxespad=0.2,
    )  # fmt: skip
    return ax


def _named(array: xr.DataArray) -> str:
    known = VARIABLES.get(str(array.name))
    return label_of(array, "soil moisture" if known and known.name in WATER else None)


def _parts(array: xr.DataArray) -> list[tuple[str, xr.DataArray]]:
    """The lines of an array, with what a legend adds to their name."""
    from xsoil.errors import ArgumentError

    if array.ndim == 1:
        return [("", array)]
    dim = array.dims[1]
    if array.sizes[dim] > SEVERAL:
        raise ArgumentError(
            f"site_series: {array.name!r} has {array.sizes[dim]} values of {str(dim)!r}; at most {SEVERAL} lines can "
            f"be told apart: choose with .isel({dim}=[...])"
        )
    units = pretty_units(str(array[dim].attrs.get("units", "")))
    texts = []
    for value in array[dim].to_numpy():
        text = f"{value:g}" if isinstance(value, (float, np.floating)) else str(value)
        texts.append(f"{text} {units}".strip() if dim in array.coords and units else f"{dim} {text}")
    return [(text, array.isel({dim: k})) for k, text in enumerate(texts)]


def _lines(ax: Axes, array: xr.DataArray) -> list[Any]:
    import matplotlib as mpl

    parts = _parts(array)
    name = "simulated" if array.name != "soil_moisture" else "soil moisture"
    colours = [PALETTE[0]] if len(parts) == 1 else mpl.colormaps["viridis"](np.linspace(0, 0.88, len(parts)))
    return [
        ax.plot(part["time"].to_numpy(), numbers(part), color=colour, lw=1.3, label=f"{name} {text}".strip())[0]
        for (text, part), colour in zip(parts, colours, strict=True)
    ]


def _dots(ax: Axes, array: xr.DataArray) -> list[Any]:
    parts = _parts(array)
    colours, marks = (PALETTE[1], *PALETTE[2:], PALETTE[0]), "os^vDPX<"
    return [
        ax.plot(
            part["time"].to_numpy(), numbers(part), marks[k], color=colours[k % len(colours)], ms=3, mew=0, zorder=3,
            label=f"observed {text}".strip(),
        )[0]
        for k, (text, part) in enumerate(parts)
    ]  # fmt: skip


def _rain(ax: Axes, precipitation: xr.Dataset | xr.DataArray, span: tuple[Any, Any]) -> Any:
    """Bars that hang from the top, on a twin axis whose values fill its upper third."""
    array = one_line(choose(precipitation, None, "site_series", ("precipitation",)), "time", "precipitation")
    require_dates(array)
    array = array.sortby("time").sel(time=slice(*span))
    values, times = in_own_units(array, "precipitation"), array["time"].to_numpy()
    most = float(np.nanmax(values, initial=0.0)) or 1.0
    twin = ax.twinx()
    steps = np.diff(times)
    width = steps.min() if steps.size else np.timedelta64(1, "D")
    bars = twin.bar(times, values, width=width, align="edge", color=RAIN, lw=0, label="precipitation")
    twin.set_ylim(3.0 * most, 0.0)
    twin.set_yticks([t for t in twin.get_yticks() if 0 <= t <= most])
    units = pretty_units(VARIABLES["precipitation"].units)
    twin.set_ylabel(f"precipitation [{units}]", fontsize=10, loc="top")
    ax.set_zorder(twin.get_zorder() + 1)  # the series before the bars
    ax.patch.set_visible(False)
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.35 * (high - low))
    return bars
