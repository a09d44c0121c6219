"""Training of dense networks of rows, on the same loop as all other networks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from xsoil.errors import ArgumentError
from xsoil.kernels.perceptron import LEAST_LOG, MOST_LOG, padded
from xsoil.networks.learning import Learner
from xsoil.networks.moisture.kind import Record, Samples
from xsoil.networks.samples import InMemorySource, Sample
from xsoil.networks.training import fit

if TYPE_CHECKING:
    from xsoil.networks.moisture.perceptrons import Perceptron

__all__ = ["BayesianLinear", "learned"]

Tensor = torch.Tensor

# About how many steps of the optimiser a training takes at the most, and its epochs.
_STEPS, _FEWEST, _MOST = 4000, 30, 600
# Deviation that the posterior of a weight begins with.
_FIRST_SD = 0.05


class BayesianLinear(torch.nn.Module):
    """A linear layer whose weights have independent normal posteriors (Blundell et al. 2015, Bayes by backprop).

    Outputs are drawn instead of weights (local reparametrisation, Kingma et al. 2015), which has the same mean and
    less noise; in evaluation weights are their means.

    Parameters
    ----------
    inputs, outputs : int
    prior_sd : float
        Of the normal prior of weights and biases, around 0.
    """

    def __init__(self, inputs: int, outputs: int, prior_sd: float = 1.0) -> None:
        super().__init__()
        start = torch.nn.Linear(inputs, outputs)
        self.weight, self.bias = start.weight, start.bias
        first = math.log(math.expm1(_FIRST_SD))
        self.weight_rho = torch.nn.Parameter(torch.full_like(start.weight, first))
        self.bias_rho = torch.nn.Parameter(torch.full_like(start.bias, first))
        self.prior_sd = prior_sd

    def _sds(self) -> tuple[Tensor, Tensor]:
        return torch.nn.functional.softplus(self.weight_rho), torch.nn.functional.softplus(self.bias_rho)

    def forward(self, x: Tensor) -> Tensor:
        mean = torch.nn.functional.linear(x, self.weight, self.bias)
        if not self.training:
            return mean
        weight_sd, bias_sd = self._sds()
        variance = torch.nn.functional.linear(x.square(), weight_sd.square(), bias_sd.square())
        return mean + variance.sqrt() * torch.randn_like(mean)

    def divergence(self) -> Tensor:
        """Kullback-Leibler divergence of the posterior from the prior."""
        total = torch.zeros(())
        for mean, sd in zip((self.weight, self.bias), self._sds(), strict=True):
            ratio = (sd.square() + mean.square()) / self.prior_sd**2
            total = total + 0.5 * (ratio - 1.0 - torch.log(sd.square() / self.prior_sd**2)).sum()
        return total

    def drawn(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Weights and biases from the posterior."""
        weight, bias = (
            mean + sd * torch.randn(mean.shape, generator=generator)
            for mean, sd in zip((self.weight, self.bias), self._sds(), strict=True)
        )
        return weight, bias


class _Network(torch.nn.Module):
    def __init__(self, kind: Perceptron) -> None:
        super().__init__()
        widths, options = kind.widths.tolist(), kind.options
        layers: list[torch.nn.Module] = [torch.nn.Linear(a, b) for a, b in zip(widths[:-2], widths[1:-1], strict=True)]
        bayesian = kind.name == "prob"
        last = BayesianLinear(widths[-2], widths[-1], options.prior_sd) if bayesian else torch.nn.Linear(*widths[-2:])
        self.layers = torch.nn.ModuleList([*layers, last])
        self.wide = torch.nn.Linear(widths[0], widths[-1], bias=False) if kind.skip else None
        self.dropout = torch.nn.Dropout(getattr(options, "dropout", 0.0))

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for layer in self.layers[:-1]:
            h = self.dropout(torch.relu(layer(h)))
        out: Tensor = self.layers[-1](h)
        return out if self.wide is None else out + self.wide(x)


