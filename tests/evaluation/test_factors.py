"""Factors of skill and principal components: known causes, numpy as oracle, classes, missing values, faults."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from xsoil.errors import ArgumentError, GridMismatchError, MissingVariableError
from xsoil.evaluation import principal_components, skill_factors

N = 150


def attributes(seed=0):
    rng = np.random.default_rng(seed)
    sand = rng.uniform(10, 90, N)
    clay = 0.6 * (100 - sand) + rng.normal(0, 5, N)
    return xr.Dataset(
        {
            "sand": ("site", sand),
            "clay": ("site", clay),
            "elevation": ("site", rng.uniform(0, 2000, N)),
            "cover": ("site", rng.choice(["crop", "forest", "grass"], N)),
            "depth": ("layer", np.arange(3.0)),
        },
        {"site": np.arange(N)},
    )


def skill(ds, seed=1):
    rng = np.random.default_rng(seed)
    value = 0.9 - 0.3 * (ds.elevation > 1000) - 0.2 * (ds.cover == "forest") + rng.normal(0, 0.03, N)
    return value.rename("r")


def test_finds_what_made_the_skill():
    ds = attributes()
    found = skill_factors(skill(ds), ds, trees=40, repeats=3)
    assert found.factor.values.tolist() == ["sand", "clay", "elevation", "cover"]
    assert float(found.importance.sum()) == pytest.approx(1)
    ranks = found.importance.to_series().sort_values(ascending=False).index.tolist()
    assert ranks[:2] == ["elevation", "cover"]
    assert found.permutation.to_series().sort_values(ascending=False).index.tolist()[:2] == ["elevation", "cover"]
    assert float(found.oob_r2) > 0.85
    assert abs(float(found.permutation.sel(factor="sand"))) < 0.05
    np.testing.assert_allclose(np.corrcoef(found.predicted, skill(ds))[0, 1], found.oob_r)


def test_noise_is_told_as_such():
    ds = attributes()
    noise = xr.DataArray(np.random.default_rng(5).normal(size=N), ds.coords, "site", name="r")
    found = skill_factors(noise, ds, trees=40, repeats=1)
    assert float(found.oob_r2) < 0.1
    assert float(found.importance.sum()) == pytest.approx(1)  # importances alone would not tell


def test_missing_scores_factors_and_seeds():
    ds = attributes()
    score = skill(ds).where(ds.site > 20)
    ds.elevation[30:40] = np.nan
    found = skill_factors(score, ds, trees=30, variables=["elevation", "cover"], repeats=1)
    assert int(found.sites) == N - 21
    assert found.predicted.isnull().sum() == 21
    assert found.identical(skill_factors(score, ds, trees=30, variables=["elevation", "cover"], repeats=1))
    assert float(found.oob_r2) > 0.6


def test_classes_by_flags_are_classes():
    ds = attributes()
    code = ("site", np.searchsorted(["crop", "forest", "grass"], ds.cover.values))
    flags = ds.assign(cover=(*code, {"flag_values": np.array([0, 1, 2])}))
    one, two = (skill_factors(skill(ds), d, trees=20, repeats=1) for d in (ds, flags))
    np.testing.assert_allclose(one.importance, two.importance)


def test_components_are_those_of_numpy():
    ds = attributes()
    names = ["sand", "clay", "elevation"]
    found = principal_components(ds, variables=names)
    table = np.stack([ds[n].values for n in names], axis=1)
    standard = (table - table.mean(0)) / table.std(0)
    values, vectors = np.linalg.eigh(np.cov(standard.T))
    np.testing.assert_allclose(found.explained, (values / values.sum())[::-1][:2])
    np.testing.assert_allclose(np.abs(found.loadings), np.abs(vectors.T[::-1][:2]), atol=1e-12)
    np.testing.assert_allclose(found.scores, found.loadings.values @ standard.T, atol=1e-12)
    assert float(found.explained[0]) > 0.6  # sand and clay go together


def test_failures_are_marked_where_they_lie():
    ds = attributes()
    failed = (ds.clay > ds.clay.quantile(0.8)).drop_vars("quantile")
    found = principal_components(ds, variables=["sand", "clay", "elevation", "cover"], failed=failed)
    deviation = (ds.clay[failed].mean() - ds.clay.mean()) / ds.clay.std()
    assert float(found.failed_deviation.sel(feature="clay")) == pytest.approx(float(deviation))
    assert float(found.failed_deviation.sel(feature="sand")) < -0.7
    assert abs(float(found.failed_separation[0])) > 1
    assert found.feature.values.tolist() == [
        "sand",
        "clay",
        "elevation",
        "cover: crop",
        "cover: forest",
        "cover: grass",
    ]
    np.testing.assert_array_equal(found.failed, failed)


def test_a_class_weighs_as_a_variable():
    """Of independent variables each explains a like share, also one of many classes."""
    rng = np.random.default_rng(0)
    ds = xr.Dataset(
        {"a": ("s", rng.normal(size=5000)), "b": ("s", rng.integers(0, 9, 5000), {"flag_values": np.arange(9)})}
    )
    found = principal_components(ds, components=9)
    assert float(found.explained[0]) == pytest.approx(0.5, abs=0.02)


def test_maps_and_missing_sites():
    ds = attributes().isel(site=slice(144)).drop_vars(["cover", "depth"])
    maps = ds.drop_vars("site").assign_coords(
        y=("site", np.repeat(np.arange(12), 12)), x=("site", np.tile(np.arange(12), 12))
    )
    maps = maps.set_index(site=["y", "x"]).unstack("site")
    maps.clay[3, 4] = np.nan
    found = principal_components(maps)
    assert found.scores.dims == ("component", "y", "x")
    assert int(found.scores[0].isnull().sum()) == 1


def test_faults():
    ds = attributes()
    with pytest.raises(ArgumentError, match="10 sites have a score"):
        skill_factors(skill(ds).where(ds.site < 10), ds)
    with pytest.raises(ArgumentError, match="all 150 sites have the same score"):
        skill_factors(xr.full_like(skill(ds), 0.5), ds)
    with pytest.raises(MissingVariableError, match="'ph'"):
        skill_factors(skill(ds), ds, variables=["ph"])
    with pytest.raises(GridMismatchError, match="'depth' is on"):
        skill_factors(skill(ds), ds, variables=["depth"])
    with pytest.raises(GridMismatchError, match="not on the same sites"):
        skill_factors(skill(ds).assign_coords(site=np.arange(N) + 1), ds)
    with pytest.raises(ArgumentError, match="components=9"):
        principal_components(ds, variables=["sand", "clay"], components=9)
    with pytest.raises(ArgumentError, match="expected some, not all"):
        principal_components(ds, variables=["sand", "clay"], failed=ds.sand > 1000)
    with pytest.raises(GridMismatchError, match="expected bool"):
        principal_components(ds, variables=["sand", "clay"], failed=ds.sand)


def test_declared_nodata_is_missing_and_packed_numbers_are_read():
    ds = attributes()
    rng = np.random.default_rng(3)
    cover = rng.integers(0, 3, N).astype("i1")
    packed = rng.integers(0, 500, N).astype("i2")
    packed[:9] = -999
    ds["cover"] = ("site", cover, {"flag_values": np.array([1, 2], "i1"), "nodata": np.int8(0)})
    ds["elevation"] = ("site", packed, {"scale_factor": 0.5, "_FillValue": -999})
    plain = ds.drop_attrs().assign(
        cover=("site", np.array([np.nan, "a", "b"], object)[cover]),
        elevation=("site", np.where(packed == -999, np.nan, 0.5 * packed)),
    )
    names = ["sand", "elevation", "cover"]
    ours, theirs = (principal_components(data, variables=names) for data in (ds, plain))
    assert ours.feature.values.tolist() == ["sand", "elevation", "cover: 1", "cover: 2"]
    np.testing.assert_array_equal(ours.scores, theirs.scores)
