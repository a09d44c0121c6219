"""Hydraulic curves walked backwards: from derivatives by theta and K of the nodes to those by the parameters."""

from __future__ import annotations

import math

from xsoil.jit import fused_kernel, kernel
from xsoil.kernels.derivatives import SYMBOLIC, derivatives_of
from xsoil.kernels.richards_curves import (
    BROOKS_COREY,
    CAMPBELL,
    CHORD,
    FREDLUND_XING_WANG,
    GARDNER,
    K_SAT,
    LINEAR,
    LONGEST,
    PER_N,
    SLOPE,
    SMALLEST,
    STRAIGHT,
    VAN_GENUCHTEN,
    H,
    K,
    evaluate,
)  # fmt: skip
from xsoil.physics.fredlund_xing_wang import fredlund_xing_wang, fredlund_xing_wang_anchors
from xsoil.physics.power_laws import brooks_corey, gardner, haverkamp
from xsoil.physics.van_genuchten import van_genuchten

__all__ = ["BLOCK", "BLOCK_ROWS", "pull_back", "to_parameters"]

# Nodes of one pass, and rows of the buffer for it: head, two weights, ten constants of a curve, their derivatives. All
# lie in one array at known distances: a loop over as many arrays as these would not vectorise.
BLOCK, BLOCK_ROWS = 64, 23
_BY_THETA, _BY_K, _FIXED, _FOUND = BLOCK, 2 * BLOCK, 3 * BLOCK, 13 * BLOCK

# theta and K are the first and third result of a curve.
_van_genuchten = derivatives_of(van_genuchten(SYMBOLIC), 8, range(1, 8), (0, 2))
_fredlund_xing_wang = derivatives_of(fredlund_xing_wang(SYMBOLIC), 11, range(1, 11), (0, 2))
_anchors = derivatives_of(fredlund_xing_wang_anchors(SYMBOLIC), 5, range(5), range(5))
_brooks_corey = derivatives_of(brooks_corey(SYMBOLIC), 6, range(1, 6), (0, 2))
_gardner = derivatives_of(gardner(SYMBOLIC), 5, range(1, 5), (0, 2))
_haverkamp = derivatives_of(haverkamp(SYMBOLIC), 8, range(1, 8), (0, 2))


@fused_kernel
def pull_back(curve, nodes, by_theta, by_k, fixed, block, sums, width):
    """Add the derivatives of the sum of by_theta theta(h) + by_k K(h) by the rows of `fixed` to those of `sums`.

    Rows H and K of `nodes` are those of `evaluate`; `width` is a multiple of 8.
    """
    h, k = nodes[H], nodes[K]
    for start in range(0, width, BLOCK):
        count = min(BLOCK, width - start)
        for i in range(count):
            j = start + i
            # K is limited below, and a chord near saturation.
            weight = by_k[j] if k[j] > SMALLEST else 0.0
            straight = weight if (h[j] > -fixed[STRAIGHT, j]) & (h[j] < 0.0) else 0.0
            sums[K_SAT, j] += straight
            sums[CHORD, j] += straight * h[j]
            block[i], block[_BY_THETA + i], block[_BY_K + i] = h[j], by_theta[j], weight - straight
        for row in range(10):
            for i in range(count):
                block[_FIXED + row * BLOCK + i] = fixed[row, start + i]
        if curve == VAN_GENUCHTEN:
            rows = 7
            _back_van_genuchten(block, count)
        elif curve == FREDLUND_XING_WANG:
            rows = 10
            _back_fredlund_xing_wang(block, count)
        elif curve == BROOKS_COREY or curve == CAMPBELL:
            rows = 5
            _back_brooks_corey(block, count)
        elif curve == GARDNER:
            rows = 4
            _back_gardner(block, count)
        else:
            rows = 7
            _back_haverkamp(block, count)
        for row in range(rows):
            for i in range(count):
                sums[row, start + i] += block[_FOUND + row * BLOCK + i]


@fused_kernel
def _back_van_genuchten(f, count):
    for i in range(count):
        (
            f[13 * BLOCK + i], f[14 * BLOCK + i], f[15 * BLOCK + i], f[16 * BLOCK + i], f[17 * BLOCK + i],
            f[18 * BLOCK + i], f[19 * BLOCK + i],
        ) = _van_genuchten(
            f[i], f[3 * BLOCK + i], f[4 * BLOCK + i], f[5 * BLOCK + i], f[6 * BLOCK + i], f[7 * BLOCK + i],
            f[8 * BLOCK + i], f[9 * BLOCK + i], f[BLOCK + i], f[2 * BLOCK + i],
        )  # fmt: skip


