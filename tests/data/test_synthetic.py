"""The synthetic world: what any grid, chunking and day must show, and magnitudes of real soils and climates."""

from __future__ import annotations

import pickle
from itertools import pairwise

import dask
import numpy as np
import pandas as pd
import pytest
import rioxarray  # noqa: F401
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from odc.geo.geobox import GeoBox

from xsoil.data.synthetic import synthetic_forcing, synthetic_soil
from xsoil.errors import ArgumentError, TimeError, UnknownNameError
from xsoil.grids.ease import ease_grid
from xsoil.grids.geobox import grid_of

DEGREES = GeoBox.from_bbox((-20, -10, 20, 15), "EPSG:4326", resolution=0.5)
ALBERS = GeoBox.from_bbox((-2e6, 5e5, 1e6, 2.5e6), "EPSG:5070", resolution=5e4)
POLE = ease_grid("EASE2_N36km")[235:265, 230:280]
GRIDS = {"degrees": DEGREES, "albers": ALBERS, "pole": POLE, "ease": ease_grid("EASE2_M36km", (-10, -5, 5, 5))}


@pytest.fixture(scope="module")
def soil() -> xr.Dataset:
    return synthetic_soil("EASE2_M36km", seed=1).compute()


@pytest.fixture(scope="module")
def weather() -> xr.Dataset:
    """One year on every third cell of the world."""
    grid = GeoBox.from_bbox((-180, -66, 180, 66), "EPSG:4326", resolution=3)
    names = ("precipitation", "pet", "air_temperature", "lai")
    return synthetic_forcing(grid, "2015", seed=2, variables=names).compute()


def test_soil_is_a_soil(soil):
    assert_allclose(soil.sand + soil.silt + soil.clay, 100, atol=2e-5)
    assert soil.sand.dtype == np.float32
    low = {
        "sand": 0,
        "silt": 0,
        "clay": 0,
        "bulk_density": 0.5,
        "organic_carbon": 0,
        "coarse_fragments": 0,
        "ph": 3.5,
        "cec": 0,
    }
    high = {
        "sand": 100,
        "silt": 100,
        "clay": 100,
        "bulk_density": 2,
        "organic_carbon": 25,
        "coarse_fragments": 70,
        "ph": 9.5,
        "cec": 120,
    }
    assert set(soil.data_vars) == set(low)
    for name, array in soil.data_vars.items():
        assert low[name] <= float(array.min()), name
        assert float(array.max()) <= high[name], name
        assert {"units", "long_name"} <= set(array.attrs), name
    assert 30 < float(soil.sand.mean()) < 55
    assert float(soil.clay.std()) > 8


def test_bulk_density_falls_with_organic_carbon(soil):
    carbon, density = soil.organic_carbon.values.ravel(), soil.bulk_density.values.ravel()
    assert np.corrcoef(carbon, density)[0, 1] < -0.6
    order = np.argsort(carbon)
    deciles = [part.mean() for part in np.array_split(density[order], 10)]
    assert (np.diff(deciles) < 0).all()


def test_soil_is_correlated_over_hundreds_of_kilometres(soil):
    sand = soil.sand.values[50:350]
    far = {lag: np.corrcoef(sand[:, lag:].ravel(), sand[:, :-lag].ravel())[0, 1] for lag in (1, 10, 150)}
    assert far[1] > 0.75
    assert 0.15 < far[10] < 0.8
    assert abs(far[150]) < 0.2


def test_every_published_function_finds_its_inputs(soil):
    from xsoil.ptfs import PTFS

    here = set(soil.data_vars) | set(soil.coords)
    for entry in PTFS.values():
        names = {variable.name for variable in entry.inputs}
        assert names <= here, f"{entry.name} misses {names - here}"


@pytest.mark.parametrize("name", GRIDS)
@settings(max_examples=8)
@given(y=st.integers(3, 40), x=st.integers(3, 60))
def test_chunks_never_change_the_soil(name, y, x):
    whole = synthetic_soil(GRIDS[name], 3, water=True, chunks=10_000).compute()
    parts = synthetic_soil(GRIDS[name], 3, water=True, chunks=(y, x)).compute()
    for variable in whole:
        assert_array_equal(whole[variable], parts[variable])


