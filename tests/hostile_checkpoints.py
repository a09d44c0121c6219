"""Checkpoints made to harm who continues a training."""

from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path

import torch
from hostile_models import EVIL


def sound():
    """All that any checkpoint of a training has."""
    rows = {name: [0.5, 0.25] for name in ("train", "validation", "learning_rate", "seconds")}
    return {
        "epoch": 1, "state_dict": {"learner.weight": torch.ones(3)}, "loops": {}, "callbacks": {},
        "optimizer_states": [{}], "xsoil": {"settings": "{}", "rows": rows, "schedule": None},
    }  # fmt: skip


def saved(path, change=lambda found: None):
    found = sound()
    change(found)
    torch.save(found, path)
    return path


def archive(path, content, change=lambda name, data: data, compression=zipfile.ZIP_STORED):
    """A checkpoint whose entries are changed; `content` takes the place of its pickle."""
    saved(path)
    with zipfile.ZipFile(path) as old:
        entries = {name: change(name, old.read(name)) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", compression) as new:
        for name, data in entries.items():
            new.writestr(name, content if content is not None and name.endswith("data.pkl") else data)
    return path


def bomb(path):
    """Zeros of 10^9 bytes in a compressed entry of a megabyte."""
    saved(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file, file.open("archive/data/9", "w") as entry:
        for _ in range(1000):
            entry.write(bytes(10**6))
    return path


def calls(name, *arguments):
    """A pickle that calls a function."""
    module, function = name.rsplit(".", 1)
    given = pickle.dumps(arguments, 2)[2:-1]
    return b"\x80\x02c" + f"{module}\n{function}\n".encode() + given + b"R."


def longer(name, data):
    """The tensor of 3 numbers has a storage of 10^9."""
    return data.replace(b"K\x03t", b"J" + struct.pack("<i", 10**9) + b"t", 1) if name.endswith("data.pkl") else data


DEEP = b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b"."
"""A list in a list in a list ..."""


def laughs(found):
    """Ten lists of ten lists ... of which few are stored."""
    item = [1.0]
    for _ in range(12):
        item = [item] * 10
    found["callbacks"]["a"] = item


def circle(found):
    found["callbacks"]["a"] = found["callbacks"]


def row(**rows):
    return lambda path: saved(path, lambda found: found["xsoil"]["rows"].update(rows))


def part(**parts):
    return lambda path: saved(path, lambda found: found.update(parts))


def own(**parts):
    return lambda path: saved(path, lambda found: found["xsoil"].update(parts))


def bytes_of(content):
    def made(path):
        path.write_bytes(content)
        return path

    return made


def cut(path):
    content = saved(path).read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def folder(path):
    Path(path).mkdir()
    return path


SAYS = "cannot read the checkpoint .*ckpt .*; bring a sound one back"

CHECKPOINTS = {
    f"a checkpoint {name}": (make, SAYS)
    for name, make in {
        "is a pickle": bytes_of(EVIL),
        "is a pickle in an archive": lambda p: archive(p, EVIL),
        "is empty": bytes_of(b""),
        "is cut short": cut,
        "is a folder": folder,
        "asks for 10^10 bytes": lambda p: archive(p, calls("builtins.bytearray", 10**10)),
        "asks for a tensor of 10^10": lambda p: archive(p, calls("torch.FloatTensor", 10**10)),
        "has a storage of 10^9": lambda p: archive(p, None, longer),
        "repeats a number 10^12 times": part(state_dict={"a": torch.zeros(1).expand(10**12)}),
        "unpacks to 10^9 bytes": bomb,
        "is compressed": lambda p: archive(p, None, compression=zipfile.ZIP_DEFLATED),
        "has lists 10^5 deep": lambda p: archive(p, DEEP),
        "has lists of 10^12 entries": lambda p: saved(p, laughs),
        "holds itself": lambda p: saved(p, circle),
        "is a list": lambda p: torch.save([1, 2], p) or p,
        "has no weights": part(state_dict=None),
        "has an epoch of text": part(epoch="1"),
        "has an epoch below 0": part(epoch=-3),
        "is of epoch 10^12": part(epoch=10**12),
        "has no losses": own(rows={}),
        "has losses of text": row(train=["0.5", "0.25"]),
        "has losses of a number": row(validation=3.0),
        "has no losses of an epoch": row(seconds=[0.5]),
        "has settings of numbers": own(settings=3),
        "has foreign parts": own(code="os.system"),
    }.items()
}
