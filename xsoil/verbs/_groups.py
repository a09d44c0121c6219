"""The classes of `evaluate(by=...)`: a class index per sample, and the coordinate that names the classes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError, MissingVariableError
from xsoil.verbs._inputs import classes_of, decode, require_same_grid

MAX_CLASSES = 1000
"""More different values than this are a measurement, not classes."""


@dataclass(frozen=True)
class Groups:
    """Samples and their classes."""

    index: xr.DataArray
    """int32 on dims of the data, without coordinates: 0 to number - 1, or -1 for no class."""
    number: int
    dim: str
    coords: Mapping[str, Any]


def groups_of(
    by: Hashable | xr.DataArray | tuple[Any, Sequence[float]],
    ds: xr.Dataset,
    reference: xr.Dataset | xr.DataArray,
    labels: Mapping[Hashable, Any],
    sizes: Mapping[Hashable, int],
) -> Groups:
    """Read `by`; `labels` are the indexes that the data kept after alignment, `sizes` their dims."""
    edges = None
    if isinstance(by, tuple):
        if len(by) != 2:
            raise ArgumentError(f"by={by!r}; expected a variable, or (variable, edges of bins)")
        by, edges = by
    array = _find(by, ds, reference)
    name = str(array.name) if array.name is not None else "by"
    array = _fitted(array, name, labels, sizes)
    return _bins(array, name, edges) if edges is not None else _classes(array, name)


def _find(by: Any, ds: xr.Dataset, reference: xr.Dataset | xr.DataArray) -> xr.DataArray:
    if isinstance(by, xr.DataArray):
        return by
    for obj in (ds, reference.coords if isinstance(reference, xr.DataArray) else reference):
        try:
            found = obj[by]
        except (KeyError, AttributeError, TypeError, ValueError):
            continue
        if isinstance(found, xr.DataArray):
            return found
    known = sorted(map(str, [*ds.variables, *getattr(reference, "variables", reference.coords)]))
    raise MissingVariableError(f"no {by!r} to evaluate by among {known}; name one of these, or give a DataArray")


def _fitted(
    array: xr.DataArray, name: str, labels: Mapping[Hashable, Any], sizes: Mapping[Hashable, int]
) -> xr.DataArray:
    """On the labels of the data, with the dims of the data only."""
    foreign = [str(d) for d in array.dims if d not in sizes]
    if foreign:
        raise ArgumentError(
            f"by={name!r} has the dims {foreign}, which the data lack (they have {[str(d) for d in sizes]})"
        )
    for dim in array.dims:
        if dim in labels and dim in array.indexes and not array.indexes[dim].equals(labels[dim]):
            positions = array.indexes[dim].get_indexer(labels[dim]) if array.indexes[dim].is_unique else np.array([-1])
            if dim == "time" or labels[dim].dtype.kind not in "f":
                if (positions < 0).any():
                    raise ArgumentError(
                        f"by={name!r} lacks labels of {dim!r} that the data have; give it on the same {dim!r}"
                    )
                array = array.isel({dim: positions})
    template = xr.DataArray(
        np.broadcast_to(np.int8(0), tuple(sizes.values())),
        dims=tuple(sizes),
        coords={d: index for d, index in labels.items() if d in sizes},
    )
    require_same_grid(template, array, f"by={name!r}")
    return array


def _lookup(array: xr.DataArray, find: Any) -> xr.DataArray:
    found = xr.apply_ufunc(find, array, dask="parallelized", output_dtypes=[np.int32])
    return xr.DataArray(found.variable.data, dims=found.dims)


def _classes(array: xr.DataArray, name: str) -> Groups:
    meanings = str(array.attrs.get("flag_meanings", "")).split()
    decoded = decode(array) if array.dtype.kind in "fiub" else array
    values = classes_of(array, decoded)
    if values is None:
        raise ArgumentError(
            f"by={name!r} is lazy and has no flag_values, so its classes are not known without reading it: "
            f"load it first (.compute()), set its attrs['flag_values'], or give bins: by=({name!r}, edges)"
        )
    if "flag_values" not in array.attrs and values.size > MAX_CLASSES:
        raise ArgumentError(
            f"by={name!r} has {values.size} different values; for a measurement give bins: by=({name!r}, edges)"
        )
    if values.size == 0:
        raise ArgumentError(f"by={name!r} has no class: all its values are missing")
    order = np.argsort(values, kind="stable")
    ordered = values[order]

    def find(block: Any) -> Any:
        at = np.clip(np.searchsorted(ordered, block), 0, ordered.size - 1)
        return np.where(ordered[at] == block, order[at], -1).astype(np.int32)

    attrs = {k: array.attrs[k] for k in ("long_name", "units") if k in array.attrs}
    coords: dict[str, Any] = {name: xr.Variable(name, values, attrs)}
    if len(meanings) == values.size:
        coords[f"{name}_meaning"] = xr.Variable(name, np.array(meanings))
    return Groups(_lookup(decoded, find), values.size, name, coords)


def _bins(array: xr.DataArray, name: str, edges: Sequence[float]) -> Groups:
    try:
        limits = np.asarray(list(edges), dtype=float)
    except (TypeError, ValueError):
        limits = np.empty(0)
    if limits.size < 2 or not (np.diff(limits) > 0).all():
        raise ArgumentError(
            f"by=({name!r}, {edges!r}): expected two or more ascending edges of bins, such as [0, 10, 20]"
        )
    if array.dtype.kind not in "fiub":
        raise ArgumentError(f"by={name!r} is {array.dtype}; bins need numbers")

    def find(block: Any) -> Any:
        at = np.searchsorted(limits, block, side="right") - 1
        at = np.where(block == limits[-1], limits.size - 2, at)  # the last bin holds its upper edge
        inside = (block >= limits[0]) & (block <= limits[-1])
        return np.where(inside, at, -1).astype(np.int32)

    dim = f"{name}_bins"
    units = {"units": array.attrs["units"]} if "units" in array.attrs else {}
    closing = [")"] * (limits.size - 2) + ["]"]
    text = [f"[{low:g}, {high:g}{end}" for low, high, end in zip(limits[:-1], limits[1:], closing, strict=True)]
    coords = {
        dim: xr.Variable(dim, np.array(text), units),
        f"{name}_lower": xr.Variable(dim, limits[:-1], units),
        f"{name}_upper": xr.Variable(dim, limits[1:], units),
    }
    return Groups(_lookup(decode(array), find), limits.size - 1, dim, coords)
