"""The water balance under torch: gradcheck, both paths against each other, against the kernel."""

from __future__ import annotations

import numpy as np
import pytest

from xsoil.errors import ArgumentError, MissingVariableError, UnknownNameError
from xsoil.kernels import water_balance as kernel

torch = pytest.importorskip("torch", reason="the extra 'learn' is not installed")

from xsoil.networks.physics import PARAMETERS, water_balance  # noqa: E402  (needs torch)

SERIES = ("theta", "storage", "actual_et", "runoff", "drainage", "final_theta")


def world(days=12, cells=5, seed=0):
    rng = np.random.default_rng(seed)
    rain = (rng.random((days, cells)) < 0.4) * rng.exponential(15, (days, cells)) + 0.05
    low, high = (0.4, 0.2, 0.05, 20.0, 0.2, 0.1, 0.5), (0.5, 0.35, 0.15, 200.0, 1.0, 0.6, 1.2)
    parameters = {
        name: torch.tensor(rng.uniform(a, b, cells)) for name, a, b in zip(PARAMETERS, low, high, strict=True)
    }
    return torch.tensor(rain), torch.tensor(rng.uniform(0.1, 7, (days, cells))), parameters


def leaves(*tensors):
    return [tensor.clone().requires_grad_(True) for tensor in tensors]


def test_forward_is_the_kernel():
    rain, pet, parameters = world(30, 40)
    found = water_balance(rain, pet, parameters, outputs=SERIES)
    series, (final, _) = kernel.run(
        rain.numpy(), pet.numpy(), [parameters[name].numpy() for name in PARAMETERS], outputs=kernel.SERIES
    )
    for name in kernel.SERIES:
        np.testing.assert_array_equal(found[name].numpy(), series[name])
    np.testing.assert_array_equal(found["final_theta"].numpy(), final)


def test_gradcheck():
    rain, pet, parameters = world()
    start = torch.full((5,), 0.24, dtype=torch.float64)

    def run(p, e, initial, *values):
        found = water_balance(p, e, dict(zip(PARAMETERS, values, strict=True)), initial=initial, outputs=SERIES)
        return tuple(found.values())

    inputs = leaves(rain, pet, start, *parameters.values())
    assert torch.autograd.gradcheck(run, inputs, eps=1e-7, atol=1e-4, rtol=1e-4, nondet_tol=0.0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_both_paths_agree(dtype):
    rain, pet, parameters = world(40, 20)
    weights = torch.linspace(-1, 1, 40 * 20, dtype=dtype).reshape(40, 20)
    gradients = []
    for native in (False, True):
        inputs = leaves(rain.to(dtype), pet.to(dtype), *parameters.values())
        found = water_balance(
            *inputs[:2], dict(zip(PARAMETERS, inputs[2:], strict=True)), outputs=SERIES, native=native
        )
        loss = sum((found[name] * weights).sum() for name in SERIES[:-1]) + found["final_theta"].sum()
        loss.backward()
        gradients.append([leaf.grad.numpy() for leaf in inputs])
    rtol = 1e-8 if dtype == torch.float64 else 2e-3
    for ours, native in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, native, rtol=rtol, atol=rtol * np.abs(native).max())


def test_numbers_and_one_column_stand_for_all_cells():
    rain, pet, parameters = world()
    fixed = {name: float(values[0]) for name, values in parameters.items()}
    k_sat = torch.tensor([50.0], dtype=torch.float64, requires_grad=True)
    water_balance(rain, pet, fixed | {"k_sat": k_sat})["theta"].sum().backward()
    assert k_sat.grad.shape == (1,)
    assert k_sat.grad.abs() > 0


def test_missing_cells_teach_nothing():
    rain, pet, parameters = world()
    rain[4, 2] = torch.nan
    parameters["theta_s"][3] = 0.1
    parameters["k_sat"][4] = torch.nan
    gradients = []
    for native in (False, True):
        inputs = leaves(rain, pet, *parameters.values())
        theta = water_balance(*inputs[:2], dict(zip(PARAMETERS, inputs[2:], strict=True)), native=native)["theta"]
        assert theta[:4, 2].isfinite().all()
        assert theta[4:, 2].isnan().all()
        assert theta[:, 3:].isnan().all()
        torch.where(theta.isnan(), 0.0, theta).sum().backward()
        gradients.append([leaf.grad for leaf in inputs])
        for leaf in inputs:
            assert leaf.grad.isfinite().all()
            assert (leaf.grad[..., 3:] == 0).all()
    for ours, native in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, native, rtol=1e-8, atol=1e-8 * float(native.abs().max()))


def test_faults():
    rain, pet, parameters = world()
    with pytest.raises(MissingVariableError, match="k_sat"):
        water_balance(rain, pet, {name: value for name, value in parameters.items() if name != "k_sat"})
    with pytest.raises(UnknownNameError, match="theta"):
        water_balance(rain, pet, parameters, outputs=("theta_",))
    with pytest.raises(ArgumentError, match="time, cells"):
        water_balance(rain[:, 0], pet[:, 0], parameters)
    for wrong in ({"parameters": parameters | {"k_sat": torch.ones(3)}}, {"initial": torch.ones(3)}):
        with pytest.raises(ArgumentError, match="one for each cell"):
            water_balance(rain, pet, **{"parameters": parameters, **wrong})
    with pytest.raises(UnknownNameError, match="did you mean 'k_sat'"):
        water_balance(rain, pet, parameters | {"ksat": 3.0})
    with pytest.raises(ArgumentError, match=r"precipitation is torch\.float16; expected"):
        water_balance(rain.half(), pet.half(), parameters)
    with pytest.raises(ArgumentError, match="pet is ndarray; expected"):
        water_balance(rain, pet.numpy(), parameters)


@pytest.mark.parametrize("native", [False, True])
def test_one_output_by_its_name_and_a_number_to_begin_with(native):
    rain, pet, parameters = world()
    found = water_balance(rain, pet, parameters, initial=0.3, outputs="theta", native=native)
    expected = water_balance(rain, pet, parameters, initial=torch.full((5,), 0.3), native=native)
    assert torch.equal(found["theta"], expected["theta"])
    none = water_balance(rain[:0], pet[:0], parameters, initial=0.3, outputs=("theta", "final_theta"), native=native)
    assert none["theta"].shape == (0, 5)
    np.testing.assert_allclose(none["final_theta"], parameters["theta_wp"].clamp(min=0.3))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_cuda_agrees_with_the_cpu():
    rain, pet, parameters = world(40, 20)
    ours = water_balance(rain, pet, parameters, outputs=SERIES)
    there = water_balance(
        rain.cuda(), pet.cuda(), {name: value.cuda() for name, value in parameters.items()}, outputs=SERIES
    )
    for name in SERIES:
        torch.testing.assert_close(there[name].cpu(), ours[name], rtol=1e-9, atol=1e-9)
