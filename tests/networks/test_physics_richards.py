"""Richards columns under torch: gradcheck, against the kernel, layers, missing cells."""

from __future__ import annotations

import numpy as np
import pytest

from xsoil.errors import ArgumentError, MissingVariableError, UnknownNameError
from xsoil.kernels.richards import run
from xsoil.physics.richards import grid

torch = pytest.importorskip("torch", reason="the extra 'learn' is not installed")

from xsoil.networks.physics import richards  # noqa: E402  (needs torch)

LOAM = {"theta_r": 0.078, "theta_s": 0.43, "alpha": 0.036, "n": 1.56, "k_sat": 24.96, "l": 0.5}
LOAM |= {"root_depth": 0.4, "h50": -800.0}
SILT = {"theta_s": 0.40, "alpha": 0.006, "n": 1.4, "m": 0.66, "k_sat": 20.0, "root_depth": 0.3}
SILT |= {"h1": -5.0, "h2": -20.0, "h3_high": -300.0, "h3_low": -600.0, "h4": -8000.0}
ALL = ("theta", "h", "storage", "actual_et", "runoff", "drainage", "inflow", "uptake", "final_h", "final_theta")
# Steps whose lengths depend on nothing, so that differences are those of steps that do not vary.
FIXED = {"change": 1e9, "reject": 1e9, "largest_step": 0.1, "tolerance": 1e-12}


def world(soil=LOAM, days=4, cells=2, seed=0):
    rng = np.random.default_rng(seed)
    rain = np.where(rng.random((days, cells)) < 0.5, rng.exponential(15, (days, cells)), 0.0) + 0.1
    factor = torch.linspace(0.95, 1.05, cells, dtype=torch.float64)
    parameters = {name: value * factor for name, value in soil.items()}
    return torch.tensor(rain), torch.tensor(rng.uniform(1, 6, (days, cells))), parameters


def leaves(*tensors):
    return [tensor.clone().requires_grad_(True) for tensor in tensors]


def test_forward_is_the_kernel():
    rain, pet, parameters = world(days=20, cells=3)
    found = richards(rain, pet, 2.0, parameters, outputs=ALL, depths=(0.05, 0.3), skip=4)
    values = [parameters[name].numpy() for name in ("theta_r", "theta_s", "alpha", "n", "k_sat", "l")]
    series, state, _ = run(
        rain.numpy(), pet.numpy(), 2.0, values, curve="van_genuchten", widths=grid(50.0), depths=(5.0, 30.0),
        root_depth=100 * parameters["root_depth"].numpy(), stress=(parameters["h50"].numpy(),), outputs=ALL[:-2],
        skip=4,
    )  # fmt: skip
    for name, array in (series | {"final_h": state[0], "final_theta": state[1]}).items():
        np.testing.assert_array_equal(found[name].numpy(), array, err_msg=name)
    single = richards(rain.float(), pet.float(), 2.0, parameters, outputs=("theta", "final_h"))
    assert single["theta"].dtype == torch.float32
    assert single["final_h"].dtype == torch.float64


@pytest.mark.parametrize("soil", [LOAM, SILT], ids=["van_genuchten", "fredlund_xing_wang"])
def test_gradcheck(soil):
    rain, pet, parameters = world(soil)
    lai, start = torch.full((4, 2), 1.5, dtype=torch.float64), torch.full((29, 2), -60.0, dtype=torch.float64)
    options = {"uptake": "feddes", "curve": "fredlund_xing_wang"} if soil is SILT else {}

    def outputs(p, e, leaf, initial, *values):
        found = richards(
            p, e, leaf, dict(zip(parameters, values, strict=True)), initial=initial, outputs=ALL, depths=(0.02, 0.2),
            control=FIXED, every=3, **options,
        )  # fmt: skip
        # Of the order of theta, as one tolerance is for all.
        scales = {"h": 1e-3, "final_h": 1e-3, "theta": 1.0, "final_theta": 1.0}
        return tuple(scales.get(name, 0.01) * series for name, series in found.items())

    inputs = leaves(rain, pet, lai, *parameters.values())
    assert torch.autograd.gradcheck(
        lambda p, e, leaf, *values: outputs(p, e, leaf, start, *values), inputs, eps=1e-6, atol=1e-5, rtol=1e-4,
        nondet_tol=0.0, fast_mode=False,
    )  # fmt: skip
    # Of the many heads at the start, their sum in one random direction.
    fixed = [tensor.detach() for tensor in inputs]
    (initial,) = leaves(start)
    assert torch.autograd.gradcheck(
        lambda h: outputs(*fixed[:3], h, *fixed[3:]), [initial], eps=1e-4, atol=1e-6, rtol=1e-3, fast_mode=True
    )


def test_boundaries():
    rain, pet, parameters = world()
    top, bottom = torch.full((4, 2), 3.0, dtype=torch.float64), torch.tensor([0.7, 0.9], dtype=torch.float64)

    def outputs(above, below):
        found = richards(
            rain, pet, 1.0, parameters, top="flux", top_value=above, bottom="water_table", bottom_value=below,
            outputs=("theta", "drainage"), control=FIXED,
        )  # fmt: skip
        return found["theta"], 0.01 * found["drainage"]

    assert torch.autograd.gradcheck(outputs, leaves(top, bottom), eps=1e-6, atol=1e-6, rtol=1e-4)
    plain = richards(rain, pet, 1.0, parameters, top="flux", top_value=3.0, outputs=("inflow",))
    np.testing.assert_allclose(plain["inflow"], 3.0, rtol=1e-12)


