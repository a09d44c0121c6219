"""`compare_scaling`: names, maps against the verbs and the paper's formulas, laziness, faults."""

from __future__ import annotations

import pickle
import threading

import dask
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

import xsoil
from xsoil.errors import ArgumentError, NoOverlapError, UnitsError, UnknownNameError

compare_scaling = xsoil.compare_scaling

PERCENT = {"units": "percent"}
QUICK = ["nearest", "mean", "min", "max", "geometric"]
"""Operators of several families that compile little."""


@pytest.fixture(scope="module")
def soil() -> xr.Dataset:
    """3 km maps with lakes and holes."""
    grid = xsoil.ease_grid("EASE2_M03km", (-104, 33, -98, 38))
    ds = xsoil.data.synthetic_soil(grid, water=True)[["sand", "silt", "clay"]].compute()
    hole = (ds.x > ds.x[20]) & (ds.x < ds.x[28])
    ds["clay"] = ds.clay.where(~hole).assign_attrs(ds.clay.attrs)
    return ds


@pytest.fixture(scope="module")
def ways(soil) -> xr.Dataset:
    return compare_scaling(soil, "EASE2_M36km", hows=QUICK, via="EASE2_M09km")


def same(a: xr.DataArray, b: xr.DataArray) -> None:
    assert np.isfinite(a.values).sum() > 20
    np.testing.assert_array_equal(a.values, b.values)


def test_the_32_combinations_of_the_paper(soil):
    small = soil.isel(y=slice(0, 60), x=slice(100, 160))
    found = compare_scaling(small, "EASE2_M36km")
    operators = ["NN", "BL", "BC", "ME", "MI", "MA", "MD", "MO"]
    expected = [f"{p}-{o}" for p in ("CB1", "CB2") for o in operators]
    expected += [f"{o}-{p}" for p in ("CB1", "CB2") for o in operators]
    assert found.combination.values.tolist() == expected
    assert found.combination_2.values.tolist() == expected
    assert found.framework.values.tolist() == ["mpr"] * 16 + ["tr"] * 16
    assert found.ptf.sel(combination="MO-CB2") == "li2024_cb2"
    assert found.operator.sel(combination="MO-CB2") == "mode"
    assert found.rmse.shape == found.r.shape == found.nrmse.shape == (32, 32)
    for name in found.combination.values:  # every map is there
        assert np.isfinite(found.k_sat.sel(combination=name)).sum() > 9, name
    for code, how in zip(operators, ("nearest", "bilinear", "cubic", "mean", "min", "max", "median", "mode")):
        expected_map = small.soil.ptf("li2024_cb2").soil.upscale("EASE2_M36km", how=how).k_sat
        np.testing.assert_array_equal(found.k_sat.sel(combination=f"CB2-{code}"), expected_map)
        coarse = small.soil.upscale("EASE2_M36km", how=how)
        by_hand = 60.96 * 10 ** (0.0126 * coarse.sand - 0.0064 * coarse.clay - 0.6)
        np.testing.assert_allclose(found.k_sat.sel(combination=f"{code}-CB2"), by_hand, rtol=1e-5)


def test_harmonic_geometric_and_three_step_join(soil):
    small = soil.isel(y=slice(0, 40), x=slice(100, 140))
    found = compare_scaling(small, "EASE2_M36km", hows=["harmonic", "geometric", "mean"], via="EASE2_M09km")
    assert found.sizes["combination"] == 18
    assert {"CB1-HA", "GE-CB2", "ME-CB1-ME", "HA-CB2-HA"} <= set(found.combination.values)
    assert found.framework.sel(combination="HA-CB2-HA") == "three_step"
    # CB1 and CB2 are exponentials of linear forms: their geometric mean is the value of the mean soil.
    k_sat = found.k_sat
    for ptf in ("CB1", "CB2"):
        np.testing.assert_allclose(k_sat.sel(combination=f"{ptf}-GE"), k_sat.sel(combination=f"ME-{ptf}"), rtol=2e-6)
        assert (k_sat.sel(combination=f"{ptf}-HA") <= k_sat.sel(combination=f"{ptf}-ME") * (1 + 1e-6)).sum() > 3


