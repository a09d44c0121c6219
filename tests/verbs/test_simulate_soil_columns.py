"""Richards columns of `simulate`: which curve, which cells, which layers, which initial heads."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from columns import LOAM, NX, NY, SERIES, layered, maps, run, weather
from hypothesis import given
from hypothesis import strategies as st

from xsoil.errors import ArgumentError, AxisError, GridMismatchError, MissingVariableError, TimeError, UnitsError
from xsoil.kernels.richards_curves import CURVES
from xsoil.physics.richards import grid
from xsoil.verbs._soil_columns import column_of, layers_of, on_nodes
from xsoil.verbs._soil_curves import EXAMPLES, curve_of
from xsoil.vocabulary import VARIABLES

SITE = weather(dims=("time",))


# Which curve.


@pytest.mark.parametrize("curve", CURVES)
def test_curve_is_found_from_its_parameters(curve):
    soil = xr.Dataset(
        {name: ((), value, {"units": VARIABLES[name].units}) for name, value in EXAMPLES[curve][1].items()}
    )
    named = run(soil, SITE, curve=curve)
    assert not named.status
    if curve != "gardner":  # which might be van Genuchten's without n
        found = run(soil, SITE)
        assert found.attrs["curve"] == curve
        xr.testing.assert_identical(found, named)


def test_curve_is_found_from_pedotransfer_functions():
    soil = xr.Dataset({
        name: ("site", [value], {"units": unit})
        for name, value, unit in (
            ("sand", 40.0, "percent"), ("silt", 40.0, "percent"), ("clay", 20.0, "percent"),
            ("bulk_density", 1.4, "g cm-3"), ("organic_carbon", 1.0, "percent"),
        )
    })  # fmt: skip
    soil = soil.assign(topsoil=("site", [1.0], {"units": "1"}))
    found_by = {"wosten1999": "van_genuchten", "cosby1984": "campbell", "rawls_brakensiek1985": "brooks_corey"}
    for method, curve in found_by.items():
        found = run(soil.soil.ptf(method), SITE)
        assert found.attrs["curve"] == curve
        assert not found.status.any(), method
    with pytest.raises(MissingVariableError, match=r"k_0 is the conductivity at a matching point"):
        run(soil.soil.ptf("weynants2009"), SITE)
    with pytest.raises(ArgumentError, match=r"choose one: curve='van_genuchten' or curve='fredlund_xing_wang'"):
        run(soil.soil.ptf("vereecken1989"), SITE)
    with pytest.raises(ArgumentError, match="takes m = 1 - 1/n"):
        run(soil.soil.ptf("vereecken1989"), SITE, curve="van_genuchten")


def test_gardner_is_never_guessed():
    assert curve_of(None, CURVES, {*LOAM})[0] == "van_genuchten"
    assert curve_of(None, CURVES, {*LOAM} - {"n"})[0] == "van_genuchten"
    with pytest.raises(MissingVariableError, match=r"no 'n' .* n=1.56"):
        run(maps().drop_vars("n"), weather())


def test_missing_parameters_show_keywords_of_the_nearest_curve():
    with pytest.raises(MissingVariableError) as caught:
        run(maps().drop_vars(["n", "k_sat"]), weather())
    message = str(caught.value)
    for text in ("'n'", "'k_sat'", "curve='van_genuchten'", "n=1.56", "k_sat=24.96", "a loam", "ds.soil.ptf"):
        assert text in message
    assert "alpha=" not in message
    with pytest.raises(MissingVariableError, match=r"\*\*\{'lambda': 0.186\}"):
        run(xr.Dataset(), SITE, curve="brooks_corey", theta_r=0.0, theta_s=0.4, psi_s=-40.0, k_sat=10.0)
    with pytest.raises(MissingVariableError, match=r"no parameters of a hydraulic curve .*rosetta3"):
        run(xr.Dataset(), SITE, theta_s=0.4)


def test_clapp_and_hornberger_is_campbell():
    soil = EXAMPLES["campbell"][1]
    found, named = (run(xr.Dataset(), SITE, curve=curve, **soil) for curve in ("clapp_hornberger", "campbell"))
    xr.testing.assert_identical(found, named)


def test_dims_are_no_parameters():
    members = maps().expand_dims(m=[1, 2])
    found = run(members, weather())
    assert found.theta.dims == ("time", "depth", "m", "y", "x")
    np.testing.assert_array_equal(found.theta.isel(m=1), run(maps(), weather()).theta)


# Which cells.


def test_default_cells_are_those_of_the_physics():
    found = run(xr.Dataset(), SITE, **LOAM)
    widths = grid(50.0)
    np.testing.assert_allclose(found.node, (np.cumsum(widths) - widths / 2) / 100, rtol=1e-12)
    shallow = run(xr.Dataset(), SITE, column_depth=0.3, **LOAM)
    assert shallow.node.size == grid(30.0).size


def test_given_widths_are_taken():
    widths = np.full(25, 0.02)
    found = run(xr.Dataset(), SITE, widths=widths, outputs=("theta", "storage"), **LOAM)
    np.testing.assert_allclose(found.node, np.arange(25) * 0.02 + 0.01)
    assert found.attrs["column_depth"] == 0.5
    default = run(xr.Dataset(), SITE, outputs=("theta", "storage"), **LOAM)
    np.testing.assert_allclose(found.theta.sel(depth=0.2), default.theta.sel(depth=0.2), atol=0.01)
    np.testing.assert_allclose(found.storage, default.storage, rtol=0.02)
    deep = run(xr.Dataset(), SITE, widths=[0.05] * 20, **LOAM)
    assert deep.attrs["column_depth"] == 1.0


# Which layers.


def test_layers_that_are_alike_are_one_soil():
    """The same cells with one soil, and with two layers of it."""
    ds = maps()
    two = layered(ds)
    for name in ("theta_s", "k_sat"):
        two[name] = (two[name].isel(depth=0, drop=True) * xr.ones_like(two.depth)).assign_attrs(two[name].attrs)
    found = run(two, weather(), outputs=SERIES)
    plain = run(ds, weather(), outputs=SERIES, widths=np.diff(edges_of(found.node.values)))
    for name in ("theta", "actual_et", "drainage", "final_theta"):
        np.testing.assert_allclose(found[name], plain[name], rtol=1e-6, atol=1e-9, err_msg=name)


def edges_of(centres):
    edges = [0.0]
    for centre in centres:
        edges.append(2 * centre - edges[-1])
    return np.array(edges)


def test_layers_give_their_soil_to_the_cells_in_them():
    found = run(layered(maps()), weather(), depths=(0.16, 0.18), initial={"h": 0.0}, top="flux", top_flux=0.0,
                bottom="zero_flux", uptake="none")  # fmt: skip
    ds = layered(maps())
    for depth, layer in ((0.16, 0), (0.18, 1)):  # saturated all the time
        np.testing.assert_allclose(found.theta.sel(depth=depth)[0], ds.theta_s[layer], rtol=1e-12)
    inside = (found.node > 0.17).values
    np.testing.assert_allclose(found.final_theta[inside][0], ds.theta_s[1], rtol=1e-8)
    np.testing.assert_allclose(found.final_theta[~inside][-1], ds.theta_s[0], rtol=1e-8)
    assert abs(edges_of(found.node.values) - 0.17).min() < 1e-12


@pytest.mark.parametrize("form", ["bounds", "flipped", "edges", "cm", "points", "keyword"])
def test_layers_in_every_form(form):
    ds, forcing = layered(maps()), weather()
    expected = run(ds, forcing, outputs=SERIES)
    options = {}
    if form == "flipped":
        ds = ds.isel(depth=slice(None, None, -1))
    elif form == "edges":
        ds = ds.drop_vars(["depth", "depth_bounds"]).rename(depth="layer").assign_coords(
            depth_top=("layer", [0.0, 17.0], {"units": "cm"}), depth_bottom=("layer", [17.0, 100.0], {"units": "cm"})
        )  # fmt: skip
    elif form == "cm":
        ds = ds.assign_coords(depth=100 * ds.depth, depth_bounds=100 * ds.depth_bounds)
        ds["depth"].attrs = {"units": "cm", "bounds": "depth_bounds"}
    elif form in ("points", "keyword"):  # half-way between lies 0.17
        ds = ds.drop_vars("depth_bounds").assign_coords(depth=("depth", [0.10, 0.24], {"units": "m"}))
    if form == "keyword":
        options = {name: ds[name] for name in ("k_sat", "theta_s")}
        ds = maps()
    found = run(ds, forcing, outputs=SERIES, **options)
    for name in expected.data_vars:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    assert set(found.coords) == set(expected.coords)
    xr.testing.assert_identical(found.depth, expected.depth)


def test_three_layers_put_faces_on_both_edges():
    ds = xr.Dataset(coords={"depth": ("depth", [0.02, 0.1, 0.5], {"units": "m"})})
    ds.coords["depth_bounds"] = (("depth", "bnds"), [[0, 0.05], [0.05, 0.15], [0.15, 1.0]])
    layers = layers_of(ds, {"n": xr.DataArray([1.2, 1.3, 1.4], dims="depth")})
    column = column_of(0.5, None, layers)
    faces = np.cumsum(column.widths)
    assert np.abs(faces - 5).min() < 1e-12
    assert np.abs(faces - 15).min() < 1e-12
    assert faces[-1] == pytest.approx(50, rel=1e-15)
    assert len(column.widths) == grid(50.0).size
    assert column.layers == tuple(int(f > 5 + 1e-9) + int(f > 15 + 1e-9) for f in faces)


@given(st.sets(st.integers(1, 499), min_size=1, max_size=15), st.floats(0.1, 3.0))
def test_any_layers_put_faces_on_their_edges(cuts, depth):
    """Edges of layers in thousandths of half the column's depth, so that some layers are thinner than a cell."""
    edges = np.round(np.array([0, *sorted(cuts), 1000]) * depth / 1000, 6)
    ds = xr.Dataset(coords={"depth": ("depth", (edges[1:] + edges[:-1]) / 2, {"units": "m"})})
    ds.coords["depth_bounds"] = (("depth", "bnds"), np.stack([edges[:-1], edges[1:]], axis=1))
    layers = layers_of(ds, {"n": xr.DataArray(np.ones(edges.size - 1), dims="depth")})
    if len(cuts) >= grid(100 * depth).size:
        with pytest.raises(ArgumentError, match="finer cells"):
            column_of(depth, None, layers)
        return
    column = column_of(depth, None, layers)
    widths = np.array(column.widths)
    assert (widths > 0).all()
    assert widths.sum() == pytest.approx(100 * depth, rel=1e-12)
    assert np.abs(np.cumsum(widths)[:, None] - 100 * edges[None, 1:-1]).min(axis=0).max() < 1e-9
    expected = np.searchsorted(edges, column.centres) - 1
    np.testing.assert_array_equal(column.layers, expected)


