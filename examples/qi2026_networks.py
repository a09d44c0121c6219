"""The networks of `qi2026_sptf.py`: the reader of a site's history, and the surrogate of the columns."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from qi2026_sites import CURVES, DEPTH, FORCING, STATIC, TARGETS, WEATHER, Sites

if TYPE_CHECKING:
    import argparse

    from xsoil.networks.surrogate import Surrogate

LOGARITHMIC = ("alpha", "k_sat", "n", "h50")
SHORTEST = 10  # days of a piece of the history that is read in training


class Reader(torch.nn.Module):
    """The LSTM of the paper; what it hands on is the mean of its states and the last one.

    With the last state alone it must carry a year's statistics through 365 steps, and hangs on the day of the year on
    which the history ends. In training most batches read a random piece of the history, short or long, so that it
    gives parameters from series of any length.
    """

    def __init__(self, outputs: int, *, hidden: int = 64, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.memory = torch.nn.LSTM(len(STATIC) + len(WEATHER) + 1, hidden, batch_first=True)
            self.closing = torch.nn.Linear(2 * hidden, outputs)
        with torch.no_grad():  # begins near the middle of the bounds
            self.closing.weight.mul_(0.1)
            self.closing.bias.zero_()

    def forward(self, static: torch.Tensor, history: torch.Tensor) -> torch.Tensor:
        days = history.shape[1]
        if self.training and torch.rand(()) < 0.7:
            length = round(math.exp(float(torch.empty(()).uniform_(math.log(min(SHORTEST, days)), math.log(days)))))
            start = int(torch.randint(0, days - length + 1, ()))
            history = history[:, start : start + length]
        everyday = static[:, None].expand(-1, history.shape[1], -1)
        states, _ = self.memory(torch.cat([history, everyday], dim=2))
        found: torch.Tensor = self.closing(torch.cat([states.mean(dim=1), states[:, -1]], dim=1))
        return found


def surrogate_of(sites: Sites, curve: str, options: argparse.Namespace, folder: Path) -> Surrogate:
    """A surrogate of the columns: from `folder` where it is, else learned and kept there.

    It learns from short runs, each from -100 cm on, in the weather of all sites, and is tested on runs as long as those
    it will stand for.
    """
    from xsoil.networks.storage import load, save
    from xsoil.networks.surrogate import Surrogate, draw_runs, fit_surrogate
    from xsoil.physics.bounded import Bounded

    if folder.is_dir():
        tensors, description = load(folder)
        return Surrogate.rebuilt(description, tensors)
    bounds = {name: Bounded(*pair, log=name in LOGARITHMIC) for name, pair in TARGETS[curve].items()}
    of_column = {"fixed": {"root_depth": 0.4}, "options": {"curve": CURVES[curve], "depth": DEPTH}}
    weather, target = (
        {n: ds[n].transpose("time", "site").values for n in FORCING} for ds in (sites.weather, sites.forcing)
    )
    start = time.process_time()
    days = min(options.surrogate_days, sites.weather.sizes["time"])
    runs = draw_runs(weather, bounds, options.surrogate, days=days, seed=options.seed, **of_column)
    whole = sites.forcing.sizes["time"]
    held_out = draw_runs(
        target, bounds, max(options.surrogate // 10, 20), days=whole, seed=options.seed + 1, **of_column
    )
    made = time.process_time() - start
    model, record = fit_surrogate(
        runs, bounds, hidden=options.surrogate_hidden, seed=options.seed, epochs=options.surrogate_epochs,
        batch_cells=32, learning_rate=5e-3, schedule="one_cycle", progress=False, **of_column,
    )  # fmt: skip
    short = float(model.mse)
    model.test(held_out)
    print(
        f"surrogate, {curve}: {len(runs)} runs of {days} days and {len(held_out)} of {whole} in {made:.0f} s of CPU, "
        f"{len(record)} epochs in {time.process_time() - start - made:.0f} s: MSE {short:.2e} on {len(runs) // 10} "
        f"held-out runs of {days} days, {float(model.mse):.2e} on the long ones: "
        f"{'accepted' if model.accepted else 'not accepted, no SPTF is learned through it'}",
        flush=True,
    )
    save(folder, model.state_dict(), model.describe())
    return model
