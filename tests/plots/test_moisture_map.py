"""Soil moisture of a day, and films: which steps are read, and when."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from odc.geo.xr import xr_coords

import xsoil
from xsoil.errors import ArgumentError, TimeError
from xsoil.plots import moisture_animation, moisture_map

GRID = xsoil.ease_grid("EASE2_M36km", (-104, 38, -101, 40))
STEPS = 4


@pytest.fixture
def read() -> list[int]:
    return []


@pytest.fixture
def series(read) -> xr.Dataset:
    """Lazy, a step a block; the value is that of the step."""

    def block(block_info=None):
        (low, high), *rest = block_info[None]["array-location"]
        read.append(low)
        return np.full((high - low, *(b - a for a, b in rest)), 0.1 * low, "f4")

    values = da.map_blocks(block, chunks=((1,) * STEPS, *((n,) for n in GRID.shape)), meta=np.empty((0, 0, 0), "f4"))
    time = np.datetime64("2015-06-01", "ns") + np.arange(STEPS) * np.timedelta64(1, "D")
    theta = xr.DataArray(values, xr_coords(GRID) | {"time": time}, ("time", *GRID.dimensions))
    return theta.assign_attrs(units="m3 m-3").to_dataset(name="theta")


def test_the_nearest_step_is_read_and_dated(series, read):
    ax = moisture_map(series, "2015-06-02 13:00", coast=False)
    assert read == [2]
    assert ax.get_title() == "2015-06-03"
    image = ax.images[0]
    assert (image.get_array() == np.float32(0.2)).all()
    assert (image.norm.vmin, image.norm.vmax) == (0, 0.5)
    dry, wet = (np.dot(image.cmap(v)[:3], (0.3, 0.6, 0.1)) for v in (0.0, 1.0))
    assert dry > 0.7 > 0.2 > wet
    assert ax.child_axes[0].get_ylabel().replace("\n", " ") == "volumetric soil moisture [m³ m⁻³]"


def test_hours_are_dated_too(series):
    shifted = series.assign_coords(time=series.time + np.timedelta64(6, "h"))
    assert moisture_map(shifted, "2015-06-01", coast=False).get_title() == "2015-06-01 06:00"


def test_one_step_needs_no_date(series):
    assert moisture_map(series.isel(time=[1]), coast=False).get_title() == "2015-06-02"
    assert moisture_map(series.isel(time=0, drop=True), coast=False).get_title() == ""


def test_a_film_reads_a_step_at_a_time(series, read, tmp_path):
    import matplotlib.pyplot as plt
    from PIL import Image

    film = moisture_animation(series, coast=False)
    assert set(read) == {0}
    assert plt.get_fignums() == []  # else the first step would stand beside the film in a notebook
    read.clear()
    seen = []
    path = tmp_path / "film.gif"
    film.save(path, dpi=40, progress_callback=lambda k, n: seen.append((k, list(read), title(film))))
    assert [(k, text) for k, _, text in seen] == [(k, f"2015-06-0{k + 1}") for k in range(STEPS)]
    assert read == list(range(STEPS))
    with Image.open(path) as picture:
        assert picture.n_frames == STEPS


def title(film) -> str:
    return film._fig.axes[0].get_title()


def test_a_film_on_axes_of_ones_own(series):
    import matplotlib.pyplot as plt

    _, ax = plt.subplots()
    film = moisture_animation(series, ax, coast=False)
    assert len(plt.get_fignums()) == 1
    assert ax.images
    film._draw_was_started = True  # it is not shown


def test_faults(series):
    with pytest.raises(TimeError, match="time='2015-06-01'"):
        moisture_map(series)
    with pytest.raises(TimeError, match="from 2015-06-01 to 2015-06-04"):
        moisture_map(series, "2016-01-01")
    with pytest.raises(TimeError, match="no date"):
        moisture_map(series, "yesterday evening")
    with pytest.raises(TimeError, match="leave it out"):
        moisture_map(series.isel(time=0), "2015-06-01")
    with pytest.raises(TimeError, match="'time'"):
        moisture_animation(series.isel(time=0))
    with pytest.raises(ArgumentError, match=r"\.isel\(depth=0\)"):
        moisture_map(series.expand_dims(depth=2), "2015-06-01")


def test_the_scale_is_in_the_units_of_the_map(series):
    percent = (series.theta * 100).assign_attrs(units="percent").to_dataset(name="theta")
    for ds, ends in ((series, (0, 0.5)), (percent, (0, 50))):
        ax = moisture_map(ds, "2015-06-02", coast=False)
        assert ax.images[0].get_clim() == pytest.approx(ends)
    depth = (series.theta * 1000).assign_attrs(units="mm").rename("storage")  # no water content: its own range
    assert moisture_map(depth, "2015-06-04", coast=False).images[0].get_clim()[1] == pytest.approx(330)
    assert moisture_map(percent, "2015-06-02", coast=False, vmax=20).images[0].get_clim() == (0, 20)


def test_times_that_are_no_dates(series):
    for draw in (lambda ds: moisture_map(ds, "2015-06-02"), moisture_animation):
        with pytest.raises(TimeError, match="no step"):
            draw(series.isel(time=slice(0)))
    with pytest.raises(TimeError, match="convert_calendar"):
        moisture_map(series.convert_calendar("noleap"), "2015-06-02")
    with pytest.raises(TimeError, match=r"isel\(time=0\)"):
        moisture_map(series.drop_vars("time"), 1)
