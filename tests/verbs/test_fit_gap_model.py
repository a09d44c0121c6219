"""`fit_gap_model` and `fill_gaps(method="cru")`: what it learns, seeds, files, chunks, predictors, faults."""

from __future__ import annotations

import json
import sys

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xsoil
from xsoil.errors import ArgumentError, GridMismatchError, MissingVariableError, UnitsError
from xsoil.verbs.fill_gaps import fill_gaps
from xsoil.verbs.fit_gap_model import fit_gap_model

NT, NP = 160, 24
SMALL = {"latent": 2, "basis": 2, "hidden": 8, "window": 60, "batch": 12, "epochs": 2, "steps": 4}

TRAINED = {"window": 50, "batch": 20, "epochs": 6, "steps": 15, "learning_rate": 2e-2, "longest": 10}


def world(seed=0, share=0.6, kind="f4"):
    """A bucket that rain fills and that dries, on pixels; every few days observed."""
    rng = np.random.default_rng(seed)
    rain = rng.gamma(0.5, 8, (NP, NT)) * (rng.random((NP, NT)) < 0.25)
    truth = np.empty((NP, NT))
    now = np.full(NP, 0.2)
    for t in range(NT):
        now = np.minimum(0.1 + (now - 0.1) * 0.9 + 0.006 * rain[:, t], 0.5)
        truth[:, t] = now
    values = (truth + rng.normal(0, 0.005, truth.shape)).astype(kind)
    values[rng.random(values.shape) < share] = np.nan
    values[-1] = np.nan
    return xr.Dataset(
        {
            "soil_moisture": (("pixel", "time"), values, {"units": "m3 m-3"}),
            "precipitation": (("pixel", "time"), rain.astype(kind), {"units": "mm d-1"}),
        },
        {"time": pd.date_range("2015-04-01", periods=NT), "pixel": np.arange(NP)},
    ), xr.DataArray(truth, dims=("pixel", "time"))


@pytest.fixture(scope="module")
def model():
    return fit_gap_model(world()[0], predictors="precipitation", **SMALL)


def test_learns_what_rain_does():
    """Of a bucket it learns much more with its rain than lines can know, and its deviation is about the error."""
    ds, truth = world(share=0.75)
    found = fit_gap_model(ds, predictors="precipitation", **SMALL | TRAINED)
    run = fill_gaps(ds, "cru", model=found, std=True)
    mask = run.soil_moisture_filled == 1
    error = (run.soil_moisture - truth).where(mask)
    lines = (fill_gaps(ds).soil_moisture - truth).where(mask)
    assert np.sqrt((error**2).mean()) < 0.75 * np.sqrt((lines**2).mean())
    assert found.history.validation[-1] < found.history.validation[0] - 0.3
    assert 0.6 < float((error / run.soil_moisture_std).std()) < 1.4


def test_the_same_seed_gives_the_same_bits(model):
    again = fit_gap_model(world()[0], predictors="precipitation", **SMALL)
    other = fit_gap_model(world()[0], predictors="precipitation", **SMALL, seed=1)
    one, two, three = (fill_gaps(world()[0], "cru", model=m, std=True, extrapolate=True) for m in (model, again, other))
    xr.testing.assert_identical(one, two)
    xr.testing.assert_identical(model.history, again.history)
    assert (one.soil_moisture != three.soil_moisture).any()


def test_training_leaves_the_generators_of_the_user_alone():
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit_gap_model(world()[0], **SMALL | {"epochs": 1, "steps": 1})
    assert torch.equal(torch.rand(3), expected)


def test_file_keeps_every_bit(model, tmp_path):
    model.save(tmp_path / "model")
    assert {p.name for p in (tmp_path / "model").iterdir()} == {"description.json", "weights.safetensors"}
    stored = xsoil.load_model(tmp_path / "model")
    ds = world(1)[0]
    xr.testing.assert_identical(fill_gaps(ds, "cru", model=stored), fill_gaps(ds, "cru", model=model))
    xr.testing.assert_identical(stored.history, model.history)
    assert repr(stored) == repr(model)
    assert "precipitation" in repr(model)
    whole = json.loads((tmp_path / "model" / "description.json").read_text())
    del whole["description"]["filler"]["scaling"]
    (tmp_path / "model" / "description.json").write_text(json.dumps(whole))
    with pytest.raises(ArgumentError, match="damaged"):
        xsoil.load_model(tmp_path / "model")


@pytest.mark.parametrize("chunks", [{"pixel": 1}, {"pixel": 7, "time": 50}])
def test_lazy_equals_eager(no_compute, model, chunks):
    ds = world(1)[0]
    eager = fill_gaps(ds, "cru", model=model, std=True)
    lazy = fill_gaps(ds.chunk(chunks), "cru", model=model, std=True)
    assert isinstance(lazy.soil_moisture.data, da.Array)
    found = lazy.compute(scheduler="synchronous")
    np.testing.assert_array_equal(found.soil_moisture_filled, eager.soil_moisture_filled)
    for name in ("soil_moisture", "soil_moisture_std"):
        np.testing.assert_array_equal(found[name], eager[name])


def test_fills_gaps_and_nothing_else(model):
    ds = world(1)[0]
    run = fill_gaps(ds, "cru", model=model, max_gap=6, std=True)
    np.testing.assert_array_equal(run.soil_moisture.where(ds.soil_moisture.notnull()), ds.soil_moisture)
    lines = fill_gaps(ds, max_gap=6)
    np.testing.assert_array_equal(run.soil_moisture_filled, lines.soil_moisture_filled)
    assert run.soil_moisture[-1].isnull().all()
    assert "Schirmer" in run.soil_moisture.attrs["references"]
    assert run.soil_moisture.attrs["gap_filling"] == "Continuous Recurrent Units with precipitation"
    assert run.soil_moisture.dtype == np.float32


