"""Spatial tiles: one task per target tile, which gathers the part of the source that it needs."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from odc.geo.geobox import GeoBox

from xsoil.errors import ArgumentError
from xsoil.grids.reduce import Output
from xsoil.threads import available_cores
from xsoil.verbs._lazy.blocks import without_empty_blocks
from xsoil.verbs._lazy.islands import Island, Islands
from xsoil.verbs._lazy.names import label

# Source bytes that one task of `upscale` gathers, unless the caller chooses the tiles. Beside the window a
# task holds the blocks it was cut from, and its result.
WINDOW_BYTES = 32 * 2**20

# What a window may take where tiles would be smaller than 8 x 8 cells, or where the source's projection is torn.
MOST_BYTES = 96 * 2**20

# Source bytes (as float64) that an eager call works on at once.
EAGER_BYTES = 2**30


class TileStep(Protocol):
    """What a task of `map_tiles` does: `grids.reduce.Reduction` and its like. Small, picklable."""

    @property
    def target(self) -> GeoBox: ...

    @property
    def outputs(self) -> Mapping[str, Output]:
        """The arrays that `run` makes, by name."""

    def window(self, rows: slice, cols: slice) -> tuple[slice, slice] | None:
        """Source cells that a target tile needs; columns may run beyond a periodic axis."""

    def run(
        self, values: np.ndarray, origin: tuple[int, int], rows: slice, cols: slice, threads: int = 1
    ) -> dict[str, np.ndarray]:
        """Arrays (k, *extra, rows, cols) of a source window (k, ny, nx) whose first cell is `origin`."""


def map_tiles(
    data: Any, step: TileStep, chunks: int | tuple[int, int] | None = None, *, verb: str | None = None
) -> dict[str, Any]:
    """Bring the last two dimensions of `data` onto the target grid of `step`.

    numpy in, numpy out (on all cores); dask in, dask out: one task per target tile and chunk of the other
    dimensions, which gathers its source window from the blocks that the window touches. The tasks are named after
    `verb`, or after the module of `step`.

    Returns
    -------
    dict
        An array (..., *extra, rows, cols) for each of `step.outputs`.
    """
    height, width = step.target.shape
    asked = asked_tile(chunks)
    if not isinstance(data, da.Array):
        return _eager(np.asarray(data), step)
    data = without_empty_blocks(data)
    lead_chunks = data.chunks[:-2]
    layers = math.prod(max(sizes) for sizes in lead_chunks)
    tile = _tile_shape(step, max(data.dtype.itemsize, 4), max(layers, 1), asked)
    row_sizes, col_sizes = _sizes(height, tile[0]), _sizes(width, tile[1])
    row_edges, col_edges = np.cumsum([0, *row_sizes]), np.cumsum([0, *col_sizes])
    block_rows, block_cols = np.cumsum([0, *data.chunks[-2]]), np.cumsum([0, *data.chunks[-1]])
    verb = verb or label(step)
    name = f"{verb}-{tokenize(data.name, step, tile)}"
    islands = Islands.of(step, data, WINDOW_BYTES)
    step_key = f"{verb}-step-{tokenize(islands or step)}"
    graph: dict[Any, Any] = {}
    for i, j in itertools.product(range(len(row_sizes)), range(len(col_sizes))):
        rows, cols = slice(int(row_edges[i]), int(row_edges[i + 1])), slice(int(col_edges[j]), int(col_edges[j + 1]))
        if islands is not None:
            graph.update(_of_islands(islands, step_key, name, (i, j), rows, cols, data))
            continue
        parts = _parts(step, rows, cols, MOST_BYTES // max(data.dtype.itemsize, 4))
        for lead in itertools.product(*(range(len(sizes)) for sizes in lead_chunks)):
            shape = tuple(sizes[k] for sizes, k in zip(lead_chunks, lead, strict=True))
            tasks: list[Any] = []
            for part_rows, part_cols, window in parts:
                if window is None:
                    size = (part_rows.stop - part_rows.start, part_cols.stop - part_cols.start)
                    tasks.append((_empty_tile, step_key, shape, size))
                    continue
                pieces = _pieces(window[0], block_rows), _pieces(window[1], block_cols)
                blocks = [[(data.name, *lead, r[0], c[0]) for c in pieces[1]] for r in pieces[0]]
                spans = ([r[1] for r in pieces[0]], [c[1] for c in pieces[1]])
                origin = (window[0].start, window[1].start)
                tasks.append((_run_tile, step_key, blocks, spans, origin, part_rows, part_cols))
            if len(tasks) == 1:
                graph[(name, *lead, i, j)] = tasks[0]
                continue
            keys = [(f"{name}-part", *lead, i, j, n) for n in range(len(tasks))]
            graph.update(zip(keys, tasks, strict=True))
            places = [
                (slice(r.start - rows.start, r.stop - rows.start), slice(c.start - cols.start, c.stop - cols.start))
                for r, c, _ in parts
            ]
            whole = (row_sizes[i], col_sizes[j])
            graph[(name, *lead, i, j)] = (_join_tile, step_key, shape, whole, places, keys)
    inputs = HighLevelGraph.from_collections(name, graph, dependencies=[data])
    layers_of = {**inputs.layers, step_key: {step_key: islands or step}}
    needs = {**inputs.dependencies, step_key: set()}
    needs[name] = {*needs[name], step_key}
    picked = {}
    for what, output in step.outputs.items():
        out_chunks = (*lead_chunks, *((size,) for size in output.extra), row_sizes, col_sizes)
        part_name, zeros, n = f"{name}-{what}", (0,) * len(output.extra), len(lead_chunks)
        at = itertools.product(*(range(len(sizes)) for sizes in (*lead_chunks, row_sizes, col_sizes)))
        pick = operator.itemgetter(what)  # as an argument of the task the name might be taken for a key of the graph
        layer = {(part_name, *key[:n], *zeros, *key[n:]): (pick, (name, *key)) for key in at}
        full = HighLevelGraph({**layers_of, part_name: layer}, {**needs, part_name: {name}})
        picked[what] = da.Array(full, part_name, out_chunks, dtype=output.dtype)
    return picked


def _eager(data: np.ndarray, step: TileStep) -> dict[str, Any]:
    """All of it in one call, or in bands of target rows where copies of the source would not be small."""
    height, width = step.target.shape
    lead, flat = data.shape[:-2], data.reshape(-1, *data.shape[-2:])
    whole = (slice(0, height), slice(0, width))
    if flat.size * 8 <= EAGER_BYTES:
        found = step.run(flat, (0, 0), *whole, threads=available_cores())
    else:
        found = {
            name: np.full((len(flat), *output.extra, height, width), output.missing, output.dtype)
            for name, output in step.outputs.items()
        }
        per_layer = max(1, EAGER_BYTES // (8 * flat[0].size))
        bands = max(1, math.ceil(8 * flat[0].size / EAGER_BYTES))
        edges = np.linspace(0, height, min(bands, height) + 1).astype(int).tolist()
        for k, (r0, r1) in itertools.product(range(0, len(flat), per_layer), itertools.pairwise(edges)):
            window = step.window(slice(r0, r1), whole[1])
            if window is None:
                continue
            part = flat[k : k + per_layer, window[0]]
            tile = step.run(part, (window[0].start, 0), slice(r0, r1), whole[1], threads=available_cores())
            for name, array in tile.items():
                found[name][k : k + per_layer, ..., r0:r1, :] = array
    return {name: array.reshape(*lead, *array.shape[1:]) for name, array in found.items()}


def _run_tile(
    step: TileStep,
    blocks: list[list[np.ndarray]],
    spans: tuple[list[tuple[int, int]], list[tuple[int, int]]],
    origin: tuple[int, int],
    rows: slice,
    cols: slice,
) -> dict[str, np.ndarray]:
    """One task: cut the window out of its blocks, some layers at a time, and run the step on it."""
    lead = blocks[0][0].shape[:-2]
    if math.prod(lead) == 0:
        return _empty_tile(step, lead, (rows.stop - rows.start, cols.stop - cols.start))
    flat = [[np.asarray(block).reshape(-1, *block.shape[-2:]) for block in line] for line in blocks]
    cells = sum(b - a for a, b in spans[0]) * sum(b - a for a, b in spans[1])
    layers, by = math.prod(lead), max(1, WINDOW_BYTES // max(cells * flat[0][0].itemsize, 1))
    parts = []
    for k in range(0, layers, by):
        cut = [
            [block[k : k + by, r0:r1, c0:c1] for block, (c0, c1) in zip(line, spans[1], strict=True)]
            for line, (r0, r1) in zip(flat, spans[0], strict=True)
        ]
        window = cut[0][0] if len(cut) == 1 and len(cut[0]) == 1 else np.block(cut)
        parts.append(step.run(window, origin, rows, cols))
    found = parts[0] if len(parts) == 1 else {n: np.concatenate([part[n] for part in parts]) for n in parts[0]}
    return {name: array.reshape(*lead, *array.shape[1:]) for name, array in found.items()}


def _of_islands(
    islands: Islands, step_key: str, name: str, at: tuple[int, int], rows: slice, cols: slice, data: da.Array
) -> dict[Any, Any]:
    """Tasks of a tile and of the islands that it needs."""
    graph: dict[Any, Any] = {}
    needed = islands.needed(rows, cols)
    for lead in itertools.product(*map(range, data.numblocks[:-2])):
        keys = [[(f"{name}-island", *lead, r, c) for c in needed[1]] for r in needed[0]]
        for r, c in itertools.product(*needed):
            block = (data.name, *lead, *islands.stored((r, c)))
            graph[(f"{name}-island", *lead, r, c)] = (_run_island, step_key, block, (r, c))
        shape = tuple(sizes[k] for sizes, k in zip(data.chunks[:-2], lead, strict=True))
        graph[(name, *lead, *at)] = (_run_islands, step_key, keys, shape, rows, cols)
    return graph


def _run_island(islands: Islands, block: np.ndarray, at: tuple[int, int]) -> Island:
    return islands.island(block, at)


def _run_islands(
    islands: Islands, found: list[list[Island]], lead: tuple[int, ...], rows: slice, cols: slice
) -> dict[str, np.ndarray]:
    return islands.tile(found, lead, rows, cols)


def _parts(
    step: TileStep, rows: slice, cols: slice, most: int
) -> list[tuple[slice, slice, tuple[slice, slice] | None]]:
    """A tile in parts whose source windows hold at most so many cells, each with its window.

    One part, but where the source's projection is torn (the lobes of homolosine, the dateline): neighbours in
    the target then lie far apart in the source, and a window would span all between them.
    """
    window = step.window(rows, cols)
    height, width = rows.stop - rows.start, cols.stop - cols.start
    if window is None or height * width == 1:
        return [(rows, cols, window)]
    if (window[0].stop - window[0].start) * (window[1].stop - window[1].start) <= most:
        return [(rows, cols, window)]
    r, c = rows.start + (height + 1) // 2, cols.start + (width + 1) // 2
    row_halves = [h for h in (slice(rows.start, r), slice(r, rows.stop)) if h.stop > h.start]
    col_halves = [h for h in (slice(cols.start, c), slice(c, cols.stop)) if h.stop > h.start]
    return [part for a, b in itertools.product(row_halves, col_halves) for part in _parts(step, a, b, most)]


def _join_tile(
    step: TileStep,
    lead: tuple[int, ...],
    shape: tuple[int, int],
    places: list[tuple[slice, slice]],
    parts: list[dict[str, np.ndarray]],
) -> dict[str, np.ndarray]:
    """A tile from its parts."""
    found = _empty_tile(step, lead, shape)
    for place, part in zip(places, parts, strict=True):
        for name, array in part.items():
            found[name][(..., *place)] = array
    return found


def _empty_tile(step: TileStep, lead: tuple[int, ...], shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """A tile that overlaps no source cell."""
    return {n: np.full((*lead, *out.extra, *shape), out.missing, out.dtype) for n, out in step.outputs.items()}


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


def asked_tile(chunks: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """Rows and columns of a target tile as the caller wants them."""
    if chunks is None:
        return None
    try:
        pair = tuple(operator.index(n) for n in (chunks if isinstance(chunks, Sequence) else (chunks, chunks)))
    except TypeError:
        pair = ()
    if len(pair) != 2 or min(pair) < 1:
        raise ArgumentError(f"chunks={chunks!r}; expected a positive number of cells, or (rows, columns)")
    return pair[0], pair[1]


def _tile_shape(step: TileStep, itemsize: int, layers: int, asked: tuple[int, int] | None) -> tuple[int, int]:
    """Rows and columns of a target tile: as asked for, else with a source window, or a result, near WINDOW_BYTES.

    At large ratios or with many layers that may be a single cell; layers are then taken some at a time.
    """
    height, width = step.target.shape
    if asked is not None:
        return min(asked[0], height), min(asked[1], width)
    whole = step.window(slice(0, height), slice(0, width))
    if whole is None:
        return min(512, height), min(512, width)
    ratio = (whole[0].stop - whole[0].start) * (whole[1].stop - whole[1].start) / (height * width)
    out = 8 * sum(math.prod(output.extra) for output in step.outputs.values())
    per_cell = layers * max(itemsize * max(ratio, 1.0), out)
    # Tiles of a few cells would make many small tasks: with many layers the window may grow, within bounds.
    cells = max(WINDOW_BYTES / per_cell, min(64.0, MOST_BYTES / per_cell))
    side = max(int(math.sqrt(cells)), 1)
    return min(side, height), min(max(int(cells / min(side, height)), 1), width)


def _sizes(total: int, chunk: int) -> tuple[int, ...]:
    full, rest = divmod(total, chunk)
    return (chunk,) * full + ((rest,) if rest else ())
