"""The ways to fill gaps, on blocks of cells with all their times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xsoil.verbs._gap_model import GapModel

__all__ = ["Cosine", "Linear", "Recurrent", "Way", "fill_block"]


def fill_block(
    way: Way, days: np.ndarray, widest: float, ends: bool, limits: tuple[float, float] | None,
    series: Sequence[np.ndarray], maps: Sequence[np.ndarray], state: Any, *, skip: int, workers: int,
) -> tuple[list[np.ndarray], tuple[()]]:  # fmt: skip
    """All times of one block of cells, for `scan_time`."""
    from xsoil.kernels.gaps import interpolate

    shape = np.broadcast_shapes(*(array.shape for array in series))
    values, *predictors = (np.ascontiguousarray(np.broadcast_to(a, shape)).reshape(shape[0], -1) for a in series)
    there = np.isfinite(values)
    if way.sideways:
        # Neighbours stand in for the observations before and after; cells that are never observed stay missing.
        lines, filled = values, (~there & there.any(axis=0) & _near(there, days, widest)).astype(np.uint8)
    else:
        lines, filled = interpolate(values, days, widest=widest, ends=ends, workers=workers)
    found, spread = way(values, lines, predictors, days, shape, workers)
    if limits is not None:
        found = np.clip(found, *limits)
    filled &= np.isfinite(found)
    out = np.where(filled.astype(bool), found, np.where(there, values, np.nan)).astype(values.dtype)
    deviation = np.where(filled.astype(bool), spread, np.nan).astype(values.dtype)
    return [array.reshape(shape) for array in (out, filled, deviation)], ()


def _near(there: np.ndarray, days: np.ndarray, widest: float) -> np.ndarray:
    """Missing values in gaps of at most `widest` days, those at the ends by the distance of the nearest observation."""
    before = np.maximum.accumulate(np.where(there, days[:, None], -np.inf), axis=0)
    after = np.minimum.accumulate(np.where(there, days[:, None], np.inf)[::-1], axis=0)[::-1]
    inside = np.isfinite(before) & np.isfinite(after)
    gap = np.where(inside, after - before, np.minimum(days[:, None] - before, after - days[:, None]))
    found: np.ndarray = gap <= widest
    return found


@dataclass(frozen=True)
class Way:
    """A way to fill: values (time, cells) and their standard deviations at all times."""

    sideways = False

    def __call__(
        self, values: np.ndarray, lines: np.ndarray, predictors: list[np.ndarray], days: np.ndarray,
        shape: tuple[int, ...], workers: int,
    ) -> tuple[np.ndarray, np.ndarray | float]:  # fmt: skip
        return lines, np.nan

    def describe(self) -> str:
        raise NotImplementedError


class Linear(Way):
    def describe(self) -> str:
        return "linear interpolation in time"


@dataclass(frozen=True)
class Cosine(Way):
    smoothness: float | None
    order: int
    robust: bool
    at: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def sideways(self) -> bool:  # type: ignore[override]
        return self.axes != (0,)

    def __call__(
        self, values: np.ndarray, lines: np.ndarray, predictors: list[np.ndarray], days: np.ndarray,
        shape: tuple[int, ...], workers: int,
    ) -> tuple[np.ndarray, np.ndarray | float]:  # fmt: skip
        at = np.array(self.at)
        options: dict[str, Any] = {"penalty": self.smoothness, "order": self.order, "robust": self.robust}
        if not self.sideways:
            from xsoil.kernels.gaps import smooth

            found, spread, _ = smooth(
                values, at, penalty=self.smoothness, order=self.order, robust=self.robust, workers=workers
            )
            return found, spread
        from xsoil.kernels.cosine_smoothing import smooth_field

        # Dims that are not smoothed come first, and each of their places is a field of its own.
        whole = np.full((at[-1] + 1, *shape[1:]), np.nan)
        whole[at] = values.reshape(shape)
        moved = np.moveaxis(whole, self.axes, range(-len(self.axes), 0))
        fields = moved.reshape(-1, *moved.shape[-len(self.axes) :])
        smoothed = np.stack([smooth_field(f, **options)[0] for f in fields])
        back = np.moveaxis(smoothed.reshape(moved.shape), range(-len(self.axes), 0), self.axes)
        return back[at].reshape(values.shape), np.nan

    def describe(self) -> str:
        chosen = "generalised cross-validation" if self.smoothness is None else f"s = {self.smoothness:g}"
        chosen = f"order {self.order}, {chosen}"
        where = "time and space" if self.sideways else "time"
        return f"DCT penalised least squares in {where}, {chosen}{', robust' if self.robust else ''}"


@dataclass(frozen=True)
class Recurrent(Way):
    model: GapModel

    def __call__(
        self, values: np.ndarray, lines: np.ndarray, predictors: list[np.ndarray], days: np.ndarray,
        shape: tuple[int, ...], workers: int,
    ) -> tuple[np.ndarray, np.ndarray | float]:  # fmt: skip
        return self.model.fill(values, days, predictors)

    def describe(self) -> str:
        return "Continuous Recurrent Units" + (
            f" with {', '.join(self.model.predictors)}" if self.model.predictors else ""
        )
