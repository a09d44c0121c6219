"""Equations in plain operators: hydraulic curves, root uptake, the water balance, the grid of Richards columns."""
