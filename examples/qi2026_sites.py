"""The sites of `qi2026_sptf.py`: synthetic ones whose truth is known, and stations of the USCRN.

A set of sites is soil, weather and observed soil moisture at 5 cm on the dim `site`, and two periods: the history,
which a network reads and an inversion fits, and the target, on which all are scored.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

import xsoil

CURVES = {"VGM": "van_genuchten", "FXW": "fredlund_xing_wang"}
# Table 1 of the paper; there the upper bound of theta_s is the wettest observation of a site, but at least 0.41.
TARGETS = {
    "VGM": {
        "theta_r": (0.0, 0.15), "theta_s": (0.32, 0.6), "alpha": (0.0015, 0.23), "n": (1.05, 8.0),
        "k_sat": (0.3, 8000.0), "h50": (-2000.0, -50.0),
    },
    "FXW": {
        "theta_s": (0.32, 0.6), "alpha": (0.0015, 0.2), "n": (1.05, 13.5), "m": (0.2, 1.6), "k_sat": (0.5, 8000.0),
        "h50": (-2000.0, -50.0),
    },
}  # fmt: skip
STATIC = ("sand", "silt", "clay", "bulk_density")
WEATHER = ("precipitation", "pet", "lai", "air_temperature")
FORCING = ["precipitation", "pet", "lai"]
DEPTH = 0.05
NOISE = 0.02
SPINUP = 30  # columns start at -100 cm; the days before the target, and the first of the history, are not compared
H50 = -800.0  # of the conventional PTF, which has none
# Standard deviations of what texture does not tell: of logarithms, of theta_s itself.
UNTOLD = {"alpha": 1.0, "k_sat": 1.5, "n": 0.5, "m": 0.4, "theta_s": 0.06}


@dataclass(frozen=True)
class Sites:
    """Sites with `soil` (site), `weather` and `observed` (time, site), two periods, and the truth where it is known."""

    name: str
    soil: xr.Dataset
    weather: xr.Dataset
    observed: xr.DataArray
    past: slice
    future: slice
    truth: xr.Dataset | None = None

    def at(self, chosen: np.ndarray) -> Sites:
        cut = [part.isel(site=chosen) for part in (self.soil, self.weather, self.observed)]
        truth = None if self.truth is None else self.truth.isel(site=chosen)
        return Sites(self.name, *cut, self.past, self.future, truth)

    @property
    def history(self) -> xr.Dataset:
        """The series of the past: weather, and soil moisture with its gaps filled."""
        seen = self.observed.sel(time=self.past).transpose("time", "site")
        filled = seen.to_pandas().interpolate(limit_direction="both")
        moisture = xr.DataArray(filled.to_numpy(np.float32), seen.coords, seen.dims, attrs=seen.attrs)
        return self.weather.sel(time=self.past).assign(soil_moisture=moisture)

    @property
    def target(self) -> xr.DataArray:
        return self.observed.sel(time=self.future)

    @property
    def forcing(self) -> xr.Dataset:
        """Of the target, and of the days before it."""
        start = np.datetime64(self.future.start) - np.timedelta64(SPINUP, "D")
        return self.weather[FORCING].sel(time=slice(start, self.future.stop))


def rosetta(soil: xr.Dataset, curve: str) -> xr.Dataset:
    """Parameters of the conventional PTF."""
    found = soil.soil.ptf("rosetta3")
    if curve == "FXW":
        found = found.soil.fit_fredlund_xing_wang()
    fixed = xr.full_like(found.k_sat, H50).assign_attrs(units="cm")
    return found[[name for name in TARGETS[curve] if name != "h50"]].assign(h50=fixed)


def moisture(parameters: xr.Dataset, forcing: xr.Dataset, curve: str) -> xr.DataArray:
    """Soil moisture at the depth of the observations."""
    run = parameters.soil.simulate(forcing, "richards", curve=CURVES[curve], depths=DEPTH)
    return run.theta.isel(depth=0, drop=True)


def synthetic_sites(number: int, truth: str, seed: int) -> Sites:
    """Random places of the conterminous United States in a synthetic world, and their soil moisture."""
    grid = xsoil.ease_grid("EASE2_M36km", "conus")
    rng = np.random.default_rng(seed)
    cells = rng.choice(grid.shape[0] * grid.shape[1], number, replace=False)
    rows, columns = (xr.DataArray(index, dims="site") for index in np.divmod(cells, grid.shape[1]))
    soil = xsoil.data.synthetic_soil(grid, seed)[list(STATIC)].isel(y=rows, x=columns)
    weather = xsoil.data.synthetic_forcing(grid, ("2013-12-02", "2015-12-31"), seed, variables=WEATHER)
    soil, weather = (part.reset_coords(drop=True).compute() for part in (soil, weather.isel(y=rows, x=columns)))
    soil, weather = (part.assign_coords(site=np.arange(number)) for part in (soil, weather))
    told = rosetta(soil, truth)
    parameters = told.copy()
    for name, (low, high) in TARGETS[truth].items():
        drawn = rng.standard_normal(number) * UNTOLD.get(name, 0.0)
        own = told[name] + drawn if name == "theta_s" else told[name] * np.exp(drawn)
        if name == "n":
            own = 1 + (told.n - 1) * np.exp(drawn)
        if name == "h50":
            own = -np.exp(told.h50 * 0 + rng.uniform(np.log(100), np.log(1500), number))
        parameters[name] = own.clip(low, high).assign_attrs(told[name].attrs)
    theta = moisture(parameters, weather[FORCING], truth)
    noisy = (theta + NOISE * rng.standard_normal(theta.shape)).clip(0.0).astype(np.float32)
    observed = noisy.assign_attrs(units="m3 m-3").rename("soil_moisture")
    periods = slice("2014-01-01", "2014-12-31"), slice("2015-01-01", "2015-12-31")
    return Sites("synthetic", soil, weather, observed, *periods, parameters)


def stations(folder: Path, lai: float) -> Sites:
    """Stations whose 5 cm series are nearly whole in both halves of the year."""
    ds = xr.open_dataset(folder / "uscrn_2020.nc")
    near = ds.sel(depth=DEPTH)
    thawed = near.soil_moisture.where(near.soil_temperature >= 0).transpose("time", "station")
    past, future = slice("2020-01-01", "2020-06-30"), slice("2020-07-01", "2020-12-31")
    weather = ds[["precipitation", "pet_fao56", "air_temperature"]].rename(pet_fao56="pet").transpose("time", "station")
    whole = (weather.to_array().notnull().sum("time") >= 350).all("variable")
    whole &= (thawed.sel(time=past).count("time") >= 90) & (thawed.sel(time=future).count("time") >= 90)
    pixels = xr.open_dataset(folder / "conus_smap_nldas.nc")
    pixels = pixels.isel(pixel=((pixels.pixel_issues.values & 18) == 0))  # forcing corrupt, texture missing
    nearest, distance = nearest_of(ds, pixels)
    chosen = whole.values & (distance < 150.0)
    print(f"{int(chosen.sum())} of {chosen.size} stations; texture from {distance[chosen].mean():.0f} km away (mean)")
    soil = pixels.isel(pixel=nearest[chosen])[[f"{n}_normalised" for n in STATIC if f"{n}_normalised" in pixels]]
    soil = soil.rename({str(n): str(n).removesuffix("_normalised") for n in soil.data_vars})
    for name in STATIC:
        soil[name] = soil[name] if name in soil else pixels[name].isel(pixel=nearest[chosen])
    soil = soil.reset_coords(drop=True).drop_vars("pixel", errors="ignore").rename(pixel="site")
    weather = weather.isel(station=chosen).reset_coords(drop=True).rename(station="site").drop_vars("site")
    weather["precipitation"] = weather.precipitation.fillna(0.0)  # the few missing days
    for name in ("pet", "air_temperature"):
        filled = weather[name].to_pandas().interpolate(limit_direction="both").to_numpy(np.float32)
        weather[name] = (weather[name].dims, filled, weather[name].attrs)
    weather["lai"] = xr.full_like(weather.pet, lai).assign_attrs(units="1")
    observed = thawed.isel(station=chosen).reset_coords(drop=True).rename(station="site").drop_vars("site")
    observed = observed.assign_attrs(units="m3 m-3").rename("soil_moisture").load()
    number = np.arange(int(chosen.sum()))
    parts = [part.compute().assign_coords(site=number) for part in (soil[list(STATIC)], weather)]
    return Sites("USCRN 2020", *parts, observed.assign_coords(site=number), past, future)


def nearest_of(ds: xr.Dataset, pixels: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Index of the nearest pixel of every station, and how far it is [km]."""
    a, b, c, d = (np.deg2rad(v.values) for v in (ds.lat, ds.lon, pixels.lat, pixels.lon))
    cosine = np.sin(a)[:, None] * np.sin(c) + np.cos(a)[:, None] * np.cos(c) * np.cos(b[:, None] - d)
    return cosine.argmax(axis=1), 6371.0 * np.arccos(np.clip(cosine.max(axis=1), -1.0, 1.0))
