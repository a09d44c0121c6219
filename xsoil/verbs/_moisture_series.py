"""Models that read series: samples of cells and days, and predictions that carry the model's state through time."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from xsoil.errors import ArgumentError
from xsoil.evaluation.splits import Split
from xsoil.verbs._inputs import require_daily
from xsoil.verbs._lazy import Named, scan_time
from xsoil.verbs._moisture_inputs import read_predictors, read_target
from xsoil.verbs._moisture_rows import dims_of, on_dims, training_mask

if TYPE_CHECKING:
    from xsoil.networks.moisture.ensemble import Ensemble
    from xsoil.networks.moisture.inputs import Predictor
    from xsoil.networks.moisture.kind import Samples

__all__ = ["days_held", "predict_series", "series_of"]

Array = np.ndarray[Any, Any]

# Values of the predictors (cells x days x predictors) that are brought together at a time.
_TOGETHER = 2**24


def series_of(
    ds: xr.Dataset,
    predictors: Sequence[Predictor],
    targets: Sequence[str],
    *,
    split: Split,
    validation: float | str | pd.Timedelta,
    seed: int,
) -> tuple[Samples, Samples | None]:
    """Series of the training cells, from the first day to the last one of the training, and those of the validation.

    Days before those of the training have no targets, and so only spin the model up.

    Parameters
    ----------
    ds : xr.Dataset
        With daily times.
    predictors, targets
        As `fit_moisture_model` has read them.
    split : Split
    validation : float, str or Timedelta
        A share of the training cells; or so many days at the end of the training (``"56D"``), in all of them.
    seed : int

    Raises
    ------
    TimeError, MissingVariableError, UnitsError, GridMismatchError, ArgumentError
        Times that are not daily, faulty variables, or nothing to learn from.
    """
    from xsoil.networks.moisture.inputs import Inputs
    from xsoil.networks.moisture.kind import Samples

    require_daily(ds, "the samples")
    wanted_targets = [read_target(ds, name)[0] for name in targets]
    dims = dims_of([array.variable for array in wanted_targets])
    sizes = {dim: ds.sizes[dim] for dim in dims}
    if "time" not in dims:
        raise ArgumentError(
            f"the targets {list(targets)} have no time; a model of series needs one, or take another kind"
        )
    wanted = _flat(xr.Variable(dims, training_mask(ds, dims, split)), sizes, "split")
    y = np.stack([_flat(a.variable, sizes, n) for n, a in zip(targets, wanted_targets, strict=True)], axis=-1).astype(
        np.float32
    )
    y[~wanted] = np.nan
    there: Array = np.asarray(np.isfinite(y).any(axis=-1))
    if not there.any():
        raise ArgumentError(f"no value of {list(targets)} in the training part of {split}; look at masks and nodata")
    cells, days = np.flatnonzero(there.any(axis=1)), 1 + int(np.flatnonzero(there.any(axis=0))[-1])
    y = y[cells, :days]
    x = np.empty((*y.shape[:2], len(predictors)), np.float32)
    arrays = read_predictors(ds, Inputs(tuple(predictors)))
    if not any("time" in array.dims for array in arrays):
        names = [row.name for row in predictors]
        raise ArgumentError(f"none of the predictors {names} has a time; expected one at least, or take another kind")
    for i, (row, array) in enumerate(zip(predictors, arrays, strict=True)):
        x[..., i] = _flat(array.variable, sizes, row.name)[cells, :days]
    if isinstance(validation, (str, pd.Timedelta)):
        last = days_held(validation, days)
        early, late = y.copy(), y.copy()
        early[:, days - last :], late[:, : days - last] = np.nan, np.nan
        return _with_targets(Samples(x[:, : days - last], early[:, : days - last])), _with_targets(Samples(x, late))
    if isinstance(validation, bool) or not isinstance(validation, (int, float)) or not 0 <= validation < 1:
        raise ArgumentError(f"validation={validation!r}; expected a share of the cells, below 1, or days as in '56D'")
    held = np.zeros(len(cells), bool)
    if validation > 0 and len(cells) > 1:
        rng = np.random.default_rng([seed, 20230317])
        held[rng.permutation(len(cells))[: min(max(1, round(validation * len(cells))), len(cells) - 1)]] = True
    own = Samples(x, y)
    return own.take(np.flatnonzero(~held)), own.take(np.flatnonzero(held)) if held.any() else None


def _with_targets(samples: Samples) -> Samples:
    found = np.flatnonzero(np.asarray(np.isfinite(samples.y).any(axis=(1, 2))))
    if not found.size:
        raise ArgumentError(
            "no target before, or within, the last days that are kept for validation; take fewer, or more"
        )
    return samples.take(found)


def _flat(variable: xr.Variable, sizes: Mapping[Hashable, int], name: str) -> Array:
    """Values on all dims (time first) as (cells, days)."""
    return on_dims(variable, sizes, name).reshape(sizes["time"], -1).T


def days_held(validation: float | str | pd.Timedelta, days: int) -> int:
    """Days at the end of `days` that are kept for validation.

    Raises
    ------
    ArgumentError
        None would be left, or it is neither a share nor a time.
    """
    share = isinstance(validation, (int, float)) and not isinstance(validation, bool)
    try:
        kept = round(float(validation) * days) if share else int(pd.Timedelta(validation) / pd.Timedelta("1D"))
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"validation={validation!r}; expected a share, or days as in '56D'") from error
    if not 0 <= kept < days or (not share and not kept):
        raise ArgumentError(f"validation={validation!r} of {days} days of training; expected less, and a day at least")
    return kept


def predict_series(ensemble: Ensemble, ds: xr.Dataset, *, members: bool) -> tuple[Any, tuple[Hashable, ...]]:
    """Predictions where the dataset has predictors, and their dims; lazy where it is.

    Time goes from block to block as it is chunked, the state of the model with it.

    Returns
    -------
    array (targets x (1 + std + members), time, *cells)
        Of each target the mean, the standard deviation where there is one, the members where asked for.
    dims : tuple
        Behind the first one.
    """
    require_daily(ds, "the predictors")
    arrays = [array.variable for array in read_predictors(ds, ensemble.inputs)]
    dims = dims_of(arrays)
    if "time" not in dims:
        names = list(ensemble.inputs.names)
        raise ArgumentError(f"none of the predictors {names} has a time; expected those of the training, with theirs")
    token = ensemble.token() if any(array.chunks is not None for array in arrays) else ""
    step = _Step(tuple("time" in array.dims for array in arrays), members)
    cells = tuple(dim for dim in dims if dim != "time")
    first = ensemble.first
    count = len(ensemble.targets.names) * ensemble.rows(members=members)
    values, _ = scan_time(
        step,
        [Named(array.data, array.dims) for array in arrays if "time" in array.dims],
        [Named(array.data, array.dims) for array in arrays if "time" not in array.dims],
        cells,
        outputs={"predicted": np.dtype((np.float32, (count,)))},
        states={"state": np.dtype((np.float32, (len(ensemble.members), *first.state_shape)))},
        model=(ensemble, token),
    )
    return np.moveaxis(values[0], 1, 0), dims


@dataclass(frozen=True)
class _Step:
    """One block of days and cells, for `scan_time`.

    Attributes
    ----------
    timed : tuple of bool
        Which predictors are series.
    members : bool
    """

    timed: tuple[bool, ...]
    members: bool

    def __call__(
        self,
        ensemble: Ensemble,
        series: Sequence[Array],
        maps: Sequence[Array],
        state: tuple[Array, ...] | None,
        *,
        skip: int,
        workers: int,
    ) -> tuple[Sequence[Array], tuple[Array, ...]]:
        days = len(series[0])
        rest, flat = iter(series), iter(maps)
        inputs = [next(rest) if timed else next(flat)[None] for timed in self.timed]
        shape = np.broadcast_shapes(*(array.shape[1:] for array in inputs))
        cells, own = math.prod(shape), ensemble.first.state_shape
        inputs = [np.broadcast_to(array, (len(array), *shape)) for array in inputs]
        before = None if state is None else np.moveaxis(state[0].reshape(*state[0].shape[: 1 + len(own)], cells), -1, 1)
        after = np.empty((len(ensemble.members), cells, *own), np.float32)
        out = np.empty((days, len(ensemble.targets.names) * ensemble.rows(members=self.members), cells), np.float32)
        size = max(_TOGETHER // max(days * len(inputs), 1), 1)
        for start in range(0, cells, size):
            part = slice(start, min(start + size, cells))
            places: tuple[Any, ...] = np.unravel_index(np.arange(part.start, part.stop), shape) if shape else ()
            block = np.empty((part.stop - part.start, days, len(inputs)), np.float32)
            for i, array in enumerate(inputs):
                block[..., i] = array[(slice(None), *places)].reshape(len(array), -1).T
            found = []
            for number, member in enumerate(ensemble.members.values()):
                own_state = None if before is None else before[number, part]
                found.append(member.predict(block, state=own_state, workers=workers))
                after[number, part] = found[-1].pop("state")
            table = ensemble.table(found, members=self.members)  # (rows, cells, days)
            out[..., part] = table.transpose(2, 0, 1)
        ends = np.moveaxis(after, 1, -1).reshape(len(after), *own, *shape)
        return [out.reshape(*out.shape[:2], *shape)[skip:]], (ends,)
