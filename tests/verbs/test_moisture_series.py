"""Models of series: fitted from a dataset, predicted lazily with the state carried from time block to time block."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from small_worlds import leaking_bucket

import xsoil
from xsoil.errors import ArgumentError, AxisError, GridMismatchError, MissingVariableError, TimeError, UnitsError
from xsoil.verbs.fit_moisture_model import fit_moisture_model

pytest.importorskip("lightning", reason="the extra 'learn' is not installed")

WATER, RAIN, SHARE = {"units": "m3 m-3"}, {"units": "mm d-1"}, {"units": "percent"}
PREDICTORS = ["precipitation", "pet", "sand"]
QUICK = {"hidden": 16, "dropout": 0.0, "recurrent_dropout": 0.0, "batch_cells": 16, "epochs": 40, "spin_up": 0,
         "learning_rate": 0.02}  # fmt: skip
DAYS = 80


def world(cells=30, seed=0):
    """Satellite of all pixels with gaps, stations in some of them, drier by 0.03."""
    rng = np.random.default_rng(seed)
    rain, pet, sand, water = leaking_bucket(rng, cells, DAYS)
    satellite = np.where(rng.random(water.shape) < 0.4, water, np.nan)
    station = np.where((np.arange(cells) % 3 == 0)[:, None], water - 0.03, np.nan)
    dims = ("pixel", "time")
    return xr.Dataset(
        {
            "precipitation": (dims, rain, RAIN), "pet": (dims, pet, RAIN), "sand": ("pixel", sand, SHARE),
            "satellite": (dims, satellite, WATER), "in_situ": (dims, station, WATER),
        },
        {"pixel": np.arange(cells) * 10, "time": pd.date_range("2020-03-01", periods=DAYS)},
    )  # fmt: skip


def fitted(ds, target="satellite", options=None, **arguments):
    return fit_moisture_model(
        ds, kind="lstm", target=target, predictors=arguments.pop("predictors", PREDICTORS),
        options=QUICK | (options or {}), progress=False, **arguments,
    )  # fmt: skip


@pytest.fixture(scope="module")
def ds():
    return world()


@pytest.fixture(scope="module")
def both(ds):
    split = xsoil.Split.random_cells(ds.sand, 0.2, seed=1) & xsoil.Split.times(
        train=("2020-03-01", "2020-04-29"), test=("2020-04-30", "2020-05-19")
    )
    return fitted(ds, ("satellite", "in_situ"), {"heads": "own", "task_weights": "learned"}, split=split, members=2)


def test_learns_both_tasks_and_scores_the_split(ds, both):
    scores = both.evaluate()
    assert dict(scores.sizes) == {"target": 2, "set": 4, "pixel": 30}
    sd = float(ds.satellite.std())
    assert (scores.rmse.median("pixel").sel(set="train") < 0.35 * sd).all()
    assert (scores.rmse.median("pixel") < 0.8 * sd).all()
    found = both.predict(ds)
    # The tasks differ by what the sensors differ.
    assert float((found.satellite - found.in_situ).mean()) == pytest.approx(0.03, abs=0.008)
    assert set(found.data_vars) == {"satellite", "satellite_std", "in_situ", "in_situ_std"}
    assert found.satellite.attrs["units"] == "m3 m-3"
    assert "gmd-16-1553" in found.satellite.attrs["references"]
    assert found.satellite.dims == ("time", "pixel")
    members = both.predict(ds, members=True).satellite_members
    np.testing.assert_allclose(members.mean("member"), found.satellite, atol=1e-6)
    assert set(members.member.values) == {"seed 0", "seed 1"}


def test_a_region_is_left_out(ds):
    places = ds.assign_coords(lat=("pixel", np.full(30, 45.0)), lon=("pixel", np.linspace(0, 29, 30)))
    split = xsoil.Split.regions_out(places, {"west": (-1, 40, 9.5, 50)})["west"]
    model = fitted(places, split=split, options={"epochs": 1})
    scores = model.evaluate().rmse
    assert list(scores.set.values) == ["train", "spatial"]
    np.testing.assert_array_equal(scores.sel(set="spatial").notnull(), places.lon < 9.5)
    np.testing.assert_array_equal(scores.sel(set="train").notnull(), places.lon > 9.5)
    wild = places.assign(satellite=places.satellite.where(places.lon > 9.5, 0.9).assign_attrs(WATER))
    again = fitted(wild, split=split, options={"epochs": 1})
    for name, array in model.ensemble.arrays().items():
        np.testing.assert_array_equal(again.ensemble.arrays()[name], array, err_msg=name)


def test_importance_keeps_the_course_of_time(ds, monkeypatch):
    few = ds.isel(pixel=slice(0, 6))
    model = fitted(few, options={"epochs": 1})
    seen = []
    predict = type(model).predict

    def spy(self, given, **arguments):
        seen.append(given)
        return predict(self, given, **arguments)

    monkeypatch.setattr(type(model), "predict", spy)
    found = model.importance(repeats=1)
    assert found["predictor"].values.tolist() == PREDICTORS
    series = {tuple(row) for row in few.precipitation.values}
    assert {tuple(row) for row in seen[1].precipitation.values} == series
    with pytest.raises(AxisError, match="'sand'"):
        model.importance(repeats=1, along="time")


def test_what_is_not_of_the_training_does_not_matter(ds):
    split = xsoil.Split.random_cells(ds.sand, 0.2, seed=1) & xsoil.Split.times(
        train=("2020-03-10", "2020-04-19"), test=("2020-04-20", "2020-05-19")
    )
    few = {"options": {"epochs": 1}, "split": split}
    first = fitted(ds, **few)
    other = ds.copy(deep=True)
    outside = ~split.cells_of("train")
    for name in ("precipitation", "pet", "satellite"):
        other[name] = other[name].where(~outside, 1e5).where(other.time < np.datetime64("2020-04-20"), -9e5)
        other[name].attrs = ds[name].attrs
    other["satellite"] = other.satellite.where(other.time >= np.datetime64("2020-03-10"), 7.0).assign_attrs(WATER)
    second = fitted(other, **few)
    for name, array in first.ensemble.arrays().items():
        np.testing.assert_array_equal(second.ensemble.arrays()[name], array, err_msg=name)


def test_validation_by_cells_or_by_the_last_days(ds):
    from xsoil.verbs._moisture_inputs import predictor_rows
    from xsoil.verbs._moisture_series import series_of

    rows = predictor_rows(ds, PREDICTORS, (), ["satellite"])
    arguments = {"split": xsoil.Split(), "seed": 3}
    own, held = series_of(ds, rows, ["satellite"], validation=0.2, **arguments)
    assert (len(own), len(held)) == (24, 6)
    assert not set(own.x[:, 0, 2]) & set(held.x[:, 0, 2])
    own, held = series_of(ds, rows, ["satellite"], validation="14D", **arguments)
    assert own.x.shape[:2] == (30, DAYS - 14)
    assert held.x.shape[:2] == (30, DAYS)
    assert np.isnan(held.y[:, : DAYS - 14]).all()
    together = np.concatenate([own.y, held.y[:, DAYS - 14 :]], axis=1)[..., 0]
    np.testing.assert_array_equal(together, ds.satellite.values.astype(np.float32))
    assert series_of(ds, rows, ["satellite"], validation=0, **arguments)[1] is None
    for wrong in (1.0, -0.1, True, "14 weeks", "80D", "1h", "soon"):
        with pytest.raises(ArgumentError, match="validation"):
            series_of(ds, rows, ["satellite"], validation=wrong, **arguments)


@pytest.mark.parametrize(
    "chunks", [{"time": 1, "pixel": 30}, {"time": 33, "pixel": 7}, {"time": -1, "pixel": 1}], ids=str
)
def test_chunks_do_not_show(ds, both, chunks, no_compute):
    lazy = both.predict(ds.chunk(chunks), members=True)
    assert lazy.satellite.chunks is not None
    import dask

    with dask.config.set(scheduler="synchronous"):
        done = lazy.compute()
    xr.testing.assert_identical(done, both.predict(ds, members=True))


def test_maps(both):
    rng = np.random.default_rng(4)
    shape, dims = (20, 5, 7), ("time", "y", "x")
    times = pd.date_range("2021-01-01", periods=20)
    maps = xr.Dataset(
        {
            "precipitation": (dims, rng.gamma(0.3, 10, shape), RAIN),
            "pet": ("time", rng.uniform(1, 5, 20), RAIN),
            "sand": (("y", "x"), rng.uniform(10, 90, (5, 7)), SHARE),
        },
        {"time": times, "y": np.arange(5.0)[::-1], "x": np.arange(7.0)},
    )
    found = both.predict(maps)
    assert found.satellite.dims == dims
    one = both.predict(maps.isel(y=2, x=[3]))
    np.testing.assert_array_equal(one.satellite[:, 0], found.satellite[:, 2, 3])
    lazy = both.predict(maps.chunk({"time": 6, "y": 2, "x": 3}))
    assert lazy.in_situ.data.chunksize == (6, 2, 3)
    xr.testing.assert_identical(lazy.compute(), found)


def test_kept_loaded_and_sent(ds, both, tmp_path):
    both.save(tmp_path / "model")
    again = xsoil.load_model(tmp_path / "model")
    xr.testing.assert_identical(again.predict(ds), both.predict(ds))
    sent = pickle.loads(pickle.dumps(both))
    xr.testing.assert_identical(sent.predict(ds), both.predict(ds))


def test_a_single_place(ds, both):
    one = both.predict(ds.isel(pixel=3))
    assert one.satellite.dims == ("time",)
    np.testing.assert_array_equal(one.satellite, both.predict(ds).satellite[:, 3])


def test_units_are_read(ds, both):
    other = ds.copy()
    other["precipitation"] = (ds.precipitation / 10).assign_attrs(units="cm d-1")
    np.testing.assert_allclose(both.predict(other).satellite, both.predict(ds).satellite, atol=1e-5)


def test_refuses_what_it_was_not_trained_on(ds, both):
    with pytest.raises(MissingVariableError, match="'pet'"):
        both.predict(ds.drop_vars("pet"))
    with pytest.raises(UnitsError, match="'sand'"):
        both.predict(ds.assign(sand=ds.sand.assign_attrs(units="K")))
    with pytest.raises(TimeError, match="gap"):
        both.predict(ds.isel(time=[0, 1, 5]))
    with pytest.raises(TimeError, match="no dimension 'time'"):
        both.predict(ds.isel(time=0))
    with pytest.raises(ArgumentError, match="none of the predictors"):
        both.predict(ds.assign(precipitation=ds.precipitation[:, 0], pet=ds.pet[:, 0]))


def test_faults_of_samples(ds):
    with pytest.raises(TimeError, match="gap"):
        fitted(ds.isel(time=[0, 1, 5]))
    with pytest.raises(ArgumentError, match="no value of"):
        fitted(ds.assign(satellite=ds.satellite * np.nan))
    with pytest.raises(ArgumentError, match="have no time"):
        fitted(ds.assign(satellite=ds.satellite[:, 0]))
    with pytest.raises(ArgumentError, match=r"none of the predictors \['sand'\] has a time"):
        fitted(ds, predictors=["sand"])
    with pytest.raises(GridMismatchError, match="'band'"):
        fitted(ds.assign(sand=ds.sand.expand_dims(band=2)))
    with pytest.raises(ArgumentError, match="reads series"):
        fitted(ds, weights="sand")
    with pytest.raises(ArgumentError, match="look at masks"):
        fitted(ds, split=xsoil.Split.times(train="2021", test="2022"))
