"""One column of Richards' equation walked backwards, from the heads at the end of its accepted steps.

A step takes the water contents M to M' = M + dt net(h) / w, where h solves w (theta(h) - M) = dt net(h). With v the
derivatives of a scalar by M' and g those by h itself, the transposed system A' e = g + dtheta/dh v, where A is Newton's
matrix, gives all others: w e by M, dt e by net, v - w e by the parameters of theta. Steps themselves do not vary.
"""

from __future__ import annotations

from xsoil.jit import fused_kernel, kernel
from xsoil.kernels.derivatives import SYMBOLIC, derivatives_of
from xsoil.kernels.richards_column import (
    AIR_HEAD,
    ATMOSPHERE,
    BY_ABOVE,
    BY_BELOW,
    DIAGONAL,
    FEDDES,
    FIXED_HEAD,
    FREE_DRAINAGE,
    HEAD,
    LOWER,
    NET,
    PER_DISTANCE,
    ROOT_K,
    ROOTS,
    S_SHAPED,
    SINK_SLOPE,
    SURE,
    UPPER,
    WET_HEAD,
    WIDTH,
)  # fmt: skip
from xsoil.kernels.richards_curves import CAPACITY, OVEN_DRY, UNIQUE, H, K
from xsoil.physics.root_uptake import feddes, feddes_onset, partition, root_fraction, s_shaped

__all__ = [
    "BY_H", "BY_K", "BY_STRESS", "BY_THETA", "TAKEN", "VALUE", "WORK", "forcing_back", "onset_back", "roots_back",
    "step_back",
]  # fmt: skip

# Rows of `work`: derivatives by the water contents, by the heads directly, the solution, by theta and K of the nodes,
# by the faces; what roots got, before demand and share; derivatives by four numbers of the stress function.
VALUE, BY_H, SOLUTION, BY_THETA, BY_K, SHARE, TAKEN, BY_STRESS = range(8)
WORK = 12

_s_shaped = derivatives_of(s_shaped(SYMBOLIC.where), 2, (1,), (0,), (0,))
_feddes = derivatives_of(feddes(SYMBOLIC.where), 5, (1, 2, 3, 4), (0,), (0,))
_onset = derivatives_of(feddes_onset(SYMBOLIC.where), 3, (0, 1, 2), (0,), (0,))
_split = derivatives_of(partition(SYMBOLIC.exp), 2, (0, 1), (0, 1))
_fraction = derivatives_of(root_fraction(SYMBOLIC.where), 2, (1,), (0,), (0,))


