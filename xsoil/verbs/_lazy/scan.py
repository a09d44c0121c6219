"""Scans: a model run forward in time, its state carried from time block to time block."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
from dask.array.core import unify_chunks
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from xsoil.threads import available_cores
from xsoil.verbs._lazy.blocks import without_empty_blocks
from xsoil.verbs._lazy.names import label
from xsoil.verbs._lazy.shared import shared


@dataclass(frozen=True)
class Named:
    """An array (numpy or dask) with the names of its dimensions."""

    array: Any
    dims: tuple[Hashable, ...]

    @property
    def is_lazy(self) -> bool:
        return isinstance(self.array, da.Array)

    def spread(self, values: np.ndarray, dims: tuple[Hashable, ...]) -> np.ndarray:
        """`values` (this array or one block of it) as a view on `dims`, of length 1 where it lacks one.

        Dimensions of its own come before these.
        """
        values = np.asarray(values)
        own = [at for at, dim in enumerate(self.dims) if dim not in dims]
        order = [self.dims.index(dim) for dim in dims if dim in self.dims]
        missing = tuple(len(own) + at for at, dim in enumerate(dims) if dim not in self.dims)
        return np.expand_dims(values.transpose([*own, *order]), missing)

    def in_one_block(self, dims: tuple[Hashable, ...]) -> Any:
        """The array as dask, along dimensions other than `dims` in one block."""
        if not self.is_lazy:
            return da.from_array(np.asarray(self.array), chunks=-1)
        own = {at: -1 for at, dim in enumerate(self.dims) if dim not in dims}
        return without_empty_blocks(self.array.rechunk(own) if own else self.array)


def scan_time(
    step: Callable[..., tuple[Sequence[np.ndarray], tuple[np.ndarray, ...]]],
    series: Sequence[Named],
    maps: Sequence[Named],
    dims: tuple[Hashable, ...],
    *,
    outputs: Mapping[str, np.dtype],
    states: Mapping[str, np.dtype],
    skip: int = 0,
    model: tuple[Any, str] | None = None,
) -> tuple[list[Any], list[Any]]:
    """Run a model forward in time, its state carried from time block to time block.

    numpy in, numpy out (one call on all cores); as soon as one array is dask, dask out: one task per time
    block and space block, which waits for the task of the time block before. Space blocks are the common
    refinement of all inputs' chunks, time blocks that of the series: nothing is joined along time.

    Parameters
    ----------
    step : callable
        ``step(series, maps, state, skip=, workers=)`` -> ``outputs, state``. `series` and `maps` are lists of
        arrays (time, *dims) and (*dims), of length 1 along a dimension that they lack, a map with its own dimensions
        (layers, nodes) before these; `state` is None in the first block and then what the call before returned,
        arrays (*dims) in full; `skip` leading days are run but not returned.
    series : sequence of Named
        Arrays with a dimension "time".
    maps : sequence of Named
        Arrays without; every dimension of `dims` occurs in some series or map. One that is not in `dims` is never
        cut: the step gets all of it.
    dims : tuple
        Dimensions of the results after time.
    outputs, states : mapping
        dtype of each returned series and of each array of the state. One with a shape, ``np.dtype(("f4", (5,)))``,
        has so many values per cell, on dimensions of their own before `dims`.
    skip : int
        Days at the start that are run but not returned.
    model : (object, token), optional
        Read-only; the step takes it as its first argument. A cluster sends it to a worker once: see `shared`; no other
        entry of the graph holds it, so that none carries it along.

    Returns
    -------
    outputs, states : list of arrays
        (time - skip, own, *dims) and (own, *dims), in the order of the two mappings.
    """
    if not any(named.is_lazy for named in (*series, *maps)):
        values, state = step(
            *(() if model is None else model[:1]),
            [s.spread(s.array, ("time", *dims)) for s in series],
            [m.spread(m.array, dims) for m in maps],
            None,
            skip=skip,
            workers=available_cores(),
        )
        return list(values), list(state)
    everything = [*series, *maps]
    arrays = [n.in_one_block(("time", *dims)) for n in everything]
    pairs = itertools.chain.from_iterable(zip(arrays, (n.dims for n in everything), strict=True))
    sizes, arrays = unify_chunks(*pairs, warn=False)
    sizes = dict(sizes)
    alone = [] if model is None else [shared(*model)]
    keys = tuple(entry.key for entry in alone)
    made = [list(outputs), list(states)]  # in their order, by which results are picked
    token = tokenize(step, keys, [a.name for a in arrays], [n.dims for n in everything], dims, made, skip)
    verb = label(step)
    run, gather = f"{verb}-{token}", f"{verb}-maps-{token}"
    space = [sizes[dim] for dim in dims]
    starts = np.cumsum([0, *sizes["time"]])
    skips = [int(np.clip(skip - start, 0, size)) for start, size in zip(starts, sizes["time"], strict=False)]
    kept = [t for t, size in enumerate(sizes["time"]) if size > skips[t]]
    last = len(skips) - 1
    task = partial(_scan_block, step, tuple(n.dims for n in series), tuple(n.dims for n in maps), dims)
    graph: dict[Any, Any] = {}
    picked: dict[str, dict[Any, Any]] = {f"{name}-{token}": {} for name in (*outputs, *states)}
    series_arrays, map_arrays = arrays[: len(series)], arrays[len(series) :]
    for block in itertools.product(*(range(len(chunk)) for chunk in space)):
        at = dict(zip(dims, block, strict=True))
        graph[(gather, *block)] = [
            (array.name, *(at.get(dim, 0) for dim in named.dims)) for array, named in zip(map_arrays, maps, strict=True)
        ]
        before: Any = None
        for t in range(len(skips)):
            at["time"] = t
            inputs = [
                (array.name, *(at[dim] for dim in named.dims))
                for array, named in zip(series_arrays, series, strict=True)
            ]
            graph[(run, t, *block)] = (task, inputs, (gather, *block), before, skips[t], *keys)
            # The state gets a key of its own: the next task needs it, not the series beside it.
            before = (f"{run}-state", t, *block)
            graph[before] = (operator.getitem, (run, t, *block), 1)
        for row, t in enumerate(kept):
            for place, (name, dtype) in enumerate(outputs.items()):
                key = (f"{name}-{token}", row, *(0 for _ in dtype.shape), *block)
                picked[f"{name}-{token}"][key] = (_pick, (run, t, *block), 0, place)
        for place, (name, dtype) in enumerate(states.items()):
            key = (f"{name}-{token}", *(0 for _ in dtype.shape), *block)
            picked[f"{name}-{token}"][key] = (operator.getitem, (f"{run}-state", last, *block), place)
    both = HighLevelGraph.from_collections(run, graph, dependencies=[*arrays, *alone])

    def collect(name: str, time: list[tuple[int, ...]], dtype: np.dtype) -> Any:
        key = f"{name}-{token}"
        full = HighLevelGraph({**both.layers, key: picked[key]}, {**both.dependencies, key: {run}})
        own = [(size,) for size in dtype.shape]
        return da.Array(full, key, (*time, *own, *space), dtype=dtype.base)

    time = tuple(sizes["time"][t] - skips[t] for t in kept)
    return (
        [collect(name, [time], dtype) for name, dtype in outputs.items()],
        [collect(name, [], dtype) for name, dtype in states.items()],
    )


def _scan_block(
    step: Callable[..., Any],
    series_dims: tuple[tuple[Hashable, ...], ...],
    maps_dims: tuple[tuple[Hashable, ...], ...],
    dims: tuple[Hashable, ...],
    series: list[np.ndarray],
    maps: list[np.ndarray],
    state: tuple[np.ndarray, ...] | None,
    skip: int,
    *model: Any,
) -> Any:
    """One task: the days of one time block, the cells of one space block."""
    return step(
        *(entry.value for entry in model),
        [Named(values, d).spread(values, ("time", *dims)) for values, d in zip(series, series_dims, strict=True)],
        [Named(values, d).spread(values, dims) for values, d in zip(maps, maps_dims, strict=True)],
        state,
        skip=skip,
        workers=1,
    )


def _pick(results: Any, part: int, place: int) -> Any:
    return results[part][place]
