"""The elementary functions of torch, for the formulas of `physics`."""

from __future__ import annotations

import torch

from xsoil.physics.elementary import Elementary

__all__ = ["TORCH"]

TORCH = Elementary(torch.exp, torch.expm1, torch.log, torch.log1p, torch.where)
