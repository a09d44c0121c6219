"""`learn_params` with networks: twin experiments, predictions on maps, files, resume, faults."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from worlds import BOUNDS, LI, coarse_grid, fine_grid, on_grid, texture, weather, world

import xsoil  # noqa: F401  (registers .soil)
from xsoil.errors import ArgumentError, GridMismatchError, MissingVariableError, TimeError, UnitsError, UnknownNameError
from xsoil.evaluation.splits import Split
from xsoil.verbs.learn_params import learn_params
from xsoil.verbs.load_model import load_model
from xsoil.verbs.simulate import simulate

torch = pytest.importorskip("torch", reason="the extra 'learn' is not installed")

STEPS = 4
OPTIONS = {"targets": BOUNDS, "substeps": STEPS, "progress": False, "batch_cells": 16, "learning_rate": 2e-2}


def observed_of(truth, forcing):
    return simulate(truth, forcing, outputs="theta_obs", substeps=STEPS, **LI).theta_obs[::3].rename("soil_moisture")


@pytest.fixture(scope="module")
def small():
    fine, forcing, _, truth = world(14, 10, 120)
    return fine, forcing, observed_of(truth, forcing), truth


@pytest.fixture(scope="module")
def split(small):
    times = Split.times(train=("2015-01", "2015-03"), test="2015-04")
    return Split.random_cells(small[2], 0.2, seed=2) & times


@pytest.fixture(scope="module")
def learned(small, split):
    fine, forcing, observed, _ = small
    return learn_params(fine, observed, forcing, split=split, epochs=60, **OPTIONS, **LI)


def rank(a, b):
    a, b = (np.argsort(np.argsort(v.values.ravel())) for v in (a, b))
    return np.corrcoef(a, b)[0, 1]


def test_end_to_end_recovers_the_parameters(small, learned):
    truth = small[3]
    scores = learned.evaluate().rmse.median(("y", "x"))
    assert scores["set"].values.tolist() == ["train", "temporal", "spatial", "spatio_temporal"]
    assert (scores < 0.02).all(), scores.values
    assert rank(learned.params.obs_scale, truth.obs_scale) > 0.9
    assert rank(learned.params.obs_bias, truth.obs_bias) > 0.9
    assert rank(learned.params.k_sat, truth.k_sat) > 0.65
    assert learned.params.k_sat.dtype == np.float32
    assert learned.params.k_sat.attrs["units"] == "cm d-1"
    status = learned.params.status
    assert int((status & 16 > 0).sum()) == 11
    assert int((status & 32 > 0).sum()) == 28
    assert learned.history.train.sizes["epoch"] <= 60
    assert learned.history.attrs["stopped"] in ("epochs", "patience")


def test_two_steps_recover_the_parameters(small, split):
    fine, forcing, observed, truth = small
    learned = learn_params(
        fine, observed, forcing, strategy="two_step", split=split, epochs=80, error_std=0.002, **OPTIONS, **LI
    )
    assert learned.inverse.obs_scale.notnull().sum() == 112
    assert rank(learned.params.obs_scale, truth.obs_scale) > 0.9
    assert rank(learned.params.k_sat, truth.k_sat) > 0.6
    assert (learned.evaluate().rmse.median(("y", "x")) < 0.03).all()


def test_the_same_seed_gives_the_same_bits_in_any_chunks(small, split):
    fine, forcing, observed, _ = small
    options = OPTIONS | {"split": split, "epochs": 2}
    one = learn_params(fine, observed, forcing, **options, **LI)
    two = learn_params(
        fine.chunk(y=20, x=13), observed.chunk(time=9, y=4), forcing.chunk(time=30, y=3, x=5), **options, **LI
    )
    other = learn_params(fine, observed, forcing, **(options | {"seed": 1}), **LI)
    for name in BOUNDS:
        assert two.params[name].chunks is not None
        np.testing.assert_array_equal(one.params[name], two.params[name])
        assert not one.params[name].equals(other.params[name])
    np.testing.assert_array_equal(one.history.train, two.history.train)


def test_cells_that_do_not_fit_into_memory(small, split):
    fine, forcing, observed, _ = small
    learned = learn_params(fine, observed, forcing, split=split, epochs=15, memory_budget=100e3, **OPTIONS, **LI)
    assert float(learned.history.train[-1]) < 0.1 * float(learned.history.train[0])


def test_resume_goes_on_to_the_same_bits(small, split, tmp_path):
    fine, forcing, observed, _ = small

    def run(epochs, **more):
        return learn_params(fine, observed, forcing, split=split, epochs=epochs, **more, **OPTIONS, **LI)

    whole = run(4)
    run(2, directory=tmp_path)
    (tmp_path / "xsoil-scratch-left").mkdir()  # by a run that was killed
    resumed = run(4, directory=tmp_path, resume=True)
    np.testing.assert_array_equal(resumed.params.k_sat, whole.params.k_sat)
    np.testing.assert_array_equal(resumed.history.validation, whole.history.validation)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.ckpt", "last.ckpt"]  # no scratch left


def test_prediction_is_lazy_and_does_not_depend_on_chunks(small, learned):
    fine = small[0]
    eager = learned.predict(fine)
    np.testing.assert_array_equal(eager.k_sat, learned.params.k_sat)
    assert eager.x.equals(learned.params.x)
    for chunks in ({"y": 17, "x": 100}, {"y": 100, "x": 5}, {"y": 9, "x": 9}):
        lazy = learned.predict(fine.chunk(chunks))
        assert lazy.k_sat.chunks is not None
        for name in BOUNDS:
            np.testing.assert_array_equal(lazy[name], eager[name])


def test_prediction_builds_no_numbers(learned, no_compute):
    fine = texture(fine_grid(coarse_grid(14, 10))).chunk(y=20, x=20)
    assert learned.predict(fine).k_sat.chunks is not None


def test_prediction_elsewhere(small, learned):
    coarse = coarse_grid(20, 9)[12:]
    fine = texture(fine_grid(coarse, margin=4), seed=7)
    found = learned.predict(fine)
    assert found.k_sat.shape == (8, 9)
    named = learned.predict(fine, to=coarse)
    assert named.k_sat.shape == coarse.shape
    np.testing.assert_array_equal(found.k_sat, named.k_sat)
    flipped = learned.predict(fine.isel(y=slice(None, None, -1), x=slice(None, None, -1)))
    np.testing.assert_array_equal(flipped.k_sat, found.k_sat)
    fraction = fine.assign(sand=(fine.sand / 100).assign_attrs(units="1"))
    np.testing.assert_allclose(learned.predict(fraction).k_sat, found.k_sat, rtol=1e-3)
    part = learned.predict(fine.isel(y=slice(30, None)))  # whole cells only
    assert part.k_sat.shape == (5, 9)
    np.testing.assert_array_equal(part.k_sat, found.k_sat[3:])


def test_a_ring_of_neighbours_shows_no_seams(small, split):
    fine, forcing, observed, _ = small
    learned = learn_params(fine, observed, forcing, split=split, ring=4, epochs=1, **OPTIONS, **LI)
    eager = learned.params
    for chunks in ({"y": 7, "x": 50}, {"y": 50, "x": 6}):
        lazy = learned.predict(fine.chunk(chunks), to=observed)
        np.testing.assert_array_equal(lazy.k_sat, eager.k_sat)
    gone = fine.where(fine.x > fine.x[20])
    changed = learned.predict(gone, to=observed).k_sat
    np.testing.assert_array_equal(changed[:, 3:], eager.k_sat[:, 3:])
    assert (changed[:, 2] != eager.k_sat[:, 2]).any()  # its ring is gone
    assert changed[:, 0].isnull().all()


def test_models_go_through_a_file(small, learned, tmp_path):
    fine, forcing, _, _ = small
    learned.save(tmp_path / "model")
    again = load_model(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(fine).k_sat, learned.params.k_sat)
    np.testing.assert_array_equal(again.params.status, learned.params.status)
    np.testing.assert_array_equal(again.simulate(forcing).theta_obs, learned.simulate().theta_obs)
    assert again.history.equals(learned.history)
    assert repr(again) == repr(learned)
    again.save(tmp_path / "copy")
    np.testing.assert_array_equal(load_model(tmp_path / "copy").predict(fine).k_sat, learned.params.k_sat)
    weights = tmp_path / "model" / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ArgumentError, match="damaged"):
        load_model(tmp_path / "model")
    weights.unlink()
    with pytest.raises(ArgumentError, match="no model of xsoil"):
        load_model(tmp_path / "model")


def sites(n=40, days=100):
    rng = np.random.default_rng(3)
    place = {"site": np.arange(n), "lat": ("site", rng.uniform(30, 45, n)), "lon": ("site", rng.uniform(-100, -90, n))}
    sand = rng.uniform(10, 90, n).astype("f4")
    maps = {"sand": ("site", sand, {"units": "percent"}), "flat": ("site", np.ones(n), {"units": "1"})}
    static = xr.Dataset(maps, place)
    truth = xr.Dataset({"k_sat": ("site", 10 ** (0.3 + sand / 40), {"units": "cm d-1"})}, place)
    forcing = weather(static.sand, days)
    theta = simulate(truth, forcing, substeps=STEPS, **LI).theta.rename("soil_moisture")
    return static, forcing, theta, truth


def test_sites_with_a_perceptron_and_a_constant_predictor():
    static, forcing, observed, truth = sites()
    split = Split.spatial_blocks(observed, 300, fraction=0.25)
    options = OPTIONS | {"targets": {"k_sat": (1, 1000)}, "network": "mlp", "epochs": 80, "split": split}
    learned = learn_params(static, observed, forcing, **options, **LI)
    assert rank(learned.params.k_sat, truth.k_sat) > 0.95
    assert learned.evaluate()["set"].values.tolist() == ["train", "spatial"]
    lazy = learned.predict(static.chunk(site=7))
    np.testing.assert_array_equal(lazy.k_sat, learned.params.k_sat)
    missing = static.assign(sand=static.sand.where(static.site != 3))
    found = learned.predict(missing).k_sat
    assert found.isnull().values.tolist() == [site == 3 for site in range(40)]


def test_sites_with_a_history():
    static, forcing, theta, _ = sites(30, 140)
    history = xr.Dataset({"soil_moisture": theta[:60], "precipitation": forcing.precipitation[:60]})
    history["soil_moisture"] = history.soil_moisture.where(history.time.dt.day != 3)
    options = OPTIONS | {"targets": {"k_sat": (1, 1000)}, "network": "lstm", "epochs": 3}
    options |= {"network_options": {"hidden": 8}}
    learned = learn_params(static, theta[60:], forcing, history=history, **options, **LI)
    assert learned.params.k_sat.notnull().all()
    shorter = learned.predict(static, history=history.isel(time=slice(20, None)))
    assert (shorter.k_sat != learned.params.k_sat).any()
    lazy = learned.predict(static.chunk(site=9), history=history.chunk(site=11, time=13))
    np.testing.assert_array_equal(lazy.k_sat, learned.params.k_sat)
    alone = learn_params(None, theta[60:], forcing, history=history, **options, **LI)
    np.testing.assert_array_equal(alone.predict(xr.Dataset(), history=history).k_sat, alone.params.k_sat)
    with pytest.raises(MissingVariableError, match="trained with a history"):
        learned.predict(static)
    for wrong in (history.isel(time=slice(None, None, -1)), history.isel(time=[0, 1, 1, 2])):
        with pytest.raises(TimeError, match="unsorted or repeated"):
            learned.predict(static, history=wrong)


def test_a_module_and_a_loss_of_the_user(small, split, tmp_path):
    class Mine(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.last = torch.nn.Linear(4, 3)

        def forward(self, static, history=None):
            flat = static.flatten(2)
            return self.last(torch.cat([flat.mean(2), flat.amax(2)], 1))

    fine, forcing, observed, _ = small
    options = OPTIONS | {"split": split, "epochs": 10, "loss": "kge"}
    learned = learn_params(fine, observed, forcing, network=Mine(), **options, **LI)
    assert float(learned.history.train[-1]) < 0.7 * float(learned.history.train[0])
    learned.save(tmp_path / "mine")
    with pytest.raises(ArgumentError, match="torch module of the user's"):
        load_model(tmp_path / "mine")
    again = load_model(tmp_path / "mine", network=Mine())
    np.testing.assert_array_equal(again.predict(fine).k_sat, learned.params.k_sat)


def test_a_pixelwise_network_with_an_operator(small, split):
    """MPR: a transfer function of each fine cell, then the operator; the ring is none of the cell."""
    fine, forcing, observed, _ = small
    options = OPTIONS | {"split": split, "epochs": 2, "network": "mpr", "network_options": {"how": "max"}}
    plain = learn_params(fine, observed, forcing, **options, **LI)
    ringed = learn_params(fine, observed, forcing, ring=3, schedule="one_cycle", **options, **LI)
    inside = fine.where((fine.x > fine.x[1]) & (fine.x < fine.x[-2]), 0.0)
    changed = ringed.predict(inside, to=observed).k_sat
    np.testing.assert_array_equal(changed, ringed.params.k_sat)
    assert plain.params.k_sat.notnull().all()


def test_several_observed_variables(small, split):
    fine, forcing, observed, truth = small
    runoff = simulate(truth, forcing, outputs="drainage", substeps=STEPS, **LI).drainage
    both = xr.Dataset({"soil_moisture": observed, "drainage": runoff.isel(time=slice(None, None, 3))})
    learned = learn_params(
        fine, both, forcing, split=split, epochs=2, weights={"soil_moisture": 1.0, "drainage": 0.01}, **OPTIONS, **LI
    )
    found = learned.evaluate()
    assert found.observed.values.tolist() == ["soil_moisture", "drainage"]
    assert found.rmse.dims == ("observed", "set", "y", "x")


def test_predictors_that_are_missing(small, split):
    fine, forcing, observed, _ = small
    gaps = fine.copy(deep=True)
    gaps.sand[:20, :20] = np.nan
    gaps.clay[:20, :20] = np.nan
    learned = learn_params(gaps, observed, forcing, split=split, epochs=1, **OPTIONS, **LI)
    status = learned.params.status.values
    assert status[0, 0] & 4 or status[0, 0] & 32
    assert learned.params.k_sat.isnull().values[0, 0]
    assert learned.params.k_sat.notnull().values[3:].all()


def test_faults(small, split):
    fine, forcing, observed, _ = small

    def refused(error, match, ds=fine, **changes):
        options = OPTIONS | {"split": split, "epochs": 1} | LI | changes
        with pytest.raises(error, match=match):
            learn_params(ds, observed, forcing, **options)

    refused(UnknownNameError, "did you mean 'cnn'", network="cn")
    refused(UnknownNameError, "unknown", loss="rmse2")
    refused(UnknownNameError, "width", network_options={"widht": 3})
    refused(MissingVariableError, "no predictors", ds=None)
    refused(ArgumentError, "validation=2", validation=2)
    refused(ArgumentError, "epochs=0", epochs=0)
    refused(ArgumentError, "resume=True without a directory", resume=True)
    refused(ArgumentError, "ring=-1", ring=-1)
    bare = fine.drop_attrs().assign_coords(fine.coords)
    coarse = on_grid(coarse_grid(14, 10), {"sand": np.full((14, 10), 30.0)})
    refused(ArgumentError, "network='mlp'", ds=coarse)
    refused(UnitsError, "no units", ds=bare)
    flags = xr.ones_like(fine.sand, dtype="u1").assign_attrs(flag_masks=np.array([1, 2], "u1"), flag_meanings="a b")
    refused(ArgumentError, "'quality' holds flags", ds=fine.assign(quality=flags))
    refused(GridMismatchError, "do not nest", ds=fine.assign_coords(y=fine.y + 300))


def test_faults_of_predictions(small, learned):
    fine = small[0]
    with pytest.raises(MissingVariableError, match="no 'clay'"):
        learned.predict(fine[["sand"]])
    with pytest.raises(GridMismatchError, match="do not nest"):
        learned.predict(fine.assign_coords(y=fine.y + 300), to=small[2])
    with pytest.raises(GridMismatchError, match="in training 9"):
        learned.predict(fine.soil.upscale("EASE2_M03km"), to=small[2])
    with pytest.raises(UnknownNameError, match="unknown given parameter 'theta_q'"):
        learned.predict(fine, theta_q=0.3)
