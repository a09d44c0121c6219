"""prepare_forcing: days of hours, PET of xclim, LAI of composites, the right operator for each variable, gaps."""

from __future__ import annotations

import resource

import dask.array
import numpy as np
import pandas as pd
import pyproj
import pytest
import xarray as xr
from affine import Affine
from numpy.testing import assert_allclose
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import xsoil
from xsoil.data import prepare_forcing
from xsoil.errors import ArgumentError, GridMismatchError, MissingVariableError, TimeError, UnitsError, UnknownNameError
from xsoil.verbs._evapotranspiration import latitude_of, potential_evapotranspiration
from xsoil.verbs._leaves import interpolated

BOX = GeoBox((12, 16), Affine(0.25, 0, -100, 0, -0.25, 42), "EPSG:4326")


def on_box(values, times, units, box=BOX):
    values = np.broadcast_to(np.asarray(values, "f4").reshape(-1, 1, 1), (len(times), *box.shape)).copy()
    values += np.arange(box.shape[1], dtype="f4") * 0.01
    return xr.DataArray(values, {"time": times, **xr_coords(box)}, ("time", *box.dimensions), attrs={"units": units})


def hourly(days=3, start="2015-04-01", rain_units="mm d-1"):
    times = pd.date_range(start, periods=24 * days, freq="h")
    k = np.arange(24 * days)
    return xr.Dataset(
        {
            "precipitation": on_box(k, times, rain_units),
            "pet": on_box(2 + 0 * k, times, "mm d-1"),
            "air_temperature": on_box(10 + 8 * np.sin(2 * np.pi * (k - 8) / 24), times, "degC"),
        }
    )


def test_a_day_is_the_mean_of_its_rates_and_the_sum_of_its_amounts():
    rate = prepare_forcing(hourly())
    assert_allclose(rate.precipitation[:, 0, 0], [11.5, 35.5, 59.5], rtol=1e-6)
    amount = prepare_forcing(hourly(rain_units="mm"))
    assert_allclose(amount.precipitation[:, 0, 0], 24 * np.array([11.5, 35.5, 59.5]), rtol=1e-6)
    assert amount.precipitation.attrs["units"] == "mm d-1"
    assert_allclose(rate.air_temperature[:, 0, 0], 283.15, rtol=1e-6)
    assert list(rate.indexes["time"]) == list(pd.date_range("2015-04-01", periods=3))
    assert rate.precipitation.dtype == np.float32


def test_local_days():
    central = prepare_forcing(hourly(), utc_offset=-6)
    assert list(central.indexes["time"]) == list(pd.date_range("2015-04-01", periods=2))
    assert_allclose(central.precipitation[:, 0, 0], [11.5 + 6, 35.5 + 6], rtol=1e-6)
    east = prepare_forcing(hourly(), utc_offset=9)
    assert list(east.indexes["time"]) == list(pd.date_range("2015-04-02", periods=2))
    assert_allclose(east.precipitation[:, 0, 0], [11.5 + 15, 35.5 + 15], rtol=1e-6)
    with pytest.raises(ArgumentError, match="whole number of steps"):
        prepare_forcing(hourly(), utc_offset=5.5)
    with pytest.raises(ArgumentError, match="for steps shorter than a day"):
        prepare_forcing(prepare_forcing(hourly()), utc_offset=-6)


def test_middles_of_three_hours_and_incomplete_days():
    times = pd.date_range("2015-04-01 19:30", periods=20, freq="3h")
    ds = xr.Dataset({name: on_box(np.arange(20), times, "mm d-1") for name in ("precipitation", "pet")})
    out = prepare_forcing(ds)
    first = int(np.flatnonzero(times.hour == 1)[0])
    assert_allclose(out.precipitation[0, 0, 0], np.arange(first, first + 8).mean())
    assert list(out.indexes["time"]) == [pd.Timestamp("2015-04-02"), pd.Timestamp("2015-04-03")]


def test_gaps_and_uneven_steps():
    ds = hourly()
    with pytest.raises(
        TimeError, match=r"1 gaps in steps of 0 days 01:00:00: 2015-04-01 09:00:00 to 2015-04-01 12:00:00"
    ):
        prepare_forcing(ds.isel(time=[*range(10), *range(12, 72)]))
    days = prepare_forcing(ds)
    with pytest.raises(TimeError, match="1 gaps in steps of 1 days"):
        prepare_forcing(prepare_forcing(hourly(days=7)).isel(time=[0, 1, 2, 5, 6]))
    with pytest.raises(TimeError, match="unsorted or has duplicates"):
        prepare_forcing(days.isel(time=[1, 0]))
    with pytest.raises(TimeError, match="hold no whole day"):
        prepare_forcing(ds.isel(time=slice(5, 27)))


