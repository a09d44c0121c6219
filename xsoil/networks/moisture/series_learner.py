"""The network of the multitask LSTM and its losses, for the training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from xsoil.networks.learning import Learner
from xsoil.networks.samples import Sample

if TYPE_CHECKING:
    from xsoil.networks.moisture.multitask_lstm import LstmOptions

__all__ = ["LEAST_LOG", "MOST_LOG", "SeriesLearner", "TaskLstm"]

Tensor = torch.Tensor

# Logarithms of the deviation that a Gaussian head may give, relative to the scale of its target.
LEAST_LOG, MOST_LOG = -4.0, 3.0


class TaskLstm(nn.Module):
    """A layer of rectifiers, an LSTM and a linear layer over series (n, days, channels) [1]_.

    Dropped in training, by masks that hold for all days: inputs and outputs of the LSTM, and weights of its hidden
    state (as [2]_ and [3]_).

    Parameters
    ----------
    channels, hidden, outputs : int
    dropout, recurrent_dropout : float
        Share of the units, and of the recurrent weights.

    References
    ----------
    .. [1] Fang et al. (2017), Geophys. Res. Lett. 44, 11030-11039, doi:10.1002/2017GL075619.
    .. [2] Gal & Ghahramani (2016), A theoretically grounded application of dropout in recurrent neural networks.
    .. [3] Merity et al. (2018), Regularizing and optimizing LSTM language models.
    """

    def __init__(
        self, channels: int, hidden: int, outputs: int, *, dropout: float = 0.0, recurrent_dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.first = nn.Linear(channels, hidden)
        self.memory = nn.LSTM(hidden, hidden, batch_first=True)
        self.last = nn.Linear(hidden, outputs)
        self.dropout, self.recurrent_dropout = dropout, recurrent_dropout
        with torch.no_grad():  # a memory that begins by keeping what it has learns long dependencies sooner
            dict(self.memory.named_parameters())["bias_hh_l0"][hidden : 2 * hidden] = 1.5

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (n, days, outputs)."""
        inside = self._masked(torch.relu(self.first(x)))
        if self.training and self.recurrent_dropout > 0:
            own: dict[str, Tensor] = dict(self.memory.named_parameters())
            own["weight_hh_l0"] = nn.functional.dropout(own["weight_hh_l0"], self.recurrent_dropout)
            states, _ = torch.func.functional_call(self.memory, own, (inside,))
        else:
            states, _ = self.memory(inside)
        found: Tensor = self.last(self._masked(states))
        return found

    def _masked(self, x: Tensor) -> Tensor:
        if not self.training or self.dropout == 0:
            return x
        return x * nn.functional.dropout(torch.ones_like(x[:, :1]), self.dropout)


class SeriesLearner(Learner):
    """The network with the losses of its tasks, summed with given or learned weights.

    A sample has the encoded predictors as `history` (n, days, channels), the targets as `observed` (days, n), and under
    `known` what the outputs are scaled by, "offset <target>" and "scale <target>", and the "weight" of each cell.

    Parameters
    ----------
    channels : int
    targets : tuple of str
    units : tuple of float
        What errors of each target are divided by.
    options : LstmOptions
    """

    def __init__(self, channels: int, targets: tuple[str, ...], units: tuple[float, ...], options: LstmOptions) -> None:
        weights = None if isinstance(options.task_weights, str) else options.task_weights
        super().__init__(weights=dict(zip(targets, weights or [1.0] * len(targets), strict=True)))
        self.targets, self.units, self.options = targets, dict(zip(targets, units, strict=True)), options
        outputs = options.outputs(len(targets))
        self.network = TaskLstm(
            channels, options.hidden, outputs, dropout=options.dropout, recurrent_dropout=options.recurrent_dropout
        )
        learned = isinstance(options.task_weights, str) and len(targets) > 1
        self.log_scales = nn.Parameter(torch.zeros(len(targets))) if learned else None

    def enough(self, variable: str) -> int:
        """See `Learner`."""
        return int(self.weights.get(variable, 1.0) > 0)

    def places(self, sample: Sample) -> int:
        """See `Learner`."""
        return 1 if sample.history is None else sample.history.shape[1]

    def costs(self, sample: Sample) -> dict[str, tuple[Tensor, Tensor]]:
        """See `Learner`; sums over the days and how many they are, or a mean of each cell and its weight."""
        x, first = self._window(sample)
        found = self.network(x)
        costs = {}
        for place, name in enumerate(self.targets):
            observed = sample.observed[name][first : first + x.shape[1]].T
            valid = torch.isfinite(observed)
            if first > 0:
                valid[:, : self.options.spin_up] = False
            output, spread = self._heads(found, place)
            scale = sample.known[f"scale {name}"][:, None]
            error = output * scale + sample.known[f"offset {name}"][:, None] - torch.nan_to_num(observed)
            costs[name] = self._cost(error, spread, scale, valid, sample.known["weight"], self.units[name])
        return costs

    def _window(self, sample: Sample) -> tuple[Tensor, int]:
        """In training so many days from a random one on, of longer series."""
        x: Any = sample.history
        days = self.options.days
        if not self.training or x.shape[1] <= days:
            return x, 0
        # The first and the last days get as many windows as those between.
        first = int(torch.randint(-days // 2, x.shape[1] - days // 2 + 1, ()))
        first = min(max(first, 0), x.shape[1] - days)
        return x[:, first : first + days], first

    def _heads(self, found: Tensor, place: int) -> tuple[Tensor, Tensor | None]:
        """Scaled value and logarithm of the deviation of a target."""
        own = place if self.options.heads == "own" else 0
        if self.options.loss != "gaussian":
            return found[..., own], None
        return found[..., own], found[..., found.shape[-1] // 2 + own].clamp(LEAST_LOG, MOST_LOG)

    def _cost(
        self, error: Tensor, spread: Tensor | None, scale: Tensor, valid: Tensor, weight: Tensor, unit: float
    ) -> tuple[Tensor, Tensor]:
        nothing = torch.zeros_like(error)
        count = valid.sum(dim=1)
        kind = self.options.loss
        if kind == "gaussian" and spread is not None:
            each = 0.5 * (error / scale * torch.exp(-spread)) ** 2 + spread
        else:
            each = (error / unit).abs() if kind == "l1" else (error / unit) ** 2
        total = torch.where(valid, each, nothing).sum(dim=1)
        if kind == "cell_rmse":  # the root has no slope at 0
            return torch.sqrt(total / count.clamp(min=1) + 1e-8) * weight * (count > 0), weight * (count > 0)
        return total * weight, count * weight

    def total(self, means: Mapping[str, Any]) -> Any:
        """See `Learner`: the sum over the tasks; with learned weights of loss / s + log(s)."""
        whole: Any = 0.0
        for name, mean in means.items():
            value = torch.as_tensor(mean)
            task = torch.sqrt(value + 1e-12) if self.options.loss == "rmse" else value
            if self.log_scales is not None:
                scales = self.log_scales if torch.is_tensor(mean) else self.log_scales.detach()
                log = scales[self.targets.index(name)]
                whole = whole + task * torch.exp(-log) + log
            else:
                whole = whole + self.weights[name] * task
        return whole

    def describe(self) -> dict[str, Any]:
        """See `Learner`."""
        return {"targets": list(self.targets), "units": self.units, "options": self.options.describe()}
