"""Hydraulic curves at all nodes of a column at once: theta, dtheta/dh, K, dK/dh, vectorised across the nodes."""

from __future__ import annotations

import math
from collections.abc import Mapping

from xsoil.jit import fused_kernel, inlined, kernel
from xsoil.kernels.elementary import exp, expm1, log, log1p, where
from xsoil.physics.elementary import Elementary
from xsoil.physics.fredlund_xing_wang import fredlund_xing_wang, fredlund_xing_wang_anchors
from xsoil.physics.power_laws import brooks_corey, gardner, haverkamp
from xsoil.physics.van_genuchten import van_genuchten

__all__ = ["CURVES", "FIXED", "evaluate", "prepare"]

CURVES: Mapping[str, tuple[str, ...]] = {
    "van_genuchten": ("theta_r", "theta_s", "alpha", "n", "k_sat", "l"),
    "fredlund_xing_wang": ("theta_s", "alpha", "n", "m", "k_sat"),
    "brooks_corey": ("theta_r", "theta_s", "psi_s", "lambda", "k_sat"),
    "campbell": ("theta_s", "psi_s", "b", "k_sat"),
    "gardner": ("theta_r", "theta_s", "alpha", "k_sat"),
    "haverkamp": ("theta_r", "theta_s", "a", "beta", "k_sat", "k_a", "gamma"),
}
"""Parameters of each curve, in the order in which the kernels take them."""

VAN_GENUCHTEN, FREDLUND_XING_WANG, BROOKS_COREY, CAMPBELL, GARDNER, HAVERKAMP = range(len(CURVES))

# Rows of constants per node: up to ten of the curve; k_sat, slope and length of the chord of K near saturation,
# residual water content; for Newton: head of the kink at air entry, head where a saturated cell that drains lands
# first, head below which the curve is bent like a power of h, head at which soil holds NOTHING, that power there, its
# limit, water content below which soil counts as empty.
FIXED = 21
K_SAT, CHORD, STRAIGHT, RESIDUAL, ENTRY, LANDING, BENT, ARID, POWER, STEEPEST, EMPTY = range(10, FIXED)

OVEN_DRY = -6.3e6
"""Least head [cm]."""

NOTHING = 1e-12
"""Water content that is known to a few digits only."""

LINEAR = 0.1
"""K is a straight line for heads between -LINEAR and 0 cm: dK/dh of van Genuchten's curve is unbounded there."""
LONGEST, PER_N = 20.0, 0.2
"""Its line is longer for n below 1.3: LONGEST times as long from 1.3 - PER_N down, in between by powers."""

UNIQUE = 1e-9
"""Least dtheta/dh [cm-1] of saturated soil for Newton: a saturated column between given fluxes has no unique head."""

SMALLEST = 1e-25
"""Least conductivity [cm d-1]."""

_whole = Elementary(exp, expm1, log, log1p, where, inlined)
_van_genuchten = inlined(van_genuchten(_whole))
_fredlund_xing_wang = inlined(fredlund_xing_wang(_whole))
_anchors = kernel(fredlund_xing_wang_anchors(Elementary(exp, expm1, log, log1p, where, kernel)))
_brooks_corey = inlined(brooks_corey(_whole))
_gardner = inlined(gardner(_whole))
_haverkamp = inlined(haverkamp(_whole))

# Rows of a column's nodes.
H, THETA, CAPACITY, K, SLOPE = range(5)


@fused_kernel
def evaluate(curve, nodes, fixed, width):
    """Fill rows THETA to SLOPE of `nodes` from its row H; `fixed` is that of `prepare`."""
    h, theta, capacity, k, slope = nodes[0], nodes[1], nodes[2], nodes[3], nodes[4]
    if curve == VAN_GENUCHTEN:
        for i in range(width):
            theta[i], capacity[i], k[i], slope[i] = _van_genuchten(
                h[i], fixed[0, i], fixed[1, i], fixed[2, i], fixed[3, i], fixed[4, i], fixed[5, i], fixed[6, i]
            )
    elif curve == FREDLUND_XING_WANG:
        for i in range(width):
            theta[i], capacity[i], k[i], slope[i] = _fredlund_xing_wang(
                h[i], fixed[0, i], fixed[1, i], fixed[2, i], fixed[3, i], fixed[4, i],
                fixed[5, i], fixed[6, i], fixed[7, i], fixed[8, i], fixed[9, i],
            )  # fmt: skip
    elif curve == BROOKS_COREY or curve == CAMPBELL:
        for i in range(width):
            theta[i], capacity[i], k[i], slope[i] = _brooks_corey(
                h[i], fixed[0, i], fixed[1, i], fixed[2, i], fixed[3, i], fixed[4, i]
            )
            capacity[i] = capacity[i] if h[i] < fixed[2, i] else UNIQUE
    elif curve == GARDNER:
        for i in range(width):
            theta[i], capacity[i], k[i], slope[i] = _gardner(h[i], fixed[0, i], fixed[1, i], fixed[2, i], fixed[3, i])
    else:
        for i in range(width):
            theta[i], capacity[i], k[i], slope[i] = _haverkamp(
                h[i], fixed[0, i], fixed[1, i], fixed[2, i], fixed[3, i], fixed[4, i], fixed[5, i], fixed[6, i]
            )
    for i in range(width):
        near = (h[i] > -fixed[STRAIGHT, i]) & (h[i] < 0.0)
        value = fixed[K_SAT, i] + fixed[CHORD, i] * h[i] if near else k[i]
        rise = fixed[CHORD, i] if near else slope[i]
        tiny = value < SMALLEST
        k[i] = SMALLEST if tiny else value
        slope[i] = 0.0 if tiny else rise


