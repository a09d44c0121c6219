"""Write rasters as Cloud Optimized GeoTIFF: exact size and values, overviews, statistics, bounded memory.

One path for all sizes: dask blocks go into a tiled scratch GeoTIFF as they are computed, then GDAL's COG driver makes
overviews and statistics and copies it. odc-geo's dask writer (``save_cog_with_dask`` of 0.5.3) was tried for large
rasters and is not used. It enlarges a raster to a multiple of a power of two (5001 rows became 5008), takes the
statistics from an overview (maximum 2.05 for 2.10), makes the overviews from reprojected blocks, writes an empty tile
where a block cannot be compressed, carries no units, and held 2.1 GB for 20,000 x 20,000 float32 (here: 0.3 GB).
"""

from __future__ import annotations

import json
import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from xsoil.choices import require_name
from xsoil.data.objects import NODATA_ATTRS, as_dataset, nodata_of
from xsoil.errors import ArgumentError, AxisError, MissingVariableError, UnknownNameError
from xsoil.grids.geobox import has_grid, locate
from xsoil.outputs._ledgers import require_promised
from xsoil.outputs._paths import MARGIN, is_file_name, is_remote, local_path, refuse_existing, replacing
from xsoil.outputs.progress import progress_bar
from xsoil.vocabulary import VARIABLES

Overview = Literal["average", "nearest", "mode", "bilinear", "cubic", "gauss", "rms"]
COMPRESSIONS = ("deflate", "zstd", "lzw", "none")
OVERVIEWS = ("average", "nearest", "mode", "bilinear", "cubic", "gauss", "rms")
SUFFIXES = (".tif", ".tiff")

MAX_BANDS = 65535  # what a TIFF header can count
CACHE_MB = 128
"""Block cache of GDAL while a file is written, in MB: most of the memory that writing needs beside dask's."""


