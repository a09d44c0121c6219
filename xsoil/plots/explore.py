"""`explore`: an interactive map with sliders, in a notebook or a browser."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from xsoil.data.objects import as_dataset
from xsoil.errors import ArgumentError, AxisError, UnknownNameError
from xsoil.grids.crs import crs_of, is_geographic
from xsoil.grids.geobox import has_grid
from xsoil.plots._colours import CLASSES, is_log, limits_of
from xsoil.plots._labels import MOISTURE, class_names, label_of, pretty_units
from xsoil.plots._outline import outline
from xsoil.plots._raster import Raster, raster_of, shape_of, stretch
from xsoil.plots._values import WATER, wettest
from xsoil.plots.moisture_map import day_text

if TYPE_CHECKING:
    import panel as pn

__all__ = ["explore"]

NO_DATA = "#EDEDED"
Range = tuple[float, float] | None


def explore(
    ds: xr.Dataset | xr.DataArray,
    variable: str | None = None,
    *,
    scale: Literal["linear", "log"] | None = None,
    cmap: str | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    coast: bool = True,
    cells: int = 500,
    width: int = 640,
) -> pn.Column:
    """Look at maps with the mouse: a slider for time (and any other dimension), zoom, values under the pointer.

    Nothing is computed but what is seen: the step that the sliders choose, thinned to `cells`; zooming in reads the
    part in view again, with more detail. Needs ``pip install "xsoil[explore]"`` (panel, holoviews).

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        With variables on a grid; lazy ones stay so.
    variable : str, optional
        Which one is shown first; a menu has the others.
    scale : {"linear", "log"}, optional
        Of the colours; by default logarithmic where the vocabulary says so.
    cmap : str, optional
        Name of a colour map; by default "viridis", of soil moisture with the wet end dark.
    vmin, vmax : float, optional
        Ends of the scale, the same for all steps; by default 0 and 0.5 m3 m-3 for soil moisture, else the 2nd and 98th
        percentile of the first step that is shown.
    coast : bool
        Draw the outline of the continents.
    cells : int
        Cells along the longer side of what is in view, at most: of more every k-th is read.
    width : int
        Of the map, in pixels.

    Returns
    -------
    panel.Column
        A notebook shows it where it is the last line of a cell. ``.show()`` opens a browser, ``.save("map.html",
        embed=True)`` writes a page whose slider works without Python: it holds every step, so load them first.

    Raises
    ------
    ImportError
        panel or holoviews is not installed.
    AxisError, CRSError
        No variable on a grid; no CRS.
    UnknownNameError, ArgumentError
        No such variable; arguments that are none.

    Examples
    --------
    >>> import xsoil
    >>> moisture.soil.explore()  # doctest: +SKIP
    """
    try:
        import holoviews as hv
        import panel as pn
    except ImportError as error:
        raise ImportError('explore needs panel and holoviews: pip install "xsoil[explore]"') from error
    ds = as_dataset(ds)
    names = [str(name) for name in ds.data_vars if has_grid(ds[name]) and ds[name].dtype.kind in "fiub"]
    if not names:
        raise AxisError(f"no variable with numbers on a grid among {sorted(map(str, ds.data_vars))}; nothing to show")
    if variable is not None and variable not in names:
        raise UnknownNameError.of("variable", variable, names)
    if not isinstance(width, (int, np.integer)) or width < 100:
        raise ArgumentError(f"width={width!r}; expected 100 pixels or more")
    if "bokeh" not in hv.Store.loaded_backends():
        hv.extension("bokeh", logo=False)
    pn.extension()

    first = variable or next((name for name in WATER if name in names), names[0])
    look = _Look(scale, cmap, vmin, vmax, cells, width)
    menu = pn.widgets.Select(**_titled("variable"), options=names, value=first, width=220)
    body = pn.Column(*_map_of(ds[first], look, coast))

    def change(event: Any) -> None:
        body[:] = _map_of(ds[event.new], look, coast)

    menu.param.watch(change, "value")
    return pn.Column(*([menu] if len(names) > 1 else []), body)


@dataclass(frozen=True)
class _Look:
    """What was asked for, for every variable."""

    scale: str | None
    cmap: str | None
    vmin: float | None
    vmax: float | None
    cells: int
    width: int


def _map_of(array: xr.DataArray, look: _Look, coast: bool) -> list[Any]:
    """Sliders and the map of a variable."""
    import holoviews as hv
    import panel as pn

    whole = raster_of(array, look.cells)
    sliders = {f"at{k}": (d, _slider(array, d, look.width)) for k, d in enumerate(whole.dims) if array.sizes[d] > 1}
    unit = _unit(whole.crs)
    classes = class_names(array.attrs)

    @lru_cache(maxsize=8)  # the same picture is asked for again when the browser tells what is in view
    def read(part: tuple[float, float, float, float] | None, places: tuple[int, ...]) -> tuple[Raster, Any]:
        raster = whole if part is None else raster_of(array, look.cells, part)
        found = raster.values(raster.array.isel(dict(zip(whole.dims, places, strict=True))))
        if classes:
            found = np.ma.masked_where(~np.isin(found.filled(np.nan), list(classes)), found)
        return raster, found

    def picture(x_range: Range, y_range: Range, **moved: int) -> Any:
        now = {dim: moved[key] for key, (dim, _) in sliders.items()}
        raster, found = read(_seen(whole, x_range, y_range, unit), tuple(now.get(dim, 0) for dim in whole.dims))
        values = found.filled(np.nan).astype(np.float32)
        named = {"kdims": _axes(whole.crs), "vdims": [hv.Dimension("value", label=_short(array))]}
        if raster.mesh is None:
            left, right, bottom, top = (v / unit for v in raster.image)
            digits = "{0.00}" if unit == 1.0 else "{0.0}"
            pointer = [(axis.label, f"${axis.name}{digits}") for axis in _axes(whole.crs)]
            drawn = hv.Image(values, bounds=(left, bottom, right, top), **named)
            drawn = drawn.opts(hover_tooltips=[*pointer, (_short(array), "@image")], backend="bokeh")
        else:
            drawn = hv.QuadMesh((raster.mesh[0] / unit, raster.mesh[1] / unit, values), **named)
        return drawn.opts(**style, backend="bokeh")

    style = _style(whole, lambda: read(None, (0,) * len(whole.dims))[1], look)
    at = hv.streams.Stream.define("At", **{key: slider.value for key, (_, slider) in sliders.items()})()
    # A lazy map is read when the mouse lets go of the slider, not at every step on its way.
    moved = "value" if array.chunks is None else "value_throttled"
    for key, (_, slider) in sliders.items():
        slider.param.watch(lambda event, key=key: at.event(**{key: event.new}), moved)
    drawn = hv.DynamicMap(picture, streams=[at, hv.streams.RangeXY()])
    if coast:
        lift = np.full((1, 2), np.nan)  # one line with gaps: thousands of lines take seconds
        lines = [part for line in outline(whole.crs, whole.extent) for part in (line / unit, lift)]
        lines = [np.concatenate(lines)] if lines else []
        for colour, wide in (("#FFFFFF", 2.0), ("#303030", 0.8)):  # seen on light and on dark
            drawn = drawn * hv.Path(lines, kdims=_axes(whole.crs)).opts(
                color=colour, line_width=wide, apply_ranges=False, backend="bokeh"
            )
    return [*(slider for _, slider in sliders.values()), pn.pane.HoloViews(drawn, backend="bokeh")]


def _slider(array: xr.DataArray, dim: Hashable, width: int) -> Any:
    """A slider over the positions along a dimension, named by its coordinate."""
    import panel as pn

    units = pretty_units(str(array[dim].attrs.get("units", ""))) if dim in array.coords else ""
    values = array[dim].to_numpy() if dim in array.coords else np.arange(array.sizes[dim])
    if values.dtype.kind == "M":
        texts = [day_text(value) for value in values]
    else:
        texts = [f"{v:g}" if isinstance(v, (int, float, np.number)) else str(v) for v in values]
    if len(set(texts)) < len(texts):
        texts = [f"{text} ({k})" for k, text in enumerate(texts)]
    name = f"{dim} [{units}]" if units else str(dim)
    return pn.widgets.DiscreteSlider(**_titled(name), options={text: k for k, text in enumerate(texts)}, width=width)


def _titled(text: str) -> dict[str, str]:
    """The title of a widget, under the name that this panel has for it."""
    import panel as pn

    return {"label" if "label" in pn.widgets.Select.param else "name": text}


def _style(whole: Raster, first: Callable[[], Any], look: _Look) -> dict[str, Any]:
    """Options of holoviews: colours that are fixed for all steps (read from the first where need be), axes, size."""
    array = whole.array
    water, log = array.name in WATER, is_log(array, look.scale)
    classes = class_names(array.attrs)
    style: dict[str, Any] = {}
    if classes:
        from bokeh.models import FixedTicker

        ordered = sorted(classes)
        style["cmap"] = _of_whole_numbers(ordered, look.cmap)
        style["clim"] = (ordered[0] - 0.5, ordered[-1] + 0.5)
        style["colorbar_opts"] = {"ticker": FixedTicker(ticks=ordered), "major_label_overrides": classes}
    else:
        low, high = look.vmin, look.vmax
        if water and not log and (most := wettest(array)) is not None:
            low, high = 0.0 if low is None else low, most if high is None else high
        if low is None or high is None:
            low, high = limits_of(first(), low, high, log=log, robust=True)
        style |= {"cmap": look.cmap or (MOISTURE if water else "viridis"), "clim": (low, high), "logz": log}
    return style | {
        "frame_width": round(look.width / max(shape_of(whole) / 0.8, 1.0)), "data_aspect": stretch(whole),
        "colorbar": True, "clabel": label_of(array), "title": str(array.name), "bgcolor": NO_DATA, "tools": ["hover"],
        "active_tools": ["pan", "wheel_zoom"], "clipping_colors": {"NaN": "transparent"},
    }  # fmt: skip


def _of_whole_numbers(classes: list[int], cmap: str | None) -> list[str]:
    """A colour for every whole number from the first class to the last, that of the next class between them.

    Browsers cut a palette into equal parts, and classes may be 1, 2 and 10.
    """
    from holoviews.plotting.util import process_cmap

    if cmap:
        colours = process_cmap(cmap, len(classes))
    else:  # the same as those of parameter_map: Tol's, with colours between where there are more than 12
        places = np.linspace(0, len(CLASSES) - 1, len(classes))
        rgb = np.array([[int(text[i : i + 2], 16) for i in (1, 3, 5)] for text in CLASSES])
        mixed = np.stack([np.interp(places, np.arange(len(CLASSES)), part) for part in rgb.T], axis=-1)
        colours = ["#{:02X}{:02X}{:02X}".format(*row) for row in np.rint(mixed).astype(int).tolist()]
    at = np.searchsorted(classes, np.arange(classes[0], classes[-1] + 1))
    return [colours[k] for k in at]


def _short(array: xr.DataArray) -> str:
    return label_of(array, str(array.name))


def _unit(crs: str) -> float:
    """Units of the CRS in one unit of the axes: degrees, or kilometres."""
    if is_geographic(crs):
        return 1.0
    axes = crs_of(crs).axis_info
    return 1000.0 / (axes[0].unit_conversion_factor if axes else 1.0)


def _axes(crs: str) -> list[Any]:
    import holoviews as hv

    labels = ("longitude [°]", "latitude [°]") if is_geographic(crs) else ("x [km]", "y [km]")
    return [hv.Dimension(name, label=label) for name, label in zip("xy", labels, strict=True)]


def _seen(whole: Raster, x_range: Range, y_range: Range, unit: float) -> tuple[float, float, float, float] | None:
    """The part of the map in view, in its CRS; None where that is all of it, or nothing."""
    if x_range is None or y_range is None:
        return None
    left, right, bottom, top = whole.extent
    low_x, high_x = max(left, min(x_range) * unit), min(right, max(x_range) * unit)
    low_y, high_y = max(bottom, min(y_range) * unit), min(top, max(y_range) * unit)
    part = (low_x, high_x, low_y, high_y)
    return None if part == whole.extent or low_x >= high_x or low_y >= high_y else part
