"""An epoch of end-to-end training beside the same model with its physics as a time loop of torch."""

from __future__ import annotations

import time

import numpy as np
import pytest

from xsoil.physics.bounded import Bounded

DAYS = 1096
TARGETS = {"k_sat": Bounded(1.0, 1000.0, log=True), "obs_scale": Bounded(0.5, 1.5), "obs_bias": Bounded(-0.3, 0.3)}
KNOWN = {
    "theta_s": 0.5, "theta_fc": 0.2, "theta_wp": 0.078, "root_depth": 1.0, "depletion_fraction": 0.1,
    "crop_coefficient": 0.5,
}  # fmt: skip


def world(cells, size=9):
    """Three years of forcing, patches of 9 x 9 cells, observations every third day."""
    from xsoil.networks.samples import Sample

    rng = np.random.default_rng(0)
    static = rng.normal(size=(cells, 2, size, size)).astype("f4")
    rain = ((rng.random((DAYS, cells)) < 0.3) * rng.exponential(12, (DAYS, cells))).astype("f4")
    pet = rng.uniform(0, 7, (DAYS, cells)).astype("f4")
    seen = rng.uniform(0.1, 0.4, (DAYS, cells)).astype("f4")
    seen[np.arange(DAYS) % 3 != 0] = np.nan
    known = {name: np.full(cells, value) for name, value in KNOWN.items()}
    return Sample(
        np.arange(cells), static, forcing={"precipitation": rain, "pet": pet}, observed={"theta_obs": seen}, known=known
    )


def time_loop(forcing, parameters, outputs):
    """The sub-steps one after the other under autograd, as models of hydrology are written in torch."""
    import torch

    from xsoil.physics.water_balance import water_balance_substep

    step = water_balance_substep(torch.minimum, torch.maximum)
    p, e, values = forcing["precipitation"], forcing["pet"], {n: v.float() for n, v in parameters.items()}
    depth = 1000 * values["root_depth"]
    limits = [values[name] * depth for name in ("theta_s", "theta_fc", "theta_wp")]
    per_depletion = 1 / ((1 - values["depletion_fraction"]) * (limits[1] - limits[2]))
    released = -torch.expm1(-10 * values["k_sat"] / (limits[0] - limits[1]) / 24)
    water, days = limits[1], []
    for day in range(p.shape[0]):
        rain, demand = p[day] / 24, values["crop_coefficient"] * e[day] / 24
        for _ in range(24):
            water, *_ = step(water, rain, demand, *limits, per_depletion, released)
        days.append(water / depth)
    return {"theta": torch.stack(days)}


def test_epoch_against_a_time_loop(ratio):
    """The loop runs one batch of 512 cells x 120 days; both are per cell and day."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("lightning")
    from xsoil.networks.batches import Batches
    from xsoil.networks.learner import ParameterLearner
    from xsoil.networks.samples import InMemorySource, Sample
    from xsoil.networks.scaling import InputScaling
    from xsoil.networks.soil_models import SoilModel
    from xsoil.networks.training import fit

    cells = 10_000
    source = InMemorySource(world(cells))
    scaling = InputScaling.fit(source, np.arange(cells))

    def learner(model="water_balance"):
        return ParameterLearner("cnn", scaling, TARGETS, patch=(9, 9), model=model)

    history = fit(learner(), source, np.arange(cells), epochs=4, batch_cells=512, progress=False)
    whole = min(history.seconds)

    # What of it is the physics: forward and gradient of all batches.
    batches = list(Batches(source, np.arange(cells), 512, memory_budget=1e9, seed=0))
    model, parts = learner().model, []
    for batch in batches:
        found = {n: torch.full((len(batch),), 20.0, dtype=torch.float64, requires_grad=True) for n in ("k_sat",)}
        start = time.perf_counter()
        theta = model.run(batch.forcing, {**batch.known, **found}, ("theta",))["theta"]
        theta.backward(torch.ones_like(theta))
        parts.append(time.perf_counter() - start)
    share = len(parts) * sorted(parts)[len(parts) // 2] / whole

    # The same learner, one step of it, with a loop instead.
    days = 120
    first = source.read(np.arange(512))
    cut = Sample(
        first.cells, first.static, forcing={n: v[:days] for n, v in first.forcing.items()},
        observed={n: v[:days] for n, v in first.observed.items()}, known=first.known,
    ).tensors()  # fmt: skip
    slow = learner(SoilModel("loop", time_loop, (*KNOWN, "k_sat"), ("precipitation", "pet")))
    before, loops = torch.get_num_threads(), []
    for threads in (1, before):  # on a busy machine two wait for each other
        torch.set_num_threads(threads)
        start = time.perf_counter()
        ((cost, counts),) = slow.costs(cut).values()
        (cost.sum() / counts.sum()).backward()
        loops.append(time.perf_counter() - start)
    loop = min(loops)

    times = (loop / (512 * days)) / (whole / (cells * DAYS))
    measured = (
        f"{times:.0f} x faster than a torch time loop ({whole:.2f} s an epoch, {100 * share:.0f} % of it physics)"
    )
    ratio.report("end-to-end training, 10,000 cells of 9 x 9 patches x 1,096 days", measured, "20 x")
