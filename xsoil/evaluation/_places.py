"""Where cells are: their dims, latitudes and longitudes, the blocks they lie in, what is near them."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError, AxisError, GridMismatchError
from xsoil.grids.crs import crs_text, to_world, transformer
from xsoil.grids.geobox import has_grid, locate, spatial_dims

__all__ = ["block_numbers", "cell_dims", "farthest", "near", "places_of"]

EARTH_KM = 6371.0072
"""Radius of the sphere of the Earth's area."""

NAMES = (("lat", "latitude"), ("lon", "longitude"))


def cell_dims(obj: xr.Dataset | xr.DataArray) -> tuple[Hashable, ...]:
    """The dims of cells: those of the grid, else all but time."""
    if has_grid(obj):
        return spatial_dims(obj)
    dims = tuple(dim for dim in obj.dims if dim != "time")
    if not dims:
        raise AxisError(f"no dimension of cells among {[str(d) for d in obj.dims]}; expected maps, pixels or sites")
    return dims


def places_of(obj: xr.Dataset | xr.DataArray, template: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Latitude and longitude [degrees] of the cells of `template`, which lie on the `cell_dims` of `obj`."""
    if has_grid(obj):
        geobox = locate(obj).geobox
        rows, columns = geobox.shape
        column, row = np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5)
        x, y = to_world(geobox.transform, column, row)
        lon, lat = transformer(crs_text(geobox), "EPSG:4326").transform(x, y)
        return np.asarray(lat), np.asarray(lon)
    found = []
    variables = obj.variables if isinstance(obj, xr.Dataset) else obj.coords
    for names in NAMES:
        name = next((name for name in names if name in variables), None)
        if name is None:
            raise AxisError(
                f"the cells have no {names[0]!r} (or {names[1]!r}) among {sorted(map(str, variables))}, so their "
                "blocks are not known; add it: .assign_coords(lat=..., lon=...), or use random_cells"
            )
        array = obj[name]
        if not set(array.dims) <= set(template.dims):
            raise GridMismatchError(
                f"{name!r} is on {[str(d) for d in array.dims]}; expected it on {[str(d) for d in template.dims]}"
            )
        if array.dtype.kind not in "fiu":
            raise ArgumentError(f"{name!r} is {array.dtype}; expected degrees")
        bare = array.drop_vars(list(array.coords)).astype(float)
        found.append(
            bare.broadcast_like(template.drop_vars(list(template.coords))).transpose(*template.dims).to_numpy()
        )
    return found[0], found[1]


def _unit_sphere(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Places (degrees) as points (n, 3) of the unit sphere."""
    phi, lam = np.radians(lat), np.radians(lon)
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)


def block_numbers(lat: np.ndarray, lon: np.ndarray, size_km: float) -> np.ndarray:
    """Number of the block of each place: bands from the south pole, parts of them from 180 degrees west."""
    if not (np.isfinite(lat) & np.isfinite(lon)).all():
        raise ArgumentError("some cells have no latitude or longitude; leave them out with where=...")
    bands = max(round(np.pi * EARTH_KM / size_km), 1)
    band = np.clip(((lat + 90.0) / 180.0 * bands).astype(int), 0, bands - 1)
    middle = np.radians((np.arange(bands) + 0.5) / bands * 180.0 - 90.0)
    parts = np.maximum(np.round(2 * np.pi * EARTH_KM * np.cos(middle) / size_km).astype(int), 1)
    turn = np.mod(lon + 180.0, 360.0) / 360.0
    first = np.concatenate([[0], np.cumsum(parts)[:-1]])
    numbers: np.ndarray = first[band] + np.minimum((turn * parts[band]).astype(int), parts[band] - 1)
    return numbers


def near(lat: np.ndarray, lon: np.ndarray, tested: np.ndarray, buffer_km: float) -> np.ndarray:
    """True for places within the distance of a tested one, along the ground."""
    from scipy.spatial import cKDTree

    points = _unit_sphere(lat, lon)
    chord = 2.0 * np.sin(min(buffer_km / EARTH_KM, np.pi) / 2.0)
    found, _ = cKDTree(points[tested]).query(points, distance_upper_bound=chord * (1 + 1e-9))
    return np.asarray(np.isfinite(found))


def farthest(a: xr.Dataset | xr.DataArray, b: xr.Dataset | xr.DataArray, dim: Hashable) -> float:
    """The largest distance [km] from a place of `a` along a dim to that of `b`; 0 where one has no places."""
    places = []
    for obj in (a, b):
        found = [
            next((obj.coords[n] for n in names if n in obj.coords and obj[n].dims == (dim,)), None) for names in NAMES
        ]
        if any(axis is None or axis.chunks or axis.dtype.kind not in "fiu" for axis in found):
            return 0.0
        places.append(_unit_sphere(*(axis.to_numpy().astype(float) for axis in found if axis is not None)))
    chord = np.linalg.norm(places[0] - places[1], axis=-1)
    return float(2.0 * EARTH_KM * np.arcsin(np.clip(np.nanmax(chord, initial=0.0) / 2.0, 0.0, 1.0)))