def test_one_depth_of_a_soil_is_a_soil():
    """The scalar depth that `depth_mean` leaves behind is not that of the results."""
    mean = layered(maps()).soil.depth_mean(0, 0.3)
    found = run(mean, weather())
    np.testing.assert_allclose(found.depth, [0.02, 0.05, 0.10, 0.20, 0.40])
    assert set(found.coords) == {"y", "x", "time", "depth", "node", "spatial_ref"}


# Which initial heads.


def test_initial_heads_in_every_form():
    ds, forcing = maps(), weather()
    expected = run(ds, forcing, initial={"h": -50.0})
    assert expected.attrs["initial"] == "h = -50 cm"
    full = xr.full_like(ds.n, -50.0).assign_attrs(units="cm")
    metres = xr.full_like(ds.n, -0.5).assign_attrs(units="m")
    profile = xr.DataArray([-50.0, -50.0], {"depth": ("depth", [0.1, 0.3], {"units": "m"})}, attrs={"units": "cm"})
    for initial in ({"h": full}, full.to_dataset(name="h"), full, {"h": metres}, {"h": profile}):
        found = run(ds, forcing, initial=initial)
        np.testing.assert_array_equal(found.theta, expected.theta)
        assert found.attrs["initial"] == "h given as a map or profile"
    assert (run(ds, forcing).theta[0] != expected.theta[0]).any()


