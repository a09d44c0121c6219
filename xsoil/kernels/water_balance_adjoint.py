"""Gradient of the daily water balance by a hand-made reverse sweep.

A day is run again from the state at its start, the storages of its sub-steps are kept (a block of them stays
in the first-level cache), then walked backwards. Everything is relative to the start of the day, as in the
forward kernel: derivatives do not know the difference.

At the kinks (saturation, no and full water stress, field capacity) the derivative is that of the piece
which the comparisons of the forward sub-step choose.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsoil.jit import kernel
from xsoil.kernels import water_balance as forward
from xsoil.kernels.water_balance_day import (
    BLOCK,
    CAPACITY,
    CAPPED,
    DEMAND,
    DRAINED,
    ON_DRAINAGE,
    ON_ET,
    ON_RUNOFF,
    PER_DEPLETION,
    RAIN,
    RAINED,
    RELEASED,
    RELEASED_BY,
    ROW,
    ROWS,
    SATURATED,
    SATURATION,
    STRESSED,
    STRESSED_BY,
    UNSTRESSED,
    WILTING,
    G,
    any_day_back,
    day_back,
)  # fmt: skip
from xsoil.threads import in_bands, read_only

__all__ = ["Gradient", "gradient"]

Array = NDArray[Any]
Wide = NDArray[np.float64]

FLUXES = ("actual_et", "runoff", "drainage")

# Cells of one call of the kernel, the piece of work of a thread.
STRIP = 8 * BLOCK

# What `_walk_back` sums over all days of a cell.
TOTALS = ("saturation", "capacity", "wilting", "per_depletion", "released", "depth", "crop")


@dataclass(frozen=True)
class Gradient:
    """Derivatives of a scalar with respect to all that went into the run.

    Attributes
    ----------
    parameters : array (7, cells)
        In the order of the forward kernel: theta_s, theta_fc, theta_wp, k_sat, root_depth, depletion_fraction,
        crop_coefficient.
    initial : array (cells,)
        Soil moisture before the first day (of the run, where that started from field capacity or was clipped, the
        derivative is that of the state itself).
    precipitation, pet : array (time, cells), or None where not asked for
    """

    parameters: Wide
    initial: Wide
    precipitation: Array | None
    pet: Array | None


@kernel
def _walk_back(
    precipitation: Array, pet: Array, column: int, limits: Wide, crop: Wide, fixed: Wide, substeps: int, first: Wide,
    theta: Array, at: int, for_theta: Array, for_et: Array, for_runoff: Array, for_drainage: Array, adjoint: Wide,
    totals: Wide, by_rain: Array, by_pet: Array,
) -> None:  # fmt: skip
    """All days of one strip from the last to the first.

    `limits` (3, cells) are theta_s, theta_fc, theta_wp; `theta` (time, all cells) the state after each day, `first`
    that before; `for_*` (time, all cells) the derivatives of the scalar by the series, empty where there are none.
    `adjoint` (cells,) comes as the derivative by the end state and leaves as that by the first.
    """
    dtype = precipitation.dtype
    zero, steps, cells_in_all = dtype.type(0), dtype.type(substeps), first.size
    fluxes = for_et.size + for_runoff.size + for_drainage.size > 0
    f = np.empty(ROWS * ROW, dtype)
    water = np.zeros((substeps, ROW), dtype)
    for start in range(0, cells_in_all, BLOCK):
        cells = min(BLOCK, cells_in_all - start)
        f[:] = 0  # the cells that fill up the last block compute zeros
        for i in range(cells):
            f[PER_DEPLETION + i], f[RELEASED + i] = fixed[0, start + i], fixed[1, start + i]
        for day in range(precipitation.shape[0] - 1, -1, -1):
            simple = not fluxes
            for i in range(cells):
                c = start + i
                depth = fixed[2, c]
                begin = theta[day - 1, at + c] if day > 0 else first[c]
                end = theta[day, at + c]
                p, e = precipitation[day, column + c], pet[day, column + c]
                lost = math.isnan(end)
                if for_theta.size and not lost:
                    adjoint[c] += for_theta[day, at + c]
                if lost:  # what comes after a missing day does not depend on what was before
                    adjoint[c] = 0.0
                    begin, p, e = limits[1, c], zero, zero
                    if math.isnan(begin):
                        begin = 0.0
                f[RAIN + i] = p / steps
                f[DEMAND + i] = dtype.type(crop[c]) * e / steps
                f[SATURATION + i] = (limits[0, c] - begin) * depth
                f[CAPACITY + i] = (limits[1, c] - begin) * depth
                f[WILTING + i] = (limits[2, c] - begin) * depth
                f[G + i] = adjoint[c] / depth
                simple = simple and f[DEMAND + i] * f[PER_DEPLETION + i] <= 1
                f[ON_ET + i] = for_et[day, at + c] if for_et.size and not lost else zero
                f[ON_RUNOFF + i] = for_runoff[day, at + c] if for_runoff.size and not lost else zero
                f[ON_DRAINAGE + i] = for_drainage[day, at + c] if for_drainage.size and not lost else zero
            f[DRAINED:] = 0
            if simple:
                day_back(f, water, substeps)
            else:
                any_day_back(f, water, substeps)
            for i in range(cells):
                c = start + i
                if math.isnan(theta[day, at + c]):
                    continue
                depth, end = fixed[2, c], theta[day, at + c]
                begin = theta[day - 1, at + c] if day > 0 else first[c]
                by_saturation, by_capacity = f[SATURATED + i], -f[RELEASED + i] * f[DRAINED + i]
                by_wilting = -f[CAPPED + i] - f[PER_DEPLETION + i] * f[DEMAND + i] * f[STRESSED + i]
                by_demand = f[PER_DEPLETION + i] * f[STRESSED_BY + i] + f[UNSTRESSED + i]
                totals[0, c] += by_saturation
                totals[1, c] += by_capacity
                totals[2, c] += by_wilting
                totals[3, c] += f[DEMAND + i] * f[STRESSED_BY + i]
                totals[4, c] += f[RELEASED_BY + i]
                # Storages are theta x depth; relative to the start, so that nothing large cancels.
                totals[5, c] += (
                    by_saturation * (limits[0, c] - begin)
                    + by_capacity * (limits[1, c] - begin)
                    + by_wilting * (limits[2, c] - begin)
                    - adjoint[c] / depth * (end - begin)
                )
                totals[6, c] += by_demand * pet[day, column + c] / steps
                if by_rain.size:
                    by_rain[day, at + c] = f[RAINED + i] / steps
                if by_pet.size:
                    by_pet[day, at + c] = by_demand * dtype.type(crop[c]) / steps
                adjoint[c] = f[G + i] * depth


def gradient(
    precipitation: Array,
    pet: Array,
    parameters: Sequence[Array],
    derivatives: Mapping[str, Array],
    *,
    initial: Array | None = None,
    state: tuple[Array, Array] | None = None,
    final: Array | None = None,
    theta: Array | None = None,
    substeps: int = 24,
    every: int | None = None,
    forcing: bool = False,
    dtype: np.dtype[Any] | None = None,
    workers: int = 1,
) -> Gradient:
    """Derivatives of a scalar J by parameters, initial state and forcing of `water_balance.run`.

    Parameters
    ----------
    precipitation, pet, parameters, initial, state, substeps, dtype, workers
        As given to the run (`initial` or `state`, its state before the first day; field capacity if neither).
    derivatives : mapping of str to array (time, cells)
        dJ / d(series) of "theta", "storage", "actual_et", "runoff", "drainage", where J depends on them.
    final : array (cells,), optional
        dJ / d(theta after the last day), beside that through the series.
    theta : array (time, cells), optional
        The series of the run, for which nothing has to be run again: O(time) memory, which the caller holds already.
    every : int, optional
        Without `theta`: days between the states that are kept on the way forward; the days between are run
        once more. By default the root of their number: O(sqrt(time)) memory.
    forcing : bool
        Also the derivatives by precipitation and PET.

    Returns
    -------
    Gradient
        Zero for cells that are NaN from the first day; from the day on that a cell is NaN its series count for nothing.
    """
    dtype = np.dtype(dtype or precipitation.dtype)
    days, cells = precipitation.shape[0], int(np.shape(parameters[0])[0])
    values = np.stack([np.array(parameter, np.float64) for parameter in parameters])
    fixed, start, known = _prepared(values, initial, state, substeps)
    options: dict[str, Any] = {"substeps": substeps, "dtype": dtype, "workers": workers}

    totals, adjoint = np.zeros((len(TOTALS), cells)), np.zeros(cells)
    if final is not None:
        adjoint += np.where(np.isnan(final), 0.0, final)
    by_rain, by_pet = (np.zeros((days, cells) if forcing else (0, 0), dtype) for _ in range(2))
    series = dict(derivatives)
    if theta is not None:
        spans = [(0, days)]
    else:
        step = every or max(1, math.isqrt(days - 1) + 1)
        spans = [(a, min(a + step, days)) for a in range(0, days, step)]
    states = [start]
    for a, b in spans[:-1]:
        _, end = forward.run(precipitation[a:b], pet[a:b], parameters, state=states[-1], outputs=(), **options)
        states.append(end)
    for (a, b), before in zip(reversed(spans), reversed(states), strict=True):
        rain, demand = precipitation[a:b], pet[a:b]
        if theta is None:
            done, _ = forward.run(rain, demand, parameters, state=before, outputs=("theta",), **options)
            part = done["theta"]
        else:
            part = theta
        given = {name: np.asarray(array[a:b]) for name, array in series.items()}
        if "storage" in given:  # storage = theta x depth
            stored = given.pop("storage")
            totals[5] += np.nansum(stored * part, axis=0, dtype=np.float64)
            given["theta"] = given.get("theta", 0.0) + stored * fixed[2].astype(dtype)
        none = np.empty((0, 0), dtype)
        cotangents = [
            read_only(np.ascontiguousarray(given[name], dtype)) if name in given else read_only(none)
            for name in ("theta", *FLUXES)
        ]
        _back(
            rain, demand, values, fixed, substeps, before[0], part, cotangents, adjoint, totals,
            by_rain[a:b], by_pet[a:b], dtype, workers,
        )  # fmt: skip
    found = _parameters(values, fixed, totals, substeps)
    _by_initial(found, adjoint, values, initial, state)
    found[:, ~known] = 0.0
    adjoint[~known] = 0.0
    return Gradient(found, adjoint, by_rain if forcing else None, by_pet if forcing else None)


def _back(
    rain: Array, demand: Array, values: Wide, fixed: Wide, substeps: int, first: Wide, theta: Array,
    cotangents: list[Array], adjoint: Wide, totals: Wide, by_rain: Array, by_pet: Array, dtype: np.dtype[Any],
    workers: int,
) -> None:  # fmt: skip
    """Some days of all cells, a strip at a time."""
    days, cells = rain.shape[0], first.size
    in_place = all(a.flags.c_contiguous and a.dtype == dtype and a.shape[1] == cells for a in (rain, demand))
    theta = read_only(np.ascontiguousarray(theta, dtype))
    for_theta, for_et, for_runoff, for_drainage = cotangents
    width = forward.strip_width(cells, workers, STRIP)

    def strips(begin: int, end: int) -> None:
        for number in range(begin, end):
            at = slice(number * width, min((number + 1) * width, cells))
            columns = slice(None) if in_place else at
            p, e = (
                read_only(np.ascontiguousarray(np.broadcast_to(a, (days, cells))[:, columns], dtype))
                for a in (rain, demand)
            )
            # Copies: numba compiles anew for every layout, and threads must not share what they write.
            back, sums = adjoint[at].copy(), np.ascontiguousarray(totals[:, at])
            _walk_back(
                p, e, at.start if in_place else 0, np.ascontiguousarray(values[:3, at]), values[6, at].copy(),
                np.ascontiguousarray(fixed[:, at]), substeps, first[at].copy(), theta, at.start, for_theta,
                for_et, for_runoff, for_drainage, back, sums, by_rain, by_pet,
            )  # fmt: skip
            adjoint[at], totals[:, at] = back, sums

    in_bands(strips, -(-cells // width), workers)


def _prepared(
    values: Wide, initial: Array | None, state: tuple[Array, Array] | None, substeps: int
) -> tuple[Wide, tuple[Wide, NDArray[np.uint8]], NDArray[np.bool_]]:
    """What the forward kernel computes with and starts from, by its own hand; and which cells can run."""
    cells = values.shape[1]
    fixed, theta, status = np.empty((3, cells)), np.empty(cells), np.empty(cells, np.uint8)
    before = np.empty(0) if initial is None else np.array(initial, np.float64)
    theta_s, theta_fc, theta_wp, k_sat, root_depth, depletion, crop = (row.copy() for row in values)
    forward.prepare(
        theta_s, theta_fc, theta_wp, k_sat, root_depth, depletion, crop, before, substeps, fixed, theta, status
    )
    known = (status & (forward.MISSING_PARAMETER | forward.IMPOSSIBLE_PARAMETERS)) == 0
    fixed[:, ~known] = 1.0
    if state is not None:
        theta, status = np.array(state[0], np.float64), np.array(state[1], np.uint8)
    return fixed, (theta, status), known


def _parameters(values: Wide, fixed: Wide, totals: Wide, substeps: int) -> Wide:
    """Derivatives by the seven parameters from those by what the kernel computes with."""
    theta_s, theta_fc, theta_wp, k_sat, _, depletion, _ = values
    per_depletion, released, depth = fixed
    saturation, capacity, wilting, by_per_depletion, by_released, by_depth, by_crop = totals
    with np.errstate(all="ignore"):
        # released = 1 - exp(-k), k = 10 k_sat / (depth (theta_s - theta_fc)) / substeps
        rate = 10.0 * k_sat / (depth * (theta_s - theta_fc)) / substeps
        by_log_rate = by_released * (1.0 - released) * rate
        by_log_per = by_per_depletion * per_depletion
        return np.stack([
            saturation * depth - by_log_rate / (theta_s - theta_fc),
            capacity * depth + by_log_rate / (theta_s - theta_fc) - by_log_per / (theta_fc - theta_wp),
            wilting * depth + by_log_per / (theta_fc - theta_wp),
            by_log_rate / k_sat,
            1000.0 * (by_depth - (by_log_rate + by_log_per) / depth),
            by_log_per / (1.0 - depletion),
            by_crop,
        ])  # fmt: skip


def _by_initial(
    found: Wide, adjoint: Wide, values: Wide, initial: Array | None, state: tuple[Array, Array] | None
) -> None:
    """Where the run started from a parameter (field capacity, or a limit that clipped), that one moves the start."""
    if state is not None:
        return
    if initial is None:
        found[1] += adjoint
        return
    theta_s, _, theta_wp = values[:3]
    high, low = np.asarray(initial) > theta_s, np.asarray(initial) < theta_wp
    found[0] += np.where(high, adjoint, 0.0)
    found[2] += np.where(low, adjoint, 0.0)
    adjoint[high | low] = 0.0
