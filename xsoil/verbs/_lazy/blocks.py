"""Blocks that hold something."""

from __future__ import annotations

from typing import Any

__all__ = ["without_empty_blocks"]


def without_empty_blocks(array: Any) -> Any:
    """A dask array whose blocks of no cells are gone, as a selection may leave them; its other blocks stay.

    A dim without any cell keeps one.
    """
    if all(all(sizes) or not any(sizes) for sizes in array.chunks):
        return array
    return array.rechunk(tuple(tuple(size for size in sizes if size) or (0,) for sizes in array.chunks))
