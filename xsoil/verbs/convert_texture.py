"""`convert_texture`: sand and silt with another particle-size limit between them."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsoil.choices import require_choice
from xsoil.data.objects import STORAGE_ATTRS
from xsoil.errors import ArgumentError, MissingVariableError, TextureError
from xsoil.ptfs.evaluate import TEXTURE, balance_texture
from xsoil.ptfs.particle_size import CLAY_LIMIT, SAND_LIMIT, loglinear, minasny_mcbratney2001
from xsoil.verbs._cells import map_cells
from xsoil.verbs._inputs import as_dataset, pick, read
from xsoil.verbs._silt_limit import SILT_LIMIT, silt_limit_of
from xsoil.vocabulary import VARIABLES

__all__ = ["Method", "convert_texture"]

Method = Literal["loglinear", "minasny_mcbratney2001"]

REFERENCES = {
    "loglinear": (
        "Nemes, A., Wösten, J. H. M., Lilly, A., Oude Voshaar, J. H. (1999): Evaluation of different procedures to "
        "interpolate particle-size distributions to achieve compatibility within soil databases. Geoderma 90(3-4), "
        "187-202 https://doi.org/10.1016/S0016-7061(99)00014-2"
    ),
    "minasny_mcbratney2001": (
        "Minasny, B., McBratney, A. B. (2001): The Australian soil texture boomerang: a comparison of the Australian "
        "and USDA/FAO soil particle-size classification systems. Australian Journal of Soil Research 39(6), 1443-1451 "
        "https://doi.org/10.1071/SR00065"
    ),
}

CHANGED = frozenset(STORAGE_ATTRS) | {"standard_name", "actual_range", "nodata", "silt_limit"}
"""What attributes of the input say of its numbers, which are others in the result; the user's own stay."""


def convert_texture(
    ds: xr.Dataset | xr.DataArray,
    to_limit: float = SILT_LIMIT,
    *,
    from_limit: float | None = None,
    method: Method = "loglinear",
) -> xr.Dataset:
    """Sand and silt with another particle-size limit between them; clay stays as it is.

    Germany and ISO 14688 count grains up to 63 um as silt, Britain up to 60, the international system (Australia,
    Japan) up to 20; USDA, FAO, SOLUS and the pedotransfer functions of `xsoil.PTFS` up to 50. SoilGrids was made from
    profiles of both 50 and 63 um, and says so; its maps carry no limit here.

    Parameters
    ----------
    ds : xr.Dataset
        Two or three of `sand`, `silt`, `clay` on any dims, each with `units`, and anything else.
    to_limit : float
        Upper limit of the silt that is wanted [um].
    from_limit : float, optional
        That of the data [um]; by default the attribute `silt_limit` of sand and silt, which it must not contradict.
    method : {"loglinear", "minasny_mcbratney2001"}
        A straight line between the known points of the cumulative curve over the logarithm of the particle size
        [1]_, or (from 20 to 50 um only) the published regression [2]_.

    Returns
    -------
    xr.Dataset
        The input with `sand`, `silt`, `clay` [percent, sum 100] in place of its own; sand and silt have the attribute
        `silt_limit`. Lazy where they are. NaN where a fraction is missing or outside 0 to 100 %, or the sum is outside
        99 to 101 %. A dask task holds the blocks of its inputs, its three results and half such a block more.

    Raises
    ------
    TextureError
        Where the limit of the data is not known, or `from_limit` is another than they state.
    ArgumentError, UnknownNameError
        A limit that is not between 2 and 2000 um; an unknown method, or one that is not for these limits.
    MissingVariableError, UnitsError
        Fewer than two of the three fractions; units missing or unknown.

    Notes
    -----
    From 63 to 50 um the interpolated silt is 93 % of the silt; from 20 to 50 um a fifth of the sand becomes silt. Nemes
    et al. found the log-linear line the least accurate of four ways, the more so the further the limits are apart; the
    others need more points of the curve than a soil map has.

    References
    ----------
    .. [1] Nemes et al. (1999), Geoderma 90, 187-202, doi:10.1016/S0016-7061(99)00014-2.
    .. [2] Minasny and McBratney (2001), Aust. J. Soil Res. 39, 1443-1451, doi:10.1071/SR00065.

    Examples
    --------
    >>> import xarray as xr
    >>> import xsoil
    >>> german = {"units": "percent", "silt_limit": 63}
    >>> ds = xr.Dataset({"sand": ("site", [40.0], german), "clay": ("site", [20.0], {"units": "percent"})})
    >>> found = xsoil.convert_texture(ds)
    >>> found.sand.round(2).values, found.sand.silt_limit
    (array([42.68]), 50.0)
    """
    ds = as_dataset(ds)
    require_choice("method", method, REFERENCES)
    start, end = _limits(ds, from_limit, to_limit)
    if method == "minasny_mcbratney2001" and (start, end) != (20.0, 50.0):
        raise ArgumentError(f"method={method!r} is from 20 to 50 um only, not from {start:g} to {end:g}; 'loglinear'")
    names = pick(TEXTURE, ds)
    if len(names) < 2:
        raise MissingVariableError(
            f"convert_texture needs two of 'sand', 'silt', 'clay', found {names} among "
            f"{sorted(map(str, ds.data_vars))}; use ds.rename(...)"
        )
    cells = [read(ds, VARIABLES[name]) for name in names]
    dtype = np.result_type(np.float32, *cells)
    results = map_cells(partial(_convert, tuple(names), start, end, method, dtype.str), cells, [dtype] * 3)
    found = {}
    first = ds[names[0]]
    ranges = {"sand": f"{end:g}-{SAND_LIMIT:g} um", "silt": f"{CLAY_LIMIT:g}-{end:g} um"}
    for name, array in zip(TEXTURE, results, strict=True):
        own = ds[name].attrs if name in ds.variables else {}
        attrs: dict[str, Any] = {k: v for k, v in own.items() if k not in CHANGED} | VARIABLES[name].attrs
        if name in ranges:
            attrs["long_name"] = f"{name} content ({ranges[name]}), mass of fine earth"
            sources = [str(own["references"])] if own.get("references") else []
            attrs |= {"silt_limit": end, "references": "; ".join(dict.fromkeys([*sources, REFERENCES[method]]))}
        for place in ("attrs", "encoding"):
            if "grid_mapping" in getattr(first, place):
                getattr(array, place)["grid_mapping"] = getattr(first, place)["grid_mapping"]
        found[name] = array.assign_attrs(attrs)
    return ds.assign(found)


