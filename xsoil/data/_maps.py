"""From arrays of files to maps: numbers decoded block by block, coordinates, grid mapping, attributes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from dask.array import Array, map_blocks
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from xsoil.vocabulary import VARIABLES

MAPPING = "spatial_ref"


def decode_block(
    raw: np.ndarray,
    fills: tuple[float, ...] = (),
    factor: float = 1.0,
    offset: float = 0.0,
    valid: tuple[float, float] | None = None,
) -> np.ndarray:
    """Numbers as meant: (raw * factor + offset), NaN for fill values and outside `valid` (both of the raw numbers).

    Floats keep their precision; integers of up to 16 bits become float32, longer ones float64.
    """
    small = raw.dtype.itemsize <= 2 or (raw.dtype.kind == "f" and raw.dtype.itemsize <= 4)
    dtype = np.dtype(np.float32 if small else np.float64)
    missing = np.zeros(raw.shape, bool)
    for fill in fills:
        missing |= raw == (np.asarray(fill).astype(raw.dtype) if raw.dtype.kind == "f" else fill)
    if valid is not None:
        missing |= (raw < valid[0]) | (raw > valid[1])
    out: np.ndarray = raw.astype(dtype)
    if factor != 1.0:
        out *= dtype.type(factor)
    if offset != 0.0:
        out += dtype.type(offset)
    out[missing] = np.nan
    return out


def decoded(
    array: Array,
    fills: Sequence[float] = (),
    factor: float = 1.0,
    offset: float = 0.0,
    valid: tuple[float, float] | None = None,
) -> Array:
    """`decode_block` of every block of a lazy array."""
    dtype = decode_block(np.zeros(1, array.dtype)).dtype
    made: Array = map_blocks(
        decode_block, array, fills=tuple(fills), factor=factor, offset=offset, valid=valid,
        dtype=dtype, meta=np.empty((0,) * array.ndim, dtype),
    )  # fmt: skip
    return made


def grid_coords(geobox: GeoBox) -> dict[Hashable, Any]:
    """Coordinates of a grid with its grid mapping, as `xsoil.grid_of` reads them."""
    made = xr_coords(geobox, crs_coord_name=MAPPING)
    return {name: made[name].variable for name in (*geobox.dimensions, MAPPING)}


def layer_coords(layers: Sequence[tuple[float, float]]) -> dict[Hashable, Any]:
    """Depths of layers [m]: their middles, with bounds."""
    bounds = np.array(layers, float)
    attrs = VARIABLES["depth"].attrs | {"positive": "down", "axis": "Z", "bounds": "depth_bounds"}
    return {
        "depth": xr.Variable("depth", bounds.mean(axis=1), attrs),
        "depth_bounds": xr.Variable(("depth", "bounds"), bounds, {"units": "m"}),
    }


def maps(
    fields: Mapping[str, tuple[Sequence[Hashable], Any, Mapping[str, Any]]],
    coords: Mapping[Hashable, Any],
    attrs: Mapping[str, str],
) -> xr.Dataset:
    """A dataset of (dims, array, attributes) whose variables name the grid mapping."""
    ds = xr.Dataset(
        {name: xr.Variable(dims, data, dict(about)) for name, (dims, data, about) in fields.items()}, coords
    )
    if MAPPING in ds.coords:
        for name in ds.data_vars:
            ds[name].encoding["grid_mapping"] = MAPPING
    return ds.assign_attrs(attrs)
