"""`open_file`: a file of any kind that xsoil reads, told by its name: the products' readers, GeoTIFF, netCDF, Zarr."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path
from typing import Any

import xarray as xr
from dask.array.core import normalize_chunks

from xsoil.data import chirps, modis, nldas, smap_l3, smap_l4, soilgrids, solus, uscrn
from xsoil.data._hdf5 import hdf5
from xsoil.data._netcdf import open_one
from xsoil.data._paths import is_remote, name_of, paths_of
from xsoil.data._rasters import CHUNK
from xsoil.errors import ArgumentError, FileError

RASTERS = (".tif", ".tiff", ".vrt")
NETCDF = (".nc", ".nc4", ".cdf", ".h5", ".hdf5", ".he5")
BLOCK = "64MiB"


@dataclass(frozen=True)
class Opened:
    """A dataset and what opened it."""

    ds: xr.Dataset
    kind: str
    reader: str | None = None
    """Name in `xsoil.data` of the reader that knows the product, where there is one."""
    note: str | None = None


Opener = Callable[[list[str]], xr.Dataset]


def open_file(path: str | os.PathLike[str]) -> Opened:
    """Open a file lazily by what its name says.

    Parameters
    ----------
    path : str or path
        A file under its product's name (SMAP, SoilGrids, SOLUS100, CHIRPS, MODIS, USCRN), or a pattern of such files
        with ``*``; a GeoTIFF or VRT; netCDF or HDF5; a Zarr store. Local or remote.

    Returns
    -------
    Opened
        The dataset in dask blocks of 64 MiB or less. Of a GeoTIFF each band is a variable, or, where the bands have no
        names of their own, there is one variable with a dimension ``band``.

    Raises
    ------
    ArgumentError
        No such file; a name that says nothing.
    FileError
        The file is not what its name claims, or holds no variables.
    """
    text = os.fspath(path)
    files = paths_of(text, (), "a file") if has_magic(text) and not os.path.exists(text) else [text]
    if not is_remote(text) and not os.path.exists(files[0]):
        raise ArgumentError(f"no file {text!r}; expected GeoTIFF, netCDF, HDF5, a Zarr store, or a file of a product")
    name = name_of(files[0])
    for pattern, reader, opener in READERS:
        match = pattern.search(name)
        if match is None:
            continue
        if opener is not None and (found := opener(match, files)) is not None:
            return Opened(found, f"file of a product, {found.attrs.get('title', reader)}", reader)
        return Opened(
            _plain(files, text), _kind(name), reader, f"xsoil.data.{reader} knows this product's units and times"
        )
    return Opened(_plain(files, text), _kind(name))


def _plain(files: list[str], text: str) -> xr.Dataset:
    if len(files) > 1:
        raise ArgumentError(f"{len(files)} files match {text!r}, of no product that can be told by its name; give one")
    path = files[0]
    if name_of(path).lower().endswith(RASTERS):
        return _raster(path)
    if not name_of(path).lower().endswith((*NETCDF, ".zarr")):
        raise ArgumentError(
            f"{name_of(path)!r} has an ending that says nothing; expected {', '.join((*RASTERS, *NETCDF))}, .zarr"
        )
    ds = open_one(path)
    if not ds.data_vars:
        raise FileError(f"{name_of(path)!r} has no variables{_groups(path)}")
    numbers = [
        name for name, array in ds.data_vars.items() if array.dtype.kind in "iufbmM" and array.size and array.ndim
    ]
    return ds.assign({name: _in_blocks(ds[name]) for name in numbers})


def _in_blocks(array: xr.DataArray) -> xr.DataArray:
    """Dask blocks that hold whole chunks of the file."""
    if not array.size:
        return array.chunk()
    stored = array.encoding.get("preferred_chunks", {})
    previous = tuple(stored.get(dim, size) for dim, size in array.sizes.items())
    blocks = normalize_chunks("auto", array.shape, limit=BLOCK, dtype=array.dtype, previous_chunks=previous)
    return array.chunk(dict(zip(array.dims, blocks)))


def _kind(name: str) -> str:
    kinds = {".tif": "GeoTIFF", ".tiff": "GeoTIFF", ".vrt": "VRT", ".zarr": "Zarr store"}
    return kinds.get(Path(name.lower()).suffix, "netCDF or HDF5")


def _groups(path: str) -> str:
    """What an HDF5 file has in place of variables."""
    if is_remote(path) or not path.lower().endswith(NETCDF):
        return ""
    with hdf5(path) as file:
        groups = ", ".join(sorted(file))
    return (
        f" at its root, but the groups {groups}; files of SMAP are opened under their own names "
        "(SMAP_L3_SM_P_E_20150401_R19240_001.h5), others with xarray.open_dataset(..., group=...)"
    )


def _raster(path: str) -> xr.Dataset:
    """Every band a variable, where the bands say what they are."""
    import rasterio
    import rioxarray

    try:
        with rasterio.open(path) as file:
            labels = [file.tags(i).get("variable") or file.descriptions[i - 1] for i in file.indexes]
            own = [
                dict(zip(("scale_factor", "add_offset", "units", "long_name"), about, strict=True))
                for about in zip(file.scales, file.offsets, file.units, file.descriptions, strict=True)
            ]
        array: xr.DataArray = rioxarray.open_rasterio(path, chunks={"x": CHUNK, "y": CHUNK}, cache=False, lock=False)
    except rasterio.errors.RasterioIOError as error:
        raise FileError(f"{name_of(path)!r} cannot be read as a raster ({error})") from error
    if not hasattr(array, "rio") or "band" not in array.dims:
        raise FileError(f"{name_of(path)!r} holds several datasets; expected a raster of one")
    stem = re.sub(r"\W+", "_", Path(name_of(path)).stem)
    names = [label if label and re.fullmatch(r"[A-Za-z]\w*", label) else None for label in labels]
    array.attrs.pop("AREA_OR_POINT", None)
    if len(names) == 1:
        return array.isel(band=0, drop=True).to_dataset(name=names[0] or stem)
    if None not in names and len(set(names)) == len(names):
        # rioxarray gives tuples, which no reader takes for the scale of a band
        kept = {k: v for k, v in array.attrs.items() if k not in ("scales", "offsets", *own[0])}
        bands = {}
        for i, name in enumerate(names):
            bands[str(name)] = array.isel(band=i, drop=True)
            bands[str(name)].attrs = kept | {k: v for k, v in own[i].items() if v not in (None, "")}
        return xr.Dataset(bands)
    if len({(about["scale_factor"], about["add_offset"]) for about in own}) > 1:
        raise FileError(
            f"the bands of {name_of(path)!r} have different scales, and no names of their own; expected one scale, or "
            "descriptions that name them (gdal_edit, or rasterio's dataset.descriptions)"
        )
    one = names[0] if len(set(names)) == 1 else None
    return array.to_dataset(name=one or stem)


def _soilgrids(match: re.Match[str], files: list[str]) -> xr.Dataset | None:
    known = match.group(1).lower() in soilgrids.NAMES
    kind: Any = soilgrids.KINDS[match.group(4).lower()]
    return soilgrids.open_soilgrids(files, statistic=kind) if known else None


def _solus(match: re.Match[str], files: list[str]) -> xr.Dataset | None:
    statistics = {letter: statistic for statistic, letter in solus.STATISTICS.items()}
    kind: Any = statistics.get(match.group(3).lower())
    return solus.open_solus100(files, statistic=kind) if kind and match.group(1).lower() in solus.NAMES else None


def _modis(match: re.Match[str], files: list[str]) -> xr.Dataset | None:
    layers: Any = [
        name
        for name, layer in modis.LAYERS.items()
        if re.fullmatch(layer.products, match.group(1), re.IGNORECASE)
        and (match.group(7).lower() == "hdf" or re.search(layer.pattern, match.group(6)))
    ]
    return modis.open_modis(files, layers[0]) if layers else None


READERS: tuple[tuple[re.Pattern[str], str, Callable[[re.Match[str], list[str]], xr.Dataset | None] | None], ...] = (
    (smap_l3.PATTERN, "open_smap_l3", lambda _, files: smap_l3.open_smap_l3(files)),
    (smap_l4.PATTERN, "open_smap_l4", lambda _, files: smap_l4.open_smap_l4(files)),
    (soilgrids.PATTERN, "open_soilgrids", _soilgrids),
    (solus.PATTERN, "open_solus100", _solus),
    (chirps.PATTERN, "open_chirps", lambda _, files: chirps.open_chirps(files)),
    (modis.NAME, "open_modis", _modis),
    (uscrn.PATTERN, "open_uscrn", lambda _, files: uscrn.open_uscrn(files)),
    # One file of NLDAS-2 holds no total of its own hour: the reader needs a series.
    (nldas.PATTERN, "open_nldas2", None),
)
"""Pattern of the name, reader, and how one file or several are opened with it."""
