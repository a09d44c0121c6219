"""The water balance against `np.add` of its two forcings into a fresh array: 40,000 cells x 1,096 days, float32.

And what the verb adds to the kernel of Richards columns, whole and a day at a time.
"""

from __future__ import annotations

import time

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xsoil.kernels import richards
from xsoil.physics.richards import grid
from xsoil.verbs.simulate import simulate

CELLS, DAYS = 40_000, 1_096
LI = {
    "theta_s": 0.5, "theta_fc": 0.2, "theta_wp": 0.078, "root_depth": 1.0, "depletion_fraction": 0.1,
    "crop_coefficient": 0.5,
}  # fmt: skip


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(0)
    rain = rng.gamma(0.3, 8, (DAYS, CELLS)).astype("f4")
    pet = (5 * rng.random((DAYS, CELLS))).astype("f4")
    rate = {"units": "mm d-1"}
    forcing = xr.Dataset(
        {"precipitation": (("time", "cell"), rain, rate), "pet": (("time", "cell"), pet, rate)},
        {"time": pd.date_range("2015-04-01", periods=DAYS)},
    )
    k_sat = (10 ** rng.uniform(0.5, 2.3, CELLS)).astype("f4")
    return xr.Dataset({"k_sat": ("cell", k_sat, {"units": "cm d-1"})}), forcing


@pytest.mark.parametrize(
    ("outputs", "budget"),
    [(("theta",), "<= 15 x"), (("theta", "actual_et", "runoff", "drainage"), "(no budget: four series)")],
)
def test_three_years_of_40_000_cells(ratio, world, outputs, budget):
    ds, forcing = world
    rain, pet = forcing.precipitation.values, forcing.pet.values
    ours, add = ratio.times(lambda: simulate(ds, forcing, outputs=outputs, **LI), lambda: np.add(rain, pet))
    ratio.report(
        f"water balance, 40,000 cells x 1,096 days f4 -> {', '.join(outputs)}",
        f"{ours * 1e3:.0f} ms = {ours / add:.1f} x np.add ({ours / CELLS / DAYS * 1e9:.1f} ns per cell-day)",
        budget,
    )


def test_richards_by_the_verb(ratio):
    """500 columns x 60 days on one thread: the kernel alone, the verb on dask in one block, and a day at a time."""
    columns, days = 500, 60
    rng = np.random.default_rng(0)
    rate, dims = {"units": "mm d-1"}, ("time", "cell")
    rain = np.where(rng.random((days, columns)) < 0.2, rng.gamma(0.8, 12, (days, columns)), 0.0)
    forcing = xr.Dataset(
        {"precipitation": (dims, rain, rate), "pet": (dims, np.full((days, columns), 3.0), rate)},
        {"time": pd.date_range("2015-04-01", periods=days)},
    )
    k_sat = 10 ** rng.uniform(0.5, 2.3, columns)
    ds = xr.Dataset({"k_sat": ("cell", k_sat, {"units": "cm d-1"})})
    soil = {"theta_r": 0.078, "theta_s": 0.43, "alpha": 0.036, "n": 1.56}
    depths = (2, 5, 10, 20, 40)

    def kernel():
        return richards.run(
            rain, forcing.pet.values, np.full((1, 1), 2.0), [*soil.values(), k_sat, 0.5], curve="van_genuchten",
            widths=grid(50.0), depths=depths,
        )  # fmt: skip

    def verb(size):
        return simulate(ds.chunk(), forcing.chunk(time=size), "richards", lai=2.0, **soil)

    works = {"kernel": kernel, "whole": lambda: verb(-1).compute(), "daily": lambda: verb(1).compute()}
    best = dict.fromkeys(works, np.inf)
    with dask.config.set(scheduler="synchronous"):
        for _ in range(ratio.rounds + 1):  # the first compiles
            for name, work in works.items():
                start = time.process_time()
                work()
                best[name] = min(best[name], time.process_time() - start)
    ratio.report(
        f"richards, {columns} columns x {days} days by the verb / the kernel alone, one thread",
        f"{best['whole'] / best['kernel']:.2f} x in one block, {best['daily'] / best['kernel']:.2f} x in {days} blocks "
        f"of a day (kernel {best['kernel'] / columns / days * 1e6:.0f} us per column-day)",
        "<= 1.10 x",
    )