def to_cog(
    ds: xr.Dataset | xr.DataArray,
    path: str | os.PathLike[str],
    *,
    variable: str | None = None,
    overview: Overview | None = None,
    nodata: float | None = None,
    compress: Literal["deflate", "zstd", "lzw", "none"] = "deflate",
    overwrite: bool = False,
    progress: bool = True,
) -> Path:
    """Write variables as Cloud Optimized GeoTIFF.

    Each dask block is written as it is computed: a raster of any size needs the memory of the blocks being worked on
    and GDAL's cache (128 MB), and for a while the disk space of the uncompressed raster beside `path`.
    Values, overviews and statistics do not depend on the chunks. A file appears at `path` only when it is complete.

    Parameters
    ----------
    ds : xr.Dataset or named xr.DataArray
        Variables on (y, x), or on (y, x) and one more dim (time, depth), whose steps become bands. Not changed.
    path : str or path
        A file name that ends in ``.tif`` or ``.tiff`` for one variable; any other path is a folder, which receives
        one ``<variable>.tif`` for every variable on the spatial dims (others are left out).
    variable : str, optional
        The variable to write, where the dataset holds several.
    overview : {"average", "nearest", "mode", "bilinear", "cubic", "gauss", "rms"}, optional
        How overviews are made. Default: "mode" for classes, "nearest" for flags, else "average".
    nodata : float, optional
        The nodata value of the file, stored instead of NaN and of a value declared before. Default: the declared one
        (in the attributes; for integers also in the encoding), else NaN for floating point and none for integers.
    compress : {"deflate", "zstd", "lzw", "none"}
        Lossless in all cases.
    overwrite : bool
        Replace existing files.
    progress : bool
        Show dask's progress bar for each variable that is computed.

    Returns
    -------
    Path
        `path` (absolute): the file, or the folder.

    Raises
    ------
    ArgumentError
        Several variables for one file, an existing file, a nodata value or data type that GeoTIFF cannot hold.
    MissingVariableError, AxisError, CRSError, NodataError
        No such variable; no grid, or more than one further dim; no CRS; two nodata values.

    Notes
    -----
    A task holds its block, beside GDAL's cache (5 % of the machine's memory at most).

    Tiles are 512 x 512 (256 or 128 for rasters smaller than that, so that they have an overview too). Bands carry
    description, unit, scale and offset (of undecoded integers), STATISTICS_* of all valid values, and the attributes
    of the variable.
    Integers keep their type, booleans become uint8, float16 becomes float32. The orientation of the axes is kept.

    Examples
    --------
    >>> import tempfile, os, rasterio
    >>> from odc.geo.xr import xr_zeros
    >>> from xsoil.grids.ease import ease_grid
    >>> k_sat = xr_zeros(ease_grid("EASE2_M36km", "conus"), "float32").rename("k_sat")
    >>> file = to_cog(k_sat, os.path.join(tempfile.mkdtemp(), "k_sat.tif"), progress=False)
    >>> with rasterio.open(file) as raster:
    ...     raster.shape, raster.overviews(1)
    ((71, 157), [2])
    """
    ds = as_dataset(ds)
    if compress not in COMPRESSIONS:
        raise UnknownNameError.of("compression", compress, COMPRESSIONS)
    if overview is not None and overview not in OVERVIEWS:
        raise UnknownNameError.of("overview rule", overview, OVERVIEWS)
    if is_remote(path):
        raise ArgumentError(
            f"to_cog writes local files, found {os.fspath(path)!r}; write to a folder, then upload the file"
        )
    target = local_path(path)
    names = _names(ds, variable)
    single = target.suffix.lower() in SUFFIXES and not target.is_dir()
    if single and len(names) > 1:
        raise ArgumentError(
            f"{target.name!r} is one file, but the dataset has {len(names)} rasters: {', '.join(map(str, names))}; "
            f"choose one with variable={str(names[0])!r}, or give a folder for one file per variable"
        )
    if not single and target.is_file():
        raise ArgumentError(f"{target} is a file without .tif; give a name that ends in .tif, or a folder")
    files = {name: target if single else target / f"{_file_name(name)}.tif" for name in names}
    rasters = {name: _Raster.of(ds, name, overview, nodata) for name in names}
    for file in files.values():
        refuse_existing(file, overwrite=overwrite, replaceable=Path.is_file, what="a file")
    for name, file in files.items():
        with replacing(file) as temporary:
            rasters[name].write(temporary, compress=compress, progress=progress)
    return target


def _names(ds: xr.Dataset, variable: str | None) -> list[Hashable]:
    rasters = [name for name, array in ds.data_vars.items() if has_grid(array)]
    if variable is not None:
        require_name("variable", variable)
        if variable not in ds.variables:
            raise MissingVariableError(f"no {variable!r} among {sorted(map(str, ds.data_vars))}; choose one of them")
        if not has_grid(ds[variable]):
            raise AxisError(
                f"{variable!r} has the dims {[str(d) for d in ds[variable].dims]}; a raster needs both spatial dims"
            )
        return [variable]
    if not rasters:
        shapes = {str(name): [str(d) for d in array.dims] for name, array in ds.data_vars.items()}
        raise AxisError(
            f"no variable has both spatial dims (found {shapes}); a raster needs y and x, or latitude and longitude"
        )
    return rasters


def _file_name(name: Hashable) -> str:
    file = str(name).replace("/", "_").replace(os.sep, "_")
    if not is_file_name(file + MARGIN):
        raise ArgumentError(
            f"a variable is named {name!r}, which no file can be; rename it: ds.rename({{{str(name)!r}: ...}})"
        )
    return file


