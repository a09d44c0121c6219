"""Files of learned networks: bounds of single cells travel along; what is damaged or foreign is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct

import numpy as np
import pytest
import xarray as xr
from worlds import BOUNDS, LI, weather, world

import xsoil  # noqa: F401  (registers .soil)
from xsoil.errors import ArgumentError, GridMismatchError, SoilError
from xsoil.verbs.learn_params import learn_params
from xsoil.verbs.load_model import load_model
from xsoil.verbs.simulate import simulate

torch = pytest.importorskip("torch", reason="the extra 'learn' is not installed")

STEPS = 4


@pytest.fixture(scope="module")
def learned():
    """A network, half of whose cells may not reach their k_sat, and its predictors."""
    fine, forcing, observed, truth = world(6, 5, 60)
    high = truth.k_sat.where(truth.k_sat.y > truth.y[3], truth.k_sat * 0.1).assign_attrs(units="cm d-1")
    high = high.where((high.x != high.x[0]) | (high.y != high.y[0]))
    model = learn_params(
        fine, observed, forcing, targets=BOUNDS | {"k_sat": (1.0, high)}, substeps=STEPS, epochs=12, batch_cells=16,
        learning_rate=3e-2, progress=False, **LI,
    )  # fmt: skip
    return model, fine, observed, high


@pytest.fixture(scope="module")
def saved(learned, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model"
    learned[0].save(path)
    return path


@pytest.fixture
def folder(saved, tmp_path):
    """A copy to be damaged."""
    return shutil.copytree(saved, tmp_path / "model")


def test_bounds_of_each_cell(learned, folder):
    model, fine, observed, high = learned
    k_sat = model.params.k_sat
    inside = high.notnull()
    assert (k_sat <= high.where(inside, 2e3) * (1 + 1e-6)).where(inside, True).all()
    assert (k_sat >= 1).sum() == inside.sum()
    np.testing.assert_array_equal(k_sat.isnull(), ~inside)
    assert model.params.status.values[0, 0] & 8
    again = load_model(folder)
    np.testing.assert_array_equal(again.predict(fine, to=observed).k_sat, k_sat)
    lazy = again.predict(fine.chunk(y=13, x=50), to=observed)
    np.testing.assert_array_equal(lazy.k_sat, k_sat)
    with pytest.raises(GridMismatchError, match="or give the bounds of these cells: targets"):
        again.predict(fine.isel(y=slice(18, None)))
    part = {"k_sat": (1.0, high[2:])}
    np.testing.assert_array_equal(again.predict(fine.isel(y=slice(20, None)), targets=part).k_sat, k_sat[2:])
    wider = again.predict(fine, to=observed, targets={"k_sat": (1.0, high * 0 + 900.0)}).k_sat
    assert (wider > k_sat).sum() == inside.sum()


def test_all_that_a_model_can_hold(tmp_path):
    """Two steps, draws, series that are predictors, given maps, several variables: the same again."""
    sand = np.linspace(10, 85, 12)
    place = {"site": np.arange(12)}
    static = xr.Dataset({"sand": ("site", sand, {"units": "percent"})}, place)
    truth = xr.Dataset({"k_sat": ("site", 10 ** (0.5 + sand / 45), {"units": "cm d-1"})}, place)
    depth = xr.DataArray(np.linspace(0.5, 1, 12), place, dims="site", attrs={"units": "m"})
    given = LI | {"root_depth": depth}
    forcing = weather(static.sand, 60)
    seen = simulate(truth, forcing, outputs=("theta", "drainage"), substeps=STEPS, **given)
    both = seen.rename(theta="soil_moisture").drop_vars([n for n in seen.data_vars if n not in ("theta", "drainage")])
    learned = learn_params(
        static, both[["soil_moisture", "drainage"]], forcing, strategy="two_step", network="lstm", draws=True,
        history=forcing[["precipitation"]].isel(time=slice(20)), targets={"k_sat": (1, 1000)}, members=8, iterations=2,
        weights={"soil_moisture": 1.0, "drainage": 2.0}, error_std={"soil_moisture": 0.02, "drainage": 0.5},
        substeps=STEPS, epochs=1, network_options={"hidden": 4}, progress=False, **given,
    )  # fmt: skip
    learned.save(tmp_path / "model")
    again = load_model(tmp_path / "model")
    for name in ("params", "inverse", "draws"):
        one, other = getattr(learned, name), getattr(again, name)
        assert sorted(map(str, one.data_vars)) == sorted(map(str, other.data_vars))
        np.testing.assert_array_equal(one.k_sat, other.k_sat)
    assert again.setting.outputs == {"soil_moisture": "theta", "drainage": "drainage"}
    np.testing.assert_array_equal(again.simulate(forcing).drainage, learned.simulate().drainage)
    np.testing.assert_array_equal(
        again.predict(static, history=forcing.isel(time=slice(20))).k_sat, learned.params.k_sat
    )
    assert repr(again) == repr(learned)


def edit(folder, change):
    file = folder / "description.json"
    whole = json.loads(file.read_text())
    change(whole, whole["description"]["learned"], whole["description"]["learner"])
    file.write_text(json.dumps(whole))


def sealed(folder, content):
    """Weights with the size and the digest that the description names."""
    (folder / "weights.safetensors").write_bytes(content)
    digest = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    edit(folder, lambda whole, own, net: whole["weights"].update(digest))


def huge_header(folder):
    raw = (folder / "weights.safetensors").read_bytes()
    sealed(folder, struct.pack("<Q", 2**40) + raw[8:])


def padded_header(folder):
    raw = (folder / "weights.safetensors").read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    sealed(folder, struct.pack("<Q", size + 10**6) + raw[8 : 8 + size] + b" " * 10**6 + raw[8 + size :])


def no_numbers(folder):
    from safetensors.torch import load_file, save

    tensors = load_file(folder / "weights.safetensors")
    tensors["network.closing.0.bias"][3] = torch.nan
    sealed(folder, save(tensors))


def text(change):
    def changed(folder):
        file = folder / "description.json"
        file.write_text(change(file.read_text()))

    return changed


def learned_entry(**entries):
    return lambda folder: edit(folder, lambda whole, own, net: own.update(entries))


def network_entry(**entries):
    return lambda folder: edit(folder, lambda whole, own, net: net.update(entries))


FAULTS = {
    "truncated": (text(lambda t: t[: len(t) // 2]), "is no description of a model"),
    "not a number": (text(lambda t: t.replace('"seed": 0', '"seed": NaN')), "NaN is no number"),
    "endless": (text(lambda t: t + " " * 17_000_000), "no description of a model is so long"),
    "sorted by a tool": (text(lambda t: json.dumps(json.loads(t), sort_keys=True)), "those of the network"),
    "newer": (
        lambda f: edit(f, lambda whole, own, net: whole.update(version=2)),
        "version 2; this xsoil reads version 1",
    ),
    "version of another type": (lambda f: edit(f, lambda whole, own, net: whole.update(version=True)), "version True"),
    "of another program": (
        lambda f: edit(f, lambda whole, own, net: whole.update(format="xsoil")),
        "format of the model",
    ),
    "of no program": (lambda f: edit(f, lambda whole, own, net: whole.pop("format")), "format of the model"),
    "huge header": (huge_header, "is no safetensors file"),
    "padded header": (padded_header, "tensors need"),
    "weights that are no numbers": (no_numbers, "'network.closing.0.bias' holds values that are no numbers"),
    "foreign entry": (learned_entry(more=1), "has the keys"),
    "unknown strategy": (learned_entry(strategy="magic"), "'strategy' is magic"),
    "another strategy": (learned_entry(strategy="two_step", optimizer="ies"), "that of the network is 'end_to_end'"),
    "seed of another type": (learned_entry(seed="0"), "'seed' is 0"),
    "outputs": (learned_entry(outputs={"soil_moisture": "runoff"}), "compared with 'runoff'"),
    "no outputs": (learned_entry(outputs={}), "'outputs' is {}"),
    "units": (learned_entry(units={}), "units of"),
    "a map elsewhere": (learned_entry(maps=["params", "../given"]), "'maps' is"),
    "no bounds": (learned_entry(ends=[]), "is damaged"),
    "a parameter is gone": (learned_entry(fixed={}), "units of"),
    "options": (learned_entry(model_options={}), "options {} of the model"),
    "bounds": (
        lambda f: edit(f, lambda whole, own, net: own["targets"][0][1].update(high=5.0)),
        "those of the network",
    ),
    "bounds in another order": (
        lambda f: edit(f, lambda whole, own, net: own["targets"].reverse()),
        "those of the network",
    ),
    "one predictor more": (
        lambda f: edit(f, lambda whole, own, net: own["inference"]["predictors"].append(["silt", "percent"])),
        r"\[3, 0\] predictors and series",
    ),
    "history": (learned_entry(history={"attrs": {}, "coords": {}, "data": {"x": [1]}}), "'history' is"),
    "physics of the network": (network_entry(model_options={}), "model_options of the network is {}"),
    "weights of another type": (network_entry(weights=None), "weights of the network"),
    "pairs of another type": (network_entry(least_pairs="1"), "least_pairs 1"),
    "no parameters": (lambda f: shutil.rmtree(f / "params.zarr"), "lacks params.zarr"),
    "parameters of another model": (
        lambda f: (shutil.rmtree(f / "params.zarr"), shutil.copytree(f / "given.zarr", f / "params.zarr")),
        "params holds",
    ),
    "a store that is none": (lambda f: (f / "params.zarr" / "zarr.json").write_text("{"), "params.zarr cannot be read"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_refused(folder, fault):
    change, message = FAULTS[fault]
    change(folder)
    with pytest.raises(SoilError, match=message):
        load_model(folder)


def test_a_chunk_that_was_cut(folder):
    chunk = next(
        p for p in sorted((folder / "params.zarr" / "k_sat").rglob("*")) if p.is_file() and p.suffix != ".json"
    )
    chunk.write_bytes(chunk.read_bytes()[:9])
    with pytest.raises(ArgumentError, match=r"params\.zarr cannot be read"):
        load_model(folder)
