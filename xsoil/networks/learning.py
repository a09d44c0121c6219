"""What a training needs of whatever it trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from xsoil.errors import ArgumentError, MissingVariableError
from xsoil.networks.losses import CellCost, Loss, loss_of
from xsoil.networks.samples import Sample

__all__ = ["Learner"]

Tensor = torch.Tensor


class Learner(torch.nn.Module):
    """A module with costs per cell of observed variables.

    Parameters
    ----------
    loss : str, callable, or mapping of str to these
        For all observed variables or for each; of `LOSSES`, or a `CellCost`.
    weights : mapping of str to float, optional
        Of the observed variables; 1 where not given.
    least_pairs : int
        Observations that a cell needs to count.
    learns_from : {"observed", "parameters"}
        The part of a sample that it is compared with.
    """

    def __init__(
        self,
        loss: str | Loss | CellCost | Mapping[str, str | Loss | CellCost] = "mse",
        weights: Mapping[str, float] | None = None,
        least_pairs: int = 1,
        learns_from: str = "observed",
    ) -> None:
        super().__init__()
        self.losses = {v: loss_of(one) for v, one in loss.items()} if isinstance(loss, Mapping) else loss_of(loss)
        self.weights, self.least_pairs, self.learns_from = dict(weights or {}), least_pairs, learns_from
        for variable, weight in self.weights.items():
            if not weight >= 0:
                raise ArgumentError(f"weight {weight} of {variable!r}; expected 0 or more")

    def costs(self, sample: Sample) -> dict[str, tuple[Tensor, Tensor]]:
        """Of each variable the cost per cell and which cells count, from a sample of tensors."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """What it is besides its tensors, as plain JSON."""
        raise NotImplementedError

    def places(self, sample: Sample) -> int:
        """Times that most of the weights are used for one cell: fine cells, days."""
        raise NotImplementedError

    def enough(self, variable: str) -> int:
        """Values of a variable that a cell needs for anything to be learned from it; 0 if nothing is."""
        return max(self.least_pairs, self.loss_for(variable).pairs) if self.weights.get(variable, 1.0) > 0 else 0

    def loss_for(self, variable: str) -> Loss:
        """The loss of an observed variable."""
        if isinstance(self.losses, Loss):
            return self.losses
        if variable not in self.losses:
            raise MissingVariableError(f"no loss for {variable!r} among those of {sorted(self.losses)}")
        return self.losses[variable]

    def total(self, means: Mapping[str, Any]) -> Any:
        """The weighted mean of the costs of the variables."""
        weights = {name: self.weights.get(name, 1.0) for name in means}
        whole = sum(weights.values())
        if not whole > 0:
            raise ArgumentError(f"weights {self.weights} of {sorted(means)}; expected one above 0 at least")
        return sum(weights[name] / whole * mean for name, mean in means.items())
