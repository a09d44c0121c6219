"""The synthetic world itself: soil and weather of a window of a grid, as arrays.

`xsoil.data.synthetic` wraps it in dask and xarray. The magnitudes are chosen, not fitted: percentiles of soil
properties, of annual rain and of evaporation are those of the inhabited continents.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer

from xsoil.kernels.noise import Fractal, fractal
from xsoil.kernels.weather import weather

if TYPE_CHECKING:
    from xsoil.data.synthetic import World

YEAR = 365.2425
MIDSUMMER = 201.0
"""Day of the year when the north is warmest (a month after the solstice)."""

# Name: (lowest frequency in lattice cells per Earth radius, octaves, gain). The highest octave resolves 3 km.
FIELDS = {
    "coarse": (3.5, 7, 0.72),
    "fine": (4.0, 6, 0.72),
    "organic": (9.0, 6, 0.75),
    "relief": (6.0, 7, 0.7),
    "local": (190.0, 5, 0.95),
    "land": (1.8, 10, 0.58),
    "wetness": (2.2, 4, 0.7),
    "season": (2.0, 2, 0.6),
    "system": (7.0, 3, 0.7),
    "regime": (3.5, 2, 0.7),
    "shower": (50.0, 2, 0.8),
}
SEA_LEVEL = -0.55
"""Value of the field `land` at the coast: about 70 percent of the world is land."""

STRIP = 32768
"""Cells worked on at once."""

NODES = np.linspace(-90.0, 90.0, 361)
"""Latitudes of the climate tables."""

Window = tuple[int, int, int, int]
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Places:
    """Cells of a window, flattened: points of the unit sphere; `valid` is False outside the projection."""

    x: Array
    y: Array
    z: Array
    latitude: Array
    valid: Array
    shape: tuple[int, int]

    @classmethod
    def of(cls, geobox: GeoBox, window: Window) -> Places:
        """Centres of the cells in rows and columns `window` = (row0, row1, column0, column1)."""
        row0, row1, column0, column1 = window
        rows, columns = np.arange(row0, row1) + 0.5, np.arange(column0, column1) + 0.5
        shape = (rows.size, columns.size)
        # A position must not depend on the window it is asked in: indices are those of the whole grid.
        a, b, c, d, e, f = tuple(geobox.affine)[:6]
        if _separable(geobox):
            longitude, _ = _degrees(geobox, a * columns + c, np.full(columns.size, e * 0.5 + f))
            _, latitude = _degrees(geobox, np.full(rows.size, a * 0.5 + c), e * rows + f)
            longitude, latitude = longitude[None, :], latitude[:, None]
        else:
            column, row = columns[None, :], rows[:, None]
            longitude, latitude = _degrees(geobox, a * column + b * row + c, d * column + e * row + f)
        valid = np.isfinite(longitude) & np.isfinite(latitude)
        phi = np.radians(np.where(np.isfinite(latitude), latitude, 0.0))
        lam = np.radians(np.where(np.isfinite(longitude), longitude, 0.0))
        cosine = np.cos(phi)
        points = (cosine * np.cos(lam), cosine * np.sin(lam), np.sin(phi), np.degrees(phi))
        x, y, z, degrees = (np.broadcast_to(p, shape).astype(np.float32).ravel() for p in points)
        return cls(x, y, z, degrees, np.broadcast_to(valid, shape).ravel(), shape)

    def field(self, seed: int, name: str) -> Array:
        """A fractal field of mean 0 and variance 1 (over the whole sphere)."""
        made = _fractal(seed, name)
        out = np.empty(self.x.size, np.float32)
        fractal(self.x, self.y, self.z, made.lattices, made.salts, made.weights, out)
        return out

    def wetness(self, seed: int) -> Array:
        """How humid the climate is, within about -1.5 to 1.5: tropics and 55 degrees wet, 28 degrees dry."""
        raw = np.float32(0.8) * self.field(seed, "wetness") + np.float32(0.5) * np.cos(
            np.radians(np.float32(6.5) * self.latitude)
        )
        out: Array = raw / np.sqrt(np.float32(1.0) + np.float32(0.3) * raw * raw)
        return out


@lru_cache(maxsize=256)
def _fractal(seed: int, name: str) -> Fractal:
    frequency, octaves, gain = FIELDS[name]
    return Fractal.of(seed, name, frequency=frequency, octaves=octaves, gain=gain)


@lru_cache(maxsize=16)
def _to_degrees(crs: str) -> Transformer | None:
    if CRS.from_user_input(crs) == CRS.from_epsg(4326):
        return None
    return Transformer.from_crs(crs, 4326, always_xy=True)


def _degrees(geobox: GeoBox, x: Array, y: Array) -> tuple[Array, Array]:
    transformer = _to_degrees(str(geobox.crs))
    if transformer is None:
        return x, y
    longitude, latitude = transformer.transform(x, y)
    return np.asarray(longitude), np.asarray(latitude)


@lru_cache(maxsize=64)
def _separable(geobox: GeoBox) -> bool:
    """Columns are meridians and rows parallels, so that one transform per axis will do."""
    if geobox.affine.b or geobox.affine.d:
        return False
    rows, columns = geobox.shape
    a, _, c, _, e, f = tuple(geobox.affine)[:6]
    x, y = np.meshgrid(a * np.linspace(0, columns, 5) + c, e * np.linspace(0, rows, 5) + f)
    longitude, latitude = _degrees(geobox, x, y)
    if not (np.isfinite(longitude).all() and np.isfinite(latitude).all()):
        return False
    turn = np.exp(1j * np.radians(longitude))
    return bool((abs(turn - turn[:1]) < 1e-12).all() and (abs(latitude - latitude[:, :1]) < 1e-10).all())


def soil_block(world: World, window: Window) -> dict[str, Array]:
    """All soil variables of a window, each (rows, columns) or (depth, rows, columns), float32."""
    row0, row1, column0, column1 = window
    lead = () if world.depth is None else (len(world.depth),)
    out = {name: np.empty((*lead, row1 - row0, column1 - column0), np.float32) for name in world.variables}
    # Strips of rows keep the temporary arrays in the cache.
    rows = max(STRIP // (column1 - column0), 1)
    for top in range(row0, row1, rows):
        bottom = min(top + rows, row1)
        strip = _soil_strip(world, (top, bottom, column0, column1))
        for name, array in out.items():
            array[..., top - row0 : bottom - row0, :] = strip[name]
    return out


def _soil_strip(world: World, window: Window) -> dict[str, Array]:
    seed = world.seed
    at = Places.of(world.geobox, window)
    wet, coarse, fine = at.wetness(seed), at.field(seed, "coarse"), at.field(seed, "fine")
    organic, relief = at.field(seed, "organic"), at.field(seed, "relief")
    local = at.field(seed, "local")  # ridges and valleys, 30 km down to 1.6 km
    hidden = ~at.valid
    if world.water:
        hidden |= at.field(seed, "land") < SEA_LEVEL
    some_hidden = bool(hidden.any())
    cold = np.clip(np.abs(at.latitude) / np.float32(15.0) - np.float32(3.0), 0.0, 1.0)  # 45 to 60 degrees
    layers = world.depth or ((0.0, 0.3),)
    made: dict[str, list[Array]] = {name: [] for name in world.variables}
    for top, bottom in layers:
        below = np.float32((top + bottom) / 2 - 0.15)  # depth relative to the topsoil
        # Clay moves down the profile.
        sandy = np.exp(np.float32(0.15) + np.float32(0.8) * coarse + np.float32(0.35) * local - np.float32(0.1) * below)
        clayey = np.exp(
            np.float32(-0.45) + np.float32(0.55) * fine - np.float32(0.25) * (coarse + local) + np.float32(0.4) * below
        )
        share = np.float32(100.0) / (np.float32(1.0) + sandy + clayey)
        sand, clay = sandy * share, clayey * share
        silt = np.float32(100.0) - sand - clay
        climate = np.float32(0.45) * wet + np.float32(0.6) * cold + np.float32(0.4) * organic
        carbon = np.exp(
            np.float32(0.45) + climate - np.float32(0.2) * local - np.float32(0.008) * sand - np.float32(2.2) * below
        )
        carbon = carbon / (np.float32(1.0) + carbon / np.float32(20.0)) + np.float32(0.05)
        # Adams (1973): organic matter (1.724 times the carbon) of density 0.244 in a mineral matrix.
        matter = np.float32(1.724) * carbon
        mineral = np.float32(1.42) + np.float32(0.0035) * sand + np.float32(0.03) * relief + np.float32(0.08) * below
        density = np.float32(100.0) / (matter / np.float32(0.244) + (np.float32(100.0) - matter) / mineral)
        values = {
            "sand": sand,
            "silt": silt,
            "clay": clay,
            "bulk_density": density,
            "organic_carbon": carbon,
            "coarse_fragments": np.clip(
                np.float32(6.0) + np.float32(9.0) * relief + np.float32(8.0) * below, 0.0, 70.0
            ),
            "ph": np.clip(
                np.float32(6.8) - np.float32(0.8) * wet + np.float32(0.3) * fine + np.float32(0.2) * below, 3.5, 9.5
            ),
            "cec": np.float32(1.0) + np.float32(0.45) * clay + np.float32(2.0) * carbon,
        }
        for name, parts in made.items():
            value = values[name]
            if some_hidden:
                value[hidden] = np.nan
            parts.append(value.reshape(at.shape))
    if world.depth is None:
        return {name: parts[0] for name, parts in made.items()}
    return {name: np.stack(parts) for name, parts in made.items()}


def forcing_block(world: World, window: Window, days: Array) -> dict[str, Array]:
    """Daily series of a window, each (days, rows, columns) float32; `days` since 1970-01-01."""
    seed = world.seed
    at = Places.of(world.geobox, window)
    wet = at.wetness(seed)
    sine = at.z / np.sqrt(at.z * at.z + np.float32(0.1))  # -1 south to 1 north, smooth at the equator
    site = (
        np.float32(0.5) - np.float32(0.25) * wet,
        sine * (np.float32(0.15) + np.float32(0.2) * at.field(seed, "season")),
        np.float32(3.5) + np.float32(0.4) * wet,
        np.float32(1.0) - np.float32(0.13) * wet,
        np.float32(2.6) + np.float32(1.6) * wet,
        (at.latitude + np.float32(90.0)) * np.float32((NODES.size - 1) / 180.0),
    )
    # The last node is reached from below only.
    site = (*site[:-1], np.minimum(site[-1], np.float32(NODES.size - 1.001)))
    pet, warm, leaf = climate_tables(days)
    cosine = np.cos(2 * np.pi * (days - MIDSUMMER) / YEAR).astype(np.float32)
    fields = [_fractal(seed, name) for name in ("system", "regime", "shower")]
    # Storm systems carry four fifths of the variance, regimes the rest.
    shares = (np.float32(0.9), np.float32(0.44), np.float32(0.9))
    packed = tuple((f.lattices, f.salts, f.weights * share) for f, share in zip(fields, shares))
    size = (days.size, at.x.size)
    order = ("precipitation", "pet", "air_temperature", "lai")
    out = {name: np.empty(size if name in world.variables else (0, 0), np.float32) for name in order}
    weather((at.x, at.y, at.z), site, days.astype(float), cosine, (pet, warm, leaf), packed, tuple(out.values()))
    for name in world.variables:
        out[name][:, ~at.valid] = np.nan
    return {name: out[name].reshape(days.size, *at.shape) for name in world.variables}


def climate_tables(days: Array) -> tuple[Array, Array, Array]:
    """Potential evapotranspiration [mm d-1], air temperature [K] and leaf state [0-1] on (days, NODES).

    Hargreaves and Samani (1985) with the radiation of FAO-56, eq. 21, and a daily temperature range of 11 K.
    """
    angle = 2 * np.pi * np.asarray(days, float)[:, None] / YEAR  # 1970-01-01 is a first of January
    phi = np.radians(NODES)[None, :]
    declination = 0.409 * np.sin(angle - 1.39)
    sunset = np.arccos(np.clip(-np.tan(phi) * np.tan(declination), -1.0, 1.0))
    distance = 1 + 0.033 * np.cos(angle)
    radiation = (
        37.586
        * distance
        * (sunset * np.sin(phi) * np.sin(declination) + np.cos(phi) * np.cos(declination) * np.sin(sunset))
    )  # MJ m-2 d-1
    season = np.cos(angle - 2 * np.pi * MIDSUMMER / YEAR)
    celsius = 27.0 - 30.0 * np.sin(phi) ** 2 + 17.0 * np.sin(phi) * season
    pet = 0.0023 * 0.408 * radiation * np.maximum(celsius + 17.8, 0.0) * np.sqrt(11.0)
    leaf = np.clip((celsius - 3.0) / 15.0, 0.0, 1.0)
    return (
        np.maximum(0.94 * pet, 0.3).astype(np.float32),
        (celsius + 273.15).astype(np.float32),
        leaf.astype(np.float32),
    )
