"""Rosetta against the package whose weights it uses."""

from __future__ import annotations

import csv
import pickle

import numpy as np
import pytest
import xarray as xr
from rosetta import SoilData
from rosetta import rosetta as package

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.kernels.rosetta import LANES
from xsoil.ptfs.rosetta import ROSETTA_1, ROSETTA_3, rosetta
from xsoil.verbs.ptf import ptf

ENTRIES = {1: ROSETTA_1, 3: ROSETTA_3}
PACKAGE_NAMES = {"geometric": "geo", "arithmetic": "arith"}
EXTRAS = ("bulk_density", "theta_fc", "theta_wp")


def textures(n, seed=0):
    """Columns of the six inputs."""
    rng = np.random.default_rng(seed)
    texture = rng.dirichlet([0.7, 0.7, 0.7], n).T * 100
    dry, wet = np.sort(rng.uniform(0.001, 0.6, (2, n)), axis=0)
    return np.stack([*texture, rng.uniform(0.5, 2.0, n), wet, dry])


def run(version, columns, **options):
    return np.array(
        ENTRIES[version].with_options(**options).resolve(frozenset()).function(*columns[: options["model"] + 1])
    )


@pytest.mark.parametrize("estimate", ["geometric", "arithmetic"])
@pytest.mark.parametrize("model", [2, 3, 4, 5])
@pytest.mark.parametrize("version", [1, 3])
def test_package(version, model, estimate):
    columns = textures(60, seed=model)[: model + 1]
    mean, std, codes = package(version, SoilData.from_iter(columns.T), PACKAGE_NAMES[estimate])
    assert (codes == model).all()
    found = run(version, columns, model=model, estimate=estimate, std=True, unsaturated=True, precision="double")
    np.testing.assert_allclose(found, np.concatenate([mean, std], axis=1).T, rtol=1e-9, atol=1e-9)
    fast = run(version, columns, model=model, estimate=estimate)
    np.testing.assert_allclose(fast, mean[:, :5].T, rtol=1e-5)
    wanted = np.concatenate([mean[:, :5], std[:, :5]], axis=1).T
    both = run(version, columns, model=model, estimate=estimate, std=True)
    np.testing.assert_allclose(both, wanted, rtol=1e-5)
    single = run(version, columns, model=model, estimate=estimate, std=True, precision="single")
    np.testing.assert_allclose(single, wanted, rtol=1e-4)


@pytest.mark.parametrize("estimate", ["geo", "arith"])
@pytest.mark.parametrize("model", [2, 3, 4, 5])
@pytest.mark.parametrize("version", [1, 3])
def test_reference_values(reference, version, model, estimate):
    with open(reference / "physics" / "ptf_inputs.csv") as file:
        soils = list(csv.DictReader(file))
    with open(reference / "physics" / "ptf_outputs.csv") as file:
        rows = [row for row in csv.reader(file) if row[1] == f"rosetta{version}_model{model}_{estimate}"]
    wanted = {(row[0], row[2]): float(row[3]) for row in rows}
    names = ("sand", "silt", "clay", "bd", "th33_for_rosetta", "th1500_for_rosetta")
    columns = np.array([[float(soil[name]) for soil in soils] for name in names])
    found = run(version, columns, model=model, estimate={"geo": "geometric", "arith": "arithmetic"}[estimate])
    assert len(wanted) == found.size == 100
    for name, values in zip(("theta_r", "theta_s", "alpha", "n", "ks"), found, strict=True):
        np.testing.assert_allclose(values, [wanted[soil["id"], name] for soil in soils], rtol=1e-5)


def test_printed_example():
    """Loam 40/40/20 with 1.4 g cm-3 (PHYSICS 1.11)."""
    loam = np.array([40, 40, 20, 1.4])
    assert float(run(3, loam, model=3)[4]) == pytest.approx(16.557, abs=5e-4)
    assert float(run(3, loam, model=3, estimate="arithmetic")[4]) == pytest.approx(17.009, abs=5e-4)


