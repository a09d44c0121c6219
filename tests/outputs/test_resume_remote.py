"""`to_zarr` to a URL: killed, refused or crossed by others; what stands there is whole, or cannot be opened."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import bucket
import fsspec
import killed
import numpy as np
import pytest
import xarray as xr
from test_resume import failing, tree

import xsoil.outputs._resume_remote as remote
from xsoil.errors import ArgumentError
from xsoil.outputs.zarr import to_zarr


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    """What an uninterrupted run writes: the bytes of a local one."""
    target = tmp_path_factory.mktemp("whole") / "out.zarr"
    assert killed.run(killed.remote_store, source, target) == 0
    local = to_zarr(killed.lazy(source), target.parent / "local.zarr", progress=False)
    found = objects(target)
    group = json.loads(found["zarr.json"])
    assert len(group["attributes"].pop(remote.TOKEN)) == 64
    assert found | {"zarr.json": json.dumps(group, indent=2).encode()} == tree(local)
    return found


@pytest.fixture(scope="module")
def operations(source, whole):
    return int(source.with_suffix(".operations").read_text())


def objects(target: Path) -> dict[str, bytes]:
    """Without what a killed process was uploading, which no bucket shows."""
    return {name: content for name, content in tree(target).items() if bucket.UPLOAD not in name}


@pytest.fixture
def url():
    files = fsspec.filesystem("memory")
    yield "memory://bucket/out.zarr"
    if files.exists("/bucket"):
        files.rm("/bucket", recursive=True)


def names(url: str) -> list[str]:
    return fsspec.filesystem("memory").find(url)


def begun(source: Path, url: str, after: int = 5, without=(), **options):
    ds = killed.lazy(source).drop_vars(without)
    with pytest.raises(RuntimeError, match="power is off") as caught, killed.one_after_the_other():
        to_zarr(ds.assign(theta=ds.theta.copy(data=failing(ds.theta.data, after))), url, progress=False, **options)
    return caught.value


@pytest.mark.parametrize("part", [0.05, 0.4, 0.7, 0.98])
def test_killed_and_continued(source, whole, operations, tmp_path, part):
    target = tmp_path / "out.zarr"
    assert killed.run(killed.remote_store, source, target, int(part * operations)) == -9
    if not (target / "zarr.json").exists():
        with pytest.raises(FileNotFoundError):
            xr.open_zarr(bucket.url_of(target))
    assert killed.run(killed.remote_store, source, target) == 0
    assert objects(target) == whole


@pytest.mark.long
def test_killed_at_every_file_operation(source, whole, operations, tmp_path):
    """One process for every seventh operation of a run, each continued by a second one."""
    kills = 0
    for operation in range(1, operations + 1, 7):
        target = tmp_path / str(operation) / "out.zarr"
        target.parent.mkdir()
        kills += killed.run(killed.remote_store, source, target, operation) == -9
        assert killed.run(killed.remote_store, source, target) == 0
        assert objects(target) == whole
        shutil.rmtree(target.parent)
    print(f"{kills} kills at file operations 1 to {operations} of a store at a URL, nothing lost")
    assert kills >= 20


def test_only_what_is_missing_is_computed(source, url):
    """After an error; and an object that somebody deleted is made again."""
    (note,) = begun(source, url).__notes__
    done = [name for name in names(url) if "/done/" in name]
    assert f"{len(done)} finished regions are noted in {url}/.partial" in note
    assert done
    gone = next(name for name in names(url) if "/c/" in name)
    fsspec.filesystem("memory").rm(gone)
    ds = killed.lazy(source)
    computed = []

    def note_block(block, block_info=None):
        computed.append(block_info[None]["chunk-location"])
        return block

    counted = ds.scaled.data.map_blocks(note_block, dtype="f4", meta=np.empty((0, 0, 0), "f4"))
    to_zarr(ds.assign(scaled=ds.scaled.copy(data=counted)), url, progress=False, resume="unchecked")
    finished = sum("/scaled/" in name for name in done)
    assert len(computed) == ds.scaled.data.npartitions - finished + ("/scaled/" in gone)
    assert_as_local(url, source)
    assert not any(".partial" in name for name in names(url))


def assert_as_local(url, source):
    ds = xr.open_zarr(url)
    xr.testing.assert_identical(ds.load().drop_attrs(deep=False), _reopened(source).drop_attrs(deep=False))
    assert ds.attrs.pop(remote.TOKEN)
    assert ds.attrs == _reopened(source).attrs


def _reopened(source):
    local = source.with_name("reopened.zarr")
    if not local.exists():
        to_zarr(killed.lazy(source), local, progress=False)
    return xr.open_zarr(local).load()


def test_a_run_that_ended_with_nothing_makes_way(source, url):
    begun(source, url, after=0, without=["texture_class", "wet", "seen", "scaled"])
    to_zarr(killed.lazy(source, 3.0)[["scaled"]], url, progress=False)
    assert set(xr.open_zarr(url)) == {"scaled"}
    assert not any("/theta/" in name or ".partial" in name for name in names(url))


def test_one_that_is_killed_or_at_work_does_not(source, url):
    begun(source, url, after=0, without=["texture_class", "wet", "seen", "scaled"])
    memory = fsspec.filesystem("memory")
    memory.rm(next(name for name in names(url) if name.endswith("/ended")))
    with pytest.raises(ArgumentError, match=r"begun from something else \(0 regions"):
        to_zarr(killed.lazy(source), url, progress=False)


def test_nothing_of_others_is_removed(source, url):
    """Neither where a run is discarded, nor where the store beside it is finished."""
    memory = fsspec.filesystem("memory")
    begun(source, url)
    memory.pipe_file("/bucket/out.zarr/precious/thesis.txt", b"all of it")
    with pytest.raises(ArgumentError, match="exists already"):
        to_zarr(killed.lazy(source), url, progress=False, resume=False)
    assert names(url) == ["/bucket/out.zarr/precious/thesis.txt"]
    memory.rm("/bucket/out.zarr/precious", recursive=True)
    to_zarr(killed.lazy(source), url, progress=False)
    memory.pipe_file("/bucket/out.zarr/.partial/late/origin.json", b"{}")  # of one that came late, or was killed late
    before = set(names(url))
    with pytest.raises(ArgumentError, match="exists already"):
        to_zarr(killed.lazy(source), url, progress=False, resume=False)
    assert before - set(names(url)) == {"/bucket/out.zarr/.partial/late/origin.json"}
    assert_as_local(url, source)


def test_interrupted_while_another_finishes(source, url, monkeypatch):
    """Two processes make the same store; the second is stopped after the first has ended."""

    def other(*args, **options):
        monkeypatch.undo()
        to_zarr(killed.lazy(source), url, progress=False)
        raise KeyboardInterrupt

    monkeypatch.setattr(remote, "write_regions", other)
    with pytest.raises(KeyboardInterrupt):
        to_zarr(killed.lazy(source), url, progress=False)
    assert_as_local(url, source)


def test_what_another_took_away_of_the_metadata_is_put_again(source, url, monkeypatch):
    written = remote.write_regions

    def lose(*args, **options):
        written(*args, **options)
        memory = fsspec.filesystem("memory")
        memory.rm([name for name in names(url) if "/time/" in name])

    monkeypatch.setattr(remote, "write_regions", lose)
    to_zarr(killed.lazy(source), url, progress=False)
    assert_as_local(url, source)


def test_an_old_store_that_cannot_be_removed_is_not_mixed_with_the_new(source, url, monkeypatch):
    memory = fsspec.filesystem("memory")
    to_zarr(killed.lazy(source, 3.0), url, progress=False)
    gone = type(memory).rm

    def refuse(self, paths, *args, **options):
        gone(self, [path for path in paths if "/theta/c/" not in path])  # silent, as some buckets are

    monkeypatch.setattr(type(memory), "rm", refuse)
    with pytest.raises(PermissionError, match=r"cannot be removed, among them theta/c/"):
        to_zarr(killed.lazy(source), url, progress=False, overwrite=True)
    with pytest.raises(FileNotFoundError):
        xr.open_zarr(url)
    monkeypatch.undo()
    to_zarr(killed.lazy(source), url, progress=False)  # goes on where that call was stopped
    assert_as_local(url, source)


@pytest.mark.parametrize("name", ["a/b", ".partial", "zarr.json", "..", "a*", 3, ""])
@pytest.mark.parametrize("where", ["memory://bucket/out.zarr", "out.zarr"])
def test_names_that_no_folder_can_have(tmp_path, monkeypatch, name, where):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError, match="rename it"):
        to_zarr(xr.Dataset({name: ("x", np.zeros(3))}), where, progress=False)


def test_another_origin_is_refused_unless_told(source, url):
    begun(source, url)
    before = names(url)
    with pytest.raises(ArgumentError, match=r"computation of scaled, .* Pass resume=False.*unchecked"):
        to_zarr(killed.lazy(source, 3.0), url, progress=False)
    with pytest.raises(ArgumentError, match="differs: the metadata"):
        to_zarr(killed.lazy(source).assign_attrs(title="another"), url, progress=False, resume="unchecked")
    assert names(url) == before
    to_zarr(killed.lazy(source, 3.0), url, progress=False, resume=False)
    np.testing.assert_array_equal(xr.open_zarr(url).scaled, xr.open_zarr(source).theta * 3)
    assert not any(".partial" in name for name in names(url))


def test_what_stands_there(source, url):
    """A finished store is not overwritten unless told; what is no store never."""
    to_zarr(killed.lazy(source, 3.0), url, progress=False)
    before = {name: fsspec.filesystem("memory").modified(name) for name in names(url)}
    to_zarr(killed.lazy(source, 3.0), url, progress=False)  # the same call finds its work done
    assert {name: fsspec.filesystem("memory").modified(name) for name in names(url)} == before
    with pytest.raises(ArgumentError, match="exists already and was made from other data"):
        to_zarr(killed.lazy(source), url, progress=False)
    with pytest.raises(ArgumentError, match=r"exists already; pass overwrite"):
        to_zarr(killed.lazy(source, 3.0), url, progress=False, resume=False)
    to_zarr(killed.lazy(source)[["scaled"]], url, progress=False, overwrite=True)
    assert set(xr.open_zarr(url)) == {"scaled"}
    assert not any("/theta/" in name for name in names(url))
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/bucket/letters/one.txt", b"dear")
    for options, message in (({}, "exists already"), ({"overwrite": True}, r"holds 'one.txt' and is not a Zarr store")):
        with pytest.raises(ArgumentError, match=message):
            to_zarr(killed.lazy(source), "memory://bucket/letters", progress=False, **options)
    assert memory.cat_file("/bucket/letters/one.txt") == b"dear"


def test_values_in_memory_go_to_a_url_too(source, url):
    to_zarr(killed.lazy(source).load(), url, progress=False)
    assert_as_local(url, source)
    to_zarr(killed.lazy(source).load(), url, progress=False)
    with pytest.raises(ArgumentError, match="exists already and was made from other data"):
        to_zarr(killed.lazy(source, 3.0).load(), url, progress=False)


def test_two_that_begin_together(source, url, monkeypatch):
    """Of other data: neither goes on, and nothing of either is left but what the other announced."""
    memory = fsspec.filesystem("memory")
    announced = remote._Place.put

    def both(self, name, content):
        announced(self, name, content)
        if name.endswith("origin.json"):
            text = json.loads(content)
            memory.pipe_file(f"{self.root}/.partial/other/origin.json", json.dumps(text | {"layout": "x"}).encode())

    monkeypatch.setattr(remote._Place, "put", both)
    with pytest.raises(ArgumentError, match="being written by another process"):
        to_zarr(killed.lazy(source), url, progress=False)
    assert [name.rpartition(".partial/")[2] for name in names(url)] == ["other/origin.json"]


def test_regions_that_another_process_took_away_are_told(source, url, monkeypatch):
    """Nothing locks a URL: what is not there in the end is not passed off as whole."""
    written = remote.write_regions

    def lose(*args, **options):
        written(*args, **options)
        fsspec.filesystem("memory").rm(next(name for name in names(url) if "/scaled/c/" in name))

    monkeypatch.setattr(remote, "write_regions", lose)
    with pytest.raises(ArgumentError, match=r"regions of \['scaled'\] are gone"):
        to_zarr(killed.lazy(source), url, progress=False)
    with pytest.raises(FileNotFoundError):
        xr.open_zarr(url)
    monkeypatch.setattr(remote, "write_regions", written)
    to_zarr(killed.lazy(source), url, progress=False)
    assert_as_local(url, source)


def test_a_damaged_origin_is_told(source, url):
    begun(source, url)
    memory = fsspec.filesystem("memory")
    memory.pipe_file(next(name for name in names(url) if name.endswith("origin.json")), b"[" * 100_000)
    with pytest.raises(ArgumentError, match=r"origin\.json does not say what .* resume=False"):
        to_zarr(killed.lazy(source), url, progress=False)
    to_zarr(killed.lazy(source), url, progress=False, resume=False)
    assert set(xr.open_zarr(url)) == set(killed.lazy(source))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("simplecache::memory://bucket/out.zarr", "chain of file systems"),
        ("memory://bucket/run[1]/out.zarr", "or a pattern"),
        ("memory://", "names no place"),
        ("nothing://bucket/out.zarr", "Protocol not known"),
        ("data://bucket/out.zarr", "not written .DataFileSystem"),
    ],
)
def test_urls_that_cannot_be_written(source, wrong, message):
    with pytest.raises(ArgumentError, match=message):
        to_zarr(killed.lazy(source), wrong, progress=False)


def test_urls_of_files_are_paths(source, tmp_path):
    assert to_zarr(killed.lazy(source), f"file://{tmp_path}/a%20b.zarr", progress=False) == tmp_path / "a b.zarr"
    xr.testing.assert_identical(xr.open_zarr(tmp_path / "a b.zarr").load(), _reopened(source))
    assert to_zarr(killed.lazy(source), f"local://{tmp_path}/c.zarr", progress=False) == tmp_path / "c.zarr"