def test_layers():
    rain, pet, parameters = world()
    (k_sat,) = leaves(torch.stack([parameters["k_sat"], 0.2 * parameters["k_sat"]]))
    nodes = [0] * 15 + [1] * 14

    def theta(values, layers, **options):
        soil = parameters | {"k_sat": values}
        return richards(rain, pet, 1.0, soil, layers=layers, control=FIXED, **options)["theta"]

    assert torch.autograd.gradcheck(lambda k: theta(k, nodes), [k_sat], eps=1e-5, atol=1e-7, rtol=1e-4)
    (by_node,) = leaves(k_sat.detach()[torch.tensor(nodes)])
    theta(k_sat, nodes).sum().backward()
    theta(by_node, None, room=200).sum().backward()
    torch.testing.assert_close(by_node.grad[:15].sum(0), k_sat.grad[0])
    torch.testing.assert_close(by_node.grad[15:].sum(0), k_sat.grad[1])


def test_numbers_single_precision_and_the_state_alone():
    rain, pet, _ = world(days=6)
    (k_sat,) = leaves(torch.tensor([20.0, 30.0]))
    found = richards(rain.float(), pet.float(), 1.0, LOAM | {"k_sat": k_sat}, outputs=("final_h", "runoff"), depths=())
    (0.01 * found["final_h"].sum()).backward()
    wide = leaves(k_sat.detach().double(), torch.tensor([1.56], dtype=torch.float64))
    values = LOAM | {"k_sat": wide[0], "n": wide[1]}
    (0.01 * richards(rain.float(), pet.float(), 1.0, values, outputs=("final_h",))["final_h"].sum()).backward()
    assert k_sat.grad.dtype == torch.float32
    torch.testing.assert_close(k_sat.grad, wide[0].grad.float())
    assert wide[1].grad.shape == (1,)


def test_missing_cells_teach_nothing():
    rain, pet, parameters = world(days=6, cells=4)
    rain[3, 1] = torch.nan
    parameters["theta_r"][2] = 0.9
    inputs = leaves(*parameters.values())
    theta = richards(rain, pet, 2.0, dict(zip(parameters, inputs, strict=True)))["theta"]
    assert theta[3:, :, 1].isnan().all()
    assert theta[:, :, 2].isnan().all()
    torch.where(theta.isnan(), 0.0, theta).sum().backward(retain_graph=True)
    for leaf in inputs:
        assert leaf.grad.isfinite().all()
        assert leaf.grad[2] == 0
        assert leaf.grad[1] != 0
        leaf.grad = None
    theta.sum().backward()
    for leaf in inputs:
        np.testing.assert_array_equal(leaf.grad.isnan().numpy(), [False, True, True, False])


def test_a_conductivity_is_found():
    """Learning through the columns: k_sat from theta in a dozen steps towards no misfit."""
    rain, pet, parameters = world(days=25, cells=3)
    told = richards(rain, pet, 2.0, parameters, depths=(0.05, 0.2))["theta"]
    (guess,) = leaves(torch.log(3.0 * parameters["k_sat"]))
    for _ in range(12):
        found = richards(rain, pet, 2.0, parameters | {"k_sat": guess.exp()}, depths=(0.05, 0.2))["theta"]
        misfit = ((found - told) ** 2).mean(dim=(0, 1))
        slope = torch.autograd.grad(misfit.sum(), guess)[0]
        with torch.no_grad():
            guess -= (2 * misfit / slope).clamp(-0.7, 0.7) * (slope.abs() > 1e-12)
    torch.testing.assert_close(guess.exp().detach(), parameters["k_sat"], rtol=0.02, atol=0.0)


def test_faults():
    rain, pet, parameters = world()
    with pytest.raises(MissingVariableError, match="h50"):
        richards(rain, pet, 1.0, {name: value for name, value in parameters.items() if name != "h50"})
    with pytest.raises(UnknownNameError, match="van_genuchten"):
        richards(rain, pet, 1.0, parameters, curve="van_genuchen")
    with pytest.raises(UnknownNameError, match="theta"):
        richards(rain, pet, 1.0, parameters, outputs=("theta_",))
    with pytest.raises(ArgumentError, match="time, cells"):
        richards(rain[:, 0], pet[:, 0], 1.0, parameters)
    with pytest.raises(ArgumentError, match="'k_sat' is of shape"):
        richards(rain, pet, 1.0, parameters | {"k_sat": torch.ones(3)})
    with pytest.raises(UnknownNameError, match="did you mean 'k_sat'"):
        richards(rain, pet, 1.0, parameters | {"ksat": 3.0})
    for days, cells in ((0, 1), (1, 0)):
        with pytest.raises(ArgumentError, match="a day and a column at least"):
            richards(torch.ones(days, cells), torch.ones(days, cells), 1.0, parameters)
    with pytest.raises(ArgumentError, match="precipitation is ndarray; expected"):
        richards(rain.numpy(), pet, 1.0, parameters)
    with pytest.raises(ArgumentError, match="29 nodes"):
        richards(rain, pet, 1.0, parameters, layers=[0, 1])
    with pytest.raises(ArgumentError, match="has 1 layers, but layers names 0 to 1"):
        richards(rain, pet, 1.0, parameters | {"n": torch.full((1, 2), 1.5)}, layers=[0] * 20 + [1] * 9)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_cuda_comes_and_goes():
    rain, pet, parameters = world()
    ours, theirs = leaves(parameters["k_sat"], parameters["k_sat"].cuda())
    here = richards(rain, pet, 1.0, parameters | {"k_sat": ours})["theta"]
    there = richards(rain.cuda(), pet.cuda(), 1.0, parameters | {"k_sat": theirs})["theta"]
    torch.testing.assert_close(there.cpu(), here, rtol=0, atol=0)
    here.sum().backward()
    there.sum().backward()
    torch.testing.assert_close(theirs.grad.cpu(), ours.grad, rtol=0, atol=0)
