"""Files under the names and in the layout of real products, made of xsoil's synthetic world.

For the pages that show how real files are read: nothing is downloaded while the documentation is built.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import rasterio
import xarray as xr
from odc.geo.geobox import GeoBox

import xsoil

HOMOLOSINE = "+proj=igh +lon_0=0 +datum=WGS84 +units=m"
STORED = {"sand": ("sand", 10), "silt": ("silt", 10), "clay": ("clay", 10), "organic_carbon": ("soc", 100)}
"""Our name: that of SoilGrids, and what its integers are multiplied by."""
LAYERS = ("0-5", "5-15", "15-30")


def soilgrids(folder: Path, seed: int = 0) -> None:
    """SoilGrids 2.0, aggregated to 1 km: `sand_0-5cm_mean_1000.tif` ... of a part of the Great Plains."""
    folder.mkdir(parents=True, exist_ok=True)
    grid = GeoBox.from_bbox((-11.2e6, 4.15e6, -10.9e6, 4.35e6), crs=HOMOLOSINE, resolution=1000)
    soil = xsoil.data.synthetic_soil(grid, seed=seed)[list(STORED)].compute()
    for depth, layer in enumerate(LAYERS):
        for name, (code, factor) in STORED.items():
            values = soil[name].values * factor * (0.8**depth if name == "organic_carbon" else 1)
            with rasterio.open(
                folder / f"{code}_{layer}cm_mean_1000.tif", "w", driver="GTiff", height=grid.shape[0],
                width=grid.shape[1], count=1, dtype="int16", crs=HOMOLOSINE, transform=grid.affine, nodata=-32768,
            ) as file:  # fmt: skip
                file.write(np.round(values).astype("int16"), 1)


def era5_land(folder: Path, region: tuple[float, float, float, float], first: str, last: str, seed: int = 0) -> None:
    """ERA5-Land: hourly temperature, and precipitation as sums since 00 UTC, at 0.1 degree."""
    folder.mkdir(parents=True, exist_ok=True)
    west, south, east, north = region
    grid = GeoBox.from_bbox((west - 0.05, south - 0.05, east + 0.05, north + 0.05), crs="EPSG:4326", resolution=0.1)
    names = ("precipitation", "air_temperature")
    days = xsoil.data.synthetic_forcing(grid, (first, last), variables=names, seed=seed).compute()
    hours = pd.date_range(first, periods=24 * days.sizes["time"] + 1, freq="h")
    day, hour = np.arange(hours.size) // 24, hours.hour.to_numpy()
    day, hour = np.where(hour == 0, np.maximum(day - 1, 0), day), np.where(hour == 0, 24, hour)
    rain = days.precipitation.values[day] * (hour / 24)[:, None, None] / 1000
    warm = days.air_temperature.values[np.minimum(hours.dayofyear - hours[0].dayofyear, days.sizes["time"] - 1)]
    warm = warm + 6 * np.sin(2 * np.pi * (hours.hour.to_numpy() - 15) / 24)[:, None, None]
    dims = ("valid_time", "latitude", "longitude")
    place = {name: np.round(days[name].values, 4) for name in ("latitude", "longitude")}
    fields = {"tp": (dims, np.float32(rain), {"units": "m"}), "t2m": (dims, np.float32(warm), {"units": "K"})}
    xr.Dataset(fields, {"valid_time": hours} | place).to_netcdf(folder / "era5_land.nc")


def smap_l3(folder: Path, seen: xr.DataArray) -> None:
    """SPL3SMP, 36 km: a file for each time of `seen`, which lies on a part of EASE2_M36km."""
    folder.mkdir(parents=True, exist_ok=True)
    row, column = xsoil.ease_rowcol(seen)
    window = (slice(row, row + seen.sizes["y"]), slice(column, column + seen.sizes["x"]))
    whole = {"shape": (406, 964), "chunks": (203, 241), "compression": "gzip"}
    for time, values in zip(seen.indexes["time"], seen.transpose("time", "y", "x").values, strict=True):
        with h5py.File(folder / f"SMAP_L3_SM_P_{time:%Y%m%d}_R19240_001.h5", "w") as file:
            group = file.create_group("Soil_Moisture_Retrieval_Data_AM")
            moisture = group.create_dataset("soil_moisture", dtype="f4", fillvalue=-9999.0, **whole)
            moisture.attrs["_FillValue"], moisture.attrs["units"] = np.float32(-9999), b"cm**3/cm**3"
            moisture[window] = np.where(np.isfinite(values), values, -9999)
            flag = group.create_dataset("retrieval_qual_flag", dtype="u2", fillvalue=65534, **whole)
            flag.attrs["_FillValue"] = np.uint16(65534)
            flag[window] = np.where(np.isfinite(values), 0, 65534)
