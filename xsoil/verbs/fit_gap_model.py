"""`fit_gap_model`: a network that fills gaps, trained on days that are removed on purpose."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError
from xsoil.evaluation._masks import checked_seed
from xsoil.evaluation.splits import Split
from xsoil.verbs._gap_model import GapModel, read_beside
from xsoil.verbs._inputs import as_dataset, require_same_grid
from xsoil.verbs._time_series import PER_DAY, chosen, microseconds, series_of
from xsoil.verbs._training import require_torch

__all__ = ["fit_gap_model"]

FEWEST = 10
"""Observations of a series that is trained on."""
MOST = 2_000
"""Series that are trained on, drawn at random where there are more."""


def fit_gap_model(
    ds: xr.Dataset | xr.DataArray,
    *,
    variable: str | None = None,
    predictors: str | Sequence[str] = (),
    split: Split | None = None,
    validation: float = 0.15,
    smoothing: bool = True,
    latent: int = 4,
    basis: int = 5,
    hidden: int = 16,
    window: int = 100,
    batch: int = 32,
    epochs: int = 10,
    steps: int = 20,
    learning_rate: float = 1e-2,
    removed: float = 0.3,
    longest: int = 30,
    seed: int = 0,
    progress: bool = False,
) -> GapModel:
    """Train Continuous Recurrent Units to fill gaps, for `fill_gaps(method="cru", model=...)`.

    The units are those of [1]_.

    A linear stochastic differential equation carries a latent state from time to time; an encoder turns an observation
    into a latent one with its variance, which updates the state as a Kalman filter does; a decoder gives mean and
    variance of the series at any time. Observations are removed from windows of the series, single ones and whole gaps,
    and the likelihood of what was removed is maximised. Series are centred and scaled by their own observations.

    Parameters
    ----------
    ds : xr.Dataset or named xr.DataArray
        Series on `time` and any other dims, with gaps as in `fill_gaps`. Lazy data are computed: choose some cells
        where there are many.
    variable : str, optional
        `soil_moisture` by default, else `theta`, else the only variable with time.
    predictors : str or sequence of str
        Variables on the same times that are known where the series is not, such as `precipitation`; their gaps
        (NaN, infinite) are read as their mean. They push the state (not in the paper).
    split : Split, optional
        Train on its training cells and times only.
    validation : float
        Share of the training series on which the best epoch is chosen; 0 trains on all.
    smoothing : bool
        Look at the observations after a gap, too (a backward pass); without, the filter of the paper, for use in real
        time.
    latent, basis, hidden : int
        Sizes: of a latent observation (the state has twice as many numbers), number of transition matrices, units of
        the hidden layers.
    window, batch, epochs, steps, learning_rate
        Times of a sample, samples of a step, epochs and their steps, learning rate of Adam at the start.
    removed, longest
        Share of the observations that is removed, times of the longest gap that is made.
    seed : int
        The same seed gives the same bits.
    progress : bool
        Show a bar.

    Returns
    -------
    GapModel
        With `.history`, `.save(path)`; `xsoil.load_model` reads it.

    Raises
    ------
    MissingVariableError, UnitsError, TimeError, GridMismatchError
        As `fill_gaps`.
    ArgumentError
        Fewer than two series with 10 observations, none that varies, a predictor without values, or options out of
        range.

    References
    ----------
    .. [1] Schirmer et al. (2022), Proc. Mach. Learn. Res. 162, 19388-19405.
    """
    require_torch()
    from xsoil.networks.moisture.gap_filler import GapFiller, GapOptions

    options = GapOptions(
        latent, basis, hidden, smoothing, window, batch, epochs, steps, learning_rate, removed, longest
    )
    if isinstance(validation, bool) or not isinstance(validation, (int, float)) or not 0 <= validation < 1:
        raise ArgumentError(f"validation={validation!r}; expected a share of at least 0 and below 1")
    seed = checked_seed(seed)
    ds = as_dataset(ds)
    name = chosen(ds, variable)
    series, units = series_of(ds, name)
    names = [predictors] if isinstance(predictors, str) else list(predictors)
    if name in names:
        raise ArgumentError(f"{name!r} is to be filled, and among the predictors {names}; expected other predictors")
    beside = {predictor: read_beside(ds, name, chosen(ds, predictor)) for predictor in names}
    times = microseconds(ds.indexes.get("time"), name)
    days = times / PER_DAY
    dims = tuple(dim for dim in series.dims if dim != "time")
    part = np.ones(tuple(series.sizes[d] for d in dims), bool)
    if split is not None:
        cells = split.cells_of("train")
        if cells is not None:
            require_same_grid(ds, cells, "split")
            part &= cells.broadcast_like(series.isel(time=0, drop=True)).transpose(*dims).to_numpy()
        inside = split.days_of("train", ds.indexes["time"])
        series = series.isel(time=inside)
        beside = {predictor: (array.isel(time=inside), theirs) for predictor, (array, theirs) in beside.items()}
        days = days[inside]
    if len(days) < 5:
        raise ArgumentError(f"{len(days)} times; a training needs 5 or more")
    values = series.transpose(..., "time").to_numpy().reshape(-1, len(days))
    able = np.flatnonzero(part.ravel() & (np.isfinite(values).sum(axis=1) >= FEWEST))
    if able.size < 2:
        raise ArgumentError(f"{able.size} series of {name!r} have {FEWEST} observations; a training needs two or more")
    draw = np.random.default_rng([seed, 0])
    rows = np.sort(draw.permutation(able)[:MOST])
    kept = np.zeros(rows.size, bool)
    kept[draw.permutation(rows.size)[: min(round(validation * rows.size), rows.size - 1)]] = True
    controls = None
    if beside:
        # One predictor after the other, so that only the series that are trained on are held of all.
        table = []
        for predictor, (array, _) in beside.items():
            one = array.broadcast_like(series).transpose(*dims, "time").to_numpy().reshape(-1, len(days))[rows]
            one = np.where(np.isfinite(one), one, np.nan)
            if np.isnan(one[~kept]).all():
                raise ArgumentError(f"predictor {predictor!r} has no value in the series of the training; leave it out")
            table.append(one)
        controls = np.stack(table, axis=-1)
    filler = GapFiller.fit(
        values[rows], days - days[0], controls, validation=kept, options=options, seed=seed, progress=progress
    )
    return GapModel(name, units, {predictor: theirs for predictor, (_, theirs) in beside.items()}, seed, filler)
