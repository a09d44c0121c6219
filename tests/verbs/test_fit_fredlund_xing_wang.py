"""`fit_fredlund_xing_wang`: recovered parameters, least squares, bounds, chunks, faults."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose
from scipy.optimize import least_squares

from xsoil.errors import ArgumentError, MissingVariableError, UnknownNameError
from xsoil.physics.curves import CURVES
from xsoil.physics.elementary import NUMPY
from xsoil.physics.fredlund_xing_wang import fredlund_xing_wang_sensitivity
from xsoil.verbs.fit_fredlund_xing_wang import BOUNDS, FLAGS, SUCTIONS, fit_fredlund_xing_wang
from xsoil.verbs.retention import retention
from xsoil.vocabulary import VARIABLES

SHAPE = ("alpha", "n", "m")


def soils(ranges, size=60, seed=0, dtype=np.float64):
    """Random maps, logarithmic where the vocabulary says so."""
    rng = np.random.default_rng(seed)
    out = {}
    for name, (low, high) in ranges.items():
        share = rng.uniform(size=(6, size // 6))
        values = low * (high / low) ** share if VARIABLES[name].log else low + (high - low) * share
        out[name] = (("y", "x"), values.astype(dtype), VARIABLES[name].attrs | {"grid_mapping": "crs"})
    out["crs"] = ((), 0, {"grid_mapping_name": "lambert_azimuthal_equal_area"})
    return xr.Dataset(out, coords={"x": np.arange(size // 6) * 1.0})


VAN_GENUCHTEN = {
    "theta_r": (0.0, 0.1),
    "theta_s": (0.35, 0.5),
    "alpha": (0.005, 0.1),
    "n": (1.1, 2.5),
    "k_sat": (1, 99),
}


def test_derivatives_with_respect_to_the_shape():
    sensitivity = fredlund_xing_wang_sensitivity(NUMPY)
    suction, p = np.logspace(-1, 6, 50), np.log([0.006, 1.4, 0.66])
    _, *found = sensitivity(suction, 0.4, *np.exp(p))
    for i, by in enumerate(found):
        step = np.zeros(3)
        step[i] = 1e-6
        up, down = (sensitivity(suction, 0.4, *np.exp(q))[0] for q in (p + step, p - step))
        assert_allclose(by, (up - down) / 2e-6, rtol=1e-6, atol=1e-9)


def test_its_own_curves_are_found_again():
    ds = soils({"theta_s": (0.32, 0.5), "alpha": (0.0016, 0.19), "n": (1.06, 8.0), "m": (0.22, 1.5)}, size=600)
    found = fit_fredlund_xing_wang(ds, quality=True)
    assert float(found.fit_rmse.max()) < 1e-7
    assert (found.quality == 0).all()
    for name in SHAPE:
        assert_allclose(found[name], ds[name], rtol=1e-4)
    assert "k_sat" not in found


def test_least_squares():
    """Beside scipy's trust-region solver on the same curves."""
    ds = soils(VAN_GENUCHTEN, seed=3)
    found = fit_fredlund_xing_wang(ds)
    low, high = np.log(np.array(list(BOUNDS.values()))).T
    wanted = retention(ds, -np.array(SUCTIONS)).theta
    for y, x in ((0, 0), (2, 5), (4, 9)):
        cell = {"y": y, "x": x}
        theta_s = ds.theta_s.isel(cell).item()

        def misfit(p, theta_s=theta_s, cell=cell):
            theta = CURVES["fredlund_xing_wang"].theta(-np.array(SUCTIONS), theta_s, *np.exp(p))
            return theta - wanted.isel(cell).values

        theirs = least_squares(misfit, np.log([0.02, 2.0, 0.8]), bounds=(low, high), xtol=1e-12, ftol=1e-12)
        ours = np.log([found[name].isel(cell).item() for name in SHAPE])
        rmse = np.sqrt(np.mean(misfit(ours) ** 2))
        assert rmse == pytest.approx(found.fit_rmse.isel(cell).item(), rel=1e-9)
        assert rmse <= np.sqrt(2 * theirs.cost / len(SUCTIONS)) * (1 + 1e-6)
    assert float(found.fit_rmse.max()) < 0.02
    at = retention(found[["theta_s", *SHAPE]], -np.array(SUCTIONS)).theta
    assert_allclose(np.sqrt(((at - wanted) ** 2).mean("h")), found.fit_rmse, rtol=1e-9)
    xr.testing.assert_identical(found.k_sat.variable, ds.k_sat.variable)


