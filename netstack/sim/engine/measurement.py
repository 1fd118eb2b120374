"""When a simulation pauses, and which part of it is measured: a warm-up until throughput settles, then equal slices.

Decides by the bytes carried at each pause only: every core of a windowed simulation decides the same.
"""

from netstack.sim.build.simulation import Simulation
from netstack.sim.config import SimulationConfig, planned_ms

SLICES = 20  # of the measured interval
SETTLED_PERCENT = 5.0  # how far the goodput of the two last parts of the warm-up may differ
LONGEST_WARMUP = 4  # times the planned one


class Measurement:
    """The pauses of one simulation.

    Attributes:
        carried: Bytes carried in all, see `carried_bytes`, at the start and at each pause so far.
        warm_slices: Slices before the measured interval, -1 during the warm-up.
        slice_ms: Length of a slice in ms.
    """

    def __init__(self, config: SimulationConfig) -> None:
        self._cycles_per_ms = config.machine.clock_mhz * 1000
        self._warmup_ms, self._measure_ms = planned_ms(config)
        self._automatic = config.engine.warmup_ms is None and config.engine.run_ms is None
        self.slice_ms = self._measure_ms / SLICES
        self._planned = max(1, round(self._warmup_ms / self.slice_ms))
        self.carried = [0]
        self.warm_slices = -1

    @property
    def next_pause_cycles(self) -> int:
        """When the simulation pauses next, in cycles."""
        return round(len(self.carried) * self.slice_ms * self._cycles_per_ms)

    @property
    def is_over(self) -> bool:
        """Whether the measured interval is complete."""
        return self.warm_slices >= 0 and len(self.carried) - 1 == self.warm_slices + SLICES

    @property
    def share(self) -> float:
        """How much of the planned simulation is done, from 0 to 1."""
        return min(1.0, len(self.carried) * self.slice_ms / (self._warmup_ms + self._measure_ms))

    def pause(self, carried_bytes: int) -> bool:
        """Note what is carried at a pause; return whether the measured interval begins here."""
        self.carried.append(carried_bytes)
        slices = len(self.carried) - 1
        if self.warm_slices >= 0 or slices < self._planned:
            return False
        if self._automatic and slices < self._planned * LONGEST_WARMUP and not _settled(self.carried, self._planned):
            return False
        self.warm_slices = slices
        return True


def carried_bytes(simulation: Simulation) -> int:
    """Return the payload that a simulation has carried so far: what readers read, otherwise what peers acknowledged."""
    return int(simulation.stack["read_bytes" if simulation.stack["streams"] else "acked_bytes"])


def _settled(carried: list[int], window: int) -> bool:
    """Return whether both halves of the last `window` slices carried as much, within SETTLED_PERCENT."""
    half = max(1, window // 2)
    if len(carried) <= 2 * half:
        return False
    last, previous = carried[-1] - carried[-1 - half], carried[-1 - half] - carried[-1 - 2 * half]
    return last > 0 and abs(last - previous) <= SETTLED_PERCENT / 100 * last
