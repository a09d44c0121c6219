"""Windows of grids of longitude and latitude."""

from __future__ import annotations

import math
from collections.abc import Hashable

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS

from xsoil.data._hdf5 import Window
from xsoil.data._netcdf import first_name
from xsoil.errors import NoOverlapError, UnknownNameError
from xsoil.grids.ease import REGIONS, box_in_degrees
from xsoil.grids.geobox import grid_of

EDGE = 1e-6


def box_of(region: object) -> tuple[float, float, float, float]:
    """(west, south, east, north) in degrees of a name, four numbers, or the footprint of an object.

    East is beyond 180 where the box crosses the dateline.
    """
    if isinstance(region, str):
        if region not in REGIONS:
            raise UnknownNameError.of("region", region, REGIONS)
        return REGIONS[region]
    if isinstance(region, (tuple, list, np.ndarray)):
        return box_in_degrees(region)
    bounds = grid_of(region).footprint("EPSG:4326", npoints=64).boundingbox
    return bounds.left, bounds.bottom, bounds.right, bounds.top


def degree_window(geobox: GeoBox, region: object) -> tuple[GeoBox, Window]:
    """The cells of a grid in degrees that a region touches, with their place in the whole."""
    rows, columns = geobox.shape
    if region is None:
        return geobox, Window((0, rows), ((0, columns),))
    west, south, east, north = box_of(region)
    a = geobox.affine
    first, last = a.c, a.c + a.a * columns
    # The turn of longitudes in which most of the box lies on the grid.
    turn = max((0.0, -360.0, 360.0), key=lambda turn: min(east + turn, last) - max(west + turn, first))
    west, east = west + turn, east + turn
    row = sorted(((south - a.f) / a.e, (north - a.f) / a.e))
    column = ((west - a.c) / a.a, (east - a.c) / a.a)
    r0, r1 = max(math.floor(row[0] + EDGE), 0), min(math.ceil(row[1] - EDGE), rows)
    c0, c1 = max(math.floor(column[0] + EDGE), 0), min(math.ceil(column[1] - EDGE), columns)
    if r0 >= r1 or c0 >= c1:
        left, right = sorted((a.c, a.c + a.a * columns))
        bottom, top = sorted((a.f, a.f + a.e * rows))
        raise NoOverlapError(
            f"the region {(west, south, east, north)} lies outside {left:g} to {right:g} E, {bottom:g} to {top:g} N"
        )
    part = GeoBox((r1 - r0, c1 - c0), Affine(a.a, 0, a.c + c0 * a.a, 0, a.e, a.f + r0 * a.e), geobox.crs)
    return part, Window((r0, r1), ((c0, c1),))


def select(ds: xr.Dataset, region: object) -> xr.Dataset:
    """The part of a dataset on longitude and latitude that a region touches; its own coordinates are kept.

    A region across the end of the axis (0-360 against -180 to 180) is taken in two pieces, in the order of the region.
    """
    if region is None:
        return ds
    y, x = (_named(ds, names) for names in (("latitude", "lat", "y"), ("longitude", "lon", "x")))
    west, south, east, north = box_of(region)
    latitude, longitude = (np.asarray(ds[dim].values, float) for dim in (y, x))
    half_y, half_x = (
        float(np.median(np.abs(np.diff(axis)))) / 2 if axis.size > 1 else 0.5 for axis in (latitude, longitude)
    )
    rows = np.flatnonzero((latitude + half_y > south + EDGE) & (latitude - half_y < north - EDGE))
    turned = west + np.mod(longitude - west + half_x, 360.0) - half_x  # from the western edge on
    columns = np.flatnonzero((turned + half_x > west + EDGE) & (turned - half_x < east - EDGE))
    if not rows.size or not columns.size:
        raise NoOverlapError(
            f"the region {(west, south, east, north)} lies outside {longitude.min():g} to {longitude.max():g} E, "
            f"{latitude.min():g} to {latitude.max():g} N"
        )
    order = columns[np.argsort(turned[columns], kind="stable")]
    if (np.diff(order) == 1).all():
        return ds.isel({y: slice(rows[0], rows[-1] + 1), x: slice(order[0], order[-1] + 1)})
    part = ds.isel({y: slice(rows[0], rows[-1] + 1), x: order})
    return part.assign_coords({x: (x, turned[order], ds[x].attrs)})


def with_crs(ds: xr.Dataset) -> xr.Dataset:
    """The dataset with a grid mapping for longitude and latitude (WGS 84)."""
    crs = CRS.from_epsg(4326)
    ds = ds.assign_coords(spatial_ref=((), np.int32(4326), crs.to_cf() | {"spatial_ref": crs.to_wkt()}))
    for name in ds.data_vars:
        ds[name].encoding["grid_mapping"] = "spatial_ref"
    return ds


def _named(ds: xr.Dataset, names: tuple[str, ...]) -> Hashable:
    return next(name for name in names if name in ds.dims)


def degrees_named(ds: xr.Dataset) -> xr.Dataset:
    """Latitude and longitude by these names."""
    names = {first_name(ds, ("latitude", "lat"), "latitude"): "latitude"}
    names[first_name(ds, ("longitude", "lon"), "longitude")] = "longitude"
    return ds.rename({old: new for old, new in names.items() if old != new})
