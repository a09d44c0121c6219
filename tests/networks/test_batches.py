"""Batches: each cell once an epoch, the same order for the same seed, within the memory budget."""

from __future__ import annotations

import threading
import weakref

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'learn' is not installed")

from xsoil.errors import ArgumentError  # noqa: E402
from xsoil.networks.batches import Batches, finite_values  # noqa: E402
from xsoil.networks.samples import InMemorySource, Sample, held  # noqa: E402


class Streamed:
    """A source that is read piece by piece and notes what was asked of it."""

    def __init__(self, cells=100, block=13, days=50):
        self.cells, self.days = cells, days
        self.blocks = [np.arange(i, min(i + block, cells)) for i in range(0, cells, block)]
        self.reads, self.threads = [], set()
        self.alive, self.most, self.lock = weakref.WeakSet(), 0, threading.Lock()

    def __len__(self):
        return self.cells

    def read(self, cells):
        self.reads.append(len(cells))
        self.threads.add(threading.current_thread().name)
        series = np.tile(cells.astype("f4"), (self.days, 1))
        observed = np.where(np.arange(self.days)[:, None] < cells, series, np.nan)
        sample = Sample(cells, cells[:, None].astype("f4"), None, {"pet": series}, {"theta": observed}, {}, {})
        with self.lock:
            self.alive.add(sample)
            self.most = max(self.most, sum(len(s) for s in self.alive))
        return sample


BYTES = 8 + 4 + 50 * 4 + 50 * 4  # of a cell of it


ALL = np.arange(100)


def epoch(source, cells=ALL, batch=16, budget=1e9, seed=0, number=0):
    batches = Batches(source, cells, batch, memory_budget=budget, seed=seed, epoch=lambda: number)
    found = list(batches)
    assert len(found) == len(batches)
    return found


@pytest.mark.parametrize("budget", [1e9, 4 * 30 * BYTES, 4 * 5 * BYTES])
def test_each_cell_once(budget):
    source = Streamed()
    found = epoch(source, budget=budget)
    sizes = [len(batch) for batch in found]
    assert sum(sizes) == 100
    assert max(sizes) <= 16
    assert max(sizes) - min(sizes) <= 1
    order = torch.cat([batch.cells for batch in found]).numpy()
    assert sorted(order) == list(range(100))
    assert (order != np.arange(100)).any()
    for batch in found:  # everything stays with its cell
        assert (batch.forcing["pet"] == batch.cells).all()
        assert (batch.static[:, 0] == batch.cells).all()
    assert max(source.reads[1:]) <= max(budget / 4 / BYTES, 1)
    assert any(name.startswith("xsoil-read") for name in source.threads)


def test_no_more_in_memory_than_the_budget():
    """Of 100 cells never more than two groups of a quarter of the budget."""
    source = Streamed()
    for _ in Batches(source, ALL, 8, memory_budget=4 * 15 * BYTES, seed=0):
        pass
    assert 13 <= source.most <= 2 * 15  # a block, or two where the thread that reads ahead was in time


def test_order_follows_from_seed_and_epoch():
    def order(**options):
        return torch.cat([batch.cells for batch in epoch(Streamed(), budget=4 * 30 * BYTES, **options)]).tolist()

    assert order() == order()
    assert order() != order(seed=1)
    assert order() != order(number=1)
    assert order(seed=None) == list(range(100))


def test_in_memory_the_blocks_do_not_show():
    sample = Streamed().read(np.arange(100))
    one, other = (epoch(InMemorySource(sample, block=block)) for block in (7, 100))
    assert all(torch.equal(a.cells, b.cells) for a, b in zip(one, other, strict=True))


def test_in_memory_a_copy_of_the_cells_does_not_show():
    """Where the budget holds the cells twice they are laid out anew; batches are the same, whole and row by row."""
    source = InMemorySource(Streamed().read(np.arange(100)[::-1]))
    cells = np.arange(10, 90, 2)
    copied, as_it_is = (epoch(source, cells, budget=factor * source.sample.nbytes) for factor in (2, 1))
    for a, b in zip(copied, as_it_is, strict=True):
        assert torch.equal(a.cells, b.cells)
        assert torch.equal(a.static, b.static)
        assert a.forcing["pet"].is_contiguous()
        assert torch.equal(a.forcing["pet"], b.forcing["pet"])
        assert torch.equal(a.observed["theta"].nan_to_num(-1), b.observed["theta"].nan_to_num(-1))


def test_some_cells_and_no_cells():
    found = epoch(Streamed(), np.array([3, 90, 17]), batch=2)
    assert sorted(torch.cat([b.cells for b in found]).tolist()) == [3, 17, 90]
    assert epoch(Streamed(), np.array([], int)) == []
    with pytest.raises(ArgumentError, match="1 of 2 cells are in no block"):
        epoch(Streamed(), np.array([3, 100]))


def test_an_error_while_reading_ahead_arrives():
    source = Streamed()
    read = source.read

    def broken(cells):
        if 60 in cells:
            raise OSError("no such chunk")
        return read(cells)

    source.read = broken
    with pytest.raises(OSError, match="no such chunk"):
        epoch(source, budget=4 * 5 * BYTES)


def test_held_if_it_fits():
    cells = np.array([5, 70, 20])
    source = Streamed()
    inside = held(source, cells, 10 * BYTES)
    assert isinstance(inside, InMemorySource)
    assert inside.read(np.array([70, 5])).forcing["pet"][0].tolist() == [70, 5]
    assert source.reads == [1, 1, 1]
    assert held(source, np.arange(100), 10 * BYTES) is source


def test_finite_values():
    found = finite_values(Streamed(), np.array([60, 0, 7]), "observed")
    assert found["theta"].tolist() == [50, 0, 7]


def test_samples_say_what_does_not_fit():
    with pytest.raises(ArgumentError, match=r"forcing 'pet' is of shape \(4, 2\) in a sample of 3 cells"):
        Sample(np.arange(3), forcing={"pet": np.zeros((4, 2))})
    with pytest.raises(ArgumentError, match="a cell occurs twice"):
        InMemorySource(Sample(np.array([1, 1])))
    with pytest.raises(ArgumentError, match="1 cells are not in the source, the first is 9"):
        InMemorySource(Sample(np.arange(3))).read(np.array([0, 9]))
