"""What is learned: parameters with their bounds, and what is known of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import xarray as xr

from xsoil.choices import as_names
from xsoil.errors import ArgumentError, MissingVariableError, UnknownNameError
from xsoil.physics.bounded import Bounded, ends_of
from xsoil.verbs._inputs import numbers, read
from xsoil.verbs._learnable import Learnable
from xsoil.verbs._simulate_inputs import OBSERVATION
from xsoil.vocabulary import VARIABLES

__all__ = ["Targets", "completed", "ends_from", "known_of", "targets_of"]

IDENTITY: Mapping[str, float] = MappingProxyType({"obs_scale": 1.0, "obs_bias": 0.0})
"""The observation operator's parameters where the other one is learned or given alone."""


@dataclass(frozen=True)
class Targets:
    """Learned parameters in the order of the model.

    Attributes
    ----------
    bounds : mapping of str to Bounded
        Numbers; where cells differ, from the lowest to the highest.
    ends : mapping of str to xr.DataArray
        The bounds of parameters whose cells differ, by the names of `ends_of`, in the units of the vocabulary; NaN
        where they are missing or impossible.
    """

    bounds: Mapping[str, Bounded]
    ends: Mapping[str, xr.DataArray] = field(default_factory=dict)


def targets_of(targets: Mapping[str, Any] | Sequence[str] | str | None, model: Learnable) -> Targets:
    """Read what is to be learned.

    Parameters
    ----------
    targets : mapping, names or None
        ``{name: (low, high)}`` of numbers or maps, a `Bounded`, or None for the default bounds; names alone; None for
        those of the model.
    model : Learnable
    """
    if targets is None:
        targets = model.targets
    given: dict[str, Any]
    if isinstance(targets, Mapping):
        given = dict(targets)
    else:
        given = {} if targets in ((), []) else dict.fromkeys(as_names("targets", targets))
    if not given:
        raise ArgumentError("no targets; expected at least one parameter to be learned, e.g. {'k_sat': (1, 1000)}")
    found: dict[str, Bounded] = {}
    ends: dict[str, xr.DataArray] = {}
    known = [name for name in model.names if name not in model.optional]
    for name, value in given.items():
        if name not in known:
            raise UnknownNameError.of("target", name, known)
        log = model.logarithmic(name)
        if isinstance(value, (tuple, list)) and any(isinstance(end, xr.DataArray) for end in value):
            own = ends_from(name, value, log)
            ends |= own
            low, high = (own[end] for end in ends_of(name))
            found[name] = Bounded(float(low.min()), float(high.max()), log=log)
        else:
            found[name] = _bounds(name, model.bounds.get(name) if value is None else value, log)
    return Targets({name: found[name] for name in known if name in found}, ends)


def ends_from(name: str, pair: Sequence[Any], log: bool) -> dict[str, xr.DataArray]:
    """Both bounds of a parameter, of which at least one is a map, as maps by the names of `ends_of`."""
    if len(pair) != 2:
        raise ArgumentError(f"targets[{name!r}] has {len(pair)} entries; expected its bounds (low, high)")
    row = VARIABLES[name]
    ends = []
    for value in pair:
        if isinstance(value, xr.DataArray):
            if "time" in value.dims:
                raise ArgumentError(f"a bound of {name!r} varies with time; expected one per cell: .max('time')")
            ends.append(read(xr.Dataset({name: value.reset_coords(drop=True)}), row).astype(np.float64).compute())
        else:
            _numbers(name, (value, value))
            ends.append(xr.DataArray(float(value), attrs=row.attrs))
    low, high = xr.broadcast(*ends)
    good = (low < high) & (low >= row.low) & (high <= row.high) & np.isfinite(low) & np.isfinite(high)
    if log:
        good &= (low > 0) | (high < 0)
    if not bool(good.any()):
        raise ArgumentError(
            f"the bounds of {name!r} are in no cell a lower and a higher number within {row.low:g} and {row.high:g} "
            f"{row.units}{', both on one side of 0' if log else ''}; look at their units and missing values"
        )
    return {
        end: array.where(good).assign_attrs(row.attrs) for end, array in zip(ends_of(name), (low, high), strict=True)
    }


