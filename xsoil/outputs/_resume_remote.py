"""Runs that write a store at a URL: begun, interrupted, continued, finished.

Objects cannot be renamed, so a run lies where the store will be:

    <url>/.partial/<digest>/origin.json              what the run is made from
    <url>/.partial/<digest>/done/<variable>/<block>  the ledger: one object for each finished region
    <url>/<variable>/...                             arrays, their metadata complete from the start
    <url>/zarr.json                                  written last: until then nothing can be opened here; its attribute
                                                     `TOKEN` says what the store was made from

There are no locks either. A run announces itself, then looks who else did: another run of the same origin writes the
same bytes, and one of another origin is refused. Before the last object all regions are looked up once more.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import xarray as xr

from xsoil.errors import ArgumentError
from xsoil.outputs._ledgers import Ledger, RemoteLedger, below, ledgers_of, opened
from xsoil.outputs._origin import LONGEST_ORIGIN, Origin
from xsoil.outputs._regions import encoded_arrays, missing_regions, write_regions, write_template

PARTIAL, ORIGIN, LEDGER, LAST = ".partial", "origin.json", "done", "zarr.json"
LONGEST_GROUP = 2**28
"""Bytes of a group's metadata that are read."""
TOKEN = "xsoil:origin"
STORES = (LAST, ".zgroup", ".zattrs", ".zmetadata")


def write_remote_store(ds: xr.Dataset, url: str, *, resume: bool | str, overwrite: bool, progress: bool) -> None:
    """Write a laid-out dataset to a URL."""
    url = url.rstrip("/")
    arrays = encoded_arrays(ds)
    place = _Place.of(url)
    with tempfile.TemporaryDirectory(prefix="xsoil-") as scratch:
        template = Path(scratch) / "store"
        write_template(ds, template)
        origin = Origin.of(arrays, template)
        try:
            digest = _claimed(place, origin, resume=resume, overwrite=overwrite)
        except NotImplementedError as error:
            raise ArgumentError(
                f"{url} can be read at best, not written ({type(place.files).__name__}); write to a folder or a bucket"
            ) from error
        if digest is None:
            return
        try:
            for path in sorted(p for p in template.rglob("*") if p.is_file()):
                name = path.relative_to(template).as_posix()
                if name != LAST:
                    place.put(name, path.read_bytes())
            ledgers = ledgers_of(RemoteLedger, arrays, url, f"{url}/{PARTIAL}/{digest}/{LEDGER}", template)
            write_regions(arrays, ledgers, progress=progress)
            _require_all(place, arrays, ledgers)
            group = json.loads((template / LAST).read_bytes())
            group["attributes"][TOKEN] = origin.token
            place.put(LAST, json.dumps(group, indent=2).encode())
        except BaseException as error:
            _leave(place, digest, error, keep=resume is not False)
            raise
    place.remove(PARTIAL)


def _require_all(place: _Place, arrays: dict[str, da.Array], ledgers: dict[str, Ledger]) -> None:
    """Raise where another process has removed what this one wrote; nothing locks a URL."""
    lost = {name: missing for name, array in arrays.items() if (missing := missing_regions(array, ledgers[name]))}
    if lost:
        raise ArgumentError(
            f"{place.url} was changed while it was written: regions of {sorted(lost)} are gone, as after resume=False "
            "of another process; call again when no other process writes there"
        )


def _leave(place: _Place, digest: str, error: BaseException, *, keep: bool) -> None:
    """After an error or an interrupt: keep what is finished, and say so."""
    try:
        count = place.finished(digest) if keep else 0
        if not count:
            place.remove()
            return
    except Exception:  # the network is away, say: the first error is what to tell
        return
    error.add_note(
        f"{place.url} is not complete: {count} finished regions are noted in {place.url}/{PARTIAL}; "
        "the same call continues from there, resume=False begins again"
    )


