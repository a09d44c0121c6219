"""Where things are: EASE-Grid 2.0, the grid of any dataset, and overlaps between grids."""
