"""What a store is made from, so that a run that continues another one knows whether it makes the same."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import dask.array as da
import numpy as np
from dask.highlevelgraph import HighLevelGraph

from xsoil.errors import ArgumentError

PACKAGES = ("xsoil", "numpy", "numba", "dask", "xarray", "zarr")
LONGEST_PATH = 4096
LONGEST_ORIGIN = 256 * 2**20
"""Bytes of the file: an entry for each variable, and for each file that the graph reads."""

_PLAIN = (int, float, complex, bytes, bool, type(None), slice, np.ndarray, np.generic, np.dtype, type, ModuleType)


@dataclass(frozen=True)
class Origin:
    """What the result depends on: two runs of one origin write the same bytes.

    Attributes
    ----------
    layout : str
        Digest of all metadata and of every variable that is in memory.
    arrays : dict
        The name that dask gave to each lazy variable (a digest of how it is computed, from what), and its blocks.
    files : dict
        Size and time of change of the local files that the graph reads.
    packages : dict
        Versions of what computes.
    """

    layout: str
    arrays: dict[str, str]
    files: dict[str, str]
    packages: dict[str, str]

    @classmethod
    def of(cls, arrays: Mapping[str, da.Array], template: Path) -> Origin:
        """Of lazy variables and the store that was laid out for them."""
        named = {name: f"{array.name} {_digest([repr(array.chunks)])}" for name, array in arrays.items()}
        return cls(_tree(template), named, {path: _state(path) for path in files_of(arrays.values())}, _versions())

    @property
    def token(self) -> str:
        return _digest([json.dumps(asdict(self), sort_keys=True)])

    def differences(self, other: Origin) -> list[str]:
        """What differs from another origin, in words."""
        found = []
        if self.layout != other.layout:
            found.append("the metadata, chunks or variables in memory")
        for what, mine, theirs in (
            ("the computation of ", self.arrays, other.arrays),
            ("the file ", self.files, other.files),
            ("the version of ", self.packages, other.packages),
        ):
            found += [f"{what}{name}" for name in sorted({*mine, *theirs}) if mine.get(name) != theirs.get(name)]
        return found

    def refusal(self, other: Origin, path: str, finished: int, resume: bool | str) -> str:
        """Why the unfinished run of another origin is not continued, and what to do."""
        different = self.differences(other)
        named = ", ".join(different[:3]) + (f" and {len(different) - 3} more" if len(different) > 3 else "")
        random = ""
        if resume is True and self.layout == other.layout:
            random = (
                ", or resume='unchecked' to continue all the same (right only if you know that the numbers are: "
                "delayed and random arrays, and functions of a notebook, get a new name in each session)"
            )
        return (
            f"{path} was begun from something else ({finished} regions are written); what differs: {named}. "
            f"Pass resume=False to discard them and begin again{random}; or write to another path"
        )

    @property
    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    @classmethod
    def read(cls, path: Path) -> Origin:
        """From the file of a run.

        Raises
        ------
        ArgumentError
            The file is damaged; the message names it.
        """
        try:
            if not path.is_file() or (size := path.stat().st_size) > LONGEST_ORIGIN:
                raise ValueError("no file" if not path.is_file() else f"{size} bytes")
            content = path.read_bytes()
        except (OSError, ValueError) as error:
            raise _damaged(str(path), error) from error
        return cls.parse(content, str(path))

    @classmethod
    def parse(cls, content: bytes, where: str) -> Origin:
        """From what was read from a path or URL; raises ArgumentError, which names that, where it is damaged."""
        try:
            found = json.loads(content)
            if not isinstance(found, dict) or set(found) != set(cls.__dataclass_fields__):
                raise ValueError("other entries than layout, arrays, files and packages")
            tables = [found[name] for name in ("arrays", "files", "packages")]
            if not all(isinstance(table, dict) for table in tables):
                raise ValueError("tables are missing")
            if not all(isinstance(text, str) for text in (found["layout"], *(v for t in tables for v in t.values()))):
                raise ValueError("entries that are no text")
        except (ValueError, RecursionError) as error:
            raise _damaged(where, error) from error
        return cls(**found)


def _damaged(where: str, error: Exception) -> ArgumentError:
    return ArgumentError(
        f"{where} does not say what the unfinished run there is made from ({type(error).__name__}: {error}); "
        f"pass resume=False to discard that run and begin again, or delete {where.rpartition('/')[0]}"
    )


def files_of(arrays: Iterable[da.Array]) -> list[str]:
    """Local files and folders that the graphs name.

    The name of an array tells the path that it is read from, and not always whether the file there has changed since.
    """
    search = _PathSearch()
    # Variables of one dataset share most of their layers, which are walked once.
    search.scan(HighLevelGraph.merge(*(array.dask for array in arrays)).values())
    return sorted(_with_sources(search.found))


def _with_sources(paths: set[str]) -> set[str]:
    """Also the rasters that GDAL's virtual ones (VRT) are made of, which may be virtual themselves."""
    found, new = set(paths), paths
    while new := {path for path in new if path.lower().endswith(".vrt") and os.path.isfile(path)}:
        new = {source for path in new for source in _sources(path)} - found
        found |= new
    return found


