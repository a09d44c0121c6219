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

__all__ = ["IDENTITY", "TARGETS", "known_of", "targets_of"]

TARGETS = ("k_sat", "obs_scale", "obs_bias")
"""What Li et al. (2024) learn."""

IDENTITY: Mapping[str, float] = MappingProxyType({"obs_scale": 1.0, "obs_bias": 0.0})
"""The observation operator's parameters where the other one is learned or given alone."""


def targets_of(targets: Mapping[str, Any] | Sequence[str] | str | None, model: Learnable) -> dict[str, Bounded]:
    """Learned parameters in the order of the model, each with its bounds.

    Parameters
    ----------
    targets : mapping, names or None
        ``{name: (low, high)}``, a `Bounded`, or None for the default bounds; names alone; None for `TARGETS`.
    model : Learnable
    """
    if targets is None:
        targets = [name for name in TARGETS if name in model.names]
    given: dict[str, Any]
    if isinstance(targets, Mapping):
        given = dict(targets)
    else:
        given = dict.fromkeys([targets] if isinstance(targets, str) else targets)
    if not given:
        raise ArgumentError("no targets; expected at least one parameter to be learned, e.g. {'k_sat': (1, 1000)}")
    found = {}
    for name, value in given.items():
        if name not in model.names:
            raise UnknownNameError.of("target", name, model.names)
        found[name] = _bounds(name, model.bounds.get(name) if value is None else value)
    return {name: found[name] for name in model.names if name in found}


def _bounds(name: str, value: Any) -> Bounded:
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
    return Bounded(low, high, log=row.log)


def known_of(
    fixed: Mapping[str, float | xr.DataArray], targets: Mapping[str, Bounded], model: Learnable
) -> dict[str, xr.DataArray]:
    """The parameters that are given, in canonical units, or the error that shows how to give the missing ones."""
    for name, value in fixed.items():
        if name not in model.names:
            raise UnknownNameError.of("keyword", name, model.names)
        if name in targets:
            raise ArgumentError(f"{name!r} is learned (targets) and given ({name}=...); expected one of the two")
        if isinstance(value, xr.DataArray):
            if "time" in value.dims:
                raise ArgumentError(f"parameter {name!r} varies with time; expected one value per cell: .isel(time=0)")
        elif np.ndim(value) or np.asarray(value).dtype.kind not in "fiu":
            raise ArgumentError(f"{name}={value!r}; expected a number in {VARIABLES[name].units!r}, or a DataArray")
    missing = [name for name in model.parameters if name not in targets and name not in fixed]
    if missing:
        described = ", ".join(f"{name!r} ({VARIABLES[name].long_name})" for name in missing)
        keywords = ", ".join(f"{name}={model.values[name]}" for name in missing if name in model.values)
        hint = f"give them as keywords, here with the values of Li et al. (2024): {keywords}" if keywords else ""
        if "k_sat" in missing:
            hint += "; " * bool(hint) + "k_sat: learn it, targets={'k_sat': (1, 1000)}, or k_sat=... [cm d-1]"
        raise MissingVariableError(f"no {described}, neither learned nor given; {hint}")
    wanted = dict(fixed)
    if any(name in targets or name in fixed for name in OBSERVATION):
        wanted |= {name: value for name, value in IDENTITY.items() if name not in targets and name not in fixed}
    given = numbers(wanted)
    return {name: read(given, VARIABLES[name]) for name in model.names if name in wanted}
