"""`save_weights`: exact weights as a file that ESMF's, xESMF's and xsoil's readers take."""

from __future__ import annotations

import os
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from xsoil.errors import ArgumentError, NoOverlapError, UnknownNameError
from xsoil.grids.geobox import locate
from xsoil.verbs import _regrid

HOWS = {
    "mean": ("Conservative remapping", "First-order Conservative"),
    "nearest": ("Nearest source to destination", "Nearest source to destination"),
    "bilinear": ("Bilinear remapping", "Bilinear"),
}
"""What can be saved, and what ESMF's files call it (map_method, ESMF_regrid_method)."""

LONG_NAMES = {
    "S": "weights for mapping a->b",
    "row": "column of destination grid in mapping matrix",
    "col": "column of source grid in mapping matrix",
}


def save_weights(
    path: str | PathLike[str],
    source: object,
    to: object,
    how: Literal["mean", "nearest", "bilinear"] = "mean",
    *,
    region: object = None,
    normed: bool = False,
    corners: bool = True,
    overwrite: bool = False,
) -> Path:
    """Write xsoil's exact weights between two grids as an ESMF weight file.

    For ``xesmf.Regridder(ds, target, "conservative", weights=path)``, for tools that read ESMF's files, and for
    `apply_weights`. `upscale` needs no file: it makes the weights of a tile inside its task.

    Parameters
    ----------
    path : str or path
        File to write (netCDF 4).
    source : str, GeoBox, xr.Dataset or xr.DataArray
        Source grid: the weights belong to arrays in its direction.
    to : str, GeoBox, xr.Dataset or xr.DataArray
        Target grid; a name stands for its part that covers the source.
    how : {"mean", "nearest", "bilinear"}
        mean: true overlap area / area of the target cell. nearest: 1 for the source cell that holds the target's
        centre. bilinear: of the four source centres around it, in the source's CRS.
    region : str or tuple of float, optional
        With a named grid: ``"conus"``, (west, south, east, north) in degrees, or an object to cover.
    normed : bool
        Divide by the sum over each target cell, so that partly covered cells get the mean of what covers them
        (ESMF's "fracarea", xESMF's "conservative_normed"). Else (ESMF's "destarea") the sum is the covered part of the
        cell, which gives `min_valid` of `apply_weights` the meaning that it has in `upscale`.
    corners : bool
        Write the corners of the cells too (64 bytes for each).
    overwrite : bool
        Replace a file that is there.

    Returns
    -------
    Path
        The file, with ``row``, ``col``, ``S`` (12 to 16 bytes a weight), ``src_grid_dims``, ``dst_grid_dims`` and
        centres, corners, areas [square radians], fractions and masks of both grids.

    Raises
    ------
    NoOverlapError
        The grids have no cell in common.
    UnknownNameError
        Unknown `how` or grid.
    ArgumentError
        The file is there, the path is a folder or in none that exists or can be written to, no library that writes
        netCDF.

    Notes
    -----
    All weights are in memory while they are made (about 60 bytes each). ESMF's own conservative weights differ, as its
    cells have great circles for edges and it takes geodetic latitudes for spherical ones: by up to 1e-4 of a cell
    for 0.1 degree to 36 km.

    See Also
    --------
    apply_weights : Use such a file without ESMF.

    Examples
    --------
    >>> import xsoil
    >>> fine = xsoil.ease_grid("EASE2_M09km", (5, 45, 8, 47))
    >>> path = xsoil.save_weights("weights.nc", fine, "EASE2_M36km")
    >>> xsoil.apply_weights(xsoil.data.synthetic_soil(fine), path, "EASE2_M36km").sand.shape
    (6, 9)
    """
    from xsoil.grids import weights

    if how not in HOWS:
        raise UnknownNameError.of("operator with weights", how, HOWS)
    if normed and how == "nearest":
        raise ArgumentError("normed=True with how='nearest'; its weights are 1: leave normed out")
    file = Path(path)
    if file.is_dir():
        raise ArgumentError(f"{str(path)!r} is a folder; expected the path of a file in it: '{file / 'weights.nc'}'")
    if not file.parent.is_dir():
        raise ArgumentError(f"the folder {str(file.parent)!r} does not exist; make it first, or give another path")
    if file.exists() and not overwrite:
        raise ArgumentError(f"{str(path)!r} is there already; give another path, or overwrite=True")
    ours = locate(source)
    target, _, _ = _regrid.target_of(to, region, ours)
    make: Callable[[GeoBox, GeoBox], Any] = {
        "mean": weights.mean_weights,
        "nearest": weights.nearest_weights,
        "bilinear": weights.bilinear_weights,
    }[how]
    row, col, weight = make(ours.geobox, target)
    if row.size == 0:
        _regrid.require_overlap(ours, target)
        raise NoOverlapError("no target cell gets a weight from the source; check the CRS and the extent of both grids")
    _write(_dataset(ours.geobox, target, row, col, weight, how, normed, corners), file)
    return file


