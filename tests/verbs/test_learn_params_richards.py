"""`learn_params` through Richards columns: twin experiments of an inversion and of a network, faults."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from worlds import weather

from xsoil.errors import ArgumentError, MissingVariableError, UnknownNameError
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


def test_a_network_recovers_the_parameters(columns):
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    static, forcing, observed, truth = columns
    learned = learn_params(
        static, observed, forcing, network="mlp", epochs=40, batch_cells=5, learning_rate=2e-2, validation=0, **QUIET,
        **CURVE,
    )  # fmt: skip
    torch.set_num_threads(threads)
    assert float(learned.evaluate().rmse.median()) < 0.012
    for name in TARGETS:
        assert np.corrcoef(np.log(learned.params[name]), np.log(truth[name]))[0, 1] > 0.8, name


def test_a_network_learns_through_a_surrogate(columns, monkeypatch):
    pytest.importorskip("torch")
    from xsoil.networks import surrogate as module
    from xsoil.physics.bounded import Bounded

    static, forcing, observed, _ = columns
    bounds = {name: Bounded(*ends, log=True) for name, ends in TARGETS.items()}
    days = {name: forcing[name].values for name in ("precipitation", "pet")} | {"lai": np.full((40, 10), 2.0)}
    fixed = CURVE | {"h50": -800.0}
    runs = module.draw_runs(days, bounds, 40, days=20, fixed=fixed)
    surrogate, _ = module.fit_surrogate(runs, bounds, fixed=fixed, hidden=8, epochs=3, progress=False)
    options = QUIET | {"model": "richards_surrogate", "network": "mlp", "epochs": 2, "surrogate": surrogate}
    with pytest.raises(ArgumentError, match="held-out runs; expected less than"):
        learn_params(static, observed, forcing, **options)
    monkeypatch.setattr(module, "ACCEPTED", 1.0)
    learned = learn_params(static, observed, forcing, **options)
    assert learned.setting.fixed["n"] == CURVE["n"]  # of its runs
    assert learned.setting.model == "richards"
    direct = simulate(
        learned.params[list(TARGETS)], forcing, "richards", curve="van_genuchten", depths=0.05, lai=2.0, **CURVE
    )
    np.testing.assert_array_equal(learned.simulate().theta, direct.theta)  # by the solver
    with pytest.raises(ArgumentError, match="expected model='richards_surrogate' together with"):
        learn_params(static, observed, forcing, **(options | {"surrogate": None}))
    with pytest.raises(ArgumentError, match="strategy='inverse' with a surrogate"):
        learn_params(static, observed, forcing, **(options | {"strategy": "inverse"}))
    with pytest.raises(ArgumentError, match="surrogate is str"):
        learn_params(static, observed, forcing, **(options | {"surrogate": "mine"}))


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