@pytest.mark.parametrize("version", [1, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_cell_does_not_depend_on_those_beside_it(version, dtype):
    """Not in a bit, wherever it stands and whatever is missing around it."""
    columns = textures(2 * LANES + 77)[:4].astype(dtype)
    whole = run(version, columns, model=3)
    assert whole.dtype == dtype
    rng = np.random.default_rng(1)
    order = rng.permutation(columns.shape[1])
    assert (run(version, columns[:, order], model=3) == whole[:, order]).all()
    for part in (slice(0, 1), slice(5, 8), slice(100, LANES + 101)):
        assert (run(version, columns[:, part], model=3) == whole[:, part]).all()
    holes = columns.copy()
    holes[0, ::3] = np.nan
    kept = np.arange(holes.shape[1]) % 3 != 0
    assert (run(version, holes, model=3)[:, kept] == whole[:, kept]).all()


def test_what_the_package_rejects_is_nan():
    sand = np.full(14, 40.0)
    silt, clay, density = sand.copy(), np.full(14, 20.0), np.full(14, 1.4)
    wet, dry = np.full(14, 0.3), np.full(14, 0.1)
    clay[1], clay[2], sand[3] = 21.1, 18.9, np.nan
    sand[4], clay[4] = -1.0, 61.0
    density[5], density[6], density[7] = 0.49, 2.01, np.nan
    wet[8], dry[9], dry[10], wet[11] = 1.0, 0.0, 0.3, np.nan
    clay[12], density[12] = 21.0, 0.5
    clay[13], density[13] = 19.0, 2.0
    columns = np.stack([sand, silt, clay, density, wet, dry])
    rejected = np.array([soil.best_index() < 6 for soil in SoilData.from_iter(columns.T)])
    assert rejected.sum() == 11
    for version in (1, 3):
        found = run(version, columns, model=5, unsaturated=True)
        assert (np.isnan(found) == rejected).all()


def test_nothing_valid_and_nothing_at_all():
    assert np.isnan(run(3, np.full((3, 4), np.nan), model=2, std=True, unsaturated=True)).all()
    assert run(3, np.empty((3, 0)), model=2).shape == (5, 0)


def test_inputs_keep_shape_and_are_not_written_to():
    columns = textures(6)[:3].reshape(3, 2, 3)
    columns.flags.writeable = False
    assert all(out.shape == (2, 3) for out in rosetta(*columns))


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=lambda entry: entry.name)
def test_the_largest_model_whose_inputs_are_there(entry):
    have = {"sand", "silt", "clay"}
    assert len(entry.resolve(frozenset(have)).inputs) == 3
    for position, name in enumerate(EXTRAS):
        have.add(name)
        assert [v.name for v in entry.resolve(frozenset(have)).inputs[3:]] == list(EXTRAS[: position + 1])
    assert len(entry.resolve(frozenset(have - {"bulk_density"})).inputs) == 3
    # a model that was asked for names its inputs even where they are missing
    assert len(entry.with_options(model=4).resolve(frozenset({"sand"})).inputs) == 5


def test_options():
    entry = ROSETTA_3.with_options(std=True, unsaturated=True).resolve(frozenset())
    names = [v.name for v in entry.outputs]
    curve = ["theta_r", "theta_s", "alpha", "n", "k_sat"]
    assert names == [*curve, "k_0", "l", *(f"{name}_std" for name in [*curve, "k_0", "l"])]
    assert {v.name: v.units for v in entry.outputs}["k_sat_std"] == "cm d-1"
    assert [v.name for v in ROSETTA_3.resolve(frozenset()).outputs] == curve
    with pytest.raises(ArgumentError, match="'geo'"):
        ROSETTA_3.with_options(estimate="geo")
    with pytest.raises(UnknownNameError, match="estimate"):
        ROSETTA_3.with_options(estimates="geometric")


def test_entries_travel_to_a_cluster():
    entry = pickle.loads(pickle.dumps(ROSETTA_3.with_options(model=2).resolve(frozenset())))
    assert (np.array(entry.function(*textures(3)[:3])) == run(3, textures(3), model=2)).all()


@pytest.mark.parametrize("name", ["rosetta1", "rosetta3"])
def test_lazy_is_eager_through_the_verb(name, no_compute):
    columns = textures(40 * 37).astype(np.float32).reshape(6, 40, 37)
    columns[0, :, 5] = np.nan
    units = {"sand": "percent", "silt": "percent", "clay": "percent", "bulk_density": "g cm-3"}
    ds = xr.Dataset({n: (("y", "x"), a, {"units": u}) for (n, u), a in zip(units.items(), columns)})
    eager = ptf(ds, name)
    assert eager.n.dtype == np.float32
    assert eager.n.attrs["ptf_inputs"] == "sand silt clay bulk_density"
    assert np.isnan(eager.n).sum() == 40
    for chunks in ({"y": 7, "x": 11}, {"y": 40, "x": 1}):
        lazy = ptf(ds.chunk(chunks), name)
        assert lazy.n.chunks is not None
        xr.testing.assert_identical(lazy.compute(scheduler="synchronous"), eager)
