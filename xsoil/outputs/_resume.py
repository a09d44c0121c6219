"""Runs that write a local store: begun, interrupted, continued, finished.

While a run lasts, everything lies in the workshop beside the target (see `_paths`):

    .<name>.partial/lock             held by the writing process
    .<name>.partial/<digest>/        one run: named after its origin, so that a late worker of another run, whose
                                     process was killed, cannot write into this one
        origin.json                  what it is made from
        store/                       the store, its template complete from the start
        done/<variable>/<block>      the ledger: one file for each finished region, with a checksum

The folder of a run is renamed into place when its template is complete; its store is renamed to the target when all
regions are. Nothing of the ledger is left then; the token of the origin stays as an extended attribute of the finished
folder (where the file system has these), so that the same call finds its work done.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import xarray as xr

from xsoil.errors import ArgumentError
from xsoil.outputs._ledgers import LocalLedger, ledgers_of
from xsoil.outputs._origin import Origin
from xsoil.outputs._paths import claimed, cleared, emptied, publish, workshop
from xsoil.outputs._regions import encoded_arrays, write_regions, write_template

ORIGIN, STORE, LEDGER = "origin.json", "store", "done"
TOKEN = "user.xsoil.origin"
NEW = "new"


def write_store(ds: xr.Dataset, path: Path, *, resume: bool | str, overwrite: bool, progress: bool) -> None:
    """Write a laid-out dataset to `path`, which exists only if it may be replaced or may be this very result."""
    arrays = encoded_arrays(ds)
    with claimed(path) as holder:
        try:
            begun = _Run.begin(ds, arrays, holder)
            if path.exists() and not overwrite:
                _refuse_other(path, begun)
                cleared(holder)
                return
            run, continued = _continued(begun, holder, path, resume)
        except BaseException:
            if not _run_folders(holder):
                cleared(holder)
            raise
        try:
            ledgers = ledgers_of(LocalLedger, arrays, str(run.store), str(run.ledger), run.store)
            write_regions(arrays, ledgers, progress=progress)
            run.finish(path, sweep=continued)
        except BaseException as error:
            _leave(run, holder, path, error, keep=resume is not False)
            raise
        cleared(holder)


def is_finished_run(path: Path) -> bool:
    """True for a store of `write_store` that is complete and tells what it was made from."""
    return _token_of(path) is not None


@dataclass(frozen=True)
class _Run:
    folder: Path
    origin: Origin

    @property
    def store(self) -> Path:
        return self.folder / STORE

    @property
    def ledger(self) -> Path:
        return self.folder / LEDGER

    @property
    def finished(self) -> int:
        """Regions in the ledger."""
        return sum(1 for path in self.ledger.glob("*/*") if not path.name.startswith("."))

    @classmethod
    def begin(cls, ds: xr.Dataset, arrays: dict[str, da.Array], holder: Path) -> _Run:
        """A new run that is not in its place yet: the template and the origin."""
        shutil.rmtree(holder / NEW, ignore_errors=True)
        (holder / NEW).mkdir()
        write_template(ds, holder / NEW / STORE)
        origin = Origin.of(arrays, holder / NEW / STORE)
        (holder / NEW / LEDGER).mkdir()
        (holder / NEW / ORIGIN).write_text(origin.text, encoding="utf-8")
        return cls(holder / NEW, origin)

    def put_in_place(self, holder: Path) -> _Run:
        place = holder / self.origin.token[:16]
        os.rename(self.folder, place)
        return _Run(place, self.origin)

    def finish(self, path: Path, *, sweep: bool) -> None:
        if sweep:  # what zarr was writing when a run before was killed
            for left in self.store.rglob("*.partial"):
                left.unlink(missing_ok=True)
        if hasattr(os, "setxattr"):
            with suppress(OSError):
                os.setxattr(self.store, TOKEN, self.origin.token.encode())
        publish(self.store, path)


def _run_folders(holder: Path) -> list[Path]:
    """Of runs in a workshop that have their template."""
    return [folder for folder in sorted(holder.iterdir()) if folder.name != NEW and os.path.lexists(folder / ORIGIN)]


def _continued(begun: _Run, holder: Path, path: Path, resume: bool | str) -> tuple[_Run, bool]:
    """The run to work on, and whether it is an old one."""
    folders = _run_folders(holder) if resume is not False else []
    runs = [_Run(folder, Origin.read(folder / ORIGIN)) for folder in folders]
    for run in runs:
        if run.origin == begun.origin:
            emptied(holder, but=run.folder.name)
            return run, True
    for run in runs:
        if resume == "unchecked" and run.origin.layout == begun.origin.layout:
            emptied(holder, but=run.folder.name)
            return run, True
        if run.finished:
            raise ArgumentError(begun.origin.refusal(run.origin, os.fspath(path), run.finished, resume))
    emptied(holder, but=NEW)
    return begun.put_in_place(holder), False


def _refuse_other(path: Path, begun: _Run) -> None:
    if _token_of(path) != begun.origin.token:
        raise ArgumentError(
            f"{path} exists already and was made from other data or parameters, or by other versions; "
            "pass overwrite=True to replace it, or write to another path"
        )


def _token_of(path: Path) -> str | None:
    if not hasattr(os, "getxattr"):
        return None
    try:
        return os.getxattr(path, TOKEN).decode(errors="replace")
    except OSError:
        return None


def _leave(run: _Run, holder: Path, path: Path, error: Any, *, keep: bool) -> None:
    """After an error or an interrupt: keep what is finished, and say so."""
    count = run.finished if keep else 0
    if not count:
        cleared(holder)
        return
    error.add_note(
        f"{path} is not complete: {count} finished regions are kept in {workshop(path)}; "
        "the same call continues from there, resume=False begins again"
    )
