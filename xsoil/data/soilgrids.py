"""SoilGrids 2.0: soil properties of the world at 250 m (aggregated: 1 and 5 km), six layers."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any, Literal

import dask.array as da
import numpy as np
import xarray as xr

from xsoil.data._maps import decoded, grid_coords, layer_coords, maps
from xsoil.data._paths import Paths, Product, inside, is_file, is_remote, name_of, paths_of
from xsoil.data._rasters import CHUNK, Raster, choose, dims_of, fills_of, stacked
from xsoil.data._variables import attrs_of
from xsoil.errors import ArgumentError, FileError, UnknownNameError

__all__ = ["open_soilgrids"]

PRODUCT = Product(
    "SoilGrids 2.0 (ISRIC World Soil Information)",
    "version 2.0",
    "Poggio, L., L. M. de Sousa, N. H. Batjes, G. B. M. Heuvelink, B. Kempen, E. Ribeiro, D. Rossiter (2021), "
    "SoilGrids 2.0: producing soil information for the globe with quantified spatial uncertainty. SOIL 7, 217-240",
    "10.5194/soil-7-217-2021",
)
PROPERTIES = {
    "sand": ("sand", 0.1),
    "silt": ("silt", 0.1),
    "clay": ("clay", 0.1),
    "bulk_density": ("bdod", 0.01),
    "organic_carbon": ("soc", 0.01),
    "coarse_fragments": ("cfvo", 0.1),
    "ph": ("phh2o", 0.1),
    "cec": ("cec", 0.1),
    "nitrogen": ("nitrogen", 0.01),
    "organic_carbon_density": ("ocd", 0.1),
    "theta_10kpa": ("wv0010", 0.001),
    "theta_33kpa": ("wv0033", 0.001),
    "theta_1500kpa": ("wv1500", 0.001),
}
"""Our name: that of SoilGrids, factor from the stored integers to our units."""

NAMES = {code: name for name, (code, _) in PROPERTIES.items()} | {"wv003": "theta_33kpa"}
LAYERS = ((0, 5), (5, 15), (15, 30), (30, 60), (60, 100), (100, 200))
"""Upper and lower edge [cm]."""
ENDINGS = (".vrt", ".tif", ".tiff")
NODATA = -32768
KINDS = {
    "mean": "mean", "uncertainty": "uncertainty", "q0.05": "Q0.05", "q05": "Q0.05", "q0.5": "Q0.5", "q50": "Q0.5",
    "q0.95": "Q0.95", "q95": "Q0.95",
}  # fmt: skip
"""Statistics as the server and as the documentation of ISRIC write them."""
PATTERN = re.compile(
    rf"^([a-z][a-z0-9]*)_(\d+)-(\d+)cm_({'|'.join(map(re.escape, KINDS))})(?:_\d+)?[^/]*\.(?:tiff?|vrt)$", re.IGNORECASE
)
QUANTILES = {"Q0.05": 0.05, "Q0.5": 0.5, "Q0.95": 0.95}
STATISTICS = ("mean", *QUANTILES, "uncertainty")


def open_soilgrids(
    paths: Paths,
    variables: Sequence[str] | str | None = None,
    *,
    statistic: Literal["mean", "Q0.05", "Q0.5", "Q0.95", "uncertainty"] | Sequence[str] = "mean",
    depths: Sequence[tuple[float, float]] | None = None,
    crs: str | None = None,
    chunks: int = CHUNK,
) -> xr.Dataset:
    """Soil maps of SoilGrids 2.0, lazy, in conventional units.

    The maps hold integers, each property with its own factor; layers are means between two depths, and come with
    their bounds, so that `xsoil.depth_mean` weighs them by thickness.

    Parameters
    ----------
    paths : str, path or list of them
        Maps of SoilGrids: VRT (whose tiles GDAL finds) or GeoTIFF, also those aggregated to 1 or 5 km and those of the
        web coverage service, under names that begin with ``<property>_<top>-<bottom>cm_<statistic>``; a folder of them;
        or the URL of a folder with the layout of ISRIC's server (``https://files.isric.org/soilgrids/latest/data``),
        for which `variables` must be given.
    variables : str or sequence of str, optional
        Of ``sand silt clay coarse_fragments`` [percent], ``bulk_density`` [g cm-3], ``organic_carbon`` [percent],
        ``ph`` [1], ``cec`` [cmol kg-1], ``nitrogen`` [g kg-1], ``organic_carbon_density`` [kg m-3], ``theta_10kpa
        theta_33kpa theta_1500kpa`` [m3 m-3]. By default all that are there.
    statistic : str or sequence of str
        "mean"; a quantile; or several quantiles, which adds a dimension ``quantile`` in front. "uncertainty" is the
        width of the 90 % interval relative to the median, as variables ``<name>_uncertainty``.
    depths : sequence of pairs, optional
        Layers to take, in metres: ``[(0, 0.05), (0.05, 0.15)]``. By default those of the files (URL: all six).
    crs : str, optional
        In place of that of the files, where it is missing or unknown to PROJ: the coverage service says EPSG:152160,
        which is ``crs="ESRI:54052"``.
    chunks : int
        Chunk size of both spatial dimensions.

    Returns
    -------
    xr.Dataset
        float32 on ([quantile,] depth, y, x), in the CRS of the files (interrupted Goode homolosine). Maps whose extent
        differs (bulk density lacks three columns) are brought to the union by cells without data.

    Raises
    ------
    FileError
        A file that is no map of SoilGrids 2.0, several bands, damaged.
    GridMismatchError
        Maps of different resolution or CRS.
    ArgumentError, UnknownNameError, CRSError
        A variable or layer that is not there; an unknown statistic; no CRS.

    Notes
    -----
    Follows SoilGrids 2.0 [1]_ and ISRIC's description of its files. Coarse fragments are stored in cm3/dm3: their
    factor to percent is 10, although ISRIC's table says 100. The limit between silt and sand is 50 um. Water contents
    are those of [2]_.

    References
    ----------
    .. [1] Poggio et al. (2021), SOIL 7, 217-240, doi:10.5194/soil-7-217-2021.
    .. [2] Turek et al. (2023), Int. Soil Water Conserv. Res. 11, 225-239, doi:10.1016/j.iswcr.2022.08.001.

    Examples
    --------
    >>> import xsoil
    >>> soil = xsoil.data.open_soilgrids("soilgrids/", ["sand", "silt", "clay"])  # doctest: +SKIP
    """
    statistics = [statistic] if isinstance(statistic, str) else list(statistic)
    for name in statistics:
        if name not in STATISTICS:
            raise UnknownNameError.of("statistic", name, STATISTICS)
    if len(statistics) > 1 and not set(statistics) <= set(QUANTILES):
        raise ArgumentError(f"statistic is {statistics}; several must be quantiles, of {', '.join(QUANTILES)}")
    found = _find(paths, variables, statistics, depths)
    there = [name for name, _, kind in found if kind in statistics]
    names = choose(variables, PROPERTIES, there)
    if not names:
        raise ArgumentError(f"no map of {', '.join(statistics)}; there are {sorted({kind for _, _, kind in found})}")
    layers = _layers(found, names, statistics, depths)
    keys = [(name, layer, kind) for name in names for layer in layers for kind in statistics]
    if lost := [key for key in keys if key not in found]:
        name, (top, bottom), kind = lost[0]
        raise ArgumentError(
            f"{len(lost)} maps are missing, the first that of {name} {top}-{bottom} cm {kind}; "
            "choose variables=, depths= or load it"
        )
    rasters = {key: Raster.open(found[key], chunks, crs) for key in keys}
    for raster in rasters.values():
        if raster.data.dtype.kind not in "iu":
            raise FileError(
                f"{name_of(raster.path)!r} holds {raster.data.dtype}; maps of SoilGrids 2.0 hold integers: has it been "
                "converted?"
            )
    geobox, arrays = stacked(rasters, chunks)
    fields: dict[str, Any] = {}
    several = len(statistics) > 1
    lead = ("quantile", "depth") if several else ("depth",)
    for name in names:
        code, factor = PROPERTIES[name]
        parts = []
        for kind in statistics:
            scale = 0.1 if kind == "uncertainty" else factor
            series = [
                decoded(arrays[name, layer, kind], fills_of(rasters[name, layer, kind], NODATA), scale)
                for layer in layers
            ]
            parts.append(da.stack(series))
        about = _attrs(name, code, statistics)
        key = f"{name}_uncertainty" if statistics == ["uncertainty"] else name
        fields[key] = (dims_of(geobox, *lead), da.stack(parts) if several else parts[0], about)
    coords = grid_coords(geobox) | layer_coords([(top / 100, bottom / 100) for top, bottom in layers])
    if several:
        coords["quantile"] = ("quantile", np.array([QUANTILES[kind] for kind in statistics]))
    return maps(
        fields, coords, PRODUCT.attrs | {"license": "CC BY 4.0", "comment": f"statistic: {', '.join(statistics)}"}
    )


Key = tuple[str, tuple[int, int], str]


def _attrs(name: str, code: str, statistics: Sequence[str]) -> dict[str, Any]:
    if list(statistics) == ["uncertainty"]:
        return {"units": "1", "long_name": f"width of the 90 % interval of {name} relative to its median"}
    return attrs_of(name, soilgrids_property=code, cell_methods="depth: mean")


def _find(paths: Paths, variables: Any, statistics: Sequence[str], depths: Any) -> dict[Key, str]:
    """Every map that is there: its variable, layer [cm] and statistic."""
    if isinstance(paths, (str, os.PathLike)) and is_remote(os.fspath(paths)) and not is_file(os.fspath(paths), ENDINGS):
        return _on_server(os.fspath(paths), variables, statistics, depths)
    files = paths_of(paths, ENDINGS, "maps of SoilGrids 2.0")
    listed = isinstance(paths, (str, os.PathLike)) and len(files) > 1
    out: dict[Key, str] = {}
    for path in files:
        match = PATTERN.match(name_of(path))
        if match is None or match.group(1).lower() not in NAMES:
            if listed:
                continue  # tiles of a VRT, and whatever else lies in a folder
            raise FileError(
                f"{name_of(path)!r} is not named like a map of SoilGrids 2.0 (clay_0-5cm_mean.vrt); known properties: "
                f"{', '.join(code for code, _ in PROPERTIES.values())}"
            )
        layer = (int(match.group(2)), int(match.group(3)))
        if layer not in LAYERS:
            raise FileError(f"{name_of(path)!r} is of the layer {layer} cm; SoilGrids 2.0 has {LAYERS}")
        kind = KINDS[match.group(4).lower()]
        key = (NAMES[match.group(1).lower()], layer, kind)
        if key in out:
            raise ArgumentError(
                f"{name_of(out[key])!r} and {name_of(path)!r} are both {key[0]} {layer} cm {kind}; give one resolution"
            )
        out[key] = path
    if not out:
        raise FileError(f"none of {len(files)} files is named like a map of SoilGrids 2.0 (clay_0-5cm_mean.vrt)")
    return out


def _on_server(root: str, variables: Any, statistics: Sequence[str], depths: Any) -> dict[Key, str]:
    """Names by the layout of ISRIC's server, which need not be listed."""
    if variables is None:
        raise ArgumentError(f"{root!r} is a folder on a server; name the variables to open, of {', '.join(PROPERTIES)}")
    names = [variables] if isinstance(variables, str) else list(variables)
    out = {}
    for name in names:
        if name not in PROPERTIES:
            raise UnknownNameError.of("variable of SoilGrids", name, PROPERTIES)
        code = PROPERTIES[name][0]
        for layer in LAYERS if depths is None else _centimetres(depths):
            for kind in statistics:
                out[name, layer, kind] = inside(root, f"{code}/{code}_{layer[0]}-{layer[1]}cm_{kind}.vrt")
    return out


def _centimetres(depths: Sequence[tuple[float, float]]) -> list[tuple[int, int]]:
    try:
        layers = [(round(float(top) * 100), round(float(bottom) * 100)) for top, bottom in depths]
    except (TypeError, ValueError):
        raise ArgumentError(
            f"depths is {depths!r}; expected pairs in metres, such as [(0, 0.05), (0.05, 0.15)]"
        ) from None
    if unknown := [layer for layer in layers if layer not in LAYERS]:
        raise ArgumentError(f"no layer {unknown[0]} cm; SoilGrids has {LAYERS} cm (depths are given in metres)")
    return sorted(set(layers))


def _layers(
    found: dict[Key, str], names: Sequence[str], statistics: Sequence[str], depths: Any
) -> list[tuple[int, int]]:
    if depths is not None:
        return _centimetres(depths)
    return sorted({layer for name, layer, kind in found if name in names and kind in statistics})
