"""Runs that write a store at a URL: begun, interrupted, continued, finished.

Objects cannot be renamed, so a run lies where the store will be:

    <url>/.partial/<digest>/origin.json   what the run is made from
    <url>/.partial/<digest>/names.json    the variables that it writes: nothing else here is its own
    <url>/.partial/<digest>/sweep         the store that it replaces is not quite gone
    <url>/.partial/<digest>/ended         it failed, so another process need not fear that it is at work
    <url>/.partial/<digest>/done/...      the ledger: one object for each finished region
    <url>/<variable>/...                  arrays, their metadata complete from the start
    <url>/zarr.json                       written last: until then nothing can be opened here; its attribute
                                          `TOKEN` says what the store was made from

There are no locks either. A run announces itself, then looks who else did: another run of the same origin writes the
same bytes, and one of another origin is refused. Before the last object all others are looked up once more.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from xsoil.errors import ArgumentError
from xsoil.outputs._ledgers import RemoteLedger, ledgers_of, opened, sizes_below
from xsoil.outputs._origin import LONGEST_ORIGIN, Origin
from xsoil.outputs._paths import STORES
from xsoil.outputs._regions import encoded_arrays, missing_regions, write_regions, write_template

PARTIAL, LEDGER, LAST = ".partial", "done", "zarr.json"
ORIGIN, NAMES, SWEEP, ENDED = "origin.json", "names.json", "sweep", "ended"
LONGEST_GROUP = 2**28
"""Bytes of a group's metadata that are read."""
TOKEN = "xsoil:origin"


def write_remote_store(ds: xr.Dataset, url: str, *, resume: bool | str, overwrite: bool, progress: bool) -> None:
    """Write a laid-out dataset to a URL."""
    place = _Place.of(url)
    arrays = encoded_arrays(ds)
    with tempfile.TemporaryDirectory(prefix="xsoil-") as scratch:
        template = Path(scratch) / "store"
        write_template(ds, template)
        origin = Origin.of(arrays, template)
        try:
            run = _claimed(place, origin, sorted(map(str, ds.variables)), resume=resume, overwrite=overwrite)
        except NotImplementedError as error:
            raise ArgumentError(
                f"{url} can be read at best, not written ({type(place.files).__name__}); write to a folder or a bucket"
            ) from error
        if run is None:
            return
        try:
            run.sweep()
            place.lay_out(template)
            ledger = f"{place.url}/{PARTIAL}/{run.digest}/{LEDGER}"
            ledgers = ledgers_of(RemoteLedger, arrays, place.url, ledger, template)
            write_regions(arrays, ledgers, progress=progress)
            lost = sorted(name for name, array in arrays.items() if missing_regions(array, ledgers[name]))
            if lost:
                raise ArgumentError(
                    f"{place.url} was changed while it was written: regions of {lost} are gone, as after resume=False "
                    "of another process; call again when no other process writes there"
                )
            place.lay_out(template)
            group = json.loads((template / LAST).read_bytes())
            group["attributes"][TOKEN] = origin.token
            place.put(LAST, json.dumps(group, indent=2).encode())
        except BaseException as error:
            run.leave(error)
            raise
    run.forget()


