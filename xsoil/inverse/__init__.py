"""Parameters from observations, cell by cell: many small inverse problems at once, on arrays."""
