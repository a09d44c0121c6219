"""The global 1 km graph, really built, and a random 1 % of its output tasks, really run: the figures of docs/scale.md.

Each case is a process of its own, so that its peak memory is its own. Tasks run one after the other in one thread,
and what is summed is processor time, so that other work on the machine shows little.
"""

from __future__ import annotations

import multiprocessing
import pickle
import re
import resource
import time
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

FIXED = {"root_depth": 0.5, "depletion_fraction": 0.3, "crop_coefficient": 0.9}
MODEL = ("theta_s", "theta_fc", "theta_wp", "k_sat")


def grid_of(where):
    """The world at 1 km, a region of it, or the world at 250 m as SoilGrids has it."""
    import xsoil

    if where == "250 m":
        return GeoBox(
            (58034, 159246), Affine(250, 0, -19949750, 0, -250, 8361000), "+proj=igh +datum=WGS84 +units=m +no_defs"
        )
    return xsoil.ease_grid("EASE2_M01km", where)


def chain(where, *, coarse):
    """A year of soil moisture from soil maps: on 9 km (`coarse`), or on their own grid."""
    import xsoil

    soil = xsoil.data.synthetic_soil(grid_of(where), seed=0, water=True, chunks=None if coarse else 512)
    parameters = soil.soil.ptf("saxton_rawls2006", outputs=MODEL)
    if coarse:
        parameters = parameters.soil.upscale("EASE2_M09km", "default")
    blocks = {"time": 64} | {dim: max(parameters.k_sat.chunksizes[dim]) for dim in ("y", "x")}
    forcing = xsoil.data.synthetic_forcing(parameters, "2015", seed=0, chunks=blocks)
    return parameters.soil.simulate(forcing, **FIXED)[["theta"]]


def kind(key):
    """What a task does: its name without tokens and variables."""
    name = key[0] if isinstance(key, tuple) else key
    name = re.sub(r"-?[0-9a-f]{11,32}", "", name)
    return re.sub(r"xsoil\.ptf_\d", "xsoil.ptf", name)


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_tasks(graph, keys):
    """Processor seconds of every task that `keys` need, by kind, in one thread."""
    from dask.callbacks import Callback
    from dask.local import get_sync
    from dask.optimization import cull

    needed, _ = cull(graph, keys)
    seconds, start = defaultdict(list), {}

    def before(key, *_):
        start[key] = time.process_time()

    def after(key, *_):
        seconds[kind(key)].append(time.process_time() - start.pop(key))

    with Callback(pretask=before, posttask=after):
        get_sync(needed, keys)
    return seconds


def build(where, coarse):
    """The chain's optimised graph and output keys, by place, and what building it took."""
    import dask
    from dask.core import flatten

    begun = time.process_time()
    out = chain(where, coarse=coarse)
    built = time.process_time() - begun
    plain = len(dict(out.__dask_graph__()))
    begun = time.process_time()
    (out,) = dask.optimize(out)
    optimised = time.process_time() - begun
    graph = dict(out.__dask_graph__())
    told = {
        "build": built, "optimise": optimised, "plain": plain, "tasks": len(graph), "bytes": len(pickle.dumps(graph)),
        "kinds": dict(Counter(map(kind, graph))), "cells": out.theta[0].size, "result": out.theta.nbytes,
    }  # fmt: skip
    return graph, list(flatten(out.theta.__dask_keys__())), told


def by_place(keys):
    """Output keys of one place, all its blocks of time, together."""
    places = defaultdict(list)
    for key in keys:
        places[key[2:]].append(key)
    return list(places.values())


def run_places(graph, places):
    """Place after place, so that results do not pile up."""
    seconds = defaultdict(list)
    for keys in places:
        for name, times in run_tasks(graph, keys).items():
            seconds[name] += times
    return dict(seconds)


def sampled(where, coarse, share, seeds):
    """Random output tasks, in the world at 1 km random places with all their days, and all tasks that they need."""
    small, keys, _ = build((-100, 38, -99.5, 38.4), coarse)
    run_tasks(small, keys)  # compiles
    graph, keys, told = build(where, coarse)
    told |= {"before": peak(), "outputs": len(keys), "runs": []}
    units = [[key] for key in keys] if coarse else by_place(keys)
    for seed in seeds:
        picked = np.random.default_rng(seed).choice(len(units), int(np.ceil(share * len(units))), replace=False)
        asked = [key for unit in picked for key in units[unit]]
        begun = time.perf_counter()
        seconds = run_places(graph, by_place(asked))
        told["runs"].append({"seed": seed, "asked": len(asked), "wall": time.perf_counter() - begun, "by": seconds})
    return told | {"peak": peak()}


