"""`scan_time`: states and results with dims of their own, in any chunks."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest

from xsoil.verbs._lazy import Named, scan_time

DAYS, LAYERS, NY, NX = 7, 3, 4, 5
RAIN = np.random.default_rng(0).random((DAYS, NY, NX))
SHARE = np.random.default_rng(1).random((LAYERS, NY))
ROW = np.arange(float(NX))


def fill(series, maps, state, *, skip, workers):
    """Layers that fill by their share of the rain; every argument comes on (own, y, x)."""
    (rain,), (share, row) = series, maps
    assert rain.ndim == 3
    assert share.shape[0] == LAYERS
    before = np.zeros(()) if state is None else state[0]
    layers = before + np.cumsum(share * rain[:, None] + row, axis=0)
    return [layers[skip:], layers.sum(axis=1)[skip:]], (layers[-1],)


def scan(rain, share, row, skip=0):
    return scan_time(
        fill,
        [Named(rain, ("time", "y", "x"))],
        [Named(share, ("layer", "y")), Named(row, ("x",))],
        ("y", "x"),
        outputs={"layers": np.dtype((np.float64, (LAYERS,))), "total": np.dtype(np.float64)},
        states={"final": np.dtype((np.float64, (LAYERS,)))},
        skip=skip,
    )


@pytest.mark.parametrize("skip", [0, 3])
@pytest.mark.parametrize("time", [1, 3, (2, 4, 1), -1])
def test_layers_of_their_own(no_compute, time, skip):
    (layers, total), (final,) = scan(RAIN, SHARE, ROW, skip)
    expected = np.cumsum(SHARE[None, :, :, None] * RAIN[:, None] + ROW, axis=0)
    np.testing.assert_allclose(layers, expected[skip:], rtol=1e-12)
    np.testing.assert_array_equal(final, expected[-1])
    rain = da.from_array(RAIN, chunks=(time, 3, 2))
    (lazy, lazy_total), (end,) = scan(rain, da.from_array(SHARE, chunks=(1, 2)), ROW, skip)
    assert lazy.chunks[1:] == ((LAYERS,), (2, 1, 1), (2, 2, 1))
    assert end.chunks == lazy.chunks[1:]
    assert lazy_total.chunks == (lazy.chunks[0], *lazy.chunks[2:])
    for found, whole in ((lazy, layers), (lazy_total, total), (end, final)):
        assert found.dtype == np.float64
        computed = found.compute(scheduler="synchronous")
        assert computed.shape == found.shape
        np.testing.assert_allclose(computed, whole, rtol=1e-12)


def test_results_in_another_order_have_other_names():
    """One step whose results are given to other names: both together are what each is by itself."""
    rain = Named(da.from_array(RAIN, chunks=(3, 2, 5)), ("time", "y", "x"))
    one, other = (
        scan_time(both, [rain], [], ("y", "x"), outputs=dict.fromkeys(names, RAIN.dtype), states={})[0]
        for names in (("sum", "more"), ("more", "sum"))
    )
    found = dask.compute(*one, *other, scheduler="synchronous")
    for array, expected in zip(found, (RAIN, RAIN + 1, RAIN, RAIN + 1), strict=True):
        np.testing.assert_array_equal(array, expected)


def both(series, maps, state, *, skip, workers):
    return [series[0], series[0] + 1], ()
