"""Splits of cells and times into what is trained on and what is kept for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xsoil.errors import ArgumentError, GridMismatchError, TimeError, UnknownNameError
from xsoil.evaluation._folds import buffered, dealt, drawn, require_km, within
from xsoil.evaluation._masks import (
    ascending,
    bare,
    checked_seed,
    kind_of,
    number_of_tests,
    taking_part,
    template_of,
)
from xsoil.evaluation._periods import Period, Times, days_since, periods_of
from xsoil.evaluation._places import block_numbers, places_of

__all__ = ["SETS", "Period", "Split", "days_since"]

SETS = ("train", "temporal", "spatial", "spatio_temporal")
"""Training cells in training times, training cells in test times, test cells in training times, and both."""


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Cells and times of training and of test.

    Made by `random_cells`, `spatial_blocks`, `folds`, `block_folds`, `regions_out`, `cells` (any masks) and `times`; a
    split of cells and one of times are joined by ``&``. Kept in a file by `save` and `load`, so that another run, or
    model, uses the same.

    Attributes
    ----------
    train, test : xr.DataArray of bool, or None
        Cells, on the spatial dims with their coordinates; those in neither (a buffer, sea) are left out. None: all
        cells are trained on, and none is kept.
    train_times, test_times : tuple of (first, last day), or None
        Both days belong to the period. None: all times are trained on, and none is kept.

    Examples
    --------
    >>> import xsoil
    >>> grid = xsoil.data.synthetic_soil(xsoil.ease_grid("EASE2_M36km", (0, 40, 20, 50)))
    >>> split = Split.random_cells(grid, 0.2, seed=1) & Split.times(train="2015", test="2016")
    >>> split
    <Split: 1123 cells of training, 281 of test; training 2015-01-01..2015-12-31, test 2016-01-01..2016-12-31>
    """

    train: xr.DataArray | None = None
    test: xr.DataArray | None = None
    train_times: tuple[Period, ...] | None = None
    test_times: tuple[Period, ...] | None = None

    @classmethod
    def cells(cls, train: xr.DataArray, test: xr.DataArray) -> Split:
        """Cells by two masks on the same dims.

        Raises
        ------
        ArgumentError
            Masks that are not boolean, have a time, or share cells; no training cell.
        GridMismatchError
            Masks on different cells.
        """
        for mask, what in ((train, "train"), (test, "test")):
            if not isinstance(mask, xr.DataArray) or mask.dtype != bool or "time" in mask.dims:
                raise ArgumentError(f"{what} is {kind_of(mask)}; expected a DataArray of bool on the dims of the cells")
        if set(train.dims) != set(test.dims):
            raise GridMismatchError(
                f"train is on {[str(d) for d in train.dims]}, test on {[str(d) for d in test.dims]}; "
                "expected the same dims"
            )
        try:
            train, test = xr.align(train, test.transpose(*train.dims), join="exact", copy=False)
        except ValueError as error:
            raise GridMismatchError(f"train and test are not on the same cells: {error}") from error
        train, test = (bare(mask.compute(), mask.dims) for mask in (train, test))
        if both := int((train & test).sum()):
            raise ArgumentError(f"{both} cells are in train and in test; expected each in one of them: test & ~train")
        if not train.any():
            raise ArgumentError("no training cell: train is False everywhere")
        return cls(train, test)

    @classmethod
    def random_cells(
        cls,
        like: xr.Dataset | xr.DataArray,
        fraction: float = 0.2,
        seed: int = 0,
        *,
        stratify: xr.DataArray | None = None,
        where: xr.DataArray | None = None,
    ) -> Split:
        """Single cells, drawn at random, for the test.

        Parameters
        ----------
        like : xr.Dataset or xr.DataArray
            The cells: all dims but time (of a dataset with a grid: its spatial dims). Nothing of it is computed.
        fraction : float
            Share of the test cells, above 0 and below 1.
        seed : int
            Another seed, another draw. The direction of the axes does not matter.
        stratify : xr.DataArray, optional
            Classes (texture, land cover) of each of which that share is drawn, at least one cell of two; cells without
            a class (NaN) are left out.
        where : xr.DataArray of bool, optional
            Cells that take part, e.g. land with observations.
        """
        template = template_of(like)
        part = taking_part(template, where)
        number = number_of_tests(fraction, int(part.sum()))
        if stratify is not None:
            named, tested = drawn(template, part, fraction, seed, stratify)
            return cls.cells(template.copy(data=named & ~tested), template.copy(data=tested))
        order = np.random.default_rng(checked_seed(seed)).permutation(int(part.sum()))
        chosen = np.zeros(part.shape, bool)
        upward = ascending(template)
        chosen[upward][part[upward]] = order < number
        return cls.cells(template.copy(data=part & ~chosen), template.copy(data=chosen))

    @classmethod
    def spatial_blocks(
        cls,
        like: xr.Dataset | xr.DataArray,
        size_km: float,
        *,
        buffer_km: float = 0.0,
        fraction: float = 0.2,
        seed: int = 0,
        where: xr.DataArray | None = None,
    ) -> Split:
        """Whole blocks of cells for the test, so that test cells are no close neighbours of training cells.

        Blocks are bands of latitude divided into equal parts, some `size_km` high and wide on the ground everywhere on
        Earth; a cell belongs to the block of its centre.

        Parameters
        ----------
        like : xr.Dataset or xr.DataArray
            A grid, or cells (pixels, sites) with coordinates or variables ``lat`` and ``lon``.
        size_km : float
            Side of a block [km].
        buffer_km : float
            Training cells whose centre lies within this distance of the centre of a test cell are left out [km].
        fraction, seed, where
            As in `random_cells`; blocks are added at random until their cells make up `fraction`.
        """
        require_km(size_km=size_km, buffer_km=buffer_km)
        template = template_of(like)
        part = taking_part(template, where)
        places = places_of(like, template)
        block = block_numbers(places[0][part], places[1][part], float(size_km))
        numbers, sizes = np.unique(block, return_counts=True)
        if numbers.size < 2:
            raise ArgumentError(f"all cells lie in one block of {size_km:g} km; expected a smaller size_km")
        wanted = number_of_tests(fraction, block.size)
        order = np.random.default_rng(checked_seed(seed)).permutation(numbers.size)
        totals = np.cumsum(sizes[order])
        count = int(np.abs(totals[:-1] - wanted).argmin()) + 1
        test = np.zeros(part.shape, bool)
        test[part] = np.isin(block, numbers[order[:count]])
        train = buffered(lambda: places, part, test, buffer_km)
        return cls.cells(template.copy(data=train), template.copy(data=test))

    @classmethod
    def folds(
        cls,
        like: xr.Dataset | xr.DataArray,
        number: int | None = 5,
        seed: int = 0,
        *,
        by: xr.DataArray | None = None,
        stratify: xr.DataArray | None = None,
        buffer_km: float = 0.0,
        where: xr.DataArray | None = None,
    ) -> list[Split]:
        """Splits of a cross-validation: every cell is in the test of exactly one of them.

        Parameters
        ----------
        like, seed, where
            As in `random_cells`.
        number : int or None
            Folds; None with `by` leaves out one group at a time.
        by : xr.DataArray, optional
            Groups whose cells stay together (stations, continents); cells without one (NaN) are left out.
        stratify : xr.DataArray, optional
            Classes that are dealt out, so that every fold has its share of each (Poehls et al. 2025).
        buffer_km : float
            As in `spatial_blocks`.
        """
        require_km(buffer_km=buffer_km)
        template = template_of(like)
        named, numbers, count = dealt(template, taking_part(template, where), number, seed, by, stratify)
        splits = []
        places = cache(partial(places_of, like, template))
        for index in range(count):
            tested = numbers == index
            train = buffered(places, named, tested, buffer_km)
            splits.append(cls.cells(template.copy(data=train), template.copy(data=tested)))
        return splits

    @classmethod
    def block_folds(
        cls,
        like: xr.Dataset | xr.DataArray,
        size_km: float,
        number: int = 5,
        *,
        buffer_km: float = 0.0,
        seed: int = 0,
        where: xr.DataArray | None = None,
    ) -> list[Split]:
        """Splits of a cross-validation by blocks: those of `spatial_blocks`, each in the test of one fold.

        Parameters
        ----------
        like, size_km, buffer_km, seed, where
            As in `spatial_blocks`.
        number : int
            Folds.
        """
        require_km(size_km=size_km, buffer_km=buffer_km)
        template = template_of(like)
        part = taking_part(template, where)
        lat, lon = places_of(like, template)
        block = np.full(part.shape, np.nan)
        block[part] = block_numbers(lat[part], lon[part], float(size_km))
        return cls.folds(like, number, seed, by=template.copy(data=block), buffer_km=buffer_km, where=where)

    @classmethod
    def regions_out(
        cls,
        like: xr.Dataset | xr.DataArray,
        regions: Mapping[str, tuple[float, float, float, float]] | xr.DataArray,
        *,
        buffer_km: float = 0.0,
        where: xr.DataArray | None = None,
    ) -> dict[str, Split]:
        """Splits that each keep a whole region for the test, and train on all others.

        Parameters
        ----------
        like, where
            As in `random_cells`.
        regions : mapping of str to (west, south, east, north), or xr.DataArray
            Boxes in degrees (west > east crosses the dateline), for which `like` has a grid or ``lat`` and ``lon``; or
            the label of each cell (continents). Cells in no region are trained on.
        buffer_km : float
            As in `spatial_blocks`.

        Returns
        -------
        dict of str to Split
        """
        require_km(buffer_km=buffer_km)
        template = template_of(like)
        part = taking_part(template, where)
        splits = {}
        places = cache(partial(places_of, like, template))
        for name, inside in within(like, template, regions).items():
            tested = part & inside
            if not tested.any():
                raise ArgumentError(f"region {name!r} has no cell that takes part")
            train = buffered(places, part, tested, buffer_km)
            splits[name] = cls.cells(template.copy(data=train), template.copy(data=tested))
        return splits

    @classmethod
    def times(cls, *, train: Times | Sequence[Times], test: Times | Sequence[Times]) -> Split:
        """Days of training and of test.

        Parameters
        ----------
        train, test : str, pair, slice or list of these
            A period ("2015", "2015-06"), or its first and last day, month or year (("2015-04", "2016")); a list for
            several.
        """
        ours, theirs = periods_of(train, "train"), periods_of(test, "test")
        for one in ours:
            for other in theirs:
                if one[0] <= other[1] and other[0] <= one[1]:
                    first = max(one[0], other[0])
                    raise TimeError(f"train and test share days from {first} on; expected periods without a common day")
        return cls(train_times=ours, test_times=theirs)

    def __and__(self, other: Split) -> Split:
        if not isinstance(other, Split):
            return NotImplemented
        for name in ("train", "train_times"):
            if getattr(self, name) is not None and getattr(other, name) is not None:
                what = "cells" if name == "train" else "times"
                raise ArgumentError(f"both splits are of {what}; expected one of cells and one of times")
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return Split(**{name: getattr(other, name) if value is None else value for name, value in own.items()})

    @property
    def sets(self) -> tuple[str, ...]:
        """Those of `SETS` that the split has."""
        times, cells = self.test_times is not None, self.test is not None
        there = (True, times, cells, times and cells)
        return tuple(name for name, has in zip(SETS, there, strict=True) if has)

    def cells_of(self, name: str) -> xr.DataArray | None:
        """Cells of one of the `SETS`; None for all."""
        if name not in SETS:
            raise UnknownNameError.of("set", name, SETS)
        return self.train if name in ("train", "temporal") else self.test

    def days_of(self, name: str, index: pd.Index) -> np.ndarray:
        """Which times of an index belong to one of the `SETS`, as bool."""
        if name not in SETS:
            raise UnknownNameError.of("set", name, SETS)
        periods = self.train_times if name in ("train", "spatial") else self.test_times
        if periods is None:
            return np.ones(len(index), bool)
        days = days_since(index)
        inside = np.zeros(len(index), bool)
        for first, last in periods:
            inside |= (days >= first) & (days <= last)
        return inside

    def save(self, path: Any) -> None:
        """Write the split to a file (JSON, readable everywhere; masks packed)."""
        from xsoil.evaluation._split_file import write

        write(self.train, self.test, self.train_times, self.test_times, path)

    @classmethod
    def load(cls, path: Any) -> Split:
        """Read a split from the file of `save`.

        Raises
        ------
        ArgumentError
            The file is none of `save`, or damaged.
        """
        from xsoil.evaluation._split_file import read

        return cls(*read(path))

    def __repr__(self) -> str:
        if self.train is None or self.test is None:
            cells = "all cells"
        else:
            cells = f"{int(self.train.sum())} cells of training, {int(self.test.sum())} of test"
        if self.train_times is None or self.test_times is None:
            times = "all days"
        else:
            ours, theirs = (" ".join(f"{a}..{b}" for a, b in p) for p in (self.train_times, self.test_times))
            times = f"training {ours}, test {theirs}"
        return f"<Split: {cells}; {times}>"
