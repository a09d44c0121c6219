"""On a cluster: the numbers of one process, and the model arrives at a worker exactly once, of whatever layout."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from distributed import Client, LocalCluster

import xsoil
from xsoil.networks.moisture.ensemble import Ensemble
from xsoil.verbs._lazy.shared import Shared

OPTIONS = {
    "dense": {"epochs": 1},
    "lstm": {"epochs": 1, "hidden": 4, "spin_up": 0},
    "convlstm": {"epochs": 1, "filters": (2,), "attention": (), "window": 1, "patch": 12},
}


@pytest.fixture(scope="module")
def ds():
    rng = np.random.default_rng(0)
    dims, shape = ("time", "y", "x"), (24, 20, 20)
    maps = {
        "rain": (dims, rng.gamma(0.5, 6, shape), {"units": "mm d-1"}),
        "sand": (dims[1:], rng.uniform(10, 90, shape[1:]), {"units": "percent"}),
        "soil_moisture": (dims, rng.uniform(0.1, 0.4, shape), {"units": "m3 m-3"}),
    }
    return xr.Dataset(maps, {"time": pd.date_range("2020-06-01", periods=24)})


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.mark.parametrize("kind", list(OPTIONS))
def test_the_model_arrives_once(ds, client, kind):
    model = xsoil.fit_moisture_model(
        ds, kind=kind, predictors=["rain", "sand"], options=OPTIONS[kind], validation=0, members=2, progress=False
    )
    lazy = model.predict(ds.chunk({"time": 6, "y": 10, "x": 5}))
    assert lazy.soil_moisture.data.npartitions == 4 * 2 * 4
    expected = model.predict(ds)
    client.run(_count)
    found = lazy.compute()  # by the cluster
    counts = client.run(_counted)
    assert sorted(counts.values()) in ([0, 1], [1, 1])  # a worker that did nothing needs no model
    model.predict(ds.isel(x=slice(0, 5)).chunk({"y": 5})).compute()
    assert max(client.run(_counted).values()) == 1  # nor does the next map need it once more
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


def _count():
    """From now on, on this worker, models that arrive are counted."""
    Ensemble.arrived = 0

    def arrive(self, state):
        Ensemble.arrived += 1
        self.__dict__.update(state)

    Ensemble.__setstate__ = arrive


def _counted():
    return Ensemble.arrived
