"""Chunks, shards and compression of a new Zarr store, and the dask blocks that fill them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError

CHUNK_BYTES = 64 * 2**20
"""Largest chunk of a new store, before compression: a reader needs some of these at a time, and blosc takes 2 GiB."""


def laid_out(ds: xr.Dataset, chunks: Mapping[Hashable, int], shards: Mapping[Hashable, int]) -> xr.Dataset:
    """Set chunks, shards and compression of every variable, and align the dask blocks to them."""
    from zarr.codecs import BloscCodec

    out = ds.copy(deep=False)
    for name, variable in ds.variables.items():
        blocks, stored, shard = layout_of(variable, chunks, shards)
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


def layout_of(
    variable: xr.Variable, chunks: Mapping[Hashable, int], shards: Mapping[Hashable, int]
) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...], tuple[int, ...] | None]:
    """Dask blocks to write, chunk of the store, and shard or None."""
    if any(math.isnan(block) for sizes in variable.chunks or () for block in sizes):
        raise ArgumentError(
            f"a variable on {[str(dim) for dim in variable.dims]} has dask blocks of unknown size; compute them first: "
            "variable.data.compute_chunk_sizes()"
        )
    blocks, stored, shard = [], [], []
    for axis, dim in enumerate(variable.dims):
        size = variable.shape[axis]
        have = variable.chunks[axis] if variable.chunks is not None else (size,)
        chunk = min(int(chunks.get(dim, 0)) or max(*have, 1), max(size, 1))
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
