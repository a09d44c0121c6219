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
    from xsoil.kernels.gaps import interpolate

    times = np.union1d(at, wanted)
    cells = values.reshape(-1, at.size)
    series = np.full((times.size, cells.shape[0]), np.nan, np.float32)
    series[np.searchsorted(times, at)] = cells.T
    lines, _ = interpolate(series, times, ends=True)
    days: np.ndarray[Any, Any] = lines[np.searchsorted(times, wanted)].T
    return days.reshape(*values.shape[:-1], wanted.size)
