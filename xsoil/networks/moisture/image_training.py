"""Training of convolutional models on tiles of daily maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from xsoil.errors import ArgumentError
from xsoil.networks.learning import Learner
from xsoil.networks.moisture.conv_network import ConvLstmNetwork
from xsoil.networks.moisture.kind import Samples
from xsoil.networks.samples import Cells, Sample

if TYPE_CHECKING:
    from xsoil.networks.moisture.conv_lstm import ConvLstmOptions
    from xsoil.networks.moisture.inputs import Inputs, Targets

__all__ = ["ImageLearner", "TileSource", "window"]

Tensor = torch.Tensor

# Least variance of a batch that a correlation is taken of, in scaled units.
_LEAST_VARIANCE = 1e-8
# Tiles that are read together.
_BLOCK = 256


class TileSource:
    """Tiles of daily maps with the days before, as the cells of a source: every tile and day that has a target.

    Parameters
    ----------
    parts : sequence of Samples
        Images (days, rows, columns, ...) of the training, and of the validation; numbers go on from part to part.
    inputs, targets : Inputs, Targets
    options : ConvLstmOptions
    """

    def __init__(self, parts: Sequence[Samples], inputs: Inputs, targets: Targets, options: ConvLstmOptions) -> None:
        self._options, self._names = options, targets.names
        self._encoded = [np.moveaxis(inputs.encode(part.x), -1, 1) for part in parts]
        self._scaled = [scaled(part.y, targets) for part in parts]
        self._weights = [np.ones(len(part)) if part.weights is None else part.weights for part in parts]
        rows = [self._tiles(number) for number in range(len(parts))]
        self.counts = [len(found) for found in rows]
        self._rows = np.concatenate(rows)
        if not self.counts[0]:
            raise ArgumentError("no day has a target and all days of the look-back before it; expected longer series")

    def _tiles(self, part: int) -> NDArray[np.intp]:
        """Part, day, first row and first column of every tile with a target."""
        y, size = self._scaled[part], self._options.patch
        found = []
        for row in range(0, y.shape[1], size):
            for column in range(0, y.shape[2], size):
                tile = y[:, row : row + size, column : column + size]
                there = np.isfinite(tile).any(axis=(1, 2, 3)) & (self._weights[part] > 0)
                there[: self._options.look_back - 1] = False
                days = np.flatnonzero(there)
                same = np.ones_like(days)
                found.append(np.column_stack([part * same, days, row * same, column * same]))
        return np.concatenate(found).astype(np.intp)

    def __len__(self) -> int:
        return len(self._rows)

    @cached_property
    def blocks(self) -> Sequence[Cells]:
        """See `CellSource`."""
        return [np.arange(i, min(i + _BLOCK, len(self))) for i in range(0, len(self), _BLOCK)]

    def read(self, cells: Cells) -> Sample:
        """See `CellSource`; observations are (rows, columns, n), NaN in the context around a tile."""
        options = self._options
        side, wide = options.patch, options.patch + 2 * options.context
        channels = self._encoded[0].shape[1]
        history = np.zeros((len(cells), options.look_back, channels, wide, wide), np.float32)
        inside = np.zeros((1, wide, wide, len(cells)), np.float32)
        observed = np.full((len(self._names), wide, wide, len(cells)), np.nan, np.float32)
        weight = np.empty(len(cells), np.float32)
        inner = slice(options.context, options.context + side)
        for n, (part, day, row, column) in enumerate(self._rows[cells]):
            images, y = self._encoded[part][day + 1 - options.look_back : day + 1], self._scaled[part][day]
            cut, place = window(y.shape[:2], (row - options.context, column - options.context), wide)
            history[n][(slice(None), slice(None), *place)] = images[(slice(None), slice(None), *cut)]
            inside[(0, *place, n)] = 1.0
            tile = y[row : row + side, column : column + side]
            own = observed[:, inner, inner, n]
            own[:, : tile.shape[0], : tile.shape[1]] = np.moveaxis(tile, -1, 0)
            weight[n] = self._weights[part][day]
        return Sample(
            np.asarray(cells), history=history, observed=dict(zip(self._names, observed, strict=True)),
            known={"inside": inside, "weight": weight},
        )  # fmt: skip


def scaled(y: NDArray[Any], targets: Targets) -> NDArray[np.float32]:
    """Targets by the mean and deviation of the first one, whose scale the output has."""
    return np.asarray((np.asarray(y, np.float64) - targets.mean[0]) / targets.sd[0], np.float32)


def window(
    shape: tuple[int, ...], first: tuple[int, int], size: int | tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of a map that a window covers, and where in the window it is."""
    sizes = size if isinstance(size, tuple) else (size, size)
    cut, place = [], []
    for total, start, length in zip(shape, first, sizes, strict=True):
        low, high = max(start, 0), min(start + length, total)
        cut.append(slice(low, max(high, low)))
        place.append(slice(low - start, max(high, low) - start))
    return (cut[0], cut[1]), (place[0], place[1])


