"""Worlds made in a moment, for tests of soil-moisture models in several folders."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr


def leaking_bucket(rng, cells, days):
    """Rain and evaporation [mm d-1] (cells, days), sand [percent], moisture [m3 m-3] of a bucket that leaks by it."""
    rain = rng.gamma(0.3, 10, (cells, days)) * (rng.random((cells, days)) < 0.4)
    pet = 3 + 2 * np.sin(np.arange(days) / 9) + rng.normal(0, 0.3, (cells, days))
    sand = rng.uniform(10, 90, cells)
    storage, water = np.full(cells, 20.0), np.empty((cells, days))
    for day in range(days):
        storage = np.clip(storage + rain[:, day] - pet[:, day] * storage / 40 - storage * sand / 900, 0, 40)
        water[:, day] = 0.1 + storage / 100
    return rain, pet, sand, water


def moisture_maps(side):
    """Rain, sand and moisture without any relation, of 24 days on a square."""
    rng = np.random.default_rng(0)
    dims, shape = ("time", "y", "x"), (24, side, side)
    maps = {
        "rain": (dims, rng.gamma(0.5, 6, shape), {"units": "mm d-1"}),
        "sand": (dims[1:], rng.uniform(10, 90, shape[1:]), {"units": "percent"}),
        "soil_moisture": (dims, rng.uniform(0.1, 0.4, shape), {"units": "m3 m-3"}),
    }
    return xr.Dataset(maps, {"time": pd.date_range("2020-06-01", periods=24)})
