"""One column of Richards' equation through one interval of constant forcing (a day).

Cell-centred finite volumes and backward Euler in the mixed form of Celia et al. (1990), w (theta(h) - theta_n) =
dt net(h), solved by Newton with the tri-diagonal Jacobian. After convergence theta_n+1 = theta_n + dt net / w: water
is conserved to round-off whatever the tolerance. Work on nodes runs in loops that vectorise; only the elimination is a
chain.
"""

from __future__ import annotations

import math

import numpy as np

from xsoil.jit import fused_kernel, inlined, kernel
from xsoil.kernels.elementary import exp, log1p, where
from xsoil.kernels.richards_curves import (
    ARID,
    BENT,
    CAPACITY,
    EMPTY,
    ENTRY,
    LANDING,
    NOTHING,
    OVEN_DRY,
    POWER,
    RESIDUAL,
    SLOPE,
    STEEPEST,
    THETA,
    UNIQUE,
    H,
    K,
    evaluate,
)  # fmt: skip
from xsoil.physics.richards import face_conductivity
from xsoil.physics.root_uptake import feddes, feddes_onset, s_shaped

__all__ = ["BOTTOMS", "CONTROL", "ROWS", "TOPS", "UPTAKES", "advance", "assemble", "edges", "solve"]

TOPS = ("atmosphere", "flux", "head")
BOTTOMS = ("free_drainage", "head", "zero_flux")
UPTAKES = ("none", "s_shaped", "feddes")
ATMOSPHERE, FLUX, HEAD = range(3)
FREE_DRAINAGE, FIXED_HEAD, ZERO_FLUX = range(3)
NO_ROOTS, S_SHAPED, FEDDES = range(3)

# Rows of `nodes` after those of the curves. Faces are stored with the node above them.
MASS, BEFORE, WIDTH, ROOTS, PER_DISTANCE = range(5, 10)
SINK, SINK_SLOPE, ROOT_K, PER_ROOT_K, FACE_FLUX, BY_ABOVE, BY_BELOW = range(10, 17)
NET, LOWER, DIAGONAL, UPPER, RIGHT, DEFECT, NOISE = range(17, 24)
ROWS = 24

CONTROL = {
    "tolerance": 1e-6,
    "change": 0.02,
    "reject": 0.04,
    "smallest_step": 1e-10,
    "largest_step": 1.0,
    "most_iterations": 20_000,
}
"""Residual of theta at convergence; change of theta aimed at and accepted at most in a step; steps [d]; iterations of a
day after which a column is given up."""
TOLERANCE, CHANGE, REJECT, SMALLEST_STEP, LARGEST_STEP, MOST_ITERATIONS = range(6)

# Heads of the surface at the limits of evaporation and infiltration [cm].
AIR_HEAD, WET_HEAD = -1e5, 0.0
# Newton is given up after so many iterations, then Picard; a recorded step has no other way than Newton, from the
# recorded heads and then from those before the step.
NEWTON, PICARD, LONG = 14, 24, 60
# Above this step [d] a shorter one is tried before Picard.
PATIENCE = 0.01
# Below this tolerance of theta the residual may also be as large as its round-off, and is brought down to that: heads
# then depend smoothly on the parameters.
STRICT, ROUND_OFF = 1e-9, 1e-15
# Water content that no longer counts where a soil is at its residual.
SPARE = 1e-9
# Roots find nothing where soil holds less than so many times what counts as empty.
TRACE = 1e5
# A wetting cell comes so near to saturation in one iteration [cm]; one that follows a power law keeps the share MOST of
# its suction.
SURE, MOST = 0.05, 0.02

_face = inlined(face_conductivity)
_s_shaped = inlined(s_shaped(where))
_feddes = inlined(feddes(where))
_onset = kernel(feddes_onset(where))


