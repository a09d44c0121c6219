"""Clean inputs, the ways to spoil them, and the verbs reduced to their numbers."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr

import xsoil

PARAMETERS = {
    "theta_s": (0.5, "m3 m-3"), "theta_fc": (0.3, "m3 m-3"), "theta_wp": (0.1, "m3 m-3"), "k_sat": (20.0, "cm d-1"),
    "root_depth": (1.0, "m"), "depletion_fraction": (0.5, "1"), "crop_coefficient": (1.0, "1"),
}  # fmt: skip


def soil(rows=6, columns=8):
    rng = np.random.default_rng(0)
    sand = rng.uniform(20, 60, (rows, columns)).astype("f4")
    clay = rng.uniform(5, 35, (rows, columns)).astype("f4")
    maps = {"sand": sand, "clay": clay, "silt": 100 - sand - clay}
    place = {"lat": 45 - 0.25 * np.arange(rows), "lon": 5 + 0.25 * np.arange(columns)}
    return xr.Dataset({k: (("lat", "lon"), v, {"units": "percent"}) for k, v in maps.items()}, place)


def parameters(ds=None):
    like = soil() if ds is None else ds
    return xr.Dataset(
        {n: (("lat", "lon"), np.full((6, 8), v, "f4"), {"units": u}) for n, (v, u) in PARAMETERS.items()}, like.coords
    )


def weather(days=4):
    time = pd.date_range("2020-01-01", periods=days)
    rng, shape = np.random.default_rng(1), (days, 6, 8)
    made = {"precipitation": rng.gamma(0.5, 10, shape).astype("f4"), "pet": np.full(shape, 3, "f4")}
    dims, place = ("time", "lat", "lon"), soil().coords
    return xr.Dataset({k: (dims, v, {"units": "mm d-1"}) for k, v in made.items()}, {"time": time, **place})


def moisture(days=12):
    rng = np.random.default_rng(2)
    values = rng.uniform(0.1, 0.4, (days, 6, 8)).astype("f4")
    values[3:6, 1] = np.nan
    dims = ("time", "lat", "lon")
    time = pd.date_range("2020-01-01", periods=days)
    return xr.Dataset({"soil_moisture": (dims, values, {"units": "m3 m-3"})}, {"time": time, **soil().coords})


def profile():
    depth = ("depth", [0.05, 0.2, 0.5], {"units": "m", "bounds": "depth_bnds"})
    bounds = (("depth", "bnds"), [[0, 0.1], [0.1, 0.3], [0.3, 0.7]])
    ds = xr.Dataset({"sand": ("depth", [10.0, 20.0, 30.0], {"units": "percent"})})
    return ds.assign_coords(depth=depth, depth_bnds=bounds)


def points():
    """The same at depths without edges."""
    ds = profile().drop_vars("depth_bnds")
    del ds["depth"].attrs["bounds"]
    return ds


def up(ds, how="mean"):
    return xsoil.upscale(ds, "EASE2_M36km", how, min_valid=0.0).sand.values


def down(ds):
    return xsoil.downscale(ds, xsoil.ease_grid("EASE2_M09km", (5.2, 44, 6.4, 44.8))).sand.values


def pt(ds):
    return xsoil.ptf(ds).k_sat.transpose("lat", "lon").values


def sim(ds, forcing):
    return xsoil.simulate(ds, forcing).theta.values


def fill(ds):
    return xsoil.fill_gaps(ds, max_gap=9).soil_moisture.values


def score(sim, obs):
    return xsoil.evaluate(sim.rename(soil_moisture="theta"), obs).rmse.values


def mean(ds, top=0.0, bottom=0.5):
    return xsoil.depth_mean(ds, top, bottom).sand.values


def put(ds, name, value, at=(0, 0)):
    """One cell of a variable set."""
    out = ds.copy(deep=True)
    with np.errstate(all="ignore"):
        out[name].values[at] = value
    return out


def typed(ds, dtype):
    return ds.map(lambda v: v.astype(dtype).assign_attrs(v.attrs))


def attributed(ds, name, **attrs):
    out = ds.copy()
    out[name] = ds[name].assign_attrs(attrs)
    return out


def frozen(ds):
    out = ds.copy(deep=True)
    for array in out.data_vars.values():
        array.values.setflags(write=False)
    return out


def strided(ds):
    """Every second number of a larger array, backwards in memory."""
    out = ds.copy()
    for name, array in ds.data_vars.items():
        wide = np.zeros((array.shape[0] * 2, array.shape[1] * 3), array.dtype)[::-2, ::3]
        wide[...] = array.values
        out[name] = array.copy(data=wide)
    return out


def unaligned(ds):
    """Each variable in other chunks."""
    cuts = [((1, 5), (3, 5)), ((6,), (1, 1, 6)), ((2, 2, 2), (8,))]
    return ds.assign({n: ds[n].chunk(dict(zip(("lat", "lon"), cut))) for n, cut in zip(ds.data_vars, cuts)})


def named(ds, y, x):
    """Dimensions in another language, with the attributes that say what they are."""
    out = ds.rename(lat=y, lon=x)
    out[y].attrs["standard_name"], out[x].attrs["standard_name"] = "latitude", "longitude"
    return out


def unknown_chunks(ds):
    """A dask array whose chunk sizes nobody knows."""
    lost = da.from_array(ds.sand.values.ravel(), chunks=10)
    return xr.Dataset({"sand": ("cell", lost[lost > 0], {"units": "percent"})})


def shifted(ds, **by):
    return ds.assign_coords({dim: ds[dim] + step for dim, step in by.items()})


def with_time(ds, at):
    return ds.isel(time=at)


def written(coord, ds, **attrs):
    out = ds.copy()
    out[coord] = out[coord].assign_attrs(attrs)
    return out


def referenced(ds, **attrs):
    """A grid mapping with attributes as given."""
    return ds.rename(lat="y", lon="x").assign_coords(spatial_ref=((), 0, attrs))
