"""How often a soil-moisture model comes out of bytes on a worker: for `client.run`."""

from __future__ import annotations

from xsoil.networks.moisture.ensemble import Ensemble


def count():
    """From now on, on this worker, models that arrive are counted."""
    Ensemble.arrived = 0

    def arrive(self, state):
        Ensemble.arrived += 1
        self.__dict__.update(state)

    Ensemble.__setstate__ = arrive


def counted():
    return Ensemble.arrived