def test_mpr_is_ptf_then_upscale(soil, ways):
    for ptf, how, name in (("li2024_cb1", "max", "CB1-MA"), ("li2024_cb2", "mean", "CB2-ME")):
        same(ways.k_sat.sel(combination=name), soil.soil.ptf(ptf).soil.upscale("EASE2_M36km", how=how).k_sat)


def test_tr_is_upscale_then_ptf(soil, ways):
    for how, name in (("mean", "ME-CB2"), ("nearest", "NN-CB2")):
        expected = soil.soil.upscale("EASE2_M36km", how=how).soil.ptf("li2024_cb2").k_sat
        np.testing.assert_allclose(ways.k_sat.sel(combination=name), expected, rtol=2e-6)


def test_tr_takes_inputs_one_by_one_as_the_paper_does(soil, ways):
    coarse = soil.soil.upscale("EASE2_M36km", how="max")
    sand, clay = coarse.sand / 100, coarse.clay / 100
    metres_per_day = 0.6096 * 10 ** (1.26 * sand - 0.64 * clay - 0.6)  # equation 3
    found = ways.k_sat.sel(combination="MA-CB2")
    np.testing.assert_allclose(found, 100 * metres_per_day, rtol=1e-5)
    beyond = (sand + clay > 1.01).values
    assert beyond.sum() > 10  # where the verbs one after the other would give nothing
    assert np.isfinite(found.values[beyond]).all()
    univariate = 100 * 0.6096 * 10 ** (1.53 * sand - 0.884)  # equation 2
    np.testing.assert_allclose(ways.k_sat.sel(combination="MA-CB1").where(np.isfinite(clay)), univariate.where(
        np.isfinite(clay)), rtol=1e-5)  # fmt: skip


def test_three_step_scales_twice(soil, ways):
    middle = soil[["sand", "clay"]].soil.upscale("EASE2_M09km", how="min")
    k_sat = middle.assign(
        k_sat=(60.96 * 10 ** (0.0126 * middle.sand - 0.0064 * middle.clay - 0.6)).assign_attrs(units="cm d-1")
    )[["k_sat"]]
    expected = k_sat.soil.upscale("EASE2_M36km", how="min").k_sat
    np.testing.assert_allclose(ways.k_sat.sel(combination="MI-CB2-MI"), expected, rtol=1e-5)


def test_via_reaches_beyond_a_part_of_the_source(soil):
    inner = xsoil.ease_grid("EASE2_M36km", (-102, 34.5, -99.5, 36.5))
    options = {"ptfs": "li2024_cb1", "hows": "cubic", "frameworks": "three_step", "via": "EASE2_M09km"}
    part, whole = compare_scaling(soil, inner, **options), compare_scaling(soil, "EASE2_M36km", **options)
    whole = whole.sel(y=part.y, x=part.x, method="nearest")
    same(part.k_sat, whole.k_sat)


def test_matrices_compare_the_maps(ways):
    maps = ways.k_sat.values.astype(float)
    for i, j in ((0, 5), (7, 2), (12, 29), (3, 3)):
        a, b = maps[i].ravel(), maps[j].ravel()
        both = np.isfinite(a) & np.isfinite(b)
        rmse = np.sqrt(((a - b)[both] ** 2).mean())
        np.testing.assert_allclose(ways.rmse[i, j], rmse, rtol=1e-12)
        np.testing.assert_allclose(ways.nrmse[i, j], rmse / np.ptp(b[both]), rtol=1e-12)
        np.testing.assert_allclose(ways.r[i, j], np.corrcoef(a[both], b[both])[0, 1], rtol=1e-10)
        assert ways.n[i, j] == both.sum()
    assert not (ways.n == ways.n[0, 0]).all()  # cb1 needs no clay, so its holes are others


