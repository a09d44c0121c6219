"""What dask costs: blocks of 64 MB and more from Zarr against the same blocks in a plain loop, and on two threads.

The overhead compares processor time, which neighbours on the machine hardly disturb; two threads need a quiet machine.
"""

from __future__ import annotations

import time

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from odc.geo.xr import xr_coords

import xsoil
from xsoil.verbs._lazy import scan, tiles

ROUNDS = 3
CELLS, SPAN, DAYS, BLOCK = 120_000, 40_000, 4_384, 548
BANDS, SIDE = 12, 4096
LI = {
    "theta_s": 0.5, "theta_fc": 0.2, "theta_wp": 0.078, "root_depth": 1.0, "depletion_fraction": 0.1,
    "crop_coefficient": 0.5,
}  # fmt: skip


class Sink:
    """Takes blocks and keeps nothing of them but how many numbers there were."""

    def __init__(self):
        self.taken = 0

    def __setitem__(self, where, block):
        self.taken += np.asarray(block).size


def on_dask(array, threads):
    sink = Sink()
    with dask.config.set(scheduler="threads", num_workers=threads):
        da.store(array.data, sink, lock=False)
    assert sink.taken == array.size


def report(ratio, work, plain, lazy):
    """Least processor time of the loop and of dask on one thread; least time on the clock of one and two threads."""
    processor, clock = {}, {}
    runs = {"plain": plain, "one": lambda: lazy(1), "two": lambda: lazy(2)}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            start = time.process_time(), time.perf_counter()
            run()
            processor[name] = min(processor.get(name, np.inf), time.process_time() - start[0])
            clock[name] = min(clock.get(name, np.inf), time.perf_counter() - start[1])
    ratio.report(
        f"{work} on dask from Zarr, one thread / plain loop",
        f"{processor['one'] / processor['plain']:.2f} x the processor time ({processor['plain']:.1f} s), "
        f"{clock['one'] / clock['plain']:.2f} x on the clock",
        "<= 1.10 x",
    )
    ratio.report(
        f"{work} on dask from Zarr, two threads / one",
        f"{clock['one'] / clock['two']:.2f} x as fast ({clock['one']:.1f} s, {clock['two']:.1f} s)",
        ">= 1.8 x" if work == "simulate" else ">= 1.5 x",
    )


@pytest.fixture
def one_core(monkeypatch):
    """The loop has one core, as a task of dask has."""
    for module in (scan, tiles):
        monkeypatch.setattr(module, "available_cores", lambda: 1)


def test_simulate(ratio, one_core, tmp_path):
    rng = np.random.default_rng(0)
    rain = (rng.gamma(0.3, 8, (BLOCK, SPAN)) // 0.1 / 10).astype("f4")
    shape, chunks = (DAYS, CELLS), (BLOCK, SPAN)
    assert rain.nbytes >= 64e6
    series = da.map_blocks(lambda block_info=None: rain, chunks=da.core.normalize_chunks(chunks, shape), dtype="f4")
    rate, dims = {"units": "mm d-1"}, ("time", "cell")
    days = pd.date_range("2010-01-01", periods=DAYS)
    written = {"precipitation": (dims, series, rate), "pet": (dims, series // 4, rate)}
    xr.Dataset(written, {"time": days}).to_zarr(tmp_path / "forcing.zarr", consolidated=False)
    forcing = xr.open_zarr(tmp_path / "forcing.zarr", consolidated=False)
    stored = xr.open_zarr(tmp_path / "forcing.zarr", consolidated=False, chunks=None)
    k_sat = (10 ** rng.uniform(0.5, 2.3, CELLS)).astype("f4")
    ds = xr.Dataset({"k_sat": ("cell", k_sat, {"units": "cm d-1"})})
    out = xsoil.simulate(ds.chunk(cell=SPAN), forcing, **LI)

    def plain():
        sink = Sink()
        for cell in range(0, CELLS, SPAN):
            state = None
            for day in range(0, DAYS, BLOCK):
                block = stored.isel(time=slice(day, day + BLOCK), cell=slice(cell, cell + SPAN)).load()
                found = xsoil.simulate(ds.isel(cell=slice(cell, cell + SPAN)), block, initial=state, **LI)
                state = xsoil.final_state(found)
                sink[day, cell] = found.theta.values
        assert sink.taken == DAYS * CELLS

    report(ratio, "simulate", plain, lambda threads: on_dask(out.theta, threads))


def test_upscale(ratio, one_core, tmp_path):
    box = xsoil.ease_grid("EASE2_M01km", (-125, 5, -40, 70))
    coarse, fine = xsoil.ease_grid("EASE2_M36km"), 36
    row, column = xsoil.ease_rowcol(box)
    row, column = -(-row // fine) + 1, -(-column // fine) + 1  # whole cells of 36 km
    side = SIDE // fine * fine
    target = coarse[row : row + 2 * side // fine, column : column + 2 * side // fine]
    source = xsoil.ease_grid("EASE2_M01km")[
        row * fine : row * fine + 2 * side, column * fine : column * fine + 2 * side
    ]
    block = np.random.default_rng(0).normal(25, 10, (1, side, side)).astype("f4")
    assert block.nbytes >= 64e6
    shape, chunks = (BANDS, 2 * side, 2 * side), (1, side, side)
    data = da.map_blocks(lambda block_info=None: block, chunks=da.core.normalize_chunks(chunks, shape), dtype="f4")
    ds = xr.Dataset({"sand": (("band", *source.dimensions), data)}, xr_coords(source))
    ds.to_zarr(tmp_path / "source.zarr", consolidated=False)
    lazy = xr.open_zarr(tmp_path / "source.zarr", consolidated=False)
    stored = xr.open_zarr(tmp_path / "source.zarr", consolidated=False, chunks=None)
    out = xsoil.upscale(lazy, target, chunks=side // fine)

    def plain():
        sink = Sink()
        for band in range(BANDS):
            for y in (0, side):
                for x in (0, side):
                    part = stored.isel(band=[band], y=slice(y, y + side), x=slice(x, x + side)).load()
                    cells = tuple(slice(at // fine, (at + side) // fine) for at in (y, x))
                    sink[band, y, x] = xsoil.upscale(part, target[cells]).sand.values
        assert sink.taken == out.sand.size

    report(ratio, "upscale", plain, lambda threads: on_dask(out.sand, threads))