@kernel
def edges(curve, top_head, bottom_head, n, fixed, edge_nodes, edge_fixed):
    """Conductivities at the heads beyond the column: given or wet surface, air-dry surface, bottom."""
    for k in range(fixed.shape[0]):
        for i in range(8):
            edge_fixed[k, i] = fixed[k, 0] if i < 4 else fixed[k, n - 1]
    edge_nodes[H, :] = AIR_HEAD
    edge_nodes[H, 0] = top_head
    edge_nodes[H, 4] = bottom_head
    evaluate(curve, edge_nodes, edge_fixed, 8)
    return edge_nodes[K, 0], edge_nodes[K, 1], edge_nodes[K, 4]


@fused_kernel
def assemble(n, padded, nodes, step, newton, top, top_value, top_k, air_k, bottom, bottom_value, bottom_k,
             uptake, demand, stress):  # fmt: skip
    """Fluxes, residual and Jacobian at the heads of `nodes`, whose rows THETA to SLOPE are those of the heads.

    `newton` is 1, or 0 for the matrix of Picard. `top_value` is the potential flux of an atmosphere, the flux (both
    upward) or the head; `demand` the potential transpiration; `stress` h50 or the five numbers of Feddes. The row of a
    cell that is oven dry and would lose more is that of the identity: its head stays.

    Returns
    -------
    flux_top, flux_bottom : float
        Upward [cm d-1].
    by_top, by_bottom : float
        Their derivatives by the first and the last head.
    """
    h, theta, capacity, k, slope = nodes[H], nodes[THETA], nodes[CAPACITY], nodes[K], nodes[SLOPE]
    mass, width, roots, per_distance = nodes[MASS], nodes[WIDTH], nodes[ROOTS], nodes[PER_DISTANCE]
    sink, sink_slope, root_k, per_root_k = nodes[SINK], nodes[SINK_SLOPE], nodes[ROOT_K], nodes[PER_ROOT_K]
    flux, by_above, by_below = nodes[FACE_FLUX], nodes[BY_ABOVE], nodes[BY_BELOW]
    net, lower, diagonal, upper, right = nodes[NET], nodes[LOWER], nodes[DIAGONAL], nodes[UPPER], nodes[RIGHT]
    last = n - 1

    for i in range(padded):
        root = math.sqrt(k[i])
        root_k[i] = root
        per_root_k[i] = 0.25 * newton * slope[i] / root
    for i in range(padded - 1):
        conductivity = _face(k[i], k[i + 1], root_k[i], root_k[i + 1])
        gradient = (h[i] - h[i + 1]) * per_distance[i] + 1.0
        both = root_k[i] + root_k[i + 1]
        across = conductivity * per_distance[i]
        flux[i] = -conductivity * gradient
        by_above[i] = -across - per_root_k[i] * both * gradient
        by_below[i] = across - per_root_k[i + 1] * both * gradient

    if uptake == S_SHAPED:
        for i in range(padded):
            factor, rise = _s_shaped(h[i], stress[0])
            sink[i] = roots[i] * demand * factor
            sink_slope[i] = roots[i] * demand * rise
    elif uptake == FEDDES:
        onset = _onset(demand, stress[2], stress[3])
        for i in range(padded):
            factor, rise = _feddes(h[i], stress[0], stress[1], onset, stress[4])
            sink[i] = roots[i] * demand * factor
            sink_slope[i] = roots[i] * demand * rise

    per_half = 2.0 / width[0]
    if top == HEAD:
        mean = 0.5 * (top_k + k[0])
        flux_top = -mean * ((top_value - h[0]) * per_half + 1.0)
        by_top = mean * per_half - 0.5 * newton * slope[0] * ((top_value - h[0]) * per_half + 1.0)
    else:
        flux_top, by_top = top_value, 0.0
        if top == ATMOSPHERE:
            wet = 0.5 * (top_k + k[0])
            gradient = (WET_HEAD - h[0]) * per_half + 1.0
            if top_value < -wet * gradient:
                flux_top = -wet * gradient
                by_top = wet * per_half - 0.5 * newton * slope[0] * gradient
            else:
                dry = 0.5 * (air_k + k[0])
                gradient = (AIR_HEAD - h[0]) * per_half + 1.0
                if top_value > -dry * gradient:
                    flux_top = -dry * gradient
                    by_top = dry * per_half - 0.5 * newton * slope[0] * gradient

    flux_bottom, by_bottom = 0.0, 0.0
    if bottom == FREE_DRAINAGE:
        flux_bottom, by_bottom = -k[last], -newton * slope[last]
    elif bottom == FIXED_HEAD:
        per_half = 2.0 / width[last]
        mean = 0.5 * (bottom_k + k[last])
        gradient = (h[last] - bottom_value) * per_half + 1.0
        flux_bottom = -mean * gradient
        by_bottom = -mean * per_half - 0.5 * newton * slope[last] * gradient
    flux[last], by_above[last], by_below[last] = flux_bottom, by_bottom, 0.0

    net[0] = flux[0] - flux_top - sink[0]
    diagonal[0] = by_top - by_above[0] + sink_slope[0]
    lower[0] = 0.0
    for i in range(1, padded):
        net[i] = flux[i] - flux[i - 1] - sink[i]
        diagonal[i] = by_below[i - 1] - by_above[i] + sink_slope[i]
        lower[i] = step * by_above[i - 1]
    for i in range(padded):
        upper[i] = -step * by_below[i]
        diagonal[i] = width[i] * (capacity[i] + (UNIQUE if h[i] > -SURE else 0.0)) + step * diagonal[i]
        right[i] = step * net[i] - width[i] * (theta[i] - mass[i])
    dried = 0
    for i in range(n):
        dried += 1 if h[i] <= OVEN_DRY else 0
    if dried > 0:
        for i in range(n):
            if h[i] <= OVEN_DRY and right[i] < 0.0:
                lower[i], diagonal[i], upper[i], right[i] = 0.0, 1.0, 0.0, 0.0
    right[n:] = 0.0
    return flux_top, flux_bottom, by_top, by_bottom


