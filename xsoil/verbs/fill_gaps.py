"""`fill_gaps`: missing times of series and maps, with a mask of what was filled."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from xsoil.choices import as_names, require_choice
from xsoil.errors import ArgumentError, AxisError, TimeError, UnitsError
from xsoil.verbs._gap_model import GapModel
from xsoil.verbs._gap_ways import Cosine, Linear, Recurrent, Way, fill_block
from xsoil.verbs._inputs import as_dataset
from xsoil.verbs._lazy import Named, scan_time
from xsoil.verbs._time_series import PER_DAY, chosen, microseconds, physical_range, series_of

__all__ = ["fill_gaps"]

Method = Literal["linear", "dct", "cru"]
METHODS = ("linear", "dct", "cru")
REFERENCES = {
    "dct": "Garcia (2010), Comput. Stat. Data Anal., https://doi.org/10.1016/j.csda.2009.09.020; "
    "Wang et al. (2012), Ecol. Model., https://doi.org/10.1016/j.ecolmodel.2012.02.002",
    "cru": "Schirmer et al. (2022), Proc. Mach. Learn. Res. 162, 19388-19405",
}
LARGEST_BLOCK = 64 * 2**20
"""Bytes of a block of all times; larger ones are cut in space."""
THINNEST = 20
"""A regular axis may have so many times as many places as there are times."""

ROUNDING = 1e-9
"""Days: hours are no round share of one, and a gap of just `max_gap` is filled."""


def fill_gaps(
    ds: xr.Dataset | xr.DataArray,
    method: Method = "linear",
    *,
    model: GapModel | None = None,
    variable: str | Sequence[str] | None = None,
    max_gap: float | timedelta | np.timedelta64 | None = None,
    extrapolate: bool = False,
    dims: str | Sequence[Hashable] = "time",
    smoothness: float | None = None,
    order: Literal[1, 2] = 2,
    robust: bool = False,
    valid_range: Literal["physical"] | tuple[float, float] | None = None,
    std: bool = False,
    seed: int = 0,
) -> xr.Dataset:
    """Fill missing times, and say which were filled.

    What was observed stays as it is; only missing values are replaced: NaN, declared nodata, infinite ones, and those
    further outside of the variable's physical range than that is wide (an undeclared -9999; anomalies stay).

    Parameters
    ----------
    ds : xr.Dataset or named xr.DataArray
        Series with gaps on `time` and any other dims, in any units. Times are sorted, but need not be regular.
    method : {"linear", "dct", "cru"}
        Straight lines between the observations before and after; penalised least squares with the discrete cosine
        transform [1]_ [2]_; or Continuous Recurrent Units [3]_, a network that was trained on days removed on purpose.
    model : GapModel, optional
        For "cru": of `xsoil.fit_gap_model`, or from `xsoil.load_model`. Without, one is trained on `ds` itself, which
        must then be in memory; predictors of the model are variables of `ds`.
    variable : str or sequence of str, optional
        What to fill: `soil_moisture` by default, else `theta`, else the only variable with time.
    max_gap : number of days or timedelta, optional
        Longer gaps stay, for every method: the time from the observation before to the one after (from the nearest
        observation, where `extrapolate` goes beyond the first and the last). By default all are filled.
    extrapolate : bool
        Also fill before the first and after the last observation: linear holds that observation, the others go on.
    dims : str or sequence of str
        For "dct": dims that are smoothed, "time" or ("time", "y", "x"). With other dims than time a cell needs no
        observations before and after, but one at all; these dims are read as a whole by one task.
    smoothness : float, optional
        For "dct": the smoothing parameter s. By default the best by generalised cross-validation, for each cell (in
        several dims: for all).
    order : {1, 2}
        For "dct": of the differences that cost. 2, as published, gives smooth curves, which swing widely in gaps longer
        than what they were fitted to; 1 gives straight lines there (a random walk observed with noise).
    robust : bool
        For "dct": outliers do not count (bisquare weights). They are not removed.
    valid_range : "physical" or (low, high), optional
        Filled values beyond are set to its ends: the range that the vocabulary has for the variable, or in the units of
        the variable.
    std : bool
        For "cru", and "dct" in time: add `<name>_std`, the standard deviation of the missing observation about the
        value that was filled in; NaN where nothing was.
    seed : int
        For "cru" without a model.

    Returns
    -------
    xr.Dataset
        All of `ds`, with the variable filled, and `<name>_filled` beside it (0 as given, 1 filled; CF `flag_values`).
        A mask of that name that is there already is continued, so that one method may follow another.

        Lazy where the variable is: one task per block of cells with all their times (and larger blocks than 64 MB are
        cut in space), so that no chunk changes a bit (1e-5 relative for "cru"). A task holds that block and,
        along time, five ("linear") or nine ("dct") times as much more; "cru" 400 MB for a year, whatever the block.

    Raises
    ------
    MissingVariableError, UnitsError, UnknownNameError
        No such variable, several that it could be, or none with units; a predictor of the model is missing or in other
        units; no such method.
    TimeError
        No time, unsorted or repeated times; for "dct", times that are not on a regular axis (with gaps).
    ArgumentError
        Options that the method does not have, or out of range; lazy data without a model.

    References
    ----------
    .. [1] Garcia (2010), Comput. Stat. Data Anal. 54, 1167-1178, doi:10.1016/j.csda.2009.09.020.
    .. [2] Wang et al. (2012), Ecol. Model. 230, 189-198, doi:10.1016/j.ecolmodel.2012.02.002.
    .. [3] Schirmer et al. (2022), Proc. Mach. Learn. Res. 162, 19388-19405.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> import xarray as xr
    >>> values = [0.1, np.nan, 0.3, np.nan, np.nan, np.nan, 0.2]
    >>> days = pd.date_range("2020-06-01", periods=7)
    >>> ds = xr.Dataset({"soil_moisture": ("time", values, {"units": "m3 m-3"})}, {"time": days})
    >>> filled = fill_gaps(ds, "linear", max_gap=3)
    >>> filled.soil_moisture.values
    array([0.1, 0.2, 0.3, nan, nan, nan, 0.2])
    >>> filled.soil_moisture_filled.values
    array([0, 1, 0, 0, 0, 0, 0], dtype=uint8)
    """
    ds = as_dataset(ds)
    require_choice("method", method, METHODS)
    wanted = [None] if variable is None else as_names("variable", variable)
    names = [chosen(ds, one) for one in wanted]
    over = _dims(dims)
    _check(method, model, over, smoothness, order, robust, std)
    widest = _days(max_gap)
    out = ds
    for name in names:
        series, units = series_of(ds, name)
        times = microseconds(ds.indexes.get("time"), name)
        limits = _limits(valid_range, name, units)
        way: Way
        predictors: list[xr.DataArray] = []
        if method == "dct":
            way = Cosine(smoothness, order, robust, _regular(times, name), _axes(series, over))
        elif method == "cru":
            used = model if model is not None else _fitted(ds, name, seed)
            predictors = used.predictors_of(ds, name, units)
            way = Recurrent(used)
        else:
            way = Linear()
        step = partial(fill_block, way, (times - times[0]) / PER_DAY, widest, bool(extrapolate), limits)
        out = _with(out, name, series, predictors, step, way, over, std)
        # Behind what was done before, and what the data say of themselves.
        added = {"gap_filling": way.describe()} | ({"references": REFERENCES[method]} if method in REFERENCES else {})
        for key, text in added.items():
            before = str(out[name].attrs.get(key, ""))
            out[name].attrs[key] = before if text in before else "; ".join(filter(None, (before, text)))
    return out


def _with(
    ds: xr.Dataset, name: str, series: xr.DataArray, predictors: list[xr.DataArray], step: Callable[..., Any],
    way: Way, over: tuple[Hashable, ...], std: bool,
) -> xr.Dataset:  # fmt: skip
    """The dataset with one variable filled."""
    dims = tuple(dim for dim in series.dims if dim != "time")
    whole = dict.fromkeys(over, -1)
    arrays = [_whole(array, whole) for array in (series, *predictors)]
    values, _ = scan_time(
        step,
        [Named(array.data, array.dims) for array in arrays],
        [],
        dims,
        outputs={"value": series.dtype, "filled": np.dtype(np.uint8), "std": series.dtype},
        states={},
    )
    first = ("time", *dims)
    filled = xr.Variable(first, values[1])
    mask = f"{name}_filled"
    if mask in ds.variables:
        filled = xr.Variable(first, np.maximum(filled.data, ds[mask].transpose(*first).data.astype(np.uint8)))
    long_name = str(series.attrs.get("long_name", name))
    flags = {
        "long_name": f"which values of {long_name} were filled",
        "flag_values": np.array([0, 1], np.uint8),
        "flag_meanings": "as_given filled",
    }
    given = ds[name]
    ancillary = " ".join(dict.fromkeys([*str(given.attrs.get("ancillary_variables", "")).split(), mask]))
    places = {k: v for k, v in given.encoding.items() if k == "grid_mapping"}
    new = {
        name: xr.Variable(first, values[0], series.attrs | {"ancillary_variables": ancillary}, places),
        mask: xr.Variable(first, filled.data, flags, places),
    }
    if std:
        new[f"{name}_std"] = xr.Variable(
            first, values[2],
            {"units": series.attrs["units"], "long_name": f"standard deviation of filled {long_name}"}, places,
        )  # fmt: skip
    mapping = {k: v for k, v in given.attrs.items() if k == "grid_mapping"}
    for variable in new.values():
        variable.attrs |= mapping
    return ds.assign({key: value.transpose(*series.dims) for key, value in new.items()})


def _whole(array: xr.DataArray, whole: dict[Hashable, int]) -> xr.DataArray:
    """In chunks that hold all of some dims; smaller ones of the others, where they would be too large."""
    if array.chunks is None:
        return array
    here = {dim: size for dim, size in whole.items() if dim in array.dims}
    joined = array.chunk(here)
    largest = array.dtype.itemsize * np.prod([max(sizes) for sizes in joined.chunks or ()])
    others = [dim for dim in array.dims if dim not in here]
    if largest > LARGEST_BLOCK and others:
        joined = array.chunk(here | dict.fromkeys(others, "auto"))
    return joined


def _dims(dims: str | Sequence[Hashable]) -> tuple[Hashable, ...]:
    over = tuple(as_names("dims", dims))
    if "time" not in over:
        raise ArgumentError(f"dims={dims!r}; expected 'time', or 'time' and dims of space: ('time', 'y', 'x')")
    return over


def _axes(series: xr.DataArray, over: tuple[Hashable, ...]) -> tuple[int, ...]:
    first = ["time", *(dim for dim in series.dims if dim != "time")]
    missing = [str(dim) for dim in over if dim not in first]
    if missing:
        raise AxisError(f"{series.name!r} has no dims {missing} among {[str(d) for d in series.dims]}; choose others")
    return tuple(first.index(dim) for dim in over)


def _check(
    method: str, model: Any, over: tuple[Hashable, ...], smoothness: Any, order: Any, robust: bool, std: bool
) -> None:
    if model is not None and not isinstance(model, GapModel):
        raise ArgumentError(f"model is {type(model).__name__}; expected one of xsoil.fit_gap_model(...)")
    own = {
        "model": model is not None,
        "dims": over != ("time",),
        "smoothness": smoothness is not None,
        "order": order == 1,
        "robust": robust,
    }
    home = {"model": "cru", "dims": "dct", "smoothness": "dct", "order": "dct", "robust": "dct"}
    for name, given in own.items():
        if given and method != home[name]:
            raise ArgumentError(f"{name}=... belongs to method={home[name]!r}, not to {method!r}; leave it out")
    number = isinstance(smoothness, (int, float, np.number)) and not isinstance(smoothness, bool)
    if smoothness is not None and not (number and 0 < smoothness < np.inf):
        raise ArgumentError(f"smoothness={smoothness!r}; expected a number above 0, or None to have it chosen")
    if order not in (1, 2):
        raise ArgumentError(f"order={order!r}; expected 1 or 2")
    if std and (method == "linear" or over != ("time",)):
        raise ArgumentError("std=True needs method='cru', or 'dct' in time alone; lines and fields have no deviation")


def _days(given: Any) -> float:
    if given is None:
        return float("inf")
    days = given
    if isinstance(given, (np.timedelta64, timedelta)):  # pandas' is one of the latter
        days = pd.Timedelta(given) / pd.Timedelta(1, "D")
    if isinstance(days, bool) or not isinstance(days, (int, float, np.integer, np.floating)) or not days > 0:
        raise ArgumentError(f"max_gap={given!r}; expected a number of days above 0, or a timedelta")
    return float(days) + ROUNDING


def _limits(given: Any, name: str, units: str) -> tuple[float, float] | None:
    """Range of filled values in the units of the variable."""
    if given is None:
        return None
    if isinstance(given, str):
        if given != "physical":
            raise ArgumentError(f"valid_range={given!r}; expected 'physical' or (low, high)")
        limits = physical_range(name, units)
        if limits is None:
            raise UnitsError(f"no physical range is known of {name!r} in {units!r}; give valid_range=(low, high)")
        return limits
    try:
        low, high = (float(end) for end in given)
    except (TypeError, ValueError):
        low = high = float("nan")
    if not low < high:
        raise ArgumentError(f"valid_range={given!r}; expected 'physical' or (low, high) in {units!r}")
    return low, high


def _regular(times: np.ndarray, name: str) -> tuple[int, ...]:
    """Place of each time on the coarsest regular axis that has all of them."""
    steps = np.diff(times)
    step = int(np.gcd.reduce(steps)) if steps.size else 1
    at = (times - times[0]) // step
    if at[-1] + 1 > THINNEST * times.size:
        raise TimeError(
            f"{name!r}: times are not regular ({steps.min() / PER_DAY:g} to {steps.max() / PER_DAY:g} days apart), and "
            "'dct' needs a regular axis (missing days are fine); ds.resample(time='1D').mean(), or another method"
        )
    return tuple(at.tolist())


def _fitted(ds: xr.Dataset, name: str, seed: int) -> GapModel:
    from xsoil.verbs.fit_gap_model import fit_gap_model

    if ds[name].chunks is not None:
        raise ArgumentError(
            f"{name!r} is lazy, and a network cannot be trained while a graph is built; train it first, on some cells: "
            "model = xsoil.fit_gap_model(ds.isel(...).load()), then fill_gaps(method='cru', model=model)"
        )
    return fit_gap_model(ds, variable=name, seed=seed)
