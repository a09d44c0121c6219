"""Permutation and drop-one importance: closed forms, scikit-learn as oracle, dims, faults."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from sklearn.inspection import permutation_importance as theirs
from sklearn.linear_model import LinearRegression

from xsoil.errors import ArgumentError, AxisError, MissingVariableError, UnknownNameError
from xsoil.evaluation import drop_one_importance, permutation_importance

WEIGHTS = {"sand": 3.0, "rain": 1.0, "noise": 0.0}


def world(sites=40, times=50, seed=0):
    rng = np.random.default_rng(seed)
    ds = xr.Dataset(
        {
            "sand": ("site", rng.normal(size=sites)),
            "rain": (("site", "time"), rng.normal(size=(sites, times))),
            "noise": (("site", "time"), rng.normal(size=(sites, times))),
        },
        {"site": np.arange(sites), "time": np.arange(times)},
    )
    theta = 3 * ds.sand + ds.rain + rng.normal(0, 0.1, (sites, times))
    return ds.assign(theta=theta.transpose("site", "time"))


def predict(ds):
    return sum(w * ds[n] for n, w in WEIGHTS.items() if n in ds)


def test_closed_form_of_a_linear_model():
    """Shuffling x moves the mean square error by 2 w^2 var(x)."""
    ds = world(200, 60)
    found = permutation_importance(predict, ds, "theta", repeats=20)
    error = float(found.score)
    for name, weight in WEIGHTS.items():
        expected = np.sqrt(error**2 + 2 * weight**2 * float(ds[name].var()))
        row = found.sel(predictor=name)
        assert float(row.importance) == pytest.approx(expected - error, rel=0.06, abs=1e-12)
        assert float(row.ratio) == pytest.approx(expected / error, rel=0.06)
    assert found["rank"].values.tolist() == [1, 2, 3]
    assert float(found.importance_std.sel(predictor="noise")) < 1e-15


def test_agrees_with_scikit_learn():
    ds = world().stack(row=("site", "time")).reset_index("row", drop=True)
    x, y = np.stack([ds[n].values for n in WEIGHTS], axis=1), ds.theta.values
    model = LinearRegression().fit(x, y)
    expected = theirs(model, x, y, scoring="neg_root_mean_squared_error", n_repeats=30, random_state=0)
    found = permutation_importance(
        lambda d: xr.DataArray(model.predict(np.stack([d[n].values for n in WEIGHTS], axis=1)), dims="row"),
        ds, "theta", list(WEIGHTS), repeats=30,
    )  # fmt: skip
    np.testing.assert_allclose(found.importance, expected.importances_mean, rtol=0.03, atol=2e-4)


def test_along_a_dim_series_stay_whole():
    ds = world()
    seen = []

    def spy(d):
        seen.append(d.rain)
        return predict(d)

    permutation_importance(spy, ds, "theta", ["rain"], along="site", repeats=3)
    for changed in seen[1:]:
        order = [int(np.flatnonzero((ds.rain.values == row).all(axis=1))[0]) for row in changed.values]
        assert sorted(order) == list(range(40))
        assert order != list(range(40))
    permutation_importance(spy, ds, "theta", ["rain"], repeats=1)
    assert sorted(seen[-1].values.ravel()) == sorted(ds.rain.values.ravel())
    assert not (np.sort(seen[-1], axis=1) == np.sort(ds.rain, axis=1)).all()


def test_series_and_maps_stay_together():
    ds = world(8, 40).assign(pressure=("time", np.arange(40.0)))
    seen = []

    def spy(d):
        seen.append(d)
        return predict(d)

    permutation_importance(spy, ds, "theta", ["rain"], together="series", repeats=2)
    for changed in seen[1:]:
        order = [int(np.flatnonzero((ds.rain.values == row).all(axis=1))[0]) for row in changed.rain.values]
        assert sorted(order) == list(range(8))
        assert order != list(range(8))
    for one, name, dims in ((ds, "pressure", ["time"]), (ds.isel(site=[0]), "rain", ["time"])):
        seen.clear()
        permutation_importance(spy, one, "theta", [name], together="series", repeats=3)
        for changed in seen[1:]:  # of no place, or of a single one: later or earlier days, in their order
            steps = [s for s in range(40) if one[name].roll(dict.fromkeys(dims, s)).equals(changed[name])]
            assert len(steps) == 1
            assert 10 <= steps[0] <= 30
    maps = xr.Dataset(
        {"rain": (("time", "y", "x"), np.arange(480.0).reshape(12, 8, 5)), "sand": (("y", "x"), np.eye(8, 5))}
    )
    maps["theta"] = maps.rain + maps.sand
    seen.clear()
    permutation_importance(
        lambda d: seen.append(d) or d.rain, maps, "theta", ["rain", "sand"], together="maps", repeats=2
    )
    rolled = [m for m in seen[1:3] if not m.rain.equals(maps.rain)]
    assert len(rolled) == 2
    for changed in rolled:
        t, y, x = np.argwhere(changed.rain.values == 0)[0]
        assert changed.rain.equals(maps.rain.roll(time=t, y=y, x=x))
        assert 3 <= t <= 9
    assert not seen[3].sand.equals(maps.sand)
    assert float(seen[3].sand.sum()) == 5
    with pytest.raises(UnknownNameError, match="'series'"):
        permutation_importance(predict, ds, "theta", together="serie")
    with pytest.raises(ArgumentError, match="one of them"):
        permutation_importance(predict, ds, "theta", together="series", along="site")


@pytest.mark.parametrize("metric", ["r", "nse", "kge", "ubrmse", "bias"])
def test_metrics_fall_as_they_should(metric):
    found = permutation_importance(predict, world(), "theta", metric=metric, repeats=3)
    if metric != "bias":
        assert float(found.importance.sel(predictor="sand")) > float(found.importance.sel(predictor="rain")) > 0
    assert found.attrs["metric"] == metric


def test_same_seed_same_bits_and_untouched_input():
    ds = world()
    before = ds.copy(deep=True)
    one = permutation_importance(predict, ds, "theta", seed=4)
    assert one.identical(permutation_importance(lambda d: predict(d).to_dataset(name="theta"), ds, "theta", seed=4))
    assert ds.identical(before)
    # A predictor's shuffles do not depend on which others there are beside it.
    alone = permutation_importance(predict, ds, "theta", ["sand"], seed=4)
    np.testing.assert_array_equal(alone.shuffled[0], one.shuffled[0])


def test_drop_one_is_what_the_others_cannot_replace():
    """A twin of sand makes sand dispensable, though the model leans on it."""
    ds = world().assign(twin=lambda d: d.sand + 0.01 * d.noise.isel(time=0))
    calls = []

    def fit(names):
        calls.append(names)
        rows = np.stack([np.broadcast_to(ds[n].values.reshape(40, -1), (40, 50)).ravel() for n in names], axis=1)
        model = LinearRegression().fit(rows, ds.theta.values.ravel())
        return lambda d: xr.DataArray(model.predict(rows).reshape(40, 50), d.theta.coords, ("site", "time"))

    found = drop_one_importance(fit, ds, "theta", ["sand", "rain", "twin"])
    assert calls == [("sand", "rain", "twin"), ("rain", "twin"), ("sand", "twin"), ("sand", "rain")]
    assert int(found["rank"].sel(predictor="rain")) == 1
    assert float(found.importance.sel(predictor="sand")) < 0.1 * float(found.importance.sel(predictor="rain"))
    # Leaving rain out leaves its variance: closed form.
    left = np.sqrt(float(found.score) ** 2 + float(ds.rain.var()))
    assert float(found.score + found.importance.sel(predictor="rain")) == pytest.approx(left, rel=0.05)


def test_faults():
    ds = world()
    with pytest.raises(MissingVariableError, match="'clay'"):
        permutation_importance(predict, ds, "theta", ["clay"])
    with pytest.raises(MissingVariableError, match="no 'theta'"):
        permutation_importance(lambda d: xr.Dataset({"sm": d.rain}), ds, "theta")
    with pytest.raises(UnknownNameError, match="'rmse'"):
        permutation_importance(predict, ds, "theta", metric="rsme")
    with pytest.raises(AxisError, match="'sand' has none"):
        permutation_importance(predict, ds, "theta", ["sand"], along="time")
    with pytest.raises(ArgumentError, match="expected \\['site', 'time'\\]"):
        permutation_importance(lambda d: d.sand, ds, "theta")
    with pytest.raises(ArgumentError, match="not on the cells"):
        permutation_importance(lambda d: predict(d).isel(site=slice(9)), ds, "theta")
    with pytest.raises(ArgumentError, match="repeats=0"):
        permutation_importance(predict, ds, "theta", repeats=0)
    with pytest.raises(ArgumentError, match="two or more"):
        drop_one_importance(lambda names: predict, ds, "theta", ["sand"])


def test_packed_targets_are_read():
    ds = world()
    stored = np.round(100 * ds.theta).astype("i4")
    stored[0, :5] = -9999
    packed = ds.assign(theta=stored.assign_attrs(scale_factor=0.01, _FillValue=-9999))
    plain = ds.assign(theta=(0.01 * stored).where(stored != -9999))
    ours, theirs = (permutation_importance(predict, data, "theta", repeats=2) for data in (packed, plain))
    np.testing.assert_allclose(ours.shuffled, theirs.shuffled, rtol=1e-12)
