"""A small soil and its weather that the tests of `simulate` share."""

from __future__ import annotations

import numpy as np
import pandas as pd
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr

from xsoil.verbs.simulate import OUTPUTS

LI = {
    "theta_s": 0.5, "theta_fc": 0.2, "theta_wp": 0.078, "root_depth": 1.0, "depletion_fraction": 0.1,
    "crop_coefficient": 0.5,
}  # fmt: skip
SERIES = tuple(name for name in OUTPUTS["water_balance"] if name not in ("theta_obs", "root_zone_exchange"))
DAYS, NY, NX = 30, 5, 7


def soil(dtype="f8", seed=0):
    rng = np.random.default_rng(seed)
    theta_fc = rng.uniform(0.15, 0.35, (NY, NX))

    def on(values, units, dims=("y", "x")):
        return (dims, values.astype(dtype), {"units": units})

    ds = xr.Dataset(
        {
            "theta_s": on(theta_fc + 0.15, "m3 m-3"), "theta_fc": on(theta_fc, "m3 m-3"),
            "theta_wp": on(theta_fc - 0.1, "m3 m-3"), "k_sat": on(10 ** rng.uniform(0, 2, (NY, NX)), "cm d-1"),
            "root_depth": on(rng.uniform(0.1, 1.5, (NY, NX)), "m"),
            "depletion_fraction": on(np.full(NX, 0.3), "1", ("x",)),
            "crop_coefficient": ((), 0.9, {"units": "1"}),
        },
        {"y": 1000.0 - 500 * np.arange(NY), "x": 500.0 * np.arange(NX)},
        {"title": "a soil"},
    )  # fmt: skip
    return ds.rio.write_crs("EPSG:3035")


def weather(dtype="f8", days=DAYS, seed=1, dims=("time", "y", "x")):
    rng = np.random.default_rng(seed)
    sizes = {"time": days, "y": NY, "x": NX}
    shape = [sizes[d] for d in dims]
    ds = xr.Dataset(
        {
            "precipitation": (dims, rng.gamma(0.3, 20, shape).astype(dtype), {"units": "mm d-1"}),
            "pet": (dims, rng.uniform(0, 8, shape).astype(dtype), {"units": "mm d-1"}),
        },
        {"time": pd.date_range("2001-01-01", periods=days)},
    )
    grid = soil()
    return ds.assign_coords({d: grid[d] for d in dims if d != "time"})


def site(**change):
    """One cell and Li's values."""
    return xr.Dataset({"k_sat": ((), 36.4, {"units": "cm d-1"})}), LI | change
