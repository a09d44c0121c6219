"""Writing results: Zarr stores and cloud-optimised GeoTIFFs."""
