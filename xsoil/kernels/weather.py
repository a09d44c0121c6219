"""Synthetic daily weather over columns: storms that move and dissolve, dry spells, evaporation that feels them.

Every value is a pure function of position, day and seed. A storm field lives between two knots of a time
lattice: the field of each knot is an independent noise, carried along by the zonal wind of its latitude while
it fades in and out, so that rain moves, persists for some days and never repeats.
"""

from __future__ import annotations

import numpy as np

from xsoil.jit import kernel
from xsoil.kernels.noise import TILE, Array, add_octave

Arrays = tuple[Array, ...]

F = np.float32

SYSTEM_DAYS = 3.0
"""Days between the time knots of synoptic systems."""
REGIME_DAYS = 17.0
"""Days between the time knots of the slow regime that makes wet and dry spells."""
DRIZZLE = F(0.1)
"""Daily rain below this is none [mm]."""


@kernel
def _salt_of(salt, knot):
    h = np.uint32(np.uint32(knot) * np.uint32(0x2C1B3C6D) + np.uint32(0x297A2D39))
    h = np.uint32(h ^ (h >> np.uint32(15)))
    h = np.uint32(h * np.uint32(0x85EBCA6B))
    h = np.uint32(h ^ (h >> np.uint32(13)))
    return np.uint32(np.uint32(h * np.uint32(0xC2B2AE35)) ^ salt)


@kernel
def _shift_of(salt):
    return F(salt) * F(2.0**-27)  # 0 to 32 lattice cells


@kernel
def _carry(x, y, z, days, at_x, at_y):
    """Where the air was `days` ago: turned about the pole by the zonal wind, westerly at mid-latitudes."""
    for n in range(x.size):
        sine2 = z[n] * z[n]
        half = F(0.5) * days * (F(0.45) * sine2 * (F(1.0) - sine2) - F(0.04))  # half the angle [rad]
        # The rational form of cosine and sine: an exact rotation without a trigonometric function.
        scale = F(1.0) / (F(1.0) + half * half)
        cosine, sine = (F(1.0) - half * half) * scale, F(2.0) * half * scale
        at_x[n] = cosine * x[n] + sine * y[n]
        at_y[n] = cosine * y[n] - sine * x[n]


@kernel
def _add_between_knots(x, y, z, day, spacing, moving, field, at_x, at_y, out):
    """Add a field that changes over `spacing` days; its variance does not depend on the day."""
    lattices, salts, weights = field
    knot = np.floor(day / spacing)
    phase = day / spacing - knot
    late = phase * phase * (3.0 - 2.0 * phase)
    early = 1.0 - late
    norm = np.sqrt(early * early + late * late)
    for side in range(2):
        share = F((late if side else early) / norm)
        if share == F(0.0):
            continue
        at = knot + side
        _carry(x, y, z, F(day - at * spacing) if moving else F(0.0), at_x, at_y)
        for o in range(salts.size):
            salt = _salt_of(salts[o], np.int64(at))
            add_octave(at_x, at_y, z, lattices[o], salt, _shift_of(salt), share * weights[o], out)


@kernel
def weather(
    positions: Arrays, site: Arrays, days: Array, cosine: Array, tables: Arrays, fields: tuple[Arrays, ...], out: Arrays
) -> None:
    """Fill the daily series of all columns.

    Parameters
    ----------
    positions : tuple of three (n,) float32
        x, y, z on the unit sphere.
    site : tuple of six (n,) float32
        Excess of the storm field that makes rain, its seasonal amplitude, rain per excess [mm d-1], factor on
        evaporation, leaf area of the full season, latitude as a fractional column of the tables.
    days, cosine : (t,) float64, (t,) float32
        Days since 1970-01-01 and the cosine of the northern season.
    tables : tuple of three (t, nodes) float32
        Potential evapotranspiration [mm d-1], air temperature [K], state of the leaves [0-1], by latitude.
    fields : tuple of three (lattices, salts, weights)
        Storm systems, slow regimes and showers: see `xsoil.kernels.noise.Fractal`.
    out : tuple of four (t, n) float32
        Precipitation [mm d-1], potential evapotranspiration [mm d-1], air temperature [K], leaf area index,
        written in place; an array of size 0 is left out.
    """
    x, y, z = positions
    threshold, season, amount, dryness, leaves, node = site
    pet_table, warm_table, leaf_table = tables
    system, regime, shower = fields
    rain, pet, warm, lai = out
    tile = min(TILE, x.size)
    at_x, at_y = np.empty(tile, F), np.empty(tile, F)
    storm, burst = np.empty(tile, F), np.empty(tile, F)
    for start in range(0, x.size, TILE):
        stop = min(start + TILE, x.size)
        size = stop - start
        px, py, pz = x[start:stop], y[start:stop], z[start:stop]
        s, g, ax, ay = storm[:size], burst[:size], at_x[:size], at_y[:size]
        limit, where = threshold[start:stop], node[start:stop]
        for t in range(days.size):
            s[:] = F(0.0)
            _add_between_knots(px, py, pz, days[t], SYSTEM_DAYS, True, system, ax, ay, s)
            _add_between_knots(px, py, pz, days[t], REGIME_DAYS, False, regime, ax, ay, s)
            if rain.size:
                g[:] = F(0.0)
                for o in range(shower[1].size):
                    salt = _salt_of(shower[1][o], np.int64(np.floor(days[t])))
                    add_octave(px, py, pz, shower[0][o], salt, _shift_of(salt), shower[2][o], g)
                _rain(s, g, limit, season[start:stop], amount[start:stop], cosine[t], rain[t, start:stop])
            if pet.size:
                _evaporation(s, limit, dryness[start:stop], where, pet_table[t], pet[t, start:stop])
            if warm.size:
                _temperature(s, where, warm_table[t], warm[t, start:stop])
            if lai.size:
                _leaf_area(leaves[start:stop], where, leaf_table[t], lai[t, start:stop])


@kernel
def _rain(storm, burst, limit, swing, scale, cosine, out):
    for n in range(out.size):
        excess = max(storm[n] + F(0.3) * burst[n] - limit[n] + swing[n] * cosine, F(0.0))
        # u + sqrt(1 + u^2) is positive like exp(u): showers make the amounts heavy tailed.
        gust = burst[n] + np.sqrt(F(1.0) + burst[n] * burst[n])
        value = scale[n] * excess * (F(1.0) + F(0.5) * excess) * gust
        out[n] = value if value >= DRIZZLE else F(0.0)


@kernel
def _evaporation(storm, limit, factor, where, table, out):
    for n in range(out.size):
        i = np.int32(where[n])
        clear_sky = table[i] + (where[n] - F(i)) * (table[i + 1] - table[i])
        cloud = min(max(F(0.5) + F(0.4) * (storm[n] - limit[n]), F(0.0)), F(1.0))
        out[n] = clear_sky * factor[n] * (F(1.1) - F(0.45) * cloud)


@kernel
def _temperature(storm, where, table, out):
    for n in range(out.size):
        i = np.int32(where[n])
        out[n] = table[i] + (where[n] - F(i)) * (table[i + 1] - table[i]) - F(2.0) * storm[n]


@kernel
def _leaf_area(leaves, where, table, out):
    for n in range(out.size):
        i = np.int32(where[n])
        out[n] = F(0.2) + leaves[n] * (table[i] + (where[n] - F(i)) * (table[i + 1] - table[i]))
