"""Soil-moisture models on rasters: cells per second and core, and memory of a raster that would not fit."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import xarray as xr

import xsoil

PREDICTORS = ["smap", "ndvi", "lst", "rain", "sand", "clay", "acidity", "et", "elevation"]


@pytest.fixture(scope="module")
def model():
    """One dense member of 164 parameters."""
    rng = np.random.default_rng(0)
    rows = {name: ("row", rng.normal(size=500).astype(np.float32), {"units": "1"}) for name in PREDICTORS}
    rows["sand"][2]["units"] = rows["clay"][2]["units"] = "percent"
    rows["soil_moisture"] = ("row", rng.uniform(0, 0.5, 500), {"units": "m3 m-3"})
    return xsoil.fit_moisture_model(
        xr.Dataset(rows), kind="dense", predictors=PREDICTORS, options={"epochs": 1}, progress=False
    )


def test_a_dense_member_per_core(ratio, model, monkeypatch):
    """Cells per second of `.predict` on one core, in processor time: other work on the machine does not count."""
    from xsoil.verbs import _moisture_rows

    monkeypatch.setattr(_moisture_rows, "available_cores", lambda: 1)
    rng = np.random.default_rng(1)
    side = 2000
    maps = {
        n: (("y", "x"), rng.normal(size=(side, side)).astype(np.float32), {"units": model.predictors[n]})
        for n in PREDICTORS
    }
    ds = xr.Dataset(maps)
    model.predict(ds)
    best = np.inf
    for _ in range(7):
        start = time.thread_time()
        model.predict(ds)
        best = min(best, time.thread_time() - start)
    ratio.report("dense member on a raster, one core", f"{side**2 / best / 1e6:.0f} million cells/s", ">= 20")


SCRIPT = """
import resource, sys
import dask, dask.array as da, numpy as np, xarray as xr, xsoil
def main():
    model = xsoil.load_model(sys.argv[1])
    side, block = int(sys.argv[2]), 2048
    maps = {}
    for k, (name, units) in enumerate(model.predictors.items()):
        line = da.arange(side, chunks=block, dtype=np.float32) / np.float32(side)
        maps[name] = (("y", "x"), line[:, None] * np.float32(k + 1) - line[None, :], {"units": units})
    found = model.predict(xr.Dataset(maps))
    sums = dask.delayed(lambda *parts: parts)(found.soil_moisture.mean().data, found.soil_moisture_std.mean().data)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if sys.argv[3] == "cluster":
        from distributed import Client, LocalCluster
        cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
        with cluster, Client(cluster) as client:
            before = client.run(lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
            value = client.compute(sums).result()
            after = client.run(lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
            grown = max(after[k] - before[k] for k in after)
    else:
        with dask.config.set(scheduler="threads", num_workers=2):
            value = sums.compute()
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - base
    print(f"{side * side * 4 * (len(maps) + 2) / 2**20:.0f} {grown:.0f} {float(value[0])!r} {float(value[1])!r}")
if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("where", ["threads", "cluster"])
def test_a_raster_larger_than_memory(ratio, model, tmp_path, where):
    """Peak memory of a raster in blocks; its size is given by XSOIL_BENCH_SIDE (40,000: 65 GB)."""
    model.save(tmp_path / "model")
    script = tmp_path / "raster.py"
    script.write_text(textwrap.dedent(SCRIPT))
    side = os.environ.get("XSOIL_BENCH_SIDE", "40000")
    done = subprocess.run(
        [sys.executable, script, tmp_path / "model", side, where], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    size, grown, *_ = map(float, done.stdout.split()[-4:])
    ratio.report(
        f"dense member, raster of {size / 1024:.0f} GB ({where}, 2 workers)", f"{grown:.0f} MB", "bounded, <= 1500"
    )
    assert grown < 1500
