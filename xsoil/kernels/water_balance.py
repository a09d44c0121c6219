"""The daily water balance over many cells: sub-steps vectorised across cells, state in double precision.

Cells are independent and no arithmetic is reordered (no fastmath, no contraction), so that a result does
not depend on the neighbours of a cell, on the block it falls in or on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsoil.jit import kernel
from xsoil.physics.water_balance import water_balance_substep
from xsoil.threads import in_bands, read_only

__all__ = ["FLAGS", "SERIES", "run"]

SERIES = ("theta", "storage", "actual_et", "runoff", "drainage")
"""Series that `run` can return."""

FLAGS: Mapping[str, int] = {
    "missing_parameter": 1,
    "impossible_parameters": 2,
    "missing_forcing": 4,
    "negative_forcing": 8,
    "initial_state_clipped": 16,
    "missing_initial_state": 32,
}
"""Bits of the status of a cell."""

MISSING_PARAMETER, IMPOSSIBLE_PARAMETERS, MISSING_FORCING, NEGATIVE_FORCING, CLIPPED, MISSING_INITIAL = FLAGS.values()

# Cells that go through the sub-steps together: their eleven rows stay in the first-level cache.
BLOCK = 512
# Rows are a little longer than a block, so that they do not all fall on the same cache sets.
ROW = BLOCK + 16
# Cells of one call of the kernel, the piece of work of a thread, at the most.
STRIP = 4 * BLOCK
# Least cells of it: whole vectors.
LEAST = 32

Array = NDArray[Any]
Wide = NDArray[np.float64]
Flags = NDArray[np.uint8]

_substep = kernel(water_balance_substep(min, max))


@kernel
def prepare(
    theta_s: Wide, theta_fc: Wide, theta_wp: Wide, k_sat: Wide, root_depth: Wide, depletion: Wide, crop: Wide,
    initial: Wide, substeps: int, fixed: Wide, theta: Wide, status: Flags,
) -> None:  # fmt: skip
    """Fill, per cell, `fixed` (1 / ((1 - p) TAW), released share, depth in mm) and the state before the first day.

    `initial` is empty for field capacity.
    """
    for i in range(theta_s.size):
        depth = 1000.0 * root_depth[i]
        above = theta_s[i] - theta_fc[i]
        rate = 10.0 * k_sat[i] / (depth * above) / substeps
        fixed[0, i] = 1.0 / ((1.0 - depletion[i]) * depth * (theta_fc[i] - theta_wp[i]))
        fixed[1, i] = -math.expm1(-rate)
        fixed[2, i] = depth
        total = theta_s[i] + theta_fc[i] + theta_wp[i] + k_sat[i] + root_depth[i] + depletion[i] + crop[i]
        if math.isnan(total):
            theta[i], status[i] = np.nan, MISSING_PARAMETER
        elif not (
            1.0 >= theta_s[i] > theta_fc[i] > theta_wp[i] >= 0.0
            and 0.0 < k_sat[i] < np.inf
            and 0.0 < root_depth[i] < np.inf
            and 0.0 <= depletion[i] < 1.0
            and 0.0 <= crop[i] < np.inf
        ):
            theta[i], status[i] = np.nan, IMPOSSIBLE_PARAMETERS
        elif initial.size == 0:
            theta[i], status[i] = theta_fc[i], 0
        elif math.isnan(initial[i]):
            theta[i], status[i] = np.nan, MISSING_INITIAL
        else:
            theta[i] = min(max(initial[i], theta_wp[i]), theta_s[i])
            status[i] = 0 if theta[i] == initial[i] else CLIPPED


@kernel
def _sweep(
    precipitation: Array, pet: Array, column: int, theta_s: Wide, theta_fc: Wide, theta_wp: Wide, crop: Wide,
    fixed: Wide, substeps: int, skip: int, theta: Wide, status: Flags, out_column: int, out_theta: Array,
    out_storage: Array, out_et: Array, out_runoff: Array, out_drainage: Array,
) -> None:  # fmt: skip
    """Run all days for the cells of one strip; `theta` and `status` are brought from the first to the last day.

    Within a day storages are relative to that of its start: their differences are small, so that single
    precision loses nothing that a day's fluxes could show; from day to day the state is in double precision.
    """
    dtype = precipitation.dtype
    steps = dtype.type(substeps)
    missing = dtype.type(np.nan)
    # Rows of one buffer, so that the compiler sees that they do not overlap.
    rows = np.empty((12, ROW), dtype)
    water, rain, demand = rows[0], rows[1], rows[2]
    saturation, capacity, wilting = rows[3], rows[4], rows[5]
    per_depletion, released, coefficient = rows[6], rows[7], rows[8]
    runoff, actual_et, drainage = rows[9], rows[10], rows[11]
    wide = np.empty((6, ROW), np.float64)
    state, upper, middle, lower, depth, per_depth = wide[0], wide[1], wide[2], wide[3], wide[4], wide[5]
    fluxes = out_et.size + out_runoff.size + out_drainage.size > 0
    for start in range(0, theta.size, BLOCK):
        cells = min(BLOCK, theta.size - start)
        width = (cells + 31) // 32 * 32  # whole vectors; the cells that fill up the last one compute zeros
        rows[:] = 0
        wide[:] = 0
        for i in range(cells):
            c = start + i
            state[i], upper[i], middle[i], lower[i] = theta[c], theta_s[c], theta_fc[c], theta_wp[c]
            per_depletion[i], released[i] = fixed[0, c], fixed[1, c]
            depth[i], per_depth[i], coefficient[i] = fixed[2, c], 1.0 / fixed[2, c], crop[c]
        first, out_first = column + start, out_column + start
        for day in range(precipitation.shape[0]):
            faults = 0
            for i in range(cells):
                p, e = precipitation[day, first + i], pet[day, first + i]
                good = (p >= 0) & (e >= 0) & (p + e < np.inf)
                rain[i] = p / steps if good else missing
                demand[i] = coefficient[i] * e / steps
                faults += 0 if good else 1
            if faults > 0:
                for i in range(cells):
                    p, e = precipitation[day, first + i], pet[day, first + i]
                    if p < 0 or e < 0:
                        status[start + i] |= NEGATIVE_FORCING
                    if not (p < np.inf and e < np.inf):
                        status[start + i] |= MISSING_FORCING
            for i in range(width):
                water[i] = 0
                saturation[i] = (upper[i] - state[i]) * depth[i]
                capacity[i] = (middle[i] - state[i]) * depth[i]
                wilting[i] = (lower[i] - state[i]) * depth[i]
            if fluxes:
                rows[9:] = 0
                for _ in range(substeps):
                    for i in range(width):
                        w, ro, et, dp = _substep(
                            water[i], rain[i], demand[i],
                            saturation[i], capacity[i], wilting[i], per_depletion[i], released[i],
                        )  # fmt: skip
                        water[i] = w
                        runoff[i] += ro
                        actual_et[i] += et
                        drainage[i] += dp
            else:
                for _ in range(substeps):
                    for i in range(width):
                        w, ro, et, dp = _substep(
                            water[i], rain[i], demand[i],
                            saturation[i], capacity[i], wilting[i], per_depletion[i], released[i],
                        )  # fmt: skip
                        water[i] = w
            for i in range(width):
                state[i] = min(max(state[i] + water[i] * per_depth[i], lower[i]), upper[i])
            row = day - skip
            if row >= 0:
                if out_theta.size:
                    for i in range(cells):
                        out_theta[row, out_first + i] = state[i]
                if out_storage.size:
                    for i in range(cells):
                        out_storage[row, out_first + i] = state[i] * depth[i]
                if out_et.size:
                    for i in range(cells):
                        out_et[row, out_first + i] = actual_et[i]
                if out_runoff.size:
                    for i in range(cells):
                        out_runoff[row, out_first + i] = runoff[i]
                if out_drainage.size:
                    for i in range(cells):
                        out_drainage[row, out_first + i] = drainage[i]
        for i in range(cells):
            theta[start + i] = state[i]


def strip_width(cells: int, workers: int, largest: int) -> int:
    """Cells of a strip: as many as possible, but few cells (a batch of a training) are dealt out to all threads."""
    share = -(-cells // (max(workers, 1) * LEAST)) * LEAST
    return min(max(share, LEAST), largest)


def run(
    precipitation: Array,
    pet: Array,
    parameters: Sequence[Array],
    *,
    initial: Array | None = None,
    state: tuple[Wide, Flags] | None = None,
    substeps: int = 24,
    skip: int = 0,
    outputs: Sequence[str] = ("theta",),
    dtype: np.dtype[Any] | None = None,
    workers: int = 1,
) -> tuple[dict[str, Array], tuple[Wide, Flags]]:
    """Run the water balance for independent cells.

    Parameters
    ----------
    precipitation, pet : array (time, cells) or (time, 1)
        [mm d-1]; rows that are contiguous and of type `dtype` are read where they lie, others by strips.
    parameters : seven arrays (cells,)
        theta_s, theta_fc, theta_wp [m3 m-3], k_sat [cm d-1], root_depth [m], depletion_fraction,
        crop_coefficient [1].
    initial : array (cells,), optional
        Soil moisture before the first day, clipped to theta_wp and theta_s; field capacity if not given.
    state : tuple of arrays (cells,), optional
        End state (theta, status) of the days before, instead of `initial`; not written to.
    substeps : int
        Explicit steps a day.
    skip : int
        Days at the start that are run but not returned.
    outputs : sequence of str
        Of `SERIES`; nothing else is allocated.
    dtype : float32 or float64, optional
        Of the sub-steps and the outputs; that of `precipitation` if not given.
    workers : int
        Threads.

    Returns
    -------
    series : dict of arrays (time - skip, cells)
        Soil moisture and storage [mm] at the end of the day, fluxes [mm d-1].
    state : tuple of arrays (cells,)
        theta (float64) and status (uint8, bits of `FLAGS`) after the last day.
    """
    dtype = np.dtype(dtype or precipitation.dtype)
    days, cells = precipitation.shape[0], int(np.shape(parameters[0])[0])
    shape = (max(days - skip, 0), cells)
    series = {name: np.empty(shape, dtype) for name in outputs}
    targets = [series.get(name, np.empty((0, 0), dtype)) for name in SERIES]
    theta, status = np.empty(cells), np.empty(cells, np.uint8)

    everything = slice(None)
    in_place = all(
        array.flags.c_contiguous and array.dtype == dtype and array.shape[1] == cells for array in (precipitation, pet)
    )

    width = strip_width(cells, workers, STRIP)

    def strip(start: int) -> None:
        at = slice(start, min(start + width, cells))
        # numba compiles anew for every mix of writable and read-only arrays: parameters and initial state are always
        # copied (a strip is small), forcing is always read-only.
        values = [np.array(parameter[at], np.float64) for parameter in parameters]
        theta_s, theta_fc, theta_wp, k_sat, root_depth, depletion, crop = values
        fixed = np.empty((3, theta_s.size))
        before = np.empty(0) if initial is None else np.array(initial[at], np.float64)
        prepare(
            theta_s, theta_fc, theta_wp, k_sat, root_depth, depletion, crop, before, substeps, fixed,
            theta[at], status[at],
        )  # fmt: skip
        if state is not None:
            theta[at], status[at] = state[0][at], state[1][at]
        # Forcing is read where it lies if it can be.
        columns = everything if in_place else at
        rain, demand = (
            read_only(np.ascontiguousarray(np.broadcast_to(array, (days, cells))[:, columns], dtype))
            for array in (precipitation, pet)
        )
        _sweep(
            rain, demand, start if in_place else 0, theta_s, theta_fc, theta_wp, crop, fixed, substeps, skip,
            theta[at], status[at], start, *targets,
        )  # fmt: skip

    def strips(first: int, last: int) -> None:
        for number in range(first, last):
            strip(number * width)

    in_bands(strips, -(-cells // width), workers)
    return series, (theta, status)
