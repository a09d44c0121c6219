"""`simulate` with frost="snow": snow is that of a loop, and tells which days are frozen."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from seasons import FLUXES, NX, NY, soil, weather

from xsoil.verbs.simulate import simulate


def naive_snow(precipitation, celsius, factor=4.0):
    snow, liquid, lying = 0.0, [], []
    for p, t in zip(precipitation, celsius, strict=True):
        fallen = p if t <= 0 else 0.0
        melt = min(snow, factor * max(t, 0.0))
        snow += fallen - melt
        liquid.append(p - fallen + melt)
        lying.append(snow)
    return np.array(liquid), np.array(lying)


@pytest.mark.parametrize("given_factor", [None, 2.5, "map", "ds"])
def test_snow_is_that_of_a_loop(given_factor):
    ds, forcing = soil(), weather(names=("air_temperature",))
    factor = xr.DataArray(np.linspace(1, 8, NX), dims="x", attrs={"units": "mm K-1 d-1"})
    options = {None: {}, 2.5: {"degree_day_factor": 2.5}, "map": {"degree_day_factor": factor}, "ds": {}}[given_factor]
    if given_factor == "ds":
        ds["degree_day_factor"] = factor
    found = simulate(ds, forcing, frost="snow", outputs=("theta", "snow", "frozen", *FLUXES), **options)
    kelvin = forcing.air_temperature + 273.15
    liquid = forcing.precipitation.copy(deep=True)
    for y in range(NY):
        for x in range(NX):
            own = {None: 4.0, 2.5: 2.5}.get(given_factor, float(factor[x]))
            celsius = (kelvin[:, y, x] - 273.15).values
            liquid[:, y, x], lying = naive_snow(forcing.precipitation.values[:, y, x], celsius, own)
            np.testing.assert_allclose(found.snow[:, y, x], lying, rtol=1e-12, atol=1e-11)
    plain = simulate(ds, forcing.assign(precipitation=liquid), outputs=("theta", *FLUXES))
    np.testing.assert_allclose(found.theta, plain.theta, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found.final_snow, found.snow[-1])
    np.testing.assert_array_equal(found.frozen, (kelvin <= 273.15) * 1 + (found.snow > 0) * 2)
    assert found.attrs["frost"] == "snow"
    assert found.attrs.get("degree_day_factor") == {None: 4.0, 2.5: 2.5}.get(given_factor)


def test_soil_temperature_tells_whether_the_ground_is_frozen():
    forcing = weather(names=("air_temperature", "soil_temperature"))
    found = simulate(soil(), forcing, frost="snow", outputs=("snow", "frozen"))
    only_air = simulate(soil(), forcing.drop_vars("soil_temperature"), frost="snow", outputs=("snow", "frozen"))
    np.testing.assert_array_equal(found.snow, only_air.snow)
    np.testing.assert_array_equal(found.frozen & 1, forcing.soil_temperature <= 0)
    np.testing.assert_array_equal(only_air.frozen & 1, forcing.air_temperature <= 0)
    only_soil = simulate(soil(), forcing.drop_vars("air_temperature"), frost="snow", outputs=("snow", "frozen"))
    as_air = forcing.drop_vars("air_temperature").rename(soil_temperature="air_temperature")
    xr.testing.assert_equal(only_soil.snow, simulate(soil(), as_air, frost="snow", outputs=("snow",)).snow)
    assert found.frozen.dtype == np.uint8
    assert found.frozen.attrs["flag_meanings"] == "freezing snow_covered"


def test_without_frost_the_temperature_is_not_looked_at():
    forcing = weather(names=("air_temperature",))
    forcing["air_temperature"] = forcing.air_temperature * np.nan
    found, plain = simulate(soil(), forcing), simulate(soil(), weather())
    xr.testing.assert_identical(found, plain)


def test_warm_weather_has_no_snow():
    forcing = weather(names=("air_temperature",))
    forcing["air_temperature"] = (forcing.air_temperature * 0 + 20).assign_attrs(units="degC")
    found = simulate(soil(), forcing, frost="snow", outputs=("theta", "snow", "frozen"))
    assert not found.snow.any()
    assert not found.frozen.any()
    np.testing.assert_array_equal(found.theta, simulate(soil(), weather()).theta)


def test_impossible_factors_are_nan_cells():
    ds = soil()
    ds["degree_day_factor"] = xr.full_like(ds.theta_s, 4.0).assign_attrs(units="mm degC-1 d-1")
    ds.degree_day_factor[0, :3] = [np.nan, -1.0, np.inf]
    found = simulate(ds, weather(names=("air_temperature",)), frost="snow", outputs=("theta", "snow"))
    flags = dict(zip(found.status.attrs["flag_meanings"].split(), found.status.attrs["flag_masks"], strict=True))
    bad = flags["impossible_parameters"]
    assert found.status.values[0].tolist() == [flags["missing_parameter"], bad, bad, 0, 0]
    assert found.theta[:, 0, :3].isnull().all()
    assert found.snow[:, 0, :3].isnull().all()
    assert not found.theta[:, 1:].isnull().any()