@pytest.mark.parametrize("method", ["hargreaves85", "baierrobertson65", "mcguinnessbordne05"])
def test_pet_of_hours(method):
    pytest.importorskip("xclim", reason="PET needs the package xclim")
    weather = hourly(days=4).drop_vars("pet")
    out = prepare_forcing(weather, pet=method)
    assert out.pet.attrs["units"] == "mm d-1"
    assert method in out.pet.attrs["comment"]
    assert 1 < float(out.pet.min()) <= float(out.pet.max()) < 8
    if method == "hargreaves85":
        day, phi = 91, np.radians(out.latitude.values[0])
        decline = 0.409 * np.sin(2 * np.pi * day / 365 - 1.39)  # FAO-56, eq. 21 to 25
        sunset = np.arccos(-np.tan(phi) * np.tan(decline))
        sun = sunset * np.sin(phi) * np.sin(decline) + np.cos(phi) * np.cos(decline) * np.sin(sunset)
        radiation = 37.586 * (1 + 0.033 * np.cos(2 * np.pi * day / 365)) * sun
        meant = 0.0023 * 0.408 * radiation * (10 + 17.8) * np.sqrt(16.0)  # eq. 52
        assert_allclose(out.pet[0, 0, 0], meant, rtol=0.02)


def test_fao56():
    """FAO-56, example 18 (Brussels, 6 July): 3.9 mm d-1."""
    pytest.importorskip("xclim", reason="PET needs the package xclim")
    times = pd.date_range("2015-07-04", periods=4)
    box = GeoBox((1, 2), Affine(0.25, 0, 4.3, 0, -0.25, 50.925), "EPSG:4326")
    given = {"air_temperature_min": (12.3 + 273.15, "K"), "air_temperature_max": (21.5 + 273.15, "K"),
             "air_temperature": (16.9 + 273.15, "K"), "shortwave_down": (22.07e6 / 86400, "W m-2"),
             "longwave_down": (300.0, "W m-2"), "longwave_net": (-3.71e6 / 86400, "W m-2"),
             "wind_speed": (2.78, "m s-1"), "relative_humidity": (100 * 1.409 / 1.997, "percent"),
             "precipitation": (0.0, "mm d-1")}  # fmt: skip
    ds = xr.Dataset({name: on_box(np.full(4, value), times, units, box) for name, (value, units) in given.items()})
    out = prepare_forcing(ds, pet="allen98")
    assert_allclose(out.pet[:, 0, 0], 3.9, atol=0.15)


def test_pet_on_sites_and_projected_grids():
    pytest.importorskip("xclim", reason="PET needs the package xclim")
    weather = hourly(days=4).drop_vars("pet")
    sites = weather.stack(site=("latitude", "longitude"), create_index=False).isel(site=[0, 50])
    grid = prepare_forcing(weather, pet="hargreaves85").pet.stack(site=("latitude", "longitude"), create_index=False)
    assert_allclose(prepare_forcing(sites, pet="hargreaves85").pet, grid.isel(site=[0, 50]), rtol=1e-5)
    box = xsoil.ease_grid("EASE2_M36km", (-100, 39, -96, 42))
    times = pd.date_range("2015-04-01", periods=96, freq="h")
    flat = xr.Dataset(
        {
            "precipitation": on_box(np.zeros(96), times, "mm d-1", box),
            "air_temperature": on_box(10 + np.sin(np.arange(96)), times, "degC", box),
        }
    )
    found = prepare_forcing(flat, pet="hargreaves85").pet
    assert found.dims == ("time", "y", "x")
    with pytest.raises(Exception, match="no latitude"):
        prepare_forcing(sites.drop_vars("latitude"), pet="hargreaves85")


def test_everything_is_lazy_and_chunks_do_not_matter(no_compute):
    pytest.importorskip("xclim", reason="PET needs the package xclim")
    lai = on_box([1, 2, 3], pd.date_range("2015-03-28", periods=3, freq="8D"), "1").rename("lai").chunk({"time": 1})
    for chunks in ({"time": 24}, {"time": 7, "latitude": 5}):
        out = prepare_forcing(hourly().chunk(chunks), "EASE2_M36km", pet="hargreaves85", lai=lai)
        assert all(out[name].chunks is not None for name in ("precipitation", "pet", "lai"))


