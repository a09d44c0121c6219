"""Small soils and weather for Richards columns that the tests of `simulate` share."""

from __future__ import annotations

import numpy as np
import pandas as pd
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr

from xsoil.verbs.simulate import OUTPUTS, simulate

SERIES = tuple(name for name in OUTPUTS["richards"] if name != "theta_obs")
DAYS, NY, NX = 16, 2, 3
LOAM = {"theta_r": 0.078, "theta_s": 0.43, "alpha": 0.036, "n": 1.56, "k_sat": 24.96}
UNITS = {
    "theta_r": "m3 m-3", "theta_s": "m3 m-3", "alpha": "cm-1", "n": "1", "m": "1", "k_sat": "cm d-1", "h50": "cm",
    "root_depth": "m",
}  # fmt: skip
PLACE = {"y": 1000.0 - 500 * np.arange(NY), "x": 500.0 * np.arange(NX)}


def maps(dtype="f8", seed=0, curve="van_genuchten"):
    """Loams that differ from column to column."""
    rng = np.random.default_rng(seed)
    between = {
        "theta_s": (0.38, 0.48), "alpha": (0.01, 0.05), "n": (1.3, 1.9), "k_sat": (5, 60), "h50": (-1200, -400),
        "root_depth": (0.2, 0.6),
    }  # fmt: skip
    between |= {"theta_r": (0.03, 0.1)} if curve == "van_genuchten" else {"m": (0.5, 0.9)}
    made = {
        name: (("y", "x"), rng.uniform(*span, (NY, NX)).astype(dtype), {"units": UNITS[name]})
        for name, span in between.items()
    }
    return xr.Dataset(made, PLACE, {"title": "a soil"}).rio.write_crs("EPSG:3035")


def weather(dtype="f8", days=DAYS, dims=("time", "y", "x"), seed=1, names=()):
    """Rain, demand, leaves; some of irrigation and the air's temperature."""
    rng = np.random.default_rng(seed)
    sizes = {"time": days, "y": NY, "x": NX}
    shape = [sizes[d] for d in dims]
    made = {
        "precipitation": (rng.gamma(0.3, 20, shape), "mm d-1"),
        "pet": (rng.uniform(0, 8, shape), "mm d-1"),
        "lai": (rng.uniform(0.2, 4, shape), "1"),
        "irrigation": (np.where(rng.random(shape) < 0.2, 15.0, 0.0), "mm d-1"),
        "air_temperature": (rng.normal(0, 4, shape), "degC"),
    }
    return xr.Dataset(
        {
            name: (dims, made[name][0].astype(dtype), {"units": made[name][1]})
            for name in ("precipitation", "pet", "lai", *names)
        },
        {"time": pd.date_range("2001-01-01", periods=days)} | {d: PLACE[d] for d in dims if d != "time"},
    )


def layered(ds):
    """The same soils, denser and finer below 17 cm."""
    factors = xr.DataArray([1.0, 0.9], dims="depth", coords={"depth": [0.085, 0.585]})
    out = ds.assign(theta_s=ds.theta_s * factors, k_sat=ds.k_sat * factors**10)
    for name in ("theta_s", "k_sat"):
        out[name] = out[name].transpose("depth", "y", "x").astype(ds[name].dtype).assign_attrs(units=UNITS[name])
    out["depth"].attrs.update(units="m", bounds="depth_bounds")
    return out.assign_coords(depth_bounds=(("depth", "bnds"), [[0.0, 0.17], [0.17, 1.0]]))


def run(ds, forcing, **options):
    return simulate(ds, forcing, "richards", **options)
