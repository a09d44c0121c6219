"""Rosetta 3 against the package rosetta-soil, per cell, in one run: one core each, as a task under dask has."""

from __future__ import annotations

import numpy as np
import pytest
from rosetta import SoilData
from rosetta import rosetta as package

from xsoil.ptfs import PTFS
from xsoil.verbs._cells import run_blocks

CELLS = 16_384
PACKAGE_CELLS = 300


@pytest.mark.parametrize(
    ("model", "options"), [(2, {}), (3, {}), (5, {}), (3, {"estimate": "arithmetic"}), (3, {"std": True})], ids=str
)
def test_rosetta3(ratio, model, options):
    rng = np.random.default_rng(0)
    texture = rng.dirichlet([1, 1, 1], CELLS).T * 100
    dry, wet = np.sort(rng.uniform(0.02, 0.5, (2, CELLS)), axis=0)
    columns = np.stack([*texture, rng.uniform(0.8, 1.8, CELLS), wet, dry])[: model + 1]
    soils = SoilData.from_iter(columns[:, :PACKAGE_CELLS].T)
    entry = PTFS["rosetta3"].with_options(model=model, **options).resolve(frozenset())
    dtypes = (np.dtype("f4"),) * len(entry.outputs)
    estimate = "arith" if "estimate" in options else "geo"

    blocks = [np.ascontiguousarray(row) for row in columns.astype(np.float32)]
    ours, theirs = ratio.times(
        lambda: run_blocks(entry.function, dtypes, entry.block, 1, *blocks),
        lambda: package(3, soils, estimate),
        rounds=3,
    )
    speed, package_speed = CELLS / ours, PACKAGE_CELLS / theirs
    named = ", ".join(f"{k}={v}" for k, v in options.items()) or "geometric"
    ratio.report(
        f"rosetta3 model {model}, {named}: cells/s over rosetta-soil's, one core",
        f"{speed / package_speed:.0f} x ({speed:,.0f} cells/s)",
        ">= 40 x",
    )
