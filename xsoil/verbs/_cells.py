"""Functions of cells on xarray: blocks that fit the cache, all cores for numpy, one task per chunk for dask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike, NDArray

from xsoil.errors import GridMismatchError
from xsoil.threads import available_cores, in_bands, read_only
from xsoil.verbs._lazy import label

__all__ = ["CELLS_PER_BLOCK", "map_cells"]

Array = NDArray[Any]

CELLS_PER_BLOCK = 32_768
"""Temporaries of this many cells stay in the second-level cache, and numpy's overhead per call is still small."""


def map_cells(
    function: Callable[..., tuple[Array, ...]],
    inputs: Sequence[xr.DataArray],
    dtypes: Sequence[DTypeLike],
    *,
    block: int = CELLS_PER_BLOCK,
    along: tuple[str, int] | None = None,
) -> tuple[xr.DataArray, ...]:
    """Apply a function of cells: every cell by itself, several outputs at once.

    Parameters
    ----------
    function : callable
        `function(*cells) -> (result, ...)` on contiguous 1-D arrays of at most `block` cells. Module-level, a
        `functools.partial` of such, or a frozen dataclass (it is pickled and tokenized), free of side effects and
        safe to run in several threads.
    inputs : sequence of xr.DataArray
        Of any dims that broadcast; numpy, dask or both, in any chunks.
    dtypes : sequence of dtype
        One per result.
    block : int
        Cells per call.
    along : tuple of str and int, optional
        Name and size of a dim that the results have before those of the cells: the function returns arrays
        (size, cell).

    Returns
    -------
    tuple of xr.DataArray
        One per dtype, with the coordinates of the inputs and without attributes. From dask input: lazy, one task
        per block of the (unified) chunks for all results together. From numpy: computed with all cores.

    Raises
    ------
    GridMismatchError
        Where the inputs' coordinates or sizes differ.
    """
    lazy = any(array.chunks is not None for array in inputs)
    threads = 1 if lazy else available_cores()
    new = () if along is None else (along[0],)
    front = () if along is None else (along[1],)
    run = _Blocks(label(function), function, tuple(np.dtype(d) for d in dtypes), block, threads, front)
    # The widest input sets the order of the dims; a dim that it lacks comes in front of them.
    widest = max(inputs, key=lambda array: array.ndim)
    order = [*new, *dict.fromkeys(d for array in inputs for d in array.dims if d not in widest.dims), *widest.dims]
    try:
        # checked first: apply_ufunc would raise, but with errors of several kinds
        xr.align(*inputs, join="exact", copy=False)
    except ValueError as error:
        raise GridMismatchError(
            f"the inputs are not on one grid: {error}; bring them to one grid with ds.soil.upscale(...)"
        ) from error
    results = xr.apply_ufunc(
        run,
        *inputs,
        output_core_dims=[new] * len(dtypes),
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": dict(zip(new, front, strict=True))},
        output_dtypes=list(dtypes),
        join="exact",
        keep_attrs="override",  # "drop" would take the coordinates' attributes as well
    )
    arrays = results if isinstance(results, tuple) else (results,)
    for array in arrays:
        array.attrs = {}
    return tuple(array if [*array.dims] == order else array.transpose(*order) for array in arrays)


@dataclass(frozen=True)
class _Blocks:
    """`run_blocks` with a name: dask takes that for the tasks."""

    name: str
    function: Callable[..., tuple[Array, ...]]
    dtypes: tuple[np.dtype[Any], ...]
    block: int
    threads: int
    front: tuple[int, ...]

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, *arrays: Array) -> tuple[Array, ...] | Array:
        return run_blocks(self.function, self.dtypes, self.block, self.threads, *arrays, front=self.front)


def run_blocks(
    function: Callable[..., tuple[Array, ...]],
    dtypes: tuple[np.dtype[Any], ...],
    block: int,
    threads: int,
    *arrays: Array,
    front: tuple[int, ...] = (),
) -> tuple[Array, ...] | Array:
    """The function over flat blocks: contiguous, so that numpy takes the same path through its code, and gives
    the same bits, whatever the layout and the chunks. What the results have in `front` comes out behind, as
    `xr.apply_ufunc` wants it, without being moved in memory."""
    shape = np.broadcast_shapes(*(np.shape(a) for a in arrays))
    flat = [np.broadcast_to(a, shape).reshape(-1) for a in arrays]
    flat = [read_only(np.ascontiguousarray(f)) for f in flat]
    cells = flat[0].size
    outputs = tuple(np.empty((*front, cells), dtype) for dtype in dtypes)

    def run(first: int, last: int) -> None:
        for start in range(first * block, min(last * block, cells), block):
            part = slice(start, min(start + block, cells))
            for output, result in zip(outputs, function(*(f[part] for f in flat)), strict=True):
                output[..., part] = result

    in_bands(run, -(-cells // block), threads)
    shaped = tuple(output.reshape((*front, *shape)) for output in outputs)
    if front:
        shaped = tuple(np.moveaxis(output, 0, -1) for output in shaped)
    return shaped if len(shaped) > 1 else shaped[0]
