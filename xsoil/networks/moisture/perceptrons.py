"""Small dense networks of rows: "dense", "prob" (a Bayesian layer), "wide_deep"; torch is loaded for training only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from xsoil.errors import ArgumentError
from xsoil.kernels import perceptron as kernels
from xsoil.networks.moisture.inputs import Inputs, Targets
from xsoil.networks.moisture.kind import Kind, Options, Samples

__all__ = ["Dense", "DenseOptions", "Prob", "ProbOptions", "WideDeep", "WideDeepOptions"]

P = TypeVar("P", bound="Perceptron")


@dataclass(frozen=True)
class DenseOptions(Options):
    """Options of the kind "dense".

    Attributes
    ----------
    hidden : tuple of int
        Units of each hidden layer (rectified linear). (9, 6) has the 164 parameters of Poehls et al. for nine
        continuous predictors.
    epochs : int, optional
        At the most; by default as many as make about 4,000 steps, from 30 to 600.
    batch_rows : int
        Rows of a mini-batch.
    learning_rate : float
        The largest, of Adam.
    patience : int
        Epochs without a better validation loss after which the training stops.
    schedule : {"plateau", "one_cycle", "constant"}
        How the learning rate goes; see `xsoil.networks.training.fit`.
    """

    hidden: tuple[int, ...] = (9, 6)
    epochs: int | None = None
    batch_rows: int = 512
    learning_rate: float = 0.01
    patience: int = 20
    schedule: Literal["plateau", "one_cycle", "constant"] = "plateau"

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(int(n) for n in self.hidden))
        if not self.hidden or min(self.hidden) < 1:
            raise ArgumentError(f"hidden={self.hidden}; expected units of one layer at least, e.g. (9, 6)")


@dataclass(frozen=True)
class ProbOptions(DenseOptions):
    """Options of the kind "prob".

    Attributes
    ----------
    draws : int
        Weights drawn from the posterior once, after the training; predictions are averaged over them.
    prior_sd : float
        Of the weights of the Bayesian layer.
    kl_weight : float
        Of the divergence from the prior; 1 is the evidence lower bound.
    """

    hidden: tuple[int, ...] = (7, 6)
    draws: int = 16
    prior_sd: float = 1.0
    kl_weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.draws < 1 or not self.prior_sd > 0 or not self.kl_weight >= 0:
            raise ArgumentError(
                f"draws={self.draws}, prior_sd={self.prior_sd}, kl_weight={self.kl_weight}; expected 1 or more, a "
                "number above 0, and 0 or more"
            )


@dataclass(frozen=True)
class WideDeepOptions(DenseOptions):
    """Options of the kind "wide_deep", see `DenseOptions`.

    Attributes
    ----------
    dropout : float
        Share of hidden units that are dropped in training.
    """

    hidden: tuple[int, ...] = (128, 64)
    learning_rate: float = 0.003
    dropout: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_shares("dropout")


class Perceptron(Kind):
    """A dense network of rows; learned by torch, predicted by `xsoil.kernels.perceptron`.

    `weights` (draws, w) and `widths` are those of the kernel.
    """

    skip = False
    weights: NDArray[np.float32]
    widths: NDArray[np.int64]

    def fit(
        self: P,
        samples: Samples,
        *,
        inputs: Inputs,
        targets: Targets,
        validation: Samples | None = None,
        seed: int = 0,
        progress: bool = False,
    ) -> P:
        """See `Kind.fit`."""
        from xsoil.networks.moisture.row_training import learned  # torch loads for training only

        self.inputs, self.targets = inputs, targets
        outputs = 2 if self.distributional else 1
        self.widths = np.array([len(inputs.columns), *self.options.hidden, outputs], np.int64)
        self.weights, self.record = learned(self, samples, validation, seed=seed, progress=progress)
        self._prepare()
        return self

    @property
    def parameters(self) -> int:
        """Numbers that one draw of the network has, without padding."""
        layers = zip(self.widths[:-1].tolist(), self.widths[1:].tolist(), strict=True)
        wide = int(self.widths[0] * self.widths[-1]) if self.skip else 0
        return int(sum((a + 1) * b for a, b in layers)) + wide

    def predict(self, block: NDArray[np.float32], **state: Any) -> dict[str, Any]:
        """See `Kind.predict`; `block` (n, p) is best a transposed (p, n) array."""
        x = np.ascontiguousarray(block.T, np.float32)
        for i in self._logs:
            x = x.copy() if x.base is not None or np.shares_memory(x, block) else x
            with np.errstate(all="ignore"):
                np.log(x[i], out=x[i])
        out = np.empty((2 if self.distributional else 1, x.shape[1]), np.float32)
        needs_all = self.inputs.missing == "nan"
        kernels.perceptron(x, self._encoding, needs_all, self.weights, self.widths, self.skip, self._scaling, out)
        found = {"mean": out[0][:, None]}
        if self.distributional:
            found["std"] = out[1][:, None]
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """See `Kind.arrays`."""
        return {"weights": self.weights, "widths": self.widths}

    @classmethod
    def from_arrays(
        cls: type[P],
        arrays: Mapping[str, NDArray[Any]],
        description: Mapping[str, Any],
        inputs: Inputs,
        targets: Targets,
    ) -> P:
        """See `Kind.from_arrays`."""
        self = cls.described(description, inputs, targets)
        widths = [len(inputs.columns), *self.options.hidden, 2 if cls.distributional else 1]
        size = sum((kernels.padded(a) + 1) * b for a, b in zip(widths[:-1], widths[1:], strict=True))
        size += (kernels.padded(widths[0]) + 1) * widths[-1] if cls.skip else 0
        draws = getattr(self.options, "draws", 1)
        found = {name: (str(array.dtype), array.shape) for name, array in arrays.items()}
        needed = {"weights": ("float32", (draws, size)), "widths": ("int64", (len(widths),))}
        if found != needed or arrays["widths"].tolist() != widths:
            raise ArgumentError(f"arrays {found} of kind {cls.name!r}; expected {needed}: the model is damaged")
        self.weights, self.widths = arrays["weights"], arrays["widths"]
        self._prepare()
        return self

    def _prepare(self) -> None:
        """Tables of the kernel."""
        kinds, sources, codes, means, scales, unknown = [], [], [], [], [], []
        for p, row in enumerate(self.inputs.predictors):
            own = [(kernels.CONTINUOUS, 0.0, row.mean[0], 1.0 / row.sd[0], 0.0)]
            if row.classes is not None:
                shares = (0.0,) * len(row.classes) if row.gaps else row.mean
                own = [(kernels.OF_CLASS, c, 0.0, 1.0, share) for c, share in zip(row.classes, shares, strict=True)]
            if row.gaps:
                own.append((kernels.GAPS, 0.0, 0.0, 1.0, 0.0))
            for kind, code, mean, scale, share in own:
                kinds.append(kind)
                sources.append(p)
                codes.append(code)
                means.append(mean)
                scales.append(scale)
                unknown.append(share)
        numbers = (np.array(values, np.float32) for values in (codes, means, scales, unknown))
        self._encoding = (np.array(kinds, np.int8), np.array(sources, np.int64), *numbers)
        self._scaling = np.array([self.targets.mean[0], self.targets.sd[0]], np.float32)
        self._logs = [i for i, row in enumerate(self.inputs.predictors) if row.log]


class Dense(Perceptron):
    """A feed-forward network with a normal distribution as output, learned by its likelihood."""

    name = "dense"
    options_type = DenseOptions
    distributional = True


class Prob(Perceptron):
    """As "dense", with a Bayesian last layer: normal posteriors of its weights, learned by backpropagation."""

    name = "prob"
    options_type = ProbOptions
    distributional = True


class WideDeep(Perceptron):
    """A deep network beside a linear model of the same columns, learned by squared errors."""

    name = "wide_deep"
    options_type = WideDeepOptions
    skip = True
