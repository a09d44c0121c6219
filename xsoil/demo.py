"""The demo: soil map to soil moisture on a synthetic continent, in a minute and without any data.

A soil map of CONUS at 1/60 degree -> hydraulic parameters (Saxton and Rawls 2006) -> EASE2_M09km, in both orders: MPR
(first the pedotransfer function, then the mean) and TR (first the mean) -> one year of water balance. Written are
parameters.zarr, soil_moisture.zarr, k_sat.tif and demo.png.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from pyproj import Transformer

import xsoil
from xsoil.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.ticker import Formatter

CONUS = (-125.0, 24.5, -66.5, 49.5)
GRID = "EASE2_M09km"
PARAMETERS = ["theta_s", "theta_fc", "theta_wp", "k_sat"]
FIXED = {"root_depth": 0.5, "depletion_fraction": 0.3, "crop_coefficient": 0.9}
YEAR = "2015"
SHOWN_DAY = "2015-07-15"


class Stopwatch:
    """Announces steps, and keeps their times and speeds for the summary."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.stages: list[tuple[str, float, str]] = []

    @contextmanager
    def stage(self, title: str, amount: float, unit: str) -> Iterator[None]:
        """One step, with how much of what it works on."""
        self.say(f"\n{title}")
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        self.stages.append((title, seconds, f"{amount / seconds / 1e6:.1f} million {unit}/s"))


def both_orders(soil: xr.Dataset, grid: str) -> xr.Dataset:
    """Parameters on the target grid by both frameworks, on a dimension of that name."""
    mpr = soil.soil.ptf("saxton_rawls2006", outputs=PARAMETERS).soil.upscale(grid)
    tr = soil.soil.upscale(grid).soil.ptf("saxton_rawls2006", outputs=PARAMETERS)
    both: xr.Dataset = xr.concat([mpr, tr], xr.DataArray(["MPR", "TR"], dims="framework", name="framework"))
    return both


def two_places(parameters: xr.Dataset) -> dict[str, tuple[int, int]]:
    """Row and column of a light and a heavy soil, well inside the continent."""
    level = parameters.theta_fc.sel(framework="MPR")
    inland = level.where(level.rolling(y=41, x=41, center=True).count() == 41**2).values
    wanted = dict(zip(("light", "heavy"), np.nanquantile(inland, [0.1, 0.95]), strict=True))
    found = {name: int(np.nanargmin(abs(inland - value))) for name, value in wanted.items()}
    return {name: divmod(at, level.sizes["x"]) for name, at in found.items()}


