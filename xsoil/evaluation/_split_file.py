"""The file of a split: JSON with packed masks and a checksum."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError

__all__ = ["read", "write"]

FORMAT = "xsoil split"
VERSION = 1
MOST_CELLS = 2**33
"""No grid of cells is larger; a file that claims more is damaged."""


def write(train: Any, test: Any, train_times: Any, test_times: Any, path: Any) -> None:
    """Write masks and periods (each may be None) to `path`."""
    content: dict[str, Any] = {"format": FORMAT, "version": VERSION}
    if train is not None:
        content["dims"] = [str(dim) for dim in train.dims]
        content["shape"] = list(train.shape)
        content["coordinates"] = {str(dim): _labels(train[dim]) for dim in train.dims if dim in train.coords}
        content["train"], content["test"] = _packed(train.to_numpy()), _packed(test.to_numpy())
    for name, periods in (("train_times", train_times), ("test_times", test_times)):
        if periods is not None:
            content[name] = [[str(first), str(last)] for first, last in periods]
    content["sha256"] = _checksum(content)
    Path(path).write_text(json.dumps(content, indent=1) + "\n")


def read(path: Any) -> tuple[Any, Any, Any, Any]:
    """Masks and periods of the file at `path`."""
    try:
        if not Path(path).is_file():  # a pipe would be waited for
            raise FileNotFoundError("no file")
        content = json.loads(Path(path).read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise ArgumentError(f"{path} cannot be read as a split ({error}); expected a file of Split.save") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ArgumentError(f"{path} is no split; expected a file of Split.save")
    if content.get("version") != VERSION:
        raise ArgumentError(
            f"{path} is of version {content.get('version')!r}, this xsoil reads {VERSION}; use the xsoil that wrote it"
        )
    if content.pop("sha256", None) != _checksum(content):
        raise ArgumentError(f"{path} is damaged: its checksum does not fit; take another copy")
    try:
        masks = [_mask(content, name) if "dims" in content else None for name in ("train", "test")]
        times = [
            tuple((np.datetime64(a, "D"), np.datetime64(b, "D")) for a, b in content[name]) if name in content else None
            for name in ("train_times", "test_times")
        ]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, zlib.error, binascii.Error) as error:
        raise ArgumentError(f"{path} is damaged ({error}); take another copy") from error
    return masks[0], masks[1], times[0], times[1]


def _labels(coord: xr.DataArray) -> dict[str, Any]:
    values = coord.to_numpy()
    if values.dtype.kind in "fiub":
        return {"dtype": values.dtype.str, "values": values.tolist()}
    return {"dtype": "str", "values": [str(value) for value in values]}


def _packed(mask: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(np.packbits(mask.ravel()).tobytes(), 9)).decode()


def _mask(content: dict[str, Any], name: str) -> xr.DataArray:
    shape = tuple(int(size) for size in content["shape"])
    cells = math.prod(shape)
    if min(shape, default=0) < 0 or cells > MOST_CELLS:
        raise ValueError(f"shape {shape}")
    expected = -(-cells // 8)
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(base64.b64decode(content[name], validate=True), expected + 1)
    if len(data) != expected:
        raise ValueError(f"{name} holds {len(data)} bytes, expected {expected}")
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=cells).astype(bool)
    coords = {dim: (dim, _of_type(label["values"], label["dtype"])) for dim, label in content["coordinates"].items()}
    return xr.DataArray(bits.reshape(shape), dims=tuple(content["dims"]), coords=coords)


def _of_type(values: list[Any], name: str) -> np.ndarray:
    """Labels of a type that `_labels` writes; others may be of any size, or objects."""
    dtype = None if name == "str" else np.dtype(name)
    if dtype is not None and dtype.kind not in "fiub":
        raise ValueError(f"labels of type {name!r}")
    return np.array(values, dtype)


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
