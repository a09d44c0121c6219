"""Pictures: what is drawn, and that it can be rendered."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from xsoil.errors import ArgumentError, MissingVariableError, UnknownNameError
from xsoil.plots import scaling_matrix

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")


@pytest.fixture
def result() -> xr.Dataset:
    """Matrices of 2 frameworks x 2 functions x 2 operators."""
    rng = np.random.default_rng(1)
    rmse = rng.uniform(1, 90, (8, 8))
    rmse = np.tril(rmse, -1) + np.tril(rmse, -1).T
    names = ["CB1-ME", "CB1-MA", "CB2-ME", "CB2-MA", "ME-CB1", "MA-CB1", "ME-CB2", "MA-CB2"]
    dims = ("combination", "combination_2")
    return xr.Dataset(
        {
            "rmse": (dims, rmse, {"units": "cm d-1"}),
            "r": (dims, 1 - rmse / 100, {"units": "1"}),
            "nrmse": (dims, rmse / np.arange(1, 9), {"units": "1"}),
        },
        coords={
            "combination": names, "combination_2": names,
            "framework": ("combination", ["mpr"] * 4 + ["tr"] * 4),
            "ptf": ("combination", ["a", "a", "b", "b"] * 2),
        },
    )  # fmt: skip


@pytest.fixture(autouse=True)
def close():
    yield
    matplotlib.pyplot.close("all")


def lines(ax) -> dict[str, list[float]]:
    """Positions of horizontal lines by colour."""
    found: dict[str, list[float]] = {}
    for line in ax.lines:
        if line.get_ydata()[0] == line.get_ydata()[1]:
            found.setdefault(line.get_color(), []).append(float(line.get_ydata()[0]))
    return found


def test_the_lower_half_of_a_symmetric_matrix(result, tmp_path):
    ax = scaling_matrix(result)
    (image,) = ax.images
    drawn = image.get_array()
    assert (drawn.mask == np.triu(np.ones((8, 8), bool))).all()
    np.testing.assert_array_equal(drawn.compressed(), result.rmse.values[np.tril_indices(8, -1)])
    assert [t.get_text() for t in ax.get_yticklabels()] == result.combination.values.tolist()
    assert lines(ax) == {"0.6": [1.5, 5.5], "black": [3.5]}
    texts = [t.get_text() for t in ax.texts]
    assert {"MPR", "TR"} < set(texts)
    assert len(texts) == 28 + 2
    assert f"{result.rmse.values[1, 0]:.3g}" in texts
    assert ax.figure.axes[-1].get_ylabel() == "RMSE [cm d-1]"
    path = tmp_path / "matrix.png"
    ax.figure.savefig(path, dpi=60)
    pixels = matplotlib.image.imread(path)
    assert np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0).shape[0] > 30


def test_nrmse_is_drawn_in_full(result):
    drawn = scaling_matrix(result, "nrmse").images[0].get_array()
    assert (drawn.mask == np.eye(8, dtype=bool)).all()
    np.testing.assert_array_equal(drawn[2, 5], result.nrmse.values[2, 5])


def test_missing_values_stay_blank(result):
    result["r"][4, 1] = np.nan
    ax = scaling_matrix(result, "r")
    assert ax.images[0].get_array().mask[4, 1]
    assert "nan" not in [t.get_text() for t in ax.texts]


def test_an_axes_of_ones_own_and_no_numbers(result):
    _, own = matplotlib.pyplot.subplots()
    ax = scaling_matrix(result, "r", own, annotate=False, cmap="Greys")
    assert ax is own
    assert len(ax.texts) == 2
    assert ax.images[0].get_cmap().name == "Greys"


def test_faults(result):
    with pytest.raises(UnknownNameError, match="did you mean 'rmse'"):
        scaling_matrix(result, "rsme")
    with pytest.raises(MissingVariableError, match="compare_scaling"):
        scaling_matrix(result, "n")
    with pytest.raises(ArgumentError, match="isel"):
        scaling_matrix(result.expand_dims(depth=2))
