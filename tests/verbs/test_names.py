"""Names of tasks: what the dashboard groups by, and what a later session knows a graph by."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import dask
import dask.array as da
import graphs
import pytest
import xarray as xr
from dask.utils import key_split

import xsoil

PREFIXES = {
    "ptf": "xsoil.ptf",
    "rosetta3": "xsoil.ptf",
    "water_limits": "xsoil.water_limits",
    "texture_class": "xsoil.texture_class",
    "upscale": "xsoil.upscale",
    "downscale": "xsoil.downscale",
    "compare_scaling": "xsoil.compare_scaling",
    "simulate": "xsoil.water_balance",
    "richards": "xsoil.richards_days",
    "rootzone": "xsoil.rootzone",
    "fill_gaps": "xsoil.gap_ways",
    "evaluate": "series_metrics",
}


@pytest.fixture(scope="module")
def named():
    return {verb: graphs.names(ds) for verb, ds in graphs.results().items()}


def test_the_dashboard_shows_the_verbs(named):
    assert set(named) == set(PREFIXES)
    for verb, prefix in PREFIXES.items():
        shown = {key_split(name) for name in named[verb]}
        assert prefix in shown, (verb, shown)
        assert not any(word in name for name in shown for word in ("lambda", "run_blocks", "function", "partial"))


def test_names_are_those_of_any_session(named):
    """Else `to_zarr` could not continue what another session began."""
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    script = str(Path(graphs.__file__))
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == named


def test_a_task_of_the_user_may_be_called_value():
    """dask takes a text among the arguments of a task for the name of another, where there is one."""
    grid = xsoil.ease_grid("EASE2_M36km", region=(-104, 33, -94, 40))
    soil = xsoil.data.synthetic_soil(grid)[["sand"]]
    made = da.from_delayed(dask.delayed(soil.sand.values, name="value"), grid.shape, soil.sand.dtype)
    lazy = soil.copy(data={"sand": made}).soil.upscale(grid.zoom_out(3))
    xr.testing.assert_identical(lazy.compute(), soil.soil.upscale(grid.zoom_out(3)))
