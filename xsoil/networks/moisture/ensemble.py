"""Members of one kind, each trained with other weights, as one model: their mean, and how far they are apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.networks.description import digest
from xsoil.networks.moisture.inputs import Inputs, Targets
from xsoil.networks.moisture.kind import Kind

__all__ = ["Ensemble", "balanced_weights"]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Fitted members of one kind that read the same inputs.

    Attributes
    ----------
    members : mapping of str to Kind
        One at least, by name.
    """

    members: Mapping[str, Kind]

    @property
    def first(self) -> Kind:
        return next(iter(self.members.values()))

    @property
    def inputs(self) -> Inputs:
        return self.first.inputs

    @property
    def targets(self) -> Targets:
        return self.first.targets

    @property
    def has_std(self) -> bool:
        """Whether a prediction has a standard deviation: that of the kind, or the spread of members."""
        return self.first.distributional or len(self.members) > 1

    def rows(self, *, members: bool) -> int:
        """Arrays that a prediction has of each target: mean, standard deviation where there is one, members."""
        return 1 + self.has_std + (len(self.members) if members else 0)

    def predict(self, block: NDArray[np.float32], *, members: bool = False) -> dict[str, NDArray[np.float32]]:
        """Predict a block, of kinds without a state; see `Kind.predict` and `joined`."""
        return self.joined([member.predict(block) for member in self.members.values()], members=members)

    def joined(self, found: Sequence[Mapping[str, Any]], *, members: bool) -> dict[str, NDArray[np.float32]]:
        """One prediction from those of all members.

        Returns
        -------
        dict
            "mean" (..., t); "std" where `has_std`: the root of the mean variance of the members and the variance of
            their means; with `members` also "members" (member, ..., t).
        """
        means = [one["mean"] for one in found]
        if len(means) == 1:
            out: dict[str, NDArray[np.float32]] = {n: found[0][n] for n in ("mean", "std") if n in found[0]}
        else:
            total = np.zeros(means[0].shape)
            square = np.zeros_like(total)
            for one in means:
                total += one
            total /= len(means)
            for one in found:
                square += (one["mean"] - total) ** 2
                if "std" in one:
                    square += one["std"].astype(np.float64) ** 2
            out = {"mean": total.astype(np.float32), "std": np.sqrt(square / len(means)).astype(np.float32)}
        return out | {"members": np.stack(means)} if members else out

    def table(self, found: Sequence[Mapping[str, Any]], *, members: bool) -> NDArray[np.float32]:
        """What `joined` gives as one array (t x rows, ...): mean, deviation and members of each target."""
        parts = self.joined(found, members=members)
        rows = [parts["mean"], *([parts["std"]] if self.has_std else []), *parts.get("members", ())]
        table = np.stack([np.moveaxis(row, -1, 0) for row in rows], axis=1)
        return table.reshape(-1, *table.shape[2:])

    def token(self) -> str:
        """What tells it from others."""
        return digest(self.describe(), self.arrays())[:32]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All members' arrays."""
        found = {}
        for number, member in enumerate(self.members.values()):
            found.update({f"{number}.{name}": array for name, array in member.arrays().items()})
        return found

    def describe(self) -> dict[str, Any]:
        """All else, as plain JSON."""
        return {
            "inputs": self.inputs.describe(), "targets": self.targets.describe(),
            "members": [{"name": name} | member.description() for name, member in self.members.items()],
        }  # fmt: skip

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], description: Mapping[str, Any]) -> Ensemble:
        """From what `arrays` and `describe` gave."""
        from xsoil.networks.moisture.kinds import KINDS  # some kinds load torch, which a prediction may not need

        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise ArgumentError(f"the array {name!r} holds values that are no numbers: the model is damaged")
        try:
            inputs = Inputs.from_description(description["inputs"])
            targets = Targets.from_description(description["targets"])
            rows = list(description["members"])
            members: dict[str, Kind] = {}
            for number, row in enumerate(rows):
                if row["kind"] not in KINDS:
                    raise UnknownNameError.of("kind of soil-moisture model", row["kind"], KINDS)
                prefix = f"{number}."
                own = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
                members[row["name"]] = KINDS[row["kind"]].from_arrays(own, row, inputs, targets)
        except (KeyError, TypeError) as error:
            raise ArgumentError(f"the description of the model is damaged ({error})") from error
        if not members or len(members) != len(rows):
            raise ArgumentError(f"the model has {len(rows)} members of {len(members)} names; expected one at least")
        return cls(members)


def balanced_weights(values: NDArray[Any], *, continuous: bool, bins: int = 10) -> NDArray[np.float32]:
    """Weights that make every class of a variable count as much as any other [1]_.

    w = n / (classes x n_i) for each of the n_i rows of class i; their mean is 1. Missing values are a class of their
    own.

    Parameters
    ----------
    values : (n,) array
    continuous : bool
        Numbers are put into `bins` of equal width between the lowest and the highest; empty ones do not count.
    bins : int

    References
    ----------
    .. [1] Poehls et al. (2025), J. Hydrol. 132624, sec. 3.2.
    """
    values = np.asarray(values, np.float64)
    there = np.isfinite(values)
    codes = np.full(values.size, -1)
    if continuous and there.any():
        low, high = values[there].min(), values[there].max()
        width = (high - low) / bins or 1.0
        codes[there] = np.minimum(((values[there] - low) / width).astype(int), bins - 1)
    elif there.any():
        codes[there] = np.unique(values[there], return_inverse=True)[1]
    _, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    return np.asarray(values.size / (counts.size * counts[inverse]), np.float32)
