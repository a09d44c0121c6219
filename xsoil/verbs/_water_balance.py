"""The water balance of one block of cells: what surrounds its kernel where more than rain and demand is given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

__all__ = ["EXCHANGE", "OBSERVATION", "PARAMETERS", "SUPPLIES", "TEMPERATURES", "block"]

PARAMETERS = ("theta_s", "theta_fc", "theta_wp", "k_sat", "root_depth", "depletion_fraction", "crop_coefficient")
OBSERVATION = ("obs_scale", "obs_bias")
SUPPLIES = ("irrigation", "capillary_rise")
EXCHANGE = "root_zone_exchange"
TEMPERATURES = ("soil_temperature", "air_temperature")

Series = dict[str, np.ndarray]
State = tuple[np.ndarray, ...]


def block(
    series_names: tuple[str, ...],
    map_names: tuple[str, ...],
    outputs: tuple[str, ...],
    states: tuple[str, ...],
    substeps: int,
    dtype: str,
    series: Sequence[np.ndarray],
    maps: Sequence[np.ndarray],
    state: State | None,
    *,
    skip: int,
    workers: int,
) -> tuple[list[np.ndarray], State]:
    """Days of one block of cells, for `scan_time`; the state is named by `states`, theta and status first."""
    shape = np.broadcast_shapes(*(array.shape[1:] for array in series), *(array.shape for array in maps))
    flat = {name: np.broadcast_to(array, shape).reshape(-1) for name, array in zip(map_names, maps, strict=True)}
    before = {name: array.reshape(-1) for name, array in zip(states, state or (), strict=state is not None)}
    # Forcing that is the same for all cells stays one column.
    days = {
        name: (
            array if array[:1].size == 1 else np.broadcast_to(array, (array.shape[0], *shape))
        ).reshape(array.shape[0], -1)
        for name, array in zip(series_names, series, strict=True)
    }  # fmt: skip
    values: Series = {}
    if "final_snow" in states:
        before["final_snow"] = _snow(days, flat, before, values, outputs, dtype, workers)
    _combine(days, flat, dtype)
    needed = dict.fromkeys("theta" if name == "theta_obs" else name for name in outputs if name not in values)
    run = _by_depth if "root_depth" in days else _whole
    found, end = run(days, flat, before, tuple(needed), substeps, dtype, skip, workers)
    values = {name: array[skip:] for name, array in values.items()} | found
    if "theta_obs" in outputs:
        scale, bias = (flat[name].astype(dtype) for name in OBSERVATION)
        values["theta_obs"] = values["theta"] * scale + bias
    after = [*end, *(before[name] for name in states[len(end) :])]
    return [values[name].reshape(-1, *shape) for name in outputs], tuple(array.reshape(shape) for array in after)


def _whole(
    days: Series,
    flat: Series,
    before: Series,
    outputs: tuple[str, ...],
    substeps: int,
    dtype: str,
    skip: int,
    workers: int,
) -> tuple[Series, State]:
    """All days at once: parameters that do not change."""
    from xsoil.kernels import water_balance

    return water_balance.run(
        days["precipitation"],
        days["pet"],
        [flat[name] for name in PARAMETERS],
        initial=flat.get("initial"),
        state=(before["final_theta"], before["status"]) if "status" in before else None,
        substeps=substeps,
        skip=skip,
        outputs=outputs,
        dtype=np.dtype(dtype),
        workers=workers,
    )


def _by_depth(
    days: Series,
    flat: Series,
    before: Series,
    outputs: tuple[str, ...],
    substeps: int,
    dtype: str,
    skip: int,
    workers: int,
) -> tuple[Series, State]:
    """Days of one root depth after the other.

    Soil that joins or leaves the root zone has the water content of the root zone: theta stays, the storage changes.
    """
    depths, cells = days["root_depth"].astype(np.float64), flat["theta_s"].size
    rows, wanted = depths.shape[0], EXCHANGE in outputs
    depths = np.broadcast_to(depths, (rows, cells))
    # A depth that is missing or impossible is a fault of that day's forcing.
    possible = (depths > 0) & (depths < np.inf)
    if not possible.all():
        fault = np.where(depths <= 0, -1.0, np.nan)
        days = days | {"precipitation": np.where(possible, days["precipitation"], fault).astype(dtype)}
    usable = np.where(possible, depths, 1.0)
    exchange = np.zeros((rows if wanted else 0, cells))
    last = before.get("final_root_depth", flat.get("initial_root_depth"))
    edges = [0, *(np.flatnonzero((usable[1:] != usable[:-1]).any(axis=1)) + 1), rows]
    found: list[Series] = []
    kept = tuple(dict.fromkeys("theta" if name == EXCHANGE else name for name in outputs))
    now = dict(before)
    for first, end in zip(edges[:-1], edges[1:], strict=True):
        theta = now.get("final_theta", flat.get("initial"))
        if wanted and last is not None and theta is not None:
            within = np.clip(theta, flat["theta_wp"], flat["theta_s"])
            exchange[first] = 1000.0 * (depths[first] - last) * within
        part = {name: array[first:end] for name, array in days.items()}
        own = flat | {"root_depth": usable[first]}
        values, (theta, status) = _whole(part, own, now, kept, substeps, dtype, max(skip - first, 0), workers)
        now |= {"final_theta": theta, "status": status}
        last = depths[end - 1]
        if end > skip:
            found.append(values)
    before["final_root_depth"] = np.array(last)
    none = [np.empty((0, cells), dtype)]  # a block of nothing but warm-up
    joined = {name: np.concatenate([values[name] for values in found] or none) for name in kept}
    if wanted:
        joined[EXCHANGE] = np.where(np.isnan(joined["theta"]), np.nan, exchange[skip:]).astype(dtype)
    return joined, (now["final_theta"], now["status"])


def _snow(
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


def _combine(days: Series, flat: Series, dtype: DTypeLike) -> None:
    """All water that comes in as precipitation, and the demand of the crop as pet."""
    supplies = [days.pop(name).astype(dtype, copy=False) for name in SUPPLIES if name in days]
    if supplies:
        water = total = days["precipitation"].astype(dtype, copy=False)
        for supply in supplies:
            total = total + supply
        for part in (water, *supplies):
            total = _faulty(part, total)
        days["precipitation"] = total
    if "crop_coefficient" in days:
        coefficient, pet = (days[name].astype(dtype, copy=False) for name in ("crop_coefficient", "pet"))
        days["pet"] = _faulty(pet, _faulty(coefficient, coefficient * pet))
        flat["crop_coefficient"] = np.ones_like(flat["theta_s"])


def _faulty(part: np.ndarray, total: np.ndarray) -> np.ndarray:
    """`total`, but negative where `part` is: a negative part must not vanish in the sum or product."""
    negative = part < 0
    return np.where(negative, total.dtype.type(-1), total) if negative.any() else total
