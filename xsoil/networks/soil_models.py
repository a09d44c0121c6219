"""The physics that parameters are learned through: one call for all models, a row for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.networks import physics

__all__ = ["SoilModel", "soil_model", "water_balance"]

Tensor = torch.Tensor
Run = Callable[..., dict[str, Tensor]]


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


MODELS: Mapping[str, Callable[..., SoilModel]] = MappingProxyType({"water_balance": water_balance})
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
