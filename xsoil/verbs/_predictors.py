"""Static predictors of cells: their own values, or patches of the fine cells nested in them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError, GridMismatchError, MissingVariableError, TimeError, UnitsError
from xsoil.grids.geobox import has_grid, locate
from xsoil.verbs._inputs import decode, read, require_same_grid
from xsoil.verbs._nesting import Nesting, nest
from xsoil.vocabulary import VARIABLES, canonical_units

__all__ = ["Predictors", "Series", "predictors_of", "series_of_history"]


@dataclass(frozen=True)
class Predictors:
    """Maps on the dims of the cells (`nesting` None), or fine maps nested in their grid.

    `maps` holds one variable for each of `units`, in that order.
    """

    maps: xr.Dataset
    dims: tuple[Hashable, ...]
    units: Mapping[str, str | None]
    nesting: Nesting | None

    @property
    def patch(self) -> int | None:
        """Rows and columns of a patch; None for one value per cell."""
        return None if self.nesting is None or self.nesting.patch == 1 else self.nesting.patch

    @property
    def bytes_per_cell(self) -> int:
        return 4 * len(self.units) * (self.patch or 1) ** 2

    def read(self, at: Sequence[np.ndarray]) -> np.ndarray:
        """Values (n, channels) or patches (n, channels, patch, patch), float32, of cells by their index along each dim.

        Only the window around these cells is read: ask for neighbours.
        """
        if self.nesting is None:
            low = [int(index.min()) for index in at]
            window = {d: slice(a, int(i.max()) + 1) for d, a, i in zip(self.dims, low, at, strict=True)}
            block = self._window(window)
            inside = tuple(index - a for index, a in zip(at, low, strict=True))
            return np.ascontiguousarray(block.reshape(len(self.units), -1)[:, _flat(inside, block.shape[1:])].T)
        axes = (self.nesting.rows, self.nesting.columns)
        spans = [axis.window(index, self.nesting.ring) for axis, index in zip(axes, at, strict=True)]
        cut = [axis.pieces(*span) for axis, span in zip(axes, spans, strict=True)]
        lines = [
            [self._window({self.dims[0]: r, self.dims[1]: c}) for c in cut[1][0]] for r in cut[0][0]
        ]  # fmt: skip
        if lines and lines[0]:
            inner = np.concatenate([np.concatenate(line, axis=2) for line in lines], axis=1)
        else:
            inner = np.empty((len(self.units), 0, 0), np.float32)
        shape = tuple(high - low for low, high in spans)
        block = np.full((len(self.units), *shape), np.nan, np.float32)
        if inner.size:
            r, c = cut[0][1], cut[1][1]
            block[:, r : r + inner.shape[1], c : c + inner.shape[2]] = inner
        found = self.nesting.cut(block, (spans[0][0], spans[1][0]), at[0], at[1])
        return found if self.patch else found[:, :, 0, 0]

    def _window(self, window: Mapping[Hashable, slice]) -> np.ndarray:
        """(channels, ...) of a window, float32."""
        part = self.maps.isel(window).compute()
        return np.stack([part[name].to_numpy() for name in self.units]).astype(np.float32, copy=False)


@dataclass(frozen=True)
class Series:
    """Series (time, cells' dims) that are predictors."""

    data: xr.Dataset
    units: Mapping[str, str | None]


def predictors_of(
    ds: xr.Dataset,
    like: xr.Dataset,
    dims: tuple[Hashable, ...],
    *,
    ring: int,
    expected: Mapping[str, str | None] | None = None,
) -> Predictors | None:
    """The static predictors in `ds` for the cells of `like`; None where it has no variable.

    Parameters
    ----------
    ds : xr.Dataset
        Every variable with numbers is a predictor.
    like, dims
        The cells, and their dims.
    ring : int
        Fine cells that a patch holds beyond each edge of its cell.
    expected : mapping of str to str, optional
        Names and units of the predictors that a network was trained with; without, all of `ds`.
    """
    names = _names(ds, expected, "predictor")
    if not names:
        return None
    for name in names:
        row = VARIABLES.get(name)
        if "flag_masks" in ds[name].attrs or (row is not None and row.kind == "flag"):
            raise ArgumentError(
                f"the predictor {name!r} holds flags, whose bits are no numbers; ds.drop_vars({name!r}), or give a map "
                f"for each that matters: ds.assign(frozen=(ds[{name!r}] & 1) != 0)"
            )
        if "flag_values" in ds[name].attrs or (row is not None and row.kind == "class"):
            raise ArgumentError(
                f"the predictor {name!r} holds classes, whose numbers mean nothing; give a map for each: "
                f"ds.assign(forest=(ds[{name!r}] == 4)), or their shares: ds.soil.upscale(..., 'fraction')"
            )
        if "time" in ds[name].dims:
            raise ArgumentError(
                f"the predictor {name!r} varies with time; expected maps: ds.mean('time'), or history=... for a "
                "network that reads series"
            )
    own = [tuple(d for d in ds[name].dims) for name in names]
    if has_grid(like) and any(has_grid(ds[name]) for name in names):
        return _gridded(ds, names, like, dims, ring, expected)
    if foreign := sorted({str(d) for found in own for d in found if d not in dims}):
        raise GridMismatchError(
            f"the predictors are on {foreign}, the observations on {[str(d) for d in dims]}; rename the dims, or give "
            "both a grid (coordinates and CRS)"
        )
    if ring:
        raise ArgumentError(f"ring={ring} needs predictors on a grid; found cells without one")
    require_same_grid(like, ds[names], "predictors")
    maps, units = _converted(ds, names, expected)
    template = _template(like, dims)
    spread = xr.Dataset({n: a.broadcast_like(template).transpose(*dims) for n, a in _bare(maps).items()})
    return Predictors(spread, dims, units, None)


def _gridded(
    ds: xr.Dataset,
    names: list[str],
    like: xr.Dataset,
    dims: tuple[Hashable, ...],
    ring: int,
    expected: Mapping[str, str | None] | None,
) -> Predictors:
    for name in names:
        found = ds[name].dims
        if not has_grid(ds[name]) or len(found) != 2 or set(found) != set(ds[names[0]].dims):
            raise ArgumentError(
                f"the predictor {name!r} is on {[str(d) for d in found]}; expected maps on one grid: one layer "
                "(ds.soil.depth_mean(...), .isel(...)) of each variable"
            )
    fine = locate(ds[names])
    coarse = locate(like)
    nesting = nest(fine.geobox, coarse.geobox, ring)
    maps, units = _converted(ds, names, expected)
    bare = xr.Dataset({n: a.transpose(*fine.dims) for n, a in _bare(maps).items()})
    return Predictors(bare, fine.dims, units, nesting)


def _names(ds: xr.Dataset, expected: Mapping[str, str | None] | None, what: str) -> list[str]:
    if expected is not None:
        for name in expected:
            if name not in ds.variables:
                raise MissingVariableError(
                    f"no {name!r} among {sorted(map(str, ds.data_vars))}; the network was trained with the {what}s "
                    f"{list(expected)}: ds.rename(...)"
                )
        return list(expected)
    return [
        str(n)
        for n, v in ds.data_vars.items()
        if v.dtype.kind in "fiub" and v.ndim and "grid_mapping_name" not in v.attrs and "crs_wkt" not in v.attrs
    ]


def _converted(
    ds: xr.Dataset, names: Sequence[str], expected: Mapping[str, str | None] | None
) -> tuple[xr.Dataset, dict[str, str | None]]:
    """Variables as float32: those of the vocabulary in its units, others in theirs, which must stay the same."""
    arrays: dict[str, xr.DataArray] = {}
    units: dict[str, str | None] = {}
    for name in names:
        row = VARIABLES.get(name)
        if row is not None and row.kind == "real":
            arrays[name], units[name] = read(ds, row), row.units
        else:
            text = ds[name].attrs.get("units")
            arrays[name], units[name] = decode(ds[name]), None if text is None else str(text)
            before = None if expected is None else expected[name]
            if expected is not None and canonical_units(before or "1") != canonical_units(units[name] or "1"):
                raise UnitsError(
                    f"{name!r} is in {units[name]!r}; the network was trained with {before!r}: convert it, and set its "
                    "attrs['units']"
                )
            units[name] = units[name] if expected is None else before
        arrays[name] = arrays[name].astype(np.float32)
    return xr.Dataset(arrays), units


def series_of_history(
    history: xr.Dataset | None,
    like: xr.Dataset,
    dims: tuple[Hashable, ...],
    expected: Mapping[str, str | None] | None = None,
) -> Series | None:
    """Series that are predictors, on (time, dims of the cells), float32; None without a history."""
    if history is None:
        if expected:
            raise MissingVariableError(f"the network was trained with a history of {list(expected)}; give history=...")
        return None
    names = _names(history, expected, "history")
    if not names:
        raise MissingVariableError(f"no series in the history, found {sorted(map(str, history.data_vars))}")
    for name in names:
        if "time" not in history[name].dims:
            raise ArgumentError(
                f"history {name!r} has no dimension 'time'; a predictor without time belongs into ds, the static ones"
            )
        if foreign := [str(d) for d in history[name].dims if d not in ("time", *dims)]:
            raise GridMismatchError(f"history {name!r} is on {foreign}; expected time and {[str(d) for d in dims]}")
    require_same_grid(like, history[names], "history")
    days = history.indexes.get("time")
    if days is not None and not (days.is_monotonic_increasing and days.is_unique):
        raise TimeError(
            f"the history has its {len(days)} times from {days[0]} to {days[-1]} unsorted or repeated; use "
            "history.sortby('time') and .drop_duplicates('time')"
        )
    arrays, units = _converted(history, names, expected)
    template = _template(like, dims)
    spread = {n: a.broadcast_like(template).transpose("time", *dims) for n, a in _bare(arrays).items()}
    return Series(xr.Dataset(spread), units)


def _flat(index: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    return np.ravel_multi_index(tuple(index), shape)


def _bare(ds: xr.Dataset) -> dict[str, xr.DataArray]:
    """Variables without coordinates: the grids have been compared, rounding of labels must not align them anew."""
    return {str(n): xr.DataArray(v.variable) for n, v in ds.data_vars.items()}


def _template(like: xr.Dataset, dims: tuple[Hashable, ...]) -> xr.DataArray:
    shape = tuple(like.sizes[d] for d in dims)
    return xr.DataArray(np.broadcast_to(np.int8(0), shape), dims=dims)
