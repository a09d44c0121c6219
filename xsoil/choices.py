"""Arguments of a wrong kind: a list for a name, a number for a path. They are refused with what was expected."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from xsoil.errors import ArgumentError, UnknownNameError

__all__ = ["as_names", "as_path", "as_table", "require_choice", "require_name"]


def require_choice(kind: str, name: object, known: Iterable[str]) -> None:
    """Raise unless `name` is one of the `known` names.

    Raises
    ------
    ArgumentError
        It is no name at all, such as a list with a name in it.
    UnknownNameError
        It is another name.
    """
    known = tuple(known)
    if not _hashable(name):
        what = UnknownNameError.of(kind, name, known)
        raise ArgumentError(f"{what}. Expected one name, not a {type(name).__name__}")
    if name not in known:
        raise UnknownNameError.of(kind, name, known)


def require_name(what: str, name: object) -> None:
    """Raise where what should be a name cannot be one, such as a list or a table."""
    if not _hashable(name):
        raise ArgumentError(f"{what}={name!r}; expected one name, not a {type(name).__name__}")


def as_names(what: str, names: Any) -> list[Any]:
    """One name or several as a list.

    Raises
    ------
    ArgumentError
        Neither a name nor a sequence of names, or none.
    """
    if isinstance(names, str):
        return [names]
    good = isinstance(names, Iterable) and not isinstance(names, (bytes, bytearray))
    found = list(names) if good else []
    if not found or not all(_hashable(name) for name in found):
        raise ArgumentError(f"{what}={names!r}; expected a name, or a list of names")
    return found


def as_table(what: str, table: Any, example: str) -> dict[Any, Any]:
    """A mapping as a dict; None as an empty one.

    Raises
    ------
    ArgumentError
        It is something else; the message shows `example`.
    """
    if table is not None and not isinstance(table, Mapping):
        raise ArgumentError(f"{what}={table!r}; expected a mapping such as {example}")
    return dict(table or {})


def as_path(what: str, path: Any) -> Path:
    """A path of a local file or folder.

    Raises
    ------
    ArgumentError
        Neither a text nor a path.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ArgumentError(f"{what}={path!r}; expected a path, not a {type(path).__name__}")
    return Path(path)


def _hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
