"""Write a dataset as a Zarr v3 store that xarray, rioxarray and GDAL read with the right CRS and transform."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Hashable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xsoil.data.objects import as_dataset
from xsoil.errors import ArgumentError, AxisError
from xsoil.grids.geobox import has_grid, locate, spatial_dims
from xsoil.outputs._paths import is_remote, refuse_existing, replacing

CHUNK_BYTES = 64 * 2**20
"""Largest chunk of a new store, before compression: a reader needs some of these at a time, and blosc takes 2 GiB."""

# What another file said about its storage: wrong, or an error, for the new store.
_LINKS = ("grid_mapping", "coordinates")
_MISSING = ("_FillValue", "missing_value")


def to_zarr(
    ds: xr.Dataset | xr.DataArray,
    path: str | os.PathLike[str],
    *,
    chunks: Mapping[Hashable, int] | None = None,
    shards: Mapping[Hashable, int] | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Path | str:
    """Write a dataset to a Zarr v3 store.

    All metadata is written first, then each dask block goes to its own region, so no more than the blocks being
    worked on are in memory. Blocks are aligned to the chunks (or shards) of the store: no two tasks write one chunk.
    A local store appears at `path` only when it is complete; an error or interrupt leaves what was there untouched.

    Parameters
    ----------
    ds : xr.Dataset or named xr.DataArray
        Any dims. Dims, coordinates and attributes are kept. Encodings of the file that the data came from (chunks,
        packing to integers, filters) are not: values are stored as they are in memory, losslessly. The object
        itself is not changed.
    path : str or path
        Folder of the new store, or a URL that zarr can write to (which is written in place).
    chunks : mapping of dim to int, optional
        Cells per chunk of the store along the named dims; otherwise those of dask, where a chunk above 64 MiB is
        divided evenly.
    shards : mapping of dim to int, optional
        Cells per shard (one file of many chunks) along the named dims; a multiple of the chunk. Default: no shards.
        GDAL reads shards from version 3.13.
    overwrite : bool
        Replace an existing store. Anything that is not a Zarr store is never deleted.
    progress : bool
        Show dask's progress bar (a distributed cluster shows its own on the dashboard).

    Returns
    -------
    Path or str
        `path`, to open with ``xr.open_zarr(path)``.

    Raises
    ------
    ArgumentError
        `path` exists, or `chunks` or `shards` do not fit the data.
    CRSError, AxisError
        There are spatial dims, but no CRS or no even axis. (An axis of one cell of unknown size is written without
        a GeoTransform.)

    Notes
    -----
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
    ds = as_dataset(ds)
    for what, sizes in (("chunks", chunks), ("shards", shards)):
        _check_sizes(ds, what, sizes)
    stored = _laid_out(described(ds), chunks or {}, shards or {})
    if is_remote(path):
        _write(stored, os.fspath(path), mode="w" if overwrite else "w-", progress=progress)
        return os.fspath(path)
    local = Path(path)
    refuse_existing(local, overwrite=overwrite, replaceable=_is_store, what="a Zarr store")
    with replacing(local) as temporary:
        _write(stored, os.fspath(temporary), mode="w-", progress=progress)
    return local


def _is_store(path: Path) -> bool:
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zattrs", ".zmetadata"))


def _check_sizes(ds: xr.Dataset, what: str, sizes: Mapping[Hashable, int] | None) -> None:
    for dim, size in (sizes or {}).items():
        if dim not in ds.dims:
            raise ArgumentError(f"{what} names {dim!r}, which is not among the dims {[str(d) for d in ds.dims]}")
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
            raise ArgumentError(f"{what}[{dim!r}] is {size!r}; expected a whole number of cells, 1 or more")


def _write(ds: xr.Dataset, target: str, *, mode: Any, progress: bool) -> None:
    from dask.diagnostics import ProgressBar

    lazy = any(variable.chunks is not None for variable in ds.variables.values())
    with warnings.catch_warnings():
        # Consolidated metadata makes opening one request, and xarray warns on reading where it is absent.
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        warnings.filterwarnings("ignore", message=".*does not have a Zarr V3 specification", category=FutureWarning)
        template = ds.to_zarr(target, mode=mode, compute=False, zarr_format=3, consolidated=True)
    with ProgressBar() if progress and lazy else nullcontext():
        template.compute()


def described(ds: xr.Dataset) -> xr.Dataset:
    """A copy with the metadata that a file needs: grid mapping, axes, links; without the storage of other files."""
    return _georeferenced(_undecorated(ds))


def _undecorated(ds: xr.Dataset) -> xr.Dataset:
    """A copy without the storage of other files, whose attributes can be written as JSON."""
    out = ds.copy(deep=False)
    out.encoding = {}
    out.attrs = {str(k): _plain(v) for k, v in ds.attrs.items() if k != "coordinates"}
    out.attrs.setdefault("Conventions", "CF-1.11")
    for name, source in ds.variables.items():
        variable = out.variables[name]
        variable.attrs = {str(k): _plain(v) for k, v in source.attrs.items() if k not in (*_LINKS, *_MISSING)}
        # An undecoded nodata value belongs into the encoding: the reader then masks it, as the attribute says.
        missing = next((source.attrs[k] for k in _MISSING if source.attrs.get(k) is not None), None)
        variable.encoding = {}
        if missing is not None and source.dtype.kind in "iu" and "flag_values" in source.attrs:
            # Classes come back as classes: readers make floats of integers that have a _FillValue.
            variable.attrs["nodata"] = _plain(np.ravel(missing)[0])
        elif missing is not None and source.dtype.kind in "iuf":
            variable.encoding["_FillValue"] = source.dtype.type(np.ravel(missing)[0])
        elif name in out.indexes and source.dtype.kind == "f":
            variable.encoding["_FillValue"] = None  # coordinates have no gaps
        if "grid_mapping" in (mapping := {**source.attrs, **source.encoding}):
            variable.encoding["grid_mapping"] = str(mapping["grid_mapping"])
    return out


