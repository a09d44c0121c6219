"""What a task of `compare_scaling` does: one window of the source to a tile of every combination's map."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsoil.grids.reduce import OPERATORS, Output, Reduction
from xsoil.grids.windows import within
from xsoil.ptfs import PTF
from xsoil.ptfs.evaluate import SLACK, TEXTURE, balance_texture, faulty_inputs, impossible_results
from xsoil.threads import read_only
from xsoil.verbs._cells import CELLS_PER_BLOCK, run_blocks
from xsoil.vocabulary import VARIABLES

Array = NDArray[Any]
Window = tuple[slice, slice]
Parameter = tuple[str, float | None]
"""Operator and its q or p."""


@dataclass(frozen=True)
class Pack:
    """`pack(*blocks) -> (records,)`: texture classes that sum to 100 percent or are NaN, and the other inputs.

    Records, so that all inputs of a window are gathered from the blocks at once.
    """

    names: tuple[str, ...]
    fields: tuple[tuple[str, str], ...]

    def __call__(self, *blocks: Array) -> tuple[Array]:
        cells = dict(zip(self.names, blocks, strict=True))
        texture = {name: cells[name] for name in TEXTURE if name in cells}
        rejected: Any = np.False_
        if texture:
            dtype = np.result_type(np.float32, *texture.values())
            texture = {name: block.astype(dtype, copy=False) for name, block in texture.items()}
            with np.errstate(all="ignore"):
                _, rejected = balance_texture(texture)
        out = np.empty(blocks[0].shape, list(self.fields))
        for name, _ in self.fields:
            out[name] = np.where(rejected, np.nan, texture[name]) if name in texture else cells[name]
        return (out,)


@dataclass(frozen=True)
class Formula:
    """`formula(*inputs) -> (output,)`: a PTF with its checks of single inputs and of its result.

    That texture sums to 100 percent is not asked: after max or min it does not.
    """

    entry: PTF
    output: str
    dtype: str

    def __call__(self, *blocks: Array) -> tuple[Array]:
        entry = self.entry
        inputs = [block.astype(self.dtype, copy=False) for block in blocks]
        with np.errstate(all="ignore"):
            missing, impossible = faulty_inputs(inputs, entry.inputs)
            void = missing | impossible
            for x, v in zip(inputs, entry.inputs, strict=True):
                if v.name in TEXTURE:
                    void = void | (x < -SLACK) | (x > 100 + SLACK)
            results = dict(zip((v.name for v in entry.outputs), entry.function(*inputs), strict=True))
            void = void | impossible_results(results, entry.outputs, entry.curve == "van_genuchten")
        return (np.where(void, np.nan, results[self.output]).astype(self.dtype, copy=False),)

    def of(self, fields: dict[str, Array], threads: int) -> Array:
        """The output of arrays of any shape."""
        given = [fields[v.name] for v in self.entry.inputs]
        block = min(self.entry.block, CELLS_PER_BLOCK)
        out: Any = run_blocks(self, (np.dtype(self.dtype),), block, threads, *given)
        return read_only(out)


@dataclass(frozen=True)
class Ways:
    """A `TileStep` from records of inputs (k, ny, nx) to maps (k, combinations, rows, cols).

    Parameters
    ----------
    source, target : GeoBox
    via : GeoBox, optional
        Grid of the PTF in three_step.
    frameworks : tuple of str
    formulas : tuple of Formula
    operators : tuple of (str, float or None)
    min_valid : float, optional
    dtype : str
        Of the maps.
    """

    source: GeoBox
    target: GeoBox
    via: GeoBox | None
    frameworks: tuple[str, ...]
    formulas: tuple[Formula, ...]
    operators: tuple[Parameter, ...]
    min_valid: float | None
    dtype: str

    @property
    def outputs(self) -> dict[str, Output]:
        count = len(self.frameworks) * len(self.formulas) * len(self.operators)
        return {"value": Output(np.dtype(self.dtype), np.nan, (count,))}

    def window(self, rows: slice, cols: slice) -> Window | None:
        """Source cells for all operators of all frameworks."""
        found = []
        if "mpr" in self.frameworks or "tr" in self.frameworks:
            found.append(self._window(self.source, self.target, rows, cols))
        between = self._between(rows, cols)
        if between is not None and self.via is not None:
            pieces = within(between[1], self.via.shape[1])
            found.extend(self._window(self.source, self.via, between[0], piece) for piece in pieces)
        return self._around(found)

    def run(self, values: Array, origin: tuple[int, int], rows: slice, cols: slice, threads: int = 1) -> dict[str, Any]:
        """The tile of every combination, from a window (k, ny, nx) of records whose first cell is `origin`."""
        shape = (len(values), rows.stop - rows.start, cols.stop - cols.start)
        names = dict.fromkeys(v.name for f in self.formulas for v in f.entry.inputs)
        fine = {name: read_only(np.ascontiguousarray(values[name])) for name in names}
        out = np.empty((shape[0], *self.outputs["value"].extra, *shape[1:]), self.dtype)
        at = 0
        for framework in self.frameworks:
            block = out[:, at : at + len(self.formulas) * len(self.operators)]
            getattr(self, f"_{framework}")(fine, origin, rows, cols, threads, block)
            at += block.shape[1]
        return {"value": out}

    def _mpr(self, fine: dict[str, Array], origin: Any, rows: slice, cols: slice, threads: int, out: Array) -> None:
        for k, formula in enumerate(self.formulas):
            parameter = formula.of(fine, threads)
            for j, operator in enumerate(self.operators):
                step = self._step(self.source, self.target, operator, parameter.dtype)
                out[:, k * len(self.operators) + j] = scale(step, parameter, origin, rows, cols, threads)

    def _tr(self, fine: dict[str, Array], origin: Any, rows: slice, cols: slice, threads: int, out: Array) -> None:
        for j, operator in enumerate(self.operators):
            coarse = self._inputs(self.target, operator, fine, origin, rows, cols, threads)
            for k, formula in enumerate(self.formulas):
                out[:, k * len(self.operators) + j] = formula.of(coarse, threads)

    def _three_step(
        self, fine: dict[str, Array], origin: Any, rows: slice, cols: slice, threads: int, out: Array
    ) -> None:
        between = self._between(rows, cols)
        if between is None or self.via is None:
            out[...] = np.nan
            return
        start = between[0].start, between[1].start
        for j, operator in enumerate(self.operators):
            parts = [
                self._inputs(self.via, operator, fine, origin, between[0], piece, threads)
                for piece in within(between[1], self.via.shape[1])
            ]
            middle = {name: np.concatenate([part[name] for part in parts], axis=2) for name in fine}
            for k, formula in enumerate(self.formulas):
                parameter = formula.of(middle, threads)
                step = self._step(self.via, self.target, operator, parameter.dtype)
                out[:, k * len(self.operators) + j] = scale(step, parameter, start, rows, cols, threads)

    def _inputs(
        self,
        to: GeoBox,
        operator: Parameter,
        fine: dict[str, Array],
        origin: Any,
        rows: slice,
        cols: slice,
        threads: int,
    ) -> dict[str, Array]:
        found = {}
        for name, values in fine.items():
            classes = VARIABLES[name].kind != "real" and not OPERATORS[operator[0]].classes
            step = self._step(self.source, to, ("mode", None) if classes else operator, values.dtype)
            found[name] = scale(step, values, origin, rows, cols, threads)
        return found

    def _step(self, source: GeoBox, target: GeoBox, operator: Parameter, dtype: np.dtype[Any]) -> Reduction:
        row = OPERATORS[operator[0]]
        least = row.least if self.min_valid is None else self.min_valid
        return Reduction(source, target, row, operator[1], least, dtype, dtype)

    def _between(self, rows: slice, cols: slice) -> Window | None:
        """Cells of `via` under a tile of the target."""
        if self.via is None or "three_step" not in self.frameworks:
            return None
        return self._window(self.via, self.target, rows, cols)

    def _window(self, source: GeoBox, target: GeoBox, rows: slice, cols: slice) -> Window | None:
        """Source cells of a tile for all operators."""
        area = next((o for o in self.operators if OPERATORS[o[0]].family != "point"), None)
        point = [o for o in self.operators if OPERATORS[o[0]].family == "point"]
        asked = [self._step(source, target, o, np.dtype(self.dtype)) for o in (area, *point) if o is not None]
        return around([step.window(rows, cols) for step in asked], source.shape[1])

    def _around(self, windows: list[Window | None]) -> Window | None:
        return around(windows, self.source.shape[1])

    def __dask_tokenize__(self) -> Any:
        boxes = (repr(self.source), repr(self.target), repr(self.via))
        return (type(self).__name__, *boxes, self.frameworks, self.formulas, self.operators, self.min_valid, self.dtype)


def around(windows: Iterable[Window | None], period: int) -> Window | None:
    """The window that holds all of these; columns of a periodic axis may be counted from another turn."""
    found = [window for window in windows if window is not None]
    if not found:
        return None
    rows, cols = found[0]
    for other_rows, other_cols in found[1:]:
        rows = slice(min(rows.start, other_rows.start), max(rows.stop, other_rows.stop))
        turn = period * round((cols.start + cols.stop - other_cols.start - other_cols.stop) / (2 * period))
        cols = slice(min(cols.start, other_cols.start + turn), max(cols.stop, other_cols.stop + turn))
    return rows, cols


def scale(step: Reduction, values: Array, origin: tuple[int, int], rows: slice, cols: slice, threads: int) -> Array:
    """A step on its own part of a window that may be larger."""
    window = step.window(rows, cols)
    if window is None:
        return np.full((len(values), rows.stop - rows.start, cols.stop - cols.start), np.nan, values.dtype)
    rows_here = slice(window[0].start - origin[0], window[0].stop - origin[0])
    width, period = window[1].stop - window[1].start, step.source.shape[1]
    for turn in (0, period, -period):
        first = window[1].start + turn - origin[1]
        if first >= 0 and first + width <= values.shape[2]:
            part, corner = values[:, rows_here, first : first + width], (window[0].start, window[1].start)
            break
    else:  # the source in its whole width, of which a tile across its seam takes both ends
        part, corner = values[:, rows_here], (window[0].start, origin[1])
    found: Array = step.run(part, corner, rows, cols, threads)["value"]
    return found
