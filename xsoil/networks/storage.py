"""Learned models as a folder of two files: weights (safetensors) and what they mean (JSON). Nothing is ever unpickled.

    description.json      format, version, size and digest of the weights, shape and type of every tensor, description
    weights.safetensors   the tensors

What is not understood is refused: another format or version, missing or foreign keys, weights that are not those
described.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from xsoil.errors import ArgumentError
from xsoil.networks.description import DESCRIPTION, read, require_format, require_keys, require_room, text_of

__all__ = ["FORMAT", "VERSION", "load", "save"]

FORMAT = "xsoil learned parameters"
VERSION = 1

WEIGHTS = "weights.safetensors"
# Bytes of the header of safetensors for each tensor and as a whole, at the most.
_HEADER = 1024

Tensor = torch.Tensor


def save(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    description: Mapping[str, Any],
    *,
    format: str = FORMAT,
    version: int = VERSION,
) -> None:
    """Write a model; one that is already there is replaced.

    Parameters
    ----------
    path : path
        Folder to write.
    tensors : mapping of str to Tensor
        E.g. a state dict.
    description : mapping
        Plain JSON: texts, numbers, lists, dicts.
    format, version : str, int
        What `load` must be told to read it.

    Raises
    ------
    ArgumentError
        The path holds something else, or the description is no JSON.
    """
    path = Path(path)
    require_room(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        save_file(plain, scratch / WEIGHTS)
        whole = {
            "format": format,
            "version": version,
            "weights": {
                "bytes": (scratch / WEIGHTS).stat().st_size,
                "sha256": _digest(scratch / WEIGHTS),
                "tensors": {name: _kind(tensor) for name, tensor in plain.items()},
            },
            "description": dict(description),
        }
        (scratch / DESCRIPTION).write_text(text_of(whole), encoding="utf-8")
        path.mkdir(exist_ok=True)
        for name in (WEIGHTS, DESCRIPTION):  # after a crash between the two, the digest does not fit
            os.replace(scratch / name, path / name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def load(
    path: str | os.PathLike[str],
    *,
    format: str = FORMAT,
    version: int = VERSION,
    whole: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a model.

    Parameters
    ----------
    path : path
        Folder that `save` wrote.
    format, version : str, int
        Those that it was written with; others are refused.
    whole : mapping, optional
        All of the JSON, where it has been read already.

    Returns
    -------
    tensors : dict of str to Tensor
    description : dict

    Raises
    ------
    ArgumentError
        There is no model, it is of another format or version, damaged, or not what its description says.
    """
    path = Path(path)
    if not (path / DESCRIPTION).is_file() or not (path / WEIGHTS).is_file():
        raise ArgumentError(f"no model of xsoil at {path}; expected a folder with {DESCRIPTION} and {WEIGHTS}")
    whole = read(path) if whole is None else dict(whole)
    require_format(whole, path, format, version)
    require_keys(whole, ("format", "version", "weights", "description"), path / DESCRIPTION)
    weights = whole["weights"]
    require_keys(weights, ("bytes", "sha256", "tensors"), path / DESCRIPTION)
    expected = weights["tensors"]
    if not isinstance(expected, dict) or not isinstance(whole["description"], dict):
        raise ArgumentError(f"{path / DESCRIPTION} is damaged: 'tensors' and 'description' should be tables")
    file = path / WEIGHTS
    size = file.stat().st_size
    if size != weights["bytes"]:
        raise ArgumentError(f"{file} has {size} bytes; expected {weights['bytes']}: it is damaged or of another model")
    needed = sum(_bytes(kind, file) for kind in expected.values())
    if not needed <= size <= needed + _HEADER * (len(expected) + 1):
        raise ArgumentError(f"{file} has {size} bytes; its {len(expected)} tensors need {needed}")
    if _digest(file) != weights["sha256"]:
        raise ArgumentError(f"{file} is damaged or of another model: its digest is not that of {DESCRIPTION}")
    try:
        tensors = load_file(file)
    except SafetensorError as error:
        raise ArgumentError(f"{file} is no safetensors file: {error}") from error
    if (found := {name: _kind(tensor) for name, tensor in tensors.items()}) != expected:
        differing = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
        raise ArgumentError(f"{file} does not hold what {DESCRIPTION} says, e.g. in {differing[0]!r}")
    return tensors, whole["description"]


def _digest(file: Path) -> str:
    with file.open("rb") as opened:  # in pieces: the file may be larger than the memory
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _kind(tensor: Tensor) -> dict[str, Any]:
    return {"dtype": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape)}


def _bytes(kind: Any, file: Path) -> int:
    """Bytes of a tensor so described."""
    dtype = getattr(torch, str(kind.get("dtype")), None) if isinstance(kind, dict) else None
    shape = kind.get("shape") if isinstance(kind, dict) else None
    if not isinstance(dtype, torch.dtype) or not isinstance(shape, list):
        raise ArgumentError(f"the description of {file} is damaged: a tensor is described as {kind!r}")
    if not all(type(n) is int and n >= 0 for n in shape):
        raise ArgumentError(f"the description of {file} is damaged: a tensor has shape {shape!r}")
    count = dtype.itemsize
    for n in shape:
        count *= n
    return count
