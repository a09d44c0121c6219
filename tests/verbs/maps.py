"""Small maps that the tests of `upscale` share."""

from __future__ import annotations

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

HOWS = (
    "mean", "sum", "min", "max", "median", "quantile", "mode", "std", "harmonic", "geometric", "power", "fraction",
    "nearest", "bilinear", "cubic",
)  # fmt: skip
"""Every operator; `options` has what they need."""

AREA_HOWS = HOWS[:12]

REGION = (-106.2, 37.1, -104.4, 38.6)


def options(how: str) -> dict[str, float]:
    """The arguments that an operator cannot do without."""
    return {"quantile": {"q": 0.3}, "power": {"p": -0.7}}.get(how, {})


def field(shape, seed=0, missing=0.0, dtype="f8"):
    rng = np.random.default_rng(seed)
    values = rng.normal(25, 10, shape).astype(dtype)
    values[rng.random(shape) < missing] = np.nan
    return values


def classes(shape, seed=0, missing=0.0, number=5, dtype="f8"):
    rng = np.random.default_rng(seed)
    values = rng.integers(1, number + 1, shape).astype(dtype)
    values[rng.random(shape) < missing] = np.nan
    return values


def suited(how: str, values):
    """Values that an operator has a meaning for: classes, positive numbers, or as they are."""
    if how in ("mode", "fraction"):
        return np.round(np.abs(values) / 10).astype(values.dtype)
    if how in ("harmonic", "geometric", "power"):
        return np.exp(values / 20).astype(values.dtype)
    return values


def latlon(n=60, m=70, step=1 / 30, north=38.9, west=-106.5, missing=0.1, dtype="f8", name="clay"):
    lat, lon = north - step * (np.arange(n) + 0.5), west + step * (np.arange(m) + 0.5)
    values = field((n, m), missing=missing, dtype=dtype)
    return xr.Dataset({name: (("lat", "lon"), values, {"units": "percent"})}, {"lat": lat, "lon": lon})


def on(box: GeoBox, values, name="clay"):
    if box.affine.b or box.affine.d:  # no coordinates of its own axes: the GeoTransform says all
        mapping = xr_coords(box)["spatial_ref"]
        return xr.Dataset({name: (("y", "x"), values, {"units": "percent"})}, {"spatial_ref": mapping})
    return xr.Dataset({name: (box.dimensions, values, {"units": "percent"})}, xr_coords(box))


def suit(ds: xr.Dataset, how: str) -> xr.Dataset:
    """The map with values that the operator has a meaning for, and the classes declared where it needs them."""
    out = ds.copy()
    out["clay"] = ds.clay.copy(data=suited(how, ds.clay.values))
    if how == "fraction":
        out.clay.attrs = {"flag_values": np.arange(10)}
    return out
