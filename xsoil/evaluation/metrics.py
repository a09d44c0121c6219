"""Metrics of a simulated against an observed series, on arrays.

Two ways to the same numbers. `series_metrics` takes whole series; RMSE, NSE, KGE and r are those of `scores`, the rest
is own. `moments`, `merge_moments` and `metrics_of_moments` take samples in pieces, so that a raster can be pooled
without being in memory: `scores` has no such step, and its sums over dask chunks depend on how the array is chunked.

In all of them a pair counts where both values are finite; moments are population moments.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsoil.threads import in_bands

METRICS = ("r", "rmse", "ubrmse", "bias", "nse", "kge")
MOMENTS = ("n", "sim", "obs", "diff", "sim2", "obs2", "cross", "diff2", "sim_low", "sim_high", "obs_low", "obs_high")
"""Count, means of simulation, observation and difference, sums of squares and products about them, extremes."""

SAMPLES = 2**18
"""Samples that `series_metrics` works on at a time: bounds its memory to some 30 MB."""

Real = NDArray[np.floating[Any]]


def series_metrics(simulated: Real, observed: Real, *, threads: int = 1) -> tuple[NDArray[Any], ...]:
    """Metrics along the last axis.

    Parameters
    ----------
    simulated, observed : (..., samples) array
        Of one shape, or shapes that broadcast.
    threads : int
        Blocks of series that are worked on at a time.

    Returns
    -------
    r, rmse, ubrmse, bias, nse, kge : (...) float64 array
        NaN where there is no pair; r and KGE also where either series is constant, NSE where the observed one is, and
        KGE where the observed mean is zero.
    n : (...) int64 array
        Number of pairs.
    """
    simulated, observed = np.broadcast_arrays(simulated, observed)
    shape, samples = simulated.shape[:-1], simulated.shape[-1]
    rows = math.prod(shape)
    simulated, observed = simulated.reshape(rows, samples), observed.reshape(rows, samples)
    out = np.full((len(METRICS), rows), np.nan)
    count = np.zeros(rows, np.int64)
    step = max(1, SAMPLES // max(samples, 1))

    def blocks(first: int, last: int) -> None:
        for block in range(first, last):
            part = slice(block * step, (block + 1) * step)
            out[:, part], count[part] = _series_block(simulated[part], observed[part])

    if samples:
        in_bands(blocks, -(-rows // step), threads)
    return (*(metric.reshape(shape) for metric in out), count.reshape(shape))


def _series_block(simulated: Real, observed: Real) -> tuple[Real, NDArray[np.int64]]:
    import xarray as xr
    from scores.continuous import kge, nse, rmse
    from scores.continuous.correlation import pearsonr

    both = np.isfinite(simulated) & np.isfinite(observed)
    # New contiguous arrays: the order of every sum along a row is then that of the row, whatever the block.
    sim = np.where(both, simulated, np.nan).astype(np.float64, order="C")
    obs = np.where(both, observed, np.nan).astype(np.float64, order="C")
    count = both.sum(axis=-1)
    out = np.full((len(METRICS), len(count)), np.nan)

    def put(name: str, where: NDArray[np.bool_], score: Any) -> None:
        # Rows where the metric is undefined are left out: scores would warn, or return -inf or rounding noise.
        if where.any():
            pair = (xr.DataArray(a[where], dims=("series", "sample")) for a in (sim, obs))
            out[METRICS.index(name), where] = score(*pair, reduce_dims="sample").to_numpy()

    some = count > 0
    sim_low, sim_high = _extremes(sim, both)
    obs_low, obs_high = _extremes(obs, both)
    sim_varies, obs_varies = sim_high > sim_low, obs_high > obs_low
    n = np.maximum(count, 1)
    difference = sim - obs
    bias = np.where(both, difference, 0.0).sum(axis=-1) / n
    spread = np.where(both, difference - bias[:, None], 0.0)
    out[METRICS.index("bias")] = np.where(some, bias, np.nan)
    out[METRICS.index("ubrmse")] = np.where(some, np.sqrt((spread**2).sum(axis=-1) / n), np.nan)
    mean_obs = np.where(both, obs, 0.0).sum(axis=-1)
    put("rmse", some, rmse)
    put("r", sim_varies & obs_varies, pearsonr)
    put("nse", obs_varies, nse)
    put("kge", sim_varies & obs_varies & (mean_obs != 0.0), kge)
    np.clip(out[0], -1.0, 1.0, out=out[0])  # rounding may pass 1 by an ulp
    return out, count


def _extremes(values: Real, valid: NDArray[np.bool_]) -> tuple[Real, Real]:
    low = np.where(valid, values, np.inf).min(axis=-1, initial=np.inf)
    high = np.where(valid, values, -np.inf).max(axis=-1, initial=-np.inf)
    return low, high


def moments(simulated: Real, observed: Real) -> Real:
    """Moments of the finite pairs along the last axis, in two passes.

    Parameters
    ----------
    simulated, observed : (..., samples) array

    Returns
    -------
    (..., 12) float64 array
        In the order of `MOMENTS`. Without a sample: zeros, and extremes of +inf and -inf.
    """
    valid = np.isfinite(simulated) & np.isfinite(observed)
    sim = np.where(valid, simulated, 0.0).astype(np.float64, order="C")
    obs = np.where(valid, observed, 0.0).astype(np.float64, order="C")
    count = valid.sum(axis=-1)
    n = np.maximum(count, 1)
    means, spreads = [], []
    for values in (sim, obs, sim - obs):
        mean = values.sum(axis=-1) / n
        means.append(mean)
        spreads.append(np.where(valid, values - mean[..., None], 0.0))
    s, o, d = spreads
    sums = [(a * b).sum(axis=-1) for a, b in ((s, s), (o, o), (s, o), (d, d))]
    return np.stack([count, *means, *sums, *_extremes(sim, valid), *_extremes(obs, valid)], axis=-1)


def merge_moments(pieces: Real) -> Real:
    """Moments of the union of pieces (..., pieces, 12), added one after the other in their order (Chan et al. 1983)."""
    total = pieces[..., 0, :].copy()
    for index in range(1, pieces.shape[-2]):
        piece = pieces[..., index, :]
        n, more = total[..., 0], piece[..., 0]
        both = n + more
        share = more / np.maximum(both, 1.0)
        delta = piece[..., 1:4] - total[..., 1:4]
        weight = n * share
        total[..., 1:4] += delta * share[..., None]
        for column, a, b in ((4, 0, 0), (5, 1, 1), (6, 0, 1), (7, 2, 2)):
            total[..., column] += piece[..., column] + delta[..., a] * delta[..., b] * weight
        total[..., 0] = both
        total[..., 8::2] = np.minimum(total[..., 8::2], piece[..., 8::2])
        total[..., 9::2] = np.maximum(total[..., 9::2], piece[..., 9::2])
    return total


def metrics_of_moments(total: Real) -> tuple[NDArray[Any], ...]:
    """Metrics of moments (..., 12): as `series_metrics` returns them, undefined ones NaN."""
    count, sim, obs, diff, sim2, obs2, cross, diff2, sim_low, sim_high, obs_low, obs_high = np.moveaxis(total, -1, 0)
    some = count > 0
    sim_varies, obs_varies = (sim_high > sim_low) & (sim2 > 0), (obs_high > obs_low) & (obs2 > 0)
    with np.errstate(all="ignore"):
        r = np.where(sim_varies & obs_varies, np.clip(cross / (np.sqrt(sim2) * np.sqrt(obs2)), -1.0, 1.0), np.nan)
        rmse = np.sqrt(diff2 / count + diff**2)
        nse = np.where(obs_varies, 1.0 - (diff2 + count * diff**2) / obs2, np.nan)
        kge = 1.0 - np.sqrt((r - 1.0) ** 2 + (np.sqrt(sim2 / obs2) - 1.0) ** 2 + (sim / obs - 1.0) ** 2)
        kge = np.where(obs != 0.0, kge, np.nan)
        ubrmse = np.sqrt(diff2 / count)
    real = [r, np.where(some, rmse, np.nan), np.where(some, ubrmse, np.nan), np.where(some, diff, np.nan), nse, kge]
    return (*real, count.astype(np.int64))


def class_moments(simulated: Real, observed: Real, classes: NDArray[np.integer[Any]] | None, number: int) -> Real:
    """Moments of every class along the last axis.

    Parameters
    ----------
    simulated, observed : (..., samples) array
    classes : (samples,) int array or None
        0 to `number` - 1; samples with another value are left out. None: one class of all samples.
    number : int

    Returns
    -------
    (..., number, 12) float64 array
    """
    if classes is None:
        return moments(simulated, observed)[..., None, :]
    members = (np.flatnonzero(classes == k) for k in range(number))
    return np.stack([moments(simulated[..., own], observed[..., own]) for own in members], axis=-2)
