"""The other engines of `upscale`: GDAL (through odc-geo) and ESMF (through xESMF).

They take one variable on its grid, spatial dimensions last, and give an array on the target: numpy for numpy,
dask for dask. What they compute is theirs; what counts as missing, and the types of results, are those of xsoil.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from importlib import import_module
from os import PathLike
from types import ModuleType
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords, xr_reproject

from xsoil.errors import ArgumentError, CRSError
from xsoil.grids.crs import EASE_GLOBAL, axis_edges, cell_ratio, crs_text, is_geographic
from xsoil.verbs import _regrid

GDAL = {
    "mean": "average",
    "sum": "sum",
    "min": "min",
    "max": "max",
    "median": "med",
    "mode": "mode",
    "nearest": "nearest",
    "bilinear": "bilinear",
    "cubic": "cubic",
}
"""GDAL's name of each operator that it has, beside the two quantiles."""

GDAL_QUANTILES = {0.25: "q1", 0.5: "med", 0.75: "q3"}

GDAL_WHOLE = ("min", "max", "mode", "nearest")
"""Operators under which integers stay integers."""

XESMF = {
    "mean": "conservative_normed",
    "conservative": "conservative",
    "nearest": "nearest_s2d",
    "bilinear": "bilinear",
    "patch": "patch",
}
"""ESMF's name of each operator that it has."""

WINDOW_BYTES = 32 * 2**20
"""Source bytes that a task of a dask result reads, unless the caller chooses its chunks."""


def gdal_name(how: str, *, q: float | None = None, min_valid: float | None = None) -> str:
    """What GDAL calls an operator, or an error that names what it has."""
    if min_valid is not None:
        raise ArgumentError(
            f"min_valid={min_valid!r} with engine='gdal', which takes any valid part of a cell; leave min_valid out, "
            "or use engine='exact'"
        )
    name = GDAL_QUANTILES.get(float(q)) if how == "quantile" and q is not None else GDAL.get(how)
    if name is None:
        asked = f"quantile {q!r}" if how == "quantile" else f"operator {how!r}"
        raise ArgumentError(
            f"GDAL has no {asked}; it has {', '.join(GDAL)} and the quantiles 0.25, 0.5 and 0.75: use one of them, or "
            "engine='exact'"
        )
    return name


def gdal(
    var: xr.DataArray,
    source: GeoBox,
    target: GeoBox,
    how: str,
    *,
    q: float | None = None,
    min_valid: float | None = None,
    chunks: int | tuple[int, int] | None = None,
) -> Any:
    """One variable on the target by GDAL's warper, through odc-geo.

    Parameters
    ----------
    var : xr.DataArray
        (..., y, x) on `source`, as stored: declared nodata is masked, packed integers are decoded.
    source, target : GeoBox
    how : str
        A key of `GDAL`, or "quantile".
    q : float, optional
        0.25, 0.5 or 0.75.
    min_valid : None
        GDAL has none: anything else is an error.
    chunks : int or (int, int), optional
        Rows and columns of a dask result's chunks.

    Returns
    -------
    array (..., rows, columns)
        Lazy for dask input. Types and fill of integers as `_regrid.types_of` says.

    Notes
    -----
    GDAL computes in the precision that holds the source (float32 or float64) and takes any cell with a valid source
    pixel. For area operators it weights a rectangle around the footprint of the target cell (mode: without
    weights), and lazy results may depend on the chunks.
    """
    name = gdal_name(how, q=q, min_valid=min_valid)
    data, exact, out, fill = _regrid.types_of(var, how in GDAL_WHOLE)
    lead = tuple(f"lead_{n}" for n in range(var.ndim - 2))
    values = data.data if data.dtype == exact else data.data.astype(exact)
    dims = source.dimensions
    array = xr.DataArray(values, dims=(*lead, *dims), coords=xr_coords(source))
    more = {"chunks": _tiles(values, source, target, chunks)} if var.chunks is not None else {}
    warped: Any = xr_reproject(array, target, resampling=name, dst_nodata=np.nan, **more)
    return _typed(warped.data, out, fill)


def xesmf_name(how: str) -> str:
    """What ESMF calls an operator, or an error that names what it has."""
    if how not in XESMF:
        raise ArgumentError(
            f"ESMF has no operator {how!r}; it has {', '.join(XESMF)}: use one of them, or engine='exact'"
        )
    return XESMF[how]


