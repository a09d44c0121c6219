"""How far the edges of pixels bend, by blocks of the lattice, or pixel by pixel; compiled."""

# numba infers the types of what it compiles:
# mypy: allow-untyped-defs, allow-incomplete-defs

from __future__ import annotations

import numpy as np

from xsoil.grids.sheared_lines import COLUMN, FLOOR_V, LINE, LOW_U, LOW_V, position, wrap
from xsoil.grids.sheared_types import MARGIN
from xsoil.jit import kernel


@kernel
def pixel_blocks(x0, n, step, out):
    """Block of the lattice, counted from that of the first pixel, of each pixel of a stretch."""
    for x in range(n):
        out[x] = (x0 + x) // step - x0 // step


@kernel
def row_bends(row, height, lattice, x0, n, tolerance, limit, fours):
    """How far the edges of pixels deviate from their chords at the middle in `height` rows from `row` on,
    for each block of the lattice. NaN where the bends vary by more than `tolerance` or exceed `limit`, or a kink is
    near.

    `fours` gets them in the order of FOURS, for pixels across a column line, then for those across a row line.
    Returns whether some are NaN.
    """
    step, patch = lattice.step, lattice.patch
    i = row // step - lattice.first_row
    t = (row + 0.5 * height - (lattice.first_row + i) * step) / step
    # Second derivatives of the cubic through -1, 0, 1, 2.
    wa, wc, wd = 1.0 - t, 1.0 - 3.0 * t, t
    turn = lattice.period if lattice.period > 0.0 else np.inf
    scale, part = -0.125 / (step * step), 0.5 * height / step
    first, last = x0 // step - lattice.first_column, (x0 + n - 1) // step - lattice.first_column
    kinked, rough = False, False
    for r in lattice.breaks:
        kinked |= (r > row - 1) & (r < row + height + 1)
    for which in range(2):
        nodes, way = (lattice.u, turn) if which == 0 else (lattice.v, np.inf)
        along, down, place, swapped = 0.0, 0.0, 2 * which, 6 - 2 * which
        for k in range(last - first + 2):
            j, before = first + k + 1, (along, down)
            b, c = nodes[i + 1, j], nodes[i + 2, j]
            upper = wrap(nodes[i + 1, j - 1] - b, way) + wrap(nodes[i + 1, j + 1] - b, way)
            lower = wrap(nodes[i + 2, j - 1] - c, way) + wrap(nodes[i + 2, j + 1] - c, way)
            along = scale * ((1.0 - t) * upper + t * lower)
            down = scale * (
                wa * wrap(nodes[i, j] - b, way) + wc * wrap(c - b, way) + wd * wrap(nodes[i + 3, j] - b, way)
            )
            if k > 0:
                a, d = 0.5 * (before[0] + along), 0.5 * (before[1] + down)
                change = max(abs(a - along), abs(d - down)) + part * abs(scale * (upper - lower))
                own = patch[i, first + k - 1]
                if own >= 0:
                    a, d, change = patch_bends(
                        lattice.patches[own, which], row - (lattice.first_row + i) * step, height, way
                    )
                sane = change <= tolerance and 4.0 * (abs(a) + abs(d)) <= limit and not (own >= 0 and kinked)
                a, d, at = a if sane else np.nan, d if sane else np.nan, 8 * (k - 1)
                rough |= not sane
                fours[at + place], fours[at + place + 1] = a, d
                fours[at + swapped], fours[at + swapped + 1] = a, d
    return rough


@kernel
def patch_bends(patch, row, height, way):
    """Bends in `height` rows from `row` on of a block with corners of its own: along the rows, down the columns, and
    how much they vary."""
    last = patch.shape[0] - 1
    far, tall = last // 4, (height - 1) // 2
    if far == 0 or tall == 0:
        return np.nan, np.nan, np.inf
    along, down, scale, rise = np.empty(4), np.empty(4), -0.125 / (far * far), -0.125 / (tall * tall)
    for i in range(4):
        r, k = row + (i // 2) * (height - 1), far if i % 2 == 0 else last - far
        b = patch[r, k]
        along[i] = scale * (wrap(patch[r, k - far] - b, way) + wrap(patch[r, k + far] - b, way))
        r, k = row + tall, (i * last) // 3
        b = patch[r, k]
        down[i] = rise * (wrap(patch[r - tall, k] - b, way) + wrap(patch[r + tall, k] - b, way))
    a, d = 0.25 * (along[0] + along[1] + along[2] + along[3]), 0.25 * (down[0] + down[1] + down[2] + down[3])
    change = 0.0
    for i in range(4):
        # Columns reach twice as far as where they were looked at.
        change = max(change, max(2.0 * abs(along[i] - a), abs(down[i] - d)))
    return a, d, change if abs(a + d) < np.inf else np.inf


@kernel
def line_bends(corners, place, cell, low, bits):
    """What the edge after a corner of a grid line bends, times 16."""
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    a, b = (
        position(corners, place + cell, place + low, bits),
        position(corners, place + one + cell, place + one + low, bits),
    )
    c, d = (
        position(corners, place + two + cell, place + two + low, bits),
        position(corners, place + three + cell, place + three + low, bits),
    )
    return (b - a) + (c - d)


@kernel
def middle_bends(corners, lines, x, cell, low, bits):
    """Bends of a pixel along its row and down its columns, from the corners around it."""
    above, below = lines[1] * LINE + MARGIN + x, lines[2] * LINE + MARGIN + x
    along = line_bends(corners, np.uint64(above), cell, low, bits) + line_bends(
        corners, np.uint64(below), cell, low, bits
    )
    down = 0.0
    for k in (1, 2):
        for inner, outer in ((1, 0), (2, 3)):
            here, there = (
                np.uint64(lines[inner] * LINE + MARGIN + x + k),
                np.uint64(lines[outer] * LINE + MARGIN + x + k),
            )
            down += position(corners, here + cell, here + low, bits) - position(
                corners, there + cell, there + low, bits
            )
    return 0.03125 * along, 0.03125 * down


@kernel
def own_bends(corners, lines, x, bits, limit):
    """Bends of a pixel whose block has none: (u, v) along the row, (u, v) down the columns; and whether they are
    small enough."""
    along_u, down_u = middle_bends(corners, lines, x, COLUMN, LOW_U, bits)
    along_v, down_v = middle_bends(corners, lines, x, FLOOR_V, LOW_V, bits)
    small = 2.0 * (abs(along_u) + abs(along_v) + abs(down_u) + abs(down_v)) <= limit
    return np.float32(along_u), np.float32(along_v), np.float32(down_u), np.float32(down_v), small