def test_numbers_do_not_depend_on_chunks():
    pytest.importorskip("xclim", reason="PET needs the package xclim")
    lai = on_box([1, 2, 3], pd.date_range("2015-03-28", periods=3, freq="8D"), "1").rename("lai")
    whole = prepare_forcing(hourly(), "EASE2_M36km", pet="hargreaves85", lai=lai)
    for chunks in ({"time": 24}, {"time": 7, "latitude": 5}):
        lazy = prepare_forcing(hourly().chunk(chunks), "EASE2_M36km", pet="hargreaves85", lai=lai.chunk({"time": 2}))
        xr.testing.assert_identical(lazy.compute(), whole)


def test_to_a_coarser_and_to_a_finer_grid():
    days = prepare_forcing(hourly())
    coarse = GeoBox((3, 4), Affine(1, 0, -100, 0, -1, 42), "EPSG:4326")
    same = prepare_forcing(days, coarse)
    meant = days.precipitation.coarsen(latitude=4, longitude=4).mean()
    assert_allclose(same.precipitation, meant, rtol=1e-6)
    fine = GeoBox((36, 48), Affine(0.25 / 3, 0, -100, 0, -0.25 / 3, 42), "EPSG:4326")
    out = prepare_forcing(days, fine)
    blocks = out.precipitation.coarsen(latitude=3, longitude=3)
    assert_allclose(blocks.mean(), days.precipitation, rtol=1e-6)  # totals are kept ...
    assert float((blocks.max() - blocks.min()).max()) == 0  # ... by the cell's own value
    warm = out.air_temperature.isel(time=0, latitude=18)
    assert (np.diff(warm[3:-3]) > 0).all()  # bilinear: no steps
    steps = prepare_forcing(days, fine, how={"air_temperature": "nearest"}).air_temperature.isel(time=0, latitude=18)
    assert (np.diff(steps) == 0).any()


def test_lai_between_composites():
    times = pd.date_range("2015-03-28", periods=3, freq="4D")  # 28 March, 1 and 5 April
    lai = on_box([1.0, np.nan, 3.0], times, "m2 m-2").rename("lai")
    out = prepare_forcing(hourly(), lai=lai)
    assert out.lai.dims == out.precipitation.dims
    assert_allclose(out.lai[:, 0, 0], [2.0, 2.25, 2.5])
    assert out.lai.attrs["units"] == "1"
    other = GeoBox((6, 8), Affine(0.5, 0, -100, 0, -0.5, 42), "EPSG:4326")
    apart = prepare_forcing(hourly(), lai=on_box([1, 3], times[[0, 2]], "1", other).rename("lai"))
    assert apart.lai.shape == out.precipitation.shape


def test_interpolation_against_pandas():
    rng = np.random.default_rng(0)
    values = np.where(rng.random((40, 12)) < 0.4, np.nan, rng.random((40, 12)))
    values[0] = np.nan
    at, wanted = np.arange(12) * 8.0, np.arange(-3, 95, dtype=float)
    found = interpolated(values, at, wanted)
    assert np.isnan(found[0]).all()
    for row, mine in zip(values[1:], found[1:]):
        ok = np.isfinite(row)
        assert_allclose(mine, np.interp(wanted, at[ok], row[ok]), rtol=1e-6)


def test_packed_numbers_are_decoded():
    """Files opened without decoding: integers with scale, offset and fill value, in units of others."""
    plain = hourly()
    packed = plain.copy()
    for name, scale, offset in (("precipitation", 0.01, 0.0), ("air_temperature", 0.01, 5.0)):
        whole = ((plain[name] - offset) / scale).round().astype("i2")
        whole[:, 2, 3] = -9999
        attrs = {"scale_factor": scale, "add_offset": offset, "_FillValue": np.int16(-9999)}
        packed[name] = whole.assign_attrs(plain[name].attrs | attrs)
    found, meant = prepare_forcing(packed), prepare_forcing(plain)
    assert found.precipitation[:, 2, 3].isnull().all()
    for name in ("precipitation", "air_temperature"):
        assert set(found[name].attrs) == set(meant[name].attrs)
        apart = np.delete(found[name].values - meant[name].values, 3, axis=2)
        assert np.abs(apart).max() < 0.006
    assert packed.precipitation.attrs["scale_factor"] == 0.01  # the user's own stays as it was