def xesmf(
    var: xr.DataArray,
    source: GeoBox,
    target: GeoBox,
    how: str,
    *,
    min_valid: float = 0.5,
    weights: str | PathLike[str] | None = None,
    chunks: int | tuple[int, int] | None = None,
) -> Any:
    """One variable on the target by ESMF, through xESMF's `Regridder`.

    Parameters
    ----------
    var : xr.DataArray
        (..., y, x) on `source`, as stored: declared nodata is masked, packed integers are decoded.
    source, target : GeoBox
    how : str
        A key of `XESMF`.
    min_valid : float
        Smallest sum of the weights of valid values: xESMF's ``na_thres = 1 - min_valid``.
    weights : str or path, optional
        A weight file (of ESMF, or of `save_weights`) instead of weights made now.
    chunks : int or (int, int), optional
        Rows and columns of a dask result's chunks.

    Returns
    -------
    array (..., rows, columns)
        Floats in the precision that holds the source, float64 for integers.

    Notes
    -----
    ESMF makes the weights of the whole pair of grids at once, when this is called; the data of a dask array are not
    read before they are computed.
    """
    method = xesmf_name(how)
    library = _import_xesmf()
    data, exact, out, _ = _regrid.types_of(var, False)
    given, taken, options = xesmf_arguments(source, target, method)
    if weights is not None:
        options["weights"] = weights
    regridder = library.Regridder(given, taken, method, **options)
    values = data.data.astype(exact, copy=False)
    more: dict[str, Any] = {"skipna": True, "na_thres": 1.0 - min_valid}
    if var.chunks is not None:
        more["output_chunks"] = _tiles(values, source, target, chunks)
    else:
        values = np.ascontiguousarray(values)
    return _typed(regridder(values, **more), out, None)


def xesmf_arguments(source: GeoBox, target: GeoBox, method: str) -> tuple[xr.Dataset, xr.Dataset, dict[str, Any]]:
    """Grids and options for ``xesmf.Regridder``."""
    from xsoil.grids.sparse import turn

    conservative = method.startswith("conservative")
    around = turn(source)
    periodic = not conservative and around is not None and abs(around - source.shape[1]) < 1e-3
    options = {"periodic": periodic, "unmapped_to_nan": True}
    return xesmf_grid(source, bounds=conservative), xesmf_grid(target, bounds=conservative), options


def xesmf_grid(box: GeoBox, *, bounds: bool) -> xr.Dataset:
    """A grid as xESMF takes it: `lon`, `lat` [degrees] of the centres and `lon_b`, `lat_b` of the corners.

    One-dimensional where the axes run along meridians and parallels, else (y, x).
    """
    from xsoil.grids.esmf import corner_places
    from xsoil.grids.sparse import centres

    rows, columns = box.shape
    row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    places = {"": centres(box, row, column)}
    if bounds:
        places["_b"] = corner_places(box)
    a = box.affine
    straight = not (a.b or a.d) and (is_geographic(crs_text(box)) or axis_edges(box, EASE_GLOBAL) is not None)
    coords: dict[Hashable, Any] = {}
    for suffix, (lon, lat) in places.items():
        if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
            raise CRSError(
                f"some cells of the grid in {crs_text(box)[:60]} are no place on Earth, which ESMF needs; "
                "cut them off, or use engine='exact'"
            )
        y, x = f"y{suffix}", f"x{suffix}"
        coords[f"lon{suffix}"] = (x, lon[0]) if straight else ((y, x), lon)
        coords[f"lat{suffix}"] = (y, lat[:, 0]) if straight else ((y, x), lat)
    return xr.Dataset(coords=coords)


def _import_xesmf() -> ModuleType:
    try:
        return import_module("xesmf")
    except (ImportError, KeyError) as error:  # esmpy raises KeyError where it does not find ESMF
        raise ArgumentError(
            f"engine='xesmf' needs xESMF and ESMF, which cannot be imported ({error}); they are not on PyPI: "
            "conda install -c conda-forge xesmf, or use engine='exact', or weights from elsewhere with "
            "xsoil.apply_weights(...)"
        ) from error


def _tiles(values: Any, source: GeoBox, target: GeoBox, chunks: int | tuple[int, int] | None) -> tuple[int, int]:
    """Rows and columns of a chunk of the result: as asked for, else with a source window near WINDOW_BYTES."""
    rows, columns = target.shape
    if chunks is not None:
        pair = (chunks, chunks) if isinstance(chunks, int) else tuple(chunks)
        return min(pair[0], rows), min(pair[1], columns)
    layers = math.prod(max(sizes) for sizes in values.chunks[:-2])
    per_cell = values.dtype.itemsize * layers * max(cell_ratio(source, target), 1.0)
    side = max(int(math.sqrt(WINDOW_BYTES / per_cell)), 1)
    return min(side, rows), min(side, columns)


def _typed(values: Any, out: np.dtype[Any], fill: int | None) -> Any:
    """The result in its type, integers with their fill for NaN; numpy's functions are lazy on dask arrays."""
    if fill is not None:
        values = np.where(np.isnan(values), fill, values)
    return values.astype(out, copy=False)
