"""Convolutional LSTM layers with attention over a fixed window, whose maps do not depend on tiles."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

__all__ = ["ChannelAttention", "ConvLstmLayer", "ConvLstmNetwork"]

Tensor = torch.Tensor


class ConvLstmLayer(nn.Module):
    """LSTM over days whose products are convolutions [1]_.

    Parameters
    ----------
    channels, filters : int
    kernel : int
        Side of the convolutions, odd.
    depthwise : bool
        Each channel is convolved by itself, then channels are mixed cell by cell: fewer weights.

    References
    ----------
    .. [1] Shi et al. (2015), Convolutional LSTM network, NeurIPS.
    """

    def __init__(self, channels: int, filters: int, kernel: int, *, depthwise: bool = False) -> None:
        super().__init__()
        self.filters = filters
        both = channels + filters
        self.gates: nn.Module
        if depthwise:
            alone = nn.Conv2d(both, both, kernel, padding=kernel // 2, groups=both, bias=False)
            self.gates = nn.Sequential(alone, nn.Conv2d(both, 4 * filters, 1))
        else:
            self.gates = nn.Conv2d(both, 4 * filters, kernel, padding=kernel // 2)

    def forward(self, x: Tensor, inside: Tensor) -> Tensor:
        """States (n, days, filters, rows, columns) of every day; 0 where not `inside` (n, 1, rows, columns)."""
        n, days, _, rows, columns = x.shape
        h = c = x.new_zeros(n, self.filters, rows, columns)
        states = []
        for day in range(days):
            i, f, g, o = self.gates(torch.cat([x[:, day], h], dim=1)).chunk(4, dim=1)
            c = torch.sigmoid(f + 1.0) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c) * inside
            states.append(h)
        return torch.stack(states, dim=1)


class ChannelAttention(nn.Module):
    """Weights of channels from their means in a window around each cell (of the cells that are inside).

    A mean over the whole image, as squeeze and excitation has it [1]_, would depend on the image that a cell is in.

    Parameters
    ----------
    channels : int
    window : int
        Side of the window, odd.
    reduction : int
        By how much the layer between is narrower.

    References
    ----------
    .. [1] Hu et al. (2018), Squeeze-and-excitation networks, CVPR.
    """

    def __init__(self, channels: int, window: int, reduction: int = 4) -> None:
        super().__init__()
        half = window // 2  # rows, then columns: 2 sums of `window` values and not one of their square
        self.pool = nn.Sequential(
            nn.AvgPool2d((window, 1), stride=1, padding=(half, 0)),
            nn.AvgPool2d((1, window), stride=1, padding=(0, half)),
        )
        narrow = max(channels // reduction, 1)
        self.excite = nn.Sequential(
            nn.Conv2d(channels, narrow, 1), nn.ReLU(), nn.Conv2d(narrow, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor, inside: Tensor) -> Tensor:
        """`x` (n, channels, rows, columns), which is 0 where not `inside` (n, 1, rows, columns), weighted."""
        share = self.pool(inside)
        mean = self.pool(x) / share.clamp(min=1e-6) * (share > 0)
        found: Tensor = x * self.excite(mean)
        return found


class ConvLstmNetwork(nn.Module):
    """Convolutional LSTM layers, each followed by batch normalisation and dropout, some by attention [1]_.

    Parameters
    ----------
    channels : int
    filters : sequence of int
        Of each layer.
    kernel, window : int
    attention : sequence of int
        After which layers, counted from 1.
    dropout : float
    depthwise : bool

    References
    ----------
    .. [1] Rabiei et al. (2024), preprints 202412.1356.
    """

    def __init__(
        self, channels: int, filters: Sequence[int], *, kernel: int, attention: Sequence[int], window: int,
        dropout: float, depthwise: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        widths = [channels, *filters]
        self.layers = nn.ModuleList(
            ConvLstmLayer(a, b, kernel, depthwise=depthwise) for a, b in zip(widths[:-1], widths[1:], strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in filters)
        self.attention = nn.ModuleDict({str(at): ChannelAttention(filters[at - 1], window) for at in attention})
        self.dropout = nn.Dropout2d(dropout)
        self.last = nn.Conv2d(filters[-1], 1, 1)

    def forward(self, x: Tensor, inside: Tensor) -> Tensor:
        """Output (n, rows, columns) of the last day of `x` (n, days, channels, rows, columns).

        `inside` (n, 1, rows, columns) is 1 on the map and 0 beyond it, where everything is 0 as a convolution's padding
        would have it.
        """
        n, days = x.shape[:2]
        x = x * inside[:, None]
        every = inside.repeat_interleave(days, dim=0)
        for number, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True), start=1):
            x = layer(x, inside)
            flat = self.dropout(norm(x.flatten(0, 1))) * every
            if str(number) in self.attention:
                flat = self.attention[str(number)](flat, every)
            x = flat.unflatten(0, (n, days))
        found: Tensor = self.last(x[:, -1])[:, 0]
        return found