def _limits(ds: xr.Dataset, from_limit: float | None, to_limit: float) -> tuple[float, float]:
    for what, limit in (("to_limit", to_limit), ("from_limit", from_limit)):
        if what == "from_limit" and limit is None:
            continue
        number = isinstance(limit, (int, float, np.number)) and not isinstance(limit, bool)
        if not number or not CLAY_LIMIT < limit < SAND_LIMIT:  # type: ignore[operator]
            raise ArgumentError(f"{what}={limit!r}; expected micrometres between 2 and 2000, such as 63")
    stated = silt_limit_of(ds)
    if stated is None and from_limit is None:
        raise TextureError(
            "neither sand nor silt say where silt ends; expected the attribute silt_limit, or from_limit=63 (ISO, "
            "Germany), 60 (Britain), 20 (international, Australia)"
        )
    if None not in (stated, from_limit) and stated != from_limit:
        raise TextureError(
            f"from_limit={from_limit!r}, but sand and silt state {stated:g} um; leave it out, or correct the attribute "
            "silt_limit"
        )
    return float(from_limit if stated is None else stated), float(to_limit)  # type: ignore[arg-type]


def _convert(
    names: tuple[str, ...], start: float, end: float, method: str, dtype: str, *blocks: NDArray[Any]
) -> tuple[NDArray[Any], ...]:
    # in double precision, so that fractions still sum to 100 when they are rounded
    cells = {name: block.astype(np.float64) for name, block in zip(names, blocks, strict=True)}
    with np.errstate(all="ignore"):
        _, rejected = balance_texture(cells)
        sand, silt, clay = (cells[name] for name in TEXTURE)
        scale = np.where(rejected, np.nan, 100 / (sand + silt + clay))
        sand, silt, clay = sand * scale, silt * scale, clay * scale
        if method == "loglinear":
            moved = loglinear(silt, sand, clay, start, end)
        else:
            moved = minasny_mcbratney2001(silt, sand, clay)
    return tuple(a.astype(dtype) for a in (np.maximum(sand + silt - moved, 0), moved, clay))
