"""What every kind of soil-moisture model is: fitted to samples, asked for blocks, kept as arrays and plain JSON."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.networks.moisture.inputs import Inputs, Targets

if TYPE_CHECKING:
    from xsoil.networks.training import History

__all__ = ["Kind", "Layout", "Options", "Record", "Samples"]

Layout = Literal["rows", "series", "images"]
K = TypeVar("K", bound="Kind")

_LOSSES = ("train", "validation", "seconds")


@dataclass(frozen=True, eq=False)
class Samples:
    """What a model learns from.

    Attributes
    ----------
    x : array
        Raw predictors, float32, NaN = missing, classes as their codes: rows (n, p), series (cells, days, p), images
        (days, rows, columns, p).
    y : array
        Targets in their units, float32, NaN anywhere: the same shape with t targets in place of p predictors.
    weights : (n,) array, optional
        Of the rows (cells, days); 0 leaves one out. None: all weigh 1.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    weights: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.x.shape[:-1] != self.y.shape[:-1]:
            raise ArgumentError(f"predictors of shape {self.x.shape} and targets of shape {self.y.shape} do not fit")
        if self.weights is not None and self.weights.shape != self.x.shape[:1]:
            raise ArgumentError(f"weights of shape {self.weights.shape}; expected ({self.x.shape[0]},)")

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: NDArray[Any]) -> Samples:
        """Those at these positions (or where a mask is True)."""
        return Samples(self.x[rows], self.y[rows], None if self.weights is None else self.weights[rows])


@dataclass(frozen=True)
class Options:
    """Options of a kind: a frozen dataclass of plain JSON values, checked in `__post_init__`."""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Any:
        """From keywords; unknown ones are named."""
        known = [f.name for f in fields(cls)]
        for name in given:
            if name not in known:
                raise UnknownNameError.of("option of this kind", name, known)
        try:
            return cls(**{name: _plain(value) for name, value in given.items()})
        except TypeError as error:
            usual = ", ".join(f"{f.name}={f.default!r}" for f in fields(cls) if f.name in given)
            raise ArgumentError(f"options {dict(given)}: {error}; expected values such as {usual}") from error

    def describe(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)

    def _require_counts(self, **least: int) -> None:
        """Raise where one of these is no whole number of at least so much."""
        for name, fewest in least.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < fewest:
                raise ArgumentError(f"{name}={value!r}; expected a whole number of {fewest} or more")

    def _require_shares(self, *names: str) -> None:
        """Raise where one of these is no share that may be dropped."""
        for name in names:
            if not 0 <= getattr(self, name) < 1:
                raise ArgumentError(f"{name}={getattr(self, name)}; expected 0 or more and below 1")


@dataclass(frozen=True)
class Record:
    """How a training went: losses of every epoch (empty for forests), and which epoch's weights are kept."""

    train: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    best_epoch: int = 0
    stopped: str = ""

    @classmethod
    def of(cls, history: History) -> Record:
        """What is kept of the history of a training."""
        return cls(**{f.name: getattr(history, f.name) for f in fields(cls)})


def _plain(value: Any) -> Any:
    """As a frozen dataclass and JSON have it."""
    if isinstance(value, np.generic):
        return value.item()
    return tuple(value) if isinstance(value, list) else value


class Kind(ABC):
    """One kind of soil-moisture model; an instance is one member of an ensemble, before or after its training.

    Parameters
    ----------
    options : Options, optional
        Of the class `options_type`; its defaults if not given.

    Attributes
    ----------
    name : str
        As `fit_moisture_model(kind=...)` has it.
    layout : {"rows", "series", "images"}
        Shape of its samples and blocks, see `Samples`.
    options_type : type of Options
    distributional : bool
        Gives a standard deviation beside the mean.
    most_targets : int
        How many targets it can learn together.
    inputs, targets : Inputs, Targets
        Set by `fit` and `from_arrays`.
    """

    name: ClassVar[str]
    layout: ClassVar[Layout] = "rows"
    options_type: ClassVar[type[Options]] = Options
    distributional: ClassVar[bool] = False
    most_targets: ClassVar[int] = 1
    inputs: Inputs
    targets: Targets

    def __init__(self, options: Any = None) -> None:
        self.options: Any = self.options_type() if options is None else options
        if not isinstance(self.options, self.options_type):
            raise ArgumentError(
                f"options {options!r} of kind {self.name!r}; expected {self.options_type.__name__}(...)"
            )
        self.record = Record()

    def __getstate__(self) -> dict[str, Any]:
        """What is sent to others: without `_networks`, which some kinds make from their arrays when they first run."""
        return {name: value for name, value in self.__dict__.items() if name != "_networks"}

    @property
    def halo(self) -> int:
        """Cells around a block that its prediction needs (images)."""
        return 0

    @property
    def state_shape(self) -> tuple[int, ...]:
        """Of the state of a cell, where `predict` takes and gives one, so that time may come in blocks (series)."""
        return ()

    @abstractmethod
    def fit(
        self: K,
        samples: Samples,
        *,
        inputs: Inputs,
        targets: Targets,
        validation: Samples | None = None,
        seed: int = 0,
        progress: bool = False,
    ) -> K:
        """Learn from `samples`, watch `validation`, keep the best weights; gives itself back.

        Rows (cells, days) without any target, or of weight 0, are not looked at. The same arguments give the same bits.
        """

    @abstractmethod
    def predict(self, block: NDArray[np.float32], **state: Any) -> dict[str, Any]:
        """Predict a block of raw predictors (shaped as `Samples.x`).

        Returns
        -------
        dict
            "mean" (..., t) float32 in the targets' units, NaN where predictors are missing that are needed; "std" the
            same for kinds that give one; "state" where there is one.
        """

    @abstractmethod
    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that was learned, as arrays for safetensors."""

    def description(self) -> dict[str, Any]:
        """All else, as plain JSON."""
        record = asdict(self.record)
        for name in _LOSSES:  # JSON has no word for what is no number
            record[name] = [value if math.isfinite(value) else None for value in record[name]]
        return {"kind": self.name, "options": self.options.describe(), "record": record}

    @classmethod
    def described(cls: type[K], description: Mapping[str, Any], inputs: Inputs, targets: Targets) -> K:
        """A member as `description` gave it, still without its arrays; raises ArgumentError where it is damaged."""
        try:
            self = cls(cls.options_type.of(description["options"]))
            record = dict(description["record"])
            for name in _LOSSES:
                record[name] = [math.nan if value is None else float(value) for value in record[name]]
            self.record = Record(**record)
            if not len(self.record.train) == len(self.record.validation) == len(self.record.seconds):
                raise ValueError("losses of different numbers of epochs")
        except (KeyError, TypeError, ValueError) as error:
            raise ArgumentError(f"the description of a model of kind {cls.name!r} is damaged: {error}") from error
        self.inputs, self.targets = inputs, targets
        return self

    @classmethod
    @abstractmethod
    def from_arrays(
        cls: type[K],
        arrays: Mapping[str, NDArray[Any]],
        description: Mapping[str, Any],
        inputs: Inputs,
        targets: Targets,
    ) -> K:
        """From what `arrays` and `description` gave; raises ArgumentError where they do not fit together."""
