"""Inversions by `learn_params`: several variables, bounds of single cells, draws, what is told of every cell."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from worlds import BOUNDS, LI, world

import xsoil  # noqa: F401  (registers .soil)
from xsoil.evaluation.splits import Split
from xsoil.verbs.learn_params import learn_params
from xsoil.verbs.load_model import load_model
from xsoil.verbs.simulate import simulate

QUIET = {"progress": False, "targets": BOUNDS, "substeps": 6}


@pytest.fixture(scope="module")
def small():
    """One world, simulated with 6 sub-steps."""
    _, forcing, _, truth = world(4, 5, 150)
    observed = simulate(truth, forcing, outputs="theta_obs", substeps=6, **LI).theta_obs[::3].rename("soil_moisture")
    return forcing, observed, truth


@pytest.mark.parametrize("optimizer", ["ies", "sce_ua"])
def test_several_observed_variables(small, optimizer):
    """Moisture that tells little, and drainage that tells k_sat; both are compared."""
    forcing, observed, truth = small
    rng = np.random.default_rng(0)
    drainage = simulate(truth, forcing, outputs="drainage", substeps=6, **LI).drainage[::2]
    few = observed.where(observed.time < observed.time[5]) + rng.normal(0, 0.02, observed.shape)
    noise = rng.normal(0, 0.05, drainage.shape)
    both = xr.Dataset({"soil_moisture": few.assign_attrs(observed.attrs), "drainage": drainage + noise})
    both["drainage"].attrs["units"] = "mm d-1"
    both["drainage"][:, 0, 0] = np.nan
    options = QUIET | {"strategy": "inverse", "targets": {"k_sat": (1, 1000), "obs_bias": (-0.3, 0.7)}}
    options |= {"optimizer": optimizer, "obs_scale": truth.obs_scale}
    weights = {"soil_moisture": 1.0, "drainage": 1.0}
    errors = {"soil_moisture": 0.02, "drainage": 0.05}
    loss = {"soil_moisture": "mse", "drainage": "nse"}
    more = {"error_std": errors} if optimizer == "ies" else {"loss": loss, "evaluations": 600}
    learned = learn_params(None, both, forcing, weights=weights, **more, **options, **LI)
    off = abs(np.log(learned.params.k_sat / truth.k_sat)).values.ravel()
    assert np.median(off[1:]) < 0.02
    assert off[0] > 3 * np.median(off[1:])  # the cell without drainage
    assert abs(learned.params.obs_bias - truth.obs_bias).median() < 0.02
    scores = learned.evaluate()
    assert scores.observed.values.tolist() == ["soil_moisture", "drainage"]
    assert scores.nse.sel(observed="drainage").median() > 0.95
    alone = learn_params(None, both[["soil_moisture"]], forcing, **options, **LI)
    assert abs(np.log(alone.params.k_sat / truth.k_sat)).median() > 5 * np.median(off[1:])


@pytest.mark.parametrize("optimizer", ["ies", "sce_ua"])
def test_bounds_of_each_cell(small, optimizer, tmp_path):
    """Cells whose truth lies beyond end at their bound; a cell without a bound takes no part; blocks do not show."""
    forcing, observed, truth = small
    high = truth.k_sat.copy(deep=True).astype("f8")
    high[:2] *= 0.5
    high[2:] *= 3
    high[3, 3], high[3, 4] = np.nan, 0.5
    high = (high / 8.64e6).assign_attrs(units="m s-1")
    targets = BOUNDS | {"k_sat": (1.0, high)}
    options = QUIET | {"strategy": "inverse", "optimizer": optimizer, "targets": targets}
    options |= {"error_std": 0.002} if optimizer == "ies" else {}
    learned = learn_params(None, observed, forcing, **options, **LI)
    found = learned.params.k_sat.values
    at_the_bound = found[:2] / (0.5 * truth.k_sat[:2].values)
    assert (at_the_bound <= 1 + 1e-6).all()
    assert np.median(at_the_bound) > 0.95
    free = np.log(found[2] / truth.k_sat[2].values)
    assert np.median(np.abs(free)) < 0.1
    assert np.isnan(found[3, 3:]).all()
    assert learned.params.status.values[3, 3:].tolist() == [8, 8]
    blocks = learn_params(None, observed.chunk(y=1), forcing.chunk(y=1, x=2), memory_budget=1, **options, **LI)
    np.testing.assert_array_equal(blocks.params.k_sat, found)
    learned.save(tmp_path / "model")
    again = load_model(tmp_path / "model")
    np.testing.assert_allclose(again.setting.ends["k_sat_high"], learned.setting.ends["k_sat_high"])
    assert list(again.setting.ends) == ["k_sat_low", "k_sat_high"]


def test_draws_of_the_posterior(small, tmp_path):
    forcing, observed, _ = small
    split = Split.random_cells(observed, 0.2)
    options = QUIET | {"strategy": "inverse", "split": split, "error_std": 0.005, "members": 40}
    learned = learn_params(None, observed, forcing, draws=True, **options, **LI)
    draws = learned.draws
    assert draws.k_sat.dims == ("member", "y", "x")
    assert draws.k_sat.shape == (40, 4, 5)
    inside = split.train.values
    assert (draws.k_sat.notnull().all("member").values == inside).all()
    np.testing.assert_allclose(draws.k_sat.std("member", ddof=1), learned.params.k_sat_spread, rtol=1e-4)
    off = (draws.k_sat.mean("member") - learned.params.k_sat) / learned.params.k_sat_spread
    assert float(abs(off).max()) < 1.0
    seen = draws.soil.simulate(forcing, outputs="theta_obs", substeps=6, **LI).theta_obs
    assert seen.dims == ("time", "member", "y", "x")
    spread = seen.isel(time=slice(0, None, 3)).std("member")
    assert 0 < float(spread.median()) < 0.005
    learned.save(tmp_path / "model")
    again = load_model(tmp_path / "model")
    np.testing.assert_array_equal(again.draws.k_sat, draws.k_sat)
    plain = learn_params(None, observed, forcing, **options, **LI)
    assert plain.draws is None
    np.testing.assert_array_equal(plain.params.k_sat, learned.params.k_sat)


def test_the_report_of_every_cell(small):
    forcing, observed, _ = small
    observed = observed.copy(deep=True)
    observed[:, 1, 1] = 0.3
    options = QUIET | {"strategy": "inverse", "targets": {"k_sat": (1, 1000), "theta_s": (0.1, 0.6)}}
    options |= {"obs_scale": 1.0}
    fixed = {name: value for name, value in LI.items() if name != "theta_s"}
    found = learn_params(None, observed, forcing, iterations=1, **options, **fixed).params
    assert set(found.search_status.values.ravel()) <= {0, 1, 2}
    assert (found.search_status == 1).any()  # budget spent
    assert found.evaluations.min() >= 128
    assert found.failed_runs.max() > 0  # theta_s below field capacity
    assert found.cost.notnull().all()
    found = learn_params(None, observed, forcing, optimizer="sce_ua", loss="kge", evaluations=60, **options, **fixed)
    assert found.params.status.values[1, 1] == 128
    assert "constant_observations" in found.params.status.attrs["flag_meanings"].split()
    assert found.params.search_status.values[1, 1] == 255
    assert found.params.k_sat.isnull().sum() == 1


@pytest.mark.parametrize("budget", [1e9, 1])
def test_the_bar_counts_cells(small, capsys, budget):
    """Also within a block of cells, and over several blocks."""
    forcing, observed, _ = small
    options = QUIET | {"progress": True, "strategy": "inverse", "targets": {"k_sat": (1, 1000)}, "obs_scale": 1.0}
    options |= {"members": 8, "iterations": 3, "memory_budget": budget}
    learn_params(None, observed.chunk(y=2), forcing.chunk(y=2), **options, **LI)
    shown = capsys.readouterr().err
    assert "inverting: 100%" in shown
    assert "20/20" in shown
