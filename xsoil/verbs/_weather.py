"""What reaches the ground of one block of cells: series side by side, rain and irrigation, snow and its melt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

__all__ = ["SUPPLIES", "TEMPERATURES", "Series", "State", "add_supplies", "days_of", "faulty", "store_snow"]

SUPPLIES = ("irrigation", "capillary_rise")
TEMPERATURES = ("soil_temperature", "air_temperature")

Series = dict[str, np.ndarray]
State = tuple[np.ndarray, ...]


def days_of(names: Sequence[str], series: Sequence[np.ndarray], shape: tuple[int, ...]) -> Series:
    """Series as (time, cells); forcing that is the same for all cells stays one column."""
    return {
        name: (
            array if array[:1].size == 1 else np.broadcast_to(array, (array.shape[0], *shape))
        ).reshape(array.shape[0], -1)
        for name, array in zip(names, series, strict=True)
    }  # fmt: skip


def store_snow(
    days: Series, flat: Series, before: Series, values: Series, outputs: tuple[str, ...], dtype: str, workers: int
) -> np.ndarray:
    """Put rain and melt in the place of precipitation; the outputs `snow` and `frozen`, and the snow at the end."""
    from xsoil.kernels import snow

    factor = flat["degree_day_factor"]
    start = before.get("final_snow", flat.get("initial_snow"))
    if "initial_snow" in flat and "initial" in flat:  # no state without its snow
        flat["initial"] = np.where(np.isnan(flat["initial_snow"]), np.nan, flat["initial"])
    # The kernel of the water balance tells a missing parameter (NaN) from an impossible one (here a negative porosity).
    possible = (factor >= 0) & (factor < np.inf)
    flat["theta_s"] = np.where(possible, flat["theta_s"], np.where(np.isnan(factor), np.nan, -1.0))
    # Either stands in for the other.
    ground, air = (
        days[one if one in days else other].astype(dtype) for one, other in (TEMPERATURES, TEMPERATURES[::-1])
    )
    liquid, lying, end = snow.run(
        days["precipitation"].astype(dtype),
        air,
        factor,
        state=start,
        lying="snow" in outputs or "frozen" in outputs,
        workers=workers,
    )
    days["precipitation"] = liquid
    if "soil_temperature" in days:  # of a day without it nobody knows whether it is frozen
        days["precipitation"] = np.where(np.isnan(ground), np.nan, liquid).astype(dtype)
    if "snow" in outputs:
        values["snow"] = lying
    if "frozen" in outputs:
        cold = ground <= np.dtype(dtype).type(snow.ZERO_CELSIUS)
        values["frozen"] = cold.astype(np.uint8) | (lying > 0).astype(np.uint8) << 1
    return end


def add_supplies(days: Series, dtype: DTypeLike) -> None:
    """All water that comes in as precipitation."""
    supplies = [days.pop(name).astype(dtype, copy=False) for name in SUPPLIES if name in days]
    if supplies:
        water = total = days["precipitation"].astype(dtype, copy=False)
        for supply in supplies:
            total = total + supply
        for part in (water, *supplies):
            total = faulty(part, total)
        days["precipitation"] = total


def faulty(part: np.ndarray, total: np.ndarray) -> np.ndarray:
    """`total`, but negative where `part` is: a negative part must not vanish in the sum or product."""
    negative = part < 0
    return np.where(negative, total.dtype.type(-1), total) if negative.any() else total
