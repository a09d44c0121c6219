"""Comparing maps and series with observations: metrics on arrays."""
