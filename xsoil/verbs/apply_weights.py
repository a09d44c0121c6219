"""`apply_weights`: weight files of ESMF, xESMF or SCRIP applied lazily, without ESMF."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from xsoil.data._hostile import require_backed, stored_bytes
from xsoil.errors import ArgumentError, GridMismatchError
from xsoil.grids.ease import named_grid
from xsoil.grids.geobox import Located, locate
from xsoil.grids.reduce import SLACK, Output, typed
from xsoil.verbs import _inputs, _regrid

if TYPE_CHECKING:
    from xsoil.grids.esmf import WeightFile

CELL_METHODS = {
    "conservative": "mean (comment: conservative)",
    "nearest": "point",
    "bilinear": "point (comment: bilinear)",
    "patch": "point (comment: patch)",
}
"""What a result says by how the method begins that its weight file names."""

LEAST = 1e-6
"""Smallest valid weight that `min_valid=0` accepts, and what `min_valid=1` may lack: as in xESMF."""


def apply_weights(
    ds: xr.Dataset | xr.DataArray,
    path: str | PathLike[str],
    to: object,
    *,
    region: object = None,
    min_valid: float | None = None,
    chunks: int | tuple[int, int] | None = None,
    valid_fraction: bool = False,
) -> xr.Dataset:
    """Bring maps to another grid with the weights of a file.

    Files of ESMF (``ESMF_RegridWeightGen``), xESMF (``regridder.to_netcdf``), SCRIP or CDO, and those of
    `xsoil.save_weights`, for any pair of regular grids. On dask input nothing of the data is read before it is
    computed; a task takes the weights of its target tile and the source blocks that these name.

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        Maps on the grid that the weights were made for, any other dimensions, any units. Where the file has
        coordinates of the cells, axes may run the other way, and a global longitude axis may start elsewhere.
    path : str or path
        Weight file (netCDF). It stays where it is until the result is computed; workers must see it too.
    to : str, GeoBox, xr.Dataset or xr.DataArray
        Target grid of the weights: a name (the whole grid, or its part that covers the source, whichever the
        file has), a GeoBox, or an object on the grid.
    region : str or tuple of float, optional
        With a named grid: ``"conus"``, (west, south, east, north) in degrees, or an object to cover.
    min_valid : float, optional
        None (default) gives what ESMF gives: a cell is the sum of weight x value, NaN as soon as one of its
        source cells is missing; partly covered cells of unnormalised conservative weights hold a part of the
        mean. A number leaves missing values out and divides by the sum of the weights of the valid ones; a cell is
        NaN where that is below `min_valid` (inclusive, slack 1e-9). This is xESMF's ``skipna=True``,
        ``na_thres=1 - min_valid``.
    chunks : int or (int, int), optional
        Rows and columns of the result's dask chunks. By default a task's source window stays near 32 MB.
    valid_fraction : bool
        Add ``<name>_valid_fraction`` [1], the sum of the weights of valid values.

    Returns
    -------
    xr.Dataset
        On the target grid, spatial dimensions last, with its CRS, `cell_methods` and `regrid_method` by what the file
        says of its method; NaN in cells without weights. float32 stays
        float32 (sums are float64), integers become float64, unless the weights pick single cells (nearest).

    Raises
    ------
    GridMismatchError
        The weights were made for other grids, or for the same in another direction where the file has no coordinates.
    ArgumentError
        No file, no weights in it, weights of second order; a class variable under weights that mix cells.

    Notes
    -----
    The weights are read once in each process and kept (about 16 bytes for each): they are in no graph.

    See Also
    --------
    save_weights : Write such a file.
    upscale : Exact weights without any file.
    """
    from xsoil.grids.esmf import wanted

    _regrid.require_fraction("min_valid", min_valid)
    ds = _inputs.as_dataset(ds)
    file = Path(path).resolve()
    if not file.is_file():
        raise ArgumentError(f"no weight file {str(path)!r}; expected the path of a netCDF file on this machine")
    source = locate(ds)
    with open_netcdf(file) as raw:
        arrays = _read(raw, wanted(raw.variables), file, only=("target_dims",))
        dims = arrays["target_dims"].ravel().tolist() if arrays else None
        method = next((str(raw.attrs[key]) for key in ("regrid_method", "map_method") if key in raw.attrs), "")
    cell_method = next((text for word, text in CELL_METHODS.items() if method.lower().startswith(word)), "")
    target = _target(to, region, source, dims)
    stamp = _stamp(file)
    weights = load(str(file), stamp, source.geobox, target[0])

    def plan(var: xr.DataArray) -> _regrid.Plan:
        selects = weights.matrix.selects
        if _regrid.is_class(var) and not selects:
            raise ArgumentError(
                f"{var.name!r} holds classes or flags, which these weights would mix; use weights to the nearest cell, "
                f"upscale(how='mode'), or drop it with ds.drop_vars({str(var.name)!r})"
            )
        data, exact, out, fill = _regrid.types_of(var, selects)
        step = WeightStep(str(file), stamp, source.geobox, target[0], min_valid, exact, out, fill, valid_fraction)
        attrs = _regrid.attrs_of(var, cell_method, fill)
        return _regrid.Plan(data.data, step, attrs | ({"regrid_method": method} if method else {}))

    return _regrid.on_axes_of(_regrid.regrid(ds, source, target, plan, chunks), to)


@dataclass(frozen=True)
class WeightStep:
    """What one task does: the weights of a target tile times its source window. Holds no weights."""

    path: str
    stamp: tuple[int, int]
    source: GeoBox
    target: GeoBox
    min_valid: float | None
    exact: np.dtype[Any]
    out: np.dtype[Any]
    fill: int | None
    with_fraction: bool

    @property
    def weights(self) -> WeightFile:
        return load(self.path, self.stamp, self.source, self.target)

    @property
    def outputs(self) -> dict[str, Output]:
        out = {"value": Output(self.out, np.nan if self.fill is None else self.fill)}
        if self.with_fraction:
            out["valid_fraction"] = Output(np.dtype(np.float64), 0.0)
        return out

    def window(self, rows: slice, cols: slice) -> tuple[slice, slice] | None:
        found = self.weights
        return found.matrix.window(rows, cols, found.source, found.target)

    def run(
        self, values: np.ndarray, origin: tuple[int, int], rows: slice, cols: slice, threads: int = 1
    ) -> dict[str, np.ndarray]:
        found = self.weights
        skip = self.min_valid is not None
        result, share = found.matrix.multiply(
            values.astype(self.exact, copy=False), origin, rows, cols, found.source, found.target, skip, threads
        )
        if self.min_valid is not None:
            enough = share >= min(max(self.min_valid - SLACK, LEAST), 1.0 - LEAST)
            result = np.divide(result, share, out=np.full(result.shape, np.nan), where=enough)
        made = {"value": typed(result, self.out, self.fill), "valid_fraction": share}
        return {name: made[name] for name in self.outputs}

    def __dask_tokenize__(self) -> Any:
        return (
            type(self).__name__, self.path, self.stamp, repr(self.source), repr(self.target), self.min_valid,
            str(self.exact), str(self.out), self.fill, self.with_fraction,
        )  # fmt: skip


@lru_cache(maxsize=4)
def load(path: str, stamp: tuple[int, int], source: GeoBox, target: GeoBox) -> WeightFile:
    """The weights of a file, read once in a process; `stamp` is when it was written, and its size."""
    from xsoil.grids.esmf import read_weights, wanted

    file = Path(path)
    if not file.is_file() or _stamp(file) != stamp:
        raise GridMismatchError(
            f"the weight file {path!r} has changed or gone since the result was defined; expected it to stay: "
            "call xsoil.apply_weights(...) again"
        )
    with open_netcdf(file) as raw:
        names = wanted(raw.variables)
        arrays = _read(raw, names, file)
        units = {what: str(raw[name].attrs.get("units", "degrees")) for what, name in names.items()}
        attrs = dict(raw.attrs)
    return read_weights(arrays, units, attrs, source, target)


def open_netcdf(file: Path) -> xr.Dataset:
    """The file as it is: nothing decoded, nothing read (an index would read a coordinate, of whatever size)."""
    try:
        return xr.open_dataset(file, decode_cf=False, create_default_indexes=False)
    except Exception as error:  # of any class: a damaged header chooses which
        text = str(error).strip().splitlines() or [type(error).__name__]
        raise ArgumentError(
            f"{str(file)!r} cannot be read as netCDF ({text[0]}); expected a weight file, and one "
            'of h5netcdf and netCDF4: pip install "xsoil[data]"'
        ) from error


def _read(raw: xr.Dataset, names: dict[str, str], file: Path, only: tuple[str, ...] | None = None) -> dict[str, Any]:
    """Variables of the file, by what they are; of a size that the file can hold."""
    chosen = {what: name for what, name in names.items() if only is None or what in only}
    require_backed(sum(raw[name].nbytes for name in chosen.values()), stored_bytes(file), f"the weight file {file}")
    try:
        return {what: raw[name].values for what, name in chosen.items()}
    except Exception as error:  # of any class, see `open_netcdf`
        raise ArgumentError(
            f"the weight file {file} is damaged ({type(error).__name__}: {str(error)[:200]}); write it anew"
        ) from error


def _stamp(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_mtime_ns, found.st_size


def _target(to: object, region: object, source: Located, dims: list[int] | None) -> tuple[GeoBox, Hashable, Hashable]:
    """The target; of a named grid the window over the source or all of it, whichever has the file's size."""
    found = _regrid.target_of(to, region, source)
    if isinstance(to, str) and region is None and dims is not None:
        whole = named_grid(to).geobox
        if math.prod(found[0].shape) != math.prod(dims) == math.prod(whole.shape):
            return whole, *whole.dimensions
    return found
