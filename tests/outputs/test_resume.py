"""`to_zarr(resume=True)` and `to_cog`: a run that is killed, refused or starved of disk loses and spoils nothing."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import shutil
import subprocess
import threading
import time
from pathlib import Path

import dask
import dask.array as da
import killed
import numpy as np
import pytest
import xarray as xr
from dask.callbacks import Callback

from xsoil.errors import ArgumentError
from xsoil.outputs.cog import to_cog
from xsoil.outputs.zarr import to_zarr


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def partial(target: Path) -> Path:
    return target.parent / f".{target.name}.partial"


def regions(target: Path) -> list[Path]:
    return [p for p in partial(target).glob("*/done/*/*") if not p.name.startswith(".")]


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    """What an uninterrupted run writes."""
    target = tmp_path_factory.mktemp("whole") / "out.zarr"
    assert killed.run(killed.store, source, target) == 0
    shutil.copy(source.with_suffix(".operations"), source.with_suffix(".all"))
    return tree(target)


@pytest.fixture(scope="module")
def operations(source, whole):
    """How many file operations that takes."""
    return int(source.with_suffix(".all").read_text())


def ends_whole(source: Path, target: Path, whole: dict[str, bytes], **options) -> None:
    assert killed.run(killed.store, source, target, **options) == 0
    assert tree(target) == whole
    assert [p.name for p in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize("when", ["in the template", "between regions", "before the last", "after the rename"])
def test_killed_and_continued(source, whole, operations, tmp_path, when):
    part = {"in the template": 60, "between regions": operations // 2, "before the last": operations - 8}
    target = tmp_path / "out.zarr"
    assert killed.run(killed.store, source, target, part.get(when, operations - 5)) == -9
    assert target.exists() == (when == "after the rename")
    assert bool(regions(target)) == (when != "in the template")
    ends_whole(source, target, whole)


@pytest.mark.long
def test_killed_at_every_file_operation(source, whole, operations, tmp_path):
    """One process for every third operation of a run, each continued by a second one."""
    kills = 0
    for operation in range(1, operations + 1, 3):
        target = tmp_path / str(operation) / "out.zarr"
        target.parent.mkdir()
        kills += killed.run(killed.store, source, target, operation) == -9
        ends_whole(source, target, whole)
        shutil.rmtree(target.parent)
    print(f"{kills} kills at file operations 1 to {operations}, nothing lost")
    assert kills >= 100


@pytest.mark.long
def test_killed_again_and_again(source, whole, tmp_path):
    """Each run comes a little further than the one before it."""
    target = tmp_path / "out.zarr"
    kills = 0
    while killed.run(killed.store, source, target, 230 + 30 * kills) == -9:
        kills += 1
        assert kills < 100
    print(f"{kills} kills of one run, nothing lost")
    assert kills >= 3
    assert tree(target) == whole


@pytest.mark.long
def test_a_simulation_killed_at_random_moments(tmp_path):
    """From soil maps to a year of soil moisture, on threads, killed after a random time, until one run ends."""
    whole = tmp_path / "whole" / "out.zarr"
    whole.parent.mkdir()
    assert killed.run(killed.simulation, whole) == 0  # compiles
    shutil.rmtree(whole)
    began = time.monotonic()
    assert killed.run(killed.simulation, whole) == 0
    lasted = time.monotonic() - began
    expected, moments = tree(whole), np.random.default_rng(0)
    kills, within, found = 0, 0, []
    while kills < 30:
        target = tmp_path / f"run {len(found)}" / "out.zarr"
        target.parent.mkdir()
        while True:
            process = killed.start(killed.simulation, target)
            process.join(lasted * moments.uniform(0.1, 1.0))
            if process.exitcode is None:
                process.kill()
                process.join()
            if process.exitcode == 0:
                break
            assert process.exitcode == -9
            kills += 1
            within += bool(regions(target))
        found.append(tree(target) == expected)
    print(f"{kills} kills at random moments, {within} of them between regions, {len(found)} stores, {sum(found)} whole")
    assert within >= 10
    assert all(found)


def begun(source: Path, target: Path, scale: float = 2.0, **options):
    """A run that is left in the middle, in this process."""
    ds = killed.lazy(source, scale)
    with pytest.raises(RuntimeError, match="power is off") as caught, dask.config.set(scheduler="synchronous"):
        to_zarr(ds.assign(theta=ds.theta.copy(data=failing(ds.theta.data, 5))), target, progress=False, **options)
    return caught.value


def failing(array, after):
    """The array, whose blocks cannot be computed any more after some of them were."""
    calls = itertools.count()

    def fail(block):
        if next(calls) >= after:
            raise RuntimeError("the power is off, say")
        return block

    return array.map_blocks(fail, dtype=array.dtype, meta=np.empty((0,) * array.ndim, array.dtype))


def test_an_error_says_what_is_kept_and_how_to_go_on(source, tmp_path):
    target = tmp_path / "out.zarr"
    (note,) = begun(source, target).__notes__
    assert f"{len(regions(target))} finished regions are kept in {partial(target)}" in note
    assert "resume=False" in note
    assert not target.exists()
    begun(source, target, resume=False)
    assert list(tmp_path.iterdir()) == []  # nothing kept where nothing is to be continued


def test_changes_are_noticed(source, tmp_path):
    """Another parameter, file, chunk or attribute is refused while a run is unfinished, unless told otherwise."""
    mine = tmp_path / "mine.zarr"
    shutil.copytree(source, mine)
    target = tmp_path / "out.zarr"
    assert killed.run(killed.store, mine, target, 250) == -9
    ds = killed.lazy(mine)
    finished = len(regions(target))
    assert finished
    with pytest.raises(
        ArgumentError, match=rf"{finished} regions .*computation of scaled\. Pass resume=False.*unchecked"
    ):
        to_zarr(killed.lazy(mine, 3.0), target, progress=False)
    with pytest.raises(ArgumentError, match="differs: the metadata, chunks"):
        to_zarr(ds.assign_attrs(title="another"), target, progress=False)
    with pytest.raises(ArgumentError, match="differs: the metadata, chunks"):
        to_zarr(ds, target, chunks={"i": 5}, progress=False, resume="unchecked")
    changed = next(p for p in sorted((mine / "theta" / "c").rglob("*")) if p.is_file())
    os.utime(changed, ns=(1, 1))  # in the depth of the store: neither its folder nor xarray's name for it shows that
    with pytest.raises(ArgumentError, match=r"differs: the file .*mine\.zarr\. Pass"):
        to_zarr(killed.lazy(mine), target, progress=False)
    assert len(regions(target)) == finished
    to_zarr(killed.lazy(mine), target, progress=False, resume="unchecked")
    np.testing.assert_array_equal(xr.open_zarr(target).scaled, xr.open_zarr(mine).theta * 2)
    with pytest.raises(ArgumentError, match="exists already"):
        to_zarr(killed.lazy(mine), tmp_path / "mine.zarr", progress=False)


def test_begun_again(source, whole, tmp_path):
    target = tmp_path / "out.zarr"
    begun(source, target, 3.0)
    assert killed.run(killed.store, source, target) == 1  # refused
    ends_whole(source, target, whole, resume=False)


def test_a_finished_run_is_not_repeated(source, tmp_path):
    target = to_zarr(killed.lazy(source), tmp_path / "out.zarr", progress=False)
    before = {p: p.stat().st_mtime_ns for p in target.rglob("*")}
    to_zarr(killed.lazy(source), target, progress=False)
    assert {p: p.stat().st_mtime_ns for p in target.rglob("*")} == before
    with pytest.raises(ArgumentError, match="made from other data or parameters"):
        to_zarr(killed.lazy(source, 3.0), target, progress=False)
    with pytest.raises(ArgumentError, match="exists already"):
        to_zarr(killed.lazy(source), target, progress=False, resume=False)
    assert [p.name for p in tmp_path.iterdir()] == ["out.zarr"]
    assert {p: p.stat().st_mtime_ns for p in target.rglob("*")} == before


def test_damaged_regions_are_written_again(source, whole, tmp_path):
    """As after a power cut: files that the ledger has, and that are short, empty or gone."""
    target = tmp_path / "out.zarr"
    assert killed.run(killed.store, source, target, 400) == -9
    files = sorted(p for p in partial(target).glob("*/store/*/c/**/*") if p.is_file())
    assert len(files) >= 10
    files[0].write_bytes(files[0].read_bytes()[:-3])
    files[1].write_bytes(b"")
    files[2].unlink()
    files[3].with_name("0.0123.partial").write_bytes(b"half of it")
    regions(target)[-1].write_text("")
    ends_whole(source, target, whole)


def test_shards_are_regions(source, tmp_path):
    options = {"chunks": {"i": 5, "j": 10}, "shards": {"i": 10, "j": 20}}
    assert killed.run(killed.store, source, tmp_path / "a.zarr", **options) == 0
    assert killed.run(killed.store, source, tmp_path / "b.zarr", 250, **options) == -9
    assert regions(tmp_path / "b.zarr")
    assert killed.run(killed.store, source, tmp_path / "b.zarr", **options) == 0
    assert tree(tmp_path / "a.zarr") == tree(tmp_path / "b.zarr")
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "b.zarr").scaled, xr.open_zarr(source).theta * 2)


def test_one_writer_at_a_time(source, tmp_path):
    """The second one is told who the first is; a dead one holds nothing."""
    target = tmp_path / "out.zarr"
    inside, go = threading.Event(), threading.Event()

    def wait(block):
        inside.set()
        go.wait(20)
        return block

    ds = killed.lazy(source)
    slow = ds.assign(
        theta=ds.theta.copy(data=ds.theta.data.map_blocks(wait, dtype="f4", meta=np.empty((0, 0, 0), "f4")))
    )
    first = threading.Thread(target=to_zarr, args=(slow, target), kwargs={"progress": False})
    first.start()
    try:
        assert inside.wait(20)
        for options in ({}, {"resume": False}, {"overwrite": True}):
            with pytest.raises(ArgumentError, match=f"is being written by process {os.getpid()} on "):
                to_zarr(ds, target, progress=False, **options)
        assert killed.run(killed.store, source, target) == 1
    finally:
        go.set()
        first.join()
    np.testing.assert_array_equal(xr.open_zarr(target).scaled, xr.open_zarr(source).theta * 2)
    assert [p.name for p in tmp_path.iterdir()] == ["out.zarr"]


def test_many_writers_at_once(source, whole, tmp_path):
    """All but those that come when it is free are refused; the store is whole."""
    target = tmp_path / "out.zarr"
    processes = [killed.start(killed.store, source, target) for _ in range(4)]
    for process in processes:
        process.join()
    assert {p.exitcode for p in processes} <= {0, 1}
    assert 0 in {p.exitcode for p in processes}
    assert tree(target) == whole
    assert [p.name for p in tmp_path.iterdir()] == ["out.zarr"]


def test_a_file_system_without_locks_is_told(source, tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.warns(UserWarning, match="no other process writes"):
        to_zarr(killed.lazy(source), tmp_path / "out.zarr", progress=False)


def test_killed_between_the_two_renames_of_an_overwrite(source, whole, tmp_path):
    """Old store set aside, new one not in place yet: the next call finds both."""
    target = tmp_path / "out.zarr"
    to_zarr(killed.lazy(source), target, progress=False)
    holder = partial(target)
    holder.mkdir()
    os.rename(target, holder / "replaced")
    with pytest.raises(ArgumentError, match="made from other data"):
        to_zarr(killed.lazy(source, 5.0), target, progress=False)
    assert tree(target) == whole
    assert [p.name for p in tmp_path.iterdir()] == ["out.zarr"]


def test_a_full_disk(source, whole, tmp_path):
    """From some block on, files cannot grow beyond 100 bytes."""
    target = tmp_path / "out.zarr"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    written = itertools.count()

    def fill(key, *_):
        if "xsoil.to_zarr" in str(key) and next(written) == 10:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))

    try:
        with (
            Callback(pretask=fill),
            dask.config.set(scheduler="synchronous"),
            pytest.raises(OSError, match="File too large") as caught,
        ):
            to_zarr(killed.lazy(source), target, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "10 finished regions are kept" in caught.value.__notes__[-1]
    ends_whole(source, target, whole)


@pytest.mark.long
def test_a_full_file_system(source, whole, tmp_path):
    """The same with a file system of 200 kB, which is then enlarged."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no right to mount a small file system")
    target = disk / "out.zarr"
    try:
        with pytest.raises(OSError, match="No space left on device") as caught:
            to_zarr(killed.lazy(source), target, progress=False)
        assert "the same call continues" in caught.value.__notes__[-1]
        with pytest.raises(OSError, match="No space left on device"):
            to_zarr(killed.lazy(source), target, progress=False)
        subprocess.run(["mount", "-o", "remount,size=10m", str(disk)], check=True)
        ends_whole(source, target, whole)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_names_that_change_with_the_session_are_refused_not_guessed(tmp_path):
    ds, again = (xr.Dataset({"theta": (("i", "j"), da.random.random((40, 20), chunks=(10, 10)))}) for _ in range(2))
    with pytest.raises(RuntimeError), dask.config.set(scheduler="synchronous"):
        to_zarr(ds.assign(theta=(("i", "j"), failing(ds.theta.data, 5))), tmp_path / "a.zarr", progress=False)
    with pytest.raises(ArgumentError, match="random arrays"):
        to_zarr(again, tmp_path / "a.zarr", progress=False)
    with pytest.raises(ArgumentError, match="'unchecked'"):
        to_zarr(again, tmp_path / "a.zarr", progress=False, resume="yes")


