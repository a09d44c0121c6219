"""All kinds of soil-moisture models by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from xsoil.networks.moisture.conv_lstm import ConvLstm
from xsoil.networks.moisture.kind import Kind
from xsoil.networks.moisture.multitask_lstm import MultitaskLstm
from xsoil.networks.moisture.perceptrons import Dense, Prob, WideDeep
from xsoil.networks.moisture.random_forest import RandomForest

__all__ = ["KINDS"]

KINDS: Mapping[str, type[Kind]] = MappingProxyType(
    {kind.name: kind for kind in (Dense, Prob, WideDeep, RandomForest, MultitaskLstm, ConvLstm)}
)
"""A new kind is one more class here."""