def whole(region, coarse):
    """A region with all its tasks."""
    small, keys, _ = build((-100, 38, -99.5, 38.4), coarse)
    run_tasks(small, keys)
    graph, keys, told = build(region, coarse)
    begun = time.perf_counter()
    seconds = run_places(graph, [keys])  # neighbours share source blocks
    return told | {"wall": time.perf_counter() - begun, "by": seconds, "peak": peak()}


def alone(work, *args):
    """In a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *args).result()


def expected(kinds, seconds):
    """Processor seconds of a graph whose tasks cost what those of a sample did."""
    return sum(count * np.mean(seconds[name]) for name, count in kinds.items() if name in seconds)


def summary(told):
    """One line of what a sample says of the whole."""
    totals = [expected(told["kinds"], run["by"]) / 3600 for run in told["runs"]]
    ran = sum(len(times) for run in told["runs"] for times in run["by"].values())
    used = sum(sum(times) for run in told["runs"] for times in run["by"].values())
    wall = sum(run["wall"] for run in told["runs"])
    graph = (
        f"graph {told['build']:.1f} s, optimised {told['optimise']:.1f} s, {told['tasks']:,} tasks "
        f"({told['plain']:,} before), {told['bytes'] / 1e6:.1f} MB; "
    )
    runs = (
        f"{' + '.join(str(run['asked']) for run in told['runs'])} of {told['outputs']:,} output tasks "
        f"with all they need, {ran:,} tasks: {used:.0f} s of processor, {wall:.0f} s, peak {told['peak']:.0f} MB "
        f"({told['before']:.0f} before); whole: {', '.join(f'{t:.3f}' for t in totals)} core-hours"
    )
    return graph + runs


CASES = {
    "1 km to a year on 9 km": (None, True, 0.01, (0, 1, 2)),
    "1 km to a year at 1 km": (None, False, 0.01, (0,)),
    "250 m to a year on 9 km": ("250 m", True, 0.0005, (0,)),
}
"""Where, on 9 km or not, share of the output tasks, seeds."""


@pytest.mark.parametrize("name", CASES)
def test_the_world(ratio, name):
    told = alone(sampled, *CASES[name])
    kinds = defaultdict(list)
    for run in told["runs"]:
        for task, times in run["by"].items():
            kinds[task] += times
    ratio.report(f"the world, {name}", summary(told), "(graph: seconds)")
    for task, times in sorted(kinds.items(), key=lambda item: -np.mean(item[1]) * told["kinds"][item[0]])[:6]:
        low, mean, high = np.percentile(times, 5), np.mean(times), np.percentile(times, 95)
        ratio.report(
            f"  {task}",
            f"{told['kinds'][task]:,} tasks, {len(times)} run: {mean:.3f} s of processor each (5 to 95 %: {low:.3f} to "
            f"{high:.3f})",
            "(none)",
        )
    assert told["build"] + told["optimise"] < 60
    assert told["peak"] < 2048


@pytest.mark.parametrize("coarse", [True, False])
def test_graph_of_conus(ratio, coarse):
    _, keys, told = build("conus", coarse)
    ratio.report(
        f"CONUS, 1 km to a year {'on 9 km' if coarse else 'at 1 km'}: graph",
        f"{told['build'] + told['optimise']:.1f} s, {told['tasks']:,} tasks, {len(keys):,} output tasks, "
        f"{told['bytes'] / 1e6:.1f} MB, result {told['result'] / 1e9:.1f} GB",
        "(seconds)",
    )
    assert told["build"] + told["optimise"] < 20


def test_sample_tells_the_whole(ratio):
    """What the world's random tasks say of a region, beside all tasks of that region."""
    told = alone(sampled, None, True, 0.01, (0,))
    real = alone(whole, (-130, -56, -34, 60), True)
    used = sum(sum(times) for times in real["by"].values())
    guess = expected(real["kinds"], told["runs"][0]["by"])
    ratio.report(
        "the Americas, 1 km to a year on 9 km, all tasks",
        f"{used:.1f} s of processor ({real['wall']:.0f} s), {real['tasks']:,} tasks, peak {real['peak']:.0f} MB; "
        f"from the world's sample {guess:.1f} s",
        "(within a third)",
    )
    assert 2 / 3 < guess / used < 1.5
