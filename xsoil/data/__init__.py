"""Data that xsoil reads or makes."""

from xsoil.data.synthetic import synthetic_forcing, synthetic_soil

__all__ = ["synthetic_forcing", "synthetic_soil"]
