"""The surrogate of Richards' equation: what it learns from, when it is accepted, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'learn' is not installed")
pytest.importorskip("lightning", reason="the extra 'learn' is not installed")

from xsoil.errors import ArgumentError, MissingVariableError, SoilError  # noqa: E402
from xsoil.networks import surrogate as module  # noqa: E402
from xsoil.networks.learner import ParameterLearner  # noqa: E402
from xsoil.networks.samples import InMemorySource, Sample  # noqa: E402
from xsoil.networks.scaling import InputScaling  # noqa: E402
from xsoil.networks.soil_models import richards  # noqa: E402
from xsoil.networks.surrogate import Surrogate, draw_runs, fit_surrogate  # noqa: E402
from xsoil.physics.bounded import Bounded  # noqa: E402

BOUNDS = {"k_sat": Bounded(5.0, 100.0, log=True), "alpha": Bounded(0.01, 0.05, log=True)}
FIXED = {"theta_r": 0.05, "theta_s": 0.43, "n": 1.5, "h50": -800.0}


@pytest.fixture(scope="module")
def forcing():
    rng = np.random.default_rng(0)
    rain = (rng.random((60, 3)) < 0.3) * rng.exponential(12, (60, 3))
    return {"precipitation": rain, "pet": rng.uniform(1, 5, (60, 3)), "lai": np.full((60, 3), 2.0)}


@pytest.fixture(scope="module")
def runs(forcing):
    return draw_runs(forcing, BOUNDS, 60, days=25, fixed=FIXED)


@pytest.fixture(scope="module")
def trained(runs):
    return fit_surrogate(
        runs, BOUNDS, fixed=FIXED, hidden=16, epochs=40, batch_cells=16, learning_rate=0.02, progress=False
    )


def test_runs_are_those_of_the_solver(forcing, runs):
    again = draw_runs(forcing, BOUNDS, 60, days=25, fixed=FIXED, together=7)
    np.testing.assert_array_equal(runs.observed["theta"], again.observed["theta"])
    assert runs.observed["theta"].shape == (25, 60)
    for name, bounds in BOUNDS.items():
        assert bounds.low <= runs.known[name].min() < runs.known[name].max() <= bounds.high
    tensors = [{n: torch.tensor(v) for n, v in group.items()} for group in (runs.forcing, runs.known | FIXED)]
    theta = richards().run(*tensors, ("theta",))["theta"]
    np.testing.assert_allclose(runs.observed["theta"], theta, rtol=1e-6)


def test_it_learns(trained, runs):
    surrogate, history = trained
    assert history.best < 0.2 * history.validation[0]
    assert int(surrogate.held_out) == 6
    assert float(surrogate.mse) < 0.2 * float(np.var(runs.observed["theta"]))
    theta = surrogate(runs.tensors().forcing, runs.tensors().known)
    assert theta.shape == (25, 60)
    assert ((theta > 0.05) & (theta < 0.43)).all()


def test_acceptance(trained, monkeypatch):
    surrogate, _ = trained
    monkeypatch.setattr(module, "ACCEPTED", float(surrogate.mse) / 2)
    assert not surrogate.accepted
    with pytest.raises(
        ArgumentError, match=r"an error of .* on 6 held-out runs; expected less than .*take model='richards'"
    ):
        surrogate.model(BOUNDS)
    assert not Surrogate(BOUNDS, fixed=FIXED, hidden=4).accepted  # never tested


def test_as_physics_of_a_learner(trained, runs, monkeypatch):
    """Gradients go through it, its own weights are frozen, and a model file names the solver."""
    surrogate, _ = trained
    monkeypatch.setattr(module, "ACCEPTED", 1.0)
    static = np.stack([np.log(runs.known["k_sat"]), runs.known["alpha"]], axis=1).astype("f4")
    sample = Sample(runs.cells, static, None, runs.forcing, runs.observed, {}, {})
    scaling = InputScaling.fit(InMemorySource(sample), runs.cells)
    learner = ParameterLearner("mlp", scaling, BOUNDS, model=surrogate.model(BOUNDS))
    ((cost, counts),) = learner.costs(sample.tensors()).values()
    cost.sum().backward()
    assert counts.all()
    assert all((p.grad != 0).any() for p in learner.parameters())
    assert all(p.grad is None and not p.requires_grad for p in surrogate.parameters())
    again = ParameterLearner.rebuilt(learner.describe(), learner.state_dict())
    assert again.model.name == "richards"
    assert again.model.options == richards().options


def test_what_it_does_not_know_is_missing(trained, runs):
    surrogate, _ = trained
    tensors = runs.tensors()
    forcing = {name: series.clone() for name, series in tensors.forcing.items()}
    known = {name: value.clone().requires_grad_() for name, value in tensors.known.items()}
    forcing["pet"][7, 3] = torch.nan
    with torch.no_grad():
        known["k_sat"][4], known["alpha"][5] = 200.0, torch.nan
    theta = surrogate(forcing, known)
    missing = theta.isnan()
    assert missing[:, [4, 5]].all()
    assert missing[7:, 3].all()
    assert missing.sum() == 2 * 25 + 18
    torch.where(missing, torch.zeros_like(theta), theta).sum().backward()
    assert all(torch.isfinite(value.grad).all() for value in known.values())
    untouched = surrogate(tensors.forcing, tensors.known)
    torch.testing.assert_close(theta[:7, 3], untouched[:7, 3])


def test_round_trip(trained, runs, tmp_path):
    from xsoil.networks.storage import load, save

    surrogate, _ = trained
    save(tmp_path / "surrogate", surrogate.state_dict(), surrogate.describe())
    tensors, description = load(tmp_path / "surrogate")
    again = Surrogate.rebuilt(description, tensors)
    assert float(again.mse) == float(surrogate.mse)
    inputs = runs.tensors().forcing, runs.tensors().known
    assert torch.equal(again(*inputs), surrogate(*inputs))
    for change in ({"hidden": 10**9}, {"bounds": {}}, {"surrogate_of": "other"}, {"options": {"curve": 3}}):
        with pytest.raises(SoilError):
            Surrogate.rebuilt(description | change, tensors)


def test_what_is_refused(trained, forcing, runs, monkeypatch):
    surrogate, _ = trained
    monkeypatch.setattr(module, "ACCEPTED", 1.0)
    with pytest.raises(
        ArgumentError, match=r"'k_sat' is to be learned from 1\.0 to 50\.0, the surrogate knows 5\.0 to 100\.0"
    ):
        surrogate.model({"k_sat": Bounded(1.0, 50.0)})
    with pytest.raises(ArgumentError, match="'n' is to be learned, but the surrogate varies"):
        surrogate.model({"n": Bounded(1.2, 2.0)})
    model, tensors = surrogate.model(BOUNDS), runs.tensors()
    with pytest.raises(ArgumentError, match="theta only, not 'runoff'"):
        model.run(tensors.forcing, tensors.known, ("runoff",))
    with pytest.raises(MissingVariableError, match="no 'alpha'"):
        model.run(tensors.forcing, {"k_sat": tensors.known["k_sat"]}, ("theta",))
    with pytest.raises(ArgumentError, match=r"'n' differs from 1\.5"):
        model.run(tensors.forcing, {**tensors.known, "n": torch.tensor(2.0)}, ("theta",))
    with pytest.raises(ArgumentError, match="of 90 days from 60 days"):
        draw_runs(forcing, BOUNDS, 5, days=90, fixed=FIXED)
    with pytest.raises(MissingVariableError, match="no 'lai'"):
        draw_runs({n: v for n, v in forcing.items() if n != "lai"}, BOUNDS, 5, days=9)
    with pytest.raises(MissingVariableError, match="no 'theta_r' among the bounds"):
        Surrogate(BOUNDS)
    with pytest.raises(ArgumentError, match="3 runs; expected 10"):
        fit_surrogate(runs.take(np.arange(3)), BOUNDS)
