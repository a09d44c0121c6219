"""Rasters as they are drawn: thinned, the right way up, with their place and axes in kilometres or degrees."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsoil.errors import ArgumentError
from xsoil.grids.crs import EASE_GLOBAL, WORLD, crs_of, crs_text, is_geographic, same_crs, to_world, transformer
from xsoil.grids.geobox import locate
from xsoil.plots._figures import new_axes
from xsoil.plots._outline import outline
from xsoil.plots._values import numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["CELLS", "Raster", "draw_coast", "label_axes", "map_axes", "raster_of", "shape_of", "stretch"]

CELLS = 1000
"""Cells along the longer side of a picture: about as many as a screen shows."""

NO_DATA = "0.93"
COAST = {"colors": "0.25", "linewidths": 0.6}
SPECK = 0.006
"""Length of the smallest island that is drawn, in lengths of the map."""


@dataclass(frozen=True)
class Raster:
    """Every `stride`-th cell of an array, as an image or (where it is rotated) as a mesh."""

    array: xr.DataArray
    """The cells that are drawn, lazy where the input is, on (..., y, x)."""
    crs: str
    extent: tuple[float, float, float, float]
    """Left, right, bottom, top of the whole raster."""
    image: tuple[float, float, float, float]
    """The same of what is drawn: up to half a thinned cell less or more."""
    flips: tuple[bool, bool]
    """Rows, columns run against the picture's."""
    mesh: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    """Corners of the cells, where the axes are rotated."""

    @property
    def dims(self) -> tuple[Hashable, ...]:
        """Those besides the two of the map."""
        return self.array.dims[:-2]

    def one_map(self, array: xr.DataArray, besides: str) -> xr.DataArray:
        """Cells of `self.array` without dims of one value; an error where there are others `besides` those of a map."""
        if extra := [str(d) for d in array.dims[:-2] if array.sizes[d] > 1]:
            raise ArgumentError(
                f"{array.name!r} has the dimensions {extra} besides {besides}; choose from them: .isel({extra[0]}=0)"
            )
        return array.isel(dict.fromkeys(array.dims[:-2], 0))

    def values(self, array: xr.DataArray) -> np.ma.MaskedArray[Any, Any]:
        """Read a map of `self.array` (computes it), north up, missing cells masked."""
        found = numbers(array)
        if self.mesh is None:
            found = found[:: -1 if self.flips[0] else 1, :: -1 if self.flips[1] else 1]
        return np.ma.masked_invalid(found)

    def draw(self, ax: Axes, values: np.ma.MaskedArray[Any, Any], **style: Any) -> Any:
        """Put values on axes that are already limited to the raster."""
        ax.set_facecolor(NO_DATA)
        if self.mesh is None:
            drawn: Any = ax.imshow(
                values, extent=self.image, origin="upper", aspect="auto", interpolation="nearest", **style
            )
        else:
            drawn = ax.pcolormesh(*self.mesh, values, **style)
        left, right, bottom, top = self.extent
        ax.set(xlim=(left, right), ylim=(bottom, top))
        return drawn


