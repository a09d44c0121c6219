"""Multitask LSTM: one network for satellite and in-situ soil moisture (Liu et al. 2023), kind "lstm"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from xsoil.errors import ArgumentError, MissingVariableError, UnitsError, UnknownNameError
from xsoil.kernels.recurrent import LANES, UNROLLED
from xsoil.networks.moisture.dropout import DropoutKind, DropoutOptions
from xsoil.networks.moisture.inputs import Inputs, Targets
from xsoil.networks.moisture.kind import Layout, Options, Samples
from xsoil.networks.moisture.series_inference import RunningLstm, lanes_of
from xsoil.networks.moisture.series_learner import LEAST_LOG, MOST_LOG, SeriesLearner
from xsoil.networks.samples import InMemorySource, Sample
from xsoil.networks.training import fit
from xsoil.threads import in_bands

__all__ = ["LOSSES", "LstmOptions", "MultitaskLstm"]

Floats = NDArray[np.float32]

LOSSES = ("rmse", "cell_rmse", "l1", "gaussian")
"""Of a task: the root mean square over all cells and days of a batch (the paper's), the mean of that of each cell, the
mean absolute error, or the negative logarithm of a normal density whose deviation is predicted too."""

# Days that a block of cells runs at a time: their encoded predictors stay in the cache.
_DAYS = 64

_TENSORS = {
    "first.weight": "first", "first.bias": "first_bias", "last.weight": "last", "last.bias": "last_bias",
    "memory.weight_ih_l0": "inwards", "memory.weight_hh_l0": "recurrent", "memory.bias_ih_l0": "inwards_bias",
    "memory.bias_hh_l0": "recurrent_bias",
}  # fmt: skip


@dataclass(frozen=True)
class LstmOptions(DropoutOptions):
    """Options of kind "lstm".

    Attributes
    ----------
    hidden : int
        Width of the state (the paper: 256); a multiple of 4.
    dropout, recurrent_dropout : float
        Share of the units before and after the LSTM, and of its recurrent weights, that are dropped in training (the
        paper: 0.5).
    heads : {"shared", "own"}
        One output that all targets are compared with (the paper's), or one for each.
    loss : str
        Of `LOSSES`.
    task_weights : tuple of float, or "learned"
        Of the losses of the targets, which are summed; by default 1. "learned": loss / s + log(s) with a learned s for
        each target (Kendall et al. 2018), so that neither drowns the other.
    anchor : pair of str, optional
        Predictors that hold what each cell's target scatters about, and how far (say mean and deviation of SMAP over
        the days of training, in the units of the targets): the network then learns the rest.
    days : int
        Length of the series of the training; of longer ones a random part is taken every time.
    spin_up : int
        Days at the beginning of such a part that do not count.
    mc_members : int
        Networks with dropped weights that a prediction runs beside the whole one (Monte Carlo dropout).
    epochs, batch_cells : int
    learning_rate : float
    schedule : str
        See `xsoil.networks.training.fit`.
    patience : int, optional
        Epochs without a better validation after which training stops; by default 20, with "one_cycle" none.
    """

    hidden: int = 64
    dropout: float = 0.3
    recurrent_dropout: float = 0.3
    heads: Literal["shared", "own"] = "shared"
    loss: str = "rmse"
    task_weights: tuple[float, ...] | Literal["learned"] | None = None
    anchor: tuple[str, str] | None = None
    days: int = 365
    spin_up: int = 30
    mc_members: int = 0
    epochs: int = 30
    batch_cells: int = 32
    learning_rate: float = 0.004
    schedule: Literal["plateau", "one_cycle", "constant"] = "one_cycle"
    patience: int | None = None

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise UnknownNameError.of("loss", self.loss, LOSSES)
        if self.heads not in ("shared", "own"):
            raise UnknownNameError.of("heads", self.heads, ("shared", "own"))
        if self.hidden < UNROLLED or self.hidden % UNROLLED:
            raise ArgumentError(f"hidden={self.hidden}; expected a multiple of {UNROLLED}")
        self._check_training("dropout", "recurrent_dropout", days=1, spin_up=0, batch_cells=1)
        if self.spin_up >= self.days:
            raise ArgumentError(f"spin_up={self.spin_up} leaves none of days={self.days}; expected less")
        if isinstance(self.task_weights, str) and self.task_weights != "learned":
            raise ArgumentError(f"task_weights={self.task_weights!r}; expected a number for each target or 'learned'")

    def outputs(self, targets: int) -> int:
        """Outputs of the network."""
        return (targets if self.heads == "own" else 1) * (2 if self.loss == "gaussian" else 1)


class MultitaskLstm(DropoutKind):
    """LSTM over daily series that learns several targets together, any of them missing on any day [1]_.

    The loss is the sum of the targets' losses over the days that have them. A prediction runs forward in time and gives
    its state, from which the next days continue with the same bits; cells are independent of each other, bit for bit.

    The standard deviation is that of the errors of the validation (of the training where there was none), relative to
    the scale of the cell where there is an `anchor`; with ``loss="gaussian"`` that of the day, stretched to the errors
    of the validation; with `mc_members`, the spread of these is part of it.

    References
    ----------
    .. [1] Liu et al. (2023), Geosci. Model Dev. 16, 1553-1567, doi:10.5194/gmd-16-1553-2023.
    """

    name: ClassVar[str] = "lstm"
    layout: ClassVar[Layout] = "series"
    options_type: ClassVar[type[Options]] = LstmOptions
    most_targets: ClassVar[int] = 8
    spread: ClassVar[str] = "calibration"

    calibration: Floats
    """Of each target, by how much deviations are stretched."""

    @property
    def state_shape(self) -> tuple[int, int, int]:
        """Of the state of a cell: networks, (hidden state, cell), width."""
        return 1 + self.options.mc_members, 2, self.options.hidden

    def fit(
        self,
        samples: Samples,
        *,
        inputs: Inputs,
        targets: Targets,
        validation: Samples | None = None,
        seed: int = 0,
        progress: bool = False,
    ) -> MultitaskLstm:
        """See `Kind`."""
        self.inputs, self.targets = inputs, targets
        self._check()
        units = (targets.sd[0],) * len(targets.sd) if self.options.heads == "shared" else targets.sd
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            learner = SeriesLearner(len(inputs.columns), targets.names, units, self.options)
        parts = [self._sample(samples, 0)]
        if validation is not None:
            parts.append(self._sample(validation, len(samples)))
        days = max(part.history.shape[1] for part in parts if part.history is not None)
        source = InMemorySource(Sample.joined([_longer(part, days) for part in parts]))
        used = np.flatnonzero(samples.weights > 0) if samples.weights is not None else np.arange(len(samples))
        watched = np.arange(len(samples), len(source))
        options = self.options
        history = fit(
            learner, source, used.astype(np.intp), watched.astype(np.intp), epochs=options.epochs,
            batch_cells=options.batch_cells, learning_rate=options.learning_rate, schedule=options.schedule,
            patience=options.patience, progress=progress, seed=seed,
        )  # fmt: skip
        own = {name: tensor.detach().numpy().copy() for name, tensor in learner.network.state_dict().items()}
        self._keep({short: own[name] for name, short in _TENSORS.items()}, history, seed)
        self.calibration = np.ones(len(targets.names), np.float32)
        self._calibrate(samples.take(used) if validation is None else validation)
        return self

    def _check(self) -> None:
        """Targets and options that do not go together."""
        options, targets = self.options, self.targets
        given = options.task_weights
        numbers = () if given is None or isinstance(given, str) else given
        if numbers and (len(numbers) != len(targets.names) or min(numbers) < 0 or not max(numbers) > 0):
            raise ArgumentError(
                f"task_weights={given} for the targets {list(targets.names)}; expected a number for each, 0 or more"
            )
        if options.heads == "shared" and len(set(targets.units)) > 1:
            raise UnitsError(
                f"targets {list(targets.names)} in {list(targets.units)} share one output; expected the same units, "
                "or take heads='own'"
            )
        for name in options.anchor or ():
            if name not in self.inputs.names:
                raise MissingVariableError(f"anchor {name!r} is none of the predictors {list(self.inputs.names)}")
            units = self.inputs.predictors[self.inputs.names.index(name)].units
            if {units} != set(targets.units):
                raise UnitsError(f"anchor {name!r} is in {units!r}; expected {targets.units[0]!r}, as the targets")

    def _scales(self, x: Floats) -> tuple[Floats, Floats]:
        """Offset and scale (cells, targets) of the outputs; of the first day that has them."""
        shared = self.options.heads == "shared"
        offset = np.array([self.targets.mean[0 if shared else i] for i in range(len(self.targets.names))], np.float32)
        scale = np.array([self.targets.sd[0 if shared else i] for i in range(len(self.targets.names))], np.float32)
        found = [np.repeat(row[None], len(x), axis=0) for row in (offset, scale)]
        if self.options.anchor is not None:
            for name, row in zip(self.options.anchor, found, strict=True):
                values = x[..., self.inputs.names.index(name)]
                known = np.isfinite(values) & ((values > 0) | (row is found[0]))
                day = known.argmax(axis=1)
                there, first = (array[np.arange(len(x)), day][:, None] for array in (known, values))
                row[:] = np.where(there, first, row)
        return found[0], found[1]

    def _sample(self, samples: Samples, first: int) -> Sample:
        """As the training reads it."""
        offset, scale = self._scales(samples.x)
        weight = samples.weights if samples.weights is not None else np.ones(len(samples), np.float32)
        known = {"weight": weight.astype(np.float32)}
        for i, name in enumerate(self.targets.names):
            known |= {f"offset {name}": offset[:, i], f"scale {name}": scale[:, i]}
        return Sample(
            cells=np.arange(first, first + len(samples)),
            history=self.inputs.encode(samples.x),
            observed={name: samples.y[..., i].T.astype(np.float32) for i, name in enumerate(self.targets.names)},
            known=known,
        )

    def _calibrate(self, samples: Samples) -> None:
        """Stretch the deviations to the errors of these samples."""
        found = self._run(samples.x, None, 1)
        for i in range(len(self.targets.names)):
            error = samples.y[..., i] - found["mean"][..., i]
            valid = np.isfinite(error)
            if valid.any():
                rest = error[valid].astype(float) ** 2 - found["spread2"][..., i][valid]
                ratio = (rest / found["sigma"][..., i][valid].astype(float) ** 2).mean()
                self.calibration[i] = np.sqrt(max(ratio, 0.0))

    def predict(self, block: Floats, **state: Any) -> dict[str, Any]:
        """Predict series of raw predictors (cells, days, p).

        Parameters
        ----------
        block : (cells, days, p) array
        state : (cells, *state_shape) array, optional
            That of the days before; nothing came before if not given.
        workers : int
            Threads.

        Returns
        -------
        dict
            "mean", "std" (cells, days, t) and "state".
        """
        found = self._run(np.asarray(block, np.float32), state.get("state"), int(state.get("workers", 1)))
        std = np.sqrt((found["sigma"] * self.calibration) ** 2 + found["spread2"])
        whole = self.inputs.complete(block)[..., None]
        return {
            "mean": np.where(whole, found["mean"], np.float32(np.nan)),
            "std": np.where(whole, std, np.float32(np.nan)),
            "state": found["state"],
        }

    def _run(self, x: Floats, state: Any, workers: int) -> dict[str, Any]:
        """Mean, deviation before its calibration, variance among the networks, and state."""
        cells, days = x.shape[:2]
        tasks = len(self.targets.names)
        networks = self._networks
        before = np.zeros((cells, *self.state_shape), np.float32) if state is None else np.asarray(state, np.float32)
        if before.shape != (cells, *self.state_shape):
            raise ArgumentError(f"a state of shape {before.shape}; expected {(cells, *self.state_shape)}")
        after = before.copy()
        mean, sigma, spread2 = (np.empty((cells, days, tasks), np.float32) for _ in range(3))
        which = np.arange(tasks) if self.options.heads == "own" else np.zeros(tasks, int)
        outputs = self.options.outputs(tasks)

        def work(first: int, last: int) -> None:
            for start in range(first * LANES, min(last * LANES, cells), LANES):
                at = slice(start, min(start + LANES, cells))
                offset, scale = (row[:, None] for row in self._scales(x[at]))
                for day in range(0, days, _DAYS):
                    part = at, slice(day, min(day + _DAYS, days))
                    channels = lanes_of(self.inputs.encode(x[part]))
                    raw = np.stack([net.run(channels, after[at, k]) for k, net in enumerate(networks)])
                    raw = raw[..., :outputs]
                    values = raw[..., which] * scale + offset
                    mean[part] = values[0]
                    spread2[part] = values[1:].var(axis=0) if len(networks) > 1 else 0.0
                    if self.options.loss == "gaussian":
                        logs = raw[0][..., outputs // 2 :][..., which]
                        sigma[part] = np.exp(np.clip(logs, LEAST_LOG, MOST_LOG)) * scale
                    else:
                        sigma[part] = np.broadcast_to(scale, values.shape[1:])

        in_bands(work, -(-cells // LANES), workers)
        return {"mean": mean, "sigma": sigma, "spread2": spread2, "state": after}

    def _running(self, weights: dict[str, Floats]) -> RunningLstm:
        """See `DropoutKind`."""
        return RunningLstm(weights)

    def _dropped(self, rng: np.random.Generator) -> dict[str, Floats]:
        """The weights with units and recurrent weights dropped as in training."""
        options, found = self.options, dict(self.weights)

        def kept(shape: tuple[int, ...], share: float) -> Floats:
            return ((rng.random(shape) >= share) / (1.0 - share)).astype(np.float32)

        hidden = (1, options.hidden)
        found["inwards"] = found["inwards"] * kept(hidden, options.dropout)
        found["last"] = found["last"] * kept(hidden, options.dropout)
        found["recurrent"] = found["recurrent"] * kept(found["recurrent"].shape, options.recurrent_dropout)
        return found

    def _shapes(self, elements: int) -> dict[str, tuple[int, ...]]:
        """See `DropoutKind`."""
        self._check()
        h, c, o = self.options.hidden, len(self.inputs.columns), self.options.outputs(len(self.targets.names))
        return {
            "first": (h, c), "first_bias": (h,), "last": (o, h), "last_bias": (o,), "inwards": (4 * h, h),
            "recurrent": (4 * h, h), "inwards_bias": (4 * h,), "recurrent_bias": (4 * h,),
        }  # fmt: skip


def _longer(sample: Sample, days: int) -> Sample:
    """With days without targets at the end, so that samples of different length go together."""
    history: Any = sample.history
    missing = days - history.shape[1]
    if not missing:
        return sample
    filled = np.pad(history, ((0, 0), (0, missing), (0, 0)))
    observed = {n: np.pad(a, ((0, missing), (0, 0)), constant_values=np.nan) for n, a in sample.observed.items()}
    return Sample(sample.cells, history=filled, observed=observed, known=sample.known)
