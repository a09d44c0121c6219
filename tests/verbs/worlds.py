"""Small worlds with known parameters, for the tests of `learn_params`."""

from __future__ import annotations

import numpy as np
import xarray as xr
from odc.geo.xr import xr_coords

from xsoil.grids.ease import ease_grid
from xsoil.verbs.simulate import simulate
from xsoil.vocabulary import VARIABLES

LI = {
    "theta_s": 0.5, "theta_fc": 0.2, "theta_wp": 0.078, "root_depth": 1.0, "depletion_fraction": 0.1,
    "crop_coefficient": 0.5,
}  # fmt: skip
BOUNDS = {"k_sat": (1.0, 1000.0), "obs_scale": (0.6, 1.9), "obs_bias": (-0.3, 0.7)}
FACTOR = 9


def coarse_grid(rows=8, columns=7):
    return ease_grid("EASE2_M09km", (-100.0, 36.0, -98.0, 38.0))[:rows, :columns]


def fine_grid(coarse, margin=2):
    """The 1 km cells in the coarse ones, and some around them."""
    rows, columns = coarse.shape
    whole = ease_grid("EASE2_M01km", (-101.0, 35.0, -97.0, 39.0))
    x, y = ~whole.affine @ (coarse.affine.c, coarse.affine.f)
    row, column = round(y) - margin, round(x) - margin
    return whole[row : row + FACTOR * rows + 2 * margin, column : column + FACTOR * columns + 2 * margin]


def on_grid(geobox, maps):
    """Maps as a dataset with units of the vocabulary, coordinates and grid mapping."""
    coords = xr_coords(geobox, crs_coord_name="spatial_ref")
    ds = xr.Dataset({n: (geobox.dimensions, v, VARIABLES[n].attrs) for n, v in maps.items()}, coords)
    for name in maps:
        ds[name].encoding["grid_mapping"] = "spatial_ref"
    return ds


def texture(geobox, seed=0):
    """Sand and clay [percent], smooth over some ten cells."""
    rng = np.random.default_rng(seed)
    rows, columns = geobox.shape
    maps = []
    for _ in range(2):
        small = rng.uniform(0, 1, (rows // 6 + 3, columns // 6 + 3))
        r, c = np.linspace(0, small.shape[0] - 1.01, rows), np.linspace(0, small.shape[1] - 1.01, columns)
        i, j = r.astype(int), c.astype(int)
        a, b = (r - i)[:, None], (c - j)[None, :]
        field = (1 - a) * (1 - b) * small[i][:, j] + (1 - a) * b * small[i][:, j + 1]
        maps.append(field + a * (1 - b) * small[i + 1][:, j] + a * b * small[i + 1][:, j + 1])
    sand = 15 + 65 * maps[0]
    return on_grid(geobox, {"sand": sand.astype("f4"), "clay": ((100 - sand) * 0.8 * maps[1]).astype("f4")})


def weather(like, days=200, seed=1, start="2015-01-01"):
    """Storms that fill the soil, and dry spells."""
    rng = np.random.default_rng(seed)
    dims = ("time", *[d for d in like.dims if d != "time"])
    shape = (days, *(like.sizes[d] for d in dims[1:]))
    rain = rng.gamma(0.25, 70.0, shape) * (rng.random((days, *[1] * (len(shape) - 1))) < 0.45)
    pet = 3 + 2 * np.sin(np.arange(days) / 58.0).reshape(-1, *[1] * (len(shape) - 1)) + rng.uniform(0, 1, shape)
    units = {"units": "mm d-1"}
    time = np.datetime64(start, "ns") + np.arange(days) * np.timedelta64(1, "D")
    coords = {d: like[d] for d in dims[1:] if d in like.coords}
    series = {"precipitation": (dims, rain.astype("f4"), units), "pet": (dims, pet.astype("f4"), units)}
    return xr.Dataset(series, {"time": time, **coords})


def true_parameters(fine, coarse, how="max"):
    """CB2, then the maximum, and eqs. 10 and 11 of Li et al. (2024), of the fine cells in each coarse one."""
    k_sat = fine.soil.ptf("li2024_cb2").soil.upscale(coarse, how)
    share = fine.soil.upscale(coarse, how) / 100
    f = share.sand + share.clay + 5 * share.sand * share.clay
    maps = {"k_sat": k_sat.k_sat, "obs_scale": (f - 0.5) / 4 + 0.9, "obs_bias": (f - 0.9) / 3.5}
    return on_grid(coarse, {name: array.values.astype("f4") for name, array in maps.items()})


def world(rows=8, columns=7, days=200, seed=0):
    """Fine maps, forcing, observations (every third day) and the parameters behind them."""
    coarse = coarse_grid(rows, columns)
    fine = texture(fine_grid(coarse), seed)
    truth = true_parameters(fine, coarse)
    forcing = weather(truth, days)
    observed = simulate(truth, forcing, outputs="theta_obs", **LI).theta_obs[::3].rename("soil_moisture")
    return fine, forcing, observed, truth
