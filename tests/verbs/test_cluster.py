"""The script of docs/cluster.md, small: worker processes give what one process gives."""

from __future__ import annotations

import xarray as xr

import xsoil
from xsoil.verbs.rootzone import rootzone


def test_processes_give_what_threads_give(client, tmp_path):
    grid = xsoil.ease_grid("EASE2_M36km", region=(-104, 33, -94, 40))
    soil = xsoil.data.synthetic_soil(grid, chunks=10).soil.ptf("saxton_rawls2006")
    names = ("precipitation", "pet", "air_temperature")
    blocks = {"time": 16, "y": 10, "x": 10}
    forcing = xsoil.data.synthetic_forcing(grid, ("2015-01-01", "2015-03-01"), variables=names, chunks=blocks)
    run = xsoil.simulate(
        soil, forcing, root_depth=0.5, depletion_fraction=0.3, crop_coefficient=0.9, frost="snow",
        outputs=("theta", "snow", "frozen"),
    )  # fmt: skip
    deep = rootzone(run, T=10)
    here = run.compute(scheduler="threads"), deep.compute(scheduler="threads")
    xr.testing.assert_identical(client.compute(run).result(), here[0])
    xr.testing.assert_identical(client.compute(deep).result(), here[1])
    few = soil.isel(y=slice(0, 12), x=slice(0, 3)), forcing.isel(y=slice(0, 12), x=slice(0, 3), time=slice(18))
    loam = {"theta_r": 0.0, "lai": 2.0}
    columns = xsoil.simulate(*few, "richards", outputs=("theta", "drainage"), **loam)
    assert columns.theta.data.numblocks == (2, 1, 2, 1)
    expected = columns.compute(scheduler="threads")  # here first: the workers then find the compiled kernels
    xr.testing.assert_identical(client.compute(columns).result(), expected)
    run.soil.to_zarr(tmp_path / "run.zarr", progress=False)
    stored = xr.open_zarr(tmp_path / "run.zarr", consolidated=False)
    xr.testing.assert_equal(stored.theta.compute(), here[0].theta)
