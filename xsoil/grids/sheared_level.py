"""Sources whose rows stay rows of the target (sinusoidal, Mollweide ... to a cylinder): found, and worked on by rows.

There a grid line has one v, and its u grows evenly with the column, so that two exact points tell a whole line. It
needs no lattice of corners, and no bins: a row of target cells is drawn from a few source rows and forgotten.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xsoil.grids.index_map import Array, IndexMap
from xsoil.grids.sheared_groups import parts_of
from xsoil.threads import in_order, read_only

if TYPE_CHECKING:
    from xsoil.grids.sheared_level_kernels import Lines
    from xsoil.grids.sheared_types import Tile

LEVEL = 1e-8
"""Distance [target cells] up to which the corners of a line may lie off a level line with even steps."""

BENT = 1e-7
"""Distance [target cells] up to which the middle of a pixel's side may lie off the parabola that stands for it."""

WIDEST = 0.7
"""Width of a pixel [target cells], with its shear, up to which its rows are worked on in this way."""

ROWS, COLUMNS = 33, 9
"""Lines of the source, and corners on each, that are looked at."""

PARTS = 4
"""Parts of a tile's rows for each thread."""

KEPT = 4
"""Windows whose lines are kept for the next variable on the same grids."""


def is_level(imap: IndexMap) -> bool:
    """True where every source row stays a row of the target, with even steps that are less than cells."""
    ny, nx = imap.source_shape
    if imap.kind == "general" or any(-2.0 < r < ny + 2.0 for r in imap.breaks):
        return False
    column = np.linspace(0.0, nx, COLUMNS)
    rows = np.linspace(0.0, ny - 1.0, ROWS)[:, None]
    # The lines above and below each row, one more on either side, and the middle of its sides.
    found = [imap.forward(*np.broadcast_arrays(column, rows + offset)) for offset in (-1.0, 0.0, 1.0, 2.0, 0.5)]
    if not all(np.isfinite(a).all() for line in found for a in line):
        return False
    before, (u, v), (lower, below), beyond, middle = found
    level = all((abs(line - line[:, :1]) <= LEVEL).all() for line in (v, below))
    step = (u[:, -1:] - u[:, :1]) / nx
    even = (abs(u - (u[:, :1] + step * column)) <= LEVEL).all() and (step > 0.0).all()
    narrow = (step + abs(lower - u) <= WIDEST).all()
    rise = below - v
    bent = (
        0.5 * (a + b) + (a + b - first - last) / 16.0
        for first, a, b, last in zip(before, (u, v), (lower, below), beyond)
    )
    curved = all((abs(drawn - true) <= BENT).all() for drawn, true in zip(bent, middle))
    return bool(level and even and narrow and curved and (rise * rise[0, 0] > 0.0).all())


@lru_cache(maxsize=KEPT)
def lines_of(imap: IndexMap, first: int, last: int) -> Lines:
    """Grid lines around the source rows first..last - 1, with one more on either side."""
    from xsoil.grids.sheared_level_kernels import Lines

    row, width = np.arange(first - 1.0, last + 2.0), float(imap.source_shape[1])
    u, v = imap.forward(*np.broadcast_arrays(np.array([[0.0], [width]]), row))
    return Lines(first - 1, *(read_only(np.ascontiguousarray(a)) for a in (u[0], (u[1] - u[0]) / width, v[0])))


