"""Head to head and summaries: worked examples, properties, pandas as oracle, faults."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from xsoil.errors import ArgumentError, AxisError, GridMismatchError, MissingVariableError, UnknownNameError
from xsoil.evaluation import head_to_head, summary

MODELS = ["dense", "forest", "smap"]


def scores(sites=60, seed=0):
    rng = np.random.default_rng(seed)
    shape = (3, sites)
    coords = {"model": MODELS, "site": np.arange(sites)}
    return xr.Dataset(
        {
            "r": (("model", "site"), rng.uniform(0, 1, shape)),
            "rmse": (("model", "site"), rng.uniform(0, 0.1, shape), {"units": "m3 m-3"}),
            "bias": (("model", "site"), rng.normal(0, 0.05, shape)),
            "n": (("model", "site"), np.full(shape, 100)),
        },
        coords,
    )


def classes(sites=60, seed=1):
    rng = np.random.default_rng(seed)
    labels = rng.choice(["loam", "sand", "clay"], sites, p=[0.8, 0.15, 0.05]).astype(object)
    labels[:3] = np.nan
    return xr.DataArray(labels, {"site": np.arange(sites)}, "site", name="texture")


def test_shares_of_a_worked_example():
    rmse = xr.DataArray(
        [[1.0, 2.0, 3.0, 1.0], [2.0, 1.0, 3.0, 2.0], [3.0, 3.0, 1.0, np.nan]],
        {"model": MODELS},
        ("model", "site"),
        name="rmse",
    )
    found = head_to_head(rmse).isel(metric=0)
    assert int(found.sites) == 3
    assert found.wins.sel(model="dense", opponent="forest") == pytest.approx(1 / 3)  # a tie is nobody's
    assert found.wins.sel(model="forest", opponent="dense") == pytest.approx(1 / 3)
    assert found.wins.sel(model="dense", opponent="smap") == pytest.approx(2 / 3)
    np.testing.assert_allclose(found.best, [1 / 3, 1 / 3, 1 / 3])


def test_ends_of_the_metrics():
    """Higher r, lower RMSE, bias nearest to zero win; counts are not ranked."""
    ds = scores()
    found = head_to_head(ds)
    assert found.metric.values.tolist() == ["r", "rmse", "bias"]
    best = {
        "r": ds.r.argmax("model"), "rmse": ds.rmse.argmin("model"), "bias": np.abs(ds.bias).argmin("model")
    }  # fmt: skip
    for name, winner in best.items():
        np.testing.assert_allclose(found.best.sel(metric=name), np.bincount(winner.values, minlength=3) / 60)
    np.testing.assert_allclose(found.wins + found.wins.transpose("metric", "opponent", "model").values + np.eye(3), 1)
    other = head_to_head(ds.r.rename("skill"), better="lower")
    np.testing.assert_allclose(other.best[0], np.bincount(ds.r.argmin("model").values, minlength=3) / 60)


def test_classes_count_alike():
    ds, texture = scores(), classes()
    found = head_to_head(ds, by=texture)
    winner = ds.rmse.argmin("model").values
    for label in ("loam", "sand", "clay"):
        won = np.bincount(winner[texture.values == label], minlength=3)
        np.testing.assert_allclose(
            found.class_points.sel(metric="rmse", **{"class": f"texture: {label}"}), won / won.max()
        )
    np.testing.assert_allclose(found.points, found.class_points.sum("class"))
    assert (found.class_points.max("model") == 1).all()
    both = head_to_head(ds, by=[texture, texture.rename("cover")])
    np.testing.assert_allclose(both.points, 2 * found.points)
    assert head_to_head(ds, by=xr.Dataset({"texture": texture})).identical(found)


def test_a_rare_class_is_heard():
    """A model that wins nowhere but in a rare class has as many points as one that wins the common one."""
    texture = xr.DataArray(["a"] * 95 + ["b"] * 5, dims="site", name="t")
    rmse = xr.DataArray(np.array([[1.0] * 95 + [2.0] * 5, [2.0] * 95 + [1.0] * 5]), dims=("model", "site"), name="rmse")
    found = head_to_head(rmse, by=texture)
    np.testing.assert_allclose(found.points[0], [1, 1])
    np.testing.assert_allclose(found.best[0], [0.95, 0.05])


def test_summary_is_that_of_pandas():
    ds, texture = scores(), classes()
    ds.rmse[0, 7] = np.nan
    found = summary(ds.drop_vars("n"), texture)
    frame = ds.rmse.sel(model="dense").to_series().groupby(texture.to_series()).describe()
    for label in ("loam", "sand", "clay"):
        one = found.rmse.sel(model="dense", texture=label)
        names = {"mean": "mean", "q25": "25%", "median": "50%", "q75": "75%", "n": "count"}
        for name, theirs in names.items():
            assert float(one.sel(statistic=name)) == pytest.approx(frame.loc[label, theirs])
        if frame.loc[label, "count"] > 1:
            ratio = np.sqrt((frame.loc[label, "count"] - 1) / frame.loc[label, "count"])
            assert float(one.sel(statistic="std")) == pytest.approx(frame.loc[label, "std"] * ratio)
    whole = summary(ds.rmse, dims="site")
    assert float(whole.rmse.sel(statistic="median", model="smap")) == pytest.approx(np.median(ds.rmse[2]))
    assert whole.rmse.attrs["units"] == "m3 m-3"
    assert summary(ds.rmse[0]).rmse.dims == ("statistic",)


def test_faults():
    ds = scores()
    with pytest.raises(AxisError, match=r"xr.concat"):
        head_to_head(ds.isel(model=0))
    with pytest.raises(ArgumentError, match="1 model"):
        head_to_head(ds.isel(model=[0]))
    with pytest.raises(MissingVariableError, match="which end of 'skill'"):
        head_to_head(ds.r.rename("skill"))
    with pytest.raises(UnknownNameError, match="'lower'"):
        head_to_head(ds.r, better="lowest")
    with pytest.raises(GridMismatchError, match="not those of the scored sites"):
        head_to_head(ds, by=classes().assign_coords(site=np.arange(60) + 1))
    with pytest.raises(GridMismatchError, match="classes are expected on"):
        head_to_head(ds, by=classes().rename(site="pixel"))
    with pytest.raises(ArgumentError, match="no site has a score 'r' of all models"):
        head_to_head(ds.r.where(ds.model != "smap"))
    with pytest.raises(ArgumentError, match="no name"):
        head_to_head(ds.r.rename(None))
    with pytest.raises(AxisError, match="'pixel'"):
        summary(ds, dims="pixel")
    with pytest.raises(GridMismatchError, match="classes are not those"):
        summary(ds, classes().assign_coords(site=np.arange(60) + 1))


def test_cells_with_the_declared_value_for_no_class_have_none():
    """As `xsoil.texture_class` marks them: integers with a `nodata` of 0."""
    found = scores()
    known = np.arange(60) % 3
    by = xr.DataArray(known.astype("i1"), dims="site", coords={"site": found.site}, name="texture_class")
    by.attrs["nodata"] = np.int8(0)
    gaps = by.drop_attrs().where(known > 0)
    ours, theirs = (head_to_head(found[["r"]], by=array) for array in (by, gaps))
    assert ours["class"].values.tolist() == ["texture_class: 1", "texture_class: 2"]
    np.testing.assert_array_equal(ours.points, theirs.points)
    ours, theirs = (summary(found[["r"]], array) for array in (by, gaps))
    np.testing.assert_array_equal(ours.r, theirs.r)
    assert ours.texture_class.values.tolist() == [1, 2]
