"""Soil-moisture models as files: arrays as safetensors, all else as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xsoil.networks import storage
from xsoil.networks.description import require_keys
from xsoil.networks.moisture.ensemble import Ensemble

__all__ = ["FORMAT", "VERSION", "read_ensemble", "write_ensemble"]

FORMAT, VERSION = "xsoil soil-moisture model", 1


def write_ensemble(path: str | PathLike[str], ensemble: Ensemble, more: Mapping[str, Any]) -> None:
    """Write an ensemble, and more plain JSON beside it; see `xsoil.networks.storage.save`."""
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in ensemble.arrays().items()}
    storage.save(path, tensors, {"ensemble": ensemble.describe(), "more": dict(more)}, format=FORMAT, version=VERSION)


def read_ensemble(path: str | PathLike[str], whole: dict[str, Any] | None = None) -> tuple[Ensemble, dict[str, Any]]:
    """Read what `write_ensemble` wrote; ArgumentError or UnknownNameError where it is damaged. See `storage.load`."""
    tensors, description = storage.load(path, format=FORMAT, version=VERSION, whole=whole)
    require_keys(description, ("ensemble", "more"), Path(path))
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    return Ensemble.from_arrays(arrays, description["ensemble"]), description["more"]
