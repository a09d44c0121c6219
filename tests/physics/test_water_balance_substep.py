"""The sub-step of the water balance under numpy: balance, bounds, drainage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from xsoil.physics.water_balance import water_balance_substep

step = water_balance_substep(np.minimum, np.maximum)
share = st.floats(0, 1)
SATURATION, CAPACITY, WILTING = 500.0, 200.0, 78.0
PER_DEPLETION = 1 / (0.9 * (CAPACITY - WILTING))


def run(water, rain, demand, released=0.05, level=0.0):
    """One step with all storages relative to `level`."""
    storages = [s - level for s in (water, SATURATION, CAPACITY, WILTING)]
    return step(storages[0], rain, demand, *storages[1:], PER_DEPLETION, released)


@given(share, st.floats(0, 300), st.floats(0, 200), share)
def test_balance_and_bounds(start, rain, demand, released):
    water = WILTING + start * (SATURATION - WILTING)
    after, *fluxes = run(water, rain, demand, released)
    assert_allclose(after - water, rain - sum(fluxes), atol=1e-11)
    assert WILTING - 1e-12 <= after <= SATURATION
    assert all(flux >= 0 for flux in fluxes)
    assert fluxes[1] <= demand


@given(share, st.floats(0, 30), st.floats(0, 20), st.floats(-1000, 1000))
def test_only_differences_of_storages_count(start, rain, demand, level):
    water = WILTING + start * (SATURATION - WILTING)
    one, two = run(water, rain, demand), run(water, rain, demand, level=level)
    assert_allclose([two[0] + level, *two[1:]], one, atol=1e-10)


@given(st.floats(0, 1), st.floats(0, 20))
def test_nothing_drains_at_or_below_field_capacity(start, demand):
    assert run(WILTING + start * (CAPACITY - WILTING), 0.0, demand)[3] == 0


@pytest.mark.parametrize("steps", [1, 2, 24, 96])
def test_drainage_alone_does_not_depend_on_the_number_of_steps(steps):
    water = 450.0
    for _ in range(steps):
        water = run(water, 0.0, 0.0, -np.expm1(-1.2 / steps))[0]
    assert_allclose(water, CAPACITY + 250 * np.exp(-1.2), rtol=1e-13)


def test_stress_is_that_of_the_water_before_the_rain():
    """Hand values: half of the readily stressed range gives half the demand, whatever it rains."""
    water = WILTING + 0.5 / PER_DEPLETION
    assert_allclose(run(water, 0.0, 1.0)[2], 0.5)
    assert_allclose(run(water, 400.0, 1.0)[2], 0.5)
    assert_allclose(run(water, 400.0, 1.0)[1], water + 400.0 - SATURATION)
    assert run(WILTING, 5.0, 1.0)[2] == 0
    assert_allclose(run(CAPACITY, 0.0, 1.0)[2], 1.0)


@pytest.mark.parametrize("place", [0, 1])
def test_missing_water_or_rain_spreads(place):
    arguments = [300.0, 1.0]
    arguments[place] = np.nan
    assert np.isnan(run(*arguments, 1.0)).all()
