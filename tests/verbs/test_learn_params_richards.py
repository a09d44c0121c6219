"""`learn_params` through Richards columns: twin experiments of an inversion and of a network, faults."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from worlds import weather

from xsoil.errors import ArgumentError, GridMismatchError, MissingVariableError, UnknownNameError
from xsoil.verbs.learn_params import learn_params
from xsoil.verbs.load_model import load_model
from xsoil.verbs.simulate import simulate

CURVE = {"theta_r": 0.05, "theta_s": 0.43, "n": 1.6}
TARGETS = {"alpha": (0.005, 0.15), "k_sat": (1.0, 1000.0)}
QUIET = {"model": "richards", "targets": TARGETS, "progress": False, "depth": 0.05, "lai": 2.0}


@pytest.fixture(scope="module")
def columns():
    """Sites whose alpha and k_sat follow from their sand."""
    sand = np.linspace(10, 85, 10)
    place = {"site": np.arange(10)}
    static = xr.Dataset({"sand": ("site", sand, {"units": "percent"})}, place)
    truth = xr.Dataset(
        {
            "alpha": ("site", 10 ** (-2 + sand / 100), {"units": "cm-1"}),
            "k_sat": ("site", 10 ** (0.5 + sand / 45), {"units": "cm d-1"}),
        },
        place,
    )
    forcing = weather(static.sand, 40)
    forcing["precipitation"] = (0.5 * forcing.precipitation).assign_attrs(units="mm d-1")
    observed = simulate(truth, forcing, "richards", curve="van_genuchten", depths=0.05, lai=2.0, **CURVE)
    return static, forcing, observed.theta.isel(depth=0, drop=True).rename("soil_moisture"), truth


def test_inversion_recovers_the_parameters(columns, tmp_path):
    _, forcing, observed, truth = columns
    learned = learn_params(
        None, observed[::2], forcing, strategy="inverse", error_std=0.003, members=24, iterations=8, **QUIET, **CURVE
    )
    assert float(abs(np.log(learned.params.alpha / truth.alpha)).median()) < 0.1
    assert float(abs(np.log(learned.params.k_sat / truth.k_sat)).median()) < 0.2
    scores = learned.evaluate()
    assert scores.rmse.dims == ("set", "site")
    assert float(scores.rmse.max()) < 0.006
    assert learned.setting.fixed["h50"] == -800
    learned.save(tmp_path / "model")
    again = load_model(tmp_path / "model")
    np.testing.assert_array_equal(again.simulate(forcing).theta, learned.simulate().theta)


def test_complexes_recover_the_parameters(columns):
    _, forcing, observed, truth = columns
    learned = learn_params(
        None, observed[::2], forcing, strategy="inverse", optimizer="sce_ua", evaluations=150, loss="nse", **QUIET,
        **CURVE,
    )  # fmt: skip
    for name in TARGETS:
        assert float(abs(np.log(learned.params[name] / truth[name])).median()) < 0.15, name
    assert float(learned.evaluate().nse.median()) > 0.99
    assert (learned.params.evaluations <= 150).all()


def test_two_steps_recover_the_parameters(columns):
    """With a bound of each site, as theta_s in table 1 of Qi et al. (2026), and a site without one."""
    pytest.importorskip("torch", reason="the extra 'learn' is not installed")
    static, forcing, observed, truth = columns
    high = observed.max("time", keep_attrs=True).clip(0.41) + 0.1
    high = high.where(high.site != 4).assign_attrs(units="m3 m-3")
    targets = TARGETS | {"theta_s": (0.32, high)}
    known = {"theta_r": 0.05, "n": 1.6}
    learned = learn_params(
        static, observed[::2], forcing, strategy="two_step", network="mlp", epochs=100, batch_cells=5,
        learning_rate=2e-2, validation=0, error_std=0.003, members=24, iterations=8, **(QUIET | {"targets": targets}),
        **known,
    )  # fmt: skip
    for name in TARGETS:
        found = np.log(learned.params[name]), np.log(truth[name])
        assert np.corrcoef(*(values[static.site != 4] for values in found))[0, 1] > 0.9, name
    assert learned.params.status.values.tolist() == [8 if site == 4 else 0 for site in range(10)]
    assert learned.inverse.theta_s.isnull().values.tolist() == [site == 4 for site in range(10)]
    assert (learned.params.theta_s <= high).sum() == 9
    assert float(learned.evaluate().rmse.median()) < 0.02
    with pytest.raises(GridMismatchError, match=r"'site' has 10 cells, expected 3; .*targets="):
        learned.predict(static.isel(site=slice(3)))
    other = xr.DataArray([0.33, 0.4, 0.45], dims="site", attrs={"units": "m3 m-3"})
    found = learned.predict(static.isel(site=slice(3)), targets={"theta_s": (0.32, other)})
    assert (found.theta_s <= other).all()
    assert (found.theta_s >= 0.32).all()
    np.testing.assert_array_equal(found.alpha, learned.params.alpha[:3])
    with pytest.raises(ArgumentError, match=r"names 'alpha'; expected bounds of \['theta_s'\]"):
        learned.predict(static, targets={"alpha": (0.01, 0.1)})


def test_a_network_recovers_the_parameters(columns):
    pytest.importorskip("torch", reason="the extra 'learn' is not installed")
    static, forcing, observed, truth = columns
    learned = learn_params(
        static, observed, forcing, network="mlp", epochs=40, batch_cells=5, learning_rate=2e-2, validation=0, **QUIET,
        **CURVE,
    )  # fmt: skip
    assert float(learned.evaluate().rmse.median()) < 0.012
    for name in TARGETS:
        assert np.corrcoef(np.log(learned.params[name]), np.log(truth[name]))[0, 1] > 0.8, name


def test_a_network_recovers_the_parameters_through_a_surrogate(columns, monkeypatch):
    pytest.importorskip("torch", reason="the extra 'learn' is not installed")
    from xsoil.networks import surrogate as module

    static, forcing, observed, truth = columns
    targets = {"alpha": (0.01, 0.1), "k_sat": (3.0, 300.0)}
    made = {"runs": 400, "hidden": 32, "epochs": 40, "batch_cells": 40, "learning_rate": 0.01, "schedule": "one_cycle"}
    options = QUIET | {"physics": "surrogate", "network": "mlp", "epochs": 60, "surrogate": made, "batch_cells": 5}
    options |= {"targets": targets, "learning_rate": 2e-2, "validation": 0}
    learned = learn_params(static, observed, forcing, **options, **CURVE)
    surrogate = learned.surrogate
    assert surrogate.accepted
    assert int(surrogate.held_out) == 40
    options["surrogate"] = surrogate
    for name in targets:
        assert np.corrcoef(np.log(learned.params[name]), np.log(truth[name]))[0, 1] > 0.95, name
    assert float(learned.evaluate().rmse.median()) < 0.006  # of the solver
    assert learned.setting.fixed["n"] == CURVE["n"]  # of its runs
    assert learned.setting.model == "richards"
    direct = simulate(
        learned.params[list(targets)], forcing, "richards", curve="van_genuchten", depths=0.05, lai=2.0, **CURVE
    )
    np.testing.assert_array_equal(learned.simulate().theta, direct.theta)  # by the solver
    few = options | {"epochs": 1, "model": "richards_surrogate"}
    one = learn_params(static, observed, forcing, **few)
    other = learn_params(static, observed, forcing, **(few | {"physics": "direct"}))  # the model says it already
    np.testing.assert_array_equal(one.params.k_sat, other.params.k_sat)
    with pytest.raises(ArgumentError, match="expected model='richards_surrogate' together with"):
        learn_params(static, observed, forcing, **(options | {"surrogate": None}))
    with pytest.raises(ArgumentError, match="strategy='inverse' with a surrogate"):
        learn_params(static, observed, forcing, **(options | {"strategy": "inverse"}))
    with pytest.raises(ArgumentError, match="unexpected keyword argument 'wdith'"):
        learn_params(static, observed, forcing, **(options | {"surrogate": {"runs": 12, "wdith": 3}}), **CURVE)
    maps = CURVE | {"n": (truth.k_sat / 1e4 + 1.6).assign_attrs(units="1")}
    with pytest.raises(ArgumentError, match="'n' differs from cell to cell"):
        learn_params(static, observed, forcing, **(options | {"surrogate": {"runs": 12}}), **maps)
    with pytest.raises(ArgumentError, match="surrogate is str"):
        learn_params(static, observed, forcing, **(options | {"surrogate": "mine"}))
    monkeypatch.setattr(module, "ACCEPTED", 1e-9)
    with pytest.raises(ArgumentError, match="held-out runs; expected less than"):
        learn_params(static, observed, forcing, **options)


def test_faults(columns):
    _, forcing, observed, _ = columns

    def refused(error, match, **changes):
        options = QUIET | {"strategy": "inverse"} | CURVE | changes
        with pytest.raises(error, match=match):
            learn_params(None, observed, forcing, **{k: v for k, v in options.items() if v is not None})

    refused(UnknownNameError, "did you mean 'van_genuchten'", curve="van_genuchtn")
    refused(UnknownNameError, "unknown model", model="surrogate")
    refused(MissingVariableError, "lai: put it into the forcing", lai=None)
    refused(MissingVariableError, r"n: learn it, targets=\{'n': \(1\.05, 8\.0\)\}", n=None)
    refused(ArgumentError, r"depth=0\.7 in a column of 0\.5 m", depth=0.7)
    refused(UnknownNameError, "unknown target 'lai'", targets=["lai"])
    refused(UnknownNameError, "theta_fc", theta_fc=0.3)
