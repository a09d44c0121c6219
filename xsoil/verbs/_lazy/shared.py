"""An object that every task reads, as an array without dimensions."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
from dask.delayed import delayed

__all__ = ["shared"]


def shared(value: Any, name: str, *, lazy: bool) -> Any:
    """An array () whose item is the object; a dask array of the graph's entry `name`, which a cluster sends once."""
    if lazy:
        return da.from_delayed(delayed(value, name=name, traverse=False), (), object, name=f"array-{name}")
    array = np.empty((), object)
    array[()] = value
    return array