def test_irregular_times_and_missing_predictors(model):
    ds = world(1)[0]
    some = ds.isel(time=np.sort(np.random.default_rng(0).choice(NT, 70, replace=False)))
    run = fill_gaps(some, "cru", model=model)
    assert run.soil_moisture_filled.sum() > 300
    holes = ds.copy(deep=True)
    holes.precipitation[:, ::9] = np.nan
    assert fill_gaps(holes, "cru", model=model, extrapolate=True).soil_moisture[:-1].notnull().all()


def test_an_infinite_predictor_is_a_missing_one():
    """It made the mean of the predictor infinite, and so the predictor nothing; found by fuzzing."""
    one, other = world()[0], world()[0]
    one.precipitation[2, 5], other.precipitation[2, 5] = np.inf, np.nan
    options = SMALL | {"epochs": 1, "predictors": "precipitation"}
    assert fit_gap_model(one, **options).filler.digest() == fit_gap_model(other, **options).filler.digest()


@pytest.mark.parametrize("value", [0.0, 0.1])  # the mean of many 0.1 is not 0.1
def test_a_predictor_that_was_constant_in_training_says_nothing(value):
    ds = world()[0]
    constant = ds.assign(precipitation=xr.full_like(ds.precipitation, value, "f8"))
    options = SMALL | {"epochs": 1, "steps": 1}
    model = fit_gap_model(constant, predictors="precipitation", **options)
    one, other = (fill_gaps(given, "cru", model=model).soil_moisture for given in (constant, ds))
    xr.testing.assert_equal(one, other)


def test_without_model_it_is_trained_on_the_data(monkeypatch):
    seen = {}

    def small(ds, *, variable, seed):
        seen.update(variable=variable, seed=seed)
        return fit_gap_model(ds, variable=variable, seed=seed, **SMALL | {"epochs": 1, "steps": 1})

    monkeypatch.setattr(sys.modules["xsoil.verbs.fit_gap_model"], "fit_gap_model", small)
    run = world()[0].soil.fill_gaps("cru", seed=3)
    assert seen == {"variable": "soil_moisture", "seed": 3}
    assert run.soil_moisture_filled.sum() > 1000


def test_split_keeps_its_test_out(model):
    """Another world in the test cells and times changes nothing of what is learned."""
    ds = world()[0]
    split = xsoil.Split.random_cells(ds, 0.3) & xsoil.Split.times(train=("2015-04", "2015-06"), test="2015-08")
    options = SMALL | {"epochs": 1}
    one = fit_gap_model(ds, split=split, **options)
    other = ds.copy(deep=True)
    kept = other.soil_moisture.values
    kept[split.test.values] *= 2
    kept[:, split.days_of("temporal", ds.indexes["time"])] += 0.1
    assert one.filler.digest() == fit_gap_model(other, split=split, **options).filler.digest()
    kept[split.train.values] *= 2
    assert one.filler.digest() != fit_gap_model(other, split=split, **options).filler.digest()


def with_units(**units):
    ds = world()[0]
    return ds.assign({name: ds[name].assign_attrs(units=text) for name, text in units.items()})


def unknown_rain():
    ds = world()[0]
    return ds.assign(precipitation=ds.precipitation.where(False))


def elsewhere():
    """Its rain is on other cells."""
    ds = world()[0]
    return ds.drop_vars("precipitation").assign(precipitation=ds.precipitation.rename(pixel="site"))


FAULTS = {
    "predictor": (
        lambda m: fill_gaps(world()[0].drop_vars("precipitation"), "cru", model=m), MissingVariableError, "the model ne"
    ),
    "units": (lambda m: fill_gaps(with_units(soil_moisture="%"), "cru", model=m), UnitsError, "trained on 'soil_moist"),
    "units of predictor": (
        lambda m: fill_gaps(with_units(precipitation="m s-1"), "cru", model=m), UnitsError, "trained on it in 'mm d-1'"
    ),
    "dims": (lambda m: fill_gaps(elsewhere(), "cru", model=m), ArgumentError, r"dims \['site'\]"),
    "few": (lambda m: fit_gap_model(world()[0].isel(pixel=[0, -1])), ArgumentError, "1 series"),
    "itself": (lambda m: fit_gap_model(world()[0], predictors="soil_moisture"), ArgumentError, "other predictors"),
    "option": (lambda m: fit_gap_model(world()[0], latent=0), ArgumentError, "latent=0"),
    "share": (lambda m: fit_gap_model(world()[0], removed=1.5), ArgumentError, "removed=1.5"),
    "validation": (lambda m: fit_gap_model(world()[0], validation=1), ArgumentError, "validation=1"),
    "seed": (lambda m: fit_gap_model(world()[0], seed=-1), ArgumentError, "seed=-1"),
    "network": (lambda m: _load(m), ArgumentError, "leave out network"),
    "nothing in a predictor": (
        lambda m: fit_gap_model(unknown_rain(), predictors="precipitation"), ArgumentError, "has no value"
    ),
    "split": (
        lambda m: fit_gap_model(world()[0], split=xsoil.Split.random_cells(world()[0].isel(pixel=slice(9)))),
        GridMismatchError, "'pixel'",
    ),
}  # fmt: skip


def _load(model):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        model.save(folder)
        xsoil.load_model(folder, network=object())


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
def test_faults(model, fault):
    call, error, message = fault
    with pytest.raises(error, match=message):
        call(model)
