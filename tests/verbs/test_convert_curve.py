"""`convert_curve`: what is kept on the way from curve to curve, chunks, faults."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose

from xsoil.errors import ArgumentError, MissingVariableError, UnknownNameError
from xsoil.verbs._curves import FLAGS
from xsoil.verbs.conductivity import conductivity
from xsoil.verbs.convert_curve import convert_curve
from xsoil.verbs.fit_fredlund_xing_wang import fit_fredlund_xing_wang
from xsoil.verbs.retention import retention
from xsoil.vocabulary import VARIABLES

RANGES = {
    "theta_r": (0.0, 0.1), "theta_s": (0.35, 0.5), "alpha": (0.005, 0.1), "n": (1.2, 2.5), "k_sat": (1, 99),
    "psi_s": (-60.0, -5.0), "b": (2.0, 9.0), "lambda": (0.1, 0.9),
}  # fmt: skip
CURVES = {
    "van_genuchten": ("theta_r", "theta_s", "alpha", "n", "k_sat"),
    "brooks_corey": ("theta_r", "theta_s", "psi_s", "lambda", "k_sat"),
    "campbell": ("theta_s", "psi_s", "b", "k_sat"),
}
WAYS = [
    ("campbell", "brooks_corey", "exact"), ("van_genuchten", "brooks_corey", "asymptotic"),
    ("van_genuchten", "brooks_corey", "lenhard"), ("van_genuchten", "brooks_corey", "morel_seytoux"),
    ("brooks_corey", "van_genuchten", "asymptotic"), ("campbell", "van_genuchten", "morel_seytoux"),
    ("brooks_corey", "gardner", "capillary_drive"), ("campbell", "gardner", "capillary_drive"),
    ("van_genuchten", "gardner", "capillary_drive"),
]  # fmt: skip


def soils(curve, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return xr.Dataset(
        {
            n: (("y", "x"), rng.uniform(*RANGES[n], (6, 9)).astype(dtype), VARIABLES[n].attrs | {"grid_mapping": "crs"})
            for n in CURVES[curve]
        },
        coords={"x": np.arange(9.0), "crs": ((), 0, {"grid_mapping_name": "lambert_azimuthal_equal_area"})},
    )


@pytest.mark.parametrize(("curve", "to", "method"), WAYS)
def test_what_is_kept(curve, to, method):
    ds = soils(curve)
    found = convert_curve(ds, to, method=method)
    assert found.theta_s.equals(ds.theta_s)
    assert found.k_sat.equals(ds.k_sat)
    if method == "exact":
        h = [-1.0, -50.0, -1e4]
        xr.testing.assert_allclose(retention(found, h).theta, retention(ds, h).theta, rtol=1e-13)
        xr.testing.assert_allclose(conductivity(found, h).k, conductivity(ds, h).k, rtol=1e-12)
    elif method == "asymptotic":
        h = -1e9  # theta_r + (theta_s - theta_r) (alpha |h|)^-lambda
        beyond = [retention(d, h).theta - d.get("theta_r", 0) for d in (found, ds)]
        assert_allclose(beyond[0], beyond[1], rtol=1e-4)
    elif method == "lenhard":
        h = -np.logspace(0, 4, 60)
        lenhard, asymptotic = (
            float(((retention(d, h).theta - retention(ds, h).theta) ** 2).mean()) ** 0.5
            for d in (found, convert_curve(ds, to, method="asymptotic"))
        )
        assert lenhard < 0.02 < asymptotic
    else:  # the integral of K / k_sat
        h = -np.concatenate([np.linspace(0, 1, 2001)[1:], np.logspace(0, 5, 4001)[1:]])
        drives = [-(conductivity(d, h).k / d.k_sat).integrate("h") for d in (found, ds)]
        assert_allclose(drives[0], drives[1], rtol=0.03)


def test_a_dim_called_m_is_no_parameter():
    ds = soils("van_genuchten")
    renamed = convert_curve(ds.rename(x="m"), "brooks_corey")
    xr.testing.assert_identical(renamed.rename(m="x"), convert_curve(ds, "brooks_corey"))


@pytest.mark.parametrize("curve", CURVES)
def test_fit(curve):
    xr.testing.assert_identical(
        convert_curve(soils(curve), "fredlund_xing_wang", quality=True),
        fit_fredlund_xing_wang(soils(curve), quality=True),
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("curve", "to", "method"), WAYS)
def test_lazy_is_eager_and_faults_are_flagged(curve, to, method, dtype, no_compute):
    ds = soils(curve, dtype)
    ds["theta_s"][2, 3] = np.nan
    ds["theta_s"][0, 1] = 1.5
    before = ds.copy(deep=True)
    eager = convert_curve(ds, to, method=method, quality=True)
    xr.testing.assert_identical(ds, before)
    assert eager.quality[2, 3] == FLAGS["input_missing"]
    assert eager.quality[0, 1] == FLAGS["input_impossible"]
    assert (eager.quality == 0).sum() == eager.quality.size - 2
    for name in set(eager) - {"k_sat", "quality"}:
        assert eager[name].dtype == dtype
        assert eager[name].isnull().sum() == 2
        assert eager[name].attrs["units"] == VARIABLES[name].units
        assert eager[name].attrs["grid_mapping"] == "crs"
        assert name == "theta_s" or eager[name].attrs["conversion"] == method
    lazy = convert_curve(ds.chunk({"y": 4, "x": 2}), to, method=method, quality=True)
    assert lazy.theta_s.chunks is not None
    xr.testing.assert_identical(lazy.compute(scheduler="synchronous"), eager)


def test_faults():
    ds = soils("van_genuchten")
    assert convert_curve(ds, "brooks_corey").psi_s.attrs["conversion"] == "asymptotic"
    with pytest.raises(
        ArgumentError, match="no way leads from van_genuchten to haverkamp; expected brooks_corey or fre"
    ):
        convert_curve(ds, "haverkamp")
    with pytest.raises(ArgumentError, match="method='exact' from van_genuchten to brooks_corey; expected 'asymptotic'"):
        convert_curve(ds, "brooks_corey", method="exact")
    with pytest.raises(ArgumentError, match="'asymptotic' from van_genuchten to fredlund_xing_wang; expected 'fit'"):
        convert_curve(ds, "fredlund_xing_wang", method="asymptotic")
    with pytest.raises(
        ArgumentError, match=r"from fredlund_xing_wang to gardner; expected parameters of another curve"
    ):
        convert_curve(fit_fredlund_xing_wang(ds), "gardner")
    with pytest.raises(ArgumentError, match="coordinate 'psi_s' already"):
        convert_curve(ds.rename(x="psi_s"), "brooks_corey")
    with pytest.raises(UnknownNameError, match="unknown curve"):
        convert_curve(ds, ["gardner"])
    with pytest.raises(UnknownNameError, match="did you mean 'brooks_corey'"):
        convert_curve(ds, "brooks_corye")
    with pytest.raises(ArgumentError, match="m of its own"):
        convert_curve(ds.assign(m=ds.n), "brooks_corey")
    with pytest.raises(MissingVariableError, match="no 'theta_r' among"):
        convert_curve(ds.drop_vars("theta_r"), "brooks_corey")