def test_weather_for_pet_in_other_units():
    pytest.importorskip("xclim", reason="PET needs the package xclim")
    kelvin = prepare_forcing(hourly()).drop_vars("pet")
    ends = {"air_temperature_min": -8.0, "air_temperature_max": 8.0}
    for name, by in ends.items():
        kelvin[name] = (kelvin.air_temperature + by).assign_attrs(units="K")
    celsius = kelvin.assign({name: (kelvin[name] - 273.15).assign_attrs(units="degC") for name in ends})
    meant = prepare_forcing(kelvin, pet="hargreaves85").pet
    assert_allclose(prepare_forcing(celsius, pet="hargreaves85").pet, meant, rtol=1e-4)
    with pytest.raises(UnitsError, match="'air_temperature_min' has units 'degF'"):
        prepare_forcing(kelvin.assign(air_temperature_min=meant.assign_attrs(units="degF")), pet="hargreaves85")


def test_totals_are_kept_on_a_grid_that_does_not_nest():
    days = prepare_forcing(hourly()).isel(time=slice(2))
    inner = days.where((days.longitude > -99.4) & (days.longitude < -96.7) & (days.latitude < 41.6), 0.0)
    inner = inner.where(inner.latitude > 39.5, 0.0)
    for grid in ("EASE2_M36km", "EASE2_M09km"):
        out = prepare_forcing(inner, grid)
        report = xsoil.conservation_report(inner[["precipitation"]], out[["precipitation"]])
        assert float(report.source_integral.min()) > 0
        assert float(abs(report.error).max()) < 1e-6


def test_the_name_that_users_know():
    from xsoil.verbs.prepare_forcing import prepare_forcing as verb

    assert xsoil.data.prepare_forcing is verb
    assert "prepare_forcing" in xsoil.data.__all__
    with pytest.raises(AttributeError, match=r"'xsoil\.data' has no attribute 'prepare_forcings'"):
        _ = xsoil.data.prepare_forcings


def test_the_chain_to_soil_moisture():
    grid = xsoil.ease_grid("EASE2_M36km", (-100, 39.5, -96.5, 41.5))
    soil = xr.Dataset({"theta_s": (("y", "x"), np.full(grid.shape, 0.45), {"units": "m3 m-3"})}, xr_coords(grid))
    forcing = prepare_forcing(hourly(days=5), soil)
    limits = {"theta_fc": 0.3, "theta_wp": 0.1, "k_sat": 20, "root_depth": 0.5}
    run = soil.soil.simulate(forcing, depletion_fraction=0.3, crop_coefficient=0.9, **limits)
    assert run.theta.shape == (5, *grid.shape)
    assert run.theta.notnull().all()


def test_faults():
    ds = hourly()
    with pytest.raises(MissingVariableError, match=r"no 'pet' among .*pet='hargreaves85'"):
        prepare_forcing(ds.drop_vars("pet"))
    with pytest.raises(MissingVariableError, match="no 'precipitation'"):
        prepare_forcing(ds.drop_vars("precipitation"))
    with pytest.raises(UnknownNameError, match="unknown method of PET 'hargreaves'; did you mean 'hargreaves85'"):
        prepare_forcing(ds, pet="hargreaves")
    with pytest.raises(UnitsError, match="'precipitation' has units 'furlong'"):
        prepare_forcing(hourly(rain_units="furlong"))
    with pytest.raises(TimeError, match="no dates on a dimension 'time'"):
        prepare_forcing(ds.isel(time=0))
    with pytest.raises(ArgumentError, match="region goes with the name of a grid"):
        prepare_forcing(ds, BOX, region="conus")
    pytest.importorskip("xclim", reason="PET needs the package xclim")
    with pytest.raises(MissingVariableError, match=r"'allen98' needs .*no 'shortwave_down'"):
        prepare_forcing(ds, pet="allen98")


def test_arguments_that_mean_nothing():
    for offset in (np.nan, "5", None, True, 15):
        with pytest.raises(ArgumentError, match="hours from -14 to 14"):
            prepare_forcing(hourly(), utc_offset=offset)
    with pytest.raises(UnknownNameError, match="did you mean 'precipitation'"):
        prepare_forcing(hourly(), "EASE2_M36km", how={"precipitatoin": "mean"})
    with pytest.raises(MissingVariableError, match="'pet'"):
        prepare_forcing(hourly().precipitation)


