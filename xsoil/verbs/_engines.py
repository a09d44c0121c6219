"""The other engines of `upscale`: GDAL (through odc-geo) and ESMF (through xESMF).

They take one variable on its grid, spatial dimensions last, and give an array on the target: numpy for numpy,
dask for dask. What they compute is theirs; what counts as missing, and the types of results, are those of xsoil.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable
from dataclasses import dataclass
from importlib import import_module
from os import PathLike
from types import ModuleType
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.warp import rio_reproject

from xsoil.errors import ArgumentError, CRSError
from xsoil.grids.crs import EASE_GLOBAL, axis_edges, cell_ratio, crs_text, is_geographic
from xsoil.grids.points import is_cyclic
from xsoil.grids.reduce import Output, typed
from xsoil.verbs import _lazy, _regrid
from xsoil.verbs._lazy.tiles import WINDOW_BYTES, asked_tile

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

BLOCK = (8, 64)
"""Least and most target rows and columns of one call of GDAL."""

BLOCK_CELLS = 2**20
"""Source cells that a call of GDAL should not much exceed."""

XESMF = {
    "mean": "conservative_normed",
    "conservative": "conservative",
    "nearest": "nearest_s2d",
    "bilinear": "bilinear",
    "patch": "patch",
}
"""ESMF's name of each operator that it has."""


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
    weights), and it interpolates the projection to an eighth of a pixel. It is called on fixed blocks of the target,
    each on a source window of its own, so that chunks do not show in a single bit; a tile smaller than a block (8 to 64
    cells a side, by the ratio) costs a whole one. Its sum can lose half a source pixel in a target cell where the
    borders of the two grids fall together (OSGeo/gdal#13539: 2 % of a cell of 5 x 5), which blocks do not mend: totals
    are kept by ``engine="exact"`` alone. Area operators from all round the Earth to a polar grid are wrong in the
    cells along the meridian where the source's axis begins.
    """
    name = gdal_name(how, q=q, min_valid=min_valid)
    data, exact, out, fill = _regrid.types_of(var, how in GDAL_WHOLE)
    step = GdalStep(source, target, name, exact, out, fill, block_side(source, target))
    return _lazy.map_tiles(data.data, step, chunks, verb="xsoil.upscale")["value"]


def block_side(source: GeoBox, target: GeoBox) -> int:
    """Target rows and columns of one call of GDAL: by the grids alone, so that chunks do not show."""
    side = int(math.sqrt(BLOCK_CELLS / cell_ratio(source, target)))
    return min(max(side, BLOCK[0]), BLOCK[1])


@dataclass(frozen=True)
class GdalStep:
    """GDAL's warper on a source window and a target tile.

    The window is ours, not that of odc-geo's own dask graph, which loses what lies across the dateline or beyond 180
    degrees.
    """

    source: GeoBox
    target: GeoBox
    resampling: str
    exact: np.dtype[Any]
    out: np.dtype[Any]
    fill: int | None
    side: int

    @property
    def outputs(self) -> dict[str, Output]:
        return {"value": Output(self.out, np.nan if self.fill is None else self.fill)}

    def window(self, rows: slice, cols: slice) -> tuple[slice, slice] | None:
        """Source rows and columns that the blocks of the tile need; columns may run beyond the axis."""
        needs = [need for block in self._blocks(rows, cols) if (need := self._need(*block)) is not None]
        if not needs:
            return None
        r, c = zip(*needs, strict=True)
        first, last = min(span.start for span in c), max(span.stop for span in c)
        if self._cyclic:
            last = min(last, first + self.source.shape[1])
        return slice(min(span.start for span in r), max(span.stop for span in r)), slice(first, last)

    def run(
        self, values: np.ndarray, origin: tuple[int, int], rows: slice, cols: slice, threads: int = 1
    ) -> dict[str, np.ndarray]:
        result = np.full((len(values), rows.stop - rows.start, cols.stop - cols.start), np.nan, self.exact)
        for block in self._blocks(rows, cols):
            need = self._need(*block)
            if need is None:
                continue
            row, column = (np.arange(span.start, span.stop) - at for span, at in zip(need, origin, strict=True))
            if self._cyclic:
                column = np.mod(column, self.source.shape[1])
            part = values[:, row[0] : row[-1] + 1].take(column, axis=2).astype(self.exact, copy=False)
            made = np.full((len(values), *(span.stop - span.start for span in block)), np.nan, self.exact)
            rio_reproject(
                part, made, _cut(self.source, *need), _cut(self.target, *block), self.resampling,
                src_nodata=np.nan, dst_nodata=np.nan, ydim=1, num_threads=threads,
            )  # fmt: skip
            there, here = zip(*map(_common, block, (rows, cols)), strict=True)
            result[(..., *there)] = made[(..., *here)]
        return {"value": typed(result, self.out, self.fill)}

    def _blocks(self, rows: slice, cols: slice) -> list[tuple[slice, slice]]:
        """The blocks of the target that a tile touches.

        What GDAL makes of a cell depends on the call's source window, and on its columns, along which it interpolates
        the projection: so the same calls are made for any tile. They reach less than all round the Earth, where its
        rectangles would go from one end of the axis to the other.
        """
        height, width = self.target.shape
        across = max(1, min(self.side, width // 4)) if self._cyclic else self.side
        return list(itertools.product(_multiples(rows, self.side, height), _multiples(cols, across, width)))

    def _need(self, rows: slice, cols: slice) -> tuple[slice, slice] | None:
        """What a block overlaps, and a cell of it more on each side, as GDAL's rectangles reach farther."""
        from xsoil.grids.overlap import overlap_of

        found = overlap_of(self.source, self.target).window(rows, cols)
        if found is None:
            return None
        (ny, nx), (r, c) = self.source.shape, found
        more_r = 2 + math.ceil((r.stop - r.start) / (rows.stop - rows.start))
        more_c = 2 + math.ceil((c.stop - c.start) / (cols.stop - cols.start))
        first, last = c.start - more_c, c.stop + more_c
        if not self._cyclic:
            first, last = max(first, 0), min(last, nx)
        elif last - first >= nx:
            first, last = 0, nx
        elif (middle := _longitude(self.target, cols)) is not None:
            # Of all turns the one that the block is in: GDAL does not look for others.
            a = self.source.affine
            turns = round((middle - a.c - a.a * (first + last) / 2) / (a.a * nx)) * nx
            first, last = first + turns, last + turns
        return slice(max(r.start - more_r, 0), min(r.stop + more_r, ny)), slice(first, last)

    @property
    def _cyclic(self) -> bool:
        return is_cyclic(self.source)

    def __dask_tokenize__(self) -> Any:
        return (
            type(self).__name__, repr(self.source), repr(self.target), self.resampling, str(self.exact), str(self.out),
            self.fill, self.side,
        )  # fmt: skip


def _multiples(span: slice, by: int, end: int) -> list[slice]:
    """The spans between multiples of `by`, the last up to `end`, that a span touches."""
    return [slice(at, min(at + by, end)) for at in range(span.start // by * by, span.stop, by)]


def _common(block: slice, tile: slice) -> tuple[slice, slice]:
    """What a block and a tile share, counted in the tile and in the block."""
    first, last = max(block.start, tile.start), min(block.stop, tile.stop)
    return slice(first - tile.start, last - tile.start), slice(first - block.start, last - block.start)


def _cut(box: GeoBox, rows: slice, cols: slice) -> GeoBox:
    a, r, c = box.affine, rows.start, cols.start
    moved = Affine(a.a, a.b, a.c + a.a * c + a.b * r, a.d, a.e, a.f + a.d * c + a.e * r)
    return GeoBox((rows.stop - r, cols.stop - c), moved, box.crs)


def _longitude(box: GeoBox, cols: slice) -> float | None:
    """Longitude of the middle of a block of columns, going on beyond 180 degrees as its grid does.

    None where columns are no meridians.
    """
    from xsoil.grids.sparse import turn

    around = turn(box)
    if around is None:
        return None
    a = box.affine
    middle = a.c + a.a * (cols.start + cols.stop) / 2
    return float(middle * 360.0 / (around * abs(a.a)))


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
    return regridder(values, **more).astype(out, copy=False)


def xesmf_arguments(source: GeoBox, target: GeoBox, method: str) -> tuple[xr.Dataset, xr.Dataset, dict[str, Any]]:
    """Grids and options for ``xesmf.Regridder``."""
    conservative = method.startswith("conservative")
    options = {"periodic": not conservative and is_cyclic(source), "unmapped_to_nan": True}
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
    asked = asked_tile(chunks)
    if asked is not None:
        return min(asked[0], rows), min(asked[1], columns)
    layers = math.prod(max(sizes) for sizes in values.chunks[:-2])
    per_cell = values.dtype.itemsize * layers * max(cell_ratio(source, target), 1.0)
    side = max(int(math.sqrt(WINDOW_BYTES / per_cell)), 1)
    return min(side, rows), min(side, columns)
