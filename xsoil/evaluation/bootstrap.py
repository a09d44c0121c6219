"""Is one model better than another? Resampling of the sites that both were scored at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError, GridMismatchError, UnitsError, UnknownNameError
from xsoil.evaluation._masks import checked_seed
from xsoil.vocabulary import canonical_units

__all__ = ["paired_bootstrap"]

STATISTICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "median": lambda scores: np.median(scores, axis=-1),
    "mean": lambda scores: np.mean(scores, axis=-1),
}
BATCH = 2**22
"""Numbers drawn at a time."""


def paired_bootstrap(
    a: xr.DataArray | np.ndarray,
    b: xr.DataArray | np.ndarray,
    *,
    statistic: Literal["median", "mean"] | Callable[[np.ndarray], np.ndarray] = "median",
    of: Literal["scores", "differences"] = "scores",
    n: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> xr.Dataset:
    """Compare the scores of two models at the same sites by a paired bootstrap over the sites.

    Sites are drawn with replacement, each with both of its scores, so that what makes a site hard for both models does
    not count as a difference between them [1]_.

    Parameters
    ----------
    a, b : array
        A score of each site (RMSE, r ...) by either model, on the same sites; a site that is NaN in one is left out of
        both. DataArrays must have the same coordinates. All dims are sites.
    statistic : {"median", "mean"} or callable
        What stands for all sites. A callable takes (resamples, sites) and returns (resamples,).
    of : {"scores", "differences"}
        The difference of the statistics of both ("the median falls by"), or the statistic of the differences of the
        sites ("a typical site gains").
    n : int
        Resamples.
    level : float
        Of the interval, e.g. 0.95.
    seed : int
        The same seed gives the same bits.

    Returns
    -------
    xr.Dataset
        `a`, `b` (the statistic of either), `difference` (a - b), its interval `low` and `high` (percentiles of the
        resamples), `p_value` (two-sided: twice the smaller share of resamples on one side of 0, at least 1 / (n + 1)),
        `share_lower` (of resamples whose difference is below 0: how often a is lower), `sites` (how many counted).

    Raises
    ------
    ArgumentError
        Scores that are no numbers, fewer than two common sites, or arguments out of range.
    GridMismatchError, UnitsError
        Scores of other sites; in other units.

    References
    ----------
    .. [1] Efron and Tibshirani (1993), An Introduction to the Bootstrap, Chapman & Hall, chapters 8 and 13.

    Examples
    --------
    >>> import numpy as np
    >>> hard = np.random.default_rng(0).uniform(0.02, 0.06, 100)
    >>> found = paired_bootstrap(hard - 0.001, hard)
    >>> float(found.difference.round(4)), bool(found.high < 0)
    (-0.001, True)
    """
    one, two = _pairs(a, b)
    if isinstance(statistic, str) and statistic not in STATISTICS:
        raise UnknownNameError.of("statistic", statistic, STATISTICS)
    if not isinstance(statistic, str) and not callable(statistic):
        raise ArgumentError(f"statistic={statistic!r}; expected one of {sorted(STATISTICS)} or a function")
    if of not in ("scores", "differences"):
        raise ArgumentError(f"of={of!r}; expected 'scores' or 'differences'")
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 100:
        raise ArgumentError(f"n={n!r}; expected a whole number of resamples, at least 100")
    seed = checked_seed(seed)
    if not 0 < level < 1:
        raise ArgumentError(f"level={level!r}; expected a share above 0 and below 1, such as 0.95")
    take = STATISTICS[statistic] if isinstance(statistic, str) else statistic
    n = int(n)

    def difference(sites: np.ndarray) -> np.ndarray:
        if of == "differences":
            return np.asarray(take(one[sites] - two[sites]))
        return np.asarray(take(one[sites]) - take(two[sites]))

    everywhere = np.arange(one.size)[None]
    found = difference(everywhere)
    if found.shape != (1,):
        raise ArgumentError(
            f"statistic gave the shape {found.shape} for one resample; expected (1,): reduce the last axis"
        )
    draw = np.random.default_rng(int(seed))
    resampled = np.empty(n)
    step = max(1, BATCH // one.size)
    for first in range(0, n, step):
        last = min(first + step, n)
        resampled[first:last] = difference(draw.integers(one.size, size=(last - first, one.size)))
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    tail = min(int((resampled <= 0).sum()), int((resampled >= 0).sum()))
    name = statistic if isinstance(statistic, str) else getattr(statistic, "__name__", "statistic")
    values: dict[str, tuple[Any, str]] = {
        "a": (take(one[everywhere])[0], f"{name} of the scores of a"),
        "b": (take(two[everywhere])[0], f"{name} of the scores of b"),
        "difference": (found[0], f"a - b, {name} of the {of}"),
        "low": (low, f"lower end of the {level:g} interval of the difference"),
        "high": (high, f"upper end of the {level:g} interval of the difference"),
        "p_value": (min(1.0, 2 * (tail + 1) / (n + 1)), "two-sided p value of no difference"),
        "share_lower": ((resampled < 0).mean(), "share of resamples in which a is lower"),
        "sites": (one.size, "sites with both scores"),
    }
    units = _units(a, b)
    out = xr.Dataset(attrs={"statistic": name, "of": of, "resamples": n, "seed": int(seed), "level": level})
    for key, (value, long_name) in values.items():
        own = {"units": "1"} if key in ("p_value", "share_lower", "sites") else units
        out[key] = ((), np.asarray(value), {"long_name": long_name} | own)
    return out


def _pairs(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    """Finite scores of the same sites."""
    if isinstance(a, xr.DataArray) and isinstance(b, xr.DataArray):
        if set(a.dims) != set(b.dims):
            raise GridMismatchError(f"a is on {[str(d) for d in a.dims]}, b on {[str(d) for d in b.dims]}")
        try:
            a, b = xr.align(a, b.transpose(*a.dims), join="exact", copy=False)
        except ValueError as error:
            raise GridMismatchError(f"a and b are not of the same sites: {error}; use xr.align(a, b)") from error
        stated = [str(x.attrs["units"]) for x in (a, b) if "units" in x.attrs]
        if len({canonical_units(text) for text in stated}) > 1:
            raise UnitsError(f"a is in {stated[0]!r}, b in {stated[1]!r}; convert one of them")
    one, two = np.asarray(a), np.asarray(b)
    for scores, what in ((one, "a"), (two, "b")):
        if scores.dtype.kind not in "fiu":
            raise ArgumentError(f"{what} is {scores.dtype}; expected a score of each site")
    if one.shape != two.shape:
        raise GridMismatchError(f"a has the shape {one.shape}, b {two.shape}; expected the same sites in one order")
    one, two = one.ravel().astype(float), two.ravel().astype(float)
    both = np.isfinite(one) & np.isfinite(two)
    if both.sum() < 2:
        raise ArgumentError(f"{int(both.sum())} sites have both scores; expected two or more")
    return one[both], two[both]


def _units(a: Any, b: Any) -> dict[str, str]:
    found = {str(x.attrs["units"]) for x in (a, b) if isinstance(x, xr.DataArray) and "units" in x.attrs}
    return {"units": found.pop()} if len(found) == 1 else {}
