"""Models that read images: samples of daily maps, and predictions on tiles with what lies around them."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from xsoil.errors import ArgumentError
from xsoil.evaluation.splits import Split
from xsoil.grids.geobox import has_grid, spatial_dims
from xsoil.threads import available_cores
from xsoil.verbs._inputs import require_daily
from xsoil.verbs._lazy.halos import Span, map_halos, spans_of
from xsoil.verbs._moisture_inputs import read_predictors, read_target
from xsoil.verbs._moisture_rows import dims_of, laid_out, on_dims, training_mask
from xsoil.verbs._moisture_series import days_held

if TYPE_CHECKING:
    from xsoil.networks.moisture.ensemble import Ensemble
    from xsoil.networks.moisture.inputs import Predictor
    from xsoil.networks.moisture.kind import Samples

__all__ = ["images_of", "predict_images"]

Array = np.ndarray[Any, Any]

# Cells along the side of what an eager prediction brings together at a time, and days.
_TILE, _DAYS = 256, 8


def images_of(
    ds: xr.Dataset,
    predictors: Sequence[Predictor],
    targets: Sequence[str],
    *,
    split: Split,
    validation: float | str | pd.Timedelta,
) -> tuple[Samples, Samples | None]:
    """Maps of the training days, and those of the last ones that are kept for validation.

    Parameters
    ----------
    ds : xr.Dataset
        Daily maps.
    predictors, targets
        As `fit_moisture_model` has read them.
    split : Split
    validation : float, str or Timedelta
        So many days at the end of the training (``"56D"``), or a share of its days.
    """
    from xsoil.networks.moisture.inputs import Inputs
    from xsoil.networks.moisture.kind import Samples

    require_daily(ds, "the samples")
    wanted_targets = [read_target(ds, name)[0] for name in targets]
    dims = _three_dims([array.variable for array in wanted_targets], f"the targets {list(targets)}")
    dims, turned = _north_up(ds, dims)
    flips = tuple(slice(None, None, -1 if dim in turned else 1) for dim in dims)
    sizes = {dim: ds.sizes[dim] for dim in dims}
    y = np.stack([on_dims(a.variable, sizes, n) for n, a in zip(targets, wanted_targets, strict=True)], axis=-1).astype(
        np.float32
    )
    y[~training_mask(ds, dims, split)] = np.nan
    y = y[flips]
    there = np.flatnonzero(np.isfinite(y).reshape(len(y), -1).any(axis=1))
    if not there.size:
        raise ArgumentError(f"no value of {list(targets)} in the training part of {split}; look at masks and nodata")
    days = 1 + int(there[-1])
    x = np.empty((days, *y.shape[1:3], len(predictors)), np.float32)
    for i, (row, array) in enumerate(zip(predictors, read_predictors(ds, Inputs(tuple(predictors))), strict=True)):
        x[..., i] = on_dims(array.variable, sizes, row.name)[flips][:days]
    own = Samples(x, y[:days])
    first = int(there[0])
    kept = days_held(validation, days - first)
    if not kept:
        return own, None
    late = own.y.copy()
    late[: days - kept] = np.nan
    return Samples(x[: days - kept], own.y[: days - kept]), Samples(x, late)


def predict_images(ensemble: Ensemble, ds: xr.Dataset, *, members: bool) -> tuple[Any, tuple[Hashable, ...]]:
    """Predictions on daily maps, and their dims; lazy where the dataset is: see `predict_series`.

    A task reads its block, the cells around it that the network looks at, and the days before. The first days, which
    have no days before, are NaN. Maps are read with north up, rows before columns, however their axes run.
    """
    require_daily(ds, "the predictors")
    arrays = [array.variable for array in read_predictors(ds, ensemble.inputs)]
    dims = _three_dims(arrays, f"the predictors {list(ensemble.inputs.names)}")
    dims, turned = _north_up(ds, dims)
    arrays = [array[{dim: slice(None, None, -1) for dim in turned if dim in array.dims}] for array in arrays]
    back = (slice(None), *(slice(None, None, -1 if dim in turned else 1) for dim in dims))
    first: Any = ensemble.first
    depth = {dims[0]: (first.look_back - 1, 0), dims[1]: (first.halo, first.halo), dims[2]: (first.halo, first.halo)}
    count = len(ensemble.targets.names) * ensemble.rows(members=members)
    if any(array.chunks is not None for array in arrays):
        pairs = [(array.data, array.dims) for array in arrays]
        lazy = map_halos(_block, ensemble, ensemble.token(), pairs, dims, depth, count, members=members)
        return lazy[back], dims
    sizes = {dim: ds.sizes[dim] for dim in dims}
    shape = list(sizes.values())
    own = [laid_out(array, sizes) for array in arrays]
    out = np.empty((count, *shape), np.float32)
    cuts = [
        spans_of([min(most, size - at) for at in range(0, size, most)], depth[dim])
        for dim, size, most in zip(dims, shape, (_DAYS, _TILE, _TILE), strict=True)
    ]
    for spans in itertools.product(*cuts):
        windows = [_window(array, spans) for array in own]
        place = tuple(
            slice(s.first + depth[d][0] - s.before, s.last - depth[d][1] + s.after)
            for d, s in zip(dims, spans, strict=True)
        )
        out[(slice(None), *place)] = _block(ensemble, windows, spans, members=members, workers=available_cores())
    return out[back], dims


def _window(array: Array, spans: Sequence[Span]) -> Array:
    cut = tuple(slice(s.first, s.last) if n > 1 else slice(None) for s, n in zip(spans, array.shape, strict=True))
    missing = [(s.before, s.after) if n > 1 else (0, 0) for s, n in zip(spans, array.shape, strict=True)]
    return np.pad(np.asarray(array[cut], np.float32), missing, constant_values=np.nan)


def _block(
    ensemble: Ensemble, windows: Sequence[Array], spans: Sequence[Span], *, members: bool, workers: int = 1
) -> Array:
    """Predictions (rows of targets, days, rows, columns) of a block from windows around it."""
    shape = [s.before + s.last - s.first + s.after for s in spans]
    x = np.empty((*shape, len(windows)), np.float32)
    for i, values in enumerate(windows):
        x[..., i] = values
    inside = np.zeros(shape[1:], bool)
    place = tuple(slice(s.before, s.before + s.last - s.first) for s in spans[1:])
    inside[place] = True
    # Places beyond the map, of arrays that lack a dim, are no values.
    x[:, ~inside] = np.nan
    found = [member.predict(x, inside=inside, workers=workers) for member in ensemble.members.values()]
    out = ensemble.table(found, members=members)
    out[:, : spans[0].before] = np.nan
    return out


def _three_dims(variables: Sequence[xr.Variable], what: str) -> tuple[Hashable, ...]:
    dims = dims_of(variables)
    if len(dims) != 3 or dims[0] != "time":
        raise ArgumentError(f"{what} are on {[str(d) for d in dims]}; a model of maps needs time and two dims of space")
    return dims


def _north_up(ds: xr.Dataset, dims: tuple[Hashable, ...]) -> tuple[tuple[Hashable, ...], tuple[Hashable, ...]]:
    """Time, rows and columns, and those of them that run the other way (north up, east to the right).

    A kernel tells north from south, so that the order of axes would show in the numbers. Maps whose dims are not known
    as those of space stay as they are.
    """
    if not has_grid(ds) or set(spatial_dims(ds)) != set(dims[1:]):
        return dims, ()
    y, x = spatial_dims(ds)
    turned = []
    for dim, sign in ((y, -1), (x, 1)):
        values = ds.indexes[dim].to_numpy() if dim in ds.indexes else np.zeros(1)
        # Most steps tell: a global longitude axis may have one jump back.
        if values.size > 1 and values.dtype.kind in "fiu" and np.median(np.diff(values.astype(np.float64))) * sign < 0:
            turned.append(dim)
    return (dims[0], y, x), tuple(turned)