class _Raster:
    """One variable as bands, with all that its file will say."""

    def __init__(
        self, bands: xr.DataArray, profile: dict[str, Any], overview: str, labels: list[str], tags: dict[str, str]
    ):
        self.bands, self.profile, self.overview, self.labels, self.tags = bands, profile, overview, labels, tags

    @classmethod
    def of(cls, ds: xr.Dataset, name: Hashable, overview: str | None, nodata: float | None) -> _Raster:
        from rasterio.crs import CRS

        array = ds[name]
        # Readers leave the grid mapping among the data variables unless asked to make it a coordinate.
        located = locate(ds[[name, *(n for n, v in ds.data_vars.items() if v.ndim == 0 and n != name)]])
        others = [dim for dim in array.dims if dim not in located.dims]
        if len(others) > 1:
            raise AxisError(
                f"{array.name!r} has the dims {[str(d) for d in array.dims]}; bands hold one dim beside the spatial "
                f"ones: select a step (.isel({others[0]}=0)), or .stack(band={[str(d) for d in others]})"
            )
        bands = array.transpose(*others, *located.dims)
        if not others:
            bands = bands.expand_dims("band")
        if bands.sizes[bands.dims[0]] > MAX_BANDS:
            raise ArgumentError(
                f"{array.name!r} has {bands.shape[0]} steps along {others[0]!r}; a GeoTIFF holds {MAX_BANDS} bands"
            )
        if bands.shape[0] == 0:
            raise ArgumentError(f"{array.name!r} has no step along {others[0]!r}; there is nothing to write")
        declared = nodata_of(array)
        bands, value = _storable(bands, declared, nodata)
        geobox = located.geobox
        row = VARIABLES.get(str(array.name))
        kind = (
            row.kind
            if row
            else "class"
            if "flag_values" in array.attrs
            else "flag"
            if "flag_masks" in array.attrs
            else "real"
        )
        profile = {
            "width": geobox.shape.x,
            "height": geobox.shape.y,
            "count": bands.shape[0],
            "dtype": bands.dtype.name,
            "crs": CRS.from_wkt(geobox.crs.to_wkt()),
            "transform": geobox.transform,
            "nodata": value,
        }
        default = {"class": "mode", "flag": "nearest", "real": "average"}[kind]
        labels = [_label(array, others[0], i) for i in range(bands.shape[0])] if others else [_description(array)]
        return cls(bands, profile, overview or default, labels, _tags(array))

    def write(self, path: Path, *, compress: str, progress: bool) -> None:
        import rasterio
        from rasterio.shutil import copy

        scratch = path.with_name("scratch.tif")
        tile = 512
        while tile > 128 and max(self.profile["width"], self.profile["height"]) <= tile:
            tile //= 2
        with rasterio.Env(GDAL_CACHEMAX=CACHE_MB, GDAL_PAM_ENABLED=False, GDAL_NUM_THREADS="ALL_CPUS"):
            with rasterio.open(
                scratch,
                "w",
                driver="GTiff",
                tiled=True,
                blockxsize=tile,
                blockysize=tile,
                BIGTIFF="IF_SAFER",
                **self.profile,
            ) as raster:
                self._describe(raster)
            _fill(_Target(scratch, self.bands.dtype, str(self.bands.name)), self.bands.data, progress=progress)
            options = {
                "BLOCKSIZE": tile,
                "COMPRESS": compress.upper(),
                "OVERVIEWS": "IGNORE_EXISTING",
                "OVERVIEW_RESAMPLING": self.overview.upper(),
                "STATISTICS": "YES",
                "BIGTIFF": "IF_SAFER",
            }
            if compress != "none":
                options["PREDICTOR"] = "YES"
            if compress == "deflate":
                options["LEVEL"] = 6
            copy(scratch, path, driver="COG", **options)

    def _describe(self, raster: Any) -> None:
        attrs = self.bands.attrs
        count = raster.count
        raster.descriptions = self.labels
        units = attrs.get("units")
        if units:
            raster.units = (str(units),) * count
        scale, offset = attrs.get("scale_factor"), attrs.get("add_offset")
        if scale is not None or offset is not None:
            raster.scales = (float(1.0 if scale is None else scale),) * count
            raster.offsets = (float(0.0 if offset is None else offset),) * count
        for index in range(1, count + 1):
            raster.update_tags(index, **self.tags)


class _Target:
    """The scratch file as dask writes into it; opened for each block, so that any process can."""

    def __init__(self, path: Path, dtype: np.dtype[Any], name: str):
        self.path, self.dtype, self.name = path, dtype, name

    def __setitem__(self, region: tuple[slice, slice, slice], block: np.ndarray[Any, Any]) -> None:
        import rasterio
        from rasterio.windows import Window

        bands, rows, columns = region
        require_promised(block, tuple(s.stop - s.start for s in region), self.dtype, self.name)
        window = Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        with rasterio.Env(GDAL_PAM_ENABLED=False), rasterio.open(self.path, "r+") as raster:
            raster.write(block, indexes=range(bands.start + 1, bands.stop + 1), window=window)


