"""`draw_soil`: random soils between the quantiles of a map."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsoil.choices import as_names
from xsoil.errors import ArgumentError, AxisError, MissingVariableError
from xsoil.ptfs.evaluate import TEXTURE
from xsoil.threads import available_cores, in_bands
from xsoil.verbs._inputs import STORAGE_ATTRS, as_dataset, decode, read
from xsoil.vocabulary import VARIABLES

__all__ = ["draw_soil"]

Array = NDArray[Any]

LEAST = {"sand": 0.05, "silt": 0.05, "clay": 0.05, "coarse_fragments": 0.05, "organic_carbon": 0.005}
"""Half of the last digit of SoilGrids: what a quantile of 0 stands for."""
SHARE = 5e-5
"""The same of other properties, in parts of their range, or of 1 where they have no upper bound."""
BLOCK = 2**26
"""Bytes of the results that a task makes at a time."""
CELLS = 4096
"""Cells that a thread works on at a time."""
_ODD = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def draw_soil(
    ds: xr.Dataset | xr.DataArray,
    draws: int = 100,
    *,
    seed: int = 0,
    correlated: Hashable | Sequence[Hashable] | None = None,
) -> xr.Dataset:
    """Draw soils from the quantiles of maps, such as the 5, 50 and 95 % of SoilGrids, as a dimension `draw`.

    The quantiles of SoilGrids [1]_ tell how sure each map is, property by property and cell by cell.
    What follows is plain xarray: ``soils.soil.ptf(...)`` gives parameters of every draw, ``.mean("draw")``,
    ``.std("draw")`` or ``.quantile([0.05, 0.95], "draw")`` what the uncertainty of the map does to them.

    Parameters
    ----------
    ds : xr.Dataset
        Maps on any dims; those with a dim `quantile` (its coordinate holds three levels: one below 0.5, 0.5, and one
        above) are drawn, others are kept: ``open_soilgrids(..., statistic=["Q0.05", "Q0.5", "Q0.95"])``.
    draws : int
        How many.
    seed : int
        The same seed gives the same bits.
    correlated : str or sequence of str, optional
        Dims along which a draw stands at the same place of all distributions (correlation 1). Along the others draws
        are independent. By default `depth`, where there is such a dim: a soil with more clay than thought has more of
        it in all layers. ``()`` makes every cell independent, ``("depth", "y", "x")`` moves the whole map up and down.

    Returns
    -------
    xr.Dataset
        The input with `draw` in place of `quantile`, in front, in canonical units; lazy where the input is, with as
        many draws to a chunk as 64 MB hold. Sand, silt and clay sum to 100 %. NaN where a quantile is missing or
        impossible, or where they do not rise.

    Raises
    ------
    AxisError
        No dim `quantile`, or not those three levels; a dim `draw`; a dim of `correlated` that is not there.
    MissingVariableError
        Quantiles of two fractions of the texture without the third.
    ArgumentError, UnitsError
        Arguments out of range; units missing or unknown.

    Notes
    -----
    Every property is a normal number on a scale without bounds (logit between two bounds, logarithm above one), with
    another slope below its median than above, so that it meets all three quantiles. A quantile of 0 counts as half of
    the last digit of SoilGrids. Sand, silt and clay have correlations that follow from the widths of their intervals:
    as their deviations cancel [2]_, ``var(clay) = var(sand) + var(silt) + 2 cov(sand, silt)``; what the bend of the
    scale leaves is brought to 100 % by a common factor, so that their quantiles are met nearly. Other properties are
    independent of each other and of the texture.

    SoilGrids does not say how its errors go together in space. Neither end is true: independent cells average out over
    a coarse cell (its spread is then too small), moving the whole map does not (too large). Run both.

    A number belongs to the seed, the property, the draw and the cell's coordinates (its position, where a dim has
    none): chunks, order and the part of a map that is taken do not change a draw.

    References
    ----------
    .. [1] Poggio et al. (2021), SOIL 7, 217-240, doi:10.5194/soil-7-217-2021.
    .. [2] Aitchison (1986), The Statistical Analysis of Compositional Data, Chapman & Hall, chapter 3.

    Examples
    --------
    >>> import xarray as xr
    >>> import xsoil
    >>> levels = {"quantile": [0.05, 0.5, 0.95]}
    >>> clay = xr.DataArray([10.0, 20.0, 35.0], levels, "quantile", "clay", {"units": "percent"})
    >>> xsoil.draw_soil(clay, 10_000).clay.quantile([0.05, 0.5, 0.95]).round(0).values
    array([10., 20., 35.])
    """
    ds = as_dataset(ds)
    if isinstance(draws, bool) or not isinstance(draws, (int, np.integer)) or draws < 1:
        raise ArgumentError(f"draws={draws!r}; expected a whole number of at least 1")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**63:
        raise ArgumentError(f"seed={seed!r}; expected a whole number of at least 0")
    if "draw" in ds.dims:
        raise AxisError("there is a dim 'draw' already; expected maps: ds.isel(draw=0), or ds.rename(draw='member')")
    ds, levels = _in_order(ds)
    names = [str(name) for name, array in ds.data_vars.items() if "quantile" in array.dims]
    texture = [name for name in TEXTURE if name in names]
    if len(texture) == 2:
        (third,) = set(TEXTURE) - set(texture)
        raise MissingVariableError(
            f"there are quantiles of {texture[0]} and {texture[1]}, not of {third!r}, which tells how they go "
            f"together: open it too, or draw from one fraction: ds.drop_vars({texture[1]!r})"
        )
    same = _correlated(ds, names, correlated)
    groups: list[tuple[str, ...]] = [(name,) for name in names if name not in texture or len(texture) < 3]
    if len(texture) == 3:
        groups.insert(0, TEXTURE)
    found: dict[str, xr.DataArray] = {}
    for group in groups:
        found |= _drawn(ds, group, levels, int(draws), int(seed), same)
    coord = {
        "long_name": "random draw", "seed": int(seed),
        "correlated": " ".join(str(dim) for dim in same) or "none",
    }  # fmt: skip
    coords = ds.drop_dims("quantile").coords.assign(draw=("draw", np.arange(draws), coord))
    return xr.Dataset({name: found.get(str(name), ds[name]) for name in ds.data_vars}, coords, ds.attrs)


def _in_order(ds: xr.Dataset) -> tuple[xr.Dataset, Array]:
    """The dataset with the quantiles rising, and their levels."""
    mend = (
        "open_soilgrids(..., statistic=['Q0.05', 'Q0.5', 'Q0.95']), or xr.concat([low, median, high], "
        "pd.Index([0.05, 0.5, 0.95], name='quantile'))"
    )
    if "quantile" not in ds.dims or "quantile" not in ds.coords:
        raise AxisError(f"no dim 'quantile' with a coordinate among {[str(d) for d in ds.dims]}; {mend}")
    levels = np.asarray(ds["quantile"].to_numpy())
    order = np.argsort(levels, kind="stable")
    rising = levels[order].astype(float) if levels.dtype.kind in "fiu" else np.empty(0)
    if rising.size != 3 or not (0 < rising[0] < 0.5 < rising[2] < 1) or abs(rising[1] - 0.5) > 1e-6:
        raise AxisError(f"the quantiles are {levels.tolist()}; expected three, such as 0.05, 0.5, 0.95: {mend}")
    return ds.isel(quantile=order), rising


def _correlated(ds: xr.Dataset, names: list[str], given: Hashable | Sequence[Hashable] | None) -> list[Hashable]:
    known = list(dict.fromkeys(dim for name in names for dim in ds[name].dims if dim != "quantile"))
    if given is None:
        return [dim for dim in known if dim == "depth"]
    wanted: list[Hashable] = [] if given in ((), []) else as_names("correlated", given)
    for dim in wanted:
        if dim not in known:
            raise AxisError(f"correlated names {dim!r}, not among the dims {[str(d) for d in known]}")
    return wanted


def _drawn(
    ds: xr.Dataset, group: tuple[str, ...], levels: Array, draws: int, seed: int, same: list[Hashable]
) -> dict[str, xr.DataArray]:
    """The draws of one property, or of the texture."""
    from scipy.special import ndtri

    arrays = [read(ds, VARIABLES[name]) if name in VARIABLES else decode(ds[name]) for name in group]
    dims = list(dict.fromkeys(d for array in arrays for d in array.dims if d != "quantile"))
    lazy = any(array.chunks is not None for array in arrays)
    if lazy:
        arrays = [array.chunk(quantile=-1) if array.chunks is not None else array for array in arrays]
    dtype = np.result_type(np.float32, *(array.dtype for array in arrays))
    own = [xr.DataArray(_keys(ds, dim), dims=(dim,)) for dim in sorted(dims, key=str) if dim not in same]
    numbers = xr.DataArray(np.arange(draws), dims="draw")
    if lazy:
        cells = math.prod(
            max((max(a.chunksizes.get(d, (a.sizes.get(d, 1),))) for a in arrays), default=1) for d in dims
        )
        numbers = numbers.chunk(draw=min(draws, max(1, BLOCK // max(cells * dtype.itemsize * len(group), 1))))
    results = xr.apply_ufunc(
        partial(_block, group, ndtri(levels[[0, 2]]), seed, dtype.str, 1 if lazy else available_cores()),
        numbers,
        *(array.drop_vars([c for c in array.coords if c not in array.dims]) for array in arrays),
        *own,
        input_core_dims=[[], *[["quantile"]] * len(group), *[[]] * len(own)],
        output_core_dims=[[]] * len(group),
        dask="parallelized",
        output_dtypes=[dtype] * len(group),
        join="exact",
    )
    found = {}
    for name, result in zip(group, results if isinstance(results, tuple) else (results,), strict=True):
        source = ds[name]
        attrs = {k: v for k, v in source.attrs.items() if k not in STORAGE_ATTRS}
        array = result.transpose("draw", *(d for d in source.dims if d in dims), ...)
        array.attrs = attrs | (VARIABLES[name].attrs if name in VARIABLES else {})
        if "grid_mapping" in source.encoding:
            array.encoding["grid_mapping"] = source.encoding["grid_mapping"]
        found[name] = array
    return found


def _mixed(x: Array) -> Array:
    """SplitMix64's output function."""
    x = (x ^ (x >> np.uint64(30))) * _ODD[1]
    x = (x ^ (x >> np.uint64(27))) * _ODD[2]
    out: Array = x ^ (x >> np.uint64(31))
    return out


