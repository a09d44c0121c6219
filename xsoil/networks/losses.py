"""Losses between simulated and observed series (time, cells), differentiable, with gaps.

Each is a cost per cell, the lower the better, over the pairs where both values are finite, with population moments as
in `xsoil.evaluation.metrics`: mse = rmse^2, nse = 1 - NSE, kge = 1 - KGE, ubrmse.

The costs are functions of a few sums per cell, taken by a compiled kernel in one pass through the observation operator;
their gradient is another such pass. As single tensor operations with autograd they would take longer than the physics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.kernels import pair_sums
from xsoil.threads import available_cores

__all__ = ["LOSSES", "CellCost", "Loss", "loss_of"]

Tensor = torch.Tensor
CellCost = Callable[[Tensor, Tensor, Tensor], Tensor]
"""A user's ``cost(simulated, observed, valid)`` -> (cells,): all (time, cells), finite everywhere, to be used where
valid."""

SUMS = pair_sums.SUMS[1:]
"""Names of the means that a cost is made of: of the values, their squares, and the squares of their differences."""

# Observations that vary by less than this share of their mean square are constant but for rounding.
_LEAST_VARIANCE = 1e-12


@dataclass(frozen=True)
class Loss:
    """A cost per cell and what it needs.

    Parameters
    ----------
    name : str
        As in `LOSSES`.
    cost : callable
        ``cost(means)`` of the means by name (those of `SUMS`), or a `CellCost`.
    moments : bool
        Which of the two.
    pairs : int
        Least number of pairs that a cell needs.
    varies : bool
        The observations of a cell must not be constant.
    """

    name: str
    cost: Callable[..., Tensor]
    moments: bool = False
    pairs: int = 1
    varies: bool = False

    def __call__(
        self,
        simulated: Tensor,
        observed: Tensor,
        least: int = 1,
        *,
        scale: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Cost of every cell and whether it counts.

        Parameters
        ----------
        simulated, observed : Tensor (time, cells)
            NaN where missing.
        least : int
            Pairs that a cell needs in any case.
        scale, bias : Tensor (cells,), optional
            Compare scale * simulated + bias with the observations.

        Returns
        -------
        cost : Tensor (cells,)
            0 where it does not count, without a gradient there.
        counts : Tensor (cells,) of bool
        """
        least = max(self.pairs, least)
        cells, like = simulated.shape[1], simulated
        # Apple's devices have no double precision.
        wide = torch.float32 if like.device.type == "mps" else torch.float64
        operator = [
            torch.full((cells,), value, dtype=wide, device=like.device) if x is None else x.to(wide).expand(cells)
            for x, value in ((scale, 1.0), (bias, 0.0))
        ]
        if not self.moments:
            return self._by_series(simulated, observed.detach(), operator, least)
        run = _native if like.device.type != "cpu" else _Sums.apply
        pairs, *found = run(simulated, observed.detach(), *operator)
        n = pairs.clamp(min=1)
        means = {name: total / n for name, total in zip(SUMS, found, strict=True)}
        counts = pairs >= least
        if self.varies:
            variance = means["observed2"] - means["observed"] ** 2
            counts = counts & (variance > _LEAST_VARIANCE * means["observed2"])
        # Cells that do not count go through the cost as ones: no 0/0 may reach the gradients.
        one = torch.ones_like(n)
        cost = self.cost({name: torch.where(counts, mean, one) for name, mean in means.items()})
        return torch.where(counts, cost, torch.zeros_like(cost)), counts

    def _by_series(
        self, simulated: Tensor, observed: Tensor, operator: list[Tensor], least: int
    ) -> tuple[Tensor, Tensor]:
        valid = torch.isfinite(simulated) & torch.isfinite(observed)
        counts = valid.sum(dim=0) >= least
        zero = torch.zeros((), dtype=operator[0].dtype, device=simulated.device)
        s, o = (torch.where(valid, x.to(zero.dtype), zero) for x in (simulated, observed))
        cost = self.cost(operator[0] * s + operator[1], o, valid & counts)
        if cost.shape != counts.shape:
            raise ArgumentError(
                f"the loss {self.name!r} gives a tensor of shape {tuple(cost.shape)}; expected "
                f"{tuple(counts.shape)}, a cost for each cell"
            )
        return torch.where(counts, cost, torch.zeros_like(cost)), counts