def _dataset(
    source: GeoBox,
    target: GeoBox,
    row: np.ndarray,
    col: np.ndarray,
    weight: np.ndarray,
    how: str,
    normed: bool,
    corners: bool,
) -> xr.Dataset:
    from xsoil.grids.areas import cell_areas
    from xsoil.grids.crs import crs_text, working_crs
    from xsoil.grids.esmf import describe_grid

    working = working_crs(target)
    cells_a, cells_b = int(np.prod(source.shape)), int(np.prod(target.shape))
    covered_b = np.bincount(row, weight, minlength=cells_b)
    covered_a = np.zeros(cells_a)
    if how == "mean":
        areas = [np.broadcast_to(cell_areas(box, working), box.shape).ravel() for box in (source, target)]
        covered_a = np.bincount(col, weight * areas[1][row], minlength=cells_a) / areas[0]
    if normed:
        weight = weight / covered_b[row]
    index = np.int32 if max(cells_a, cells_b) < 2**31 else np.int64
    arrays = {"S": weight, "row": (row + 1).astype(index), "col": (col + 1).astype(index)}
    variables = {name: xr.Variable("n_s", a, {"long_name": LONG_NAMES[name]}) for name, a in arrays.items()}
    for box, side, covered in ((source, "a", covered_a), (target, "b", covered_b)):
        for name, values in describe_grid(box, side, working, covered, corners=corners).items():
            rank = f"{'src' if side == 'a' else 'dst'}_grid_rank"
            dims: tuple[str, ...] = (f"n_{side}",) if values.ndim == 1 else (f"n_{side}", f"nv_{side}")
            if name.endswith("_dims"):
                dims = (rank,)
            units = {"x": "degrees", "y": "degrees", "a": "square radians"}.get(name[0])
            variables[name] = xr.Variable(dims, values, {"units": units} if units else {})
    method, esmf_method = HOWS[how]
    attrs = {
        "title": "xsoil weight file",
        "normalization": "fracarea" if normed else "destarea",
        "map_method": method,
        "ESMF_regrid_method": esmf_method,
        "conventions": "NCAR-CSM",
        "crs_a": crs_text(source),
        "crs_b": crs_text(target),
        "areas_in": working,
    }
    return xr.Dataset(variables, attrs=attrs)


def _write(ds: xr.Dataset, file: Path) -> None:
    """Beside the place first, so that an interrupted call leaves no half file."""
    part = file.with_name(f".{file.name}.part")
    try:
        ds.to_netcdf(part, format="NETCDF4", encoding={name: {"_FillValue": None} for name in ds.variables})
        os.replace(part, file)
    except OSError as error:
        raise ArgumentError(
            f"cannot write {str(file)!r} ({error.strerror or error}); "
            "expected a folder that has room and may be written to"
        ) from error
    except (ValueError, ImportError) as error:
        raise ArgumentError(
            f"cannot write netCDF ({str(error).splitlines()[0]}); expected h5netcdf or netCDF4: "
            'pip install "xsoil[data]"'
        ) from error
    finally:
        part.unlink(missing_ok=True)
