"""Series of a place: lines, dots and bars hold the numbers given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xsoil.errors import ArgumentError, TimeError, UnitsError
from xsoil.plots import site_series

TIME = pd.date_range("2015-01-01", periods=60)


def series(name: str, units="m3 m-3", of=None, time=TIME) -> xr.DataArray:
    values = np.sin(np.arange(len(time)) / 9) * 0.1 + 0.25 if of is None else of
    return xr.DataArray(values, {"time": time}, ("time",), name=name, attrs={"units": units})


def bars(ax) -> dict:
    return {bar.get_x(): bar.get_height() for bar in ax.figure.axes[-1].patches}


def test_line_dots_and_bars():
    rain = np.where(np.arange(60) % 7 == 0, 12.0, 0.0)
    observed = series("soil_moisture").isel(time=slice(None, None, 3))
    ax = site_series(series("theta"), observed, series("precipitation", "m s-1", rain / 8.64e7))
    line, dots = ax.lines
    np.testing.assert_array_equal(line.get_ydata(), series("theta"))
    np.testing.assert_array_equal(dots.get_ydata(), observed)
    assert dots.get_linestyle() == "None"
    np.testing.assert_allclose(list(bars(ax).values()), rain, rtol=1e-6)  # in mm d-1
    twin = ax.figure.axes[-1]
    assert twin.get_ylim() == pytest.approx((36, 0))  # the bars hang from the top, in its third
    assert twin.get_ylabel() == "precipitation [mm d⁻¹]"
    assert ax.get_ylabel() == "soil moisture [m³ m⁻³]"
    assert ax.get_zorder() > twin.get_zorder()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["simulated", "observed", "precipitation"]
    top = ax.get_ylim()[0] + 0.66 * np.ptp(ax.get_ylim())
    assert line.get_ydata().max() < top + 0.02  # the series stays below them


def test_it_can_be_rendered(pixels):
    picture = pixels(site_series(series("theta"), series("soil_moisture"), series("precipitation", "mm", np.ones(60))))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 30


def test_rain_of_the_same_days_only():
    long = series("precipitation", "mm d-1", np.arange(90.0), pd.date_range("2014-12-20", periods=90))
    assert sorted(bars(site_series(series("theta"), precipitation=long)).values()) == list(np.arange(12.0, 72.0))


def test_depths_are_lines_of_their_own():
    theta = xr.concat([series("theta"), series("theta") + 0.1], xr.Variable("depth", [0.05, 0.4], {"units": "m"}))
    theta = theta.assign_attrs(units="m3 m-3").transpose("depth", "time")
    ax = site_series(theta.to_dataset(name="theta"))
    assert [line.get_label() for line in ax.lines] == ["simulated 0.05 m", "simulated 0.4 m"]
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), theta[1])


def test_faults():
    theta = series("theta")
    with pytest.raises(ArgumentError, match=r"choose a place with \.isel"):
        site_series(theta.expand_dims(y=3, x=3))
    with pytest.raises(ArgumentError, match="at most 8"):
        site_series(theta.expand_dims(member=20))
    with pytest.raises(UnitsError, match="one unit for one axis"):
        site_series(theta, series("soil_moisture", "percent"))
    with pytest.raises(UnitsError, match="'precipitation' has no units"):
        site_series(theta, precipitation=series("precipitation", ""))


def test_times_that_are_no_dates():
    theta = series("theta")
    with pytest.raises(TimeError, match="convert_calendar"):
        site_series(theta.to_dataset().convert_calendar("noleap").theta)
    with pytest.raises(TimeError, match="expected dates"):
        site_series(theta, series("soil_moisture").drop_vars("time"))


def test_rain_in_any_order():
    theta, rain = series("theta"), series("precipitation", "mm d-1")
    shuffled = rain.isel(time=np.random.default_rng(0).permutation(rain.sizes["time"]))
    found = [
        sorted((bar.get_x(), bar.get_width(), bar.get_height()) for bar in ax.figure.axes[-1].patches)
        for ax in (site_series(theta, precipitation=r) for r in (rain, shuffled))
    ]
    assert found[0] == found[1]
