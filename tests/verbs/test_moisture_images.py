"""Models of maps: fitted from a dataset, predicted lazily on tiles with what lies around them."""

from __future__ import annotations

import pickle

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xsoil
from xsoil.errors import ArgumentError, MissingVariableError, TimeError, UnitsError
from xsoil.verbs.fit_moisture_model import fit_moisture_model

pytest.importorskip("lightning", reason="the extra 'learn' is not installed")

PREDICTORS = ["brightness", "precipitation", "sand"]
QUICK = {"filters": (6,), "attention": (1,), "window": 3, "dropout": 0.0, "patch": 10, "context": 2, "epochs": 12,
         "batch_tiles": 8, "learning_rate": 0.02}  # fmt: skip
DAYS, ROWS, COLUMNS = 16, 20, 23


def world(seed=0):
    rng = np.random.default_rng(seed)
    rain, sand = rng.gamma(0.5, 6, (DAYS, ROWS, COLUMNS)), rng.uniform(10, 90, (ROWS, COLUMNS))
    wet = rain + 0.6 * np.roll(rain, 1, axis=0) + 0.3 * np.roll(rain, 2, axis=0)
    water = 0.1 + wet / 100 - sand / 1500
    dims, share = ("time", "y", "x"), {"units": "m3 m-3"}
    surface = np.where(rng.random(water.shape) < 0.7, water, np.nan)
    return xr.Dataset(
        {
            "brightness": (dims, 280 - 100 * water, {"units": "K"}),
            "precipitation": (dims, rain, {"units": "mm d-1"}),
            "sand": (("y", "x"), sand, {"units": "percent"}),
            "surface": (dims, surface, share), "satellite": (dims, 1.5 * water, share),
            "deep": (dims, 0.2 + 0.5 * water, share),
        },
        {"time": pd.date_range("2020-06-01", periods=DAYS), "y": np.arange(ROWS)[::-1] * 9e3,
         "x": np.arange(COLUMNS) * 9e3},
    )  # fmt: skip


def fitted(ds, target="surface", options=None, **arguments):
    return fit_moisture_model(
        ds, kind="convlstm", target=target, predictors=arguments.pop("predictors", PREDICTORS),
        options=QUICK | (options or {}), progress=False, **({"validation": 0} | arguments),
    )  # fmt: skip


@pytest.fixture(scope="module")
def ds():
    return world()


@pytest.fixture(scope="module")
def model(ds):
    return fitted(ds)


def test_learns_and_tells_units(ds, model):
    found = model.predict(ds)
    assert list(found.data_vars) == ["surface", "surface_std"]
    assert found.surface_std.attrs["units"] == "m3 m-3"
    # Deviations are those of the errors, here of the training.
    error = float((((found.surface - ds.surface) ** 2).mean()) ** 0.5)
    np.testing.assert_allclose(found.surface_std[2:], error, rtol=1e-4)
    assert found.surface.attrs["units"] == "m3 m-3"
    assert np.isnan(found.surface[:2]).all()  # no look-back
    assert np.isfinite(found.surface[2:]).all()
    assert float(model.evaluate().rmse.median()) < 0.5 * float(ds.surface.std())


def test_surface_and_subsurface_in_cascade(ds, model):
    with_surface = ds.assign(estimated=model.predict(ds).surface)
    deep = fitted(with_surface, "deep", {"beta": 0.0}, predictors=["estimated", "sand"])
    assert float(deep.evaluate().rmse.median()) < 0.8 * float(ds.deep.std())


@pytest.mark.parametrize("chunks", [{"time": 5, "y": 7, "x": 9}, {"time": 1, "y": 20, "x": 2}], ids=str)
def test_chunks_do_not_show(ds, model, chunks, no_compute):
    lazy = model.predict(ds.chunk(chunks))
    assert lazy.surface.data.chunksize == tuple(chunks.values())
    with dask.config.set(scheduler="synchronous"):
        done = lazy.compute()
    xr.testing.assert_allclose(done, model.predict(ds), rtol=0, atol=2e-6)
    np.testing.assert_array_equal(np.isnan(done.surface), np.isnan(model.predict(ds).surface))


@pytest.mark.parametrize("turn", [("y",), ("x", "y"), ()], ids=str)
def test_order_of_axes_does_not_show(ds, model, turn):
    other = ds.isel({dim: slice(None, None, -1) for dim in turn}).transpose("x", "time", "y")
    xr.testing.assert_identical(model.predict(other).sortby("x").sortby("y", ascending=False), model.predict(ds))
    lazy = model.predict(other.chunk(x=9, y=7)).compute().sortby("x").sortby("y", ascending=False)
    xr.testing.assert_allclose(lazy, model.predict(ds), rtol=0, atol=2e-6)


