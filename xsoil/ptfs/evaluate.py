"""A pedotransfer function on blocks of cells: texture, value faults, flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsoil.ptfs.ptf import PTF
from xsoil.vocabulary import Variable

__all__ = ["FLAGS", "TEXTURE", "Evaluation"]

Array = NDArray[Any]
Bools = NDArray[np.bool_]

TEXTURE = ("sand", "silt", "clay")
# Percent; rounding of converted and subtracted fractions is no fault.
SLACK = 1e-4
# Percent; published maps are rounded to that, so that a smaller difference is no renormalisation worth a flag.
ROUNDING = 1e-3

FLAGS: Mapping[str, int] = {
    "outside_calibration_range": 1,
    "texture_renormalised": 2,
    "texture_rejected": 4,
    "input_clipped": 8,
    "input_missing": 16,
    "input_impossible": 32,
    "result_impossible": 64,
}
"""Bits of the variable `quality`; from `texture_rejected` on, except `input_clipped`, the cell has no result."""

# Outputs of one soil that must increase strictly.
ORDERED = ("theta_wp", "theta_fc", "theta_s"), ("theta_r", "theta_s")


@dataclass(frozen=True)
class Evaluation:
    """`evaluation(*blocks) -> (output, ..., quality)`: a function of cells for `map_cells`.

    Attributes
    ----------
    entry : PTF
        A resolved entry.
    names : tuple of str
        What the blocks are, in canonical units: the entry's inputs, except one texture class that follows from the
        two others, and texture classes that serve the check of the sum only.
    outputs : tuple of str
        The outputs that are wanted, among the entry's.
    dtype : str
        Type in which to compute and return.
    quality : bool
        Return the flags as well, int16, as the last result.
    """

    entry: PTF
    names: tuple[str, ...]
    outputs: tuple[str, ...]
    dtype: str
    quality: bool

    def __call__(self, *blocks: Array) -> tuple[Array, ...]:
        with np.errstate(all="ignore"):
            return self._evaluate(*blocks)

    def _evaluate(self, *blocks: Array) -> tuple[Array, ...]:
        entry = self.entry
        cells = {name: block.astype(self.dtype, copy=False) for name, block in zip(self.names, blocks, strict=True)}
        renormalised, rejected = balance_texture(cells)
        inputs = [cells[variable.name] for variable in entry.inputs]
        missing = _any([np.isnan(x) for x in inputs])
        impossible = _any(
            [(x < v.low) | (x > v.high) for x, v in zip(inputs, entry.inputs, strict=True) if v.name not in TEXTURE],
            missing,
        )
        faulty = missing | rejected | impossible
        results = dict(zip((v.name for v in entry.outputs), entry.function(*inputs), strict=True))
        unphysical = impossible_results(results, entry.outputs, entry.curve == "van_genuchten") & ~faulty
        void = faulty | unphysical
        blank = np.dtype(self.dtype).type(np.nan)
        wanted: list[Array] = [results[name] for name in self.outputs]
        if void.any():
            wanted = [np.where(void, blank, result) for result in wanted]
        if not self.quality:
            return tuple(wanted)

        outside = _any([_beyond(cells, entry.validity), *_called(entry.outside, inputs)], missing)
        clipped = _any([_beyond(cells, entry.guards), *_called(entry.guarded, inputs)], missing)
        found = (
            outside & ~faulty,
            renormalised,
            rejected,
            clipped & ~faulty,
            missing & ~rejected,
            impossible,
            unphysical,
        )
        quality = np.zeros(void.shape, np.int16)
        for bit, where in zip(FLAGS.values(), found, strict=True):
            quality |= where * np.int16(bit)
        return (*wanted, quality)


def balance_texture(cells: dict[str, Array]) -> tuple[Bools, Bools]:
    """Bring the texture in `cells` to a sum of 100, adding the third class where two are there.

    Returns
    -------
    renormalised, rejected : ndarray of bool
        Where the sum was another one within 99 to 101, and where the fractions are no texture: outside 0 to 100, or
        outside that sum (two classes: above 101 together).
    """
    known = [name for name in TEXTURE if name in cells]
    fractions = [cells[name] for name in known]
    rejected = _any([(x < -SLACK) | (x > 100 + SLACK) for x in fractions])
    if len(known) == 1:
        cells[known[0]] = np.clip(fractions[0], 0, 100)
        return np.zeros_like(rejected), rejected
    total = fractions[0] + fractions[1]
    if len(known) == 2:
        total = np.maximum(total, 100)  # less than 100 leaves the rest to the third class
    else:
        total = total + fractions[2]
        rejected |= total < 99 - SLACK
    rejected |= total > 101 + SLACK
    renormalised = (np.abs(total - 100) > ROUNDING) & ~rejected
    scale = 100 / total
    for name, x in zip(known, fractions, strict=True):
        cells[name] = np.clip(x * scale, 0, 100)
    if len(known) == 2:
        (third,) = set(TEXTURE) - set(known)
        cells[third] = np.maximum(100 - cells[known[0]] - cells[known[1]], 0)
    return renormalised, rejected


def impossible_results(results: Mapping[str, Array], outputs: tuple[Variable, ...], van_genuchten: bool) -> Bools:
    """Where results are no numbers, outside what is physically possible, or in impossible order."""
    # written as "not inside", so that NaN counts
    inside = [(results[v.name] >= v.low) & (results[v.name] <= v.high) for v in outputs]
    inside += [np.isfinite(results[v.name]) for v in outputs if np.isinf(v.low) or np.isinf(v.high)]
    for order in ORDERED:
        inside += [results[a] < results[b] for a, b in pairwise(name for name in order if name in results)]
    if van_genuchten and "n" in results and "m" not in results:
        inside.append(results["n"] > 1)  # m = 1 - 1/n
    bad: Bools = ~np.logical_and.reduce(inside)
    return bad


def _any(masks: list[Bools], like: Bools | None = None) -> Bools:
    if not masks:
        return np.zeros_like(like, dtype=bool)
    found = masks[0].copy()
    for mask in masks[1:]:
        found |= mask
    return found


def _beyond(cells: Mapping[str, Array], ranges: Mapping[str, tuple[float, float]]) -> Any:
    masks = [(cells[name] < low) | (cells[name] > high) for name, (low, high) in ranges.items() if name in cells]
    return _any(masks) if masks else np.bool_(False)


def _called(function: Any, inputs: list[Array]) -> list[Any]:
    return [] if function is None else [function(*inputs)]
