"""`texture_class`: USDA texture classes."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsoil.errors import MissingVariableError
from xsoil.ptfs.evaluate import TEXTURE, balance_texture
from xsoil.ptfs.usda import USDA_CLASSES, usda_class
from xsoil.verbs._cells import map_cells
from xsoil.verbs._inputs import as_dataset, carry, pick, read
from xsoil.verbs._silt_limit import require_silt_limit
from xsoil.vocabulary import VARIABLES

__all__ = ["texture_class"]


def texture_class(ds: xr.Dataset | xr.DataArray) -> xr.DataArray:
    """USDA texture class of the fine earth.

    The classes are those of the Soil Survey Manual [1]_.

    Parameters
    ----------
    ds : xr.Dataset
        Two or three of `sand`, `silt`, `clay` on any dims, each with `units`; the third is what is left of 100 %.

    Returns
    -------
    xr.DataArray
        `texture_class`, int8 on the dims of the input, lazy where that is: 1 sand, 2 loamy sand, 3 sandy loam,
        4 loam, 5 silt loam, 6 silt, 7 sandy clay loam, 8 clay loam, 9 silty clay loam, 10 sandy clay, 11 silty clay,
        12 clay, as its `flag_values` and `flag_meanings` say. 0, its attribute `nodata`, where a fraction is missing or
        outside 0 to 100 %, or the sum is outside 99 to 101 %; within, it is scaled to 100 %. A dask task holds the
        blocks of its inputs, its result and a few MB more.

    Raises
    ------
    MissingVariableError
        Where there are fewer than two of the three fractions.
    UnitsError
        Where one has no units or unknown ones.
    TextureError
        Where `silt_limit` among the attributes of sand or silt is not 50 um.

    References
    ----------
    .. [1] Soil Science Division Staff (2017), Soil Survey Manual, USDA Handbook 18, chapter 3.

    Examples
    --------
    >>> import xarray as xr
    >>> import xsoil
    >>> percent = {"units": "percent"}
    >>> ds = xr.Dataset({"sand": ("site", [40.0, 90.0], percent), "clay": ("site", [20.0, 5.0], percent)})
    >>> xsoil.texture_class(ds).values
    array([4, 1], dtype=int8)
    """
    ds = as_dataset(ds)
    names = pick(TEXTURE, ds)
    if len(names) < 2:
        raise MissingVariableError(
            f"texture_class needs two of 'sand', 'silt', 'clay', found {names} among {sorted(map(str, ds.data_vars))}; "
            "use ds.rename(...)"
        )
    require_silt_limit(ds, "the USDA triangle")
    cells = [read(ds, VARIABLES[name]) for name in names]
    (result,) = map_cells(partial(_classify, tuple(names)), cells, [np.int8])
    attrs: dict[str, Any] = {
        "long_name": VARIABLES["texture_class"].long_name,
        "flag_values": np.arange(1, len(USDA_CLASSES) + 1, dtype=np.int8),
        "flag_meanings": " ".join(USDA_CLASSES),
        # Not _FillValue: readers would make floats of the classes to have a NaN. rioxarray knows this name.
        "nodata": np.int8(0),
        "references": "Soil Science Division Staff (2017), Soil Survey Manual, USDA Handbook 18",
    }
    out = carry(ds, result.assign_attrs(attrs).to_dataset(name="texture_class"), names[0])
    return out["texture_class"]


def _classify(names: tuple[str, ...], *blocks: NDArray[Any]) -> tuple[NDArray[np.int8]]:
    cells = dict(zip(names, blocks, strict=True))
    with np.errstate(all="ignore"):
        _, rejected = balance_texture(cells)
        found = usda_class(*(cells[name] for name in TEXTURE))
    found[rejected] = 0
    return (found,)
