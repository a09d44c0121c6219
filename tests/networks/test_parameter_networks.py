"""Networks of parameters: any patch, rings, series, modules of the user's, what they refuse."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra 'learn' is not installed")

from xsoil.errors import ArgumentError, UnknownNameError  # noqa: E402
from xsoil.networks import parameter_networks  # noqa: E402
from xsoil.networks.parameter_networks import InputShapes, network_of  # noqa: E402


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("size", [1, 2, 4, 5, 9, 36, 108])
def test_patches_of_any_size(size):
    network = network_of("cnn", InputShapes((3, size, size)), 2, {"width": 4, "hidden": 8})
    patch = torch.randn(2, 3, size, size)
    found = network(patch, None)
    found.sum().backward()
    assert found.shape == (2, 2)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    convolutions = sum(isinstance(layer, torch.nn.Conv2d) for layer in network.modules())
    assert convolutions == {1: 0, 2: 0, 4: 0, 5: 1, 9: 2, 36: 4, 108: 5}[size]


@pytest.mark.parametrize("name", ["cnn", "mpr"])
def test_large_patches_go_in_pieces(name, monkeypatch):
    network = network_of(name, InputShapes((2, 9, 9)), 2)
    patch, found = torch.randn(7, 2, 9, 9), []
    for places in (2**20, 3 * 81):
        monkeypatch.setattr(parameter_networks, "_PLACES", places)
        network.zero_grad()
        value = network(patch)
        value.square().sum().backward()
        found.append([value.detach(), *(p.grad.clone() for p in network.parameters())])
    for whole, pieces in zip(*found, strict=True):
        torch.testing.assert_close(pieces, whole)


def test_patches_need_not_be_square():
    network = network_of("cnn", InputShapes((1, 9, 12)), 2)
    assert network(torch.randn(3, 1, 9, 12), None).shape == (3, 2)


def test_ring_is_seen_by_the_convolutions_only():
    network = network_of("cnn", InputShapes((1, 13, 13)), 1, {"ring": 2})
    patch = torch.randn(1, 1, 13, 13, requires_grad=True)
    network(patch, None).sum().backward()
    assert (patch.grad[0, 0, 0] != 0).any()
    without = network_of("cnn", InputShapes((1, 4, 4)), 1, {"ring": 1})  # too small for convolutions
    patch = torch.randn(1, 1, 4, 4, requires_grad=True)
    without(patch, None).sum().backward()
    assert (patch.grad[0, 0, 0] == 0).all()
    assert (patch.grad[0, 0, 1:3, 1:3] != 0).all()


@pytest.mark.parametrize(("how", "operator"), [("max", torch.amax), ("min", torch.amin), ("mean", torch.mean)])
def test_pixels_then_one_operator(how, operator):
    """Parameters of each fine cell by itself, then the operator; the ring is left out."""
    network = network_of("mpr", InputShapes((2, 7, 7)), 3, {"how": how, "ring": 1})
    patch = torch.randn(4, 2, 7, 7)
    fine = torch.cat(
        [network(patch[:, :, i - 1 : i + 2, j - 1 : j + 2])[:, None] for i in range(1, 6) for j in range(1, 6)], 1
    )
    torch.testing.assert_close(network(patch), operator(fine, dim=1))
    several = network_of("mpr", InputShapes((2, 7, 7)), 3, {"how": f"{how}, median, median", "ring": 1})
    several.load_state_dict(network.state_dict())
    torch.testing.assert_close(several(patch)[:, 0], network(patch)[:, 0])
    torch.testing.assert_close(several(patch)[:, 1], fine.median(dim=1).values[:, 1])


@pytest.mark.parametrize("static", [None, (3,), (3, 5, 5)])
def test_series_and_vectors(static):
    values = None if static is None else torch.randn(4, *static)
    series = torch.randn(4, 20, 2)
    network = network_of("lstm", InputShapes(static, 2), 5, {"hidden": 6})
    found = network(values, series)
    assert found.shape == (4, 5)
    assert not torch.equal(found, network(values, series.flip(1)))
    if static is not None:
        assert not torch.equal(found, network(values + 1, series))
        vector = network_of("mlp", InputShapes(static), 5, {"hidden": 6, "layers": 3})
        assert vector(values, None).shape == (4, 5)
    if static == (3, 5, 5):
        top = network_of("mlp", InputShapes(static), 5, {"how": "max"})
        torch.testing.assert_close(top(values), top(values.amax(dim=(2, 3))))


def test_a_module_of_the_users():
    module = torch.nn.Linear(3, 2)
    assert network_of(module, InputShapes((3,)), 2) is module
    with pytest.raises(ArgumentError, match="give them to the module itself"):
        network_of(module, InputShapes((3,)), 2, {"hidden": 3})


def test_what_is_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'cnn'"):
        network_of("cn", InputShapes((3, 9, 9)), 2)
    with pytest.raises(UnknownNameError, match="did you mean 'hidden'"):
        network_of("mlp", InputShapes((3,)), 2, {"hiden": 3})
    with pytest.raises(ArgumentError, match="expected patches"):
        network_of("cnn", InputShapes((3,)), 2)
    with pytest.raises(ArgumentError, match="without a history"):
        network_of("lstm", InputShapes((3,)), 2)
    with pytest.raises(ArgumentError, match="takes no history"):
        network_of("mlp", InputShapes((3,), 2), 2)
    with pytest.raises(ArgumentError, match="without static predictors"):
        network_of("mlp", InputShapes(None), 2)
    with pytest.raises(ArgumentError, match="ring of 2"):
        network_of("cnn", InputShapes((3, 4, 4)), 2, {"ring": 2})
    with pytest.raises(UnknownNameError, match="did you mean 'mean'"):
        network_of("mpr", InputShapes((3, 9, 9)), 2, {"how": "meen"})
    with pytest.raises(ArgumentError, match="names 3 operators; expected 1 or 2"):
        network_of("mpr", InputShapes((3, 9, 9)), 2, {"how": "max,max,min"})
    with pytest.raises(ArgumentError, match="layers=0"):
        network_of("mlp", InputShapes((3,)), 2, {"layers": 0})
