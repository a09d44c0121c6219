"""The verb ptf on layers: what counts as topsoil."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from test_ptf import LOAM, point, soil

from xsoil.errors import MissingVariableError, UnitsError
from xsoil.verbs.ptf import ptf


def layers(depth, dtype=np.float64, **attrs):
    ds = point(**LOAM).expand_dims(depth=len(depth))
    return ds.assign_coords(depth=("depth", np.array(depth, dtype), attrs))


def is_topsoil(ds):
    """Which layers the verb took for topsoil: alpha of HYPRES differs."""
    top = ptf(point(**LOAM).assign(topsoil=1), "wosten1999").alpha.item()
    alpha = ptf(ds, "wosten1999").alpha.transpose(..., "depth").values
    return np.isclose(alpha, top, rtol=1e-12)


def test_topsoil_from_the_depth():
    assert_array_equal(is_topsoil(layers([0.0, 0.29, 0.3, 1.0], units="m")), [True, True, False, False])
    assert_array_equal(is_topsoil(layers([5, 30, 60], dtype=np.int64, units="cm")), [True, False, False])
    assert_array_equal(is_topsoil(layers([5, 30, 60], dtype=np.float32, units="cm")), [True, False, False])


@pytest.mark.parametrize("place", ["attrs", "encoding"])
def test_topsoil_from_bounds(place):
    """Upper edges count: a layer from 0.2 to 1 m is topsoil, although its middle is deeper than 0.3 m."""
    ds = layers([10, 60, 65], units="cm")
    getattr(ds.depth, place)["bounds"] = "depth_bnds"
    ds["depth_bnds"] = (("depth", "nv"), np.array([[0.0, 20], [20, 100], [30, 100]]))
    assert_array_equal(is_topsoil(ds), [True, True, False])
    assert_array_equal(is_topsoil(ds.assign(depth_bnds=ds.depth_bnds[:, ::-1])), [True, True, False])
    assert_array_equal(ptf(ds, "wosten1999").depth_bnds, ds.depth_bnds)
    ds["depth_bnds"] = (ds.depth_bnds / 100).assign_attrs(units="m")
    assert_array_equal(is_topsoil(ds), [True, True, False])


def test_topsoil_from_bounds_that_are_not_declared_as_depth_mean_takes_them():
    ds = layers([10, 60, 65], units="cm")
    ds["depth_bounds"] = (("depth", "nv"), np.array([[0.0, 20], [20, 100], [30, 100]]))
    assert_array_equal(is_topsoil(ds), [True, True, False])
    ds.depth.attrs["bounds"] = "depth_edges"
    with pytest.raises(MissingVariableError, match="declares the bounds 'depth_edges'"):
        is_topsoil(ds)


def test_depths_that_are_positive_upwards():
    ds = layers([-10, -60, -65], units="cm", positive="up")
    assert_array_equal(is_topsoil(ds), [True, False, False])
    ds.depth.attrs["bounds"] = "depth_bnds"
    ds["depth_bnds"] = (("depth", "nv"), -np.array([[0.0, 20], [20, 100], [30, 100]]))
    assert_array_equal(is_topsoil(ds), [True, True, False])
    down = layers([10, 60, 65], units="cm")
    peat = {"method": "cosby1984", "organic": "letts2000"}
    up, down = (ptf(one.drop_vars("depth_bnds", errors="ignore").assign(organic_carbon=one.sand * 0 + 40.0), **peat)
                for one in (layers([-10, -60, -65], units="cm", positive="up"), down))  # fmt: skip
    assert_array_equal(up.theta_s, down.theta_s)


def test_topsoil_from_depth_top_and_bottom_as_depth_mean_takes_them():
    ds = layers([5, 42.5, 45], units="cm")
    for sign, positive in ((1, "down"), (-1, "up")):
        attrs = {"units": "cm", "positive": positive}
        edges = {"depth_top": np.array([0.0, 25, 30]), "depth_bottom": np.array([10.0, 60, 60])}
        given = ds.assign_coords({name: ("depth", sign * values, attrs) for name, values in edges.items()})
        assert_array_equal(is_topsoil(given), [True, True, False])


def test_topsoil_variable_wins():
    assert_array_equal(is_topsoil(layers([0.1, 1.0], units="m").assign(topsoil=("depth", [0, 1]))), [False, True])


def test_depth_without_units_raises():
    with pytest.raises(UnitsError, match="'depth' has no units"):
        ptf(layers([0.1, 1.0]), "wosten1999")
    ptf(layers([0.1, 1.0]), "vereecken1989")  # which does not ask


def test_layers_that_only_some_variables_have():
    ds = soil(faults=False)
    deep = ds.bulk_density.expand_dims(depth=[0.1, 0.5]).assign_coords(depth=("depth", [0.1, 0.5], {"units": "m"}))
    found = ptf(ds.drop_vars("topsoil").assign(bulk_density=deep), "wosten1999")
    assert found.k_sat.dims == ("depth", "y", "x")
    single = ptf(ds.assign(topsoil=1), "wosten1999")
    assert_array_equal(found.k_sat.isel(depth=0), single.k_sat)
