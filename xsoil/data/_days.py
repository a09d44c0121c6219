"""Means of days from the hours in them, in one order whatever the chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr


def mean_of_days(array: xr.DataArray, first: int, count: int, length: int) -> xr.DataArray:
    """Means of `count` days of `length` steps each, from step `first` on; NaN where one step is missing.

    The result has the days on `time` without a coordinate.
    """
    steps = array.isel(time=slice(first, first + count * length)).drop_vars("time", errors="ignore")
    apart = steps.coarsen(time=length).construct(time=("time", "_step"))
    if apart.chunks is not None:
        apart = apart.chunk({"_step": -1})
    mean: xr.DataArray = xr.apply_ufunc(
        _in_order, apart, input_core_dims=[["_step"]], dask="parallelized", output_dtypes=[array.dtype], keep_attrs=True
    )
    return mean.transpose(*array.dims)


def _in_order(steps: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Mean over the last axis, added one by one in double precision: numpy's own sum depends on the layout."""
    total = steps[..., 0].astype(np.float64)
    for k in range(1, steps.shape[-1]):
        total += steps[..., k]
    out: np.ndarray[Any, Any] = (total / steps.shape[-1]).astype(steps.dtype)
    return out
