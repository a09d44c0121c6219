"""The dask of the verbs: spatial tiles, scans over time blocks.

Graphs are built without reading data, and their names come from `dask.base.tokenize`, so that the same
call twice gives the same keys.
"""

from xsoil.verbs._lazy.names import label
from xsoil.verbs._lazy.scan import Named, scan_time
from xsoil.verbs._lazy.tiles import TileStep, map_tiles
from xsoil.verbs._lazy.windows import map_windows

__all__ = ["Named", "TileStep", "label", "map_tiles", "map_windows", "scan_time"]
