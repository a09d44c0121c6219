"""A result appears under its name only when it is whole: written beside it, then renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from xsoil.errors import ArgumentError


def is_remote(path: str | os.PathLike[str]) -> bool:
    """True for URLs such as ``s3://bucket/store.zarr``."""
    return "://" in os.fspath(path)


def refuse_existing(path: Path, *, overwrite: bool, replaceable: Callable[[Path], bool], what: str) -> None:
    """Raise where `path` exists and may not, or must not, be replaced."""
    if not (path.exists() or path.is_symlink()):
        return
    if not overwrite:
        raise ArgumentError(f"{path} exists already; pass overwrite=True to replace it, or write to another path")
    if not replaceable(path):
        raise ArgumentError(
            f"{path} exists and is not {what}, so overwrite=True does not delete it; "
            "remove it yourself, or write to another path"
        )


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path in a hidden folder beside `path`; rename it to `path` when the block ends without an error.

    Whatever stood at `path` stays as it was until then, so a failed or interrupted write leaves no half-written
    result and an old one is never damaged. The hidden folder is removed in either case.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    holder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        made = holder / path.name
        yield made
        old = holder / "replaced"
        if path.exists() or path.is_symlink():
            os.rename(path, old)
        try:
            os.rename(made, path)
        except OSError:
            if old.exists() or old.is_symlink():
                os.rename(old, path)
            raise
    except BaseException:
        # Tasks that dask had started when another one failed go on writing for a while.
        for _ in range(20):
            shutil.rmtree(holder, ignore_errors=True)
            time.sleep(0.05)
            if not holder.exists():
                break
        raise
    shutil.rmtree(holder, ignore_errors=True)
