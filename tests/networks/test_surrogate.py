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
from xsoil.physics.curves import CURVES  # noqa: E402

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


WIDE = {
    "van_genuchten": {"theta_r": (0.0, 0.15), "theta_s": (0.32, 0.6), "alpha": (0.0015, 0.23), "n": (1.05, 8.0),
                      "k_sat": (0.3, 8000.0)},
    "fredlund_xing_wang": {"theta_s": (0.32, 0.6), "alpha": (0.0015, 0.2), "n": (1.05, 13.5), "m": (0.2, 1.6),
                           "k_sat": (0.5, 8000.0)},
}  # fmt: skip


@pytest.mark.parametrize("curve", WIDE)
def test_it_is_shown_the_curves(curve):
    bounds = {name: Bounded(*pair, log=name not in ("theta_r", "theta_s")) for name, pair in WIDE[curve].items()}
    surrogate = Surrogate(bounds, fixed={"h50": -800.0}, options={"curve": curve}, hidden=4)
    rng = np.random.default_rng(0)
    ends = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])  # of the bounds, first of half of the parameters
    shares = np.concatenate([rng.random((40, len(bounds))), ends[:, np.arange(len(bounds)) % 2]])
    values = {name: b.to_bounded(np.log(np.clip(u, 1e-9, 1 - 1e-9) / (1 - np.clip(u, 1e-9, 1 - 1e-9))))
              for (name, b), u in zip(bounds.items(), shares.T, strict=True)}  # fmt: skip
    soil = {name: torch.tensor(value, requires_grad=True) for name, value in values.items()}
    saturation, logarithm = surrogate._shown({"l": 0.5, **soil}, torch.zeros(len(shares), dtype=torch.float64))
    row, columns = CURVES[curve], {"l": 0.5} | {name: value[:, None] for name, value in values.items()}
    heads = np.array(module.HEADS)[None]
    dry = columns.get("theta_r", 0.0)
    theta = row.theta(heads, *(columns[name] for name in row.retention))
    k = row.k(heads, *(columns[name] for name in row.conductivity))
    expected = 2 * (theta - dry) / (columns["theta_s"] - dry) - 1
    np.testing.assert_allclose(saturation.detach(), expected, rtol=1e-9, atol=1e-12)
    expected = np.log10(np.maximum(k, module.LEAST_SHOWN)) / 5 + 1
    np.testing.assert_allclose(logarithm.detach(), expected, rtol=1e-9, atol=1e-12)
    assert saturation.detach().min() < -0.99
    assert saturation.detach().max() > 0.99
    (saturation.sum() + logarithm.sum()).backward()
    assert all(torch.isfinite(value.grad).all() and (value.grad != 0).any() for name, value in soil.items()
               if not name.startswith("theta"))  # fmt: skip


def test_other_curves_go_in_by_their_parameters():
    bounds = {"psi_s": Bounded(-100.0, -5.0), "k_sat": Bounded(1.0, 100.0, log=True)}
    fixed = {"theta_r": 0.05, "theta_s": 0.43, "lambda": 0.4, "h50": -800.0}
    surrogate = Surrogate(bounds, fixed=fixed, options={"curve": "brooks_corey"}, hidden=4)
    assert surrogate.begin.in_features == 2
    shown = Surrogate(BOUNDS, fixed=FIXED, hidden=4)
    assert shown.begin.in_features == 2 + 2 * len(module.HEADS)


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
