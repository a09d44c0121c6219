"""Whether the description of learned parameters is one that this xsoil wrote: every entry, and how they agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import xarray as xr

from xsoil.errors import ArgumentError
from xsoil.physics.bounded import ends_of
from xsoil.verbs._learnable import Learnable
from xsoil.verbs._observed import FLUXES, MOISTURE
from xsoil.vocabulary import VARIABLES

if TYPE_CHECKING:
    from xsoil.networks.learner import ParameterLearner

__all__ = ["INFERENCE", "KEYS", "MAPS", "require_entries", "require_learner", "require_maps"]

MAPS = ("params", "inverse", "given", "draws")
"""Zarr stores of a folder, by the names of their datasets."""

Check = Callable[[Any], bool]


def _whole(value: Any) -> bool:
    return type(value) is int and value >= 0


def _number(value: Any) -> bool:
    return type(value) in (int, float)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _list(check: Check, size: int | None = None) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value)) and size in (None, len(value))


def _table(check: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def _keys(**checks: Check) -> Check:
    return lambda value: (
        isinstance(value, dict) and set(value) == set(checks) and all(check(value[k]) for k, check in checks.items())
    )


def _pairs(check: Check) -> Check:
    """Names in their order, each once."""
    return lambda value: (
        _list(lambda pair: isinstance(pair, list) and len(pair) == 2 and _text(pair[0]) and check(pair[1]))(value)
        and len({name for name, _ in value}) == len(value)
    )


def _variable(value: Any) -> bool:
    """Dims, values, attributes."""
    return isinstance(value, list) and len(value) == 3 and _list(_text)(value[0]) and isinstance(value[2], dict)


KEYS: Mapping[str, Check] = MappingProxyType(
    {
        "strategy": lambda value: value in ("inverse", "two_step", "end_to_end"),
        "model": _text,
        "model_options": _table(lambda value: _number(value) or _text(value)),
        "targets": lambda value: (
            bool(value) and _pairs(_keys(low=_number, high=_number, log=lambda v: type(v) is bool))(value)
        ),
        "fixed": _table(_number),
        "fixed_maps": _list(_text),
        "ends": _list(_text),
        "seed": _whole,
        "warmup": _whole,
        "outputs": lambda value: bool(value) and _table(_text)(value),
        "optimizer": lambda value: value in (None, "ies", "sce_ua"),
        "inference": _or_none(lambda value: isinstance(value, dict)),
        "units": _table(_text),
        "history": _keys(attrs=lambda v: isinstance(v, dict), coords=_table(_variable), data=_table(_variable)),
        "maps": _list(lambda value: value in MAPS),
    }
)
"""Entries of a description."""

INFERENCE: Mapping[str, Check] = MappingProxyType(
    {
        "predictors": _pairs(_or_none(_text)),
        "series": _pairs(_or_none(_text)),
        "factor": _whole,
        "ring": _whole,
        "affine": _or_none(_list(_number, 6)),
        "crs": _or_none(_text),
        "order": _list(_text),
        "ends": _list(_text),
    }
)
"""Entries of what a network reads."""


def require_entries(table: Any, checks: Mapping[str, Check], where: object) -> None:
    """Raise where a table has missing or foreign entries, or one is of another kind."""
    if not isinstance(table, dict) or set(table) != set(checks):
        found = sorted(table) if isinstance(table, dict) else table
        raise ArgumentError(f"{where} has the keys {found}; expected {sorted(checks)}: not written by this xsoil")
    for name, check in checks.items():
        if not check(table[name]):
            _refuse(where, f"{name!r} is {str(table[name])[:100]}")


def require_maps(found: Mapping[str, Any], row: Learnable, maps: Mapping[str, xr.Dataset], where: object) -> None:
    """Raise where parameters, their units, outputs, bounds and maps do not go together."""
    targets, given = list(found["targets"]), [*found["fixed"], *found["fixed_maps"]]
    if dict(row.options) != found["model_options"]:
        _refuse(where, f"options {found['model_options']} of the model, expected all of {list(row.options)}")
    for name, units in found["units"].items():
        if name not in row.names or units != VARIABLES[name].units:
            raise ArgumentError(f"{where} was learned with {name!r} in {units!r}, which this xsoil does not know")
    if sorted([*targets, *given]) != sorted(found["units"]):
        _refuse(where, f"units of {sorted(found['units'])}, parameters {sorted([*targets, *given])}")
    missing = [name for name in row.parameters if name not in (*targets, *given, *row.optional)]
    if missing:
        _refuse(where, f"{missing[0]!r} is neither learned nor given")
    if (found["optimizer"] is None) != (found["strategy"] == "end_to_end"):
        _refuse(where, f"strategy {found['strategy']!r} with optimizer {found['optimizer']!r}")
    for name, output in found["outputs"].items():
        if name not in (*MOISTURE, *FLUXES) or output not in (("theta_obs", "theta") if name in MOISTURE else (name,)):
            _refuse(where, f"{name!r} is compared with {output!r}")
    own = [end for name in targets for end in ends_of(name)]
    needed = {"params": [*targets, "status"], "given": [*found["fixed_maps"], *found["ends"]]}
    needed |= {"inverse": [*targets, "search_status"], "draws": targets}
    if (
        any(end not in own for end in found["ends"])
        or "params" not in maps
        or ("given" in maps) != bool(needed["given"])
    ):
        _refuse(where, f"maps {sorted(maps)} with bounds {found['ends']}")
    for kind, ds in maps.items():
        if sorted(map(str, needed[kind])) != sorted(n for n in map(str, ds.data_vars) if n in needed[kind]):
            _refuse(where, f"{kind} holds {sorted(map(str, ds.data_vars))}, expected {needed[kind]}")


def require_learner(found: Mapping[str, Any], learner: ParameterLearner, described: Any, where: object) -> None:
    """Raise where a network is not that of the description beside it, or its weights are no numbers."""
    own, inference = learner.describe(), found["inference"]
    for name, value in own.items():
        if name != "losses" and described[name] != value:  # a loss of the user's is not kept
            _refuse(where, f"{name} of the network is {described[name]!r}, that of its weights {value!r}")
    if not (_whole(own["least_pairs"]) and _table(_number)(own["weights"]) and _table(_text)(described["losses"])):
        _refuse(where, f"losses {described['losses']}, weights {own['weights']}, least_pairs {own['least_pairs']}")
    for name in ("strategy", "model"):
        if own[name] != found[name]:
            _refuse(where, f"{name} {found[name]!r}, that of the network is {own[name]!r}")
    if list(own["targets"].items()) != list(found["targets"].items()):
        _refuse(where, f"targets {found['targets']}, those of the network are {own['targets']}")
    if any(own["model_options"].get(name) != value for name, value in found["model_options"].items()):
        _refuse(where, f"options {found['model_options']}, those of the network are {own['model_options']}")
    channels = [len(inference["predictors"]), len(inference["series"])]
    if own["channels"] != channels or inference["ends"] != found["ends"]:
        _refuse(where, f"{channels} predictors and series, the network reads {own['channels']}")
    if set(inference["order"]) - set(found["fixed"]) - set(found["fixed_maps"]):
        _refuse(where, f"an order with {inference['order']}, which are not given")
    for name, tensor in learner.state_dict().items():
        if not bool(tensor.isfinite().all()):
            _refuse(where, f"the tensor {name!r} holds values that are no numbers")


def _refuse(where: object, what: str) -> None:
    raise ArgumentError(f"{where} is damaged, or not written by this xsoil: {what}; take another copy")
