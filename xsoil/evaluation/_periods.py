"""Periods of days, as users write them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from xsoil.errors import TimeError

__all__ = ["Period", "Times", "days_since", "periods_of"]

Period = tuple[np.datetime64, np.datetime64]
"""First and last day."""
Times = str | slice | tuple[Any, Any]


def days_since(index: pd.Index) -> np.ndarray:
    """The days of a time index as datetime64[D], of cftime calendars too."""
    if index.dtype.kind == "M":
        return np.asarray(index.to_numpy().astype("datetime64[D]"))
    try:
        return np.array([np.datetime64(date.isoformat()[:10]) for date in index], dtype="datetime64[D]")
    except (AttributeError, ValueError) as error:
        raise TimeError(
            f"time holds {index[0]!r}, expected dates of the real calendar: ds.convert_calendar('standard')"
        ) from error


def periods_of(given: Times | Sequence[Times], what: str) -> tuple[Period, ...]:
    several: list[Any] = given if isinstance(given, list) else [given]
    found = sorted(_period(period, what) for period in several)
    if not found:
        raise TimeError(f"{what} has no period; expected '2015', ('2015-04-01', '2016-03-31') or a list of such")
    for one, other in pairwise(found):
        if other[0] <= one[1]:
            raise TimeError(f"{what} has periods that overlap at {other[0]}; expected each day once")
    return tuple(found)


def _period(given: Times, what: str) -> Period:
    try:
        if isinstance(given, str):
            first = last = pd.Period(given)
        else:
            ends = (given.start, given.stop) if isinstance(given, slice) else tuple(given)
            first, last = (pd.Period(str(end)[:10]) for end in ends)
        days = (np.datetime64(first.start_time, "D"), np.datetime64(last.end_time, "D"))
    except (TypeError, ValueError) as error:
        raise TimeError(
            f"{what}={given!r} gives no period ({error}); expected '2015', ('2015-04-01', '2016-03-31') or a list of "
            "such"
        ) from None
    if days[1] < days[0]:
        raise TimeError(f"{what}={given!r} ends before it begins")
    return days