@kernel
def solve(n, nodes):
    """Put the solution of the tri-diagonal system into the row RIGHT."""
    lower, diagonal, upper, right = nodes[LOWER], nodes[DIAGONAL], nodes[UPPER], nodes[RIGHT]
    inverse = 1.0 / diagonal[0]
    diagonal[0] = inverse
    for i in range(1, n):
        share = lower[i] * inverse
        inverse = 1.0 / (diagonal[i] - share * upper[i - 1])
        diagonal[i] = inverse
        right[i] -= share * right[i - 1]
    value = right[n - 1] * inverse
    right[n - 1] = value
    for i in range(n - 2, -1, -1):
        value = (right[i] - upper[i] * value) * diagonal[i]
        right[i] = value


@fused_kernel
def update(padded, nodes, fixed, step):
    """Move the heads by the row RIGHT, limited.

    A cell that wets goes at most to the head at which a power law through its present state reaches the water content
    that is on its way: the dry end of every curve bends so strongly that the linear step overshoots.
    """
    h, theta, capacity, right = nodes[H], nodes[THETA], nodes[CAPACITY], nodes[RIGHT]
    net, mass, width = nodes[NET], nodes[MASS], nodes[WIDTH]
    residual, entry, landing, bent = fixed[RESIDUAL], fixed[ENTRY], fixed[LANDING], fixed[BENT]
    arid, power, steepest, empty = fixed[ARID], fixed[POWER], fixed[STEEPEST], fixed[EMPTY]
    for i in range(padded):
        suction = abs(h[i])
        size = 0.8 * suction
        change = min(max(right[i], -size - 5.0), size + (SURE if h[i] < 0.0 else 5.0))
        above = theta[i] - residual[i]
        known = above > empty[i]
        held = max(above, 1e-18) if known else NOTHING
        index = min(max(capacity[i] * suction / held if known else power[i], 1e-3), steepest[i])
        # Newton's share of the water that arrives in an empty cell is lost in that which it would pass on.
        arriving = max(capacity[i] * right[i], step * net[i] / width[i] - (theta[i] - mass[i])) / held
        wetter = max(index * right[i] / max(suction, 1e-3) if known else arriving, 0.0)
        curved = max(h[i], arid[i]) * max(exp(-log1p(wetter) / index), MOST)
        dry = (h[i] < bent[i]) & (right[i] > 0.0)
        wetted = min(curved if known else min(h[i] + right[i], curved), entry[i] + SURE)
        lowest = landing[i] if h[i] >= entry[i] else OVEN_DRY
        h[i] = max(wetted if dry else h[i] + change, lowest)


