"""The folder of an unfinished run whose files were damaged: named, not guessed, and discarded where asked."""

from __future__ import annotations

import os

import dask
import killed
import pytest
from test_resume import begun, ends_whole, partial, regions, tree

from xsoil.errors import ArgumentError
from xsoil.outputs.zarr import to_zarr


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    target = tmp_path_factory.mktemp("whole") / "out.zarr"
    to_zarr(killed.lazy(source), target, progress=False)
    return tree(target)


CONTENTS = {
    "nothing": b"", "a pickle": b"\x80\x04.", "deep": b"[" * 10**5, "a list": b"[]", "NaN": b'{"layout": NaN}',
    "foreign": b'{"layout": "a", "arrays": {}, "files": {}, "packages": {}, "code": "os.system"}',
    "numbers": b'{"layout": 1, "arrays": {}, "files": {}, "packages": {}}',
    "lists": b'{"layout": "a", "arrays": [], "files": {}, "packages": {}}',
    "a number": b'{"layout": "a", "arrays": {}, "files": {"/etc/passwd": 5}, "packages": {}}',
    "a pipe": None, "a folder": None,
}  # fmt: skip


@pytest.mark.parametrize("content", list(CONTENTS))
def test_a_damaged_origin_is_told_by_its_name(source, whole, tmp_path, content):
    target = tmp_path / "out.zarr"
    begun(source, target)
    (origin,) = partial(target).glob("*/origin.json")
    origin.unlink()
    if content == "a pipe":
        os.mkfifo(origin)
    elif content == "a folder":
        origin.mkdir()
    else:
        origin.write_bytes(CONTENTS[content])
    for _ in range(2):  # the damaged run stays for the user to look at
        with pytest.raises(ArgumentError, match=r"origin\.json does not say what .* pass resume=False to discard"):
            to_zarr(killed.lazy(source), target, progress=False)
        assert origin.exists()
    if content in ("nothing", "a folder"):
        with dask.config.set(scheduler="synchronous"):
            to_zarr(killed.lazy(source), target, progress=False, resume=False)
        assert tree(target) == whole
        assert not partial(target).exists()


def test_damaged_entries_of_the_ledger(source, whole, tmp_path):
    target = tmp_path / "out.zarr"
    assert killed.run(killed.store, source, target, 150) == -9
    noted = regions(target)
    assert noted
    for path in noted:
        path.write_bytes(b"\xff\xfe")
    ends_whole(source, target, whole)
