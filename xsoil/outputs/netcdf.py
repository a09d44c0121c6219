"""Write a dataset as netCDF-4 that xarray, rioxarray and GDAL read with the right CRS."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from xsoil.data.objects import as_dataset
from xsoil.errors import ArgumentError
from xsoil.outputs._ledgers import require_promised
from xsoil.outputs._paths import is_remote, local_path, refuse_existing, replacing
from xsoil.outputs._regions import explained
from xsoil.outputs.progress import progress_bar
from xsoil.outputs.zarr import described

SUFFIXES = (".nc", ".nc4")
FLAGS = {"flag_values", "flag_masks"}
COMPRESSION = {"zlib": True, "complevel": 1, "shuffle": True}


def to_netcdf(
    ds: xr.Dataset | xr.DataArray, path: str | os.PathLike[str], *, overwrite: bool = False, progress: bool = True
) -> Path:
    """Write a dataset to one netCDF-4 file, block by block.

    The metadata are those of `xsoil.to_zarr`: grid mapping with ``crs_wkt`` and ``GeoTransform`` for every variable on
    the grid, units and names, and no storage of the file that the data came from. The file appears at `path` only when
    it is complete.

    Parameters
    ----------
    ds : xr.Dataset or named xr.DataArray
        Any dims. Not changed.
    path : str or path
        A local file, ``.nc`` or ``.nc4``.
    overwrite : bool
        Replace an existing file.
    progress : bool
        Show dask's progress bar.

    Returns
    -------
    Path
        `path`, absolute.

    Raises
    ------
    ArgumentError
        An existing file, a URL, another ending.
    CRSError, AxisError
        There are spatial dims, but no CRS or no even axis.
    ImportError
        Neither h5netcdf nor netCDF4 is installed.
    """
    ds = as_dataset(ds)
    if is_remote(path) or (target := local_path(path)).suffix.lower() not in SUFFIXES:
        raise ArgumentError(f"to_netcdf writes local files that end in .nc, found {os.fspath(path)!r}")
    engine: Literal["netcdf4", "h5netcdf"] = "netcdf4" if find_spec("netCDF4") else "h5netcdf"
    if not find_spec("netCDF4") and not find_spec("h5netcdf"):
        raise ImportError('writing netCDF needs netCDF4 or h5netcdf: pip install "xsoil[data]"')
    refuse_existing(target, overwrite=overwrite, replaceable=Path.is_file, what="a file")
    if cut := [name for name in (*ds.variables, *ds.dims) if "\0" in str(name)]:
        raise ArgumentError(f"names with NUL signs, which netCDF cuts there: {cut}; rename them: ds.rename(...)")
    stored = described(ds)
    stored.attrs = {k: v for k, v in stored.attrs.items() if not str(k).startswith(("proj:", "spatial:"))}  # of GeoZarr
    for name, variable in stored.variables.items():
        for key in FLAGS & set(variable.attrs):  # CF: in the type of the variable
            if not isinstance(variable.attrs[key], str):
                variable.attrs[key] = np.asarray(variable.attrs[key]).astype(variable.dtype)
        if variable.ndim and variable.dtype.kind in "iuf":
            variable.encoding |= COMPRESSION
        if variable.chunks is not None and variable.dtype.kind in "biuf":
            lazy, dtype = variable.data, variable.dtype
            variable.data = lazy.map_blocks(_promised, str(name), dtype, dtype=dtype, meta=lazy._meta)
    shown = progress and any(variable.chunks is not None for variable in stored.variables.values())
    with replacing(target) as temporary, progress_bar(shown=shown):
        with explained(stored, "netCDF"):
            writing = stored.to_netcdf(temporary, engine=engine, format="NETCDF4", compute=False)
        writing.compute()
    return target


def _promised(block: Any, name: str, dtype: np.dtype[Any], block_info: Any = None) -> Any:
    require_promised(block, tuple(block_info[None]["chunk-shape"]), dtype, name)
    return block
