"""Regression forests over many cells: every tree is walked by a block of cells while it is in the cache."""

from __future__ import annotations

from typing import Any

from xsoil.jit import kernel

__all__ = ["forest_mean"]

BLOCK = 512
"""Cells that walk a tree together."""


@kernel
def forest_mean(
    x: Any, roots: Any, features: Any, thresholds: Any, left: Any, right: Any, values: Any, out: Any
) -> None:
    """Mean over the trees.

    Parameters
    ----------
    x : (n, columns) array of float32
        Finite.
    roots : (trees,) array of int64
        First node of each tree.
    features : (nodes,) array of int16
        Column that a node asks for; negative for leaves.
    thresholds : (nodes,) array of float32
        Values up to it go left.
    left, right : (nodes,) array of int32
        Nodes to go on with.
    values : (nodes,) array of float64
        Of leaves.
    out : (n,) array of float64
        Filled with the mean, trees added in their order.
    """
    for start in range(0, len(x), BLOCK):
        stop = min(start + BLOCK, len(x))
        out[start:stop] = 0.0
        for tree in range(roots.size):
            for i in range(start, stop):
                node = roots[tree]
                while features[node] >= 0:
                    node = left[node] if x[i, features[node]] <= thresholds[node] else right[node]
                out[i] += values[node]
        for i in range(start, stop):
            out[i] /= roots.size
