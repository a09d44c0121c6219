"""An eager call uses all cores, except within a task, beside which others run."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor

import dask
import distributed
import numpy as np
import pytest

import xsoil
from xsoil import threads
from xsoil.threads import available_cores


@pytest.fixture
def eight(monkeypatch):
    """A machine of eight cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def test_all_cores_of_the_process(eight):
    assert available_cores() == 8


def test_one_in_a_task(eight):
    task = dask.delayed(available_cores, pure=False)
    assert dask.compute(task(), task(), scheduler="threads") == (1, 1)
    assert dask.compute(task(), scheduler="synchronous") == (8,)  # one task at a time
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(available_cores).result() == 1


def test_one_in_a_worker(eight):
    with distributed.Client(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as client:
        assert client.submit(available_cores, pure=False).result() == 1


def test_one_in_a_process_of_a_pool():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(available_cores) == 1


def test_an_eager_call_in_a_task_stays_on_its_thread(monkeypatch, eight):
    """No band of it goes to the pool."""
    soil = {"sand": 40.0 + np.zeros((600, 600)), "clay": 20.0 + np.zeros((600, 600))}
    import xarray as xr

    ds = xr.Dataset({name: (("y", "x"), values, {"units": "percent"}) for name, values in soil.items()})
    pools = []
    pool = threads._pool
    monkeypatch.setattr(threads, "_pool", lambda count: pools.append(count) or pool(count))
    found = dask.delayed(lambda: xsoil.ptf(ds, "cosby1984_univariate").k_sat.values)().compute(scheduler="threads")
    assert pools == []
    np.testing.assert_array_equal(found, xsoil.ptf(ds, "cosby1984_univariate").k_sat)
    assert set(pools) == {8}
