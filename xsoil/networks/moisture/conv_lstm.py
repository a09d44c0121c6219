"""Convolutional LSTM on daily maps (Rabiei et al. 2024), kind "convlstm"."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from xsoil.errors import ArgumentError, UnitsError
from xsoil.networks.moisture.dropout import DropoutKind, DropoutOptions
from xsoil.networks.moisture.image_training import ImageLearner, TileSource, window
from xsoil.networks.moisture.inputs import Inputs, Targets
from xsoil.networks.moisture.kind import Layout, Options, Samples
from xsoil.networks.training import fit
from xsoil.threads import available_cores, in_bands

__all__ = ["ConvLstm", "ConvLstmOptions"]

Floats = NDArray[np.float32]

# Cells along the side of what a prediction runs at a time, and days: what bounds its memory.
_TILE, _DAYS = 64, 4


@dataclass(frozen=True)
class ConvLstmOptions(DropoutOptions):
    """Options of kind "convlstm".

    Attributes
    ----------
    filters : tuple of int
        Of each layer (the paper: ten layers of 16 to 64).
    kernel : int
        Side of the convolutions, odd.
    attention : tuple of int
        Layers, counted from 1, that are followed by attention to channels (the paper: 2 and 5).
    window : int
        Side of the window whose mean the attention looks at, odd.
    dropout : float
        Share of the channels that is dropped after each layer in training.
    depthwise : bool
        Convolve each channel by itself and then mix them: fewer weights.
    look_back : int
        Days that a map is predicted from, its own included.
    alpha, beta : float
        Weights of the root mean square error of the first target and of 1 - R^2 with the last one.
    patch, context : int
        Side of the tiles of the training, and how many cells around one are read too, without their targets.
    mc_members : int
        Networks with dropped channels that a prediction runs beside the whole one (Monte Carlo dropout).
    epochs, batch_tiles : int
    learning_rate : float
    schedule : str
        See `xsoil.networks.training.fit`.
    patience : int, optional
        Epochs without a better validation after which training stops; by default 20, with "one_cycle" none.
    """

    filters: tuple[int, ...] = (16, 32)
    kernel: int = 3
    attention: tuple[int, ...] = (2,)
    window: int = 9
    dropout: float = 0.2
    depthwise: bool = False
    look_back: int = 3
    alpha: float = 1.0
    beta: float = 1.0
    patch: int = 16
    context: int = 4
    mc_members: int = 0
    epochs: int = 20
    batch_tiles: int = 32
    learning_rate: float = 0.005
    schedule: Literal["plateau", "one_cycle", "constant"] = "one_cycle"
    patience: int | None = None

    def __post_init__(self) -> None:
        if not self.filters or min(self.filters) < 1:
            raise ArgumentError(f"filters={self.filters}; expected numbers of filters, one for each layer")
        if not all(1 <= at <= len(self.filters) for at in self.attention):
            raise ArgumentError(f"attention={self.attention}; expected layers from 1 to {len(self.filters)}")
        for name in ("kernel", "window"):
            if getattr(self, name) < 1 or getattr(self, name) % 2 == 0:
                raise ArgumentError(f"{name}={getattr(self, name)}; expected an odd number")
        if self.alpha < 0 or self.beta < 0 or not self.alpha:
            raise ArgumentError(f"alpha={self.alpha}, beta={self.beta}; expected alpha above 0 and beta 0 or more")
        self._check_training("dropout", look_back=1, patch=1, context=0, batch_tiles=1)


class ConvLstm(DropoutKind):
    """Layers of convolutional LSTM over the last days, with attention to channels over a fixed window [1]_.

    Two targets share the output: the error is that of the first (a model's soil moisture, say), the correlation that
    with the second (a satellite's). A map does not depend on how it is cut into blocks, but for rounding: beyond the
    map everything is 0, and a block is read with as many cells around it as its prediction depends on (`halo`).

    The first days, which have no look-back, are NaN.

    The standard deviation is that of the errors of the validation (of the training where there was none); with
    `mc_members`, the spread of these is part of it. Channels that such a member drops are the same everywhere and on
    all days.

    References
    ----------
    .. [1] Rabiei et al. (2024), preprints 202412.1356.
    """

    name: ClassVar[str] = "convlstm"
    layout: ClassVar[Layout] = "images"
    options_type: ClassVar[type[Options]] = ConvLstmOptions
    most_targets: ClassVar[int] = 2
    spread: ClassVar[str] = "deviation"

    deviation: Floats
    """Of the errors of each target, beside the spread of the networks."""

    @property
    def halo(self) -> int:
        """See `Kind`: of each layer one convolution a day, of each attention half its window."""
        options = self.options
        return int(
            len(options.filters) * options.look_back * (options.kernel // 2)
            + len(options.attention) * (options.window // 2)
        )

    @property
    def look_back(self) -> int:
        """Days that a map is predicted from, its own included."""
        return int(self.options.look_back)

    def fit(
        self,
        samples: Samples,
        *,
        inputs: Inputs,
        targets: Targets,
        validation: Samples | None = None,
        seed: int = 0,
        progress: bool = False,
    ) -> ConvLstm:
        """See `Kind`."""
        self.inputs, self.targets = inputs, targets
        if len(set(targets.units)) > 1:
            raise UnitsError(
                f"targets {list(targets.names)} in {list(targets.units)} share one output; expected the same units"
            )
        options = self.options
        source = TileSource([samples] if validation is None else [samples, validation], inputs, targets, options)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            learner = ImageLearner(len(inputs.columns), targets.names, options)
        numbers = np.arange(len(source), dtype=np.intp)
        history = fit(
            learner, source, numbers[: source.counts[0]], numbers[source.counts[0] :], epochs=options.epochs,
            batch_cells=options.batch_tiles, learning_rate=options.learning_rate, schedule=options.schedule,
            patience=options.patience, progress=progress, seed=seed,
        )  # fmt: skip
        state = learner.network.state_dict().items()
        self._keep({n: t.detach().numpy().copy() for n, t in state if t.is_floating_point()}, history, seed)
        self._calibrate(samples if validation is None else validation)
        return self

    def _calibrate(self, samples: Samples) -> None:
        """Deviations from the errors of these samples."""
        halo, back = self.halo, self.look_back - 1
        inside = np.pad(np.ones(samples.x.shape[1:3], bool), halo)
        around = ((0, 0), (halo, halo), (halo, halo), (0, 0))
        squares, counts = np.zeros((2, len(self.targets.names)))
        used = np.asarray(np.isfinite(samples.y).any(axis=(1, 2, 3)))
        if samples.weights is not None:
            used &= samples.weights > 0
        for day in range(back, len(samples), _DAYS):
            days = slice(day, min(day + _DAYS, len(samples)))
            if not used[days].any():
                continue
            block = np.pad(samples.x[day - back : days.stop], around, constant_values=np.nan)
            mean, spread2 = self._run(block, inside, available_cores())
            rest = (samples.y[days].astype(np.float64) - mean[..., None]) ** 2 - spread2[..., None]
            rest[~used[days]] = np.nan
            squares += np.nansum(rest, axis=(0, 1, 2))
            counts += np.isfinite(rest).sum(axis=(0, 1, 2))
        found = np.sqrt(np.maximum(squares, 0.0) / np.maximum(counts, 1))
        self.deviation = np.where(counts > 0, found, self.targets.sd).astype(np.float32)

    def predict(self, block: Floats, **state: Any) -> dict[str, Any]:
        """Predict maps of raw predictors.

        Parameters
        ----------
        block : (look_back - 1 + days, halo + rows + halo, halo + columns + halo, p) array
            With the days before, and the cells around.
        inside : (halo + rows + halo, halo + columns + halo) array of bool, optional
            Where there is a map; all by default.
        workers : int
            Threads.

        Returns
        -------
        dict
            "mean" and "std" (days, rows, columns, t).
        """
        halo, back = self.halo, self.look_back - 1
        x = np.asarray(block, np.float32)
        inside = np.ones(x.shape[1:3], bool) if state.get("inside") is None else np.asarray(state["inside"], bool)
        mean, spread2 = self._run(x, inside, int(state.get("workers", 1)))
        rows, columns = mean.shape[1:]
        whole = self.inputs.complete(x[back:, halo : halo + rows, halo : halo + columns])[..., None]
        std = np.sqrt(self.deviation**2 + spread2[..., None])
        mean = np.repeat(mean[..., None], len(self.targets.names), axis=-1)
        return {"mean": np.where(whole, mean, np.float32(np.nan)), "std": np.where(whole, std, np.float32(np.nan))}

    def _run(self, x: Floats, inside: NDArray[np.bool_], workers: int) -> tuple[Floats, Floats]:
        """Mean, and variance among the networks (days, rows, columns), of a block as `predict` has it."""
        halo, back = self.halo, self.look_back - 1
        days, rows, columns = (n - lost for n, lost in zip(x.shape[:3], (back, 2 * halo, 2 * halo), strict=True))
        if min(days, rows, columns) < 1:
            raise ArgumentError(
                f"a block of shape {x.shape}; expected {back} days before and {halo} cells around what is predicted"
            )
        mean, spread2 = np.empty((2, days, rows, columns), np.float32)
        networks = self._networks
        jobs = list(itertools.product(range(0, rows, _TILE), range(0, columns, _TILE), range(0, days, _DAYS)))

        def work(first: int, stop: int) -> None:
            with torch.inference_mode(), _one_thread():
                for row, column, day in jobs[first:stop]:
                    size, last = (min(_TILE, rows - row), min(_TILE, columns - column)), min(day + _DAYS, days)
                    cut, _ = window(x.shape[1:3], (row, column), (size[0] + 2 * halo, size[1] + 2 * halo))
                    there = torch.from_numpy(inside[cut].astype(np.float32))[None, None]
                    encoded = self.inputs.encode(x[(slice(day, last + back), *cut)])
                    maps = torch.from_numpy(np.ascontiguousarray(np.moveaxis(encoded, -1, 1)))
                    series = torch.stack([maps[d : d + back + 1] for d in range(last - day)])
                    every = there.expand(len(series), -1, -1, -1)
                    inner = slice(halo, halo + size[0]), slice(halo, halo + size[1])
                    found = np.stack([network(series, every).numpy()[(slice(None), *inner)] for network in networks])
                    place = slice(day, last), slice(row, row + size[0]), slice(column, column + size[1])
                    mean[place] = found[0]
                    spread2[place] = found[1:].var(axis=0) if len(found) > 1 else 0.0

        in_bands(work, len(jobs), workers)
        sd = np.float32(self.targets.sd[0])
        return mean * sd + np.float32(self.targets.mean[0]), spread2 * sd**2

    def _network(self) -> torch.nn.Module:
        """As it is before its training."""
        return ImageLearner(len(self.inputs.columns), self.targets.names, self.options).network

    def _running(self, weights: dict[str, Floats]) -> torch.nn.Module:
        """See `DropoutKind`."""
        network = self._network()
        network.load_state_dict({n: torch.from_numpy(a) for n, a in weights.items()}, strict=False)
        return network.eval()

    def _dropped(self, rng: np.random.Generator) -> dict[str, Floats]:
        """The weights with channels dropped as in training, by what their normalisation gives."""
        share, found = self.options.dropout, dict(self.weights)
        for layer, width in enumerate(self.options.filters):
            kept = ((rng.random(width) >= share) / (1.0 - share)).astype(np.float32)
            for name in (f"norms.{layer}.weight", f"norms.{layer}.bias"):
                found[name] = found[name] * kept
        return found

    def _shapes(self, elements: int) -> dict[str, tuple[int, ...]]:
        """See `DropoutKind`."""
        o, before, needed = self.options, len(self.inputs.columns), 0
        for filters in o.filters:
            both = before + filters
            needed += both * (o.kernel**2 + 4 * filters if o.depthwise else 4 * filters * o.kernel**2)
            before = filters
        if needed > elements:
            raise ArgumentError(f"a ConvLSTM of {needed:,} weights or more; there are {elements:,}: it is damaged")
        state = self._network().state_dict().items()
        return {name: tuple(tensor.shape) for name, tensor in state if tensor.is_floating_point()}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Tensor operations on one thread: tiles go side by side, and threads within a small tile would wait for others."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
