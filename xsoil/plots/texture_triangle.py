"""`texture_triangle`: soils in the USDA triangle."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from xsoil.errors import ArgumentError, MissingVariableError
from xsoil.plots._figures import new_axes
from xsoil.plots._labels import PALETTE, label_of
from xsoil.plots._values import in_own_units, numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["POLYGONS", "place", "texture_triangle"]

HEIGHT = math.sqrt(3) / 2

POLYGONS: dict[str, tuple[tuple[float, float], ...]] = {
    "sand": ((100, 0), (85, 0), (90, 10)),
    "loamy_sand": ((85, 0), (70, 0), (85, 15), (90, 10)),
    "sandy_loam": ((70, 0), (50, 0), (43, 7), (52, 7), (52, 20), (80, 20), (85, 15)),
    "loam": ((43, 7), (23, 27), (45, 27), (52, 20), (52, 7)),
    "silt_loam": ((50, 0), (20, 0), (8, 12), (0, 12), (0, 27), (23, 27)),
    "silt": ((20, 0), (0, 0), (0, 12), (8, 12)),
    "sandy_clay_loam": ((80, 20), (52, 20), (45, 27), (45, 35), (65, 35)),
    "clay_loam": ((45, 27), (20, 27), (20, 40), (45, 40)),
    "silty_clay_loam": ((20, 27), (0, 27), (0, 40), (20, 40)),
    "sandy_clay": ((65, 35), (45, 35), (45, 55)),
    "silty_clay": ((20, 40), (0, 40), (0, 60)),
    "clay": ((45, 40), (20, 40), (0, 60), (0, 100), (45, 55)),
}
"""Corners (sand, clay) [percent] of the classes, Soil Survey Manual (USDA Handbook 18), chapter 3."""

# Names and where they stand (sand, clay); the centre of gravity is too narrow a place for some.
_NAMES = (
    ("sand", 91.5, 3.6), ("loamy\nsand", 80, 7), ("sandy loam", 63, 11), ("loam", 41, 18), ("silt loam", 20, 14.5),
    ("silt", 7.5, 5.2), ("sandy\nclay loam", 60, 27), ("clay loam", 32.5, 33.5), ("silty\nclay loam", 10, 33.5),
    ("sandy\nclay", 51.5, 41.5), ("silty\nclay", 6.8, 46.5), ("clay", 22, 59),
)  # fmt: skip
POINTS = 20_000


def texture_triangle(
    ds: xr.Dataset | None = None,
    ax: Axes | None = None,
    *,
    color: str | xr.DataArray | None = None,
    size: float | None = None,
    cmap: str = "viridis",
    label: str | None = None,
) -> Axes:
    """Draw the USDA texture triangle, with soils as points.

    Parameters
    ----------
    ds : xr.Dataset, optional
        Two or three of `sand`, `silt`, `clay` on any dims, with units; of more than 20,000 soils every k-th is drawn.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure. On a triangle of an earlier call only points are added.
    color : str or xr.DataArray, optional
        Of the points: a colour, the name of a variable of `ds`, or an array on its dims, with a bar then.
    size : float, optional
        Of the points, in points squared; by default the smaller the more there are.
    cmap : str
        Name of a colour map.
    label : str, optional
        Name of the points in the legend.

    Returns
    -------
    matplotlib.axes.Axes
        Sand decreases along the base, clay grows along the left side, silt along the right one.

    Raises
    ------
    MissingVariableError, UnitsError
        Fewer than two of the fractions; no units.
    ArgumentError
        Colours on other dims.
    """

    if ax is None:
        ax = new_axes(6.2, 5.6)
    if not any(patch.get_gid() == "texture" for patch in ax.patches):
        _draw_triangle(ax)
    if ds is None:
        return ax
    names = [name for name in ("sand", "silt", "clay") if name in ds.variables]
    if len(names) < 2:
        raise MissingVariableError(
            f"texture_triangle needs two of 'sand', 'silt', 'clay', found {names} among "
            f"{sorted(map(str, ds.data_vars))}; use ds.rename(...)"
        )
    arrays = dict(zip(names, xr.broadcast(*(ds[name] for name in names)), strict=True))
    colours = _colours(color, ds, next(iter(arrays.values())))
    fractions = {name: in_own_units(_thinned(array), name) for name, array in arrays.items()}
    if "sand" not in fractions:
        fractions["sand"] = 100 - fractions["silt"] - fractions["clay"]
    if "clay" not in fractions:
        fractions["clay"] = 100 - fractions["sand"] - fractions["silt"]
    sand, clay = fractions["sand"], fractions["clay"]
    legal = np.isfinite(sand) & np.isfinite(clay) & (sand >= 0) & (clay >= 0) & (sand + clay <= 101)
    style: dict[str, Any] = {"color": color if isinstance(color, str) and colours is None else PALETTE[0]}
    if colours is not None:
        style = {"c": numbers(_thinned(colours))[legal], "cmap": cmap}
    number = int(legal.sum())
    size = float(np.clip(8000 / max(number, 1), 3, 36)) if size is None else size
    drawn = ax.scatter(
        *place(sand[legal], clay[legal]), s=size, linewidths=0.3 if number < 500 else 0, edgecolors="white", zorder=4,
        alpha=0.85 if number < 2000 else 0.5, label=label, **style,
    )  # fmt: skip
    if colours is not None:
        bar: Any = ax.figure.colorbar(drawn, ax=ax, shrink=0.6, pad=0.03)
        bar.solids.set_alpha(1)
        bar.set_label(label_of(colours), fontsize=9)
    if label:
        ax.legend(frameon=False, fontsize=9, loc="upper right")
    return ax


def _thinned(array: xr.DataArray) -> xr.DataArray:
    """Every k-th soil on one dimension, so that only these are read."""
    if not array.ndim:
        return array.expand_dims("soil")
    at = np.unravel_index(np.arange(0, array.size, max(1, math.ceil(array.size / POINTS))), array.shape)
    return array.isel({d: xr.DataArray(k, dims="soil") for d, k in zip(array.dims, at, strict=True)})


def place(sand: ArrayLike, clay: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where a texture [percent] lies in the drawing: the corners are (0, 0), (100, 0) and (50, 86.6)."""
    sand, clay = np.asarray(sand, float), np.asarray(clay, float)
    return 100 - sand - clay / 2, clay * HEIGHT