@dataclass(frozen=True)
class _Place:
    files: Any
    root: str
    url: str

    @classmethod
    def of(cls, url: str) -> _Place:
        if "::" in url:
            raise ArgumentError(f"{url} is a chain of file systems; expected the URL of one, such as s3://bucket/store")
        try:
            files, root = opened(url)
        except ValueError as error:
            raise ArgumentError(
                f"{url} cannot be written: {error}; expected a URL such as s3://bucket/store"
            ) from error
        return cls(files, root.rstrip("/"), url)

    def put(self, name: str, content: bytes) -> None:
        self.files.pipe_file(f"{self.root}/{name}", content)

    def names(self, folder: str = "") -> list[str]:
        """Of all objects below, relative to the store."""
        found = below(self.files, f"{self.root}/{folder}".rstrip("/"))
        return [path.removeprefix(self.root).lstrip("/") for path in found]

    def first_names(self) -> list[str]:
        """Of objects and folders at the top."""
        self.files.invalidate_cache()
        try:
            entries = self.files.ls(self.root, detail=False)
        except FileNotFoundError:
            return []
        return sorted(name for entry in entries if (name := str(entry).rstrip("/").rpartition("/")[2]))

    def remove(self, folder: str = "", *, but: str | None = None) -> None:
        names = [name for name in self.names(folder) if but is None or not name.startswith(f"{but}/")]
        if names:
            self.files.rm([f"{self.root}/{name}" for name in names])

    def token(self) -> str | None:
        """What the finished store here says that it was made from."""
        try:
            found = json.loads(self.files.cat_file(f"{self.root}/{LAST}", end=LONGEST_GROUP))["attributes"][TOKEN]
        except (FileNotFoundError, KeyError, TypeError, ValueError, RecursionError):
            return None
        return str(found)

    def runs(self) -> list[str]:
        """Digests of the unfinished runs here."""
        found = (name.split("/") for name in self.names(PARTIAL))
        return [parts[1] for parts in found if len(parts) == 3 and parts[2] == ORIGIN]

    def origin(self, digest: str) -> Origin:
        """What a run is made from."""
        name = f"{PARTIAL}/{digest}/{ORIGIN}"
        return Origin.parse(self.files.cat_file(f"{self.root}/{name}", end=LONGEST_ORIGIN), f"{self.url}/{name}")

    def finished(self, digest: str) -> int:
        """Regions in the ledger of a run."""
        return len(self.names(f"{PARTIAL}/{digest}/{LEDGER}"))


def _claimed(place: _Place, origin: Origin, *, resume: bool | str, overwrite: bool) -> str | None:
    """Digest of the run to work on, which is an old one or announced now; None where its finished store stands."""
    runs = place.runs()
    if runs and resume is False:
        place.remove()
        runs = []
    others = {digest: place.origin(digest) for digest in runs}
    for digest, other in others.items():
        if other == origin or (resume == "unchecked" and other.layout == origin.layout):
            return digest
    for digest, other in others.items():
        raise ArgumentError(origin.refusal(other, place.url, place.finished(digest), resume))
    standing = [name for name in place.first_names() if name != PARTIAL]
    if standing and not overwrite and resume is not False and (token := place.token()) is not None:
        if token == origin.token:
            return None
        raise ArgumentError(
            f"{place.url} exists already and was made from other data or parameters, or by other versions; "
            "pass overwrite=True to replace it, or write to another URL"
        )
    if standing and not overwrite:
        raise ArgumentError(f"{place.url} exists already; pass overwrite=True to replace it, or write to another URL")
    if standing and not any(name in STORES for name in standing):
        raise ArgumentError(
            f"{place.url} holds {standing[0]!r} and is not a Zarr store, so overwrite=True does not delete it; "
            "remove it yourself, or write to another URL"
        )
    digest = origin.token[:16]
    place.put(f"{PARTIAL}/{digest}/{ORIGIN}", origin.text.encode())
    if len(place.runs()) > 1:
        place.remove(f"{PARTIAL}/{digest}")
        raise ArgumentError(f"{place.url} is being written by another process; wait for it, or write to another URL")
    if standing:
        place.remove(but=PARTIAL)
    return digest