@pytest.mark.parametrize("lazy", [False, True])
def test_initial_profile_is_linear_between_its_depths(no_compute, lazy):
    ds, depths = maps(), [0.4, 0.1]
    values = np.array([-40.0, -10.0])[:, None, None] * np.linspace(1, 2, NY * NX).reshape(NY, NX)
    h = xr.DataArray(values, {"depth": ("depth", depths, {"units": "m"}), "y": ds.y, "x": ds.x}, attrs={"units": "cm"})
    column = column_of(0.5, None, None)
    nodes = on_nodes(h.rename("h"), column)
    for y in range(NY):
        for x in range(NX):
            there = np.interp(column.centres, depths[::-1], values[::-1, y, x])
            np.testing.assert_allclose(nodes.transpose("node", "y", "x")[:, y, x], there, rtol=1e-12)
    h[0, 0, 1] = np.nan  # one that all cells below 0.1 m need
    found = run(ds, weather(), initial={"h": h.chunk(depth=1, x=2) if lazy else h})
    found = found.compute(scheduler="synchronous")
    assert found.status.values.ravel().tolist() == [0, 32, 0, 0, 0, 0]


def test_heads_of_other_cells_are_a_profile():
    ds, forcing = maps(), weather()
    first = run(ds, forcing)
    same = run(ds, forcing, initial={"h": first.final_h})
    np.testing.assert_allclose(same.theta, run(ds, forcing, initial=first).theta, atol=2e-3)
    fine = run(ds, forcing, initial={"h": first.final_h}, widths=[0.005] * 100)
    np.testing.assert_allclose(fine.theta.sel(depth=0.2), same.theta.sel(depth=0.2), atol=0.01)
    assert np.abs(same.theta.sel(depth=0.2) - run(ds, forcing).theta.sel(depth=0.2)).max() > 0.02
    assert not fine.status.any()


