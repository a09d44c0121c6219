"""On a cluster: the numbers of one process, and the model arrives at a worker exactly once, of whatever layout."""

from __future__ import annotations

import pickle

import arrivals
import pytest
import xarray as xr
from small_worlds import moisture_maps

import xsoil
from xsoil.verbs._lazy.shared import Shared

OPTIONS = {
    "dense": {"epochs": 1},
    "lstm": {"epochs": 1, "hidden": 4, "spin_up": 0},
    "convlstm": {"epochs": 1, "filters": (2,), "attention": (), "window": 1, "patch": 12},
}


@pytest.fixture(scope="module")
def ds():
    return moisture_maps(20)


@pytest.mark.parametrize("kind", list(OPTIONS))
def test_the_model_arrives_once(ds, client, kind):
    model = xsoil.fit_moisture_model(
        ds, kind=kind, predictors=["rain", "sand"], options=OPTIONS[kind], validation=0, members=2, progress=False
    )
    lazy = model.predict(ds.chunk({"time": 6, "y": 10, "x": 5}))
    assert lazy.soil_moisture.data.npartitions == 4 * 2 * 4
    expected = model.predict(ds)
    client.run(arrivals.count)
    found = lazy.compute()  # by the cluster
    counts = client.run(arrivals.counted)
    assert sorted(counts.values()) in ([0, 1], [1, 1])  # a worker that did nothing needs no model
    model.predict(ds.isel(x=slice(0, 5)).chunk({"y": 5})).compute()
    assert max(client.run(arrivals.counted).values()) == 1  # nor does the next map need it once more
    if kind == "convlstm":
        xr.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)
    else:
        xr.testing.assert_identical(found, expected)


def test_an_object_is_opened_once_and_when_needed():
    first, again, other = (pickle.loads(pickle.dumps(Shared(token, Fussy([token])))) for token in ("a", "a", "b"))
    assert Fussy.opened == 0
    passed_on = pickle.loads(pickle.dumps(first))
    assert Fussy.opened == 0
    assert first.value.content == ["a"]
    assert again.value is first.value
    assert passed_on.value is first.value
    assert Fussy.opened == 1
    assert other.value.content == ["b"]
    assert again.value.content == ["a"]
    assert Fussy.opened == 2


class Fussy:
    """Counts how often it comes out of bytes."""

    opened = 0

    def __init__(self, content):
        self.content = content

    def __setstate__(self, state):
        Fussy.opened += 1
        self.__dict__.update(state)
