"""The days of a strip of Richards columns from the last to the first, one column after the other."""

from __future__ import annotations

import math

import numpy as np

from xsoil.jit import kernel
from xsoil.kernels.elementary import exp
from xsoil.kernels.richards_adjoint_column import (
    BY_H,
    BY_K,
    BY_STRESS,
    BY_THETA,
    TAKEN,
    VALUE,
    WORK,
    forcing_back,
    onset_back,
    roots_back,
    step_back,
)  # fmt: skip
from xsoil.kernels.richards_column import (
    ATMOSPHERE,
    FEDDES,
    FIXED_HEAD,
    FLUX,
    HEAD,
    MASS,
    NO_ROOTS,
    ROOTS,
    ROWS,
    WIDTH,
    assemble,
    edges,
)  # fmt: skip
from xsoil.kernels.richards_curve_gradients import BLOCK, BLOCK_ROWS, pull_back, to_parameters
from xsoil.kernels.richards_curves import CAPACITY, FIXED, SLOPE, THETA, H, evaluate, prepare
from xsoil.kernels.richards_days import lay_out
from xsoil.physics.root_uptake import partition

__all__ = ["FLUXES", "finish", "sweep_back"]

FLUXES = ("storage", "actual_et", "runoff", "drainage", "inflow", "uptake")
"""Rows of the derivatives by series of columns."""
STORAGE, ACTUAL_ET, RUNOFF, DRAINAGE, INFLOW, UPTAKE = range(6)

# A day is done where its steps add up to it.
ALL_BUT = 1e-9

_split = kernel(partition(exp))


