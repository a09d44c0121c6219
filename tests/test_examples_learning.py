"""The examples that learn parameters, on worlds small enough for a test."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from example_runs import load, refusal, run

torch = pytest.importorskip("torch", reason="the extra 'learn' is not installed")
pytest.importorskip("lightning", reason="the extra 'learn' is not installed")


@pytest.fixture(scope="module")
def synthetic():
    return load("li2024_synthetic")


@pytest.fixture(scope="module")
def strip(synthetic):
    return synthetic.worlds(1, (12, 12))


def test_the_truth_of_the_synthetic_world(synthetic, strip):
    """K_sat of a 9 km cell is the greatest of its 81 fine cells; the coarser scales see the mean of the moisture."""
    own, wide = strip
    fine = own.soil.soil.ptf("li2024_cb2").k_sat.values.reshape(12, 9, 12, 9)
    np.testing.assert_allclose(own.truth.k_sat, fine.max(axis=(1, 3)), rtol=1e-6)
    assert wide.truth.k_sat.shape == (24, 12)
    coarse = synthetic.at_scale(wide, "108 km")
    assert coarse.observed.shape == (487, 2, 1)
    seen = wide.series.theta_obs.isel(y=slice(0, 12)).mean(("y", "x"))
    np.testing.assert_allclose(coarse.series.theta_obs[:, 0, 0], seen, rtol=1e-5)


def test_scores_are_zero_for_the_truth_and_not_for_another(own_scores):
    truth, other = own_scores
    assert all(value < 1e-7 for name, value in truth.items() if name.startswith(("rmse", "log10")) and value == value)
    assert truth["rank k_sat"] == pytest.approx(1)
    assert other["rmse spatial"] > 0.005
    assert other["rmse drainage"] > 0.05
    assert other["log10 k_sat"] == pytest.approx(np.log10(2), rel=1e-4)


@pytest.fixture
def own_scores(synthetic, strip):
    own = strip[0]
    return own.scores(own.truth), own.scores(
        own.truth.assign(k_sat=own.truth.k_sat * 2, obs_bias=own.truth.obs_bias + 0.01)
    )


def test_the_cases_are_learned_once(synthetic, strip, tmp_path, monkeypatch):
    """All rows are there, the search finds its cells' K_sat, training lowers the error; a second run learns nothing."""
    own, wide = strip
    results = synthetic.Results(tmp_path)
    before = own.scores(own.learn("MPR (without error)", 1).params)
    monkeypatch.setitem(synthetic.BATCH, "9 km", 16)
    rows = synthetic.cases(own, 15, results)
    table = pd.DataFrame(rows).set_index("case")
    assert list(table.index) == list(synthetic.CASES)
    assert table.loc["Inverse", "rmse train"] < 0.001
    assert table.loc["Inverse", "log10 k_sat, drains"] < 0.1
    assert np.isnan(table.loc["Inverse", "rmse spatial"])
    assert table.loc["MPR (without error)", "rmse spatial"] < 0.5 * before["rmse spatial"]
    coarse = pd.DataFrame(synthetic.scales(wide, 2, results))
    assert len(coarse) == 6
    assert np.isfinite(coarse["rmse train"]).all()
    assert "log10 k_sat" not in coarse
    monkeypatch.setattr(synthetic.World, "learn", lambda *_: pytest.fail("learned twice"))
    again = pd.DataFrame(synthetic.cases(own, 15, results)).set_index("case")
    pd.testing.assert_frame_equal(again, table)


def test_li2024_smap(data, tmp_path):
    run("li2024_smap", "--data", data, "--out", tmp_path, "--seeds=3", "--epochs=12")
    scores = pd.read_csv(tmp_path / "scores-seed3-epochs12.csv")
    medians = scores.groupby(["set", "way"]).ubrmse.median()
    assert medians["train", "inverse"] < medians["train", "inverse of K_sat, A, B"] < 0.035
    assert medians["spatial", "end-to-end"] < medians["spatial", "mean of the training days"]
    assert not scores[scores.set.str.startswith("spat")].way.str.startswith("inverse").any()
    tested = {way: set(part.pixel) for way, part in scores[scores.set == "spatial"].groupby("way")}
    assert tested["end-to-end"] == tested["two-step"] == tested["PTF alone"]
    differences = pd.read_csv(tmp_path / "differences.csv")
    assert len(differences) == 21
    assert (differences.low <= differences.high).all()
    assert (tmp_path / "ubrmse.png").stat().st_size > 20_000


def test_predictors_of_smap_know_the_training_days_only(data):
    """Other observations and other weather after the training days change no predictor."""
    smap = load("li2024_smap")
    ds = smap.read(data / "conus_smap_nldas.nc")
    later = ds.time > np.datetime64(smap.TRAIN[1])
    names = ["soil_moisture", "precipitation", "pet", "air_temperature"]
    changed = ds.assign({name: ds[name].where(~later, ds[name] * 2 + 1) for name in names})
    assert smap.predictors(ds).equals(smap.predictors(changed))
    earlier = ds.assign(soil_moisture=ds.soil_moisture.where(later, ds.soil_moisture * 2))
    assert not smap.predictors(ds).equals(smap.predictors(earlier))


def test_the_bootstrap_is_paired():
    """A constant difference of paired pixels is found exactly, however much the pixels differ."""
    smap = load("li2024_smap")
    a = np.random.default_rng(1).normal(0, 10, 101)
    value, low, high = smap.difference(a + 0.5, a, np.random.default_rng(0))
    assert value == pytest.approx(0.5)
    assert low == pytest.approx(0.5)
    assert high == pytest.approx(0.5)
    assert smap.difference(np.append(a, np.nan), np.append(a, 3.0), np.random.default_rng(0))[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["li2024_smap", "--data", "nowhere"], "no file nowhere"),
        (["li2024_synthetic", "--size", "24", "30"], "multiples of 12"),
    ],
)
def test_wrong_arguments_are_named(arguments, message, tmp_path):
    name, *rest = arguments
    assert message in refusal(name, *rest, "--out", tmp_path)
