"""Functions of cells: layouts, chunks, threads, grids that differ."""

from __future__ import annotations

import threading

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xsoil.errors import GridMismatchError
from xsoil.verbs import _cells
from xsoil.verbs._cells import map_cells


def both(a, b):
    assert a.ndim == b.ndim == 1
    assert a.flags.c_contiguous and b.flags.c_contiguous  # noqa: PT018
    return np.exp(a / 7) + b, a * b


def one(a):
    return (a + 1,)


def field(*shape, seed=0, dims=("depth", "y", "x")):
    values = np.random.default_rng(seed).uniform(0, 10, shape).astype(np.float32)
    return xr.DataArray(values, dims=dims[-len(shape) :])


def equal(found, expected):
    for a, b in zip(dask.compute(*found, scheduler="synchronous"), expected, strict=True):
        xr.testing.assert_identical(a, b)


def test_values_and_dims():
    a, b = field(2, 5, 6), xr.DataArray(np.array([1.0, 2.0], np.float32), dims="depth")
    total, product = map_cells(both, [a, b], ["f4", "f8"])
    assert total.dims == product.dims == ("depth", "y", "x")
    assert (total.dtype, product.dtype) == (np.float32, np.float64)
    np.testing.assert_array_equal(product, a.values * b.values[:, None, None])
    assert map_cells(one, [a], ["f4"])[0].dims == a.dims


def test_widest_input_orders_the_dims():
    flat, deep = field(5, 6), field(2, 5, 6).transpose("y", "depth", "x")
    assert map_cells(both, [flat, deep], ["f4", "f4"])[0].dims == ("y", "depth", "x")
    layer = xr.DataArray(np.ones(3, np.float32), dims="layer")
    assert map_cells(both, [flat, layer], ["f4", "f4"])[0].dims == ("layer", "y", "x")
    assert map_cells(both, [xr.DataArray(np.float32(1)), flat], ["f4", "f4"])[0].dims == ("y", "x")


@settings(max_examples=15)
@given(
    st.integers(2, 9), st.integers(2, 9), st.integers(1, 2), st.integers(7, 99), st.permutations(["depth", "y", "x"])
)
def test_any_layout_gives_the_same_bits(ny, nx, nd, block, order):
    a, b = field(2, 7, 9), field(7, 9, seed=1)
    expected = map_cells(both, [a, b], ["f4", "f4"])
    lazy = map_cells(both, [a.chunk(y=ny, x=nx, depth=nd), b.chunk(y=nx, x=ny)], ["f4", "f4"], block=block)
    assert all(array.chunks is not None for array in lazy)
    equal(lazy, expected)
    turned = map_cells(both, [a.transpose(*order), b], ["f4", "f4"], block=block)
    equal([t.transpose(*a.dims) for t in turned], expected)
    flipped = map_cells(both, [a[:, ::-1, ::-1], b[::-1, ::-1]], ["f4", "f4"])
    equal([f[:, ::-1, ::-1] for f in flipped], expected)


def test_nothing_is_computed_while_building(no_compute):
    a = field(40, 50).chunk(y=7)
    first, second = (map_cells(both, [a, field(40, 50)], ["f4", "f4"]) for _ in range(2))
    assert [array.data.name for array in first] == [array.data.name for array in second]


def test_one_task_per_block():
    calls = []

    def count(a, b):
        calls.append(a.size)
        return a, b

    a = field(40, 50).chunk(y=20, x=25)
    xr.Dataset(dict(zip("pq", map_cells(count, [a, a + 1], ["f4", "f4"]), strict=True))).compute()
    assert calls == [500] * 4  # both outputs by one call per chunk


def test_all_cores(monkeypatch):
    """Several threads, each cell once, the same numbers; one thread under dask."""
    names = set()

    def slow(a):
        names.add(threading.current_thread().name)
        return (a * 2,)

    monkeypatch.setattr(_cells, "available_cores", lambda: 3)
    a = field(100, 64)
    (eager,) = map_cells(slow, [a], ["f4"], block=64)
    xr.testing.assert_identical(eager, a * 2)
    assert threading.main_thread().name not in names
    names.clear()
    map_cells(slow, [a.chunk(y=50)], ["f4"], block=64)[0].compute(scheduler="synchronous")
    assert names == {threading.main_thread().name}


def test_errors_of_threads_come_through(monkeypatch):
    monkeypatch.setattr(_cells, "available_cores", lambda: 2)

    def fails(a):
        raise ZeroDivisionError("in a thread")

    with pytest.raises(ZeroDivisionError, match="in a thread"):
        map_cells(fails, [field(100, 64)], ["f4"], block=64)


def test_empty():
    (found,) = map_cells(one, [field(0, 5)], ["f4"])
    assert found.shape == (0, 5)


def test_coordinates_stay():
    a = field(5, 6).assign_coords(
        y=("y", np.arange(5.0), {"units": "m"}), lat=(("y", "x"), np.ones((5, 6))), spatial_ref=0
    )
    found = map_cells(both, [a, a.drop_vars("lat")], ["f4", "f4"])[0]
    xr.testing.assert_identical(found.coords.to_dataset(), a.coords.to_dataset())
    assert found.attrs == {}


def other_grids():
    a = field(5, 6).assign_coords(y=np.arange(5.0))
    yield a, a.assign_coords(y=np.arange(5.0) + 0.5)
    yield a, a[1:]
    yield a[:, :3], a
    yield a.drop_vars("y"), a.drop_vars("y")[1:]


@pytest.mark.parametrize(("a", "b"), list(other_grids()))
@pytest.mark.parametrize("chunks", [None, 2])
def test_other_grids_raise(a, b, chunks):
    if chunks:
        a = a.chunk(y=chunks)
    with pytest.raises(GridMismatchError, match=r"not on one grid: .*; bring them to one grid"):
        map_cells(both, [a, b], ["f4", "f4"])