@pytest.mark.parametrize("operation", [3, 9, 15])
def test_a_killed_raster_is_not_there(tmp_path, operation):
    target = tmp_path / "k_sat.tif"
    assert killed.run(killed.raster, target, operation) == -9
    assert not target.exists()
    assert killed.run(killed.raster, target, 0) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["k_sat.tif"]


@pytest.mark.long
def test_rasters_killed_at_every_file_operation(tmp_path):
    whole = tmp_path / "whole.tif"
    assert killed.run(killed.raster, whole, 0) == 0
    kills = 0
    for operation in range(1, 200):
        target = tmp_path / f"{operation}.tif"
        if killed.run(killed.raster, target, operation) == 0:
            break
        kills += 1
        assert not target.exists() or target.read_bytes() == whole.read_bytes()
        with contextlib.suppress(FileNotFoundError):
            target.unlink()
        assert killed.run(killed.raster, target, 0) == 0
        assert target.read_bytes() == whole.read_bytes()
    print(f"{kills} kills, {kills} files whole after the next run")
    assert kills >= 20


def test_two_rasters_at_once_are_refused(tmp_path):
    from odc.geo.xr import xr_zeros

    from xsoil.grids.ease import ease_grid
    from xsoil.outputs._paths import claimed

    array = xr_zeros(ease_grid("EASE2_M36km", "conus"), "float32").rename("k_sat")
    with claimed(tmp_path / "k_sat.tif"), pytest.raises(ArgumentError, match="is being written by process"):
        to_cog(array, tmp_path / "k_sat.tif", progress=False)