def _fill(target: _Target, data: Any, *, progress: bool) -> None:
    """Write the bands block by block, in whatever order dask finishes them."""
    if not hasattr(data, "dask"):
        whole = slice(0, data.shape[0]), slice(0, data.shape[1]), slice(0, data.shape[2])
        target[whole] = np.asarray(data)
        return
    import dask.array as da
    from dask.utils import get_scheduler_lock

    with progress_bar(shown=progress):
        da.store(data, target, lock=get_scheduler_lock(data))


def _storable(bands: xr.DataArray, declared: float | None, wanted: float | None) -> tuple[xr.DataArray, float | None]:
    """The bands in a type that GeoTIFF has, with one nodata value in place of all others."""
    dtype = bands.dtype
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise ArgumentError(
            f"{bands.name!r} is {dtype}; a GeoTIFF holds integers and real numbers: .astype('float32'), for example"
        )
    if dtype.kind == "b":
        bands = bands.astype(np.uint8)
    elif dtype == np.float16:
        bands = bands.astype(np.float32)
    dtype = bands.dtype
    if wanted is not None and (isinstance(wanted, bool) or not isinstance(wanted, (int, float, np.number))):
        raise ArgumentError(f"nodata={wanted!r}; expected a number")
    value = wanted if wanted is not None else declared
    if dtype.kind == "f":
        value = np.nan if value is None else value
        if np.isfinite(value) and abs(value) > np.finfo(dtype).max:
            raise ArgumentError(
                f"nodata {value} does not fit into {dtype}; expected a value up to {np.finfo(dtype).max:g}"
            )
        filler = dtype.type(value)
        if declared is not None and dtype.type(declared) != filler:
            bands = bands.where(bands != dtype.type(declared), filler)
        if not np.isnan(filler):
            bands = bands.where(bands.notnull(), filler)
        return bands, float(filler)
    if value is None:
        return bands, None
    info = np.iinfo(dtype)
    if value != value or value != int(value) or not info.min <= value <= info.max:
        if wanted is None:
            return bands, None  # a sentinel that this type cannot hold cannot occur
        raise ArgumentError(
            f"nodata {value} does not fit into {dtype}; expected a whole number from {info.min} to {info.max}"
        )
    if declared is not None and declared != value:
        bands = bands.where(bands != declared, dtype.type(value))
    return bands, int(value)


def _description(array: xr.DataArray) -> str:
    long_name = array.attrs.get("long_name")
    return long_name if isinstance(long_name, str) and long_name else str(array.name)


def _label(array: xr.DataArray, dim: Hashable, index: int) -> str:
    if dim not in array.coords or array[dim].ndim != 1:
        return f"{dim}={index}"
    value = array[dim].values[index]
    if isinstance(value, np.datetime64):
        return str(value.astype("datetime64[s]")).removesuffix("T00:00:00")
    if isinstance(value, (float, np.floating, int, np.integer)):
        units = array[dim].attrs.get("units")
        return f"{dim}={value:.9g}{f' {units}' if units else ''}"
    return str(value)


def _tags(array: xr.DataArray) -> dict[str, str]:
    """Attributes of the variable as text; what the file itself states, or what a former file stated, is left out."""
    skipped = {*NODATA_ATTRS, "grid_mapping", "coordinates", "units", "scale_factor", "add_offset", "AREA_OR_POINT"}
    tags = {}
    for key, value in array.attrs.items():
        if key in skipped or str(key).startswith("STATISTICS_") or value is None:
            continue
        if isinstance(value, (np.ndarray, np.generic)):
            value = value.tolist()
        tags[str(key)] = value if isinstance(value, str) else json.dumps(value, default=str)
    return {"variable": str(array.name)} | tags
