"""Ledgers of a store: the finished regions of an array, each noted after its last file, for the next run to look up.

Ledgers go to the workers with the tasks, so they hold paths and open what they name where they are.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import tempfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import zarr

from xsoil.errors import ArgumentError
from xsoil.threads import available_cores, in_order

Block = tuple[int, ...]
Region = tuple[slice, ...]

LONGEST_NAME = 200
"""Characters of the folder of an array's entries."""
PIECE = 2**20
"""Bytes of a file that are read at once for its checksum."""


@dataclass(frozen=True)
class Ledger(ABC):
    """What is finished of one array.

    Attributes
    ----------
    array : str
        Path or URL of the array.
    place : str
        Path or URL of the entries, one for each finished region; other runs have others.
    unit : tuple of int
        Cells of what one file holds: a chunk, or a shard.
    """

    array: str
    place: str
    unit: tuple[int, ...]

    def begin(self) -> None:  # noqa: B027  (buckets need no folders)
        """Make the place for entries."""

    def write(self, values: np.ndarray[Any, Any], block: Block, region: Region) -> None:
        """Write a region, then its entry."""
        array = _opened(self.array, self.place, os.getpid())
        require_promised(values, tuple(s.stop - s.start for s in region), array.dtype, self.array.rpartition("/")[2])
        array[region] = values
        self._note(_entry(block), self._state(region))

    def finished(self, regions: Mapping[Block, Region]) -> set[Block]:
        """Regions that have an entry and whose files are those that were written."""
        noted = self._noted()
        named = {block: region for block, region in regions.items() if _entry(block) in noted}
        return self._checked(named, noted) if named else set()

    def _checked(self, regions: Mapping[Block, Region], noted: Mapping[str, str]) -> set[Block]:
        """Of these regions, those whose files are as their entry says."""

        def check(block: Block) -> list[tuple[Block, bool]]:
            return [(block, noted[_entry(block)] == self._state(regions[block]))]

        return {block for block, good in in_order(check, list(regions), available_cores()) if good}

    def _files(self, region: Region) -> Iterator[str]:
        """Names of the files that a region may have; a chunk that holds nothing but the fill value has none."""
        spans = [range(s.start // unit, -(-s.stop // unit)) for s, unit in zip(region, self.unit, strict=True)]
        for at in itertools.product(*spans):
            yield "/".join(("c", *map(str, at)))

    @abstractmethod
    def _state(self, region: Region) -> str:
        """What is known of the files of a region."""

    @abstractmethod
    def _note(self, entry: str, state: str) -> None:
        """Write an entry, whole or not at all."""

    @abstractmethod
    def _noted(self) -> dict[str, str]:
        """All entries."""


class LocalLedger(Ledger):
    """In a folder, with a checksum of the files of each region: after a power cut they may not be what was written."""

    def begin(self) -> None:
        """See `Ledger`."""
        os.makedirs(self.place, exist_ok=True)

    def _state(self, region: Region) -> str:
        found, count = 0, 0
        for name in self._files(region):
            try:
                with open(os.path.join(self.array, name), "rb") as file:
                    found = zlib.crc32(name.removeprefix("c/").encode(), found)
                    while piece := file.read(PIECE):
                        found = zlib.crc32(piece, found)
            except FileNotFoundError:
                continue
            count += 1
        return f"{count} files, crc32 {found:08x}\n"

    def _note(self, entry: str, state: str) -> None:
        handle, temporary = tempfile.mkstemp(prefix=".", dir=self.place)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(state)
        os.replace(temporary, os.path.join(self.place, entry))

    def _noted(self) -> dict[str, str]:
        try:
            entries = os.listdir(self.place)
        except FileNotFoundError:
            return {}
        return {
            e: Path(self.place, e).read_text(encoding="utf-8", errors="replace")
            for e in entries
            if not e.startswith(".")
        }


class RemoteLedger(Ledger):
    """At a URL, with the number and size of the objects of each region: an object is there whole, or not at all.

    They are part of the entry's name, so that a list of the names tells all.
    """

    def _state(self, region: Region) -> str:
        files, root = opened(self.array)
        files.invalidate_cache()  # what was listed before may lack what was written since
        sizes = {}
        for name in self._files(region):
            with suppress(FileNotFoundError):
                sizes[name] = files.info(f"{root}/{name}")["size"]
        return self._told(region, sizes)

    def _told(self, region: Region, sizes: Mapping[str, int]) -> str:
        found = [int(sizes[name]) for name in self._files(region) if name in sizes]
        return f"{len(found)}-{sum(found)}"

    def _checked(self, regions: Mapping[Block, Region], noted: Mapping[str, str]) -> set[Block]:
        files, root = opened(self.array)
        found = sizes_below(files, f"{root}/c")
        sizes = {path.removeprefix(root).lstrip("/"): size for path, size in found.items()}
        return {block for block, region in regions.items() if noted[_entry(block)] == self._told(region, sizes)}

    def _note(self, entry: str, state: str) -> None:
        files, root = opened(self.place)
        files.pipe_file(f"{root}/{entry}_{state}", b"")

    def _noted(self) -> dict[str, str]:
        names = (path.rpartition("/")[2].partition("_") for path in sizes_below(*opened(self.place)))
        return {entry: state for entry, _, state in names}


def ledgers_of(kind: type[Ledger], names: Iterable[str], store: str, place: str, template: Path) -> dict[str, Ledger]:
    """Of arrays of a store, which are laid out as in the template."""
    found: dict[str, Ledger] = {}
    for name in names:
        layout = zarr.open_array(template / name, mode="r")
        entries = quote(name, safe="")
        if len(entries) > LONGEST_NAME:  # letters of other alphabets take nine signs
            entries = hashlib.sha256(name.encode()).hexdigest()
        found[name] = kind(f"{store}/{name}", f"{place}/{entries}", layout.shards or layout.chunks)
    return found


def opened(url: str) -> tuple[Any, str]:
    """File system of a URL, and what the URL is called there."""
    from fsspec.core import url_to_fs  # type: ignore[import-untyped]

    files, root = url_to_fs(url)
    return files, str(root)


def sizes_below(files: Any, root: str) -> dict[str, int]:
    """Of all objects below a prefix, as they are now: one request for a thousand of them."""
    files.invalidate_cache()
    try:
        found = files.find(root, detail=True)
    except FileNotFoundError:
        return {}
    return {str(path): int(entry["size"]) for path, entry in sorted(found.items())}


@lru_cache(maxsize=64)
def _opened(array: str, place: str, process: int) -> Any:
    """The array, for one run (another may lay it out otherwise) in one process (connections do not survive a fork)."""
    return zarr.open_array(array, mode="r+")


def require_promised(values: Any, shape: tuple[int, ...], dtype: np.dtype[Any], name: str) -> None:
    """Raise where a block is not what dask had announced: writers would cut its numbers off, or repeat them."""
    found = np.shape(values), np.asarray(values).dtype
    if found[0] != shape or not np.can_cast(found[1], dtype, "safe" if dtype.kind in "US" else "same_kind"):
        raise ArgumentError(
            f"a block of {name!r} has the shape {found[0]} and the type {found[1]}, but dask was told {shape} and "
            f"{dtype}; give map_blocks, from_delayed or apply_ufunc the shape and dtype that the function returns"
        )


def _entry(block: Block) -> str:
    return ".".join(map(str, block)) or "all"