def test_an_object_as_target_keeps_its_coordinates(soil):
    like = soil.soil.upscale("EASE2_M36km")
    like = like.assign_coords(x=like.x + 1e-3, y=like.y.astype("f4"))
    found = compare_scaling(soil, like, hows="mean", ptfs="li2024_cb1")
    assert found.y.variable.identical(like.y.variable)
    assert found.x.variable.identical(like.x.variable)


def test_results_are_described(soil, ways):
    assert ways.k_sat.dims == ("combination", "y", "x")
    assert ways.k_sat.dtype == np.float32
    assert ways.k_sat.attrs["units"] == ways.rmse.attrs["units"] == "cm d-1"
    assert "10.1029/2023WR035543" in ways.k_sat.attrs["references"]
    assert ways.nrmse.attrs["units"] == ways.r.attrs["units"] == "1"
    assert "max - min" in ways.nrmse.attrs["long_name"]
    assert xsoil.grid_of(ways) == xsoil.grid_of(soil.soil.upscale("EASE2_M36km"))
    assert ways.rmse.dims == ("combination", "combination_2")
    assert ways.rmse.sel(combination="CB1-ME", combination_2="CB1-MA") > 0


def test_lazy_is_eager_for_any_chunks(soil, ways, no_compute):
    made = [
        compare_scaling(soil.chunk(chunks), "EASE2_M36km", hows=QUICK, via="EASE2_M09km", chunks=tile)
        for chunks, tile in (({"y": 64, "x": 71}, None), ({"y": 300, "x": 19}, (5, 4)))
    ]
    assert all(v.chunks is not None for lazy in made for v in lazy.data_vars.values())
    with dask.config.set(scheduler="threads"):
        for lazy in made:
            xr.testing.assert_identical(lazy.compute(), ways)


def same_as_the_verbs(soil: xr.Dataset, to: object, hows: list[str], **options: object) -> xr.Dataset:
    """MPR and the mean of TR against the verbs one after the other; lazy against eager."""
    eager = compare_scaling(soil.compute(), to, hows=hows, **options)
    lazy = compare_scaling(soil, to, hows=hows, chunks=(7, 5), **options)
    xr.testing.assert_identical(lazy.compute(), eager)
    for how in hows:
        parameters = soil.soil.ptf("li2024_cb2")
        name = eager.combination[(eager.operator == how).values & (eager.ptf == "li2024_cb2").values].values[0]
        same(eager.k_sat.sel(combination=name), parameters.soil.upscale(to, how=how).k_sat)
    return eager


def test_a_target_across_the_seam_of_a_global_source():
    box = GeoBox((60, 360), Affine(1, 0, -180, 0, -1, 30), "EPSG:4326")
    soil = xsoil.data.synthetic_soil(box, chunks=50)[["sand", "clay"]]
    to = GeoBox((9, 16), Affine(300e3, 0, 15e6, 0, -300e3, 1.5e6), "EPSG:6933")  # runs on beyond 180 degrees
    found = same_as_the_verbs(soil, to, ["mean", "cubic", "max"], via="EASE2_M36km")
    assert np.isfinite(found.k_sat.isel(x=slice(0, 15))).all()
    shifted = soil.roll(longitude=180, roll_coords=False).assign_coords(longitude=soil.longitude.values + 180)
    shifted.longitude.attrs = soil.longitude.attrs
    again = compare_scaling(shifted.compute(), to, hows=["mean", "cubic", "max"], via="EASE2_M36km")
    np.testing.assert_allclose(again.k_sat, found.k_sat, rtol=1e-4)