def rows_between(lines: Lines, edges: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First source row, and last + 1, that reach into each target row."""
    v, low, high = lines.v[1:-1], edges[:-1], edges[1:]
    if v[-1] < v[0]:
        v, low, high = -v, -high, -low
    begin = np.searchsorted(v, low, side="right") - 1
    end = np.searchsorted(v, high, side="left")
    return np.clip(begin, 0, v.size - 1) + lines.first + 1, np.clip(end, 0, v.size - 1) + lines.first + 1


def shifts_of(imap: IndexMap, lines: Lines, columns: tuple[int, int], tile: tuple[int, int]) -> Array:
    """Multiples of the target's period that bring columns of the source into a tile's columns."""
    if not imap.period:
        return np.zeros(1)
    ends = [lines.start + lines.step * column for column in columns]
    low, high = min(a.min() for a in ends) - 1.0, max(a.max() for a in ends) + 1.0
    turns = np.arange(np.ceil((tile[0] - high) / imap.period), np.floor((tile[1] - low) / imap.period) + 1)
    return turns * imap.period


class _Plan(NamedTuple):
    """What the kernels need to know of a tile: lines, first and last + 1 source row of each target row, shifts by the
    period, bands of a target row at most."""

    lines: Lines
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    shifts: Array
    bands: int


def _plan(imap: IndexMap, origin: tuple[int, int], shape: tuple[int, ...], tile: Tile) -> _Plan:
    lines = lines_of(imap, origin[0], origin[0] + shape[0])
    begins, ends = rows_between(lines, tile.edges[tile.r0 : tile.r1 + 1])
    shifts = shifts_of(imap, lines, (origin[1], origin[1] + shape[1]), (tile.c0, tile.c1))
    return _Plan(lines, begins, ends, shifts, int((ends - begins).max()) * shifts.size)


def _parts(tile: Tile, threads: int) -> list[slice]:
    return parts_of(slice(0, tile.r1 - tile.r0), PARTS * threads if threads > 1 else 1)


def reduce_level(
    imap: IndexMap, values: NDArray[Any], origin: tuple[int, int], tile: Tile, extreme: bool, flag: bool, threads: int,
    total: NDArray[Any], area: Array,
) -> None:  # fmt: skip
    """Sums (by area if `flag`, else by share of the pixel) or extremes (the largest if `flag`) of a tile.

    `values` (k, ny, nx) is the window at `origin`; `total`, which holds what cells without values have, and `area` (k,
    rows, columns) are written.
    """
    from xsoil.grids import sheared_level_sums

    plan = _plan(imap, origin, values.shape[1:], tile)
    if plan.bands <= 0:
        return
    values, place = read_only(np.ascontiguousarray(values)), (tile.r0, tile.c0, tile.c1 - tile.c0)
    run: Any = sheared_level_sums.extreme_rows if extreme else sheared_level_sums.sum_rows

    def work(rows: slice) -> list[None]:
        run(
            values, origin, plan.lines, plan.begins, plan.ends, tile.edges, place, rows.start, rows.stop, plan.shifts,
            plan.bands, flag, total, area,
        )  # fmt: skip
        return []

    for _ in in_order(work, _parts(tile, threads), threads):
        pass


def order_level(
    imap: IndexMap, values: NDArray[Any], origin: tuple[int, int], tile: Tile,
    statistic: tuple[int, float, NDArray[Any]], cells: Array, threads: int, result: Array, valid: Array,
) -> None:  # fmt: skip
    """Order statistics of a tile; parameters as of `sheared_order.order_band`, `origin` that of `values`."""
    from xsoil.grids import sheared_level_kernels

    how, q, classes = statistic
    plan, place = _plan(imap, origin, values.shape[1:], tile), (tile.r0, tile.c0, tile.c1 - tile.c0)
    if plan.bands <= 0:
        return
    values = read_only(values)
    bits, classes = values.view(np.int32 if values.dtype.itemsize == 4 else np.int64), np.asarray(classes, values.dtype)
    cells = read_only(np.ascontiguousarray(np.broadcast_to(cells, (tile.r1 - tile.r0, place[2]))))
    # Pixels of a cell in one band, with those that only lean into it.
    start, step, _ = plan.lines[1:]
    lean = max(float(abs(np.diff(start + step * column)).max()) for column in (0, imap.source_shape[1]))
    pixels = int(np.ceil((1.0 + lean) / step.min())) + 2
    most = plan.bands, plan.bands * pixels + sheared_level_kernels.LANES
    run: Any = sheared_level_kernels.order_rows

    def work(rows: slice) -> list[None]:
        run(
            values, bits, origin, plan.lines, plan.begins, plan.ends, tile.edges, place, rows.start, rows.stop,
            plan.shifts, most, how, q, classes, cells, result, valid,
        )  # fmt: skip
        return []

    for _ in in_order(work, _parts(tile, threads), threads):
        pass


def list_level(
    imap: IndexMap, origin: tuple[int, int], shape: tuple[int, int], tile: Tile
) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Overlaps of a tile with a window as `ShearedOverlap.weights`, lists not sorted."""
    from xsoil.grids import sheared_level_sums

    plan, place = _plan(imap, origin, shape, tile), (tile.r0, tile.c0, tile.c1 - tile.c0)
    run: Any = sheared_level_sums.list_rows
    size = int(shape[0]), int(shape[1])
    found: tuple[NDArray[np.int64], NDArray[np.int64], Array] = run(
        origin, size, plan.lines, plan.begins, plan.ends, tile.edges, place, tile.r1 - tile.r0, plan.shifts,
        max(plan.bands, 1),
    )  # fmt: skip
    return found
