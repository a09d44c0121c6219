"""Labels of cells: classes of soil, groups of stations, regions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from xsoil.data.objects import decode

__all__ = ["labels_of"]


def labels_of(array: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """The labels as they stand, and where there is one: neither NaN nor the value that is declared for "no class"."""
    values = array.to_numpy()
    there = ~np.asarray(pd.isna(values))
    if array.dtype.kind in "iuf":
        there &= decode(array).notnull().to_numpy()
    return values, there
