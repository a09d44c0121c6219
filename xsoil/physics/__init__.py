"""Equations in plain operators: retention curves, the water balance."""