@pytest.mark.parametrize("name", GRIDS)
@settings(max_examples=3)
@given(t=st.integers(8, 40), y=st.integers(9, 40), x=st.integers(9, 60))
def test_chunks_never_change_the_weather(name, t, y, x):
    time, names = ("2016-02-10", "2016-03-20"), ("precipitation", "pet", "air_temperature", "lai")
    whole = synthetic_forcing(GRIDS[name], time, 3, variables=names, chunks=10_000).compute()
    parts = synthetic_forcing(GRIDS[name], time, 3, variables=names, chunks=(t, y, x)).compute()
    for variable in whole:
        assert_array_equal(whole[variable], parts[variable])


def test_nothing_is_computed_while_the_graph_of_the_largest_grid_is_built(no_compute):
    soil = synthetic_soil("EASE2_M01km")
    forcing = synthetic_forcing("EASE2_M01km", "2015")
    assert soil.sand.shape == (14616, 34704)
    assert forcing.pet.shape == (365, 14616, 34704)
    assert all(dask.is_dask_collection(array.data) for ds in (soil, forcing) for array in ds.data_vars.values())
    assert len(soil.__dask_graph__()) < 10_000


def test_one_block_of_the_largest_grid():
    corner = synthetic_soil("EASE2_M01km", chunks=256).isel(y=slice(-3, None), x=slice(-3, None)).compute()
    assert np.isfinite(corner.to_array()).all()


def test_one_world_on_every_grid():
    # Centres of 9 km cells are centres of every third 3 km cell.
    coarse = synthetic_soil(ease_grid("EASE2_M09km", (-100, 30, -95, 35)), 5)
    fine = synthetic_soil(ease_grid("EASE2_M03km", grid_of(coarse)), 5).isel(y=slice(1, None, 3), x=slice(1, None, 3))
    for name in coarse:
        assert_allclose(fine[name].values, coarse[name].values, rtol=2e-3, atol=0.05)
    # A projection without separable axes, seen at one point.
    point = ALBERS[10:11, 20:21]
    longitude, latitude = point.extent.centroid.to_crs("EPSG:4326").coords[0]
    here = GeoBox((1, 1), Affine(0.02, 0, longitude - 0.01, 0, -0.02, latitude + 0.01), "EPSG:4326")
    for name, value in synthetic_soil(point, 5).compute().items():
        assert_allclose(value.item(), synthetic_soil(here, 5)[name].values.item(), rtol=2e-3, atol=0.05)


def test_no_seam_at_the_dateline():
    sand = synthetic_soil("EASE2_M09km", chunks=400).sand.isel(y=slice(600, 1000)).compute().values
    steps = np.abs(np.diff(sand, axis=1)).mean()
    assert np.abs(sand[:, 0] - sand[:, -1]).mean() < 1.3 * steps


def test_a_rolled_longitude_axis_shows_the_same_world():
    longitude = np.arange(-178.0, 180, 4)
    ds = xr.Dataset(coords={"latitude": np.arange(40.0, -41, -4), "longitude": longitude})
    rolled = ds.assign_coords(longitude=longitude % 360).sortby("longitude")
    plain = synthetic_soil(ds, 1).sand
    turned = synthetic_soil(rolled, 1).sand
    turned = turned.assign_coords(longitude=(turned.longitude + 180) % 360 - 180).sortby("longitude")
    assert_allclose(turned.values, plain.values, atol=0.05)


def test_seeds_are_worlds_and_calls_repeat():
    one, again, two = (synthetic_soil(DEGREES, seed).sand for seed in (1, 1, 2))
    assert one.data.name == again.data.name
    assert abs(np.corrcoef(one.values.ravel(), two.values.ravel())[0, 1]) < 0.5
    assert not np.allclose(one, two)


def test_water_is_missing_and_land_unchanged():
    grid = ease_grid("EASE2_M36km")
    land, world = synthetic_soil(grid, 0).sand.compute(), synthetic_soil(grid, 0, water=True).compute()
    dry = np.isfinite(world.sand.values)
    assert 0.4 < dry.mean() < 0.9
    assert_array_equal(world.sand.values[dry], land.values[dry])
    assert all((np.isfinite(world[name].values) == dry).all() for name in world)


def test_outside_the_projection_is_missing():
    grid = GeoBox.from_bbox((-1.2e7, -1.2e7, 1.2e7, 1.2e7), "EPSG:3409", resolution=1e6)
    sand = synthetic_soil(grid).sand.values
    assert np.isnan(sand[0, 0])
    assert np.isfinite(sand[12, 12])


