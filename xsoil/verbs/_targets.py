"""What is learned: parameters with their bounds, and what is known of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import xarray as xr

from xsoil.errors import ArgumentError, MissingVariableError, UnknownNameError
from xsoil.physics.bounded import Bounded
from xsoil.verbs._inputs import numbers, read
from xsoil.verbs._learnable import Learnable
from xsoil.verbs._simulate_inputs import OBSERVATION
from xsoil.vocabulary import VARIABLES

__all__ = ["completed", "known_of", "targets_of"]

IDENTITY: Mapping[str, float] = MappingProxyType({"obs_scale": 1.0, "obs_bias": 0.0})
"""The observation operator's parameters where the other one is learned or given alone."""


def targets_of(targets: Mapping[str, Any] | Sequence[str] | str | None, model: Learnable) -> dict[str, Bounded]:
    """Learned parameters in the order of the model, each with its bounds.

    Parameters
    ----------
    targets : mapping, names or None
        ``{name: (low, high)}``, a `Bounded`, or None for the default bounds; names alone; None for those of the
        model.
    model : Learnable
    """
    if targets is None:
        targets = model.targets
    given: dict[str, Any]
    if isinstance(targets, Mapping):
        given = dict(targets)
    else:
        given = dict.fromkeys([targets] if isinstance(targets, str) else targets)
    if not given:
        raise ArgumentError("no targets; expected at least one parameter to be learned, e.g. {'k_sat': (1, 1000)}")
    found = {}
    known = [name for name in model.names if name not in model.optional]
    for name, value in given.items():
        if name not in known:
            raise UnknownNameError.of("target", name, known)
        found[name] = _bounds(name, model.bounds.get(name) if value is None else value, model.logarithmic(name))
    return {name: found[name] for name in known if name in found}


def _bounds(name: str, value: Any, log: bool) -> Bounded:
    if isinstance(value, Bounded):
        return value
    row = VARIABLES[name]
    pair = np.asarray(value if value is not None else [], dtype=object).ravel()
    if pair.size != 2 or not all(isinstance(v, (int, float, np.number)) and not isinstance(v, bool) for v in pair):
        raise ArgumentError(f"targets[{name!r}] is {value!r}; expected its bounds (low, high) in {row.units!r}")
    low, high = float(pair[0]), float(pair[1])
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
    given = numbers(fixed)
    return {name: read(given, VARIABLES[name]) for name in fixed}
