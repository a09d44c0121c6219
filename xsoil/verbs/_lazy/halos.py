"""Blocks with what lies around them: a model of images over tiles, which do not show."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from dask.array.core import unify_chunks
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from xsoil.verbs._lazy.blocks import without_empty_blocks
from xsoil.verbs._lazy.model import on_axes
from xsoil.verbs._lazy.shared import shared

__all__ = ["Span", "map_halos", "spans_of"]


@dataclass(frozen=True)
class Span:
    """A block along one dim with what lies around it: `first` to `last`, and how much is missing at either end."""

    first: int
    last: int
    before: int
    after: int

    @classmethod
    def of(cls, first: int, last: int, depth: tuple[int, int], total: int) -> Span:
        """Around the block from `first` to `last` of `total`."""
        low, high = first - depth[0], last + depth[1]
        return cls(max(low, 0), min(high, total), max(-low, 0), max(high - total, 0))


Windowed = Callable[..., np.ndarray]
"""``function(model, windows, spans, **options)``: arrays (*dims) with what lies around a block, NaN where there is
nothing, of length 1 along dims that they lack; `spans` of each dim. Gives (count, *dims) of the block itself."""


def spans_of(sizes: Sequence[int], depth: tuple[int, int]) -> list[Span]:
    """Of consecutive blocks of these sizes."""
    edges = np.cumsum([0, *sizes]).tolist()
    return [Span.of(a, b, depth, edges[-1]) for a, b in itertools.pairwise(edges)]


def map_halos(
    function: Windowed,
    model: Any,
    token: str,
    arrays: Sequence[tuple[Any, tuple[Hashable, ...]]],
    dims: tuple[Hashable, ...],
    depth: Mapping[Hashable, tuple[int, int]],
    count: int,
    **options: Any,
) -> Any:
    """Apply a function to blocks and what lies around them.

    Parameters
    ----------
    function : callable
        See `Windowed`.
    model : object
        On a worker it is there once, whatever the number of tasks.
    token : str
        What tells the model from others.
    arrays : sequence of (array, dims)
        numpy or dask; one of them dask.
    dims : tuple
        Of the result, behind the new first one.
    depth : mapping of dim to (before, after)
        What a block needs around it.
    count : int
        Length of the first dim.

    Returns
    -------
    dask array
        float32, chunked as the common refinement of the arrays.
    """
    lazy = [without_empty_blocks(array if isinstance(array, da.Array) else da.asarray(array)) for array, _ in arrays]
    own_dims = [own for _, own in arrays]
    refined, _ = unify_chunks(*itertools.chain.from_iterable(zip(lazy, own_dims, strict=True)), warn=False)
    sizes = [refined[dim] for dim in dims]
    if (0,) in sizes:  # a selection of no cells
        return da.zeros((count, *map(sum, sizes)), np.float32, chunks=((count,), *sizes))
    spans = [spans_of(size, depth.get(dim, (0, 0))) for dim, size in zip(dims, sizes, strict=True)]
    axes = [[dims.index(dim) for dim in own] for own in own_dims]
    edges = [[np.cumsum([0, *sizes]) for sizes in array.chunks] for array in lazy]
    # Of each array and dim, by the place of a block along it: found once, not for every block.
    touched = [
        [[_pieces(span, cuts) for span in spans[axis]] for axis, cuts in zip(on, own, strict=True)]
        for on, own in zip(axes, edges, strict=True)
    ]
    entry = shared(model, token)
    name = f"xsoil.predict-{tokenize(token, own_dims, dims, sorted(options.items()), *(a.name for a in lazy))}"
    graph: dict[Any, Any] = {}
    for block in itertools.product(*(range(len(size)) for size in sizes)):
        here = [spans[axis][at] for axis, at in enumerate(block)]
        windows = []
        for array, on, along in zip(lazy, axes, touched, strict=True):
            pieces = [of[block[axis]] for axis, of in zip(on, along, strict=True)]
            windows.append((_nested(array.name, [numbers for numbers, _ in pieces]), [part for _, part in pieces], on))
        graph[(name, 0, *block)] = (
            _run,
            function,
            entry.key,
            [w[0] for w in windows],
            [w[1:] for w in windows],
            here,
            options,
        )
    full = HighLevelGraph.from_collections(name, graph, dependencies=[*lazy, entry])
    return da.Array(full, name, ((count,), *sizes), dtype=np.float32)


def _run(
    function: Windowed,
    model: Any,
    blocks: list[Any],
    places: list[tuple[list[list[slice]], list[int]]],
    spans: list[Span],
    options: dict[str, Any],
) -> np.ndarray:
    """One task: the windows out of the blocks that they touch, then the function."""
    windows = []
    for nested, (parts, axes) in zip(blocks, places, strict=True):
        values = np.asarray(_joined(nested, parts), np.float32)
        missing = [(spans[axis].before, spans[axis].after) for axis in axes]
        if any(map(any, missing)):
            values = np.pad(values, missing, constant_values=np.nan)
        windows.append(on_axes(values, axes, len(spans)))
    return function(model.value, windows, spans, **options)


def _pieces(span: Span, edges: np.ndarray) -> tuple[range, list[slice]]:
    """Blocks that a span touches, and the part of each."""
    first = int(np.searchsorted(edges, span.first, side="right")) - 1
    last = int(np.searchsorted(edges, span.last, side="left"))
    cuts = edges[first : last + 1].tolist()
    return range(first, last), [
        slice(max(span.first - start, 0), min(span.last, stop) - start) for start, stop in itertools.pairwise(cuts)
    ]


def _nested(name: str, numbers: Sequence[range], at: tuple[int, ...] = ()) -> Any:
    """Keys of blocks as nested lists, a level for each dim."""
    if not numbers:
        return (name, *at)
    if len(numbers) == 1:
        return [(name, *at, number) for number in numbers[0]]
    return [_nested(name, numbers[1:], (*at, number)) for number in numbers[0]]


def _joined(nested: Any, parts: list[list[slice]], at: tuple[slice, ...] = ()) -> np.ndarray:
    """Blocks of nested lists, cut and put together."""
    if len(at) == len(parts):
        found: np.ndarray = np.asarray(nested)[at]
        return found
    axis = len(at)
    pieces = [_joined(one, parts, (*at, part)) for one, part in zip(nested, parts[axis], strict=True)]
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=axis)
