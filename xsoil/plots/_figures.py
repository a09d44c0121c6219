"""Figures of one picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["new_axes", "settle"]


def new_axes(width: float, height: float) -> Axes:
    """Axes on a figure of their own, of a size in inches."""
    import matplotlib.pyplot as plt

    ax: Axes = plt.subplots(figsize=(width, height), layout="constrained")[1]
    return ax


def settle(ax: Axes) -> None:
    """Lay the figure out before it is drawn: the room for a bar beside a map is found by iteration."""
    figure: Any = ax.figure.figure
    engine = figure.get_layout_engine()
    before = ()
    for _ in range(6 if engine is not None else 0):
        engine.execute(figure)
        now = tuple(round(edge, 3) for edge in ax.get_position().bounds)
        if now == before:
            break
        before = now