def test_layers():
    edges = (0, 0.05, 0.15, 0.3, 0.6, 1.0)
    layered = synthetic_soil(DEGREES, 1, depth=edges).compute()
    assert layered.sand.dims == ("depth", "latitude", "longitude")
    assert_allclose(layered.depth_bounds, list(pairwise(edges)))
    assert "topsoil" not in layered.coords
    carbon = layered.organic_carbon.mean(("latitude", "longitude")).values
    assert (np.diff(carbon) < 0).all()
    assert (np.diff(layered.bulk_density.mean(("latitude", "longitude")).values) > 0).all()
    assert_allclose(layered.sand + layered.silt + layered.clay, 100, atol=2e-5)
    for wrong in ((0,), (0.3, 0.1), (-1, 0.3)):
        with pytest.raises(ArgumentError, match="at least two edges"):
            synthetic_soil(DEGREES, depth=wrong)


@pytest.mark.parametrize("name", GRIDS)
def test_the_grid_is_carried(name):
    soil = synthetic_soil(GRIDS[name])
    assert grid_of(soil) == GRIDS[name]
    assert soil.rio.crs == GRIDS[name].crs
    again = synthetic_soil(soil, seed=4)
    assert again.sand.dims == soil.sand.dims
    xr.testing.assert_identical(
        again.coords.to_dataset().drop_attrs(deep=False), soil.coords.to_dataset().drop_attrs(deep=False)
    )


def test_rain_of_a_year(weather):
    rain = weather.precipitation.values
    annual = rain.sum(axis=0)
    assert np.percentile(annual, 1) > 180
    assert np.percentile(annual, 99) < 2000
    assert np.percentile(annual, 95) > 2.5 * np.percentile(annual, 5)
    wet = rain >= 1
    share = wet.mean(axis=0)
    assert np.percentile(share, 2) > 0.09
    assert np.percentile(share, 98) < 0.5
    assert (rain >= 0).all()
    assert ((rain == 0) | (rain >= 0.1)).all()
    # Heavy tail: for an exponential distribution the 99th percentile is 4.6 means.
    amounts = rain[wet]
    assert np.percentile(amounts, 99) > 5 * amounts.mean()
    assert amounts.max() < 500


def test_wet_and_dry_spells(weather):
    wet = weather.precipitation.values >= 1
    after_wet, after_dry = wet[1:][wet[:-1]].mean(), wet[1:][~wet[:-1]].mean()
    assert after_wet > 2 * after_dry
    longest = 0
    for row in (~wet).reshape(len(wet), -1).T[::40]:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
        longest = max(longest, int((edges[1::2] - edges[::2]).max()))
    assert longest > 20


def test_storms_are_wide_and_move():
    grid = GeoBox.from_bbox((-120, 35, -70, 55), "EPSG:4326", resolution=0.5)
    rain = synthetic_forcing(grid, ("2015-01-01", "2015-03-31"), seed=0).precipitation.values
    lags = {lag: np.corrcoef(rain[:, :, lag:].ravel(), rain[:, :, :-lag].ravel())[0, 1] for lag in (1, 4, 40)}
    assert lags[1] > 0.7
    assert lags[4] > 0.2
    assert lags[40] < 0.15

    def next_day(columns: int) -> float:
        today, tomorrow = rain[:-1], rain[1:]
        width = today.shape[2] - 12
        return float(
            np.corrcoef(today[:, :, 6 : 6 + width].ravel(), tomorrow[:, :, 6 + columns : 6 + columns + width].ravel())[
                0, 1
            ]
        )

    east, west = max(next_day(k) for k in range(1, 7)), max(next_day(k) for k in range(-6, 0))
    assert east > west + 0.02


def test_evaporation_follows_season_and_latitude(weather):
    annual = weather.pet.sum("time")
    assert float(annual.min()) > 380
    assert float(annual.max()) < 2100
    by_latitude = annual.mean("longitude")
    assert by_latitude.sel(latitude=0, method="nearest") > 1.5 * by_latitude.sel(latitude=60, method="nearest")
    month = weather.pet.groupby("time.month").mean().mean("longitude")
    north, south = (month.sel(latitude=at, method="nearest") for at in (45, -45))
    assert int(north.idxmax()) in (6, 7)
    assert int(south.idxmax()) in (12, 1)
    assert float(north.max() / north.min()) > 3
    assert int(
        weather.air_temperature.groupby("time.month")
        .mean()
        .mean("longitude")
        .sel(latitude=45, method="nearest")
        .idxmax()
    ) in (7, 8)
    assert float(weather.lai.min()) > 0.1
    assert float(weather.lai.max()) < 8