@kernel
def sweep_back(
    curve, top, bottom, uptake, widths, parameters, root_depth, stress, precipitation, pet, lai, top_value,
    bottom_value, before, cells, weights, owners, start, per_day, times, heads, for_theta, for_h, for_columns,
    for_end, value, sums, edge_sums, by_roots, by_stress, lost, by_rain, by_pet, by_lai, by_top_value, by_bottom_value,
):  # fmt: skip
    """Walk all days of one strip back; `value` (column, cell) goes from after the last day to before the first.

    `before` is the number of days, of those given, that come before the first row of the series. Derivatives by the
    series are `for_theta`, `for_h` (time, depth, column of the strip), empty where there are none, and `for_columns`
    (time, one of FLUXES, column), by the heads after the last day `for_end` (column, cell). `sums` (column, row of
    `fixed`, node), `edge_sums`, `by_roots`, `by_stress` are added to. `lost` is set for columns where the scalar
    depends on a missing value.
    """
    n = widths.size
    columns, days = per_day.shape
    padded = sums.shape[2]
    depths = cells.size
    wide = (depths + 7) // 8 * 8
    nodes, fixed, work = np.zeros((ROWS, padded)), np.zeros((FIXED, padded)), np.zeros((WORK, padded))
    edge_nodes, edge_fixed = np.zeros((5, 8)), np.zeros((FIXED, 8))
    edge_theta, edge_k = np.zeros(8), np.zeros(8)
    depth_nodes, depth_fixed, depth_sums = np.zeros((5, wide)), np.zeros((FIXED, wide)), np.zeros((FIXED, wide))
    depth_theta, depth_k = np.zeros(wide), np.zeros(wide)
    block = np.zeros(BLOCK * BLOCK_ROWS)
    weight = np.zeros(len(FLUXES))
    for c in range(columns):
        at = start + c
        alive = prepare(curve, parameters[c], nodes, fixed, padded) == 0
        lay_out(widths, root_depth[c] if uptake != NO_ROOTS else 1.0, nodes)
        work[:] = 0.0
        for i in range(n):
            work[VALUE, i], work[BY_H, i] = value[c, i], for_end[c, i]
        if alive:
            for k in range(depths):
                depth_fixed[:, k] = fixed[:, owners[k]]
            for k in range(depths, wide):
                depth_fixed[:, k] = fixed[:, 0]
            depth_nodes[H, :] = -1.0
            depth_sums[:] = 0.0
        last = 0
        for day in range(days):
            last += per_day[c, day]
        for day in range(days - 1, -1, -1):
            count = per_day[c, day]
            first = last - count
            total = 0.0
            for s in range(first, last):
                total += times[c, s]
            done = alive and total > 1.0 - ALL_BUT
            row = day - before
            depends = False
            weight[:] = 0.0
            if row >= 0:
                for k in range(for_columns.shape[1]):
                    weight[k] = for_columns[row, k, c]
                    depends = depends or weight[k] != 0.0
            if not done:
                for i in range(n):
                    depends = depends or work[VALUE, i] != 0.0 or work[BY_H, i] != 0.0
                if row >= 0:
                    for k in range(depths):
                        depends = depends or (for_theta.size > 0 and for_theta[row, k, c] != 0.0)
                        depends = depends or (for_h.size > 0 and for_h[row, k, c] != 0.0)
                if depends:
                    lost[c] = 1
                last = first
                continue
            if row >= 0 and for_theta.size + for_h.size > 0:
                for k in range(depths):
                    i = cells[k]
                    below = heads[c, last - 1, min(i + 1, n - 1)]
                    depth_nodes[H, k] = heads[c, last - 1, i] + weights[k] * (below - heads[c, last - 1, i])
                    depth_theta[k] = for_theta[row, k, c] if for_theta.size > 0 else 0.0
                evaluate(curve, depth_nodes, depth_fixed, wide)
                pull_back(curve, depth_nodes, depth_theta, depth_k, depth_fixed, block, depth_sums, wide)
                for k in range(depths):
                    i = cells[k]
                    by_h = depth_theta[k] * depth_nodes[CAPACITY, k] + (for_h[row, k, c] if for_h.size > 0 else 0.0)
                    work[BY_H, i] += (1.0 - weights[k]) * by_h
                    work[BY_H, min(i + 1, n - 1)] += weights[k] * by_h
            for i in range(n):
                work[VALUE, i] += 10.0 * weight[STORAGE] * nodes[WIDTH, i]
            # Evaporation is what rain neither ran off nor came in.
            of_surface = weight[ACTUAL_ET] if top == ATMOSPHERE else 0.0
            for_inflow, for_runoff = 10.0 * (weight[INFLOW] - of_surface), 10.0 * (weight[RUNOFF] - of_surface)
            for_drainage, for_uptake = 10.0 * weight[DRAINAGE], 10.0 * (weight[UPTAKE] + weight[ACTUAL_ET])
            e = 0.1 * pet[day, at if pet.shape[1] > 1 else 0]
            leaves = lai[day, at if lai.shape[1] > 1 else 0]
            given_top = top_value[day, at if top_value.shape[1] > 1 else 0]
            given_bottom = bottom_value[day, at if bottom_value.shape[1] > 1 else 0]
            demand, evaporation = _split(e, leaves)
            if top == ATMOSPHERE:
                given_top = evaporation - 0.1 * precipitation[day, at if precipitation.shape[1] > 1 else 0]
            elif top == FLUX:
                given_top = -given_top
            top_k, air_k, bottom_k = edges(
                curve, given_top if top == HEAD else 0.0, given_bottom, n, fixed, edge_nodes, edge_fixed
            )
            by_surface, by_base = 0.0, 0.0
            for s in range(last - 1, first - 1, -1):
                for i in range(n):
                    nodes[H, i] = heads[c, s, i]
                evaluate(curve, nodes, fixed, padded)
                nodes[MASS, :] = nodes[THETA]
                flux_top, _, by_top, by_bottom = assemble(
                    n, padded, nodes, times[c, s], 1.0, top, given_top, top_k, air_k, bottom, given_bottom, bottom_k,
                    uptake, demand, stress[c],
                )  # fmt: skip
                surface, base = step_back(
                    n, padded, nodes, work, times[c, s], top, given_top, top_k, bottom, given_bottom, bottom_k, uptake,
                    demand, stress[c], flux_top, by_top, by_bottom, for_inflow, for_runoff, for_drainage, for_uptake,
                    edge_k,
                )  # fmt: skip
                work[BY_H, :] = 0.0
                pull_back(curve, nodes, work[BY_THETA], work[BY_K], fixed, block, sums[c], padded)
                by_surface += surface
                by_base += base
            if top == HEAD:
                by_surface += edge_k[0] * edge_nodes[SLOPE, 0]
            if bottom == FIXED_HEAD:
                by_base += edge_k[4] * edge_nodes[SLOPE, 4]
            # (a number written out here would be compiled for on its own)
            pull_back(curve, edge_nodes, edge_theta, edge_k, edge_fixed, block, edge_sums[c], edge_k.size)
            edge_k[:] = 0.0
            by_demand = 0.0
            for i in range(n):
                by_demand += nodes[ROOTS, i] * work[TAKEN, i]
                by_roots[c, i] += demand * work[TAKEN, i]
            work[TAKEN, :] = 0.0
            if uptake == FEDDES:
                of_onset, by_high, by_low = onset_back(demand, stress[c], work[BY_STRESS + 2].sum())
                work[BY_STRESS + 2, :] = 0.0
                by_demand += of_onset
                by_stress[c, 2] += by_high
                by_stress[c, 3] += by_low
            e_back, lai_back = forcing_back(e, leaves, by_demand, by_surface if top == ATMOSPHERE else 0.0)
            if by_pet.size > 0:
                by_pet[day, at], by_lai[day, at] = 0.1 * e_back, lai_back
                if top == ATMOSPHERE:
                    by_rain[day, at] = weight[ACTUAL_ET] - 0.1 * by_surface
                else:
                    by_top_value[day, at] = -by_surface if top == FLUX else by_surface
                by_bottom_value[day, at] = by_base
            last = first
        if alive:
            for k in range(depths):
                for j in range(FIXED):
                    sums[c, j, owners[k]] += depth_sums[j, k]
        if uptake != NO_ROOTS:
            by_stress[c, 0] += work[BY_STRESS].sum()
        if uptake == FEDDES:
            by_stress[c, 1] += work[BY_STRESS + 1].sum()
            by_stress[c, 4] += work[BY_STRESS + 3].sum()
        for i in range(n):
            value[c, i] = work[VALUE, i]


