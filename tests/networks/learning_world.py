"""Small synthetic worlds for the tests of learning: soils of fine cells, forcing, and what a satellite would see."""

from __future__ import annotations

import numpy as np
import torch

from xsoil.networks.physics import water_balance
from xsoil.networks.samples import Sample
from xsoil.physics.bounded import Bounded

KNOWN = {
    "theta_s": 0.5, "theta_fc": 0.2, "theta_wp": 0.078, "root_depth": 1.0, "depletion_fraction": 0.1,
    "crop_coefficient": 0.5,
}  # fmt: skip
TARGETS = {"k_sat": Bounded(1.0, 1000.0, log=True), "obs_scale": Bounded(0.5, 1.5), "obs_bias": Bounded(-0.3, 0.3)}


def world(cells=60, days=60, size=5, seed=0, every=3):
    """Li et al. (2024): k_sat is the largest of the fine cells, A and B follow from texture. -> sample, truth"""
    rng = np.random.default_rng(seed)
    shape = (cells, size, size)
    sand = np.clip(rng.uniform(0.1, 0.8, (cells, 1, 1)) + rng.normal(0, 0.06, shape), 0.01, 0.85)
    clay = np.clip(rng.uniform(0.05, 0.14, (cells, 1, 1)) + rng.normal(0, 0.02, shape), 0.01, 0.15)
    k_sat = (60.96 * 10 ** (1.26 * sand - 0.64 * clay - 0.6)).max(axis=(1, 2))
    s, c = sand.mean(axis=(1, 2)), clay.mean(axis=(1, 2))
    truth = {
        "k_sat": k_sat,
        "obs_scale": (s + c + 5 * s * c - 0.5) / 4 + 0.9,
        "obs_bias": (s + c + 5 * s * c - 0.9) / 3.5,
    }
    rain = ((rng.random((days, cells)) < 0.35) * rng.exponential(14, (days, cells))).astype("f4")
    pet = rng.uniform(0, 5, (days, cells)).astype("f4")
    known = {name: np.full(cells, value) for name, value in KNOWN.items()}
    tensors = {name: torch.tensor(value) for name, value in (known | {"k_sat": k_sat}).items()}
    theta = water_balance(torch.tensor(rain), torch.tensor(pet), tensors)["theta"].numpy()
    seen = (truth["obs_scale"] * theta + truth["obs_bias"]).astype("f4")
    seen[np.arange(days) % every != 0] = np.nan
    static = np.stack([sand, clay], axis=1).astype("f4")
    sample = Sample(
        np.arange(cells), static, forcing={"precipitation": rain, "pet": pet}, observed={"theta_obs": seen}, known=known
    )
    return sample, truth
