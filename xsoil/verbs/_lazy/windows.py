"""Windows: patches of a fine map for every cell of a coarse one, one task per tile of coarse cells."""

from __future__ import annotations

import itertools
import math
from typing import Any, Protocol

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

# What the patches of one task may take.
TILE_BYTES = 32 * 2**20

Cut = tuple[list[slice], int, int]
"""Slices of an axis one after the other, and how many cells are missing before and after them."""


class Windows(Protocol):
    """Which window a tile needs, and how patches are cut out of it: `Nesting`. Small, picklable."""

    @property
    def patch(self) -> int: ...

    def spans(self, rows: slice, columns: slice) -> tuple[Cut, Cut]: ...

    def cut_tile(self, window: np.ndarray, rows: slice, columns: slice) -> np.ndarray: ...


def map_windows(data: Any, windows: Windows, shape: tuple[int, int]) -> Any:
    """Patches (rows, columns, channels, patch, patch) of coarse cells from a dask array (channels, y, x).

    A task gathers the blocks that its window touches; places beyond the map are NaN.
    """
    channels, size = data.shape[0], windows.patch
    cells = max(TILE_BYTES // (data.dtype.itemsize * channels * size**2), 1)
    side = max(int(math.sqrt(cells)), 1)
    sizes = [_sizes(total, min(side, total)) for total in shape]
    edges = [np.cumsum([0, *s]).tolist() for s in sizes]
    blocks = [np.cumsum([0, *c]) for c in data.chunks]
    layers = range(len(data.chunks[0]))
    name = f"xsoil.patches-{tokenize(data.name, windows, shape)}"
    graph: dict[Any, Any] = {}
    for i, j in itertools.product(range(len(sizes[0])), range(len(sizes[1]))):
        rows, columns = slice(edges[0][i], edges[0][i + 1]), slice(edges[1][j], edges[1][j + 1])
        cuts = windows.spans(rows, columns)
        parts = [
            [piece for cut in spans[0] for piece in _pieces(cut, of)]
            for spans, of in zip(cuts, blocks[1:], strict=True)
        ]
        keys = [[[(data.name, k, r[0], c[0]) for c in parts[1]] for r in parts[0]] for k in layers]
        inside = [[piece[1] for piece in line] for line in parts]
        margins = tuple((spans[1], spans[2]) for spans in cuts)
        graph[(name, i, j, 0, 0, 0)] = (_tile, windows, keys, inside, margins, channels, rows, columns, data.dtype.str)
    full = HighLevelGraph.from_collections(name, graph, dependencies=[data])
    return da.Array(full, name, (*sizes, (channels,), (size,), (size,)), dtype=data.dtype)


def _tile(
    windows: Windows,
    blocks: list[list[list[np.ndarray]]],
    inside: list[list[slice]],
    margins: tuple[tuple[int, int], tuple[int, int]],
    channels: int,
    rows: slice,
    columns: slice,
    dtype: str,
) -> np.ndarray:
    """One task: its window, filled up where the map ends, and the patches cut out of it."""
    extent = [sum(part.stop - part.start for part in line) for line in inside]
    window = np.full((channels, *(a + n + b for n, (a, b) in zip(extent, margins, strict=True))), np.nan, dtype)
    layer = 0
    for group in blocks:
        depth = 0
        y = margins[0][0]
        for line, r in zip(group, inside[0], strict=True):
            x = margins[1][0]
            for block, c in zip(line, inside[1], strict=True):
                depth = len(block)
                part = block[:, r, c]
                window[layer : layer + depth, y : y + part.shape[1], x : x + part.shape[2]] = part
                x += part.shape[2]
            y += r.stop - r.start
        layer += depth
    return windows.cut_tile(window, rows, columns)


def _pieces(cut: slice, edges: np.ndarray) -> list[tuple[int, slice]]:
    """Blocks that a slice touches, each with the part of it."""
    found = []
    at = cut.start
    while at < cut.stop:
        block = int(np.searchsorted(edges, at, side="right")) - 1
        stop = min(int(edges[block + 1]), cut.stop)
        found.append((block, slice(at - int(edges[block]), stop - int(edges[block]))))
        at = stop
    return found


def _sizes(total: int, chunk: int) -> tuple[int, ...]:
    full, rest = divmod(total, chunk)
    return (chunk,) * full + ((rest,) if rest else ())