class _Sums(torch.autograd.Function):
    """Sums of every cell in double precision by the compiled kernel, with gradients by simulation, scale and bias."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(*tensors)
        arrays = [tensor.detach().numpy() for tensor in tensors]
        simulated, observed, scale, bias = arrays
        found = pair_sums.sums(simulated, observed, scale, bias, workers=available_cores())
        pairs, *total = torch.from_numpy(found).unbind()
        ctx.mark_non_differentiable(pairs)
        return (pairs.clone(), *(row.clone() for row in total))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, _: Tensor, *by_sums: Tensor) -> tuple[Tensor | None, ...]:
        arrays = [tensor.detach().numpy() for tensor in ctx.saved_tensors]
        by = np.stack([by_sums[SUMS.index(name)].numpy() for name in ("simulated", "simulated2", "difference2")])
        simulated, observed, scale, bias = arrays
        found, by_operator = pair_sums.by_series(simulated, observed, scale, bias, by, workers=available_cores())
        by_scale, by_bias = torch.from_numpy(by_operator).unbind()
        return torch.from_numpy(found), None, by_scale, by_bias


def _native(simulated: Tensor, observed: Tensor, scale: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
    """The same sums as tensor operations, which every device has."""
    seen = scale * simulated.to(scale.dtype) + bias
    there = torch.isfinite(seen - observed.to(seen.dtype))
    zero = torch.zeros((), dtype=seen.dtype, device=seen.device)
    # The series itself is made finite first: NaN times the zero gradient of what is left out would be NaN.
    s = torch.where(there, scale * torch.where(there, simulated.to(seen.dtype), zero) + bias, zero)
    o = torch.where(there, observed.to(seen.dtype), zero)
    return tuple(x.sum(dim=0) for x in (there.to(seen.dtype), s, o, s**2, o**2, (s - o) ** 2))


def _root(x: Tensor) -> Tensor:
    """Square root with gradient 0 at 0, where that of the square root is infinite."""
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, torch.ones_like(x)).sqrt(), torch.zeros_like(x))


def _mse(mean: Mapping[str, Tensor]) -> Tensor:
    return mean["difference2"]


def _nse(mean: Mapping[str, Tensor]) -> Tensor:
    variance = mean["observed2"] - mean["observed"] ** 2
    return mean["difference2"] / torch.where(variance > 0, variance, torch.ones_like(variance))


def _ubrmse(mean: Mapping[str, Tensor]) -> Tensor:
    return _root(mean["difference2"] - (mean["simulated"] - mean["observed"]) ** 2)


def _kge(mean: Mapping[str, Tensor]) -> Tensor:
    sim, obs = (_deviation(mean[name], mean[f"{name}2"]) for name in ("simulated", "observed"))
    cross = (mean["simulated2"] + mean["observed2"] - mean["difference2"]) / 2 - mean["simulated"] * mean["observed"]
    # A constant simulation has no correlation: r counts as 0.
    r = _ratio(cross, sim * obs)
    bias = _ratio(mean["simulated"], mean["observed"])
    return _root((r - 1) ** 2 + (_ratio(sim, obs) - 1) ** 2 + (bias - 1) ** 2)


def _deviation(mean: Tensor, square: Tensor) -> Tensor:
    variance = square - mean**2
    return _root(torch.where(variance > _LEAST_VARIANCE * square, variance, torch.zeros_like(variance)))


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """0 where nothing is below."""
    some = below != 0
    return torch.where(some, above / torch.where(some, below, torch.ones_like(below)), torch.zeros_like(above))


LOSSES: Mapping[str, Loss] = MappingProxyType(
    {
        loss.name: loss
        for loss in (
            Loss("mse", _mse, moments=True),
            Loss("nse", _nse, moments=True, pairs=2, varies=True),
            Loss("kge", _kge, moments=True, pairs=2, varies=True),
            Loss("ubrmse", _ubrmse, moments=True, pairs=2),
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