def test_latitudes_of_a_projected_grid_are_lazy(no_compute):
    """The global 1 km grid: 4 GB of latitudes, in tiles."""
    box = xsoil.ease_grid("EASE2_M01km")
    day = {"time": pd.date_range("2015-04-01", periods=3)}
    shape = (3, *box.shape)
    nothing = dask.array.zeros(shape, dtype="f4", chunks=(1, 1000, 1000))
    dims = ("time", *box.dimensions)
    names = ("air_temperature_min", "air_temperature_max")
    ds = xr.Dataset({name: (dims, nothing + i) for i, name in enumerate(names)}, day | xr_coords(box))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = latitude_of(ds)
    pet = potential_evapotranspiration(ds, "hargreaves85")
    assert found.dims == box.dimensions
    assert found.chunks == ds.air_temperature_min.chunks[1:]
    assert pet.chunks == ds.air_temperature_min.chunks
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB
    with pytest.raises(TimeError, match="from 2 days; xclim tells the step"):
        potential_evapotranspiration(ds.isel(time=slice(2)), "hargreaves85")


@pytest.mark.parametrize("crs", ["EPSG:6933", "EPSG:5070"])
def test_latitudes_are_those_of_the_cells(crs):
    box = GeoBox((20, 30), Affine(5e4, 0, -1e6, 0, -4e4, 3e6), crs)
    ds = xr.Dataset({"a": (box.dimensions, np.zeros(box.shape))}, xr_coords(box))
    whole = latitude_of(ds)
    x, y = np.meshgrid(ds[box.dimensions[1]], ds[box.dimensions[0]])
    expected = pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y)[1]
    assert_allclose(whole, expected, rtol=0, atol=1e-9)
    for chunks in ({box.dimensions[0]: 7}, {box.dimensions[0]: 7, box.dimensions[1]: 11}):
        lazy = latitude_of(ds.chunk(chunks))
        assert lazy.chunks is not None
        xr.testing.assert_identical(lazy.compute(), whole)


def test_lai_of_places_without_labels():
    """The same number of them says nothing: they may be others, or stand in another order."""
    times = pd.date_range("2015-04-01", periods=3)
    days = {"time": times}
    rain = xr.DataArray(np.ones((3, 4), "f4"), days, ("time", "site"), attrs={"units": "mm d-1"})
    forcing = xr.Dataset({"precipitation": rain, "pet": rain})
    lai = xr.DataArray(np.ones((3, 4)), days, ("time", "site"), name="lai", attrs={"units": "1"})
    lai = lai * xr.DataArray([1.0, 2, 3, 4], dims="site")
    lai.attrs["units"] = "1"
    names, latitude = ("site", [*"abcd"]), ("site", [40.0, 41.0, 42.0, 43.0])
    assert_allclose(prepare_forcing(forcing, lai=lai).lai[0], [1, 2, 3, 4])
    with pytest.raises(GridMismatchError, match="lai has 3 places along 'site', the forcing 4"):
        prepare_forcing(forcing, lai=lai.isel(site=slice(3)))
    with pytest.raises(GridMismatchError, match="only the forcing has labels along 'site'"):
        prepare_forcing(forcing.assign_coords(site=names), lai=lai)
    with pytest.raises(GridMismatchError, match="only lai has labels along 'site'"):
        prepare_forcing(forcing, lai=lai.assign_coords(site=names))
    placed, seen = forcing.assign_coords(latitude=latitude), lai.assign_coords(latitude=latitude)
    assert_allclose(prepare_forcing(placed, lai=seen).lai[0], [1, 2, 3, 4])
    with pytest.raises(GridMismatchError, match="'latitude' of lai and of the forcing differ along 'site'"):
        prepare_forcing(placed, lai=seen.isel(site=[3, 2, 1, 0]))


def test_lai_of_other_sites():
    sites = hourly().isel(latitude=0, drop=True).rename(longitude="site").drop_vars("spatial_ref", errors="ignore")
    sites = sites.assign_coords(site=[f"s{k:02}" for k in range(16)])
    times = pd.to_datetime(["2015-04-01", "2015-04-09"])
    lai = xr.DataArray(np.arange(32.0).reshape(2, 16), {"time": times, "site": sites.site}, name="lai")
    lai.attrs["units"] = "1"
    shuffled = lai.isel(site=slice(None, None, -1))  # the same sites in another order
    assert_allclose(prepare_forcing(sites, lai=shuffled).lai[0], np.arange(16))
    with pytest.raises(GridMismatchError, match="'s00', nor 3 others"):
        prepare_forcing(sites, lai=lai.isel(site=slice(4, None)))
