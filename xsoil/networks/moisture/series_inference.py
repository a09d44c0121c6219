"""A trained LSTM run forward over blocks of cells."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from xsoil.kernels.recurrent import LANES, UNROLLED, run_lstm

__all__ = ["RunningLstm", "lanes_of"]

Floats = NDArray[np.float32]


class RunningLstm:
    """A network of these weights (named as in `MultitaskLstm.weights`) as the kernel has it: filled up with zeros."""

    def __init__(self, weights: Mapping[str, Floats]) -> None:
        self._first = _filled(weights["first"], 1, UNROLLED), np.ascontiguousarray(weights["first_bias"])
        gates = np.concatenate([weights["inwards"], weights["recurrent"]], axis=1)
        self._gates = np.ascontiguousarray(gates), weights["inwards_bias"] + weights["recurrent_bias"]
        self._last = _filled(weights["last"], 0, 2), _filled(weights["last_bias"], 0, 2)

    def run(self, channels: Floats, state: Floats) -> Floats:
        """Outputs (cells, days, outputs) of a block; `state` (cells, 2, h) is continued in place."""
        lanes = np.zeros((*state.shape[1:], LANES), np.float32)
        lanes[..., : len(state)] = state.transpose(1, 2, 0)
        out = np.empty((len(channels), len(self._last[1]), LANES), np.float32)
        run_lstm(  # type: ignore[no-untyped-call]
            channels, *self._first, *self._gates, *self._last, lanes, out
        )
        state[:] = lanes[..., : len(state)].transpose(2, 0, 1)
        return out[..., : len(state)].transpose(2, 0, 1)


def _filled(array: Floats, axis: int, multiple: int) -> Floats:
    missing = -array.shape[axis] % multiple
    width = [(0, missing if i == axis else 0) for i in range(array.ndim)]
    return np.ascontiguousarray(np.pad(array, width))


def lanes_of(encoded: Floats) -> Floats:
    """(cells, days, channels) as (days, channels, LANES)."""
    cells, days, channels = encoded.shape
    out = np.zeros((days, channels + -channels % UNROLLED, LANES), np.float32)
    out[:, :channels, :cells] = encoded.transpose(1, 2, 0)
    return out
