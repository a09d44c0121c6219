"""Cells to learn from, read from xarray objects: the `CellSource` of networks and inversions."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xsoil.verbs._observed import Observed
from xsoil.verbs._predictors import Predictors, Series
from xsoil.verbs._staging import Cells, Staged, Window, blocks_of, pieces_of, walk

if TYPE_CHECKING:
    from xsoil.networks.samples import InMemorySource, Sample

__all__ = ["FAULTS", "Inputs", "XarraySource", "observations_per_cell"]

FAULTS: Mapping[str, int] = {
    "no_observations": 1, "missing_forcing": 2, "missing_predictors": 4, "missing_parameter": 8,
    "constant_observations": 128,
}  # fmt: skip
"""Why a cell takes no part, as bits. A bound of a cell's own that is missing or impossible is a missing parameter."""

LEAST_VARIANCE = 1e-12
"""Observations that vary by less than this share of their mean square are constant but for rounding."""

BLOCK_BYTES = 64 * 2**20
"""What cells that are read together hold at most, where they are not all in memory."""


@dataclass(frozen=True)
class Inputs:
    """Everything known of the cells, still lazy.

    Attributes
    ----------
    forcing : xr.Dataset
        Series of the model on time and the dims of the cells (or time alone), without coordinates.
    known : mapping of str to xr.DataArray
        Given parameters, and bounds of single cells, numbers or maps on (some of) the dims.
    varying : collection of str
        Observed variables of which constant series are of no use.
    predictors, history
        What a network reads; None for an inversion.
    """

    observed: Observed
    forcing: xr.Dataset
    known: Mapping[str, xr.DataArray]
    predictors: Predictors | None = None
    history: Series | None = None
    varying: Collection[str] = ()

    @property
    def dims(self) -> tuple[Hashable, ...]:
        return self.observed.dims

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.observed.data.sizes[d] for d in self.dims)

    def flat(self, array: xr.DataArray) -> np.ndarray:
        """A parameter as float64 of every cell, or as one number (0-d)."""
        values = array.compute()
        if not values.ndim:
            return np.asarray(values.to_numpy(), np.float64)
        template = xr.DataArray(np.broadcast_to(np.int8(0), self.shape), dims=self.dims)
        spread = xr.DataArray(values.variable).broadcast_like(template).transpose(*self.dims)
        return spread.to_numpy().astype(np.float64).ravel()


def observations_per_cell(observed: Observed) -> np.ndarray:
    """Finite observations of each cell, all variables together, in the shape of the grid; one pass."""
    shape = tuple(observed.data.sizes[d] for d in observed.dims)
    counts = np.zeros(shape, np.int64)
    pieces = pieces_of(observed.data, observed.dims)
    for number, _, values in walk(observed.data, observed.dims, pieces):
        at = tuple(pieces[number][d] for d in observed.dims)
        for array in values.values():
            counts[at] += np.isfinite(array).sum(axis=0).reshape(counts[at].shape)
    return counts


