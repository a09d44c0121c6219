"""`simulate` on dask: forcing in blocks of one day, and threads and processes from 10^4 to 10^6 cells, of both models.

The figures of docs/cluster.md; threads and processes need a quiet machine.
"""

from __future__ import annotations

import time

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from distributed import Client, LocalCluster

import xsoil

LI = {
    "theta_s": 0.5, "theta_fc": 0.2, "theta_wp": 0.078, "root_depth": 1.0, "depletion_fraction": 0.1,
    "crop_coefficient": 0.5,
}  # fmt: skip
LOAM = {"theta_r": 0.078, "theta_s": 0.43, "alpha": 0.036, "n": 1.56, "lai": 2.0}
FIXED = {"water_balance": LI, "richards": LOAM}
RATE, DIMS = {"units": "mm d-1"}, ("time", "cell")


def world(cells, days, block):
    """Cheap rain in blocks of (days, cells), other in every block: what is timed is the model."""
    few = np.random.default_rng(0).gamma(0.3, 8, 997).astype("f4")  # what travels with each task

    def rain(block_info=None):
        where = block_info[None]
        shape = tuple(stop - start for start, stop in where["array-location"])
        return np.resize(np.roll(few, 31 * sum(where["chunk-location"])), shape)

    chunks = da.core.normalize_chunks(block, (days, cells))
    series = da.map_blocks(rain, chunks=chunks, dtype="f4", meta=np.empty((0, 0), "f4"))
    forcing = xr.Dataset(
        {"precipitation": (DIMS, series, RATE), "pet": (DIMS, series, RATE)},
        {"time": pd.date_range("2010-01-01", periods=days)},
    )
    k_sat = np.logspace(0.5, 2.3, cells, dtype="f4")
    return xr.Dataset({"k_sat": ("cell", k_sat, {"units": "cm d-1"})}).chunk(cell=block[1]), forcing


@pytest.mark.parametrize(("model", "cells"), [("water_balance", 60 * 80), ("richards", 60)])
def test_ten_years_in_blocks_of_one_day(ratio, tmp_path, model, cells):
    days = 3652
    ds, forcing = world(cells, days, (1, cells))
    forcing.to_zarr(tmp_path / "daily.zarr", consolidated=False)
    stored = xr.open_zarr(tmp_path / "daily.zarr", consolidated=False)
    assert stored.precipitation.chunks[0] == (1,) * days
    clock, processor = {}, {}

    def timed(name, work):
        start = time.perf_counter(), time.process_time()
        out = work()
        clock[name] = min(clock.get(name, np.inf), time.perf_counter() - start[0])
        processor[name] = min(processor.get(name, np.inf), time.process_time() - start[1])
        return out

    for _ in range(2):
        run = timed("graph", lambda: xsoil.simulate(ds, stored, model, **FIXED[model]))
        with dask.config.set(scheduler="threads", num_workers=2):
            memory = timed("read", stored.compute)
            found = timed("run", run.compute)
        eager = timed("eager", lambda memory=memory: xsoil.simulate(ds.compute(), memory, model, **FIXED[model]))
    xr.testing.assert_identical(found, eager)
    tasks = len(dict(run.__dask_graph__()))
    told = {name: f"{clock[name]:.1f} s ({processor[name]:.1f} s of processors)" for name in clock}
    ratio.report(
        f"{model}, {cells:,} cells x {days:,} days, Zarr in time chunks of 1",
        f"{tasks:,} tasks; graph {told['graph']}, run {told['run']}, of which reading {told['read']}; "
        f"the model in memory {told['eager']}",
        "(no rechunk)",
    )


# Cells, days and blocks of each model; a column-day of Richards costs some thousand times one of the water balance.
SIZES = {
    "water_balance": ((10_000, 100_000, 1_000_000), 366, (183, 5_000)),
    "richards": ((1_000, 10_000, 100_000), 4, (2, 500)),
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", ["threads", "processes"])
@pytest.mark.parametrize("model", SIZES)
def test_scaling(ratio, model, kind, workers):
    sizes, days, block = SIZES[model]
    found = []
    cluster = client = None
    if kind == "processes":
        cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
        client = Client(cluster)
    try:
        for cells in sizes:
            ds, forcing = world(cells, days, block)
            best = np.inf
            for _ in range(4 if cells < sizes[-1] else 2):
                end = xsoil.simulate(ds, forcing, model, **FIXED[model]).final_theta
                start = time.perf_counter()
                if client is None:
                    end.compute(scheduler="threads", num_workers=workers)
                else:
                    client.compute(end).result()
                best = min(best, time.perf_counter() - start)
            found.append(f"{cells:,}: {best / cells / days * 1e9:,.1f}")
    finally:
        if client is not None:
            client.close()
            cluster.close()
    ratio.report(f"{model} on dask, {workers} {kind}", f"ns per cell-day for cells {', '.join(found)}", "(flat)")


def test_a_million_columns(ratio):
    """Two days of Richards, one of them at a time: time per column-day as of ten thousand columns."""
    told = {}
    for cells in (10_000, 1_000_000):
        ds, forcing = world(cells, 2, (1, 5_000))
        end = xsoil.simulate(ds, forcing, "richards", **LOAM).final_next_step
        start = time.process_time()
        end.compute(scheduler="threads", num_workers=2)
        told[cells] = (time.process_time() - start) / cells / 2
    ratio.report(
        "richards on dask, 10^6 columns x 2 days, blocks of 5,000 and a day",
        f"{told[1_000_000] * 1e6:.0f} us of processor per column-day (10^4 columns: {told[10_000] * 1e6:.0f} us)",
        "(flat)",
    )
