"""Is the spread that a model tells right? Continuous ranked probability score, coverage of intervals."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError, AxisError
from xsoil.evaluation._paired import aligned, over_dims

__all__ = ["crps_ensemble", "crps_gaussian", "interval_coverage"]

Dims = Hashable | Sequence[Hashable] | None


def crps_gaussian(observed: xr.DataArray, mean: xr.DataArray, std: xr.DataArray, *, dims: Dims = None) -> xr.DataArray:
    r"""Continuous ranked probability score of normal distributions, in closed form.

    .. math:: CRPS = \sigma \left( z (2 \Phi(z) - 1) + 2 \varphi(z) - \pi^{-1/2} \right),\quad z = (o - \mu) / \sigma

    (Gneiting and Raftery 2007, eq. 21). 0 is perfect; of a sure value it is the absolute error.

    Parameters
    ----------
    observed, mean, std : xr.DataArray
        In one unit, on dims that are the same or broadcast; NaN in one of them is NaN in the result.
    dims : str or sequence of str, optional
        Dims of which the mean is taken, over what is not NaN; none by default.

    Returns
    -------
    xr.DataArray
        In the units of `observed`; lazy where an input is. NaN where the standard deviation is negative.

    Raises
    ------
    GridMismatchError, UnitsError, AxisError
        Other coordinates or units; no such dim.

    References
    ----------
    .. [1] Gneiting and Raftery (2007), J. Am. Stat. Assoc. 102, 359-378, doi:10.1198/016214506000001437.
    """
    observed, mean, std = aligned({"observed": observed, "mean": mean, "std": std})
    score = xr.apply_ufunc(_gaussian, observed, mean, std, dask="parallelized", output_dtypes=[float])
    return _reduced(score, observed, dims, "continuous ranked probability score")


def _gaussian(observed: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    from scipy.special import ndtr

    error = observed - mean.astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = error / std
        density = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
        score = std * (z * (2.0 * ndtr(z) - 1.0) + 2.0 * density - 1.0 / np.sqrt(np.pi))
    out: np.ndarray = np.where(std == 0, np.abs(error), np.where(std > 0, score, np.nan))
    return out


def crps_ensemble(
    observed: xr.DataArray,
    members: xr.DataArray,
    *,
    member_dim: Hashable = "member",
    dims: Dims = None,
    fair: bool = False,
) -> xr.DataArray:
    """Continuous ranked probability score of an ensemble, by `scores`.

    Parameters
    ----------
    observed, members : xr.DataArray
        In one unit; `members` has `member_dim` beside the dims of `observed`.
    member_dim : str
    dims : str or sequence of str, optional
        Dims of which the mean is taken; none by default.
    fair : bool
        As of an ensemble of infinitely many members (Ferro 2014), else of the distribution of these.

    Returns
    -------
    xr.DataArray
        In the units of `observed`.

    Raises
    ------
    GridMismatchError, UnitsError, AxisError
        Other coordinates or units; no such dim.
    """
    from scores.probability import crps_for_ensemble

    if member_dim not in members.dims:
        raise AxisError(f"members has no dim {member_dim!r} among {[str(d) for d in members.dims]}; member_dim=...")
    observed, members = aligned({"observed": observed, "members": members})
    score = crps_for_ensemble(members, observed, member_dim, method="fair" if fair else "ecdf", preserve_dims="all")
    return _reduced(score, observed, dims, "continuous ranked probability score")


def interval_coverage(
    observed: xr.DataArray,
    mean: xr.DataArray | None = None,
    std: xr.DataArray | None = None,
    *,
    members: xr.DataArray | None = None,
    member_dim: Hashable = "member",
    levels: float | Sequence[float] = (0.5, 0.8, 0.9, 0.95),
    dims: Dims = None,
) -> xr.Dataset:
    """How often central intervals hold the observation, and how wide they are.

    Parameters
    ----------
    observed : xr.DataArray
    mean, std : xr.DataArray, optional
        Of normal distributions.
    members : xr.DataArray, optional
        An ensemble instead, of which the intervals are quantiles; few members cannot reach high levels.
    member_dim : str
    levels : float or sequence of float
        Of the intervals, above 0 and below 1: what `coverage` should be.
    dims : str or sequence of str, optional
        Dims that are counted over; all by default.

    Returns
    -------
    xr.Dataset
        `coverage` [1], mean `width` in the units of `observed`, and `n`, the pairs, on `level` and the dims left.

    Raises
    ------
    ArgumentError
        Neither or both kinds of distribution, or levels out of range.
    GridMismatchError, UnitsError, AxisError
        Other coordinates or units; no such dim.
    """
    if (members is None) == (mean is None) or (mean is None) != (std is None):
        raise ArgumentError("give mean and std, or members")
    wanted = np.atleast_1d(np.asarray(levels, float))
    if not ((wanted > 0) & (wanted < 1)).all():
        raise ArgumentError(f"levels={levels!r}; expected shares above 0 and below 1, such as 0.9")
    level = xr.DataArray(wanted, dims="level", coords={"level": wanted}, attrs={"units": "1"})
    if members is not None:
        if member_dim not in members.dims:
            raise AxisError(f"members has no dim {member_dim!r} among {[str(d) for d in members.dims]}; member_dim=...")
        observed, members = aligned({"observed": observed, "members": members})
        whole = members.chunk({member_dim: -1}) if members.chunks is not None else members
        ends = [whole.quantile(share, [member_dim], skipna=False).rename(quantile="level").assign_coords(level=wanted)
                for share in ((1 - wanted) / 2, (1 + wanted) / 2)]  # fmt: skip
        low, high = ends
    else:
        from scipy.special import ndtri

        observed, centre, spread = aligned({"observed": observed, "mean": mean, "std": std})
        reach = spread.where(spread >= 0) * level.copy(data=ndtri((1 + wanted) / 2))
        low, high = centre - reach, centre + reach
    there = (observed.notnull() & low.notnull() & high.notnull()).transpose("level", ...)
    inside = ((observed >= low) & (observed <= high)).transpose("level", ...)
    over = over_dims(dims, [d for d in there.dims if d != "level"])
    n = there.sum(over)
    out = xr.Dataset(
        {"coverage": inside.where(there).mean(over), "width": (high - low).where(there).mean(over), "n": n}
    )
    out = out.assign_coords(level=level)
    units = observed.attrs.get("units")
    out.coverage.attrs = {"long_name": "share of observations inside the interval", "units": "1"}
    out.width.attrs = {"long_name": "mean width of the interval"} | ({"units": units} if units else {})
    out.n.attrs = {"long_name": "number of pairs", "units": "1"}
    return out


def _reduced(score: xr.DataArray, observed: xr.DataArray, dims: Dims, long_name: str) -> xr.DataArray:
    out = score if dims is None else score.mean(over_dims(dims, list(score.dims)))
    units: dict[str, Any] = {k: v for k, v in observed.attrs.items() if k == "units"}
    return out.rename("crps").assign_attrs({"long_name": long_name} | units)