def _numbers(name: str, pair: Any) -> tuple[float, float]:
    row = VARIABLES[name]
    found = np.asarray(pair if pair is not None else [], dtype=object).ravel()
    if found.size != 2 or not all(isinstance(v, (int, float, np.number)) and not isinstance(v, bool) for v in found):
        raise ArgumentError(
            f"targets[{name!r}] is {pair!r}; expected its bounds (low, high) in {row.units!r}, numbers or maps on the "
            "cells"
        )
    return float(found[0]), float(found[1])


def _bounds(name: str, value: Any, log: bool) -> Bounded:
    if isinstance(value, Bounded):
        if np.ndim(value.low) or np.ndim(value.high):
            raise ArgumentError(
                f"targets[{name!r}] is a Bounded of arrays; give the bounds of cells as maps: (low, high) of DataArray"
            )
        value, log = (float(np.asarray(value.low)), float(np.asarray(value.high))), value.log
    row = VARIABLES[name]
    low, high = _numbers(name, value)
    if low < row.low or high > row.high:
        raise ArgumentError(
            f"targets[{name!r}] is {value!r}, but {row.long_name} lies within {row.low:g} and {row.high:g} {row.units}"
        )
    return Bounded(low, high, log=log)


def completed(
    fixed: Mapping[str, float | xr.DataArray],
    targets: Mapping[str, Bounded],
    model: Learnable,
    series: Sequence[str],
    arguments: Sequence[str],
) -> dict[str, float | xr.DataArray]:
    """The parameters that are given, with what the model takes by default, or how to give the missing ones.

    `series` are those of the forcing, which stand in for parameters of the same names; `arguments` those of the verb,
    one of which may have been meant.
    """
    for name, value in fixed.items():
        if name not in model.names:
            raise UnknownNameError.of("keyword", name, (*model.names, *arguments))
        for table, what in ((targets, "is learned (targets)"), (series, "is in the forcing")):
            if name in table:
                raise ArgumentError(f"{name!r} {what} and given ({name}=...); expected one of the two")
        if isinstance(value, xr.DataArray):
            if "time" in value.dims:
                raise ArgumentError(f"parameter {name!r} varies with time; expected one value per cell: .isel(time=0)")
        elif np.ndim(value) or np.asarray(value).dtype.kind not in "fiu":
            raise ArgumentError(f"{name}={value!r}; expected a number in {VARIABLES[name].units!r}, or a DataArray")
    there = {*fixed, *targets, *series}
    more = {name: value for name, value in model.defaults.items() if name not in there}
    if there & set(OBSERVATION):
        more |= {name: value for name, value in IDENTITY.items() if name not in there}
    missing = [name for name in model.parameters if name not in there and name not in more]
    if missing:
        described = ", ".join(f"{name!r} ({VARIABLES[name].long_name})" for name in missing)
        keywords = ", ".join(f"{name}={model.values[name]}" for name in missing if name in model.values)
        hints = [f"give them as keywords, here with the values of Li et al. (2024): {keywords}"] if keywords else []
        hints += [
            f"{name}: learn it, targets={{{name!r}: {model.bounds[name]}}}, or {name}=... [{VARIABLES[name].units}]"
            for name in missing
            if name in model.bounds and name not in model.values
        ]
        hints += [f"{name}: put it into the forcing, or {name}=..." for name in missing if name in model.optional]
        raise MissingVariableError(f"no {described}, neither learned nor given; " + "; ".join(hints))
    return dict(fixed) | more


def known_of(fixed: Mapping[str, float | xr.DataArray]) -> dict[str, xr.DataArray]:
    """Given parameters in canonical units."""
    # One by one: coordinates that differ by rounding must not be aligned.
    return {name: read(numbers({name: value}), VARIABLES[name]) for name, value in fixed.items()}
