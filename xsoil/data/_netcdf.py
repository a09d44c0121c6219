"""Files of netCDF (or Zarr), local or remote, opened lazily by xarray."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping

import xarray as xr
import zarr

from xsoil.data._hostile import require_no_pickles
from xsoil.data._paths import is_remote, name_of
from xsoil.errors import ArgumentError, FileError, SoilError, TimeError

Source = xr.Dataset | str | os.PathLike[str]


def open_one(path: str) -> xr.Dataset:
    """A file as xarray sees it: lazily indexed, no dask yet; or an error that says what it is instead."""
    try:
        if path.rstrip("/").endswith(".zarr"):
            require_no_pickles(zarr.open_group(path, mode="r"), name_of(path))
            store: xr.Dataset = xr.open_zarr(path, chunks=None)
            return store
        if not is_remote(path):
            return xr.open_dataset(path)
        import fsspec  # type: ignore[import-untyped, import-not-found, unused-ignore]

        return xr.open_dataset(fsspec.open(path, "rb").open(), engine="h5netcdf")
    except SoilError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        text = str(error).strip().splitlines()
        if isinstance(error, FileNotFoundError):
            raise ArgumentError(f"no file {path!r}; check the path") from error
        raise FileError(
            f"{name_of(path)!r} cannot be read as netCDF ({text[0] if text else type(error).__name__}); if it was "
            f"cut short "
            "or is a web page in place of the data, load it again"
        ) from error


def chunked(ds: xr.Dataset, dim: str, step: int, chunks: Mapping[str, int] | None = None) -> xr.Dataset:
    """Give a lazily indexed dataset dask chunks: about 64 MB, a multiple of `step` along `dim`, or those asked for.

    A dataset that has chunks keeps them.
    """
    if chunks is not None:
        return ds.chunk({name: size for name, size in chunks.items() if name in ds.dims})
    if ds.chunks:
        return ds
    each = max((ds[name].nbytes // ds.sizes[dim] for name in ds.data_vars if dim in ds[name].dims), default=1)
    length = max(int(64e6 / max(each, 1)) // step, 1) * step
    return ds.chunk({dim: min(length, ds.sizes[dim])} | {d: -1 for d in ds.dims if d != dim})


def first_name(ds: xr.Dataset, names: tuple[str, ...], what: str) -> str:
    """The first of some names that the dataset has."""
    for name in names:
        if name in ds.variables or name in ds.dims:
            return name
    raise FileError(f"no {what} ({' or '.join(names)}) among {sorted(map(str, ds.variables))}; is it another product?")


def joined(parts: list[xr.Dataset], dim: str) -> xr.Dataset:
    """Lazy datasets of different times, or of different variables, as one; the same time twice is an error."""
    if len(parts) == 1:
        return parts[0]
    rows: dict[Hashable, xr.DataArray] = {}
    for name in dict.fromkeys(name for part in parts for name in part.data_vars):
        pieces = sorted((part[name] for part in parts if name in part), key=lambda piece: piece.indexes[dim][0])
        row = (
            pieces[0] if len(pieces) == 1 else xr.concat(pieces, dim, coords="minimal", compat="override", join="exact")
        )
        index = row.indexes[dim]
        if not index.is_monotonic_increasing or index.has_duplicates:
            raise TimeError(f"two files hold the same hours of {name!r}; give each once (drop what was replaced)")
        rows[name] = row
    return xr.merge(rows.values(), join="outer", compat="override")