def _number(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def _keys(ds: xr.Dataset, dim: Hashable) -> Array:
    """A number for each place along a dim, by its coordinate, else by its position."""
    values = np.arange(ds.sizes[dim])
    if dim in ds.indexes:
        values = ds.indexes[dim].to_numpy()
    if values.dtype.kind in "mM":
        values = values.astype("datetime64[ns]" if values.dtype.kind == "M" else "timedelta64[ns]").astype(np.int64)
    if values.dtype.kind in "fiub":
        bits = (values.astype(np.float64) + 0.0).view(np.uint64)  # + 0.0: one zero
    else:
        bits = np.array([_number(str(value)) for value in values], np.uint64)
    keys: Array = bits * _ODD[0] + np.uint64(_number(str(dim)))
    return _mixed(keys)


def _block(
    group: tuple[str, ...], scores: Array, seed: int, dtype: str, threads: int, numbers: Array, *arrays: Array
) -> Array | tuple[Array, ...]:
    from xsoil.kernels.soil_draws import LINEAR, LOG, LOGIT, draw, draw_texture

    quantiles, own = arrays[: len(group)], arrays[len(group) :]
    shape = np.broadcast_shapes(*(q.shape[:-1] for q in quantiles), *(key.shape for key in own))
    key = np.zeros((), np.uint64)
    for part in own:
        key = _mixed(key ^ part) + _ODD[0]
    keys = np.array(np.broadcast_to(key, shape)).reshape(-1)  # a copy: read-only arrays would compile a second time
    flat = [np.broadcast_to(q, (*shape, 3)).reshape(-1, 3) for q in quantiles]
    first, count = int(numbers.flat[0]) if numbers.size else 0, numbers.size
    out = np.empty((len(group), count, keys.size), dtype)
    about = VARIABLES.get(group[0])
    low, high = (about.low, about.high) if about is not None else (-np.inf, np.inf)
    scale = LOGIT if np.isfinite(high) and np.isfinite(low) else LOG if np.isfinite(low) else LINEAR
    least = LEAST.get(group[0], SHARE * (high - low if scale == LOGIT else 1.0))
    name = "texture" if len(group) == 3 else group[0]
    stream = _number(name) >> 1

    def run(start: int, stop: int) -> None:
        for a in range(start * CELLS, min(stop * CELLS, keys.size), CELLS):
            cells = slice(a, min(a + CELLS, keys.size))
            three = [np.array(q[cells].T, np.float64, order="C") for q in flat]
            at, result = keys[cells], np.empty((len(group), count, keys[cells].size))
            if len(group) == 3:
                sand, silt, clay = three
                draw_texture(sand, silt, clay, scores, least, seed, stream, at, first, result)
            else:
                draw(three[0], scores, scale, low, high, least, seed, stream, at, first, result[0])
            out[:, :, cells] = result

    in_bands(run, -(-keys.size // CELLS), threads)
    results = tuple(part.reshape(count, *shape) for part in out)
    return results if len(group) > 1 else results[0]
