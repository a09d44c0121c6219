"""Positions of target centres in the source, from a checked lattice of projected ones.

Projecting a centre costs PROJ a quarter of a microsecond or more, reading a value a few nanoseconds. So only every
`step`-th centre is projected; those between come from piecewise cubic interpolation. Each block of step x step centres
is checked at its middle; where it fails (a kink, a lobe, the edge of the world, a pole), its centres and those of the
blocks around are projected one by one. Every decision depends on the absolute block and on the whole target
alone, never on the tile, so that tiles cannot show.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from xsoil.grids.corners import centre_error

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Exact = Callable[[Integers, Integers], tuple[Array, Array]]
"""Rows and columns of target cells, broadcast -> positions along y and along x in the source; NaN where none."""

STEPS = (32, 16, 8, 4)
"""Spacings to choose from [target cells]."""

TOLERANCE = 1e-7
"""Largest error of a position [source cells]."""

FEWEST = 2**14
"""Targets of fewer cells are not worth a lattice."""

# Blocks of the target that are looked at to choose a spacing, along each axis.
_SAMPLES = 16


class PointLattice(NamedTuple):
    """Positions along y and x at nodes (one before the first block, two after the last), and which blocks hold."""

    exact: Exact
    step: int
    turn: float
    first_row: int
    first_col: int
    y: Array
    x: Array
    good: NDArray[np.bool_]

    def positions(self, rows: slice, cols: slice) -> tuple[Array, Array]:
        """Positions (rows, cols) of centres along y and along x in the source, as `exact` gives them."""
        from xsoil.grids.point_kernels import between_nodes

        shape = (rows.stop - rows.start, cols.stop - cols.start)
        down, along = np.empty(shape), np.empty(shape)
        between_nodes(
            self.y, self.x, self.good, rows.start, cols.start, self.first_row, self.first_col, self.step, self.turn,
            down, along,
        )  # fmt: skip
        row, col = np.arange(rows.start, rows.stop), np.arange(cols.start, cols.stop)
        bad = ~self.good[row // self.step - self.first_row][:, col // self.step - self.first_col]
        if bad.any():
            i, j = np.nonzero(bad)
            down[i, j], along[i, j] = self.exact(row[i], col[j])
        return down, along


def build(exact: Exact, rows: slice, cols: slice, step: int, turn: float) -> PointLattice:
    """The lattice of a tile of the target. `turn`: source cells of a full turn along x, or 0."""
    i0, i1, j0, j1 = rows.start // step, (rows.stop - 1) // step, cols.start // step, (cols.stop - 1) // step
    # One more ring of blocks is checked: a failing block spoils the stencils of those around it.
    row, col = np.arange(i0 - 2, i1 + 4)[:, None] * step, np.arange(j0 - 2, j1 + 4) * step
    y, x = exact(row, col)
    my, mx = exact(row[1:-2] + step // 2, col[1:-2] + step // 2)
    windows_x, windows_y = (sliding_window_view(nodes, (4, 4)) for nodes in (x, y))
    checked = np.asarray(centre_error(windows_x, windows_y, mx, my, turn) <= TOLERANCE)
    good = np.asarray(sliding_window_view(checked, (3, 3)).all(axis=(2, 3)))
    inner = (slice(1, -1), slice(1, -1))
    return PointLattice(exact, step, turn, i0, j0, y[inner].copy(), x[inner].copy(), good)


def choose_step(exact: Exact, shape: tuple[int, int], turn: float) -> int:
    """The spacing that leaves the fewest centres to project; 0 where that is most of them.

    Parameters
    ----------
    exact : callable
        Projects centres.
    shape : tuple of int
        Rows and columns of the whole target.
    turn : float
        Source cells of a full turn along x, or 0.
    """
    if shape[0] * shape[1] < FEWEST:
        return 0
    stencil = np.arange(-1, 3)
    best, least = 0, 0.75
    for step in STEPS:
        i, j = (np.unique(np.linspace(0, n // step, _SAMPLES).astype(np.int64)) for n in shape)
        y, x = exact((i[:, None, None, None] + stencil[:, None]) * step, (j[:, None, None] + stencil) * step)
        my, mx = exact(i[:, None] * step + step // 2, j * step + step // 2)
        fails = np.mean(~(centre_error(x, y, mx, my, turn) <= TOLERANCE))
        # A line of failing blocks spoils the lines beside it.
        share = 2 / step**2 + 3 * fails
        if share < least:
            best, least = step, float(share)
    return best
