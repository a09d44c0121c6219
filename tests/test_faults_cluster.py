"""Worker processes that are killed, and clusters that are restarted: the numbers are those of threads, bit for bit."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import CancelledError

import dask
import numpy as np
import pytest
import xarray as xr
from distributed import Client, LocalCluster
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.utils import get_mp_context
from small_worlds import moisture_maps

import xsoil

REGION = (-104, 33, -94, 40)
FIXED = {"root_depth": 0.5, "depletion_fraction": 0.3, "crop_coefficient": 0.9}


def upscale():
    soil = xsoil.data.synthetic_soil(xsoil.ease_grid("EASE2_M03km", region=REGION), chunks=60)
    return xsoil.upscale(soil[["sand", "clay"]], "EASE2_M36km", "mean", chunks=5)


def simulate():
    grid = xsoil.ease_grid("EASE2_M09km", region=REGION)
    soil = xsoil.data.synthetic_soil(grid, chunks=27).soil.ptf("saxton_rawls2006")
    forcing = xsoil.data.synthetic_forcing(grid, ("2015-01-01", "2015-04-30"), chunks={"time": 20, "y": 27, "x": 27})
    return xsoil.simulate(soil, forcing, outputs=("theta", "drainage"), **FIXED)


def predict():
    ds = moisture_maps(40)
    few = ds.isel(y=slice(10), x=slice(10))
    model = xsoil.fit_moisture_model(
        few, kind="dense", predictors=["rain", "sand"], options={"epochs": 1}, validation=0, members=2, progress=False
    )
    return model.predict(ds.chunk({"time": 4, "y": 10, "x": 10}))


PRELOAD = [
    "distributed",
    "pytest",
    "xsoil",
    "xsoil.grids.separable",
    "xsoil.kernels.water_balance",
    "xsoil.networks.moisture.ensemble",
]
VERBS = {function.__name__: function for function in (upscale, simulate, predict)}


class Finished(SchedulerPlugin):
    """Counts tasks that workers have finished."""

    name = "finished"

    def __init__(self):
        self.count = 0

    def transition(self, key, start, finish, *args, **kwargs):
        self.count += (start, finish) == ("processing", "memory")


class Killing:
    """A cluster of two worker processes, of which one can be killed in the middle of something."""

    def __init__(self, cluster, client):
        self.cluster, self.client, self.finished = cluster, client, Finished()
        cluster.scheduler.add_plugin(self.finished)

    def pids(self):
        return [nanny.pid for nanny in list(self.cluster.workers.values()) if nanny.pid]

    def ready(self):
        """Wait for both workers. One that is killed while it starts is not replaced, and the scheduler may still count
        one that is dead: so both processes are asked."""
        end = time.monotonic() + 120
        while len(pids := set(self.pids())) < 2 or pids != set(self.client.run(os.getpid, on_error="return").values()):
            assert time.monotonic() < end, "a worker that was killed has not been replaced for two minutes"
            time.sleep(0.05)
        self.finished.count = 0

    def compute(self, ds, after=None, choice=0):
        """The result, and whether a worker was killed after so many tasks, while the rest was at work."""
        self.ready()
        killed = False
        future = self.client.compute(ds)
        while after is not None and not future.done() and not killed:
            if self.finished.count >= after:
                pids = self.pids()
                killed = not future.done()
                os.kill(pids[choice % len(pids)], signal.SIGKILL)
            time.sleep(0.001)
        return future.result(timeout=300), killed


@pytest.fixture(scope="module")
def killing():
    settings = {
        "distributed.scheduler.allowed-failures": 100,
        "distributed.worker.multiprocessing-method": "forkserver",  # a killed worker is soon replaced
        # So long after a worker was lost its cluster gives it up for good, if just then it is not there: one that is
        # killed again and again may be lost anew at that moment.
        "distributed.deploy.lost-worker-timeout": "1 day",
    }
    with dask.config.set(settings):
        get_mp_context().set_forkserver_preload(PRELOAD)
    with (
        dask.config.set(settings),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield Killing(cluster, client)


@pytest.fixture(scope="module")
def made():
    """Each verb's lazy result and its numbers from threads, made once."""
    found: dict[str, tuple[xr.Dataset, xr.Dataset]] = {}

    def get(name):
        if name not in found:
            lazy = VERBS[name]()
            found[name] = lazy, lazy.compute(scheduler="threads")
        return found[name]

    return get


@pytest.mark.parametrize("verb", list(VERBS))
def test_a_killed_worker_is_made_up_for(killing, made, verb):
    lazy, expected = made(verb)
    found, killed = killing.compute(lazy, after=10)
    assert killed
    xr.testing.assert_identical(found, expected)


@pytest.mark.long
@pytest.mark.parametrize("verb", list(VERBS))
def test_twenty_killed_workers(killing, made, verb):
    lazy, expected = made(verb)
    moments = np.random.default_rng(0)
    found, _ = killing.compute(lazy)
    xr.testing.assert_identical(found, expected)
    tasks, kills, runs = killing.finished.count, 0, 0
    while kills < 20:
        found, killed = killing.compute(lazy, after=int(moments.integers(1, int(0.8 * tasks))), choice=runs)
        kills, runs = kills + killed, runs + 1
        xr.testing.assert_identical(found, expected)
    print(f"{verb}: {kills} workers killed in {runs} runs of {tasks} tasks, every result as from threads")


@pytest.mark.long
def test_a_store_written_by_workers_that_are_killed(killing, made, tmp_path):
    """`to_zarr` through the cluster: the store is that of threads, byte for byte."""
    lazy, _ = made("simulate")
    with dask.config.set(scheduler="threads"):
        xsoil.to_zarr(lazy, tmp_path / "threads.zarr", progress=False)
    killing.ready()
    writing = threading.Thread(target=xsoil.to_zarr, args=(lazy, tmp_path / "cluster.zarr"), kwargs={"progress": False})
    writing.start()
    while killing.finished.count < 30 and writing.is_alive():
        time.sleep(0.001)
    assert writing.is_alive()
    os.kill(killing.pids()[0], signal.SIGKILL)
    writing.join(300)
    one, other = (
        {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}
        for name in ("threads.zarr", "cluster.zarr")
    )
    assert one == other


@pytest.mark.long
def test_a_restarted_cluster(killing, made):
    """The graph lives with the user: what the cluster had under way is told as lost, and can be asked for again."""
    lazy, expected = made("upscale")
    killing.ready()
    future = killing.client.compute(lazy)
    while killing.finished.count < 5:
        time.sleep(0.001)
    killing.client.restart()
    with pytest.raises(CancelledError):
        future.result(timeout=60)
    found, _ = killing.compute(lazy)
    xr.testing.assert_identical(found, expected)


def test_a_task_takes_one_thread(killing, made):
    """Kernels in tasks start no threads of their own beside those of dask."""
    for verb in VERBS:
        killing.compute(made(verb)[0])
    counts = killing.client.run(lambda: sum(t.name.startswith("xsoil") for t in threading.enumerate()))
    assert set(counts.values()) == {0}
