"""Scaling of the inputs of a network, learned from the training cells only; it travels with the network's weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xsoil.errors import ArgumentError
from xsoil.networks.samples import Cells, CellSource

__all__ = ["InputScaling"]

Tensor = torch.Tensor

# A channel whose deviation is below this share of its mean is noise in single precision.
_LEAST_SPREAD = 1e-6


class InputScaling(torch.nn.Module):
    """Brings every predictor to mean 0 and deviation 1, fills gaps and says where they were.

    A predictor that is constant in training becomes 0, a missing value too (the training mean). For each predictor
    with gaps in training one more channel holds 1 where the value is missing.

    Parameters
    ----------
    static, history : int
        Channels of static predictors and of series.
    """

    # Buffers of both kinds of input: <kind>_mean, _std, _log, _constant, _gaps.
    kinds = ("static", "history")

    def __init__(self, static: int, history: int = 0) -> None:
        super().__init__()
        for kind, channels in zip(self.kinds, (static, history), strict=True):
            self.register_buffer(f"{kind}_mean", torch.zeros(channels))
            self.register_buffer(f"{kind}_std", torch.ones(channels))
            for flag in ("log", "constant", "gaps"):
                self.register_buffer(f"{kind}_{flag}", torch.zeros(channels, dtype=torch.bool))

    @classmethod
    def fit(
        cls, source: CellSource, cells: Cells, *, log_static: Sequence[int] = (), log_history: Sequence[int] = ()
    ) -> InputScaling:
        """Learn the scaling in one pass over `cells`; the same bits for any blocks of the source.

        Parameters
        ----------
        source : CellSource
        cells : (n,) array of int
            The training cells.
        log_static, log_history : sequence of int
            Channels that are scaled on a logarithmic scale, on which values up to 0 are missing.

        Returns
        -------
        InputScaling

        Raises
        ------
        ArgumentError
            A predictor without any value in these cells, or cells without predictors.
        """
        wanted = np.unique(np.asarray(cells, np.intp))
        found: dict[str, list[NDArray[np.float64]]] = {"static": [], "history": []}
        order = []
        for block in source.blocks:
            own = block[np.isin(block, wanted)]
            if not own.size:
                continue
            sample = source.read(own)
            order.append(own)
            for kind, log in (("static", log_static), ("history", log_history)):
                array = getattr(sample, kind)
                if array is not None:
                    found[kind].append(_moments(_channels_first(np.asarray(array), kind), log))
        if not found["static"] and not found["history"]:
            raise ArgumentError(f"no predictors in {wanted.size} training cells; expected static ones or a history")
        if (there := sum(own.size for own in order)) != wanted.size:
            raise ArgumentError(f"{wanted.size - there} of {wanted.size} training cells are in no block of the source")
        # Moments are joined in the order of the cells, so that the order of the blocks does not show.
        position = np.argsort(np.concatenate(order), kind="stable")
        counts = {kind: parts[0].shape[2] if parts else 0 for kind, parts in found.items()}
        self = cls(counts["static"], counts["history"])
        for kind, log in (("static", log_static), ("history", log_history)):
            if found[kind]:
                self._set(kind, np.concatenate(found[kind], axis=1)[:, position], log)
        return self

    def _set(self, kind: str, moments: NDArray[np.float64], log: Sequence[int]) -> None:
        count, mean, square, size = moments
        total = count.sum(axis=0)
        if (total == 0).any():
            raise ArgumentError(
                f"{kind} predictors {np.flatnonzero(total == 0).tolist()} (counted from 0) have no value in any "
                "training cell; leave them out"
            )
        middle = (count * mean).sum(axis=0) / total
        spread = np.sqrt((square + count * (mean - middle) ** 2).sum(axis=0) / total)
        constant = spread <= _LEAST_SPREAD * np.abs(middle)
        logs = np.zeros(total.size, bool)
        logs[list(log)] = True
        values = {
            "mean": middle, "std": np.where(constant, 1.0, spread), "constant": constant,
            "gaps": total < size.sum(axis=0), "log": logs,
        }  # fmt: skip
        for name, value in values.items():
            buffer = getattr(self, f"{kind}_{name}")
            buffer.copy_(torch.as_tensor(value).to(buffer.dtype))

    @property
    def channels(self) -> tuple[int, int]:
        """Channels of the static predictors and of the series after scaling."""
        counts = [int(getattr(self, f"{kind}_gaps").sum()) + len(getattr(self, f"{kind}_gaps")) for kind in self.kinds]
        return counts[0], counts[1]

    def forward(self, static: Tensor | None, history: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """Scale static predictors (n, channels, ...) and series (n, days, channels)."""
        return (
            None if static is None else self._scaled(static, "static", 1),
            None if history is None else self._scaled(history, "history", history.ndim - 1),
        )

    def _scaled(self, x: Tensor, kind: str, axis: int) -> Tensor:
        flags: dict[str, Any] = {
            name: getattr(self, f"{kind}_{name}") for name in ("mean", "std", "log", "constant", "gaps")
        }
        if x.shape[axis] != len(flags["mean"]):
            raise ArgumentError(
                f"{kind} predictors of shape {tuple(x.shape)}; expected {len(flags['mean'])} channels, as in training"
            )
        shape = [1] * x.ndim
        shape[axis] = -1
        if flags["log"].any():
            x = torch.where(flags["log"].reshape(shape), torch.log(x), x)
        there = torch.isfinite(x)
        scaled = (x - flags["mean"].reshape(shape)) / flags["std"].reshape(shape)
        scaled = torch.where(there & ~flags["constant"].reshape(shape), scaled, torch.zeros_like(scaled))
        scaled = scaled.to(flags["mean"].dtype)
        if flags["gaps"].any():
            missing = (~there).index_select(axis, flags["gaps"].nonzero().flatten())
            scaled = torch.cat([scaled, missing.to(scaled.dtype)], dim=axis)
        return scaled

    def complete(self, static: Tensor | None, history: Tensor | None) -> Tensor:
        """Cells (n,) that have what a prediction needs: of each predictor one value, unless it had gaps in training."""
        found = []
        for x, kind, axis in ((static, "static", 1), (history, "history", -1)):
            if x is None:
                continue
            known, log = torch.isfinite(x), getattr(self, f"{kind}_log")
            if log.any():
                shape = [1] * x.ndim
                shape[axis] = -1
                known &= (x > 0) | ~log.reshape(shape)
            there = known.movedim(axis, 1).flatten(2) if x.ndim > 2 else known[:, :, None]
            has = there.any(dim=2)
            found.append((has | getattr(self, f"{kind}_gaps")).all(dim=1) & has.any(dim=1))
        if not found:
            raise ArgumentError("neither static predictors nor a history; expected one of them at least")
        return torch.stack(found).all(dim=0)


def _channels_first(array: NDArray[Any], kind: str) -> NDArray[Any]:
    """As (n, channels, values)."""
    if kind == "history":
        return np.ascontiguousarray(np.moveaxis(array, -1, 1))
    return array.reshape(*array.shape[:2], -1)


def _moments(x: NDArray[Any], log: Sequence[int]) -> NDArray[np.float64]:
    """Count, mean, sum of squares about it and size, each (n, channels), of finite values (n, channels, values)."""
    x = x.astype(np.float64)
    if log:
        with np.errstate(all="ignore"):
            x[:, list(log)] = np.log(x[:, list(log)])
    there = np.isfinite(x)
    x[~there] = 0.0
    count = there.sum(axis=-1).astype(np.float64)
    mean = x.sum(axis=-1) / np.maximum(count, 1.0)
    square = (np.where(there, x - mean[..., None], 0.0) ** 2).sum(axis=-1)
    return np.stack([count, mean, square, np.full_like(count, x.shape[-1])])
