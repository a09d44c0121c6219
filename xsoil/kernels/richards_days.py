"""The days of a strip of columns, one column after the other: parameters, forcing, state, series."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from xsoil.jit import kernel
from xsoil.kernels.elementary import exp, where
from xsoil.kernels.richards_column import (
    ATMOSPHERE,
    FLUX,
    HEAD,
    MASS,
    NO_ROOTS,
    PER_DISTANCE,
    ROOTS,
    ROWS,
    S_SHAPED,
    WIDTH,
    advance,
    edges,
)  # fmt: skip
from xsoil.kernels.richards_curves import FIXED, THETA, H, evaluate, prepare
from xsoil.physics.root_uptake import partition, root_fraction

__all__ = ["FLAGS", "lay_out", "sweep"]

FLAGS: Mapping[str, int] = {
    "missing_parameter": 1,
    "impossible_parameters": 2,
    "missing_forcing": 4,
    "negative_forcing": 8,
    "missing_initial_state": 32,
    "not_converged": 64,
}
"""Bits of the status of a column; those of the water balance where they mean the same."""

MISSING_PARAMETER, IMPOSSIBLE_PARAMETERS, MISSING_FORCING, NEGATIVE_FORCING, MISSING_INITIAL, NOT_CONVERGED = (
    FLAGS.values()
)

_split = kernel(partition(exp))
_roots_above = kernel(root_fraction(where))


@kernel
def lay_out(widths, root_depth, nodes):
    """Fill the rows of `nodes` that never change: thickness, distances, share of the roots in each cell."""
    n = widths.size
    nodes[WIDTH, :] = 1.0
    top, total = 0.0, 0.0
    for i in range(n):
        nodes[WIDTH, i] = widths[i]
        total += widths[i]
        if i + 1 < n:
            nodes[PER_DISTANCE, i] = 2.0 / (widths[i] + widths[i + 1])
    # Roots below the column are not simulated: those inside take their part.
    inside = _roots_above(total, root_depth)
    for i in range(n):
        bottom = top + widths[i]
        nodes[ROOTS, i] = (_roots_above(bottom, root_depth) - _roots_above(top, root_depth)) / inside
        top = bottom


@kernel
def sweep(
    curve, top, bottom, uptake, widths, parameters, root_depth, stress, precipitation, pet, lai, top_value,
    bottom_value, control, skip, cells, weights, owners, initial, start, h, mass, step, balance, status,
    out_theta, out_h, out_columns, wanted, per_day, times, heads, replay, known,
):  # fmt: skip
    """Run all days for the columns of one strip; `h`, `mass`, `step`, `balance` and `status` go to the last day.

    `out_columns` (series, time, columns) takes those series of columns whose place in `wanted` is not negative.
    """
    n = widths.size
    days, columns = per_day.shape[1], h.shape[1]
    padded = (n + 7) // 8 * 8
    depths = cells.size
    wide = (depths + 7) // 8 * 8
    nodes, fixed = np.zeros((ROWS, padded)), np.zeros((FIXED, padded))
    edge_nodes, edge_fixed = np.zeros((5, 8)), np.zeros((FIXED, 8))
    depth_nodes, depth_fixed = np.zeros((5, wide)), np.zeros((FIXED, wide))
    sums = np.zeros(6)
    no_times, no_heads = np.empty(0), np.empty((0, n))
    outputs = out_columns.shape[0]
    for c in range(columns):
        at = start + c
        fault = prepare(curve, parameters[c], nodes, fixed, padded)
        roots_needed = uptake != NO_ROOTS
        if fault == 0 and roots_needed:
            total = root_depth[c]
            for k in range(stress.shape[1]):
                total += stress[c, k]
            if math.isnan(total):
                fault = 1
            elif not root_depth[c] > 0.0 or not possible(uptake, stress[c]):
                fault = 2
        if fault > 0:
            status[c] |= MISSING_PARAMETER if fault == 1 else IMPOSSIBLE_PARAMETERS
        lay_out(widths, root_depth[c] if roots_needed else 1.0, nodes)
        nodes[H, :] = -1.0
        alive = fault == 0
        for i in range(n):
            nodes[H, i] = h[i, c]
            nodes[MASS, i] = mass[i, c]
            if not abs(h[i, c]) < 1e30:
                alive = False
        if initial and fault == 0 and not alive:
            status[c] |= MISSING_INITIAL
        if alive:
            evaluate(curve, nodes, fixed, padded)
            if initial:
                for i in range(n):
                    nodes[MASS, i] = nodes[THETA, i]
            for k in range(depths):
                for j in range(FIXED):
                    depth_fixed[j, k] = fixed[j, owners[k]]
            for k in range(depths, wide):
                for j in range(FIXED):
                    depth_fixed[j, k] = fixed[j, 0]
                depth_nodes[H, k] = -1.0
        dt, drift, count = step[c], balance[c], 0
        storage = 0.0
        for i in range(n):
            storage += nodes[MASS, i] * nodes[WIDTH, i]
        recorded = times[c] if times.shape[0] > 0 else no_times
        record = heads[c] if heads.shape[0] > 0 else no_heads
        guess = known[c] if known.shape[0] > 0 else no_heads
        for day in range(days):
            p = precipitation[day, at if precipitation.shape[1] > 1 else 0]
            e = pet[day, at if pet.shape[1] > 1 else 0]
            leaves = lai[day, at if lai.shape[1] > 1 else 0]
            given_top = top_value[day, at if top_value.shape[1] > 1 else 0]
            given_bottom = bottom_value[day, at if bottom_value.shape[1] > 1 else 0]
            if alive:
                if p < 0.0 or e < 0.0 or leaves < 0.0:
                    status[c] |= NEGATIVE_FORCING
                    alive = False
                if not (p < np.inf and e < np.inf and leaves < np.inf and abs(given_top) < np.inf
                        and abs(given_bottom) < np.inf):  # fmt: skip
                    status[c] |= MISSING_FORCING
                    alive = False
            sums[:] = 0.0
            rain = 0.1 * p
            if alive:
                demand, evaporation = _split(0.1 * e, leaves)
                if top == ATMOSPHERE:
                    given_top = evaporation - rain
                # A given flux is counted into the soil, as rain is.
                elif top == FLUX:
                    given_top = -given_top
                top_k, air_k, bottom_k = edges(
                    curve, given_top if top == HEAD else 0.0, given_bottom, n, fixed, edge_nodes, edge_fixed
                )
                first = count
                dt, count = advance(
                    curve, n, padded, nodes, fixed, top, given_top, top_k, air_k, bottom, given_bottom, bottom_k,
                    uptake, demand, stress[c], dt, control, sums, recorded, record, count,
                    per_day[c, day] if replay else -1, guess,
                )  # fmt: skip
                per_day[c, day] = count - first
                if not dt > 0.0:
                    status[c] |= NOT_CONVERGED
                    alive = False
            row = day - skip
            if alive:
                stored = 0.0
                for i in range(n):
                    stored += nodes[MASS, i] * nodes[WIDTH, i]
                drift += stored - storage - (sums[0] - sums[2] - sums[3])
                storage = stored
                if row >= 0 and out_theta.size + out_h.size > 0:
                    for k in range(depths):
                        i = cells[k]
                        depth_nodes[H, k] = nodes[H, i] + weights[k] * (nodes[H, min(i + 1, n - 1)] - nodes[H, i])
                    if out_theta.size > 0:
                        evaluate(curve, depth_nodes, depth_fixed, wide)
                        for k in range(depths):
                            out_theta[row, k, at] = depth_nodes[THETA, k]
                    if out_h.size > 0:
                        for k in range(depths):
                            out_h[row, k, at] = depth_nodes[H, k]
                if row >= 0 and outputs > 0:
                    values = (
                        10.0 * storage,
                        # Evaporation is the rain that neither ran off nor came in (or, dry, what came out).
                        10.0 * ((rain - sums[1] - sums[0] if top == ATMOSPHERE else 0.0) + sums[3]),
                        10.0 * sums[1], 10.0 * sums[2], 10.0 * sums[0], 10.0 * sums[3], 10.0 * drift, sums[4], sums[5],
                    )  # fmt: skip
                    for k in range(9):
                        if wanted[k] >= 0:
                            out_columns[wanted[k], row, at] = values[k]
            elif row >= 0:
                if out_theta.size > 0:
                    out_theta[row, :, at] = np.nan
                if out_h.size > 0:
                    out_h[row, :, at] = np.nan
                out_columns[:, row, at] = np.nan
        for i in range(n):
            h[i, c] = nodes[H, i] if alive else np.nan
            mass[i, c] = nodes[MASS, i] if alive else np.nan
        step[c], balance[c] = dt if alive else np.nan, drift if alive else np.nan


@kernel
def possible(uptake, stress):
    """Whether the numbers of the stress function are in order."""
    if uptake == S_SHAPED:
        return stress[0] < 0.0
    return 0.0 >= stress[0] > stress[1] >= stress[2] >= stress[3] > stress[4]