def _plain(value: Any) -> Any:
    """The value as JSON can hold it; what it cannot hold becomes text."""
    if isinstance(value, np.generic):
        value = value.item()
    elif isinstance(value, np.ndarray):
        value = value.tolist()
    elif isinstance(value, bytes):
        value = value.decode(errors="replace")
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        if isinstance(value, Mapping):
            return {str(k): _plain(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [_plain(v) for v in value]
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


def _laid_out(ds: xr.Dataset, chunks: Mapping[Hashable, int], shards: Mapping[Hashable, int]) -> xr.Dataset:
    """Set chunks, shards and compression of every variable, and align the dask blocks to them."""
    from zarr.codecs import BloscCodec

    out = ds.copy(deep=False)
    for name, variable in ds.variables.items():
        blocks, stored, shard = _layout(variable, chunks, shards)
        if variable.chunks is not None and variable.chunks != blocks:
            encoding = variable.encoding
            variable = variable.chunk(dict(zip(variable.dims, blocks)))
            variable.encoding = encoding
            out[name] = variable
        encoding = out.variables[name].encoding
        if variable.ndim and variable.size:
            encoding["chunks"] = stored
            if shard is not None:
                encoding["shards"] = shard
        if variable.dtype.kind in "iufb":
            # blosc is in the core of the Zarr v3 specification, plain zstd is not
            encoding["compressors"] = (BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"),)
        if variable.dtype.kind in "iu" and variable.ndim:
            # GDAL takes the fill value as nodata; zarr's default, 0, is a value like any other.
            info = np.iinfo(variable.dtype)
            unused = info.max if variable.dtype.kind == "u" else info.min
            nodata = variable.attrs.get("nodata")
            if not isinstance(nodata, int) or not info.min <= nodata <= info.max:
                nodata = unused
            encoding["fill_value"] = encoding.get("_FillValue", variable.dtype.type(nodata))
    return out


def _layout(
    variable: xr.Variable, chunks: Mapping[Hashable, int], shards: Mapping[Hashable, int]
) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...], tuple[int, ...] | None]:
    """Dask blocks to write, chunk of the store, and shard or None."""
    blocks, stored, shard = [], [], []
    for axis, dim in enumerate(variable.dims):
        size = variable.shape[axis]
        have = variable.chunks[axis] if variable.chunks is not None else (size,)
        chunk = min(int(chunks.get(dim, 0)) or max(have), max(size, 1))
        unit = min(int(shards.get(dim, 0)) or chunk, max(size, 1))
        if unit < size and unit % chunk:
            if dim in chunks:
                raise ArgumentError(f"shards[{dim!r}] = {unit} is not a multiple of chunks[{dim!r}] = {chunk}")
            chunk = unit
        elif unit >= size:
            unit = math.ceil(size / chunk) * chunk if size else chunk
        # A block holds whole units: as many as fit into the largest block that dask has now.
        length = min(unit * max(1, max(have) // unit), max(size, 1))
        regular = (
            all(c == have[0] for c in have[:-1]) and have[-1] <= have[0] and (len(have) == 1 or have[0] % unit == 0)
        )
        blocks.append(tuple(have) if regular else _even(size, length))
        stored.append(chunk)
        shard.append(unit)
    free = [axis for axis, dim in enumerate(variable.dims) if dim not in chunks and dim not in shards]
    itemsize = max(variable.dtype.itemsize, 1)
    while math.prod(stored) * itemsize > CHUNK_BYTES:
        # Divide the longest chunk; one that must tile a block evenly stays whole if prime.
        choices = {a: d for a in free if (d := _divisor(stored[a], single=len(blocks[a]) == 1)) is not None}
        if not choices:
            break
        axis = max(choices, key=lambda a: stored[a])
        stored[axis] = math.ceil(stored[axis] / choices[axis])
    use_shards = bool(shards) and any(dim in shards for dim in variable.dims)
    if use_shards:
        shard = [math.ceil(s / c) * c for s, c in zip(shard, stored)]
    return tuple(blocks), tuple(stored), tuple(shard) if use_shards else None


def _even(size: int, length: int) -> tuple[int, ...]:
    full, rest = divmod(size, length)
    return (length,) * full + ((rest,) if rest else ()) if size else (0,)


def _divisor(length: int, *, single: bool) -> int | None:
    """Smallest number of equal parts (two or more) that tile `length`; a single block may end in a shorter part."""
    if length < 2:
        return None
    if single:
        return 2
    return next((d for d in range(2, 65) if length % d == 0), None)
