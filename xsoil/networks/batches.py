"""Mini-batches of cells, streamed under a memory budget; the order of an epoch follows from the seed and its number."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from xsoil.errors import ArgumentError
from xsoil.networks.samples import Cells, CellSource, InMemorySource, Sample

__all__ = ["Batches", "fingerprint", "finite_values"]

# Groups of blocks in memory at a time: the one that is trained on, the next one, and what the source needs to read it.
_GROUPS = 4
# Cells that are read to learn how large a cell is.
_PROBE = 64
# Numbers that a fingerprint multiplies at a time.
_AT_ONCE = 2**20


class Batches:
    """Batches of some cells of a source, as samples of tensors; an iteration is an epoch.

    Cells of a source in memory are shuffled as a whole, from a copy of them where the budget holds all twice. Else
    blocks are shuffled, as many as a quarter of the budget holds are read together, a group ahead in a thread of
    their own, and shuffled among themselves.

    Parameters
    ----------
    source : CellSource
    cells : (n,) array of int
        In any order.
    batch_cells : int
        Cells of a batch; batches are made equal, so that some hold one less.
    memory_budget : float
        [bytes]
    seed : int, optional
        Of the shuffles; cells come in their order without.
    epoch : callable, optional
        Gives the number of the epoch as an iteration begins.
    """

    def __init__(
        self, source: CellSource, cells: Cells, batch_cells: int, *, memory_budget: float, seed: int | None = None,
        epoch: Callable[[], int] = lambda: 0,
    ) -> None:  # fmt: skip
        if batch_cells < 1:
            raise ArgumentError(f"batch_cells={batch_cells}; expected 1 or more")
        self.source, self.seed, self.epoch = source, seed, epoch
        self.cells = np.unique(np.asarray(cells, np.intp))
        count = -(-self.cells.size // batch_cells)
        self._edges = [self.cells.size * i // count for i in range(count + 1)] if count else [0]
        self._own: tuple[Sample, NDArray[np.intp]] | None = None
        if isinstance(source, InMemorySource):
            self._own = source.sample, source.positions(self.cells)
            if 2 * source.sample.nbytes <= memory_budget:
                self._own = source.sample.take(self._own[1]).by_cell(), np.arange(self.cells.size)
        self._pieces = [self.cells] if self._own else self._cut(memory_budget)

    def _cut(self, memory_budget: float) -> list[Cells]:
        """The own cells of each block, in pieces that fit a group."""
        own = [block[np.isin(block, self.cells)] for block in self.source.blocks]
        own = [block for block in own if block.size]
        if (there := sum(block.size for block in own)) != self.cells.size:
            raise ArgumentError(f"{self.cells.size - there} of {self.cells.size} cells are in no block of the source")
        if not own:
            return []
        probe = self.source.read(own[0][:_PROBE])
        self._most = max(1, int(memory_budget / _GROUPS / (probe.nbytes / len(probe))))
        return [block[i : i + self._most] for block in own for i in range(0, block.size, self._most)]

    def __len__(self) -> int:
        return len(self._edges) - 1

    def __iter__(self) -> Iterator[Sample]:
        rest: list[Sample] = []
        waiting = 0
        sizes = iter(np.diff(self._edges).tolist())
        size = next(sizes, 0)
        for group, order in self._groups():
            start = 0
            while waiting + len(order) - start >= size > 0:
                stop = start + size - waiting
                yield Sample.joined([*rest, group.take(order[start:stop])]).tensors()
                rest, waiting, start = [], 0, stop
                size = next(sizes, 0)
            if start < len(order):
                rest.append(group.take(order[start:]))
                waiting += len(order) - start
            del group  # before the next one but one is read

    def _groups(self) -> Iterator[tuple[Sample, NDArray[np.intp]]]:
        """Samples in memory with the order in which their cells come."""
        rng = None if self.seed is None else np.random.default_rng([self.seed, self.epoch()])

        def shuffled(n: int) -> NDArray[np.intp]:
            return np.arange(n) if rng is None else rng.permutation(n)

        if self._own is not None:
            sample, positions = self._own
            if positions.size:
                yield sample, positions[shuffled(positions.size)]
            return
        groups: list[list[Cells]] = []
        room = 0
        for number in shuffled(len(self._pieces)):
            piece = self._pieces[number]
            if piece.size > room:
                groups.append([])
                room = self._most
            groups[-1].append(piece)
            room -= piece.size
        with ThreadPoolExecutor(1, thread_name_prefix="xsoil-read") as reader:
            ahead: Future[Sample] | None = None
            for number, group in enumerate(groups):
                sample = (ahead or reader.submit(self.source.read, np.concatenate(group))).result()
                ahead = None
                if number + 1 < len(groups):
                    ahead = reader.submit(self.source.read, np.concatenate(groups[number + 1]))
                yield sample, shuffled(len(sample))
                del sample


def finite_values(source: CellSource, cells: Cells, kind: str) -> dict[str, NDArray[np.intp]]:
    """How many values of each series ("observed") or parameter ("parameters") each of the cells has; one pass.

    Returns
    -------
    dict of (n,) array of int
        In the order of `cells`.
    """
    cells = np.asarray(cells, np.intp)
    order = np.argsort(cells, kind="stable")
    found: dict[str, NDArray[np.intp]] = {}
    for block in source.blocks:
        own = block[np.isin(block, cells)]
        if not own.size:
            continue
        at = order[np.searchsorted(cells, own, sorter=order)]
        for name, array in getattr(source.read(own), kind).items():
            count = np.isfinite(array).reshape(-1, own.size).sum(axis=0)
            found.setdefault(name, np.zeros(cells.size, np.intp))[at] = count
    return found


def fingerprint(source: CellSource, cells: Cells) -> str:
    """What tells the data of these cells from others, in any blocks; one pass."""
    sums: dict[str, NDArray[np.uint64]] = {}
    place = {int(cell): i for i, cell in enumerate(np.sort(cells))}
    for block in source.blocks:
        own = block[np.isin(block, cells)]
        if not own.size:
            continue
        at = [place[int(cell)] for cell in own]
        for name, array, axis in source.read(own).arrays():
            found = _cell_sums(np.moveaxis(np.asarray(array), axis, 0).reshape(own.size, -1))
            sums.setdefault(name, np.zeros(len(place), np.uint64))[at] = found
    digest = hashlib.sha256()
    for name, column in sorted(sums.items()):
        digest.update(name.encode() + column.tobytes())
    return digest.hexdigest()[:32]


def _cell_sums(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    """The bits of each cell's values (cells, values), weighted by their places and summed up."""
    odd = np.random.default_rng(0).integers(0, 2**63, values.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    out = np.empty(len(values), np.uint64)
    step = max(_AT_ONCE // max(values.shape[1], 1), 1)
    for first in range(0, len(values), step):
        part = values[first : first + step].astype(np.float64)
        part[np.isnan(part)] = np.nan  # of one pattern of bits
        bits = np.ascontiguousarray(part).view(np.uint64)
        # The upper half is mixed into the lower one, where single precision has zeros only.
        out[first : first + step] = ((bits ^ (bits >> np.uint64(29))) * odd).sum(axis=1)
    return out
