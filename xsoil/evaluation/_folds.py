"""Which fold, region or class a cell belongs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xsoil.errors import ArgumentError
from xsoil.evaluation._labels import labels_of
from xsoil.evaluation._masks import ascending, checked_seed, on
from xsoil.evaluation._places import near, places_of

__all__ = ["buffered", "dealt", "drawn", "require_km", "within"]


def require_km(**lengths: float) -> None:
    """Lengths in km: above 0, of buffers 0 at the least."""
    for name, value in lengths.items():
        least = name.startswith("buffer")
        if not (value >= 0 if least else value > 0) or not value < 10_000:
            stated = ", ".join(f"{n}={v!r}" for n, v in lengths.items())
            raise ArgumentError(f"{stated}; expected lengths in km, above 0 (a buffer: or 0) and below 10,000")


def drawn(
    template: xr.DataArray, part: np.ndarray, share: float, seed: int, stratify: xr.DataArray
) -> tuple[np.ndarray, np.ndarray]:
    """Cells that take part, and those of them that are drawn: the same share of every class.

    Of a class with two cells or more at least one is drawn and one is not; a class of one cell is not drawn from.
    """
    labels, named = _labels(template, part, stratify, "stratify")
    draw = np.random.default_rng(checked_seed(seed))
    chosen = np.zeros(labels.size, bool)
    for label in np.unique(labels):
        cells = np.flatnonzero(labels == label)
        number = min(max(round(share * cells.size), 1), cells.size - 1)
        chosen[draw.permutation(cells)[:number]] = True
    return named, _back(template, named, chosen)


def dealt(
    template: xr.DataArray, part: np.ndarray, number: Any, seed: int, by: xr.DataArray | None,
    stratify: xr.DataArray | None,
) -> tuple[np.ndarray, np.ndarray, int]:  # fmt: skip
    """Cells that take part, the fold of each cell (-1 for others), and how many folds there are."""
    if by is not None and stratify is not None:
        raise ArgumentError("by=... keeps groups together and stratify=... deals them out; give one of them")
    if by is None:
        named = part
        groups = np.arange(int(part.sum()))
        units = groups.size
        if stratify is not None:
            labels, named = _labels(template, part, stratify, "stratify")
            units = labels.size
            groups = np.arange(units)
    else:
        labels, named = _labels(template, part, by, "by")
        found, groups = np.unique(labels, return_inverse=True)
        units = len(found)
    count = units if number is None and by is not None else number
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or not 2 <= count <= units:
        raise ArgumentError(f"number={number!r}; expected a whole number of folds from 2 to {units}")
    draw = np.random.default_rng(checked_seed(seed))
    fold = np.empty(units, int)
    order = np.arange(units) if number is None else draw.permutation(units)
    if stratify is not None:
        # Class after class, each in random order, so that every fold gets its share of each.
        order = order[np.argsort(pd.factorize(labels, sort=True)[0][order], kind="stable")]
    fold[order] = np.arange(units) % count
    numbers = np.full(part.shape, -1)
    if by is None:
        return named, _back(template, named, fold[groups], numbers), int(count)
    numbers[named] = fold[groups]
    return named, numbers, int(count)


def _labels(template: xr.DataArray, part: np.ndarray, given: xr.DataArray, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the cells that take part and have one, in ascending order of the axes (`by`: as they stand)."""
    array, there = labels_of(on(template, given, what))
    named = part & there
    if not named.any():
        raise ArgumentError(f"{what} has no label on the cells that are split")
    if what == "by":
        return np.asarray(array[named]), named
    upward = ascending(template)
    return np.asarray(array[upward][named[upward]]), named


def _back(template: xr.DataArray, named: np.ndarray, values: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Values of the cells in ascending order of the axes, on the template."""
    out = np.zeros(named.shape, values.dtype) if out is None else out
    upward = ascending(template)
    out[upward][named[upward]] = values
    return out


def buffered(
    places: Callable[[], tuple[np.ndarray, np.ndarray]], named: np.ndarray, tested: np.ndarray, buffer_km: float
) -> np.ndarray:
    """Cells that may be trained on: neither tested nor within the distance of one that is; `places` as needed."""
    train: np.ndarray = named & ~tested
    if buffer_km:
        lat, lon = (values[named] for values in places())
        train[named] &= ~near(lat, lon, tested[named], float(buffer_km))
    if not train.any():
        raise ArgumentError(f"the buffer of {buffer_km:g} km leaves no training cell; expected a smaller one")
    return train


def within(
    like: xr.Dataset | xr.DataArray, template: xr.DataArray, regions: Mapping[str, Any] | xr.DataArray
) -> dict[str, np.ndarray]:
    """Cells of each region: boxes (west, south, east, north) in degrees, or labels."""
    if isinstance(regions, xr.DataArray):
        labels, named = labels_of(on(template, regions, "regions"))
        return {str(label): labels == label for label in np.unique(labels[named])}
    if not isinstance(regions, Mapping) or not regions:
        raise ArgumentError("regions is no mapping of names to (west, south, east, north), and no DataArray of labels")
    lat, lon = places_of(like, template)
    found = {}
    for name, box in regions.items():
        try:
            west, south, east, north = (float(side) for side in box)
        except (TypeError, ValueError) as error:
            raise ArgumentError(
                f"region {name!r} is {box!r}; expected (west, south, east, north) in degrees"
            ) from error
        if not -90 <= south < north <= 90:
            raise ArgumentError(f"region {name!r} goes from {south:g} to {north:g} degrees north; expected south first")
        width = (east - west) % 360 or 360.0
        found[str(name)] = ((lon - west) % 360 <= width) & (lat >= south) & (lat <= north)
    return found
