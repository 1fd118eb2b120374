"""From a configuration to a result: warm up, measure, check the laws, compute the statistics.

Compiled code is kept in an on-disk cache that belongs to these sources, see `netstack.jit.cache`.
"""

import time
from collections.abc import Callable

from netstack.sim.build.build import build
from netstack.sim.config import EngineConfig, SimulationConfig
from netstack.sim.engine.conservation import check_conservation
from netstack.sim.engine.exact import run_until, settle
from netstack.sim.engine.measurement import Measurement, carried_bytes
from netstack.sim.engine.result import Result
from netstack.sim.engine.snapshot import Snapshot, result_of, snapshot
from netstack.sim.engine.windows.lockstep import Lockstep, are_over, no_messages


def simulate(config: SimulationConfig, progress: Callable[[float], None] | None = None) -> Result:
    """Simulate one point and return its result.

    Args:
        config: The point. It is validated.
        progress: Called repeatedly with the finished share, from 0 to 1.

    Raises:
        ConfigError: A value cannot be simulated.
        ConservationError: A law was broken: the simulator has a bug.
    """
    config.validate()
    return _simulate(config, progress)


def _simulate(config: SimulationConfig, progress: Callable[[float], None] | None = None) -> Result:
    if config.engine.window_us > 0:
        return simulate_in_windows(config, progress)
    simulation = build(config)
    measurement = Measurement(config)
    started = time.perf_counter()
    before: Snapshot | None = None
    while not measurement.is_over:
        until = measurement.next_pause_cycles
        run_until(simulation.machine, simulation.stack, until)
        settle(simulation.machine, until)
        if measurement.pause(carried_bytes(simulation)):
            before = snapshot(simulation)
        if progress is not None:
            progress(measurement.share)
    assert before is not None
    check_conservation(simulation)
    return result_of(simulation, before, measurement, time.perf_counter() - started)


def simulate_in_windows(config: SimulationConfig, progress: Callable[[float], None] | None = None) -> Result:
    """Simulate one point in windows, all cores in this process; return its result."""
    started = time.perf_counter()
    lockstep = Lockstep([config], range(config.cores_used), config.cores_used)
    (cores,) = lockstep.points
    share = 0.0
    parts = lockstep.round(no_messages(len(cores)))
    while not are_over(parts):
        parts = lockstep.round(parts)
        if progress is not None and cores[0].share != share:
            share = cores[0].share
            progress(share)
    return cores[0].result([core.own_counts() for core in cores], time.perf_counter() - started)


def prepare(*, windows: bool = False) -> None:
    """Compile everything into the on-disk cache, for the exact engine or for windows, by a very short run without costs."""
    _simulate(SimulationConfig(conns=1, engine=EngineConfig(window_us=float(windows), warmup_ms=0.01, measure_ms=0.01)))
