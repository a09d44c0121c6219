"""The learner: gradients from the observations to the first layer, bounds, order, gaps, predictions."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'learn' is not installed")

from learning_world import KNOWN, TARGETS, world  # noqa: E402

from xsoil.errors import ArgumentError, MissingVariableError, UnknownNameError  # noqa: E402
from xsoil.networks.learner import ParameterLearner  # noqa: E402
from xsoil.networks.samples import InMemorySource, Sample  # noqa: E402
from xsoil.networks.scaling import InputScaling  # noqa: E402
from xsoil.physics.bounded import Bounded  # noqa: E402

CELLS = np.arange(60)


@pytest.fixture(scope="module")
def sample():
    return world()[0]


def learner_for(sample, targets=TARGETS, network="cnn", **options):
    if network == "cnn":
        options = {"patch": (5, 5), "network_options": {"width": 4, "hidden": 8}} | options
    scaling = InputScaling.fit(InMemorySource(sample), CELLS)
    return ParameterLearner(network, scaling, targets, **options)


class Constant(torch.nn.Module):
    """Gives these numbers, whatever goes in."""

    def __init__(self, *values):
        super().__init__()
        self.values = torch.nn.Parameter(torch.tensor(values))

    def forward(self, static, history):
        return self.values.expand(len(static), -1)


def mean_cost(learner, sample):
    ((cost, counts),) = learner.costs(sample.tensors()).values()
    return cost.sum() / counts.sum(), counts


def test_gradients_reach_the_first_layer(sample):
    learner = learner_for(sample)
    cost, counts = mean_cost(learner, sample)
    cost.backward()
    assert counts.all()
    first = learner.network.transfer[0]
    assert (first.weight.grad != 0).any(dim=0).all()  # of both predictors
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in learner.parameters())


def test_gradients_are_those_of_differences(sample):
    """Through network, bounds, physics, operator and loss."""
    learner = learner_for(sample).double()
    sample = Sample(**{**vars(sample), "static": sample.static.astype("f8")} | {
        name: {n: a.astype("f8") for n, a in getattr(sample, name).items()} for name in ("forcing", "observed")
    })  # fmt: skip
    weight = learner.network.transfer[0].weight
    mean_cost(learner, sample)[0].backward()
    for place in ((0, 0), (2, 1)):
        found = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                weight[place] += step
                found.append(float(mean_cost(learner, sample)[0]))
                weight[place] -= step
        assert (found[0] - found[1]) / 2e-5 == pytest.approx(float(weight.grad[place]), rel=1e-4)


@pytest.mark.parametrize("z", [-1e4, -40.0, 0.0, 40.0, 1e4, -np.inf, np.inf])
def test_at_the_bounds(sample, z):
    """A network that outputs at its bounds: parameters inside, no NaN, neither there nor in gradients."""
    learner = learner_for(sample, network=Constant(z, z, z))
    found = learner(torch.tensor(sample.static))
    for name, bounds in TARGETS.items():
        value = found[name].detach().numpy()
        assert (value >= bounds.low).all()
        assert (value <= bounds.high).all()
    cost, counts = mean_cost(learner, sample)
    cost.backward()
    assert counts.all()
    assert torch.isfinite(cost)
    assert torch.isfinite(learner.network.values.grad).all()


def test_learned_parameters_keep_their_order(sample):
    """Intervals overlap, and yet no cell becomes impossible."""
    targets = {"theta_fc": Bounded(0.05, 0.6), "theta_s": Bounded(0.3, 0.6), "theta_wp": Bounded(0.01, 0.4)}
    known = {n: v for n, v in sample.known.items() if n not in targets} | {"k_sat": np.full(60, 20.0)}
    sample = Sample(**{**vars(sample), "known": known})
    for z in np.random.default_rng(0).normal(0, 6, (20, 3)):
        learner = learner_for(sample, targets, Constant(*z.tolist()))
        found = {name: value.detach()[0] for name, value in learner(torch.tensor(sample.static)).items()}
        assert found["theta_wp"] < found["theta_fc"] < found["theta_s"]
        for name, bounds in targets.items():
            assert bounds.low <= found[name] <= bounds.high
        assert mean_cost(learner, sample)[1].all()


def test_order_with_known_parameters(sample):
    targets = {"theta_fc": Bounded(0.05, 0.6)}
    known = sample.known | {"theta_s": np.linspace(0.3, 0.55, 60), "k_sat": np.full(60, 20.0)}
    del known["theta_fc"]
    learner = learner_for(sample, targets, Constant(30.0))
    tensors = {name: torch.tensor(value) for name, value in known.items()}
    found = learner(torch.tensor(sample.static), None, tensors)["theta_fc"]
    np.testing.assert_allclose(found.detach(), known["theta_s"] - learner.model.gap, rtol=1e-12)
    predicted = learner.predict(sample.static, None, known)["theta_fc"]
    np.testing.assert_allclose(predicted, found.detach(), rtol=1e-6)


def test_impossible_and_missing_cells_do_not_count(sample):
    static, known = sample.static.copy(), {n: v.copy() for n, v in sample.known.items()}
    forcing = {n: v.copy() for n, v in sample.forcing.items()}
    observed = sample.observed["theta_obs"].copy()
    static[0] = np.nan  # predicted from the means of all
    known["theta_s"][1] = 0.1  # below field capacity
    forcing["pet"][0, 2] = np.nan
    observed[:, 3] = np.nan
    learner = learner_for(sample)
    cost, counts = mean_cost(learner, Sample(CELLS, static, None, forcing, {"theta_obs": observed}, {}, known))
    cost.backward()
    assert counts.tolist() == [True, False, False, False] + [True] * 56
    assert all(torch.isfinite(p.grad).all() for p in learner.parameters())


def test_observation_operator(sample):
    tensors = sample.tensors()
    learner = learner_for(sample)
    found = learner(tensors.static, None, tensors.known)
    series = learner.simulate(tensors, found, ("theta", "theta_obs", "actual_et"))
    expected = found["obs_scale"] * series["theta"] + found["obs_bias"]
    np.testing.assert_allclose(series["theta_obs"].detach(), expected.detach(), rtol=1e-6)
    error = (series["theta_obs"] - tensors.observed["theta_obs"]).double()
    np.testing.assert_allclose(
        mean_cost(learner, sample)[0].item(), error[~error.isnan()].square().mean().item(), rtol=1e-3
    )
    # Without it theta_obs is theta.
    k_sat = {"k_sat": found["k_sat"]}
    plain = learner.simulate(tensors, k_sat, ("theta_obs", "theta"))
    assert torch.equal(plain["theta"], plain["theta_obs"])


def test_several_variables_with_weights(sample):
    rng = np.random.default_rng(0)
    observed = sample.observed | {"actual_et": rng.random((60, 60)).astype("f4")}
    sample = Sample(**{**vars(sample), "observed": observed})
    losses = {"theta_obs": "mse", "actual_et": "kge"}
    learner = learner_for(sample, loss=losses, weights={"actual_et": 3.0})
    costs = learner.costs(sample.tensors())
    assert set(costs) == {"theta_obs", "actual_et"}
    assert learner.total({"theta_obs": 1.0, "actual_et": 5.0}) == pytest.approx(4.0)
    with pytest.raises(MissingVariableError, match="no loss for 'actual_et'"):
        learner_for(sample, loss={"theta_obs": "mse"}).costs(sample.tensors())


def test_two_step_loss(sample):
    """Differences as shares of the interval: a parameter at a bound is no infinite target."""
    parameters = {name: np.full(60, bounds.high) for name, bounds in TARGETS.items()}
    parameters["k_sat"][:7] = np.nan
    sample = Sample(**{**vars(sample), "parameters": parameters})
    learner = learner_for(sample, network=Constant(0.0, 0.0, 0.0), strategy="two_step")
    costs = learner.costs(sample.tensors())
    for name in TARGETS:
        cost, counts = costs[name]
        np.testing.assert_allclose(cost[counts].detach(), 0.25, rtol=1e-6)
    assert costs["k_sat"][1].sum() == 53
    sum(cost.sum() for cost, _ in costs.values()).backward()
    assert (learner.network.values.grad < 0).all()
    with pytest.raises(MissingVariableError, match="'k_sat' among the parameters"):
        learner.costs(Sample(**{**vars(sample), "parameters": {}}).tensors())


def test_predictions_do_not_depend_on_company(sample):
    learner = learner_for(sample)
    many = np.tile(sample.static, (11, 1, 1, 1))
    whole = learner.predict(many)
    assert learner.training
    for start, stop in ((0, 1), (5, 262), (300, 660)):
        part = learner.predict(many[start:stop])
        for name in TARGETS:
            np.testing.assert_array_equal(part[name], whole[name][start:stop])
    assert learner.predict(many[:0])["k_sat"].shape == (0,)


def test_predictions_of_cells_without_predictors(sample):
    static = sample.static.copy()
    static[3, 1] = np.nan  # no clay at all, which training always had
    static[4, 0, 0, 0] = np.nan  # one fine cell
    found = learner_for(sample).predict(static)["k_sat"]
    assert np.flatnonzero(np.isnan(found)).tolist() == [3]


def test_first_weights_follow_from_the_seed(sample):
    before = torch.get_rng_state()
    one, same, other = (learner_for(sample, seed=seed).predict(sample.static)["k_sat"] for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_what_is_refused(sample):
    with pytest.raises(UnknownNameError, match="did you mean 'k_sat'"):
        learner_for(sample, {"ksat": Bounded(1, 2)})
    with pytest.raises(ArgumentError, match="no targets"):
        learner_for(sample, {})
    with pytest.raises(ArgumentError, match="bounds of 'k_sat' as arrays"):
        learner_for(sample, {"k_sat": Bounded(np.ones(3), 2)})
    with pytest.raises(UnknownNameError, match="strategy"):
        learner_for(sample, strategy="three_step")
    with pytest.raises(UnknownNameError, match="did you mean 'water_balance'"):
        learner_for(sample, model="waterbalance")
    with pytest.raises(ArgumentError, match="of model 'water_balance'"):
        learner_for(sample, model_options={"steps": 3})
    with pytest.raises(ArgumentError, match="weight -1"):
        learner_for(sample, weights={"theta_obs": -1})
    with pytest.raises(ArgumentError, match=r"gives \(60, 2\); expected \(cells, 3\)"):
        mean_cost(learner_for(sample, network=Constant(0.0, 0.0)), sample)
    with pytest.raises(MissingVariableError, match="no 'theta_s'"):
        mean_cost(learner_for(sample), Sample(**{**vars(sample), "known": {}}))
    with pytest.raises(MissingVariableError, match="no 'precipitation' among the forcing"):
        mean_cost(learner_for(sample), Sample(**{**vars(sample), "forcing": {}}))
    with pytest.raises(MissingVariableError, match="no observations"):
        mean_cost(learner_for(sample), Sample(**{**vars(sample), "observed": {}}))
    assert set(KNOWN) | {"k_sat"} == set(learner_for(sample).model.parameters)