@fused_kernel
def _back_fredlund_xing_wang(f, count):
    for i in range(count):
        (
            f[13 * BLOCK + i], f[14 * BLOCK + i], f[15 * BLOCK + i], f[16 * BLOCK + i], f[17 * BLOCK + i],
            f[18 * BLOCK + i], f[19 * BLOCK + i], f[20 * BLOCK + i], f[21 * BLOCK + i], f[22 * BLOCK + i],
        ) = _fredlund_xing_wang(
            f[i], f[3 * BLOCK + i], f[4 * BLOCK + i], f[5 * BLOCK + i], f[6 * BLOCK + i], f[7 * BLOCK + i],
            f[8 * BLOCK + i], f[9 * BLOCK + i], f[10 * BLOCK + i], f[11 * BLOCK + i], f[12 * BLOCK + i],
            f[BLOCK + i], f[2 * BLOCK + i],
        )  # fmt: skip


@fused_kernel
def _back_brooks_corey(f, count):
    for i in range(count):
        (
            f[13 * BLOCK + i], f[14 * BLOCK + i], f[15 * BLOCK + i], f[16 * BLOCK + i], f[17 * BLOCK + i],
        ) = _brooks_corey(
            f[i], f[3 * BLOCK + i], f[4 * BLOCK + i], f[5 * BLOCK + i], f[6 * BLOCK + i], f[7 * BLOCK + i],
            f[BLOCK + i], f[2 * BLOCK + i],
        )  # fmt: skip


@fused_kernel
def _back_gardner(f, count):
    for i in range(count):
        f[13 * BLOCK + i], f[14 * BLOCK + i], f[15 * BLOCK + i], f[16 * BLOCK + i] = _gardner(
            f[i], f[3 * BLOCK + i], f[4 * BLOCK + i], f[5 * BLOCK + i], f[6 * BLOCK + i], f[BLOCK + i], f[2 * BLOCK + i]
        )


@fused_kernel
def _back_haverkamp(f, count):
    for i in range(count):
        (
            f[13 * BLOCK + i], f[14 * BLOCK + i], f[15 * BLOCK + i], f[16 * BLOCK + i], f[17 * BLOCK + i],
            f[18 * BLOCK + i], f[19 * BLOCK + i],
        ) = _haverkamp(
            f[i], f[3 * BLOCK + i], f[4 * BLOCK + i], f[5 * BLOCK + i], f[6 * BLOCK + i], f[7 * BLOCK + i],
            f[8 * BLOCK + i], f[9 * BLOCK + i], f[BLOCK + i], f[2 * BLOCK + i],
        )  # fmt: skip


@kernel
def to_parameters(curve, parameters, nodes, fixed, by_theta, by_k, block, sums, n, width, found):
    """Derivatives by the parameters (parameter, layer) from `sums`, as `prepare` made `fixed` from them.

    Rows H to SLOPE of `nodes`, `by_theta` and `by_k` are overwritten, `sums` is used up.
    """
    for i in range(width):
        nodes[H, i] = -fixed[STRAIGHT, i]
    evaluate(curve, nodes, fixed, width)
    for i in range(width):
        # The chord's slope is (k_sat - K(-length)) / length.
        share = sums[CHORD, i] / fixed[STRAIGHT, i]
        sums[K_SAT, i] += share
        by_theta[i], by_k[i] = 0.0, -share
        sums[CHORD, i] = 0.0
        sums[STRAIGHT, i] = share * (nodes[SLOPE, i] - fixed[CHORD, i])
    pull_back(curve, nodes, by_theta, by_k, fixed, block, sums, width)
    found[:] = 0.0
    layers = parameters.shape[1]
    for i in range(n):
        layer = i if layers > 1 else 0
        p, into = parameters[:, layer], found[:, layer]
        if curve == VAN_GENUCHTEN:
            length = fixed[STRAIGHT, i]
            bending = LINEAR < length < LONGEST * LINEAR
            by_n = sums[3, i] + sums[4, i] / (p[3] * p[3])
            into[0] += sums[0, i]
            into[1] += sums[1, i]
            into[2] += sums[2, i]
            into[3] += by_n - (sums[STRAIGHT, i] * length * math.log(LONGEST) / PER_N if bending else 0.0)
            into[4] += sums[5, i] + sums[K_SAT, i]
            into[5] += sums[6, i]
        elif curve == FREDLUND_XING_WANG:
            by_anchors = _anchors(
                p[0], p[1], p[2], p[3], p[4], sums[5, i], sums[6, i], sums[7, i], sums[8, i], sums[9, i]
            )
            for k in range(5):
                into[k] += sums[k, i] + by_anchors[k]
            into[4] += sums[K_SAT, i]
        elif curve == CAMPBELL:
            into[0] += sums[1, i]
            into[1] += sums[2, i]
            into[2] -= sums[3, i] / (p[2] * p[2])
            into[3] += sums[4, i] + sums[K_SAT, i]
        else:
            for k in range(p.size):
                into[k] += sums[k, i]
            into[3 if curve == GARDNER else 4] += sums[K_SAT, i]