BAD = {
    "a number": (lambda: run(maps(), weather(), initial=-100.0), ArgumentError, r"\{'h': -100\}"),
    "theta": (lambda: run(maps(), weather(), initial={"theta": 0.2}), ArgumentError, "found \\['theta'\\]"),
    "two": (lambda: run(maps(), weather(), initial={"h": -1, "theta": 0.2}), ArgumentError, "'h' alone"),
    "list": (lambda: run(maps(), weather(), initial={"h": [-1, -2]}), ArgumentError, "expected a number"),
    "map of theta": (lambda: run(maps(), weather(), initial=maps().theta_s), UnitsError, "'m3 m-3'"),
    "with time": (
        lambda: run(maps(), weather(), initial={"h": run(maps(), weather(), outputs="h").h[:, 0]}), TimeError, "isel",
    ),
    "elsewhere": (
        lambda: run(maps(), weather(), initial={"h": xr.full_like(maps().n, -5).assign_attrs(units="cm").isel(x=[0])}),
        GridMismatchError, "initial",
    ),
    "profile without units": (
        lambda: run(maps(), weather(), initial={"h": xr.DataArray([-1.0], {"depth": [0.1]}, attrs={"units": "cm"})}),
        UnitsError, "'depth' has no units",
    ),
    "end of a water balance": (
        lambda: run(maps(), weather(), initial=xr.Dataset({"final_theta": 0.2})), ArgumentError, "'final_theta'",
    ),
    "part of a state": (
        lambda: run(maps(), weather(), initial=run(maps(), weather()).drop_vars("final_balance")),
        MissingVariableError, "final_balance",
    ),
    "other cells": (
        lambda: run(maps(), weather(), initial=run(maps(), weather()), column_depth=0.6), ArgumentError, "other cells",
    ),
    "other cells, as many": (
        lambda: run(maps(), weather(), initial=run(maps(), weather()), widths=[0.5 / 29] * 29), ArgumentError, "widths",
    ),
    "state elsewhere": (
        lambda: run(maps().isel(x=slice(2)), weather().isel(x=slice(2)), initial=run(maps(), weather())),
        GridMismatchError, "initial",
    ),
    "torn layers": (
        lambda: run(with_bounds([[0, 0.1], [0.2, 1.0]]), weather()), AxisError, r"0-0.1, 0.2-1 m\) do not cover",
    ),
    "shallow layers": (
        lambda: run(with_bounds([[0, 0.1], [0.1, 0.4]]), weather()), AxisError, "column of 0.5 m",
    ),
    "deep layers": (lambda: run(with_bounds([[0.05, 0.1], [0.1, 1]]), weather()), AxisError, "from the surface"),
    "layers that overlap": (lambda: run(with_bounds([[0, 0.3], [0.2, 1]]), weather()), AxisError, "overlap"),
    "layers without depths": (
        lambda: run(layered(maps()).drop_vars(["depth", "depth_bounds"]), weather()), MissingVariableError,
        "no coordinate",
    ),
    "layers that lost their bounds": (
        lambda: run(maps(), weather(), k_sat=layered(maps()).k_sat), MissingVariableError, "depth_bounds",
    ),
    "layered roots": (
        lambda: run(layered(maps()).assign(h50=layered(maps()).theta_s.assign_attrs(units="cm")), weather()),
        ArgumentError, "'h50' varies with depth",
    ),
    "columns along depth": (
        lambda: run(xr.Dataset(), SITE.expand_dims(depth=[0.1]).transpose("time", "depth"), **LOAM), GridMismatchError,
        "rename",
    ),
}  # fmt: skip


def with_bounds(bounds):
    return layered(maps()).assign_coords(depth_bounds=(("depth", "bnds"), bounds))


@pytest.mark.parametrize("fault", BAD)
def test_faults_raise(fault):
    call, error, message = BAD[fault]
    with pytest.raises(error, match=message):
        call()
