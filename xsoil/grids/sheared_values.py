"""What goes into sheared sums and extremes and what comes out: dtypes, starting values, missing values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsoil.errors import ArgumentError
from xsoil.grids.index_map import Array


def checked_values(values: NDArray[Any]) -> NDArray[Any]:
    """Numbers of shape (layers, rows, columns); anything else is refused."""
    values = np.asarray(values)
    if values.ndim != 3 or values.dtype.kind not in "fiub":
        raise ArgumentError(
            f"expected numbers of shape (layers, rows, columns), found {values.dtype} of shape {values.shape}"
        )
    return values


def working_of(values: NDArray[Any], extreme: bool) -> tuple[NDArray[Any], np.dtype[Any]]:
    """Values in one of the dtypes that the kernels are compiled for, and the dtype to return."""
    if values.dtype in (np.float32, np.float64):
        return values, values.dtype
    if extreme and values.dtype.kind in "iu" and values.dtype.itemsize == 8:
        return values, values.dtype
    return values.astype(np.float64), values.dtype


def start_of(dtype: np.dtype[Any], how: str) -> Any:
    """What an extreme begins with."""
    if dtype.kind == "f":
        return np.inf if how == "min" else -np.inf
    return np.iinfo(dtype).max if how == "min" else np.iinfo(dtype).min


def finished(total: NDArray[Any], area: Array, how: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Results from sums or extremes and the areas that they are of; NaN (whole numbers: 0) where there is none."""
    empty = ~(area > 0.0)
    if how == "mean":
        np.divide(total, area, out=total, where=~empty)
    whole = dtype.kind in "iub" and how in ("min", "max")
    total[empty] = 0 if whole else np.nan
    return total
