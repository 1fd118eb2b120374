"""Tables of two simulations of one configuration, compared record by record."""

import numpy as np

from netstack.sim.build.simulation import Simulation


def is_same(first: Simulation, second: Simulation, name: str) -> bool:
    """Return whether a table is the same in both, but for addresses of the memory of each."""
    one, other = (simulation.tables[name].copy() for simulation in (first, second))
    if "cold_address" in (one.dtype.names or ()):
        one["cold_address"] = other["cold_address"] = 0
    return np.array_equal(one, other)
