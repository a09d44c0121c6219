"""A pedotransfer function on blocks of cells: texture, value faults, flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsoil.ptfs.coarse_fragments import COARSE_FRAGMENTS, WATER, Correction
from xsoil.ptfs.organic import is_organic, letts2000
from xsoil.ptfs.ptf import PTF
from xsoil.vocabulary import VARIABLES, Variable

__all__ = ["FLAGS", "TEXTURE", "Evaluation"]

Array = NDArray[Any]
Mask = NDArray[np.bool_] | np.bool_
NOWHERE = np.False_

TEXTURE = ("sand", "silt", "clay")
# Percent; rounding of converted and subtracted fractions is no fault.
SLACK = 1e-4
# Percent; sums this close to 100 are taken as they are: rounding of single-precision fractions.
ROUNDING = 1e-3

FLAGS: Mapping[str, int] = {
    "outside_calibration_range": 1,
    "texture_renormalised": 2,
    "texture_rejected": 4,
    "input_clipped": 8,
    "input_missing": 16,
    "input_impossible": 32,
    "result_impossible": 64,
    "organic_soil": 128,
}
"""Bits of the variable `quality`.

The cell has no result with `texture_rejected`, `input_missing`, `input_impossible` and `result_impossible`. With
`organic_soil` a function of mineral soils was used beyond its reach, or parameters of peat took its place.
"""

# Outputs of one soil that must increase strictly.
ORDERED = ("theta_wp", "theta_fc", "theta_s"), ("theta_r", "theta_s")
# Outputs whose formulas are powers and products that are never zero, but where a float has run out of range.
POSITIVE = ("k_sat", "k_0", "alpha")
# Of van Genuchten's n, ten times that of the steepest sands: beyond it a formula has left the soils it was made for.
STEEPEST = 100.0


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
    coarse_fragments : str, optional
        A name in `COARSE_FRAGMENTS`: results are those of the soil with its stones. `names` then has
        `coarse_fragments`, and what the correction needs.
    peat : bool
        Organic soils get the parameters of Letts et al. (2000). `names` then has `organic_carbon` and `peat_class`.
    """

    entry: PTF
    names: tuple[str, ...]
    outputs: tuple[str, ...]
    dtype: str
    quality: bool
    coarse_fragments: str | None = None
    peat: bool = False

    def __call__(self, *blocks: Array) -> tuple[Array, ...]:
        with np.errstate(all="ignore"):
            return self._evaluate(*blocks)

    def _evaluate(self, *blocks: Array) -> tuple[Array, ...]:
        entry = self.entry
        cells = {name: block.astype(self.dtype, copy=False) for name, block in zip(self.names, blocks, strict=True)}
        renormalised, rejected = balance_texture(cells)
        inputs = [cells[variable.name] for variable in entry.inputs]
        missing, impossible = faulty_inputs(inputs, entry.inputs)
        results = dict(zip((v.name for v in entry.outputs), entry.function(*inputs), strict=True))
        organic: Mask = NOWHERE
        if "organic_carbon" in cells and (self.quality or self.peat):
            organic = is_organic(cells["organic_carbon"], cells.get("clay"))
        peat = organic if self.peat else NOWHERE
        if self.peat:
            # what is known to be peat needs neither texture nor the other inputs, but its class
            unknown, wrong = _faults(cells, "organic_carbon")
            classless, other = _faults(cells, "peat_class")
            missing = ((missing | unknown) & ~peat) | (peat & classless)
            impossible = ((impossible | wrong) & ~peat) | (peat & other)
            rejected = rejected & ~peat
            results = _replaced(results, peat, cells["peat_class"])
        if self.coarse_fragments is not None:
            correction = COARSE_FRAGMENTS[self.coarse_fragments]
            absent, wrong = _faults(cells, "coarse_fragments", *correction.inputs)
            missing, impossible = missing | absent, impossible | wrong
            results = _with_stones(results, correction, cells)
        faulty = missing | rejected | impossible
        unphysical = ~faulty & impossible_results(results, entry.outputs, entry.curve == "van_genuchten")
        if self.coarse_fragments is not None:
            unphysical = unphysical | (~faulty & (cells["coarse_fragments"] >= 100))  # nothing but rock
        void = faulty | unphysical
        wanted: list[Array] = [results[name] for name in self.outputs]
        if void.any():
            blank = np.dtype(self.dtype).type(np.nan)
            wanted = [np.where(void, blank, result) for result in wanted]
        if not self.quality:
            return tuple(wanted)

        outside = _beyond(cells, entry.validity)
        if entry.outside is not None:
            outside = outside | entry.outside(*inputs)
        clipped = _beyond(cells, entry.guards)
        if entry.guarded is not None:
            clipped = clipped | entry.guarded(*inputs)
        found = (
            outside & ~faulty & ~peat,
            renormalised,
            rejected,
            clipped & ~faulty & ~peat,
            missing & ~rejected,
            impossible,
            unphysical,
            organic,
        )
        quality = np.zeros(blocks[0].shape, np.int16)
        for bit, where in zip(FLAGS.values(), found, strict=True):
            quality |= np.int16(bit) * where
        return (*wanted, quality)