def _colours(color: str | xr.DataArray | None, ds: xr.Dataset, like: xr.DataArray) -> xr.DataArray | None:
    """The array behind the colours, on the dims of the fractions; None for a plain colour."""
    if color is None or (isinstance(color, str) and color not in ds.variables):
        from matplotlib.colors import is_color_like

        if color is not None and not is_color_like(color):
            raise MissingVariableError(
                f"{color!r} is neither a colour nor a variable among {sorted(map(str, ds.data_vars))}"
            )
        return None
    array = ds[color] if isinstance(color, str) else color
    if foreign := [str(d) for d in array.dims if d not in like.dims]:
        raise ArgumentError(f"color={array.name!r} has the dims {foreign}, which the soils on {like.dims} lack")
    try:
        array, _ = xr.align(array, like, join="exact", copy=False)
    except ValueError as error:
        raise ArgumentError(f"color={array.name!r} and the soils have other coordinates: {error}") from error
    return array.broadcast_like(like).transpose(*like.dims)


def _draw_triangle(ax: Axes) -> None:
    from matplotlib.patches import Polygon
    from matplotlib.patheffects import withStroke

    ax.set_aspect("equal")
    ax.axis("off")
    ax.set(xlim=(-9, 109), ylim=(-11, 92))
    for at in range(10, 100, 10):
        for ends in (
            ((at, 0), (at, 100 - at)),  # of one sand content
            ((0, at), (100 - at, at)),  # clay
            ((100 - at, 0), (0, 100 - at)),  # silt
        ):
            ax.plot(*place(*zip(*ends, strict=True)), color="0.85", lw=0.6, zorder=1)
        text: dict[str, Any] = {"fontsize": 8, "color": "0.25"}
        x, y = map(float, place(at, 0))
        ax.text(x + 0.6, y - 1.6, str(at), rotation=-60, ha="left", va="top", rotation_mode="anchor", **text)
        x, y = map(float, place(100 - at, at))
        ax.text(x - 1.6, y, str(at), ha="right", va="center", **text)
        x, y = map(float, place(0, 100 - at))
        ax.text(x + 0.8, y + 1.4, str(at), rotation=60, ha="left", va="bottom", rotation_mode="anchor", **text)
    halo = [withStroke(linewidth=2.0, foreground=(1, 1, 1, 0.8))]
    for corners in POLYGONS.values():
        edge = np.column_stack(place(*zip(*corners, strict=True)))
        ax.add_patch(Polygon(edge, fill=False, ec="0.25", lw=1.0, zorder=3, gid="texture"))
    for words, sand, clay in _NAMES:
        x, y = map(float, place(sand, clay))
        ax.text(
            x, y, words, ha="center", va="center", fontsize=7.5, color="0.2", zorder=5, linespacing=0.95,
            path_effects=halo,
        )  # fmt: skip
    ax.add_patch(Polygon([(0, 0), (100, 0), (50, 100 * HEIGHT)], fill=False, ec="black", lw=1.4, zorder=3))
    title: dict[str, Any] = {"fontsize": 10, "ha": "center", "va": "center", "rotation_mode": "anchor"}
    ax.text(50, -8.5, "← sand [%]", **title)
    ax.text(14.5, 51, "clay [%] →", rotation=60, **title)
    ax.text(85.5, 51, "silt [%] →", rotation=-60, **title)