def test_order_of_axes_does_not_show_in_training(ds):
    few = {"options": {"epochs": 1}}
    split = xsoil.Split(test=ds.sand > 70)
    other = ds.isel(y=slice(None, None, -1)).transpose("x", "y", "time")
    turned = xsoil.Split(test=other.sand > 70)
    arrays = fitted(ds, split=split, **few).ensemble.arrays()
    for name, array in fitted(other, split=turned, **few).ensemble.arrays().items():
        np.testing.assert_array_equal(array, arrays[name], err_msg=name)


def test_large_maps_in_parts(ds, model, monkeypatch):
    from xsoil.verbs import _moisture_images

    whole = model.predict(ds)
    monkeypatch.setattr(_moisture_images, "_TILE", 6)
    monkeypatch.setattr(_moisture_images, "_DAYS", 5)
    xr.testing.assert_allclose(model.predict(ds), whole, rtol=0, atol=2e-6)


def test_what_is_not_of_the_training_does_not_matter(ds):
    few = {"options": {"epochs": 1}}
    split = xsoil.Split.times(train=("2020-06-01", "2020-06-10"), test=("2020-06-11", "2020-06-16"))
    first = fitted(ds, split=split, **few)
    other = ds.copy(deep=True)
    for name in ("brightness", "precipitation", "surface"):
        other[name][10:] = 1e5
    for name, array in first.ensemble.arrays().items():
        np.testing.assert_array_equal(fitted(other, split=split, **few).ensemble.arrays()[name], array, err_msg=name)


def test_validation_of_the_last_days(ds):
    from xsoil.verbs._moisture_images import images_of
    from xsoil.verbs._moisture_inputs import predictor_rows

    rows = predictor_rows(ds, PREDICTORS, (), ["surface"])
    for validation in (0.25, "4D"):
        own, held = images_of(ds, rows, ["surface"], split=xsoil.Split(), validation=validation)
        assert len(own) == DAYS - 4
        assert np.isnan(held.y[: DAYS - 4]).all()
        np.testing.assert_array_equal(held.y[DAYS - 4 :, ..., 0], ds.surface[DAYS - 4 :].astype("f4"))


def test_members_and_their_spread(ds):
    model = fitted(ds, options={"epochs": 1}, members=2)
    found = model.predict(ds, members=True)
    assert list(found.member.values) == ["seed 0", "seed 1"]
    np.testing.assert_allclose(found.surface_members.mean("member"), found.surface, rtol=1e-6)
    own = np.array([member.deviation[0] for member in model.members.values()], float)
    expected = np.sqrt((own**2).mean() + found.surface_members[:, 2:].astype(float).var("member"))
    np.testing.assert_allclose(found.surface_std[2:], expected, rtol=1e-5)
    lazy = model.predict(ds.chunk(y=7, time=9), members=True).compute(scheduler="synchronous")
    xr.testing.assert_allclose(lazy, found, rtol=0, atol=2e-6)


def test_two_targets(ds):
    found = fitted(ds, ("surface", "satellite")).predict(ds)
    np.testing.assert_array_equal(found.surface, found.satellite)
    r = xr.corr(found.surface[2:], ds.satellite[2:])
    assert float(r) > 0.8


def test_kept_loaded_and_sent(ds, model, tmp_path):
    model.save(tmp_path / "model")
    xr.testing.assert_identical(xsoil.load_model(tmp_path / "model").predict(ds), model.predict(ds))
    sent = pickle.loads(pickle.dumps(model))
    xr.testing.assert_identical(sent.predict(ds), model.predict(ds))


def test_refuses_what_it_was_not_trained_on(ds, model):
    with pytest.raises(MissingVariableError, match="'sand'"):
        model.predict(ds.drop_vars("sand"))
    with pytest.raises(UnitsError, match="'brightness'"):
        model.predict(ds.assign(brightness=ds.brightness.assign_attrs(units="m")))
    with pytest.raises(TimeError, match="gap"):
        model.predict(ds.isel(time=[0, 1, 5]))
    with pytest.raises(ArgumentError, match="two dims of space"):
        model.predict(ds.isel(x=0))
    with pytest.raises(ArgumentError, match="two dims of space"):
        fitted(ds.isel(x=0))
    with pytest.raises(ArgumentError, match="no value of"):
        fitted(ds.assign(surface=ds.surface * np.nan))
