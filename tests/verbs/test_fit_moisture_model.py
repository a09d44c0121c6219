"""`fit_moisture_model` on datasets of any dims, `MoistureModel.predict`: lazy, in any chunks, in the right units."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xsoil
from xsoil.errors import ArgumentError, GridMismatchError, MissingVariableError, TimeError, UnitsError, UnknownNameError
from xsoil.evaluation.splits import Split
from xsoil.verbs import _moisture_rows

QUICK = {"dense": {"epochs": 4}, "prob": {"epochs": 4}, "wide_deep": {"epochs": 3}, "random_forest": {"trees": 8}}
PREDICTORS = ["smap", "sand", "ndvi", "texture_class"]


def world(sites=40, days=30, seed=0):
    """Sites whose soil moisture follows a satellite, sand and two classes; some of everything is missing."""
    rng = np.random.default_rng(seed)
    smap = rng.uniform(0.1, 0.4, (days, sites)).astype(np.float32)
    sand = rng.uniform(10, 90, sites)
    ndvi = rng.uniform(0, 1, (sites, days))
    texture = rng.choice([1, 4, 9], sites, p=[0.6, 0.3, 0.1]).astype(np.int8)
    moisture = 0.6 * smap.T + 0.1 - 0.001 * sand[:, None] + 0.05 * (texture == 4)[:, None]
    smap[::4] = np.nan
    moisture[:, 1::3] = np.nan
    classes = {"flag_values": np.array([1, 4, 9], np.int8), "flag_meanings": "a b c"}
    return xr.Dataset(
        {
            "smap": (("time", "site"), smap, {"units": "m3 m-3"}),
            "sand": ("site", sand, {"units": "percent"}),
            "ndvi": (("site", "time"), ndvi, {"units": "1"}),
            "texture_class": ("site", texture, classes),
            "soil_moisture": (("site", "time"), moisture, {"units": "m3 m-3"}),
        },
        {"time": np.arange(days).astype("datetime64[D]").astype("datetime64[ns]"), "site": np.arange(sites) * 10},
    )


def fitted(ds, kind, **arguments):
    arguments = {"predictors": PREDICTORS, "options": QUICK[kind], "progress": False} | arguments
    return xsoil.fit_moisture_model(ds, kind=kind, **arguments)


@pytest.fixture(scope="module", params=list(QUICK))
def model(request):
    return fitted(world(), request.param, weights=[None, "texture_class", "sand"])


def test_prediction(model):
    ds = world(seed=5)
    before = ds.copy(deep=True)
    found = model.predict(ds, members=True)
    assert found.soil_moisture.dims == ("time", "site")
    assert found.soil_moisture.dtype == np.float32
    assert found.soil_moisture.attrs["units"] == "m3 m-3"
    assert found.soil_moisture.attrs["standard_name"] == xsoil.VARIABLES["soil_moisture"].standard_name
    assert "10.1016/j.jhydrol.2024.132624" in found.soil_moisture.attrs["references"]
    assert found.soil_moisture_std.attrs["units"] == "m3 m-3"
    assert list(found.member.values) == ["unweighted", "texture_class", "sand"]
    assert bool(found.soil_moisture.notnull().all())  # sand is there where the satellite is not
    np.testing.assert_allclose(found.soil_moisture_members.mean("member"), found.soil_moisture, rtol=1e-5)
    assert bool((found.soil_moisture_std > 0).all())
    xr.testing.assert_identical(ds, before)
    assert found.site.identical(ds.site)
    assert set(model.predict(ds)) == {"soil_moisture", "soil_moisture_std"}


@pytest.mark.parametrize("chunks", [{"site": 7, "time": 4}, {"site": 40, "time": 1}, {"site": 1, "time": 30}])
def test_chunks_do_not_matter(model, chunks, no_compute):
    ds = world(seed=5)
    whole = model.predict(ds, members=True)
    lazy = model.predict(ds.chunk(chunks), members=True)
    assert all(array.chunks is not None for array in lazy.data_vars.values())
    with xr.set_options(keep_attrs=True):
        import dask

        with dask.config.set(scheduler="synchronous"):
            xr.testing.assert_identical(lazy.compute(), whole)


def test_one_lazy_predictor_is_enough(model):
    ds = world(seed=5)
    mixed = ds.assign(ndvi=ds.ndvi.chunk({"site": 11}))
    lazy = model.predict(mixed)
    assert lazy.soil_moisture.chunks is not None
    xr.testing.assert_identical(lazy.compute(), model.predict(ds))


def test_bands_of_threads_do_not_matter(model, monkeypatch):
    ds = world(seed=5)
    whole = model.predict(ds)
    monkeypatch.setattr(_moisture_rows, "_TOGETHER", 37)
    for cores in (1, 3):
        monkeypatch.setattr(_moisture_rows, "available_cores", lambda cores=cores: cores)
        xr.testing.assert_identical(model.predict(ds), whole)


def test_files(model, tmp_path):
    model.save(tmp_path / "model")
    again = xsoil.load_model(tmp_path / "model")
    ds = world(seed=5)
    xr.testing.assert_identical(again.predict(ds, members=True), model.predict(ds, members=True))
    assert repr(again) == repr(model)
    xr.testing.assert_identical(again.history, model.history)
    with pytest.raises(ArgumentError, match="no samples"):
        again.evaluate()
    with pytest.raises(ArgumentError, match="network"):
        xsoil.load_model(tmp_path / "model", network=object())


def test_units_are_converted_or_refused(model):
    ds = world(seed=5)
    whole = model.predict(ds)
    other = ds.assign(sand=(ds.sand * 10).assign_attrs(units="g kg-1"))
    np.testing.assert_allclose(model.predict(other).soil_moisture, whole.soil_moisture, rtol=1e-4)
    with pytest.raises(UnitsError, match=r"'sand' has units 'K'"):
        model.predict(ds.assign(sand=ds.sand.assign_attrs(units="K")))
    with pytest.raises(UnitsError, match=r"'ndvi' is in 'percent'; the model was trained with '1'"):
        model.predict(ds.assign(ndvi=ds.ndvi.assign_attrs(units="percent")))
    with pytest.raises(UnitsError, match="'smap' has no units"):
        model.predict(ds.assign(smap=ds.smap.drop_attrs()))
    with pytest.raises(MissingVariableError, match=r"'ndvi' .* trained with"):
        model.predict(ds.drop_vars("ndvi"))


def test_classes_mean_what_they_meant(tmp_path):
    ds = world()
    model = fitted(ds, "random_forest")
    model.save(tmp_path / "model")
    kept, whole = xsoil.load_model(tmp_path / "model"), model.predict(ds)

    def saying(**attrs):
        return ds.assign(texture_class=ds.texture_class.assign_attrs(attrs))

    for one in (model, kept):
        with pytest.raises(UnitsError, match="class 4 of 'texture_class' is 'c' here and was 'b' in training"):
            one.predict(saying(flag_meanings="a c b"))
        with pytest.raises(UnitsError, match="class 4 of 'texture_class' is 'c' here"):
            one.predict(saying(flag_values="1b, 4b, 9b", flag_meanings="a c b"))  # as some files write numbers
    # Other spellings of case, further classes, another order, and no words at all mean the same.
    xr.testing.assert_identical(kept.predict(saying(flag_meanings="A B C")), whole)
    more = saying(flag_values=np.array([9, 2, 4, 1], np.int8), flag_meanings="c other b a")
    xr.testing.assert_identical(model.predict(more), whole)
    xr.testing.assert_identical(model.predict(ds.assign(texture_class=ds.texture_class.drop_attrs())), whole)
    silent = fitted(ds.assign(texture_class=ds.texture_class.drop_attrs()), "random_forest")
    xr.testing.assert_identical(silent.predict(saying(flag_meanings="a c b")), silent.predict(ds))


def test_predictions_keep_within_bounds(no_compute):
    ds = world()
    model = fitted(ds, "wide_deep", options={"epochs": 30}, members=2)
    wild = ds.assign(smap=ds.smap.where(ds.site > 50, 1e6).where(ds.site != 60, -1e6).assign_attrs(units="m3 m-3"))
    raw, found = model.predict(wild, bounds=None, members=True), model.predict(wild, quality=True, members=True)
    assert float(raw.soil_moisture.max()) > 1e3
    assert float(raw.soil_moisture.min()) < -1e3
    for name in ("soil_moisture", "soil_moisture_members"):
        np.testing.assert_array_equal(found[name], raw[name].clip(0, 1))
        assert found[name].dtype == np.float32
    np.testing.assert_array_equal(found.soil_moisture_quality, (raw.soil_moisture < 0) | (raw.soil_moisture > 1))
    assert 0 < int(found.soil_moisture_quality.sum()) < found.soil_moisture.size
    assert found.soil_moisture_quality.attrs["flag_meanings"] == "limited"
    assert found.soil_moisture.attrs["comment"].endswith("limited to 0..1")
    assert "limited" not in raw.soil_moisture.attrs["comment"]
    np.testing.assert_array_equal(found.soil_moisture_std, raw.soil_moisture_std)
    porosity = (0.3 + ds.sand / 1000).rename("theta_s").assign_attrs(units="m3 m-3")
    expected = raw.soil_moisture.clip(0.05, porosity.astype(np.float32))
    lazy = model.predict(wild.chunk(site=9), bounds=(0.05, porosity), quality=True)
    assert lazy.soil_moisture_quality.chunks is not None
    import dask

    with dask.config.set(scheduler="synchronous"):
        within = lazy.compute()
    np.testing.assert_array_equal(within.soil_moisture, expected.transpose("time", "site"))
    assert within.soil_moisture.dtype == np.float32
    assert within.soil_moisture.attrs["comment"].endswith("limited to 0.05..theta_s")
    for bounds in ("all", (1, 0), (0,), (0, "theta_s"), (np.nan, 1)):
        with pytest.raises(ArgumentError, match="expected 'range'"):
            model.predict(ds, bounds=bounds)
    with pytest.raises(GridMismatchError):
        model.predict(ds, bounds=(0, porosity.isel(site=slice(5))))
    with pytest.raises(GridMismatchError, match="band"):
        model.predict(ds, bounds=(0, porosity.expand_dims(band=2)))
    # Maps of bounds are read as any other maps: units, packed numbers, days.
    for other in (
        (100 * porosity).assign_attrs(units="percent"),
        (1e4 * porosity).round().astype("i2").assign_attrs(units="m3 m-3", scale_factor=1e-4),
        porosity.expand_dims(time=wild.time),
    ):
        near = model.predict(wild, bounds=(0.05, other)).soil_moisture
        np.testing.assert_allclose(near, within.soil_moisture, atol=6e-5)
    with pytest.raises(UnitsError, match="a bound is in 'mm'"):
        model.predict(ds, bounds=(0, porosity.assign_attrs(units="mm")))
    with pytest.raises(TimeError, match="a bound has 30 times from 1970-01-02"):
        model.predict(ds, bounds=(0, porosity.expand_dims(time=ds.time + np.timedelta64(1, "D"))))


def test_rows_are_the_same_on_any_dims():
    ds = world()
    flat = ds.stack(row=("time", "site")).reset_index("row", drop=True)
    one, other = (fitted(obj, "random_forest", validation=0) for obj in (ds, flat))
    values = one.predict(ds).soil_moisture.values.ravel()
    np.testing.assert_array_equal(other.predict(flat).soil_moisture.values, values)
    grid = ds.isel(site=slice(0, 40)).assign_coords(site=np.arange(40))
    maps = grid.coarsen(site=8).construct(site=("y", "x"))
    maps = maps.assign_coords(y=np.arange(5) * -1.0, x=np.arange(8.0)).drop_vars("site")
    found = fitted(maps, "random_forest", validation=0).predict(maps).soil_moisture
    assert found.dims == ("time", "y", "x")
    np.testing.assert_array_equal(found.values.ravel(), values)


def test_rows_outside_the_split_and_without_targets_do_not_matter():
    ds = world()
    times = Split.times(train=("1970-01-01", "1970-01-19"), test=("1970-01-20", "1970-01-30"))
    split = Split.random_cells(ds.soil_moisture, 0.3, seed=2) & times
    cells, days = split.train, split.days_of("train", ds.indexes["time"])
    inside = cells & xr.DataArray(days, dims="time", coords={"time": ds.time})
    wild = ds.assign(soil_moisture=ds.soil_moisture.where(inside, 0.9).assign_attrs(ds.soil_moisture.attrs))
    one, other = (fitted(obj, "dense", split=split) for obj in (ds, wild))
    xr.testing.assert_identical(one.predict(ds), other.predict(ds))
    scores = one.evaluate()
    assert list(scores.set.values) == ["train", "temporal", "spatial", "spatio_temporal"]
    for which, number in (("train", 28), ("spatial", 12)):
        assert int(scores.rmse.sel(set=which).notnull().sum()) == number
    by_hand = one.predict(ds).soil_moisture.where(inside) - ds.soil_moisture
    np.testing.assert_allclose(scores.bias.sel(set="train"), by_hand.mean("time"), atol=1e-6)


def test_targets_that_are_impossible_are_none():
    ds = world()
    wrong = np.zeros(ds.soil_moisture.shape, bool)
    wrong[::5, ::2] = True
    bad = xr.Variable(("site", "time"), np.where(np.arange(30) % 4 == 0, -9999.0, 37.0) * np.ones((40, 1)))
    nodata, gaps = (ds.soil_moisture.where(~wrong, other) for other in (bad.values, np.nan))
    one, other = (fitted(ds.assign(soil_moisture=given), "random_forest") for given in (nodata, gaps))
    xr.testing.assert_identical(one.predict(ds), other.predict(ds))
    xr.testing.assert_identical(one.evaluate(), other.evaluate())


def test_samples_without_time():
    ds = world(sites=300, days=1).isel(time=0, drop=True)
    ds["soil_moisture"] = ds.soil_moisture.where(ds.site > 200)
    ds["smap"] = ds.smap.fillna(0.2).assign_attrs(units="m3 m-3")
    split = Split.random_cells(ds.soil_moisture, 0.2)
    model = fitted(ds, "dense", split=split)
    scores = model.evaluate()
    assert scores.rmse.dims == ("set",)
    assert scores.n.sum() == ds.soil_moisture.notnull().sum()


def test_importance():
    ds = world().assign(nothing=("site", np.random.default_rng(0).random(40), {"units": "1"}))
    split = Split.random_cells(ds.soil_moisture, 0.3)
    names = ["smap", "sand", "nothing"]
    model = fitted(ds, "random_forest", predictors=names, split=split, options={"trees": 20})
    for how in ("permutation", "drop_one"):
        found = model.importance(how, repeats=3)
        assert found["predictor"].values.tolist() == names
        assert found.importance.sel(predictor="smap") > 3 * abs(found.importance.sel(predictor="nothing"))
    wild = ds.assign(soil_moisture=ds.soil_moisture.where(split.test, 0.9).assign_attrs(units="m3 m-3"))
    again = type(model)(model.ensemble, samples=type(model.samples)(wild, split)).importance(repeats=3)
    xr.testing.assert_identical(again, model.importance(repeats=3))  # training sites do not count
    with pytest.raises(UnknownNameError, match="permutation"):
        model.importance("shap")
    with pytest.raises(ArgumentError, match="no samples"):
        type(model)(model.ensemble).importance()


def test_a_split_whose_labels_differ_by_rounding():
    ds = world()
    split = Split.random_cells(ds.sand, 0.3, seed=0)
    near = ds.assign_coords(site=ds.site * (1 + 1e-12))
    one, other = (fitted(given, "random_forest", split=split) for given in (ds, near))
    for name in ("n", "rmse"):
        np.testing.assert_array_equal(one.evaluate()[name], other.evaluate()[name])
    assert one.importance(repeats=1).identical(other.importance(repeats=1))


def test_an_ensemble_per_class():
    ds = world()
    model = fitted(ds, "random_forest", weights="texture_class", ensemble="per_class")
    assert list(model.members) == ["texture_class=1", "texture_class=4", "texture_class=9"]
    only = ds.assign(soil_moisture=ds.soil_moisture.where(ds.texture_class == 4))
    alone = fitted(only, "random_forest", validation=0)
    with_all = fitted(ds, "random_forest", weights="texture_class", ensemble="per_class", validation=0)
    assert (
        with_all.members["texture_class=4"].arrays()["values"].size
        == alone.members["unweighted"].arrays()["values"].size
    )
    with pytest.raises(ArgumentError, match="holds no classes"):
        fitted(ds, "random_forest", weights="sand", ensemble="per_class")


def test_members_of_other_seeds():
    model = fitted(world(), "dense", members=2, seed=7, validation=0)
    assert list(model.members) == ["unweighted 0", "unweighted 1"]
    alone = fitted(world(), "dense", seed=8, validation=0)
    np.testing.assert_array_equal(
        model.members["unweighted 1"].arrays()["weights"], alone.members["unweighted"].arrays()["weights"]
    )


def test_many_predictors():
    ds = world()
    names = [f"band{i}" for i in range(40)]
    ds = ds.assign({n: (ds.ndvi * (i + 1)).assign_attrs(units="1") for i, n in enumerate(names)})
    model = fitted(ds, "random_forest", predictors=names, options={"trees": 2})
    whole = model.predict(ds)
    rows = model.ensemble.predict(np.stack([ds[n].values.T.ravel() for n in names], axis=1).astype(np.float32))
    np.testing.assert_array_equal(whole.soil_moisture.values.ravel(), rows["mean"][:, 0])


def test_categorical_by_name():
    ds = world().assign(cover=("site", np.arange(40) % 3 + 10.0))
    with pytest.raises(UnitsError, match="categorical"):
        fitted(ds, "random_forest", predictors=["smap", "cover"])
    model = fitted(ds, "random_forest", predictors=["smap", "cover"], categorical=["cover"])
    assert model.predictors == {"smap": "m3 m-3", "cover": None}
    assert model.ensemble.inputs.columns[-3:] == ("cover=10", "cover=11", "cover=12")


def test_evaluates_where_times_repeat_and_where_predictors_do_not_vary():
    ds = world()
    still = fitted(ds, "random_forest", predictors=["sand"])
    expected = ((still.predict(ds).soil_moisture - ds.soil_moisture) ** 2).mean("time") ** 0.5
    np.testing.assert_allclose(still.evaluate().rmse[0], expected, rtol=1e-6)
    assert float(still.importance(repeats=1).importance[0]) > 0
    twice = xr.concat([ds, ds.isel(time=[0])], "time", data_vars="minimal")
    model = fitted(twice, "random_forest")
    np.testing.assert_array_equal(model.evaluate().n[0], twice.soil_moisture.notnull().sum("time"))


def test_faults():
    ds = world()
    with pytest.raises(UnknownNameError, match="did you mean 'dense'"):
        xsoil.fit_moisture_model(ds, kind="dens", predictors=["sand"])
    with pytest.raises(MissingVariableError, match="'snad'"):
        fitted(ds, "dense", predictors=["snad"])
    with pytest.raises(ArgumentError, match="targets and predictors"):
        fitted(ds, "dense", predictors=["soil_moisture"])
    with pytest.raises(ArgumentError, match="list of names"):
        fitted(ds, "dense", predictors="sand")
    with pytest.raises(UnknownNameError, match="option"):
        fitted(ds, "dense", options={"trees": 3})
    with pytest.raises(ArgumentError, match="validation"):
        fitted(ds, "dense", validation=1.0)
    with pytest.raises(ArgumentError, match="seed"):
        fitted(ds, "dense", seed=-1)
    with pytest.raises(ArgumentError, match="1 at the most"):
        fitted(ds, "dense", target=["soil_moisture", "smap"], predictors=["sand"])
    with pytest.raises(GridMismatchError, match="'smap' is on \\['time'\\]"):
        fitted(ds.assign(soil_moisture=ds.soil_moisture.mean("time").assign_attrs(units="1")), "dense")
    with pytest.raises(ArgumentError, match="no value of"):
        fitted(ds.assign(soil_moisture=ds.soil_moisture * np.nan).assign_attrs(), "dense", target="soil_moisture")
