"""`ptf` on what hypothesis draws, with numbers that no soil has: every cell by itself, NaN with a flag, in range."""

from __future__ import annotations

import numpy as np
import xarray as xr
from hypothesis import strategies as st
from strategies import HOLES, boxes, coordinates, disguises, examples, fuzz, holes, loaded, unharmed

import xsoil

METHODS = ("cosby1984", "saxton_rawls2006", "wosten1999", "toth2015", "weynants2009", "rosetta3")
RANGES = {
    "sand": ("percent", 0, 100), "clay": ("percent", 0, 100), "silt": ("percent", 0, 100),
    "bulk_density": ("g cm-3", 0.8, 2.0), "organic_carbon": ("percent", 0.05, 20),
    "ph": ("1", 3, 10), "cec": ("cmol kg-1", 1, 60),
}  # fmt: skip
HOSTILE = (np.nan, np.inf, -np.inf, -5.0, 0.0, 100.0, 1e30, -1e30, 1e-40)
POSITIVE = ("k_sat", "k_0", "alpha")


@st.composite
def cases(draw):
    box = draw(boxes(rotated=False))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    layers = draw(st.sampled_from([(), (), (2,)]))
    shape = (*layers, *box.shape)
    dims = (*("draw",)[: len(layers)], *box.dimensions)
    dtype = draw(st.sampled_from(["f4", "f8", ">f4"]))
    texture = dict(zip(("sand", "silt", "clay"), 100 * np.moveaxis(rng.dirichlet([1, 1, 1], shape), -1, 0)))
    made = {}
    for name, (units, low, high) in RANGES.items():
        values = texture.get(name, rng.uniform(low, high, shape)).astype(dtype)
        if draw(st.integers(0, 3)) == 0:
            with np.errstate(over="ignore"):
                values[holes(draw(HOLES), rng, shape)] = draw(st.sampled_from(HOSTILE))
        made[name] = (dims, values, {"units": units})
    ds = xr.Dataset(made, coordinates(box))
    ds["topsoil"] = (dims[-2:], rng.integers(0, 2, box.shape).astype("i1"))
    disguised, what = draw(disguises(ds, box.dimensions, most=6))
    return ds, disguised, draw(st.sampled_from(METHODS)), what


def check(case) -> None:
    ds, disguised, method, _ = case
    found = unharmed(lambda: xsoil.ptf(ds, method, quality=True), ds)
    lazy = loaded(xsoil.ptf(disguised, method, quality=True)).sel({dim: found[dim] for dim in found.indexes})
    for name in found.data_vars:
        np.testing.assert_array_equal(lazy[name].transpose(*found[name].dims).values, found[name].values, str(name))
        if name == "quality":
            continue
        values = found[name].values
        assert not np.isinf(values).any(), name
        known = np.isfinite(values)
        if name in POSITIVE:
            assert (values[known] > 0).all(), name
        if name.startswith("theta"):
            assert (values[known] >= 0).all(), name
            assert (values[known] <= 1).all(), name
        assert (found.quality.values[~known] != 0).all(), f"{name} is missing without a flag"
    used = [n for n in ("sand", "clay") if n in ds]
    bad = np.zeros(found.quality.shape, bool)
    for name in used:
        values = ds[name].transpose(*found.quality.dims).values
        bad |= ~np.isfinite(values) | (values < 0) | (values > 102)
    for name in set(found.data_vars) - {"quality"}:
        assert np.isnan(found[name].values[bad]).all(), f"{name} of an impossible texture"
    alone = ds.isel({dim: slice(0, 1) for dim in ds.sand.dims})
    one = xsoil.ptf(alone, method, quality=True)
    for name in found.data_vars:
        assert one[name].values.ravel()[0].tobytes() == found[name].values.ravel()[0].tobytes(), name


@examples
def test_ptf(number):
    fuzz(check, cases(), number)
