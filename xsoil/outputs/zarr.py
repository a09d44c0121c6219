"""Write a dataset as a Zarr v3 store that xarray, rioxarray and GDAL read with the right CRS and transform."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from xsoil.choices import as_table
from xsoil.data.objects import as_dataset, one_nodata
from xsoil.errors import ArgumentError, AxisError
from xsoil.grids.geobox import has_grid, locate, spatial_dims
from xsoil.outputs._layout import laid_out
from xsoil.outputs._paths import STORES, is_file_name, is_remote, local_path, refuse_existing, replacing
from xsoil.outputs._regions import lazy_names, write_at_once
from xsoil.outputs._resume import is_finished_run, write_store
from xsoil.outputs._resume_remote import LAST, PARTIAL, TOKEN, write_remote_store

Resume = bool | Literal["unchecked"]

# Names that mean something else in a store.
RESERVED = (".", "..", PARTIAL, LAST)

DEEPEST = 100
"""Lists within lists of an attribute that JSON cannot hold as it is."""

# What another file said about its storage: wrong, or an error, for the new store.
_LINKS = ("grid_mapping", "coordinates")
_MISSING = ("_FillValue", "missing_value")


def to_zarr(
    ds: xr.Dataset | xr.DataArray,
    path: str | os.PathLike[str],
    *,
    chunks: Mapping[Hashable, int] | None = None,
    shards: Mapping[Hashable, int] | None = None,
    resume: Resume = True,
    overwrite: bool = False,
    progress: bool = True,
) -> Path | str:
    """Write a dataset to a Zarr v3 store.

    All metadata is written first, then each dask block goes to its own region, so no more than the blocks being
    worked on are in memory. Blocks are aligned to the chunks (or shards) of the store: no two tasks write one chunk.
    A local store appears at `path` only when it is complete; an error or interrupt leaves what was there untouched.
    A run that was killed, or that met a full disk, is continued by the same call, and ends with the same bytes as one
    that was not: what is finished is noted, block by block, in a hidden folder beside `path` until all is done. A store
    at a URL (``s3://bucket/soil.zarr``) is written in place, with its notes in ``.partial`` below it; it can be opened
    when it is complete, because the metadata of its group are written last (with an attribute ``xsoil:origin``).

    Parameters
    ----------
    ds : xr.Dataset or named xr.DataArray
        Any dims. Dims, coordinates and attributes are kept. Encodings of the file that the data came from (chunks,
        packing to integers, filters) are not: values are stored as they are in memory, losslessly. The object
        itself is not changed.
    path : str or path
        Folder of the new store, or the URL of one, for which fsspec's package must be installed (s3fs, gcsfs, adlfs);
        credentials and endpoints are those that fsspec finds (environment, ``~/.config/fsspec``).
    chunks : mapping of dim to int, optional
        Cells per chunk of the store along the named dims; otherwise those of dask, where a chunk above 64 MiB is
        divided evenly.
    shards : mapping of dim to int, optional
        Cells per shard (one file of many chunks) along the named dims; a multiple of the chunk. Default: no shards.
        GDAL reads shards from version 3.13.
    resume : bool or "unchecked"
        True: continue an unfinished run of this call, and return at once where its finished store stands at `path`;
        an unfinished run of other data, parameters, files or versions is an error. False: discard an unfinished run.
        "unchecked": continue it also where the computation has another name or files have changed; metadata and chunks
        must still be the same. At a URL nothing can be locked: pass False only when no other process writes there.
    overwrite : bool
        Replace an existing store: a local one when the new one is complete, one at a URL before that. Anything that is
        not a Zarr store is never deleted.
    progress : bool
        Show dask's progress bar (a distributed cluster shows its own on the dashboard).

    Returns
    -------
    Path or str
        `path` (absolute) or URL, to open with ``xr.open_zarr``.

    Raises
    ------
    ArgumentError
        `path` exists, or is being written by another process; an unfinished run there is of something else; `chunks`
        or `shards` do not fit the data.
    CRSError, AxisError
        There are spatial dims, but no CRS or no even axis. (An axis of one cell of unknown size is written without
        a GeoTransform.)

    Notes
    -----
    What a run is made from: metadata and variables in memory, the names that dask gave to the lazy arrays (digests of
    how they are computed, and from what), size and time of change of the local files that the graph reads, and the
    versions of xsoil, numpy, numba, dask, xarray and zarr. Arrays that get a random name in each session (``delayed``,
    ``da.random`` without a seed, functions defined in a notebook) cannot be recognised: "unchecked" is for them.
    Files behind a URL are known by their name alone.

    A task holds its block and one and a half times as much more, while it is compressed.

    Integers with a ``_FillValue`` come back from xarray as floats with NaN; classes (with ``flag_values``) come back as
    they were, because theirs is written as the attribute ``nodata``, which xsoil and rioxarray know, and as the fill
    value of the array, which GDAL knows.

    Where the dataset has spatial dims, every variable on them carries ``grid_mapping``, which names a variable
    with ``crs_wkt``, the CF parameters and ``GeoTransform``; the group carries ``proj:code`` (or ``proj:wkt2``) and
    ``spatial:dimensions``, ``spatial:transform``, ``spatial:shape`` and ``spatial:bbox``, the names that GeoZarr
    proposes. GDAL reads such stores from version 3.11, the first with the final Zarr v3 format.

    Examples
    --------
    >>> import tempfile, os, numpy as np, xarray as xr
    >>> from odc.geo.xr import xr_zeros
    >>> from xsoil.grids.ease import ease_grid
    >>> soil = xr_zeros(ease_grid("EASE2_M36km", "conus"), "float32").to_dataset(name="sand")
    >>> store = to_zarr(soil, os.path.join(tempfile.mkdtemp(), "soil.zarr"), progress=False)
    >>> xr.open_zarr(store)["sand"].shape
    (71, 157)
    """
    ds, remote = as_dataset(ds), is_remote(path)
    for what, sizes in (("chunks", chunks), ("shards", shards)):
        _check_sizes(ds, what, sizes)
    if not isinstance(resume, bool) and resume != "unchecked":
        raise ArgumentError(f"resume={resume!r}; expected True, False or 'unchecked'")
    _check_names(ds)
    stored = laid_out(described(ds), chunks or {}, shards or {})
    if remote:
        url = os.fspath(path)
        write_remote_store(stored, url, resume=resume, overwrite=overwrite, progress=progress)
        return url
    local = local_path(path)
    lazy = bool(lazy_names(stored))
    if not (lazy and resume is not False and not overwrite and is_finished_run(local)):
        refuse_existing(local, overwrite=overwrite, replaceable=_is_store, what="a Zarr store alone")
    if lazy:
        write_store(stored, local, resume=resume, overwrite=overwrite, progress=progress)
        return local
    with replacing(local) as temporary:
        write_at_once(stored, temporary, progress=progress)
    return local


def _is_store(path: Path) -> bool:
    if not any((path / name).is_file() for name in STORES):
        return False
    # Chunks of a bare array of format 2 are named 0.0; other files that do not hide are somebody's notes.
    files = (entry.name for entry in path.iterdir() if entry.is_file() and not entry.name.startswith("."))
    return all(name in STORES or not name.strip("0123456789.") for name in files)


def _check_names(ds: xr.Dataset) -> None:
    for name in ds.variables:
        good = isinstance(name, str) and is_file_name(name) and name not in RESERVED
        if not good or any(sign in str(name) for sign in "*?["):
            raise ArgumentError(
                f"a variable is named {name!r}, which no folder can be; rename it: ds.rename({{{name!r}: ...}})"
            )
    for dim in ds.dims:
        if not isinstance(dim, str):
            raise ArgumentError(f"a dim is named {dim!r}; expected text: ds.rename({{{dim!r}: {str(dim)!r}}})")


def _check_sizes(ds: xr.Dataset, what: str, sizes: Mapping[Hashable, int] | None) -> None:
    for dim, size in as_table(what, sizes, "{'y': 512, 'x': 512}").items():
        if dim not in ds.dims:
            raise ArgumentError(f"{what} names {dim!r}, which is not among the dims {[str(d) for d in ds.dims]}")
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
            raise ArgumentError(f"{what}[{dim!r}] is {size!r}; expected a whole number of cells, 1 or more")


def described(ds: xr.Dataset) -> xr.Dataset:
    """A copy with the metadata that a file needs: grid mapping, axes, links; without the storage of other files."""
    return _georeferenced(_undecorated(ds))


def _undecorated(ds: xr.Dataset) -> xr.Dataset:
    """A copy without the storage of other files, whose attributes can be written as JSON."""
    out = ds.copy(deep=False)
    out.encoding = {}
    out.attrs = {str(k): _plain(v) for k, v in ds.attrs.items() if k not in ("coordinates", TOKEN)}
    out.attrs.setdefault("Conventions", "CF-1.11")
    for name, source in ds.variables.items():
        variable = out.variables[name]
        variable.attrs = {str(k): _plain(v) for k, v in source.attrs.items() if k not in (*_LINKS, *_MISSING)}
        # An undecoded nodata value belongs into the encoding: the reader then masks it, as the attribute says.
        missing = one_nodata(ds[name], [source.attrs.get(k) for k in _MISSING]) if source.dtype.kind in "iuf" else None
        variable.encoding = {}
        if missing is not None and source.dtype.kind in "iu" and "flag_values" in source.attrs:
            # Classes come back as classes: readers make floats of integers that have a _FillValue.
            variable.attrs["nodata"] = int(missing)
        elif missing is not None:
            variable.encoding["_FillValue"] = np.asarray(missing).astype(source.dtype)[()]
        elif name in out.indexes and source.dtype.kind == "f":
            variable.encoding["_FillValue"] = None  # coordinates have no gaps
        if "grid_mapping" in (mapping := {**source.attrs, **source.encoding}):
            variable.encoding["grid_mapping"] = str(mapping["grid_mapping"])
    return out


def _plain(value: Any, depth: int = 0) -> Any:
    """The value as JSON can hold it; what it cannot hold becomes text."""
    if depth > DEEPEST:
        raise ArgumentError(f"an attribute holds lists or tables {DEEPEST} deep, or itself; delete it from .attrs")
    if isinstance(value, np.generic):
        value = value.item()
    elif isinstance(value, np.ndarray):
        value = value.tolist()
    elif isinstance(value, bytes):
        value = value.decode(errors="replace")
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        if isinstance(value, Mapping):
            return {str(k): _plain(v, depth + 1) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [_plain(v, depth + 1) for v in value]
        return str(value)
    return value


def _georeferenced(ds: xr.Dataset) -> xr.Dataset:
    """Add the grid mapping, coordinates and GeoZarr attributes of a dataset with spatial dims (in place of a copy)."""
    if not has_grid(ds):
        return _linked(ds)
    try:
        located = locate(ds)
    except AxisError:
        if all(ds.sizes[dim] > 1 for dim in spatial_dims(ds)):
            raise
        return _linked(ds)  # one cell of unknown size: nothing to say beyond its coordinates
    geobox, y, x = located.geobox, located.y, located.x
    crs, affine = geobox.crs, geobox.transform
    on_grid = [name for name, v in ds.variables.items() if {y, x} <= set(v.dims)]
    named = {ds.variables[n].encoding.get("grid_mapping", "").split(":")[0].strip() for n in on_grid}
    name = next((n for n in sorted(named) if n in ds.variables), "spatial_ref")
    old = ds.variables.get(name)
    if old is not None and old.ndim:
        raise ArgumentError(f"{name!r} holds data, but the grid mapping needs that name; ds.rename({{{name!r}: ...}})")
    mapping: dict[str, Any] = dict(crs.proj.to_cf())
    mapping["crs_wkt"] = mapping["spatial_ref"] = crs.to_wkt()
    mapping["GeoTransform"] = " ".join(repr(float(v)) for v in affine.to_gdal())
    value = np.int64(0) if old is None else old.data
    out = ds.assign_coords({name: xr.Variable((), value, mapping)})
    for dim, axis, values in ((y, "Y", affine.f + affine.e * (np.arange(geobox.shape.y) + 0.5)),
                              (x, "X", affine.c + affine.a * (np.arange(geobox.shape.x) + 0.5))):  # fmt: skip
        if dim not in out.coords:
            out = out.assign_coords({dim: xr.Variable(dim, values, encoding={"_FillValue": None})})
        for key, value in _axis_attrs(axis, crs).items():
            out[dim].attrs.setdefault(key, value)
    for variable_name in on_grid:
        out.variables[variable_name].encoding["grid_mapping"] = name
    box = geobox.boundingbox
    code = crs.epsg
    out.attrs = {k: v for k, v in out.attrs.items() if not str(k).startswith(("proj:", "spatial:"))} | {
        **({"proj:code": f"EPSG:{code}"} if code else {"proj:wkt2": crs.to_wkt()}),
        "spatial:dimensions": [str(y), str(x)],
        "spatial:transform": [float(v) for v in affine[:6]],
        "spatial:shape": [int(v) for v in geobox.shape],
        "spatial:bbox": [float(v) for v in box.bbox],
    }
    return _linked(out)


def _linked(ds: xr.Dataset) -> xr.Dataset:
    """Name the coordinates of each variable, and drop references to a grid mapping that is not there.

    xarray would leave out the grid mapping, which xarray and rioxarray then restore only with
    ``decode_coords="all"``, and any coordinate whose name is part of the mapping's ("t" in "spatial_ref").
    """
    for name, variable in ds.variables.items():
        mapping = variable.encoding.get("grid_mapping")
        if mapping is not None and mapping.split(":")[0].strip() not in ds.variables:
            del variable.encoding["grid_mapping"]
        if name in ds.data_vars:
            own = [str(c) for c, v in ds.coords.items() if c not in ds.dims and set(v.dims) <= set(variable.dims)]
            if named := sorted(c for c in own if " " not in c):
                variable.encoding["coordinates"] = " ".join(named)
    return ds


def _axis_attrs(axis: str, crs: Any) -> dict[str, str]:
    if crs.geographic:
        which = {"Y": ("latitude", "degrees_north"), "X": ("longitude", "degrees_east")}[axis]
        return {"standard_name": which[0], "units": which[1], "axis": axis}
    return {
        "standard_name": f"projection_{axis.lower()}_coordinate",
        "units": "m" if crs.units[0] in ("metre", "meter") else crs.units[0],
        "axis": axis,
    }
