"""Scales of colours for maps, and the bars that explain them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.plots._labels import class_names, label_of, wrapped
from xsoil.vocabulary import VARIABLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Scale", "colour_bar", "is_log", "limits_of", "scale_of"]

MANY = 20
"""Classes that a bar can name."""

CLASSES = (
    "#D1BBD7", "#AE76A3", "#882E72", "#1965B0", "#5289C7", "#7BAFDE", "#4EB265", "#CAE0AB", "#F7F056", "#F4A736",
    "#E8601C", "#DC050C",
)  # fmt: skip
"""Colours of classes: the discrete rainbow of P. Tol (2021, SRON/EPS/TN/09-002), made for every colour vision."""


@dataclass(frozen=True)
class Scale:
    """How numbers become colours."""

    norm: Any
    cmap: Any
    classes: dict[int, str]
    """Names by number, of classes."""

    @property
    def style(self) -> dict[str, Any]:
        return {"norm": self.norm, "cmap": self.cmap}


def is_log(array: xr.DataArray, scale: str | None) -> bool:
    """Whether colours follow logarithms: as asked, else as the vocabulary has it."""
    if scale not in (None, "linear", "log"):
        raise ArgumentError(f"scale={scale!r}; expected 'linear', 'log' or None (as the vocabulary has it)")
    known = VARIABLES.get(str(array.name))
    return scale == "log" if scale else known is not None and known.log


def limits_of(
    values: np.ma.MaskedArray[Any, Any], vmin: float | None, vmax: float | None, *, log: bool, robust: bool
) -> tuple[float, float]:
    """Ends of the scale: those given, else the 2nd and 98th percentile (`robust`) or the extremes."""
    found = values.compressed()
    found = found[found > 0] if log else found
    if found.size == 0:
        low, high = (1.0, 10.0) if log else (0.0, 1.0)
    else:
        low, high = np.percentile(found, (2, 98) if robust else (0, 100))
    low = float(low if vmin is None else vmin)
    high = float(high if vmax is None else vmax)
    if log and low <= 0:
        raise ArgumentError(f"vmin={low:g} has no logarithm; expected vmin > 0, or scale='linear'")
    if vmin is not None and vmax is not None and not low < high:
        raise ArgumentError(f"vmin={low:g} and vmax={high:g}; expected vmin < vmax")
    if not low < high:  # a constant map, or one limit beyond all values: room on the free side
        wide = max(abs(low), abs(high), 1e-12) * 0.1
        low, high = (low, low + wide) if vmin is not None else (high - wide, high + (0.0 if vmax is not None else wide))
        low = max(low, high / 10) if log else low
    return low, high


def scale_of(
    array: xr.DataArray,
    values: np.ma.MaskedArray[Any, Any],
    *,
    scale: Literal["linear", "log"] | None = None,
    cmap: Any = None,
    vmin: float | None = None,
    vmax: float | None = None,
    robust: bool = True,
) -> Scale:
    """Norm and colour map for the values of a variable."""
    from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap, ListedColormap, LogNorm, Normalize

    classes = class_names(array.attrs)
    if classes and scale is None and vmin is None and vmax is None:
        ordered = sorted(classes)
        edges = np.array([ordered[0] - 0.5, *[(a + b) / 2 for a, b in zip(ordered, ordered[1:])], ordered[-1] + 0.5])
        whole = _colour_map(cmap) if cmap else LinearSegmentedColormap.from_list("classes", CLASSES)
        colours = ListedColormap(whole(np.linspace(0, 1, len(ordered))))
        return Scale(BoundaryNorm(edges, colours.N), colours, {k: classes[k] for k in ordered})
    log = is_log(array, scale)
    low, high = limits_of(values, vmin, vmax, log=log, robust=robust)
    return Scale((LogNorm if log else Normalize)(low, high), _colour_map(cmap or "viridis"), {})


def _colour_map(name: Any) -> Any:
    import matplotlib as mpl

    try:
        return mpl.colormaps.get_cmap(name)
    except (ValueError, TypeError):
        raise UnknownNameError.of("colour map", name, mpl.colormaps) from None


def colour_bar(ax: Axes, drawn: Any, array: xr.DataArray, scale: Scale, values: np.ma.MaskedArray[Any, Any]) -> Any:
    """A bar as high as the map; its ends point where values go on."""
    place = ax.inset_axes((1.03, 0.0, 0.035, 1.0))
    extend = "neither"
    if not scale.classes and values.count():
        below, above = values.min() < scale.norm.vmin, values.max() > scale.norm.vmax
        extend = {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[int(below), int(above)]
    bar = ax.figure.colorbar(drawn, cax=place, extend=extend)
    height = ax.get_window_extent().height / ax.figure.figure.dpi
    bar.set_label(wrapped(label_of(array), max(16, int(11 * height))), fontsize=9)
    place.tick_params(labelsize=9)
    place.minorticks_off()
    if scale.classes:
        edges = scale.norm.boundaries
        names = list(scale.classes.values())
        bar.set_ticks((edges[:-1] + edges[1:]) / 2)
        place.set_yticklabels(names if len(names) <= MANY else list(map(str, scale.classes)))
        place.tick_params(length=0)
    elif hasattr(scale.norm, "vmin") and scale.norm.vmin > 0 and type(scale.norm).__name__ == "LogNorm":
        _log_ticks(bar, scale.norm.vmin, scale.norm.vmax)
    return bar


def _log_ticks(bar: Any, low: float, high: float) -> None:
    """1, 10, 100 where there are three of them; else 1, 2, 5, 10 and so on, as plain numbers."""
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), tuple(range(1, 10))):
        ticks = [d * s for d in decades for s in steps if low * 0.9999 <= d * s <= high * 1.0001]
        if len(ticks) >= 3:
            break
    else:
        ticks = [float(f"{t:.3g}") for t in np.linspace(low, high, 4)]
    bar.set_ticks(ticks, labels=[f"{t:g}" if 1e-3 <= t < 1e5 else f"{t:.0e}" for t in ticks])