def test_bounds_and_heads():
    ds = soils(VAN_GENUCHTEN)
    free = fit_fredlund_xing_wang(ds, bounds={"n": (1.001, 40.0), "m": (0.01, 9.0), "alpha": (1e-5, 5.0)})
    narrow = fit_fredlund_xing_wang(ds, bounds={"n": (1.5, 1.7), "m": (0.5, 0.9)}, quality=True)
    for name, (low, high) in {"n": (1.5, 1.7), "m": (0.5, 0.9), "alpha": BOUNDS["alpha"]}.items():
        assert ((narrow[name] >= low) & (narrow[name] <= high)).all()
    assert ((narrow.quality & FLAGS["at_bound"]) > 0).sum() > 10
    assert (narrow.fit_rmse >= free.fit_rmse - 1e-9).all()
    wet = fit_fredlund_xing_wang(ds, h=-np.logspace(0, 2.5, 20))
    kpa = xr.DataArray(-np.logspace(0, 2.5, 20) / 10.19716, dims="h", attrs={"units": "kPa"})
    assert_allclose(fit_fredlund_xing_wang(ds, h=kpa).n, wet.n, rtol=1e-6)
    assert (wet.fit_rmse.mean() < fit_fredlund_xing_wang(ds).fit_rmse.mean()).item()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lazy_is_eager_and_chunks_do_not_matter(dtype, no_compute):
    ds = soils(VAN_GENUCHTEN, dtype=dtype)
    ds["n"][2, 3] = np.nan
    ds["alpha"][0, 1] = -1.0
    before = ds.copy(deep=True)
    eager = fit_fredlund_xing_wang(ds, quality=True)
    xr.testing.assert_identical(ds, before)
    assert eager.quality[2, 3] == FLAGS["input_missing"]
    assert eager.quality[0, 1] == FLAGS["input_impossible"]
    for name in ("theta_s", *SHAPE, "fit_rmse"):
        assert eager[name].dtype == dtype
        assert eager[name].isnull().sum() == 2
        assert eager[name].attrs["grid_mapping"] == "crs"
        assert eager[name].attrs["units"] == ("cm-1" if name == "alpha" else "1" if name in ("n", "m") else "m3 m-3")
    for chunks in ({"y": 4, "x": 3}, {"x": 1}):
        lazy = fit_fredlund_xing_wang(ds.chunk(chunks), quality=True)
        xr.testing.assert_identical(lazy.compute(scheduler="synchronous"), eager)


def test_faults():
    ds = soils(VAN_GENUCHTEN)
    for pair in ((1.0, 2.0), (3.0, 2.0), (1.1, np.inf), (1.2,), 1.2, ("1.2", "3"), None):
        with pytest.raises(ArgumentError, match=r"bounds of 'n' are .* 1 < low < high"):
            fit_fredlund_xing_wang(ds, bounds={"n": pair})
    with pytest.raises(ArgumentError, match=r"bounds=\[.*expected pairs by name"):
        fit_fredlund_xing_wang(ds, bounds=[(1.1, 2.0)])
    for name in ("m", "fit_rmse"):
        with pytest.raises(ArgumentError, match=rf"coordinate '{name}' already: ds.rename\({name}=...\)"):
            fit_fredlund_xing_wang(ds.rename(x=name))
    with pytest.raises(UnknownNameError, match="did you mean 'alpha'"):
        fit_fredlund_xing_wang(ds, bounds={"alfa": (1, 2)})
    for h in (-100.0, [-1.0, -1.0, -1.0, -1.0], [0.0, -1.0, -2.0, -3.0, -4.0]):
        with pytest.raises(ArgumentError, match="at least four different pressure heads"):
            fit_fredlund_xing_wang(ds, h=h)
    with pytest.raises(MissingVariableError, match="fit_fredlund_xing_wang needs"):
        fit_fredlund_xing_wang(ds[["theta_s", "k_sat"]])
