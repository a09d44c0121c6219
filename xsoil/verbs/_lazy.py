"""The dask of the verbs: cell-wise maps, spatial tiles, scans over time blocks.

Graphs are built without reading data, and their names come from `dask.base.tokenize`, so that the same
call twice gives the same keys.
"""
