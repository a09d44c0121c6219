"""How large are the errors of three products of which none is the truth?"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsoil.errors import ArgumentError
from xsoil.evaluation._masks import checked_seed
from xsoil.evaluation._series import positive, series_of
from xsoil.threads import available_cores, in_bands

__all__ = ["triple_collocation"]

Doubles = NDArray[np.float64]

REFERENCES = (
    "McColl, K. A., et al. (2014): Extended triple collocation: estimating errors and correlation coefficients with "
    "respect to an unknown target. Geophysical Research Letters 41, 6229-6236 https://doi.org/10.1002/2014GL061322; "
    "Gruber, A., et al. (2016): Recent advances in (soil moisture) triple collocation analysis. International Journal "
    "of Applied Earth Observation and Geoinformation 45, 200-211 https://doi.org/10.1016/j.jag.2015.09.002"
)
RESULTS = {
    "error_std": "standard deviation of the random error",
    "error_std_scaled": "standard deviation of the random error, on the scale of the reference",
    "signal_std": "standard deviation of the signal",
    "snr": "signal-to-noise ratio",
    "r": "correlation with the unknown truth",
    "scale": "factor to the scale of the reference",
}
PARTS = (("", ""), ("_low", "lower end of the interval of the "), ("_high", "upper end of the interval of the "))
"""What `bootstrap` adds: ending of the name, beginning of the long name."""
SAMPLES = 2**17
"""Samples worked on at a time: bounds the memory to some 30 MB a thread."""


def triple_collocation(
    x: xr.DataArray,
    y: xr.DataArray,
    z: xr.DataArray,
    *,
    dim: Hashable = "time",
    names: Sequence[str] = ("x", "y", "z"),
    reference: int | str = 0,
    min_obs: int = 100,
    bootstrap: int = 0,
    block: int = 1,
    level: float = 0.95,
    seed: int = 0,
) -> xr.Dataset:
    r"""Errors of three products, without a truth, at every place by itself.

    Each product is taken to be a linear function of one truth plus noise, and the three noises to be independent of
    each other and of the truth. Then the covariances tell the variance of each noise [1]_ [2]_:

    .. math::

        \sigma_{\varepsilon x}^2 = Q_{xx} - \frac{Q_{xy} Q_{xz}}{Q_{yz}}, \quad
        \rho_x^2 = \frac{Q_{xy} Q_{xz}}{Q_{xx} Q_{yz}}, \quad
        \mathrm{SNR}_x = 10 \log_{10} \frac{\rho_x^2}{1 - \rho_x^2}, \quad
        \beta_y = \frac{Q_{xz}}{Q_{yz}}

    and likewise for y and z. Take out the seasonal cycle first where it is not what is asked about: a common
    season is signal.

    Parameters
    ----------
    x, y, z : xr.DataArray
        Three products on `dim` and any other dims, with the same coordinates; in any units. A time counts where all
        three are valid (neither NaN nor declared nodata).
    dim : str
        The dimension of the samples.
    names : sequence of str
        Names of the products, the coordinate `product` of the results.
    reference : int or str
        Place or name of the product to whose scale the others are brought.
    min_obs : int
        Common samples below which a place has no result.
    bootstrap : int
        Resamples of the times for intervals; 0 for none. All places draw the same times.
    block : int
        Length of the blocks of successive times that are drawn (circular): days that depend on each other want blocks
        longer than their memory.
    level : float
        Of the intervals.
    seed : int
        The same seed gives the same bits.

    Returns
    -------
    xr.Dataset
        On ``product`` and the other dims: `error_std` and `signal_std` [units of the product; named where all have the
        same], `error_std_scaled` [units of the reference], `snr` [dB], `r` [1], `scale` [1] (a product times its scale
        has the signal of the reference), and `n`, the samples; with `bootstrap`, `<name>_low` and `<name>_high` of
        each. Lazy where an input is. NaN where the estimates contradict the assumptions: a negative error variance
        (the error, `snr` and `r`), or a signal variance that is not above 0 (all).

    Raises
    ------
    ArgumentError, AxisError, GridMismatchError
        Arguments out of range; no such dim; other coordinates.

    Notes
    -----
    `error_std_scaled`, `snr` and `scale` are those of ``tcol_metrics`` of the package pytesmo, where its estimates are
    defined. Sampling errors are large: with 100 samples some 10 to 20 % of an error's standard deviation.

    References
    ----------
    .. [1] McColl et al. (2014), Geophys. Res. Lett. 41, 6229-6236, doi:10.1002/2014GL061322.
    .. [2] Gruber et al. (2016), Int. J. Appl. Earth Obs. Geoinf. 45, 200-211, doi:10.1016/j.jag.2015.09.002.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> draw = np.random.default_rng(0)
    >>> truth = draw.normal(0.25, 0.06, 20_000)
    >>> x, y, z = (xr.DataArray(truth + draw.normal(0, s, truth.size), dims="time") for s in (0.02, 0.04, 0.06))
    >>> triple_collocation(x, y, z).error_std.round(2).values
    array([0.02, 0.04, 0.06])
    """
    labels = list(names)
    if len(labels) != 3 or len(set(labels)) != 3 or not all(isinstance(name, str) for name in labels):
        raise ArgumentError(f"names={names!r}; expected three different names, such as ('smap', 'ascat', 'model')")
    at = labels.index(reference) if isinstance(reference, str) and reference in labels else reference
    if isinstance(at, bool) or not isinstance(at, (int, np.integer)) or not 0 <= at < 3:
        raise ArgumentError(f"reference={reference!r}; expected 0, 1, 2 or one of {labels}")
    resamples = positive(bootstrap, "bootstrap", 0)
    if not 0 < level < 1:
        raise ArgumentError(f"level={level!r}; expected a share above 0 and below 1, such as 0.95")
    fewest, length = positive(min_obs, "min_obs", 3), positive(block, "block", 1)
    arrays = series_of(dict(zip(("x", "y", "z"), (x, y, z), strict=True)), dim)
    weights = _resamples(arrays[0].sizes[dim], resamples, length, checked_seed(seed))
    lazy = any(array.chunks is not None for array in arrays)
    parts = 3 if resamples else 1
    found = xr.apply_ufunc(
        partial(_collocate, int(at), fewest, weights, float(level), 1 if lazy else available_cores()),
        *arrays,
        input_core_dims=[[dim]] * 3,
        output_core_dims=[["_result", "product"], []],
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": {"_result": parts * len(RESULTS), "product": 3}},
        output_dtypes=[np.float64, np.int64],
        join="exact",
    )
    numbers, count = found
    units = [array.attrs.get("units") for array in arrays]
    order = ("product", *(d for d in numbers.dims if d not in ("_result", "product")))
    out = xr.Dataset(coords={"product": ("product", labels)})
    for part, (ending, what) in enumerate(PARTS[:parts]):
        for i, (name, long_name) in enumerate(RESULTS.items()):
            about = {"long_name": what + long_name, "references": REFERENCES} | _units(name, units, units[at])
            own = numbers.isel(_result=part * len(RESULTS) + i).transpose(*order)
            out[name + ending] = own.drop_attrs().assign_attrs(about)
    out["n"] = count.drop_attrs().assign_attrs(long_name="number of times with all three products", units="1")
    for place in ("attrs", "encoding"):
        if "grid_mapping" in getattr(x, place):
            for array in out.data_vars.values():
                getattr(array, place)["grid_mapping"] = getattr(x, place)["grid_mapping"]
    out.attrs["reference"] = labels[at]
    if resamples:
        out.attrs |= {"resamples": resamples, "block": length, "level": float(level), "seed": int(seed)}
    return out


def _units(name: str, units: Sequence[str | None], reference: str | None) -> dict[str, str]:
    if name == "snr":
        return {"units": "dB"}
    if name == "error_std_scaled":
        return {"units": reference} if reference else {}
    same = units[0] if units[0] is not None and all(unit == units[0] for unit in units) else None
    if name in ("error_std", "signal_std"):  # each in its own
        return {"units": same} if same else {}
    return {"units": "1"} if name == "r" or same else {}  # a scale between units has those of their ratio


def _resamples(size: int, number: int, block: int, seed: int) -> NDArray[np.float64]:
    """How often each time is in each resample: (resamples, times)."""
    draw = np.random.default_rng(seed)
    block = min(block, max(size, 1))
    out = np.empty((number, size))
    for i in range(number):
        starts = draw.integers(size, size=-(-size // block))
        times = ((starts[:, None] + np.arange(block)) % size).ravel()[:size]
        out[i] = np.bincount(times, minlength=size)
    return out


def _collocate(
    reference: int, fewest: int, weights: Doubles, level: float, threads: int, *arrays: NDArray[Any]
) -> tuple[Doubles, NDArray[np.int64]]:
    shape, samples = np.broadcast_shapes(*(a.shape[:-1] for a in arrays)), arrays[0].shape[-1]
    flat = [np.broadcast_to(a, (*shape, samples)).reshape(math.prod(shape), samples) for a in arrays]
    rows = len(flat[0])
    parts = 3 if len(weights) else 1
    out, count = np.full((rows, parts, len(RESULTS), 3), np.nan), np.zeros(rows, np.int64)
    step = max(1, SAMPLES // max(samples, 1))

    def run(first: int, last: int) -> None:
        for start in range(first * step, min(last * step, rows), step):
            part = slice(start, min(start + step, rows))
            out[part], count[part] = _block([a[part] for a in flat], reference, fewest, weights, level)

    in_bands(run, -(-rows // step), threads)
    return out.reshape(*shape, parts * len(RESULTS), 3), count.reshape(shape)


def _block(
    series: list[NDArray[Any]], reference: int, fewest: int, weights: Doubles, level: float
) -> tuple[Doubles, NDArray[np.int64]]:
    doubles = [np.ascontiguousarray(a, np.float64) for a in series]
    valid = np.isfinite(doubles[0]) & np.isfinite(doubles[1]) & np.isfinite(doubles[2])
    count = valid.sum(axis=-1)
    enough = count >= fewest
    deviations = []
    for a in doubles:
        mean = np.where(valid, a, 0.0).sum(axis=-1) / np.maximum(count, 1)
        deviations.append(np.where(valid, a - mean[:, None], 0.0))
    out = np.full((len(count), 3 if len(weights) else 1, len(RESULTS), 3), np.nan)
    out[:, 0] = _estimates(_covariances(deviations, valid, None), reference)
    if len(weights):
        drawn = np.stack([_estimates(_covariances(deviations, valid, w), reference) for w in weights])
        with np.errstate(all="ignore"):
            low, high = _interval(drawn, level)
        out[:, 1], out[:, 2] = low, high
    out[~enough] = np.nan
    return out, count


def _covariances(deviations: list[Doubles], valid: NDArray[np.bool_], weights: Doubles | None) -> Doubles:
    """(rows, 3, 3), of samples that count `weights` times; sums in one order, whatever rows stand beside a row."""
    own = deviations if weights is None else [d * weights for d in deviations]
    n = (valid if weights is None else valid * weights).sum(axis=-1)
    sums = [d.sum(axis=-1) for d in own]
    out = np.empty((len(n), 3, 3))
    with np.errstate(all="ignore"):
        for i in range(3):
            for j in range(i, 3):
                product = (own[i] * deviations[j]).sum(axis=-1) - sums[i] * sums[j] / n
                out[:, i, j] = out[:, j, i] = product / (n - 1)
    return out


def _estimates(q: Doubles, reference: int) -> Doubles:
    """(rows, results, 3) in the order of `RESULTS`."""
    out = np.empty((len(q), len(RESULTS), 3))
    with np.errstate(all="ignore"):
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            signal = q[:, i, j] * q[:, i, k] / q[:, j, k]
            signal = np.where(signal > 0, signal, np.nan)
            error = q[:, i, i] - signal
            error = np.where(error >= 0, error, np.nan)
            other = 3 - i - reference
            scale = q[:, reference, other] / q[:, i, other] if i != reference else np.ones(len(q))
            scale = np.where(np.isfinite(signal), scale, np.nan)
            out[:, 0, i] = np.sqrt(error)
            out[:, 1, i] = np.sqrt(error) * np.abs(scale)
            out[:, 2, i] = np.sqrt(signal)
            out[:, 3, i] = 10 * np.log10(signal / error)
            out[:, 4, i] = np.where(np.isfinite(error), np.sign(scale) * np.sqrt(signal / q[:, i, i]), np.nan)
            out[:, 5, i] = scale
    return out


def _interval(drawn: Doubles, level: float) -> tuple[Doubles, Doubles]:
    """Percentiles of the resamples along the first axis; NaN where more than half of them have no estimate."""
    few = np.isnan(drawn).mean(axis=0) > 0.5
    safe = np.where(few, 0.0, drawn)
    low, high = np.nanquantile(safe, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.where(few, np.nan, low), np.where(few, np.nan, high)
