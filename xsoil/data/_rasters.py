"""Rasters that GDAL reads, local or remote: opened lazily, aligned, stacked over layers."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from xsoil.data._paths import name_of
from xsoil.errors import ArgumentError, CRSError, FileError, GridMismatchError
from xsoil.grids.crs import same_crs, short_name

CHUNK = 2048
"""Chunk size of both spatial dimensions: 8 MB of int16, 17 MB once decoded."""


@dataclass(frozen=True)
class Raster:
    """One band of a file: its numbers (lazy, undecoded), grid, declared nodata."""

    path: str
    data: da.Array
    geobox: GeoBox
    nodata: float | None

    @classmethod
    def open(cls, path: str, chunks: int = CHUNK, crs: str | None = None) -> Raster:
        """Open a file; nothing but its header is read. `crs` stands in for a missing one."""
        import rasterio
        import rioxarray

        try:
            array = rioxarray.open_rasterio(path, chunks={"x": chunks, "y": chunks}, cache=False, lock=False)
        except rasterio.errors.RasterioIOError as error:
            raise FileError(f"{name_of(path)!r} cannot be read as a raster ({error}); load it again") from error
        if not hasattr(array, "rio") or "band" not in array.dims:
            raise FileError(f"{name_of(path)!r} holds several datasets; expected a raster of one band")
        if array.sizes["band"] != 1:
            raise FileError(f"{name_of(path)!r} has {array.sizes['band']} bands; expected 1")
        found = array.rio.crs
        if found is None and crs is None:
            raise CRSError(
                f"{name_of(path)!r} has no coordinate reference system that PROJ knows; give it: crs='ESRI:54052' "
                "(the homolosine of SoilGrids), crs='EPSG:...'"
            )
        box = GeoBox(array.shape[-2:], array.rio.transform(), crs or short_name(found.to_wkt()))
        return cls(path, array.isel(band=0).data, box, array.rio.nodata)


def stacked(rasters: Mapping[Any, Raster], chunks: int = CHUNK) -> tuple[GeoBox, dict[Any, da.Array]]:
    """The same grid for all: rasters of one lattice may differ in their extent, cells that one lacks are its nodata.

    Rasters of another CRS or lattice are an error.
    """
    boxes = {key: raster.geobox for key, raster in rasters.items()}
    first_key, first = next(iter(boxes.items()))
    a = first.affine
    windows: dict[Any, tuple[int, int, int, int]] = {}
    for key, box in boxes.items():
        b = box.affine
        here, there = name_of(rasters[key].path), name_of(rasters[first_key].path)
        if not same_crs(str(box.crs), str(first.crs)):
            raise GridMismatchError(f"{here!r} is in {box.crs}, {there!r} in {first.crs}; open them one by one")
        column, row = (b.c - a.c) / a.a, (b.f - a.f) / a.e
        rows, columns = box.shape
        off = max(abs(column - round(column)), abs(row - round(row)))
        stretch = max(abs(b.a / a.a - 1) * columns, abs(b.e / a.e - 1) * rows)
        if b.b or b.d or off > 0.01 or stretch > 0.01:
            raise GridMismatchError(f"{here!r} and {there!r} are on different lattices; open them one by one")
        windows[key] = (round(row), round(row) + rows, round(column), round(column) + columns)
    top, left = min(w[0] for w in windows.values()), min(w[2] for w in windows.values())
    bottom, right = max(w[1] for w in windows.values()), max(w[3] for w in windows.values())
    shape = (bottom - top, right - left)
    union = GeoBox(shape, Affine(a.a, a.b, a.c + left * a.a, a.d, a.e, a.f + top * a.e), first.crs)
    out = {}
    for key, (r0, r1, c0, c1) in windows.items():
        raster = rasters[key]
        data = raster.data
        if (r1 - r0, c1 - c0) != shape:
            if raster.nodata is None:
                raise GridMismatchError(f"{name_of(raster.path)!r} is smaller than the others and declares no nodata")
            pad = ((r0 - top, bottom - r1), (c0 - left, right - c1))
            data = da.pad(data, pad, constant_values=np.asarray(raster.nodata).astype(data.dtype)).rechunk(chunks)
        out[key] = data
    return union, out


def fills_of(raster: Raster, expected: float) -> tuple[float, ...]:
    """Numbers that stand for "no data": the declared one, else that of the product's description."""
    nodata = raster.nodata
    return (expected,) if nodata is None or nodata != nodata else (float(nodata),)


def choose(names: Sequence[str] | str | None, known: Mapping[str, Any], there: Sequence[str]) -> list[str]:
    """The variables that were asked for, or all that are there in the order of the table."""
    if names is None:
        return [name for name in known if name in there]
    asked = [names] if isinstance(names, str) else list(dict.fromkeys(names))
    if missing := [name for name in asked if name not in there]:
        raise ArgumentError(
            f"no files of {', '.join(map(repr, missing))}; there are {', '.join(sorted(there)) or 'none'} "
            f"(known: {', '.join(known)})"
        )
    return asked


def dims_of(geobox: GeoBox, *lead: Hashable) -> tuple[Hashable, ...]:
    """Leading dimensions and those of the grid."""
    return (*lead, *geobox.dimensions)
