"""`upscale`: area operators from any grid to a coarser one, exact and lazy."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping
from typing import Any, Literal, cast

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from xsoil.errors import ArgumentError, MissingVariableError, NoOverlapError, UnknownNameError
from xsoil.grids.ease import EASE_GRIDS, ease_grid, named_grid
from xsoil.grids.geobox import Located, locate
from xsoil.verbs import _inputs, _lazy
from xsoil.vocabulary import VARIABLES

How = Literal["mean", "sum", "min", "max", "nearest"]
CELL_METHODS = {"mean": "mean", "sum": "sum", "min": "minimum", "max": "maximum", "nearest": "point"}
"""The operators, and what CF calls them."""
HOWS: tuple[str, ...] = tuple(CELL_METHODS)
ENGINES = ("exact",)
UNION = "union"
"""What becomes of bit flags: each bit that any overlapping cell has."""


def upscale(
    ds: xr.Dataset | xr.DataArray,
    to: object,
    how: How | Mapping[str, How] = "mean",
    *,
    region: object = None,
    min_valid: float | None = None,
    engine: Literal["exact"] = "exact",
    chunks: int | tuple[int, int] | None = None,
    valid_fraction: bool = False,
) -> xr.Dataset:
    """Bring maps to a coarser grid by exact overlap areas.

    Weights are the true areas of (source cell ∩ target cell), made for each target tile inside its task
    from the two grids; on dask input a task reads only the source blocks that its tile overlaps. The
    result does not depend on how the input is chunked, nor on its orientation.

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        Maps on a regular grid in any CRS, any other dimensions, any units. Variables without both
        spatial dimensions pass through.
    to : str, GeoBox, xr.Dataset or xr.DataArray
        Target grid: a name (``"EASE2_M09km"``: the part that covers the source), a GeoBox, or an object on the grid.
    how : {"mean", "sum", "min", "max", "nearest"} or dict
        Operator, or a dict {variable: operator}; variables that the dict does not name get the mean.
        mean and sum are weighted by area (sum conserves the total); min and max take every cell
        that overlaps; nearest takes the source cell that holds the target cell's centre. Flags (a variable with
        ``flag_masks``, such as `quality`) are united over all cells that overlap, unless the dict says otherwise.
    region : str or tuple of float, optional
        With a named grid: ``"conus"``, (west, south, east, north) in degrees, or an object to cover.
    min_valid : float, optional
        A target cell is NaN where the valid part of its area is below this; default 0 for sum, else
        0.5. Not used by nearest.
    engine : {"exact"}
        What computes the overlaps: true areas, by xsoil itself.
    chunks : int or (int, int), optional
        Rows and columns of the result's dask chunks. By default a task's source window stays near 32 MB.
    valid_fraction : bool
        Add ``<name>_valid_fraction`` [1], valid overlap area / target cell area.

    Returns
    -------
    xr.Dataset
        On the target grid, spatial dimensions last, named as the target names them, with its CRS. Floats
        keep their dtype (sums are accumulated in float64); integers stay integers for min, max and nearest
        (missing cells hold the declared nodata, else the smallest (unsigned: largest) integer, declared as
        ``_FillValue``) and become float64 for mean and sum; beyond 2**53 they are rounded. Integers with an undecoded
        ``scale_factor`` or ``add_offset`` are decoded to floats.

    Warns
    -----
    UserWarning
        A variable that has only one of the spatial dimensions is left out (bounds of the axes silently).

    Raises
    ------
    CRSError, AxisError
        The source has no CRS or no regular axes.
    NoOverlapError
        Source and target have no cell in common.
    UnknownNameError
        Unknown grid or operator.
    ArgumentError
        A class variable under mean or sum, `min_valid` outside 0..1, `region` with a grid that has one.

    Notes
    -----
    Areas are measured in the target's CRS if it is equal-area, else in EPSG:6933 (poleward of 80 degrees in a
    Lambert azimuthal equal-area projection at the target's centre).

    Examples
    --------
    >>> import xsoil
    >>> soil = xsoil.data.synthetic_soil(xsoil.ease_grid("EASE2_M09km", (5, 45, 8, 47)))
    >>> soil.soil.upscale("EASE2_M36km").sand.shape
    (6, 9)
    """
    ds = _inputs.as_dataset(ds)
    source, ds = _canonical(ds)
    target, y, x = _target(to, region, source)
    spatial = [name for name, var in ds.data_vars.items() if source.x in var.dims and source.y in var.dims]
    operators = _operators(how, spatial, ds)
    if engine not in ENGINES:
        raise UnknownNameError.of("engine", engine, ENGINES)
    if min_valid is not None and not 0 <= min_valid <= 1:
        raise ArgumentError(f"min_valid={min_valid!r}; expected a fraction of the cell's area, 0 to 1")
    if (y in ds.dims and y not in source.dims) or (x in ds.dims and x not in source.dims):
        raise ArgumentError(
            f"the target's dimension names {(y, x)} are taken by other dimensions of the source; rename those"
        )

    from xsoil.grids.overlap import overlap_of

    overlap = overlap_of(source.geobox, target)
    if overlap.window(slice(0, target.shape[0]), slice(0, target.shape[1])) is None:
        raise NoOverlapError(
            f"source and target do not overlap: {_extent(source.geobox)} against {_extent(target)}; "
            "check the CRS of both"
        )
    bounds = {ds[dim].attrs.get("bounds", ds[dim].encoding.get("bounds", f"{dim}_bnds")) for dim in source.dims}
    out: dict[Hashable, xr.Variable] = {}
    for name, var in ds.data_vars.items():
        if name not in operators:
            if not set(source.dims) & set(var.dims):
                if not _is_mapping(var):  # that of the source; the result has its own
                    out[name] = var.variable
            elif name not in bounds:
                warnings.warn(
                    f"{name!r} is left out: it has only one of the spatial dimensions {source.dims}, "
                    "which the target does not have",
                    stacklevel=3,
                )
            continue
        operator = operators[name]
        least = min_valid if min_valid is not None else (0.0 if operator == "sum" else 0.5)
        result, fraction = _one(var, source, overlap, operator, least, chunks, valid_fraction)
        dims = (*(d for d in var.dims if d not in source.dims), y, x)
        attrs = _attrs(var, operator)
        if result.dtype.kind in "iu" and operator != UNION:
            attrs["_FillValue"] = result.dtype.type(_fill(var))
        out[name] = xr.Variable(dims, result, attrs)
        if fraction is not None:
            label = f"valid part of the cell's area of {name}"
            out[f"{name}_valid_fraction"] = xr.Variable(dims, fraction, {"units": "1", "long_name": label})
    kept = {
        name: coord
        for name, coord in ds.coords.items()
        if not set(source.dims) & set(coord.dims) and not _is_mapping(coord)
    }
    coords = kept | xr_coords(target, dims=(str(y), str(x)))
    # What other attributes say about the source's grid (GeoZarr, GDAL) is not true of the target's.
    attrs = {
        k: v
        for k, v in ds.attrs.items()
        if not str(k).startswith(("proj:", "spatial:")) and k not in ("crs", "crs_wkt", "transform", "GeoTransform")
    }
    result_ds = xr.Dataset(out, coords=coords, attrs=attrs)
    for name in result_ds.data_vars:
        if y in result_ds[name].dims:
            result_ds[name].encoding["grid_mapping"] = "spatial_ref"
    return result_ds


def _canonical(ds: xr.Dataset) -> tuple[Located, xr.Dataset]:
    """The source with x ascending and y descending, so that its orientation cannot show in the numbers."""
    found = locate(ds)
    if found.cyclic_shift:  # a longitude axis with one jump of a full turn: let it run on instead
        ds = ds.assign_coords({found.x: np.unwrap(ds[found.x].values.astype(float), period=360.0)})
        found = locate(ds)
    a = found.geobox.affine
    if a.b or a.d or (a.e < 0 < a.a):
        return found, ds
    if found.x not in ds.coords or found.y not in ds.coords:  # only a GeoTransform, which would not turn with the data
        x, y = (
            a.c + a.a * (np.arange(found.geobox.shape[1]) + 0.5),
            a.f + a.e * (np.arange(found.geobox.shape[0]) + 0.5),
        )
        resolution = ({"resolution": a.a}, {"resolution": a.e})
        ds = ds.assign_coords({found.x: (found.x, x, resolution[0]), found.y: (found.y, y, resolution[1])})
    flips = {dim: slice(None, None, -1) for dim, turned in ((found.y, a.e > 0), (found.x, a.a < 0)) if turned}
    ds = ds.isel(flips)
    for dim in flips:
        if "resolution" in ds[dim].attrs:
            ds[dim].attrs["resolution"] = -float(ds[dim].attrs["resolution"])
    return locate(ds), ds


def _target(to: object, region: object, source: Located) -> tuple[GeoBox, Hashable, Hashable]:
    if isinstance(to, str):
        if region is not None:
            target = ease_grid(to, region)
        else:
            from xsoil.grids.overlap import footprint_on

            target = footprint_on(named_grid(to), source.geobox)
        return target, *target.dimensions
    if region is not None:
        raise ArgumentError(
            f"region goes with the name of a grid ({', '.join(EASE_GRIDS)}); the target given has its own extent"
        )
    found = locate(to)
    return found.geobox, found.y, found.x


def _operators(how: object, spatial: list[Hashable], ds: xr.Dataset) -> dict[Hashable, str]:
    if isinstance(how, str):
        table: dict[Hashable, str] = dict.fromkeys(spatial, how)
    elif isinstance(how, Mapping):
        unknown = [name for name in how if name not in spatial]
        if unknown:
            raise MissingVariableError(f"how= names {unknown[0]!r}, not among the maps {sorted(map(str, spatial))}")
        table = {name: cast(str, how.get(name, "mean")) for name in spatial}
    else:
        raise ArgumentError(f"how={how!r}; expected one of {HOWS} or a dict {{variable: operator}}")
    for name, operator in table.items():
        if operator not in HOWS:
            raise UnknownNameError.of("operator", operator, HOWS)
        attrs, variable = ds[name].attrs, VARIABLES.get(str(name))
        if "flag_masks" in attrs and ds[name].dtype.kind in "iu" and not (isinstance(how, Mapping) and name in how):
            table[name] = UNION
            continue
        is_class = "flag_values" in attrs or "flag_masks" in attrs or (variable is not None and variable.kind != "real")
        if operator in ("mean", "sum") and is_class:
            raise ArgumentError(
                f"{name!r} holds classes or flags, which have no {operator}; "
                f"use how={{{str(name)!r}: 'nearest'}} (or min, max), or drop it with ds.drop_vars({str(name)!r})"
            )
        if ds[name].dtype.kind not in "fiub":
            raise ArgumentError(
                f"{name!r} is {ds[name].dtype}; expected numbers: drop it with ds.drop_vars({str(name)!r})"
            )
    return table


def _one(
    var: xr.DataArray,
    source: Located,
    overlap: Any,
    how: str,
    min_valid: float,
    chunks: int | tuple[int, int] | None,
    valid_fraction: bool,
) -> tuple[Any, Any]:
    """Data of the result (and of its valid fraction), numpy for numpy and dask for dask."""
    var = var.transpose(..., source.y, source.x)
    if how == UNION:
        bits = int(np.bitwise_or.reduce(np.atleast_1d(var.attrs["flag_masks"]).astype(np.int64)))
        step = _lazy.TileReduction(overlap, how, 0.0, np.dtype(np.float32), var.dtype, 0, valid_fraction, bits)
        return _lazy.map_tiles(var.data, step, chunks)
    packed = var.attrs.get("scale_factor", 1.0) != 1.0 or var.attrs.get("add_offset", 0.0) != 0.0
    integer = var.dtype.kind in "iub" and not packed and how in ("min", "max", "nearest")
    fill = _fill(var) if integer else None
    decoded = _inputs.decode(var)
    exact = (
        decoded.dtype
        if decoded.dtype.kind == "f"
        else np.dtype(np.float32 if decoded.dtype.itemsize <= 2 else np.float64)
    )
    if exact.itemsize < 4:
        exact = np.dtype(np.float32)
    if integer:
        out = np.dtype(np.uint8) if var.dtype.kind == "b" else var.dtype.newbyteorder("=")
    else:
        out = exact if var.dtype.kind == "f" else np.dtype(np.float64)
    step = _lazy.TileReduction(overlap, how, min_valid, exact, out, fill, valid_fraction)
    return _lazy.map_tiles(decoded.data, step, chunks)


def _fill(var: xr.DataArray) -> int:
    """The integer that marks missing cells of a result that stays integer."""
    nodata = _inputs.nodata_of(var)
    if nodata is not None:
        return int(nodata)
    variable = VARIABLES.get(str(var.name))
    if variable is not None and variable.kind == "class":
        return 0
    if var.dtype.kind == "b":
        return 255
    info = np.iinfo(var.dtype)
    return int(info.min if info.min < 0 else info.max)


def _attrs(var: xr.DataArray, how: str) -> dict[str, Any]:
    attrs = {k: v for k, v in var.attrs.items() if k not in (*_inputs.STORAGE_ATTRS, "grid_mapping", "cell_methods")}
    if how in CELL_METHODS:
        attrs["cell_methods"] = f"area: {CELL_METHODS[how]}"
    return attrs


def _is_mapping(coord: xr.DataArray) -> bool:
    return coord.ndim == 0 and bool({"crs_wkt", "spatial_ref", "grid_mapping_name"} & set(coord.attrs))


def _extent(geobox: GeoBox) -> str:
    box = geobox.boundingbox
    return f"x {box.left:.6g}..{box.right:.6g}, y {box.bottom:.6g}..{box.top:.6g} in {geobox.crs.epsg or geobox.crs}"
