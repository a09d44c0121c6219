"""Hostile files: each is refused with one of xsoil's errors, at once, in little memory, and nothing in it is run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra 'learn' is not installed")
pytest.importorskip("netCDF4", reason="the extra 'data' is not installed")
if sys.platform != "linux":
    pytest.skip("the memory of a process is limited as Linux does it", allow_module_level=True)

import hostile
from hostile_models import forest
from hostile_models import model as model_of

from xsoil.errors import SoilError


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """What came of all of them, opened in one process that may take 1 GiB."""
    script = Path(hostile.__file__)
    ran = subprocess.run(
        [sys.executable, str(script), str(tmp_path_factory.mktemp("hostile"))], capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", list(hostile.CASES))
def test_refused(outcome, name):
    kind, message, ours, seconds = outcome["found"][name]
    assert ours, f"{kind}: {message}"
    assert re.search(hostile.CASES[name][3], message), message
    assert seconds < 10


def test_nothing_was_run(outcome):
    assert not outcome["pwned"]


def test_damaged_bytes(tmp_path):
    """A model and a weight file with any byte changed open, or are refused; no other error."""
    rng = np.random.default_rng(0)
    model = model_of(tmp_path / "model")
    files = [
        (model / "weights.safetensors", model, hostile.xsoil.load_model),
        (model / "description.json", model, hostile.xsoil.load_model),
        (hostile.split(tmp_path / "split.json"), tmp_path / "split.json", hostile.Split.load),
        (hostile.old_header(tmp_path / "old.nc", 6), tmp_path / "old.nc", hostile.load_weights),
        (hostile.weights(tmp_path / "new.nc"), tmp_path / "new.nc", hostile.load_weights),
    ]
    refused = 0
    for file, path, load in files:
        sound = file.read_bytes()
        for _ in range(40):
            content = bytearray(sound)
            for place in rng.integers(0, len(content), rng.integers(1, 4)):
                content[place] = rng.integers(0, 256)
            file.write_bytes(bytes(content[: rng.integers(1, len(content))] if rng.random() < 0.2 else content))
            try:
                load(path)
            except SoilError:
                refused += 1
        file.write_bytes(sound)
    assert refused > 80


def places(table, at=()):
    """Every entry of JSON, of lists the first two."""
    yield at
    rows = table.items() if isinstance(table, dict) else enumerate(table[:2]) if isinstance(table, list) else ()
    for key, value in rows:
        yield from places(value, (*at, key))


def replaced(text, at, value):
    whole = json.loads(text)
    table = whole
    for key in at[:-1]:
        table = table[key]
    if value is None:
        del table[at[-1]]
        return json.dumps(whole)
    table[at[-1]] = "@here@"
    return json.dumps(whole).replace('"@here@"', value)


def used(path):
    model = hostile.xsoil.load_model(path)
    assert repr(model)
    if hasattr(model, "ensemble"):
        assert model.history.sizes
    return model


def sealed_split(path):
    content = json.loads(path.read_text())
    entries = {name: value for name, value in content.items() if name != "sha256"} if isinstance(content, dict) else {}
    return hostile.Split.load(hostile.split(path, **entries))


@pytest.mark.parametrize("what", ["gaps", "forest", "inversion", "split"])
def test_entries_of_any_type(tmp_path, what):
    """Each entry of a description missing, too large for a number, a text, a list: refused, or as good as before."""
    if what == "split":
        file = path = hostile.split(tmp_path / "split.json")
        load = sealed_split
    else:
        path = {"gaps": model_of, "forest": forest, "inversion": hostile.inversion}[what](tmp_path / what)
        file, load = path / "description.json", used
    sound, refused = file.read_text(), 0
    for at in list(places(json.loads(sound)))[1:]:
        for value in (None, "1e400", '"text"', "[]", "-1"):
            file.write_text(replaced(sound, at, value))
            try:
                load(path)
            except SoilError:
                refused += 1
    assert refused > 30


def test_an_audit_that_could_not_ask_is_no_pass():
    from audit import verdict

    sound = {"name": "numpy", "version": "2.0", "vulns": []}
    bad = {"name": "click", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}
    unknown = {"name": "zarr", "skip_reason": "not found"}

    def status(*rows):
        return verdict(json.dumps({"dependencies": rows}), "")[0]

    assert [status(sound), status(sound, bad, unknown), status(sound, unknown), status()] == [0, 1, 3, 3]
    assert verdict("", "ConnectionError: no route")[0] == 3
