"""The verbs: one file each, xarray in and xarray out."""
