"""MODIS land products of collection 6.1: leaf area index, NDVI and land surface temperature, as tiles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from affine import Affine
from dask.base import tokenize
from odc.geo.geobox import GeoBox

from xsoil.data._hdf5 import require_choice
from xsoil.data._maps import decode_block, grid_coords, maps
from xsoil.data._paths import Paths, is_remote, name_of, paths_of
from xsoil.data._rasters import CHUNK, Raster, dims_of
from xsoil.data._variables import attrs_of
from xsoil.errors import ArgumentError, FileError, GridMismatchError, MissingVariableError, TimeError, UnknownNameError

__all__ = ["open_modis"]

SINUSOIDAL = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"
TILE = 1111950.5196666666
"""Width of a tile [m]: 36 x 18 of them cover the world."""
LEFT, TOP = -18 * TILE, 9 * TILE


@dataclass(frozen=True)
class Layer:
    """A layer: its name in files (a pattern), factor, valid range of the stored numbers, and its quality layer."""

    pattern: str
    factor: float
    valid: tuple[float, float]
    quality: str
    good: tuple[int, int]
    """Bits of the quality layer that tell, and the value that they have where the retrieval is good."""
    products: str
    citation: tuple[str, str]


LAI = ("Myneni, R., Y. Knyazikhin, T. Park (2021), MODIS Leaf Area Index/FPAR, collection 6.1. NASA LP DAAC",
       "10.5067/MODIS/MOD15A2H.061")  # fmt: skip
NDVI = ("Didan, K. (2021), MODIS Vegetation Indices, collection 6.1. NASA LP DAAC", "10.5067/MODIS/MOD13Q1.061")
LST = ("Wan, Z., S. Hook, G. Hulley (2021), MODIS Land Surface Temperature/Emissivity, collection 6.1. NASA LP DAAC",
       "10.5067/MODIS/MOD11A1.061")  # fmt: skip
LAYERS = {
    "lai": Layer(r"Lai_500m", 0.1, (0, 100), r"FparLai_QC", (0b1, 0), r"M[OYC]D15A[23]H", LAI),
    "ndvi": Layer(
        r"(?:250m|500m|1[_ ]km)[_ ]16[_ ]days[_ ]NDVI", 0.0001, (-2000, 10000),
        r"(?:250m|500m|1[_ ]km)[_ ]16[_ ]days[_ ]VI[_ ]Quality", (0b11, 0),
        r"M[OY]D13[QA][12]", NDVI,
    ),
    "lst_day": Layer(
        r"LST_Day_1km", 0.02, (7500, 65535), r"QC_Day", (0b11, 0),
        r"M[OY]D11A[12]", LST,
    ),
    "lst_night": Layer(
        r"LST_Night_1km", 0.02, (7500, 65535), r"QC_Night", (0b11, 0),
        r"M[OY]D11A[12]", LST,
    ),
}  # fmt: skip
NAME = re.compile(
    r"^(M[OYC]D\d\d[A-Z]\w{1,2})\.(?:A(\d{7})\.h(\d\d)v(\d\d)\.)?(\d{3})(.*)\.(tiff?|hdf)$", re.IGNORECASE
)
DAY = re.compile(r"_doy(\d{7})")

Tile = tuple[int, int]
Piece = tuple[pd.Timestamp, Tile]


def open_modis(
    paths: Paths,
    variable: Literal["lai", "ndvi", "lst_day", "lst_night"] = "lai",
    *,
    quality: Literal["all", "good"] = "all",
    chunks: int = CHUNK,
) -> xr.Dataset:
    """A layer of MODIS as one lazy series, tiles put together.

    Parameters
    ----------
    paths : str, path or list of them
        GeoTIFF or COG of one layer under the names of the Planetary Computer
        (``MOD15A2H.A2021001.h18v04.061.2021020..._Lai_500m.tif``) or AppEEARS
        (``MCD15A3H.061_Lai_500m_doy2021001...tif``), also by URL; or the HDF4 files of LP DAAC
        (``MOD15A2H.A2021001.h18v04.061....hdf``), which need the package pyhdf and must be local; a folder, a
        pattern. All of one product.
    variable : {"lai", "ndvi", "lst_day", "lst_night"}
        Leaf area index [1] (MOD15, MYD15, MCD15), NDVI [1] (MOD13, MYD13), land surface temperature by day or night [K]
        (MOD11, MYD11).
    quality : {"all", "good"}
        "good" keeps pixels of the best quality only, which needs the quality layer beside each file (``FparLai_QC``,
        ``VI_Quality``, ``QC_Day``, ``QC_Night``).
    chunks : int
        Chunk size of both spatial dimensions inside a tile.

    Returns
    -------
    xr.Dataset
        The variable, float32, on (time, y, x) in the sinusoidal projection of the tiles (AppEEARS: as ordered); a tile
        that a time lacks is NaN. ``time`` is the first day of the composite (8, 4 or 16 days).

    Raises
    ------
    FileError
        A file of another product or name, not readable.
    ArgumentError, MissingVariableError
        Several products at once; no quality layer.
    GridMismatchError
        Tiles of different resolution, or rasters of different grids.

    Notes
    -----
    Follows collection 6.1 [1]_ [2]_ [3]_. Factors and special values are those of the user guides, not those of the
    files: in HDF the scale_factor of MOD13 is 10000 and divides. Special values are NaN: 249 to 255 (LAI: water,
    snow, barren ...), below -2000 (NDVI), 0 (temperature).

    References
    ----------
    .. [1] doi:10.5067/MODIS/MOD15A2H.061.
    .. [2] doi:10.5067/MODIS/MOD13Q1.061.
    .. [3] doi:10.5067/MODIS/MOD11A1.061.

    Examples
    --------
    >>> import xsoil
    >>> leaves = xsoil.data.open_modis("modis/*.tif", "lai", quality="good")  # doctest: +SKIP
    """
    if variable not in LAYERS:
        raise UnknownNameError.of("layer of MODIS", variable, LAYERS)
    require_choice(quality, ("all", "good"), "quality")
    layer = LAYERS[variable]
    files = paths_of(paths, (".tif", ".tiff", ".hdf"), "files of MODIS")
    values, flags, products = _sorted(files, layer, variable)
    if len(products) > 1:
        raise ArgumentError(f"files of {', '.join(sorted(products))} are mixed; open one product at a time")
    if quality == "good" and (lost := [piece for piece in values if piece not in flags]):
        raise MissingVariableError(
            f"quality='good' needs the layer {layer.quality!r} beside each file; {len(lost)} lack it, the first "
            f"{name_of(values[lost[0]])!r}: load it, or take quality='all'"
        )
    times = sorted({time for time, _ in values})
    tiles = sorted({tile for _, tile in values})
    opened = {piece: _open(path, layer.pattern, piece[1], chunks) for piece, path in values.items()}
    qualities = (
        {piece: _open(flags[piece], layer.quality, piece[1], chunks) for piece in values} if quality == "good" else {}
    )
    geobox = _mosaic({piece[1]: raster.geobox for piece, raster in opened.items()}, opened, tiles)
    rows = range(tiles[0][0], max(v for v, _ in tiles) + 1)
    columns = range(min(h for _, h in tiles), max(h for _, h in tiles) + 1)
    shape = next(iter(opened.values())).data.shape
    blank = da.full(shape, np.nan, dtype=np.float32, chunks=(chunks, chunks))
    series = []
    for time in times:
        block = [
            [_decoded(opened.get((time, (v, h))), qualities.get((time, (v, h))), layer, blank) for h in columns]
            for v in rows
        ]
        series.append(da.block(block))
    about = attrs_of(variable, cell_methods="time: maximum or mean over the composite")
    if variable.startswith("lst"):
        about["cell_methods"] = "time: point (a day) or mean (a composite), clear sky only"
    citation, doi = layer.citation
    product = products.pop()
    coords = {"time": ("time", pd.DatetimeIndex(times), {"standard_name": "time"})} | grid_coords(geobox)
    attrs = {
        "title": f"MODIS {product}", "source": f"MODIS {product}, collection 6.1", "citation": citation,
        "references": f"doi:{doi}", "comment": f"quality: {quality}",
    }  # fmt: skip
    return maps({variable: (dims_of(geobox, "time"), da.stack(series), about)}, coords, attrs)


def _sorted(files: Sequence[str], layer: Layer, variable: str) -> tuple[dict[Piece, str], dict[Piece, str], set[str]]:
    """Files of values and of quality by time and (vertical, horizontal) tile, and the products that they are of."""
    values: dict[Piece, str] = {}
    flags: dict[Piece, str] = {}
    products: set[str] = set()
    for path in files:
        match = NAME.match(name_of(path))
        if match is None:
            raise FileError(
                f"{name_of(path)!r} is not named like a file of MODIS "
                f"(MOD15A2H.A2021001.h18v04.061.2021020..._Lai_500m.tif)"
            )
        product, day, h, v, collection, rest, ending = match.groups()
        if re.fullmatch(layer.products, product, re.IGNORECASE) is None:
            raise FileError(f"{name_of(path)!r} is of {product}; {variable!r} is in {layer.products.replace('|', ' ')}")
        if collection != "061":
            raise FileError(f"{name_of(path)!r} is of collection {collection}; this reader follows 061 (6.1)")
        if day is None:
            found = DAY.search(rest)
            if found is None:
                raise FileError(f"{name_of(path)!r} has no date in its name (A2021001 or doy2021001)")
            day, tile = found.group(1), (0, 0)
        else:
            tile = (int(v), int(h))
        piece = (_date(day, path), tile)
        targets = []
        if ending.lower() == "hdf" or re.search(layer.pattern, rest):
            targets.append(values)
        if ending.lower() == "hdf" or re.search(layer.quality, rest):
            targets.append(flags)
        if targets:
            products.add(product.upper())
        for target in targets:
            if piece in target:
                raise TimeError(f"{name_of(target[piece])!r} and {name_of(path)!r} are of one tile and day; keep one")
            target[piece] = path
    if not values:
        raise FileError(f"none of {len(files)} files holds the layer {layer.pattern!r} of {variable!r}")
    return values, flags, products


def _date(text: str, path: str) -> pd.Timestamp:
    try:
        return pd.to_datetime(text, format="%Y%j")
    except ValueError:
        raise TimeError(f"{name_of(path)!r} is of the day {text!r}; expected year and day of the year") from None


def _open(path: str, pattern: str, tile: Tile, chunks: int) -> Raster:
    if not name_of(path).lower().endswith(".hdf"):
        return Raster.open(path, chunks)
    if is_remote(path):
        raise ArgumentError(f"{name_of(path)!r} is HDF4, which is read from disk only; load it, or take COGs")
    name, shape, dtype = _sds(path, pattern)
    key = f"modis-{tokenize(path, name)}"
    data = da.Array({(key, 0, 0): (_read_sds, path, name)}, key, tuple((n,) for n in shape), dtype=dtype)
    cell = TILE / shape[0]
    corner = Affine(cell, 0, LEFT + tile[1] * TILE, 0, -cell, TOP - tile[0] * TILE)
    return Raster(path, data.rechunk(chunks), GeoBox(shape, corner, SINUSOIDAL), None)


def _hdf4(path: str) -> Any:
    try:
        from pyhdf.SD import SD, SDC  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError as error:
        raise ImportError("HDF4 files of MODIS need the package pyhdf: pip install pyhdf, or take COGs") from error
    try:
        return SD(path, SDC.READ)
    except Exception as error:
        raise FileError(f"{name_of(path)!r} cannot be read as HDF4 ({error}); load it again") from error


def _sds(path: str, pattern: str) -> tuple[str, tuple[int, int], np.dtype[Any]]:
    """Name, shape and type of the layer in a file."""
    file = _hdf4(path)
    from pyhdf.SD import SDC

    types = {SDC.INT8: "i1", SDC.UINT8: "u1", SDC.INT16: "i2", SDC.UINT16: "u2", SDC.INT32: "i4", SDC.UINT32: "u4"}
    try:
        for name, (_, shape, kind, _) in file.datasets().items():
            if re.search(pattern, name):
                return name, tuple(shape), np.dtype(types[kind])
        raise FileError(f"{name_of(path)!r} has the layers {sorted(file.datasets())}; expected one like {pattern!r}")
    finally:
        file.end()


def _read_sds(path: str, name: str) -> np.ndarray[Any, Any]:
    file = _hdf4(path)
    try:
        return np.asarray(file.select(name).get())
    finally:
        file.end()


def _mosaic(boxes: dict[Tile, GeoBox], opened: dict[Piece, Raster], tiles: list[Tile]) -> GeoBox:
    """The grid of all tiles together; every raster must be of its tile's grid."""
    for (_, tile), raster in opened.items():
        if raster.geobox != boxes[tile]:
            raise GridMismatchError(
                f"{name_of(raster.path)!r} is on another grid than the others; open them one by one"
            )
    first = boxes[tiles[0]]
    rows, columns = first.shape
    top, left = tiles[0][0], min(h for _, h in tiles)
    bottom, right = max(v for v, _ in tiles), max(h for _, h in tiles)
    a = first.affine
    x, y = a.c + (left - tiles[0][1]) * columns * a.a, a.f
    for (v, h), box in boxes.items():
        expected = (x + (h - left) * columns * a.a, y + (v - top) * rows * a.e)
        off = max(abs(box.affine.c - expected[0]), abs(box.affine.f - expected[1])) / abs(a.a)
        if box.shape != first.shape or off > 0.1:
            raise GridMismatchError(
                f"the tile h{h:02d}v{v:02d} does not fit the others: {box.shape}, {off:.2g} cells off"
            )
    shape = ((bottom - top + 1) * rows, (right - left + 1) * columns)
    return GeoBox(shape, Affine(a.a, 0, x, 0, a.e, y), first.crs)


def _decoded(raster: Raster | None, flag: Raster | None, layer: Layer, blank: da.Array) -> da.Array:
    if raster is None:
        return blank
    if flag is not None and flag.data.shape != raster.data.shape:
        raise GridMismatchError(f"{name_of(flag.path)!r} is not of the grid of {name_of(raster.path)!r}")
    arrays = [raster.data] if flag is None else [raster.data, flag.data.rechunk(raster.data.chunks)]
    made: da.Array = da.map_blocks(_block, *arrays, layer=layer, dtype=np.float32, meta=np.empty((0, 0), np.float32))
    return made


def _block(
    raw: np.ndarray[Any, Any], flag: np.ndarray[Any, Any] | None = None, *, layer: Layer
) -> np.ndarray[Any, Any]:
    out = decode_block(raw, factor=layer.factor, valid=layer.valid).astype(np.float32)
    if flag is not None:
        bits, good = layer.good
        out[(flag.astype(np.int64) & bits) != good] = np.nan
    return out
