"""Where files are: names, lists, folders, patterns and URLs, and what their names claim."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import Any

import pandas as pd

from xsoil.errors import ArgumentError, FileError, TimeError

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


@dataclass(frozen=True)
class Product:
    """What a reader reads: name, version that it follows, and how to cite it."""

    name: str
    version: str
    citation: str
    doi: str

    @property
    def attrs(self) -> dict[str, str]:
        """Attributes of the dataset that a reader returns."""
        return {
            "title": self.name,
            "source": f"{self.name} (reader follows {self.version})",
            "citation": self.citation,
            "references": f"doi:{self.doi}",
        }


def is_remote(path: str) -> bool:
    """True for URLs of fsspec (https://, s3://, memory:// ...) and GDAL's /vsi paths."""
    return re.match(r"[a-zA-Z][\w+.-]+://|[\w]+::|/vsi", path) is not None and not path.startswith("file://")


def name_of(path: str) -> str:
    """The last part of a path or URL, without the query of a signed URL."""
    return path.split("?")[0].rstrip("/").rsplit("/", 1)[-1]


def is_file(path: str, endings: Sequence[str]) -> bool:
    """True for a path or URL of a file or a pattern; a folder on a server has neither ending nor ``*``."""
    return "*" in path.split("?")[0] or name_of(path).lower().endswith(tuple(endings))


def inside(root: str, name: str) -> str:
    """Path or URL of a file in a folder; what signs the URL of the folder stays behind it."""
    place, question, signature = root.partition("?")
    return f"{place.rstrip('/')}/{name}{question}{signature}"


def paths_of(paths: Paths, endings: Sequence[str], what: str) -> list[str]:
    """All files that are meant, sorted by name.

    Parameters
    ----------
    paths : str, path or iterable of them
        Files, folders (searched with their subfolders), patterns with ``*``, local or remote.
    endings : sequence of str
        Of the files to take from a folder, such as ``.h5``.
    what : str
        The product, for messages.
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    found: list[str] = []
    for item in given:
        path = os.fspath(item)
        if is_remote(path):
            found += _remote(path, endings)
        elif has_magic(path) and not os.path.exists(path):
            found += glob(os.path.expanduser(path), recursive=True)
        else:
            place = Path(path.removeprefix("file://")).expanduser()
            if place.is_dir():
                found += [str(p) for p in place.rglob("*") if p.name.lower().endswith(tuple(endings)) and p.is_file()]
            elif not place.exists():
                raise ArgumentError(f"no file {str(place)!r}; expected {what}: a file, a folder or a pattern with *")
            else:
                found.append(str(place))
    if not found:
        shown = ", ".join(repr(os.fspath(p)) for p in given[:3]) or "an empty list"
        which = f" ({', '.join(endings)})" if endings else ""
        raise ArgumentError(f"no files in {shown}; expected {what}{which}")
    return sorted(dict.fromkeys(found), key=lambda path: (name_of(path), path))


def _remote(path: str, endings: Sequence[str]) -> list[str]:
    if path.startswith("/vsi") or not (has_magic(path.split("?")[0]) or path.endswith("/")):
        return [path]
    import fsspec  # type: ignore[import-untyped, import-not-found, unused-ignore]

    fs, inner = fsspec.core.url_to_fs(path)
    listed = fs.find(inner) if path.endswith("/") else fs.glob(inner)
    return [fs.unstrip_protocol(p) for p in listed if not path.endswith("/") or p.lower().endswith(tuple(endings))]


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """A local path as it is, a remote file as an open binary file of fsspec."""
    if not is_remote(path):
        yield path
        return
    import fsspec

    with fsspec.open(path, "rb") as file:
        yield file


def matched(paths: Sequence[str], pattern: re.Pattern[str], what: str) -> list[re.Match[str]]:
    """The parts of each name, or an error for a file of another name."""
    out = []
    for path in paths:
        match = pattern.search(name_of(path))
        if match is None:
            raise FileError(f"{name_of(path)!r} is not named like {what}; give only such files, under their own names")
        out.append(match)
    return out


def in_order(paths: Sequence[str], times: Sequence[pd.Timestamp]) -> tuple[list[str], pd.DatetimeIndex]:
    """Files in the order of their times; two files of one time are an error."""
    order = sorted(range(len(paths)), key=lambda i: times[i])
    index = pd.DatetimeIndex([times[i] for i in order], name="time")
    if index.has_duplicates:
        at = int(index.duplicated().argmax())
        twice = [name_of(paths[i]) for i in order if times[i] == index[at]]
        raise TimeError(f"{len(twice)} files of {index[at]}: {', '.join(twice)}; keep one (the newest release)")
    return [paths[i] for i in order], index