@fused_kernel
def judge(n, nodes, fixed, tolerance, most, step):
    """Count the cells whose residual is not small yet, and those whose water content is further than `most` away.

    What roots ask of empty soil in a step of length `step` does not count.
    """
    theta, mass, width, right, defect = nodes[THETA], nodes[MASS], nodes[WIDTH], nodes[RIGHT], nodes[DEFECT]
    residual, empty, noise, sink = fixed[RESIDUAL], fixed[EMPTY], nodes[NOISE], nodes[SINK]
    unfinished, far = 0, 0
    for i in range(n):
        # A cell never gives more than half of what its head holds: water below the residual has no head.
        above = max(theta[i] - residual[i], 0.0)
        lack = min(tolerance, 0.5 * above) + defect[i]
        asked = step * sink[i] if above < TRACE * empty[i] else 0.0
        most_up, most_down = width[i] * tolerance + noise[i], width[i] * lack + asked + noise[i]
        unfinished += 0 if (right[i] <= most_up) & (right[i] >= -most_down) else 1
        far += 1 if abs(theta[i] - mass[i]) > most else 0
    return unfinished, far


@fused_kernel
def blur(n, nodes, step):
    """Put the round-off of the residual into the row NOISE: what it makes of the last digits of heads and fluxes."""
    h, theta, flux, width = nodes[H], nodes[THETA], nodes[FACE_FLUX], nodes[WIDTH]
    lower, diagonal, upper, noise = nodes[LOWER], nodes[DIAGONAL], nodes[UPPER], nodes[NOISE]
    for i in range(n):
        above, below = h[max(i - 1, 0)], h[min(i + 1, n - 1)]
        noise[i] = ROUND_OFF * (
            abs(lower[i] * above) + abs(diagonal[i] * h[i]) + abs(upper[i] * below) + width[i] * theta[i]
            + step * (abs(flux[i]) + abs(flux[max(i - 1, 0)]))
        )  # fmt: skip


@fused_kernel
def gain(padded, nodes, step):
    """Put the change of water content that the fluxes make in a step into the row RIGHT."""
    net, width, right = nodes[NET], nodes[WIDTH], nodes[RIGHT]
    for i in range(padded):
        right[i] = step * net[i] / width[i]


