"""Filling gaps by Continuous Recurrent Units: scaling, training on days that are removed, and inference."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import trange

from xsoil.errors import ArgumentError
from xsoil.networks.description import digest
from xsoil.networks.moisture.continuous_recurrent_units import ContinuousRecurrentUnit
from xsoil.networks.moisture.inputs import CONSTANT, LEAST_SPREAD

__all__ = ["GapFiller", "GapOptions"]

Wide = NDArray[np.float64]
Tensor = torch.Tensor

# Observations that count as much as the spread of all series when a series is scaled by its own.
PRIOR = 10.0
# Numbers of covariances that an inference holds at a time.
MOST = 2**23
# Series of which the loss of an epoch is taken.
WATCHED = 64
LARGEST_GRADIENT = 1.0


@dataclass(frozen=True)
class GapOptions:
    """Network and training.

    Attributes
    ----------
    latent, basis, hidden : int
        Sizes of the network, see `ContinuousRecurrentUnit`.
    smoothing : bool
        Look at the observations after a gap, too.
    window : int
        Times of a training sample.
    batch : int
        Samples of a step.
    epochs, steps : int
        Epochs, of so many steps each; the weights of the best epoch are kept.
    learning_rate : float
        At the start; falls to nothing along a cosine.
    removed : float
        Share of the observations that is removed from a sample, some alone and some in gaps.
    longest : int
        Times of the longest gap that is made.
    """

    latent: int = 4
    basis: int = 5
    hidden: int = 16
    smoothing: bool = True
    window: int = 100
    batch: int = 32
    epochs: int = 10
    steps: int = 20
    learning_rate: float = 1e-2
    removed: float = 0.3
    longest: int = 30

    def __post_init__(self) -> None:
        for name in ("latent", "basis", "hidden", "batch", "epochs", "steps", "longest"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ArgumentError(f"{name}={value!r}; expected a whole number of at least 1")
        if isinstance(self.window, bool) or not isinstance(self.window, int) or self.window < 5:
            raise ArgumentError(f"window={self.window!r}; expected a whole number of times, at least 5")
        if not 0 < self.removed < 1:
            raise ArgumentError(f"removed={self.removed!r}; expected a share above 0 and below 1")
        if not 0 < self.learning_rate < 1:
            raise ArgumentError(f"learning_rate={self.learning_rate!r}; expected a number above 0 and below 1")


class GapFiller:
    """A network that tells what a series was on days without observation.

    Attributes
    ----------
    options : GapOptions
    network : ContinuousRecurrentUnit
    scaling : dict
        "spread" of the series about their means; "mean" and "deviation" of each predictor.
    history : dict of list
        "train" and "validation" loss of each epoch, "best_epoch".
    """

    def __init__(self, options: GapOptions, predictors: int, scaling: Mapping[str, Any], seed: int = 0) -> None:
        self.options, self.predictors, self.scaling = options, predictors, dict(scaling)
        self.history: dict[str, Any] = {"train": [], "validation": [], "best_epoch": 0}
        o = options
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = ContinuousRecurrentUnit(o.latent, o.basis, o.hidden, predictors, smoothing=o.smoothing)
        self.network.double()

    @classmethod
    def fit(
        cls,
        series: NDArray[Any],
        days: Wide,
        controls: NDArray[Any] | None = None,
        *,
        validation: NDArray[np.bool_],
        options: GapOptions,
        seed: int = 0,
        progress: bool = False,
    ) -> GapFiller:
        """Learn from the observations of series that are removed on purpose.

        Parameters
        ----------
        series : (series, times) array
            NaN where missing; each has two observations or more.
        days : (times,) array
            Ascending.
        controls : (series, times, predictors) array, optional
            NaN where missing.
        validation : (series,) array of bool
            Series that are kept for choosing the epoch; where there is none, the training loss chooses.
        """
        series = series.astype(float)
        scaling = _scaling(series[~validation], None if controls is None else controls[~validation])
        filler = cls(options, 0 if controls is None else controls.shape[-1], scaling, seed)
        scaled = None if controls is None else filler._controls(controls)
        steps = np.diff(days, prepend=days[0])
        draw = np.random.default_rng([seed, 1])
        trained, kept = np.flatnonzero(~validation), np.flatnonzero(validation)[:WATCHED]
        watched = filler._sample(series, steps, scaled, kept, np.random.default_rng([seed, 2]), len(days))
        net, rate = filler.network, options.learning_rate
        optimizer = torch.optim.Adam(net.parameters(), lr=rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs * options.steps)
        best, weights = np.inf, copy.deepcopy(net.state_dict())
        for epoch in trange(options.epochs, desc="training", unit="epoch", disable=not progress):
            net.train()
            losses = []
            for _ in range(options.steps):
                chosen = draw.choice(trained, options.batch, replace=trained.size < options.batch)
                sample = filler._sample(series, steps, scaled, chosen, draw, options.window)
                loss = filler._loss(sample)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(net.parameters(), LARGEST_GRADIENT)
                optimizer.step()
                schedule.step()
                losses.append(loss.item())
            filler.history["train"].append(float(np.mean(losses)))
            net.eval()
            if kept.size:
                with torch.no_grad():
                    found = filler._loss(watched).item()
            else:
                found = filler.history["train"][-1]
            filler.history["validation"].append(found)
            if found < best:
                best, weights = found, copy.deepcopy(net.state_dict())
                filler.history["best_epoch"] = epoch
        if not np.isfinite(best):
            raise ArgumentError("the training did not converge: no epoch has a finite loss; try a lower learning_rate")
        net.load_state_dict(weights)
        net.eval()
        return filler

    def _loss(self, sample: tuple[Tensor, ...]) -> Tensor:
        """Negative logarithm of the Gaussian likelihood of the removed observations."""
        x, seen, steps, target, removed, controls = sample
        mean, variance = self.network(x, seen, steps, controls if self.predictors else None)
        cost = 0.5 * (variance.log() + (target - mean) ** 2 / variance)
        loss: Tensor = (cost * removed).sum() / removed.sum().clamp(min=1)
        return loss

    def _sample(
        self, series: Wide, steps: Wide, controls: Wide | None, chosen: NDArray[np.intp], draw: np.random.Generator,
        window: int,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """Windows of the chosen series, some of whose observations are removed."""
        times = series.shape[1]
        window = min(window, times)
        first = draw.integers(times - window + 1, size=chosen.size)
        at = first[:, None] + np.arange(window)
        values = series[chosen[:, None], at]
        there = np.isfinite(values)
        removed = _removed(there, draw, self.options.removed, self.options.longest)
        seen = there & ~removed
        level, scale = _level(values, seen, self.scaling["spread"])
        scaled = (np.where(there, values, 0.0) - level[:, None]) / scale[:, None]
        durations = steps[at]
        durations[:, 0] = 0.0
        pushed = np.zeros((*at.shape, 0)) if controls is None else controls[chosen[:, None], at]
        parts = (np.where(seen, scaled, 0.0), seen, durations, scaled, removed, pushed)
        return tuple(torch.from_numpy(np.ascontiguousarray(part, float)) for part in parts)

    def _controls(self, controls: NDArray[Any]) -> Wide:
        scaled = (controls.astype(float) - self.scaling["mean"]) / self.scaling["deviation"]
        return np.where(np.isfinite(scaled), scaled, 0.0)

    def fill(self, series: NDArray[Any], days: Wide, controls: NDArray[Any] | None = None) -> tuple[Wide, Wide]:
        """Mean and standard deviation of an observation at each time.

        In batches of one size, so that a series does not depend on the others.

        Parameters
        ----------
        series, days, controls
            As `fit` takes them.

        Returns
        -------
        mean, deviation : (series, times) array
            NaN for series without observations.
        """
        count, times = series.shape
        mean, deviation = np.full((2, count, times), np.nan)
        size = int(np.clip(MOST // (times * (2 * self.options.latent) ** 2), 8, 128))
        steps = torch.from_numpy(np.diff(days, prepend=days[0])).double()
        able = np.flatnonzero(np.isfinite(series).any(axis=1))
        for start in range(0, able.size, size):
            rows = able[start : start + size]
            values = np.full((size, times), np.nan)
            values[: rows.size] = series[rows]
            seen = np.isfinite(values)
            level, scale = _level(values, seen, self.scaling["spread"])
            scaled = np.where(seen, (values - level[:, None]) / scale[:, None], 0.0)
            pushed = None
            if controls is not None:
                padded = np.zeros((size, times, self.predictors))
                padded[: rows.size] = self._controls(controls[rows])
                pushed = torch.from_numpy(padded)
            with torch.no_grad():
                found = self.network(
                    torch.from_numpy(scaled), torch.from_numpy(seen.astype(float)), steps.expand(size, -1), pushed
                )
            centre, variance = (part.numpy()[: rows.size] for part in found)
            mean[rows] = level[: rows.size, None] + scale[: rows.size, None] * centre
            deviation[rows] = scale[: rows.size, None] * np.sqrt(variance)
        return mean, deviation

    def describe(self) -> dict[str, Any]:
        """All but the weights, as plain JSON."""
        return {
            "options": asdict(self.options),
            "predictors": self.predictors,
            "scaling": self.scaling,
            "history": self.history,
        }

    def digest(self) -> str:
        """Of all that a result depends on."""
        weights = {name: tensor.numpy() for name, tensor in self.network.state_dict().items()}
        return digest([asdict(self.options), self.scaling], weights)

    @classmethod
    def rebuilt(cls, description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> GapFiller:
        """From what `describe` gave, and the weights."""
        elements = sum(tensor.numel() for tensor in tensors.values())
        try:
            options, predictors = GapOptions(**description["options"]), int(description["predictors"])
            for number in (options.latent, options.basis, options.hidden, predictors):
                if not 0 <= number <= elements:  # before anything of that size is made
                    raise ArgumentError(f"a network of size {number}; its weights have {elements} numbers only")
            filler = cls(options, predictors, _sound_scaling(description["scaling"], predictors))
            for name, own in filler.network.state_dict().items():
                if own.dtype != tensors[name].dtype or not bool(tensors[name].isfinite().all()):
                    raise TypeError(f"{name!r} is {tensors[name].dtype} or holds no numbers; expected {own.dtype}")
            filler.network.load_state_dict(dict(tensors))
            filler.history = dict(description["history"])
        except (KeyError, TypeError, OverflowError, RuntimeError) as error:
            raise ArgumentError(f"the model is damaged ({type(error).__name__}: {error}); take another copy") from error
        filler.network.eval()
        return filler


def _sound_scaling(found: Any, predictors: int) -> dict[str, Any]:
    """Raise where the scaling in a file is none."""
    moments = [[found["spread"]], found["mean"], found["deviation"]]
    if [len(row) for row in moments] != [1, predictors, predictors]:
        raise TypeError(f"moments of {[len(row) for row in moments[1:]]} predictors; expected {predictors}")
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for row in moments for value in row):
        raise TypeError("moments that are no numbers")
    if not np.isfinite(np.array([value for row in moments for value in row], float)).all() or found["spread"] <= 0:
        raise TypeError("moments that are not finite, or no spread")
    if any(value <= 0 for value in found["deviation"]):
        raise TypeError("deviations that are not above 0")
    return dict(found)


def _scaling(series: Wide, controls: NDArray[Any] | None) -> dict[str, Any]:
    """Spread of series about their means, moments of predictors."""
    seen = np.isfinite(series)
    count = np.maximum(seen.sum(axis=1, keepdims=True), 1)
    mean = np.where(seen, series, 0.0).sum(axis=1, keepdims=True) / count
    spread = np.sqrt(np.mean(((series - mean) ** 2)[seen])) if seen.any() else 0.0
    if not spread > 0:
        raise ArgumentError("the series of the training do not vary; there is nothing to learn")
    out: dict[str, Any] = {"spread": float(spread), "mean": [], "deviation": []}
    if controls is not None:
        flat = controls.reshape(-1, controls.shape[-1]).astype(float)
        deviation, mean = np.nanstd(flat, axis=0), np.nanmean(flat, axis=0)
        out["mean"] = mean.tolist()
        out["deviation"] = np.where(deviation > LEAST_SPREAD * np.abs(mean), deviation, CONSTANT).tolist()
    return out


def _level(values: Wide, seen: NDArray[np.bool_], spread: float) -> tuple[Wide, Wide]:
    """Mean of each series, and its deviation, which leans to that of all where there are few observations."""
    count = seen.sum(axis=1)
    level = np.where(seen, values, 0.0).sum(axis=1) / np.maximum(count, 1)
    squares = np.where(seen, values - level[:, None], 0.0) ** 2
    return level, np.sqrt((squares.sum(axis=1) + PRIOR * spread**2) / (count + PRIOR))


def _removed(there: NDArray[np.bool_], draw: np.random.Generator, share: float, longest: int) -> NDArray[np.bool_]:
    """Observations to be removed: half of them alone, half in gaps of 2 to `longest` times."""
    series, times = there.shape
    alone = draw.random(there.shape) < share / 2
    gaps = max(1, round(times * share / 2 / (2 + longest) * 2))
    length = draw.integers(2, max(longest, 2) + 1, size=(series, gaps))
    first = draw.integers(-longest, times, size=(series, gaps))
    place = np.arange(times)
    inside = ((place >= first[..., None]) & (place < (first + length)[..., None])).any(axis=1)
    return there & (alone | inside)
