"""The dask of the verbs: cell-wise maps, spatial tiles, scans over time blocks.

Graphs are built without reading data, and their names come from `dask.base.tokenize`, so that the same
call twice gives the same keys.
"""

from __future__ import annotations

import itertools
import math
import operator
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from xsoil.errors import ArgumentError
from xsoil.threads import available_cores

# Source bytes that one task of `upscale` gathers, unless the caller chooses the tiles. Beside the window a
# task holds the blocks it was cut from, and its result.
WINDOW_BYTES = 32 * 2**20


@dataclass(frozen=True)
class TileReduction:
    """What one task of `upscale` does: a source window to a target tile."""

    overlap: Any
    how: str
    min_valid: float
    exact: np.dtype
    """Floating-point type that holds the source's values exactly."""
    out: np.dtype
    fill: int | None
    """For integer results: what missing cells hold."""
    with_fraction: bool

    def run(
        self, values: np.ndarray, origin: tuple[int, int], rows: slice, cols: slice, threads: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Result and valid fraction (..., rows, cols) of a window (..., ny, nx)."""
        from xsoil.grids.overlap import reduce_tile

        lead = values.shape[:-2]
        flat = values.astype(self.exact, copy=False).reshape(-1, *values.shape[-2:])
        real = self.out if self.fill is None else self.exact
        result, fraction = reduce_tile(self.overlap, flat, origin, rows, cols, self.how, self.min_valid, real, threads)
        if self.fill is not None:
            result = np.where(np.isnan(result), self.fill, result).astype(self.out)
        return result.reshape(*lead, *result.shape[-2:]), fraction.reshape(*lead, *fraction.shape[-2:])

    def empty(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """A tile that overlaps no source cell."""
        return np.full(shape, np.nan if self.fill is None else self.fill, self.out), np.zeros(shape)

    def __dask_tokenize__(self) -> Any:
        o = self.overlap
        return (
            type(o).__name__, repr(o.source), repr(o.target), self.how, self.min_valid, str(self.exact), str(self.out),
            self.fill, self.with_fraction,
        )  # fmt: skip


def map_tiles(data: Any, step: TileReduction, chunks: int | tuple[int, int] | None = None) -> tuple[Any, Any | None]:
    """Reduce the last two dimensions of `data` onto the target grid of `step`.

    numpy in, numpy out (on all cores); dask in, dask out: one task per target tile and chunk of the other
    dimensions, which gathers its source window from the blocks that the window touches.
    """
    height, width = step.overlap.target.shape
    if not isinstance(data, da.Array):
        result, fraction = step.run(
            np.asarray(data), (0, 0), slice(0, height), slice(0, width), threads=available_cores()
        )
        return result, fraction if step.with_fraction else None
    lead_chunks = data.chunks[:-2]
    layers = math.prod(max(sizes) for sizes in lead_chunks)
    tile = _tile_shape(step, data.dtype.itemsize * layers, chunks)
    row_sizes, col_sizes = _sizes(height, tile[0]), _sizes(width, tile[1])
    row_edges, col_edges = np.cumsum([0, *row_sizes]), np.cumsum([0, *col_sizes])
    block_rows, block_cols = np.cumsum([0, *data.chunks[-2]]), np.cumsum([0, *data.chunks[-1]])
    name = f"upscale-{tokenize(data.name, step, tile)}"
    step_key = f"overlap-{tokenize(step)}"
    graph: dict[Any, Any] = {step_key: step}
    for i, j in itertools.product(range(len(row_sizes)), range(len(col_sizes))):
        rows, cols = slice(int(row_edges[i]), int(row_edges[i + 1])), slice(int(col_edges[j]), int(col_edges[j + 1]))
        window = step.overlap.window(rows, cols)
        pieces = None if window is None else (
            _pieces(window[0], block_rows), _pieces(window[1], block_cols)
        )  # fmt: skip
        for lead in itertools.product(*(range(len(sizes)) for sizes in lead_chunks)):
            shape = tuple(sizes[k] for sizes, k in zip(lead_chunks, lead, strict=True))
            if window is None or pieces is None:
                graph[(name, *lead, i, j)] = (_empty_tile, step_key, (*shape, row_sizes[i], col_sizes[j]))
                continue
            blocks = [[(data.name, *lead, r[0], c[0]) for c in pieces[1]] for r in pieces[0]]
            spans = ([r[1] for r in pieces[0]], [c[1] for c in pieces[1]])
            graph[(name, *lead, i, j)] = (
                _reduce_tile,
                step_key,
                blocks,
                spans,
                (window[0].start, window[1].start),
                rows,
                cols,
            )
    out_chunks = (*lead_chunks, row_sizes, col_sizes)
    both = HighLevelGraph.from_collections(name, graph, dependencies=[data])
    picked = []
    for part, dtype in ((0, step.out), (1, np.dtype(float)))[: 2 if step.with_fraction else 1]:
        part_name = f"{name}-{'fraction' if part else 'value'}"
        keys = itertools.product(*(range(len(sizes)) for sizes in out_chunks))
        layer = {(part_name, *key): (operator.getitem, (name, *key), part) for key in keys}
        full = HighLevelGraph({**both.layers, part_name: layer}, {**both.dependencies, part_name: {name}})
        picked.append(da.Array(full, part_name, out_chunks, dtype=dtype))
    return picked[0], picked[1] if step.with_fraction else None


def _reduce_tile(
    step: TileReduction,
    blocks: list[list[np.ndarray]],
    spans: tuple[list[tuple[int, int]], list[tuple[int, int]]],
    origin: tuple[int, int],
    rows: slice,
    cols: slice,
) -> tuple[np.ndarray, np.ndarray]:
    """One task: cut the window out of its blocks, reduce it."""
    cut = [
        [np.asarray(block)[..., r0:r1, c0:c1] for block, (c0, c1) in zip(line, spans[1], strict=True)]
        for line, (r0, r1) in zip(blocks, spans[0], strict=True)
    ]
    window = cut[0][0] if len(cut) == 1 and len(cut[0]) == 1 else np.block(cut)
    return step.run(window, origin, rows, cols)


def _empty_tile(step: TileReduction, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    return step.empty(shape)


def _pieces(window: slice, edges: np.ndarray) -> list[tuple[int, tuple[int, int]]]:
    """Blocks that a window touches, each with the part of it; the window may run beyond a periodic axis."""
    total = int(edges[-1])
    pieces = []
    at = window.start
    while at < window.stop:
        inside = at % total
        block = int(np.searchsorted(edges, inside, side="right")) - 1
        stop = min(int(edges[block + 1]), inside + window.stop - at)
        pieces.append((block, (inside - int(edges[block]), stop - int(edges[block]))))
        at += stop - inside
    return pieces


def _tile_shape(step: TileReduction, bytes_per_cell: int, chunks: int | tuple[int, int] | None) -> tuple[int, int]:
    """Rows and columns of a target tile: as asked for, else with a source window near WINDOW_BYTES."""
    height, width = step.overlap.target.shape
    if chunks is not None:
        pair = (chunks, chunks) if isinstance(chunks, int) else tuple(chunks)
        if len(pair) != 2 or not all(isinstance(n, int) and n > 0 for n in pair):
            raise ArgumentError(f"chunks={chunks!r}; expected a positive number of cells, or (rows, columns)")
        return min(pair[0], height), min(pair[1], width)
    whole = step.overlap.window(slice(0, height), slice(0, width))
    if whole is None:
        return min(512, height), min(512, width)
    ratio = (whole[0].stop - whole[0].start) * (whole[1].stop - whole[1].start) / (height * width)
    cells = WINDOW_BYTES / bytes_per_cell / max(ratio, 1.0)
    side = max(int(math.sqrt(cells)), 8)
    return min(side, height), min(max(int(cells / min(side, height)), 8), width)


def _sizes(total: int, chunk: int) -> tuple[int, ...]:
    full, rest = divmod(total, chunk)
    return (chunk,) * full + ((rest,) if rest else ())
