"""Density of pairs: counts, lines and metrics are those of the pairs."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xsoil  # noqa: F401  (ds.soil)
from xsoil.errors import ArgumentError, UnitsError
from xsoil.plots import scatter_density

plain = sys.modules[scatter_density.__module__]
TIME = pd.date_range("2015-01-01", periods=50)


@pytest.fixture
def pair() -> tuple[xr.Dataset, xr.Dataset]:
    rng = np.random.default_rng(3)
    truth = rng.uniform(0.05, 0.4, (50, 40))
    made = []
    for name, values in (("theta", 0.8 * truth + 0.05), ("soil_moisture", truth + rng.normal(0, 0.03, truth.shape))):
        array = xr.DataArray(values, {"time": TIME}, ("time", "site"), attrs={"units": "m3 m-3"})
        made.append(array.to_dataset(name=name))
    made[1].soil_moisture[::7] = np.nan
    return made[0], made[1]


def test_counts_lines_and_metrics(pair):
    simulated, observed = pair
    ax = scatter_density(simulated, observed.isel(time=slice(5, None)), bins=20)
    (mesh,) = ax.collections
    s, o = (a.isel(time=slice(5, None)).to_array().values.ravel() for a in pair)
    good = np.isfinite(o)
    edges = np.linspace(*ax.get_xlim(), 21)
    expected = np.histogram2d(o[good], s[good], bins=(edges, edges))[0].T
    np.testing.assert_array_equal(mesh.get_array().filled(0), expected)
    assert expected.sum() == good.sum()
    one, fit = ax.lines
    np.testing.assert_array_equal(one.get_xdata(), one.get_ydata())
    slope, intercept = np.polyfit(o[good], s[good], 1)
    np.testing.assert_allclose(fit.get_ydata(), intercept + slope * np.array(ax.get_xlim()))
    assert fit.get_label() == f"fit: {slope:.2f} x + {intercept:.3g}"
    scores = simulated.soil.evaluate(observed.isel(time=slice(5, None)), dims=("time", "site"))
    (text,) = [t.get_text() for t in ax.texts]
    assert text.splitlines()[0] == f"r = {float(scores.r):.3f}"
    assert f"ubRMSE = {float(scores.ubrmse):.4f} m³ m⁻³" in text
    assert f"n = {int(scores.n):,}" in text
    assert ax.get_xlabel() == "observed [m³ m⁻³]"


def test_slabs_do_not_show(pair, monkeypatch):
    whole = scatter_density(*pair, bins=10)
    import sys

    monkeypatch.setattr(sys.modules["xsoil.plots.scatter_density"], "SAMPLES", 130)
    parts = scatter_density(*(ds.chunk(time=7) for ds in pair), bins=10)
    np.testing.assert_array_equal(
        whole.collections[0].get_array().filled(0), parts.collections[0].get_array().filled(0)
    )
    assert whole.texts[0].get_text() == parts.texts[0].get_text()
    given = scatter_density(*pair, bins=10, limits=whole.get_xlim())
    assert given.texts[0].get_text() == whole.texts[0].get_text()
    np.testing.assert_array_equal(
        whole.collections[0].get_array().filled(0), given.collections[0].get_array().filled(0)
    )


def test_it_can_be_rendered(pair, pixels):
    picture = pixels(scatter_density(*pair, fit=False))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 30


def test_one_pair_and_constant_values():
    one = xr.DataArray([0.2], dims="x", name="theta")
    assert "r = nan" in scatter_density(one, one).texts[0].get_text()


def test_faults(pair):
    simulated, observed = pair
    with pytest.raises(ArgumentError, match="no pair"):
        scatter_density(simulated, observed * np.nan)
    with pytest.raises(ArgumentError, match="no pair"):
        scatter_density(simulated, observed.assign_coords(time=TIME + np.timedelta64(9000, "D")))
    with pytest.raises(ArgumentError, match="coordinates"):
        scatter_density(simulated.assign_coords(site=np.arange(40)), observed.assign_coords(site=np.arange(40) + 1))
    with pytest.raises(ArgumentError, match="limits"):
        scatter_density(simulated, observed, limits=(1, 0))
    with pytest.raises(ArgumentError, match=r"bins=2\.5"):
        scatter_density(simulated, observed, bins=2.5)


def test_units_must_be_the_same(pair):
    simulated, observed = pair
    percent = (observed.soil_moisture * 100).assign_attrs(units="percent")
    with pytest.raises(UnitsError, match="one unit for one axis"):
        scatter_density(simulated, percent)
    with pytest.raises(ArgumentError, match="drop_duplicates"):
        scatter_density(simulated, observed.isel(time=[0, 0, 1]))


@pytest.mark.parametrize("dims", [("time", "site"), ("site", "time")])
def test_chunks_are_read_once_a_pass_and_pieces_are_small(pair, monkeypatch, dims):
    simulated, observed = (ds.transpose(*dims) for ds in pair)
    whole = scatter_density(simulated, observed).texts[0].get_text()
    read = []

    def note(block):
        read.append(block.size)
        return block

    lazy = simulated.theta.chunk(time=25, site=8)
    lazy = lazy.copy(data=lazy.data.map_blocks(note, meta=np.empty((0, 0))))
    sizes = []
    kept = plain.numbers
    monkeypatch.setattr(plain, "SAMPLES", 200)
    monkeypatch.setattr(plain, "numbers", lambda array: (sizes.append(array.size), kept(array))[1])
    assert scatter_density(lazy, observed, limits=(0, 0.6)).texts[0].get_text() == whole
    assert read == [200] * 10
    sizes.clear()
    one = (ds.expand_dims(depth=1) for ds in (simulated, observed))  # a first dim of one value
    assert scatter_density(*one, limits=(0, 0.6)).texts[0].get_text() == whole
    assert max(sizes) <= 200