def raster_of(array: xr.DataArray, cells: int, region: tuple[float, float, float, float] | None = None) -> Raster:
    """Thin an array on a grid to at most `cells` cells along its longer side.

    Every k-th cell is taken as it is: a mean would need all of them, and classes have none. Nothing is computed.

    Parameters
    ----------
    array : xr.DataArray
        On two spatial dims and any others.
    cells : int
        At most as many.
    region : (left, right, bottom, top), optional
        Only the cells in this part, in the array's CRS.

    Raises
    ------
    ArgumentError
        `cells` below 2; a region without cells, or with its ends exchanged.
    AxisError, CRSError
        The array has no grid.
    """
    if not isinstance(cells, (int, np.integer)) or cells < 2:
        raise ArgumentError(f"cells={cells!r}; expected a whole number of 2 or more, e.g. {CELLS}")
    if region is not None and (len(region) != 4 or not (region[0] < region[1] and region[2] < region[3])):
        raise ArgumentError(f"region={region!r}; expected (left, right, bottom, top) in the CRS of the map")
    located = locate(array)
    geobox = located.geobox
    array = array.transpose(..., *located.dims)
    first, last = np.zeros(2, int), np.array(geobox.shape)
    if region is not None:
        inverse = ~geobox.affine
        corner_x, corner_y = (np.array([region[i] for i in at]) for at in ((0, 0, 1, 1), (2, 3, 2, 3)))
        column, row = to_world(inverse, corner_x, corner_y)
        wanted = [(math.floor(v.min()), math.ceil(v.max())) for v in (row, column)]
        first = np.array([max(low, 0) for low, _ in wanted])
        last = np.array([min(high, size) for (_, high), size in zip(wanted, geobox.shape, strict=True)])
        if (last <= first).any():
            raise ArgumentError(f"no cell in the region {region}; the map covers {_extent(geobox, 0, 0, *last)}")
    stride = max(1, math.ceil(int((last - first).max()) / int(cells)))
    parts = [slice(int(a) + min(stride // 2, int(b - a) - 1), int(b), stride) for a, b in zip(first, last, strict=True)]
    thinned = array.isel(dict(zip(located.dims, parts, strict=True)))
    rows, columns = thinned.shape[-2:]
    low = [part.start - stride // 2 for part in parts]
    high = [low[0] + stride * rows, low[1] + stride * columns]
    a = geobox.affine
    mesh = None
    if a.b or a.d:
        column, row = np.meshgrid(low[1] + stride * np.arange(columns + 1), low[0] + stride * np.arange(rows + 1))
        mesh = to_world(a, column, row)
    whole = (0, 0, *geobox.shape) if region is None else (int(first[0]), int(first[1]), int(last[0]), int(last[1]))
    return Raster(
        thinned,
        crs_text(geobox),
        _extent(geobox, *whole),
        _extent(geobox, low[0], low[1], high[0], high[1]),
        (a.e > 0, a.a < 0),
        mesh,
    )


def _extent(geobox: Any, row0: int, column0: int, row1: int, column1: int) -> tuple[float, float, float, float]:
    """Left, right, bottom, top of a window."""
    corners = np.array([column0, column0, column1, column1]), np.array([row0, row1, row0, row1])
    x, y = to_world(geobox.affine, *corners)
    return float(x.min()), float(x.max()), float(y.min()), float(y.max())


def shape_of(raster: Raster) -> float:
    """Height over width of the map on paper; degrees are stretched as at the middle latitude."""
    left, right, bottom, top = raster.extent
    return (top - bottom) / (right - left) * stretch(raster)


def stretch(raster: Raster) -> float:
    """How much longer a unit of y is drawn than one of x."""
    if not is_geographic(raster.crs):
        return 1.0
    middle = np.clip((raster.extent[2] + raster.extent[3]) / 2, -75, 75)
    return float(1 / math.cos(math.radians(float(middle))))


def map_axes(raster: Raster, beside: float) -> Axes:
    """Axes on a figure of a fitting size, with room [inches] for what stands beside the map."""
    shape = shape_of(raster)
    width = float(np.clip(6.2 / max(shape, 1.0), 2.0, 6.2))
    height = float(np.clip(width * shape, 1.4, 6.2))
    return new_axes(width + beside + 0.6, height + 0.6)


def draw_coast(ax: Axes, raster: Raster) -> None:
    """The outline of the continents, within the map."""
    from matplotlib.collections import LineCollection
    from matplotlib.patheffects import withStroke

    light = [withStroke(linewidth=1.5, foreground=(1, 1, 1, 0.6))]  # seen on dark colours, too
    left, right, bottom, top = raster.extent
    least = SPECK * max(right - left, top - bottom)
    seen = [line for line in outline(raster.crs, raster.extent) if np.ptp(line, axis=0).max() > least]
    lines = LineCollection(seen, **COAST, zorder=3, path_effects=light)
    ax.add_collection(lines, autolim=False)


def label_axes(ax: Axes, raster: Raster) -> None:
    """Aspect and ticks: degrees where columns are meridians, else kilometres (or the CRS's own unit)."""
    ax.set_aspect(stretch(raster))
    ax.tick_params(labelsize=9)
    if is_geographic(raster.crs):
        _degrees(ax, lambda v: v, lambda v: v, lambda v: v, lambda v: v)
    elif same_crs(raster.crs, EASE_GLOBAL):
        forward = transformer("EPSG:4326", EASE_GLOBAL).transform
        back = transformer(EASE_GLOBAL, "EPSG:4326").transform
        _degrees(
            ax,
            lambda x: np.asarray(x) * (360 / WORLD),
            lambda lon: np.asarray(lon) * (WORLD / 360),
            lambda y: np.asarray(back(np.zeros(np.shape(y)), np.clip(y, -7314540.8, 7314540.8))[1]),
            lambda lat: np.asarray(forward(np.zeros(np.shape(lat)), lat)[1]),
        )
    else:
        from matplotlib.ticker import FuncFormatter, MaxNLocator

        axes = crs_of(raster.crs).axis_info
        metres = axes[0].unit_conversion_factor if axes else 1.0
        for axis, name in ((ax.xaxis, "x"), (ax.yaxis, "y")):
            axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
            axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v * metres / 1000:,.6g}"))
            axis.set_label_text(f"{name} [km]", fontsize=9)


def _degrees(ax: Axes, to_lon: Any, from_lon: Any, to_lat: Any, from_lat: Any) -> None:
    """Ticks at round longitudes and latitudes."""
    from matplotlib.ticker import FuncFormatter, Locator, MaxNLocator

    class Degrees(Locator):
        """Round degrees on an axis that is a function of them."""

        def __init__(self, forward: Any, backward: Any) -> None:
            self.forward, self.backward = forward, backward
            self.round = MaxNLocator(7, steps=[1, 2, 3, 5, 6, 10])

        def __call__(self) -> Any:
            axis: Any = self.axis
            return self.tick_values(*axis.get_view_interval())

        def tick_values(self, vmin: float, vmax: float) -> Any:
            low, high = sorted(self.forward(np.array([vmin, vmax])))
            ticks = np.asarray(self.round.tick_values(low, high))
            return self.backward(ticks[(ticks >= low - 1e-9) & (ticks <= high + 1e-9)])

    def text(forward: Any, letters: str) -> Any:
        def write(value: float, _: Any) -> str:
            degrees = round(float(forward(np.array([value]))[0]), 6)
            if letters == "WE":
                degrees = (degrees + 180) % 360 - 180 if abs(degrees) > 180 else degrees
                if abs(degrees) == 180:
                    return "180°"
            return f"{abs(degrees):g}°" + (letters[degrees > 0] if degrees else "")

        return FuncFormatter(write)

    for axis, forward, backward, letters in (
        (ax.xaxis, to_lon, from_lon, "WE"),
        (ax.yaxis, to_lat, from_lat, "SN"),
    ):
        axis.set_major_locator(Degrees(forward, backward))
        axis.set_major_formatter(text(forward, letters))
