"""A soil and a weather with supplies, roots that grow and cold days, which the tests of `simulate` share."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

DAYS, NY, NX = 40, 3, 5
FLUXES = ("actual_et", "runoff", "drainage")
TIME = pd.date_range("2001-01-01", periods=DAYS)
DEEPER = {"root_depth": "m", "crop_coefficient": "1"}


def soil(dtype="f8"):
    rng = np.random.default_rng(0)
    theta_fc = rng.uniform(0.15, 0.35, (NY, NX))

    def on(values, units):
        return (("y", "x"), np.asarray(values).astype(dtype), {"units": units})

    return xr.Dataset(
        {
            "theta_s": on(theta_fc + 0.15, "m3 m-3"), "theta_fc": on(theta_fc, "m3 m-3"),
            "theta_wp": on(theta_fc - 0.1, "m3 m-3"), "k_sat": on(10 ** rng.uniform(0, 2, (NY, NX)), "cm d-1"),
            "root_depth": on(rng.uniform(0.2, 1.5, (NY, NX)), "m"),
            "depletion_fraction": on(np.full((NY, NX), 0.3), "1"),
            "crop_coefficient": on(np.full((NY, NX), 0.9), "1"),
        },
        {"y": 1000.0 - 500 * np.arange(NY), "x": 500.0 * np.arange(NX)},
    )  # fmt: skip


def weather(dtype="f8", names=(), seed=1):
    """Precipitation, pet and some of the optional series; the cold comes and goes."""
    rng = np.random.default_rng(seed)
    shape, grid = (DAYS, NY, NX), soil()
    season = 6 * np.sin(np.arange(DAYS) / 6.0)[:, None, None]
    steps = np.repeat(np.linspace(0.3, 1.2, DAYS // 4), 4)[:, None, None]
    made = {
        "precipitation": (rng.gamma(0.3, 20, shape), "mm d-1"),
        "pet": (rng.uniform(0, 6, shape), "mm d-1"),
        "irrigation": (np.where(rng.random(shape) < 0.1, 25.0, 0.0), "mm d-1"),
        "capillary_rise": (rng.uniform(0, 1, shape), "mm d-1"),
        "crop_coefficient": (rng.uniform(0.3, 1.3, shape), "1"),
        "root_depth": (steps + rng.uniform(0, 0.2, (1, NY, NX)), "m"),
        "air_temperature": (season + rng.normal(-1, 3, shape), "degC"),
        "soil_temperature": (season + 1.0 + 0 * rng.random(shape), "degC"),
    }
    return xr.Dataset(
        {
            name: (("time", "y", "x"), made[name][0].astype(dtype), {"units": made[name][1]})
            for name in ("precipitation", "pet", *names)
        },
        {"time": TIME, "y": grid.y, "x": grid.x},
    )
