"""The contract of an entry: holds for every one in the table."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
from dask.base import tokenize

from xsoil.errors import ArgumentError, UnknownNameError
from xsoil.ptfs import PTFS
from xsoil.ptfs.ptf import PTF, FrozenMapping, variables
from xsoil.vocabulary import VARIABLES

NAMES = {
    "cosby1984", "cosby1984_univariate", "li2024_cb1", "li2024_cb2", "clapp_hornberger1978", "saxton_rawls2006",
    "rawls_brakensiek1985", "wosten1999", "vereecken1989", "weynants2009", "toth2015", "zacharias_wessolek2007",
    "rosetta1", "rosetta3",
}  # fmt: skip
EVERYTHING = frozenset(VARIABLES)
LOAM = {
    "sand": 40.0, "silt": 40.0, "clay": 20.0, "bulk_density": 1.4, "organic_carbon": 1.5, "ph": 6.5, "cec": 15.0,
    "topsoil": 1.0, "coarse_fragments": 10.0, "theta_fc": 0.28, "theta_wp": 0.14,
}  # fmt: skip


def variants():
    """Each entry as it stands, and with each choice of each option, for little and for much input."""
    found = []
    for entry in PTFS.values():
        found.append(pytest.param(entry, id=entry.name))
        for option, choices in entry.choices.items():
            for choice in choices:
                chosen = entry.with_options(**{option: choice})
                for available in (frozenset(), EVERYTHING):
                    name = f"{entry.name}-{option}={choice}-{'all' if available else 'little'}"
                    found.append(pytest.param(chosen.resolve(available), id=name))
    return found


def test_table():
    assert set(PTFS) == NAMES
    assert all(name == entry.name for name, entry in PTFS.items())
    assert "rosetta9" not in PTFS
    assert PTFS.get("rosetta9") is None


def test_unknown_name_gets_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown pedotransfer function 'cosby84'; did you mean 'cosby1984'"):
        PTFS["cosby84"]
    with pytest.raises(UnknownNameError, match=r"'Rosetta3'; did you mean 'rosetta3'\?"):
        PTFS["Rosetta3"]


@pytest.mark.parametrize("entry", variants())
def test_missing_values_spread(entry):
    """A missing input, any one of them, leaves the function no result of which it is part; all of them, none."""
    assert all(np.isnan(out) for out in entry.function(*[np.nan] * len(entry.inputs)))


@pytest.mark.parametrize("entry", variants())
def test_types_and_lengths(entry):
    cells = [np.full(5, LOAM[v.name]) for v in entry.inputs]
    double = entry.function(*cells)
    before = [c.copy() for c in cells]
    assert len(double) == len(entry.outputs)
    single = entry.function(*[c.astype(np.float32) for c in cells])
    for a, b, v in zip(single, double, entry.outputs, strict=True):
        assert a.dtype == np.float32, v.name
        assert a.shape == b.shape == (5,)
        assert np.isfinite(b).all(), v.name
        # rounding of the terms of an exponent, up to 50 in size, each to 6e-8
        np.testing.assert_allclose(a, b, rtol=3e-5, err_msg=v.name)
    for cell, old in zip(cells, before, strict=True):
        np.testing.assert_array_equal(cell, old)


@pytest.mark.parametrize("entry", variants())
def test_pickles_and_tokens(entry):
    again = pickle.loads(pickle.dumps(entry))
    assert again == entry
    assert hash(again) == hash(entry)
    assert tokenize(again) == tokenize(entry)
    inputs = [LOAM[v.name] for v in entry.inputs]
    np.testing.assert_array_equal(again.function(*inputs), entry.function(*inputs))


def test_tokens_differ_with_options():
    tokens = {tokenize(p.values[0]) for p in variants()}
    assert len(tokens) > len(PTFS) + 10


def test_token_is_that_of_another_process():
    code = (
        "from dask.base import tokenize; from xsoil.ptfs import PTFS; "
        "print(tokenize(PTFS['toth2015'].resolve(frozenset({'ph'}))))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert other == tokenize(PTFS["toth2015"].resolve(frozenset({"ph"})))


@pytest.mark.parametrize("entry", PTFS.values(), ids=lambda entry: entry.name)
def test_described(entry):
    assert entry.title
    assert re.search(r"\((19|20)\d\d\)", entry.reference)
    assert not entry.doi or re.fullmatch(r"10\.\d{4,}/\S+", entry.doi)
    known = {v.name for v in (*entry.inputs, *entry.optional)}
    assert set(entry.validity) | set(entry.guards) <= known
    assert set(entry.options) == set(entry.choices)
    assert all(entry.options[name] in choices for name, choices in entry.choices.items())


def test_options():
    entry = PTFS["saxton_rawls2006"]
    dense = entry.with_options(density="measured")
    assert dense.options == {"density": "measured", "coarse_fragments": "ignore"}
    assert entry.options["density"] == "normal"
    assert dense != entry
    assert [v.name for v in dense.resolve(EVERYTHING).inputs] == ["sand", "clay", "organic_carbon", "bulk_density"]
    assert PTFS["toth2015"].with_options(retention="ptf22").options["retention"] == "PTF22"


def test_wrong_options():
    with pytest.raises(UnknownNameError, match="'densty'; did you mean 'density'"):
        PTFS["saxton_rawls2006"].with_options(densty="measured")
    with pytest.raises(UnknownNameError, match="'cosby1984', which has no options"):
        PTFS["cosby1984"].with_options(density="measured")
    with pytest.raises(ArgumentError, match="is 'dense'; expected one of 'normal', 'measured'"):
        PTFS["saxton_rawls2006"].with_options(density="dense")
    with pytest.raises(ArgumentError, match="is True; expected one of"):
        PTFS["rosetta3"].with_options(model=True)


@pytest.mark.parametrize(
    ("available", "retention", "inputs", "k_sat"),
    [
        ({}, "auto", "sand silt clay bulk_density organic_carbon topsoil", False),
        ({"ph"}, "auto", "sand silt clay bulk_density organic_carbon ph topsoil", False),
        ({"ph", "cec"}, "auto", "sand silt clay organic_carbon ph cec topsoil", True),
        ({"cec"}, "auto", "sand silt clay bulk_density organic_carbon topsoil", False),
        ({"ph", "cec"}, 21, "sand silt clay bulk_density organic_carbon topsoil ph cec", True),
        ({}, "PTF20", "sand silt clay organic_carbon ph cec topsoil", True),
    ],
)
def test_toth_resolves(available, retention, inputs, k_sat):
    entry = PTFS["toth2015"].with_options(retention=retention).resolve(frozenset(available))
    assert " ".join(v.name for v in entry.inputs) == inputs
    assert ("k_sat" in [v.name for v in entry.outputs]) == k_sat


def test_frozen_mapping():
    one = FrozenMapping({"a": 1})
    assert one == {"a": 1}
    assert hash(one) == hash(FrozenMapping({"a": 1}))
    with pytest.raises(TypeError):
        one["a"] = 2


def test_own_entry_in_the_table():
    """A user's function is one more entry."""
    entry = PTF(
        "mine", abs, variables("sand"), variables("k_sat"), title="mine", reference="me (2026)", doi="", options={}
    )
    assert entry.resolve(EVERYTHING) is entry
    assert isinstance(entry.options, FrozenMapping)