def draw(
    soil: xr.Dataset, parameters: xr.Dataset, theta: xr.DataArray, *, seed: int, names: Mapping[str, str], path: Path
) -> None:
    """Four maps, and the year of a light and a heavy soil."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.colors import LogNorm
    from PIL import Image

    plt.rcParams.update({"font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left", "axes.linewidth": 0.6})
    fig, axes = plt.subplot_mosaic(
        [["sand", "k_sat"], ["ratio", "theta"], ["light", "light"], ["heavy", "heavy"]],
        figsize=(11, 9.2), layout="constrained", height_ratios=(3, 3, 1.6, 1.6),
    )  # fmt: skip
    mpr, tr = (parameters.k_sat.sel(framework=name) for name in ("MPR", "TR"))
    maps = {
        "sand": (soil.sand, names["soil"], "percent", {"cmap": "YlOrBr", "vmin": 0, "vmax": 95}),
        "k_sat": (mpr, f"Saturated conductivity by MPR, {names['grid']}", "cm d$^{-1}$",
                  {"cmap": "viridis", "norm": LogNorm(*np.nanquantile(mpr, [0.02, 0.99]))}),
        "ratio": (100 * (mpr / tr - 1), "The order matters: conductivity by MPR relative to TR", "percent",
                  {"cmap": "Reds", "vmin": 0, "vmax": 30}),
        "theta": (theta.sel(time=SHOWN_DAY), f"Soil moisture on {SHOWN_DAY}", "m$^3$ m$^{-3}$",
                  {"cmap": "YlGnBu", "vmin": 0.05, "vmax": 0.42}),
    }  # fmt: skip
    rows, columns = mpr.shape
    for key, (array, title, units, style) in maps.items():
        ax, grid = axes[key], xsoil.grid_of(array)
        box = grid.boundingbox
        image = ax.imshow(array.values, extent=(box.left, box.right, box.bottom, box.top), aspect="auto", **style)
        bar = fig.colorbar(image, cax=ax.inset_axes((1.015, 0, 0.022, 1)))
        bar.set_label(units)
        bar.outline.set_visible(False)
        graticule(ax, grid)
        ax.set(title=title, facecolor="0.93", box_aspect=rows / columns)
        ax.spines[:].set_visible(False)
    colors = {"light": "#c2691c", "heavy": "#1f5fa8"}
    for name, (row, column) in two_places(parameters).items():
        # Weather is a function of place and day, so one cell is made without its neighbours.
        cell = xsoil.grid_of(parameters)[row : row + 1, column : column + 1]
        forcing = xsoil.data.synthetic_forcing(cell, YEAR, seed).isel(y=0, x=0, drop=True).compute()
        point = parameters.isel(y=row, x=column, drop=True)
        series(axes[name], point, forcing, f"{name.capitalize()} soil", colors[name])
        axes["theta"].plot(float(mpr.x[column]), float(mpr.y[row]), "o", mfc=colors[name], mec="white", ms=7)
    fig.savefig(path, dpi=110)
    plt.close(fig)
    # 128 colours are enough, in a fifth of the bytes.
    Image.open(path).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


def series(ax: Axes, point: xr.Dataset, forcing: xr.Dataset, title: str, color: str) -> None:
    """Rain from above, soil moisture by both frameworks from below."""
    rain, days, fall = ax.twinx(), forcing.time.values, forcing.precipitation.values
    rain.bar(days, fall, width=1.0, color="0.68", lw=0)
    rain.set(ylim=(200, 0))
    rain.set_yticks([0, 50], ["0", "50 mm d$^{-1}$"])
    rain.tick_params(labelcolor="0.45", labelsize=7.5)
    styles: dict[str, dict[str, Any]] = {
        "TR": {"ls": "--", "color": "0.25", "lw": 1.0},
        "MPR": {"ls": "-", "color": color, "lw": 1.5},
    }
    for framework, style in styles.items():
        run = point.sel(framework=framework, drop=True).soil.simulate(forcing, **FIXED)
        ax.plot(days, run.theta, label=framework, **style)
    low, high = (float(point[name].sel(framework="MPR")) for name in ("theta_wp", "theta_fc"))
    for name, level in (("wilting point", low), ("field capacity", high)):
        ax.axhline(level, color="0.8", lw=0.8, zorder=0)
        ax.annotate(name, (1.004, level), xycoords=("axes fraction", "data"), color="0.45", fontsize=7.5, va="center")
    ax.set(xlim=(days[0], days[-1]), ylim=(low - 0.02, high + 0.9 * (high - low)), ylabel="theta [m$^3$ m$^{-3}$]")
    ax.set_title(f"{title}, {fall.sum():.0f} mm of rain in the year")
    ax.set_zorder(rain.get_zorder() + 1)
    ax.patch.set_visible(False)
    ax.xaxis.set_major_formatter(month_names())
    ax.legend(frameon=False, ncols=2, loc="lower left", fontsize=8)
    for each in (ax, rain):
        each.spines["top"].set_visible(False)


def month_names() -> Formatter:
    from matplotlib.dates import DateFormatter

    made: Formatter = DateFormatter("%b")
    return made


def graticule(ax: Axes, grid: GeoBox) -> None:
    """Label the axes in degrees; on an EASE grid meridians and parallels are straight lines."""
    longitudes, latitudes = np.arange(-120, -69, 10), np.arange(30, 46, 5)
    to = Transformer.from_crs("EPSG:4326", str(grid.crs), always_xy=True)
    x, _ = to.transform(longitudes, np.full(longitudes.shape, 40.0))
    _, y = to.transform(np.full(latitudes.shape, -100.0), latitudes)
    ax.set_xticks(x, [f"{-degree}°W" for degree in longitudes])
    ax.set_yticks(y, [f"{degree}°N" for degree in latitudes])
    ax.tick_params(length=0, labelsize=7.5, labelcolor="0.4")
    ax.grid(color="white", lw=0.4, alpha=0.5)


def size_of(path: Path) -> str:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return f"{sum(p.stat().st_size for p in files) / 1e6:.1f} MB"


def run(
    out: Path,
    *,
    cells_per_degree: int = 60,
    grid: str = GRID,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> None:
    """Make soil, parameters and a year of soil moisture, write them to a folder, and draw them.

    Parameters
    ----------
    out : Path
        Folder for the results; those of an earlier run are replaced.
    cells_per_degree : int
        Resolution of the soil map.
    grid : str
        EASE-Grid 2.0 of parameters and soil moisture.
    seed : int
        Of the synthetic continent and its weather.
    say : callable
        Takes each line of the report.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401  (before the work, not after it)
    except ImportError as error:
        raise ImportError('the demo draws a picture with matplotlib: pip install "xsoil[plot]"') from error
    if cells_per_degree < 1:
        raise ArgumentError(f"cells_per_degree is {cells_per_degree}; expected 1 or more, such as 60")
    out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    watch = Stopwatch(say)

    # Everything is lazy until it is written.
    world = GeoBox.from_bbox(CONUS, "EPSG:4326", resolution=1 / cells_per_degree)
    soil = xsoil.data.synthetic_soil(world, seed, water=True)
    parameters = both_orders(soil, grid)
    rows, columns = world.shape
    with watch.stage(f"{rows} x {columns} soil map -> ptf -> {grid} in both orders", rows * columns, "source cells"):
        parameters.soil.to_zarr(out / "parameters.zarr", overwrite=True)
    parameters = xr.open_zarr(out / "parameters.zarr").load()
    mpr = parameters.sel(framework="MPR", drop=True)

    with watch.stage("Conductivity -> cloud-optimised GeoTIFF", mpr.k_sat.size, "cells"):
        mpr.soil.to_cog(out / "k_sat.tif", variable="k_sat", overwrite=True)

    forcing = xsoil.data.synthetic_forcing(parameters, YEAR, seed)
    simulated = mpr.soil.simulate(forcing, **FIXED)
    with watch.stage("A year of weather and water balance", simulated.theta.size, "cell-days"):
        simulated.soil.to_zarr(out / "soil_moisture.zarr", overwrite=True)
    theta = xr.open_zarr(out / "soil_moisture.zarr").theta

    say("\nThe picture")
    step = max(cells_per_degree // 30, 1)
    shown = soil[["sand"]].isel(latitude=slice(None, None, step), longitude=slice(None, None, step)).compute()
    names = {"soil": f"Sand, 1/{cells_per_degree} degree", "grid": grid}
    draw(shown, parameters, theta, seed=seed, names=names, path=out / "demo.png")

    say(f"\nxsoil {xsoil.__version__}: {time.perf_counter() - start:.0f} s in all (the first run also compiles)")
    for title, seconds, speed in watch.stages:
        say(f"  {seconds:5.1f} s  {title}: {speed}")
    say(f"in {out}/")
    for name, what in (
        ("parameters.zarr", f"{', '.join(PARAMETERS)} on {grid} by MPR and TR"),
        ("soil_moisture.zarr", f"daily theta of {YEAR} and the state at its end"),
        ("k_sat.tif", "saturated conductivity by MPR"),
        ("demo.png", "four maps and the year of two places"),
    ):
        say(f"  {name:<18} {size_of(out / name):>9}  {what}")