@pytest.mark.parametrize("via_west", [-180, 0, -90])
@pytest.mark.parametrize("west", [-180, 0])
def test_three_step_all_round_the_earth(west, via_west):
    """Wherever the axes of the three grids begin; columns of `via` beyond its axis were read as they lay in memory."""

    def globe(step: int, at: float) -> GeoBox:
        return GeoBox((180 // step, 360 // step), Affine(step, 0, at, 0, -step, 90), "EPSG:4326")

    soil = xsoil.data.synthetic_soil(globe(2, -180))[["sand", "clay"]].compute()
    targets = globe(12, west), GeoBox((5, 5), Affine(12, 0, 150, 0, -12, 30), "EPSG:4326")
    hows = ["mean", "cubic", "max"]
    options = {"ptfs": "li2024_cb1", "hows": hows, "frameworks": "three_step", "via": globe(4, via_west)}
    for to in targets:
        found = compare_scaling(soil, to, **options)
        for name, how in zip(found.combination.values, hows, strict=True):
            middle = soil.soil.upscale(globe(4, via_west), how)
            middle = middle.assign(k_sat=60.96 * 10 ** (0.0153 * middle.sand - 0.884))[["k_sat"]]
            expected = middle.assign(k_sat=middle.k_sat.assign_attrs(units="cm d-1")).soil.upscale(to, how).k_sat
            assert np.isfinite(expected).all()
            np.testing.assert_allclose(found.k_sat.sel(combination=name), expected, rtol=1e-5)
        lazy = compare_scaling(soil.chunk(latitude=40, longitude=50), to, chunks=4, **options)
        same(lazy.k_sat.compute(), found.k_sat)


def test_from_a_sheared_projection():
    box = GeoBox((120, 150), Affine(1000, 0, 900e3, 0, -1000, 1.6e6), "EPSG:5070")
    soil = xsoil.data.synthetic_soil(box, chunks=64)[["sand", "clay"]]
    found = same_as_the_verbs(soil, "EASE2_M09km", ["mean", "max"], via="EASE2_M03km")
    inside = found.k_sat.isel(x=slice(6, 11), y=slice(6, 11))
    assert np.isfinite(inside).all()
    assert found.r.sel(combination="CB2-ME", combination_2="ME-CB2-ME") > 0.99


def test_the_way_via_is_turned_does_not_show(soil, ways):
    box = xsoil.ease_grid("EASE2_M09km", xsoil.ease_grid("EASE2_M36km", soil))
    for via in (box, box.flipy()):
        found = compare_scaling(soil, "EASE2_M36km", hows=QUICK, frameworks="three_step", via=via)
        # Another window of the grid has other coordinates in float64, and so other roundings.
        np.testing.assert_allclose(found.k_sat, ways.k_sat.sel(combination=found.combination), rtol=1e-6)


def test_the_source_is_read_once(soil):
    reads: list[tuple[int, ...]] = []
    lock = threading.Lock()

    def counted(block, block_id=None):
        with lock:
            reads.append(block_id)
        return block

    lazy = soil[["sand"]].chunk({"y": 60, "x": 60})
    lazy = lazy.assign(
        {
            name: (
                soil[name].dims,
                lazy.sand.data.map_blocks(counted, name=f"counted-{name}", dtype=np.float32),
                PERCENT,
            )
            for name in ("sand", "clay")
        }
    )
    blocks = lazy.sand.data.npartitions
    found = compare_scaling(lazy, "EASE2_M36km", hows=QUICK, via="EASE2_M09km")
    reads.clear()
    found.compute()
    assert len(reads) == 2 * blocks
    assert len(set(reads)) == blocks
    reads.clear()
    dask.compute(found, compare_scaling(lazy, "EASE2_M09km", hows=QUICK))  # two targets from one pass
    assert len(reads) == 2 * blocks


def test_tasks_travel(soil):
    found = compare_scaling(soil.chunk({"y": 90}), "EASE2_M36km", hows=["mean", "max"], via="EASE2_M09km")
    again = pickle.loads(pickle.dumps(found))
    xr.testing.assert_identical(again.compute(), found.compute())


def test_the_same_call_has_the_same_keys(soil):
    lazy = soil.chunk({"y": 64, "x": 64})
    one, two = (compare_scaling(lazy, "EASE2_M36km", hows=["mean", "max"]) for _ in range(2))
    assert one.k_sat.data.name == two.k_sat.data.name
    assert one.rmse.data.name == two.rmse.data.name


def test_operators_with_a_parameter_and_one_ptf(soil):
    found = compare_scaling(soil, "EASE2_M36km", ptfs=xsoil.PTFS["cosby1984"], hows=["mean", ("power", 2)],
                            frameworks="mpr", variable="b")  # fmt: skip
    assert found.combination.values.tolist() == ["cosby1984-ME", "cosby1984-P2"]
    assert found.operator.values.tolist() == ["mean", "power(2)"]
    same(found.b[1], soil.soil.ptf("cosby1984").soil.upscale("EASE2_M36km", how="power", p=2).b)


def test_two_settings_of_one_function(soil):
    entry = xsoil.PTFS["saxton_rawls2006"]
    ds = soil.assign(organic_carbon=(soil.sand * 0 + 1).assign_attrs(units="percent"))
    ds["bulk_density"] = (soil.sand * 0 + 1.4).assign_attrs(units="g cm-3")
    found = compare_scaling(
        ds, "EASE2_M36km", ptfs=[entry, entry.with_options(density="measured")], hows="mean", frameworks="mpr"
    )
    names = found.combination.values.tolist()
    assert len(set(names)) == 2
    assert "measured" in names[1]
    assert found.rmse[0, 1] > 0


def test_layers_stay_apart(soil):
    ds = xr.concat([soil, soil.isel(x=slice(None, None, -1)).assign_coords(x=soil.x)], "depth")
    ds = ds.assign_coords(depth=("depth", [0.1, 0.5], {"units": "m"}))
    for name in ds:
        ds[name].attrs = PERCENT
    found = compare_scaling(ds, "EASE2_M36km", hows="mean")
    one = compare_scaling(ds.isel(depth=1), "EASE2_M36km", hows="mean")
    assert found.k_sat.dims == ("combination", "depth", "y", "x")
    assert found.rmse.dims == ("depth", "combination", "combination_2")
    np.testing.assert_array_equal(found.k_sat.isel(depth=1), one.k_sat)
    np.testing.assert_array_equal(found.rmse.isel(depth=1), one.rmse)


def test_units_and_a_derived_class(soil):
    ds = xr.Dataset({name: (soil[name] * 10).assign_attrs(units="g/kg") for name in ("silt", "clay")})
    found = compare_scaling(ds, "EASE2_M36km", ptfs="cosby1984", hows="mean")
    expected = compare_scaling(soil, "EASE2_M36km", ptfs="cosby1984", hows="mean")
    np.testing.assert_allclose(found.k_sat, expected.k_sat, rtol=1e-5)


def test_impossible_soil_is_missing_in_every_framework(soil):
    ds = soil.isel(x=slice(40, None))  # east of the hole in the clay, where no sum could be checked
    ds["silt"] = ds.silt + xr.where(ds.y > ds.y[60], np.float32(20), np.float32(0))  # sums to 120
    ds["silt"].attrs = PERCENT
    found = compare_scaling(ds, "EASE2_M36km", hows=["mean", "max"]).k_sat
    assert np.isnan(found.isel(y=1)).all()
    assert np.isfinite(found.isel(y=-3)).any()
    missing = np.isnan(found)
    assert (missing == missing[0]).all()


def test_three_step_needs_a_grid(soil):
    assert "three_step" not in compare_scaling(soil, "EASE2_M36km", hows="mean").framework
    with pytest.raises(ArgumentError, match="three_step without via"):
        compare_scaling(soil, "EASE2_M36km", hows="mean", frameworks=["three_step"])


THREE_STEP = {"ptfs": "li2024_cb1", "hows": "mean", "frameworks": "three_step"}


def test_via_elsewhere_is_refused(soil):
    far = xsoil.ease_grid("EASE2_M09km", (5, 45, 8, 47))
    with pytest.raises(NoOverlapError, match="via does not overlap the map"):
        compare_scaling(soil, "EASE2_M36km", via=far, **THREE_STEP)
    west, east = (-104, 33, -101.5, 38), (-100.5, 33, -98, 38)
    with pytest.raises(NoOverlapError, match="via does not overlap the target"):
        compare_scaling(soil, "EASE2_M36km", region=west, via=xsoil.ease_grid("EASE2_M09km", east), **THREE_STEP)


def test_odd_grids_of_three_step_are_told(soil, recwarn):
    target = xsoil.ease_grid("EASE2_M36km", (-103, 34, -99, 37))
    compare_scaling(soil, target, via="EASE2_M09km", **THREE_STEP)
    compare_scaling(soil, target, via=xsoil.ease_grid("EASE2_M09km", soil), **THREE_STEP)
    compare_scaling(soil, target, via="EASE2_M36km", **THREE_STEP)
    compare_scaling(soil, target, via="EASE2_M03km", **THREE_STEP)
    assert not [str(w.message) for w in recwarn if w.category is UserWarning]
    with pytest.warns(UserWarning, match="via covers only a part of the target") as told:
        part = compare_scaling(soil, target, via=xsoil.ease_grid("EASE2_M09km", (-103, 34, -101, 37)), **THREE_STEP)
    assert told[0].filename == __file__
    assert np.isnan(part.k_sat[0, :, -1]).all()
    with pytest.warns(UserWarning, match=r"smaller than the map's \(0.111 to one\)"):
        compare_scaling(soil, target, via="EASE2_M01km", **THREE_STEP)
    with pytest.warns(UserWarning, match="larger than the target's"):
        compare_scaling(soil, target, via=target.zoom_out(2), **THREE_STEP)


@pytest.mark.parametrize("name", ["combination", "combination_2", "operator", "n"])
def test_dimensions_that_the_result_needs(soil, name):
    with pytest.raises(ArgumentError, match=f"dimension '{name}', a name that the result needs"):
        compare_scaling(soil.expand_dims({name: 2}), "EASE2_M36km", hows="mean")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"hows": ["mena"]}, UnknownNameError, "did you mean 'mean'"),
        ({"hows": ["sum"]}, UnknownNameError, "operator of a comparison 'sum'"),
        ({"hows": ["quantile"]}, ArgumentError, r"hows=\[\('quantile', 0.5\)\]"),
        ({"hows": [("mean", 2)]}, ArgumentError, "takes no parameter"),
        ({"hows": ["mean", "mean"]}, ArgumentError, "'mean' is given twice"),
        ({"hows": []}, ArgumentError, "no operator"),
        ({"hows": None}, ArgumentError, "hows=None; expected a name, or a list"),
        ({"hows": [["quantile", 0.5]]}, ArgumentError, "expected a name, or a pair"),
        ({"ptfs": None}, ArgumentError, "ptfs=None; expected a name"),
        ({"frameworks": None}, ArgumentError, "frameworks=None; expected a name"),
        ({"frameworks": ["mrp"]}, UnknownNameError, "did you mean 'mpr'"),
        ({"frameworks": []}, ArgumentError, "no framework"),
        ({"ptfs": "cosby"}, UnknownNameError, "did you mean"),
        ({"ptfs": ["cosby1984", "cosby1984"]}, ArgumentError, "given twice"),
        ({"variable": "theta_s"}, UnknownNameError, "li2024_cb1"),
        ({"via": "EASE2_M9km"}, UnknownNameError, "EASE2_M09km"),
        ({"min_valid": 2}, ArgumentError, "min_valid"),
        ({"min_valid": "half"}, ArgumentError, "min_valid"),
    ],
)
def test_faults(soil, options, error, message):
    with pytest.raises(error, match=message):
        compare_scaling(soil, "EASE2_M36km", **({"hows": "mean"} | options))


def test_faults_of_the_map(soil):
    with pytest.raises(UnitsError, match="sand"):
        compare_scaling(soil.assign(sand=soil.sand.assign_attrs(units="apples")), "EASE2_M36km", hows="mean")
    with pytest.raises(NoOverlapError):
        compare_scaling(soil, "EASE2_M36km", hows="mean", region=(100, -30, 120, -20))
