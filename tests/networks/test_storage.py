"""Saved models: the same predictions when read again, and refused if anything is not understood."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'learn' is not installed")
safetensors = pytest.importorskip("safetensors.torch", reason="the extra 'learn' is not installed")

from learning_world import TARGETS, world  # noqa: E402

from xsoil.errors import ArgumentError, UnknownNameError  # noqa: E402
from xsoil.networks.learner import ParameterLearner  # noqa: E402
from xsoil.networks.samples import InMemorySource, Sample  # noqa: E402
from xsoil.networks.scaling import InputScaling  # noqa: E402
from xsoil.networks.storage import load, save  # noqa: E402


@pytest.fixture(scope="module")
def sample():
    sample = world()[0]
    return Sample(**{**vars(sample), "history": np.random.default_rng(0).random((60, 8, 2))})


def learner_for(sample, network="cnn", **options):
    if network == "cnn":
        sample, options = Sample(**{**vars(sample), "history": None}), {"patch": (5, 5)} | options
    elif network == "mlp":
        sample = Sample(**{**vars(sample), "static": sample.static[:, :, 2, 2], "history": None})
    scaling = InputScaling.fit(InMemorySource(sample), np.arange(60))
    return ParameterLearner(network, scaling, TARGETS, **options), (sample.static, sample.history)


@pytest.fixture
def saved(sample, tmp_path):
    """Folder of a model, the learner, its inputs."""
    learner, inputs = learner_for(sample)
    save(tmp_path / "model", learner.state_dict(), {"learner": learner.describe(), "units": {"k_sat": "cm d-1"}})
    return tmp_path / "model", learner, inputs


@pytest.mark.parametrize(
    ("network", "options"),
    [
        (
            "cnn",
            {"network_options": {"width": 5, "ring": 1}, "loss": {"theta_obs": "kge"}, "weights": {"theta_obs": 2}},
        ),
        ("mlp", {"strategy": "two_step", "least_pairs": 3}),
        ("lstm", {"model_options": {"substeps": 12}, "patch": (5, 5)}),
    ],
)
def test_round_trip(sample, tmp_path, network, options):
    learner, inputs = learner_for(sample, network, **options)
    description = {"learner": learner.describe(), "note": "für alle"}
    save(tmp_path / "model", learner.state_dict(), description)
    tensors, found = load(tmp_path / "model")
    assert found == json.loads(json.dumps(description))
    again = ParameterLearner.rebuilt(found["learner"], tensors)
    assert again.describe() == learner.describe()
    for name, value in learner.predict(*inputs).items():
        np.testing.assert_array_equal(again.predict(*inputs)[name], value)


class Own(torch.nn.Module):
    def __init__(self, width=2):
        super().__init__()
        self.layer = torch.nn.Linear(width, 3)

    def forward(self, static, history):
        return self.layer(static.mean(dim=(2, 3)))


def test_a_module_of_the_users(sample, tmp_path):
    learner, inputs = learner_for(Sample(**{**vars(sample), "history": None}), Own(), patch=(5, 5))
    save(tmp_path / "model", learner.state_dict(), {"learner": learner.describe()})
    tensors, found = load(tmp_path / "model")
    again = ParameterLearner.rebuilt(found["learner"], tensors, Own())
    np.testing.assert_array_equal(again.predict(*inputs)["k_sat"], learner.predict(*inputs)["k_sat"])
    with pytest.raises(ArgumentError, match="give one of the same architecture as network="):
        ParameterLearner.rebuilt(found["learner"], tensors)
    with pytest.raises(
        ArgumentError, match=r"tensor 'network.layer.weight' is .*\(3, 2\); this network needs .*\(3, 4\)"
    ):
        ParameterLearner.rebuilt(found["learner"], tensors, Own(4))


def test_saved_again_over_itself_but_over_nothing_else(saved, tmp_path):
    path, learner, _ = saved
    (path / "notes.txt").write_text("mine")
    save(path, learner.state_dict(), {"second": 2})
    assert load(path)[1] == {"second": 2}
    assert (path / "notes.txt").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("mine")
    for taken in (tmp_path / "other", tmp_path / "other" / "file"):
        with pytest.raises(ArgumentError, match="holds no model of xsoil"):
            save(taken, learner.state_dict(), {})
    with pytest.raises(ArgumentError, match="no plain JSON"):
        save(tmp_path / "new", learner.state_dict(), {"bad": float("nan")})
    with pytest.raises(ArgumentError, match="no plain JSON"):
        save(tmp_path / "new", learner.state_dict(), {"bad": {1, 2}})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "other"]


def edit(path, change):
    whole = json.loads((path / "description.json").read_text())
    change(whole)
    (path / "description.json").write_text(json.dumps(whole))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.update(format="other"), "of format 'other'"),
        (lambda w: w.update(version=2), "version 2; this xsoil reads version 1"),
        (lambda w: w.update(version="1"), "version '1'"),
        (lambda w: w.update(more=1), "has the keys"),
        (lambda w: w.pop("description"), "has the keys"),
        (lambda w: w["weights"].pop("sha256"), "has the keys"),
        (lambda w: w["weights"].update(bytes=3), "bytes; expected 3"),
        (lambda w: w["weights"].update(sha256="0"), "its digest is not"),
        (lambda w: w["weights"]["tensors"].update(huge={"dtype": "float32", "shape": [10**12]}), "tensors need"),
        (lambda w: w["weights"]["tensors"].update(odd={"dtype": "float32", "shape": [0]}), "does not hold.*'odd'"),
        (lambda w: w["weights"]["tensors"].update(odd={"dtype": "load", "shape": [0]}), "is described as"),
        (lambda w: w["weights"]["tensors"].update(odd={"dtype": "float32", "shape": [-1]}), r"has shape \[-1\]"),
        (lambda w: w["weights"]["tensors"].update(odd=[]), "is described as"),
        (lambda w: w["weights"].update(tensors=[]), "is damaged"),
        (lambda w: w.update(weights=7), "has the keys 7"),
    ],
)
def test_descriptions_that_are_refused(saved, change, message):
    path, _, _ = saved
    edit(path, change)
    with pytest.raises(ArgumentError, match=message):
        load(path)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe", b'{"format": NaN}', b"[" * 100_000, pickle.dumps({})])
def test_text_that_is_no_description(saved, text):
    path, _, _ = saved
    (path / "description.json").write_bytes(text)
    with pytest.raises(ArgumentError, match="is no description of a model"):
        load(path)


def test_damaged_weights(saved, tmp_path):
    path, _, _ = saved
    file = path / "weights.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    with pytest.raises(ArgumentError, match="damaged or of another model"):
        load(path)
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ArgumentError, match="digest"):
        load(path)
    content = b"x" * len(whole)
    file.write_bytes(content)
    import hashlib

    edit(path, lambda w: w["weights"].update(sha256=hashlib.sha256(content).hexdigest()))
    with pytest.raises(ArgumentError, match="is no safetensors file"):
        load(path)
    file.unlink()
    with pytest.raises(ArgumentError, match="no model of xsoil at"):
        load(path)
    with pytest.raises(ArgumentError, match="no model of xsoil at"):
        load(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda d: d.update(more=1), ArgumentError, "missing or foreign entries: \\['more'\\]"),
        (lambda d: d.pop("targets"), ArgumentError, "missing or foreign entries"),
        (lambda d: d.update(network="transformer"), UnknownNameError, "unknown network"),
        (lambda d: d.update(model="other"), UnknownNameError, "unknown model"),
        (lambda d: d.update(network_options={"width": 10**9}), ArgumentError, "numbers only"),
        (lambda d: d.update(network_options={"width": [3]}), ArgumentError, "numbers only"),
        (lambda d: d.update(network_options={"width": 3}), ArgumentError, "this network needs"),
        (lambda d: d.update(channels=[3, 0]), ArgumentError, "this network needs"),
        (lambda d: d["targets"]["k_sat"].update(low=5000), ArgumentError, "bounds"),
        (lambda d: d["targets"].pop("k_sat"), ArgumentError, "this network needs"),
        (lambda d: d.update(targets={"k_sat": 3}), ArgumentError, "damaged"),
        (lambda d: d.update(channels=7), ArgumentError, "damaged"),
        (lambda d: d.update(patch=["a", "b"]), ArgumentError, "damaged"),
    ],
)
def test_learners_that_are_refused(saved, change, error, message):
    path, _, _ = saved
    tensors, description = load(path)
    change(description["learner"])
    with pytest.raises(error, match=message):
        ParameterLearner.rebuilt(description["learner"], tensors)


def test_tensors_that_are_refused(saved):
    path, _, _ = saved
    tensors, description = load(path)
    with pytest.raises(ArgumentError, match="tensor 'more' is foreign"):
        ParameterLearner.rebuilt(description["learner"], tensors | {"more": torch.zeros(2)})
    last = sorted(tensors)[0]
    with pytest.raises(ArgumentError, match=f"tensor '{last}' is missing"):
        ParameterLearner.rebuilt(description["learner"], {n: t for n, t in tensors.items() if n != last})
    with pytest.raises(ArgumentError, match=r"needs torch\.float32"):
        ParameterLearner.rebuilt(description["learner"], tensors | {last: tensors[last].double()})