@dataclass
class XarraySource:
    """The cells of a selection, numbered by their flat place in the grid of the observations.

    Series are read once from where they are, chunk by chunk: into memory where the cells take no more than
    `memory_budget`, else into a scratch file, from which blocks of neighbours are read. Predictors are read for each
    block from their maps. Cells that are of no use are left out, and `status` says why.

    Parameters
    ----------
    inputs : Inputs
    wanted : array of bool
        Cells, of the shape of the grid.
    days : int
        Leading days of the forcing that are needed.
    memory_budget : float
        Bytes.
    scratch : Path
        A folder for the scratch file.
    """

    inputs: Inputs
    wanted: np.ndarray
    days: int
    memory_budget: float
    scratch: Path
    parameters: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Of every cell: what a network learns from in two steps; may be set later."""

    def __post_init__(self) -> None:
        inputs, dims = self.inputs, self.inputs.dims
        self.status = np.zeros(int(np.prod(inputs.shape)), np.uint8)
        self.known = {name: inputs.flat(array) for name, array in inputs.known.items()}
        self._drop(~self.wanted.ravel(), 0)
        for values in self.known.values():
            self._drop(np.broadcast_to(np.isnan(values), self.status.shape), FAULTS["missing_parameter"])
        shared = [n for n, a in inputs.forcing.data_vars.items() if not set(a.dims) & set(dims)]
        forcing = inputs.forcing.isel(time=slice(self.days))
        self._shared = {str(n): forcing[n].to_numpy().astype(np.float32) for n in shared}
        self._forcing_names = [str(n) for n in inputs.forcing.data_vars]
        template = xr.DataArray(np.broadcast_to(np.int8(0), inputs.shape), dims=dims)
        mapped = {n: a.broadcast_like(template) for n, a in forcing.drop_vars(shared).data_vars.items()}
        series = {"forcing": xr.Dataset(mapped).transpose("time", *dims, missing_dims="ignore")}
        series["observed"] = inputs.observed.data
        if inputs.history is not None:
            series["history"] = inputs.history.data
        lengths = {(kind, str(n)): ds.sizes["time"] for kind, ds in series.items() for n in ds.data_vars}
        self.bytes_per_cell = 4 * (sum(lengths.values()) + self.days * len(inputs.observed.outputs)) + (
            0 if inputs.predictors is None else inputs.predictors.bytes_per_cell
        )
        pieces = pieces_of(series["forcing" if mapped else "observed"], dims)
        by_piece = blocks_of(
            self.wanted & (self.status == 0).reshape(self.wanted.shape), pieces, dims,
            max(BLOCK_BYTES // self.bytes_per_cell, 1),
        )  # fmt: skip
        blocks = [block for piece in by_piece for block in piece]
        self.resident = self.bytes_per_cell * sum(block.size for block in blocks) <= self.memory_budget
        path = None if self.resident else self.scratch / "series.bin"
        self._staged = Staged(lengths, blocks, path)
        for kind, ds in series.items():
            if ds.data_vars:
                self._stage(kind, ds, pieces, by_piece)
        self._places = np.concatenate(blocks) if blocks else np.empty(0, np.intp)
        self._sorted = np.argsort(self._places, kind="stable")
        self._static: np.ndarray | None = None
        self._find_faults()
        self.blocks: Sequence[Cells] = [kept for b in blocks if (kept := b[self.status[b] == 0]).size]

    def __len__(self) -> int:
        return sum(block.size for block in self.blocks)

    @property
    def cells(self) -> Cells:
        """All cells that can be learned from, in ascending order."""
        return np.sort(np.concatenate(self.blocks)) if self.blocks else np.empty(0, np.intp)

    def _drop(self, where: np.ndarray, bit: int) -> None:
        """Mark cells of the selection; `bit` 0 for those outside it."""
        if bit:
            inside = self.wanted.ravel()
            self.status[where & inside] |= bit

    def _stage(self, kind: str, ds: xr.Dataset, pieces: Sequence[Window], by_piece: list[list[Cells]]) -> None:
        dims, shape = self.inputs.dims, self.inputs.shape
        first_block = np.cumsum([0, *(len(blocks) for blocks in by_piece)])
        busy = [number for number, blocks in enumerate(by_piece) if blocks]
        for at, first, values in walk(ds, dims, [pieces[number] for number in busy]):
            number = busy[at]
            piece = pieces[number]
            extent = tuple(piece[d].stop - piece[d].start for d in dims)
            for offset, block in enumerate(by_piece[number]):
                places = np.unravel_index(block, shape)
                local = tuple(p - piece[d].start for p, d in zip(places, dims, strict=True))
                columns = np.ravel_multi_index(local, extent)
                for name, array in values.items():
                    self._staged.write((kind, name), int(first_block[number]) + offset, first, array[:, columns])

    def _find_faults(self) -> None:
        """Cells with a day without forcing, without an observation, or without any predictor."""
        for values in self._shared.values():
            if not (values >= 0).all():
                self.status[self._places] |= FAULTS["missing_forcing"]
        for number, block in enumerate(self._staged.blocks):
            good = np.ones(block.size, bool)
            for key in self._keys("forcing"):
                values = self._staged.read(key, number)
                good &= ((values >= 0) & (values < np.inf)).all(axis=0)
            self.status[block[~good]] |= FAULTS["missing_forcing"]
            seen, useful = np.zeros(block.size, bool), np.zeros(block.size, bool)
            for name in self.inputs.observed.outputs:
                values = self._staged.read(("observed", name), number)
                there = np.isfinite(values).any(axis=0)
                seen |= there
                useful |= there & _varied(values) if name in self.inputs.varying else there
            self.status[block[~seen]] |= FAULTS["no_observations"]
            self.status[block[seen & ~useful]] |= FAULTS["constant_observations"]
            there = self._has_predictors(number, block)
            self.status[block[~there]] |= FAULTS["missing_predictors"]

    def _keys(self, kind: str) -> list[tuple[str, str]]:
        return [key for key in self._staged.length if key[0] == kind]

    def _has_predictors(self, number: int, block: Cells) -> np.ndarray:
        if self.inputs.predictors is None and self.inputs.history is None:
            return np.ones(block.size, bool)
        found = np.zeros(block.size, bool)
        if self.inputs.predictors is not None:
            patches = self.inputs.predictors.read(np.unravel_index(block, self.inputs.shape))
            found |= np.isfinite(patches).reshape(block.size, -1).any(axis=1)
            if self.resident:
                if self._static is None:
                    self._static = np.empty((int(self._staged.starts[-1]), *patches.shape[1:]), np.float32)
                self._static[self._staged.starts[number] : self._staged.starts[number + 1]] = patches
        for key in self._keys("history"):
            found |= np.isfinite(self._staged.read(key, number)).any(axis=0)
        return found

    def series(self, cells: Cells) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Forcing (days, n), observations by output (observed times, n) and given parameters (n,) of these cells."""
        found, _ = self._read(np.asarray(cells, np.intp), predictors=False)
        observed = {output: found["observed", name] for name, output in self.inputs.observed.outputs.items()}
        return self._forcing(found, len(cells)), observed, self._known(cells)

    def _read(self, cells: Cells, *, predictors: bool) -> tuple[dict[tuple[str, str], np.ndarray], np.ndarray | None]:
        """Staged series and static predictors of these cells, in their order."""
        places = self._sorted[np.searchsorted(self._places, cells, sorter=self._sorted)]
        number = np.searchsorted(self._staged.starts, places, side="right") - 1
        found: dict[tuple[str, str], np.ndarray] = {
            key: np.empty((days, cells.size), np.float32) for key, days in self._staged.length.items()
        }
        static = None
        for block in np.unique(number):
            own = np.flatnonzero(number == block)
            columns = places[own] - self._staged.starts[block]
            for key, array in found.items():
                array[:, own] = self._staged.read(key, block)[:, columns]
            if predictors and self.inputs.predictors is not None:
                patches = self.inputs.predictors.read(np.unravel_index(cells[own], self.inputs.shape))
                if static is None:
                    static = np.empty((cells.size, *patches.shape[1:]), np.float32)
                static[own] = patches
        return found, static

    def _known(self, cells: Cells) -> dict[str, np.ndarray]:
        return {n: v[cells] if v.ndim else np.full(len(cells), v) for n, v in self.known.items()}

    def _fields(
        self, cells: Cells, static: np.ndarray | None, found: Mapping[tuple[str, str], np.ndarray]
    ) -> dict[str, Any]:
        """The fields of a `Sample` from series (time, cells)."""
        history = [found[key] for key in self._keys("history")]
        return {
            "cells": cells,
            "static": static,
            "history": np.ascontiguousarray(np.stack(history, axis=-1).swapaxes(0, 1)) if history else None,
            "forcing": self._forcing(found, cells.size),
            "observed": {
                output: self._dense(found["observed", name]) for name, output in self.inputs.observed.outputs.items()
            },
            "parameters": {name: values[cells] for name, values in self.parameters.items()},
            "known": self._known(cells),
        }

    def _forcing(self, found: Mapping[tuple[str, str], np.ndarray], n: int) -> dict[str, np.ndarray]:
        return {
            name: np.repeat(self._shared[name][:, None], n, axis=1) if name in self._shared else found["forcing", name]
            for name in self._forcing_names
        }

    def _dense(self, values: np.ndarray) -> np.ndarray:
        """Observations on every day of the forcing."""
        out = np.full((self.days, values.shape[1]), np.nan, np.float32)
        out[self.inputs.observed.days] = values
        return out

    def read(self, cells: Cells) -> Sample:
        """See `CellSource`."""
        from xsoil.networks.samples import Sample

        cells = np.asarray(cells, np.intp)
        found, static = self._read(cells, predictors=True)
        return Sample(**self._fields(cells, static, found))

    def in_memory(self) -> InMemorySource | XarraySource:
        """All cells in memory, where they fit the budget: what was read, not copies of it."""
        from xsoil.networks.samples import InMemorySource, Sample

        if not self.resident or not len(self):
            return self
        return InMemorySource(Sample(**self._fields(self._places, self._static, self._staged.arrays)))


def _varied(values: np.ndarray) -> np.ndarray:
    """Which columns (time, n) hold finite values that vary."""
    there = np.isfinite(values)
    count = np.maximum(there.sum(axis=0), 1)
    wide = np.where(there, values, 0.0).astype(np.float64)
    off = np.where(there, wide - wide.sum(axis=0) / count, 0.0)
    return np.asarray((off**2).sum(axis=0) > LEAST_VARIANCE * (wide**2).sum(axis=0))
