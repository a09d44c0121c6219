"""A result appears under its name only when it is whole: written beside it, then renamed."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from string import hexdigits
from typing import IO
from urllib.request import url2pathname

from xsoil.choices import as_path
from xsoil.errors import ArgumentError

if sys.platform != "win32":
    import fcntl

STORES = ("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata")
"""Names of which one at least is in every Zarr store."""
LOCAL = ("file://", "local://")
LOCK, REPLACED = "lock", "replaced"
LONGEST_NAME = 255
"""Bytes of the name of a file, on most systems."""
MARGIN = ".tif..partial"
"""What stands around the name of a variable in that of the `workshop` of its file."""


def is_remote(path: str | os.PathLike[str]) -> bool:
    """True for URLs such as ``s3://bucket/store.zarr``; raises where there is neither a text nor a path."""
    as_path("path", path)
    text = os.fspath(path)
    return "://" in text and not text.lower().startswith(LOCAL)


def local_path(path: str | os.PathLike[str]) -> Path:
    """A path, also of the URL of a local file, that means the same wherever this process changes to."""
    text = os.fspath(path)
    if text.lower().startswith(LOCAL):
        place = text.partition("://")[2]
        host, _, rest = place.partition("/")
        text = url2pathname(f"/{rest}" if host.lower() == "localhost" else place)
    elif text.lower().startswith("file:/"):  # the short form of such a URL
        text = url2pathname(text[len("file:") :])
    if not text or "\0" in text or not all(0 < _size(part) <= LONGEST_NAME for part in Path(text).parts):
        raise ArgumentError(
            f"the path is {text!r}; expected that of a file or folder to write, without NUL signs, "
            f"its names of {LONGEST_NAME} bytes at most, in UTF-8"
        )
    found = Path(text)
    if ".." in found.parts:  # what lies above a link is not what stands before it
        found = Path(os.path.realpath(found))
    return Path(os.path.abspath(found))


def is_file_name(name: str) -> bool:
    """True where a variable's name can be that of a file, here and on other systems."""
    return 0 < _size(name) <= LONGEST_NAME and not any(sign in name for sign in "/\\\0")


def _size(name: str) -> int:
    """Bytes of a name; 0 where UTF-8, which netCDF and GDAL take paths to be in, does not have it."""
    try:
        return len(name.encode())
    except UnicodeEncodeError:
        return 0


def refuse_existing(path: Path, *, overwrite: bool, replaceable: Callable[[Path], bool], what: str) -> None:
    """Raise where `path` exists and may not, or must not, be replaced."""
    if not _stands(path):
        return
    if not overwrite:
        raise ArgumentError(f"{path} exists already; pass overwrite=True to replace it, or write to another path")
    if not replaceable(path):
        raise ArgumentError(
            f"{path} exists and is not {what}, so overwrite=True does not delete it; "
            "remove it yourself, or write to another path"
        )


def workshop(path: Path) -> Path:
    """The hidden folder beside `path` in which it is made: always the same one, so that the next run finds it."""
    path = Path(os.path.abspath(path))
    return path.parent / f".{path.name}.partial"


@contextmanager
def claimed(path: Path) -> Iterator[Path]:
    """Give the `workshop` of `path` to this caller alone.

    The claim is a lock of the operating system on a file in that folder, so it ends with the process, however that
    ends. A run that was killed between the two renames of `publish` is set right first. The folder stays: remove it
    with `cleared` when nothing in it is needed any more.

    Raises
    ------
    ArgumentError
        Another process, or another thread of this one, is writing `path`.
    """
    holder = workshop(path)
    with _locked(holder, path):
        old = holder / REPLACED
        if _stands(old):
            if _stands(path):
                _remove(old)
            else:
                os.rename(old, path)
        yield holder


@contextmanager
def _locked(holder: Path, path: Path) -> Iterator[None]:
    file: IO[str] | None = None
    while file is None:
        _make_workshop(holder, path)
        try:
            file = open(holder / LOCK, "a+", encoding="utf-8")  # noqa: SIM115  (closed below: closing is unlocking)
        except FileNotFoundError:
            continue  # another run has just ended and taken its folder away
        try:
            _lock(file)
        except BlockingIOError:
            file.seek(0)
            who = file.read().strip() or "another process"
            file.close()
            raise ArgumentError(
                f"{path} is being written by {who}; wait until that has ended, or write to another path"
            ) from None
        try:
            current = os.stat(holder / LOCK).st_ino == os.fstat(file.fileno()).st_ino
        except FileNotFoundError:
            current = False
        if not current:  # locked what another run, which has just ended, removed meanwhile
            file.close()
            file = None
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()} (since {time.strftime('%Y-%m-%d %H:%M:%S')})\n")
        file.flush()
        yield
    finally:
        file.close()


def _make_workshop(holder: Path, path: Path) -> None:
    """Make the folder, or raise where none can be made or where one is that was not made here."""
    names: set[str] = set()
    try:
        holder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            names = set(os.listdir(holder))
    except OSError as error:
        if isinstance(error, FileExistsError) and not _stands(holder):
            return  # another run has just ended and taken it away
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ArgumentError(
            f"{path} cannot be written: {error.strerror} ({error.filename}); "
            "expected a name in a folder that you may write to"
        ) from error
    own = {n for n in names if n.startswith(".nfs") or n == REPLACED or (len(n) == 16 and set(n) <= set(hexdigits))}
    if holder.is_symlink() or (holder / LOCK).is_dir() or (LOCK not in names and names - own):
        raise ArgumentError(
            f"{holder}, in which {path.name} would be made, was not made by xsoil; move it away, or write elsewhere"
        )


def _lock(file: IO[str]) -> None:
    """Lock a file or raise `BlockingIOError`; warn where there are no locks."""
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            raise
        except OSError:
            pass  # a file system that is mounted without locks
    warnings.warn(
        f"{file.name} cannot be locked here: see to it that no other process writes the same output", stacklevel=2
    )


def publish(made: Path, path: Path) -> None:
    """Rename what was made in the workshop of `path` to `path`; whatever stood there stays until then."""
    old = workshop(path) / REPLACED
    if _stands(path):
        os.rename(path, old)
    try:
        os.rename(made, path)
    except OSError:
        if _stands(old):
            os.rename(old, path)
        raise
    _remove(old)


def cleared(holder: Path) -> None:
    """Remove a claimed workshop."""
    # Tasks that dask had started when another one failed go on writing for a while.
    for _ in range(20):
        emptied(holder)
        if [entry.name for entry in holder.iterdir()] == [LOCK]:
            break
        time.sleep(0.05)
    # The lock goes last and once: from then on the folder may be another's.
    (holder / LOCK).unlink()
    with suppress(OSError):
        holder.rmdir()


def emptied(holder: Path, *, but: str | None = None) -> None:
    """Remove what a claimed workshop holds, except the entry `but`."""
    for entry in holder.iterdir():
        if entry.name not in (LOCK, but):
            _remove(entry)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path in the workshop of `path`; rename it to `path` when the block ends without an error.

    Whatever stood at `path` stays as it was until then, so a failed or interrupted write leaves no half-written
    result and an old one is never damaged. What a killed run left behind is removed first.
    """
    with claimed(path) as holder:
        try:
            emptied(holder)
            made = holder / path.name
            if made.name in (LOCK, REPLACED):
                made = holder / f"{path.name}.new"
            yield made
            publish(made, path)
        finally:
            cleared(holder)


def _stands(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
