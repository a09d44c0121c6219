"""`rootzone`: root-zone soil moisture from a surface series with gaps, by the exponential filter."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError, MissingVariableError, TimeError, UnitsError
from xsoil.verbs._inputs import as_dataset, carry, read, require_same_grid
from xsoil.verbs._lazy import Named, scan_time
from xsoil.verbs._places import require_inside
from xsoil.verbs._results import flag_attrs
from xsoil.verbs._time_series import PER_DAY, chosen, microseconds, series_of, since_1970
from xsoil.vocabulary import Variable, canonical_units

__all__ = ["rootzone"]

SCALE = Variable("T", "d", "time scale of the exponential filter", accepts={"h": 1 / 24})
FLAGS = {"missing_time_scale": 1, "impossible_time_scale": 2, "no_observation": 4}
REFERENCE = (
    "Wagner et al. (1999), Remote Sens. Environ., https://doi.org/10.1016/S0034-4257(99)00036-X; "
    "Albergel et al. (2008), Hydrol. Earth Syst. Sci., https://doi.org/10.5194/hess-12-1323-2008"
)


def rootzone(
    ds: xr.Dataset | xr.DataArray,
    *,
    T: float | xr.DataArray,
    variable: str | None = None,
    initial: xr.Dataset | None = None,
) -> xr.Dataset:
    """Estimate root-zone soil moisture from surface soil moisture by the exponential filter.

    The mean of all observations up to a time, each with the weight exp(-age / T) [1]_, in its recursive form [2]_:
    SWI_n = SWI_{n-1} + K_n (ms_n - SWI_{n-1}) with the gain K_n = K_{n-1} / (K_{n-1} + exp(-(t_n - t_{n-1}) / T));
    n counts observations, and K_1 = 1.

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        A series with gaps (NaN, and what is further outside of the variable's physical range than that is wide: an
        undeclared -9999) on `time` and any other dims, in any units. Times are sorted, but need not be regular.
    T : float or xr.DataArray
        Time scale: a number of days, or a map with units (``d``, ``h``) on any dims without time; those that the series
        lacks come first in the result (several time scales at once).
    variable : str, optional
        Which one to filter; `soil_moisture` by default, else `theta`, else the only one with time.
    initial : xr.Dataset, optional
        The result (or its ``.soil.final_state()``) of the run over the times before, which this one continues bit for
        bit.

    Returns
    -------
    xr.Dataset
        The filtered series under the name of the variable, on (time, the other dims), float32 where the series is;
        `final_<name>` and `final_weight` (the sum of the weights: 1 / K, decayed since the last observation), the state
        after the last time in double precision, with `final_time`; `status` [CF `flag_masks`]: missing or impossible
        time scale (expected 0 < T < inf; such a cell is NaN), no observation so far.

        Between observations the weights of all of them decay alike, so that the mean stays what it was: the result has
        no gap after the first observation, however long one lasts. Where that is not wanted:
        ``result.where(series.notnull())``, or ``.where(series.notnull().rolling(time=30, min_periods=1).max())``.

        Lazy where the series or T is, with one task per block of their chunks; these change nothing in the numbers. A
        task holds its block of the series and its result.

    Raises
    ------
    MissingVariableError
        No such variable, or several that it could be.
    UnitsError
        Series or T without units, T in other units than days and hours, `initial` in other units than the series.
    TimeError
        No time, unsorted or repeated times, or `initial` that ends after the start of the series.
    GridMismatchError
        T or `initial` on another grid than the series.
    ArgumentError
        T is not a positive number or varies with time; classes or text instead of numbers.

    References
    ----------
    .. [1] Wagner et al. (1999), Remote Sens. Environ. 70, 191-207, doi:10.1016/S0034-4257(99)00036-X.
    .. [2] Albergel et al. (2008), Hydrol. Earth Syst. Sci. 12, 1323-1337, doi:10.5194/hess-12-1323-2008.

    Examples
    --------
    >>> import pandas as pd
    >>> import xarray as xr
    >>> water, days = {"units": "m3 m-3"}, pd.date_range("2020-06-01", periods=4)
    >>> surface = xr.Dataset({"soil_moisture": ("time", [0.1, 0.3, float("nan"), 0.1], water)}, {"time": days})
    >>> rootzone(surface, T=10).soil_moisture.round(4).values
    array([0.1  , 0.205, 0.205, 0.164])
    """
    ds = as_dataset(ds)
    name = chosen(ds, variable)
    series, units = series_of(ds, name)
    times = microseconds(ds.indexes.get("time"), name)
    scale = _scale(T, ds[[name]])
    others = [dim for dim in series.dims if dim != "time"]
    dims = (*(dim for dim in scale.dims if dim not in others), *others)
    before, end = ([], times[0]) if initial is None else _before(initial, ds[[name]], T, dims, units, times[0])

    steps = np.diff(times, prepend=end) / PER_DAY
    maps = [scale, *before]
    values, states = scan_time(
        _exponential_filter,
        [Named(series.data, series.dims), Named(steps, ("time",))],
        [Named(array.data, array.dims) for array in maps],
        dims,
        outputs={name: series.dtype},
        states={f"final_{name}": np.dtype(float), "final_weight": np.dtype(float), "status": np.dtype(np.uint8)},
    )

    kept = {k: v for k, v in series.attrs.items() if k != "grid_mapping"}
    long_name = f"{kept.get('long_name', name)}, exponential filter"
    attrs = kept | {"long_name": long_name, "references": REFERENCE}
    method = f"{kept.get('cell_methods', '')} time: mean (weights exp(-age / T))".strip()
    out = xr.Dataset(
        {
            name: (("time", *dims), values[0], attrs | {"cell_methods": method}),
            f"final_{name}": (dims, states[0], attrs | {"long_name": f"{long_name}, after the last time"}),
            "final_weight": (dims, states[1], {"units": "1", "long_name": "sum of the weights after the last time"}),
            "status": (dims, states[2], {"long_name": "status of the filter"} | flag_attrs(FLAGS)),
        },
        {k: v for source in (series, scale) for k, v in source.coords.items() if set(v.dims) <= {"time", *dims}},
    )
    out = carry(ds, out, name)
    out["final_time"] = ((), np.asarray(ds["time"].values[-1]), {"long_name": "last time of the series"})
    for key in (f"final_{name}", "final_weight"):
        out[key].attrs["end_time"] = str(ds.indexes["time"][-1])
    used = "given as a map" if isinstance(T, xr.DataArray) else float(T)
    return out.assign_attrs({"time_scale": used, "filtered": name, "references": REFERENCE})


def _exponential_filter(
    series: Sequence[np.ndarray],
    maps: Sequence[np.ndarray],
    state: tuple[np.ndarray, ...] | None,
    *,
    skip: int,
    workers: int,
) -> tuple[list[np.ndarray], tuple[np.ndarray, ...]]:
    """Times of one block of cells, for `scan_time`."""
    from xsoil.kernels import rootzone as kernels

    moisture, steps = series
    shape = np.broadcast_shapes(moisture.shape[1:], *(array.shape for array in maps))
    scale, *before = (np.broadcast_to(array, shape).reshape(-1) for array in (*maps, *(state or ())[:2]))
    if moisture[:1].size > 1:
        moisture = np.broadcast_to(moisture, (moisture.shape[0], *shape))
    values, (value, weight) = kernels.run(
        moisture.reshape(moisture.shape[0], -1),
        np.ascontiguousarray(steps, float).reshape(-1),
        scale,
        state=(before[-2], before[-1]) if before else None,
        skip=skip,
        workers=workers,
    )
    status = np.where(np.isnan(value), FLAGS["no_observation"], 0)
    status = np.where((scale > 0) & (scale < np.inf), status, FLAGS["impossible_time_scale"])
    status = np.where(np.isnan(scale), FLAGS["missing_time_scale"], status).astype(np.uint8)
    end = value.reshape(shape), weight.reshape(shape), status.reshape(shape)
    return [values.reshape(len(values), *shape)], end


def _scale(T: float | xr.DataArray, ds: xr.Dataset) -> xr.DataArray:
    """Time scale in days, on the grid of the series."""
    if not isinstance(T, xr.DataArray):
        if np.ndim(T) or np.asarray(T).dtype.kind not in "fiu" or not 0 < T < np.inf:
            raise ArgumentError(f"T={T!r}; expected a positive number of days, or a DataArray with units")
        return xr.DataArray(float(T))
    if "time" in T.dims:
        raise ArgumentError("T varies with time; expected one value per cell: T.isel(time=0)")
    require_same_grid(ds, T, "T")
    require_inside(T, "T", ds, "the series")
    if T.dtype.kind == "m":  # xarray reads "days" as differences of times
        return (T / np.timedelta64(1, "D")).assign_attrs(units="d")
    own = {"T": T.coords["T"]} if "T" in T.coords else {}  # xarray makes no dataset of a name that is a coordinate too
    return read(T.drop_vars("T", errors="ignore").rename("T").to_dataset(), SCALE).assign_coords(own)


def _before(
    initial: xr.Dataset, ds: xr.Dataset, T: object, dims: tuple[Hashable, ...], units: str, start: int
) -> tuple[list[xr.DataArray], int]:
    """Value and weight at the end of the run before, and that time since 1970."""
    (name,) = ds.data_vars
    names = [f"final_{name}", "final_weight", "final_time"]
    if not isinstance(initial, xr.Dataset) or not set(names) <= set(initial.variables):
        found = sorted(map(str, initial.data_vars)) if isinstance(initial, xr.Dataset) else type(initial).__name__
        raise MissingVariableError(f"initial has no {', '.join(names)}: found {found}; expected a result of rootzone")
    value, weight, end = (initial[key] for key in names)
    require_same_grid(ds, value, "initial")
    if isinstance(T, xr.DataArray):
        require_same_grid(T, value, "initial")
    unknown = [str(dim) for dim in (*value.dims, *weight.dims) if dim not in dims]
    if unknown:
        raise ArgumentError(f"initial is on {unknown}, expected the dims of the run {[str(d) for d in dims]}")
    theirs = str(value.attrs.get("units", ""))
    if canonical_units(theirs) != canonical_units(units):
        raise UnitsError(f"initial is in {theirs!r}, expected the units of the series, {units!r}")
    if end.dtype.kind not in "MO" or end.ndim:
        raise TimeError(
            f"initial: final_time is {end.dtype} on {end.dims}, expected one date; use xr.decode_cf(initial)"
        )
    # One number, read here and now where it comes from a file: it tells whether the runs follow each other.
    at = int(since_1970(end.values))
    if at >= start:
        raise TimeError(f"initial ends at {end.values}, expected a time before the first of the series")
    return [value, weight], at