@dataclass(frozen=True)
class _Place:
    """A URL.

    Attributes
    ----------
    files
        File system of fsspec.
    root : str
        What the URL is called there.
    url : str
    """

    files: Any
    root: str
    url: str

    @classmethod
    def of(cls, url: str) -> _Place:
        if "::" in url or any(sign in url for sign in "*?["):
            raise ArgumentError(
                f"{url} is a chain of file systems or a pattern; expected the URL of one place, such as "
                "s3://bucket/store.zarr"
            )
        try:
            files, root = opened(url)
        except ValueError as error:
            raise ArgumentError(
                f"{url} cannot be written: {error}; expected one such as s3://bucket/store.zarr"
            ) from error
        if not root.strip("/"):
            raise ArgumentError(f"{url} names no place to write to; expected one such as s3://bucket/store.zarr")
        return cls(files, root.rstrip("/"), url.rstrip("/"))

    def put(self, name: str, content: bytes) -> None:
        self.files.pipe_file(f"{self.root}/{name}", content)

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Of all objects below, by their names relative to the store."""
        found = sizes_below(self.files, f"{self.root}/{folder}".rstrip("/"))
        return {path.removeprefix(self.root).lstrip("/"): size for path, size in found.items()}

    def first_names(self) -> list[str]:
        """Of objects and folders at the top."""
        self.files.invalidate_cache()
        try:
            entries = self.files.ls(self.root, detail=False)
        except FileNotFoundError:
            return []
        names = (str(entry).rstrip("/").removeprefix(self.root).lstrip("/") for entry in entries)
        return sorted(name for name in names if name)

    def lay_out(self, template: Path) -> None:
        """Put what is not lazy, and the metadata of arrays; only what is not there yet."""
        there = self.sizes()
        for path in sorted(p for p in template.rglob("*") if p.is_file()):
            name, content = path.relative_to(template).as_posix(), path.read_bytes()
            if name != LAST and there.get(name) != len(content):
                self.put(name, content)

    def remove(self, names: list[str]) -> None:
        """Remove objects, the first one first of all; raises where they stay (some buckets are silent about that)."""
        for part in (names[:1], names[1:]):
            if part:
                self.files.rm([f"{self.root}/{name}" for name in part])
        if names and (left := set(names) & set(self.sizes())):
            raise PermissionError(f"{len(left)} objects below {self.url} cannot be removed, among them {min(left)}")

    def token(self) -> str | None:
        """What the finished store here says that it was made from."""
        try:
            found = json.loads(self.files.cat_file(f"{self.root}/{LAST}", end=LONGEST_GROUP))["attributes"][TOKEN]
        except (FileNotFoundError, KeyError, TypeError, ValueError, RecursionError):
            return None
        return str(found)

    def runs(self) -> list[_Run]:
        """Unfinished ones here."""
        found = (name.split("/") for name in self.sizes(PARTIAL))
        return [_Run(self, parts[1]) for parts in found if len(parts) == 3 and parts[2] == ORIGIN]


@dataclass(frozen=True)
class _Run:
    place: _Place
    digest: str

    @property
    def folder(self) -> str:
        return f"{PARTIAL}/{self.digest}"

    @property
    def origin(self) -> Origin:
        """What it is made from."""
        place, name = self.place, f"{self.folder}/{ORIGIN}"
        return Origin.parse(place.files.cat_file(f"{place.root}/{name}", end=LONGEST_ORIGIN), f"{place.url}/{name}")

    def finished(self) -> int:
        """Regions in the ledger."""
        return len(self.place.sizes(f"{self.folder}/{LEDGER}"))

    def has(self, name: str) -> bool:
        return f"{self.folder}/{name}" in self.place.sizes(self.folder)

    def announce(self, origin: Origin, names: list[str], *, sweep: bool) -> None:
        if sweep:
            self.place.put(f"{self.folder}/{SWEEP}", b"")
        self.place.put(f"{self.folder}/{NAMES}", json.dumps(names).encode())
        self.place.put(f"{self.folder}/{ORIGIN}", origin.text.encode())

    def sweep(self) -> None:
        """Remove the store that is replaced, its group first, so that nobody opens half of it."""
        if not self.has(SWEEP):
            return
        old = [name for name in self.place.sizes() if not name.startswith(f"{PARTIAL}/")]
        self.place.remove(sorted(old, key=lambda name: (name not in STORES, name)))
        self.place.remove([f"{self.folder}/{SWEEP}"])

    def leave(self, error: BaseException) -> None:
        """After an error or an interrupt: keep what is finished, and say so."""
        try:
            count = self.finished()
            self.place.put(f"{self.folder}/{ENDED}", b"")
        except Exception:  # the network is away, say: the first error is what to tell
            return
        error.add_note(
            f"{self.place.url} is not complete: {count} finished regions are noted in {self.place.url}/{PARTIAL}; "
            "the same call continues from there, resume=False begins again"
        )

    def forget(self) -> None:
        """Remove its notes, the origin last: without it the next run would not know whose objects lie here."""
        names = list(self.place.sizes(self.folder))
        self.place.remove(sorted(names, key=lambda name: (name == f"{self.folder}/{ORIGIN}", name)))

    def discard(self) -> None:
        """Remove what it wrote, and nothing else; a store that is finished stays."""
        if self.place.token() is None and not self.has(SWEEP):
            place, own = self.place, set()
            with suppress(FileNotFoundError, ValueError, RecursionError):
                own = set(json.loads(place.files.cat_file(f"{place.root}/{self.folder}/{NAMES}", end=LONGEST_ORIGIN)))
            place.remove(sorted(name for name in place.sizes() if name.partition("/")[0] in own))
        self.forget()


def _claimed(place: _Place, origin: Origin, names: list[str], *, resume: bool | str, overwrite: bool) -> _Run | None:
    """The run to work on, which is an old one or announced now; None where its finished store stands."""
    runs = place.runs()
    if resume is not False:
        others = [(run, run.origin) for run in runs]
        for run, other in others:
            if other == origin or (resume == "unchecked" and other.layout == origin.layout):
                return run
        for run, other in others:
            if (finished := run.finished()) or not run.has(ENDED):
                raise ArgumentError(origin.refusal(other, place.url, finished, resume))
    for run in runs:
        run.discard()
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
    if standing and (not any(name in STORES for name in standing) or "/" not in place.root.strip("/")):
        raise ArgumentError(
            f"{place.url} holds {standing[0]!r} and is not a Zarr store in a folder of its own, so overwrite=True does "
            "not delete it; remove it yourself, or write to another URL"
        )
    run = _Run(place, origin.token[:16])
    run.announce(origin, names, sweep=bool(standing))
    if len(place.runs()) > 1:
        run.forget()
        raise ArgumentError(f"{place.url} is being written by another process; wait for it, or write to another URL")
    return run
