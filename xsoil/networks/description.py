"""The description of a model's folder: JSON that says format and version, and is refused where it is not understood.

Needs no torch, so that what has no network can be read without it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsoil.errors import ArgumentError

__all__ = ["DESCRIPTION", "digest", "read", "require_format", "require_keys", "require_room", "text_of"]

DESCRIPTION = "description.json"

# A description is a page of text; a larger file is none of ours.
_LONGEST = 16 * 2**20


def digest(description: Any, arrays: Mapping[str, NDArray[Any]]) -> str:
    """What tells a model from others: a digest of what describes it and of the bits that it learned."""
    found = hashlib.sha256(repr(description).encode())
    for name, array in sorted(arrays.items()):
        found.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def text_of(whole: dict[str, Any]) -> str:
    """A description as the text of its file.

    Raises
    ------
    ArgumentError
        It is no plain JSON.
    """
    try:
        return json.dumps(whole, indent=1, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"the description is no plain JSON: {error}") from error


def read(folder: Path) -> dict[str, Any]:
    """The description in a folder, of whatever format.

    Raises
    ------
    ArgumentError
        There is none, or it is too long, damaged, or no table.
    """
    file = folder / DESCRIPTION
    if not file.is_file():
        raise ArgumentError(
            f"no model of xsoil at {folder}; expected a folder with {DESCRIPTION}, as .save(path) wrote"
        )
    if file.stat().st_size > _LONGEST:
        raise ArgumentError(f"{file} has {file.stat().st_size} bytes; no description of a model is so long")

    try:
        found = json.loads(file.read_text(encoding="utf-8"), parse_constant=_number, parse_float=_number)
    except (ValueError, RecursionError) as error:
        raise ArgumentError(f"{file} is no description of a model: {error}") from error
    if not isinstance(found, dict):
        raise ArgumentError(f"{file} is no description of a model: expected a table, found {type(found).__name__}")
    return found


def _number(text: str) -> float:
    """Of JSON: NaN, Infinity and what is too large for a number are none."""
    if not np.isfinite(value := float(text)):
        raise ValueError(f"{text} is no number")
    return value


def require_format(whole: dict[str, Any], folder: Path, name: str, version: int) -> None:
    """Raise where a description is of another format or version."""
    if whole.get("format") != name:
        raise ArgumentError(f"{folder} is of format {whole.get('format')!r}; expected {name!r}")
    if type(whole.get("version")) is not int or whole["version"] != version:
        raise ArgumentError(
            f"{folder} is of version {whole.get('version')!r}; this xsoil reads version {version}: update it, or learn "
            "anew"
        )


def require_keys(table: Any, expected: Sequence[str], file: Path) -> None:
    """Raise where a table of a description has missing or foreign keys."""
    if not isinstance(table, dict) or set(table) != set(expected):
        found = sorted(table) if isinstance(table, dict) else table
        raise ArgumentError(f"{file} has the keys {found}; expected {sorted(expected)}: not written by this xsoil")


def require_room(folder: Path) -> None:
    """Raise where a model would take the place of something else than a model."""
    ours = folder.is_dir() and ((folder / DESCRIPTION).is_file() or not any(folder.iterdir()))
    if folder.exists() and not ours:
        raise ArgumentError(f"{folder} exists and holds no model of xsoil; choose another path")