@kernel
def finish(curve, uptake, widths, parameters, root_depth, initial, value, sums, edge_sums, by_roots, found, by_initial,
           by_root_depth):  # fmt: skip
    """Derivatives by what each column of a strip was given, once all days are walked.

    `initial` (column, cell) are the heads of the start, of size 0 where that was a state.
    """
    n = widths.size
    padded = sums.shape[2]
    nodes, fixed, work = np.zeros((ROWS, padded)), np.zeros((FIXED, padded)), np.zeros((WORK, padded))
    block = np.zeros(BLOCK * BLOCK_ROWS)
    for c in range(value.shape[0]):
        if prepare(curve, parameters[c], nodes, fixed, padded) > 0:
            continue
        for j in range(FIXED):
            for k in range(8):
                sums[c, j, 0 if k < 4 else n - 1] += edge_sums[c, j, k]
        if initial.size > 0 and not math.isnan(initial[c].sum()):
            work[:] = 0.0
            nodes[H, :] = -1.0
            for i in range(n):
                nodes[H, i], work[BY_THETA, i] = initial[c, i], value[c, i]
            evaluate(curve, nodes, fixed, padded)
            pull_back(curve, nodes, work[BY_THETA], work[BY_K], fixed, block, sums[c], padded)
            for i in range(n):
                by_initial[c, i] = nodes[CAPACITY, i] * value[c, i]
        to_parameters(
            curve, parameters[c], nodes, fixed, work[BY_THETA], work[BY_K], block, sums[c], n, padded, found[c]
        )
        if uptake != NO_ROOTS:
            by_root_depth[c] = roots_back(widths, root_depth[c], by_roots[c])
