"""`moisture_map`, `moisture_animation`: soil moisture of a day, and of many days in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from xsoil.errors import TimeError
from xsoil.plots._labels import MOISTURE
from xsoil.plots._raster import CELLS, Raster, raster_of
from xsoil.plots._values import WATER, WETTEST, choose, require_dates, wettest
from xsoil.plots.parameter_map import draw_map

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes

__all__ = ["day_text", "moisture_animation", "moisture_map"]

BESIDES = "time and those of a map"


def moisture_map(
    ds: xr.Dataset | xr.DataArray,
    time: object = None,
    ax: Axes | None = None,
    *,
    variable: str | None = None,
    cmap: str = MOISTURE,
    vmin: float | None = 0.0,
    vmax: float | None = WETTEST,
    region: tuple[float, float, float, float] | None = None,
    coast: bool = True,
    colorbar: bool = True,
    cells: int = CELLS,
) -> Axes:
    """Draw the soil moisture of a day; of a lazy series only that day is computed.

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        With `theta`, `soil_moisture` or `theta_obs` on a grid and, perhaps, `time`.
    time : date, optional
        Which step: the nearest to this date, within the series. Not needed where there is one.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.
    variable : str, optional
        Another variable of the dataset.
    cmap : str
        Name of a colour map; by default dry is light and wet is dark.
    vmin, vmax : float or None
        Ends of the scale, 0 and 0.5 m3 m-3 on all days by default (50 where the map is in percent); None for the 2nd
        and 98th percentile, and for the default where units are not those of a water content.
    region, coast, colorbar, cells
        As for `parameter_map`.

    Returns
    -------
    matplotlib.axes.Axes
        With the date as title.

    Raises
    ------
    TimeError
        A date outside the series; several steps and no date; times that are no dates.
    AxisError, CRSError, MissingVariableError, ArgumentError
        As for `parameter_map`.
    """
    raster = raster_of(choose(ds, variable, "moisture_map", WATER), cells, region)
    array = _step(raster, time)
    vmin, vmax = _limits(array, vmin, vmax)
    ax, _, _ = draw_map(raster, array, ax, coast=coast, colorbar=colorbar, cmap=cmap, vmin=vmin, vmax=vmax)
    if "time" in array.coords:
        ax.set_title(day_text(array["time"].to_numpy()), fontsize=10)
    return ax


def moisture_animation(
    ds: xr.Dataset | xr.DataArray,
    ax: Axes | None = None,
    *,
    variable: str | None = None,
    interval: int = 150,
    cmap: str = MOISTURE,
    vmin: float = 0.0,
    vmax: float = WETTEST,
    region: tuple[float, float, float, float] | None = None,
    coast: bool = True,
    cells: int = 500,
) -> FuncAnimation:
    """Make a film of soil moisture; steps are computed one at a time, as the film is shown or written.

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        Soil moisture on `time` and a grid; ``ds.isel(time=slice(None, None, 5))`` makes it shorter.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.
    variable : str, optional
        Another variable of the dataset.
    interval : int
        Milliseconds between steps.
    cmap, vmin, vmax
        As for `moisture_map`, one scale for all steps.
    region, coast, cells
        As for `parameter_map`.

    Returns
    -------
    matplotlib.animation.FuncAnimation
        Keep it in a variable while it runs. ``IPython.display.HTML(film.to_jshtml())`` shows it in a notebook with
        buttons, ``film.save("moisture.gif")`` writes it (mp4 where ffmpeg is installed).

    Raises
    ------
    TimeError
        No dimension `time`.
    AxisError, CRSError, MissingVariableError, ArgumentError
        As for `parameter_map`.
    """
    from matplotlib.animation import FuncAnimation
    from matplotlib.pyplot import close

    raster = raster_of(choose(ds, variable, "moisture_animation", WATER), cells, region)
    if "time" not in raster.dims:
        raise TimeError(f"{raster.array.name!r} is on {raster.array.dims}; a film needs a dimension 'time'")
    steps = raster.array.transpose("time", ...)
    if not steps.sizes["time"]:
        raise TimeError(f"{steps.name!r} has no step; expected at least one: look at what was selected")
    low, high = _limits(steps, vmin, vmax)
    own = ax is None
    ax, drawn, _ = draw_map(
        raster,
        raster.one_map(steps.isel(time=0), BESIDES),
        ax,
        coast=coast,
        colorbar=True,
        cmap=cmap,
        vmin=low,
        vmax=high,
    )
    ax.set_title(day_text(steps["time"].to_numpy()[0]), fontsize=10)

    def show(step: int) -> tuple[Any, ...]:
        array = raster.one_map(steps.isel(time=step), BESIDES)
        values = raster.values(array)
        drawn.set_array(values)
        ax.set_title(day_text(steps["time"].to_numpy()[step]), fontsize=10)
        return (drawn,)

    film = FuncAnimation(
        ax.figure.figure, show, frames=steps.sizes["time"], init_func=lambda: (drawn,), interval=interval,
        cache_frame_data=False,
    )  # fmt: skip
    if own:
        close(ax.figure.figure)  # else a notebook shows the first step as a picture of its own
    return film


def day_text(time: Any) -> str:
    """A date, with the hour where it is not midnight."""
    try:
        stamp = pd.Timestamp(np.asarray(time)[()])
    except (TypeError, ValueError):
        return str(time)
    return f"{stamp:%Y-%m-%d}" if stamp == stamp.normalize() else f"{stamp:%Y-%m-%d %H:%M}"


def _limits(array: xr.DataArray, vmin: float | None, vmax: float | None) -> tuple[float | None, float | None]:
    """The ends of the scale, the default ones in the units of the array."""
    if (vmin, vmax) != (0.0, WETTEST):
        return vmin, vmax
    high = wettest(array)
    return (None, None) if high is None else (vmin, high)


def _step(raster: Raster, time: object) -> xr.DataArray:
    """The step nearest to a date."""
    array = raster.array
    if "time" not in raster.dims:
        if time is not None:
            raise TimeError(f"time={time!r}, but {array.name!r} has no dimension 'time'; leave it out")
        return raster.one_map(array, BESIDES)
    times = array["time"].to_numpy()
    if not times.size:
        raise TimeError(f"{array.name!r} has no step; expected at least one: look at what was selected")
    if time is None:
        if times.size > 1:
            raise TimeError(f"{array.name!r} has {times.size} steps; choose one: time={day_text(times[0])!r}")
        position = 0
    else:
        require_dates(array)
        try:
            wanted = np.datetime64(pd.Timestamp(time))
        except (TypeError, ValueError) as error:
            raise TimeError(f"time={time!r} is no date; expected e.g. {day_text(times[0])!r}") from error
        off = np.abs(times - wanted)
        position = int(off.argmin())
        step = np.abs(np.diff(times)).max() if times.size > 1 else np.timedelta64(1, "D")
        if off[position] > step:
            raise TimeError(
                f"time={day_text(wanted)!r} lies outside the series, which goes from {day_text(times[0])} to "
                f"{day_text(times[-1])}"
            )
    return raster.one_map(array.isel(time=position), BESIDES)