def _sources(path: str) -> list[str]:
    import rasterio

    try:
        with rasterio.open(path) as raster:
            return [os.path.abspath(source) for source in raster.files if os.path.exists(source)]
    except rasterio.errors.RasterioError:
        return []  # another kind of file that is named so


class _Nowhere:
    def write(self, data: Any) -> int:
        return len(data)


class _PathSearch(cloudpickle.Pickler):  # type: ignore[misc]
    """Walks through objects as pickling does, and notes the strings and paths that exist."""

    def __init__(self) -> None:
        super().__init__(_Nowhere())
        self.found: set[str] = set()
        self.seen: set[int] = set()
        self.kept: list[Any] = []  # an identity is one as long as its object lives

    def scan(self, objects: Iterable[Any]) -> None:
        """Tasks are walked by hand; only what they hold beside numbers, names and containers is pickled, once."""
        stack = list(objects)
        while stack:
            item = stack.pop()
            if isinstance(item, (str, PurePath)):
                self.note(item)
            elif isinstance(item, (tuple, list, set, frozenset)):
                stack.extend(item)
            elif isinstance(item, Mapping):
                stack.extend(item.values())
            elif isinstance(item, _PLAIN) or id(item) in self.seen:
                continue
            elif isinstance(item, partial):
                stack += [item.func, item.args, item.keywords]
            elif type(item).__module__ == "dask._task_spec":  # tasks, references to tasks, data
                stack += [getattr(item, part, None) for part in ("func", "args", "kwargs", "value")]
            else:
                self.seen.add(id(item))
                self.kept.append(item)
                try:
                    self.dump(item)
                except Exception:
                    continue  # what cannot be pickled cannot go to a worker either: there is nothing to learn from it
                finally:
                    self.clear_memo()

    def persistent_id(self, obj: Any) -> Any:
        """Called for every object on the way; what holds no path is not looked into."""
        if isinstance(obj, (str, PurePath)):
            self.note(obj)
        elif isinstance(obj, (np.ndarray, bytes, ModuleType)):
            return "plain"
        return None

    def note(self, path: str | PurePath) -> None:
        text = os.fspath(path).removeprefix("file://")
        if len(text) > LONGEST_PATH or not (os.sep in text or "." in text) or text.endswith(".py"):
            return
        if text.strip("./") and _exists(text):  # "/" and "." are signs
            self.found.add(os.path.abspath(text))


@lru_cache(maxsize=65536)
def _exists(text: str) -> bool:
    return "\0" not in text and os.path.exists(text)


def _state(path: str) -> str:
    """Size and time of change of a file, of every file of a Zarr store, or the time of change of another folder."""
    top = os.stat(path)
    if not os.path.isdir(path):
        return f"{top.st_size} {top.st_mtime_ns}"
    if not any(os.path.exists(os.path.join(path, name)) for name in ("zarr.json", ".zgroup", ".zarray")):
        return f"{top.st_mtime_ns}"
    files = sorted(os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
    return _digest(f"{os.path.relpath(f, path)} {(s := os.stat(f)).st_size} {s.st_mtime_ns}" for f in files)


def _tree(folder: Path) -> str:
    """Digest of all files below a folder."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(folder)} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found
