"""The physics that parameters are learned through: one call for all models, a row for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch

from xsoil.errors import ArgumentError, MissingVariableError, UnknownNameError
from xsoil.kernels.richards_curves import CURVES
from xsoil.networks import physics
from xsoil.networks import richards as columns
from xsoil.networks.richards import STRESS
from xsoil.physics.richards import grid

__all__ = ["SoilModel", "richards", "soil_model", "water_balance"]

Tensor = torch.Tensor
Run = Callable[..., dict[str, Tensor]]

STEPS_A_DAY = 20
"""Of a column: twice what most take."""
LARGEST_RECORD = 2**30
"""Bytes for the heads of all steps of a batch; with them nothing is run again for the gradient."""


@dataclass(frozen=True)
class SoilModel:
    """A differentiable model of soil moisture.

    Parameters
    ----------
    name : str
    run : callable
        ``run(forcing, parameters, outputs)`` -> dict of Tensor (time, cells); forcing and parameters are mappings of
        tensors (time, cells) and (cells,).
    parameters : sequence of str
        All that it needs.
    forcing : sequence of str
        Series that it needs.
    order : sequence of str
        Parameters that must increase in this order.
    gap : float
        By how much at least, where they are learned.
    options : mapping
        Settings, as numbers and texts.
    """

    name: str
    run: Run
    parameters: Sequence[str]
    forcing: Sequence[str]
    order: Sequence[str] = ()
    gap: float = 0.005
    options: Mapping[str, Any] = field(default_factory=dict)


def water_balance(*, substeps: int = 24, workers: int | None = None) -> SoilModel:
    """The water balance of Li et al. (2024); `known` may hold `initial`, the soil moisture before the first day."""
    options = {"substeps": substeps}

    def run(
        forcing: Mapping[str, Tensor], parameters: Mapping[str, Tensor], outputs: Sequence[str]
    ) -> dict[str, Tensor]:
        values = dict(parameters)
        return physics.water_balance(
            forcing["precipitation"], forcing["pet"], values, initial=values.pop("initial", None), outputs=outputs,
            substeps=substeps, workers=workers,
        )  # fmt: skip

    return SoilModel(
        "water_balance", run, physics.PARAMETERS, ("precipitation", "pet"),
        order=("theta_wp", "theta_fc", "theta_s"), options=options,
    )  # fmt: skip


def _room(series: Tensor, nodes: int) -> int:
    """Steps of a column whose heads are kept for the gradient, 0 where those of a batch would take too much memory."""
    days, cells = series.shape
    steps = STEPS_A_DAY * days
    return steps if 8 * steps * nodes * cells <= LARGEST_RECORD else 0


def richards(
    *, curve: str = "van_genuchten", depth: float = 0.05, column_depth: float = 0.5, uptake: str = "s_shaped",
    workers: int | None = None,
) -> SoilModel:  # fmt: skip
    """Richards' equation in a column with an atmospheric top, roots and free drainage; theta is that at `depth` [m].

    The leaf area index `lai` is a series of the forcing or known for each cell; `known` may hold `initial`, the head
    before the first day (-100 cm by default), `l` (0.5) and `root_depth` (0.4 m).
    """
    for kind, name, known in (("curve", curve, CURVES), ("uptake", uptake, STRESS)):
        if name not in known:
            raise UnknownNameError.of(kind, name, tuple(known))
    if not 0 <= depth <= column_depth:
        raise ArgumentError(f"depth={depth} in a column of {column_depth} m; expected one within it")
    roots = () if uptake == "none" else ("root_depth", *STRESS[uptake])
    needed = (*CURVES[curve], *roots)
    options = {"curve": curve, "depth": depth, "column_depth": column_depth, "uptake": uptake}
    nodes = grid(100.0 * column_depth).size

    def run(
        forcing: Mapping[str, Tensor], parameters: Mapping[str, Tensor], outputs: Sequence[str]
    ) -> dict[str, Tensor]:
        values: dict[str, Any] = {"l": 0.5, "root_depth": 0.4, "initial": -100.0, **parameters}
        given = values.pop("lai", None)
        lai = forcing.get("lai", given)
        if lai is None:
            raise MissingVariableError(f"no 'lai' among the forcing {sorted(forcing)} nor among the known parameters")
        found = columns.richards(
            forcing["precipitation"], forcing["pet"], lai, {name: values[name] for name in needed if name in values},
            curve=curve, initial=values["initial"], outputs=outputs, depths=(depth,), column_depth=column_depth,
            uptake=uptake, room=_room(forcing["precipitation"], nodes), workers=workers,
        )  # fmt: skip
        return {name: series[:, 0] if name in ("theta", "h") else series for name, series in found.items()}

    return SoilModel(
        "richards", run, needed, ("precipitation", "pet"), order=("theta_r", "theta_s"),
        gap=0.05, options=options,
    )  # fmt: skip


MODELS: Mapping[str, Callable[..., SoilModel]] = MappingProxyType(
    {"water_balance": water_balance, "richards": richards}
)
"""Makers of the models by name."""


def soil_model(name: str | SoilModel, options: Mapping[str, Any] | None = None) -> SoilModel:
    """The model of this name with these options.

    Raises
    ------
    UnknownNameError, ArgumentError
        No such model, or an option that it does not have.
    """
    if isinstance(name, SoilModel):
        return name
    if name not in MODELS:
        raise UnknownNameError.of("model", name, MODELS)
    try:
        return MODELS[name](**dict(options or {}))
    except TypeError as error:
        raise ArgumentError(f"options {sorted(options or {})} of model {name!r}: {error}") from None
