"""Boxes of metrics: which values are in which box."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from xsoil.errors import ArgumentError, MissingVariableError
from xsoil.plots import metric_boxplots


@pytest.fixture
def scores() -> xr.Dataset:
    rng = np.random.default_rng(5)
    ubrmse = rng.gamma(4, 0.01, 300)
    ubrmse[::50] = np.nan
    attrs = {"flag_values": np.array([1, 2, 3], "i1"), "flag_meanings": "sand silt_loam clay"}
    return xr.Dataset(
        {"ubrmse": ("site", ubrmse, {"units": "m3 m-3"}), "bias": ("site", ubrmse - 0.04, {"units": "m3 m-3"})},
        {"soil": ("site", np.array([3, 1, 1], "i1").repeat(100), attrs), "wet": ("site", np.arange(300.0))},
    )


def boxes(ax) -> list[np.ndarray]:
    """Lowest and highest point of every box."""
    return [np.percentile(patch.get_path().vertices[:, 1], (0, 100)) for patch in ax.patches]


def labels(ax) -> list[str]:
    return [text.get_text() for text in ax.get_xticklabels()]


def test_a_box_holds_the_middle_half_of_its_class(scores):
    ax = metric_boxplots(scores, by="soil")
    assert labels(ax) == ["sand\n196", "clay\n98"]  # in the order of the flags; silt loam has no site
    for found, part in zip(boxes(ax), (scores.ubrmse[100:], scores.ubrmse[:100]), strict=True):
        np.testing.assert_allclose(found, np.nanpercentile(part, (25, 75)))
    assert ax.get_ylabel() == "ubRMSE [m³ m⁻³]"
    ends = [line.get_ydata()[1] for line in ax.lines[:2]]
    np.testing.assert_allclose(ends, np.nanpercentile(scores.ubrmse[100:], (5, 95)), atol=2e-3)


def test_models_stand_side_by_side(scores):
    ax = metric_boxplots({"one": scores, "two": scores * 2}, by=(scores.wet, [0, 100, 300]))
    assert labels(ax) == ["0–100\n98", "100–300\n196"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["one", "two"]
    np.testing.assert_allclose(boxes(ax)[2], 2 * boxes(ax)[0])
    x = [patch.get_path().vertices[:, 0].mean() for patch in ax.patches]
    assert x[0] < x[2] < x[1] < x[3]
    assert len({patch.get_facecolor() for patch in ax.patches}) == 2


def test_maps_and_names_as_classes(pixels):
    scores = xr.DataArray(np.arange(12.0).reshape(3, 4), dims=("y", "x"), name="r").to_dataset()
    ax = metric_boxplots(scores, "r", by=xr.DataArray(["forest", "crop", "crop"], dims="y", name="cover"))
    assert labels(ax) == ["crop\n8", "forest\n4"]
    assert labels(metric_boxplots(scores.r)) == ["all\n12"]
    assert len(np.unique(pixels(ax).reshape(-1, 3), axis=0)) > 10


def test_many_long_names_are_turned(scores):
    names = xr.DataArray([f"a rather long name {k % 9}" for k in range(300)], dims="site", name="kind")
    ax = metric_boxplots(scores, by=names)
    assert {text.get_rotation() for text in ax.get_xticklabels()} == {40.0}


def test_zero_is_marked_for_bias(scores):
    assert any(set(line.get_ydata()) == {0} for line in metric_boxplots(scores, "bias").lines)


def test_faults(scores):
    with pytest.raises(MissingVariableError, match="no 'nse'"):
        metric_boxplots(scores, "nse")
    with pytest.raises(MissingVariableError, match="no 'texture'"):
        metric_boxplots(scores, by="texture")
    with pytest.raises(ArgumentError, match=r"by=\(array, edges\)"):
        metric_boxplots(scores, by="wet")
    with pytest.raises(ArgumentError, match="ascending"):
        metric_boxplots(scores, by=("wet", [3, 1]))
    with pytest.raises(ArgumentError, match=r"dims \['y'\]"):
        metric_boxplots(scores, by=xr.DataArray([1, 2], dims="y", name="k"))
    with pytest.raises(ArgumentError, match="0 classes"):
        metric_boxplots(scores * np.nan, by="soil")
    with pytest.raises(ArgumentError, match="no scores"):
        metric_boxplots({})


def test_edges_that_are_no_numbers():
    scores = xr.Dataset({"r": ("site", np.ones(3))})
    with pytest.raises(ArgumentError, match="ascending numbers"):
        metric_boxplots(scores, "r", by=(xr.DataArray(np.arange(3), dims="site"), ["low", "high"]))


def test_a_model_without_a_value_has_no_box_and_all_without_are_refused(scores):
    nothing = scores.assign(ubrmse=scores.ubrmse * np.nan)
    ax = metric_boxplots({"a": scores, "b": nothing}, by="soil")
    assert len(boxes(ax)) == 2
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
    with pytest.raises(ArgumentError, match="0 classes with values of 'ubrmse'"):
        metric_boxplots(nothing)
