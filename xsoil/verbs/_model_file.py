"""Which kind of model a folder holds, and who reads it.

Every model is a folder with a ``description.json`` of ``{"format", "version", ["weights",] "description"}``, whose
format names its kind. A new kind takes three steps:

1. write it with ``xsoil.networks.storage.save(folder, tensors, description, format="xsoil ...", version=1)``, which
   puts the tensors (also arrays that are no network's weights) beside it as safetensors, and replaces only a model;
2. read it with a function ``reader(folder, whole, network)``: `whole` is all of the JSON, `network` the user's torch
   module or None, and ``storage.load(folder, format=..., version=..., whole=whole)`` returns the checked tensors and
   the description;
3. add its row to `READERS`: its format, and a function that imports the reader when it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any

from xsoil.choices import as_path
from xsoil.errors import ArgumentError, SoilError, UnknownNameError
from xsoil.networks.description import read

__all__ = ["READERS", "Reader", "read_model"]

Reader = Callable[[Path, dict[str, Any], Any], Any]


def _learned(folder: Path, whole: dict[str, Any], network: Any) -> Any:
    from xsoil.verbs._learned_file import read_learned

    return read_learned(folder, whole, network)


def _moisture(folder: Path, whole: dict[str, Any], network: Any) -> Any:
    from xsoil.verbs._moisture_model import read_moisture_model

    return read_moisture_model(folder, whole, network)


def _gap(folder: Path, whole: dict[str, Any], network: Any) -> Any:
    from xsoil.verbs._gap_model import read_gap_model

    return read_gap_model(folder, whole, network)


READERS: Mapping[str, Reader] = MappingProxyType(
    {"xsoil learned parameters": _learned, "xsoil soil-moisture model": _moisture, "xsoil gap model": _gap}
)
"""Readers by format."""


def read_model(path: str | PathLike[str], network: Any = None) -> Any:
    """Read the model in a folder, of any format in `READERS`.

    Raises
    ------
    ArgumentError, UnknownNameError
        No model, one of an unknown format or version, or a damaged one.
    """
    folder = as_path("path", path)
    whole = read(folder)
    reader = READERS.get(str(whole.get("format")))
    if reader is None:
        raise UnknownNameError.of(f"format of the model at {folder}:", whole.get("format"), READERS)
    try:
        return reader(folder, whole, network)
    except (SoilError, ImportError, OSError, MemoryError):
        raise
    except Exception as error:  # entries of a wrong type, of which a description may have any number
        raise ArgumentError(
            f"{folder} is damaged ({type(error).__name__}: {str(error)[:200]}); take another copy"
        ) from error
