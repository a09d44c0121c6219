"""Bringing one product to the distribution of another before they are compared."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsoil.data.objects import STORAGE_ATTRS
from xsoil.errors import ArgumentError, GridMismatchError, UnitsError
from xsoil.evaluation._series import positive, series_of
from xsoil.threads import available_cores, in_bands

__all__ = ["cdf_match"]

Doubles = NDArray[np.float64]

REFERENCES = (
    "Reichle, R. H., Koster, R. D. (2004): Bias reduction in short records of satellite soil moisture. Geophysical "
    "Research Letters 31, L19501 https://doi.org/10.1029/2004GL020938"
)
ROWS = 1024
"""Series worked on at a time by a thread."""


def cdf_match(
    source: xr.DataArray,
    reference: xr.DataArray,
    *,
    values: xr.DataArray | None = None,
    dim: Hashable = "time",
    bins: int | Sequence[float] = 100,
    min_per_bin: int = 0,
    min_obs: int = 20,
    common: bool = False,
    extrapolate: bool = True,
) -> xr.DataArray:
    """Bring a series to the cumulative distribution of another, at every place by itself.

    Percentiles of the source are paired with those of the reference, and joined by straight lines [1]_; values beyond
    the outermost percentiles follow the outermost lines. With `bins`, `min_per_bin` and `extrapolate` as they are, the
    numbers are those of ``CDFMatching`` of the package pytesmo (of its ``minobs`` with `min_per_bin`).

    Parameters
    ----------
    source, reference : xr.DataArray
        On `dim` and any other dims, which must have the same coordinates; `dim` itself may differ in length and times.
        Their units may differ. NaN and declared nodata are missing.
    values : xr.DataArray, optional
        What is moved by the relation of source and reference, in the units of `source`: a longer record, or the years
        to test on. By default the source.
    dim : str
        The dimension along which the distributions are taken.
    bins : int or sequence of float
        Number of equal bins, or the percentiles from 0 to 100.
    min_per_bin : int
        Samples that a bin must hold; with fewer, a place gets fewer (equal) bins. 0 for any number.
    min_obs : int
        Valid samples that source and reference need; a place with fewer is missing.
    common : bool
        Use only times at which both are valid, which must then be the same times: gaps of one product that come with
        the season would otherwise shift its distribution.
    extrapolate : bool
        False keeps values beyond the outermost percentiles at the outermost values of the reference.

    Returns
    -------
    xr.DataArray
        Like `values`, in the units of the reference; lazy where an input is, the whole of `dim` in one chunk. NaN where
        the value is, where samples are too few, and where the source is constant.

    Raises
    ------
    ArgumentError, AxisError, GridMismatchError, UnitsError
        Arguments out of range; no such dim; other coordinates; `values` in other units than the source.

    Notes
    -----
    The ranks of sorted samples stand at the middle of their steps, (i + 1/2) / n, with the extremes as 0 and 100 %.
    Percentiles that repeat (many zeros) are spread along the line to the next value.

    References
    ----------
    .. [1] Reichle and Koster (2004), Geophys. Res. Lett. 31, L19501, doi:10.1029/2004GL020938.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> days = np.random.default_rng(0).gamma(2.0, 0.05, (365,))
    >>> index = xr.DataArray(100 * days, dims="time", attrs={"units": "percent"})
    >>> matched = cdf_match(index, xr.DataArray(days, dims="time", attrs={"units": "m3 m-3"}))
    >>> float(abs(matched - days).max()) < 1e-12, matched.units
    (True, 'm3 m-3')
    """
    percentiles = _percentiles(bins)
    least, fewest = positive(min_per_bin, "min_per_bin", 0), positive(min_obs, "min_obs", 2)
    moved = source if values is None else values
    given = {"source": source, "reference": reference, "values": moved}
    stated = {str(array.attrs.get("units", "")).strip() for array in (source, moved)} - {""}
    if len(stated) > 1:
        raise UnitsError(
            f"values are in {moved.attrs['units']!r}, the source in {source.attrs['units']!r}; expected the same: "
            "convert the values, and say so in .attrs['units']"
        )
    if common:
        try:
            xr.align(source, reference, join="exact", copy=False)
        except (ValueError, AttributeError, TypeError) as error:
            raise GridMismatchError(
                f"common=True needs source and reference at the same times: {error}; "
                "reference.reindex(time=source.time, method='nearest', tolerance='12h')"
            ) from error
    # each has times of its own
    own = [f"_{what}" for what in given]
    arrays = series_of(given, dim, own)
    found: xr.DataArray = xr.apply_ufunc(
        partial(_match, percentiles, least, fewest, common, extrapolate, any(a.chunks is not None for a in arrays)),
        *arrays,
        input_core_dims=[[name] for name in own],
        output_core_dims=[[own[2]]],
        dask="parallelized",
        output_dtypes=[np.result_type(np.float32, arrays[2].dtype)],
        join="exact",
    )
    found = found.rename({own[2]: dim})
    found = found.assign_coords({name: coord.variable for name, coord in moved.coords.items() if dim in coord.dims})
    attrs = {k: v for k, v in moved.attrs.items() if k not in (*STORAGE_ATTRS, "units", "standard_name")}
    attrs |= {k: v for k, v in reference.attrs.items() if k in ("units", "standard_name")}
    found.attrs = attrs | {"references": REFERENCES}
    found.encoding = {k: v for k, v in moved.encoding.items() if k == "grid_mapping"}
    found = found.rename(moved.name)
    return found.transpose(*(d for d in moved.dims if d in found.dims), ...)


def _percentiles(bins: int | Sequence[float]) -> Doubles:
    if isinstance(bins, (int, np.integer)) and not isinstance(bins, bool):
        if bins < 1:
            raise ArgumentError(f"bins={bins}; expected at least one")
        return np.arange(bins + 1, dtype=np.float64) / bins * 100.0
    try:
        found = np.asarray(bins, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.ndim != 1 or found.size < 2 or found[0] != 0 or found[-1] != 100 or not (np.diff(found) > 0).all():
        raise ArgumentError(f"bins={bins!r}; expected a number of bins, or rising percentiles from 0 to 100")
    return found


def _match(
    percentiles: Doubles,
    least: int,
    fewest: int,
    common: bool,
    extrapolate: bool,
    lazy: bool,
    *arrays: NDArray[Any],
) -> NDArray[Any]:
    from xsoil.kernels.cdf import match

    dtype = np.result_type(np.float32, arrays[2].dtype)
    shape = np.broadcast_shapes(*(a.shape[:-1] for a in arrays))
    flat = [np.broadcast_to(a, (*shape, a.shape[-1])).reshape(math.prod(shape), a.shape[-1]) for a in arrays]
    out = np.empty(flat[2].shape, dtype)

    def run(first: int, last: int) -> None:
        for start in range(first * ROWS, min(last * ROWS, len(out)), ROWS):
            part = slice(start, start + ROWS)
            source, reference, values = (a[part].astype(np.float64) for a in flat)
            valid = [np.isfinite(source), np.isfinite(reference)]
            if common:
                valid = [valid[0] & valid[1]] * 2
            for series, there in zip((source, reference), valid, strict=True):
                series[~there] = np.nan  # sorted to the end
                series.sort(axis=-1)
            counts = [there.sum(axis=-1) for there in valid]
            result = np.empty(values.shape)
            match(source, counts[0], reference, counts[1], values, percentiles, least, fewest, extrapolate, result)
            out[part] = result

    in_bands(run, -(-len(out) // ROWS), 1 if lazy else available_cores())
    return out.reshape(*shape, out.shape[-1])
