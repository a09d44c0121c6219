"""One sub-step of the soil water balance of Li et al. (2024), written once.

The daily model repeats `substep` N times; the kernels compile it for maps, and any runtime with an
elementwise minimum and maximum can run the same lines.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["water_balance_substep"]


def water_balance_substep(minimum: Callable[[Any, Any], Any], maximum: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Build the sub-step on an elementwise minimum and maximum.

    Where the first argument is NaN both must return NaN (`np.minimum`, `torch.minimum` and Python's
    `min`, plain or compiled, do).

    The step only ever uses differences of storages, so that all four of them may be given relative to
    any common level: a run in single precision takes the storage at the start of the day.

    Parameters
    ----------
    minimum, maximum : callable
        Elementwise minimum and maximum of two arguments.

    Returns
    -------
    callable
        ``step(water, rain, demand, saturation, field_capacity, wilting_point, per_depletion, released)``
        -> ``water, runoff, actual_et, drainage``. Storages and fluxes in mm, fluxes per sub-step:
        `rain` = P/N, `demand` = K_c PET/N, `per_depletion` = 1 / ((1 - p) (W_fc - W_wp)) [mm-1],
        `released` = 1 - exp(-k), the share of the water above field capacity that drains in one step.

    References
    ----------
    Li et al. (2024), Water Resour. Res., doi:10.1029/2023WR035543, eq. 8 (drainage); Allen et al.
    (1998), FAO Irrigation and Drainage Paper 56, eq. 84 (water stress).
    """

    def step(
        water: Any,
        rain: Any,
        demand: Any,
        saturation: Any,
        field_capacity: Any,
        wilting_point: Any,
        per_depletion: Any,
        released: Any,
    ) -> Any:
        # Rain first: what exceeds saturation runs off at once.
        wet = water + rain
        kept = minimum(wet, saturation)
        runoff = maximum(wet, saturation) - saturation
        # The stress coefficient is that of the water before the rain; min(K_s, 1) demand = min(K_s demand, demand).
        wanted = minimum((maximum(water, wilting_point) - wilting_point) * per_depletion * demand, demand)
        actual_et = minimum(maximum(kept, wilting_point) - wilting_point, wanted)
        left = kept - actual_et
        drainage = released * (maximum(left, field_capacity) - field_capacity)
        return left - drainage, runoff, actual_et, drainage

    return step