class _Rows(Learner):
    """Negative log likelihood (or squared error) of every row, weighted; see `Learner`."""

    def __init__(self, kind: Perceptron, rows: int) -> None:
        super().__init__()
        self.network = _Network(kind)
        self.kind, self.rows = kind, rows

    def costs(self, sample: Sample) -> dict[str, tuple[Tensor, Tensor]]:
        y, weight = sample.observed["target"][0], sample.known["weight"]
        out = self.network(sample.static)
        error = (out[:, 0] - y).square()
        if self.kind.distributional:
            log_sd = out[:, 1].clamp(float(LEAST_LOG), float(MOST_LOG))
            error = 0.5 * error * torch.exp(-2.0 * log_sd) + log_sd
        cost = weight * error
        last = self.network.layers[-1]
        if isinstance(last, BayesianLinear):
            cost = cost + last.divergence() * (self.kind.options.kl_weight / self.rows)
        return {"target": (cost, torch.isfinite(y))}

    def describe(self) -> dict[str, Any]:
        return {"kind": self.kind.name, "options": self.kind.options.describe(), "inputs": self.kind.inputs.describe()}

    def places(self, sample: Sample) -> int:
        return 1

    def enough(self, variable: str) -> int:
        return 1


def learned(
    kind: Perceptron, samples: Samples, validation: Samples | None, *, seed: int, progress: bool
) -> tuple[NDArray[np.float32], Record]:
    """Weights as `xsoil.kernels.perceptron` reads them, and how the training went."""
    options = kind.options
    parts = [samples] if validation is None else [samples, validation]
    parts = [part.take(_useful(part)) for part in parts]
    counts = [len(part) for part in parts]
    if not counts[0]:
        raise ArgumentError("no row of the training has a target and a weight; look at split, masks and weights")
    sample = Sample(
        np.arange(sum(counts)),
        static=np.concatenate([kind.inputs.encode(part.x) for part in parts]),
        observed={"target": np.concatenate([kind.targets.scaled(part.y)[:, 0] for part in parts])[None]},
        known={"weight": np.concatenate([_weights(part) for part in parts])},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        learner = _Rows(kind, counts[0])
    batches = -(-counts[0] // options.batch_rows)
    epochs = options.epochs or min(max(-(-_STEPS // batches), _FEWEST), _MOST)
    history = fit(
        learner, InMemorySource(sample), np.arange(counts[0]), np.arange(counts[0], sum(counts)), epochs=epochs,
        batch_cells=options.batch_rows, learning_rate=options.learning_rate, schedule=options.schedule,
        patience=options.patience, seed=seed, progress=progress,
    )  # fmt: skip
    record = Record.of(history)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        draws = [_packed(learner.network, generator) for _ in range(getattr(options, "draws", 1))]
    return np.stack(draws), record


def _useful(samples: Samples) -> NDArray[np.bool_]:
    there = np.isfinite(samples.y[:, 0])
    return np.asarray(there if samples.weights is None else there & (samples.weights > 0))


def _weights(samples: Samples) -> NDArray[np.float32]:
    """With a mean of 1, so that the learning rate means the same for every member."""
    if samples.weights is None:
        return np.ones(len(samples), np.float32)
    weights = samples.weights.astype(np.float64)
    return np.asarray(weights / max(weights.mean(), 1e-300), np.float32)


def _packed(network: _Network, generator: torch.Generator) -> NDArray[np.float32]:
    """One draw of all weights, row by row, their columns padded to a multiple of four and the bias behind them."""
    found = []
    for layer in network.layers:
        if isinstance(layer, BayesianLinear):
            found.append(layer.drawn(generator))
        elif isinstance(layer, torch.nn.Linear):
            found.append((layer.weight, layer.bias))
    if network.wide is not None:
        found.append((network.wide.weight, torch.zeros(len(network.wide.weight))))
    parts = []
    for weight, bias in found:
        table = np.zeros((weight.shape[0], padded(weight.shape[1]) + 1), np.float32)
        table[:, : weight.shape[1]], table[:, -1] = weight.numpy(), bias.numpy()
        parts.append(table.ravel())
    return np.concatenate(parts)