@fused_kernel
def step_back(
    n, padded, nodes, work, step, top, top_value, top_k, bottom, bottom_value, bottom_k, uptake, demand, stress,
    flux_top, by_top, by_bottom, for_inflow, for_runoff, for_drainage, for_uptake, edge_k,
):  # fmt: skip
    """Walk through one step whose fluxes and matrix `assemble` has put into `nodes`.

    Row VALUE of `work` goes from after the step to before it; rows BY_THETA and BY_K get the derivatives by theta and K
    of this step; rows TAKEN and BY_STRESS, and `edge_k` (wet or given surface, dry surface; from 4 on bottom), are
    added to. `for_*` are the derivatives by the sums of the day.

    Returns
    -------
    by_surface, by_base : float
        Derivatives by the flux or head at the top and by the head at the bottom.
    """
    h, k, capacity, width, per_distance = nodes[H], nodes[K], nodes[CAPACITY], nodes[WIDTH], nodes[PER_DISTANCE]
    lower, diagonal, upper, root_k, sink_slope = (
        nodes[LOWER], nodes[DIAGONAL], nodes[UPPER], nodes[ROOT_K], nodes[SINK_SLOPE],
    )  # fmt: skip
    value, solution, share, by_theta, by_k = work[VALUE], work[SOLUTION], work[SHARE], work[BY_THETA], work[BY_K]
    by_h, taken = work[BY_H], work[TAKEN]
    last = n - 1
    wet, dry = top == ATMOSPHERE and flux_top > top_value, top == ATMOSPHERE and flux_top < top_value
    on_top = step * ((for_runoff if wet else 0.0) - for_inflow)

    for i in range(padded):
        slope = capacity[i] + (UNIQUE if h[i] > -SURE else 0.0)
        solution[i] = by_h[i] + slope * value[i] + step * for_uptake * sink_slope[i]
    solution[n:] = 0.0
    solution[0] += on_top * by_top
    solution[last] -= step * for_drainage * by_bottom
    hold(n, nodes, work, step)
    inverse = 1.0 / diagonal[0]
    diagonal[0] = inverse
    for i in range(1, n):
        part = upper[i - 1] * inverse
        inverse = 1.0 / (diagonal[i] - part * lower[i])
        diagonal[i] = inverse
        solution[i] -= part * solution[i - 1]
    found = solution[last] * inverse
    solution[last] = found
    for i in range(n - 2, -1, -1):
        found = (solution[i] - lower[i + 1] * found) * diagonal[i]
        solution[i] = found

    for i in range(padded - 1):
        gradient = (h[i] - h[i + 1]) * per_distance[i] + 1.0
        share[i] = -0.25 * step * gradient * (root_k[i] + root_k[i + 1]) * (solution[i] - solution[i + 1])
    share[last:] = 0.0
    by_k[0] = share[0] / root_k[0]
    for i in range(1, padded):
        by_k[i] = (share[i - 1] + share[i]) / root_k[i]
    for i in range(padded):
        before = width[i] * solution[i]
        by_theta[i] = value[i] - before
        value[i] = before

    if uptake == S_SHAPED:
        of_h50 = work[BY_STRESS]
        for i in range(padded):
            by_sink = step * (for_uptake - solution[i])
            factor, by_h50 = _s_shaped(h[i], stress[0], by_sink * demand * nodes[ROOTS, i])
            taken[i] += by_sink * factor
            of_h50[i] += by_h50
    elif uptake == FEDDES:
        onset = _onset(demand, stress[2], stress[3], 1.0)[0]
        for i in range(padded):
            by_sink = step * (for_uptake - solution[i])
            factor, by_h1, by_h2, by_h3, by_h4 = _feddes(
                h[i], stress[0], stress[1], onset, stress[4], by_sink * demand * nodes[ROOTS, i]
            )
            taken[i] += by_sink * factor
            work[BY_STRESS, i] += by_h1
            work[BY_STRESS + 1, i] += by_h2
            work[BY_STRESS + 2, i] += by_h3
            work[BY_STRESS + 3, i] += by_h4

    by_flux = on_top - step * solution[0]
    per_half = 2.0 / width[0]
    by_surface = 0.0
    if top == HEAD:
        half = -0.5 * by_flux * ((top_value - h[0]) * per_half + 1.0)
        by_surface = -0.5 * (top_k + k[0]) * per_half * by_flux
        by_k[0] += half
        edge_k[0] += half
    elif wet:
        half = -0.5 * by_flux * ((WET_HEAD - h[0]) * per_half + 1.0)
        by_k[0] += half
        edge_k[0] += half
        by_surface = -step * for_runoff
    elif dry:
        half = -0.5 * by_flux * ((AIR_HEAD - h[0]) * per_half + 1.0)
        by_k[0] += half
        edge_k[1] += half
    else:
        by_surface = by_flux

    by_flux = step * (solution[last] - for_drainage)
    by_base = 0.0
    if bottom == FREE_DRAINAGE:
        by_k[last] -= by_flux
    elif bottom == FIXED_HEAD:
        per_half = 2.0 / width[last]
        half = -0.5 * by_flux * ((h[last] - bottom_value) * per_half + 1.0)
        by_base = 0.5 * (bottom_k + k[last]) * per_half * by_flux
        by_k[last] += half
        edge_k[4] += half
    return by_surface, by_base


@kernel
def hold(n, nodes, work, step):
    """Put cells that `assemble` keeps at oven dryness into the transposed system: their water goes on as it is."""
    h, lower, diagonal, upper, width = nodes[H], nodes[LOWER], nodes[DIAGONAL], nodes[UPPER], nodes[WIDTH]
    for kept in range(2):
        for i in range(n):
            if h[i] > OVEN_DRY or diagonal[i] != 1.0 or nodes[NET, i] >= 0.0:
                continue
            if kept == 0:
                lower[i] = step * nodes[BY_ABOVE, i - 1] if i > 0 else 0.0
                upper[i] = -step * nodes[BY_BELOW, i]
            else:
                work[SOLUTION, i] = work[VALUE, i] / width[i]
                if i > 0:
                    upper[i - 1] = 0.0
                if i + 1 < n:
                    lower[i + 1] = 0.0


@kernel
def onset_back(demand, stress, weight):
    """Derivatives by the demand and by the heads at which dry stress begins."""
    _, by_demand, by_high, by_low = _onset(demand, stress[2], stress[3], weight)
    return by_demand, by_high, by_low


@kernel
def forcing_back(pet, lai, by_demand, by_evaporation):
    """Derivatives by potential evapotranspiration [cm d-1] and leaf area index."""
    return _split(pet, lai, by_demand, by_evaporation)


@kernel
def roots_back(widths, root_depth, by_roots):
    """Derivative by the root depth from those by the shares of the roots in the cells, as `lay_out` makes them."""
    n = widths.size
    total = widths.sum()
    inside, _ = _fraction(total, root_depth, 1.0)
    top, above, found, sum_of_shares = 0.0, 0.0, 0.0, 0.0
    for i in range(n):
        bottom = top + widths[i]
        below, _ = _fraction(bottom, root_depth, 1.0)
        found += _fraction(bottom, root_depth, by_roots[i])[1] - _fraction(top, root_depth, by_roots[i])[1]
        sum_of_shares += (below - above) * by_roots[i]
        top, above = bottom, below
    return (found - sum_of_shares / inside * _fraction(total, root_depth, 1.0)[1]) / inside
