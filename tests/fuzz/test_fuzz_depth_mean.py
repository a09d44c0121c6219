"""`depth_mean` on what hypothesis draws: against a sum in numpy, in any order and chunks, within the layers' range."""

from __future__ import annotations

import numpy as np
import xarray as xr
from hypothesis import strategies as st
from strategies import HOLES, blocks, examples, fuzz, holes, loaded, stored, unharmed

import xsoil


@st.composite
def cases(draw):
    number = draw(st.integers(1, 6))
    thickness = draw(st.lists(st.integers(1, 60), min_size=number, max_size=number))
    edges = np.cumsum([draw(st.sampled_from([0, 0, 3])), *thickness]) / 100
    layered = number == 1 or draw(st.booleans())
    z = np.stack([edges[:-1], edges[1:]], axis=1)
    sizes = {"depth": number, "y": draw(st.integers(1, 40)), "x": draw(st.integers(1, 40))}
    if draw(st.booleans()):
        sizes["draw"] = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = tuple(sizes.values())
    missing = holes(draw(HOLES), rng, shape)
    dtype = draw(st.sampled_from(["f4", "f8", ">f4", "i2", "u1"]))
    values, nodata = stored(rng.uniform(1, 200, shape), missing, dtype)
    ds = xr.Dataset({"sand": (tuple(sizes), values, {"units": "g kg-1", **nodata})})
    units, factor = draw(st.sampled_from([("m", 1.0), ("cm", 100.0), ("mm", 1000.0)]))
    depth = z.mean(axis=1) * factor
    ds = ds.assign_coords(depth=("depth", depth, {"units": units}))
    if layered:
        ds["depth"].attrs["bounds"] = "depth_bnds"
        ds = ds.assign_coords(depth_bnds=(("depth", "bnds"), z * factor))
    low, high = (edges[0], edges[-1]) if layered else (z.mean(axis=1)[0], z.mean(axis=1)[-1])
    one, two = sorted(draw(st.lists(st.floats(0, 1, width=16), min_size=2, max_size=2, unique=True)))
    top, bottom = (float(np.round(low + (high - low) * share, 4)) for share in (one, two))
    order = draw(st.permutations(range(number)))
    chunks = draw(blocks(sizes))
    dims = draw(st.permutations(tuple(sizes)))
    return ds, z, layered, (top, bottom), order, chunks, dims, missing


def weights(z, layered, top, bottom):
    """Of each layer, or of each point under straight lines (from a fine integral of hats)."""
    if layered:
        return np.clip(np.minimum(z[:, 1], bottom) - np.maximum(z[:, 0], top), 0, None) / (bottom - top)
    middles = z.mean(axis=1)
    knots = np.unique(np.clip([top, *middles, bottom], top, bottom))
    hats = np.array([np.interp(knots, middles, np.eye(len(middles))[i]) for i in range(len(middles))])
    return ((hats[:, 1:] + hats[:, :-1]) / 2 * np.diff(knots)).sum(axis=1) / (bottom - top)


def check(case) -> None:
    ds, z, layered, (top, bottom), order, chunks, dims, missing = case
    if bottom - top < 1e-3:
        return
    found = unharmed(lambda: xsoil.depth_mean(ds, top, bottom), ds)
    lazy = loaded(xsoil.depth_mean(ds.transpose(..., *dims).chunk(chunks).isel(depth=list(order)), top, bottom))
    np.testing.assert_array_equal(lazy.sand.transpose(*found.sand.dims).values, found.sand.values)
    share = weights(z, layered, top, bottom)
    values = np.where(missing, np.nan, ds.sand.values.astype("f8"))
    used = share > 1e-7
    near = (share > 0) & ~used
    if near.any():
        return  # a sliver of a layer: whether it counts is rounding
    layers = values[used]
    expected = (layers * (share[used] / share[used].sum())[(slice(None), *[None] * (layers.ndim - 1))]).sum(axis=0)
    np.testing.assert_allclose(found.sand.values, expected, rtol=2e-6)
    known = ~np.isnan(expected)
    assert (found.sand.values[known] >= layers.min(axis=0)[known] * (1 - 1e-6)).all()
    assert (found.sand.values[known] <= layers.max(axis=0)[known] * (1 + 1e-6)).all()
    assert found.sand.attrs["units"] == "g kg-1"
    assert "_FillValue" not in found.sand.attrs


@examples
def test_depth_mean(number):
    fuzz(check, cases(), number)
