"""What a file declares, held against what it holds: before memory is taken for it, and before any code of its choice.

A header of a few bytes can declare arrays of any size, and Zarr's old format can name pickle as the codec of a chunk.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zarr

from xsoil.errors import FileError

__all__ = ["declared_bytes", "require_backed", "require_no_pickles", "stored_bytes"]

HARMLESS = 2**28
"""Bytes that any machine has: less is not asked about."""

MOST_COMPRESSED = 1000
"""Times that arrays may be larger than their file. Soil maps compress 2 to 50 times, constant ones about 250 times."""


def require_backed(declared: int, stored: int, where: object) -> None:
    """Raise FileError where arrays are declared that a file of so many bytes does not hold."""
    if declared > max(HARMLESS, MOST_COMPRESSED * stored):
        raise FileError(
            f"{where} declares arrays of {declared:,} bytes and holds {stored:,}; expected no more than "
            f"{MOST_COMPRESSED} times of that: it is damaged, or made to fill the memory; take another copy"
        )


def require_no_pickles(group: Any, where: object) -> None:
    """Raise FileError where a Zarr group has arrays whose chunks would be unpickled, which can run any code."""
    for name, array in group.arrays():
        metadata = array.metadata
        codecs = [*(getattr(metadata, "filters", None) or ()), getattr(metadata, "compressor", None)]
        if any("pickle" in str(getattr(codec, "codec_id", "")).lower() for codec in codecs):
            raise FileError(
                f"{where}: chunks of {name!r} are pickles, which can run any code when read; expected numbers: "
                "take them from who made them in another format"
            )


def declared_bytes(path: Path) -> int:
    """Bytes of all arrays of a local Zarr store of format 3, as its metadata tells; no chunk is read.

    Raises
    ------
    FileError
        Of another format, of groups within groups, or no store.
    """
    try:
        group = zarr.open_group(path, mode="r", zarr_format=3)
        arrays = dict(group.arrays())
        if len(arrays) != len(dict(group.members())):
            raise ValueError("it holds groups")
        # A chunk is decoded whole, also where the array is a part of it.
        sizes = [(array, array.shards or array.chunks) for array in arrays.values()]
        return sum(max(_count(array.shape), _count(chunk)) * array.dtype.itemsize for array, chunk in sizes)
    except Exception as error:  # of any class: the file chooses which
        raise FileError(
            f"{path} cannot be read as a Zarr store of format 3 ({type(error).__name__}: {str(error)[:200]}); "
            "take another copy"
        ) from error


def stored_bytes(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= int(size)
    return count