def test_evaporation_is_lower_on_rainy_days(weather):
    tropics = weather.sel(latitude=slice(10, -10))
    rainy = tropics.precipitation > 5
    assert float(tropics.pet.where(rainy).mean()) < 0.85 * float(tropics.pet.where(~rainy).mean())


def test_a_day_has_the_same_weather_in_every_range():
    year = synthetic_forcing(DEGREES, "2015", 1).precipitation.sel(time="2015-07-04").compute()
    day = synthetic_forcing(DEGREES, ["2015-07-04"], 1).precipitation.isel(time=0).compute()
    assert_array_equal(day.values, year.values)
    before = synthetic_forcing(DEGREES, "1950-02", 1).precipitation.compute()  # days before 1970 are negative
    assert 0 < float(before.mean()) < 20


@pytest.mark.parametrize(
    "time",
    [
        "2015-02",
        ("2015-02-01", "2015-02-28"),
        pd.date_range("2015-02-01", "2015-02-28"),
        np.arange("2015-02-01", "2015-03-01", dtype="datetime64[D]"),
        xr.DataArray(
            pd.date_range("2015-02-01", "2015-02-28"),
            dims="time",
            name="time",
            coords={"time": pd.date_range("2015-02-01", "2015-02-28")},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_ways_to_give_the_days(time):
    forcing = synthetic_forcing("EASE2_M36km", time)
    assert forcing.sizes["time"] == 28
    assert forcing.precipitation.dims == ("time", "y", "x")
    assert str(forcing.time.values[0])[:10] == "2015-02-01"


@pytest.mark.parametrize("calendar", ["standard", "proleptic_gregorian", "noleap"])
@pytest.mark.parametrize("form", [lambda t: t, list, lambda t: (t[0], t[-1]), lambda t: xr.Dataset(coords={"time": t})])
def test_dates_of_cftime(calendar, form):
    time = xr.date_range("2019-12-30", periods=4, calendar=calendar, use_cftime=True)
    grid = ease_grid("EASE2_M36km", (5, 45, 6, 46))
    if calendar == "noleap":
        with pytest.raises(TimeError, match=r"'noleap'.*convert_calendar"):
            synthetic_forcing(grid, form(time))
    else:
        wanted = synthetic_forcing(grid, ("2019-12-30", "2020-01-02"))
        xr.testing.assert_identical(synthetic_forcing(grid, form(time)), wanted)


@pytest.mark.parametrize(
    ("time", "message"),
    [
        (pd.to_datetime(["2015-01-01", "2015-01-03"]), "2 days between"),
        (pd.to_datetime(["2015-01-02", "2015-01-01"]), "-1 days between"),
        (pd.to_datetime(["2015-01-01", None]), "without missing dates"),
        ("yesterday evening", "gives no days"),
        (("2015-01-02", "2015-01-01"), "gives 0 days"),
    ],
)
def test_days_that_are_not_daily(time, message):
    with pytest.raises(TimeError, match=message):
        synthetic_forcing("EASE2_M36km", time)


def test_faults_of_arguments():
    with pytest.raises(UnknownNameError, match="did you mean 'precipitation'"):
        synthetic_forcing("EASE2_M36km", "2015", variables=("precip",))
    with pytest.raises(UnknownNameError, match="EASE2_M09km"):
        synthetic_soil("EASE2_M9km")
    with pytest.raises(ArgumentError, match="expected names among"):
        synthetic_soil("EASE2_M36km", chunks={"latitude": 10})
    with pytest.raises(ArgumentError, match="one for each"):
        synthetic_forcing("EASE2_M36km", "2015", chunks=(10, 10))
    assert synthetic_soil("EASE2_M36km", chunks={"y": 100}).sand.chunks[0][0] == 100


def test_tasks_can_travel_to_workers():
    soil = synthetic_soil(DEGREES, 1, chunks=40).sand
    travelled = pickle.loads(pickle.dumps(soil))
    assert_array_equal(travelled.compute(), soil.compute())