def _faults(cells: Mapping[str, Array], *names: str) -> tuple[Mask, Mask]:
    return faulty_inputs([cells[name] for name in names], tuple(VARIABLES[name] for name in names))


def _replaced(results: dict[str, Array], peat: Mask, peat_class: Array) -> dict[str, Array]:
    """The results, those of peat in its cells."""
    if not peat.any():
        return results
    found = letts2000(tuple(results), peat_class)
    return {name: np.where(peat, found[name], result) for name, result in results.items()}


def _with_stones(results: dict[str, Array], correction: Correction, cells: dict[str, Array]) -> dict[str, Array]:
    """The results for the whole soil; standard deviations shrink as what they belong to."""
    volume = cells["coarse_fragments"] / 100
    factor = correction.factor(volume, results.get("theta_s"), cells.get("bulk_density"))
    out = {}
    for name, result in results.items():
        kind = name.removesuffix("_std")
        out[name] = result * (1 - volume) if kind in WATER else result * factor if kind in ("k_sat", "k_0") else result
    return out


# The checks look at the extremes of a block first: two reductions are several times faster than masks, and most
# blocks are without fault. Written so that NaN, which spreads to the extremes, never passes for one of these. A check
# that finds nothing returns one `False` for the block.


def _within(x: Array, low: float, high: float) -> bool:
    return bool(x.min() >= low and x.max() <= high)


def balance_texture(cells: dict[str, Array]) -> tuple[Mask, Mask]:
    """Bring the texture in `cells` to a sum of 100, adding the third class where two are there.

    Returns
    -------
    renormalised, rejected : ndarray of bool, or False
        Where the sum was another one within 99 to 101, and where the fractions are no texture: outside 0 to 100, or
        outside that sum (two classes: above 101 together).
    """
    known = [name for name in TEXTURE if name in cells]
    fractions = [cells[name] for name in known]
    renormalised: Mask = NOWHERE
    rejected: Mask = NOWHERE
    if len(known) < 2:
        rejected = _no_fractions(fractions)
    else:
        total = fractions[0] + fractions[1]
        # what two classes leave is the third
        total = total + fractions[2] if len(known) == 3 else np.maximum(total, 100)
        if not (_within(total, 100 - ROUNDING, 100 + ROUNDING) and all(_within(x, 0, 100) for x in fractions)):
            rejected = _no_fractions(fractions) | (total < 99 - SLACK) | (total > 101 + SLACK)
            renormalised = ((total < 100 - ROUNDING) | (total > 100 + ROUNDING)) & ~rejected
            scale = np.where(renormalised, 100 / total, total.dtype.type(1))
            for name, x in zip(known, fractions, strict=True):
                cells[name] = np.clip(x * scale, 0, 100)
    if len(known) == 2:
        (third,) = set(TEXTURE) - set(known)
        cells[third] = np.maximum(100 - cells[known[0]] - cells[known[1]], 0)
    return renormalised, rejected


def _no_fractions(fractions: list[Array]) -> Mask:
    found: Mask = NOWHERE
    for x in fractions:
        if not _within(x, 0, 100):
            found = found | (x < -SLACK) | (x > 100 + SLACK)
    return found


def faulty_inputs(inputs: list[Array], rows: tuple[Variable, ...]) -> tuple[Mask, Mask]:
    """Where an input is missing, and where one that is no texture is physically impossible."""
    missing: Mask = NOWHERE
    impossible: Mask = NOWHERE
    for x, v in zip(inputs, rows, strict=True):
        if not _within(x, v.low, v.high):
            missing = missing | np.isnan(x)
            if v.name not in TEXTURE:
                impossible = impossible | (x < v.low) | (x > v.high)
    return missing, impossible


def impossible_results(results: Mapping[str, Array], rows: tuple[Variable, ...], van_genuchten: bool) -> Mask:
    """Where results are no numbers, outside what is physically possible, or in impossible order."""
    bad: Mask = NOWHERE
    largest, smallest = float(np.finfo(np.float32).max), float(np.finfo(np.float32).tiny)
    for v in rows:
        x, low, high = results[v.name], max(v.low, -largest), min(v.high, largest)
        if v.name in POSITIVE:
            low = smallest
        if v.name == "n" and van_genuchten and "m" not in results:
            low, high = 1 + 1e-6, STEEPEST  # m = 1 - 1/n
        if not _within(x, low, high):
            bad = bad | ~((x >= low) & (x <= high))
    for order in ORDERED:
        for lower, upper in pairwise(name for name in order if name in results):
            bad = bad | ~(results[lower] < results[upper])
    return bad


def _beyond(cells: Mapping[str, Array], ranges: Mapping[str, tuple[float, float]]) -> Mask:
    found: Mask = NOWHERE
    for name, (low, high) in ranges.items():
        if name in cells and not _within(cells[name], low, high):
            found = found | (cells[name] < low) | (cells[name] > high)
    return found
