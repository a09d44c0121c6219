"""The operators of scale conversion: one row each, and what a task does with a row.

A row says which family computes it. Families ask an overlap (`grids/overlap.py`) or a sampler
(`grids/points.py`) and never know how the two grids lie to each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from xsoil.grids.overlap import Overlap, overlap_of, overlap_window
from xsoil.grids.points import PointSampler
from xsoil.grids.separable import SeparableOverlap
from xsoil.threads import in_bands, read_only

Array = NDArray[Any]
Family = Literal["area", "power", "select", "point", "bits"]

SLACK = 1e-9
"""A valid fraction this much below `min_valid` still counts as reaching it."""

NEGATIVE, OVERFLOW = 1, 2
"""Bits of the faults: a negative value under an operator that has no meaning there; a power beyond the numbers."""

BAND_CELLS = 2**21
"""Source cells whose transformed values (float64) are held at once."""


@dataclass(frozen=True)
class Operator:
    """One row of the table.

    Attributes
    ----------
    name : str
        As the caller writes it.
    family : str
        What computes it: "area" (one pass over the overlaps), "power" (a mean of transformed values),
        "select" (all overlaps of a cell at hand), "point" (at the centre), "bits" (flags united).
    cell_method : str
        What CF calls it.
    parameter : {"q", "p", "classes"}, optional
        What it needs beside the values.
    least : float
        Default of `min_valid`.
    whole : bool
        Integers stay integers.
    classes : bool
        Has a meaning for classes (numbers that only name something).
    """

    name: str
    family: Family
    cell_method: str
    parameter: Literal["q", "p", "classes"] | None = None
    least: float = 0.5
    whole: bool = False
    classes: bool = False

    @property
    def positive(self) -> bool:
        """True where negative values are faults."""
        return self.family == "power"


_ROWS = (
    Operator("mean", "area", "mean"),
    Operator("sum", "area", "sum", least=0.0),
    Operator("min", "area", "minimum", whole=True, classes=True),
    Operator("max", "area", "maximum", whole=True, classes=True),
    Operator("median", "select", "median"),
    Operator("mode", "select", "mode", whole=True, classes=True),
    Operator("nearest", "point", "point", whole=True, classes=True),
    Operator("bilinear", "point", "point (comment: bilinear)"),
    Operator("cubic", "point", "point (comment: cubic)"),
    Operator("harmonic", "power", "mean (comment: harmonic)"),
    Operator("geometric", "power", "mean (comment: geometric)"),
    Operator("std", "select", "standard_deviation"),
    Operator("quantile", "select", "quantile (comment: q = {q})", parameter="q"),
    Operator("power", "power", "mean (comment: power, p = {p})", parameter="p"),
    Operator("fraction", "select", "mean (comment: share of each class)", parameter="classes", classes=True),
)

OPERATORS: Mapping[str, Operator] = MappingProxyType({row.name: row for row in _ROWS})
"""All operators by name."""

UNION = Operator("union", "bits", "", parameter="classes", least=0.0, whole=True, classes=True)
"""What becomes of bit flags: each bit that any overlapping cell has. Not for callers to name."""


class Reduced(NamedTuple):
    """A tile: values (k, rows, cols), for shares of classes (k, classes, rows, cols); valid fraction and
    faults (k, rows, cols)."""

    result: Array
    fraction: Array
    faults: Array | None = None


class Output(NamedTuple):
    """One of the arrays that a step makes: its dtype, what cells without a value hold, its own dimensions."""

    dtype: np.dtype[Any]
    missing: Any
    extra: tuple[int, ...] = ()


@dataclass(frozen=True)
class Reduction:
    """What one task of `upscale` does: a source window to a target tile. Holds no arrays but `classes`.

    Parameters
    ----------
    source, target : GeoBox
    operator : Operator
    parameter : float or tuple of float or int, optional
        q, p, the classes, or the bits of a union.
    min_valid : float
        Smallest valid fraction of a cell (inclusive).
    exact : numpy.dtype
        Floating-point type that holds the source's values exactly.
    out : numpy.dtype
        Type of the result.
    fill : int, optional
        For integer results: what missing cells hold.
    with_fraction : bool
        Hand out the valid fraction too.
    """

    source: GeoBox
    target: GeoBox
    operator: Operator
    parameter: float | int | tuple[float, ...] | None
    min_valid: float
    exact: np.dtype[Any]
    out: np.dtype[Any]
    fill: int | None = None
    with_fraction: bool = False

    @property
    def outputs(self) -> dict[str, Output]:
        """What `run` returns, by name."""
        extra = (len(self.parameter),) if isinstance(self.parameter, tuple) else ()
        out = {"value": Output(self.out, np.nan if self.fill is None else self.fill, extra)}
        if self.with_fraction:
            out["valid_fraction"] = Output(np.dtype(np.float64), 0.0)
        if self.operator.positive:
            out["quality"] = Output(np.dtype(np.uint8), 0)
        return out

    @property
    def overlap(self) -> Overlap:
        return overlap_of(self.source, self.target)

    @property
    def sampler(self) -> PointSampler:
        return sampler_of(self.source, self.target, self.operator.name)

    def window(self, rows: slice, cols: slice) -> tuple[slice, slice] | None:
        """Source rows and columns that a target tile needs; None where there are none."""
        if self.operator.family == "point":
            return self.sampler.window(rows, cols)
        return overlap_window(self.source, self.target, rows.start, rows.stop, cols.start, cols.stop)

    def spans(self) -> tuple[tuple[Array, Array], tuple[Array, Array]] | None:
        """First and last + 1 source row of every target row, and column of every column; both 0 where there is none.

        None unless the tile of any rows and columns needs what these need, no more.
        """
        if self.operator.family == "point" or not isinstance(self.overlap, SeparableOverlap):
            return None
        return self.overlap.rows.spans(), self.overlap.columns.spans()

    def run(
        self, values: Array, origin: tuple[int, int], rows: slice, cols: slice, threads: int = 1
    ) -> dict[str, Array]:
        """The tile from a window (k, ny, nx) whose first cell is `origin`."""
        real = self.operator.family != "bits"
        tile = _FAMILIES[self.operator.family](
            self, read_only(values.astype(self.exact, copy=False) if real else values), origin, rows, cols, threads
        )
        result, fraction, faults = tile
        if not real:
            found = {"value": result.view(self.out), "valid_fraction": fraction}
            return {name: found[name] for name in self.outputs}
        if self.operator.family != "point":
            enough = (fraction >= self.min_valid - SLACK) & (fraction > 0)
            result = np.where(enough[:, None] if result.ndim == 4 else enough, result, np.nan)
        every = {"value": typed(result, self.out, self.fill), "valid_fraction": fraction, "quality": faults}
        return {name: every[name] for name in self.outputs}  # type: ignore[misc]

    def __dask_tokenize__(self) -> Any:
        return (
            type(self).__name__, repr(self.source), repr(self.target), self.operator.name, self.parameter,
            self.min_valid, str(self.exact), str(self.out), self.fill, self.with_fraction,
        )  # fmt: skip


def typed(result: Array, out: np.dtype[Any], fill: int | None) -> Array:
    """A result in its type; whole numbers hold `fill` where it is NaN."""
    if fill is None:
        return result.astype(out, copy=False)
    # After the change of type: a float does not hold every integer that may stand for a missing value.
    gone, info = np.isnan(result), np.iinfo(out)
    if info.bits == 64:  # as a float the largest integer has become one that is too large
        result = np.minimum(result, np.nextafter(float(info.max), 0.0))
    whole: Array = np.where(gone, 0, result).astype(out)
    whole[gone] = fill
    return whole


@lru_cache(maxsize=64)
def sampler_of(source: GeoBox, target: GeoBox, how: str) -> PointSampler:
    """The sampler of two grids; kept, as its axes cost a projection."""
    return PointSampler(source, target, how)


def _area(step: Reduction, values: Array, origin: tuple[int, int], rows: slice, cols: slice, threads: int) -> Reduced:
    return Reduced(*step.overlap.reduce(values, origin, rows, cols, step.operator.name, threads))


def _select(step: Reduction, values: Array, origin: tuple[int, int], rows: slice, cols: slice, threads: int) -> Reduced:
    how, parameter = step.operator.name, step.parameter
    if how == "median":
        how, parameter = "quantile", 0.5
    given = np.asarray(parameter, dtype=values.dtype) if isinstance(parameter, tuple) else parameter
    return Reduced(*step.overlap.select(values, origin, rows, cols, how, given, threads))


def _point(step: Reduction, values: Array, origin: tuple[int, int], rows: slice, cols: slice, threads: int) -> Reduced:
    return Reduced(*step.sampler.sample(values, origin, rows, cols, step.min_valid, threads))


def _power(step: Reduction, values: Array, origin: tuple[int, int], rows: slice, cols: slice, threads: int) -> Reduced:
    """Inverse of the mean of transformed values: harmonic (1/v), geometric (log v), power (v**p).

    A cell with a zero is 0, which is the limit (for p > 0 zeros are ordinary); one with a negative is NaN.
    """
    name, p = step.operator.name, step.parameter if isinstance(step.parameter, (int, float)) else 1.0
    forward, inverse = _transforms(name, p)
    zeros = name == "power" and p > 0
    shape = (values.shape[0], rows.stop - rows.start, cols.stop - cols.start)
    result, fraction, faults = np.empty(shape), np.empty(shape), np.zeros(shape, np.uint8)
    needed = step.overlap.window(rows, cols)
    count = shape[1] if needed is not None else 1
    per_row = values[0].size * values.shape[0] / max(count, 1)

    def band(first: int, last: int) -> None:
        # The numbers do not depend on the window, so rows can be taken a few at a time.
        by = max(1, int(BAND_CELLS / max(per_row, 1.0)))
        for start in range(first, last, by):
            part = slice(rows.start + start, rows.start + min(start + by, last))
            here = (slice(None), slice(start, start + part.stop - part.start))
            window = step.overlap.window(part, cols)
            if window is None:
                result[here], fraction[here] = np.nan, 0.0
                continue
            r0, r1 = max(window[0].start - origin[0], 0), window[0].stop - origin[0]
            known = values[:, r0:r1]
            bad = known < 0.0 if zeros else known <= 0.0
            some = bool(bad.any())
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                moved = forward((np.where(bad, 1.0, known) if some else known).astype(np.float64, copy=False))
                at = (origin[0] + r0, origin[1])
                mean, share = step.overlap.reduce(read_only(moved), at, part, cols, "mean", 1)
                mean = inverse(mean)
            odd = name == "power" and bool(((share > 0) & ((mean == 0.0) | (mean == np.inf))).any())
            if some or odd:
                low, _ = step.overlap.reduce(read_only(known), at, part, cols, "min", 1)
                mean = np.where(low < 0.0, np.nan, mean if zeros else np.where(low == 0.0, 0.0, mean))
                faults[here] = np.where(low < 0.0, NEGATIVE, 0)
            if odd:
                high, _ = step.overlap.reduce(read_only(known), at, part, cols, "max", 1)
                over, under = (mean == np.inf) & (high < np.inf), (mean == 0.0) & (high > 0.0) & (zeros | (low > 0.0))
                under &= ~(np.isinf(high) & (p < 0))  # the mean of infinities
                mean = np.where(over | under, np.nan, mean)
                faults[here] |= np.where(over | under, OVERFLOW, 0).astype(np.uint8)
            result[here], fraction[here] = mean, share

    in_bands(band, shape[1], threads)
    return Reduced(result, fraction, faults)


def _bits(step: Reduction, values: Array, origin: tuple[int, int], rows: slice, cols: slice, threads: int) -> Reduced:
    """Each bit by itself is a maximum over the cells that overlap."""
    unsigned = np.dtype(f"u{values.dtype.itemsize}")
    raw = np.ascontiguousarray(values, values.dtype.newbyteorder("=")).view(unsigned)
    result: Any = unsigned.type(0)
    fraction: Any = None
    bits = step.parameter if isinstance(step.parameter, int) else 0
    for bit in (unsigned.type(1 << k) for k in range(bits.bit_length()) if bits >> k & 1):
        seen = read_only(((raw & bit) != 0).astype(np.float32))
        one, fraction = step.overlap.reduce(seen, origin, rows, cols, "max", threads)
        result = result | np.where(np.nan_to_num(one) > 0.0, bit, unsigned.type(0))
    return Reduced(np.asarray(result), fraction)


_FAMILIES: dict[str, Callable[[Reduction, Array, tuple[int, int], slice, slice, int], Reduced]] = {
    "area": _area,
    "power": _power,
    "select": _select,
    "point": _point,
    "bits": _bits,
}


def _transforms(name: str, p: float) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    if name == "harmonic":
        return np.reciprocal, np.reciprocal
    if name == "geometric":
        return np.log, np.exp
    return lambda v: v**p, lambda v: v ** (1.0 / p)
