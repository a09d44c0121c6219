"""Which part of the source a tile of the target needs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from xsoil.grids.caps import Caps, source_caps, tile_cap
from xsoil.grids.index_map import Array, IndexMap

Integers = NDArray[np.int64]

_POINTS = 9
_BLOCKS = 192
_PER = 4  # intervals between the points of a block, each way
_FEW, _PARTS, _LARGE = 64, 6, 2**23  # blocks that are looked at again, in how many parts each way, above which window
_MARGIN = 2.0
_AT_ONCE = 4096  # tiles whose points are projected in one call


class Windows:
    """Source windows of target tiles: a superset of the pixels that overlap them.

    Tiles with a smooth image in the source take its bounding box. Where the inverse map is not smooth
    (poles, edges of the projection), all source blocks whose forward image touches the tile count.
    """

    def __init__(self, imap: IndexMap) -> None:
        self._map = imap
        self._seen: dict[int, tuple[Integers, Array]] = {}

    def window(self, rows: slice, cols: slice) -> tuple[slice, slice] | None:
        """Window of one tile; None where no pixel overlaps it."""
        nr, nc = self._map.target_shape
        r0, r1, _ = rows.indices(nr)
        c0, c1, _ = cols.indices(nc)
        return _slices(self._find(*(np.array([edge]) for edge in (r0, r1, c0, c1)))[0])

    def part(
        self, rows: slice, cols: slice, origin: tuple[int, int], shape: Sequence[int]
    ) -> tuple[slice, slice] | None:
        """What of a source window at `origin` of that `shape` lies in the window of a tile; None if nothing does."""
        window = self.window(rows, cols)
        if window is None:
            return None
        y, x = (slice(max(w.start, first), min(w.stop, first + size)) for w, first, size in zip(window, origin, shape))
        return (y, x) if y.stop > y.start and x.stop > x.start else None

    def windows(self, r0: Integers, r1: Integers, c0: Integers, c1: Integers) -> Integers:
        """Windows of many tiles (tiles, 4): first row, last + 1, first column, last + 1; zeros where there is none."""
        found = np.zeros((len(r0), 4), np.int64)
        for k in range(0, len(r0), _AT_ONCE):
            some = slice(k, k + _AT_ONCE)
            found[some] = self._find(r0[some], r1[some], c0[some], c1[some])
        return found

    def _find(self, r0: Integers, r1: Integers, c0: Integers, c1: Integers) -> Integers:
        smooth, boxes = self._images(r0, r1, c0, c1)
        out = np.zeros((len(smooth), 4), np.int64)
        out[smooth] = self._clip(*boxes)
        for n in np.flatnonzero(~smooth).tolist():
            out[n] = self._from_blocks(int(r0[n]), int(r1[n]), int(c0[n]), int(c1[n]))
        return out

    def _images(
        self, r0: Integers, r1: Integers, c0: Integers, c1: Integers
    ) -> tuple[NDArray[np.bool_], tuple[Array, ...]]:
        """Which tiles have a smooth image in the source, and the boxes (x0, x1, y0, y1) of those."""
        t = np.linspace(0.0, 1.0, _POINTS)
        row = r0[:, None, None] + (r1 - r0)[:, None, None] * t[None, :, None] + np.zeros((1, 1, _POINTS))
        column = c0[:, None, None] + (c1 - c0)[:, None, None] * t[None, None, :] + np.zeros((1, _POINTS, 1))
        x, y = self._map.inverse(column, row)
        period = self._map.source_period
        if period:
            x = x[:, :1, :1] + (x - x[:, :1, :1]) - period * np.round((x - x[:, :1, :1]) / period)
        smooth = np.asarray((np.isfinite(x) & np.isfinite(y)).all(axis=(1, 2)))
        bend_x, bend_y = np.zeros(len(x)), np.zeros(len(x))
        for axis in (1, 2):
            for values, bend in ((x, bend_x), (y, bend_y)):
                second = np.abs(np.diff(values, 2, axis=axis)).max(axis=(1, 2))
                np.maximum(bend, second, out=bend)
                first = np.hypot(np.abs(np.diff(x, axis=axis)), np.abs(np.diff(y, axis=axis))).max(axis=(1, 2))
                with np.errstate(invalid="ignore"):
                    smooth &= second <= 0.25 * first + 0.5
        # Between points the image may bulge by 1/8 of the second difference; 1/2 is generous.
        mx, my = (_MARGIN + 0.5 * bend[smooth] for bend in (bend_x, bend_y))
        x, y = x[smooth], y[smooth]
        ends = (x.min(axis=(1, 2)) - mx, x.max(axis=(1, 2)) + mx, y.min(axis=(1, 2)) - my, y.max(axis=(1, 2)) + my)
        return smooth, ends

    def _clip(self, x0: Array, x1: Array, y0: Array, y1: Array) -> Integers:
        """Windows of the boxes x0 to x1, y0 to y1 of positions in the source."""
        (ny, nx), period = self._map.source_shape, self._map.source_period
        ya, yb = np.maximum(np.floor(y0), 0), np.minimum(np.ceil(y1), ny)
        least, most = np.full(x0.shape, float(nx)), np.zeros(x0.shape)
        for k in range(-2, 3) if period else (0,):
            xa, xb = np.maximum(np.floor(x0 + k * period), 0), np.minimum(np.ceil(x1 + k * period), nx)
            met = xb > xa
            least, most = np.where(met, np.minimum(least, xa), least), np.where(met, np.maximum(most, xb), most)
        boxes = np.stack([ya, yb, least, most], axis=1)
        return np.where(((yb > ya) & (most > least))[:, None], boxes, 0).astype(np.int64)

    def _from_blocks(self, r0: int, r1: int, c0: int, c1: int) -> tuple[int, int, int, int]:
        """Union of the source blocks whose forward image touches the tile."""
        edges_y, edges_x, boxes = self._blocks
        i, j = np.nonzero(self._touches(boxes, r0, r1, c0, c1))
        cap = tile_cap(self._map, r0, r1, c0, c1)
        near = ~self._caps(edges_y[i], edges_y[i + 1], edges_x[j], edges_x[j + 1]).apart(cap)
        i, j = i[near], j[near]
        if i.size == 0:
            return 0, 0, 0, 0
        y0, y1, x0, x1 = edges_y[i], edges_y[i + 1], edges_x[j], edges_x[j + 1]
        if i.size <= _FEW and (y1.max() - y0.min()) * (x1.max() - x0.min()) > _LARGE:
            # The blocks of a large source are coarse: those that touch are looked at again in parts.
            (y0, y1, x0, x1), parts = self._parts(i, j)
            keep = self._touches(parts, r0, r1, c0, c1) & (y1 > y0) & (x1 > x0)
            y0, y1, x0, x1 = (a[keep] for a in (y0, y1, x0, x1))
            if y0.size == 0:
                return 0, 0, 0, 0
        return int(y0.min()), int(y1.max()), int(x0.min()), int(x1.max())

    def _parts(self, i: Integers, j: Integers) -> tuple[Integers, tuple[Array, ...]]:
        """Edges of the parts of some blocks (4, parts) and the boxes of their images; kept, as neighbours need them."""
        edges_y, edges_x, _ = self._blocks
        numbers = i * edges_x.size + j
        new = np.array([n for n in numbers.tolist() if n not in self._seen], np.int64)
        if new.size:
            cut_y, cut_x = (
                np.round(np.linspace(ends[at], ends[at + 1], _PARTS + 1)).astype(int)
                for ends, at in zip((edges_y, edges_x), np.divmod(new, edges_x.size), strict=True)
            )
            k, m = (part.ravel() for part in np.meshgrid(np.arange(_PARTS), np.arange(_PARTS)))
            edges = np.stack([cut_y[k], cut_y[k + 1], cut_x[m], cut_x[m + 1]])  # (4, parts of a block, blocks)
            boxes = np.stack(self._boxes(*edges.reshape(4, -1))).reshape(edges.shape)
            self._seen.update({n: (edges[..., at], boxes[..., at]) for at, n in enumerate(new.tolist())})
        known = [self._seen[n] for n in numbers.tolist()]
        edges, boxes = (np.concatenate([pair[which] for pair in known], axis=1) for which in (0, 1))
        return edges, tuple(boxes)

    def _touches(self, boxes: tuple[Array, ...], r0: int, r1: int, c0: int, c1: int) -> NDArray[np.bool_]:
        """Which of the boxes (low u, high u, low v, high v) reach into a tile."""
        low_u, high_u, low_v, high_v = boxes
        edges, period = self._map.row_edges(), self._map.period
        across = np.zeros(low_u.shape, dtype=bool)
        for k in range(-2, 3) if period else (0,):
            across |= (high_u + k * period >= c0) & (low_u + k * period <= c1)
        return np.asarray(across & (high_v >= edges[r0]) & (low_v <= edges[r1]))

    @cached_property
    def _blocks(self) -> tuple[Integers, Integers, tuple[Array, ...]]:
        """Edges of source blocks and the boxes of their images."""
        ny, nx = self._map.source_shape
        by, bx = -(-ny // max(8, -(-ny // _BLOCKS))), -(-nx // max(8, -(-nx // _BLOCKS)))
        edges_y, edges_x = (
            np.unique(np.linspace(0, ny, by + 1).astype(int)),
            np.unique(np.linspace(0, nx, bx + 1).astype(int)),
        )
        i, j = np.meshgrid(np.arange(edges_y.size - 1), np.arange(edges_x.size - 1), indexing="ij")
        boxes = self._boxes(edges_y[i.ravel()], edges_y[i.ravel() + 1], edges_x[j.ravel()], edges_x[j.ravel() + 1])
        return edges_y, edges_x, tuple(box.reshape(i.shape) for box in boxes)

    def _caps(self, y0: Integers, y1: Integers, x0: Integers, x1: Integers) -> Caps:
        """Around source blocks, on the Earth."""
        return source_caps(self._map, *_lattice(y0, y1, x0, x1))

    def _boxes(self, y0: Integers, y1: Integers, x0: Integers, x1: Integers) -> tuple[Array, ...]:
        """Low u, high u, low v, high v of the images of source blocks, with margins."""
        shape = (y0.size, _PER + 1, _PER + 1)
        u, v = self._map.forward(*_lattice(y0, y1, x0, x1))
        u, v = u.reshape(y0.size, -1), v.reshape(y0.size, -1)
        period = self._map.period
        boxes: list[Array] = []
        with np.errstate(invalid="ignore"):
            if period:
                first = np.take_along_axis(u, np.isfinite(u).argmax(axis=1)[:, None], axis=1)
                u = u - period * np.round((u - first) / period)
            for values in (u, v):
                low, high = np.fmin.reduce(values, axis=1), np.fmax.reduce(values, axis=1)
                grid = values.reshape(shape)
                bend = np.zeros(low.shape)
                for axis in (1, 2):
                    second = np.abs(np.diff(grid, 2, axis=axis)).reshape(low.size, -1)
                    bend = np.fmax(bend, np.fmax.reduce(second, axis=1))
                # A block that is partly outside of the domain may reach as far again as it is seen to.
                partly = np.where(np.isfinite(values).all(axis=1), 0.0, high - low)
                boxes += [low - bend - partly - 1.0, high + bend + partly + 1.0]
        return tuple(boxes)


def _lattice(y0: Integers, y1: Integers, x0: Integers, x1: Integers) -> tuple[Array, Array]:
    """Columns and rows of places in blocks (blocks, places, places)."""
    t = np.linspace(0.0, 1.0, _PER + 1)
    y, x = (first[:, None] + (last - first)[:, None] * t for first, last in ((y0, y1), (x0, x1)))
    shape = (y0.size, t.size, t.size)
    return np.broadcast_to(x[:, None, :], shape), np.broadcast_to(y[:, :, None], shape)


def within(cols: slice, period: int) -> list[slice]:
    """Columns that may run beyond a periodic axis, as pieces that do not, in order."""
    pieces, at = [], cols.start
    while at < cols.stop:
        first = at % period
        width = min(period - first, cols.stop - at)
        pieces.append(slice(first, first + width))
        at += width
    return pieces


def _slices(window: Integers) -> tuple[slice, slice] | None:
    r0, r1, c0, c1 = window.tolist()
    return (slice(r0, r1), slice(c0, c1)) if r1 > r0 else None
