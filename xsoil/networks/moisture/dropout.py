"""Networks of torch beside which copies run that lack what training dropped (Monte Carlo dropout)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.networks.loop import SCHEDULES
from xsoil.networks.moisture.inputs import Inputs, Targets
from xsoil.networks.moisture.kind import Kind, Options, Record
from xsoil.networks.training import History

__all__ = ["DropoutKind", "DropoutOptions"]

D = TypeVar("D", bound="DropoutKind")
Floats = NDArray[np.float32]


class DropoutOptions(Options):
    """Options with `mc_members`, `epochs`, `schedule` and shares that training drops."""

    mc_members: int
    schedule: str

    def _check_training(self, *shares: str, **counts: int) -> None:
        """Raise where these shares, these counts (with the least that they may be) or the schedule are not possible."""
        self._require_shares(*shares)
        self._require_counts(mc_members=0, epochs=1, **counts)
        if self.mc_members and not any(getattr(self, name) for name in shares):
            raise ArgumentError(
                f"mc_members={self.mc_members} without dropout, so that all would be alike; expected dropout above 0"
            )
        if self.schedule not in SCHEDULES:
            raise UnknownNameError.of("schedule", self.schedule, SCHEDULES)


class DropoutKind(Kind):
    """A kind whose standard deviation holds the spread of `mc_members` copies (Gal & Ghahramani 2016) [1]_.

    Copies lack the same units everywhere and on all days, as their seed says, so that predictions do not depend on
    how they are cut.

    References
    ----------
    .. [1] Gal & Ghahramani (2016), Proceedings of Machine Learning Research 48, 1050-1059.
    """

    distributional: ClassVar[bool] = True
    spread: ClassVar[str]
    """Attribute, and name among the arrays, of what the errors of each target say beside the copies."""

    weights: dict[str, Floats]
    """What the network learned."""
    seed: int

    def _keep(self, weights: Mapping[str, Floats], history: History, seed: int) -> None:
        """What a training gave."""
        self.weights, self.record, self.seed = dict(weights), Record.of(history), seed
        self.__dict__.pop("_networks", None)

    @cached_property
    def _networks(self) -> list[Any]:
        """The whole network, and those that lack what was dropped, as they run."""
        members = (np.random.default_rng([self.seed, member]) for member in range(self.options.mc_members))
        return [self._running(weights) for weights in (self.weights, *map(self._dropped, members))]

    @abstractmethod
    def _running(self, weights: dict[str, Floats]) -> Any:
        """The network of these weights."""

    @abstractmethod
    def _dropped(self, rng: np.random.Generator) -> dict[str, Floats]:
        """The weights of a copy."""

    @abstractmethod
    def _shapes(self, elements: int) -> dict[str, tuple[int, ...]]:
        """Of the weights; raises where the options tell of more than so many elements, before any are made."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """See `Kind`."""
        return {**self.weights, self.spread: getattr(self, self.spread)}

    def description(self) -> dict[str, Any]:
        """See `Kind`."""
        return {**super().description(), "seed": self.seed}

    @classmethod
    def from_arrays(
        cls: type[D],
        arrays: Mapping[str, NDArray[Any]],
        description: Mapping[str, Any],
        inputs: Inputs,
        targets: Targets,
    ) -> D:
        """See `Kind`."""
        self = cls.described(description, inputs, targets)
        try:
            self.seed = int(description["seed"])
        except (KeyError, TypeError, ValueError) as error:
            raise ArgumentError(f"the description of a model of kind {cls.name!r} is damaged: {error}") from error
        expected = self._shapes(sum(array.size for array in arrays.values()))
        expected[cls.spread] = (len(targets.names),)
        if (found := {name: array.shape for name, array in arrays.items()}) != expected:
            differing = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
            told = {name: found.get(name) for name in differing[:3]}
            needed = {name: expected.get(name) for name in differing[:3]}
            raise ArgumentError(
                f"arrays of shapes {told} are not those of this model of kind {cls.name!r}; "
                f"expected {needed}: the model is damaged"
            )
        self.weights = {name: np.array(array, np.float32) for name, array in arrays.items()}
        setattr(self, cls.spread, self.weights.pop(cls.spread))
        return self
