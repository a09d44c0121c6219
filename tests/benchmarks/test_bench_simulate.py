"""The water balance against `np.add` of its two forcings into a fresh array: 40,000 cells x 1,096 days, float32."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

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