@kernel
def advance(curve, n, padded, nodes, fixed, top, top_value, top_k, air_k, bottom, bottom_value, bottom_k,
            uptake, demand, stress, step, control, sums, times, heads, count, replay, known):  # fmt: skip
    """Bring a column to the end of the interval.

    Rows H to SLOPE and MASS of `nodes` are the state, and are consistent before and after. `sums` gets inflow, runoff,
    drainage, uptake [cm], steps and iterations added. Accepted steps and their heads are written to `times` and `heads`
    from `count` on as far as these reach; where `replay` is not negative, that many steps are taken from `times`, and
    Newton begins at the heads in `known`.

    Returns
    -------
    step : float
        To begin the next interval with; NaN if the column failed.
    count : int
        Steps recorded so far, also those that found no room.
    """
    h, mass, before = nodes[H], nodes[MASS], nodes[BEFORE]
    sink, right, defect = nodes[SINK], nodes[RIGHT], nodes[DEFECT]
    residual, tolerance = fixed[RESIDUAL], control[TOLERANCE]
    strict, replayed = tolerance < STRICT, replay >= 0
    first_try, second_try = (LONG, LONG) if replayed else (NEWTON, PICARD)
    time, done = 0.0, 0
    while (done < replay) if replayed else (time < 1.0):
        if sums[5] > control[MOST_ITERATIONS]:
            return np.nan, count
        left = 1.0 - time
        if replayed:
            trial = times[count]
        elif step >= left:
            trial = left
        else:
            trial = min(step, 0.5 * left)
        for i in range(n):
            before[i] = h[i]
        for i in range(n):
            defect[i] = 0.0 if strict else max(residual[i] - mass[i], 0.0) + SPARE
        flux_top, flux_bottom = 0.0, 0.0
        converged, polished, newton = False, False, 1.0
        if replayed:
            for i in range(n):
                h[i] = known[count, i]
            evaluate(curve, nodes, fixed, padded)
        for iteration in range(first_try + second_try):
            if iteration == first_try:
                newton = 1.0 if replayed else 0.0
                for i in range(n):
                    h[i] = before[i]
                evaluate(curve, nodes, fixed, padded)
            flux_top, flux_bottom, _, _ = assemble(
                n, padded, nodes, trial, newton, top, top_value, top_k, air_k, bottom, bottom_value, bottom_k,
                uptake, demand, stress,
            )  # fmt: skip
            if strict:
                blur(n, nodes, trial)
            unfinished, far = judge(n, nodes, fixed, tolerance, 2.0 * control[REJECT], 0.0 if strict else trial)
            if unfinished == 0 and (polished or not strict):
                converged = True
                break
            # One more iteration than a strict tolerance asks for brings the residual to its round-off.
            polished = polished or unfinished == 0
            # Where the heads are on their way to a change that would be rejected, nothing is gained by finishing.
            if far > 0 and iteration >= 3 and not replayed and trial > PATIENCE:
                break
            if iteration == first_try - 1 and trial > PATIENCE and not replayed:
                break
            solve(n, nodes)
            update(padded, nodes, fixed, trial)
            evaluate(curve, nodes, fixed, padded)
            sums[5] += 1.0
        largest = 0.0
        if converged:
            gain(padded, nodes, trial)
            for i in range(n):
                largest = max(largest, abs(right[i]))
        if not converged or (largest > control[REJECT] and not replayed):
            for i in range(n):
                h[i] = before[i]
            evaluate(curve, nodes, fixed, padded)
            step = trial * (max(0.3, control[CHANGE] / largest) if converged else 0.25)
            if replayed or not step >= control[SMALLEST_STEP]:
                return np.nan, count
            continue
        used = 0.0
        for i in range(n):
            # Roots get nothing from empty soil.
            missing = min(mass[i], residual[i]) - SPARE - (mass[i] + right[i])
            kept = min(max(missing * nodes[WIDTH, i], 0.0), 0.0 if strict or fixed[EMPTY, i] < 0.0 else trial * sink[i])
            mass[i] += right[i] + kept / nodes[WIDTH, i]
            used += sink[i] - kept / trial
        sums[0] -= trial * flux_top
        sums[1] += trial * (max(flux_top - top_value, 0.0) if top == ATMOSPHERE else 0.0)
        sums[2] -= trial * flux_bottom
        sums[3] += trial * used
        sums[4] += 1.0
        if not replayed and count < times.size:
            times[count] = trial
        if count < heads.shape[0]:
            for i in range(n):
                heads[count, i] = h[i]
        count += 1
        done += 1
        growth = min(2.0, control[CHANGE] / max(largest, 1e-9))
        step = min(max(trial * growth, step if growth >= 1.0 else 0.0), control[LARGEST_STEP])
        time = 1.0 if trial >= left else time + trial
    return step, count
