"""One day of the water balance forward and back, for a block of cells: the inner loops of its gradient."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from xsoil.jit import fused_kernel

Array = NDArray[Any]

# Cells that walk back together: their 25 rows of storages and the sums stay in the first-level cache.
BLOCK = 256
# Rows are a little longer than a block, so that they do not all fall on the same cache sets.
ROW = BLOCK + 16
# Where the rows of the buffer start: what a day is made of, the derivatives by its end, then the sums over its
# sub-steps of the derivatives by what the names say, and the storage itself.
ROWS = 20
(
    RAIN, DEMAND, SATURATION, CAPACITY, WILTING, PER_DEPLETION, RELEASED, G, ON_ET, ON_RUNOFF, ON_DRAINAGE, DRAINED,
    RELEASED_BY, CAPPED, UNSTRESSED, STRESSED_BY, STRESSED, SATURATED, RAINED, NOW,
) = (ROW * row for row in range(ROWS))  # fmt: skip


@fused_kernel
def day_back(f: Array, water: Array, substeps: int) -> None:
    """Run a day, then walk it back, where no demand can exceed what there is and no flux has a derivative.

    One buffer with its rows at fixed places, so that the compiler sees that they do not overlap; all rows in full,
    so that the loops have a constant length.
    """
    zero = f.dtype.type(0)
    for i in range(BLOCK):
        f[NOW + i] = zero
    for step in range(1, substeps):
        for i in range(BLOCK):
            w = f[NOW + i]
            wanted = min(
                (max(w, f[WILTING + i]) - f[WILTING + i]) * f[PER_DEPLETION + i] * f[DEMAND + i], f[DEMAND + i]
            )
            left = min(w + f[RAIN + i], f[SATURATION + i]) - wanted
            f[NOW + i] = left - f[RELEASED + i] * (max(left, f[CAPACITY + i]) - f[CAPACITY + i])
        for i in range(BLOCK):
            water[step, i] = f[NOW + i]
    for step in range(substeps - 1, -1, -1):
        for i in range(BLOCK):
            f[NOW + i] = water[step, i]
        for i in range(BLOCK):
            w, e, low = f[NOW + i], f[DEMAND + i], f[WILTING + i]
            wet = w + f[RAIN + i]
            above = max(w, low) - low
            rate = f[PER_DEPLETION + i] * e
            share = above * rate
            left = min(wet, f[SATURATION + i]) - min(share, e)
            by_drainage = -f[G + i] if left > f[CAPACITY + i] else zero
            f[RELEASED_BY + i] += by_drainage * (left - f[CAPACITY + i])
            f[DRAINED + i] += by_drainage
            by_left = f[G + i] + f[RELEASED + i] * by_drainage
            by_share = -by_left if share < e else zero
            f[UNSTRESSED + i] += by_left + by_share
            f[STRESSED_BY + i] += by_share * above
            f[STRESSED + i] += by_share
            by_wet = zero if wet > f[SATURATION + i] else by_left
            f[SATURATED + i] += by_left - by_wet
            f[RAINED + i] += by_wet
            f[G + i] = by_wet + by_share * rate
    for i in range(BLOCK):
        f[UNSTRESSED + i] = -f[UNSTRESSED + i]


@fused_kernel
def any_day_back(f: Array, water: Array, substeps: int) -> None:
    """Run a day, then walk it back, with all cases."""
    zero = f.dtype.type(0)
    for i in range(BLOCK):
        f[NOW + i] = zero
    for step in range(1, substeps):
        for i in range(BLOCK):
            w = f[NOW + i]
            kept = min(w + f[RAIN + i], f[SATURATION + i])
            wanted = min(
                (max(w, f[WILTING + i]) - f[WILTING + i]) * f[PER_DEPLETION + i] * f[DEMAND + i], f[DEMAND + i]
            )
            left = kept - min(max(kept, f[WILTING + i]) - f[WILTING + i], wanted)
            f[NOW + i] = left - f[RELEASED + i] * (max(left, f[CAPACITY + i]) - f[CAPACITY + i])
        for i in range(BLOCK):
            water[step, i] = f[NOW + i]
    for step in range(substeps - 1, -1, -1):
        for i in range(BLOCK):
            f[NOW + i] = water[step, i]
        for i in range(BLOCK):
            w, e, low = f[NOW + i], f[DEMAND + i], f[WILTING + i]
            wet = w + f[RAIN + i]
            over = wet > f[SATURATION + i]
            kept = f[SATURATION + i] if over else wet
            above = max(w, low) - low
            rate = f[PER_DEPLETION + i] * e
            share = above * rate
            wanted = min(share, e)
            available = max(kept, low) - low
            left = kept - min(available, wanted)
            # drainage
            by_drainage = f[ON_DRAINAGE + i] - f[G + i] if left > f[CAPACITY + i] else zero
            f[RELEASED_BY + i] += by_drainage * (left - f[CAPACITY + i])
            f[DRAINED + i] += by_drainage
            by_left = f[G + i] + f[RELEASED + i] * by_drainage
            # evapotranspiration: all there is, or the stressed share of the demand, or the demand
            by_et = f[ON_ET + i] - by_left
            by_available = by_et if available < wanted else zero
            by_wanted = by_et - by_available
            by_share = by_wanted if share < e else zero
            f[CAPPED + i] += by_available
            f[UNSTRESSED + i] += by_wanted - by_share
            f[STRESSED_BY + i] += by_share * above
            f[STRESSED + i] += by_share
            # rain and runoff
            by_kept = by_left + by_available
            by_wet = f[ON_RUNOFF + i] if over else by_kept
            f[SATURATED + i] += by_kept - by_wet
            f[RAINED + i] += by_wet
            f[G + i] = by_wet + by_share * rate
