"""Snow by temperature alone: precipitation at or below 0 degC lies until degree-days melt it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsoil.jit import kernel
from xsoil.threads import in_bands, read_only

__all__ = ["ZERO_CELSIUS", "run"]

ZERO_CELSIUS = 273.15

Array = NDArray[Any]
Wide = NDArray[np.float64]

# Cells of one call of the kernel, the piece of work of a thread.
STRIP = 2048


@kernel
def _accumulate(
    precipitation: Array, air: Array, column: int, factor: Wide, snow: Wide, liquid: Array, lying: Array
) -> None:
    """All days of one strip of cells; `snow` is brought to the end, `liquid` and (where it has rows) `lying` filled."""
    freezing = air.dtype.type(ZERO_CELSIUS)
    zero = air.dtype.type(0)
    for day in range(precipitation.shape[0]):
        for i in range(snow.size):
            c = column + i
            p, warmth = np.float64(precipitation[day, c]), np.float64(max(air[day, c] - freezing, zero))
            fallen = 0.0 if warmth > 0.0 else p
            melt = min(snow[i], factor[i] * warmth)
            left = snow[i] + fallen - melt
            rain = p - fallen + melt
            # Where the snow is not known (any more), precipitation passes: its own faults are told from others there.
            known = left == left
            usable = (p >= 0.0) & (p < np.inf) & (abs(warmth) < np.inf)
            liquid[day, c] = rain if known & usable else (np.nan if p >= 0.0 and not warmth < np.inf else p)
            snow[i] = left if usable else np.nan
        if lying.size:
            for i in range(snow.size):
                lying[day, column + i] = snow[i]


def run(
    precipitation: Array,
    air: Array,
    factor: Array,
    *,
    state: Array | None = None,
    lying: bool = False,
    workers: int = 1,
) -> tuple[Array, Array, Wide]:
    """Store precipitation as snow and melt it, for independent cells.

    Parameters
    ----------
    precipitation, air : array (time, cells) or (time, 1), of one type
        [mm d-1] and air temperature [K].
    factor : array (cells,)
        Degree-day factor [mm degC-1 d-1]; where it is impossible the snow is NaN and precipitation passes.
    state : array (cells,), optional
        Snow before the first day [mm]; none if not given; not written to.
    lying : bool
        Whether the series of snow is wanted.
    workers : int
        Threads.

    Returns
    -------
    liquid : array (time, cells)
        Rain and melt [mm d-1]; NaN where the temperature is missing, and impossible precipitation as it is.
    snow : array (time, cells) or (0, 0)
        At the end of the day [mm]; NaN from the first fault on.
    state : array (cells,)
        Snow after the last day, in double precision.
    """
    days, cells = precipitation.shape[0], factor.shape[0]
    factor = np.array(factor, np.float64)
    before = np.zeros(cells) if state is None else state
    snow = np.where((factor >= 0) & (factor < np.inf), before, np.nan).astype(np.float64)
    series = [read_only(np.ascontiguousarray(np.broadcast_to(a, (days, cells)))) for a in (precipitation, air)]
    liquid = np.empty((days, cells), precipitation.dtype)
    stored = np.empty((days, cells) if lying else (0, 0), precipitation.dtype)

    def strips(first: int, last: int) -> None:
        for start in range(first * STRIP, min(last * STRIP, cells), STRIP):
            at = slice(start, start + STRIP)
            _accumulate(series[0], series[1], start, factor[at], snow[at], liquid, stored)

    in_bands(strips, -(-cells // STRIP), workers)
    return liquid, stored, snow
