"""`parameter_map`: a map of any variable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from xsoil.plots._colours import Scale, colour_bar, scale_of
from xsoil.plots._figures import settle
from xsoil.plots._raster import CELLS, Raster, draw_coast, label_axes, map_axes, raster_of
from xsoil.plots._values import choose

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_map", "parameter_map"]


def parameter_map(
    ds: xr.Dataset | xr.DataArray,
    variable: str | None = None,
    ax: Axes | None = None,
    *,
    scale: Literal["linear", "log"] | None = None,
    cmap: str | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    robust: bool = True,
    region: tuple[float, float, float, float] | None = None,
    coast: bool = True,
    colorbar: bool = True,
    cells: int = CELLS,
) -> Axes:
    """Draw a map of a soil property, a hydraulic parameter, a metric or classes, with the coasts.

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        On a grid; further dims must have been chosen from.
    variable : str, optional
        Which variable of a dataset.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure of a fitting size.
    scale : {"linear", "log"}, optional
        Of the colours; by default logarithmic where the vocabulary says so (`k_sat`, `alpha`).
    cmap : str, optional
        Name of a colour map; by default "viridis", for classes (``flag_values``, ``flag_meanings``) a colour each.
    vmin, vmax : float, optional
        Ends of the scale; by default the 2nd and 98th percentile of what is drawn (`robust`), or the extremes.
        The bar has a pointed end where values lie beyond.
    robust : bool
        See `vmin`.
    region : (left, right, bottom, top), optional
        Draw this part only, in the CRS of the map; nothing else is read.
    coast : bool
        Draw the outline of the continents: Natural Earth 1:50 million, simplified to 0.04 degrees (4 km).
    colorbar : bool
        Draw the bar of colours, with name and units.
    cells : int
        Cells along the longer side, at most: of a larger map every k-th cell is drawn. A lazy array is computed for
        these cells only, block by block; blocks (chunks) without a drawn cell are not touched.

    Returns
    -------
    matplotlib.axes.Axes
        Ticks are degrees on grids of longitude and latitude and on EPSG:6933 (EASE-Grid 2.0 Global), else kilometres.
        Missing cells are grey.

    Raises
    ------
    AxisError, CRSError
        No grid.
    MissingVariableError, ArgumentError
        No such variable, several, or more dims than a map has.

    Examples
    --------
    >>> import xsoil
    >>> soil = xsoil.data.synthetic_soil(xsoil.ease_grid("EASE2_M36km", (-104, 33, -94, 40)))
    >>> ax = xsoil.plots.parameter_map(soil.soil.ptf("cosby1984"), "k_sat")
    >>> ax.figure.savefig("k_sat.png")  # doctest: +SKIP
    """
    array = choose(ds, variable, "parameter_map")
    raster = raster_of(array, cells, region)
    return draw_map(
        raster, raster.one_map(raster.array, "those of a map"), ax, coast=coast, colorbar=colorbar,
        scale=scale, cmap=cmap, vmin=vmin, vmax=vmax, robust=robust,
    )[0]  # fmt: skip


def draw_map(
    raster: Raster, array: xr.DataArray, ax: Axes | None, *, coast: bool, colorbar: bool, **style: Any
) -> tuple[Axes, Any, Scale]:
    """One map of a raster on its axes; the axes, the image and its scale."""
    values = raster.values(array)
    scale = scale_of(array, values, **style)
    if scale.classes:
        values = np.ma.masked_where(~np.isin(values.filled(np.nan), list(scale.classes)), values)
    if ax is None:
        ax = map_axes(raster, (1.9 if scale.classes else 1.1) if colorbar else 0.0)
    drawn = raster.draw(ax, values, **scale.style)
    label_axes(ax, raster)
    if coast:
        draw_coast(ax, raster)
    if colorbar:
        colour_bar(ax, drawn, array, scale, values)
    settle(ax)
    return ax, drawn, scale
