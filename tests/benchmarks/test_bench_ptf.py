"""The regressions on a float32 raster, per cell: against one numpy exp, against plain numpy, and as a rate per core."""

from __future__ import annotations

import time

import numpy as np
import pytest
import xarray as xr

from xsoil.ptfs import PTFS
from xsoil.verbs import _cells
from xsoil.verbs.ptf import ptf

SIDE = 1500
UNITS = {
    "sand": "percent", "silt": "percent", "clay": "percent", "bulk_density": "g cm-3", "organic_carbon": "percent",
    "ph": "1", "cec": "cmol kg-1", "topsoil": "1",
}  # fmt: skip


@pytest.fixture(scope="module")
def raster() -> xr.Dataset:
    rng = np.random.default_rng(0)
    shape = (SIDE, SIDE)
    sand = rng.uniform(10, 70, shape)
    clay = rng.uniform(0.1, 0.6, shape) * (100 - sand)
    values = {
        "sand": sand, "silt": 100 - sand - clay, "clay": clay, "bulk_density": rng.uniform(1.1, 1.6, shape),
        "organic_carbon": rng.uniform(0.3, 4, shape), "ph": rng.uniform(5, 8, shape), "cec": rng.uniform(5, 30, shape),
        "topsoil": np.ones(shape),
    }  # fmt: skip
    return xr.Dataset({k: (("y", "x"), v.astype(np.float32), {"units": UNITS[k]}) for k, v in values.items()})


@pytest.mark.parametrize("name", [name for name in PTFS if not name.startswith("rosetta")])
def test_ptf(ratio, raster, monkeypatch, name):
    monkeypatch.setattr(_cells, "available_cores", lambda: 1)  # as a task under dask
    source = raster.sand.values / 50
    target = np.empty_like(source)
    # processor time, which neighbours on the machine disturb less
    monkeypatch.setattr(time, "perf_counter", time.process_time)
    reference, seconds = ratio.times(lambda: np.exp(source, out=target), lambda: ptf(raster, name), rounds=5)
    rate = raster.sand.size / seconds / 1e6
    ratio.report(f"ptf {name}", f"{rate:.0f} million cells/s/core, {seconds / reference:.0f} x np.exp", ">= 20 million")
    assert np.isfinite(ptf(raster, name).to_dataarray()).mean() > 0.8


def test_cosby1984_against_plain_numpy(ratio, raster):
    """Eager, on all cores, with checks and flags; against the four formulas on whole arrays."""

    def plain() -> list[np.ndarray]:
        sand, silt, clay = (raster[name].values for name in ("sand", "silt", "clay"))
        return [
            (50.5 - 0.142 * sand - 0.037 * clay) / 100,
            -(10 ** (1.54 - 0.0095 * sand + 0.0063 * silt)),
            3.10 + 0.157 * clay - 0.003 * sand,
            60.96 * 10 ** (-0.60 + 0.0126 * sand - 0.0064 * clay),
        ]

    numpy_seconds, seconds, flagged = ratio.times(plain, lambda: ptf(raster), lambda: ptf(raster, quality=True))
    ratio.report("ptf cosby1984 / formulas in numpy", f"{seconds / numpy_seconds:.2f} x", "-")
    ratio.report("ptf cosby1984 with quality / without", f"{flagged / seconds:.2f} x", "-")
    found = ptf(raster)
    for array, expected in zip(found.values(), plain(), strict=True):
        np.testing.assert_allclose(array, expected, rtol=1e-5)
