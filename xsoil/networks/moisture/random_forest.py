"""The kind "random_forest": grown by scikit-learn, kept as arrays, walked by a compiled kernel with the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xsoil.errors import ArgumentError
from xsoil.networks.moisture.inputs import Inputs, Targets
from xsoil.networks.moisture.kind import Kind, Options, Samples

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestRegressor  # type: ignore[import-untyped]

__all__ = ["RandomForest", "RandomForestOptions"]

# Arrays of a forest and their types; the first is of its trees, the others of all their nodes.
_ARRAYS = {
    "roots": "int64", "features": "int16", "thresholds": "float32", "left": "int32", "right": "int32",
    "values": "float64",
}  # fmt: skip

# Cells whose columns are in memory at once.
_TOGETHER = 65536


@dataclass(frozen=True)
class RandomForestOptions(Options):
    """Options of the kind "random_forest", those of scikit-learn's `RandomForestRegressor`.

    Attributes
    ----------
    trees : int
    max_depth : int, optional
    min_samples_leaf : int
    max_features : float
        Share of the columns that are tried at a node.
    max_samples : float, optional
        Share of the rows that a tree is grown from; by default as many as there are, drawn with replacement.
    """

    trees: int = 100
    max_depth: int | None = None
    min_samples_leaf: int = 5
    max_features: float = 1.0
    max_samples: float | None = None

    def __post_init__(self) -> None:
        if self.trees < 1 or self.min_samples_leaf < 1 or not 0 < self.max_features <= 1:
            raise ArgumentError(
                f"trees={self.trees}, min_samples_leaf={self.min_samples_leaf}, max_features={self.max_features}; "
                "expected 1 or more, 1 or more, and a share above 0 and up to 1"
            )


class RandomForest(Kind):
    """A random forest (Breiman 2001) of rows."""

    name = "random_forest"
    options_type = RandomForestOptions

    def fit(
        self,
        samples: Samples,
        *,
        inputs: Inputs,
        targets: Targets,
        validation: Samples | None = None,
        seed: int = 0,
        progress: bool = False,
    ) -> RandomForest:
        """See `Kind.fit`; the validation rows are not used, nor a bar of progress."""
        from sklearn.ensemble import RandomForestRegressor

        self.inputs, self.targets = inputs, targets
        rows = np.isfinite(samples.y[:, 0])
        if samples.weights is not None:
            rows &= samples.weights > 0
        used = samples.take(rows)
        if not len(used):
            raise ArgumentError("no row of the training has a target and a weight; look at split, masks and weights")
        options = self.options
        forest = RandomForestRegressor(
            options.trees, max_depth=options.max_depth, min_samples_leaf=options.min_samples_leaf,
            max_features=options.max_features, max_samples=options.max_samples, random_state=seed, n_jobs=1,
        )  # fmt: skip
        weights = used.weights
        if weights is not None and (weights == weights[0]).all():
            weights = None  # rows that weigh alike are drawn otherwise by scikit-learn where weights are given
        forest.fit(inputs.encode(used.x), used.y[:, 0].astype(np.float64), weights)
        self._trees = flattened(forest)
        return self

    def predict(self, block: NDArray[np.float32], **state: Any) -> dict[str, Any]:
        """See `Kind.predict`."""
        from xsoil.kernels.forest import forest_mean  # numba loads on first use

        trees = [self._trees[name] for name in _ARRAYS]
        out = np.empty(len(block))
        for start in range(0, len(block), _TOGETHER):
            part = block[start : start + _TOGETHER]
            arrays: Any = (self.inputs.encode(part), *trees, out[start : start + _TOGETHER])
            forest_mean(*arrays)
        mean = out.astype(np.float32)
        mean[~self.inputs.complete(block)] = np.nan
        return {"mean": mean[:, None]}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """See `Kind.arrays`."""
        return dict(self._trees)

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], description: Mapping[str, Any], inputs: Inputs, targets: Targets
    ) -> RandomForest:
        """See `Kind.from_arrays`."""
        self = cls.described(description, inputs, targets)
        found = {name: str(array.dtype) for name, array in arrays.items()}
        if found != _ARRAYS or any(array.ndim != 1 for array in arrays.values()):
            raise ArgumentError(
                f"arrays {found} of a forest; expected {_ARRAYS}, of one dimension: the model is damaged"
            )
        self._trees = {name: arrays[name] for name in _ARRAYS}
        nodes = self._trees["values"].size
        sizes = {self._trees[name].size for name in _ARRAYS if name != "roots"}
        inner = self._trees["features"] >= 0
        ahead = np.arange(nodes)[inner]
        # Nodes only lead forward, so that every walk ends.
        sound = sizes == {nodes} and self._trees["roots"].size > 0 and nodes > 0
        sound = sound and bool((self._trees["features"] < len(inputs.columns)).all())
        for name in ("left", "right"):
            sound = sound and bool(((self._trees[name][inner] > ahead) & (self._trees[name][inner] < nodes)).all())
        if not sound or self._trees["roots"].min() < 0 or self._trees["roots"].max() >= nodes:
            raise ArgumentError("the nodes of the forest lead nowhere or in circles: the model is damaged")
        return self


def flattened(forest: RandomForestRegressor) -> dict[str, NDArray[Any]]:
    """The nodes of all trees, one after the other.

    Thresholds are rounded down to single precision, which decides alike for every number of single precision.
    """
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in _ARRAYS if name != "roots"}
    roots, first = [], 0
    for estimator in forest.estimators_:
        tree = estimator.tree_
        leaf = tree.children_left < 0
        rounded = tree.threshold.astype(np.float32)
        down = np.where(rounded > tree.threshold, np.nextafter(rounded, np.float32(-np.inf)), rounded)
        parts["features"].append(np.where(leaf, -1, tree.feature))
        parts["thresholds"].append(np.where(leaf, np.float32(0.0), down))
        for name, children in (("left", tree.children_left), ("right", tree.children_right)):
            parts[name].append(np.where(leaf, -1, children + first))
        parts["values"].append(tree.value[:, 0, 0])
        roots.append(first)
        first += tree.node_count
    found: dict[str, NDArray[Any]] = {"roots": np.array(roots, np.int64)}
    return found | {name: np.concatenate(arrays).astype(_ARRAYS[name]) for name, arrays in parts.items()}
