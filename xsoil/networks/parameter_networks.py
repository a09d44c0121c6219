"""Networks from scaled predictors to unbounded parameters: ``module(static, history)`` -> (n, outputs).

A module of the user's is called the same way, with None for what there is not.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from xsoil.errors import ArgumentError, UnknownNameError

__all__ = ["NETWORKS", "InputShapes", "PatchNetwork", "PixelNetwork", "SeriesNetwork", "VectorNetwork", "network_of"]

Tensor = torch.Tensor


# Fine cells that go through a network together: some hundred megabytes of features.
_PLACES = 2**20


@dataclass(frozen=True)
class InputShapes:
    """Shapes of the scaled predictors of one cell.

    Parameters
    ----------
    static : tuple of int, optional
        (channels,) or (channels, rows, columns).
    history : int
        Series, 0 for none.
    """

    static: tuple[int, ...] | None = None
    history: int = 0


def _linear_chain(widths: list[int], last: nn.Linear) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in zip(widths, widths[1:]):
        layers += [nn.Linear(a, b), nn.SiLU()]
    return nn.Sequential(*layers, last)


def _last_layer(inputs: int, outputs: int) -> nn.Linear:
    """Small weights: a network begins near the middle of the bounds, where gradients are largest."""
    layer = nn.Linear(inputs, outputs)
    with torch.no_grad():
        layer.weight.mul_(0.1)
        layer.bias.zero_()
    return layer


POOLS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "mean": lambda x: x.mean(dim=2),
        "max": lambda x: x.max(dim=2).values,
        "min": lambda x: x.min(dim=2).values,
        "median": lambda x: x.median(dim=2).values,
    }
)
"""Operators over the places of (n, channels, places); with indices, which make the gradient of extremes cheap."""


def _pooled(x: Tensor) -> Tensor:
    return torch.cat([POOLS[how](x) for how in ("mean", "max", "min")], dim=1)


def _pool(how: str) -> str:
    if how not in POOLS:
        raise UnknownNameError.of("operator of a network", how, POOLS)
    return how


def _inside(x: Tensor, ring: int) -> Tensor:
    """The places (n, channels, places) of a patch without its ring."""
    rows, columns = x.shape[2:]
    return x[:, :, ring : rows - ring, ring : columns - ring].flatten(2)


def _check_ring(rows: int, columns: int, ring: int) -> None:
    if ring < 0 or min(rows, columns) <= 2 * ring:
        raise ArgumentError(f"patches of {rows} x {columns} cells with a ring of {ring}; expected cells inside it")


def _in_pieces(features: Callable[[Tensor], Tensor], static: Tensor) -> Tensor:
    """Features of patches; of large ones some cells at a time, computed again on the way back instead of being kept."""
    places = static.shape[2] * static.shape[3]
    if len(static) * places <= _PLACES:
        return features(static)
    pieces = torch.split(static, max(1, _PLACES // places))
    return torch.cat([checkpoint(features, piece, use_reentrant=False, preserve_rng_state=False) for piece in pieces])


def _transfer(channels: int, width: int) -> nn.Sequential:
    """A network of each fine cell by itself."""
    return nn.Sequential(nn.Linear(channels, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())


def _each(layers: nn.Module, static: Tensor) -> Tensor:
    """Layers on the channels of every place: places before channels, so that it is one product of matrices."""
    n, _, rows, columns = static.shape
    found: Tensor = layers(static.flatten(2).transpose(1, 2))
    return found.transpose(1, 2).reshape(n, -1, rows, columns)


class PatchNetwork(nn.Module):
    """Convolutional network over the fine cells nested in a coarse cell ("cnn").

    A network of each fine cell by itself (a transfer function), pooled over the coarse cell by mean, maximum and
    minimum (a scale conversion); convolutions that halve the patch until it is 4 cells wide or less, pooled likewise;
    the means of the predictors themselves; then a network of all of these. The depth follows from the size of the
    patch.

    Parameters
    ----------
    channels, rows, columns : int
        Of the patch, the ring included.
    outputs : int
    width : int
        Features of a fine cell.
    hidden : int
        Of the closing layers.
    ring : int
        Fine cells beyond each edge of the coarse cell that the patch holds: only the convolutions see them.

    References
    ----------
    Li et al. (2024), Water Resour. Res., doi:10.1029/2023WR035543.
    """

    def __init__(
        self, channels: int, rows: int, columns: int, outputs: int, *, width: int = 16, hidden: int = 64, ring: int = 0
    ) -> None:
        super().__init__()
        _check_ring(rows, columns, ring)
        self.ring = ring
        self.transfer = _transfer(channels, width)
        convolutions: list[nn.Module] = []
        size = min(rows, columns)
        while size > 4:
            convolutions += [nn.Conv2d(width, width, 3, stride=2, padding=1), nn.SiLU()]
            size = (size + 1) // 2
        self.convolutions = nn.Sequential(*convolutions)
        features = channels + 3 * width * (2 if convolutions else 1)
        self.closing = _linear_chain([features, hidden, hidden], _last_layer(hidden, outputs))

    def forward(self, static: Tensor, history: Tensor | None = None) -> Tensor:
        found: Tensor = self.closing(_in_pieces(self._features, static))
        return found

    def _features(self, static: Tensor) -> Tensor:
        fine = _each(self.transfer, static)
        parts = [_inside(static, self.ring).mean(dim=2), _pooled(_inside(fine, self.ring))]
        if len(self.convolutions):
            parts.append(_pooled(self.convolutions(fine).flatten(2)))
        return torch.cat(parts, dim=1)


class PixelNetwork(nn.Module):
    """A network of each fine cell, then one operator over the coarse cell: multi-scale regionalization ("mpr").

    The operator takes the parameters before they are brought between their bounds: maximum, minimum and median do not
    mind, a mean is one of logits (near a geometric mean for parameters on a logarithmic scale).

    Parameters
    ----------
    channels, rows, columns : int
        Of the patch, the ring included.
    outputs : int
    how : str
        "mean", "max", "min" or "median"; several, one for each output in the order of the targets,
        separated by commas.
    width, hidden : int
        Of the two hidden layers.
    ring : int
        Fine cells beyond each edge of the coarse cell, which are left out.

    References
    ----------
    Samaniego et al. (2010), Water Resour. Res., doi:10.1029/2008WR007327.
    """

    def __init__(
        self, channels: int, rows: int, columns: int, outputs: int, *, how: str = "mean", width: int = 32,
        hidden: int = 32, ring: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        _check_ring(rows, columns, ring)
        self.ring = ring
        self.how = [_pool(one.strip()) for one in how.split(",")]
        if len(self.how) not in (1, outputs):
            raise ArgumentError(f"how={how!r} names {len(self.how)} operators; expected 1 or {outputs}")
        self.closing = _linear_chain([channels, width, hidden], _last_layer(hidden, outputs))

    def forward(self, static: Tensor, history: Tensor | None = None) -> Tensor:
        return _in_pieces(self._features, static)

    def _features(self, static: Tensor) -> Tensor:
        fine = _inside(_each(self.closing, static), self.ring)
        if len(self.how) == 1:
            return POOLS[self.how[0]](fine)
        return torch.cat([POOLS[how](fine[:, k : k + 1]) for k, how in enumerate(self.how)], dim=1)


class VectorNetwork(nn.Module):
    """Perceptron over one value of each predictor ("mlp").

    Parameters
    ----------
    channels, outputs : int
    hidden : int
        Width of the hidden layers.
    layers : int
        Number of hidden layers.
    how : str
        What becomes of a patch: its "mean", "max", "min" or "median".
    """

    def __init__(self, channels: int, outputs: int, *, hidden: int = 64, layers: int = 2, how: str = "mean") -> None:
        super().__init__()
        if layers < 1:
            raise ArgumentError(f"layers={layers}; expected 1 at least")
        self.how = _pool(how)
        self.closing = _linear_chain([channels, *[hidden] * layers], _last_layer(hidden, outputs))

    def forward(self, static: Tensor, history: Tensor | None = None) -> Tensor:
        found: Tensor = self.closing(_vector(static, self.how))
        return found


class SeriesNetwork(nn.Module):
    """LSTM over a history, each day with the static predictors beside it ("lstm").

    Parameters
    ----------
    channels : int
        Static predictors, 0 for none; patches go in by their means.
    series, outputs : int
    hidden : int
    dropout : float
        Share of the last state that is dropped in training.

    References
    ----------
    Qi et al. (2026), Water Resour. Res., doi:10.1029/2025WR041265.
    """

    def __init__(self, channels: int, series: int, outputs: int, *, hidden: int = 128, dropout: float = 0.0) -> None:
        super().__init__()
        self.channels = channels
        self.memory = nn.LSTM(channels + series, hidden, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.closing = _last_layer(hidden, outputs)

    def forward(self, static: Tensor | None, history: Tensor) -> Tensor:
        days = history
        if self.channels and static is not None:
            every = _vector(static)[:, None, :].expand(-1, history.shape[1], -1)
            days = torch.cat([history, every], dim=2)
        _, (state, _) = self.memory(days)
        found: Tensor = self.closing(self.dropout(state[-1]))
        return found


def _vector(static: Tensor, how: str = "mean") -> Tensor:
    return static if static.ndim == 2 else POOLS[how](static.flatten(2))


def _patch_network(shapes: InputShapes, outputs: int, **options: Any) -> nn.Module:
    return PatchNetwork(*_patch("cnn", shapes), outputs, **options)


def _pixel_network(shapes: InputShapes, outputs: int, **options: Any) -> nn.Module:
    return PixelNetwork(*_patch("mpr", shapes), outputs, **options)


def _patch(name: str, shapes: InputShapes) -> tuple[int, int, int]:
    if shapes.static is None or len(shapes.static) != 3:
        raise ArgumentError(
            f"network {name!r} with static predictors of shape {shapes.static} a cell; expected patches "
            "(channels, rows, columns) of finer cells, or take network='mlp'"
        )
    _no_history(name, shapes)
    channels, rows, columns = shapes.static
    return channels, rows, columns


def _vector_network(shapes: InputShapes, outputs: int, **options: Any) -> nn.Module:
    if shapes.static is None:
        raise ArgumentError("network 'mlp' without static predictors; expected one at least, or take network='lstm'")
    _no_history("mlp", shapes)
    return VectorNetwork(shapes.static[0], outputs, **options)


def _series_network(shapes: InputShapes, outputs: int, **options: Any) -> nn.Module:
    if not shapes.history:
        raise ArgumentError("network 'lstm' without a history; expected one series at least, or take network='mlp'")
    return SeriesNetwork(shapes.static[0] if shapes.static else 0, shapes.history, outputs, **options)


def _no_history(name: str, shapes: InputShapes) -> None:
    if shapes.history:
        raise ArgumentError(f"network {name!r} takes no history; leave it out, or take network='lstm'")


NETWORKS: Mapping[str, tuple[Callable[..., nn.Module], type[nn.Module]]] = MappingProxyType(
    {
        "cnn": (_patch_network, PatchNetwork),
        "mpr": (_pixel_network, PixelNetwork),
        "mlp": (_vector_network, VectorNetwork),
        "lstm": (_series_network, SeriesNetwork),
    }
)
"""Makers of the networks by name, and what they make."""


def network_of(
    network: str | nn.Module, shapes: InputShapes, outputs: int, options: Mapping[str, Any] | None = None
) -> nn.Module:
    """The network of this name, or the user's module as it is.

    Parameters
    ----------
    network : str or torch module
        One of `NETWORKS`, or a module that is called as ``module(static, history)``.
    shapes : InputShapes
        Of the scaled predictors.
    outputs : int
        Parameters to learn.
    options : mapping, optional
        Keywords of the network, e.g. ``{"width": 32}``.

    Returns
    -------
    torch module

    Raises
    ------
    UnknownNameError, ArgumentError
        An unknown network or option, or predictors that the network cannot take.
    """
    options = dict(options or {})
    if isinstance(network, nn.Module):
        if options:
            raise ArgumentError(f"options {sorted(options)} of a torch module; give them to the module itself")
        return network
    if network not in NETWORKS:
        raise UnknownNameError.of("network", network, NETWORKS)
    make, kind = NETWORKS[network]
    known = [p.name for p in inspect.signature(kind).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            raise UnknownNameError.of(f"option of network {network!r}", name, known)
    return make(shapes, outputs, **options)
