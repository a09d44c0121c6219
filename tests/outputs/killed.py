"""Runs of `to_zarr` and `to_cog` in a process of its own, which can be killed at a chosen file operation."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from pathlib import Path

import bucket
import dask
import numpy as np
import xarray as xr

from xsoil.errors import SoilError
from xsoil.outputs.cog import to_cog
from xsoil.outputs.zarr import to_zarr

EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "shutil.rmtree", "os.setxattr", "block")
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["pytest", "xsoil", "xsoil.outputs.zarr", "distributed", "zarr", "rasterio", "killed"])


def start(function, *args, **options):
    """A process that runs a function of this file."""
    process = PROCESSES.Process(target=function, args=args, kwargs=options)
    process.start()
    return process


def run(function, *args, **options):
    """Its exit code: 0, 1 after an error of xsoil, -9 when killed."""
    process = start(function, *args, **options)
    process.join()
    return process.exitcode


def die_at(operation: int, folder: Path) -> list[int]:
    """SIGKILL at the n-th file operation below a folder; gives what counts them."""
    count = [0]

    def hook(event: str, args: tuple) -> None:
        if (
            event in EVENTS
            and args
            and isinstance(args[0], (str, os.PathLike))
            and str(args[0]).startswith(str(folder))
        ):
            count[0] += 1
            if count[0] == operation:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return count


def source(path: Path) -> Path:
    """A store to read from: real and class variables with gaps, and chunks that are nothing but gaps."""
    rng = np.random.default_rng(3)
    theta = rng.random((6, 20, 40), dtype=np.float32)
    theta[[0, 1, 4, 5]] = theta[[0, 1, 4, 5]].round(1)  # these chunks become smaller files than those between
    theta[:, :10, :20] = np.nan
    classes = rng.integers(1, 13, (20, 40)).astype(np.int8)
    ds = xr.Dataset(
        {
            "theta": (("time", "i", "j"), theta, {"units": "m3 m-3"}),
            "texture_class": (("i", "j"), classes, {"flag_values": np.arange(1, 13, dtype=np.int8)}),
        },
        {"time": np.arange("2015-06-01", "2015-06-07", dtype="M8[D]").astype("M8[ns]")},
    )
    ds.chunk(time=2, i=10, j=20).to_zarr(path, zarr_format=3, consolidated=True)
    return path


def lazy(path: Path, scale: float = 2.0) -> xr.Dataset:
    """What is written: computed from the store, in blocks."""
    ds = xr.open_zarr(path)
    ds["wet"] = ds.theta > 0.5
    ds["seen"] = ds.time + xr.zeros_like(ds.theta, "m8[ns]").drop_attrs()
    ds["scaled"] = ds.theta * scale
    return ds.assign(texture_class=ds.texture_class.chunk(i=20, j=20))


def one_after_the_other():
    """Tasks in an order that is always the same."""
    return dask.config.set(scheduler="synchronous")


def remote_store(path: Path, target: Path, operation: int = 0, **options) -> None:
    """Write it to a URL."""
    store(path, target, operation, url=bucket.url_of(target), **options)


def store(path: Path, target: Path, operation: int = 0, scale: float = 2.0, url: str | None = None, **options) -> None:
    """Write it; alone in its process, one task after the other, so that an operation has its number."""
    ds = lazy(path, scale)
    count = die_at(operation, target.parent)
    try:
        with one_after_the_other():
            to_zarr(ds, url or target, progress=False, **options)
    except SoilError:
        sys.exit(1)
    path.with_suffix(".operations").write_text(str(count[0]))


def raster(target: Path, operation: int) -> None:
    """Write a raster on a grid."""
    from odc.geo.xr import xr_coords

    import xsoil

    grid = xsoil.ease_grid("EASE2_M36km", region=(-104, 33, -94, 40))
    values = np.arange(float(grid.shape[0] * grid.shape[1])).reshape(grid.shape)
    array = xr.DataArray(values, dims=("y", "x"), coords=xr_coords(grid), name="k_sat").chunk(y=5, x=5)

    def note(block):  # GDAL opens files without Python's knowledge
        sys.audit("block", str(target))
        return block

    array = array.copy(data=array.data.map_blocks(note, dtype="f8", meta=np.empty((0, 0))))
    die_at(operation, target.parent)
    with dask.config.set(scheduler="synchronous"):
        to_cog(array, target, progress=False)


def simulation(target: Path) -> None:
    """The chain from soil maps to a year of soil moisture, on all cores."""
    import xsoil

    grid = xsoil.ease_grid("EASE2_M09km", region=(-104, 33, -94, 40))
    soil = xsoil.data.synthetic_soil(grid, chunks=40).soil.ptf("saxton_rawls2006")
    soil = soil.soil.upscale("EASE2_M36km", chunks=8)
    forcing = xsoil.data.synthetic_forcing(soil, "2015", chunks={"time": 30, "y": 8, "x": 8})
    moisture = soil.soil.simulate(forcing, root_depth=0.5, depletion_fraction=0.3, crop_coefficient=0.9)
    to_zarr(moisture, target, progress=False)
