"""Leaf area from composites of several days to every day."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xsoil.errors import TimeError


def to_days(lai: xr.DataArray, days: pd.DatetimeIndex) -> xr.DataArray:
    """Values on the line between the two valid composites around each day, constant beyond the first and the last.

    NaN where a cell has no valid composite at all. Lazy where `lai` is.
    """
    if "time" not in lai.dims or "time" not in lai.indexes:
        raise TimeError(
            "lai has no time; expected composites with dates (a constant map needs none of this: ds['lai'])"
        )
    index = lai.indexes["time"]
    if not index.is_monotonic_increasing or index.has_duplicates:
        raise TimeError("the time of lai is unsorted or has duplicates; lai.sortby('time').drop_duplicates('time')")
    at = index.to_numpy().astype("datetime64[s]").astype(np.int64) / 86400.0
    wanted = days.to_numpy().astype("datetime64[s]").astype(np.int64) / 86400.0
    values = lai.drop_vars("time")
    if values.chunks is not None:
        values = values.chunk({"time": -1})
    made = xr.apply_ufunc(
        interpolated, values, kwargs={"at": at, "wanted": wanted}, input_core_dims=[["time"]],
        output_core_dims=[["_day"]], dask="parallelized", output_dtypes=[np.float32],
        dask_gufunc_kwargs={"output_sizes": {"_day": len(days)}}, keep_attrs=True,
    )  # fmt: skip
    out: xr.DataArray = made.rename(_day="time").transpose("time", ...).assign_coords(time=days)
    return out


def interpolated(
    values: np.ndarray[Any, Any], at: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Linear in time between valid neighbours: (..., composites) to (..., days), float32."""
    count = at.size
    valid = np.isfinite(values)
    position = np.arange(count)
    before = np.maximum.accumulate(np.where(valid, position, -1), axis=-1)
    after = np.minimum.accumulate(np.where(valid, position, count)[..., ::-1], axis=-1)[..., ::-1]
    out = np.empty((*values.shape[:-1], wanted.size), np.float32)
    filled = np.where(valid, values, 0.0)
    for k, day in enumerate(wanted):
        last = int(np.searchsorted(at, day, side="right")) - 1  # the composite on the day or before it
        low = before[..., last] if last >= 0 else np.full(values.shape[:-1], -1)
        high = after[..., last + 1] if last + 1 < count else np.full(values.shape[:-1], count)
        none = (low < 0) & (high >= count)
        low, high = np.where(low < 0, high, low), np.where(high >= count, low, high)
        low, high = np.clip(low, 0, count - 1), np.clip(high, 0, count - 1)
        a = np.take_along_axis(filled, low[..., None], -1)[..., 0]
        b = np.take_along_axis(filled, high[..., None], -1)[..., 0]
        span = at[high] - at[low]
        share = np.where(span > 0, (day - at[low]) / np.where(span > 0, span, 1.0), 0.0)
        out[..., k] = np.where(none, np.nan, a + np.clip(share, 0.0, 1.0) * (b - a))
    return out