class ImageLearner(Learner):
    """The network with the loss a RMSE + b (1 - R^2), over all cells of a batch [1]_.

    The root mean square error is that of the first target, the squared correlation that with the last one; both are
    functions of sums, so that the loss of an epoch is that of all its cells.

    References
    ----------
    .. [1] Rabiei et al. (2024), preprints 202412.1356, eq. 8.
    """

    def __init__(self, channels: int, targets: tuple[str, ...], options: ConvLstmOptions) -> None:
        super().__init__()
        self.targets, self.options = targets, options
        self.network = ConvLstmNetwork(
            channels, options.filters, kernel=options.kernel, attention=options.attention, window=options.window,
            dropout=options.dropout, depthwise=options.depthwise,
        )  # fmt: skip

    def enough(self, variable: str) -> int:
        """See `Learner`."""
        return 1

    def places(self, sample: Sample) -> int:
        """See `Learner`."""
        history: Any = sample.history
        return int(history.shape[1] * history.shape[-1] * history.shape[-2])

    def costs(self, sample: Sample) -> dict[str, tuple[Tensor, Tensor]]:
        """See `Learner`: the sums that the loss is a function of, of each tile, and how many cells they are of."""
        history: Any = sample.history
        inside = sample.known["inside"].permute(3, 0, 1, 2)
        found = self.network(history, inside)
        weight = sample.known["weight"]
        sums: dict[str, tuple[Tensor, Tensor]] = {}
        for name, parts in (
            (self.targets[0], ("square",)),
            (self.targets[-1], ("found", "observed", "found2", "observed2", "product")),
        ):
            observed = sample.observed[name].permute(2, 0, 1)
            valid = torch.isfinite(observed)
            count = valid.sum(dim=(1, 2)) * weight
            y = torch.where(valid, observed, torch.zeros_like(observed))
            x = torch.where(valid, found, torch.zeros_like(found))
            values = {"square": (x - y) ** 2, "found": x, "observed": y}
            values |= {"found2": x * x, "observed2": y * y, "product": x * y}
            sums |= {part: (values[part].sum(dim=(1, 2)) * weight, count) for part in parts}
        return sums

    def total(self, means: Mapping[str, Any]) -> Any:
        """See `Learner`."""
        m = {name: torch.as_tensor(mean) for name, mean in means.items()}
        whole: Any = 0.0
        if "square" in m:
            whole = whole + self.options.alpha * torch.sqrt(m["square"] + 1e-12)
        if "product" in m and self.options.beta:
            covariance = m["product"] - m["found"] * m["observed"]
            spread = (m["found2"] - m["found"] ** 2).clamp(min=_LEAST_VARIANCE)
            spread = spread * (m["observed2"] - m["observed"] ** 2).clamp(min=_LEAST_VARIANCE)
            # A negative correlation is no better than none.
            whole = whole + self.options.beta * (1.0 - covariance.clamp(min=0.0) ** 2 / spread)
        return whole

    def describe(self) -> dict[str, Any]:
        """See `Learner`."""
        return {"targets": list(self.targets), "options": self.options.describe()}
