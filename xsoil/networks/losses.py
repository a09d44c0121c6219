"""Losses between simulated and observed series (time, cells), differentiable, with gaps.

Each is a cost per cell, the lower the better, over the pairs where both values are finite, with population moments as
in `xsoil.evaluation.metrics`: mse = rmse^2, nse = 1 - NSE, kge = 1 - KGE, ubrmse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch

from xsoil.errors import UnknownNameError

__all__ = ["LOSSES", "CellCost", "Loss", "loss_of"]

Tensor = torch.Tensor
CellCost = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``cost(simulated, observed, valid)`` -> (cells,): both (time, cells), finite everywhere, to be used where valid."""


@dataclass(frozen=True)
class Loss:
    """A cost per cell and what it needs.

    Parameters
    ----------
    name : str
        As in `LOSSES`.
    cost : callable
        See `CellCost`.
    pairs : int
        Least number of pairs that a cell needs.
    varies : bool
        The observations of a cell must not be constant.
    """

    name: str
    cost: CellCost
    pairs: int = 1
    varies: bool = False

    def __call__(self, simulated: Tensor, observed: Tensor, least: int = 1) -> tuple[Tensor, Tensor]:
        """Cost of every cell and whether it counts.

        Parameters
        ----------
        simulated, observed : Tensor (time, cells)
            NaN where missing.
        least : int
            Pairs that a cell needs in any case.

        Returns
        -------
        cost : Tensor (cells,)
            0 where it does not count, without a gradient there.
        counts : Tensor (cells,) of bool
        """
        valid = torch.isfinite(simulated) & torch.isfinite(observed)
        zero = torch.zeros((), dtype=simulated.dtype, device=simulated.device)
        simulated = torch.where(valid, simulated, zero)
        observed = torch.where(valid, observed.to(simulated.dtype), zero)
        counts = valid.sum(dim=0) >= max(self.pairs, least)
        if self.varies:
            high = torch.where(valid, observed, -torch.inf).amax(dim=0)
            low = torch.where(valid, observed, torch.inf).amin(dim=0)
            counts = counts & (high > low)
        # Cells that do not count go through the cost as a copy of nothing: no 0/0 may reach the gradients.
        valid = valid & counts
        cost = self.cost(simulated, observed, valid)
        return torch.where(counts, cost, zero), counts


def _count(valid: Tensor, like: Tensor) -> Tensor:
    return valid.sum(dim=0).clamp(min=1).to(like.dtype)


def _mean(x: Tensor, valid: Tensor) -> Tensor:
    return torch.where(valid, x, torch.zeros_like(x)).sum(dim=0) / _count(valid, x)


def _about(x: Tensor, mean: Tensor, valid: Tensor) -> Tensor:
    return torch.where(valid, x - mean, torch.zeros_like(x))


def _root(x: Tensor) -> Tensor:
    """Square root with gradient 0 at 0, where that of the square root is infinite."""
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, torch.ones_like(x)).sqrt(), torch.zeros_like(x))


def _mse(simulated: Tensor, observed: Tensor, valid: Tensor) -> Tensor:
    return _mean((simulated - observed) ** 2, valid)


def _nse(simulated: Tensor, observed: Tensor, valid: Tensor) -> Tensor:
    spread = _about(observed, _mean(observed, valid), valid).square().sum(dim=0)
    error = _about(simulated, observed, valid).square().sum(dim=0)
    return error / torch.where(spread > 0, spread, torch.ones_like(spread))


def _ubrmse(simulated: Tensor, observed: Tensor, valid: Tensor) -> Tensor:
    difference = simulated - observed
    return _root(_mean(_about(difference, _mean(difference, valid), valid).square(), valid))


def _kge(simulated: Tensor, observed: Tensor, valid: Tensor) -> Tensor:
    means = _mean(simulated, valid), _mean(observed, valid)
    about = [_about(x, mean, valid) for x, mean in zip((simulated, observed), means, strict=True)]
    spread = [_root(a.square().sum(dim=0)) for a in about]
    one = torch.ones_like(spread[0])
    # A constant simulation has no correlation: r counts as 0, so that the cell still learns to vary.
    both = torch.where(spread[0] * spread[1] > 0, spread[0] * spread[1], one)
    r = (about[0] * about[1]).sum(dim=0) / both
    ratio = spread[0] / torch.where(spread[1] > 0, spread[1], one)
    bias = means[0] / torch.where(means[1] != 0, means[1], one)
    return _root((r - 1) ** 2 + (ratio - 1) ** 2 + (bias - 1) ** 2)


LOSSES: Mapping[str, Loss] = MappingProxyType(
    {
        loss.name: loss
        for loss in (
            Loss("mse", _mse),
            Loss("nse", _nse, pairs=2, varies=True),
            Loss("kge", _kge, pairs=2, varies=True),
            Loss("ubrmse", _ubrmse, pairs=2),
        )
    }
)
"""Losses by name."""


def loss_of(loss: str | Loss | CellCost) -> Loss:
    """The loss of this name, or of a function of the user's (see `CellCost`)."""
    if isinstance(loss, Loss):
        return loss
    if callable(loss):
        return Loss(getattr(loss, "__name__", type(loss).__name__), loss)
    if loss not in LOSSES:
        raise UnknownNameError.of("loss", loss, LOSSES)
    return LOSSES[loss]
