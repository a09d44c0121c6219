"""SOLUS100: soil properties of the conterminous United States at 100 m, seven depths."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any, Literal

import dask.array as da
import numpy as np
import xarray as xr

from xsoil.data._hdf5 import require_choice
from xsoil.data._maps import decoded, grid_coords, maps
from xsoil.data._paths import Paths, Product, inside, is_file, is_remote, name_of, paths_of
from xsoil.data._rasters import CHUNK, Raster, choose, dims_of, fills_of, stacked
from xsoil.data._variables import attrs_of
from xsoil.errors import ArgumentError, FileError, UnknownNameError
from xsoil.vocabulary import VARIABLES

__all__ = ["open_solus100"]

PRODUCT = Product(
    "Soil Landscapes of the United States, 100 m (SOLUS100)",
    "the release of 2023-12-15",
    "Nauman, T. W., S. S. Kienast-Brown, S. M. Roecker, C. Brungard, D. White, J. Philippe, J. A. Thompson (2024), "
    "Soil landscapes of the United States (SOLUS): developing predictive soil property maps of the conterminous United "
    "States using hybrid training sets. Soil Sci. Soc. Am. J. 88, 2046-2065",
    "10.1002/saj2.20769",
)
PROPERTIES = {
    "sand": ("sandtotal", 1),
    "silt": ("silttotal", 1),
    "clay": ("claytotal", 1),
    "bulk_density": ("dbovendry", 100),
    "organic_carbon": ("soc", 1000),
    "coarse_fragments": ("fragvol", 1),
    "ph": ("ph1to1h2o", 100),
    "cec": ("cec7", 10),
}
"""Our name: that of SOLUS100, and the `scalar` of its list of layers, by which the stored integers are divided."""
NAMES = {code: name for name, (code, _) in PROPERTIES.items()}
ENDINGS = (".tif", ".tiff")
SLICES = (0, 5, 15, 30, 60, 100, 150)
"""Depths [cm]."""
STATISTICS = {"prediction": "p", "low": "l", "high": "h"}
PATTERN = re.compile(r"^([a-z][a-z0-9]*)_(\d+)_cm_(p|l|h|rpi)[^/]*\.tiff?$", re.IGNORECASE)


def open_solus100(
    paths: Paths = "https://storage.googleapis.com/solus100pub",
    variables: Sequence[str] | str | None = None,
    *,
    statistic: Literal["prediction", "low", "high"] = "prediction",
    depths: Sequence[float] | None = None,
    chunks: int = CHUNK,
) -> xr.Dataset:
    """Soil maps of SOLUS100, lazy, in conventional units.

    The maps are values AT seven depths, not means of layers: `depth` has no bounds, so that `xsoil.depth_mean`
    integrates the lines between them (trapezoids).

    Parameters
    ----------
    paths : str, path or list of them
        Files ``<property>_<depth>_cm_<p|l|h>.tif``, a folder of them, or the URL of a folder of them on a server (by
        default that of USDA), for which `variables` must be given.
    variables : str or sequence of str, optional
        Of ``sand silt clay coarse_fragments`` [percent], ``bulk_density`` (oven dry) [g cm-3], ``organic_carbon``
        [percent], ``ph`` (1:1 in water) [1], ``cec`` (at pH 7) [cmol kg-1]. By default all that are there.
    statistic : {"prediction", "low", "high"}
        The prediction, or the lower or upper end of its 95 % interval.
    depths : sequence of float, optional
        Of 0, 0.05, 0.15, 0.30, 0.60, 1.00, 1.50 [m]. By default those of the files (URL: all seven).
    chunks : int
        Chunk size of both spatial dimensions.

    Returns
    -------
    xr.Dataset
        float32 on (depth, y, x) in the CRS of the files (Albers, EPSG:5070).

    Raises
    ------
    FileError
        A file that is no map of SOLUS100, several bands, damaged.
    GridMismatchError, CRSError
        Maps on different lattices; no CRS.
    ArgumentError, UnknownNameError
        A variable or depth that is not there.

    Notes
    -----
    Follows the release of December 2023 [1]_ (data: doi:10.15482/USDA.ADC/25033856), whose list of layers says by which
    scalar to divide: 1 (sand, silt, clay, fragments), 10 (CEC), 100 (bulk density, pH), 1000 (organic carbon).

    References
    ----------
    .. [1] Nauman et al. (2024), Soil Sci. Soc. Am. J. 88, 2046-2065, doi:10.1002/saj2.20769.

    Examples
    --------
    >>> import xsoil
    >>> soil = xsoil.data.open_solus100("solus/", ["sand", "clay"], depths=[0, 0.05])  # doctest: +SKIP
    """
    require_choice(statistic, tuple(STATISTICS), "statistic")
    found = _find(paths, variables, statistic, depths)
    names = choose(variables, PROPERTIES, [name for name, _ in found])
    slices = _centimetres(depths) if depths is not None else sorted({depth for name, depth in found if name in names})
    keys = [(name, depth) for name in names for depth in slices]
    if lost := [key for key in keys if key not in found]:
        raise ArgumentError(
            f"{len(lost)} maps are missing, the first that of {lost[0][0]} at {lost[0][1]} cm; choose variables=, "
            "depths= or load it"
        )
    rasters = {key: Raster.open(found[key], chunks) for key in keys}
    for raster in rasters.values():
        if raster.data.dtype.kind not in "iu":
            raise FileError(
                f"{name_of(raster.path)!r} holds {raster.data.dtype}; maps of SOLUS100 hold integers: has it been "
                "converted?"
            )
    geobox, arrays = stacked(rasters, chunks)
    fields: dict[str, Any] = {}
    for name in names:
        code, scalar = PROPERTIES[name]
        series = [decoded(arrays[name, d], fills_of(rasters[name, d], np.nan), 1 / scalar) for d in slices]
        about = attrs_of(name, solus_property=code, cell_methods="depth: point")
        fields[name] = (dims_of(geobox, "depth"), da.stack(series), about)
    depth_attrs = VARIABLES["depth"].attrs | {"positive": "down", "axis": "Z"}
    coords = grid_coords(geobox) | {"depth": xr.Variable("depth", np.array(slices) / 100, depth_attrs)}
    return maps(fields, coords, PRODUCT.attrs | {"comment": f"{statistic}; values at depths, not means of layers"})


def _find(paths: Paths, variables: Any, statistic: str, depths: Any) -> dict[tuple[str, int], str]:
    """Every map of the statistic that is there: its variable and depth [cm]."""
    letter = STATISTICS[statistic]
    if isinstance(paths, (str, os.PathLike)) and is_remote(os.fspath(paths)) and not is_file(os.fspath(paths), ENDINGS):
        return _on_server(os.fspath(paths), variables, letter, depths)
    files = paths_of(paths, ENDINGS, "maps of SOLUS100")
    listed = isinstance(paths, (str, os.PathLike)) and len(files) > 1
    out: dict[tuple[str, int], str] = {}
    for path in files:
        match = PATTERN.match(name_of(path))
        if match is None or match.group(1).lower() not in NAMES:
            if listed:
                continue  # properties that xsoil does not know, and whatever else lies in a folder
            raise FileError(
                f"{name_of(path)!r} is not named like a map of SOLUS100 (claytotal_0_cm_p.tif); known properties: "
                f"{', '.join(NAMES)}"
            )
        if match.group(3).lower() != letter:
            continue
        key = (NAMES[match.group(1).lower()], int(match.group(2)))
        if key in out:
            raise ArgumentError(
                f"{name_of(out[key])!r} and {name_of(path)!r} are both {key[0]} at {key[1]} cm; give one of them"
            )
        out[key] = path
    if not out:
        raise FileError(
            f"none of {len(files)} files is a {statistic} of SOLUS100, named like claytotal_0_cm_{letter}.tif"
        )
    return out


def _on_server(root: str, variables: Any, letter: str, depths: Any) -> dict[tuple[str, int], str]:
    """Names by the layout of USDA's server, which need not be listed."""
    if variables is None:
        raise ArgumentError(f"{root!r} is a folder on a server; name the variables, of {', '.join(PROPERTIES)}")
    names = [variables] if isinstance(variables, str) else list(variables)
    for name in names:
        if name not in PROPERTIES:
            raise UnknownNameError.of("variable of SOLUS100", name, PROPERTIES)
    there = SLICES if depths is None else _centimetres(depths)
    return {(n, d): inside(root, f"{PROPERTIES[n][0]}_{d}_cm_{letter}.tif") for n in names for d in there}


def _centimetres(depths: Sequence[float]) -> list[int]:
    slices = sorted({round(float(depth) * 100) for depth in depths})
    if unknown := [depth for depth in slices if depth not in SLICES]:
        raise ArgumentError(f"no depth of {unknown[0]} cm; SOLUS100 has {SLICES} cm (depths are given in metres)")
    return slices
