"""Folders of models made to harm who opens them."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import struct

import numpy as np

GAP = {"latent": 1, "basis": 1, "hidden": 2, "window": 5, "batch": 1, "epochs": 1, "steps": 1, "longest": 1}


class Evil:
    """Unpickled, it makes a folder named pwned in the working folder."""

    def __reduce__(self):
        return os.mkdir, ("pwned",)


EVIL = pickle.dumps(Evil())


# Models: a folder of description.json and weights.safetensors.


def gap_filler():
    from xsoil.networks.moisture.gap_filler import GapFiller, GapOptions

    return GapFiller(GapOptions(**GAP), 0, {"spread": 0.1, "mean": [], "deviation": []})


def model(folder, change=lambda tensors, description: None):
    """A sound model of gaps, its tensors and description changed before they are written."""
    from xsoil.networks import storage

    filler = gap_filler()
    tensors = {name: tensor.clone() for name, tensor in filler.network.state_dict().items()}
    description = {
        "variable": "soil_moisture", "units": "m3 m-3", "predictors": {}, "seed": 0, "filler": filler.describe(),
    }  # fmt: skip
    change(tensors, description)
    storage.save(folder, tensors, description, format="xsoil gap model", version=1)
    return folder


def rewritten(folder, change):
    """A sound model whose JSON is changed."""
    whole = json.loads((model(folder) / "description.json").read_text())
    change(whole)
    (folder / "description.json").write_text(json.dumps(whole))
    return folder


def sealed(folder, content, tensors=None):
    """A model whose weights are these bytes, with the right size and digest, and perhaps other declared tensors."""

    def change(whole):
        whole["weights"].update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        if tensors is not None:
            whole["weights"]["tensors"] = tensors

    rewritten(folder, change)
    (folder / "weights.safetensors").write_bytes(content)
    return folder


def raw(folder):
    return (model(folder) / "weights.safetensors").read_bytes()


def header(folder, change):
    """A model with another header of its weights."""
    content = raw(folder)
    size = struct.unpack("<Q", content[:8])[0]
    table = json.loads(content[8 : 8 + size])
    change(table)
    text = json.dumps(table).encode()
    return sealed(folder, struct.pack("<Q", len(text)) + text + content[8 + size :])


def text(folder, content):
    (model(folder) / "description.json").write_bytes(content)
    return folder


def overlapping(table):
    for row in table.values():
        if "data_offsets" in row:
            row["data_offsets"] = [0, row["data_offsets"][1] - row["data_offsets"][0]]


def linked(folder, name, to):
    (model(folder) / name).unlink()
    (folder / name).symlink_to(to)
    return folder


def piped(folder):
    (model(folder) / "description.json").unlink()
    os.mkfifo(folder / "description.json")
    return folder


def sparse(folder, name, size):
    with (model(folder) / name).open("wb") as file:
        file.truncate(size)
    return folder


def first(tensors):
    return sorted(name for name in tensors if tensors[name].numel() > 1)[0]


def set_value(value):
    def change(tensors, description):
        tensors[first(tensors)].view(-1)[0] = value

    return change


def single_precision(tensors, description):
    for name in tensors:
        tensors[name] = tensors[name].float()


def moisture(folder, kind, arrays, **options):
    """A model of soil moisture of one member."""
    import torch

    from xsoil.networks import storage

    targets = {"names": ["soil_moisture"], "units": ["m3 m-3"], "mean": [0.2], "sd": [0.1]}
    record = {"train": [], "validation": [], "seconds": []}
    member = {"kind": kind, "name": "one", "options": options, "record": record, "seed": 0}
    inputs = {"predictors": [{"name": "sand", "units": "percent"}], "missing": "nan"}
    ensemble = {"inputs": inputs, "targets": targets, "members": [member]}
    tensors = {f"0.{name}": torch.as_tensor(array) for name, array in arrays.items()}
    storage.save(folder, tensors, {"ensemble": ensemble, "more": {}}, format="xsoil soil-moisture model", version=1)
    return folder


def forest(folder, **changes):
    """A tree of one question and two answers."""
    arrays = {
        "roots": [0], "features": [0, -1, -1], "thresholds": [1.0, 0.0, 0.0], "left": [1, -1, -1],
        "right": [2, -1, -1], "values": [0.0, 0.1, 0.2],
    } | changes  # fmt: skip
    types = {"roots": "i8", "features": "i2", "thresholds": "f4", "left": "i4", "right": "i4", "values": "f8"}
    return moisture(folder, "random_forest", {name: np.array(a, types[name]) for name, a in arrays.items()})


MODELS = {
    "weights are a pickle": (lambda f: sealed(f, EVIL), "safetensors|bytes"),
    "description is a pickle": (lambda f: text(f, EVIL), "no description of a model"),
    "header of 2^60 bytes": (lambda f: sealed(f, struct.pack("<Q", 2**60) + raw(f)[8:]), "no safetensors file"),
    "header of no bytes": (lambda f: sealed(f, struct.pack("<Q", 0) + raw(f)[8:]), "no safetensors file"),
    "header is no JSON": (lambda f: sealed(f, raw(f)[:8] + b"\xff" + raw(f)[9:]), "no safetensors file"),
    "overlapping tensors": (lambda f: header(f, overlapping), "no safetensors file"),
    "tensors beyond the file": (
        lambda f: header(f, lambda t: t[sorted(t)[0]].update(data_offsets=[0, 2**50])), "no safetensors file"
    ),
    "shape overflows": (
        lambda f: header(f, lambda t: t[sorted(t)[0]].update(shape=[2**40, 2**40])), "no safetensors file"
    ),
    "negative shape": (lambda f: header(f, lambda t: t[sorted(t)[0]].update(shape=[-1])), "no safetensors file"),
    "10^9 elements declared": (
        lambda f: sealed(f, raw(f), {"a": {"dtype": "float64", "shape": [10**9]}}), "its 1 tensors need"
    ),
    "declared shape overflows": (
        lambda f: sealed(f, raw(f), {"a": {"dtype": "float64", "shape": [2**62, 2**62]}}), "its 1 tensors need"
    ),
    "dtype names a function": (
        lambda f: sealed(f, raw(f), {"a": {"dtype": "load", "shape": [1]}}), "a tensor is described as"
    ),
    "JSON 10^5 deep": (lambda f: text(f, b"[" * 10**5 + b"]" * 10**5), "no description of a model"),
    "tables 10^5 deep": (lambda f: text(f, b'{"a":' * 10**5 + b"1" + b"}" * 10**5), "no description of a model"),
    "JSON of 2^40 bytes": (lambda f: sparse(f, "description.json", 2**40), "no description of a model is so long"),
    "weights of 2^40 bytes": (lambda f: sparse(f, "weights.safetensors", 2**40), "bytes; expected"),
    "number of 10^5 digits": (lambda f: text(f, b'{"version": ' + b"9" * 10**5 + b"}"), "no description of a model"),
    "NaN in JSON": (lambda f: text(f, b'{"version": NaN}'), "no description of a model"),
    "format is a path": (lambda f: rewritten(f, lambda w: w.update(format="../../evil")), "unknown format"),
    "version is a table": (lambda f: rewritten(f, lambda w: w.update(version={})), "of version"),
    "foreign key": (lambda f: rewritten(f, lambda w: w.update(loader="os.system")), "has the keys"),
    "description is a link to a secret": (lambda f: linked(f, "description.json", "/etc/passwd"), "no description"),
    "weights are an endless device": (lambda f: linked(f, "weights.safetensors", "/dev/zero"), "no model of xsoil"),
    "description is a pipe": (piped, "no model of xsoil"),
    "a tensor is named a path": (
        lambda f: model(f, lambda t, d: t.update({"../../x": t.pop(first(t))})), "damaged"
    ),
    "a tensor is missing": (lambda f: model(f, lambda t, d: t.pop(first(t))), "damaged"),
    "weights are NaN": (lambda f: model(f, set_value(float("nan"))), "no numbers"),
    "weights are infinite": (lambda f: model(f, set_value(float("inf"))), "no numbers"),
    "weights of another type": (lambda f: model(f, single_precision), "damaged"),
    "network of 10^9 units": (
        lambda f: model(f, lambda t, d: d["filler"]["options"].update(hidden=10**9)), "numbers only|damaged"
    ),
    "network of 10^9 predictors": (
        lambda f: model(f, lambda t, d: d["filler"].update(predictors=10**9)), "numbers only|damaged"
    ),
    "images of 10^5 filters": (
        lambda f: moisture(f, "convlstm", {"a": np.zeros(3, "f4")}, filters=[10**5, 10**5]), "weights or more"
    ),
    "a kernel of 10^5": (
        lambda f: moisture(f, "convlstm", {"a": np.zeros(3, "f4")}, kernel=10**5 + 1), "weights or more"
    ),
    "10^5 layers": (lambda f: moisture(f, "convlstm", {}, filters=[1] * 10**5), "weights or more"),
    "layers of 10^12": (lambda f: moisture(f, "dense", {}, hidden=[10**12]), "expected"),
    "series of 10^12": (lambda f: moisture(f, "lstm", {}, hidden=10**12), "expected"),
    "a kind that names a function": (lambda f: moisture(f, "os.system", {}), "unknown kind"),
    "a tree in circles": (lambda f: forest(f, left=[0, -1, -1]), "lead nowhere or in circles"),
    "a tree that leaves its arrays": (lambda f: forest(f, right=[2**30, -1, -1]), "lead nowhere or in circles"),
    "a tree whose root is elsewhere": (lambda f: forest(f, roots=[-1]), "lead nowhere or in circles"),
    "a tree asks for predictor 30,000": (lambda f: forest(f, features=[30000, -1, -1]), "lead nowhere or in circles"),
    "a tree of no numbers": (lambda f: forest(f, values=[0.0, np.nan, 0.2]), "no numbers"),
    "options are a list": (lambda f: model(f, lambda t, d: d["filler"].update(options=[1])), "damaged"),
}  # fmt: skip
