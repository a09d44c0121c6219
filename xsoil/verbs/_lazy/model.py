"""A model over blocks: the model is an entry of the graph of its own, so that a cluster sends it once per worker."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize

from xsoil.verbs._lazy.shared import shared

__all__ = ["map_model", "on_axes"]


def map_model(
    function: Callable[..., np.ndarray],
    model: Any,
    token: str,
    arrays: Sequence[tuple[Any, tuple[Hashable, ...]]],
    dims: tuple[Hashable, ...],
    count: int,
    **options: Any,
) -> Any:
    """Apply ``function(model, *blocks, **options)`` to blocks that are broadcast against each other.

    Parameters
    ----------
    function : callable
        Takes blocks that can be broadcast (length 1 where an array lacks a dim) and gives (count, *dims), float32.
    model : object
        Read-only; on a worker it is there once, whatever the number of tasks.
    token : str
        What tells the model from others.
    arrays : sequence of (array, dims)
        numpy or dask; one of them dask.
    dims : tuple
        Of the result, behind the new first one.
    count : int
        Length of the first dim.

    Returns
    -------
    dask array
    """
    places = {dim: number + 1 for number, dim in enumerate(dims)}
    pairs: list[Any] = []
    for array, own in arrays:
        pairs += [array if isinstance(array, da.Array) else da.asarray(array), tuple(places[dim] for dim in own)]
    axes = tuple(tuple(places[dim] - 1 for dim in own) for _, own in arrays)
    return da.blockwise(
        _block, (0, *places.values()), *pairs, new_axes={0: count}, dtype=np.float32, concatenate=True,
        meta=np.empty((0,) * (len(dims) + 1), np.float32), function=function, model=shared(model, token), axes=axes,
        ndim=len(dims), options=options,
        name=f"xsoil.predict-{tokenize(token, axes, options, *(p.name for p in pairs[::2]))}",
    )  # fmt: skip


def _block(
    *blocks: np.ndarray, function: Any, model: Any, axes: tuple[tuple[int, ...], ...], ndim: int, options: Any
) -> np.ndarray:
    spread = [on_axes(block, own, ndim) for block, own in zip(blocks, axes, strict=True)]
    found: np.ndarray = function(model.value, *spread, **options)
    return found


def on_axes(block: np.ndarray, axes: Sequence[int], ndim: int) -> np.ndarray:
    """A block whose dims are these axes of `ndim`, with length 1 along the others."""
    shape = [1] * ndim
    for axis, size in zip(axes, block.shape, strict=True):
        shape[axis] = size
    return block.transpose(np.argsort(axes)).reshape(shape)
