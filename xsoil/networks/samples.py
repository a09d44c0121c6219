"""Cells to learn from: what is known of them as arrays, and where such arrays are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from xsoil.errors import ArgumentError

__all__ = ["CellSource", "Cells", "InMemorySource", "Sample", "held"]

Cells = NDArray[np.intp]
Array = Any
"""A numpy array, or a tensor once a sample has gone through `Sample.tensors`."""

# Fields whose arrays have the cells in their last dimension; the others have them in their first.
_CELLS_LAST = ("forcing", "observed", "parameters", "known")


@dataclass(frozen=True, eq=False)
class Sample:
    """What is known of n cells.

    Parameters
    ----------
    cells : (n,) array of int
        Their numbers in the source.
    static : (n, channels) or (n, channels, rows, columns) array, optional
        Static predictors, or patches of nested fine cells of them; NaN = missing.
    history : (n, days, series) array, optional
        Series that are predictors.
    forcing : mapping of str to (time, n) array
        Input of the physics, e.g. precipitation and pet [mm d-1].
    observed : mapping of str to (time, n) array
        Observations, by the name of the output of the physics they are compared with; NaN = missing.
    parameters : mapping of str to (n,) array
        Parameters found before, the targets of the two-step strategy; NaN = missing.
    known : mapping of str to (n,) array
        Parameters of the physics that are given, not learned.
    """

    cells: Array
    static: Array | None = None
    history: Array | None = None
    forcing: Mapping[str, Array] = field(default_factory=dict)
    observed: Mapping[str, Array] = field(default_factory=dict)
    parameters: Mapping[str, Array] = field(default_factory=dict)
    known: Mapping[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.cells)

    def __post_init__(self) -> None:
        n = len(self.cells)
        for name, array, axis in self.arrays():
            if array.shape[axis] != n:
                raise ArgumentError(
                    f"{name} is of shape {tuple(array.shape)} in a sample of {n} cells; "
                    f"expected {n} in its {'last' if axis else 'first'} dimension"
                )

    def arrays(self) -> list[tuple[str, Array, int]]:
        """Every array with its name and the axis of its cells."""
        found = [(name, getattr(self, name), 0) for name in ("cells", "static", "history")]
        found += [
            (f"{group} {name!r}", array, -1) for group in _CELLS_LAST for name, array in getattr(self, group).items()
        ]
        return [(name, array, axis) for name, array, axis in found if array is not None]

    def _mapped(self, change: Callable[[Array, int], Array]) -> Sample:
        """Every array changed by ``change(array, axis of cells)``."""
        new: dict[str, Any] = {}
        for row in fields(self):
            value = getattr(self, row.name)
            if row.name in _CELLS_LAST:
                new[row.name] = {name: change(array, -1) for name, array in value.items()}
            else:
                new[row.name] = None if value is None else change(value, 0)
        return Sample(**new)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for _, array, _ in self.arrays())

    def take(self, positions: NDArray[np.integer[Any]]) -> Sample:
        """The cells at these positions, copied."""
        return self._mapped(lambda array, axis: _taken(array, positions, axis))

    def by_cell(self) -> Sample:
        """The same with the series of each cell together in memory, from where cells are taken ten times as fast."""
        return self._mapped(lambda array, axis: np.asfortranarray(array) if axis else array)

    def tensors(self, device: torch.device | str = "cpu") -> Sample:
        """The same as tensors on `device`, in single precision on Apple's, which have no other."""
        single = torch.device(device).type == "mps"

        def moved(array: Array, _: int) -> Array:
            tensor = torch.as_tensor(_native(array))
            return (tensor.float() if single and tensor.is_floating_point() else tensor).to(device)

        return self._mapped(moved)

    @staticmethod
    def joined(samples: Sequence[Sample]) -> Sample:
        """Samples of one kind, one after the other."""
        if len(samples) == 1:
            return samples[0]
        new: dict[str, Any] = {}
        for row in fields(Sample):
            values = [getattr(sample, row.name) for sample in samples]
            if row.name in _CELLS_LAST:
                new[row.name] = {name: np.concatenate([v[name] for v in values], axis=-1) for name in values[0]}
            else:
                new[row.name] = None if values[0] is None else np.concatenate(values, axis=0)
        return Sample(**new)


def _taken(array: Array, positions: NDArray[np.integer[Any]], axis: int) -> Array:
    if axis and array.ndim == 2 and array.flags.f_contiguous:
        return np.ascontiguousarray(np.take(array.T, positions, axis=0).T)
    return np.take(array, positions, axis=axis)


def _native(array: Array) -> Array:
    """Arrays that torch can take: byte order of this machine, writable."""
    if isinstance(array, np.ndarray) and not (array.dtype.isnative and array.flags.writeable):
        return array.astype(array.dtype.newbyteorder("="))
    return array


class CellSource(Protocol):
    """Where cells are read from.

    `blocks` are cells that are cheap to read together (the chunk of a store), all of them in some order;
    ``read(cells)`` gives those cells in that order, from any thread.
    """

    @property
    def blocks(self) -> Sequence[Cells]: ...

    def __len__(self) -> int: ...

    def read(self, cells: Cells) -> Sample: ...


class InMemorySource:
    """A source whose cells are all in memory.

    Parameters
    ----------
    sample : Sample
        Its cells are numbered as `sample.cells` says, in any order.
    block : int
        Cells of a block.
    """

    def __init__(self, sample: Sample, block: int = 4096) -> None:
        self.sample = sample
        self._block = block
        self._order = np.argsort(sample.cells, kind="stable")
        self._sorted = np.asarray(sample.cells)[self._order]
        if (np.diff(self._sorted) == 0).any():
            raise ArgumentError("a cell occurs twice in the sample; expected each cell once")

    @cached_property
    def blocks(self) -> Sequence[Cells]:
        return [self._sorted[i : i + self._block] for i in range(0, len(self._sorted), self._block)]

    def __len__(self) -> int:
        return len(self._sorted)

    def positions(self, cells: Cells) -> NDArray[np.intp]:
        """Where these cells are in the sample."""
        found = np.minimum(np.searchsorted(self._sorted, cells), len(self._sorted) - 1)
        if len(cells) and (self._sorted[found] != cells).any():
            missing = np.asarray(cells)[self._sorted[found] != cells]
            raise ArgumentError(f"{len(missing)} cells are not in the source, the first is {missing[0]}")
        return self._order[found]

    def read(self, cells: Cells) -> Sample:
        """See `CellSource`."""
        return self.sample.take(self.positions(cells))


def held(source: CellSource, cells: Cells, memory_budget: float) -> CellSource:
    """The source with these cells in memory where they take no more than the budget [bytes], else as it is.

    Each block is read once.
    """
    if isinstance(source, InMemorySource):
        return source
    wanted = np.unique(np.asarray(cells, np.intp))
    kept: list[Sample] = []
    found = total = 0
    for block in source.blocks:
        own = block[np.isin(block, wanted)]
        if not own.size:
            continue
        kept.append(source.read(own))
        found, total = found + own.size, total + kept[-1].nbytes
        # joined() needs both the parts and the whole for a moment.
        if total / found * wanted.size * 2 > memory_budget:
            return source
    return InMemorySource(Sample.joined(kept)) if kept else source
