"""Models that read rows: samples out of a dataset of any dims, and predictions on blocks of any dims."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError, GridMismatchError
from xsoil.evaluation.splits import Split
from xsoil.threads import available_cores, in_bands
from xsoil.verbs._inputs import require_same_grid
from xsoil.verbs._lazy.model import map_model
from xsoil.verbs._moisture_inputs import is_categorical, read_class, read_predictors, read_target, require_there

if TYPE_CHECKING:
    from xsoil.networks.moisture.ensemble import Ensemble
    from xsoil.networks.moisture.inputs import Predictor

__all__ = ["Rows", "dims_of", "laid_out", "on_dims", "predict_rows", "rows_of", "training_mask"]

Array = np.ndarray[Any, Any]

# Cells whose predictors are brought together at a time: they stay in the cache.
_TOGETHER = 16384
# Arrays that numpy iterates over together, at the most.
_OPERANDS = 30
# Fewer training cells with a target than this: validation rows are drawn one by one.
_FEW_CELLS = 8


@dataclass(frozen=True)
class Rows:
    """The rows of a training that have a target.

    Attributes
    ----------
    x : (n, p) array of float32
        Raw predictors.
    y : (n, t) array of float32
    held : (n,) array of bool
        Kept for validation.
    strata : mapping of str to ((n,) array, bool)
        Variables that members are weighted by, and whether they are continuous.
    """

    x: Array
    y: Array
    held: Array
    strata: Mapping[str, tuple[Array, bool]]


def rows_of(
    ds: xr.Dataset,
    predictors: Sequence[Predictor],
    targets: Sequence[str],
    *,
    strata: Sequence[str],
    categorical: Sequence[str],
    split: Split,
    validation: float,
    seed: int,
) -> Rows:
    """Read the training rows, one variable at a time.

    Raises
    ------
    MissingVariableError, UnitsError, GridMismatchError, ArgumentError
        Variables that are not there, without units or on other dims than the targets; no row to learn from.
    """
    from xsoil.networks.moisture.inputs import Inputs

    read = [read_target(ds, name)[0] for name in targets]
    dims = dims_of([array.variable for array in read])
    sizes = {dim: ds.sizes[dim] for dim in dims}
    shape = tuple(sizes.values())
    values = [on_dims(array.variable, sizes, name) for name, array in zip(targets, read, strict=True)]
    wanted = training_mask(ds, dims, split)
    there = wanted & np.logical_or.reduce([np.isfinite(value) for value in values])
    if not there.any():
        raise ArgumentError(f"no value of {list(targets)} in the training part of {split}; look at masks and nodata")
    y = np.stack([value[there] for value in values], axis=-1).astype(np.float32)
    x = np.empty((len(y), len(predictors)), np.float32)
    for i, (row, array) in enumerate(zip(predictors, read_predictors(ds, Inputs(tuple(predictors))), strict=True)):
        x[:, i] = on_dims(array.variable, sizes, row.name)[there]
    groups = {}
    for name in strata:
        require_there(ds, name)
        continuous = not is_categorical(ds[name], categorical)
        variable = read_class(ds, name).variable
        groups[name] = (on_dims(variable, sizes, name)[there].astype(np.float64), continuous)
    apart = [size if dim != "time" else 1 for dim, size in sizes.items()]
    cells = np.broadcast_to(np.arange(math.prod(apart)).reshape(apart), shape)[there]
    return Rows(x, y, _held(cells, validation, seed), groups)


def training_mask(ds: xr.Dataset, dims: tuple[Hashable, ...], split: Split) -> Array:
    """Where the training cells and times of a split are, on these dims."""
    sizes = {dim: ds.sizes[dim] for dim in dims}
    wanted = np.ones(tuple(sizes.values()), bool)
    cells = split.cells_of("train")
    if cells is not None:
        if foreign := [str(dim) for dim in cells.dims if dim not in dims]:
            raise GridMismatchError(f"the split is of cells on {foreign}, the samples are on {[str(d) for d in dims]}")
        require_same_grid(ds, cells, "split")
        wanted &= on_dims(cells.variable, sizes, "split")
    if split.train_times is not None:
        if "time" not in dims:
            raise ArgumentError(f"{split} is one of times, and the samples have no time")
        wanted &= on_dims(xr.Variable("time", split.days_of("train", ds.indexes["time"])), sizes, "split")
    return wanted


def _held(cells: Array, share: float, seed: int) -> Array:
    """Validation rows: those of whole cells, or single ones where there are few cells."""
    if share == 0:
        return np.zeros(cells.size, bool)
    rng = np.random.default_rng([seed, 20250115])
    groups = np.unique(cells)
    if groups.size >= _FEW_CELLS:
        number = max(1, round(share * groups.size))
        return np.isin(cells, rng.permutation(groups)[:number])
    held = np.zeros(cells.size, bool)
    held[rng.permutation(cells.size)[: max(1, round(share * cells.size))]] = cells.size > 1
    return held


def dims_of(variables: Sequence[xr.Variable]) -> tuple[Hashable, ...]:
    """All dims: time first, then as the variable with most of them has them."""
    most = max(variables, key=lambda variable: variable.ndim)
    found = dict.fromkeys((*most.dims, *(dim for variable in variables for dim in variable.dims)))
    missing = [dim for dim in found if dim not in most.dims]
    ordered = [*missing, *most.dims]  # what only others have goes in front, so that spatial dims stay last
    return tuple(sorted(ordered, key=lambda dim: dim != "time"))


def on_dims(variable: xr.Variable, sizes: Mapping[Hashable, int], name: str) -> Array:
    """Values on all of these dims, without a copy."""
    if foreign := [str(dim) for dim in variable.dims if dim not in sizes]:
        raise GridMismatchError(
            f"{name!r} is on {foreign} too; expected dims of the targets, {[str(d) for d in sizes]}, or some of them"
        )
    return np.broadcast_to(laid_out(variable, sizes), tuple(sizes.values()))


def laid_out(variable: xr.Variable, sizes: Mapping[Hashable, int]) -> Array:
    """Values in the order of these dims, of length 1 along those that they lack."""
    own = variable.transpose(*(dim for dim in sizes if dim in variable.dims)).to_numpy()
    return own.reshape([size if dim in variable.dims else 1 for dim, size in sizes.items()])


def predict_rows(ensemble: Ensemble, ds: xr.Dataset, *, members: bool) -> tuple[Any, tuple[Hashable, ...]]:
    """Predictions (outputs, *dims) where the dataset has predictors, and their dims; lazy where it is."""
    arrays = [array.variable for array in read_predictors(ds, ensemble.inputs)]
    dims = dims_of(arrays)
    if any(array.chunks is not None for array in arrays):
        pairs = [(array.data, array.dims) for array in arrays]
        count = ensemble.rows(members=members)
        return map_model(apply, ensemble, ensemble.token(), pairs, dims, count, members=members), dims
    spread = [laid_out(array, {dim: ds.sizes[dim] for dim in dims}) for array in arrays]
    return apply(ensemble, *spread, members=members, threads=available_cores()), dims


def apply(ensemble: Ensemble, *arrays: Array, members: bool = False, threads: int = 1) -> Array:
    """Predict cells of any shape.

    Parameters
    ----------
    ensemble : Ensemble
    *arrays : array
        Raw predictors that can be broadcast against each other.
    members : bool
        Also every member's mean.
    threads : int
        Bands of the longest dim are worked on by so many.

    Returns
    -------
    (1 to 2 + members, ...) array of float32
        Mean, where there is one the standard deviation, members.
    """
    shape = np.broadcast_shapes(*(array.shape for array in arrays))
    out = np.empty((ensemble.rows(members=members), *shape), np.float32)
    if not out.size:
        return out
    axis = int(np.argmax(shape)) if shape else 0
    length = shape[axis] if shape else 1

    def work(first: int, last: int) -> None:
        band = (slice(None),) * axis + (slice(first, last),)
        parts = [array[band] if array.ndim and array.shape[axis] > 1 else array for array in arrays]
        place = out[(slice(None), *band)] if shape else out
        place[...] = _apply(ensemble, parts, place.shape, members)

    in_bands(work, length, threads, smallest=max(1, _TOGETHER * length // max(math.prod(shape), 1)))
    return out


def _apply(ensemble: Ensemble, arrays: Sequence[Array], shape: tuple[int, ...], members: bool) -> Array:
    cells = math.prod(shape[1:])
    out = np.empty((shape[0], cells), np.float32)
    block = np.empty((len(arrays), min(_TOGETHER, cells)), np.float32)
    spread = [np.broadcast_to(array, shape[1:]) for array in arrays]
    iterators = [
        np.nditer(
            spread[i : i + _OPERANDS], flags=["external_loop", "buffered"], order="C", casting="same_kind",
            op_dtypes=[np.float32] * len(spread[i : i + _OPERANDS]), buffersize=_TOGETHER,
        )
        for i in range(0, len(spread), _OPERANDS)
    ]  # fmt: skip
    first = 0
    for pieces in zip(*iterators, strict=True):
        row = 0
        for piece in pieces:
            for values in piece if isinstance(piece, tuple) else (piece,):
                block[row, : values.size] = values
                row += 1
        last = first + values.size
        found = [member.predict(block[:, : values.size].T) for member in ensemble.members.values()]
        out[:, first:last] = ensemble.table(found, members=members)
        first = last
    return out.reshape(shape)