@kernel
def prepare(curve, parameters, nodes, fixed, width):
    """Fill `fixed` (FIXED, width) from `parameters` (parameter, node); nodes beyond the last repeat it.

    Returns
    -------
    int
        0, 1 where a parameter is NaN, 2 where the parameters are impossible.
    """
    last = parameters.shape[1] - 1
    fault = 0
    for i in range(width):
        p = parameters[:, min(i, last)]
        for k in range(p.size):
            if math.isnan(p[k]):
                return 1
            fixed[k, i] = p[k]
        if curve == VAN_GENUCHTEN:
            good = 0.0 <= p[0] < p[1] <= 1.0 and 0.0 < p[2] < 1e6 and 1.0 < p[3] < 1e3 and abs(p[5]) < 100.0
            fixed[4, i], fixed[5, i], fixed[6, i] = 1.0 - 1.0 / p[3], p[4], p[5]
            k_sat = p[4]
        elif curve == FREDLUND_XING_WANG:
            good = 0.0 < p[0] <= 1.0 and 0.0 < p[1] < 1e6 and 1.0 < p[2] < 1e3 and 0.0 < p[3] < 1e3
            k_sat = p[4]
            if good and k_sat > 0.0:
                fixed[5, i], fixed[6, i], fixed[7, i], fixed[8, i], fixed[9, i] = _anchors(p[0], p[1], p[2], p[3], p[4])
        elif curve == BROOKS_COREY:
            good = 0.0 <= p[0] < p[1] <= 1.0 and -1e6 < p[2] < 0.0 and 0.0 < p[3] < 1e3
            k_sat = p[4]
        elif curve == CAMPBELL:
            good = 0.0 < p[0] <= 1.0 and -1e6 < p[1] < 0.0 and 1e-3 < p[2] < 1e3
            k_sat = p[3]
            fixed[0, i], fixed[1, i], fixed[2, i] = 0.0, p[0], p[1]
            fixed[3, i], fixed[4, i] = 1.0 / p[2], k_sat
        elif curve == GARDNER:
            good = 0.0 <= p[0] < p[1] <= 1.0 and 0.0 < p[2] < 1e3
            k_sat = p[3]
        else:
            good = 0.0 <= p[0] < p[1] <= 1.0 and min(p[2], p[3], p[5], p[6]) > 0.0
            k_sat = p[4]
        if not (good and 0.0 < k_sat < 1e9):
            fault = 2
        fixed[K_SAT, i], fixed[CHORD, i], fixed[STRAIGHT, i] = k_sat, 0.0, LINEAR
        fixed[RESIDUAL, i] = 0.0 if curve == FREDLUND_XING_WANG else fixed[0, i]
        fixed[ENTRY, i], fixed[LANDING, i], fixed[BENT, i] = 0.0, OVEN_DRY, -20.0
        power, scale, exponential = 1.0, -OVEN_DRY, False
        if curve == BROOKS_COREY or curve == CAMPBELL:
            fixed[ENTRY, i], fixed[LANDING, i], fixed[BENT, i] = fixed[2, i], 1.05 * fixed[2, i], fixed[2, i]
            power, scale = fixed[3, i], -fixed[2, i]
        elif curve == GARDNER:
            fixed[LANDING, i], fixed[BENT, i] = -0.05 / p[2], -1.0 / p[2]
            scale, exponential = 1.0 / p[2], True
        elif curve == HAVERKAMP:
            power, scale = p[3], math.exp(math.log(p[2]) / p[3])
        elif curve == VAN_GENUCHTEN:
            power, scale = p[3] - 1.0, 1.0 / p[2]
            fixed[STRAIGHT, i] = min(max(LINEAR * LONGEST ** ((1.3 - p[3]) / PER_N), LINEAR), LONGEST * LINEAR)
        decades = -math.log(NOTHING)
        suction = scale * (decades if exponential else math.exp(min(decades / power, 50.0)))
        fixed[POWER, i] = decades if exponential else power
        smooth = curve == VAN_GENUCHTEN or curve == FREDLUND_XING_WANG
        fixed[ARID, i] = OVEN_DRY if smooth else max(-suction, OVEN_DRY)
        fixed[STEEPEST, i], fixed[EMPTY, i] = 20.0 if smooth else 1e9, -1.0 if smooth else NOTHING
    if fault == 0:
        for i in range(width):
            nodes[0, i] = -fixed[STRAIGHT, i]
        evaluate(curve, nodes, fixed, width)
        for i in range(width):
            fixed[CHORD, i] = (fixed[K_SAT, i] - nodes[K, i]) / fixed[STRAIGHT, i]
    return fault
